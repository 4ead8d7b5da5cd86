"""Every way to a verdict on a pair. What cannot be compared is never the same."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.two_registries import compare_two, compared, down, facts, model, side

from registry_audit.errors import CouldNotVerify
from registry_audit.migration.facts import VersionFacts
from registry_audit.migration.registry_reading import Storages
from registry_audit.registry.registered_models import RegisteredModel
from registry_audit.registry.storage import MODELS, StorageIdentity, Surroundings, storage_identity
from registry_audit.report.registries_words import SYMBOLS, headline
from registry_audit.report.write import rendered
from registry_audit.verdict import Severity

PASSING = {"match", "equivalent"}


def _side_of(kind: str, version: int, place: str) -> VersionFacts:
    """A version in one of the states that an audit can find it in."""
    match kind:
        case "whole":
            return facts(version=version, files=model(f"weights {version}"), storage=place)
        case "migrated":
            return facts(version=version, files=model(f"weights {version}", run_id="new"), storage=place)
        case "other":
            return facts(version=version, files=model(f"other {version}"), storage=place)
        case "unread":
            return facts(version=version, unread="permission denied", storage=place)
        case "gone":
            return facts(version=version, gone=True, storage=place)
        case "down":
            return facts(version=version, files=down(model(f"weights {version}")), storage=place)
        case "pending":
            return facts(
                version=version, files=model(f"weights {version}"), storage=place, status="PENDING_REGISTRATION"
            )
        case "unlisted":
            return facts(version=version, unread="MLflow does not list it", storage=place, status="UNKNOWN")
    raise AssertionError(kind)


KINDS = ("whole", "migrated", "other", "unread", "gone", "down", "pending", "unlisted")


@settings(max_examples=300)
@given(
    ones=st.lists(st.sampled_from(KINDS), min_size=1, max_size=4),
    others=st.lists(st.sampled_from((*KINDS, "absent")), min_size=0, max_size=4),
    shared=st.booleans(),
)
def test_a_pass_needs_both_sides_whole_and_a_storage_of_its_own(
    ones: list[str], others: list[str], shared: bool
) -> None:
    source = [_side_of(kind, at, f"source/{at}") for at, kind in enumerate(ones, 1)]
    place = "source" if shared else "target"
    target = [_side_of(kind, at, f"{place}/{at}") for at, kind in enumerate(others, 1) if kind != "absent"]

    found = compared(source, target)

    sides = {one.version.version: one for one in target}
    for label, row in found.rows.items():
        if row.source is None:
            assert row.verdict == "only_in_target"
            continue
        mine = source[int(row.source.version) - 1]
        if row.verdict in PASSING:
            assert row.target is not None
            assert mine.content is not None
            assert mine.content == sides[row.target.version].content
            assert not shared
            assert row.findings == () or all(one.rule in ("RA022", "RA023") for one in row.findings)
        if ones[int(row.source.version) - 1] in ("unread", "unlisted", "gone"):
            assert row.verdict not in PASSING, label
    passed = all(row.verdict in PASSING | {"only_in_target"} for row in found.rows.values())
    if found.exit_status == 0:
        assert passed or {row.verdict for row in found.rows.values()} <= PASSING | {"only_in_target", "skipped"}
        assert PASSING & {row.verdict for row in found.rows.values()}
    if not passed and any(row.verdict in ("mismatch", "missing") for row in found.rows.values()):
        assert found.exit_status == 1
    if found.document.summary.complete:
        assert PASSING & {row.verdict for row in found.rows.values()}
        assert not {"mismatch", "missing", "unverifiable", "same_storage"} & {
            row.verdict for row in found.rows.values()
        }


@pytest.mark.parametrize(
    ("source", "target", "verdict", "exit_status"),
    [
        ("whole", "whole", "match", 0),
        ("whole", "migrated", "equivalent", 0),
        ("whole", "other", "mismatch", 1),
        ("whole", "unread", "unverifiable", 3),
        ("whole", "gone", "mismatch", 1),
        ("whole", "down", "mismatch", 1),
        ("unread", "whole", "unverifiable", 3),
        ("unread", "unread", "unverifiable", 3),
        ("gone", "gone", "unverifiable", 1),  # RA003 is a finding on either side
        ("gone", "whole", "unverifiable", 1),
        ("pending", "whole", "skipped", 1),  # another status
        ("pending", "pending", "skipped", 3),  # nothing was compared
        ("whole", "pending", "unverifiable", 1),
        ("unlisted", "whole", "unverifiable", 3),
        ("down", "down", "unverifiable", 1),
    ],
)
def test_the_verdict_on_two_of_one_number(source: str, target: str, verdict: str, exit_status: int) -> None:
    found = compared([_side_of(source, 1, "a")], [_side_of(target, 1, "b")])
    assert (found.verdicts, found.exit_status) == ({"Wine/1": verdict}, exit_status)
    assert found.document.summary.complete is (exit_status == 0)
    assert found.document.summary.sentence.startswith(f"{int(verdict == 'match')} of 1 version")


def test_nothing_compared_is_never_clean() -> None:
    assert compared([], []).exit_status == 3
    assert compared([], [facts(files=model())]).exit_status == 3
    assert compared([_side_of("pending", 1, "a")], [_side_of("pending", 1, "b")]).document.summary.complete is False


@pytest.mark.parametrize("fail_on", list(Severity))
def test_a_loss_is_never_clean_whatever_severity_fails(fail_on: str) -> None:
    whole, lost = facts(files=model("a")), facts(version=2, files=model("b"))
    empty = RegisteredModel("Empty", None, ())
    for source in (side([whole, lost]), side([whole], models=[empty])):
        found = compare_two(source, side([facts(files=model("a"))]), fail_on=fail_on)
        assert (found.exit_status, found.document.summary.complete) == (1, False)
        assert headline(found.document) == "Not complete"
        assert "<failure" in "".join(rendered(found.document, "junit"))


@pytest.mark.parametrize("which", ["source", "target"])
def test_a_listing_that_is_not_whole_is_never_clean(which: str) -> None:
    sides = {name: side([facts(files=model())], whole=name != which) for name in ("source", "target")}
    found = compare_two(sides["source"], sides["target"])
    assert (found.verdicts, found.exit_status) == ({"Wine/1": "match"}, 3)
    assert found.document.summary.complete is False


def test_one_storage_behind_both_is_not_moved() -> None:
    found = compared([_side_of("whole", 1, "a")], [_side_of("whole", 1, "a")])
    row = found.rows["Wine/1"]
    assert (row.verdict, found.exit_status) == ("same_storage", 3)
    assert str(row.reason).startswith("not moved: in the target it is still served from the source's storage")
    in_place = compared([_side_of("whole", 1, "a")], [_side_of("whole", 1, "a")], in_place=True)
    assert (in_place.verdicts, in_place.exit_status) == ({"Wine/1": "same_storage"}, 0)


def test_the_storage_of_another_version_of_the_source_is_not_moved_either() -> None:
    """Twins in the source: a target that was paired with the first may be served from the second's storage."""
    source = [facts(version=1, files=model(), storage="a"), facts(version=2, files=model(), storage="b")]
    target = [facts(version=1, files=model(), storage="b"), facts(version=2, files=model(), storage="c")]
    assert compared(source, target).verdicts == {"Wine/1": "same_storage", "Wine/2": "match"}


