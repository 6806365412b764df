"""The simulated exchange's side feeds as the API's tables.

Columns of the API that the exchange does not simulate are filled consistently: sub-balances that
add up, an empty address, the whole day's prices for its parts.
"""

from collections.abc import Callable, Iterable

import numpy as np
import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.feeds import FEEDS
from alpha_assets.feeds.base import INSTANT, instants_of
from alpha_assets.feeds.sectors import SECTORS
from alpha_assets.sources.jquants import side, statements
from alpha_assets.sources.jquants.endpoints import (
    BREAKDOWN,
    DIVIDEND,
    EARNINGS_DATE,
    FINS_SUMMARY,
    FULL_DAY_HALT,
    INDICES,
    INVESTOR_GROUPS,
    INVESTOR_TYPES,
    MARGIN_ALERT,
    MARGIN_INTEREST,
    OPTIONS_225,
    REASON_NAMES,
    SHORT_RATIO,
    SHORT_SALE_REPORT,
    TOPIX,
    VALUATION,
    Endpoint,
)
from alpha_assets.sources.sim.market import SimMarket
from alpha_assets.sources.sim.source import SimSource
from alpha_assets.sources.sim_jquants.issues import issues
from alpha_assets.sources.sim_jquants.rows import AT, OWN, VERSION, Rows, columns_of

LOT = 100.0  # shares
MULTIPLIER = 1_000.0  # yen a point of an option
NOTICE_SESSIONS = 20  # sessions between a dividend's notice and its ex-date
TOPIX_CODE = "0000"
UNSETTLED = "-"  # written where a value was not published
HALVES = ("E", "A")  # night and day sessions of options
FLAGS = ("SigChgInC", "ChgByASRev", "ChgNoASRev", "ChgAcEst")

_CODE_OF_SECTOR = {english: code for code, _, english in SECTORS}
_NAME_OF_SECTION = {ours: theirs for theirs, ours in side.SECTIONS.items()}

Make = Callable[[pl.DataFrame, SimMarket, Calendar], pl.DataFrame]


def side_tables(
    market: SimMarket, source: SimSource, calendar: Calendar, every_version: bool
) -> dict[str, Rows]:
    """Return the tables of all side feeds that the exchange has, by path; made when asked for."""
    tables: dict[str, Rows] = {}

    def add(endpoint: Endpoint, write: Make, nothing: dict[str, str]) -> None:
        feed = endpoint.feed
        if feed not in source.feeds():
            return

        def written() -> pl.DataFrame:
            rows = source.rows(feed)
            shown = write(rows.with_columns(*_clock(feed, rows, calendar)), market, calendar)
            return shown.select(*endpoint.columns, *(n for n in (AT, VERSION, OWN) if n in shown))

        tables[endpoint.path] = Rows(
            endpoint, written, every_version=every_version, nothing=nothing
        )

    for endpoint, write, nothing in WRITERS:
        add(endpoint, write, nothing)
    return tables


def _clock(feed: str, rows: pl.DataFrame, calendar: Calendar) -> list[pl.Expr | pl.Series]:
    """Return when each version appeared and which it is; its own stamp where there is one."""
    stamp = FEEDS[feed].publication.stamp(rows, calendar)
    if "revision" not in rows.columns:
        return [stamp.alias(AT), pl.lit(0, pl.Int16).alias(VERSION)]
    own = pl.col("available_at")
    stamps: list[pl.Expr | pl.Series] = [
        own.fill_null(stamp).alias(AT),
        pl.col("revision").alias(VERSION),
    ]
    # Versions that stand side by side are distinguished by a column of their own.
    return stamps if FEEDS[feed].version else [*stamps, own.alias(OWN)]


def _day(name: str) -> pl.Expr:
    return pl.col(name).dt.to_string("%Y-%m-%d")


def _kept() -> pl.Expr:
    """Return what is carried beside the wire's columns."""
    return pl.col("^_(at|version|own)$")


def _plain(endpoint: Endpoint) -> Make:
    """Return how rows are written whose columns are all the feed's."""
    return lambda rows, market, calendar: rows.select(*columns_of(endpoint), _kept())


