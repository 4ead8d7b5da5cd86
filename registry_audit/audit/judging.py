"""Makes the verdict and the findings of one version: the rules applied to what was resolved, read and compared."""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from registry_audit.audit.comparing import Comparison, Difference
from registry_audit.audit.copies import (
    Copy,
    CopyFailure,
    CopySummary,
    ModelCopy,
    Role,
    same_under_another_name,
    summary_of,
)
from registry_audit.audit.signatures import SignatureView
from registry_audit.model.escapes import escapes
from registry_audit.model.listing import Problem
from registry_audit.model.mlmodel import MLMODEL, InvalidMLmodel, MLmodel, missing_parts, parse_mlmodel
from registry_audit.printable import printable
from registry_audit.registry.resolve import Lost, ResolvedVersion
from registry_audit.registry.runs import RunState
from registry_audit.registry.storage import DBFS
from registry_audit.registry.version import RegisteredVersion
from registry_audit.rules import RULE_BY_ID, RUN_DELETED
from registry_audit.verdict import BaselineStatus, Severity, Storage, Verdict

# The ledger's additions to a version's row.


@dataclass(frozen=True, slots=True)
class Event:
    """Describes an event of a version in the ledger, other than an audit that only read it."""

    at: str  # UTC
    kind: Literal["accepted", "found", "resolved", "waived"]
    what: str  # one sentence


@dataclass(frozen=True, slots=True)
class BaselineView:
    """Compares a version with its baseline. In `differences` left is the baseline, right is now."""

    status: BaselineStatus
    differences: tuple[Difference, ...] = ()
    accepted_at: str | None = None  # UTC
    accepted_by: str | None = None
    reason: str | None = None
    last_read_at: str | None = None  # UTC: when these bytes were last read in full
    accepted_now: bool = False  # by this audit itself (--accept-new)


# Whether `MLmodel` names the run and the model that the version names.

_LOGGED_MODEL_SOURCE = re.compile(r"models:/+(m-[0-9a-f]{32})(/|$)")


def lineage_problems(version: RegisteredVersion, copies: list[ModelCopy]) -> list[Problem]:
    """Return RA012 for each copy whose `MLmodel` names another run or model; nothing if either side names none."""
    problems: dict[str, Problem] = {}
    source = _LOGGED_MODEL_SOURCE.match(version.source)
    for copy in copies:
        content = copy.reading.mlmodel if copy.reading else None
        if content is None:
            continue
        try:
            mlmodel = parse_mlmodel(content)
        except InvalidMLmodel:
            continue
        named = (("run", mlmodel.run_id, version.run_id), ("model", mlmodel.model_id, source[1] if source else None))
        for what, in_mlmodel, in_registry in named:
            if in_mlmodel and in_registry and in_mlmodel != in_registry:
                message = f"MLmodel names {what} {printable(in_mlmodel)}, the version {printable(in_registry)}"
                problems[message] = Problem("RA012", message, "MLmodel", blocks=False)
    return list(problems.values())


# Two locations with equal files, one of them behind a server's proxy, may be the same storage.
_UNSEEN = "one of the two locations is behind a proxy, or may be a second name of the other: they may be one copy"


@dataclass(frozen=True, slots=True)
class Finding:
    rule: str
    severity: Severity
    message: str
    remedy: str
    path: str | None = None
    first_seen: str | None = None  # UTC; None without a ledger
    new: bool | None = None  # not open before this audit; None without a ledger
    waiver: "Waiver | None" = None

    @property
    def name(self) -> str:
        return RULE_BY_ID[self.rule].name


@dataclass(frozen=True, slots=True)
class Waiver:
    """Records that a person answers for a finding until a day, or until the bytes change again."""

    by: str
    reason: str
    until: str  # UTC date; the waiver holds through that day


@dataclass(frozen=True, slots=True)
class VersionAudit:
    """Holds everything that an audit says about one version."""

    version: RegisteredVersion
    verdict: Verdict
    reason: str | None  # why unverifiable or skipped
    storage: Storage
    run_model: CopySummary | None
    reg_model: CopySummary | None
    comparison: Comparison | None
    findings: tuple[Finding, ...]  # most severe first
    baseline: BaselineView | None = None  # None without a ledger
    retryable: bool = False  # the reason that kept it from being read may pass by itself: retryable
    not_seen: tuple[str, ...] = ()  # places where no model is, and nothing shows that one should be there
    only_listed: bool = False  # no byte was read: what reading would show is unknown
    of_one_copy: bool = False  # the other copy was not asked for: no verdict on the two
    deleted_meanwhile: bool = False  # the registry listed it, and deleted it while the audit ran
    signature: SignatureView | None = None  # None if no copy has a signature
    life: tuple[Event, ...] = ()  # the newest events, oldest first; empty without a ledger
    seconds: float | None = field(default=None, compare=False)  # duration of its steps

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        return self.findings

    @property
    def read_at(self) -> str | None:
        """Return when the first reading of a copy began, in UTC to the microsecond; None if no byte was read."""
        times = [copy.read_at for copy in (self.run_model, self.reg_model) if copy is not None and copy.read_at]
        return min(times, default=None)


