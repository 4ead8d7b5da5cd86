"""The report as plain text for a terminal: one line per version, then the findings, a legend and a summary."""

from collections.abc import Iterable

from registry_audit.printable import printable
from registry_audit.report.document import AuditDocument
from registry_audit.report.lines import LEGEND, difference_line, version_line
from registry_audit.report.view import lede, limits, placed_findings, read_words, version_id
from registry_audit.report.words import BASELINE_WORDS, STATE_WORDS, VERDICT_WORDS
from registry_audit.verdict import BaselineStatus, Severity, Verdict


def render(document: AuditDocument) -> str:
    """Plain text without escape sequences or markup; only newline and tab are control characters in it."""
    parts = (_versions(document), _findings(document), ("Legend", *_indented(LEGEND.splitlines())), _summary(document))
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _versions(document: AuditDocument) -> list[str]:
    lines = []
    for row in document.versions:
        lines.append(version_line(row))
        lines += _indented(difference_line(difference) for difference in row.differences)
    return lines


def _findings(document: AuditDocument) -> list[str]:
    findings = placed_findings(document)
    if not findings:
        return ["No findings."]
    lines = ["Findings"]
    for placed in findings:
        finding = placed.finding
        where = version_id(placed.version) + ("" if finding.path is None else f": {finding.path}")
        head = f"{finding.severity.value:<8}  {finding.rule} {finding.name}  {where}"
        lines += ["", *_indented([printable(head), f"          {printable(finding.message)}"])]
        lines += _indented([f"          To do: {printable(finding.remedy)}"])
    return lines


def _summary(document: AuditDocument) -> list[str]:
    coverage, summary = document.coverage, document.summary
    counts = [
        ("listed", coverage.listed),
        ("audited", coverage.audited),
        ("unverifiable", coverage.unverifiable),
        ("skipped", coverage.skipped),
        ("not sampled", coverage.not_sampled),
    ]
    severities = [finding.severity for row in document.versions for finding in row.findings]
    rows: list[tuple[str, str]] = [
        ("Result", f"{STATE_WORDS[document.outcome.state]} (exit status {document.outcome.exit_status})"),
        ("", lede(document)),
        ("Registry", document.registry.registry_uri),
        ("Coverage", ", ".join(f"{number:,} {word}" for word, number in counts)),
        ("Read", read_words(document)),
        ("Verdicts", _counted((VERDICT_WORDS[v].label.lower(), summary.verdicts.get(v, 0)) for v in Verdict)),
        ("Baseline", _counted((BASELINE_WORDS[s], summary.baseline.get(s, 0)) for s in BaselineStatus) or "no ledger"),
        ("Findings", _counted((s.value, severities.count(s)) for s in reversed(Severity)) or "none"),
        ("Made", f"{document.generated_at} by {document.tool.name} {document.tool.version}"),
        *(("Note", sentence) for sentence in limits(document)),
    ]
    return ["Summary", *_indented(f"{label:<8}  {printable(text)}" for label, text in rows)]


def _counted(pairs: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{number:,} {word}" for word, number in pairs if number)


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]
