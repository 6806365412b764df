"""How sure one may be of the mean of a series whose neighbours overlap.

A forward return over h sessions shares h - 1 of them with its neighbour, so the daily
information coefficients of a persistent score are not independent and the plain t is too
large: it rejects a true null of 10 sessions 54 times in 100, not 5.  Three statistics are
given side by side; `conservative_t` is the one nearest to 0.

Letters: n sessions with a value, h horizon in sessions, l block length, b blocks drawn.
A statistic that cannot be had is NaN, never a plausible default.
"""

import math
from collections.abc import Mapping

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.evaluation.performance import MIN_SESSIONS, too_short

CONFIDENCE = 0.95
Z_95 = 1.959963984540054
MIN_NONOVERLAP = 3  # values in each thinned series; with fewer a t has no meaning
MIN_BLOCKS = 3  # an interval from fewer blocks would be read off the blocks themselves
N_BOOTSTRAP = 1_999  # so that the 2.5 % quantile is an order statistic
UNCERTAIN = ("icir", "t", "t_iid", "t_nw", "t_vif", "t_nonoverlap", "low", "high")
ROUNDING = 1e-12  # a spread this small beside the mean is rounding, not spread


def newey_west_variance(x_D: Array, lag: int) -> float:
    """Return the variance of the mean of a serially correlated series.

    variance = [g0 + 2 * sum_k (1 - k / (lag + 1)) * gk] / n, with gk the autocovariances (1 / n)

    Args:
        x_D: one value per session, in order, none of them NaN.
        lag: sessions over which neighbours are correlated; cut at n - 1.

    Source: Newey & West (1987), Econometrica 55(3).
    """
    n = len(x_D)
    if n < 2:
        return math.nan
    e_D = x_D - x_D.mean()
    total = float(e_D @ e_D)
    for k in range(1, min(lag, n - 1) + 1):
        total += 2 * (1 - k / (lag + 1)) * float(e_D[k:] @ e_D[:-k])
    return total / n / n


def overlapping_error(x_D: Array, horizon: int, phi: float) -> float:
    """Return the error of a mean of overlapping values: mean ± 1.96 errors holds 95 worlds in 100.

    error = max(s_nw, s_vif, s_apart) * q / 1.96, with s_nw the Newey-West standard error
    (lag 2 h), s_vif = sqrt(variance inflation) * sd / sqrt(n), s_apart the standard error of
    every h-th session, averaged over the h starts: the three of `conservative_t`.  q is Student's
    97.5 % quantile at n / h - 1 degrees of freedom, the stretches that do not overlap less one:
    with a normal quantile three of them miss the true mean in 12 worlds of 100.

    Args:
        x_D: one value per session, in order, none of them NaN.
        horizon: sessions that a label spans.
        phi: rank autocorrelation of the score, for the variance inflation.

    Returns:
        A half-width over 1.96 in units of x; NaN exactly where that t is.
    """
    from scipy.special import stdtrit

    n = len(x_D)
    t_all = (
        t_newey_west(x_D, 2 * horizon),
        t_variance_inflation(x_D, phi, horizon),
        t_nonoverlapping(x_D, horizon),
    )
    if math.isnan(conservative_t(*t_all)):
        return math.nan
    inflated = float(x_D.var(ddof=1)) / n * variance_inflation(phi, horizon)
    thinned = [x_D[start::horizon] for start in range(horizon)]
    apart = float(np.mean([thin_D.std(ddof=1) / math.sqrt(len(thin_D)) for thin_D in thinned]))
    newey_west = math.sqrt(newey_west_variance(x_D, 2 * horizon))
    quantile = float(stdtrit(n / horizon - 1, (1 + CONFIDENCE) / 2))
    return max(newey_west, math.sqrt(inflated), apart) * quantile / Z_95


def t_newey_west(x_D: Array, lag: int) -> float:
    """Return mean / Newey-West standard error; NaN without spread."""
    return _ratio(x_D, newey_west_variance(x_D, lag))


