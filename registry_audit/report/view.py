"""What every rendering derives from a report: order, counts and sentences. Nothing here is escaped yet."""

import json
from dataclasses import dataclass
from typing import Any

from registry_audit.report.document import AuditDocument, FindingRow, VersionRow
from registry_audit.report.words import bytes_words, count
from registry_audit.rules import MODEL_MISSING, UNVERIFIABLE
from registry_audit.verdict import Severity, Verdict

DEFAULT_FAIL_ON = Severity.MEDIUM
SEVERITIES_WORST_FIRST = tuple(reversed(Severity))


@dataclass(frozen=True, slots=True)
class PlacedFinding:
    """A finding with the version it was found at. `number` counts from 1 in the order of `placed_findings`."""

    number: int
    version: VersionRow
    finding: FindingRow


def version_id(row: VersionRow) -> str:
    """`Wine/3`. The last slash separates: a name may hold slashes, a version number does not."""
    return f"{row.name}/{row.version}"


def version_key(row: VersionRow) -> tuple[str, int, str]:
    """Sorts version 10 after version 9."""
    number = int(row.version) if row.version.isascii() and row.version.isdecimal() and len(row.version) < 19 else -1
    return row.name, number, row.version


def marks(row: VersionRow) -> tuple[str, ...]:
    """Stage and `@aliases`: what makes a version more than one of many. MLflow's stage `None` is no mark."""
    stage = () if row.stage in (None, "", "None") else (row.stage,)
    return (*stage, *(f"@{alias}" for alias in row.aliases))


def placed_findings(document: AuditDocument) -> tuple[PlacedFinding, ...]:
    """All findings, the worst first, then by rule, version and path."""
    pairs = [(row, finding) for row in document.versions for finding in row.findings]
    pairs.sort(key=lambda pair: (-pair[1].severity.rank, pair[1].rule, version_key(pair[0]), pair[1].path or ""))
    return tuple(PlacedFinding(number, row, finding) for number, (row, finding) in enumerate(pairs, start=1))


def fail_on(document: AuditDocument) -> Severity:
    """The severity from which a finding fails the audit."""
    try:
        return Severity(document.options.get("fail_on", DEFAULT_FAIL_ON))
    except ValueError:
        return DEFAULT_FAIL_ON


def fails(finding: FindingRow, threshold: Severity) -> bool:
    """Whether it makes the exit status 1. RA009 never does: being unable to verify has a status of its own."""
    return finding.rule != UNVERIFIABLE.id and finding.severity.rank >= threshold.rank


def is_clean(row: VersionRow) -> bool:
    return row.verdict.passes and not row.findings


def is_missing(row: VersionRow) -> bool:
    """A version that claims to be loadable and has nothing behind it."""
    return row.status == "READY" and any(finding.rule == MODEL_MISSING.id for finding in row.findings)


def lede(document: AuditDocument) -> str:
    """The result in one or two sentences, with its denominator."""
    coverage, threshold = document.coverage, fail_on(document)
    all_findings = [finding for row in document.versions for finding in row.findings]
    failing = sum(fails(finding, threshold) for finding in all_findings)
    unverified = (
        f"{count(coverage.unverifiable, 'version')} of {coverage.listed:,} could not be verified: "
        "neither a pass nor proof of damage."
    )
    match document.outcome.state:
        case "findings":
            versions = sum(any(fails(finding, threshold) for finding in row.findings) for row in document.versions)
            found = f"{count(failing, 'finding')} at severity {threshold} or above, in {count(versions, 'version')}."
            return f"{found} {unverified}" if coverage.unverifiable else found
        case "incomplete":
            if not coverage.audited and not coverage.unverifiable:
                return f"Nothing was audited, of {count(coverage.listed, 'listed version')}. That is not a pass."
            return unverified if coverage.unverifiable else "Not everything that was asked for could be verified."
        case "clean":
            below = f" {count(len(all_findings), 'finding')} below that." if all_findings else ""
            audited = f"{coverage.audited:,} of {count(coverage.listed, 'listed version')} audited"
            uncompared = coverage.audited and document.summary.verdicts.get(Verdict.SAME_STORAGE, 0) == coverage.audited
            # A page that says "Clean" must say beside it when there was nothing that could have differed.
            only_read = (
                " All are in one storage only, so nothing was compared."
                if uncompared and not has_ledger(document)
                else ""
            )
            return f"{audited}, no finding at severity {threshold} or above.{below}{only_read}"


def read_words(document: AuditDocument) -> str:
    coverage = document.coverage
    files, storages = count(coverage.files_read, "file"), count(coverage.storages_read, "storage")
    return f"{bytes_words(coverage.bytes_read)} in {files} of {storages}"


def has_ledger(document: AuditDocument) -> bool:
    """Whether baselines were looked at. A summary may name every status with a zero."""
    return any(document.summary.baseline.values()) or any(row.baseline is not None for row in document.versions)


def limits(document: AuditDocument) -> tuple[str, ...]:
    """What this audit cannot say, in sentences; first what the audit itself noted."""
    coverage, verdicts = document.coverage, document.summary.verdicts
    sentences = list(coverage.notes)
    shared = verdicts.get(Verdict.SAME_STORAGE, 0)
    if shared:
        protection = (
            "An overwrite after registration shows only against a baseline, and there was no ledger."
            if not has_ledger(document)
            else "An overwrite after registration shows only against a baseline: see the baseline of each version."
        )
        be = "is" if shared == 1 else "are"
        sentences.append(
            f"{count(shared, 'version')} {be} kept in one storage only: nothing was compared. {protection}"
        )
    if coverage.not_sampled:
        sentences.append(f"{count(coverage.not_sampled, 'version')} of {coverage.listed:,} were not sampled this time.")
    return tuple(sentences)


def option_text(value: Any) -> str:
    """An option on one line: text as it is, everything else as JSON with sorted keys."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
