"""Checks a pack that may be hostile. Nothing in it is unpacked, and everything is bounded."""

import hashlib
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from registry_audit import __version__
from registry_audit.errors import AuditError, UsageError
from registry_audit.evidence.archive import Archive, Broken, once
from registry_audit.evidence.instructions import check_texts
from registry_audit.evidence.pack import (
    CHAIN,
    CHECK,
    ENVELOPE,
    HEAD,
    HTML,
    PREDICATE_TYPE,
    REPORT,
    STAMP,
    STATEMENT,
    STATEMENT_TYPE,
    SUMS,
    chain_line,
    make_statement,
    statement_bytes,
    subjects_of,
)
from registry_audit.evidence.recorded import Recorded
from registry_audit.evidence.signature import SignatureDoesNotHold, must_be_signed_with
from registry_audit.evidence.stamp import StampDoesNotHold, must_be_signed_by, time_of
from registry_audit.ledger.chain import Entry, check_chain, check_row, row_of
from registry_audit.ledger.store import manifests_named
from registry_audit.ledger.transfer import sha256sum_listing
from registry_audit.model.manifest import Manifest, parse_manifest
from registry_audit.printable import printable
from registry_audit.report.document import AuditDocument
from registry_audit.report.words import count
from registry_audit.report.write import rendered
from registry_audit.verdict import ExitStatus

_MAX_TOLD = 10


@dataclass(slots=True)
class Checked:
    """Collects sentences about what holds, what does not hold, and what could not be checked."""

    holds: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def exit_status(self) -> ExitStatus:
        if self.broken:
            return ExitStatus.FINDINGS
        return ExitStatus.INCOMPLETE if self.not_checked else ExitStatus.CLEAN


def verify_pack(path: Path, certificates: Path | None = None, signer_key: Path | None = None) -> Checked:
    """Check everything that `CHECK.txt` checks, and that the parts of the pack agree with each other.

    Args:
        certificates: PEM file of the time-stamp authority's certificates, obtained from elsewhere than the pack.
        signer_key: PEM file of the signer's public key, also obtained from elsewhere.

    Raises:
        UsageError: the file, the certificates or the key cannot be read.
    """
    checked = Checked()
    try:
        with zipfile.ZipFile(path) as archive:
            _verify(Archive(archive, path), checked, certificates, signer_key)
    except FileNotFoundError as error:
        raise UsageError(f"{printable(str(path))}: no such file") from error
    except zipfile.BadZipFile as error:
        checked.broken.append(f"it is no whole zip file: {printable(str(error))}")
    except Broken as error:
        checked.broken.append(str(error))
    except (NotImplementedError, RuntimeError, EOFError, ValueError, zlib.error, struct.error) as error:
        checked.broken.append(f"it cannot be read: {printable(str(error))}")
    except MemoryError:
        checked.not_checked.append("it is larger than this machine's memory")
    except OSError as error:
        raise UsageError(f"{printable(str(path))}: cannot be read: {error.strerror or error}") from error
    return checked


def _verify(archive: Archive, checked: Checked, certificates: Path | None, signer_key: Path | None) -> None:
    statement_content = archive.read(STATEMENT)
    statement = _statement(statement_content)
    _sums(archive, statement, checked)
    document = _report(archive, statement, checked)
    _html(archive, document, checked)
    _instructions(archive, document, checked)
    named = _chain(archive, statement, document, checked)
    _manifests(archive, document, named, checked)
    _envelope(archive, statement_content, checked, signer_key)
    _stamp(archive, statement_content, document, checked, certificates)
    if document.coverage.unverifiable:
        checked.notes.append(
            f"{count(document.coverage.unverifiable, 'version')} could not be verified by the audit itself"
        )


def _statement(content: bytes) -> dict[str, Any]:
    try:
        statement: Any = json.loads(content)
    except (ValueError, RecursionError):
        raise Broken("statement.json is not JSON") from None
    predicate = statement.get("predicate") if isinstance(statement, dict) else None
    if (
        not isinstance(predicate, dict)
        or statement.get("_type") != STATEMENT_TYPE
        or statement.get("predicateType") != PREDICATE_TYPE
        or not isinstance(statement.get("subject"), list)
        or not all(isinstance(one, dict) and isinstance(one.get("digest"), dict) for one in statement["subject"])
    ):
        raise Broken("statement.json is no statement of this kind")
    if statement_bytes(statement) != content:  # for instance a duplicate key, on whose value readers disagree
        raise Broken("statement.json is not written as a statement is")
    found: dict[str, Any] = statement
    return found


