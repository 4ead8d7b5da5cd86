"""Stores that do not give what they listed: each way to be told less becomes a problem, none a shorter model."""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from registry_audit.audit.comparing import confirm_bytes
from registry_audit.audit.copies import ModelCopy, Reading, Role
from registry_audit.audit.named_versions import PairAudit
from registry_audit.audit.reading import read_all, read_pair
from registry_audit.errors import BodyEndedEarly, CouldNotVerify, NotFound, Stopped, Transient
from registry_audit.model.listing import Limits, ListedFile, Listing, Problem, make_listing
from registry_audit.model.mlmodel import MAX_BYTES
from registry_audit.net.retry import tries
from registry_audit.net.transfers import Where
from registry_audit.registry.resolve import Location
from registry_audit.registry.storage import StorageIdentity
from registry_audit.stores.base import Chunks, Unreadable
from registry_audit.stores.local import LocalStore
from registry_audit.verdict import Verdict

Content = Callable[[], Iterator[bytes]]


class FakeStore:
    """A store of files that are given as what reading them does."""

    identity = StorageIdentity("fake")
    directory: Path | None = None

    def __init__(self, **files: tuple[int | None, Content]) -> None:
        self._files = files
        self.opened: list[str] = []

    def listing(self, limits: Limits) -> Listing:
        return make_listing([ListedFile(path, size) for path, (size, _) in self._files.items()])

    def read(self, file: ListedFile, where: Where | None = None) -> Chunks:
        self.opened.append(file.path)
        yield from self._files[file.path][1]()


def gives(*chunks: bytes | Exception) -> Content:
    """Each time the same chunks, up to the first exception."""

    def read() -> Iterator[bytes]:
        for chunk in chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    return read


def in_turn(*attempts: Content) -> Content:
    """Another attempt, other chunks."""
    remaining = iter(attempts)
    return lambda: next(remaining)()


GOOD = (4, gives(b"go", b"od"))
GOOD_DIGEST = "sha256:" + hashlib.sha256(b"good").hexdigest()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_audit.net.retry.FIRST_PAUSE_SECONDS", 0)


def read(store: FakeStore, **arguments: Any) -> Reading:
    return read_all(store, store.listing(Limits()), "sha256", **({"pulse": lambda count: None} | arguments))


def problems(got: Reading) -> list[tuple[str, str, str | None]]:
    assert all(problem.blocks for problem in got.problems)
    return [(problem.rule, problem.message, problem.path) for problem in got.problems]


def test_what_is_read_whole() -> None:
    pulses: list[int] = []
    got = read(FakeStore(b=GOOD, a=(0, gives()), MLmodel=(3, gives(b"a: ", b""))), pulse=pulses.append)
    assert [(e.path, e.size) for e in got.entries] == [("MLmodel", 3), ("a", 0), ("b", 4)]
    assert got.entries[2].digest == GOOD_DIGEST
    assert (got.mlmodel, got.problems, got.files_read, got.bytes_read) == (b"a: ", (), 3, 7)
    assert sum(pulses) == 7


@pytest.mark.parametrize(
    ("listed", "chunks", "read_count"),
    [
        (5, (b"go", b"od"), 4),
        (4, (), 0),
        (3, (b"go", b"od"), 4),
        (0, (b"x",), 1),
        (-1, (b"",), 0),
    ],
)
def test_more_or_less_than_was_listed(listed: int, chunks: tuple[bytes, ...], read_count: int) -> None:
    got = read(FakeStore(x=(listed, gives(*chunks)), y=GOOD))
    assert problems(got) == [("RA008", f"'x' is listed with {listed} bytes, {read_count} were read", "x")]
    assert [(e.path, e.digest) for e in got.entries] == [("y", GOOD_DIGEST)]


def test_a_stream_without_end_is_left() -> None:
    given: list[int] = []
    got = read(FakeStore(x=(10, lambda: itertools.repeat(b"1234"))), pulse=given.append)
    assert problems(got) == [("RA008", "'x' is listed with 10 bytes, 12 were read", "x")]
    assert given == [4, 4, 4]


def test_a_store_that_lists_no_size_is_read_to_its_end() -> None:
    got = read(FakeStore(x=(None, gives(b"go", b"od"))))
    assert (got.problems, [(e.size, e.digest) for e in got.entries]) == ((), [(4, GOOD_DIGEST)])


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (Unreadable("RA008", "'x' changed while it was read", "x"), ("RA008", "'x' changed while it was read", "x")),
        (Unreadable("RA009", "'x' cannot be read", "x"), ("RA009", "'x' cannot be read", "x")),
        (CouldNotVerify("permission denied"), ("RA009", "permission denied", "x")),
        (Transient("503"), ("RA009", "503", "x")),
        (NotFound("no such file"), ("RA009", "no such file", "x")),
    ],
)
@pytest.mark.parametrize("before", [(), (b"go",), (b"go", b"od")])
def test_an_error_in_the_middle_is_a_problem_of_that_file(
    error: Exception, problem: tuple[str, str, str], before: tuple[bytes, ...]
) -> None:
    if isinstance(error, Transient):
        error.given_up = False  # one error serves several cases
    store = FakeStore(x=(4, gives(*before, error)), y=GOOD)
    got = read(store)
    assert problems(got) == [problem]
    assert [e.path for e in got.entries] == ["y"]
    tried = tries() if isinstance(error, Transient) else 1
    assert store.opened == ["x"] * tried + ["y"], "only what may pass is asked for again"


