"""Credentials go to the origin they were given for, and a request to any other one says nothing of who sends it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_audit.net.origin import (
    NOBODY,
    is_one_machine,
    may_carry_credentials,
    origin_of,
    trusted_after,
    without_credentials,
)

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
        "https://träcking.example/x",
        "https://[broken/x",
        "",
    ],
)
def test_another_scheme_host_or_port_is_another_one(url: str) -> None:
    assert not may_carry_credentials(url, OURS)


@pytest.mark.parametrize(
    ("ours", "location", "may"),
    [
        ("http://tracking.example", "https://tracking.example/x", True),
        ("http://tracking.example:80", "https://tracking.example:443/x", True),
        ("http://tracking.example", "https://tracking.example:8443/x", False),
        ("http://tracking.example:5000", "https://tracking.example/x", False),
        ("http://tracking.example", "https://login.example/x", False),
        ("http://tracking.example:443", "https://tracking.example:80/x", False),
    ],
)
def test_a_host_that_redirects_to_its_own_https_stays_that_host(ours: str, location: str, may: bool) -> None:
    trusted = origin_of(ours)
    assert not may_carry_credentials(location, trusted)  # unless it was the server that sent us there
    assert may_carry_credentials(location, trusted_after(trusted, f"{ours}/x", location)) is may
    assert trusted_after(trusted, "http://login.example/x", location) == trusted


@pytest.mark.parametrize("url", ["", "https://tracking.example"])
def test_nobody_gets_none(url: str) -> None:
    assert not may_carry_credentials(url, NOBODY)


LOOPBACK = ["http://localhost:5000", "http://127.0.0.1:5000/x", "http://[::1]:5000", "http://127.1:5000"]


@pytest.mark.parametrize("one", LOOPBACK)
@pytest.mark.parametrize("other", LOOPBACK)
def test_this_machine_has_several_names(one: str, other: str) -> None:
    assert is_one_machine(origin_of(one), origin_of(other))


@pytest.mark.parametrize(
    "other",
    ["http://localhost:5001", "https://localhost:5000", "http://localhost.evil:5000", "http://10.0.0.1:5000", ""],
)
def test_another_port_or_machine_is_not_this_one(other: str) -> None:
    assert not is_one_machine(origin_of("http://localhost:5000"), origin_of(other))


@given(st.dictionaries(st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,20}", fullmatch=True), st.just("secret"), max_size=8))
def test_law_what_is_not_known_to_be_harmless_is_left_out(headers: dict[str, str]) -> None:
    said = {"Authorization": "Bearer secret", "Cookie": "secret", "X-Plugin": "secret", **headers, "Range": "bytes=0-1"}
    stripped = without_credentials(said)
    assert stripped["Range"] == "bytes=0-1"
    assert {name.lower() for name in stripped} <= {"accept", "accept-encoding", "accept-language", "range"}
