"""Texts that a registry may hold as a location, and the models that each way to misread one would find.

A text is a beginning (scheme and host, in every spelling) and a tail (a path, spelled in several ways). For each tail
there is a model at every place that some reading of it leads to: as it stands, decoded once or twice, with slashes or
dots taken out, without query, in another case. No two of them hold the same bytes.
"""

import json
import os
import posixpath
import random
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

Plant = Callable[[str], None]  # a key, or a path below the world's root

TAILS = (
    "m",
    "deep/m",
    "sp ace/m",
    "deep/sp ace",
    "ü/m",
    "deep/é",
    "a:b/m",
    "Up/M",
    "~/m",
    "a%41/m",
    "deep/b%41",
    "c%2541",
    "a+b/c&d=e",
    "m@1",
    "design=good/m",
    "x.y/.m",
    "a\\b/m",
    "quo'te/m",
    "[m]",
    "workspaces/team-a/m",
)


@dataclass(frozen=True, slots=True)
class World:
    """One place that texts lead into: beginnings of texts, and how to put a model there."""

    name: str
    beginnings: tuple[str, ...]
    plant: Plant
    tails: tuple[str, ...] = TAILS


@dataclass(frozen=True, slots=True)
class Text:
    world: str
    text: str
    tail: str

    def __str__(self) -> str:
        return f"{self.world}: {self.text!r}"


def corpus(worlds: Sequence[World], seed: int, count: int) -> list[Text]:
    """`count` texts of each beginning, without those that come twice; the same for the same seed."""
    chance = random.Random(seed)
    found: dict[str, Text] = {}
    for world in worlds:
        for beginning in world.beginnings:
            for number in range(count):
                tail = chance.choice(world.tails)
                for _ in range(0 if number == 0 else chance.choice((1, 1, 1, 2))):
                    tail = chance.choice(_CHANGES)(tail, chance)
                text = beginning.replace("{tail}", tail) if "{tail}" in beginning else beginning + tail
                found.setdefault(text, Text(world.name, text, tail))
    return list(found.values())


def plant_all(worlds: Sequence[World], texts: Sequence[Text]) -> None:
    """A model at every place that some reading of a text leads to."""
    plants = {world.name: world.plant for world in worlds}
    for world, tail in sorted({(text.world, reading) for text in texts for reading in readings(text.tail)}):
        plants[world](tail)


def readings(tail: str) -> set[str]:
    """Every place below a root that somebody could take a tail for."""
    found = {tail}
    for step in (unquote, unquote, *_READINGS):
        found |= {step(text) for text in found}
    # A file called `..` and more, inside of a model, would keep MLflow from listing that.
    return {text for text in found if text.strip("/") and not re.search(r"\0|(^|/)\.\.[^/]", text)}


_READINGS: tuple[Callable[[str], str], ...] = (
    lambda text: text.partition("?")[0],
    lambda text: text.partition("#")[0],
    lambda text: text.partition(";")[0],
    lambda text: re.sub("//+", "/", text),
    lambda text: text.strip("/"),
    lambda text: text.rstrip("/"),
    lambda text: text.replace("\\", "/"),
    lambda text: text.strip(),
    lambda text: re.sub(r"[\t\r\n]", "", text),
    posixpath.normpath,
)


def _insert(tail: str, chance: random.Random, what: str) -> str:
    at = chance.choice([0, *(found.end() for found in re.finditer("/", tail))])
    return tail[:at] + what + tail[at:]


def _encode(tail: str, chance: random.Random) -> str:
    at = chance.randrange(len(tail))
    encoded = "".join(f"%{byte:02{chance.choice('xX')}}" for byte in tail[at].encode())
    return tail[:at] + encoded + tail[at + 1 :]


_CHANGES: tuple[Callable[[str, random.Random], str], ...] = (
    lambda tail, _: tail + "/",
    lambda tail, _: tail + "//",
    lambda tail, _: "/" + tail,
    lambda tail, _: "//" + tail,
    lambda tail, chance: _insert(tail, chance, "/"),
    lambda tail, chance: _insert(tail, chance, "./"),
    lambda tail, chance: _insert(tail, chance, "x/../"),
    lambda tail, chance: _insert(tail, chance, "../"),
    lambda tail, chance: _insert(tail, chance, "%2e%2e/"),
    lambda tail, _: tail + "/.",
    lambda tail, _: tail + "/..",
    _encode,
    _encode,
    lambda tail, _: tail.replace("/", "%2F"),
    lambda tail, _: tail.replace("/", "\\"),
    lambda tail, _: tail.swapcase(),
    lambda tail, _: unicodedata.normalize("NFD", tail),
    lambda tail, _: tail + "?q",
    lambda tail, _: tail + "?a=1&b=/x",
    lambda tail, _: tail + "#f",
    lambda tail, _: tail + ";p",
    lambda tail, chance: _insert(tail, chance, "q?"),
    lambda tail, chance: _insert(tail, chance, "h#/"),
    lambda tail, chance: _insert(tail, chance, "s;/"),
    lambda tail, _: tail + " ",
    lambda tail, chance: _insert(tail, chance, " "),
    lambda tail, chance: _insert(tail, chance, "\n"),
    lambda tail, chance: _insert(tail, chance, "\t"),
    lambda tail, _: tail + "%00",
    lambda tail, _: tail + "%0a",
    lambda tail, _: tail + "%",
)


def model_of(tells: str) -> bytes:
    """An MLmodel that says where it lies."""
    return json.dumps({"flavors": {"python_function": {"loader_module": tells}}}).encode()


def plant_in(root: Path) -> Plant:
    """Puts models below a directory, as far as a file system lets it, and never outside of it."""

    def plant(path: str) -> None:
        target = os.path.normpath(f"{root}/{path}")
        if not f"{target}/".startswith(f"{root}/") or "\0" in path:
            return
        try:
            Path(target).mkdir(parents=True, exist_ok=True)
        except OSError:
            return  # a file of another model is in the way, or the name is too long
        # Several spellings lead to one directory: what it holds says which one it is.
        content = model_of(f"{os.path.relpath(target, root)} in {root.name}")
        Path(target, "MLmodel").write_bytes(content)

    return plant


def both(*plants: Plant) -> Plant:
    def plant(path: str) -> None:
        for one in plants:
            one(path)

    return plant
