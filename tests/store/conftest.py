"""What the tests of the store share: a store of their own, and what a maker says of a folder."""

from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from alpha_assets.store import ManifestInput, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(str(tmp_path / "storage"))


@pytest.fixture
def made() -> ManifestInput:
    """What the maker of a folder says of it."""
    return ManifestInput(digest="0123456789ab", inputs={"panel": "abc"})


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """An S3 server on loopback with an empty bucket `bucket`; needs the extra `proofs`."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    with urlopen(Request(f"{endpoint}/bucket", method="PUT")) as answer:
        assert answer.status == 200
    yield endpoint
    server.stop()


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Open `s3://bucket/...` of the server on loopback in this test; its endpoint."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_ACCESS_KEY_ID": "of no account",
        "AWS_SECRET_ACCESS_KEY": "of no account",
        "AWS_REGION": "eu-west-1",
    }.items():
        monkeypatch.setenv(name, value)
    return s3_endpoint
