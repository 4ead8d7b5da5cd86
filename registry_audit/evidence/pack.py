"""Makes an evidence pack. One report and ledger always give the same bytes, except for time-stamp and signature."""

import hashlib
import json
import zipfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from registry_audit.errors import LedgerError, UsageError
from registry_audit.evidence.instructions import check_text
from registry_audit.evidence.signature import StatementSigner
from registry_audit.evidence.stamp import request_stamp
from registry_audit.ledger.chain import Entry
from registry_audit.ledger.store import Ledger
from registry_audit.ledger.transfer import sha256sum_listing
from registry_audit.printable import printable
from registry_audit.report.document import AuditDocument, VersionRow
from registry_audit.report.output_file import must_take_file, written_whole
from registry_audit.report.write import load_report, rendered
from registry_audit.rules import RULES

REPORT, HTML, CHAIN, CHECK = "audit.json", "audit.html", "ledger.jsonl", "CHECK.txt"
SUMS, STATEMENT, STAMP, ENVELOPE = "SHA256SUMS", "statement.json", "statement.tsr", "statement.dsse.json"
_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold
_PAGE = 1_000


def make_pack(
    report: Path,
    ledger: Ledger,
    output: Path,
    *,
    timestamp_url: str | None = None,
    signer: StatementSigner | None = None,
) -> AuditDocument:
    """Write the pack of an audit, completely or not at all, and return the audit's report.

    Raises:
        UsageError: the report cannot be read, was made without a ledger, or the pack cannot be written.
        LedgerError: the ledger is not the one that the report names, or its chain is broken.
        CouldNotVerify: the time-stamp authority does not answer.
    """
    must_take_pack(output)
    document = load_report(report)
    if document.ledger is None:
        shown = printable(str(report))
        if document.coverage.not_reached or document.outcome.exit_status not in (0, 1, 3):
            raise UsageError(f"the audit of {shown} did not come to its end: resume it with --audit-id")
        raise UsageError(
            f"{shown} was made without a ledger, which holds the files of each version: audit again with --ledger"
        )
    try:
        with (
            written_whole(output) as draft,
            zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive,
        ):
            _write(archive, report.read_bytes(), document, ledger, timestamp_url, signer)
    except OSError as error:
        raise UsageError(f"{printable(str(output))} cannot be written: {error.strerror}") from error
    return document


def _write(
    archive: zipfile.ZipFile,
    report: bytes,
    document: AuditDocument,
    ledger: Ledger,
    timestamp_url: str | None,
    signer: StatementSigner | None,
) -> None:
    assert document.ledger is not None
    head = document.ledger.head
    pack = _Pack(archive)
    pack.add(CHECK, [check_text(stamped=timestamp_url is not None, signed=signer.command if signer else None)])
    report_sha256 = pack.add(REPORT, [report])
    pack.add(HTML, (chunk.encode("utf-8") for chunk in rendered(document, "html")))
    pack.add(CHAIN, _chain(ledger, document.ledger.entries, head))
    digests = sorted({digest for row in document.versions for _, digest in subjects_of(row)})
    for start in range(0, len(digests), _PAGE):
        with ledger.reading() as reader:
            page = [(digest, reader.manifest(digest)) for digest in digests[start : start + _PAGE]]
        for digest, manifest in page:
            name = digest.replace(":", "-")
            pack.add(f"manifests/{name}.txt", [manifest.text().encode("ascii")])
            if manifest.algorithm == "sha256":
                pack.add(f"listings/{name}.sha256", [sha256sum_listing(manifest)])
    sums = "".join(f"{digest}  {name}\n" for name, digest in sorted(pack.digests.items())).encode("ascii")
    sums_sha256 = pack.add(SUMS, [sums])
    statement = statement_bytes(make_statement(document, head, report_sha256, sums_sha256))
    pack.add(STATEMENT, [statement])
    if signer is not None:
        pack.add(ENVELOPE, [signer.sign(statement)])
    if timestamp_url is not None:
        pack.add(STAMP, [request_stamp(statement, timestamp_url)])


class _Pack:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.digests: dict[str, str] = {}

    def add(self, name: str, chunks: Iterable[bytes]) -> str:
        """Add a file, and return its sha256."""
        info = zipfile.ZipInfo(name, _TIME)
        info.compress_type, info.create_system, info.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
        digest = hashlib.sha256()
        with self._archive.open(info, "w", force_zip64=True) as file:
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
        self.digests[name] = digest.hexdigest()
        return self.digests[name]


def chain_line(entry: Entry) -> bytes:
    return (json.dumps(asdict(entry), sort_keys=True) + "\n").encode("ascii")


def _chain(ledger: Ledger, last: int, head: str) -> Iterable[bytes]:
    """Yield the entries up to the head that the report names, as they are chained.

    Raises:
        LedgerError: the chain is broken, or does not lead to that head.
    """
    newest: Entry | None = None
    for start in range(0, last, _PAGE):
        for entry in ledger.page(newest, min(start + _PAGE, last)):
            yield chain_line(entry)
            newest = entry
    if newest is None or newest.digest != head:
        raise LedgerError(
            "the ledger does not hold the head that the report names: give the ledger of that audit with --ledger"
        )


def must_take_pack(output: Path) -> None:
    """Check before the work that a pack can be written. Raises: UsageError: it cannot, or would replace other data."""
    must_take_file(output, "-o")
    if output.is_file() and not _is_pack(output):
        raise UsageError(f"-o {printable(str(output))} is no evidence pack, and is not replaced: give another name")


def _is_pack(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return STATEMENT in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


# A pack's statement is an in-toto Statement v1 with a predicate in the form of SLSA's verification summary. The
# predicate type is our own, because this states no SLSA level. Sources of both formats:
# https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md and
# https://slsa.dev/spec/v1.0/verification_summary.

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:mlflow-registry-audit:verification-summary:v1"
HEAD = "ledger head"
_RESULTS = {0: "PASSED", 1: "FAILED"}


def subjects_of(row: VersionRow) -> list[tuple[str, str]]:
    """Return names and manifest digests of a version: one pair, or two if its two copies have different manifests."""
    copies = [(copy, words) for copy, words in ((row.reg_model, ""), (row.run_model, " (run model)")) if copy]
    found: dict[str, str] = {}
    for copy, words in copies:
        if copy.manifest_digest is not None:
            found.setdefault(copy.manifest_digest, f"{row.name}/{row.version}{words}")
    return [(name, digest) for digest, name in found.items()]


def result_of(exit_status: int) -> str:
    return _RESULTS.get(exit_status, "INCOMPLETE")


def make_statement(document: AuditDocument, head: str, report_sha256: str, sums_sha256: str) -> dict[str, Any]:
    """Make the statement of a pack.

    Args:
        head: digest of the ledger's newest entry when the audit ended.
        report_sha256, sums_sha256: digests of the pack's `audit.json` and `SHA256SUMS`, through which the statement
            covers every file of the pack.
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
