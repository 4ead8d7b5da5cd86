"""What audits leave in a ledger, and what the next one makes of it."""

import json
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.ledgers import (
    FILES,
    LOADABLE,
    REGISTRY,
    RecordedAudit,
    listing_of,
    load_memory,
    note,
    options,
    record,
    row,
    scope_of,
    storage_at,
)

from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.rows import outcome_of
from registry_audit.audit.signatures import SignatureView
from registry_audit.errors import UsageError
from registry_audit.ledger.accept import waive
from registry_audit.ledger.audit_entries import ON_FIRST_SIGHT, subject_of
from registry_audit.ledger.chain import Draft, Entry, Kind
from registry_audit.ledger.entry_bodies import AuditFinished, FindingOpened, Waived
from registry_audit.ledger.memory import FindingKey, TrustedReadings
from registry_audit.ledger.record import algorithm_in_use, begin, registry_of, who
from registry_audit.ledger.store import Ledger
from registry_audit.ledger.version_history import absent_versions
from registry_audit.model.listing import Problem
from registry_audit.rules import CONTENT_CHANGED
from registry_audit.verdict import BaselineStatus, Severity, SignatureStatus, Verdict

META = b"model_name: wine\nmodel_version: '1'\n"  # as MLflow writes it

CHANGED = {**FILES, "model.pkl": b"NOISE"}
AGAIN = {**FILES, "model.pkl": b"other"}


def statuses(recorded: RecordedAudit) -> dict[str, str]:
    return {a.version.label: a.baseline.status.value for a in recorded.audits if a.baseline}


def found(recorded: RecordedAudit) -> set[tuple[str, str]]:
    return {(audit.version.label, finding.rule) for audit in recorded.audits for finding in audit.findings}


def of_kind(ledger: Ledger, kind: Kind) -> list[Entry]:
    with ledger.reading() as reader:
        return list(reader.of_kind(kind))


def test_checking_changes_no_baseline(ledger: Ledger) -> None:
    assert statuses(record(ledger, row())) == {"wine/1": "new"}
    assert statuses(record(ledger, row())) == {"wine/1": "new"}
    assert of_kind(ledger, Kind.ACCEPTED) == []
    assert record(ledger, row(), accept_new=True).accepted_count == 1
    for _ in range(2):
        recorded = record(ledger, row(files=CHANGED), accept_new=True)
        assert statuses(recorded) == {"wine/1": "changed"}
        assert recorded.accepted_count == 0
    assert statuses(record(ledger, row(), accept_new=True)) == {"wine/1": "unchanged"}
    assert len(of_kind(ledger, Kind.ACCEPTED)) == 1
    ledger.verify()


def test_a_changed_file_is_named_with_both_sizes_and_digests(ledger: Ledger) -> None:
    record(ledger, row(), accept_new=True)
    (audit,) = record(ledger, row(files={**FILES, "model.pkl": b"longer than before"})).audits
    assert audit.baseline is not None
    (difference,) = audit.baseline.differences
    assert (difference.path, difference.sizes) == ("model.pkl", (5, 18))
    (finding,) = audit.findings
    assert (finding.rule, finding.severity) == ("RA002", Severity.CRITICAL)
    assert finding.remedy == CONTENT_CHANGED.remedy
    old, new = (str(digest)[:19] for digest in difference.digests)
    assert f"'model.pkl' was 5 bytes, {old}, is 18 bytes, {new}" in finding.message


def test_where_no_file_is_left_nobody_is_told_to_accept_the_change(ledger: Ledger) -> None:
    record(ledger, row(), accept_new=True)
    (audit,) = record(ledger, row(files={})).audits
    (finding,) = (finding for finding in audit.findings if finding.rule == "RA002")
    assert finding.remedy == "Find out who removed the files, and restore them: no bytes are left to accept."


