"""Model directories as MLflow writes them, made in a millisecond and without any ML library."""

import random
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from mlflow.version import VERSION as MLFLOW_VERSION

PICKLE_BYTES = 4_096
_PYTHON = "3.11.7"
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)

ENVIRONMENT_FILES: Mapping[str, str] = {
    "conda.yaml": "channels:\n- conda-forge\ndependencies:\n"
    f"- python={_PYTHON}\n- pip<=23.2.1\n- pip:\n  - mlflow=={MLFLOW_VERSION}\nname: mlflow-env\n",
    "python_env.yaml": f"python: {_PYTHON}\nbuild_dependencies:\n- pip==23.2.1\ndependencies:\n- -r requirements.txt\n",
    "requirements.txt": f"mlflow=={MLFLOW_VERSION}\n",
}


def write_model(
    directory: Path,
    *,
    seed: int,
    run_id: str | None = None,
    model_id: str | None = None,
    files: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a model into the new directory `directory` and return it.

    It has MLmodel, conda.yaml, python_env.yaml, requirements.txt, model.pkl (noise: nothing may ever load it),
    data/vocabulary.txt and data/nested/weights.bin. The same arguments give the same bytes, another `seed` other
    ones. `files` (relative POSIX path -> content) come on top or replace some of these; MLmodel's size counts them.
    """
    noise = random.Random(seed)
    content = {
        "model.pkl": noise.randbytes(PICKLE_BYTES),
        "data/vocabulary.txt": "".join(f"token-{noise.getrandbits(64):016x}\n" for _ in range(20)).encode(),
        "data/nested/weights.bin": noise.randbytes(PICKLE_BYTES // 2),
    }
    model_uuid = uuid.UUID(int=noise.getrandbits(128), version=4).hex
    created = _EPOCH + timedelta(seconds=seed, microseconds=noise.randrange(1_000_000))
    extra = dict(files or {})
    written_later = {name: text.encode() for name, text in ENVIRONMENT_FILES.items()}
    content |= {path: data for path, data in extra.items() if path != "MLmodel" and path not in written_later}
    mlmodel = _mlmodel(
        run_id=run_id,
        model_id=model_id,
        model_uuid=model_uuid,
        created=created,
        # MLflow takes the size before it writes MLmodel and the environment files.
        size_bytes=sum(map(len, content.values())),
    )
    text = yaml.safe_dump(mlmodel, allow_unicode=True, default_flow_style=False)
    directory.mkdir(parents=True)
    for path, data in {**content, **written_later, "MLmodel": text.encode(), **extra}.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return directory


def _mlmodel(
    *, run_id: str | None, model_id: str | None, model_uuid: str, created: datetime, size_bytes: int
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "artifact_path": "model",
        "flavors": {
            "python_function": {
                "code": None,
                "data": "data",
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "loader_module": "acme_models.loader",
                "model_path": "model.pkl",
                "python_version": _PYTHON,
                "streamable": False,
            },
        },
        "mlflow_version": MLFLOW_VERSION,
        "model_id": model_id,
        "model_size_bytes": size_bytes,
        "model_uuid": model_uuid,
        "prompts": None,
        "utc_time_created": created.strftime("%Y-%m-%d %H:%M:%S.%f"),
    }
    return document | ({"run_id": run_id} if run_id else {})
