"""Copies of real directories, read as the audit reads them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from registry_audit.audit.copies import ModelCopy, Role
from registry_audit.audit.reading import read_all
from registry_audit.model.listing import Limits
from registry_audit.registry.resolve import Location
from registry_audit.stores.local import LocalStore

MakeCopy = Callable[..., ModelCopy]


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
