"""`compare-registries` between real servers: every loss is found, and a good migration is not accused."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from support import warm
from support.migrating import Compared, Migrator, as_text, compare
from support.models import write_model
from support.registry import Registry
from support.servers import MlflowServer, sqlite_store

CLEAN, FINDINGS, USAGE, INCOMPLETE = 0, 1, 2, 3


@pytest.fixture
def migrator(mlflow_a: MlflowServer, mlflow_b: MlflowServer) -> Migrator:
    return Migrator(mlflow_a, mlflow_b)


@pytest.fixture
def registry(mlflow_a: MlflowServer) -> Registry:
    return Registry(mlflow_a)


def _compare(migrator: Migrator, tmp_path: Path, *options: str) -> Compared:
    return compare(migrator.source.tracking_uri, migrator.target.tracking_uri, tmp_path, *options)


def _filled(registry: Registry, count: int, name: str | None = None) -> str:
    name = name or registry.new_name("migrated")
    for seed in range(1, count + 1):
        registry.add(name, seed=seed)
    return name


def test_a_good_migration_is_complete(registry: Registry, migrator: Migrator, tmp_path: Path) -> None:
    name = _filled(registry, 3)
    registry.client.set_registered_model_alias(name, "champion", "2")
    registry.client.set_model_version_tag(name, "2", "owner", "Zoë\nteam")
    registry.client.update_model_version(name, "1", "two\nlines")
    migrator.migrate(name)

    compared = _compare(migrator, tmp_path, "--model", name)

    assert compared.exit_status == CLEAN, compared.stdout
    assert set(compared.verdicts.values()) == {"equivalent"}
    assert "0 of 3 versions are in the target unchanged, 3 explained." in compared.stdout
    assert compared.document["summary"]["complete"] is True
    row = compared.rows[f"{name}/2"]
    assert row["found_by"] == "same_number"
    (difference,) = row["differences"]
    assert (difference["path"], difference["expected_by"], difference["fields"]) == (
        "MLmodel", "mlmodel-provenance", ["run_id"],
    )  # fmt: skip
    assert compared.rules == set()


def test_twelve_versions_arrive_in_the_order_of_their_text(
    registry: Registry, migrator: Migrator, tmp_path: Path
) -> None:
    name = _filled(registry, 12)
    registry.client.set_registered_model_alias(name, "ten", "10")
    migrator.migrate(name, order=as_text)

    compared = _compare(migrator, tmp_path, "--model", name)

    assert set(compared.verdicts.values()) == {"equivalent"}
    assert compared.rows[f"{name}/10"]["target"]["version"] == "2"
    assert compared.rows[f"{name}/10"]["found_by"] == "content"
    (model,) = compared.document["models"]
    assert [finding["rule"] for finding in model["findings"]] == ["RA022", "RA024"]
    assert "11 of 12 renumbered: numbers were sorted as text" in model["findings"][1]["message"]
    assert "order of creation" in model["findings"][0]["message"]
    assert compared.exit_status == FINDINGS
    assert _compare(migrator, tmp_path, "--model", name, "--fail-on", "high").exit_status == CLEAN


def test_what_is_lost_is_found(registry: Registry, migrator: Migrator, tmp_path: Path) -> None:
    name = _filled(registry, 4)
    migrator.migrate(name, order=lambda versions: [one for one in versions if one.version != "2"])

    compared = _compare(migrator, tmp_path, "--model", name, "--one-way")

    assert compared.exit_status == FINDINGS
    assert compared.verdicts[f"{name}/2"] == "missing"
    assert [compared.rows[f"{name}/{n}"]["target"]["version"] for n in (1, 3, 4)] == ["1", "2", "3"]
    assert "0 of 4 versions are in the target unchanged, 3 explained, 1 missing." in compared.stdout
    assert compared.stdout.startswith("Not complete\n")
    assert {"RA020", "RA024"} <= compared.rules


def test_a_model_without_versions_in_the_target_has_lost_them_all(
    registry: Registry, migrator: Migrator, tmp_path: Path
) -> None:
    name = _filled(registry, 2)
    migrator.migrate(name, order=lambda versions: [])

    compared = _compare(migrator, tmp_path, "--model", name)

    assert set(compared.verdicts.values()) == {"missing"}
    assert compared.exit_status == FINDINGS


@pytest.mark.parametrize("damage", ["flip", "remove", "add"])
def test_what_changed_on_its_way_is_named(registry: Registry, migrator: Migrator, tmp_path: Path, damage: str) -> None:
    name = _filled(registry, 2)

    def change(model: Path, version: ModelVersion) -> None:
        if version.version != "2":
            return
        if damage == "remove":
            (model / "data" / "vocabulary.txt").unlink()
        elif damage == "add":
            (model / "extra.txt").write_text("not there before")
        else:
            content = bytearray((model / "model.pkl").read_bytes())
            content[7] ^= 1
            (model / "model.pkl").write_bytes(content)

    migrator.migrate(name, change=change)
    compared = _compare(migrator, tmp_path, "--model", name)

    assert compared.exit_status == FINDINGS
    assert compared.verdicts == {f"{name}/1": "equivalent", f"{name}/2": "mismatch"}
    row = compared.rows[f"{name}/2"]
    # A changed model.pkl is nearly all of the model: what is left is too little to know it by.
    assert row["found_by"] == ("number_only" if damage == "flip" else "shared_files")
    path = {"flip": "model.pkl", "remove": "data/vocabulary.txt", "add": "extra.txt"}[damage]
    assert path in {difference["path"] for difference in row["differences"] if not difference["expected_by"]}
    assert "RA021" in {finding["rule"] for finding in row["findings"]}


def test_a_file_that_only_has_the_name_of_mlflows_mark(registry: Registry, migrator: Migrator, tmp_path: Path) -> None:
    """`registered_model_meta` is explained where it says what MLflow writes in it, and nowhere else."""
    name = _filled(registry, 3)
    theirs = yaml.safe_dump({"model_name": name, "model_version": "1"})
    said = {"1": theirs, "2": "import os", "3": theirs + "command: 'sh'\n"}

    def change(model: Path, version: ModelVersion) -> None:
        (model / "registered_model_meta").write_text(said[version.version])

    migrator.migrate(name, change=change)
    compared = _compare(migrator, tmp_path, "--model", name)

    assert compared.exit_status == FINDINGS
    assert compared.verdicts == {f"{name}/1": "equivalent", f"{name}/2": "mismatch", f"{name}/3": "mismatch"}
    for number in ("2", "3"):
        row = compared.rows[f"{name}/{number}"]
        assert [finding["rule"] for finding in row["findings"]] == ["RA021"]
        assert "'registered_model_meta'" in row["findings"][0]["message"]


def test_changed_requirements_and_signatures_are_named(registry: Registry, migrator: Migrator, tmp_path: Path) -> None:
    name = _filled(registry, 1)

    def change(model: Path, version: ModelVersion) -> None:
        (model / "requirements.txt").write_text("mlflow==2.0\n")
        (model / "MLmodel").write_text((model / "MLmodel").read_text() + "signature: {inputs: '[]'}\n")

    migrator.migrate(name, change=change)
    row = _compare(migrator, tmp_path, "--model", name).rows[f"{name}/1"]

    fields = {difference["path"]: difference["fields"] for difference in row["differences"]}
    assert "+mlflow==2.0" in fields["requirements.txt"]
    assert fields["MLmodel"] == ["run_id", "signature"]


def test_a_model_that_arrived_one_directory_down(registry: Registry, migrator: Migrator, tmp_path: Path) -> None:
    name = _filled(registry, 2)
    migrator.migrate(name, one_directory_down=True)

    compared = _compare(migrator, tmp_path, "--model", name)

    assert compared.exit_status == FINDINGS
    for row in compared.rows.values():
        assert (row["verdict"], row["found_by"], row["one_directory_down"]) == (
            "mismatch", "one_directory_down", "model",
        )  # fmt: skip
        assert "arrived one directory down: all 7 files are there under model/" in row["findings"][0]["message"]
    assert "one directory down" in compared.stdout


def test_metadata_that_was_left_behind(registry: Registry, migrator: Migrator, tmp_path: Path) -> None:
    name = _filled(registry, 1)
    registry.client.set_registered_model_alias(name, "champion", "1")
    registry.client.set_model_version_tag(name, "1", "owner", "risk")
    registry.client.update_model_version(name, "1", "a description")
    migrator.migrate(name, metadata=False)

    compared = _compare(migrator, tmp_path, "--model", name)

    assert compared.exit_status == FINDINGS
    assert compared.stdout.startswith("Complete, with differences\n")
    fields = {field["field"]: (field["source"], field["target"]) for field in compared.rows[f"{name}/1"]["metadata"]}
    assert fields == {
        "aliases": ("champion", "none"), "tags.owner": ("risk", "none"), "description": ("a description", "none"),
    }  # fmt: skip


@pytest.mark.parametrize("hidden", ["source", "target"])
def test_what_is_said_of_a_model_that_mlflow_hides_is_compared(tmp_path: Path, hidden: str) -> None:
    """A prompt's tag takes a registered model out of MLflow's lists, not out of the registry."""
    registries = {}
    for side in ("source", "target"):
        (tmp_path / side).mkdir()
        registries[side] = registry = Registry(sqlite_store(tmp_path / side))
        registry.client.create_registered_model("Wine", {"owner": "ours"}, "red" if side == "source" else None)
        registry.add("Wine", seed=1)
    registries[hidden].client.set_registered_model_tag("Wine", "mlflow.prompt.is_prompt", "true")

    compared = compare(*(registries[side].server.uri for side in ("source", "target")), tmp_path)

    assert compared.verdicts == {"Wine/1": "equivalent"}
    (model,) = compared.document["models"]
    assert [finding["message"] for finding in model["findings"]] == [
        "description: red in the source, none in the target"
    ]
    assert compared.exit_status == FINDINGS


def test_names_stages_and_versions_are_mapped(registry: Registry, migrator: Migrator, tmp_path: Path) -> None:
    name = _filled(registry, 2)
    registry.change_row(name, "1", current_stage="Production")
    migrator.migrate(name, f"main.ml.{name}")
    migrator.target.set_registered_model_alias(f"main.ml.{name}", "live", "1")
    mapping = tmp_path / "map.txt"
    mapping.write_text("# ours\n* -> main.ml.*\nstage:Production -> @live\n")

    compared = _compare(migrator, tmp_path, "--model", name, "--map", str(mapping))

    assert compared.exit_status == CLEAN, compared.stdout
    assert f"{name}/1 -> main.ml.{name}/1" in compared.stdout

    mapping.write_text(f"* -> main.ml.*\nstage:Production -> @live\n{name}/1 -> main.ml.{name}/2\n")
    crossed = _compare(migrator, tmp_path, "--model", name, "--map", str(mapping))
    assert crossed.rows[f"{name}/1"]["found_by"] == "map"
    assert crossed.verdicts[f"{name}/1"] == "mismatch"


def test_what_the_target_alone_has(
    registry: Registry, migrator: Migrator, mlflow_b: MlflowServer, tmp_path: Path
) -> None:
    name = _filled(registry, 1)
    migrator.migrate(name)
    on_target = Registry(mlflow_b)
    on_target.add(name, seed=99)

    both_ways = _compare(migrator, tmp_path, "--model", name)
    one_way = _compare(migrator, tmp_path, "--model", name, "--one-way")

    assert both_ways.verdicts[f"{name}/2"] == "only_in_target"
    assert "RA023" in both_ways.rules
    assert one_way.exit_status == CLEAN
    assert set(one_way.verdicts) == {f"{name}/1"}


def test_twins_are_told_apart_and_said_to_be(registry: Registry, migrator: Migrator, tmp_path: Path) -> None:
    name = registry.new_name("twins")
    for owner in ("a", "b", "c"):
        version = registry.add(name, seed=7).version
        registry.client.set_model_version_tag(name, version, "owner", owner)
    migrator.migrate(name, order=lambda versions: list(reversed(versions)))

    compared = _compare(migrator, tmp_path, "--model", name, "--fail-on", "high")

    assert [compared.rows[f"{name}/{n}"]["target"]["version"] for n in (1, 2, 3)] == ["3", "2", "1"]
    assert all(row["metadata"] == [] for row in compared.rows.values())
    assert "1 of 3 with this content, told apart by" in compared.stdout
    assert compared.exit_status == CLEAN


def test_copied_within_one_registry_is_not_moved(registry: Registry, mlflow_a: MlflowServer, tmp_path: Path) -> None:
    """`copy_model_version` copies no byte: its target is the source's storage."""
    name = _filled(registry, 1)
    copy = registry.new_name("copied")
    registry.client.copy_model_version(f"models:/{name}/1", copy)
    mapping = tmp_path / "map.txt"
    mapping.write_text(f"{name} -> {copy}\n")

    compared = compare(mlflow_a.uri, mlflow_a.uri, tmp_path, "--model", name, "--map", str(mapping))

    assert compared.exit_status == INCOMPLETE
    assert compared.verdicts == {f"{name}/1": "same_storage"}
    assert "0 of 1 version is in the target unchanged, 1 not moved." in compared.stdout
    in_place = compare(mlflow_a.uri, mlflow_a.uri, tmp_path, "--model", name, "--map", str(mapping), "--in-place")
    assert in_place.exit_status == CLEAN


