"""audit.json and the files of a report: written whole, read back the same, refused with a reason."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from registry_audit.cli.report_output import must_be_writable
from registry_audit.errors import UsageError
from registry_audit.report.document import AuditDocument
from registry_audit.report.write import FORMATS, load_report, render, write_report


@pytest.mark.parametrize("kind", ["sample", "hostile"])
def test_a_written_report_reads_back_as_it_was(
    kind: str, sample: AuditDocument, hostile: AuditDocument, tmp_path: Path
) -> None:
    document = {"sample": sample, "hostile": hostile}[kind]
    paths = write_report(document, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["audit.json", "audit.html", "audit.md", "junit.xml"]
    assert load_report(paths[0]) == document


def test_mappings_in_another_order_are_the_same_document_and_the_same_bytes(sample: AuditDocument) -> None:
    turned = sample.model_copy(
        update={
            "options": dict(reversed(sample.options.items())),
            "summary": sample.summary.model_copy(update={"verdicts": dict(reversed(sample.summary.verdicts.items()))}),
        }
    )
    assert turned == sample
    for form in FORMATS:
        assert render(turned, form) == render(sample, form)


def test_json_has_the_keys_in_the_order_of_the_contract(sample: AuditDocument) -> None:
    data = json.loads(render(sample, "json"))
    assert list(data) == list(AuditDocument.model_fields)
    assert list(data["versions"][0]) == list(type(sample.versions[0]).model_fields)
    assert render(sample, "json").startswith('{\n  "schema_version": 1,\n')


def test_json_acts_on_no_terminal(hostile: AuditDocument) -> None:
    text = render(hostile, "json")
    assert not set("\x07\x1b\x7f\x85\u2028\u202e\ud800\r\t") & set(text)
    assert "caf\u00e9" in text


def test_a_report_replaces_the_old_one_and_leaves_nothing_else(sample: AuditDocument, tmp_path: Path) -> None:
    (tmp_path / "audit.json").write_text("old")
    paths = write_report(sample, tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert stat.S_IMODE(paths[0].stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


def test_a_failed_write_leaves_the_old_file(
    sample: AuditDocument, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "audit.json").write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(sample, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["audit.json"]
    assert (tmp_path / "audit.json").read_text() == "old"


def _drop_verdict(data: dict) -> None:
    del data["versions"][2]["verdict"]


def _later(data: dict) -> None:
    data |= {"schema_version": 2, "versions": "in a form of its own"}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_drop_verdict, "not an audit report: versions.2.verdict: Field required"),
        (lambda data: data.update(coverage=None), "not an audit report: coverage: Input should be"),
        (_later, "written by a later registry-audit (schema_version 2, this one reads up to 1)"),
        (lambda data: data.update(schema_version=0), "not an audit report: schema_version: "),
    ],
)
def test_what_is_not_a_report_is_refused_with_the_key(
    edit: Callable[[dict], object], message: str, sample: AuditDocument, tmp_path: Path
) -> None:
    data = json.loads(render(sample, "json"))
    edit(data)
    path = tmp_path / "audit.json"
    path.write_text(json.dumps(data))
    with pytest.raises(UsageError) as caught:
        load_report(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON: line 1, column 1"),
        (b'{"schema_version": 1,\n', "not JSON: line 2"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON that can be read"),
        (b"9" * 10_000, "not JSON that can be read"),
        (b"[]", "not an audit report: the whole file: "),
        (b"null", "not an audit report: the whole file: "),
    ],
)
def test_what_is_not_json_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "some\nname.json"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load_report(path)
    assert message in str(caught.value)
    assert "some\\x0aname.json: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_directory_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.json: no such file"):
        load_report(tmp_path / "none.json")
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        load_report(tmp_path)


@pytest.mark.parametrize("below", ["", "below/it"])
def test_no_report_is_written_into_a_model(sample: AuditDocument, tmp_path: Path, below: str) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "MLmodel").write_text("flavors: {x: {}}")
    (tmp_path / "link").symlink_to(model)
    for place in (model, tmp_path / "link"):
        with pytest.raises(UsageError, match="is in a model"):
            write_report(sample, place / below)
        with pytest.raises(UsageError, match="is in a model"):
            must_be_writable(place / below, "--report-dir")
    assert [path.name for path in model.iterdir()] == ["MLmodel"]


def test_a_home_directory_is_no_model(sample: AuditDocument, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "MLmodel").touch()
    assert write_report(sample, tmp_path / "reports")


def test_a_page_in_the_reports_place_leads_to_the_report_beside_it(tmp_path: Path) -> None:
    page, report = tmp_path / "audit.html", tmp_path / "audit.json"
    page.write_text("<!doctype html>")
    with pytest.raises(UsageError) as alone:
        load_report(page)
    assert "audit.json" not in alone.value.message
    report.write_text("{}")
    with pytest.raises(UsageError) as beside:
        load_report(page)
    assert beside.value.message.endswith(f"the report that is read is {report}")
    report.write_text("{")
    with pytest.raises(UsageError) as itself:
        load_report(report)
    assert "the report that is read" not in itself.value.message
