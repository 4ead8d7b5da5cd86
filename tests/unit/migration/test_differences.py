"""What a migration explains, rule by rule, and what differs besides."""

from typing import Any

import pytest
import yaml
from support.two_registries import compare_two, compared, facts, model, side

from registry_audit.migration.differences import requirement_lines
from registry_audit.registry.registered_models import RegisteredModel
from registry_audit.registry.runs import RunState

META = b"model_name: Wine\nmodel_version: '1'\n"


def _judged(source: dict[str, bytes], target: dict[str, bytes]) -> tuple[str, dict[str, str | None], tuple[str, ...]]:
    found = compared([facts(files=source)], [facts(files=target)])
    row = found.rows["Wine/1"]
    inside = next((one.fields for one in row.differences if one.path == "MLmodel"), ())
    return row.verdict.value, {one.path: one.expected_by for one in row.differences}, inside


@pytest.mark.parametrize("field", ["run_id", "model_id", "model_uuid", "artifact_path", "utc_time_created"])
@pytest.mark.parametrize(
    ("one", "other"), [("a", "b"), (None, "b"), ("a", None), ("a", {"b": 1}), ({"c": 1}, {"c": 2})]
)
def test_where_a_model_came_from_is_explained(field: str, one: Any, other: Any) -> None:
    """Changed, added where there was none, or left out; also as an absolute location."""
    files = [model(**({field: value} if value is not None else {})) for value in (one, other)]
    if one is None or other is None:
        files[0 if one is None else 1]["MLmodel"] = _without(model(), field)
    verdict, differences, fields = _judged(*files)
    assert (verdict, differences) == ("equivalent", {"MLmodel": "mlmodel-provenance"})
    assert {name.partition(".")[0] for name in fields} == {field}


def _without(files: dict[str, bytes], field: str) -> bytes:
    fields = yaml.safe_load(files["MLmodel"])
    fields.pop(field, None)
    return yaml.safe_dump(fields).encode()


@pytest.mark.parametrize(
    ("field", "one", "other", "named"),
    [
        ("signature", {"inputs": "[]"}, {"inputs": "[1]"}, "signature.inputs"),
        ("mlflow_version", "2.22.5", "3.17.2", "mlflow_version"),
        ("model_size_bytes", 10, 11, "model_size_bytes"),
        ("metadata", {"run_id": "a"}, {"run_id": "b"}, "metadata.run_id"),
        ("prompts", [1], [1, 2], "prompts"),
        ("is_signed", 1, True, "is_signed"),
        ("is_signed", 1, 1.0, "is_signed"),
        ("is_signed", "1", 1, "is_signed"),
        (1, "a", "b", "1"),
    ],
)
def test_any_other_field_is_a_change_and_is_named(field: Any, one: Any, other: Any, named: str) -> None:
    def of(value: Any) -> dict[str, bytes]:
        fields = yaml.safe_load(model()["MLmodel"]) | {field: value}
        return model() | {"MLmodel": yaml.safe_dump(fields).encode()}

    verdict, differences, fields = _judged(of(one), of(other))
    assert (verdict, differences, fields) == ("mismatch", {"MLmodel": None}, (named,))


def test_a_changed_flavor_is_a_change() -> None:
    changed = model(flavors={"python_function": {"model_path": "model.pkl", "loader_module": "evil"}})
    verdict, differences, fields = _judged(model(), changed)
    assert (verdict, differences) == ("mismatch", {"MLmodel": None})
    assert fields == ("flavors.python_function.loader_module",)


def test_keys_of_another_type_are_a_change() -> None:
    one, other = (model() | {"MLmodel": f"flavors: {{a: {{}}}}\n{key}: x\n".encode()} for key in ("1", "true"))
    assert _judged(one, other)[0] == "mismatch"


