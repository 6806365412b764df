"""What size costs: the figures of the same targets at many capitals, and where profit ends.

Letters: C capitals, D sessions.
"""

import math

import numpy as np

from alpha_assets.arrays.types import Array, Mask
from alpha_assets.backtest.books import OrderCounts
from alpha_assets.backtest.capacity import Capacity
from alpha_assets.evaluation.performance import MIN_SESSIONS, judged_performance, too_short

Record = dict[str, object]

BPS = 1e-4
KEPT = ("sharpe", "sharpe_se", "annual_return")


def orders(counts: OrderCounts) -> Record:
    """Return how many orders there were, what became of them, and how many were large.

    `above_<n>pct`: the share of the orders with a known ADV that were larger than n % of it.
    """
    known = counts.n - counts.n_unknown_adv
    above = {
        f"above_{100 * limit:.0f}pct": n / known if known else math.nan
        for limit, n in counts.above.items()
    }
    return {
        "n": counts.n,
        "n_partial": counts.n_partial,
        "n_carried": counts.n_carried,
        "n_unfinished": counts.n_unfinished,
        "n_unknown_adv": counts.n_unknown_adv,
        **above,
        "reasons": {} if known else dict.fromkeys(above, "no order has a known ADV"),
    }


def capacity_curve(
    found: Capacity,
    *,
    sessions_per_year: float,
    cash_D: Array,
    hac_lag: int = 0,
    counts_D: Mask | None = None,
) -> Record:
    """Return net and gross figures by capital, and the capital at which nothing is left.

    Args:
        found: of the same targets and costs at every capital.
        sessions_per_year: of the market's calendar.
        cash_D: what cash earned in each session, a fraction.
        hac_lag: as in `performance`.
        counts_D: sessions that count; None: all.

    Returns:
        `curve`: a record a capital: `net`, `gross` (Sharpe, its error, annual return),
        `turnover_annual`, `cost_annual_return` (NaN where the sessions are too few to be judged),
        `trading_bps`, `break_even_bps` (of traded notional, as in `costs`), `orders`, `reason`
        (None, or why there are no figures).
        `break_even_capital`: where the mean net return over cash passes 0, between two capitals
        by interpolation in the logarithm; null with its `reason` where it does not.
    """
    n_sessions = found.net_return.shape[1]
    counts_D = np.ones(n_sessions, dtype=bool) if counts_D is None else counts_D
    n_judged = int(np.count_nonzero(counts_D))
    curve: list[Record] = []
    excess_C = np.full(len(found.capital), np.nan)
    for c, capital in enumerate(found.capital.tolist()):
        net_D, gross_D = found.net_return[c], found.gross_return[c]
        record: Record = {"capital": capital, "orders": orders(found.orders[c]), "reason": None}
        curve.append(record)
        if np.isnan(net_D).any():
            session = found.sessions[int(np.argmax(np.isnan(net_D)))]
            record["reason"] = f"the equity is used up at {session}"
            excess_C[c] = -np.inf
            continue
        excess_C[c] = (net_D - cash_D)[counts_D].mean() if counts_D.any() else np.nan
        for side, return_D in (("net", net_D), ("gross", gross_D)):
            figures = judged_performance(
                return_D[counts_D],
                found.sessions[counts_D],
                sessions_per_year=sessions_per_year,
                cash_D=cash_D[counts_D],
                hac_lag=hac_lag,
            )
            reasons = figures["reasons"]
            assert isinstance(reasons, dict)
            kept: Record = {name: figures[name] for name in KEPT}
            record[side] = kept | {
                "reasons": {name: why for name, why in reasons.items() if name in KEPT}
            }
        wealth_D = capital * np.cumprod(1 + net_D)
        before_D = np.append(capital, wealth_D)[:n_sessions][counts_D]
        traded = float(found.traded[c, counts_D].sum())
        cost_D, trading_D = found.cost[c, counts_D], found.trading_cost[c, counts_D]
        kept_money = float(gross_D[counts_D] @ before_D) - float((cost_D - trading_D).sum())
        years = n_judged / sessions_per_year if n_judged >= MIN_SESSIONS else math.nan
        record |= {
            "turnover_annual": float(found.turnover[c, counts_D].sum()) / years,
            "cost_annual_return": float((cost_D / before_D).sum()) / years,
            "trading_bps": float(trading_D.sum()) / traded / BPS if traded else math.nan,
            "break_even_bps": kept_money / traded / BPS if traded else math.nan,
        }
    capital, reason = break_even(found.capital, excess_C)
    if 0 < n_judged < MIN_SESSIONS:
        capital, reason = math.nan, too_short(n_judged)
    return {"curve": curve, "break_even_capital": capital, "reason": reason}


def break_even(capital_C: Array, excess_C: Array) -> tuple[float, str | None]:
    """Return the capital from which on nothing is earned over cash, or NaN and why.

    Args:
        capital_C: money, sorted.
        excess_C: mean net return over cash; -inf where the equity was used up.
    """
    if not len(capital_C) or np.isnan(excess_C).any():
        return math.nan, "the backtest has no session"
    gains_C = excess_C > 0
    if not gains_C[0]:
        return math.nan, f"nothing is earned even at the smallest capital, {capital_C[0]:,.0f}"
    if gains_C.all():
        return math.nan, f"something is earned even at the largest capital, {capital_C[-1]:,.0f}"
    above = int(np.argmin(gains_C))
    low, high = float(excess_C[above - 1]), float(excess_C[above])
    share = 0.0 if math.isinf(high) else low / (low - high)
    below = math.log(capital_C[above - 1])
    return math.exp(below + share * (math.log(capital_C[above]) - below)), None
