"""Storage is named by a URL."""

from pathlib import Path

import pytest

from alpha_assets.errors import SpecError
from alpha_assets.store import Store, storage_root
from alpha_assets.store.location import check_root


def test_a_path_and_a_file_url_name_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    there = tmp_path / "my storage"

    assert storage_root("my storage") == there
    assert storage_root(str(there)) == there
    assert storage_root(f"file://{tmp_path}/my%20storage") == there
    assert storage_root(f"file://localhost{there}") == there


def test_naming_a_store_makes_nothing(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "storage"))
    folder = store.folder("sim", "panel", "month=2023-07")

    assert folder.manifest() is None
    assert not folder.exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["ftp://bucket/x", "memory://x", "https://a/b"])
def test_other_storage_is_refused_by_name_with_the_way_out(url: str) -> None:
    scheme = url.partition(":")[0]
    with pytest.raises(SpecError, match=f"'{scheme}' storage is not supported, only a"):
        Store(url).backend  # noqa: B018


@pytest.mark.parametrize("url", ["file://server/share", "file://storage", "file:storage"])
def test_a_file_url_of_elsewhere_is_refused(url: str) -> None:
    with pytest.raises(SpecError, match="want three slashes"):
        storage_root(url)


def test_no_storage_is_refused() -> None:
    with pytest.raises(SpecError, match="want a folder, such as 'storage'"):
        storage_root(" ")


@pytest.mark.parametrize("below", ["", "/storage", "/storage/deep"])
def test_a_storage_at_or_below_a_file_is_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(SpecError, match=r"notes\.txt is no folder; want one, or a path where one"):
        check_root(f"{tmp_path}/notes.txt{below}")
    with pytest.raises(SpecError, match=r"notes\.txt is no folder"):
        Store(f"file://{tmp_path}/notes.txt{below}").checked()
    check_root(str(tmp_path / "storage" / "deep"))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("part", ["..", ".", "", "a/b", ".hidden", "-x", "a b", "a\0"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, part: str) -> None:
    with pytest.raises(SpecError, match="cannot name an output folder"):
        Store(str(tmp_path)).folder("sim", part)


def test_the_corner_of_unfinished_outputs_is_not_an_output(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="_tmp is where unfinished outputs lie"):
        Store(str(tmp_path)).folder("_tmp", "locks")
    with pytest.raises(SpecError, match="needs a name"):
        Store(str(tmp_path)).folder()


def test_scratch_is_written_whole_and_removed(tmp_path: Path) -> None:
    scratch = Store(str(tmp_path)).scratch("resume", "sim")
    state = scratch.document("seed=0.bin")
    assert state.read() is None

    state.write(b"1")
    state.write(b"22")
    assert state.read() == b"22"
    assert [path.name for path in (tmp_path / "_tmp/resume/sim").iterdir()] == ["seed=0.bin"]

    scratch.remove()
    scratch.remove()
    assert state.read() is None
    for parts in ((), ("..",), ("a/b",)):
        with pytest.raises(SpecError):
            Store(str(tmp_path)).scratch(*parts)


@pytest.mark.parametrize(
    "url", ["https://key:secret@host/x", "file://key:secret@host/x", "ftp://key:secret@host"]
)
def test_what_stands_before_a_host_is_in_no_message(url: str) -> None:
    with pytest.raises(SpecError) as raised:
        storage_root(url)
    assert "secret" not in str(raised.value)
    assert "://...@host" in str(raised.value)
