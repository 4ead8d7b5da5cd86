"""Defines errors, one class for each reaction of the caller. A difference between models is data, never an error.

Messages are one line, name the way out, and hold no credentials. All of these survive pickling.
"""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches

from registry_audit.printable import printable
from registry_audit.verdict import ExitStatus

_ALIKE = 0.7  # similarity; 1 is two equal texts
_MARGIN = 0.1


class AuditError(Exception):
    """Serves as the base class of every error that this library raises on purpose."""

    exit_status = ExitStatus.INCOMPLETE

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message  # which somebody may have completed since


class Stopped(AuditError):
    """The work was told to stop: it was interrupted, or cancelled from elsewhere."""

    exit_status = ExitStatus.INTERRUPTED


class UsageError(AuditError):
    """The request itself is wrong: an option, a configuration, credentials, a name that does not exist."""

    exit_status = ExitStatus.USAGE


class NotFound(UsageError):
    """The server answered, and the object that was asked for does not exist."""


class CouldNotVerify(AuditError):
    """Something could not be read: denied, out of reach, or not transportable. This is never a pass."""


class Transient(CouldNotVerify):
    """The failure is retryable: connection, time-out, 429, 5xx, a body that ended early."""

    given_up = False  # the attempts are used up


class BodyEndedEarly(Transient):
    """The body of a response broke off before its end."""


class Refused(Transient):
    """The server asks clients to wait: 429 or 503."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        """
        Args:
            retry_after: seconds to wait, if the response names them.
        """
        super().__init__(message)
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[type, tuple[str, float | None]]:
        return type(self), (self.message, self.retry_after)


class LedgerError(AuditError):
    """The ledger is unusable or its chain is broken."""

    exit_status = ExitStatus.LEDGER


class NoLedgerYet(LedgerError):
    """There is no ledger file, and this machine has never seen one there."""


# Suggestions of existing names for a name that does not exist.


def did_you_mean(text: str, known: Iterable[str], *, sign: str = "") -> str:
    """Return `; did you mean 'Wine'?`, ready to end a sentence, or an empty text if no name is close.

    Args:
        sign: shown before each name.
    """
    folded = dict[str, str]()
    for name in known:
        folded.setdefault(name.casefold(), name)
    near = get_close_matches(text.casefold(), folded, n=3, cutoff=_ALIKE)
    # Among a registry's thousand names several are somewhat similar; beside an obvious typing error they only confuse.
    close = [folded[name] for name in near if _likeness(name, text) > _likeness(near[0], text) - _MARGIN]
    named = " or ".join(f"'{sign}{printable(name)}'" for name in close)
    return f"; did you mean {named}?" if named else ""


def _likeness(name: str, text: str) -> float:
    return SequenceMatcher(None, name, text.casefold()).ratio()
