"""Every answer is bounded, in time and in size, whatever a server sends."""

import gzip
import socket
import threading
import zlib
from collections.abc import Callable, Iterator

import pytest

from alpha_assets.sources.jquants.transport import RequestsTransport, TransportFailure

Talk = Callable[[socket.socket], None]
Listen = Callable[[Talk], str]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Start servers on loopback that speak as a function does; the test's end closes them."""
    sockets: list[socket.socket] = []

    def start(talk: Talk) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        sockets.append(server)

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return  # closed by the test's end
                sockets.append(connection)
                connection.recv(65_536)
                try:
                    talk(connection)
                    connection.close()
                except OSError:
                    continue  # the client went away, as it should

        threading.Thread(target=answer, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}/x"

    yield start
    for one in sockets:
        one.close()


def http(body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


ask = RequestsTransport(20.0, most_bytes=1_000_000)
hasty = RequestsTransport(20.0, deadline_seconds=0.5)


@pytest.mark.parametrize(
    ("packed", "named"),
    [
        (gzip.compress(b"hello", mtime=0), b"gzip"),
        (zlib.compress(b"hello"), b"deflate"),
        (b"hello", b""),
    ],
)
def test_answers_are_unpacked(listen: Listen, packed: bytes, named: bytes) -> None:
    headers = [b"Content-Encoding: " + named] if named else []
    url = listen(lambda connection: connection.sendall(http(packed, *headers)))
    reply = ask.get(url, {}, {})
    assert (reply.status, reply.body) == (200, b"hello")
    assert reply.header("content-LENGTH") == str(len(packed))
    assert reply.header("retry-after") is None


def test_a_small_answer_that_unpacks_to_gigabytes_is_not_unpacked(listen: Listen) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(64)) + packer.flush()
    url = listen(lambda connection: connection.sendall(http(bomb, b"Content-Encoding: gzip")))
    with pytest.raises(TransportFailure, match="longer than 1,000,000 bytes"):
        ask.get(url, {}, {})


def test_an_endless_plain_answer_is_cut(listen: Listen) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(1_000):
            connection.sendall(bytes(65_536))

    with pytest.raises(TransportFailure, match="longer than 1,000,000 bytes"):
        ask.get(listen(talk), {}, {})


@pytest.mark.parametrize(
    ("opening", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"X-Drip: 1\r\n"),
        (b"", b"H"),
    ],
    ids=["body", "headers", "status"],
)
def test_a_dripping_answer_has_a_deadline(listen: Listen, opening: bytes, drop: bytes) -> None:
    over = threading.Event()

    def talk(connection: socket.socket) -> None:
        connection.sendall(opening)
        while not over.wait(0.05):  # each drop well within the time-out of one read
            connection.sendall(drop)

    with pytest.raises(TransportFailure, match=r"not whole after 0.5 s"):
        hasty.get(listen(talk), {}, {})
    over.set()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (http(gzip.compress(b"hello", mtime=0)[:-6], b"Content-Encoding: gzip"), "end too early"),
        (http(b"not packed at all", b"Content-Encoding: gzip"), "damaged"),
        (http(b"hello", b"Content-Encoding: br"), "packed as 'br'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort", "IncompleteRead|Protocol"),
        (b"SSH-2.0-OpenSSH\r\n", "ConnectionError"),
    ],
)
def test_what_is_not_whole_is_a_failure(listen: Listen, answer: bytes, words: str) -> None:
    url = listen(lambda connection: connection.sendall(answer))
    with pytest.raises(TransportFailure, match=words):
        ask.get(url, {}, {})


@pytest.mark.parametrize("url", ["http://[x", "http://a:99999999/", "//x", "http://.../"])
def test_an_address_that_is_none_is_a_failure_at_once(url: str) -> None:
    with pytest.raises(TransportFailure, match=r"no URL|no whole answer"):
        RequestsTransport(5.0, deadline_seconds=60.0).get(url, {}, {})
