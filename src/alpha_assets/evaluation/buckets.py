"""Do the highest scores earn the most?  Mean returns of score buckets.

Letters: D sessions, N symbols, Q score buckets.
"""

import math

import numpy as np

from alpha_assets.arrays.ranks import MIN_PAIRS, average_rank
from alpha_assets.arrays.types import Array
from alpha_assets.evaluation.inference import (
    block_length,
    enough,
    overlapping_error,
    overlapping_mean,
)
from alpha_assets.evaluation.monotonicity import monotonicity
from alpha_assets.evaluation.performance import MIN_SESSIONS, too_short

Record = dict[str, object]

NAMES_FOR_DECILES, NAMES_FOR_QUINTILES = 50, 25  # five names in a bucket, or fewer buckets


def bucket_count(n_names: float) -> int:
    """Return how many score buckets a cross-section of so many names can bear."""
    if n_names >= NAMES_FOR_DECILES:
        return 10
    return 5 if n_names >= NAMES_FOR_QUINTILES else 3


def bucket_returns(score_DN: Array, label_DN: Array, n_buckets: int) -> Array:
    """Return the mean label of each score bucket, [D, Q], lowest scores first.

    NaN in a session without a rank IC, and in a bucket that ties have left empty.
    """
    paired_DN = ~(np.isnan(score_DN) | np.isnan(label_DN))
    n_D1 = paired_DN.sum(axis=1, keepdims=True)
    rank_DN = average_rank(np.where(paired_DN, score_DN, np.nan))
    share_DN = (rank_DN - 0.5) / np.maximum(n_D1, 1)
    bucket_DN = np.where(paired_DN & (n_D1 >= MIN_PAIRS), np.floor(share_DN * n_buckets), -1)
    mean_DQ = np.full((len(score_DN), n_buckets), np.nan)
    for q in range(n_buckets):
        in_bucket_DN = bucket_DN == q
        count_D = in_bucket_DN.sum(axis=1)
        total_D = np.where(in_bucket_DN, label_DN, 0.0).sum(axis=1)
        np.divide(total_D, count_D, out=mean_DQ[:, q], where=count_D > 0)
    return mean_DQ


def buckets(
    score_DN: Array,
    label_DN: Array,
    n_names: float,
    horizon: int,
    phi: float,
    seed: int,
) -> Record:
    """Return means per score bucket, their spread, and whether they rise step by step.

    Args:
        score_DN: scores.
        label_DN: raw forward returns, fractions.
        n_names: pairs in a usual session (median); NaN if no session counts.
        horizon: sessions that a label spans.
        phi: rank autocorrelation of the score.
        seed: of the bootstraps.

    Returns:
        `means` (records; `mean_excess` is over the mean of the session's buckets, `error` as
        `overlapping_error` has it), `spread` (highest less lowest bucket), `monotonicity`; of fewer
        than `MIN_SESSIONS` sessions no error, interval or test, and the `reason`.
    """
    n_buckets = 0 if math.isnan(n_names) else bucket_count(n_names)
    if n_buckets == 0:
        why = "no session has enough pairs of score and label"
        return {"n_buckets": 0, "means": [], "spread": None, "monotonicity": None, "reason": why}
    return_DQ = bucket_returns(score_DN, label_DN, n_buckets)
    return_DQ = return_DQ[~np.isnan(return_DQ).any(axis=1)]
    if not len(return_DQ):
        why = "ties leave a bucket empty in every session"
        return {
            "n_buckets": n_buckets,
            "means": [],
            "spread": None,
            "monotonicity": None,
            "reason": why,
        }
    excess_DQ = return_DQ - return_DQ.mean(axis=1, keepdims=True)
    n = len(return_DQ)
    is_short = n < MIN_SESSIONS
    j, p = monotonicity(return_DQ, block_length(n, horizon), seed)
    return {
        "n_buckets": n_buckets,
        "n_sessions": n,
        "means": [
            {
                "bucket": q + 1,
                "mean_return": float(return_DQ[:, q].mean()),
                "mean_excess": float(excess_DQ[:, q].mean()),
                "error": (
                    math.nan if is_short else overlapping_error(excess_DQ[:, q], horizon, phi)
                ),
            }
            for q in range(n_buckets)
        ],
        "spread": enough(overlapping_mean(return_DQ[:, -1] - return_DQ[:, 0], horizon, phi, seed)),
        "monotonicity": {"j": math.nan, "p": math.nan} if is_short else {"j": j, "p": p},
        "reason": too_short(n) if is_short else None,
    }