def test_links_to_the_files_of_another_version_of_the_source_are_not_moved_either() -> None:
    source = [facts(version=1, files=model(), places=("1", "2")), facts(version=2, files=model(), places=("3", "4"))]
    target = [facts(version=1, files=model(), places=("3", "9")), facts(version=2, files=model(), places=("5", "6"))]
    found = compared(source, target)
    assert found.verdicts == {"Wine/1": "same_storage", "Wine/2": "match"}
    assert "1 of its files are the source's files under other names" in str(found.rows["Wine/1"].reason)


def test_one_of_two_columns_that_was_forgotten_is_not_moved() -> None:
    from dataclasses import replace

    one, other = _side_of("whole", 1, "a"), _side_of("whole", 1, "b")
    partly = replace(other, storages=(*other.storages, *one.storages))
    row = compared([one], [partly]).rows["Wine/1"]
    assert row.verdict == "same_storage"
    assert "one of its two locations is still served from the source's storage" in str(row.reason)


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        ("mlflow-artifacts://one:5000/1/run/artifacts/model", "mlflow-artifacts://two:5000/1/run/artifacts/model", "@"),
        ("mlflow-artifacts://one:5000/1/run/artifacts/model", "/store/1/run/artifacts/model", "@"),
        ("s3://bucket/ml/1/run/artifacts/model", "mlflow-artifacts://two:5000/1/run/artifacts/model", "@"),
        ("mlflow-artifacts://one:5000/1/run/artifacts/model", "mlflow-artifacts://two:5000/1/new/artifacts/model", "="),
        ("mlflow-artifacts://one:5000/1/run/artifacts/model", "/store/1/new/artifacts/model", "="),
        ("/old/1/run/artifacts/model", "/new/1/run/artifacts/model", "="),
    ],
)
def test_one_path_behind_a_proxy_may_be_one_storage(one: str, other: str, verdict: str) -> None:
    """One server under two names, or two servers with one artifact destination: equal bytes prove nothing."""
    from dataclasses import replace

    sides = [
        replace(facts(files=model()), storages=(storage_identity(uri, "http://any:5000"),)) for uri in (one, other)
    ]
    found = compared(sides[:1], sides[1:])
    row = found.rows["Wine/1"]
    assert SYMBOLS[row.verdict] == verdict, row.reason
    assert found.exit_status == (0 if verdict == "=" else 3)
    explained = replace(
        facts(files=model(run_id="new")), storages=sides[1].storages
    )  # another MLmodel: then there are two
    assert compared(sides[:1], [explained]).verdicts == {"Wine/1": "equivalent"}


