"""Pairs the versions of the source with those of the target. Bytes decide; a number alone never does.

Migration tools renumber versions: gaps close, and a model of ten or more versions arrives in the order of its numbers
sorted as text (1, 10, 11, 2, ...). Only a copied database row keeps its number, creation time and run. Nothing is
guessed, and how each pair was found is part of the result.
"""

import hashlib
import itertools
import json
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from registry_audit.audit.copies import META_FILE
from registry_audit.migration.differences import REQUIREMENTS
from registry_audit.migration.facts import Inner, VersionFacts
from registry_audit.model.mlmodel import MLMODEL

_DESCRIBING = REQUIREMENTS | {MLMODEL, META_FILE}
_MAX_TELLING_FILES = 100  # the largest ones of one version
_MAX_HOLDERS = 8  # a file that more versions share does not distinguish them
_NOT_LISTED = "the {} could not be listed whole: its counterpart may be among what is missing there"
_EXCHANGED = "another version of the target holds its bytes: were they exchanged?"
_NUMBERS_CHANGED = "numbers of this model changed, so its counterpart may be another version"


class How(StrEnum):
    """This is how a pair was found. The methods are tried in this order."""

    MAP = "map"  # a person named the pair
    SAME_ROW = "same_row"  # same number, creation time and run, as in a copied database, but other content
    CONTENT_SAME_NUMBER = "same_number"  # same content under the same number
    CONTENT = "content"  # same content under another number
    ONE_DIRECTORY_DOWN = "one_directory_down"  # same content, below the root of the target's version
    SHARED_FILES = "shared_files"  # other content, but shares at least half of its bytes, and the most
    NUMBER_ONLY = "number_only"  # only the number agrees: the content differs or could not be read


@dataclass(frozen=True, slots=True)
class Candidate:
    """Holds what pairing needs of one version."""

    position: int
    number: str  # as the registry writes it; it may not be numeric, and only equals the same text
    content: str | None
    manifest: str | None
    metadata: Hashable  # tags and description
    use: Hashable  # aliases and stage
    inner: tuple[Inner, ...]
    unknown: bool  # whether it could not be read, so that it may have any content
    name: str = ""
    birth: Hashable = None  # creation time and run, which only a copied row shares; None if the time is not known


@dataclass(frozen=True, slots=True)
class Pair:
    source: int | None  # position
    target: int | None
    how: How | None = None
    candidate_count: int = 1  # number of versions of the other registry with this content
    told_apart_by: str | None = None  # the criteria by which it was chosen among several with this content
    inner: Inner | None = None
    reason: str | None = None  # why an unpaired version cannot be called missing, or what makes a pair doubtful


def candidate_of(position: int, facts: VersionFacts) -> Candidate:
    version = facts.version
    return Candidate(
        position=position,
        number=version.version,
        content=facts.content,
        manifest=facts.manifest_digest,
        metadata=hashlib.sha256(json.dumps([version.tags, version.description or ""]).encode()).digest(),
        use=(tuple(sorted(version.aliases)), version.stage),
        inner=facts.inner,
        unknown=facts.content is None and not facts.inner and not facts.is_gone,
        name=version.name,
        birth=(version.creation_time_ms, version.run_id) if version.creation_time_ms else None,
    )


Files = Mapping[bytes, int]  # sizes in bytes, by a digest of path and content


def telling_files(facts: VersionFacts) -> Files:
    """Return the largest files of a version, which identify it even if others of its files changed.

    Files that describe a model are left out: many versions have the same requirements.
    """
    entries = facts.manifest.entries if facts.manifest is not None else ()
    own = [entry for entry in entries if entry.path not in _DESCRIBING]
    largest = sorted(own, key=lambda entry: (-entry.size, entry.path))[:_MAX_TELLING_FILES]
    return {_file_key(entry.path, entry.digest): entry.size for entry in largest}


def _file_key(path: str, digest: str) -> bytes:
    return hashlib.blake2b(json.dumps([path, digest]).encode("ascii"), digest_size=12).digest()


