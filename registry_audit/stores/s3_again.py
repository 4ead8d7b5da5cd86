"""A request that botocore put together once, sent again for other objects of the same bucket.

Where a bucket is, how its name is spelled there and what the configuration wants is the same for all of its objects,
and most of what botocore spends on a small one. Only the signature is not: botocore's own signer makes it.
"""

import re
from collections.abc import Mapping
from typing import Any

# What each request has of its own: the signature, the conditions, botocore's count of tries.
_OF_ONE_REQUEST = {
    "amz-sdk-invocation-id",
    "amz-sdk-request",
    "authorization",
    "if-match",
    "range",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-security-token",
}
_SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=[^,]+/\d{8}/(?P<region>[^/,]+)/s3/aws4_request,")


class Again:
    def __init__(self, request: Any, base: str, region: str, credentials: Any) -> None:
        """See `of`.

        Args:
            base: of the URL, to which a path is appended.
        """
        self.context: Mapping[str, Any] = dict(request.context)  # what the signer and a body's verifier go by
        self._base, self._region, self._credentials = base, region, credentials
        self._stream = request.stream_output
        headers = {name: _text(value) for name, value in request.headers.items()}
        self._headers = {name: value for name, value in headers.items() if name.lower() not in _OF_ONE_REQUEST}

    @classmethod
    def of(cls, request: Any, path: str, query: str, credentials: Any) -> "Again | None":
        """None for a request that cannot be repeated so: signed in another way, or not at all.

        Args:
            request: as botocore sent it.
            path: what it asked for below the bucket, quoted.
            query: the rest of its URL; where it has another one, there is more to it than is known here.
        """
        url, _, sent = request.url.partition("?")
        signed = _SIGNED.match(_text(request.headers.get("Authorization", "")))
        if signed is None or not url.endswith(path) or sorted(sent.split("&")) != sorted(query.split("&")):
            return None
        return cls(request, url.removesuffix(path), signed["region"], credentials)

    def request(self, path: str, query: str, headers: Mapping[str, str]) -> Any:
        """For the connections of a botocore client: an `AWSPreparedRequest`, signed now.

        Raises:
            BotoCoreError: credentials that had to be renewed could not be.
        """
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest

        url = f"{self._base}{path}?{query}" if query else self._base + path
        request = AWSRequest("GET", url, {**self._headers, **headers}, stream_output=self._stream)
        request.context.update(self.context)
        S3SigV4Auth(self._credentials.get_frozen_credentials(), "s3", self._region).add_auth(request)
        return request.prepare()


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
