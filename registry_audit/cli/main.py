"""Holds the entry points of the three programs."""

import logging
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

import click

from registry_audit import __version__
from registry_audit.cli import boundary
from registry_audit.errors import did_you_mean
from registry_audit.printable import printable

# Each command has its own module, for instance `registry_audit.cli.audit_command`.
_COMMANDS = {
    "audit": "Audit every version of every registered model.",
    "check": "Check one version: its two copies, and its bytes against the baseline.",
    "compare": "Compare two model versions, on one or two tracking servers.",
    "compare-registries": "Prove a migration: is all of one registry in another, unchanged?",
    "pull": "Download a model only if every byte is what was accepted.",
    "baseline": "List, show, accept and verify the accepted bytes of each version.",
    "report": "Render an audit.json as HTML, JUnit XML, Markdown, CSV or text.",
    "evidence": "Make one file of evidence from an audit, or verify one.",
    "doctor": "Test in seconds whether server, stores and ledger can be reached.",
    "rule": "Explain a rule such as RA002: what it finds, what to do.",
    "demo": "Build a small registry with known damage, and audit it.",
}


class _Lazy(click.Group):
    """Imports subcommands when they are used, so that help is fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        return _command(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"No such command '{printable(name)}'{did_you_mean(name, _COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.command(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: registry-audit demo. Then your own: registry-audit audit --tracking-uri http://SERVER:5000 "
    "--accept-new --report-dir report\n\n"
    "Exit status: 0 clean, 1 findings, 2 usage or configuration, 3 something could not be verified or nothing was "
    "audited, 4 the ledger is unusable, 130 interrupted.",
)
@click.version_option(__version__, prog_name="registry-audit")
def registry_audit() -> None:
    """Audit an MLflow model registry: are the bytes of every version what they should be, and still there?"""


def _command(name: str) -> click.Command:
    command: click.Command = import_module(f"registry_audit.cli.{name.replace('-', '_')}_command").command
    return command


def main() -> None:
    _end(boundary.run(registry_audit, "registry-audit"))


def check_model_version() -> None:
    _end(boundary.run(_command("check"), "check-model-version"))


def compare_model_versions() -> None:
    _end(boundary.run(_command("compare"), "compare-model-versions"))


def _end(exit_status: int) -> NoReturn:
    """End the process at once.

    Normal interpreter shutdown takes longer than a small audit because of MLflow's imports, and a thread that still
    waits for a server would keep an interrupted process alive.
    """
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    logging.shutdown()
    os._exit(exit_status)
