"""Defines the options of an audit. They come from outside, so they are validated here, before hours of work."""

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
    """Turn a single text into a list of one, because callers in Python may give one name, not a list of letters."""
    return [given] if isinstance(given, str) else given


Texts = Annotated[tuple[str, ...], BeforeValidator(as_list)]


class AuditOptions(BaseModel):
    """Holds all that decides the result of an audit; it is small, immutable and safe to send to another process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tracking_uri: str = Field(min_length=1, repr=False)
    registry_uri: str | None = Field(default=None, repr=False)
    registry_name: str | None = Field(
        default=None, min_length=1, max_length=MAX_REGISTRY_NAME
    )  # the name by which a ledger knows the registry
    models: Texts = ()  # names, or glob patterns on the name, case-sensitive; none means all
    filter: str | None = None  # MLflow's own filter for search_model_versions
    latest: Count | None = None  # only this many highest versions of each model
    subset: str | None = Field(default=None, pattern=r"^[0-9]{1,6}/[0-9]{1,6}$")  # "n/t": the n-th part of t
    quick: bool = False  # skip models whose fingerprint has not changed since the last full read
    liveness: bool = False  # read no byte: report only what listings show
    full_every: Days | None = None  # days after which `quick` reads a model in full again
    accept_new: bool = False
    # SQLAlchemy URL; by default the ledger that the commands use, and None for no ledger.
    ledger: str | None = Field(default_factory=usual_ledger_url, repr=False)
    signing_key: str | None = Field(default=None, min_length=1)  # file with a public key to verify signatures in models
    # Instead of a key: file with the certificates that the signatures' certificates must lead to.
    signing_certificate_chain: str | None = Field(default=None, min_length=1)
    signing_ignore_paths: Texts = ()  # files and directories of a model that need not be signed
    signing_ignore_unsigned: bool = False  # files that the signature does not name need not be signed
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
    max_requests: Count | None = None  # concurrent requests of one process to all servers together
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
        """Return the file that signatures are verified with: a key, or certificates."""
        return self.signing_key or self.signing_certificate_chain

    def signature_verifier(self) -> SignatureVerifier | None:
        """Make the verifier. Raises: UsageError: the key is unusable, or the package model-signing is missing."""
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
        """Make a throttle. Args: around: entered while a request is in flight, for limits that processes share."""
        return Throttle(self.max_requests, self.max_bytes_per_second, around=around)

    def reported(self) -> dict[str, object]:
        """Return the options that a report states: all that change the result, and none that only change the speed."""
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
    """Selects the models of `--model`: a text is a literal name if a model has it, and otherwise a pattern."""

    def __init__(self, texts: Iterable[str], names: Container[str]) -> None:
        """Sort the texts into names and patterns. Args: names: names of all existing models."""
        given = tuple(dict.fromkeys(texts))
        self.exact = frozenset(text for text in given if text in names or not WILDCARDS.intersection(text))
        self.patterns = tuple(text for text in given if text not in self.exact)
        self._everything = not given

    def __contains__(self, name: object) -> bool:
        return self._everything or name in self.exact or any(fnmatchcase(str(name), glob) for glob in self.patterns)

    def without_any(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the texts that select none of these names: first the literal ones, sorted; then the patterns."""
        known = frozenset(names)
        idle = [glob for glob in self.patterns if not any(fnmatchcase(name, glob) for name in known)]
        return (*sorted(self.exact - known), *idle)


def selected(versions: ListedVersions, options: AuditOptions, exact: frozenset[str] = frozenset()) -> ListedVersions:
    """Return the versions that the options select, in the given order.

    Args:
        versions: sorted by name, then number.
        exact: values of `options.models` that are literal names.
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
    """Keep the newest versions of each name, and those without a number, because nobody can say how new they are."""
    rank: dict[str, int] = {}
    kept = []
    for placed in reversed(versions):
        _, name, version = placed
        rank[name] = rank.get(name, 0) + 1
        if rank[name] <= count or number_of(version) is None:
            kept.append(placed)
    return kept[::-1]


def _part_of(name: str, version: str, parts: int) -> int:
    """Return 1 to `parts`, always the same for one version, so that `parts` runs cover everything exactly once."""
    digest = hashlib.sha256(f"{name}\n{version}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % parts + 1


def checked_options(**fields: Any) -> AuditOptions:
    """Make options from Python arguments, or from a flow's parameters.

    Raises:
        UsageError: a field is unknown, has no such value, or contradicts another; the message begins with its name.
    """
    try:
        return AuditOptions(**fields)
    except ValidationError as error:
        raise UsageError(problem_of(error)) from None


def problem_of(error: ValidationError, spelled: Callable[[str], str] = str) -> str:
    """Return the first problem of the options, in one sentence that names them.

    Args:
        spelled: converts an option's name to the reader's spelling.
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
