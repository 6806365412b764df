"""Weights inside their limits: names, sectors, net exposure, and neutrality.

Shape letters: N names, K constraints, S sectors.
"""

import numpy as np

from alpha_assets.arrays.types import Array, Index, Mask
from alpha_assets.backtest.rules.base import RuleSpec, Seen

ROUNDS = 50  # of projection and cut; after them one scale brings all inside
ROUNDING = 1e-12  # of exposure


def shared(pull_K: Array, total: float, limit: float | None) -> Array:
    """Return `total` shared out in proportion to `pull_K`, none above `limit`.

    What the limit cuts off goes to the others in their proportion, until none is above it.
    """
    if limit is None:
        return np.asarray(pull_K * (total / pull_K.sum()))
    weight_K = np.zeros(len(pull_K))
    is_free_K = np.ones(len(pull_K), dtype=bool)
    while True:
        left = total - limit * np.count_nonzero(~is_free_K)
        pulled = pull_K[is_free_K].sum()
        weight_K[is_free_K] = pull_K[is_free_K] * (left / pulled) if pulled > 0 else 0.0
        above_K = is_free_K & (weight_K > limit)
        if not above_K.any():
            return weight_K
        weight_K[above_K] = limit
        is_free_K &= ~above_K


def neutralised(weight_N: Array, seen: Seen, spec: RuleSpec) -> Array:
    """Return the nearest weights of the same names that are neutral, at the same gross exposure.

    The least-squares projection on the weights that sum to 0 in each sector, or times beta.
    A name that would become a short position and cannot be borrowed is left out.  Limits bind by a
    cut and a new projection; what they still exceed is scaled down, so that the result is neutral
    to rounding.  All 0 where no other weights are neutral.
    """
    if not spec.neutral:
        return weight_N
    gross = float(np.abs(weight_N).sum())
    can_short_N = ~seen.is_barred_N | (seen.held_N < 0)
    is_in_N = weight_N != 0
    found_N = weight_N
    while True:
        exposure_KN = orthogonal_to(is_in_N, seen, spec)
        found_N = np.where(is_in_N, weight_N, 0.0)
        for _ in range(ROUNDS):
            found_N = _projected(found_N, exposure_KN, is_in_N)
            held = float(np.abs(found_N).sum())
            if held <= ROUNDING * max(gross, 1.0):
                return np.zeros(len(weight_N))
            found_N = found_N * (gross / held)
            if spec.max_weight is None or np.abs(found_N).max() <= spec.max_weight:
                break
            found_N = np.clip(found_N, -spec.max_weight, spec.max_weight)
        found_N = _projected(found_N, exposure_KN, is_in_N)
        is_bad_N = is_in_N & (found_N < 0) & ~can_short_N
        if not is_bad_N.any():
            break
        is_in_N = is_in_N & ~is_bad_N
    held = float(np.abs(found_N).sum())
    if held <= ROUNDING * max(gross, 1.0):
        return np.zeros(len(weight_N))
    scale = gross / held
    if spec.max_weight is not None:
        scale = min(scale, spec.max_weight / float(np.abs(found_N).max()))
    return found_N * scale


def orthogonal_to(is_in_N: Mask, seen: Seen, spec: RuleSpec) -> Array:
    """Return the rows that weights are to be orthogonal to."""
    rows = []
    if "sector" in spec.neutral:
        rows += [(seen.sector_N == s) & is_in_N for s in np.unique(seen.sector_N[is_in_N])]
    if "beta" in spec.neutral:
        rows.append(np.where(is_in_N, seen.beta_N, 0.0))
    return np.array(rows, dtype=np.float64)


def _projected(weight_N: Array, exposure_KN: Array, is_in_N: Mask) -> Array:
    """Return the nearest weights that are orthogonal to each row."""
    basis_KI = exposure_KN[:, is_in_N]
    fit_K = np.linalg.lstsq(basis_KI.T, weight_N[is_in_N], rcond=None)[0]
    out_N = np.zeros(len(weight_N))
    out_N[is_in_N] = weight_N[is_in_N] - fit_K @ basis_KI
    return out_N


def limited(weight_N: Array, sector_N: Index, spec: RuleSpec) -> Array:
    """Return weights of which no name, sector, side or sum exceeds its limit, none larger.

    Names are cut, then sectors and then the larger side are scaled down, then all of them.
    """
    found_N = weight_N
    if spec.max_weight is not None:
        found_N = np.clip(found_N, -spec.max_weight, spec.max_weight)
    if spec.max_sector is not None:
        _, place_N = np.unique(sector_N, return_inverse=True)
        gross_S = np.bincount(place_N, weights=np.abs(found_N))
        scale_S = np.ones(len(gross_S))
        np.divide(spec.max_sector, gross_S, out=scale_S, where=gross_S > spec.max_sector)
        found_N = found_N * scale_S[place_N]
    if spec.max_net is not None:
        long, short = found_N[found_N > 0].sum(), -found_N[found_N < 0].sum()
        if abs(long - short) > spec.max_net:
            larger = np.sign(long - short)
            scale = (min(long, short) + spec.max_net) / max(long, short)
            found_N = np.where(np.sign(found_N) == larger, found_N * scale, found_N)
    gross = float(np.abs(found_N).sum())
    if gross > spec.gross_exposure * (1 + ROUNDING):
        found_N = found_N * (spec.gross_exposure / gross)
    return found_N
