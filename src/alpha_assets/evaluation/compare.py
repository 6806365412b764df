"""Recipes against one another: their figures on the same sessions, and the paired differences.

A difference is taken session by session before anything is resampled, so that what moves both
sides alike cancels: `bootstrap_interval` of the differences draws the same blocks of sessions for
both.  Every difference is of a recipe less the first one.

Letters: D sessions.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Array
from alpha_assets.evaluation.inference import enough, overlapping_error, overlapping_mean
from alpha_assets.evaluation.performance import MIN_SESSIONS, judged_performance, too_short
from alpha_assets.evaluation.portfolio import turnover
from alpha_assets.evaluation.sharpe import sharpe_influence, sharpe_ratio

Record = dict[str, object]

SEED = 0  # of every difference: with the sides changed over, the same blocks are drawn
INTERVAL = ("low", "high", "n_sessions", "block")


@dataclass(frozen=True)
class TrackRecord:
    """The judged sessions of a recipe.

    Attributes:
        recipe: its name, or that of a variant.
        daily: `session net_return cash_return turnover gross_exposure`, a row per judged session.
        ic: `session horizon rank_ic`, NaN where a session has too few pairs.
        persistence: by predicted horizon, rank autocorrelation of the scores; NaN: not known.
        traded_horizon: sessions, of the scores that the portfolio holds.
        seed: of the recipe's own intervals.
    """

    recipe: str
    daily: pl.DataFrame
    ic: pl.DataFrame
    persistence: Mapping[int, float]
    traded_horizon: int
    seed: int = 0

    def on(self, sessions: pl.Series) -> pl.DataFrame:
        """Return the daily rows of some sessions, in order."""
        return self.daily.filter(pl.col("session").is_in(sessions.implode())).sort("session")


def common_sessions(records: Sequence[TrackRecord]) -> pl.Series:
    """Return the sessions that are judged of every recipe, in order."""
    daily = [record.daily.select("session") for record in records]
    return reduce(lambda a, b: a.join(b, on="session", how="semi"), daily)["session"].sort()


def comparison(records: Sequence[TrackRecord], sessions_per_year: float) -> Record:
    """Return the figures of recipes on their common sessions, and differences from the first.

    Rank IC is compared at the horizons that all of them predict, that which the first one trades
    at the front, and on the sessions with a coefficient of each; returns and turnover on the
    sessions that are judged of each.

    Args:
        records: two or more, of one market.
        sessions_per_year: of its calendar.

    Returns:
        `horizons`, `recipes` (one record each, in order, of `rank_ic` by `h<h>`, `net` and
        `turnover`) and `differences`: one record per further recipe and figure, with a 95 %
        interval, or its `reasons`.
    """
    sessions = common_sessions(records)
    horizons = common_horizons(records)
    tables = [record.on(sessions) for record in records]
    coefficients = {h: paired_coefficients(records, h) for h in horizons}
    own = [
        _own_figures(record, daily, {h: x[i] for h, x in coefficients.items()}, sessions_per_year)
        for i, (record, daily) in enumerate(zip(records, tables, strict=True))
    ]
    differences: list[Record] = []
    for i, record in enumerate(records[1:], 1):
        traded = max(records[0].traded_horizon, record.traded_horizon)
        turned_D = tables[i]["turnover"].to_numpy() - tables[0]["turnover"].to_numpy()
        found = [
            *[_of_mean("rank_ic", x[i] - x[0], h, h) for h, x in coefficients.items()],
            _of_sharpe(tables[0], tables[i], traded, sessions_per_year),
            _of_turnover(turned_D * sessions_per_year, traded),
        ]
        differences += [
            {"recipe": record.recipe, "against": records[0].recipe, **row} for row in found
        ]
    return {"horizons": horizons, "recipes": own, "differences": differences}


def common_horizons(records: Sequence[TrackRecord]) -> list[int]:
    """Return the horizons that all predict, that which the first one trades at the front."""
    shared = set.intersection(*(set(record.persistence) for record in records))
    return sorted(shared, key=lambda h: (h != records[0].traded_horizon, h))


def paired_coefficients(records: Sequence[TrackRecord], horizon: int) -> list[Array]:
    """Return each one's rank ICs of a horizon, on the sessions where all have one, in order."""
    table: pl.DataFrame | None = None
    for i, record in enumerate(records):
        own = record.ic.filter(pl.col("horizon") == horizon, pl.col("rank_ic").is_not_nan())
        own = own.select("session", pl.col("rank_ic").alias(str(i)))
        table = own if table is None else table.join(own, on="session", how="inner")
    assert table is not None, "there are two records or more"
    table = table.drop_nulls().sort("session")
    return [table[str(i)].to_numpy() for i in range(len(records))]


