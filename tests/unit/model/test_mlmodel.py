import json
import posixpath
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_audit.errors import UsageError
from registry_audit.model.escapes import escapes
from registry_audit.model.mlmodel import InvalidMLmodel, missing_parts, must_not_be_in_a_model, parse_mlmodel

GOOD = b"""\
flavors:
  python_function: {data: model.pkl, env: {conda: conda.yaml, virtualenv: python_env.yaml}, loader_module: x}
  sklearn: {pickled_model: model.pkl, code: code}
model_size_bytes: 100
run_id: abc
"""
SIZES = {"MLmodel": 50, "model.pkl": 100, "conda.yaml": 5, "python_env.yaml": 5, "code/a.py": 3}


def problems(content: bytes, sizes: dict[str, int]) -> dict[str, str]:
    return dict(missing_parts(parse_mlmodel(content), sizes))


def test_a_whole_model_has_nothing_missing() -> None:
    assert problems(GOOD, SIZES) == {}


@pytest.mark.parametrize("gone", ["conda.yaml", "python_env.yaml", "code/a.py", "model.pkl"])
def test_what_mlmodel_names_must_be_there(gone: str) -> None:
    named = gone.partition("/")[0]
    assert "missing" in problems(GOOD, {path: size for path, size in SIZES.items() if path != gone})[named]


def test_a_model_file_must_not_be_empty() -> None:
    assert "empty" in problems(GOOD, SIZES | {"model.pkl": 0})["model.pkl"]


def test_fewer_bytes_than_were_logged_are_a_truncation() -> None:
    # The environment files were written after the sum was made: they cannot make up for lost bytes.
    assert "99" in problems(GOOD, SIZES | {"model.pkl": 96, "conda.yaml": 5000})["MLmodel"]
    assert problems(GOOD, SIZES | {"model.pkl": 5000}) == {}


def test_a_path_out_of_the_model_is_none_of_its_parts() -> None:
    content = b"flavors: {f: {data: 's3://bucket/x', model_data: /abs/path, model_path: ../up}}"
    assert problems(content, {"MLmodel": 1}) == {}


@pytest.mark.parametrize("named", ["code//a.py", "code/./a.py", "./code/a.py", ".//code//a.py", "code//", "./"])
def test_a_path_in_another_spelling_names_what_the_file_system_finds_there(named: str) -> None:
    content = f"flavors: {{f: {{data: '{named}'}}}}".encode()
    assert problems(content, {"MLmodel": 1, "code/a.py": 1}) == {}
    assert [*problems(content, {"MLmodel": 0, "b.py": 0})] == [posixpath.normpath(named)]


@pytest.mark.parametrize("named", ["a//../b", "a/./../../b", "//b", "/./b"])
def test_another_spelling_of_a_path_out_of_the_model_leaves_it(named: str) -> None:
    content = f"flavors: {{f: {{data: '{named}'}}}}".encode()
    assert problems(content, {"MLmodel": 1}) == {}
    assert list(escapes(parse_mlmodel(content))) == [("f.data", named)]


BOMB = b"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 10)}]\n".encode() for i in range(9)
)


