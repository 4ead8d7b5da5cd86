"""A waived finding is shown, makes no exit status, and comes back by itself."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from support.ledgers import FILES, REGISTRY, RecordedAudit, note, record, row, scope_of

from registry_audit.audit.judging import Waiver
from registry_audit.audit.rows import outcome_of
from registry_audit.errors import UsageError
from registry_audit.ledger import accept as accepting
from registry_audit.ledger import assess, memory
from registry_audit.ledger.accept import waive
from registry_audit.ledger.chain import Draft, Kind, link
from registry_audit.ledger.store import Ledger
from registry_audit.model.listing import Problem
from registry_audit.verdict import Severity, Verdict

CHANGED = {**FILES, "model.pkl": b"NOISE"}
AGAIN = {**FILES, "model.pkl": b"other"}
_TODAY = datetime.now(UTC).date()
TODAY, TOMORROW, YESTERDAY = (str(_TODAY + timedelta(days=days)) for days in (0, 1, -1))


def do_waive(ledger: Ledger, rule: str = "RA002", *, path: str | None = None, until: str = TOMORROW) -> None:
    waive(ledger, REGISTRY, "wine", "1", rule, path=path, by="me", reason="known", until=until)


def waived(recorded: RecordedAudit) -> set[tuple[str, str | None]]:
    return {(f.rule, f.path) for audit in recorded.audits for f in audit.findings if f.waiver is not None}


def exit_status(recorded: RecordedAudit) -> int:
    return outcome_of(recorded.audits, Severity.MEDIUM).exit_status


@pytest.fixture(autouse=True)
def one_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests may run across midnight: for them it stays the day on which they were collected."""
    on(TODAY, monkeypatch)


@pytest.fixture
def ledger(sqlite_ledger: Ledger) -> Ledger:
    return sqlite_ledger


@pytest.fixture
def changed(ledger: Ledger) -> Ledger:
    """A version whose content changed after it was accepted."""
    record(ledger, row(), accept_new=True)
    record(ledger, row(files=CHANGED))
    return ledger