def test_an_expected_difference_is_shown_and_is_no_finding(ledger: Ledger) -> None:
    record(ledger, row(files=LOADABLE), accept_new=True)
    (audit,) = record(
        ledger, row(files={**LOADABLE, "registered_model_meta": b"model_name: wine\nmodel_version: '1'\n"})
    ).audits
    assert audit.baseline is not None
    assert (audit.baseline.status, audit.findings) == ("unchanged", ())
    assert [difference.expected_by for difference in audit.baseline.differences] == ["registered-model-meta"]
    (other,) = record(ledger, row(files={**LOADABLE, "registered_model_meta": b"model_name: wine\nevil: 1\n"})).audits
    assert other.baseline is not None
    assert (other.baseline.status, [finding.rule for finding in other.findings]) == ("changed", ["RA002"])


_MLFLOWS = b"model_name: wine\nmodel_version: '1'\n"
_OTHERS = b"model_name: beer\nmodel_version: '7'\n"  # another registered model over the same storage
_OWN = b"weights: 1\n"


@pytest.mark.parametrize(
    ("accepted", "now", "status"),
    [
        (None, _MLFLOWS, "unchanged"),
        (_MLFLOWS, None, "unchanged"),
        (_OTHERS, _MLFLOWS, "unchanged"),
        (_OTHERS, None, "unchanged"),
        (None, _OWN, "changed"),
        (_OWN, _MLFLOWS, "changed"),
        (_OWN, None, "changed"),
        (_MLFLOWS, _OWN, "changed"),
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_only_a_meta_file_that_mlflow_wrote_may_come_go_and_change(
    sqlite_ledger: Ledger, accepted: bytes | None, now: bytes | None, status: str, named: bool
) -> None:
    """Where MLmodel names it, it is a part of the model whatever it says."""
    mlmodel = b"flavors: {x: {file: registered_model_meta}}\n" if named else LOADABLE["MLmodel"]

    def files(meta: bytes | None) -> dict[str, bytes]:
        return {**FILES, "MLmodel": mlmodel} | ({"registered_model_meta": meta} if meta is not None else {})

    record(sqlite_ledger, row(files=files(accepted)), accept_new=True)
    audited = statuses(record(sqlite_ledger, row(files=files(now))))
    assert audited == {"wine/1": "changed" if named else status}


@pytest.mark.parametrize(
    ("verdict", "problem"),
    [
        (Verdict.MISMATCH, Problem("RA001", "they differ", blocks=False)),
        (Verdict.UNVERIFIABLE, Problem("RA003", "gone")),
        (Verdict.SKIPPED, Problem("RA006", "pending", blocks=False)),
        (Verdict.SAME_STORAGE, Problem("RA007", "incomplete", blocks=False)),
        (Verdict.SAME_STORAGE, Problem("RA013", "collides", blocks=False)),
    ],
)
def test_what_is_damaged_is_not_accepted_on_first_sight(ledger: Ledger, verdict: Verdict, problem: Problem) -> None:
    recorded = record(ledger, row(verdict=verdict, problems=(problem,)), accept_new=True)
    assert (recorded.accepted_count, statuses(recorded)) == (0, {"wine/1": "new"})


@pytest.mark.parametrize("rule", ["RA004", "RA005", "RA012"])
def test_trouble_with_the_lineage_does_not_keep_bytes_from_being_remembered(ledger: Ledger, rule: str) -> None:
    assert record(ledger, row(problems=(Problem(rule, "lineage", blocks=False),)), accept_new=True).accepted_count == 1


def test_a_version_that_vanished(ledger: Ledger) -> None:
    record(ledger, row(), row(version="2"), accept_new=True)
    for new in (True, False):
        recorded = record(ledger, row())
        assert statuses(recorded) == {"wine/1": "unchanged", "wine/2": "vanished"}
        assert found(recorded) == {("wine/2", "RA011")}
        assert [finding.new for audit in recorded.audits for finding in audit.findings] == [new]
    back = record(ledger, row(), row(version="2"))
    assert statuses(back) == {"wine/1": "unchanged", "wine/2": "unchanged"}
    assert [(gone.version, gone.rule) for gone in back.resolved] == [("2", "RA011")]


def _deleted_meanwhile(**chosen: Any) -> VersionAudit:
    """What an audit says of a version that the registry listed, and deleted before it was read."""
    listed = row(verdict=Verdict.SKIPPED, listed=False, **chosen)
    return replace(listed, reason="deleted while the audit ran", deleted_meanwhile=True)


def test_an_accepted_version_that_is_deleted_while_the_audit_runs_vanished(ledger: Ledger) -> None:
    record(ledger, row(), row(version="2"), accept_new=True)
    (meanwhile, _) = record(ledger, _deleted_meanwhile(), row(version="2")).audits
    (next_time, _) = record(ledger, row(version="2")).audits
    for audit, new in ((meanwhile, True), (next_time, False)):
        assert audit.baseline is not None
        assert (audit.verdict, audit.baseline.status) == (Verdict.SKIPPED, BaselineStatus.VANISHED)
        assert (audit.version.status, audit.reason) == ("DELETED", "it is no longer in the registry")
        assert [(finding.rule, finding.new) for finding in audit.findings] == [("RA011", new)]


def test_a_version_without_a_baseline_that_is_deleted_while_the_audit_runs_is_skipped(ledger: Ledger) -> None:
    record(ledger, row("beer"), accept_new=True)
    (_, skipped) = record(ledger, row("beer"), _deleted_meanwhile()).audits
    assert (skipped.verdict, skipped.reason, skipped.findings) == (
        Verdict.SKIPPED,
        "deleted while the audit ran",
        (),
    )


def test_what_was_not_asked_for_did_not_vanish(ledger: Ledger) -> None:
    record(ledger, row(), row("beer"), row("tea"), accept_new=True)
    assert found(record(ledger, row(), scope=scope_of(row(), unlisted=(row("beer"), row("tea"))))) == set()
    # Deleted, but outside what was asked for.
    assert found(record(ledger, row(), models=["w*"])) == set()
    assert found(record(ledger, row(), filter="name = 'wine'")) == set()
    assert found(record(ledger, row(), models=["w*", "beer"])) == {("beer/1", "RA011")}


def test_a_version_created_anew_inherits_nothing(ledger: Ledger) -> None:
    record(ledger, row(), accept_new=True)
    recorded = record(ledger, row(created=2_000), accept_new=True)
    assert (statuses(recorded), found(recorded)) == ({"wine/1": "new"}, {("wine/1", "RA011")})
    assert recorded.accepted_count == 0
    assert statuses(record(ledger, row(created=2_000, files=CHANGED))) == {"wine/1": "new"}


def test_findings_have_a_life(ledger: Ledger) -> None:
    record(ledger, row(), accept_new=True)
    first = record(ledger, row(files=CHANGED))
    (finding,) = first.audits[0].findings
    assert (finding.new, first.resolved) == (True, ())
    second = record(ledger, row(files=CHANGED))
    (finding,) = second.audits[0].findings
    assert (finding.new, finding.first_seen) == (False, first.head.at[:10])
    third = record(ledger, row())
    assert [(gone.rule, gone.first_seen) for gone in third.resolved] == [("RA002", first.head.at)]
    assert record(ledger, row()).resolved == ()
    assert record(ledger, row(files=CHANGED)).audits[0].findings[0].new is True
    assert first.previous_audit_at is not None
    kinds = [entry.kind for entry in of_kind(ledger, Kind.FINDING_OPENED)]
    assert (len(kinds), len(of_kind(ledger, Kind.FINDING_RESOLVED))) == (2, 1)


def test_a_finding_outlives_audits_that_could_not_look(ledger: Ledger) -> None:
    record(ledger, row(), accept_new=True)
    record(ledger, row(files=CHANGED))
    other = row("beer")
    assert record(ledger, other, scope=scope_of(other, unlisted=(row(),))).resolved == ()
    denied = row(verdict=Verdict.UNVERIFIABLE, problems=(Problem("RA009", "denied"),), listed=False)
    assert record(ledger, denied).resolved == ()
    again = record(ledger, row(files=CHANGED))
    assert [(finding.rule, finding.new) for finding in again.audits[0].findings] == [("RA002", False)]
    assert [gone.rule for gone in again.resolved] == ["RA009"]


def test_a_finding_outlives_an_audit_that_read_half_of_it(ledger: Ledger) -> None:
    """It skipped the version, or could read one copy only and saw already that the two differ."""
    record(ledger, row(), accept_new=True)
    record(ledger, row(files=CHANGED))
    skipped = row(verdict=Verdict.SKIPPED, problems=(Problem("RA006", "pending", blocks=False),), listed=False)
    differ = Problem("RA001", "one file differs", blocks=False)
    half = row(run_files=AGAIN, verdict=Verdict.MISMATCH, problems=(differ, Problem("RA009", "denied")))
    assert half.reg_model is not None
    half = replace(half, reg_model=replace(half.reg_model, manifest=None, manifest_digest=None))
    for unread in (skipped, half):
        assert record(ledger, unread).resolved == ()
    ended = {(gone.rule, gone.by) for gone in record(ledger, row()).resolved}
    assert ("RA002", "the bytes of the baseline came back") in ended
    assert {rule for rule, _ in ended} == {"RA001", "RA002", "RA006", "RA009"}


def test_a_finding_outlives_an_audit_that_was_denied_its_version(ledger: Ledger) -> None:
    """MLflow omits the version from its lists, as if it had been deleted."""
    record(ledger, row("tea"), row(problems=(Problem("RA007", "half", blocks=False),)))
    assert absent_versions(ledger, REGISTRY, scope_of(row("tea")), options()) == (("wine", "1"),)
    assert record(ledger, row("tea"), hidden={("wine", "1"): "permission denied"}).resolved == ()
    (gone,) = record(ledger, row("tea")).resolved
    assert (gone.rule, gone.by) == ("RA007", "the version is no longer in the registry")


def _signed(status: SignatureStatus | None, *problems: Problem) -> VersionAudit:
    return replace(row(problems=problems), signature=SignatureView(status, "so") if status else None)


@pytest.mark.parametrize(
    ("rule", "found"), [("RA014", SignatureStatus.INVALID), ("RA009", SignatureStatus.UNVERIFIABLE)]
)
def test_what_was_found_with_a_key_ends_with_one(ledger: Ledger, rule: str, found: SignatureStatus) -> None:
    record(ledger, _signed(found, Problem(rule, "it does not hold", "model.sig", blocks=False)))
    without = record(ledger, _signed(SignatureStatus.NOT_VERIFIED), accept_new=rule == "RA014")
    assert (without.resolved, without.accepted_count) == ((), 0)
    (ended,) = record(ledger, _signed(SignatureStatus.VERIFIED), accept_new=True).resolved
    assert (ended.rule, ended.by) == (rule, "this audit no longer found it")
    assert len(of_kind(ledger, Kind.ACCEPTED)) == 1


def test_a_signature_that_was_taken_away_is_said_to_be_gone(ledger: Ledger) -> None:
    record(ledger, _signed(SignatureStatus.INVALID, Problem("RA014", "it does not hold", "model.sig", blocks=False)))
    (ended,) = record(ledger, _signed(None)).resolved
    assert ended.by == "the model no longer holds a signature"


def test_a_finding_outlives_a_filtered_audit(ledger: Ledger) -> None:
    record(ledger, row(), row("beer"), accept_new=True)
    record(ledger, row(files=CHANGED), row("beer"))
    filtered = record(ledger, row("beer"), filter="name = 'beer'")
    assert filtered.resolved == ()
    again = record(ledger, row(files=CHANGED), row("beer"))
    assert [finding.new for audit in again.audits for finding in audit.findings] == [False]


def test_an_unreadable_version_keeps_its_baseline(ledger: Ledger) -> None:
    record(ledger, row(), accept_new=True)
    denied = row(verdict=Verdict.UNVERIFIABLE, problems=(Problem("RA009", "denied"),), listed=False)
    recorded = record(ledger, denied, accept_new=True)
    assert statuses(recorded) == {"wine/1": "not_read"}
    assert statuses(record(ledger, row())) == {"wine/1": "unchanged"}


def test_registries_do_not_mix(ledger: Ledger) -> None:
    record(ledger, row(), accept_new=True)
    other = row(files=CHANGED, created=2_000)
    elsewhere = scope_of(other, registry="http://other:5000")
    assert statuses(record(ledger, other, scope=elsewhere)) == {"wine/1": "new"}
    with ledger.reading() as reader:
        assert reader.registries() == [REGISTRY, "http://other:5000"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://h:5000", "http://h:5000/"),
        ("http://h:5000", "http://user:secret@h:5000"),
        ("http://h:5000", "http://token@h:5000"),
        ("postgresql://u:p@h/db", "postgresql://h/db"),
    ],
)
def test_one_registry_has_one_name_for_everybody(one: str, other: str) -> None:
    assert registry_of(one) == registry_of(other)
    assert "secret" not in registry_of(other)


def test_two_registries_have_two_names() -> None:
    uris = ["http://h:5000", "http://h:5001", "https://h:5000", "databricks", "databricks://one", "uc:one"]
    assert len({registry_of(uri) for uri in uris}) == len(uris)


def test_an_audit_that_never_ended_left_only_its_beginning(ledger: Ledger) -> None:
    begin(ledger, scope_of(row()), options(), "killed")
    record(ledger, row(), audit_id="whole")
    started = {entry.audit_id for entry in of_kind(ledger, Kind.AUDIT_STARTED)}
    finished = {entry.audit_id for entry in of_kind(ledger, Kind.AUDIT_FINISHED)}
    assert (started, finished) == ({"killed", "whole"}, {"whole"})
    ledger.verify()


def test_an_audit_is_recorded_whole_or_not_at_all(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    record(ledger, row(), accept_new=True)
    head = ledger.verify()

    class Broken(RuntimeError):
        pass

    def drafts():  # type: ignore[no-untyped-def]
        yield note()
        raise Broken

    with pytest.raises(Broken):
        ledger.append(drafts())
    assert ledger.verify() == head


def test_another_digest_algorithm_needs_another_ledger(ledger: Ledger) -> None:
    record(ledger, row(), accept_new=True)
    with pytest.raises(UsageError, match="baselines in the ledger are sha256: audit with --digest sha256"):
        begin(ledger, scope_of(row()), options(digest="blake3"), "other")


def test_without_a_baseline_the_algorithm_of_the_readings_is_in_use(ledger: Ledger) -> None:
    def in_use() -> str | None:
        with ledger.reading() as reader:
            return algorithm_in_use(reader, REGISTRY)

    assert in_use() is None
    record(ledger, row(listed=False, verdict=Verdict.UNVERIFIABLE), row("tea", algorithm="blake3"), digest="blake3")
    assert in_use() == "blake3"
    record(ledger, row("beer", created=2_000), accept_new=True)
    assert in_use() == "sha256"


def test_a_version_accepted_as_gone_does_not_hide_the_algorithm(ledger: Ledger) -> None:
    ledger.append([Draft(Kind.ACCEPTED, REGISTRY, "ale", "1", body={"manifest": None, "by": "me", "reason": "gone"})])
    record(ledger, row(), accept_new=True)
    with pytest.raises(UsageError, match="baselines in the ledger are sha256"):
        begin(ledger, scope_of(row()), options(digest="blake3"), "other")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("sqlite", "lone \udcff surrogate"),
        pytest.param("postgres", "lone \udcff surrogate", marks=pytest.mark.postgres),
        ("sqlite", "a\x00b"),
        pytest.param("postgres", "a\x00b", marks=pytest.mark.postgres),
    ],
    indirect=["url"],
    ids=ascii,
)
def test_a_hostile_name_does_not_keep_an_audit_from_being_recorded(ledger: Ledger, name: str) -> None:
    record(ledger, row(), row(name), accept_new=True)
    assert statuses(record(ledger, row(), row(name))) == {"wine/1": "unchanged", f"{name}/1": "unchanged"}


