"""The API's price tables in our words: bars, listings, the calendar, a benchmark, dividends."""

from datetime import date

import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.feeds.base import INSTANT
from alpha_assets.feeds.listings import ACTIVE, SOURCE_END
from alpha_assets.sources.jquants.parse import dates, flags, numbers, text

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
# The 33 sectors: code, official Japanese name, the name that we use.
SECTORS = (
    ("0050", "水産・農林業", "Fishery, Agriculture & Forestry"),
    ("1050", "鉱業", "Mining"),
    ("2050", "建設業", "Construction"),
    ("3050", "食料品", "Foods"),
    ("3100", "繊維製品", "Textiles & Apparels"),
    ("3150", "パルプ・紙", "Pulp & Paper"),
    ("3200", "化学", "Chemicals"),
    ("3250", "医薬品", "Pharmaceutical"),
    ("3300", "石油・石炭製品", "Oil & Coal Products"),
    ("3350", "ゴム製品", "Rubber Products"),
    ("3400", "ガラス・土石製品", "Glass & Ceramics Products"),
    ("3450", "鉄鋼", "Iron & Steel"),
    ("3500", "非鉄金属", "Nonferrous Metals"),
    ("3550", "金属製品", "Metal Products"),
    ("3600", "機械", "Machinery"),
    ("3650", "電気機器", "Electric Appliances"),
    ("3700", "輸送用機器", "Transportation Equipment"),
    ("3750", "精密機器", "Precision Instruments"),
    ("3800", "その他製品", "Other Products"),
    ("4050", "電気・ガス業", "Electric Power & Gas"),
    ("5050", "陸運業", "Land Transportation"),
    ("5100", "海運業", "Marine Transportation"),
    ("5150", "空運業", "Air Transportation"),
    ("5200", "倉庫・運輸関連業", "Warehousing & Harbor Transportation Services"),
    ("5250", "情報・通信業", "Information & Communication"),
    ("6050", "卸売業", "Wholesale Trade"),
    ("6100", "小売業", "Retail Trade"),
    ("7050", "銀行業", "Banks"),
    ("7100", "証券、商品先物取引業", "Securities & Commodity Futures"),
    ("7150", "保険業", "Insurance"),
    ("7200", "その他金融業", "Other Financing Business"),
    ("8050", "不動産業", "Real Estate"),
    ("9050", "サービス業", "Services"),
    ("9999", "その他", "Other"),
)
# Half-width marks and full-width ones are both in use.
_FULL_WIDTH = {"･": "・", "､": "、"}
_ENGLISH = {japanese: english for _, japanese, english in SECTORS}

LOANABLE = "2"
RIGHTS_ISSUE = "3"
STOCK = "011"  # domestic shares, preferred ones included
COMMON = "0"  # fifth character of the code
LOADED = ("O", "H", "L", "C", "Vo", "Va")
BAR_COLUMNS = ("Date", "Code", *LOADED, "UL", "LL", "AdjFactor", "ExRT")
MASTER_COLUMNS = ("Date", "Code", "CoNameEn", "S33Nm", "Mkt", "Mrgn")
STOCK_COLUMNS = ("Code", "Mkt", "ProdCat")


def clock(frame: pl.DataFrame) -> list[pl.Series]:
    """Return `available_at` and `revision` where the server says them, else nothing."""
    if frame[REVISION].null_count() == frame.height:
        return []
    stamp = frame[STAMP].str.to_datetime(time_unit="us", time_zone="UTC").cast(INSTANT)
    return [stamp.alias("available_at"), frame[REVISION].cast(pl.Int16).alias("revision")]


def bars(frame: pl.DataFrame) -> pl.DataFrame:
    """Return daily bars as traded; a row that says only that nothing was traded is left out.

    Such a row has no price, no volume and no factor: issues that were not traded, and all of
    2020-10-01.  One with a factor stays, for the factor's sake.
    """
    key = ("Date", "Code")
    values = {name: numbers(frame, name, key) for name in (*LOADED, "AdjFactor")}
    rights = (text(frame, "ExRT") == RIGHTS_ISSUE).fill_null(False)
    made = pl.DataFrame(
        {
            "event_date": dates(frame, "Date", key),
            "symbol": frame["Code"],
            "open": values["O"],
            "high": values["H"],
            "low": values["L"],
            "close": values["C"],
            "volume": values["Vo"],
            "turnover_value": values["Va"],
            "adjustment_factor": values["AdjFactor"],
            # A rights issue moves the price and not the number of shares.
            "share_factor": pl.repeat(1.0, frame.height, eager=True).set(~rights, None),
            "upper_limit": flags(frame, "UL", key),
            "lower_limit": flags(frame, "LL", key),
        }
    ).with_columns(clock(frame))
    has_value = pl.any_horizontal(
        pl.col("open", "high", "low", "close", "volume", "turnover_value").is_not_null()
    )
    return made.filter(has_value | (pl.col("adjustment_factor").fill_null(1.0) != 1.0)).sort(
        "event_date", "symbol", maintain_order=True
    )


