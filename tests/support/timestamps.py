"""A time-stamp authority of our own: `openssl ts` behind HTTP."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from support.loopback import HttpServer, Quiet, serving

_CONFIG = """
[tsa]
default_tsa = tsa_config
[tsa_config]
serial = {directory}/serial
crypto_device = builtin
signer_cert = {directory}/tsa.pem
signer_key = {directory}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1
ordering = yes
tsa_name = no
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""
_GRANTED = b"\x02\x01\x00"  # in DER; the first such number of an answer is its status
_CERTIFICATE_WANTED = b"\x01\x01\xff"  # at the end of a query
_EXTENSIONS = "[ext]\nextendedKeyUsage = critical,timeStamping\nkeyUsage = critical,digitalSignature\n"


@dataclass(frozen=True, slots=True)
class Authority:
    url: str
    certificates: Path  # its root
    directory: Path

    def stamp(self, data: Path, response: Path) -> None:
        """A time-stamp without HTTP."""
        query = response.with_suffix(".tsq")
        _openssl("ts", "-query", "-data", str(data), "-sha256", "-cert", "-out", str(query))
        _reply(self.directory, query, response)


def with_status(response: bytes, status: int) -> bytes:
    """The answer with another status of RFC 3161, 2.4.2, which nobody signs."""
    return response.replace(_GRANTED, _GRANTED[:2] + bytes([status]), 1)


def unasked_for_a_certificate(query: bytes) -> bytes:
    """The query without the wish for the authority's certificate, as an authority reads it that ignores the wish."""
    assert query.endswith(_CERTIFICATE_WANTED)
    return query[:-1] + b"\0"


def _as_it_is(content: bytes) -> bytes:
    return content


@contextmanager
def timestamp_authority(
    directory: Path,
    *,
    answer: Callable[[bytes], bytes] = _as_it_is,
    read: Callable[[bytes], bytes] = _as_it_is,
) -> Iterator[Authority]:
    """
    Args:
        answer: changes what it answers; `read` what it is asked.
    """
    directory.mkdir()
    (directory / "ts.cnf").write_text(_CONFIG.format(directory=directory))
    (directory / "ext.cnf").write_text(_EXTENSIONS)
    (directory / "serial").write_text("01\n")
    for name, subject in (("ca", "/CN=Test root"), ("tsa", "/CN=Test authority")):
        _openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", f"{directory}/{name}.key")
        if name == "ca":
            _openssl("req", "-x509", "-new", "-key", f"{directory}/ca.key", "-subj", subject, "-days", "30",
                     "-out", f"{directory}/ca.pem")  # fmt: skip
    _openssl("req", "-new", "-key", f"{directory}/tsa.key", "-subj", subject, "-out", f"{directory}/tsa.csr")
    _openssl("x509", "-req", "-in", f"{directory}/tsa.csr", "-CA", f"{directory}/ca.pem", "-CAkey",
             f"{directory}/ca.key", "-CAcreateserial", "-days", "30", "-extfile", f"{directory}/ext.cnf",
             "-extensions", "ext", "-out", f"{directory}/tsa.pem")  # fmt: skip

    class Stamping(Quiet, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query, response = directory / "query.tsq", directory / "response.tsr"
            query.write_bytes(read(self.rfile.read(int(self.headers["Content-Length"]))))
            _reply(directory, query, response)
            content = answer(response.read_bytes())
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = HttpServer(("127.0.0.1", 0), Stamping)
    with serving(server):
        yield Authority(f"http://127.0.0.1:{server.server_port}/", directory / "ca.pem", directory)


def _reply(directory: Path, query: Path, response: Path) -> None:
    _openssl("ts", "-reply", "-config", f"{directory}/ts.cnf", "-section", "tsa_config", "-queryfile", str(query),
             "-out", str(response))  # fmt: skip


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
