"""What can go wrong, by how the caller reacts. A difference between models is data, never an exception.

Messages are one line, name the way out, and hold no credentials. All of these survive pickling.
"""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches

from registry_audit.printable import printable
from registry_audit.verdict import ExitStatus

_ALIKE = 0.7  # of 1, the likeness of two equal texts
_MARGIN = 0.1


class AuditError(Exception):
    """Base of everything this library raises on purpose."""

    exit_status = ExitStatus.INCOMPLETE

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Stopped(AuditError):
    """The work was told to stop: interrupted, or cancelled from elsewhere."""

    exit_status = ExitStatus.INTERRUPTED


class UsageError(AuditError):
    """The request itself is wrong: an option, a configuration, credentials, a name that does not exist."""

    exit_status = ExitStatus.USAGE


class NotFound(UsageError):
    """The server answered, and what was asked for is not there."""


class CouldNotVerify(AuditError):
    """Something could not be read: denied, out of reach, or not transportable. This is never a pass."""


class Transient(CouldNotVerify):
    """Worth another try: connection, time-out, 429, 5xx, a body that ended early."""

    given_up = False  # tried often enough


class BodyEndedEarly(Transient):
    """An answer that began well and broke off."""


class Refused(Transient):
    """The server asks to be left alone for a while: 429 or 503."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        """
        Args:
            retry_after: seconds, where the answer names them.
        """
        super().__init__(message)
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[type, tuple[str, float | None]]:
        return type(self), (self.message, self.retry_after)


class LedgerError(AuditError):
    """The ledger is unusable or its chain is broken."""

    exit_status = ExitStatus.LEDGER


class NoLedgerYet(LedgerError):
    """There is no such file, and this machine has never seen one there."""


# What a message suggests in place of a name that is not there.


def did_you_mean(text: str, known: Iterable[str], *, sign: str = "") -> str:
    """`; did you mean 'Wine'?`, ready to end a sentence; nothing where no name is close.

    Args:
        sign: shown before a name.
    """
    folded = dict[str, str]()
    for name in known:
        folded.setdefault(name.casefold(), name)
    near = get_close_matches(text.casefold(), folded, n=3, cutoff=_ALIKE)
    # Among the thousand names of a registry several are somewhat alike: beside a typing error they only confuse.
    close = [folded[name] for name in near if _likeness(name, text) > _likeness(near[0], text) - _MARGIN]
    named = " or ".join(f"'{sign}{printable(name)}'" for name in close)
    return f"; did you mean {named}?" if named else ""


def _likeness(name: str, text: str) -> float:
    return SequenceMatcher(None, name, text.casefold()).ratio()
