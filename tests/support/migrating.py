"""A migration by MLflow's client alone, as the export-import tools do it, with their known defects to order."""

import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from support import warm
from support.auditing import SECONDS, Done
from support.servers import MlflowServer

RewriteModel = Callable[[Path, ModelVersion], None]


class Compared(Done):
    @property
    def document(self) -> dict[str, Any]:
        return self.report("migration.json")

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """By the label of the source's version, or of the target's where there is none."""
        found = {}
        for row in self.document["versions"]:
            side = row["source"] or row["target"]
            found[f"{side['name']}/{side['version']}"] = row
        return found

    @property
    def verdicts(self) -> dict[str, str]:
        return {label: row["verdict"] for label, row in self.rows.items()}

    @property
    def rules(self) -> set[str]:
        return set(self.document["summary"]["findings"])


def compare(source: str, target: str, directory: Path, *options: str) -> Compared:
    """Run the command in a process of its own."""
    config = directory / "migration.yaml"
    config.write_text(yaml.safe_dump({"source": {"host": source}, "target": {"host": target}}), encoding="utf-8")
    reports = Path(tempfile.mkdtemp(dir=directory))
    command = [sys.executable, "-m", "registry_audit", "compare-registries", "--config-file", str(config)]
    done = warm.run(
        [*command, "--report-dir", str(reports), *options],
        capture_output=True, text=True, timeout=SECONDS, cwd=directory,
    )  # fmt: skip
    return Compared(done.returncode, done.stdout, done.stderr, reports)


def rewrite_run_id(model: Path, run_id: str) -> None:
    """What every export-import tool does to MLmodel: another run, and YAML written anew."""
    file = model / "MLmodel"
    fields = yaml.safe_load(file.read_text(encoding="utf-8"))
    fields["run_id"] = run_id
    file.write_text(yaml.safe_dump(fields, sort_keys=True), encoding="utf-8")


class Migrator:
    """Copies registered models from one server to another, version by version, into new runs."""

    def __init__(self, source: MlflowServer, target: MlflowServer) -> None:
        self.source = MlflowClient(source.uri, source.uri)
        self.target = MlflowClient(target.uri, target.uri)
        self._location = target.artifacts.location
        self._experiment: str | None = None

    def versions(self, name: str) -> list[ModelVersion]:
        found = self.source.search_model_versions(f"name='{name}'")
        return sorted(found, key=lambda version: int(version.version))

    def migrate(
        self,
        name: str,
        to: str | None = None,
        *,
        order: Callable[[list[ModelVersion]], Iterable[ModelVersion]] = lambda versions: versions,
        change: RewriteModel = lambda directory, version: None,
        one_directory_down: bool = False,
        metadata: bool = True,
    ) -> None:
        """Migrate one model.

        Args:
            order: chooses and orders the versions that are brought over.
            change: damages a model on its way.
            one_directory_down: register the run's artifact root, as the tools do for `runs:/` sources.
        """
        to = to or name
        model = self.source.get_registered_model(name)
        self.target.create_registered_model(to, dict(model.tags), model.description)
        for version in order(self.versions(name)):
            run_id, source = self._copy(version, change, one_directory_down=one_directory_down)
            tags, description = (dict(version.tags), version.description) if metadata else ({}, None)
            new = self.target.create_model_version(to, source, run_id, tags=tags, description=description)
            if metadata:
                for alias, number in dict(model.aliases).items():
                    if str(number) == str(version.version):
                        self.target.set_registered_model_alias(to, alias, str(new.version))

    def _copy(self, version: ModelVersion, change: RewriteModel, *, one_directory_down: bool) -> tuple[str, str]:
        if self._experiment is None:
            name = f"migrated-{version.name}"
            self._experiment = self.target.create_experiment(name, artifact_location=self._location(name))
        run = self.target.create_run(self._experiment)
        run_id = run.info.run_id
        with tempfile.TemporaryDirectory() as scratch:
            downloaded = Path(self.source.download_artifacts(version.run_id, "model", scratch))
            rewrite_run_id(downloaded, run_id)
            change(downloaded, version)
            self.target.log_artifacts(run_id, str(downloaded), "model")
        self.target.set_terminated(run_id)
        root = str(run.info.artifact_uri)
        return run_id, root if one_directory_down else f"{root}/model"


def as_text(versions: list[ModelVersion]) -> list[ModelVersion]:
    """The order in which every tool of the export-import family brings versions over: 1, 10, 11, 2, ..."""
    return sorted(versions, key=lambda version: str(version.version))
