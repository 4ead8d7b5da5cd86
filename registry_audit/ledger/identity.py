"""Decides to which registry of a ledger an audit belongs, by the registry's versions and not by the address's spelling.

A ledger files everything under one key per registry: the first address, or the name, under which it was audited. Other
addresses and names of the same registry are entries of the chain that point to that key.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from registry_audit.audit.session import Session
from registry_audit.audit.time_limits import in_time
from registry_audit.errors import CouldNotVerify, UsageError
from registry_audit.ledger.chain import TIME_FORMAT, Draft, Kind
from registry_audit.ledger.entry_bodies import Accepted, AuditFinished, AuditStarted, Read, RegistryNamed, body_of
from registry_audit.ledger.store import Ledger, LedgerReader
from registry_audit.printable import printable, restored, storable
from registry_audit.registry.address import (
    active_workspace,
    are_two_registries,
    in_workspace,
    parse_address,
    shown_address,
)
from registry_audit.registry.version import Key, KeySet, RegisteredVersion
from registry_audit.registry.versions import list_versions
from registry_audit.verdict import ExitStatus

_TOO_MANY_TO_BE_LOST = 3  # accepted versions that a registry hardly loses all at once while it has others


@dataclass(frozen=True, slots=True)
class KnownRegistry:
    """A registry of the ledger has a key and may have had several addresses and names."""

    key: str
    addresses: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Return the newest name, or else the newest address."""
        return (self.names or self.addresses or (self.key,))[-1]

    def is_surely_not(self, identity: str) -> bool:
        addresses = [text for text in (self.key, *self.addresses) if "://" in text]
        return bool(addresses) and all(are_two_registries(identity, address) for address in addresses)


@dataclass(frozen=True, slots=True)
class Recognised:
    """This is the registry that an audit belongs to."""

    key: str
    note: str | None = None  # how the registry was recognised, for the report
    draft: Draft | None = None  # entry to record, so that the next audit need not look at the versions


def known_registries(reader: LedgerReader) -> list[KnownRegistry]:
    """List the registries of the ledger, sorted by key."""
    addresses: dict[str, list[str]] = {}
    names: dict[str, list[str]] = {}
    for entry in reader.of_kind(Kind.REGISTRY):
        body = body_of(entry, RegistryNamed)
        for where, what in ((addresses, body.address), (names, body.name)):
            if what and what not in where.setdefault(entry.registry, []):
                where[entry.registry].append(what)
    return [KnownRegistry(key, tuple(addresses.get(key, ())), tuple(names.get(key, ()))) for key in reader.registries()]


def registry_key(reader: LedgerReader, identity: str, name: str | None = None) -> str | None:
    """Return the key of a registry by its name, or else by its address; None if the ledger knows neither.

    Args:
        identity: see `registry_audit.registry.connection.identity_of`.
        name: as given with `--registry-name`; it may be an address that the registry had. If given, `identity` is
            ignored.
    """
    known = known_registries(reader)
    if name is not None:
        by_name = next((k.key for k in known if storable(name) in (k.key, *k.names)), None)
        spelled = _identity_of(name)
        return by_name or (_key_at(known, spelled) if spelled else None)
    return _key_at(known, identity)


def audited_registry(reader: LedgerReader, identity: str, name: str | None = None) -> str:
    """Return the key of a registry that was audited before.

    Raises:
        UsageError: the ledger knows no such registry; the message names those it knows.
    """
    key = registry_key(reader, identity, name)
    if key is None:
        raise _unknown(known_registries(reader), name or identity)
    return key


def own_spelling(reader: LedgerReader, registry: str) -> Callable[[str], str]:
    """Return a function that spells a model's name as the registry does: Unity Catalog has no capital letters."""
    addresses = (address for known in known_registries(reader) if known.key == registry for address in known.addresses)
    return str.lower if any(one.startswith("databricks-uc://") for one in (registry, *addresses)) else str


def must_be_recognised(reader: LedgerReader, identity: str, name: str | None) -> bool:
    """Say whether the registry can only be recognised by its versions.

    Args:
        identity, name: see `recognise`.
    """
    if registry_key(reader, identity, name) is not None:
        return False
    return any(not known.is_surely_not(identity) for known in known_registries(reader))