def test_yaml_that_is_written_anew_says_the_same() -> None:
    text = model()["MLmodel"].decode()
    other = "# by a person\n" + "\n".join(
        f'"{line.partition(":")[0]}":{line.partition(":")[2]}'
        for line in reversed(text.splitlines())
        if not line.startswith((" ", "flavors"))
    )
    other += "\nflavors:\n    python_function: {model_path: model.pkl}\n"
    verdict, differences, fields = _judged(model(), model() | {"MLmodel": other.encode()})
    assert (verdict, differences, fields) == ("equivalent", {"MLmodel": "mlmodel-provenance"}, ())


@pytest.mark.parametrize("broken", [b"{", b"- 1\n", b"flavors: {}\n", b"\xff", b"a: 1\nrun_id: r\n"])
def test_what_is_no_mlmodel_is_explained_by_nothing(broken: bytes) -> None:
    assert _judged(model() | {"MLmodel": broken}, model() | {"MLmodel": broken + b"#\n"})[0] == "mismatch"
    assert _judged(model(), model() | {"MLmodel": broken})[0] == "mismatch"


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        (None, META, "equivalent"),
        (META, None, "equivalent"),
        (META, META.replace(b"Wine", b"main.ml.wine"), "equivalent"),
        (None, b"import os", "mismatch"),
        (b"import os", None, "mismatch"),
        (META, b"import os", "mismatch"),
        (META, META + b"more: x\n", "mismatch"),
        (None, b"model_name: " + b"x" * 5_000, "mismatch"),
        (None, b"model_name: {a: 1}\nmodel_version: '1'\n", "mismatch"),
        (b"import os", b"import os", "match"),
    ],
)
def test_registered_model_meta_is_explained_where_it_is_mlflows(
    one: bytes | None, other: bytes | None, verdict: str
) -> None:
    files = [model() | ({"registered_model_meta": data} if data is not None else {}) for data in (one, other)]
    found, differences, _ = _judged(*files)
    assert found == verdict
    expected = "registered-model-meta" if verdict == "equivalent" else None
    assert differences == ({} if verdict == "match" else {"registered_model_meta": expected})


def test_registered_model_meta_that_mlmodel_names_is_part_of_the_model() -> None:
    files = model(flavors={"python_function": {"model_path": "registered_model_meta"}})
    assert _judged(files | {"registered_model_meta": META}, files)[0] == "mismatch"


def test_registered_model_meta_in_a_directory_is_a_file_like_any_other() -> None:
    assert _judged(model(), model() | {"data/registered_model_meta": META})[0] == "mismatch"


@pytest.mark.parametrize(
    "change",
    [
        {"model.pkl": b"weightz"},
        {"model.pkl": b""},
        {"model.pkl": b"weight"},
        {"model.pkl": None},
        {"extra.txt": b""},
        {"requirements.txt": b"mlflow\r\n", "model.pkl": b"weightz"},
    ],
)
def test_any_other_file_is_a_change(change: dict[str, bytes | None]) -> None:
    changed = {path: data for path, data in (model() | change).items() if data is not None}
    verdict, differences, _ = _judged(
        model() | {"requirements.txt": b"mlflow\r\n"}, changed | {"requirements.txt": b"mlflow\r\n"}
    )
    assert verdict == "mismatch"
    assert set(differences) <= set(change)
    assert set(differences.values()) == {None}


def test_lines_of_requirements() -> None:
    assert requirement_lines("numpy==1.26\nmlflow\n", "mlflow\n\n numpy==2.0 \n") == ("-numpy==1.26", "+numpy==2.0")
    assert requirement_lines("a\nb\n", "b\na\n") == ()
    many = requirement_lines("", "\n".join(f"p{number}" for number in range(30)))
    assert (len(many), many[-1]) == (21, "and 10 more")
    assert requirement_lines("a\na\n", "b") == ("-a", "+b")


def test_a_hundred_thousand_lines_of_requirements_are_compared_at_once() -> None:
    one, other = ("\n".join(f"{side}{number}" for number in range(100_000)) for side in "ab")
    assert requirement_lines(one, other)[-1] == "and 199980 more"


