"""Compares two copies that were read. A difference is data; comparing never raises on one.

Laws, tested as properties: a copy equals itself; swapping the sides swaps the kinds and nothing else; one flipped
byte is always found.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Literal

from registry_audit.audit.copies import META_FILE, META_MAX_BYTES, ModelCopy, Reading, is_written_by_mlflow
from registry_audit.audit.reading import Pulse
from registry_audit.model.listing import ListedFile, Problem
from registry_audit.model.mlmodel import MLMODEL, InvalidMLmodel, parse_mlmodel
from registry_audit.printable import printable
from registry_audit.registry.storage import PROXY
from registry_audit.stores.base import CHUNK_BYTES
from registry_audit.stores.local import inode
from registry_audit.stores.proxy import cannot_carry

# Differences that a named rule explains. They are always shown, with the rule; never hidden.


Explain = Callable[[str, ModelCopy, ModelCopy], str | None]

REGISTERED_MODEL_META = "registered-model-meta"
MLMODEL_PROVENANCE = "mlmodel-provenance"


def within_one_registry(path: str, left: ModelCopy, right: ModelCopy) -> str | None:
    """Explain `registered_model_meta`: MLflow writes it into what a `models:/` URI loads, even into a local store.

    Source: mlflow ModelsArtifactRepository.download_artifacts; docs/mlflow.md section 6.
    """
    if path != META_FILE or path in left.listing.unsafe + right.listing.unsafe:
        return None
    holders = [copy.reading for copy in (left, right) if any(file.path == path for file in copy.listing.files)]
    theirs = all(reading is not None and is_written_by_mlflow(reading.meta, reading.mlmodel) for reading in holders)
    return REGISTERED_MODEL_META if theirs else None


def explains_meta(path: str, sizes: list[int | None]) -> str | None:
    """Return the rule for a `registered_model_meta` of these sizes; None if it cannot be MLflow's own file."""
    small = all(size is not None and size <= META_MAX_BYTES for size in sizes)
    return REGISTERED_MODEL_META if path == META_FILE and small else None


def across_servers(path: str, left: ModelCopy, right: ModelCopy) -> str | None:
    """Explain also the rewrites of a migration: the origin that `MLmodel` records, compared as parsed YAML."""
    if path != MLMODEL:
        return within_one_registry(path, left, right)
    contents = [copy.reading.mlmodel for copy in (left, right) if copy.reading is not None]
    if len(contents) != 2 or contents[0] is None or contents[1] is None:
        return None
    try:
        one, two = (typed_value(parse_mlmodel(content).without_provenance()) for content in contents if content)
    except (InvalidMLmodel, RecursionError):
        return None
    return MLMODEL_PROVENANCE if one == two else None


def typed_value(value: object) -> object:
    """Return a structure that is equal only for equal values of equal types: to Python itself, 1 == True == 1.0."""
    if isinstance(value, dict):
        pairs = [(type(key).__name__, repr(key), typed_value(inner)) for key, inner in value.items()]
        return ("dict", sorted(pairs, key=lambda pair: pair[:2]))
    if isinstance(value, list | tuple):
        return (type(value).__name__, [typed_value(inner) for inner in value])
    return (type(value).__name__, repr(value))


ComparedBy = Literal["bytes", "digests"]


class Kind(StrEnum):
    ONLY_LEFT = "only_left"
    ONLY_RIGHT = "only_right"
    CONTENT = "content"
    TYPE = "type"  # a regular file on one side, something else on the other


@dataclass(frozen=True, slots=True)
class Difference:
    path: str
    kind: Kind
    sizes: tuple[int | None, int | None]  # bytes: left, right
    digests: tuple[str | None, str | None]
    expected_by: str | None = None  # the named rule that explains it


@dataclass(frozen=True, slots=True)
class Comparison:
    differences: tuple[Difference, ...]  # sorted by path
    compared_by: ComparedBy
    compared_count: int  # files that were on both sides and read on both
    linked_count: int = (
        0  # files of the left copy that are files of the right one under other names (hard links or a mount)
    )
    not_compared: tuple[str, ...] = ()  # sorted paths that one of the two sides could not be asked about

    @property
    def unexpected(self) -> tuple[Difference, ...]:
        return tuple(difference for difference in self.differences if difference.expected_by is None)


