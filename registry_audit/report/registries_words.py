"""Describes a migration in words: one sentence for a ticket, then sections, the most important first."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_audit.migration.pair_judging import PairVerdict
from registry_audit.migration.pairing import How
from registry_audit.report.view import fail_on_of, fails
from registry_audit.report.words import bytes_words, count, moment_words
from registry_audit.verdict import Severity

if TYPE_CHECKING:
    from registry_audit.report.document import FindingRow
    from registry_audit.report.registries_document import (
        FileRow,
        MigrationDocument,
        ModelRow,
        PairedRow,
        SideCoverage,
        SideRow,
    )

SYMBOLS: dict[PairVerdict, str] = {
    PairVerdict.MATCH: "=",
    PairVerdict.EQUIVALENT: "~",
    PairVerdict.NOT_MOVED: "@",
    PairVerdict.MISMATCH: "*",
    PairVerdict.MISSING: "!",
    PairVerdict.UNVERIFIABLE: "?",
    PairVerdict.SKIPPED: ".",
    PairVerdict.ONLY_IN_TARGET: "+",
}
WORDS: dict[PairVerdict, tuple[str, str]] = {
    PairVerdict.MATCH: ("unchanged", "the target has its own copy, with the same bytes"),
    PairVerdict.EQUIVALENT: (
        "explained",
        "differs only in what migrations rewrite, and a named rule explains each difference",
    ),
    PairVerdict.NOT_MOVED: ("not moved", "the source's storage, as far as can be seen: nothing was compared"),
    PairVerdict.MISMATCH: ("changed", "the target has other bytes, or a model that cannot be loaded"),
    PairVerdict.MISSING: ("missing", "the target has no counterpart"),
    PairVerdict.UNVERIFIABLE: ("not comparable", "one side could not be read: neither a pass nor a loss"),
    PairVerdict.SKIPPED: ("not finished", "its registration in the source is pending or has failed"),
    PairVerdict.ONLY_IN_TARGET: ("only there", "in the target, without a counterpart in the source"),
}
MIGRATION_LEGEND = tuple(f"{SYMBOLS[verdict]} {label:<14}  {what}" for verdict, (label, what) in WORDS.items())
FOUND_BY: dict[How, str] = {
    How.MAP: "named in the map",
    How.SAME_ROW: "same number, time of creation and run",
    How.CONTENT_SAME_NUMBER: "same content, same number",
    How.CONTENT: "same content, another number",
    How.ONE_DIRECTORY_DOWN: "same content, one directory down",
    How.SHARED_FILES: "they share most of their bytes, and no other version shares as many",
    How.NUMBER_ONLY: "same number only",
}
_ABOUT_PAIRS = frozenset({"RA020", "RA021", "RA022", "RA023", "RA024"})


@dataclass(frozen=True, slots=True)
class Item:
    """Holds what is shown for one pair or one model: findings and notes."""

    symbol: str
    label: str
    findings: "tuple[FindingRow, ...]" = ()
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        return (*map(finding_words, self.findings), *self.notes)


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    items: Callable[[], Iterator[Item]]  # called anew each time, because there may be many items
    every_pair: bool = False  # whether it has a line for each pair, whatever was found


def sentence(verdicts: Mapping[PairVerdict, int], *, in_place: bool) -> str:
    """Return a summary such as `412 of 415 versions are in the target unchanged, 2 explained, 1 missing`."""
    total = sum(number for verdict, number in verdicts.items() if verdict is not PairVerdict.ONLY_IN_TARGET)
    unchanged = verdicts[PairVerdict.MATCH]
    be = "is" if total == 1 else "are"
    head = f"{unchanged:,} of {count(total, 'version')} {be} in the target unchanged"
    words = {
        PairVerdict.EQUIVALENT: "explained",
        PairVerdict.NOT_MOVED: "in place" if in_place else "not moved",
        PairVerdict.MISMATCH: "changed",
        PairVerdict.MISSING: "missing",
        PairVerdict.UNVERIFIABLE: "not comparable",
        PairVerdict.SKIPPED: "not finished in the source",
        PairVerdict.ONLY_IN_TARGET: "only in the target",
    }
    parts = [f"{verdicts[verdict]:,} {text}" for verdict, text in words.items() if verdicts[verdict]]
    return ", ".join((head, *parts)) + "."


def headline(document: "MigrationDocument") -> str:
    """Say in a few words whether the migration is complete."""
    if document.summary.findings.get("RA020") or document.summary.verdicts.get(PairVerdict.MISMATCH):
        return "Not complete"
    if not document.summary.complete:
        return "Not proved"
    return "Complete" if document.outcome.state == "clean" else "Complete, with differences"


def fail_on(document: "MigrationDocument") -> Severity:
    return fail_on_of(document.options)


def label_of(row: "PairedRow") -> str:
    """Return `Wine/3`, or `Wine/3 -> main.ml.wine/2` if the counterpart has another name or number."""
    names = [f"{side.name}/{side.version}" for side in (row.source, row.target) if side is not None]
    return names[0] if len(set(names)) == 1 else " -> ".join(names)


def found_words(row: "PairedRow") -> str:
    """Say how the pair was found; empty for a version without a counterpart."""
    if row.found_by is None:
        return ""
    if row.told_apart_by is None:
        return FOUND_BY[row.found_by]
    among = f"1 of {row.candidates} with this content" if row.candidates > 1 else "several in the source have it"
    return f"{FOUND_BY[row.found_by]} ({among}, told apart by {row.told_apart_by})"


def difference_words(found: "FileRow") -> str:
    inside = f": {', '.join(found.fields)}" if found.fields else ""
    where = {"only_in_source": " is only in the source", "only_in_target": " is only in the target", "content": ""}
    if found.expected_by is not None:
        return f"~ {found.path}{inside}{where[found.kind]} (expected: {found.expected_by})"
    symbol = {"only_in_source": "-", "only_in_target": "+", "content": "*"}[found.kind]
    return f"{symbol} {found.path}{inside}"


def finding_words(finding: "FindingRow") -> str:
    return f"{finding.rule} {finding.name} ({finding.severity.value}): {finding.message}"


def failing(document: "MigrationDocument", row: "PairedRow | ModelRow") -> bool:
    return any(finding.rule == "RA020" or fails(finding, fail_on(document)) for finding in row.findings)


def sections(document: "MigrationDocument") -> tuple[Section, ...]:
    """Return the sections in their order: from what is missing to how every pair was found."""
    titles = (
        ("Missing in the target", PairVerdict.MISSING),
        ("Changed", PairVerdict.MISMATCH),
        ("Not comparable", PairVerdict.UNVERIFIABLE),
        ("Not moved", PairVerdict.NOT_MOVED),
    )
    return (
        *(_of_verdict(document, title, verdict) for title, verdict in titles),
        _of_rule(document, "Metadata that differs", "RA022"),
        _of_rule(document, "Renumbered", "RA024"),
        Section("Findings that are not about the migration", lambda: _side_findings(document)),
        _of_verdict(document, "Not finished in the source", PairVerdict.SKIPPED),
        _of_verdict(document, "Only in the target", PairVerdict.ONLY_IN_TARGET),
        Section("How each pair was found", lambda: _pairs(document), every_pair=True),
    )


def _of_verdict(document: "MigrationDocument", title: str, verdict: PairVerdict) -> Section:
    rule = {PairVerdict.MISSING: "RA020", PairVerdict.ONLY_IN_TARGET: "RA023"}.get(verdict)

    def items() -> Iterator[Item]:
        for model in document.models:
            for finding in model.findings:
                if finding.rule == rule:
                    yield Item(SYMBOLS[verdict], model_label(model), (finding,))
        for row in document.versions:
            if row.verdict is verdict:
                told = tuple(finding for finding in row.findings if finding.rule != "RA022")
                yield Item(SYMBOLS[verdict], label_of(row), told, tuple(_notes(row, told)))

    return Section(title, items)


def _notes(row: "PairedRow", told: "tuple[FindingRow, ...]") -> Iterator[str]:
    if row.reason and not any(row.reason in finding.message for finding in told):
        yield row.reason
    if row.found_by is not None:
        yield f"pair: {found_words(row)}"
    yield from map(difference_words, row.differences)


def _of_rule(document: "MigrationDocument", title: str, rule: str) -> Section:
    def items() -> Iterator[Item]:
        for model in document.models:
            yield from (Item("*", model_label(model), (finding,)) for finding in model.findings if finding.rule == rule)
        for row in document.versions:
            yield from (
                Item(SYMBOLS[row.verdict], label_of(row), (finding,))
                for finding in row.findings
                if finding.rule == rule
            )

    return Section(title, items)


def _side_findings(document: "MigrationDocument") -> Iterator[Item]:
    passed = (PairVerdict.MATCH, PairVerdict.EQUIVALENT)  # the sections of the other verdicts show all findings
    for row in document.versions:
        findings = tuple(finding for finding in row.findings if finding.rule not in _ABOUT_PAIRS)
        if findings and row.verdict in passed:
            yield Item(SYMBOLS[row.verdict], label_of(row), findings)


def _pairs(document: "MigrationDocument") -> Iterator[Item]:
    for row in document.versions:
        if row.found_by is not None:
            yield Item(SYMBOLS[row.verdict], label_of(row), notes=(pair_words(row),))


def pair_words(row: "PairedRow") -> str:
    """Say how the pair was found, and list the differences that a rule explains."""
    explained = [difference_words(found) for found in row.differences if found.expected_by is not None]
    return "; ".join((found_words(row), *explained))


def model_label(model: "ModelRow") -> str:
    names = [name for name in (model.source, model.target) if name is not None]
    return names[0] if len(set(names)) == 1 else " -> ".join(names)


def migration_limits(document: "MigrationDocument") -> tuple[str, ...]:
    """Return sentences about what this comparison cannot show."""
    told = []
    for side, covered in (("source", document.coverage.source), ("target", document.coverage.target)):
        told += [f"The {side}: {note}." for note in covered.notes]
        if covered.not_read:
            versions = count(covered.not_read, "version was", "versions were")
            told.append(
                f"The {side}: {versions} not read again, because nothing in the listing changed since the last full "
                f"reading (the oldest of {covered.oldest_reading})."
            )
        if not covered.listed_whole:
            told.append(f"The {side} could not be listed whole.")
    proxied = document.summary.behind_proxy
    if document.summary.verdicts.get(PairVerdict.NOT_MOVED, 0) > proxied:
        told.append(
            "Versions that were not moved are served from the source's storage: deleting the source destroys them, and "
            "that their bytes are equal proves nothing."
        )
    if proxied:
        versions = count(proxied, "version is", "versions are")
        told.append(
            f"{versions} served under the same path on both sides, and an artifact proxy does not show from where: "
            "compare the artifact destinations of the two servers."
        )
    told.append(_prompts(document.coverage.source, document.coverage.target))
    told.append("Parameters, metrics and other artifacts of runs are not compared.")
    return tuple(told)


def _prompts(source: "SideCoverage", target: "SideCoverage") -> str:
    if source.prompts is None or target.prompts is None:
        return "Prompts were not counted: a registry does not say which it has."
    return f"Prompts are counted and not compared: {source.prompts:,} in the source, {target.prompts:,} in the target."


def coverage_words(covered: "SideCoverage") -> str:
    models, versions = count(covered.models, "model"), count(covered.versions, "version")
    since = f" from {moment_words(covered.first_read_at)} on" if covered.first_read_at else ""
    return f"{versions} of {models}, {bytes_words(covered.bytes_read)} read{since}"


def side_words(side: "SideRow | None") -> str:
    return "" if side is None else f"{side.name}/{side.version}"
