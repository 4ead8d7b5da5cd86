"""An audit that was interrupted goes on where it was, through Prefect's own cache, and never on what does not hold."""

import json
import os
import pickle
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from support import damage, faults
from support.faulty_proxy import DOWNLOADS, FaultyProxy, Rule
from support.processes import wait_until
from support.registry import Registered, Registry
from support.servers import MlflowServer

from flows.audit_registry import audit_registry
from registry_audit.audit.work_directory import KEY_FILE
from registry_audit.errors import UsageError
from tasks import result_storage as module
from tasks.result_storage import BLOCK, SignedResults

from .conftest import FlowRun, PrefectServer, Program, RunFlow, processes_of, worker_of

VERSIONS = 4
KEY = f"registry-audit/{uuid4()}/compare-{'0123' * 10}"


@pytest.fixture
def versions(mlflow_a: MlflowServer) -> list[Registered]:
    """Behind an artifact proxy, whose listings would not show an overwrite."""
    registry = Registry(mlflow_a)
    name = registry.new_name()
    return [registry.add(name, seed=seed, separate=True) for seed in range(VERSIONS)]


class Audits:
    """Audits of these versions, one in a batch, and which bytes each reads."""

    def __init__(self, run_flow: RunFlow, proxy: FaultyProxy, versions: list[Registered], cache: Path) -> None:
        self._run_flow, self._proxy, self.versions, self._cache = run_flow, proxy, versions, cache

    def __call__(self, **parameters: Any) -> FlowRun:
        asked = {"tracking_uri": self._proxy.uri, "models": [self.versions[0].name], "ledger": "none", "batch_size": 1}
        return self._run_flow(audit_registry, **asked | parameters)

    def unreadable(self, version: Registered) -> Rule:
        return self._proxy.fault(faults.status(404), path=f"{DOWNLOADS[:-1]}.*{version.run_id}")

    def interrupted(self, **parameters: Any) -> FlowRun:
        """One that could not read the last version; and what is left of it is Prefect's alone."""
        self.unreadable(self.versions[-1])
        run = self(**parameters)
        assert run.ended_as == ("FAILED", "Incomplete")
        self._proxy.clear()
        shutil.rmtree(self._cache / "audits")
        return run

    def read(self) -> Counter[str]:
        """How often each version's files were read since the faults were cleared, by its run or place."""
        places = {location.rpartition("artifacts/")[2]: v.version for v in self.versions for location in _locations(v)}
        targets = [request.target for request in self._proxy.requests if request.method == "GET"]
        return Counter(
            number for target in targets for place, number in places.items() if f"artifacts/{place}/" in target
        )

    @property
    def results(self) -> Path:
        return self._cache / "results" / "registry-audit"


def _locations(version: Registered) -> tuple[str, str]:
    return version.run_location.partition("mlflow-artifacts:/")[2], version.reg_location.partition(
        "mlflow-artifacts:/"
    )[2]


@pytest.fixture
def audits(run_flow: RunFlow, proxy_a: FaultyProxy, versions: list[Registered], tmp_path: Path) -> Audits:
    return Audits(run_flow, proxy_a, versions, tmp_path / "cache")


def _cached(run: FlowRun) -> Counter[str]:
    return Counter(task["name"].split(" · ")[0] for task in run.task_runs if task["state_name"] == "Cached")


def test_an_incomplete_audit_that_is_tried_again_reads_only_the_rest(audits: Audits, tmp_path: Path) -> None:
    first = audits.interrupted(report_dir=str(tmp_path / "first"))
    again = audits(audit_id=first.id, report_dir=str(tmp_path / "again"))
    assert again.ended_as == ("COMPLETED", "Completed")
    assert set(audits.read()) == {audits.versions[-1].version}
    # Of the last version one copy could be read; what was compared with it could not.
    assert _cached(again) == {
        "resolve-version": VERSIONS,
        "download-reg-model": VERSIONS,
        "download-run-model": VERSIONS - 1,
        "compare": VERSIONS - 1,
    }
    before, after = (
        json.loads((tmp_path / which / "audit.json").read_text(encoding="utf-8"))["versions"]
        for which in ("first", "again")
    )
    assert [row["read_at"] for row in after[:-1]] == [row["read_at"] for row in before[:-1]]
    assert before[:-1] == after[:-1]
    assert f"{VERSIONS} versions were read before this run" in again.log


@pytest.mark.parametrize("ends_as", ["Completed", "Findings"])
def test_what_ended_leaves_nothing_and_is_read_anew(audits: Audits, mlflow_a: MlflowServer, ends_as: str) -> None:
    if ends_as == "Findings":
        with mlflow_a.artifacts.edit(audits.versions[0].reg_location) as directory:
            damage.flip_byte(directory)
    first = audits()
    assert first.ended_as[1] == ends_as
    assert not (audits.results / first.id).exists()
    once = audits.read()
    again = audits(audit_id=first.id)
    assert again.ended_as[1] == ends_as
    assert _cached(again) == {}
    assert audits.read() == {number: 2 * count for number, count in once.items()}


