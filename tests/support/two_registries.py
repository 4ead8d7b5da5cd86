"""Two registries in memory: versions with the bytes behind them, compared as the command compares what it has read."""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

import yaml

from registry_audit.audit.copies import META_FILE, CopySummary, is_written_by_mlflow
from registry_audit.audit.judging import VersionAudit, findings_of
from registry_audit.audit.session import Session
from registry_audit.migration.both import begin_both
from registry_audit.migration.comparison import compare_sides
from registry_audit.migration.facts import Inner, VersionFacts, content_of, decoded
from registry_audit.migration.registries_config import MigrationOptions, parse_map
from registry_audit.migration.registry_reading import Listed, Side
from registry_audit.model.listing import Problem
from registry_audit.model.manifest import Manifest, ManifestEntry, manifest_of
from registry_audit.registry.registered_models import RegisteredModel
from registry_audit.registry.runs import RunState
from registry_audit.registry.storage import StorageIdentity
from registry_audit.registry.version import RegisteredVersion
from registry_audit.report.registries_build import MigrationBuilder
from registry_audit.report.registries_document import MigrationDocument, ModelRow, PairedRow
from registry_audit.verdict import Severity, Storage, Verdict

Files = Mapping[str, bytes]
_PLACES = itertools.count()


def model(content: str = "weights", **mlmodel: Any) -> dict[str, bytes]:
    """Files of a model; keywords become fields of its MLmodel."""
    fields = {"flavors": {"python_function": {"model_path": "model.pkl"}}, "run_id": "r1", "model_uuid": "u1"} | mlmodel
    return {"MLmodel": yaml.safe_dump(fields).encode(), "model.pkl": content.encode(), "requirements.txt": b"mlflow\n"}


def manifest(files: Files) -> Manifest:
    return manifest_of(
        tuple(
            ManifestEntry(path, len(data), f"sha256:{hashlib.sha256(data).hexdigest()}")
            for path, data in sorted(files.items())
        )
    )


def facts(
    name: str = "Wine",
    version: int | str = 1,
    files: Files | None = None,
    *,
    storage: str | None = None,
    unread: str | None = None,
    gone: bool = False,
    run: RunState | None = RunState.ACTIVE,
    places: tuple[str, ...] = (),
    **described: Any,
) -> VersionFacts:
    """One version as a registry has it.

    Args:
        files: what was read; models one directory down are found in it as an audit finds them.
        storage: where, if not in a place of its own.
        unread: why it could not be read.
        gone: whether there is no model where one should be.
    """
    values: dict[str, Any] = {"status": "READY", "stage": None, "aliases": (), "run_id": "r1", "source": "runs:/r1/m"}
    registered = RegisteredVersion(name, str(version), **(values | described))
    files = {} if files is None else files
    whole = manifest(files) if unread is None and not gone else None
    mlmodel, meta = files.get("MLmodel"), files.get(META_FILE)
    theirs = is_written_by_mlflow(meta, mlmodel)
    ready, has_model = registered.status == "READY", whole is not None and mlmodel is not None
    problems = [Problem("RA009", unread)] if unread else []
    if ready and not unread and not has_model:
        problems.append(Problem("RA003", "the storage of the run model holds no MLmodel at its root"))
    verdict = Verdict.SAME_STORAGE if has_model else Verdict.UNVERIFIABLE
    if not ready and not unread:
        verdict = Verdict.SKIPPED
    place = StorageIdentity("s3", "", "bucket", storage or f"own/{next(_PLACES)}")
    copy = CopySummary(
        uri=registered.source, roots=(place.shown,), identity=place.key, file_count=len(files),
        listed_bytes=sum(map(len, files.values())), fingerprint=None, manifest=whole,
        manifest_digest=whole.digest() if whole else None, was_read=True, files_read=len(files),
        bytes_read=sum(map(len, files.values())), trusted_since=None, directory=None, meta_is_mlflows=theirs,
    )  # fmt: skip
    reason = None if verdict is Verdict.SAME_STORAGE else unread or "there is no model to read"
    audit = VersionAudit(
        registered, verdict, reason, Storage.SHARED, copy, copy, None, findings_of(registered, problems)
    )
    text = decoded(mlmodel) if mlmodel is not None and whole else None
    return VersionFacts(
        audit=audit,
        run=run,
        storages=(place,),
        manifest=whole,
        mlmodel=text,
        content=content_of(whole, text, meta_is_mlflows=theirs) if whole else None,
        meta_is_mlflows=theirs,
        places=places,
        inner=_inner(files) if whole and mlmodel is None else (),
    )


