"""The migration tools that people use, each in an environment of its own."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.environments import environment
from support.servers import clean_environment

RUN_SECONDS = 600
# What these releases ask for by name and find no longer: SQLAlchemy 2.1 stops the server, setuptools 81 has no
# pkg_resources.
_PINS = ("sqlalchemy<2.1", "setuptools<81")


@dataclass(frozen=True, slots=True)
class Environment:
    python: str  # version
    packages: tuple[str, ...]

    def bin(self) -> Path:
        """Its directory of programs, made where it is missing; the test is skipped where it cannot be made."""
        made = environment(f"tool-{self.packages[0].partition('=')[0]}", self.python, (("install", *self.packages),))
        if isinstance(made, str):
            pytest.skip(f"{self.packages[0]} cannot be installed here: {made}")
        return made.parent


@dataclass(frozen=True, slots=True)
class Tool:
    """One of the export-import family: the same programs under a prefix."""

    environment: Environment
    prefix: str = ""

    def run(self, program: str, tracking_uri: str, directory: Path, *arguments: str) -> int:
        """Its exit status; what it says is kept in the directory, as a person would have it on the screen."""
        log = directory / f"{program}.log"
        with log.open("ab") as output:
            return subprocess.run(
                [str(self.environment.bin() / f"{self.prefix}{program}"), *arguments],
                stdout=output, stderr=subprocess.STDOUT, timeout=RUN_SECONDS, check=False, cwd=directory,
                env=clean_environment() | {"MLFLOW_TRACKING_URI": tracking_uri},
            ).returncode  # fmt: skip

    def migrate(self, source: str, target: str, names: list[str], directory: Path, *export: str) -> tuple[int, int]:
        """Bulk: export the models from one server and import them into another; both exit statuses."""
        exported = str(directory / "exported")
        one = self.run(
            "export-models", source, directory, "--models", ",".join(names), "--output-dir", exported, *export
        )
        return one, self.run("import-models", target, directory, "--input-dir", exported)

    def migrate_singly(self, source: str, target: str, names: list[str], directory: Path) -> list[tuple[int, int]]:
        """Model by model."""
        statuses = []
        for name in names:
            exported = str(directory / f"exported-{name}")
            one = self.run("export-model", source, directory, "--model", name, "--output-dir", exported)
            into = ("--input-dir", exported, "--model", name, "--experiment-name", f"imported-{name}")
            statuses.append((one, self.run("import-model", target, directory, *into)))
        return statuses


EXPORT_IMPORT = Tool(Environment("3.11", ("databricks-mlflow-export-import==1.2.1", "mlflow==3.17.2", *_PINS)))
MLFLOW_MIGRATION = Tool(Environment("3.12", ("mlflow-migration==1.2.2", "mlflow==3.17.2", *_PINS)), "mlflow-migration-")
