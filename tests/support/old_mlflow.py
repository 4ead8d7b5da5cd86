"""MLflow releases that people run: each in an environment of its own, made once for all test runs of a machine."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.environments import environment

# MLflow's basic-auth app, the S3 client of its proxy; not every release names them among its own requirements.
_MORE = ("flask-wtf<2", "boto3>=1.28")


@dataclass(frozen=True, slots=True)
class Release:
    """One release, and what a machine needs to run it today."""

    version: str
    python: str = "3.11"
    pins: tuple[str, ...] = ("sqlalchemy<2.1",)  # they import what 2.1 dropped
    on_top_of: str | None = None  # a release whose dependencies it takes: the index does not have all of its own

    @property
    def number(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.version.split("."))


RELEASES = {
    release.version: release
    for release in (
        # Written before numpy 2, pandas 2 and SQLAlchemy 2; its pyarrow has no wheel for Python 3.11.
        Release("1.30.1", "3.10", ("setuptools<81", "sqlalchemy<2", "numpy<2", "pandas<2")),
        Release("2.9.2", "3.10", ("setuptools<81", "sqlalchemy<2.1")),
        Release("2.22.5"),
        Release("3.1.4"),
        Release("3.5.1"),
        Release("3.10.1"),
        Release("3.16.1"),
        Release("3.17.2"),
        # It wants mlflow-skinny of its own version, which is in no index; it holds all of MLflow by itself.
        Release("3.18.0", on_top_of="3.17.2"),
    )
}


def old_mlflow(version: str) -> Path:
    """The Python of an environment with this MLflow. The test is skipped where none can be made."""
    release = RELEASES[version]
    says_so = f"import mlflow; assert mlflow.__version__ == '{version}'"
    made = environment(f"mlflow-{version}", release.python, tuple(_installing(release)), says_so)
    if isinstance(made, str):
        pytest.skip(f"MLflow {version} cannot be installed here: {made}")
    return made


def _installing(release: Release) -> Iterator[tuple[str, ...]]:
    if release.on_top_of is None:
        yield ("install", f"mlflow=={release.version}", *release.pins, *_MORE)
        return
    yield ("install", f"mlflow=={release.on_top_of}", *release.pins, *_MORE)
    yield ("uninstall", "mlflow", "mlflow-skinny", "mlflow-tracing")
    yield ("install", "--no-deps", f"mlflow=={release.version}")
