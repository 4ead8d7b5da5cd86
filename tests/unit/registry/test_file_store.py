"""MLflow's file store is read from its own directory alone."""

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.store.model_registry.file_store import FileStore

from registry_audit.registry.connection import Server, connect
from registry_audit.registry.file_store import PRIVATE_NAMES


@pytest.mark.parametrize("name", PRIVATE_NAMES)
def test_mlflow_has_the_private_names_that_are_used(name: str) -> None:
    assert callable(getattr(FileStore, name))


def test_it_asks_no_other_server_and_says_what_mlflow_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    uri = str(tmp_path / "mlruns")
    client = MlflowClient(uri, uri)
    client.create_registered_model("wine")
    client.create_model_version("wine", str(tmp_path / "model"), tags={"a": "b"}, model_id=None)
    client.set_registered_model_alias("wine", "champion", "1")
    (meta,) = (tmp_path / "mlruns" / "models" / "wine").rglob("version-1/meta.yaml")
    before = _version(client)
    meta.write_text(meta.read_text(encoding="utf-8") + "model_id: m-123\n", encoding="utf-8")
    for made in (tmp_path / "elsewhere").iterdir():
        made.unlink()
    ours = _version(connect(Server(uri)).client)
    assert ours == {**before, "model_id": "m-123"}
    assert (ours["tags"], ours["aliases"]) == ({"a": "b"}, ["champion"])
    assert list((tmp_path / "elsewhere").iterdir()) == []


def _version(client: Any) -> dict[str, Any]:
    found = dict(client.get_model_version("wine", "1"))
    (listed,) = client.search_model_versions("name = 'wine'")
    assert {key: value for key, value in dict(listed).items() if key in ("name", "version", "source")} == {
        key: found[key] for key in ("name", "version", "source")
    }
    return {key: value for key, value in found.items() if key not in ("metrics", "params")}
