"""The S3 client of this process: set up as MLflow's own, polite, and without botocore's cost per request.

botocore puts the first request to a bucket together. Those that follow are signed by its signer and sent over its
connections, past all the rest of it; whatever comes of one but what was asked for, botocore asks again in its own way.
"""

import contextlib
import os
import threading
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, TypeVar
from urllib.parse import urlsplit

from registry_audit.errors import UsageError
from registry_audit.registry.politeness import REFUSALS, retry_after_seconds, sent_now
from registry_audit.registry.translate import s3_endpoint
from registry_audit.stores.s3_again import Again
from registry_audit.stores.s3_page import timestamp

_Found = TypeVar("_Found", covariant=True)

_CONNECTIONS = 64  # kept open: more than requests are ever under way


class S3Request(Protocol[_Found]):
    """One GET, in botocore's words and in HTTP's."""

    operation: ClassVar[str]
    statuses: ClassVar[tuple[int, ...]]  # that `understood` understands

    @property
    def bucket(self) -> str: ...
    @property
    def path(self) -> str: ...  # below the bucket
    @property
    def query(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...

    def by_botocore(self, client: Any) -> _Found: ...

    def understood(self, answer: Any, client: Any, context: Mapping[str, Any]) -> _Found:
        """Raises: ValueError: it is nothing of the kind."""
        ...


class S3Client:
    """Safe to share between threads."""

    def __init__(self, client: Any, credentials: Any) -> None:
        """
        Args:
            client: botocore's.
            credentials: what it signs with; None where it has none.
        """
        self.host = str(client.meta.endpoint_url)
        self._client, self._credentials = client, credentials
        self._session = _http_session(client)
        self._sent_by_botocore = threading.local()
        self._known: dict[tuple[str, str], Again | None] = {}  # by operation and bucket; None: left to botocore
        client.meta.events.register("before-send.s3", self._note)

    def ask(self, request: S3Request[_Found]) -> _Found:
        """Raises whatever botocore and the request raise: to be used within `translated`."""
        kind = request.operation, request.bucket
        again = self._known.get(kind)
        if again is None:
            found = request.by_botocore(self._client)
            if kind not in self._known:
                self._known[kind] = self._again(request)
            return found
        answer = self._sent(again, request)
        if answer is not None and answer.status_code in request.statuses:
            with contextlib.suppress(ValueError):
                return request.understood(answer, self._client, again.context)
        found = request.by_botocore(self._client)
        if answer is not None and answer.status_code < 500 and answer.status_code not in REFUSALS:
            self._known[kind] = None  # botocore is answered otherwise
        return found

    def _sent(self, again: Again, request: S3Request[Any]) -> Any:
        """What came; None where nothing did. Unless it is of the request's statuses, botocore may ask now."""
        from botocore.exceptions import BotoCoreError

        answer = None
        with contextlib.suppress(BotoCoreError):
            answer = self._session.send(again.request(request.path, request.query, request.headers))
            if answer.status_code in request.statuses:
                return answer
            answer.raw.close()
            answer.raw.release_conn()
            _heed(answer, 0)
        flight = sent_now()
        if flight is not None:
            flight.wait()
        return answer

    def _again(self, request: S3Request[Any]) -> Again | None:
        sent = getattr(self._sent_by_botocore, "request", None)
        if sent is None or self._session is None or self._credentials is None:
            return None
        return Again.of(sent, request.path, request.query, self._credentials)

    def _note(self, request: Any, **_: Any) -> None:
        self._sent_by_botocore.request = request


def s3_client() -> S3Client:
    """One for each set of credentials in the environment, shared by all threads: connections are reused.

    MLFLOW_S3_ENDPOINT_URL and the like mean the same here as to MLflow.
    """
    try:
        import boto3  # noqa: F401
    except ImportError as error:
        raise UsageError("reading s3:// needs boto3: pip install 'mlflow-registry-audit[s3]'") from error
    chosen = tuple(sorted(item for item in os.environ.items() if item[0].startswith(("AWS_", "MLFLOW_"))))
    with _clients_lock:
        if chosen not in _clients:
            _clients.clear()
            _clients[chosen] = _new_client()
        return _clients[chosen]


_clients: dict[tuple[tuple[str, str], ...], S3Client] = {}
_clients_lock = threading.Lock()


def _new_client() -> S3Client:
    import boto3
    import botocore.session
    from botocore.config import Config
    from mlflow.environment_variables import MLFLOW_S3_ENDPOINT_URL, MLFLOW_S3_IGNORE_TLS
    from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

    _must_be_endpoint(MLFLOW_S3_ENDPOINT_URL.get())
    model = S3ArtifactRepository("s3://-/")._get_s3_client()
    session = botocore.session.get_session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=timestamp)
    client = boto3.Session(botocore_session=session).client(
        "s3",
        config=model.meta.config.merge(Config(max_pool_connections=_CONNECTIONS)),
        endpoint_url=MLFLOW_S3_ENDPOINT_URL.get(),
        verify=False if MLFLOW_S3_IGNORE_TLS.get() else None,
    )
    # Around botocore's own retries: what one request is told, the others towards that host heed too.
    client.meta.events.register("needs-retry.s3", _told)
    client.meta.events.register("before-send.s3", _wait)
    _make_breakable(client)
    return S3Client(client, session.get_credentials())


def _must_be_endpoint(url: str | None) -> None:
    """Raises: UsageError: botocore could not use it."""
    if url is None:
        return
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(
            f"S3 cannot be reached: {s3_endpoint()}; it must be a URL such as http://minio.example:9000, "
            "or not set at all for AWS"
        )


def _http_session(client: Any) -> Any:
    """botocore has no public way to its connections: where it keeps them elsewhere, it goes on alone."""
    return getattr(getattr(client, "_endpoint", None), "http_session", None)


def _make_breakable(client: Any) -> None:
    """Where there is no way to do so, stopping waits for a time-out."""
    from botocore.awsrequest import AWSHTTPConnectionPool, AWSHTTPSConnectionPool

    from registry_audit.registry.transport import breakable

    manager = getattr(_http_session(client), "_manager", None)
    if manager is not None:
        pools = {"http": breakable(AWSHTTPConnectionPool), "https": breakable(AWSHTTPSConnectionPool)}
        manager.pool_classes_by_scheme = pools


def _told(response: Any, attempts: int, **_: Any) -> None:
    if response is not None:
        _heed(response[0], attempts)


def _heed(answer: Any, attempts: int) -> None:
    flight = sent_now()
    if flight is not None and answer.status_code in REFUSALS:
        advised = retry_after_seconds(answer.headers.get("Retry-After"))
        flight.refused(min(0.25 * 2**attempts, 20.0) if advised is None else advised)


def _wait(**_: Any) -> None:
    flight = sent_now()
    if flight is not None and (flight.was_refused or flight.was_given_up):
        flight.wait()