@pytest.mark.parametrize(
    ("places", "verdict", "said"),
    [
        (("1:1", "1:2", "1:3"), "same_storage", "the target's files are the source's files"),
        (("1:1", "2:2", "2:3"), "same_storage", "1 of its files are the source's files"),
        (("2:1", "2:2", "2:3"), "match", ""),
        ((), "match", ""),
    ],
)
def test_hard_links_are_no_copy(places: tuple[str, ...], verdict: str, said: str) -> None:
    source = facts(files=model(), places=("1:1", "1:2", "1:3"))
    row = compared([source], [facts(files=model(), places=places)]).rows["Wine/1"]
    assert row.verdict == verdict
    assert said in str(row.reason)


def test_changed_bytes_are_said_before_a_storage_that_was_not_moved() -> None:
    """A read that raced with a write: one storage, two contents."""
    found = compared([_side_of("whole", 1, "a")], [_side_of("other", 1, "a")])
    assert found.verdicts == {"Wine/1": "mismatch"}


def test_an_alias_or_production_raises_the_severity() -> None:
    lost = compared([facts(files=model(), stage="Production")], [])
    assert [finding.severity.value for finding in lost.rows["Wine/1"].findings] == ["critical"]
    plain = compared([facts(files=model())], [])
    assert [finding.severity.value for finding in plain.rows["Wine/1"].findings] == ["high"]


def test_prompts_are_counted_apart() -> None:
    source, target = side([facts(files=model())], prompts=("p", "q")), side([facts(files=model())], prompts=("p",))
    found = compare_two(source, target)
    assert (found.document.coverage.source.prompts, found.document.coverage.target.prompts) == (2, 1)
    assert found.exit_status == 0
    unknown = compare_two(side([facts(files=model())], prompts=None), side([facts(files=model())]))
    assert unknown.document.coverage.source.prompts is None


