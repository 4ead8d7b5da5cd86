"""The edge of the program: every error becomes one line and an exit status, every exit is clean."""

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

_HANG_UP: int | None = getattr(signal, "SIGHUP", None)  # the terminal was closed; Windows knows no such signal
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def run(command: click.Command, prog_name: str, arguments: Sequence[str] | None = None) -> int:
    """Run a command to its exit status; nothing but SystemExit of the caller's making leaves this function."""
    _quiet()
    signal.signal(signal.SIGTERM, _interrupt)
    if _HANG_UP is not None and signal.getsignal(_HANG_UP) is signal.SIG_DFL:  # else nohup wants it ignored
        signal.signal(_HANG_UP, _interrupt)
    try:
        result = command.main(args=arguments, prog_name=prog_name, standalone_mode=False)
    except SystemExit as ended:
        if ended.code == 0 and _is_completion(prog_name):
            return 0
        if ended.code != 1:  # a plugin's, whose status says nothing of an audit
            return _say(prog_name, reason_of(ended), ExitStatus.INCOMPLETE)
        # Click's own answer to a closed pipe is exit status 1, which here means findings.
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
    except Exception as error:  # noqa: BLE001 - a defect of ours must not look like "findings", which is Python's own exit status 1
        if _is_interruption(error):
            return _say(prog_name, "interrupted", ExitStatus.INTERRUPTED)
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return _say(prog_name, f"the output cannot be written: {error.strerror}", ExitStatus.INCOMPLETE)
        return _say(prog_name, reason_of(error), ExitStatus.INCOMPLETE)
    return int(result or 0)


def _path(command: click.Command, prog_name: str, arguments: Sequence[str] | None) -> str:
    """`registry-audit baseline accept`. Click's parser does not say which command lacks the value of an option."""
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
    """Whether a shell only asks for the completion of a command line; the variable is click's."""
    return f"_{prog_name.replace('-', '_').upper()}_COMPLETE" in os.environ


def _is_interruption(error: BaseException | None) -> bool:
    """Whether it came of an interruption: Python wraps one that meets it while a class is made, as imports do."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # sent again, it must not cost the report that is being made
    if number == _HANG_UP:
        _leave_terminal()
    raise KeyboardInterrupt


def _leave_terminal() -> None:
    """Whatever is written to a terminal that was closed is an error, which would cost the report."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        with contextlib.suppress(OSError):  # it may be closed
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                os.dup2(nowhere, descriptor)


def _quiet() -> None:
    """Other libraries' warnings help their own developers; what matters to a user is in the report."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # announces every retry
    logging.getLogger("alembic").setLevel(logging.ERROR)


# Groups of commands: what each does in full, and what an unknown one may have meant.

_UNFOLDED = 500  # characters; click would end a longer text with dots


class Group(click.Group):
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        named = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        with formatter.section("Commands"):
            formatter.write_dl([(name, found.get_short_help_str(_UNFOLDED)) for name, found in named if found])


# The wait before the work, made short.

_COLLECTED_EVERY_OBJECTS = 10_000


def import_library(*addresses: str | None) -> None:
    """Import all that an audit of these addresses needs: MLflow too, unless all of them are servers'.

    MLflow takes longer to import than a small audit takes, and over http it is needed for seldom things only.

    The collector would walk the hundreds of thousands of objects that these imports make again and again, during
    them and during the audit; none of them is ever garbage. What an audit makes has next to no cycles, so looking for
    them may wait for more of it. For programs of which the audit is the whole purpose.
    """
    calm_mlflow()  # MLflow reads its settings while it is imported
    gc.disable()
    if not all(address.lower().startswith(("http://", "https://")) for address in addresses if address):
        importlib.import_module("mlflow")
    importlib.import_module("registry_audit.api")
    gc.freeze()
    gc.set_threshold(_COLLECTED_EVERY_OBJECTS)
    gc.enable()
