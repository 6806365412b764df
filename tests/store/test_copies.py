"""A storage is copied whole: verified, resumable, never half-visible, and over nothing else."""

import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from tests.store.memory import MemoryBackend
from tests.store.proxies import Cutter, target_of
from tests.store.unreliable import Unreliable

import alpha_assets as aa
from alpha_assets.cli import main
from alpha_assets.errors import BadInput, LockHeld, MissingOutput, StorageError
from alpha_assets.store import Folder, ManifestInput, Store, object_lock
from alpha_assets.store import objects as objects_module
from alpha_assets.store.copies import Copied, copy_storage
from alpha_assets.store.object_backend import ObjectBackend
from alpha_assets.store.objects import Objects
from alpha_assets.store.store import BACKENDS

KINDS = ["folder", "memory", "objects"]
RECORD = "variant.json"
NewStore = Callable[[str, str], Store]
NAMES = (
    "sim/base/backtest", "sim/alter@1/backtest", "sim/features/month=2024-01",
    "sim/panel/month=2024-01", "sim/panel/month=2024-02", "us/panel/month=2024-01",
)  # fmt: skip
N_BYTES = sum(len(name) for name in NAMES[2:]) + 1002


@pytest.fixture
def unreliable() -> dict[str, Unreliable]:
    """The stores in memory that were opened as `objects://…`, by URL."""
    return {}


@pytest.fixture
def new_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unreliable: dict[str, Unreliable]
) -> NewStore:
    """Make an empty store of a kind, by name."""
    opened: dict[str, MemoryBackend] = {}

    def open_objects(url: str) -> ObjectBackend:
        store = unreliable.setdefault(url, Unreliable())
        return ObjectBackend(Objects(url, store))  # type: ignore[arg-type]

    monkeypatch.setitem(BACKENDS, "memory", lambda u: opened.setdefault(u, MemoryBackend(u)))
    monkeypatch.setitem(BACKENDS, "objects", open_objects)
    for name in ("_probed", "_held", "_observed"):
        monkeypatch.setattr(object_lock, name, set() if name == "_probed" else {})

    def new(kind: str, name: str) -> Store:
        return (
            Store(str(tmp_path / name))
            if kind == "folder"
            else Store(f"{kind}://{tmp_path.name}/{name}")
        )

    return new


def folder_of(store: Store, name: str) -> Folder:
    return store.folder(*name.split("/"))


def fill(store: Store) -> Store:
    """Write a storage of two markets, a family, a reference and a record; no frame is in it."""
    for name in NAMES:
        made = ManifestInput(digest="d", inputs={"bars": "1"}, code="c")
        if name == "sim/alter@1/backtest":
            folder_of(store, name).share(folder_of(store, "sim/base/backtest"), made)
        elif name == "sim/base/backtest":
            files = {"a.json": b"{}", "seed=0/b.bin": b"\0" * 1000}
            folder_of(store, name).write({}, made, files)
        else:
            folder_of(store, name).write({}, made, {"rows.txt": name.encode()})
    store.put_record(b"settings", "sim", "alter@1", RECORD)
    store.put_record(b"mine", "sim", "notes.txt")
    store.scratch("resume", "sim").document("seed=0.bin").write(b"state")
    store.put_record(b"dagster", "_dagster", "dagster.yaml")
    return store


def copied(source: Store, target: Store, **options: object) -> Copied:
    lines: list[str] = []
    done = copy_storage(
        source,
        target,
        records=(RECORD,),
        report=lambda stage, what: lines.append(what),
        **options,  # type: ignore[arg-type]
    )
    assert "outputs" in lines[0]
    return done


def shown(store: Store) -> dict[str, dict[str, bytes] | None]:
    """Return what a reader finds under each name; None where there is nothing."""
    found: dict[str, dict[str, bytes] | None] = {}
    for name in NAMES:
        folder = folder_of(store, name)
        found[name] = folder.contents() if folder.exists() else None
    return found


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("target", KINDS)
def test_a_copy_holds_the_outputs_and_records_and_nothing_else(
    new_store: NewStore, source: str, target: str
) -> None:
    ours, theirs = fill(new_store(source, "from")), new_store(target, "to")

    done = copied(ours, theirs)

    assert done == Copied(outputs=6, there=0, files=6, bytes=N_BYTES, records=1)
    assert shown(theirs) == shown(ours)
    assert theirs.record("sim", "alter@1", RECORD) == b"settings"
    assert theirs.record("sim", "notes.txt") is None
    assert theirs.scratch("resume", "sim").document("seed=0.bin").read() is None
    assert theirs.backend.list("_dagster").files == frozenset()
    reference = folder_of(theirs, "sim/alter@1/backtest").reference()
    assert reference is not None
    assert reference.shares == "sim/base/backtest"
    for name in NAMES:
        before, after = folder_of(ours, name).manifest(), folder_of(theirs, name).manifest()
        assert before is not None
        assert after is not None
        assert (after.content_hash, after.created_at) == (before.content_hash, before.created_at)
        assert folder_of(theirs, name).damage() is None
    assert copied(ours, theirs) == Copied(there=6)


