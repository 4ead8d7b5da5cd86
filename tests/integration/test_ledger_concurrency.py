"""Real processes on one ledger: nothing is lost, nothing is said twice, and a kill leaves it whole."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import warm
from support.ledgers import note, registry_audit
from support.processes import wait_until
from support.registry import Registry
from support.servers import MlflowServer

from registry_audit.api import audit_registry, open_session
from registry_audit.audit.options import AuditOptions
from registry_audit.ledger import connecting
from registry_audit.ledger.accept import accept, prepare
from registry_audit.ledger.chain import Entry, Kind
from registry_audit.ledger.connecting import open_ledger
from registry_audit.ledger.record import registry_of

CLEAN = 0
SECONDS = 120


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_AUDIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REGISTRY_AUDIT_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty ledger."""
    url = (
        f"sqlite:///{tmp_path / 'ledger.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    )
    open_ledger(url, create=True).close()
    return url


@contextlib.contextmanager
def program(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "registry_audit", *arguments]
    with warm.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def entries_of(ledger: str, *kinds: Kind) -> list[Entry]:
    opened = open_ledger(ledger, create=False)
    opened.verify()
    with opened.reading() as reader:
        found = [entry for entry in reader.all_entries() if not kinds or entry.kind in kinds]
    opened.close()
    return found


def test_two_audits_and_an_accept_at_once(mlflow_local: MlflowServer, ledger: str) -> None:
    registry = Registry(mlflow_local)
    name = registry.new_name()
    versions = [registry.add(name, seed=seed).version for seed in range(4)]
    where = ("--tracking-uri", mlflow_local.uri, "--ledger", ledger)
    assert registry_audit("audit", *where, "--model", name, "--quiet").exit_status == CLEAN
    with contextlib.ExitStack() as stack:
        processes = [
            *(
                stack.enter_context(
                    program("audit", *where, "--model", name, "--accept-new", "--quiet", "--audit-id", audit_id)
                )
                for audit_id in ("one", "two")
            ),
            stack.enter_context(program("baseline", "accept", f"{name}/{versions[0]}", "--reason", "by hand", *where)),
        ]
        for process in processes:
            _, stderr = process.communicate(timeout=SECONDS)
            assert process.returncode == CLEAN, stderr
    accepted = [
        (entry.version, json.loads(entry.body)["reason"] == "by hand") for entry in entries_of(ledger, Kind.ACCEPTED)
    ]
    first_sight = Counter(version for version, by_hand in accepted if not by_hand)
    assert [version for version, by_hand in accepted if by_hand] == [versions[0]]
    assert all(first_sight[version] == 1 for version in versions[1:])
    assert first_sight[versions[0]] <= 1
    readings = Counter(entry.version for entry in entries_of(ledger, Kind.READING))
    assert readings == dict.fromkeys(versions, 3)
    finished = {entry.audit_id for entry in entries_of(ledger, Kind.AUDIT_FINISHED)}
    assert {"one", "two"} < finished
    assert "interrupted" not in registry_audit("baseline", "verify", "--ledger", ledger).stdout


_APPEND = """
import sys
from registry_audit.ledger.chain import Draft, Kind
from registry_audit.ledger.connecting import open_ledger, remember
ledger = open_ledger(sys.argv[1], create=False)
for number in range(25):
    said = [{"address": None, "name": str(part)} for part in range(3)]
    drafts = [Draft(Kind.REGISTRY, name=sys.argv[2], version=str(number), body=body) for body in said]
    remember(ledger, ledger.append(drafts))
"""


def test_many_writers(ledger: str) -> None:
    """Each batch stays together and in order, and what a process appended never changes."""
    writers = ["a", "b", "c"]
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(subprocess.Popen([sys.executable, "-c", _APPEND, ledger, writer])) for writer in writers
        ]
        assert [process.wait(timeout=SECONDS) for process in processes] == [0] * 3
    entries = entries_of(ledger)
    assert len(entries) == 3 * 25 * 3
    batches = [entries[start : start + 3] for start in range(0, len(entries), 3)]
    assert all(len({(entry.name, entry.version) for entry in batch}) == 1 for batch in batches)
    for writer in writers:
        mine = [int(batch[0].version) for batch in batches if batch[0].name == writer]
        assert mine == list(range(25))


