"""The wheel beside the oldest and the newest MLflow and Prefect that it allows: it moves neither, and audits."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.environments import find_python, find_uv

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

CHECKOUT = Path(__file__).parents[2]
SECONDS = 3000
EXTRAS = "azure,blake3,dask,databricks,dsse,gcs,mysql,postgres,s3,signing,timestamp"
TESTS_NEED = ("pytest>=8.3", "pytest-cov", "pytest-timeout", "hypothesis", "moto[s3,server]", "psutil")
TESTED = ("registry", "stores")  # the rooms that meet MLflow


@dataclass(frozen=True, slots=True)
class End:
    python: str
    mlflow: str
    prefect: str | None


ENDS = [
    End("3.11", "3.0.0", "3.8.0"),
    End("3.13", "3.17.2", "3.9.1"),
    # MLflow 3.5 and older want a pyarrow that has no build for this Python.
    End("3.14", "3.6.0", "3.8.0"),
    End("3.14", "3.17.2", "3.9.1"),
]


class Beside:
    """An environment with an MLflow and perhaps a Prefect, and then the wheel."""

    def __init__(self, end: End, wheel: Path, directory: Path, *, extras: str) -> None:
        uv = find_uv()
        base = uv and find_python(uv, end.python)
        if not uv or not base:
            pytest.skip(f"there is no Python {end.python} on the PATH" if uv else "there is no uv")
        self._uv, self.scripts, self._directory = uv, directory / "bin", directory.parent
        self.run(uv, "venv", "--quiet", "--python", base, str(directory))
        self.install(f"mlflow=={end.mlflow}", *([f"prefect=={end.prefect}"] if end.prefect else []))
        self.before = self.installed()
        self.install(f"{wheel}{extras}")
        self.after = self.installed()

    def install(self, *what: str) -> None:
        self.run(self._uv, "pip", "install", "--quiet", "--python", str(self.scripts / "python"), *what)

    def installed(self) -> dict[str, str]:
        listed = self.run(self._uv, "pip", "freeze", "--python", str(self.scripts / "python"))
        return dict(line.split("==") for line in listed.splitlines() if "==" in line)

    def run(self, *command: str, directory: Path | None = None) -> str:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=SECONDS, cwd=directory or self._directory
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout


@pytest.mark.parametrize("end", ENDS, ids=lambda end: f"mlflow-{end.mlflow}-prefect-{end.prefect}-python-{end.python}")
def test_it_moves_nothing_and_audits(end: End, built, tmp_path: Path) -> None:
    beside = Beside(end, built.wheel, tmp_path / "environment", extras=f"[{EXTRAS}]")
    for name in ("mlflow", "prefect"):
        assert beside.after[name] == beside.before[name]
    checkout = tmp_path / "checkout"  # what it has beside the library, which is the wheel's
    for name in ("flows", "tasks"):
        shutil.copytree(CHECKOUT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    # The flow, on an embedded server of this Prefect. Fails by itself unless exactly the damage of the demo is found.
    demo = ("-m", "registry_audit", "demo", "--flow", "--dir", str(tmp_path / "demo"))
    beside.run(str(beside.scripts / "python"), *demo, directory=checkout)
    beside.install(*TESTS_NEED)
    rooms = [str(CHECKOUT / "tests" / "unit" / room) for room in TESTED]
    # The program and not `python -m`: the checkout must not be imported in the wheel's place.
    options = ("-q", "-m", "not slow and not postgres", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'unit'}")
    beside.run(str(beside.scripts / "pytest"), *options, *rooms, directory=CHECKOUT)


@pytest.mark.parametrize(("python", "mlflow"), [("3.11", "3.0.0"), ("3.11", "3.17.2"), ("3.14", "3.17.2")])
def test_the_wheel_alone_moves_no_package_at_all(python: str, mlflow: str, built, tmp_path: Path) -> None:
    beside = Beside(End(python, mlflow, None), built.wheel, tmp_path / "environment", extras="")
    assert beside.before.items() <= beside.after.items()
    assert "0.1.0" in beside.run(str(beside.scripts / "registry-audit"), "--version")
