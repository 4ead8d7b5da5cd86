"""Blocks `RegistryAudit`: all that is configured of one registry, and its secrets nowhere else."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from support.faulty_proxy import FaultyProxy
from support.registry import Registry
from support.servers import MlflowServer

from flows.accept_baseline import accept_baseline
from flows.audit_registry import audit_registry
from flows.check_model_version import check_model_version
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
