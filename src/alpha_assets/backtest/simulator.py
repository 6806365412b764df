"""The books: targets become orders, orders fill at an auction, and every session is accounted for.

Orders of D are decided without any bar of D.  Shape letter: N symbols.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alpha_assets.backtest.costs import (
    DAYS_A_YEAR,
    CostsSpec,
    borrow_cost,
    commission,
    impact_cost,
    spread_cost,
)
from alpha_assets.backtest.marks import Basis, Marks, marks_of
from alpha_assets.backtest.portfolio import PortfolioSpec
from alpha_assets.calendar import Calendar
from alpha_assets.errors import BadInput, CheckFailed

Array = NDArray[np.float64]

TOLERANCE = 1e-9  # of equity: what the books may be out by
DUST = 1e-12  # of equity: an order below it is none

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
    """What a backtest writes: see the output contract for the columns."""

    positions: pl.DataFrame
    trades: pl.DataFrame
    daily: pl.DataFrame
    marks: pl.DataFrame


def backtest(
    targets: pl.DataFrame,
    raw: Mapping[str, pl.DataFrame],
    calendar: Calendar,
    *,
    first: date,
    last: date,
    portfolio: PortfolioSpec,
    costs: CostsSpec,
    basis: Basis,
) -> Books:
    """Return the books of holding `targets` from `first` to `last`.

    Args:
        targets: `session`, `symbol`, `target_weight`; a session with rows is a rebalance.
        raw: raw rows by feed; `daily_bars` at least.
        calendar: of the market.
        first: first session.
        last: last session.
        portfolio: fill, capital, lots and participation.
        costs: what trading and being short costs.
        basis: see `marks_of`.
    """
    symbols = tuple(targets["symbol"].unique().sort().to_list())
    marks = marks_of(raw, symbols, calendar, first, last, basis=basis, fill=portfolio.fill)
    return simulate(targets, marks, portfolio, costs)


def simulate(
    targets: pl.DataFrame, marks: Marks, portfolio: PortfolioSpec, costs: CostsSpec
) -> Books:
    """Return the books of holding `targets` on a market.

    Raises:
        BadInput: a target for a session or symbol that the marks do not have.
        CheckFailed: the equity is used up.
    """
    wanted = _targets_by_session(targets, marks)
    ledger = _Ledger.opened(marks, portfolio.capital)
    for d in range(len(marks.sessions)):
        _one_session(ledger, marks, d, wanted.get(d), portfolio, costs)
    return ledger.books()


def _one_session(
    ledger: "_Ledger",
    marks: Marks,
    d: int,
    target_N: Array | None,
    portfolio: PortfolioSpec,
    costs: CostsSpec,
) -> None:
    """Carry the books through one session: exits, orders, split, fills, close."""
    equity_before, ratio_N = ledger.equity, marks.share_ratio[d]
    ledger.open_session()
    ledger.leave(marks, d)
    if target_N is not None:
        ledger.decide(target_N, marks.last_close[d], equity_before, portfolio.lot)
    ledger.split(ratio_N)
    price_N = marks.open[d] if portfolio.fill == "open" else marks.close[d]
    dividends = float(np.sum(ledger.shares * marks.dividend[d]))
    ledger.fill(marks, d, price_N, equity_before, portfolio.max_participation, costs)
    mark_N = np.where(np.isnan(marks.close[d]), marks.last_close[d] / ratio_N, marks.close[d])
    ledger.close_session(marks, d, mark_N, dividends, equity_before, costs)


@dataclass
class _Ledger:
    """Cash, shares, open orders, and what has been written down so far."""

    marks: Marks
    cash: float
    equity: float
    shares: Array
    orders: Array
    target: Array
    has_target: bool = False
    traded: list[dict[str, Any]] = field(default_factory=list)
    held: list[dict[str, Any]] = field(default_factory=list)
    days: list[tuple[float, ...]] = field(default_factory=list)
    is_rebalance: bool = False
    spent: Array = field(default_factory=lambda: np.zeros(3))
    notional: float = 0.0
    turnover: float = 0.0

    @classmethod
    def opened(cls, marks: Marks, capital: float) -> "_Ledger":
        n = len(marks.symbols)
        nothing = (np.zeros(n) for _ in range(3))
        return cls(marks, capital, capital, *nothing)

    def open_session(self) -> None:
        """Forget the session before."""
        self.spent, self.notional, self.turnover = np.zeros(3), 0.0, 0.0
        self.is_rebalance = False

    def leave(self, marks: Marks, d: int) -> None:
        """Turn what leaves the market at this session into cash, and cancel its orders."""
        gone_N = ~np.isnan(marks.exit_return[d])
        self.orders[gone_N] = 0.0
        self.target[gone_N] = 0.0
        n = np.flatnonzero(gone_N & (self.shares != 0))
        if not len(n):
            return
        price_K = marks.last_close[d, n] * (1.0 + marks.exit_return[d, n])
        self._trade(d, n, -self.shares[n], price_K, np.zeros((3, len(n))), marks.exit_word[d, n])
        self.shares[n] = 0.0

    def decide(
        self, target_N: Array, last_close_N: Array, equity: float, lot: float | None
    ) -> None:
        """Replace all open orders by what is missing to the targets, at the last known close."""
        known_N = ~np.isnan(last_close_N)
        wanted_N = np.where(np.isnan(target_N), 0.0, target_N)
        full_N = np.zeros_like(wanted_N)
        np.divide(wanted_N * equity, last_close_N, out=full_N, where=known_N)
        self.orders = np.where(known_N, full_N - self.shares, 0.0)
        if lot is not None:
            self.orders = np.trunc(self.orders / lot) * lot
        self.target, self.has_target, self.is_rebalance = wanted_N, True, True

    def split(self, ratio_N: Array) -> None:
        """Apply the session's splits to holdings and orders alike."""
        self.shares = self.shares * ratio_N
        self.orders = self.orders * ratio_N

    def fill(
        self,
        marks: Marks,
        d: int,
        price_N: Array,
        equity: float,
        max_participation: float | None,
        costs: CostsSpec,
    ) -> None:
        """Fill what can be filled at the auction; the rest waits for the next session."""
        may_N = np.where(self.orders > 0, marks.can_buy[d], marks.can_sell[d])
        worth_N = np.abs(self.orders) * np.nan_to_num(price_N)
        n = np.flatnonzero(may_N & ~np.isnan(price_N) & (worth_N > DUST * equity))
        if not len(n):
            return
        shares_K, price_K = self.orders[n], price_N[n]
        adv_K, volatility_K = marks.adv[d, n], marks.volatility[d, n]
        if max_participation is not None:
            limit_K = max_participation * np.nan_to_num(adv_K) / price_K
            shares_K = np.clip(shares_K, -limit_K, limit_K)
        notional_K = shares_K * price_K
        bill_3K = np.stack(
            [
                commission(notional_K, costs),
                spread_cost(notional_K, costs),
                impact_cost(notional_K, adv_K, volatility_K, costs),
            ]
        )
        reason_K = np.array(
            ["rebalance" if self.is_rebalance else "carried"] * len(n), dtype=object
        )
        self._trade(d, n, shares_K, price_K, bill_3K, reason_K)
        self.shares[n] += shares_K
        self.orders[n] -= shares_K
        self.orders[np.abs(self.orders) * np.nan_to_num(price_N) <= DUST * equity] = 0.0

    def close_session(
        self,
        marks: Marks,
        d: int,
        mark_N: Array,
        dividends: float,
        equity_before: float,
        costs: CostsSpec,
    ) -> None:
        """Mark to the close, pay and receive, and write the session down."""
        value_N = np.where(self.shares != 0, self.shares * np.nan_to_num(mark_N), 0.0)
        fee_N = np.where(
            np.isnan(marks.fee_bps_annual[d]), costs.borrow_fee_bps_annual, marks.fee_bps_annual[d]
        )
        nights = int(marks.nights[d])
        borrowed = float(np.sum(borrow_cost(value_N, fee_N, nights)))
        cash_before = self.cash
        interest = cash_before * marks.cash_rate_annual[d] * nights / DAYS_A_YEAR
        self.cash = (
            cash_before - self.notional - float(self.spent.sum()) - borrowed + dividends + interest
        )
        self.equity = self.cash + float(np.sum(value_N))
        if not self.equity > 0:
            raise CheckFailed(
                f"the equity is used up at {marks.sessions[d]}: {self.equity:,.0f} of "
                f"{equity_before:,.0f} the session before; lower portfolio.gross_exposure"
            )
        bill = float(self.spent.sum()) + borrowed
        net = self.equity / equity_before - 1.0
        self.days.append(
            (
                net + bill / equity_before,
                net,
                0.5 * self.turnover / equity_before,
                float(np.sum(np.abs(value_N))) / self.equity,
                float(np.sum(value_N)) / self.equity,
                *(float(part) for part in self.spent),
                borrowed,
                dividends,
                interest,
                self.cash,
                self.equity,
            )
        )
        for n in np.flatnonzero((self.shares != 0) | (self.is_rebalance & (self.target != 0))):
            self.held.append(
                {
                    "session": marks.sessions[d].item(),
                    "symbol": marks.symbols[n],
                    "shares": self.shares[n],
                    "mark_price": mark_N[n],
                    "market_value": value_N[n],
                    "weight": value_N[n] / self.equity,
                    "target_weight": self.target[n] if self.is_rebalance else None,
                }
            )

    def _trade(
        self,
        d: int,
        n: NDArray[np.int64],
        shares_K: Array,
        price_K: Array,
        bill_3K: Array,
        reason_K: NDArray[np.object_],
    ) -> None:
        notional_K = shares_K * price_K
        self.notional += float(np.sum(notional_K))
        self.turnover += float(np.sum(np.abs(notional_K)))
        self.spent = self.spent + bill_3K.sum(axis=1)
        for k, place in enumerate(n.tolist()):
            self.traded.append(
                {
                    "session": self.marks.sessions[d].item(),
                    "symbol": self.marks.symbols[place],
                    "shares": shares_K[k],
                    "price": price_K[k],
                    "notional": notional_K[k],
                    "commission": bill_3K[0, k],
                    "spread_cost": bill_3K[1, k],
                    "impact_cost": bill_3K[2, k],
                    "reason": str(reason_K[k]),
                }
            )

    def books(self) -> Books:
        """Return all that was written down as tables."""
        marks = self.marks
        d, n = np.nonzero(~np.isnan(marks.close) | (marks.share_ratio != 1.0))
        symbols = pl.Series(marks.symbols, dtype=pl.String)
        return Books(
            positions=pl.DataFrame(self.held, schema=POSITIONS),
            trades=pl.DataFrame(self.traded, schema=TRADES),
            daily=pl.DataFrame(
                {"session": marks.sessions},
            ).hstack(
                pl.DataFrame(self.days, schema=dict.fromkeys(DAILY, pl.Float64), orient="row")
            ),
            marks=pl.DataFrame(
                {
                    "session": marks.sessions[d],
                    "symbol": symbols.gather(n),
                    "open": pl.Series(marks.open[d, n]).fill_nan(None),
                    "close": pl.Series(marks.close[d, n]).fill_nan(None),
                    "share_ratio": marks.share_ratio[d, n],
                }
            ),
        )


