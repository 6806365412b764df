"""What the scores knew: information coefficients, buckets, decay, and where they held.

Always on raw forward returns, whatever the model was trained on.  A session counts if at least
ten of its symbols have both a score and a label.

Letters: D sessions, N symbols.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alpha_assets.arrays.ranks import MIN_PAIRS, average_rank, rank_ic
from alpha_assets.arrays.types import Array, Dates, Mask
from alpha_assets.errors import BadInput
from alpha_assets.evaluation.buckets import buckets
from alpha_assets.evaluation.inference import (
    enough,
    overlapping_error,
    overlapping_mean,
    variance_inflation,
)
from alpha_assets.evaluation.performance import MIN_SESSIONS
from alpha_assets.evaluation.planted import Learning, ceiling_record, component_records

Record = dict[str, object]

KEY = ("session", "symbol", "horizon")
SIZES = ("small", "middle", "large")


@dataclass(frozen=True)
class Breakdowns:
    """What a session or a symbol can be sorted by.  What is None is left out.

    Attributes:
        names: `session`, `symbol` and any of `sector` (as of the session), `size` (any number
            that orders symbols by size within a session).
        regimes: `session`, `regime`.
    """

    names: pl.DataFrame | None = None
    regimes: pl.DataFrame | None = None


@dataclass(frozen=True)
class Signal:
    """The signal's statistics (`h<h>` -> figures) and its coefficients session by session."""

    statistics: dict[str, Record]
    ic: pl.DataFrame


@dataclass(frozen=True)
class Grid:
    """Dense axes of one horizon's predictions."""

    sessions: Dates
    symbols: pl.Enum

    @classmethod
    def of(cls, scores: pl.DataFrame) -> "Grid":
        """Return the sessions and symbols of rows, in order."""
        sessions = np.unique(scores["session"].to_numpy())
        return cls(sessions, pl.Enum(scores["symbol"].unique().sort()))

    def spread(self, frame: pl.DataFrame, column: str) -> Array:
        """Return `column` as [D, N], NaN where there is no row; other sessions are left out."""
        names = set(self.symbols.categories)
        frame = frame.filter(
            pl.col("session").is_in(pl.Series(self.sessions).to_list()),
            pl.col("symbol").is_in(list(names)),
        )
        value_DN = np.full((len(self.sessions), len(names)), np.nan)
        d = np.searchsorted(self.sessions, frame["session"].to_numpy())
        n = frame["symbol"].cast(self.symbols).to_physical().to_numpy()
        value_DN[d, n] = frame[column].cast(pl.Float64).fill_null(np.nan).to_numpy()
        return value_DN