def test_rows_are_copied_with_their_bytes(new_store: NewStore, made: ManifestInput) -> None:
    ours, theirs = new_store("folder", "from"), new_store("objects", "to")
    frame = pl.DataFrame({"x": [1.0, 2.0]})
    table = ours.folder("sim", "features", "month=2024-01")
    table.write_families({"price": frame, "trend": frame}, {"price": made, "trend": made}, ["x"])

    copied(ours, theirs)

    again = theirs.folder("sim", "features", "month=2024-01")
    assert again.of("trend").read().equals(frame)
    assert again.backend.get(f"{again.name}/price.parquet") == ours.backend.get(
        f"{again.name}/price.parquet"
    )


def test_the_manifest_of_a_copy_names_the_stat_of_its_files(new_store: NewStore) -> None:
    ours, theirs = fill(new_store("objects", "from")), new_store("folder", "to")
    copied(ours, theirs)
    manifest = folder_of(theirs, NAMES[0]).manifest()
    assert manifest is not None
    stat = Path(theirs.address, NAMES[0], "a.json").stat()
    assert manifest.files["a.json"].inode == stat.st_ino
    assert manifest.files["a.json"].mtime_ns == stat.st_mtime_ns


def test_of_one_market_nothing_else_is_copied(new_store: NewStore) -> None:
    ours, theirs = fill(new_store("folder", "from")), new_store("objects", "to")
    assert copied(ours, theirs, market="us").outputs == 1
    assert theirs.backend.list().folders - {"_tmp"} == {"us"}
    with pytest.raises(MissingOutput, match=r"holds no market 'mars': it has sim, us"):
        copied(ours, theirs, market="mars")


