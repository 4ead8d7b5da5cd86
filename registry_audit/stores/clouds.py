"""Which bucket a storage is in, reached as the environment says."""

from registry_audit.registry.storage import AZURE, S3, StorageIdentity
from registry_audit.stores.azure import azure_environment
from registry_audit.stores.gcs import gcs_environment
from registry_audit.stores.objects import Bucket
from registry_audit.stores.s3 import s3_environment

_GCS = "gs"
KINDS = (S3, _GCS, AZURE)


def bucket_of(identity: StorageIdentity) -> Bucket:
    """
    Raises:
        UsageError: a package is not installed, or the environment makes no sense.
    """
    if identity.kind == _GCS:
        return gcs_environment().bucket(identity.container)
    if identity.kind == AZURE:
        return azure_environment(identity.endpoint).bucket(identity.container)
    return s3_environment().bucket(identity.container)
