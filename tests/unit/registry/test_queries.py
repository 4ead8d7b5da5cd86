"""Names that MLflow refuses to be asked for are known before it is asked."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import _validate_model_name

from registry_audit.errors import CouldNotVerify
from registry_audit.registry.queries import DownloadUris, is_refused_name


@given(st.text("./: a\\%", max_size=4))
@example("..staging")
@example("Wine.v1..")
def test_law_no_name_that_mlflow_refuses_is_asked_for(name: str) -> None:
    try:
        _validate_model_name(name)
    except MlflowException:
        assert is_refused_name(name)


def test_other_names_are_asked_for() -> None:
    assert not any(map(is_refused_name, ("Wine", "main.ml.wine", ".hidden", "a..b", "a.", "*", "-x", "a%2Fb", "a\\b")))


@pytest.mark.parametrize("name", ["m", "a:b"])
def test_a_download_uri_that_is_no_text_is_no_location(name: str) -> None:
    """SQLite accepts bytes in a column of texts."""
    registry = SimpleNamespace(get_model_version_download_uri=lambda name, version: b"\xff")
    connection: Any = SimpleNamespace(registry=registry, is_databricks=False)
    with pytest.raises(CouldNotVerify, match="is no text"):
        DownloadUris(connection).get(name, "1")


def test_a_location_that_is_no_text_is_not_kept_with_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    served = [(f"m{number}", "1", f"s3://b/{number}" if number else b"\xff") for number in range(9)]
    monkeypatch.setattr("registry_audit.registry.queries.where_served", lambda *_: served)
    registry = SimpleNamespace(get_model_version_download_uri=lambda name, version: f"asked for {name}")
    connection: Any = SimpleNamespace(registry=registry, is_databricks=False)
    uris = DownloadUris(connection)
    uris.prefetch([(name, version) for name, version, _ in served])
    assert (uris.get("m0", "1"), uris.get("m1", "1")) == ("asked for m0", "s3://b/1")
