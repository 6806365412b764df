"""The one seam to the network: a GET that returns a status and bytes."""

import threading
from collections.abc import Mapping
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

import requests

from alpha_assets.errors import AlphaAssetsError

CONNECT_SECONDS = 10.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Reply(NamedTuple):
    """What came back, whole and unpacked."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class TransportFailure(AlphaAssetsError):
    """No whole answer came: refused, timed out, cut off.  Worth another try."""


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

    def __init__(self, timeout_seconds: float = 60.0) -> None:
        self._timeout = (min(CONNECT_SECONDS, timeout_seconds), timeout_seconds)
        self._threads = threading.local()

    def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        """Return the answer to a GET, unpacked if it came packed.

        Redirects are not followed: they would carry the key to another host.

        Raises:
            TransportFailure: there was no whole answer.
        """
        failure = ""
        try:
            answer = self._session(url).get(
                url,
                params=dict(params),
                headers={"Accept-Encoding": "gzip", **headers},
                timeout=self._timeout,
                allow_redirects=False,
            )
            return Reply(answer.status_code, answer.content, dict(answer.headers))
        except requests.RequestException as error:
            failure = type(error).__name__
        # Raised out here so that the error carries neither the request nor its headers.
        raise TransportFailure(f"{urlsplit(url).path}: no whole answer ({failure})")

    def _session(self, url: str) -> requests.Session:
        if not hasattr(self._threads, "session"):
            session = requests.Session()
            # A proxy of the environment cannot reach this machine's own servers, and a
            # password file must not add a header of its own.
            session.trust_env = urlsplit(url).hostname not in LOOPBACK
            self._threads.session = session
        found: requests.Session = self._threads.session
        return found
