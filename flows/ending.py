"""How a flow run ends: the states of the exit statuses."""

from typing import Any

from prefect import State, get_run_logger
from prefect.states import Completed, Failed

from registry_audit.errors import AuditError
from registry_audit.verdict import STATE_NAMES, ExitStatus


def ended(exit_status: int, sentence: str) -> State[Any]:
    """Completed, or Failed with a name of its own: automations tell findings from defects by it.

    Args:
        sentence: the result for people.
    """
    if exit_status == ExitStatus.CLEAN:
        return Completed(message=sentence)
    return Failed(name=STATE_NAMES[ExitStatus(exit_status)], message=sentence)


def refused(error: AuditError) -> State[Any]:
    """The state of a run that could not even say something of each version."""
    get_run_logger().error(error.message)
    return Failed(name=STATE_NAMES.get(error.exit_status), message=error.message, data=error)
