"""Credentials go to the server that they were given for: whoever else is asked hears nothing of who asks.

The strangers listen on other ports, other addresses and with TLS, and keep every header that reaches them.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from mlflow.tracking.request_header import registry as header_registry
from mlflow.tracking.request_header.abstract_request_header_provider import RequestHeaderProvider
from support.auditing import Auditor
from support.faulty_proxy import DOWNLOADS, Exchange, FaultyProxy, Response
from support.registry import Registry
from support.servers import MlflowServer
from support.strangers import SECRET, USER, Heard, Reply, Stranger, must_be_anonymous, self_signed, stranger

CLEAN = 0
CODES = (301, 302, 303, 307, 308)


class OfATeam(RequestHeaderProvider):
    """As companies' plugins of MLflow do it."""

    def in_context(self) -> bool:
        return True

    def request_headers(self) -> dict[str, str]:
        return {"X-Team": SECRET}


def with_cookie(exchange: Exchange) -> None:
    answer = exchange.forward()
    cookie = ("Set-Cookie", f"session={SECRET}; Path=/")
    exchange.send(replace(answer, headers=(*answer.headers, cookie)))


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A tracking server, and an environment that holds credentials for it in one of the ways there are."""

    uri: str
    proxy: FaultyProxy
    registry: Registry


WAYS = ("token", "password", "in the URI", "netrc")


@pytest.fixture(params=WAYS)
def signed_in(
    request: pytest.FixtureRequest,
    mlflow_a: MlflowServer,
    proxy_a: FaultyProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> SignedIn:
    """The server sets a cookie, and a plugin of MLflow adds a header."""
    uri = proxy_a.uri
    match request.param:
        case "token":
            monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
        case "password":
            monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
            monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
        case "in the URI":
            uri = uri.replace("://", f"://{USER}:{SECRET}@")
        case _:
            (tmp_path / "netrc").write_text(f"default login {USER} password {SECRET}\n")
            monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    providers = header_registry._request_header_provider_registry
    monkeypatch.setattr(providers, "_registry", [*providers._registry, OfATeam()])
    return SignedIn(uri, proxy_a, Registry(mlflow_a))


@pytest.fixture
def strangers(tmp_path: Path) -> Iterator[dict[str, Stranger]]:
    with ExitStack() as stack:
        yield {
            "port": stack.enter_context(stranger()),
            "address": stack.enter_context(stranger("127.0.0.2")),
            "tls": stack.enter_context(stranger(certificate=self_signed(tmp_path))),
        }


def must_have_signed_in(proxy: FaultyProxy) -> None:
    """Or the test would show nothing."""
    assert any({name.lower() for name in request.headers} >= {"authorization", "x-team"} for request in proxy.requests)


@pytest.mark.parametrize(
    "signed_in",
    [pytest.param(way, marks=() if way in ("token", "netrc") else pytest.mark.slow) for way in WAYS],
    indirect=True,
)
def test_a_location_on_another_server(
    signed_in: SignedIn, strangers: dict[str, Stranger], audit: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    texts = [text for one in strangers.values() for text in locations_at(one)]
    name = Registry.new_name()
    home = signed_in.registry.add().run_location
    signed_in.registry.insert_versions(name, [*((text, home) for text in texts), *((home, text) for text in texts)])
    signed_in.proxy.fault(with_cookie)
    audited = audit(signed_in.uri, "--model", name)
    must_have_signed_in(signed_in.proxy)
    assert len(audited.rows) == 2 * len(texts)
    for each in strangers.values():
        must_be_anonymous(each.heard)
    assert strangers["port"].heard
    assert strangers["address"].heard
    assert SECRET not in audited.everything


def locations_at(one: Stranger) -> list[str]:
    port = urlsplit(one.url).port
    places = [one.url, one.url.replace("://", "://bob:pw@"), f"{urlsplit(one.url).scheme}://localhost:{port}"]
    paths = ("api/2.0/mlflow-artifacts/artifacts/m", "x/mlflow-artifacts/artifacts/m", "ajax-api/2.0/m", "m", "")
    texts = [f"{place}/{path}" for place in places for path in paths]
    schemes = ("models", "runs", "dbfs", "r2", "wasbs", "abfss", "hdfs", "uc", "databricks", "s3")
    texts += [f"mlflow-artifacts://{one.host}/m", *(f"{scheme}://b@{one.host}/m" for scheme in schemes)]
    return texts


def test_a_redirect_of_every_request_and_back_again(
    signed_in: SignedIn, strangers: dict[str, Stranger], audit: Auditor
) -> None:
    """Registry, runs, listings and files: each request goes by the stranger before it comes to its server."""
    version = signed_in.registry.add()
    cookies = signed_in.proxy.fault(with_cookie, times=2)
    audited = audit(signed_in.uri, "--model", version.name)
    assert cookies.hits == 2
    must_have_signed_in(signed_in.proxy)
    for code, where in zip(CODES, itertools.cycle(["port", "address"]), strict=False):
        other = strangers[where]
        signed_in.proxy.clear()
        other.heard.clear()
        other.reply = leading_to(signed_in.proxy.uri, code)
        redirected = signed_in.proxy.fault(leading_away(other.url, code), path=r"^(?!.*[?&]back=)")
        audited = audit(signed_in.uri, "--model", version.name)
        assert redirected.hits >= len(other.heard) > 5
        assert audited.exit_status == CLEAN or code in (301, 302, 303), audited.stderr  # where a POST becomes a GET
        must_be_anonymous(other.heard)
        assert SECRET not in audited.everything


def leading_away(url: str, code: int) -> Callable[[Exchange], None]:
    def fault(exchange: Exchange) -> None:
        exchange.send(Response(code, headers=(("Location", url + exchange.target),)))

    return fault


def leading_to(url: str, code: int) -> Callable[[Heard], Reply]:
    def reply(heard: Heard) -> Reply:
        more = "&" if "?" in heard.target else "?"
        return Reply(code, headers=(("Location", f"{url}{heard.target}{more}back=1"),))

    return reply


def test_a_redirect_to_where_the_bytes_are(signed_in: SignedIn, strangers: dict[str, Stranger], audit: Auditor) -> None:
    """As a server does it that signs URLs of its storage: what lies there is read, and needs no credentials."""
    version, storage = signed_in.registry.add(), strangers["port"]
    root = Path(signed_in.registry.server.artifact_root)

    def stored(heard: Heard) -> Reply:
        return Reply(body=(root / urlsplit(heard.target).path.partition("/artifacts/")[2]).read_bytes())

    storage.reply = stored
    signed_in.proxy.fault(leading_away(storage.url, 302), path=DOWNLOADS)
    audited = audit(signed_in.uri, "--model", version.name)
    assert (audited.exit_status, audited.row["verdict"]) == (CLEAN, "same_storage")
    assert storage.heard
    must_be_anonymous(storage.heard)


def test_a_server_that_gives_files_out_by_signed_urls_alone(
    signed_in: SignedIn, strangers: dict[str, Stranger], audit: Auditor
) -> None:
    """MLflow from 3.18 on, with `--artifacts-presigned-only`: each URL holds its own proof of who may read."""
    version, storage = signed_in.registry.add(), strangers["port"]
    root = Path(signed_in.registry.server.artifact_root)

    def signed(exchange: Exchange) -> None:
        path = urlsplit(exchange.target).path.partition("/presigned/")[2]
        answer = {"url": f"{storage.url}/bucket/{path}?signature=xyzzy", "headers": {}, "file_size": 1}
        exchange.send(Response(200, json.dumps(answer).encode()))

    def stored(heard: Heard) -> Reply:
        assert heard.target.endswith("?signature=xyzzy")
        return Reply(body=(root / urlsplit(heard.target).path.removeprefix("/bucket/")).read_bytes())

    storage.reply = stored
    signed_in.proxy.fault(with_cookie, times=1)
    signed_in.proxy.fault(only_signed, path=DOWNLOADS)
    signed_in.proxy.fault(signed, path="/mlflow-artifacts/presigned/")
    audited = audit(signed_in.uri, "--model", version.name)
    assert (audited.exit_status, audited.row["verdict"]) == (CLEAN, "same_storage"), audited.stderr
    assert len(storage.heard) == audited.row["run_model"]["files"]
    must_have_signed_in(signed_in.proxy)
    must_be_anonymous(storage.heard)
    assert "xyzzy" not in audited.everything

    storage.reply = lambda heard: Reply(403, body=b"<Error><Code>AccessDenied</Code></Error>")
    denied = audit(signed_in.uri, "--model", version.name)
    assert (denied.row["verdict"], denied.rules) == ("unverifiable", {"RA009"})
    assert "xyzzy" not in denied.everything


def only_signed(exchange: Exchange) -> None:
    said = {"error_code": "PERMISSION_DENIED", "message": "directly from storage", "artifacts_presigned_only": True}
    exchange.send(Response(403, json.dumps(said).encode()))


def test_from_tls_to_a_plain_connection(
    signed_in: SignedIn,
    strangers: dict[str, Stranger],
    audit: Auditor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same host, and even the same server: without TLS it is another origin, and so the other way round."""
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_CLIENT_CERT_PATH", str(tmp_path / "self-signed.pem"))
    plain, tls = strangers["port"], strangers["tls"]
    for ours, theirs in ((tls, plain), (plain, tls)):
        ours.heard.clear()
        theirs.heard.clear()
        ours.reply = leading_to(theirs.url, 307)
        theirs.reply = lambda heard: Reply(404)
        userinfo = f"{USER}:{SECRET}@" if "@" in signed_in.uri else ""
        uri = ours.url.replace("://", f"://{userinfo}")
        audited = audit(uri, "--model", "m")
        assert any("Authorization" in dict(request.headers) for request in ours.heard)
        assert any(request.certificate for request in ours.heard) is (ours is tls)
        assert theirs.heard
        must_be_anonymous(theirs.heard)
        assert SECRET not in audited.stderr + audited.stdout
