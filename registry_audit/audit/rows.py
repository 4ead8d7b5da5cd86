"""Keeps the rows of an audit as lines while it runs, so that many need no memory, and decides the outcome."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pydantic import TypeAdapter

from registry_audit.audit.judging import Finding, VersionAudit
from registry_audit.spool import Spool
from registry_audit.verdict import ExitStatus, Severity, Verdict


class Rows(Protocol):
    """Provides the rows of an audit, which can be iterated more than once."""

    def __iter__(self) -> Iterator[VersionAudit]: ...
    def __len__(self) -> int: ...


def row_spool(directory: Path | None, in_memory: int | None = None) -> Spool[VersionAudit]:
    """Make a spool for rows.

    Args:
        directory: directory of its file; None is the system's directory for temporary files.
        in_memory: number of rows before a file is used.
    """
    return Spool(encode_row, decode_row, directory=directory, in_memory=in_memory)


def encode_row(audit: VersionAudit) -> str:
    return _ROWS.encode(audit)


def decode_row(line: str) -> VersionAudit:
    return _ROWS.decode(line)


_T = TypeVar("_T")


class Codec(Generic[_T]):
    """Converts values of one type to lines of ASCII. Law: `decode(encode(value)) == value`, whatever its names hold."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def encode(self, value: _T) -> str:
        return json.dumps(self._adapter.dump_python(value, mode="json"), separators=(",", ":"))

    def decode(self, line: str) -> _T:
        """Parse a line. Raises: ValueError: it holds no value of this type."""
        return self._adapter.validate_python(json.loads(line))

    @cached_property
    def _adapter(self) -> TypeAdapter[_T]:
        return TypeAdapter(self._kind)


_ROWS = Codec[VersionAudit](VersionAudit)


_NOT_AUDITED = (Verdict.UNVERIFIABLE, Verdict.SKIPPED)


# The outcome of an audit, from its rows.


@dataclass(frozen=True, slots=True)
class Outcome:
    exit_status: ExitStatus

    @property
    def state(self) -> str:
        """Return the outcome in one word: capitalised, it is the name of a flow run's final state."""
        return {ExitStatus.CLEAN: "clean", ExitStatus.FINDINGS: "findings"}.get(self.exit_status, "incomplete")


class Judged(Protocol):
    """Decides how an audit ends: it is a version's row, or a pair's."""

    @property
    def verdict(self) -> Verdict: ...
    @property
    def all_findings(self) -> tuple[Finding, ...]: ...


class OutcomeTally:
    """Counts the rows of an audit, and says how the audit ends."""

    def __init__(self, fail_on: Severity) -> None:
        self._fail_on = fail_on
        self._found = self._incomplete = False
        self.verdicts = Counter[Verdict](dict.fromkeys(Verdict, 0))

    def add(self, audit: Judged) -> None:
        self.verdicts[audit.verdict] += 1
        self.weigh(audit)

    def weigh(self, audit: Judged) -> None:
        """Let the verdict and the findings count for the outcome, without counting the row as audited."""
        self._incomplete |= audit.verdict is Verdict.UNVERIFIABLE
        if audit.verdict is Verdict.MISMATCH or audit.all_findings:
            self._weigh_findings(audit)

    def _weigh_findings(self, audit: Judged) -> None:
        """Let findings count. RA009 alone never makes the exit status 1: it means incomplete, whatever its severity."""
        standing = [finding for finding in audit.all_findings if finding.waiver is None]
        waived = {finding.rule for finding in audit.all_findings if finding.waiver is not None}
        self._found |= audit.verdict is Verdict.MISMATCH and "RA001" not in waived
        self._found |= any(f.rule != "RA009" and f.severity.rank >= self._fail_on.rank for f in standing)
        self._incomplete |= any(f.rule == "RA009" for f in standing)

    def outcome(self, *, listed_whole: bool = True) -> Outcome:
        """Return the outcome. Exit status 1 takes precedence over 3: unverifiable versions never hide findings."""
        audited = sum(count for verdict, count in self.verdicts.items() if verdict not in _NOT_AUDITED)
        if self._found:
            return Outcome(ExitStatus.FINDINGS)
        if self._incomplete or audited == 0 or not listed_whole:
            return Outcome(ExitStatus.INCOMPLETE)
        return Outcome(ExitStatus.CLEAN)


def outcome_of(
    audits: Iterable[Judged], fail_on: Severity, *, beside: Iterable[Judged] = (), listed_whole: bool = True
) -> Outcome:
    """Return the outcome of an audit with these rows.

    Args:
        beside: further rows whose findings count, but which do not count as audited.
    """
    tally = OutcomeTally(fail_on)
    for audit in audits:
        tally.add(audit)
    for audit in beside:
        tally.weigh(audit)
    return tally.outcome(listed_whole=listed_whole)
