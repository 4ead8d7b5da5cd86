"""Reads models in a bucket of any cloud: names come from the store's own SDK, bodies through obstore.

obstore is fast, but rewrites some names and takes any XML for a listing; the SDKs are slow, but exact about names. If
obstore may hold no credentials, bodies and most listings of S3 come through `registry_audit.stores.signed_bodies`.
"""

import contextlib
import threading
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from registry_audit.errors import CouldNotVerify, Refused
from registry_audit.model.listing import Limits, ListedFile, Listing, Problem, illegal_path, make_listing
from registry_audit.net.retry import retried
from registry_audit.net.throttle import Permit
from registry_audit.net.transfers import Transfers, Where
from registry_audit.printable import printable
from registry_audit.registry.storage import StorageIdentity
from registry_audit.stores.base import CHUNK_BYTES, Chunks, Tally, Unreadable
from registry_audit.stores.object_bodies import CHUNK_BYTES as BODY_CHUNK_BYTES
from registry_audit.stores.object_bodies import Bodies, ObjectChanged, carries
from registry_audit.stores.signed_bodies import SignedBodies

_REFUSED_SECONDS = 1.0  # pause after a refusal that does not say how long
_PAGE_BYTES = 2 << 20  # bytes of a page that may have arrived before its SDK begins to read it


class Entry(NamedTuple):
    """Describes one object of a listing."""

    key: str
    size: int
    etag: str  # with or without quotes, or a generation; differs if the content differs; "" if there is none
    modified: str  # str() of the time
    is_directory: bool = False  # the store has directories, and says that this is one


_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Kept(Generic[_Key, _Value]):
    """Keeps values that are made once for each key, whichever thread asks first, such as a bucket's connections."""

    def __init__(self, *, only_last: bool = False) -> None:
        """
        Args:
            only_last: whether a value is dropped as soon as another key is asked for.
        """
        self._values, self._lock, self._only_last = dict[_Key, _Value](), threading.Lock(), only_last

    def get(self, key: _Key, make: Callable[[], _Value]) -> _Value:
        with self._lock:
            if key not in self._values:
                if self._only_last:
                    self._values.clear()
                self._values[key] = make()
            return self._values[key]


@dataclass(frozen=True, slots=True)
class Page:
    """Holds one response of a listing."""

    entries: Sequence[Entry]
    next: str | None  # token of the next page; None on the last page


class Bucket(Protocol):
    """Accesses one bucket or container through its cloud's own SDK. Every method makes exactly one request."""

    address: str  # for messages
    host: str  # the server, for the throttle

    @property
    def breaks_off(self) -> bool:
        """Say whether the requests of `page` can be cancelled, so that no other thread has to make them."""
        ...

    def page(self, prefix: str, token: str | None, *, directly: bool) -> Page:
        """Return one page of the objects whose keys begin with `prefix`.

        Args:
            token: the page's token; None for the first page.
            directly: only keys without a slash after the prefix.

        Raises:
            CouldNotVerify: the response is no listing.
            AuditError: any other failure.
        """
        ...

    def bodies(self) -> Bodies | SignedBodies | None:
        """Return the reader of the objects; None if only `body` can read them. Call it after a page was listed."""
        ...

    def body(self, key: str, etag: str) -> Generator[bytes, None, None]:
        """Read an object through the SDK, in chunks of at most `CHUNK_BYTES`. It must have this ETag, if one is given.

        Raises:
            AuditError: any failure.
        """
        ...


