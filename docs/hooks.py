"""Pages that MkDocs takes from elsewhere: the rules' own pages, and the schema of `audit.json` from its type."""

import json
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from registry_audit.report.document import AuditDocument

_RULE_PAGES = Path(__file__).parent.parent / "registry_audit" / "rule_pages"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for page in sorted(_RULE_PAGES.glob("RA*.md")):
        files.append(File.generated(config, f"rules/{page.name}", content=page.read_text(encoding="utf-8")))
    schema = AuditDocument.model_json_schema(mode="serialization") | {"title": "audit.json"}
    text = json.dumps(schema, indent=2, sort_keys=True) + "\n"
    files.append(File.generated(config, "audit.schema.json", content=text))
    return files
