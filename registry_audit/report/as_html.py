"""Renders a report as one self-contained HTML page that loads no font, script, image or style from elsewhere."""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache, partial
from itertools import islice
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from registry_audit.migration.pair_judging import PairVerdict
from registry_audit.printable import printable
from registry_audit.report import view
from registry_audit.report.commands import Target, commands_of
from registry_audit.report.document import AuditDocument, VersionRow
from registry_audit.report.html_views import (
    WAIVED,
    BaselineView,
    CopyView,
    DifferenceView,
    EventView,
    FindingLink,
    SideView,
    VersionView,
    bars,
    baseline_difference_views,
    chart_of,
    difference_views,
    found_words,
    life_of,
    version_views,
)
from registry_audit.report.links import MlflowPages, mlflow_pages
from registry_audit.report.overview import SAMPLE, Overview, PlacedFinding, is_clean, overview_of
from registry_audit.report.registries_document import MigrationDocument, PairedRow
from registry_audit.report.registries_words import (
    SYMBOLS,
    WORDS,
    coverage_words,
    headline,
    migration_limits,
    pair_words,
    sections,
    side_words,
)
from registry_audit.report.words import (
    BASELINE_WORDS,
    HEAD_WHY,
    STATE_WORDS,
    VERDICT_WORDS,
    WHAT_A_BASELINE_IS,
    WHAT_FIRST_USE_CANNOT_SEE,
    moment_words,
    registry_words,
)
from registry_audit.rules import CONTENT_CHANGED, RUN_REGISTRY_MISMATCH
from registry_audit.verdict import BaselineStatus, Severity, Verdict

PAGE_ROWS = SAMPLE  # versions shown at once, and those in the HTML itself for readers without JavaScript
# A browser handles this many without a pause. audit.json has all of them, and the page says so.
ROW_LIMIT = 10_000
FINDING_LIMIT = 2_000
_WORD_FIRST = re.compile(r"[a-z]+[ ,]")


def chunks(document: AuditDocument) -> Iterator[str]:
    """Yield the page. Findings are HTML; versions are rows of embedded JSON, which the page's script shows.

    Every text passes `printable` and is then escaped: as HTML by the template engine, or as JSON such that nothing in
    it can end its element.
    """
    environment = html_environment()
    overview = overview_of(document)
    findings = overview.placed[:FINDING_LIMIT]
    standing, waived = view.split_waived(findings)
    untold = _too_many(document)
    shown = overview.unclean if untold else overview.first
    version_count = min(overview.unclean_count, ROW_LIMIT) if untold else len(document.versions)
    pages = mlflow_pages(document.registry)
    style, script = template_part("audit.css"), template_part("shared.js") + template_part("audit.js")
    return environment.get_template("audit.html.j2").generate(
        document=document,
        registry=registry_words(document.registry),
        state=STATE_WORDS[document.outcome.state],
        lede=view.lede(document),
        changes=view.changes_words(document),
        limits=view.limits(document),
        read=view.read_words(document),
        fail_on=view.fail_on(document),
        severities=_severities(standing, overview),
        models=_models(standing),
        waived=waived,
        waived_count=overview.waived.total(),
        untold_findings=overview.finding_count - len(findings),
        waived_group=WAIVED,
        lives=_lives(findings),
        life_of=life_of,
        life_words=view.life_words,
        message_of=view.message_of,
        moment_words=moment_words,
        resolved_title=view.resolved_title(document),
        rule_words=view.rule_words,
        differences_of=difference_views,
        baseline_differences_of=baseline_difference_views,
        marks_of=view.marks,
        pages=pages,
        commands_of=partial(commands_of, Target.of(document)),
        chart=chart_of(document.history),
        found_words=found_words,
        mismatch_rule=RUN_REGISTRY_MISMATCH.id,
        changed_rule=CONTENT_CHANGED.id,
        versions=version_views(shown, findings),
        version_count=version_count,
        untold_versions=len(document.versions) - version_count,
        page_rows=PAGE_ROWS,
        versions_json=_json(version_views(_rows(document), findings), pages),
        coverage_bars=_coverage_bars(document),
        verdict_bars=bars({v.value: (VERDICT_WORDS[v].label, document.summary.verdicts.get(v, 0)) for v in Verdict}),
        has_ledger=view.has_ledger(document),
        baseline_counts=[
            (status.value, BASELINE_WORDS[status], document.summary.baseline.get(status, 0))
            for status in BaselineStatus
        ],
        head_why=HEAD_WHY,
        what_a_baseline_is=WHAT_A_BASELINE_IS,
        first_use_cannot_see=WHAT_FIRST_USE_CANNOT_SEE,
        verdict_words={verdict.value: words for verdict, words in VERDICT_WORDS.items()},
        options=[(key, view.option_text(value)) for key, value in sorted(document.options.items())],
        style=Markup(style),  # noqa: S704  the package's own file
        script=Markup(script),  # noqa: S704
        style_hash=csp_hash(style),
        script_hash=csp_hash(script),
    )