def test_every_unexplained_file_is_counted_and_some_are_named() -> None:
    many: dict[str, Any] = model() | {f"f{number}": b"1" for number in range(9)}
    row = compared([facts(files=model())], [facts(files=many)]).rows["Wine/1"]
    assert row.findings[0].message == "9 files differ from Wine/1 of the target: 'f0', 'f1', 'f2' and 6 more"


def test_what_is_raised_over_one_pair_is_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    versions = [facts(version=number, files=model(f"weights {number}", run_id="old")) for number in (1, 2)]
    there = [facts(version=1, files=model("weights 1")), facts(version=2, files=model("weights 2", run_id="old"))]
    monkeypatch.setattr("registry_audit.migration.differences._explained", broken)
    found = compared(versions, there)
    assert (found.verdicts, found.exit_status) == ({"Wine/1": "unverifiable", "Wine/2": "match"}, 3)


def test_what_both_sides_have_alike_is_one_finding() -> None:
    source = [facts(version=1, gone=True, storage="a", aliases=("champion",)), facts(version=2, gone=True, storage="b")]
    target = [facts(version=1, gone=True, storage="c"), facts(version=2, unread="denied", storage="d")]
    found = compared(source, target)
    what = "the storage of the run model holds no MLmodel at its root"
    told = {(one.rule, one.severity, one.message) for one in found.rows["Wine/1"].findings if one.rule != "RA022"}
    assert told == {("RA003", Severity.CRITICAL, f"in the source and in the target: {what}")}
    assert {(one.rule, one.message) for one in found.rows["Wine/2"].findings} == {
        ("RA003", f"in the source: {what}"), ("RA009", "in the target: denied"),
    }  # fmt: skip
    assert found.document.summary.findings["RA003"] == 2


def test_of_two_severities_the_higher_one_is_told() -> None:
    """An alias in the target alone."""
    source, target = facts(unread="denied", storage="a"), facts(unread="denied", storage="b", aliases=("champion",))
    told = [one for one in compared([source], [target]).rows["Wine/1"].findings if one.rule == "RA009"]
    assert [(one.severity, one.message) for one in told] == [
        (Severity.HIGH, "in the source and in the target: denied"),
    ]


def test_of_a_registry_that_is_not_listed_whole_nothing_is_called_missing() -> None:
    one, two, other = facts(version=1, files=model()), facts(version=2, files=model("b")), facts(files=model())
    found = compare_two(side([one, two]), side([other], whole=False))
    assert found.verdicts == {"Wine/1": "match", "Wine/2": "unverifiable"}
    assert "the target could not be listed whole" in str(found.rows["Wine/2"].reason)
    assert (found.exit_status, found.rules("Wine/2")) == (3, ["RA009"])
    found = compare_two(side([other], whole=False), side([one, two]))
    assert (found.exit_status, found.rules("+Wine/2")) == (3, ["RA009"])


AROUND = Surroundings("http://any:5000")


@pytest.mark.parametrize(
    ("source", "run_id", "may"),
    [
        ("runs:/r1/model", None, True),
        ("RUNS:/r1/a:b", None, True),
        ("runs:/r2/model", None, True),  # which may have the LoggedModel m-1
        ("runs:/r2/model", "r1", True),
        ("models:/m-1", None, True),
        ("models:/m-2", None, False),
        ("models:/Wine/1", None, True),
        ("models:/Wine@champion", None, True),
        ("/store/1/r1/artifacts/model", None, True),
        ("file:///store/1/r%31/artifacts/model", None, True),
        ("/store/1/r2/../r1/./artifacts/model", None, True),
        ("/store/1/r1/artifacts/other", None, False),
        ("/store/1//r1/artifacts/%25/model%2F", None, False),
        ("store/1/r1/artifacts/model", None, False),
        ("C:\\store\\1", None, False),
        ("s3://bucket/1/r2/artifacts/model", None, False),
        ("", None, False),
    ],
)
def test_which_versions_may_lie_in_a_storage(source: str, run_id: str | None, may: bool) -> None:
    storages = Storages()
    storages.update(
        storage_identity(f"/store/1/{path}", AROUND) for path in ("r1/artifacts/model", "models/m-1/artifacts")
    )
    assert storages.may_hold(facts(source=source, run_id=run_id).version, AROUND) is may


