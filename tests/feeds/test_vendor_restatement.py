"""A vendor restates the past for a split between two deliveries: returns stay whole."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from tests.sources.conftest import SESSIONS, Write, bars

from alpha_assets.calendar import Calendar
from alpha_assets.feeds import DAILY_BARS
from alpha_assets.feeds.ingest import Ingested, ingest
from alpha_assets.feeds.vendor_restatement import steps_of
from alpha_assets.sources.files.source import FilesSource
from alpha_assets.sources.files.spec import FilesSourceSpec
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
    # One split, one level: 102 became 51, and a bar that was rounded otherwise is on it too.
    assert rows["level"].to_list() == [0.5, 0.5, None]
    assert daily.returns()[1] == pytest.approx(52 / 51, rel=1e-12)


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


# By how much a past was restated, by hand.


def both(
    old: list[float], new: list[float], volume: tuple[float, float] = (100.0, 100.0)
) -> pl.DataFrame:
    """Return K bars as stored (` last`) and as delivered; a bar's four prices lie 1 % apart."""
    spread = {"open": 1.0, "high": 1.01, "low": 0.99, "close": 1.005}
    days = pl.date_range(pl.date(2020, 1, 2), pl.date(2021, 1, 2), eager=True)[: len(old)]
    return pl.DataFrame(
        {
            "event_date": days,
            **{name: [p * k for p in new] for name, k in spread.items()},
            **{f"{name} last": [p * k for p in old] for name, k in spread.items()},
            "volume": volume[1],
            "volume last": volume[0],
        }
    )


def steps(bars: pl.DataFrame) -> list[float]:
    found = steps_of(bars, DAILY_BARS.tolerance)
    assert found.step_K is not None, found.why
    return found.step_K.tolist()


def cents(bars: pl.DataFrame) -> pl.DataFrame:
    return bars.with_columns(pl.col("^(open|high|low|close).*$").round(2))


PATH = [20.0 + 3 * (n % 5) + n / 7 for n in range(30)]


@pytest.mark.parametrize("ratio", [0.5, 0.1, 10.0, 1 / 3, 1.5, 0.05, 1 / 1.05])
def test_a_whole_past_moves_by_one_ratio_whether_or_not_prices_are_rounded(ratio: float) -> None:
    bars = both(PATH, [p * ratio for p in PATH], (1e6, 1e6 / ratio))
    assert steps(bars) == [pytest.approx(ratio, rel=1e-12)] * 30
    assert steps(cents(bars)) == [pytest.approx(ratio, rel=1e-12)] * 30
    # A penny share: rounding of up to a third of the price; its volumes say which.
    penny = cents(bars.with_columns(pl.col("^(open|high|low|close).*$") / 50))
    if penny["low"].min() > 0:  # type: ignore[operator]
        assert steps(penny) == [pytest.approx(ratio, rel=1e-12)] * 30


def test_a_snapshot_is_on_the_level_of_its_symbol() -> None:
    bars = both(PATH, [p / 2 for p in PATH], (100.0, 200.0))
    last = pl.int_range(pl.len()) == 29
    other = pl.when(last).then(pl.col("close last") * 0.98).otherwise(pl.col("close last"))
    assert steps(bars.with_columns(other.alias("close last"))) == [0.5] * 30
    # All that was stored of a symbol is the snapshot: its open says by how much.
    assert steps(bars.with_columns(other.alias("close last")).tail(1)) == [0.5]
    shifted = [
        pl.when(last).then(pl.col(f"{p} last") * k).otherwise(pl.col(f"{p} last"))
        for p, k in {"open": 1.01, "high": 1.03, "low": 0.97, "close": 0.99}.items()
    ]
    assert steps(bars.with_columns(shifted)) == [0.5] * 30


def test_a_correction_beside_a_split_is_a_correction() -> None:
    new = [p / 2 for p in PATH]
    assert steps(both(PATH, [*new[:12], new[12] * 1.03, *new[13:]])) == [0.5] * 30
    assert steps(both(PATH, [*new[:12], new[12] * 100, *new[13:]])) == [0.5] * 30


def test_a_last_bar_that_alone_moved_was_corrected() -> None:
    assert steps(both(PATH, [*PATH[:29], PATH[29] * 2])) == [1.0] * 30


def test_a_split_that_the_vendor_forgot_restates_what_is_older_than_its_day() -> None:
    assert steps(both(PATH, [*[p / 2 for p in PATH[:28]], *PATH[28:]])) == [0.5] * 28 + [1.0] * 2


def test_older_bars_may_lie_two_splits_behind() -> None:
    new = [p / 4 if n < 10 else p / 2 for n, p in enumerate(PATH)]
    assert steps(both(PATH, new)) == [0.25] * 10 + [0.5] * 20


@pytest.mark.parametrize(
    ("bars", "why"),
    [
        (
            cents(both([0.05, 0.06, 0.05], [0.02, 0.03, 0.03])),
            "restated by a ratio between 0.35.* and 0.70.*, and prices rounded so coarsely do not",
        ),
        (
            both(PATH[:20], [p / (1 if n < 10 else 2) for n, p in enumerate(PATH[:20])]),
            "bars from 2020-01-12 on were restated by 0.5 and earlier ones were not",
        ),
        (
            both([20.0], [11.0]).with_columns(close=9.0, high=12.0, low=8.5),
            "no two of its prices moved by one ratio",
        ),
    ],
)
def test_what_cannot_be_read_is_never_a_level_of_one(bars: pl.DataFrame, why: str) -> None:
    found = steps_of(bars, DAILY_BARS.tolerance)
    assert found.step_K is None
    assert re.search(why, found.why), found.why


