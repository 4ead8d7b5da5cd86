"""Every way to end: one line on stderr, an exit status of its own, and nothing secret."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from registry_audit import __version__
from registry_audit.cli import boundary
from registry_audit.cli.main import _COMMANDS, registry_audit
from registry_audit.errors import AuditError, CouldNotVerify, LedgerError, NotFound, Stopped, Transient, UsageError
from registry_audit.verdict import ExitStatus

GOLDEN = Path(__file__).parents[2] / "golden" / "report"
SECONDS = 60


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def ends(with_: BaseException | int | None) -> int:
    """How a command that ends so makes the program end."""

    @click.command()
    def command() -> int | None:
        if isinstance(with_, BaseException):
            raise with_
        return with_

    return boundary.run(command, "audit-it", [])


def program(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "registry_audit", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        env=dict(os.environ) | environment,
    )


@pytest.mark.parametrize("result", [None, 0, 1, 3, 4])
def test_a_command_that_returns(result: int | None, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(result) == (result or 0)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AuditError("gone wrong"), 3),
        (CouldNotVerify("gone wrong"), 3),
        (Transient("gone wrong"), 3),
        (UsageError("gone wrong"), 2),
        (NotFound("gone wrong"), 2),
        (LedgerError("gone wrong"), 4),
        (Stopped("gone wrong"), 130),
    ],
)
def test_each_of_our_errors_is_one_line(error: Exception, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(error) == status
    assert capsys.readouterr() == ("", "audit-it: gone wrong\n")


@pytest.mark.parametrize("error", [click.UsageError("no such thing"), click.BadParameter("no such thing")])
def test_a_mistake_of_use_names_the_help(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(error) == 2
    assert capsys.readouterr().err.endswith("no such thing (see audit-it --help)\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interruption(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(error) == 130
    assert capsys.readouterr().err.strip() == "audit-it: interrupted"


@pytest.mark.parametrize("error", [ValueError("line one\nline two"), KeyError(), OSError(5, "I/O error")])
def test_a_defect_of_ours_does_not_look_like_findings(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(error) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"audit-it: internal error: {type(error).__name__}: ")
    assert line.endswith("(set REGISTRY_AUDIT_TRACEBACK=1 to see where, and please report it)")


@pytest.mark.parametrize("status", [0, 5, None, "gone"])
def test_a_plugin_that_exits_is_no_pass(status: int | str | None, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(SystemExit(status)) == ExitStatus.INCOMPLETE
    assert "internal error: SystemExit" in capsys.readouterr().err


def test_a_shell_is_given_its_completion() -> None:
    done = program(_REGISTRY_AUDIT_COMPLETE="bash_source")
    assert (done.returncode, "_REGISTRY_AUDIT_COMPLETE=bash_complete" in done.stdout) == (0, True), done.stderr


def test_the_traceback_is_there_for_who_asks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REGISTRY_AUDIT_TRACEBACK", "1")
    assert ends(ValueError("broken")) == 3
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize("make", [CouldNotVerify, ValueError])
def test_no_secret_and_no_control_character_is_shown(
    make: Callable[[str], Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    ends(make("http://alice:s3cret@host failed\x1b[2J with token=abcdef, Authorization: Bearer abcdefghijk"))
    shown = capsys.readouterr().err
    assert "http://***@host failed\\x1b[2J with token=***" in shown
    for secret in ("s3cret", "abcdef", "\x1b"):
        assert secret not in shown


def test_sigterm_is_an_interruption() -> None:
    code = (
        "import os, signal, click\n"
        "from registry_audit.cli import boundary\n"
        "@click.command()\n"
        "def command():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    signal.pause()\n"
        "raise SystemExit(boundary.run(command, 'audit-it', []))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (done.returncode, done.stderr.strip()) == (130, "audit-it: interrupted")


def test_a_terminal_that_is_closed_is_an_interruption(tmp_path: Path) -> None:
    """What is said on the way to the report's end must not cost the report."""
    code = (
        "import signal, time, click\n"
        "from pathlib import Path\n"
        "from registry_audit.cli import boundary\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # the tests may run under nohup, which is heeded
        "@click.command()\n"
        "def command():\n"
        "    try:\n"
        "        click.echo('begun')\n"
        "        while True:\n"  # a signal may come just before a single wait begins, which it then does not end
        "            time.sleep(0.05)\n"
        "    finally:\n"
        "        click.echo('broken off', err=True)\n"
        "        Path('report').touch()\n"
        "raise SystemExit(boundary.run(command, 'audit-it', []))\n"
    )
    terminal, theirs = pty.openpty()
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path)
    try:
        os.close(theirs)
        assert os.read(terminal, 5) == b"begun"
        os.close(terminal)
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=SECONDS) == ExitStatus.INTERRUPTED
    finally:
        process.kill()
        process.wait()
    assert (tmp_path / "report").exists()


