"""Requests, bytes and seconds of a whole run whose outputs lie in an S3 server on loopback.

python benchmarks/bench_object_store.py [PIPELINES RECIPE FIRST_MONTH LAST_MONTH]

Default: the tests' market `tiny` and its recipe, two months decided.  The server is moto's (extra
`proofs`), in a process of its own; requests are counted where they leave the backend, so that a
request which is tried again counts once.  The same run in a folder stands beside it.  Seconds on
loopback hold no network: the last column adds 20 ms a request, one after the other.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.request import Request, urlopen

import alpha_assets as aa
from alpha_assets.store import objects

ROOT = Path(__file__).parents[1]
DEFAULT = (str(ROOT / "tests" / "pipelines"), "tiny", "2021-07", "2021-08")
SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
KINDS = ("get", "head", "put", "delete", "list", "list_with_delimiter")
ROUND_TRIP = 0.020  # seconds, within a region


class Counted:
    """A store that counts its requests by kind, and the bytes that it reads and writes."""

    requests: ClassVar[Counter[str]] = Counter()
    n_bytes: ClassVar[Counter[str]] = Counter()

    def __init__(self, store: Any) -> None:  # noqa: ANN401 -- a class of obstore
        self.store = store

    def __getattr__(self, name: str) -> Callable[..., Any]:
        asked = getattr(self.store, name)

        def request(key: Any = None, *args: Any, **options: Any) -> Any:  # noqa: ANN401
            if name != "list":
                self.requests[name] += 1
            if name == "put":
                self.n_bytes["written"] += len(args[0])
            answer = asked(key, *args, **options)
            if name == "get":
                self.n_bytes["read"] += answer.meta["size"]
            return self._pages(answer) if name == "list" else answer

        return request

    def _pages(self, answer: Any) -> Iterator[Any]:  # noqa: ANN401
        keys = 0
        for some in answer:
            keys += len(some)
            yield some
        self.requests["list"] += max(1, -(-keys // 1_000))


def server() -> tuple[subprocess.Popen[str], str]:
    """Start an S3 server with an empty bucket; return it and its address."""
    pipe = subprocess.PIPE
    started = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SERVER],
        stdin=pipe,
        stdout=pipe,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert started.stdout is not None
    port = started.stdout.readline().strip()
    if not port:
        print("moto's server does not start; pip install 'alpha-assets[proofs]'")
        sys.exit(1)
    endpoint = f"http://127.0.0.1:{port}"
    with urlopen(Request(f"{endpoint}/bucket", method="PUT")):
        return started, endpoint


def measured(what: str, recipe: str, storage: str, months: dict[str, str], n_months: int) -> None:
    """Run once, and print a line."""
    Counted.requests.clear()
    Counted.n_bytes.clear()
    wall, cpu = time.perf_counter(), time.process_time()
    aa.run(recipe, storage=storage, **months)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    n = Counted.requests.total()
    kinds = "".join(f"{Counted.requests[kind]:>8,}" for kind in KINDS)
    mega = [Counted.n_bytes[way] / 1e6 for way in ("read", "written")]
    print(
        f"{what:<24}{kinds}{n:>9,}{n / n_months:>9,.0f}{mega[0]:>9.1f}{mega[1]:>9.1f}"
        f"{wall:>9.1f}{cpu:>8.1f}{wall / n_months:>9.1f}{(wall + n * ROUND_TRIP) / n_months:>9.1f}"
    )


def main(words: list[str]) -> None:
    """Print the table."""
    pipelines, recipe, first, last = words or DEFAULT
    os.environ["ALPHA_PIPELINES"] = pipelines
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ[name] = "of-no-account"
    os.environ["AWS_REGION"] = "eu-west-1"
    started, os.environ["AWS_ENDPOINT_URL"] = server()
    from_url = objects.from_url
    objects.from_url = lambda *args, **options: Counted(from_url(*args, **options))
    months = {"first_month": first, "last_month": last}
    n_months = 12 * (int(last[:4]) - int(first[:4])) + int(last[5:]) - int(first[5:]) + 1
    print(f"{recipe}, {first} to {last}; months: those decided; seconds: wall, load {load()}")
    heads = "".join(f"{kind.replace('list_with_delimiter', 'folder'):>8}" for kind in KINDS)
    print(
        f"{'':<24}{heads}{'requests':>9}{'a month':>9}{'MB read':>9}{'written':>9}"
        f"{'seconds':>9}{'CPU':>8}{'a month':>9}{'+ 20 ms':>9}"
    )
    try:
        with tempfile.TemporaryDirectory() as room:
            measured("a folder, first run", recipe, f"{room}/storage", months, n_months)
            measured("a folder, nothing stale", recipe, f"{room}/storage", months, n_months)
        measured("S3, first run", recipe, "s3://bucket/run", months, n_months)
        measured("S3, nothing stale", recipe, "s3://bucket/run", months, n_months)
    finally:
        started.terminate()
        started.wait()
    print(f"load at the end {load()}")


def load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    main(sys.argv[1:])
