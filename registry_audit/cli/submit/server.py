"""Talks to the Prefect server of `--submit`: finds it, starts a run there, and follows the run to its end."""

import json
import logging
import os
import time
import tomllib
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from registry_audit.errors import CouldNotVerify, NotFound, Transient, UsageError
from registry_audit.net.origin import basic_authorization, is_host_name, origin_of, without_user
from registry_audit.net.retry import retried
from registry_audit.printable import printable
from registry_audit.redact import redact
from registry_audit.verdict import STATE_NAMES, ExitStatus

_SECONDS, _SECONDS_OF_HEALTH = 30, 5
_PAGE = 200
_NO_ROUTE = {"detail": "Not Found"}  # the web framework's response; Prefect's own says what was not found
_TERMINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_CLOUD_API = "https://api.prefect.cloud/api/accounts/"


class ServerSilent(Transient):
    """The Prefect server is unreachable or failing. The run continues without it."""


@dataclass(frozen=True, slots=True)
class RunState:
    """This is the state of a flow run. Its texts come from the server, and are not safe to print."""

    type: str
    name: str
    message: str

    @property
    def is_final(self) -> bool:
        return self.type in _TERMINAL


class PrefectServer:
    def __init__(self, settings: dict[str, str]) -> None:
        """Prepare the session. Raises: UsageError: no server is configured, or its address is none."""
        from registry_audit.net.http import HttpSession, Tls
        from registry_audit.net.throttle import Throttle

        if "PREFECT_API_URL" not in settings:
            raise UsageError(
                "which Prefect server? Set PREFECT_API_URL, with /api at the end, here or in the active Prefect profile"
            )
        given = settings["PREFECT_API_URL"].rstrip("/")
        try:
            self._url, user = without_user(given)
            self._origin = origin_of(self._url)
        except ValueError:
            raise UsageError(f"PREFECT_API_URL is no address: {printable(redact(given))}") from None
        if self._origin.scheme not in ("http", "https") or not is_host_name(self._origin.host):
            raise UsageError(f"PREFECT_API_URL is not the address of a server: {self.shown}")
        self._pages = settings.get("PREFECT_UI_URL", _pages_of(self._url)).rstrip("/")
        self._headers = {"Content-Type": "application/json"} | _sign_in(settings, user)
        self._session, self._tls = HttpSession(Throttle()), Tls(settings.get("PREFECT_API_SSL_CERT_FILE", True))

    @property
    def shown(self) -> str:
        return printable(redact(self._url))

    def page_of(self, run_id: str) -> str:
        return printable(redact(f"{self._pages}/runs/flow-run/{run_id}"))

    def deployment(self, flow: str, name: str) -> dict[str, Any]:
        """Find a deployment.

        Raises:
            NotFound: there is none with this name; the message names those of the flow.
            UsageError: the server is misconfigured or cannot be reached.
        """
        try:
            found: dict[str, Any] = retried(
                lambda: self._ask("GET", f"deployments/name/{quote(flow, safe='')}/{quote(name, safe='')}")
            )
            return found
        except NotFound:
            known = [f"{flow}/{row['name']}" for row in self._of_flow(flow)]
            there = f"there are {', '.join(map(printable, known))}" if known else "`prefect deploy --all` makes it"
            raise NotFound(f"{self.shown} has no deployment {printable(f'{flow}/{name}')}; {there}") from None
        except ServerSilent as error:
            raise UsageError(f"PREFECT_API_URL: {error.message}") from error

    def start(self, deployment_id: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Start a run of the deployment. Retries do not start another one.

        Raises:
            UsageError: the server refuses the parameters.
            ServerSilent: it does not answer.
        """
        body = {"parameters": parameters, "idempotency_key": uuid.uuid4().hex}
        run: dict[str, Any] = retried(lambda: self._ask("POST", f"deployments/{deployment_id}/create_flow_run", body))
        return run

    def state(self, run_id: str) -> RunState:
        """Return the state of a run. Raises: NotFound: somebody deleted the run."""
        state = self._ask("GET", f"flow_runs/{run_id}").get("state") or {}
        return RunState(*(str(state.get(key) or "") for key in ("type", "name", "message")))

    def logs(self, run_id: str, since: str | None) -> list[dict[str, Any]]:
        """Return every log line since this time, in ISO format, oldest first; all lines if it is None."""
        which: dict[str, Any] = {"flow_run_id": {"any_": [run_id]}}
        if since is not None:
            which["timestamp"] = {"after_": since}
        rows: list[dict[str, Any]] = []
        while True:
            page = self._ask(
                "POST",
                "logs/filter",
                {"logs": which, "sort": "TIMESTAMP_ASC", "limit": _PAGE, "offset": len(rows)},
            )
            rows += page
            if len(page) < _PAGE:
                return rows

    def artifacts(self, run_id: str) -> list[dict[str, Any]]:
        which = {"artifacts": {"flow_run_id": {"any_": [run_id]}}, "limit": _PAGE}
        return list(self._ask("POST", "artifacts/filter", which))

    def cancel(self, run_id: str) -> None:
        self._ask("POST", f"flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING"}})

    def must_be_healthy(self) -> None:
        """Ask for the server's health, once.

        Raises:
            UsageError: the server is misconfigured.
            ServerSilent: it cannot be reached, or is not healthy.
        """
        self._ask("GET", "health", seconds=_SECONDS_OF_HEALTH)

    def _of_flow(self, flow: str) -> list[dict[str, Any]]:
        return list(self._ask("POST", "deployments/filter", {"flows": {"name": {"any_": [flow]}}, "limit": _PAGE}))

    def _ask(self, method: str, route: str, body: Any = None, *, seconds: int = _SECONDS) -> Any:
        doing = f"ask the Prefect server {self.shown}"
        asked = self._session.request(
            method,
            f"{self._url}/{route}",
            headers=self._headers,
            trusted=self._origin,
            doing=doing,
            tls=self._tls,
            body=None if body is None else json.dumps(body).encode(),
            answer_seconds=seconds,
        )
        try:
            with asked as answer:
                return self._content(answer.status, answer.body(doing))
        except ServerSilent:
            raise
        except CouldNotVerify as error:  # whatever became of this one answer, the run goes on
            raise ServerSilent(error.message) from error

    def _content(self, status: int, answer: bytes) -> Any:
        if status in (401, 403):
            sign_in = "set PREFECT_API_KEY or PREFECT_API_AUTH_STRING"
            raise UsageError(f"the Prefect server {self.shown} refuses to answer ({status}): {sign_in}")
        if status == 429 or status >= 500:
            raise ServerSilent(f"the Prefect server {self.shown} is in trouble (HTTP {status})")
        try:
            content = json.loads(answer) if answer else None
        except (ValueError, RecursionError):
            content = _NO_ROUTE
        if content == _NO_ROUTE:
            raise UsageError(f"what answers at {self.shown} is not a Prefect API: does PREFECT_API_URL end with /api?")
        if status == 404:
            raise NotFound(f"the Prefect server {self.shown} does not have it: {_reason(content)}")
        if status >= 400:
            raise UsageError(f"the Prefect server {self.shown} refuses (HTTP {status}): {_reason(content)}")
        return content


def _reason(content: Any) -> str:
    """Return the server's error text. It quotes what was sent, which holds no secret."""
    detail = content.get("detail") or content.get("exception_detail") or content if isinstance(content, dict) else ""
    return printable(redact(" ".join(str(detail).split())))[:600]


def _pages_of(api_url: str) -> str:
    if api_url.startswith(_CLOUD_API):
        account, _, workspace = api_url.removeprefix(_CLOUD_API).partition("/workspaces/")
        return f"https://app.prefect.cloud/account/{account}/workspace/{workspace}"
    return api_url.removesuffix("/api")


def _sign_in(settings: dict[str, str], user: tuple[str, str] | None) -> dict[str, str]:
    """Return the header that Prefect's own client would send: it prefers the address, then PREFECT_API_AUTH_STRING.

    Args:
        user: user and password of the address, decoded.
    """
    key, pair = settings.get("PREFECT_API_KEY"), settings.get("PREFECT_API_AUTH_STRING")
    if user or pair:
        return {"Authorization": basic_authorization(":".join(user) if user else str(pair))}
    return {"Authorization": f"Bearer {key}"} if key else {}


# Like Prefect's client, take the address and the credentials from the environment, then from the active profile.

_NAMES = (
    "PREFECT_API_URL",
    "PREFECT_API_KEY",
    "PREFECT_API_AUTH_STRING",
    "PREFECT_API_SSL_CERT_FILE",
    "PREFECT_UI_URL",
)


def prefect_settings() -> dict[str, str]:
    """Return those settings of `_NAMES` that are set.

    Raises:
        UsageError: the profiles cannot be read, or the requested one does not exist.
    """
    profile = _active_profile()
    found = {name: os.environ.get(name) or profile.get(name) for name in _NAMES}
    return {name: str(value) for name, value in found.items() if value}


def _active_profile() -> dict[str, Any]:
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    file = Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml").expanduser()
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"the Prefect profiles in {file} cannot be read: {type(error).__name__}") from error
    profiles = content.get("profiles", {})
    asked_for = os.environ.get("PREFECT_PROFILE")
    if asked_for and asked_for not in profiles:
        raise UsageError(f"PREFECT_PROFILE is {printable(asked_for)}, and {file} has no such profile")
    profile = profiles.get(asked_for or content.get("active"), {})
    return profile if isinstance(profile, dict) else {}


