"""Signing in to Databricks: nothing of the configuration file is repeated, and no sign-in is waited for without end."""

import threading
from pathlib import Path

import pytest

from registry_audit.errors import AuditError, Transient, UsageError
from registry_audit.registry import workspace
from registry_audit.registry.workspace import signed_in

TOKEN = "dapi0123456789abcdef"
CLOSED = "http://127.0.0.1:1"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "databrickscfg"
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(found))
    return found


@pytest.mark.parametrize("profile", ["p", None])
@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"token = {TOKEN}\n", 1),
        (f"[p]\nhost = {CLOSED}\n{TOKEN}\n", 3),
        (f"[p]\ntoken = {TOKEN}\ntoken = {TOKEN}\n", 3),
        (f"[p]\ntoken = {TOKEN}\n[p]\n", 3),
    ],
)
def test_a_file_that_cannot_be_read(file: Path, text: str, line: int, profile: str | None) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=f"cannot be read at line {line}: ") as failed:
        signed_in(profile, None)
    assert TOKEN not in failed.value.message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[prod_env]\n", "has no profile prod-env; did you mean 'prod_env'"),
        ("[prod-env]\ntoken = t\n", "it names no host"),
        (f"[DEFAULT]\ntoken = {TOKEN}\n[prod-env]\nhost = {CLOSED}\n", "neither a token, nor client_id"),
        (f"[prod-env]\nhost = {CLOSED}\nauth_type = azure-cli\n", "azure-cli, is of no use here"),
    ],
)
def test_what_a_profile_lacks(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, says: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no program signs in
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=says) as failed:
        signed_in("prod-env", None)
    assert "databricks configure --profile prod-env" in failed.value.message
    assert TOKEN not in failed.value.message


def test_credentials_of_the_environment_are_not_those_of_a_profile(file: Path) -> None:
    """The way to sign in that the SDK found is named in the file, or it is not the profile's."""
    with pytest.raises(UsageError, match="those of the environment"):
        workspace._must_be_of_profile("runtime", {"host": CLOSED})
    with pytest.raises(UsageError, match="those of the environment"):
        workspace._must_be_of_profile("env-oidc", {"host": CLOSED})
    workspace._must_be_of_profile("env-oidc", {"host": CLOSED, "oidc_token_env": "MINE"})
    workspace._must_be_of_profile("runtime", {"auth_type": "runtime"})
    workspace._must_be_of_profile("pat", {"token": TOKEN})


def test_a_sign_in_that_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "_SIGN_IN_AT_MOST_SECONDS", 0.01)
    ended = threading.Event()
    try:
        with pytest.raises(Transient, match="took longer than"):
            workspace._in_time(ended.wait)
    finally:
        ended.set()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("oauth-m2m: unknown: unknown"), Transient),  # what the SDK says of a 500
        (ValueError(b"<html>"), Transient),
        (NotImplementedError("Not supported yet: Expecting value"), Transient),
        (ValueError("oauth-m2m: invalid_client: Client authentication failed"), UsageError),
    ],
)
def test_a_service_that_gives_no_token_now_may_give_one_later(error: Exception, kind: type[AuditError]) -> None:
    assert type(workspace.not_signed_in(error, "could not sign in")) is kind
