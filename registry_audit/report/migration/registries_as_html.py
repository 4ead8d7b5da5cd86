"""The report on a migration as one self-contained HTML page, in the design of the audit's."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from markupsafe import Markup

from registry_audit.migration.pair_judging import PairVerdict
from registry_audit.report.as_html import csp_hash, embedded_json, html_environment, template_part
from registry_audit.report.migration.registries_document import MigrationDocument, PairedRow
from registry_audit.report.migration.registries_words import (
    SYMBOLS,
    WORDS,
    coverage_words,
    headline,
    limits,
    pair_words,
    sections,
    side_words,
)
from registry_audit.report.words import moment_words
from registry_audit.verdict import Severity

# What a browser takes without a pause; more are in migration.json, and the page says so.
ROW_LIMIT = 10_000
CARD_LIMIT = 1_000  # of each section
PAGE_ROWS = 200  # pairs shown at once, and in the page itself for readers without JavaScript


class PairView(NamedTuple):
    """A pair as the page shows it; what has no counterpart is told in the sections above, and here too."""

    verdict: str
    source: str
    target: str
    how: str


class _Card(NamedTuple):
    symbol: str
    label: str
    severity: str
    findings: tuple[object, ...]
    notes: tuple[str, ...]


class _Part(NamedTuple):
    title: str
    cards: tuple[_Card, ...]
    more: bool


def chunks(document: MigrationDocument) -> Iterator[str]:
    """Every text passes `printable` and is then escaped by the template engine."""
    environment = html_environment()
    style, script = template_part("audit.css"), template_part("shared.js") + template_part("migration.js")
    verdicts = document.summary.verdicts
    return environment.get_template("migration.html.j2").generate(
        document=document,
        headline=headline(document),
        made=moment_words(document.generated_at),
        parts=tuple(_parts(document)),
        pairs=tuple(islice(_pairs(document), PAGE_ROWS)),
        pair_count=min(len(document.versions), ROW_LIMIT),
        untold_pairs=max(0, len(document.versions) - ROW_LIMIT),
        page_rows=PAGE_ROWS,
        data=_data(document),
        counts=[
            (verdict.value, SYMBOLS[verdict], WORDS[verdict][0], verdicts.get(verdict, 0)) for verdict in PairVerdict
        ],
        words={verdict.value: (SYMBOLS[verdict], *WORDS[verdict]) for verdict in PairVerdict},
        limits=limits(document),
        covered=(coverage_words(document.coverage.source), coverage_words(document.coverage.target)),
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704
        style_hash=csp_hash(style),
        script_hash=csp_hash(script),
    )


def _parts(document: MigrationDocument) -> Iterator[_Part]:
    for section in sections(document):
        if section.every_pair:
            continue
        items = section.items()
        cards = tuple(
            _Card(item.symbol, item.label, _worst(item.findings), item.findings, item.notes)
            for item in islice(items, CARD_LIMIT)
        )
        if cards:
            yield _Part(section.title, cards, next(items, None) is not None)


def _worst(findings: Iterable[object]) -> str:
    severities = [getattr(finding, "severity", Severity.LOW) for finding in findings]
    return max(severities, key=lambda severity: severity.rank, default=Severity.LOW).value


def _pairs(document: MigrationDocument) -> Iterator[PairView]:
    for row in islice(document.versions, ROW_LIMIT):
        yield PairView(row.verdict.value, side_words(row.source), side_words(row.target), _how(row))


def _how(row: PairedRow) -> str:
    return pair_words(row) if row.found_by is not None else ""


def _data(document: MigrationDocument) -> Iterator[Markup]:
    words = {verdict.value: [SYMBOLS[verdict], WORDS[verdict][0]] for verdict in PairVerdict}
    return embedded_json({"page_rows": PAGE_ROWS, "words": words}, "pairs", _pairs(document))
