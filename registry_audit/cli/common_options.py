"""Defines, in one row each, the options that audits and comparisons share: spelling, type and help.

Commands make their options from these rows, and flows the descriptions of their parameters of the same names. Below the
rows, typed options are turned into the options of an audit.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from registry_audit.errors import UsageError
from registry_audit.printable import printable

if TYPE_CHECKING:
    from registry_audit.audit.options import AuditOptions


@dataclass(frozen=True, slots=True)
class Row:
    help: str
    flow_help: str | None = None  # help in the flow's form, if it must differ
    typed: tuple[str, ...] = ()  # spelling; by default `--` and the parameter's name with dashes
    given: Mapping[str, Any] = field(default_factory=dict)  # keyword arguments of click.option


def _value(metavar: str, help: str, flow_help: str | None = None, *typed: str, **given: Any) -> Row:
    return Row(help, flow_help, typed, {"metavar": metavar, **given})


def _count(help: str, flow_help: str | None = None, *, metavar: str = "N") -> Row:
    return Row(help, flow_help, (), {"metavar": metavar, "type": click.IntRange(1)})


def _flag(help: str, flow_help: str | None = None, *typed: str) -> Row:
    return Row(help, flow_help, typed, {"is_flag": True})


def _choice(default: str, others: tuple[str, ...], help: str, flow_help: str | None = None) -> Row:
    return Row(help, flow_help, (), {"type": click.Choice(others), "default": default, "show_default": True})


def _of_the_same_server(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Use a registry URI of the environment only for the server that the environment names."""
    typed = context.params.get("tracking_uri")  # click processes typed options first
    is_typed = context.get_parameter_source(parameter.name or "") is not ParameterSource.ENVIRONMENT
    if not value or not typed or is_typed:
        return value
    from registry_audit.registry.address import registry_of_environment

    found = registry_of_environment(typed)
    if found is None:
        message = "MLFLOW_REGISTRY_URI is not used: it belongs to the server that MLFLOW_TRACKING_URI names"
        click.echo(f"{message}. --registry-uri names another registry", err=True)
    return found


_DIRECTORY = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path)

SERVER = ("tracking_uri", "registry_uri")
SIGNING = ("signing_key", "signing_certificate_chain", "signing_ignore_paths", "signing_ignore_unsigned")
# These limit the work that one model can cause. The defaults are in docs/limits.md.
LIMITS = (
    "max_files",
    "max_directories",
    "max_depth",
    "max_bytes",
    "max_version_seconds",
    "max_requests",
    "max_bytes_per_second",
)
LISTING_LIMITS = ("max_listing_seconds", "max_versions")

