"""Markdown, CSV and JUnit: what their readers must see, and what no name can make them see."""

import csv
import io
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from support.reports import HOSTILE, make_document, make_finding, make_hostile, make_version

from registry_audit.printable import printable
from registry_audit.report.as_markdown import ROW_LIMIT
from registry_audit.report.document import AuditDocument
from registry_audit.report.write import render
from registry_audit.verdict import Verdict

_PARSER = MarkdownIt("gfm-like", {"linkify": False})
_STRUCTURE = {
    "heading_open", "heading_close", "paragraph_open", "paragraph_close", "bullet_list_open", "bullet_list_close",
    "list_item_open", "list_item_close", "table_open", "table_close", "thead_open", "thead_close", "tbody_open",
    "tbody_close", "tr_open", "tr_close", "th_open", "th_close", "td_open", "td_close", "inline",
}  # fmt: skip


def test_no_name_is_markdown(hostile: AuditDocument) -> None:
    tokens = _PARSER.parse(render(hostile, "markdown"))
    assert {token.type for token in tokens} <= _STRUCTURE
    inner = {child.type for token in tokens for child in token.children or ()}
    assert inner <= {"text", "strong_open", "strong_close", "softbreak", "text_special"}
    cells = sum(token.type == "td_open" for token in tokens)
    # The summary and the ledger; of each version its findings, changed files, waived, resolved and read.
    assert cells == (3 + 5) * 2 + len(hostile.versions) * (2 * 6 + 2 * 7 + 8 + 5 + 9 + 3)


def test_markdown_is_limited_and_says_so() -> None:
    found = (make_finding("RA004", "deleted"),)
    text = render(
        make_document([make_version("m", str(n), findings=found) for n in range(1, ROW_LIMIT + 4)]), "markdown"
    )
    assert "and 3 more findings: see audit.json." in text
    assert "and 3 more versions: see audit.json." in text
    assert text.count("\n| high |") == ROW_LIMIT


def test_markdown_shows_baseline_and_now_side_by_side(with_ledger: AuditDocument) -> None:
    text = render(with_ledger, "markdown").replace("\\", "")
    assert "## Not as accepted (7 files)\n" in text
    both = "| 41,204 bytes sha256:3f3f3f3f3f3f… | 41,204 bytes sha256:b07eb07eb07e… | 2025-02-01 06:00 UTC |"
    assert f"| churn-classifier/2 | model.pkl | content changed {both} alice@laptop |" in text
    assert "| churn-classifier/2 | requirements.txt | removed | 41,204 bytes sha256:3f3f3f3f3f3f… | not there |" in text
    assert "added, expected: registered-model-meta | not there | 41,204 bytes" in text


def test_markdown_tells_the_life_of_findings(with_ledger: AuditDocument, sample: AuditDocument) -> None:
    text = render(with_ledger, "markdown").replace("\\", "")
    assert "\n2 new, 3 known, 2 resolved since the audit of 2025-03-13 06:00 UTC.\n" in text
    assert "| critical | RA002 content-changed | churn-classifier/2 | new | 4 files are not what alice@laptop" in text
    assert "## Findings (3)\n" in text
    assert "## Waived findings (2)\n" in text
    assert "| erin@risk | 2025-06-30 | Known to the risk team. |\n" in text
    assert "## Resolved since the audit of 2025-03-13 06:00 UTC (2)\n" in text
    assert not {"Life", "Waived", "Resolved", "Ledger"} & set(render(sample, "markdown").split())


def test_csv_has_one_row_per_version_whatever_the_names_hold(hostile: AuditDocument) -> None:
    text = render(hostile, "csv")
    assert len(text.splitlines()) == len(hostile.versions) + 1
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["name"].removeprefix("'") for row in rows] == [printable(text) for text in HOSTILE]
    assert rows[0]["run_model_files"] == "1"


@pytest.mark.parametrize("text", ["=cmd()", "+1", "-1", "@SUM(A1)", " =1", "＝1", "'=1"])  # noqa: RUF001
def test_no_cell_is_a_formula(text: str) -> None:
    row = next(csv.DictReader(io.StringIO(render(make_hostile([text]), "csv"), newline="")))
    assert row["name"] == f"'{text}"
    assert all(not cell.startswith(("=", "+", "-", "@")) for cell in row.values())


def _junit(document: AuditDocument) -> tuple[ElementTree.Element, list[ElementTree.Element]]:
    suite = ElementTree.fromstring(render(document, "junit").encode())[0]
    cases = suite.findall("testcase")
    assert suite.get("tests") == str(len(cases))
    for kind, count in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert suite.get(count) == str(len(suite.findall(f"testcase/{kind}")))
    return suite, cases


def _results(document: AuditDocument) -> dict[str, str]:
    _, cases = _junit(document)
    return {f"{case.get('classname')} {case.get('name')}": case[0].tag if len(case) else "passed" for case in cases}


