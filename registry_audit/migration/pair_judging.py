"""Turns a pair, or a version without a counterpart, into a verdict and findings."""

from collections.abc import Container
from dataclasses import dataclass, replace
from enum import StrEnum

from registry_audit.audit.judging import Finding, findings_of, sorted_findings
from registry_audit.migration.differences import FieldDifference, FileDifference, file_differences, metadata_differences
from registry_audit.migration.facts import VersionFacts
from registry_audit.migration.pairing import How, Pair
from registry_audit.migration.registries_config import NameMap
from registry_audit.model.listing import Problem
from registry_audit.printable import printable
from registry_audit.registry.storage import MODELS, StorageIdentity, may_be_one
from registry_audit.verdict import Severity, Verdict

# Findings on one side that concern its bytes. Other findings (a run in the trash, another run in MLmodel) do not
# concern the migration unless they differ between the two registries.
_OF_BYTES = frozenset({"RA001", "RA003", "RA007", "RA008", "RA009", "RA010", "RA013", "RA014", "RA015"})
_SHOWN_CHARACTERS = 60
_SHOWN_PATHS = 3


class PairVerdict(StrEnum):
    """This is the verdict on one version of the source, or on one that only the target has."""

    MATCH = "match"  # the same bytes in another storage
    EQUIVALENT = "equivalent"  # only differences that a named rule explains
    NOT_MOVED = "same_storage"  # apparently served from the source's storage, so nothing was compared
    MISMATCH = "mismatch"
    MISSING = "missing"
    UNVERIFIABLE = "unverifiable"
    SKIPPED = "skipped"  # its registration in the source is not finished
    ONLY_IN_TARGET = "only_in_target"


@dataclass(frozen=True, slots=True)
class PairRow:
    """This is the result for one version of the source or of the target."""

    source: VersionFacts | None
    target: VersionFacts | None
    pair: Pair
    verdict: PairVerdict
    reason: str | None
    files: tuple[FileDifference, ...] = ()
    fields: tuple[FieldDifference, ...] = ()
    findings: tuple[Finding, ...] = ()
    behind_proxy: bool = False  # a proxy hides whether both are one storage


def judge_pair(
    source: VersionFacts, target: VersionFacts, pair: Pair, names: NameMap, of_source: Container[StorageIdentity | str]
) -> PairRow:
    """Judge a pair: its bytes first, then what differs in metadata.

    Args:
        of_source: every storage that holds a version of the source, and one local file of each version.
    """
    files: tuple[FileDifference, ...] = ()
    if source.manifest is not None and target.manifest is not None and source.content and target.content:
        files = file_differences(source, target)
    fields = metadata_differences(source, target, names)
    problems, verdict, reason = _bytes(source, target, pair, files, of_source)
    hidden = _hidden(source, target) if verdict is PairVerdict.MATCH else None
    if hidden is not None:
        verdict, reason = PairVerdict.NOT_MOVED, hidden
    if fields:
        problems.append(Problem("RA022", "; ".join(field_words(field) for field in fields), blocks=False))
    findings = _findings(findings_of(source.version, problems), source=source, target=target)
    return PairRow(
        source,
        target,
        pair,
        verdict,
        reason,
        files,
        fields,
        findings,
        behind_proxy=hidden is not None,
    )


def _bytes(
    source: VersionFacts,
    target: VersionFacts,
    pair: Pair,
    files: tuple[FileDifference, ...],
    of_source: Container[StorageIdentity | str],
) -> tuple[list[Problem], PairVerdict, str | None]:
    label = printable(target.version.label)
    if pair.how is How.ONE_DIRECTORY_DOWN and pair.inner is not None:
        inner = printable(pair.inner.directory)
        files_words = "its file is" if pair.inner.file_count == 1 else f"all {pair.inner.file_count} files are"
        message = (
            f"{label} arrived one directory down: {files_words} there under {inner}/, and its source lacks /{inner}, "
            "so that it cannot be loaded"
        )
        return [Problem("RA021", message, blocks=False)], PairVerdict.MISMATCH, None
    unexplained = [found for found in files if found.expected_by is None]
    if unexplained:
        return [Problem("RA021", _how_they_differ(label, unexplained), blocks=False)], PairVerdict.MISMATCH, pair.reason
    if source.version.status != "READY" and source.audit.verdict is Verdict.SKIPPED:
        return [], PairVerdict.SKIPPED, f"its registration is not finished in the source ({source.version.status})"
    if not source.audit.verdict.passes and source.audit.verdict is not Verdict.MISMATCH:
        return [], PairVerdict.UNVERIFIABLE, f"in the source: {source.audit.reason or 'it could not be read'}"
    if target.is_gone:
        message = f"{label} is in the target's registry, and there is no model behind it"
        return [Problem("RA021", message, blocks=False)], PairVerdict.MISMATCH, pair.reason
    if target.audit.verdict is Verdict.MISMATCH and source.audit.verdict is not Verdict.MISMATCH:
        message = f"the run model and the registry model of {label} are not the same bytes, and in the source they are"
        return [Problem("RA021", message, blocks=False)], PairVerdict.MISMATCH, None
    if not target.audit.verdict.passes and target.audit.verdict is not Verdict.MISMATCH:
        return [], PairVerdict.UNVERIFIABLE, f"in the target: {target.audit.reason or 'it could not be read'}"
    if source.content is None or target.content is None:
        return [], PairVerdict.UNVERIFIABLE, "nothing could be compared"
    shared = _shared(source, target, of_source)
    if shared is not None:
        return [], PairVerdict.NOT_MOVED, shared
    return [], PairVerdict.EQUIVALENT if files else PairVerdict.MATCH, None


