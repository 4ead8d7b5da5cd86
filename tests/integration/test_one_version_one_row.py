"""Whatever a version holds, and whatever is raised because of it: it costs its own row, and the others are audited."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.auditing import Audited, Auditor
from support.registry import Registered, Registry
from support.servers import MlflowServer

import registry_audit.audit.pipeline
from registry_audit.errors import LedgerError

FINDINGS, INCOMPLETE, LEDGER = 1, 3, 4


class PanicException(BaseException):
    """As PyO3 raises it."""

    __module__ = "pyo3_runtime"


@pytest.fixture
def two(mlflow_local: MlflowServer) -> tuple[Registered, Registered]:
    """Versions of two models; the first one is healthy."""
    registry = Registry(mlflow_local)
    return registry.add(), registry.add(seed=1)


def _only_the_second_is_lost(audited: Audited, two: tuple[Registered, Registered]) -> str:
    verdicts = {row["name"]: row["verdict"] for row in audited.rows}
    assert verdicts == {two[0].name: "same_storage", two[1].name: "unverifiable"}, audited.stderr
    assert audited.exit_status in (FINDINGS, INCOMPLETE)
    (row,) = [row for row in audited.rows if row["name"] == two[1].name]
    return " ".join(finding["message"] for finding in row["findings"])


@pytest.mark.parametrize(
    "source",
    [
        "http://[::1",
        "s3://[b/m",
        "file:///tmp/a\0b",
        "/tmp/a\0b",
        "mlflow-artifacts://[/x",
        "http://h\u2100/x",
        "file://localhost\u2100/x",
        "models:/[/1",
        "runs:/\0/model",
        "\0",
        "s3://bucket\0/x",
        "http://host:port/api/2.0/mlflow-artifacts/artifacts/x",
        "a" * 5_000,
        "/" + "a/" * 3_000,
        "\ud7ff://x",
        "file:///%00",
        "data:,x",
        "plugin-that-is-not-there://x",
    ],
    ids=ascii,
)
def test_any_source(
    mlflow_local: MlflowServer, audit: Auditor, two: tuple[Registered, Registered], source: str
) -> None:
    Registry(mlflow_local).change_row(two[1].name, two[1].version, source=source, storage_location=source)
    audited = audit(mlflow_local.uri, "--model", two[0].name, "--model", two[1].name)
    # A place that can be looked at and holds nothing is said to be lost: that is no less than unverifiable.
    _only_the_second_is_lost(audited, two)
    assert "Traceback" not in audited.everything


@pytest.mark.parametrize(
    ("step", "raised"),
    [
        ("resolve_version", ValueError("embedded null byte")),
        ("resolve_version", StopIteration()),
        ("open_store", RecursionError()),
        ("read_all", MemoryError()),
        ("read_all", OSError(5, "x")),
        ("judge", UnicodeError()),
        ("with_signature", KeyError("x")),
        ("resolve_version", SystemExit(0)),
        ("open_store", SystemExit(0)),
        ("read_all", SystemExit("a plugin gives up")),
        ("with_signature", PanicException("a panic of Rust code")),
    ],
)
def test_anything_raised_in_any_step(
    mlflow_local: MlflowServer,
    audit: Auditor,
    two: tuple[Registered, Registered],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    raised: BaseException,
) -> None:
    _raise_for(two[1], step, raised, monkeypatch)
    audited = audit(mlflow_local.uri, "--model", two[0].name, "--model", two[1].name)
    said = _only_the_second_is_lost(audited, two)
    assert type(raised).__name__ in said


def test_the_ledger_is_no_version(
    mlflow_local: MlflowServer, audit: Auditor, two: tuple[Registered, Registered], monkeypatch: pytest.MonkeyPatch
) -> None:
    _raise_for(two[1], "judge", LedgerError("the ledger is away"), monkeypatch)
    audited = audit(mlflow_local.uri, "--model", two[0].name, "--model", two[1].name)
    assert audited.exit_status == LEDGER


def _raise_for(version: Registered, step: str, raised: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step fails where it has to do with the version: what it is given names the version's run."""
    real: Callable[..., object] = getattr(registry_audit.audit.pipeline, step)

    def fails(*arguments: object, **named: object) -> object:
        identities = [getattr(argument, "identity", None) for argument in arguments]
        if version.run_id in repr((arguments, identities)):
            raise raised
        return real(*arguments, **named)

    monkeypatch.setattr(registry_audit.audit.pipeline, step, fails)


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:9000", "minio", "http://", "http://127.0.0.1:port", "http://[::1", "http://127.0.0.1:99999"]
)
def test_where_s3_is_said_wrong(
    mlflow_local: MlflowServer,
    audit: Auditor,
    two: tuple[Registered, Registered],
    monkeypatch: pytest.MonkeyPatch,
    url: str,
) -> None:
    Registry(mlflow_local).change_row(two[1].name, two[1].version, source="s3://bucket/m", storage_location=None)
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", url)
    audited = audit(mlflow_local.uri, "--model", two[0].name, "--model", two[1].name)
    said = _only_the_second_is_lost(audited, two)
    assert "MLFLOW_S3_ENDPOINT_URL" in said
    assert "internal error" not in said


def test_s3_is_not_where_it_is_said(
    mlflow_local: MlflowServer,
    audit: Auditor,
    two: tuple[Registered, Registered],
    monkeypatch: pytest.MonkeyPatch,
    unused_tcp_port: int,
    tmp_path: Path,
) -> None:
    Registry(mlflow_local).change_row(two[1].name, two[1].version, source="s3://bucket/m", storage_location=None)
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", f"http://127.0.0.1:{unused_tcp_port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    audited = audit(mlflow_local.uri, "--model", two[0].name, "--model", two[1].name)
    assert f"MLFLOW_S3_ENDPOINT_URL is http://127.0.0.1:{unused_tcp_port}" in _only_the_second_is_lost(audited, two)


@pytest.fixture
def unused_tcp_port() -> int:
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
