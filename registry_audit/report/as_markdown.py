"""Renders a report as Markdown for pull requests, chats and Prefect artifacts."""

from collections.abc import Iterable, Iterator
from itertools import islice

from registry_audit.printable import markdown
from registry_audit.report.document import AuditDocument
from registry_audit.report.lines import symbol
from registry_audit.report.overview import SAMPLE, PlacedFinding, overview_of
from registry_audit.report.registries_document import MigrationDocument
from registry_audit.report.registries_words import (
    Section,
    coverage_words,
    headline,
    migration_limits,
    sections,
)
from registry_audit.report.view import (
    baseline_words,
    changes_words,
    lede,
    life_words,
    limits,
    marks,
    message_of,
    not_reached_words,
    not_read_words,
    placed_findings,
    read_words,
    resolved_title,
    rule_words,
    side_words,
    split_waived,
    vanished_words,
    version_id,
)
from registry_audit.report.words import (
    BASELINE_KIND_WORDS,
    BASELINE_WORDS,
    HEAD_WHY,
    STATE_WORDS,
    STORAGE_WORDS,
    VERDICT_WORDS,
    age_words,
    bytes_words,
    count,
    moment_words,
    registry_words,
)
from registry_audit.verdict import BaselineStatus, Severity, Verdict

# A browser loads an artifact completely, and Prefect's database stores it. audit.json has all rows.
ROW_LIMIT = SAMPLE


def chunks(document: AuditDocument) -> Iterator[str]:
    """Yield GitHub-flavoured Markdown in which no text from the registry is markup."""
    parts = (
        _head(document),
        _summary(document),
        _limits(document),
        _findings(document),
        _changed(document),
        _waived(document),
        _resolved(document),
        _versions(document),
        _not_read(document),
        _ledger(document),
    )
    yield "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _head(document: AuditDocument) -> list[str]:
    registry, tool = document.registry, document.tool
    server = "" if registry.mlflow_server is None else f", MLflow server {markdown(registry.mlflow_server)}"
    made = f"Made {markdown(document.generated_at)} by {markdown(tool.name)} {markdown(tool.version)}."
    return [
        f"# MLflow registry audit: {STATE_WORDS[document.outcome.state]}",
        "",
        markdown(lede(document)),
        "",
        *([markdown(changes), ""] if (changes := changes_words(document)) else []),
        f"Registry {markdown(registry_words(registry))}{server}. {made}",
    ]


def _summary(document: AuditDocument) -> list[str]:
    coverage, summary = document.coverage, document.summary
    overview = overview_of(document)
    verdicts = ((VERDICT_WORDS[verdict].label, summary.verdicts.get(verdict, 0)) for verdict in Verdict)
    baseline = ((BASELINE_WORDS[status], summary.baseline.get(status, 0)) for status in BaselineStatus)
    severities = ((severity.value, overview.standing[severity]) for severity in reversed(Severity))
    found = [*severities, ("waived", overview.waived.total())]
    covered = (
        f"**Coverage:** {coverage.audited:,} of {count(coverage.listed, 'listed version')} audited"
        f"{not_read_words(document)}; {coverage.unverifiable:,} unverifiable, {coverage.skipped:,} skipped"
        f"{vanished_words(document)}, {coverage.not_sampled:,} not sampled{not_reached_words(document)}. "
        f"Read {read_words(document)}."
    )
    return [
        covered,
        "",
        *_table(
            ("Summary", ""),
            [
                ("Verdicts", _counted(verdicts) or "none"),
                ("Baseline", _counted(baseline) or ("no ledger" if document.ledger is None else "none")),
                ("Findings", _counted(found) or "none"),
            ],
        ),
    ]


def _limits(document: AuditDocument) -> list[str]:
    return [f"- {markdown(sentence)}" for sentence in limits(document)]


def _findings(document: AuditDocument) -> list[str]:
    findings, waived = split_waived(placed_findings(document))
    if not findings:
        return ["## Findings", "", "None but the waived ones." if waived else "None."]
    lives = document.changes is not None
    rows = [
        (
            placed.finding.severity.value,
            _rule(placed),
            markdown(version_id(placed.version)),
            *((markdown(life_words(placed.finding)),) if lives else ()),
            _told(placed),
            markdown(placed.finding.remedy),
        )
        for placed in findings[:ROW_LIMIT]
    ]
    header = ("Severity", "Rule", "Version", *(("Life",) if lives else ()), "What was found", "What to do")
    total = overview_of(document).standing.total()
    return [f"## Findings ({total:,})", "", *_table(header, rows), *_rest(total, "finding")]


def _changed(document: AuditDocument) -> list[str]:
    # Differences that no rule explains come first.
    overview = overview_of(document)
    pairs, total = (overview.unexplained + overview.explained)[:ROW_LIMIT], overview.changed_count
    rows = [
        (
            markdown(version_id(row)),
            markdown(difference.path),
            BASELINE_KIND_WORDS[difference.kind]
            + ("" if difference.expected_by is None else f", expected: {markdown(difference.expected_by)}"),
            markdown(side_words(difference.sizes.baseline, difference.digests.baseline)) or "not there",
            markdown(side_words(difference.sizes.now, difference.digests.now)) or "not there",
            markdown(moment_words(row.accepted_at or "")),
            markdown(row.accepted_by or ""),
        )
        for row, difference in pairs
    ]
    if not rows:
        return []
    table = _table(("Version", "File", "What", "Baseline", "Now", "Accepted", "By"), rows)
    return [f"## Not as accepted ({count(total, 'file')})", "", *table, *_rest(total, "file")]


