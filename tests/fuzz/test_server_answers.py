"""Any answer to any question: rows or a refusal, a bounded number of requests, and nothing passes that was not read."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.answering import Answers, answering
from support.fuzzing import changed, fuzzed, texts, values

from registry_audit.api import audit_registry
from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.options import AuditOptions
from registry_audit.errors import AuditError
from registry_audit.registry.prompts import TAG
from registry_audit.report.document import AuditDocument
from registry_audit.report.write import Format, rendered

MOST_REQUESTS = 1_000
FORMS: tuple[Format, ...] = ("text", "json", "html", "markdown", "csv", "junit")
BOUNDS = {"max_files": 20, "max_directories": 20, "max_depth": 5, "max_versions": 20}


def audited(answers: Answers) -> tuple[AuditDocument | None, list[VersionAudit]]:
    """The report, or None where the audit was refused; and its rows. Nothing else may come out of it."""
    rows = list[VersionAudit]()
    with answering(answers) as uri:
        options = AuditOptions(tracking_uri=uri, ledger=None, workers=2, **BOUNDS)  # type: ignore[arg-type]
        try:
            document = audit_registry(options, on_done=rows.append)
        except AuditError as error:
            assert "internal error" not in error.message
            return None, []
    assert len(answers.asked) < MOST_REQUESTS
    assert len(rows) <= BOUNDS["max_versions"]
    for form in FORMS:
        assert "".join(rendered(document, form)).encode()
    said = json.dumps([[row.reason, [finding.message for finding in row.findings]] for row in rows])
    assert "internal error" not in said
    return document, rows


def must_have_read(answers: Answers, rows: list[VersionAudit]) -> None:
    """What passes was served as it was listed, byte for byte, with an MLmodel among it."""
    for row in rows:
        if not row.verdict.passes:
            continue
        copy = row.reg_model
        assert copy is not None and copy.manifest is not None, row
        read = {entry.path: entry.digest for entry in copy.manifest.entries}
        assert "MLmodel" in read
        root = copy.identity.partition("//")[2].partition("//")[2].partition("#")[0]
        for path, digest in read.items():
            assert answers.digest(f"{root}/{path}") == digest


def registry() -> Answers:
    answers = Answers()
    answers.add("good")
    answers.add("other")
    return answers


def with_hidden() -> Answers:
    """One of three models carries the tag of a prompt, which hides it from the ordinary lists."""
    answers = registry()
    answers.add("hidden")
    for question in ("registered-models/search", "model-versions/search"):
        ((key, entries),) = answers.json[question].items()
        tagged = entries.pop() | {"tags": [{"key": TAG, "value": "true"}]}
        answers.json[f"{question} of prompts"] = {key: [tagged]}
        if key == "registered_models":
            tagged["latest_versions"] = [{"name": "hidden", "version": "1"}]
    return answers


QUESTIONS = sorted(registry().json)
HIDDEN = [question for question in sorted(with_hidden().json) if "prompts" in question or question.endswith(" hidden")]
VERSION = sorted(registry().json["model-versions/search"]["model_versions"][0])


@fuzzed(30)
@given(st.data())
def test_any_json(data: st.DataObject) -> None:
    answers = registry()
    for question in data.draw(st.lists(st.sampled_from(QUESTIONS), min_size=1, max_size=2, unique=True), "questions"):
        answers.json[question] = data.draw(changed(answers.json[question]), question)
    document, rows = audited(answers)
    must_have_read(answers, rows)
    if document is not None and document.outcome.exit_status == 0:
        assert rows


@fuzzed(15)
@given(
    st.sampled_from(["/version", *QUESTIONS]),
    st.binary(max_size=60) | st.just(b"9" * 5_000),
    st.sampled_from([200, 200, 204, 301, 400, 401, 403, 404, 418, 500]),
)
def test_any_bytes_and_status(question: str, body: bytes, status: int) -> None:
    answers = registry()
    answers.json[question], answers.status[question] = body, status
    document, rows = audited(answers)
    must_have_read(answers, rows)
    if document is not None and document.outcome.exit_status == 0:
        assert len(rows) == 2


@fuzzed(20)
@given(st.sampled_from([*VERSION, "tags", "aliases"]), values | texts)
@example("tags", True)
@example("aliases", 5)
@example("source", "http://[::1")
@example("version", "9" * 5_000)
@example("source", "\ud800")
@example("name", "\ud800")
@example("name", "".join(chr(0x4E00 + 7 * n) for n in range(2_500)))
def test_any_field_of_a_version(field: str, value: Any) -> None:
    """The other version is audited all the same."""
    answers = registry()
    answers.json["model-versions/search"]["model_versions"][1][field] = value
    document, rows = audited(answers)
    must_have_read(answers, rows)
    assert document is not None
    good = [row for row in rows if row.version.label == "good/1" and row.version.doubt is None]
    assert field == "name" or [row.verdict.passes for row in good] == [True]


@fuzzed(20)
@given(st.sampled_from(HIDDEN), st.data())
def test_any_json_of_what_a_prompts_tag_hides(question: str, data: st.DataObject) -> None:
    """The other versions are audited all the same, or the audit is refused."""
    answers = with_hidden()
    answers.json[question] = data.draw(changed(answers.json[question]))
    document, rows = audited(answers)
    must_have_read(answers, rows)
    if document is not None:
        assert {row.version.name for row in rows if row.verdict.passes} >= {"good", "other"}


def test_what_a_prompts_tag_hides_is_audited() -> None:
    document, rows = audited(with_hidden())
    assert document is not None
    assert {row.version.name: row.verdict.passes for row in rows} == dict.fromkeys(("good", "hidden", "other"), True)


@fuzzed(30)
@given(st.data())
def test_any_bytes_of_a_model(data: st.DataObject) -> None:
    """Another body than was listed: longer, shorter, or with a byte changed between two copies."""
    answers = Answers()
    root = answers.add("good", download_uri="mlflow-artifacts:/1/copy/model")
    files = {path: answers.files[f"{root}/{path}"] for path in ("MLmodel", "model.pkl")}
    answers.put("1/copy/model", files)
    where = data.draw(st.sampled_from(sorted(answers.files)))
    content = answers.files[where]
    other = data.draw(st.binary(max_size=600).filter(lambda found: found != content) | _one_byte(content))
    answers.files[where] = other
    _, rows = audited(answers)
    assert [row.verdict.passes for row in rows] == [False]


def _one_byte(content: bytes) -> st.SearchStrategy[bytes]:
    return st.integers(0, len(content) - 1).map(lambda at: content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


@pytest.mark.parametrize("field", ["size", "is_dir", "path"])
def test_nothing_is_lost_of_a_listing(field: str) -> None:
    """The strategies of this file reach a listing's parts at all."""
    answers = registry()
    (listing,) = [question for question in QUESTIONS if question.startswith("list 1/good")]
    answers.json[listing]["files"][1] = {"path": "model.pkl", "is_dir": False, "file_size": 1}
    if field == "is_dir":
        answers.json[listing]["files"][1]["is_dir"] = True
    if field == "path":
        answers.json[listing]["files"][1]["path"] = "../model.pkl"
    _, rows = audited(answers)
    assert {row.version.name: row.verdict.passes for row in rows} == {"good": False, "other": True}
