"""Every backend under the store keeps the same promises: a folder, objects, and a dictionary."""

import json
import threading
from collections.abc import Callable
from datetime import date

import polars as pl
import pytest
from obstore.store import MemoryStore as ObjectsInMemory
from tests.store.memory import MemoryBackend

from alpha_assets.errors import LockHeld, MissingOutput, StorageError
from alpha_assets.store import (
    Folder,
    ManifestInput,
    MonthTable,
    Store,
    folder_backend,
    object_lock,
)
from alpha_assets.store import snapshot as snapshot_module
from alpha_assets.store.backend import FileStat, Listing
from alpha_assets.store.manifest import Manifest, parse_manifest
from alpha_assets.store.object_backend import CURRENT, ObjectBackend
from alpha_assets.store.objects import Objects
from alpha_assets.store.snapshot import Snapshot, read_snapshot
from alpha_assets.store.sql import ask
from alpha_assets.store.store import BACKENDS

TABLE = pl.DataFrame({"symbol": ["b", "a"], "x": [2.0, 1.0]})
NewStore = Callable[[str], Store]


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open `memory://…` in this test, each URL as a storage of its own."""
    opened: dict[str, MemoryBackend] = {}
    monkeypatch.setitem(BACKENDS, "memory", lambda u: opened.setdefault(u, MemoryBackend(u)))


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open `objects://…` in this test: the backend of object stores, over one in memory."""
    opened: dict[str, ObjectBackend] = {}

    def open_one(url: str) -> ObjectBackend:
        return opened.setdefault(url, ObjectBackend(Objects(url, ObjectsInMemory())))

    monkeypatch.setitem(BACKENDS, "objects", open_one)
    monkeypatch.setattr(object_lock, "_probed", set())


