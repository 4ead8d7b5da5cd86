"""Laws of every rendering, for any text in any string field."""

import csv
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pages import is_within
from support.reports import make_document, make_finding, make_hostile, make_version, make_waiver

from registry_audit.audit.judging import Finding, VersionAudit, Waiver
from registry_audit.audit.rows import outcome_of
from registry_audit.printable import printable
from registry_audit.registry.version import RegisteredVersion
from registry_audit.report.document import AuditDocument, Outcome
from registry_audit.report.view import lede
from registry_audit.report.write import FORMATS, load_report, render
from registry_audit.verdict import Severity, Storage, Verdict

# Surrogates too: hypothesis leaves them out unless asked. A pair of them is one character in JSON, so at most one.
_ACTIVE = ["<", ">", "&", '"', "'", "\\", "|", "`", "]]>", "<!--", "</script", "{{", "\n", "\u2028", "="]
TEXT = st.one_of(
    st.text(min_size=1, max_size=30),
    st.tuples(st.text(max_size=5), st.characters(categories=["Cs"]), st.text(max_size=5)).map("".join),
    st.lists(st.sampled_from(_ACTIVE), min_size=1).map("".join),
)
# "None" is MLflow's word for no stage, which shows nothing where another stage is shown.
TEXT = TEXT.filter(lambda text: text not in ("None", "READY"))
SETTINGS = settings(max_examples=60)

Make = Callable[..., AuditDocument]


class _Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attributes)))


@SETTINGS
@given(text=TEXT)
def test_every_rendering_is_utf8_without_control_characters(text: str) -> None:
    document = make_hostile([text])
    for form in FORMATS:
        rendered = render(document, form)
        assert rendered == render(document, form)
        assert rendered.endswith("\n")
        assert rendered.encode().decode() == rendered
        assert not any(ord(c) < 32 and c not in "\n\t" for c in rendered)


@SETTINGS
@given(text=TEXT)
def test_html_has_the_elements_of_a_plain_page(text: str) -> None:
    # A name that is not safe to copy has no commands; beyond that, no text takes or adds an element.
    assert is_within(_Tags(render(make_hostile([text]), "html")).tags, _Tags(render(make_hostile(["x"]), "html")).tags)


@SETTINGS
@given(text=TEXT)
def test_junit_is_well_formed_and_names_the_version(text: str) -> None:
    suite = ElementTree.fromstring(render(make_hostile([text]), "junit"))[0]
    case = suite.find("testcase")
    assert case is not None
    assert case.get("classname") == printable(text)
    assert case[0].tag == "failure"


@SETTINGS
@given(text=TEXT)
def test_csv_parses_back(text: str) -> None:
    rendered = render(make_hostile([text]), "csv")
    assert rendered.count("\n") == 2
    row = next(csv.DictReader(io.StringIO(rendered, newline=""), strict=True))
    for column in ("name", "stage", "run_model_root", "accepted_by"):
        cell = row[column]
        assert (cell[1:] if cell.startswith("'") else cell) == printable(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


@SETTINGS
@given(text=TEXT)
def test_json_round_trips(text: str, folder: Path) -> None:
    document = make_hostile([text])
    path = folder / "audit.json"
    path.write_text(render(document, "json"), encoding="utf-8")
    assert load_report(path) == document


_FOUND = st.tuples(st.sampled_from(["RA002", "RA005", "RA009"]), st.sampled_from(Severity), st.booleans())
_ROWS = st.lists(st.tuples(st.sampled_from(Verdict), st.lists(_FOUND, max_size=3), st.booleans()), max_size=4)


@SETTINGS
@given(rows=_ROWS)
def test_sentences_and_test_results_agree_with_the_exit_status(
    rows: list[tuple[Verdict, list[tuple[str, Severity, bool]], bool]],
) -> None:
    """What is waived fails nowhere, what is not fails everywhere."""
    audits, versions = [], []
    for number, (verdict, found, waived) in enumerate(rows, start=1):
        # A mismatch is never without its own finding.
        all_found = [*found, *([("RA001", Severity.CRITICAL, waived)] if verdict is Verdict.MISMATCH else [])]
        audits.append(_audit(number, verdict, all_found))
        findings = tuple(
            make_finding(rule, "found", severity=severity, waived=make_waiver() if is_waived else None)
            for rule, severity, is_waived in all_found
        )
        versions.append(make_version("m", str(number), verdict, findings=findings))
    outcome = outcome_of(audits, Severity.MEDIUM)
    document = make_document(
        versions,
        outcome=Outcome(exit_status=int(outcome.exit_status), state=outcome.state),  # type: ignore[arg-type]
    )
    suite = ElementTree.fromstring(render(document, "junit"))[0]
    failures, errors = int(suite.get("failures", "")), int(suite.get("errors", ""))
    failing = re.match(r"(\d+) findings? at severity medium or above, in", lede(document))
    match outcome.state:
        case "clean":
            assert (failures, errors, failing) == (0, 0, None)
        case "findings":
            assert failures + errors > 0
            assert failing is not None
            assert int(failing[1]) > 0
        case _:
            assert failures == 0
            assert errors > 0
            assert failing is None
    waived_count = sum(finding.waived is not None for row in versions for finding in row.findings)
    assert ("waived." in lede(document)) is (waived_count > 0)
    assert render(document, "html").count('<article class="finding waived"') == waived_count


def _audit(number: int, verdict: Verdict, found: list[tuple[str, Severity, bool]]) -> VersionAudit:
    findings = tuple(
        Finding(rule, severity, "found", "", waiver=Waiver("dana", "known", "2025-06-30") if is_waived else None)
        for rule, severity, is_waived in found
    )
    version = RegisteredVersion("m", str(number), "READY", None, (), None, "", None)
    return VersionAudit(version, verdict, None, Storage.UNKNOWN, None, None, None, findings)
