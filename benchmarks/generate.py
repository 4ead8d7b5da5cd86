"""Makes a registry of a given shape, in seconds and without training anything.

    python -m benchmarks.generate DIRECTORY --versions 1000 --model-bytes 2048

MLflow itself creates the database, the registered models, the first run and the first version, so schema and rows are
real. The other runs and versions are copies of those rows with changed names, numbers and paths: through the client
each would take some 20 ms, and the measured programs only read them.

With separate storage, every version has two physical copies of its model: `source` is the run's artifact directory, and
`storage_location` is a directory of the registry. Both trees have the same layout (RUN_ID/artifacts/model/...), because
tools that compare trees need that; in a real registry somebody would first have to line the copies up. With shared
storage, which is what open-source MLflow registers, both are the same directory.

The trees are on disk once. `local.db` refers to them directly; `proxy.db` is the same registry for an `mlflow server`
whose `--artifacts-destination` is the directory, and `s3.db` for an endpoint that serves it as a bucket with the
shape's name.
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.shapes import EXTRA_FILE_BYTES, OWN_FILES, Shape

if TYPE_CHECKING:
    from mlflow import MlflowClient

Store = Literal["local", "proxy", "s3"]
STORES: tuple[Store, ...] = ("local", "proxy", "s3")
RUN_MODELS = "run_models"
REG_MODELS = "reg_models"
_DONE = "generated.json"
_INSIDE_RUN = "artifacts/model"
_FIRST_MODEL = "model-000000"
# The columns that contain locations of artifacts.
_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
# Long past, so that fingerprints are trusted at once, and different for each copy: see README.md.
_FIRST_MODIFIED_AT = 1_767_225_600.0

_MLMODEL = """\
artifact_path: model
flavors:
  python_function:
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.sklearn
    model_path: model.pkl
    predict_fn: predict
    python_version: 3.11.9
  sklearn:
    code: null
    pickled_model: model.pkl
    serialization_format: pickle
    sklearn_version: 1.7.2
mlflow_version: 3.17.2
model_size_bytes: {model_bytes}
model_uuid: {model_uuid}
run_id: {run_id}
signature:
  inputs: '[{{"type": "tensor", "tensor-spec": {{"dtype": "float64", "shape": [-1, 4]}}}}]'
  outputs: '[{{"type": "tensor", "tensor-spec": {{"dtype": "float64", "shape": [-1]}}}}]'
utc_time_created: '2026-01-01 00:00:00.000000'
"""
_TEXTS = {
    "conda.yaml": "channels:\n- conda-forge\ndependencies:\n- python=3.11.9\n- pip<=24.0\n- pip:\n  - mlflow==3.17.2\n"
    "  - scikit-learn==1.7.2\nname: mlflow-env\n",
    "python_env.yaml": "python: 3.11.9\nbuild_dependencies:\n- pip==24.0\n- setuptools\n- wheel\n"
    "dependencies:\n- -r requirements.txt\n",
    "requirements.txt": "mlflow==3.17.2\nscikit-learn==1.7.2\n",
}


def generate(directory: Path, shape: Shape) -> None:
    """Make the registry, unless the directory already holds one of exactly this shape."""
    done = directory / _DONE
    if done.is_file() and json.loads(done.read_text()) == asdict(shape):
        return
    if directory.exists() and any(directory.iterdir()):
        raise SystemExit(f"{directory} is not empty and holds no registry of {shape.words}: remove it, or name another")
    directory.mkdir(parents=True, exist_ok=True)
    generator = random.Random(shape.name)  # the same bytes every time, but incompressible
    local = directory / database_name("local")
    first_run = _create_registry(local, str(directory.resolve()))
    runs = [first_run, *(f"{generator.getrandbits(128):032x}" for _ in range(shape.directories - 1))]
    _fill_database(local, str(directory.resolve()), shape, runs)
    for run_id in runs:
        files = _model(run_id, shape, generator)
        for number, copies in enumerate(trees(shape)):
            _write(directory / copies / run_id / _INSIDE_RUN, files, _FIRST_MODIFIED_AT + number * 60)
    for store in STORES[1:]:
        _move(local, directory / database_name(store), str(directory.resolve()), artifact_root(store, shape))
    done.write_text(json.dumps(asdict(shape)))


def database_name(store: Store) -> str:
    return f"{store}.db"


def artifact_root(store: Store, shape: Shape) -> str:
    """Return the address of the trees for clients that do not see their directory."""
    return "mlflow-artifacts:" if store == "proxy" else f"s3://{shape.name}"


def trees(shape: Shape) -> tuple[str, ...]:
    return (RUN_MODELS, REG_MODELS) if shape.storage == "separate" else (RUN_MODELS,)


def stored_paths(directory: Path, shape: Shape) -> list[str]:
    """List every file of every tree, as POSIX paths relative to the directory."""
    return sorted(
        path.relative_to(directory).as_posix()
        for tree in trees(shape)
        for path in (directory / tree).rglob("*")
        if path.is_file()
    )


def model_names(shape: Shape) -> list[str]:
    return [f"model-{number:06}" for number in range(-(-shape.versions // shape.versions_per_model))]


def _create_registry(database: Path, root: str) -> str:
    """Let MLflow create the schema, one registered model, one run and its version; return the run's id."""
    import mlflow

    uri = f"sqlite:///{database}"
    client: MlflowClient = mlflow.MlflowClient(uri, uri)
    experiment_id = client.create_experiment("benchmark", artifact_location=f"{root}/{RUN_MODELS}")
    run = client.create_run(experiment_id)
    client.set_terminated(run.info.run_id)
    client.create_registered_model(_FIRST_MODEL)
    client.create_model_version(
        _FIRST_MODEL, f"{run.info.artifact_uri}/model", run_id=run.info.run_id, await_creation_for=0
    )
    return str(run.info.run_id)


