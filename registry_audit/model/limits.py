"""Bounds against what has no end. Generous: no model and no registry known comes near. See docs/limits.md."""

from dataclasses import dataclass

# What may be asked for at the most. Anything above means a typing error, and further up sums of times overflow.
MOST = 10**15
MOST_SECONDS = 10**9
MOST_DAYS = 36_500


@dataclass(frozen=True, slots=True)
class Limits:
    """Included upper bounds: the first four of a model, then of a version and of the registry."""

    max_files: int = 200_000
    max_directories: int = 100_000  # as listed: a symlink to a directory lists all of that directory once more
    max_depth: int = 64  # directories between the root and a file
    max_bytes: int = 16 * 2**40
    max_version_seconds: int = 6 * 3600  # for all that a version is asked and read
    max_listing_seconds: int = 6 * 3600  # for the listing of the registry
    max_versions: int = 2_000_000  # that the registry lists
