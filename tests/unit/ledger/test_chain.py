"""Entries link, and whatever is done to one of them afterwards shows."""

import json
from dataclasses import fields, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from registry_audit.errors import LedgerError
from registry_audit.ledger.chain import GENESIS, Draft, Entry, Kind, canonical, check_chain, entry_digest, link

AT = "2026-01-02T03:04:05Z"

_texts = st.text(max_size=12)
_bodies = st.dictionaries(
    _texts, st.none() | st.booleans() | st.integers() | _texts | st.lists(_texts, max_size=3), max_size=3
)
_drafts = st.lists(
    st.builds(Draft, st.sampled_from(Kind), _texts, _texts, _texts, _texts, st.none() | _bodies), min_size=1, max_size=8
)
_chains = _drafts.map(lambda drafts: list(link(drafts, after=None, at=AT)))
_FIELDS = [field.name for field in fields(Entry)]


@given(_drafts, _drafts, _texts)
def test_any_entries_link_and_check(first: list[Draft], second: list[Draft], at: str) -> None:
    chain = list(link(first, after=None, at=AT))
    chain += link(second, after=chain[-1], at=at)
    assert check_chain(chain) == chain[-1]
    assert [entry.seq for entry in chain] == list(range(1, len(first) + len(second) + 1))
    assert chain[0].previous == GENESIS
    assert [json.loads(entry.body) for entry in chain] == [draft.body or {} for draft in first + second]
    # A clock that went back does not turn the chain's time.
    assert [entry.at for entry in chain] == sorted(entry.at for entry in chain)


@given(_drafts)
def test_linking_is_a_function_of_its_arguments(drafts: list[Draft]) -> None:
    assert list(link(drafts, after=None, at=AT)) == list(link(drafts, after=None, at=AT))


@given(_chains, st.data())
def test_one_changed_field_is_found(chain: list[Entry], data: st.DataObject) -> None:
    place, name = data.draw(st.integers(0, len(chain) - 1)), data.draw(st.sampled_from(_FIELDS))
    old = getattr(chain[place], name)
    new = data.draw(st.integers(-5, 20) if name == "seq" else _texts)
    assume(new != old)
    changed = [*chain[:place], replace(chain[place], **{name: new}), *chain[place + 1 :]]
    with pytest.raises(LedgerError, match="chain is broken: entry"):
        check_chain(changed)


@given(_chains, st.data())
def test_a_changed_entry_is_found_even_with_its_digest_made_to_fit(chain: list[Entry], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(chain) - 1))
    body = data.draw(_texts)
    entry = chain[place]
    assume(body != entry.body)
    kept = [getattr(entry, name) for name in _FIELDS if name not in ("body", "previous", "digest")]
    forged = replace(entry, body=body, digest=entry_digest(*kept, body, entry.previous))
    changed = [*chain[:place], forged, *chain[place + 1 :]]
    if place == len(chain) - 1:
        # Nothing follows that would contradict: only a head that was seen elsewhere can (see the known heads).
        assert check_chain(changed) != chain[-1]
        return
    with pytest.raises(LedgerError, match=f"entry {entry.seq + 1} does not follow entry {entry.seq}"):
        check_chain(changed)


@given(_chains, st.data())
def test_a_removed_entry_is_found(chain: list[Entry], data: st.DataObject) -> None:
    assume(len(chain) > 1)
    place = data.draw(st.integers(0, len(chain) - 2))
    with pytest.raises(LedgerError, match=f"entry {place + 1} is missing"):
        check_chain([*chain[:place], *chain[place + 1 :]])


@given(_chains, st.data())
def test_a_removed_newest_entry_gives_another_head(chain: list[Entry], data: st.DataObject) -> None:
    kept = data.draw(st.integers(0, len(chain) - 1))
    assert check_chain(chain[:kept]) != chain[-1]


@given(_chains, st.data())
def test_an_inserted_entry_is_found(chain: list[Entry], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(chain) - 1))
    before = chain[place - 1] if place else None
    (inserted,) = link([Draft(Kind.ACCEPTED, "r", "wine", "1", body={"manifest": "sha256:00"})], after=before, at=AT)
    with pytest.raises(LedgerError, match="chain is broken"):
        check_chain([*chain[:place], inserted, *chain[place:]])


@given(_chains, st.randoms())
def test_another_order_is_found(chain: list[Entry], random: object) -> None:
    shuffled = list(chain)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assume(shuffled != chain)
    with pytest.raises(LedgerError, match="chain is broken"):
        check_chain(shuffled)


@given(_bodies, _bodies)
def test_two_bodies_have_one_text_exactly_when_they_are_equal(one: dict[str, object], two: dict[str, object]) -> None:
    # repr tells 1 from True, which Python's == does not.
    assert (canonical(one) == canonical(two)) == (repr(sorted(one.items())) == repr(sorted(two.items())))
    assert canonical(one).isascii()


def test_fields_cannot_slide_into_each_other() -> None:
    assert entry_digest("ab", "c") != entry_digest("a", "bc")
    assert entry_digest('a", "b', "c") != entry_digest("a", 'b", "c')


def test_an_empty_chain_has_no_head() -> None:
    assert check_chain([]) is None
