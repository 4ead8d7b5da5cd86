"""Translates other libraries' exceptions. No other module reads them.

MLflow's codes and texts are in docs/mlflow.md section 2: over HTTP a `RestException`, on a database a plain
`MlflowException`; only `error_code` and the HTTP status say what happened.
"""

import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeGuard

from registry_audit.errors import AuditError, CouldNotVerify, NotFound, Refused, Transient, UsageError
from registry_audit.net.http import unreachable
from registry_audit.net.throttle import REFUSALS, retry_after_seconds
from registry_audit.printable import printable
from registry_audit.redact import redact, redact_endpoint
from registry_audit.registry.mlflow_environment import importing_mlflow

if TYPE_CHECKING:
    from mlflow.exceptions import MlflowException

_MISSING = {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "ENDPOINT_NOT_FOUND"}
_DENIED = {"PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED"}
_BAD_CREDENTIALS = {"UNAUTHENTICATED"}
_WRONG_REQUEST = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "MALFORMED_REQUEST", "FEATURE_DISABLED"}
_MAX_CAUSES = 20
_WRITES = re.compile(r"read.?only (database|transaction)", re.IGNORECASE)  # SQLite, PostgreSQL, MySQL
# Said if the revision is right and tables are missing: MySQL shows only those that are granted.
_UNSEEN = re.compile("^Database migration in unexpected state")
# What the drivers of databases say, and what helps then.
_OF_DATABASES = (
    (
        re.compile("attempt to write a readonly database"),
        "a crash left a journal beside it: start the MLflow server that owns it once, or audit through that server",
    ),
    (
        re.compile("database is locked|lock timeout|[Ll]ock wait timeout|timed out"),
        "does another program hold a lock on it, as a migration does? Audit again when that is done",
    ),
    (re.compile("permission denied for|command denied to"), "grant its user SELECT on all tables of MLflow"),
    (
        re.compile("unsupported startup parameter"),
        "connect without the proxy between, or audit through the MLflow server that owns it, by its http address",
    ),
)
# Errors of the clouds' SDKs if they find no credentials, and what helps then: see docs/stores.md.
_NOBODY_SIGNED_IN = {
    ("botocore", "NoCredentialsError"): "give a profile or a role that may read the bucket, as AWS_PROFILE, or "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ("azure", "ClientAuthenticationError"): "set AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_ACCESS_KEY or "
    "AZURE_STORAGE_SAS_TOKEN, or sign in as azure-identity does, for instance by `az login`",
}
_TRANSIENT_STATUS = {408, 425, 429, 500, 502, 503, 504}


