"""Ten situations that a team with Databricks is in, each asked as its users ask, by the command line.

Each must end with the right status. None may end in an internal error, send a word to a workspace that was not named,
leave a file, or do more than ask; the stand-ins say so themselves (`StandIn.must_be_unharmed`).
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import damage
from support.artifacts import read_files
from support.auditing import Auditor
from support.databricks import StandIn, profiles
from support.lending import Lending
from support.registry import Registry
from support.servers import MlflowServer

CLEAN, FINDINGS, USAGE, INCOMPLETE = 0, 1, 2, 3
WORKSPACE, CATALOG = "databricks://test_env", "databricks-uc://test_env"
NAME = "main.ml.wine"


@dataclass
class Situation:
    """The services, and how the command is asked."""

    test_env: StandIn
    prod_env: StandIn
    open_catalog: StandIn
    directory: Path

    def must_not_be_asked(self, *services: StandIn) -> None:
        for service in services:
            assert service.asked == [], f"{service.url} was asked {service.paths()}"


@dataclass(frozen=True)
class Ended:
    exit_status: int
    verdicts: list[str]
    said: str


class Asking:
    """Commands of users, from an empty directory."""

    def __init__(self, situation: Situation, auditor: Auditor) -> None:
        self._situation, self._auditor, self._count = situation, auditor, 0

    def audit(self, uri: str, *more: str, in_a_process: bool = False) -> Ended:
        run = self._auditor.program if in_a_process else self._auditor
        audited = run(uri, *more)
        report = audited.report_dir / "audit.json"
        rows = audited.rows if report.is_file() else []
        return _sane(Ended(audited.exit_status, [row["verdict"] for row in rows], audited.everything))

    def check(self, model: str, selector: str, uri: str, *more: str) -> Ended:
        return self._single("check", "--model", model, "--version-or-stage", selector, "--tracking-uri", uri, *more)

    def compare(self, configuration: str) -> Ended:
        file = self._situation.directory / "config.yaml"
        file.write_text(configuration, encoding="utf-8")
        place = self._situation.directory / f"download-{self._count}"
        return self._single("compare", "--config-file", str(file), "--download-dir", str(place))

    def _single(self, command: str, *more: str) -> Ended:
        self._count += 1
        report = self._situation.directory / f"{command}-{self._count}.json"
        done = self._auditor.command(command, *more, "--report-file", str(report))
        written = report.read_text(encoding="utf-8") if report.is_file() else "{}"
        verdict = json.loads(written).get("verdict")
        return _sane(Ended(done.exit_status, [verdict] if verdict else [], done.stdout + done.stderr + written))


def _sane(ended: Ended) -> Ended:
    for word in ("internal error", "Traceback", "TypeError", "dapi-secret"):
        assert word not in ended.said, ended.said
    return ended


@pytest.fixture
def situation(test_env: StandIn, prod_env: StandIn, open_catalog: StandIn, tmp_path: Path) -> Iterator[Situation]:
    directory = tmp_path / "situation"
    directory.mkdir()
    found = Situation(test_env, prod_env, open_catalog, directory)
    yield found
    for service in (test_env, prod_env, open_catalog):
        service.must_be_unharmed()


@pytest.fixture
def ask(situation: Situation, audit: Auditor) -> Asking:
    return Asking(situation, audit)


def _twins(situation: Situation) -> None:
    """Equal names at equal paths in both workspaces, with other bytes; in the other one a copy is damaged."""
    for seed, service in ((1, situation.test_env), (2, situation.prod_env)):
        version = service.register("Wine", service.log_model(seed=seed, number=7), stage="Staging")
        if service is situation.prod_env:
            damage.flip_byte(version.reg)


def test_1_damage_on_one_side(situation: Situation, ask: Asking) -> None:
    situation.test_env.register("Wine", seed=1)
    damage.change_nested_file(situation.test_env.register("Wine", seed=2).reg)
    damage.flip_byte(situation.test_env.register("Wine", seed=3).run)
    ended = ask.audit(WORKSPACE, in_a_process=True)
    assert (ended.exit_status, ended.verdicts) == (FINDINGS, ["match", "mismatch", "mismatch"]), ended.said
    assert all(path in ended.said for path in (damage.NESTED_FILE, damage.TOP_FILE))
    situation.must_not_be_asked(situation.prod_env)


def test_2_two_workspaces_with_equal_paths(situation: Situation, ask: Asking) -> None:
    _twins(situation)
    configuration = "".join(
        f"tracking_server_{number}:\n  host: databricks://{profile}\n  model: Wine\n  version_or_stage: staging\n"
        for number, profile in ((1, "test_env"), (2, "prod_env"))
    )
    ended = ask.compare(configuration)
    assert ended.exit_status == FINDINGS, ended.said
    assert '"run_model": false' in ended.said
    assert '"reg_model": false' in ended.said


def test_3_only_named_profiles(situation: Situation, ask: Asking) -> None:
    _twins(situation)
    sound, damaged = ask.check("Wine", "staging", WORKSPACE), ask.check("Wine", "1", "databricks://prod_env")
    assert (sound.exit_status, sound.verdicts) == (CLEAN, ["match"]), sound.said
    assert (damaged.exit_status, damaged.verdicts) == (FINDINGS, ["mismatch"]), damaged.said


def test_4_default_credentials_of_another_workspace(
    situation: Situation, ask: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    _twins(situation)
    ambient = {
        "DATABRICKS_HOST": situation.prod_env.url,
        "DATABRICKS_TOKEN": situation.prod_env.token,
        "DATABRICKS_CONFIG_PROFILE": "prod_env",
        "MLFLOW_TRACKING_URI": "databricks://prod_env",
        "MLFLOW_REGISTRY_URI": "databricks://prod_env",
    }
    for name, value in ambient.items():
        monkeypatch.setenv(name, value)
    ended = ask.audit(WORKSPACE, "--registry-uri", WORKSPACE, in_a_process=True)
    assert (ended.exit_status, ended.verdicts) == (CLEAN, ["match"]), ended.said
    situation.must_not_be_asked(situation.prod_env)


def test_5_default_profile_of_another_workspace(
    situation: Situation, ask: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    _twins(situation)
    services = {"DEFAULT": situation.prod_env, "test_env": situation.test_env}
    file = profiles(situation.directory / "with-default", **services)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(file))
    ended = ask.audit(WORKSPACE)
    assert (ended.exit_status, ended.verdicts) == (CLEAN, ["match"]), ended.said
    situation.must_not_be_asked(situation.prod_env)


@pytest.mark.parametrize("route", ["files-api", "signed-urls", "default-storage", "credentials"])
def test_6_unity_catalog_by_every_route(
    situation: Situation, ask: Asking, lending: Callable[[str], Lending], route: str
) -> None:
    service = situation.test_env
    service.faults.models_through_files = route in ("files-api", "signed-urls")
    service.faults.direct_files = route != "signed-urls"
    service.faults.default_storage = route == "default-storage"
    versions = [service.register_in_catalog(NAME, seed=seed) for seed in (1, 2)]
    damage.flip_byte(versions[1].reg)
    if route == "credentials":
        lent = lending("s3")
        for version in versions:
            lent.keep(version)
    ended = ask.audit(CATALOG)
    assert (ended.exit_status, ended.verdicts) == (FINDINGS, ["match", "mismatch"]), ended.said
    assert damage.TOP_FILE in ended.said
    situation.must_not_be_asked(situation.prod_env)


def test_7_open_source_unity_catalog(situation: Situation, ask: Asking, mlflow_a: MlflowServer) -> None:
    """Its runs are in an MLflow server beside it."""
    logged = Registry(mlflow_a).log_run_model(seed=1)
    catalog = situation.open_catalog
    for broken in (False, True):
        version = catalog.register_in_catalog(NAME, catalog.log_model(seed=5))
        catalog.catalog[NAME][-1] |= {"run_id": logged.run_id, "source": logged.source}
        with mlflow_a.artifacts.edit(logged.location) as directory:
            shutil.rmtree(version.reg)
            shutil.copytree(directory, version.reg)
        if broken:
            damage.flip_byte(version.reg)
    ended = ask.audit(mlflow_a.uri, "--registry-uri", f"uc:{catalog.url}")
    assert (ended.exit_status, ended.verdicts) == (FINDINGS, ["match", "mismatch"]), ended.said
    situation.must_not_be_asked(situation.test_env, situation.prod_env)


def test_8_a_refused_token(situation: Situation, ask: Asking) -> None:
    _twins(situation)
    situation.test_env.faults.token_refused = True
    ended = ask.audit(WORKSPACE)
    assert (ended.exit_status, "databricks auth login" in ended.said) == (USAGE, True), ended.said
    situation.must_not_be_asked(situation.prod_env)


def test_9_an_alias_on_the_workspace_registry(situation: Situation, ask: Asking) -> None:
    _twins(situation)
    ended = ask.check("Wine", "@champion", WORKSPACE)
    assert (ended.exit_status, "has no aliases" in ended.said) == (USAGE, True), ended.said


def test_10_a_name_of_three_levels_on_the_workspace_registry(situation: Situation, ask: Asking) -> None:
    situation.test_env.register_in_catalog(NAME, seed=1)
    ended = ask.check(NAME, "1", WORKSPACE)
    assert (ended.exit_status, "databricks-uc://PROFILE" in ended.said) == (USAGE, True), ended.said


def test_what_is_read_is_what_is_there(situation: Situation, ask: Asking) -> None:
    """The files of `--download-dir` are those of the workspace that was named."""
    _twins(situation)
    place = situation.directory / "kept"
    assert ask.check("Wine", "1", WORKSPACE, "--download-dir", str(place)).exit_status == CLEAN
    version = situation.test_env.models["Wine"][0]
    registered = situation.test_env.files / version["registry_uri"].removeprefix("dbfs:/")
    for role in ("run_model", "reg_model"):
        assert read_files(place / role) == {
            f"model/{path}": content for path, content in read_files(registered).items()
        }
