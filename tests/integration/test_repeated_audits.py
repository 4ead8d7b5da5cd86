"""Calls one after the other in one process, as a notebook or a service has them."""

import gc
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.answering import Answers, answering
from support.processes import wait_until

from registry_audit.api import (
    audit_registry,
    check_model_version,
    compare_model_versions,
    compare_registries,
    pull_model,
)
from registry_audit.audit.options import AuditOptions
from registry_audit.compare_config import CompareConfig, ServerConfig
from registry_audit.migration.registries_config import MigrationConfig

NAMES = ("a", "b", "c")


def _audit(options: AuditOptions, directory: Path) -> None:
    assert audit_registry(options).outcome.exit_status == 0


def _check(options: AuditOptions, directory: Path) -> None:
    assert check_model_version(options, "a", "1").outcome.exit_status == 0


def _pull(options: AuditOptions, directory: Path) -> None:
    assert pull_model(options, "a", "1", directory / "pulled").byte_count


def _compare(options: AuditOptions, directory: Path) -> None:
    config = CompareConfig(*(ServerConfig(options.tracking_uri, name, "1") for name in "ab"))
    compared = compare_model_versions(config, directory / "compared", ledger=options.ledger)
    assert compared.outcome.exit_status == 1


def _compare_registries(options: AuditOptions, directory: Path) -> None:
    compare_registries(MigrationConfig(options.server, options.server))


@pytest.mark.parametrize("call", [_audit, _check, _pull, _compare, _compare_registries])
def test_a_call_leaves_no_thread_behind(
    call: Callable[[AuditOptions, Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not its objects were collected."""
    answers = Answers()
    for name in NAMES:
        answers.add(name)
    with answering(answers) as uri:
        options = AuditOptions(tracking_uri=uri, ledger=f"sqlite:///{tmp_path / 'ledger.db'}", accept_new=True)
        _audit(options, tmp_path)
        there = set(threading.enumerate())
        gc.disable()
        try:
            for repetition in range(3):
                (directory := tmp_path / str(repetition)).mkdir()
                call(options, directory)
            wait_until(lambda: not _working(there), timeout_seconds=60, what=f"{_working(there)} are left")
        finally:
            gc.enable()


def _working(before: set[threading.Thread]) -> list[str]:
    names = ("audit", "read-file", "digest", "prefetch", "in-time", "registry")
    return [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith(names)]
