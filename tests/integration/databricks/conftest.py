"""Stand-ins for Databricks, and profiles that name them. No profile is the default one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.databricks import StandIn, profiles, stand_in


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
