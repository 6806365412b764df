"""What one unit of a score was worth: the return that followed it, by what is known by now.

Shape letters: D consecutive sessions, the last one decided; N names.
"""

from dataclasses import dataclass
from math import nan, sqrt

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.backtest.rules.standard import standardised

LEAST_NAMES = 5  # with a score and a return, or the session does not count
LEAST_SESSIONS = 20  # that count, or nothing is known


@dataclass(frozen=True)
class Worth:
    """The drift over the horizon that goes with one standard deviation of the score.

    Attributes:
        drift: a fraction, at least 0, shrunk towards 0; NaN where too few sessions are known.
        mean: of the sessions' slopes, before it was shrunk.
        error: standard error of the mean; sessions nearer than the horizon overlap.
        n_sessions: that count.
        is_itself: whether the score is the drift over the horizon, a fraction: it is neither
            standardised nor clipped, and `drift` is 1.
    """

    drift: float
    mean: float = nan
    error: float = nan
    n_sessions: int = 0
    is_itself: bool = False


UNKNOWN = Worth(nan)
ITSELF = Worth(1.0, is_itself=True)


def declared(drift_bps: float) -> Worth:
    """Return the worth that a recipe declares, in basis points."""
    return Worth(drift_bps * 1e-4)


def worth_of(score_DN: Array, return_DN: Array, horizon: int, sessions: int) -> Worth:
    """Return what scores were worth over `sessions` sessions whose returns are known.

    A score of session s is followed by the returns of s + 1 to s + horizon: what came before the
    close of s is not counted, because an order at the close of s could not have earned it.  A
    return of a session is known at the next one, so the last score that counts is that of
    D - horizon - 1.

        slope[s] = sum z (g - mean g) / sum (z - mean z)^2 over names with both
        drift = max(mean, 0) t^2 / (1 + t^2), t = mean / error

    z the score standardised over the session's names, g the compounded return.  The factor is the
    share of slope^2 that is not noise: an estimate that is one error from 0 counts half.

    Args:
        score_DN: NaN where a name is not scored.
        return_DN: at each session the return of the session before, NaN unknown.
        horizon: sessions of the score's own label.
        sessions: scores that count, at most.

    Source: Fama & MacBeth (1973), J. Political Economy 81 (slopes by session); Newey & West (1987),
    Econometrica 55 (their error, Bartlett weights up to the horizon).
    """
    last = score_DN.shape[0] - 1 - horizon  # one after the last score that counts
    slopes = []
    for s in range(max(last - sessions, 0), max(last, 0)):
        is_scored_N = np.isfinite(score_DN[s])
        gain_N = np.prod(1 + return_DN[s + 2 : s + horizon + 2], axis=0) - 1
        z_N = np.full(score_DN.shape[1], nan)
        z_N[is_scored_N] = standardised(score_DN[s, is_scored_N])
        both_N = is_scored_N & np.isfinite(gain_N)
        if both_N.sum() < LEAST_NAMES:
            continue
        z_K = z_N[both_N] - z_N[both_N].mean()
        spread = float(z_K @ z_K)
        if spread > 0:
            slopes.append(float(z_K @ (gain_N[both_N] - gain_N[both_N].mean())) / spread)
    return _shrunk(np.array(slopes), horizon)


def _shrunk(slope_S: Array, lag: int) -> Worth:
    n = len(slope_S)
    if n < LEAST_SESSIONS:
        return Worth(nan, n_sessions=n)
    mean = float(slope_S.mean())
    off_S = slope_S - mean
    variance = float(off_S @ off_S) / n
    for k in range(1, min(lag, n - 1) + 1):
        variance += 2 * (1 - k / (lag + 1)) * float(off_S[k:] @ off_S[:-k]) / n
    error = sqrt(max(variance, 0.0) / n)
    if mean <= 0:
        return Worth(0.0, mean, error, n)
    return Worth(mean * mean**2 / (mean**2 + error**2), mean, error, n)
