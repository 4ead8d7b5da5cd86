"""Checks a pack that anybody may have made: nothing in it is unpacked, and all of it is bounded."""

import hashlib
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from registry_audit.errors import AuditError, UsageError
from registry_audit.evidence.listing import sha256sum_listing
from registry_audit.evidence.pack import CHAIN, CHECK, HTML, REPORT, STAMP, STATEMENT, SUMS
from registry_audit.evidence.stamp import StampDoesNotHold, must_be_signed_by, time_of
from registry_audit.evidence.statement import HEAD, PREDICATE_TYPE, STATEMENT_TYPE, result_of, subjects_of
from registry_audit.ledger.chain import Entry, check_chain
from registry_audit.ledger.store import manifests_named
from registry_audit.model.manifest import Manifest, parse_manifest
from registry_audit.printable import printable
from registry_audit.report.document import AuditDocument
from registry_audit.verdict import ExitStatus

_NAME = re.compile(r"(manifests/(sha256|blake3)-[0-9a-f]{64}\.txt|listings/sha256-[0-9a-f]{64}\.sha256)")
_PLAIN = frozenset({REPORT, HTML, CHAIN, CHECK, SUMS, STATEMENT, STAMP})
_MAX_FILES = 1_000_000
_MAX_TOTAL = 16 * 2**30  # bytes, unpacked
_MAX_IN_MEMORY = 512 * 2**20
_CHUNK = 1 << 20


@dataclass(slots=True)
class Checked:
    """What holds, what does not, and what could not be checked: sentences."""

    holds: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def exit_status(self) -> ExitStatus:
        if self.broken:
            return ExitStatus.FINDINGS
        return ExitStatus.INCOMPLETE if self.not_checked else ExitStatus.CLEAN


class _Broken(Exception):
    """The pack cannot be what it says."""


