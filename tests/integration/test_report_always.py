"""However an audit ends, there is a report on what was done: by a signal, a full disk, a lost server, a lost ledger."""

import contextlib
import html
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from support import warm
from support.auditing import Audited, Auditor
from support.faulty_proxy import DOWNLOADS, Exchange, FaultyProxy, faulty_proxy
from support.ledgers import tamper
from support.migrating import Migrator
from support.processes import wait_until
from support.registry import Registered, Registry
from support.servers import MlflowServer, mlflow_server

CLEAN, FINDINGS, USAGE, INCOMPLETE, LEDGER, INTERRUPTED = 0, 1, 2, 3, 4, 130
FILES = {"audit.json", "audit.html", "audit.md", "junit.xml"}


@pytest.fixture
def two(mlflow_a: MlflowServer, proxy_a: FaultyProxy) -> Iterator[tuple[Registered, Registered]]:
    """The second one's downloads hang until the test is over. One worker has then done the first one."""
    registry = Registry(mlflow_a)
    first, second = registry.add(Registry.new_name("a")), registry.add(Registry.new_name("b"), seed=1)
    over = threading.Event()

    def hang(exchange: Exchange) -> None:
        while not over.wait(0.05) and not exchange.proxy.closing.is_set():
            pass
        exchange.close()

    proxy_a.fault(hang, path=DOWNLOADS.rstrip(".") + f".*{second.run_id}")
    yield first, second
    over.set()


@pytest.fixture
def proxy_b(mlflow_b: MlflowServer) -> Iterator[FaultyProxy]:
    with faulty_proxy(mlflow_b.uri) as proxy:
        yield proxy


def hangs(proxy: FaultyProxy) -> None:
    wait_until(lambda: any(r.faulty for r in proxy.requests), timeout_seconds=60, what="nothing hangs")


