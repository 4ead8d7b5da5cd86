"""Derives from a report what all renderings share: order, counts and sentences. Nothing here is escaped yet."""

import json
from collections import Counter
from typing import Any, Protocol

from registry_audit.printable import printable
from registry_audit.report.document import AuditDocument, FindingRow, ResolvedRow, VersionRow, WaiverRow
from registry_audit.report.overview import PlacedFinding, may_fail, overview_of
from registry_audit.report.words import (
    BASELINE_WORDS,
    SIGNATURE_WORDS,
    age_words,
    bytes_words,
    count,
    moment_words,
    short_digest,
)
from registry_audit.rules import CONTENT_CHANGED, RULE_BY_ID
from registry_audit.verdict import BaselineStatus, Severity, SignatureStatus

DEFAULT_FAIL_ON = Severity.MEDIUM


class Found(Protocol):
    """This is a finding of a report or of an audit."""

    @property
    def rule(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def message(self) -> str: ...


SEVERITIES_WORST_FIRST = tuple(reversed(Severity))
_CHOOSING = {"models": "--model", "latest": "--latest", "subset": "--subset"}  # the options that select versions
_NAMED_PATHS = 3  # maximum number in a sentence; the differences beside it name all of them


def version_id(row: VersionRow) -> str:
    """Return `Wine/3`. The last slash separates: a name may contain slashes, a version number does not."""
    return f"{row.name}/{row.version}"


def marks(row: VersionRow) -> tuple[str, ...]:
    """Return stage and `@aliases`, which distinguish a version. MLflow's stage `None` is left out."""
    stage = stage_of(row)
    return (*([stage] if stage else []), *(f"@{alias}" for alias in row.aliases))


def stage_of(row: VersionRow) -> str:
    return "" if row.stage in (None, "None") else row.stage


def placed_findings(document: AuditDocument) -> tuple[PlacedFinding, ...]:
    """Return at most `FINDING_LIMIT` findings: first those not waived, then the waived; each part worst first."""
    return overview_of(document).placed


def untold_words(document: AuditDocument) -> str:
    """Say how many findings are beyond `FINDING_LIMIT`; empty if none is."""
    overview = overview_of(document)
    untold = overview.finding_count - len(overview.placed)
    return f"and {count(untold, 'more finding')}: see audit.json." if untold else ""


def split_waived(
    findings: tuple[PlacedFinding, ...],
) -> tuple[tuple[PlacedFinding, ...], tuple[PlacedFinding, ...]]:
    """Split findings into those that are not waived and those that are."""
    return (
        tuple(placed for placed in findings if placed.finding.waived is None),
        tuple(placed for placed in findings if placed.finding.waived is not None),
    )


def standing(row: VersionRow) -> tuple[FindingRow, ...]:
    """Return the findings of a version that are not waived."""
    return tuple(finding for finding in row.findings if finding.waived is None)


def message_of(row: VersionRow, finding: FindingRow) -> str:
    """Return the message of a finding. If the changed files are listed beside it, it only names the first ones."""
    if finding.rule != CONTENT_CHANGED.id or not row.baseline_differences:
        return finding.message
    paths = [difference.path for difference in row.baseline_differences if difference.expected_by is None]
    named = ", ".join(f"'{path}'" for path in paths[:_NAMED_PATHS])
    more = f" and {len(paths) - _NAMED_PATHS:,} more" if len(paths) > _NAMED_PATHS else ""
    return f"{count(len(paths), 'file is', 'files are')} not what {accepted_words(row)}: {named}{more}"


def accepted_words(row: VersionRow) -> str:
    """Return `alice@laptop accepted on 2026-11-20 06:00 UTC (as released)`, as far as the report knows."""
    on = f" on {moment_words(row.accepted_at)}" if row.accepted_at else ""
    why = f" ({row.accepted_reason})" if row.accepted_reason else ""
    return f"{row.accepted_by or 'somebody'} accepted{on}{why}"


def side_words(size: int | None, digest: str | None) -> str:
    """Return one side of a difference, with the exact size: `41,204 bytes sha256:3f3f3f3f3f3f…`."""
    return " ".join(part for part in ("" if size is None else count(size, "byte"), short_digest(digest or "")) if part)


def life_words(finding: FindingRow) -> str:
    """Return `new` or `known since 2026-11-20`; empty without a ledger."""
    if finding.new is None:
        return ""
    return "new" if finding.new else f"known since {finding.first_seen}" if finding.first_seen else "known"


def waiver_words(waiver: WaiverRow) -> str:
    return f"waived by {waiver.by} until {waiver.until}: {waiver.reason}"


def baseline_words(row: VersionRow) -> str:
    """Return the baseline status and, if the bytes were not read, when they last were; empty without a ledger."""
    if row.baseline is None:
        return ""
    words = BASELINE_WORDS[row.baseline]
    if not row.last_read_at:
        return words
    full = f"last read in full {moment_words(row.last_read_at)}"
    match row.baseline:
        case BaselineStatus.VANISHED:
            return f"{words}; {full}"
        case BaselineStatus.NOT_READ:
            return f"{words}; {full}, trusted because its fingerprint is unchanged"
        case _:
            return f"{words}, but not read; {full}, trusted because its fingerprint is unchanged"


def signature_words(row: VersionRow) -> str:
    """Return `signature verified`; empty without a signature, without a key, or if a finding reports it."""
    told = (SignatureStatus.VERIFIED, SignatureStatus.PARTIAL, SignatureStatus.NOT_READ)
    status = row.signature_status
    return f"signature {SIGNATURE_WORDS[status]}" if status in told and status is not None else ""


def changes_words(document: AuditDocument) -> str:
    """Compare the findings with those of the previous audit in one sentence; empty without a ledger."""
    changes = document.changes
    if changes is None:
        return ""
    if changes.since is None:
        found = f"{changes.new:,} new" if changes.new else "No findings"
        return f"{found}: the first audit of this registry in this ledger."
    counts = f"{changes.new:,} new, {changes.known:,} known, {changes.resolved:,} {resolved_label(document)}"
    return f"{counts} since the audit of {moment_words(changes.since)}."


def resolved_title(document: AuditDocument) -> str:
    """Return the heading of the findings that ended, or were waived, since the previous audit."""
    since, label = document.changes.since if document.changes else None, resolved_label(document).capitalize()
    return f"{label} since the audit of {moment_words(since)}" if since else label


def resolved_label(document: AuditDocument) -> str:
    """Return `resolved`, or `resolved or waived` if some of these findings still exist but were waived."""
    ended = {(gone.name, gone.version, gone.rule, gone.path) for gone in document.resolved}
    versions = {key[:2] for key in ended}
    there = (
        (row.name, row.version, finding.rule, finding.path)
        for row in document.versions
        if (row.name, row.version) in versions
        for finding in row.findings
    )
    return "resolved" if ended.isdisjoint(there) else "resolved or waived"


def resolved_words(gone: ResolvedRow) -> str:
    """Return `RA004 run-deleted  Churn/2  (first seen 2026-11-18)`."""
    where = f"{gone.name}/{gone.version}" + ("" if gone.path is None else f": {gone.path}")
    by = "" if gone.by is None else f": {gone.by}"
    return f"{rule_words(gone)}  {where}  (first seen {gone.first_seen[:10]}){by}"


def rule_words(gone: ResolvedRow) -> str:
    return f"{gone.rule} {RULE_BY_ID[gone.rule].name}" if gone.rule in RULE_BY_ID else gone.rule


def not_read_words(document: AuditDocument) -> str:
    """Say how many of the audited versions were not read, to follow their number; empty if all were read."""
    return f" ({document.coverage.not_read:,} not read)" if document.coverage.not_read else ""


def not_reached_words(document: AuditDocument) -> str:
    """Say how many versions an interrupted audit did not reach; empty if it finished."""
    return f", {document.coverage.not_reached:,} not reached" if document.coverage.not_reached else ""


def vanished_words(document: AuditDocument) -> str:
    """Say how many of the skipped versions are gone from the registry, to follow their number; empty if none is."""
    vanished = overview_of(document).vanished_count
    return f" ({vanished:,} vanished)" if vanished else ""


def fail_on(document: AuditDocument) -> Severity:
    """Return the severity from which a finding fails the audit."""
    return fail_on_of(document.options)


def fail_on_of(options: dict[str, Any]) -> Severity:
    """Return the severity that the options of a report name; the default one if they name none that is known."""
    try:
        return Severity(options.get("fail_on", DEFAULT_FAIL_ON))
    except ValueError:
        return DEFAULT_FAIL_ON


def fails(finding: FindingRow, threshold: Severity) -> bool:
    """Say whether a finding makes the exit status 1."""
    return may_fail(finding) and finding.severity.rank >= threshold.rank


def lede(document: AuditDocument) -> str:
    """Return the result in a few sentences, with its denominator. It agrees with `registry_audit.audit.rows`."""
    coverage, threshold, overview = document.coverage, fail_on(document), overview_of(document)
    waived = overview.waived.total()
    sentences = []
    if coverage.not_reached:
        unreached = count(coverage.not_reached, "version was", "versions were")
        sentences.append(f"The audit did not come to its end: {unreached} not reached.")
    unverified = _unverified(coverage.unverifiable, overview.missing_count, coverage.listed - coverage.not_sampled)
    match document.outcome.state:
        case "findings":
            standing, versions = _from(threshold, overview.standing), _from(threshold, overview.standing_versions)
            found = f"{count(standing, 'finding')} at severity {threshold} or above, in {count(versions, 'version')}."
            sentences += [found, unverified] if coverage.unverifiable else [found]
        case "incomplete":
            if coverage.only_listed and not coverage.audited:
                looked = count(coverage.only_listed - coverage.unverifiable, "version")
                there = f"No byte was read: of {looked} only the listing was looked at, without a finding."
                sentences += [f"{there} That is not a pass."] + ([unverified] if coverage.unverifiable else [])
            elif not coverage.audited and not coverage.unverifiable:
                nothing = f"Nothing was audited, of {count(coverage.listed, 'listed version')}. That is not a pass."
                sentences.append(nothing)
            else:
                other = "Not everything that was asked for could be verified."
                sentences.append(unverified if coverage.unverifiable else other)
        case "clean":
            sentences += _as_accepted(document)
            audited = f"{coverage.audited:,} of {count(coverage.listed, 'listed version')} audited"
            but = " that is not waived" if _from(threshold, overview.waived) else ""
            below = overview.standing.total()
            sentences.append(f"{audited}, no finding at severity {threshold} or above{but}.")
            sentences += [f"{count(below, 'finding')} below that."] if below else []
            sentences += _what_clean_hides(document)
    if waived:
        sentences.append(f"{count(waived, 'finding is', 'findings are')} waived.")
    return " ".join(sentences)


def result_words(document: AuditDocument) -> str:
    """Return the result on one line, after the worst finding: `Wine/2: RA007 model-incomplete: ... 1 finding ...`."""
    placed = [found for found in placed_findings(document) if found.finding.waived is None]
    if document.outcome.state == "clean" or not placed:
        return lede(document)
    worst = placed[0]
    told = f"{version_id(worst.version)}: {finding_words(worst.finding, message_of(worst.version, worst.finding))}"
    return f"{printable(told)}. {lede(document)}"


def finding_words(finding: Found, message: str | None = None) -> str:
    """Return `RA007 model-incomplete: 'model.pkl' is missing`."""
    return f"{finding.rule} {finding.name}: {message or finding.message}"


def _from(threshold: Severity, counted: Counter[Severity]) -> int:
    return sum(number for severity, number in counted.items() if severity.rank >= threshold.rank)


def _unverified(number: int, missing: int, asked: int) -> str:
    """Say how many versions could not be verified. A missing model is damage, so it is not called "no proof" of it.

    Args:
        asked: number of versions to audit, without those that an option left out.
    """
    head = f"{count(number, 'version')} of {asked:,} could not be verified"
    if not missing:
        return f"{head}: neither a pass nor proof of damage."
    if missing == number:
        return f"{head}: {'it has' if number == 1 else 'they have'} no model."
    have = "has" if missing == 1 else "have"
    others = "the other is" if number - missing == 1 else "the others are"
    return f"{head}: {missing:,} of them {have} no model, {others} neither a pass nor proof of damage."


def _as_accepted(document: AuditDocument) -> list[str]:
    """Say how many versions are as accepted. This comes before the limits."""
    overview = overview_of(document)
    number, listed = overview.as_accepted_count, document.coverage.listed
    if not number:
        return []
    first, last = overview.accepted_days
    when = f"on {first}" if first == last else f"between {first} and {last}"
    be = "is" if listed == 1 else "are"
    return [f"{number:,} of {count(listed, 'version')} {be} byte for byte what was accepted {when}."]


def _what_clean_hides(document: AuditDocument) -> list[str]:
    """Say which versions were not compared or not read: a report that says "Clean" must say so beside it."""
    coverage, sentences = document.coverage, []
    if coverage.not_read:
        be, they = ("was", "its fingerprint is") if coverage.not_read == 1 else ("were", "their fingerprints are")
        sentences.append(f"{coverage.not_read:,} of them {be} not read: {they} unchanged.")
    uncompared = overview_of(document).uncompared_count
    ledger = has_ledger(document)
    if uncompared and uncompared == coverage.audited:
        new = " and is new to the ledger" if ledger else ""
        sentences.append(f"Each has one copy only{new}, so nothing was compared.")
    elif uncompared:
        have, be = ("has", "is") if uncompared == 1 else ("have", "are")
        new = f" and {be} new to the ledger" if ledger else ""
        sentences.append(f"{uncompared:,} of them {have} one copy only{new}: nothing was compared there.")
    return sentences


def read_words(document: AuditDocument) -> str:
    coverage = document.coverage
    files, storages = count(coverage.files_read, "file"), count(coverage.storages_read, "storage")
    return f"{bytes_words(coverage.bytes_read)} in {files} of {storages}"


def has_ledger(document: AuditDocument) -> bool:
    """Say whether baselines were looked at. A summary may name every status with a zero."""
    counted = any(document.summary.baseline.values()) or overview_of(document).with_baseline_count > 0
    return counted or document.ledger is not None


def limits(document: AuditDocument) -> tuple[str, ...]:
    """Return sentences about what this audit cannot show, beginning with the audit's own notes."""
    coverage = document.coverage
    sentences = list(coverage.notes)
    uncompared = overview_of(document).uncompared_count
    if uncompared:
        have = count(uncompared, "version has", "versions have")
        why = "no baseline before this audit" if has_ledger(document) else "there was no ledger"
        sentences.append(
            f"{have} one copy only, and {why}: nothing was compared. An overwrite after registration shows only "
            "against a baseline."
        )
    sentences += _ledger_limits(document)
    if coverage.not_sampled:
        be = "was" if coverage.not_sampled == 1 else "were"
        sentences.append(f"{coverage.not_sampled:,} of {count(coverage.listed, 'version')} {be} {_left_out(document)}.")
    return tuple(sentences)


def _left_out(document: AuditDocument) -> str:
    chose = [option for field, option in _CHOOSING.items() if document.options.get(field)]
    return f"left out by {' and '.join(chose)}" if chose else "not part of this audit"


def _ledger_limits(document: AuditDocument) -> list[str]:
    if document.ledger is None:
        return []
    sentences = []
    new = document.summary.baseline.get(BaselineStatus.NEW, 0)
    if new:
        sentences.append(
            f"{count(new, 'version is', 'versions are')} new to the ledger: an overwrite before this audit cannot be "
            f"seen. {_accepted_of(new, document.ledger.accepted_new, asked=bool(document.options.get('accept_new')))}"
        )
    overview = overview_of(document)
    if document.coverage.not_read and overview.oldest_reading:
        age = age_words(overview.oldest_reading, document.generated_at)
        which = "that" if overview.trusted_count == 1 else "the oldest"
        oldest = f"{which} of {moment_words(overview.oldest_reading)}"
        sentences.append(
            f"{count(document.coverage.not_read, 'version was', 'versions were')} not read: the fingerprint of the "
            "storage (paths, sizes, ETags or change times) is the one of the last full reading, "
            f"{oldest}{age and f', {age} before this audit'}. "
            "An overwrite that leaves the fingerprint as it was cannot be seen this way."
        )
    vanished = overview.vanished_count
    if vanished:
        gone = count(vanished, "accepted version is", "accepted versions are")
        sentences.append(
            f"{gone} no longer in the registry: counted as skipped, beside the {document.coverage.listed:,} listed."
        )
    return sentences


def _accepted_of(new: int, accepted: int, *, asked: bool) -> str:
    """Say how many of the new versions were accepted, and why the others were not.

    Args:
        asked: whether the audit was asked to accept new versions.
    """
    if accepted >= new:
        return "It was accepted as seen now." if new == 1 else "All of them were accepted as seen now."
    why = "damaged, unfinished or not readable in full"
    if not accepted and asked:
        return f"It was not accepted: it is {why}." if new == 1 else f"None of them was accepted: they are {why}."
    if not accepted:
        not_yet = "It was not accepted yet" if new == 1 else "None of them was accepted yet"
        return f"{not_yet}: audit with --accept-new to accept what is sound as it is now."
    rest = "the other one is" if new - accepted == 1 else "the others are"
    return f"{accepted:,} of them {'was' if accepted == 1 else 'were'} accepted as seen now; {rest} {why}."


def option_text(value: Any) -> str:
    """Return an option on one line: text as it is, everything else as JSON with sorted keys."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
