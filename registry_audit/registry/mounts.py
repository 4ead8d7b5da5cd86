"""Reads the mounts of this machine. A mounted directory may be a second name of a storage that is kept elsewhere."""

import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple


class Mount(NamedTuple):
    """Describes one mounted file system."""

    place: str  # absolute; empty if nothing is known about mounts
    kind: str  # the name that Linux uses: ext4, nfs4, fuse.s3fs

    @property
    def is_elsewhere(self) -> bool:
        """Say whether it shows files that another service keeps, and perhaps offers in other ways too."""
        return self.has_own_inodes or (self.kind in _ELSEWHERE and self.place != "/")

    @property
    def has_own_inodes(self) -> bool:
        """Say whether a file may have another inode here than in a second mount of the same files."""
        return (self.kind.partition(".")[0] in ("fuse", "fuseblk") or self.kind in _OWN_INODES) and self.place != "/"

    def below(self, path: str) -> str:
        """Return a path in this file system relative to the file system's own root."""
        return path.removeprefix(self.place)


# File systems of one machine, on which the bytes of a file never change without its times. On all others they may:
# writes through mmap move no time on tmpfs, exFAT keeps no change time, an image can be replaced by another one with
# the same times, and what another machine writes (NFS, Lustre, GPFS, virtiofs) arrives late, or by its own clock.
_TELLING = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs", "overlay"})
# The first two can mount a bucket, which also is behind many of the others.
_ELSEWHERE = frozenset(
    {"nfs", "nfs4", "virtiofs", "lustre", "gpfs", "ceph", "beegfs", "wekafs", "glusterfs", "orangefs"}
)
_OWN_INODES = frozenset({"cifs", "smb3", "smbfs", "9p", "vboxsf", "vmhgfs", "prl_fs"})


def mount_of(directory: str, mounts: str | None = None) -> Mount:
    """Return the mount that contains a directory.

    Args:
        directory: absolute, without symlinks.
        mounts: text of `/proc/self/mountinfo`; this machine's unless given.
    """
    chosen = Mount("", "")
    for mount in _parsed(_of_this_machine() if mounts is None else mounts):
        if len(mount.place) >= len(chosen.place) and _is_in(directory, mount.place):
            chosen = mount
    return chosen


def times_tell(directory: str, mounts: str | None = None) -> bool:
    """Say whether an overwrite in this directory, or in a mount below it, certainly moves the change time of the file.

    Args:
        directory, mounts: see `mount_of`. If this machine has no such text, its times are trusted.
    """
    text = _of_this_machine() if mounts is None else mounts
    below = {mount.kind for mount in _parsed(text) if mount.place != directory and _is_in(mount.place, directory)}
    return {mount_of(directory, text).kind, *below} <= _TELLING | {""}


def _is_in(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _of_this_machine() -> str:
    try:
        return Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


@lru_cache(maxsize=4)
def _parsed(mounts: str) -> tuple[Mount, ...]:
    found = []
    for line in mounts.splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split()
        if dash and len(fields) > 4 and after.split():
            place = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
            found.append(Mount(place, after.split()[0]))
    return tuple(found)