# If it is set, the traceback of an unexpected error is written to stderr, without its secrets.
TRACEBACK = "REGISTRY_AUDIT_TRACEBACK"
_ENDPOINTS = ("MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


def is_foreign(error: BaseException) -> bool:
    """Say whether other code failed, and nobody asked this process or task to end.

    A plugin that calls `sys.exit` and Rust code that panics raise no `Exception`.
    """
    return isinstance(error, Exception | SystemExit) or type(error).__module__ == "pyo3_runtime"


def reason_of(error: BaseException) -> str:
    """Return one line that says why a version cannot be audited; for an unexpected error also how to report it."""
    if isinstance(error, AuditError):
        return error.message
    if os.environ.get(TRACEBACK):
        sys.stderr.write(redact("".join(traceback.format_exception(error))))
    what = printable(redact(f"{type(error).__name__}: {_first_line(error)}"))[:300]
    return f"internal error: {what} (set {TRACEBACK}=1 to see where, and please report it)"


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise this library's errors for anything the body raises; `doing` completes "could not ...".

    Raises:
        NotFound: the server answered that the object is not there.
        UsageError: bad credentials, or a request that the server calls invalid.
        Transient: connection, time-out, 429, 5xx: retryable.
        CouldNotVerify: denied, or anything else that keeps the result unknown.
    """
    try:
        yield
    except AuditError:
        raise
    except BaseException as error:  # whatever a store's plugin raises must become a row, not a crash
        if not is_foreign(error):
            raise
        raise _ours(error) or explain(error, doing) from error


def _ours(error: BaseException) -> AuditError | None:
    """Return an error of our own that another library wrapped, such as that of a cancelled answer; else None."""
    cause: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        cause = None if cause is None else cause.__cause__ or cause.__context__
        if isinstance(cause, AuditError):
            return cause
    return None


def explain(error: BaseException, doing: str) -> AuditError:
    """Return the library's error for a foreign one, without credentials and control characters in its text."""
    # Imported here, so that options and names can be checked, and help shown, without waiting for MLflow.
    import requests

    if (why := unreachable(error)) is not None:
        return Transient(f"could not {doing}: {why}{_endpoint(error)}")
    short = printable(redact(_first_line(error)))[:400]
    if _is_mlflows(error):
        return _explain_mlflow(error, doing, short)
    status = _http_status(error)
    if status in REFUSALS:
        return Refused(f"could not {doing}: the server answered {status}", retry_after_seconds(_retry_after(error)))
    if status is not None:
        return _explain_status(status, doing, short)
    if isinstance(error, requests.RequestException | TimeoutError | ConnectionError) or _is_passing(error):
        return Transient(f"could not {doing}: {short}{_endpoint(error)}")
    if isinstance(error, PermissionError):
        return CouldNotVerify(f"could not {doing}: permission denied")
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotFound(f"could not {doing}: no such file")
    return CouldNotVerify(f"could not {doing}: {type(error).__name__}: {short}{_endpoint(error)}{_way_out(error)}")


def _way_out(error: BaseException) -> str:
    """Return what helps, if the kind of the error shows it; empty otherwise."""
    if isinstance(error, ModuleNotFoundError):
        return "; install the package that has it beside registry-audit"
    helps = _NOBODY_SIGNED_IN.get((type(error).__module__.partition(".")[0], type(error).__name__))
    return f"; {helps}" if helps else ""


def _is_mlflows(error: BaseException) -> TypeGuard["MlflowException"]:
    if "mlflow" not in sys.modules:  # then nobody raised its errors
        return False
    with importing_mlflow():
        from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException)


