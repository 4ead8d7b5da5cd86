"""`compare` beside the ledger: it remembers as `check` and `audit` do, and it accepts nothing."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import damage
from support.auditing import Audited, Auditor
from support.registry import Registered, Registry
from support.servers import MlflowServer

from registry_audit.api import compare_model_versions
from registry_audit.compare_config import parse_compare_config
from registry_audit.ledger.chain import Kind
from registry_audit.ledger.connecting import open_ledger

CLEAN, FINDINGS, USAGE, INCOMPLETE, LEDGER = 0, 1, 2, 3, 4
NOTHING = "no ledger was used, so nothing was remembered"


@dataclass(frozen=True, slots=True)
class Desk:
    """Two versions with the same bytes in one registry, and a ledger that has the baseline of the second."""

    registry: Registry
    one: Registered
    two: Registered
    audit: Auditor
    directory: Path

    @property
    def ledger(self) -> str:
        return f"sqlite:///{self.directory / 'ledger.db'}"

    @property
    def report(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.directory / "compare.json").read_text(encoding="utf-8"))
        return content

    def config(self, *more: dict[str, str]) -> dict[str, Any]:
        servers = {}
        for n, (version, keys) in enumerate(zip((self.one, self.two), more or ({}, {}), strict=True), 1):
            named = {"model": version.name, "version_or_stage": version.version}
            servers[f"tracking_server_{n}"] = {"host": self.registry.server.uri, **named, **keys}
        return servers

    def compare(self, *options: str, config: dict[str, Any] | None = None) -> Audited:
        file = self.directory / "compare.yaml"
        file.write_text(yaml.safe_dump(config or self.config()), encoding="utf-8")
        places = ("--download-dir", str(self.directory / "kept"), "--report-file", str(self.directory / "compare.json"))
        return self.audit.command("compare", "--config-file", str(file), *places, *options)

    def overwrite(self, version: Registered) -> None:
        with self.registry.server.artifacts.edit(version.reg_location) as model:
            damage.flip_byte(model)

    def entries(self, kind: Kind) -> list[str]:
        ledger = open_ledger(self.ledger, create=False)
        with ledger.reading() as reader:
            found = [f"{entry.name}/{entry.version}" for entry in reader.of_kind(kind)]
        ledger.close()
        return found


@pytest.fixture
def desk(mlflow_local: MlflowServer, audit: Auditor, tmp_path: Path) -> Desk:
    registry = Registry(mlflow_local)
    logged = registry.log_run_model(seed=1)
    one, two = registry.add(logged=logged), registry.add(logged=registry.log_run_model(seed=1))
    desk = Desk(registry, one, two, audit, tmp_path)
    accepted = audit(mlflow_local.uri, "--model", two.name, "--ledger", desk.ledger, "--accept-new")
    assert accepted.exit_status == CLEAN
    return desk


def test_an_overwrite_shows_against_the_baseline(desk: Desk) -> None:
    before = desk.compare("--ledger", desk.ledger)
    desk.overwrite(desk.two)
    after = desk.compare("--ledger", desk.ledger)
    assert after.exit_status == FINDINGS
    rules = {server: [found["rule"] for found in findings] for server, findings in desk.report["findings"].items()}
    assert "RA002" in rules["tracking_server_2"]
    assert "RA002" not in rules["tracking_server_1"]
    statuses = {server: (kept or {}).get("status") for server, kept in desk.report["baseline"].items()}
    assert statuses == {"tracking_server_1": "new", "tracking_server_2": "changed"}
    assert "RA002 content-changed" in after.stdout
    name = f"  {desk.two.name}/{desk.two.version}: "
    assert f"{name}the bytes are not what was accepted on" in after.stdout
    assert "RA002" not in before.stdout
    assert f"{name}the bytes are as accepted on" in before.stdout


def test_equal_bytes_that_are_not_the_accepted_ones(desk: Desk) -> None:
    """Both were overwritten alike: comparing them with each other proves nothing."""
    for version in (desk.one, desk.two):
        desk.overwrite(version)
    compared = desk.compare("--ledger", desk.ledger)
    assert desk.report["Comparison_Summary"] == {"run_model": True, "reg_model": True}
    assert compared.exit_status == FINDINGS
    assert desk.compare().exit_status != FINDINGS


@pytest.mark.parametrize("skipped", ["run", "reg"])
def test_one_role_alone(desk: Desk, skipped: str) -> None:
    """Of one storage, either role tells the bytes; of two copies, only the registry model has a baseline."""
    desk.overwrite(desk.two)
    compared = desk.compare("--ledger", desk.ledger, f"--skip-compare-{skipped}-models")
    assert compared.exit_status == FINDINGS
    assert "RA002 content-changed" in compared.stdout


@pytest.mark.parametrize("skipped", ["run", "reg"])
def test_one_role_of_separate_copies(desk: Desk, skipped: str) -> None:
    separate = desk.registry.add(desk.two.name, logged=desk.registry.log_run_model(seed=1), separate=True)
    of_models = ("--model", separate.name, "--ledger", desk.ledger)
    desk.audit(desk.registry.server.uri, *of_models, "--accept-new")
    readings = desk.entries(Kind.READING)
    with desk.registry.server.artifacts.edit(separate.reg_location) as model:
        damage.flip_byte(model)
    config = desk.config({}, {"version_or_stage": separate.version})
    compared = desk.compare("--ledger", desk.ledger, f"--skip-compare-{skipped}-models", config=config)
    changed = skipped == "run"
    assert ("RA002" in compared.stdout) == changed
    assert ("the registry model was not read" in compared.stdout) == (not changed)
    # Half a reading is not recorded: it would stand before the last whole one.
    label = f"{separate.name}/{separate.version}"
    assert desk.entries(Kind.READING).count(label) == readings.count(label)


def test_a_version_that_is_not_finished_is_compared_with_nothing(desk: Desk) -> None:
    desk.registry.change_row(desk.two.name, desk.two.version, status="PENDING_REGISTRATION")
    for ledger in (desk.ledger, "none"):
        compared = desk.compare("--ledger", ledger)
        assert desk.report["Comparison_Summary"] == {"run_model": False, "reg_model": False}
        assert compared.exit_status == INCOMPLETE, compared.stdout


def test_it_records_what_it_read_and_accepts_nothing(desk: Desk) -> None:
    accepted = desk.entries(Kind.ACCEPTED)
    assert f"{desk.one.name}/1" not in desk.entries(Kind.READING)
    desk.compare("--ledger", desk.ledger)
    assert f"{desk.one.name}/1" in desk.entries(Kind.READING)
    assert desk.entries(Kind.ACCEPTED) == accepted
    # So the bytes of the first sight are known, and other ones are no first sight.
    desk.overwrite(desk.one)
    assert "RA002" in desk.compare("--ledger", desk.ledger).stdout


def test_without_a_ledger_it_says_so(desk: Desk) -> None:
    compared = desk.compare("--ledger", "none")
    assert compared.stdout.count(NOTHING) == 2
    assert desk.report["note"] == {"tracking_server_1": NOTHING, "tracking_server_2": NOTHING}
    assert desk.report["baseline"] == {"tracking_server_1": None, "tracking_server_2": None}


def test_a_file_that_the_environment_names_need_not_be_there_yet(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copies are compared, nothing is made, and the answer says what it does not rest on."""
    missing = desk.directory / "not-yet.db"
    monkeypatch.setenv("REGISTRY_AUDIT_LEDGER", f"sqlite:///{missing}")
    version = ("--tracking-uri", desk.registry.server.uri, f"{desk.two.name}/{desk.two.version}")
    for asked in (desk.compare(), desk.audit.command("check", *version)):
        assert asked.exit_status == CLEAN
        assert "compared with no baseline, and not recorded: there is no ledger at" in asked.stdout
    assert not missing.exists()
    # Whoever types an address means a ledger that is there; and an audit is what a ledger is for.
    typed = desk.audit.command("check", *version, "--ledger", f"sqlite:///{desk.directory / 'typed.db'}")
    audited = desk.audit.command("audit", "--tracking-uri", desk.registry.server.uri)
    assert (typed.exit_status, audited.exit_status) == (LEDGER, LEDGER)


