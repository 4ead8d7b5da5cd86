"""No command writes to a registry, its storage or the working directory: everything is the same afterwards."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from support.databases import everything_in
from support.mariadb import mariadb_database
from support.postgres import postgres_database
from support.registry import Registry
from support.servers import MlflowServer, database_store, mlflow_server, sqlite_store

from registry_audit.cli import boundary
from registry_audit.cli.main import registry_audit

PLACES = [
    "sqlite",
    pytest.param("postgres", marks=pytest.mark.postgres),
    "mariadb",
    "file-store",
    "server",
]


@dataclass(frozen=True, slots=True)
class Place:
    """A registry with two models, one of them damaged, and everything that belongs to it."""

    server: MlflowServer
    directory: Path

    def snapshot(self) -> dict[str, object]:
        """Every file and directory with its bytes and times, and every table with its rows and its schema."""
        found: dict[str, object] = {}
        for path in sorted(self.directory.rglob("*")):
            if path == self.server.log:
                continue
            status = path.lstat()
            what = sha256(path.read_bytes()).hexdigest() if path.is_file() else "directory"
            found[str(path)] = (what, status.st_mode, status.st_mtime_ns)
        if "://" in self.server.db_uri:
            found["database"] = everything_in(self.server.db_uri)
        return found


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    directory = tmp_path / "registry"
    directory.mkdir()
    with ExitStack() as stack:
        match request.param:
            case "sqlite":
                server = sqlite_store(directory)
            case "postgres":
                server = database_store(directory, stack.enter_context(postgres_database()))
            case "mariadb":
                server = database_store(directory, stack.enter_context(mariadb_database()))
            case "file-store":
                monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
                server = database_store(directory, str(directory / "mlruns"))
            case _:
                server = stack.enter_context(mlflow_server(directory))
        registry = Registry(server)
        registry.add("whole")
        damaged = registry.add("damaged")
        with server.artifacts.edit(damaged.reg_location) as model:
            (model / "MLmodel").unlink()
        yield Place(server, directory)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the auditor may write; its working directory must stay empty."""
    (tmp_path / "working-directory").mkdir()
    monkeypatch.chdir(tmp_path / "working-directory")
    monkeypatch.setenv("REGISTRY_AUDIT_HOME", str(tmp_path / "remembered"))
    # Addresses of the process that nobody asked for: MLflow would make a registry there.
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.setenv(name, f"sqlite:///{tmp_path / 'working-directory' / 'nobody-asked.db'}")
    own = tmp_path / "own"
    own.mkdir()
    return own


def commands(uri: str, own: Path) -> list[tuple[str, ...]]:
    """Every command that touches a registry, in an order in which each has something to do."""
    at = ("--tracking-uri", uri, "--registry-uri", uri)
    ledger = ("--ledger", f"sqlite:///{own / 'ledger.db'}")
    config = own / "compare.yaml"
    servers = {
        f"tracking_server_{n}": {"host": uri, "registry_uri": uri, "model": name, "version_or_stage": "1"}
        for n, name in enumerate(("whole", "damaged"), 1)
    }
    config.write_text(yaml.safe_dump(servers), encoding="utf-8")
    report = own / "report"
    return [
        ("audit", *at, *ledger, "--accept-new", "--report-dir", str(report)),
        ("audit", *at, *ledger, "--quick", "--model", "wh*"),
        ("audit", *at, *ledger, "--liveness"),
        ("audit", *at, "--ledger", "none", "--filter", "name = 'whole'", "--format", "json"),
        ("check", *at, "--model", "whole", "--version-or-stage", "latest", "--download-dir", str(own / "kept")),
        ("check", *at, "--model", "damaged", "--version-or-stage", "1", "--report-file", str(own / "check.json")),
        ("compare", "--config-file", str(config), "--download-dir", str(own / "compared")),
        ("baseline", "accept", "whole/1", "--reason", "looked at", *at, *ledger),
        ("baseline", "accept", "damaged/1", "--reason", "looked at", "--despite", "RA003", "--dry-run", *at, *ledger),
        ("baseline", "list", *at, *ledger),
        ("baseline", "show", "whole/1", *at, *ledger),
        ("baseline", "history", "whole/1", *at, *ledger),
        (
            "baseline",
            "waive",
            "damaged/1",
            "--rule",
            "RA003",
            "--reason",
            "known",
            "--until",
            "2999-12-31",
            *at,
            *ledger,
        ),
        ("baseline", "registries", *ledger),
        ("baseline", "verify", *ledger),
        ("doctor", *at, *ledger),
        ("report", str(report / "audit.json"), "--format", "text"),
    ]


def test_no_command_changes_anything(place: Place, elsewhere: Path, tmp_path: Path) -> None:
    uri = place.server.uri
    before = place.snapshot()
    for command in commands(uri, elsewhere):
        status = boundary.run(registry_audit, "registry-audit", list(command))
        assert status in ((0, 1, 3) if "damaged/1" in command or command[0] != "baseline" else (0,)), command
        assert place.snapshot() == before, command
        left = [path.name for path in (tmp_path / "working-directory").iterdir()]
        assert left == [], command
    rows = json.loads((elsewhere / "report" / "audit.json").read_text(encoding="utf-8"))["versions"]
    assert {row["name"]: row["verdict"] for row in rows} == {"damaged": "unverifiable", "whole": "same_storage"}


@pytest.mark.parametrize("place", ["server"], indirect=True)
@pytest.mark.parametrize("make", [lambda path: f"sqlite:///{path / 'm.db'}", str], ids=["sqlite", "directory"])
def test_nothing_is_made_where_nothing_was(
    place: Place, elsewhere: Path, make: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither as the tracking server, nor as the registry beside a server that is there."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = make(elsewhere / "not-there")
    before = place.snapshot()
    for command in commands(uri, elsewhere)[:7]:
        assert boundary.run(registry_audit, "registry-audit", list(command)) == 2, command
    both = ("audit", "--tracking-uri", place.server.uri, "--registry-uri", uri, "--ledger", "none")
    assert boundary.run(registry_audit, "registry-audit", list(both)) == 2
    assert not (elsewhere / "not-there").exists()
    assert place.snapshot() == before
