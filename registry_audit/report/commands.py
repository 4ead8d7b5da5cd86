"""Makes the commands to run next for a finding. They are safe to copy, whatever the names contain."""

import shlex
from collections.abc import Sequence
from typing import NamedTuple

from registry_audit.printable import printable
from registry_audit.registry.address import shown_address
from registry_audit.report.document import AuditDocument, FindingRow, VersionRow
from registry_audit.report.view import version_id
from registry_audit.rules import (
    CONTENT_CHANGED,
    RUN_DELETED,
    RUN_REGISTRY_MISMATCH,
    VERSION_VANISHED,
    blocks_acceptance,
)
from registry_audit.verdict import BaselineStatus

_ACCEPT: dict[BaselineStatus | None, str] = {
    BaselineStatus.CHANGED: "Accept the change",
    BaselineStatus.VANISHED: "Accept that it is gone",
    BaselineStatus.NEW: "Accept the version that took its place",
}
_FILL_IN = "''"  # an empty reason is refused, so pasting the command alone accepts nothing

# A report contains no ledger password, so the shell takes the address from this variable, and stops if it is unset.
_LEDGER_OF_THE_SHELL = '"${REGISTRY_AUDIT_LEDGER:?}"'


class Command(NamedTuple):
    what: str
    text: str


class Target(NamedTuple):
    """Holds the registry and the ledger that commands are for. Addresses are as shown, without credentials."""

    tracking_uri: str
    registry_uri: str
    workspace: str | None
    ledger: str | None

    @classmethod
    def of(cls, document: AuditDocument) -> "Target":
        registry, ledger = document.registry, document.ledger
        return cls(registry.tracking_uri, registry.registry_uri, registry.workspace, ledger.url if ledger else None)

    @classmethod
    def at(cls, tracking_uri: str, registry_uri: str | None, workspace: str | None, ledger: str | None) -> "Target":
        """Make a target.

        Args: tracking_uri, registry_uri, ledger: as they were given, with any secrets that they contain.
        """
        registry = shown_address(registry_uri or tracking_uri)
        return cls(shown_address(tracking_uri), registry, workspace, ledger and shown_address(ledger))

    @property
    def before(self) -> str:
        """Return the prefix of a command: the workspace, which can only be set by the environment."""
        return f"MLFLOW_WORKSPACE={shlex.quote(self.workspace)} " if self.workspace else ""

    @property
    def options(self) -> str:
        """Return the options that follow a command."""
        given = [("--tracking-uri", self.tracking_uri)]
        if self.registry_uri != self.tracking_uri:
            given.append(("--registry-uri", self.registry_uri))
        options = "".join(f" {option} {shlex.quote(value)}" for option, value in given if _can_be_typed(value))
        if self.ledger is None:
            return options
        is_file = self.ledger.startswith("sqlite:") and _can_be_typed(self.ledger)
        return f"{options} --ledger {shlex.quote(self.ledger) if is_file else _LEDGER_OF_THE_SHELL}"


def _can_be_typed(value: str) -> bool:
    return "***" not in value and printable(value) == value and value[:1] not in ("", "-")


def commands_of(target: Target, row: VersionRow, finding: FindingRow) -> tuple[Command, ...]:
    """Return the commands that follow from a finding, the most likely one first.

    The result is empty if a shell or a terminal could take the name for something else: a name with invisible
    characters, or one that begins like an option.
    """
    name = version_id(row)
    if not _can_be_typed(name):
        return ()
    version, options = shlex.quote(name), target.options
    program = f"{target.before}registry-audit"
    commands = []
    restore = f"mlflow runs restore --run-id {shlex.quote(row.run_id or '')}"
    if finding.rule == RUN_DELETED.id and finding.remedy.endswith(restore):
        at = f"MLFLOW_TRACKING_URI={shlex.quote(target.tracking_uri)} " if _can_be_typed(target.tracking_uri) else ""
        commands.append(Command("Restore the run", f"{target.before}{at}{restore}"))
    if finding.rule == RUN_REGISTRY_MISMATCH.id:
        look = f"{program} check {version} --download-dir copies{options}"
        commands.append(Command("Look at both copies", look))
    has_ledger = target.ledger is not None
    if has_ledger and finding.waived is None and finding.rule in (CONTENT_CHANGED.id, VERSION_VANISHED.id):
        if what := _what_to_accept(row):
            commands.append(Command(what, _accept(target, name, row.findings)))
        commands.append(Command("See what was accepted", f"{program} baseline history {version}{options}"))
    else:
        commands.append(Command("Check it again", f"{program} check {version}{options}"))
    if has_ledger and finding.waived is None:
        path = finding.path
        only = f" --path {shlex.quote(path)}" if path and printable(path) == path and path[0] != "-" else ""
        until = f"--until YYYY-MM-DD --reason {_FILL_IN}"
        waive = f"{program} baseline waive {version} --rule {shlex.quote(finding.rule)}{only} {until}{options}"
        commands.append(Command("Waive it for a while", waive))
    commands.append(Command("Read about the rule", f"registry-audit rule {shlex.quote(finding.rule)}"))
    return tuple(command for command in commands if printable(command.text) == command.text)


def command_to_end(target: Target, row: VersionRow, finding: FindingRow) -> Command | None:
    """Return the command that ends the finding if its bytes, or its absence, are intended."""
    possible = commands_of(target, row, finding)
    return next((command for command in possible if command.what in _ACCEPT.values()), None)


def _what_to_accept(row: VersionRow) -> str | None:
    """Say what to accept; None if accepting would be refused because there are no bytes."""
    is_there = row.reg_model is not None and row.reg_model.files > 0
    return _ACCEPT.get(row.baseline) if is_there or row.baseline is BaselineStatus.VANISHED else None


def command_to_accept(target: Target, version: str) -> str | None:
    """Return the command that accepts a version's bytes; None if the name cannot be typed."""
    return _accept(target, version, ()) if _can_be_typed(version) else None


def _accept(target: Target, version: str, findings: Sequence[FindingRow]) -> str:
    serious = sorted({each.rule for each in findings if blocks_acceptance(each.rule, each.severity)})
    despite = "".join(f" --despite {shlex.quote(rule)}" for rule in serious)
    accept = f"registry-audit baseline accept {shlex.quote(version)}{despite} --reason {_FILL_IN}"
    return f"{target.before}{accept}{target.options}"
