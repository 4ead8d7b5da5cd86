"""Defines the measured registries: a few shapes, whose sizes options can change."""

from dataclasses import dataclass, replace
from typing import Literal

# separate: two physical copies of every model. shared: `source` and the registry's location are one directory, as in
# open-source MLflow.
Storage = Literal["separate", "shared"]

OWN_FILES = 5  # MLmodel, conda.yaml, python_env.yaml, requirements.txt and model.pkl
EXTRA_FILE_BYTES = 2_048


@dataclass(frozen=True, slots=True)
class Shape:
    name: str  # also the name of its bucket
    versions: int
    model_bytes: int  # size of model.pkl, the only file that may be large
    versions_per_model: int = 10
    files: int = OWN_FILES  # files in one copy
    storage: Storage = "separate"
    versions_per_directory: int = 1

    @property
    def words(self) -> str:
        storage = "two copies each"
        if self.storage == "shared":
            each = self.versions_per_directory
            storage = "one storage each" if each == 1 else f"one directory for each {min(each, self.versions):,}"
        plural = "" if self.versions == 1 else "s"
        return (
            f"{self.versions:,} version{plural}, {storage}, {self.files:,} files a copy, "
            f"model.pkl of {size_words(self.model_bytes)}"
        )

    @property
    def directories(self) -> int:
        """Return the number of models in one tree, each counted once."""
        return -(-self.versions // self.versions_per_directory)

    @property
    def stored_files(self) -> int:
        """Return the number of files in all trees together."""
        return self.directories * self.files * (2 if self.storage == "separate" else 1)

    def scaled(self, scale: float) -> "Shape":
        """Scale the number of versions, or the number of files if there is only one version."""
        if self.versions == 1:
            return replace(self, files=max(OWN_FILES, round(self.files * scale)))
        return replace(self, versions=max(2, round(self.versions * scale)))


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("small", versions=1_000, model_bytes=2_048),
        Shape("small-10000", versions=10_000, model_bytes=2_048),
        Shape("large", versions=20, model_bytes=64 * 2**20, versions_per_model=5),
        # Local files are read so fast that with 20 versions the variation of start-up times would hide the result.
        Shape("larger", versions=60, model_bytes=64 * 2**20, versions_per_model=5),
        Shape("files", versions=1, model_bytes=2_048, files=20_000),
        Shape("shared", versions=1_000, model_bytes=2_048, storage="shared"),
        Shape("one-directory", 100, 64 * 2**20, storage="shared", versions_per_directory=100),
        Shape("memory", 100_000, 2_048, storage="shared", versions_per_directory=10),
    )
}

# The same commands on this shape measure a program's start-up: importing, connecting, listing, writing reports.
ONE_VERSION = Shape("one", versions=1, model_bytes=2_048)


def size_words(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size and count % size == 0:
            return f"{count // size} {unit}"
    return f"{count} bytes"
