"""Reads one model from several stores: from the first that has it, or from two that MLflow lays over each other.

`FallbackStore` tries its stores in order until one has the model. The model is gone only if the last store does not
find it either. If one store denied access and the others show nothing, the model cannot be verified.

`OverlayStore` combines the two roots of `runs:/RUN/NAME`: the run's own directory, and a LoggedModel of that name.
MLflow lays them over each other in two ways: `download_artifacts("runs:/RUN/NAME")` merges them, while
`models:/NAME/VERSION` serves the run's own files at the root and the LoggedModel's in a directory below. If both hold
files, all of them are read, as `models:/` serves them, and RA015 reports it.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from registry_audit.errors import CouldNotVerify, Transient, UsageError
from registry_audit.model.listing import Limits, ListedFile, Listing, Problem, make_listing
from registry_audit.net.rest import Denied
from registry_audit.net.transfers import Transfers, Where
from registry_audit.printable import printable
from registry_audit.registry.storage import StorageIdentity
from registry_audit.stores.base import Chunks, NotSeen, Store, transfers_of


class FallbackStore:
    """Uses the first of several stores that holds the model. It lists before it reads."""

    directory: Path | None = None

    def __init__(self, ways: Sequence[Callable[[], Store]], identity: StorageIdentity, transfers: Transfers) -> None:
        """
        Args:
            ways: each makes a store, which may take a request to a service.
            identity: the model's identity, until a store is chosen.
        """
        self.transfers, self.identity = transfers, identity
        self.ways, self._choosing = tuple(ways), threading.Lock()
        self.chosen: Store | None = None

    def root_listing(self) -> Listing:
        return self._first(lambda store: store.root_listing())

    def listing(self, limits: Limits) -> Listing:
        return self._first(lambda store: store.listing(limits))

    def read(self, file: ListedFile, where: Where | None = None) -> Chunks:
        if self.chosen is None:
            self.root_listing()
        assert self.chosen is not None
        yield from self.chosen.read(file, where)

    def _first(self, listing_of: Callable[[Store], Listing]) -> Listing:
        with self._choosing:
            if self.chosen is not None:
                return listing_of(self.chosen)
            denied: Denied | None = None
            for way in self.ways:
                is_last = way is self.ways[-1]
                try:
                    store = way()
                    listing = listing_of(store)
                except Transient:
                    raise
                except (CouldNotVerify, UsageError) as error:
                    if is_last:
                        raise
                    denied = denied or (error if isinstance(error, Denied) else None)
                    continue
                if listing.files or listing.problems or is_last:
                    break
            if denied is not None and not listing.files and not listing.problems:
                raise denied
            self.chosen, self.identity = store, store.identity
            return listing


class OverlayStore:
    """Reads two stores as one model. If one of them has no files, only the other one counts. List before reading."""

    directory: Path | None = None

    def __init__(self, own: Store, logged: Store, name: str) -> None:
        """
        Args:
            name: the name of the LoggedModel.
        """
        self._stores, self._name = (own, logged), name
        self.transfers = next(filter(None, map(transfers_of, self._stores)), None)
        self._holder: dict[str, tuple[Store, ListedFile]] = {}
        self.identity = StorageIdentity.of_several((own.identity, logged.identity))

    def root_listing(self) -> Listing:
        return self._together([_listed(store.root_listing) for store in self._stores])

    def listing(self, limits: Limits) -> Listing:
        return self._together([_listed(partial(store.listing, limits)) for store in self._stores])

    def _together(self, listings: "list[Listing | NotSeen]") -> Listing:
        seen = [
            (store, listing)
            for store, listing in zip(self._stores, listings, strict=True)
            if not isinstance(listing, NotSeen)
        ]
        if not seen:
            raise next(listing for listing in listings if isinstance(listing, NotSeen))
        filled = [(store, listing) for store, listing in seen if listing.files or listing.problems]
        # Usually one of them is empty: then the model is the other storage, and must be recognised as such.
        self.identity = StorageIdentity.of_several(tuple(store.identity for store, _ in filled or seen))
        if len(filled) < 2:
            store, listing = (filled or seen)[0]
            self._holder = {file.path: (store, file) for file in listing.files}
            return listing
        self._holder = {}
        parts = [(store, "" if store is self._stores[0] else f"{self._name}/", listing) for store, listing in filled]
        for store, prefix, listing in parts:
            self._holder |= {prefix + file.path: (store, file) for file in listing.files}
        problems = [
            replace(problem, path=prefix + problem.path if problem.path is not None else None)
            for _, prefix, listing in parts
            for problem in listing.problems
        ]
        return make_listing(
            [replace(file, path=path) for path, (_, file) in self._holder.items()],
            empty_directories=[prefix + path for _, prefix, listing in parts for path in listing.empty_directories],
            unsafe=[prefix + path for _, prefix, listing in parts for path in listing.unsafe],
            problems=[*problems, Problem("RA015", self._message(), blocks=False)],
            settled=all(listing.settled for _, _, listing in parts),
        )

    def _message(self) -> str:
        own, logged = (printable(store.identity.shown) for store in self._stores)
        return f"the run's own directory {own} and the LoggedModel of its name {logged} both hold files"

    def read(self, file: ListedFile, where: Where | None = None) -> Chunks:
        store, listed = self._holder[file.path]
        return store.read(listed, where)


def _listed(listing: Callable[[], Listing]) -> "Listing | NotSeen":
    try:
        return listing()
    except NotSeen as error:
        return error
