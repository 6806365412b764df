"""Units that change between two deliveries: by hand, six symbols and eight sessions."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from tests.sources.conftest import SESSIONS, Write, bars

from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError
from alpha_assets.feeds import FEEDS
from alpha_assets.feeds.ingest import Ingested, ingest
from alpha_assets.sources.files.source import FilesSource
from alpha_assets.sources.files.spec import FilesSourceSpec
from alpha_assets.store.raw import RawTable
from alpha_assets.store.store import Store

NOW = datetime(2020, 3, 2, 12, tzinfo=UTC)
CLOSES = [10.0, 10.5, 10.2, 10.4, 10.1, 10.3, 10.6, 10.2]
SIX = bars({f"S{i}": [price * (1 + i) for price in CLOSES] for i in range(6)}).with_columns(
    pl.col("volume") * 1e4
)
PRICES = ("open", "high", "low", "close")
ALL = pl.lit(True)
EARLY, LATE = pl.col("date") < SESSIONS[5], pl.col("date") >= SESSIONS[5]
S1 = pl.col("symbol") == "S1"

Deliver = Callable[..., Ingested]


def scaled(by: float, *names: str, of: pl.DataFrame = SIX, when: pl.Expr = ALL) -> pl.DataFrame:
    return of.with_columns(
        pl.when(when).then(pl.col(name) * by).otherwise(pl.col(name)).alias(name) for name in names
    )


@pytest.fixture
def deliver(write: Write, tmp_path: Path, new_york: Calendar) -> Deliver:
    """Ingest a delivery of one feed after those before it."""
    days = iter(range(99))

    def deliver(feed: str, table: pl.DataFrame, **spec: str) -> Ingested:
        folder = write(**{"daily_bars": SIX, feed: table})
        settings = FilesSourceSpec.model_validate({"path": str(folder), **spec})
        source = FilesSource(settings, new_york)
        raw = RawTable(Store(str(tmp_path / "storage")), "us", FEEDS[feed], new_york.zone)
        return ingest(raw, FEEDS[feed], source, new_york, now=NOW + timedelta(days=next(days)))

    return deliver


@pytest.mark.parametrize("spec", [{}, {"price_level": "split_adjusted"}])
@pytest.mark.parametrize(
    ("again", "named"),
    [
        (scaled(100.0, *PRICES), "close of rows that are stored is 100 times"),
        (scaled(0.01, *PRICES), "close of rows that are stored is 0.01 times"),
        (scaled(0.001, "volume"), "volume of rows that are stored is 0.001 times"),
        # Half of the symbols is most of them.
        (
            scaled(100.0, *PRICES, when=pl.col("symbol") < "S3"),
            "close of rows that are stored is 100 times",
        ),
    ],
)
def test_stored_bars_that_are_delivered_in_another_unit_are_refused(
    again: pl.DataFrame, named: str, spec: dict[str, str], deliver: Deliver
) -> None:
    deliver("daily_bars", SIX.filter(EARLY), **spec)
    with pytest.raises(FeedError, match=named):
        # The new bars are in the old unit of some symbols: only what is stored is compared here.
        deliver("daily_bars", again.filter(EARLY), **spec)
    assert deliver("daily_bars", SIX, **spec).new == 18  # three more sessions of six


def test_a_slip_that_is_corrected_is_no_change_of_unit(deliver: Deliver) -> None:
    slip = scaled(100.0, *PRICES, when=S1 & (pl.col("date") == SESSIONS[0]))
    deliver("daily_bars", slip.filter(pl.col("date") == SESSIONS[0]))
    assert deliver("daily_bars", SIX.filter(pl.col("date") == SESSIONS[0])).revised == 1


def test_a_consolidation_of_one_hundred_is_no_change_of_unit(deliver: Deliver) -> None:
    declared = {"price_level": "split_adjusted"}
    table = SIX.filter(pl.col("symbol") < "S2")
    deliver("daily_bars", table.filter(EARLY), **declared)
    # Both symbols: prices a hundredfold, volumes a hundredth.
    both = scaled(0.01, "volume", of=scaled(100.0, *PRICES, of=table))
    assert deliver("daily_bars", both.filter(EARLY), **declared).revised == 10
    # One symbol whose volumes are never adjusted.
    one = scaled(100.0, *PRICES, of=both, when=S1)
    assert deliver("daily_bars", one.filter(EARLY), **declared).revised == 5


@pytest.mark.parametrize("by", [100.0, 0.001])
def test_new_bars_in_another_unit_than_the_stored_ones_are_refused(
    by: float, deliver: Deliver
) -> None:
    deliver("daily_bars", SIX.filter(EARLY))
    with pytest.raises(FeedError, match=r"price_unit \(6\).*half of the symbols"):
        deliver("daily_bars", scaled(by, *PRICES).filter(LATE))
    notes = deliver("daily_bars", scaled(0.01, "volume").filter(LATE)).notes
    assert ["volume_unit (1)" in note for note in notes] == [True]


def test_a_jump_between_a_stored_and_a_new_bar_is_noted(deliver: Deliver) -> None:
    deliver("daily_bars", SIX.filter(EARLY))
    halved = scaled(0.5, *PRICES, when=S1).filter(LATE)
    notes = deliver("daily_bars", halved).notes
    # S1 closed at 20.2 and closes at half of 20.6 now.
    assert [note.split("first: ")[1] for note in notes] == [
        "2020-01-09 S1 before = 20.2, now = 10.3"
    ]


def test_a_split_between_a_stored_and_a_new_bar_is_no_jump(deliver: Deliver) -> None:
    one = SIX.with_columns(adjustment_factor=1.0)
    deliver("daily_bars", one.filter(EARLY))
    # The factor stands on a session without trade; the next bar has the new price.
    ex, empty = pl.col("date") == SESSIONS[5], [pl.lit(None).alias(name) for name in PRICES]
    table = scaled(0.5, *PRICES, of=one, when=S1).filter(LATE)
    halted = table.filter(S1 & ex).with_columns(*empty, volume=0.0, adjustment_factor=0.5)
    halted = halted.cast(dict.fromkeys(PRICES, pl.Float64))
    assert deliver("daily_bars", pl.concat([table.filter(~(S1 & ex)), halted])).notes == ()


def test_rates_and_fees_keep_their_unit(deliver: Deliver) -> None:
    # Twelve days of 0.2 %, then the same in percent, which is a possible rate, too.
    days = [datetime(2020, 2, day, tzinfo=UTC).date() for day in range(1, 13)]
    rates = pl.DataFrame({"date": days, "cash_rate_annual": [0.002] * 12})
    deliver("rates", rates[:11])
    with pytest.raises(FeedError, match="cash_rate_annual of rows that are stored is 100 times"):
        deliver("rates", rates.with_columns(pl.col("cash_rate_annual") * 100))
    notes = deliver("rates", rates[11:].with_columns(pl.col("cash_rate_annual") * 100)).notes
    assert ["rate_unit (1)" in note for note in notes] == [True]

    fees = pl.DataFrame({"symbol": "S1", "date": days, "fee_bps_annual": [40.0] * 12})
    fees = fees.with_columns(available_shares=1e6)
    deliver("borrow", fees)
    with pytest.raises(FeedError, match=r"fee_bps_annual of rows that are stored is 0\.01 times"):
        deliver("borrow", fees.with_columns(pl.col("fee_bps_annual") / 100))
