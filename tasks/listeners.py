"""Notifies listeners in this process of an audit's progress. A command that runs a flow here uses them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.scope import Scope
from registry_audit.report.document import AuditDocument


def _ignore(_: object) -> None:
    return


@dataclass(frozen=True, slots=True)
class Listeners:
    """Holds the callbacks. `done` and `read` may be called from any thread."""

    listed: Callable[[Scope], None] = _ignore
    done: Callable[[VersionAudit], None] = _ignore
    read: Callable[[int], None] = _ignore  # number of further bytes
    reported: Callable[[AuditDocument], None] = _ignore
    interrupted: Callable[[AuditDocument], None] = _ignore  # the report on what was done, instead of `reported`
    waiting: Callable[[str], None] = _ignore  # what the run waits for


_NOBODY = Listeners()
_listening: dict[str, Listeners] = {}
_lock = threading.Lock()


@contextmanager
def listening(audit_id: str, listeners: Listeners) -> Iterator[None]:
    with _lock:
        _listening[audit_id] = listeners
    try:
        yield
    finally:
        with _lock:
            del _listening[audit_id]


def listeners_of(audit_id: str) -> Listeners:
    return _listening.get(audit_id, _NOBODY)
