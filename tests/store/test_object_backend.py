"""What an object store adds to the promises of every backend: leases, fencing, garbage, answers."""

import json
import pickle
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from obstore import exceptions
from obstore.store import MemoryStore
from tests.store.test_raw import TOKYO, Balances, frame, row
from tests.store.unreliable import Unreliable

from alpha_assets.errors import BadInput, LockHeld, SpecError, StorageError
from alpha_assets.store import Folder, ManifestInput, RawTable, Store, lease, object_lock
from alpha_assets.store.lease import LEASE
from alpha_assets.store.object_backend import CURRENT, OBJECTS, ObjectBackend
from alpha_assets.store.object_lock import check_held, renew
from alpha_assets.store.object_lock import object_lock as locked
from alpha_assets.store.objects import Objects
from alpha_assets.store.store import BACKENDS

OLD, NEW = pl.DataFrame({"x": [1.0]}), pl.DataFrame({"x": [2.0, 3.0]})
NAME = "sim/panel"


def backend_over(store: object, url: str = "objects://bucket") -> ObjectBackend:
    return ObjectBackend(Objects(url, store))  # type: ignore[arg-type]


def folder_of(backend: ObjectBackend) -> Folder:
    return Folder(backend, tuple(NAME.split("/")))


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with nothing probed, held or seen."""
    monkeypatch.setattr(object_lock, "_probed", set())
    monkeypatch.setattr(object_lock, "_held", {})
    monkeypatch.setattr(object_lock, "_observed", {})
    monkeypatch.setattr(object_lock, "_living", set())


@pytest.mark.parametrize("takes_effect", [False, True])
def test_a_writer_that_is_cut_off_at_any_request_leaves_one_version_whole(
    made: ManifestInput, takes_effect: bool
) -> None:
    calm = Unreliable()
    folder = folder_of(backend_over(calm, "objects://calm"))
    folder.write({"rows": OLD}, made)
    first = calm.count
    folder.write({"rows": NEW}, made)
    requests = calm.count - first
    assert requests > 6  # lock, look, object, manifest, garbage, lock

    seen = set()
    for n in range(1, requests + 1):
        store = Unreliable(takes_effect=takes_effect)
        backend = backend_over(store, f"objects://cut-{n}-{takes_effect}")
        folder = folder_of(backend)
        folder.write({"rows": OLD}, made)
        store.at = store.count + n
        is_written = True
        try:
            folder.write({"rows": NEW}, made)
        except StorageError as error:
            assert "objects://cut" in str(error)  # noqa: PT017
            is_written = False
        store.at = None

        reader = folder_of(backend)
        height = reader.read().height
        seen.add(height)
        assert height == 1 + is_written  # what a writer is told is so, also of a lost answer
        assert reader.damage() is None
        manifest = reader.manifest()
        assert manifest is not None
        assert manifest.rows == height
        reader.write({"rows": NEW}, made)
        assert reader.read().height == 2
    assert seen == {1, 2}


class Meeting:
    """Lets requests of a kind go on only where so many of them are on their way at a time."""

    SECONDS = 30.0

    def __init__(self, verb: str, at_once: int) -> None:
        self.verb, self.barrier, self.met = verb, threading.Barrier(at_once), 0

    def __call__(self, verb: str, key: str) -> None:
        if verb == self.verb and f"/{OBJECTS}/" in key:
            self.barrier.wait(self.SECONDS)
            self.met += 1


def test_the_files_of_an_output_are_sent_side_by_side(made: ManifestInput) -> None:
    store = Unreliable()
    folder = folder_of(backend_over(store))
    for verb in ("put", "head"):
        store.before = meeting = Meeting(verb, 3)
        folder.write({"rows": NEW}, made, {"a.txt": b"a", "seed=0/b.txt": b"b"})
        assert meeting.met == 3
    store.before = lambda verb, key: None
    assert folder.contents() == {"a.txt": b"a", "seed=0/b.txt": b"b"}
    assert folder.read().height == 2


def test_months_of_raw_rows_are_written_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Unreliable()
    monkeypatch.setitem(BACKENDS, "objects", lambda url: backend_over(store, url))
    rows = frame(
        row(1, "A", 1.0, datetime(2024, 3, 2, tzinfo=UTC)),
        row(1, "B", 2.0, datetime(2024, 4, 2, tzinfo=UTC)),
        row(1, "C", 3.0, datetime(2024, 5, 2, tzinfo=UTC)),
    )
    given = ManifestInput(digest="d", extra={"source": "a test"})
    here = RawTable(Store(str(tmp_path)), "jp", Balances(), TOKYO)
    there = RawTable(Store("objects://raw"), "jp", Balances(), TOKYO)
    meeting, probes = Meeting("put", 3), list[str]()

    def before(verb: str, key: str) -> None:
        meeting(verb, key)
        if "probe" in key:
            probes.append(verb)
            time.sleep(0.1)  # for the other threads to come as far

    store.before = before
    assert there.append(rows, given) == here.append(rows, given)
    assert meeting.met == 3
    assert probes == ["put", "put", "delete"]  # by one of the threads, for all of them
    store.before = lambda verb, key: None
    assert there.append(rows, given).months == ()
    assert there.hashes() == here.hashes()
    assert list(there.hashes()) == ["2024-03", "2024-04", "2024-05"]


def test_objects_that_no_version_names_are_deleted_by_the_next_writer(made: ManifestInput) -> None:
    store = MemoryStore()
    folder = folder_of(backend_over(store))
    folder.write({"rows": OLD}, made, {"a.json": b"1"})
    store.put(f"{NAME}/{OBJECTS}/left-by-a-killed-writer.parquet", b"half")
    folder.write({"rows": NEW}, made)

    kept = sorted(m["path"] for some in store.list(NAME) for m in some)
    held = json.loads(bytes(store.get(f"{NAME}/{CURRENT}").bytes()))
    assert kept == sorted([f"{NAME}/{CURRENT}", f"{NAME}/{held['files']['rows.parquet']}"])


def test_what_a_slow_writer_deletes_is_not_what_another_put_meanwhile(
    made: ManifestInput,
) -> None:
    store = Unreliable()
    folder = folder_of(backend_over(store))
    folder.write({"rows": OLD}, made)
    meanwhile: list[str] = []

    def other_writes_the_old_rows_again(verb: str, key: str) -> None:
        if verb == "delete" and f"{NAME}/{OBJECTS}" in key and not meanwhile:
            meanwhile.append(key)
            with pytest.MonkeyPatch.context() as patch:  # the lease ran out, and another took it
                patch.setattr(object_lock, "_held", {})
                patch.setattr(object_lock, "_living", set())
                folder.write({"rows": OLD}, made)

    store.before = other_writes_the_old_rows_again
    folder.write({"rows": NEW}, made)
    assert meanwhile
    assert folder.read().equals(OLD)
    assert folder.damage() is None


def test_what_another_writer_put_since_this_one_began_is_left_to_it(made: ManifestInput) -> None:
    store = Unreliable()
    folder = folder_of(backend_over(store))
    folder.write({"rows": OLD}, made)
    young = f"{NAME}/{OBJECTS}/of-who-took-the-lock-over.parquet"

    def other_puts(verb: str, key: str) -> None:
        if verb == "put" and key.endswith(CURRENT):
            store.store.put(young, b"rows")

    store.before = other_puts
    folder.write({"rows": NEW}, made)
    store.before = lambda verb, key: None
    assert store.head(young)["size"] == 4
    folder.write({"rows": OLD}, made)
    with pytest.raises(FileNotFoundError):
        store.head(young)


def test_objects_that_cannot_be_deleted_are_left_to_the_next_writer(
    made: ManifestInput, caplog: pytest.LogCaptureFixture
) -> None:
    store = Unreliable()
    folder = folder_of(backend_over(store))
    folder.write({"rows": OLD}, made)

    def refuse(verb: str, key: str) -> None:
        if verb == "delete":
            raise exceptions.PermissionDeniedError(ANSWER.format(403, "AccessDenied"))

    store.before = refuse
    folder.write({"rows": NEW}, made)
    assert folder.read().height == 2
    assert "objects of earlier versions are left (" in caplog.text
    assert SECRET not in caplog.text
    store.before = lambda verb, key: None
    folder.write({"rows": NEW}, made)
    assert len(list(store.list_with_delimiter(f"{NAME}/{OBJECTS}")["objects"])) == 1


def test_equal_content_has_one_object(made: ManifestInput) -> None:
    store = MemoryStore()
    folder_of(backend_over(store)).write({}, made, {"a.json": b"1", "b.json": b"1"})
    assert len(list(store.list_with_delimiter(f"{NAME}/{OBJECTS}")["objects"])) == 1


def test_a_reader_goes_on_with_the_version_that_replaced_the_one_it_began(
    made: ManifestInput,
) -> None:
    store = Unreliable()
    backend = backend_over(store)
    folder = folder_of(backend)
    folder.write({"rows": OLD}, made)
    replaced = []

    def replace_once(verb: str, key: str) -> None:
        if verb == "get" and f"/{OBJECTS}/" in key and not replaced:
            replaced.append(key)
            folder.write({"rows": NEW}, made)

    store.before = replace_once
    assert folder.read().height == 2
    assert replaced


def other_owner(backend: ObjectBackend, **changes: object) -> bytes:
    """Return the lock of this process as another one would have written it."""
    with locked(backend.objects, NAME, 0.0):
        found = backend.objects.get(object_lock._key(NAME))
        assert found is not None
    return json.dumps({**json.loads(found.content), "nonce": "other", **changes}).encode()


def test_a_lock_of_another_host_is_taken_over_when_its_lease_has_run_out(
    made: ManifestInput,
) -> None:
    backend = backend_over(MemoryStore())
    backend.objects.put(object_lock._key(NAME), other_owner(backend, host="elsewhere"))
    now = [1000.0]

    with (
        pytest.raises(LockHeld, match=r"is being written by process \d+ on elsewhere"),
        locked(backend.objects, NAME, 0.0, clock=lambda: now[0]),
    ):
        pass
    now[0] += LEASE.total_seconds() - 1
    with pytest.raises(LockHeld), locked(backend.objects, NAME, 0.0, clock=lambda: now[0]):
        pass
    now[0] += 1
    with locked(backend.objects, NAME, 0.0, clock=lambda: now[0]):
        folder_of(backend).write({"rows": OLD}, made)


def test_a_lock_that_is_renewed_is_not_taken_over_however_long_one_waits() -> None:
    backend = backend_over(MemoryStore())
    text, now = other_owner(backend, host="elsewhere"), [0.0]
    for turn in range(4):
        backend.objects.put(object_lock._key(NAME), text + b" " * turn)  # renewed
        with pytest.raises(LockHeld), locked(backend.objects, NAME, 0.0, clock=lambda: now[0]):
            pass
        now[0] += LEASE.total_seconds() - 1


def test_a_lock_is_renewed_while_it_is_held_and_not_given_back_by_an_inner_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend, renewed = backend_over(MemoryStore()), threading.Event()
    tries: list[str] = []
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.001)

    def unsteady(objects: Objects, name: str, held: Any) -> bool:
        tries.append(name)
        if len(tries) == 1:
            raise StorageError("no success after several tries")  # the next one may have it
        renewed.set()
        return renew(objects, name, held)

    monkeypatch.setattr(object_lock, "renew", unsteady)
    with locked(backend.objects, NAME, 0.0):
        with locked(backend.objects, NAME, 0.0):
            pass
        assert renewed.wait(60)
        check_held(backend.objects, NAME)
        assert len(object_lock._held) == 1
    assert object_lock._held == {}


def test_the_lock_of_a_process_of_this_host_that_is_gone_is_taken_over_at_once(
    made: ManifestInput,
) -> None:
    backend = backend_over(MemoryStore())
    backend.objects.put(object_lock._key(NAME), other_owner(backend, pid=2**22 + 5))
    folder_of(backend).write({"rows": OLD}, made)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"nonce": "x"}'])
def test_a_lock_that_names_no_owner_is_free(made: ManifestInput, content: bytes) -> None:
    backend = backend_over(MemoryStore())
    backend.objects.put(object_lock._key(NAME), content)
    folder_of(backend).write({"rows": OLD}, made)


def test_a_writer_whose_lease_ran_out_writes_nothing(made: ManifestInput) -> None:
    backend = backend_over(MemoryStore())
    folder = folder_of(backend)
    folder.write({"rows": OLD}, made)
    taken = other_owner(backend, host="elsewhere")

    with folder.lock():
        backend.objects.put(object_lock._key(NAME), taken)
        held = next(iter(object_lock._held.values()))
        assert not renew(backend.objects, NAME, held)
        with pytest.raises(LockHeld, match="elsewhere took over the lock"):
            check_held(backend.objects, NAME)
        with pytest.raises(LockHeld, match="nothing was written"):
            folder.write({"rows": NEW}, made)
    assert folder.read().height == 1
    found = backend.objects.get(object_lock._key(NAME))
    assert found is not None
    assert found.content == taken  # it is not given back by who lost it


def test_of_two_writers_that_both_think_they_have_the_lock_one_is_refused(
    made: ManifestInput,
) -> None:
    store = Unreliable()
    folder = folder_of(backend_over(store))
    folder.write({"rows": OLD}, made)

    def other_first(verb: str, key: str) -> None:
        if verb == "put" and key.endswith(CURRENT):  # the same version, written by another
            store.store.put(key, bytes(store.store.get(key).bytes()))

    store.before = other_first
    with pytest.raises(LockHeld, match="another process wrote it meanwhile"):
        folder.write({"rows": NEW}, made)
    assert folder.read().height == 1
    assert folder.damage() is None


def test_of_threads_one_writes_at_a_time(made: ManifestInput) -> None:
    backend = backend_over(MemoryStore())
    counts: list[int] = []

    def add() -> None:
        folder = Folder(backend, ("sim", "counter"))
        with folder.lock():
            height = folder.read().height if folder.exists() else 0
            folder.write({"rows": pl.DataFrame({"x": [0.0] * (height + 1)})}, made)
            counts.append(height)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == [0, 1, 2, 3]


class Numbered:
    """A store that knows versions by a number of its own, as some do, and not by their e-tag."""

    def __init__(self) -> None:
        self.store = MemoryStore()

    def put(self, key: str, content: bytes, *, mode: Any, **options: Any) -> Any:
        if isinstance(mode, dict):
            mode = {"e_tag": mode["version"].removeprefix("number ")}
        written = self.store.put(key, content, mode=mode)
        return {**written, "version": f"number {written['e_tag']}"}

    def get(self, key: str) -> Any:
        found = self.store.get(key)
        return SimpleNamespace(meta=self._numbered(found.meta), bytes=found.bytes)

    def head(self, key: str) -> Any:
        return self._numbered(self.store.head(key))

    def _numbered(self, meta: Any) -> Any:
        return {**meta, "version": f"number {meta['e_tag']}"}

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        return getattr(self.store, verb)  # type: ignore[no-any-return]


def test_a_store_that_numbers_versions_is_written_on_condition_of_the_number(
    made: ManifestInput,
) -> None:
    folder = folder_of(backend_over(Numbered()))
    folder.write({"rows": OLD}, made)
    folder.write({"rows": NEW}, made)
    assert folder.read().height == 2


class Lagging:
    """A store whose listings are those of a moment before: what was written last is not in them."""

    def __init__(self, writes: int) -> None:
        self.store = MemoryStore()
        self.writes = writes  # by which a listing lags
        self.listings: list[dict[str, Any]] = [{}]

    def put(self, *args: Any, **options: Any) -> Any:
        written = self.store.put(*args, **options)
        self._remember()
        return written

    def delete(self, keys: Any) -> None:
        self.store.delete(keys)
        self._remember()

    def list(self, prefix: str | None) -> list[list[Any]]:
        then = self.listings[max(0, len(self.listings) - 1 - self.writes)]
        return [[meta for key, meta in then.items() if key.startswith(prefix or "")]]

    def _remember(self) -> None:
        now = {meta["path"]: meta for some in self.store.list() for meta in some}
        self.listings.append(now)

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        return getattr(self.store, verb)  # type: ignore[no-any-return]


@pytest.mark.parametrize("writes", range(12))
def test_a_listing_that_lags_shows_what_was_and_harms_no_version(
    made: ManifestInput, writes: int
) -> None:
    backend = backend_over(Lagging(writes), f"objects://lagging-{writes}")
    months = [backend_folder(backend, month) for month in ("month=2024-01", "month=2024-02")]
    for rows in (OLD, NEW, OLD, NEW):
        for folder in months:
            folder.write({"rows": rows}, made)
            assert folder.read().equals(rows)
            assert folder.damage() is None
        for name, stamp in backend.finished(NAME).items():
            manifest = backend_folder(backend, name).manifest(stamp)
            assert manifest is not None
            assert manifest.rows in (1, 2)
    assert [folder.read().height for folder in months] == [2, 2]


def backend_folder(backend: ObjectBackend, month: str) -> Folder:
    return Folder(backend, (*NAME.split("/"), month))


class Repeated(MemoryStore):
    """A store behind a client that repeats each conditional write, whose first answer is lost."""

    def put(self, path: str, file: Any, *, mode: Any, **options: Any) -> Any:  # type: ignore[override]
        if mode != "overwrite":
            super().put(path, file, mode=mode)
        return super().put(path, file, mode=mode)


def test_a_conditional_write_that_took_effect_and_is_repeated_is_this_writer_s(
    made: ManifestInput, caplog: pytest.LogCaptureFixture
) -> None:
    backend = backend_over(Repeated())
    folder = folder_of(backend)
    for rows in (OLD, NEW):
        with folder.lock():
            for held in object_lock._held.values():
                assert renew(backend.objects, NAME, held)
            folder.write({"rows": rows}, made)
        assert folder.read().equals(rows)
        found = backend.objects.get(object_lock._key(NAME))
        assert found is not None
        assert json.loads(found.content)["nonce"] == ""  # it was given back
    assert caplog.text == ""


class Careless(MemoryStore):
    """A store that ignores the conditions of a write."""

    def put(self, path: str, file: Any, **options: Any) -> Any:  # type: ignore[override]
        return super().put(path, file)


def test_a_store_without_conditional_writes_is_refused(made: ManifestInput) -> None:
    with pytest.raises(StorageError, match="choose a store with conditional writes"):
        folder_of(backend_over(Careless())).write({"rows": OLD}, made)


class Refusing:
    """A store that answers every request with one error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        def request(*args: object, **options: object) -> Any:
            raise self.error

        return request