def _inner(files: Files) -> tuple[Inner, ...]:
    found = []
    for path in files:
        directory, slash, last = path.rpartition("/")
        if slash and last == "MLmodel":
            inside = {
                p.removeprefix(f"{directory}/"): data for p, data in files.items() if p.startswith(f"{directory}/")
            }
            text, theirs = decoded(inside["MLmodel"]), is_written_by_mlflow(inside.get(META_FILE), inside["MLmodel"])
            content = content_of(manifest(inside), text, meta_is_mlflows=theirs)
            assert content is not None
            found.append(Inner(directory, content, len(inside)))
    return tuple(found)


def down(files: Files, directory: str = "model") -> dict[str, bytes]:
    """The same model as migration tools leave it of a `runs:/` source."""
    return {f"{directory}/{path}": data for path, data in files.items()}


@dataclass
class Compared:
    document: MigrationDocument
    rows: dict[str, PairedRow] = field(init=False)  # by the source's label, else by the target's with a +
    models: dict[str, ModelRow] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = {_label(row): row for row in self.document.versions}
        assert len(self.rows) == len(self.document.versions)
        self.models = {str(row.source or row.target): row for row in self.document.models}

    @property
    def verdicts(self) -> dict[str, str]:
        return {label: row.verdict.value for label, row in self.rows.items()}

    @property
    def pairs(self) -> dict[str, str | None]:
        found = {label: row.target for label, row in self.rows.items() if row.source is not None}
        return {label: f"{side.name}/{side.version}" if side else None for label, side in found.items()}

    @property
    def exit_status(self) -> int:
        return self.document.outcome.exit_status

    def rules(self, label: str) -> list[str]:
        return [finding.rule for finding in self.rows[label].findings]


def _label(row: PairedRow) -> str:
    if row.source is not None:
        return f"{row.source.name}/{row.source.version}"
    assert row.target is not None
    return f"+{row.target.name}/{row.target.version}"


def side(
    versions: Sequence[VersionFacts],
    *,
    models: Sequence[RegisteredModel] = (),
    prompts: tuple[str, ...] | None = (),
    whole: bool = True,
    any_case: bool = False,
) -> Side:
    ordered = sorted(versions, key=lambda one: one.version.key)
    listed = [one.version for one in ordered]
    named = {name: RegisteredModel(name, None, ()) for name in sorted({version.name for version in listed})}
    registered = named | {one.name: one for one in models}
    listing = Listed(
        "https://one.test", "https://one.test", "3.17.0", listed, registered, prompts, whole, any_case=any_case
    )
    found = Side(listing, listed)
    for position, one in enumerate(ordered):
        found.put(position, one)
    return found


def compare_two(source: Side, target: Side, mapping: str = "", **options: Any) -> Compared:
    """Both sides as the command compares them."""
    options["fail_on"] = Severity(options.get("fail_on", "medium"))
    chosen = MigrationOptions(names=parse_map(mapping, "map.txt"), **options)
    both = begin_both((source.listed, target.listed), chosen)
    both = replace(both, source=source, target=target)
    builder = MigrationBuilder(chosen)
    nobody = cast("tuple[Session, Session]", (None, None))  # asked only to name requirements that differ
    compare_sides(
        nobody, source, target, both.models, both.names,
        one_way=chosen.one_way, keep_row=builder.add, keep_model=builder.add_model,
    )  # fmt: skip
    return Compared(builder.document(both, generated_at=datetime(2026, 1, 2, tzinfo=UTC)))


def compared(
    source: Sequence[VersionFacts], target: Sequence[VersionFacts], mapping: str = "", **options: Any
) -> Compared:
    return compare_two(side(source), side(target), mapping, **options)
