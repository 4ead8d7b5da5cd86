"""`report`: the rows of an audit as files and as artifacts."""

from pathlib import Path

from prefect import get_run_logger, task

from registry_audit.api import conclude_audit, ledger_of
from registry_audit.audit.rows import Rows
from registry_audit.audit.scope import Scope
from registry_audit.errors import UsageError
from registry_audit.ledger.memory import FindingKey
from registry_audit.report.document import AuditDocument
from registry_audit.report.write import write_report
from tasks.artifacts import publish
from tasks.audit_session import Job, open_session, work_directory
from tasks.background import is_there
from tasks.events import tell
from tasks.policy import UNCACHED, presentable


@task(name="report", task_run_name="report", **UNCACHED)
@presentable
def report(job: Job, scope: Scope, rows: Rows, report_dir: Path | None) -> AuditDocument:
    """Put the rows beside the ledger and record them there, if there is one; write the artifacts and the files.

    Args:
        report_dir: for audit.json, audit.html, audit.md and junit.xml.

    Raises:
        UsageError: the directory cannot be written. The artifacts were made before.
        LedgerError: the ledger cannot be read or written; nothing was recorded.
    """
    options, session = job.options, open_session(job)
    ledger, untold = ledger_of(options), list[FindingKey]()
    # What the ledger has as told is told by no later audit: where Prefect is away now, the next audit tells it.
    telling = untold.extend if is_there() else None
    document = conclude_audit(ledger, options, scope, rows, job.audit_id, session, work_directory(job), tell=telling)
    publish(document)
    tell(document, job.audit_id, untold)
    if report_dir is not None:
        try:
            written = write_report(document, report_dir)
        except OSError as error:
            raise UsageError(f"the report cannot be written to {report_dir}: {error.strerror}") from error
        for path in written:
            get_run_logger().info("wrote %s", path)
    return document
