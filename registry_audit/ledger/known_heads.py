"""What this machine remembers of the ledgers it has used: their last head.

A ledger that is gone, was emptied or has lost its newest entries looks like a fresh or shorter one. Whoever has
seen a later head knows better. The memory is a small file for each ledger, not part of any of them.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from registry_audit.home import home_directory


@dataclass(frozen=True, slots=True)
class KnownHead:
    """The last head that this machine saw of a ledger."""

    url: str  # without credentials
    seq: int
    digest: str
    first: str | None  # digest of the ledger's first entry, which it keeps wherever it is moved; not recorded by 0.1.0
    file: Path  # which remembers it


def known_heads() -> list[KnownHead]:
    """Of every ledger that was used here, sorted by URL."""
    found = []
    for file in sorted((home_directory() / "known-ledgers").glob("*.json")):
        try:
            known = json.loads(file.read_text(encoding="ascii"))
            first = known.get("first")
            found.append(KnownHead(str(known["url"]), int(known["seq"]), str(known["digest"]), first, file))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
            continue  # a damaged memory is none
    return sorted(found, key=lambda head: head.url)


def known_head(url: str) -> tuple[int, str] | None:
    """Number and digest of the last head seen of this ledger here; None if it was never used here."""
    try:
        known = json.loads(memory_file(url).read_text(encoding="ascii"))
        return int(known["seq"]), str(known["digest"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


def remember_head(url: str, seq: int, digest: str, first: str | None = None) -> None:
    """Best effort: a memory that cannot be written must not fail an audit that has its ledger.

    Args:
        first: digest of the ledger's first entry.
    """
    path = memory_file(url)
    known = known_head(url)
    if known is not None and known[0] > seq:
        return  # another process has seen more
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(
            json.dumps({"url": url, "seq": seq, "digest": digest, "first": first}, indent=1), encoding="ascii"
        )
        fresh.replace(path)
    except OSError:
        return


def memory_file(url: str) -> Path:
    """Where the last head of a ledger is remembered. `url`: without credentials."""
    name = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return home_directory() / "known-ledgers" / f"{name}.json"