def t_iid(x_D: Array) -> float:
    """Return mean / (sd / sqrt(n)): right only if sessions were independent, which they are not."""
    return _ratio(x_D, float(x_D.var(ddof=1)) / len(x_D)) if len(x_D) > 1 else math.nan


def variance_inflation(phi: float, horizon: int) -> float:
    """Return by how much overlap inflates the variance of a mean: between 1 and about h.

    inflation = 1 + 2 * sum_{k<h} phi^k * (1 - k / h)

    Args:
        phi: autocorrelation of the score's ranks from one session to the next; negative
            values count as 0, since a deflation would make the t larger.
        horizon: sessions that a label spans.

    Source: Hjalmarsson (2011), J. Empirical Finance 18(2), for phi = 1.
    """
    if math.isnan(phi):
        return math.nan
    k = np.arange(1, horizon)
    return float(1 + 2 * np.sum(min(max(phi, 0.0), 1.0) ** k * (1 - k / horizon)))


def t_variance_inflation(x_D: Array, phi: float, horizon: int) -> float:
    """Return the plain t divided by the square root of the variance inflation."""
    return t_iid(x_D) / math.sqrt(variance_inflation(phi, horizon))


def t_nonoverlapping(x_D: Array, horizon: int) -> float:
    """Return the plain t of every h-th session, averaged over the h possible starts.

    NaN where a start leaves fewer than three sessions, or one of them has no spread.
    """
    if len(x_D) // horizon < MIN_NONOVERLAP:
        return math.nan
    return float(np.mean([t_iid(x_D[start::horizon]) for start in range(horizon)]))


def conservative_t(t_nw: float, t_vif: float, t_nonoverlap: float) -> float:
    """Return the one of the three nearest to 0; NaN unless all three are known."""
    answers = (t_nw, t_vif, t_nonoverlap)
    return math.nan if any(math.isnan(t) for t in answers) else min(answers, key=abs)


def block_length(n: int, horizon: int) -> int:
    """Return the block length of the bootstrap: at least 3 h, growing as the cube root of n."""
    return max(3 * horizon, math.ceil(math.cbrt(n)))


def bootstrap_interval(
    x_D: Array,
    block: int,
    seed: int,
    *,
    confidence: float = CONFIDENCE,
    n_draws: int = N_BOOTSTRAP,
) -> tuple[float, float]:
    """Return an indicative interval for the mean, from a studentised circular block bootstrap.

    Each draw is studentised by the spread of its own blocks, so that few blocks widen the
    interval as few degrees of freedom should.

    Args:
        x_D: one value per session, in order, none of them NaN.
        block: sessions per block; the design asks for at least three horizons.
        seed: of the draws; the same seed gives the same interval.
        confidence: share of worlds whose mean the interval should hold.
        n_draws: bootstrap samples.

    Returns:
        (low, high); NaN where fewer than three blocks fit or the series has no spread.

    Source: Politis & Romano (1992), circular blocks; Götze & Künsch (1996), Annals of
    Statistics 24(5), studentised by blocks.
    """
    n = len(x_D)
    if n < MIN_BLOCKS * block:
        return math.nan, math.nan
    mean = float(x_D.mean())
    running = np.concatenate([[0.0], np.cumsum(np.concatenate([x_D, x_D[: block - 1]]))])
    block_mean_D = (running[block:] - running[:-block]) / block
    variance = float(np.mean((block_mean_D - mean) ** 2)) * block / (n - block)
    if not _has_spread(variance, mean):
        return math.nan, math.nan
    b = math.ceil(n / block)
    starts = np.random.default_rng(seed).integers(0, n, size=(n_draws, b))
    drawn = block_mean_D[starts]
    error = drawn.std(axis=1, ddof=1) / math.sqrt(b)
    usable = error > 0
    t_draws = (drawn.mean(axis=1)[usable] - mean) / error[usable]
    tail = (1 - confidence) / 2
    lower, upper = np.quantile(t_draws, [tail, 1 - tail])
    standard_error = math.sqrt(variance)
    return mean - float(upper) * standard_error, mean - float(lower) * standard_error