@pytest.mark.parametrize("name", ["a\x00b", "team\\ud8", "\\x00", "\ud800\\"], ids=ascii)
def test_a_name_that_is_stored_otherwise_is_remembered_as_any_other(sqlite_ledger: Ledger, name: str) -> None:
    """Nobody is told that it is gone, or each time anew of its findings."""
    ledger = sqlite_ledger
    record(ledger, row(), row(name), accept_new=True)
    assert found(record(ledger, row(), scope=scope_of(row(), unlisted=(row(name),)))) == set()
    for new in (True, False):
        recorded = record(ledger, row(), row(name, files=CHANGED))
        assert [finding.new for audit in recorded.audits for finding in audit.findings] == [new]
    waive(ledger, REGISTRY, name, "1", "RA002", path=None, by="me", reason="known", until="2999-12-31")
    recorded = record(ledger, row(), row(name, files=CHANGED))
    assert all(finding.waiver for audit in recorded.audits for finding in audit.findings)
    assert [gone.rule for gone in record(ledger, row(), row(name)).resolved] == ["RA002"]
    assert record(ledger, row(), row(name)).resolved == ()
    for new in (True, False):
        recorded = record(ledger, row())
        assert statuses(recorded) == {"wine/1": "unchanged", f"{name}/1": "vanished"}
        assert [finding.new for audit in recorded.audits for finding in audit.findings] == [new]


