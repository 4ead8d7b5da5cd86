"""Parses the address of a tracking server or a registry once, with the parser that will use it.

An address determines four things that must never be confused: what is opened, what is shown, the identity in a ledger,
and the host that gets credentials. The shown text is assembled from named parts, so that a secret can only be shown if
somebody names it here.
"""

import hashlib
import os
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import quote, unquote, urlunsplit

from registry_audit.errors import UsageError
from registry_audit.net.origin import TOO_LONG, is_host_name, normal_host, urlsplit
from registry_audit.printable import printable
from registry_audit.redact import remember_secrets

DEFAULT_WORKSPACE = "default"

_HTTP_PORTS = {"http": 80, "https": 443}
_DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306, "mssql": 1433, "oracle": 1521}
# Parameters of a database's address that belong to the sign-in.
SIGN_IN = frozenset({"user", "username", "uid", "password", "passwd", "pwd", "passfile", "sslpassword", "token"})
# Parameters of the drivers that change how a connection is made, but not what is found there.
_HOW = frozenset(
    {
        "connect_timeout",
        "read_timeout",
        "write_timeout",
        "application_name",
        "fallback_application_name",
        "charset",
        "client_encoding",
        "collation",
        "channel_binding",
        "require_auth",
        "target_session_attrs",
        "local_infile",
        "autocommit",
        "encrypt",
        "trustservercertificate",
        "driver",
        "binary_prefix",
        "use_unicode",
        "compression",
    }
)
# Variables of PostgreSQL's own library that complete an address.
_LIBPQ = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGOPTIONS", "PGSERVICE", "PGSERVICEFILE")
_OF_DATABRICKS = re.compile(r"(?:databricks://(?:.*/)?workspace|databricks-uc://metastore)/(?P<id>[\w-]+)")
_SIGNED_IN = re.compile(r":.*@")  # a user's password before a host
_OTHER_NAMES = {"postgres": "postgresql", "mariadb": "mysql"}  # other names of databases
DATABASES = ("sqlite", "postgresql", "postgres", "mysql", "mariadb", "mssql", "oracle")
_LEFT_OUT = re.compile("[?#\t\r\n]")  # characters that are left out of a path from Python 3.14 on


class AddressKind(StrEnum):
    SERVER = "server"  # http, https
    DATABASE = "database"
    DIRECTORY = "directory"  # MLflow's file store
    DATABRICKS = "databricks"
    UNITY_CATALOG = "unity catalog"  # databricks-uc, uc
    OTHER = "other"  # address of an MLflow plugin


@dataclass(frozen=True, slots=True)
class Address:
    """Holds a parsed address. Two addresses with the same `identity` are one address; only `shown` may be printed."""

    kind: AddressKind
    uri: str = field(repr=False)  # as it was given, including its secrets
    shown: str
    identity: str
    path: str = field(default="", repr=False)  # of a directory


def parse_address(uri: str) -> Address:
    """Parse an address.

    Raises:
        UsageError: no parser can read it. The message holds nothing of the address but its scheme.
    """
    text = uri.strip()
    remember_secrets(text)
    scheme = _scheme(text)
    base = scheme.partition("+")[0]
    if base in DATABASES:
        return _database(text)
    if scheme in _HTTP_PORTS:
        return _server(text)
    if scheme in ("", "file"):
        return _directory(text)
    if scheme in ("databricks", "databricks-uc", "uc"):
        return _databricks(text, scheme)
    return _other(text, scheme)


def _other(uri: str, scheme: str) -> Address:
    """Parse the address of an MLflow plugin, or one whose scheme was forgotten: the text before its `@` is secret."""
    if "@" in uri and "://" not in uri:
        raise UsageError("the address has no scheme: write http:// before it")
    address = re.split("[?#]", uri, maxsplit=1)[0]
    if address.partition(":")[2].partition("/")[0].isdecimal():
        raise UsageError(f"the address has no scheme: write http://{printable(address)}")
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise UsageError(f"the address {scheme}://... is no URL: {url_problem(error)}") from error
    _must_be_unambiguous(uri, parts.netloc)
    host = parts.netloc.rpartition("@")[2]
    shown = printable(f"{scheme}://{host}{parts.path}" if host else scheme)
    return Address(AddressKind.OTHER, uri, shown, f"{shown}#{_digest(repr((host, parts.path, parts.query)))}")


