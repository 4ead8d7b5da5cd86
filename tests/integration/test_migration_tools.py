"""`compare-registries` after migrations made by the tools that people use: each loss is found, no good copy accused.

What the tools lose is theirs, and was measured with the releases that `support.tools` names. The tests hold our report
to what is really in the target: a reader of their own counts it, file by file, without any of our code.
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import yaml
from mlflow import MlflowClient
from support.migrating import Compared, compare
from support.old_mlflow import old_mlflow
from support.registry import Registry
from support.servers import Artifacts, MlflowServer, mlflow_server
from support.tools import EXPORT_IMPORT, MLFLOW_MIGRATION, Tool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_500)]

CLEAN, FINDINGS, INCOMPLETE = 0, 1, 3
Release = Literal["2.22", "installed"]
PASSES = {"match", "equivalent"}


@dataclass(frozen=True, slots=True)
class Two:
    source: MlflowServer
    target: MlflowServer
    registry: Registry
    directory: Path

    @property
    def names(self) -> list[str]:
        return sorted(model.name for model in self.registry.client.search_registered_models())

    def compare(self, *options: str) -> Compared:
        return compare(self.source.uri, self.target.uri, self.directory, *options)


@contextmanager
def two_servers(directory: Path, release: Release, artifacts: Artifacts, root_name: str = "store") -> Iterator[Two]:
    for side in ("source", "target"):
        (directory / side).mkdir()
    old = {"python": old_mlflow("2.22.5")} if release == "2.22" else {}
    with (
        mlflow_server(directory / "source", artifacts=artifacts, root_name=root_name, **old) as source,
        mlflow_server(directory / "target", artifacts=artifacts, root_name=root_name) as target,
    ):
        yield Two(source, target, Registry(source), directory)


def fill(registry: Registry, release: Release) -> None:
    """Versions in the shapes that tools stumble over."""
    client = registry.client
    for seed in (1, 2, 3, 4):
        registry.add("Wine", seed=seed)
    client.delete_model_version("Wine", "2")
    client.update_registered_model("Wine", "reds\nand whites")
    client.set_registered_model_tag("Wine", "team", "Zoë")
    client.update_model_version("Wine", "3", "two\nlines, " + "long " * 60)
    client.set_model_version_tag("Wine", "3", "owner", "risk\nteam")
    client.set_registered_model_alias("Wine", "champion", "4")
    registry.change_row("Wine", "4", current_stage="Production")
    for seed in range(10, 22):
        registry.add("Many", seed=seed)
    client.set_registered_model_alias("Many", "ten", "10")
    twin = registry.log_run_model(seed=30)
    for _ in range(2):
        registry.add("Twins", logged=twin)
    by_run = registry.log_run_model(seed=40)
    registry.register("ByRun", f"runs:/{by_run.run_id}/model", by_run.run_id)
    client.copy_model_version("models:/Wine/1", "Copied")
    if release == "installed":
        registry.add("Logged", logged=registry.log_logged_model(seed=50))


def loadable(server: MlflowServer) -> dict[str, list[str]]:
    """Digests of what MLflow serves for each version, read as MLflow reads it; MLmodel without where it came from."""
    client, found = MlflowClient(server.uri, server.uri), dict[str, list[str]]()
    for version in client.search_model_versions():
        at = Path(_place(server, client.get_model_version_download_uri(version.name, version.version), client))
        text = (at / "MLmodel").read_text() if (at / "MLmodel").is_file() else None
        if text is not None:
            fields = yaml.safe_load(text)
            for field in ("run_id", "model_id", "model_uuid", "artifact_path"):
                fields.pop(field, None)
            digest = hashlib.sha256(repr(sorted(fields.items(), key=str)).encode())
            for file in sorted(one for one in at.rglob("*") if one.is_file() and one != at / "MLmodel"):
                digest.update(str(file.relative_to(at)).encode() + file.read_bytes())
            found.setdefault(version.name, []).append(digest.hexdigest())
    return {name: sorted(digests) for name, digests in found.items()}


def _place(server: MlflowServer, uri: str, client: MlflowClient) -> str:
    """The directory behind a location, whoever serves it."""
    while uri.startswith(("runs:/", "models:/")):
        kind, _, rest = uri.partition(":/")
        head, _, tail = rest.partition("/")
        if kind == "runs":
            uri = f"{client.get_run(head).info.artifact_uri}/{tail}"
        elif head.startswith("m-"):
            uri = client.get_logged_model(head).artifact_location
        else:
            uri = client.get_model_version_download_uri(head, tail)
    return uri.replace("mlflow-artifacts:", server.artifact_root).removeprefix("file://")


def held_to_the_truth(two: Two, compared: Compared) -> dict[str, str]:
    """The verdicts, once each was held against what is in the target."""
    source, target = loadable(two.source), loadable(two.target)
    for name, digests in source.items():
        left = list(target.get(name, ()))
        arrived = sum(left.remove(one) is None for one in digests if one in left)
        rows = [row for row in compared.rows.values() if row["source"] and row["source"]["name"] == name]
        assert len(rows) == len(digests)
        assert sum(row["verdict"] in PASSES for row in rows) == arrived, (name, compared.stdout)
    lost = any(verdict not in PASSES for verdict in compared.verdicts.values())
    assert compared.document["summary"]["complete"] is not lost
    return compared.verdicts


def _not_passing(verdicts: dict[str, str]) -> dict[str, str]:
    return {label: verdict for label, verdict in verdicts.items() if verdict not in PASSES}


@pytest.mark.parametrize("release", ["installed", "2.22"])
def test_mlflow_migration_in_bulk_between_proxied_servers(tmp_path: Path, release: Release) -> None:
    with two_servers(tmp_path, release, "local-proxied") as two:
        fill(two.registry, release)
        assert MLFLOW_MIGRATION.migrate(two.source.uri, two.target.uri, two.names, tmp_path) == (0, 0)

        compared = two.compare("--one-way")

        verdicts = held_to_the_truth(two, compared)
        lost = {"Copied/1": "missing", "ByRun/1": "mismatch"}
        lost |= {"Logged/1": "missing"} if release == "installed" else {}
        assert _not_passing(verdicts) == lost
        assert compared.exit_status == FINDINGS
        assert compared.rows["ByRun/1"]["one_directory_down"] == "model"
        assert compared.rows["Many/10"]["target"]["version"] == "2"
        assert compared.rows["Wine/3"]["target"]["version"] == "2"
        assert [compared.rows[f"Twins/{n}"]["target"]["version"] for n in (1, 2)] == ["1", "2"]
        assert all(row["metadata"] == [] for label, row in compared.rows.items() if verdicts[label] in PASSES)
        assert "numbers were sorted as text" in compared.stdout


def test_what_arrived_is_not_accused(tmp_path: Path) -> None:
    """A migration without what the tools lose is complete, and exit status 0."""
    with two_servers(tmp_path, "2.22", "local-proxied") as two:
        fill(two.registry, "2.22")
        names = ["Twins", "Wine"]
        assert MLFLOW_MIGRATION.migrate(two.source.uri, two.target.uri, names, tmp_path) == (0, 0)
        compared = two.compare(*(part for name in names for part in ("--model", name)))
        assert set(compared.verdicts.values()) == {"equivalent"}
        assert compared.rules == {"RA024"}, compared.stdout
        assert compared.exit_status == CLEAN
        assert compared.document["summary"]["complete"] is True


@pytest.mark.parametrize("release", ["installed", "2.22"])
def test_export_import_in_bulk_between_direct_servers(tmp_path: Path, release: Release) -> None:
    with two_servers(tmp_path, release, "local-direct") as two:
        fill(two.registry, release)
        assert EXPORT_IMPORT.migrate(two.source.uri, two.target.uri, two.names, tmp_path) == (0, 0)
        compared = two.compare("--one-way")
        verdicts = held_to_the_truth(two, compared)
        if release == "installed":
            lost = {"Copied/1": "missing", "Logged/1": "missing", "ByRun/1": "mismatch"}
            assert _not_passing(verdicts) == lost
        else:  # it exports no run of an older server, and says so in its log alone
            assert set(verdicts.values()) == {"missing"}
        assert compared.exit_status == FINDINGS


@pytest.mark.parametrize(("artifacts", "root_name"), [("local-proxied", "store"), ("local-direct", "artifacts")])
def test_export_import_loses_everything_and_ends_with_0(tmp_path: Path, artifacts: Artifacts, root_name: str) -> None:
    with two_servers(tmp_path, "installed", artifacts, root_name) as two:
        fill(two.registry, "2.22")
        assert EXPORT_IMPORT.migrate(two.source.uri, two.target.uri, two.names, tmp_path) == (0, 0)
        compared = two.compare("--one-way")
        verdicts = held_to_the_truth(two, compared)
        assert _not_passing(verdicts) == verdicts
        assert {verdict for label, verdict in verdicts.items() if label != "ByRun/1"} == {"missing"}
        assert "0 of 19 versions are in the target unchanged" in compared.stdout
        assert compared.exit_status == FINDINGS


@pytest.mark.parametrize(("tool", "artifacts"), [(MLFLOW_MIGRATION, "local-proxied"), (EXPORT_IMPORT, "local-direct")])
def test_model_by_model(tmp_path: Path, tool: Tool, artifacts: Artifacts) -> None:
    with two_servers(tmp_path, "installed", artifacts) as two:
        fill(two.registry, "2.22")
        tool.migrate_singly(two.source.uri, two.target.uri, ["Wine", "ByRun", "Copied"], tmp_path)
        compared = two.compare("--model", "Wine", "--model", "ByRun", "--model", "Copied")
        verdicts = compared.verdicts
        assert {verdicts[f"Wine/{n}"] for n in (1, 3, 4)} == {"equivalent"}
        assert _not_passing(verdicts) == {"Copied/1": "missing", "ByRun/1": "mismatch"}
        assert compared.exit_status == FINDINGS


DAMAGE = {
    "dropped": ("missing", "RA020"),
    "emptied": ("mismatch", "RA021"),
    "one-directory-down": ("mismatch", "RA021"),
    "not-moved": ("same_storage", None),
    "byte": ("mismatch", "RA021"),
    "file-added": ("mismatch", "RA021"),
    "requirements": ("mismatch", "RA021"),
    "mlmodel": ("mismatch", "RA021"),
    "tag": ("equivalent", "RA022"),
    "alias": ("equivalent", "RA022"),
    "stage": ("equivalent", "RA022"),
    "description": ("equivalent", "RA022"),
    "run": ("equivalent", "RA022"),
    "status": ("unverifiable", "RA022"),
}


def test_every_kind_of_damage_on_top_of_a_good_migration(tmp_path: Path) -> None:
    with two_servers(tmp_path, "installed", "local-direct") as two:
        for place, kind in enumerate(DAMAGE):
            for version in (1, 2):
                registered = two.registry.add(kind, seed=100 + 2 * place + version)
                assert registered.version == str(version)
            client = two.registry.client
            client.update_model_version(kind, "2", "a description of several words")
            client.set_model_version_tag(kind, "2", "owner", "risk")
            client.set_registered_model_alias(kind, "champion", "2")
            two.registry.change_row(kind, "2", current_stage="Production")
        assert EXPORT_IMPORT.migrate(two.source.uri, two.target.uri, list(DAMAGE), tmp_path) == (0, 0)

        good = two.compare()
        assert good.exit_status == CLEAN, good.stdout
        assert set(good.verdicts.values()) == {"equivalent"}
        assert good.rules == set()

        for kind in DAMAGE:
            _damage(two, kind)
        bad = two.compare()

    assert bad.exit_status == FINDINGS
    for kind, (verdict, rule) in DAMAGE.items():
        row = bad.rows[f"{kind}/2"]
        assert row["verdict"] == verdict, (kind, bad.stdout)
        assert rule is None or rule in {finding["rule"] for finding in row["findings"]}, kind
        assert bad.verdicts[f"{kind}/1"] == "equivalent", kind
        assert bad.rows[f"{kind}/1"]["findings"] == [], kind
    for kind, field in (("tag", "tags.owner"), ("run", "run")):
        assert [one["field"] for one in bad.rows[f"{kind}/2"]["metadata"]] == [field]


def _damage(two: Two, kind: str) -> None:
    client, on_target = MlflowClient(two.target.uri, two.target.uri), Registry(two.target)
    version = client.get_model_version(kind, "2")
    model = Path(_place(two.target, version.source, client))
    match kind:
        case "dropped":
            client.set_registered_model_tag(kind, "touched", "1")
            client.delete_registered_model_tag(kind, "touched")
            client.delete_registered_model_alias(kind, "champion")
            client.delete_model_version(kind, "2")
        case "emptied":
            shutil.rmtree(model)
            model.mkdir()
        case "one-directory-down":
            on_target.change_row(kind, "2", source=str(model.parent), storage_location=str(model.parent))
        case "not-moved":
            there = two.registry.client.get_model_version(kind, "2").source
            on_target.change_row(kind, "2", source=there, storage_location=there)
        case "byte":
            content = bytearray((model / "model.pkl").read_bytes())
            content[7] ^= 1
            (model / "model.pkl").write_bytes(content)
        case "file-added":
            (model / "code.py").write_text("print()")
        case "requirements":
            (model / "requirements.txt").write_text("mlflow==0.1\n")
        case "mlmodel":
            (model / "MLmodel").write_text((model / "MLmodel").read_text() + "signature: {inputs: '[]'}\n")
        case "tag":
            client.delete_model_version_tag(kind, "2", "owner")
        case "alias":
            client.delete_registered_model_alias(kind, "champion")
        case "stage":
            on_target.change_row(kind, "2", current_stage="None")
        case "description":
            client.update_model_version(kind, "2", "a descrip")
        case "run":
            client.delete_run(version.run_id)
        case "status":
            on_target.change_row(kind, "2", status="FAILED_REGISTRATION")
        case _:
            raise AssertionError(kind)
