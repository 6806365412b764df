"""The simulated exchange as the API's tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time
from functools import cached_property

import numpy as np
import polars as pl

from alpha_assets.calendar import Calendar, as_date
from alpha_assets.feeds import FEEDS
from alpha_assets.feeds.base import INSTANT, instants_of
from alpha_assets.sources.jquants.endpoints import BARS, CALENDAR, FULL_DAY_HALT, MASTER, Endpoint
from alpha_assets.sources.sim import SimSpec, tokyo
from alpha_assets.sources.sim.market import SimMarket, generate
from alpha_assets.sources.sim.source import SimSource
from alpha_assets.sources.sim_jquants.issues import issues
from alpha_assets.sources.sim_jquants.rows import (
    AT,
    OWN,
    VERSION,
    Query,
    Rows,
    Table,
    columns_of,
    instant,
)
from alpha_assets.sources.sim_jquants.side import side_tables


@dataclass
class Master:
    """Who is listed on a day; made when asked for, since it is one row per issue and session."""

    market: SimMarket
    calendar: Calendar
    endpoint: Endpoint = MASTER
    nothing: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _sessions(self) -> np.ndarray:
        """The market's sessions and the one after, whose master appears the evening before."""
        last = self.market.sessions[-1:]
        return np.concatenate([self.market.sessions, self.calendar.after(last, 1)])

    @cached_property
    def _public_at(self) -> np.ndarray:
        evening_before = self.calendar.before(self._sessions, 1)
        return np.asarray(self.calendar.instant(evening_before, time(17, 30)))

    @cached_property
    def _names(self) -> pl.DataFrame:
        return issues(self.market)

    def select(self, query: Query, now: datetime) -> pl.DataFrame:
        """Return the master of the asked day, or of the session that follows it."""
        asked = query.get("date")
        today = np.datetime64(now.astimezone(self.calendar.zone).date(), "D")
        day = np.datetime64(asked, "D") if asked else today
        public = self._sessions[self._public_at <= instant(now)]
        if not len(public):
            return self.of_sessions(public)
        number = min(int(np.searchsorted(public, day)), len(public) - 1)
        found = self.of_sessions(public[number : number + 1])
        return found.filter(pl.col("Code") == query["code"]) if "code" in query else found

    def month(self, month: str, now: datetime) -> pl.DataFrame:
        """Return the masters of a month's sessions."""
        public = self._sessions[self._public_at <= instant(now)]
        return self.of_sessions(public[public.astype("datetime64[M]") == np.datetime64(month, "M")])

    def months(self, now: datetime) -> list[str]:
        """Return the months that have masters."""
        public = self._sessions[self._public_at <= instant(now)]
        return [str(month) for month in np.unique(public.astype("datetime64[M]"))]

    def of_sessions(self, sessions: np.ndarray) -> pl.DataFrame:
        """Return the masters of some sessions."""
        parts = [
            self._of_number(int(np.searchsorted(self._sessions, session))) for session in sessions
        ]
        empty = self._of_number(0).clear()
        return pl.concat([empty, *parts]) if parts else empty

    def _of_number(self, number: int) -> pl.DataFrame:
        roster = self.market.roster
        listed_N = (roster.start <= number) & (number <= roster.end)
        day = as_date(self._sessions[number])
        before = day < tokyo.SEGMENT_CHANGE
        return (
            self._names.filter(pl.Series(listed_N))
            .with_columns(
                pl.lit(day.isoformat()).alias("Date"),
                (pl.col("MktOld") if before else pl.col("MktNew")).alias("Mkt"),
                (pl.col("MktNmOld") if before else pl.col("MktNmNew")).alias("MktNm"),
            )
            .sort("Code")
            .select(MASTER.columns)
        )


def all_tables(spec: SimSpec, calendar: Calendar, every_version: bool = False) -> dict[str, Table]:
    """Return the tables of everything that the exchange publishes, by path."""
    market, source = generate(spec, calendar), SimSource(spec, calendar)
    division = source.rows("trading_calendar")
    days = division.select(
        *columns_of(CALENDAR),
        FEEDS["trading_calendar"].publication.stamp(division, calendar).alias(AT),
        pl.lit(0, pl.Int16).alias(VERSION),
    )
    return {
        CALENDAR.path: Rows(CALENDAR, lambda: days),
        MASTER.path: Master(market, calendar),
        BARS.path: Rows(BARS, lambda: _bars(market, calendar, source), _adjusted, every_version),
        **side_tables(market, source, calendar, every_version),
    }


def _bars(market: SimMarket, calendar: Calendar, source: SimSource) -> pl.DataFrame:
    """Return every version of every bar, and a row of nulls for whatever was not traded."""
    rows = source.rows("daily_bars")
    factor = pl.col("adjustment_factor")
    traded = rows.select(
        *columns_of(BARS),
        pl.when(factor < 1).then(pl.lit("1")).when(factor > 1).then(pl.lit("2"))
        .otherwise(pl.lit("")).alias("ExRT"),
        pl.col("available_at")
        .fill_null(FEEDS["daily_bars"].publication.stamp(rows, calendar))
        .alias(AT),
        pl.col("revision").alias(VERSION),
        pl.col("available_at").alias(OWN),
    )  # fmt: skip
    idle_D, idle_N = np.nonzero(market.listed() & np.isnan(market.bar["close"]))
    days, codes = market.sessions[idle_D], np.array(market.roster.code)[idle_N]
    halt = np.datetime64(FULL_DAY_HALT, "D")
    if market.sessions[0] < halt < market.sessions[-1]:
        # Announced as a session, never held: the API has a row of nulls for every issue.
        number = int(np.searchsorted(market.sessions, halt))
        stood = np.flatnonzero((market.roster.start < number) & (number <= market.roster.end))
        days = np.concatenate([days, np.full(len(stood), halt)])
        codes = np.concatenate([codes, np.array(market.roster.code)[stood]])
    nothing = pl.DataFrame(
        {
            "Date": np.datetime_as_string(days) if len(days) else [],
            "Code": codes.tolist(),
            AT: instants_of(calendar, days, BARS.at),
        },
        schema={"Date": pl.String, "Code": pl.String, AT: INSTANT},
    ).with_columns(
        pl.lit("0").alias("UL"),
        pl.lit("0").alias("LL"),
        pl.lit(1.0).alias("AdjFactor"),
        pl.lit("").alias("ExRT"),
        pl.lit(0, pl.Int16).alias(VERSION),
    )
    return pl.concat([traded, nothing], how="diagonal")


def _adjusted(bars: pl.DataFrame) -> pl.DataFrame:
    """Return bars with the vendor's own adjustment: by every later factor, rounded to 0.1 yen."""
    # Of several versions of a bar only one may count; the factor is the same in all of them.
    factors = bars.select("Code", "Date", "AdjFactor").unique().sort("Code", "Date")
    later = factors.with_columns(
        pl.col("AdjFactor")
        .shift(-1)
        .fill_null(1.0)
        .reverse()
        .cum_prod()
        .reverse()
        .over("Code")
        .alias("_later")
    ).drop("AdjFactor")
    return (
        bars.join(later, on=["Code", "Date"], how="left", maintain_order="left")
        .with_columns(
            *(
                (pl.col(name) * pl.col("_later")).round(1).alias(f"Adj{name}")
                for name in ("O", "H", "L", "C")
            ),
            (pl.col("Vo") / pl.col("_later")).round(0).alias("AdjVo"),
        )
        .drop("_later")
    )
