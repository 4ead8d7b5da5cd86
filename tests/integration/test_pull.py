"""`registry-audit pull`: the accepted bytes, whole, or nothing at all."""

import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import damage, faults, warm
from support.artifacts import read_files
from support.auditing import SECONDS, Audited, Auditor
from support.faulty_proxy import DOWNLOADS, Exchange, FaultyProxy
from support.ledgers import tamper
from support.registry import Registered, Registry

from registry_audit.api import pull_model
from registry_audit.audit.options import AuditOptions
from registry_audit.errors import CouldNotVerify
from registry_audit.ledger.connecting import open_ledger

HELD, DIFFERS, USAGE, INCOMPLETE, LEDGER = 0, 1, 2, 3, 4
STORES = ("mlflow_local", "mlflow_a", "mlflow_s3_direct")


@dataclass(frozen=True, slots=True)
class Accepted:
    """A version whose bytes were accepted, and a directory to pull it into."""

    registry: Registry
    version: Registered
    ledger: str
    audit: Auditor
    beside: Path  # holds nothing but the output

    @property
    def label(self) -> str:
        return f"{self.version.name}/{self.version.version}"

    @property
    def output(self) -> Path:
        return self.beside / "model"

    def pull(self, *arguments: str, version: str | None = None, uri: str | None = None) -> Audited:
        return self.audit.command(*self.arguments(version=version, uri=uri), *arguments)

    def arguments(self, *, version: str | None = None, uri: str | None = None) -> tuple[str, ...]:
        where = ("--tracking-uri", uri or self.registry.server.uri, "--ledger", self.ledger)
        return ("pull", version or self.label, "--output", str(self.output), *where)

    def damaged_by(self, kind: damage.Damage) -> str:
        with self.registry.server.artifacts.edit(self.version.reg_location) as directory:
            return kind(directory)

    def must_have_left_nothing(self) -> None:
        assert names(self.beside) == []


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def accept(registry: Registry, version: Registered, audit: Auditor, tmp_path: Path) -> Accepted:
    ledger, beside = f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path / "beside"
    beside.mkdir()
    done = audit(registry.server.uri, "--model", version.name, "--ledger", ledger, "--accept-new")
    assert {row["baseline"] for row in done.rows} == {"new"}
    return Accepted(registry, version, ledger, audit, beside)


@pytest.fixture(autouse=True)
def s3_client(request: pytest.FixtureRequest) -> None:
    if "mlflow_s3_direct" in str(request.node.name):
        request.getfixturevalue("s3_environment")


@pytest.fixture
def registry(request: pytest.FixtureRequest) -> Registry:
    return Registry(request.getfixturevalue(getattr(request, "param", "mlflow_local")))


@pytest.fixture
def accepted(registry: Registry, audit: Auditor, tmp_path: Path) -> Accepted:
    return accept(registry, registry.add(seed=1), audit, tmp_path)


on_every_store = pytest.mark.parametrize("registry", STORES, indirect=True)


@on_every_store
def test_the_output_holds_the_accepted_bytes(accepted: Accepted) -> None:
    here = accepted.registry.server.artifacts.files(accepted.version.reg_location)
    done = accepted.pull()
    assert (done.exit_status, done.stderr.strip()) == (HELD, f"wrote {accepted.output}")
    assert f"{accepted.label}: {len(here)} files" in done.stdout
    assert "byte for byte what" in done.stdout
    assert read_files(accepted.output) == here
    assert names(accepted.beside) == ["model"]
    umask = os.umask(0)
    os.umask(umask)
    for path in (accepted.output, *accepted.output.rglob("*")):
        mode = path.lstat().st_mode
        assert stat.S_ISDIR(mode) or stat.S_ISREG(mode)
        assert stat.S_IMODE(mode) == (0o777 if stat.S_ISDIR(mode) else 0o666) & ~umask


