"""Copies of real directories, read as the audit reads them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from registry_audit.audit.copies import ModelCopy, Role
from registry_audit.audit.named_versions import PairAudit, compare_pair
from registry_audit.audit.reading import read_all
from registry_audit.model.listing import Limits
from registry_audit.registry.resolve import Location, ResolvedVersion
from registry_audit.registry.runs import RunState
from registry_audit.registry.version import RegisteredVersion
from registry_audit.stores.local import LocalStore
from registry_audit.verdict import Storage

MakeCopy = Callable[..., ModelCopy]
PairOf = Callable[..., PairAudit]


def read_copy(directory: Path, role: Role = Role.RUN_MODEL) -> ModelCopy:
    store = LocalStore(directory)
    listing = store.listing(Limits())
    reading = read_all(store, listing, "sha256", pulse=lambda count: None)
    location = Location(str(directory), (str(directory),), (store.identity,))
    return ModelCopy(role, location, store.identity, listing, reading, str(directory))


@pytest.fixture(scope="session")
def make_copy() -> MakeCopy:
    """Directory (and role) to a copy that was read."""
    return read_copy


@pytest.fixture(scope="session")
def pair_of() -> PairOf:
    """Two copies (and native models) to the comparison of two versions that have them."""

    def compared(copies: Sequence[ModelCopy], natives: tuple[str | None, str | None] = (None, None)) -> PairAudit:
        one, two = (
            ResolvedVersion(
                RegisteredVersion("Wine", number, "READY", None, (), None, copy.location.uri),
                copy.location,
                copy.location,
                Storage.SHARED,
                RunState.NONE,
            )
            for number, copy in zip("12", copies, strict=True)
        )
        session = SimpleNamespace(pulse=lambda count: None)
        return compare_pair(session, Role.RUN_MODEL, (one, two), (copies[0], copies[1]), natives)  # type: ignore[arg-type]

    return compared
