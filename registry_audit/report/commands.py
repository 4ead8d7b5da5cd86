"""What to type next, for one finding: commands that are safe to copy whatever the names hold."""

import shlex
from typing import NamedTuple

from registry_audit.printable import printable
from registry_audit.report.document import AuditDocument, FindingRow, VersionRow
from registry_audit.report.view import version_id
from registry_audit.rules import CONTENT_CHANGED, RUN_DELETED, RUN_REGISTRY_MISMATCH, VERSION_VANISHED

_ACCEPT_CHANGE, _ACCEPT_GONE = "Accept the change", "Accept that it is gone"
_FILL_IN = "''"  # an empty reason is refused, so nobody accepts anything by only pasting


class Command(NamedTuple):
    what: str
    text: str


def commands_of(document: AuditDocument, row: VersionRow, finding: FindingRow) -> tuple[Command, ...]:
    """The commands that follow from a finding, the most likely one first.

    None at all for a name that a shell or a terminal could take for something else: one with invisible characters, or
    one that begins like an option.
    """
    name = version_id(row)
    if printable(name) != name or name.startswith("-"):
        return ()
    version, server = shlex.quote(name), _server(document)
    commands = []
    restore = f"mlflow runs restore --run-id {shlex.quote(row.run_id or '')}"
    if finding.rule == RUN_DELETED.id and finding.remedy.endswith(restore):
        commands.append(Command("Restore the run", restore))
    if finding.rule == RUN_REGISTRY_MISMATCH.id:
        look = f"registry-audit check {version} --download-dir copies{server}"
        commands.append(Command("Look at both copies", look))
    memory = document.ledger is not None
    if memory and finding.waived is None and finding.rule in (CONTENT_CHANGED.id, VERSION_VANISHED.id):
        commands.append(Command("See what was accepted", f"registry-audit baseline history {version}{server}"))
        what = _ACCEPT_GONE if finding.rule == VERSION_VANISHED.id else _ACCEPT_CHANGE
        accept = f"registry-audit baseline accept {version} --reason {_FILL_IN}{server}"
        commands.insert(0, Command(what, accept))
    else:
        commands.append(Command("Check it again", f"registry-audit check {version}{server}"))
    if memory and finding.waived is None:
        path = finding.path
        only = f" --path {shlex.quote(path)}" if path and printable(path) == path and path[0] != "-" else ""
        until = f"--until YYYY-MM-DD --reason {_FILL_IN}"
        waive = f"registry-audit baseline waive {version} --rule {shlex.quote(finding.rule)}{only} {until}{server}"
        commands.append(Command("Live with it for a while", waive))
    commands.append(Command("Read about the rule", f"registry-audit rule {shlex.quote(finding.rule)}"))
    return tuple(command for command in commands if printable(command.text) == command.text)


def command_to_end(document: AuditDocument, row: VersionRow, finding: FindingRow) -> Command | None:
    """The command that ends the finding where its bytes, or its absence, are as somebody wanted them."""
    possible = commands_of(document, row, finding)
    return next((command for command in possible if command.what in (_ACCEPT_CHANGE, _ACCEPT_GONE)), None)


def _server(document: AuditDocument) -> str:
    """The options that lead to this registry and this ledger, as far as they were not redacted."""
    registry, ledger = document.registry, document.ledger
    given = [("--tracking-uri", registry.tracking_uri)]
    if registry.registry_uri != registry.tracking_uri:
        given.append(("--registry-uri", registry.registry_uri))
    if ledger is not None:
        given.append(("--ledger", ledger.url))
    return "".join(
        f" {option} {shlex.quote(value)}"
        for option, value in given
        if "***" not in value and printable(value) == value and value[:1] not in ("", "-")
    )