ROWS = {
    "tracking_uri": _value(
        "URI",
        "Tracking server: http(s)://..., sqlite:///..., postgresql://..., databricks. [env: MLFLOW_TRACKING_URI]",
        "Tracking server, without credentials; else MLFLOW_TRACKING_URI of the worker, else the Prefect variable "
        "registry_audit_tracking_uri.",
        envvar="MLFLOW_TRACKING_URI",
    ),
    "registry_uri": _value(
        "URI",
        "Model registry, if it is on another server. [env: MLFLOW_REGISTRY_URI]",
        "Model registry, if it is on another server; else MLFLOW_REGISTRY_URI of the worker, else the Prefect variable "
        "registry_audit_registry_uri.",
        envvar="MLFLOW_REGISTRY_URI",
        callback=_of_the_same_server,
    ),
    "registry": Row("Name of a block Registry Audit, which holds server, sign-in, ledger and limits of one registry."),
    "registry_name": _value(
        "NAME",
        "Name of the registry in the ledger, whatever its address. [default: recognised by its versions]",
        "Name of the registry in the ledger, whatever its address; by default the ledger recognises it by its "
        "versions.",
    ),
    "ledger": _value(
        "URL",
        "Database of baselines: sqlite:///PATH, postgresql://..., or none. [env: REGISTRY_AUDIT_LEDGER; default: a "
        "file in the user's data directory]",
        "Database of baselines, without credentials, or none; else REGISTRY_AUDIT_LEDGER of the worker, the Prefect "
        "variable registry_audit_ledger or the Secret block registry-audit-ledger; else a file of its user.",
        envvar="REGISTRY_AUDIT_LEDGER",
    ),
    "models": _value(
        "GLOB",
        "Only models whose name matches; may be repeated.",
        "Only models of these names; * and ? are wildcards.",
        "--model",
        multiple=True,
    ),
    "filter": _value("FILTER", "Only versions that match this filter, in MLflow's own syntax."),
    "latest": _count("Only the N newest versions of each model.", "Only this many newest versions of each model."),
    "subset": _value(
        "n/t",
        "Only part n of t. The parts are stable: 1/7 to 7/7 together cover everything.",
        "n/t: only part n of t. The parts are stable: 1/7 to 7/7 together cover everything.",
    ),
    "accept_new": _flag("Record a baseline for each version that was read in full and has none yet."),
    "quick": _flag("Skip models whose file list (sizes, times or ETags) has not changed since the last full read."),
    "full_every": _count(
        "With --quick: read a model again if its last full read is this many days old.",
        "With quick: read a model again if its last full read is this many days old.",
        metavar="DAYS",
    ),
    "liveness": _flag(
        "Read no file, only check that each model is still there. Never ends with status 0.",
        "Read no file, only check that each model is still there. Such a run never ends as Completed.",
    ),
    "fail_on": _choice(
        "medium",
        ("low", "medium", "high", "critical"),
        "Lowest severity of a finding that makes the exit status 1.",
        "Lowest severity of a finding that makes the run end as Findings.",
    ),
    "digest": _choice("sha256", ("sha256", "blake3"), "Digest algorithm for the files."),
    "workers": Row(
        "How many versions to read at once.",
        "How many versions to read at once; by default 8.",
        (),
        {"type": click.IntRange(1, 256), "default": 8, "show_default": True},
    ),
    "audit_id": _value(
        "ID",
        "Resume the interrupted audit with this id: only the rest is read.",
        "Resume the interrupted audit with this id, which is the id of its flow run: only the rest is read.",
    ),
    "report_dir": _value(
        "DIR",
        "Write audit.json, audit.html, audit.md and junit.xml there.",
        "Directory for audit.json, audit.html, audit.md and junit.xml, on the machine that runs the flow.",
        type=_DIRECTORY,
    ),
    "report_file": _value(
        "FILE",
        "Write the report as JSON; - is stdout.",
        "File for the report as JSON, on the machine that runs the flow.",
        type=_FILE,
    ),
    "download_dir": _value(
        "DIR",
        "Keep the files there, as DIR/run_model/... and DIR/reg_model/...",
        "Directory on the machine that runs the flow where the files stay, as run_model/... and reg_model/...; by "
        "default they do not stay.",
        type=_DIRECTORY,
    ),
    "signing_key": _value(
        "FILE",
        "Verify the model.sig of each model with this PEM public key. [env: REGISTRY_AUDIT_SIGNING_KEY]",
        "Verify the model.sig of each model with the PEM public key in this file, on the machine that runs the flow; "
        "else REGISTRY_AUDIT_SIGNING_KEY of the process that runs the flow.",
        envvar="REGISTRY_AUDIT_SIGNING_KEY",
    ),
    "signing_certificate_chain": _value(
        "FILE",
        "Instead of a key: PEM certificates that the signing certificate must chain to.",
        "Instead of a key: file of PEM certificates that the signing one must chain to.",
    ),
    "signing_ignore_paths": _value(
        "PATH",
        "File or directory in the model that need not be signed; may be repeated.",
        "Files and directories in a model that need not be signed.",
        "--signing-ignore-path",
        multiple=True,
    ),
    "signing_ignore_unsigned": _flag(
        "Accept files that a signature does not name: the status of the signature is then partial.",
        None,
        "--signing-ignore-unsigned-files",
    ),
    "max_files": _count("Maximum number of files in a model."),
    "max_directories": _count(
        "Maximum number of directories in a model.",
        "Maximum number of directories in a model; what a symlink leads to counts again.",
    ),
    "max_depth": _count("Maximum depth of directories in a model."),
    "max_bytes": _count("Maximum size of a model, in bytes."),
    "max_version_seconds": _count("Maximum time for one version, in seconds."),
    "max_listing_seconds": _count("Maximum time for listing a registry, in seconds."),
    "max_versions": _count("Maximum number of versions in a registry."),
    "max_requests": _count(
        "Maximum number of concurrent requests to servers.",
        "Maximum number of concurrent requests to servers, from this process.",
    ),
    "max_bytes_per_second": _count(
        "Maximum bytes per second read from servers.", "Maximum bytes per second read from servers, by this process."
    ),
    "registry_names": _value(
        "NAME",
        "Name of the registry in the ledger, whatever its address. Give it twice for two registries: first for "
        "tracking_server_1. [default: registry_name in the configuration, else recognised by its versions]",
        None,
        "--registry-name",
        multiple=True,
    ),
    "format": _choice("text", ("text", "json"), "What to print on stdout."),
    "quiet": _flag("No progress on stderr."),
    "verbose": _flag("List every version, not only those with a finding.", None, "-v", "--verbose"),
}


