"""`--quick` on a store whose listing tells changes: no bytes are read, and no overwrite is missed."""

import json
import os
from pathlib import Path

import pytest
from support import damage
from support.auditing import Audited, Auditor
from support.ledgers import registry_audit, tamper
from support.registry import Registered, Registry
from support.servers import MlflowServer

from registry_audit.ledger.chain import Draft, Entry, Kind, link
from registry_audit.ledger.connecting import open_ledger

CLEAN, FINDINGS, USAGE = 0, 1, 2


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("REGISTRY_AUDIT_HOME", str(tmp_path / "home"))
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def registry(mlflow_local: MlflowServer) -> Registry:
    return Registry(mlflow_local)


@pytest.fixture(params=[False, True], ids=["shared", "separate"])
def version(request: pytest.FixtureRequest, registry: Registry) -> Registered:
    return registry.add(separate=request.param)


@pytest.fixture
def run(audit: Auditor, mlflow_local: MlflowServer, version: Registered, ledger: str):  # type: ignore[no-untyped-def]
    def audited(*arguments: str) -> Audited:
        return audit(mlflow_local.uri, "--model", version.name, "--ledger", ledger, *arguments)

    return audited


def bytes_read(audited: Audited) -> int:
    count: int = audited.document["coverage"]["bytes_read"]
    return count


def mlmodel_bytes(registry: Registry, version: Registered) -> int:
    locations = {version.run_location, version.reg_location}
    return sum(len(registry.server.artifacts.files(location)["MLmodel"]) for location in locations)


def test_nothing_but_mlmodel_is_read(run, registry: Registry, version: Registered) -> None:  # type: ignore[no-untyped-def]
    full = run("--accept-new")
    quick = run("--quick")
    assert (quick.exit_status, quick.row["baseline"]) == (CLEAN, "not_read")
    assert quick.row["last_read_at"] is not None
    assert (quick.document["coverage"]["not_read"], full.document["coverage"]["not_read"]) == (1, 0)
    assert bytes_read(quick) == mlmodel_bytes(registry, version) < bytes_read(full)
    # A quick audit renews nothing: the age is that of the last full reading.
    assert run("--quick").row["last_read_at"] == quick.row["last_read_at"]
    whole = run()
    assert (whole.row["baseline"], whole.row["last_read_at"], bytes_read(whole)) == (
        "unchanged",
        None,
        bytes_read(full),
    )


def test_the_first_quick_audit_reads_everything(run) -> None:  # type: ignore[no-untyped-def]
    first = run("--quick", "--accept-new")
    assert (first.row["baseline"], first.document["coverage"]["not_read"]) == ("new", 0)
    assert bytes_read(first) > 7_000
    assert run("--quick").row["baseline"] == "not_read"


def test_an_overwrite_of_the_same_size_with_its_time_put_back_is_seen(  # type: ignore[no-untyped-def]
    run, registry: Registry, version: Registered
) -> None:
    run("--accept-new")
    for location in sorted({version.run_location, version.reg_location}):
        damage.flip_byte(registry.server.artifacts.path(location))  # proves that size and times are as they were
    quick = run("--quick")
    assert (quick.exit_status, quick.row["baseline"], quick.rules) == (FINDINGS, "changed", {"RA002"})
    # What a quick audit found changed stays changed when the next one trusts that reading.
    again = run("--quick")
    assert (again.exit_status, again.row["baseline"]) == (FINDINGS, "changed")
    assert bytes_read(again) == mlmodel_bytes(registry, version)


@pytest.mark.parametrize("kind", [damage.add_file, damage.delete_file, damage.rename_file, damage.swap_two_files])
def test_other_changes_are_seen(run, registry: Registry, version: Registered, kind: damage.Damage) -> None:  # type: ignore[no-untyped-def]
    run("--accept-new")
    kind(registry.server.artifacts.path(version.reg_location))
    quick = run("--quick")
    assert (quick.exit_status, quick.row["baseline"]) == (FINDINGS, "changed")


def test_what_mlflow_writes_into_a_served_model_is_still_expected(  # type: ignore[no-untyped-def]
    run, registry: Registry, version: Registered
) -> None:
    """The rule that explains the file looks into it."""
    place = registry.server.artifacts.path(version.reg_location) / "registered_model_meta"
    place.write_text(f"model_name: '{version.name}'\nmodel_version: '1'\n", encoding="utf-8")
    full, quick = run("--accept-new"), run("--quick")
    assert quick.row["verdict"] == full.row["verdict"] != "mismatch"
    assert (quick.exit_status, quick.rules) == (CLEAN, set())
    place.write_text("import os", encoding="utf-8")
    assert run("--quick").exit_status == FINDINGS


def test_a_touched_file_is_read_again_and_unchanged(run, registry: Registry, version: Registered) -> None:  # type: ignore[no-untyped-def]
    run("--accept-new")
    os.utime(registry.server.artifacts.path(version.reg_location) / damage.TOP_FILE)
    assert run("--quick").row["baseline"] == "unchanged"
    assert run("--quick").row["baseline"] == "not_read"


def _back_date(ledger: str, day: str) -> None:
    """The same ledger, written on an earlier day."""
    opened = open_ledger(ledger, create=False)
    with opened.reading() as reader:
        entries = list(reader.all_entries())
    aged: list[Entry] = []
    for entry in entries:
        body = {
            key: value for key, value in json.loads(entry.body).items() if key != "baselines"
        }  # stated of other entries
        if "storages" in body:
            body["storages"] = [[*storage[:3], f"{day}T00:00:00Z"] for storage in body["storages"]]
        draft = Draft(Kind(entry.kind), entry.registry, entry.name, entry.version, entry.audit_id, body)
        aged += link([draft], after=aged[-1] if aged else None, at=f"{day}T00:00:00Z")
    tamper(ledger, "DELETE FROM entries")
    opened.close()
    opened = open_ledger(ledger, create=True, restore=True)  # that has not read those entries
    with opened.writing() as writer:
        writer.append_verbatim(aged)
    opened.verify()
    opened.close()


@pytest.mark.parametrize(("days", "read"), [("1", True), ("20000", False)])
def test_full_every(  # type: ignore[no-untyped-def]
    run, ledger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: str, read: bool
) -> None:
    run("--accept-new")
    _back_date(ledger, "2020-02-02")
    monkeypatch.setenv("REGISTRY_AUDIT_HOME", str(tmp_path / "another-machine"))  # that never saw the later days
    quick = run("--quick", "--full-every", days)
    assert quick.row["baseline"] == ("unchanged" if read else "not_read")
    assert quick.row["last_read_at"] == (None if read else "2020-02-02T00:00:00Z")
    assert run("--quick", "--full-every", "1").row["baseline"] == ("not_read" if read else "unchanged")


def test_contradictions_are_refused_before_any_work(run, ledger: str) -> None:  # type: ignore[no-untyped-def]
    assert run("--full-every", "3").exit_status == USAGE
    assert run("--quick", "--ledger", "none").exit_status == USAGE
    assert run("--accept-new", "--ledger", "none").exit_status == USAGE
    for part in ("0/3", "4/3", "1", "a/b"):
        assert run("--subset", part).exit_status == USAGE
    assert registry_audit("baseline", "list", "--ledger", ledger).exit_status == 4  # none of these started one