def signal(
    predictions: pl.DataFrame,
    labels: pl.DataFrame,
    *,
    breakdowns: Breakdowns | None = None,
    oracle: Mapping[int, float | str] | None = None,
    learning: Learning | None = None,
    components: pl.DataFrame | None = None,
    seed: int = 0,
) -> Signal:
    """Return what the scores of every horizon were worth.

    Args:
        predictions: `session symbol horizon score`.
        labels: `session symbol horizon label`, raw forward returns; horizons that were not
            predicted show the decay.
        breakdowns: what to sort sessions and symbols by.
        oracle: by horizon, on simulated data: the estimated rank IC of what was planted, or why
            it is not known.
        learning: what the scores' models are estimated from, for the ceiling of least squares.
        components: `session symbol` and a column for each planted component.
        seed: of the bootstraps.

    Raises:
        BadInput: two rows for one (session, symbol, horizon).
    """
    for name, frame in (("predictions", predictions), ("labels", labels)):
        _refuse_duplicates(name, frame)
    breakdowns = breakdowns or Breakdowns()
    statistics: dict[str, Record] = {}
    coefficients: list[pl.DataFrame] = []
    for horizon in sorted(predictions["horizon"].unique().to_list()):
        scores = predictions.filter(pl.col("horizon") == horizon)
        grid = Grid.of(scores)
        score_DN = grid.spread(scores, "score")
        labels_by_horizon = {
            h: grid.spread(labels.filter(pl.col("horizon") == h), "label")
            for h in sorted(labels["horizon"].unique().to_list())
        }
        label_DN = labels_by_horizon.get(horizon, np.full_like(score_DN, np.nan))
        ic = _coefficients(grid, horizon, score_DN, label_DN)
        phi = score_persistence(score_DN)
        figures = _figures(score_DN, label_DN, ic, horizon, phi, seed)
        figures["decay"] = [
            {"horizon": h, **_short(rank_ic(score_DN, later_DN), h, phi)}
            for h, later_DN in labels_by_horizon.items()
        ]
        figures |= _broken_down(grid, score_DN, label_DN, ic, horizon, phi, breakdowns)
        planted = (oracle or {}).get(horizon)
        n_names = figures["n_pairs_median"]
        assert isinstance(n_names, float), "a median"
        figures["planted"] = (
            None
            if planted is None
            else {
                **_planted(figures["rank_ic"], planted),
                **ceiling_record(planted, n_names, horizon, learning),
            }
        )
        if components is not None:
            figures["components"] = component_records(
                {
                    name: pearson_ic(score_DN, grid.spread(components, name))
                    for name in components.columns
                    if name not in KEY
                }
            )
        statistics[f"h{horizon}"] = figures
        coefficients.append(ic)
    return Signal(statistics, pl.concat(coefficients) if coefficients else _no_coefficients())


def pearson_ic(score_DN: Array, label_DN: Array, min_pairs: int = MIN_PAIRS) -> Array:
    """Return the plain correlation of score and label per session; NaN as for `rank_ic`."""
    paired_DN = ~(np.isnan(score_DN) | np.isnan(label_DN))
    n_D1 = paired_DN.sum(axis=1, keepdims=True)
    centred = []
    for x_DN in (score_DN, label_DN):
        x_DN = np.where(paired_DN, x_DN, 0.0)
        mean_D1 = x_DN.sum(axis=1, keepdims=True) / np.maximum(n_D1, 1)
        e_DN = np.where(paired_DN, x_DN - mean_D1, 0.0)
        # Among the pairs alone: a mean of equal values may miss them by their last bit.
        high_D1 = np.max(x_DN, axis=1, keepdims=True, where=paired_DN, initial=-np.inf)
        low_D1 = np.min(x_DN, axis=1, keepdims=True, where=paired_DN, initial=np.inf)
        centred.append(np.where(high_D1 > low_D1, e_DN, 0.0))
    a_DN, b_DN = centred
    scale_D = np.sqrt((a_DN**2).sum(axis=1)) * np.sqrt((b_DN**2).sum(axis=1))
    usable_D = (n_D1[:, 0] >= max(min_pairs, 2)) & (scale_D > 0)
    ic_D: Array = np.full(len(score_DN), np.nan)
    np.divide((a_DN * b_DN).sum(axis=1), scale_D, out=ic_D, where=usable_D)
    return ic_D


def score_persistence(score_DN: Array) -> float:
    """Return phi: mean rank correlation of a session's scores with the session's before."""
    phi_D = rank_ic(score_DN[1:], score_DN[:-1])
    return float(np.nanmean(phi_D)) if np.isfinite(phi_D).any() else math.nan


def _coefficients(grid: Grid, horizon: int, score_DN: Array, label_DN: Array) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "session": grid.sessions,
            "horizon": np.full(len(grid.sessions), horizon, dtype=np.int16),
            "rank_ic": rank_ic(score_DN, label_DN),
            "ic": pearson_ic(score_DN, label_DN),
            "n_pairs": (~(np.isnan(score_DN) | np.isnan(label_DN))).sum(axis=1),
        }
    )


