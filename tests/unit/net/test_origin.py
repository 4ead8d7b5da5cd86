"""Credentials go to the origin they were given for, and a request to any other one says nothing of who sends it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_audit.net.origin import NOBODY, may_carry_credentials, origin_of, without_credentials

OURS = origin_of("https://Tracking.example/base")


@pytest.mark.parametrize(
    "url", ["https://tracking.example/x", "https://tracking.example:443/x", "https://user:pw@tracking.example./y"]
)
def test_one_server_is_one_origin_however_it_is_spelled(url: str) -> None:
    assert may_carry_credentials(url, OURS)


@pytest.mark.parametrize(
    "url",
    [
        "http://tracking.example/x",
        "http://tracking.example:443/x",
        "https://tracking.example:8443/x",
        "https://tracking.example.evil/x",
        "https://evil/?tracking.example",
        "https://tracking.example@evil/x",
        "https://[::1]/x",
        "https://[broken/x",
        "",
    ],
)
def test_another_scheme_host_or_port_is_another_one(url: str) -> None:
    assert not may_carry_credentials(url, OURS)


@pytest.mark.parametrize("url", ["", "https://tracking.example"])
def test_nobody_gets_none(url: str) -> None:
    assert not may_carry_credentials(url, NOBODY)


@given(st.dictionaries(st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,20}", fullmatch=True), st.just("secret"), max_size=8))
def test_law_what_is_not_known_to_be_harmless_is_left_out(headers: dict[str, str]) -> None:
    said = {"Authorization": "Bearer secret", "Cookie": "secret", "X-Plugin": "secret", **headers, "Range": "bytes=0-1"}
    stripped = without_credentials(said)
    assert stripped["Range"] == "bytes=0-1"
    assert {name.lower() for name in stripped} <= {"accept", "accept-encoding", "accept-language", "range"}
