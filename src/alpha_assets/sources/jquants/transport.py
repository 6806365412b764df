"""The one seam to the network: a GET that returns a status and bytes, both bounded."""

import queue
import threading
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from alpha_assets.errors import AlphaAssetsError

if TYPE_CHECKING:
    import requests

CONNECT_SECONDS = 10.0
DEADLINES = 5  # a whole answer may take so many times the time-out of one read
ANSWER_BYTES = 128 * 2**20  # of one answer, unpacked; a month's file of history has a tenth
CHUNK = 2**16
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Reply(NamedTuple):
    """What came back, whole and unpacked."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    def header(self, name: str) -> str | None:
        """Return a header's value, whatever the case of its name; None without it."""
        wanted = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == wanted), None)


class TransportFailure(AlphaAssetsError):
    """No whole answer came: refused, timed out, cut off, too large.  Worth another try."""


class Transport(Protocol):
    """Asks a server."""

    def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        """Return the answer to a GET, whatever its status.

        Raises:
            TransportFailure: there was no whole answer.
        """
        ...


class RequestsTransport:
    """Asks over HTTP, one connection per thread."""

    def __init__(
        self,
        timeout_seconds: float = 60.0,
        *,
        deadline_seconds: float | None = None,
        most_bytes: int = ANSWER_BYTES,
    ) -> None:
        """Bound every request in time and in size.

        Args:
            timeout_seconds: longest silence of a server that is being read.
            deadline_seconds: longest time of one request as a whole, however steadily an answer
                drips; default: five time-outs.
            most_bytes: longest answer, unpacked; the rest of a longer one is not read.
        """
        self._timeout = (min(CONNECT_SECONDS, timeout_seconds), timeout_seconds)
        self._deadline = deadline_seconds or DEADLINES * timeout_seconds
        self._most = most_bytes
        self._threads = threading.local()

    def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        """Return the answer to a GET, unpacked if it came packed.

        Redirects are not followed: they would carry the key to another host.

        Raises:
            TransportFailure: there was no whole answer, it took longer than the deadline, or it
                is longer than an answer may be.
        """
        import requests
        import urllib3

        # A read in another thread can be abandoned whatever it waits for: the name server, the
        # handshake, a header that never ends.  No time-out of a socket bounds all of these.
        try:
            session, given_up = self._session(url), threading.Event()
        except ValueError:
            raise TransportFailure("the address is no URL") from None
        answers: queue.SimpleQueue[Reply | str] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self._asked(session, url, params, headers, given_up))
            except (
                requests.RequestException,
                urllib3.exceptions.HTTPError,
                OSError,
                ValueError,  # of what is no address, no header and no encoding
            ) as error:
                answers.put(type(error).__name__)
            except _Bounded as error:
                answers.put(str(error))

        threading.Thread(target=ask, daemon=True).start()
        try:
            found = answers.get(timeout=self._deadline)
        except queue.Empty:
            given_up.set()
            del self._threads.session  # its connection is still being read
            found = f"not whole after {self._deadline:g} s"
        if isinstance(found, Reply):
            return found
        # Raised out here so that the error carries neither the request nor its headers.
        raise TransportFailure(f"{urlsplit(url).path}: no whole answer ({found})")

    def _asked(
        self,
        session: "requests.Session",
        url: str,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        given_up: threading.Event,
    ) -> Reply:
        with session.get(
            url,
            params=dict(params),
            headers={"Accept-Encoding": "gzip", **headers},
            timeout=self._timeout,
            allow_redirects=False,
            stream=True,
        ) as answer:
            packing = answer.headers.get("Content-Encoding", "").strip().lower()
            if packing not in ("", "identity", "gzip", "x-gzip", "deflate"):
                raise _Bounded(f"packed as {packing[:40]!r}, which was not asked for")
            pieces = _pieces(answer.raw, given_up)
            if packing not in ("", "identity"):
                pieces = _unpacked(pieces)
            body = bytearray()
            for piece in pieces:
                body += piece
                if len(body) > self._most:
                    raise _Bounded(f"longer than {self._most:,} bytes")
            return Reply(answer.status_code, bytes(body), dict(answer.headers))

    def _session(self, url: str) -> "requests.Session":
        import requests

        if not hasattr(self._threads, "session"):
            session = requests.Session()
            # A proxy of the environment cannot reach this machine's own servers, and a
            # password file must not add a header of its own.
            session.trust_env = urlsplit(url).hostname not in LOOPBACK
            self._threads.session = session
        found: requests.Session = self._threads.session
        return found


class _Bounded(Exception):
    """An answer that breaks a bound of this module."""


def _pieces(raw: Any, given_up: threading.Event) -> Iterator[bytes]:  # noqa: ANN401 -- untyped
    """Return a body as it comes, as it was sent; short if the server stops early is an error."""
    while not given_up.is_set():
        piece = raw.read1(CHUNK, decode_content=False)
        if not piece:
            return
        yield piece


def _unpacked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Return gzip or zlib bytes unpacked, a bounded piece at a time.

    Several packed members may follow each other: they are one content.

    Raises:
        _Bounded: they are not whole, or not packed.
    """
    unpacker = zlib.decompressobj(32 + zlib.MAX_WBITS)  # either header
    try:
        for piece in pieces:
            rest = piece
            while rest:
                if unpacker.eof:
                    unpacker = zlib.decompressobj(32 + zlib.MAX_WBITS)
                yield unpacker.decompress(rest, CHUNK)
                rest = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
    except zlib.error:
        raise _Bounded("the packed bytes are damaged") from None
    if not unpacker.eof:
        raise _Bounded("the packed bytes end too early")


def unpacked_gzip(body: bytes, most: int) -> bytes | None:
    """Return the content of gzip bytes; None if they are damaged or cut.

    Raises:
        TransportFailure: it is longer than `most` bytes.
    """
    found = bytearray()
    try:
        for piece in _unpacked(iter((body,))):
            found += piece
            if len(found) > most:
                raise TransportFailure(f"the file unpacks to more than {most:,} bytes")
    except _Bounded:
        return None
    return bytes(found)
