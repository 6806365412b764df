"""What the books say: returns over cash, turnover, exposure and what trading cost.

Everything is read from the backtest's tables.  Returns are fractions per session, costs are
money and never negative, annual figures use the market's sessions per year (never calendar
days).  What cannot be had is NaN with a reason.
"""

import math
from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alpha_assets.errors import BadInput
from alpha_assets.evaluation.performance import performance

Array = NDArray[np.float64]
Record = dict[str, object]

BPS = 1e-4
DAYS_A_YEAR = 365  # interest accrues by calendar night
COST_PARTS = ("commission", "spread_cost", "impact_cost", "borrow_cost")
TRADING_COSTS = COST_PARTS[:3]


def cash_return(daily: pl.DataFrame, rates: pl.DataFrame | None) -> Array:
    """Return what cash earned up to each session, a fraction; zeros where no rates are given.

    return = annual rate known at the session before * calendar nights since then / 365

    Args:
        daily: the backtest's daily table.
        rates: `session`, `cash_rate_annual` (fraction a year), or None for a rate of 0.

    Raises:
        BadInput: the rates start after the books do.
    """
    if rates is None or daily.is_empty():
        return np.zeros(len(daily))
    known = daily.select("session").join_asof(rates.sort("session"), on="session")
    first_known = known["cash_rate_annual"].is_not_null().arg_max()
    if known["cash_rate_annual"].null_count():
        raise BadInput(
            f"cash rates start after the backtest's first session {daily['session'][0]} "
            f"(first with a rate: row {first_known}); give rates from there on, or none at all"
        )
    rate_D = known["cash_rate_annual"].to_numpy()
    nights_D = np.diff(known["session"].to_numpy()).astype(np.float64)
    return np.concatenate([[0.0], rate_D[:-1] * nights_D / DAYS_A_YEAR])


def by_period(daily: pl.DataFrame, word: str, *, sessions_per_year: float) -> list[Record]:
    """Return gross and net return and turnover per `year` or `month`, in order."""
    form = {"year": "%Y", "month": "%Y-%m"}[word]
    rows = (
        daily.group_by(pl.col("session").dt.strftime(form).alias(word))
        .agg(
            gross_return=(pl.col("gross_return") + 1).product() - 1,
            net_return=(pl.col("net_return") + 1).product() - 1,
            volatility=pl.col("net_return").std() * math.sqrt(sessions_per_year),
            turnover=pl.col("turnover").sum(),
            n_sessions=pl.len(),
        )
        .sort(word)
    )
    return rows.to_dicts()


def turnover(daily: pl.DataFrame, sessions_per_year: float) -> Record:
    """Return one-way turnover (half of all trades over equity) and the holding time it implies."""
    if daily.is_empty():
        names = ("per_session", "annual", "holding_sessions", "gross_exposure_mean")
        return {
            **dict.fromkeys(names),
            "reasons": dict.fromkeys(names, "the backtest has no session"),
        }
    mean = float(daily["turnover"].to_numpy().mean())
    gross = float(daily["gross_exposure"].to_numpy().mean())
    return {
        "per_session": mean,
        "annual": mean * sessions_per_year,
        # Half the trades are exits; a book of gross exposure g lives g / (2 x turnover).
        "holding_sessions": gross / (2 * mean) if mean > 0 else math.nan,
        "gross_exposure_mean": gross,
        "reasons": {} if mean > 0 else {"holding_sessions": "nothing was traded"},
    }


def exposure(daily: pl.DataFrame, positions: pl.DataFrame) -> Record:
    """Return how much was held: exposures as shares of equity, names per session held."""
    if daily.is_empty():
        names = ("gross_mean", "gross_max", "net_mean", "net_min", "net_max")
        names = (*names, "longs_mean", "shorts_mean")
        return {
            **dict.fromkeys(names),
            "reasons": dict.fromkeys(names, "the backtest has no session"),
        }
    gross_D, net_D = daily["gross_exposure"].to_numpy(), daily["net_exposure"].to_numpy()
    return {
        "gross_mean": float(gross_D.mean()),
        "gross_max": float(gross_D.max()),
        "net_mean": float(net_D.mean()),
        "net_min": float(net_D.min()),
        "net_max": float(net_D.max()),
        "longs_mean": positions.filter(pl.col("shares") > 0).height / len(daily),
        "shorts_mean": positions.filter(pl.col("shares") < 0).height / len(daily),
        "reasons": {},
    }