@pytest.mark.parametrize("kind", ["runs", "absolute", "logged"])
def test_the_storage_of_a_model_that_is_not_compared_is_not_moved_either(tmp_path: Path, kind: str) -> None:
    """With `--model` the other models of the source are not read, and a target may be served from theirs."""
    stores = [sqlite_store(tmp_path / name) for name in ("source", "target") if (tmp_path / name).mkdir() is None]
    source, target = map(Registry, stores)
    logged = source.log_logged_model(seed=1) if kind == "logged" else source.log_run_model(seed=1)
    source.add("Other", logged=logged)
    if kind == "runs":
        source.change_row("Other", "1", source=f"runs:/{logged.run_id}/model")
    source.add("Wine", logged=source.log_run_model(seed=1))
    target.register("Wine", logged.location)

    compared = compare(stores[0].uri, stores[1].uri, tmp_path, "--model", "Wine", "--fail-on", "high")

    assert compared.verdicts == {"Wine/1": "same_storage"}, compared.stdout
    assert compared.exit_status == INCOMPLETE


def test_a_model_without_versions_that_has_the_tag_of_a_prompt_is_compared(tmp_path: Path) -> None:
    """No list of MLflow's shows it, and anybody may set the tag. A prompt has versions with a text."""
    stores = [sqlite_store(tmp_path / name) for name in ("source", "target") if (tmp_path / name).mkdir() is None]
    source, target = map(Registry, stores)
    for registry in (source, target):
        registry.add("Wine", seed=1)
    source.client.create_registered_model("Lost")
    for registry, said in ((source, "before"), (target, "after")):
        registry.client.create_registered_model("Kept", description=said)
        registry.client.register_prompt("prompt", "Say {{ it }}")
    for registry, name in ((source, "Lost"), (source, "Kept"), (target, "Kept")):
        registry.client.set_registered_model_tag(name, "mlflow.prompt.is_prompt", "true")

    compared = compare(stores[0].uri, stores[1].uri, tmp_path)

    found = {row["source"]: [finding["rule"] for finding in row["findings"]] for row in compared.document["models"]}
    assert found == {"Wine": [], "Lost": ["RA020"], "Kept": ["RA022"]}, compared.stdout
    assert compared.exit_status == FINDINGS
    assert "1 in the source, 1 in the target" in compared.stdout