def test_a_killed_audit_is_resumed(mlflow_local: MlflowServer, ledger: str, tmp_path: Path) -> None:
    registry = Registry(mlflow_local)
    name, count, size = registry.new_name(), 12, 16 << 20
    for seed in range(count):
        registry.add(name, logged=registry.log_run_model(seed=seed, files={"weights.bin": bytes([seed]) * size}))
    readings = tmp_path / "cache" / "audits" / "killed" / "readings.jsonl"
    arguments = ("--tracking-uri", mlflow_local.uri, "--ledger", ledger, "--model", name, "--workers", "1", "--quiet")
    with program("audit", *arguments, "--accept-new", "--audit-id", "killed") as process:
        wait_until(
            lambda: process.poll() is not None or (readings.exists() and readings.read_bytes().count(b"\n") > 0),
            timeout_seconds=SECONDS,
            what="nothing was read",
        )
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=SECONDS) == -signal.SIGKILL, "it was done before it could be killed"
    done = sum(_is_whole(line) for line in readings.read_text(encoding="ascii").splitlines())
    assert 0 < done < count

    said = registry_audit("baseline", "verify", "--ledger", ledger)
    assert (said.exit_status, "interrupted or running: audit killed" in said.stdout) == (CLEAN, True)
    assert entries_of(ledger, Kind.READING, Kind.ACCEPTED) == []

    read: list[int] = []
    options = AuditOptions(tracking_uri=mlflow_local.uri, models=(name,), ledger=ledger, accept_new=True)
    document = audit_registry(options, audit_id="killed", work_directory=readings.parent, on_bytes=read.append)
    assert (document.outcome.exit_status, document.coverage.audited) == (CLEAN, count)
    assert (count - done) * size < sum(read) < (count - done) * (size + (1 << 20))
    assert len(entries_of(ledger, Kind.ACCEPTED)) == count
    assert "interrupted" not in registry_audit("baseline", "verify", "--ledger", ledger).stdout


def _is_whole(line: str) -> bool:
    with contextlib.suppress(ValueError, IndexError):
        return bool(json.loads(line.split(" ", 2)[2]))
    return False


def test_a_writer_that_is_killed_leaves_nothing_half_written(ledger: str) -> None:
    """It held the lock, and had written, when it was killed: the next one goes on as if it had never been."""
    script = (
        "import os, signal, sys\n"
        "from registry_audit.ledger.chain import Draft, Kind\n"
        "from registry_audit.ledger.connecting import open_ledger\n"
        "with open_ledger(sys.argv[1], create=False).writing() as writer:\n"
        "    writer.append([Draft(Kind.REGISTRY, body={'address': None, 'name': None}) for _ in range(2_000)])\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, ledger], check=False, env=dict(os.environ), timeout=SECONDS)
    assert killed.returncode == -signal.SIGKILL
    assert entries_of(ledger) == []
    opened = open_ledger(ledger, create=False)
    assert opened.append([note()]).seq == 1
    opened.close()


def test_accepting_many_versions_holds_nobody_up(
    mlflow_local: MlflowServer, ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While versions are read once more, which can take hours, audits must be able to end."""
    monkeypatch.setattr(connecting, "_BUSY_SECONDS", 2)
    registry = Registry(mlflow_local)
    prefix = registry.new_name()
    versions = [registry.add(f"{prefix}-{number}") for number in range(2)]
    options = AuditOptions(tracking_uri=mlflow_local.uri, models=(f"{prefix}*",), ledger=ledger)
    audit_registry(options)
    opened = open_ledger(ledger, create=False)
    appended: list[Entry] = []
    failed: list[Exception] = []

    def meanwhile(count: int) -> None:
        def append() -> None:
            other = open_ledger(ledger, create=False)
            try:
                appended.append(other.append([note()]))
            except Exception as error:
                failed.append(error)
            finally:
                other.close()

        thread = threading.Thread(target=append)
        thread.start()
        thread.join()

    session = open_session(options, on_bytes=meanwhile)
    references = tuple(f"{version.name}/{version.version}" for version in versions)
    name = registry_of(mlflow_local.uri)
    prepared = prepare(session, opened, name, references, by="me", reason="meant")
    assert (failed, len(appended) > len(versions)) == ([], True)
    accept(opened, name, prepared)
    assert len(entries_of(ledger, Kind.ACCEPTED)) == 2
    opened.close()