SECRET = "AKIA-secret-token"
ANSWER = f"status code: {{}}: <Error><Code>{{}}</Code><Token>{SECRET}</Token></Error>"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(ANSWER.format(404, "NoSuchBucket")), "there is no such bucket; make it"),
        (
            exceptions.GenericError(ANSWER.format(404, "NoSuchBucket")),
            "there is no such bucket; make it",
        ),
        (
            exceptions.PermissionDeniedError(ANSWER.format(403, "AccessDenied")),
            r"permission denied \(AccessDenied\); give the credentials .* the right",
        ),
        (
            exceptions.UnauthenticatedError(ANSWER.format(401, "InvalidAccessKeyId")),
            r"the store does not accept the credentials .* \(InvalidAccessKeyId\); set the right",
        ),
        (
            exceptions.GenericError("Error performing GET: status code: 403: no"),
            "permission denied; give the credentials",
        ),
        (
            exceptions.GenericError(ANSWER.format(400, "ExpiredToken")),
            r"the credentials have expired \(ExpiredToken\); renew them",
        ),
        (
            exceptions.PermissionDeniedError(ANSWER.format(403, "RequestTimeTooSkewed")),
            r"the clock of this machine differs too much .* \(RequestTimeTooSkewed\); set it",
        ),
        (
            exceptions.GenericError(ANSWER.format(503, "SlowDown")),
            r"no success after several tries \(SlowDown\); what was finished before is untouched",
        ),
        (
            exceptions.GenericError("error sending request: status code: 502"),
            "no success after several tries, which answered 502",
        ),
        (exceptions.NotSupportedError("no"), "the store has no conditional writes"),
    ],
)
def test_what_a_store_answers_is_named_without_what_it_holds(
    made: ManifestInput, error: Exception, words: str
) -> None:
    backend = backend_over(Refusing(error), "s3://bucket/prefix")
    for ask in (
        lambda: folder_of(backend).write({"rows": OLD}, made),
        lambda: folder_of(backend).read(),
        lambda: backend.list("sim"),
    ):
        with pytest.raises(StorageError, match=words) as raised:
            ask()
        assert "s3://bucket/prefix" in str(raised.value)
        assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "s3://", "s3:///prefix", "s3://b", "s3://bucket/a b", "s3://key:secret@bucket", "s3:bucket",
        "s3://bucket/a/../b", "s3://bucket/./b", "s3://bucket/..", "s3://bucket/.../",
    ],
)  # fmt: skip
def test_a_url_that_names_no_bucket_or_no_place_in_it_is_refused(url: str) -> None:
    with pytest.raises(SpecError, match="want s3://bucket or s3://bucket/prefix") as raised:
        _ = Store(url).backend
    assert "secret" not in str(raised.value)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "obstore"]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("object_backend", "object_lock", "object_errors", "objects"):
        monkeypatch.delitem(sys.modules, f"alpha_assets.store.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(BadInput, match=r"obstore is not installed.*alpha-assets\[object-store\]"):
        _ = Store("s3://bucket/prefix").backend


def test_a_backend_is_opened_anew_where_it_is_unpickled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    store = Store("s3://bucket/some/prefix/")
    again = pickle.loads(pickle.dumps(store.backend))
    assert again == store.backend
    assert hash(again) == hash(store.backend)
    assert store.address == "s3://bucket/some/prefix"
    assert SECRET.encode() not in pickle.dumps(store.backend)
    assert SECRET not in repr(store.backend)
