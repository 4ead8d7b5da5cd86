"""A server that answers for ever, or a byte now and then, costs a row or the listing, and never the audit."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.auditing import Auditor
from support.faulty_proxy import Exchange, Fault, FaultyProxy, Response
from support.registry import Registry
from support.servers import MlflowServer

INCOMPLETE = 3


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes minutes is broken off after a second."""
    monkeypatch.setattr("registry_audit.net.throttle._SECONDS_TO_ARRIVE", 1.0)
    monkeypatch.setattr("registry_audit.audit.time_limits._LOOK_EVERY_SECONDS", 0.1)
    monkeypatch.setattr("registry_audit.audit.time_limits._SECONDS_TO_COME_BACK", 2.0)


def dripping(*, of_bytes: int | None = 100_000) -> Fault:
    """A byte each tenth of a second, of a body of a known or unknown length."""

    def fault(exchange: Exchange) -> None:
        response = exchange.forward()
        if of_bytes is None:
            exchange.send_head(response, ("Transfer-Encoding", "chunked"))
        else:
            exchange.send_head(response, ("Content-Length", str(of_bytes)))
        while not exchange.proxy.closing.wait(0.1):
            if of_bytes is None:
                exchange.send_chunk(b" ")
            else:
                exchange.write(b" ")

    return fault


def endless(size: int = 1 << 16) -> Fault:
    """As fast as it can, and never at an end."""

    def fault(exchange: Exchange) -> None:
        exchange.send_head(exchange.forward(), ("Transfer-Encoding", "chunked"))
        while not exchange.proxy.closing.is_set():
            exchange.send_chunk(b"1" * size)

    return fault


def dripping_head() -> Fault:
    """A line of the head that does not end."""

    def fault(exchange: Exchange) -> None:
        exchange.close()
        exchange.write(b"HTTP/1.1 200 OK\r\nX-Filler: ")
        while not exchange.proxy.closing.wait(0.1):
            exchange.write(b"x")

    return fault


def endless_refusal(status: int, *headers: tuple[str, str]) -> Fault:
    """An answer of which nobody wants the body, which has no end."""

    def fault(exchange: Exchange) -> None:
        exchange.send_head(Response(status, b"", headers), ("Transfer-Encoding", "chunked"))
        while not exchange.proxy.closing.is_set():
            exchange.send_chunk(b"1" * (1 << 16))

    return fault


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("fault", [dripping(), dripping(of_bytes=None)], ids=["length", "chunked"])
@pytest.mark.parametrize("path", [r"artifacts\?path=.*", r"artifacts/.*"], ids=["listing", "file"])
def test_a_dripping_storage_costs_the_row_of_its_version(
    mlflow_a: MlflowServer, proxy_a: FaultyProxy, audit: Auditor, path: str, fault: Fault
) -> None:
    registry = Registry(mlflow_a)
    healthy, hurt = registry.add(), registry.add(seed=1)
    proxy_a.fault(fault, path=path + hurt.run_id)
    with at_most(60):
        audited = audit(proxy_a.uri, "--model", healthy.name, "--model", hurt.name)
    verdicts = {row["name"]: row["verdict"] for row in audited.rows}
    assert verdicts == {healthy.name: "same_storage", hurt.name: "unverifiable"}
    assert audited.exit_status == INCOMPLETE
    assert "RA009" in audited.rules
    assert "bytes per second" in audited.everything


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("fault", [endless(), dripping(), dripping(of_bytes=None)], ids=["endless", "drip", "chunks"])
def test_whatever_a_server_says_it_runs(
    mlflow_a: MlflowServer, proxy_a: FaultyProxy, audit: Auditor, fault: Fault
) -> None:
    version = Registry(mlflow_a).add()
    proxy_a.fault(fault, path=r"/version$")
    with at_most(60):
        audited = audit(proxy_a.uri, "--model", version.name)
    assert audited.exit_status in (0, INCOMPLETE)
    assert "internal error" not in audited.stderr


