"""Names of runs that a person can read, from names that may be hostile."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from registry_audit.printable import printable
from registry_audit.redact import redact
from registry_audit.registry.version import RegisteredVersion

_LABEL_CHARACTERS = 60


class _OfVersion(Protocol):
    @property
    def version(self) -> RegisteredVersion: ...


def short(text: str) -> str:
    """On one line, without credentials, at most 60 characters."""
    shown = printable(redact(text))
    return shown if len(shown) <= _LABEL_CHARACTERS else f"{shown[: _LABEL_CHARACTERS - 3]}..."


def named_after(step: str, parameter: str) -> Callable[..., str]:
    """The name of a task run: `compare · Wine/3`, or `compare · Wine/1 … Zeta/4 (50)` of a batch.

    Args:
        step: name of the task.
        parameter: of the task; a sequence of versions or of what is known of them.
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