def _sums(archive: Archive, statement: dict[str, Any], checked: Checked) -> None:
    content = archive.read(SUMS)
    listed: dict[str, str] = {}
    for line in content.decode("ascii", "replace").splitlines():
        digest, _, name = line.partition("  ")
        listed[name] = digest
    if content != "".join(f"{digest}  {name}\n" for name, digest in sorted(listed.items())).encode("utf-8"):
        raise Broken("SHA256SUMS is not written as such a list is")
    if listed.keys() != archive.infos.keys() - {SUMS, STATEMENT, STAMP, ENVELOPE}:
        raise Broken("SHA256SUMS names other files than the pack holds")
    for name, digest in listed.items():
        found = hashlib.sha256()
        for chunk in archive.chunks(name):
            found.update(chunk)
        if found.hexdigest() != digest:
            checked.broken.append(f"'{name}' was changed")
    pack = statement["predicate"].get("pack")
    digests = pack.get("digest") if isinstance(pack, dict) else None
    named = digests.get("sha256") if isinstance(digests, dict) else None
    if named != hashlib.sha256(content).hexdigest():
        checked.broken.append("statement.json names another SHA256SUMS")
    if not checked.broken:
        checked.holds.append(f"{len(listed)} files are as SHA256SUMS lists them, and the statement names SHA256SUMS")


def _report(archive: Archive, statement: dict[str, Any], checked: Checked) -> AuditDocument:
    content = archive.read(REPORT)
    try:
        # Decode it here: `json` also accepts bytes in other encodings, which not every reader does.
        said = json.loads(content.decode("utf-8"), object_pairs_hook=once)
        document = AuditDocument.model_validate(said)
    except (ValidationError, ValueError, RecursionError):
        raise Broken("audit.json is no audit report") from None
    # Refuse keys that this release does not know: a reader of the file might believe them.
    if document.tool.version == __version__ and _says_more(said, document.model_dump(mode="json")):
        checked.broken.append("audit.json says more than a report does")
    head = document.ledger.head if document.ledger else ""
    sums = hashlib.sha256(archive.read(SUMS)).hexdigest()
    expected = make_statement(document, head, hashlib.sha256(content).hexdigest(), sums)
    different = sorted(_differing(statement, expected, is_own=document.tool.version == __version__))
    if different:
        checked.broken.append(f"statement.json and audit.json do not agree on: {', '.join(different)}")
    else:
        result = expected["predicate"]["verificationResult"]
        checked.holds.append(f"the statement matches the report; the result of the audit is {result}")
    return document


def _says_more(said: Any, understood: Any) -> bool:
    """Say whether the JSON that was read contains anything that the validated document does not."""
    match said, understood:
        case dict(), dict():
            return any(key not in understood or _says_more(value, understood[key]) for key, value in said.items())
        case list(), list():
            return len(said) != len(understood) or any(map(_says_more, said, understood))
        case _:
            return bool(said != understood)


def _html(archive: Archive, document: AuditDocument, checked: Checked) -> None:
    """Check that the page is rendered from the report, because people read it. Other releases render it differently."""
    drawn = hashlib.sha256()
    try:
        for chunk in rendered(document, "html"):
            drawn.update(chunk.encode("utf-8"))
    except Exception as error:  # hostile values, which our own reports do not contain
        raise Broken(f"audit.json cannot be drawn: {type(error).__name__}") from error
    found = hashlib.sha256()
    for part in archive.chunks(HTML):
        found.update(part)
    if drawn.digest() == found.digest():
        checked.holds.append("audit.html shows what audit.json says")
    elif document.tool.version == __version__:
        checked.broken.append("audit.html does not show what audit.json says")
    else:
        checked.not_checked.append(
            "whether audit.html shows what audit.json says: it was drawn by release "
            f"{printable(document.tool.version)}. Draw it anew from audit.json with `registry-audit report`"
        )


