"""Removes credentials from every text that is shown, logged or stored.

An address is shown by `registry_audit.registry.address`, which assembles the parts that may be shown. This module is
for everything else: the messages of other libraries, and locations that a registry records.
"""

import re
import threading
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote

if TYPE_CHECKING:
    from sqlalchemy import URL

# These patterns also run over untrusted texts of several megabytes. Each match begins where no earlier match could have
# begun, so that the time grows linearly with the text and not with its square.
# Greedy up to the last `@` before a slash or a blank: a password may hold `@`, `:` and quotes.
_USERINFO = re.compile(r"://(?P<userinfo>[^\s/]*)@")
_SECRET_PARAMETER = re.compile(
    r"(?i)(?P<key>(?<![\w\-])(?:(?=[\w\-]*?(?:signature|token|password|passwd|pwd|secret|credential|access_?key|api[_-]?key"
    r"|odbc_connect))[\w\-]+|(?:[\w\-]*-)?sig)=)[^&\s;]+"
)
# The words of libraries before they repeat a header that cannot be sent (such as a token with a line break) or an
# address that cannot be parsed (such as a proxy's with a slash in its password).
_REPEATED = re.compile(
    r"(?is)\b(?P<said>(?:invalid|illegal|in) header value(?=:?\s+b?['\"])|failed to parse:"
    r"|port could not be cast to integer value as).*"
)
_BEFORE_REPEATED = ("header value", "Failed to parse:", "Port could not be cast")
_AUTHORIZATION = re.compile(r"(?i)\b(?P<kind>basic|bearer)\s+[A-Za-z0-9._~+/=\-]{8,}")

# A name alone before `@` is the container of an Azure store, or a Databricks profile: neither is a secret.
_CONTAINER = re.compile(r"(?i)(wasbs?|abfss?)://")
_CONTAINER_BEFORE = re.compile(r"(?i)(?<![a-z0-9+.\-])(wasbs?|abfss?)\Z")
_LONGEST_SCHEME = 6  # the longest of these schemes, with one character before it

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+:(?P<slashes>//|)")
_NO_PORT = re.compile(r":(?![0-9]*$)")

_remembered: dict[str, str] = {}  # secret to its replacement, for the addresses that were opened
_lock = threading.Lock()


def redact(text: str) -> str:
    """Return the text without userinfo in URLs, secret query parameters and authorization headers."""
    # Cheap checks for a character that each pattern needs: most texts are paths, and there are many.
    if "@" in text or "=" in text or "?" in text:
        for secret, shown in _remembered.items():
            text = text.replace(secret, shown)
        text = _USERINFO.sub(_userinfo, text)
    if "=" in text:
        text = _SECRET_PARAMETER.sub(r"\g<key>***", text)
    if any(said in text for said in _BEFORE_REPEATED):
        text = _REPEATED.sub(r"\g<said> ***", text)
    return _AUTHORIZATION.sub(r"\g<kind> ***", text) if text.split(maxsplit=1) != [text] else text


def holds_credentials(address: str) -> bool:
    """Say whether an address holds credentials; a password may have slashes in it, as SQLAlchemy reads it."""
    userinfo, at, _ = address.partition("://")[2].partition("?")[0].rpartition("@")
    is_userinfo = bool(at) and ":" in userinfo and " " not in userinfo and not userinfo.startswith("/")
    return is_userinfo or redact(address) != address


def redact_location(location: str) -> str:
    """Return what may be shown of a location that a registry records: the location without userinfo and query.

    A password may hold slashes. It then ends where the host begins, and a port that is no number reveals it.
    """
    place, question, _ = location.partition("?")
    scheme = _SCHEME.match(place)
    if scheme is None:
        return redact(location)
    if scheme["slashes"] == "//":
        rest = place[scheme.end() :]
        authority = rest.partition("/")[0]
        userinfo, at, host = authority.rpartition("@")
        is_name = ":" not in userinfo and (_CONTAINER.fullmatch(scheme[0]) or host.startswith("databricks"))
        if at and not is_name:
            place = f"{scheme[0]}***@{rest[len(userinfo) + 1 :]}"
        elif not at and "@" in rest and _NO_PORT.search(authority):
            place = f"{scheme[0]}***@{rest.rpartition('@')[2]}"
    return redact(place) + ("?***" if question else "")


def redact_endpoint(url: str) -> str:
    """Return what may be shown of the address of a service: the address without its query and without userinfo.

    Everything before the last `@` is removed: a slash in a password ends the host, so that every parser takes the rest
    of the password for a path.
    """
    place, question, _ = url.partition("?")
    scheme, separator, rest = place.partition("://") if "://" in place else ("", "", place)
    _, at, host = rest.rpartition("@")
    return redact(f"{scheme}{separator}{'***@' if at else ''}{host if at else rest}") + ("?***" if question else "")


def remember_secrets(address: str) -> None:
    """Redact the userinfo and the query of this address from now on, whatever characters they hold.

    SQLAlchemy accepts a password with slashes, blanks and quotes, which no pattern can find in a driver's message.
    """
    global _remembered
    _, _, query = address.partition("?")
    userinfo, at, _ = address.partition("://")[2].rpartition("@")
    found = {f"?{query}": "?***"} if query else {}
    if at and userinfo and not _CONTAINER.match(address):
        found |= {f"//{userinfo}@": "//***@", f"//{unquote(userinfo)}@": "//***@"}
    # The driver repeats a whole connection that is given in one parameter, without its address.
    found |= {value: "***" for name, value in parse_qsl(query) if name.lower() == "odbc_connect"}
    with _lock:
        # Userinfo before queries: a password may hold a question mark. The dictionary is replaced as a whole, because
        # other threads read it.
        _remembered = dict(sorted((_remembered | found).items(), key=lambda item: item[1]))


def without_sign_in(text: str, url: "URL") -> str:
    """Remove the sign-in from a database driver's message, which names the user and may repeat the password.

    Args:
        url: the database's URL, as SQLAlchemy reads it.
    """
    secrets = [str(secret) for secret in (url.password, url.query.get("password")) if secret]
    users = [user for user in (url.username, url.query.get("user")) if user]
    secrets += [f"{mark}{user}{mark}" for mark in "\"'`" for user in users]
    secrets += [quote(secret, safe="") for secret in secrets]
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _userinfo(match: re.Match[str]) -> str:
    if ":" not in match["userinfo"]:
        before = match.string[max(0, match.start() - _LONGEST_SCHEME) : match.start()]
        if _CONTAINER_BEFORE.search(before) or match.string.startswith("databricks", match.end()):
            return match[0]
    return "://***@"
