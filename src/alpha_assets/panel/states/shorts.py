"""Short selling of sectors and of the market, and what is known of large short positions."""

import itertools

import numpy as np
import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.panel.states.event_times import (
    MOMENT,
    decision_stamps,
    moments,
    session_numbers,
    sums,
)

SALES = ("selling", "restricted", "exempt")
SALES_COLUMNS = {
    "selling": "value sold by owners, money",
    "restricted": "value sold short under the price restriction, money",
    "exempt": "value sold short outside of it, money",
}
POSITION_COLUMNS = {
    "total": "sum of the live positions, fraction of shares outstanding",
    "n_holders": "holders of 0.5 % and more, count",
    "max_holder": "largest live position, fraction of shares outstanding",
    "shares": "shares of the live positions, as reported",
    "idle": "sessions from the last report to this state",
    "lag": "sessions from the last report's position date to this state",
}
SILENCE = 60  # sessions without a report after which a position counts as closed
SYMBOLS_AT_ONCE = 250
_FAR = 1 << 32  # more than there are sessions
PUBLIC_FROM = 0.005  # fraction of shares outstanding from which positions are published


def market_sales_states(rows: pl.DataFrame, calendar: Calendar, until: int) -> pl.DataFrame:
    """Return the sums over all sectors, one state per day and decision that changed it."""
    known = moments(rows, ["event_date"], ["sector"], calendar)
    return sums(known, ["event_date", MOMENT], SALES).select(
        "event_date",
        *SALES,
        pl.col(MOMENT).alias("available_at"),
        pl.lit(0, pl.Int16).alias("revision"),
    )


def position_states(rows: pl.DataFrame, calendar: Calendar, until: int) -> pl.DataFrame:
    """Return the live short positions of each symbol, whenever a report or a silence changes them.

    A report replaces the holder's last one.  The law asks for no report below 0.5 %, so a
    holder that falls silent is taken to have closed after `SILENCE` sessions.
    """
    reports = _counted(rows, calendar)
    spells = _spells(reports)
    points = (
        pl.concat(
            [
                spells.select("symbol", pl.col("start").alias("point")),
                spells.filter(pl.col("stop") <= until).select(
                    "symbol", pl.col("stop").alias("point")
                ),
            ]
        )
        .unique()
        .sort("symbol", "point")
    )
    last = reports.select("symbol", "number", "day").sort("number", "day")
    states = (
        points.with_row_index("place")
        .sort("point")
        .join_asof(last, left_on="point", right_on="number", by="symbol", check_sortedness=False)
        .sort("place")
    )
    number = states["point"].to_numpy()
    return states.select(
        "symbol",
        *_live(spells, points),
        (pl.col("point") - pl.col("number")).cast(pl.Float64).alias("idle"),
        (pl.col("point") - pl.col("day")).cast(pl.Float64).alias("lag"),
    ).with_columns(decision_stamps(number, calendar))


def _live(spells: pl.DataFrame, points: pl.DataFrame) -> list[pl.Series]:
    """Return the sums over the spells that are live at each point, holder after holder.

    The shares are unknown where some live report does not tell them.

    Args:
        spells: sorted by symbol, holder, start.
        points: sorted by symbol and session.
    """
    symbols = points["symbol"].unique().sort()
    of_point, of_spell = (
        f["symbol"].cast(pl.Enum(symbols)).to_physical().cast(pl.Int64).to_numpy()
        for f in (points, spells)
    )
    place_P = of_point * _FAR + points["point"].to_numpy()
    first_S = np.searchsorted(place_P, of_spell * _FAR + spells["start"].to_numpy())
    stop_S = np.searchsorted(place_P, of_spell * _FAR + spells["stop"].to_numpy())
    # Every report has a ratio; one that `needed_rows` kept without its values was over, or has
    # been replaced, before the first session that is asked for.
    ratio_S = spells["ratio"].fill_null(0.0).to_numpy()
    shares_S = spells["shares"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    unknown_S = np.isnan(shares_S)
    known_S = np.where(unknown_S, 0.0, shares_S)
    made = {name: np.zeros(len(place_P)) for name in ("total", "n_holders", "max_holder", "shares")}
    n_unknown_P = np.zeros(len(place_P))
    # Whole symbols at a time: a sum is never put together from parts.
    edges = np.searchsorted(of_spell, np.arange(0, len(symbols) + SYMBOLS_AT_ONCE, SYMBOLS_AT_ONCE))
    for low, high in itertools.pairwise(edges.tolist()):
        if low == high:
            continue
        count = (stop_S - first_S)[low:high]
        spell = np.repeat(np.arange(low, high), count)
        offset = np.arange(len(spell)) - np.repeat(np.cumsum(count) - count, count)
        base = int(first_S[low:high].min())
        at = first_S[spell] + offset - base
        n = int(stop_S[low:high].max()) - base
        where = slice(base, base + n)
        made["total"][where] += np.bincount(at, ratio_S[spell], minlength=n)
        made["shares"][where] += np.bincount(at, known_S[spell], minlength=n)
        n_unknown_P[where] += np.bincount(at, unknown_S[spell], minlength=n)
        made["n_holders"][where] += np.bincount(at, ratio_S[spell] >= PUBLIC_FROM, minlength=n)
        np.maximum.at(made["max_holder"], at + base, ratio_S[spell])
    made["shares"][n_unknown_P > 0] = np.nan
    return [pl.Series(name, value).fill_nan(None) for name, value in made.items()]


def _counted(rows: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Return the reports that changed what was known of a holder, in their order."""
    holder = ["symbol", "seller", "client", "fund"]
    order = ["event_date", "available_at", "revision"]
    days = calendar.on_or_after(rows["event_date"].to_numpy())
    reports = (
        rows.select(*holder, *order, "ratio", "shares")
        .with_columns(
            pl.Series("number", session_numbers(rows, calendar)),
            pl.Series("day", calendar.index_of(days)),
        )
        .sort(*holder, *order)
        .with_columns(pl.struct(holder).rle_id().alias("holder"))
        .with_columns(pl.int_range(pl.len()).over("holder").alias("rank"))
        .sort("holder", "number", "rank")
        # A report that comes late, about a day before one that is known, changes nothing.
        .filter(pl.col("rank") == pl.col("rank").cum_max().over("holder"))
        .unique(["holder", "number"], keep="last", maintain_order=True)
    )
    return reports.select("symbol", "holder", "number", "day", "ratio", "shares")


def _spells(reports: pl.DataFrame) -> pl.DataFrame:
    """Return from which session to which (exclusive) each report is the holder's live one."""
    next_one = pl.col("number").shift(-1).over("holder")
    silent = pl.col("number") + SILENCE
    return reports.select(
        "symbol",
        "holder",
        pl.col("number").alias("start"),
        pl.min_horizontal(next_one.fill_null(silent), silent).alias("stop"),
        "ratio",
        "shares",
    )
