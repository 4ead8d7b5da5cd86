"""A server of an MLflow release that people run, with a registry that its own client filled."""

import json
import os
import shutil
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from support.old_mlflow import Release, old_mlflow
from support.servers import MlflowServer, mlflow_server

_FILL = Path(__file__).with_name("fill_old_mlflow.py")
_FILL_SECONDS = 600


class OldServer:
    """One release with a registry of its own, whose server is started as often as it is needed."""

    def __init__(self, release: Release, directory: Path) -> None:
        self.release, self.directory = release, directory
        self.python = old_mlflow(release.version)
        self.made: dict[str, list[str]] = {}
        directory.mkdir()

    @property
    def database(self) -> Path:
        return self.directory / "mlflow.db"

    def serve(self, **options: Any) -> AbstractContextManager[MlflowServer]:
        before_2 = self.release.number < (2,)
        return mlflow_server(self.directory, python=self.python, before_2=before_2, **options)

    def own_client(self, server: MlflowServer, what: str) -> dict[str, list[str]]:
        """Let the release's own client do something, by `fill_old_mlflow.py`."""
        scratch = self.directory.parent / f"client-{what}"
        scratch.mkdir()
        script = shutil.copy(_FILL, scratch)  # away from modules whose names are those of libraries
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MLFLOW_"))}
        environment |= {
            "MLFLOW_TRACKING_URI": server.uri,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "GIT_PYTHON_REFRESH": "quiet",
            "SETUPTOOLS_USE_DISTUTILS": "stdlib",  # what 1.30 copies directories with, and newer ones replaced
        }
        done = subprocess.run(
            [str(self.python), str(script), what],
            capture_output=True,
            text=True,
            check=False,
            timeout=_FILL_SECONDS,
            cwd=scratch,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
        return found

    def fill(self, server: MlflowServer) -> None:
        self.made = self.own_client(server, "fill")

    def damage(self, server: MlflowServer) -> None:
        self.own_client(server, "damage")
        _run_id, place = self.made["Lost"]
        shutil.rmtree(server.artifacts.path(f"{place}/model"))
