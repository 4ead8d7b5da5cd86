"""Models in a bucket of any cloud: names come from the store's own SDK, bodies through obstore.

obstore is fast, and rewrites some names and takes any XML for a listing; the SDKs are slow, and exact about names.
"""

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from registry_audit.errors import CouldNotVerify, Refused, Transient
from registry_audit.model.limits import Limits
from registry_audit.model.listing import ListedFile, Listing, Problem, illegal_path, make_listing
from registry_audit.patience import patiently
from registry_audit.printable import printable
from registry_audit.registry.memory import Where
from registry_audit.registry.politeness import InFlight
from registry_audit.registry.storage import StorageIdentity
from registry_audit.registry.transfers import Transfers
from registry_audit.stores.base import Chunks, Unreadable
from registry_audit.stores.bodies import Bodies, ObjectChanged, carries
from registry_audit.stores.bounded import Tally

_REFUSED_SECONDS = 1.0  # for which a store is left alone that does not say how long


class Entry(NamedTuple):
    """One object of a listing."""

    key: str
    size: int
    etag: str  # with or without quotes, or a generation: another one for other content; "" where there is none
    modified: str  # as str() of the time
    is_directory: bool = False  # said to be one by a store that has directories


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of a listing."""

    entries: Sequence[Entry]
    next: str | None  # the token of the page that follows; None: this is the last one


class Bucket(Protocol):
    """One bucket or container, as its cloud's own SDK speaks to it. Every method makes one request and no second."""

    address: str  # for messages
    host: str  # the server, for the throttle

    def page(self, prefix: str, token: str | None, *, directly: bool) -> Page:
        """One page of the objects whose keys begin with `prefix`.

        Args:
            token: of this page; None for the first one.
            directly: only those without a slash after the prefix.

        Raises:
            CouldNotVerify: the answer is no listing.
            AuditError: whatever else went wrong.
        """
        ...

    def bodies(self) -> Bodies:
        """What reads the objects. Asked for after a page was listed."""
        ...

    def body(self, key: str, etag: str) -> Generator[bytes, None, None]:
        """An object whose name obstore cannot carry; it must still have this ETag, if one is given.

        Raises:
            AuditError: whatever went wrong.
        """
        ...


class ObjectStore:
    """The objects under one key of a bucket."""

    directory: Path | None = None
    tried_again_on = Transient  # a file of it

    def __init__(self, bucket: Bucket, identity: StorageIdentity, transfers: Transfers) -> None:
        self.identity, self.transfers = identity, transfers
        # Keys are literal: one may begin with a slash.
        self._bucket, self._prefix = bucket, f"{identity.path}/" if identity.path else ""

    def root_listing(self) -> Listing:
        found = self._entries(directly=True)
        return make_listing([ListedFile(path, entry.size) for path, entry in found if "/" not in path])

    def listing(self, limits: Limits) -> Listing:
        tally = Tally(limits)
        files: list[ListedFile] = []
        unsafe: list[str] = []
        problems: list[Problem] = []
        for path, entry in self._entries():
            tally.depth(path)
            tally.add(entry.size)
            if reason := illegal_path(path):
                unsafe.append(path)
                problems.append(Problem("RA013", f"'{printable(path)}' {reason}", path))
            else:
                files.append(ListedFile(path, entry.size, f"{entry.etag}:{entry.modified}"))
        return make_listing(files, unsafe=unsafe, problems=problems)

    def read(self, file: ListedFile, where: Where | None = None) -> Chunks:
        """The object that was listed, and no other: its ETag and its size are asked for, and checked in the answer."""
        key, etag, size = self._prefix + file.path, file.marker.partition(":")[0], file.size or 0
        try:
            with self._request() as flight:
                with_obstore = carries(key)
                chunks = self._bucket.bodies().chunks(key, etag, size) if with_obstore else self._bucket.body(key, etag)
                with contextlib.closing(chunks):
                    for chunk in chunks:
                        flight.read(len(chunk))
                        yield chunk
        except ObjectChanged:
            message = f"'{printable(file.path)}' changed between listing and reading"
            raise Unreadable("RA008", message, file.path) from None

    def _entries(self, *, directly: bool = False) -> Iterator[tuple[str, Entry]]:
        """Path below the root, and what is there; markers of directories are left out.

        Raises:
            CouldNotVerify: the listing cannot be had whole.
        """
        token, before = None, set[str | None]()
        while token not in before:
            page = patiently(lambda token=token: self._page(token, directly=directly))  # type: ignore[misc]
            for entry in page.entries:
                if not entry.key.startswith(self._prefix):
                    raise CouldNotVerify(
                        f"{self._bucket.address} lists '{printable(entry.key)}', which was not asked for"
                    )
                path = entry.key[len(self._prefix) :]
                if path and not (entry.size == 0 and (entry.is_directory or path.endswith("/"))):
                    yield path, entry
            if page.next is None:
                return
            before.add(token)
            token = page.next
        raise CouldNotVerify(
            f"the listing of {self._bucket.address} does not end: a page names an earlier one as the next"
        )

    def _page(self, token: str | None, *, directly: bool) -> Page:
        def ask() -> Page:
            with self._request():
                return self._bucket.page(self._prefix, token, directly=directly)

        return self.transfers.run(ask)

    @contextlib.contextmanager
    def _request(self) -> Iterator[InFlight]:
        with self.transfers.politeness.request(self._bucket.host) as flight:
            try:
                yield flight
            except Refused as error:
                flight.refused(_REFUSED_SECONDS if error.retry_after is None else error.retry_after)
                raise
