"""A model that was renamed keeps its baselines, and did not vanish under its old name."""

from dataclasses import replace

import pytest
from support.ledgers import FILES, REGISTRY, RecordedAudit, record, row, scope_of

from registry_audit.audit.judging import VersionAudit
from registry_audit.ledger.chain import Draft, Kind
from registry_audit.ledger.store import Ledger

CHANGED = {**FILES, "model.pkl": b"NOISE"}


def renamed(files: dict[str, bytes] | None = None, **other: object) -> VersionAudit:
    """The version wine/1 under the name of vino."""
    audit = row(files=files or FILES)
    return replace(audit, version=replace(audit.version, name="vino", **other))


def seen(recorded: RecordedAudit) -> dict[str, tuple[str, list[str]]]:
    return {
        audit.version.label: (audit.baseline.status.value, [finding.rule for finding in audit.findings])
        for audit in recorded.audits
        if audit.baseline
    }


def test_the_baseline_follows(sqlite_ledger: Ledger) -> None:
    record(sqlite_ledger, row(), row("beer"), accept_new=True)
    for _ in range(2):
        assert seen(record(sqlite_ledger, row("beer"), renamed(), accept_new=True)) == {
            "beer/1": ("unchanged", []),
            "vino/1": ("unchanged", []),
        }


def test_other_bytes_are_a_change(sqlite_ledger: Ledger) -> None:
    record(sqlite_ledger, row(), accept_new=True)
    for _ in range(2):
        recorded = record(sqlite_ledger, renamed(CHANGED), accept_new=True)
        assert (seen(recorded), recorded.accepted_count) == ({"vino/1": ("changed", ["RA002"])}, 0)


def test_the_baseline_follows_after_the_old_name_was_accepted_as_gone(sqlite_ledger: Ledger) -> None:

    record(sqlite_ledger, row(), accept_new=True)
    gone = {"manifest": None, "by": "alice", "reason": "renamed"}
    sqlite_ledger.append([Draft(Kind.ACCEPTED, REGISTRY, "wine", "1", body=gone)])
    assert seen(record(sqlite_ledger, renamed(CHANGED), accept_new=True)) == {"vino/1": ("changed", ["RA002"])}


@pytest.mark.parametrize(
    "other", [{"version": "2"}, {"creation_time_ms": 2_000}, {"run_id": "r"}, {"source": "s3://x"}]
)
def test_another_version_is_new(sqlite_ledger: Ledger, other: dict[str, object]) -> None:
    record(sqlite_ledger, row(), accept_new=True)
    recorded = seen(record(sqlite_ledger, renamed(CHANGED, **other)))
    assert recorded.pop("wine/1")[1] == ["RA011"]
    assert list(recorded.values()) == [("new", [])]


def test_a_copy_beside_the_old_name_is_new(sqlite_ledger: Ledger) -> None:
    """The old name still has its version: this is no rename."""
    record(sqlite_ledger, row(), accept_new=True)
    assert seen(record(sqlite_ledger, row(), renamed(CHANGED)))["vino/1"] == ("new", [])


def test_a_model_made_since_under_the_old_name_hides_nothing(sqlite_ledger: Ledger) -> None:
    """It is another version, and new; what was renamed stays held to what was accepted, also once that is accepted."""
    record(sqlite_ledger, row(), accept_new=True)
    anew = row(files={"MLmodel": b"flavors: {}\n"}, created=2_000)
    recorded = record(sqlite_ledger, anew, renamed(CHANGED), accept_new=True)
    assert seen(recorded) == {"vino/1": ("changed", ["RA002"]), "wine/1": ("new", [])}
    assert recorded.accepted_count == 1
    assert seen(record(sqlite_ledger, anew, renamed(CHANGED), accept_new=True)) == {
        "vino/1": ("changed", ["RA002"]),
        "wine/1": ("unchanged", []),
    }


@pytest.mark.parametrize("change", [False, True])
def test_models_that_took_each_others_names_keep_their_baselines(sqlite_ledger: Ledger, change: bool) -> None:
    beer = row("beer", files={"MLmodel": b"beer"}, created=2_000)
    record(sqlite_ledger, row(), beer, accept_new=True)
    wine = row(files=CHANGED) if change else row()
    one, two = (
        replace(audit, version=replace(audit.version, name=name)) for audit, name in ((wine, "beer"), (beer, "wine"))
    )
    expected = ("changed", ["RA002"]) if change else ("unchanged", [])
    for _ in range(2):
        recorded = record(sqlite_ledger, one, two, accept_new=True)
        assert seen(recorded) == {"beer/1": expected, "wine/1": ("unchanged", [])}


def of_run(audit: VersionAudit) -> VersionAudit:
    return replace(audit, version=replace(audit.version, run_id="r1"))


@pytest.mark.parametrize("registry", [REGISTRY, "http://copy.example"])
@pytest.mark.parametrize("accepted", [False, True])
def test_bytes_that_were_read_under_the_old_name_are_no_first_sight(
    sqlite_ledger: Ledger, registry: str, accepted: bool
) -> None:
    """Nobody accepted them, or its source is another since, or this is a copy of the registry."""
    record(sqlite_ledger, of_run(row()), accept_new=accepted)
    other = of_run(renamed(CHANGED, source="s3://moved/vino"))
    for files, rules, count in ((CHANGED, ["RA002"], 0), (FILES, [], 1)):
        again = replace(of_run(renamed(files)), version=other.version)
        called = {"registry_name": "copy"} if registry != REGISTRY else {}
        scope = scope_of(again, registry=registry)
        recorded = record(sqlite_ledger, again, scope=scope, accept_new=True, **called)
        assert (seen(recorded)["vino/1"], recorded.accepted_count) == (("new", rules), count)
