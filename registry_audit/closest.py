"""What somebody may have meant by a name that is not there."""

from collections.abc import Iterable
from difflib import get_close_matches

from registry_audit.printable import printable


def did_you_mean(text: str, known: Iterable[str], *, sign: str = "") -> str:
    """`; did you mean 'Wine'?`, ready to end a sentence; nothing where no name is close.

    Args:
        sign: shown before a name.
    """
    folded = dict[str, str]()
    for name in known:
        folded.setdefault(name.casefold(), name)
    close = [folded[found] for found in get_close_matches(text.casefold(), folded, n=3, cutoff=0.7)]
    named = " or ".join(f"'{sign}{printable(name)}'" for name in close)
    return f"; did you mean {named}?" if named else ""
