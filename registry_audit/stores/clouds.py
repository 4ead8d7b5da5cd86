"""Which bucket a storage is in, reached as the environment says."""

from registry_audit.registry.storage import S3, StorageIdentity
from registry_audit.stores.objects import Bucket
from registry_audit.stores.s3 import s3_environment

KINDS = (S3,)


def bucket_of(identity: StorageIdentity) -> Bucket:
    """
    Raises:
        UsageError: a package is not installed, or the environment makes no sense.
    """
    return s3_environment().bucket(identity.container)
