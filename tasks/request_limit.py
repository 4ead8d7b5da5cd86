"""Limits the requests to servers over all audits and all workers, with a Prefect global concurrency limit."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx
from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound

from registry_audit.audit.options import AuditOptions
from tasks.configuration import asked
from tasks.prefect_sender import tried_once

REQUESTS_LIMIT = (
    "registry-audit-requests"  # to use it, create it: prefect gcl create registry-audit-requests --limit 32
)

_LEASE_SECONDS = 120.0
_PART = 3  # one audit takes 1/3 of the free slots, so that others, even if they start at the same time, get some too


@contextmanager
def share_of_requests(options: AuditOptions, *, of: int = 1) -> Iterator[AuditOptions]:
    """Yield the options with this process's share of the limit, which is held in the `with` block.

    Without a limit, the options are unchanged. An audit takes a part of the free slots, so that an hour-long audit
    leaves some to short ones; it waits only if none is free. The limit counts whole shares, not single requests: asking
    Prefect for each request would cost more than the request.

    Args:
        of: number of processes of one audit that divide the share.

    Raises:
        Transient: the Prefect server does not answer.
    """
    free = _free()
    if free is None:
        yield options
        return
    share = max(1, free // (_PART * of))
    if options.max_requests is not None:
        share = min(share, options.max_requests)
    held = ExitStack()
    held.enter_context(
        concurrency(REQUESTS_LIMIT, occupy=share, lease_duration=_LEASE_SECONDS, raise_on_lease_renewal_failure=False)
    )
    try:
        yield options.model_copy(update={"max_requests": share})
    finally:
        with suppress(httpx.HTTPError), tried_once():  # on failure it becomes free when the lease expires
            held.close()


def split_requests(options: AuditOptions, processes: int) -> AuditOptions:
    """Return the options for each of several processes that divide this one's share, with at least one request each."""
    if options.max_requests is None:
        return options
    return options.model_copy(update={"max_requests": max(1, options.max_requests // processes)})


def _free() -> int | None:
    """Return the free slots of the limit; None if there is no limit or it is switched off."""
    with get_client(sync_client=True) as client:
        try:
            limit = asked(lambda: client.read_global_concurrency_limit_by_name(REQUESTS_LIMIT))
        except ObjectNotFound:
            return None
    return max(0, limit.limit - limit.active_slots) if limit.active and limit.limit > 0 else None
