"""What MkDocs takes from the code: the rules' own pages, the schema of `audit.json`, the commands of `CHECK.txt`."""

import json
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from registry_audit.evidence.instructions import check_text
from registry_audit.evidence.signature import COMMANDS
from registry_audit.report.document import AuditDocument

_RULE_PAGES = Path(__file__).parent.parent / "registry_audit" / "rule_pages"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for page in sorted(_RULE_PAGES.glob("RA*.md")):
        files.append(File.generated(config, f"rules/{page.name}", content=page.read_text(encoding="utf-8")))
    schema = AuditDocument.model_json_schema(mode="serialization") | {"title": "audit.json"}
    text = json.dumps(schema, indent=2, sort_keys=True) + "\n"
    files.append(File.generated(config, "audit.schema.json", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    check = check_text(stamped=True, signed=COMMANDS["ecdsa-sha2-nistp256"]).decode("ascii")
    commands = f"```text\n{check}```"
    return markdown.replace("<!-- keys of audit.json -->", _keys()).replace("<!-- commands of CHECK.txt -->", commands)


def _keys() -> str:
    schema = AuditDocument.model_json_schema(mode="serialization")
    parts = [("audit.json", schema), *sorted(schema["$defs"].items())]
    return "\n\n".join(_table(title, part) for title, part in parts if "properties" in part)


def _table(title: str, part: dict[str, Any]) -> str:
    rows = [f"| `{key}` | {_type(said)} | {said.get('description', '')} |" for key, said in part["properties"].items()]
    return "\n".join((f"## {title}", "", "| key | type | what |", "|---|---|---|", *rows))


def _type(said: dict[str, Any]) -> str:
    if "anyOf" in said:
        return " or ".join(_type(one) for one in said["anyOf"])
    if "$ref" in said:
        return str(said["$ref"]).rpartition("/")[2]
    if said.get("type") == "array":
        return f"list of {_type(said.get('items', {}))}"
    if "enum" in said:
        return " or ".join(f"`{value}`" for value in said["enum"])
    return str(said.get("type", "any"))
