"""Data-quality warnings about delivered rows, with counts; no row is dropped or changed.

Real prices jump, halt, go stale and vanish; none of that is a reason to refuse them.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from alpha_assets.calendar import Calendar, as_date
from alpha_assets.feeds.base import Feed
from alpha_assets.feeds.listings import ACTIVE
from alpha_assets.feeds.plausibility import adjusted_before, bar_units
from alpha_assets.feeds.problem import N_EXAMPLES, Example, Problem, violations
from alpha_assets.feeds.validation import PRICES

JUMP = 0.5  # a close that is 1.5 times the one before, or less than 1 / 1.5 of it
STALE_RUN = 5  # bars in a row with the same prices and some volume
N_DAYS_BETWEEN = 10  # from one spell's end to the next one's start, of a symbol that stays
N_NAMED = 3  # sessions or symbols that an example lists
SILENCE = 30  # sessions with bars and without a row of the feed
N_NAMED = 3


def order_warnings(feed: str, frame: pl.DataFrame) -> list[Problem]:
    """Return whether rows lie neither by date nor by symbol; they are sorted when read."""
    names = [name for name in ("event_date", "start", "symbol", "name") if name in frame.columns]
    names = names[:2]
    if any(_in_order(frame, order) for order in (names, names[::-1])):
        return []
    wanted = f"rows are accepted in any order and sorted by {' and '.join(names)}"
    return [Problem("warning", feed, "unsorted", wanted, 1, ())]


def bar_warnings(
    bars: pl.DataFrame, calendar: Calendar, listings: pl.DataFrame | None
) -> list[Problem]:
    """Return what is odd about bars.

    Args:
        bars: as delivered, on sessions of the calendar, unique in (event_date, symbol).
        calendar: of the market.
        listings: as spells with our exit words; None where there are none.
    """
    bars = bars.sort("symbol", "event_date")
    axis = pl.DataFrame({"event_date": calendar.sessions}).with_columns(
        pl.int_range(pl.len()).alias("session")
    )
    bars = bars.join(axis, on="event_date", how="left", maintain_order="left")
    lived = _by_life(bars, listings)
    return [
        *bar_units(lived),
        *_partly_empty(bars),
        *_unpriced(bars),
        *jumps(lived),
        *_missing_sessions(bars, calendar),
        *_gaps(lived),
        *_no_volume(bars),
        *_stale_runs(bars),
        *_vanished(bars, listings),
    ]


def listing_warnings(listings: pl.DataFrame, spans: pl.DataFrame) -> list[Problem]:
    """Return how listings and bars disagree.

    Args:
        listings: spells with starts and ends filled in.
        spans: `symbol`, `first`, `last`: the sessions of each symbol's first and last bar.
    """
    gone = pl.col("exit").last() != ACTIVE
    limits = listings.group_by("symbol", maintain_order=True).agg(
        pl.col("start").min(), pl.when(gone).then(pl.col("end").max()).alias("end")
    )
    both = spans.join(limits, on="symbol", how="inner").sort("symbol")
    outside = both.filter((pl.col("first") < pl.col("start")) | (pl.col("last") > pl.col("end")))
    # The next spell is looked at on purpose: this only reports on a folder; nothing that is stored
    # or joined is made of it.
    follows = listings.sort("symbol", "start").with_columns(
        pl.col("start").shift(-1).over("symbol").alias("next_start")
    )
    to_next = pl.col("next_start") - pl.col("end")
    ended = follows.filter(
        (pl.col("exit") == ACTIVE)
        & pl.col("end").is_not_null()
        & (to_next > pl.duration(days=N_DAYS_BETWEEN)).fill_null(True)
    )
    return [
        *violations(
            "warning",
            "listings",
            "end_without_exit",
            "an end that no further spell follows has an exit (delisted, acquired or source_end); "
            "without one the symbol stays active, and the end is not read",
            ended,
            key=("symbol",),
            values=("end", "next_start"),
        ),
        *_without("listings", "listing_without_bars", "a listed symbol has bars", listings, spans),
        *_without("daily_bars", "bars_without_listing", "a symbol is listed", spans, listings),
        *violations(
            "warning",
            "daily_bars",
            "bars_outside_listing",
            "bars lie between the symbol's start and end",
            outside,
            key=("symbol",),
            values=("first", "start", "last", "end"),
        ),
    ]


def membership_warnings(spells: pl.DataFrame, spans: pl.DataFrame | None) -> list[Problem]:
    """Return what is odd about membership spells."""
    ordered = spells.sort("symbol", "start")
    before = pl.col("end").shift(1).over("symbol")
    # An open spell before this one has no end: it overlaps with all that follows.
    follows = pl.col("symbol") == pl.col("symbol").shift(1)
    overlap = follows & (before.is_null() | (pl.col("start") < before))
    problems = violations(
        "warning",
        "membership",
        "overlapping_spells",
        "spells of a symbol do not overlap; they are read as one",
        ordered.with_columns(before.alias("end_before")).filter(overlap.fill_null(False)),
        key=("symbol",),
        values=("start", "end", "end_before"),
    )
    problems += violations(
        "warning",
        "membership",
        "empty_spell",
        "end is exclusive: a spell that ends on its start holds no session and is left out",
        spells.filter(pl.col("end") == pl.col("start")),
        key=("symbol",),
        values=("start", "end"),
    )
    if spans is not None:
        words = "a member has bars"
        problems += _without("membership", "member_without_bars", words, spells, spans)
    return problems


def unknown_columns(feed: str, unknown: Mapping[str, str]) -> list[Problem]:
    """Return the columns that the contract does not name; they are not read."""
    if not unknown:
        return []
    places = [*unknown.items()][:N_EXAMPLES]
    examples = tuple(Example(file, None, "", f"column {name!r}") for name, file in places)
    wanted = "the contract does not name these columns; they are not read"
    return [Problem("warning", feed, "unknown_column", wanted, len(unknown), examples)]


def _in_order(frame: pl.DataFrame, names: Sequence[str]) -> bool:
    """Return whether no row lies before one that it should follow."""
    descends = pl.lit(False)
    for name in reversed(names):
        value, before = pl.col(name), pl.col(name).shift(1)
        descends = (value < before) | ((value == before) & descends)
    return not frame.select(descends.fill_null(False).any()).item()


def _by_life(bars: pl.DataFrame, listings: pl.DataFrame | None) -> pl.DataFrame:
    """Return bars with each life of a symbol after its first under a name of its own.

    A ticker that is used again names another company: no price of one is compared with the
    other's.
    """
    if listings is None:
        return bars
    spells = listings.sort("symbol", "start")
    has_left = (pl.col("exit") != ACTIVE).cast(pl.Int32).cum_max().shift(1).over("symbol")
    came = spells.filter(has_left.fill_null(0) > 0).select("symbol", "start")
    if came.is_empty():
        return bars
    lived = bars.sort("event_date").join_asof(
        came.sort("start"),
        left_on="event_date",
        right_on="start",
        by="symbol",
        check_sortedness=False,
    )
    name = pl.format("{} (listed again, {})", "symbol", "start")
    return (
        lived.with_columns(
            pl.when(pl.col("start").is_not_null()).then(name).otherwise("symbol").alias("symbol")
        )
        .drop("start")
        .sort("symbol", "event_date")
    )


def _partly_empty(bars: pl.DataFrame) -> list[Problem]:
    prices = [name for name in (*PRICES, "volume", "adj_close") if name in bars.columns]
    if not prices:
        return []  # no column of numbers could be read
    untraded = pl.all_horizontal(
        pl.lit(True), *[pl.col(name).is_null() for name in PRICES if name in prices]
    )
    n_null = pl.sum_horizontal(
        pl.col(name).is_null() | (untraded & (pl.col(name) == 0) if name == "volume" else False)
        for name in prices
    )
    return violations(
        "warning",
        "daily_bars",
        "partly_empty",
        "a bar has all its prices and its volume, or none of them where nothing was traded",
        bars.filter(n_null.is_between(1, len(prices) - 1)),
        key=("event_date", "symbol"),
        values=prices,
    )


def _unpriced(bars: pl.DataFrame) -> list[Problem]:
    """Return whether no bar at all has a close."""
    if "close" not in bars.columns or bars["close"].is_not_null().any():
        return []
    return violations(
        "warning",
        "daily_bars",
        "no_close",
        "some bar has a close; without one nothing was traded on any of these sessions",
        bars,
        key=("event_date", "symbol"),
    )


def jumps(bars: pl.DataFrame) -> list[Problem]:
    """Return large moves of adjusted closes between two bars.

    Args:
        bars: sorted by symbol and event_date.
    """
    both = adjusted_before(bars)
    if both is None:
        return []
    price, before = both
    size = (price / before).log().abs()
    odd = (
        bars.with_columns(before.alias("before"), price.alias("now"), size.alias("size"))
        .filter(pl.col("size") > np.log1p(JUMP))
        .sort("size", descending=True)
    )
    return violations(
        "warning",
        "daily_bars",
        "jump",
        f"an adjusted close moved by more than {JUMP:.0%} between two bars; kept as it is",
        odd,
        key=("event_date", "symbol"),
        values=("before", "now"),
    )


def _missing_sessions(bars: pl.DataFrame, calendar: Calendar) -> list[Problem]:
    days = bars["event_date"].drop_nulls().unique().sort().to_numpy().astype("datetime64[D]")
    if not len(days):
        return []
    missing = np.setdiff1d(calendar.between(days[0], days[-1]), days)
    if not len(missing):
        return []
    examples = tuple(Example("", None, str(day), "") for day in missing[:N_NAMED])
    wanted = f"sessions of {calendar.exchange} on which no symbol has a bar"
    return [
        Problem("warning", "daily_bars", "session_missing_for_all", wanted, len(missing), examples)
    ]


def _gaps(bars: pl.DataFrame) -> list[Problem]:
    # Sessions are counted among those of the folder: one missing for all has its own warning.
    counted = bars.with_columns(pl.col("session").rank("dense").cast(pl.Int64).alias("number"))
    skipped = pl.col("number").diff().over("symbol") - 1
    odd = counted.with_columns(skipped.alias("sessions_missing")).filter(
        pl.col("sessions_missing") > 0
    )
    return violations(
        "warning",
        "daily_bars",
        "gap",
        "a symbol has a bar on each session between its first and its last",
        odd.sort("sessions_missing", descending=True),
        key=("event_date", "symbol"),
        values=("sessions_missing",),
    )


def _no_volume(bars: pl.DataFrame) -> list[Problem]:
    if "volume" not in bars.columns:
        return []
    return violations(
        "warning",
        "daily_bars",
        "zero_volume",
        "a bar with prices has traded shares; without trade all its fields are empty",
        bars.filter(pl.col("volume") == 0),
        key=("event_date", "symbol"),
        values=("close", "volume"),
    )


def _stale_runs(bars: pl.DataFrame) -> list[Problem]:
    prices = [name for name in PRICES if name in bars.columns]
    if not prices:
        return []
    fields = ["symbol", *prices]
    changed = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in fields)
    runs = (
        bars.filter(pl.all_horizontal(pl.col(prices).is_not_null()))
        .with_columns(changed.cum_sum().alias("run"))
        .with_columns(pl.len().over("run").alias("bars"))
        .filter(pl.col("bars") >= STALE_RUN)
        .unique("run", keep="first", maintain_order=True)
        .sort("bars", descending=True, maintain_order=True)
    )
    return violations(
        "warning",
        "daily_bars",
        "stale_run",
        f"open, high, low and close stay the same for at most {STALE_RUN - 1} bars",
        runs,
        key=("event_date", "symbol"),
        values=("close", "bars"),
    )


def _vanished(bars: pl.DataFrame, listings: pl.DataFrame | None) -> list[Problem]:
    last = as_date(bars["event_date"].max())
    ends = (
        bars.group_by("symbol").agg(pl.col("event_date").max()).filter(pl.col("event_date") < last)
    )
    if listings is not None:
        left = listings.filter(pl.col("exit") != ACTIVE)
        ends = ends.join(left, on="symbol", how="anti")
    return violations(
        "warning",
        "daily_bars",
        "vanished_symbol",
        f"a symbol has bars until the folder's last session, {last}, or listings have its end",
        ends.sort("event_date", "symbol"),
        key=("event_date", "symbol"),
    )


def _without(
    feed: str, rule: str, wanted: str, these: pl.DataFrame, those: pl.DataFrame
) -> list[Problem]:
    """Return one warning for the symbols of `these` that `those` lack."""
    alone = these.join(those, on="symbol", how="anti").unique("symbol", keep="first")
    return violations("warning", feed, rule, wanted, alone.sort("symbol"), key=("symbol",))


def side_warnings(
    feed: Feed, rows: pl.DataFrame, calendar: Calendar, bars: pl.DataFrame
) -> list[Problem]:
    """Return the warnings about a feed beside the prices.

    Args:
        feed: its declaration.
        rows: found to break no rule, with their own `available_at` where they have one.
        calendar: of the market.
        bars: the folder's; no rows where they cannot be read.
    """
    problems = _published_late(feed, rows, calendar)
    if bars.is_empty():
        return problems
    problems += _silent(feed, rows, bars, max(SILENCE, feed.max_stale or 0))
    return problems + (_without_bars(feed, rows, bars) if feed.scope == "symbol" else [])


def _published_late(feed: Feed, rows: pl.DataFrame, calendar: Calendar) -> list[Problem]:
    """Return rows that came out when one of a later day was public already."""
    stamp = feed.publication.stamp(rows, calendar)
    if "available_at" in rows.columns:
        stamp = rows["available_at"].fill_null(stamp)
    whose = [name for name in feed.key if name != "event_date"]
    # Of several versions of a row the first counts: a correction is late by its nature.
    first = (
        rows.with_columns(stamp.alias("available_at"))
        .sort([*feed.key, "available_at"])
        .unique(feed.key, keep="first", maintain_order=True)
    )
    # Looks at later rows on purpose: it only reports on a folder, and nothing that is stored or
    # joined is made of it.
    earliest = pl.col("available_at").reverse().cum_min().reverse().shift(-1)
    after = (earliest.over(whose) if whose else earliest).alias("successor_available_at")
    return violations(
        "warning",
        feed.name,
        "published_late",
        "a row is public before those of later days; one that is not is never the latest known",
        first.with_columns(after).filter(pl.col("available_at") > pl.col("successor_available_at")),
        key=feed.key,
        values=("available_at", "successor_available_at"),
    )


def quote_warnings(feed: Feed, rows: pl.DataFrame, bars: pl.DataFrame) -> list[Problem]:
    """Return the spans with bars at which no quote of what money or shares cost is known.

    A quote holds until the next one, at most `max_stale` sessions; before the first there is none.

    Args:
        feed: `rates` or `borrow`; its first value is the quote.
        rows: found to break no rule.
        bars: the folder's; no rows where they cannot be read.
    """
    quote = feed.values[0].name
    if quote not in rows.columns:
        return []
    rows = rows.filter(pl.col(quote).is_not_null())
    if bars.is_empty() or rows.is_empty() or feed.max_stale is None:
        return []
    problems = _silent(feed, rows, bars, feed.max_stale + 1)
    first = as_date(rows["event_date"].min())
    before = bars.filter(pl.col("event_date") < first)["event_date"].n_unique()
    if before > feed.max_stale:
        example = (Example("", None, str(first), f"after {before} sessions without a row"),)
        wanted = "no value is known for sessions before the first row"
        problems.append(Problem("warning", feed.name, "begins_late", wanted, 1, example))
    return problems


def _silent(feed: Feed, rows: pl.DataFrame, bars: pl.DataFrame, limit: int) -> list[Problem]:
    """Return the spans of `limit` sessions and more without any row, while bars go on."""
    days = rows["event_date"].unique().sort().to_numpy().astype("datetime64[D]")
    sessions = bars["event_date"].drop_nulls().unique().sort().to_numpy().astype("datetime64[D]")
    ends = np.append(days[1:], sessions[-1] + 1)
    # Sessions with bars strictly between a row and the next one.
    between = np.searchsorted(sessions, ends) - np.searchsorted(sessions, days, side="right")
    long = np.flatnonzero(between >= limit)
    if not len(long):
        return []
    examples = tuple(
        Example("", None, str(as_date(days[k])), f"then {between[k]} sessions without a row")
        for k in long[-N_NAMED:]
    )
    unknown = "" if feed.max_stale is None else f", and a value older than {feed.max_stale} counts "
    unknown += "as unknown; write it again at least that often" if unknown else ""
    wanted = f"bars go on for {limit} sessions or more without a row{unknown}"
    return [Problem("warning", feed.name, "silent", wanted, len(long), examples)]


def _without_bars(feed: Feed, rows: pl.DataFrame, bars: pl.DataFrame) -> list[Problem]:
    alone = rows.join(bars, on="symbol", how="anti").unique("symbol", keep="first")
    return violations(
        "warning",
        feed.name,
        "symbol_without_bars",
        "a symbol has bars; rows of others are stored and never used",
        alone.sort("symbol"),
        key=("symbol",),
    )
