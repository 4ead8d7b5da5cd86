"""Compares two registries that were read, one model after the other, so that memory holds one model's versions."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from registry_audit.audit.judging import Finding
from registry_audit.audit.options import ModelChoice
from registry_audit.audit.session import Session
from registry_audit.errors import NotFound, UsageError
from registry_audit.migration.differences import (
    REQUIREMENTS,
    FieldDifference,
    model_differences,
    requirement_lines,
)
from registry_audit.migration.facts import VersionFacts
from registry_audit.migration.pair_judging import (
    PairRow,
    field_words,
    judge_extra,
    judge_missing,
    judge_not,
    judge_pair,
)
from registry_audit.migration.pairing import Pair, candidate_of, pair_versions, telling_files
from registry_audit.migration.registries_config import MigrationOptions, NameMap
from registry_audit.migration.registry_reading import Listed, Side, small_file
from registry_audit.net.deadline import Deadline, within
from registry_audit.printable import printable
from registry_audit.registry.prompts import TAG as PROMPT_TAG
from registry_audit.registry.translate import reason_of
from registry_audit.registry.version import Key, ListedVersions, RegisteredVersion, version_key
from registry_audit.rules import METADATA_DIFFERS, NOT_MIGRATED, ONLY_IN_TARGET, RENUMBERED, UNVERIFIABLE, Rule

_MAX_PAIRS_SHOWN, _MAX_IN_ORDER = 12, 50


@dataclass(frozen=True, slots=True)
class ModelRow:
    """This is the result for one registered model as a whole."""

    source: str | None
    target: str | None
    source_count: int  # compared versions
    target_count: int
    renumbered: tuple[tuple[str, str], ...]  # source and target number of each pair whose numbers differ
    fields: tuple[FieldDifference, ...]
    findings: tuple[Finding, ...]


def chosen_models(source: Listed, target: Listed, options: MigrationOptions) -> tuple[set[str], set[str]]:
    """Return the models of both sides to compare.

    Raises:
        UsageError: two models of the source are mapped to one in the target.
        NotFound: a name or pattern matches nothing in either registry, or a version that the map names is not in the
            source.
    """
    names = options.names
    only_there = () if options.one_way else target.names
    candidates = source.names | {one for name in only_there for one in names.sources_of(name)}
    choice = ModelChoice(options.models, candidates)
    sources = {name for name in source.names if name in choice}
    owners: dict[str, str] = {}
    for name in sorted(sources):
        mapped = names.target_of(name)
        if mapped in owners:
            raise UsageError(
                f"'{printable(owners[mapped])}' and '{printable(name)}' are both mapped to '{printable(mapped)}': "
                "map one of them to another name"
            )
        owners[mapped] = name
    counterparts = owners.keys() | {other[0] for one, other in names.versions if one[0] in sources}

    def is_asked_for(name: str) -> bool:
        """Say whether a model of the target is compared although no model of the source leads to it."""
        return not options.one_way and (not options.models or any(one in choice for one in names.sources_of(name)))

    targets = {name for name in target.names if name in counterparts or is_asked_for(name)}
    for text in choice.without_any(candidates):
        where = "in the source" if options.one_way else "in the source, nor in the target"
        raise NotFound(f"there is no registered model '{printable(text)}' {where}")
    _must_be_listed(source, {one for one, _ in names.versions})
    return sources, targets


def _must_be_listed(source: Listed, mapped: set[Key]) -> None:
    """Check that the source has the versions that the map names. Raises: NotFound: one is missing."""
    if not mapped:
        return
    missing = mapped - {(version.name, version.version) for version in source.versions}
    if missing and source.whole:
        name, number = min(missing)
        raise NotFound(f"the map names {printable(name)}/{number}, and the source has no such version")


def chosen_versions(listed: Listed, models: set[str]) -> Sequence[RegisteredVersion]:
    """Return the versions of these models. They stay on disk if the listing is on disk."""
    indexes = (index for index, version in enumerate(listed.versions) if version.name in models)
    if isinstance(listed.versions, ListedVersions):
        return listed.versions.choose(indexes)
    return [listed.versions[index] for index in indexes]


def compare_sides(
    sessions: tuple[Session, Session],
    source: Side,
    target: Side,
    models: tuple[set[str], set[str]],
    names: NameMap,
    *,
    one_way: bool,
    keep_row: Callable[[PairRow], None],
    keep_model: Callable[[ModelRow], None],
) -> None:
    """Compare both registries model by model.

    Args:
        models: the registered models of both sides to compare, including those without versions.
        one_way: leave out what only the target has.
        keep_row, keep_model: called with each result, first in the order of the source's names, then for what is only
            in the target.
    """
    mapped, asked = _mapped_versions(source, target, names), _AskedAgain(sessions)
    done = set[str]()
    for name in sorted(models[0]):
        there = names.target_of(name)
        done.add(there)
        tally = _ModelTally()
        for row in _rows(asked, source, target, name, there, names, mapped, one_way=one_way):
            tally.add(row)
            keep_row(row)
        keep_model(_model_row(source, target, name, there, tally))
    if one_way:
        return
    for there in sorted(models[1] - done):
        count = 0
        for row in _rows(asked, source, target, None, there, names, mapped, one_way=False):
            count += 1
            keep_row(row)
        is_empty = not target.positions(there)
        findings = (_finding(ONLY_IN_TARGET, "the registered model has no versions"),) if is_empty else ()
        keep_model(ModelRow(None, there, 0, count, (), (), findings))


@dataclass(slots=True)
class _ModelTally:
    """Collects what a model's row needs from its pairs: numbers and times, not the facts."""

    pairs: list[tuple[str, str, int | None, int | None]] = field(default_factory=list)
    target_count: int = 0

    def add(self, row: PairRow) -> None:
        self.target_count += row.target is not None
        if row.source is not None and row.target is not None:
            one, other = row.source.version, row.target.version
            self.pairs.append((one.version, other.version, one.creation_time_ms, other.creation_time_ms))


