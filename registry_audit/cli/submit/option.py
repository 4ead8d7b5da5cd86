"""Adds `--submit` and `--deployment` to a command."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from registry_audit.errors import AuditError, UsageError
from registry_audit.printable import printable
from registry_audit.redact import holds_credentials, redact_endpoint

if TYPE_CHECKING:
    from registry_audit.cli.submit.server import PrefectServer

DEFAULT_DEPLOYMENT = "ad-hoc"

_SHOWN_HERE = frozenset({"quiet", "verbose", "format"})  # output on this terminal; not parameters of a flow

Parameters = dict[str, Any]


def submittable(
    flow: str,
    *,
    translate: Callable[[Parameters], Parameters] = lambda given: given,
    check: Callable[[Parameters], object] = lambda parameters: None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a command start a run of the flow's deployment instead of working in this process.

    Only typed options are sent. The environment variables of this terminal describe this machine, and the worker has
    its own; the deployment's defaults are kept.

    Args:
        translate: turns the typed options, by name, into parameters of the flow.
        check: refuses parameters, including those of the deployment, that the run would refuse anyway.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option("--submit", is_flag=True, help="Run the deployment on the Prefect server and wait for it.")
        @click.option(
            "--deployment",
            metavar="NAME",
            help=f"With --submit: the deployment to run. [default: {flow}/{DEFAULT_DEPLOYMENT}]",
        )
        @functools.wraps(command)
        def either(*, submit: bool, deployment: str | None, **options: Any) -> Any:
            if submit:
                parameters = translate(_typed(options))
                return _run_there(flow, deployment, parameters, check, quiet=bool(options.get("quiet")))
            if deployment is not None:
                raise UsageError("--deployment says which deployment to start: it needs --submit")
            return command(**options)

        return either

    return decorate


def _typed(options: Parameters) -> Parameters:
    """Return the typed options, by name.

    Raises:
        UsageError: an option holds credentials, which Prefect would store and show.
    """
    context = click.get_current_context()
    typed: Parameters = {}
    for option in context.command.params:
        name = option.name or ""
        if name not in options or name in _SHOWN_HERE:
            continue
        spelled, value = option.opts[0], options[name]
        source = context.get_parameter_source(name)
        if source is ParameterSource.ENVIRONMENT:
            click.echo(f"{option.envvar} of this terminal is not sent: the worker's own holds, or {spelled}", err=True)
        if source is not ParameterSource.COMMANDLINE:
            continue
        if isinstance(value, str) and holds_credentials(value):
            raise UsageError(
                f"{spelled} holds credentials, and Prefect stores and shows what a run is started with: leave them "
                "out, and set them for the worker (docs/configuring.md)"
            )
        typed[name] = list(value) if isinstance(value, tuple) else value
    return typed


def there(parameters: Parameters, **spelled: str) -> Parameters:
    """Turn paths into parameters. They refer to the worker's machine.

    Args:
        spelled: the option of each path, by its name.

    Raises:
        UsageError: a path is relative, and its base on the worker is not known.
    """
    for name, option in spelled.items():
        path = parameters.get(name)
        if not isinstance(path, Path):
            continue
        if not path.is_absolute():
            raise UsageError(f"{option} {path}: with --submit it is on the worker's machine, so give an absolute path")
        click.echo(f"{option} {path} is on the machine of the worker that takes the run", err=True)
        parameters[name] = str(path)
    return parameters


def must_be_sendable(config_file: Path, *addresses: str | None) -> None:
    """Check the addresses of a file. Raises: UsageError: one holds credentials, which Prefect would store and show."""
    for uri in addresses:
        if uri and holds_credentials(uri):
            raise UsageError(
                f"{config_file}: {printable(redact_endpoint(uri))} holds credentials, and Prefect stores and shows "
                "parameters: name variables of the worker in username_env and password_env, or token_env"
            )


def _run_there(
    flow: str, deployment: str | None, parameters: Parameters, check: Callable[[Parameters], object], *, quiet: bool
) -> int:
    from registry_audit.cli.submit.server import (
        Follower,
        PrefectServer,
        exit_status_of,
        prefect_settings,
        reason_of,
        show_result,
    )

    server = PrefectServer(prefect_settings())
    found = server.deployment(*_split(flow, deployment))
    check(found.get("parameters", {}) | parameters)
    run = server.start(found["id"], parameters)
    run_id = str(run["id"])
    click.echo(f"started {server.page_of(run_id)}", err=True)
    try:
        state = Follower(server, run_id, quiet=quiet).to_the_end()
        show_result(server, run_id, state)
    except KeyboardInterrupt:
        _leave(server, run_id)
        raise
    if (reason := reason_of(state)) is not None:
        click.echo(reason, err=True)
    return int(exit_status_of(state))


def _split(flow: str, deployment: str | None) -> tuple[str, str]:
    """Return flow and deployment name. Raises: UsageError: it is a deployment of another flow."""
    if deployment is None:
        return flow, DEFAULT_DEPLOYMENT
    named, slash, name = deployment.rpartition("/")
    if not name or (slash and named != flow):
        raise UsageError(f"--deployment {deployment}: this command starts deployments of {flow}, as {flow}/NAME")
    return flow, name


def _leave(server: "PrefectServer", run_id: str) -> None:
    """Handle an interruption: the run goes on, unless a person at the terminal asks to cancel it."""
    try:
        if sys.stdin.isatty() and sys.stderr.isatty() and click.confirm("\nCancel the run too?", err=True):
            server.cancel(run_id)
            click.echo("cancelling it", err=True)
            return
    except (click.Abort, KeyboardInterrupt):
        pass
    except AuditError as error:
        click.echo(error.message, err=True)
    click.echo(f"the run goes on; to cancel it: prefect flow-run cancel {run_id}", err=True)