@pytest.mark.usefixtures("soon")
def test_a_dripping_registry_is_given_up(mlflow_a: MlflowServer, proxy_a: FaultyProxy, audit: Auditor) -> None:
    version = Registry(mlflow_a).add()
    proxy_a.fault(dripping(), path=r"/model-versions/search")
    with at_most(60):
        audited = audit(proxy_a.uri, "--model", version.name)
    assert audited.exit_status == INCOMPLETE
    assert "bytes per second" in audited.stderr


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    "path",
    [r"/model-versions/search"]
    + [pytest.param(path, marks=pytest.mark.slow) for path in (r"/version$", r"artifacts\?path=", r"artifacts/.")],
)
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(dripping_head(), id="head"),
        pytest.param(endless_refusal(500), id="500"),
        pytest.param(endless_refusal(503, ("Retry-After", "0")), id="advice"),
        pytest.param(endless_refusal(302, ("Location", "/login")), id="redirect"),
        pytest.param(endless_refusal(503), id="503", marks=pytest.mark.slow),
        pytest.param(endless_refusal(404), id="404", marks=pytest.mark.slow),
    ],
)
def test_what_nobody_reads_has_a_bound_too(
    mlflow_a: MlflowServer,
    proxy_a: FaultyProxy,
    audit: Auditor,
    path: str,
    fault: Fault,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setattr("registry_audit.net.http._MAX_ANSWER_BYTES", 4 << 20)
    monkeypatch.setattr("registry_audit.audit.runner.SERVER_AWAY_SECONDS", 0.5)
    version = Registry(mlflow_a).add()
    proxy_a.fault(fault, path=path)
    with at_most(90):
        audited = audit(proxy_a.uri, "--model", version.name)
    assert audited.exit_status == INCOMPLETE or path == r"/version$"
    assert "internal error" not in audited.stderr


def test_the_time_of_a_version_is_bounded_whatever_it_waits_for(
    mlflow_local: MlflowServer, audit: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is a pipe put in its place, a plugin, a disk that hangs: the row is written, the audit ends."""
    import threading

    import registry_audit.audit.pipeline as steps

    registry = Registry(mlflow_local)
    healthy, hurt = registry.add(), registry.add(seed=1)
    monkeypatch.setattr("registry_audit.audit.time_limits._LOOK_EVERY_SECONDS", 0.1)
    monkeypatch.setattr("registry_audit.audit.time_limits._SECONDS_TO_COME_BACK", 0.5)
    real, release = steps.read_all, threading.Event()

    def hangs(store, *arguments, **named):  # type: ignore[no-untyped-def]
        if hurt.run_id in repr(store.identity):
            release.wait()
        return real(store, *arguments, **named)

    monkeypatch.setattr(steps, "read_all", hangs)
    limit = "--max-version-seconds"
    try:
        with at_most(60):
            audited = audit(mlflow_local.uri, "--model", healthy.name, "--model", hurt.name, limit, "10")
    finally:
        release.set()
    verdicts = {row["name"]: row["verdict"] for row in audited.rows}
    assert verdicts == {healthy.name: "same_storage", hurt.name: "unverifiable"}
    assert limit in audited.everything


@pytest.mark.parametrize("command", ["check", "compare"])
def test_the_single_commands_have_the_same_limit(
    mlflow_a: MlflowServer, proxy_a: FaultyProxy, audit: Auditor, tmp_path: Path, command: str
) -> None:
    version = Registry(mlflow_a).add()
    proxy_a.fault(dripping(), path=r"artifacts/.*")
    arguments = ["check", f"{version.name}/{version.version}", "--tracking-uri", proxy_a.uri, "--ledger", "none"]
    if command == "compare":
        server = f"{{host: '{proxy_a.uri}', model: {version.name}, version_or_stage: {version.version}}}"
        config = tmp_path / "compare.yaml"
        config.write_text(f"tracking_server_1: {server}\ntracking_server_2: {server}\n")
        arguments = ["compare", "--config-file", str(config), "--download-dir", str(tmp_path / "files")]
    with at_most(60):
        done = audit.command(*arguments, "--max-version-seconds", "2")
    assert done.exit_status == INCOMPLETE
    assert "--max-version-seconds" in done.stdout


@pytest.mark.parametrize("limit", ["files", "directories", "depth", "bytes"])
def test_a_check_has_the_limits_of_an_audit(mlflow_local: MlflowServer, audit: Auditor, limit: str) -> None:
    version = Registry(mlflow_local).add()
    (Path(version.run_location) / "a/b/c").mkdir(parents=True)
    (Path(version.run_location) / "a/b/c/file").write_bytes(b"x")
    label, option = f"{version.name}/{version.version}", f"--max-{limit}"
    done = audit.command("check", label, "--tracking-uri", mlflow_local.uri, "--ledger", "none", option, "1")
    assert done.exit_status == INCOMPLETE
    assert option in done.stdout