def test_one_server_under_two_names_is_not_moved(registry: Registry, mlflow_a: MlflowServer, tmp_path: Path) -> None:
    """Behind its proxy nobody sees where the files are: equal bytes under equal paths are no copy."""
    name = _filled(registry, 2)
    other_name = mlflow_a.uri.replace("127.0.0.1", "localhost")

    compared = compare(mlflow_a.uri, other_name, tmp_path, "--model", name)

    assert compared.exit_status == INCOMPLETE, compared.stdout
    assert set(compared.verdicts.values()) == {"same_storage"}
    assert "0 of 2 versions are in the target unchanged, 2 not moved." in compared.stdout
    assert "compare the artifact destinations of the two servers" in compared.stdout

    sides = [{"host": host, "model": name, "version_or_stage": "1"} for host in (mlflow_a.uri, other_name)]
    config = tmp_path / "compare.yaml"
    config.write_text(yaml.safe_dump({"tracking_server_1": sides[0], "tracking_server_2": sides[1]}))
    command = [sys.executable, "-m", "registry_audit", "compare", "--config-file", str(config), "--format", "json"]
    command += ["--download-dir", str(tmp_path / "files"), "--ledger", "none"]
    done = warm.run(command, capture_output=True, text=True, cwd=tmp_path)
    report = json.loads(done.stdout)
    assert report["Run_Model_Comparison"]["verdict"] == report["Reg_Model_Comparison"]["verdict"] == "same_storage"


