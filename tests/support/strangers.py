"""Servers that are nobody's: they keep whatever they are sent, and lead a client on."""

import base64
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from support.loopback import HttpServer, Quiet, serving

SECRET = "s3cr3t-0f-th3-aud1t0r"
USER = f"user-{SECRET}"
# What a request may say of itself; the last three come with a body.
_HARMLESS = {"accept", "accept-encoding", "accept-language", "connection", "host", "range", "user-agent"}
_OF_A_BODY = {"content-length", "content-type", "transfer-encoding"}


@dataclass(frozen=True, slots=True)
class Heard:
    """One request, with all that came along."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    certificate: bytes | None = None  # of the client

    @property
    def everything(self) -> str:
        lines = (f"{name}: {value}" for name, value in self.headers)
        return "\n".join((f"{self.method} {self.target}", *lines, self.body.decode("latin-1")))


@dataclass(frozen=True, slots=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Stranger:
    url: str
    heard: list[Heard] = field(default_factory=list)
    reply: Callable[[Heard], Reply] = lambda heard: Reply(404)

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc


def must_be_anonymous(heard: list[Heard]) -> None:
    """Nothing that was heard says who asks, in whatever way the secret may be written."""
    encoded = base64.b64encode(f"{USER}:{SECRET}".encode()).decode()
    for request in heard:
        assert request.certificate is None, "it was shown the client's certificate"
        names = {name.lower() for name, _ in request.headers}
        assert names <= _HARMLESS | _OF_A_BODY, request.everything
        assert not any(part in request.everything for part in (SECRET, encoded, encoded[4:20])), request.everything


MLMODEL = b"flavors:\n  python_function:\n    loader_module: of.a.stranger\n"


def as_a_proxy(heard: Heard) -> Reply:
    """What an artifact proxy says that holds one model, wherever it is asked for."""
    parts = urlsplit(heard.target)
    if parts.path.endswith("/artifacts") or "path=" in parts.query:
        files = [{"path": "MLmodel", "is_dir": False, "file_size": str(len(MLMODEL))}]
        return Reply(body=json.dumps({"files": files}).encode())
    return Reply(body=MLMODEL)


@contextmanager
def stranger(
    address: str = "127.0.0.1", *, certificate: Path | None = None, reply: Callable[[Heard], Reply] = as_a_proxy
) -> Iterator[Stranger]:
    """
    Args:
        address: to listen on, at a port of its own.
        certificate: a file with a key and a certificate. The server then speaks TLS, and takes it of a client, too.
    """

    class Hearing(Quiet, BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            shown = self.connection.getpeercert(True) if isinstance(self.connection, ssl.SSLSocket) else None
            heard = Heard(self.command, self.path, tuple(self.headers.items()), body, shown)
            found.heard.append(heard)
            answer = found.reply(heard)
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            if answer.status >= 300:
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_CONNECT = handle_any  # noqa: N815

    server = HttpServer((address, 0), Hearing)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.load_verify_locations(certificate)
        context.verify_mode = ssl.CERT_OPTIONAL
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if certificate is None else "https"
    found = Stranger(f"{scheme}://{address}:{server.server_port}", reply=reply)
    with serving(server):
        yield found


def self_signed(directory: Path) -> Path:
    """A file with a new key and a certificate for the loopback addresses."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")]
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    encoding = serialization.Encoding.PEM
    text = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = directory / "self-signed.pem"
    file.write_bytes(text + builder.sign(key, hashes.SHA256()).public_bytes(encoding))
    return file
