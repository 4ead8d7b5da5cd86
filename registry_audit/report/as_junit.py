"""Renders a report as JUnit XML for CI servers: one test case per version."""

from collections import Counter
from collections.abc import Iterator
from typing import Literal
from xml.etree import ElementTree

from registry_audit.migration.pair_judging import PairVerdict
from registry_audit.printable import printable
from registry_audit.report.document import AuditDocument, VersionRow
from registry_audit.report.lines import baseline_lines, difference_line
from registry_audit.report.overview import is_uncompared
from registry_audit.report.registries_document import MigrationDocument, PairedRow
from registry_audit.report.registries_words import (
    difference_words,
    failing,
    finding_words,
    found_words,
    headline,
    label_of,
    migration_limits,
)
from registry_audit.report.view import (
    baseline_words,
    changes_words,
    fail_on,
    fails,
    lede,
    life_words,
    limits,
    message_of,
    resolved_words,
    standing,
    waiver_words,
)
from registry_audit.report.words import NOTHING_COMPARED, SIGNATURE_WORDS, VERDICT_WORDS
from registry_audit.rules import RUN_REGISTRY_MISMATCH, UNVERIFIABLE
from registry_audit.verdict import Severity, Verdict

Result = Literal["passed", "failure", "error", "skipped"]


def chunks(document: AuditDocument) -> Iterator[str]:
    """Yield one `testsuite`, test case by test case.

    Every text passes `printable`, which leaves no character that XML 1.0 forbids.

    `unverifiable` is an error. A mismatch, or a finding at or above the audit's `fail_on`, is a failure. RA009 is an
    error, never a failure. A waived finding is neither, but is named in the output of its test case.
    """
    threshold = fail_on(document)
    results = Counter[Result](_result(row, threshold) for row in document.versions)
    overall = _overall(document, results)
    results.update([overall] if overall is not None else [])
    counts = {
        "tests": str(results.total()),
        "failures": str(results["failure"]),
        "errors": str(results["error"]),
        "skipped": str(results["skipped"]),
        "time": _seconds(sum(row.seconds or 0 for row in document.versions)),
    }
    root = ElementTree.Element("testsuites", {"name": "MLflow registry audit", **counts})
    # The schema's timestamp has no zone; JUnit readers assume UTC.
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        {
            "name": printable(document.registry.registry_uri),
            **counts,
            "timestamp": printable(document.generated_at.removesuffix("Z")),
        },
    )
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in _properties(document):
        ElementTree.SubElement(properties, "property", {"name": name, "value": printable(value)})
    ElementTree.indent(root)
    head, end = ElementTree.tostring(root, encoding="unicode").rsplit("\n  </testsuite>", 1)
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n{head}'
    for row in document.versions:
        yield _indented(_case(row, _result(row, threshold)))
    if overall is not None:
        yield _indented(_overall_case(document, overall))
    yield f"\n  </testsuite>{end}\n"


def _indented(case: ElementTree.Element) -> str:
    ElementTree.indent(case, level=2)
    return f"\n    {ElementTree.tostring(case, encoding='unicode')}"


def _result(row: VersionRow, threshold: Severity) -> Result:
    if row.verdict is Verdict.UNVERIFIABLE:
        return "error"
    waived = any(finding.rule == RUN_REGISTRY_MISMATCH.id and finding.waived for finding in row.findings)
    if row.verdict is Verdict.MISMATCH and not waived:
        return "failure"
    if any(fails(finding, threshold) for finding in row.findings):
        return "failure"
    if any(finding.rule == UNVERIFIABLE.id for finding in standing(row)):
        return "error"
    return "skipped" if row.verdict is Verdict.SKIPPED else "passed"


def _overall(document: AuditDocument, results: Counter[Result]) -> Result | None:
    """Return the result of the audit itself if no version carries it: an empty suite would show as passed."""
    match document.outcome.state:
        case "clean":
            return None
        case "findings":
            return None if results["failure"] or results["error"] else "failure"
        case "incomplete":
            return None if results["error"] else "error"


