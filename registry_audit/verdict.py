"""Defines the words of an audit's result. Their values are part of the report's contract."""

from enum import IntEnum, StrEnum


class Verdict(StrEnum):
    """Names the result of an audit for one model version. Only the first three may be read as a pass."""

    MATCH = "match"  # two separate copies, byte-identical
    SAME_STORAGE = "same_storage"  # both are one storage; it was read, but there was nothing to compare it with
    EQUIVALENT = "equivalent"  # only differences that a named rule explains
    MISMATCH = "mismatch"
    UNVERIFIABLE = "unverifiable"  # not everything could be read: neither a pass nor proof of damage
    SKIPPED = "skipped"  # not a finished registration, so there is nothing to verify

    @property
    def passes(self) -> bool:
        """Say whether `equals` is true in mlflow-tools compatible reports."""
        return self in (Verdict.MATCH, Verdict.SAME_STORAGE, Verdict.EQUIVALENT)


class BaselineStatus(StrEnum):
    UNCHANGED = "unchanged"
    CHANGED = "changed"
    NEW = "new"
    VANISHED = "vanished"
    NOT_READ = "not_read"


class SignatureStatus(StrEnum):
    """Names the result of verifying a signature, from best to worst. Only the first may be read as a pass."""

    VERIFIED = "verified"  # the key has signed every file of the model, and every byte was read
    PARTIAL = "partial"  # as `verified`, but the signer left files out
    NOT_READ = "not_read"  # the signature holds for bytes that are trusted from an unchanged fingerprint
    NOT_VERIFIED = "not_verified"  # no key was given
    UNVERIFIABLE = "unverifiable"  # could not be verified with the key given: neither a pass nor proof of a change
    INVALID = "invalid"  # not signed by the key, or the files are not those that it signed

    @property
    def rank(self) -> int:
        return list(SignatureStatus).index(self)

    @property
    def is_judged(self) -> bool:
        """Say whether the model was compared with what a key has signed."""
        return self not in (SignatureStatus.NOT_VERIFIED, SignatureStatus.UNVERIFIABLE)


class Storage(StrEnum):
    """Says whether the run model and the registry model are kept in one place."""

    SHARED = "shared"
    SEPARATE = "separate"
    UNKNOWN = "unknown"  # e.g. a proxy's path beside a bucket's: the client cannot see behind the proxy


class Severity(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return _SEVERITIES.index(self)

    def raised(self) -> "Severity":
        """Return the next higher severity; critical stays critical."""
        return _SEVERITIES[min(self.rank + 1, len(_SEVERITIES) - 1)]


_SEVERITIES = tuple(Severity)


class ExitStatus(IntEnum):
    """Defines the exit status of a command. Precedence if several apply: 4 > 1 > 3."""

    CLEAN = 0
    FINDINGS = 1
    USAGE = 2
    INCOMPLETE = 3
    LEDGER = 4
    INTERRUPTED = 130


# The final states of a flow run: `Completed`, or else `Failed` under a name of its own, so that people and automations
# can tell a finding from a defect of this product.
STATE_NAMES = {
    ExitStatus.CLEAN: "Completed",
    ExitStatus.FINDINGS: "Findings",
    ExitStatus.USAGE: "Refused",
    ExitStatus.INCOMPLETE: "Incomplete",
    ExitStatus.LEDGER: "Ledger",
}
