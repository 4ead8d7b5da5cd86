"""What the environment holds for one of two servers, and the other one, which is asked in the same command."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from mlflow.tracking.request_header import registry as header_registry
from mlflow.tracking.request_header.abstract_request_header_provider import RequestHeaderProvider
from support.auditing import Auditor
from support.faulty_proxy import FaultyProxy, faulty_proxy
from support.migrating import Migrator
from support.registry import Registered, Registry
from support.servers import MlflowServer

SECRET = "t0ken-0f-0ne-server"


@dataclass(frozen=True, slots=True)
class Two:
    version: Registered  # in both
    proxies: tuple[FaultyProxy, FaultyProxy]
    directory: Path
    audit: Auditor

    def file(self, content: object) -> str:
        path = self.directory / "two.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return str(path)


@pytest.fixture
def two(mlflow_a: MlflowServer, mlflow_b: MlflowServer, audit: Auditor, tmp_path: Path) -> Iterator[Two]:
    version = Registry(mlflow_a).add()
    Migrator(mlflow_a, mlflow_b).migrate(version.name)
    with faulty_proxy(mlflow_a.uri) as proxy_a, faulty_proxy(mlflow_b.uri) as proxy_b:
        yield Two(version, (proxy_a, proxy_b), tmp_path, audit)


def compare(two: Two, more: dict[str, str]) -> int:
    version = {"model": two.version.name, "version_or_stage": two.version.version}
    one, other = ({"host": proxy.uri, **version} for proxy in two.proxies)
    config = {"tracking_server_1": one, "tracking_server_2": other | more}
    places = ("--config-file", two.file(config), "--download-dir", str(two.directory / "kept"))
    return two.audit.command("compare", *places).exit_status


def compare_registries(two: Two, more: dict[str, str]) -> int:
    one, other = ({"host": proxy.uri} for proxy in two.proxies)
    file = two.file({"source": one, "target": other | more})
    report = ("--report-dir", str(two.directory / "report"), "--model", two.version.name)
    return two.audit.command("compare-registries", "--config-file", file, *report).exit_status


def told(proxy: FaultyProxy) -> set[str | None]:
    """What the requests said of who asks."""
    assert proxy.requests
    return {request.headers.get("Authorization") for request in proxy.requests}


@pytest.mark.parametrize("command", [compare, compare_registries])
@pytest.mark.parametrize("owner", [0, 1])
def test_a_sign_in_is_for_the_server_that_the_environment_names(
    two: Two, owner: int, command: Callable[[Two, dict[str, str]], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", two.proxies[owner].uri + "/")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    assert command(two, {}) == 0
    assert told(two.proxies[owner]) == {f"Bearer {SECRET}"}
    assert told(two.proxies[1 - owner]) == {None}


@pytest.mark.parametrize("command", [compare, compare_registries])
def test_the_other_has_one_of_its_own(
    two: Two, command: Callable[[Two, dict[str, str]], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", two.proxies[0].uri)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    monkeypatch.setenv("OF_THE_OTHER", "another")
    assert command(two, {"token_env": "OF_THE_OTHER"}) == 0
    assert [told(proxy) for proxy in two.proxies] == [{f"Bearer {SECRET}"}, {"Bearer another"}]


@pytest.mark.parametrize(("name", "is_shown"), [("NOT_SET", True), ("dapi0123abc", False), (f"{SECRET}=", False)])
def test_a_secret_in_place_of_the_name_of_a_variable_is_not_shown(two: Two, name: str, is_shown: bool) -> None:
    version = {"model": two.version.name, "version_or_stage": two.version.version}
    one, other = ({"host": proxy.uri, "token_env": name, **version} for proxy in two.proxies)
    file = two.file({"tracking_server_1": one, "tracking_server_2": other})
    refused = two.audit.command("compare", "--config-file", file, "--download-dir", str(two.directory / "kept"))
    assert refused.exit_status == 2
    assert (name in refused.stdout + refused.stderr) == is_shown


def test_where_nothing_shows_whose_it_is_both_are_asked_as_mlflows_client_asks(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    assert compare(two, {}) == 0
    assert [told(proxy) for proxy in two.proxies] == [{f"Bearer {SECRET}"}] * 2


@pytest.mark.parametrize("command", [compare, compare_registries])
def test_what_is_for_a_third_server_is_for_neither(
    two: Two, command: Callable[[Two, dict[str, str]], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://tracking.example")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    assert command(two, {}) == 0
    assert [told(proxy) for proxy in two.proxies] == [{None}] * 2


@pytest.mark.parametrize("name", ["localhost", "127.1", "[::1]"])
def test_another_name_of_this_machine_is_no_third_server(two: Two, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", two.proxies[0].uri.replace("127.0.0.1", name))
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    assert compare(two, {}) == 0
    assert [told(proxy) for proxy in two.proxies] == [{f"Bearer {SECRET}"}, {None}]


def test_what_a_plugin_of_mlflow_adds_is_for_that_server_too(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    class OfATeam(RequestHeaderProvider):
        def in_context(self) -> bool:
            return True

        def request_headers(self) -> dict[str, str]:
            return {"X-Team": SECRET}

    providers = header_registry._request_header_provider_registry
    monkeypatch.setattr(providers, "_registry", [*providers._registry, OfATeam()])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", two.proxies[0].uri)
    assert compare(two, {}) == 0
    said = [{request.headers.get("X-Team") for request in proxy.requests} for proxy in two.proxies]
    assert said == [{SECRET}, {None}]


@pytest.mark.parametrize(("line", "is_told"), [("machine 127.0.0.1", True), ("default", False)])
def test_what_netrc_has_for_a_host_is_that_hosts(
    two: Two, line: str, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (two.directory / "netrc").write_text(f"{line} login somebody password {SECRET}\n")
    monkeypatch.setenv("NETRC", str(two.directory / "netrc"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", two.proxies[0].uri)
    compare(two, {})
    assert all((said or "").startswith("Basic ") for said in told(two.proxies[0]))
    assert all((said is not None) == is_told for said in told(two.proxies[1]))