def test_an_answer_that_broke_off_is_read_again_from_its_start() -> None:
    broken = gives(b"go", BodyEndedEarly("the answer for 'x' broke off"))
    store = FakeStore(x=(4, in_turn(broken, broken, gives(b"good"))))
    got = read(store)
    assert (got.problems, [(e.size, e.digest) for e in got.entries]) == ((), [(4, GOOD_DIGEST)])
    assert (len(store.opened), got.files_read, got.bytes_read) == (3, 1, 4)


def test_an_answer_that_always_breaks_off_is_a_problem() -> None:
    store = FakeStore(x=(4, gives(b"go", BodyEndedEarly("the answer for 'x' broke off"))), y=GOOD)
    got = read(store)
    assert problems(got) == [("RA009", "the answer for 'x' broke off", "x")]
    assert store.opened == ["x"] * tries() + ["y"]


def test_nothing_of_a_broken_answer_stays_in_what_is_kept(tmp_path: Path) -> None:
    broken = gives(b"bad", BodyEndedEarly("broke off"))
    got = read(FakeStore(**{"d/x": (4, in_turn(broken, gives(b"good")))}), keep_in=tmp_path)
    assert got.problems == ()
    assert (tmp_path / "d" / "x").read_bytes() == b"good"


def test_a_directory_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("in the way")
    got = read(FakeStore(**{"x/y": GOOD}), keep_in=tmp_path)
    assert [problem.rule for problem in got.problems] == ["RA009"]
    assert got.entries == ()


def test_a_stopped_audit_is_not_a_problem_of_the_model() -> None:
    def stop(count: int) -> None:
        raise Stopped("the audit was stopped")

    with pytest.raises(Stopped):
        read(FakeStore(x=GOOD), pulse=stop)


def test_of_a_huge_mlmodel_no_more_is_kept_than_is_parsed() -> None:
    huge = itertools.repeat(bytes(2**20), 20)
    got = read(FakeStore(MLmodel=(20 * 2**20, lambda: huge)))
    assert got.mlmodel is not None
    assert (len(got.mlmodel), got.bytes_read) == (MAX_BYTES + 1, 20 * 2**20)


# Two copies on local disk.


def local(root: Path, **files: bytes) -> tuple[LocalStore, Listing]:
    root.mkdir()
    for name, data in files.items():
        (root / name).write_bytes(data)
    store = LocalStore(root)
    return store, store.listing(Limits())


def test_of_a_pair_the_side_that_changed_is_the_one_with_the_problem(tmp_path: Path) -> None:
    one, two = local(tmp_path / "1", x=b"same", y=b"y"), local(tmp_path / "2", x=b"same", y=b"y")
    (tmp_path / "2" / "x").write_bytes(b"diff")
    left, right = read_pair(*one, *two, "sha256", pulse=lambda count: None)
    assert [(e.path, e.size) for e in left.entries] == [("x", 4), ("y", 1)]
    assert left.problems == ()
    assert problems(right) == [("RA008", "'x' changed between listing and reading", "x")]
    assert [e.path for e in right.entries] == ["y"]


def test_a_file_that_changes_while_a_pair_is_read(tmp_path: Path) -> None:
    size = 3 * 2**20
    one, two = local(tmp_path / "1", x=bytes(size)), local(tmp_path / "2", x=bytes(size))

    def overwrite(count: int) -> None:
        with (tmp_path / "1" / "x").open("r+b") as file:
            file.write(b"new")

    left, right = read_pair(*one, *two, "sha256", pulse=overwrite)
    assert [problem.rule for problem in left.problems] == ["RA008"]
    assert (left.entries, right.problems) == ((), ())


def kept_copy(directory: Path, source: Path, number: str) -> ModelCopy:
    store, listing = local(source / number, MLmodel=b"flavors: {a: {}}", weights=b"good")
    keep_in = directory / number
    keep_in.mkdir()
    got = read_all(store, listing, "sha256", pulse=lambda count: None, keep_in=keep_in)
    where = Location(store.identity.path, (store.identity.path,), (store.identity,))
    return ModelCopy(Role.RUN_MODEL, where, store.identity, listing, got, str(keep_in))


@pytest.fixture
def kept(tmp_path: Path) -> tuple[ModelCopy, ModelCopy]:
    """Two equal copies, read and kept; the second one's weights then change where they are kept."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "source").mkdir()
    copies = [kept_copy(tmp_path / "kept", tmp_path / "source", number) for number in "12"]
    (tmp_path / "kept" / "2" / "weights").write_bytes(b"evil")
    return copies[0], copies[1]


def test_what_lies_on_disk_has_the_last_word(kept: tuple[ModelCopy, ModelCopy]) -> None:
    confirmed = confirm_bytes(*kept, pulse=lambda count: None)
    assert confirmed.problems == (
        Problem("RA008", "'weights' changed on disk between reading and comparing", "weights"),
    )


def test_what_lies_on_disk_has_the_last_word_on_two_versions_too(
    pair_of: Callable[..., PairAudit], kept: tuple[ModelCopy, ModelCopy]
) -> None:
    pair = pair_of(kept)
    assert pair.verdict is Verdict.UNVERIFIABLE
    assert [finding.rule for finding in pair.all_findings] == ["RA008"]
