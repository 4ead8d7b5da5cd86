"""Sends what a run shows in Prefect in a separate thread, so that an unreachable Prefect server blocks no audit.

If several values are pending for one place, the newest is sent. A call that fails because the server is unreachable is
repeated later; any other failure is a warning in the run's log.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import Context, copy_context
from dataclasses import dataclass
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.utilities.context import get_task_and_flow_run_ids

from registry_audit.registry.translate import reason_of

CALL_SECONDS = 3.0  # for each step of a request: connect, write, read
SILENCE_SECONDS = 30.0  # pause after a failed call

# How long a run waits at its end for what has not arrived.
END_SECONDS = 60.0
# How long it waits again after its state arrived. Prefect itself waits minutes for that, so the server is back then.
LAST_SECONDS = 20.0
_CALL_AT_THE_END_SECONDS = 10.0  # with less time, a busy server would get the same table twice
_SILENCE_AT_THE_END_SECONDS = 1.0

_BUSY_STATUSES = (408, 429)

Call = Callable[[SyncPrefectClient], None]


@dataclass(frozen=True, slots=True)
class _Item:
    what: str
    call: Call
    context: Context  # the run's context: its settings, artifacts and log


class _Sender:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pending: dict[tuple[str, str], _Item] = {}
        self._waiting = 0  # number of runs that wait at their end
        self._silent_until = 0.0
        self._thread: threading.Thread | None = None

    def put(self, place: tuple[str, str], item: _Item) -> None:
        with self._changed:
            self._pending[place] = item
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, daemon=True, name="beside-the-work")
                self._thread.start()
            self._changed.notify_all()

    def wait(self, run: str, seconds: float) -> bool:
        """Wait, and say whether everything from a run arrived within this time."""
        with self._changed:
            self._waiting += 1
            self._silent_until = 0.0
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: not any(place[0] == run for place in self._pending), seconds)
            finally:
                self._waiting -= 1

    def _run(self) -> None:
        line = _Line()
        while True:
            with self._changed:
                place, item = self._next(line)
                seconds = _CALL_AT_THE_END_SECONDS if self._waiting else CALL_SECONDS
            has_answered = item.context.run(line.sent, item, (place[0], seconds))
            with self._changed:
                newest = self._pending.pop(place)
                if newest is not item or not has_answered:
                    self._pending[place] = newest  # at the end of the queue: the server may not accept it
                if not has_answered:
                    silence = _SILENCE_AT_THE_END_SECONDS if self._waiting else SILENCE_SECONDS
                    self._silent_until = time.monotonic() + silence
                self._changed.notify_all()

    def _next(self, line: "_Line") -> tuple[tuple[str, str], _Item]:
        while True:
            silence = self._silent_until - time.monotonic()
            if self._pending and silence <= 0:
                return next(iter(self._pending.items()))
            line.close()
            self._changed.wait(silence if self._pending else None)


class _Line:
    """Holds a client for several calls of a run, because creating one takes longer than a call."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._client: SyncPrefectClient | None = None
        self._key: tuple[str, float] | None = None

    def sent(self, item: _Item, key: tuple[str, float]) -> bool:
        """Make a call. Return False if the server is unreachable or busy, so that the call has to be repeated.

        Args:
            key: the run, and the time limit of a call in seconds.
        """
        try:
            with tried_once(key[1]):
                item.call(self._client_of(key))
        except httpx.TransportError:
            return False
        except Exception as error:  # noqa: BLE001 - an audit of hours must not fail because of the page that shows it
            if isinstance(error, httpx.HTTPStatusError) and _is_busy(error.response.status_code):
                return False
            get_run_logger().warning("%s: %s", item.what, reason_of(error))
        return True

    def close(self) -> None:
        self._open.close()
        self._client = self._key = None

    def _client_of(self, key: tuple[str, float]) -> SyncPrefectClient:
        if self._client is None or self._key != key:
            self.close()
            self._client, self._key = self._open.enter_context(_own_client()), key
        return self._client


_sender = _Sender()


def send(key: str, what: str, call: Call) -> None:
    """Make a call of Prefect's API soon. It replaces a pending call with the same run and key.

    Args:
        what: describes for people what failed, if the call fails.
        call: may be repeated after it failed halfway.
    """
    _sender.put((_this_run(), key), _Item(what, call, copy_context()))


def send_artifact(kind: str, key: str, what: str, data: str, description: str) -> None:
    """Create an artifact of the current run soon.

    Args:
        kind: `markdown` or `table`; the data of a table is JSON.
    """
    task_run_id, flow_run_id = get_task_and_flow_run_ids()
    artifact = ArtifactCreate(
        type=kind, key=key, description=description, data=data, task_run_id=task_run_id, flow_run_id=flow_run_id
    )

    def create(client: SyncPrefectClient) -> None:
        client.create_artifact(artifact)

    send(key, f"the artifact for the {what} could not be written", create)


def wait_for_arrival(seconds: float = END_SECONDS) -> None:
    """Wait at the end of a run for pending calls. Sending continues afterwards as long as the process lives."""
    if not _sender.wait(_this_run(), seconds):
        get_run_logger().warning(
            "the Prefect server is away: what this run found may not be on its page. The report and the ledger have it"
        )


def wait_once_more(flow_run_id: UUID) -> None:
    """Wait again after Prefect's server has received the run's final state: pending calls may succeed now."""
    _sender.wait(str(flow_run_id), LAST_SECONDS)


def is_there() -> bool:
    """Say whether the Prefect server answers now."""
    with suppress(httpx.HTTPError, PrefectException), quick_client(_CALL_AT_THE_END_SECONDS) as client:
        client.api_version()
        return True
    return False


@contextmanager
def tried_once(seconds: float = CALL_SECONDS) -> Iterator[None]:
    """Let Prefect's clients fail within seconds if the server is unreachable, in the `with` block."""
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: seconds}):
        yield


@contextmanager
def quick_client(seconds: float = CALL_SECONDS) -> Iterator[SyncPrefectClient]:
    with tried_once(seconds), _own_client() as client:
        yield client


def _own_client() -> SyncPrefectClient:
    """Return a separate client. Without settings, Prefect returns the run's client, which has other limits."""
    return get_client(httpx_settings={}, sync_client=True)


def _is_busy(status: int) -> bool:
    return status >= 500 or status in _BUSY_STATUSES


def _this_run() -> str:
    return str(get_task_and_flow_run_ids()[1])
