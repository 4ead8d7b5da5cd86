"""Accepts versions and waives findings. Each act is recorded with the name of a person, a time and a reason.

Only accepting changes a baseline. It refuses bytes that are not those of the last audit.
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal

from registry_audit.audit.comparing import Difference
from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.named_versions import check_version
from registry_audit.audit.session import Session
from registry_audit.errors import CouldNotVerify, NotFound, UsageError
from registry_audit.ledger.assess import baseline_differences
from registry_audit.ledger.audit_entries import accepted_draft
from registry_audit.ledger.chain import Draft, Entry, Kind
from registry_audit.ledger.entry_bodies import Accepted, Waived, body_of
from registry_audit.ledger.memory import Subject, last_reading, load_findings, today
from registry_audit.ledger.store import Ledger, LedgerReader
from registry_audit.model.manifest import Manifest
from registry_audit.printable import printable, storable
from registry_audit.rules import RULE_BY_ID, blocks_acceptance
from registry_audit.verdict import ExitStatus


class Moved(CouldNotVerify):
    """The bytes are not those of the last audit, which the person looked at. Nothing was accepted."""

    exit_status = ExitStatus.FINDINGS


@dataclass(frozen=True, slots=True)
class Acceptance:
    """This is what is accepted, or would be accepted, for one version."""

    name: str
    version: str
    kind: Literal["first", "changed", "unchanged", "gone"]
    digest: str | None  # of the manifest; None for a version that is gone
    file_count: int
    differences: tuple[Difference, ...]  # the left side is what was accepted before
    draft: Draft
    manifest: Manifest | None

    @property
    def changed_paths(self) -> tuple[str, ...]:
        return tuple(difference.path for difference in self.differences)

    @property
    def reference(self) -> str:
        return f"{self.name}/{self.version}"


def split_reference(reference: str) -> tuple[str, str]:
    """Split `NAME/V` into name and version; the name may contain slashes. Raises: UsageError: there is no version."""
    name, slash, version = reference.rpartition("/")
    if not slash or not name or not version:
        raise UsageError(f"'{printable(reference)}' is not a version: write NAME/V, for instance Wine-Quality/3")
    return name, version


def prepare(
    session: Session,
    ledger: Ledger,
    registry: str,
    references: tuple[str, ...],
    *,
    by: str,
    reason: str,
    despite: tuple[str, ...] = (),
) -> tuple[Acceptance, ...]:
    """Read each version once more and return what accepting it would mean. Nothing is written.

    Args:
        by: the person who answers for it.
        despite: rules whose findings of severity high or critical do not prevent the acceptance.

    Raises:
        UsageError: a version does not exist, was never audited, or is missing although no audit has found that it is
            gone; no name or reason is given; or a version has a serious finding that `despite` does not name.
        Moved: the bytes are not those of the last audit.
        CouldNotVerify: a version cannot be read in full.
    """
    if not reason.strip():
        raise UsageError("accepting needs a reason: --reason TEXT")
    if not by.strip():
        raise UsageError("accepting needs the name of who accepts: --by NAME")
    for rule in despite:
        if rule not in RULE_BY_ID:
            raise UsageError(f"--despite {printable(rule)}: there is no such rule")
    act = _Act(by, reason, frozenset(despite))
    return tuple(_prepare(session, ledger, registry, reference, act) for reference in references)


def accept(ledger: Ledger, registry: str, acceptances: tuple[Acceptance, ...]) -> Entry:
    """Record the prepared acceptances, all or none, and return the ledger's new head.

    Raises:
        Moved: another audit has read other bytes since then.
        LedgerError: the ledger cannot be written.
    """
    with ledger.writing(again=True) as writer:
        for acceptance in acceptances:
            if acceptance.manifest is not None:
                _must_be_as_audited(writer, registry, acceptance.name, acceptance.version, acceptance.manifest)
        writer.keep_manifests({a.manifest.digest(): a.manifest for a in acceptances if a.manifest is not None})
        return writer.append([acceptance.draft for acceptance in acceptances])


@dataclass(frozen=True, slots=True)
class _Act:
    by: str
    reason: str
    despite: frozenset[str]

    def must_name(self, audit: VersionAudit, label: str) -> set[str]:
        """Return the rules in spite of which the version is accepted. Raises: UsageError: one is not named."""
        serious = [finding for finding in audit.findings if blocks_acceptance(finding.rule, finding.severity)]
        for finding in serious:
            if finding.rule not in self.despite:
                raise UsageError(
                    f"{label} is not accepted: it has a finding of severity {finding.severity.value}, {finding.rule} "
                    f"{finding.name}: {finding.message}. To accept it all the same, add --despite {finding.rule}"
                )
        return {finding.rule for finding in serious}

    def must_name_known(self, reader: LedgerReader, registry: str, name: str, version: str) -> set[str]:
        """Check open findings in the ledger too: an audit with a signing key, for instance, may have found more.

        Raises:
            UsageError: there is a serious one that `despite` does not name.
        """
        serious = set[str]()
        for (of_name, number, rule, _), known in load_findings(reader, registry).open_findings.items():
            if (of_name, number) != (storable(name), version) or not blocks_acceptance(rule, known.severity):
                continue
            serious.add(rule)
            if rule not in self.despite:
                called = f"{rule} {RULE_BY_ID[rule].name}" if rule in RULE_BY_ID else rule
                raise UsageError(
                    f"{printable(name)}/{printable(version)} is not accepted: it has an open finding of severity "
                    f"{known.severity.value}, {called}, first seen on {known.first_seen[:10]}. Audit it again if that "
                    f"has ended; to accept it all the same, add --despite {rule}"
                )
        return serious


def _prepare(session: Session, ledger: Ledger, registry: str, reference: str, act: _Act) -> Acceptance:
    name, selector = split_reference(reference)
    try:
        audit = check_version(session, name, selector, None)
    except NotFound as error:
        with ledger.reading() as reader:
            name = session.connection.own_spelling(name)
            if _accepted(reader, registry, name, selector) is None:
                raise error from error.__cause__  # its cause suggests which version may have been meant
            return _gone(reader, registry, name, selector, act.by, act.reason)
    version = audit.version
    manifest = audit.reg_model.manifest if audit.reg_model else None
    if manifest is None or not manifest.entries:
        raise CouldNotVerify(f"{printable(reference)} cannot be accepted: {audit.reason or 'it was not read in full'}")
    despite = act.must_name(audit, printable(reference))
    differences: tuple[Difference, ...] = ()
    kind: Literal["first", "changed", "unchanged", "gone"] = "first"
    # Open the ledger only now: reading a large model takes hours, and an open view of the ledger blocks its writers.
    with ledger.reading() as reader:
        audit_id = _must_be_as_audited(reader, registry, version.name, version.version, manifest)
        before = _accepted(reader, registry, version.name, version.version)
        accepted = reader.manifest(before) if before is not None else None
        despite |= act.must_name_known(reader, registry, version.name, version.version)
    if accepted is not None:
        differences = baseline_differences(accepted, manifest)
        kind = "changed" if differences else "unchanged"
    draft = accepted_draft(registry, audit_id, audit, manifest, act.by, act.reason, sorted(despite))
    count = len(manifest.entries)
    return Acceptance(version.name, version.version, kind, manifest.digest(), count, differences, draft, manifest)


def _gone(reader: LedgerReader, registry: str, name: str, version: str, by: str, reason: str) -> Acceptance:
    label = f"{printable(name)}/{printable(version)}"
    # Only an audit lists all versions: the server that was just asked may be another one.
    if (storable(name), version, "RA011", "") not in load_findings(reader, registry).open_findings:
        raise UsageError(f"no audit has found that {label} is gone: audit it, look at the report, then accept")
    gone = Accepted(manifest=None, by=by, reason=reason)
    return Acceptance(name, version, "gone", None, 0, (), gone.draft(registry, storable(name), version), None)


def _accepted(reader: LedgerReader, registry: str, name: str, version: str) -> str | None:
    entries = reader.of_version(registry, storable(name), version, Kind.ACCEPTED)
    return body_of(entries[-1], Accepted).manifest if entries else None


def _must_be_as_audited(reader: LedgerReader, registry: str, name: str, version: str, manifest: Manifest) -> str:
    """Return the id of the last audit of the version, provided that it read exactly these bytes."""
    readings = [
        last_reading(entry) for entry in reader.of_version(registry, storable(name), version, Kind.READING)[-1:]
    ]
    label = f"{printable(name)}/{version}"
    if not readings:
        raise UsageError(f"{label} was never audited: audit it, look at the report, then accept")
    if readings[-1].manifest != manifest.digest():
        raise Moved(
            f"{label} is not accepted: its bytes are not those of the last audit ({readings[-1].at}); "
            "audit it again and look at what changed"
        )
    return readings[-1].audit_id


# A waiver says who answers for a finding. It ends on a given day, or when the bytes or the differences change.


def waive(
    ledger: Ledger,
    registry: str,
    name: str,
    version: str,
    rule: str,
    *,
    path: str | None,
    by: str,
    reason: str,
    until: str,
) -> Entry:
    """Waive the open findings of a rule on a version. With `path`, waive only the finding on that file.

    Args:
        until: the last day on which the waiver holds, YYYY-MM-DD in UTC.

    Raises:
        UsageError: there is no such rule or open finding, no name or reason is given, the day has passed, or the
            version was not read in full, so that there are no bytes to bind the waiver to.
    """
    if rule not in RULE_BY_ID:
        raise UsageError(f"there is no rule '{printable(rule)}': rules are {', '.join(sorted(RULE_BY_ID))}")
    if not reason.strip():
        raise UsageError("waiving needs a reason: --reason TEXT")
    if not by.strip():
        raise UsageError("waiving needs the name of who answers for it: --by NAME")
    name, label = storable(name), f"{printable(name)}/{printable(version)}"
    try:
        day = date.fromisoformat(until).isoformat()
    except ValueError as error:
        raise UsageError(f"--until '{printable(until)}' is not a day: write YYYY-MM-DD") from error
    with ledger.writing() as writer:
        if day < (present := max(today(), writer.at[:10])):
            raise UsageError(f"--until {day} has passed: in the time of the ledger, UTC, it is {present}")
        memory = load_findings(writer, registry)
        paths = sorted(key[3] for key in memory.open_findings if key[:3] == (name, version, rule))
        if not paths or (path is not None and path not in paths):
            raise UsageError(f"{label} has no open finding {rule}")
        readings = writer.of_version(registry, name, version, Kind.READING)
        seen = last_reading(readings[-1]).subject if readings else Subject(None, None, None)
        if not seen.is_whole:
            raise UsageError(
                f"{label} was not read in full by its last audit, and a waiver of {rule} would be tied to the bytes "
                "that were read. Make it readable, audit it, then waive"
            )
        if seen.differences is None:
            raise UsageError(f"{label} was last audited by an older release: audit it once more, then waive")
        waived = Waived(
            rule=rule,
            path=path,
            by=by,
            reason=reason,
            until=day,
            run_manifest=seen.run_manifest,
            manifest=seen.manifest,
            differences=seen.differences,
            paths=tuple(paths) if path is None else (path,),
        )
        return writer.append([waived.draft(registry, name, version)])
