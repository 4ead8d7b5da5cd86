"""Whatever is done to a registry in whatever order, audits say what a plain oracle in memory says."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from support.ledger_oracle import Bytes, Oracle, Said
from support.models import PICKLE_BYTES, write_model
from support.registry import Logged, Registry
from support.servers import MlflowServer

from registry_audit.api import audit_registry, ledger_of, open_session
from registry_audit.audit.options import AuditOptions
from registry_audit.errors import CouldNotVerify, UsageError
from registry_audit.ledger.accept import Moved, accept, prepare, waive
from registry_audit.ledger.chain import Kind
from registry_audit.ledger.connecting import open_ledger, remember
from registry_audit.ledger.record import registry_of
from registry_audit.report.document import AuditDocument

_NUMBERS = st.sampled_from(["1", "2", "3"])
_SEEDS = st.integers(1, 2)  # few, so that bytes also come back
_RULES = st.sampled_from(["RA002", "RA003", "RA011"])
_MAX_VERSIONS = 3
_UNTIL = "2999-12-31"


def _files(seed: int) -> dict[str, bytes]:
    """The seed shows in one file alone, of always the same size: only reading it tells, or its change time."""
    return {"model.pkl": bytes([seed]) * PICKLE_BYTES}


class Sequences(RuleBasedStateMachine):
    """One model of a registry, and a ledger, for each sequence."""

    def __init__(self, registry: Registry) -> None:
        super().__init__()
        self.registry, self.oracle, self.sources = registry, Oracle(), dict[str, tuple[Logged, Bytes]]()
        self.name = registry.new_name("sequence")
        self.directory = Path(tempfile.mkdtemp())
        self.options = AuditOptions(
            tracking_uri=registry.server.uri,
            models=(f"{self.name}*",),
            ledger=f"sqlite:///{self.directory / 'ledger.db'}",
            workers=2,
        )
        open_ledger(self.options.ledger or "", create=True).close()

    def teardown(self) -> None:
        try:
            self.audit(quick=False, accept_new=False)
            ledger = open_ledger(self.options.ledger or "", create=False)
            ledger.verify()
            ledger.close()
        finally:
            shutil.rmtree(self.directory)

    # ---- what happens to the registry

    @initialize()
    def begin(self) -> None:
        self.register(1)

    @precondition(lambda self: len(self.oracle.versions) < _MAX_VERSIONS)
    @rule(seed=_SEEDS)
    def register(self, seed: int) -> None:
        logged = self.registry.log_run_model(files=_files(seed))
        self.sources[logged.run_id] = logged, Bytes(logged.run_id, seed)
        self._register(logged.run_id)

    @precondition(lambda self: self.sources and len(self.oracle.versions) < _MAX_VERSIONS)
    @rule(data=st.data())
    def register_the_same_bytes_again(self, data: st.DataObject) -> None:
        self._register(data.draw(st.sampled_from(sorted(self.sources))))

    @rule(number=_NUMBERS, seed=_SEEDS)
    def overwrite(self, number: str, seed: int) -> None:
        self._write(number, seed)

    @rule(number=_NUMBERS)
    def lose(self, number: str) -> None:
        self._write(number, None)

    @rule(number=_NUMBERS)
    def delete(self, number: str) -> None:
        if self.oracle.versions.pop(number, None) is not None:
            self.registry.client.delete_model_version(self.name, number)

    @precondition(lambda self: self.oracle.versions)
    @rule()
    def delete_the_model(self) -> None:
        self.registry.client.delete_registered_model(self.name)
        self.oracle.versions.clear()

    # ---- what people do about it

    @rule(number=_NUMBERS)
    def accept(self, number: str) -> None:
        ledger, session = ledger_of(self.options), open_session(self.options)
        assert ledger is not None
        registry = registry_of(session.connection.registry_uri)
        try:
            prepared = prepare(session, ledger, registry, (f"{self.name}/{number}",), by="me", reason="meant")
            remember(ledger, accept(ledger, registry, prepared))
            said = "gone" if prepared[0].kind == "gone" else "accepted"
        except Moved:
            said = "moved"
        except CouldNotVerify:
            said = "lost"
        except UsageError as error:
            not_seen = "was never audited" in error.message or "no audit has found" in error.message
            said = "never audited" if not_seen else "unknown"
        finally:
            ledger.close()
        assert said == self.oracle.accept(number)

    @rule(number=_NUMBERS, broken=_RULES)
    def waive(self, number: str, broken: str) -> None:
        ledger = ledger_of(self.options)
        assert ledger is not None
        registry = registry_of(self.options.tracking_uri)
        try:
            head = waive(ledger, registry, self.name, number, broken, path=None, by="me", reason="known", until=_UNTIL)
            remember(ledger, head)
            waived = True
        except UsageError:
            waived = False
        finally:
            ledger.close()
        assert waived == self.oracle.waive(number, broken)

    # ---- and what audits say of it

    @rule(quick=st.booleans(), accept_new=st.booleans())
    def audit(self, quick: bool, accept_new: bool) -> None:
        document = audit_registry(self.options.model_copy(update={"quick": quick, "accept_new": accept_new}))
        expected = self.oracle.audit(quick=quick, accept_new=accept_new)
        assert said_by(document) == expected
        assert document.changes is not None
        news = [new for new, _ in expected.findings.values()]
        assert (document.changes.new, document.changes.known) == (sum(news), len(news) - sum(news))

    @rule()
    def audit_that_accepts(self) -> None:
        """Drawn more often than its share: without baselines little can be said."""
        self.audit(quick=False, accept_new=True)

    def _register(self, run_id: str) -> None:
        logged, storage = self.sources[run_id]
        self.oracle.register(self.registry.register(self.name, logged.source, run_id), storage)

    def _write(self, number: str, seed: int | None) -> None:
        version = self.oracle.versions.get(number)
        if version is None:
            return
        directory = self.registry.server.artifacts.path(self.sources[version.storage.run][0].location)
        shutil.rmtree(directory, ignore_errors=True)
        if seed is not None:
            write_model(directory, seed=0, run_id=version.storage.run, files=_files(seed))
        version.storage.write(seed)


def said_by(document: AuditDocument) -> Said:
    assert document.ledger is not None
    for row in document.versions:
        assert bool(row.baseline_differences) == (row.baseline == "changed")
        assert row.baseline != "not_read" or row.last_read_at is not None
    return Said(
        statuses={row.version: str(row.baseline) for row in document.versions},
        findings={
            (row.version, finding.rule): (bool(finding.new), finding.waived is not None)
            for row in document.versions
            for finding in row.findings
        },
        resolved={(gone.version, gone.rule) for gone in document.resolved},
        accepted_count=document.ledger.accepted_new,
        exit_status=document.outcome.exit_status,
    )


def run(server: MlflowServer, examples: int, steps: int) -> None:
    registry = Registry(server)
    registry.add()  # a registry is never found empty
    run_state_machine_as_test(
        lambda: Sequences(registry),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
        ),
    )


def test_sequences(mlflow_local: MlflowServer) -> None:
    run(mlflow_local, examples=20, steps=15)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_many_long_sequences(mlflow_local: MlflowServer) -> None:
    run(mlflow_local, examples=60, steps=40)


def test_the_story_of_one_version(mlflow_local: MlflowServer) -> None:
    """The same oracle on a sequence that is written down, so that every kind of answer is met at least once."""
    machine = Sequences(Registry(mlflow_local))
    machine.registry.add()

    def audits() -> None:
        for quick in (True, False):
            machine.audit(quick=quick, accept_new=False)

    machine.register(1)
    machine.accept("1")  # never audited
    audits()
    machine.audit_that_accepts()
    audits()
    machine.overwrite("1", 2)
    machine.accept("1")  # moved
    audits()
    machine.waive("1", "RA002")
    audits()
    machine.overwrite("1", 1)
    audits()
    machine.overwrite("1", 2)
    audits()
    machine.accept("1")
    audits()
    machine.lose("1")
    audits()
    machine.accept("1")  # lost
    machine.waive("1", "RA003")
    machine.overwrite("1", 2)
    audits()
    machine.delete("1")
    audits()
    machine.waive("1", "RA011")
    audits()
    machine.delete_the_model()
    audits()
    machine.register(1)  # the same name and number
    audits()
    machine.audit_that_accepts()
    machine.waive("1", "RA011")
    audits()
    machine.accept("1")
    audits()
    machine.delete_the_model()
    audits()
    machine.accept("1")  # gone
    machine.accept("1")  # unknown
    audits()
    machine.register(1)
    machine.audit_that_accepts()
    audits()
    machine.teardown()


def test_the_story_is_in_the_ledger(mlflow_local: MlflowServer, tmp_path: Path) -> None:
    registry = Registry(mlflow_local)
    version = registry.add()
    options = AuditOptions(
        tracking_uri=mlflow_local.uri,
        models=(version.name,),
        ledger=f"sqlite:///{tmp_path / 'ledger.db'}",
        accept_new=True,
    )
    audit_registry(options)
    ledger = open_ledger(options.ledger or "", create=False)
    with ledger.reading() as reader:
        kinds = [entry.kind for entry in reader.all_entries()]
    assert kinds == [Kind.AUDIT_STARTED, Kind.READING, Kind.ACCEPTED, Kind.AUDIT_FINISHED]
