import pytest

from registry_audit.registry.mounts import times_tell

_MOUNTS = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /dev/shm rw - tmpfs tmpfs rw
31 22 0:27 / /srv/a\040b rw - nfs4 server:/x rw
32 22 0:28 / /srv/bucket rw - fuse.s3fs s3fs rw
33 30 254:1 / /dev/shm/disk rw - xfs /dev/vdb rw
34 22 0:29 / /srv/cluster rw - wekafs weka rw
35 22 0:30 / /srv/host rw - virtiofs host rw
36 22 7:0 / /srv/image ro - squashfs /dev/loop0 ro
37 22 0:31 / /srv/box rw - overlay overlay rw
not a mount
"""


@pytest.mark.parametrize(
    ("directory", "tells"),
    [
        ("/srv/models/1", True),
        ("/dev/shm", False),
        ("/dev/shm/models", False),
        ("/dev/shmem", True),
        ("/dev/shm/disk/models", True),
        ("/srv/a b/models", False),
        ("/srv/bucket/models", False),
        ("/srv/cluster/models", False),
        ("/srv/host/models", False),
        ("/srv/image/models", False),
        ("/srv/box/models", True),
        ("/srv", False),  # a part of it is on a network
        ("/srv/a", True),
        ("/", False),
    ],
)
def test_whether_times_tell(directory: str, tells: bool) -> None:
    assert times_tell(directory, _MOUNTS) is tells


def test_without_a_table_of_mounts_times_are_believed() -> None:
    assert times_tell("/anywhere", "")