@pytest.fixture
def interrupted(proxy_a: FaultyProxy, two: tuple[Registered, Registered], tmp_path: Path) -> Iterator[object]:
    """Starts the audit as a program, sends it a signal once the second version hangs, and gives what it said."""
    started = list["subprocess.Popen[str]"]()

    def run(number: signal.Signals, *arguments: str) -> Audited:
        report = tmp_path / "report"
        names = [argument for version in two for argument in ("--model", version.name)]
        command = ["audit", "--tracking-uri", proxy_a.uri, "--workers", "1", "--quiet", *names]
        process = warm.Popen(
            [sys.executable, "-m", "registry_audit", *command, "--report-dir", str(report), *arguments],
            env={**os.environ, "REGISTRY_AUDIT_CACHE_DIR": str(tmp_path / "cache")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        hangs(proxy_a)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
        return Audited(process.returncode, stdout, stderr, report)

    yield run
    for process in started:
        process.kill()
        process.wait()


def must_say(audited: Audited, why: str, *, reached: int, not_reached: int) -> None:
    coverage, outcome = audited.document["coverage"], audited.document["outcome"]
    assert (len(audited.rows), coverage["not_reached"]) == (reached, not_reached)
    assert why in " ".join(coverage["notes"])
    assert outcome == {"exit_status": audited.exit_status, "state": outcome["state"]}
    assert outcome["state"] != "clean"
    assert {file.name for file in audited.report_dir.iterdir()} == FILES
    for file in FILES - {"audit.json"}:  # whichever of them somebody opens
        text = html.unescape((audited.report_dir / file).read_text()).replace("\\", "")
        assert why in text, file
    if not_reached:
        assert f"{not_reached} not reached" in audited.stdout
        assert "did not come to its end" in (audited.report_dir / "audit.html").read_text()
    assert "<error" in (audited.report_dir / "junit.xml").read_text() or outcome["state"] == "findings"
    assert "Traceback" not in audited.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_interruption(interrupted, two: tuple[Registered, Registered], number: signal.Signals) -> None:  # type: ignore[no-untyped-def]
    began = time.monotonic()
    audited = interrupted(number)
    assert audited.exit_status == INTERRUPTED
    must_say(audited, "the audit was interrupted", reached=1, not_reached=1)
    assert [row["name"] for row in audited.rows] == [two[0].name]
    assert "--audit-id" in audited.stderr
    assert time.monotonic() - began < 60


def test_an_interrupted_report_tells_what_changed_since_the_baseline_and_records_nothing(  # type: ignore[no-untyped-def]
    interrupted, mlflow_a: MlflowServer, two: tuple[Registered, Registered], tmp_path: Path, audit: Auditor
) -> None:
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    names = [argument for version in two for argument in ("--model", version.name)]
    assert audit(mlflow_a.uri, *names, "--ledger", ledger, "--accept-new").exit_status == CLEAN
    Path(mlflow_a.artifacts.root, two[0].run_location.partition(":/")[2], "model.pkl").write_bytes(b"overwritten")
    before = kinds(tmp_path / "ledger.db")
    audited = interrupted(signal.SIGTERM, "--ledger", ledger)
    must_say(audited, "Nothing of it was recorded in the ledger", reached=1, not_reached=1)
    assert audited.row["baseline"] == "changed"
    assert audited.document["outcome"]["state"] == "findings"
    assert kinds(tmp_path / "ledger.db") == [*before, "registry", "audit-started"], "another address, and that it began"
    later = audit(mlflow_a.uri, *names, "--ledger", ledger)
    assert (later.exit_status, later.document["changes"]["known"]) == (FINDINGS, 0)


def kinds(ledger: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(ledger)) as database:
        return [row[0] for row in database.execute("SELECT kind FROM entries ORDER BY seq")]


def test_a_listing_that_takes_too_long(mlflow_a: MlflowServer, proxy_a: FaultyProxy, audit: Auditor) -> None:
    def hang(exchange: Exchange) -> None:
        exchange.proxy.closing.wait(20)
        exchange.close()

    proxy_a.fault(hang, path=r"/model-versions/search")
    audited = audit(proxy_a.uri, "--max-listing-seconds", "1")
    assert audited.exit_status == INCOMPLETE
    must_say(audited, "--max-listing-seconds", reached=0, not_reached=0)


def test_a_server_that_is_lost_in_the_middle(tmp_path: Path, audit: Auditor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of its own, killed while the second version is read."""
    monkeypatch.setattr("registry_audit.audit.runner.SERVER_AWAY_SECONDS", 0.5)
    (tmp_path / "server").mkdir()
    with mlflow_server(tmp_path / "server") as server, faulty_proxy(server.uri) as proxy:
        registry = Registry(server)
        names = [registry.add(Registry.new_name(letter), seed=n).name for n, letter in enumerate("abc")]
        second = registry.client.get_model_version(names[1], "1").run_id
        gone = threading.Event()

        def lose(exchange: Exchange) -> None:
            if not gone.is_set():
                gone.set()
                lost(server)
            exchange.reset()

        proxy.fault(lose, path=DOWNLOADS.rstrip(".") + f".*{second}")
        audited = audit(proxy.uri, "--workers", "1")
    assert audited.exit_status == INCOMPLETE
    verdicts = {row["name"]: row["verdict"] for row in audited.rows}
    assert verdicts == {names[0]: "same_storage", names[1]: "unverifiable", names[2]: "unverifiable"}
    assert {file.name for file in audited.report_dir.iterdir()} == FILES


def lost(server: MlflowServer) -> None:
    """The process of the server ends at once."""
    port = int(server.host.rpartition(":")[2])
    listening = psutil.net_connections("tcp4")
    (process,) = {one.pid for one in listening if one.status == psutil.CONN_LISTEN and one.laddr.port == port}
    os.kill(process, signal.SIGKILL)


def test_a_ledger_that_is_damaged_in_the_middle(
    mlflow_a: MlflowServer, proxy_a: FaultyProxy, audit: Auditor, tmp_path: Path
) -> None:
    version, url = Registry(mlflow_a).add(), f"sqlite:///{tmp_path / 'ledger.db'}"
    assert audit(mlflow_a.uri, "--model", version.name, "--ledger", url, "--accept-new").exit_status == CLEAN
    done = list[bool]()

    def damage(exchange: Exchange) -> None:
        if not done:
            done.append(True)
            tamper(url, "UPDATE entries SET body = '{}' WHERE seq = 2")
        exchange.send(exchange.forward())

    proxy_a.fault(damage, path=DOWNLOADS)
    arguments = ("--model", version.name, "--ledger", url, "--registry-name", "a")
    audited = audit(proxy_a.uri, *arguments)
    assert (audited.exit_status, done) == (LEDGER, [True])
    must_say(audited, "the ledger's chain is broken", reached=1, not_reached=0)
    assert audited.row["verdict"] == "same_storage"
    assert audited.row["baseline"] is None


@pytest.mark.parametrize("command", ["check", "compare"])
def test_a_ledger_that_is_damaged_while_one_version_is_read(
    mlflow_a: MlflowServer, proxy_a: FaultyProxy, audit: Auditor, tmp_path: Path, command: str
) -> None:
    """What the reading showed is said and written, and that it was compared with no baseline."""
    version, url = Registry(mlflow_a).add(), f"sqlite:///{tmp_path / 'ledger.db'}"
    assert audit(mlflow_a.uri, "--model", version.name, "--ledger", url, "--accept-new").exit_status == CLEAN

    def damage(exchange: Exchange) -> None:
        with contextlib.suppress(Exception):  # its triggers are gone once it has happened
            tamper(url, "UPDATE entries SET body = '{}' WHERE seq = 2")
        exchange.send(exchange.forward())

    proxy_a.fault(damage, path=DOWNLOADS)
    report = tmp_path / "report.json"
    if command == "check":
        what = [f"{version.name}/1", "--tracking-uri", proxy_a.uri, "--registry-name", "a"]
    else:
        one = f"{{host: '{proxy_a.uri}', model: {version.name}, version_or_stage: 1, registry_name: a}}"
        config = tmp_path / "compare.yaml"
        config.write_text(f"tracking_server_1: {one}\ntracking_server_2: {one}\n")
        what = ["--config-file", str(config), "--download-dir", str(tmp_path / "download")]
    said = audit.command(command, *what, "--ledger", url, "--report-file", str(report))
    assert said.exit_status == LEDGER, said.stderr
    assert "compared with no baseline" in said.stdout
    note = json.loads(report.read_text())["note"]
    for text in note.values() if isinstance(note, dict) else [note]:
        assert "compared with no baseline, and not recorded: the ledger's chain is broken" in text


def test_a_defect_of_ours(mlflow_local: MlflowServer, audit: Auditor, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it would come out of a library that nobody has read; what was done before it is said all the same."""
    version = Registry(mlflow_local).add()

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("registry_audit.api.conclude_audit", broken)
    audited = audit(mlflow_local.uri, "--model", version.name)
    assert audited.exit_status == INCOMPLETE
    assert "internal error: ZeroDivisionError: a defect" in audited.stderr
    document = json.loads((audited.report_dir / "audit.json").read_text())
    assert [row["name"] for row in document["versions"]] == [version.name]
    assert document["outcome"] == {"exit_status": INCOMPLETE, "state": "incomplete"}


# ---- full disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(place: Path) -> None:
    with (place / "filling").open("wb", buffering=0) as file:
        while True:
            try:
                file.write(b"x" * 512)
            except OSError:
                return


def many_versions(server: MlflowServer, count: int) -> str:
    """Versions of one model, all of one storage, as a database has them that nobody asked to make them one by one."""
    version = Registry(server).add()
    with sqlite3.connect(server.db_uri.removeprefix("sqlite:///")) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(model_versions)")]
        others = ", ".join(column for column in columns if column != "version")
        for number in range(2, count + 1):
            database.execute(
                f"INSERT INTO model_versions (version, {others}) SELECT ?, {others} FROM model_versions "
                "WHERE name = ? AND version = 1",
                (number, version.name),
            )
    return version.name


@pytest.mark.parametrize("filled", [False, True], ids=["filled by the audit", "full from the beginning"])
def test_a_scratch_directory_that_is_full(
    mlflow_local: MlflowServer, audit: Auditor, small_disk: Path, filled: bool
) -> None:
    """More rows than memory is for: they would go to the disk."""
    name = many_versions(mlflow_local, 1_300)
    (small_disk / "cache").mkdir()
    if filled:
        fill(small_disk)
    scratch = {"TMPDIR": str(small_disk), "REGISTRY_AUDIT_CACHE_DIR": str(small_disk / "cache")}
    audited = audit.program(mlflow_local.uri, "--model", name, environment=scratch)
    assert audited.exit_status == CLEAN, audited.stderr
    assert audited.document["coverage"]["audited"] == len(audited.rows) == 1_300
    assert [row["version"] for row in audited.rows] == [str(number) for number in range(1, 1_301)]


def test_a_report_directory_that_is_full(mlflow_local: MlflowServer, audit: Auditor, small_disk: Path) -> None:
    """What was found is said on stdout, and that nothing was written; a clean audit is then incomplete."""
    version = Registry(mlflow_local).add()
    report, command = small_disk / "report", ("audit", "--tracking-uri", mlflow_local.uri, "--model", version.name)
    report.mkdir()
    (report / "audit.json").write_text("yesterday's")
    fill(small_disk)
    # That it can be written is tried before the audit, with an empty file.
    said = audit.command(*command, "--report-dir", str(report), "--quiet")
    assert said.exit_status == INCOMPLETE
    assert "1 of 1 listed version" in said.stdout or "audited" in said.stdout
    assert f"cannot be written to {report}: No space left on device" in said.stderr
    assert (report / "audit.json").read_text() == "yesterday's"
    assert "internal error" not in said.stderr


def test_a_store_that_needs_the_disk_costs_its_row(
    mlflow_local: MlflowServer, audit: Auditor, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What MLflow's own repositories read goes through a file: one that does not fit cannot be verified."""
    registry = Registry(mlflow_local)
    healthy, large = registry.add(), registry.add(seed=1)
    (Path(large.run_location) / "weights").write_bytes(bytes(2 << 20))
    monkeypatch.setattr("registry_audit.registry.storage.StorageIdentity.is_directory", False)
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    audited = audit(mlflow_local.uri, "--model", healthy.name, "--model", large.name, "--workers", "1")
    verdicts = {row["name"]: row["verdict"] for row in audited.rows}
    assert verdicts == {healthy.name: "same_storage", large.name: "unverifiable"}
    assert "No space left" in audited.everything
    assert json.loads((audited.report_dir / "audit.json").read_text())["outcome"]["exit_status"] == INCOMPLETE


def test_a_comparison_of_registries_that_is_interrupted(
    mlflow_a: MlflowServer,
    mlflow_b: MlflowServer,
    proxy_a: FaultyProxy,
    proxy_b: FaultyProxy,
    two: tuple[Registered, Registered],
    tmp_path: Path,
) -> None:
    """The model that was read on both sides is compared; of the one that hangs nothing is said but that."""
    for version in two:
        Migrator(mlflow_a, mlflow_b).migrate(version.name)
    config, report = tmp_path / "migration.yaml", tmp_path / "migration"
    config.write_text(f"source: {{host: '{proxy_a.uri}'}}\ntarget: {{host: '{proxy_b.uri}'}}\n")
    names = [argument for version in two for argument in ("--model", version.name)]
    command = ["compare-registries", "--config-file", str(config), "--report-dir", str(report), "--workers", "1"]
    process = warm.Popen(
        [sys.executable, "-m", "registry_audit", *command, "--quiet", *names],
        env={**os.environ, "REGISTRY_AUDIT_CACHE_DIR": str(tmp_path / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        hangs(proxy_a)
        copied = MlflowClient(mlflow_b.uri, mlflow_b.uri).get_model_version(two[1].name, "1").run_id
        wait_until(
            lambda: any(copied in r.target and re.search(DOWNLOADS, r.target) for r in proxy_b.requests),
            timeout_seconds=60,
            what="the first model of the target has not been read",
        )
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, "Traceback" in stderr) == (INTERRUPTED, False), stderr
    document = json.loads((report / "migration.json").read_text())
    assert [row["source"]["name"] for row in document["versions"]] == [two[0].name]
    assert (document["outcome"], document["summary"]["complete"]) == (
        {"exit_status": INTERRUPTED, "state": "incomplete"}, False,
    )  # fmt: skip
    for side in ("source", "target"):
        assert "1 of 2 models of the source were not reached" in " ".join(document["coverage"][side]["notes"])
        assert document["coverage"][side]["listed_whole"] is False
    for file in ("migration.html", "migration.md"):
        assert "the comparison was interrupted" in html.unescape((report / file).read_text()).replace("\\", "")
    assert "the comparison was interrupted" in stdout

    # What was read is taken up by the same comparison alone.
    (audit_id,) = re.findall(r"--audit-id (\S+)", stderr)
    kept = {path: path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    proxy_a.clear()

    def again(source: str) -> "subprocess.CompletedProcess[str]":
        config.write_text(f"source: {{host: '{source}'}}\ntarget: {{host: '{proxy_b.uri}'}}\n")
        return warm.run(
            [sys.executable, "-m", "registry_audit", *command, "--quiet", *names, "--audit-id", audit_id],
            env={**os.environ, "REGISTRY_AUDIT_CACHE_DIR": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            timeout=120,
        )

    mistyped = again("http://127.0.0.1:9")
    assert (mistyped.returncode, "Nothing was changed" in mistyped.stderr) == (USAGE, True), mistyped.stderr
    assert {path: path.read_bytes() for path in kept} == kept
    resumed = again(proxy_a.uri)
    assert resumed.returncode == CLEAN, resumed.stdout + resumed.stderr
    read = [request.target for request in proxy_a.requests if re.search(DOWNLOADS, request.target)]
    assert read, "of the second model nothing had been read"
    assert not [target for target in read if two[0].run_id in target]
    assert not [path for path in kept if path.exists()]
