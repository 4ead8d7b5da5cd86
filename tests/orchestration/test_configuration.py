"""Parameters, environment, variables, Secret blocks: which wins, and that no secret stays anywhere but in its block."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.blocks.system import Secret
from prefect.variables import Variable
from support.faulty_proxy import faulty_proxy
from support.postgres import postgres_database
from support.registry import Registry
from support.servers import MlflowServer

from flows.audit_registry import audit_registry
from flows.check_model_version import check_model_version
from flows.compare_model_versions import compare_model_versions
from flows.compare_registries import compare_registries
from tasks import configuration
from tasks.configuration import LEDGER, TRACKING_URI, configured_uri

from .conftest import FlowRun, PrefectServer, RunFlow

NAMES = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


@pytest.fixture(autouse=True)
def nothing_configured(prefect_server: PrefectServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (*NAMES, LEDGER):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(configuration, "_from_blocks", {})
    yield
    for kind in ("variables", "block_documents"):
        for row in prefect_server.post(f"{kind}/filter"):
            prefect_server.delete(f"{kind}/{row['id']}")
    for name in configuration._from_blocks:
        os.environ.pop(name, None)  # not by `monkeypatch`, which would put back what the test left


def secret(name: str, value: object) -> None:
    Secret(value=value).save(name, overwrite=True)  # type: ignore[arg-type]


def test_which_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured_uri(LEDGER) is None
    secret("registry-audit-ledger", "sqlite:////of/block.db")
    assert configured_uri(LEDGER) == "sqlite:////of/block.db"
    Variable.set("registry_audit_ledger", "sqlite:////of/variable.db")
    assert configured_uri(LEDGER) == "sqlite:////of/variable.db"
    monkeypatch.setenv(LEDGER, "sqlite:////of/environment.db")
    assert configured_uri(LEDGER) == "sqlite:////of/environment.db"


def test_a_parameter_wins_and_a_variable_configures_a_worker(run_flow: RunFlow, registry: Registry) -> None:
    version = registry.add(separate=True)
    Variable.set("registry_audit_ledger", "none")
    Variable.set("registry_audit_tracking_uri", registry.server.uri)
    run = run_flow(check_model_version, model=version.name, version_or_stage="1")
    assert run.ended_as == ("COMPLETED", "Completed")
    assert run_flow(audit_registry, models=[version.name]).ended_as == ("COMPLETED", "Completed")
    elsewhere = run_flow(audit_registry, models=[version.name], tracking_uri="sqlite:////no/such.db")
    assert elsewhere.ended_as == ("FAILED", "Refused")


@pytest.mark.parametrize(
    ("value", "says"),
    [("http://bob:s3cret-in-variable@host", "keep the URI in the Secret block"), (["x"], "holds no text")],
)
def test_a_variable_is_no_place_for_a_secret(run_flow: RunFlow, value: object, says: str) -> None:
    Variable.set("registry_audit_tracking_uri", value)  # type: ignore[arg-type]
    run = run_flow(audit_registry, ledger="none")
    assert run.ended_as == ("FAILED", "Refused")
    assert says in run.record["state"]["message"]
    assert "s3cret-in-variable" not in run.everything


def test_a_server_that_asks_who_it_is(run_flow: RunFlow, mlflow_auth: MlflowServer) -> None:
    version = Registry(mlflow_auth).add(separate=True)
    uri = f"http://{mlflow_auth.host}"
    given = {"models": [version.name], "tracking_uri": uri, "ledger": "none"}
    assert run_flow(audit_registry, **given).ended_as[1] != "Completed"
    mlflow_auth.add_user("auditor-of-blocks", "s3cret-of-block-1")
    secret("registry-audit-tracking-username", "auditor-of-blocks")
    secret("registry-audit-tracking-password", "wrong-one")
    assert run_flow(audit_registry, **given).ended_as[1] != "Completed"
    secret("registry-audit-tracking-password", "s3cret-of-block-1")
    run = run_flow(audit_registry, **given)
    assert run.ended_as == ("COMPLETED", "Completed")
    assert run.server.files_with("s3cret-of-block-1") == []


def test_a_uri_with_a_password_comes_from_a_block_and_shows_nowhere(
    run_flow: RunFlow, mlflow_auth: MlflowServer, tmp_path: Path
) -> None:
    version = Registry(mlflow_auth).add(separate=True)
    mlflow_auth.add_user("reader-of-blocks", "s3cret-in-uri-77")
    secret("registry-audit-tracking-uri", mlflow_auth.uri_as("reader-of-blocks", "s3cret-in-uri-77"))
    run = run_flow(audit_registry, models=[version.name], ledger="none", report_dir=str(tmp_path / "report"))
    assert run.ended_as == ("COMPLETED", "Completed")
    assert run.server.files_with("s3cret-in-uri-77") == []
    assert "s3cret-in-uri-77" not in run.everything
    assert not any("s3cret-in-uri-77" in file.read_text() for file in (tmp_path / "report").iterdir())


@pytest.mark.postgres
def test_the_ledger_of_a_team_comes_from_a_block_and_its_password_shows_nowhere(
    run_flow: RunFlow, registry: Registry, tmp_path: Path
) -> None:
    version = registry.add(separate=True)

    def audit(**more: object) -> FlowRun:
        return run_flow(
            audit_registry, models=[version.name], tracking_uri=registry.server.uri, accept_new=True, **more
        )

    with postgres_database() as url:
        scheme, _, rest = url.partition("://")
        user = rest.partition("@")[0].partition(":")[0]
        with_password = f"{scheme}://{user}:s3cret-of-ledger@{rest.partition('@')[2]}"
        secret("registry-audit-ledger", with_password)
        run = audit(report_dir=str(tmp_path / "report"))
        assert run.ended_as == ("COMPLETED", "Completed")
    gone = audit()
    assert gone.ended_as == ("FAILED", "Ledger")
    for one in (run, gone):
        assert "s3cret-of-ledger" not in one.everything
    assert run.server.files_with("s3cret-of-ledger") == []
    assert not any("s3cret-of-ledger" in file.read_text() for file in (tmp_path / "report").iterdir())


def test_what_this_process_was_told_of_itself_wins_and_a_new_password_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    secret("registry-audit-tracking-token", "first")
    configuration.sign_in()
    assert configuration._from_blocks == {"MLFLOW_TRACKING_TOKEN": "first"}
    secret("registry-audit-tracking-token", "second")
    configuration.sign_in()
    assert configuration._from_blocks == {"MLFLOW_TRACKING_TOKEN": "second"}
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "of the environment")
    configuration.sign_in()
    assert configuration._from_blocks == {"MLFLOW_TRACKING_TOKEN": "second"}
    assert configured_uri(TRACKING_URI) is None


def test_a_block_signs_in_to_the_server_that_is_configured_and_not_to_the_one_it_is_compared_with(
    run_flow: RunFlow, mlflow_a: MlflowServer
) -> None:
    version = Registry(mlflow_a).add(separate=True)
    secret("registry-audit-tracking-token", "t0ken-of-the-block")
    with faulty_proxy(mlflow_a.uri) as ours, faulty_proxy(mlflow_a.uri) as other:
        Variable.set("registry_audit_tracking_uri", ours.uri)
        named = {"model": version.name, "version_or_stage": "1"}
        servers = {f"tracking_server_{n}": {"host": each.uri, **named} for n, each in enumerate((other, ours), 1)}
        run = run_flow(compare_model_versions, ledger="none", **servers)
        assert run.ended_as == ("COMPLETED", "Completed")
        told = [{request.headers.get("Authorization") for request in each.requests} for each in (ours, other)]
        assert told == [{"Bearer t0ken-of-the-block"}, {None}]
        ours.clear()
        other.clear()
        sides = {"source": {"host": ours.uri}, "target": {"host": other.uri}}
        run = run_flow(compare_registries, models=[version.name], **sides)
        assert run.ended_as == ("FAILED", "Incomplete"), "one storage, as far as can be seen: not known to be moved"
        told = [{request.headers.get("Authorization") for request in each.requests} for each in (ours, other)]
        assert told == [{"Bearer t0ken-of-the-block"}, {None}]


def test_a_ledger_whose_password_has_slashes_is_no_parameter(run_flow: RunFlow) -> None:
    """SQLAlchemy reads it; other parsers take the password for a host and a path."""
    given = "postgresql://bob:s3cret/of/base64@127.0.0.1:1/db"
    run = run_flow(audit_registry, tracking_uri="http://127.0.0.1:1", ledger=given)
    assert run.ended_as == ("FAILED", "Refused")
    assert "postgresql://***@127.0.0.1:1/db was given with credentials" in run.record["state"]["message"]
    assert "s3cret" not in run.log