@pytest.fixture(params=["folder", "memory", "objects", pytest.param("s3", marks=pytest.mark.slow)])
def new_store(
    request: pytest.FixtureRequest,
    memory: None,
    objects: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> NewStore:
    """Make empty stores by name, all of one kind of backend."""
    root = tmp_path_factory.mktemp("stores")
    # A URL names one storage: its name is not used again by another test.
    if request.param == "folder":
        return lambda name: Store(f"{root}/{name}")
    if request.param == "s3":
        request.getfixturevalue("s3")
        return lambda name: Store(f"s3://bucket/{root.name}/{name.replace(' ', '_')}")
    return lambda name: Store(f"{request.param}://{root.name}/{name}")


@pytest.fixture
def store(new_store: NewStore) -> Store:
    return new_store("one")


@pytest.fixture
def folder(store: Store) -> Folder:
    """A folder that was never written."""
    return store.folder("sim", "baseline", "backtest")


def put(folder: Folder, file: str, content: bytes) -> None:
    """Change a stored file behind the store's back."""
    backend = folder.backend
    if not isinstance(backend, ObjectBackend):
        backend.put(f"{folder.name}/{file}", content)
        return
    current = f"{folder.name}/{CURRENT}"
    held = json.loads(backend.get(current) or b"")
    if file == "manifest.json":
        backend.put(current, json.dumps({**held, "manifest": content.decode()}).encode())
    else:
        backend.put(f"{folder.name}/{held['files'][file]}", content)


def remove(folder: Folder, file: str) -> None:
    """Delete a stored file behind the store's back."""
    backend, name = folder.backend, f"{folder.name}/{file}"
    if isinstance(backend, ObjectBackend):
        current = f"{folder.name}/{CURRENT}"
        held = json.loads(backend.get(current) or b"")
        name = current if file == "manifest.json" else f"{folder.name}/{held['files'][file]}"
    backend.delete(name)


def content_of(folder: Folder, file: str) -> bytes:
    content = folder.backend.get(f"{folder.name}/{file}")
    assert content is not None
    return content


def test_what_is_written_is_read_back(folder: Folder, made: ManifestInput) -> None:
    keyed = made.model_copy(update={"keys": {"trades": ("symbol",)}})
    written = folder.write({"trades": TABLE}, keyed, {"a.json": b"{}", "seed=0/b.bin": b"\0"})

    assert folder.manifest() == written
    assert folder.read("trades").rows() == [("a", 1.0), ("b", 2.0)]
    assert folder.scan("trades", ["x"]).filter(pl.col("x") > 1).collect().rows() == [(2.0,)]
    assert folder.contents() == {"a.json": b"{}", "seed=0/b.bin": b"\0"}
    assert folder.exists()
    assert folder.damage() is None
    listed = folder.backend.list(folder.name)
    files = {"manifest.json", "trades.parquet", "a.json"}
    assert listed == Listing(frozenset({"seed=0"}), frozenset(files))


def test_other_code_is_recorded_for_the_version_that_was_looked_at_alone(
    folder: Folder, made: ManifestInput
) -> None:
    before = made.model_copy(update={"code": "old", "extra": {"epochs": 3}})
    found = folder.write({"rows": TABLE}, before)

    assert folder.restamp(found, "new", {"epochs": 3, "from": "old"})

    changed = {"code": "new", "extra": {"epochs": 3, "from": "old"}}
    after = folder.manifest()
    assert after is not None
    assert after.model_copy(update={"seal": ""}) == found.model_copy(update={**changed, "seal": ""})
    assert folder.damage() is None
    assert folder.read().equals(TABLE)
    assert not folder.restamp(found, "newer", {})  # it is that of `new` by now
    folder.write({"rows": TABLE[:1]}, before)
    assert not folder.restamp(found, "newer", {})  # it was written anew
    assert folder.manifest() is not None
    assert not Folder(folder.backend, ("none",)).restamp(found, "newer", {})


def test_what_was_never_made_is_missing(store: Store, folder: Folder) -> None:
    for read in (folder.read, folder.scan, folder.contents):
        with pytest.raises(MissingOutput, match="sim/baseline/backtest has not been made in "):
            read()
    assert (folder.manifest(), folder.damage(), folder.lost()) == (None, None, None)
    assert not folder.is_finished()
    assert store.backend.list("sim") == Listing()
    assert store.finished("sim", "baseline") == ()


def test_a_write_replaces_the_whole_and_an_earlier_scan_keeps_its_version(
    folder: Folder, made: ManifestInput
) -> None:
    folder.write({"rows": TABLE}, made, {"old.txt": b"old"})
    scanned = folder.scan()
    folder.write({"rows": TABLE[:1]}, made)

    assert folder.backend.list(folder.name).files == {"manifest.json", "rows.parquet"}
    assert (scanned.collect().height, folder.read().height) == (2, 1)


def test_a_reader_gets_manifest_and_files_of_one_version(
    folder: Folder, made: ManifestInput
) -> None:
    def write(version: str) -> None:
        folder.write({}, made.model_copy(update={"status": version}), {"a.txt": version.encode()})

    write("old")
    seen = []

    def slowly(snapshot: Snapshot) -> bytes:
        seen.append(snapshot.manifest.status)
        if len(seen) == 1:
            write("new")
        with snapshot.open("a.txt") as file:
            return file.read()

    assert read_snapshot(folder.backend, folder.name, slowly, "run again").decode() == seen[-1]
    assert folder.contents() == {"a.txt": b"new"}


def test_a_family_that_is_made_again_leaves_the_others_as_they_are(
    store: Store, made: ManifestInput
) -> None:
    folder = store.folder("sim", "features", "month=2024-01")
    both = {"price": TABLE, "trend": TABLE}
    folder.write_families(both, {"price": made, "trend": made}, ["symbol"])
    for x in (3.0, 4.0):
        again = TABLE.with_columns(x=pl.lit(x))
        folder.write_families({"price": again}, {"price": made}, ["symbol"])
        assert folder.of("price").read()["x"].to_list() == [x, x]
        assert folder.of("trend").read()["x"].to_list() == [1.0, 2.0]
        assert folder.damage() is None


def test_a_write_that_fails_leaves_the_version_before(folder: Folder, made: ManifestInput) -> None:
    folder.write({"rows": TABLE}, made)

    def fail(stats: object) -> bytes:
        raise StorageError("no more")

    with folder.lock(), pytest.raises(StorageError, match="no more"):
        folder.backend.replace(folder.name, {"rows.parquet": b"half"}, fail)
    assert folder.damage() is None
    assert folder.read().height == 2


def test_the_manifest_is_made_from_the_stat_of_what_is_stored(
    folder: Folder, made: ManifestInput
) -> None:
    folder.write({"rows": TABLE}, made)
    manifest = folder.manifest()
    assert manifest is not None
    stored = manifest.files["rows.parquet"]
    stat = folder.backend.read(folder.name, lambda version: version.stat("rows.parquet"))
    assert isinstance(stat, FileStat)
    assert (stored.size, stored.mtime_ns, stored.inode) == (stat.size, stat.mtime_ns, stat.inode)
    assert stat.size == len(content_of(folder, "rows.parquet"))


def test_outputs_below_a_name_are_not_replaced(store: Store, made: ManifestInput) -> None:
    inner = store.folder("sim", "panel", "month=2023-07")
    inner.write({"rows": TABLE}, made)

    with pytest.raises(StorageError, match=r"holds other finished outputs, first .*month=2023-07"):
        store.folder("sim").write({"rows": TABLE}, made)
    assert inner.read().height == 2


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: content[:-7], r"rows.parquet has .* bytes and its manifest names .*"),
        (flipped, r"rows.parquet has other bytes than were written .*: it is corrupt"),
        (None, r"rows.parquet is gone"),
    ],
)
def test_damage_is_named_with_the_way_out(
    folder: Folder, made: ManifestInput, damage: Callable[[bytes], bytes] | None, words: str
) -> None:
    folder.write({"rows": pl.DataFrame({"x": list(range(1000))})}, made)
    assert folder.read().height == 1000
    if damage:
        put(folder, "rows.parquet", damage(content_of(folder, "rows.parquet")))
    else:
        remove(folder, "rows.parquet")

    for read in (folder.read, folder.scan):
        with pytest.raises(StorageError, match=f"{words}.*; delete .*backtest and run again"):
            read()
    assert folder.damage() is not None
    folder.write({"rows": TABLE}, made)
    assert folder.damage() is None


