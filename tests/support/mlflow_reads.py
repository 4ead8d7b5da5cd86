"""What MLflow itself serves, asked of a process of its own that runs in a directory of its own.

    served = what_mlflow_serves(directory, tracking_uri, [Question("download", "runs:/R/model"), ...])

Run as a program it is that process: questions come as JSON on stdin, answers go as JSON to stdout.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_SECONDS = 900
_THREADS = 8

# `repository` opens the whole text as a repository, as loading `models:/NAME/VERSION` does; `download` is
# `mlflow.artifacts.download_artifacts(text)`.
Way = Literal["repository", "download"]


@dataclass(frozen=True, slots=True)
class Question:
    way: Way
    text: str


@dataclass(frozen=True, slots=True)
class Served:
    """The MLmodel at the root of what came; None, and why, where none did."""

    mlmodel: str | None
    error: str = ""


def what_mlflow_serves(directory: Path, tracking_uri: str, questions: Sequence[Question]) -> dict[Question, Served]:
    """
    Args:
        directory: the process's working directory; its environment is this process's.
    """
    own = {"MLFLOW_TRACKING_URI": tracking_uri, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = subprocess.run(
        [sys.executable, "-P", __file__],  # its own directory holds modules of well-known names
        input=json.dumps([[question.way, question.text] for question in questions]),
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
        cwd=directory,
        env=dict(os.environ) | own,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    answers = json.loads(done.stdout)
    return {question: Served(*answer) for question, answer in zip(questions, answers, strict=True)}


def _main() -> None:
    from concurrent.futures import ThreadPoolExecutor

    questions = json.load(sys.stdin)
    with ThreadPoolExecutor(_THREADS) as pool:
        answers = list(pool.map(lambda question: _answer(*question), questions))
    json.dump(answers, sys.stdout)


def _answer(way: Way, text: str) -> tuple[str | None, str]:
    from mlflow.artifacts import download_artifacts
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    tracking_uri = os.environ["MLFLOW_TRACKING_URI"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        found, error = scratch, ""
        try:
            if way == "download":
                found = download_artifacts(text, dst_path=scratch, tracking_uri=tracking_uri)
            else:
                repository = get_artifact_repository(text, tracking_uri=tracking_uri, registry_uri=tracking_uri)
                found = repository.download_artifacts("", dst_path=scratch)
        except Exception as raised:  # perhaps only for a file beside the one that is looked for
            error = f"{type(raised).__name__}: {raised}"
        mlmodel = Path(found, "MLmodel")
        return (mlmodel.read_text(encoding="utf-8") if mlmodel.is_file() else None), error


if __name__ == "__main__":
    _main()