class ObjectStore:
    """Reads the objects under one key of a bucket."""

    directory: Path | None = None

    def __init__(self, bucket: Bucket, identity: StorageIdentity, transfers: Transfers) -> None:
        self.identity, self.transfers = identity, transfers
        # Keys are literal: a key may begin with a slash.
        self._bucket, self._prefix = bucket, f"{identity.path}/" if identity.path else ""

    def _opened(self) -> Bucket:
        """Return the bucket for the next request. It is called before that request waits for a permit."""
        return self._bucket

    def root_listing(self) -> Listing:
        found = self._entries(Tally(Limits()), directly=True)
        return make_listing([ListedFile(path, entry.size) for path, entry in found if "/" not in path])

    def listing(self, limits: Limits) -> Listing:
        tally = Tally(limits)
        files: list[ListedFile] = []
        unsafe: list[str] = []
        problems: list[Problem] = []
        for path, entry in self._entries(tally):
            tally.depth(path)
            if reason := illegal_path(path):
                unsafe.append(path)
                problems.append(Problem("RA013", f"'{printable(path)}' {reason}", path))
            else:
                # A modification time to the second does not show every change.
                token = f"{entry.etag}:{entry.modified}" if entry.etag else ""
                files.append(ListedFile(path, entry.size, token))
        return make_listing(files, unsafe=unsafe, problems=problems)

    def read(self, file: ListedFile, where: Where | None = None) -> Chunks:
        """Read the object that was listed: its ETag and its size are requested, and checked in the response."""
        key, etag, size = self._prefix + file.path, file.change_token.partition(":")[0], file.size or 0
        bucket = self._opened()
        try:
            with self._request(bucket) as permit:
                bodies = bucket.bodies() if carries(key) else None
                if isinstance(bodies, SignedBodies):
                    yield from bodies.chunks(key, etag, size, permit)
                    return
                chunks = bucket.body(key, etag) if bodies is None else bodies.chunks(key, etag, size)
                permit.answered(unseen_bytes=CHUNK_BYTES if bodies is None else BODY_CHUNK_BYTES)
                for chunk in _aside(chunks, permit, at_once=size <= BODY_CHUNK_BYTES):
                    permit.read(len(chunk))
                    yield chunk
        except ObjectChanged:
            message = f"'{printable(file.path)}' changed between listing and reading"
            raise Unreadable("RA008", message, file.path) from None

    def _entries(self, tally: Tally, *, directly: bool = False) -> Iterator[tuple[str, Entry]]:
        """Yield path below the root and entry of every object; directory markers are left out.

        Args:
            tally: counts the objects, and as directories their markers and the empty pages.

        Raises:
            CouldNotVerify: the complete listing cannot be read.
        """
        token, before = None, set[str | None]()
        while token not in before:
            asked = partial(self._page, token, directly=directly)
            page = retried(asked, pause=self.transfers.throttle.pause)
            if not page.entries:
                tally.directory()
            for entry in page.entries:
                if not entry.key.startswith(self._prefix):
                    raise CouldNotVerify(
                        f"{self._bucket.address} lists '{printable(entry.key)}', which was not asked for"
                    )
                path = entry.key[len(self._prefix) :]
                if path and not (entry.size == 0 and (entry.is_directory or path.endswith("/"))):
                    tally.add(entry.size)
                    yield path, entry
                else:
                    tally.directory()
            if page.next is None:
                return
            before.add(token)
            token = page.next
        raise CouldNotVerify(
            f"the listing of {self._bucket.address} does not end: a page names an earlier one as the next"
        )

    def _page(self, token: str | None, *, directly: bool) -> Page:
        bucket = self._opened()
        with self._request(bucket) as permit, permit.sending():
            if bucket.breaks_off:
                return bucket.page(self._prefix, token, directly=directly)
            permit.answered(unseen_bytes=_PAGE_BYTES)
            return permit.aside(partial(bucket.page, self._prefix, token, directly=directly))

    @contextlib.contextmanager
    def _request(self, bucket: Bucket) -> Iterator[Permit]:
        with self.transfers.throttle.permit(bucket.host) as permit:
            try:
                yield permit
            except Refused as error:
                permit.refused(_REFUSED_SECONDS if error.retry_after is None else error.retry_after)
                raise


def _aside(chunks: Generator[Any, None, None], permit: Permit, *, at_once: bool) -> Iterator[Any]:
    """Yield the chunks; the wait for them can be cancelled.

    Args:
        at_once: whether they are so small that all may be read together.
    """
    try:
        if at_once:
            yield from permit.aside(partial(list, chunks))
            return
        while (chunk := permit.aside(partial(next, chunks, None))) is not None:
            yield chunk
    finally:
        with contextlib.suppress(ValueError):  # an abandoned thread still uses it
            chunks.close()
