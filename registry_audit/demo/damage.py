"""Damages registered models, with one function for each kind of damage.

Each function does to real files or to MLflow's SQLite database what a person, a script or a failing disk would do. It
raises `DamageFailed` if nothing changed, because an audit that finds nothing would then prove nothing.
"""

import os
import re
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

MLMODEL = "MLmodel"


class DamageFailed(RuntimeError):
    """The damage changed nothing, so an audit could find nothing."""


# Bytes


def overwrite(file: Path, content: bytes) -> None:
    """Overwrite a file, as if somebody had saved another model over it."""
    before = file.read_bytes()
    file.write_bytes(content)
    _check(file.read_bytes() != before, f"{file} has the same content as before")


def overwrite_unnoticed(file: Path, old: bytes, new: bytes) -> None:
    """Change content but not size and modification time, so that a shallow comparison calls the copies equal."""
    before, content = file.stat(), file.read_bytes()
    file.write_bytes(content.replace(old, new))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    _check(file.read_bytes() != content, f"{file} has the same content as before")
    _check(after.st_size == before.st_size, f"{file} has another size than before")
    _check(after.st_mtime_ns == before.st_mtime_ns, f"{file} has another modification time than before")


def truncate(file: Path, *, to_bytes: int) -> None:
    """Truncate a file, as a full disk or an aborted upload does."""
    _check(0 <= to_bytes < file.stat().st_size, f"{file} is no longer than {to_bytes} bytes")
    os.truncate(file, to_bytes)
    _check(file.stat().st_size == to_bytes, f"{file} was not truncated")


# Files


def delete_file(file: Path) -> None:
    file.unlink()
    _check(not file.exists(), f"{file} is still there")


def add_file(file: Path, content: str) -> None:
    """Add a file that was never logged. An existing file is refused."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("x", encoding="utf-8") as stream:
        stream.write(content)


def add_registered_model_meta(model: Path, name: str, version: str) -> None:
    """Add the file that MLflow itself writes when a model is loaded by its `models:/` URI. This is no damage."""
    add_file(model / "registered_model_meta", f"model_name: {name}\nmodel_version: '{version}'\n")


def add_symlink_out_of(model: Path, target: Path, link: str) -> None:
    """Add a symlink that leads out of the model: its target can be replaced without touching the model."""
    _check(target.is_file() and not target.resolve().is_relative_to(model.resolve()), f"{target} is in the model")
    (model / link).symlink_to(target)
    _check((model / link).resolve() == target.resolve(), f"{link} does not lead out of {model}")


def add_fifo(fifo: Path) -> None:
    """Add a named pipe, on which a reader waits forever."""
    os.mkfifo(fifo)
    _check(fifo.is_fifo(), f"{fifo} is not a named pipe")


def add_names_that_differ_by_case(directory: Path, first: str, second: str) -> None:
    """Add two files that are one file on a case-insensitive file system, where one of them hides the other."""
    _check(first != second and first.casefold() == second.casefold(), f"{first} and {second} differ by more than case")
    add_file(directory / first, "first\n")
    add_file(directory / second, "second\n")
    _check({first, second} <= {entry.name for entry in directory.iterdir()}, f"{directory} does not keep both names")


def tells_case_apart(directory: Path) -> bool:
    """Say whether the file system can hold two names that differ only by case."""
    probe = directory / "Case-Probe"
    probe.touch()
    try:
        return not (directory / "case-probe").exists()
    finally:
        probe.unlink()


# Directories


def delete_storage(model: Path) -> None:
    """Delete a model, as a bucket clean-up or an expired lifecycle rule does. The registry still says READY."""
    shutil.rmtree(model)
    _check(not model.exists(), f"{model} is still there")


def empty_directory(model: Path) -> None:
    """Empty a model's directory but keep it, which many downloads report as success."""
    entries = list(model.iterdir())
    _check(bool(entries), f"{model} was empty already")
    for entry in entries:
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    _check(not any(model.iterdir()), f"{model} is not empty")


# MLmodel


def break_mlmodel(model: Path) -> None:
    """Leave a bracket open in MLmodel, as a manual edit may."""
    file = model / MLMODEL
    overwrite(file, file.read_bytes().replace(b"flavors:", b"flavors: [", 1))


def replace_run_id(model: Path, run_id: str) -> None:
    """Change only `run_id` in MLmodel, as if the model of another run had been copied over this one."""
    file = model / MLMODEL
    text = file.read_text(encoding="utf-8")
    overwrite(file, re.sub(r"(?m)^run_id: .*$", f"run_id: {run_id}", text).encode())


# The registry's database


def forget_run(database: Path, run_id: str) -> None:
    """Delete a run permanently, but keep its bytes.

    `mlflow gc` deletes rows and bytes. Bytes survive it if the artifact store refuses the deletion, or if the database
    is restored from a backup older than the run. The rows are deleted here as such an accident leaves them.
    """
    with closing(sqlite3.connect(database)) as connection, connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for _, _, other, column, *_ in connection.execute(f'PRAGMA foreign_key_list("{table}")').fetchall():
                if other == "runs":
                    connection.execute(f'DELETE FROM "{table}" WHERE "{column}" = ?', (run_id,))  # noqa: S608
        deleted = connection.execute("DELETE FROM runs WHERE run_uuid = ?", (run_id,)).rowcount
    _check(deleted == 1, f"there was no run {run_id}")


def leave_registration_pending(database: Path, name: str, version: str) -> None:
    """Set a version to pending, as if the client that registered it had died before it finished the upload."""
    with closing(sqlite3.connect(database)) as connection, connection:
        changed = connection.execute(
            "UPDATE model_versions SET status = 'PENDING_REGISTRATION'"
            " WHERE name = ? AND version = ? AND status = 'READY'",
            (name, int(version)),
        ).rowcount
    _check(changed == 1, f"{name}/{version} was not READY")


def _check(changed: bool, otherwise: str) -> None:
    if not changed:
        raise DamageFailed(otherwise)


# The demo's overwrite: MLflow lets anyone do this to a registered model, and no timestamp shows it.

OVERWRITTEN = ("Churn", "1")  # name and version; it is healthy and accepted in the first part of the demo


def overwrite_accepted_model(tracking_uri: str) -> None:
    """Log another `model.pkl` over the registered one, as any run's author can."""
    from mlflow import MlflowClient

    from registry_audit.registry.connection import calm_mlflow

    calm_mlflow()
    client = MlflowClient(tracking_uri, tracking_uri)
    version = client.get_model_version(*OVERWRITTEN)
    before = version.last_updated_timestamp
    with tempfile.TemporaryDirectory() as scratch:
        other = Path(scratch) / "model.pkl"
        other.write_bytes(b"not the model that was reviewed" * 40)
        client.log_artifact(version.run_id, str(other), "model")
    if client.get_model_version(*OVERWRITTEN).last_updated_timestamp != before:
        raise AssertionError("MLflow noticed the overwrite: the demo no longer shows what it says")
