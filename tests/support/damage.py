"""Everything that can go wrong with a model directory on disk, one function per kind.

Each takes the model's directory and returns the damaged path (relative, POSIX; "." for the model itself). Each
proves that it changed something, so no test passes because its damage did not happen.
"""

import functools
import os
import shutil
import stat
import unicodedata
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path], str]

TOP_FILE = "model.pkl"
NESTED_FILE = "data/nested/weights.bin"
_COMPOSED = unicodedata.normalize("NFC", "café.txt")
_DECOMPOSED = unicodedata.normalize("NFD", "café.txt")


def snapshot(directory: Path) -> dict[str, tuple[str, bytes]]:
    """(type, content or link target) of every entry by relative POSIX path; links are not followed, pipes not read."""
    entries: dict[str, tuple[str, bytes]] = {}
    if not directory.exists():
        return entries
    entries["."] = ("directory", b"")
    for parent, directories, files in os.walk(directory):
        for name in (*directories, *files):
            path = Path(parent, name)
            entries[path.relative_to(directory).as_posix()] = _entry(path)
    return dict(sorted(entries.items()))


def _entry(path: Path) -> tuple[str, bytes]:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return "link", os.fsencode(path.readlink())
    if stat.S_ISDIR(mode):
        return "directory", b""
    if stat.S_ISREG(mode):
        return "file", path.read_bytes()
    return "special", b""


def _proven(damage: Damage) -> Damage:
    @functools.wraps(damage)
    def proven(directory: Path) -> str:
        before = snapshot(directory)
        assert "MLmodel" in before, f"{directory} is not a whole model"
        path = damage(directory)
        assert snapshot(directory) != before, f"{damage.__name__} changed nothing"
        return path

    return proven


def _flip(path: Path) -> None:
    """Change one bit in the middle; size and times stay, so only reading can tell."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x01
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@_proven
def flip_byte(directory: Path) -> str:
    _flip(directory / TOP_FILE)
    return TOP_FILE


@_proven
def change_nested_file(directory: Path) -> str:
    """Only below two directories, where a comparison of the top level does not look."""
    _flip(directory / NESTED_FILE)
    return NESTED_FILE


@_proven
def truncate(directory: Path) -> str:
    path = directory / TOP_FILE
    os.truncate(path, path.stat().st_size // 2)
    return TOP_FILE


@_proven
def empty_file(directory: Path) -> str:
    os.truncate(directory / TOP_FILE, 0)
    return TOP_FILE


@_proven
def delete_file(directory: Path) -> str:
    (directory / TOP_FILE).unlink()
    return TOP_FILE


@_proven
def delete_nested_directory(directory: Path) -> str:
    shutil.rmtree(directory / "data")
    return "data"


@_proven
def add_file(directory: Path) -> str:
    (directory / "data" / "added.txt").write_text("not in the other copy\n", encoding="utf-8")
    return "data/added.txt"


@_proven
def rename_file(directory: Path) -> str:
    (directory / TOP_FILE).rename(directory / "model.pickle")
    return TOP_FILE


@_proven
def swap_two_files(directory: Path) -> str:
    """The same names and the same bytes overall; only who has which changed."""
    first, second = directory / TOP_FILE, directory / NESTED_FILE
    one, other = first.read_bytes(), second.read_bytes()
    assert one != other
    first.write_bytes(other)
    second.write_bytes(one)
    return TOP_FILE


@_proven
def file_becomes_directory(directory: Path) -> str:
    path = directory / TOP_FILE
    data = path.read_bytes()
    path.unlink()
    path.mkdir()
    (path / "part-0").write_bytes(data)
    return TOP_FILE


@_proven
def pycache_differs(directory: Path) -> str:
    """A file in a directory that many comparisons ignore, and that can run code."""
    path = directory / "code" / "__pycache__" / "loader.cpython-311.pyc"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xa7\r\r\n not what was logged")
    return path.relative_to(directory).as_posix()


@_proven
def delete_mlmodel(directory: Path) -> str:
    (directory / "MLmodel").unlink()
    return "MLmodel"


@_proven
def break_mlmodel(directory: Path) -> str:
    (directory / "MLmodel").write_text("flavors: {python_function: [unclosed\n", encoding="utf-8")
    return "MLmodel"


@_proven
def empty_directory(directory: Path) -> str:
    shutil.rmtree(directory)
    directory.mkdir()
    return "."


@_proven
def delete_tree(directory: Path) -> str:
    shutil.rmtree(directory)
    return "."


@_proven
def symlink_out(directory: Path) -> str:
    """A file replaced by a link to the same bytes outside the model."""
    path = directory / TOP_FILE
    outside = directory.parent / f"outside-{directory.name}.pkl"
    outside.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(outside)
    return TOP_FILE


@_proven
def symlink_to_system(directory: Path) -> str:
    """A file replaced by a link to one of the machine's own."""
    path = directory / TOP_FILE
    path.unlink()
    path.symlink_to("/etc/passwd")
    return TOP_FILE


@_proven
def dangling_symlink(directory: Path) -> str:
    path = directory / TOP_FILE
    path.unlink()
    path.symlink_to("gone.pkl")
    assert not path.exists()
    return TOP_FILE


@_proven
def symlink_loop(directory: Path) -> str:
    (directory / "data" / "loop").symlink_to("..")
    return "data/loop"


@_proven
def fifo(directory: Path) -> str:
    """A pipe without a writer: whoever opens it waits forever."""
    os.mkfifo(directory / "pipe")
    return "pipe"


@_proven
def case_collision(directory: Path) -> str:
    """One file for a file system that ignores case, two for the others."""
    path = directory / "MODEL.PKL"
    assert not path.exists(), "this file system ignores case"
    path.write_bytes(b"the other one")
    return path.name


@_proven
def unicode_collision(directory: Path) -> str:
    """The same name twice for a file system that normalises Unicode."""
    (directory / _COMPOSED).write_bytes(b"composed")
    assert not (directory / _DECOMPOSED).exists(), "this file system normalises Unicode"
    (directory / _DECOMPOSED).write_bytes(b"decomposed")
    return _DECOMPOSED


# Seen by whoever reads every file of both copies, on any store.
CONTENT: tuple[Damage, ...] = (
    flip_byte,
    change_nested_file,
    truncate,
    empty_file,
    delete_file,
    delete_nested_directory,
    add_file,
    rename_file,
    swap_two_files,
    file_becomes_directory,
    pycache_differs,
)
# Of these, MLmodel itself tells: it names the files and says how many bytes were logged.
INCOMPLETE: tuple[Damage, ...] = (truncate, empty_file, delete_file, delete_nested_directory, rename_file)
# Nothing is left to load.
MISSING: tuple[Damage, ...] = (delete_mlmodel, empty_directory, delete_tree)
# Only a file system can hold these; a bucket cannot.
UNSAFE: tuple[Damage, ...] = (symlink_out, symlink_to_system, dangling_symlink, symlink_loop, fifo)
COLLISIONS: tuple[Damage, ...] = (case_collision, unicode_collision)
ALL: tuple[Damage, ...] = (*CONTENT, *MISSING, break_mlmodel, *UNSAFE, *COLLISIONS)
