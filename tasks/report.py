"""Defines `report`, which writes the result of a flow as files and as artifacts."""

from pathlib import Path
from typing import Any

from prefect import get_run_logger, task

from registry_audit.api import conclude_audit, ledger_of
from registry_audit.audit.rows import Rows
from registry_audit.audit.scope import Scope
from registry_audit.errors import UsageError
from registry_audit.ledger.memory import FindingKey
from registry_audit.report.document import AuditDocument
from registry_audit.report.mlflow_tools import write_single
from registry_audit.report.registries_document import MigrationDocument
from registry_audit.report.write import write_report
from tasks.artifacts import Told, publish, publish_migration, publish_single
from tasks.audit_session import Job, open_session, work_directory
from tasks.events import tell
from tasks.policy import UNCACHED, presentable
from tasks.prefect_sender import is_there


@task(name="report", task_run_name="report", **UNCACHED)
@presentable
def report(job: Job, scope: Scope, rows: Rows, report_dir: Path | None) -> AuditDocument:
    """Compare the rows with the ledger and record them there, if there is one; write the artifacts and the files.

    Args:
        report_dir: directory for audit.json, audit.html, audit.md and junit.xml.

    Raises:
        UsageError: the directory cannot be written. The artifacts were written before.
        LedgerError: the ledger cannot be read or written; nothing was recorded.
    """
    options, session = job.options, open_session(job)
    ledger, untold = ledger_of(options), list[FindingKey]()
    # A finding recorded as reported is not reported again. If Prefect is unreachable now, leave it to the next audit.
    telling = untold.extend if is_there() else None
    document = conclude_audit(ledger, options, scope, rows, job.audit_id, session, work_directory(job), tell=telling)
    publish(document)
    tell(document, job.audit_id, untold)
    _write(document, report_dir)
    return document


@task(name="report", task_run_name="report", **UNCACHED)
@presentable
def report_single(key: str, told: tuple[Told, ...], report: dict[str, Any], report_file: Path | None) -> None:
    """Write the artifacts of one or two versions, and the file in the format of mlflow-tools.

    Args:
        key: prefix of the artifacts' keys.
        told: what was compared, and with which verdict.

    Raises:
        UsageError: the file cannot be written. The artifacts were written before.
    """
    publish_single(key, told)
    if report_file is not None:
        write_single(report, report_file, "report_file")
        get_run_logger().info("wrote %s", report_file)


@task(name="report", task_run_name="report", **UNCACHED)
@presentable
def report_migration(document: MigrationDocument, report_dir: Path | None) -> None:
    """Write the artifacts and the files of a comparison of two registries.

    Raises:
        UsageError: a file cannot be written. The artifacts were written before.
    """
    publish_migration(document)
    _write(document, report_dir)


def _write(document: AuditDocument | MigrationDocument, report_dir: Path | None) -> None:
    if report_dir is None:
        return
    try:
        written = write_report(document, report_dir)
    except OSError as error:
        raise UsageError(f"the report cannot be written to {report_dir}: {error.strerror}") from error
    for path in written:
        get_run_logger().info("wrote %s", path)