def test_the_default_ledger_is_used(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REGISTRY_AUDIT_LEDGER")
    monkeypatch.setenv("REGISTRY_AUDIT_HOME", str(desk.directory / "home"))
    desk.audit(desk.registry.server.uri, "--model", desk.two.name, "--accept-new")
    desk.overwrite(desk.two)
    assert "RA002" in desk.compare().stdout
    by_python = compare_model_versions(
        parse_compare_config(yaml.safe_dump(desk.config()), "config"), desk.directory / "kept"
    )
    assert by_python.outcome.exit_status == FINDINGS
    assert "RA002" in {finding.rule for finding in by_python.pair.said_of(1)}


def test_the_name_of_the_registry(desk: Desk) -> None:
    """Typed once for one registry, or as a key of the configuration; a name the ledger does not know is another one."""
    uri = desk.registry.server.uri
    desk.audit.command("baseline", "name-registry", uri, "--name", "prod", "--ledger", desk.ledger)
    desk.overwrite(desk.two)
    assert "RA002" in desk.compare("--ledger", desk.ledger, "--registry-name", "prod").stdout
    keys = desk.config({"registry_name": "prod"}, {"registry_name": "prod"})
    assert "RA002" in desk.compare("--ledger", desk.ledger, config=keys).stdout


def test_two_registries_have_two_names(desk: Desk, mlflow_a: MlflowServer) -> None:
    there = Registry(mlflow_a).add()
    config = desk.config({}, {"host": mlflow_a.uri, "model": there.name})
    refused = desk.compare("--ledger", desk.ledger, "--registry-name", "prod", config=config)
    assert refused.exit_status == USAGE
    assert "first for tracking_server_1, then for tracking_server_2" in refused.stderr
    named = ("--registry-name", "staging", "--registry-name", "prod")
    compared = desk.compare("--ledger", desk.ledger, *named, config=config)
    assert compared.exit_status != USAGE, compared.stderr
    known = desk.audit.command("baseline", "registries", "--ledger", desk.ledger).stdout
    assert "named staging" in known
    assert "prod" in known


def test_baselines_of_two_digests_are_not_compared(desk: Desk, mlflow_a: MlflowServer) -> None:
    there = Registry(mlflow_a).add()
    of_other = ("--model", there.name, "--ledger", desk.ledger, "--digest", "blake3", "--accept-new")
    assert desk.audit(mlflow_a.uri, *of_other).exit_status == CLEAN
    refused = desk.compare("--ledger", desk.ledger, config=desk.config({}, {"host": mlflow_a.uri, "model": there.name}))
    assert refused.exit_status == USAGE
    assert "first registry by sha256 and the second by blake3" in refused.stderr
