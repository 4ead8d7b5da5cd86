"""Keeps the results of an interrupted audit in Prefect's result storage, for the run that resumes the audit.

The result of a step over a batch is stored under `registry-audit/AUDIT-ID/STEP-DIGEST`, for a day at most. The digest
covers everything that could change the result: the batch, the options, the code, and how often the audit has ended, so
that an audit that ended is read again. Results that cannot be relied on are not stored.

Prefect trusts everything in its storage, even the name of the code that reads a record. So each record is signed, and a
record without a valid signature is treated as missing.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import fsspec
from fsspec.implementations.local import LocalFileSystem
from prefect import State, Task, get_run_logger
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName, FlowRunFilter, FlowRunFilterEndTime
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import TaskRunContext
from prefect.exceptions import MissingContextError, ObjectNotFound
from prefect.filesystems import WritableFileSystem
from prefect.serializers import Serializer
from prefect.transactions import get_transaction
from pydantic import Field, PrivateAttr, SecretStr

from registry_audit.audit.copies import Copy, ModelCopy
from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.pipeline import Resolved
from registry_audit.audit.rows import Codec
from registry_audit.audit.work_directory import KEPT_FOR, Seal, cache_directory, code_digest, own_seal
from registry_audit.errors import UsageError
from registry_audit.ledger.record import registry_of
from registry_audit.migration.facts import VersionFacts
from registry_audit.registry.address import active_workspace
from registry_audit.registry.resolve import ResolvedVersion
from registry_audit.registry.translate import reason_of
from registry_audit.registry.version import encode_version
from registry_audit.verdict import STATE_NAMES, ExitStatus, Verdict
from tasks.audit_session import FIRST_LIFE, Job, open_session

ROOT = "registry-audit"
BLOCK = "registry-audit"  # name of the block document
_KEY_CHARACTERS = 32
_DIGEST_CHARACTERS = 40
# Drafts of local records begin with a dot.
_RECORD = re.compile(rf"{ROOT}/[A-Za-z0-9_-]+/([a-z-]+-[0-9a-f]{{{_DIGEST_CHARACTERS}}}|\.[0-9a-f]{{16}})")
_RECORD_BEGINS = re.compile(rb"[0-9a-f]{64}\n\{")
_BEGIN_BYTES = 66
_ENDED = (STATE_NAMES[ExitStatus.CLEAN], STATE_NAMES[ExitStatus.FINDINGS])

_telling = threading.Lock()
_Settled = TypeVar("_Settled", bound=Sequence[Resolved | Copy | VersionFacts | None])
_KINDS: dict[str, Codec[Any]] = {
    "resolved": Codec(tuple[ResolvedVersion, ...]),
    "copies": Codec(tuple[ModelCopy | None, ...]),
    "rows": Codec(tuple[VersionAudit, ...]),
    "facts": Codec(tuple[VersionFacts, ...]),
}


class ResultSerializer(Serializer):
    """Stores values of a few types as JSON. Reading runs no code. An exception is stored as its text."""

    type: str = Field(default="registry-audit", frozen=True)
    kind: str

    def dumps(self, obj: Any) -> bytes:
        if isinstance(obj, BaseException):
            return json.dumps({"error": reason_of(obj) if isinstance(obj, Exception) else repr(obj)}).encode()
        return _KINDS[self.kind].encode(obj).encode("ascii")

    def loads(self, blob: bytes) -> Any:
        return _KINDS[self.kind].decode(blob.decode("ascii"))


class SignedResults(WritableFileSystem):
    """Keeps the signed results of an interrupted audit until it is resumed, for a day at most."""

    _block_type_name = "Registry Audit Results"
    _block_type_slug = "registry-audit-results"

    basepath: str | None = Field(
        default=None,
        title="Place",
        description="Where all workers keep results: a directory, or what fsspec opens, e.g. s3://bucket/audits. "
        "Without it each worker has a directory of its own.",
    )
    key: SecretStr | None = Field(
        default=None,
        description="What the results of several workers are signed with, at least 32 characters. Without a place "
        "each worker makes one of its own.",
    )
    _is_broken: bool = PrivateAttr(default=False)

    def seal(self) -> Seal:
        """Return the seal that signs results. Raises: UsageError: there is no key, or it is too short."""
        if self.basepath is None and self.key is None:
            if (own := own_seal()) is None:
                raise UsageError("REGISTRY_AUDIT_HOME cannot be written, where the key of the results belongs")
            return own
        key = self.key.get_secret_value() if self.key else ""
        if len(key) < _KEY_CHARACTERS:
            raise UsageError(f"results that workers share need a key of at least {_KEY_CHARACTERS} characters")
        return Seal(key.encode())

    def read_path(self, path: str, _sync: bool = True) -> bytes:  # type: ignore[override]  # Prefect's own are sync and async
        """Read a record and verify its signature.

        Raises:
            ValueError: the record was not written by an audit with this key.
            OSError: there is no record, or it cannot be read.
        """
        system, root = self._opened()
        place = f"{root}/{_checked(path)}"
        record = _read_locally(Path(place)) if isinstance(system, LocalFileSystem) else bytes(system.cat_file(place))
        signature, _, content = record.partition(b"\n")
        if not self.seal().holds(signature.decode("latin-1"), path, content):
            raise ValueError(f"{path} was not written by an audit of this key")
        return content

    async def aread_path(self, path: str) -> bytes:
        return self.read_path(path)

    def write_path(self, path: str, content: bytes, _sync: bool = True) -> None:  # type: ignore[override]
        """Write atomically. If the place cannot be written, log one warning: a resumed audit then reads everything."""
        # Prefect also writes exceptions of tasks, under keys that belong to no audit, and never reads or removes them.
        if self._is_broken or not path.startswith(f"{ROOT}/"):
            return
        try:
            system, root = self._opened()
            signed = self.seal().sign(path, content).encode() + b"\n" + content
            target = f"{root}/{_checked(path)}"
            if isinstance(system, LocalFileSystem):
                _write_locally(Path(target), signed)
            else:
                system.pipe_file(target, signed)
        except Exception as error:  # noqa: BLE001 - fsspec may use any library
            with _telling:
                is_told, self._is_broken = self._is_broken, True
            if not is_told:
                why = (isinstance(error, OSError) and error.strerror) or reason_of(error)
                with contextlib.suppress(MissingContextError):  # there is no log outside of a run
                    get_run_logger().warning(
                        "results cannot be kept in %s (%s): if this audit is interrupted, it begins again",
                        self.basepath or "this worker's directory",
                        why,
                    )

    async def awrite_path(self, path: str, content: bytes) -> None:
        self.write_path(path, content)

    def forget(self, audit_id: str) -> None:
        """Remove the results of an audit that ended.

        If they cannot be removed, they are not used either: the audit's life is over.
        """
        with contextlib.suppress(Exception):
            self._remove(f"{ROOT}/{audit_id}")

    def sweep(self) -> None:
        """Remove results that are older than a day, which are no longer used. Never fails."""
        with contextlib.suppress(Exception):  # the storage may have no times, or not be writable
            self._remove(ROOT, before=datetime.now(UTC) - KEPT_FOR - timedelta(minutes=5))

    def _remove(self, directory: str, before: datetime | None = None) -> None:
        """Remove records, and directories that are empty then. Everything else stays, because others use `ROOT` too."""
        system, root = self._opened()
        for file in system.find(f"{root}/{directory}"):
            with contextlib.suppress(OSError):  # one unreadable file must not keep the others
                if not _RECORD.fullmatch(file.removeprefix(f"{root}/")):
                    continue
                if (before is None or system.modified(file) < before) and _is_record(system, file):
                    system.rm_file(file)
                    system.rmdir(file.rpartition("/")[0])  # which fails if the directory is not empty

    def _opened(self) -> tuple[Any, str]:
        """Return the file system and the path in it."""
        place = self.basepath or str(cache_directory() / "results")
        system, root = fsspec.core.url_to_fs(place, use_listings_cache=False)
        return system, root.rstrip("/")


def _checked(path: str) -> str:
    if not path.startswith(f"{ROOT}/") or any(part in ("", ".", "..") for part in path.split("/")):
        raise FileNotFoundError(path)
    return path


def _is_record(system: Any, file: str) -> bool:
    """Say whether a file with the name of a record begins as one. Raises: OSError: it cannot be read."""
    is_local = isinstance(system, LocalFileSystem)
    begin = _read_locally(Path(file), _BEGIN_BYTES) if is_local else system.cat_file(file, start=0, end=_BEGIN_BYTES)
    return not begin or _RECORD_BEGINS.match(begin) is not None  # empty: a killed process, or a power failure


def _read_locally(file: Path, size: int = -1) -> bytes:
    """Read a local record. Non-blocking: a named pipe in the file's place must not hang the audit."""
    as_it_is = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(file, os.O_RDONLY | as_it_is | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileNotFoundError(file)
        return opened.read(size)


def _write_locally(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = target.with_name(f".{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def opened_results() -> SignedResults | None:
    """Load the block, or create it if there is none. If results cannot be kept, log a warning and return None."""
    load: Any = SignedResults.load
    try:
        try:
            results: Any = load(BLOCK, _sync=True)
        except ValueError:  # raised by Prefect if there is no such block
            results = SignedResults()
            results.save(BLOCK, overwrite=True, _sync=True)
        results.seal()
        results.sweep()
    except Exception as error:  # noqa: BLE001 - an audit works without kept results
        get_run_logger().warning(
            "results are not kept (%s): if this audit is interrupted, it begins again", reason_of(error)
        )
        return None
    return results  # type: ignore[no-any-return]


def life_of(audit_id: str, run_id: str) -> str:
    """Return an id that changes each time the audit ends, whichever flow run ended it.

    If Prefect does not answer, the id is unique, so nothing is reused.
    """
    try:
        with get_client(sync_client=True) as client:
            states = [state for run in dict.fromkeys((run_id, audit_id)) for state in _states(client, run)]
            if audit_id != run_id or any(state.is_final() for state in states):  # it resumes an earlier run
                states += [state for run in _ended_of_late(client, audit_id) for state in _states(client, run)]
    except Exception:  # noqa: BLE001 - see the docstring
        return secrets.token_hex(8)
    ends = [state.timestamp for state in states if state.name in _ENDED]
    return f"{max(ends):%Y%m%dT%H%M%S%f}" if ends else FIRST_LIFE


def _ended_of_late(client: SyncPrefectClient, audit_id: str) -> Iterator[str]:
    """Yield flow runs that resumed this audit, and ended while its readings are still kept."""
    audits = FlowFilter(name=FlowFilterName(any_=["audit-registry"]))  # without their parts
    since: Any = datetime.now(UTC) - 2 * KEPT_FOR  # a datetime is accepted by Prefect's own time type
    late = FlowRunFilter(end_time=FlowRunFilterEndTime(after_=since))
    seen, order = 0, FlowRunSort.END_TIME_DESC
    while runs := client.read_flow_runs(flow_filter=audits, flow_run_filter=late, sort=order, offset=seen):
        yield from (str(run.id) for run in runs if run.parameters.get("audit_id") == audit_id)
        seen += len(runs)


def _states(client: SyncPrefectClient, run_id: str) -> list[State[Any]]:
    try:
        return client.read_flow_run_states(UUID(run_id))
    except (ValueError, ObjectNotFound):  # an audit that a command began is not a flow run
        return []


def kept(task: Task[..., Any], results: SignedResults, kind: str) -> Task[..., Any]:
    """Return the task with its results kept for a run that resumes an interrupted audit.

    Args:
        kind: kind of the result, one of `_KINDS`.
    """

    def key(_: TaskRunContext, parameters: dict[str, Any]) -> str | None:
        # If the server cannot be identified, the step itself reports why, without secrets.
        with contextlib.suppress(Exception):
            return _key_of(task.name, results.seal(), parameters)
        return None

    return task.with_options(
        cache_policy=CacheKeyFnPolicy(cache_key_fn=key),
        cache_expiration=KEPT_FOR,
        cache_result_in_memory=False,
        persist_result=True,
        result_serializer=ResultSerializer(kind=kind),
        result_storage=results,
    )


def if_settled(results: _Settled) -> _Settled:
    """Return a step's results, and keep them unpersisted if any of them may be different in the next try."""
    transaction = get_transaction()
    if transaction is not None and not all(map(_is_settled, results)):
        transaction.write_on_commit = False
    return results


def _is_settled(result: Resolved | Copy | VersionFacts | None) -> bool:
    """Say whether a result is complete and no transient error occurred."""
    match result:
        case None:
            return True
        case VersionFacts():
            # Inodes are only valid on one machine while its file systems stay mounted.
            return _is_settled(result.audit) and not result.retryable and not result.places
        case VersionAudit():
            return result.verdict is not Verdict.UNVERIFIABLE and not result.retryable
        case ResolvedVersion():
            unknown = result.run_model.unknown or result.reg_model.unknown
            return not unknown and not any(problem.blocks for problem in result.problems)
        case ModelCopy():
            reading = result.reading
            return reading is not None and not reading.retryable and not any(p.blocks for p in result.problems)
        case _:
            return False


def _key_of(step: str, seal: Seal, parameters: dict[str, Any]) -> str | None:
    """Return the key of a result in the storage; None if the result is not stored."""
    job: Job = parameters["job"]
    material = _material(parameters)
    if job.life is None or material is None:
        return None
    digest = seal.sign("key", json.dumps([step, work_key(job), *material]).encode())
    return f"{ROOT}/{job.audit_id}/{step}-{digest[:_DIGEST_CHARACTERS]}"


def work_key(job: Job) -> str:
    """Return a hex sha256 that differs whenever a batch of the audit could give other rows."""
    what = [code_digest("registry_audit", "tasks"), _asked(job), job.life]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def _material(parameters: dict[str, Any]) -> list[str] | None:
    """Return the inputs of the step as part of its key; None if the inputs are not final."""
    if "batch" in parameters:
        return [encode_version(version) for version in parameters["batch"]]
    resolved = parameters["resolved"]
    copies = [*parameters.get("run_models", ()), *parameters.get("reg_models", ())]
    if not all(isinstance(item, ResolvedVersion) and _is_settled(item) for item in resolved):
        return None
    if not all(copy is None or isinstance(copy, ModelCopy) for copy in copies):
        return None
    return [_KINDS["resolved"].encode(resolved), *(_stamp(copy) for copy in copies)]


def _stamp(copy: ModelCopy | None) -> str:
    """Return a text that is different for each reading."""
    if copy is None:
        return ""
    return f"{copy.identity.key} {copy.listing.fingerprint()} {copy.reading.read_at if copy.reading else ''}"


@lru_cache(maxsize=8)
def _asked(job: Job) -> str:
    """Return the options and the registry, as far as they can change the result of an audit."""
    options = job.options
    key_file = options.signature_file
    signing = hashlib.sha256(Path(key_file).read_bytes()).hexdigest() if key_file else ""
    # The address alone is not enough: one profile may name different workspaces on different machines.
    registry = open_session(job).connection.identity
    runs = registry_of(options.tracking_uri)
    return json.dumps([options.reported(), options.registry_name, registry, runs, active_workspace(), signing])
