"""Rows of bars, listings, the benchmark and dividends, from the API's text."""

from datetime import date

import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.feeds.base import INSTANT
from alpha_assets.feeds.listings import ACTIVE, SOURCE_END
from alpha_assets.feeds.sectors import SECTORS
from alpha_assets.sources.jquants.endpoints import BARS, DIVIDEND, MASTER, TOPIX
from alpha_assets.sources.jquants.parse import columns_of, dates, in_order, text

# What a server may add that keeps every version of a row: when it appeared, which it is.
STAMP, REVISION = "AvailableAt", "Revision"
VERSION_COLUMNS = (STAMP, REVISION)

SEGMENTS = {
    "0101": "First Section",
    "0102": "Second Section",
    "0104": "Mothers",
    "0105": "TOKYO PRO MARKET",
    "0106": "JASDAQ Standard",
    "0107": "JASDAQ Growth",
    "0109": "Other",
    "0111": "Prime",
    "0112": "Standard",
    "0113": "Growth",
}
# Half-width marks and full-width ones are both in use.
_FULL_WIDTH = {"･": "・", "､": "、"}
_ENGLISH = {japanese: english for _, japanese, english in SECTORS}

LOANABLE = "2"
RIGHTS_ISSUE = "3"
STOCK = "011"  # domestic shares, preferred ones included
COMMON = "0"  # fifth character of the code


def clock(frame: pl.DataFrame) -> list[pl.Series]:
    """Return `available_at` and `revision` where the server sends them, else nothing."""
    if frame[REVISION].null_count() == frame.height:
        return []
    stamp = frame[STAMP].str.to_datetime(time_unit="us", time_zone="UTC").cast(INSTANT)
    return [stamp.alias("available_at"), frame[REVISION].cast(pl.Int16).alias("revision")]


def bars(frame: pl.DataFrame) -> pl.DataFrame:
    """Return daily bars as traded; a row without trading is left out.

    Such a row has no price, no volume and no factor: issues that were not traded, and all of
    2020-10-01.  One with a factor stays, for the factor's sake.
    """
    rights = (text(frame, "ExRT") == RIGHTS_ISSUE).fill_null(False)
    # A rights issue moves the price and not the number of shares.
    share_factor = pl.repeat(1.0, frame.height, eager=True).set(~rights, None)
    columns = {**columns_of(BARS, frame), "share_factor": share_factor}
    rows = in_order(BARS, columns).with_columns(clock(frame))
    has_value = pl.any_horizontal(
        pl.col("open", "high", "low", "close", "volume", "turnover_value").is_not_null()
    )
    return rows.filter(has_value | (pl.col("adjustment_factor").fill_null(1.0) != 1.0)).sort(
        "event_date", "symbol", maintain_order=True
    )


def common_stock(master: pl.DataFrame) -> pl.Series:
    """Return the codes that are common stock of a domestic company in some master."""
    other_product = text(master, "ProdCat").fill_null(STOCK) != STOCK
    # Older masters lack the product; funds stand in a segment of their own.
    fund = (text(master, "Mkt") == "0109").fill_null(False)
    common = master["Code"].str.slice(4, 1) == COMMON
    return master.filter(~other_product & ~fund & common)["Code"].unique().sort()