@pytest.mark.parametrize("how", ["log_run_model", "log_logged_model"])
def test_by_alias_into_an_empty_directory(registry: Registry, audit: Auditor, tmp_path: Path, how: str) -> None:
    version = registry.add(logged=getattr(registry, how)(seed=2))
    registry.client.set_registered_model_alias(version.name, "champion", version.version)
    accepted = accept(registry, version, audit, tmp_path)
    accepted.output.mkdir()
    assert accepted.pull(version=f"{version.name}@champion").exit_status == HELD
    assert read_files(accepted.output) == registry.server.artifacts.files(version.reg_location)


def test_parents_are_made_and_go_again_where_nothing_is_left(accepted: Accepted) -> None:
    deep = accepted.beside / "a" / "b" / "model"
    arguments = ("--tracking-uri", accepted.registry.server.uri, "--ledger", accepted.ledger, "--output", str(deep))
    assert accepted.audit.command("pull", f"{accepted.version.name}/9", *arguments).exit_status == USAGE
    accepted.must_have_left_nothing()
    assert accepted.audit.command("pull", accepted.label, *arguments).exit_status == HELD
    assert (deep / "MLmodel").is_file()


@on_every_store
@pytest.mark.parametrize("kind", [damage.flip_byte, damage.add_file, damage.delete_file, damage.delete_tree])
def test_another_content_leaves_nothing(accepted: Accepted, kind: damage.Damage) -> None:
    accepted.damaged_by(kind)
    done = accepted.pull()
    assert done.exit_status == DIFFERS, done.stderr
    assert f"{accepted.label} is not what" in done.stderr
    accepted.must_have_left_nothing()


@pytest.mark.parametrize("kind", damage.ALL, ids=lambda kind: kind.__name__)
def test_each_kind_of_damage_leaves_nothing(accepted: Accepted, kind: damage.Damage) -> None:
    path = accepted.damaged_by(kind)
    done = accepted.pull()
    assert done.exit_status == DIFFERS, done.stderr
    accepted.must_have_left_nothing()
    if kind in (damage.flip_byte, damage.truncate):
        assert f"* {path}  4,096 bytes sha256:" in done.stdout


def test_a_link_inside_the_model_arrives_as_a_file(registry: Registry, audit: Auditor, tmp_path: Path) -> None:
    version = registry.add(seed=3)
    directory = registry.server.artifacts.path(version.reg_location)
    (directory / "again.pkl").symlink_to("model.pkl")
    accepted = accept(registry, version, audit, tmp_path)
    assert accepted.pull().exit_status == HELD
    assert not (accepted.output / "again.pkl").is_symlink()
    assert (accepted.output / "again.pkl").read_bytes() == (directory / "model.pkl").read_bytes()


def test_what_mlflow_itself_writes_into_a_model_is_told_and_passes(accepted: Accepted) -> None:
    with accepted.registry.server.artifacts.edit(accepted.version.reg_location) as directory:
        mine = f"model_name: {accepted.version.name}\nmodel_version: '{accepted.version.version}'\n"
        (directory / "registered_model_meta").write_text(mine)
    done = accepted.pull()
    assert (done.exit_status, "registered-model-meta" in done.stdout) == (HELD, True)


@pytest.mark.parametrize("another", ["wine", "a name that is much longer than the first one"])
def test_what_mlflow_itself_writes_may_have_another_size(
    registry: Registry, audit: Auditor, tmp_path: Path, another: str
) -> None:
    version = registry.add(seed=3)
    meta = registry.server.artifacts.path(version.reg_location) / "registered_model_meta"
    meta.write_text(f"model_name: {version.name}\nmodel_version: '{version.version}'\n")
    accepted = accept(registry, version, audit, tmp_path)
    meta.write_text(f"model_name: {another}\nmodel_version: '1'\n")
    done = accepted.pull()
    assert (done.exit_status, "registered-model-meta" in done.stdout) == (HELD, True), done.stderr
    assert (accepted.output / "registered_model_meta").read_bytes() == meta.read_bytes()


def test_without_a_baseline(registry: Registry, accepted: Accepted) -> None:
    other = registry.add(registry.new_name("a model"), seed=4)
    done = accepted.pull(version=f"{other.name}/1")
    assert (done.exit_status, "has no baseline" in done.stderr) == (INCOMPLETE, True)
    assert done.stderr.endswith(f"registry-audit baseline accept '{other.name}/1' --reason TEXT\n")
    accepted.must_have_left_nothing()


