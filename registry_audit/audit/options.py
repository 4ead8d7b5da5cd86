"""The options of an audit. They come from outside, so they are validated here, before hours of work."""

import hashlib
import re
from collections.abc import Callable, Container, Iterable
from contextlib import AbstractContextManager, nullcontext
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from registry_audit.audit.signatures import SignatureVerifier
from registry_audit.compare_config import MAX_REGISTRY_NAME
from registry_audit.errors import UsageError, did_you_mean
from registry_audit.home import usual_ledger_url
from registry_audit.model.listing import MOST, MOST_DAYS, MOST_SECONDS, Limits
from registry_audit.net.throttle import Throttle
from registry_audit.registry.connection import Server
from registry_audit.registry.version import ListedVersions, number_of
from registry_audit.verdict import Severity

DEFAULT_WORKERS = 8
_SUBSET = "`subset` is n/t with n from 1 to t, for instance 2/7"
WILDCARDS = frozenset("*?[")

Count = Annotated[int, Field(ge=1, le=MOST)]
Seconds = Annotated[int, Field(ge=1, le=MOST_SECONDS)]
Days = Annotated[int, Field(ge=1, le=MOST_DAYS)]


def as_list(given: Any) -> Any:
    """A single text becomes a list of one, because callers in Python may give one name. Its letters are never meant."""
    return [given] if isinstance(given, str) else given


Texts = Annotated[tuple[str, ...], BeforeValidator(as_list)]


