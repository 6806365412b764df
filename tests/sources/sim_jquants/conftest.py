"""The small exchange behind the local server, asked plainly."""

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
import requests
from tests.sources.jquants.conftest import (  # noqa: F401  (fixtures)
    EVENING,
    KEY,
    SMALL,
    StandingClock,
    calendar,
    clock,
    read,
    serve,
    sim,
)

from alpha_assets.sources.sim_jquants import Server

Ask = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def ask() -> Iterator[Ask]:
    """Send one GET; return status and body."""
    session = requests.Session()
    session.trust_env = False

    def get(
        server: Server, path: str, api_key: str = KEY, **params: str
    ) -> tuple[int, dict[str, Any]]:
        params = {name.rstrip("_"): value for name, value in params.items()}
        answer = session.get(
            server.base_url + path, params=params, headers={"x-api-key": api_key}, timeout=20
        )
        return answer.status_code, json.loads(answer.content)

    yield get
    session.close()


def unpacked(body: bytes) -> str:
    return gzip.decompress(body).decode()


def tokyo(text: str) -> datetime:
    """Return the instant of a wall time in Tokyo."""
    return datetime.fromisoformat(f"{text}+09:00")
