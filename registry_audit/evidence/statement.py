"""What a pack says, as an in-toto Statement v1 with a predicate in the shape of SLSA's verification summary.

Source of both shapes: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md and
https://slsa.dev/spec/v1.0/verification_summary. The predicate is of a type of our own: this is no SLSA level.
"""

import json
from typing import Any

from registry_audit.report.document import AuditDocument, VersionRow
from registry_audit.rules import RULES

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:mlflow-registry-audit:verification-summary:v1"
HEAD = "ledger head"
_RESULTS = {0: "PASSED", 1: "FAILED"}


def subjects_of(row: VersionRow) -> list[tuple[str, str]]:
    """Names and manifest digests of a version: one, or two where its two copies have different manifests."""
    copies = [(copy, words) for copy, words in ((row.reg_model, ""), (row.run_model, " (run model)")) if copy]
    found: dict[str, str] = {}
    for copy, words in copies:
        if copy.manifest_digest is not None:
            found.setdefault(copy.manifest_digest, f"{row.name}/{row.version}{words}")
    return [(name, digest) for digest, name in found.items()]


def result_of(exit_status: int) -> str:
    return _RESULTS.get(exit_status, "INCOMPLETE")


def make_statement(document: AuditDocument, head: str, report_sha256: str, sums_sha256: str) -> dict[str, Any]:
    """
    Args:
        head: digest of the ledger's newest entry when the audit ended.
        report_sha256, sums_sha256: of the pack's `audit.json` and `SHA256SUMS`, so that the statement covers every
            file of the pack.
    """
    subjects = [{"name": HEAD, "digest": {"sha256": head}}]
    unread = []
    for row in document.versions:
        named = subjects_of(row)
        if not named:
            unread.append(f"{row.name}/{row.version}")
        for name, digest in named:
            algorithm, _, value = digest.partition(":")
            subjects.append({"name": name, "digest": {algorithm: value}})
    coverage = document.coverage.model_dump(mode="json")
    return {
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "verifier": {
                "id": "urn:mlflow-registry-audit",
                "version": {"mlflow-registry-audit": document.tool.version},
            },
            "timeVerified": document.generated_at,
            "resourceUri": document.registry.registry_uri,
            "policy": {
                "uri": "urn:mlflow-registry-audit:rules:v1",
                "rules": [rule.id for rule in RULES],
                "options": document.options,
            },
            "inputs": [{"name": "audit.json", "digest": {"sha256": report_sha256}}],
            "pack": {"name": "SHA256SUMS", "digest": {"sha256": sums_sha256}},
            "verificationResult": result_of(document.outcome.exit_status),
            "coverage": coverage,
            "notRead": unread,
            "summary": document.summary.model_dump(mode="json"),
        },
    }


def statement_bytes(statement: dict[str, Any]) -> bytes:
    return (json.dumps(statement, indent=2, sort_keys=True) + "\n").encode("ascii")
