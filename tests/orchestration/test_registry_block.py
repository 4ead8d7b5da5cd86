"""Blocks `RegistryAudit`: all that is configured of one registry, and its secrets nowhere else."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from pydantic import SecretStr
from support.faulty_proxy import FaultyProxy
from support.registry import Registry
from support.servers import MlflowServer

from flows.accept_baseline import accept_baseline
from flows.audit_registry import audit_registry
from flows.check_model_version import check_model_version
from flows.compare_model_versions import compare_model_versions
from flows.compare_registries import compare_registries
from tasks.pull_model import pull_model
from tasks.registry_block import RegistryAudit

from .conftest import PrefectServer, RunFlow

COMPLETED, REFUSED = ("COMPLETED", "Completed"), ("FAILED", "Refused")
PASSWORD, TYPED_INTO_AN_ADDRESS = "s3cret-of-registry-block", "s3cret-in-plain-sight"


@pytest.fixture(autouse=True)
def nothing_left(prefect_server: PrefectServer) -> Iterator[None]:
    yield
    for row in prefect_server.post("block_documents/filter"):
        prefect_server.delete(f"block_documents/{row['id']}")
    for name in [name for name in os.environ if name.startswith("REGISTRY_AUDIT_OF_")]:
        del os.environ[name]


def test_two_registries_and_every_flow(
    run_flow: RunFlow, registry: Registry, mlflow_auth: MlflowServer, tmp_path: Path
) -> None:
    mlflow_auth.add_user("auditor-of-registry-block", PASSWORD)
    closed = Registry(mlflow_auth)
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    RegistryAudit(tracking_uri=registry.server.uri, ledger=SecretStr(ledger), workers=2).save("staging")
    RegistryAudit(
        tracking_uri=f"http://{mlflow_auth.host}",
        username="auditor-of-registry-block",
        password=SecretStr(PASSWORD),
        ledger=SecretStr(ledger),
    ).save("production")
    for name, where in (("production", closed), ("staging", registry)):
        version = where.add(separate=True)
        run = run_flow(audit_registry, registry=name, models=[version.name], accept_new=True)
        assert run.ended_as == COMPLETED, run.log
        assert run.record["name"].startswith(f"audit {name}: ")
        checked = run_flow(check_model_version, model=version.name, version_or_stage="1", registry=name)
        assert checked.ended_as == COMPLETED, checked.log
        wanted = {"versions": [f"{version.name}/1"], "reason": "r", "by": "me"}
        assert run_flow(accept_baseline, **wanted, registry=name).ended_as == COMPLETED
        assert PASSWORD not in run.everything + checked.everything
    assert run.server.files_with(PASSWORD) == []


@flow(persist_result=False)
def deploy(version: str, output: str, registry: str) -> int:
    return pull_model(version, Path(output), registry=registry).file_count


def test_both_sides_of_a_comparison_and_a_pull(
    run_flow: RunFlow, registry: Registry, mlflow_auth: MlflowServer, tmp_path: Path
) -> None:
    mlflow_auth.add_user("auditor-of-both-sides", PASSWORD)
    closed, ledger = Registry(mlflow_auth), SecretStr(f"sqlite:///{tmp_path / 'ledger.db'}")
    production = RegistryAudit(
        tracking_uri=f"http://{mlflow_auth.host}",
        username="auditor-of-both-sides",
        password=SecretStr(PASSWORD),
        ledger=ledger,
    )
    production.save("production")
    RegistryAudit(tracking_uri=registry.server.uri, ledger=ledger, workers=2, max_requests=2).save("staging")
    version = closed.add(seed=1)
    registry.add(version.name, seed=1)
    accepted = run_flow(audit_registry, registry="production", models=[version.name], accept_new=True)
    assert accepted.ended_as == COMPLETED, accepted.log

    one, two = (
        {"registry": name, "model": version.name, "version_or_stage": "1"} for name in ("production", "staging")
    )
    compared = run_flow(compare_model_versions, tracking_server_1=one, tracking_server_2=two)
    assert compared.ended_as == COMPLETED, compared.log
    assert "no ledger" not in compared.everything
    sides = {"source": {"registry": "staging"}, "target": {"registry": "production"}}
    migrated = run_flow(compare_registries, **sides, models=[version.name], one_way=True)
    assert migrated.ended_as == COMPLETED, migrated.log
    pulled = run_flow(deploy, version=f"{version.name}/1", output=str(tmp_path / "model"), registry="production")
    assert pulled.ended_as == COMPLETED, pulled.log
    assert (tmp_path / "model" / "MLmodel").is_file()

    production.ledger = SecretStr(f"sqlite:///{tmp_path / 'another.db'}")
    production.save("production", overwrite=True)
    torn = run_flow(compare_model_versions, tracking_server_1=one, tracking_server_2=two)
    assert torn.ended_as == REFUSED
    assert "the two registries have ledgers of their own: give ledger" in torn.record["state"]["message"]
    chosen = run_flow(
        compare_model_versions, tracking_server_1=one, tracking_server_2=two, ledger=ledger.get_secret_value()
    )
    assert chosen.ended_as == COMPLETED, chosen.log
    assert PASSWORD not in "".join(run.everything for run in (compared, migrated, pulled, torn, chosen))


@pytest.mark.parametrize(
    ("side", "says"),
    [
        ({"registry": "one", "host": "http://elsewhere"}, "tracking_server_1: give registry, or host, not both"),
        ({"registry": "one", "token_env": "TOKEN"}, "tracking_server_1: give registry, or token_env, not both"),
        ({}, "tracking_server_1: which server? Give host, or registry"),
        ({"registry": "no-such"}, "there is no usable block registry-audit/no-such"),
    ],
)
def test_a_side_that_names_two_servers_or_none_is_refused(run_flow: RunFlow, side: dict[str, Any], says: str) -> None:
    RegistryAudit(tracking_uri="http://127.0.0.1:1").save("one")
    version = {"model": "Wine", "version_or_stage": "1"}
    run = run_flow(
        compare_model_versions,
        tracking_server_1=side | version,
        tracking_server_2={"host": "http://127.0.0.1:1"} | version,
    )
    assert run.ended_as == REFUSED
    assert says in run.record["state"]["message"]


@pytest.mark.parametrize(
    "names", [("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"), ("MLFLOW_TRACKING_TOKEN",)]
)
def test_the_workers_own_credentials_are_not_the_blocks(
    run_flow: RunFlow,
    mlflow_a: MlflowServer,
    proxy_a: FaultyProxy,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...],
) -> None:
    for name in names:
        monkeypatch.setenv(name, "of-another-server")
    version = Registry(mlflow_a).add()
    RegistryAudit(tracking_uri=proxy_a.uri).save("open")
    proxy_a.clear()
    given = {"model": version.name, "version_or_stage": "1"}
    assert run_flow(check_model_version, **given, registry="open").ended_as == COMPLETED
    assert proxy_a.requests
    assert not any("Authorization" in request.headers for request in proxy_a.requests)
    proxy_a.clear()
    assert run_flow(check_model_version, **given, tracking_uri=proxy_a.uri).ended_as == COMPLETED
    assert all("Authorization" in request.headers for request in proxy_a.requests), "the test sees what is sent"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"registry": "no-such"}, "there is no usable block registry-audit/no-such"),
        ({"registry": "one", "tracking_uri": "http://elsewhere"}, "give registry, or tracking_uri and registry_uri"),
        ({"registry": "one"}, "was given with credentials"),
        ({"registry": "half"}, "needs username and password, or token, or none"),
    ],
)
def test_what_contradicts_itself_is_refused(run_flow: RunFlow, given: dict[str, str], says: str) -> None:
    RegistryAudit(tracking_uri=f"http://bob:{TYPED_INTO_AN_ADDRESS}@127.0.0.1:1").save("one")
    RegistryAudit(tracking_uri="http://127.0.0.1:1", username="bob").save("half")
    run = run_flow(audit_registry, **given)
    assert run.ended_as == REFUSED
    assert says in run.record["state"]["message"]
    assert TYPED_INTO_AN_ADDRESS not in run.everything


@pytest.mark.parametrize(
    ("deployment", "parameters"),
    [
        ("audit-registry/ad-hoc", {"subset": "7"}),
        ("audit-registry/ad-hoc", {"subset": "0/7"}),
        ("audit-registry/ad-hoc", {"models": [" "]}),
        ("audit-registry/ad-hoc", {"registry": "Not a block"}),
        ("audit-registry/ad-hoc", {"audit_id": "../../elsewhere"}),
        ("audit-registry/ad-hoc", {"fail_on": "sometimes"}),
        ("check-model-version/ad-hoc", {"model": "", "version_or_stage": "1"}),
        ("compare-registries/ad-hoc", {"source": {}, "target": {"host": "http://127.0.0.1:1"}}),
        ("compare-registries/ad-hoc", {"source": {"registry": None}, "target": {"host": "http://127.0.0.1:1"}}),
        ("accept-baseline/ad-hoc", {"versions": ["Wine"], "reason": "r", "by": "me"}),
        ("accept-baseline/ad-hoc", {"versions": [], "reason": "r", "by": "me"}),
        ("accept-baseline/ad-hoc", {"versions": ["Wine/1"], "reason": " ", "by": "me"}),
        ("accept-baseline/ad-hoc", {"versions": ["Wine/1"], "reason": "r", "by": "me", "despite": ["everything"]}),
    ],
)
def test_the_form_refuses_nonsense(deployed: PrefectServer, deployment: str, parameters: dict[str, object]) -> None:
    """By the schema that the UI's form checks too: nothing is started."""
    found = deployed.deployment(deployment)
    answer = deployed.ask("POST", f"deployments/{found['id']}/create_flow_run", {"parameters": parameters})
    assert answer.status_code in (409, 422), answer.text
