"""A new address is recognised by all that its registry holds, however little of it is asked for.

A fork, which is a copy of the database that went its own way on a server of its own, still holds most versions of the
original. No way to ask may take the one for the other.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from support.auditing import Audited, Auditor
from support.registry import Registered, Registry
from support.servers import MlflowServer, mlflow_server

CLEAN, USAGE = 0, 2


@dataclass(frozen=True, slots=True)
class Fork:
    """An original that is in the ledger, and its fork, which is not; `common` is one version of both."""

    original: MlflowServer
    fork: MlflowServer
    common: Registered
    audit: Auditor
    ledger: str

    def ask(self, how: str, uri: str, *more: str) -> Audited:
        name, number = self.common.name, self.common.version
        match how:
            case "check":
                words = ["check", f"{name}/{number}", "--tracking-uri", uri]
            case "pull":
                output = self.audit.working_directory.parent / "pulled"
                words = ["pull", f"{name}/{number}", "--output", str(output), "--tracking-uri", uri]
            case "compare":
                server = {"host": uri, "model": name, "version_or_stage": number}
                file = self.audit.working_directory.parent / "compare.yaml"
                file.write_text(yaml.safe_dump({"tracking_server_1": server, "tracking_server_2": server}))
                words = ["compare", "--config-file", str(file), "--download-dir", str(file.with_name("kept"))]
            case _:
                words = ["audit", "--tracking-uri", uri, *how.split()]
        return self.audit.command(*words, "--ledger", self.ledger, *more)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MlflowServer, MlflowServer, Registered]]:
    directory = tmp_path_factory.mktemp("original")
    with mlflow_server(directory, artifacts="local-direct") as original:
        registry = Registry(original)
        common = registry.add("common")
        registry.add("m")
        copied = tmp_path_factory.mktemp("fork")
        shutil.copy(directory / "mlflow.db", copied)
        registry.add("m")  # version 2, of the original
        with mlflow_server(copied, artifacts="local-direct") as fork:
            Registry(fork).add("m")  # version 2, another one
            yield original, fork, common


@pytest.fixture
def fork(servers: tuple[MlflowServer, MlflowServer, Registered], audit: Auditor, tmp_path: Path) -> Fork:
    original, other, common = servers
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    assert audit(original.uri, "--accept-new", "--ledger", ledger).exit_status == CLEAN
    return Fork(original, other, common, audit, ledger)


WAYS = ("check", "pull", "compare", "--filter name='common'", "--model common", "--latest 1", "--subset 1/2")


@pytest.mark.parametrize("how", WAYS)
def test_a_fork_is_refused_though_all_that_was_asked_for_is_equal(fork: Fork, how: str) -> None:
    refused = fork.ask(how, fork.fork.uri)
    assert refused.exit_status == USAGE, refused.stderr
    assert "a restored copy, or a fork?" in refused.stderr
    assert "--registry-name" in refused.stderr


@pytest.mark.parametrize("how", WAYS)
def test_with_a_name_of_its_own_it_has_nothing_of_the_original(fork: Fork, how: str) -> None:
    told = fork.ask(how, fork.fork.uri, *(() if how == "compare" else ("--registry-name", "fork")))
    if how == "compare":  # which has a name for each side
        assert told.exit_status == USAGE
    elif how == "pull":
        assert "has no baseline" in told.stderr
    else:
        assert told.exit_status == CLEAN, told.stderr


@pytest.mark.parametrize("how", WAYS)
def test_the_same_registry_under_another_address_is_recognised(fork: Fork, how: str) -> None:
    elsewhere = fork.original.uri.replace("127.0.0.1", "localhost")
    told = fork.ask(how, elsewhere)
    assert told.exit_status == CLEAN, told.stderr
