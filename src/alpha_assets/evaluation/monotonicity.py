"""Do higher scores earn more, step by step?  The test of Patton and Timmermann."""

import math

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.evaluation.inference import MIN_BLOCKS, N_BOOTSTRAP


def monotonicity(
    return_DQ: Array, block: int, seed: int, n_draws: int = N_BOOTSTRAP
) -> tuple[float, float]:
    """Test that bucket means rise with the score, against flat or falling somewhere.

    J = min over steps of (mean step / its standard error); p = share of centred circular
    block bootstrap worlds whose J is at least as large.  Its power is low: report, do not gate.

    Args:
        return_DQ: mean return of each of Q score buckets (lowest score first) in each of D
            sessions, none of them NaN.
        block: sessions per bootstrap block.
        seed: of the draws.
        n_draws: bootstrap samples.

    Returns:
        (J, p); NaN with fewer than three blocks, or a step without spread.

    Source: Patton & Timmermann (2010), J. Financial Economics 98(3).
    """
    n, n_buckets = return_DQ.shape
    if n < MIN_BLOCKS * block or n_buckets < 2:
        return math.nan, math.nan
    step_DS = np.diff(return_DQ, axis=1)
    mean_S = step_DS.mean(axis=0)
    running = np.zeros((n + block, n_buckets - 1))
    running[1:] = np.cumsum(np.concatenate([step_DS, step_DS[: block - 1]]), axis=0)
    block_mean_DS = (running[block:] - running[:-block]) / block
    b = math.ceil(n / block)
    starts = np.random.default_rng(seed).integers(0, n, size=(n_draws, b))
    drawn_BS = block_mean_DS[starts].mean(axis=1)
    error_S = drawn_BS.std(axis=0)
    if not np.all(error_S > 0):
        return math.nan, math.nan
    j = float(np.min(mean_S / error_S))
    j_draws = np.min((drawn_BS - mean_S) / error_S, axis=1)
    return j, float((1 + np.sum(j_draws >= j)) / (n_draws + 1))