MERGES = b"flavors: {f: {loader_module: x}}\na0: &a0 {k1: 1, k2: 2, k3: 3, k4: 4, k5: 5, k6: 6, k7: 7, k8: 8, k9: 9}\n"
MERGES += b"".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n".encode()  # each merge is copied when it is read
    for i in range(1, 10)
)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"\xff\xfe\x00", "UTF-8|YAML"),
        (b"flavors: [unclosed", "YAML at line"),
        (b"- a\n- b\n", "not a mapping"),
        (b"run_id: x\n", "no flavors"),
        (b"flavors: {}\n", "no flavors"),
        (b"flavors: !!python/object/apply:os.system ['true']\n", "YAML"),
        (BOMB + b"flavors: {f: *j}\n", "YAML"),
        (b"flavors: &x {f: *x}\n", "YAML"),
        (b"[" * 5000, "YAML"),
        (MERGES, "YAML"),
        (b"flavors: &x {<<: *x}\n", "YAML"),
        (b"flavors: {f: " + b"- " * 5000 + b"1}\n", "YAML"),
        (b"flavors: {f: x}\na: " + b":".join([b"1"] * 100_000), "YAML"),
        (b"flavors: {f: x}\na: !!int '" + b":".join([b"1"] * 100_000) + b"'", "YAML"),
        (b"flavors: {f: x}\na: !!int ' " + b":".join([b"1"] * 400_000) + b"'", "YAML"),
        (("flavors: {f: x}\na: !!int '" + ":".join("\uff11" * 400_000) + "'").encode(), "YAML"),
        (b"%TAG !n! tag:yaml.org,2002:\n---\nflavors: {f: x}\na: !n!int ' 0x" + b"f" * 5_000 + b"'", "YAML"),
        (b"flavors: {f: x}\na: [" + b"1," * 100_000 + b"]", "YAML"),
        (b"flavors: {f: x}\na: " + b"9" * 5_000, "YAML"),
        (b"flavors: {f: x}\na: !!timestamp ''", "YAML"),
        (b"flavors: {f: x}\na: !!timestamp 2001-99-99", "YAML"),
        (b"flavors: {f: x}\na: !!int ''", "YAML"),
        (b"flavors: {f: x}\na: !!float ''", "YAML"),
        (b"flavors: {f: x}\na: !!bool perhaps", "YAML"),
        (b"flavors: {f: x}\na: !!binary {}", "YAML"),
        (b"flavors: {f: x}\na: !!omap {f: x}", "YAML"),
        (b"flavors: {f: x}\n? {a: b}\n: c", "YAML"),
        (b"flavors: {f: x}\n0x" + b"f" * 5_000 + b": y", "YAML"),
        (b"flavors: {f: x}\na: &a '" + b"x" * 1_000_000 + b"'\nb: [" + b"*a," * 1_000 + b"]", "YAML"),
    ],
    ids=[
        *("empty", "binary", "broken", "list", "none", "no-flavors", "python-object", "bomb", "recursive", "nested"),
        *("merges", "merged-into-itself", "nested-lists", "minutes", "minutes-said-to-be"),
        *("minutes-after-a-space", "minutes-of-wide-digits", "tagged-by-another-name", "long", "digits"),
        *("no-time", "impossible-time", "no-int", "no-float", "no-bool", "no-text", "no-pairs", "mapping-as-key"),
        *("hexadecimal-digits", "a-long-text-many-times"),
    ],
)
@pytest.mark.timeout(20)
def test_what_is_no_mlmodel_is_refused_in_no_time(content: bytes, why: str) -> None:
    with pytest.raises(InvalidMLmodel, match=why):
        parse_mlmodel(content)


_paths = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=3).map("/".join) | st.just(".")


@given(_paths, st.dictionaries(_paths.filter(lambda path: path != "."), st.integers(0, 2), max_size=4))
def test_a_directory_is_there_where_a_file_is_in_it(named: str, sizes: dict[str, int]) -> None:
    inside = [size for path, size in sizes.items() if named == "." or path == named or path.startswith(f"{named}/")]
    expected = "missing" if not inside and named != "." else "empty" if sum(inside) == 0 else None
    said = problems(f"flavors: {{f: {{data: '{named}'}}}}".encode(), sizes).get(named)
    assert said is None if expected is None else expected in (said or "")


def test_many_parts_of_many_files_are_looked_for_at_once() -> None:
    """Comparing each with each would take as long as an attacker likes."""
    sizes = {f"d{number}/x": 1 for number in range(200_000)}
    artifacts = {f"a{number}": {"path": f"d{number}"} for number in range(10_000)}
    content = json.dumps({"flavors": {"f": {"artifacts": artifacts}}}).encode()
    assert problems(content, sizes) == {}


def test_a_place_that_cannot_be_looked_at_is_in_no_model_unless_one_is_around_it(tmp_path: Path) -> None:
    must_not_be_in_a_model(tmp_path / (300 * "x") / "report", "it")
    (tmp_path / "MLmodel").touch()
    with pytest.raises(UsageError, match="it is in a model"):
        must_not_be_in_a_model(tmp_path / (300 * "x") / "report", "it")