def _short_ratio(rows: pl.DataFrame, market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    code = pl.col("sector").replace_strict(_CODE_OF_SECTOR).alias("S33")
    return rows.select(code, *columns_of(SHORT_RATIO, skip=("sector",)), _kept())


def _short_sale_report(rows: pl.DataFrame, market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    return rows.select(
        *columns_of(SHORT_SALE_REPORT),
        (pl.col("shares") / LOT).alias("ShrtPosUnits"),
        *(pl.lit("").alias(name) for name in ("SSAddr", "DICAddr", "Notes")),
        _kept(),
    ).with_columns(pl.col("PrevRptDate").fill_null(""), pl.col("PrevRptRatio").fill_null(0.0))


def _margin_interest(rows: pl.DataFrame, market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    def part(side_: str, term: str) -> pl.Expr:
        share = pl.col(f"{side_}_{term}") / pl.col(side_)
        return (pl.col(f"{side_}_value") * share).round(0)

    return rows.select(
        *columns_of(MARGIN_INTEREST),
        part("short", "negotiable").fill_nan(None).alias("ShrtNegVal"),
        part("long", "negotiable").fill_nan(None).alias("LongNegVal"),
        part("short", "standard").fill_nan(None).alias("ShrtStdVal"),
        part("long", "standard").fill_nan(None).alias("LongStdVal"),
        _kept(),
    )


def _margin_alert(rows: pl.DataFrame, market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    reasons = [
        pl.col(ours).cast(pl.Int8).cast(pl.String).alias(theirs)
        for ours, theirs in REASON_NAMES.items()
    ]
    return rows.select(
        *columns_of(MARGIN_ALERT),
        pl.struct(reasons).alias("PubReason"),
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
        _kept(),
    )


def _investor_types(rows: pl.DataFrame, market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    sold_bought = [
        (group, pl.col(f"{name}_sell"), pl.col(f"{name}_buy"))
        for name, group in INVESTOR_GROUPS.items()
    ]
    return rows.select(
        pl.col("section").replace_strict(_NAME_OF_SECTION).alias("Section"),
        *columns_of(INVESTOR_TYPES, skip=("section",)),
        *(
            expr.alias(f"{group}{suffix}")
            for group, sold, bought in sold_bought
            for suffix, expr in (("Tot", sold + bought), ("Bal", bought - sold))
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
        *columns_of(OPTIONS_225, skip=("close",)),
        *(price.alias(name) for name in "OHLC"),
        *(night.alias(f"E{name}") for name in "OHLC"),
        *(price.alias(f"A{name}") for name in "OHLC"),
        (pl.col("volume") * price * MULTIPLIER).alias("Va"),
        pl.col("volume").alias("VoOA"),
        _day("LTD"),
        pl.col("settlement").alias("Theo"),
        _kept(),
    )


def _indices(rows: pl.DataFrame, market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return sector indices, and beside them one that is of no sector, as the API has many."""
    levels = rows.select(*columns_of(INDICES), _kept())
    source = SimSource(market.spec, calendar)
    whole = source.rows("benchmark")
    whole = whole.with_columns(*_clock("benchmark", whole, calendar))
    wide = _topix(whole, market, calendar).with_columns(pl.lit(TOPIX_CODE).alias("Code"))
    made_up = _made_up(levels, ["Code"], calendar)
    return pl.concat([levels, made_up, wide.select(levels.columns)])


def _topix(rows: pl.DataFrame, market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    levels = rows.select(
        *columns_of(TOPIX),
        *(pl.col("close").alias(name) for name in "OHL"),
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
    numbers = {*statements.GROUP, *statements.EITHER}
    parents = (name for name in FINS_SUMMARY.theirs if name.startswith("parent."))
    shown = rows.select(
        *(column.fill_null("") for column in columns_of(FINS_SUMMARY, skip=(*numbers, *parents))),
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
    names = issues(market).select("Code", "CoName", "CoNameEn")
    return rows.select(
        *columns_of(EARNINGS_DATE, skip=("scheduled",)),
        _day("scheduled").fill_null("").alias("SchDate"),
        _kept(),
    ).join(names, on="Code", how="left", maintain_order="left")


def _dividend(rows: pl.DataFrame, market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return one notice per payment, given some weeks before its ex-date."""
    days = rows["event_date"].to_numpy().astype("datetime64[D]")
    noticed = np.maximum(calendar.before(days, NOTICE_SESSIONS), market.sessions[0])
    number = pl.format("{}1B{}", _day("PubDate").str.replace_all("-", ""), pl.col("symbol"))
    shown = rows.with_columns(
        pl.Series("PubDate", noticed),
        pl.Series("RecDate", calendar.after(days, 1)),
        instants_of(calendar, noticed, DIVIDEND.at).alias(AT),
    ).select(
        _day("PubDate"),
        *columns_of(DIVIDEND),
        pl.lit("15:30").alias("PubTime"),
        number.alias("RefNo"),
        number.alias("CARefNo"),
        pl.lit("1").alias("StatCode"),
        _day("PubDate").alias("BoardDate"),
        pl.lit("2").alias("IFCode"),
        pl.lit("1").alias("FRCode"),
        pl.col("RecDate").dt.to_string("%Y-%m").alias("IFTerm"),
        _day("RecDate"),
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
# How each table is written, and what a null of some columns is written as, where the API has a
# mark beside numbers.
WRITERS: tuple[tuple[Endpoint, Make, dict[str, str]], ...] = (
    (TOPIX, _topix, {}),
    (DIVIDEND, _dividend, {}),
    (SHORT_RATIO, _short_ratio, {}),
    (SHORT_SALE_REPORT, _short_sale_report, {}),
    (MARGIN_INTEREST, _margin_interest, {}),
    (
        MARGIN_ALERT,
        _margin_alert,
        {**_marks(_CHANGES, UNSETTLED), **_marks(("ShrtOutRatio", "LongOutRatio", "SLRatio"), "*")},
    ),
    (INVESTOR_TYPES, _investor_types, {}),
    (OPTIONS_225, _options, _marks(("EO", "EH", "EL", "EC"), "")),
    (INDICES, _indices, {}),
    (FINS_SUMMARY, _summary, {}),
    (EARNINGS_DATE, _earnings_date, {}),
    (VALUATION, _plain(VALUATION), {}),
    (BREAKDOWN, _plain(BREAKDOWN), {}),
)