class SectionedCommand(click.Command):
    """Shows signing options and limits under their own headings, after the options that most people need."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Options": [], "Signatures": [], "Limits": []}
        for parameter in self.get_params(ctx):
            shown = parameter.get_help_record(ctx)
            if isinstance(parameter, click.Option) and shown is not None:
                sections[_section_of(parameter.name)].append(shown)
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def _section_of(name: str | None) -> str:
    if name in SIGNING:
        return "Signatures"
    return "Limits" if name in LIMITS or name in LISTING_LIMITS else "Options"


def with_options(*names: str, **said: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options with these names, in the order in which `--help` shows them.

    Args:
        said: help texts that replace the common ones for this command.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(names):
            row = ROWS[name]
            typed = row.typed or (f"--{name.replace('_', '-')}",)
            command = click.option(*typed, name, help=said.get(name, row.help), **row.given)(command)
        return command

    return decorate


def audit_options(chosen: dict[str, Any]) -> "AuditOptions":
    """Make the options of an audit.

    Raises:
        UsageError: an option is invalid or contradicts another; the message names it.
    """
    from pydantic import ValidationError

    from registry_audit.audit.options import AuditOptions, problem_of

    try:
        # Options that were not typed keep their defaults. None is a valid value for the ledger.
        given = {name: value for name, value in chosen.items() if value is not None or name == "ledger"}
        return AuditOptions(**given)
    except ValidationError as error:
        raise UsageError(problem_of(error, lambda name: f"--{name.replace('_', '-')}")) from None


def must_be_no_input(file: Path, option: str, *inputs: str | Path | None) -> None:
    """Check that a file to write is not one that the command reads. Raises: UsageError: it is one."""
    if os.path.realpath(file) in {os.path.realpath(each) for each in inputs if each is not None}:
        raise UsageError(f"{option} {printable(str(file))} would replace a file that is read: give another name")


_NONE = "none"


def ledger_url(given: str | None) -> str | None:
    """Return the URL of the ledger to use; None for no ledger."""
    if given == _NONE:
        return None
    if given:
        return given
    from registry_audit.home import default_ledger_url

    return default_ledger_url()


def required_tracking_uri(tracking_uri: str | None) -> str:
    """Return the URI if there is one. Without it, MLflow would create a new, empty registry.

    Raises:
        UsageError: there is none.
    """
    if not tracking_uri:
        raise UsageError("which tracking server? Give --tracking-uri or set MLFLOW_TRACKING_URI")
    return tracking_uri
