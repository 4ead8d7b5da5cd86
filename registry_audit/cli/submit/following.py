"""Following a run to its end: what it does goes to stderr, what it found to stdout."""

import logging
import time
from datetime import datetime, timedelta

import click

from registry_audit.cli.submit.server import PrefectServer, RunState, ServerSilent
from registry_audit.errors import CouldNotVerify, NotFound
from registry_audit.printable import printable
from registry_audit.redact import redact
from registry_audit.verdict import STATE_NAMES, ExitStatus

_POLL_SECONDS = 1.0
_GIVE_UP_SECONDS = 900.0  # a server that is updated or restarted is back by then
_LINES_LATE_SECONDS = 20
# Followed by a traceback of Prefect's own, also where a flow ends as Findings on purpose.
_SAID_OF_EVERY_FAILED = "Engine execution exited with unexpected exception"
_RESULTS = ("-summary", "-accepted")  # how the keys of the artifacts end that are a run's result


class Follower:
    """
    Args:
        quiet: tell of the states only, not of the log and the progress.
    """

    def __init__(self, server: PrefectServer, run_id: str, *, quiet: bool) -> None:
        self._server = server
        self._run_id = run_id
        self._quiet = quiet
        self._told: tuple[str, str] | None = None
        self._progress = -1
        self._newest = ""  # time of a line of the log, ISO in UTC: sorts as text
        self._seen: set[str] = set()

    def to_the_end(self) -> RunState:
        """The final state.

        Raises:
            CouldNotVerify: the run was deleted, or the server is silent for very long.
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
                    _say(f"{error.message} Waiting; the run goes on without it")
                if time.monotonic() - silent_since > _GIVE_UP_SECONDS:
                    raise CouldNotVerify(f"{error.message} The run may go on; look there later") from error
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
        """Processes send their last lines after the final state."""
        if not self._quiet:
            time.sleep(_POLL_SECONDS)
            self._tell_log()

    def _tell_log(self) -> None:
        """Show only warnings and errors of tasks: there may be hundreds, and the progress sums them up."""
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
    """The Markdown that the run left as its result on stdout; where there is none, what its final state says."""
    results = [row for row in server.artifacts(run_id) if str(row.get("key")).endswith(_RESULTS)]
    for row in results:
        for line in str(row.get("data")).splitlines():
            click.echo(_shown(line))
    if not results:
        click.echo(_shown(redact(f"{state.name}: {state.message}" if state.message else state.name)))


def exit_status_of(state: RunState) -> ExitStatus:
    """As `flows.final_state` names the states: Completed under another name was not said by a flow of ours."""
    if state.type == "COMPLETED" and state.name == STATE_NAMES[ExitStatus.CLEAN]:
        return ExitStatus.CLEAN
    named = {name: status for status, name in STATE_NAMES.items() if status != ExitStatus.CLEAN}
    return named.get(state.name, ExitStatus.INCOMPLETE) if state.type == "FAILED" else ExitStatus.INCOMPLETE


def reason_of(state: RunState) -> str | None:
    """Why a run that ended in none of our states did."""
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
    """Lines come in batches, from several processes: a line may come after a younger one."""
    return (datetime.fromisoformat(time) - timedelta(seconds=_LINES_LATE_SECONDS)).isoformat() if time else None


def _say(line: str) -> None:
    click.echo(_shown(redact(line)), err=True)


def _shown(line: str) -> str:
    """What the run says is printable already; doubling its backslashes once more would change names and Markdown."""
    return line if line.isprintable() else printable(line)