def _own_figures(
    record: TrackRecord, daily: pl.DataFrame, ic: Mapping[int, Array], sessions_per_year: float
) -> Record:
    """Return a recipe's own figures, defined as those of its backtest."""
    signal: dict[str, Record] = {}
    for h, ic_D in ic.items():
        phi = record.persistence[h]
        whole = enough(overlapping_mean(ic_D, h, phi, record.seed))
        shown = ("mean", *INTERVAL, "reasons")
        is_long = len(ic_D) >= MIN_SESSIONS
        error = overlapping_error(ic_D, h, phi) if is_long else math.nan
        signal[f"h{h}"] = {"error": error, **{name: whole[name] for name in shown}}
    net = judged_performance(
        daily["net_return"].to_numpy(),
        daily["session"].to_numpy(),
        sessions_per_year=sessions_per_year,
        cash_D=daily["cash_return"].to_numpy(),
        hac_lag=max(record.persistence, default=0),
    )
    return {
        "recipe": record.recipe,
        "rank_ic": signal,
        "net": net,
        "turnover": turnover(daily, sessions_per_year),
    }


def _of_mean(figure: str, difference_D: Array, horizon: int, of: int | None = None) -> Record:
    """Return the mean of a difference with its interval, or why there is none.

    Args:
        figure: its name.
        difference_D: of the other recipe less the first, by session.
        horizon: sessions over which neighbours are correlated, for the length of a block.
        of: the horizon of the figure; None: it has none.
    """
    whole = enough(overlapping_mean(difference_D, horizon, math.nan, SEED))
    reasons = whole["reasons"]
    assert isinstance(reasons, dict), "one sentence for each value that is missing"
    reasons = {name: reasons[name] for name in ("mean", "low", "high") if name in reasons}
    if len(difference_D) > 1 and np.ptp(difference_D) == 0:
        reasons |= dict.fromkeys(("low", "high"), "the difference is the same in every session")
    return {
        "figure": figure,
        "horizon": of,
        "difference": whole["mean"],
        **{name: whole[name] for name in INTERVAL},
        "reasons": {name.replace("mean", "difference"): why for name, why in reasons.items()},
    }


def _of_turnover(difference_D: Array, horizon: int) -> Record:
    """Return the difference of two turnovers of a year; none of too few sessions."""
    found = _of_mean("turnover", difference_D, horizon)
    n = len(difference_D)
    if n >= MIN_SESSIONS:
        return found
    return found | {
        "difference": math.nan,
        "reasons": dict.fromkeys(("difference", *INTERVAL[:2]), too_short(n)),
    }


def _of_sharpe(first: pl.DataFrame, other: pl.DataFrame, horizon: int, year: float) -> Record:
    """Return the difference of two annual net Sharpe ratios.

    The interval is that of the mean of (sharpe + influence) of the other recipe less that of the
    first: the difference of the ratios as a mean over sessions, which is what blocks resample.

    Source: Ledoit & Wolf (2008), J. Empirical Finance 15(5): studentised blocks, in pairs.
    """
    excess = [(daily["net_return"] - daily["cash_return"]).to_numpy() for daily in (first, other)]
    n, root = len(first), math.sqrt(year)
    ratios = [sharpe_ratio(excess_D) * root for excess_D in excess]
    if n >= MIN_SESSIONS and not any(math.isnan(ratio) for ratio in ratios):
        a_D, b_D = (
            ratio + sharpe_influence(x_D) * root for ratio, x_D in zip(ratios, excess, strict=True)
        )
        return _of_mean("sharpe", b_D - a_D, horizon) | {"difference": ratios[1] - ratios[0]}
    missing = dict.fromkeys(("difference", "low", "high"), math.nan)
    why = too_short(n) if n < MIN_SESSIONS else "the returns of a book have no spread"
    rest: Record = {"n_sessions": n, "block": None, "reasons": dict.fromkeys(missing, why)}
    return {"figure": "sharpe", "horizon": None, **missing, **rest}
