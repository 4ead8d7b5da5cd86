"""Bounds against a hostile or runaway listing. Generous: no model known comes near."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Per model: included upper bounds."""

    max_files: int = 200_000
    max_directories: int = 100_000  # as listed: a symlink to a directory lists all of that directory once more
    max_depth: int = 64  # directories between the root and a file
    max_bytes: int = 16 * 2**40
