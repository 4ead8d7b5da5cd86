"""What the ledger adds to a version's row."""

from dataclasses import dataclass
from typing import Literal

from registry_audit.audit.comparing import Difference
from registry_audit.verdict import BaselineStatus


@dataclass(frozen=True, slots=True)
class Event:
    """Something that the ledger has of a version, apart from the audits that only read it."""

    at: str  # UTC
    kind: Literal["accepted", "found", "resolved", "waived"]
    what: str  # one sentence


@dataclass(frozen=True, slots=True)
class BaselineView:
    """A version beside what was accepted for it. In `differences` left is the baseline, right is now."""

    status: BaselineStatus
    differences: tuple[Difference, ...] = ()
    accepted_at: str | None = None  # UTC
    accepted_by: str | None = None
    reason: str | None = None
    last_read_at: str | None = None  # UTC: when these bytes were last read in full
    accepted_now: bool = False  # by this very audit (--accept-new)