def _instructions(archive: Archive, document: AuditDocument, checked: Checked) -> None:
    """Check that the commands are ours, because people run them."""
    stamped, signed = STAMP in archive.infos, ENVELOPE in archive.infos
    content = archive.read(CHECK)
    if content in check_texts(stamped=stamped, signed=signed):
        checked.holds.append("CHECK.txt has the commands that packs of this release have")
    elif any(content in check_texts(stamped=one, signed=other) for one in (False, True) for other in (False, True)):
        checked.broken.append(
            "CHECK.txt is of a pack with another time-stamp or signature: one was taken out of this pack, or put in"
        )
    elif document.tool.version == __version__:
        checked.broken.append("CHECK.txt has other commands than packs of this release have: do not run them")
    else:
        checked.not_checked.append(
            f"the commands of CHECK.txt: they are those of release {printable(document.tool.version)}, or somebody "
            "else's. Take them from the documentation"
        )


def _differing(statement: dict[str, Any], expected: dict[str, Any], *, is_own: bool) -> Iterator[str]:
    """Yield the names of the parts of the statement that differ from the expected one.

    Args:
        is_own: whether this release made the statement; otherwise the list of rules may differ.
    """
    said, due = statement["predicate"], expected["predicate"]
    policy = said.get("policy")
    rules = policy.get("rules") if isinstance(policy, dict) else None
    if not is_own and isinstance(rules, list) and all(isinstance(rule, str) for rule in rules):
        due["policy"]["rules"] = rules
    yield from (printable(key) for key in said.keys() | due.keys() if said.get(key) != due.get(key))
    yield from (
        printable(key)
        for key in statement.keys() | expected.keys()
        if key != "predicate" and statement.get(key) != expected.get(key)
    )


def _chain(archive: Archive, statement: dict[str, Any], document: AuditDocument, checked: Checked) -> set[str]:
    """Check the chain, and return the digests of the manifests that the audit's own entries name."""
    named: set[str] = set()
    audit_id = document.ledger.audit_id if document.ledger else ""
    recorded = Recorded(audit_id)

    def entries() -> Iterator[Entry]:
        for line in archive.lines(CHAIN):
            try:
                entry = Entry(**json.loads(line))
                as_written = chain_line(entry) == line
            except (ValueError, TypeError, RecursionError):
                as_written = False
            if not as_written:
                raise Broken("ledger.jsonl holds a line that is no entry")
            check_row(row_of(entry))  # before the entry's content is used
            recorded.add(entry)
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
        _recorded(recorded, document, head, checked)
    return named


def _recorded(recorded: Recorded, document: AuditDocument, head: Entry, checked: Checked) -> None:
    """Check that the report agrees with what the ledger recorded of its audit."""
    told = recorded.contradictions(document, head)
    checked.broken += told[:_MAX_TOLD]
    if len(told) > _MAX_TOLD:
        checked.broken.append(f"audit.json and the ledger contradict each other {len(told) - _MAX_TOLD} times more")
    if recorded.cannot_tell_when(document):
        checked.not_checked.append(
            f"when the audit was: audit.json is dated {printable(document.generated_at)}, and the ledger had a later "
            "date before the audit began, from a clock that was ahead"
        )
    if recorded.cannot_tell_where(document):
        checked.not_checked.append(
            f"whether {printable(document.registry.registry_uri)} is the registry that the ledger knows as "
            f"{printable(recorded.registry)}: the release that wrote the ledger did not record the address of an audit"
        )
    if not told:
        versions = f"{recorded.reading_count} version{'' if recorded.reading_count == 1 else 's'}"
        of = printable(recorded.registry)
        checked.holds.append(f"the report says what the ledger recorded of {versions} of the registry {of}")
        checked.notes.append(
            "the ledger does not record stages, aliases, addresses of models and the wording of findings: for these "
            "trust the maker"
        )


