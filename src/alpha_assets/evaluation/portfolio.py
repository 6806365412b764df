"""What the books say: returns over cash, turnover, exposure and what trading cost.

Everything is read from the backtest's tables.  Returns are fractions per session, costs are
money and never negative, annual figures use the market's sessions per year (never calendar
days).  What cannot be had is NaN with a reason.
"""

import math
from collections.abc import Mapping

import numpy as np
import polars as pl

from alpha_assets.arrays.rates import UNKNOWN_RATE, interest
from alpha_assets.arrays.types import Array, Mask
from alpha_assets.evaluation.performance import MIN_SESSIONS, judged_performance, too_short

Record = dict[str, object]

BPS = 1e-4
COST_PARTS = ("commission", "spread_cost", "impact_cost", "borrow_cost")
TRADING_COSTS = COST_PARTS[:3]
COST_FIGURES = (
    *("total", "total_annual_return", "trading_bps", "break_even_bps"),
    *("traded_notional", "earned_before_costs"),
)
EXPOSURES = (
    *("gross_mean", "gross_max", "net_mean", "net_min", "net_max"),
    *("longs_mean", "shorts_mean"),
)


def cash_return(daily: pl.DataFrame, rates: pl.DataFrame | None) -> Array:
    """Return what cash earned up to each session, a fraction; zeros where no rates are given.

    return = annual rate of the session before * calendar nights since then / 365

    Args:
        daily: the backtest's daily table.
        rates: `session`, `cash_rate_annual` (fraction a year) of the same sessions, as the
            books paid it; a session without a rate earns 0.  None for a rate of 0.
    """
    if rates is None or daily.is_empty():
        return np.zeros(len(daily))
    paid = daily.select("session").join(rates, on="session", how="left", maintain_order="left")
    rate_D = paid["cash_rate_annual"].fill_nan(None).fill_null(UNKNOWN_RATE).to_numpy()
    nights_D = np.diff(paid["session"].to_numpy()).astype(np.int64)
    return np.concatenate([[0.0], interest(rate_D[:-1], nights_D)])


