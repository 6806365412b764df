"""What the long and the short leg earned, and how few names and sessions the profit came from.

A leg's return is its profit and loss over the book's equity at the close before, so that the
returns of `long` and `short` add up to those of `long_short`, which is the book without the
interest on its cash.  No cash rate is taken from a leg's return: a leg holds no cash.
Letters: D sessions.
"""

import math

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Array, Mask
from alpha_assets.backtest.attribution import Attribution
from alpha_assets.evaluation.performance import MIN_SESSIONS, judged_performance, too_short

Record = dict[str, object]

TOP_NAMES, BEST_SESSIONS = 5, 5
WORST_MONTHS, NAMES_OF_MONTH = 5, 3
ADDED_UP = ("gross_return", "net_return", "turnover", "exposure", "pnl_gross", "pnl_net")


def legs(
    frame: pl.DataFrame, *, sessions_per_year: float, hac_lag: int = 0, counts_D: Mask | None = None
) -> Record:
    """Return the figures of the long leg, the short leg, and both together.

    Args:
        frame: `Attribution.legs`, two rows a session.
        sessions_per_year: of the market's calendar.
        hac_lag: as in `performance`.
        counts_D: sessions that count; None: all.

    Returns:
        By `long`, `short` and `long_short`: `net` and `gross` as `performance` has them,
        `turnover_annual` (one way, of the book's equity), `exposure_mean` (signed, of equity),
        `pnl_gross`, `pnl_net` (money).
    """
    sessions = frame.filter(leg="long")["session"].to_numpy()
    counts_D = np.ones(len(sessions), dtype=bool) if counts_D is None else counts_D
    values = {
        leg: {name: frame.filter(leg=leg)[name].to_numpy()[counts_D] for name in ADDED_UP}
        for leg in ("long", "short")
    }
    values["long_short"] = {name: values["long"][name] + values["short"][name] for name in ADDED_UP}
    # Of a year only where the sessions are enough to be judged; `net` has the reason.
    year = sessions_per_year if np.count_nonzero(counts_D) >= MIN_SESSIONS else math.nan
    found: Record = {}
    for leg, of_leg in values.items():
        sides = {
            side: judged_performance(
                of_leg[f"{side}_return"],
                sessions[counts_D],
                sessions_per_year=sessions_per_year,
                hac_lag=hac_lag,
            )
            for side in ("net", "gross")
        }
        found[leg] = {
            **sides,
            "turnover_annual": _mean(of_leg["turnover"]) * year,
            "exposure_mean": _mean(of_leg["exposure"]),
            "pnl_gross": float(of_leg["pnl_gross"].sum()),
            "pnl_net": float(of_leg["pnl_net"].sum()),
        }
    return found


def _mean(x_D: Array) -> float:
    return float(x_D.mean()) if len(x_D) else math.nan


def concentration(found: Attribution, counts_D: Mask | None = None) -> Record:
    """Return how much of the profit the best names and sessions made, and the worst months.

    Of the net profit and loss of positions, without the interest on cash.  A share above 1 means
    that everything else lost money; where the book lost money in all, or the sessions are too few
    to be judged, there is no share.

    Args:
        found: of the books; its names are of the sessions that count.
        counts_D: sessions that count; None: all.

    Returns:
        `pnl_net` (money), `top_names` (records `symbol`, `pnl_net`, `share`), `top_names_share`,
        `best_sessions` (records `session`, `pnl_net`, `share`), `best_sessions_share`,
        `worst_months` (records `month`, `pnl_net`, `names`: records `symbol`, `leg`, `pnl_net`),
        and `reasons`.
    """
    by_session = found.legs.group_by("session", maintain_order=True).agg(pl.col("pnl_net").sum())
    if counts_D is not None:
        by_session = by_session.filter(pl.Series(counts_D))
    by_name = found.names.group_by("symbol").agg(pl.col("pnl_net").sum())
    total = float(by_session["pnl_net"].sum())
    by_month = found.names.group_by("month").agg(pl.col("pnl_net").sum())
    worst = by_month.filter(pl.col("pnl_net") < 0).sort("pnl_net", "month").head(WORST_MONTHS)
    months = []
    for row in worst.iter_rows(named=True):
        of_month = found.names.filter(month=row["month"]).sort("pnl_net", "symbol")
        made = of_month.filter(pl.col("pnl_net") < 0).head(NAMES_OF_MONTH)
        months.append({**row, "names": made.select("symbol", "leg", "pnl_net").to_dicts()})
    n, reason = len(by_session), "the positions earned nothing in all: there is no share of it"
    scale = total
    if 0 < n < MIN_SESSIONS:
        scale, reason = math.nan, too_short(n)
    shares = ("top_names_share", "best_sessions_share")
    names, names_share = _best(by_name, "symbol", TOP_NAMES, scale)
    sessions, sessions_share = _best(by_session, "session", BEST_SESSIONS, scale)
    return {
        "pnl_net": total,
        "top_names": names,
        "top_names_share": names_share,
        "best_sessions": sessions,
        "best_sessions_share": sessions_share,
        "worst_months": months,
        "reasons": {} if scale > 0 else dict.fromkeys(shares, reason),
    }


def _best(frame: pl.DataFrame, key: str, n: int, total: float) -> tuple[list[Record], float]:
    """Return the rows that earned most with their share of the total, and that of all of them."""
    best = frame.filter(pl.col("pnl_net") > 0)
    best = best.sort(["pnl_net", key], descending=[True, False]).head(n)
    scale = total if total > 0 else math.nan
    rows = best.with_columns(share=pl.col("pnl_net") / scale).select(key, "pnl_net", "share")
    return rows.to_dicts(), float(best["pnl_net"].sum()) / scale