def _overall_case(document: AuditDocument, result: Result) -> ElementTree.Element:
    case = ElementTree.Element("testcase", {"classname": "registry-audit", "name": "audit as a whole", "time": "0"})
    ElementTree.SubElement(case, result, {"message": printable(lede(document)), "type": document.outcome.state})
    return case


def _seconds(seconds: float | None) -> str:
    return f"{seconds:.3f}" if seconds else "0"


def _case(row: VersionRow, result: Result) -> ElementTree.Element:
    name = printable(f"version {row.version}")
    case = ElementTree.Element(
        "testcase", {"classname": printable(row.name), "name": name, "time": _seconds(row.seconds)}
    )
    text = "\n".join(_text(row))
    if result == "passed":
        told = row.findings or row.differences or row.baseline_differences or row.last_read_at or row.signature
        if told or is_uncompared(row):
            ElementTree.SubElement(case, "system-out").text = text
        return case
    # The worst finding comes first, but RA009 (could not be read) comes after all others.
    ranked = sorted(standing(row), key=lambda finding: (finding.rule == UNVERIFIABLE.id, -finding.severity.rank))
    said = row.reason if result != "failure" else None
    message = said or (message_of(row, ranked[0]) if ranked else VERDICT_WORDS[row.verdict].proves)
    kind = row.verdict.value if result != "failure" or not ranked else f"{ranked[0].rule} {ranked[0].name}"
    attributes = {"message": printable(message)} | ({} if result == "skipped" else {"type": printable(kind)})
    ElementTree.SubElement(case, result, attributes).text = text
    return case


def _text(row: VersionRow) -> list[str]:
    lines = [f"verdict: {row.verdict.value}"]
    reason = row.reason or (NOTHING_COMPARED if is_uncompared(row) else None)
    if reason:
        lines.append(f"reason: {printable(reason)}")
    if row.baseline is not None and (row.accepted_at or row.last_read_at):
        lines.append(f"baseline: {printable(baseline_words(row))}")
    if row.signature is not None and row.signature_status is not None:
        lines.append(f"signature: {SIGNATURE_WORDS[row.signature_status]}: {printable(row.signature_reason or '')}")
    for finding in row.findings:
        where = "" if finding.path is None else f" [{printable(finding.path)}]"
        head = printable(f"{finding.severity.value} {finding.rule} {finding.name}: {message_of(row, finding)}")
        life = f" ({printable(life_words(finding))})" if life_words(finding) else ""
        lines.append(f"{head}{where}{life}")
        if finding.waived is not None:
            lines.append(f"  {printable(waiver_words(finding.waived))}")
        lines.append(f"  to do: {printable(finding.remedy)}")
    differences = [difference_line(difference) for difference in row.differences]
    return lines + [f"  {line}" for line in (*differences, *baseline_lines(row))]


def _properties(document: AuditDocument) -> list[tuple[str, str]]:
    coverage = document.coverage
    return [
        ("tool", f"{document.tool.name} {document.tool.version}"),
        ("state", document.outcome.state),
        ("exit_status", str(int(document.outcome.exit_status))),
        ("fail_on", fail_on(document).value),
        *((field, str(getattr(coverage, field))) for field in type(coverage).model_fields if field != "notes"),
        *(("limit", sentence) for sentence in limits(document)),
        *_ledger_properties(document),
    ]


def _ledger_properties(document: AuditDocument) -> list[tuple[str, str]]:
    ledger = document.ledger
    if ledger is None:
        return []
    return [
        ("ledger", ledger.url),
        ("ledger_head", ledger.head),
        ("ledger_entries", str(ledger.entries)),
        ("audit_id", ledger.audit_id),
        ("accepted_new", str(ledger.accepted_new)),
        *([("changes", changes_words(document))] if document.changes else []),
        *(("resolved", text) for text in map(resolved_words, document.resolved)),
    ]


