"""What is measured: registries of a few shapes, each with sizes that the options can change."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    name: str
    versions: int
    model_bytes: int  # of model.pkl, the one file that is not a few lines of text
    versions_per_model: int = 10

    @property
    def words(self) -> str:
        return f"{self.versions:,} versions, two copies each, five files a copy, model.pkl of {_size(self.model_bytes)}"


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("small", versions=1_000, model_bytes=2_048),
        Shape("large", versions=20, model_bytes=64 * 2**20, versions_per_model=5),
    )
}

# The same commands on this one give a program's start-up: importing, connecting, listing, writing its reports.
ONE_VERSION = Shape("one", versions=1, model_bytes=2_048)


def _size(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size and count % size == 0:
            return f"{count // size} {unit}"
    return f"{count} bytes"
