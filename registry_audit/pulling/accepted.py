"""What the ledger holds as accepted for one version. The ledger is only read."""

from collections.abc import Sequence
from dataclasses import dataclass

from registry_audit.errors import CouldNotVerify
from registry_audit.ledger.connecting import remember
from registry_audit.ledger.identity import recognise
from registry_audit.ledger.memory import Baseline, Memory, learn
from registry_audit.ledger.renamed_models import Renamed
from registry_audit.ledger.store import Ledger
from registry_audit.model.listing import ListedFile, illegal_path, make_listing
from registry_audit.model.manifest import Manifest
from registry_audit.printable import printable, storable
from registry_audit.registry.version import RegisteredVersion


class NoBaseline(CouldNotVerify):
    """Nobody has accepted bytes for the version, so there is nothing that it could be compared with."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The bytes that somebody accepted for a version."""

    manifest: Manifest
    baseline: Baseline


def accepted_for(
    ledger: Ledger,
    identity: str,
    registry_name: str | None,
    version: RegisteredVersion,
    everything: Sequence[RegisteredVersion],
) -> Accepted:
    """The baseline of a version.

    Args:
        identity: of the registry's address.
        registry_name: as given with `--registry-name`.
        everything: what shows which registry it is, see `versions_to_recognise`.

    Raises:
        NoBaseline: there is none, or it is of another version that had this name and number.
        CouldNotVerify: its files cannot lie in one directory on every file system.
        UsageError: the registry may be a copy of one that the ledger knows; `--registry-name` has to say.
        LedgerError: the ledger is unusable.
    """
    key, label = (storable(version.name), version.version), printable(version.label)
    with ledger.reading() as reader:
        if (head := reader.head()) is not None:
            remember(ledger, head)
        registry, memory = recognise(reader, identity, registry_name, everything).key, Memory()
        learn(memory, reader, registry, (key,))
        baseline = memory.baselines.get(key) or Renamed(reader, registry, {key}).former_name(version)
        if baseline is None or baseline.manifest is None:
            gone = "was accepted as gone" if baseline is not None else "has no baseline"
            raise NoBaseline(
                f"{label} {gone} in the ledger {ledger.url}: audit it, look at the report, then accept it with "
                f"registry-audit baseline accept {label}"
            )
        if not baseline.is_of(version):
            raise NoBaseline(
                f"{label} is not the version that was accepted on {baseline.at[:10]}: another one was created under "
                "its name and number"
            )
        manifest = reader.manifest(baseline.manifest)
    _must_fit_a_directory(manifest, label)
    return Accepted(manifest, baseline)


def _must_fit_a_directory(manifest: Manifest, label: str) -> None:
    for entry in manifest.entries:
        if reason := illegal_path(entry.path):
            raise CouldNotVerify(f"{label} cannot be pulled: '{printable(entry.path)}' {reason}")
    for problem in make_listing([ListedFile(entry.path, entry.size) for entry in manifest.entries]).problems:
        raise CouldNotVerify(f"{label} cannot be pulled: {problem.message}")
