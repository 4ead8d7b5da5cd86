"""What is made of a server that does not know LoggedModels."""

from types import SimpleNamespace
from typing import Any

import pytest

from registry_audit.net.rest import NoSuchRoute
from registry_audit.registry.runs import Runs


class Client:
    """One run, on a server that offers no search for LoggedModels."""

    def get_run(self, run_id: str) -> Any:
        info = SimpleNamespace(lifecycle_stage="active", experiment_id="0", artifact_uri="s3://bucket/run/artifacts")
        return SimpleNamespace(info=info)

    def search_logged_models(self, *_: object, **__: object) -> Any:
        raise NoSuchRoute("could not search the LoggedModels: the server does not offer it (404)")


def roots(version: str | None, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.setattr("registry_audit.registry.runs.server_version", lambda _: version)
    connection: Any = SimpleNamespace(client=Client(), has_runs_in_databricks=False)
    return Runs(connection).artifact_roots("0" * 32, "model")


def test_before_3_the_directory_of_the_run_is_the_whole_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert roots("2.22.5", monkeypatch) == ("s3://bucket/run/artifacts/model",)


@pytest.mark.parametrize(
    ("version", "says"), [("3.1.4", r"offer it \(404\)$"), (None, "has to be upgraded to 2.1 or newer$")]
)
def test_else_nothing_is_known(version: str | None, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoSuchRoute, match=says):
        roots(version, monkeypatch)
