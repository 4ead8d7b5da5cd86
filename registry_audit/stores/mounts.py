"""File systems on which the bytes of a file can change while its times stay as they are."""

import re
from functools import lru_cache
from pathlib import Path

# Writes through mmap move no time on tmpfs; on the others another machine's writes arrive late, or by its own clock.
_UNTOLD = frozenset(
    {"tmpfs", "ramfs", "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "lustre", "glusterfs", "vfat"}
)


def times_tell(directory: str, mounts: str | None = None) -> bool:
    """Whether an overwrite in this directory surely moves the change time of the file.

    Args:
        directory: absolute, without symlinks.
        mounts: text of `/proc/self/mountinfo`; this machine's unless given. Where there is none, times are believed.
    """
    chosen = ("", "")
    for place, kind in _parsed(_this_machines() if mounts is None else mounts):
        if len(place) >= len(chosen[0]) and (directory == place or directory.startswith(place.rstrip("/") + "/")):
            chosen = (place, kind)
    return chosen[1] not in _UNTOLD and not chosen[1].startswith("fuse")


def _this_machines() -> str:
    try:
        return Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


@lru_cache(maxsize=4)
def _parsed(mounts: str) -> tuple[tuple[str, str], ...]:
    found = []
    for line in mounts.splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split()
        if dash and len(fields) > 4 and after.split():
            place = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
            found.append((place, after.split()[0]))
    return tuple(found)
