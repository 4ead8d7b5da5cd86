"""The HTML page as a parser sees it; tests/browser looks at it in a browser."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from registry_audit.report import as_html
from registry_audit.report.document import AuditDocument
from registry_audit.report.html_views import DIFFERENCE_LIMIT
from registry_audit.report.render import render
from registry_audit.verdict import Verdict


class Page(HTMLParser):
    """Elements with their attributes in order, and the text inside `script` and `style`."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag in ("script", "style"):
            self.raw.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem:
            self.raw[-1] += data
        else:
            self.text += data


def data_of(page: Page) -> dict[str, Any]:
    return json.loads(page.raw[1])


def test_the_page_needs_nothing_from_elsewhere(sample: AuditDocument) -> None:
    page = Page(render(sample, "html"))
    for tag, attributes in page.elements:
        assert tag not in {"iframe", "img", "object", "embed", "form", "base"}
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("href") or "#").startswith(("#", "data:image/svg+xml,"))
        assert "src" not in attributes
    style = page.raw[0]
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_allows_exactly_the_inline_parts(sample: AuditDocument) -> None:
    page = Page(render(sample, "html"))
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for text in (page.raw[0], page.raw[2]):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy


def test_no_name_adds_an_element(make_hostile: Callable[..., AuditDocument], hostile_texts: tuple[str, ...]) -> None:
    plain = Page(render(make_hostile(["x"] * len(hostile_texts)), "html"))
    # Of the options only one key is left where all texts are the same.
    page = Page(render(make_hostile(hostile_texts).model_copy(update={"options": {"x": hostile_texts}}), "html"))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert {name for _, a in page.elements for name in a} == {name for _, a in plain.elements for name in a}


def test_findings_are_shown_worst_first_with_both_sides(sample: AuditDocument) -> None:
    page = Page(render(sample, "html"))
    articles = [attributes for tag, attributes in page.elements if tag == "article"]
    assert [a["data-severity"] for a in articles] == ["critical"] * 3 + ["high"] + ["medium"] * 2 + ["low"] * 2
    assert "41,204 bytes" in page.text
    assert "41,236 bytes" in page.text
    titles = {attributes.get("title") for _, attributes in page.elements}
    assert sample.versions[3].differences[1].digests.run_model in titles


@pytest.mark.parametrize(("kind", "word"), [("sample", "Findings"), ("empty", "Incomplete"), ("clean", "Clean")])
def test_the_state_is_the_headline(
    kind: str,
    word: str,
    sample: AuditDocument,
    make_document: Callable[..., AuditDocument],
    make_version: Callable[..., Any],
) -> None:
    documents = {"sample": sample, "empty": make_document([]), "clean": make_document([make_version("m", "1")])}
    text = render(documents[kind], "html")
    assert f"<h1>{word}</h1>" in text
    assert f"<title>{word}: " in text


def test_a_big_audit_is_rows_of_data_with_a_first_page_for_readers_without_javascript(
    make_document: Callable[..., AuditDocument], make_version: Callable[..., Any]
) -> None:
    rows = [make_version("m", str(number), Verdict.SAME_STORAGE, baseline=None) for number in range(1, 452)]
    page = Page(render(make_document(rows), "html"))
    assert sum(a.get("class") == "version" for _, a in page.elements) == as_html.PAGE_ROWS
    assert len(data_of(page)["versions"]) == 451
    assert "only the first 200 of 451 versions" in re.sub(r"\s+", " ", page.text)


def test_ten_thousand_differences_do_not_make_a_page_of_that_length(
    make_document: Callable[..., AuditDocument],
    make_version: Callable[..., Any],
    make_finding: Callable[..., Any],
    make_difference: Callable[..., Any],
) -> None:
    differences = tuple(make_difference(f"part-{number:05}") for number in range(10_000))
    row = make_version("m", "1", Verdict.MISMATCH, differences=differences, findings=(make_finding("RA001", "differ"),))
    text = render(make_document([row]), "html")
    assert f"and {10_000 - DIFFERENCE_LIMIT:,} more: see audit.json." in text
    assert len(text) < 200_000


def test_the_embedded_data_cannot_end_its_element(hostile: AuditDocument) -> None:
    raw = Page(render(hostile, "html")).raw[1]
    assert not set("<>&\u2028\u2029") & set(raw)
    assert "<script>window.broken = true</script>" in {version[0] for version in json.loads(raw)["versions"]}


def test_what_changed_is_shown_beside_the_baseline(with_ledger: AuditDocument) -> None:
    page = Page(render(with_ledger, "html"))
    text = re.sub(r"\s+", " ", page.text)
    assert "4 files are not what alice@laptop accepted on 2025-02-01 06:00 UTC: 'MLmodel', 'model.pkl'" in text
    labels = [attributes.get("data-label") for tag, attributes in page.elements if tag == "td"]
    assert labels.count("Baseline") - labels.count("Storage") == labels.count("Now") == 2 * 6 + 1
    titles = {attributes.get("title") for _, attributes in page.elements}
    assert with_ledger.versions[1].baseline_differences[0].digests.baseline in titles
    trusted = "not read; last read in full 2025-03-08 06:00 UTC, trusted because its fingerprint is unchanged"
    assert f"alice@laptop accepted on 2025-02-01 06:00 UTC; {trusted}" in titles


def test_waived_findings_have_a_group_of_their_own(with_ledger: AuditDocument) -> None:
    page = Page(render(with_ledger, "html"))
    articles = [attributes for tag, attributes in page.elements if tag == "article"]
    assert [(a["data-severity"], a["data-life"]) for a in articles] == [
        ("critical", "new"), ("high", "known"), ("medium", "new"), ("waived", "known"), ("waived", "known"),
    ]  # fmt: skip
    text = re.sub(r"\s+", " ", page.text)
    assert "Waived by erin@risk until 2025-06-30: Known to the risk team." in text
    assert "Resolved since the audit of 2025-03-13 06:00 UTC 2 churn-classifier version 1 RA004 run-deleted" in text


def test_the_page_explains_a_baseline_only_where_there_is_one(
    with_ledger: AuditDocument, sample: AuditDocument
) -> None:
    text = Page(render(with_ledger, "html")).text
    assert "What trust on first use cannot see" in text
    assert "An overwrite before the first audit" in text
    assert "trust on first use" not in Page(render(sample, "html")).text


def test_the_limits_of_one_storage_are_said_plainly(sample: AuditDocument) -> None:
    text = Page(render(sample, "html")).text
    assert "nothing was compared, because there is no second copy" in text
    assert "only a baseline in the ledger protects against it" in text
