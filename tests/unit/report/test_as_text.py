"""The terminal's form: one line per version, then findings, legend, summary."""

from typing import Any

import pytest
from support.reports import make_document, make_finding, make_version, make_waiver

from registry_audit.report import as_text
from registry_audit.report.document import AuditDocument
from registry_audit.report.lines import LEGEND, version_line
from registry_audit.report.overview import is_clean
from registry_audit.report.view import lede
from registry_audit.report.words import VERDICT_WORDS, age_words, bytes_words, moment_words, short_digest
from registry_audit.report.write import render
from registry_audit.verdict import Verdict


@pytest.mark.parametrize(
    ("verdict", "symbol"),
    [
        (Verdict.MATCH, "="),
        (Verdict.SAME_STORAGE, "@"),
        (Verdict.EQUIVALENT, "~"),
        (Verdict.MISMATCH, "*"),
        (Verdict.UNVERIFIABLE, "?"),
        (Verdict.SKIPPED, "."),
    ],
)
def test_each_verdict_has_its_symbol(verdict: Verdict, symbol: str) -> None:
    assert version_line(make_version("Wine", "3", verdict)) == f"{symbol} Wine/3"
    assert f"\n{symbol} {VERDICT_WORDS[verdict].label.lower()} " in f"\n{LEGEND}"


def test_what_is_wrong_stands_after_a_tab() -> None:
    denied = make_version("Wine", "4", Verdict.UNVERIFIABLE, reason="denied")
    assert version_line(denied) == "? Wine/4\tdenied"
    found = (make_finding("RA002", "changed"), make_finding("RA004", "deleted"))
    assert version_line(make_version("Wine", "4", findings=found)) == "= Wine/4\tRA002 critical, RA004 high"
    found = (make_finding("RA007", "a is missing"), make_finding("RA004", "deleted"), make_finding("RA007", "b is"))
    assert version_line(make_version("Wine", "4", findings=found)) == "= Wine/4\tRA007 high (2 times), RA004 high"


def test_a_ready_version_without_a_model_is_marked() -> None:
    missing = (make_finding("RA003", "gone"),)
    assert version_line(make_version("Wine", "1", Verdict.SAME_STORAGE, findings=missing)).startswith("! Wine/1\t")
    pending = make_version("Wine", "1", Verdict.SKIPPED, status="PENDING_REGISTRATION", findings=missing)
    assert version_line(pending).startswith(". ")


def test_differences_are_indented_under_their_version(sample: AuditDocument) -> None:
    text = render(sample, "text")
    assert "* fraud-score/7\tRA001 critical\n  ~ MLmodel (expected: registered-model-meta)\n  * model.pkl\n" in text
    assert "\n  + preprocessing/encoder.joblib\n  - requirements.txt\n" in text


def test_no_text_of_the_registry_breaks_a_line(hostile: AuditDocument) -> None:
    text = render(hostile, "text")
    assert all(character.isprintable() or character in "\n\t" for character in text)
    versions = text.partition("\n\n")[0].splitlines()
    # The version, its difference, who accepted, and two differences from that.
    marks = ["* ", "  ~ ", "  not", "    *", "    ~"]
    assert all(line.startswith(mark) for line, mark in zip(versions, marks * len(hostile.versions), strict=True))


@pytest.mark.parametrize("verdict", list(Verdict))
@pytest.mark.parametrize("waived", [True, False])
def test_a_changed_baseline_never_shows_as_a_pass(
    verdict: Verdict,
    waived: bool,
) -> None:
    changed = make_finding("RA002", "changed", waived=make_waiver() if waived else None)
    row = make_version("Wine", "1", verdict, baseline="changed", reason="why", findings=(changed,))
    line = version_line(row)
    assert line.startswith("* Wine/1\tRA002 critical")
    assert ("(waived)" in line) is waived


def test_what_changed_since_the_baseline_is_told_with_both_sides_and_who_accepted(with_ledger: AuditDocument) -> None:
    text = render(with_ledger, "text")
    assert (
        "* churn-classifier/2\tRA002 critical\n"
        "  not what alice@laptop accepted on 2025-02-01 06:00 UTC:\n"
        "    * MLmodel  41,204 bytes sha256:3f3f3f3f3f3f… -> 41,204 bytes sha256:b07eb07eb07e…\n"
    ) in text
    assert "\n    + notes/extra.txt  41,204 bytes sha256:b07eb07eb07e…\n" in text
    assert "\n    - requirements.txt  was 41,204 bytes sha256:3f3f3f3f3f3f…\n" in text
    assert "what alice@laptop accepted on 2025-02-01 06:00 UTC, but for expected differences:\n    ~ reg" in text


