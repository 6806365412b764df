"""The simulated exchange's side feeds in the API's tables: columns, words and types as they cross.

Where the API has a column that the exchange knows nothing of, it is filled with what costs no
reader anything: sub-balances that add up, an empty address, the whole day's prices for its parts.
"""

from collections.abc import Callable, Iterable

import numpy as np
import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.feeds import FEEDS
from alpha_assets.feeds.base import INSTANT, instants_of
from alpha_assets.sources.jquants import side, statements
from alpha_assets.sources.jquants.prices import SECTORS
from alpha_assets.sources.jquants.wire import (
    BREAKDOWN,
    DIVIDEND,
    EARNINGS_DATE,
    FINS_SUMMARY,
    FULL_DAY_HALT,
    INDICES,
    INVESTOR_TYPES,
    MARGIN_ALERT,
    MARGIN_INTEREST,
    OPTIONS_225,
    SHORT_RATIO,
    SHORT_SALE_REPORT,
    TOPIX,
    VALUATION,
    Endpoint,
)
from alpha_assets.sources.sim import SimMarket, SimSource
from alpha_assets.sources.sim_jquants import words
from alpha_assets.sources.sim_jquants.rows import AT, OWN, VERSION, Rows

LOT = 100.0  # shares
MULTIPLIER = 1_000.0  # yen a point of an option
TOLD_BEFORE = 20  # sessions between a dividend's notice and its ex-date
TOPIX_CODE = "0000"
UNSETTLED = "-"  # written where a value was not published
HALVES = ("E", "A")  # night and day sessions of options
FLAGS = ("SigChgInC", "ChgByASRev", "ChgNoASRev", "ChgAcEst")

_CODE_OF_SECTOR = {english: code for code, _, english in SECTORS}
_WORD_OF_SECTION = {ours: theirs for theirs, ours in side.SECTIONS.items()}

Make = Callable[[pl.DataFrame, SimMarket, Calendar], pl.DataFrame]


def side_tables(
    market: SimMarket, source: SimSource, calendar: Calendar, every_version: bool
) -> dict[str, Rows]:
    """Return the tables of all side feeds that the exchange has, by path; made when asked for."""
    tables: dict[str, Rows] = {}

    def add(feed: str, endpoint: Endpoint, make: Make, nothing: dict[str, str]) -> None:
        if feed not in source.feeds():
            return

        def made() -> pl.DataFrame:
            rows = source.rows(feed)
            shown = make(rows.with_columns(*_clock(feed, rows, calendar)), market, calendar)
            return shown.select(*endpoint.columns, *(n for n in (AT, VERSION, OWN) if n in shown))

        tables[endpoint.path] = Rows(endpoint, made, every_version=every_version, nothing=nothing)

    for feed, (endpoint, make, nothing) in MADE.items():
        add(feed, endpoint, make, nothing)
    return tables


def _clock(feed: str, rows: pl.DataFrame, calendar: Calendar) -> list[pl.Expr | pl.Series]:
    """Return when each version appeared and which it is; its own stamp where that is told."""
    stamp = FEEDS[feed].publication.stamp(rows, calendar)
    if "revision" not in rows.columns:
        return [stamp.alias(AT), pl.lit(0, pl.Int16).alias(VERSION)]
    own = pl.col("available_at")
    told: list[pl.Expr | pl.Series] = [
        own.fill_null(stamp).alias(AT),
        pl.col("revision").alias(VERSION),
    ]
    # Versions that stand side by side are told apart by a column of their own.
    return told if FEEDS[feed].version else [*told, own.alias(OWN)]


def _day(name: str) -> pl.Expr:
    return pl.col(name).dt.to_string("%Y-%m-%d")


def _all(columns: dict[str, str]) -> list[pl.Expr]:
    return [pl.col(ours).alias(theirs) for ours, theirs in columns.items()]


def _kept() -> pl.Expr:
    """Return what is carried beside the wire's columns."""
    return pl.col("^_(at|version|own)$")


