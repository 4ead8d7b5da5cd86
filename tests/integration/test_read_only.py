"""No command writes to a registry, its storage or the working directory: everything is the same afterwards."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from support.places import PLACES, Place, assert_nothing_left, hostile_surroundings, place_of

from registry_audit.cli import boundary
from registry_audit.cli.main import registry_audit

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with place_of(request.param, tmp_path / "registry") as place:
        yield place


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """Where the auditor may write."""
    own = tmp_path / "own"
    own.mkdir()
    with hostile_surroundings(tmp_path):
        yield own


def commands(uri: str, own: Path) -> list[tuple[str, ...]]:
    """Every command that touches a registry, in an order in which each has something to do."""
    at = ("--tracking-uri", uri, "--registry-uri", uri)
    ledger = ("--ledger", f"sqlite:///{own / 'ledger.db'}")
    config = own / "compare.yaml"
    servers = {
        f"tracking_server_{n}": {"host": uri, "model": name, "version_or_stage": "1"}
        for n, name in enumerate(("whole", "damaged"), 1)
    }
    config.write_text(yaml.safe_dump(servers), encoding="utf-8")
    both = own / "migration.yaml"
    both.write_text(yaml.safe_dump({"source": {"host": uri}, "target": {"host": uri}}), encoding="utf-8")
    report = own / "report"
    return [
        ("audit", *at, *ledger, "--accept-new", "--report-dir", str(report)),
        ("audit", *at, *ledger, "--quick", "--model", "wh*"),
        ("audit", *at, *ledger, "--liveness"),
        ("audit", *at, "--ledger", "none", "--filter", "name = 'whole'", "--format", "json"),
        ("check", *at, "--model", "whole", "--version-or-stage", "latest", "--download-dir", str(own / "kept")),
        ("check", *at, "--model", "damaged", "--version-or-stage", "1", "--report-file", str(own / "check.json")),
        ("compare", "--config-file", str(config), "--download-dir", str(own / "compared"), *ledger),
        ("compare-registries", "--config-file", str(both), "--report-dir", str(own / "migration")),
        ("baseline", "accept", "whole/1", "--reason", "looked at", *at, *ledger),
        ("baseline", "accept", "damaged/1", "--reason", "looked at", "--despite", "RA003", "--dry-run", *at, *ledger),
        ("pull", "whole/1", "--output", str(own / "pulled"), *at, *ledger),
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
        ("baseline", "name-registry", uri, "--name", "a name", *ledger),
        ("baseline", "export", *ledger),
        ("baseline", "verify", *ledger),
        ("doctor", *at, *ledger),
        ("report", str(report / "audit.json"), "--format", "text"),
        ("evidence", str(report / "audit.json"), "-o", str(own / "pack.zip"), *ledger),
    ]


def test_no_command_changes_anything(place: Place, elsewhere: Path, tmp_path: Path) -> None:
    uri = place.server.uri
    before = place.snapshot()
    for command in commands(uri, elsewhere):
        status = boundary.run(registry_audit, "registry-audit", list(command))
        assert status in ((0, 1, 3) if "damaged/1" in command or command[0] != "baseline" else (0,)), command
        assert place.snapshot() == before, command
        assert_nothing_left(tmp_path)
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
    for command in commands(uri, elsewhere)[:8]:
        assert boundary.run(registry_audit, "registry-audit", list(command)) == 2, command
    both = ("audit", "--tracking-uri", place.server.uri, "--registry-uri", uri, "--ledger", "none")
    assert boundary.run(registry_audit, "registry-audit", list(both)) == 2
    assert not (elsewhere / "not-there").exists()
    assert place.snapshot() == before


def test_importing_writes_nothing(tmp_path: Path) -> None:
    """Every module, in a process of its own whose home and working directory are empty."""
    home, here = tmp_path / "home", tmp_path / "here"
    own = {"HOME": str(home), "PREFECT_HOME": str(tmp_path / "prefect"), "PYTHONDONTWRITEBYTECODE": "1"}
    for directory in (home, here):
        directory.mkdir()
    program = (
        "import importlib, pkgutil, sys\n"
        "for package in ('registry_audit', 'tasks', 'flows'):\n"
        "    found = importlib.import_module(package)\n"
        "    for module in pkgutil.walk_packages(found.__path__, f'{package}.'):\n"
        "        if not module.name.endswith('__main__') and '.migrations' not in module.name:\n"
        "            importlib.import_module(module.name)\n"
        "print(len([name for name in sys.modules if name.startswith(('registry_audit.', 'tasks.', 'flows.'))]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=here,
        env={**os.environ, **own, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 200
    assert sorted(path.name for directory in (home, here) for path in directory.rglob("*")) == []
