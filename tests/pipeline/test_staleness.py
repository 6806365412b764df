"""What was lost, damaged or changed behind the pipeline's back is seen, named, and made again."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from subprocess import PIPE
from typing import Any

import polars as pl
import pytest
from tests.conftest import edited
from tests.pipeline.damage import flipped, replace, truncated

import alpha_assets as aa
from alpha_assets import project
from alpha_assets.errors import StaleOutput, StorageError
from alpha_assets.pipeline import checkpoint, identity, runner
from alpha_assets.pipeline.report import COVERAGE
from alpha_assets.pipeline.seen import Seen
from alpha_assets.project import open_context
from alpha_assets.store import ManifestInput
from alpha_assets.store.manifest import MANIFEST
from alpha_assets.store.raw import DATED

pytestmark = pytest.mark.usefixtures("pipelines")
MONTHS = {"first_month": "2021-07", "last_month": "2021-08"}
LAST = "month=2021-08"
PAGE = "tiny/report/tear_sheet.html"
MARKET = ("panel", "features", "cross_section/traded")
RECIPE = tuple(f"tiny/{s}" for s in ("checkpoint", "predictions", "targets", "backtest", "report"))
COVERED = (*RECIPE[:4], "tiny/coverage", "tiny/report")  # where features changed as well


def other(path: Path) -> None:
    """Put a whole table of another month in the place of one."""
    month = next(p for p in sorted(path.parents[1].iterdir()) if p != path.parent)
    replace(path, (month / path.name).read_bytes())


def swap_names(path: Path) -> None:
    """Let two features of a card change places."""
    card = json.loads(path.read_text())
    card["features"][0], card["features"][1] = card["features"][1], card["features"][0]
    replace(path, json.dumps(card, indent=1, sort_keys=True).encode())


def to_do(storage: Path, **how: Any) -> dict[str, str]:
    """Return why each stage is to be made again, of those that are."""
    rows = aa.status("tiny", storage=str(storage), **how)
    return {row["stage"]: row["why"] for row in rows if row["to do"]}


@pytest.mark.parametrize(
    ("damage", "name", "follow"),
    [
        (Path.unlink, f"panel/{LAST}/rows.parquet", (*MARKET, *COVERED[1:])),
        (truncated, f"features/{LAST}/price.parquet", (*MARKET[1:], *COVERED[1:])),
        (other, f"cross_section/traded/{LAST}/volatility.parquet", (MARKET[2], *RECIPE[1:])),
        (Path.unlink, f"cross_section/traded/{LAST}/members.parquet", (MARKET[2], *RECIPE[1:])),
        (flipped, "cross_section/traded/month=2021-03/manifest.json", (MARKET[2], *RECIPE)),
        (shutil.rmtree, "tiny/checkpoint/2021-08", RECIPE),
        (swap_names, "tiny/checkpoint/2021-07/card.json", RECIPE),
        (flipped, "tiny/checkpoint/2021-07/seed=0/model.safetensors", RECIPE),
        (shutil.rmtree, f"tiny/predictions/{LAST}", RECIPE[1:]),
        (Path.unlink, f"tiny/predictions/{LAST}/manifest.json", RECIPE[1:]),
        (shutil.rmtree, "tiny/targets/month=2021-07", RECIPE[2:]),
        (truncated, "tiny/backtest/metrics.json", RECIPE[3:]),
        (flipped, "tiny/backtest/daily.parquet", RECIPE[3:]),
        (lambda path: replace(path, b"<!doctype html>"), PAGE, RECIPE[4:]),
    ],
)
def test_status_lists_what_is_damaged_with_all_that_follows(
    storage: Path, damage: Callable[[Path], None], name: str, follow: tuple[str, ...]
) -> None:
    damage(storage / "tiny" / name)  # of what a copy shows to be whole, below

    assert tuple(to_do(storage)) == follow


def test_a_run_makes_it_again_with_the_same_content(storage: Path, built: Path) -> None:
    tiny = storage / "tiny"
    shutil.rmtree(tiny / "panel" / LAST)
    flipped(tiny / "features" / LAST / "price.parquet")
    flipped(tiny / "cross_section" / "traded" / "month=2021-03" / MANIFEST)
    swap_names(tiny / "tiny" / "checkpoint" / "2021-08" / "card.json")
    other(tiny / "tiny" / "predictions" / LAST / "rows.parquet")
    shutil.rmtree(tiny / "tiny" / "targets" / "month=2021-07")
    truncated(tiny / "tiny" / "backtest" / "metrics.json")
    replace(storage / "tiny" / PAGE, b"")

    made: list[tuple[str, str]] = []
    aa.run(
        "tiny", storage=str(storage), progress=lambda stage, what: made.append((stage, what)),
        **MONTHS,
    )  # fmt: skip

    assert to_do(storage) == {}
    # The page names the storage that it was made in.
    for path in sorted(set(built.rglob(MANIFEST)) - set(built.rglob(f"report/{MANIFEST}"))):
        was, again = (json.loads(p.read_text()) for p in (path, storage / path.relative_to(built)))
        if was["families"]:  # with a lost manifest, those that the recipe does not read are lost
            assert again["families"], path
            assert {f: held["content_hash"] for f, held in again["families"].items()} == {
                f: was["families"][f]["content_hash"] for f in again["families"]
            }, path
            continue
        assert again["content_hash"] == was["content_hash"], path
    # What comes out the same leaves what follows fresh.
    months = {(stage, what[:7]) for stage, what in made if stage in ("predictions", "checkpoint")}
    assert months == {("checkpoint", "2021-08"), ("predictions", "2021-08")}


def test_a_flip_behind_an_unchanged_stat_is_seen_by_verify_and_by_readers(storage: Path) -> None:
    path = storage / "tiny" / "tiny" / "predictions" / LAST / "rows.parquet"
    replace(path, path.read_bytes())
    assert to_do(storage) == {}  # hashed, found whole, and remembered
    content, stat = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert to_do(storage) == {}
    assert "rows.parquet has other bytes" in to_do(storage, verify=True)["tiny/predictions"]
    with pytest.raises(StorageError, match=r"predictions/month=2021-08/rows.parquet has other"):
        aa.sql("select count(*) from tiny_predictions", market="tiny", storage=str(storage))


@pytest.mark.parametrize("damage", [swap_names, Path.unlink, truncated])
def test_a_changed_card_is_refused_by_what_reads_it(
    storage: Path, damage: Callable[[Path], None]
) -> None:
    damage(storage / "tiny" / "tiny" / "checkpoint" / "2021-08" / "card.json")

    with pytest.raises(StorageError, match=r"checkpoint/2021-08/card.json .*and run again"):
        aa.predict("tiny", storage=str(storage), asof="2021-08-17")


@pytest.mark.parametrize("damage", [truncated, flipped, Path.unlink])
def test_damaged_raw_rows_are_named_and_not_built_upon(
    storage: Path, damage: Callable[[Path], None]
) -> None:
    damage(storage / "tiny" / "raw" / "daily_bars" / "month=2021-05" / "rows.parquet")

    listed = to_do(storage)
    assert "month=2021-05/rows.parquet" in listed["raw/daily_bars"]
    assert tuple(listed) == ("raw/daily_bars", *MARKET, *COVERED)
    with pytest.raises(StorageError, match=r"daily_bars/month=2021-05.*restore .* from a backup"):
        aa.run("tiny", storage=str(storage), **MONTHS)


def test_raw_rows_without_their_manifest_are_not_written_over(storage: Path) -> None:
    month = storage / "tiny" / "raw" / "statements" / "month=2021-05"
    (month / MANIFEST).unlink()

    with pytest.raises(StorageError, match=r"month=2021-05/manifest.json is gone; restore"):
        aa.run("tiny", storage=str(storage), **MONTHS)
    assert (month / "rows.parquet").exists()


def test_raw_months_that_are_gone_are_listed_and_fetched_again(storage: Path, built: Path) -> None:
    name = Path("tiny", "raw", "daily_bars", "month=2021-05", MANIFEST)
    shutil.rmtree((storage / name).parent)
    assert "2021-05: its stored rows are gone" in to_do(storage)["raw/daily_bars"]

    aa.run("tiny", storage=str(storage), **MONTHS)

    before, after = (json.loads((root / name).read_text()) for root in (built, storage))
    assert after["content_hash"] == before["content_hash"]
    assert to_do(storage) == {}


def test_raw_rows_that_other_code_stored_are_named_and_stay(
    storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_bars() -> dict[str, Any]:
        (row,) = (
            row
            for row in aa.status("tiny", storage=str(storage))
            if row["stage"] == "raw/daily_bars"
        )
        return {"to do": row["to do"], "why": row["why"]}

    assert of_bars() == {"to do": None, "why": ""}
    monkeypatch.setattr(identity, "raw", lambda market: "of today")
    words = "rows of 8 of 8 months were stored by code that has changed since (first: 2021-01)"
    assert of_bars() == {"to do": None, "why": f"{words}; they stay"}
    assert to_do(storage) == {}

    # A month that grows under new code still holds rows of the other.
    aa.run("tiny", storage=str(storage), **MONTHS)
    bars = open_context("tiny", storage=str(storage)).raw["daily_bars"]
    kept = bars.table.folder("2021-05").manifest()
    assert kept is not None
    assert kept.code not in ("", "of today")
    row = bars.read(first="2021-05", last="2021-05").head(1).collect()
    more = row.with_columns(pl.lit("99990").alias("symbol"))
    bars.append(more, ManifestInput(digest=kept.digest, code="of today", extra=kept.extra))
    grown = bars.table.folder("2021-05").manifest()
    assert grown is not None
    assert (grown.code, grown.rows) == (kept.code, kept.rows + 1)


def test_a_copy_is_not_damaged(built: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(built, tmp_path / "copy", copy_function=shutil.copyfile))
    assert to_do(copy) == {}


def test_strays_stop_nothing(storage: Path) -> None:
    for folder in [path for path in storage.rglob("*") if path.is_dir()]:
        (folder / ".DS_Store").write_bytes(b"\0")
        (folder / "Thumbs.db").write_bytes(b"\0")
        (folder / "desktop copy").mkdir()
    (storage / ".DS_Store").write_bytes(b"\0")

    assert to_do(storage) == {}
    aa.run("tiny", storage=str(storage), **MONTHS)
    query = "select count(*) n from raw_daily_bars"
    assert aa.sql(query, market="tiny", storage=str(storage))[0]["n"] > 0


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system refuse every write, as a read-only mount does."""
    opened = Path.open

    def refuse(path: Path, *args: object, **kwargs: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    def reading(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> object:
        return opened(path, mode, *args, **kwargs) if "r" in mode else refuse(path)

    for name in ("mkdir", "rename", "replace", "unlink", "write_bytes", "write_text"):
        monkeypatch.setattr(Path, name, refuse)
    monkeypatch.setattr(Path, "open", reading)


def test_a_run_on_a_read_only_storage_reads_what_is_fresh(built: Path, read_only: None) -> None:
    assert to_do(built) == {}
    assert aa.run("tiny", storage=str(built), **MONTHS)["figures"]


def test_a_run_on_a_read_only_storage_names_what_it_cannot_write(
    storage: Path, request: pytest.FixtureRequest
) -> None:
    shutil.rmtree(storage / "tiny" / "tiny" / "targets" / LAST)
    request.getfixturevalue("read_only")

    with pytest.raises(StorageError, match=r"cannot write: Read-only file system.*--storage"):
        aa.run("tiny", storage=str(storage), **MONTHS)


def test_an_equal_run_takes_over_the_model_that_another_finished_meanwhile(
    storage: Path, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Path("tiny", "tiny", "checkpoint", "2021-08")
    shutil.rmtree(storage / model)

    @contextmanager
    def another_trains_first(*args: object) -> Iterator[None]:
        shutil.copytree(built / model, storage / model, copy_function=os.link)
        yield

    monkeypatch.setattr(checkpoint, "model_alone", another_trains_first)
    monkeypatch.setattr(
        "alpha_assets.training.month.train_month", None
    )  # it would be called to train
    aa.run("tiny", storage=str(storage), **MONTHS)

    assert to_do(storage) == {}


WRITER = """
import sys
from alpha_assets.store.store import Store
with Store(sys.argv[1]).folder("tiny", "tiny", "checkpoint", "2021-08").lock():
    print("holds", flush=True)
    input()
"""


class Reported(BaseException):
    """Ends a run at a line of its progress."""


def test_an_equal_run_reports_which_process_it_waits_for(storage: Path) -> None:
    shutil.rmtree(storage / "tiny" / "tiny" / "checkpoint" / "2021-08")

    def progress(stage: str, line: str) -> None:
        if line.startswith("waits"):
            raise Reported(stage, line)

    writer = [sys.executable, "-W", "ignore", "-c", WRITER, str(storage)]
    with subprocess.Popen(writer, stdin=PIPE, stdout=PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "holds\n"
        with pytest.raises(Reported) as waiting:
            aa.run("tiny", storage=str(storage), progress=progress, **MONTHS)
        other.kill()
    stage, line = waiting.value.args
    assert stage == "checkpoint"
    assert f"waits for tiny/tiny/checkpoint/2021-08, which process {other.pid} on " in line


def test_a_warm_start_refuses_a_parent_of_another_digest(
    storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm = ("[training]", "[training]\nwarm_start = true")
    monkeypatch.setenv("ALPHA_PIPELINES", edited(tmp_path / "pipelines", "tiny", *warm))
    with pytest.raises(
        StaleOutput,
        match=r"checkpoint/2021-07 was made by digest .*alpha-assets run --recipe tiny .*"
        r"--first-month 2021-07 .*the warm start of 2021-08",
    ):
        aa.run(
            "tiny",
            storage=str(storage),
            first_month="2021-08",
            last_month="2021-08",
        )


def test_an_expanding_window_refuses_leading_months_that_are_not_stored(
    storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for month in ("2021-01", "2021-02", "2021-03"):
        shutil.rmtree(storage / "tiny" / "cross_section" / "traded" / f"month={month}")
    expanding = ("[split]", "[split]\nexpanding = true")
    monkeypatch.setenv("ALPHA_PIPELINES", edited(tmp_path / "pipelines", "tiny", *expanding))
    listed = to_do(storage)

    assert "lacks 3 leading months, 2021-01 to 2021-03" in listed["tiny/checkpoint"]
    assert (
        "an expanding window starts at the market's first usable session"
        in (listed["tiny/checkpoint"])
    )


def test_status_is_clean_after_a_run_of_fewer_months_than_there_are(storage: Path) -> None:
    for name in ("panel", "features", "cross_section/traded", "tiny/predictions", "tiny/targets"):
        shutil.rmtree(storage / "tiny" / name / LAST)
    shutil.rmtree(storage / "tiny" / "tiny" / "checkpoint" / "2021-08")
    aa.run("tiny", storage=str(storage), first_month="2021-07", last_month="2021-07")

    assert to_do(storage) == {}
    why = {row["stage"]: row["why"] for row in aa.status("tiny", storage=str(storage))}
    assert why["panel"] == "2021-08: bars are stored, not asked for so far"
    # What is made of later months for another recipe is not on this one's page.
    context = project.open_context("tiny", storage=str(storage))
    runner.make_market_stages(context, ["2021-08"])
    assert to_do(storage) == {}
    page = json.loads(context.coverage.contents(COVERAGE)[COVERAGE])
    assert max(family["last"] or "" for family in page["families"]) == "2021-07-30"


def corrected(storage: Path, day: str, published: str) -> None:
    """Store a correction of a bar of a day that comes out on another."""
    table = open_context("tiny", storage=str(storage)).raw["daily_bars"]
    bar = table.read().filter(pl.col("event_date") == date.fromisoformat(day)).head(1).collect()
    at = datetime.fromisoformat(f"{published}T07:30").replace(tzinfo=UTC)
    row = bar.with_columns(
        pl.lit(at).cast(bar.schema["available_at"]).alias("available_at"),
        pl.lit(9, dtype=pl.Int16).alias("revision"),
        pl.col("volume") + 1.0,
    )
    stored = table.table.folder("2021-06").manifest()
    assert stored is not None
    assert table.append(row, ManifestInput(digest=stored.digest)).rows == 1


def test_a_model_hangs_by_the_bars_that_its_labels_read(storage: Path) -> None:
    # The model of 2021-08 is trained from 2021-03-26 on; its last label ends on 2021-07-30.
    def bars() -> str:
        context = open_context("tiny", storage=str(storage))
        inputs = checkpoint.checkpoint_stage(context.recipe).inputs(context, ["2021-08"], Seen())
        return inputs["raw/daily_bars"]

    before = bars()
    corrected(storage, "2021-02-10", published="2021-06-15")
    assert bars() == before
    corrected(storage, "2021-07-12", published="2021-08-16")  # after the first decision of 2021-08
    assert bars() == before
    corrected(storage, "2021-03-26", published="2021-06-15")
    read = bars()
    assert read != before
    corrected(storage, "2021-07-30", published="2021-07-31")
    assert bars() != read


def test_raw_rows_rewritten_with_equal_content_leave_every_stage_fresh(storage: Path) -> None:
    # As a version wrote them that kept no hashes by date.
    for table in open_context("tiny", storage=str(storage)).raw.values():
        for month in table.months():
            folder = table.table.folder(month)
            manifest, rows = folder.manifest(), folder.read()
            assert manifest is not None
            extra = {name: it for name, it in manifest.extra.items() if name != DATED}
            made = ManifestInput(digest=manifest.digest, extra=extra)
            written = table.table.write(month, rows.reverse(), made)
            assert written.content_hash == manifest.content_hash
            assert written.created_at != manifest.created_at
    assert to_do(storage) == {}
