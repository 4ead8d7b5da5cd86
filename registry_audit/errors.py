"""What can go wrong, by how the caller reacts. A difference between models is data, never an exception.

Messages are one line, name the way out, and hold no credentials. All of these survive pickling.
"""

from registry_audit.verdict import ExitStatus


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
