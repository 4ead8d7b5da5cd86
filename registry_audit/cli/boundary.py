"""Turns every error into one line and an exit status, and every exit into a clean one."""

import contextlib
import errno
import gc
import importlib
import logging
import os
import signal
import stat
import sys
import warnings
from collections.abc import Sequence
from types import FrameType

import click

from registry_audit.errors import AuditError
from registry_audit.printable import printable
from registry_audit.redact import redact
from registry_audit.registry.connection import calm_mlflow
from registry_audit.registry.translate import reason_of
from registry_audit.verdict import ExitStatus

_HANG_UP: int | None = getattr(signal, "SIGHUP", None)  # sent when the terminal is closed; does not exist on Windows
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def run(command: click.Command, prog_name: str, arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status. No exception leaves this function."""
    _quiet()
    signal.signal(signal.SIGTERM, _interrupt)
    if _HANG_UP is not None and signal.getsignal(_HANG_UP) is signal.SIG_DFL:  # else nohup has set it to SIG_IGN
        signal.signal(_HANG_UP, _interrupt)
    try:
        result = command.main(args=arguments, prog_name=prog_name, standalone_mode=False)
    except SystemExit as ended:
        if ended.code == 0 and _is_completion(prog_name):
            return 0
        if ended.code != 1:  # raised by a plugin, whose status says nothing about an audit
            return _say(prog_name, reason_of(ended), ExitStatus.INCOMPLETE)
        # Click ends with status 1 if the pipe is closed, but here 1 means findings.
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - until the process ends
        return int(ExitStatus.INCOMPLETE)
    except click.exceptions.Abort:
        return _say(prog_name, "interrupted", ExitStatus.INTERRUPTED)
    except KeyboardInterrupt:
        return _say(prog_name, "interrupted", ExitStatus.INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return int(ExitStatus.USAGE)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else _path(command, prog_name, arguments)
        return _say(prog_name, f"{error.format_message()} (see {path} --help)", ExitStatus.USAGE)
    except AuditError as error:
        return _say(prog_name, error.message, error.exit_status)
    except Exception as error:  # noqa: BLE001 - our own defects must not end with status 1, which means findings
        if _is_interruption(error):
            return _say(prog_name, "interrupted", ExitStatus.INTERRUPTED)
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return _say(prog_name, f"the output cannot be written: {error.strerror}", ExitStatus.INCOMPLETE)
        return _say(prog_name, reason_of(error), ExitStatus.INCOMPLETE)
    return int(result or 0)


def _path(command: click.Command, prog_name: str, arguments: Sequence[str] | None) -> str:
    """Return a command's full name, as `registry-audit baseline accept`.

    Click's parser does not say which command lacks the value of an option.
    """
    path, words = prog_name, iter(sys.argv[1:] if arguments is None else arguments)
    while isinstance(command, click.Group):
        name = next(words, "")
        found = command.get_command(click.Context(command, info_name=path), name)
        if found is None:
            break
        path, command = f"{path} {name}", found
    return path


def _say(prog_name: str, message: str, status: ExitStatus) -> int:
    click.echo(f"{prog_name}: {redact(_one_line(message))}", err=True)
    return int(status)


def _one_line(message: str) -> str:
    return " ".join(part.strip() if part.isprintable() else printable(part) for part in message.splitlines())


def _is_completion(prog_name: str) -> bool:
    """Say whether a shell only asks for a completion. The environment variable is click's."""
    return f"_{prog_name.replace('-', '_').upper()}_COMPLETE" in os.environ


def _is_interruption(error: BaseException | None) -> bool:
    """Say whether an error was caused by an interruption.

    Python wraps one that occurs while a class is created, as in imports.
    """
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second signal must not abort the report
    if number == _HANG_UP:
        _leave_terminal()
    raise KeyboardInterrupt


def _leave_terminal() -> None:
    """Redirect output that goes to a closed terminal: writing there is an error, which would abort the report."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        with contextlib.suppress(OSError):  # the descriptor may be closed
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                os.dup2(nowhere, descriptor)


def _quiet() -> None:
    """Silence other libraries' warnings, which help their own developers. What matters to users is in the report."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it logs every retry
    logging.getLogger("alembic").setLevel(logging.ERROR)


# Groups of commands show the complete help text of each command.

_UNFOLDED = 500  # characters; click truncates a longer text


class Group(click.Group):
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        named = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        with formatter.section("Commands"):
            formatter.write_dl([(name, found.get_short_help_str(_UNFOLDED)) for name, found in named if found])


# Imports are tuned, because they take longer than a small audit.

_COLLECTED_EVERY_OBJECTS = 10_000


def import_library(*addresses: str | None) -> None:
    """Import what an audit of these addresses needs. MLflow is skipped if all of them are servers.

    MLflow takes longer to import than a small audit takes, and over http it is rarely needed.

    The garbage collector would traverse the hundreds of thousands of objects that these imports create, again and
    again, during the imports and the audit, although none of them is ever garbage. An audit creates almost no reference
    cycles, so collections can be rarer. Only for programs whose whole purpose is the audit.
    """
    calm_mlflow()  # before the import, during which MLflow reads its settings
    gc.disable()
    if not all(address.lower().startswith(("http://", "https://")) for address in addresses if address):
        importlib.import_module("mlflow")
    importlib.import_module("registry_audit.api")
    gc.freeze()
    gc.set_threshold(_COLLECTED_EVERY_OBJECTS)
    gc.enable()