def test_a_target_that_cannot_serve_is_no_pass(
    registry: Registry, migrator: Migrator, mlflow_b: MlflowServer, tmp_path: Path
) -> None:
    name = _filled(registry, 2)
    migrator.migrate(name)
    with mlflow_b.artifacts.edit(migrator.target.get_model_version(name, "2").source) as directory:
        for inside in list(directory.iterdir()):
            shutil.rmtree(inside) if inside.is_dir() else inside.unlink()

    compared = _compare(migrator, tmp_path, "--model", name)

    assert compared.exit_status == FINDINGS, compared.stdout
    assert compared.verdicts == {f"{name}/1": "equivalent", f"{name}/2": "mismatch"}
    assert {"RA003", "RA021"} <= compared.rules


@pytest.fixture
def database(tmp_path: Path) -> MlflowServer:
    (tmp_path / "one").mkdir()
    return sqlite_store(tmp_path / "one")


def test_a_database_copied_with_its_storage_left_behind(database: MlflowServer, tmp_path: Path) -> None:
    registry = Registry(database)
    name = _filled(registry, 2)
    copied = tmp_path / "two.db"
    shutil.copy(database.db_uri.removeprefix("sqlite:///"), copied)

    compared = compare(database.uri, f"sqlite:///{copied}", tmp_path)

    assert compared.exit_status == INCOMPLETE
    assert compared.verdicts == {f"{name}/1": "same_storage", f"{name}/2": "same_storage"}
    assert compared.stdout.startswith("Not proved\n")
    assert "deleting the source destroys them" in compared.stdout


