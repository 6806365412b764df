"""A folder is read and replaced as one thing, and what is wrong with it is named."""

import errno
import json
import os
import re
import shutil
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from alpha_assets.errors import BadInput, MissingOutput, SpecError, StorageError
from alpha_assets.store import Folder, ManifestInput, Store, content_hash, folder_backend
from alpha_assets.store import snapshot as snapshot_module
from alpha_assets.store.folder_backend import FolderBackend
from alpha_assets.store.snapshot import Snapshot, read_snapshot

TABLE = pl.DataFrame({"symbol": ["b", "a"], "x": [2.0, 1.0]})


@pytest.fixture
def folder(store: Store) -> Folder:
    """A folder that was never written."""
    return store.folder("sim", "baseline", "backtest")


def test_what_is_written_is_read_back(folder: Folder, made: ManifestInput, tmp_path: Path) -> None:
    picture = tmp_path / "curve.svg"
    picture.write_bytes(b"<svg/>")
    keyed = made.model_copy(update={"keys": {"trades": ("symbol",)}, "extra": {"sharpe": 1.5}})

    folder.write({"trades": TABLE}, keyed, {"metrics.json": b"{}", "seed=0/curve.svg": picture})

    assert folder.read("trades").rows() == [("a", 1.0), ("b", 2.0)]
    assert folder.read("trades", ["x"]).columns == ["x"]
    assert folder.scan("trades", ["x", "symbol"]).collect().row(0) == (1.0, "a")
    assert folder.contents() == {"metrics.json": b"{}", "seed=0/curve.svg": b"<svg/>"}
    assert folder.contents("metrics.json") == {"metrics.json": b"{}"}


def test_the_manifest_says_what_lies_there(folder: Folder, made: ManifestInput) -> None:
    given = made.model_copy(update={"extra": {"sharpe": 1.5}, "status": "pointer"})

    returned = folder.write({"rows": TABLE}, given)
    manifest = folder.manifest()

    assert manifest == returned
    assert manifest is not None
    assert json.loads((Path(folder.address) / "manifest.json").read_text())["schema_version"] == 2
    assert (manifest.table, manifest.rows, manifest.digest) == ("backtest", 2, "0123456789ab")
    assert manifest.content_hash == content_hash(TABLE)
    assert manifest.inputs == {"panel": "abc"}
    assert manifest.status == "pointer"
    assert manifest.extra == {"sharpe": 1.5}
    assert manifest.created_at.utcoffset() is not None
    assert manifest.files["rows.parquet"].columns == {"symbol": "String", "x": "Float64"}


def test_the_hash_of_a_folder_sees_every_file_but_those_left_out(
    folder: Folder, made: ManifestInput
) -> None:
    made = made.model_copy(update={"unhashed": ("log.txt",)})

    first = folder.write({"trades": TABLE}, made, {"a.json": b"1", "log.txt": b"took 3 s"})
    again = folder.write({"trades": TABLE}, made, {"a.json": b"1", "log.txt": b"took 4 s"})
    other = folder.write({"trades": TABLE}, made, {"a.json": b"2", "log.txt": b"took 4 s"})
    fewer = folder.write({"trades": TABLE[:1]}, made, {"a.json": b"1", "log.txt": b""})

    assert first.content_hash == again.content_hash
    assert len({m.content_hash for m in (first, other, fewer)}) == 3


def test_writing_replaces_the_whole_folder_and_leaves_nothing_behind(
    store: Store, folder: Folder, made: ManifestInput
) -> None:
    folder.write({"rows": TABLE}, made, {"old.txt": b"old"})
    folder.write({"rows": TABLE[:1]}, made)

    assert sorted(path.name for path in Path(folder.address).iterdir()) == [
        "manifest.json",
        "rows.parquet",
    ]
    assert folder.read().height == 1
    assert [path.name for path in Path(store.address, "_tmp").iterdir()] == ["locks"]
    assert list((Path(store.address, "_tmp") / "locks").glob("*.lock")) == []


