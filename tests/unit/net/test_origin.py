"""Credentials go to the origin they were given for, and a request to any other one says nothing of who sends it."""

from urllib import parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_audit.net.origin import (
    NOBODY,
    is_host_name,
    is_one_machine,
    may_carry_credentials,
    normal_host,
    origin_of,
    trusted_after,
    urlparse,
    urlsplit,
    without_credentials,
    without_user,
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


# Addresses taken apart.


@given(st.text(max_size=60))
def test_an_address_is_taken_apart_as_the_standard_library_does_it(uri: str) -> None:
    try:
        expected = parse.urlsplit(uri), parse.urlparse(uri)
    except ValueError:
        with pytest.raises(ValueError):
            urlsplit(uri)
        return
    assert (urlsplit(uri), urlparse(uri)) == expected


def test_a_host_of_a_megabyte_is_not_normalised() -> None:
    host = "\u0301\u0323" * 500_000
    for split in (urlsplit, urlparse):
        with pytest.raises(ValueError, match="longer than any address"):
            split(f"s3://{host}/m")
    assert urlsplit(f"s3://{'a' * 1_000_000}/m").path == "/m"


@pytest.mark.parametrize(
    ("userinfo", "user"),
    [
        ("", None),
        ("@", None),
        (":@", None),
        ("ann:p%40ss@", ("ann", "p@ss")),
        ("t0ken:@", ("t0ken", "")),
        (":t0ken@", ("", "t0ken")),  # as requests reads it, and so MLflow
    ],
)
def test_who_signs_in(userinfo: str, user: tuple[str, str] | None) -> None:
    assert without_user(f"http://{userinfo}host:5000/a") == ("http://host:5000/a", user)


@pytest.mark.parametrize(
    ("host", "is_name"),
    [
        ("a.b", True),
        ("a.b.", True),
        ("127.1", True),
        ("::1", True),
        ("[::1]", True),
        ("db_1", True),
        ("träcking.example", True),
        ("א1.example", True),
        (f"{'x' * 63}.example", True),
        (f"{'x' * 64}.example", False),
        (f"{'ä' * 63}.example", False),
        ("a..b", False),
        ("ä..b", False),
        ("a\u3002\u3002b", False),
        ("a..", False),
        (".a", False),
        (".", False),
        ("", False),
    ],
)
def test_a_host_name_has_no_empty_or_long_part(host: str, is_name: bool) -> None:
    assert is_host_name(host) == is_name
    if is_name:
        normal_host(host).encode("idna")  # as the resolver is asked
