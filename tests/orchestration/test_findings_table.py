"""The artifacts of an audit, as a person reads them: what is new, who answers for what, and where it leads."""

from pathlib import Path
from typing import Any

import pytest
import requests
from support.registry import Registry
from support.servers import MlflowServer

from flows.audit_registry import audit_registry
from registry_audit.ledger.accept import waive
from registry_audit.ledger.connecting import open_ledger
from registry_audit.ledger.record import registry_of
from registry_audit.report.document import Registry as ReportedRegistry
from tasks.artifacts import MlflowPages

from .conftest import RunFlow


def test_new_known_and_waived_findings_and_their_links(
    run_flow: RunFlow, mlflow_a: MlflowServer, tmp_path: Path
) -> None:
    registry = Registry(mlflow_a)
    version = registry.add()
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    asked: dict[str, Any] = {"tracking_uri": mlflow_a.uri, "models": [version.name], "ledger": ledger}
    run_flow(audit_registry, **asked, accept_new=True)
    registry.client.delete_run(version.run_id)

    first = run_flow(audit_registry, **asked)
    (row,) = first.table
    assert row["life"] == "**new**"
    assert row["version"] == f"[{version.name}/1]({mlflow_a.uri}/#/models/{version.name}/versions/1)"
    assert row["run"] == f"[{version.run_id}]({mlflow_a.uri}/#/runs/{version.run_id})"
    for key in ("registry-audit-summary", "registry-audit-findings"):
        assert "1 new, 0 known, 0 resolved since the audit of" in first.artifacts[key]["description"]

    (row,) = run_flow(audit_registry, **asked).table
    assert row["life"].startswith("known since ")

    waive(
        open_ledger(ledger, create=False),
        registry_of(mlflow_a.uri),
        version.name,
        "1",
        "RA004",
        path=None,
        by="bob",
        reason="soon",
        until="2099-01-01",
    )
    run = run_flow(audit_registry, **asked)
    assert run.ended_as == ("COMPLETED", "Completed")
    (row,) = run.table
    assert row["life"] == r"waived by bob until 2099\-01\-01"


def _pages(uri: str) -> MlflowPages:
    return MlflowPages(ReportedRegistry(tracking_uri=uri, registry_uri=uri, mlflow_server=None))


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "databricks", "file:///tmp/x", "http://[broken", "http:///x"])
def test_no_link_where_there_is_no_page(uri: str) -> None:
    assert _pages(uri).version("Wine", "3") == "Wine/3"


@pytest.mark.parametrize("name", ["[a](http://evil)", "a|b", "<img>", "x\u202ey", "-", "*bold*"])
def test_a_name_that_needs_escapes_is_text(name: str) -> None:
    shown = _pages("http://host:5000").version(name, "3")
    assert "](http" not in shown
    assert "\u202e" not in shown


def test_credentials_and_tricks_of_the_address_stay_out() -> None:
    shown = _pages("https://bob:***@host:5000/ml)flow/").version("Wine Quality", "3")
    assert shown == "[Wine Quality/3](https://host:5000/ml%29flow/#/models/Wine%20Quality/versions/3)"


def test_a_workspace_has_other_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_WORKSPACE", "team-a")
    assert _pages("http://host:5000").version("Wine", "3") == "Wine/3"


def test_the_routes_are_those_of_the_server(mlflow_a: MlflowServer) -> None:
    """A release of MLflow that renames its pages fails here."""
    page = requests.get(mlflow_a.uri, timeout=30).text
    assert "static-files/static/js/main" in page
    import mlflow.server

    scripts = Path(mlflow.server.__file__).parent.joinpath("js", "build", "static", "js").glob("*.js")
    texts = "".join(script.read_text(encoding="utf-8", errors="replace") for script in scripts)
    assert '"/models/:modelName/versions/:version"' in texts
    assert '"/runs/:runUuid"' in texts
