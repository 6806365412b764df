"""Killed at any instant, a writer loses nothing finished and shows nothing half-written."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from alpha_assets.errors import MissingOutput
from alpha_assets.store import Folder, ManifestInput, Store
from alpha_assets.store import atomic_replace as replace_module
from alpha_assets.store.atomic_replace import exchange, stage
from alpha_assets.store.owner import Owner

FILES = {"a.bin", "sub/b.bin"}
both_ways = pytest.mark.parametrize("one_step", [True, False], ids=["exchange", "two renames"])


def two_renames(one: Path, other: Path) -> bool:
    """Stand in for a file system that cannot exchange two names."""
    return False


def write_version(folder: Folder, version: int) -> None:
    """Write a folder whose every file says the same version; no frame, so that a fork can."""
    manifest = ManifestInput(digest="d", extra={"version": version})
    folder.write({}, manifest, {name: str(version).encode() for name in FILES})


def version_read(folder: Folder) -> int | None:
    """Return the version that every file of the folder agrees on; None where it is not made."""
    try:
        manifest, contents = folder.manifest(), folder.contents()
    except MissingOutput:
        return None
    assert manifest is not None
    assert set(contents) == FILES
    versions = {int(content) for content in contents.values()} | {manifest.extra["version"]}
    assert len(versions) == 1
    return versions.pop()


def write_and_die(folder: Folder, version: int, step: int) -> bool:
    """Write in a process that is killed at its step-th call to the system; whether it was."""
    child = os.fork()
    if not child:
        left = [step]

        def strike(event: str, args: tuple[object, ...]) -> None:
            if event.startswith(("open", "os.", "shutil.", "fcntl.", "ctypes.")):
                left[0] -= 1
                if left[0] == -1:
                    os.kill(os.getpid(), signal.SIGKILL)
                    signal.pause()  # with several threads a kill is not there at once

        sys.addaudithook(strike)
        try:
            write_version(folder, version)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize(
    ("before", "one_step"),
    [(None, True), (1, True), (1, False)],
    ids=["first write", "exchange", "two renames"],
)
def test_a_kill_at_any_step_leaves_the_old_or_the_new(
    store: Store, monkeypatch: pytest.MonkeyPatch, before: int | None, one_step: bool
) -> None:
    if not one_step:
        monkeypatch.setattr(replace_module, "exchange", two_renames)
    seen: list[int | None] = []
    for step in range(1000):
        # A store each: clearing away after the one before would move the steps of the next.
        folder = Store(f"{store.url}/{step}").folder("sim", "panel")
        if before is not None:
            write_version(folder, before)
        if not write_and_die(folder, 2, step):
            break
        seen.append(version_read(folder))

    assert set(seen) == {before, 2}
    assert seen == [before] * seen.count(before) + [2] * seen.count(2)
    assert len(seen) > 20

    # The next writer clears away what the dead ones left, and their locks are no obstacle.
    for step in range(len(seen)):
        of_step = Store(f"{store.url}/{step}")
        write_version(of_step.folder("sim", "panel"), 3)
        assert version_read(of_step.folder("sim", "panel")) == 3
        assert [path.name for path in Path(of_step.address, "_tmp").iterdir()] == ["locks"]
        assert list((Path(of_step.address, "_tmp") / "locks").glob("*.lock")) == []


def test_a_move_left_half_way_is_finished_by_a_reader_of_anything(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store.folder("sim", "panel", "month=2023-07")
    write_version(folder, 1)
    monkeypatch.setattr(replace_module, "exchange", two_renames)
    for step in range(1000):
        assert write_and_die(folder, 2, step)
        if not Path(folder.address).exists():
            break

    assert version_read(folder) == 2


def test_an_interrupted_process_puts_the_folder_into_its_place(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store.folder("sim", "panel")
    write_version(folder, 1)

    def interrupted(one: Path, other: Path) -> bool:
        other.rename(one.parent / "old")
        raise KeyboardInterrupt

    monkeypatch.setattr(replace_module, "exchange", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_version(folder, 2)

    assert version_read(folder) == 2
    assert [path.name for path in Path(store.address, "_tmp").iterdir()] == ["locks"]


@both_ways
def test_what_the_user_deleted_does_not_come_back(
    store: Store, monkeypatch: pytest.MonkeyPatch, one_step: bool
) -> None:
    if not one_step:
        monkeypatch.setattr(replace_module, "exchange", two_renames)
    for step in range(20, 1000):
        of_step = Store(f"{store.url}/{step}")
        folder = of_step.folder("sim", "panel")
        write_version(folder, 1)
        assert write_and_die(folder, 2, step)
        if version_read(folder) == 2 and any(Path(of_step.address, "_tmp").glob("*,*")):
            break
    shutil.rmtree(folder.address)

    assert version_read(folder) is None


def test_entries_of_the_living_and_of_others_are_left_alone(store: Store) -> None:
    mine = stage(Path(store.address), "sim/features")
    other = Path(store.address, "_tmp") / f"0123,{Owner('elsewhere', 1, 'boot.1')},abcd"
    other.mkdir()
    resume = Path(store.address, "_tmp") / "resume"
    resume.mkdir()

    write_version(store.folder("sim", "panel"), 1)

    assert mine.new.exists()
    assert other.exists()
    assert resume.exists()


def test_a_move_of_another_host_is_finished_once_its_lock_is_gone(store: Store) -> None:
    folder = store.folder("sim", "panel")
    write_version(folder, 2)
    entry = Path(store.address, "_tmp") / f"0123,{Owner('elsewhere', 1, 'boot.1')},abcd"
    entry.mkdir()
    (entry / "target").write_text("sim/panel")
    Path(folder.address).rename(entry / "new")  # two renames, cut between them
    (entry / "old").mkdir()

    assert version_read(folder) == 2
    assert not entry.exists()


def test_two_folders_exchange_their_names_in_one_step(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        path.mkdir()
        (path / path.name).write_text("")

    if not exchange(one, other):
        pytest.skip("this file system cannot exchange two names")
    assert (one / "other").exists()
    assert (other / "one").exists()
    with pytest.raises(FileNotFoundError):
        exchange(one, tmp_path / "nowhere")


WRITER = """
import sys
import polars as pl
from alpha_assets.store import ManifestInput, Store, atomic_replace
if sys.argv[2] == "False":
    atomic_replace.exchange = lambda one, other: False