def _no_coefficients() -> pl.DataFrame:
    return pl.DataFrame(
        schema={
            "session": pl.Date,
            "horizon": pl.Int16,
            "rank_ic": pl.Float64,
            "ic": pl.Float64,
            "n_pairs": pl.Int64,
        }
    )


def _figures(
    score_DN: Array, label_DN: Array, ic: pl.DataFrame, horizon: int, phi: float, seed: int
) -> Record:
    rank_ic_D = ic["rank_ic"].to_numpy()
    n_pairs_D = ic["n_pairs"].to_numpy()
    counted_D = n_pairs_D >= MIN_PAIRS
    n_names = float(np.median(n_pairs_D[counted_D])) if counted_D.any() else math.nan
    with_values = rank_ic_D[~np.isnan(rank_ic_D)]
    return {
        "rank_ic": enough(overlapping_mean(rank_ic_D, horizon, phi, seed)),
        "ic": enough(overlapping_mean(ic["ic"].to_numpy(), horizon, phi, seed)),
        "share_positive": float(np.mean(with_values > 0)) if len(with_values) else math.nan,
        "score_persistence": phi,
        "variance_inflation": variance_inflation(phi, horizon),
        "n_sessions_predicted": len(rank_ic_D),
        "n_sessions_left_out": int((~counted_D).sum()),
        "n_sessions_constant": _n_constant(score_DN),
        "n_pairs_median": n_names,
        "buckets": buckets(score_DN, label_DN, n_names, horizon, phi, seed),
    }


def _n_constant(score_DN: Array) -> int:
    """Return how many sessions give every one of several names the same score."""
    known_DN = ~np.isnan(score_DN)
    highest_D = np.where(known_DN, score_DN, -np.inf).max(axis=1, initial=-np.inf)
    lowest_D = np.where(known_DN, score_DN, np.inf).min(axis=1, initial=np.inf)
    return int(((known_DN.sum(axis=1) > 1) & (highest_D == lowest_D)).sum())


def _short(ic_D: Array, horizon: int, phi: float) -> Record:
    """Return the few figures that a row of a break-down shows."""
    ic_D = ic_D[~np.isnan(ic_D)]
    whole = overlapping_mean(ic_D, horizon, phi, seed=0)
    row = {name: whole[name] for name in ("mean", "sd", "t", "n_sessions")}
    return row | {"error": overlapping_error(ic_D, horizon, phi)}


def _broken_down(
    grid: Grid,
    score_DN: Array,
    label_DN: Array,
    ic: pl.DataFrame,
    horizon: int,
    phi: float,
    breakdowns: Breakdowns,
) -> Record:
    rank_ic_D = ic["rank_ic"].to_numpy()
    months_D = grid.sessions.astype("datetime64[M]").astype(str)
    years_D = grid.sessions.astype("datetime64[Y]").astype(str)

    def by(word: str, of_session_D: NDArray[np.str_]) -> list[Record]:
        return [
            {word: str(one), **_short(rank_ic_D[of_session_D == one], horizon, phi)}
            for one in np.unique(of_session_D)
        ]

    found: Record = {"by_year": by("year", years_D), "by_month": by("month", months_D)}
    found |= {"by_regime": [], "by_sector": [], "by_size": []}
    if breakdowns.regimes is not None:
        sessions = pl.DataFrame({"session": grid.sessions})
        named = sessions.join(breakdowns.regimes, on="session", how="left")
        regime_D = named.sort("session")["regime"].fill_null("unknown").to_numpy().astype(str)
        found["by_regime"] = by("regime", regime_D)
    names = breakdowns.names
    if names is not None and "sector" in names.columns:
        sectors = names["sector"].drop_nulls().unique().sort()
        coded = names.with_columns(pl.col("sector").cast(pl.Enum(sectors)).to_physical())
        sector_DN = grid.spread(coded, "sector")
        found["by_sector"] = [
            {"sector": sector, **_within(score_DN, label_DN, sector_DN == code, horizon)}
            for code, sector in enumerate(sectors)
        ]
    if names is not None and "size" in names.columns:
        size_DN = grid.spread(names, "size")
        size_DN[np.isnan(score_DN) | np.isnan(label_DN)] = np.nan
        n_D1 = (~np.isnan(size_DN)).sum(axis=1, keepdims=True)
        third_DN = np.floor((average_rank(size_DN) - 0.5) / np.maximum(n_D1, 1) * len(SIZES))
        found["by_size"] = [
            {"size": size, **_within(score_DN, label_DN, third_DN == code, horizon)}
            for code, size in enumerate(SIZES)
        ]
    return found


