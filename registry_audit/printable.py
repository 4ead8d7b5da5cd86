"""Makes text from a server safe to show. Names, tags and paths are hostile until they have passed through here.

HTML and XML are escaped by their own writers; this module is for terminals, logs and Markdown.
"""

import re
import unicodedata

# Everything a terminal could act on or a reader could not see: control characters (C0, C1, DEL), format
# characters (bidi overrides, zero width), lone surrogates, private use, unassigned, line and paragraph separators.
_UNPRINTABLE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# NUL and lone surrogates, and the texts of their escapes. `printable` turns each of them into a text that this pattern
# matches again, so that no other name is stored as the same text.
_UNSTORABLE = re.compile(r"[\0\ud800-\udfff]|\\x00|\\ud[89a-f][0-9a-f]{2}")
_ESCAPE = re.compile(r"\\(?:\\|x([0-9a-f]{2})|u([0-9a-f]{4})|U(000[0-9a-f]{5}|0010[0-9a-f]{4}))")
_MARKDOWN_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&$@:])")


def printable(text: str) -> str:
    """Return the text on one line, with everything invisible or active escaped and every backslash doubled.

    Law: two different texts are never shown the same, so an escape cannot be mistaken for a name that spells one.
    """
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return "".join(_escape(c) if c == "\\" or unicodedata.category(c) in _UNPRINTABLE_CATEGORIES else c for c in text)


def storable(text: str) -> str:
    """Return a name as database columns hold it: NUL and lone surrogates, which no database accepts, are escaped.

    Law: two different names are never stored the same. A name that spells such an escape is therefore escaped too.
    """
    return printable(text) if _UNSTORABLE.search(text) else text


def restored(stored: str) -> str:
    """Return the name that `storable` was given. Law: `restored(storable(name)) == name`."""
    return _ESCAPE.sub(_unescape, stored) if _UNSTORABLE.search(stored) else stored


def markdown(text: str) -> str:
    """Return one line of Markdown that renders as exactly these characters: no link, HTML or table cell breaks out."""
    return _MARKDOWN_SPECIAL.sub(_markdown_escape, printable(text))


def _markdown_escape(match: re.Match[str]) -> str:
    # Renderers differ on a backslash before "<"; none takes the entity for the start of a tag.
    return "&lt;" if match[0] == "<" else f"\\{match[0]}"


def _unescape(match: re.Match[str]) -> str:
    digits = match[1] or match[2] or match[3]
    return chr(int(digits, 16)) if digits else "\\"


def _escape(char: str) -> str:
    if char == "\\":
        return "\\\\"
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
