"""`--liveness`: what can be said of a version without reading a byte, which is never that it passes."""

from registry_audit.audit.copies import Copy, CopyFailure, ModelCopy
from registry_audit.audit.copy_summary import summary_of
from registry_audit.audit.judging import VersionAudit, findings_of, location_problems, model_missing, run_problems
from registry_audit.model.listing import Problem
from registry_audit.printable import printable
from registry_audit.registry.resolve import ResolvedVersion
from registry_audit.verdict import Storage, Verdict

# What an audit of listings sees, and so may call resolved.
RULES_SEEN = frozenset({"RA003", "RA004", "RA005", "RA006", "RA011"})
NOT_READ = "no byte of it was read (--liveness)"


def judge_listed(resolved: ResolvedVersion, run: Copy, reg: Copy) -> VersionAudit:
    """The row of a version whose roots were listed: is it there, is it about to go, does it lead where it should?"""
    version, ready = resolved.version, resolved.version.status == "READY"
    copies = [copy for copy in (run, reg) if isinstance(copy, ModelCopy)]
    failures = [copy for copy in (run, reg) if isinstance(copy, CopyFailure) and copy.reason]
    one_storage = len(copies) == 2 and copies[0].identity == copies[1].identity
    empty = [copy for copy in (copies[:1] if one_storage else copies) if ready and not copy.has_mlmodel]
    problems = [
        *resolved.problems,
        *location_problems(resolved),
        *(Problem("RA009", f"{copy.role.words}: {copy.reason}") for copy in failures),
        *map(model_missing, empty),
    ]
    if resolved.run_model.through_version and resolved.storage is Storage.SEPARATE and not resolved.was_copied:
        source = printable(resolved.run_model.uri)
        problems.append(Problem("RA010", f"its source {source} now leads to another storage than its download URI"))
    problems += run_problems(resolved, any(copy.has_mlmodel for copy in copies))
    if not ready:
        problems.append(Problem("RA006", f"its status is {printable(version.status)}", blocks=False))
    blocking = [problem.message for problem in problems if problem.blocks]
    return VersionAudit(
        version=version,
        verdict=Verdict.UNVERIFIABLE if ready and blocking else Verdict.SKIPPED,
        reason=blocking[0] if ready and blocking else NOT_READ if ready else "its registration is not finished",
        storage=resolved.storage,
        run_model=summary_of(run) if isinstance(run, ModelCopy) else None,
        reg_model=summary_of(reg) if isinstance(reg, ModelCopy) else None,
        comparison=None,
        findings=findings_of(version, problems),
        retryable=any(copy.retryable for copy in failures),
        not_seen=tuple(copy.location.identity.shown for copy in failures if copy.not_seen and copy.location.identity),
        only_listed=True,
    )