def test_nohup_is_heeded() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert ends(None) == ExitStatus.CLEAN
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def broken_pipe() -> "subprocess.CompletedProcess[bytes]":
    """A report whose reader went away before it was written."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        command = [sys.executable, "-m", "registry_audit", "report", str(GOLDEN / "sample.json"), "--format", "html"]
        return subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, check=False, timeout=SECONDS)
    finally:
        os.close(write_end)


def test_a_reader_that_goes_away_makes_no_noise() -> None:
    assert broken_pipe().stderr == b""


def test_a_reader_that_goes_away_is_no_finding() -> None:
    assert broken_pipe().returncode == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["audit"], "registry-audit: which tracking server? Give --tracking-uri or set MLFLOW_TRACKING_URI"),
        (["audit", "--latest", "0"], "registry-audit: Invalid value for '--latest': 0 is not in the range x>=1."),
        (["audit", "--tracking-uri", "sqlite:////no/such.db"], "registry-audit: there is no database at /no/such.db"),
        (
            ["check", "--tracking-uri", "sqlite:////no/such.db", "--model", "Wine"],
            "registry-audit: which version? Give",
        ),
        (
            ["check", "--tracking-uri", "sqlite:////no/such.db", "--model", "Wine", "--version-or-stage", "champion"],
            "registry-audit: 'champion' is not a version: give a version number, a stage",
        ),
        (["compare", "--download-dir", "x", "--config-file", "/no/such.yaml"], "registry-audit: --config-file /no"),
        (["report", "/no/such.json"], "registry-audit: /no/such.json"),
        (["nonsense"], "registry-audit: No such command 'nonsense'"),
    ],
)
def test_mistakes_of_use_of_the_real_program(arguments: list[str], says: str, tmp_path: Path) -> None:
    done = program(*arguments, REGISTRY_AUDIT_HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(says), done.stderr


def test_version() -> None:
    assert program("--version").stdout == f"registry-audit, version {__version__}\n"


def test_help_waits_for_no_large_library() -> None:
    """Measured by what is imported: MLflow takes some seconds, Prefect and SQLAlchemy one."""
    code = (
        "import contextlib, io, sys\n"
        "from registry_audit.cli import boundary, main\n"
        "for name in ['', *main._COMMANDS]:\n"
        "    out = io.StringIO()\n"
        "    with contextlib.redirect_stdout(out):\n"
        "        arguments = [name, '--help'] if name else ['--help']\n"
        "        status = boundary.run(main.registry_audit, 'registry-audit', arguments)\n"
        "    large = sorted({'mlflow', 'prefect', 'sqlalchemy', 'pandas', 'numpy', 'boto3'} & sys.modules.keys())\n"
        "    print(name or 'registry-audit', status, out.getvalue().startswith('Usage: registry-audit'), *large)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=SECONDS)
    assert done.stdout.splitlines() == [f"{name} 0 True" for name in ("registry-audit", *_COMMANDS)]


@pytest.mark.parametrize("program_name", ["check_model_version", "compare_model_versions"])
def test_the_programs_with_the_predecessor_s_names(program_name: str) -> None:
    code = f"import sys; sys.argv[1:] = ['-h']; from registry_audit.cli.main import {program_name} as run; run()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: {program_name.replace('_', '-')} [OPTIONS]")


def test_a_group_without_a_command_shows_its_whole_help(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["baseline"]):
        assert boundary.run(registry_audit, "registry-audit", arguments) == ExitStatus.USAGE
        shown = capsys.readouterr().err.splitlines()
        assert shown[0].startswith("Usage: registry-audit")
        assert "Commands:" in shown


@pytest.mark.parametrize("wrong", [["--nonsense"], ["--reason"], ["--dry-run=yes"], ["--reason", "x"]])
def test_an_error_names_the_help_of_its_own_command(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert boundary.run(registry_audit, "registry-audit", ["baseline", "accept", *wrong]) == ExitStatus.USAGE
    assert "(see registry-audit baseline accept --help)" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_an_interruption_of_an_import_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    class Interrupted:
        def __set_name__(self, owner: type, name: str) -> None:
            raise KeyboardInterrupt

    @click.command()
    def command() -> None:
        type("Made", (), {"it": Interrupted()})

    assert boundary.run(command, "audit-it", []) == ExitStatus.INTERRUPTED
    assert capsys.readouterr().err.strip() == "audit-it: interrupted"


def test_a_second_sigterm_changes_nothing() -> None:
    """A supervisor that sends it twice must not cost the report that is made because of the first."""
    code = (
        "import os, signal, click\n"
        "from registry_audit.cli import boundary\n"
        "@click.command()\n"
        "def command():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        signal.pause()\n"
        "    finally:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        print('the report')\n"
        "raise SystemExit(boundary.run(command, 'audit-it', []))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (done.returncode, done.stdout.strip()) == (130, "the report")


def test_a_full_disk_behind_stdout_is_no_defect() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "registry_audit", "rule", "RA001"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    assert (done.returncode, done.stderr.strip()) == (
        ExitStatus.INCOMPLETE, "registry-audit: the output cannot be written: No space left on device",
    )  # fmt: skip
