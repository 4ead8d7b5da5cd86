"""The documentation site builds without a broken link, and its rules are those of the product."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from registry_audit.cli.rule_command import rule_page
from registry_audit.rules import RULES

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    program = [
        str(Path(sys.executable).parent / "mkdocs"),
        "build",
        "--strict",
        "--quiet",
        "--site-dir",
        str(directory),
    ]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(program, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return directory


def test_the_site_has_a_page_for_every_rule(site: Path) -> None:
    for rule in RULES:
        page = (site / "rules" / rule.id / "index.html").read_text(encoding="utf-8")
        assert f"{rule.id} {rule.name}" in page


def test_the_schema_of_the_report_is_published(site: Path) -> None:
    schema = json.loads((site / "audit.schema.json").read_text(encoding="utf-8"))
    assert {"schema_version", "coverage", "summary", "versions"} <= schema["properties"].keys()


def test_the_page_of_the_report_has_every_key(site: Path) -> None:
    page = (site / "audit-json" / "index.html").read_text(encoding="utf-8")
    schema = json.loads((site / "audit.schema.json").read_text(encoding="utf-8"))
    for part in (schema, *schema["$defs"].values()):
        for key in part.get("properties", ()):
            assert f"<code>{key}</code>" in page, key


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"?https?://", text), page


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_page_says_what_the_rule_says(rule) -> None:  # type: ignore[no-untyped-def]
    page = rule_page(rule.id)
    assert page.startswith(f"# {rule.id} {rule.name}\n")
    assert f"Severity: **{rule.severity.value}**." in page
    for heading in ("What it finds", "Why it matters", "What it looks like", "What to do", "If you cannot fix it yet"):
        assert f"\n## {heading}" in page
    row = rf"\[{rule.id}\]\({rule.id}\.md\) \| {rule.name} \| {rule.severity.value} \|"
    assert re.search(row, (CHECKOUT / "docs/rules/index.md").read_text(encoding="utf-8"))
