"""Sends requests to an MLflow server, with the sign-in of MLflow's own client."""

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from urllib3.exceptions import ProtocolError, ReadTimeoutError

from registry_audit.errors import AuditError, Stopped, Transient, UsageError
from registry_audit.net.http import HttpSession, Tls
from registry_audit.net.origin import origin_of, without_user
from registry_audit.net.rest import (
    FIRST_ANSWER_SECONDS,
    Denied,
    NoSuchRoute,
    Refusal,
    Rest,
    SwitchedOff,
    entries_of,
)
from registry_audit.registry.address import DEFAULT_WORKSPACE
from registry_audit.registry.mlflow_api import text_of
from registry_audit.registry.mlflow_environment import HostCreds, default_host_creds, importing_mlflow, request_headers

_WORKSPACE_HEADER = "X-MLFLOW-WORKSPACE"
_NO_HOST = "http://none.invalid"
_SERVER_INFO = "/api/3.0/mlflow/server-info"
_WORKSPACES = "/api/3.0/mlflow/workspaces"
_SIGN_IN = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
SIGN_IN_OF_ITS_OWN = (
    "give username and password, or token, where its address is configured: what the environment holds is for another "
    "server"
)
_MAX_VERSION_BYTES = 40  # of the server's MLflow version


class MlflowServer(Rest):
    """Sends requests to one server, and to the artifact proxy at the same origin."""

    def __init__(
        self,
        uri: str,
        http: HttpSession,
        *,
        token: str | None = None,
        workspace: str | None = None,
        by_itself: bool = False,
    ) -> None:
        """
        Args:
            uri: http or https, perhaps with a user's name and password.
            token: replaces the environment's sign-in.
            workspace: the workspace to ask for; None for a server without workspaces, or for its default one.
            by_itself: whether the sign-in comes only from the address, the token and ~/.netrc's entry for exactly this
                host, and the environment only says how to trust the server.
        """
        from requests.utils import get_netrc_auth

        host, user = without_user(uri)
        ambient = default_host_creds()
        self._basic = user if token is None else None
        self._by_itself = by_itself
        if by_itself or token is not None:
            self._creds = HostCreds(
                token=token,
                ignore_tls_verification=ambient.ignore_tls_verification,
                server_cert_path=ambient.server_cert_path,
            )
        else:
            self._creds = ambient
        if token is None and (found := get_netrc_auth(host)):  # as in requests, and so in MLflow
            is_for_any_host = found == get_netrc_auth(_NO_HOST)
            if not by_itself or (self._basic is None and not is_for_any_host):
                self._basic = found
        self._workspace, self._knows_workspaces = workspace, False
        tls = Tls(self._creds.verify, self._creds.client_cert_path)
        follows = os.environ.get("MLFLOW_ALLOW_HTTP_REDIRECTS", "true").lower() in ("true", "1")
        explain = partial(_explained, by_itself=by_itself, workspace=workspace)
        super().__init__(host, self._signed, http, explain=explain, redirects=follows, tls=tls)

    def beside(self, endpoint: str) -> Rest:
        """Return another address of this same server, or an unknown server that is sent no credentials."""
        if origin_of(endpoint) == origin_of(self.host):
            return Rest(
                endpoint,
                self._signed,
                self.http,
                explain=self._explain,
                redirects=self._redirects,
                tls=self._tls,
            )
        return stranger(endpoint, self.http)

    def version(self) -> str | None:
        """Return the server's MLflow version; None if the server does not say.

        Every command asks for it first. A wrong port may never answer, so this request has a time-out of seconds, and
        others have a minute.

        Raises:
            Transient: the server does not answer.
        """
        doing = f"reach the tracking server {self.host}"
        try:
            with self.content("/version", doing=doing, answer_seconds=FIRST_ANSWER_SECONDS) as answer:
                body = answer.body(doing, _MAX_VERSION_BYTES)
        except Transient as error:
            if not isinstance(error.__cause__, ReadTimeoutError | ProtocolError):
                raise  # other errors say themselves what to do
            again = Transient(f"{error.message}; is it the port of an MLflow server?")
            again.given_up = isinstance(error.__cause__, ReadTimeoutError)
            raise again from error
        except Stopped:
            raise
        except NoSuchRoute:
            return "1.x" if self._is_before_2() else None
        except AuditError:
            return None
        text = body.decode("ascii", "replace").strip()
        return text if text[:1].isdecimal() and text.isprintable() else None

    def _is_before_2(self) -> bool:
        """Say whether this is MLflow 1.x: it does not say its version, but only it has this route."""
        with suppress(AuditError):
            self.get("/api/2.0/mlflow/registered-models/list", {"max_results": 1}, doing="ask how old the server is")
            return True
        return False

    def must_know_workspaces(self) -> None:
        """Check that the server has workspaces if one is asked for. Raises: UsageError: it has none."""
        if self._workspace is None or self._knows_workspaces:
            return
        try:
            info = self.get(_SERVER_INFO, doing="ask whether the server has workspaces")
        except NoSuchRoute:
            info = {}
        if info.get("workspaces_enabled") is not True:
            raise UsageError(
                f"the workspace '{self._workspace}' cannot be used: the server does not have workspaces; start it with "
                "--enable-workspaces, or unset MLFLOW_WORKSPACE"
            )
        self._knows_workspaces = True

    def other_workspaces(self) -> list[str]:
        """Return the workspaces besides the default one that this user may see, sorted; none if they are unknown."""
        doing = "list the workspaces"
        try:
            found = entries_of(self.get(_WORKSPACES, doing=doing), "workspaces", doing)
        except Stopped:
            raise
        except AuditError:  # the server has none, or is older, or denies it
            return []
        return sorted({text_of(workspace, "name") for workspace in found} - {"", DEFAULT_WORKSPACE})

    def _signed(self, method: str, url: str, body: bytes | None) -> Mapping[str, str]:
        from requests import Request
        from requests.auth import HTTPBasicAuth

        headers = request_headers()
        if self._by_itself:  # an MLflow plugin's headers may contain a sign-in, too
            headers = {name: value for name, value in headers.items() if name.lower() == "user-agent"}
        if self._workspace is not None:
            if not url.endswith(_SERVER_INFO):  # a server without workspaces would answer for its only one
                self.must_know_workspaces()
            headers.setdefault(_WORKSPACE_HEADER, self._workspace)
        creds = self._creds
        if creds.token:
            headers["Authorization"] = f"Bearer {creds.token}"
        auth: Any = None
        if creds.aws_sigv4:
            from requests_auth_aws_sigv4 import AWSSigV4  # type: ignore[import-not-found]

            auth = AWSSigV4("execute-api")
        elif creds.auth:
            with importing_mlflow():
                from mlflow.tracking.request_auth.registry import fetch_auth

            auth = fetch_auth(creds.auth)
        elif self._basic is not None:
            auth = HTTPBasicAuth(*self._basic)
        elif creds.username and creds.password:
            auth = HTTPBasicAuth(creds.username.encode(), creds.password.encode())
        if auth is None:
            return headers
        prepared = Request(method, url, headers=headers, data=body).prepare()
        return auth(prepared).headers  # type: ignore[no-any-return]


