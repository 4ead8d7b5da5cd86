from urllib import parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_audit.net.origin import urlparse, urlsplit, without_user


@given(st.text(max_size=60))
def test_it_is_the_standard_librarys(uri: str) -> None:
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
