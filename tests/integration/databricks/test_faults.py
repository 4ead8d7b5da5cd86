"""What a workspace, or the way to it, does wrong: never a pass that was not earned."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from support import damage
from support.auditing import Auditor
from support.databricks import Faults, StandIn, Version, older
from support.lending import Lending

CLEAN, FINDINGS, USAGE, INCOMPLETE = 0, 1, 2, 3
WORKSPACE, CATALOG = "databricks://test_env", "databricks-uc://test_env"
FILES, DIRECTORIES, COPIES = 7, 3, 2  # of a model as it was logged
NAMED = {"ids": lambda kind: kind.__name__}

registries = pytest.mark.parametrize("uri", [WORKSPACE, CATALOG], ids=["workspace", "catalog"])
dialects = pytest.mark.parametrize("native", ["false", "true"], ids=["mlflow-dialect", "native-dialect"])


def _add(service: StandIn, uri: str, *, seed: int, name: str = "wine") -> Version:
    if uri == CATALOG:
        return service.register_in_catalog(f"main.ml.{name}", seed=seed)
    return service.register(name, seed=seed)


# ---- what is put up with: the answer is as if nothing had been wrong


def _no_files_api(faults: Faults) -> None:
    faults.internal_files = False


def _files_api_denied(faults: Faults) -> None:
    faults.files_api = 403


def _no_such_api(faults: Faults) -> None:
    faults.files_api = 404


def _signed_urls_only(faults: Faults) -> None:
    faults.direct_files = False


def _expired(faults: Faults) -> None:
    faults.expired, faults.internal_files, faults.direct_files = 1, False, False


def _throttled(faults: Faults) -> None:
    faults.refusals = [(429, "0"), (503, None), (429, "0")]


def _one_a_page(faults: Faults) -> None:
    faults.page_size = 1


def _empty_pages(faults: Faults) -> None:
    faults.page_size, faults.empty_page_first = 2, True


def _needs_filter(faults: Faults) -> None:
    faults.needs_filter = True


def _without_sizes(faults: Faults) -> None:
    faults.without_sizes = True


def _without_sizes_anywhere(faults: Faults) -> None:
    faults.without_sizes, faults.internal_files = True, False


def _without_metastore(faults: Faults) -> None:
    faults.without_metastore = True


@registries
@pytest.mark.parametrize(
    "fault",
    [
        _no_files_api,
        _signed_urls_only,
        _expired,
        _throttled,
        _one_a_page,
        _empty_pages,
        _needs_filter,
        _without_sizes,
        _without_sizes_anywhere,
        _without_metastore,
    ],
    **NAMED,
)
def test_what_is_put_up_with(test_env: StandIn, audit: Auditor, uri: str, fault: Callable[[Faults], None]) -> None:
    _add(test_env, uri, seed=1)
    damage.flip_byte(_add(test_env, uri, seed=2).reg)
    fault(test_env.faults)
    audited = audit(uri)
    assert [row["verdict"] for row in audited.rows] == ["match", "mismatch"], audited.everything
    assert audited.exit_status == FINDINGS
    assert audited.rules == {"RA001"}


@pytest.mark.parametrize("fault", [_files_api_denied, _no_such_api], **NAMED)
def test_a_workspace_without_the_files_api(test_env: StandIn, audit: Auditor, fault: Callable[[Faults], None]) -> None:
    """Runs are then read by signed URLs."""
    _add(test_env, WORKSPACE, seed=1)
    damage.flip_byte(_add(test_env, WORKSPACE, seed=2).reg)
    fault(test_env.faults)
    assert [row["verdict"] for row in audit(WORKSPACE).rows] == ["match", "mismatch"]


# ---- sizes and bodies


@registries
@pytest.mark.parametrize("more", [-1, 1], ids=["too-small", "too-large"])
def test_a_wrong_size(test_env: StandIn, audit: Auditor, uri: str, more: int) -> None:
    version = _add(test_env, uri, seed=1)
    test_env.faults.sizes["model.pkl"] = (version.reg / "model.pkl").stat().st_size + more
    audited = audit(uri)
    assert (audited.exit_status, audited.row["verdict"]) == (FINDINGS, "unverifiable")
    assert "RA008" in audited.rules


@registries
@pytest.mark.parametrize("body", [b"", b"half"], ids=["empty", "short"])
@pytest.mark.parametrize("without_sizes", [False, True], ids=["sizes", "no-sizes"])
@pytest.mark.parametrize("direct", [True, False], ids=["files-api", "signed-urls"])
def test_a_body_that_is_not_the_file(
    test_env: StandIn, audit: Auditor, uri: str, body: bytes, without_sizes: bool, direct: bool
) -> None:
    _add(test_env, uri, seed=1)
    test_env.faults.bodies["model.pkl"] = body
    test_env.faults.without_sizes, test_env.faults.direct_files = without_sizes, direct
    audited = audit(uri)
    # A service that tells no size and answers with the same few bytes for both copies cannot be seen through; but
    # MLmodel says how many bytes were logged.
    assert audited.exit_status in (FINDINGS, INCOMPLETE)
    if not without_sizes:
        assert (audited.row["verdict"], "RA008" in audited.rules) == ("unverifiable", True)
    assert audited.row["verdict"] in ("unverifiable", "match")
    assert audited.row["findings"]


# ---- what is not there, or said not to be


def test_a_directory_that_is_told_to_be_empty(test_env: StandIn, audit: Auditor, tmp_path: Path) -> None:
    """It may be empty in truth: the baseline knows what was in it."""
    _add(test_env, WORKSPACE, seed=1)
    ledger = ("--ledger", f"sqlite:///{tmp_path}/ledger.db")
    assert audit(WORKSPACE, "--accept-new", *ledger).exit_status == CLEAN
    test_env.faults.seen_as_empty = ("/data/nested",)
    audited = audit(WORKSPACE, *ledger)
    assert (audited.exit_status, "RA002" in audited.rules) == (FINDINGS, True)


@registries
def test_a_root_that_is_told_to_be_empty(test_env: StandIn, audit: Auditor, uri: str) -> None:
    _add(test_env, uri, seed=1)
    test_env.faults.seen_as_empty = ("/artifacts/model", "/models/model/", "/wine/1")
    audited = audit(uri)
    assert (audited.exit_status, audited.row["verdict"]) == (FINDINGS, "unverifiable")
    assert "RA003" in audited.rules


@registries
@pytest.mark.parametrize(
    "parts",
    [("/fs/directories/", "list-artifacts"), ("/runs/get",), ("/fs/files/", "/signed/")],
    ids=["listings", "runs", "bodies"],
)
def test_a_page_of_html_is_nobodys_word(test_env: StandIn, audit: Auditor, uri: str, parts: tuple[str, ...]) -> None:
    _add(test_env, uri, seed=1)
    test_env.faults.pages_of_html = parts
    audited = audit(uri)
    assert (audited.exit_status, audited.row["verdict"]) == (INCOMPLETE, "unverifiable")
    assert not {"RA003", "RA004", "RA005"} & audited.rules


@registries
def test_a_listing_of_html(test_env: StandIn, audit: Auditor, uri: str) -> None:
    _add(test_env, uri, seed=1)
    test_env.faults.pages_of_html = ("/model-versions/search",)
    audited = audit(uri)
    assert audited.exit_status == INCOMPLETE
    assert audited.stderr.count("registry-audit: ") == 1, audited.stderr


# ---- denied


@dialects
@pytest.mark.parametrize("unlisted", [True, False], ids=["left-out-of-lists", "listed"])
def test_one_denied_model_of_unity_catalog(
    test_env: StandIn, audit: Auditor, monkeypatch: pytest.MonkeyPatch, native: str, unlisted: bool
) -> None:
    """The others are audited. One that the list names and nobody may look into makes the audit incomplete."""
    monkeypatch.setenv("MLFLOW_ENABLE_UC_NATIVE_MODEL_REGISTRY", native)
    for name in ("iris", "secret", "zoo"):
        _add(test_env, CATALOG, seed=1, name=name)
    test_env.faults.denied, test_env.faults.unlisted = ("main.ml.secret",), unlisted
    audited = audit(CATALOG)
    assert [(row["name"], row["verdict"]) for row in audited.rows] == [
        ("main.ml.iris", "match"),
        ("main.ml.zoo", "match"),
    ]
    assert audited.exit_status == (CLEAN if unlisted else INCOMPLETE), audited.stderr
    assert ("main.ml.secret" in audited.everything) is not unlisted
    audited = audit(CATALOG, "--model", "main.ml.secret")
    assert (audited.exit_status, "permission denied" in audited.everything) == (INCOMPLETE, True)


def test_one_denied_model_of_the_workspace(test_env: StandIn, audit: Auditor) -> None:
    for name in ("iris", "secret"):
        _add(test_env, WORKSPACE, seed=1, name=name)
    test_env.faults.denied, test_env.faults.unlisted = ("secret",), False
    audited = audit(WORKSPACE)
    assert audited.exit_status == INCOMPLETE
    assert [(row["name"], row["verdict"]) for row in audited.rows] == [("iris", "match"), ("secret", "unverifiable")]
    assert "permission denied" in audited.rows[1]["findings"][0]["message"]


@registries
def test_a_token_that_runs_out_meanwhile(test_env: StandIn, audit: Auditor, uri: str) -> None:
    """What was not read by then is not vouched for, and the reason is the token."""
    _add(test_env, uri, seed=1)
    test_env.faults.token_refused_from = "/runs/get"
    audited = audit(uri)
    assert audited.exit_status in (USAGE, INCOMPLETE)
    assert "refuses profile test_env" in audited.everything
    assert "match" not in {row["verdict"] for row in audited.rows} if audited.exit_status == INCOMPLETE else True
    assert test_env.token not in audited.everything


# ---- it changes its mind


@pytest.mark.parametrize("first", ["files-api", "default-storage"])
def test_the_storage_mode_changes_between_two_questions(
    test_env: StandIn, audit: Auditor, lending: Callable[[str], Lending], first: str
) -> None:
    """What the Files API no longer knows is asked for once more before it is called gone."""
    lent = lending("s3")
    for seed in (1, 2):
        version = _add(test_env, CATALOG, seed=seed)
        if seed == 2:
            damage.flip_byte(version.reg)
        lent.keep(version)
    faults = test_env.faults
    faults.models_on_files = False
    faults.said_first = {"models_through_files" if first == "files-api" else "default_storage": [True]}
    audited = audit(CATALOG, "--workers", "1")
    assert [row["verdict"] for row in audited.rows] == ["match", "mismatch"], audited.everything
    assert "RA003" not in audited.rules


@pytest.mark.parametrize("how", ["audit", "check"])
def test_an_alias_that_moves_meanwhile(test_env: StandIn, audit: Auditor, how: str) -> None:
    """The version that the alias stood for is the one that is read and named."""
    for seed in (1, 2):
        version = _add(test_env, CATALOG, seed=seed)
    damage.flip_byte(version.reg)
    test_env.aliases["main.ml.wine"] = {"champion": "1"}
    test_env.faults.aliases_move = {"champion": "2"}
    if how == "check":
        done = audit.command("check", "main.ml.wine@champion", "--tracking-uri", CATALOG)
        assert (done.exit_status, "match" in done.stdout) == (CLEAN, True), done.stderr
        assert audit.command("check", "main.ml.wine@champion", "--tracking-uri", CATALOG).exit_status == FINDINGS
        return
    rows = audit(CATALOG).rows
    assert [(row["version"], row["aliases"], row["verdict"]) for row in rows] == [
        ("1", ["champion"], "match"),
        ("2", [], "mismatch"),
    ]


# ---- slow


@registries
def test_a_body_that_does_not_come(test_env: StandIn, audit: Auditor, uri: str) -> None:
    _add(test_env, uri, seed=1)
    test_env.faults.hangs = ("/signed/", "/fs/files/")
    began = time.monotonic()
    audited = audit(uri, "--max-version-seconds", "2")
    assert time.monotonic() - began < 45
    assert (audited.exit_status, audited.row["verdict"]) == (INCOMPLETE, "unverifiable")
    assert "--max-version-seconds" in audited.everything


def test_a_listing_that_does_not_come(test_env: StandIn, audit: Auditor) -> None:
    _add(test_env, WORKSPACE, seed=1)
    test_env.faults.hangs = ("/model-versions/search",)
    began = time.monotonic()
    audited = audit(WORKSPACE, "--max-listing-seconds", "2")
    assert time.monotonic() - began < 45
    assert audited.exit_status == INCOMPLETE
    assert audited.stderr.count("registry-audit: ") == 1, audited.stderr


@pytest.mark.parametrize("hangs", ["/scim/", "/.well-known/", "/"], ids=["first-answer", "sign-in", "everything"])
def test_a_workspace_that_does_not_answer(
    test_env: StandIn, audit: Auditor, monkeypatch: pytest.MonkeyPatch, hangs: str
) -> None:
    """It takes connections and says nothing: one sentence, after as many seconds as we say."""
    monkeypatch.setattr("registry_audit.net.rest.FIRST_ANSWER_SECONDS", 1)
    monkeypatch.setattr("registry_audit.registry.workspace._SIGN_IN_SECONDS", 1)
    _add(test_env, WORKSPACE, seed=1)
    test_env.faults.hangs = (hangs,)
    began = time.monotonic()
    audited = audit(WORKSPACE)
    assert time.monotonic() - began < 45
    if hangs == "/.well-known/":  # which the SDK asks for, and can do without
        assert audited.exit_status == CLEAN
        return
    assert audited.exit_status == INCOMPLETE
    assert "does not answer" in audited.stderr
    assert audited.stderr.count("registry-audit: ") == 1, audited.stderr


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


def test_quick_reads_what_has_no_time_of_modification(test_env: StandIn, audit: Auditor, tmp_path: Path) -> None:
    """The workspace's registry tells none: its copies are read each time, and an overwrite of equal size is seen."""
    version = _add(test_env, WORKSPACE, seed=1)
    for directory in (version.run, version.reg):
        older(directory)
    ledger = ("--ledger", f"sqlite:///{tmp_path}/ledger.db", "--quick")
    assert audit(WORKSPACE, *ledger, "--accept-new").row["baseline"] == "new"
    for directory in (version.run, version.reg):
        damage.flip_byte(directory)
    audited = audit(WORKSPACE, *ledger)
    assert audited.exit_status == FINDINGS
    assert {"RA001", "RA002"} & audited.rules


