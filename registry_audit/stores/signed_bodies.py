"""Sends requests to a bucket over our own connections, which follow no redirect.

It is used for credentials that obstore might reveal to others (see `registry_audit.stores.object_bodies`). A request
can be cancelled directly, so that no other thread has to make it.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any
from urllib.parse import quote

from registry_audit.errors import AuditError, BodyEndedEarly, CouldNotVerify
from registry_audit.net.http import REDIRECTS, Answer, Connections, Route, Tls
from registry_audit.net.origin import urlsplit
from registry_audit.net.throttle import Permit, retry_after_seconds
from registry_audit.printable import printable
from registry_audit.stores.base import whole_body
from registry_audit.stores.object_bodies import ObjectChanged, code_in, error_of_status

_OK, _NOT_FOUND = 200, 404
_MAX_ERROR_BYTES = 1 << 16

# Takes path and query of a request and its headers, and returns both as they are to be sent.
Sign = Callable[[str, Mapping[str, str]], tuple[str, Mapping[str, str]]]


class SignedBodies:
    """Reads the objects of one bucket, as `Bodies` does; safe to share between threads."""

    def __init__(
        self,
        base: str,
        sign: Sign,
        *,
        verify: bool = True,
        ca_bundle: str | None = None,
        strict: bool = True,
        generation_header: str | None = None,
    ) -> None:
        """
        Args:
            base: the bucket's URL, to which a slash and a key are added.
            generation_header: response header with the object's generation, if that identifies the object instead of
                its ETag.
            verify: whether its certificate is checked.
            ca_bundle: a file of certificates to trust in place of the system's.
            strict: see `Tls`.
        """
        self._base, self._sign, self._generation_header = base, sign, generation_header
        self.path = urlsplit(base).path
        self._tls = Tls((ca_bundle or True) if verify else False, strict=strict)

    @cached_property
    def _route(self) -> Route:
        return Connections().route(self._base, self._tls)

    def chunks(self, key: str, etag: str, size: int, permit: Permit) -> Generator[Any, None, None]:
        """Yield the content: see `Bodies.chunks`. The bytes are accounted for."""
        tag, doing = etag.strip('"'), f"read '{printable(key)}'"
        # S3 requires this spelling for the signature; it is valid for every store.
        target = f"{self.path}/{quote(key, safe='/~')}"
        by_generation = self._generation_header is not None
        if by_generation:
            target += f"?generation={tag}"
        headers = {"If-Match": f'"{tag}"'} if tag and not by_generation else {}
        with self.answer(target, headers, doing, permit, as_stored=True) as answer:
            if answer.status == _NOT_FOUND and by_generation:
                raise ObjectChanged()
            must_be_ok(answer, doing)
            # Checked even if the server ignored the condition.
            if tag and answer.headers.get(self._generation_header or "ETag", "").strip('"') != tag:
                raise ObjectChanged()
            if answer.headers.get("Content-Length", str(size)) != str(size):
                raise ObjectChanged()
            got = 0
            for chunk in whole_body(answer.chunks(), key):
                got += len(chunk)
                if got > size:
                    raise ObjectChanged()
                yield chunk
            if got != size:
                raise BodyEndedEarly(f"could not {doing}: {got} bytes of {size} came")

    @contextmanager
    def answer(
        self, target: str, headers: Mapping[str, str], doing: str, permit: Permit, *, as_stored: bool = False
    ) -> Iterator[Answer]:
        """Send one request and yield its response, whatever the status.

        Args:
            target: path and query.
            as_stored: whether the body is an object, and an encoding a part of its content.

        Raises:
            CouldNotVerify: the response is a redirect, or none came.
        """
        target, headers = self._sign(target, headers)
        asked = self._route.answer("GET", target, headers=headers, doing=doing, permit=permit, as_stored=as_stored)
        with asked as answer:
            if answer.status in REDIRECTS:
                raise CouldNotVerify(f"could not {doing}: the store redirects it, and credentials go no further")
            yield answer


def must_be_ok(answer: Answer, doing: str) -> None:
    """Check that the status is 200. Raises: AuditError: it is another one."""
    if answer.status != _OK:
        advised, said = retry_after_seconds(answer.headers.get("Retry-After")), b""
        with suppress(AuditError):  # the status says enough
            said = answer.body(doing, _MAX_ERROR_BYTES)
        raise error_of_status(answer.status, doing, retry_after=advised, code=code_in(said.decode(errors="replace")))
