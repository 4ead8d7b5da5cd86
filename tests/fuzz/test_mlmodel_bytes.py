"""Any bytes for an MLmodel: what is said of them, and never an exception; never `clean` where a part is missing."""

import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from support.fuzzing import changed, fuzzed
from support.ledgers import row

from registry_audit.audit.copies import is_written_by_mlflow
from registry_audit.model.escapes import escapes
from registry_audit.model.mlmodel import InvalidMLmodel, missing_parts, parse_mlmodel

GOOD = {
    "flavors": {
        "python_function": {
            "model_path": "model.pkl",
            "env": {"conda": "conda.yaml"},
            "loader_module": "mlflow.sklearn",
        },
        "sklearn": {"pickled_model": "model.pkl", "code": "code"},
    },
    "saved_input_example_info": {"artifact_path": "input_example.json"},
    "model_size_bytes": 100,
    "run_id": "r1",
    "prompts": ["prompts:/a/1"],
}
SIZES = {"MLmodel": 50, "model.pkl": 100, "conda.yaml": 5, "code/a.py": 3, "input_example.json": 2}
_PARTS = [
    *(
        "!!timestamp ",
        "!!int ",
        "!!float ",
        "!!binary ",
        "!!set ",
        "!!omap ",
        "!!pairs ",
        "!!null ",
        "!!str ",
        "!!map ",
    ),
    *(
        "&a ",
        "*a",
        "<<: ",
        "? ",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "\n",
        "  ",
        "'",
        '"',
        "|",
        ">",
        "#",
        "---",
        "...",
    ),
    *(
        "flavors",
        "run_id",
        "model.pkl",
        "../x",
        "/etc",
        "2001-01-01",
        "1:30",
        "0x1",
        "0o7",
        ".inf",
        ".nan",
        "~",
        "=",
        "%YAML 9.9",
    ),
]


def said_of(content: bytes) -> list[object]:
    try:
        mlmodel = parse_mlmodel(content)
    except InvalidMLmodel as error:
        return [str(error)]
    assert isinstance(is_written_by_mlflow(content, content), bool)
    assert [mlmodel.run_id, mlmodel.model_id, mlmodel.model_uuid, mlmodel.model_size_bytes]
    assert mlmodel.without_provenance() is not None
    return [*escapes(mlmodel), *missing_parts(mlmodel, SIZES)]


@fuzzed(90)
@given(st.binary(max_size=200) | st.lists(st.sampled_from(_PARTS)).map(lambda parts: "".join(parts).encode()))
@example(b"flavors: {f: {}}\na: !!timestamp ''")
@example(b"flavors: {f: {}}\na: !!timestamp 2001-99-99")
@example(b"!!set {a, b}")
def test_any_bytes(content: bytes) -> None:
    said_of(content)


@fuzzed(60)
@given(changed(GOOD).map(lambda fields: yaml.safe_dump(fields, allow_unicode=True).encode("utf-8", "surrogatepass")))
def test_any_fields(content: bytes) -> None:
    said_of(content)


@fuzzed(60)
@given(st.data())
def test_one_byte_changed(data: st.DataObject) -> None:
    content = bytearray(yaml.safe_dump(GOOD).encode())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    said_of(bytes(content))


@fuzzed(30)
@given(
    st.sampled_from(["model.pkl", "conda.yaml", "code/a.py", "input_example.json"]),
    changed(GOOD["saved_input_example_info"]),
)
def test_a_part_that_is_missing_is_said_whatever_stands_beside_it(gone: str, beside: object) -> None:
    fields = GOOD | {"another": beside}
    try:
        mlmodel = parse_mlmodel(yaml.safe_dump(fields).encode("utf-8", "surrogatepass"))
    except InvalidMLmodel:  # half a character, for instance
        return
    missing = missing_parts(mlmodel, {path: size for path, size in SIZES.items() if path != gone})
    assert gone.partition("/")[0] in {path for path, _ in missing}


def test_the_parts_are_whole() -> None:
    assert said_of(yaml.safe_dump(GOOD).encode()) == []
    assert row().findings == ()
