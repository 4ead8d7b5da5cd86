import pytest

from registry_audit.demo.writer import ExpectedResult, unexpected
from registry_audit.report.document import (
    AuditDocument,
    Coverage,
    FindingRow,
    Outcome,
    Registry,
    Summary,
    Tool,
    VersionRow,
)
from registry_audit.rules import RULE_BY_ID
from registry_audit.verdict import Storage, Verdict


def version_row(version: str, verdict: Verdict, *rules: str, name: str = "Churn") -> VersionRow:
    return VersionRow(
        name=name,
        version=version,
        status="READY",
        stage=None,
        aliases=(),
        run_id=None,
        verdict=verdict,
        reason=None,
        baseline=None,
        storage=Storage.UNKNOWN,
        compared_by=None,
        run_model=None,
        reg_model=None,
        differences=(),
        findings=tuple(
            FindingRow(
                rule=rule,
                name=RULE_BY_ID[rule].name,
                severity=RULE_BY_ID[rule].severity,
                message="a message",
                remedy="a remedy",
            )
            for rule in rules
        ),
    )


def document(*rows: VersionRow) -> AuditDocument:
    return AuditDocument(
        generated_at="2026-01-01T00:00:00Z",
        tool=Tool(name="registry-audit", version="0", mlflow="3", python="3"),
        registry=Registry(tracking_uri="sqlite://", registry_uri="sqlite://", mlflow_server=None),
        options={},
        outcome=Outcome(exit_status=0, state="clean"),
        coverage=Coverage(
            listed=len(rows),
            audited=len(rows),
            unverifiable=0,
            skipped=0,
            not_sampled=0,
            files_read=0,
            bytes_read=0,
            storages_read=0,
        ),
        summary=Summary(verdicts={}, baseline={}, findings={}),
        versions=rows,
    )


MISMATCH = ExpectedResult("Churn", "1", "the copy was overwritten", Verdict.MISMATCH, ("RA001",))
HEALTHY = ExpectedResult("Churn", "2", "healthy", Verdict.MATCH, ())


def test_exactly_the_known_damage_is_no_surprise() -> None:
    audit = document(version_row("1", Verdict.MISMATCH, "RA001"), version_row("2", Verdict.MATCH))
    assert unexpected(audit, (HEALTHY, MISMATCH)) == ()


def test_several_findings_of_one_rule_count_once_and_in_any_order() -> None:
    expected = ExpectedResult("Churn", "1", "gone", Verdict.MISMATCH, ("RA001", "RA003"))
    audit = document(version_row("1", Verdict.MISMATCH, "RA003", "RA001", "RA001"))
    assert unexpected(audit, (expected,)) == ()


def test_another_verdict() -> None:
    audit = document(version_row("1", Verdict.MATCH, "RA001"))
    assert unexpected(audit, (MISMATCH,)) == ("Churn/1: verdict match instead of mismatch (the copy was overwritten).",)


@pytest.mark.parametrize(
    ("found", "expected", "words"),
    [
        ((), ("RA001",), "findings none instead of RA001"),
        (("RA003",), ("RA001",), "findings RA003 instead of RA001"),
        (("RA001", "RA003"), ("RA001",), "findings RA001, RA003 instead of RA001"),
        (("RA001",), (), "findings RA001 instead of none"),
    ],
)
def test_other_findings(found: tuple[str, ...], expected: tuple[str, ...], words: str) -> None:
    result = ExpectedResult("Churn", "1", "what happened", Verdict.MISMATCH, expected)
    audit = document(version_row("1", Verdict.MISMATCH, *found))
    assert unexpected(audit, (result,)) == (f"Churn/1: {words} (what happened).",)


def test_any_verdict_will_do_where_none_is_expected_but_the_findings_still_count() -> None:
    result = ExpectedResult("Churn", "1", "deleted", None, ("RA004",))
    for verdict in Verdict:
        assert unexpected(document(version_row("1", verdict, "RA004")), (result,)) == ()
    assert len(unexpected(document(version_row("1", Verdict.MATCH)), (result,))) == 1


def test_another_verdict_and_other_findings_are_two_sentences() -> None:
    assert len(unexpected(document(version_row("1", Verdict.MATCH)), (MISMATCH,))) == 2


def test_an_audit_of_nothing_misses_every_version() -> None:
    assert unexpected(document(), (HEALTHY, MISMATCH)) == (
        "Churn/1 is missing from the audit.",
        "Churn/2 is missing from the audit.",
    )


def test_a_version_nobody_made_is_named_and_shown_harmlessly() -> None:
    audit = document(version_row("1", Verdict.MATCH, name="Support\x1b[31mReply"))
    assert unexpected(audit, ()) == ("Support\\x1b[31mReply/1 was audited but is no version of the demo registry.",)


def test_sentences_are_sorted_by_version_number_whatever_the_order_of_the_rows() -> None:
    rows = [version_row(version, Verdict.MATCH) for version in ("10", "2", "not-a-number")]
    forwards, backwards = unexpected(document(*rows), ()), unexpected(document(*reversed(rows)), ())
    assert forwards == backwards
    assert [sentence.split()[0] for sentence in forwards] == ["Churn/not-a-number", "Churn/2", "Churn/10"]
