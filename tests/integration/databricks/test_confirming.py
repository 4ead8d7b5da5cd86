"""`deployments/confirm_databricks.py`, which a team runs on its own workspace and sends us the output of."""

import runpy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.auditing import SECONDS, Auditor
from support.databricks import EXPERIMENT, StandIn

SCRIPT = Path(__file__).parents[3] / "deployments" / "confirm_databricks.py"
NAME = "main.ml.wine"


@dataclass(frozen=True)
class Confirmed:
    exit_status: int
    said: str


@pytest.fixture
def confirm(
    audit: Auditor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Confirmed]:
    """The script with its arguments, as `python` runs it, from an empty directory."""

    def run(*arguments: str) -> Confirmed:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        shown = capsys.readouterr()
        assert not list(audit.working_directory.iterdir())
        assert isinstance(ended.value.code, int)
        return Confirmed(ended.value.code, shown.out + shown.err)

    return run


@pytest.mark.parametrize(
    ("uri", "registry_model"), [("databricks://test_env", "VersionRoute"), ("databricks-uc://test_env", "FilesRoute")]
)
def test_what_holds_is_printed(
    test_env: StandIn, confirm: Callable[..., Confirmed], uri: str, registry_model: str
) -> None:
    test_env.register("Wine", seed=1, stage="Production")
    test_env.register_in_catalog(NAME, seed=2, alias="champion")
    done = confirm(uri)
    assert done.exit_status == 0, done.said
    said = done.said.splitlines()
    assert "the workspace tells its id: True" in said
    for route in ("FilesRoute", "RunRoute"):  # each is tried, though the first one suffices
        assert f"run model: is read by: {route}" in said, done.said
    assert f"registry model: is read by: {registry_model}" in said
    for role, count in (("run model", 2), ("registry model", 1)):
        assert said.count(f"{role}: files: 7") == count
        assert f"{role}: the smallest file came whole: True" in said
        assert f"{role}: problems of the listing: []" in said
    for secret in (test_env.token, "Wine", NAME, "champion", "somebody@example.com"):
        assert secret not in done.said


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("databricks://nobody",), 2, "databricks configure"),
        (("http://127.0.0.1:1",), 2, "databricks://PROFILE"),
        (("databricks-uc://test_env", "--model", "main.ml.nothing"), 2, "it ended with"),
    ],
)
def test_what_does_not_hold_is_one_sentence(
    test_env: StandIn, confirm: Callable[..., Confirmed], arguments: tuple[str, ...], status: int, says: str
) -> None:
    test_env.register("Wine", seed=1)
    done = confirm(*arguments)
    assert (done.exit_status, says in done.said) == (status, True), done.said


def test_no_name_is_in_a_reason(test_env: StandIn, confirm: Callable[..., Confirmed]) -> None:
    test_env.register_in_catalog(NAME, seed=1)
    test_env.faults.files_api = 403
    done = confirm("databricks-uc://test_env", "--model", NAME)
    assert "registry model: it ended with: Denied: could not list /Models/..." in done.said, done.said
    run_id = next(iter(test_env.runs))
    for name in (NAME, NAME.replace(".", "/"), run_id, EXPERIMENT, test_env.token):
        assert name not in done.said


def test_as_a_program(test_env: StandIn, tmp_path: Path) -> None:
    test_env.register("Wine", seed=1)
    command = [sys.executable, str(SCRIPT), "databricks://test_env"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS, cwd=tmp_path)
    assert (done.returncode, "registry model: files: 7" in done.stdout) == (0, True), done.stderr