def test_a_version_created_anew_under_its_number_has_no_baseline(registry: Registry, accepted: Accepted) -> None:
    version = accepted.version
    registry.client.delete_registered_model(version.name)
    registry.register(version.name, version.run_location, version.run_id)
    done = accepted.pull()
    assert (done.exit_status, "another one was created under its name" in done.stderr) == (INCOMPLETE, True)
    accepted.must_have_left_nothing()


def test_a_renamed_model_keeps_its_baseline(registry: Registry, accepted: Accepted) -> None:
    name = registry.new_name("renamed")
    registry.client.rename_registered_model(accepted.version.name, name)
    assert accepted.pull(version=f"{name}/1").exit_status == HELD


def test_bad_requests(accepted: Accepted) -> None:
    name = accepted.version.name
    for version, says in ((f"{name}/7", "has no version 7"), (f"{name}@nobody", "no alias"), ("nothing", "NAME/V")):
        done = accepted.pull(version=version)
        assert (done.exit_status, says in done.stderr) == (USAGE, True), done.stderr
    for more, says in ((("--ledger", "none"), "needs"), (("--quick",), "No such option")):
        done = accepted.pull(*more)
        assert done.exit_status == USAGE, (says, done.stderr)
    accepted.must_have_left_nothing()
    accepted.output.write_text("mine")
    assert "is a file" in accepted.pull().stderr
    accepted.output.unlink()
    accepted.output.mkdir()
    (accepted.output / "mine").touch()
    done = accepted.pull()
    assert (done.exit_status, "is not empty" in done.stderr) == (USAGE, True)
    assert names(accepted.output) == ["mine"]


def test_a_broken_ledger(accepted: Accepted) -> None:
    tamper(accepted.ledger, "UPDATE entries SET name = 'x' WHERE seq = 1")
    assert accepted.pull().exit_status == LEDGER
    accepted.must_have_left_nothing()


def test_the_ledger_is_only_read(accepted: Accepted) -> None:
    def head() -> object:
        ledger = open_ledger(accepted.ledger, create=False)
        with ledger.reading() as reader:
            found = reader.head()
        ledger.close()
        return found

    before = head()
    assert accepted.pull().exit_status == HELD
    accepted.damaged_by(damage.flip_byte)
    accepted.pull()
    assert head() == before


def options(accepted: Accepted, uri: str | None = None) -> AuditOptions:
    return AuditOptions(tracking_uri=uri or accepted.registry.server.uri, ledger=accepted.ledger)


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda a: a.registry.client.set_registered_model_alias(a.version.name, "champion", "2"),
        lambda a: a.registry.client.delete_registered_model_alias(a.version.name, "champion"),
        lambda a: a.registry.client.delete_model_version(a.version.name, "1"),
        lambda a: a.registry.change_row(a.version.name, "1", source="/elsewhere"),
    ],
    ids=["moved", "taken away", "deleted", "redirected"],
)
def test_what_was_asked_for_changes_in_the_middle(accepted: Accepted, meanwhile: Callable[[Accepted], object]) -> None:
    accepted.registry.add(accepted.version.name, seed=5)
    accepted.registry.client.set_registered_model_alias(accepted.version.name, "champion", "1")
    begun = []

    def on_begin(byte_count: int) -> None:
        begun.append(byte_count)
        meanwhile(accepted)

    with pytest.raises(CouldNotVerify):
        pull_model(options(accepted), accepted.version.name, "@champion", accepted.output, on_begin=on_begin)
    assert len(begun) == 1
    accepted.must_have_left_nothing()


@on_every_store
def test_overwritten_while_it_is_read(accepted: Accepted) -> None:
    read = []

    def on_bytes(count: int) -> None:
        if not read:
            accepted.damaged_by(damage.swap_two_files)
        read.append(count)

    with pytest.raises(Exception, match=r"could not be verified|is not what"):
        pull_model(options(accepted), accepted.version.name, "1", accepted.output, on_bytes=on_bytes)
    assert read
    accepted.must_have_left_nothing()