def server_in(uri: str) -> str:
    """Return the address of the server in a `uc:` address; any other address as it is."""
    scheme, _, rest = uri.strip().partition(":")
    return rest.removeprefix("//") if scheme.lower() == "uc" else uri


def shown_address(uri: str) -> str:
    """Return what may be printed of an address, even of one that no parser can read."""
    try:
        return parse_address(uri).shown
    except UsageError:
        return printable(f"{_scheme(uri)}://..." if _scheme(uri) and "://" in uri else "...")


def shown_identity(uri: str) -> str | None:
    """Return the identity of an address, which holds no secret; None if no parser can read the address."""
    try:
        return parse_address(uri).identity
    except UsageError:
        return None


def registry_identity(address: Address, workspace: str | None) -> str:
    """Return the identity of a registry before it is asked: for locks, and for the files of an interrupted audit.

    Args:
        workspace: MLflow's workspace on the server; none and `default` are the same one.
    """
    return in_workspace(address.identity + _selected_by_environment(address), address, workspace)


def _selected_by_environment(address: Address) -> str:
    """Return what distinguishes registries at one PostgreSQL address; empty if the environment selects none."""
    if not address.identity.startswith("postgresql:"):
        return ""
    said = {name: value for name in _LIBPQ if (value := os.environ.get(name))}
    return f"#environment={_digest(repr(sorted(said.items())))}" if said else ""


def in_workspace(identity: str, address: Address, workspace: str | None) -> str:
    """Return the identity of a workspace of the registry that is known by `identity`."""
    if workspace in (None, "", DEFAULT_WORKSPACE) or not has_workspaces(address):
        return identity
    return f"{identity}#workspace={workspace}"


def postgres_identity(told: Mapping[str, str], schema: str) -> str:
    """Return the identity of a registry in PostgreSQL.

    Args:
        told: the parameters of a connection, whether the address, the environment or a service file set them.
        schema: the schema of its tables.
    """
    host, address = told.get("host") or "", told.get("hostaddr") or ""
    port = told.get("port") or str(_DATABASE_PORTS["postgresql"])
    place = normal_host(host or address or "localhost")
    shown_port = "" if port == str(_DATABASE_PORTS["postgresql"]) else f":{port}"
    more = {"hostaddr": address if host else "", "schema": "" if schema == "public" else schema}
    said = "&".join(f"{name}={quote(value, safe='')}" for name, value in more.items() if value)
    database = f"{quote(place, safe='[]:,')}{shown_port}/{told.get('dbname', '')}"
    return f"postgresql://{database}" + (f"#{said}" if said else "")


def registry_beside(
    tracking_uri: str, configured_tracking_uri: str | None, configured_registry_uri: str | None
) -> str | None:
    """Return the model registry that the environment, or another configuration, names for a tracking server.

    The two configured addresses belong together: if the configuration names another tracking server, its registry is
    that server's.

    Args:
        tracking_uri: the server that is asked.
        configured_tracking_uri: value of `MLFLOW_TRACKING_URI`, or of the configuration that replaces it.
        configured_registry_uri: value of `MLFLOW_REGISTRY_URI`, or of the configuration that replaces it.
    """
    owner = (configured_tracking_uri or "").strip()
    if not owner or shown_identity(owner) == shown_identity(tracking_uri):
        return configured_registry_uri or None
    return None


def registry_of_environment(tracking_uri: str) -> str | None:
    """Return the model registry that MLflow's own variables name for a tracking server."""
    return registry_beside(tracking_uri, os.environ.get("MLFLOW_TRACKING_URI"), os.environ.get("MLFLOW_REGISTRY_URI"))


def are_two_registries(one: str, other: str) -> bool:
    """Say whether two identities are certainly two registries, whatever they hold.

    Databricks gives every workspace and every metastore an id of its own. All other addresses may lead to one registry,
    as may two workspaces that do not say which metastore is theirs. No workspace's own registry is Unity Catalog.
    """
    if {one.partition("://")[0], other.partition("://")[0]} == {"databricks", "databricks-uc"}:
        return True
    first, second = _OF_DATABRICKS.fullmatch(one), _OF_DATABRICKS.fullmatch(other)
    if first is None or second is None or "unknown" in (first["id"], second["id"]):
        return False
    return first["id"] != second["id"]


