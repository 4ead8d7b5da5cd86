"""No answer that is late, broken, false or hostile is ever taken for a sound model."""

import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest
from support import damage, faults
from support.auditing import Audited, Auditor
from support.faulty_proxy import DOWNLOADS, LISTINGS, Exchange, Fault, FaultyProxy, Response, faulty_proxy
from support.processes import free_port
from support.registry import Registered, Registry
from support.servers import MlflowServer

CLEAN, FINDINGS, USAGE, INCOMPLETE = 0, 1, 2, 3
PASSES = {"match", "same_storage", "equivalent"}

ROUTES = {
    "download": rf"{DOWNLOADS}.*{re.escape(damage.TOP_FILE)}$",
    "listing": LISTINGS,
    "versions": r"/model-versions/search",
    "models": r"/registered-models/search",
    "download-uri": r"/model-versions/get-download-uri",
    "run": r"/runs/get",
}
# Gone with the next try, so a retry must see the truth.
PASSING = {
    "reset": faults.reset(),
    "reset-in-body": faults.reset(after_bytes=10),
    "cut": faults.truncated("original"),
    "cut-chunks": faults.truncated("chunked-unfinished"),
    "429": faults.status(429),
    "429-later": faults.status(429, retry_after_seconds=1),
    "500": faults.status(500),
    "502": faults.status(502),
    "503-later": faults.status(503, retry_after_seconds=1),
    "504": faults.status(504),
    "mlflow-500": faults.mlflow_error(500, "INTERNAL_ERROR"),
}
# No try will ever help, or nobody can tell that one would.
LASTING = {
    "401": faults.status(401),
    "403": faults.status(403),
    "mlflow-403": faults.mlflow_error(403, "PERMISSION_DENIED"),
    "404-page": faults.status(404),
    "501": faults.status(501),
    "no-content": faults.status(204),
    "redirect": faults.status(302, headers={"Location": "/health"}),
    "login-page": faults.login_page(),
    "other-json": faults.other_json(),
    "cut-unseen": faults.truncated("corrected"),
    "cut-chunked": faults.truncated("chunked"),
}


# What shows most on the registry's own routes; the rest of the table takes minutes.
_QUICK_ROUTES = ("download", "listing")
_QUICK_FAULTS = ("reset", "cut", "500", "404-page", "login-page", "other-json")


def _table(
    names: Iterable[str], defects: Mapping[tuple[str, str], str] = MappingProxyType({})
) -> list[pytest.ParameterSet]:
    """Every fault on every route; `defects` says by (fault, route) what is known to fail."""
    rows = []
    for fault in names:
        for route in ROUTES:
            marks = []
            if route not in _QUICK_ROUTES and fault not in _QUICK_FAULTS:
                marks.append(pytest.mark.slow)
            if (fault, route) in defects:
                marks.append(pytest.mark.xfail(reason=defects[fault, route], strict=True))
            rows.append(pytest.param(fault, route, marks=marks, id=f"{fault}-{route}"))
    return rows


@dataclass(frozen=True, slots=True)
class Versions:
    separate: Registered
    shared: Registered
    damaged: Registered

    @property
    def separate_and_shared(self) -> tuple[str, ...]:
        """Arguments that select two sound models: of two copies, and of one."""
        return ("--model", self.separate.name, "--model", self.shared.name)


@pytest.fixture(scope="module")
def versions(mlflow_a: MlflowServer) -> Versions:
    registry = Registry(mlflow_a)
    damaged = registry.add(seed=3, separate=True)
    with mlflow_a.artifacts.edit(damaged.reg_location) as directory:
        damage.change_nested_file(directory)
    return Versions(registry.add(seed=1, separate=True), registry.add(seed=2), damaged)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product's pauses between its tries are not waited for; how often it tries stays."""
    monkeypatch.setattr("registry_audit.net.retry.FIRST_PAUSE_SECONDS", 0)


@pytest.fixture(params=["separate", "shared"])
def version(request: pytest.FixtureRequest, versions: Versions) -> Registered:
    found: Registered = getattr(versions, request.param)
    return found


def _is_no_pass(audited: Audited) -> None:
    assert audited.exit_status in (FINDINGS, USAGE, INCOMPLETE), audited.stdout
    assert "Traceback" not in audited.stderr
    if (audited.report_dir / "audit.json").exists():
        assert not PASSES & {row["verdict"] for row in audited.rows}
        assert audited.document["outcome"]["exit_status"] == audited.exit_status
    else:
        assert len(audited.stderr.strip().splitlines()) == 1, audited.stderr


def _rules_of_both(audited: Audited) -> list[set[str]]:
    """Of the model of two copies and of that of one, the rules of the findings."""
    assert len(audited.rows) == 2
    return [{finding["rule"] for finding in row["findings"]} for row in audited.rows]


