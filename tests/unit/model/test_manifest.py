import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_audit.errors import AuditError
from registry_audit.model.manifest import Manifest, ManifestEntry, parse_manifest

# Any text at all, lone surrogates (a file name that is not UTF-8) included.
paths = st.text(st.characters(exclude_characters="\0"), min_size=1)
digests = st.binary(min_size=32, max_size=32).map(lambda raw: f"sha256:{raw.hex()}")
manifests = st.dictionaries(paths, st.tuples(st.integers(0, 2**50), digests), max_size=8).map(
    lambda files: Manifest(tuple(sorted(ManifestEntry(path, size, digest) for path, (size, digest) in files.items())))
)


@given(manifests)
def test_the_text_round_trips_for_any_legal_path(manifest: Manifest) -> None:
    assert parse_manifest(manifest.text()) == manifest


@given(manifests, manifests)
def test_two_manifests_have_one_digest_exactly_when_they_are_equal(one: Manifest, two: Manifest) -> None:
    assert (one.digest() == two.digest()) == (one == two)


@given(manifests)
def test_every_part_of_an_entry_is_covered_by_the_digest(manifest: Manifest) -> None:
    for index, entry in enumerate(manifest.entries):
        for changed in (
            ManifestEntry(entry.path + "x", entry.size, entry.digest),
            ManifestEntry(entry.path, entry.size + 1, entry.digest),
            ManifestEntry(entry.path, entry.size, entry.digest[:-1] + ("0" if entry.digest[-1] != "0" else "1")),
        ):
            entries = (*manifest.entries[:index], changed, *manifest.entries[index + 1 :])
            assert Manifest(entries).digest() != manifest.digest()


@pytest.mark.parametrize("text", ["nonsense\n", 'sha256:00 twelve "a"\n', "sha256:00 12 a\n"])
def test_what_is_no_manifest_is_refused_by_line(text: str) -> None:
    with pytest.raises(AuditError, match="line 1"):
        parse_manifest(text)
