"""The report on a migration as plain text for a terminal."""

from collections.abc import Iterator
from itertools import chain

from registry_audit.printable import printable
from registry_audit.report.migration.registries_document import MigrationDocument
from registry_audit.report.migration.registries_words import LEGEND, coverage_words, headline, limits, sections


def chunks(document: MigrationDocument) -> Iterator[str]:
    """Plain text without escape sequences or markup; only newline is a control character in it."""
    yield f"{headline(document)}\n  {printable(document.summary.sentence)}\n"
    for section in sections(document):
        items = section.items()
        first = next(items, None)
        if first is None:
            continue
        yield f"\n{section.title}\n"
        for item in chain((first,), items):
            yield f"  {item.symbol} {printable(item.label)}\n"
            yield from (f"      {printable(line)}\n" for line in item.lines)
    yield "\nLegend\n" + "".join(f"  {line}\n" for line in LEGEND)
    rows = (
        ("Result", f"{headline(document)} (exit status {document.outcome.exit_status})"),
        ("", document.summary.sentence),
        ("Source", f"{document.source.registry_uri}: {coverage_words(document.coverage.source)}"),
        ("Target", f"{document.target.registry_uri}: {coverage_words(document.coverage.target)}"),
        ("Findings", ", ".join(f"{n:,} {rule}" for rule, n in document.summary.findings.items()) or "none"),
        ("Made", f"{document.generated_at} by {document.tool.name} {document.tool.version}"),
        *(("Note", sentence) for sentence in limits(document)),
    )
    yield "\nSummary\n" + "".join(f"  {label:<8}  {printable(text)}\n" for label, text in rows)