def pair_versions(
    source: Iterable[Candidate],
    target: Iterable[Candidate],
    mapped: dict[int, int | None] | None = None,
    files_of: tuple[Callable[[int], Files], Callable[[int], Files]] | None = None,
    listed_whole: tuple[bool, bool] = (True, True),
) -> list[Pair]:
    """Return all pairs and unpaired versions, each version once.

    The versions of the source come first, in order of number, then those that are only in the target.

    Args:
        source, target: the versions of one model under its two names.
        mapped: pairs that a person named, as positions; None for a version that is not in the target.
        files_of: returns the files of a position, for each side; only called for content that has no counterpart.
        listed_whole: whether each registry was listed completely. If not, an unpaired version may have an unlisted
            counterpart.
    """
    mapped = mapped or {}
    ones, others = list(source), list(target)
    contents = Counter(one.content for one in ones), Counter(other.content for other in others)
    taken = {position for position in mapped.values() if position is not None}
    left = {one.position: one for one in ones if one.position not in mapped}
    right = {other.position: other for other in others if other.position not in taken}
    cut = None if listed_whole[1] else _NOT_LISTED.format("target")
    pairs = [Pair(one, two, How.MAP, reason=cut if two is None else None) for one, two in mapped.items()]

    def by_shared_files(ones: list[Candidate], others: list[Candidate]) -> Iterator[Pair]:
        return _by_shared_files(ones, others, *files_of) if files_of else iter(())

    def by_number(ones: list[Candidate], others: list[Candidate]) -> Iterator[Pair]:
        return _by_number(ones, others, _NUMBERS_CHANGED if any(p.how is How.CONTENT for p in pairs) else None)

    for step in (_by_row, _by_content, _one_directory_down, by_shared_files, by_number):
        for found in list(step(list(left.values()), list(right.values()))):
            assert found.source is not None
            assert found.target is not None
            pairs.append(found)
            left.pop(found.source)
            right.pop(found.target)
    unread = sum(other.unknown for other in right.values())
    for one in left.values():
        reason = cut or _why_not_missing(one, unread, has_candidates=bool(right))
        pairs.append(Pair(one.position, None, candidate_count=_holding(contents[1], one), reason=reason))
    why_extra = None if listed_whole[0] else _NOT_LISTED.format("source")
    pairs += (
        Pair(None, at, candidate_count=_holding(contents[0], other), reason=why_extra) for at, other in right.items()
    )
    return sorted(pairs, key=lambda pair: (pair.source is None, pair.source or 0, pair.target or 0))


def _by_row(source: list[Candidate], target: list[Candidate]) -> Iterator[Pair]:
    """Pair versions of one copied row, whatever their bytes. If two of them exchanged bytes, none was renumbered.

    Versions that were created at the same moment are skipped, because their rows do not distinguish them.
    """
    births = Counter(one.birth for one in source), Counter(other.birth for other in target)
    rows, holders = {(other.birth, other.number): other for other in target}, Counter(one.content for one in target)
    for one in source:
        other = rows.get((one.birth, one.number))
        if one.birth is None or other is None or max(count[one.birth] for count in births) > 1:
            continue
        is_same, held = one.content is not None and one.content == other.content, _holding(holders, one)
        down = next(_one_directory_down([one], [other]), None)
        how, doubt = (How.CONTENT_SAME_NUMBER, None) if is_same else (How.SAME_ROW, _EXCHANGED if held else None)
        yield down or Pair(one.position, other.position, how, held, reason=doubt)


def _by_content(source: list[Candidate], target: list[Candidate]) -> Iterator[Pair]:
    holders: dict[str, list[Candidate]] = defaultdict(list)
    for other in target:
        if other.content is not None:
            holders[other.content].append(other)
    for content, ones in _by_their_content(source).items():
        for one, other, count, words in _told_apart(ones, holders.get(content, [])):
            how = How.CONTENT_SAME_NUMBER if one.number == other.number else How.CONTENT
            yield Pair(one.position, other.position, how, count, words)


def _one_directory_down(source: list[Candidate], target: list[Candidate]) -> Iterator[Pair]:
    holders: dict[str, dict[int, tuple[Candidate, Inner]]] = defaultdict(dict)
    for other in target:
        for inner in other.inner:
            holders[inner.content].setdefault(other.position, (other, inner))
    used = set[int]()
    for content, ones in _by_their_content(source).items():
        free = {position: found for position, found in holders.get(content, {}).items() if position not in used}
        for one, other, count, words in _told_apart(ones, [found for found, _ in free.values()]):
            used.add(other.position)
            inner = free[other.position][1]
            yield Pair(one.position, other.position, How.ONE_DIRECTORY_DOWN, count, words, inner)


