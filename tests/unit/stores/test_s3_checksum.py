"""The CRC32 that a bucket promises, held against what came."""

import base64
import zlib
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import FlexibleChecksumError
from botocore.httpchecksum import Crc32Checksum, Sha256Checksum
from hypothesis import given
from hypothesis import strategies as st
from zlib_ng import zlib_ng

from registry_audit.stores import s3_checksum
from registry_audit.stores.s3_checksum import promised_crc32, with_crc32
from registry_audit.stores.s3_object import ObjectAnswer


def promise(content: bytes) -> str:
    return base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()


@pytest.fixture(params=[zlib.crc32, zlib_ng.crc32], ids=["zlib", "zlib-ng"], autouse=True, scope="module")
def either_library(request: pytest.FixtureRequest) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3_checksum, "crc32", request.param)
        yield


@given(chunks=st.lists(st.binary()))
def test_what_was_promised_comes_as_it_is(chunks: list[bytes]) -> None:
    assert list(with_crc32(iter(map(memoryview, chunks)), promise(b"".join(chunks)))) == chunks


@given(content=st.binary(min_size=1), data=st.data())
def test_one_other_bit_is_found(content: bytes, data: st.DataObject) -> None:
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    sent = bytearray(content)
    sent[bit // 8] ^= 1 << bit % 8
    with pytest.raises(FlexibleChecksumError, match="the store promised the CRC32"):
        list(with_crc32(iter([bytes(sent)]), promise(content)))


@pytest.mark.parametrize("promised", ["", "AA==", "AAAAAAAAAAA=", "not base64"])
def test_a_promise_that_is_no_crc32_is_not_kept(promised: str) -> None:
    with pytest.raises(ValueError if promised == "not base64" else FlexibleChecksumError):
        list(with_crc32(iter([b"content"]), promised))


@pytest.mark.parametrize(
    ("verifies", "headers", "expected"),
    [
        (Crc32Checksum(), {"x-amz-checksum-crc32": "AAAAAA=="}, "AAAAAA=="),
        (Crc32Checksum(), {}, None),
        (Sha256Checksum(), {"x-amz-checksum-crc32": "AAAAAA=="}, None),
        (None, {"x-amz-checksum-crc32": "AAAAAA=="}, None),
    ],
    ids=["a CRC32", "promised elsewhere", "something better", "nothing"],
)
def test_botocore_goes_on_with_all_other_checksums(
    verifies: Any, headers: dict[str, str], expected: str | None
) -> None:
    body = SimpleNamespace() if verifies is None else SimpleNamespace(checksum=verifies)
    assert promised_crc32(ObjectAnswer(headers, body)) == expected
