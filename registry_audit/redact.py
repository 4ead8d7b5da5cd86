"""Credentials out of every text that is shown, logged or stored."""

import re

_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*://)(?P<user>[^\s/@:'\"]*)(:(?P<password>[^\s/'\"]*))?@")
_SECRET_PARAMETER = re.compile(
    r"(?i)(?P<key>\b[\w\-]*(?:signature|sig|token|password|passwd|secret|credential|access_?key|api_?key)[\w\-]*=)[^&\s'\"]+"
)
_AUTHORIZATION = re.compile(r"(?i)\b(?P<kind>basic|bearer)\s+[A-Za-z0-9._~+/=\-]{8,}")


# Before `@` alone stands a container, or the user of a database whose password is elsewhere.
_NO_TOKEN = re.compile(r"(?i)(wasbs?|abfss?|(postgresql|mysql|mssql)(\+\w+)?)://")


def redact(text: str) -> str:
    """The same text without passwords in URLs, secret query parameters and authorization headers.

    A user name stays where a password follows it; alone before `@` it may be a token, and goes. A Databricks
    profile (`dbfs://profile@databricks/...`), an Azure container (`abfss://container@account/...`) and the user of a
    database are no secrets.
    """
    # What each of them cannot do without is looked for first: most texts are paths, and there are many.
    if "@" in text:
        text = _USERINFO.sub(_userinfo, text)
    if "=" in text:
        text = _SECRET_PARAMETER.sub(r"\g<key>***", text)
    return _AUTHORIZATION.sub(r"\g<kind> ***", text) if text.split(maxsplit=1) != [text] else text


def _userinfo(match: re.Match[str]) -> str:
    scheme, user = match["scheme"], match["user"]
    if match.string.startswith("databricks", match.end()):
        return match[0]
    if match["password"] is not None:
        return f"{scheme}{user}:***@"
    return match[0] if _NO_TOKEN.fullmatch(scheme) else f"{scheme}***@"
