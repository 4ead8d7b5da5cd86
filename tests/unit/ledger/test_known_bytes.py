"""Bytes that were read before are no first sight, whoever accepted them or did not."""

from dataclasses import replace

import pytest
from support.ledgers import FILES, LOADABLE, RecordedAudit, record, row, scope_of

from registry_audit.audit.judging import VersionAudit
from registry_audit.ledger.store import Ledger
from registry_audit.model.listing import Problem
from registry_audit.verdict import Verdict

CHANGED = {**FILES, "model.pkl": b"NOISE"}


def seen(recorded: RecordedAudit) -> tuple[str, list[str], int]:
    (audit,) = recorded.audits
    assert audit.baseline is not None
    return audit.baseline.status.value, [finding.rule for finding in audit.findings], recorded.accepted_count


def test_other_bytes_than_an_earlier_audit_read_are_not_accepted(sqlite_ledger: Ledger) -> None:
    record(sqlite_ledger, row())
    for _ in range(3):  # not after having been reported once or twice either
        assert seen(record(sqlite_ledger, row(files=CHANGED), accept_new=True)) == ("new", ["RA002"], 0)
    assert seen(record(sqlite_ledger, row(), accept_new=True)) == ("new", [], 1)


def test_a_version_made_anew_is_another_one(sqlite_ledger: Ledger) -> None:
    record(sqlite_ledger, row())
    assert seen(record(sqlite_ledger, row(files=CHANGED, created=2_000), accept_new=True)) == ("new", [], 1)


def test_a_version_made_anew_is_held_to_its_own_first_reading(sqlite_ledger: Ledger) -> None:
    record(sqlite_ledger, row())
    record(sqlite_ledger, row(created=2_000))
    assert seen(record(sqlite_ledger, row(files=CHANGED, created=2_000), accept_new=True)) == ("new", ["RA002"], 0)


@pytest.mark.parametrize(
    ("verdict", "problem"),
    [(Verdict.UNVERIFIABLE, Problem("RA003", "gone")), (Verdict.SAME_STORAGE, Problem("RA007", "half", blocks=False))],
)
def test_a_model_that_was_not_whole_is_not_held_against_it(
    sqlite_ledger: Ledger, verdict: Verdict, problem: Problem
) -> None:
    """It was still being uploaded, for instance."""
    record(sqlite_ledger, row(files={"MLmodel": b"half"}, verdict=verdict, problems=(problem,)))
    assert seen(record(sqlite_ledger, row(), accept_new=True)) == ("new", [], 1)


def test_what_mlflow_adds_by_itself_is_no_change(sqlite_ledger: Ledger) -> None:
    record(sqlite_ledger, row(files=LOADABLE))
    with_meta = {**LOADABLE, "registered_model_meta": b"model_name: wine\nmodel_version: '1'\n"}
    assert seen(record(sqlite_ledger, row(files=with_meta), accept_new=True)) == ("new", [], 1)


def test_bytes_that_are_known_by_another_digest_are_not_accepted(sqlite_ledger: Ledger) -> None:
    """Nothing shows that they are the same."""
    record(sqlite_ledger, row())
    for files in (FILES, CHANGED):
        other = record(sqlite_ledger, row(files=files, algorithm="blake3"), accept_new=True, digest="blake3")
        assert seen(other) == ("new", ["RA009"], 0)
        assert "Audit with --digest sha256" in other.audits[0].findings[0].remedy
    assert seen(record(sqlite_ledger, row(files=CHANGED), accept_new=True)) == ("new", ["RA002"], 0)
    assert seen(record(sqlite_ledger, row(), accept_new=True)) == ("new", [], 1)


def test_bytes_that_another_registry_accepted_by_another_digest_are_not_accepted(sqlite_ledger: Ledger) -> None:
    record(sqlite_ledger, row(), accept_new=True, registry_name="one")
    blake3 = {"accept_new": True, "digest": "blake3", "registry_name": "two"}
    assert seen(record(sqlite_ledger, row(algorithm="blake3"), **blake3)) == ("new", ["RA009"], 0)
    assert seen(record(sqlite_ledger, row(created=2_000, algorithm="blake3"), **blake3)) == ("new", [], 1)


def _renamed(audit: VersionAudit, name: str = "vino") -> VersionAudit:
    return replace(audit, version=replace(audit.version, name=name))


@pytest.mark.parametrize("chosen", [{}, {"models": ["vino"]}], ids=["all", "by-name"])
def test_a_version_without_a_run_that_was_read_is_known_under_its_new_name(
    sqlite_ledger: Ledger, chosen: dict[str, object]
) -> None:
    record(sqlite_ledger, row())
    for files, seen_as in ((CHANGED, ("new", ["RA002"], 0)), (FILES, ("new", [], 1))):
        assert seen(record(sqlite_ledger, _renamed(row(files=files)), accept_new=True, **chosen)) == seen_as


def test_of_several_names_that_it_may_have_had_each_counts(sqlite_ledger: Ledger) -> None:
    record(sqlite_ledger, row("beer"), row("wine", files=CHANGED))
    for files in (FILES, CHANGED):
        assert seen(record(sqlite_ledger, _renamed(row(files=files)), accept_new=True)) == ("new", ["RA002"], 0)


def test_versions_without_a_run_that_were_created_at_one_moment_are_not_one(sqlite_ledger: Ledger) -> None:
    """Both names are listed, or only some names were asked for."""
    record(sqlite_ledger, row("beer"))
    both = scope_of(row("wine"), unlisted=(row("beer"),))
    assert seen(record(sqlite_ledger, row(files=CHANGED), scope=both)) == ("new", [], 0)
    assert seen(record(sqlite_ledger, row(files=CHANGED), filter="name = 'wine'")) == ("new", [], 0)
