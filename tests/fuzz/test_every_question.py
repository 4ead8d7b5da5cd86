"""The same hostile answers to the other questions: one version, a pull, a migration. None may crash or pass unread."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.answering import Answers, answering
from support.fuzzing import changed, fuzzed, texts, values

from registry_audit.api import audit_registry, check_model_version, compare_registries, pull_model
from registry_audit.audit.options import AuditOptions
from registry_audit.errors import AuditError, CouldNotVerify
from registry_audit.migration.pair_judging import PairVerdict
from registry_audit.migration.registries_config import MigrationConfig, MigrationOptions
from registry_audit.registry.connection import Server
from registry_audit.report.write import Format, rendered

BOUNDS = {"max_files": 20, "max_directories": 20, "max_depth": 5, "max_versions": 20}
MOST_REQUESTS = 2_000
FORMS: tuple[Format, ...] = ("text", "json", "html", "markdown", "csv", "junit")
SAME = (PairVerdict.MATCH, PairVerdict.EQUIVALENT)


def registry(*names: str, experiment: str = "1") -> Answers:
    answers = Answers(experiment=experiment)
    for name in names or ("good", "other"):
        answers.add(name)
    return answers


def moved() -> Answers:
    """The same models under other paths: under the same ones, both might be one storage behind two proxies."""
    return registry(experiment="2")


QUESTIONS = sorted(registry().json)
fields = st.sampled_from(["source", "run_id", "version", "status", "name", "creation_timestamp", "tags", "aliases"])


def is_a_defect(text: str) -> bool:
    return "internal error" in text


def migrated(source: Answers, target: Answers) -> Any:
    """The report in every form, or None where the comparison was refused."""
    with answering(source) as one, answering(target) as other:
        config = MigrationConfig(Server(one), Server(other))
        try:
            document = compare_registries(config, MigrationOptions(workers=2, limits=BOUNDS))
        except AuditError as error:
            assert not is_a_defect(error.message), error.message
            return None
    assert max(len(source.asked), len(target.asked)) < MOST_REQUESTS
    for form in FORMS:
        written = "".join(rendered(document, form))
        assert written.encode()
        assert not is_a_defect(written)
    return document


def damaged(data: st.DataObject) -> Answers:
    answers = registry()
    for question in data.draw(st.lists(st.sampled_from(QUESTIONS), min_size=1, max_size=2, unique=True), "questions"):
        answers.json[question] = data.draw(changed(answers.json[question]), question)
    return answers


@fuzzed(6)
@given(st.data(), st.booleans())
def test_a_migration_with_any_json_on_one_side(data: st.DataObject, is_source: bool) -> None:
    sides = [damaged(data), moved()]
    document = migrated(*(sides if is_source else reversed(sides)))
    if document is not None and document.summary.complete:
        whole = [row for row in document.versions if row.verdict in SAME]
        assert len({(row.target.name, row.target.version) for row in whole if row.target}) == 2


@fuzzed(6)
@given(fields, values | texts, st.booleans())
def test_a_migration_with_any_field(field: str, value: Any, is_source: bool) -> None:
    """The other version is compared all the same."""
    answers = registry()
    answers.json["model-versions/search"]["model_versions"][1][field] = value
    sides = [answers, moved()]
    document = migrated(*(sides if is_source else reversed(sides)))
    if document is None:
        assert "\\ud" in json.dumps(value) or field == "name"
        return
    good = [row for row in document.versions if row.source and row.source.name == "good"]
    assert field == "name" or [row.verdict in SAME for row in good] == [True]


def test_an_alias_that_leads_to_another_model(tmp_path: Path) -> None:
    """Healthy and accepted as that one is: it is not the model that was asked for."""
    answers, ledger = registry(), f"sqlite:///{tmp_path / 'ledger.db'}"
    answers.json["registered-models/alias good"] = answers.json["model-versions/get other"]
    with answering(answers) as uri:
        options = AuditOptions(tracking_uri=uri, ledger=ledger, accept_new=True)
        audit_registry(options)
        with pytest.raises(CouldNotVerify, match="the server answers other/1"):
            check_model_version(options, "good", "@champion")
        with pytest.raises(CouldNotVerify, match="the server answers other/1"):
            pull_model(options, "good", "@champion", tmp_path / "model")


numbers = st.lists(texts | st.sampled_from(["1", "2", "10", "abc", "xyz", "007"]), max_size=4, unique=True)


@fuzzed(10)
@given(numbers, numbers)
@example(["abc"], ["xyz"])
@example(["abc", "def"], ["\u00b2"])
def test_a_migration_between_versions_that_are_no_numbers(source: list[str], target: list[str]) -> None:
    sides = registry("good"), registry("good", experiment="2")
    for answers, said in zip(sides, (source, target), strict=True):
        (version,) = answers.json["model-versions/search"]["model_versions"]
        answers.json["model-versions/search"]["model_versions"] = [version | {"version": number} for number in said]
    document = migrated(*sides)
    if document is not None:
        assert document.outcome.exit_status != 0 or not {*source, *target} - {"1", "2", "10"}


@dataclass
class Moody(Answers):
    """A server that changes its mind after so many questions."""

    after: int = 0
    then: Answers = field(default_factory=Answers)

    def answer(self, target: str, body: bytes) -> tuple[int, bytes]:
        if len(self.asked) < self.after:
            return super().answer(target, body)
        self.asked.append(target)
        return self.then.answer(target, body)


@fuzzed(6)
@given(st.data(), st.integers(0, 60))
def test_a_migration_whose_target_changes_its_mind(data: st.DataObject, after: int) -> None:
    """Also while versions are matched, when requirements that differ are read once more."""
    source, target, other = moved(), registry(), damaged(data)
    for answers, content in ((source, b"numpy==1\n"), (target, b"numpy==2\n"), (other, b"numpy==2\n" * 9_999)):
        for name in ("good", "other"):
            root = f"{answers.experiment}/{name}/artifacts/model"
            own = {path.removeprefix(f"{root}/"): body for path, body in answers.files.items() if path.startswith(root)}
            listed = answers.json[f"list {root}"]
            answers.put(root, own | {"requirements.txt": content})
            if answers is other and data.draw(st.booleans()):
                answers.json[f"list {root}"] = listed
    document = migrated(source, Moody(target.json, target.files, after=after, then=other))
    if document is not None:
        assert not document.summary.complete


@fuzzed(6)
@given(st.data())
def test_one_version_with_any_json(data: st.DataObject) -> None:
    answers = damaged(data)
    with answering(answers) as uri:
        options = AuditOptions(tracking_uri=uri, ledger=None, workers=2, **BOUNDS)  # type: ignore[arg-type]
        try:
            checked = check_model_version(options, "good", data.draw(st.sampled_from(["1", "latest", "@champion"])))
        except AuditError as error:
            assert not is_a_defect(error.message), error.message
            return
    assert not is_a_defect(json.dumps(checked.report))
    assert len(answers.asked) < MOST_REQUESTS
    if checked.audit.verdict.passes:
        copy = checked.audit.reg_model
        assert copy is not None
        assert copy.manifest is not None
        assert "MLmodel" in {entry.path for entry in copy.manifest.entries}


@fuzzed(6)
@given(data=st.data())
def test_a_pull_with_any_json(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is left is what was accepted, or nothing."""
    directory, answers = tmp_path_factory.mktemp("pull"), registry()
    ledger, output = f"sqlite:///{directory / 'ledger.db'}", directory / "out"
    with answering(answers) as uri, pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGISTRY_AUDIT_HOME", str(directory / "home"))
        options = AuditOptions(tracking_uri=uri, ledger=ledger, workers=2, accept_new=True, **BOUNDS)  # type: ignore[arg-type]
        audit_registry(options)
        accepted = {path.removeprefix("1/good/artifacts/model/"): content for path, content in answers.files.items()}
        answers.json = damaged(data).json
        where = data.draw(st.sampled_from(["", *sorted(answers.files)]), "file")
        if where:
            answers.files[where] = data.draw(st.binary(max_size=600), "content")
        try:
            pull_model(options, "good", data.draw(st.sampled_from(["1", "latest", "@champion"])), output)
        except AuditError as error:
            assert not is_a_defect(error.message), error.message
            assert not output.exists()
            return
    found = {path.relative_to(output).as_posix(): path.read_bytes() for path in output.rglob("*") if path.is_file()}
    assert found == {path: content for path, content in accepted.items() if "/" not in path}
