"""What an artifact proxy says of a directory: of MLflow's types, or nothing that it says is believed."""

from typing import Any

import pytest

from registry_audit.errors import CouldNotVerify
from registry_audit.model.listing import Limits, ListedFile
from registry_audit.net.transfers import Transfers
from registry_audit.registry.storage import StorageIdentity
from registry_audit.stores.proxy import ProxyStore


def listed(entry: dict[str, Any]) -> tuple[ListedFile, ...]:
    class Server:
        def get(self, path: str, query: dict[str, str], *, doing: str) -> dict[str, Any]:
            return {"files": [entry] if query["path"] == "m" else []}

    identity = StorageIdentity("mlflow-artifacts", "http://127.0.0.1", "", "m")
    return ProxyStore(Server(), Transfers(), identity).listing(Limits()).files  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [3, "3"])
def test_a_size_is_a_number_or_its_text(size: object) -> None:
    assert listed({"path": "a", "is_dir": False, "file_size": size}) == (ListedFile("a", 3),)


@pytest.mark.parametrize("entry", [{}, {"is_dir": None}, {"file_size": None}, {"file_size": 0}], ids=str)
def test_what_protobuf_leaves_out_is_an_empty_file(entry: dict[str, Any]) -> None:
    assert listed({"path": "a"} | entry) == (ListedFile("a", 0),)


@pytest.mark.parametrize(
    "entry",
    [
        *({"file_size": size} for size in (-1, "-1", "many", 3.0, float("inf"), True, [], 10**30)),
        *({"is_dir": said} for said in ("false", "", 0, 1, [])),
        *({"path": path} for path in (None, 5, ["a"])),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_no_listing(entry: dict[str, Any]) -> None:
    with pytest.raises(CouldNotVerify, match="not what an MLflow server sends"):
        listed({"path": "a", "is_dir": False, "file_size": 1} | entry)
