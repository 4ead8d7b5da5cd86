"""What a workspace, or the way to it, does wrong: never a pass that was not earned."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from support import damage
from support.auditing import Auditor
from support.databricks import Faults, StandIn, Version, older

CLEAN, FINDINGS, USAGE, INCOMPLETE = 0, 1, 2, 3
WORKSPACE, CATALOG = "databricks://test_env", "databricks-uc://test_env"
FILES, DIRECTORIES = 7, 3  # of a model as it was logged
NAMED = {"ids": lambda kind: kind.__name__}


def _add(service: StandIn, uri: str, **how: int) -> Version:
    return service.register_in_catalog("main.ml.wine", **how) if uri == CATALOG else service.register("Wine", **how)


registries = pytest.mark.parametrize("uri", [WORKSPACE, CATALOG], ids=["workspace", "catalog"])


# ---- one copy is damaged


@registries
@pytest.mark.parametrize("kind", damage.CONTENT, **NAMED)
def test_damaged_registry_model(test_env: StandIn, audit: Auditor, uri: str, kind: damage.Damage) -> None:
    path = kind(_add(test_env, uri, seed=1).reg)
    audited = audit(uri)
    assert (audited.exit_status, audited.row["verdict"]) == (FINDINGS, "mismatch"), audited.stderr
    differing = [difference["path"] for difference in audited.row["differences"]]
    assert any(found == path or found.startswith(f"{path}/") for found in differing), differing


@registries
@pytest.mark.parametrize("kind", damage.MISSING, **NAMED)
def test_missing(test_env: StandIn, audit: Auditor, uri: str, kind: damage.Damage) -> None:
    version = _add(test_env, uri, seed=1)
    kind(version.reg)
    assert audit(uri).exit_status == FINDINGS
    kind(version.run)
    audited = audit(uri)
    assert audited.exit_status in (FINDINGS, INCOMPLETE)
    assert audited.row["verdict"] == "unverifiable"


# ---- the service


def _no_files_api(faults: Faults) -> None:
    faults.internal_files = False


def _signed_urls_only(faults: Faults) -> None:
    faults.direct_files = False


def _expired(faults: Faults) -> None:
    faults.expired = 1
    faults.internal_files = False


def _throttled(faults: Faults) -> None:
    faults.refusals = [(429, "0"), (503, None), (429, "0")]


def _empty_pages(faults: Faults) -> None:
    faults.page_size, faults.empty_page_first = 1, True


def _needs_filter(faults: Faults) -> None:
    faults.needs_filter = True


def _without_sizes(faults: Faults) -> None:
    faults.without_sizes = True


@registries
@pytest.mark.parametrize(
    "fault", [_no_files_api, _signed_urls_only, _expired, _throttled, _empty_pages, _needs_filter], **NAMED
)
def test_what_is_put_up_with(test_env: StandIn, audit: Auditor, uri: str, fault: Callable[[Faults], None]) -> None:
    sound, broken = _add(test_env, uri, seed=1), _add(test_env, uri, seed=2)
    damage.flip_byte(broken.reg)
    fault(test_env.faults)
    audited = audit(uri)
    assert [row["verdict"] for row in audited.rows] == ["match", "mismatch"], audited.everything
    assert audited.exit_status == FINDINGS
    assert sound.version == "1"


@registries
@pytest.mark.parametrize("body", [b"", b"half"], ids=["empty", "short"])
@pytest.mark.parametrize("without_sizes", [False, True], ids=["sizes", "no-sizes"])
def test_a_body_that_is_not_the_file(
    test_env: StandIn, audit: Auditor, uri: str, body: bytes, without_sizes: bool
) -> None:
    _add(test_env, uri, seed=1)
    test_env.faults.bodies["model.pkl"] = body
    test_env.faults.without_sizes = without_sizes
    audited = audit(uri)
    # A service that tells no size and answers with the same few bytes for both copies cannot be seen through; but
    # MLmodel says how many bytes were logged.
    assert audited.exit_status in (FINDINGS, INCOMPLETE)
    assert audited.row["verdict"] in ("unverifiable", "match")
    assert audited.row["findings"]


def test_a_directory_that_is_told_to_be_empty(test_env: StandIn, audit: Auditor, tmp_path: Path) -> None:
    """It may be empty in truth: the baseline knows what was in it."""
    _add(test_env, WORKSPACE, seed=1)
    ledger = ("--ledger", f"sqlite:///{tmp_path}/ledger.db")
    assert audit(WORKSPACE, "--accept-new", *ledger).exit_status == CLEAN
    test_env.faults.seen_as_empty = ("/data/nested",)
    audited = audit(WORKSPACE, *ledger)
    assert (audited.exit_status, "RA002" in audited.rules) == (FINDINGS, True)


def test_a_page_of_html_is_nobodys_word(test_env: StandIn, audit: Auditor) -> None:
    _add(test_env, CATALOG, seed=1)
    test_env.faults.pages_of_html = ("/Models/",)
    audited = audit(CATALOG)
    assert (audited.exit_status, audited.row["verdict"]) == (INCOMPLETE, "unverifiable")


def test_one_denied_model(test_env: StandIn, audit: Auditor) -> None:
    _add(test_env, CATALOG, seed=1)
    test_env.register_in_catalog("main.ml.secret", seed=2)
    test_env.faults.denied = ("main.ml.secret",)
    audited = audit(CATALOG)
    assert audited.exit_status == INCOMPLETE
    assert "permission denied" in audited.everything


# ---- without reading, and with few requests


@registries
def test_liveness(test_env: StandIn, audit: Auditor, uri: str) -> None:
    _add(test_env, uri, seed=1)
    damage.delete_tree(_add(test_env, uri, seed=2).reg)
    audited = audit(uri, "--liveness")
    assert audited.exit_status == FINDINGS
    assert "RA003" in audited.rules
    assert test_env.paths(containing="/signed/") == test_env.paths(containing="/fs/files/") == []


def test_quick_trusts_what_was_not_modified(test_env: StandIn, audit: Auditor, tmp_path: Path) -> None:
    version = _add(test_env, CATALOG, seed=1)
    for directory in (version.run, version.reg):
        older(directory)
    ledger = ("--ledger", f"sqlite:///{tmp_path}/ledger.db", "--quick")
    assert audit(CATALOG, *ledger, "--accept-new").row["baseline"] == "new"
    test_env.asked.clear()
    audited = audit(CATALOG, *ledger)
    assert (audited.exit_status, audited.row["verdict"]) == (CLEAN, "match")
    assert {path.rpartition("/")[2] for path in test_env.paths(containing="/fs/files/")} == {"MLmodel"}
    (version.reg / "model.pkl").write_bytes(b"x" * 4096)
    assert audit(CATALOG, *ledger).exit_status == FINDINGS


@registries
def test_requests_of_a_version(test_env: StandIn, audit: Auditor, uri: str) -> None:
    """One listing a directory; one request a file, or two where the service hands out a signed URL."""
    _add(test_env, uri, seed=1)
    audit(uri)
    before = Counter(test_env.paths())
    _add(test_env, uri, seed=2)
    test_env.asked.clear()
    audit(uri)
    more = Counter(test_env.paths()) - before
    copies = 2
    files = sum(n for path, n in Counter(test_env.paths()).items() if "/fs/files/" in path or "/signed/" in path)
    listings = sum(
        n for path, n in Counter(test_env.paths()).items() if "/directories/" in path or "list-artifacts" in path
    )
    signed = len(test_env.paths(containing="get-signed-download-uri"))
    assert (files, listings) == (2 * copies * FILES, 2 * copies * DIRECTORIES)
    assert signed == (2 * FILES if uri == WORKSPACE else 0)
    assert sum(more.values()) <= copies * (FILES + DIRECTORIES) + signed + 4
