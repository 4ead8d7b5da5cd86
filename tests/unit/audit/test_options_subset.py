"""t parts of a registry: together everything, each version once, and always the same part."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ledgers import REGISTRY_URI

from registry_audit.audit.options import AuditOptions, selected
from registry_audit.registry.version import ListedVersions, RegisteredVersion, version_spool

_keys = st.sets(st.tuples(st.text(max_size=8), st.integers(1, 40)), max_size=30)


def registered(keys: set[tuple[str, int]]) -> ListedVersions:
    spool = version_spool()
    for name, number in sorted(keys):
        spool.append(RegisteredVersion(name, str(number), "READY", None, (), None, ""))
    return ListedVersions(spool, array("q", range(len(keys))))


def part(versions: ListedVersions, n: int, t: int, **chosen: int) -> list[str]:
    options = AuditOptions(tracking_uri=REGISTRY_URI, subset=f"{n}/{t}", **chosen)
    return [version.label for version in selected(versions, options)]


@given(_keys, st.integers(1, 9))
def test_the_parts_cover_everything_exactly_once(keys: set[tuple[str, int]], parts: int) -> None:
    versions = registered(keys)
    covered = [label for n in range(1, parts + 1) for label in part(versions, n, parts)]
    assert sorted(covered) == sorted(version.label for version in versions)


@given(_keys, _keys, st.integers(1, 9))
def test_a_version_stays_in_its_part_whatever_comes_and_goes(
    keys: set[tuple[str, int]], others: set[tuple[str, int]], parts: int
) -> None:
    for n in range(1, parts + 1):
        mine = {version.label for version in registered(keys)}
        both = part(registered(keys | others), n, parts)
        assert part(registered(keys), n, parts) == [label for label in both if label in mine]


def test_the_parts_are_about_equal() -> None:
    versions = registered({("wine", number) for number in range(1, 1_001)})
    sizes = [len(part(versions, n, 4)) for n in range(1, 5)]
    assert sum(sizes) == 1_000
    assert all(200 < size < 300 for size in sizes), sizes


@pytest.mark.parametrize("strange", ["", "abc", "1.0", "-1", "9" * 40])
def test_a_version_of_no_number_may_be_the_latest(strange: str) -> None:
    spool = version_spool()
    for number in (strange, "1", "2"):
        spool.append(RegisteredVersion("wine", number, "READY", None, (), None, ""))
    versions = ListedVersions(spool, array("q", range(3)))
    latest = selected(versions, AuditOptions(tracking_uri=REGISTRY_URI, latest=1))
    assert [version.version for version in latest] == [strange, "2"]


def test_the_parts_of_the_latest_are_the_latest() -> None:
    versions = registered({("wine", number) for number in range(1, 11)})
    latest = selected(versions, AuditOptions(tracking_uri=REGISTRY_URI, latest=2))
    covered = [label for n in (1, 2, 3) for label in part(versions, n, 3, latest=2)]
    assert sorted(covered) == sorted(version.label for version in latest)