class _AskedAgain:
    """Reads small files of both registries once more.

    On each side, all reads together have the time limit of one version.
    """

    def __init__(self, sessions: tuple[Session, Session]) -> None:
        self._sessions, self._until = sessions, dict[int, Deadline]()  # by side, set at the first read

    def source(self, facts: VersionFacts, path: str) -> str | None:
        return self._read(0, facts, path)

    def target(self, facts: VersionFacts, path: str) -> str | None:
        return self._read(1, facts, path)

    def _read(self, side: int, facts: VersionFacts, path: str) -> str | None:
        session = self._sessions[side]
        if side not in self._until:
            self._until[side] = session.deadline()
        with within(self._until[side]):
            return small_file(session, facts, path)


def _rows(
    asked: _AskedAgain,
    source: Side,
    target: Side,
    name: str | None,
    there: str,
    names: NameMap,
    mapped: "_Mapped",
    *,
    one_way: bool,
) -> Iterator[PairRow]:
    ones = source.positions(name) if name is not None else range(0)
    others = [position for position in target.positions(there) if position not in mapped.targets]
    own = {position: mapped.sources[position] for position in ones if position in mapped.sources}
    leads_to = {there, *(other[0] for one, other in names.versions if one[0] == name)}
    pairs = pair_versions(
        (candidate_of(position, source.at(position)) for position in ones),
        (candidate_of(position, target.at(position)) for position in others),
        own,
        (lambda position: telling_files(source.at(position)), lambda position: telling_files(target.at(position))),
        (source.listed.shows(names.sources_of(there)), target.listed.shows(leads_to)),
    )
    for pair in pairs:
        if pair.source is not None and pair.target is not None:
            yield _judged(asked, source, source.at(pair.source), target.at(pair.target), pair, names)
        elif pair.source is not None:
            yield judge_missing(source.at(pair.source), pair)
        elif pair.target is not None and not one_way:
            yield judge_extra(target.at(pair.target), pair)


def _judged(
    asked: _AskedAgain, source: Side, one: VersionFacts, other: VersionFacts, pair: Pair, names: NameMap
) -> PairRow:
    """Return the row of a pair, or a row with the reason if anything is raised: a pair must not end the comparison."""
    try:
        return _with_requirements(asked, judge_pair(one, other, pair, names, source.storages))
    except Exception as error:  # noqa: BLE001 - hostile models meet parsers that nobody has read
        return judge_not(one, other, pair, reason_of(error))


@dataclass(frozen=True, slots=True)
class _Mapped:
    sources: dict[int, int | None]  # position in the source to that in the target
    targets: set[int]


