"""The CRC32 that a bucket promises of an object: the same check as botocore's, at a tenth of the cost."""

import base64
from collections.abc import Iterator

from registry_audit.stores.s3_object import ObjectAnswer

try:
    from zlib_ng.zlib_ng import crc32
except ImportError:  # who installed boto3 by another way than the extra
    from zlib import crc32


def promised_crc32(answer: ObjectAnswer) -> str | None:
    """In base64, if botocore would verify the body by a CRC32 and by nothing else."""
    from botocore.httpchecksum import Crc32Checksum, CrtCrc32Checksum

    checksum = getattr(answer.body, "checksum", None)
    return (
        answer.headers.get("x-amz-checksum-crc32") if isinstance(checksum, Crc32Checksum | CrtCrc32Checksum) else None
    )


def with_crc32(chunks: Iterator[bytes | memoryview], promised: str) -> Iterator[bytes | memoryview]:
    """The same chunks.

    Args:
        promised: of all of them together, base64 of four bytes.

    Raises:
        FlexibleChecksumError: after the last one, they are something else.
    """
    from botocore.exceptions import FlexibleChecksumError

    crc = 0
    for chunk in chunks:
        crc = crc32(chunk, crc)
        yield chunk
    got = crc.to_bytes(4, "big")
    if got != base64.b64decode(promised):
        sent = base64.b64encode(got).decode("ascii")
        raise FlexibleChecksumError(error_msg=f"the store promised the CRC32 {promised}, and sent {sent}")