def judge(resolved: ResolvedVersion, run: Copy, reg: Copy, comparison: Comparison | None) -> VersionAudit:
    """Judge a version whose copies were read as far as possible.

    Args:
        comparison: of the two copies; None if they are one storage or one of them could not be read.
    """
    version, storage = resolved.version, _storage(resolved, run, reg, comparison)
    ready = version.status == "READY"
    copies: tuple[Copy, ...] = (run, reg)
    roles = tuple(Role)
    if not ready and resolved.was_copied:  # the registry is still making its copy, or has given up
        comparison, copies, roles = None, (run,), (Role.RUN_MODEL,)
    problems = [*resolved.problems, *location_problems(resolved, roles)]
    for copy in copies:
        if isinstance(copy, CopyFailure):
            problems += [Problem("RA009", f"{copy.role.words}: {copy.reason}")] if copy.reason else []
        elif not (copy is reg and _stands_in(run, copy)):
            problems += _copy_problems(copy, ready)
    unexpected = comparison.unexpected if comparison else ()
    redirected = _redirected(resolved, run, reg) if unexpected else None
    if unexpected and comparison is not None:
        problems.append(Problem("RA001", _how_they_differ(comparison), blocks=False))
        problems += [redirected] if redirected else []
    readable = [copy for copy in copies if isinstance(copy, ModelCopy) and copy.has_mlmodel]
    moved = _forgotten_in_a_move(resolved, run, reg)
    problems += [moved] if moved else []
    problems += _below_its_root(version, run, reg)
    problems += run_problems(resolved, bool(readable))
    # If the source now leads to another model, that model naturally names another run.
    problems += lineage_problems(version, [copy for copy in readable if copy is reg or not redirected])
    if not ready:
        problems.append(Problem("RA006", f"its status is {printable(version.status)}", blocks=False))

    verdict, reason = verdict_of(
        problems,
        differ=unexpected != (),
        ready=ready,
        has_model=len(readable) > 0,
        storage=storage,
        comparison=comparison,
    )
    run_model, reg_model = _summaries(run, reg)
    return VersionAudit(
        version=version,
        verdict=verdict,
        reason=reason,
        storage=storage,
        run_model=run_model,
        reg_model=reg_model,
        comparison=comparison,
        findings=findings_of(version, problems),
        retryable=any(_is_retryable(copy) for copy in (run, reg)),
        not_seen=tuple(
            copy.location.identity.shown
            for copy in (run, reg)
            if isinstance(copy, CopyFailure) and copy.not_seen and copy.location.identity
        ),
    )


def _is_retryable(copy: Copy) -> bool:
    failed = copy if isinstance(copy, CopyFailure) else copy.reading
    return failed is not None and failed.retryable


def _summaries(run: Copy, reg: Copy) -> tuple[CopySummary | None, CopySummary | None]:
    run_model = summary_of(run) if isinstance(run, ModelCopy) else None
    if not isinstance(reg, ModelCopy):
        return run_model, None
    if run_model is not None and _stands_in(run, reg):
        return run_model, same_under_another_name(run_model, reg)
    return run_model, summary_of(reg)


def _stands_in(run: Copy, reg: ModelCopy) -> bool:
    """Say whether the registry model is the same reading as the run model, under its other name."""
    return isinstance(run, ModelCopy) and run.identity == reg.identity and run.reading is reg.reading


def unresolvable(version: RegisteredVersion, reason: str, *, retryable: bool = False) -> VersionAudit:
    """Return the row of a version that could not even be resolved."""
    findings = findings_of(version, [Problem("RA009", reason)])
    verdict, storage = Verdict.UNVERIFIABLE, Storage.UNKNOWN
    return VersionAudit(version, verdict, reason, storage, None, None, None, findings, retryable=retryable)


