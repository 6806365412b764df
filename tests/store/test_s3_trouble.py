"""Over the wire to an S3 server on loopback: cut at any byte, throttled, refused, skewed."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from tests.store.proxies import Cutter, Refuser, target_of

from alpha_assets.errors import MissingOutput, StorageError
from alpha_assets.store import Folder, ManifestInput, Store
from alpha_assets.store import objects as objects_module
from alpha_assets.store.object_backend import CURRENT, OBJECTS, ObjectBackend
from alpha_assets.store.objects import open_objects

pytestmark = pytest.mark.slow

SECRET = "secret-token"
NAME = "sim/panel/month=2024-01"
SIZES = {"a.bin": 40_000, "seed=0/b.bin": 90_000, "c.txt": 3}
VERSIONS = 60


@contextmanager
def through(url: str, endpoint: str) -> Iterator[Folder]:
    """Give the folder of the tests as it is reached at an endpoint."""
    before = os.environ["AWS_ENDPOINT_URL"]
    os.environ["AWS_ENDPOINT_URL"] = endpoint
    try:
        yield Folder(ObjectBackend(open_objects(url)), tuple(NAME.split("/")))
    finally:
        os.environ["AWS_ENDPOINT_URL"] = before


def version(folder: Folder) -> int | None:
    """Return the version that manifest and every byte agree on; None where nothing is there."""
    manifests: list[int] = []
    try:
        contents = folder.contents()
        manifest = folder.manifest()
    except MissingOutput:
        return None
    assert manifest is not None
    manifests.append(manifest.extra["version"])
    assert {name: len(content) for name, content in contents.items()} == SIZES
    (byte,) = {byte for content in contents.values() for byte in content}
    return byte


def write(folder: Folder, number: int) -> None:
    files = {name: bytes([number]) * size for name, size in SIZES.items()}
    folder.write({}, ManifestInput(digest="d", extra={"version": number}), files)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again once, soon: what a second try mends is not what is looked for."""
    retries = {
        "max_retries": 1,
        "retry_timeout": timedelta(seconds=20),
        "backoff": {
            "init_backoff": timedelta(milliseconds=1),
            "max_backoff": timedelta(milliseconds=2),
            "base": 2.0,
        },
    }
    monkeypatch.setattr(objects_module, "_RETRIES", retries)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_connections_cut_at_any_byte_leave_one_version_whole(
    s3: str, impatient: None, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    url = f"s3://bucket/cut-{seed}"
    cutter = Cutter(target_of(s3), seed)
    outcomes: dict[str, int] = {"written": 0, "refused": 0, "read": 0, "not read": 0}
    wrong: list[object] = []
    over = threading.Event()

    def keep_reading(folder: Folder) -> None:
        last = 0
        while not over.is_set():
            try:
                seen = version(folder)
                assert seen is None or seen >= last
                last = seen or last
            except Exception as error:  # shown by the test, in whose thread it is not
                wrong.append(error)

    with cutter.serve() as cut, through(url, s3) as calm, through(url, cut) as unsteady:
        reader = threading.Thread(target=keep_reading, args=(calm,))
        reader.start()
        try:
            now = None
            for number in range(1, VERSIONS + 1):
                try:
                    write(unsteady, number)
                    outcomes["written"] += 1
                    assert version(calm) == number
                except StorageError as error:
                    assert url in str(error)  # noqa: PT017
                    outcomes["refused"] += 1
                    assert version(calm) in (now, number)
                now = version(calm)
                try:
                    assert version(unsteady) == now
                    outcomes["read"] += 1
                except StorageError:
                    outcomes["not read"] += 1
        finally:
            over.set()
            reader.join()
        assert wrong == []
        assert min(outcomes.values()) > 5, outcomes
        assert min(cutter.cuts.values()) > 20, cutter.cuts

        write(calm, VERSIONS + 1)
        assert version(calm) == VERSIONS + 1
        backend = calm.backend
        assert isinstance(backend, ObjectBackend)
        named = {f"{NAME}/{CURRENT}", *backend._inside(NAME).values()}
        left = {one.key for one in backend.objects.below(NAME)}
        assert left == named, len(left)
        assert len(named) == 4
        assert all(key == f"{NAME}/{CURRENT}" or f"/{OBJECTS}/" in key for key in left)


def body(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>{SECRET}</Message></Error>".encode()


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (503, "SlowDown", r"no success after several tries"),
        (403, "AccessDenied", r"permission denied.*the right to list, read, write and delete"),
        (403, "InvalidAccessKeyId", r"does not accept the credentials of the environment"),
        (403, "SignatureDoesNotMatch", r"does not accept the credentials of the environment"),
        (400, "ExpiredToken", r"the credentials have expired"),
        (403, "RequestTimeTooSkewed", r"the clock of this machine differs too much"),
    ],
)
def test_a_refusal_is_named_by_its_code_and_nothing_of_it_is_printed(
    s3: str,
    impatient: None,
    status: int,
    code: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", SECRET)
    url = f"s3://bucket/refused-{code.lower()}"  # the code itself in an answer is taken for one
    refuser = Refuser(target_of(s3))
    with refuser.serve() as endpoint, through(url, endpoint) as folder:
        write(folder, 1)
        refuser.answers, refuser.always = [(status, body(code))], True
        for ask in (
            lambda: write(folder, 2),
            lambda: folder.contents(),
            lambda: folder.backend.list("sim"),
            lambda: folder.backend.delete(NAME),
        ):
            with pytest.raises(StorageError, match=words) as raised:
                ask()
            assert code in str(raised.value)
            assert url in str(raised.value)
            assert SECRET not in f"{raised.value!r} {raised.value.__cause__}"
        refuser.answers = []
        assert version(folder) == 1
        write(folder, 3)
        assert version(folder) == 3
    assert SECRET not in caplog.text


def test_a_store_that_is_busy_for_a_while_is_waited_for(s3: str) -> None:
    refuser = Refuser(target_of(s3))
    with refuser.serve() as endpoint, through("s3://bucket/busy", endpoint) as folder:
        for number in (1, 2, 3):
            refuser.answers = [(503, body("SlowDown"))] * 2
            write(folder, number)
            assert refuser.answers == []
            assert version(folder) == number


@pytest.mark.parametrize("n", range(1, 12))
def test_a_refusal_in_the_middle_of_a_write_leaves_one_version(
    s3: str, impatient: None, n: int
) -> None:
    refuser = Refuser(target_of(s3))
    with refuser.serve() as endpoint, through(f"s3://bucket/middle-{n}", endpoint) as folder:
        write(folder, 1)
        passed = len(refuser.methods) + n

        def refuse_later() -> tuple[int, bytes] | None:
            return (403, body("AccessDenied")) if len(refuser.methods) >= passed else None

        refuser.answer = refuse_later  # type: ignore[method-assign]
        with pytest.raises(StorageError, match="permission denied"):
            write(folder, 2)
        refuser.answer = lambda: None  # type: ignore[method-assign]
        assert version(folder) in (1, 2)
        write(folder, 3)
        assert version(folder) == 3


def test_no_such_bucket_is_named(s3: str) -> None:
    with pytest.raises(StorageError, match=r"s3://no-such-bucket/.*there is no such bucket; make"):
        Store("s3://no-such-bucket/prefix").checked()