def test_bytes_that_were_not_read_are_told_with_the_age_of_the_last_reading(with_ledger: AuditDocument) -> None:
    text = render(with_ledger, "text")
    assert "= fraud-score/7\tnot read; last read in full 2025-03-08 06:00 UTC\n" in text
    assert "@ prices/eu/3\tRA004 high; not read; last read in full 2025-03-12 06:00 UTC\n" in text
    assert "8 audited (2 not read)" in text
    assert "the oldest of 2025-03-08 06:00 UTC, 6 days before this audit" in text


def test_a_version_that_vanished_is_told_as_one(with_ledger: AuditDocument) -> None:
    text = render(with_ledger, "text")
    assert "\n. search-ranker/1\tRA011 medium: it is no longer in the registry\n" in text
    assert "1 skipped (1 vanished)" in text


def test_findings_have_a_life(with_ledger: AuditDocument) -> None:
    text = render(with_ledger, "text")
    findings, _, waived = text.partition("\nWaived findings: ")
    waived, _, resolved = waived.partition("\nResolved since the audit of 2025-03-13 06:00 UTC\n")
    assert "RA002 content-changed  churn-classifier/2  (new)\n" in findings
    assert "RA004 run-deleted  prices/eu/3  (known since 2025-03-01)\n" in findings
    assert "Waived by erin@risk until 2025-06-30: Known to the risk team.\n" in waived
    assert "  RA007 model-incomplete  prices/eu/4: model.skops  (first seen 2025-03-02)\n" in resolved
    assert "\n            2 new, 3 known, 2 resolved since the audit of 2025-03-13 06:00 UTC.\n" in text
    assert "1 critical, 1 high, 1 medium, 2 waived" in text


def test_what_was_waived_since_is_not_called_resolved(with_ledger: AuditDocument) -> None:
    row, finding = next((row, found) for row in with_ledger.versions for found in row.findings if found.waived)
    there = {"name": row.name, "version": row.version, "rule": finding.rule, "path": finding.path}
    waived = with_ledger.resolved[0].model_copy(update={**there, "by": "a waiver, which somebody gave"})
    document = with_ledger.model_copy(update={"resolved": (*with_ledger.resolved[:1], waived)})
    text = render(document, "text")
    assert "2 resolved or waived since the audit of 2025-03-13 06:00 UTC" in text
    assert "2 resolved or waived since the audit of" in render(document, "html")
    assert "\nResolved or waived since the audit of 2025-03-13 06:00 UTC\n" in text


def test_a_finding_that_can_be_accepted_names_the_command(with_ledger: AuditDocument) -> None:
    lines = [line.strip() for line in render(with_ledger, "text").splitlines()]
    where = '--tracking-uri https://mlflow.example.com --ledger "${REGISTRY_AUDIT_LEDGER:?}"'
    accept = "registry-audit baseline accept"
    assert f"Accept the change: {accept} churn-classifier/2 --reason '' {where}" in lines
    assert f"Accept that it is gone: {accept} search-ranker/1 --reason '' {where}" in lines
    assert sum("baseline accept" in line for line in lines) == 2  # not where the baseline is not what is wrong


def test_without_a_ledger_there_is_nothing_to_accept(with_ledger: AuditDocument) -> None:
    assert "baseline accept" not in render(with_ledger.model_copy(update={"ledger": None}), "text")


def test_the_first_audit_says_that_it_is_the_first(with_ledger: AuditDocument) -> None:
    assert with_ledger.changes is not None
    for new, words in ((25, "25 new"), (0, "No findings")):
        changes = with_ledger.changes.model_copy(update={"since": None, "new": new, "known": 0})
        text = render(with_ledger.model_copy(update={"changes": changes}), "text")
        assert f"{words}: the first audit of this registry in this ledger." in text


