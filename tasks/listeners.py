"""Listeners in this process that are told how an audit goes: those of the command that runs a flow here."""

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
    """`done` and `read` may be called from any thread."""

    listed: Callable[[Scope], None] = _ignore
    done: Callable[[VersionAudit], None] = _ignore
    read: Callable[[int], None] = _ignore  # so many more bytes
    reported: Callable[[AuditDocument], None] = _ignore
    interrupted: Callable[[AuditDocument], None] = _ignore  # instead: the report on what was done
    waiting: Callable[[str], None] = _ignore  # for what


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