def test_what_an_ended_audit_could_not_remove_is_not_taken_up(audits: Audits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SignedResults, "forget", lambda self, audit_id: None)
    first = audits()
    assert (audits.results / first.id).is_dir()
    assert _cached(audits(audit_id=first.id)) == {}
    # Nor what was read under a name that a person gave, or by another run that went on with the first.
    audits(audit_id="nightly")
    assert (audits.results / "nightly").is_dir()
    assert _cached(audits(audit_id="nightly")) == {}


def test_what_another_run_ended_is_read_anew(audits: Audits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SignedResults, "forget", lambda self, audit_id: None)
    first = audits.interrupted()
    again = audits(audit_id=first.id)
    assert again.ended_as == ("COMPLETED", "Completed")
    assert _cached(again)["compare"] == VERSIONS - 1
    assert _cached(audits(audit_id=first.id)) == {}


def test_other_options_and_other_code_are_read_anew(audits: Audits, monkeypatch: pytest.MonkeyPatch) -> None:
    first = audits.interrupted()
    audits.unreadable(audits.versions[-1])
    assert _cached(audits(audit_id=first.id, digest="blake3")) == {}
    monkeypatch.setattr(module, "code_digest", lambda *packages: "other code")
    assert _cached(audits(audit_id=first.id)) == {}


def test_after_a_day_it_is_read_again(audits: Audits, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, "KEPT_FOR", timedelta(microseconds=1))
        first = audits.interrupted()
    assert list(audits.results.rglob("compare-*"))
    assert _cached(audits(audit_id=first.id)) == {}


def _forged(file: Path, results: SignedResults) -> None:
    """Another verdict in a record of the right shape."""
    content = file.read_bytes()
    assert b"match" in content
    file.write_bytes(content.replace(b"match", b"mismatch"))


def _that_runs_code(file: Path, results: SignedResults) -> None:
    """Prefect reads a record with whatever serializer the record names."""
    record = {"metadata": {"storage_key": "x", "serializer": {"type": "pickle"}}, "result": _bomb(file)}
    file.write_bytes(file.read_bytes().split(b"\n")[0] + b"\n" + json.dumps(record).encode())


def _bomb(file: Path) -> str:
    import base64

    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (file.parents[3] / "it-ran",))

    return base64.b64encode(pickle.dumps(Bomb())).decode()


def _of_another_batch(file: Path, results: SignedResults) -> None:
    others = sorted(other for other in file.parent.glob("compare-*") if other != file)
    file.write_bytes(others[0].read_bytes())


def _truncated(file: Path, results: SignedResults) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def _empty(file: Path, results: SignedResults) -> None:
    file.write_bytes(b"")


def _directory(file: Path, results: SignedResults) -> None:
    file.unlink()
    file.mkdir()


def _named_pipe(file: Path, results: SignedResults) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize(
    "damaged",
    [
        _forged,
        _that_runs_code,
        _of_another_batch,
        *(pytest.param(damage, marks=pytest.mark.slow) for damage in (_truncated, _empty, _directory, _named_pipe)),
    ],
)
def test_a_record_that_does_not_hold_is_read_again(
    audits: Audits, damaged: Callable[[Path, SignedResults], None], tmp_path: Path
) -> None:
    first = audits.interrupted()
    compared = sorted((audits.results / first.id).glob("compare-*"))
    assert len(compared) == VERSIONS - 1
    damaged(compared[0], SignedResults())
    again = audits(audit_id=first.id, report_dir=str(tmp_path / "report"))
    assert again.ended_as == ("COMPLETED", "Completed")
    assert _cached(again)["compare"] == VERSIONS - 2
    rows = json.loads((tmp_path / "report" / "audit.json").read_text(encoding="utf-8"))["versions"]
    assert [row["verdict"] for row in rows] == ["match"] * VERSIONS
    assert not (tmp_path / "cache" / "it-ran").exists()
    assert "Traceback" not in again.log


