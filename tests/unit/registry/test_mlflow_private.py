"""The private names of other libraries: all in one module, all still there; and what the file store is kept from."""

import ast
import inspect
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.model_registry.file_store import FileStore
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from registry_audit.registry.connection import Server, connect
from registry_audit.registry.mlflow_api import version_entity
from registry_audit.registry.versions import list_versions

PRODUCT = Path(__file__).parents[3]
ROOMS = ("registry_audit", "tasks", "flows", "deployments")
THE_ONE_MODULE = PRODUCT / "registry_audit" / "registry" / "mlflow_private.py"
# Of named tuples, SQLAlchemy's URL, and os; and Prefect's way to call a block from code that is not async.
PUBLIC_THOUGH_UNDERSCORED = {"_replace", "_fields", "_asdict", "_exit", "_sync"}
HAS_WORKSPACES = pytest.mark.skipif(not hasattr(mlflow, "set_workspace"), reason="this MLflow has no workspaces")


def _private_names(file: Path) -> Iterator[str]:
    """Names with an underscore: attributes of something else than `self` and its like, imports, and arguments."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and _is_private(node.attr):
            of = ast.unparse(node.value)
            if of not in ("self", "cls", "other", "super()"):
                yield f"{of}.{node.attr}"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("getattr", "setattr", "hasattr", "delattr") and isinstance(node.args[1], ast.Constant):
                name = str(node.args[1].value)
                if _is_private(name):
                    yield f"{called}({name})"
            for keyword in node.keywords if called != "replace" else ():  # of our own dataclasses
                if _is_private(keyword.arg or ""):
                    yield f"{called}({keyword.arg}=)"
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if any(map(_is_private, alias.name.split("."))))
        if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("registry_audit"):
            for part in (*node.module.split("."), *(alias.name for alias in node.names)):
                if _is_private(part):
                    yield f"{node.module}: {part}"


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC_THOUGH_UNDERSCORED


@pytest.mark.parametrize(
    "line",
    [
        "client._session",
        "self._client._session",
        "getattr(client, '_session', None)",
        "Client(_session=session)",
        "import library._session",
        "from library._session import Session",
        "from library import _session",
    ],
)
def test_each_way_to_a_private_name_is_seen(line: str, tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(f"{line}\nself._own, thing._replace(a=1), super()._own()\n", encoding="utf-8")
    assert len(list(_private_names(file))) == 1


def test_no_other_module_uses_private_names_of_other_libraries() -> None:
    files = [file for room in ROOMS for file in sorted((PRODUCT / room).rglob("*.py")) if file != THE_ONE_MODULE]
    assert len(files) > 100
    assert {str(file.relative_to(PRODUCT)): found for file in files if (found := list(_private_names(file)))} == {}


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (FileStore, "_get_file_model_version_from_dir"),
        (FileStore, "_get_model_version_tags_from_dir"),
        (FileStore, "_get_model_version_aliases"),
        (FileStore, "_get_registered_model_from_path"),
        (MlflowClient, "_get_registry_client"),
        pytest.param(SqlAlchemyStore, "_get_query", marks=HAS_WORKSPACES),
        (ArtifactRepository, "_download_file"),
    ],
)
def test_mlflow_has_what_is_used(owner: type, name: str) -> None:
    assert callable(getattr(owner, name))


def test_google_cloud_storage_has_what_is_used() -> None:
    client = pytest.importorskip("google.cloud.storage").Client
    assert "_http" in inspect.signature(client).parameters


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
    shutil.rmtree(tmp_path / "elsewhere")  # MLflow itself made something there
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    ours = _version(connect(Server(uri)).client)
    assert ours == {**before, "model_id": "m-123"}
    assert (ours["tags"], ours["aliases"]) == ({"a": "b"}, ["champion"])
    assert list((tmp_path / "elsewhere").iterdir()) == []


MERGES = "a0: &a0 {k: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 12))


@pytest.mark.parametrize("whose", ["models/bad/version-1", "models/bad"])
@pytest.mark.parametrize("content", [b"", b"- a\n", b"\xff", b"source: x\n", MERGES.encode(), "FIFO", None], ids=ascii)
@pytest.mark.timeout(60)
def test_one_file_that_cannot_be_read_costs_one_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whose: str, content: bytes | str | None
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = MlflowClient(str(tmp_path), str(tmp_path))
    for name in ("bad", "good"):
        client.create_registered_model(name)
        client.create_model_version(name, str(tmp_path / "model"))
    meta = tmp_path / whose / "meta.yaml"
    meta.unlink()
    if isinstance(content, bytes):
        meta.write_bytes(content)
    elif content:
        os.mkfifo(meta)
    listed = {version.name: version.doubt for version in list_versions(connect(Server(str(tmp_path)))).versions}
    assert listed.keys() == {"bad", "good"}
    assert listed["good"] is None
    assert (listed["bad"] is None) == (whose == "models/bad")


@pytest.mark.parametrize("key", ["name", "version"])
def test_a_version_that_gives_itself_out_as_another_one_is_not_hidden_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """MLflow lists it by what its `meta.yaml` says, and serves it by its directory."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = MlflowClient(str(tmp_path), str(tmp_path))
    for name in ("bad", "good"):
        client.create_registered_model(name)
        client.create_model_version(name, str(tmp_path / "model"))
    client.create_model_version("bad", str(tmp_path / "model"))
    (meta,) = (tmp_path / "models" / "bad").rglob("version-2/meta.yaml")
    said = {"name": "good", "version": 1}
    lines = meta.read_text(encoding="utf-8").splitlines()
    meta.write_text("\n".join(f"{key}: {said[key]}" if line.startswith(f"{key}:") else line for line in lines))
    listed = {version.label: version.doubt for version in list_versions(connect(Server(str(tmp_path)))).versions}
    assert (listed.keys(), listed["bad/1"], listed["good/1"]) == ({"bad/1", "bad/2", "good/1"}, None, None)
    assert "its meta.yaml is that of " in (listed["bad/2"] or "")


def _version(client: Any) -> dict[str, Any]:
    found = dict(client.get_model_version("wine", "1"))
    (listed,) = client.search_model_versions("name = 'wine'")
    assert {key: value for key, value in dict(listed).items() if key in ("name", "version", "source")} == {
        key: found[key] for key in ("name", "version", "source")
    }
    return {key: value for key, value in found.items() if key not in ("metrics", "params")}


@pytest.mark.parametrize(
    ("chosen", "filter_string"),
    [
        ({"3", "x"}, "version_number > 0"),
        ({"3", "x"}, "version_number <= 3"),
        ({"3"}, "version_number = 3"),
        (set(), "name = 'beer'"),
    ],
)
def test_a_version_without_a_number_does_not_drop_out_by_one(chosen: set[str], filter_string: str) -> None:
    from registry_audit.registry.mlflow_private import matching

    versions = [version_entity({"name": "wine", "version": number}) for number in ("3", "x")]
    assert {version.version for version in matching(versions, filter_string)} == chosen