def by_period(daily: pl.DataFrame, word: str, *, sessions_per_year: float) -> list[Record]:
    """Return gross and net return and turnover per `year` or `month`, in order.

    Volatilities are null where all sessions together are too few to be judged.
    """
    root = math.sqrt(sessions_per_year) if len(daily) >= MIN_SESSIONS else None
    form = {"year": "%Y", "month": "%Y-%m"}[word]
    rows = (
        daily.group_by(pl.col("session").dt.strftime(form).alias(word))
        .agg(
            gross_return=(pl.col("gross_return") + 1).product() - 1,
            net_return=(pl.col("net_return") + 1).product() - 1,
            volatility=pl.col("net_return").std() * pl.lit(root, dtype=pl.Float64),
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
    n, reasons = len(daily), {} if mean > 0 else {"holding_sessions": "nothing was traded"}
    if n < MIN_SESSIONS:
        reasons["annual"] = too_short(n)
    return {
        "per_session": mean,
        "annual": mean * sessions_per_year if n >= MIN_SESSIONS else math.nan,
        # Half of all trades are exits, so a share `mean` of equity leaves each session.
        "holding_sessions": gross / mean if mean > 0 else math.nan,
        "gross_exposure_mean": gross,
        "reasons": reasons,
    }


def dividends(daily: pl.DataFrame) -> Record:
    """Return the dividends that were booked: money (received less owed), sessions with any."""
    booked_D = daily["dividends"].to_numpy()
    return {"money": float(booked_D.sum()), "n_sessions": int(np.count_nonzero(booked_D))}


def exposure(daily: pl.DataFrame, positions: pl.DataFrame) -> Record:
    """Return how much was held: exposures as shares of equity, names per session held."""
    if daily.is_empty():
        return {
            **dict.fromkeys(EXPOSURES),
            "reasons": dict.fromkeys(EXPOSURES, "the backtest has no session"),
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


def costs(
    daily: pl.DataFrame,
    trades: pl.DataFrame,
    sessions_per_year: float,
    *,
    counts_D: Mask | None = None,
) -> Record:
    """Return what trading and borrowing cost: money, bps of what was traded, share of equity.

    Break-even: the cost in bps of traded notional, after borrow, at which nothing would be
    left of what the book earned before costs; below `trading_bps` the book lost money.
    Shares of equity a year are NaN where the sessions are too few to be judged.

    Args:
        daily: the backtest's daily table.
        trades: the backtest's trades.
        sessions_per_year: of the market's calendar.
        counts_D: sessions whose costs and trades count; None: all.
    """
    before_D = _equity_before(daily)
    if counts_D is not None and not counts_D.all():
        before_D, daily = before_D[counts_D], daily.filter(pl.Series(counts_D))
        trades = trades.join(daily.select("session"), on="session", how="semi")
    years = len(daily) / sessions_per_year if len(daily) >= MIN_SESSIONS else math.nan
    traded = float(trades["notional"].abs().sum())
    spent_DC = daily.select(
        *COST_PARTS, trading=pl.sum_horizontal(TRADING_COSTS), total=pl.sum_horizontal(COST_PARTS)
    )
    parts: dict[str, Record] = {}
    for part in spent_DC.columns if len(daily) else ():
        spent_D = spent_DC[part].to_numpy()
        parts[part] = {
            "part": part,
            "money": float(spent_D.sum()),
            "bps_of_traded": float(spent_D.sum()) / traded / BPS if traded > 0 else math.nan,
            "annual_return": float((spent_D / before_D).sum()) / years,
        }
    bill: Record = dict.fromkeys(COST_FIGURES)
    reasons = dict.fromkeys(COST_FIGURES, "the backtest has no session")
    if parts:
        earned = float((daily["gross_return"].to_numpy() * before_D).sum())
        kept = earned - float(spent_DC["borrow_cost"].sum())
        bill = {
            "total": parts["total"]["money"],
            "total_annual_return": parts["total"]["annual_return"],
            "trading_bps": parts["trading"]["bps_of_traded"],
            "break_even_bps": kept / traded / BPS if traded > 0 else math.nan,
            "traded_notional": traded,
            "earned_before_costs": earned,
        }
        bps_figures = ("trading_bps", "break_even_bps")
        reasons = {} if traded > 0 else dict.fromkeys(bps_figures, "nothing was traded")
        if math.isnan(years):
            reasons["total_annual_return"] = too_short(len(daily))
    return {
        "parts": list(parts.values()),
        **bill,
        "n_trades": len(trades),
        "trades_by_reason": _by_reason(trades),
        "reasons": reasons,
    }


def _equity_before(daily: pl.DataFrame) -> Array:
    """Return equity at the close before each session."""
    equity_D = daily["equity"].to_numpy()
    return np.concatenate([equity_D[:1] / (1 + daily["net_return"].to_numpy()[:1]), equity_D[:-1]])


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
    counts_D: Mask | None = None,
) -> Mapping[str, object]:
    """Return net and gross performance, turnover, exposure and the calendar of returns.

    Args:
        daily: the backtest's daily table.
        positions: the backtest's positions.
        sessions_per_year: of the market's calendar.
        rates: see `cash_return`.
        hac_lag: sessions of serial correlation that `sharpe_se_hac` allows for.
        counts_D: sessions that count; None: all.
    """
    cash_D = cash_return(daily, rates)
    if counts_D is not None and not counts_D.all():
        cash_D, daily = cash_D[counts_D], daily.filter(pl.Series(counts_D))
        positions = positions.join(daily.select("session"), on="session", how="semi")
    sessions = daily["session"].to_numpy()
    sides = {
        side: judged_performance(
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
        "dividends": dividends(daily),
        "by_year": by_period(daily, "year", sessions_per_year=sessions_per_year),
        "by_month": by_period(daily, "month", sessions_per_year=sessions_per_year),
    }
