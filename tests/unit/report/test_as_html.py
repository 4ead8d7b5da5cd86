"""The HTML page as a parser sees it; tests/browser looks at it in a browser."""

import base64
import hashlib
import json
import re
import shlex
from typing import Any

import pytest
from support.pages import Page, is_within
from support.reports import HOSTILE, make_difference, make_document, make_finding, make_hostile, make_version

from registry_audit.report import as_html
from registry_audit.report.commands import Target, commands_of
from registry_audit.report.document import AuditDocument, PastAudit
from registry_audit.report.html_views import DIFFERENCE_LIMIT
from registry_audit.report.write import render
from registry_audit.verdict import Severity, Verdict


def data_of(page: Page) -> dict[str, Any]:
    return json.loads(page.raw[1])


def test_the_page_needs_nothing_from_elsewhere(sample: AuditDocument) -> None:
    page = Page(render(sample, "html"))
    for tag, attributes in page.elements:
        assert tag not in {"iframe", "img", "object", "embed", "form", "base"}
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        # Links lead to MLflow's own pages; nothing is loaded from there.
        assert (attributes.get("href") or "#").startswith(("#", "data:image/svg+xml,", "https://mlflow.example.com/#/"))
        assert tag != "link" or (attributes["href"] or "").startswith("data:")
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


def test_no_name_adds_an_element() -> None:
    harmless = [f"x{number}" for number in range(len(HOSTILE))]
    options = {"options": {"x": HOSTILE}}
    plain = Page(render(make_hostile(harmless).model_copy(update=options), "html"))
    page = Page(render(make_hostile(HOSTILE).model_copy(update=options), "html"))
    assert is_within([tag for tag, _ in page.elements], [tag for tag, _ in plain.elements])
    assert {name for _, a in page.elements for name in a} <= {name for _, a in plain.elements for name in a}


def test_findings_are_grouped_by_model_and_shown_worst_first_with_both_sides(sample: AuditDocument) -> None:
    page = Page(render(sample, "html"))
    articles = [attributes for tag, attributes in page.elements if tag == "article"]
    assert [(a["data-model"], a["data-severity"]) for a in articles] == [
        ("fraud-score", "critical"),
        ("churn-classifier", "critical"), ("churn-classifier", "medium"), ("churn-classifier", "low"),
        ("search-ranker", "critical"), ("search-ranker", "high"), ("search-ranker", "low"),
        ("prices/eu", "medium"),
    ]  # fmt: skip
    assert "41,204 bytes" in page.text
    assert "41,236 bytes" in page.text
    copied = {attributes.get("data-copy") for _, attributes in page.elements}
    assert sample.versions[3].differences[1].digests.run_model in copied


@pytest.mark.parametrize(("kind", "word"), [("sample", "Findings"), ("empty", "Incomplete"), ("clean", "Clean")])
def test_the_state_is_the_headline(
    kind: str,
    word: str,
    sample: AuditDocument,
) -> None:
    documents = {"sample": sample, "empty": make_document([]), "clean": make_document([make_version("m", "1")])}
    text = render(documents[kind], "html")
    assert f"<h1>{word}</h1>" in text
    assert f"<title>{word}: " in text


def test_a_big_audit_is_rows_of_data_with_a_first_page_for_readers_without_javascript() -> None:
    rows = [make_version("m", str(number), Verdict.SAME_STORAGE, baseline=None) for number in range(1, 452)]
    page = Page(render(make_document(rows), "html"))
    assert sum(a.get("class") == "version" for _, a in page.elements) == as_html.PAGE_ROWS
    assert len(data_of(page)["versions"]) == 451
    assert "only the first 200 of 451 versions" in re.sub(r"\s+", " ", page.text)


def test_ten_thousand_differences_do_not_make_a_page_of_that_length() -> None:
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
    copied = {attributes.get("data-copy") for _, attributes in page.elements}
    assert with_ledger.versions[1].baseline_differences[0].digests.baseline in copied
    assert "last read in full 2025-03-08" in text
    assert "accepted 2025-02-01 by alice@laptop" in text


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
    assert "What a baseline cannot show" in text
    assert "An overwrite before the first audit" in text
    assert "What a baseline cannot show" not in Page(render(sample, "html")).text