@pytest.mark.parametrize("registry", ["mlflow_a"], indirect=True)
@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (faults.truncated("corrected"), INCOMPLETE),
        (faults.truncated("original"), INCOMPLETE),
        (faults.wrong_bytes(), DIFFERS),
        (faults.status(403), INCOMPLETE),
        (faults.reset(after_bytes=10), INCOMPLETE),
    ],
    ids=["short", "broken off", "wrong bytes", "denied", "reset"],
)
def test_a_server_that_serves_something_else(
    accepted: Accepted, proxy_a: FaultyProxy, fault: Callable[[Exchange], None], status: int
) -> None:
    rule = proxy_a.fault(fault, path=r"/mlflow-artifacts/artifacts/.*model\.pkl")
    done = accepted.pull(uri=proxy_a.uri)
    assert (done.exit_status, rule.hits > 0) == (status, True), done.stderr


@pytest.fixture
def stopped(accepted: Accepted, proxy_a: FaultyProxy) -> Iterator["subprocess.Popen[bytes]"]:
    """A pull, in a process of its own, whose server stopped answering in the middle."""
    proxy_a.fault(faults.slow(release=threading.Event()), path=DOWNLOADS + r".*weights\.bin")
    command = [sys.executable, "-m", "registry_audit", *accepted.arguments(uri=proxy_a.uri)]
    process = warm.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    arrived = threading.Event()
    try:
        while not any("weights.bin" in r.target and "artifacts/" in r.target for r in list(proxy_a.requests)):
            assert process.poll() is None, process.stderr and process.stderr.read()
            arrived.wait(0.02)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("registry", ["mlflow_a"], indirect=True)
def test_a_kill_leaves_a_hidden_directory_that_the_next_pull_removes(
    accepted: Accepted, stopped: "subprocess.Popen[bytes]"
) -> None:
    (scratch,) = names(accepted.beside)
    assert scratch.startswith(".model.")
    # Meanwhile it is in use: another pull leaves it alone, and both may end well.
    assert accepted.pull().exit_status == HELD
    assert names(accepted.beside) == [scratch, "model"]
    stopped.send_signal(signal.SIGKILL)
    stopped.communicate(timeout=SECONDS)
    assert names(accepted.beside) == [scratch, "model"]
    assert accepted.pull().exit_status == USAGE  # not empty
    for file in accepted.output.rglob("*"):
        if file.is_file():
            file.unlink()
    for directory in sorted(accepted.output.rglob("*"), reverse=True):
        directory.rmdir()
    assert accepted.pull().exit_status == HELD
    assert names(accepted.beside) == ["model"]


@pytest.mark.parametrize("registry", ["mlflow_a"], indirect=True)
def test_an_interruption_leaves_nothing(accepted: Accepted, stopped: "subprocess.Popen[bytes]") -> None:
    stopped.send_signal(signal.SIGTERM)
    stopped.communicate(timeout=SECONDS)
    assert stopped.returncode == 130
    accepted.must_have_left_nothing()


_INTERRUPTED_AT_THE_RENAME = """
import os, runpy, signal, sys

def interrupt(event, arguments):
    if event == "os.rename" and str(arguments[1]) == sys.argv[0]:
        os.kill(os.getpid(), signal.SIGINT)

sys.addaudithook(interrupt)
sys.argv.pop(0)
runpy.run_module("registry_audit", alter_sys=False, run_name="__main__")
"""


def test_nothing_appears_after_an_interruption(accepted: Accepted) -> None:
    """It comes when all was read and the directory is about to get its name: no other thread may give it to it."""
    command = [sys.executable, "-c", _INTERRUPTED_AT_THE_RENAME, str(accepted.output.resolve()), *accepted.arguments()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (done.returncode, "interrupted" in done.stderr) == (130, True), done.stderr
    accepted.must_have_left_nothing()


def test_a_disk_that_takes_no_more(accepted: Accepted) -> None:
    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, resource.RLIM_INFINITY))

    command = [sys.executable, "-m", "registry_audit", *accepted.arguments()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS, preexec_fn=small)
    assert done.returncode == INCOMPLETE, done.stderr
    assert "cannot be written" in done.stderr
    accepted.must_have_left_nothing()