POSITIONS = {
    "session": pl.Date,
    "symbol": pl.String,
    "shares": pl.Float64,
    "mark_price": pl.Float64,
    "market_value": pl.Float64,
    "weight": pl.Float64,
    "target_weight": pl.Float64,
}
TRADES = {
    "session": pl.Date,
    "symbol": pl.String,
    "shares": pl.Float64,
    "price": pl.Float64,
    "notional": pl.Float64,
    "commission": pl.Float64,
    "spread_cost": pl.Float64,
    "impact_cost": pl.Float64,
    "reason": pl.String,
}


def _targets_by_session(targets: pl.DataFrame, marks: Marks) -> dict[int, Array]:
    """Return the weights of each rebalance by the place of its session; NaN without a row."""
    d = np.searchsorted(marks.sessions, targets["session"].to_numpy().astype("datetime64[D]"))
    names: Sequence[str] = marks.symbols
    unknown = set(targets["symbol"].unique().to_list()) - set(names)
    if unknown:
        raise BadInput(f"targets name {sorted(unknown)[0]!r}, which the marks do not have")
    n = np.searchsorted(np.array(names), targets["symbol"].to_numpy())
    weights = targets["target_weight"].to_numpy()
    known = d < len(marks.sessions)
    found: dict[int, Array] = {}
    for place in np.unique(d[known]).tolist():
        row = np.full(len(names), np.nan)
        here = d == place
        row[n[here]] = weights[here]
        found[place] = row
    return found
