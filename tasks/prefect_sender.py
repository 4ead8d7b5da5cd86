"""Sends what a run shows in Prefect in a thread of its own, so that a Prefect server that is away holds no audit.

Of several values for one place the newest is sent. A call that fails because the server is away is made again after a
while; whatever else goes wrong is a warning in the run's log.
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

CALL_SECONDS = 3.0  # for each step of a request: to connect, to write, to read
SILENCE_SECONDS = 30.0  # after a call that failed

# While a run waits, at its end, for what has not arrived.
END_SECONDS = 60.0
# And once more when its state has arrived, for which Prefect itself waits for minutes: the server is back by then.
LAST_SECONDS = 20.0
_CALL_AT_THE_END_SECONDS = 10.0  # a busy server that needs longer would get the same table twice
_SILENCE_AT_THE_END_SECONDS = 1.0

_BUSY_STATUSES = (408, 429)

Call = Callable[[SyncPrefectClient], None]


@dataclass(frozen=True, slots=True)
class _Item:
    what: str
    call: Call
    context: Context  # of the run: whose settings, artifacts and log these are


class _Sender:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pending: dict[tuple[str, str], _Item] = {}
        self._waiting = 0  # runs at their end
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
        """Whether all of a run has arrived within so many seconds."""
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
                    self._pending[place] = newest  # behind the others: it may be what the server cannot take
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
    """A client for several calls of a run: to make one takes longer than a call."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._client: SyncPrefectClient | None = None
        self._key: tuple[str, float] | None = None

    def sent(self, item: _Item, key: tuple[str, float]) -> bool:
        """False: the server is away, or too busy, and the call is to be made again.

        Args:
            key: the run, and the seconds that a call may take.
        """
        try:
            with tried_once(key[1]):
                item.call(self._client_of(key))
        except httpx.TransportError:
            return False
        except Exception as error:  # noqa: BLE001 - an audit of hours is not lost for a page that shows it
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
    """Make a call of Prefect's API soon, in place of an earlier one of this run and key that was not made yet.

    Args:
        what: for people, if it cannot be done.
        call: may be made again, after it failed halfway.
    """
    _sender.put((_this_run(), key), _Item(what, call, copy_context()))


def send_artifact(kind: str, key: str, what: str, data: str, description: str) -> None:
    """
    Args:
        kind: `markdown` or `table`; a table's data is JSON.
    """
    task_run_id, flow_run_id = get_task_and_flow_run_ids()
    artifact = ArtifactCreate(
        type=kind, key=key, description=description, data=data, task_run_id=task_run_id, flow_run_id=flow_run_id
    )

    def create(client: SyncPrefectClient) -> None:
        client.create_artifact(artifact)

    send(key, f"the artifact for the {what} could not be written", create)


def wait_for_arrival(seconds: float = END_SECONDS) -> None:
    """At the end of a run: wait for what was not sent yet. What has not arrived is tried on while the process lives."""
    if not _sender.wait(_this_run(), seconds):
        get_run_logger().warning(
            "the Prefect server is away: what this run found may not be on its page. The report and the ledger have it"
        )


def wait_once_more(flow_run_id: UUID) -> None:
    """After a run has ended, which Prefect's server has said: what did not arrive before may arrive now."""
    _sender.wait(str(flow_run_id), LAST_SECONDS)


def is_there() -> bool:
    """Whether the Prefect server answers now."""
    with suppress(httpx.HTTPError, PrefectException), quick_client(_CALL_AT_THE_END_SECONDS) as client:
        client.api_version()
        return True
    return False


@contextmanager
def tried_once(seconds: float = CALL_SECONDS) -> Iterator[None]:
    """Meanwhile Prefect's clients fail within seconds where the server is away."""
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: seconds}):
        yield


@contextmanager
def quick_client(seconds: float = CALL_SECONDS) -> Iterator[SyncPrefectClient]:
    with tried_once(seconds), _own_client() as client:
        yield client


def _own_client() -> SyncPrefectClient:
    """Not that of the run, which has other limits: Prefect gives it to whoever asks without settings."""
    return get_client(httpx_settings={}, sync_client=True)


def _is_busy(status: int) -> bool:
    return status >= 500 or status in _BUSY_STATUSES


def _this_run() -> str:
    return str(get_task_and_flow_run_ids()[1])