def recognise(
    reader: LedgerReader, identity: str, name: str | None, versions: Iterable[RegisteredVersion]
) -> Recognised:
    """Return the registry that these versions belong to.

    Args:
        identity: the identity of the audited address.
        name: as given with `--registry-name`.
        versions: all versions that the registry listed, including those that the audit will not look at.

    Raises:
        UsageError: some of the versions belong to a known registry and some do not, so it may be a restored copy or a
            fork; or several known registries have these versions; `--registry-name` has to say which registry it is.
            Also if the name is an address that the ledger does not know.
    """
    key = registry_key(reader, identity, name)
    if key is not None:
        return Recognised(key, draft=_new_name(reader, key, identity, name))
    if name is not None and "://" in name:
        raise _unknown(known_registries(reader), name)
    others = {known.key for known in known_registries(reader) if known.is_surely_not(identity)}
    shared = {key: counts for key, counts in _shared_with(reader, versions) if key not in others}
    if name is not None:
        key = _unnamed_one(reader, identity, versions, shared) or storable(name)
        return Recognised(key, draft=RegistryNamed(address=storable(identity), name=storable(name)).draft(key))
    for known, common in shared.items():
        if common.differ:
            raise _perhaps_a_fork(
                identity, known, common, f"{common.differ} of the same name and number are other ones"
            )
    if len(shared) > 1:
        titles = ", ".join(f"'{printable(known)}'" for known in shared)
        raise UsageError(
            f"the ledger has {len(shared)} registries with these versions: choose with --registry-name {titles}"
        )
    for known, common in shared.items():
        if common.too_old:
            raise _perhaps_a_fork(identity, known, common, f"{common.too_old} that it did not have when they were new")
        if common.unknown and (place := _other_place(reader, known, identity)):
            raise _perhaps_a_fork(identity, known, common, f"{common.unknown} others, and {place}")
        note = (
            f"{printable(identity)} is the registry {printable(known)} of the ledger under another address: "
            f"all {common.agree} versions that both list are the same ones, so its baselines and waivers count"
        )
        return Recognised(known, note, RegistryNamed(address=storable(identity), name=None).draft(known))
    return Recognised(storable(identity))


def why_another(
    reader: LedgerReader,
    key: str,
    identity: str,
    versions: Iterable[RegisteredVersion],
    *,
    whole: bool,
) -> str | None:
    """Say why the registry at a known address seems to be another one than the ledger's; None if it does not.

    A forwarded port may lead to another server tomorrow. Then none of the accepted versions is there, neither under its
    own name nor under a new one.

    Args:
        versions: all versions that were listed; they are iterated more than once.
        whole: whether these are all versions that exist.
    """
    lost = _lost(reader, key, versions, whole=whole)
    if not lost:
        return None
    its = next((other for other, common in _shared_with(reader, versions) if other != key and not common.differ), None)
    if lost < _TOO_MANY_TO_BE_LOST and its is None:
        return None
    seen = f", and its versions are those of {printable(its)}" if its else ""
    return (
        f"{printable(identity)} seems to lead to another registry by now: it has none of the {lost} accepted versions "
        f"that it should have{seen}. So nothing was accepted. Say which one it is with --registry-name: "
        f"'{printable(key)}' if it is the same after all, another name if it is another one"
    )


def _lost(reader: LedgerReader, key: str, versions: Iterable[RegisteredVersion], *, whole: bool) -> int:
    """Count the accepted versions that should be among these; 0 if any of them is there, also under another name.

    An empty registry counts as having lost none: it may have been emptied.
    """
    names, births, lost = KeySet(), KeySet(), 0
    for version in versions:
        births.add((version.version, str(version.creation_time_ms)))
        if not whole:
            names.add((version.name, version.version))
    for entry in reader.latest_of_versions(Kind.ACCEPTED, key) if len(births) else ():
        accepted, number = body_of(entry, Accepted), restored(entry.version)
        if accepted.manifest is None or accepted.creation_time_ms is None:
            continue
        if (number, str(accepted.creation_time_ms)) in births:
            return 0
        lost += whole or (restored(entry.name), number) in names
    return lost


def _perhaps_a_fork(identity: str, known: str, common: "_Common", others: str) -> UsageError:
    return UsageError(
        f"{printable(identity)} has {common.agree} versions of the registry {printable(known)} of the ledger, and "
        f"{others}: a restored copy, or a fork? Say which it is with --registry-name: '{printable(known)}' if it is "
        "that registry, a new name if it is another one"
    )