_POLL_SECONDS = 1.0
_GIVE_UP_SECONDS = 900.0  # a server that is being updated or restarted is back by then
_LINES_LATE_SECONDS = 20
# Prefect logs this with a traceback even if a flow ends as Findings on purpose.
_SAID_OF_EVERY_FAILED = "Engine execution exited with unexpected exception"
_RESULTS = ("-summary", "-accepted")  # suffixes of the keys of the artifacts that hold a run's result


class Follower:
    """Follows a run and prints its progress.

    Args:
        quiet: print only states, not the log and the progress.
    """

    def __init__(self, server: PrefectServer, run_id: str, *, quiet: bool) -> None:
        self._server = server
        self._run_id = run_id
        self._quiet = quiet
        self._told: tuple[str, str] | None = None
        self._progress = -1
        self._newest = ""  # time of the newest log line, ISO in UTC, which sorts as text
        self._seen: set[str] = set()

    def to_the_end(self) -> RunState:
        """Wait for the run to end, and return its final state.

        Raises:
            CouldNotVerify: the run was deleted, or the server did not answer for 15 minutes.
        """
        silent_since: float | None = None
        while True:
            try:
                state = self._server.state(self._run_id)
                self._tell(state)
                silent_since = None
                if state.is_final:
                    self._tell_rest()
                    return state
            except NotFound as error:
                raise CouldNotVerify("somebody deleted the run: nothing can be said of its result") from error
            except ServerSilent as error:
                if silent_since is None:
                    silent_since = time.monotonic()
                    _say(error.message)
                    _say("waiting for it; the run goes on meanwhile")
                if time.monotonic() - silent_since > _GIVE_UP_SECONDS:
                    raise CouldNotVerify(f"the run may go on, look there later: {error.message}") from error
            time.sleep(_POLL_SECONDS)

    def _tell(self, state: RunState) -> None:
        if not self._quiet:
            self._tell_log()
            self._tell_progress()
        if (state.name, state.message) != self._told:
            self._told = (state.name, state.message)
            _say(f"{state.name}: {state.message}" if state.message else state.name)
            if state.type == "PAUSED":
                self._tell_approval()
            if state.name == "Late":
                _say("no worker has taken it: is one running (prefect worker start --pool registry-audit), and free?")

    def _tell_approval(self) -> None:
        for row in self._server.artifacts(self._run_id):
            if str(row.get("key")).endswith("-approval"):
                for line in str(row.get("data")).splitlines():
                    _say(line)
        _say(
            f"it waits for an approval: open {self._server.page_of(self._run_id)}, press Resume, and give a name and a"
        )
        _say("reason. To refuse it, cancel the run there. Ctrl-C here leaves it waiting")

    def _tell_rest(self) -> None:
        """Print the last log lines, which processes send after the final state."""
        if not self._quiet:
            time.sleep(_POLL_SECONDS)
            self._tell_log()

    def _tell_log(self) -> None:
        """Print new log lines.

        Of tasks only warnings and errors are shown: there may be hundreds, and the progress sums them up.
        """
        for row in self._server.logs(self._run_id, _before(self._newest)):
            if row["id"] in self._seen:
                continue
            self._seen.add(row["id"])
            at, level = str(row["timestamp"]), int(row["level"])
            self._newest = max(self._newest, at)
            if str(row["message"]).startswith(_SAID_OF_EVERY_FAILED) or (
                row.get("task_run_id") and level < logging.WARNING
            ):
                continue
            for line in str(row["message"]).splitlines():
                _say(f"{at[11:19]} {logging.getLevelName(level)} {line}")

    def _tell_progress(self) -> None:
        bars = [row for row in self._server.artifacts(self._run_id) if row.get("type") == "progress"]
        if bars and (percent := int(float(bars[-1].get("data") or 0))) > self._progress:
            self._progress = percent
            _say(f"{percent} % done")


