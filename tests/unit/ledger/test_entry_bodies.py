"""Entries that are well chained and say what this program never wrote: the ledger is damaged, and says so."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ledgers import FILES, REGISTRY, insert, manifest_of, options, record, registry_audit, row, scope_of

from registry_audit.errors import LedgerError
from registry_audit.ledger.assess import Beside
from registry_audit.ledger.chain import Draft, Entry, Kind, canonical, entry_digest, link
from registry_audit.ledger.connecting import open_ledger
from registry_audit.ledger.entry_bodies import any_body_of
from registry_audit.ledger.identity import known_registries, recognise
from registry_audit.ledger.memory import TrustedReadings
from registry_audit.ledger.store import Ledger

_LEDGER = 4
_DIGEST = manifest_of(FILES).digest()
SOUND: dict[Kind, dict[str, Any]] = {
    Kind.AUDIT_STARTED: {"options": {}, "listed": 1, "selected": 1},
    Kind.AUDIT_FINISHED: {
        "exit_status": 0,
        "verdicts": {"match": 1},
        "listed": 1,
        "baselines": None,
        "told": [["m", "1", "RA013", "x"]],
    },
    Kind.READING: {
        "verdict": "match",
        "baseline": "unchanged",
        "manifest": _DIGEST,
        "run_manifest": _DIGEST,
        "storages": [["s3://b/m", "0" * 64, _DIGEST, "2026-01-01T00:00:00Z"]],
        "differences": _DIGEST,
        "rules": ["RA005"],
        "creation_time_ms": 1_000,
        "run_id": None,
    },
    Kind.ACCEPTED: {
        "manifest": _DIGEST,
        "by": "me",
        "reason": "known",
        "files": 3,
        "bytes": 19,
        "source": "s3://b/m",
        "despite": ["RA013"],
        "creation_time_ms": 1_000,
        "run_id": None,
    },
    Kind.FINDING_OPENED: {"rule": "RA013", "path": "x", "severity": "high"},
    Kind.FINDING_RESOLVED: {"rule": "RA013", "path": None, "first_seen": "2026-01-01T00:00:00Z", "by": "x"},
    Kind.WAIVED: {
        "rule": "RA013",
        "path": None,
        "by": "me",
        "reason": "known",
        "until": "2999-12-31",
        "run_manifest": _DIGEST,
        "manifest": _DIGEST,
        "differences": _DIGEST,
        "paths": ["x"],
    },
    Kind.REGISTRY: {"address": "http://other", "name": None},
}
OPTIONAL = {
    *("baselines", "run_manifest", "storages", "differences", "rules", "creation_time_ms", "run_id", "files", "bytes"),
    *("source", "despite", "paths", "told"),
    ("by", Kind.FINDING_RESOLVED),
    ("manifest", Kind.WAIVED),
}


def entry(kind: str, body: Any, after: Entry | None = None) -> Entry:
    """As `link` makes it, whatever it says."""
    (linked,) = link([Draft(Kind.WAIVED, REGISTRY, "wine", "1")], after=after, at="2026-01-01T00:00:00Z")
    text = body if isinstance(body, str) else canonical(body)
    fields = (linked.seq, linked.at, kind, REGISTRY, "wine", "1", "", text, linked.previous)
    return Entry(*fields, entry_digest(*fields))


def damaged(kind: Kind) -> Iterator[tuple[str | None, Any]]:
    """The key that is damaged, None for all of them, and the body."""
    for text in ("{", "[]", "null", "5", ""):
        yield None, text
    for key, value in SOUND[kind].items():
        if not {key, (key, kind)} & OPTIONAL:
            yield None, {name: kept for name, kept in SOUND[kind].items() if name != key}
        for wrong in (True, 1.5, {"x": 1}, [1], "\ud800", [["x"]]):
            if type(wrong) is not type(value) or wrong == [1]:
                yield key, SOUND[kind] | {key: wrong}


def test_what_this_program_writes_is_sound() -> None:
    for kind, body in SOUND.items():
        said = any_body_of(entry(kind, body))
        assert json.loads(canonical(said.draft("").body or {})) == body


@pytest.mark.parametrize("kind", Kind)
def test_nothing_is_half_read(kind: Kind) -> None:
    any_text = {"verdict", "baseline", "source", "run_id", "path", "by", "reason", "first_seen", "address", "name"}
    for key, body in damaged(kind):
        if key == "options" and isinstance(body[key], dict):
            continue
        if key in any_text and isinstance(body[key], str):
            any_body_of(entry(kind, body))
            continue
        with pytest.raises(LedgerError, match="cannot be read") as raised:
            any_body_of(entry(kind, body))
        assert raised.value.message.isprintable()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([_DIGEST, "RA001"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(Kind), st.data())
def test_any_body_is_read_or_refused(kind: Kind, data: st.DataObject) -> None:
    body = SOUND[kind] | data.draw(st.dictionaries(st.sampled_from(sorted(SOUND[kind])), json_values))
    kept = {key: value for key, value in body.items() if data.draw(st.booleans())}
    try:
        any_body_of(entry(kind, kept))
    except LedgerError as error:
        assert error.message.isprintable()


FORGED = [
    *(pytest.param(kind, "{}", id=f"{kind}-empty") for kind in Kind),
    pytest.param("gift", "{}", id="unknown kind"),
    pytest.param(Kind.ACCEPTED, canonical(SOUND[Kind.ACCEPTED] | {"manifest": "md5:0"}), id="other digest"),
    pytest.param(Kind.WAIVED, canonical(SOUND[Kind.WAIVED] | {"until": "9"}), id="no day"),
    pytest.param(Kind.WAIVED, canonical(SOUND[Kind.WAIVED] | {"until": 2**70}), id="a number"),
]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("kind", "body"), FORGED)
def test_a_forged_entry_that_is_well_chained_ends_with_4(ledger: Ledger, url: str, kind: str, body: str) -> None:
    """Whoever reads it says so in a sentence: never a pass, and never a traceback."""
    newest = record(ledger, row(), accept_new=True).head
    insert(url, entry(kind, body, after=newest))
    again = Ledger(ledger._engine, url)
    reads = {
        "audit": lambda: record(again, row()),
        "verify": again.verify,
        "beside": lambda: _read(again, lambda reader: Beside(reader, REGISTRY, set())([row()])),
        "registries": lambda: _read(again, known_registries),
        "another": lambda: _read(again, lambda r: recognise(r, "http://new", None, scope_of(row()).everything)),
        "quick": lambda: TrustedReadings(again, REGISTRY, None),
    }
    refused = set()
    for name, act in reads.items():
        try:
            act()
        except LedgerError as error:
            assert "cannot be read" in error.message
            refused.add(name)
    assert "verify" in refused
    for command in (["verify"], ["export"], ["history", "wine/1"]):
        said = registry_audit("baseline", *command, "--ledger", url)
        assert (said.exit_status, said.stderr.count("\n")) == (_LEDGER, 1), command
        assert "cannot be read" in said.stderr
    if kind in (Kind.ACCEPTED, Kind.READING, Kind.WAIVED, Kind.FINDING_OPENED, Kind.FINDING_RESOLVED, "gift"):
        assert "audit" in refused


def _read(ledger: Ledger, act: Any) -> None:
    with ledger.reading() as reader:
        act(reader)


def test_an_entry_of_no_time_ends_with_4(sqlite_ledger: Ledger) -> None:
    """It would date everything that is written after it."""
    newest = record(sqlite_ledger, row(), accept_new=True).head
    sound = entry(Kind.REGISTRY, SOUND[Kind.REGISTRY], after=newest)
    fields = (sound.seq, "zzzz", *(getattr(sound, name) for name in Entry.__slots__[2:-1]))
    insert(sqlite_ledger.url, Entry(*fields, entry_digest(*fields)))
    with pytest.raises(LedgerError, match="dated zzzz"):
        record(open_ledger(sqlite_ledger.url, create=False), row())
    assert options().digest == "sha256"
