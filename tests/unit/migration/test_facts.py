"""The key by which a version is found again: equal exactly where every difference is one that a rule explains."""

from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from support.two_registries import facts, model

from registry_audit.audit.comparing import Kind
from registry_audit.migration.differences import file_differences
from registry_audit.migration.facts import Inner, VersionFacts, decode_facts, encode_facts
from registry_audit.model.mlmodel import PROVENANCE
from registry_audit.registry.runs import RunState

_VALUES = st.sampled_from(["r1", "r2", None, 1, True, 1.0, "1", {"a": 1}, {"a": 2}, [1], [2], "", "models:/m-1"])
_KEYS = st.sampled_from([*PROVENANCE, "signature", "mlflow_version", "metadata", 1, True, "1"])
_META = st.sampled_from(
    [
        None,
        b"model_name: Wine\nmodel_version: '1'\n",
        b"model_name: Beer\nmodel_version: '2'\n",
        b"model_name: Wine\nmodel_version: 1\n",
        b"model_name: Wine\n",
        b"import os",
        b"model_name: " + b"x" * 5_000,
        b"",
    ]
)
_BROKEN = st.sampled_from([None, None, None, b"", b"{", b"flavors: {}\n", b"flavors: {a: 1}\n", b"\xff\xfe", b"- 1\n"])


@st.composite
def _models(draw: st.DrawFn) -> dict[str, bytes]:
    files = model(draw(st.sampled_from(["weights", "other"])))
    fields = yaml.safe_load(files["MLmodel"]) | draw(st.dictionaries(_KEYS, _VALUES, max_size=3))
    for key in draw(st.sets(st.sampled_from(PROVENANCE), max_size=2)):
        fields.pop(key, None)
    broken = draw(_BROKEN)
    text = yaml.safe_dump(fields, sort_keys=draw(st.booleans()), default_flow_style=draw(st.booleans()))
    files["MLmodel"] = text.encode() if broken is None else broken
    meta = draw(_META)
    if meta is not None:
        files["registered_model_meta"] = meta
    if draw(st.booleans()):
        files["extra/registered_model_meta"] = b"model_name: Wine\nmodel_version: '1'\n"
    return files


@settings(max_examples=400)
@given(one=_models(), other=_models())
def test_equal_content_is_all_differences_explained(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    source, target = facts(files=one), facts(files=other)
    found = file_differences(source, target)
    assert (source.content == target.content) is all(difference.expected_by for difference in found)
    back = file_differences(target, source)
    assert [(d.path, d.expected_by) for d in back] == [(d.path, d.expected_by) for d in found]
    assert {difference.path for difference in found} == {
        path for path in one.keys() | other.keys() if one.get(path) != other.get(path)
    }
    mirrored = {Kind.ONLY_LEFT: Kind.ONLY_RIGHT, Kind.ONLY_RIGHT: Kind.ONLY_LEFT, Kind.CONTENT: Kind.CONTENT}
    assert [mirrored[difference.kind] for difference in back] == [difference.kind for difference in found]


_TEXT = st.text(st.characters(), max_size=20)


@settings(max_examples=100)
@given(
    name=_TEXT,
    tags=st.dictionaries(_TEXT, _TEXT, max_size=3),
    path=_TEXT.filter(bool),
    data=st.binary(max_size=40),
    run=st.sampled_from(list(RunState)),
    broken=_BROKEN,
)
def test_facts_are_kept_as_they_are(
    name: str, tags: dict[str, str], path: str, data: bytes, run: RunState, broken: bytes | None
) -> None:
    files: dict[str, bytes] = model() | {path: data} | ({"MLmodel": broken} if broken is not None else {})
    kept = facts(
        name, 3, files, run=run, tags=tuple(sorted(tags.items())), description=name, aliases=(name,), places=("1:2",)
    )
    assert _again(kept) == kept


def test_facts_of_what_could_not_be_read_are_kept_too() -> None:
    for kept in (facts(unread="permission denied"), facts(gone=True), facts(status="PENDING_REGISTRATION")):
        assert _again(kept) == kept
    inner: Any = facts(files={"model/MLmodel": model()["MLmodel"]})
    assert inner.inner == (Inner("model", inner.inner[0].content, 1),)
    assert _again(inner) == inner


def _again(kept: VersionFacts) -> VersionFacts:
    line = encode_facts(kept)
    assert line.isascii()
    assert "\n" not in line
    return decode_facts(line)
