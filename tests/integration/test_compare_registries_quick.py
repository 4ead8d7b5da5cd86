"""`compare-registries --quick`: what audits have read need not be read again, and nothing is passed for it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from support import damage
from support.auditing import Auditor
from support.ledgers import tamper
from support.migrating import Compared, Migrator
from support.registry import Registry
from support.servers import MlflowServer, sqlite_store

CLEAN, FINDINGS, USAGE, LEDGER = 0, 1, 2, 4
NAME = "Wine"


class Desk:
    """Two registries without a server, one made from the other, and one ledger that knows both."""

    def __init__(self, directory: Path, audit: Auditor, names: tuple[str, ...] = (NAME,)) -> None:
        self.directory, self.audit = directory, audit
        for side in ("one", "two"):
            (directory / side).mkdir()
        self.source, self.target = (sqlite_store(directory / side) for side in ("one", "two"))
        registry = Registry(self.source)
        self.migrator = Migrator(self.source, self.target)
        for number, name in enumerate(names):
            for seed in (1, 2):
                registry.add(name, seed=2 * number + seed)
            self.migrator.migrate(name)
        self.ledger = f"sqlite:///{directory / 'ledger.db'}"

    def remember(self, *servers: MlflowServer) -> None:
        for server in servers or (self.source, self.target):
            self.audit(server.uri, "--ledger", self.ledger, "--accept-new")

    def compare(self, *options: str) -> Compared:
        config = self.directory / "migration.yaml"
        sides = {"source": {"host": self.source.uri}, "target": {"host": self.target.uri}}
        config.write_text(yaml.safe_dump(sides), encoding="utf-8")
        reports = self.directory / f"report-{len(list(self.directory.glob('report-*')))}"
        done = self.audit.command(
            "compare-registries", "--config-file", str(config), "--report-dir", str(reports), *options
        )
        return Compared(done.exit_status, done.stdout, done.stderr, reports)

    def quick(self, *options: str) -> Compared:
        return self.compare("--quick", "--ledger", self.ledger, *options)

    def model(self, number: int, name: str = NAME) -> Path:
        """Where the target has a version."""
        return self.target.artifacts.path(self.migrator.target.get_model_version(name, str(number)).source)


@pytest.fixture(autouse=True)
def own_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_AUDIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REGISTRY_AUDIT_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def desk(tmp_path: Path, audit: Auditor) -> Desk:
    return Desk(tmp_path, audit)


def coverage(compared: Compared, side: str) -> dict[str, Any]:
    found: dict[str, Any] = compared.document["coverage"][side]
    return found


def told(compared: Compared) -> list[Any]:
    """All that the report says of each version, but for when it was read."""
    rows = []
    for row in compared.rows.values():
        sides = [
            {**side, "read_at": None, "last_read_at": None} if (side := row[name]) else None
            for name in ("source", "target")
        ]
        rows.append({**row, "source": sides[0], "target": sides[1]})
    return rows


def test_only_mlmodel_is_read_of_what_audits_have_read(desk: Desk) -> None:
    desk.remember()
    full, quick = desk.compare(), desk.quick()
    assert (full.exit_status, quick.exit_status) == (CLEAN, CLEAN)
    assert told(full) == told(quick)
    for side in ("source", "target"):
        assert (coverage(full, side)["not_read"], coverage(quick, side)["not_read"]) == (0, 2)
        assert coverage(quick, side)["bytes_read"] * 5 < coverage(full, side)["bytes_read"]
        oldest = coverage(quick, side)["oldest_reading"]
        assert f"The {side}: 2 versions were not read again" in quick.stdout
        assert f"(the oldest of {oldest})" in quick.stdout
        assert {row[side]["last_read_at"] for row in quick.rows.values()} >= {oldest}
    assert quick.document["options"]["quick"] is True


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False], ids=["after-the-audit", "before-it"])
def test_no_damage_is_passed(tmp_path: Path, audit: Auditor, known: bool) -> None:
    """Whatever a comparison that reads everything says of it, this one says too, word for word."""
    kinds = {kind.__name__: kind for kind in damage.ALL}
    desk = Desk(tmp_path, audit, tuple(kinds))
    if known:
        desk.remember()
    for name, kind in kinds.items():
        kind(desk.model(2, name))
    if not known:
        desk.remember()
    full, quick = desk.compare(), desk.quick()
    assert told(full) == told(quick)
    assert full.exit_status == quick.exit_status == FINDINGS
    assert {name for name in kinds if quick.verdicts[f"{name}/2"] in ("match", "equivalent")} == set()
    assert {quick.verdicts[f"{name}/1"] for name in kinds} == {"equivalent"}
    assert coverage(quick, "source")["not_read"] == 2 * len(kinds)
    assert coverage(quick, "target")["not_read"] >= len(kinds)


def test_one_side_alone(desk: Desk) -> None:
    desk.remember(desk.source)
    quick = desk.quick()
    assert quick.exit_status == CLEAN
    assert [coverage(quick, side)["not_read"] for side in ("source", "target")] == [2, 0]


def test_what_mlflow_writes_into_a_served_model_is_still_told(desk: Desk) -> None:
    """The rule that explains it looks into the file, so it is read again."""
    text = yaml.safe_dump({"model_name": NAME, "model_version": "1"})
    (desk.model(1) / "registered_model_meta").write_text(text, encoding="utf-8")
    (desk.model(2) / "registered_model_meta").write_text("import os", encoding="utf-8")
    desk.remember()
    full, quick = desk.compare(), desk.quick()
    assert quick.verdicts == {f"{NAME}/1": "equivalent", f"{NAME}/2": "mismatch"}
    assert told(full) == told(quick)


def test_behind_a_proxy_everything_is_read(
    mlflow_a: MlflowServer, mlflow_b: MlflowServer, tmp_path: Path, audit: Auditor
) -> None:
    """Its listing would look the same after an overwrite."""
    registry = Registry(mlflow_a)
    name = registry.add().name
    Migrator(mlflow_a, mlflow_b).migrate(name)
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    for server in (mlflow_a, mlflow_b):
        audit(server.uri, "--model", name, "--ledger", ledger, "--accept-new")
    config = tmp_path / "migration.yaml"
    config.write_text(yaml.safe_dump({"source": {"host": mlflow_a.uri}, "target": {"host": mlflow_b.uri}}))
    asked = ("--config-file", str(config), "--model", name, "--quick", "--ledger", ledger)
    done = audit.command("compare-registries", *asked, "--report-dir", str(tmp_path / "report"))
    compared = Compared(done.exit_status, done.stdout, done.stderr, tmp_path / "report")
    assert compared.exit_status == CLEAN
    assert [coverage(compared, side)["not_read"] for side in ("source", "target")] == [0, 0]


def test_a_ledger_that_was_changed_is_not_believed(desk: Desk) -> None:
    desk.remember()
    tamper(desk.ledger, "UPDATE entries SET body = replace(body, 'sha256:', 'sha256:0') WHERE kind = 'reading'")
    assert desk.quick().exit_status == LEDGER


def test_a_wrong_request(desk: Desk) -> None:
    missing = f"sqlite:///{desk.directory / 'missing.db'}"
    assert desk.compare("--quick", "--ledger", missing).exit_status == LEDGER
    assert desk.compare("--quick", "--ledger", "none").exit_status == USAGE
    assert desk.compare("--full-every", "3").exit_status == USAGE
    assert not (desk.directory / "missing.db").exists()
