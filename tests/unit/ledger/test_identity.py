"""A registry is recognised by its versions, whatever it is called, and nothing is guessed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.ledgers import FILES, REGISTRY, RecordedAudit, options, record, row, scope_of

from registry_audit.audit.judging import VersionAudit
from registry_audit.errors import UsageError
from registry_audit.ledger.chain import Kind
from registry_audit.ledger.identity import audited_registry, known_registries, recognise, registry_key, renamed_registry
from registry_audit.ledger.record import begin
from registry_audit.ledger.store import Ledger

ELSEWHERE = "http://elsewhere:5000"
CHANGED = {**FILES, "model.pkl": b"NOISE"}
WINE, BEER = row(), row("beer", created=2_000)
OTHER_BEER = row("beer", created=3_000)


def audited(
    ledger: Ledger, *rows: VersionAudit, at: str = REGISTRY, unlisted: tuple[VersionAudit, ...] = (), **chosen: object
) -> RecordedAudit:
    return record(ledger, *rows, scope=scope_of(*rows, unlisted=unlisted, registry=at), accept_new=True, **chosen)


def begun(
    ledger: Ledger, *rows: VersionAudit, at: str, unlisted: tuple[VersionAudit, ...] = (), **chosen: object
) -> tuple[str, tuple[str, ...]]:
    """The registry that an audit belongs to, and what the report says of it."""
    scope, _ = begin(ledger, scope_of(*rows, unlisted=unlisted, registry=at), options(**chosen), "audit")
    return scope.registry, scope.notes


def statuses(recorded: RecordedAudit) -> dict[str, str]:
    return {a.version.label: a.baseline.status.value for a in recorded.audits if a.baseline}


def rules(recorded: RecordedAudit) -> set[str]:
    return {finding.rule for audit in recorded.audits for finding in audit.findings}


def test_one_registry_under_another_address_keeps_its_baselines(sqlite_ledger: Ledger) -> None:
    audited(sqlite_ledger, WINE, BEER)
    registry, notes = begun(sqlite_ledger, WINE, BEER, at=ELSEWHERE)
    assert registry == REGISTRY
    assert "under another address: all 2 versions" in notes[0]
    recorded = audited(sqlite_ledger, row(files=CHANGED), BEER, at=ELSEWHERE)
    assert (statuses(recorded), rules(recorded)) == ({"wine/1": "changed", "beer/1": "unchanged"}, {"RA002"})
    assert recorded.accepted_count == 0


def test_an_address_is_recognised_once(sqlite_ledger: Ledger) -> None:
    audited(sqlite_ledger, WINE)
    assert begun(sqlite_ledger, WINE, at=ELSEWHERE)[1] != ()
    assert begun(sqlite_ledger, OTHER_BEER, at=ELSEWHERE) == (REGISTRY, ())
    with sqlite_ledger.reading() as reader:
        (known,) = known_registries(reader)
    assert known.addresses == (ELSEWHERE,)


def test_a_selection_is_recognised_by_everything_that_is_listed(sqlite_ledger: Ledger) -> None:
    """An audit of one model that the ledger has never seen would else begin a second registry."""
    audited(sqlite_ledger, WINE)
    assert begun(sqlite_ledger, BEER, unlisted=(WINE,), at=ELSEWHERE)[0] == REGISTRY


def test_other_versions_of_the_same_names_are_another_registry(sqlite_ledger: Ledger) -> None:
    audited(sqlite_ledger, BEER)
    assert begun(sqlite_ledger, OTHER_BEER, at=ELSEWHERE) == (ELSEWHERE, ())


def test_a_copy_that_went_its_own_way_is_refused_until_it_has_a_name(sqlite_ledger: Ledger) -> None:
    audited(sqlite_ledger, WINE, BEER)
    with pytest.raises(
        UsageError, match=f"1 versions of the registry {REGISTRY} .* 1 of the same name.*--registry-name"
    ):
        begun(sqlite_ledger, WINE, OTHER_BEER, at=ELSEWHERE)
    assert begun(sqlite_ledger, WINE, OTHER_BEER, at=ELSEWHERE, registry_name="copy")[0] == "copy"
    assert begun(sqlite_ledger, WINE, OTHER_BEER, at=ELSEWHERE)[0] == "copy", "its address has a name now"


def test_a_version_that_the_last_whole_audit_would_have_listed_shows_a_fork(sqlite_ledger: Ledger) -> None:
    older, newer = row("cider", created=1_500), row("cider", created=9_000)
    audited(sqlite_ledger, WINE, BEER)
    with pytest.raises(UsageError, match=r"1 that it did not have when they were new: a restored copy, or a fork\?"):
        begun(sqlite_ledger, WINE, older, at=ELSEWHERE)
    assert begun(sqlite_ledger, WINE, older, at=ELSEWHERE, registry_name=REGISTRY)[0] == REGISTRY
    assert begun(sqlite_ledger, WINE, newer, at="http://third:5000")[0] == REGISTRY, "it has grown since"


def test_a_model_that_was_renamed_shows_no_fork(sqlite_ledger: Ledger) -> None:
    audited(sqlite_ledger, WINE, row("ale", created=500), BEER)
    assert begun(sqlite_ledger, WINE, row("porter", created=500), BEER, at=ELSEWHERE)[0] == REGISTRY


@pytest.mark.parametrize("how", [{"filter": "name = 'wine'"}, {"unlisted": (row("cider", created=1_500),)}])
def test_an_audit_of_some_shows_nothing_of_the_others(sqlite_ledger: Ledger, how: dict[str, Any]) -> None:
    audited(sqlite_ledger, WINE, BEER, **how)
    assert begun(sqlite_ledger, WINE, BEER, row("cider", created=1_500), at=ELSEWHERE)[0] == REGISTRY


@pytest.mark.parametrize("made", [Path.touch, Path.mkdir], ids=["sqlite", "file"])
def test_two_places_of_this_machine_are_two_registries_once_they_differ(
    sqlite_ledger: Ledger, tmp_path: Path, made: Callable[[Path], None]
) -> None:
    scheme = "sqlite:///" if made is Path.touch else "file://"
    original, copy = tmp_path / "original", tmp_path / "copy"
    made(original), made(copy)
    at = [f"{scheme}{place}" for place in (original, copy)]
    audited(sqlite_ledger, WINE, at=at[0])
    newer = row("cider", created=9_000)
    with pytest.raises(UsageError, match=rf"1 others, and {original} is still there: a restored copy, or a fork\?"):
        begun(sqlite_ledger, WINE, newer, at=at[1])
    assert begun(sqlite_ledger, WINE, newer, at=ELSEWHERE)[0] == at[0], "a server may be that very place"
    original.rename(tmp_path / "away")
    original.symlink_to(original)  # nobody can see what is there
    with pytest.raises(UsageError, match=rf"whether {original} is still there cannot be seen"):
        begun(sqlite_ledger, WINE, newer, at=at[1])
    original.unlink()
    assert begun(sqlite_ledger, WINE, newer, at=at[1])[0] == at[0], "it was moved"


def test_a_copy_may_be_said_to_be_the_registry_itself(sqlite_ledger: Ledger) -> None:
    audited(sqlite_ledger, WINE, BEER)
    assert begun(sqlite_ledger, WINE, OTHER_BEER, at=ELSEWHERE, registry_name=REGISTRY)[0] == REGISTRY


def test_a_copys_other_bytes_are_never_new(sqlite_ledger: Ledger) -> None:
    """Not even where the copy has a name of its own: the ledger knows the bytes of that very version."""
    audited(sqlite_ledger, WINE, BEER)
    recorded = audited(sqlite_ledger, row(files=CHANGED), OTHER_BEER, at=ELSEWHERE, registry_name="copy")
    assert rules(recorded) == {"RA002"}
    assert recorded.accepted_count == 1, "only beer, which the ledger has never seen"
    (finding,) = (finding for audit in recorded.audits for finding in audit.findings)
    assert REGISTRY in finding.message


def test_a_copys_same_bytes_are_accepted(sqlite_ledger: Ledger) -> None:
    audited(sqlite_ledger, WINE, BEER)
    recorded = audited(sqlite_ledger, WINE, OTHER_BEER, at=ELSEWHERE, registry_name="copy")
    assert (rules(recorded), recorded.accepted_count) == (set(), 2)


def test_a_first_name_keeps_the_baselines(sqlite_ledger: Ledger) -> None:
    audited(sqlite_ledger, WINE)
    recorded = audited(sqlite_ledger, row(files=CHANGED), registry_name="prod")
    assert statuses(recorded) == {"wine/1": "changed"}
    with sqlite_ledger.reading() as reader:
        (known,) = known_registries(reader)
    assert (known.key, known.names, known.title) == (REGISTRY, ("prod",), "prod")


def test_a_first_name_keeps_the_baselines_although_a_version_was_made_anew(sqlite_ledger: Ledger) -> None:
    audited(sqlite_ledger, WINE, BEER)
    assert begun(sqlite_ledger, WINE, OTHER_BEER, at=REGISTRY, registry_name="prod")[0] == REGISTRY


def test_another_name_at_the_same_address_is_another_registry(sqlite_ledger: Ledger) -> None:
    """A forwarded port leads to production today and to staging tomorrow."""
    audited(sqlite_ledger, WINE, registry_name="prod")
    recorded = audited(sqlite_ledger, row(created=9), registry_name="staging")
    assert statuses(recorded) == {"wine/1": "new"}
    assert statuses(audited(sqlite_ledger, row(files=CHANGED), registry_name="prod")) == {"wine/1": "changed"}
    assert statuses(audited(sqlite_ledger, row(created=9), registry_name="staging")) == {"wine/1": "unchanged"}


def test_two_registries_with_these_versions_are_a_question(sqlite_ledger: Ledger) -> None:
    audited(sqlite_ledger, WINE, registry_name="one")
    audited(sqlite_ledger, WINE, at=ELSEWHERE, registry_name="two")
    with pytest.raises(UsageError, match=r"2 registries with these versions.*--registry-name"):
        begun(sqlite_ledger, WINE, at="http://third:5000")


def test_an_unknown_registry_is_named_with_those_that_are_known(sqlite_ledger: Ledger) -> None:
    audited(sqlite_ledger, WINE, registry_name="prod")
    with sqlite_ledger.reading() as reader:
        assert audited_registry(reader, REGISTRY, "prod") == audited_registry(reader, REGISTRY, None)
        with pytest.raises(UsageError, match=r"no registry http://elsewhere:5000; it knows prod"):
            audited_registry(reader, ELSEWHERE)


def test_the_default_workspace_is_not_another_workspace_of_its_server(sqlite_ledger: Ledger) -> None:
    """The default one is known by the address of the server alone."""
    audited(sqlite_ledger, WINE, at=f"{ELSEWHERE}#workspace=team-a")
    with sqlite_ledger.reading() as reader:
        assert registry_key(reader, f"{ELSEWHERE}#workspace=team-a") == f"{ELSEWHERE}#workspace=team-a"
        assert registry_key(reader, f"{ELSEWHERE}#workspace=team-b") is None
        assert registry_key(reader, ELSEWHERE) is None


def test_a_registry_can_be_renamed_and_moved(sqlite_ledger: Ledger) -> None:
    audited(sqlite_ledger, WINE)
    with sqlite_ledger.writing() as writer:
        writer.append([renamed_registry(writer, REGISTRY, name="prod", address=ELSEWHERE)])
    with sqlite_ledger.reading() as reader:
        assert registry_key(reader, ELSEWHERE) == registry_key(reader, "unknown", "prod") == REGISTRY
        renamed_registry(reader, "HTTP://Elsewhere.:5000/", name="prod-2", address=None)
        with pytest.raises(UsageError, match="no registry nobody"):
            renamed_registry(reader, "nobody", name="x", address=None)


def test_a_name_belongs_to_one_registry(sqlite_ledger: Ledger) -> None:
    audited(sqlite_ledger, WINE, registry_name="prod")
    audited(sqlite_ledger, OTHER_BEER, at=ELSEWHERE)
    with sqlite_ledger.reading() as reader, pytest.raises(UsageError, match="already has this name or address: prod"):
        renamed_registry(reader, ELSEWHERE, name="prod", address=None)


def test_the_versions_of_an_empty_ledger_are_new(sqlite_ledger: Ledger) -> None:
    with sqlite_ledger.reading() as reader:
        assert recognise(reader, ELSEWHERE, None, [WINE.version]).key == ELSEWHERE
        assert recognise(reader, ELSEWHERE, "prod", [WINE.version]).key == "prod"


def test_a_name_may_be_an_address_however_it_is_spelled(sqlite_ledger: Ledger) -> None:
    audited(sqlite_ledger, WINE, BEER)
    shouted = REGISTRY.upper().replace("HTTP", "http") + "/"
    assert begun(sqlite_ledger, WINE, OTHER_BEER, at=ELSEWHERE, registry_name=shouted)[0] == REGISTRY
    with sqlite_ledger.reading() as reader:
        (known,) = known_registries(reader)
    assert known.names == ()


def test_an_address_that_is_not_known_is_no_name(sqlite_ledger: Ledger) -> None:
    """It would stand in the ledger as it was typed, with whatever it holds."""
    audited(sqlite_ledger, WINE)
    with pytest.raises(UsageError, match=r"no registry http://unknown; it knows") as raised:
        begun(sqlite_ledger, WINE, at=ELSEWHERE, registry_name="http://bob:s3cret@unknown")
    assert "s3cret" not in raised.value.message


OLD = tuple(row(name, created=created) for created, name in enumerate(("ale", "cider", "mead", "sake"), start=10_000))
OTHER = tuple(row(name, created=created) for created, name in enumerate(("ale", "gin", "rum"), start=20_000))


def accepted_at(ledger: Ledger, registry: str) -> set[str]:
    with ledger.reading() as reader:
        return {entry.name for entry in reader.latest_of_versions(Kind.ACCEPTED, registry)}


@pytest.mark.parametrize("selected", [OTHER, OTHER[1:2]], ids=["all", "one model"])
def test_another_registry_at_a_known_address_is_accepted_from_only_when_it_is_named(
    sqlite_ledger: Ledger, selected: tuple[VersionAudit, ...]
) -> None:
    """As behind a forwarded port, or after the database of a server was exchanged."""
    audited(sqlite_ledger, *OLD)
    rest = tuple(other for other in OTHER if other not in selected)
    _, (note,) = begun(sqlite_ledger, *selected, at=REGISTRY, unlisted=rest, accept_new=True)
    assert f"'{REGISTRY}' if it is the same after all" in note
    assert "none of the 4 accepted versions" in note
    recorded = audited(sqlite_ledger, *selected, unlisted=rest)
    assert recorded.accepted_count == 0
    assert rules(recorded) == {"RA011"}
    assert accepted_at(sqlite_ledger, REGISTRY) == {"ale", "cider", "mead", "sake"}
    recorded = audited(sqlite_ledger, *selected, unlisted=rest, registry_name="other")
    assert recorded.accepted_count == len(selected)
    assert not rules(recorded)
    recorded = audited(sqlite_ledger, *selected, unlisted=rest, registry_name=REGISTRY)
    # One that was created again under its name and number is never accepted on first sight.
    assert recorded.accepted_count == sum(other.version.name != "ale" for other in selected)


def test_of_two_registries_at_one_address_the_known_one_is_named(sqlite_ledger: Ledger) -> None:
    audited(sqlite_ledger, WINE)
    audited(sqlite_ledger, *OTHER, at=ELSEWHERE)
    _, (note,) = begun(sqlite_ledger, *OTHER, at=REGISTRY, accept_new=True)
    assert f"its versions are those of {ELSEWHERE}" in note
    assert audited(sqlite_ledger, *OTHER, row("new", created=30_000)).accepted_count == 0


@pytest.mark.parametrize(
    "now",
    [
        pytest.param((*OTHER, OLD[2]), id="one is left"),
        pytest.param((*OTHER, row("stout", created=10_003)), id="one was renamed"),
    ],
)
def test_a_registry_that_lost_much_is_still_itself(sqlite_ledger: Ledger, now: tuple[VersionAudit, ...]) -> None:
    audited(sqlite_ledger, *OLD)
    assert audited(sqlite_ledger, *now).accepted_count >= 2


def test_a_registry_that_lost_its_only_models_is_still_itself(sqlite_ledger: Ledger) -> None:
    audited(sqlite_ledger, WINE, BEER)
    assert audited(sqlite_ledger, *OTHER).accepted_count == len(OTHER)


def test_what_a_filter_hides_is_not_lost(sqlite_ledger: Ledger) -> None:
    audited(sqlite_ledger, *OLD)
    assert audited(sqlite_ledger, *OTHER[1:], filter="name = 'gin'").accepted_count == 2
