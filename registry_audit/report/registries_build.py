"""Builds the document of a comparison of two registries from its pairs."""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from registry_audit.audit.comparing import Kind
from registry_audit.audit.judging import Finding
from registry_audit.migration.both import Both
from registry_audit.migration.comparison import ModelRow as ComparedModel
from registry_audit.migration.differences import FieldDifference, FileDifference
from registry_audit.migration.facts import VersionFacts
from registry_audit.migration.pair_judging import PairRow, PairVerdict
from registry_audit.migration.registries_config import MigrationOptions
from registry_audit.migration.registry_reading import Side
from registry_audit.redact import redact_location
from registry_audit.registry.address import shown_address
from registry_audit.report.build_document import finding_rows, tool
from registry_audit.report.document import Registry
from registry_audit.report.registries_document import (
    FieldRow,
    FileRow,
    MigrationCoverage,
    MigrationDocument,
    MigrationOutcome,
    MigrationSummary,
    ModelRow,
    PairedRow,
    SideCoverage,
    SidedSizes,
    SideRow,
    Sides,
)
from registry_audit.report.registries_words import sentence
from registry_audit.report.write import RowFile
from registry_audit.rules import NOT_MIGRATED
from registry_audit.spool import Spool
from registry_audit.verdict import ExitStatus

_KINDS: dict[Kind, Literal["only_in_source", "only_in_target", "content"]] = {
    Kind.ONLY_LEFT: "only_in_source",
    Kind.ONLY_RIGHT: "only_in_target",
    Kind.CONTENT: "content",
    Kind.TYPE: "content",
}


