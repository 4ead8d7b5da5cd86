"""Defines the policies of the tasks: retries, caching, the names of runs, and what errors may show."""

import functools
import logging
import traceback
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar

from prefect import State, Task, get_run_logger
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun
from prefect.context import TaskRunContext

from registry_audit.errors import AuditError, Transient
from registry_audit.printable import printable
from registry_audit.redact import redact
from registry_audit.registry.address import shown_address
from registry_audit.registry.translate import reason_of
from registry_audit.registry.version import RegisteredVersion

_P = ParamSpec("_P")
_R = TypeVar("_R")

_DELAY_SECONDS = 10  # a single number, because the UI shows a list of delays as "NaNs"

# A cache keyed on names or URIs hides exactly what an audit looks for. Results that one audit may reuse until it ends
# are kept by `tasks.result_storage`.
UNCACHED: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}


_NEVER_RAN = "Finished in state NotReady"  # logged after a step that failed and has logged its reason


class _NoDefect(logging.Filter):
    """Demotes Prefect's log of our own errors to a warning.

    They are results of steps, but Prefect logs them as defects.
    """

    def __init__(self) -> None:
        super().__init__()
        self._task_run_ids: set[str] = set()

    def expect(self) -> None:
        """Note that the current task run raises one of our errors."""
        if (context := TaskRunContext.get()) is not None:
            self._task_run_ids.add(str(context.task_run.id))

    def filter(self, record: logging.LogRecord) -> bool:
        is_ours = getattr(record, "task_run_id", None) in self._task_run_ids
        if record.levelno == logging.ERROR and (is_ours or str(record.msg).startswith(_NEVER_RAN)):
            record.exc_info, record.levelno, record.levelname = None, logging.WARNING, "WARNING"
        return True


_no_defect = _NoDefect()
logging.getLogger("prefect.task_runs").addFilter(_no_defect)


def worth_retrying(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Retry only errors that may be transient. A difference, a missing model or a wrong option would not change."""
    return isinstance(state.result(raise_on_failure=False), Transient | ConnectionError | TimeoutError)


# No `timeout_seconds`, which cannot interrupt a read in a thread. Every HTTP request has a time limit instead.
RETRIED: dict[str, Any] = {
    **UNCACHED,
    "retries": 3,
    "retry_delay_seconds": _DELAY_SECONDS,
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": worth_retrying,
}


def is_last_try() -> bool:
    """Say whether the current task will not be retried, whatever it raises. True outside of a task run."""
    context = TaskRunContext.get()
    return context is None or context.task_run.run_count > context.task.retries


def presentable(step: Callable[_P, _R]) -> Callable[_P, _R]:
    """Replace errors by ones that Prefect may log, store and show.

    Prefect writes an exception and all its causes into the logs, and errors of HTTP libraries quote the requested URL,
    including a password in it.
    """

    @functools.wraps(step)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return step(*args, **kwargs)
        except AuditError as error:
            _no_defect.expect()
            raise error.with_traceback(None) from None
        except (ConnectionError, TimeoutError) as error:
            _no_defect.expect()
            raise Transient(reason_of(error)) from None
        except Exception as error:  # noqa: BLE001 - our own defects are reported like any error, without secrets
            get_run_logger().error(redacted_traceback(error))
            raise AuditError(reason_of(error)) from None

    return run


def redacted_traceback(error: BaseException) -> str:
    return redact("".join(traceback.format_exception(error)))


# The names of runs are readable, although the names in a registry may be hostile.

_LABEL_CHARACTERS = 60


class _OfVersion(Protocol):
    @property
    def version(self) -> RegisteredVersion: ...


def short(text: str) -> str:
    """Return the text on one line, without credentials, at most 60 characters."""
    shown = printable(redact(text))
    return shown if len(shown) <= _LABEL_CHARACTERS else f"{shown[: _LABEL_CHARACTERS - 3]}..."


def short_address(uri: str) -> str:
    """Return the address of a server, without http:// or https://."""
    return short(shown_address(uri)).removeprefix("http://").removeprefix("https://")


def named_after(step: str, parameter: str) -> Callable[..., str]:
    """Return a function that names task runs: `compare · Wine/3`, or `compare · Wine/1 … Zeta/4 (50)` for a batch.

    Args:
        step: name of the task.
        parameter: the task's parameter that holds a sequence of versions, or of what is known about them.
    """

    def name(parameters: dict[str, Any]) -> str:
        return f"{step} · {span(parameters[parameter])}"

    return name


def span(batch: Sequence[RegisteredVersion | _OfVersion]) -> str:
    labels = [
        short(f"{item.name}/{item.version}" if isinstance(item, RegisteredVersion) else item.version.label)
        for item in batch
    ]
    if not labels:
        return "nothing"
    return labels[0] if len(labels) == 1 else f"{labels[0]} … {labels[-1]} ({len(labels)})"