def attributes(master: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Return the attributes of each issue on each session, small enough for ten years of it."""
    columns = columns_of(MASTER, master, skip=("shortable",))
    sector = columns["sector"]
    for half, full in _FULL_WIDTH.items():
        sector = sector.str.replace_all(half, full, literal=True)
    return (
        pl.DataFrame(
            {
                "event_date": columns["event_date"],
                "symbol": columns["symbol"],
                "ticker": master["Code"].str.slice(0, 4),
                "name": columns["name"],
                "sector": sector.replace(_ENGLISH),
                "market_segment": columns["market_segment"].replace(SEGMENTS),
                "shortable": text(master, "Mrgn") == LOANABLE,
            }
        )
        .filter(pl.col("event_date").is_in(_sessions(calendar, master)))
        .with_columns(pl.col(pl.String).cast(pl.Categorical))
        .unique(["symbol", "event_date"], keep="last", maintain_order=True)
    )


def listings(daily: pl.DataFrame, today: date) -> pl.DataFrame:
    """Return when each code came, changed what is known about it, and went.

    The API has no list of these: they are differences between one session's master and the
    next.  The reason of an exit and its return are not known: `source_end`.

    Args:
        daily: the attributes of each issue on many sessions.
        today: in the exchange's zone; a later start is left out until then.
    """
    daily = daily.unique(["symbol", "event_date"], keep="last").sort("symbol", "event_date")
    n_days = daily["event_date"].n_unique()
    mine, next_one = pl.col("symbol").shift(1), pl.col("symbol").shift(-1)
    names = ("ticker", "name", "sector", "market_segment", "shortable")
    spells = (
        daily.with_columns(place=pl.col("event_date").rank("dense").cast(pl.Int32))
        .with_columns(
            comes=(pl.col("symbol").ne_missing(mine))
            | (pl.col("place").shift(1) + 1).ne_missing(pl.col("place")),
            changes=pl.any_horizontal(
                pl.col(name).ne_missing(pl.col(name).shift(1)) for name in names
            ),
            goes=(pl.col("place") < n_days)
            & (
                pl.col("symbol").ne_missing(next_one)
                | (pl.col("place").shift(-1) - 1).ne_missing(pl.col("place"))
            ),
        )
        # The rows of one spell follow each other, and its first one comes.
        .with_columns(start=pl.when("comes").then("event_date").forward_fill())
        .filter(pl.col("comes") | pl.col("changes") | pl.col("goes"))
        .with_columns(pl.col(pl.Categorical).cast(pl.String))
    )
    ends = spells.filter("goes")
    rest = spells.filter(~pl.col("goes") & (pl.col("event_date") <= today))
    return pl.concat([_listing_rows(rest, ACTIVE), _listing_rows(ends, SOURCE_END)]).sort(
        "event_date", "symbol"
    )


def benchmark(frame: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Return the closes of TOPIX on sessions; the row made up for 2020-10-01 is left out."""
    return (
        pl.DataFrame(columns_of(TOPIX, frame))
        .with_columns(pl.lit("TOPIX").alias("name"))
        .filter(pl.col("event_date").is_in(_sessions(calendar, frame)))
        .sort("event_date")
    )


def dividends(frame: pl.DataFrame, today: date) -> pl.DataFrame:
    """Return what is paid per share on each ex-date, by the latest notice of each payment.

    A notice corrects or deletes the one that it names; amounts not decided yet are left out.
    """
    notices = pl.DataFrame(
        {
            **columns_of(DIVIDEND, frame),
            "about": frame["CARefNo"],
            "status": frame["StatCode"],
            "published": dates(frame, "PubDate", ("RefNo",)),
            "at": frame["PubTime"],
            "notice": frame["RefNo"],
        }
    )
    latest = notices.sort("published", "at", "notice").unique(
        "about", keep="last", maintain_order=True
    )
    return (
        latest.filter(
            (pl.col("status") != "3")
            & pl.col("amount").is_not_null()
            & (pl.col("amount") > 0)
            & (pl.col("event_date") <= today)
        )
        .group_by("event_date", "symbol")
        .agg(pl.col("amount").sum())
        .sort("event_date", "symbol")
    )


def _listing_rows(spells: pl.DataFrame, exit_word: str) -> pl.DataFrame:
    is_end = exit_word != ACTIVE
    return spells.select(
        "event_date",
        "symbol",
        "ticker",
        "name",
        "sector",
        "market_segment",
        "shortable",
        "start",
        (pl.col("event_date") if is_end else pl.lit(None, pl.Date)).alias("end"),
        pl.lit(exit_word).alias("exit"),
        pl.lit(None, pl.Float64).alias("exit_return"),
        pl.lit(False).alias("sector_is_static"),
    )


def on_sessions(days: pl.Series, calendar: Calendar) -> pl.Series:
    """Return whether each day is a session."""
    held = calendar.is_session(days.to_numpy().astype("datetime64[D]"))
    return pl.Series(held, dtype=pl.Boolean)


def _sessions(calendar: Calendar, frame: pl.DataFrame) -> pl.Series:
    """Return the sessions among the days of a table."""
    days = dates(frame, "Date").drop_nulls().unique().sort()
    held = calendar.is_session(days.to_numpy().astype("datetime64[D]"))
    return days.filter(pl.Series(held, dtype=pl.Boolean)).implode()