folder = Store(sys.argv[1]).folder("sim", "panel")
for version in range(1, int(sys.argv[3]) + 1):
    frames = {name: pl.DataFrame({"x": [version] * 100}) for name in ("rows", "more")}
    folder.write(frames, ManifestInput(digest="d", extra={"version": version}))
    print(version, flush=True)
"""


def start_writer(store: Store, one_step: bool, versions: int) -> "subprocess.Popen[str]":
    source = str(Path(replace_module.__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, store.url, str(one_step), str(versions)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": source, "POLARS_MAX_THREADS": "1"},
    )


@both_ways
def test_readers_see_whole_versions_while_a_writer_replaces_them(
    store: Store, one_step: bool
) -> None:
    folder = store.folder("sim", "panel")
    seen: list[int] = []
    with start_writer(store, one_step, versions=60) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        while writer.poll() is None:
            manifest, file = folder.opened("more")
            with file:
                values = set(pl.read_parquet(file)["x"].to_list())
            assert values == {manifest.extra["version"]}
            seen.append(values.pop())
            assert set(folder.scan().collect()["x"].to_list()) <= set(range(seen[-1], 61))
    assert writer.returncode == 0
    assert seen == sorted(seen)
    assert len(set(seen)) > 3
    assert folder.read()["x"].to_list() == [60] * 100


@both_ways
def test_a_killed_writer_loses_no_version_that_it_had_finished(
    store: Store, one_step: bool
) -> None:
    with start_writer(store, one_step, versions=100_000) as writer:
        assert writer.stdout is not None
        for _ in range(5):
            writer.stdout.readline()
        writer.kill()
        finished = 5 + len(writer.stdout.read().split())

    version = folder_version(store.folder("sim", "panel"))
    assert finished <= version <= finished + 1


def folder_version(folder: Folder) -> int:
    rows, more = folder.read()["x"].to_list(), folder.read("more")["x"].to_list()
    assert rows == more
    return int(rows[0])
