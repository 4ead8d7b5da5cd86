"""Which registry of a ledger an audit is of: decided from the registry's versions, not from how its address is spelled.

A ledger files everything under one key for each registry: the first address, or the name, that it was audited under.
Other addresses and names of the same registry are entries of the chain that point to that key.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from registry_audit.errors import UsageError
from registry_audit.ledger.chain import Draft, Entry, Kind
from registry_audit.ledger.store import LedgerReader
from registry_audit.printable import printable, storable
from registry_audit.registry.address import parse_address
from registry_audit.registry.version import RegisteredVersion


@dataclass(frozen=True, slots=True)
class KnownRegistry:
    """A registry of the ledger, with everything it was called."""

    key: str
    addresses: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Its newest name, else its newest address."""
        return (self.names or self.addresses or (self.key,))[-1]


@dataclass(frozen=True, slots=True)
class Recognised:
    """The registry that an audit belongs to."""

    key: str
    note: str | None = None  # what the report says of how it was recognised
    draft: Draft | None = None  # to be recorded, so that the next audit need not look at the versions


def known_registries(reader: LedgerReader) -> list[KnownRegistry]:
    """Sorted by key."""
    addresses: dict[str, list[str]] = {}
    names: dict[str, list[str]] = {}
    for entry in reader.of_kind(Kind.REGISTRY):
        body = entry.fields
        for where, what in ((addresses, body.get("address")), (names, body.get("name"))):
            if what and what not in where.setdefault(entry.registry, []):
                where[entry.registry].append(what)
    return [KnownRegistry(key, tuple(addresses.get(key, ())), tuple(names.get(key, ()))) for key in reader.registries()]


def registry_key(reader: LedgerReader, identity: str, name: str | None = None) -> str | None:
    """The key of a registry by its name, or else by its address; None where the ledger knows neither.

    Args:
        identity: see `registry_audit.registry.address.registry_identity`.
        name: as given with `--registry-name`; then the address says nothing.
    """
    known = known_registries(reader)
    if name is not None:
        return next((k.key for k in known if storable(name) in (k.key, *k.names)), None)
    wanted = storable(identity)
    for registry in known:
        if wanted in (registry.key, *registry.addresses):
            return registry.key
    # Release 0.1.0 kept the driver and the default port of a database in the key.
    return next((k.key for k in known if _normal(k.key) == wanted), None)


def audited_registry(reader: LedgerReader, identity: str, name: str | None = None) -> str:
    """The key of a registry that was audited before.

    Raises:
        UsageError: the ledger knows no such registry; the message names those it knows.
    """
    key = registry_key(reader, identity, name)
    if key is None:
        titles = ", ".join(printable(known.title) for known in known_registries(reader)[:5]) or "none"
        raise UsageError(
            f"the ledger knows no registry {printable(name or identity)}; it knows {titles}: audit it first, or choose "
            "with --registry-name"
        )
    return key


def recognise(
    reader: LedgerReader, identity: str, name: str | None, versions: Iterable[RegisteredVersion]
) -> Recognised:
    """The registry that these versions belong to.

    Args:
        identity: of the address that is audited.
        name: as given with `--registry-name`.
        versions: all that the registry listed, also those that the audit will not look at.

    Raises:
        UsageError: some of the versions are those of a known registry and some are not, so that it may be a restored
            copy or a fork; `--registry-name` has to say which registry it is.
    """
    key = registry_key(reader, identity, name)
    if key is not None:
        return Recognised(key, draft=_new_name(reader, key, identity, name))
    shared = dict(_shared_with(reader, versions))
    if name is not None:
        key = _unnamed_one(reader, identity, shared) or name
        return Recognised(key, draft=Draft(Kind.REGISTRY, key, body={"address": identity, "name": name}))
    for known, (agree, differ) in shared.items():
        if differ:
            raise UsageError(
                f"{printable(identity)} has {agree} versions of the registry {printable(known)} of the ledger, and "
                f"{differ} of the same name and number are other versions: a restored copy, or a fork? Say which it is "
                f"with --registry-name: '{printable(known)}' if it is that registry, a new name if it is another one"
            )
    if len(shared) > 1:
        titles = ", ".join(f"'{printable(known)}'" for known in shared)
        raise UsageError(
            f"the ledger has {len(shared)} registries with these versions: choose with --registry-name {titles}"
        )
    for known, (agree, _) in shared.items():
        note = (
            f"{printable(identity)} is the registry {printable(known)} of the ledger under another address: "
            f"all {agree} versions that both list are the same ones, so its baselines and waivers count"
        )
        return Recognised(known, note, Draft(Kind.REGISTRY, known, body={"address": identity, "name": None}))
    return Recognised(identity)


