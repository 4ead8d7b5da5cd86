"""Renders a report as plain text for a terminal: one line per version, then findings, a legend and a summary."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain

from registry_audit.printable import printable
from registry_audit.report.commands import Command, Target, command_to_end
from registry_audit.report.document import AuditDocument, FindingRow, VersionRow
from registry_audit.report.lines import LEGEND, baseline_lines, difference_line, version_line
from registry_audit.report.overview import PlacedFinding, is_clean, overview_of
from registry_audit.report.registries_document import MigrationDocument
from registry_audit.report.registries_words import (
    FOUND_BY,
    MIGRATION_LEGEND,
    coverage_words,
    headline,
    migration_limits,
    sections,
)
from registry_audit.report.view import (
    changes_words,
    lede,
    life_words,
    limits,
    message_of,
    not_read_words,
    placed_findings,
    read_words,
    resolved_title,
    resolved_words,
    signature_words,
    split_waived,
    untold_words,
    vanished_words,
    version_id,
    waiver_words,
)
from registry_audit.report.words import BASELINE_WORDS, HEAD_WHY, STATE_WORDS, VERDICT_WORDS, count, registry_words
from registry_audit.verdict import BaselineStatus, Severity, Verdict


def chunks(document: AuditDocument, *, brief: bool = False) -> Iterator[str]:
    """Yield plain text without escape sequences or markup. Its only control characters are newline and tab.

    Args:
        brief: for a terminal: versions without a finding are counted but not listed, and the legend explains only the
            symbols that are shown.
    """
    signs = set[str]()
    for line in _problems(document) if brief else _versions(document):
        signs.add(line.lstrip()[:1])
        yield f"{line}\n"
    legend = [line for line in LEGEND.splitlines() if not brief or line[0] in signs]
    parts = (
        _findings(document),
        _waived(document),
        _resolved(document),
        ("Legend", *_indented(legend)) if legend else (),
        _summary(document),
    )
    if document.versions:
        yield "\n"
    yield "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _versions(document: AuditDocument) -> Iterator[str]:
    for row in document.versions:
        yield version_line(row)
        yield from _indented(difference_line(difference) for difference in row.differences)
        yield from _indented(baseline_lines(row))


def _problems(document: AuditDocument) -> Iterator[str]:
    """Yield the versions that need attention, and the number of the others."""
    fine = 0
    for row in document.versions:
        if is_clean(row) and not row.baseline_differences and not signature_words(row):
            fine += 1
            continue
        yield version_line(row)
        yield from _indented(difference_line(difference) for difference in row.differences)
        yield from _indented(baseline_lines(row))
    if fine:
        yield f"{count(fine, 'version')} without a finding {'is' if fine == 1 else 'are'} not listed: -v lists them"


def _findings(document: AuditDocument) -> list[str]:
    findings, waived = split_waived(placed_findings(document))
    if not findings:
        return ["No findings but the waived ones." if waived else "No findings."]
    lines = ["Findings", *(line for placed in findings for line in ("", *_finding(document, placed)))]
    return [*lines, "", *_indented([untold])] if (untold := untold_words(document)) else lines


def _waived(document: AuditDocument) -> list[str]:
    _, waived = split_waived(placed_findings(document))
    title = "Waived findings: shown, but not counted until the day named or until the bytes change"
    return [title, *(line for placed in waived for line in ("", *_finding(document, placed)))] if waived else []


def _finding(document: AuditDocument, placed: PlacedFinding) -> list[str]:
    row, finding = placed.version, placed.finding
    return finding_lines(row, finding, command_to_end(Target.of(document), row, finding))


def finding_lines(row: VersionRow, finding: FindingRow, command: Command | None = None) -> list[str]:
    """Return severity, rule and version, then what was found and what to do, indented to stand below a heading."""
    where = version_id(row) + ("" if finding.path is None else f": {finding.path}")
    life = f"  ({life_words(finding)})" if life_words(finding) else ""
    head = f"{finding.severity.value:<8}  {finding.rule} {finding.name}  {where}{life}"
    told = [message_of(row, finding), f"To do: {finding.remedy}"]
    if finding.waived is not None:
        told.insert(1, f"W{waiver_words(finding.waived)[1:]}")
    if command is not None:
        told.append(f"{command.what}: {command.text}")
    return _indented([printable(head), *(f"          {printable(text)}" for text in told)])


def _resolved(document: AuditDocument) -> list[str]:
    rows = _indented(printable(resolved_words(gone)) for gone in document.resolved)
    return [printable(resolved_title(document)), "", *rows] if rows else []


def _summary(document: AuditDocument) -> list[str]:
    coverage, summary, ledger = document.coverage, document.summary, document.ledger
    counts = [
        ("listed", coverage.listed),
        (f"audited{not_read_words(document)}", coverage.audited),
        ("unverifiable", coverage.unverifiable),
        (f"skipped{vanished_words(document)}", coverage.skipped),
        ("not sampled", coverage.not_sampled),
        *([("not reached", coverage.not_reached)] if coverage.not_reached else []),
    ]
    overview = overview_of(document)
    severities = ((severity.value, overview.standing[severity]) for severity in reversed(Severity))
    found = _counted([*severities, ("waived", overview.waived.total())])
    no_baseline = "no ledger" if ledger is None else "none"
    rows: list[tuple[str, str]] = [
        ("Result", f"{STATE_WORDS[document.outcome.state]} (exit status {document.outcome.exit_status})"),
        ("", lede(document)),
        ("Registry", registry_words(document.registry)),
        ("Coverage", ", ".join(f"{number:,} {word}" for word, number in counts)),
        ("Read", read_words(document)),
        ("Verdicts", _counted((VERDICT_WORDS[v].label.lower(), summary.verdicts.get(v, 0)) for v in Verdict) or "none"),
        ("Baseline", _counted((BASELINE_WORDS[s], summary.baseline.get(s, 0)) for s in BaselineStatus) or no_baseline),
        ("Findings", found or "none"),
        ("Made", f"{document.generated_at} by {document.tool.name} {document.tool.version}"),
        *(("Note", sentence) for sentence in limits(document)),
    ]
    if changes := changes_words(document):
        rows.insert(2, ("", changes))
    if ledger is not None:
        accepted = f"{count(ledger.accepted_new, 'baseline')} newly accepted"
        entries = count(ledger.entries, "entry", "entries")
        rows += [
            ("Ledger", f"{ledger.url}: {entries}; audit {ledger.audit_id}, {accepted}"),
            ("Head", ledger.head),
            ("", HEAD_WHY),
        ]
    return ["Summary", *_indented(f"{label:<8}  {printable(text)}" for label, text in rows)]


def _counted(pairs: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{number:,} {word}" for word, number in pairs if number)


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


# A comparison of two registries.


_PAIRS_LISTED = 100


def migration_chunks(document: MigrationDocument, *, brief: bool = False) -> Iterator[str]:
    """Yield plain text without escape sequences or markup. Its only control character is newline.

    Args:
        brief: if there are many pairs, only count them by how they were found.
    """
    found = Counter(row.found_by for row in document.versions if row.found_by is not None) if brief else Counter()
    yield f"{headline(document)}\n  {printable(document.summary.sentence)}\n"
    for section in sections(document):
        items = section.items()
        first = next(items, None)
        if first is None:
            continue
        yield f"\n{section.title}\n"
        if section.every_pair and found.total() > _PAIRS_LISTED:
            yield from (f"  {number:>7,}  {FOUND_BY[how]}\n" for how, number in found.most_common())
            yield "  --verbose lists each pair, and so does the report.\n"
            continue
        for item in chain((first,), items):
            yield f"  {item.symbol} {printable(item.label)}\n"
            yield from (f"      {printable(line)}\n" for line in item.lines)
    yield "\nLegend\n" + "".join(f"  {line}\n" for line in MIGRATION_LEGEND)
    rows = (
        ("Result", f"{headline(document)} (exit status {document.outcome.exit_status})"),
        ("", document.summary.sentence),
        ("Source", f"{document.source.registry_uri}: {coverage_words(document.coverage.source)}"),
        ("Target", f"{document.target.registry_uri}: {coverage_words(document.coverage.target)}"),
        ("Findings", ", ".join(f"{n:,} {rule}" for rule, n in document.summary.findings.items()) or "none"),
        ("Made", f"{document.generated_at} by {document.tool.name} {document.tool.version}"),
        *(("Note", sentence) for sentence in migration_limits(document)),
    )
    yield "\nSummary\n" + "".join(f"  {label:<8}  {printable(text)}\n" for label, text in rows)
