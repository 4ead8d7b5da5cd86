"""What somebody may have meant by a name that is not there."""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches

from registry_audit.printable import printable

_ALIKE = 0.7  # of 1, the likeness of two equal texts
_MARGIN = 0.1


def did_you_mean(text: str, known: Iterable[str], *, sign: str = "") -> str:
    """`; did you mean 'Wine'?`, ready to end a sentence; nothing where no name is close.

    Args:
        sign: shown before a name.
    """
    folded = dict[str, str]()
    for name in known:
        folded.setdefault(name.casefold(), name)
    near = get_close_matches(text.casefold(), folded, n=3, cutoff=_ALIKE)
    # Among the thousand names of a registry several are somewhat alike: beside a typing error they only confuse.
    close = [folded[name] for name in near if _likeness(name, text) > _likeness(near[0], text) - _MARGIN]
    named = " or ".join(f"'{sign}{printable(name)}'" for name in close)
    return f"; did you mean {named}?" if named else ""


def _likeness(name: str, text: str) -> float:
    return SequenceMatcher(None, name, text.casefold()).ratio()