@registries
def test_a_change_of_both_copies_is_seen_by_the_baseline(
    test_env: StandIn, audit: Auditor, tmp_path: Path, uri: str
) -> None:
    version = _add(test_env, uri, seed=1)
    ledger = ("--ledger", f"sqlite:///{tmp_path}/ledger.db")
    assert audit(uri, *ledger, "--accept-new").row["baseline"] == "new"
    assert audit(uri, *ledger).row["baseline"] == "unchanged"
    for directory in (version.run, version.reg):
        damage.flip_byte(directory)
    audited = audit(uri, *ledger)
    assert (audited.exit_status, audited.row["verdict"], audited.row["baseline"]) == (FINDINGS, "match", "changed")
    assert "RA002" in audited.rules


@pytest.mark.parametrize(
    ("route", "requests_a_file", "beside"),
    [("workspace", 2, 2), ("files-api", 1, 2), ("signed-urls", 2, 2), ("default-storage", 1, 3), ("bucket", 1, 4)],
)
@pytest.mark.parametrize("runs", ["files-api", "signed-urls"])
def test_requests_of_a_version(
    test_env: StandIn,
    audit: Auditor,
    lending: Callable[[str], Lending],
    route: str,
    requests_a_file: int,
    beside: int,
    runs: str,
) -> None:
    """One listing a directory; one request a file, or two where it is behind a signed URL; a few beside them."""
    uri, faults = WORKSPACE if route == "workspace" else CATALOG, test_env.faults
    faults.internal_files = runs == "files-api"
    faults.direct_files = route != "signed-urls"
    faults.models_through_files = route in ("files-api", "signed-urls")
    faults.default_storage = route == "default-storage"
    lent = lending("s3") if route == "bucket" else None

    def asked_with_another_version(seed: int) -> Counter[str]:
        version = _add(test_env, uri, seed=seed)
        if lent is not None:
            lent.keep(version)
            lent.world.sent.clear()
        faults.models_through_files = route in ("files-api", "signed-urls")
        test_env.asked.clear()
        assert audit(uri).exit_status == CLEAN
        return Counter(test_env.paths()) + Counter(f"{s.method} bucket" for s in (lent.world.sent if lent else ()))

    one, two = asked_with_another_version(1), asked_with_another_version(2)
    if route == "signed-urls":  # the Files API refuses the first few files, before anybody knows
        first_refused = sum(count for path, count in two.items() if "/fs/files/" in path)
        assert 1 <= first_refused <= 2 * COPIES * FILES
        one, two = (Counter({p: n for p, n in each.items() if "/fs/files/" not in p}) for each in (one, two))
    of_runs = 1 if runs == "files-api" and route != "signed-urls" else 2
    directories = DIRECTORIES + (1 if route == "bucket" else DIRECTORIES)  # a bucket is listed as a whole
    asked_in_vain = 1 if runs == "signed-urls" else 0  # the Files API, for the run's directory
    expected = directories + FILES * (requests_a_file + of_runs) + asked_in_vain + beside
    assert two.total() - one.total() == expected, sorted((two - one).items())
