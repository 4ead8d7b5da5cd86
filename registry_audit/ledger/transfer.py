"""Exports a whole ledger as JSON Lines, to be copied elsewhere, or one manifest in the format of another tool.

The JSON Lines hold the entries as they are chained, then the manifests that they name.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields

from registry_audit.audit.signatures import SIGNATURE
from registry_audit.errors import LedgerError, UsageError
from registry_audit.ledger.chain import Entry, Kind, row_of
from registry_audit.ledger.store import Ledger, checked_manifest, manifests_named
from registry_audit.ledger.verified_chain import CheckedChain
from registry_audit.model.manifest import Manifest

_PAGE = 1_000
_FIELDS = {field.name for field in fields(Entry)}


def export_lines(ledger: Ledger) -> Iterator[str]:
    """Yield the whole ledger as it is now, line by line.

    The ledger is read in pages, each in a view of its own: written entries never change, and a slow reader of these
    lines must not block writers of the ledger.
    """
    with ledger.reading() as reader:
        head = reader.head()
    named: set[str] = set()
    last = head.seq if head else 0
    newest: Entry | None = None
    for start in range(0, last, _PAGE):
        for entry in ledger.page(newest, min(start + _PAGE, last)):
            named |= manifests_named(entry)
            yield json.dumps({"entry": asdict(entry)}, sort_keys=True)
            newest = entry
    if head is not None and (newest is None or newest.digest != head.digest):
        raise LedgerError(f"the ledger's chain is broken: entry {last} was changed while the ledger was exported")
    wanted = sorted(named)
    for start in range(0, len(wanted), _PAGE):
        with ledger.reading() as reader:
            texts = [(digest, reader.manifest(digest).text()) for digest in wanted[start : start + _PAGE]]
        for digest, text in texts:
            yield json.dumps({"manifest": digest, "text": text}, sort_keys=True)
    yield json.dumps({"end": last, "head": head.digest if head else None}, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Export:
    """This is an exported ledger whose chain and manifests were checked."""

    entries: list[Entry]  # at least one
    manifests: dict[str, Manifest]  # by digest


def read_export(lines: Iterable[str]) -> Export:
    """Read an exported ledger from its lines, and check it.

    Raises:
        UsageError: a line is not part of an export, or there are no entries.
        LedgerError: the exported chain is broken or was cut.
    """
    entries: list[Entry] = []
    kept: dict[str, Manifest] = {}
    end: str | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if "entry" in row and set(row["entry"]) == _FIELDS:
                entries.append(Entry(**row["entry"]))
                continue
            if "end" in row:
                end = str(row["head"])
                continue
            digest, text = str(row["manifest"]), str(row["text"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UsageError(f"line {number} is not of a ledger's export") from error
        kept[digest] = checked_manifest(digest, text)
    finished = (entry.seq for entry in reversed(entries) if entry.kind == Kind.AUDIT_FINISHED)
    CheckedChain().continue_with(map(row_of, entries), stated_at=next(finished, None))
    head = entries[-1] if entries else None
    if head is None:
        raise UsageError("the export holds no entries")
    if end != head.digest:
        raise LedgerError("the export was cut: its last line, which names the head, is missing or names another")
    for entry in entries:
        if missing := sorted(manifests_named(entry) - kept.keys()):
            raise LedgerError(f"the export has lost the manifest of entry {entry.seq}: {missing[0]}")
    return Export(entries, kept)


def fill(ledger: Ledger, export: Export) -> Entry:
    """Import an export into an empty ledger, and return the head. Raises: UsageError: the ledger is not empty."""
    with ledger.writing() as writer:
        if writer.head() is not None:
            raise UsageError("the ledger is not empty: import into a new one")
        head = writer.append_verbatim(export.entries)
        writer.keep_manifests(export.manifests)
    return head


# An accepted manifest can be written for tools that check it: `sha256sum -c` and OpenSSF Model Signing.

_LEFT_OUT = (".git", ".gitattributes", ".github", ".gitignore", SIGNATURE)


def sha256sum_listing(manifest: Manifest) -> bytes:
    """Return input for `sha256sum -c` in the model's directory: one line per file, sorted by path.

    Names that are not valid text are written as their raw bytes.

    Raises:
        UsageError: the digests are not sha256.
    """
    _must_be_sha256(manifest)
    return b"".join(_sha256sum_line(entry.path, entry.digest.partition(":")[2]) for entry in manifest.entries)


def model_signing_listing(manifest: Manifest, name: str) -> str:
    """Return the statement that OpenSSF Model Signing v1.0 signs: an in-toto statement with one resource per file.

    Its subject digest is the sha256 over the files' raw digests, in the order of their paths by Unicode code point
    (section 5.2.1 of the specification): `a.txt` before `a/b`. The statement leaves out what model-signing itself
    leaves
    out when it verifies: the signature, which cannot sign itself, and git's files. model-signing follows a symlink
    inside
    the model only if the statement allows symlinks. The ledger does not record symlinks, so sign a model that has some
    in
    its directory.
    Source: https://github.com/sigstore/model-transparency, `signing.Payload` and `hashing.Config`.
    """
    _must_be_sha256(manifest)
    listed = (entry for entry in manifest.entries if entry.path.partition("/")[0] not in _LEFT_OUT)
    ordered = sorted(listed, key=lambda entry: entry.path)
    root = hashlib.sha256()
    for entry in ordered:
        root.update(bytes.fromhex(entry.digest.partition(":")[2]))
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": root.hexdigest()}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": list(_LEFT_OUT),
            },
            "resources": [
                {"name": entry.path, "algorithm": "sha256", "digest": entry.digest.partition(":")[2]}
                for entry in ordered
            ],
        },
    }
    return json.dumps(statement, indent=2) + "\n"


def _sha256sum_line(path: str, digest: str) -> bytes:
    # GNU coreutils, "File names with special characters": a backslash at the start of a line marks an escaped name.
    escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    mark = "\\" if escaped != path else ""
    return f"{mark}{digest}  {escaped}\n".encode("utf-8", "surrogateescape" if _is_escaped_bytes(path) else "replace")


def _is_escaped_bytes(path: str) -> bool:
    return all(not "\ud800" <= char <= "\udfff" or "\udc80" <= char <= "\udcff" for char in path)


def _must_be_sha256(manifest: Manifest) -> None:
    if manifest.algorithm != "sha256":
        raise UsageError(f"the baseline's digests are {manifest.algorithm}; this form needs sha256")