def test_each_version_is_a_test_case_with_its_result(sample: AuditDocument) -> None:
    assert _results(sample) == {
        "churn-classifier version 1": "system-out",  # its signature
        "churn-classifier version 2": "failure",
        "churn-classifier version 10": "failure",
        "fraud-score version 7": "failure",
        "fraud-score version 8": "system-out",
        "prices/eu version 3": "passed",
        "prices/eu version 4": "error",
        "search-ranker version 1": "failure",
        "search-ranker version 2": "skipped",
        "search-ranker version 3": "failure",
    }


def test_a_test_case_says_how_long_it_took(sample: AuditDocument) -> None:
    rows = [row.model_copy(update={"seconds": 0.25 + number}) for number, row in enumerate(sample.versions)]
    suite, cases = _junit(sample.model_copy(update={"versions": tuple(rows)}))
    assert [case.get("time") for case in cases[:2]] == ["0.250", "1.250"]
    assert suite.get("time") == f"{0.25 * len(rows) + sum(range(len(rows))):.3f}"


def test_fail_on_decides_what_fails(sample: AuditDocument) -> None:
    results = _results(sample.model_copy(update={"options": {"fail_on": "critical"}}))
    assert results["search-ranker version 3"] == "system-out"
    assert results["churn-classifier version 2"] == "failure"
    results = _results(sample.model_copy(update={"options": {"fail_on": "nonsense"}}))
    assert results["search-ranker version 3"] == "failure"


def test_what_is_waived_is_told_and_is_no_failure(with_ledger: AuditDocument) -> None:
    assert _results(with_ledger) == {
        "churn-classifier version 1": "passed",
        "churn-classifier version 2": "failure",
        "churn-classifier version 3": "system-out",
        "fraud-score version 7": "system-out",
        "fraud-score version 8": "system-out",
        "prices/eu version 3": "failure",
        "prices/eu version 4": "system-out",
        "prices/eu version 5": "system-out",
        "search-ranker version 1": "failure",
    }
    suite, cases = _junit(with_ledger)
    told = {case.get("name"): "".join(case.itertext()) for case in cases if case.get("classname") == "fraud-score"}
    assert "waived by erin@risk until 2025-06-30: Known to the risk team." in told["version 8"]
    assert "baseline: not read; last read in full 2025-03-08 06:00 UTC, trusted because" in told["version 7"]
    properties = [(found.get("name"), found.get("value")) for found in suite.iter("property")]
    assert ("changes", "2 new, 3 known, 2 resolved since the audit of 2025-03-13 06:00 UTC.") in properties
    assert ("resolved", "RA004 run-deleted  churn-classifier/1  (first seen 2025-02-20)") in properties


def test_csv_counts_what_differs_from_the_baseline(with_ledger: AuditDocument) -> None:
    rows = {
        f"{row['name']}/{row['version']}": row
        for row in csv.DictReader(io.StringIO(render(with_ledger, "csv"), newline=""))
    }
    changed, waived = rows["churn-classifier/2"], rows["churn-classifier/3"]
    assert (changed["baseline_differences"], changed["expected_baseline_differences"]) == ("5", "1")
    assert (changed["new_findings"], changed["waived_findings"], changed["worst_severity"]) == ("RA002", "", "critical")
    assert (waived["findings"], waived["waived_findings"], waived["worst_severity"]) == ("RA002", "RA002", "")
    assert waived["waivers"].startswith("RA002 waived by dana until 2025-06-30: ")
    assert rows["fraud-score/7"]["last_read_at"] == "2025-03-08T06:00:11Z"


def test_ra009_is_an_error_and_never_a_failure() -> None:
    unread, changed = make_finding("RA009", "denied"), make_finding("RA002", "changed")
    rows = [
        make_version("m", "1", Verdict.UNVERIFIABLE, findings=(unread,), reason="denied"),
        make_version("m", "2", findings=(unread,)),
        make_version("m", "3", findings=(unread, changed)),
    ]
    assert list(_results(make_document(rows)).values()) == ["error", "error", "failure"]


def test_all_findings_are_told(sample: AuditDocument) -> None:
    text = render(sample, "junit")
    for row in sample.versions:
        for finding in row.findings:
            assert finding.message in text
            assert finding.rule in text


def test_an_audit_of_nothing_does_not_show_as_passed() -> None:
    assert _results(make_document([])) == {"registry-audit audit as a whole": "error"}


def test_findings_that_no_version_carries_fail() -> None:
    document = make_document([make_version("m", "1")])
    found = document.outcome.model_copy(update={"state": "findings", "exit_status": 1})
    results = _results(document.model_copy(update={"outcome": found}))
    assert results == {"m version 1": "passed", "registry-audit audit as a whole": "failure"}


def test_no_name_breaks_the_xml(hostile: AuditDocument) -> None:
    _, cases = _junit(hostile)
    assert [case.get("classname") for case in cases] == [printable(text) for text in HOSTILE]
