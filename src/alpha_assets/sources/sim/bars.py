"""How one session's bars come about: base price, limits, ticks, range.

Shape letter: N symbols.
"""

from typing import NamedTuple

import numpy as np

from alpha_assets.arrays.types import Array, Mask
from alpha_assets.sources.sim import tokyo


class Bars(NamedTuple):
    """One session's prices, JPY, and what the limits did to them."""

    open: Array
    high: Array
    low: Array
    close: Array
    upper_limit: Mask  # touched
    lower_limit: Mask  # touched
    locked: Mask  # all four prices at one limit
    pending: Array  # log; the part of the move that a limit kept back until the next session


def bars(
    base_N: Array, wish_open_N: Array, wish_close_N: Array, sd_N: Array, u_2N: Array, ticks: bool
) -> Bars:
    """Return the bars of a session.

    The high and the low are the extremes of a Brownian bridge from open to close:
    ln(high/open) = (d + sqrt(d² − 2 s² ln u)) / 2 with d = ln(close/open).

    Args:
        base_N: previous close, restated for a split.
        wish_open_N: where the opening auction would clear without limits.
        wish_close_N: where the session would end without limits.
        sd_N: s, standard deviation of the move from open to close, log.
        u_2N: uniform draws in (0, 1] for the high and for the low.
        ticks: whether prices lie on the tick table.

    Source: Karatzas & Shreve (1991), Brownian Motion and Stochastic Calculus, 4.3.40.
    """
    least_N, most_N = tokyo.price_limits(base_N, ticks)

    def traded(price_N: Array) -> Array:
        return np.clip(tokyo.on_tick(price_N) if ticks else price_N, least_N, most_N)

    locked_up_N = (wish_open_N > most_N) & (wish_close_N > most_N)
    locked_down_N = (wish_open_N < least_N) & (wish_close_N < least_N)
    open_N = traded(wish_open_N)
    close_N = traded(wish_close_N)
    move_N = np.log(close_N / open_N)
    reach_2N = np.sqrt(move_N**2 - 2 * sd_N**2 * np.log(u_2N))
    high_N = np.maximum(traded(open_N * np.exp((move_N + reach_2N[0]) / 2)), open_N)
    low_N = np.minimum(traded(open_N * np.exp((move_N - reach_2N[1]) / 2)), open_N)
    high_N, low_N = np.maximum(high_N, close_N), np.minimum(low_N, close_N)
    locked_N = locked_up_N | locked_down_N
    high_N, low_N = np.where(locked_N, open_N, high_N), np.where(locked_N, open_N, low_N)
    held_back_N = (wish_close_N > most_N) | (wish_close_N < least_N)
    return Bars(
        open=open_N,
        high=high_N,
        low=low_N,
        close=close_N,
        upper_limit=high_N >= most_N,
        lower_limit=low_N <= least_N,
        locked=locked_N,
        pending=np.where(held_back_N, np.log(wish_close_N / close_N), 0.0),
    )
