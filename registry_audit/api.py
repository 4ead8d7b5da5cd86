"""The library in a few calls, for those who write their own program around it."""

from collections.abc import Callable
from pathlib import Path

from registry_audit.audit.engine import audit_versions
from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.options import AuditOptions
from registry_audit.audit.scope import Scope, list_scope
from registry_audit.audit.session import Session
from registry_audit.report.build import build_document
from registry_audit.report.document import AuditDocument


def audit_registry(
    options: AuditOptions,
    *,
    work_directory: Path | None = None,
    on_listed: Callable[[Scope], None] = lambda scope: None,
    on_done: Callable[[VersionAudit], None] = lambda audit: None,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> AuditDocument:
    """Audit every version that the options select, in threads of this process.

    Args:
        work_directory: where readings outlive the process; the same directory resumes an interrupted audit.
        on_listed, on_done, on_bytes: told of the progress; the latter two from any thread.

    Raises:
        UsageError: the options name something that does not exist, or the credentials are refused.
        CouldNotVerify: the registry cannot be listed. One version that cannot be read is a row, not an error.
    """
    session = open_session(options, work_directory=work_directory, on_bytes=on_bytes)
    scope = list_scope(session, options)
    on_listed(scope)
    audits = audit_versions(session, scope.versions, workers=options.workers, on_done=on_done)
    return build_document(audits, options, scope)


def open_session(
    options: AuditOptions, *, work_directory: Path | None = None, on_bytes: Callable[[int], None] = lambda count: None
) -> Session:
    return Session(
        options.server,
        limits=options.limits,
        algorithm=options.digest,
        work_directory=work_directory,
        on_bytes=on_bytes,
    )