def show_result(server: PrefectServer, run_id: str, state: RunState) -> None:
    """Print the run's result, which is Markdown, on stdout; if there is none, print its final state."""
    results = [row for row in server.artifacts(run_id) if str(row.get("key")).endswith(_RESULTS)]
    for row in results:
        for line in str(row.get("data")).splitlines():
            click.echo(_shown(line))
    if not results:
        click.echo(_shown(redact(f"{state.name}: {state.message}" if state.message else state.name)))


def exit_status_of(state: RunState) -> ExitStatus:
    """Return the exit status for a final state, by the names of `flows.final_state`.

    Other names are not from our flows.
    """
    if state.type == "COMPLETED" and state.name == STATE_NAMES[ExitStatus.CLEAN]:
        return ExitStatus.CLEAN
    named = {name: status for status, name in STATE_NAMES.items() if status != ExitStatus.CLEAN}
    return named.get(state.name, ExitStatus.INCOMPLETE) if state.type == "FAILED" else ExitStatus.INCOMPLETE


def reason_of(state: RunState) -> str | None:
    """Say why a run ended in a state that is none of ours; None if it is ours."""
    if state.type == "FAILED" and state.name in STATE_NAMES.values():
        return None
    if state.type == "COMPLETED" and state.name in STATE_NAMES.values():
        return None
    what = {
        "CRASHED": "the process of the run ended before its work was done",
        "CANCELLED": "the run was cancelled before its work was done",
        "FAILED": "the run failed for a reason that is not in the registry",
    }
    why = what.get(state.type, "the run ended in a state that is none of an audit's")
    return _shown(redact(f"{why}: {' '.join((state.message or state.name).split())}"))


def _before(time: str) -> str | None:
    """Return a time some seconds earlier.

    Lines come in batches from several processes, so older lines may arrive later.
    """
    return (datetime.fromisoformat(time) - timedelta(seconds=_LINES_LATE_SECONDS)).isoformat() if time else None


def _say(line: str) -> None:
    click.echo(_shown(redact(line)), err=True)


def _shown(line: str) -> str:
    """Make a line safe to print.

    Text of a run is printable already; escaping it twice would change names and Markdown.
    """
    return line if line.isprintable() else printable(line)