def _by_shared_files(
    source: list[Candidate],
    target: list[Candidate],
    source_files: Callable[[int], Files],
    target_files: Callable[[int], Files],
) -> Iterator[Pair]:
    """Pair versions that share at least half of their bytes, and more than either shares with any other one left."""
    if not source or not target:
        return
    ones = {one.position: source_files(one.position) for one in source}
    others = {other.position: target_files(other.position) for other in target}
    shared: Counter[tuple[int, int]] = Counter()
    held_by = _holders(others)
    for key, mine in _holders(ones).items():
        theirs = held_by.get(key, [])
        if max(len(mine), len(theirs)) <= _MAX_HOLDERS:
            for one, other in itertools.product(mine, theirs):
                shared[one, other] += ones[one][key]
    best_of_one = _best((one, other, size) for (one, other), size in shared.items())
    best_of_other = _best((other, one, size) for (one, other), size in shared.items())
    for one, (other, size) in sorted(best_of_one.items()):
        whole = max(sum(ones[one].values()), sum(others[other].values()))
        if best_of_other.get(other) == (one, size) and size * 2 >= whole > 0:
            yield Pair(one, other, How.SHARED_FILES)


def _holders(files: dict[int, Files]) -> dict[bytes, list[int]]:
    holders: dict[bytes, list[int]] = defaultdict(list)
    for position, held in files.items():
        for key in held:
            holders[key].append(position)
    return holders


def _best(shared: Iterable[tuple[int, int, int]]) -> dict[int, tuple[int, int]]:
    """Return, for each version, the version that shares most bytes with it, and how many. Ties are left out."""
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for one, other, size in shared:
        found[one].append((size, other))
    best = {}
    for one, sizes in found.items():
        sizes.sort(reverse=True)
        if len(sizes) == 1 or sizes[0][0] > sizes[1][0]:
            best[one] = sizes[0][1], sizes[0][0]
    return best


def _by_number(source: list[Candidate], target: list[Candidate], doubt: str | None) -> Iterator[Pair]:
    numbers = {other.number: other for other in target}
    for one in source:
        if one.number in numbers:
            yield Pair(one.position, numbers[one.number].position, How.NUMBER_ONLY, reason=doubt)


_CRITERIA: tuple[tuple[str, Callable[[Candidate], Hashable]], ...] = (
    ("tags and description", lambda one: one.metadata),
    ("aliases and stage", lambda one: one.use),
    ("exact bytes", lambda one: one.manifest),
    ("number", lambda one: one.number),
)


def _told_apart(
    ones: list[Candidate], others: list[Candidate]
) -> Iterator[tuple[Candidate, Candidate, int, str | None]]:
    """Pair versions that have the same content.

    Yields the pair, the number of target versions with this content, and the criteria that chose the pair. Versions
    that agree in all criteria are paired first, then those that agree in the first ones; the rest is paired in order.
    Numbers count only if they were kept: if gaps were closed, the same number is another version.
    """
    if len(ones) == len(others) == 1:
        yield ones[0], others[0], 1, None
        return
    numbers = {one.number for one in ones}, {other.number for other in others}
    telling = [
        (words, key)
        for words, key in _CRITERIA
        if len({key(one) for one in (*ones, *others)}) > 1
        and (words != "number" or numbers[0] <= numbers[1] or numbers[1] <= numbers[0])
    ]
    left = {one.position: one for one in ones}
    right = {other.position: other for other in others}
    for chosen in itertools.product((True, False), repeat=len(telling)):
        used = list(itertools.compress(telling, chosen))
        waiting: dict[Hashable, deque[Candidate]] = defaultdict(deque)
        for other in right.values():
            waiting[tuple(key(other) for _, key in used)].append(other)
        for one in list(left.values()):
            if found := waiting[tuple(key(one) for _, key in used)]:
                other = found.popleft()
                del left[one.position], right[other.position]
                yield one, other, len(others), ", ".join(words for words, _ in used) or "order"


def _why_not_missing(one: Candidate, unread: int, *, has_candidates: bool) -> str | None:
    if unread:
        versions = "1 version" if unread == 1 else f"{unread} versions"
        return f"{versions} of the target could not be read: its counterpart may be among them"
    if one.unknown and has_candidates:
        return "it could not be read, so its counterpart cannot be told from other versions of the target"
    return None


def _holding(contents: Counter[str | None], one: Candidate) -> int:
    return 0 if one.content is None else contents[one.content]


def _by_their_content(candidates: list[Candidate]) -> dict[str, list[Candidate]]:
    groups: dict[str, list[Candidate]] = defaultdict(list)
    for one in candidates:
        if one.content is not None:
            groups[one.content].append(one)
    return groups
