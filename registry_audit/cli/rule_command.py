"""Implements `registry-audit rule`: what a rule finds, why it matters and what to do, without network access."""

import re
from importlib.resources import files

import click

from registry_audit.errors import UsageError, did_you_mean
from registry_audit.printable import printable
from registry_audit.rules import RULES


def rule_page(rule_id: str) -> str:
    """Return the page of one rule, in Markdown.

    Args:
        rule_id: `RA002`, the short form `RA2`, or its name `content-changed`, in any case.

    Raises:
        UsageError: there is no such rule.
    """
    known = {rule.name: rule.id for rule in RULES}
    short = re.fullmatch(r"RA(\d{1,3})", rule_id.upper(), re.ASCII)
    found = f"RA{int(short[1]):03}" if short else known.get(rule_id.lower())
    if found not in known.values():
        close = did_you_mean(rule_id, known)
        raise UsageError(
            f"there is no rule '{printable(rule_id)}'{close or ': the rules are ' + ', '.join(sorted(known.values()))}"
        )
    return (files("registry_audit") / "rule_pages" / f"{found}.md").read_text(encoding="utf-8")


@click.command("rule", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("rule_id", metavar="[RULE]", required=False)
def command(rule_id: str | None) -> int:
    """Explain a rule: what it finds, an example, what to do, how to waive it. Without RULE, list all of them."""
    if rule_id is None:
        for rule in RULES:
            click.echo(f"{rule.id}  {rule.name:<24} {rule.severity.value:<9} {rule.meaning}")
        click.echo("\nregistry-audit rule RA002 explains one of them.")
        return 0
    click.echo(rule_page(rule_id), nl=False)
    return 0
