"""A registry of thousands of versions, and what a migration made of it: shuffled, renumbered, in runs of its own.

The registry is the one that the benchmarks measure on, and the migration does to its rows and files what the tools of
the export-import family do through the client, some hundred times as fast.
"""

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.generate import generate
from benchmarks.shapes import Shape

VERSIONS_PER_MODEL = 12  # more than nine: they arrive in the order of their numbers read as text


@dataclass(frozen=True, slots=True)
class Arrived:
    """One version of the target."""

    name: str
    source_version: int
    version: int
    model: Path
    source_model: Path

    @property
    def label(self) -> str:
        """What the source calls it."""
        return f"{self.name}/{self.source_version}"


@dataclass(frozen=True, slots=True)
class LargeMigration:
    directory: Path

    @property
    def source(self) -> str:
        return f"sqlite:///{self.directory / 'source' / 'local.db'}"

    @property
    def target(self) -> str:
        return f"sqlite:///{self._target}"

    @property
    def _target(self) -> Path:
        return self.directory / "target" / "target.db"

    def make(self, versions: int) -> list[Arrived]:
        """Both registries, by model and number of the source; each version has a tag, and every tenth an alias."""
        shape = Shape("migrated", versions, model_bytes=1_024, versions_per_model=VERSIONS_PER_MODEL, storage="shared")
        generate(self.directory / "source", shape)
        self._target.parent.mkdir()
        with _rows(self.directory / "source" / "local.db") as rows:
            rows.execute("UPDATE model_versions SET creation_time = creation_time + 1000 * version")
            rows.execute(
                "INSERT INTO model_version_tags (key, value, name, version, workspace) "
                "SELECT 'trained', name || ' ' || version, name, version, workspace FROM model_versions"
            )
            rows.execute(
                "INSERT INTO registered_model_aliases (alias, version, name, workspace) "
                "SELECT 'champion', version, name, workspace FROM model_versions WHERE version = 10"
            )
        shutil.copy(self.directory / "source" / "local.db", self._target)
        with _rows(self._target) as rows:
            return list(self._migrated(rows))

    def _migrated(self, rows: sqlite3.Connection) -> Iterator[Arrived]:
        found = rows.execute(
            "SELECT name, version, run_id, source FROM model_versions ORDER BY name, version"
        ).fetchall()
        by_model: dict[str, list[int]] = {}
        for name, version, _, _ in found:
            by_model.setdefault(name, []).append(version)
        numbers = {
            (name, version): number
            for name, versions in by_model.items()
            for number, version in enumerate(sorted(versions, key=str), 1)
        }
        for name, version, run_id, source in found:
            new_run = f"{int(run_id, 16) ^ (1 << 127):032x}"
            model = self._target.parent / "runs" / new_run / "artifacts" / "model"
            shutil.copytree(source, model)
            text = (model / "MLmodel").read_text(encoding="utf-8")
            (model / "MLmodel").write_text(text.replace(f"run_id: {run_id}", f"run_id: {new_run}"), encoding="utf-8")
            number = numbers[name, version]
            rows.execute(
                "UPDATE runs SET run_uuid = ?, artifact_uri = ? WHERE run_uuid = ?",
                (new_run, str(model.parent), run_id),
            )
            rows.execute("UPDATE tags SET run_uuid = ? WHERE run_uuid = ?", (new_run, run_id))
            # Negative first: two versions never have one number, not even for a moment.
            rows.execute(
                "UPDATE model_versions SET version = ?, run_id = ?, source = ?, storage_location = ?, "
                "creation_time = creation_time + 1000 * (? - version) WHERE name = ? AND version = ?",
                (-number, new_run, str(model), str(model), number, name, version),
            )
            for table in ("model_version_tags", "registered_model_aliases"):
                rows.execute(
                    f"UPDATE {table} SET version = ? WHERE name = ? AND version = ?",
                    (-number, name, version),
                )
            yield Arrived(name, version, number, model, Path(source))
        for table in ("model_versions", "model_version_tags", "registered_model_aliases"):
            rows.execute(f"UPDATE {table} SET version = -version")

    def damage(self, arrived: Arrived, kind: str) -> None:
        with _rows(self._target) as rows:
            DAMAGE[kind][0](rows, arrived)