def renamed_registry(reader: LedgerReader, registry: str, *, name: str | None, address: str | None) -> Draft:
    """Return the entry that gives a known registry another name or address.

    Args:
        registry: its key, a name or an address, in any spelling.
        address: an identity, see `registry_audit.registry.connection.identity_of`.

    Raises:
        UsageError: the ledger knows no such registry, or another registry already has this name or address.
    """
    known = known_registries(reader)
    found = next((k for k in known if storable(registry) in (k.key, *k.names, *k.addresses)), None)
    identity = _identity_of(registry)
    if found is None and identity is not None:
        found = next((k for k in known if k.key == _key_at(known, identity)), None)
    if found is None:
        raise _unknown(known, registry)
    for other in known:
        taken = {other.key, *other.names, *other.addresses}
        if other.key != found.key and not taken.isdisjoint({storable(text) for text in (name, address) if text}):
            raise UsageError(
                f"another registry in the ledger already has this name or address: {printable(other.title)}"
            )
    return RegistryNamed(address=address and storable(address), name=name and storable(name)).draft(found.key)


def _key_at(known: Sequence[KnownRegistry], identity: str) -> str | None:
    """Return the key of the registry that was audited at an address, or None."""
    wanted = storable(identity)
    for registry in known:
        if wanted in (registry.key, *registry.addresses):
            return registry.key
    # Release 0.1.0 kept the driver and the default port of a database in the key.
    return next((k.key for k in known if _normal(k.key) == wanted), None)


def _unknown(known: Sequence[KnownRegistry], asked: str) -> UsageError:
    titles = ", ".join(printable(registry.title) for registry in known[:5]) or "none"
    shown = shown_address(asked) if "://" in asked else printable(asked)
    return UsageError(
        f"the ledger knows no registry {shown}; it knows {titles}: audit it first, or choose with --registry-name"
    )


def _identity_of(text: str) -> str | None:
    """Return the identity of the registry at an address, or None if the text is not an address."""
    if "/" not in text and ":" not in text:
        return None
    try:
        address = parse_address(text)
        return in_workspace(address.identity, address, active_workspace())
    except UsageError:
        return None


@dataclass(frozen=True, slots=True)
class _Common:
    """These counts say how the versions at an address relate to those of a known registry."""

    agree: int
    differ: int  # same name and number, but another version
    unknown: int  # not in the ledger
    too_old: int  # unknown ones that the last complete audit would have listed


def _shared_with(reader: LedgerReader, versions: Iterable[RegisteredVersion]) -> Iterator[tuple[str, _Common]]:
    """Yield the known registries that have any of the versions, each with its counts."""
    now = {v.ledger_key: (v.creation_time_ms, v.run_id) for v in versions}
    for registry in reader.registries():
        births = {key: (birth.creation_time_ms, birth.run_id) for key, birth in _births(reader, registry).items()}
        told = {key for key in now.keys() & births.keys() if births[key][0] is not None and now[key][0] is not None}
        agree = sum(births[key] == now[key] for key in told)
        if not agree:
            continue
        renamed = {(version, births[name, version]) for name, version in births.keys() - now.keys()}
        unknown = [key for key in now.keys() - births.keys() if (key[1], now[key]) not in renamed]
        until = _last_whole_audit_ms(reader, registry)
        newest = max((time for time, _ in births.values() if time is not None and time < until), default=0)
        too_old = sum((now[key][0] or newest) < newest for key in unknown)
        yield registry, _Common(agree, len(told) - agree, len(unknown), too_old)


def _last_whole_audit_ms(reader: LedgerReader, registry: str) -> float:
    """Return when the last audit began that surely listed everything and read all of it; 0 if there is none."""
    began, last = dict[str, str](), "1970-01-01T00:00:00Z"
    for entry in reader.of_kind(Kind.AUDIT_STARTED, Kind.AUDIT_FINISHED, registry=registry):
        if entry.kind == Kind.AUDIT_STARTED:
            started = body_of(entry, AuditStarted)
            if started.listed == started.selected and started.options.get("filter") is None:
                began[entry.audit_id] = entry.at
        elif body_of(entry, AuditFinished).exit_status == ExitStatus.CLEAN:
            last = began.get(entry.audit_id, last)
    return datetime.strptime(last, TIME_FORMAT).replace(tzinfo=UTC).timestamp() * 1_000


