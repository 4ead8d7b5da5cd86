"""Every form of a report on a migration: what its readers must see, and what no name can make them see."""

import csv
import io
import json
import unicodedata
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from support.pages import Page
from support.reports import HOSTILE
from support.two_registries import Compared, compared, down, facts, model

from registry_audit.audit.judging import findings_of
from registry_audit.errors import UsageError
from registry_audit.model.listing import Problem
from registry_audit.printable import printable
from registry_audit.registry.runs import RunState
from registry_audit.report import as_text
from registry_audit.report.registries_document import MigrationDocument
from registry_audit.report.write import (
    FORMATS,
    MIGRATION_FILES,
    Format,
    load_any_report,
    load_report,
    render,
    write_report,
)

_UNPRINTABLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_PARSER = MarkdownIt("gfm-like", {"linkify": False})


def of_names(texts: tuple[str, ...]) -> Compared:
    """Each text as a name, a tag, an alias, a path and a reason, with every verdict on it."""
    source, target = [], []
    for text in texts:
        said = {"description": text, "aliases": (text,), "stage": text, "tags": ((text, text),), "run_id": text}
        source += [
            facts(text, 1, model() | {text: b"1"}, storage=f"{text}/1", **said),
            facts(text, 2, model("two") | {text: b"1"}, storage=f"{text}/2", **said),
            facts(text, 3, model("three"), storage=f"{text}/3", **said),
            facts(text, 4, model("four"), storage=f"{text}/4", run_id=text),
            facts(text, 5, model("five"), storage=f"{text}/5", run=RunState.ACTIVE),
            facts(text, 7, model("seven"), storage=f"{text}/7"),
        ]
        target += [
            facts(text, 1, model() | {text: b"1"}, storage=f"{text}/t1"),
            facts(text, 2, model("two") | {text: b"2", f"{text}+": b""}, storage=f"{text}/t2", **said),
            facts(text, 4, unread=f"denied: {text}", storage=f"{text}/t4"),
            facts(text, 5, model("five"), storage=f"{text}/5", run=RunState.MISSING),
            facts(text, 6, down(model("seven"), text.strip("/") or "d"), storage=f"{text}/t7"),
            facts(text, 9, model("nine"), storage=f"{text}/t9", **said),
        ]
    return compared(source, target)


@pytest.fixture(scope="module")
def hostile() -> MigrationDocument:
    return of_names(HOSTILE).document


@pytest.fixture(scope="module")
def sample() -> MigrationDocument:
    return of_names(("Wine",)).document


def test_the_sample_holds_every_verdict(sample: MigrationDocument) -> None:
    assert {verdict.value for verdict, count in sample.summary.verdicts.items() if count} == {
        "match", "mismatch", "missing", "unverifiable", "same_storage", "only_in_target",
    }  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_is_one_text_and_the_same_each_time(hostile: MigrationDocument, form: Format) -> None:
    text = render(hostile, form)
    assert text.encode("utf-8")
    assert text.endswith("\n")
    assert render(hostile, form) == text
    if form != "html":  # the template's own characters are its own matter
        assert not {char for char in text if char != "\n" and unicodedata.category(char) in _UNPRINTABLE}


@pytest.mark.parametrize("form", FORMATS)
def test_a_report_is_read_back_and_rendered_alike(hostile: MigrationDocument, tmp_path: Path, form: Format) -> None:
    written = write_report(hostile, tmp_path)
    assert [path.name for path in written] == [name for name, _ in MIGRATION_FILES]
    again = load_any_report(tmp_path / "migration.json")
    assert render(again, form) == render(hostile, form)
    with pytest.raises(UsageError, match="a report on a migration, not on an audit"):
        load_report(tmp_path / "migration.json")


def test_a_damaged_or_newer_report_is_refused(sample: MigrationDocument, tmp_path: Path) -> None:
    data = json.loads(render(sample, "json"))
    for change, said in (
        ({"schema_version": 2}, "written by a later registry-audit"),
        ({"versions": [{}]}, "not a report on a migration: versions.0"),
        ({"summary": None}, "not a report on a migration: summary"),
    ):
        (tmp_path / "m.json").write_text(json.dumps(data | change))
        with pytest.raises(UsageError, match=said):
            load_any_report(tmp_path / "m.json")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("fail_on", ["urgent", None, ["high"]])