def test_a_scan_reads_what_was_there_when_it_was_made(folder: Folder, made: ManifestInput) -> None:
    folder.write({"rows": TABLE}, made)
    scanned = folder.scan()
    folder.write({"rows": TABLE[:0]}, made)

    assert scanned.collect().height == 2
    assert scanned.filter(pl.col("x") > 1).collect().height == 1


def test_a_reader_whose_folder_is_replaced_starts_again_with_the_new_one(
    folder: Folder, made: ManifestInput
) -> None:
    folder.write({}, made, {"a.txt": b"old"})
    seen: list[str] = []

    def slowly(snapshot: Snapshot) -> bytes:
        seen.append(snapshot.manifest.status)
        if len(seen) == 1:
            folder.write({}, made.model_copy(update={"status": "pointer"}), {"a.txt": b"new"})
        with snapshot.open("a.txt") as file:
            return file.read()

    assert read_snapshot(folder.backend, folder.name, slowly, "run again") == b"new"
    assert seen == ["complete", "pointer"]


def test_every_file_is_on_the_disk_before_it_is_shown(
    folder: Folder, made: ManifestInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    shown: list[bool] = []
    fsync = os.fsync

    def remember(handle: int) -> None:
        synced.add(os.fstat(handle).st_ino)
        shown.append(Path(folder.address).exists())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", remember)
    folder.write({"rows": TABLE}, made, {"a/b.txt": b"b"})

    lying = [Path(folder.address), *Path(folder.address).rglob("*")]
    assert len(lying) == 5
    assert {path.stat().st_ino for path in lying} <= synced
    # Afterwards only the name of the folder itself is brought to the disk.
    assert shown == [False] * len(lying) + [True]


def test_a_folder_may_hold_no_table(folder: Folder, made: ManifestInput) -> None:
    skipped = made.model_copy(update={"status": "not_enough_history"})

    manifest = folder.write({}, skipped)

    assert folder.exists()
    assert (manifest.rows, manifest.files) == (0, {})
    with pytest.raises(MissingOutput, match=r"no rows.parquet; .* status is 'not_enough_history'"):
        folder.read()


def test_what_was_never_made_is_missing(folder: Folder) -> None:
    for read in (folder.read, folder.scan, folder.contents):
        with pytest.raises(MissingOutput, match="sim/baseline/backtest has not been made in "):
            read()


def test_a_folder_without_a_manifest_was_never_finished(
    folder: Folder, made: ManifestInput
) -> None:
    folder.write({"rows": TABLE}, made)
    (Path(folder.address) / "manifest.json").unlink()

    assert not folder.exists()
    with pytest.raises(MissingOutput):
        folder.read()
    folder.write({"rows": TABLE}, made)
    assert folder.read().height == 2


def test_an_unknown_column_is_refused(folder: Folder, made: ManifestInput) -> None:
    folder.write({"rows": TABLE}, made)

    for read in (folder.read, folder.scan):
        with pytest.raises(BadInput, match=r"backtest/rows has no column 'y'; it has symbol, x"):
            read(columns=["x", "y"])


def test_two_rows_of_one_key_are_refused_and_change_nothing(
    folder: Folder, made: ManifestInput
) -> None:
    keyed = made.model_copy(update={"keys": {"rows": ("symbol",)}})
    folder.write({"rows": TABLE}, keyed)

    with pytest.raises(BadInput, match=r"2 rows of sim/baseline/backtest/rows share \(symbol\)"):
        folder.write({"rows": pl.concat([TABLE[:1], TABLE[:1]])}, keyed)
    assert folder.read().height == 2


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../x", "manifest.json", "rows.parquet", ""])
def test_a_file_that_cannot_lie_there_is_refused(
    folder: Folder, made: ManifestInput, name: str
) -> None:
    with pytest.raises(SpecError, match="file of an output folder"):
        folder.write({"rows": TABLE}, made, {name: b""})
    assert not folder.exists()


def test_a_folder_of_other_outputs_is_not_replaced(store: Store, made: ManifestInput) -> None:
    store.folder("sim", "panel", "month=2023-07").write({"rows": TABLE}, made)

    with pytest.raises(StorageError, match=r"holds other finished outputs, first .*month=2023-07"):
        store.folder("sim").write({"rows": TABLE}, made)
    assert store.folder("sim", "panel", "month=2023-07").read().height == 2


def test_a_file_in_the_place_of_a_folder_is_not_replaced(
    folder: Folder, made: ManifestInput
) -> None:
    Path(folder.address).parent.mkdir(parents=True)
    Path(folder.address).write_text("mine")

    with pytest.raises(StorageError, match="is not a folder of this store; move it away"):
        folder.write({"rows": TABLE}, made)
    assert Path(folder.address).read_text() == "mine"


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 7)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def delete(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncate, r"rows.parquet has .* bytes and its manifest names .*: it was truncated"),
        (empty, r"rows.parquet has 0 bytes and its manifest names"),
        (flip_a_bit, r"rows.parquet has other bytes than were written .*: it is corrupt"),
        (delete, r"rows.parquet is gone"),
    ],
)
def test_a_damaged_file_is_named_with_the_way_out(
    folder: Folder, made: ManifestInput, damage: Callable[[Path], None], words: str
) -> None:
    folder.write({"rows": pl.DataFrame({"x": list(range(1000))})}, made)
    damage(Path(folder.address) / "rows.parquet")

    for read in (folder.read, folder.scan):
        with pytest.raises(StorageError, match=f"{words}.*; delete .*backtest and run again"):
            read()
    folder.write({"rows": TABLE}, made)
    assert folder.read().height == 2