def _explain_mlflow(error: "MlflowException", doing: str, short: str) -> AuditError:
    code, cause = error.error_code, error.__cause__
    if cause is not None and type(cause).__module__.startswith("sqlalchemy."):
        return _explain_database(cause, doing, short)
    if code in _MISSING and not _is_status_only(error):
        return NotFound(f"could not {doing}: {short}")
    if code in _BAD_CREDENTIALS:
        return UsageError(
            f"could not {doing}: the server refuses the credentials; set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        )
    if code in _DENIED:
        return CouldNotVerify(f"could not {doing}: permission denied; ask for READ on it")
    if code in _WRONG_REQUEST:
        return UsageError(f"could not {doing}: {short}")
    # MLflow reports an unreachable server and its 5xx alike as INTERNAL_ERROR.
    return Transient(f"could not {doing}: {short}")


def _explain_database(cause: BaseException, doing: str, short: str) -> AuditError:
    """Explain a database's error: MLflow calls all of them bad requests, even missing privileges."""
    from sqlalchemy.exc import DataError, OperationalError

    way_out = way_out_of_database(short)
    message = f"could not {doing}: {short}" + (f"; {way_out}" if way_out else "")
    if isinstance(cause, DataError):  # a number that is larger than any version's
        return UsageError(message)
    return Transient(message) if isinstance(cause, OperationalError) else CouldNotVerify(message)


def way_out_of_database(said: str) -> str:
    """Return what helps if a database cannot be read, by its driver's words; empty if nothing is known."""
    return next((way_out for words, way_out in _OF_DATABASES if words.search(said)), "")


def is_unknown_parameter(said: str) -> bool:
    """Say whether a database's driver rejects a parameter of the address, by its words."""
    return "unexpected keyword argument" in said or "invalid connection option" in said


def refused_to_open(error: BaseException) -> str | None:
    """Say why MLflow can open a database only by writing to it, or not at all; None for any other error.

    It creates the default experiment if that is missing, and tries to whenever there may be workspaces.
    """
    if not _is_mlflows(error):
        return None
    by_http = "audit through the MLflow server that owns it, by its http address"
    if error.error_code == "INVALID_STATE":
        return f"holds several workspaces: {by_http}, and name one with MLFLOW_WORKSPACE"
    if _UNSEEN.search(str(error)):
        return f"does not show every table of MLflow to its user: grant that one SELECT on all of them, or {by_http}"
    if _WRITES.search(str(error)):
        return f"cannot be opened by MLflow without writing to it, and an audit writes nothing: {by_http}"
    return None


def _is_status_only(error: "MlflowException") -> bool:
    """Say whether only an HTTP status is known. A 404 page from a proxy in between proves nothing.

    An MLflow server's own answer comes as JSON and is a `RestException`; a database raises without a request.

    Source: mlflow.utils.rest_utils.verify_rest_response.
    """
    with importing_mlflow():
        from mlflow.exceptions import RestException

    return not isinstance(error, RestException) and str(error).startswith("API request to ")


def _explain_status(status: int, doing: str, short: str) -> AuditError:
    if status == 404:
        return NotFound(f"could not {doing}: not found (404)")
    if status == 401:
        return UsageError(f"could not {doing}: the server refuses the credentials (401)")
    if status == 403:
        return CouldNotVerify(f"could not {doing}: permission denied (403)")
    if status in _TRANSIENT_STATUS:
        return Transient(f"could not {doing}: the server answered {status}")
    return CouldNotVerify(f"could not {doing}: {short}")


def _http_status(error: BaseException) -> int | None:
    """Return the status of a `requests.HTTPError` or a botocore `ClientError`. Botocore need not be installed."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        status = getattr(response, "status_code", None)
    return status if isinstance(status, int) else None


def _retry_after(error: BaseException) -> str | None:
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):
        headers: Any = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return headers.get("retry-after")  # type: ignore[no-any-return]
    return response.headers.get("Retry-After")  # type: ignore[no-any-return]


def _is_passing(error: BaseException) -> bool:
    """Say whether an SDK reports a lost connection or an unreadable answer. None of the SDKs is needed for this."""
    package = type(error).__module__.partition(".")[0]
    if package == "botocore":
        from botocore.exceptions import HTTPClientError
        from botocore.parsers import ResponseParserError

        return isinstance(error, HTTPClientError | ResponseParserError)
    if package == "azure":
        from azure.core import exceptions as azure

        return isinstance(error, azure.ServiceRequestError | azure.ServiceResponseError | azure.DecodeError)
    if package == "google":
        from google.auth.exceptions import TransportError

        return isinstance(error, TransportError)
    return False


def s3_endpoint() -> str:
    """Return the variable that names the S3 endpoint, with its value; empty if AWS's default applies."""
    for name in _ENDPOINTS:
        if name in os.environ:
            return f"{name} is {printable(redact_endpoint(os.environ[name]))[:200] or 'empty'}"
    return ""


def _endpoint(error: BaseException) -> str:
    """Return the S3 endpoint if the request did not even reach it. Botocore need not be installed."""
    unreachable = {"EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError", "SSLError"}
    botocore = type(error).__module__.startswith("botocore") and type(error).__name__ in unreachable
    return f"; {named}" if botocore and (named := s3_endpoint()) else ""


def _first_line(error: BaseException) -> str:
    try:
        text = str(error).strip()
    except Exception:  # noqa: BLE001 - an exception of a plugin, whose text fails too
        text = ""
    return (text or type(error).__name__).splitlines()[0]
