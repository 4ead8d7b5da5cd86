"""One model that may be reached in several ways, of which a service may refuse some.

The ways are tried in their order, until one shows the model. The last one has the last word: only what that one does
not find either is gone. Where one was denied and the others show nothing, nothing is known.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from registry_audit.errors import CouldNotVerify, Transient, UsageError
from registry_audit.model.limits import Limits
from registry_audit.model.listing import ListedFile, Listing
from registry_audit.net.rest import Denied
from registry_audit.net.transfers import Transfers, Where
from registry_audit.registry.storage import StorageIdentity
from registry_audit.stores.base import Chunks, Store


class FallbackStore:
    """The first of several stores that holds the model. Lists before it reads."""

    directory: Path | None = None

    def __init__(self, ways: Sequence[Callable[[], Store]], identity: StorageIdentity, transfers: Transfers) -> None:
        """
        Args:
            ways: each makes a store, which may take a question to a service.
            identity: of the model, until a store is chosen.
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
