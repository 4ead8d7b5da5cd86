"""The canonical check on two copies that lie on local disk: byte for byte, whatever their digests say."""

from dataclasses import replace
from pathlib import Path

from registry_audit.audit.collected import Pulse
from registry_audit.audit.copies import ModelCopy
from registry_audit.model.listing import Problem
from registry_audit.printable import printable
from registry_audit.stores.base import CHUNK_BYTES


def confirm_bytes(left: ModelCopy, right: ModelCopy, *, pulse: Pulse) -> ModelCopy:
    """The left copy, with a problem for each file whose digests agree and whose bytes on disk do not.

    The files were read one copy after the other; this is `filecmp.cmp(shallow=False)` on every such pair, in
    chunks large enough to be stopped between.
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
