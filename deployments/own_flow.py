"""Checks as steps of a flow of one's own: copy what you need. Here, or on a worker that has the credentials."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.deployments import run_deployment

from tasks.pull_model import pull_model


@flow(name="promote", persist_result=False)
def promote(model: str, version: str) -> None:
    """Goes on only if the version is whole and as accepted. The check is a run on a worker of the pool.

    Raises:
        RuntimeError: it is not, or nobody could say so.
    """
    asked = {"model": model, "version_or_stage": version}
    run: Any = run_deployment("check-model-version/ad-hoc", parameters=asked)
    # Anything but Completed is no pass: Findings, Incomplete, Crashed, and a run that nobody took.
    if run.state is None or run.state.name != "Completed":
        raise RuntimeError(f"{model}/{version} is not promoted: {run.state.message if run.state else 'no state'}")
    # ... what promotes it


@flow(name="load-model", persist_result=False)
def load_model(version: str, output: Path) -> Path:
    """Bytes that were compared with the accepted baseline while they came in: they are there only if they hold."""
    pulled = pull_model.submit(version, output)
    # ... what else there is to do meanwhile
    pulled.result()
    return output