class MigrationBuilder:
    """Takes every pair and every model, and then makes the document."""

    def __init__(self, options: MigrationOptions, *, directory: Path | None = None) -> None:
        """Start without rows.

        Args:
            directory: where rows are kept if they do not fit in memory.
        """
        self._options = options
        self._rows: Spool[PairedRow] = Spool(_encode, _decode, directory=directory)
        self._models: list[ModelRow] = []
        self._verdicts = Counter[PairVerdict](dict.fromkeys(PairVerdict, 0))
        self._rules = Counter[str]()
        self._found = self._incomplete = False
        self._proxied = 0
        self._bytes = [0, 0]
        self._first_read: list[str | None] = [None, None]
        self._trusted: tuple[list[str], list[str]] = [], []  # times of the last full readings of unread versions
        self._storages: tuple[set[int], set[int]] = set(), set()

    def add(self, row: PairRow) -> None:
        self._rows.append(paired_row(row))
        self._verdicts[row.verdict] += 1
        self._weigh(row.findings)
        self._found |= row.verdict is PairVerdict.MISMATCH
        self._incomplete |= row.verdict is PairVerdict.UNVERIFIABLE
        self._incomplete |= row.verdict is PairVerdict.NOT_MOVED and not self._options.in_place
        self._proxied += row.behind_proxy
        for index, facts in enumerate((row.source, row.target)):
            if facts is not None and (trusted := _trusted_since(facts)) is not None:
                self._trusted[index].append(trusted)
            if facts is not None and (read_at := _read_at(facts)) is not None:
                self._first_read[index] = min(read_at, self._first_read[index] or read_at)
            for copy in (facts.audit.run_model, facts.audit.reg_model) if facts else ():
                if copy is not None and hash(copy.identity) not in self._storages[index]:
                    self._storages[index].add(hash(copy.identity))
                    self._bytes[index] += copy.bytes_read

    def add_model(self, model: ComparedModel) -> None:
        self._models.append(
            ModelRow(
                source=model.source,
                target=model.target,
                source_versions=model.source_count,
                target_versions=model.target_count,
                renumbered=model.renumbered,
                metadata=_field_rows(model.fields),
                findings=finding_rows(model.findings),
            )
        )
        self._weigh(model.findings)

    def _weigh(self, findings: tuple[Finding, ...]) -> None:
        """Weigh findings. RA009 makes the result incomplete, never a failure.

        A loss is always a failure, whatever its severity.
        """
        self._rules.update(finding.rule for finding in findings)
        threshold = self._options.fail_on.rank
        self._found |= any(f.rule != "RA009" and f.severity.rank >= threshold for f in findings)
        self._found |= any(f.rule == NOT_MIGRATED.id for f in findings)
        self._incomplete |= any(f.rule == "RA009" for f in findings)

    def document(
        self, both: Both, *, generated_at: datetime | None = None, exit_status: ExitStatus | None = None
    ) -> MigrationDocument:
        """Make the document.

        Args:
            exit_status: exit status of a comparison that did not finish; otherwise it follows from the findings.
        """
        verdicts = {verdict: self._verdicts[verdict] for verdict in PairVerdict}
        complete, outcome = self._complete(both), self._outcome(both)
        if exit_status is not None:
            outcome = outcome.model_copy(update={"exit_status": int(exit_status)})
        return MigrationDocument(
            generated_at=(generated_at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            tool=tool(),
            source=_registry(both.source),
            target=_registry(both.target),
            options=self._options.reported(),
            outcome=outcome,
            summary=MigrationSummary(
                sentence=sentence(verdicts, in_place=self._options.in_place),
                complete=complete,
                verdicts=verdicts,
                findings={rule: self._rules[rule] for rule in sorted(self._rules)},
                behind_proxy=self._proxied,
            ),
            coverage=MigrationCoverage(
                source=self._coverage(both.source, len(both.models[0]), 0),
                target=self._coverage(both.target, len(both.models[1]), 1),
            ),
            models=tuple(self._models),
            versions=RowFile(self._rows),
        )

    def _complete(self, both: Both) -> bool:
        arrived = [PairVerdict.MATCH, PairVerdict.EQUIVALENT, PairVerdict.SKIPPED, PairVerdict.ONLY_IN_TARGET]
        if self._options.in_place:
            arrived.append(PairVerdict.NOT_MOVED)
        whole = both.source.listed.is_known and both.target.listed.is_known
        is_lost = self._rules[NOT_MIGRATED.id] > 0  # may be a model without versions, which has no row
        all_arrived = all(verdict in arrived for verdict, count in self._verdicts.items() if count)
        return whole and not is_lost and self._compared > 0 and all_arrived

    @property
    def _compared(self) -> int:
        passing = self._verdicts[PairVerdict.MATCH] + self._verdicts[PairVerdict.EQUIVALENT]
        passing += self._verdicts[PairVerdict.MISMATCH] + self._verdicts[PairVerdict.MISSING]
        return passing + (self._verdicts[PairVerdict.NOT_MOVED] if self._options.in_place else 0)

    def _outcome(self, both: Both) -> MigrationOutcome:
        whole = both.source.listed.is_known and both.target.listed.is_known
        if self._found:
            return MigrationOutcome(exit_status=int(ExitStatus.FINDINGS), state="findings")
        if self._incomplete or not whole or not self._compared:
            return MigrationOutcome(exit_status=int(ExitStatus.INCOMPLETE), state="incomplete")
        return MigrationOutcome(exit_status=int(ExitStatus.CLEAN), state="clean")

    def _coverage(self, side: Side, models: int, index: int) -> SideCoverage:
        listed, trusted = side.listed, self._trusted[index]
        return SideCoverage(
            models=models,
            versions=side.count,
            bytes_read=self._bytes[index],
            first_read_at=self._first_read[index],
            not_read=len(trusted),
            oldest_reading=min(trusted, default=None),
            prompts=None if listed.prompts is None else len(listed.prompts),
            listed_whole=listed.is_known,
            notes=listed.notes,
        )


def paired_row(row: PairRow) -> PairedRow:
    return PairedRow(
        source=_side_row(row.source),
        target=_side_row(row.target),
        found_by=row.pair.how,
        candidates=row.pair.candidate_count,
        told_apart_by=row.pair.told_apart_by,
        verdict=row.verdict,
        reason=row.reason,
        one_directory_down=row.pair.inner.directory if row.pair.inner else None,
        differences=tuple(map(_file_row, row.files)),
        metadata=_field_rows(row.fields),
        findings=finding_rows(row.findings),
    )


def _trusted_since(facts: VersionFacts) -> str | None:
    """Return when the older of two copies was last read in full, if one of them was not read now."""
    copies = (facts.audit.run_model, facts.audit.reg_model)
    return min((copy.trusted_since for copy in copies if copy and copy.trusted_since), default=None)


def _read_at(facts: VersionFacts) -> str | None:
    return f"{facts.audit.read_at[:19]}Z" if facts.audit.read_at else None


def _side_row(facts: VersionFacts | None) -> SideRow | None:
    if facts is None:
        return None
    version, copy = facts.version, facts.audit.reg_model or facts.audit.run_model
    return SideRow(
        name=version.name,
        version=version.version,
        status=version.status,
        stage=version.stage,
        aliases=version.aliases,
        run_id=version.run_id,
        verdict=facts.audit.verdict,
        root=(" + ".join(map(redact_location, copy.roots)) or None) if copy else None,
        manifest_digest=copy.manifest_digest if copy else None,
        files=copy.file_count if copy else None,
        bytes=copy.listed_bytes if copy else None,
        read_at=_read_at(facts),
        last_read_at=_trusted_since(facts),
    )


def _file_row(found: FileDifference) -> FileRow:
    return FileRow(
        path=found.path,
        kind=_KINDS[found.kind],
        expected_by=found.expected_by,
        fields=found.fields,
        sizes=SidedSizes(source=found.sizes[0], target=found.sizes[1]),
        digests=Sides(source=found.digests[0], target=found.digests[1]),
    )


def _field_rows(fields: tuple[FieldDifference, ...]) -> tuple[FieldRow, ...]:
    return tuple(FieldRow(field=field.field, source=field.source, target=field.target) for field in fields)


def _registry(side: Side) -> Registry:
    listed = side.listed
    return Registry(
        tracking_uri=shown_address(listed.tracking_uri),
        registry_uri=shown_address(listed.registry_uri),
        mlflow_server=listed.mlflow_server,
    )


def _encode(row: PairedRow) -> str:
    return json.dumps(row.model_dump(mode="json"))


def _decode(line: str) -> PairedRow:
    return PairedRow.model_validate(json.loads(line))
