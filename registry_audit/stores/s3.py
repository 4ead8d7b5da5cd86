"""Models in an S3-compatible bucket, read with the client's own credentials: exact names, ETags, streamed.

Large objects that come slowly are read in several ranges at once. Each request is made on the condition that the object
is still the one listed.
"""

import contextlib
import os
import threading
import time
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path

from registry_audit.errors import BodyEndedEarly, CouldNotVerify
from registry_audit.model.limits import Limits
from registry_audit.model.listing import ListedFile, Listing, Problem, illegal_path, make_listing
from registry_audit.patience import patiently
from registry_audit.printable import printable
from registry_audit.registry.memory import PIECE_BYTES, Where, arriving
from registry_audit.registry.storage import StorageIdentity
from registry_audit.registry.transfers import Transfers
from registry_audit.registry.translate import translated
from registry_audit.stores.base import CHUNK_BYTES, Chunks, ReadApart, Unreadable, whole_body
from registry_audit.stores.bounded import Tally
from registry_audit.stores.ranges import RANGE_BYTES, Range, in_order
from registry_audit.stores.s3_checksum import promised_crc32, with_crc32
from registry_audit.stores.s3_client import s3_client
from registry_audit.stores.s3_object import ConditionFailed, GetObject, ObjectAnswer
from registry_audit.stores.s3_page import Entry, ListObjects, Page

# A single connection to a store in the cloud gives less, several at once give more. Measured while the object is read.
_FAST_BYTES_PER_SECOND = 120e6
_BUSY = 0.5  # of all processors: there may be a server on the same ones
_PROCESSORS = os.cpu_count() or 1


class S3Store:
    directory: Path | None = None

    def __init__(self, identity: StorageIdentity, transfers: Transfers) -> None:
        self._bucket, self._prefix = identity.container, identity.path
        self.identity = identity
        self.transfers = transfers
        self._client = s3_client()

    def root_listing(self) -> Listing:
        prefix = f"{self._prefix}/" if self._prefix else ""
        found = [entry for entry in self._entries(prefix, delimiter="/") if entry.key != prefix]
        return make_listing([ListedFile(entry.key[len(prefix) :], entry.size) for entry in found])

    def listing(self, limits: Limits) -> Listing:
        tally = Tally(limits)
        files: list[ListedFile] = []
        unsafe: list[str] = []
        problems: list[Problem] = []
        prefix = f"{self._prefix}/" if self._prefix else ""
        for entry in self._entries(prefix):
            path = entry.key[len(prefix) :]
            if not path or (path.endswith("/") and entry.size == 0):
                continue  # the marker of a directory
            tally.depth(path)
            tally.add(entry.size)
            if reason := illegal_path(path):
                unsafe.append(path)
                problems.append(Problem("RA013", f"'{printable(path)}' {reason}", path))
            else:
                files.append(ListedFile(path, entry.size, f"{entry.etag}:{entry.modified}"))
        return make_listing(files, unsafe=unsafe, problems=problems)

    def read(self, file: ListedFile, where: Where | None = None) -> Chunks:
        stream = self._body(file, None, threading.Event(), where)
        if file.size is None or file.size <= 2 * RANGE_BYTES or not _etag(file):
            yield from stream
            return
        # One connection may well be the fastest: there are endpoints that fetch the whole object for each range of it.
        # And with many large objects under way, each over its own, there is nothing left to win.
        got = len(chunk := next(stream, b""))  # what the endpoint needs to begin with says nothing of its rate
        rate = _Rate()
        with contextlib.closing(stream):
            while got < RANGE_BYTES or not self.transfers.few_large_files() or rate.is_enough():
                yield chunk
                with rate.waiting():
                    chunk = next(stream, b"")
                if not chunk:
                    return
                got += len(chunk)
                rate.came(len(chunk))
            if self.transfers.politeness.reads_two():
                raise ReadApart(f"'{printable(file.path)}' comes faster in ranges")
            yield chunk
        yield from in_order(partial(self._range, file), Range(got, file.size), self.transfers)

    def _entries(self, prefix: str, *, delimiter: str = "") -> Iterator[Entry]:
        token, before = None, set[str | None]()
        while token not in before:
            page = self._page(ListObjects(self._bucket, prefix, delimiter, token))
            yield from page.entries
            if page.next is None:
                return
            before.add(token)
            token = page.next
        raise CouldNotVerify("the store's listing does not end: a page names one as the next that was there before")

    def _page(self, wanted: ListObjects) -> Page:
        with (
            translated(f"list s3://{printable(self._bucket)}/{printable(self._prefix)}"),
            self.transfers.politeness.request(self._client.host) as flight,
            flight.sending(),
        ):
            return self._client.ask(wanted)

    def _range(self, file: ListedFile, part: Range, left: threading.Event) -> list[bytes | memoryview]:
        """A range that breaks off is read again by itself; what came of it is not used."""

        def read() -> list[bytes | memoryview]:
            memory = memoryview(bytearray(part.size))
            pieces = (memory[start : start + PIECE_BYTES] for start in range(0, part.size, PIECE_BYTES))
            beyond = memoryview(bytearray(1))  # where nothing is to arrive
            return list(self._body(file, part, left, lambda: next(pieces, beyond)))

        return patiently(read, on=BodyEndedEarly)

    def _body(
        self, file: ListedFile, part: Range | None, left: threading.Event, where: Where | None
    ) -> Generator[bytes | memoryview, None, None]:
        with (
            translated(f"read '{printable(file.path)}'"),
            self.transfers.politeness.request(self._client.host) as flight,
        ):
            with flight.sending():
                answer = self._answer(file, part)
            body, size = answer.body, 0
            with body:
                _must_answer(answer, file, part)
                flight.abort_with(getattr(body._raw_stream, "shutdown", body.close))
                for chunk in whole_body(_chunks(answer, where), file.path):
                    if left.is_set():
                        return
                    size += len(chunk)
                    flight.read(len(chunk))
                    yield chunk
            if part is not None and size != part.size:
                raise BodyEndedEarly(f"a range of '{printable(file.path)}' is shorter than asked for")

    def _answer(self, file: ListedFile, part: Range | None) -> ObjectAnswer:
        key = f"{self._prefix}/{file.path}" if self._prefix else file.path
        try:
            return self._client.ask(GetObject(self._bucket, key, _etag(file), "" if part is None else part.header))
        except ConditionFailed as error:
            raise _changed(file) from error


