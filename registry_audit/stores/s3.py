"""Models in an S3-compatible bucket, read with the client's own credentials: exact names, ETags, streamed.

Large objects that come slowly are read in several ranges at once. Each request is made on the condition that the object
is still the one listed.
"""

import contextlib
import os
import threading
import time
from collections.abc import Generator, Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from registry_audit.errors import BodyEndedEarly, CouldNotVerify, UsageError
from registry_audit.model.limits import Limits
from registry_audit.model.listing import ListedFile, Listing, Problem, illegal_path, make_listing
from registry_audit.patience import patiently
from registry_audit.printable import printable
from registry_audit.registry.memory import PIECE_BYTES, Where, arriving
from registry_audit.registry.politeness import REFUSALS, retry_after_seconds, sent_now
from registry_audit.registry.transfers import Transfers
from registry_audit.registry.translate import translated
from registry_audit.stores.base import CHUNK_BYTES, Chunks, ReadApart, Unreadable, whole_body
from registry_audit.stores.bounded import Tally
from registry_audit.stores.checksum import promises_crc32, with_crc32
from registry_audit.stores.ranges import RANGE_BYTES, Range, in_order

# A single connection to a store in the cloud gives less, several at once give more. Measured while the object is read.
_FAST_BYTES_PER_SECOND = 120e6
_BUSY = 0.5  # of all processors: there may be a server on the same ones
_PROCESSORS = os.cpu_count() or 1
_CONNECTIONS = 64  # kept open: more than requests are ever under way


class S3Store:
    directory: Path | None = None

    def __init__(self, uri: str, identity: str, transfers: Transfers) -> None:
        parts = urlsplit(uri)
        self._bucket, self._prefix = parts.netloc, parts.path.strip("/")
        self.identity = identity
        self.transfers = transfers
        self._client = s3_client()
        self._host = str(self._client.meta.endpoint_url)

    def root_listing(self) -> Listing:
        prefix = f"{self._prefix}/" if self._prefix else ""
        found = [entry for entry in self._entries(prefix, Delimiter="/") if entry["Key"] != prefix]
        return make_listing([ListedFile(entry["Key"][len(prefix) :], entry["Size"]) for entry in found])

    def listing(self, limits: Limits) -> Listing:
        tally = Tally(limits)
        files: list[ListedFile] = []
        unsafe: list[str] = []
        problems: list[Problem] = []
        prefix = f"{self._prefix}/" if self._prefix else ""
        for entry in self._entries(prefix):
            path = entry["Key"][len(prefix) :]
            if not path or (path.endswith("/") and entry["Size"] == 0):
                continue  # the marker of a directory
            tally.depth(path)
            tally.add(entry["Size"])
            if reason := illegal_path(path):
                unsafe.append(path)
                problems.append(Problem("RA013", f"'{printable(path)}' {reason}", path))
            else:
                marker = f"{entry.get('ETag', '')}:{entry.get('LastModified', '')}"
                files.append(ListedFile(path, entry["Size"], marker))
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

    def _entries(self, prefix: str, **how: str) -> Iterator[Any]:
        paginator = self._client.get_paginator("list_objects_v2")
        pages = iter(paginator.paginate(Bucket=self._bucket, Prefix=prefix, **how))
        while True:
            with (
                translated(f"list s3://{printable(self._bucket)}/{printable(self._prefix)}"),
                self.transfers.politeness.request(self._host) as flight,
                flight.sending(),
            ):
                page = next(pages, None)
            if page is None:
                return
            yield from page.get("Contents", ())

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
            self.transfers.politeness.request(self._host) as flight,
        ):
            with flight.sending():
                answer = self._answer(file, part)
            body, size = answer["Body"], 0
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

    def _answer(self, file: ListedFile, part: Range | None) -> Any:
        from botocore.exceptions import ClientError

        asked = {"Bucket": self._bucket, "Key": f"{self._prefix}/{file.path}" if self._prefix else file.path}
        if etag := _etag(file):
            asked["IfMatch"] = etag
        if part is not None:
            asked["Range"] = part.header
        try:
            return self._client.get_object(**asked)
        except ClientError as error:
            if error.response["ResponseMetadata"].get("HTTPStatusCode") in (412, 416):
                raise _changed(file) from error
            raise


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