@pytest.mark.parametrize(
    ("new", "accepted", "asked", "words"),
    [
        (1, 1, True, "It was accepted as seen now."),
        (1, 0, False, "It was not accepted yet: audit with --accept-new to accept what is sound as it is now."),
        (1, 0, True, "It was not accepted: it is damaged, unfinished or not readable in full."),
        (3, 3, True, "All of them were accepted as seen now."),
        (
            3,
            2,
            True,
            "2 of them were accepted as seen now; the other one is damaged, unfinished or not readable in full.",
        ),
        (3, 1, True, "1 of them was accepted as seen now; the others are damaged, unfinished or not readable in full."),
        (3, 0, True, "None of them was accepted: they are damaged, unfinished or not readable in full."),
        (3, 0, False, "None of them was accepted yet: audit with --accept-new to accept what is sound as it is now."),
    ],
)
def test_what_is_new_to_the_ledger_was_accepted_or_not(
    new: int,
    accepted: int,
    asked: bool,
    words: str,
    with_ledger: AuditDocument,
) -> None:
    assert with_ledger.ledger is not None
    ledger = with_ledger.ledger.model_copy(update={"accepted_new": accepted})
    rows = [make_version("m", str(number), baseline="new") for number in range(1, new + 1)]
    document = make_document(rows, ledger=ledger)
    document = document.model_copy(update={"options": document.options | {"accept_new": asked}})
    assert f"cannot be seen. {words}\n" in render(document, "text")


def test_what_was_left_out_says_by_which_option(sample: AuditDocument) -> None:
    chosen = sample.options | {"models": ["Wine-*"], "latest": 2, "subset": None}
    text = render(sample.model_copy(update={"options": chosen}), "text")
    assert "2 of 12 versions were left out by --model and --latest." in text
    text = render(sample.model_copy(update={"options": {}}), "text")
    assert "2 of 12 versions were not part of this audit." in text


def test_nothing_audited_is_not_told_as_no_ledger(with_ledger: AuditDocument) -> None:
    text = render(make_document([], ledger=with_ledger.ledger), "text")
    assert "\n  Baseline  none\n" in text
    assert "\n  Verdicts  none\n" in text


@pytest.mark.parametrize("form", ["text", "markdown", "html", "junit"])
def test_the_head_of_the_ledger_is_told_in_full(form: Any, with_ledger: AuditDocument, sample: AuditDocument) -> None:
    assert with_ledger.ledger is not None
    assert with_ledger.ledger.head in render(with_ledger, form)
    if form != "junit":
        assert "proves that the past was not rewritten" in render(with_ledger, form)
        assert "proves that the past was not rewritten" not in render(sample, form)


def test_the_summary_states_the_denominator(sample: AuditDocument) -> None:
    text = render(sample, "text")
    assert "12 listed, 8 audited, 1 unverifiable, 1 skipped, 2 not sampled" in text
    assert "nothing was compared" in text


def test_clean_says_beside_it_that_nothing_was_compared() -> None:
    rows = [make_version("Wine", "1", Verdict.SAME_STORAGE, baseline=None)]
    assert "Each has one copy only, so nothing was compared." in render(make_document(rows), "text")
    new = [make_version("Wine", "1", Verdict.SAME_STORAGE, baseline="new")]
    assert "Each has one copy only and is new to the ledger, so nothing was compared." in render(
        make_document(new), "text"
    )
    known = [*new, make_version("Wine", "2", Verdict.SAME_STORAGE, baseline="unchanged")]
    assert "All are" not in render(make_document(known), "text")
    assert "1 of them has one copy only and is new to the ledger: nothing was compared there." in render(
        make_document(known), "text"
    )


def test_clean_says_beside_it_what_was_not_read_and_what_is_waived() -> None:
    found = (make_finding("RA002", "changed", waived=make_waiver()), make_finding("RA005", "gone"))
    document = make_document([make_version("Wine", "1", findings=found)])
    assert lede(document) == (
        "1 of 1 listed version audited, no finding at severity medium or above that is not waived. "
        "1 finding below that. 1 finding is waived."
    )
    document = make_document([make_version("Wine", "1", baseline="not_read"), make_version("Wine", "2")])
    unread = document.model_copy(update={"coverage": document.coverage.model_copy(update={"not_read": 1})})
    assert lede(unread) == (
        "2 of 2 listed versions audited, no finding at severity medium or above. "
        "1 of them was not read: its fingerprint is unchanged."
    )


def test_clean_says_first_what_is_good() -> None:
    def rows(*days: str, **also: Any) -> AuditDocument:
        known = [make_version("Wine", str(n), accepted_at=f"{day}T06:00:00Z", **also) for n, day in enumerate(days, 1)]
        return make_document(known)

    assert lede(rows("2026-11-02", "2026-11-02")).startswith(
        "2 of 2 versions are byte for byte what was accepted on 2026-11-02. 2 of 2 listed versions audited"
    )
    assert lede(rows("2026-11-02", "2026-10-01")).startswith(
        "2 of 2 versions are byte for byte what was accepted between 2026-10-01 and 2026-11-02."
    )
    for unread in ({"last_read_at": "2026-11-03T06:00:00Z"}, {"baseline": "new"}, {"accepted_now": True}):
        assert "byte for byte" not in lede(rows("2026-11-02", **unread))


