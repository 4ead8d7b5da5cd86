"""What arrives is read into memory that is used again: nobody may look at it a moment too late."""

import hashlib
import http.client
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import urllib3

from registry_audit.audit.copies import Reading
from registry_audit.audit.reading import read_all
from registry_audit.model.limits import Limits
from registry_audit.model.listing import ListedFile, Listing, make_listing
from registry_audit.registry.memory import PIECE_BYTES, Memory, Where, arriving
from registry_audit.registry.storage import StorageIdentity
from registry_audit.registry.transfers import Transfers
from registry_audit.stores.base import Chunks

CONTENTS = {
    "empty": b"",
    "small": b"x",
    "piece": secrets.token_bytes(PIECE_BYTES),
    "large": secrets.token_bytes(9 * PIECE_BYTES + 1),
}


class MemoryStore:
    """Fills whatever memory it is given, as stores behind a network do."""

    identity = StorageIdentity("memory")
    directory: Path | None = None

    def __init__(self, transfers: Transfers) -> None:
        self.transfers = transfers

    def listing(self, limits: Limits) -> Listing:
        return make_listing([ListedFile(path, len(content)) for path, content in CONTENTS.items()])

    root_listing: Any = None

    def read(self, file: ListedFile, where: Where | None = None) -> Chunks:
        assert where is not None
        content = CONTENTS[file.path]
        while content:
            piece = where()[: len(content)]
            piece[:], content = content[: len(piece)], content[len(piece) :]
            yield piece


class Wiped(Memory):
    """Each piece is wiped when it is given out again."""

    def __call__(self) -> memoryview:
        piece = super().__call__()
        piece[:] = bytes(len(piece))
        return piece


class WipingTransfers(Transfers):
    @contextmanager
    def _wiped(self) -> Iterator[Memory]:
        memory = Wiped()
        yield memory
        memory(), memory()

    def memory(self) -> AbstractContextManager[Memory]:
        return self._wiped()


class Late:
    """A pool that does its work only when somebody waits for it: the latest that a digest can be taken."""

    def submit(self, call: Callable[..., Any], *arguments: Any) -> "Late":
        late = Late()
        late._work = lambda: call(*arguments)
        return late

    def result(self) -> Any:
        return self._work()

    def _work(self) -> Any:
        raise AssertionError("nothing was submitted")

    def shutdown(self, **_: Any) -> None:
        return


@pytest.fixture
def transfers() -> Iterator[Transfers]:
    transfers = WipingTransfers()
    transfers.digests = Late()  # type: ignore[assignment]
    yield transfers
    transfers.stop()


def read(transfers: Transfers, keep_in: Path | None = None) -> Reading:
    store = MemoryStore(transfers)
    return read_all(store, store.listing(Limits()), "sha256", pulse=lambda count: None, keep_in=keep_in)


def test_every_digest_is_that_of_what_arrived(
    transfers: Transfers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry_audit.audit.reading._LARGE_BYTES", PIECE_BYTES)
    reading = read(transfers, tmp_path)
    assert reading.problems == ()
    assert {entry.path: entry.digest for entry in reading.entries} == {
        path: f"sha256:{hashlib.sha256(content).hexdigest()}" for path, content in CONTENTS.items()
    }
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == CONTENTS


def test_what_is_given_back_is_used_again() -> None:
    transfers = Transfers()
    with transfers.memory() as one, transfers.memory() as two:
        assert one is not two
    with transfers.memory() as again:
        assert again in (one, two)
    transfers.stop()


class Answers(BaseHTTPRequestHandler):
    """/LENGTH/GIVEN: promises so many bytes (or, with '-', does not say) and gives so many."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        length, given = self.path.strip("/").split("/")
        self.send_response(200)
        if length == "-":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", length)
        self.end_headers()
        body = CONTENTS["large"][: int(given)]
        self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if length == "-" else body)
        self.close_connection = length != "-" and int(length) != len(body)

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture(scope="module")
def pool() -> Iterator[urllib3.HTTPConnectionPool]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    Thread(target=server.serve_forever, daemon=True).start()
    with urllib3.HTTPConnectionPool("127.0.0.1", server.server_port, maxsize=1) as pool:
        yield pool
    server.shutdown()
    server.server_close()


def body(pool: urllib3.HTTPConnectionPool, path: str, memory: Memory | None) -> bytes:
    raw = pool.urlopen("GET", path, preload_content=False, decode_content=False)
    try:
        return b"".join([bytes(piece) for piece in arriving(raw, memory)])
    finally:
        raw.close()
        raw.release_conn()


@pytest.mark.parametrize("memory", [None, Memory()], ids=["bytes", "memory"])
@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 9 * PIECE_BYTES + 1])
@pytest.mark.parametrize("said", [True, False], ids=["length", "chunked"])
def test_a_body_arrives_whole_over_a_connection_that_is_kept(
    pool: urllib3.HTTPConnectionPool, memory: Memory | None, size: int, said: bool
) -> None:
    made = pool.num_connections
    for _ in range(3):
        assert body(pool, f"/{size if said else '-'}/{size}", memory) == CONTENTS["large"][:size]
    assert pool.num_connections - made <= 1


@pytest.mark.parametrize("memory", [None, Memory()], ids=["bytes", "memory"])
@pytest.mark.parametrize("given", [0, 1, PIECE_BYTES, PIECE_BYTES + 1])
def test_a_body_that_ends_early_is_an_error(
    pool: urllib3.HTTPConnectionPool, memory: Memory | None, given: int
) -> None:
    with pytest.raises((EOFError, urllib3.exceptions.ProtocolError, http.client.HTTPException)):
        body(pool, f"/{PIECE_BYTES + 2}/{given}", memory)
    assert body(pool, "/7/7", memory) == CONTENTS["large"][:7]