_PART = st.text(st.sampled_from("ab:%205.@=+ é"), min_size=1, max_size=6)
_ADDRESSES = (
    "{}", "file:{}", "file://{}", "FILE:{}", "s3://bucket{}", "s3://bucket{}?version=1", "gs://bucket{}#part",
    "mlflow-artifacts:{}", "mlflow-artifacts://other:1{}", "http://any:5000/base/api/2.0/mlflow-artifacts/artifacts{}",
    "abfss://box@account.dfs.core.windows.net{}", "dbfs:{}", "hdfs://user@host{}", "ftp://host{}",
)  # fmt: skip


@settings(max_examples=500)
@given(address=st.sampled_from(_ADDRESSES), parts=st.lists(_PART, min_size=1, max_size=4))
def test_a_version_may_lie_wherever_its_source_leads(address: str, parts: list[str]) -> None:
    source, storages = address.format(f"/{'/'.join(parts)}"), Storages()
    with suppress(CouldNotVerify):
        storages.update([storage_identity(source, AROUND)])
        assert storages.may_hold(facts(source=source, run_id=None).version, AROUND)


@given(address=st.sampled_from(_ADDRESSES), name=_PART, scheme=st.sampled_from(("runs", "RUNS")))
def test_a_version_may_lie_in_its_run_or_in_a_logged_model_of_its_run(address: str, name: str, scheme: str) -> None:
    for root in (f"/1/r1/artifacts/{name}", "/1/models/m-0a1/artifacts"):
        storages = Storages()
        with suppress(CouldNotVerify):
            storages.update([storage_identity(address.format(root), AROUND)])
            assert storages.may_hold(facts(source=f"{scheme}:/r1/{name}", run_id=None).version, AROUND)


def test_a_version_may_lie_in_its_registrys_own_copy() -> None:
    storages = Storages()
    storages.update([StorageIdentity(MODELS, "https://workspace", "", "Wine/1")])
    assert storages.may_hold(facts(source="dbfs:/elsewhere", run_id=None).version, AROUND)


@pytest.mark.parametrize("source", ["models:/Wine/1", "models:/Wine/Production", "models:/Wine@champion"])
def test_what_a_listed_model_leads_to_is_known_from_its_own_versions(source: str) -> None:
    """Such a source may lead in a circle: that of one model leaves no doubt about the migration of another one."""
    version = facts(source=source, run_id=None).version
    assert not Storages().may_hold(version, AROUND, {"Wine", "Beer"})
    assert Storages().may_hold(version, AROUND, {"Beer"})
    of_another_workspace = facts(source=source.replace("models:/", "models://prod@databricks/"), run_id=None).version
    assert Storages().may_hold(of_another_workspace, AROUND, {"Wine", "Beer"})


def test_a_directory_is_the_same_by_every_link_to_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    storages = Storages()
    storages.update([StorageIdentity.of_directory(tmp_path / "real" / "model")])
    assert storages.may_hold(facts(source=f"{tmp_path}/link/model", run_id=None).version, AROUND)


def test_a_run_that_could_not_be_asked_for_is_no_difference() -> None:
    """A server that is lost on the way makes the comparison incomplete, and finds nothing."""
    unread = facts(unread="the server closed the connection", run=None)
    found = compared([facts(files=model())], [unread])
    assert (found.exit_status, found.rules("Wine/1")) == (3, ["RA009"])
