"""The README cannot rot: its examples print what it shows, its help is what the programs say, its links lead."""

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
FIRST_AUDIT = (CHECKOUT / "docs" / "first-audit.md").read_text(encoding="utf-8")
EXIT_STATUS = (CHECKOUT / "docs" / "exit-status.md").read_text(encoding="utf-8")
COMMANDS = (CHECKOUT / "docs" / "commands.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS = 240


@dataclass(frozen=True)
class Example:
    command: str
    shown: tuple[str, ...]  # lines; "..." stands for any number of them


def blocks(language: str, page: str = README) -> list[str]:
    return [match["text"] for match in BLOCK.finditer(page) if match["language"] == language]


def examples() -> list[Example]:
    """The commands of all console blocks, in order, each with the output shown under it."""
    found = []
    for block in (*blocks("console"), *blocks("console", FIRST_AUDIT)):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *shown = part.splitlines()
            found.append(Example(command, tuple(shown)))
    return found


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory to type the examples in, with the files that the README gives."""
    directory = tmp_path_factory.mktemp("readme")
    for block in blocks("yaml"):
        (directory / block.partition("\n")[0].removeprefix("# ")).write_text(block)
    return directory


def typed(commands: list[str], directory: Path) -> list[str]:
    """What each of the commands prints, typed one after the other into one shell."""
    end = "-- end of what it printed --"
    script = "".join(f"{command}\nstatus=$?; echo '{end}'; (exit $status)\n" for command in commands)
    environment = dict(os.environ) | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "REGISTRY_AUDIT_HOME": str(directory / "home"),
        "REGISTRY_AUDIT_CACHE_DIR": str(directory / "cache"),
    }
    environment.pop("REGISTRY_AUDIT_LEDGER", None)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    return done.stdout.split(f"{end}\n")[:-1]


def must_show(example: Example, printed: str) -> None:
    """Each line shown was printed, in that order, with nothing between two that no `...` stands for."""
    lines, at, skipping = printed.splitlines(), 0, False
    for line in example.shown:
        if line == "...":
            skipping = True
            continue
        place = next((n for n in range(at, len(lines)) if lines[n] == line), None) if skipping else at
        assert place is not None, f"$ {example.command}\ndoes not print {line!r} but\n{printed}"
        assert place < len(lines), f"$ {example.command}\nends before {line!r}:\n{printed}"
        assert lines[place] == line, f"$ {example.command}\n{printed}"
        at, skipping = place + 1, False
    assert skipping or at == len(lines), f"$ {example.command}\nprints more:\n{printed}"


def test_the_examples_print_what_they_show(here: Path) -> None:
    shown = examples()
    assert [example.command for example in shown][:1] == ["make demo"]
    # Make would set up an environment, and the flow start a server; what they lead to is this.
    demo = "registry-audit demo --dir .demo"
    assert demo in make("demo")
    printed = typed([demo, *(example.command for example in shown[1:])], here)
    assert len(printed) == len(shown)
    for example, output in zip(shown, printed, strict=True):
        must_show(example, output)


@pytest.mark.parametrize("text", [text for text in blocks("text", COMMANDS) if text.startswith("Usage: ")])
def test_help_is_what_the_program_says(text: str) -> None:
    program = text.split()[1 : text.split().index("[OPTIONS]")]
    done = subprocess.run(
        [str(Path(sys.executable).parent / program[0]), *program[1:], "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ) | {"COLUMNS": "80"},
    )
    assert done.stdout == text


def make(target: str) -> str:
    """The recipe of a target of the Makefile."""
    text = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    match = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", text, re.MULTILINE)
    assert match, f"there is no target {target}"
    return match[1]


def test_the_targets_it_names_exist() -> None:
    for target in re.findall(r"`make (\S+)`", README):
        assert make(target)


def test_the_modules_and_deployments_it_names_exist() -> None:
    for module in re.findall(r"python -m ([\w.]+)", README):
        assert (CHECKOUT / f"{module.replace('.', '/')}.py").is_file(), module
    deployed = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    flows = {row["entrypoint"].split(".")[1].replace("_", "-") for row in deployed}
    (named,) = re.findall(r"`prefect deploy --all` puts (.*?) on a", " ".join(README.split()))
    assert set(re.findall(r"`([\w-]+)`", named)) == flows


def test_the_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (CHECKOUT / target).is_file(), target


def test_each_exit_status_is_in_the_table() -> None:
    from registry_audit.verdict import ExitStatus, Verdict

    assert re.findall(r"^\| (\d+) \|", EXIT_STATUS, re.MULTILINE) == [str(int(status)) for status in ExitStatus]
    assert re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE) == [verdict.value for verdict in Verdict]


def test_the_picture_is_small() -> None:
    assert (CHECKOUT / "docs" / "report.png").stat().st_size < 300_000


def test_the_change_log_has_this_version() -> None:
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"## {version}" in (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_list_of_changes_says_nothing_twice() -> None:
    changes = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n- ")[1:]
    begun = [" ".join(change.split())[:40] for change in changes]
    assert sorted(begun) == sorted(set(begun))
