"""Credentials out of every text that is shown, logged or stored.

An address is shown by `registry_audit.registry.address`, which puts together what may be shown. This module is for
everything else: the messages of other libraries, and locations that a registry records.
"""

import re
import threading
from urllib.parse import unquote

# Greedy up to the last `@` before a slash or a blank: a password may hold `@`, `:` and quotes.
_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*://)(?P<userinfo>[^\s/]*)@")
_SECRET_PARAMETER = re.compile(
    r"(?i)(?P<key>\b[\w\-]*(?:signature|sig|token|password|passwd|pwd|secret|credential|access_?key|api_?key|odbc_connect)"
    r"[\w\-]*=)[^&\s;]+"
)
_AUTHORIZATION = re.compile(r"(?i)\b(?P<kind>basic|bearer)\s+[A-Za-z0-9._~+/=\-]{8,}")

# What stands alone before `@` is the container of an Azure store, or a Databricks profile: neither is a secret.
_CONTAINER = re.compile(r"(?i)(wasbs?|abfss?)://")

_remembered: set[str] = set()  # userinfo of the addresses that were opened, as they were written and decoded
_lock = threading.Lock()


def redact(text: str) -> str:
    """The same text without what stands before `@` in a URL, secret query parameters and authorization headers."""
    # What each of them cannot do without is looked for first: most texts are paths, and there are many.
    if "@" in text:
        for userinfo in tuple(_remembered):
            text = text.replace(f"//{userinfo}@", "//***@")
        text = _USERINFO.sub(_userinfo, text)
    if "=" in text:
        text = _SECRET_PARAMETER.sub(r"\g<key>***", text)
    return _AUTHORIZATION.sub(r"\g<kind> ***", text) if text.split(maxsplit=1) != [text] else text


def remember_userinfo(address: str) -> None:
    """Redact from now on what stands before `@` in this address, whatever characters it holds.

    SQLAlchemy reads a password with slashes, blanks and quotes, which no pattern can find in a driver's message.
    """
    userinfo, at, _ = address.partition("://")[2].rpartition("@")
    if not at or not userinfo or _CONTAINER.match(address):
        return
    with _lock:
        _remembered.update((userinfo, unquote(userinfo)))


def _userinfo(match: re.Match[str]) -> str:
    scheme, userinfo = match["scheme"], match["userinfo"]
    if ":" not in userinfo and (_CONTAINER.fullmatch(scheme) or match.string.startswith("databricks", match.end())):
        return match[0]
    return f"{scheme}***@"
