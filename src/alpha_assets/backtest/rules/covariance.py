"""How the returns of names move together, from few sessions of many names.

Shape letters: T sessions, N names.
"""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Factors:
    """A covariance per session as factors and what is each name's own: F' F + diag(d).

    Attributes:
        loading_KN: F.
        own_N: d, at least 0.
    """

    loading_KN: Array
    own_N: Array

    def variance(self, weight_N: Array) -> float:
        """Return the variance per session of weights."""
        loaded_K = self.loading_KN @ weight_N
        return float(loaded_K @ loaded_K + self.own_N @ weight_N**2)


def shrunk_factors(return_TN: Array, most: int) -> Factors:
    """Return the covariance of `ledoit_wolf` by its largest factors.

    Up to `most` of them; what they leave of each name's variance is its own, so that variances are
    exact, and so is the whole where there are no more names than factors.
    The eigenvectors are those of the sessions' products, which are few where names are many.

    Columns have at least `LEAST_RETURNS` returns; see `has_returns`.
    """
    mean_N = np.nanmean(return_TN, axis=0)
    x_TN = np.where(np.isnan(return_TN), 0.0, return_TN - mean_N)
    n_sessions, n_names = x_TN.shape
    product_TT = x_TN @ x_TN.T / n_sessions
    square = float((product_TT**2).sum())  # of the sample covariance: the same eigenvalues
    mean = float(np.trace(product_TT)) / n_names
    apart = square - n_names * mean**2
    square_T = (x_TN**2).sum(axis=1)
    noise = (float((square_T**2).sum()) / n_sessions - square) / n_sessions
    share = min(noise, apart) / apart if apart > 0 else 1.0
    variance_N = (1 - share) * (x_TN**2).mean(axis=0) + share * mean
    if n_names <= most:
        sample_NN = x_TN.T @ x_TN / n_sessions
        shrunk_NN = (1 - share) * sample_NN + share * mean * np.eye(n_names)
        size_K, vector_NK = np.linalg.eigh(shrunk_NN)
        loading_KN = (vector_NK * np.sqrt(np.maximum(size_K, 0.0))).T
        return Factors(loading_KN, np.zeros(n_names))
    size_T, vector_TT = np.linalg.eigh(product_TT)
    size_K, vector_TK = size_T[::-1][:most], vector_TT[:, ::-1][:, :most]
    is_there_K = size_K > max(size_K[0], 0.0) * 1e-12
    size_K, vector_TK = size_K[is_there_K], vector_TK[:, is_there_K]
    loading_KN = (
        vector_TK.T
        @ x_TN
        * np.sqrt(((1 - share) + share * mean / size_K) / n_sessions).reshape(-1, 1)
    )
    own_N = np.maximum(variance_N - (loading_KN**2).sum(axis=0), 0.0)
    return Factors(loading_KN, own_N)
