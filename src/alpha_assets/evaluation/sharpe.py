"""How sure one may be of a Sharpe ratio.

Ratios here are per session (mean / standard deviation of the excess return), unless a name
says annual.  Skewness and kurtosis are plain moments (kurtosis 3 for a normal).
A statistic that cannot be had is NaN.
"""

import math

import numpy as np

from alpha_assets.arrays.types import Array

EULER_GAMMA = 0.5772156649015329
NORMAL_KURTOSIS = 3.0
ROUNDING = 1e-12  # a spread this small beside the mean is rounding, not spread


def sharpe_ratio(excess_D: Array) -> float:
    """Return mean / sample standard deviation, per session; NaN without spread."""
    if len(excess_D) < 2:
        return math.nan
    mean, sd = float(excess_D.mean()), float(excess_D.std(ddof=1))
    return mean / sd if sd > ROUNDING * max(abs(mean), 1.0) else math.nan


def moments(excess_D: Array) -> tuple[float, float]:
    """Return skewness and kurtosis (3 = normal), biased moments; NaN without spread."""
    if math.isnan(sharpe_ratio(excess_D)):
        return math.nan, math.nan
    z_D = (excess_D - excess_D.mean()) / excess_D.std()
    return float(np.mean(z_D**3)), float(np.mean(z_D**4))


def _shape(sharpe: float, skew: float, kurtosis: float) -> float:
    """Return the variance of a Sharpe estimate times n: 1 for a normal with Sharpe 0."""
    # Never below 0, since kurtosis >= 1 + skew^2; rounding may think otherwise.
    shape = 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2
    return 0.0 if shape < 0 else shape


def sharpe_error_lo(sharpe: float, n: int) -> float:
    """Return the standard error under independent normal returns.

    error = sqrt((1 + sharpe^2 / 2) / (n - 1))

    Source: Lo (2002), Financial Analysts Journal 58(4); n - 1 as in the PSR.
    """
    return math.sqrt(_shape(sharpe, 0.0, NORMAL_KURTOSIS) / (n - 1)) if n > 1 else math.nan


def sharpe_error(sharpe: float, n: int, skew: float, kurtosis: float) -> float:
    """Return the standard error under independent returns of any shape.

    error = sqrt((1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe^2) / (n - 1))

    Source: Mertens (2002); Opdyke (2007), J. Asset Management 8(5).
    """
    return math.sqrt(_shape(sharpe, skew, kurtosis) / (n - 1)) if n > 1 else math.nan


def sharpe_influence(excess_D: Array) -> Array:
    """Return by how much each session moves the ratio; the mean of it is 0.

    influence = z - sharpe / 2 * (z^2 - 1), z the standardised return; NaN without spread

    Source: Lo (2002), Financial Analysts Journal 58(4), the GMM form.
    """
    sharpe = sharpe_ratio(excess_D)
    if math.isnan(sharpe):
        return np.full(len(excess_D), math.nan)
    z_D = (excess_D - excess_D.mean()) / excess_D.std()
    influence_D: Array = z_D - float(z_D.mean()) - sharpe / 2 * (z_D**2 - 1)
    return influence_D


def sharpe_error_hac(excess_D: Array, lag: int) -> float:
    """Return the standard error when returns are also serially correlated.

    The long-run variance (Bartlett weights) of the ratio's influence function; lag 0 is Mertens.

    Source: Lo (2002), Financial Analysts Journal 58(4), the GMM form.
    """
    n = len(excess_D)
    e_D = sharpe_influence(excess_D)
    if n == 0 or math.isnan(e_D[0]):
        return math.nan
    total = float(e_D @ e_D)
    for k in range(1, min(lag, n - 1) + 1):
        total += 2 * (1 - k / (lag + 1)) * float(e_D[k:] @ e_D[:-k])
    return math.sqrt(max(total, 0.0) / n / (n - 1))


def sharpe_error_cautious(excess_D: Array, lag: int) -> float:
    """Return the larger of the errors with and without serial correlation.

    Returns that lean on their neighbours make Mertens' error too small (an interval of 95 %
    holds the true ratio in 89 of 100 worlds at an autocorrelation of 0.2); without any, the
    HAC error is the noisier of the two, and sometimes too small itself.

    Args:
        excess_D: excess return per session.
        lag: sessions of serial correlation that are known of; at least the cube root of their
            number is allowed for.
    """
    sharpe, n = sharpe_ratio(excess_D), len(excess_D)
    if math.isnan(sharpe):
        return math.nan
    plain = sharpe_error(sharpe, n, *moments(excess_D))
    return max(plain, sharpe_error_hac(excess_D, max(lag, round(math.cbrt(n)))))


def probabilistic_sharpe(
    sharpe: float, n: int, skew: float, kurtosis: float, *, benchmark: float = 0.0
) -> float:
    """Return the probability that the true Sharpe lies above the benchmark (both per session).

    PSR = Phi((sharpe - benchmark) / error), the error as Mertens has it.

    Source: Bailey & López de Prado (2012), J. of Risk 15(2).
    """
    from scipy.special import ndtr

    error = sharpe_error(sharpe, n, skew, kurtosis)
    return float(ndtr((sharpe - benchmark) / error)) if error > 0 else math.nan


def expected_best_sharpe(trial_variance: float, n_trials: float) -> float:
    """Return the Sharpe that the best of so many worthless trials would show.

    best = sqrt(V) * [(1 - g) * z(1 - 1 / K) + g * z(1 - 1 / (K e))]

    Args:
        trial_variance: V, variance of the trials' Sharpe ratios per session.
        n_trials: K, effective number of trials, above 1; one trial has nothing to deflate.

    Source: Bailey & López de Prado (2014), J. Portfolio Management 40(5).
    """
    from scipy.special import ndtri

    if n_trials <= 1:
        return 0.0
    first = float(ndtri(1 - 1 / n_trials))
    second = float(ndtri(1 - 1 / (n_trials * math.e)))
    return math.sqrt(trial_variance) * ((1 - EULER_GAMMA) * first + EULER_GAMMA * second)


def deflated_sharpe(
    sharpe: float,
    n: int,
    skew: float,
    kurtosis: float,
    *,
    trial_variance: float,
    n_trials: float,
) -> float:
    """Return the probability that the Sharpe beats the luck of the trials behind it.

    Source: Bailey & López de Prado (2014), J. Portfolio Management 40(5).
    """
    luck = expected_best_sharpe(trial_variance, n_trials)
    return probabilistic_sharpe(sharpe, n, skew, kurtosis, benchmark=luck)


def min_track_record(
    sharpe: float,
    skew: float,
    kurtosis: float,
    *,
    benchmark: float = 0.0,
    confidence: float = 0.95,
) -> float:
    """Return the sessions needed before the Sharpe stands above the benchmark.

    length = 1 + shape * (z / (sharpe - benchmark))^2; NaN at or below the benchmark, where no
    length would do.

    Source: Bailey & López de Prado (2012), J. of Risk 15(2).
    """
    from scipy.special import ndtri

    if not sharpe > benchmark:
        return math.nan
    z = float(ndtri(confidence))
    return 1 + _shape(sharpe, skew, kurtosis) * (z / (sharpe - benchmark)) ** 2