@contextlib.contextmanager
def _rows(database: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        yield connection


def _change(rows: sqlite3.Connection, one: Arrived, **columns: str) -> None:
    settings = ", ".join(f"{column} = ?" for column in columns)
    done = rows.execute(
        f"UPDATE model_versions SET {settings} WHERE name = ? AND version = ?",
        (*columns.values(), one.name, one.version),
    )
    assert done.rowcount == 1


def _dropped(rows: sqlite3.Connection, one: Arrived) -> None:
    for table in ("model_version_tags", "registered_model_aliases", "model_versions"):
        rows.execute(f"DELETE FROM {table} WHERE name = ? AND version = ?", (one.name, one.version))


def _emptied(rows: sqlite3.Connection, one: Arrived) -> None:
    shutil.rmtree(one.model)
    one.model.mkdir()


def _byte(rows: sqlite3.Connection, one: Arrived) -> None:
    content = bytearray((one.model / "model.pkl").read_bytes())
    content[7] ^= 1
    (one.model / "model.pkl").write_bytes(content)


def _of_another(rows: sqlite3.Connection, one: Arrived) -> None:
    """The bytes of another version of its model, as a tool leaves them that reads one directory twice."""
    other = rows.execute(
        "SELECT source FROM model_versions WHERE name = ? AND version <> ? ORDER BY version", (one.name, one.version)
    ).fetchone()
    shutil.copy(Path(other[0]) / "model.pkl", one.model / "model.pkl")


def _one_directory_down(rows: sqlite3.Connection, one: Arrived) -> None:
    _change(rows, one, source=str(one.model.parent), storage_location=str(one.model.parent))


def _not_moved(rows: sqlite3.Connection, one: Arrived) -> None:
    _change(rows, one, source=str(one.source_model), storage_location=str(one.source_model))


def _not_finished(rows: sqlite3.Connection, one: Arrived) -> None:
    _change(rows, one, status="FAILED_REGISTRATION")


def _tag_lost(rows: sqlite3.Connection, one: Arrived) -> None:
    rows.execute("DELETE FROM model_version_tags WHERE name = ? AND version = ?", (one.name, one.version))


def _file_lost(rows: sqlite3.Connection, one: Arrived) -> None:
    (one.model / "conda.yaml").unlink()


def _file_added(rows: sqlite3.Connection, one: Arrived) -> None:
    (one.model / "code.py").write_text("print()")


def _mlmodel(rows: sqlite3.Connection, one: Arrived) -> None:
    text = (one.model / "MLmodel").read_text(encoding="utf-8")
    changed = text.replace("predict_fn: predict\n", "predict_fn: predict_proba\n")
    assert changed != text
    (one.model / "MLmodel").write_text(changed, encoding="utf-8")


def _requirements(rows: sqlite3.Connection, one: Arrived) -> None:
    (one.model / "requirements.txt").write_text("mlflow==0.1\n")


Damage = Callable[[sqlite3.Connection, Arrived], None]
# A version of which nothing is left to recognise it by is missing, and what it became is only in the target: where
# numbers changed, the same number is no reason to think that they are one.
LOST = frozenset({("missing", "RA020"), ("mismatch", "RA021")})
CHANGED = frozenset({("mismatch", "RA021")})
# What was done, and what may be said of it.
DAMAGE: dict[str, tuple[Damage, frozenset[tuple[str, str | None]]]] = {
    "dropped": (_dropped, frozenset({("missing", "RA020")})),
    "emptied": (_emptied, LOST),
    "byte": (_byte, LOST),
    "of-another": (_of_another, LOST),
    "one-directory-down": (_one_directory_down, CHANGED),
    "not-moved": (_not_moved, frozenset({("same_storage", None)})),
    "status": (_not_finished, frozenset({("unverifiable", "RA009"), ("unverifiable", "RA022")})),
    "tag": (_tag_lost, frozenset({("equivalent", "RA022")})),
    "file-lost": (_file_lost, CHANGED),
    "file-added": (_file_added, CHANGED),
    "mlmodel": (_mlmodel, CHANGED),
    "requirements": (_requirements, CHANGED),
}
