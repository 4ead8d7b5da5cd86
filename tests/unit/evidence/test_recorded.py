"""What a report may say of its registry beside a ledger of release 0.1.0, which recorded no address of an audit."""

from pathlib import Path
from typing import Any

import pytest

from registry_audit.evidence.recorded import Recorded
from registry_audit.ledger.chain import Draft, Kind, link
from registry_audit.ledger.entry_bodies import AuditStarted, RegistryNamed
from registry_audit.report.document import AuditDocument
from registry_audit.report.write import load_report

GOLDEN = Path(__file__).parent.parent.parent / "golden" / "report" / "ledger.json"
HOLDS, OTHER, UNKNOWN = "holds", "other", "unknown"


def _document(registry_uri: str, known_as: str | None) -> AuditDocument:
    document = load_report(GOLDEN)
    registry = document.registry.model_copy(update={"registry_uri": registry_uri, "known_as": known_as})
    return document.model_copy(update={"registry": registry})


def _said(key: str, document: AuditDocument, addresses: tuple[str, ...] = (), **recorded: Any) -> str:
    """Tell what a ledger with these addresses of the registry makes of the report's."""
    found, drafts = Recorded("id"), list[Draft]()
    drafts += [RegistryNamed(address=address, name=None).draft(key) for address in addresses]
    drafts.append(AuditStarted(options={}, listed=0, selected=0, **recorded).draft(key, audit_id="id"))
    assert drafts[-1].kind is Kind.AUDIT_STARTED
    for entry in link(drafts, after=None, at="2026-01-01T00:00:00Z"):
        found.add(entry)
    if any("audit.json is of" in sentence for sentence in found.contradictions(document, entry)):
        return OTHER
    return UNKNOWN if found.cannot_tell_where(document) else HOLDS


@pytest.mark.parametrize(
    ("key", "uri", "said"),
    [
        ("sqlite:////srv/mlflow.db", "sqlite:////srv/mlflow.db", HOLDS),
        ("sqlite:////srv/mlflow.db", "sqlite:////production/mlflow.db", UNKNOWN),  # perhaps through a link
        ("sqlite:////srv/mlflow.db", "https://mlflow.prod.example", OTHER),
        ("sqlite:////srv/mlflow.db", "postgresql://prod-db/mlflow", OTHER),
        ("file:///srv/mlruns", "/srv/mlruns", HOLDS),
        ("mysql://db/mlflow", "mysql://db:3306/mlflow", HOLDS),
        ("mysql+pymysql://db:3306/mlflow", "mysql://db/mlflow", HOLDS),  # as 0.1.0 kept it
        ("postgresql://db/mlflow", "postgresql://db:5432/mlflow", HOLDS),
        ("postgresql://db/mlflow#schema=team", "postgresql://elsewhere/mlflow", UNKNOWN),
        ("http://mlflow.example:5000#workspace=team", "http://mlflow.example:5000", HOLDS),
        ("http://mlflow.example:5000", "http://mlflow.prod.example", OTHER),
        ("databricks://host/workspace/1", "databricks", UNKNOWN),
        ("production", "https://mlflow.prod.example", UNKNOWN),
    ],
)
def test_an_address_beside_a_ledger_of_release_0_1_0(key: str, uri: str, said: str) -> None:
    assert _said(key, _document(uri, key)) == said
    assert _said(key, _document(uri, None)) == said


def test_a_named_registry_has_its_addresses() -> None:
    named = "sqlite:////srv/mlflow.db", "http://mlflow.example"
    assert _said("production", _document("http://mlflow.example", "production"), named) == HOLDS
    assert _said("production", _document("http://mlflow.prod.example", "production"), named) == OTHER


def test_the_address_that_was_recorded_is_the_only_one() -> None:
    """It decides for Databricks, too, whose address does not tell the workspace."""
    key, here = "databricks://host/workspace/1", {"tracking_uri": "databricks", "registry_uri": "databricks"}
    report = _document("databricks", key)
    at_once = report.registry.model_copy(update={"tracking_uri": "databricks"})
    assert _said(key, report.model_copy(update={"registry": at_once}), **here) == HOLDS
    assert _said(key, report, **here) == OTHER
    assert _said(key, _document("databricks://prod", key), **here) == OTHER
    unnamed = at_once.model_copy(update={"known_as": None})
    assert _said(key, report.model_copy(update={"registry": unnamed}), **here) == OTHER
