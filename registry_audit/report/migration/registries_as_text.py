"""The report on a migration as plain text for a terminal."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain

from registry_audit.printable import printable
from registry_audit.report.migration.registries_document import MigrationDocument
from registry_audit.report.migration.registries_words import (
    FOUND_BY,
    LEGEND,
    coverage_words,
    headline,
    limits,
    sections,
)

_PAIRS_LISTED = 100


def chunks(document: MigrationDocument, *, brief: bool = False) -> Iterator[str]:
    """Plain text without escape sequences or markup; only newline is a control character in it.

    Args:
        brief: more pairs than a screen or two can show are counted, by how they were found.
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
