"""The report on a migration as JUnit XML: one test case per version, for what CI servers show."""

from collections import Counter
from collections.abc import Iterator
from typing import Literal
from xml.etree import ElementTree

from registry_audit.migration.pair_judging import PairVerdict
from registry_audit.printable import printable
from registry_audit.report.migration.registries_document import MigrationDocument, PairedRow
from registry_audit.report.migration.registries_words import (
    difference_words,
    failing,
    finding_words,
    found_words,
    headline,
    label_of,
    limits,
)

Result = Literal["passed", "failure", "error", "skipped"]


def chunks(document: MigrationDocument) -> Iterator[str]:
    """One `testsuite`: a case for each version, one for each model with findings, and one for the whole.

    What cannot be compared, or was not moved, is an error. What is missing or changed, or a finding at or above
    `fail_on`, is a failure.
    """
    results = Counter[Result](_result(document, row) for row in document.versions)
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
    for key, value in (*told, *(("limit", sentence) for sentence in limits(document))):
        ElementTree.SubElement(properties, "property", {"name": key, "value": printable(value)})
    ElementTree.indent(root)
    head, end = ElementTree.tostring(root, encoding="unicode").rsplit("\n  </testsuite>", 1)
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n{head}'
    yield _case("migration", "the whole", _whole(document), [document.summary.sentence])
    for index, model in enumerate(document.models):
        if model.findings:
            label = model.source or model.target or ""
            yield _case(label, "the model", _model_result(document, index), list(map(finding_words, model.findings)))
    for row in document.versions:
        side = row.source or row.target
        yield _case(side.name if side else "", label_of(row), _result(document, row), _lines(row))
    yield f"\n  </testsuite>{end}\n"


def _lines(row: PairedRow) -> list[str]:
    told = [f"verdict: {row.verdict.value}", f"pair: {found_words(row)}" if row.found_by else "", row.reason or ""]
    return [
        line for line in (*told, *map(finding_words, row.findings), *map(difference_words, row.differences)) if line
    ]


def _result(document: MigrationDocument, row: PairedRow) -> Result:
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


def _model_result(document: MigrationDocument, index: int) -> Result:
    return "failure" if failing(document, document.models[index]) else "passed"


def _whole(document: MigrationDocument) -> Result:
    return {0: "passed", 1: "failure"}.get(document.outcome.exit_status, "error")  # type: ignore[return-value]


def _case(classname: str, name: str, result: Result, lines: list[str]) -> str:
    case = ElementTree.Element("testcase", {"classname": printable(classname), "name": printable(name), "time": "0"})
    text = "\n".join(map(printable, lines))
    if result == "passed":
        ElementTree.SubElement(case, "system-out").text = text
    else:
        ElementTree.SubElement(case, result, {"message": printable(lines[0] if lines else result)}).text = text
    ElementTree.indent(case, level=2)
    return f"\n    {ElementTree.tostring(case, encoding='unicode')}"