@pytest.mark.parametrize(
    ("field", "source", "target", "said"),
    [
        ("tags.owner", {"tags": (("owner", "risk"),)}, {}, ("risk", "none")),
        ("tags.owner", {"tags": (("owner", "risk"),)}, {"tags": (("owner", "it"),)}, ("risk", "it")),
        ("tags.new", {}, {"tags": (("new", ""),)}, ("none", "")),
        ("description", {"description": "a\nb"}, {"description": "a"}, ("a\nb", "a")),
        ("aliases", {"aliases": ("blue", "green")}, {"aliases": ("blue",)}, ("blue, green", "blue")),
        ("stage", {"stage": "Production"}, {"stage": "Archived"}, ("Production", "Archived")),
        ("run", {"run": RunState.ACTIVE}, {"run": RunState.DELETED}, ("active", "in the trash")),
        ("run", {"run": RunState.ACTIVE}, {"run": RunState.MISSING}, ("active", "gone")),
        ("run", {"run": RunState.DELETED}, {"run": RunState.NONE}, ("in the trash", "none")),
    ],
)
def test_metadata_that_differs_is_named_and_bytes_are_no_less_the_same(
    field: str, source: dict[str, Any], target: dict[str, Any], said: tuple[str, str]
) -> None:
    found = compared([facts(files=model(), **source)], [facts(files=model(), **target)])
    row = found.rows["Wine/1"]
    assert [(one.field, one.source, one.target) for one in row.metadata] == [(field, *said)]
    assert (row.verdict, found.rules("Wine/1"), found.exit_status) == ("match", ["RA022"], 1)
    critical = compared([facts(files=model(), **source)], [facts(files=model(), **target)], fail_on="critical")
    assert critical.exit_status == 0


def test_what_is_no_difference() -> None:
    """Times, users and sources are always others; a run is no loss where there was none."""
    source = facts(files=model(), description=None, run=RunState.NONE, creation_time_ms=1, user_id="a", source="s3://a")
    target = facts(files=model(), description="", creation_time_ms=9, user_id="b", source="s3://b", run_id="other")
    found = compared([source], [target])
    assert (found.rows["Wine/1"].metadata, found.exit_status) == ((), 0)


def test_a_stage_that_became_an_alias_is_mapped() -> None:
    source = facts(files=model(), stage="Production", aliases=("blue",))
    mapped = "stage:Production -> @champion"
    good = compared([source], [facts(files=model(), aliases=("blue", "champion"))], mapped)
    assert good.rows["Wine/1"].metadata == ()
    lost = compared([source], [facts(files=model(), aliases=("blue",))], mapped)
    assert {one.field: (one.source, one.target) for one in lost.rows["Wine/1"].metadata} == {
        "aliases": ("blue, champion", "blue"), "stage": ("Production", "none"),
    }  # fmt: skip


def test_what_is_said_of_a_registered_model() -> None:
    one, other = RegisteredModel("Wine", "old", (("team", "a"),)), RegisteredModel("Wine", None, ())
    files = model()
    found = compare_two(side([facts(files=files)], models=[one]), side([facts(files=files)], models=[other]))
    assert {(field.field, field.source, field.target) for field in found.models["Wine"].metadata} == {
        ("tags.team", "a", "none"), ("description", "old", "none"),
    }  # fmt: skip
    assert found.exit_status == 1


def test_a_registered_model_without_versions_is_compared_by_its_name() -> None:
    empty = RegisteredModel("Empty", None, ())
    wine = facts(files=model())
    lost = compare_two(side([wine], models=[empty]), side([wine]))
    assert [finding.rule for finding in lost.models["Empty"].findings] == ["RA020"]
    assert lost.exit_status == 1
    extra = compare_two(side([wine]), side([wine], models=[empty]), fail_on="low")
    assert [finding.rule for finding in extra.models["Empty"].findings] == ["RA023"]
    both = compare_two(side([facts(files=model())], models=[empty]), side([facts(files=model())], models=[empty]))
    assert both.models["Empty"].findings == ()