def common_stock(master: pl.DataFrame) -> pl.Series:
    """Return the codes that are common stock of a domestic company in some master."""
    other_product = text(master, "ProdCat").fill_null(STOCK) != STOCK
    # Older masters do not say the product; funds stand in a segment of their own.
    fund = (text(master, "Mkt") == "0109").fill_null(False)
    common = master["Code"].str.slice(4, 1) == COMMON
    return master.filter(~other_product & ~fund & common)["Code"].unique().sort()


def told(master: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Return what masters say of each issue on each session, small enough for ten years of it."""
    sector = text(master, "S33Nm")
    for half, full in _FULL_WIDTH.items():
        sector = sector.str.replace_all(half, full, literal=True)
    return (
        pl.DataFrame(
            {
                "event_date": dates(master, "Date", ("Code",)),
                "symbol": master["Code"],
                "ticker": master["Code"].str.slice(0, 4),
                "name": text(master, "CoNameEn"),
                "sector": sector.replace(_ENGLISH),
                "market_segment": text(master, "Mkt").replace(SEGMENTS),
                "shortable": text(master, "Mrgn") == LOANABLE,
            }
        )
        .filter(pl.col("event_date").is_in(_sessions(calendar, master)))
        .with_columns(pl.col(pl.String).cast(pl.Categorical))
        .unique(["symbol", "event_date"], keep="last", maintain_order=True)
    )


def listings(told: pl.DataFrame, today: date) -> pl.DataFrame:
    """Return when each code came, changed what is known about it, and went.

    The API has no list of these: they are differences between one session's master and the
    next.  Why a code went, and for how much, it does not say: `source_end`.

    Args:
        told: what the masters of many sessions say.
        today: in the exchange's zone; a later start is not yet told.
    """
    told = told.unique(["symbol", "event_date"], keep="last").sort("symbol", "event_date")
    n_days = told["event_date"].n_unique()
    mine, next_one = pl.col("symbol").shift(1), pl.col("symbol").shift(-1)
    attributes = ("ticker", "name", "sector", "market_segment", "shortable")
    told = (
        told.with_columns(place=pl.col("event_date").rank("dense").cast(pl.Int32))
        .with_columns(
            comes=(pl.col("symbol").ne_missing(mine))
            | (pl.col("place").shift(1) + 1).ne_missing(pl.col("place")),
            changes=pl.any_horizontal(
                pl.col(name).ne_missing(pl.col(name).shift(1)) for name in attributes
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
    ends = told.filter("goes")
    rest = told.filter(~pl.col("goes") & (pl.col("event_date") <= today))
    return pl.concat([_listing_rows(rest, ACTIVE), _listing_rows(ends, SOURCE_END)]).sort(
        "event_date", "symbol"
    )


def trading_calendar(frame: pl.DataFrame) -> pl.DataFrame:
    """Return every day and what kind of day it is."""
    return pl.DataFrame(
        {"event_date": dates(frame, "Date"), "division": text(frame, "HolDiv")}
    ).sort("event_date")


def benchmark(frame: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Return the closes of TOPIX on sessions; the row made up for 2020-10-01 is left out."""
    return (
        pl.DataFrame(
            {
                "event_date": dates(frame, "Date"),
                "name": pl.Series(["TOPIX"], dtype=pl.String).new_from_index(0, frame.height),
                "close": numbers(frame, "C", ("Date",)),
            }
        )
        .filter(pl.col("event_date").is_in(_sessions(calendar, frame)))
        .sort("event_date")
    )


def dividends(frame: pl.DataFrame, today: date) -> pl.DataFrame:
    """Return what is paid per share on each ex-date, as the latest notice of each payment says.

    A notice corrects or deletes the one that it names; amounts not decided yet are left out.
    """
    notices = pl.DataFrame(
        {
            "event_date": dates(frame, "ExDate", ("RefNo",)),
            "symbol": frame["Code"],
            "amount": numbers(frame, "DivRate", ("RefNo",)),
            "about": frame["CARefNo"],
            "status": frame["StatCode"],
            "told": dates(frame, "PubDate", ("RefNo",)),
            "at": frame["PubTime"],
            "notice": frame["RefNo"],
        }
    )
    latest = notices.sort("told", "at", "notice").unique("about", keep="last", maintain_order=True)
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


def _listing_rows(told: pl.DataFrame, exit_word: str) -> pl.DataFrame:
    is_end = exit_word != ACTIVE
    return told.select(
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
