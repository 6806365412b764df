"""What stands between a client and an S3 server on loopback: cut connections and refusals."""

import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

AT_ONCE = 1 << 14  # bytes
RESET = struct.pack("ii", 1, 0)  # a socket that is closed so sends no orderly end


@dataclass
class Cutter:
    """Forwards bytes, and cuts connections after a random number of them, in either direction.

    Attributes:
        target: host and port of the server.
        seed: of the numbers; the n-th connection always gets the same one.
        share: of the connections that are cut.
        n_bytes: largest number of bytes after which one is cut; small numbers are as likely.
    """

    target: tuple[str, int]
    seed: int
    share: float = 0.5
    n_bytes: int = 100_000
    connections: int = 0
    cuts: dict[str, int] = field(default_factory=lambda: {"to": 0, "from": 0})
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Yield the address of the proxy."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            number, self.connections = self.connections, self.connections + 1
            generator = random.Random(f"{self.seed}/{number}")
            is_cut = generator.random() < self.share
            way = generator.choice(["to", "from"])
            left = int(self.n_bytes ** generator.random()) if is_cut else None
            server = socket.create_connection(self.target)
            for source, sink, name in ((client, server, "to"), (server, client, "from")):
                budget = left if name == way else None
                forward = (source, sink, name, budget)
                threading.Thread(target=self._forward, args=forward, daemon=True).start()

    def _forward(
        self, source: socket.socket, sink: socket.socket, way: str, left: int | None
    ) -> None:
        with suppress(OSError):
            while some := source.recv(AT_ONCE):
                if left is not None and len(some) >= left:
                    sink.sendall(some[:left])
                    with self.lock:
                        self.cuts[way] += 1
                    for one in (source, sink):
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    break
                sink.sendall(some)
                left = None if left is None else left - len(some)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@dataclass
class Refuser:
    """Answers the next requests with what a test puts in front, and passes the others on.

    Attributes:
        target: host and port of the server.
        answers: status and body of each answer, in their order.
        always: whether the last answer stays.
        methods: method and path of every request, refused or not.
    """

    target: tuple[str, int]
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    always: bool = False
    methods: list[tuple[str, str]] = field(default_factory=list)

    def answer(self) -> tuple[int, bytes] | None:
        """Return what the next request is refused with; None where it is passed on."""
        if not self.answers:
            return None
        return self.answers[0] if self.always and len(self.answers) == 1 else self.answers.pop(0)

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Yield the address of the proxy."""
        refuser = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                refuser.methods.append((self.command, self.path))
                refused = refuser.answer()
                if refused is not None:
                    status, content = refused
                    self.send_response(status)
                    headers: list[tuple[str, str]] = []
                else:
                    to = HTTPConnection(*refuser.target)
                    to.request(self.command, self.path, body, dict(self.headers))
                    answered = to.getresponse()
                    content, headers = answered.read(), answered.getheaders()
                    to.close()
                    self.send_response_only(answered.status)
                kept = ("content-length", "transfer-encoding", "connection")
                for name, value in headers:
                    if name.lower() not in kept or (
                        self.command == "HEAD" and name[8:] == "Length"
                    ):
                        self.send_header(name, value)
                if self.command != "HEAD" or refused is not None:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

            def log_message(self, format: str, *args: object) -> None:
                """Write nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_address[1]}"
            server.shutdown()


def target_of(endpoint: str) -> tuple[str, int]:
    """Return host and port of an address."""
    parts = urlsplit(endpoint)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port