def test_under_another_key_nothing_is_taken_up(audits: Audits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = audits.interrupted()
    (tmp_path / "home" / KEY_FILE).unlink()
    assert _cached(audits(audit_id=first.id)) == {}


def test_a_place_that_cannot_be_written_is_one_warning(audits: Audits, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "results").write_text("")
    run = audits()
    assert run.ended_as == ("COMPLETED", "Completed")
    assert run.log.count("results cannot be kept in this worker's directory") == 1
    assert "Traceback" not in run.log
    assert "rror" not in run.log


def test_workers_may_share_a_place_and_a_key(
    audits: Audits, tmp_path: Path, prefect_server: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = SignedResults(basepath=f"file://{tmp_path}/shared", key=SecretStr("k" * 32))
    shared.save(BLOCK, overwrite=True, _sync=True)  # type: ignore[call-arg]
    try:
        first = audits.interrupted()
        for machine in ("cache", "home"):  # another one
            monkeypatch.setenv(
                f"REGISTRY_AUDIT_{machine.upper()}_DIR".replace("HOME_DIR", "HOME"), str(tmp_path / "b" / machine)
            )
        again = audits(audit_id=first.id)
        assert _cached(again)["compare"] == VERSIONS - 1
        assert set(audits.read()) == {audits.versions[-1].version}
        assert list((tmp_path / "shared").rglob("compare-*")) == []
        assert prefect_server.files_with("k" * 32) == []
    finally:
        SignedResults().save(BLOCK, overwrite=True, _sync=True)  # type: ignore[call-arg]


_HERE = """
import sys
from flows.audit_registry import audit_registry
audit_registry(tracking_uri=sys.argv[1], models=[sys.argv[2]], audit_id="living", ledger="none", return_state=True)
"""


def test_a_second_run_of_a_living_audit_is_refused_on_any_machine(
    audits: Audits, program: Program, proxy_a: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = proxy_a.fault(faults.slow(seconds=600), path=DOWNLOADS)
    process = program.start("-c", _HERE, proxy_a.uri, audits.versions[0].name)
    try:
        wait_until(lambda: hanging.hits > 0, timeout_seconds=90, what="nothing is read")
        here = audits(audit_id="living")
        assert here.ended_as == ("FAILED", "Refused")
        assert "is running in another process" in here.log
        with monkeypatch.context() as another_machine:
            another_machine.setenv("REGISTRY_AUDIT_CACHE_DIR", str(tmp_path / "another"))
            there = audits(audit_id="living")
        assert there.ended_as == ("FAILED", "Refused")
        assert "the audit living is running as the flow run audit" in there.log
    finally:
        process.kill()
        process.wait()
    proxy_a.clear()
    # Prefect does not know of its death yet; its lock does.
    assert audits(audit_id="living").ended_as == ("COMPLETED", "Completed")


class TestBlock:
    def test_only_what_it_wrote_at_that_place_comes_back(self, tmp_path: Path) -> None:
        results = SignedResults(basepath=str(tmp_path), key=SecretStr("k" * 32))
        results.write_path(KEY, b"content")
        assert results.read_path(KEY) == b"content"
        (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700
        other = file.with_name(file.name.replace("0123", "4567"))
        other.write_bytes(file.read_bytes())
        with pytest.raises(ValueError, match="was not written by an audit of this key"):
            results.read_path(KEY.replace("0123", "4567"))
        with pytest.raises(ValueError, match="was not written"):
            SignedResults(basepath=str(tmp_path), key=SecretStr("K" * 32)).read_path(KEY)

    @pytest.mark.parametrize("path", ["f00", "registry-audit/../x", "registry-audit//x", "/etc/hostname", ".."])
    def test_nothing_lies_outside_of_an_audit(self, tmp_path: Path, path: str) -> None:
        results = SignedResults(basepath=str(tmp_path / "here"), key=SecretStr("k" * 32))
        results.write_path(path, b"content")
        assert list(tmp_path.rglob("*")) == []
        with pytest.raises(FileNotFoundError):
            results.read_path(path)

    @pytest.mark.parametrize("given", [{"basepath": "s3://bucket"}, {"basepath": "/x", "key": "short"}])
    def test_a_shared_place_needs_a_key(self, given: dict[str, Any]) -> None:
        with pytest.raises(UsageError, match="need a key of at least 32 characters"):
            SignedResults(**given).seal()


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was_when_somebody_presses_retry(
    deployed: PrefectServer,
    program: Program,
    proxy_a: FaultyProxy,
    versions: list[Registered],
    tmp_path: Path,
    run_flow: RunFlow,
) -> None:
    """Killed with SIGKILL in the middle of the last version; nothing else is read twice."""
    audits = Audits(run_flow, proxy_a, versions, tmp_path / "cache")
    hanging = proxy_a.fault(faults.slow(seconds=600), path=f"{DOWNLOADS[:-1]}.*{versions[-1].run_id}")
    with worker_of(program, tmp_path / "worker.log", PREFECT_WORKER_QUERY_SECONDS="1"):
        found = deployed.deployment("audit-registry/ad-hoc")
        asked = {"models": [versions[0].name], "tracking_uri": proxy_a.uri, "ledger": "none", "batch_size": 1}
        created = deployed.post(f"deployments/{found['id']}/create_flow_run", parameters=asked)
        run = FlowRun(deployed, created["id"])
        wait_until(lambda: hanging.hits > 0, timeout_seconds=120, what="the last version is not read")
        wait_until(
            lambda: len(list(audits.results.rglob("compare-*"))) == VERSIONS - 1, timeout_seconds=60, what="not kept"
        )
        for process in processes_of(run.id):
            process.kill()
        wait_until(lambda: run.ended_as[0] == "CRASHED", timeout_seconds=60, what="it is not Crashed")
        proxy_a.clear()
        wait_until(lambda: "exited" in run.record["state"]["message"], timeout_seconds=30, what="the worker is silent")
        deployed.post(f"flow_runs/{run.id}/set_state", state={"type": "SCHEDULED", "name": "AwaitingRetry"})
        wait_until(lambda: run.ended_as[0] in ("COMPLETED", "FAILED"), timeout_seconds=120, what="it was not retried")
    assert run.ended_as == ("COMPLETED", "Completed")
    assert _cached(run)["compare"] == VERSIONS - 1
    assert set(audits.read()) == {versions[-1].version}
    assert not (audits.results / run.id).exists()