# Through the store.


def test_a_split_after_a_snapshot_is_no_loss(daily: Daily) -> None:
    known = history(2)
    last = pl.int_range(pl.len()) == 1
    snapshot = known.with_columns(
        pl.when(last).then(pl.col(n) * 0.98).otherwise(pl.col(n)).alias(n)
        for n in ("close", "adj_close", "low")
    )
    daily.deliver(snapshot)
    daily.deliver(history(3))
    assert daily.factors() == [1.0, 1.0, 0.5]
    # What was known of 102 was 99.96: the return is the true one, from there.
    assert daily.returns()[1] == pytest.approx(52 / (99.96 / 2), rel=1e-12)
    levels = daily.table.latest().collect()["level"].to_list()
    assert levels == [0.5, 0.5, None]


def test_a_symbol_whose_level_cannot_be_read_is_stopped_and_others_go_on(daily: Daily) -> None:
    other = bars({"B": [10.0, 11.0, 12.0]}).with_columns(adj_close=pl.col("close"))
    daily.deliver(pl.concat([history(1), other.head(1)]))
    odd = pl.col("symbol") == "A"
    wrong = {"open": 61.0, "high": 90.0, "low": 40.0, "close": 55.0}
    delivery = pl.concat([history(2), other.head(2)]).with_columns(
        pl.when(odd & (pl.col("date") == SESSIONS[0])).then(v).otherwise(pl.col(n)).alias(n)
        for n, v in wrong.items()
    )
    done = daily.deliver(delivery)
    assert (done.new, done.revised) == (1, 0)  # B's second bar
    assert re.search("1 symbols was stopped.* A: no two of its prices", done.notes[0])
    assert daily.table.read().collect()["symbol"].to_list() == ["A", "B", "B"]
    # A later delivery that says what happened brings them, and the split with them.
    done = daily.deliver(pl.concat([history(3), other]))
    assert done.notes == ()
    assert daily.returns("A") == pytest.approx([1.02, 52 / 51], rel=1e-12)


def test_prices_without_an_adjusted_close_may_be_split_adjusted(daily: Daily) -> None:
    daily.deliver(history(2).drop("adj_close"), price_level="split_adjusted")
    daily.deliver(history(3).drop("adj_close"), price_level="split_adjusted")
    assert daily.factors() == [1.0, 1.0, 0.5]


@pytest.mark.parametrize("begins", [1, 2, 3])
def test_a_window_of_bars_takes_no_split_back(begins: int, daily: Daily) -> None:
    # The third bar is the split's: a window that begins there does not hold the bar before it.
    declared = {"price_level": "split_adjusted"}
    table = bars({"A": [100.0, 102.0, 52.0, 53.0, 54.0]})
    daily.deliver(table[:2], **declared)
    daily.deliver(split(table[:4], 2.0, 2), **declared)
    done = daily.deliver(split(table, 2.0, 2)[begins:], **declared)
    assert (done.new, done.revised) == (1, 0)
    assert daily.factors() == [1.0, 1.0, 0.5, 1.0, 1.0]


def test_a_split_whose_new_bars_come_alone_is_no_loss(daily: Daily) -> None:
    declared = {"price_level": "split_adjusted"}
    table = split(bars({"A": [100.0, 102.0, 52.0, 53.0]}), 2.0, 2)
    daily.deliver(bars({"A": [100.0, 102.0]}), **declared)
    daily.deliver(table[:2], **declared)  # 50, 51: restated, nothing new
    daily.deliver(table[2:], **declared)
    assert daily.returns() == pytest.approx([102 / 100, 52 / 51, 53 / 52], rel=1e-12)


def test_a_split_and_a_dividend_between_two_deliveries_are_one_factor(daily: Daily) -> None:
    daily.deliver(history(2))
    early = pl.int_range(pl.len()) < 2
    paid = pl.when(early).then(pl.col("adj_close") * 0.97).otherwise(pl.col("adj_close"))
    daily.deliver(history(3).with_columns(paid.alias("adj_close")))
    assert daily.factors() == pytest.approx([1.0, 1.0, 0.5 * 0.97], rel=1e-12)


def test_many_deliveries_keep_every_factor_and_level(daily: Daily) -> None:
    for n in (1, 2, 2, 3, 4, 4, 5):
        daily.deliver(history(n).with_columns(turnover_value=float(n)))
    assert daily.factors() == [1.0, 1.0, 0.5, 1.0, 0.5]
    latest = daily.table.latest().collect()
    assert latest["adjustment_factor"].to_list() == [1.0, 1.0, 0.5, 1.0, 0.5]
    assert latest["level"].to_list() == [0.25, 0.25, 0.5, 0.5, None]
    first = daily.table.first_effective().collect()
    brought = latest["close"] / latest["level"].fill_null(1.0)
    assert brought.to_list() == pytest.approx(first["close"].to_list(), rel=1e-12)