def _fill_database(database: Path, root: str, shape: Shape, runs: list[str]) -> None:
    labels = itertools.islice(
        ((name, number + 1) for name in model_names(shape) for number in range(shape.versions_per_model)),
        shape.versions,
    )
    registered = trees(shape)[-1]
    versions = [
        {
            "name": name,
            "version": number,
            "run_id": run_id,
            "source": f"{root}/{RUN_MODELS}/{run_id}/{_INSIDE_RUN}",
            "storage_location": f"{root}/{registered}/{run_id}/{_INSIDE_RUN}",
        }
        for index, (name, number) in enumerate(labels)
        for run_id in (runs[index // shape.versions_per_directory],)
    ]
    new_runs = [{"run_uuid": run_id, "artifact_uri": f"{root}/{RUN_MODELS}/{run_id}/artifacts"} for run_id in runs[1:]]
    new_models = [{"name": name} for name in model_names(shape)[1:]]
    with contextlib.closing(sqlite3.connect(database)) as rows, rows:
        _insert_like(rows, "runs", "run_uuid", runs[0], new_runs)
        _insert_like(rows, "tags", "run_uuid", runs[0], [{"run_uuid": run_id} for run_id in runs[1:]])
        _insert_like(rows, "registered_models", "name", _FIRST_MODEL, new_models)
        _insert_like(rows, "model_versions", "run_id", runs[0], versions[1:])
        rows.execute(
            "UPDATE model_versions SET storage_location = ? WHERE name = ? AND version = 1",
            (versions[0]["storage_location"], _FIRST_MODEL),
        )


def _move(database: Path, copy: Path, root: str, new_root: str) -> None:
    """Copy the registry for clients that reach the same trees under another address."""
    with contextlib.closing(sqlite3.connect(database)) as original, contextlib.closing(sqlite3.connect(copy)) as rows:
        original.backup(rows)
        for table, column in _LOCATIONS:
            rows.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                (new_root, len(root) + 1, len(root), root),
            )
        rows.commit()


def _insert_like(
    database: sqlite3.Connection, table: str, column: str, value: str, changes: Iterable[dict[str, Any]]
) -> None:
    """Insert copies of the table's rows that have this value, once for each set of changes."""
    cursor = database.execute(f"SELECT * FROM {table} WHERE {column} = ?", (value,))
    columns = [description[0] for description in cursor.description]
    rows = [dict(zip(columns, row, strict=True)) for row in cursor]
    database.executemany(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
        [tuple((row | change).values()) for change in changes for row in rows],
    )


def _model(run_id: str, shape: Shape, generator: random.Random) -> dict[str, bytes]:
    mlmodel = _MLMODEL.format(
        model_bytes=shape.model_bytes, model_uuid=f"{generator.getrandbits(128):032x}", run_id=run_id
    )
    texts = {name: text.encode() for name, text in (_TEXTS | {"MLmodel": mlmodel}).items()}
    extra = {
        f"data/{number // 100:04}/part-{number:06}.bin": generator.randbytes(EXTRA_FILE_BYTES)
        for number in range(shape.files - OWN_FILES)
    }
    return texts | {"model.pkl": generator.randbytes(shape.model_bytes)} | extra


def _write(directory: Path, files: Mapping[str, bytes], modified_at: float) -> None:
    """Write the files one by one: a copy made by the file system could share blocks between both copies."""
    directory.mkdir(parents=True)
    for name, content in files.items():
        path = directory / name
        if "/" in name:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (modified_at, modified_at))


def main() -> None:
    own = Shape("custom", versions=100, model_bytes=2_048)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generate", description="Make a registry to measure on.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--name", default=own.name, help="seeds the random bytes; in S3 the name of the bucket")
    parser.add_argument("--versions", type=int, default=own.versions)
    parser.add_argument("--model-bytes", type=int, default=own.model_bytes)
    parser.add_argument("--versions-per-model", type=int, default=own.versions_per_model)
    parser.add_argument("--files", type=int, default=own.files, help=f"of one copy, {OWN_FILES} and more")
    parser.add_argument("--storage", choices=["separate", "shared"], default=own.storage)
    parser.add_argument("--versions-per-directory", type=int, default=own.versions_per_directory)
    chosen = vars(parser.parse_args())
    generate(chosen.pop("directory"), Shape(**chosen))


if __name__ == "__main__":
    main()