def _not_read(document: AuditDocument) -> list[str]:
    overview = overview_of(document)
    if not overview.oldest:
        return []
    rows = [
        (
            markdown(version_id(row)),
            markdown(moment_words(row.last_read_at or "")),
            age_words(row.last_read_at or "", document.generated_at),
        )
        for row in overview.oldest[:ROW_LIMIT]
    ]
    table = _table(("Version", "Last read in full", "Before this audit"), rows)
    total = overview.trusted_count
    return [f"## Not read this time ({total:,}), oldest reading first", "", *table, *_rest(total, "version")]


def _waived(document: AuditDocument) -> list[str]:
    _, waived = split_waived(placed_findings(document))
    if not waived:
        return []
    rows = []
    for placed in waived[:ROW_LIMIT]:
        waiver = placed.finding.waived
        assert waiver is not None
        rows.append(
            (
                placed.finding.severity.value,
                _rule(placed),
                markdown(version_id(placed.version)),
                markdown(life_words(placed.finding)),
                _told(placed),
                markdown(waiver.by),
                markdown(waiver.until),
                markdown(waiver.reason),
            )
        )
    table = _table(("Severity", "Rule", "Version", "Life", "What was found", "Waived by", "Until", "Why"), rows)
    why = "Shown, but not counted until the day named or until the bytes change."
    total = overview_of(document).waived.total()
    return [f"## Waived findings ({total:,})", "", why, "", *table, *_rest(total, "finding")]


def _resolved(document: AuditDocument) -> list[str]:
    if not document.resolved:
        return []
    rows = [
        (
            markdown(rule_words(gone)),
            markdown(f"{gone.name}/{gone.version}"),
            markdown(gone.path or ""),
            markdown(gone.first_seen[:10]),
            markdown(gone.by or ""),
        )
        for gone in document.resolved[:ROW_LIMIT]
    ]
    table = _table(("Rule", "Version", "File", "First seen", "Ended by"), rows)
    total = len(document.resolved)
    return [f"## {markdown(resolved_title(document))} ({total:,})", "", *table, *_rest(total, "finding")]


def _ledger(document: AuditDocument) -> list[str]:
    ledger = document.ledger
    if ledger is None:
        return []
    rows = [
        ("Ledger", markdown(ledger.url)),
        ("Head digest", markdown(ledger.head)),
        ("Entries", f"{ledger.entries:,}"),
        ("This audit", markdown(ledger.audit_id)),
        ("Newly accepted", count(ledger.accepted_new, "baseline")),
    ]
    return ["## Ledger", "", *_table(("", ""), rows), "", HEAD_WHY]


def _rule(placed: PlacedFinding) -> str:
    return f"{markdown(placed.finding.rule)} {markdown(placed.finding.name)}"


def _told(placed: PlacedFinding) -> str:
    path = placed.finding.path
    return markdown(message_of(placed.version, placed.finding)) + ("" if path is None else f" ({markdown(path)})")


def _versions(document: AuditDocument) -> list[str]:
    overview = overview_of(document)
    rows, total = overview.unclean, overview.unclean_count
    if not rows:
        return []
    baseline = ("Baseline",) if document.ledger is not None else ()
    table = _table(
        ("", "Version", "Stage, aliases", "Verdict", *baseline, "Storage", "Files", "Bytes", "Reason"),
        [
            (
                markdown(symbol(row)),
                markdown(version_id(row)),
                markdown(", ".join(marks(row))),
                VERDICT_WORDS[row.verdict].label,
                *((markdown(baseline_words(row)),) if baseline else ()),
                STORAGE_WORDS[row.storage],
                "" if (copy := row.run_model or row.reg_model) is None else f"{copy.files:,}",
                "" if copy is None else bytes_words(copy.bytes),
                markdown(row.reason or ""),
            )
            for row in rows
        ],
    )
    heading = f"## Versions that are not clean ({total:,} of {len(document.versions):,})"
    return [heading, "", *table, *_rest(total, "version")]


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [_line(header), _line(("---",) * len(header)), *(_line(row) for row in rows)]


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _rest(total: int, noun: str) -> list[str]:
    return ["", f"and {count(total - ROW_LIMIT, f'more {noun}')}: see audit.json."] if total > ROW_LIMIT else []


def _counted(pairs: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{number:,} {word}" for word, number in pairs if number)


# A comparison of two registries.


# A browser loads an artifact completely, and Prefect's database stores it. migration.json has all rows.
PAIR_LIMIT = SAMPLE


def migration_chunks(document: MigrationDocument) -> Iterator[str]:
    """Yield GitHub-flavoured Markdown in which no text from a registry is markup."""
    yield f"# MLflow registry migration: {headline(document)}\n\n{markdown(document.summary.sentence)}\n\n"
    yield f"- Source {markdown(f'{document.source.registry_uri}: {coverage_words(document.coverage.source)}')}\n"
    yield f"- Target {markdown(f'{document.target.registry_uri}: {coverage_words(document.coverage.target)}')}\n"
    tool = document.tool
    yield f"- Made {markdown(document.generated_at)} by {markdown(f'{tool.name} {tool.version}')}\n"
    for section in sections(document):
        yield from _section(section)
    yield "\n## What this cannot say\n\n" + "".join(
        f"- {markdown(sentence)}\n" for sentence in migration_limits(document)
    )


def _section(section: Section) -> Iterator[str]:
    items = section.items()
    shown = list(islice(items, PAIR_LIMIT))
    if not shown:
        return
    yield f"\n## {section.title}\n\n"
    for item in shown:
        yield f"- {markdown(item.symbol)} **{markdown(item.label)}**\n"
        yield from (f"  - {markdown(line)}\n" for line in item.lines)
    if next(items, None) is not None:
        yield "- and more: see migration.json\n"