def problems_of_copy(resolved: ResolvedVersion, copy: Copy) -> list[Problem]:
    """Return the problems of one copy by itself, independent of any comparison."""
    version = resolved.version
    problems = [*resolved.problems, *location_problems(resolved, (copy.role,))]
    if isinstance(copy, CopyFailure):
        problems += [Problem("RA009", f"{copy.role.words}: {copy.reason}")] if copy.reason else []
    else:
        problems += _copy_problems(copy, version.status == "READY")
        problems += lineage_problems(version, [copy])
        problems += _below_its_root(version, copy, copy)
    problems += run_problems(resolved, isinstance(copy, ModelCopy) and copy.has_mlmodel)
    if version.status != "READY":
        problems.append(Problem("RA006", f"its status is {printable(version.status)}", blocks=False))
    return problems


def judge_one_copy(resolved: ResolvedVersion, copy: Copy) -> VersionAudit:
    """Return the row of a version if only one of its copies was asked for: there is no verdict on the pair."""
    summary = summary_of(copy) if isinstance(copy, ModelCopy) else None
    of_run = copy.role is Role.RUN_MODEL
    return VersionAudit(
        version=resolved.version,
        verdict=Verdict.SKIPPED,
        reason=f"only its {copy.role.words} was asked for",
        storage=resolved.storage,
        run_model=summary if of_run else None,
        reg_model=None if of_run else summary,
        comparison=None,
        findings=findings_of(resolved.version, problems_of_copy(resolved, copy)),
        of_one_copy=True,
    )


def verdict_of(
    problems: list[Problem],
    *,
    differ: bool,
    ready: bool,
    has_model: bool,
    storage: Storage,
    comparison: Comparison | None,
) -> tuple[Verdict, str | None]:
    """Return the verdict on two copies, and the reason if it is unverifiable or skipped."""
    if differ:
        return Verdict.MISMATCH, None
    # An ambiguous source is read in full, but never passes.
    blocking = [problem.message for problem in problems if problem.blocks or problem.rule == "RA015"]
    # Every way to be told less than everything ends here, before any verdict that passes.
    if ready and (blocking or not has_model):
        return Verdict.UNVERIFIABLE, blocking[0] if blocking else "there is no model to read"
    if not ready:
        hard = [problem.message for problem in problems if problem.blocks and problem.rule == "RA009"]
        if hard:
            return Verdict.UNVERIFIABLE, hard[0]
        return Verdict.SKIPPED, "its registration is not finished"
    if comparison is not None and comparison.not_compared:
        first = printable(comparison.not_compared[0])
        return Verdict.UNVERIFIABLE, f"{len(comparison.not_compared)} paths could not be compared, '{first}' among them"
    if storage is Storage.SHARED:
        return Verdict.SAME_STORAGE, _linked(comparison)
    if comparison is None or comparison.compared_count == 0:
        return Verdict.UNVERIFIABLE, "nothing could be compared"
    if storage is Storage.UNKNOWN and not comparison.differences:
        return Verdict.SAME_STORAGE, _UNSEEN
    return (Verdict.EQUIVALENT if comparison.differences else Verdict.MATCH), None


def _linked(comparison: Comparison | None) -> str | None:
    if comparison is None or not comparison.linked_count:
        return None
    count = comparison.linked_count
    return f"{count} files are one file under two names (hard links or a mount): these are not two copies"


def _storage(resolved: ResolvedVersion, run: Copy, reg: Copy, comparison: Comparison | None) -> Storage:
    """Say whether the copies share one storage: the result of resolving, corrected by what reading showed."""
    if comparison is not None and comparison.linked_count:
        return Storage.SHARED
    if isinstance(run, ModelCopy) and isinstance(reg, ModelCopy) and run.identity == reg.identity:
        return Storage.SHARED
    return resolved.storage


_REGISTER_AGAIN = "Register the model again from where its files are, as a new version, and delete this one."
# MLflow has `mlflow runs restore`, but no such command for LoggedModels, whose files `mlflow gc` removes, too.
_NO_WAY_BACK = "MLflow cannot restore a LoggedModel: register the version's files anew before the next `mlflow gc`."


