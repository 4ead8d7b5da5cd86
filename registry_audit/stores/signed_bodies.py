"""The content of objects over our own connections, which follow no redirect.

For credentials that obstore might show to others (see `registry_audit.stores.object_bodies`). Large objects come as
fast as with obstore; each small one costs some half of a millisecond more.
"""

from collections.abc import Callable, Generator, Mapping
from typing import Any
from urllib.parse import quote

from registry_audit.errors import BodyEndedEarly, CouldNotVerify
from registry_audit.net.http import REDIRECTS, HttpSession, Tls
from registry_audit.net.origin import origin_of
from registry_audit.net.throttle import Throttle, retry_after_seconds
from registry_audit.printable import printable
from registry_audit.stores.base import whole_body
from registry_audit.stores.object_bodies import ObjectChanged, error_of_status

_OK, _NOT_FOUND = 200, 404

# For the URL of an object and the headers that its request has already: the URL and the headers to send.
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
        generation_header: str | None = None,
    ) -> None:
        """
        Args:
            base: the bucket's URL, to which a slash and a key are added.
            generation_header: of an answer, that names the object's generation where it is told by that, not its ETag.
            verify: whether its certificate is checked.
            ca_bundle: a file of certificates to trust in place of the system's.
        """
        self._base, self._sign, self._generation_header = base, sign, generation_header
        self._tls = Tls((ca_bundle or True) if verify else False)
        # A bucket outlives an audit, whose throttle bounds each of these requests where it is asked for.
        self._session = HttpSession(Throttle())

    def chunks(self, key: str, etag: str, size: int) -> Generator[Any, None, None]:
        """See `Bodies.chunks`."""
        tag, doing = etag.strip('"'), f"read '{printable(key)}'"
        # As S3 wants it signed; it is one spelling of the key for every store.
        url = f"{self._base}/{quote(key, safe='/~')}"
        by_generation = self._generation_header is not None
        if by_generation:
            url += f"?generation={tag}"
        url, headers = self._sign(url, {"If-Match": f'"{tag}"'} if tag and not by_generation else {})
        with self._session.request(
            "GET",
            url,
            headers=headers,
            trusted=origin_of(self._base),
            doing=doing,
            tls=self._tls,
            redirects=False,
            heeds_refusals=False,
            as_stored=True,
        ) as answer:
            if answer.status in REDIRECTS:
                raise CouldNotVerify(f"could not {doing}: the store redirects it, and credentials go no further")
            if answer.status == _NOT_FOUND and by_generation:
                raise ObjectChanged()
            if answer.status != _OK:
                advised = retry_after_seconds(answer.headers.get("Retry-After"))
                raise error_of_status(answer.status, doing, retry_after=advised)
            # Whatever the server makes of the condition it was sent.
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
