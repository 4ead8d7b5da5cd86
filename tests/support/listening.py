"""A loopback HTTP server that keeps what is posted to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from support.loopback import HttpServer, Quiet, serving


@dataclass(slots=True)
class Listener:
    url: str
    bodies: list[str] = field(default_factory=list)


@contextmanager
def listener() -> Iterator[Listener]:
    class Keeping(Quiet, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            found.bodies.append(self.rfile.read(length).decode())
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = HttpServer(("127.0.0.1", 0), Keeping)
    found = Listener(f"http://127.0.0.1:{server.server_port}/")
    with serving(server):
        yield found
