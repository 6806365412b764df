"""What a backtest writes down, and how: pages kept session by session, tables at the end.

Shape letters: D sessions, N symbols, K trades or positions of one session.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alpha_assets.arrays.rates import UNKNOWN_RATE
from alpha_assets.arrays.types import Array, Index
from alpha_assets.backtest.costs import CostsSpec
from alpha_assets.backtest.market_data import Marks
from alpha_assets.feeds.market import RATES

# What happened to orders beside their fills, and how it is reported; {n} orders, {days} sessions.
# An order that waits for several sessions is one order.
HELD_BACK = (
    "{n} purchases or new shorts were held back in part or whole on {days} sessions, because sales "
    "that were to pay for them could not be filled"
)
NOT_BORROWED = (
    "{n} short sales were not filled on {days} sessions, or only in part, because lenders had too "
    "few shares (borrow.available_shares)"
)
ABOVE_LOANS = (
    "{n} short positions, counted once a rebalance, were above the shares that lenders quoted "
    "(borrow.available_shares) on {days} sessions: they were kept, and not added to"
)
NO_LIMIT = (
    "{n} orders were filled on {days} sessions without portfolio.max_participation, because no "
    "volume of the name's last 20 sessions is known"
)
NO_VOLUME = "{n} orders were filled on {days} sessions with bars whose volume is not known"

LEGS = ("long", "short")
SHARES_OF_ADV = (0.01, 0.05, 0.1)  # that orders are counted above

DAILY = (
    "gross_return",
    "net_return",
    "turnover",
    "gross_exposure",
    "net_exposure",
    "commission",
    "spread_cost",
    "impact_cost",
    "borrow_cost",
    "dividends",
    "cash_interest",
    "cash",
    "equity",
)


@dataclass(frozen=True)
class Books:
    """What a backtest writes: see the output contract for the columns.

    Attributes:
        positions: at each close.
        trades: fills, exits and fractions paid out.
        daily: the account by session.
        marks: the prices and ratios that were used.
        orders: `session`, `symbol`, `shares` (signed), `sized_at`: every rebalance's orders as
            they were decided, and the close known then, both as traded.  Nothing published
            after a session's decision changes its orders unless it changes a session that the
            books have lived.
        cash_rates: `session`, `cash_rate_annual`: what was paid, 0 where the rate is not known;
            None without a feed of rates.
        notes: sentences that a reader of the figures must know.
        order_counts: how many orders there were, and what became of them.
        pages: all of this as it was written down, session by session.
    """

    positions: pl.DataFrame
    trades: pl.DataFrame
    daily: pl.DataFrame
    marks: pl.DataFrame
    orders: pl.DataFrame
    cash_rates: pl.DataFrame | None
    notes: tuple[str, ...]
    order_counts: "OrderCounts"
    pages: "Pages"


@dataclass(frozen=True)
class OrderCounts:
    """How many orders there were, how large they were, and what became of them.

    Attributes:
        n: orders of all rebalances.
        n_partial: filled in part at some session: the rest was still open after it.
        n_carried: still open, in part or whole, after the session that ordered them.
        n_unfinished: never filled whole: the next rebalance, an exit or the end of the books
            cancelled the rest.
        n_unknown_adv: without a known ADV; they count in none of the shares.
        above: share of ADV -> how many of the others were larger.
    """

    n: int
    n_partial: int
    n_carried: int
    n_unfinished: int
    n_unknown_adv: int
    above: Mapping[float, int]


class Trades(NamedTuple):
    """Trades of one session at one occasion: fills, exits, or fractions of shares paid out.

    Attributes:
        symbol_K: places on the symbol axis.
        shares_K: signed, buys positive.
        price_K: before costs.
        cost_3K: commission, spread and impact in money, each at least 0.
        reason_K: why, in a word.
    """

    symbol_K: Index
    shares_K: Array
    price_K: Array
    cost_3K: Array
    reason_K: list[str]


class Orders(NamedTuple):
    """What one rebalance ordered: signed shares, and the known close that sized them."""

    symbol_K: Index
    shares_K: Array
    sized_at_K: Array


class Holdings(NamedTuple):
    """Positions at the close of one session; a weight of NaN: no target was set."""

    symbol_K: Index
    shares_K: Array
    target_K: Array


@dataclass
class Pages:
    """Everything that was written down so far.

    Attributes:
        marks: the market.
        costs: what trading and being short costs.
        capital: equity before the first session.
        wanted: weights on the symbol axis by the place of their session: the rebalances.
        has_lives: whether symbols are those of lives.
        participation: of each rebalance's orders the share of ADV; NaN where ADV is not known.
        n_partial, n_carried, n_unfinished: as in `OrderCounts`.
    """

    marks: Marks
    costs: CostsSpec
    capital: float
    days: list[tuple[float, ...]] = field(default_factory=list)
    traded: list[tuple[int, Trades]] = field(default_factory=list)
    held: list[tuple[int, Holdings]] = field(default_factory=list)
    ordered: list[tuple[int, Orders]] = field(default_factory=list)
    counted: dict[str, list[tuple[int, Index]]] = field(default_factory=dict)
    wanted: Mapping[int, Array] = field(default_factory=dict)
    has_lives: bool = False
    participation: list[Array] = field(default_factory=list)
    n_partial: int = 0
    n_carried: int = 0
    n_unfinished: int = 0

    def count(self, d: int, what: str, symbol_K: Index) -> None:
        """Count that something happened on a session to the open orders of some symbols."""
        if len(symbol_K):
            order_K = len(self.ordered) * len(self.marks.symbols) + symbol_K
            self.counted.setdefault(what, []).append((d, order_K))

    def books(self) -> Books:
        """Return all pages as tables, rows in key order."""
        return Books(
            positions=self._positions(),
            trades=self._trades(),
            daily=self._daily(),
            marks=self._marks(),
            orders=self.orders(),
            cash_rates=self._cash_rates(),
            notes=self._notes(),
            order_counts=self.order_counts(),
            pages=self,
        )

    def order_counts(self) -> OrderCounts:
        """Return how many orders there were so far, and what became of them."""
        share_R = np.concatenate([np.empty(0), *self.participation])
        known_R = share_R[~np.isnan(share_R)]
        return OrderCounts(
            n=len(share_R),
            n_partial=self.n_partial,
            n_carried=self.n_carried,
            n_unfinished=self.n_unfinished,
            n_unknown_adv=len(share_R) - len(known_R),
            above={limit: int(np.count_nonzero(known_R > limit)) for limit in SHARES_OF_ADV},
        )

    def _notes(self) -> tuple[str, ...]:
        counts = []
        for what, happened in sorted(self.counted.items()):
            orders = np.unique(np.concatenate([order_K for _, order_K in happened]))
            days = len({d for d, _ in happened})
            counts.append(what.format(n=f"{len(orders):,}", days=f"{days:,}") + ".")
        return (*rate_notes(self.marks), *counts)

    def _cash_rates(self) -> pl.DataFrame | None:
        if not self.marks.has_rates:
            return None
        rate_D = self.marks.cash_rate_paid
        return pl.DataFrame({"session": self.marks.sessions, "cash_rate_annual": rate_D})

    def orders(self) -> pl.DataFrame:
        """Return what was ordered so far, as in `Books.orders`."""
        pages = [page for _, page in self.ordered]
        session_R = np.repeat([d for d, _ in self.ordered], [len(p.symbol_K) for p in pages])
        symbol_R, shares_R, sized_R = (
            np.concatenate([np.empty(0, dtype), *(page[part] for page in pages)])
            for part, dtype in enumerate((np.int64, np.float64, np.float64))
        )
        return self._keys(session_R.astype(np.int64), symbol_R).with_columns(
            shares=shares_R, sized_at=sized_R
        )

    def _keys(self, session_R: Index, symbol_R: Index) -> pl.DataFrame:
        symbols = pl.Series(self.marks.symbols, dtype=pl.String)
        return pl.DataFrame(
            {
                "session": pl.Series(self.marks.sessions).gather(session_R.astype(np.uint32)),
                "symbol": symbols.gather(symbol_R.astype(np.uint32)),
            }
        )

    def _positions(self) -> pl.DataFrame:
        pages = [page for _, page in self.held]
        session_R = np.repeat([d for d, _ in self.held], [len(p.symbol_K) for p in pages])
        session_R = session_R.astype(np.int64)
        symbol_R, shares_R, target_R = (
            np.concatenate([np.empty(0, dtype), *(page[part] for page in pages)])
            for part, dtype in enumerate((np.int64, np.float64, np.float64))
        )
        equity_D = np.array([day[DAILY.index("equity")] for day in self.days])
        mark_R = self.marks.mark[session_R, symbol_R]
        value_R = np.where(shares_R != 0, shares_R * mark_R, 0.0)
        return self._keys(session_R, symbol_R).with_columns(
            shares=shares_R,
            mark_price=_known(mark_R),
            market_value=value_R,
            weight=value_R / equity_D[session_R],
            target_weight=_known(target_R),
        )

    def _trades(self) -> pl.DataFrame:
        pages = [page for _, page in self.traded]
        session_R = np.repeat([d for d, _ in self.traded], [len(p.symbol_K) for p in pages])
        symbol_R, shares_R, price_R = (
            np.concatenate([np.empty(0, dtype), *(page[part] for page in pages)])
            for part, dtype in enumerate((np.int64, np.float64, np.float64))
        )
        cost_3R = np.concatenate([np.empty((3, 0)), *(page.cost_3K for page in pages)], axis=1)
        reasons = [word for page in pages for word in page.reason_K]
        return (
            self._keys(session_R.astype(np.int64), symbol_R)
            .with_columns(
                shares=shares_R,
                price=price_R,
                notional=shares_R * price_R,
                commission=cost_3R[0],
                spread_cost=cost_3R[1],
                impact_cost=cost_3R[2],
                reason=pl.Series(reasons, dtype=pl.String),
            )
            .sort("session", "symbol", maintain_order=True)
        )

    def _daily(self) -> pl.DataFrame:
        schema = dict.fromkeys(DAILY, pl.Float64)
        sessions = pl.DataFrame({"session": self.marks.sessions[: len(self.days)]})
        return sessions.hstack(pl.DataFrame(self.days, schema=schema, orient="row"))

    def _marks(self) -> pl.DataFrame:
        """Return the prices and ratios used: rows with a bar, or a split without one."""
        marks = self.marks
        is_used_DN = ~np.isnan(marks.close) | (marks.share_ratio != 1.0)
        day_D = marks.sessions.astype("datetime64[D]").astype(np.int32)
        place_N = np.arange(is_used_DN.shape[1], dtype=np.uint32)
        place_R = np.broadcast_to(place_N, is_used_DN.shape)[is_used_DN]
        return pl.DataFrame(
            {
                "session": _column(np.repeat(day_D, is_used_DN.sum(axis=1))).cast(pl.Date),
                "symbol": pl.Series(marks.symbols, dtype=pl.String).gather(_column(place_R)),
                "open": _known(marks.open[is_used_DN]),
                "close": _known(marks.close[is_used_DN]),
                "share_ratio": _column(marks.share_ratio[is_used_DN]),
            }
        )


def _column(value_R: NDArray[np.generic]) -> pl.Series:
    """Return values as a column, without a copy of them."""
    import pyarrow as pa  # takes a twentieth of the time that a verb has which computes nothing

    return pl.Series(pa.array(value_R))


def _known(value_R: Array) -> pl.Series:
    """Return values as a column, null where they are NaN."""
    column = _column(value_R)
    return column.fill_nan(None) if np.isnan(value_R).any() else column


def rate_notes(marks: Marks) -> tuple[str, ...]:
    """Return where the cash rate is not known and counts as 0; empty where it always is known.

    Without any feed of rates there is no note: the report states that on its own.
    """
    is_known_D = ~np.isnan(marks.cash_rate_annual)
    if not marks.has_rates or is_known_D.all():
        return ()
    n, days = int(np.count_nonzero(~is_known_D)), marks.sessions
    start = (
        f"The cash rate is not known, and counts as {UNKNOWN_RATE:g}, "
        f"in {n} of {len(days)} sessions"
    )
    if not is_known_D.any():
        return (f"{start}: no rate is in force between {days[0]} and {days[-1]}.",)
    first, last = days[np.argmax(is_known_D)], days[::-1][np.argmax(is_known_D[::-1])]
    parts = []
    if first > days[0]:
        parts.append(f"rates begin on {first}")
    if last < days[-1]:
        parts.append(f"after {last} the last rate is more than {RATES.max_stale} sessions old")
    inside = n - int(np.count_nonzero(days < first)) - int(np.count_nonzero(days > last))
    if inside:
        parts.append(f"{inside} in between, more than {RATES.max_stale} sessions after a rate")
    return (f"{start}: {'; '.join(parts)}.",)
