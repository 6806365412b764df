"""A vendor restates the past for a split between two deliveries: returns stay whole."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from tests.feeds.conftest import Write, bars

from alpha_assets.calendar import Calendar
from alpha_assets.feeds import DAILY_BARS
from alpha_assets.feeds.files import FilesSource, FilesSourceSpec
from alpha_assets.feeds.ingest import Ingested, ingest
from alpha_assets.store.raw import RawTable
from alpha_assets.store.store import Store

NOW = datetime(2020, 3, 2, 12, tzinfo=UTC)
PRICES = ("open", "high", "low", "close", "adj_close")


class Daily:
    """A folder that a vendor overwrites, and the store that follows it."""

    def __init__(self, write: Write, root: Path, calendar: Calendar) -> None:
        self.write, self.calendar, self.now = write, calendar, NOW
        self.table = RawTable(Store(str(root)), "us", DAILY_BARS, calendar.zone)

    def deliver(self, table: pl.DataFrame, **spec: str) -> Ingested:
        folder = self.write(daily_bars=table)
        source = FilesSource(
            FilesSourceSpec.model_validate({"path": str(folder), **spec}), self.calendar
        )
        self.now += timedelta(days=1)
        return ingest(self.table, DAILY_BARS, source, self.calendar, now=self.now)

    def returns(self, symbol: str = "A") -> list[float]:
        """Return the adjusted returns that a reader of bars as first effective sees."""
        first = self.table.first_effective().filter(pl.col("symbol") == symbol).collect()
        first = first.filter(pl.col("close").is_not_null())
        close, factor = first["close"], first["adjustment_factor"]
        return (close / close.shift(1) / factor)[1:].to_list()

    def factors(self) -> list[float]:
        return self.table.first_effective().collect()["adjustment_factor"].to_list()


@pytest.fixture
def daily(write: Write, tmp_path: Path, new_york: Calendar) -> Daily:
    return Daily(write, tmp_path / "storage", new_york)


def split(table: pl.DataFrame, into: float, rows: int) -> pl.DataFrame:
    """Return bars with the first `rows` restated for a split of one share into `into`."""
    early = pl.int_range(pl.len()) < rows
    return table.with_columns(
        *[
            pl.when(early).then(pl.col(n) / into).otherwise(pl.col(n))
            for n in PRICES
            if n in table.columns
        ],
        pl.when(early).then(pl.col("volume") * into).otherwise(pl.col("volume")),
    )


TRADED = [100.0, 102.0, 52.0, 53.0, 26.0]  # 1 to 2 before the third, 1 to 2 before the fifth


def history(n: int, dividends: bool = False) -> pl.DataFrame:
    """Return the first n bars as a vendor tells them once they have traded."""
    table = bars({"A": TRADED[:n]})
    share = [0.98, 0.98, 0.99, 1.0, 1.0] if dividends else [1.0] * 5
    table = table.with_columns(adj_close=pl.col("close") * pl.Series(share[:n]))
    for first in (2, 4):
        table = split(table, 2.0, first) if n > first else table
    return table


def test_a_split_between_two_deliveries_is_no_loss(daily: Daily) -> None:
    daily.deliver(history(2))
    done = daily.deliver(history(3))

    assert (done.new, done.revised) == (1, 2)
    # 102 became 51 before it became 52: up by 1 / 51, not down by a half.
    assert daily.returns() == pytest.approx([102 / 100, 52 / 51], rel=1e-12)
    assert daily.factors() == [1.0, 1.0, 0.5]


def test_daily_deliveries_tell_the_returns_of_the_last_one(daily: Daily) -> None:
    for n in range(1, 6):
        daily.deliver(history(n, dividends=True))
    adjusted = history(5, dividends=True)["adj_close"]
    # What was said of a dividend then is what is said of it now.
    assert daily.returns() == pytest.approx((adjusted / adjusted.shift(1))[1:].to_list(), rel=1e-12)


def test_the_same_delivery_again_changes_no_factor(daily: Daily, write: Write) -> None:
    for n in (2, 3, 4):
        daily.deliver(history(n))
    # Other bytes, the same rows: the note of the last delivery does not cover it.
    done = daily.deliver(history(4).reverse())
    assert (done.new, done.revised, done.unchanged) == (0, 0, 4)


def test_a_later_split_moves_no_stored_factor(daily: Daily) -> None:
    for n in (2, 4, 5):
        daily.deliver(history(n))
    rows = daily.table.read().collect()
    by_bar = rows.group_by("event_date").agg(pl.col("adjustment_factor").n_unique())
    assert by_bar["adjustment_factor"].to_list() == [1] * 5
    assert daily.factors() == [1.0, 1.0, 0.5, 1.0, 0.5]


def test_a_corrected_close_is_on_its_old_level(daily: Daily) -> None:
    table = bars({"A": [100.0, 102.0, 103.0]}).with_columns(adj_close=pl.col("close"))
    daily.deliver(table.head(2).with_columns(close=pl.Series([100.0, 101.5])))
    daily.deliver(table)
    # One price of the bar moved: the close that was known, 101.5, is what was traded from.
    assert daily.factors()[2] == 1.0
    assert daily.returns()[1] == pytest.approx(103.0 / 101.5, rel=1e-12)


def test_the_level_is_carried_over_a_session_without_trade(daily: Daily) -> None:
    table = bars({"A": [100.0, 102.0, None, 52.0]}).with_columns(adj_close=pl.col("close"))
    daily.deliver(table.head(3))
    daily.deliver(split(table, 2.0, 2))
    assert daily.factors() == [1.0, 1.0, 1.0, 0.5]
    assert daily.returns() == pytest.approx([1.02, 52 / 51], rel=1e-12)


def test_a_split_of_one_symbol_is_none_of_another(daily: Daily) -> None:
    other = bars({"B": [10.0, 11.0, 12.0]}).with_columns(adj_close=pl.col("close"))
    daily.deliver(pl.concat([history(2), other.head(2)]))
    daily.deliver(pl.concat([history(3), other]))
    assert daily.returns("A") == pytest.approx([1.02, 52 / 51], rel=1e-12)
    assert daily.returns("B") == pytest.approx([1.1, 12 / 11], rel=1e-12)


def test_prices_rounded_by_the_vendor_make_no_factor_of_stored_bars(daily: Daily) -> None:
    daily.deliver(history(2))
    # Cents: the two ratios are 0.5 and 0.4975, which is rounding and no event.
    rounded = history(3).with_columns(
        pl.when(pl.int_range(pl.len()) == 1).then(pl.col(n) * 0.995).otherwise(pl.col(n)).alias(n)
        for n in PRICES
    )
    daily.deliver(rounded)
    rows = daily.table.latest().collect()
    assert rows["adjustment_factor"].to_list()[:2] == [1.0, 1.0]
    # The bar that is new is told from the close that was first known, whatever the rounding.
    assert daily.returns()[1] == pytest.approx(52 / (51 * 0.995), rel=1e-12)


def test_prices_as_traded_are_never_put_on_another_level(daily: Daily) -> None:
    daily.deliver(history(2), price_level="raw")
    daily.deliver(history(3), price_level="raw")
    assert daily.factors() == [1.0, 1.0, 1.0]


def test_a_bar_whose_prices_were_each_corrected_is_on_its_old_level(daily: Daily) -> None:
    table = bars({"A": [100.0, 102.0, 103.0]}).with_columns(adj_close=pl.col("close"))
    wrong = {"open": 100.5, "high": 101.0, "low": 98.0, "close": 98.5}
    daily.deliver(
        table.head(2).with_columns(
            pl.when(pl.int_range(pl.len()) == 1).then(value).otherwise(pl.col(name)).alias(name)
            for name, value in wrong.items()
        )
    )
    daily.deliver(table)
    assert daily.factors()[2] == 1.0