def test_the_limits_of_one_storage_are_said_plainly(sample: AuditDocument) -> None:
    text = Page(render(sample, "html")).text
    assert "nothing was compared, because there is no second copy" in text
    assert "Only a baseline in the ledger shows that somebody overwrote them." in text


def test_what_to_do_is_a_command_to_copy(with_ledger: AuditDocument) -> None:
    page = Page(render(with_ledger, "html"))
    copied = {attributes.get("data-copy") for _, attributes in page.elements}
    # The ledger's address was redacted, so the shell has to know it; an empty reason is refused.
    server = "--tracking-uri https://mlflow.example.com"
    accept = f"registry-audit baseline accept {{}} --reason '' {server} --ledger \"${{{{REGISTRY_AUDIT_LEDGER:?}}}}\""
    assert accept.format("churn-classifier/2") in copied
    assert accept.format("search-ranker/1") in copied
    assert not any("ledger.db" in (text or "") or "***" in (text or "") for text in copied)


@pytest.mark.parametrize("name", ["-x", "a\nb", "a\u202eb"])
def test_no_command_names_what_a_shell_or_a_terminal_takes_for_something_else(
    name: str,
) -> None:
    row = make_version(name, "1", findings=(make_finding("RA002", "changed"),))
    assert commands_of(Target.of(make_document([row])), row, row.findings[0]) == ()
    quoted = make_version("a'; rm -rf ~ #", "1", findings=row.findings)
    for command in commands_of(Target.of(make_document([quoted])), quoted, row.findings[0]):
        if "rule RA" not in command.text:
            assert "a'; rm -rf ~ #/1" in shlex.split(command.text)


def test_a_run_that_is_named_like_a_command_is_none() -> None:
    run_id = "abc; rm -rf ~"
    row = make_version("wine", "1", run_id=run_id, findings=())
    for spelled in (run_id, shlex.quote(run_id)):
        remedy = f"Restore it: mlflow runs restore --run-id {spelled}"
        finding = make_finding("RA004", "in the trash").model_copy(update={"remedy": remedy})
        commands = commands_of(Target.of(make_document([row])), row, finding)
        assert not any("rm" in shlex.split(command.text) for command in commands)
        assert ("Restore the run" in [command.what for command in commands]) is (spelled != run_id)


def test_the_last_audits_are_a_chart_and_a_table(with_ledger: AuditDocument) -> None:
    assert "The last audits" not in Page(render(with_ledger, "html")).text
    past = [
        PastAudit(at="2025-03-12T06:00:00Z", exit_status=0, listed=8, audited=8, unverifiable=0),
        PastAudit(
            at="2025-03-13T06:00:00Z", exit_status=1, listed=9, audited=6, unverifiable=3,
            findings={Severity.CRITICAL: 2, Severity.LOW: 1},
        ),
    ]  # fmt: skip
    text = re.sub(r"\s+", " ", Page(render(with_ledger.model_copy(update={"history": tuple(past)}), "html")).text)
    first = "The first: findings not recorded, 8 of 8 versions audited."
    assert f"2 audits of this selection since 2025-03-12. {first} The last: 3 findings" in text
    assert "The last: 3 findings, 6 of 9 versions audited. The upper bars are the findings, the lower ones" in text
    assert "2025-03-13 06:00 UTC3 findings6 of 931" in text


def test_a_server_of_workspaces_and_a_database_get_no_links(sample: AuditDocument) -> None:
    registry = sample.registry
    for changed in ({"workspace": "team-a"}, {"tracking_uri": "sqlite:///x.db", "registry_uri": "javascript:alert(1)"}):
        page = Page(render(sample.model_copy(update={"registry": registry.model_copy(update=changed)}), "html"))
        assert all((a.get("href") or "#").startswith(("#", "data:")) for _, a in page.elements)
