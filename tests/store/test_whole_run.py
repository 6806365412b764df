"""A whole run through a backend that has no files: what it makes is what a folder would hold."""

from pathlib import Path

import pytest
from tests.store.memory import MemoryBackend

import alpha_assets as aa
from alpha_assets.store import Store
from alpha_assets.store.backend import Backend, Listing
from alpha_assets.store.folder_backend import FolderBackend
from alpha_assets.store.manifest import MANIFEST, parse_manifest
from alpha_assets.store.store import BACKENDS

PIPELINES = Path(__file__).parents[1] / "pipelines"
MONTHS = {"first_month": "2021-07", "last_month": "2021-07"}


def hashes(backend: Backend, name: str = "tiny") -> dict[str, str]:
    """Return the content hash of every output below a name."""
    listed = backend.list(name)
    found = {}
    if MANIFEST in listed.files:
        text = backend.get(f"{name}/{MANIFEST}")
        assert text is not None
        found[name] = parse_manifest(text, name).content_hash
    for inner in listed.folders:
        found |= hashes(backend, f"{name}/{inner}")
    return found


def page(url: str) -> str:
    """Return the tear sheet of a run, without the name of its storage."""
    (content,) = Store(url).folder("tiny", "tiny", "report").contents().values()
    return content.decode().replace(url, "STORAGE")


@pytest.fixture(params=["memory", "s3"])
def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty storage that has no files."""
    if request.param == "s3":
        request.getfixturevalue("s3")
        return "s3://bucket/whole"
    memory = MemoryBackend("memory://whole")
    monkeypatch.setitem(BACKENDS, "memory", lambda url: memory)
    return memory.url


@pytest.mark.slow
def test_a_run_without_files_has_the_content_of_a_run_in_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))
    monkeypatch.chdir(tmp_path)
    memory = Store(url).backend

    def stop(stage: str, what: str) -> None:
        if "epoch 1" in what:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        aa.run("tiny", storage=url, progress=stop, **MONTHS)
    assert memory.list("_tmp/resume/tiny/tiny/2021-07").files == {"seed=0.safetensors"}
    epochs: list[str] = []
    aa.run("tiny", storage=url, progress=lambda stage, what: epochs.append(what), **MONTHS)
    assert list(tmp_path.iterdir()) == []
    assert not any("epoch 1 of" in what for what in epochs)  # it went on with the second
    assert any("epoch 2 of" in what for what in epochs)
    assert memory.list("_tmp/resume") == Listing()

    folder = str(tmp_path / "storage")
    aa.run("tiny", storage=folder, **MONTHS)
    backend = FolderBackend(Path(folder))
    ours, theirs = hashes(memory), hashes(backend)
    assert len(ours) > 100
    report = "tiny/tiny/report"  # it names the command that made it, and so the storage
    assert {**ours, report: ""} == {**theirs, report: ""}
    assert page(url) == page(folder)
    assert aa.status("tiny", storage=url) == aa.status("tiny", storage=folder)
    query = "select count(*) n from tiny_positions"
    assert aa.sql(query, market="tiny", storage=url) == aa.sql(query, market="tiny", storage=folder)