def test_a_number_that_is_stored_otherwise_is_found_once(sqlite_ledger: Ledger) -> None:
    strange = row("wine", "\0", verdict=Verdict.UNVERIFIABLE, problems=(Problem("RA009", "?"),), listed=False)
    news = [record(sqlite_ledger, strange).audits[0].findings[0].new for _ in range(2)]
    assert news == [True, False]


@pytest.mark.parametrize("called", ["team\\ud8", "a\\x00b"])
def test_a_registry_whose_name_is_stored_otherwise(sqlite_ledger: Ledger, called: str) -> None:
    record(sqlite_ledger, row(), accept_new=True, registry_name=called)
    for _ in range(2):
        assert statuses(record(sqlite_ledger, row(), registry_name=called)) == {"wine/1": "unchanged"}


@pytest.mark.parametrize("name", ["'; DROP TABLE entries; --", "%s %(x)s :name", "café 名前 \u202e", "a\nb", "x" * 256])
def test_names_are_data(ledger: Ledger, name: str) -> None:
    record(ledger, row(name), accept_new=True)
    assert statuses(record(ledger, row(name))) == {f"{name}/1": "unchanged"}
    ledger.verify()


def trusted(ledger: Ledger, identity: str, marker: str, full_every: int | None = None) -> tuple[object, str] | None:
    return TrustedReadings(ledger, REGISTRY, full_every)(
        storage_at(identity).key, listing_of(FILES, marker).fingerprint()
    )