def location_problems(resolved: ResolvedVersion, roles: tuple[Role, ...] = tuple(Role)) -> list[Problem]:
    problems = []
    lost = resolved.run_model.lost if Role.RUN_MODEL in roles else None
    if lost is Lost.VERSION:
        problems.append(Problem("RA010", f"its source {resolved.run_model.message}"))
    elif lost is Lost.LOGGED_MODEL:
        said = f"its source, a LoggedModel, was deleted: {resolved.run_model.message}"
        problems.append(Problem("RA004", said, remedy=_NO_WAY_BACK))
    elif lost is Lost.NOWHERE:
        problems.append(Problem("RA009", "run model: the version records no source", remedy=_REGISTER_AGAIN))
    elif lost is Lost.RUN and resolved.reg_model.lost is not Lost.RUN:
        problems.append(Problem("RA009", f"run model: {resolved.run_model.message}"))
    reg_lost = Role.REG_MODEL in roles and resolved.reg_model.lost is not None
    if reg_lost and resolved.version.status == "READY":
        problems.append(Problem("RA003", f"its download URI leads nowhere: {resolved.reg_model.message}"))
    for role, location in ((Role.RUN_MODEL, resolved.run_model), (Role.REG_MODEL, resolved.reg_model)):
        if role in roles and location.unknown is not None:
            remedy = _REGISTER_AGAIN if location.is_unreadable else None
            problems.append(Problem("RA009", f"{role.words}: {location.unknown}", remedy=remedy))
    return problems


def _copy_problems(copy: ModelCopy, ready: bool) -> list[Problem]:
    problems = list(copy.problems)
    if not copy.has_mlmodel and not ready:
        return problems
    if not copy.has_mlmodel:
        unsure = any(problem.path == "MLmodel" or problem.rule == "RA009" for problem in copy.listing.problems)
        return problems if unsure else [*problems, model_missing(copy)]
    read_count = len(copy.reading.entries) if copy.reading else 0
    if read_count < len(copy.listing.files) and not any(problem.blocks for problem in problems):
        # Every reader reports a problem for a file that it leaves out. If one ever does not, it is caught here.
        unread = f"{copy.role.words}: {read_count} of {len(copy.listing.files)} listed files were read"
        problems.append(Problem("RA009", unread))
    content = copy.reading.mlmodel if copy.reading else None
    if content is None:
        if not any(problem.path == "MLmodel" for problem in problems):
            problems.append(Problem("RA009", f"{copy.role.words}: MLmodel was not read", "MLmodel"))
        return problems
    try:
        mlmodel: MLmodel = parse_mlmodel(content)
    except InvalidMLmodel as error:
        return [*problems, Problem("RA007", f"{copy.role.words}: MLmodel {error}", "MLmodel", blocks=False)]
    sizes = {file.path: file.size or 0 for file in copy.listing.files}
    for entry in copy.reading.entries if copy.reading else ():
        sizes[entry.path] = entry.size
    promised = dict.fromkeys(copy.listing.unsafe, 1) | sizes  # unsafe entries exist: reported by their own rule
    for setting, outside in escapes(mlmodel):
        named = f"MLmodel names '{printable(outside)}' as {printable(setting)}, outside the model: it was not read"
        problems.append(Problem("RA013", f"{copy.role.words}: {named}", MLMODEL))
    for path, what in missing_parts(mlmodel, promised):
        if copy.listing.is_unknown(path.rstrip("/")):
            continue  # reported by the problem of what could not be looked at
        problems.append(Problem("RA007", f"{copy.role.words}: '{printable(path)}' {what}", path, blocks=False))
    return problems


def model_missing(copy: ModelCopy) -> Problem:
    """Return the problem of a copy without an MLmodel, or with an empty one."""
    empty = any(file.path == MLMODEL for file in copy.listing.files)
    missing = "holds an empty MLmodel" if empty else "holds no MLmodel at its root"
    what = missing if copy.listing.files else "is gone or empty"
    return Problem("RA003", f"the storage of the {copy.role.words} {what}: {printable(copy.identity.shown)}")


def _how_they_differ(comparison: Comparison) -> str:
    unexpected = comparison.unexpected
    first = ", ".join(f"'{printable(difference.path)}'" for difference in unexpected[:3])
    more = f" and {len(unexpected) - 3} more" if len(unexpected) > 3 else ""
    files = "file differs" if len(unexpected) == 1 else "files differ"
    return f"{len(unexpected)} {files} between the run model and the registry model: {first}{more}"


def _redirected(resolved: ResolvedVersion, run: Copy, reg: Copy) -> Problem | None:
    """Return RA010 if the copies are not only different bytes, but different models.

    That is so if the source's version was replaced, or if the two MLmodel files have different ids.
    """
    if resolved.run_model.through_version:
        other = f"its source {printable(resolved.run_model.uri)} now leads to another model than its download URI"
        return Problem("RA010", other, blocks=False)
    uuids = [_uuid(copy) for copy in (run, reg)]
    if None not in uuids and uuids[0] != uuids[1]:
        return Problem("RA010", "its source and its download URI lead to models with different ids", blocks=False)
    return None


