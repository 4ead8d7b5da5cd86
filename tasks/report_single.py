"""`report` of a single check or comparison: the JSON of mlflow-tools as a file, and the artifacts."""

from pathlib import Path
from typing import Any

from prefect import get_run_logger, task

from registry_audit.errors import UsageError
from registry_audit.report.mlflow_tools import to_json
from registry_audit.report.write import write_whole
from tasks.artifacts import Told, publish_single
from tasks.policy import UNCACHED, presentable


@task(name="report", task_run_name="report", **UNCACHED)
@presentable
def report_single(key: str, told: tuple[Told, ...], report: dict[str, Any], report_file: Path | None) -> None:
    """
    Args:
        key: of the artifacts.
        told: what was compared, and with which verdict.

    Raises:
        UsageError: the file cannot be written. The artifacts were made before.
    """
    publish_single(key, told)
    if report_file is None:
        return
    try:
        write_whole(report_file, to_json(report))
    except OSError as error:
        raise UsageError(f"the report cannot be written to {report_file}: {error.strerror}") from error
    get_run_logger().info("wrote %s", report_file)
