"""One object of a bucket, or a range of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import quote

_CONDITION_FAILED = (412, 416)


class ConditionFailed(Exception):
    """The object is no longer the one that was asked for, or has no such range."""


@dataclass(frozen=True)
class ObjectAnswer:
    headers: Mapping[str, str]  # by their names in lower case
    body: Any  # botocore's StreamingBody; a StreamingChecksumBody where the store promised a checksum of it


@dataclass(frozen=True)
class GetObject:
    operation: ClassVar[str] = "GetObject"
    statuses: ClassVar[tuple[int, ...]] = (200, 206, *_CONDITION_FAILED)
    query: ClassVar[str] = ""

    bucket: str
    key: str
    etag: str = ""  # if it is given, the object is wanted only while it has it
    range: str = ""  # as the header of that name; "" for the whole object

    @cached_property
    def path(self) -> str:
        return quote(self.key, safe="/~")

    @cached_property
    def headers(self) -> Mapping[str, str]:
        return {name: value for name, value in (("If-Match", self.etag), ("Range", self.range)) if value}

    def by_botocore(self, client: Any) -> ObjectAnswer:
        """Raises: ConditionFailed: see there; whatever botocore raises for all others."""
        from botocore.exceptions import ClientError

        conditions = {name.replace("-", ""): value for name, value in self.headers.items()}
        try:
            answer = client.get_object(Bucket=self.bucket, Key=self.key, **conditions)
        except ClientError as error:
            if error.response["ResponseMetadata"].get("HTTPStatusCode") in _CONDITION_FAILED:
                raise ConditionFailed from error
            raise
        return ObjectAnswer(answer["ResponseMetadata"]["HTTPHeaders"], answer["Body"])

    def understood(self, answer: Any, client: Any, context: Mapping[str, Any]) -> ObjectAnswer:
        """What botocore makes of such an answer, as far as it matters here. Raises: ConditionFailed: see there."""
        from botocore.httpchecksum import handle_checksum_body
        from botocore.response import StreamingBody

        if answer.status_code in _CONDITION_FAILED:
            answer.raw.close()
            answer.raw.release_conn()
            raise ConditionFailed
        made = {"headers": answer.headers, "body": None, "context": {}}
        model = client.meta.service_model.operation_model(self.operation)
        handle_checksum_body(answer, made, context, model)
        if made["body"] is None:
            made["body"] = StreamingBody(answer.raw, answer.headers.get("content-length"))
        return ObjectAnswer(answer.headers, made["body"])
