"""What each leg and each name earned: the book's profit and loss, shared out to positions.

A position belongs to the long or the short leg by its sign: what was held at the close before
(after the session's split) by the sign it had, a fill by the part that closes that position and
the part that opens one.  A fill that turns a long into a short is cut at zero, and its costs with
it in proportion.  Dividends go with the position of the close before, the borrow fee is the short
leg's.  The two legs together are the book without the interest on its cash.
Shape letters: D sessions, N symbols, K trades or positions of one session, G months, P parts, and
2 for the legs, long and short.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Array, Index, Mask
from alpha_assets.backtest.books import DAILY, LEGS, Pages, Trades
from alpha_assets.backtest.costs import borrow_cost
from alpha_assets.backtest.lives import shown

TOLERANCE = 1e-9  # of equity: what the legs may miss of the book's profit
PARTS = (
    *("pnl_gross", "dividends", "commission", "spread_cost", "impact_cost", "borrow_cost"),
    *("traded", "exposure"),
)
GROSS, DIVIDENDS, COMMISSION, BORROW, TRADED, EXPOSURE = 0, 1, 2, 5, 6, 7  # places in PARTS


@dataclass(frozen=True)
class Attribution:
    """Profit and loss by leg and by name.

    Attributes:
        legs: `session`, `leg` (`long`, `short`), money: `pnl_gross` (before costs, dividends
            included), `dividends`, `commission`, `spread_cost`, `impact_cost`, `borrow_cost`
            (at least 0), `pnl_net`, `traded` (absolute notional); `gross_return`, `net_return`
            (of the book's equity at the close before), `turnover` (half of what was traded over
            that equity), `exposure` (signed, of the equity at the close).
        names: `month` (`YYYY-MM`), `symbol`, `leg`, `pnl_gross`, `pnl_net` (money) of the
            sessions that count; rows where there is any.
    """

    legs: pl.DataFrame
    names: pl.DataFrame


def attribution(pages: Pages, counts_D: Mask | None = None) -> Attribution:
    """Return what each leg and each name earned.

    Args:
        pages: of the books.
        counts_D: sessions that count for names; None: all.
    """
    marks, n_sessions = pages.marks, len(pages.days)
    months_D = marks.sessions[:n_sessions].astype("datetime64[M]")
    months_G, group_D = np.unique(months_D, return_inverse=True)
    money_D2P = np.zeros((n_sessions, len(LEGS), len(PARTS)))
    names_G2NP = np.zeros((len(months_G), len(LEGS), len(marks.symbols), 2))
    trades_D: list[list[int]] = [[] for _ in range(n_sessions)]
    for place, (d, _) in enumerate(pages.traded):
        trades_D[d].append(place)
    symbol_K, shares_K = np.empty(0, dtype=np.int64), np.empty(0)
    held_N = np.zeros(len(marks.symbols))
    for d in range(n_sessions):
        counts = counts_D is None or bool(counts_D[d])
        names_2NP = names_G2NP[group_D[d]] if counts else np.zeros(names_G2NP.shape[1:])
        session = _Session(money_D2P[d], names_2NP)
        mark_N = marks.mark[d]
        if len(symbol_K):
            before_K = shares_K * marks.mark[d - 1, symbol_K]
            shares_K = shares_K * marks.share_ratio[d, symbol_K]
            paid_K = shares_K * marks.dividend[d, symbol_K]
            gross_K = shares_K * mark_N[symbol_K] - before_K + paid_K
            session.add(symbol_K, shares_K < 0, GROSS, gross_K)
            session.count(shares_K < 0, DIVIDENDS, paid_K)
        held_N[:] = 0.0
        held_N[symbol_K] = shares_K
        for place in trades_D[d]:
            trades = pages.traded[place][1]
            session.trade(trades, held_N, mark_N)
        page = pages.held[d][1]
        is_held_K = page.shares_K != 0
        symbol_K, shares_K = page.symbol_K[is_held_K], page.shares_K[is_held_K]
        value_K = shares_K * mark_N[symbol_K]
        session.count(shares_K < 0, EXPOSURE, value_K)
        fee_K = marks.fee_bps_annual[d, symbol_K]
        owed_K = borrow_cost(value_K, fee_K, int(marks.nights[d]), pages.costs)
        session.add(symbol_K, shares_K < 0, BORROW, owed_K)
    _check(pages, money_D2P)
    return Attribution(_legs(pages, money_D2P), _names(pages, months_G, names_G2NP))


@dataclass
class _Session:
    """Sums of one session: of legs, and of the names of its month."""

    money_2P: Array
    names_2NP: Array  # gross, and costs

    def count(self, is_short_K: Mask, part: int, money_K: Array) -> None:
        """Add money to a part of each leg."""
        short = float(money_K[is_short_K].sum())
        self.money_2P[:, part] += (float(money_K.sum()) - short, short)

    def add(self, symbol_K: Index, is_short_K: Mask, part: int, money_K: Array) -> None:
        """Add money to a part of each leg, and to its names; a symbol stands there once."""
        self.count(is_short_K, part, money_K)
        self.names_2NP[is_short_K.astype(np.int64), symbol_K, int(part != GROSS)] += money_K

    def trade(self, trades: Trades, held_N: Array, mark_N: Array) -> None:
        """Add the fills of one occasion, and carry what is held through them."""
        symbol_K, shares_K = trades.symbol_K, trades.shares_K
        held_K = held_N[symbol_K]
        size_K = np.minimum(np.abs(shares_K), np.abs(held_K))
        closing_K = np.where(shares_K * held_K < 0, np.sign(shares_K) * size_K, 0.0)
        for part_K, is_short_K in (
            (closing_K, held_K < 0),
            (shares_K - closing_K, shares_K < 0),
        ):
            some_K = np.flatnonzero(part_K)
            if not len(some_K):
                continue
            part_K, is_short_K, who_K = part_K[some_K], is_short_K[some_K], symbol_K[some_K]
            price_K = trades.price_K[some_K]
            self.add(who_K, is_short_K, GROSS, part_K * (mark_N[who_K] - price_K))
            share_K = part_K / shares_K[some_K]
            for k in range(3):
                self.add(who_K, is_short_K, COMMISSION + k, trades.cost_3K[k, some_K] * share_K)
            self.count(is_short_K, TRADED, np.abs(part_K * price_K))
        held_N[symbol_K] += shares_K


def _equity_before(pages: Pages) -> Array:
    equity_D = np.array([day[DAILY.index("equity")] for day in pages.days])
    return np.append(pages.capital, equity_D)[: len(equity_D)]


def _check(pages: Pages, money_D2P: Array) -> None:
    """Check that the legs are the book without its interest, in every session."""
    day_DX = np.array(pages.days).reshape(-1, len(DAILY))
    equity_D, interest_D = (day_DX[:, DAILY.index(name)] for name in ("equity", "cash_interest"))
    net_D = money_D2P[:, :, GROSS].sum(axis=1) - money_D2P[:, :, 2:6].sum(axis=(1, 2))
    error_D = np.abs(net_D + interest_D - (equity_D - _equity_before(pages)))
    worst = int(np.argmax(error_D / equity_D)) if len(equity_D) else 0
    assert not len(equity_D) or error_D[worst] <= TOLERANCE * equity_D[worst], (
        f"legs out by {error_D[worst]} at {pages.marks.sessions[worst]}"
    )


def _legs(pages: Pages, money_D2P: Array) -> pl.DataFrame:
    n_sessions = len(money_D2P)
    before_D2 = np.repeat(_equity_before(pages), len(LEGS)).reshape(n_sessions, len(LEGS))
    equity_D = np.array([day[DAILY.index("equity")] for day in pages.days])
    net_D2 = money_D2P[:, :, GROSS] - money_D2P[:, :, COMMISSION : BORROW + 1].sum(axis=2)
    money = {name: money_D2P[:, :, k].ravel() for k, name in enumerate(PARTS)}
    money["exposure"] = (money_D2P[:, :, EXPOSURE] / equity_D[:, None]).ravel()
    return pl.DataFrame(
        {
            "session": np.repeat(pages.marks.sessions[:n_sessions], len(LEGS)),
            "leg": pl.Series(list(LEGS) * n_sessions, dtype=pl.String),
            **money,
            "pnl_net": net_D2.ravel(),
            "gross_return": (money_D2P[:, :, GROSS] / before_D2).ravel(),
            "net_return": (net_D2 / before_D2).ravel(),
            "turnover": (0.5 * money_D2P[:, :, TRADED] / before_D2).ravel(),
        }
    )


def _names(pages: Pages, months_G: Array, names_G2NP: Array) -> pl.DataFrame:
    g, leg, n = np.nonzero((names_G2NP != 0).any(axis=3))
    gross_R, cost_R = names_G2NP[g, leg, n].T
    frame = pl.DataFrame(
        {
            "month": pl.Series(months_G.astype(str).tolist(), dtype=pl.String).gather(g),
            "symbol": pl.Series(pages.marks.symbols, dtype=pl.String).gather(n),
            "leg": pl.Series(LEGS, dtype=pl.String).gather(leg),
            "pnl_gross": gross_R,
            "pnl_net": gross_R - cost_R,
        }
    )
    if pages.has_lives:  # lives of one symbol are one name
        frame = shown(frame).group_by("month", "symbol", "leg").agg(pl.all().sum())
    return frame.sort("month", "symbol", "leg")
