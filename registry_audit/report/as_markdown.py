"""The report as Markdown: for pull requests, chats and Prefect's artifacts."""

from collections.abc import Iterable

from registry_audit.printable import markdown
from registry_audit.report.document import AuditDocument
from registry_audit.report.lines import symbol
from registry_audit.report.view import is_clean, lede, limits, marks, placed_findings, read_words, version_id
from registry_audit.report.words import BASELINE_WORDS, STATE_WORDS, STORAGE_WORDS, VERDICT_WORDS, bytes_words, count
from registry_audit.verdict import BaselineStatus, Severity, Verdict

# An artifact is loaded whole into a browser and kept in Prefect's database; the whole is in audit.json.
ROW_LIMIT = 200


def render(document: AuditDocument) -> str:
    """GitHub-flavoured Markdown in which no text of the registry is markup."""
    parts = (_head(document), _summary(document), _limits(document), _findings(document), _versions(document))
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _head(document: AuditDocument) -> list[str]:
    registry, tool = document.registry, document.tool
    server = "" if registry.mlflow_server is None else f", MLflow server {markdown(registry.mlflow_server)}"
    made = f"Made {markdown(document.generated_at)} by {markdown(tool.name)} {markdown(tool.version)}."
    return [
        f"# MLflow registry audit: {STATE_WORDS[document.outcome.state]}",
        "",
        markdown(lede(document)),
        "",
        f"Registry {markdown(registry.registry_uri)}{server}. {made}",
    ]


def _summary(document: AuditDocument) -> list[str]:
    coverage, summary = document.coverage, document.summary
    severities = [finding.severity for row in document.versions for finding in row.findings]
    verdicts = ((VERDICT_WORDS[verdict].label, summary.verdicts.get(verdict, 0)) for verdict in Verdict)
    baseline = ((BASELINE_WORDS[status], summary.baseline.get(status, 0)) for status in BaselineStatus)
    found = ((severity.value, severities.count(severity)) for severity in reversed(Severity))
    covered = (
        f"**Coverage:** {coverage.audited:,} of {count(coverage.listed, 'listed version')} audited; "
        f"{coverage.unverifiable:,} unverifiable, {coverage.skipped:,} skipped, {coverage.not_sampled:,} not sampled. "
        f"Read {read_words(document)}."
    )
    return [
        covered,
        "",
        *_table(
            ("Summary", ""),
            [
                ("Verdicts", _counted(verdicts) or "none"),
                ("Baseline", _counted(baseline) or "no ledger"),
                ("Findings", _counted(found) or "none"),
            ],
        ),
    ]


def _limits(document: AuditDocument) -> list[str]:
    return [f"- {markdown(sentence)}" for sentence in limits(document)]


def _findings(document: AuditDocument) -> list[str]:
    findings = placed_findings(document)
    if not findings:
        return ["## Findings", "", "None."]
    rows = [
        (
            placed.finding.severity.value,
            f"{markdown(placed.finding.rule)} {markdown(placed.finding.name)}",
            markdown(version_id(placed.version)),
            markdown(placed.finding.message)
            + ("" if placed.finding.path is None else f" ({markdown(placed.finding.path)})"),
            markdown(placed.finding.remedy),
        )
        for placed in findings[:ROW_LIMIT]
    ]
    table = _table(("Severity", "Rule", "Version", "What was found", "What to do"), rows)
    return [f"## Findings ({len(findings):,})", "", *table, *_rest(len(findings), "finding")]


def _versions(document: AuditDocument) -> list[str]:
    rows = [row for row in document.versions if not is_clean(row)]
    if not rows:
        return []
    table = _table(
        ("", "Version", "Stage, aliases", "Verdict", "Storage", "Files", "Bytes", "Reason"),
        [
            (
                markdown(symbol(row)),
                markdown(version_id(row)),
                markdown(", ".join(marks(row))),
                VERDICT_WORDS[row.verdict].label,
                STORAGE_WORDS[row.storage],
                "" if (copy := row.run_model or row.reg_model) is None else f"{copy.files:,}",
                "" if copy is None else bytes_words(copy.bytes),
                markdown(row.reason or ""),
            )
            for row in rows[:ROW_LIMIT]
        ],
    )
    heading = f"## Versions that are not clean ({len(rows):,} of {len(document.versions):,})"
    return [heading, "", *table, *_rest(len(rows), "version")]


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [_line(header), _line(("---",) * len(header)), *(_line(row) for row in rows)]


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _rest(total: int, noun: str) -> list[str]:
    return ["", f"and {count(total - ROW_LIMIT, f'more {noun}')}: see audit.json."] if total > ROW_LIMIT else []


def _counted(pairs: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{number:,} {word}" for word, number in pairs if number)