def overlapping_mean(x_D: Array, horizon: int, phi: float, seed: int) -> dict[str, object]:
    """Return every statistic of a mean: size, spread, the t's, the interval.

    Args:
        x_D: one value per session, in order; NaN sessions are left out first.
        horizon: sessions that a label spans.
        phi: rank autocorrelation of the score, for the variance inflation.
        seed: of the bootstrap.

    Returns:
        `mean sd icir t t_iid t_nw t_vif t_nonoverlap low high n_sessions block`, and `reasons`
        with one sentence for each value that is NaN.
    """
    x_D = x_D[~np.isnan(x_D)]
    n = len(x_D)
    if n == 0:
        return _no_sessions()
    mean = float(x_D.mean())
    sd = float(x_D.std(ddof=1)) if n > 1 else math.nan
    spread = n > 1 and _has_spread(sd * sd, mean)
    t_nw = t_newey_west(x_D, 2 * horizon)
    t_vif = t_variance_inflation(x_D, phi, horizon)
    t_apart = t_nonoverlapping(x_D, horizon)
    block = block_length(n, horizon)
    low, high = bootstrap_interval(x_D, block, seed)
    values: dict[str, object] = {
        "mean": mean,
        "sd": sd,
        "icir": mean / sd if spread else math.nan,
        "t": conservative_t(t_nw, t_vif, t_apart),
        "t_iid": t_iid(x_D),
        "t_nw": t_nw,
        "t_vif": t_vif,
        "t_nonoverlap": t_apart,
        "low": low,
        "high": high,
        "n_sessions": n,
        "block": block,
    }
    why = "one session has no spread" if n == 1 else "all sessions have the same value"
    reasons = {} if spread else dict.fromkeys(("icir", "t_iid", "t_nw", "low", "high"), why)
    if n == 1:
        reasons["sd"] = why
    short = f"{n} sessions are fewer than {MIN_NONOVERLAP} x {horizon}, the horizon"
    no_interval = f"{n} sessions are fewer than {MIN_BLOCKS} blocks of {block}"
    defaults = {
        "t_nonoverlap": short if n // horizon < MIN_NONOVERLAP else why,
        "t_vif": why if not spread else "the score's rank autocorrelation is not known",
        "t": "one of the three t-statistics is missing",
        "low": no_interval,
        "high": no_interval,
    }
    for name, value in values.items():
        if isinstance(value, float) and math.isnan(value):
            reasons.setdefault(name, defaults.get(name, why))
    values["reasons"] = {name: reasons[name] for name in values if name in reasons}
    return values


def _no_sessions() -> dict[str, object]:
    names = ["mean", "sd", "icir", "t", "t_iid", "t_nw", "t_vif", "t_nonoverlap", "low", "high"]
    why = "no session has enough pairs of score and label"
    return {
        **dict.fromkeys(names, math.nan),
        "n_sessions": 0,
        "block": None,
        "reasons": dict.fromkeys([*names, "block"], why),
    }


def _ratio(x_D: Array, variance: float) -> float:
    mean = float(x_D.mean()) if len(x_D) else math.nan
    return mean / math.sqrt(variance) if _has_spread(variance, mean) else math.nan


def _has_spread(variance: float, mean: float) -> bool:
    """Return whether a variance is more than the rounding of its mean (NaN: it is not)."""
    return variance > (ROUNDING * abs(mean)) ** 2


def enough(figures: Mapping[str, object]) -> dict[str, object]:
    """Return the figures of a mean without its t-statistics and interval, if it is too short."""
    n, reasons = figures["n_sessions"], figures["reasons"]
    assert isinstance(n, int)
    assert isinstance(reasons, dict)
    if not 0 < n < MIN_SESSIONS:
        return dict(figures)
    nothing = dict.fromkeys(UNCERTAIN, math.nan)
    return {**figures, **nothing, "reasons": reasons | dict.fromkeys(UNCERTAIN, too_short(n))}