def _short_ratio(rows: pl.DataFrame, market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    return rows.select(
        _day("event_date").alias("Date"),
        pl.col("sector").replace_strict(_CODE_OF_SECTOR).alias("S33"),
        pl.col("selling").alias("SellExShortVa"),
        pl.col("restricted").alias("ShrtWithResVa"),
        pl.col("exempt").alias("ShrtNoResVa"),
        _kept(),
    )


def _short_sale_report(rows: pl.DataFrame, market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    return rows.select(
        _day("disclosed").alias("DiscDate"),
        _day("event_date").alias("CalcDate"),
        pl.col("symbol").alias("Code"),
        pl.col("seller").alias("SSName"),
        pl.col("client").alias("DICName"),
        pl.col("fund").alias("FundName"),
        pl.col("ratio").alias("ShrtPosToSO"),
        pl.col("shares").alias("ShrtPosShares"),
        (pl.col("shares") / LOT).alias("ShrtPosUnits"),
        _day("previous_date").fill_null("").alias("PrevRptDate"),
        pl.col("previous_ratio").fill_null(0.0).alias("PrevRptRatio"),
        *(pl.lit("").alias(name) for name in ("SSAddr", "DICAddr", "Notes")),
        _kept(),
    )


def _margin_interest(rows: pl.DataFrame, market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    def part(side_: str, term: str) -> pl.Expr:
        share = pl.col(f"{side_}_{term}") / pl.col(side_)
        return (pl.col(f"{side_}_value") * share).round(0)

    return rows.select(
        _day("published").alias("PubDate"),
        _day("event_date").alias("Date"),
        pl.col("symbol").alias("Code"),
        pl.col("issue_type").alias("IssType"),
        *_all(side.MARGIN_COLUMNS),
        part("short", "negotiable").fill_nan(None).alias("ShrtNegVal"),
        part("long", "negotiable").fill_nan(None).alias("LongNegVal"),
        part("short", "standard").fill_nan(None).alias("ShrtStdVal"),
        part("long", "standard").fill_nan(None).alias("LongStdVal"),
        _kept(),
    )


def _margin_alert(rows: pl.DataFrame, market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    reasons = [
        pl.col(ours).cast(pl.Int8).cast(pl.String).alias(theirs)
        for ours, theirs in side.REASON_WORDS.items()
    ]
    return rows.select(
        _day("published").alias("PubDate"),
        pl.col("symbol").alias("Code"),
        _day("event_date").alias("AppDate"),
        pl.struct(reasons).alias("PubReason"),
        *_all(side.ALERT_COLUMNS),
        *(
            expr
            for word, name in (("Shrt", "short"), ("Long", "long"))
            for expr in (
                pl.lit(0.0).alias(f"{word}NegOut"),
                (0.0 * pl.col(f"{name}_change")).alias(f"{word}NegOutChg"),
                pl.col(name).alias(f"{word}StdOut"),
                pl.col(f"{name}_change").alias(f"{word}StdOutChg"),
            )
        ),
        pl.col("stage").alias("TSEMrgnRegCls"),
        _kept(),
    )


def _investor_types(rows: pl.DataFrame, market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    sold_bought = [
        (word, pl.col(f"{name}_sell"), pl.col(f"{name}_buy"))
        for name, word in side.INVESTOR_WORDS.items()
    ]
    return rows.select(
        _day("published").alias("PubDate"),
        _day("start").alias("StDate"),
        _day("event_date").alias("EnDate"),
        pl.col("section").replace_strict(_WORD_OF_SECTION).alias("Section"),
        *(
            expr.alias(f"{word}{suffix}")
            for word, sold, bought in sold_bought
            for suffix, expr in (
                ("Sell", sold),
                ("Buy", bought),
                ("Tot", sold + bought),
                ("Bal", bought - sold),
            )
        ),
        _kept(),
    )


def _options(rows: pl.DataFrame, market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    price = pl.col("close").fill_null(0.0)
    # No night came before a contract's first day.
    night = pl.when(pl.col("event_date") > pl.col("event_date").min().over("contract")).then(price)
    expiry = rows["expiry"].to_numpy().astype("datetime64[D]")
    last_day = pl.Series("LTD", calendar.before(expiry, 1))
    return rows.with_columns(last_day).select(
        _day("event_date").alias("Date"),
        pl.col("contract").alias("Code"),
        *(price.alias(name) for name in "OHLC"),
        *(night.alias(f"E{name}") for name in "OHLC"),
        *(price.alias(f"A{name}") for name in "OHLC"),
        (pl.col("volume") * price * MULTIPLIER).alias("Va"),
        pl.col("contract_month").alias("CM"),
        pl.col("strike").alias("Strike"),
        pl.col("volume").alias("VoOA"),
        pl.col("division").alias("EmMrgnTrgDiv"),
        pl.col("put_call").alias("PCDiv"),
        _day("LTD"),
        _day("expiry").alias("SQD"),
        pl.col("settlement").alias("Theo"),
        *_all(side.OPTION_COLUMNS),
        _kept(),
    )


def _indices(rows: pl.DataFrame, market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return sector indices, and beside them one that is of no sector, as the API has many."""
    levels = rows.select(
        _day("event_date").alias("Date"),
        pl.col("code").alias("Code"),
        pl.col("open").alias("O"),
        pl.col("high").alias("H"),
        pl.col("low").alias("L"),
        pl.col("close").alias("C"),
        _kept(),
    )
    source = SimSource(market.spec, calendar)
    whole = source.rows("benchmark")
    whole = whole.with_columns(*_clock("benchmark", whole, calendar))
    wide = _topix(whole, market, calendar).with_columns(pl.lit(TOPIX_CODE).alias("Code"))
    made_up = _made_up(levels, ["Code"], calendar)
    return pl.concat([levels, made_up, wide.select(levels.columns)])


def _topix(rows: pl.DataFrame, market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    levels = rows.select(
        _day("event_date").alias("Date"),
        *(pl.col("close").alias(name) for name in "OHLC"),
        _kept(),
    )
    return pl.concat([levels, _made_up(levels, [], calendar)])


def _made_up(levels: pl.DataFrame, key: list[str], calendar: Calendar) -> pl.DataFrame:
    """Return the rows of the day on which nothing was traded: the close before, four times."""
    halt = FULL_DAY_HALT.isoformat()
    before = levels.filter(pl.col("Date") < halt)
    if before.is_empty() or levels.filter(pl.col("Date") > halt).is_empty():
        return levels.clear()
    last = before.filter(pl.col("Date") == pl.col("Date").max())
    stamp = instants_of(calendar, np.array([FULL_DAY_HALT], dtype="datetime64[D]"), INDICES.at)
    return last.with_columns(
        pl.lit(halt).alias("Date"),
        *(pl.col("C").alias(name) for name in "OHL"),
        pl.lit(stamp.item()).cast(INSTANT).alias(AT),
    )


def _summary(rows: pl.DataFrame, market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return documents as text, one basis filled and the other left empty."""
    alone = ~pl.col("is_consolidated").fill_null(True)
    based = [
        pl.when(alone if basis is statements.PARENT else ~alone)
        .then(_written(name))
        .otherwise(pl.lit(""))
        .alias(theirs)
        for basis in (statements.GROUP, statements.PARENT)
        for name, theirs in basis.items()
    ]
    shown = rows.select(
        _day("event_date").alias("DiscDate"),
        pl.col("symbol").alias("Code"),
        *(pl.col(o).fill_null("").alias(t) for o, t in statements.WORDS.items()),
        *(_day(o).fill_null("").alias(t) for o, t in statements.DAYS.items()),
        *based,
        *(_written(name).alias(theirs) for name, theirs in statements.EITHER.items()),
        *(pl.lit("false").alias(name) for name in FLAGS),
        _kept(),
    )
    empty = [pl.lit("").alias(n) for n in FINS_SUMMARY.columns if n not in shown.columns]
    return shown.with_columns(empty)


def _written(name: str) -> pl.Expr:
    """Return a number as the API writes it in text: whole ones without a point, none as nothing."""
    value = pl.col(name)
    whole = value.cast(pl.Int64, strict=False)
    return (
        pl.when(value == value.floor())
        .then(whole.cast(pl.String))
        .otherwise(value.cast(pl.String))
        .fill_null("")
    )


def _earnings_date(rows: pl.DataFrame, market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    names = words.issues(market).select("Code", "CoName", "CoNameEn")
    return rows.select(
        _day("event_date").alias("PubDate"),
        _day("scheduled").fill_null("").alias("SchDate"),
        pl.col("period").alias("FQName"),
        pl.col("fiscal_year_end").alias("FYE"),
        pl.col("symbol").alias("Code"),
        _kept(),
    ).join(names, on="Code", how="left", maintain_order="left")


def _valuation(rows: pl.DataFrame, market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    return rows.select(
        _day("event_date").alias("Date"),
        pl.col("symbol").alias("Code"),
        *_all(side.VALUATION_COLUMNS),
        _kept(),
    ).with_columns(pl.col("MktCap") / side.MILLION)


def _breakdown(rows: pl.DataFrame, market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    return rows.select(
        _day("event_date").alias("Date"),
        pl.col("symbol").alias("Code"),
        *_all(side.BREAKDOWN_COLUMNS),
        _kept(),
    )


def _dividend(rows: pl.DataFrame, market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return one notice per payment, given some weeks before its ex-date."""
    days = rows["event_date"].to_numpy().astype("datetime64[D]")
    told = np.maximum(calendar.before(days, TOLD_BEFORE), market.sessions[0])
    number = pl.format("{}1B{}", _day("PubDate").str.replace_all("-", ""), pl.col("symbol"))
    shown = rows.with_columns(
        pl.Series("PubDate", told),
        pl.Series("RecDate", calendar.after(days, 1)),
        instants_of(calendar, told, DIVIDEND.at).alias(AT),
    ).select(
        _day("PubDate"),
        pl.lit("15:30").alias("PubTime"),
        pl.col("symbol").alias("Code"),
        number.alias("RefNo"),
        number.alias("CARefNo"),
        pl.lit("1").alias("StatCode"),
        _day("PubDate").alias("BoardDate"),
        pl.lit("2").alias("IFCode"),
        pl.lit("1").alias("FRCode"),
        pl.col("RecDate").dt.to_string("%Y-%m").alias("IFTerm"),
        pl.col("amount").alias("DivRate"),
        _day("RecDate"),
        _day("event_date").alias("ExDate"),
        _day("RecDate").alias("ActRecDate"),
        pl.lit(UNSETTLED).alias("PayDate"),
        pl.lit("0").alias("CommSpecCode"),
        _kept(),
    )
    empty = [pl.lit("").alias(n) for n in DIVIDEND.columns if n not in shown.columns]
    return shown.with_columns(empty)


def _marks(names: Iterable[str], mark: str) -> dict[str, str]:
    return dict.fromkeys(names, mark)


_CHANGES = [name for name in MARGIN_ALERT.columns if name.endswith("Chg")]
# What a null of some columns is written as, where the API has a mark beside numbers.
MADE: dict[str, tuple[Endpoint, Make, dict[str, str]]] = {
    "benchmark": (TOPIX, _topix, {}),
    "dividends": (DIVIDEND, _dividend, {}),
    "sector_short_selling": (SHORT_RATIO, _short_ratio, {}),
    "short_positions": (SHORT_SALE_REPORT, _short_sale_report, {}),
    "margin": (MARGIN_INTEREST, _margin_interest, {}),
    "margin_alerts": (
        MARGIN_ALERT,
        _margin_alert,
        {**_marks(_CHANGES, UNSETTLED), **_marks(("ShrtOutRatio", "LongOutRatio", "SLRatio"), "*")},
    ),
    "investor_types": (INVESTOR_TYPES, _investor_types, {}),
    "index_options": (OPTIONS_225, _options, _marks(("EO", "EH", "EL", "EC"), "")),
    "sector_indices": (INDICES, _indices, {}),
    "statements": (FINS_SUMMARY, _summary, {}),
    "earnings_dates": (EARNINGS_DATE, _earnings_date, {}),
    "valuation": (VALUATION, _valuation, {}),
    "breakdown": (BREAKDOWN, _breakdown, {}),
}