def test_a_file_that_rots_after_it_was_read_is_noticed(folder: Folder, made: ManifestInput) -> None:
    folder.write({"rows": pl.DataFrame({"x": list(range(1000))})}, made)
    assert folder.read().height == 1000
    flip_a_bit(Path(folder.address) / "rows.parquet")

    with pytest.raises(StorageError, match="it is corrupt"):
        folder.read()


def test_a_manifest_that_names_other_hashes_than_it_was_written_with_is_damaged(
    folder: Folder, made: ManifestInput
) -> None:
    folder.write({"rows": TABLE}, made)
    path = Path(folder.address) / "manifest.json"
    path.write_text(path.read_text().replace('"panel": "abc"', '"panel": "abd"'))

    for read in (folder.read, folder.manifest):
        with pytest.raises(StorageError, match=r"manifest.json: its text is not what was written"):
            read()
    assert "its text is not what was written" in (folder.damage() or "")


def test_a_manifest_of_the_version_before_is_read(folder: Folder, made: ManifestInput) -> None:
    folder.write({"rows": TABLE}, made, {"a.json": b"{}"})
    path = Path(folder.address) / "manifest.json"
    told = json.loads(path.read_text())
    for name, file in told["files"].items():
        content = (Path(folder.address) / name).read_bytes()
        kept = {key: file[key] for key in ("size", "content_hash", "rows", "columns")}
        told["files"][name] = {**kept, "crc32": zlib.crc32(content)}
    del told["seal"]
    path.write_text(json.dumps({**told, "schema_version": 1}))

    assert folder.read().height == 2
    assert folder.damage() is None
    flip_a_bit(Path(folder.address) / "rows.parquet")
    assert "CRC-32" in (folder.damage() or "")


@pytest.mark.parametrize("damage", [truncate, empty, flip_a_bit, delete])
def test_damage_is_seen_without_reading(
    folder: Folder, made: ManifestInput, damage: Callable[[Path], None]
) -> None:
    folder.write({"rows": TABLE}, made, {"seed=0/a.bin": b"0123456789"})
    assert folder.damage() is None
    damage(Path(folder.address) / "seed=0" / "a.bin")

    assert re.search(r"seed=0/a.bin .*; delete .*backtest and run again", folder.damage() or "")


