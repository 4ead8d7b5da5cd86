"""Which version of the target is which version of the source. Bytes decide; a number alone never does.

Migration tools number versions anew: gaps close, and a model of ten or more versions arrives in the order of its
numbers read as text (1, 10, 11, 2, ...). Nothing here is guessed, and how each pair was found is part of the result.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from registry_audit.migration.facts import Inner, VersionFacts


class How(StrEnum):
    """How a pair was found; in the order in which it is tried."""

    MAP = "map"  # a person named it
    CONTENT_SAME_NUMBER = "same_number"  # the same content under the same number
    CONTENT = "content"  # the same content under another number
    ONE_DIRECTORY_DOWN = "one_directory_down"  # the same content, below the root of the target's version
    NUMBER_ONLY = "number_only"  # nothing but the number: other content, or content that could not be read


@dataclass(frozen=True, slots=True)
class Candidate:
    """What pairing needs of one version."""

    position: int
    number: int
    content: str | None
    manifest: str | None
    metadata: tuple[Hashable, ...]  # tags and description
    inner: tuple[Inner, ...]
    unknown: bool  # whether it may hold any content, because it could not be read
    name: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    source: int | None  # position
    target: int | None
    how: How | None = None
    candidate_count: int = 1  # versions of the target with this content
    told_apart_by: str | None = None  # which of several candidates it is
    inner: Inner | None = None
    reason: str | None = None  # why an unpaired version cannot be called missing


def candidate_of(position: int, facts: VersionFacts) -> Candidate:
    version = facts.version
    return Candidate(
        position=position,
        number=version.key[1],
        content=facts.content,
        manifest=facts.manifest_digest,
        metadata=(version.tags, version.description),
        inner=facts.inner,
        unknown=facts.content is None and not facts.inner and not facts.is_gone,
        name=version.name,
    )


def pair_versions(
    source: Iterable[Candidate], target: Iterable[Candidate], mapped: dict[int, int | None] | None = None
) -> list[Pair]:
    """Pairs and what is left over, each version once: the source's in order of number, then what is only in the target.

    Args:
        source, target: the versions of one model under its two names.
        mapped: pairs that a person named, as positions; None for one that is not in the target.
    """
    mapped = mapped or {}
    taken = {position for position in mapped.values() if position is not None}
    left = {one.position: one for one in source}
    right = {one.position: one for one in target if one.position not in taken}
    pairs = [Pair(one, two, How.MAP if two is not None else None) for one, two in mapped.items()]
    for pair in mapped:
        left.pop(pair, None)
    for step in (_by_content, _one_directory_down, _by_number):
        for found in list(step(list(left.values()), list(right.values()))):
            pairs.append(found)
            left.pop(found.source or 0) if found.source is not None else None
            right.pop(found.target or 0) if found.target is not None else None
    pairs += _unpaired(list(left.values()), list(right.values()))
    pairs += (Pair(None, position) for position in sorted(right))
    return sorted(pairs, key=lambda pair: (pair.source is None, pair.source or 0, pair.target or 0))


_Key = Callable[[Candidate], Hashable]
# Of several versions with one content, the first of these that tells them apart does.
_TELLING: tuple[tuple[str, _Key], ...] = (
    ("exact bytes, number, tags and description", lambda one: (one.manifest, one.number, one.metadata)),
    ("exact bytes, tags and description", lambda one: (one.manifest, one.metadata)),
    ("number, tags and description", lambda one: (one.number, one.metadata)),
    ("tags and description", lambda one: one.metadata),
    ("exact bytes and number", lambda one: (one.manifest, one.number)),
    ("exact bytes", lambda one: one.manifest),
    ("number", lambda one: one.number),
    ("order", lambda one: None),
)


def _by_content(source: list[Candidate], target: list[Candidate]) -> Iterator[Pair]:
    sources, targets = _grouped(source), _grouped(target)
    for content, ones in sources.items():
        others = targets.get(content, [])
        if len(ones) == len(others) == 1:
            yield Pair(ones[0].position, others[0].position, _how(ones[0], others[0]))
        elif others:
            yield from _told_apart(ones, others)


def _told_apart(ones: list[Candidate], others: list[Candidate]) -> Iterator[Pair]:
    count = len(others)
    for words, key in _TELLING:
        waiting: dict[Hashable, list[Candidate]] = defaultdict(list)
        for other in others:
            waiting[key(other)].append(other)
        for one in list(ones):
            if found := waiting[key(one)]:
                other = found.pop(0)
                ones.remove(one)
                others.remove(other)
                yield Pair(one.position, other.position, _how(one, other), count, words)


def _one_directory_down(source: list[Candidate], target: list[Candidate]) -> Iterator[Pair]:
    used = set[int]()
    for one in source:
        for other in sorted(target, key=lambda other: other.number != one.number):
            inner = next((inner for inner in other.inner if inner.content == one.content), None)
            if inner is not None and one.content is not None and other.position not in used:
                used.add(other.position)
                yield Pair(one.position, other.position, How.ONE_DIRECTORY_DOWN, inner=inner)
                break


def _by_number(source: list[Candidate], target: list[Candidate]) -> Iterator[Pair]:
    numbers = {other.number: other for other in target}
    for one in source:
        if one.number in numbers:
            yield Pair(one.position, numbers[one.number].position, How.NUMBER_ONLY)


def _unpaired(source: list[Candidate], target: list[Candidate]) -> Iterator[Pair]:
    unread = sum(other.unknown for other in target)
    for one in source:
        reason = None
        if unread:
            versions = "1 version" if unread == 1 else f"{unread} versions"
            reason = f"{versions} of the target could not be read: its counterpart may be among them"
        elif one.unknown and target:
            reason = "it could not be read, so its counterpart cannot be told from other versions of the target"
        yield Pair(one.position, None, reason=reason)


def _grouped(candidates: list[Candidate]) -> dict[str, list[Candidate]]:
    groups: dict[str, list[Candidate]] = defaultdict(list)
    for one in candidates:
        if one.content is not None:
            groups[one.content].append(one)
    return groups


def _how(one: Candidate, other: Candidate) -> How:
    return How.CONTENT_SAME_NUMBER if one.number == other.number else How.CONTENT