def test_a_damaged_manifest_is_named(folder: Folder, made: ManifestInput) -> None:
    folder.write({"rows": TABLE}, made)
    put(folder, "manifest.json", b"{}")

    with pytest.raises(StorageError, match=r"not a manifest: .*Field required"):
        folder.read()
    remove(folder, "manifest.json")
    assert not folder.is_finished()
    # Objects that no `current.json` names may be those of a first write that was stopped.
    lost = None if isinstance(folder.backend, ObjectBackend) else "manifest.json is gone; delete"
    assert (lost or "") in (folder.lost() or "")
    assert (folder.lost() is None) == (lost is None)


def test_a_manifest_is_parsed_once_until_it_is_written_again(
    folder: Folder, made: ManifestInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_backend, "_YOUNG_NS", 0)  # the clock of the test is fine enough
    parsed: list[str] = []

    def counted(text: bytes, address: str) -> Manifest:
        parsed.append(address)
        return parse_manifest(text, address)

    monkeypatch.setattr(snapshot_module, "parse_manifest", counted)
    first = folder.write({"rows": TABLE}, made)
    assert folder.manifest() == first
    assert folder.manifest() == first
    assert len(parsed) == 1

    second = folder.write({"rows": TABLE}, made.model_copy(update={"extra": {"again": True}}))
    assert folder.manifest() == second
    assert len(parsed) == 2


@pytest.mark.parametrize("young", [0, None])
def test_a_manifest_that_is_damaged_or_gone_after_it_was_parsed_is_named(
    folder: Folder, made: ManifestInput, monkeypatch: pytest.MonkeyPatch, young: int | None
) -> None:
    if young is not None:
        monkeypatch.setattr(folder_backend, "_YOUNG_NS", young)
    folder.write({"rows": TABLE}, made)
    assert folder.manifest() is not None

    text = content_of(folder, "manifest.json")
    put(folder, "manifest.json", text.replace(b"0123456789ab", b"0123456789ac"))
    with pytest.raises(StorageError, match=r"manifest.json"):
        folder.manifest()
    remove(folder, "manifest.json")
    assert folder.manifest() is None