def _manifests(archive: Archive, document: AuditDocument, named: set[str], checked: Checked) -> None:
    wanted = {digest for row in document.versions for _, digest in subjects_of(row)}
    before = len(checked.broken)
    present = {name for name in archive.infos if name.startswith(("manifests/", "listings/"))}
    names = {digest.replace(":", "-") for digest in wanted}
    listings = {f"listings/{name}.sha256" for name in names if name.startswith("sha256-")}
    if present - listings != {f"manifests/{name}.txt" for name in names}:
        checked.broken.append("the lists of files are not those of the versions of the report")
        return
    sizes = {
        digest: found for digest in sorted(wanted) if (found := _one_manifest(archive, digest, checked)) is not None
    }
    for row in document.versions:
        for copy in (row.run_model, row.reg_model):
            if copy is not None and (copy.files, copy.bytes) != sizes.get(
                copy.manifest_digest or "", (copy.files, copy.bytes)
            ):
                label = printable(f"{row.name}/{row.version}")
                checked.broken.append(
                    f"audit.json gives {label} another number of files or bytes than its list of files"
                )
    if unknown := wanted - named:
        checked.broken.append(f"{len(unknown)} lists of files are named by no entry of this audit in the ledger")
    if len(checked.broken) == before:
        checked.holds.append(f"{len(wanted)} lists of files have the digests that statement and ledger name")


def _one_manifest(archive: Archive, digest: str, checked: Checked) -> tuple[int, int] | None:
    """Check a manifest, and return its numbers of files and bytes; None if it cannot be read."""
    name = digest.replace(":", "-")
    algorithm = digest.partition(":")[0]
    text = archive.read(f"manifests/{name}.txt")
    try:
        manifest: Manifest = parse_manifest(text.decode("ascii"), algorithm)
        found = manifest.digest()
    except UsageError as error:
        checked.not_checked.append(f"manifests/{name}.txt: {error.message}")
        return None
    except (AuditError, UnicodeDecodeError):
        checked.broken.append(f"manifests/{name}.txt is no list of files")
        return None
    if found != digest or manifest.text().encode("ascii") != text:
        checked.broken.append(f"manifests/{name}.txt does not have the digest that names it")
    listed = f"listings/{name}.sha256"
    if algorithm == "sha256" and (listed not in archive.infos or archive.read(listed) != sha256sum_listing(manifest)):
        checked.broken.append(f"{listed} is not the list of manifests/{name}.txt")
    return len(manifest.entries), sum(entry.size for entry in manifest.entries)


def _envelope(archive: Archive, statement: bytes, checked: Checked, key: Path | None) -> None:
    if ENVELOPE not in archive.infos:
        if key is not None:
            checked.not_checked.append("it is not signed, although the key of a signer was given")
        return
    try:
        name = must_be_signed_with(archive.read(ENVELOPE), statement, key)
    except UsageError:
        if key is not None:
            raise
        checked.not_checked.append("the signature: it needs the package securesystemslib")
        return
    except SignatureDoesNotHold as error:
        checked.broken.append(str(error))
        return
    if name is None:
        checked.not_checked.append("who signed the statement: give the signer's public key with --signer-key")
    else:
        checked.holds.append(f"the statement was signed with {name}")


def _stamp(
    archive: Archive, statement: bytes, document: AuditDocument, checked: Checked, certificates: Path | None
) -> None:
    if STAMP not in archive.infos:
        if certificates is not None:
            checked.not_checked.append("there is no time-stamp, although the certificates of an authority were given")
        checked.notes.append("no time-stamp: there is no proof of when the pack was made")
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
        valid_until = must_be_signed_by(stamp, statement, certificates)
    except StampDoesNotHold as error:
        checked.broken.append(str(error))
        return
    checked.holds.append(f"the authority says that the statement existed at {made:%Y-%m-%d %H:%M:%S} UTC")
    if valid_until < datetime.now(UTC):
        checked.notes.append(
            f"the authority's certificate was valid when it made the time-stamp, and has expired since, on "
            f"{valid_until:%Y-%m-%d}: ask the authority whether its key was safe until then"
        )
    _delay(made, document, checked)


def _delay(made: datetime, document: AuditDocument, checked: Checked) -> None:
    try:
        audited = datetime.fromisoformat(document.generated_at)
    except ValueError:
        return
    if audited.tzinfo is not None and abs((made - audited).total_seconds()) > 24 * 3600:
        checked.notes.append(f"the time-stamp is {abs((made - audited).days)} days away from the audit's own time")
