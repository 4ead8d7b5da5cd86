"""`registry-audit rule`: what a rule finds, why it matters and what to do, without a network."""

from importlib.resources import files

import click

from registry_audit.errors import UsageError
from registry_audit.printable import printable
from registry_audit.rules import RULES


def rule_page(rule_id: str) -> str:
    """The page of one rule, in Markdown.

    Raises:
        UsageError: there is no such rule.
    """
    page = files("registry_audit") / "rule_pages" / f"{rule_id}.md"
    known = {rule.id for rule in RULES}
    if rule_id not in known:
        raise UsageError(f"there is no rule '{printable(rule_id)}': the rules are {', '.join(sorted(known))}")
    return page.read_text(encoding="utf-8")


@click.command("rule", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("rule_id", metavar="[RULE]", required=False)
def command(rule_id: str | None) -> int:
    """Explain a rule: what it finds, an example, what to do, how to waive it. Without RULE, list all of them."""
    if rule_id is None:
        for rule in RULES:
            click.echo(f"{rule.id}  {rule.name:<24} {rule.severity.value:<9} {rule.meaning}")
        click.echo("\nregistry-audit rule RA002 explains one of them.")
        return 0
    click.echo(rule_page(rule_id.upper()), nl=False)
    return 0
