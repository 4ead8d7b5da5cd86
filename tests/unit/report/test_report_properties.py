"""Laws of every rendering, for any text in any string field."""

import csv
import io
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry_audit.printable import printable
from registry_audit.report.document import AuditDocument
from registry_audit.report.render import FORMATS, render
from registry_audit.report.write import load_report

# Surrogates too: hypothesis leaves them out unless asked. A pair of them is one character in JSON, so at most one.
_ACTIVE = ["<", ">", "&", '"', "'", "\\", "|", "`", "]]>", "<!--", "</script", "{{", "\n", "\u2028", "="]
TEXT = st.one_of(
    st.text(min_size=1, max_size=30),
    st.tuples(st.text(max_size=5), st.characters(categories=["Cs"]), st.text(max_size=5)).map("".join),
    st.lists(st.sampled_from(_ACTIVE), min_size=1).map("".join),
)
# "None" is MLflow's word for no stage, which shows nothing where another stage is shown.
TEXT = TEXT.filter(lambda text: text not in ("None", "READY"))
SETTINGS = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

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
def test_every_rendering_is_utf8_without_control_characters(text: str, make_hostile: Make) -> None:
    document = make_hostile([text])
    for form in FORMATS:
        rendered = render(document, form)
        assert rendered == render(document, form)
        assert rendered.endswith("\n")
        assert rendered.encode().decode() == rendered
        assert not any(ord(c) < 32 and c not in "\n\t" for c in rendered)


@SETTINGS
@given(text=TEXT)
def test_html_has_the_elements_of_a_plain_page(text: str, make_hostile: Make) -> None:
    assert _Tags(render(make_hostile([text]), "html")).tags == _Tags(render(make_hostile(["x"]), "html")).tags


@SETTINGS
@given(text=TEXT)
def test_junit_is_well_formed_and_names_the_version(text: str, make_hostile: Make) -> None:
    suite = ElementTree.fromstring(render(make_hostile([text]), "junit"))[0]
    case = suite.find("testcase")
    assert case is not None
    assert case.get("classname") == printable(text)
    assert case[0].tag == "failure"


@SETTINGS
@given(text=TEXT)
def test_csv_parses_back(text: str, make_hostile: Make) -> None:
    rendered = render(make_hostile([text]), "csv")
    assert rendered.count("\n") == 2
    row = next(csv.DictReader(io.StringIO(rendered, newline=""), strict=True))
    for column in ("name", "stage", "run_model_root", "messages"):
        cell = row[column]
        assert (cell[1:] if cell.startswith("'") else cell) == printable(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


@SETTINGS
@given(text=TEXT)
def test_json_round_trips(text: str, make_hostile: Make, folder: Path) -> None:
    document = make_hostile([text])
    path = folder / "audit.json"
    path.write_text(render(document, "json"), encoding="utf-8")
    assert load_report(path) == document
