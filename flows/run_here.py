"""Runs a flow in this process as a command, with the output, files and exit status of the command without Prefect."""

import logging
import os
from typing import Any

import click
from prefect import Flow, State
from prefect.exceptions import TerminationSignal
from prefect.logging.handlers import PrefectConsoleHandler

from flows.parameters import URIS
from registry_audit.audit.options import AuditOptions
from registry_audit.audit.work_directory import WorkDirectory
from registry_audit.cli import boundary
from registry_audit.cli.audit_command import Keep, audit_command
from registry_audit.cli.progress import Progress
from registry_audit.errors import AuditError
from registry_audit.redact import holds_credentials
from registry_audit.report.document import AuditDocument
from tasks.listeners import Listeners, listening


def audit_command_of(flow: Flow[..., State[Any]]) -> int:
    """Run `registry-audit audit` with the flow instead of the library's own loop, and return the exit status."""

    def run(options: AuditOptions, work: WorkDirectory, progress: Progress, keep: Keep) -> AuditDocument:
        documents: list[AuditDocument] = []
        listeners = Listeners(progress.listed, progress.done, progress.bytes, documents.append, keep, _say_waiting)
        parameters = options.model_dump(mode="json") | {"ledger": options.ledger or "none"}
        for name, variable in URIS.items():
            parameters[name] = _without_secret(parameters[name], variable)
        with listening(work.audit_id, listeners):
            try:
                state = flow(**parameters, audit_id=work.audit_id, return_state=True)
            except (TerminationSignal, KeyboardInterrupt) as signal:  # Prefect turns SIGTERM into a TerminationSignal
                for document in documents:  # the audit is done, only Prefect was not notified yet
                    keep(document)
                raise KeyboardInterrupt from signal
        if not documents:
            raise _why(state)
        return documents[0]

    _quiet_console()
    return boundary.run(audit_command(run), "python -m flows.audit_registry")


def _say_waiting(what_for: str) -> None:
    click.echo(f"waiting: {what_for}", err=True)


def _without_secret(uri: str | None, variable: str) -> str | None:
    """Return a URI that Prefect may store.

    One with credentials is put into the environment, from which the flow reads it.
    """
    if uri is None or not holds_credentials(uri):
        return uri
    os.environ[variable] = uri
    return None


def _why(state: State[Any]) -> Exception:
    error = state.result(raise_on_failure=False)
    if isinstance(error, Exception):
        return error
    return AuditError(f"the flow run ended as {state.name}: {state.message}")


def _quiet_console() -> None:
    """Silence Prefect on the console, which belongs to the command.

    Prefect's pages and `prefect flow-run logs` have its log.
    """
    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            handler.setLevel(logging.CRITICAL)
    # This logger has its own handler, and reports every record that the server did not accept.
    logging.getLogger("prefect._internal").setLevel(logging.CRITICAL)
