"""A server that asks who is there: a wrong password is a usage error in one line, a denied model is no pass."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.auditing import Audited, Auditor
from support.migrating import compare
from support.registry import Registered, Registry
from support.servers import MlflowServer, sqlite_store

CLEAN, FINDINGS, USAGE, INCOMPLETE = 0, 1, 2, 3
USER, PASSWORD = "auditor", "s3cret/pass word@1"
WRONG = "not-the-p@ssword"
ENVIRONMENT: Mapping[str, str] = {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD}


@pytest.fixture(scope="module", autouse=True)
def user(mlflow_auth: MlflowServer) -> None:
    mlflow_auth.add_user(USER, PASSWORD)


@pytest.fixture(scope="module")
def registry(mlflow_auth: MlflowServer) -> Registry:
    return Registry(mlflow_auth)


@pytest.fixture(scope="module")
def version(registry: Registry) -> Registered:
    return registry.add(seed=1, separate=True)


@pytest.fixture
def anonymous_uri(mlflow_auth: MlflowServer) -> str:
    return f"http://{mlflow_auth.host}"


def _no_secret(audited: Audited) -> None:
    for secret in (PASSWORD, WRONG, "s3cret", "not-the-p"):
        assert not re.search(re.escape(secret), audited.everything, re.IGNORECASE)


def _one_line(audited: Audited, status: int) -> None:
    assert (audited.exit_status, audited.stdout) == (status, "")
    (line,) = audited.stderr.splitlines()
    assert "Traceback" not in line
    _no_secret(audited)


def test_credentials_in_the_uri(mlflow_auth: MlflowServer, version: Registered, audit: Auditor) -> None:
    audited = audit(mlflow_auth.uri_as(USER, PASSWORD), "--model", version.name)
    assert (audited.exit_status, audited.row["verdict"]) == (CLEAN, "match")
    _no_secret(audited)


def test_credentials_in_the_environment(anonymous_uri: str, version: Registered, audit: Auditor) -> None:
    audited = audit.program(anonymous_uri, "--model", version.name, environment=ENVIRONMENT)
    assert (audited.exit_status, audited.row["verdict"]) == (CLEAN, "match")
    _no_secret(audited)


@pytest.mark.parametrize("where", ["uri", "environment", "nowhere"])
def test_wrong_credentials(
    mlflow_auth: MlflowServer, anonymous_uri: str, version: Registered, audit: Auditor, where: str
) -> None:
    uri = mlflow_auth.uri_as(USER, WRONG) if where == "uri" else anonymous_uri
    environment = {**ENVIRONMENT, "MLFLOW_TRACKING_PASSWORD": WRONG} if where == "environment" else {}
    for selection in ((), ("--model", version.name)):
        audited = audit.program(uri, *selection, environment=environment)
        _one_line(audited, USAGE)
        assert "credentials" in audited.stderr


def test_denied_model_by_name(mlflow_auth: MlflowServer, registry: Registry, audit: Auditor) -> None:
    denied = registry.add(seed=2)
    mlflow_auth.deny("registered_model", denied.name, USER)
    audited = audit(mlflow_auth.uri_as(USER, PASSWORD), "--model", denied.name)
    _one_line(audited, INCOMPLETE)
    assert "permission" in audited.stderr
    assert audit(mlflow_auth.uri, "--model", denied.name).exit_status == CLEAN, "the administrator may"


def test_denied_model_beside_a_readable_one(
    mlflow_auth: MlflowServer, registry: Registry, version: Registered, audit: Auditor
) -> None:
    """Asked for by name, it makes the audit incomplete, whatever is found elsewhere."""
    denied = registry.add(seed=3)
    mlflow_auth.deny("registered_model", denied.name, USER)
    audited = audit(mlflow_auth.uri_as(USER, PASSWORD), "--model", denied.name, "--model", version.name)
    assert audited.exit_status == INCOMPLETE
    _no_secret(audited)


def test_denied_artifacts(mlflow_auth: MlflowServer, audit: Auditor) -> None:
    """The version may be seen, its experiment may not."""
    registry = Registry(mlflow_auth)
    version = registry.add(seed=4)
    mlflow_auth.deny("experiment", registry.experiment_id, USER)
    audited = audit(mlflow_auth.uri_as(USER, PASSWORD), "--model", version.name)
    assert (audited.exit_status, audited.row["verdict"]) == (INCOMPLETE, "unverifiable")
    assert audited.rules == {"RA009"}
    _no_secret(audited)


def test_two_users_in_one_process(mlflow_auth: MlflowServer, registry: Registry, audit: Auditor) -> None:
    mlflow_auth.add_user("second", "other-password-2")
    mine, theirs = registry.add(seed=5), registry.add(seed=6)
    mlflow_auth.deny("registered_model", theirs.name, USER)
    mlflow_auth.deny("registered_model", mine.name, "second")
    first, second = mlflow_auth.uri_as(USER, PASSWORD), mlflow_auth.uri_as("second", "other-password-2")
    for _ in range(2):
        assert audit(first, "--model", mine.name).exit_status == CLEAN
        assert audit(second, "--model", mine.name).exit_status == INCOMPLETE
        assert audit(second, "--model", theirs.name).exit_status == CLEAN
        assert audit(first, "--model", theirs.name).exit_status == INCOMPLETE


@pytest.mark.parametrize("denied_by", ["target", "source"])
def test_a_denied_model_is_not_called_missing(
    mlflow_auth: MlflowServer, registry: Registry, tmp_path: Path, denied_by: str
) -> None:
    """It is in both registries, and no listing of one of them shows it to this user."""
    seen, denied, lost = (registry.new_name(kind) for kind in ("seen", "denied", "lost"))
    other = Registry(sqlite_store(tmp_path))
    for seed, name in enumerate((seen, denied), 1):
        registry.add(name, seed=seed)
        other.add(name, seed=seed)
    mlflow_auth.deny("registered_model", denied, USER)
    uris = other.server.uri, mlflow_auth.uri_as(USER, PASSWORD)
    source, target = uris if denied_by == "target" else uris[::-1]

    compared = compare(source, target, tmp_path, "--model", seen, "--model", denied)

    assert compared.exit_status == INCOMPLETE, compared.stdout
    verdict = "unverifiable" if denied_by == "target" else "only_in_target"
    assert compared.verdicts == {f"{seen}/1": "equivalent", f"{denied}/1": verdict}
    assert compared.rules == {"RA009"}
    assert f"not known to be missing, perhaps denied: {denied}" in compared.stdout
    if denied_by == "target":
        other.add(lost, seed=3)
        compared = compare(source, target, tmp_path, *(f"--model={name}" for name in (seen, denied, lost)))
        assert (compared.exit_status, compared.verdicts[f"{lost}/1"]) == (FINDINGS, "missing")
        assert compared.verdicts[f"{denied}/1"] == "unverifiable"