def costs(daily: pl.DataFrame, trades: pl.DataFrame, sessions_per_year: float) -> Record:
    """Return what trading and borrowing cost: money, bps of what was traded, share of equity.

    Break-even: the cost in bps of traded notional, after borrow, at which nothing would be
    left of what the book earned before costs; below `trading_bps` the book lost money.
    """
    money = {part: float(daily[part].sum()) for part in COST_PARTS}
    money["trading"] = sum(money[part] for part in TRADING_COSTS)
    money["total"] = money["trading"] + money["borrow_cost"]
    traded = float(trades["notional"].abs().sum())
    net_D, gross_D = daily["net_return"].to_numpy(), daily["gross_return"].to_numpy()
    before_D = daily["equity"].to_numpy() / (1 + net_D)
    earned = float((gross_D * before_D).sum())
    years = len(daily) / sessions_per_year
    reasons: dict[str, str] = {}
    parts: list[Record] = []
    for part, amount in money.items():
        share_D = np.zeros(len(daily))
        if part in COST_PARTS:
            share_D = daily[part].to_numpy() / before_D
        elif len(daily):
            of = TRADING_COSTS if part == "trading" else COST_PARTS
            share_D = daily.select(pl.sum_horizontal(of)).to_series().to_numpy() / before_D
        parts.append(
            {
                "part": part,
                "money": amount,
                "bps_of_traded": amount / traded / BPS if traded > 0 else math.nan,
                "annual_return": float(share_D.sum()) / years if years > 0 else math.nan,
            }
        )
    if traded == 0:
        reasons["break_even_bps"] = "nothing was traded"
    if years == 0:
        reasons["annual_return"] = "the backtest has no session"
    break_even = (earned - money["borrow_cost"]) / traded / BPS if traded > 0 else math.nan
    by_part = {str(row["part"]): row for row in parts}
    return {
        "parts": parts,
        "total": by_part["total"]["money"] if len(daily) else None,
        "total_annual_return": by_part["total"]["annual_return"],
        "trading_bps": by_part["trading"]["bps_of_traded"],
        "traded_notional": traded if len(daily) else None,
        "earned_before_costs": earned if len(daily) else None,
        "break_even_bps": break_even,
        "n_trades": len(trades),
        "trades_by_reason": _by_reason(trades),
        "reasons": reasons,
    }


def _by_reason(trades: pl.DataFrame) -> list[Record]:
    rows = trades.group_by("reason").agg(n_trades=pl.len(), notional=pl.col("notional").abs().sum())
    return rows.sort("reason").to_dicts()


def source_end_exits(records: list[Record]) -> int:
    """Return how many trades left because the archive stopped, from `trades_by_reason`."""
    return sum(int(str(row["n_trades"])) for row in records if "source_end" in str(row["reason"]))


def portfolio(
    daily: pl.DataFrame,
    positions: pl.DataFrame,
    *,
    sessions_per_year: float,
    rates: pl.DataFrame | None = None,
    hac_lag: int = 0,
) -> Mapping[str, object]:
    """Return net and gross performance, turnover, exposure and the calendar of returns."""
    sessions = daily["session"].to_numpy()
    cash_D = cash_return(daily, rates)
    sides = {
        side: performance(
            daily[f"{side}_return"].to_numpy(),
            sessions,
            sessions_per_year=sessions_per_year,
            cash_D=cash_D,
            hac_lag=hac_lag,
        )
        for side in ("net", "gross")
    }
    return {
        **sides,
        "cash_return_annual": float(cash_D.mean()) * sessions_per_year if len(daily) else None,
        "turnover": turnover(daily, sessions_per_year),
        "exposure": exposure(daily, positions),
        "by_year": by_period(daily, "year", sessions_per_year=sessions_per_year),
        "by_month": by_period(daily, "month", sessions_per_year=sessions_per_year),
    }