# ---- faults that stay


@pytest.mark.parametrize(
    ("fault", "route"),
    _table(
        [fault for fault in (*PASSING, *LASTING) if not fault.endswith("-later")],
    ),
)
def test_a_fault_that_stays_is_never_a_pass(
    proxy_a: FaultyProxy, versions: Versions, audit: Auditor, fault: str, route: str
) -> None:
    rule = proxy_a.fault((PASSING | LASTING)[fault], path=ROUTES[route])
    audited = audit(proxy_a.uri, "--model", versions.separate.name)
    assert rule.hits
    _is_no_pass(audited)
    assert audited.exit_status != FINDINGS or audited.rules <= {"RA008"}, "what could not be asked is not a finding"


@pytest.mark.parametrize("route", ["download", "listing"])
@pytest.mark.parametrize("fault", ["reset", "cut", "500", *LASTING])
def test_nor_with_one_storage_behind_both(
    proxy_a: FaultyProxy, versions: Versions, audit: Auditor, fault: str, route: str
) -> None:
    proxy_a.fault((PASSING | LASTING)[fault], path=ROUTES[route])
    _is_no_pass(audit(proxy_a.uri, "--model", versions.shared.name))


@pytest.mark.parametrize(("fault", "route"), _table(["never"]))
def test_an_answer_that_never_comes(
    proxy_a: FaultyProxy, versions: Versions, audit: Auditor, monkeypatch: pytest.MonkeyPatch, fault: str, route: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    proxy_a.fault(faults.slow(release=threading.Event()), path=ROUTES[route])
    audited = audit(proxy_a.uri, "--model", versions.separate.name)
    _is_no_pass(audited)
    assert audited.exit_status == INCOMPLETE


def test_no_server_at_all(audit: Auditor) -> None:
    audited = audit(f"http://127.0.0.1:{free_port()}")
    assert (audited.exit_status, audited.stdout) == (INCOMPLETE, "")
    _is_no_pass(audited)


def test_something_else_answers(audit: Auditor) -> None:
    """A server that accepts the connection and speaks no HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"220 mail.example.org ESMTP\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        try:
            _is_no_pass(audit(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


# ---- faults that pass


@pytest.mark.parametrize(("fault", "route"), _table(PASSING))
def test_a_fault_that_passes_is_retried(
    proxy_a: FaultyProxy, versions: Versions, audit: Auditor, fault: str, route: str
) -> None:
    both = ("--model", versions.separate.name, "--model", versions.damaged.name)
    rule = proxy_a.fault(PASSING[fault], path=ROUTES[route], times=2)
    audited = audit(proxy_a.uri, *both)
    assert rule.hits == 2
    found = {row["name"]: row["verdict"] for row in audited.rows}
    assert found == {versions.separate.name: "match", versions.damaged.name: "mismatch"}
    assert audited.exit_status == FINDINGS


def test_what_broke_off_is_tried_once_more_at_the_end(proxy_a: FaultyProxy, versions: Versions, audit: Auditor) -> None:
    """A server that is away for longer than the tries of one request last."""
    listings = re.compile(LISTINGS)

    def away_until_listed_again(exchange: Exchange) -> None:
        listed = [request.target for request in proxy_a.requests if listings.search(request.target)]
        if len(listed) == len(set(listed)):  # the first look at each directory
            exchange.reset()
        else:
            exchange.send(exchange.forward())

    rule = proxy_a.fault(away_until_listed_again, path=DOWNLOADS)
    audited = audit(proxy_a.uri, "--model", versions.shared.name)
    assert rule.hits > 1
    assert (audited.exit_status, audited.row["verdict"]) == (CLEAN, "same_storage"), audited.row["reason"]
    assert audited.rules == set()


@pytest.mark.parametrize("route", ROUTES)
def test_a_late_answer_is_asked_for_again(
    proxy_a: FaultyProxy, versions: Versions, audit: Auditor, monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    proxy_a.fault(faults.slow(release=threading.Event()), path=ROUTES[route], times=1)
    audited = audit(proxy_a.uri, "--model", versions.separate.name)
    assert (audited.exit_status, audited.row["verdict"]) == (CLEAN, "match")


def test_a_slow_server_is_waited_for(proxy_a: FaultyProxy, versions: Versions, audit: Auditor) -> None:
    proxy_a.fault(faults.slow(seconds=0.1))
    audited = audit(proxy_a.uri, "--model", versions.separate.name)
    assert (audited.exit_status, audited.row["verdict"]) == (CLEAN, "match")


@pytest.mark.parametrize("fault", ["cut-unseen", "cut-chunked", "login-page"])
def test_a_short_body_that_nobody_can_tell_from_damage(
    proxy_a: FaultyProxy, version: Registered, audit: Auditor, fault: str
) -> None:
    proxy_a.fault(LASTING[fault], path=ROUTES["download"], times=1)
    audited = audit(proxy_a.uri, "--model", version.name)
    assert (audited.exit_status, audited.row["verdict"]) in ((CLEAN, "match"), (CLEAN, "same_storage")) or (
        audited.row["verdict"] == "unverifiable" and audited.rules == {"RA008"}
    )


# ---- answers that are whole and false


@pytest.mark.parametrize("side", ["run_location", "reg_location"])
def test_wrong_bytes_of_the_right_length(proxy_a: FaultyProxy, versions: Versions, audit: Auditor, side: str) -> None:
    location = getattr(versions.separate, side).removeprefix("mlflow-artifacts:")
    proxy_a.fault(faults.wrong_bytes(), path=f"{re.escape(location)}/{re.escape(damage.TOP_FILE)}$")
    audited = audit(proxy_a.uri, "--model", versions.separate.name)
    assert (audited.exit_status, audited.row["verdict"], audited.rules) == (FINDINGS, "mismatch", {"RA001"})
    assert [difference["path"] for difference in audited.row["differences"]] == [damage.TOP_FILE]


@pytest.mark.parametrize(
    "body", ["{}", '{"files": []}', '{"files": null}', "null", "[]", "7", '"x"', "", "{", '{"files": {}}']
)
def test_empty_or_senseless_listing(proxy_a: FaultyProxy, versions: Versions, audit: Auditor, body: str) -> None:
    proxy_a.fault(faults.empty_listing(body), path=LISTINGS)
    audited = audit(proxy_a.uri, *versions.separate_and_shared)
    _is_no_pass(audited)
    for rules in _rules_of_both(audited):
        assert rules in ({"RA003"}, {"RA009"})


def test_empty_listing_of_a_directory_below(
    proxy_a: FaultyProxy, version: Registered, audit: Auditor, tmp_path: Path
) -> None:
    """A proxy lists an empty directory and one whose listing failed alike: the baseline knows what was in it."""
    remembered = ("--model", version.name, "--ledger", f"sqlite:///{tmp_path}/ledger.db")
    assert audit(proxy_a.uri, "--accept-new", *remembered).exit_status == CLEAN
    proxy_a.fault(faults.empty_listing(), path=r"/artifacts\?path=.*data(%2F|/)nested$")
    audited = audit(proxy_a.uri, *remembered)
    assert (audited.exit_status, "RA002" in audited.rules) == (FINDINGS, True)


def test_a_directory_below_is_not_empty_because_a_gateway_says_something_else(
    proxy_a: FaultyProxy, version: Registered, audit: Auditor
) -> None:
    rule = proxy_a.fault(faults.other_json(), path=r"/artifacts\?path=.*data(%2F|/)nested$")
    audited = audit(proxy_a.uri, "--model", version.name)
    assert rule.hits > 0
    assert (audited.exit_status, audited.row["verdict"]) == (INCOMPLETE, "unverifiable")


@pytest.mark.parametrize("entry", ["MLmodel", damage.TOP_FILE, "data", "conda.yaml", "python_env.yaml"])
def test_listing_that_leaves_out_what_mlmodel_names(
    proxy_a: FaultyProxy, versions: Versions, audit: Auditor, entry: str
) -> None:
    """Left out on both sides the copies still look alike; MLmodel knows better."""
    proxy_a.fault(faults.without_entry(entry), path=LISTINGS)
    audited = audit(proxy_a.uri, *versions.separate_and_shared)
    assert audited.exit_status == FINDINGS
    for rules in _rules_of_both(audited):
        assert rules & {"RA003", "RA007"}


@pytest.mark.parametrize("entry", ["requirements.txt", "vocabulary.txt"])
def test_listing_that_leaves_out_anything_on_one_side(
    proxy_a: FaultyProxy, versions: Versions, audit: Auditor, entry: str
) -> None:
    location = re.escape(versions.separate.reg_location.removeprefix("mlflow-artifacts:/")).replace("/", "(%2F|/)")
    proxy_a.fault(faults.without_entry(entry), path=rf"path={location}")
    audited = audit(proxy_a.uri, "--model", versions.separate.name)
    assert (audited.exit_status, audited.row["verdict"]) == (FINDINGS, "mismatch")


@pytest.mark.parametrize("size_bytes", [-1, 0, 1, 10**6, 10**18])
def test_listing_with_false_sizes(proxy_a: FaultyProxy, versions: Versions, audit: Auditor, size_bytes: int) -> None:
    proxy_a.fault(faults.resized_entries(size_bytes), path=LISTINGS)
    audited = audit(proxy_a.uri, *versions.separate_and_shared)
    _is_no_pass(audited)
    assert all(_rules_of_both(audited))


@pytest.mark.parametrize("is_dir", [False, True], ids=["file", "directory"])
@pytest.mark.parametrize("kind", faults.HOSTILE_NAMES)
def test_hostile_listing(proxy_a: FaultyProxy, versions: Versions, audit: Auditor, kind: str, is_dir: bool) -> None:
    name = faults.HOSTILE_NAMES[kind]
    proxy_a.fault(faults.with_entries(name, is_dir=is_dir), path=LISTINGS)
    audited = audit(proxy_a.uri, *versions.separate_and_shared)
    _is_no_pass(audited)
    for rules in _rules_of_both(audited):
        assert rules & {"RA009", "RA013"}
    asked = [request.target for request in proxy_a.requests]
    assert not [target for target in asked if re.search(r"\.\.|%2e%2e|passwd|hostname|%00|\x00", target, re.IGNORECASE)]
    control = {chr(code) for code in range(32)} - {"\n", "\r", "\t"}
    assert not control & set(audited.stdout + audited.stderr), "a terminal obeys control characters"


def test_duplicate_entries(proxy_a: FaultyProxy, version: Registered, audit: Auditor) -> None:
    proxy_a.fault(faults.duplicate_entries(), path=LISTINGS)
    _is_no_pass(audit(proxy_a.uri, "--model", version.name))


@pytest.mark.timeout(60)
def test_endless_nesting(proxy_a: FaultyProxy, version: Registered, audit: Auditor) -> None:
    proxy_a.fault(faults.endless_nesting(), path=LISTINGS)
    _is_no_pass(audit(proxy_a.uri, "--model", version.name))
    assert len(proxy_a.requests) < 500


# ---- a registry that says less than there is


def _answer(body: str) -> Fault:
    return lambda exchange: exchange.send(Response(200, body.encode()))


@pytest.mark.parametrize("body", ["{}", '{"model_versions": []}', "[]", "null", ""])
def test_an_empty_registry_is_no_clean_one(proxy_a: FaultyProxy, versions: Versions, audit: Auditor, body: str) -> None:
    proxy_a.fault(_answer(body), path=ROUTES["versions"])
    for selection in ((), ("--model", versions.separate.name)):
        _is_no_pass(audit(proxy_a.uri, *selection))


@pytest.mark.parametrize("route", ["versions", "models"])
def test_pages_in_a_circle(proxy_a: FaultyProxy, versions: Versions, audit: Auditor, route: str) -> None:
    rule = proxy_a.fault(_answer('{"next_page_token": "the same"}'), path=ROUTES[route], times=300)
    _is_no_pass(audit(proxy_a.uri, "--model", versions.separate.name))
    assert rule.hits < 50


# ---- secrets


@pytest.fixture
def secret_uri(mlflow_a: MlflowServer) -> Iterator[tuple[FaultyProxy, str]]:
    with faulty_proxy(mlflow_a.uri) as proxy:
        yield proxy, proxy.uri.replace("://", "://alice:s3cr%2Fet@")


@pytest.mark.parametrize(
    ("fault", "route"), _table(["reset", "500", "401", "403", "404-page", "501", "login-page", "cut-unseen"])
)
def test_credentials_stay_out_of_everything_written(
    secret_uri: tuple[FaultyProxy, str], versions: Versions, audit: Auditor, fault: str, route: str
) -> None:
    proxy, uri = secret_uri
    proxy.fault((PASSING | LASTING)[fault], path=ROUTES[route])
    audited = audit(uri, "--model", versions.separate.name)
    assert any(request.headers.get("Authorization", "").startswith("Basic ") for request in proxy.requests)
    assert not re.search(r"s3cr(%2F|/)et", audited.everything, re.IGNORECASE)


def test_one_bad_version_does_not_cost_the_others(proxy_a: FaultyProxy, versions: Versions, audit: Auditor) -> None:
    location = versions.shared.run_location.removeprefix("mlflow-artifacts:")
    proxy_a.fault(faults.status(500), path=f"{re.escape(location)}/")
    names = [versions.shared.name, versions.separate.name, versions.damaged.name]
    started = time.monotonic()
    audited = audit(proxy_a.uri, *(argument for name in names for argument in ("--model", name)))
    verdicts = {row["name"]: row["verdict"] for row in audited.rows}
    assert [verdicts[name] for name in names] == ["unverifiable", "match", "mismatch"]
    assert audited.exit_status == FINDINGS
    assert time.monotonic() - started < 30