@pytest.mark.parametrize("forgotten", [None, "storage_location"])
def test_a_database_copied_with_its_storage_moved(
    database: MlflowServer, tmp_path: Path, forgotten: str | None
) -> None:
    import sqlite3

    registry = Registry(database)
    name = _filled(registry, 2)
    copied, old, new = tmp_path / "two.db", database.artifact_root, str(tmp_path / "moved")
    shutil.copy(database.db_uri.removeprefix("sqlite:///"), copied)
    shutil.copytree(old, new)
    with sqlite3.connect(copied) as connection:
        for table, column in (
            ("model_versions", "source"), ("model_versions", "storage_location"), ("runs", "artifact_uri"),
            ("experiments", "artifact_location"), ("logged_models", "artifact_location"),
        ):  # fmt: skip
            if column != forgotten:
                connection.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (old, new))
    connection.close()

    compared = compare(database.uri, f"sqlite:///{copied}", tmp_path)

    if forgotten:
        assert set(compared.verdicts.values()) == {"same_storage"}, compared.stdout
        assert compared.exit_status == INCOMPLETE
        assert "one of its two locations is still served from the source's storage" in compared.stdout
    else:
        assert compared.verdicts == {f"{name}/1": "match", f"{name}/2": "match"}
        assert compared.exit_status == CLEAN
        assert "2 of 2 versions are in the target unchanged." in compared.stdout