def verify_pack(path: Path, certificates: Path | None = None) -> Checked:
    """Check everything that `CHECK.txt` checks, and that the parts of the pack agree with each other.

    Args:
        certificates: of the time-stamp authority, in PEM, from elsewhere than the pack.

    Raises:
        UsageError: the file cannot be read, or the certificates cannot.
    """
    checked = Checked()
    try:
        with zipfile.ZipFile(path) as archive:
            _verify(_Archive(archive), checked, certificates)
    except FileNotFoundError as error:
        raise UsageError(f"{printable(str(path))}: no such file") from error
    except zipfile.BadZipFile as error:
        checked.broken.append(f"it is no whole zip file: {printable(str(error))}")
    except _Broken as error:
        checked.broken.append(str(error))
    except (NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        checked.broken.append(f"it cannot be read: {printable(str(error))}")
    except OSError as error:
        raise UsageError(f"{printable(str(path))}: cannot be read: {error.strerror or error}") from error
    return checked


class _Archive:
    """The files of a zip that may be hostile: known names, each once, plain and bounded."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        infos = archive.infolist()
        if len(infos) > _MAX_FILES or sum(info.file_size for info in infos) > _MAX_TOTAL:
            raise _Broken("it holds more than a pack can")
        self._archive, self._read_bytes = archive, 0
        self.infos: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            shown = printable(info.filename)
            if info.filename not in _PLAIN and not _NAME.fullmatch(info.filename):
                raise _Broken(f"it holds '{shown}', which no pack does")
            if info.filename in self.infos:
                raise _Broken(f"it holds '{shown}' twice")
            if info.flag_bits & 1:
                raise _Broken(f"'{shown}' is encrypted")
            self.infos[info.filename] = info
        for name in _PLAIN - {STAMP}:
            if name not in self.infos:
                raise _Broken(f"'{name}' is missing")

    def chunks(self, name: str) -> Iterator[bytes]:
        with self._archive.open(self.infos[name]) as file:
            while chunk := file.read(_CHUNK):
                self._read_bytes += len(chunk)
                if self._read_bytes > 4 * _MAX_TOTAL:
                    raise _Broken("it unfolds into more than a pack can hold")
                yield chunk

    def read(self, name: str) -> bytes:
        if self.infos[name].file_size > _MAX_IN_MEMORY:
            raise _Broken(f"'{name}' is larger than can be checked")
        content = bytearray()
        for chunk in self.chunks(name):
            content += chunk
            if len(content) > _MAX_IN_MEMORY:
                raise _Broken(f"'{name}' is larger than can be checked")
        return bytes(content)

    def lines(self, name: str) -> Iterator[bytes]:
        with self._archive.open(self.infos[name]) as file:
            while line := file.readline(_MAX_IN_MEMORY):
                yield line


def _verify(archive: _Archive, checked: Checked, certificates: Path | None) -> None:
    statement_content = archive.read(STATEMENT)
    statement = _statement(statement_content)
    _sums(archive, statement, checked)
    document = _report(archive, statement, checked)
    named = _chain(archive, statement, document, checked)
    _manifests(archive, statement, document, named, checked)
    _stamp(archive, statement_content, document, checked, certificates)
    if document.coverage.unverifiable:
        checked.notes.append(f"{document.coverage.unverifiable} versions could not be verified by the audit itself")


def _statement(content: bytes) -> dict[str, Any]:
    try:
        statement: Any = json.loads(content)
    except (ValueError, RecursionError):
        raise _Broken("statement.json is not JSON") from None
    predicate = statement.get("predicate") if isinstance(statement, dict) else None
    if (
        not isinstance(predicate, dict)
        or statement.get("_type") != STATEMENT_TYPE
        or statement.get("predicateType") != PREDICATE_TYPE
        or not isinstance(statement.get("subject"), list)
        or not all(isinstance(one, dict) and isinstance(one.get("digest"), dict) for one in statement["subject"])
    ):
        raise _Broken("statement.json is no statement of this kind")
    found: dict[str, Any] = statement
    return found


def _sums(archive: _Archive, statement: dict[str, Any], checked: Checked) -> None:
    content = archive.read(SUMS)
    listed: dict[str, str] = {}
    for line in content.decode("ascii", "replace").splitlines():
        digest, _, name = line.partition("  ")
        listed[name] = digest
    if listed.keys() != archive.infos.keys() - {SUMS, STATEMENT, STAMP}:
        raise _Broken("SHA256SUMS names other files than the pack holds")
    for name, digest in listed.items():
        found = hashlib.sha256()
        for chunk in archive.chunks(name):
            found.update(chunk)
        if found.hexdigest() != digest:
            checked.broken.append(f"'{name}' was changed")
    pack = statement["predicate"].get("pack")
    named = pack.get("digest", {}).get("sha256") if isinstance(pack, dict) else None
    if named != hashlib.sha256(content).hexdigest():
        checked.broken.append("statement.json names another SHA256SUMS")
    if not checked.broken:
        checked.holds.append(f"{len(listed)} files are as SHA256SUMS lists them, and the statement names SHA256SUMS")


def _report(archive: _Archive, statement: dict[str, Any], checked: Checked) -> AuditDocument:
    content = archive.read(REPORT)
    try:
        document = AuditDocument.model_validate(json.loads(content))
    except (ValidationError, ValueError, RecursionError):
        raise _Broken("audit.json is no audit report") from None
    predicate = statement["predicate"]
    subjects = {(str(one.get("name")), _digest(one)) for one in statement["subject"] if one.get("name") != HEAD}
    expected = {subject for row in document.versions for subject in subjects_of(row)}
    agree = [
        (predicate.get("verificationResult") == result_of(document.outcome.exit_status), "result"),
        (predicate.get("timeVerified") == document.generated_at, "time"),
        (predicate.get("resourceUri") == document.registry.registry_uri, "registry"),
        (predicate.get("coverage") == document.coverage.model_dump(mode="json"), "coverage"),
        (subjects == expected, "versions and digests"),
    ]
    different = [what for same, what in agree if not same]
    if different:
        checked.broken.append(f"statement.json and audit.json do not agree on: {', '.join(different)}")
    else:
        checked.holds.append(f"the statement says what the report says: {predicate['verificationResult']}")
    return document


def _digest(subject: dict[str, Any]) -> str:
    return ",".join(f"{algorithm}:{value}" for algorithm, value in sorted(subject["digest"].items()))


def _chain(archive: _Archive, statement: dict[str, Any], document: AuditDocument, checked: Checked) -> set[str]:
    """The manifests that the audit's own entries name."""
    named: set[str] = set()
    audit_id = document.ledger.audit_id if document.ledger else ""

    def entries() -> Iterator[Entry]:
        for line in archive.lines(CHAIN):
            try:
                entry = Entry(**json.loads(line))
            except (ValueError, TypeError, RecursionError):
                raise _Broken("ledger.jsonl holds a line that is no entry") from None
            if entry.audit_id == audit_id:
                named.update(manifests_named(entry))
            yield entry

    heads = [one["digest"].get("sha256") for one in statement["subject"] if one.get("name") == HEAD]
    try:
        head = check_chain(entries())
    except AuditError as error:
        checked.broken.append(error.message)
        return named
    if head is None or heads != [head.digest] or document.ledger is None or document.ledger.head != head.digest:
        checked.broken.append("the chain of the ledger's entries does not lead to the head that the statement names")
    else:
        checked.holds.append(f"{head.seq} entries of the ledger lead to the head {head.digest}")
    return named


def _manifests(
    archive: _Archive, statement: dict[str, Any], document: AuditDocument, named: set[str], checked: Checked
) -> None:
    wanted = {digest for row in document.versions for _, digest in subjects_of(row)}
    before = len(checked.broken)
    present = {name for name in archive.infos if name.startswith("manifests/")}
    if present != {f"manifests/{digest.replace(':', '-')}.txt" for digest in wanted}:
        checked.broken.append("the lists of files are not those of the versions of the report")
        return
    for digest in sorted(wanted):
        _one_manifest(archive, digest, checked)
    if unknown := wanted - named:
        checked.broken.append(f"{len(unknown)} lists of files are named by no entry of this audit in the ledger")
    if len(checked.broken) == before:
        checked.holds.append(f"{len(wanted)} lists of files have the digests that statement and ledger name")


def _one_manifest(archive: _Archive, digest: str, checked: Checked) -> None:
    name = digest.replace(":", "-")
    algorithm = digest.partition(":")[0]
    text = archive.read(f"manifests/{name}.txt")
    try:
        manifest: Manifest = parse_manifest(text.decode("ascii"), algorithm)
        found = manifest.digest()
    except UsageError as error:
        checked.not_checked.append(f"manifests/{name}.txt: {error.message}")
        return
    except (AuditError, UnicodeDecodeError):
        checked.broken.append(f"manifests/{name}.txt is no list of files")
        return
    if found != digest or manifest.text().encode("ascii") != text:
        checked.broken.append(f"manifests/{name}.txt does not have the digest that names it")
    listing, listed = sha256sum_listing(manifest), f"listings/{name}.sha256"
    if listing is not None and (listed not in archive.infos or archive.read(listed) != listing):
        checked.broken.append(f"{listed} is not the list of manifests/{name}.txt")


def _stamp(
    archive: _Archive, statement: bytes, document: AuditDocument, checked: Checked, certificates: Path | None
) -> None:
    if STAMP not in archive.infos:
        if certificates is not None:
            checked.not_checked.append("there is no time-stamp, although the certificates of an authority were given")
        checked.notes.append("no time-stamp: when the pack was made is the word of whoever made it")
        return
    stamp = archive.read(STAMP)
    try:
        made = time_of(stamp, statement)
    except UsageError as error:
        checked.not_checked.append(f"the time-stamp: {error.message}")
        return
    except StampDoesNotHold as error:
        checked.broken.append(str(error))
        return
    if certificates is None:
        checked.not_checked.append(
            f"who made the time-stamp of {made:%Y-%m-%d %H:%M:%S} UTC: give the authority's certificates with "
            "--tsa-certificates"
        )
        return
    try:
        must_be_signed_by(stamp, statement, certificates)
    except StampDoesNotHold as error:
        checked.broken.append(str(error))
        return
    checked.holds.append(f"the authority says that the statement existed at {made:%Y-%m-%d %H:%M:%S} UTC")
    _delay(made, document, checked)


def _delay(made: datetime, document: AuditDocument, checked: Checked) -> None:
    try:
        audited = datetime.fromisoformat(document.generated_at)
    except ValueError:
        return
    if audited.tzinfo is not None and abs((made - audited).total_seconds()) > 24 * 3600:
        checked.notes.append(f"the time-stamp is {abs((made - audited).days)} days away from the audit's own time")
