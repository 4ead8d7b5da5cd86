"""The terminal's form: one line per version, then findings, legend, summary."""

from collections.abc import Callable
from typing import Any

import pytest

from registry_audit.report.document import AuditDocument
from registry_audit.report.lines import LEGEND, version_line
from registry_audit.report.render import render
from registry_audit.report.words import VERDICT_WORDS, bytes_words, short_digest
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
def test_each_verdict_has_its_symbol(verdict: Verdict, symbol: str, make_version: Callable[..., Any]) -> None:
    assert version_line(make_version("Wine", "3", verdict)) == f"{symbol} Wine/3"
    assert f"\n{symbol} {VERDICT_WORDS[verdict].label.lower()} " in f"\n{LEGEND}"


def test_what_is_wrong_stands_after_a_tab(make_version: Callable[..., Any], make_finding: Callable[..., Any]) -> None:
    denied = make_version("Wine", "4", Verdict.UNVERIFIABLE, reason="denied")
    assert version_line(denied) == "? Wine/4\tdenied"
    found = (make_finding("RA002", "changed"), make_finding("RA004", "deleted"))
    assert version_line(make_version("Wine", "4", findings=found)) == "= Wine/4\tRA002 critical, RA004 high"


def test_a_ready_version_without_a_model_is_marked(
    make_version: Callable[..., Any], make_finding: Callable[..., Any]
) -> None:
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
    assert [line[:2] for line in versions] == ["* ", "  "] * len(hostile.versions)


def test_the_summary_states_the_denominator(sample: AuditDocument) -> None:
    text = render(sample, "text")
    assert "12 listed, 8 audited, 1 unverifiable, 1 skipped, 2 not sampled" in text
    assert "nothing was compared" in text


def test_clean_says_beside_it_that_nothing_was_compared(
    make_document: Callable[..., AuditDocument], make_version: Callable[..., Any]
) -> None:
    rows = [make_version("Wine", "1", Verdict.SAME_STORAGE, baseline=None)]
    assert "so nothing was compared" in render(make_document(rows), "text")


def test_nothing_audited_is_not_told_as_a_pass(make_document: Callable[..., AuditDocument]) -> None:
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


def test_a_digest_is_shortened_after_its_algorithm() -> None:
    assert short_digest("sha256:" + "ab" * 32) == "sha256:abababababab…"
    assert short_digest("") == ""