def compare(left: ModelCopy, right: ModelCopy, explain: Explain, *, by: ComparedBy) -> Comparison:
    """Compare every path of either side: whether it is present, its type and its content.

    A file that could not be read on one side is no difference: it is a problem of that copy, which keeps the verdict
    from passing.

    Args:
        left, right: copies that were read (`reading` is not None).
        explain: names the rule that expects a difference, or returns None.
        by: how the contents were compared while they were read, for the report.
    """
    if left.reading is None or right.reading is None:
        raise ValueError("compare() needs copies that were read")
    one, two = _Side(left), _Side(right)
    paths = sorted(one.paths | two.paths)
    read_on_both = one.digests.keys() & two.digests.keys()
    not_compared = tuple(
        path for path in paths if path not in read_on_both and (one.is_unknown(path) or two.is_unknown(path))
    )
    unknown = frozenset(not_compared)
    found = [
        difference for path in paths if path not in unknown and (difference := _difference(path, one, two)) is not None
    ]
    explained = tuple(replace(found_one, expected_by=explain(found_one.path, left, right)) for found_one in found)
    both = [path for path in one.digests if path in two.digests]
    local = left.identity.is_directory and right.identity.is_directory
    return Comparison(
        differences=explained,
        compared_by=by,
        compared_count=len(both),
        # In one directory every file is linked to itself, which the equal identity says already.
        linked_count=_linked_count(one, two) if local and left.identity != right.identity else 0,
        not_compared=not_compared,
    )


def _linked_count(one: "_Side", two: "_Side") -> int:
    inodes = {inode(file) for file in two.files.values() if file.change_token}
    return sum(1 for file in one.files.values() if file.change_token and inode(file) in inodes)


class _Side:
    def __init__(self, copy: ModelCopy) -> None:
        reading: Reading | None = copy.reading
        self.files: dict[str, ListedFile] = {file.path: file for file in copy.listing.files}
        self.digests = {entry.path: entry for entry in (reading.entries if reading else ())}
        self.other = set(copy.listing.unsafe)
        # Only a file system knows empty directories; a bucket or a proxy may drop them.
        local = copy.identity.is_directory
        self.directories = {path + "/" for path in copy.listing.empty_directories} if local else set()
        self.local = local
        self._listing, self._is_proxy = copy.listing, copy.identity.kind == PROXY
        self.paths = set(self.files) | self.other | self.directories

    def is_unknown(self, path: str) -> bool:
        """Say whether this side cannot tell if it has the file: it could not look, or its proxy hides such names."""
        path = path.rstrip("/")
        hidden = self._is_proxy and path not in self.files and cannot_carry(path) is not None
        return hidden or self._listing.is_unknown(path)

    def size(self, path: str) -> int | None:
        if path in self.digests:
            return self.digests[path].size
        return self.files[path].size if path in self.files else None

    def digest(self, path: str) -> str | None:
        return self.digests[path].digest if path in self.digests else None

    def kind(self, path: str) -> str | None:
        if path in self.files:
            return "file"
        return "other" if path in self.other else ("directory" if path in self.directories else None)


def _difference(path: str, left: _Side, right: _Side) -> Difference | None:
    kinds = left.kind(path), right.kind(path)
    sizes, digests = (left.size(path), right.size(path)), (left.digest(path), right.digest(path))
    if kinds == ("file", "file"):
        if sizes[0] is not None and sizes[1] is not None and sizes[0] != sizes[1]:
            return Difference(path, Kind.CONTENT, sizes, digests)
        if digests[0] is None or digests[1] is None or digests[0] == digests[1]:
            return None
        return Difference(path, Kind.CONTENT, sizes, digests)
    if kinds[0] == kinds[1]:
        return None
    if "directory" in kinds and not (left.local and right.local):
        return None
    if kinds[1] is None:
        return Difference(path, Kind.ONLY_LEFT, sizes, digests)
    if kinds[0] is None:
        return Difference(path, Kind.ONLY_RIGHT, sizes, digests)
    return Difference(path, Kind.TYPE, sizes, digests)


# The canonical check of two copies on local disk: byte for byte, whatever their digests say.


def confirm_bytes(left: ModelCopy, right: ModelCopy, *, pulse: Pulse) -> ModelCopy:
    """Return the left copy, with a problem for each file whose digests agree but whose bytes on disk differ.

    The copies were read one after the other. This is `filecmp.cmp(shallow=False)` for each pair of files, in chunks
    that are large enough and can be stopped in between.
    """
    if left.reading is None or right.reading is None or left.directory is None or right.directory is None:
        raise ValueError("confirm_bytes() needs copies that were read and lie on local disk")
    others = {entry.path: entry.digest for entry in right.reading.entries}
    problems = []
    for entry in left.reading.entries:
        if others.get(entry.path) != entry.digest:
            continue
        try:
            same = _same(Path(left.directory, entry.path), Path(right.directory, entry.path), pulse)
        except OSError:
            same = False
        if not same:
            message = f"'{printable(entry.path)}' changed on disk between reading and comparing"
            problems.append(Problem("RA008", message, entry.path))
    return replace(left, reading=replace(left.reading, problems=left.reading.problems + tuple(problems)))


def _same(one: Path, two: Path, pulse: Pulse) -> bool:
    with one.open("rb") as left, two.open("rb") as right:
        while True:
            a, b = left.read(CHUNK_BYTES), right.read(CHUNK_BYTES)
            if a != b:
                return False
            if not a:
                return True
            pulse(0)
