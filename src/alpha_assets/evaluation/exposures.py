"""What scores and book lean on beside the signal, and what the scores know without it.

Market, size, momentum, reversal, volatility, sectors: any columns that order symbols.
Letters: D sessions, N symbols, F factors, S sectors.
"""

import math

import numpy as np
import polars as pl

from alpha_assets.arrays.ranks import average_rank, rank_ic
from alpha_assets.arrays.types import Array
from alpha_assets.evaluation.inference import enough, overlapping_mean
from alpha_assets.evaluation.signal import Grid, score_persistence

Record = dict[str, object]

MARKET = "market"  # the factor whose values are betas


def exposures(
    scores: pl.DataFrame,
    labels: pl.DataFrame,
    positions: pl.DataFrame,
    factors: pl.DataFrame,
    *,
    horizon: int,
    seed: int = 0,
    lived: pl.Series | None = None,
) -> Record:
    """Return how scores and book stand to each factor and sector, and the neutral rank IC.

    Args:
        scores: `session symbol score` of one horizon.
        labels: `session symbol label` of the same.
        positions: of the backtest; weights at the close.
        factors: `session symbol`, `sector` if there are any, and a column a factor, as known at
            the session.
        horizon: sessions that a label spans.
        seed: of the bootstrap.
        lived: sessions of the books, which end before the last scored one where that is still to
            be traded: the book's figures are of these.  None: all that are scored.

    Returns:
        `factors`: records of `factor`, `scores` (mean rank correlation of scores and factor in a
        session), `book` (mean of the sum of weight times the factor's z-score among scored names;
        of `market`: times beta, so that it is the book's beta), `book_low`, `book_high`, the
        least and the greatest.  A name whose value is unknown adds nothing to the book's sum; a
        session in which that is so of all that is held has none.  How much that is:
        `unknown`, the share of scores without a value, and `book_unknown`, the share of the gross
        weight without one.
        `sectors`: records of `sector`, `scores` (mean of the names' ranks, between -0.5 and 0.5),
        `book` (mean net weight).  Then `sectors_unknown` and `book_sectors_unknown`, the shares
        without a sector; NaN where no sectors are given.
        `neutral_rank_ic`: of what least squares leaves of a session's score ranks once the ranks
        of all factors and the sectors are taken out, as `signal.rank_ic` is; a name whose value of
        a factor is unknown has the middle rank of it.
    """
    names = [name for name in factors.columns if name not in ("session", "symbol", "sector")]
    grid = Grid.of(scores)
    if not len(grid.sessions):
        nothing = dict.fromkeys(("sectors_unknown", "book_sectors_unknown"), math.nan)
        return {"factors": [], "sectors": [], **nothing, "neutral_rank_ic": None}
    score_DN = grid.spread(scores, "score")
    is_scored_DN = ~np.isnan(score_DN)
    weight_DN = np.nan_to_num(grid.spread(positions, "weight"))
    lived_D = np.ones(len(grid.sessions), dtype=bool)
    if lived is not None:
        lived_D = np.isin(grid.sessions, lived.to_numpy().astype("datetime64[D]"))
    rank_DN = _centred_ranks(score_DN)
    records: list[Record] = []
    ranks_FDN = np.zeros((len(names), *score_DN.shape))
    for place, name in enumerate(names):
        value_DN = np.where(is_scored_DN, grid.spread(factors, name), np.nan)
        value_DN[~np.isfinite(value_DN)] = np.nan
        ranks_FDN[place] = np.nan_to_num(_centred_ranks(value_DN))
        load_DN = value_DN if name == MARKET else _z(value_DN)
        records.append(
            {
                "factor": name,
                "scores": _mean(rank_ic(score_DN, value_DN)),
                **_of_book(weight_DN[lived_D], load_DN[lived_D]),
                "unknown": _share(is_scored_DN, np.isnan(value_DN)),
                "book_unknown": _share(np.abs(weight_DN), np.isnan(load_DN)),
            }
        )
    sectors, member_SDN = _members(grid, factors, is_scored_DN)
    of_sectors = dict.fromkeys(("sectors_unknown", "book_sectors_unknown"), math.nan)
    if "sector" in factors.columns:
        has_none_DN = member_SDN.sum(axis=0) == 0
        of_sectors = {
            "sectors_unknown": _share(is_scored_DN, has_none_DN),
            "book_sectors_unknown": _share(np.abs(weight_DN), has_none_DN),
        }
    by_sector: list[Record] = [
        {
            "sector": sector,
            "scores": _mean(_row_means(np.where(member_DN, rank_DN, np.nan))),
            "book": _mean((weight_DN * member_DN).sum(axis=1)[lived_D]),
        }
        for sector, member_DN in zip(sectors, member_SDN, strict=True)
    ]
    left_DN = neutral(rank_DN, np.concatenate([ranks_FDN, member_SDN]))
    ic_D = rank_ic(left_DN, grid.spread(labels, "label"))
    neutral_ic = enough(overlapping_mean(ic_D, horizon, score_persistence(left_DN), seed))
    return {
        "factors": records,
        "sectors": by_sector,
        **of_sectors,
        "neutral_rank_ic": neutral_ic,
    }


