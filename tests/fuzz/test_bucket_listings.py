"""Any pages of a bucket, any directories of a proxy: each name is listed, refused or a problem, within the limits."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import fuzzed, texts

from registry_audit.errors import AuditError
from registry_audit.model.listing import Limits, Listing, illegal_path
from registry_audit.net.transfers import Transfers
from registry_audit.registry.storage import StorageIdentity
from registry_audit.stores.base import Child, walk
from registry_audit.stores.object_bodies import Bodies
from registry_audit.stores.objects import Entry, ObjectStore, Page
from registry_audit.stores.proxy import cannot_carry

LIMITS = Limits(max_files=10, max_directories=10, max_depth=4, max_bytes=10_000)
names = st.lists(texts | st.sampled_from(["MLmodel", "a", "A", "b", "..", "."]), min_size=1, max_size=5).map("/".join)
sizes = st.integers(0, 5_000) | st.just(10**30)


@dataclass
class Pages:
    """A bucket that answers with these pages."""

    pages: dict[str | None, Page]
    address: str = "s3://bucket"
    host: str = "127.0.0.1"
    breaks_off: bool = False
    asked: list[str | None] = field(default_factory=list)

    def page(self, prefix: str, token: str | None, *, directly: bool) -> Page:
        self.asked.append(token)
        return self.pages[token]

    def bodies(self) -> Bodies:
        raise NotImplementedError

    def body(self, key: str, etag: str) -> Iterator[bytes]:  # type: ignore[override]
        raise NotImplementedError


_keys = names.map(lambda name: f"m/{name}") | names
_entries = st.builds(Entry, _keys, sizes, texts, texts, st.booleans())
_tokens = st.sampled_from([None, "1", "2", "3"])
_pages = st.fixed_dictionaries(
    {token: st.builds(Page, st.lists(_entries, max_size=6), _tokens) for token in (None, "1", "2", "3")}
)


def must_be_bounded(listing: Listing) -> None:
    assert len(listing.files) <= LIMITS.max_files
    assert sum(file.size or 0 for file in listing.files) <= LIMITS.max_bytes
    assert all(file.path.count("/") <= LIMITS.max_depth for file in listing.files)
    assert [file.path for file in listing.files if illegal_path(file.path)] == []
    assert listing.fingerprint() == listing.fingerprint()


@fuzzed(80)
@given(_pages)
def test_any_pages(pages: dict[str | None, Page]) -> None:
    bucket = Pages(pages)
    store = ObjectStore(bucket, StorageIdentity("s3", "", "bucket", "m"), Transfers())  # type: ignore[arg-type]
    try:
        listing = store.listing(LIMITS)
    except AuditError:
        assert len(bucket.asked) <= len(pages)
        return
    must_be_bounded(listing)
    token: str | None = None
    said = {file.path for file in listing.files} | {problem.path for problem in listing.problems}
    for asked in bucket.asked:
        assert asked == token
        for entry in pages[asked].entries:
            assert entry.key.startswith("m/")
            is_marker = entry.size == 0 and (entry.is_directory or entry.key.endswith("/"))
            assert is_marker or entry.key == "m/" or entry.key.removeprefix("m/") in said
        token = pages[asked].next
    assert token is None


@fuzzed(80)
@given(
    st.dictionaries(
        st.sampled_from(["", "a", "b", "a/b", "a/b/c"]),
        st.lists(st.builds(Child, names, st.booleans(), sizes), max_size=5),
    )
)
def test_any_directories(tree: dict[str, list[Child]]) -> None:
    asked = list[str]()

    def children(directory: str) -> list[Child]:
        asked.append(directory)
        return tree.get(directory, [])

    try:
        listing = walk(children, LIMITS, cannot_carry=cannot_carry)
    except AuditError:
        return
    finally:
        assert len(asked) <= LIMITS.max_directories
    must_be_bounded(listing)
    said = {file.path for file in listing.files} | {problem.path for problem in listing.problems} | set(asked)
    assert {child.path for directory in asked for child in tree.get(directory, [])} <= said


@fuzzed(40)
@given(st.lists(st.builds(Child, names, st.just(False), sizes), max_size=5))
def test_a_directory_that_holds_itself(children: list[Child]) -> None:
    asked = list[str]()

    def again(directory: str) -> list[Child]:
        asked.append(directory)
        return [Child(f"{directory}/d" if directory else "d", True), *children[: len(asked)]]

    try:
        walk(again, LIMITS, cannot_carry=cannot_carry)
    except AuditError:
        pass
    else:
        raise AssertionError("it has no end")
    assert len(asked) <= LIMITS.max_directories
