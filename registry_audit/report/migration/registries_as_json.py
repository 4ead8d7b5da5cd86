"""The report as `migration.json`: the form that is read back and that every other form is made from."""

import textwrap
from collections.abc import Iterator

from registry_audit.report.as_json import json_text, sorted_keys
from registry_audit.report.migration.registries_document import MigrationDocument


def chunks(document: MigrationDocument) -> Iterator[str]:
    """JSON text, always encodable as UTF-8, that ends in a newline; a version at a time."""
    data = document.model_dump(mode="python", exclude={"versions"})
    data["options"] = sorted_keys(data["options"])
    yield json_text(data).removesuffix("\n}") + ',\n  "versions": ['
    for number, row in enumerate(document.versions):
        yield (",\n" if number else "\n") + textwrap.indent(json_text(row.model_dump(mode="python")), "    ")
    yield "\n  ]\n}\n" if len(document.versions) else "]\n}\n"