def _forgotten_in_a_move(resolved: ResolvedVersion, run: Copy, reg: Copy) -> Problem | None:
    """Return RA010 if source and download URI name two places, and the model is at one of them only."""
    one, two = resolved.run_model.identity, resolved.reg_model.identity
    if resolved.was_copied or one is None or two is None or one == two or _is_gone(run) == _is_gone(reg):
        return None
    there = reg if _is_gone(run) else run
    if not isinstance(there, ModelCopy) or not there.has_mlmodel:
        return None
    places = f"its source leads to {printable(one.shown)}, its download URI to {printable(two.shown)}"
    return Problem("RA010", f"{places}, and only the {there.role.words} is there: was the other forgotten in a move?")


def _below_its_root(version: RegisteredVersion, run: Copy, reg: Copy) -> list[Problem]:
    """Return RA015 for a `runs:/RUN/NAME` that is only a LoggedModel: MLflow then serves it one directory down.

    This happens for `models:/`, and for a source that ends with a slash.

    Source: mlflow RunsArtifactRepository.download_artifacts.
    """
    if reg.role is Role.REG_MODEL and _is_logged_model_alone(reg):
        uri, asked = reg.location.uri, f"models:/{version.name}/{version.version}"
    elif run.role is Role.RUN_MODEL and _is_logged_model_alone(run) and run.location.roots[0].endswith("/"):
        uri = asked = run.location.uri
    else:
        return []
    message = (
        f"{printable(uri)} is a LoggedModel: for {printable(asked)} MLflow serves it one directory down, "
        "with no MLmodel at the root, and nobody can load it by its name"
    )
    return [Problem("RA015", message, blocks=False)]


def _is_logged_model_alone(copy: Copy) -> bool:
    """Say whether a copy is a LoggedModel that is not laid over a directory of the run."""
    storages = copy.location.storages
    return isinstance(copy, ModelCopy) and len(storages) == 2 and storages[0] != copy.identity == storages[1]


def _is_gone(copy: Copy) -> bool:
    if isinstance(copy, CopyFailure):
        return copy.not_seen
    return not copy.listing.files and not copy.listing.problems


def _uuid(copy: Copy) -> str | None:
    if not isinstance(copy, ModelCopy) or copy.reading is None or copy.reading.mlmodel is None:
        return None
    try:
        return parse_mlmodel(copy.reading.mlmodel).model_uuid
    except InvalidMLmodel:
        return None


def run_problems(resolved: ResolvedVersion, bytes_exist: bool) -> list[Problem]:
    """Return problems about runs and LoggedModels that `mlflow gc` has destroyed, or would destroy."""
    of_models = [
        Problem(
            "RA004",
            f"the LoggedModel {model_id}, which holds its files, was deleted",
            blocks=False,
            remedy=_NO_WAY_BACK,
        )
        for model_id in resolved.deleted_models
        if bytes_exist and resolved.run_model.lost is not Lost.LOGGED_MODEL  # which is reported already
    ]
    return of_models + _problems_of_its_run(resolved, bytes_exist)


def _problems_of_its_run(resolved: ResolvedVersion, bytes_exist: bool) -> list[Problem]:
    run_id = printable(resolved.version.run_id or "")
    match resolved.run:
        case RunState.DELETED if not any(problem.rule == RUN_DELETED.id for problem in resolved.problems):
            in_databricks = any(storage.kind == DBFS for storage in resolved.run_model.storages)
            end = "Databricks removes it for good" if in_databricks else "the next `mlflow gc`"
            remedy = f"Restore it before {end}: mlflow runs restore --run-id {shlex.quote(run_id)}"
            return [Problem("RA004", f"its run {run_id} is in the trash", blocks=False, remedy=remedy)]
        case RunState.MISSING if bytes_exist:
            return [Problem("RA005", f"its run {run_id} no longer exists", blocks=False)]
        case _:
            return []


def findings_of(version: RegisteredVersion, problems: list[Problem]) -> tuple[Finding, ...]:
    """Convert problems to findings, with severities raised for an alias or the Production stage."""
    exposed = bool(version.aliases) or version.stage == "Production"
    findings = []
    for problem in dict.fromkeys(replace(problem, blocks=True) for problem in problems):
        rule = RULE_BY_ID[problem.rule]
        severity = rule.severity.raised() if exposed else rule.severity
        remedy = problem.remedy or rule.remedy
        findings.append(Finding(rule.id, severity, problem.message, remedy, problem.path))
    return sorted_findings(findings)


def sorted_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda f: (-f.severity.rank, f.rule, f.path or "", f.message)))