def test_an_unknown_fail_on_is_the_default(sample: MigrationDocument, form: Format, fail_on: object) -> None:
    strange = sample.model_copy(update={"options": sample.options | {"fail_on": fail_on}})
    assert render(strange, form)


def test_json_holds_every_name_as_it_is(hostile: MigrationDocument) -> None:
    rows = json.loads(render(hostile, "json"))["versions"]
    assert {row["source"]["name"] for row in rows if row["source"]} == set(HOSTILE)


def test_the_answer_comes_first(sample: MigrationDocument) -> None:
    text = render(sample, "text")
    assert text.startswith("Not complete\n  1 of 6 versions are in the target unchanged, 1 not moved, 2 changed, ")
    order = [
        text.index(f"\n{title}\n")
        for title in (
            "Missing in the target", "Changed", "Not comparable", "Not moved", "Metadata that differs",
            "Renumbered", "Only in the target", "How each pair was found", "Legend", "Summary",
        )
    ]  # fmt: skip
    assert order == sorted(order)
    assert "only_in" not in text


@pytest.mark.parametrize("form", ["text", "markdown", "html"])
def test_every_row_is_told_to_people(sample: MigrationDocument, form: Format) -> None:
    text = render(sample, form).replace("\\", "").replace("&gt;", ">").replace("&#39;", "'")
    text = text.replace("No version of", "no version of").replace("In the target", "in the target")
    for label in ("Wine/1", "Wine/2", "Wine/3", "Wine/4", "Wine/5", "Wine/7 -> Wine/6", "Wine/9"):
        assert label in text
    for said in (
        "no version of the target holds its bytes",
        "2 files differ from Wine/2 of the target: 'Wine', 'Wine+'",
        "in the target: denied: Wine",
        "not moved: in the target it is still served from the source's storage",
        "arrived one directory down",
        "same content, same number",
        "same number only",
        "Prompts are counted and not compared: 0 in the source, 0 in the target.",
        "deleting the source destroys them",
    ):
        assert said in text, said


@pytest.mark.parametrize("verdict", ["same_storage", "skipped"])
def test_a_finding_is_told_in_one_section(verdict: str) -> None:
    """Also of a pair that was not moved, or whose registration is not finished."""
    status = "PENDING_REGISTRATION" if verdict == "skipped" else "READY"
    short = [Problem("RA007", "'model.pkl' is named by MLmodel and missing")]
    source, target = (facts("Wine", 1, model("w"), storage="s", status=status) for _ in range(2))
    damaged = replace(source, audit=replace(source.audit, findings=findings_of(source.version, short)))
    document = compared([damaged], [target]).document
    assert [row.verdict for row in document.versions] == [verdict]
    for form, told in (("text", "RA007 model-incomplete"), ("markdown", "RA007 model"), ("html", "<article")):
        assert render(document, form).count(told) == 1, form  # type: ignore[arg-type]


def test_no_name_is_markdown(hostile: MigrationDocument) -> None:
    tokens = _PARSER.parse(render(hostile, "markdown"))
    allowed = {"heading", "paragraph", "bullet_list", "list_item"}
    assert {token.type.removesuffix("_open").removesuffix("_close") for token in tokens} <= allowed | {"inline"}
    inner = {child.type for token in tokens for child in token.children or ()}
    assert inner <= {"text", "strong_open", "strong_close", "softbreak", "text_special"}
    headings = [token for token in tokens if token.type == "heading_open"]
    assert len(headings) == 1 + 8 + 1


