"""Every way to a verdict and to a finding. Copies are values here; how they come about is tested elsewhere."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_audit.audit.comparing import Comparison, compare, within_one_registry
from registry_audit.audit.copies import Copy, CopyFailure, ModelCopy, Reading, Role
from registry_audit.audit.judging import VersionAudit, judge, problems_of_copy, unresolvable
from registry_audit.model.listing import ListedFile, Problem, make_listing
from registry_audit.model.manifest import ManifestEntry
from registry_audit.registry.resolve import Location, Lost, ResolvedVersion
from registry_audit.registry.runs import RunState
from registry_audit.registry.storage import StorageIdentity
from registry_audit.registry.version import RegisteredVersion
from registry_audit.rules import RULES
from registry_audit.verdict import Severity, Storage, Verdict

RUN, REG = Role.RUN_MODEL, Role.REG_MODEL
MLMODEL = b"flavors: {python_function: {model_path: model.pkl}}\nrun_id: r1\nmodel_uuid: u1\n"
WHOLE = {"MLmodel": MLMODEL, "model.pkl": b"weights"}
UNREAD = Problem("RA009", "'model.pkl' cannot be read: Permission denied", "model.pkl")


def location(role: Role, **said: object) -> Location:
    root = f"s3://bucket/{role.value}"
    return Location(root, **({"roots": (root,), "storages": (storage_at(role.value),)} | said))  # type: ignore[arg-type]


def storage_at(path: str) -> StorageIdentity:
    return StorageIdentity("s3", "", "bucket", path)


def lost(role: Role, what: Lost, message: str = "is gone") -> Location:
    return location(role, roots=(), storages=(), lost=what, message=message)


def resolved(
    run: Location | None = None,
    reg: Location | None = None,
    *,
    storage: Storage = Storage.SEPARATE,
    state: RunState = RunState.ACTIVE,
    problems: tuple[Problem, ...] = (),
    **version: object,
) -> ResolvedVersion:
    values = {"status": "READY", "stage": None, "aliases": (), "run_id": "r1", "source": "runs:/r1/model"} | version
    described = RegisteredVersion("Wine", "3", **values)  # type: ignore[arg-type]
    return ResolvedVersion(described, run or location(RUN), reg or location(REG), storage, state, problems)


def copy_of(
    role: Role,
    files: dict[str, bytes],
    *,
    identity: str = "",
    listed: tuple[Problem, ...] = (),
    unsafe: tuple[str, ...] = (),
    reading: tuple[Problem, ...] = (),
) -> ModelCopy:
    """A copy in which every file was read, but for those that a problem of the reading names."""
    failed = {problem.path for problem in reading}
    entries = tuple(
        ManifestEntry(path, len(data), f"sha256:{hashlib.sha256(data).hexdigest()}")
        for path, data in sorted(files.items())
        if path not in failed
    )
    mlmodel = files.get("MLmodel") if "MLmodel" not in failed else None
    listing = make_listing(
        [ListedFile(path, len(data)) for path, data in files.items()], unsafe=list(unsafe), problems=list(listed)
    )
    where = location(role)
    return ModelCopy(
        role,
        where,
        storage_at(identity) if identity else where.storages[0],
        listing,
        Reading(entries, mlmodel, reading, meta=files.get("registered_model_meta")),
    )


def judged(version: ResolvedVersion, run: Copy | None = None, reg: Copy | None = None) -> VersionAudit:
    run, reg = run or copy_of(RUN, WHOLE), reg or copy_of(REG, WHOLE)
    return judge(version, run, reg, comparison_of(run, reg))


def comparison_of(run: Copy, reg: Copy) -> Comparison | None:
    if isinstance(run, ModelCopy) and isinstance(reg, ModelCopy) and run.reading and reg.reading:
        return compare(run, reg, within_one_registry, by="digests")
    return None


def shared(version: ResolvedVersion, copy: Copy) -> VersionAudit:
    """One storage behind both, read once."""
    stand_in = replace(copy, role=REG) if isinstance(copy, ModelCopy) else CopyFailure(REG, copy.location, "")
    return judge(replace(version, storage=Storage.SHARED), copy, stand_in, None)


def found(audit: VersionAudit) -> list[tuple[str, str]]:
    return [(finding.rule, finding.message) for finding in audit.findings]


def rules(audit: VersionAudit) -> list[str]:
    return [finding.rule for finding in audit.findings]


# Verdicts.


def test_two_equal_copies_match() -> None:
    audit = judged(resolved())
    assert (audit.verdict, audit.reason, audit.storage, audit.findings) == (Verdict.MATCH, None, Storage.SEPARATE, ())
    assert audit.run_model is not None
    assert audit.reg_model is not None


def test_one_storage_is_never_a_match() -> None:
    assert shared(resolved(), copy_of(RUN, WHOLE)).verdict is Verdict.SAME_STORAGE


def test_what_reading_saw_corrects_what_resolving_said() -> None:
    one_root = judged(resolved(), copy_of(RUN, WHOLE, identity="x"), copy_of(REG, WHOLE, identity="x"))
    assert (one_root.verdict, one_root.storage) == (Verdict.SAME_STORAGE, Storage.SHARED)
    run, reg = copy_of(RUN, WHOLE), copy_of(REG, WHOLE)
    comparison = comparison_of(run, reg)
    assert comparison is not None
    one_file = judge(resolved(), run, reg, replace(comparison, linked_count=1))
    assert (one_file.verdict, one_file.storage) == (Verdict.SAME_STORAGE, Storage.SHARED)


def test_only_an_expected_difference_is_equivalent() -> None:
    audit = judged(
        resolved(), reg=copy_of(REG, WHOLE | {"registered_model_meta": b"model_name: Wine\nmodel_version: '1'\n"})
    )
    assert (audit.verdict, audit.findings) == (Verdict.EQUIVALENT, ())
    assert audit.comparison is not None
    assert [d.expected_by for d in audit.comparison.differences] == ["registered-model-meta"]


def test_a_difference_is_a_mismatch_even_where_the_rest_cannot_be_read() -> None:
    audit = judged(resolved(), reg=copy_of(REG, {"MLmodel": MLMODEL, "model.pkl": b"other"}, listed=(UNREAD,)))
    assert audit.verdict is Verdict.MISMATCH
    assert rules(audit) == ["RA001", "RA009"]


def test_what_could_not_be_looked_at_is_no_difference() -> None:
    """A directory that cannot be listed, and what the other side holds below it."""
    denied = Problem("RA009", "'data' cannot be listed: Permission denied", "data")
    run = copy_of(RUN, WHOLE | {"data/weights": b"w"})
    audit = judged(resolved(), run, copy_of(REG, WHOLE, listed=(denied,), unsafe=("data",)))
    assert (audit.verdict, rules(audit)) == (Verdict.UNVERIFIABLE, ["RA009"])


def test_ra015_an_ambiguous_source_never_passes() -> None:
    ambiguous = Problem("RA015", "both hold files", blocks=False)
    audit = shared(resolved(), copy_of(RUN, WHOLE, listed=(ambiguous,)))
    assert (audit.verdict, audit.reason, rules(audit)) == (Verdict.UNVERIFIABLE, "both hold files", ["RA015"])


def test_ra010_of_two_places_one_was_forgotten_in_a_move() -> None:
    not_seen = CopyFailure(RUN, location(RUN), "it is not on this machine", not_seen=True)
    for gone in (not_seen, copy_of(RUN, {})):
        audit = judged(resolved(), gone)
        assert not audit.verdict.passes
        (message,) = [finding.message for finding in audit.findings if finding.rule == "RA010"]
        assert "s3://bucket/run_model" in message
        assert "s3://bucket/reg_model" in message


def test_hard_links_are_said_and_are_no_second_copy() -> None:
    run, reg = copy_of(RUN, WHOLE), copy_of(REG, WHOLE)
    comparison = comparison_of(run, reg)
    assert comparison is not None
    audit = judge(resolved(), run, reg, replace(comparison, linked_count=1))
    assert audit.verdict is Verdict.SAME_STORAGE
    assert "hard links" in str(audit.reason)


def test_two_copies_without_a_comparison_are_unverifiable() -> None:
    audit = judge(resolved(), copy_of(RUN, WHOLE), copy_of(REG, WHOLE), None)
    assert (audit.verdict, audit.reason) == (Verdict.UNVERIFIABLE, "nothing could be compared")


@pytest.mark.parametrize("status", ["PENDING_REGISTRATION", "FAILED_REGISTRATION", "ready", "READY ", "UNKNOWN"])
@pytest.mark.parametrize("storage", list(Storage))
def test_a_registration_that_is_not_finished_never_passes(status: str, storage: Storage) -> None:
    audit = judged(resolved(status=status, storage=storage))
    assert (audit.verdict, audit.reason) == (Verdict.SKIPPED, "its registration is not finished")
    assert found(audit) == [("RA006", f"its status is {status}")]


def test_nothing_is_missed_in_what_is_not_finished() -> None:
    pending = resolved(reg=lost(REG, Lost.VERSION), status="PENDING_REGISTRATION")
    audit = judged(pending, copy_of(RUN, {}), CopyFailure(REG, pending.reg_model, ""))
    assert (audit.verdict, rules(audit)) == (Verdict.SKIPPED, ["RA006"])


def test_a_pending_version_that_is_denied_could_not_be_verified() -> None:
    audit = judged(resolved(status="PENDING_REGISTRATION"), CopyFailure(RUN, location(RUN), "permission denied"))
    assert (audit.verdict, audit.reason) == (Verdict.UNVERIFIABLE, "run model: permission denied")
    assert rules(audit) == ["RA009", "RA006"]


def test_equal_files_of_locations_that_may_be_one_storage_are_no_two_copies() -> None:
    audit = judged(resolved(storage=Storage.UNKNOWN))
    assert audit.verdict is Verdict.SAME_STORAGE
    assert audit.reason is not None and "they may be one copy" in audit.reason
    other = judged(resolved(storage=Storage.UNKNOWN), reg=copy_of(REG, WHOLE | {"model.pkl": b"other"}))
    assert other.verdict is Verdict.MISMATCH


def test_a_version_that_could_not_be_resolved() -> None:
    audit = unresolvable(resolved().version, "the server answered 503")
    assert (audit.verdict, audit.reason, audit.storage) == (
        Verdict.UNVERIFIABLE,
        "the server answered 503",
        Storage.UNKNOWN,
    )
    assert found(audit) == [("RA009", "the server answered 503")]


# Rules, in their order.


def test_ra001_names_the_files_that_differ() -> None:
    one = judged(resolved(), reg=copy_of(REG, WHOLE | {"model.pkl": b"other"}))
    assert one.verdict is Verdict.MISMATCH
    assert found(one) == [
        ("RA001", "1 file differs between the run model and the registry model: 'model.pkl'"),
    ]
    many = judged(resolved(), reg=copy_of(REG, WHOLE | {f"{n}\n": b"" for n in range(5)}))
    assert found(many) == [
        (
            "RA001",
            "5 files differ between the run model and the registry model: '0\\x0a', '1\\x0a', '2\\x0a' and 2 more",
        )
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "the storage of the run model is gone or empty: s3://bucket/run_model"),
        ({"model.pkl": b"weights"}, "the storage of the run model holds no MLmodel at its root: s3://bucket/run_model"),
        ({"data/MLmodel": MLMODEL}, "the storage of the run model holds no MLmodel at its root: s3://bucket/run_model"),
    ],
)
def test_ra003_no_model_in_one_storage(files: dict[str, bytes], message: str) -> None:
    audit = shared(resolved(), copy_of(RUN, files))
    assert (audit.verdict, audit.reason) == (Verdict.UNVERIFIABLE, message)
    assert [(f.rule, f.severity, f.message) for f in audit.findings] == [("RA003", Severity.CRITICAL, message)]


def test_ra003_two_empty_copies_are_not_equal() -> None:
    audit = judged(resolved(), copy_of(RUN, {}), copy_of(REG, {}))
    assert audit.verdict is Verdict.UNVERIFIABLE
    assert found(audit) == [
        ("RA003", "the storage of the registry model is gone or empty: s3://bucket/reg_model"),
        ("RA003", "the storage of the run model is gone or empty: s3://bucket/run_model"),
    ]


def test_ra003_the_download_uri_leads_nowhere() -> None:
    version = resolved(reg=lost(REG, Lost.VERSION, "models:/Wine/1 no longer exists"))
    audit = judged(version, reg=CopyFailure(REG, version.reg_model, ""))
    message = "its download URI leads nowhere: models:/Wine/1 no longer exists"
    assert (audit.verdict, audit.reason, found(audit)) == (Verdict.UNVERIFIABLE, message, [("RA003", message)])


def test_a_storage_that_cannot_be_listed_whole_is_not_called_empty() -> None:
    denied = Problem("RA009", "'.' cannot be listed: Permission denied", "")
    audit = shared(resolved(), copy_of(RUN, {}, listed=(denied,)))
    assert (audit.verdict, found(audit)) == (Verdict.UNVERIFIABLE, [("RA009", denied.message)])
    pipe = Problem("RA013", "'MLmodel' is a named pipe", "MLmodel")
    assert rules(shared(resolved(), copy_of(RUN, {}, listed=(pipe,), unsafe=("MLmodel",)))) == ["RA013"]


def test_ra004_a_run_in_the_trash_says_how_to_restore_it() -> None:
    audit = judged(resolved(state=RunState.DELETED))
    assert (audit.verdict, found(audit)) == (Verdict.MATCH, [("RA004", "its run r1 is in the trash")])
    assert audit.findings[0].remedy == ("Restore it before the next `mlflow gc`: mlflow runs restore --run-id r1")


def test_ra004_a_source_whose_logged_model_is_gone_cannot_be_verified() -> None:
    version = resolved(lost(RUN, Lost.LOGGED_MODEL, "models:/m-0 no longer exists"))
    audit = judged(version, CopyFailure(RUN, version.run_model, ""))
    message = "its source, a LoggedModel, was deleted: models:/m-0 no longer exists"
    assert (audit.verdict, audit.reason, found(audit)) == (Verdict.UNVERIFIABLE, message, [("RA004", message)])
    assert audit.findings[0].remedy.startswith("MLflow cannot restore a LoggedModel")


def test_ra005_a_missing_run_matters_only_while_the_bytes_exist() -> None:
    audit = shared(resolved(state=RunState.MISSING), copy_of(RUN, WHOLE))
    assert (audit.verdict, found(audit)) == (Verdict.SAME_STORAGE, [("RA005", "its run r1 no longer exists")])
    assert rules(shared(resolved(state=RunState.MISSING), copy_of(RUN, {}))) == ["RA003"]
    assert rules(shared(resolved(state=RunState.NONE, run_id=None), copy_of(RUN, WHOLE))) == []


@pytest.mark.parametrize(
    ("files", "message", "path"),
    [
        ({"MLmodel": b"a: b: c", "model.pkl": b"w"}, "run model: MLmodel is not valid YAML at line 1", "MLmodel"),
        ({"MLmodel": MLMODEL}, "run model: 'model.pkl' is named by MLmodel and missing", "model.pkl"),
        ({"MLmodel": MLMODEL, "model.pkl": b""}, "run model: 'model.pkl' is named by MLmodel and empty", "model.pkl"),
    ],
)
def test_ra007_is_said_beside_the_verdict(files: dict[str, bytes], message: str, path: str) -> None:
    audit = shared(resolved(), copy_of(RUN, files))
    assert audit.verdict is Verdict.SAME_STORAGE  # the bytes were read; that they are no model is a finding
    assert [(f.rule, f.severity, f.message, f.path) for f in audit.findings] == [
        ("RA007", Severity.HIGH, message, path)
    ]


def test_an_empty_mlmodel_is_as_good_as_none() -> None:
    audit = shared(resolved(), copy_of(RUN, {"MLmodel": b"", "model.pkl": b"w"}))
    message = "the storage of the run model holds an empty MLmodel: s3://bucket/run_model"
    assert (audit.verdict, found(audit)) == (Verdict.UNVERIFIABLE, [("RA003", message)])


def test_ra007_is_not_said_of_a_file_that_is_there_and_unsafe() -> None:
    link = Problem("RA013", "'model.pkl' is a symlink that leaves the model", "model.pkl")
    audit = shared(resolved(), copy_of(RUN, {"MLmodel": MLMODEL}, listed=(link,), unsafe=("model.pkl",)))
    assert (audit.verdict, found(audit)) == (Verdict.UNVERIFIABLE, [("RA013", link.message)])


@pytest.mark.parametrize("rule", ["RA008", "RA009", "RA013"])
@pytest.mark.parametrize("side", [RUN, REG])
def test_a_file_that_was_not_read_keeps_the_verdict_from_passing(rule: str, side: Role) -> None:
    problem = replace(UNREAD, rule=rule)
    copies = {role: copy_of(role, WHOLE, reading=(problem,) if role is side else ()) for role in Role}
    audit = judged(resolved(), copies[RUN], copies[REG])
    assert (audit.verdict, audit.reason, rules(audit)) == (Verdict.UNVERIFIABLE, UNREAD.message, [rule])


def test_ra009_from_where_the_two_copies_should_be() -> None:
    cases = {
        "run model: the version records no source": resolved(lost(RUN, Lost.NOWHERE)),
        "run model: runs:/r1 is gone": resolved(lost(RUN, Lost.RUN, "runs:/r1 is gone")),
        "run model: permission denied": resolved(location(RUN, roots=(), storages=(), unknown="permission denied")),
    }
    for message, version in cases.items():
        audit = judged(version, CopyFailure(RUN, version.run_model, ""))
        assert (audit.verdict, found(audit)) == (Verdict.UNVERIFIABLE, [("RA009", message)]), message
    version = resolved(reg=location(REG, roots=(), storages=(), unknown="denied"))
    audit = judged(version, reg=CopyFailure(REG, version.reg_model, ""))
    assert found(audit) == [("RA009", "registry model: denied")]
    asked = resolved(problems=(Problem("RA009", "could not find run r1: permission denied"),))
    assert judged(asked).verdict is Verdict.UNVERIFIABLE


def test_ra009_of_a_location_that_is_none_says_to_register_again() -> None:
    no_bucket = location(RUN, roots=(), storages=(), unknown="it names no bucket", is_unreadable=True)
    denied = location(RUN, roots=(), storages=(), unknown="permission denied")
    cases = ((resolved(no_bucket), True), (resolved(lost(RUN, Lost.NOWHERE)), True), (resolved(denied), False))
    for version, says_so in cases:
        (finding,) = judged(version, CopyFailure(RUN, version.run_model, "")).findings
        assert (finding.rule, finding.remedy.startswith("Register the model again")) == ("RA009", says_so)


def test_a_run_that_is_gone_with_both_copies_is_one_finding() -> None:
    version = resolved(lost(RUN, Lost.RUN), lost(REG, Lost.RUN, "runs:/r1/model no longer exists"))
    audit = judged(version, CopyFailure(RUN, version.run_model, ""), CopyFailure(REG, version.reg_model, ""))
    assert found(audit) == [("RA003", "its download URI leads nowhere: runs:/r1/model no longer exists")]


def test_ra009_a_copy_that_only_waited_to_be_read() -> None:
    waiting = replace(copy_of(RUN, WHOLE), reading=None)
    audit = judge(resolved(), waiting, CopyFailure(REG, location(REG), "time-out"), None)
    assert audit.verdict is Verdict.UNVERIFIABLE
    assert found(audit) == [
        ("RA009", "registry model: time-out"),
        ("RA009", "run model: 0 of 2 listed files were read"),
        ("RA009", "run model: MLmodel was not read"),
    ]


def test_ra010_a_source_whose_version_is_gone() -> None:
    version = resolved(lost(RUN, Lost.VERSION, "models:/Old/1 no longer exists"))
    audit = judged(version, CopyFailure(RUN, version.run_model, ""))
    message = "its source models:/Old/1 no longer exists"
    assert (audit.verdict, found(audit)) == (Verdict.UNVERIFIABLE, [("RA010", message)])


def test_ra010_a_source_that_leads_to_another_model_now() -> None:
    other = copy_of(RUN, WHOLE | {"MLmodel": MLMODEL.replace(b"r1", b"r2")})
    through = resolved(location(RUN, through_version=True))
    audit = judged(through, other)
    assert (audit.verdict, rules(audit)) == (Verdict.MISMATCH, ["RA001", "RA010"])  # RA012 would say it twice
    assert audit.findings[1].message == (
        "its source s3://bucket/run_model now leads to another model than its download URI"
    )
    assert rules(judged(through)) == []


def test_ra010_models_with_different_ids() -> None:
    other = copy_of(RUN, WHOLE | {"MLmodel": MLMODEL.replace(b"u1", b"u2")})
    assert found(judged(resolved(), other))[1] == (
        "RA010",
        "its source and its download URI lead to models with different ids",
    )
    for silent in (b"flavors: {a: {}}", b"flavors: ["):
        assert "RA010" not in rules(judged(resolved(), copy_of(RUN, WHOLE | {"MLmodel": silent})))


def test_ra012_mlmodel_names_another_run_or_model() -> None:
    other = {"MLmodel": b"flavors: {a: {}}\nrun_id: r2\nmodel_id: m-" + b"1" * 32}
    audit = shared(resolved(source="models:/m-" + "0" * 32), copy_of(RUN, other))
    assert audit.verdict is Verdict.SAME_STORAGE
    assert found(audit) == [
        ("RA012", f"MLmodel names model m-{'1' * 32}, the version m-{'0' * 32}"),
        ("RA012", "MLmodel names run r2, the version r1"),
    ]
    assert rules(shared(resolved(run_id=None, state=RunState.NONE), copy_of(RUN, other))) == []


def test_ra013_names_that_collide_do_not_hide_what_was_read() -> None:
    audit = judged(resolved(), copy_of(RUN, WHOLE | {"A": b"", "a": b""}), copy_of(REG, WHOLE | {"A": b"", "a": b""}))
    assert audit.verdict is Verdict.MATCH
    assert found(audit) == [
        ("RA013", "'A' and 'a' differ only by case or Unicode form"),
    ]


# Severity and order.


@pytest.mark.parametrize(
    ("exposure", "severities"),
    [
        ({}, [Severity.MEDIUM, Severity.LOW]),
        ({"aliases": ("champion",)}, [Severity.HIGH, Severity.MEDIUM]),
        ({"stage": "Production"}, [Severity.HIGH, Severity.MEDIUM]),
        ({"stage": "Production", "aliases": ("champion",)}, [Severity.HIGH, Severity.MEDIUM]),
        ({"stage": "Staging"}, [Severity.MEDIUM, Severity.LOW]),
    ],
)
def test_an_alias_or_production_raises_by_one_step(exposure: dict[str, object], severities: list[Severity]) -> None:
    named = copy_of(RUN, WHOLE | {"MLmodel": MLMODEL.replace(b"r1", b"r2")})
    audit = shared(resolved(state=RunState.MISSING, **exposure), named)
    assert [(f.rule, f.severity) for f in audit.findings] == list(zip(["RA012", "RA005"], severities, strict=True))


def test_critical_stays_critical() -> None:
    assert shared(resolved(aliases=("a",)), copy_of(RUN, {})).findings[0].severity is Severity.CRITICAL


def test_each_problem_is_said_once_and_the_worst_first() -> None:
    twice = Problem("RA013", "'x' is a socket", "x")
    audit = judged(
        resolved(state=RunState.DELETED, status="FAILED_REGISTRATION"),
        copy_of(RUN, WHOLE, listed=(twice,), unsafe=("x",)),
        copy_of(REG, WHOLE | {"model.pkl": b"other"}, listed=(replace(twice, blocks=False),), unsafe=("x",)),
    )
    assert rules(audit) == ["RA001", "RA004", "RA013", "RA006"]
    assert [f.name for f in audit.findings] == ["run-registry-mismatch", "run-deleted", "unsafe-entry", "not-ready"]


def test_problems_of_one_copy_leave_out_those_of_the_other() -> None:
    version = resolved(lost(RUN, Lost.VERSION), lost(REG, Lost.VERSION), status="FAILED_REGISTRATION")
    run = problems_of_copy(version, CopyFailure(RUN, version.run_model, ""))
    reg = problems_of_copy(version, CopyFailure(REG, version.reg_model, "time-out"))
    assert [problem.rule for problem in run] == ["RA010", "RA006"]
    assert [problem.message for problem in reg] == ["registry model: time-out", "its status is FAILED_REGISTRATION"]
    whole = problems_of_copy(resolved(run_id="r2", state=RunState.DELETED), copy_of(RUN, WHOLE))
    assert [problem.rule for problem in whole] == ["RA012", "RA004"]


# Never a false pass.

contents = st.dictionaries(st.sampled_from(["MLmodel", "model.pkl", "data/x"]), st.sampled_from([MLMODEL, b"", b"w"]))
blocking_rules = st.sampled_from(["RA003", "RA008", "RA009", "RA010", "RA013"])


@st.composite
def problems(draw, paths: list[str]) -> tuple[Problem, ...]:
    """What stands for files that were not read: a problem that blocks, always."""
    unread = draw(st.lists(st.sampled_from(paths), unique=True)) if paths else []
    return tuple(Problem(draw(blocking_rules), f"{path} was not read", path) for path in unread)


@st.composite
def copies(draw, role: Role, identity: str = "") -> Copy:
    kind = draw(st.sampled_from(["read", "read", "read", "unread", "failed"]))
    if kind == "failed":
        return CopyFailure(role, location(role), draw(st.sampled_from(["time-out", "permission denied"])))
    files = draw(contents)
    listed = tuple(
        Problem(draw(blocking_rules), f"problem {n}", None, draw(st.booleans())) for n in range(draw(st.integers(0, 1)))
    )
    copy = copy_of(role, files, identity=identity, listed=listed, reading=draw(problems(sorted(files))))
    return replace(copy, reading=None) if kind == "unread" else copy


@st.composite
def versions(draw, storage: st.SearchStrategy[Storage]) -> ResolvedVersion:
    return resolved(
        storage=draw(storage),
        state=draw(st.sampled_from(list(RunState))),
        status=draw(st.sampled_from(["READY", "READY", "PENDING_REGISTRATION", "FAILED_REGISTRATION", ""])),
        problems=draw(st.sampled_from([(), (), (Problem("RA009", "could not find run r1: denied"),)])),
    )


def must_be_read_whole(copy: Copy) -> None:
    assert isinstance(copy, ModelCopy)
    assert copy.has_mlmodel
    assert copy.manifest is not None, "not every listed file was read, or something blocks"


def must_be_earned(audit: VersionAudit, version: ResolvedVersion, run: Copy, reg: Copy) -> None:
    """A pass vouches for every byte of both copies."""
    if not audit.verdict.passes:
        return
    assert version.version.status == "READY"
    assert not any(problem.blocks for problem in version.problems)
    for copy in (run, reg):
        must_be_read_whole(copy)
    if audit.verdict is not Verdict.SAME_STORAGE:
        assert audit.comparison is not None
        assert audit.comparison.compared_count > 0
        assert audit.comparison.unexpected == ()
        assert audit.storage is not Storage.SHARED
    if audit.verdict is Verdict.MATCH:
        assert audit.storage is Storage.SEPARATE
        assert audit.comparison is not None
        assert audit.comparison.differences == ()


@settings(max_examples=500)
@given(versions(st.sampled_from([Storage.SEPARATE, Storage.UNKNOWN])), copies(RUN), copies(REG), st.booleans())
def test_two_copies_never_pass_unread(version: ResolvedVersion, run: Copy, reg: Copy, same: bool) -> None:
    if same and isinstance(run, ModelCopy):
        reg = replace(run, role=REG, location=location(REG), identity=location(REG).storages[0])
    must_be_earned(judged(version, run, reg), version, run, reg)


@settings(max_examples=200)
@given(versions(st.just(Storage.SHARED)), copies(RUN))
def test_one_storage_never_passes_unread(version: ResolvedVersion, copy: Copy) -> None:
    must_be_earned(shared(version, copy), version, copy, copy)


def test_one_storage_that_was_read_twice_must_be_read_whole_twice() -> None:
    """With --download-dir each copy is fetched by itself, also where both are one storage."""
    version = resolved(storage=Storage.SHARED)
    run = copy_of(RUN, WHOLE, identity="x")
    reg = copy_of(REG, WHOLE, identity="x", reading=(replace(UNREAD, rule="RA008"),))
    audit = judged(version, run, reg)
    assert (audit.verdict, rules(audit)) == (Verdict.UNVERIFIABLE, ["RA008"])


def test_a_listed_file_that_nobody_read_and_nobody_complained_of() -> None:
    run = copy_of(RUN, WHOLE)
    assert run.reading is not None
    half = replace(run, reading=replace(run.reading, entries=run.reading.entries[:1]))
    assert half.manifest is None
    assert shared(resolved(), half).verdict is Verdict.UNVERIFIABLE


def test_every_rule_of_one_version_is_tested_here() -> None:
    # Of the ledger, of signatures, and of a comparison of two registries.
    others = {"RA002", "RA011", "RA014", "RA020", "RA021", "RA022", "RA023", "RA024"}
    text = Path(__file__).read_text(encoding="utf-8")
    assert {rule.id for rule in RULES if f'"{rule.id}"' not in text} <= others