def test_nothing_audited_is_not_told_as_a_pass() -> None:
    text = render(make_document([]), "text")
    assert "Incomplete (exit status 3)" in text
    assert "That is not a pass" in text


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (9_994, "9.99 kB"), (9_996, "10.0 kB"), (99_960, "100 kB"),
        (999_499, "999 kB"), (999_500, "1.00 MB"), (34_500_000, "34.5 MB"), (2 * 10**12, "2.00 TB"),
        (5 * 10**15, "5.00 PB"),
    ],
)  # fmt: skip
def test_sizes_have_three_digits(number: int, words: str) -> None:
    assert bytes_words(number) == words


def test_times_are_told_to_the_minute_and_other_texts_as_they_are() -> None:
    assert moment_words("2025-02-01T07:00:09+01:00") == "2025-02-01 06:00 UTC"
    for text in ("", "2025-02-01T07:00:09", "yesterday"):
        assert moment_words(text) == text


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
def test_a_time_beyond_the_calendar_is_shown_as_it_is(at: str) -> None:
    assert moment_words(at) == at


@pytest.mark.parametrize(
    ("then", "words"),
    [
        ("2025-03-14T05:30:00Z", "less than an hour"),
        ("2025-03-14T05:00:00Z", "1 hour"),
        ("2025-03-12T06:30:00Z", "47 hours"),
        ("2025-03-12T06:00:00Z", "2 days"),
        ("2025-03-14T07:00:00Z", ""),
        ("never", ""),
    ],
)
def test_an_age_is_told_in_hours_then_in_days(then: str, words: str) -> None:
    assert age_words(then, "2025-03-14T06:00:00Z") == words


def test_a_digest_is_shortened_after_its_algorithm() -> None:
    assert short_digest("sha256:" + "ab" * 32) == "sha256:abababababab…"
    assert short_digest("") == ""


def test_a_terminal_shows_what_is_wrong_and_counts_the_rest(sample: AuditDocument) -> None:
    brief, full = "".join(as_text.chunks(sample, brief=True)), render(sample, "text")
    clean = [row for row in sample.versions if is_clean(row) and "\t" not in version_line(row)]
    assert clean
    for row in sample.versions:
        assert (f"{version_line(row)}\n" in brief) is (row not in clean)
        assert f"{version_line(row)}\n" in full
    assert f"{len(clean)} version" in brief
    assert "not listed: -v lists them\n" in brief


def test_the_legend_of_a_terminal_explains_the_signs_that_are_shown() -> None:
    denied = make_document([make_version("Wine", "4", Verdict.UNVERIFIABLE, reason="denied")])
    text = "".join(as_text.chunks(denied, brief=True))
    assert "? unverifiable" in text
    assert "= match" not in text


def test_the_first_sentence_counts_what_the_list_shows() -> None:
    """RA009 has an exit status of its own, and is listed like any other finding."""
    changed = make_version("Wine", "1", findings=(make_finding("RA002", "changed"),))
    denied, gone = make_finding("RA009", "denied"), make_finding("RA003", "gone")
    unread = [make_version("Wine", n, Verdict.UNVERIFIABLE, findings=(denied,)) for n in ("2", "3")]
    missing = [make_version("Wine", n, Verdict.UNVERIFIABLE, findings=(gone,)) for n in ("4", "5")]
    document = make_document([changed, *unread])
    assert lede(document) == (
        "3 findings at severity medium or above, in 3 versions. "
        "2 versions of 3 could not be verified: neither a pass nor proof of damage."
    )
    assert len(document.versions) == render(document, "html").count("<article")
    assert lede(make_document([*unread[:1], *missing])).endswith(
        "3 versions of 3 could not be verified: "
        "2 of them have no model, the other is neither a pass nor proof of damage."
    )
    assert lede(make_document([*unread, *missing[:1]])).endswith(
        "could not be verified: 1 of them has no model, the others are neither a pass nor proof of damage."
    )
    assert lede(make_document(missing)).endswith("2 versions of 2 could not be verified: they have no model.")
    assert lede(make_document(missing[:1])).endswith("1 version of 1 could not be verified: it has no model.")
    chosen = make_document(missing)
    coverage = chosen.coverage.model_copy(update={"listed": 21, "not_sampled": 19})
    assert "2 versions of 2 could not" in lede(chosen.model_copy(update={"coverage": coverage}))
