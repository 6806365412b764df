"""How the returns of names move together, from few sessions of many names.

Shape letters: T sessions, N names.
"""

import numpy as np

from alpha_assets.arrays.types import Array, Mask

LEAST_RETURNS = 60  # of a name, or it has no covariance


def has_returns(return_TN: Array) -> Mask:
    """Return which names have enough returns for a covariance."""
    enough_N: Mask = (~np.isnan(return_TN)).sum(axis=0) >= LEAST_RETURNS
    return enough_N


def ledoit_wolf(return_TN: Array) -> Array:
    """Return the covariance per session, shrunk towards a multiple of the identity.

    S' = (1 - a) S + a m I, m the mean variance, a = min(b2, d2) / d2 with d2 = |S - m I|^2 and b2
    the mean over sessions of |x x' - S|^2, divided by T; norms squared are sums of squares.
    A return that is unknown counts as the name's mean.

    Columns have at least `LEAST_RETURNS` returns; see `has_returns`.

    Source: Ledoit & Wolf (2004), J. Multivariate Analysis 88, 365-411.
    """
    mean_N = np.nanmean(return_TN, axis=0)
    x_TN = np.where(np.isnan(return_TN), 0.0, return_TN - mean_N)
    n_sessions, n_names = x_TN.shape
    sample_NN = x_TN.T @ x_TN / n_sessions
    mean = float(np.trace(sample_NN)) / n_names
    apart = float((sample_NN**2).sum()) - n_names * mean**2
    square_T = (x_TN**2).sum(axis=1)
    noise = (float((square_T**2).sum()) / n_sessions - float((sample_NN**2).sum())) / n_sessions
    share = min(noise, apart) / apart if apart > 0 else 1.0
    shrunk_NN: Array = (1 - share) * sample_NN + share * mean * np.eye(n_names)
    return shrunk_NN
