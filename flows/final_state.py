"""Makes the final state of a flow run from an exit status or an error."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect import Flow, State, get_run_logger
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import FailedRun
from prefect.states import Completed, Failed

from registry_audit.errors import AuditError
from registry_audit.registry.translate import reason_of
from registry_audit.verdict import STATE_NAMES, ExitStatus
from tasks.prefect_sender import wait_for_arrival, wait_once_more

_SAID_OF_A_DEFECT = "Engine execution exited with unexpected exception"


class _EndedAsItShould(logging.Filter):
    """Drops Prefect's log of a Failed state that a flow returns.

    It is a result, but Prefect logs it with a traceback.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not (record.msg == _SAID_OF_A_DEFECT and isinstance(error, FailedRun | AuditError))


logging.getLogger("prefect.flow_runs").addFilter(_EndedAsItShould())


def _send_what_is_left(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    wait_once_more(flow_run.id)


# Each flow does this after its final state was reported.
AFTER: dict[str, Any] = {"on_completion": [_send_what_is_left], "on_failure": [_send_what_is_left]}


def ended(exit_status: int, sentence: str) -> State[Any]:
    """Return Completed, or Failed with a name that lets automations distinguish findings from defects.

    Args:
        sentence: the result for people.
    """
    wait_for_arrival()
    if exit_status == ExitStatus.CLEAN:
        return Completed(message=sentence)
    return Failed(name=STATE_NAMES[ExitStatus(exit_status)], message=sentence)


@contextmanager
def only_logged(doing: str) -> Iterator[None]:
    """Log an error of the body and go on, where another error has ended the run and decides its final state.

    Args:
        doing: completes "could not ...".
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, the first error is the cause
        get_run_logger().error("could not %s: %s", doing, getattr(error, "strerror", None) or reason_of(error))


def refused(error: AuditError) -> State[Any]:
    """Return the state of a run that could not produce a result for each version."""
    level = logging.WARNING if error.exit_status in STATE_NAMES else logging.ERROR  # other errors are defects
    get_run_logger().log(level, error.message)
    wait_for_arrival()
    return Failed(name=STATE_NAMES.get(error.exit_status), message=error.message, data=error)
