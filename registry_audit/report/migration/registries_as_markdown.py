"""The report on a migration as Markdown: for pull requests, tickets and Prefect's artifacts."""

from collections.abc import Iterator
from itertools import islice

from registry_audit.printable import markdown
from registry_audit.report.migration.registries_document import MigrationDocument
from registry_audit.report.migration.registries_words import Section, coverage_words, headline, limits, sections
from registry_audit.report.overview import SAMPLE

# An artifact is loaded whole into a browser and kept in Prefect's database; the whole is in migration.json.
ROW_LIMIT = SAMPLE


def chunks(document: MigrationDocument) -> Iterator[str]:
    """GitHub-flavoured Markdown in which no text of a registry is markup."""
    yield f"# MLflow registry migration: {headline(document)}\n\n{markdown(document.summary.sentence)}\n\n"
    yield f"- Source {markdown(f'{document.source.registry_uri}: {coverage_words(document.coverage.source)}')}\n"
    yield f"- Target {markdown(f'{document.target.registry_uri}: {coverage_words(document.coverage.target)}')}\n"
    tool = document.tool
    yield f"- Made {markdown(document.generated_at)} by {markdown(f'{tool.name} {tool.version}')}\n"
    for section in sections(document):
        yield from _section(section)
    yield "\n## What this cannot say\n\n" + "".join(f"- {markdown(sentence)}\n" for sentence in limits(document))


def _section(section: Section) -> Iterator[str]:
    items = section.items()
    shown = list(islice(items, ROW_LIMIT))
    if not shown:
        return
    yield f"\n## {section.title}\n\n"
    for item in shown:
        yield f"- {markdown(item.symbol)} **{markdown(item.label)}**\n"
        yield from (f"  - {markdown(line)}\n" for line in item.lines)
    if next(items, None) is not None:
        yield "- and more: see migration.json\n"
