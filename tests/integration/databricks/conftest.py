"""Stand-ins for Databricks, and profiles that name them. No profile is the default one."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.clouds import Cloud, S3Cloud, azurite, fake_gcs
from support.databricks import StandIn, profiles, stand_in
from support.lending import LENDERS, Lending
from support.outside import outside
from support.s3 import S3Endpoint


@pytest.fixture
def test_env(tmp_path: Path) -> Iterator[StandIn]:
    with stand_in(tmp_path / "test-env", number=1) as service:
        yield service


@pytest.fixture
def prod_env(tmp_path: Path) -> Iterator[StandIn]:
    with stand_in(tmp_path / "prod-env", number=2) as service:
        yield service


@pytest.fixture
def open_catalog(tmp_path: Path) -> Iterator[StandIn]:
    """The open-source Unity Catalog server."""
    with stand_in(tmp_path / "open-catalog", number=3, open_source=True) as service:
        yield service


@pytest.fixture(autouse=True)
def named_profiles(test_env: StandIn, prod_env: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = profiles(tmp_path / "databrickscfg", test_env=test_env, prod_env=prod_env)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(file))
    return file


@pytest.fixture(scope="session")
def emulators(tmp_path_factory: pytest.TempPathFactory, s3_endpoint: S3Endpoint) -> Iterator[Callable[[str], Cloud]]:
    """Of each cloud, started when a test first asks for it."""
    with contextlib.ExitStack() as stack:
        known: dict[str, Cloud] = dict.fromkeys(("s3", "r2"), S3Cloud(s3_endpoint))
        start = {"azure": azurite, "google": fake_gcs}

        def emulator(name: str) -> Cloud:
            if name not in known:
                known[name] = stack.enter_context(start[name](tmp_path_factory.mktemp(name)))  # type: ignore[arg-type]
            return known[name]

        yield emulator


@pytest.fixture
def lending(
    test_env: StandIn, emulators: Callable[[str], Cloud], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Lending]]:
    """`lending("azure")`: Unity Catalog keeps its models in that cloud, and lends credentials for it."""
    with outside(tmp_path / "outside") as world:

        def of(name: str) -> Lending:
            for variable, value in world.environment.items():
                monkeypatch.setenv(variable, value)
            cloud = emulators(name)
            return Lending(test_env, LENDERS[name](cloud, world), cloud, world)

        yield of