def has_workspaces(address: Address) -> bool:
    """Say whether a workspace may select what is read there; in a database only if MLflow is configured so.

    Source: mlflow.tracking._tracking_service.utils.
    """
    if address.kind is AddressKind.DATABASE:
        return os.environ.get("MLFLOW_ENABLE_WORKSPACES", "").strip().lower() in ("true", "1")
    return address.kind is AddressKind.SERVER


def active_workspace() -> str | None:
    """Return the workspace that MLflow's client will ask for, from its variable; None for the default one."""
    workspace = os.environ.get("MLFLOW_WORKSPACE", "").strip()
    return None if workspace in ("", DEFAULT_WORKSPACE) else workspace


def _scheme(uri: str) -> str:
    """Return the scheme in lower case; empty for a path. One letter is a drive, and no scheme holds a slash."""
    head, colon, _ = uri.strip().partition(":")
    if not colon:
        return head if head in ("databricks", "databricks-uc", "uc") else ""
    if len(head) == 1 or not head.replace("+", "").replace("-", "").replace(".", "").isalnum() or not head.isascii():
        return ""
    return head.lower()


def _server(uri: str) -> Address:
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"the address {_scheme(uri)}://... is no URL: {url_problem(error)}") from error
    if not host:
        raise UsageError(f"the address {_scheme(uri)}://... names no host: write {_scheme(uri)}://HOST:PORT")
    _must_be_unambiguous(uri, parts.netloc)
    _must_be_host(uri, host)
    scheme = parts.scheme.lower()
    shown_host = f"[{host}]" if ":" in host else host
    shown_port = f":{port}" if port is not None else ""
    shown = printable(f"{scheme}://{shown_host}{shown_port}{parts.path}")
    identity_port = f":{port}" if port not in (None, _HTTP_PORTS[scheme]) else ""
    identity = f"{scheme}://{normal_host(unquote(host))}{identity_port}{_normal_path(parts.path)}"
    # A browser's address ends in `#/models`; MLflow would append its own paths to that.
    opened = urlunsplit((scheme, parts.netloc, parts.path, "", ""))
    return Address(AddressKind.SERVER, opened, shown.rstrip("/"), identity)


def _must_be_unambiguous(uri: str, netloc: str) -> None:
    """Refuse an `@` behind the host, which was meant to precede it: the password would be read as a path, and shown."""
    if "@" in uri.partition("://")[2].removeprefix(netloc):
        raise UsageError(f"the address {_scheme(uri)}://... has an @ behind its host: percent-encode user and password")


def _must_be_host(uri: str, host: str) -> None:
    if not is_host_name(host):
        raise UsageError(
            f"the address {_scheme(uri)}://... names a host that cannot be looked up: each part between its dots must "
            "have 1 to 63 characters"
        )


def _database(uri: str) -> Address:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    # Other names of databases that MLflow and SQLAlchemy know by these names.
    scheme, colon, rest = uri.partition(":")
    backend, plus, driver = scheme.lower().partition("+")
    uri = f"{_OTHER_NAMES.get(backend, backend)}{plus}{driver}{colon}{rest}"
    try:
        url = make_url(uri)
        backend = url.get_backend_name()
    except (ArgumentError, ValueError) as error:
        raise UsageError(f"the address {_scheme(uri)}:... is no database URL that SQLAlchemy can read") from error
    database = url.database or ""
    if backend == "sqlite":
        path = (
            os.path.realpath(database) if database and not database.startswith("file:") else database.partition("?")[0]
        )
        return Address(
            AddressKind.DATABASE, uri, printable(f"sqlite:///{database.partition('?')[0]}"), f"sqlite:///{path}"
        )
    if not url.host and url.query:
        # The whole connection may be in one parameter (odbc_connect, host of a socket), which is not shown.
        identity = f"{backend}:///{database}#{_digest(repr(_selecting(url.query)))}"
        return Address(AddressKind.DATABASE, uri, printable(f"{backend}:///{database}"), identity)
    if "@" in f"{url.host}{database}":
        raise UsageError(f"the address {backend}://... has an @ behind its host: percent-encode user and password")
    host = normal_host(unquote(url.host or "localhost"))
    if backend in ("mysql", "postgresql") and "/" not in host:  # not the directory of a socket
        for each in host.split(","):
            _must_be_host(uri, each)
    port = url.port if url.port not in (None, _DATABASE_PORTS.get(backend)) else None
    shown_port = f":{url.port}" if url.port else ""
    shown = printable(f"{backend}://{url.host or ''}{shown_port}/{database}")
    # `options=-csearch_path=team_a` selects another registry in the same database.
    selecting = _selecting(url.query)
    more = f"#{_digest(repr(selecting))}" if selecting else ""
    return Address(AddressKind.DATABASE, uri, shown, f"{backend}://{host}{f':{port}' if port else ''}/{database}{more}")