class _Rate:
    """Of what comes over one connection: whether more of them could bring more."""

    def __init__(self) -> None:
        self._began, self._busy_before = time.monotonic(), time.process_time()
        self._bytes, self._waited = 0, 0.0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        asked_at = time.monotonic()
        yield
        self._waited += time.monotonic() - asked_at

    def came(self, count: int) -> None:
        self._bytes += count

    def is_enough(self) -> bool:
        if self._bytes >= _FAST_BYTES_PER_SECOND * self._waited:
            return True
        # Or else it comes as fast as it can be taken in.
        busy = time.process_time() - self._busy_before
        return busy >= _BUSY * _PROCESSORS * (time.monotonic() - self._began)


def _chunks(answer: ObjectAnswer, where: Where | None) -> Iterator[bytes | memoryview]:
    """Read past botocore where it would only count, or take a CRC32; any other checksum of the store's it verifies."""
    from botocore.response import StreamingBody

    body = answer.body
    if type(body) is StreamingBody:
        yield from arriving(body._raw_stream, where)
    elif (promised := promised_crc32(answer)) is not None:
        yield from with_crc32(arriving(body._raw_stream, where), promised)
    elif where is None:
        yield from body.iter_chunks(CHUNK_BYTES)
    else:
        while count := body.readinto(piece := where()):
            yield piece[:count]


def _etag(file: ListedFile) -> str:
    return file.marker.partition(":")[0]


def _changed(file: ListedFile) -> Unreadable:
    return Unreadable("RA008", f"'{printable(file.path)}' changed between listing and reading", file.path)


def _must_answer(answer: ObjectAnswer, file: ListedFile, part: Range | None) -> None:
    """Whatever the endpoint makes of the conditions it was sent.

    Raises:
        Unreadable: it is another object now.
        CouldNotVerify: it is not the range that was asked for.
    """
    # Some endpoints list an ETag without its quotes, and answer with them.
    if _etag(file) and answer.headers.get("etag", "").strip('"') != _etag(file).strip('"'):
        raise _changed(file)
    if part is None:
        return
    given = answer.headers.get("content-range", "").removeprefix("bytes ")
    if given.partition("/")[0] != f"{part.start}-{part.end - 1}":
        raise CouldNotVerify(f"the store does not answer with the range of '{printable(file.path)}' that was asked for")
    if given.partition("/")[2] not in (str(file.size), "*"):
        raise _changed(file)