def on(day: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (memory, assess, accepting):
        monkeypatch.setattr(module, "today", lambda: day)


def test_a_waived_finding_is_shown_and_does_not_fail(changed: Ledger) -> None:
    assert exit_status(record(changed, row(files=CHANGED))) == 1
    do_waive(changed)
    recorded = record(changed, row(files=CHANGED))
    assert (waived(recorded), exit_status(recorded)) == ({("RA002", None)}, 0)
    (audit,) = recorded.audits
    assert audit.findings[0].waiver == Waiver("me", "known", TOMORROW)
    assert audit.baseline is not None
    assert audit.baseline.status == "changed"


def test_a_new_waiver_is_told_by_the_next_audit_alone(changed: Ledger) -> None:
    do_waive(changed)
    with changed.reading() as reader:
        (given,) = reader.of_kind(Kind.WAIVED)
    recorded = record(changed, row(files=CHANGED))
    (told,) = recorded.resolved
    assert (told.rule, told.by) == (
        "RA002",
        f"a waiver, which me gave on {given.at[:10]} until {TOMORROW}: known; it is still there",
    )
    (finding,) = [f for audit in recorded.audits for f in audit.findings]
    assert (finding.new, finding.waiver is not None) == (False, True)
    assert record(changed, row(files=CHANGED)).resolved == ()
    with changed.reading() as reader:  # it is open: nothing of it was resolved
        assert list(reader.of_kind(Kind.FINDING_RESOLVED)) == []
    assert [gone.by for gone in record(changed, row()).resolved] == ["the bytes of the baseline came back"]


def test_it_comes_back_when_it_expires(changed: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    do_waive(changed, until=TODAY)
    assert exit_status(record(changed, row(files=CHANGED))) == 0  # the last day is included
    on(TOMORROW, monkeypatch)
    recorded = record(changed, row(files=CHANGED))
    assert (waived(recorded), exit_status(recorded)) == (set(), 1)
    assert recorded.audits[0].findings[0].new is False


def test_a_clock_that_was_set_back_does_not_bring_it_back(changed: Ledger) -> None:
    """The ledger knows that a later day has been, whatever this machine's clock says."""
    do_waive(changed, until=TODAY)
    assert exit_status(record(changed, row(files=CHANGED))) == 0
    with changed.writing() as writer:
        writer.append_verbatim(link([note()], after=writer.head(), at=f"{TOMORROW}T00:00:00Z"))
    recorded = record(changed, row(files=CHANGED))
    assert (waived(recorded), exit_status(recorded)) == (set(), 1)
    with pytest.raises(UsageError, match=f"{TODAY} has passed: in the time of the ledger, UTC, it is {TOMORROW}"):
        do_waive(changed, until=TODAY)


def test_it_comes_back_when_the_bytes_change_again(changed: Ledger) -> None:
    do_waive(changed)
    recorded = record(changed, row(files=AGAIN))
    assert (waived(recorded), exit_status(recorded)) == (set(), 1)
    # It was waived for these bytes, and they are back.
    assert exit_status(record(changed, row(files=CHANGED))) == 0


def test_it_comes_back_when_the_run_model_changes_again(ledger: Ledger) -> None:
    def differ(files: dict[str, bytes]) -> RecordedAudit:
        problem = Problem("RA001", "they differ", blocks=False)
        return record(ledger, row(run_files=files, problems=(problem,), verdict=Verdict.MISMATCH))

    differ(CHANGED)
    do_waive(ledger, "RA001")
    assert exit_status(differ(CHANGED)) == 0
    assert exit_status(differ(AGAIN)) == 1


def test_a_vanished_version_can_be_waived(ledger: Ledger) -> None:
    other = row("beer")
    record(ledger, row(), other, accept_new=True)
    assert exit_status(record(ledger, other)) == 1
    do_waive(ledger, "RA011")
    recorded = record(ledger, other)
    assert (waived(recorded), exit_status(recorded)) == ({("RA011", None)}, 0)


def test_what_could_not_be_verified_stays_incomplete(ledger: Ledger) -> None:
    lost = row(files={}, verdict=Verdict.UNVERIFIABLE, problems=(Problem("RA003", "gone"),))
    assert exit_status(record(ledger, lost)) == 1
    do_waive(ledger, "RA003")
    assert exit_status(record(ledger, lost)) == 3


@pytest.mark.parametrize("half", ["run", "reg", "both"])
def test_what_was_not_read_whole_cannot_be_waived(ledger: Ledger, half: str) -> None:
    """Its bytes are unknown, and would be as unknown whatever they became."""
    blocked = row(run_files=CHANGED, problems=(Problem("RA013", "a symlink"),), verdict=Verdict.UNVERIFIABLE)
    assert blocked.run_model is not None
    assert blocked.reg_model is not None
    run = replace(blocked.run_model, manifest=None, manifest_digest=None)
    reg = replace(blocked.reg_model, manifest=None, manifest_digest=None)
    blocked = replace(
        blocked,
        run_model=blocked.run_model if half == "reg" else run,
        reg_model=blocked.reg_model if half == "run" else reg,
    )
    record(ledger, blocked)
    with pytest.raises(UsageError, match="was not read in full"):
        do_waive(ledger, "RA013")


def test_an_old_waiver_of_unknown_bytes_does_not_hold(ledger: Ledger) -> None:
    """Release 0.1.0 could record one."""
    body = {"rule": "RA009", "path": None, "by": "me", "reason": "known", "until": TOMORROW}
    ledger.append([Draft(Kind.WAIVED, REGISTRY, "wine", "1", body=body | {"run_manifest": None, "manifest": None})])
    denied = row(listed=False, problems=(Problem("RA009", "denied"),), verdict=Verdict.UNVERIFIABLE)
    assert waived(record(ledger, denied)) == set()


def test_it_does_not_cover_other_differences(changed: Ledger) -> None:
    """Other bytes were accepted meanwhile: what is there now is another change."""
    do_waive(changed)
    assert exit_status(record(changed, row(files=CHANGED))) == 0
    accepted = row(files=AGAIN).reg_model
    assert accepted is not None
    assert accepted.manifest is not None
    with changed.writing() as writer:
        writer.keep_manifests({accepted.manifest.digest(): accepted.manifest})
        body = {"manifest": accepted.manifest.digest(), "by": "me", "reason": "other", "creation_time_ms": 1_000}
        writer.append([Draft(Kind.ACCEPTED, REGISTRY, "wine", "1", body=body)])
    recorded = record(changed, row(files=CHANGED))
    assert (waived(recorded), exit_status(recorded)) == (set(), 1)


def test_all_of_a_rule_are_those_it_was_given_for(ledger: Ledger) -> None:
    a, b = (Problem("RA007", "missing", path, blocks=False) for path in ("a", "b"))
    record(ledger, row(problems=(a,)))
    do_waive(ledger, "RA007")
    assert waived(record(ledger, row(problems=(a, b)))) == {("RA007", "a")}


def test_a_finding_on_no_file_is_not_one_of_those(ledger: Ledger) -> None:
    a, whole = (Problem("RA007", "missing", path, blocks=False) for path in ("a", None))
    record(ledger, row(problems=(a,)))
    do_waive(ledger, "RA007")
    assert waived(record(ledger, row(problems=(a, whole)))) == {("RA007", "a")}


def test_one_path_or_all_of_a_rule(ledger: Ledger) -> None:
    problems = tuple(Problem("RA007", "missing", path, blocks=False) for path in ("a", "b"))
    audit = row(problems=problems)
    record(ledger, audit)
    do_waive(ledger, "RA007", path="a")
    recorded = record(ledger, audit)
    assert (waived(recorded), exit_status(recorded)) == ({("RA007", "a")}, 1)
    do_waive(ledger, "RA007")
    recorded = record(ledger, audit)
    assert (waived(recorded), exit_status(recorded)) == ({("RA007", "a"), ("RA007", "b")}, 0)


def test_the_newest_waiver_counts(changed: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    do_waive(changed, until=str(_TODAY + timedelta(days=30)))
    do_waive(changed, until=TODAY)
    on(TOMORROW, monkeypatch)
    assert exit_status(record(changed, row(files=CHANGED))) == 1


def test_other_versions_and_rules_are_not_waived(changed: Ledger) -> None:
    do_waive(changed)
    beside = row(files=CHANGED, problems=(Problem("RA012", "lineage", blocks=False),))
    recorded = record(changed, beside, row(version="2", problems=(Problem("RA012", "lineage", blocks=False),)))
    assert waived(recorded) == {("RA002", None)}
    assert exit_status(recorded) == 1


def test_an_audit_of_something_else_leaves_a_waiver_alone(changed: Ledger) -> None:
    do_waive(changed)
    other = row("beer")
    record(changed, other, scope=scope_of(other, unlisted=(row(),)))
    assert exit_status(record(changed, row(files=CHANGED))) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"rule": "RA999"}, "there is no rule 'RA999'"),
        ({"rule": "RA003"}, "has no open finding RA003"),
        ({"version": "2"}, "has no open finding RA002"),
        ({"path": "model.pkl"}, "has no open finding RA002"),
        ({"reason": " "}, "needs a reason"),
        ({"by": " "}, "needs the name"),
        ({"until": YESTERDAY}, "has passed"),
        ({"until": "soon"}, "is not a day: write YYYY-MM-DD"),
    ],
)
def test_a_waiver_is_checked(changed: Ledger, arguments: dict[str, str], said: str) -> None:
    given = {"name": "wine", "version": "1", "rule": "RA002", "path": None, "by": "me", "reason": "known"}
    given |= {"until": TOMORROW, **arguments}
    head = changed.verify()
    with pytest.raises(UsageError, match=said):
        waive(changed, REGISTRY, **given)  # type: ignore[arg-type]
    assert changed.verify() == head


def test_a_resolved_finding_cannot_be_waived(changed: Ledger) -> None:
    record(changed, row())
    with pytest.raises(UsageError, match="has no open finding"):
        do_waive(changed)
