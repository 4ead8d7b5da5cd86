"""Makes a registry of a given shape, in seconds and without training anything.

    python -m benchmarks.generate DIRECTORY --versions 1000 --model-bytes 2048

MLflow itself creates the database, the registered models, the first run and the first version, so schema and rows are
real. The other runs and versions are copies of those rows with names, numbers and paths changed: through the client
each would take some 20 ms, and what is measured only reads them.

Every version has two physically separate copies of its model: `source` is the run's artifact directory,
`storage_location` a directory of the registry's own. Both trees have one layout (RUN_ID/artifacts/model/...), for
tools that compare trees need that; in a real registry they would first need somebody to line the copies up.
"""

import argparse
import contextlib
import itertools
import json
import random
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.shapes import Shape

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE = "mlflow.db"
RUN_MODELS = "run_models"
REG_MODELS = "reg_models"
_DONE = "generated.json"
_INSIDE_RUN = "artifacts/model"

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
    """Make the registry, unless the directory holds one of exactly this shape."""
    done = directory / _DONE
    if done.is_file() and json.loads(done.read_text()) == asdict(shape):
        return
    if directory.exists() and any(directory.iterdir()):
        raise SystemExit(f"{directory} is not empty and holds no registry of {shape.words}: remove it, or name another")
    directory.mkdir(parents=True, exist_ok=True)
    generator = random.Random(shape.name)  # the same bytes every time; incompressible all the same
    first_run = _create_registry(directory.resolve(), shape)
    runs = [first_run, *(f"{generator.getrandbits(128):032x}" for _ in range(shape.versions - 1))]
    _fill_database(directory.resolve(), shape, runs)
    for run_id in runs:
        files = _model(run_id, shape, generator)
        for copies in (RUN_MODELS, REG_MODELS):
            _write(directory / copies / run_id / _INSIDE_RUN, files)
    done.write_text(json.dumps(asdict(shape)))


def model_names(shape: Shape) -> list[str]:
    return [f"model-{number:04}" for number in range(-(-shape.versions // shape.versions_per_model))]


def _create_registry(directory: Path, shape: Shape) -> str:
    """The schema, the registered models, one run and its version, by MLflow; returns the run's id."""
    import mlflow

    uri = f"sqlite:///{directory / DATABASE}"
    client: MlflowClient = mlflow.MlflowClient(uri, uri)
    experiment_id = client.create_experiment("benchmark", artifact_location=str(directory / RUN_MODELS))
    run = client.create_run(experiment_id)
    client.set_terminated(run.info.run_id)
    names = model_names(shape)
    for name in names:
        client.create_registered_model(name)
    client.create_model_version(
        names[0], f"{run.info.artifact_uri}/model", run_id=run.info.run_id, await_creation_for=0
    )
    return str(run.info.run_id)


def _fill_database(directory: Path, shape: Shape, runs: list[str]) -> None:
    labels = itertools.islice(
        ((name, number + 1) for name in model_names(shape) for number in range(shape.versions_per_model)), len(runs)
    )
    versions = [
        {
            "name": name,
            "version": number,
            "run_id": run_id,
            "source": str(directory / RUN_MODELS / run_id / _INSIDE_RUN),
            "storage_location": str(directory / REG_MODELS / run_id / _INSIDE_RUN),
        }
        for run_id, (name, number) in zip(runs, labels, strict=True)
    ]
    new_runs = [
        {"run_uuid": run_id, "artifact_uri": str(directory / RUN_MODELS / run_id / "artifacts")} for run_id in runs[1:]
    ]
    with contextlib.closing(sqlite3.connect(directory / DATABASE)) as database, database:
        _insert_like(database, "runs", "run_uuid", runs[0], new_runs)
        _insert_like(database, "tags", "run_uuid", runs[0], [{"run_uuid": run_id} for run_id in runs[1:]])
        _insert_like(database, "model_versions", "run_id", runs[0], versions[1:])
        database.execute(
            "UPDATE model_versions SET storage_location = ? WHERE run_id = ?",
            (versions[0]["storage_location"], runs[0]),
        )


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
    return texts | {"model.pkl": generator.randbytes(shape.model_bytes)}


def _write(directory: Path, files: Mapping[str, bytes]) -> None:
    """Plain writes: a copy by the file system could share the blocks of both copies."""
    directory.mkdir(parents=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generate", description="Make a registry to measure on.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--name", default="custom", help="seeds the random bytes")
    parser.add_argument("--versions", type=int, default=100)
    parser.add_argument("--model-bytes", type=int, default=2_048)
    parser.add_argument("--versions-per-model", type=int, default=10)
    chosen = parser.parse_args()
    generate(chosen.directory, Shape(chosen.name, chosen.versions, chosen.model_bytes, chosen.versions_per_model))


if __name__ == "__main__":
    main()
