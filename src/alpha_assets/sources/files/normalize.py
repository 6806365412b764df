"""From a delivered table to raw rows: spells become events, adjusted closes become factors."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.feeds import FEEDS
from alpha_assets.feeds.base import Feed
from alpha_assets.feeds.problem import ADJ_CLOSE, Example, Problem, violations
from alpha_assets.feeds.validation import PRICES, ROUNDING, errors_in
from alpha_assets.sources.files.intervals import (
    listing_errors,
    listing_events,
    listing_spells,
    membership_errors,
    membership_events,
)
from alpha_assets.sources.files.tables import LIMITS

MAX_DECIMALS = 6  # of a price
NOISE = 1e-6  # relative: prices that were stored in 32 bits are whole within this
_PLACE, _TICK = "_place", "_tick"


@dataclass(frozen=True)
class Shaped:
    """One delivered feed in the form of raw rows, and the rules that it breaks."""

    rows: pl.DataFrame  # without rows where a rule is broken
    problems: tuple[Problem, ...]


def shaped(
    feed: Feed,
    frame: pl.DataFrame,
    calendar: Calendar,
    exit_words: Mapping[str, str],
    bars: pl.DataFrame | None,
) -> Shaped:
    """Return a delivered table as raw rows, in key order.

    Args:
        feed: its declaration.
        frame: rows as delivered, values typed.
        calendar: of the market.
        exit_words: the vendor's exit words and ours.
        bars: what `bar_spans` returns; None where the folder's bars cannot be read.
    """
    if feed.name == "listings":
        spells = listing_spells(frame, exit_words, _no_bars() if bars is None else bars)
        problems = listing_errors(spells)
        if bars is None:  # starts that are not given come from bars, whose own problems are named
            spells = spells.filter(pl.col("start").is_not_null())
        rows = spells if problems else listing_events(spells)
    elif feed.name == "membership":
        problems = membership_errors(frame)
        rows = frame if problems else membership_events(frame)
    else:
        frame = frame if feed.name in FEEDS else with_dates(frame, calendar)
        problems = errors_in(feed, frame, calendar)
        problems += _two_factors(frame) if feed.name == "daily_bars" else []
        rows = frame
    if feed.name in ("listings", "membership") and not problems:
        problems = errors_in(feed, rows, calendar)
    absent = {column.name for column in feed.columns if column.required} - {*rows.columns}
    if problems or absent:  # what is absent could not be read: the delivery's problems name it
        return Shaped(frame.clear(), tuple(problems))
    if feed.name == "daily_bars":
        rows = with_flags(with_factors(rows))
    version = [feed.version] if feed.version in rows.columns else []
    return Shaped(rows.sort([*feed.key, *version]), ())


def without_halts(bars: pl.DataFrame, calendar: Calendar) -> tuple[pl.DataFrame, list[Problem]]:
    """Return bars without rows that have no price on a day that was announced and not held.

    Vendors deliver such a day with an empty row for each symbol; it is no session.
    """
    prices = [name for name in PRICES if name in bars.columns]
    if not len(calendar.halts) or not prices:
        return bars, []
    halts = pl.Series(calendar.halts.astype("datetime64[D]")).cast(pl.Date)
    empty = pl.all_horizontal(pl.col(prices).is_null())
    is_halt = pl.col("event_date").is_in(halts.implode()) & empty
    rows = bars.filter(is_halt)
    return bars.filter(~is_halt.fill_null(False)) if rows.height else bars, violations(
        "warning",
        "daily_bars",
        "announced_not_held",
        f"{calendar.exchange} had announced this day and never opened; rows without prices on it "
        "are left out",
        rows,
        key=("event_date", "symbol"),
    )


def added_up(
    feed: Feed, rows: pl.DataFrame, calendar: Calendar
) -> tuple[pl.DataFrame, list[Problem]]:
    """Return dividends with those of one symbol and ex-date added up, and what is odd about that.

    An ordinary and a special dividend are two rows of one day.  What they sum to is known when
    the last of them is.  Two of the same amount look like one row delivered twice:
    an error.  Rows that break a rule are left as they are, for the rule to name them.
    """
    key = [name for name in feed.key if name in rows.columns]
    if "amount" not in rows.columns or "event_date" not in rows.columns:
        return rows, []
    amount = pl.col("amount")
    fine = amount.is_finite() & (amount >= 0) & pl.all_horizontal(pl.col(key).is_not_null())
    fine = fine.fill_null(False) & (pl.len().over(key) > 1)
    several = rows.filter(fine)
    if several.is_empty():
        return rows, []
    same = several.filter(several.select(*key, "amount").is_duplicated())
    if "available_at" in rows.columns:
        rule = feed.publication.stamp(several, calendar)
        several = several.with_columns(pl.col("available_at").fill_null(rule).max().over(key))
    summed = several.with_columns(amount.sum().over(key)).unique(
        key, keep="first", maintain_order=True
    )
    problems = violations(
        "warning",
        feed.name,
        "dividends_added_up",
        "several dividends of one symbol and ex-date are paid together: their sum is stored",
        summed,
        key=key,
        values=("amount",),
    )
    problems += violations(
        "error",
        feed.name,
        "same_dividend_twice",
        "dividends of one symbol and ex-date pay different amounts (an ordinary and a special "
        "one); take one out where a row was delivered twice, or write the sum where both are paid",
        same,
        key=key,
        values=("amount",),
    )
    return pl.concat([rows.filter(~fine), summed]), problems


def with_dates(rows: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Return rows of an own feed with dates from their stamps where they have none."""
    if "available_at" not in rows.columns:
        return rows
    day = pl.col("available_at").dt.convert_time_zone(calendar.zone.key).dt.date()
    if "event_date" in rows.columns:
        day = pl.col("event_date").fill_null(day)
    return rows.with_columns(day.alias("event_date"))


