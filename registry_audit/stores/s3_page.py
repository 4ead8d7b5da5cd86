"""One page of a bucket's listing."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, ClassVar, NamedTuple
from urllib.parse import quote, unquote_plus, urlencode
from xml.etree import ElementTree

from registry_audit.errors import CouldNotVerify


class Entry(NamedTuple):
    key: str
    size: int
    etag: str  # with whatever quotes the store puts around it; "" where it gives none
    modified: str  # as str() of the time


@dataclass(frozen=True, slots=True)
class Page:
    entries: Sequence[Entry]
    next: str | None  # the token of the page that follows; None: this is the last one


@dataclass(frozen=True)
class ListObjects:
    operation: ClassVar[str] = "ListObjectsV2"
    statuses: ClassVar[tuple[int, ...]] = (200,)
    path: ClassVar[str] = ""
    headers: ClassVar[Mapping[str, str]] = {}

    bucket: str
    prefix: str
    delimiter: str = ""
    token: str | None = None  # of this page; None: the first one

    @cached_property
    def query(self) -> str:
        asked = {"list-type": "2", "prefix": self.prefix, "encoding-type": "url"}
        more = {"delimiter": self.delimiter, "continuation-token": self.token}
        asked |= {name: value for name, value in more.items() if value}
        return urlencode(asked, quote_via=quote, safe="-_.~")

    def by_botocore(self, client: Any) -> Page:
        more = {"Delimiter": self.delimiter, "ContinuationToken": self.token}
        asked = {name: value for name, value in more.items() if value}
        page = client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, **asked)
        entries = [
            Entry(entry["Key"], entry["Size"], entry.get("ETag", ""), str(entry.get("LastModified", "")))
            for entry in page.get("Contents", ())
        ]
        return Page(entries, _next(page.get("IsTruncated"), page.get("NextContinuationToken")))

    def understood(self, answer: Any, client: Any, context: Mapping[str, Any]) -> Page:
        """What botocore makes of such an answer, in a tenth of the time. Raises: ValueError: it is no listing."""
        try:
            root = ElementTree.fromstring(answer.content)  # noqa: S314 as botocore itself would
        except ElementTree.ParseError as error:
            raise ValueError("the listing is not XML") from error
        space, _, name = root.tag.rpartition("}")
        if name != "ListBucketResult":
            raise ValueError(f"the listing is a {name}")
        space += "}" if space else ""
        decoded = unquote_plus if root.findtext(f"{space}EncodingType") == "url" else str
        truncated = root.findtext(f"{space}IsTruncated")
        token = root.findtext(f"{space}NextContinuationToken")
        entries = [_entry(entry, space, decoded) for entry in root.iterfind(f"{space}Contents")]
        return Page(entries, _next(None if truncated is None else truncated == "true", token))


def _entry(entry: ElementTree.Element, space: str, decoded: Callable[[str], str]) -> Entry:
    key, modified = entry.findtext(f"{space}Key"), entry.findtext(f"{space}LastModified")
    if key is None:
        raise ValueError("an object without a name")
    return Entry(
        decoded(key),
        int(entry.findtext(f"{space}Size", "")),
        entry.findtext(f"{space}ETag", ""),
        str(timestamp(modified)) if modified else "",
    )


def _next(is_truncated: bool | None, token: str | None) -> str | None:
    """Raises: CouldNotVerify: there is more, and no way to get it: what is there would pass for all there is."""
    if is_truncated and not token:
        raise CouldNotVerify("the store says that its listing goes on, and not how")
    return None if is_truncated is False else token or None


def timestamp(value: Any) -> Any:
    """As botocore reads it, in a tenth of the time: of a listing or a small object that is a tenth of the whole."""
    from botocore.utils import parse_timestamp

    if isinstance(value, str):
        for read in (datetime.fromisoformat, parsedate_to_datetime):
            with contextlib.suppress(ValueError):
                return read(value)
    return parse_timestamp(value)
