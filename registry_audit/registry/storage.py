"""Identifies the storage of a location: parsed exactly as MLflow parses it, or not at all.

MLflow reads a location in two ways. `models:/NAME/VERSION` opens the whole text as a repository;
`download_artifacts(TEXT)` opens the text without its last part, and asks that repository for the last part. If the two
read different places, or MLflow reads none, no storage is returned, and the version cannot be verified. The code names
the MLflow source of each rule where it matters.
"""

import hashlib
import os
import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlunparse

from registry_audit.errors import CouldNotVerify
from registry_audit.net.origin import origin_of, urlparse, urlsplit
from registry_audit.printable import printable
from registry_audit.redact import redact, redact_location
from registry_audit.registry.address import are_two_registries, is_one_on_every_python, local_path, url_problem
from registry_audit.registry.mounts import mount_of

DIRECTORY = "file"
PROXY = "mlflow-artifacts"
S3 = "s3"
AZURE = "azure"
SEVERAL = "several"
DBFS = "dbfs"
_BUCKETS = ("s3", "gs", "r2", "b2", AZURE)  # whose container is the name of a bucket
MODELS = "models"  # the copy that a registry made of a version, reached by the version's name

PROXY_PATH = "/api/2.0/mlflow-artifacts/artifacts"
_PROXY_MARK = "/mlflow-artifacts/artifacts"  # the part at which MLflow splits a URI into server and path
_DRIVE = re.compile(r"/?[A-Za-z]:([\\/]|$)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# MLflow's repositories send the environment's cloud credentials to the host that such a URI names.
_AZURE = {
    "wasbs": re.compile(
        r"(?P<container>[A-Za-z0-9$-]+)@(?P<account>[A-Za-z0-9-]+)\.blob\."
        r"(?P<cloud>core\.windows\.net|core\.chinacloudapi\.cn|core\.usgovcloudapi\.net)"
    ),
    "abfss": re.compile(
        # An account may be in a DNS zone; other zones have other accounts of its name. A private link leads to the
        # account itself.
        r"(?P<container>[A-Za-z0-9$-]+)@(?P<account>[A-Za-z0-9-]+(\.z[a-z0-9]{2,3})?)\.(privatelink\.)?(blob|dfs)\."
        r"(?P<cloud>core\.windows\.net|core\.chinacloudapi\.cn|core\.usgovcloudapi\.net|fabric\.microsoft\.com|storage\.azure\.net)"
    ),
}
# Access points are other names of a bucket: https://docs.aws.amazon.com/AmazonS3/latest/userguide/
_S3_ALIAS = re.compile(r"(-s3alias|--ol-s3|\.mrap)$|^arn:")
_HOSTS = frozenset({"ftp", "sftp", "hdfs"})  # schemes whose locations name a host
# Clouds with S3's protocol, whose hosts such a URI names as well. Source: mlflow's R2 and B2ArtifactRepository.
_BUCKET_AT_HOST = {
    "r2": re.compile(r"(?P<bucket>[A-Za-z0-9._-]+)@(?P<host>[A-Za-z0-9.-]+\.r2\.cloudflarestorage\.com)"),
    "b2": re.compile(r"(?P<bucket>[A-Za-z0-9._-]+)@(?P<host>s3\.[A-Za-z0-9-]+\.backblazeb2\.com)"),
}


@dataclass(frozen=True, slots=True, order=True)
class StorageIdentity:
    """Identifies one storage by everything that selects it. Identities are compared as they are, and shown redacted.

    Law: two storages never have equal identities, even if their shortened or redacted texts are equal.
    """

    kind: str  # one of the constants of this module, else the scheme
    endpoint: str = ""  # the server: address of a proxy or of an S3 endpoint, account of Azure, host of anything else
    container: str = ""  # bucket, container, workspace of a proxy, user or profile of anything else
    path: str = ""  # the literal directory, key prefix or path behind the proxy; no slash at its end
    selector: str = ""  # query of anything else

    @property
    def is_directory(self) -> bool:
        return self.kind == DIRECTORY

    @property
    def shown(self) -> str:
        """Return the identity to show to people. It contains no secret, so two storages may look the same."""
        if self.is_directory:
            return f"{DIRECTORY}:{self.path}"
        if self.kind == PROXY:
            return f"{PROXY}://{self.endpoint.partition('://')[2]}//{self.path}"
        if self.kind == SEVERAL:
            return self.path
        place = self.endpoint  # anything before the endpoint may be a token
        if self.kind in _BUCKETS and not is_sent_elsewhere(self):
            place = f"{self.container}@{self.endpoint}" if self.kind == AZURE else self.container
        return redact(f"{self.kind}://{place}/{self.path}" + ("?***" if self.selector else ""))

    @property
    def key(self) -> str:
        """Return the key for rows and the ledger: it has no secrets, and is equal exactly if the identities are."""
        if self.is_directory or self.kind == SEVERAL:
            return self.shown
        parts = repr((self.kind, self.endpoint, self.container, self.path, self.selector))
        return f"{self.shown}#{hashlib.sha256(parts.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"

    @staticmethod
    def of_directory(path: str | os.PathLike[str]) -> "StorageIdentity":
        """Return the identity of a directory on this machine. Symlinks in its path are followed."""
        return StorageIdentity(DIRECTORY, path=os.path.realpath(path))

    @staticmethod
    def of_several(identities: "tuple[StorageIdentity, ...]") -> "StorageIdentity":
        """Return the identity of several storages that are read as one."""
        if len(identities) == 1:
            return identities[0]
        return StorageIdentity(SEVERAL, path=" + ".join(identity.key for identity in identities))


class UnreadableLocation(CouldNotVerify):
    """The registry records no valid location, or one that MLflow reads differently in different ways."""


class NotOnThisMachine(CouldNotVerify):
    """The path names nothing that can be known here: it is relative, a drive's, or another host's."""

    def __init__(self, message: str, relative: str | None = None) -> None:
        super().__init__(message)
        self.relative = relative  # the decoded path, if it is relative to a directory that is not recorded

    def __reduce__(self) -> tuple[type, tuple[str, str | None]]:
        return type(self), (self.message, self.relative)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Describes the server that recorded a location, on which the location's meaning depends."""

    tracking_uri: str
    workspace: str | None = None  # MLflow's workspace on that server; None for the default one
    databricks_host: Callable[[str], str] | None = None  # host of a profile; the empty one is the tracking URI's


def storage_identity(uri: str, around: Surroundings | str) -> StorageIdentity:
    """Return the one storage that MLflow reads for a location, in whichever way it is asked.

    Args:
        around: the tracking URI alone, if nothing else is known.

    Raises:
        UnreadableLocation: MLflow reads none, or different ones in different ways; the message says why.
        NotOnThisMachine: the location is a path that names nothing on this machine.
    """
    around = Surroundings(around) if isinstance(around, str) else around
    shown = f"'{printable(redact_location(uri))}'"
    if _CONTROL.search(uri) or uri != uri.strip():
        raise UnreadableLocation(f"the location {shown} holds a control character or a blank at its end")
    try:
        parts = urlsplit(uri)
        parts.port  # noqa: B018 - which is only read, and refused, when it is asked for
    except ValueError as error:
        raise UnreadableLocation(f"the location {shown} is no URI: {url_problem(error)}") from None
    scheme = parts.scheme
    if scheme in ("", "file") or len(scheme) == 1:
        return _directory(uri, parts, shown)
    if scheme in (PROXY, "http", "https"):
        return _proxied(parts, around, shown)
    if not is_one_for_both_ways(parts.path):
        raise UnreadableLocation(
            f"MLflow reads the location {shown} differently in different ways: it has doubled slashes"
        )
    path = parts.path.removeprefix("/").removesuffix("/")
    if path.endswith("/") or (not path and parts.path.startswith("//")):
        raise UnreadableLocation(f"the location {shown} ends in several slashes, which MLflow cannot read")
    _must_have_no_dots(path, shown)
    return _elsewhere(parts, path, around, shown)


def is_one_for_both_ways(path: str) -> bool:
    """Say whether MLflow reads the same path when it opens it, and when it asks the directory for the last part."""
    return posixpath.join(posixpath.dirname(path), posixpath.basename(path)) == path


def comparable(first: StorageIdentity, second: StorageIdentity) -> bool:
    """Say whether different identities are certainly different places.

    A proxy keeps its bytes where the client cannot see them, perhaps in the bucket or directory that is compared with
    it, and one server may have two names. A registry and a bucket of S3 may have two names too. A Databricks cluster
    sees DBFS as a directory, and a bucket or another directory may be mounted on a directory.
    """
    if first.kind == second.kind == PROXY:
        return (first.endpoint, first.container) == (second.endpoint, second.container)
    if first.kind == second.kind == MODELS and first.path == second.path:
        return first.endpoint == second.endpoint or are_two_registries(first.endpoint, second.endpoint)
    if first.kind == second.kind == S3 and first.container != second.container:
        return not any(_S3_ALIAS.search(storage.container) for storage in (first, second))
    if _is_one_by_two_protocols(first, second) or _is_one_by_two_protocols(second, first):
        return False
    return not {PROXY, SEVERAL} & {first.kind, second.kind} and {first.kind, second.kind} != {DIRECTORY, DBFS}


def _is_one_by_two_protocols(first: StorageIdentity, second: StorageIdentity) -> bool:
    """Say whether two addresses of different kinds may lead to one bucket, or to one directory."""
    if first.kind == S3:  # clouds answer to S3's protocol, too, at the endpoint that the environment names
        spoken = bool(first.endpoint) and second.kind in ("gs", "r2", "b2") and first.container == second.container
        return spoken or (second.kind in ("s3a", "s3n") and first.container == second.endpoint)
    if first.is_directory:
        mount = mount_of(first.path)
        if second.is_directory:
            is_mounted = mount.has_own_inodes and mount != mount_of(second.path)
        else:
            is_mounted = mount.is_elsewhere and second.kind != MODELS
        return is_mounted and _end_alike(first, second)
    if first.kind == DBFS:  # a bucket is mounted there, or behind a volume
        return second.kind in _BUCKETS and first.path.startswith(("mnt/", "Volumes/"))
    if first.kind in _HOSTS:  # a machine has several names, and may be this one
        places = [(one.kind, one.endpoint, one.container) for one in (first, second)]
        return second.kind in {*_HOSTS, DIRECTORY} and places[0] != places[1]
    return False


def may_be_one(first: StorageIdentity, second: StorageIdentity) -> bool:
    """Say whether different identities may be one place, as far as this machine can see.

    Wherever a proxy keeps its bytes, they are under the path that it serves. So two places whose paths do not end alike
    are different, even if the beginning of those paths is hidden.
    """
    if SEVERAL in (first.kind, second.kind):
        return True
    return not comparable(first, second) and _end_alike(first, second)


def _end_alike(first: StorageIdentity, second: StorageIdentity) -> bool:
    short, long = sorted((f"/{_mounted_path(one).strip('/')}" for one in (first, second)), key=len)
    return long.endswith(short) or short == "/"


def _mounted_path(storage: StorageIdentity) -> str:
    """Return the part of a path that stays the same wherever the storage is mounted."""
    if not storage.is_directory:
        return storage.path
    mount = mount_of(storage.path)
    return mount.below(storage.path) if mount.is_elsewhere else storage.path


def _directory(uri: str, parts: SplitResult, shown: str) -> StorageIdentity:
    """Return the directory of a plain path or a `file:` URI; percent signs are decoded once in both.

    Source: mlflow.utils.file_utils.local_file_uri_to_path.
    """
    # MLflow takes `FILE:` for the first part of a relative path.
    is_uri = uri.startswith("file:")
    if is_uri and parts.netloc.lower() not in ("", "localhost"):
        raise NotOnThisMachine(
            f"the location {shown} names the machine {printable(parts.netloc.rpartition('@')[2])}: "
            "run the audit there, or record a path that is mounted here"
        )
    written = parts.path if is_uri else uri
    path = local_path(written)
    if _DRIVE.match(path) or path.startswith(("\\", "//")):
        raise NotOnThisMachine(
            f"the location {shown} is a Windows path, which names nothing on this machine: run the audit where it does"
        )
    if not path.startswith("/"):
        raise NotOnThisMachine(
            f"the location {shown} is relative to a directory that the registry does not record: "
            "give the server an absolute --default-artifact-root, or run the audit in its working directory",
            path,
        )
    if not is_one_on_every_python(written):
        raise UnreadableLocation(f"MLflow reads the location {shown} in two ways: another one from Python 3.14 on")
    last, last_written = (posixpath.basename(text.rstrip("/")) for text in (path, written))
    if re.search(r"[%?#;]", last) or re.search(r"[?#;]", last_written) or "\0" in path:
        raise UnreadableLocation(f"MLflow reads the location {shown} in two ways: its last part holds one of % ? # ;")
    if unquote(last_written) != last:
        raise UnreadableLocation(f"MLflow reads the location {shown} in two ways: its last part holds an encoded slash")
    # One way opens the parent directory, and asks for the last part as it is written, or in MLflow's own spelling.
    parent = posixpath.dirname(path.rstrip("/"))
    if any(os.path.lexists(f"{parent}/{other}") for other in {last_written, respelled(last_written)} - {last}):
        raise UnreadableLocation(
            f"MLflow reads the location {shown} in two ways: another directory beside it is one of them"
        )
    real = os.path.realpath(path)
    if ".." in path.split("/") and os.path.exists(real) and not os.path.exists(path):  # noqa: PTH110
        raise UnreadableLocation(f"the location {shown} leads through a directory that is not there")
    return StorageIdentity.of_directory(path)


def respelled(path: str) -> str:
    """Return a relative path as MLflow's clients and servers request it: decoded, and assembled again as a URI.

    This removes leading blanks, and capitals before a colon. The result is empty if MLflow cannot request the path at
    all.

    Source: mlflow.utils.uri.validate_path_is_safe.
    """
    try:
        return urlunparse(urlparse(unquote(path)))
    except ValueError:
        return ""


def _proxied(parts: SplitResult, around: Surroundings, shown: str) -> StorageIdentity:
    """Return the storage behind a server's artifact proxy. Source: mlflow MlflowArtifactsRepository.resolve_uri."""
    server = urlsplit(around.tracking_uri)
    if parts.scheme == PROXY:
        if server.scheme not in ("http", "https"):
            raise CouldNotVerify(
                "the storage is behind an artifact proxy, which only a tracking server's http(s) URI can reach: "
                "give that as --tracking-uri"
            )
        if _is_number(parts.hostname) and not parts.port:
            raise UnreadableLocation(f"the location {shown} names a port and no host")
        if server.path.strip("/") and parts.path in ("/", PROXY_PATH):
            raise UnreadableLocation(f"MLflow looks for the location {shown} outside of its server's path")
        # The scheme is the tracking server's; so are host and path, unless the location names a host.
        netloc = parts.netloc or server.netloc
        base = "" if parts.path == PROXY_PATH else re.sub("//+", "/", server.path).rstrip("/")
        path = "" if parts.path == PROXY_PATH else re.sub("//+", "/", parts.path)
        origin = origin_of(f"{server.scheme}://{netloc}")
    else:
        base, found, path = parts.path.partition(PROXY_PATH)
        if not found or (path and not path.startswith("/")) or _PROXY_MARK in base:
            raise UnreadableLocation(f"the location {shown} is no address of an artifact proxy: MLflow cannot list it")
        if parts.query or parts.fragment or ";" in path or "//" in parts.path:
            raise UnreadableLocation(f"MLflow reads the location {shown} differently in different ways")
        origin = origin_of(f"{parts.scheme}://{parts.netloc}")
    path = path.strip("/")
    if any(part in (".", "..") for part in path.split("/")) or _PROXY_MARK in base:
        raise UnreadableLocation(f"the location {shown} holds '.' or '..', or the path of a proxy twice")
    if around.workspace:  # in a workspace the server finds the same path with and without the workspace's name in front
        path = path.removeprefix(f"workspaces/{around.workspace}/")
    return StorageIdentity(PROXY, f"{origin}{base}", around.workspace or "", path)


def _is_number(host: str | None) -> bool:
    """Say whether MLflow takes a host for a port. Source: mlflow _check_if_host_is_numeric."""
    try:
        float(host or "")
    except ValueError:
        return False
    return True


def _elsewhere(parts: SplitResult, path: str, around: Surroundings, shown: str) -> StorageIdentity:
    scheme, netloc = parts.scheme, parts.netloc
    if scheme == S3:
        _must_have_bucket(netloc, shown)
        return StorageIdentity(S3, _s3_endpoint(), netloc, path)
    if scheme == "gs":
        _must_have_bucket(netloc, shown)
        return StorageIdentity("gs", os.environ.get("STORAGE_EMULATOR_HOST", ""), netloc, path)
    if scheme in _AZURE and (account := _AZURE[scheme].fullmatch(netloc)):
        return _azure(scheme, account, path, shown)
    if scheme in _BUCKET_AT_HOST and (found := _BUCKET_AT_HOST[scheme].fullmatch(netloc)):
        return StorageIdentity(scheme, found["host"].lower(), found["bucket"], path)
    if scheme == DBFS:
        profile = netloc.removesuffix("databricks").rstrip("@") if netloc.endswith("databricks") else netloc
        host = around.databricks_host(profile) if around.databricks_host else around.tracking_uri
        return StorageIdentity(DBFS, host, "", path)
    user = netloc.rpartition("@")[0].partition(":")[0]  # a password selects nothing
    host = netloc.rpartition("@")[2]
    host = host.lower() if scheme in _HOSTS else host  # otherwise it may be a bucket, whose name depends on case
    rest = f"?{parts.query}#{parts.fragment}" if parts.query or parts.fragment else ""
    return StorageIdentity(scheme, host, user, path, rest)


def _must_have_no_dots(path: str, shown: str) -> None:
    if any(part in (".", "..") for part in path.split("/")):
        raise UnreadableLocation(f"the location {shown} holds '.' or '..', which a store may read as it likes")


def _must_have_bucket(netloc: str, shown: str) -> None:
    if not netloc or "@" in netloc:
        raise UnreadableLocation(f"the location {shown} names no bucket")


def is_sent_elsewhere(identity: StorageIdentity) -> bool:
    """Say whether MLflow would send the environment's cloud credentials to a host of the registrant's choice."""
    if identity.kind in ("wasbs", "abfss"):
        return True  # the hosts of Azure itself have another kind
    known = _BUCKET_AT_HOST.get(identity.kind)
    return known is not None and known.fullmatch(f"{identity.container}@{identity.endpoint}") is None


def _azure(scheme: str, found: re.Match[str], path: str, shown: str) -> StorageIdentity:
    """Return the identity of an Azure container, the same for both services of an account."""
    if scheme == "abfss":
        # Source: mlflow.store.artifact.azure_data_lake_artifact_repo._parse_abfss_uri
        if "%" in posixpath.basename(path):
            raise UnreadableLocation(f"MLflow reads the location {shown} differently in different ways: it holds %")
        path = unquote(path).lstrip("/")
        _must_have_no_dots(path, shown)
    return StorageIdentity(AZURE, f"{found['account'].lower()}.{found['cloud']}", found["container"], path)


def _s3_endpoint() -> str:
    """Return the S3 endpoint that the environment names, or an empty text."""
    names = ("MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    return next((value for name in names if (value := os.environ.get(name))), "")