@pytest.mark.parametrize(
    ("name", "version"),
    [("wine", "9" * 5_000), ("wine", "1." * 30), ("".join(chr(0x4E00 + 7 * n) for n in range(2_500)), "1")],
    ids=["digits", "dots", "name"],
)
def test_a_version_that_no_database_can_name_costs_its_own_row(ledger: Ledger, name: str, version: str) -> None:
    """Databases bound what they index; a hostile server does not."""
    strange = row(name, version, verdict=Verdict.UNVERIFIABLE, problems=(Problem("RA009", "?"),), listed=False)
    recorded = record(ledger, row(), strange, accept_new=True)
    assert (recorded.accepted_count, len(recorded.audits)) == (1, 2)
    again = record(ledger, row(), strange)
    assert strange.version in [audit.version for audit in again.audits]
    ledger.verify()


def test_a_full_reading_is_trusted_while_the_fingerprint_is_the_same(ledger: Ledger) -> None:
    storage = "s3://models/wine/1"
    assert trusted(ledger, storage, "etag") is None
    recorded = record(ledger, row())
    found = trusted(ledger, storage, "etag", full_every=1)
    assert found is not None
    assert found[1] >= recorded.head.at  # the clock of the reading, not of the entry
    assert trusted(ledger, storage, "other") is None
    assert trusted(ledger, "s3://models/wine/2", "etag") is None
    record(ledger, row(change_token="other", files=CHANGED))
    assert trusted(ledger, storage, "etag") is None, "only the newest reading of a version counts"


