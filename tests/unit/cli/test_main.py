"""Help in full, and what somebody may have meant."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from registry_audit.cli.main import registry_audit
from registry_audit.cli.progress import expected_bytes
from registry_audit.errors import did_you_mean


def commands(group: click.Group, context: click.Context) -> list[tuple[str, click.Command]]:
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found.append((name, command))
        if isinstance(command, click.Group):
            inner = click.Context(command, parent=context, info_name=name)
            found += [(f"{name} {below}", each) for below, each in commands(command, inner)]
    return found


def test_no_help_is_folded() -> None:
    context = click.Context(registry_audit, info_name="registry-audit")
    for name, command in commands(registry_audit, context):
        if isinstance(command, click.Group):
            text = command.get_help(click.Context(command, parent=context, info_name=name))
            assert not [line for line in text.splitlines()[1:] if line.endswith("...")], name


def test_signatures_and_limits_come_after_the_other_options_and_no_option_is_lost() -> None:
    context = click.Context(registry_audit, info_name="registry-audit")
    for name in ("audit", "check", "compare", "compare-registries", "pull"):
        command = registry_audit.get_command(context, name)
        assert command is not None
        text = command.get_help(click.Context(command, parent=context, info_name=name))
        expected = ["Options", "Signatures", "Limits"] if name in ("audit", "check") else ["Options", "Limits"]
        assert re.findall(r"^(\w+):$", text, re.MULTILINE) == expected
        assert text.index("--ledger") < text.index("--help") < text.index("\nLimits:\n") < text.index("--max-files")
        shown = re.findall(r"^  (?:-\w, )?(--[\w-]+)", text, re.MULTILINE)
        options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
        expected_options = [next(one for one in option.opts if one.startswith("--")) for option in options]
        assert set(shown) == {*expected_options, "--help"}


def test_completion_is_no_error() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "registry-audit")],
        env={"_REGISTRY_AUDIT_COMPLETE": "bash_complete", "COMP_WORDS": "registry-audit compare-", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "plain,compare-registries\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wine", "; did you mean 'Wine'?"),
        ("Whine", "; did you mean 'Wine'?"),
        ("churn", ""),
        ("Evil", "; did you mean 'Ev\\x1bil'?"),
    ],
)
def test_a_name_close_by_is_suggested(text: str, words: str) -> None:
    assert did_you_mean(text, ["Wine", "Fraud", "Ev\x1bil"]) == words


def test_beside_a_typing_error_no_name_is_suggested_that_is_only_somewhat_alike() -> None:
    names = ["model-3f2a91bc", "model-3f2e01b7", "model-af2a31cc", "model-3f2a91bd"]
    assert did_you_mean("model-3f2a91bcx", names[:3]) == "; did you mean 'model-3f2a91bc'?"
    assert did_you_mean("model-3f2a91bx", names) == "; did you mean 'model-3f2a91bd' or 'model-3f2a91bc'?"
    assert did_you_mean("model-bf2c31cc", names) == "; did you mean 'model-af2a31cc'?"


def test_the_bytes_to_come_are_reckoned_from_the_versions_that_are_done() -> None:
    assert expected_bytes(0, 0, 10) is None
    assert expected_bytes(300, 3, 10) == 1_000
    assert expected_bytes(950, 10, 10) == 950
