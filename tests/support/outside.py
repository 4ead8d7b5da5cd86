"""The clouds' own host names, behind an HTTPS proxy of this machine: what a client sends to them reaches an emulator.

Nothing of the product knows of it but what every program knows: HTTPS_PROXY, and certificates to trust. So a test sees
which host each credential is really sent to.
"""

import contextlib
import http.client
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from support.loopback import HttpServer, Quiet, serving

_SECONDS = 30
_MAY_SIGN_CERTIFICATES = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "proxy-connection"})


@dataclass(frozen=True, slots=True)
class Sent:
    """One request that arrived for a host of the outside."""

    host: str
    method: str
    target: str
    headers: Mapping[str, str]  # names in lower case

    @property
    def text(self) -> str:
        """All of it, decoded: clients do not agree on which characters they encode."""
        return f"{self.method} {self.host}{unquote(self.target)} {dict(self.headers)}"


@dataclass
class Outside:
    """Hosts by the end of their name, and the emulator that answers for them."""

    url: str
    directory: Path
    backends: dict[str, str] = field(default_factory=dict)
    as_host: dict[str, str] = field(default_factory=dict)  # what the emulator is told that its host is
    certified: dict[str, str] = field(default_factory=dict)  # the host whose certificate another one shows
    refused: dict[str, int] = field(default_factory=dict)  # status by a text that a request holds: credentials, mostly
    sent: list[Sent] = field(default_factory=list)
    on_sent: Callable[["Sent"], None] = lambda sent: None  # told of each before it is answered
    unknown: list[str] = field(default_factory=list)  # hosts that were asked for and that nobody answers for

    @property
    def environment(self) -> dict[str, str]:
        """What sends every client of this process there, and to nowhere else for addresses of this machine."""
        bundle = str(self.directory / "root.pem")
        trusted = dict.fromkeys(("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), bundle)
        return {
            "HTTPS_PROXY": self.url,
            "NO_PROXY": "127.0.0.1,localhost",
            "AWS_EC2_METADATA_DISABLED": "true",
        } | trusted

    def hosts(self) -> set[str]:
        return {sent.host for sent in self.sent}

    def everything(self) -> str:
        """All that was sent, for a test that looks for what must not be."""
        return "\n".join(sent.text for sent in self.sent)


@contextmanager
def outside(directory: Path, *, plain: bool = False) -> Iterator[Outside]:
    """
    Args:
        plain: whether the certificates lack what Python 3.13 and newer ask for, as those of many companies do.
    """
    directory.mkdir()
    authority = _Authority(directory, plain=plain)
    found = Outside("", directory)

    class OfThisWorld(_Handler):
        world, certificates = found, authority

    server = HttpServer(("127.0.0.1", 0), OfThisWorld)
    found.url = f"http://127.0.0.1:{server.server_port}"
    with serving(server):
        yield found


class _Handler(Quiet, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world: Outside
    certificates: "_Authority"
    host = ""

    def do_CONNECT(self) -> None:
        self.host = self.path.partition(":")[0].lower()
        if self._backend() is None:
            self.world.unknown.append(self.host)
            self.send_error(502)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        certified = self.world.certified.get(self.host, self.host)
        try:
            self.connection = self.certificates.context(certified).wrap_socket(self.connection, server_side=True)
        except (ssl.SSLError, OSError):
            self.close_connection = True
            return
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")  # type: ignore[assignment]
        self.close_connection = False

    def _passed_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        sent = Sent(self.host, self.command, self.path, headers)
        self.world.sent.append(sent)
        self.world.on_sent(sent)
        for text, status in tuple(self.world.refused.items()):
            if text in sent.text:
                self._answer(status, {}, b"<Error><Code>ExpiredToken</Code></Error>")
                return
        backend = urlsplit(self._backend() or "")
        connection = http.client.HTTPConnection(backend.netloc, timeout=_SECONDS)
        passed = {name: value for name, value in headers.items() if name not in _HOP_BY_HOP}
        passed["host"] = self.world.as_host.get(self.host, passed.get("host", self.host))
        try:
            connection.request(self.command, self.path, body or None, passed)
            answer = connection.getresponse()
            self._answer(answer.status, dict(answer.getheaders()), answer.read(), answer.getheader("Content-Length"))
        finally:
            connection.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _passed_on  # noqa: N815 - as the base class calls them

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes, length: str | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()
        self.connection.close()

    def _backend(self) -> str | None:
        return next((url for end, url in self.world.backends.items() if self.host.endswith(end)), None)


class _Authority:
    """Certificates for any host, each made once, under a root of this test alone."""

    def __init__(self, directory: Path, *, plain: bool) -> None:
        self._directory, self._plain, self._lock = directory, plain, threading.Lock()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root of a test")])
        self._root = self._certificate(self._name, self._key.public_key(), x509.BasicConstraints(True, None))
        (directory / "root.pem").write_bytes(self._root.public_bytes(serialization.Encoding.PEM))

    def context(self, host: str) -> ssl.SSLContext:
        with self._lock:
            if host not in self._contexts:
                self._contexts[host] = self._made(host)
            return self._contexts[host]

    def _made(self, host: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        certificate = self._certificate(subject, key.public_key(), names)
        file = self._directory / f"{host}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _certificate(self, subject: x509.Name, key: Any, extension: x509.ExtensionType) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=2))
        is_root = isinstance(extension, x509.BasicConstraints)
        builder = builder.add_extension(extension, critical=is_root)
        if not self._plain:
            issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
            builder = builder.add_extension(issuer, critical=False)
            builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            if is_root:
                builder = builder.add_extension(_MAY_SIGN_CERTIFICATES, critical=True)
        return builder.sign(self._key, hashes.SHA256())