def _mapped_versions(source: Side, target: Side, names: NameMap) -> _Mapped:
    """Return the pairs that a person named in the map, as positions."""
    ones = _positions(source, {one[0] for one, _ in names.versions})
    others = _positions(target, {other[0] for _, other in names.versions})
    found = {ones[one]: others.get(other) for one, other in names.versions if one in ones}
    return _Mapped(found, {position for position in found.values() if position is not None})


def _positions(side: Side, models: set[str]) -> dict[Key, int]:
    return {
        (name, side.at(position).version.version): position
        for name in sorted(models)
        for position in side.positions(name)
    }


def _with_requirements(asked: "_AskedAgain", row: PairRow) -> PairRow:
    """Add the differing requirements to the row. Their files are small, and are read once more for this."""
    if row.source is None or row.target is None:
        return row
    files = []
    for found in row.files:
        if found.path in REQUIREMENTS and found.sizes[0] is not None and found.sizes[1] is not None:
            one, other = asked.source(row.source, found.path), asked.target(row.target, found.path)
            fields = requirement_lines(one, other) if one is not None and other is not None else ()
            files.append(replace(found, fields=fields))
        else:
            files.append(found)
    return replace(row, files=tuple(files))


def _model_row(source: Side, target: Side, name: str, there: str, tally: _ModelTally) -> ModelRow:
    renumbered = tuple((one, other) for one, other, _, _ in tally.pairs if one != other)
    findings, fields = list[Finding](), tuple[FieldDifference, ...]()
    one, other = source.listed.models.get(name), target.listed.models.get(there)
    source_count = len(source.positions(name))
    if one is not None and other is None and not source_count:
        message = "the registered model, which has no versions, is not in the target"
        if PROMPT_TAG in dict(one.tags):
            message += f" (it has the tag {PROMPT_TAG}, and may be a prompt whose versions were deleted)"
        if target.listed.gaps:
            findings.append(_finding(UNVERIFIABLE, f"{message} as far as it could be listed"))
        else:
            findings.append(_finding(NOT_MIGRATED, message))
    if one is not None and other is not None:
        fields = model_differences(one, other)
    fields = (*fields, *_order(tally))
    if fields:
        findings.append(_finding(METADATA_DIFFERS, "; ".join(map(field_words, fields))))
    if renumbered:
        findings.append(_finding(RENUMBERED, _renumbered_words(renumbered, tally)))
    return ModelRow(name, there, source_count, tally.target_count, renumbered, fields, tuple(findings))


def _order(tally: _ModelTally) -> tuple[FieldDifference, ...]:
    """Report that the order of creation differs, so that `latest` may lead to another model."""
    dated = [(number, first, second) for number, _, first, second in tally.pairs if first and second]
    in_source = sorted(dated, key=lambda pair: (pair[1], pair[2]))  # versions of equal time keep the target's order
    in_target = sorted(in_source, key=lambda pair: pair[2])
    if in_source == in_target:
        return ()
    by_source, by_target = ([number for number, *_ in pairs] for pairs in (in_source, in_target))
    return (FieldDifference("order of creation", _sequence(by_source), _sequence(by_target)),)


def _sequence(numbers: list[str]) -> str:
    """Return the numbers of the source, oldest first, as text."""
    return ", ".join(numbers[:_MAX_IN_ORDER]) + (", ..." if len(numbers) > _MAX_IN_ORDER else "")


def _renumbered_words(renumbered: tuple[tuple[str, str], ...], tally: _ModelTally) -> str:
    in_target = [one for one, *_ in sorted(tally.pairs, key=lambda pair: version_key("", pair[1]))]
    why = ": numbers were sorted as text" if len(in_target) >= 10 and in_target == sorted(in_target) else ""
    shown = ", ".join(f"{one} -> {other}" for one, other in renumbered[:_MAX_PAIRS_SHOWN])
    more = f" and {len(renumbered) - _MAX_PAIRS_SHOWN} more" if len(renumbered) > _MAX_PAIRS_SHOWN else ""
    return f"{len(renumbered)} of {len(in_target)} renumbered{why}: {shown}{more}"


def _finding(rule: Rule, message: str) -> Finding:
    return Finding(rule.id, rule.severity, message, rule.remedy)
