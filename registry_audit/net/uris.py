"""Takes addresses apart that a stranger wrote.

The standard library normalises the characters of a host, which takes the square of its length, in one step that nothing
can break off: one megabyte holds the process for minutes.
"""

import re
from urllib import parse

_MAX_CHARACTERS = 8_192  # of an address that is not ASCII; MLflow keeps 500
TOO_LONG = "longer than any address"
_LEFT_OUT = re.compile("[?#\t\r\n]")


def urlsplit(uri: str, *, allow_fragments: bool = True) -> parse.SplitResult:
    """Split a URI as the standard library does. Raises: ValueError: not a URI, or one that takes too long to parse."""
    _must_be_short(uri)
    return parse.urlsplit(uri, allow_fragments=allow_fragments)


def urlparse(uri: str) -> parse.ParseResult:
    """Likewise."""
    _must_be_short(uri)
    return parse.urlparse(uri)


def without_user(uri: str) -> tuple[str, tuple[str, str] | None]:
    """A server's address without user and password; and those two, decoded, or None where it names none."""
    parts = urlsplit(uri)
    address = parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    user = parse.unquote(parts.username or ""), parse.unquote(parts.password or "")
    return address, user if any(user) else None


def local_path(written: str) -> str:
    """A path on this machine, percent signs decoded once: what `urllib.request.url2pathname` did before Python 3.14."""
    return parse.unquote(written)


def is_one_on_every_python(written: str) -> bool:
    """Whether `url2pathname`, which MLflow asks for every local path, means the same by it on every Python.

    From 3.14 on it leaves out what follows `?` or `#`, tabs and line ends, and decodes otherwise what
    is no UTF-8.
    """
    return not _LEFT_OUT.search(written) and "\ufffd" not in parse.unquote(written.replace("\ufffd", ""))


def urljoin(base: str, uri: str) -> str:
    """What a URI means where it stands in an answer from the base. Raises: ValueError: likewise."""
    _must_be_short(uri)
    return parse.urljoin(base, uri)


def _must_be_short(uri: str) -> None:
    if len(uri) > _MAX_CHARACTERS and not uri.isascii():
        raise ValueError(TOO_LONG)
