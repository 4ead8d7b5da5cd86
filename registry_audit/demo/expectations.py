"""What an audit of the demo registry must find, and whether it did."""

from collections.abc import Iterable
from dataclasses import dataclass

from registry_audit.printable import printable
from registry_audit.report.document import AuditDocument, VersionRow
from registry_audit.verdict import Verdict


@dataclass(frozen=True, slots=True)
class ExpectedResult:
    name: str
    version: str
    what: str  # the state of the version, as a person would say it
    verdict: Verdict | None  # None where any verdict will do
    rules: tuple[str, ...]  # ids of exactly the rules that must report, sorted, each once


def unexpected(document: AuditDocument, expected: Iterable[ExpectedResult]) -> tuple[str, ...]:
    """One sentence for every version that the audit judged otherwise, missed or should not have seen.

    Empty when the audit found the known damage and nothing else. Sorted by name and version number.
    """
    wanted = {(result.name, result.version): result for result in expected}
    found = {(row.name, row.version): row for row in document.versions}
    sentences: list[str] = []
    for key in sorted(wanted.keys() | found.keys(), key=_by_name_and_number):
        result, row = wanted.get(key), found.get(key)
        title = printable(f"{key[0]}/{key[1]}")
        if row is None:
            sentences.append(f"{title} is missing from the audit.")
        elif result is None:
            sentences.append(f"{title} was audited but is no version of the demo registry.")
        else:
            sentences += [f"{title}: {difference} ({result.what})." for difference in _differences(result, row)]
    return tuple(sentences)


def _differences(expected: ExpectedResult, row: VersionRow) -> list[str]:
    differences: list[str] = []
    if expected.verdict is not None and row.verdict is not expected.verdict:
        differences.append(f"verdict {row.verdict.value} instead of {expected.verdict.value}")
    rules = sorted({finding.rule for finding in row.findings})
    if rules != sorted(set(expected.rules)):
        differences.append(f"findings {_listed(rules)} instead of {_listed(sorted(set(expected.rules)))}")
    return differences


def _listed(rules: list[str]) -> str:
    return ", ".join(printable(rule) for rule in rules) or "none"


def _by_name_and_number(key: tuple[str, str]) -> tuple[str, int, str]:
    """Version 10 after version 2; a version that is no number first, not a crash."""
    name, version = key
    return name, int(version) if version.isascii() and version.isdecimal() else -1, version
