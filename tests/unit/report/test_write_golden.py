"""Whole renderings against files. To accept a change: REGISTRY_AUDIT_UPDATE_GOLDEN=1 pytest tests/unit/report"""

import os
from pathlib import Path

import pytest

from registry_audit.report.document import AuditDocument
from registry_audit.report.write import FORMATS, Format, render

GOLDEN = Path(__file__).parents[2] / "golden" / "report"
# Read on import: while tests run, the environment is clean of the tool's own variables.
UPDATE = os.environ.get("REGISTRY_AUDIT_UPDATE_GOLDEN") == "1"
SUFFIXES: dict[Format, str] = {
    "json": "json", "html": "html", "junit": "xml", "markdown": "md", "csv": "csv", "text": "txt",
}  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["sample", "ledger", "hostile"])
def test_rendering_is_as_accepted(
    name: str, format: Format, sample: AuditDocument, with_ledger: AuditDocument, hostile: AuditDocument
) -> None:
    text = render({"sample": sample, "ledger": with_ledger, "hostile": hostile}[name], format)
    path = GOLDEN / f"{name}.{SUFFIXES[format]}"
    if UPDATE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    assert text.encode() == path.read_bytes(), (
        f"{path.name} differs: if it should, run with REGISTRY_AUDIT_UPDATE_GOLDEN=1"
    )
