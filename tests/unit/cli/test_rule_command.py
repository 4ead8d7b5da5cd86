"""`registry-audit rule`."""

import pytest
from click.testing import CliRunner

from registry_audit.cli.rule_command import command, rule_page
from registry_audit.errors import UsageError
from registry_audit.rules import RULES


def test_without_a_rule_all_are_listed() -> None:
    shown = CliRunner().invoke(command, []).output
    assert [line.split()[0] for line in shown.splitlines() if line.startswith("RA")] == [rule.id for rule in RULES]


@pytest.mark.parametrize("typed", ["ra002", "RA2", "ra02"])
def test_a_rule_is_explained_however_its_number_is_typed(typed: str) -> None:
    assert CliRunner().invoke(command, [typed]).output == rule_page("RA002")


def test_a_rule_is_explained_by_its_name() -> None:
    assert rule_page("content-changed") == rule_page("RA002")
    with pytest.raises(UsageError, match="there is no rule 'content-change'; did you mean 'content-changed'"):
        rule_page("content-change")


@pytest.mark.parametrize("unknown", ["RA999", "RA0002", "../rules", "", "RA002/../RA001", "RA٢"])
def test_an_unknown_rule_is_refused_with_those_there_are(unknown: str) -> None:
    with pytest.raises(UsageError, match=r"there is no rule .*RA001, RA002"):
        rule_page(unknown)
