"""What every test may rely on: one thread, no disk to wait for, the real data, `tiny` built."""

import atexit
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import alpha_assets as aa
from alpha_assets import project
from alpha_assets.pipeline import runner
from alpha_assets.pipeline.context import MarketContext
from alpha_assets.pipeline.frontier import months_of_data
from alpha_assets.pipeline.stages import make

torch.set_num_threads(1)
# The command line asks for a worker a core, seconds of start-up: tests that mean it say so.
os.environ["ALPHA_WORKERS"] = "1"

# A cache of digests of code that parallel workers and subprocesses share: a suite reads
# nothing that an earlier one left.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="alpha-assets-tests-")
    atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

TESTS = Path(__file__).parent
SHARED = TESTS.resolve().parents[1] / "shared"
PIPELINES = TESTS / "pipelines"
# Rooms whose files take longest: a worker that begins one of them last would end alone.
LONG = ("pipeline", "audit", "defs", "", "sources")  # "": beside the rooms


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files of rooms that take longest first, the others in the order of their names."""

    def place(item: pytest.Item) -> int:
        *rooms, _ = item.path.relative_to(TESTS).parts
        room = rooms[0] if rooms else ""
        return LONG.index(room) if room in LONG else len(LONG)

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def _nothing_waits_for_the_disk() -> Iterator[None]:
    """Leave out what only a loss of power shows: on a slow disk it is most of the time of a test.

    A closed or foreign descriptor is refused as before.  That `fsync` is called, on what and when,
    is tested in `store/test_folder.py`.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: os.fstat(handle) and None)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real market data beside the checkout."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("real market data is not beside this checkout (../shared/data)")
    return folder


@pytest.fixture(autouse=True)
def _no_test_leaves_the_folder_that_it_began_in() -> Iterator[None]:
    """Refuse a test that does: processes that a later one starts would not find the tests."""
    began = Path.cwd()
    yield
    ended = Path.cwd()
    os.chdir(began)
    assert ended == began, "a test left the working folder; let monkeypatch.chdir change it"


def linked(
    storage: Path, folder: Path, *, market: str = "tiny", only: tuple[str, ...] = ()
) -> Path:
    """Return `folder` as a copy of a storage, or of some stages of a market's, by hard links.

    The store replaces files and changes none in place; a test that damages one unlinks it first.
    """
    for part in [Path(market, stage) for stage in only] or [Path()]:
        shutil.copytree(storage / part, folder / part, copy_function=os.link, dirs_exist_ok=True)
    return folder


def edited(folder: Path, recipe: str, before: str, after: str) -> str:
    """Return a folder of the tests' pipelines in which one recipe's file was changed."""
    shutil.copytree(PIPELINES, folder)
    file = folder / "recipes" / f"{recipe}.toml"
    text = file.read_text()
    assert before in text, f"{file.name} has no {before!r}"
    file.write_text(text.replace(before, after))
    return str(folder)


def built_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object]) -> Path:
    """Return a folder that the first of the parallel workers to need it builds for all."""
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, finished = base / f"shared_{name}", base / f"shared_{name}.built"
    with (base / f"shared_{name}.lock").open("a") as lock, pytest.MonkeyPatch.context() as patch:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of one that failed
            folder.mkdir()
            patch.setenv("ALPHA_PIPELINES", str(PIPELINES))
            build(folder)
            finished.touch()
    return folder


@pytest.fixture(scope="session")
def tiny_market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage with the raw rows and every stage of the market `tiny`; read it, or copy it.

    With all families of features, those that recipes do not read too.
    """

    def build(folder: Path) -> None:
        context = project.open_context("tiny", storage=str(folder))
        context = runner.ingest_all(context)
        market = MarketContext(context.market, context.store)
        for name in ("panel", "features", f"cross_section/{context.recipe.spec.universe.name}"):
            make(market, name, months_of_data(context))

    return built_once(tmp_path_factory, "tiny_market", build)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, tiny_market: Path) -> Path:
    """The same in which the recipe `tiny` decided two months; read it, or copy it."""

    def build(folder: Path) -> None:
        linked(tiny_market, folder)
        aa.run("tiny", storage=str(folder), first_month="2021-07", last_month="2021-08")

    return built_once(tmp_path_factory, "tiny_run", build)