def test_no_name_adds_an_element(hostile: MigrationDocument) -> None:
    plain = Page(render(of_names(tuple(f"x{number:02}" for number in range(len(HOSTILE)))).document, "html"))
    page = Page(render(hostile, "html"))
    assert sorted(tag for tag, _ in page.elements) == sorted(tag for tag, _ in plain.elements)
    assert {name for _, a in page.elements for name in a} == {name for _, a in plain.elements for name in a}
    for tag, attributes in page.elements:
        assert tag not in {"iframe", "img", "object", "embed", "form", "base"}
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("href") or "#").startswith(("#", "data:image/svg+xml,"))
    assert [tag for tag, _ in page.elements].count("script") == 2
    style, data, script = page.raw
    assert [style, script] == [plain.raw[0], plain.raw[2]]
    assert "<" not in data
    assert {name for _, name, *_ in json.loads(data)["pairs"]} >= {f"{printable(text)}/3" for text in HOSTILE}


def test_csv_has_one_row_per_version_and_no_cell_is_a_formula(hostile: MigrationDocument) -> None:
    text = render(hostile, "csv")
    assert len(text.splitlines()) == len(hostile.versions) + 1
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    names = {row["source_name"].removeprefix("'") for row in rows if row["source_name"]}
    assert names == {printable(text) for text in HOSTILE}
    for row in rows:
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row.values()), row
    # What is only in the source is shown with a minus, in a cell that no spreadsheet reads as a sum.
    lost = compared([facts(files=model() | {"a": b""})], [facts(files=model())]).document
    (row,) = csv.DictReader(io.StringIO(render(lost, "csv"), newline=""))
    assert row["differences"] == "'- a"


def test_junit_counts_what_it_shows(hostile: MigrationDocument, sample: MigrationDocument) -> None:
    for document in (hostile, sample):
        suite = ElementTree.fromstring(render(document, "junit").encode())[0]
        cases = suite.findall("testcase")
        assert suite.get("tests") == str(len(cases))
        assert len(cases) == 1 + len(document.versions) + sum(bool(model.findings) for model in document.models)
        for kind, count in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert suite.get(count) == str(len(suite.findall(f"testcase/{kind}")))
    results = {case.get("name"): case[0].tag for case in cases}
    assert results == {
        "the whole": "failure", "the model": "system-out", "Wine/1": "failure", "Wine/2": "failure",
        "Wine/3": "failure", "Wine/4": "error", "Wine/5": "error", "Wine/7 -> Wine/6": "failure", "Wine/9": "failure",
    }  # fmt: skip


def test_a_complete_migration_says_so_in_every_form() -> None:
    document = compared([facts(files=model(run_id="a"))], [facts(files=model(run_id="b"))]).document
    assert render(document, "text").startswith("Complete\n  0 of 1 version is in the target unchanged, 1 explained.\n")
    assert render(document, "markdown").startswith("# MLflow registry migration: Complete\n")
    assert "<h1>Complete</h1>" in render(document, "html")
    assert json.loads(render(document, "json"))["summary"]["complete"] is True
    suite = ElementTree.fromstring(render(document, "junit").encode())[0]
    assert (suite.get("failures"), suite.get("errors"), suite.get("tests")) == ("0", "0", "2")
    assert "expected: mlmodel-provenance" in render(document, "csv")


def test_nothing_compared_is_proved_by_no_form() -> None:
    document = compared([], []).document
    assert render(document, "text").startswith("Not proved\n  0 of 0 versions are in the target unchanged.\n")
    assert "<h1>Not proved</h1>" in render(document, "html")
    suite = ElementTree.fromstring(render(document, "junit").encode())[0]
    assert (suite.get("errors"), suite.get("tests")) == ("1", "1")


@pytest.mark.parametrize(("pairs_count", "is_counted"), [(100, False), (101, True)])
def test_a_terminal_counts_more_pairs_than_it_can_show(pairs_count: int, is_counted: bool) -> None:
    numbers = range(1, pairs_count + 1)
    source, target = ([facts("Wine", n, model(str(n)), storage=f"{side}/{n}") for n in numbers] for side in "st")
    document = compared(source, target).document
    brief, whole = ("".join(as_text.migration_chunks(document, brief=brief)) for brief in (True, False))
    assert whole.count("Wine/") == pairs_count
    assert brief.count("Wine/") == (0 if is_counted else pairs_count)
    assert (f"{pairs_count}  same content, same number" in brief) is is_counted