def stranger(endpoint: str, http: HttpSession) -> Rest:
    """Return a server without any credentials."""
    return Rest(endpoint, lambda *_: {}, http, explain=_started_without, redirects=True)


def _started_without(refusal: Refusal, doing: str) -> AuditError | None:
    """Explain a permanent 503. Source: mlflow/server/handlers.py, "disabled due to", the same from 1.30 to 3.18."""
    if refusal.status != 503 or "disabled due to the mlflow server running" not in refusal.text:
        return None
    if "`--artifacts-only` mode" in refusal.text:
        return UsageError(
            f"could not {doing}: {refusal.host} runs with --artifacts-only and has no registry: give the address of "
            "the tracking server beside it"
        )
    return SwitchedOff(
        f"could not {doing}: {refusal.host} runs with --no-serve-artifacts, and nobody can read mlflow-artifacts: "
        "locations through it: start it with --serve-artifacts"
    )


def _explained(refusal: Refusal, doing: str, *, by_itself: bool, workspace: str | None) -> AuditError | None:
    """Explain a refusal of an MLflow server; None if its status says enough.

    Args:
        by_itself: whether the sign-in does not come from the environment.
    """
    if workspace is not None and refusal.message.startswith(f"Workspace '{workspace}' not found"):
        # Not `NotFound`: this says nothing about the version, the model or the run that was asked for.
        return UsageError(f"could not {doing}: the server has no workspace '{workspace}': look at MLFLOW_WORKSPACE")
    if refusal.signed_only:
        return None
    if (started_without := _started_without(refusal, doing)) is not None:
        return started_without
    if refusal.status == 401 or refusal.code == "UNAUTHENTICATED":
        way_out = SIGN_IN_OF_ITS_OWN if by_itself else _SIGN_IN
        return UsageError(f"could not {doing}: the server refuses the credentials; {way_out}")
    if refusal.status == 403 or refusal.code in ("PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED"):
        return Denied(f"could not {doing}: permission denied; ask for READ on it")
    if refusal.code in ("ENDPOINT_NOT_FOUND", "FEATURE_DISABLED"):  # MLflow 3.10 sends the second one with status 500
        return NoSuchRoute(f"could not {doing}: the server does not know the question")
    if refusal.status == 404 and not refusal.code:  # an HTML page of some other service, and not MLflow's own answer
        address = "is the address whole, as http://HOST/PATH is where MLflow is served below a path?"
        return NoSuchRoute(f"could not {doing}: {refusal.host} does not offer it (404); {address}")
    return None
