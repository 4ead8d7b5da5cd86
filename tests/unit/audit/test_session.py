"""When a full reading of before stands for bytes that are not read again (`--quick`)."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from registry_audit.audit.copies import ModelCopy, Role
from registry_audit.audit.reading import read_all
from registry_audit.audit.session import trusted_reading
from registry_audit.model.listing import Limits
from registry_audit.model.manifest import manifest_of
from registry_audit.registry.resolve import Location
from registry_audit.stores.base import Store
from registry_audit.stores.fallback import OverlayStore
from registry_audit.stores.local import LocalStore


@pytest.mark.parametrize("kind", ["ext4", "nfs4", "wekafs"])
@pytest.mark.parametrize("holder", [0, 1])
@pytest.mark.parametrize("is_overlay", [False, True], ids=["a directory", "a run and a LoggedModel"])
def test_times_count_only_where_they_tell_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, holder: int, is_overlay: bool
) -> None:
    monkeypatch.setattr("registry_audit.stores.local._YOUNG_NS", -(10**12))
    monkeypatch.setattr(
        "registry_audit.registry.mounts._of_this_machine",
        lambda: f"1 0 1:1 / / rw - xfs /dev/vda rw\n2 1 0:2 / {tmp_path.resolve()} rw - {kind} x rw\n",
    )
    stores = [LocalStore(tmp_path / name) for name in ("run", "logged")]
    for directory in ("run", "logged"):
        (tmp_path / directory).mkdir()
    root = tmp_path / ("run", "logged")[holder]
    (root / "weights").write_bytes(b"w")
    opened: list[LocalStore] = stores if is_overlay else [stores[holder]]
    store: Store = OverlayStore(stores[0], stores[1], "model") if is_overlay else opened[0]
    listing = store.listing(Limits())
    reading = read_all(store, listing, "sha256", pulse=lambda count: None)
    identities = tuple(each.identity for each in opened)
    location = Location("runs:/r/model", tuple(one.path for one in identities), identities)
    copy = ModelCopy(Role.RUN_MODEL, location, store.identity, listing, None)
    session: Any = SimpleNamespace(
        algorithm="sha256",
        pulse=lambda count: None,
        trusted=lambda key, fingerprint: (manifest_of(reading.entries), "2026-11-27T10:00:00Z"),
    )
    found = trusted_reading(session, store, copy)
    assert (found is not None) is (kind == "ext4")
    assert found is None or found.entries == reading.entries