@pytest.fixture
def aged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Manifests count as old when they are written: their stamp tells versions apart."""
    monkeypatch.setattr(folder_backend, "_YOUNG_NS", 0)


@pytest.mark.usefixtures("aged")
@pytest.mark.parametrize("damage", [truncate, empty, flip_a_bit, delete])
def test_a_folder_that_was_looked_at_is_read_again_only_where_its_files_differ(
    folder: Folder, made: ManifestInput, damage: Callable[[Path], None]
) -> None:
    folder.write({"rows": TABLE}, made, {"a.bin": b"0123456789"})
    seen = folder.look()
    assert seen[0] is not None
    assert seen[1] is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FolderBackend, "read", None)  # neither manifest nor files are opened again
        assert folder.look() == seen
        assert folder.manifest() == seen[0]

    damage(Path(folder.address) / "a.bin")

    assert re.search(r"a.bin .*; delete .*backtest and run again", folder.damage() or "")
    folder.write({"rows": TABLE[:1]}, made)
    found, wrong = folder.look()
    assert found is not None
    assert (found.rows, wrong) == (1, None)


def flip_a_bit_and_set_the_clock_back(path: Path) -> None:
    stat = path.stat()
    flip_a_bit(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_a_flip_behind_an_unchanged_stat_is_seen_by_readers_and_by_verify(
    folder: Folder, made: ManifestInput
) -> None:
    folder.write({"rows": TABLE}, made)
    assert folder.read().height == 2
    flip_a_bit_and_set_the_clock_back(Path(folder.address) / "rows.parquet")

    assert folder.damage() is None  # it looks at the stat alone
    assert "it is corrupt" in (replace(folder, verify=True).damage() or "")
    with pytest.raises(StorageError, match="it is corrupt"):
        folder.read()


def test_another_whole_table_in_the_place_of_one_is_damage(
    store: Store, folder: Folder, made: ManifestInput
) -> None:
    folder.write({"rows": TABLE}, made)
    other = store.folder("sim", "other")
    other.write({"rows": TABLE[:1]}, made)
    shutil.copy(Path(other.address) / "rows.parquet", Path(folder.address) / "rows.parquet")

    assert folder.damage() is not None
    with pytest.raises(StorageError, match=r"rows.parquet has .*manifest names"):
        folder.read()


def test_a_copied_storage_is_whole_and_its_next_look_is_cheap(
    store: Store, folder: Folder, made: ManifestInput, tmp_path: Path
) -> None:
    written = folder.write({"rows": TABLE}, made)
    shutil.copytree(store.address, tmp_path / "copy", copy_function=shutil.copyfile)
    copy = Store(str(tmp_path / "copy")).folder(*folder.parts)

    assert copy.damage() is None

    manifest = copy.manifest()
    assert manifest is not None
    assert (
        manifest.files["rows.parquet"].inode == (Path(copy.address) / "rows.parquet").stat().st_ino
    )
    assert manifest.content_hash == written.content_hash
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot_module, "_hash_of", None)  # nothing is hashed again
        assert copy.damage() is None
    assert [path.name for path in (tmp_path / "copy").joinpath("_tmp").iterdir()] == ["locks"]


def test_a_copy_on_a_read_only_disk_is_whole_too(
    store: Store, folder: Folder, made: ManifestInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write({"rows": TABLE}, made)
    os.utime(Path(folder.address) / "rows.parquet", ns=(0, 0))

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    assert folder.damage() is None


def test_damaged_raw_rows_are_not_lightly_deleted(store: Store, made: ManifestInput) -> None:
    folder = store.folder("sim", "raw", "daily_bars", "month=2023-07")
    folder.write({"rows": TABLE}, made)
    truncate(Path(folder.address) / "rows.parquet")

    with pytest.raises(StorageError, match=r"restore .* from a backup; or delete .* then lost"):
        folder.read()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a manifest"),
        (b'{"schema_version": 1', "not a manifest"),
        (b'{"schema_version": 1}', "not a manifest: table: Field required"),
    ],
)
def test_a_damaged_manifest_is_named_with_the_way_out(
    folder: Folder, made: ManifestInput, content: bytes, words: str
) -> None:
    folder.write({"rows": TABLE}, made)
    (Path(folder.address) / "manifest.json").write_bytes(content)

    for read in (folder.read, folder.manifest, folder.exists):
        with pytest.raises(StorageError, match=rf"manifest.json: {words}.*delete .* and run again"):
            read()


@pytest.mark.parametrize("version", [0, 3, -1])
def test_a_manifest_with_keys_of_another_version_is_called_one(
    folder: Folder, made: ManifestInput, version: int
) -> None:
    folder.write({"rows": TABLE}, made)
    path = Path(folder.address) / "manifest.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "schema_version": version, "later": {"key": 1}}))

    words = rf"schema_version = {version}, this version reads 2: use the version that wrote it"
    with pytest.raises(StorageError, match=words):
        folder.read()


def test_a_manifest_of_another_version_is_refused(folder: Folder, made: ManifestInput) -> None:
    folder.write({"rows": TABLE}, made)
    path = Path(folder.address) / "manifest.json"
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 3'))

    with pytest.raises(StorageError, match="schema_version = 3, this version reads 2"):
        folder.read()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "No space left on device.*free some space .* is untouched"),
        (errno.EDQUOT, "Disk quota.*free some space"),
        (errno.EACCES, "Permission denied.*give this user the right to write there"),
        (errno.EROFS, "Read-only file system.*choose another --storage"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_disk_that_refuses_is_named_and_what_was_there_stays(
    store: Store,
    folder: Folder,
    made: ManifestInput,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    words: str,
) -> None:
    folder.write({"rows": TABLE}, made)

    def refuse(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(StorageError, match=f"{folder.address}: cannot write: (?i:{words})"):
            folder.write({"rows": TABLE[:1]}, made)

    assert folder.read().height == 2
    assert [path.name for path in Path(store.address, "_tmp").iterdir()] == ["locks"]
    folder.write({"rows": TABLE[:1]}, made)
    assert folder.read().height == 1


def test_a_root_that_cannot_be_written_is_named(
    folder: Folder, made: ManifestInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)

    with pytest.raises(StorageError, match=r"write: Permission denied \(.*_tmp/locks\); give"):
        folder.write({"rows": TABLE}, made)


def test_a_folder_that_may_not_be_read_is_named(
    folder: Folder, made: ManifestInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write({"rows": TABLE}, made)

    def refuse(*args: object, **kwargs: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", folder.address)

    monkeypatch.setattr(os, "open", refuse)

    with pytest.raises(StorageError, match=r"read: Permission denied .* right to read there"):
        folder.read()


def test_a_root_that_is_a_file_is_named(tmp_path: Path, made: ManifestInput) -> None:
    (tmp_path / "storage").write_text("")
    folder = Store(str(tmp_path / "storage")).folder("sim", "panel")

    assert folder.manifest() is None
    with pytest.raises(StorageError, match=r"cannot write: (Not a directory|File exists)"):
        folder.write({"rows": TABLE}, made)


@pytest.mark.parametrize("name", ["rows.parquet", "manifest.json"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_named_without_waiting_and_can_be_made_again(
    folder: Folder, made: ManifestInput, name: str, make: Callable[[Path], None]
) -> None:
    folder.write({"rows": TABLE}, made)
    (Path(folder.address) / name).unlink()
    make(Path(folder.address) / name)

    words = f"{folder.address}/{name} is a folder, a pipe or a device.*; delete .* and run again"
    assert re.search(words, folder.damage() or "")
    with pytest.raises(StorageError, match=words):
        folder.read()
    folder.write({"rows": TABLE[:1]}, made)
    assert folder.read().height == 1
