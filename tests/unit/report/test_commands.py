"""Commands to copy lead to the registry and the ledger of the report, or the shell refuses them."""

import shlex
import subprocess
from collections.abc import Callable

import pytest
from support.reports import make_copy, make_finding, make_version

from registry_audit.report.commands import Command, Target, command_to_end, commands_of

SERVER = "http://mlflow.example:5000"


def typed(command: str, **environment: str) -> list[str] | None:
    """The words that a shell makes of a command; None where it refuses the line."""
    script = f"words() {{ printf '%s\\n' \"$@\"; }}; {command.replace('registry-audit', 'words', 1)}"
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else None


@pytest.fixture
def accept() -> Callable[[Target], str]:
    def command(target: Target) -> str:
        row = make_version("Wine", "3", baseline="changed", findings=(make_finding("RA002", "changed"),))
        found = command_to_end(target, row, row.findings[0])
        assert isinstance(found, Command)
        return found.text

    return command


def test_a_ledger_in_a_file_is_named(accept: Callable[[Target], str]) -> None:
    command = accept(Target.at(SERVER, None, None, "sqlite:////srv/our ledger.db"))
    assert (typed(command) or [])[-4:] == ["--tracking-uri", SERVER, "--ledger", "sqlite:////srv/our ledger.db"]


def test_a_ledger_with_a_password_is_taken_from_the_shell_or_refused(accept: Callable[[Target], str]) -> None:
    url = "postgresql://auditor:s3cret@db/ledger"
    command = accept(Target.at(SERVER, None, None, url))
    assert "s3cret" not in command and "auditor" not in command
    assert typed(command) is None, "without the variable another ledger would be used"
    assert typed(command, REGISTRY_AUDIT_LEDGER="") is None
    assert (typed(command, REGISTRY_AUDIT_LEDGER=url) or [])[-2:] == ["--ledger", url]


def test_a_workspace_is_named(accept: Callable[[Target], str]) -> None:
    target = Target.at(SERVER, None, "team a", None)
    row = make_version("Wine", "3", findings=(make_finding("RA009", "denied"),))
    texts = [command.text for command in commands_of(target, row, row.findings[0])]
    assert texts[0] == f"MLFLOW_WORKSPACE='team a' registry-audit check Wine/3 --tracking-uri {SERVER}"


def test_a_run_is_restored_on_the_server_of_the_report() -> None:
    row = make_version("Wine", "3", run_id="abc", findings=())
    remedy = "Restore it before the next `mlflow gc`: mlflow runs restore --run-id abc"
    finding = make_finding("RA004", "its run abc is in the trash").model_copy(update={"remedy": remedy})
    first = commands_of(Target.at(f"{SERVER}/?token=s3cret", None, None, None), row, finding)[0]
    assert first.what == "Restore the run"
    assert shlex.split(first.text) == [
        f"MLFLOW_TRACKING_URI={SERVER}",
        *shlex.split("mlflow runs restore --run-id abc"),
    ]


def test_the_command_to_accept_names_what_it_would_be_refused_for(accept: Callable[[Target], str]) -> None:
    findings = (*(make_finding(rule, "broken") for rule in ("RA002", "RA013", "RA007", "RA012", "RA007")),)
    row = make_version("Wine", "3", baseline="changed", findings=findings)
    found = command_to_end(Target.at(SERVER, None, None, None), row, findings[0])
    assert found is None, "without a ledger nothing can be accepted"
    found = command_to_end(Target.at(SERVER, None, None, "sqlite:////l.db"), row, findings[0])
    assert found is not None
    assert " baseline accept Wine/3 --despite RA007 --despite RA013 --reason '' " in found.text


@pytest.mark.parametrize(
    ("rule", "baseline", "files", "what"),
    [
        ("RA002", "changed", 5, "Accept the change"),
        ("RA002", "changed", 0, None),  # `baseline accept` refuses a model that is not there
        ("RA011", "vanished", None, "Accept that it is gone"),
        ("RA011", "new", 5, "Accept the version that took its place"),
        ("RA011", "new", 0, None),
    ],
)
def test_only_what_can_be_accepted_is_offered(
    rule: str,
    baseline: str,
    files: int | None,
    what: str | None,
) -> None:
    copy = None if files is None else make_copy("a", files=files)
    row = make_version("Wine", "3", baseline=baseline, reg_model=copy, findings=(make_finding(rule, "changed"),))
    target = Target.at(SERVER, None, None, "sqlite:////l.db")
    found = command_to_end(target, row, row.findings[0])
    assert (found and found.what) == what
    assert "See what was accepted" in [command.what for command in commands_of(target, row, row.findings[0])]
