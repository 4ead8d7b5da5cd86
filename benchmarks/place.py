"""Describes where a registry is for the measured programs: relative to the working directory, or by URL."""

from dataclasses import dataclass

from benchmarks.generate import Store, database_name, trees
from benchmarks.shapes import Shape


@dataclass(frozen=True, slots=True)
class Place:
    shape: Shape
    store: Store
    tracking_uri: str
    list_file: str = ""  # lists every stored file, for a bare client
    artifacts_url: str = ""  # URL of the server that serves them
    stored_bytes: int = 0  # bytes in all trees together
    mlmodel_bytes: int = 0  # bytes of these in the root MLmodel files

    @property
    def trees(self) -> tuple[str, ...]:
        return tuple(f"{self.shape.name}/{tree}" for tree in trees(self.shape))

    @property
    def verdict(self) -> str:
        return "match" if self.shape.storage == "separate" else "same_storage"


def database_uri(shape: Shape, store: Store) -> str:
    return f"sqlite:///{shape.name}/{database_name(store)}"