@pytest.mark.parametrize("target", ["folder", "objects"])
def test_a_flipped_bit_is_refused_by_name_and_is_not_copied(
    new_store: NewStore, target: str
) -> None:
    ours, theirs = fill(new_store("folder", "from")), new_store(target, "to")
    rotten = Path(ours.address, "sim/panel/month=2024-01/rows.txt")
    stat, content = rotten.stat(), rotten.read_bytes()
    rotten.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    os.utime(rotten, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # its size, time and inode stay

    with pytest.raises(StorageError, match=r"from/sim/panel/month=2024-01/rows.txt has other byte"):
        copied(ours, theirs)

    whole = shown(theirs)  # what was copied before is whole
    assert whole["sim/panel/month=2024-01"] is None
    assert whole["sim/features/month=2024-01"] is not None


def test_a_folder_that_lost_its_manifest_is_refused_by_name(
    new_store: NewStore, made: ManifestInput
) -> None:
    ours = fill(new_store("folder", "from"))
    lost = ours.folder("sim", "panel", "month=2024-03")
    lost.write({"rows": pl.DataFrame({"x": [1]})}, made)
    Path(lost.address, "manifest.json").unlink()
    with pytest.raises(StorageError, match=r"month=2024-03/manifest.json is gone; delete "):
        copied(ours, new_store("memory", "to"))


@pytest.mark.parametrize("target", KINDS)
def test_other_content_is_refused_by_name_before_anything_is_copied_and_replaced_when_asked(
    new_store: NewStore, target: str
) -> None:
    ours, theirs = fill(new_store("folder", "from")), new_store(target, "to")
    other = ManifestInput(digest="d", inputs={"bars": "2"}, code="c")
    folder_of(theirs, NAMES[3]).write({}, other, {"rows.txt": b"mine"})

    with pytest.raises(BadInput, match=rf"to/{NAMES[3]} holds other content than FROM; nothing"):
        copied(ours, theirs)
    found = shown(theirs)
    assert found.pop(NAMES[3]) == {"rows.txt": b"mine"}
    assert set(found.values()) == {None}

    theirs.put_record(b"other settings", "sim", "alter@1", RECORD)
    with pytest.raises(BadInput, match=r"holds other content than FROM \(2 such names\)"):
        copied(ours, theirs)
    done = copied(ours, theirs, replace=True)
    assert (done.outputs, done.records) == (6, 1)
    assert shown(theirs) == shown(ours)


def test_what_was_made_again_with_equal_content_is_there(new_store: NewStore) -> None:
    ours, theirs = fill(new_store("folder", "from")), fill(new_store("objects", "to"))
    assert copied(ours, theirs) == Copied(there=6)


def test_a_manifest_of_the_target_that_cannot_be_read_is_named_and_replaced_when_asked(
    new_store: NewStore,
) -> None:
    ours, theirs = fill(new_store("objects", "from")), fill(new_store("folder", "to"))
    Path(theirs.address, NAMES[2], "manifest.json").write_text("{}")
    with pytest.raises(StorageError, match=rf"to/{NAMES[2]}/manifest.json: not a manifest"):
        copied(ours, theirs)
    assert copied(ours, theirs, replace=True) == Copied(1, 5, 1, len(NAMES[2]))


def test_a_file_of_the_target_that_was_damaged_is_copied_again(new_store: NewStore) -> None:
    ours, theirs = fill(new_store("memory", "from")), fill(new_store("folder", "to"))
    file = Path(theirs.address, NAMES[2], "rows.txt")
    file.write_bytes(b"?" * len(NAMES[2]))
    assert copied(ours, theirs).outputs == 1
    assert shown(theirs) == shown(ours)

    stat = file.stat()
    file.write_bytes(b"?" * len(NAMES[2]))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # nothing but its bytes shows it
    assert copied(ours, theirs).outputs == 0
    assert copied(ours, Store(theirs.url, verify=True)).outputs == 1
    assert shown(theirs) == shown(ours)


@pytest.mark.parametrize("kind", KINDS)
def test_storages_that_are_one_or_lie_in_each_other_are_refused(
    new_store: NewStore, kind: str, tmp_path: Path
) -> None:
    ours = fill(new_store(kind, "from"))
    with pytest.raises(BadInput, match="FROM and TO are one storage"):
        copied(ours, ours)
    inner = Store(f"{ours.url}/inner")
    for one, other in ((ours, inner), (inner, ours)):
        with pytest.raises(BadInput, match=r"inner lies in .*from: a storage is not copied into"):
            copied(one, other)
    assert copied(ours, new_store(kind, "from-another")).outputs == 6  # a longer name beside it
    if kind == "folder":
        (tmp_path / "link").symlink_to(ours.address)
        for url in (tmp_path / "link", tmp_path / "link" / "below", f"file://{ours.address}"):
            with pytest.raises(BadInput, match=r"one storage|lies in"):
                copied(ours, Store(str(url)))


def test_what_does_not_exist_or_is_empty_is_named(new_store: NewStore, tmp_path: Path) -> None:
    for kind in KINDS:
        with pytest.raises(MissingOutput, match=r"from holds no finished output; name the stora"):
            copied(new_store(kind, "from"), new_store(kind, "to"))
        assert new_store(kind, "to").backend.list().folders == frozenset()
    done = CliRunner().invoke(main, ["copy", str(tmp_path / "no such"), str(tmp_path / "to")])
    assert done.exit_code == 2
    assert f"{tmp_path}/no such holds no finished output" in done.output


def test_an_output_that_another_process_writes_is_named(
    new_store: NewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = fill(new_store("folder", "from")), new_store("memory", "to")

    def held(name: str, wait_seconds: float) -> object:
        raise LockHeld(f"{name} is being written by another")

    monkeypatch.setattr(theirs.backend, "lock", held)
    with pytest.raises(LockHeld, match="sim/base/backtest is being written by another"):
        copied(ours, theirs)


def test_an_output_that_is_replaced_while_it_is_copied_is_one_of_its_versions(
    new_store: NewStore, unreliable: dict[str, Unreliable]
) -> None:
    ours, theirs = fill(new_store("objects", "from")), new_store("folder", "to")
    two = {"a.json": b"[]", "seed=0/b.bin": b"2"}
    replaced: list[str] = []

    def replace_once(verb: str, key: str) -> None:
        if verb == "get" and "base/backtest/_objects/" in key and len(replaced) == 0:
            replaced.append(key)
            made = ManifestInput(digest="e", inputs={"bars": "1"}, code="c")
            folder_of(ours, NAMES[0]).write({}, made, two)

    unreliable[ours.url].before = replace_once
    copied(ours, theirs)
    assert folder_of(theirs, NAMES[0]).contents() == two


def test_a_copy_that_is_killed_at_any_step_goes_on_and_shows_nothing_half_copied(
    new_store: NewStore,
) -> None:
    ours = fill(new_store("folder", "from"))
    wanted, left = shown(ours), []
    for step in range(0, 10_000, 7):
        theirs = new_store("folder", f"to-{step}")
        if not copy_and_die(ours, theirs, step):
            break
        for name, files in shown(theirs).items():
            assert files in (None, wanted[name])
        done = copied(ours, theirs)
        left.append(done.outputs)
        assert done.there == len(NAMES) - done.outputs
        assert shown(theirs) == wanted
        assert theirs.record("sim", "alter@1", RECORD) == b"settings"
    assert set(left) == set(range(len(NAMES) + 1))
    assert left == sorted(left, reverse=True)


def copy_and_die(source: Store, target: Store, step: int) -> bool:
    """Copy in a process that is killed at its step-th call to the system; whether it was."""
    child = os.fork()
    if not child:
        left = [step]

        def strike(event: str, args: tuple[object, ...]) -> None:
            if event.startswith(("open", "os.", "shutil.", "fcntl.", "ctypes.")):
                left[0] -= 1
                if left[0] == -1:
                    os.kill(os.getpid(), signal.SIGKILL)
                    signal.pause()

        sys.addaudithook(strike)
        try:
            copied(source, target)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("takes_effect", [False, True])
def test_a_copy_that_is_cut_off_at_any_request_goes_on_and_shows_nothing_half_copied(
    new_store: NewStore, unreliable: dict[str, Unreliable], takes_effect: bool
) -> None:
    ours = fill(new_store("folder", "from"))
    wanted, left = shown(ours), []
    for n in range(1, 1000):
        theirs = new_store("objects", f"to-{n}")
        store = unreliable.setdefault(theirs.url, Unreliable(n, takes_effect=takes_effect))
        try:
            copied(ours, theirs)
        except StorageError:
            pass
        else:
            if store.count < n:
                break
            continue  # the answer is that there is none, cut or not
        store.at = None
        for name, files in shown(theirs).items():
            assert files in (None, wanted[name])
        done = copied(ours, theirs)
        left.append(done.outputs)
        assert shown(theirs) == wanted
    assert set(left) == set(range(len(NAMES) + 1))
    assert left == sorted(left, reverse=True)


@pytest.mark.slow
def test_a_copy_to_and_from_an_s3_server_goes_on_when_its_connections_are_cut(
    new_store: NewStore, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    retries = {"max_retries": 0, "retry_timeout": timedelta(seconds=20)}
    monkeypatch.setattr(objects_module, "_RETRIES", retries)
    ours = fill(new_store("folder", "from"))
    wanted, cutter, cut_off = shown(ours), Cutter(target_of(s3), 7, share=0.04, n_bytes=5_000), 0
    with cutter.serve() as endpoint:
        for source, name in ((ours, "there"), (None, "back")):
            for _ in range(100):
                monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
                url = "s3://bucket/copied"  # opened anew, through the proxy
                theirs = Store(url) if source else new_store("folder", name)
                try:
                    copied(source or Store(url), theirs)
                    break
                except StorageError:
                    cut_off += 1
                finally:
                    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
                for name_of, files in shown(Store(url) if source else theirs).items():
                    assert files in (None, wanted[name_of])
            assert shown(Store(url) if source else theirs) == wanted
    assert cut_off > 2


def test_the_command_prints_counts_and_the_package_has_the_verb(
    new_store: NewStore, tmp_path: Path
) -> None:
    ours = fill(new_store("folder", "from"))
    done = CliRunner().invoke(main, ["copy", ours.address, str(tmp_path / "to")])
    assert done.exit_code == 0, done.output
    head, values = (line.split() for line in done.stdout.splitlines()[::2])
    assert dict(zip(head[2:], values[2:], strict=True)) == {
        "outputs": "6", "there": "0", "files": "6", "bytes": str(N_BYTES), "records": "1",
    }  # fmt: skip
    assert "copy  6 outputs, 0.0 MB; TO has 0 of them" in done.stderr

    again = aa.copy(ours.url, str(tmp_path / "to"), verify=True)
    assert again == {
        "from": ours.address, "to": str(tmp_path / "to"),
        "outputs": 0, "there": 6, "files": 0, "bytes": 0, "records": 0,
    }  # fmt: skip
    refused = CliRunner().invoke(main, ["copy", ours.address, f"{ours.address}/below"])
    assert refused.exit_code == 2
    assert "Traceback" not in refused.output
