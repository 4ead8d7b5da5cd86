"""Several roots read as one, as MLflow reads `runs:/RUN/NAME` when a LoggedModel has that name too."""

from pathlib import Path

from registry_audit.model.limits import Limits
from registry_audit.model.listing import ListedFile, Listing, make_listing
from registry_audit.registry.memory import Where
from registry_audit.registry.storage import StorageIdentity
from registry_audit.stores.base import Chunks, Store, transfers_of


class OverlayStore:
    """A later store hides the same path in an earlier one. Lists before it reads."""

    directory: Path | None = None

    def __init__(self, stores: tuple[Store, ...]) -> None:
        self._stores = stores
        self.transfers = next(filter(None, map(transfers_of, stores)), None)
        self._holder: dict[str, Store] = {}
        self.identity = StorageIdentity.of_several(tuple(store.identity for store in stores))

    def root_listing(self) -> Listing:
        files = {file.path: file for store in self._stores for file in store.root_listing().files}
        return make_listing(list(files.values()))

    def listing(self, limits: Limits) -> Listing:
        files: dict[str, ListedFile] = {}
        listings = [(store, store.listing(limits)) for store in self._stores]
        for store, listing in listings:
            for file in listing.files:
                files[file.path] = file
                self._holder[file.path] = store
        filled = [store for store, listing in listings if listing.files or listing.problems]
        # Usually one of them is empty: then this is that one storage, and must be recognised as such.
        self.identity = StorageIdentity.of_several(tuple(store.identity for store in filled or self._stores))
        return make_listing(
            list(files.values()),
            unsafe=[path for _, listing in listings for path in listing.unsafe],
            problems=[problem for _, listing in listings for problem in listing.problems],
            settled=all(listing.settled for _, listing in listings),
        )

    def read(self, file: ListedFile, where: Where | None = None) -> Chunks:
        return self._holder[file.path].read(file, where)
