"""What goes wrong with registered models, one function for each kind of damage.

Each does to real files or to MLflow's SQLite database what a person, a script or a failing disk would do, and
raises `DamageFailed` where nothing changed: an audit that finds nothing there would prove nothing.
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
    """The damage left everything as it was, so nothing could be found."""


# Bytes


def overwrite(file: Path, content: bytes) -> None:
    """Somebody saved another model over the file."""
    before = file.read_bytes()
    file.write_bytes(content)
    _check(file.read_bytes() != before, f"{file} has the same content as before")


def overwrite_unnoticed(file: Path, old: bytes, new: bytes) -> None:
    """The content changes; size and modification time do not, so a shallow comparison calls the copies equal."""
    before, content = file.stat(), file.read_bytes()
    file.write_bytes(content.replace(old, new))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    _check(file.read_bytes() != content, f"{file} has the same content as before")
    _check(after.st_size == before.st_size, f"{file} has another size than before")
    _check(after.st_mtime_ns == before.st_mtime_ns, f"{file} has another modification time than before")


def truncate(file: Path, *, to_bytes: int) -> None:
    """A full disk or an upload that broke off: the file is there, the rest of it is not."""
    _check(0 <= to_bytes < file.stat().st_size, f"{file} is no longer than {to_bytes} bytes")
    os.truncate(file, to_bytes)
    _check(file.stat().st_size == to_bytes, f"{file} was not truncated")


# Files


def delete_file(file: Path) -> None:
    file.unlink()
    _check(not file.exists(), f"{file} is still there")


def add_file(file: Path, content: str) -> None:
    """A file that was never logged; existing ones are refused."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("x", encoding="utf-8") as stream:
        stream.write(content)


def add_registered_model_meta(model: Path, name: str, version: str) -> None:
    """MLflow itself leaves this file in a local store when a model is loaded by its `models:/` URI: no damage."""
    add_file(model / "registered_model_meta", f"model_name: {name}\nmodel_version: '{version}'\n")


def add_symlink_out_of(model: Path, target: Path, link: str) -> None:
    """A link in place of a file: what it leads to can be exchanged without touching the model."""
    _check(target.is_file() and not target.resolve().is_relative_to(model.resolve()), f"{target} is in the model")
    (model / link).symlink_to(target)
    _check((model / link).resolve() == target.resolve(), f"{link} does not lead out of {model}")


def add_fifo(fifo: Path) -> None:
    """A named pipe: whoever opens it to read waits for ever."""
    os.mkfifo(fifo)
    _check(fifo.is_fifo(), f"{fifo} is not a named pipe")


def add_names_that_differ_by_case(directory: Path, first: str, second: str) -> None:
    """Two files here, one file on a machine whose file system folds case: one of them hides the other."""
    _check(first != second and first.casefold() == second.casefold(), f"{first} and {second} differ by more than case")
    add_file(directory / first, "first\n")
    add_file(directory / second, "second\n")
    _check({first, second} <= {entry.name for entry in directory.iterdir()}, f"{directory} does not keep both names")


def tells_case_apart(directory: Path) -> bool:
    """Whether the file system can hold two names that differ only by case."""
    probe = directory / "Case-Probe"
    probe.touch()
    try:
        return not (directory / "case-probe").exists()
    finally:
        probe.unlink()


# Directories


def delete_storage(model: Path) -> None:
    """A cleaned-up bucket or an expired lifecycle rule: the registry keeps saying READY."""
    shutil.rmtree(model)
    _check(not model.exists(), f"{model} is still there")


def empty_directory(model: Path) -> None:
    """The directory stays, which many a download reports as success."""
    entries = list(model.iterdir())
    _check(bool(entries), f"{model} was empty already")
    for entry in entries:
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    _check(not any(model.iterdir()), f"{model} is not empty")


# MLmodel


def break_mlmodel(model: Path) -> None:
    """An edit by hand that left a bracket open."""
    file = model / MLMODEL
    overwrite(file, file.read_bytes().replace(b"flavors:", b"flavors: [", 1))


def replace_run_id(model: Path, run_id: str) -> None:
    """Somebody copied the model of another run over this one; only `run_id` is changed, to show that it is read."""
    file = model / MLMODEL
    text = file.read_text(encoding="utf-8")
    overwrite(file, re.sub(r"(?m)^run_id: .*$", f"run_id: {run_id}", text).encode())


# The registry's database


def forget_run(database: Path, run_id: str) -> None:
    """Delete a run for good and leave its bytes.

    `mlflow gc` deletes rows and bytes. Bytes survive it when the artifact store refuses the deletion, or when the
    database was restored from a backup older than the run; the rows are deleted here as such an accident leaves them.
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
    """The client that registered the version died before it could say that the upload was complete."""
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


# The demo's overwrite: what MLflow lets anyone do to a registered model, and no timestamp shows.

OVERWRITTEN = ("Churn", "1")  # name and version; healthy and accepted in the first act


def overwrite_accepted_model(tracking_uri: str) -> None:
    """Log another `model.pkl` over the one that was registered, as any run's author can."""
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
