"""What is audited is what was meant: names, patterns, prompts, and models that look like prompts."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from support.auditing import Audited, Auditor
from support.registry import Registered, Registry
from support.servers import MlflowServer, sqlite_store

CLEAN, FINDINGS, USAGE, INCOMPLETE = 0, 1, 2, 3
TAG = "mlflow.prompt.is_prompt"


@pytest.fixture(params=["mlflow_local", "mlflow_a"])
def server(request: pytest.FixtureRequest) -> MlflowServer:
    found: MlflowServer = request.getfixturevalue(request.param)
    return found


def names(audited: Audited) -> set[str]:
    return {f"{row['name']}/{row['version']}" for row in audited.rows}


def check(uri: str, name: str, wanted: str) -> tuple[str, ...]:
    return "check", "--tracking-uri", uri, "--model", name, "--version-or-stage", wanted


def registered(registry: Registry, name: str) -> str:
    """A version of a model of this very name; returns where its bytes are."""
    registry.client.create_registered_model(name)
    logged = registry.log_run_model(seed=1)
    registry.client.create_model_version(name, logged.source, logged.run_id)
    return logged.location


def test_a_name_that_is_also_a_pattern(server: MlflowServer, audit: Auditor) -> None:
    registry = Registry(server)
    name = registry.new_name()
    registered(registry, f"{name}-1")
    registered(registry, f"{name}-[1]")
    assert names(audit(server.uri, "--model", f"{name}-[1]")) == {f"{name}-[1]/1"}


def test_each_pattern_must_choose_something(mlflow_local: MlflowServer, audit: Auditor) -> None:
    version = Registry(mlflow_local).add()
    audited = audit(mlflow_local.uri, "--model", version.name, "--model", "prod-*")
    assert (audited.exit_status, names(audited)) == (INCOMPLETE, {f"{version.name}/1"})
    assert "--model 'prod-*' matches no version" in audited.stdout


def test_a_tag_hides_no_model(server: MlflowServer, audit: Auditor) -> None:
    """MLflow leaves out every version of a name of which one has the tag."""
    registry = Registry(server)
    version = registry.add()
    logged = registry.log_run_model(seed=2)
    registry.register(version.name, logged.source, logged.run_id)
    registry.client.set_registered_model_alias(version.name, "champion", "2")
    registry.client.set_model_version_tag(version.name, "1", TAG, "true")
    registry.client.set_registered_model_tag(version.name, TAG, "true")
    assert not registry.client.search_model_versions(f"name='{version.name}'")
    audited = audit(server.uri, "--model", version.name)
    assert (audited.exit_status, names(audited)) == (CLEAN, {f"{version.name}/1", f"{version.name}/2"})
    assert [row["aliases"] for row in audited.rows] == [[], ["champion"]]
    assert f"the tag {TAG} hides 2 model versions" in audited.stdout
    filtered = audit(server.uri, "--filter", f"name = '{version.name}' AND version_number > 1")
    assert names(filtered) == {f"{version.name}/2"}
    mistyped = audit(server.uri, "--filter", "name LIKE")  # which is then applied here, too
    assert (mistyped.exit_status, "internal error" in mistyped.stderr) == (USAGE, False), mistyped.stderr
    checked = audit.command(
        "check", "--tracking-uri", server.uri, "--model", version.name, "--version-or-stage", "@champion"
    )
    assert checked.exit_status == CLEAN, checked.stderr


@pytest.fixture
def prompt(server: MlflowServer) -> Iterator[str]:
    name = Registry.new_name("prompt")
    client = mlflow.MlflowClient(server.uri, server.uri)
    client.register_prompt(name=name, template="Hello {{name}}")
    yield name


def test_a_prompt_is_no_model(server: MlflowServer, audit: Auditor, prompt: str) -> None:
    version = Registry(server).add()
    beside = audit(server.uri, "--model", version.name, "--model", prompt)
    assert (beside.exit_status, names(beside)) == (INCOMPLETE, {f"{version.name}/1"})
    assert "only prompts have such a name" in beside.stdout
    assert prompt not in {name.partition("/")[0] for name in names(audit(server.uri))}
    for wanted in ("1", "latest"):
        checked = audit.command(*check(server.uri, prompt, wanted))
        assert checked.exit_status == USAGE
        assert "is a prompt" in checked.stderr


def test_a_filter_that_is_none_is_said_where_there_are_prompts(
    server: MlflowServer, audit: Auditor, prompt: str
) -> None:
    audited = audit(server.uri, "--filter", "garbage =")
    assert (audited.exit_status, "Invalid clause(s) in filter string" in audited.stderr) == (USAGE, True)
    assert "internal error" not in audited.stderr


@pytest.mark.parametrize("name", ["team/churn", "fraud:v2", "a/1", "ends/"])
def test_names_from_before_mlflow_checked_them(
    mlflow_local: MlflowServer, audit: Auditor, name: str, tmp_path: Path
) -> None:
    registry = Registry(mlflow_local)
    version = registry.add()
    _rename(mlflow_local, version, name)
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    alone = audit(mlflow_local.uri, "--model", name, "--accept-new", "--ledger", ledger)
    assert (alone.exit_status, alone.row["verdict"]) == (CLEAN, "same_storage")
    accepted = audit.command(
        "baseline",
        "accept",
        "--tracking-uri",
        mlflow_local.uri,
        "--ledger",
        ledger,
        "--reason",
        "test",
        "--",
        f"{name}/1",
    )
    assert accepted.exit_status == CLEAN, accepted.stderr
    checked = audit.command(
        "check", "--tracking-uri", mlflow_local.uri, "--model", name, "--version-or-stage", "latest"
    )
    assert checked.exit_status == CLEAN, checked.stderr
    _rename(mlflow_local, Registered(name, "1", "", "", ""), version.name)


def _rename(server: MlflowServer, version: Registered, name: str) -> None:
    with sqlite3.connect(server.uri.removeprefix("sqlite:///")) as database:
        database.execute("PRAGMA foreign_keys=OFF")
        for table in ("model_versions", "registered_models"):
            database.execute(f"UPDATE {table} SET name=? WHERE name=?", (name, version.name))


def test_a_version_whose_registered_model_was_lost_is_no_pass(audit: Auditor, tmp_path: Path) -> None:
    """MLflow lists it, and refuses to serve it: the row of its model is gone."""
    server = sqlite_store(tmp_path)
    registry = Registry(server)
    lost, healthy = registry.add(), registry.add()
    with contextlib.closing(sqlite3.connect(server.db_uri.removeprefix("sqlite:///"))) as database, database:
        database.execute("DELETE FROM registered_models WHERE name = ?", (lost.name,))
    audited = audit(server.uri)
    assert audited.exit_status == 3, audited.stderr
    rows = {row["name"]: row for row in audited.rows}
    assert rows[healthy.name]["verdict"] == "same_storage"
    assert rows[lost.name]["verdict"] == "unverifiable"
    assert "cannot serve it" in rows[lost.name]["reason"]