def test_equal_bytes_of_another_stat_are_whole_and_get_the_new_stat(
    folder: Folder, made: ManifestInput
) -> None:
    written = folder.write({"rows": TABLE}, made)
    put(folder, "rows.parquet", content_of(folder, "rows.parquet"))

    assert folder.damage() is None
    manifest = folder.manifest()
    assert manifest is not None
    assert manifest.content_hash == written.content_hash
    stored = manifest.files["rows.parquet"]
    now = folder.backend.read(folder.name, lambda version: version.stat("rows.parquet"))
    assert (stored.mtime_ns, stored.inode) == (now.mtime_ns, now.inode)
    if not folder.address.startswith("s3:"):  # whose e-tag is the content's, and time a second's
        assert stored.inode != written.files["rows.parquet"].inode


def test_one_writer_at_a_time_and_a_thread_may_lock_again(folder: Folder) -> None:
    refused = []

    def other() -> None:
        try:
            with folder.lock(wait_seconds=0):
                pass
        except LockHeld as error:
            refused.append(str(error))

    with folder.lock():
        with folder.lock(wait_seconds=0):
            pass
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(refused) == 1
    assert "sim/baseline/backtest is being written by" in refused[0]
    other()
    assert len(refused) == 1


def test_scratch_is_kept_and_removed(store: Store) -> None:
    state = store.scratch("resume", "sim").document("seed=0.bin")
    assert state.read() is None
    state.write(b"1")
    state.write(b"22")
    assert state.read() == b"22"
    store.scratch("resume", "sim").remove()
    assert state.read() is None


def test_outputs_are_copied_to_another_storage(
    new_store: NewStore, store: Store, memory: None, made: ManifestInput
) -> None:
    for month in ("month=2023-07", "month=2023-08"):
        store.folder("sim", "panel", month).write({"rows": TABLE}, made, {"a/b.txt": b"b"})
    store.folder("sim", "features").write({"rows": TABLE}, made)

    for other in (new_store("other"), Store("memory://other still")):
        other.copy_from(store, "sim", "panel")
        other.copy_from(store, "sim", "nothing")
        copy = other.folder("sim", "panel", "month=2023-08")
        assert copy.damage() is None
        assert copy.read().equals(TABLE)
        assert copy.contents() == {"a/b.txt": b"b"}
        assert other.finished("sim", "panel") == ("month=2023-07", "month=2023-08")
        assert other.finished("sim") == ()


def panel(store: Store, made: ManifestInput) -> MonthTable:
    table = MonthTable(store, ("sim", "panel"), ("session", "symbol"))
    for month in (2, 1, 3):
        rows = {"session": [date(2024, month, 1)] * 2, "symbol": ["b", "a"], "x": [1.0, 2.0]}
        table.write(f"2024-0{month}", pl.DataFrame(rows), made)
    return table


def test_a_table_lists_its_months_and_reads_them_in_order(
    store: Store, made: ManifestInput
) -> None:
    table = panel(store, made)
    store.backend.put("sim/panel/month=2024-05/rows.parquet", b"never finished")
    store.backend.put("sim/panel/notes.txt", b"a stranger")

    assert table.months() == ("2024-01", "2024-02", "2024-03")
    assert list(table.damaged()) == ["2024-05"]
    assert table.read().collect().select("session", "symbol").rows() == [
        (date(2024, month, 1), symbol) for month in (1, 2, 3) for symbol in "ab"
    ]
    put(table.folder("2024-02"), "manifest.json", b"?")
    assert table.hashes()["2024-02"] == "damaged"


def test_a_query_reads_what_manifests_name(store: Store, made: ManifestInput) -> None:
    panel(store, made)
    query = "select count(*) n, sum(x) x, max(session) last from panel"
    rows = [{"n": 6, "x": 9.0, "last": date(2024, 3, 1)}]
    assert ask(store, "sim", query) == rows
    rotten = store.folder("sim", "panel", "month=2024-02")
    put(rotten, "rows.parquet", flipped(content_of(rotten, "rows.parquet")))
    with pytest.raises(StorageError, match=r"month=2024-02/rows.parquet has other bytes"):
        ask(store, "sim", query)
    with pytest.raises(MissingOutput, match="mars does not exist"):
        ask(store, "mars", query)
