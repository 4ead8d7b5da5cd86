"""The report on a migration as one self-contained HTML page: no script, nothing from anywhere else."""

from collections.abc import Iterator
from itertools import islice

from markupsafe import Markup

from registry_audit.report.as_html import csp_hash, html_environment, template_part
from registry_audit.report.migration.registries_document import MigrationDocument
from registry_audit.report.migration.registries_words import LEGEND, coverage_words, headline, limits, sections

# What a browser takes without a pause; more are in migration.json, and the page says so.
ROW_LIMIT = 10_000


def chunks(document: MigrationDocument) -> Iterator[str]:
    """Every text passes `printable` and is then escaped by the template engine."""
    environment = html_environment()
    style = template_part("audit.css")
    shown = []
    for section in sections(document):
        items = section.items()
        first = list(islice(items, ROW_LIMIT))
        if first:
            shown.append((section.title, first, next(items, None) is not None))
    return environment.get_template("migration.html.j2").generate(
        document=document,
        headline=headline(document),
        sections=shown,
        limits=limits(document),
        covered=(coverage_words(document.coverage.source), coverage_words(document.coverage.target)),
        legend=LEGEND,
        style=Markup(style),  # noqa: S704 - our own file
        style_hash=csp_hash(style),
    )
