"""What this machine remembers of the ledgers it has used: their last head.

A ledger that is gone, was emptied or has lost its newest entries looks like a fresh or shorter one. Whoever has
seen a later head knows better. The memory is a small file beside the ledgers, not part of any of them.
"""

import json
import os

from registry_audit.home import home_directory

_FILE = "known-ledgers.json"


def known_head(url: str) -> tuple[int, str] | None:
    """Number and digest of the last head seen of this ledger here; None if it was never used here."""
    seq, _, digest = _load().get(url, "").partition(":")
    return (int(seq), digest) if seq.isdecimal() else None


def remember_head(url: str, seq: int, digest: str) -> None:
    """Best effort: a memory that cannot be written must not fail an audit that has its ledger."""
    known = _load()
    known[url] = f"{seq}:{digest}"
    path = home_directory() / _FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_name(f"{_FILE}.{os.getpid()}")
        fresh.write_text(json.dumps(known, indent=1, sort_keys=True), encoding="ascii")
        fresh.replace(path)
    except OSError:
        return


def _load() -> dict[str, str]:
    try:
        known = json.loads((home_directory() / _FILE).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return {}
    return {str(url): str(head) for url, head in known.items()} if isinstance(known, dict) else {}
