"""The local server: on this machine's loopback, plain HTTP, faults where a script asks."""

import gzip
import logging
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from alpha_assets.calendar import Calendar
from alpha_assets.sources.jquants.plans import Plan
from alpha_assets.sources.sim import SimSpec
from alpha_assets.sources.sim_jquants.exchange import FILES, PREFIX, Answer, Exchange
from alpha_assets.sources.sim_jquants.faults import Faults, Kind
from alpha_assets.sources.sim_jquants.queries import PAGE
from alpha_assets.sources.sim_jquants.tables import all_tables

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
PAGE_SIZE = 1_000  # rows
LONGEST_HANG = 600.0  # seconds
IDLE_SECONDS = 15.0  # a silent connection is closed after so long


class Server(ThreadingHTTPServer):
    """The simulated exchange behind the J-Quants API V2."""

    daemon_threads = True
    block_on_close = False  # a client that hangs must not hold up the end

    def __init__(self, exchange: Exchange, faults: Faults, port: int, host: str = LOOPBACK) -> None:
        super().__init__((host, port), _Handler)
        self.host = host
        self.exchange = exchange
        self.faults = faults
        self.stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """Where the API answers."""
        return f"http://{self.host}:{self.server_port}{PREFIX}"

    def start(self) -> "Server":
        """Answer requests in the background."""
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop answering and close the port."""
        self.stopping.set()
        if self._thread is not None:
            self.shutdown()
            self._thread.join()
        self.server_close()

    def __enter__(self) -> "Server":
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def handle_error(self, request: object, client_address: object) -> None:
        """Log errors of the server, but not clients that disconnect."""
        if not isinstance(sys.exception(), OSError):
            log.exception("a request could not be answered")


def make_server(
    spec: SimSpec,
    calendar: Calendar,
    *,
    keys: Mapping[str, Plan] | Iterable[str],
    plan: Plan = "standard",
    now: datetime | Callable[[], datetime] | None = None,
    faults: Faults | None = None,
    page_size: int = PAGE_SIZE,
    port: int = 0,
    host: str = LOOPBACK,
    clock: Callable[[], datetime] | None = None,
    every_version: bool = False,
) -> Server:
    """Return a server of a simulated exchange, not yet answering.

    Args:
        spec: of the exchange.
        calendar: of the exchange.
        keys: accepted API keys, each with its plan; or plain keys, all of `plan`.
        plan: of keys that come without one.
        now: the simulated present; rows published later are hidden.  Default: the real one.
        faults: what goes wrong.
        page_size: rows of one page.
        port: 0 = any free one.
        host: address to listen on.
        clock: when requests come, to hold subscribers to their limits; None: no limits.
        every_version: send corrected rows and what they corrected, in two more columns
            (`AvailableAt`, `Revision`); the real API overwrites.
    """
    plans = dict(keys) if isinstance(keys, Mapping) else dict.fromkeys(keys, plan)
    if now is None:
        present: Callable[[], datetime] = lambda: datetime.now(UTC)  # noqa: E731
    elif callable(now):
        present = now
    else:
        fixed = now
        present = lambda: fixed  # noqa: E731
    tables = all_tables(spec, calendar, every_version)
    exchange = Exchange(tables, calendar, plans, present, page_size, clock)
    return Server(exchange, faults or Faults(), port, host)


def serve(server: Server, announce: Callable[[str], None]) -> None:
    """Answer until interrupted.

    Args:
        server: from `make_server`.
        announce: called with the address once it answers.
    """
    announce(server.base_url)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.stopping.set()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server
    # Of every read and write: without it a client that opens a connection and sends nothing, or
    # half a request, holds a thread for as long as it likes.
    timeout = IDLE_SECONDS
    # Without this the second packet of an answer waits for the client's acknowledgement.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer a request, or apply the scripted fault."""
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        path = parts.path.removeprefix(PREFIX)
        fault = self.server.faults.meet(path, PAGE in query)
        if fault == "hang":
            self.server.stopping.wait(LONGEST_HANG)
            self.close_connection = True
            return
        if fault == "repeat":
            self._send(self._page_before(parts.path, query))
            return
        answer = self.server.exchange.answer(parts.path, query, self.headers.get("x-api-key"))
        self._send(_harmed(answer, fault), cut=fault == "cut")

    def _refuse(self) -> None:
        self._send(Answer(403, b'{"message": "Missing Authentication Token"}'))

    do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _refuse

    def _page_before(self, path: str, query: dict[str, str]) -> Answer:
        """Return the first page again, in place of the further one that was asked for."""
        first = {name: value for name, value in query.items() if name != PAGE}
        return self.server.exchange.answer(path, first, self.headers.get("x-api-key"))

    def _send(self, answer: Answer, cut: bool = False) -> None:
        body = answer.body
        if b"{base}" in body and not self.path.startswith(FILES):
            body = body.replace(b"{base}", self.server.base_url.removesuffix(PREFIX).encode())
        packed = "gzip" in self.headers.get("Accept-Encoding", "") and answer.kind.endswith("json")
        if packed:
            body = gzip.compress(body, compresslevel=1)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        if packed:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing: a request's headers hold the key."""


def _harmed(answer: Answer, fault: Kind | None) -> Answer:
    if fault == "too_many":
        return Answer(429, b'{"message": "Rate limit exceeded."}')
    if fault == "error":
        return Answer(500, b'{"message": "Unexpected error. Please try again later."}')
    if fault == "malformed":
        return answer._replace(body=answer.body[: len(answer.body) // 2])
    if fault == "empty":
        return answer._replace(body=b'{"data": []}')
    return answer
