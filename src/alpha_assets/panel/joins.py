"""How each side feed enters the panel: whose state it is, its columns, and how long it lasts.

A feed with one row per key and day joins as it is.  One with many (a surface of options, the
reports of several holders, a document) is first made into states; the functions that do so stand
in `states/`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.feeds import FEEDS, SIDE_FEEDS, Feed
from alpha_assets.feeds.base import Scope
from alpha_assets.panel.states import (
    earnings,
    flows,
    index,
    margin,
    news,
    options,
    shorts,
    statements,
)
from alpha_assets.panel.states.plain import LAG, LAG_MEANING, parts_of, plain_states

States = Callable[[pl.DataFrame, Calendar, int], pl.DataFrame]

# Of a valuation: its ratios to the price say nothing that these and the price do not.
VALUED = ("eps", "forward_eps", "bps", "roe", "forward_roe", "market_value")


@dataclass(frozen=True)
class Join:
    """One set of panel columns and the feed that it is made from.

    Attributes:
        name: panel columns are called `<name>_<column>`, and `<name>_age`.
        feed: whose raw rows.
        scope: whose state it is.
        columns: column -> meaning with unit; all are Float64.
        max_stale: sessions after which the values are missing; None: never.
        states: from raw rows effective at session number `until` or before, to states: the key,
            the columns, and `event_date`, `available_at`, `revision`.
        history: sessions before the first one wanted whose rows its states need whole: what the
            limit lets be seen, and what the states of then look back to; None: all there are.
        marks: columns that tell apart kinds of older rows; of each the last one is needed, but
            for no value beside these and the clock.
        whole_days: whether a state is made of all rows of an `event_date`.
        lasting: columns that are never too old.
        unlike: why `max_stale` is not that of the feed; empty where it is.
    """

    name: str
    feed: str
    scope: Scope
    columns: Mapping[str, str]
    max_stale: int | None
    states: States
    history: int | None = None
    marks: tuple[str, ...] = ()
    whole_days: bool = False
    lasting: tuple[str, ...] = ()
    unlike: str = ""

    @property
    def panel_columns(self) -> tuple[str, ...]:
        """Its columns in the panel, the age last."""
        return (*(f"{self.name}_{name}" for name in self.columns), f"{self.name}_age")


def plain(feed: Feed, columns: Sequence[str] | None = None, *, with_lag: bool = False) -> Join:
    """Return the join of a feed with one row per key and day.

    Args:
        feed: whose numbers and flags enter.
        columns: which of them; default: all.
        with_lag: whether the sessions since the day that a row is about are wanted, too: what is
            in shares of that day must be restated for the splits since.
    """
    wanted = {
        c.name: f"{c.meaning}, {c.unit}"
        for c in feed.values
        if c.dtype in (pl.Float64, pl.Boolean) and (columns is None or c.name in columns)
    }
    vectors = {
        c.name: int(c.dtype.shape[0])
        for c in feed.values
        if isinstance(c.dtype, pl.Array) and (columns is None or c.name in columns)
    }
    plain_ones = list(wanted)
    for name, width in vectors.items():
        wanted |= dict.fromkeys(parts_of(name, width), f"number of {name}")
    if with_lag:
        wanted[LAG] = LAG_MEANING
    return Join(
        feed.name,
        feed.name,
        feed.scope,
        wanted,
        feed.max_stale,
        plain_states(
            [name for name in feed.key if name != "name"],
            [*plain_ones, *([LAG] if with_lag else [])],
            vectors,
        ),
        history=feed.max_stale,
        marks=tuple(name for name in feed.key if name not in ("event_date", "name")),
    )


JOINS: dict[str, Join] = {
    join.name: join
    for join in (
        Join(
            "benchmark",
            "benchmark",
            "market",
            index.INDEX_COLUMNS,
            FEEDS["benchmark"].max_stale,
            index.index_states,
            history=FEEDS["benchmark"].max_stale,
            marks=("name",),
        ),
        plain(SIDE_FEEDS["sector_short_selling"]),
        Join(
            "short_selling",
            "sector_short_selling",
            "market",
            shorts.SALES_COLUMNS,
            FEEDS["sector_short_selling"].max_stale,
            shorts.market_sales_states,
            history=FEEDS["sector_short_selling"].max_stale,
            whole_days=True,
        ),
        Join(
            "short_positions",
            "short_positions",
            "symbol",
            shorts.POSITION_COLUMNS,
            None,
            shorts.position_states,
            # A position that was reported earlier has been replaced, or counts as closed.
            history=shorts.SILENCE - 1,
            marks=("symbol", "seller", "client", "fund"),
        ),
        Join(
            "margin",
            "margin",
            "symbol",
            margin.MARGIN_COLUMNS,
            FEEDS["margin"].max_stale,
            margin.margin_states,
            history=FEEDS["margin"].max_stale,
            marks=("symbol",),
        ),
        Join(
            "margin_alerts",
            "margin_alerts",
            "symbol",
            margin.ALERT_COLUMNS,
            None,
            margin.alert_states,
            unlike="an issue that is silent has left: that stays true; `alert_board` has the "
            "feed's limit, and says whether anything was published",
        ),
        Join(
            "alert_board",
            "margin_alerts",
            "market",
            margin.BOARD_COLUMNS,
            FEEDS["margin_alerts"].max_stale,
            margin.board_states,
            history=FEEDS["margin_alerts"].max_stale,
            marks=("revision",),
            whole_days=True,
        ),
        Join(
            "investor_types",
            "investor_types",
            "section",
            flows.FLOW_COLUMNS,
            FEEDS["investor_types"].max_stale,
            flows.flow_states,
        ),
        Join(
            "market_flows",
            "investor_types",
            "market",
            flows.FLOW_COLUMNS,
            FEEDS["investor_types"].max_stale,
            flows.market_flow_states,
        ),
        Join(
            "index_options",
            "index_options",
            "market",
            options.OPTION_COLUMNS,
            FEEDS["index_options"].max_stale,
            options.option_states,
            history=FEEDS["index_options"].max_stale,
            marks=("division",),
            whole_days=True,
        ),
        plain(SIDE_FEEDS["sector_indices"], ("open", "close")),
        Join(
            "statements",
            "statements",
            "symbol",
            statements.STATEMENT_COLUMNS,
            SIDE_FEEDS["statements"].max_stale,
            statements.statement_states,
        ),
        Join(
            "earnings_dates",
            "earnings_dates",
            "symbol",
            earnings.EARNINGS_DATE_COLUMNS,
            None,
            earnings.earnings_date_states,
        ),
        plain(SIDE_FEEDS["valuation"], VALUED, with_lag=True),
        Join(
            "news",
            "news",
            "symbol",
            news.NEWS_COLUMNS,
            FEEDS["news"].max_stale,
            news.news_states,
            history=FEEDS["news"].max_stale,
            marks=(*SIDE_FEEDS["news"].key, "revision"),
            lasting=("count",),  # so many articles there were, however long ago the last was
        ),
        plain(SIDE_FEEDS["short_volume"]),
        plain(SIDE_FEEDS["short_interest"], with_lag=True),
        plain(SIDE_FEEDS["option_summary"]),
    )
}


def joins_of(feeds: Mapping[str, Feed]) -> tuple[Join, ...]:
    """Return the joins of a market's feeds; a market's own feed joins as it is."""
    known = [join for join in JOINS.values() if join.feed in feeds]
    own = [plain(feed) for name, feed in feeds.items() if name not in FEEDS]
    return (*known, *own)