def _other_place(reader: LedgerReader, known: str, identity: str) -> str | None:
    """Say that another local file or directory than the audited one still holds a known registry, or None."""
    scheme, path = _local_place(identity)
    found = next((registry for registry in known_registries(reader) if registry.key == known), None)
    for address in (found.key, *found.addresses) if found and path else ():
        other_scheme, other = _local_place(address)
        try:
            if other_scheme == scheme and not Path(other).samefile(path):
                return f"{printable(other)} is still there"
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            return f"whether {printable(other)} is still there cannot be seen ({error.strerror})"
    return None


def _local_place(identity: str) -> tuple[str, str]:
    """Return the scheme and the path of a database file or a file store. The path is empty for any other address."""
    scheme, slashes, path = identity.partition("#")[0].partition(":///" if identity.startswith("sqlite") else "://")
    return scheme, path if slashes and scheme in ("sqlite", "file") and Path(path).is_absolute() else ""


def _births(reader: LedgerReader, registry: str) -> dict[Key, Read | Accepted]:
    """Return, for each version, the newest entry that records when it was created and by which run."""
    newest: dict[Key, Read | Accepted] = {
        (entry.name, entry.version): body_of(entry, Read) for entry in reader.latest_of_versions(Kind.READING, registry)
    }
    for entry in reader.latest_of_versions(Kind.ACCEPTED, registry):
        read = newest.get((entry.name, entry.version))
        if read is None or not read.tells_birth:
            newest[entry.name, entry.version] = body_of(entry, Accepted)
    return newest


def _new_name(reader: LedgerReader, key: str, identity: str, name: str | None) -> Draft | None:
    """Return the entry that adds an address to a registry named by hand, when it is first audited there."""
    if name is None:
        return None
    found = next(k for k in known_registries(reader) if k.key == key)
    if storable(identity) in (found.key, *found.addresses):
        return None
    name = storable(name)
    called = name if name in found.names else None  # None if the given name is one of its addresses
    return RegistryNamed(address=storable(identity), name=called).draft(key)


def _unnamed_one(
    reader: LedgerReader, identity: str, versions: Iterable[RegisteredVersion], shared: dict[str, _Common]
) -> str | None:
    """Return the unnamed registry that a new name refers to; None if the name stands for another registry.

    It is the registry that was audited at this address, or else the only one that has these versions.
    """
    nameless = {known.key for known in known_registries(reader) if not known.names and "://" in known.key}
    here = registry_key(reader, identity)
    if here in nameless and here in shared:
        # Readings there that nobody accepted may already be of the other registry.
        return None if _lost(reader, here, versions, whole=True) >= _TOO_MANY_TO_BE_LOST else here
    same = [known for known, common in shared.items() if not common.differ and known in nameless]
    return same[0] if len(same) == 1 else None


def _normal(key: str) -> str | None:
    try:
        # A # separates the workspace or schema in a key; no address contains one.
        return storable(parse_address(key).identity) if "://" in key and "#" not in key else None
    except UsageError:
        return None


# An unknown address is recognised by all versions of its registry, not by a selection.
#
# A copy of a database that has diverged still holds many versions of the original. A selection might contain only
# those, and one registry would be taken for the other.


def versions_to_recognise(
    ledger: Ledger, session: Session, registry_name: str | None, seen: Sequence[RegisteredVersion]
) -> Sequence[RegisteredVersion]:
    """List all versions of the registry if it can only be recognised by them; else return the versions already seen.

    This lists versions and reads no bytes, and happens only the first time that an address is seen.

    Raises:
        CouldNotVerify: the registry cannot be listed completely; `--registry-name` can say which one it is.
    """
    connection, limits = session.connection, session.limits
    with ledger.reading() as reader:
        if not must_be_recognised(reader, connection.identity, registry_name):
            return seen
    until = session.listing_deadline()
    try:
        listing = in_time(session, lambda: list_versions(connection, max_versions=limits.max_versions), deadline=until)
    except CouldNotVerify as error:
        raise _unrecognised(connection.identity, error.message) from error
    if not listing.whole:
        raise _unrecognised(connection.identity, "; ".join(listing.notes))
    return listing.versions


def _unrecognised(identity: str, why: str) -> CouldNotVerify:
    return CouldNotVerify(
        f"the ledger does not know {printable(identity)}. Only a list of all its versions can tell whether it is a "
        f"known registry under another address, and there is none: {why}. Say which registry it is with --registry-name"
    )
