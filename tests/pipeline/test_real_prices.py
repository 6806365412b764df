"""A small slice of real prices, from a folder to a tear sheet."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import alpha_assets as aa

PIPELINES = Path(__file__).parents[1] / "pipelines"
FIRST, LAST = date(2011, 8, 1), date(2012, 3, 30)
MONTHS = ("2012-02", "2012-03")
N_SYMBOLS = 40


def sliced(full: Path, folder: Path) -> pl.DataFrame:
    """Write a slice of a folder of real prices; return its membership spells.

    Symbols that joined or left in the slice come first, then those that stayed.
    """
    folder.mkdir()
    spells = pl.read_parquet(full / "membership.parquet").filter(
        pl.col("start") <= LAST, pl.col("end").is_null() | (pl.col("end") > FIRST)
    )
    moved = pl.col("start").is_between(FIRST, LAST) | pl.col("end").is_between(FIRST, LAST)
    order = spells.with_columns(moved.fill_null(False).alias("moved")).sort(
        ["moved", "symbol"], descending=[True, False]
    )
    symbols = order["symbol"].unique(maintain_order=True).head(N_SYMBOLS).implode()
    spells = spells.filter(pl.col("symbol").is_in(symbols))
    spells.write_parquet(folder / "membership.parquet")
    pl.scan_parquet(full / "daily_bars.parquet").filter(
        pl.col("symbol").is_in(symbols), pl.col("date").is_between(FIRST, LAST)
    ).sink_parquet(folder / "daily_bars.parquet")
    pl.read_parquet(full / "listings.parquet").filter(
        # What was known by the end of the slice: nobody has left yet who left later.
        pl.col("symbol").is_in(symbols)
    ).with_columns(
        pl.when(pl.col("end") <= LAST)
        .then(pl.col("exit"))
        .otherwise(pl.lit("active_at_cut"))
        .alias("exit")
    ).write_parquet(folder / "listings.parquet")
    return spells


@pytest.fixture(scope="module")
def walked(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path, pl.DataFrame]:
    """The figures of a run over two months of 2012, its storage, its membership."""
    root = tmp_path_factory.mktemp("real")
    spells = sliced(shared_data / "us_sp500", root / "slice")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(PIPELINES))
        figures = aa.run(
            "tiny_us",
            data=root / "slice",
            storage=str(root / "storage"),
            first_month=MONTHS[0],
            last_month=MONTHS[1],
            device="cpu",
        )
    return figures, root / "storage" / "tiny_us", spells


def test_a_slice_of_real_prices_ends_in_a_tear_sheet(
    walked: tuple[dict[str, Any], Path, pl.DataFrame],
) -> None:
    figures, storage, _ = walked
    assert "SIMULATED" not in figures["title"]
    assert Path(figures["report"]).read_text().startswith("<!doctype html>")
    books = storage / "tiny_us" / "backtest"
    daily = pl.read_parquet(books / "daily.parquet")
    assert daily["session"].dt.strftime("%Y-%m").unique().sort().to_list() == list(MONTHS)
    moved = daily["equity"] / daily["equity"].shift(1) - 1
    assert (moved - daily["net_return"]).abs().max() < 1e-9
    assert daily["turnover"].sum() > 0
    assert pl.read_parquet(books / "positions.parquet").height > 0
    metrics = json.loads((books / "metrics.json").read_text())
    assert metrics == figures["metrics"]
    assert metrics["portfolio"]["net"]["sharpe_se"] > 0


def test_the_universe_lies_within_the_membership(
    walked: tuple[dict[str, Any], Path, pl.DataFrame],
) -> None:
    _, storage, spells = walked
    scores = pl.read_parquet(storage / "tiny_us" / "predictions" / "*" / "rows.parquet")
    held = scores.select("session", "symbol").unique()
    inside = held.join(spells, on="symbol").filter(
        pl.col("start") <= pl.col("session"),
        pl.col("end").is_null() | (pl.col("session") < pl.col("end")),
    )
    assert inside.select("session", "symbol").n_unique() == held.height
    # Some who joined or left are there on some sessions only.
    counts = held.group_by("symbol").len()["len"]
    assert counts.min() < counts.max() == held["session"].n_unique()
    assert held["symbol"].n_unique() > N_SYMBOLS // 2


def test_a_small_model_on_real_prices_knows_next_to_nothing(
    walked: tuple[dict[str, Any], Path, pl.DataFrame],
) -> None:
    figures, _, _ = walked
    for horizon in (2, 5):
        rank_ic = figures["metrics"]["signal"][f"h{horizon}"]["rank_ic"]
        assert rank_ic["n_sessions"] >= 30
        assert abs(rank_ic["mean"]) < 0.2  # above, look for a leak
