"""One bound on the requests to servers over all audits and all workers: a global concurrency limit of Prefect."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound

from registry_audit.audit.options import AuditOptions

REQUESTS_LIMIT = (
    "registry-audit-requests"  # made by whoever wants it: prefect gcl create registry-audit-requests --limit 32
)

_LEASE_SECONDS = 120.0


@contextmanager
def share_of_requests(options: AuditOptions, *, of: int = 1) -> Iterator[AuditOptions]:
    """The options with this process's share of the limit, which it holds meanwhile; as they are where there is none.

    Waits until so many slots are free. A limit counts whole shares, not single requests: asking Prefect for each
    request would cost more than the request.

    Args:
        of: among how many processes the limit is shared out.
    """
    limit = _limit()
    if limit is None:
        yield options
        return
    share = min(options.max_requests or limit, max(1, limit // of))
    with concurrency(REQUESTS_LIMIT, occupy=share, lease_duration=_LEASE_SECONDS, raise_on_lease_renewal_failure=False):
        yield options.model_copy(update={"max_requests": share})


def split_requests(options: AuditOptions, processes: int) -> AuditOptions:
    """The options for each of several processes that share what this one holds; at least one request each."""
    if options.max_requests is None:
        return options
    return options.model_copy(update={"max_requests": max(1, options.max_requests // processes)})


def _limit() -> int | None:
    with get_client(sync_client=True) as client:
        try:
            found = client.read_global_concurrency_limit_by_name(REQUESTS_LIMIT)
        except ObjectNotFound:
            return None
    return found.limit if found.active and found.limit > 0 else None