@pytest.mark.parametrize("damage", ["version", "model"])
def test_a_file_store_is_read_from_its_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """MLflow's own migration passes over what it cannot list, counts its target with itself, and ends with 0."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    store, database = tmp_path / "mlruns", f"sqlite:///{tmp_path / 'target.db'}"
    client = MlflowClient(f"file://{store}", f"file://{store}")
    experiment = client.create_experiment("models")
    for name, seed in (("Wine", 1), ("Wine", 2), ("Zeta", 3)):
        run = client.create_run(experiment).info
        model = write_model(tmp_path / f"model-{seed}", seed=seed, run_id=run.run_id)
        client.log_artifacts(run.run_id, str(model), "model")
        if seed != 2:
            client.create_registered_model(name)
        client.create_model_version(name, f"{run.artifact_uri}/model", run.run_id, await_creation_for=0)
    if damage == "version":
        (store / "models" / "Wine" / "version-2" / "meta.yaml").write_text("{")
        lost = {"Wine/2"}
    else:
        (store / "models" / "Wine" / "meta.yaml").unlink()
        lost = {"Wine/1", "Wine/2"}
    migrate = [sys.executable, "-m", "mlflow", "migrate-filestore", "--source", str(store), "--target", database]
    assert warm.run(migrate, capture_output=True).returncode == 0

    compared = compare(f"file://{store}", database, tmp_path)

    assert compared.exit_status == FINDINGS, compared.stdout + compared.stderr
    verdicts = compared.verdicts
    assert {label for label, verdict in verdicts.items() if verdict == "missing"} == lost
    assert verdicts["Zeta/1"] == "same_storage"
    assert "equivalent" not in verdicts.values()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("source: {host: a}", "target is missing"),
        ("source: {host: a}\ntarget: {}", "has no host"),
        ("source: {host: a}\ntarget: {host: b, model: c}", "unknown key 'model'"),
        ("source: {host: a}\nsource: {host: b}", "given twice"),
        ("[]", "give source and target"),
    ],
)
def test_a_wrong_configuration_names_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    command = [sys.executable, "-m", "registry_audit", "compare-registries", "--config-file", str(tmp_path / "c.yaml")]
    done = warm.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == USAGE
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("limit", ["--max-versions", "--max-bytes"])
def test_a_limit_holds_for_both_registries(
    mlflow_a: MlflowServer, mlflow_b: MlflowServer, tmp_path: Path, limit: str
) -> None:
    registry = Registry(mlflow_a)
    name = registry.add().name
    registry.add(name, seed=1)
    Migrator(mlflow_a, mlflow_b).migrate(name)
    compared = compare(mlflow_a.uri, mlflow_b.uri, tmp_path, "--model", name, limit, "1")
    assert compared.exit_status == 3
    assert limit in compared.stdout + compared.stderr, compared.stdout + compared.stderr
    if limit == "--max-bytes":
        assert set(compared.verdicts.values()) == {"unverifiable"}


def test_a_file_store_that_is_listed_by_its_directories_has_the_same_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the bound breaks off MLflow's own listing, the directories are no way around it."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    store = tmp_path / "mlruns"
    client = MlflowClient(store.as_uri(), store.as_uri())
    client.create_registered_model("Wine")
    model = write_model(tmp_path / "model", seed=1)
    for _ in range(2):
        client.create_model_version("Wine", model.as_uri(), await_creation_for=0)
    compared = compare(store.as_uri(), store.as_uri(), tmp_path, "--max-versions", "1")
    assert compared.exit_status == 3
    assert "it lists more than 1 (--max-versions)" in compared.stderr