def _shared(source: VersionFacts, target: VersionFacts, of_source: Container[StorageIdentity | str]) -> str | None:
    """Say why the target has no copy of its own, or return None. Equal bytes in one storage prove nothing."""
    path = f"{target.version.name}/{target.version.version}"
    # A registry that copies on registration serves its own copy, whatever the version's source says.
    copies = tuple(storage for storage in target.storages if storage.kind == MODELS and storage.path == path)
    served = copies or target.storages
    both = [storage for storage in served if storage in source.storages or storage in of_source]
    if both:
        which = "it is" if len(both) == len(served) else "one of its two locations is"
        return f"not moved: in the target {which} still served from the source's storage, {printable(both[0].shown)}"
    of_one = set(source.places)
    linked = {place for place in target.places if place in of_one or place in of_source}
    if linked:
        which = "the target's files are" if len(linked) == len(target.places) else f"{len(linked)} of its files are"
        return f"not moved: {which} the source's files under other names (hard links or a mount)"
    return None


def _hidden(source: VersionFacts, target: VersionFacts) -> str | None:
    """Say why equal bytes may be in one storage, or return None."""
    for one in source.storages:
        for other in target.storages:
            if may_be_one(one, other):
                shown = printable(other.shown)
                return (
                    f"not known to be moved: the source's storage may be that of the target, {shown}, by another name"
                )
    return None


def judge_not(source: VersionFacts, target: VersionFacts, pair: Pair, reason: str) -> PairRow:
    """Return the row of a pair that could not be compared, with the reason."""
    findings = _findings(findings_of(source.version, [Problem("RA009", reason)]), source=source, target=target)
    return PairRow(source, target, pair, PairVerdict.UNVERIFIABLE, reason, findings=findings)


def judge_missing(source: VersionFacts, pair: Pair) -> PairRow:
    if pair.reason is not None:
        problem, verdict = Problem("RA009", f"no counterpart was found, and {pair.reason}"), PairVerdict.UNVERIFIABLE
    else:
        problem, verdict = Problem("RA020", _missing_words(source, pair), blocks=False), PairVerdict.MISSING
    findings = _findings(findings_of(source.version, [problem]), source=source)
    return PairRow(source, None, pair, verdict, pair.reason, findings=findings)


def _missing_words(source: VersionFacts, pair: Pair) -> str:
    if pair.how is How.MAP:
        return "the version that the map names for it is not in the target"
    if source.content is None:
        return "no version of the target is left that could be its counterpart"
    if pair.candidate_count:
        return "more versions of the source hold its bytes than of the target"
    return "no version of the target holds its bytes"


def judge_extra(target: VersionFacts, pair: Pair) -> PairRow:
    message = "no version of the source holds its bytes"
    if pair.candidate_count:
        message = "more versions of the target hold its bytes than of the source"
    problem = Problem("RA023", message, blocks=False)
    if pair.reason is not None:
        problem = Problem("RA009", f"no counterpart was found, and {pair.reason}")
    findings = _findings(findings_of(target.version, [problem]), target=target)
    return PairRow(None, target, pair, PairVerdict.ONLY_IN_TARGET, pair.reason, findings=findings)


def _findings(of_pair: tuple[Finding, ...], **sides: VersionFacts) -> tuple[Finding, ...]:
    """Return the findings on the pair first, then those of each side's audit that concern its bytes.

    A finding that both sides share is reported once, with the higher of the two severities: an alias on one side raises
    it.
    """
    of_sides: dict[Finding, tuple[list[str], list[Severity]]] = {}
    for side, facts in sides.items():
        for finding in facts.audit.findings:
            if finding.rule in _OF_BYTES:
                found_in, severities = of_sides.setdefault(replace(finding, severity=Severity.LOW), ([], []))
                found_in.append(side)
                severities.append(finding.severity)
    merged = (
        replace(
            finding,
            severity=max(severities, key=lambda severity: severity.rank),
            message=f"in the {' and in the '.join(dict.fromkeys(found_in))}: {finding.message}",
        )
        for finding, (found_in, severities) in of_sides.items()
    )
    return (*of_pair, *sorted_findings(merged))


def _how_they_differ(label: str, unexplained: list[FileDifference]) -> str:
    count = len(unexplained)
    shown = ", ".join(_file_words(found) for found in unexplained[:_SHOWN_PATHS])
    more = f" and {count - _SHOWN_PATHS} more" if count > _SHOWN_PATHS else ""
    return f"{count} {'file differs' if count == 1 else 'files differ'} from {label} of the target: {shown}{more}"


def _file_words(found: FileDifference) -> str:
    inside = f" ({printable(', '.join(found.fields[:5]))})" if found.fields else ""
    return f"'{printable(found.path)}'{inside}"


def field_words(field: FieldDifference) -> str:
    """Describe a difference as `aliases: champion in the source, none in the target`."""
    return f"{printable(field.field)}: {_short(field.source)} in the source, {_short(field.target)} in the target"


def _short(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}..."
