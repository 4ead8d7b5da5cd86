"""Implements `registry-audit doctor`: can everything that an audit needs be reached, and what can a server not tell?"""

import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from registry_audit.cli.boundary import import_library
from registry_audit.cli.common_options import SERVER, ledger_url, required_tracking_uri, with_options
from registry_audit.errors import AuditError, CouldNotVerify, NotFound, UsageError
from registry_audit.printable import printable
from registry_audit.verdict import ExitStatus

if TYPE_CHECKING:
    from registry_audit.registry.connection import Connection
    from registry_audit.registry.version import RegisteredVersion

_ALIASES_SINCE = (2, 3)
_LOGGED_MODELS_SINCE = (3, 0)
_SIGNS = {
    ExitStatus.CLEAN: "ok",
    ExitStatus.USAGE: "wrong",
    ExitStatus.INCOMPLETE: "failed",
    ExitStatus.LEDGER: "unusable",
}
_STORES_LOOKED_AT = 5  # maximum number of different kinds, taken from the newest versions


@dataclass(frozen=True, slots=True)
class Finding:
    """This is a check and its result. `status` says how bad the result is for an audit."""

    what: str
    said: str
    status: ExitStatus = ExitStatus.CLEAN


@click.command("doctor", context_settings={"help_option_names": ["-h", "--help"]})
@with_options(*SERVER, "ledger")
def command(tracking_uri: str | None, registry_uri: str | None, ledger: str | None) -> int:
    """Test in seconds whether server, stores, ledger and Prefect can be reached. Nothing is written.

    Exit status: 0 all of it can be reached, 2 the configuration is wrong, 3 something could not be reached or read,
    4 the ledger cannot be used.
    """
    uri = required_tracking_uri(tracking_uri)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    patience = os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    import_library()
    worst, is_slow = ExitStatus.CLEAN, False
    for finding in _examine(uri, registry_uri, ledger_url(ledger)):
        sign = _SIGNS[finding.status]
        click.echo(f"{sign:<9}  {finding.what:<9}  {printable(finding.said)}")
        worst = max(worst, finding.status)
        is_slow |= finding.status is ExitStatus.INCOMPLETE and finding.what != "registry"
    if is_slow and worst is ExitStatus.INCOMPLETE:
        click.echo(
            f"Each answer may take {patience} seconds here; MLFLOW_HTTP_REQUEST_TIMEOUT=60 allows more.", err=True
        )
    return int(worst)


def _examine(uri: str, registry_uri: str | None, ledger: str | None) -> Iterator[Finding]:
    yield _ledger(ledger)
    yield _prefect()
    from registry_audit.registry.connection import Server, connect

    began = time.monotonic()
    try:
        connection = connect(Server(uri, registry_uri))
    except AuditError as error:
        yield _failed("server", error)
        return
    yield from _server(connection, began)


def _server(connection: "Connection", began: float) -> Iterator[Finding]:
    from registry_audit.registry.connection import must_listen, server_version
    from registry_audit.registry.versions import newest_versions

    try:
        must_listen(connection)
        version = server_version(connection)
        newest = newest_versions(connection, 50)
    except AuditError as error:
        yield _failed("server", error)
        return
    took = f"{(time.monotonic() - began) * 1000:,.0f} ms"
    without = "read directly, without an MLflow server"
    unknown = without if connection.server is None else "it does not say which MLflow it runs"
    runs = f"MLflow {version}" if version else unknown
    workspace = f", workspace {connection.workspace}" if connection.workspace else ""
    yield Finding("server", f"{connection.registry_address.shown}{workspace}: {runs}, {took}")
    yield from _what_it_lacks(version)
    if not newest:
        yield Finding("registry", "there is no model version, or none that this account may see", ExitStatus.INCOMPLETE)
        return
    yield Finding("registry", f"the newest version is {newest[0].name}/{newest[0].version}")
    yield from _stores(connection, newest)


def _what_it_lacks(version: str | None) -> Iterator[Finding]:
    if version is None:
        return
    number = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if number < _ALIASES_SINCE:
        yield Finding("server", f"MLflow {version} has no aliases: name versions by number or stage")
    if number < _LOGGED_MODELS_SINCE:
        yield Finding("server", f"MLflow {version} has no LoggedModels: a run's directory is the whole model")


def _stores(connection: "Connection", versions: "list[RegisteredVersion]") -> Iterator[Finding]:
    """Test one model of each kind of storage by listing its root."""
    from registry_audit.registry.resolve import resolve_version
    from registry_audit.registry.runs import Runs
    from registry_audit.stores.store_for_location import open_store

    runs, seen = Runs(connection), set[str]()
    for version in versions:
        try:
            location = resolve_version(connection, version, runs).reg_model
            kind = _kind(location.roots)
            if kind in seen:
                continue
            seen.add(kind)
            label = f"{kind}, as of {version.name}/{version.version}"
            listing = open_store(connection, location).root_listing()
            has_model = any(file.path == "MLmodel" for file in listing.files)
            yield Finding("store", f"{label}: {'readable' if has_model else 'reachable, and no MLmodel is there'}")
        except AuditError as error:
            yield _failed("store", error, f"{version.name}/{version.version}: ")
        if len(seen) >= _STORES_LOOKED_AT:
            return


def _kind(roots: tuple[str, ...]) -> str:
    if not roots:
        raise CouldNotVerify("its location leads nowhere")
    scheme, colon, rest = roots[0].partition(":")
    if not colon or "/" in scheme:
        return "a directory"
    # `mlflow-artifacts:/1/...` names no host: its first part is an experiment, and all experiments are in one store.
    return f"{scheme}://{rest[2:].partition('/')[0]}" if rest.startswith("//") else f"{scheme}:"


def _ledger(url: str | None) -> Finding:
    from registry_audit.home import default_ledger_url
    from registry_audit.ledger.connecting import open_ledger

    if url is None:
        return Finding("ledger", "none: nothing will be remembered")
    try:
        with closing(open_ledger(url, create=False)) as opened, opened.reading() as reader:
            head = reader.head()
    except AuditError as error:
        if url == default_ledger_url() and "there is no ledger" in error.message:
            return Finding("ledger", "not begun yet: an audit with --accept-new starts one")
        return Finding("ledger", error.message, error.exit_status)
    return Finding("ledger", f"{opened.url}: {head.seq if head else 0:,} entries")


def _prefect() -> Finding:
    import requests

    from registry_audit.redact import redact_endpoint

    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return Finding("prefect", "PREFECT_API_URL is not set: the commands need no Prefect, --submit does")
    try:
        answer = requests.get(f"{url.rstrip('/')}/health", timeout=5)
    except (requests.RequestException, ValueError) as error:
        return Finding("prefect", f"{redact_endpoint(url)}: {type(error).__name__}", ExitStatus.INCOMPLETE)
    if answer.status_code != requests.codes.ok:
        return Finding("prefect", f"{redact_endpoint(url)} answered {answer.status_code}", ExitStatus.INCOMPLETE)
    return Finding("prefect", f"{redact_endpoint(url)} is healthy")


def _failed(what: str, error: AuditError, label: str = "") -> Finding:
    wrong = isinstance(error, UsageError) and not isinstance(error, NotFound)
    return Finding(what, f"{label}{error.message}", ExitStatus.USAGE if wrong else ExitStatus.INCOMPLETE)