def _of_book(weight_DN: Array, load_DN: Array) -> Record:
    """Return the book's mean, least and greatest exposure to a factor; NaN where it has none."""
    is_known_DN = ~np.isnan(load_DN)
    is_held_DN = weight_DN != 0
    is_blind_D = is_held_DN.any(axis=1) & ~(is_held_DN & is_known_DN).any(axis=1)
    book_D = (weight_DN * np.where(is_known_DN, load_DN, 0.0)).sum(axis=1)[~is_blind_D]
    if not len(book_D):
        why = "no session in which anything is held has a value of a name that is held"
        names = ("book", "book_low", "book_high")
        return {**dict.fromkeys(names, math.nan), "reasons": dict.fromkeys(names, why)}
    return {
        "book": float(book_D.mean()),
        "book_low": float(book_D.min()),
        "book_high": float(book_D.max()),
    }


def neutral(rank_DN: Array, inputs_XDN: Array) -> Array:
    """Return what least squares on the inputs and a constant leaves of each session's ranks.

    NaN where there is no rank, and throughout a session that the inputs explain to rounding.
    """
    left_DN = np.full(rank_DN.shape, np.nan)
    for d, rank_N in enumerate(rank_DN):
        known = np.flatnonzero(~np.isnan(rank_N))
        if not len(known):
            continue
        x_NX = np.vstack([np.ones(len(known)), inputs_XDN[:, d, known]]).T
        weights_X = np.linalg.pinv(x_NX.T @ x_NX, hermitian=True) @ (x_NX.T @ rank_N[known])
        left_N = rank_N[known] - x_NX @ weights_X
        if np.ptp(left_N) > 1e-9:
            left_DN[d, known] = left_N
    return left_DN


def _members(grid: Grid, factors: pl.DataFrame, is_scored_DN: Array) -> tuple[list[str], Array]:
    """Return the sectors, and which scored names belong to each, as 0 and 1."""
    if "sector" not in factors.columns:
        return [], np.zeros((0, *is_scored_DN.shape))
    sectors = factors["sector"].drop_nulls().unique().sort()
    coded = factors.with_columns(pl.col("sector").cast(pl.Enum(sectors)).to_physical())
    code_DN = grid.spread(coded, "sector")
    member_SDN = [
        ((code_DN == code) & is_scored_DN).astype(np.float64) for code in range(len(sectors))
    ]
    return sectors.to_list(), np.array(member_SDN).reshape(-1, *is_scored_DN.shape)


def _centred_ranks(x_DN: Array) -> Array:
    """Return ranks between -0.5 and 0.5; NaN where there is no value."""
    n_D1 = (~np.isnan(x_DN)).sum(axis=1, keepdims=True)
    return np.asarray((average_rank(x_DN) - 0.5) / np.maximum(n_D1, 1) - 0.5)


def _z(x_DN: Array) -> Array:
    """Return each session's values less their mean, over their spread; NaN without spread."""
    n_D1 = np.maximum((~np.isnan(x_DN)).sum(axis=1, keepdims=True), 1)
    off_DN = x_DN - np.nansum(x_DN, axis=1, keepdims=True) / n_D1
    spread_D1 = np.sqrt(np.nansum(off_DN**2, axis=1, keepdims=True) / n_D1)
    return np.asarray(off_DN / np.where(spread_D1 > 0, spread_D1, np.nan))


def _row_means(x_DN: Array) -> Array:
    n_D = (~np.isnan(x_DN)).sum(axis=1)
    return np.asarray(np.nansum(x_DN, axis=1) / np.where(n_D > 0, n_D, np.nan))


def _share(size_DN: Array, is_it_DN: Array) -> float:
    """Return the share of a sum that some elements have; NaN of nothing."""
    total = float(size_DN.sum())
    return float(size_DN[is_it_DN].sum()) / total if total > 0 else math.nan


def _mean(x_D: Array) -> float:
    known_D = x_D[~np.isnan(x_D)]
    return float(known_D.mean()) if len(known_D) else math.nan