# A comparison of two registries has one test case per version, too.


PairResult = Literal["passed", "failure", "error", "skipped"]


def migration_chunks(document: MigrationDocument) -> Iterator[str]:
    """Yield one `testsuite`: a case for the whole, one for each model with findings, and one for each version.

    A version that cannot be compared, or was not moved, is an error. One that is missing or changed, or has a finding
    at or above `fail_on`, is a failure.
    """
    results = Counter[PairResult](_pair_result(document, row) for row in document.versions)
    results.update(_model_result(document, index) for index, model in enumerate(document.models) if model.findings)
    results[_whole(document)] += 1
    counts = {
        "tests": str(results.total()),
        "failures": str(results["failure"]),
        "errors": str(results["error"]),
        "skipped": str(results["skipped"]),
        "time": "0",
    }
    root = ElementTree.Element("testsuites", {"name": "MLflow registry migration", **counts})
    stamp = printable(document.generated_at.removesuffix("Z"))
    name = printable(f"{document.source.registry_uri} -> {document.target.registry_uri}")
    suite = ElementTree.SubElement(root, "testsuite", {"name": name, **counts, "timestamp": stamp})
    properties = ElementTree.SubElement(suite, "properties")
    told = [("result", headline(document)), ("exit_status", str(document.outcome.exit_status))]
    for key, value in (*told, *(("limit", sentence) for sentence in migration_limits(document))):
        ElementTree.SubElement(properties, "property", {"name": key, "value": printable(value)})
    ElementTree.indent(root)
    head, end = ElementTree.tostring(root, encoding="unicode").rsplit("\n  </testsuite>", 1)
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n{head}'
    yield _pair_case("migration", "the whole", _whole(document), [document.summary.sentence])
    for index, model in enumerate(document.models):
        if model.findings:
            label = model.source or model.target or ""
            yield _pair_case(
                label, "the model", _model_result(document, index), list(map(finding_words, model.findings))
            )
    for row in document.versions:
        side = row.source or row.target
        yield _pair_case(side.name if side else "", label_of(row), _pair_result(document, row), _pair_lines(row))
    yield f"\n  </testsuite>{end}\n"


def _pair_lines(row: PairedRow) -> list[str]:
    told = [f"verdict: {row.verdict.value}", f"pair: {found_words(row)}" if row.found_by else "", row.reason or ""]
    return [
        line for line in (*told, *map(finding_words, row.findings), *map(difference_words, row.differences)) if line
    ]


def _pair_result(document: MigrationDocument, row: PairedRow) -> PairResult:
    in_place = bool(document.options.get("in_place"))
    match row.verdict:
        case PairVerdict.UNVERIFIABLE:
            return "error"
        case PairVerdict.MISMATCH:
            return "failure"
        case PairVerdict.NOT_MOVED if not in_place:
            return "error"
    if failing(document, row):
        return "failure"
    if any(finding.rule == "RA009" for finding in row.findings):
        return "error"
    return "skipped" if row.verdict is PairVerdict.SKIPPED else "passed"


def _model_result(document: MigrationDocument, index: int) -> PairResult:
    return "failure" if failing(document, document.models[index]) else "passed"


def _whole(document: MigrationDocument) -> PairResult:
    return {0: "passed", 1: "failure"}.get(document.outcome.exit_status, "error")  # type: ignore[return-value]


def _pair_case(classname: str, name: str, result: PairResult, lines: list[str]) -> str:
    case = ElementTree.Element("testcase", {"classname": printable(classname), "name": printable(name), "time": "0"})
    text = "\n".join(map(printable, lines))
    if result == "passed":
        ElementTree.SubElement(case, "system-out").text = text
    else:
        ElementTree.SubElement(case, result, {"message": printable(lines[0] if lines else result)}).text = text
    ElementTree.indent(case, level=2)
    return f"\n    {ElementTree.tostring(case, encoding='unicode')}"
