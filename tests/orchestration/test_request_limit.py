"""The requests of all audits together are bounded by one limit on the Prefect server."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from prefect import flow

from registry_audit.audit.options import AuditOptions
from tasks.request_limit import REQUESTS_LIMIT, share_of_requests, split_requests

from .conftest import PrefectServer

OPTIONS = AuditOptions(tracking_uri="http://mlflow.example")


@pytest.fixture
def limit(prefect_server: PrefectServer) -> Iterator[str]:
    made = prefect_server.post("v2/concurrency_limits/", name=REQUESTS_LIMIT, limit=24)
    route = f"v2/concurrency_limits/{made['id']}"
    yield route
    prefect_server.delete(route)


@pytest.mark.parametrize(
    ("asked", "of", "share"), [(None, 1, 8), (3, 1, 3), (100, 1, 8), (None, 3, 2), (None, 50, 1), (1, 2, 1)]
)
def test_a_process_holds_its_share(
    prefect_server: PrefectServer, limit: str, asked: int | None, of: int, share: int
) -> None:
    def slots() -> int:
        return int(prefect_server.get(limit)["active_slots"])

    @flow
    def work() -> tuple[int | None, int]:
        with share_of_requests(OPTIONS.model_copy(update={"max_requests": asked}), of=of) as options:
            return options.max_requests, slots()

    assert work() == (share, share)
    assert slots() == 0


def test_an_audit_that_goes_on_for_long_leaves_something_for_others(prefect_server: PrefectServer, limit: str) -> None:
    @flow
    def work() -> list[int | None]:
        with ExitStack() as audits:
            return [audits.enter_context(share_of_requests(OPTIONS)).max_requests for _ in range(6)]

    assert work() == [8, 5, 3, 2, 2, 1]
    assert prefect_server.get(limit)["active_slots"] == 0


def test_without_a_limit_the_options_stay(prefect_server: PrefectServer) -> None:
    @flow
    def work() -> int | None:
        with share_of_requests(OPTIONS) as options:
            return options.max_requests

    assert work() is None


@pytest.mark.parametrize(("held", "processes", "each"), [(None, 4, None), (8, 4, 2), (8, 3, 2), (2, 4, 1)])
def test_what_is_held_is_split_among_processes(held: int | None, processes: int, each: int | None) -> None:
    assert split_requests(OPTIONS.model_copy(update={"max_requests": held}), processes).max_requests == each