def _selecting(query: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return the parameters that select a database, without those that sign in or only say how to connect."""
    selecting = []
    for key, value in sorted(query.items()):
        text = str(value)
        if key.lower() == "odbc_connect":
            pairs = (pair.partition("=") for pair in text.split(";"))
            selecting += [
                (name.strip().lower(), what) for name, _, what in pairs if name.strip().lower() not in SIGN_IN
            ]
        elif key.lower() not in SIGN_IN | _HOW and not key.lower().startswith(("ssl", "keepalives", "gss", "krb")):
            selecting.append((key, text))
    return selecting


def local_path(written: str) -> str:
    """Decode a path on this machine once, as `urllib.request.url2pathname` did before Python 3.14."""
    return unquote(written)


def is_one_on_every_python(written: str) -> bool:
    """Say whether `url2pathname`, which MLflow calls for every local path, returns the same on every Python.

    From 3.14 on it leaves out what follows `?` or `#`, tabs and line ends, and decodes differently what is not UTF-8.
    """
    return not _LEFT_OUT.search(written) and "\ufffd" not in unquote(written.replace("\ufffd", ""))


def _directory(uri: str) -> Address:
    """Parse a path or `file:` URI, decoded as in MLflow (mlflow.utils.file_utils.local_file_uri_to_path)."""
    path = uri
    if _scheme(uri) == "file":
        parts = urlsplit(uri)
        if parts.netloc not in ("", "localhost"):
            raise UsageError(
                f"the address file://{printable(parts.netloc.rpartition('@')[2])}/... is on another machine"
            )
        path = parts.path
    if not path:
        raise UsageError("the address is empty: give --tracking-uri or set MLFLOW_TRACKING_URI")
    if "\0" in path:
        raise UsageError("the address holds a NUL byte")
    if path.startswith("//") and "@" in path:
        raise UsageError("the address has no scheme: write http: before it")
    if "://" in path or _SIGNED_IN.search(path):
        # The text has quotes around it, as in an environment file, or a misspelt scheme: a password would be shown.
        raise UsageError(
            "the address is neither a URL nor a path: check its first characters, and leave out quotes; of a path, "
            "write : as %3A and @ as %40"
        )
    if not is_one_on_every_python(path):
        raise UsageError(
            "the address is a path that MLflow reads as another one from Python 3.14 on: give the directory a name "
            "without ? and #"
        )
    real = os.path.realpath(local_path(path))
    return Address(AddressKind.DIRECTORY, uri, printable(real), f"file://{real}", real)


def _databricks(uri: str, scheme: str) -> Address:
    kind = AddressKind.DATABRICKS if scheme == "databricks" else AddressKind.UNITY_CATALOG
    rest = uri.partition(":")[2]
    if scheme == "uc":
        inner = server_in(uri)
        if _scheme(inner) in _HTTP_PORTS:
            server = _server(inner)
            return Address(kind, uri, f"uc:{server.shown}", f"uc:{server.identity}")
        place, _, query = inner.rpartition("@")[2].partition("?")
        more = f"#{_digest(query)}" if query else ""
        return Address(kind, uri, printable(f"uc:{place}"), f"uc:{place.rstrip('/')}{more}")
    profile = rest.removeprefix("//").rstrip("/") or "DEFAULT"
    if "@" in profile:
        raise UsageError(f"the address {scheme}://... names a profile of ~/.databrickscfg, which holds the credentials")
    shown = scheme if profile == "DEFAULT" and not rest else f"{scheme}://{profile}"
    return Address(kind, uri, printable(shown), f"{scheme}://{profile}")


def _normal_path(path: str) -> str:
    # Each part separately: a percent-encoded slash separates nothing.
    clean = posixpath.normpath("/" + "/".join(quote(unquote(part), safe="") for part in path.split("/") if part))
    return "" if clean == "/" else clean


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def url_problem(error: ValueError) -> str:
    """Return what the standard library says about a URL, without the URL."""
    known = ("Port out of range 0-65535", "Invalid IPv6 URL", TOO_LONG)
    return next((reason for reason in known if reason in str(error)), "its host or port cannot be read")