def _chunks(answer: Any, where: Where | None) -> Iterator[bytes | memoryview]:
    """Read past botocore where it would only count, or take a CRC32; any other checksum of the store's it verifies."""
    from botocore.response import StreamingBody

    body = answer["Body"]
    if type(body) is StreamingBody:
        yield from arriving(body._raw_stream, where)
    elif promises_crc32(answer):
        yield from with_crc32(arriving(body._raw_stream, where), answer["ChecksumCRC32"])
    elif where is None:
        yield from body.iter_chunks(CHUNK_BYTES)
    else:
        while count := body.readinto(piece := where()):
            yield piece[:count]


def _etag(file: ListedFile) -> str:
    return file.marker.partition(":")[0]


def _changed(file: ListedFile) -> Unreadable:
    return Unreadable("RA008", f"'{printable(file.path)}' changed between listing and reading", file.path)


def _must_answer(answer: Any, file: ListedFile, part: Range | None) -> None:
    """Whatever the endpoint makes of the conditions it was sent.

    Raises:
        Unreadable: it is another object now.
        CouldNotVerify: it is not the range that was asked for.
    """
    # Some endpoints list an ETag without its quotes, and answer with them.
    if _etag(file) and answer.get("ETag", "").strip('"') != _etag(file).strip('"'):
        raise _changed(file)
    if part is None:
        return
    given = str(answer.get("ContentRange", "")).removeprefix("bytes ")
    if given.partition("/")[0] != f"{part.start}-{part.end - 1}":
        raise CouldNotVerify(f"the store does not answer with the range of '{printable(file.path)}' that was asked for")
    if given.partition("/")[2] not in (str(file.size), "*"):
        raise _changed(file)


def s3_client() -> Any:
    """A client set up as MLflow's own, so that MLFLOW_S3_ENDPOINT_URL and the like mean the same here.

    One for each set of credentials in the environment, shared by all threads: connections are reused.
    """
    try:
        import boto3  # noqa: F401
    except ImportError as error:
        raise UsageError("reading s3:// needs boto3: pip install 'mlflow-registry-audit[s3]'") from error
    chosen = tuple(sorted(item for item in os.environ.items() if item[0].startswith(("AWS_", "MLFLOW_"))))
    with _clients_lock:
        if chosen not in _clients:
            _clients.clear()
            _clients[chosen] = _new_client()
        return _clients[chosen]


_clients: dict[tuple[tuple[str, str], ...], Any] = {}
_clients_lock = threading.Lock()


def _new_client() -> Any:
    import boto3
    import botocore.session
    from botocore.config import Config
    from mlflow.environment_variables import MLFLOW_S3_ENDPOINT_URL, MLFLOW_S3_IGNORE_TLS
    from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

    model = S3ArtifactRepository("s3://-/")._get_s3_client()
    session = botocore.session.get_session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=timestamp)
    client = boto3.Session(botocore_session=session).client(
        "s3",
        config=model.meta.config.merge(Config(max_pool_connections=_CONNECTIONS)),
        endpoint_url=MLFLOW_S3_ENDPOINT_URL.get(),
        verify=False if MLFLOW_S3_IGNORE_TLS.get() else None,
    )
    # Around botocore's own retries: what one request is told, the others towards that host heed too.
    client.meta.events.register("needs-retry.s3", _told)
    client.meta.events.register("before-send.s3", _wait)
    _make_breakable(client)
    return client


def timestamp(value: Any) -> Any:
    """As botocore reads it, in a tenth of the time: of a listing or a small object that is a tenth of the whole."""
    from botocore.utils import parse_timestamp

    if isinstance(value, str):
        for read in (datetime.fromisoformat, parsedate_to_datetime):
            with contextlib.suppress(ValueError):
                return read(value)
    return parse_timestamp(value)


def _make_breakable(client: Any) -> None:
    """botocore has no public way to its connections: where it keeps them elsewhere, stopping waits for a time-out."""
    from botocore.awsrequest import AWSHTTPConnectionPool, AWSHTTPSConnectionPool

    from registry_audit.registry.transport import breakable

    manager = getattr(getattr(client._endpoint, "http_session", None), "_manager", None)
    if manager is not None:
        pools = {"http": breakable(AWSHTTPConnectionPool), "https": breakable(AWSHTTPSConnectionPool)}
        manager.pool_classes_by_scheme = pools


def _told(response: Any, attempts: int, **_: Any) -> None:
    flight = sent_now()
    if flight is None or response is None or response[0].status_code not in REFUSALS:
        return
    advised = retry_after_seconds(response[0].headers.get("Retry-After"))
    flight.refused(min(0.25 * 2**attempts, 20.0) if advised is None else advised)


def _wait(**_: Any) -> None:
    flight = sent_now()
    if flight is not None and (flight.was_refused or flight.was_given_up):
        flight.wait()