@cache
def html_environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("registry_audit", "report/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    environment.filters["number"] = lambda number: f"{number:,}"
    environment.filters["sentence"] = _sentence
    return environment


def _sentence(text: str) -> str:
    """Capitalise the first letter if the text begins with a word, and not with a name, path or address."""
    return text[:1].upper() + text[1:] if _WORD_FIRST.match(text) else text


def _shown(value: Any) -> Any:
    """Prepare the value of a template expression: text has no invisible characters, so no name can disguise itself."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _printable_rows(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    return [_printable_rows(item) for item in value] if isinstance(value, tuple) else value


def _json(versions: Iterable[VersionView], pages: MlflowPages) -> Iterator[Markup]:
    data = {
        "page_rows": PAGE_ROWS,
        "pages": pages,
        "labels": {verdict.value: words.label for verdict, words in VERDICT_WORDS.items()},
        "fields": {
            "version": VersionView._fields,
            "baseline": BaselineView._fields,
            "event": EventView._fields,
            "copy": CopyView._fields,
            "finding": FindingLink._fields,
            "difference": DifferenceView._fields,
            "side": SideView._fields,
        },
    }
    return embedded_json(data, "versions", versions)


def embedded_json(data: dict[str, Any], key: str, rows: Iterable[tuple[Any, ...]]) -> Iterator[Markup]:
    """Yield JSON for a script element, row by row: `data` with one more key, which holds the rows."""
    yield Markup(f'{_dumped(data)[:-1]},"{key}":[')  # noqa: S704 - made safe by `_dumped`
    for number, row in enumerate(rows):
        yield Markup(("," if number else "") + _dumped(_printable_rows(row)))  # noqa: S704
    yield Markup("]}")


def _dumped(data: Any) -> str:
    return str(htmlsafe_json_dumps(data, separators=(",", ":")))


def _rows(document: AuditDocument) -> Iterator[VersionRow]:
    """Return all versions; if there are too many, only those that are not clean."""
    if not _too_many(document):
        return iter(document.versions)
    return islice((row for row in document.versions if not is_clean(row)), ROW_LIMIT)


def _too_many(document: AuditDocument) -> bool:
    return len(document.versions) > ROW_LIMIT


class _Model(NamedTuple):
    """Holds the findings of one model, the worst first."""

    name: str
    placed: tuple[PlacedFinding, ...]

    @property
    def counts(self) -> str:
        """Return the counts as `2 critical, 1 low`."""
        counted = Counter(placed.finding.severity for placed in self.placed)
        return ", ".join(f"{counted[severity]:,} {severity}" for severity in counted)


def _models(findings: Iterable[PlacedFinding]) -> list[_Model]:
    """Group findings by model. The model with the worst finding comes first."""
    models = dict[str, list[PlacedFinding]]()
    for placed in findings:
        models.setdefault(placed.version.name, []).append(placed)
    return [_Model(name, tuple(placed)) for name, placed in models.items()]


def _severities(findings: Iterable[PlacedFinding], overview: Overview) -> list[tuple[Severity, int, int]]:
    """Return, for each severity, how many findings the page shows and how many there are."""
    told = Counter(placed.finding.severity for placed in findings)
    return [(severity, told[severity], overview.standing[severity]) for severity in view.SEVERITIES_WORST_FIRST]


def _lives(findings: Iterable[PlacedFinding]) -> list[tuple[str, int]]:
    """Count new and known findings, but only if both exist, so that a filter makes sense."""
    lives = [life_of(placed.finding) for placed in findings]
    counted: list[tuple[str, int]] = [(life, lives.count(life)) for life in ("new", "known") if life in lives]
    return counted if len(counted) > 1 else []


def _coverage_bars(document: AuditDocument) -> Any:
    coverage = document.coverage
    audited = {"audited": ("audited", coverage.audited)}
    if coverage.not_read:
        audited = {
            "audited": ("audited and read", coverage.audited - coverage.not_read),
            "not_read": ("audited, not read", coverage.not_read),
        }
    return bars(
        {
            **audited,
            "unverifiable": ("unverifiable", coverage.unverifiable),
            "skipped": (f"skipped{view.vanished_words(document)}", coverage.skipped),
            "not_sampled": ("not sampled", coverage.not_sampled),
            **({"not_reached": ("not reached", coverage.not_reached)} if coverage.not_reached else {}),
        }
    )


@cache
def template_part(name: str) -> str:
    loader = html_environment().loader
    assert loader is not None
    return loader.get_source(html_environment(), name)[0]


def csp_hash(text: str) -> str:
    """Return the source expression with which the content security policy allows exactly this inline text."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


# A comparison of two registries is shown in the design of the audit's page.


# A browser handles this many without a pause. migration.json has all of them, and the page says so.
PAIR_LIMIT = 10_000
CARD_LIMIT = 1_000  # per section
PAIR_PAGE_ROWS = 200  # pairs shown at once, and those in the HTML itself for readers without JavaScript


class PairView(NamedTuple):
    """This is a pair, or a version without a counterpart, as the page shows it."""

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


def migration_chunks(document: MigrationDocument) -> Iterator[str]:
    """Yield the page. Every text passes `printable` and is then escaped by the template engine."""
    environment = html_environment()
    style, script = template_part("audit.css"), template_part("shared.js") + template_part("migration.js")
    verdicts = document.summary.verdicts
    return environment.get_template("migration.html.j2").generate(
        document=document,
        headline=headline(document),
        made=moment_words(document.generated_at),
        parts=tuple(_parts(document)),
        pairs=tuple(islice(_pairs(document), PAIR_PAGE_ROWS)),
        pair_count=min(len(document.versions), PAIR_LIMIT),
        untold_pairs=max(0, len(document.versions) - PAIR_LIMIT),
        page_rows=PAIR_PAGE_ROWS,
        data=_data(document),
        counts=[
            (verdict.value, SYMBOLS[verdict], WORDS[verdict][0], verdicts.get(verdict, 0)) for verdict in PairVerdict
        ],
        words={verdict.value: (SYMBOLS[verdict], *WORDS[verdict]) for verdict in PairVerdict},
        limits=migration_limits(document),
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
    for row in islice(document.versions, PAIR_LIMIT):
        yield PairView(row.verdict.value, side_words(row.source), side_words(row.target), _how(row))


def _how(row: PairedRow) -> str:
    return pair_words(row) if row.found_by is not None else ""


def _data(document: MigrationDocument) -> Iterator[Markup]:
    words = {verdict.value: [SYMBOLS[verdict], WORDS[verdict][0]] for verdict in PairVerdict}
    return embedded_json({"page_rows": PAIR_PAGE_ROWS, "words": words}, "pairs", _pairs(document))