def test_a_listing_that_tells_no_changes_is_never_trusted(ledger: Ledger) -> None:
    record(ledger, row(change_token=""))
    assert trusted(ledger, "s3://models/wine/1", "") is None


@pytest.mark.parametrize(("days", "found"), [(None, True), (30, True), (1, False)])
def test_an_old_reading_is_not_trusted(ledger: Ledger, days: int | None, found: bool) -> None:
    record(ledger, row())
    with ledger.reading() as reader:
        (entry,) = reader.of_kind(Kind.READING)
    ten_days_ago = (datetime.now(UTC) - timedelta(days=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = json.loads(entry.body)
    body["storages"][0][3] = ten_days_ago
    ledger.append([Draft(Kind.READING, REGISTRY, "wine", "1", "later", body)])
    assert (trusted(ledger, "s3://models/wine/1", "etag", days) is not None) == found


def test_the_memory_of_an_unknown_registry_is_empty(ledger: Ledger) -> None:
    record(ledger, row(), accept_new=True)
    with ledger.reading() as reader:
        memory = load_memory(reader, "http://nowhere")
    assert (memory.baselines, memory.open_findings, memory.waivers, memory.last_readings) == ({}, {}, {}, {})
    assert memory.previous_audit is None


def test_the_ending_is_in_the_ledger(ledger: Ledger) -> None:
    record(ledger, row(), accept_new=True)
    recorded = record(ledger, row(files=CHANGED))
    finished = json.loads(of_kind(ledger, Kind.AUDIT_FINISHED)[-1].body)
    assert finished["exit_status"] == outcome_of(recorded.audits, Severity.MEDIUM).exit_status == 1
    assert finished["verdicts"]["same_storage"] == 1
    assert recorded.head.kind == Kind.AUDIT_FINISHED


def test_what_others_found_is_told_once(ledger: Ledger) -> None:
    """By the first audit that tells people; of a check or a command only who asked knows."""
    record(ledger, row(), accept_new=True)
    changed = row(files=CHANGED)
    (found,) = record(ledger, changed, audit_id="check").audits
    assert [finding.new for finding in found.findings] == [True]
    told: list[list[FindingKey]] = []
    for night in ("one", "two"):
        (audit,) = record(ledger, changed, audit_id=night, tell=lambda keys: told.append(list(keys))).audits
        assert [finding.new for finding in audit.findings] == [False], "the report says what the ledger knows"
        record(ledger, changed, audit_id=f"check {night}")
    assert told == [[("wine", "1", "RA002", "")], []]


def test_what_an_audit_told_is_untold_again_only_once_it_has_ended(ledger: Ledger) -> None:
    told: list[list[FindingKey]] = []

    def tell(keys: Collection[FindingKey]) -> None:
        told.append(list(keys))

    record(ledger, row(), accept_new=True)
    record(ledger, row(files=CHANGED), audit_id="one", tell=tell)  # new: the report says so
    record(ledger, row(files=CHANGED), audit_id="two", tell=tell)
    record(ledger, row(), audit_id="check")
    record(ledger, row(files=CHANGED), audit_id="check again")
    record(ledger, row(files=CHANGED), audit_id="three", tell=tell)
    assert told == [[], [], [("wine", "1", "RA002", "")]]


def test_what_an_older_release_has_found_was_told(ledger: Ledger) -> None:
    """It did not record who tells: an update is no reason to tell everything once more."""
    record(ledger, row(), accept_new=True)
    ledger.append(
        [
            FindingOpened(rule="RA002", path=None, severity="critical").draft(REGISTRY, "wine", "1", "old"),
            AuditFinished(exit_status=1, verdicts={}, listed=1).draft(REGISTRY, audit_id="old"),
        ]
    )
    told: list[FindingKey] = []
    (audit,) = record(ledger, row(files=CHANGED), tell=told.extend).audits
    assert [finding.new for finding in audit.findings] == [False]
    assert told == []


def test_a_waived_finding_is_told_once_its_waiver_no_longer_holds(ledger: Ledger) -> None:
    record(ledger, row(), accept_new=True)
    (found,) = record(ledger, row(files=CHANGED), audit_id="check").audits
    assert found.reg_model is not None
    digest = found.reg_model.manifest_digest
    waived = Waived(
        rule="RA002", path=None, by="me", reason="known", until="2999-12-31",
        run_manifest=digest, manifest=digest, differences=subject_of(found).differences, paths=("",),
    )  # fmt: skip
    ledger.append([waived.draft(REGISTRY, "wine", "1")])
    told: list[FindingKey] = []
    (audit,) = record(ledger, row(files=CHANGED), audit_id="one", tell=told.extend).audits
    assert audit.findings[0].waiver is not None
    assert told == []
    record(ledger, row(files=AGAIN), audit_id="two", tell=told.extend)
    assert told == [("wine", "1", "RA002", "")]


def test_a_report_tells_which_baselines_its_own_audit_accepted(ledger: Ledger) -> None:
    (first,) = record(ledger, row(), accept_new=True).audits
    assert first.baseline is not None
    assert (first.baseline.accepted_now, first.baseline.reason) == (True, ON_FIRST_SIGHT)
    (second,) = record(ledger, row(), accept_new=True).audits
    assert second.baseline is not None
    assert (second.baseline.accepted_now, second.baseline.accepted_by) == (False, first.baseline.accepted_by)
    assert second.baseline.accepted_at == first.baseline.accepted_at is not None


def test_a_version_has_a_life_and_a_selection_a_past(ledger: Ledger) -> None:
    record(ledger, row(), accept_new=True, audit_id="first")
    changed = record(ledger, row(files=CHANGED), audit_id="second")
    record(ledger, row(files=CHANGED), models=("other",), audit_id="of another selection")
    (audit,) = changed.audits
    assert [(event.kind, event.what.partition(":")[0]) for event in audit.life] == [
        ("accepted", f"accepted by {who()}"),
        ("found", "RA002 critical found"),
    ]
    now = record(ledger, row(), audit_id="third")
    assert [event.kind for event in now.audits[0].life] == ["accepted", "found"], "what ends now is told as resolved"
    assert [event.kind for event in record(ledger, row()).audits[0].life] == ["accepted", "found", "resolved"]
    assert [(past.exit_status, past.listed, past.findings) for past in now.recorded.past] == [
        (0, 1, {}),
        (1, 1, {"critical": 1}),
        (0, 1, {}),
    ]


def test_what_ended_a_finding_is_told(ledger: Ledger) -> None:
    files = {**LOADABLE, "model.pkl": b"NOISE"}
    changed = row(files=files)
    record(ledger, row(), accept_new=True)
    record(ledger, changed)
    assert [gone.by for gone in record(ledger, row()).resolved] == ["the bytes of the baseline came back"]
    record(ledger, changed)
    manifest = changed.reg_model.manifest if changed.reg_model else None
    assert manifest is not None
    body = {"manifest": manifest.digest(), "by": "alice", "reason": "retrained", "creation_time_ms": 1_000}
    ledger.append([Draft(Kind.ACCEPTED, REGISTRY, "wine", "1", body=body)])
    # MLflow wrote into it since then: that is not what ended the finding.
    (gone,) = record(ledger, row(files={**files, "registered_model_meta": META})).resolved
    assert gone.by.startswith("a new baseline, which alice accepted on ")
    assert gone.by.endswith(": retrained")
