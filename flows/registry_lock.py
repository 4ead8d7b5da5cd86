"""Allows one audit of a registry at a time, whoever started it, with a slot of a Prefect global concurrency limit.

The slot is leased: a killed run no longer renews its lease, so its slot is free soon afterwards. Two other limits of
Prefect were tried and are not used. The limit of a work queue counts a killed run forever. The limit of a deployment
does not cover other deployments, and it ends a running audit when the server is restarted, or is unreachable for half a
minute at the wrong time: its renewal gives up after three tries.
"""

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect import State, get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import ConcurrencyLeaseHolder, FlowRun, StateType
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectException
from prefect.states import Running

from flows import parameters
from registry_audit.audit.work_directory import LEASE_FILE, RUN_FILE, WorkDirectory
from registry_audit.errors import UsageError
from registry_audit.ledger.record import registry_of
from registry_audit.printable import printable
from tasks.configuration import asked
from tasks.listeners import listeners_of
from tasks.prefect_sender import quick_client

LEASE_SECONDS = 120.0  # the server's minimum is 60
_RENEWED_EVERY_SECONDS = 20.0
_ASKED_EVERY_SECONDS = 5.0
_TAKEN, _LOST = 423, 410
_FLOW = "audit-registry"


@contextmanager
def only_audit_of(registry_uri: str, work: WorkDirectory) -> Iterator[None]:
    """Wait until no other audit of the registry runs. The run's state says so meanwhile.

    A resumed audit takes over the slot of the process that was killed.

    Raises:
        Transient: the Prefect server does not answer.
    """
    slot = _Slot(limit_name(registry_uri), work.path / LEASE_FILE, UUID(parameters.this_run()))
    over = threading.Event()
    with get_client(sync_client=True) as client:
        asked(lambda: slot.make(client))
        asked(lambda: slot.wait(client, listeners_of(work.audit_id).waiting))
    renewing = threading.Thread(target=slot.keep, args=(over, get_run_logger()), daemon=True, name="lease-of-the-audit")
    renewing.start()
    try:
        yield
    finally:
        over.set()
        renewing.join()
        slot.give_back()


def must_be_alone_at(work: WorkDirectory) -> None:
    """Refuse to run one audit twice at the same time on two machines. On one machine the working directory is locked.

    Raises:
        UsageError: another flow run, which began before this one, runs the same audit.
    """
    own, file = parameters.this_run(), work.path / RUN_FILE
    # The previous holder of the lock, which we hold now, has ended, even if Prefect still shows it as running.
    ended = file.read_text(encoding="ascii", errors="replace") if file.is_file() else ""
    running = {str(run.id): run for run in _running_audits()}
    began = [(run.start_time, run_id) for run_id, run in running.items()]
    mine = next((start for start in began if start[1] == own), None)
    for start in sorted(began):
        run = running[start[1]]
        is_same = work.audit_id in (start[1], run.parameters.get("audit_id")) and start[1] not in (own, ended)
        if is_same and (mine is None or start < mine):
            raise UsageError(
                f"the audit {work.audit_id} is running as the flow run {printable(run.name)}: wait for its end. If its "
                "machine died, Prefect says so within two minutes. Nothing was changed"
            )
    with suppress(OSError):
        file.write_text(own, encoding="ascii")


def _running_audits() -> list[FlowRun]:
    """List the running audits. The list is empty if Prefect does not answer."""
    of_audits = FlowFilter(name=FlowFilterName(any_=[_FLOW]))
    now = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])))
    with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
        return [run for run in client.read_flow_runs(flow_filter=of_audits, flow_run_filter=now) if run.start_time]
    return []


def limit_name(registry_uri: str) -> str:
    """Return a readable name that is the same for every spelling of a registry, in characters that Prefect accepts."""
    registry = registry_of(registry_uri)
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", registry).strip("-")[-60:]
    return f"registry-audit-{readable}-{hashlib.sha256(registry.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


class _Slot:
    def __init__(self, limit: str, lease_file: Path, run_id: UUID) -> None:
        self._limit = limit
        self._run_id = run_id
        self._file = lease_file
        self._lease: UUID | None = None

    def make(self, client: SyncPrefectClient) -> None:
        """Create the limit if it does not exist. A limit that somebody changed or switched off stays as it is."""
        try:
            client.read_global_concurrency_limit_by_name(self._limit)
        except ObjectNotFound:
            with suppress(ObjectAlreadyExists):
                client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=self._limit, limit=1))

    def wait(self, client: SyncPrefectClient, tell: Callable[[str], None]) -> None:
        if self._take_over(client) or self._take(client):
            return
        said = (
            "another audit of this registry is running, or was killed within the last two minutes (global concurrency "
            f"limit {self._limit})"
        )
        get_run_logger().info("waiting: %s", said)
        tell(said)
        self._show(client, Running(name="Waiting", message=said))
        while not self._take(client):
            time.sleep(_ASKED_EVERY_SECONDS)
        self._show(client, Running())

    def keep(self, over: threading.Event, log: Any) -> None:
        """Renew the lease until the audit is over, however long the server is unreachable."""
        while not over.wait(_RENEWED_EVERY_SECONDS):
            try:
                with quick_client() as client:
                    if not self._renew(client) and not over.is_set() and not self._take(client):
                        log.warning("the server forgot this audit's slot of %s: another may start", self._limit)
            except Exception as error:  # noqa: BLE001 - the audit continues without its lease
                log.warning("the slot of %s could not be renewed: %s", self._limit, type(error).__name__)

    def give_back(self) -> None:
        # On failure the slot becomes free when the lease expires, or a resumed audit takes it over before that.
        with suppress(httpx.HTTPError), quick_client() as client:
            if self._lease is not None:
                client.release_concurrency_slots_with_lease(self._lease)
            self._file.unlink(missing_ok=True)

    def _take(self, client: SyncPrefectClient) -> bool:
        """Say whether we now hold the slot. If the server does not answer, we do not."""
        holder = ConcurrencyLeaseHolder(type="flow_run", id=self._run_id)
        try:
            answer = client.increment_concurrency_slots_with_lease(
                [self._limit], 1, "concurrency", LEASE_SECONDS, holder
            )
        except httpx.HTTPStatusError as error:
            if error.response.status_code == _TAKEN or error.response.status_code >= 500:
                return False
            raise
        except httpx.TransportError:
            return False
        self._lease = UUID(answer.json()["lease_id"])
        with suppress(OSError):  # without the file, a resumed audit only has to wait until the lease expires
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(str(self._lease), encoding="ascii")
        return True

    def _take_over(self, client: SyncPrefectClient) -> bool:
        try:
            self._lease = UUID(self._file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return False
        return self._renew(client)

    def _renew(self, client: SyncPrefectClient) -> bool:
        """Renew the lease. Return False if it has expired or the server forgot it."""
        if self._lease is None:
            return False
        try:
            client.renew_concurrency_lease(self._lease, LEASE_SECONDS)
        except httpx.HTTPStatusError as error:
            if error.response.status_code == _LOST:
                return False
            raise
        return True

    def _show(self, client: SyncPrefectClient, state: State[Any]) -> None:
        """Set a state that is only informative: the run continues whether the server accepts it or not."""
        with suppress(httpx.HTTPError, PrefectException):
            client.set_flow_run_state(self._run_id, state, force=True)
