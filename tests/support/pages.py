"""An HTML page as a parser sees it."""

from collections.abc import Sequence
from html.parser import HTMLParser


class Page(HTMLParser):
    """Elements with their attributes in order, and the text inside `script` and `style`."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag in ("script", "style"):
            self.raw.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem in ("script", "style"):  # from Python 3.14 on `title` and `textarea` are such elements too
            self.raw[-1] += data
        else:
            self.text += data


def is_within(some: Sequence[object], more: Sequence[object]) -> bool:
    """Whether the one is the other with some left out."""
    rest = iter(more)
    return all(one in rest for one in some)