def bar_spans(bars: pl.DataFrame) -> pl.DataFrame:
    """Return the sessions of each symbol's first and last bar: `symbol`, `first`, `last`."""
    day = pl.col("event_date")
    return bars.group_by("symbol").agg(day.min().alias("first"), day.max().alias("last"))


def with_factors(bars: pl.DataFrame) -> pl.DataFrame:
    """Return bars with adjusted closes turned into the factor of each session.

    factor[T] = (adj_close / close)[T-1] / (adj_close / close)[T]

    T-1 is the symbol's bar before with both prices; the factor of a symbol's first bar is 1, and
    so is that of a row without a close: the next bar has it.  A bar whose adjusted close has not
    been given yet has an unknown factor, null, and so has the first one with it after such bars.
    A vendor who divides all adjusted closes by one number changes none of the factors.
    """
    if "adj_close" not in bars.columns:
        return bars
    share = pl.col("adj_close") / pl.col("close")
    before = share.forward_fill().shift(1)
    is_bar = pl.col("close").is_not_null()
    is_first = is_bar.cum_sum().over("symbol") <= 1
    bars = bars.sort("symbol", "event_date")
    known = pl.when(is_first | ~is_bar).then(1.0)
    return bars.with_columns(
        adjustment_factor=(before / share).over("symbol").fill_null(known)
    ).rename({"adj_close": ADJ_CLOSE})


def with_flags(bars: pl.DataFrame) -> pl.DataFrame:
    """Return bars with limits that were given as prices turned into touched flags.

    A limit is touched where no price that the symbol can trade at lies between it and the high:
    the distance is below one tick.  Limits are often delivered as 1.1 times the close before,
    which lies off the ticks, and adjusted prices as rounded.  The tick is one unit of the last
    decimal that the symbol's prices had until then.
    """
    given = [name for name in LIMITS if bars.schema.get(name) == pl.Float64]
    prices = [name for name in PRICES if name in bars.columns]
    if not given or not prices:
        return bars
    order = bars.with_row_index(_PLACE).sort("symbol", "event_date")
    decimals = pl.lit(0)
    for n in range(MAX_DECIMALS):
        scaled = [pl.col(name) * 10.0**n for name in prices]
        whole = [((one - one.round()).abs() <= NOISE * (1 + one.abs())) for one in scaled]
        decimals += (~pl.all_horizontal(whole)).fill_null(False).cast(pl.Int32)
    tick = 10.0 ** -(decimals.cum_max().over("symbol").cast(pl.Float64))
    reached = {
        "upper_limit": _within(pl.col("upper_limit"), pl.col("high")),
        "lower_limit": _within(pl.col("low"), pl.col("lower_limit")),
    }
    made = order.with_columns(tick.alias(_TICK)).with_columns(
        reached[name].alias(name) for name in given
    )
    return made.sort(_PLACE).select(bars.columns)


def _within(upper: pl.Expr, lower: pl.Expr) -> pl.Expr:
    """Return whether `upper` lies less than one tick, or the rounding of prices, above `lower`."""
    return ((upper - lower) < pl.col(_TICK) * (1 - ROUNDING)) | (upper <= lower * (1 + ROUNDING))


def _no_bars() -> pl.DataFrame:
    return pl.DataFrame(schema={"symbol": pl.String, "first": pl.Date, "last": pl.Date})


def _two_factors(bars: pl.DataFrame) -> list[Problem]:
    if not {"adj_close", "adjustment_factor"} <= set(bars.columns):
        return []
    wanted = "adj_close or adjustment_factor adjusts prices; keep one of them"
    example = (Example("", None, "", "both columns are there"),)
    return [Problem("error", "daily_bars", "two_adjustments", wanted, 1, example)]