def renamed_registry(reader: LedgerReader, key_or_name: str, *, name: str | None, address: str | None) -> Draft:
    """The entry that gives a known registry another name or address.

    Raises:
        UsageError: the ledger knows no such registry, or another registry is called so already.
    """
    known = known_registries(reader)
    found = next((k for k in known if storable(key_or_name) in (k.key, *k.names, *k.addresses)), None)
    if found is None:
        titles = ", ".join(printable(k.title) for k in known) or "none"
        raise UsageError(f"the ledger knows no registry '{printable(key_or_name)}'; it knows {titles}")
    for other in known:
        taken = {other.key, *other.names, *other.addresses}
        if other.key != found.key and not taken.isdisjoint({storable(text) for text in (name, address) if text}):
            raise UsageError(f"another registry of the ledger is called so already: {printable(other.title)}")
    return Draft(Kind.REGISTRY, found.key, body={"address": address, "name": name})


def _shared_with(reader: LedgerReader, versions: Iterable[RegisteredVersion]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Known registries that have any of the versions, with how many agree and how many do not."""
    now = {(storable(v.name), v.version): (v.creation_time_ms, v.run_id) for v in versions}
    for registry in reader.registries():
        agree = differ = 0
        for entry in _with_a_birth(reader, registry):
            there = now.get((entry.name, entry.version))
            born = (entry.fields.get("creation_time_ms"), entry.fields.get("run_id"))
            if there is None or born[0] is None or there[0] is None:
                continue
            agree += born == there
            differ += born != there
        if agree:
            yield registry, (agree, differ)


def _with_a_birth(reader: LedgerReader, registry: str) -> Iterator[Entry]:
    """The newest entry of each version that tells when the version was created, and by which run."""
    newest = {(entry.name, entry.version): entry for entry in reader.latest_of_versions(Kind.READING, registry)}
    for entry in reader.latest_of_versions(Kind.ACCEPTED, registry):
        if (
            newest.get((entry.name, entry.version)) is None
            or "creation_time_ms" not in newest[entry.name, entry.version].fields
        ):
            newest[entry.name, entry.version] = entry
    yield from newest.values()


def _new_name(reader: LedgerReader, key: str, identity: str, name: str | None) -> Draft | None:
    """The entry for an address under which a registry that was named by hand is audited for the first time."""
    if name is None:
        return None
    found = next(k for k in known_registries(reader) if k.key == key)
    if storable(identity) in (found.key, *found.addresses):
        return None
    return Draft(Kind.REGISTRY, key, body={"address": identity, "name": name})


def _unnamed_one(reader: LedgerReader, identity: str, shared: dict[str, tuple[int, int]]) -> str | None:
    """The registry without a name that a name given for the first time means; None where it is another registry.

    It is the one that was audited at this address, or else the only one whose versions are these.
    """
    nameless = {known.key for known in known_registries(reader) if not known.names and "://" in known.key}
    here = registry_key(reader, identity)
    if here in nameless and here in shared:
        return here
    same = [known for known, (_, differ) in shared.items() if not differ and known in nameless]
    return same[0] if len(same) == 1 else None


def _normal(key: str) -> str | None:
    try:
        return storable(parse_address(key).identity) if "://" in key else None
    except UsageError:
        return None
