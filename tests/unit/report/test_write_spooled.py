"""A report whose rows are on disk reads as one whose rows are in memory; one of very many versions stays usable."""

import json

import pytest

from registry_audit.report import as_html
from registry_audit.report.document import AuditDocument
from registry_audit.report.write import FORMATS, Format, SpooledRows, render


def spooled(document: AuditDocument, times: int = 1) -> AuditDocument:
    rows = SpooledRows(in_memory=0)
    for number in range(times):
        for row in document.versions:
            rows.append(row.model_copy(update={"version": f"{number}{row.version}"}) if number else row)
    return document.model_copy(update={"versions": rows})


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ["sample", "hostile", "with_ledger"])
def test_rows_on_disk_render_alike(name: str, form: Format, request: pytest.FixtureRequest) -> None:
    document: AuditDocument = request.getfixturevalue(name)
    assert render(spooled(document), form) == render(document, form)


def test_of_too_many_versions_the_page_shows_those_with_something_to_say(
    sample: AuditDocument, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(as_html, "ROW_LIMIT", len(sample.versions))
    monkeypatch.setattr(as_html, "FINDING_LIMIT", 3)
    many = spooled(sample, times=5)
    page = render(many, "html")
    shown = json.loads(page.split('id="data">')[1].split("</script>")[0])
    position = shown["fields"]["version"].index("findings")
    assert len(shown["versions"]) == len(sample.versions)
    assert all(row[position] or row[shown["fields"]["version"].index("reason")] for row in shown["versions"])
    assert f"{len(many.versions) - len(sample.versions)} more are in audit.json" in page
    assert page.count("<article") == 3
    findings = sum(len(row.findings) for row in many.versions)
    assert f"and {findings - 3} more: see audit.json." in page
    numbers = {link[-1] for row in shown["versions"] for link in row[position]}
    assert numbers <= {0, 1, 2, 3}