class AuditOptions(BaseModel):
    """Everything that decides what an audit says; small, immutable and safe to hand to another process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tracking_uri: str = Field(min_length=1, repr=False)
    registry_uri: str | None = Field(default=None, repr=False)
    registry_name: str | None = Field(
        default=None, min_length=1, max_length=MAX_REGISTRY_NAME
    )  # what a ledger is to know it by
    models: Texts = ()  # names, or glob patterns on the name, case-sensitive; none means all
    filter: str | None = None  # MLflow's own filter for search_model_versions
    latest: Count | None = None  # only so many highest versions of each model
    subset: str | None = Field(default=None, pattern=r"^[0-9]{1,6}/[0-9]{1,6}$")  # "n/t": the n-th part of t
    quick: bool = False  # trust what an unchanged fingerprint says of bytes that were read before
    liveness: bool = False  # read no byte: say only what listings tell
    full_every: Days | None = None  # days after which `quick` reads in full all the same
    accept_new: bool = False
    # SQLAlchemy URL; by default the one that the commands use, and None for no memory.
    ledger: str | None = Field(default_factory=usual_ledger_url, repr=False)
    signing_key: str | None = Field(
        default=None, min_length=1
    )  # file of a public key that signatures in models are verified with
    # Instead, file of the certificates that those of the signatures must lead to.
    signing_certificate_chain: str | None = Field(default=None, min_length=1)
    signing_ignore_paths: Texts = ()  # files and directories of a model that need not be signed
    signing_ignore_unsigned: bool = False  # no file need be signed that the signature does not name
    fail_on: Severity = Severity.MEDIUM
    digest: Literal["sha256", "blake3"] = "sha256"
    workers: Count = DEFAULT_WORKERS
    max_files: Count = Limits().max_files
    max_directories: Count = Limits().max_directories
    max_depth: Count = Limits().max_depth
    max_bytes: Count = Limits().max_bytes
    max_version_seconds: Seconds = Limits().max_version_seconds
    max_listing_seconds: Seconds = Limits().max_listing_seconds
    max_versions: Count = Limits().max_versions
    max_requests: Count | None = None  # in flight from one process, to all servers together
    max_bytes_per_second: Count | None = None  # from servers, read by one process

    @model_validator(mode="after")
    def _no_contradiction(self) -> "AuditOptions":
        if self.ledger is None and (self.quick or self.accept_new):
            raise ValueError("`quick` and `accept_new` need a ledger")
        if self.liveness and (self.quick or self.accept_new):
            raise ValueError("`liveness` reads no file, so it cannot be used with `quick` or `accept_new`")
        if self.full_every is not None and not self.quick:
            raise ValueError("`full_every` needs `quick`")
        if self.signing_key is not None and self.signing_certificate_chain is not None:
            raise ValueError("give `signing_key` or `signing_certificate_chain`, not both")
        if (self.signing_ignore_paths or self.signing_ignore_unsigned) and self.signature_file is None:
            raise ValueError(
                "`signing_ignore_paths` and `signing_ignore_unsigned` need `signing_key` or `signing_certificate_chain`"
            )
        if self.subset is not None:
            part, parts = map(int, self.subset.split("/"))
            if not 1 <= part <= parts:
                raise ValueError(_SUBSET)
        return self

    @property
    def server(self) -> Server:
        return Server(self.tracking_uri, self.registry_uri)

    @property
    def limits(self) -> Limits:
        return Limits(
            max_files=self.max_files,
            max_directories=self.max_directories,
            max_depth=self.max_depth,
            max_bytes=self.max_bytes,
            max_version_seconds=self.max_version_seconds,
            max_listing_seconds=self.max_listing_seconds,
            max_versions=self.max_versions,
        )

    @property
    def signature_file(self) -> str | None:
        """The file that signatures are verified with: a key, or certificates."""
        return self.signing_key or self.signing_certificate_chain

    def signature_verifier(self) -> SignatureVerifier | None:
        """Raises: UsageError: the key cannot be used, or the package model-signing is not installed."""
        if self.signature_file is None:
            return None
        key, chain = self.signing_key, self.signing_certificate_chain
        return SignatureVerifier(
            key=Path(key) if key else None,
            certificate_chain=Path(chain) if chain else None,
            ignored=self.signing_ignore_paths,
            ignores_unsigned=self.signing_ignore_unsigned,
        )

    def throttle(self, around: Callable[[], AbstractContextManager[object]] = nullcontext) -> Throttle:
        """Args: around: entered for as long as a request is in flight, to keep to limits that processes share."""
        return Throttle(self.max_requests, self.max_bytes_per_second, around=around)

    def reported(self) -> dict[str, object]:
        """The options that a report states: all that change the result, and none that only change the speed."""
        return {
            "models": list(self.models),
            "filter": self.filter,
            "latest": self.latest,
            "subset": self.subset,
            "quick": self.quick,
            "liveness": self.liveness,
            "full_every": self.full_every,
            "accept_new": self.accept_new,
            "signing_key": self.signing_key,
            "signing_certificate_chain": self.signing_certificate_chain,
            "signing_ignore_paths": list(self.signing_ignore_paths),
            "signing_ignore_unsigned": self.signing_ignore_unsigned,
            "fail_on": self.fail_on.value,
            "digest": self.digest,
            "max_files": self.max_files,
            "max_directories": self.max_directories,
            "max_depth": self.max_depth,
            "max_bytes": self.max_bytes,
            "max_version_seconds": self.max_version_seconds,
            "max_listing_seconds": self.max_listing_seconds,
            "max_versions": self.max_versions,
        }


class ModelChoice:
    """Which models `--model` chooses: a name that there is means that model, and any other text is a pattern."""

    def __init__(self, texts: Iterable[str], names: Container[str]) -> None:
        """Args: names: of all models that there are."""
        given = tuple(dict.fromkeys(texts))
        self.exact = frozenset(text for text in given if text in names or not WILDCARDS.intersection(text))
        self.patterns = tuple(text for text in given if text not in self.exact)
        self._everything = not given

    def __contains__(self, name: object) -> bool:
        return self._everything or name in self.exact or any(fnmatchcase(str(name), glob) for glob in self.patterns)

    def without_any(self, names: Iterable[str]) -> tuple[str, ...]:
        """The texts that choose none of these names, in their order: the exact ones first."""
        known = frozenset(names)
        idle = [glob for glob in self.patterns if not any(fnmatchcase(name, glob) for name in known)]
        return (*sorted(self.exact - known), *idle)


def selected(versions: ListedVersions, options: AuditOptions, exact: frozenset[str] = frozenset()) -> ListedVersions:
    """The versions that the options ask for, in the order given.

    Args:
        versions: sorted by name, then number.
        exact: of `options.models`, the names letter by letter.
    """
    if not (options.models or options.latest or options.subset):
        return versions
    choice = ModelChoice(options.models, exact)
    named = [(index, version.name, version.version) for index, version in enumerate(versions) if version.name in choice]
    newest = named if options.latest is None else _latest(named, options.latest)
    if options.subset is None:
        return versions.choose(index for index, _, _ in newest)
    part, parts = map(int, options.subset.split("/"))
    return versions.choose(index for index, name, version in newest if _part_of(name, version, parts) == part)


_Placed = tuple[int, str, str]  # index, name, version


def _latest(versions: list[_Placed], count: int) -> list[_Placed]:
    """The newest of each name; and what has no number, since nobody can say how new it is."""
    rank: dict[str, int] = {}
    kept = []
    for placed in reversed(versions):
        _, name, version = placed
        rank[name] = rank.get(name, 0) + 1
        if rank[name] <= count or number_of(version) is None:
            kept.append(placed)
    return kept[::-1]


def _part_of(name: str, version: str, parts: int) -> int:
    """1 to `parts`: always the same for one version, so that `parts` runs cover everything exactly once."""
    digest = hashlib.sha256(f"{name}\n{version}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % parts + 1


def checked_options(**fields: Any) -> AuditOptions:
    """Options from Python, or from a flow's parameters.

    Raises:
        UsageError: a field is unknown, has no such value, or contradicts another; the message begins with its name.
    """
    try:
        return AuditOptions(**fields)
    except ValidationError as error:
        raise UsageError(problem_of(error)) from None


def problem_of(error: ValidationError, spelled: Callable[[str], str] = str) -> str:
    """The first thing that is wrong with the options, in one sentence that names them.

    Args:
        spelled: an option as the reader writes it, from its name here.
    """
    first = error.errors(include_url=False, include_input=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    match first["type"]:
        case "extra_forbidden":
            return f"there is no option {spelled(name)}{did_you_mean(name, AuditOptions.model_fields)}"
        case "string_pattern_mismatch":
            said = _SUBSET
        case "tuple_type":
            said = f"{spelled(name)}: give one text or a list of texts"
        case _:
            said = str(first["msg"]).removeprefix("Value error, ")
            said = f"{spelled(name)}: {said}" if name else said
    return re.sub(r"`(\w+)`", lambda found: spelled(found[1]), said)