def _within(score_DN: Array, label_DN: Array, member_DN: Mask, horizon: int) -> Record:
    """Return the short figures of the rank IC among the members alone."""
    score_DN = np.where(member_DN, score_DN, np.nan)
    ic_D = rank_ic(score_DN, label_DN)
    names_D = (member_DN & ~np.isnan(score_DN) & ~np.isnan(label_DN)).sum(axis=1)
    row = _short(ic_D, horizon, score_persistence(score_DN))
    return row | {"n_names_median": float(np.median(names_D)) if len(names_D) else math.nan}


def _planted(rank_ic_figures: object, planted: float | str) -> Record:
    """Return the share of the planted rank IC that the scores recovered, with its interval.

    It is not known where the oracle is not, and where the scores have too few sessions: the
    oracle is measured on the whole market, and the ratio to a short span says nothing.
    """
    assert isinstance(rank_ic_figures, dict)
    n = rank_ic_figures["n_sessions"]
    why = planted if isinstance(planted, str) else None
    if why is None and not float(planted) > 0:
        why = "nothing was planted: the oracle's rank IC is not above 0"
    if why is None and n < MIN_SESSIONS:
        why = f"{n} sessions are fewer than {MIN_SESSIONS}"
    if why is not None:
        nothing = dict.fromkeys(("share", "share_low", "share_high"), math.nan)
        oracle = math.nan if isinstance(planted, str) else planted
        return {"oracle_rank_ic": oracle, **nothing, "is_estimate": True, "reason": why}
    assert not isinstance(planted, str)
    shares = {
        name: rank_ic_figures[figure] / planted
        for name, figure in (("share", "mean"), ("share_low", "low"), ("share_high", "high"))
    }
    return {"oracle_rank_ic": planted, **shares, "is_estimate": True, "reason": None}


def _refuse_duplicates(name: str, frame: pl.DataFrame) -> None:
    twice = frame.filter(frame.select(KEY).is_duplicated())
    if len(twice):
        first = twice.select(KEY).row(0)
        raise BadInput(
            f"{len(twice)} rows of {name} share (session, symbol, horizon), first {first}; "
            "each may be there once: remove the month folder that was written twice"
        )


def less_parent(
    predictions: pl.DataFrame, of_parent: pl.DataFrame, labels: pl.DataFrame, seed: int = 0
) -> Record:
    """Return the mean of a recipe's rank IC less its parent's, session by session.

    Only symbols that both score count.

    Args:
        predictions: `session symbol horizon score` of one horizon.
        of_parent: the same of the parent.
        labels: `session symbol horizon label` of the horizon.
        seed: of the bootstrap.

    Returns:
        As `overlapping_mean` has it.
    """
    horizon = int(predictions["horizon"].max() or 1)  # type: ignore[arg-type]
    both = predictions.join(
        of_parent.select("session", "symbol", pl.col("score").alias("of_parent")),
        on=["session", "symbol"],
    )
    grid = Grid.of(both)
    label_DN = grid.spread(labels, "label")
    own_DN, parent_DN = grid.spread(both, "score"), grid.spread(both, "of_parent")
    less_D = rank_ic(own_DN, label_DN) - rank_ic(parent_DN, label_DN)
    return overlapping_mean(less_D, horizon, score_persistence(own_DN), seed)
