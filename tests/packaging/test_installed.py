"""The wheel by itself, in an environment of its own: it audits, and needs neither the checkout nor Prefect."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from support.registry import Registry

CHECKOUT = Path(__file__).parents[2]
SECONDS = 120

# What was imported while the audit ran, asked of the very interpreter that ran it.
AUDIT = """
import sys
from registry_audit.cli import boundary
from registry_audit.cli.main import registry_audit
status = boundary.run(registry_audit, "registry-audit", sys.argv[1:])
print(sorted({"prefect", "flows", "tasks"} & sys.modules.keys()), file=sys.stderr)
sys.exit(status)
"""


class Environment:
    """A virtual environment, its programs run outside the checkout."""

    def __init__(self, directory: Path, *, pip: bool) -> None:
        self.directory = directory
        without = [] if pip else ["--without-pip"]
        subprocess.run([sys.executable, "-m", "venv", *without, str(directory)], check=True)
        self.scripts = directory / ("Scripts" if os.name == "nt" else "bin")
        self.python = str(self.scripts / "python")

    @property
    def site_packages(self) -> Path:
        asked = self.run(self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
        return Path(asked.stdout.strip())

    def pip(self, *arguments: str) -> None:
        program = [sys.executable, "-m", "pip", "--python", self.python, "--disable-pip-version-check", "-qq"]
        subprocess.run([*program, "install", *arguments], check=True, capture_output=True, cwd=self.directory)

    def run(self, *command: str, seconds: int = SECONDS) -> "subprocess.CompletedProcess[str]":
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
        environment.pop("REGISTRY_AUDIT_LEDGER", None)  # its migrations are part of the wheel too
        environment["REGISTRY_AUDIT_HOME"] = str(self.directory / "home")
        environment["REGISTRY_AUDIT_CACHE_DIR"] = str(self.directory / "cache")
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            cwd=self.directory,
            env=environment,
        )

    def program(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self.run(str(self.scripts / "registry-audit"), *arguments)


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel alone; what it depends on is lent by the environment that runs the tests."""
    environment = Environment(tmp_path_factory.mktemp("installed") / "venv", pip=False)
    environment.pip("--no-deps", "--no-index", str(built.wheel))
    # Its own .pth files, which make the checkout importable, are not read from a directory named in one.
    lent = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    (environment.site_packages / "lent.pth").write_text("".join(f"{path}\n" for path in lent))
    return environment


@pytest.fixture(scope="module")
def from_the_lock(built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel and everything it needs, downloaded as a user would."""
    environment = Environment(tmp_path_factory.mktemp("locked") / "venv", pip=True)
    environment.pip("--no-deps", "--require-hashes", "--requirement", str(CHECKOUT / "requirements.lock"))
    environment.pip("--no-deps", "--no-index", str(built.wheel))
    return environment


def must_work(environment: Environment, registry: Registry) -> None:
    imported = environment.run(environment.python, "-c", "import registry_audit; print(registry_audit.__file__)")
    assert Path(imported.stdout.strip()).is_relative_to(environment.directory), imported
    for module in ("flows", "tasks", "tests"):
        assert "No module named" in environment.run(environment.python, "-c", f"import {module}").stderr

    help_text = environment.program("--help")
    assert (help_text.returncode, help_text.stderr) == (0, "")
    assert help_text.stdout.startswith("Usage: registry-audit [OPTIONS] COMMAND [ARGS]...")

    healthy, damaged = registry.add(), registry.add()
    Path(damaged.reg_location, "MLmodel").unlink()
    uri = registry.server.uri
    reports = environment.directory / f"report-{healthy.name}"
    clean = environment.program("audit", "--tracking-uri", uri, "--model", healthy.name, "--report-dir", str(reports))
    assert clean.returncode == 0, clean.stderr
    written = sorted(path.name for path in reports.iterdir())
    assert written == ["audit.html", "audit.json", "audit.md", "junit.xml"]
    found = environment.run(environment.python, "-c", AUDIT, "audit", "--tracking-uri", uri, "--model", damaged.name)
    assert found.returncode == 1, found.stderr
    assert "RA003" in found.stdout
    assert found.stderr.splitlines()[-1] == "[]"
    assert environment.program("audit", "--tracking-uri", uri, "--model", "nothing-of-this-name").returncode == 2


def test_it_audits_with_the_dependencies_of_the_lock(installed: Environment, mlflow_local) -> None:
    must_work(installed, Registry(mlflow_local))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_it_audits_when_everything_is_installed_from_the_lock(from_the_lock: Environment, mlflow_local) -> None:
    must_work(from_the_lock, Registry(mlflow_local))


def test_a_demo_of_the_flow_says_what_it_needs(installed: Environment) -> None:
    done = installed.program("demo", "--flow")
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == "registry-audit: --flow needs the checkout and Prefect: run make demo there, or leave out --flow\n"
    )


def must_show_a_demo(done: "subprocess.CompletedProcess[str]") -> None:
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert len(told) < 30, "it fits on a screen"
    assert "First audit: all 21 damaged versions of 32 were found, and nothing else." in told
    finding = told.index("    * Churn/1\tRA002 critical")
    assert len(told) // 4 < finding < 3 * len(told) // 4, "the finding is in the middle of the screen"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_wheel_shows_itself(installed: Environment) -> None:
    must_show_a_demo(installed.run(str(installed.scripts / "registry-audit"), "demo", seconds=600))
    assert (installed.directory / "registry-audit-demo" / "report" / "audit.html").is_file()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_one_line_shows_it_without_an_installation(built, installed: Environment) -> None:
    uv = Path(sys.executable).parent / "uv"
    line = (str(uv), "tool", "run", "--from", f"{built.wheel}[mlflow]", "registry-audit", "demo", "--dir", "by-uv")
    must_show_a_demo(installed.run(*line, seconds=1500))
