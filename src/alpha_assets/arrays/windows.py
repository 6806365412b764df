"""Window kernels whose every result depends on the values in its window and on nothing else.

Sums and extrema are built by window doubling: s2 = x + shift(x, 1), s4 = s2 + shift(s2, 2),
and so on, in an order that is fixed by the length of the window.  Where a series starts,
which symbols stand beside it, and how the work is cut into blocks change no bit.  A running
sum has none of these properties.

Shape letters: D sessions (oldest first), N symbols.  Everything works along D, on float64,
C-contiguous, NaN where unknown; rows before the first count as unknown.  A window of n rows
has a value when at least `needed(n)` of them are known.
"""

from typing import NamedTuple, TypeVar

import numpy as np

from alpha_assets.arrays.types import Array, Counts, Mask

Numbers = TypeVar("Numbers", Array, Counts)

# A sum of squared deviations below this share of the sum of squares is rounding, not spread.
ROUNDING = 1e-12


def needed(n: int) -> int:
    """Return how many of n values must be known: four fifths, rounded up."""
    return -(-4 * n // 5)


def shift(x_DN: Array, n: int, *, before: float = np.nan) -> Array:
    """Return the values of n sessions before; `before` for the first n rows."""
    out_DN = np.empty_like(x_DN)
    out_DN[:n] = before
    out_DN[n:] = x_DN[: max(len(x_DN) - n, 0)]
    return out_DN


def fill_forward(x_DN: Array, limit: int) -> Array:
    """Return the last known value, at most `limit` sessions old; NaN where there is none."""
    reach, step = 0, 1
    while reach < limit:
        step = min(reach + 1, limit - reach)
        x_DN = np.where(np.isnan(x_DN), shift(x_DN, step), x_DN)
        reach += step
    return x_DN


def window_total(x_DN: Numbers, n: int) -> Numbers:
    """Return the sum of the last n rows of values that are all known.

    By doubling; the order of the additions is fixed by n alone.
    """
    power_DN, size = x_DN, 1
    while not n & size:
        power_DN, size = _plus_shifted(power_DN, power_DN, size), 2 * size
    out_DN, reach = power_DN, size
    while reach < n:
        power_DN, size = _plus_shifted(power_DN, power_DN, size), 2 * size
        if n & size:
            out_DN, reach = _plus_shifted(out_DN, power_DN, reach), reach + size
    return out_DN


def window_count(known_DN: Mask, n: int) -> Counts:
    """Return how many of the last n rows are true."""
    return window_total(known_DN.astype(np.int16), n)


def window_sum(x_DN: Array, n: int) -> Array:
    """Return the sum of the known values among the last n; NaN where too few are known."""
    known_DN = _known(x_DN)
    total_DN = window_total(_zero_where_unknown(x_DN, known_DN), n)
    return _nan_where_few(total_DN, window_count(known_DN, n), n)


def window_mean(x_DN: Array, n: int) -> Array:
    """Return the mean of the known values among the last n; NaN where too few are known."""
    known_DN = _known(x_DN)
    total_DN = window_total(_zero_where_unknown(x_DN, known_DN), n)
    count_DN = window_count(known_DN, n)
    return _nan_where_few(total_DN / _freedom(count_DN), count_DN, n)


class Moments(NamedTuple):
    """Mean and variance (ddof 1) of a window; NaN where too few values are known."""

    mean_DN: Array
    variance_DN: Array


def window_moments(x_DN: Array, n: int) -> Moments:
    """Return mean and variance (ddof 1) of the known values among the last n."""
    known_DN = _known(x_DN)
    x_DN = _zero_where_unknown(x_DN, known_DN)
    count_DN = window_count(known_DN, n)
    total_DN = window_total(x_DN, n)
    squares_DN = window_total(x_DN * x_DN, n)
    mean_DN = total_DN / _freedom(count_DN)
    spread_DN = _spread(squares_DN, total_DN * mean_DN)
    return Moments(
        _nan_where_few(mean_DN, count_DN, n),
        _nan_where_few(spread_DN / _freedom(count_DN, 1), count_DN, n, 1),
    )


def window_std(x_DN: Array, n: int) -> Array:
    """Return the standard deviation (ddof 1) of the known values among the last n."""
    return np.sqrt(window_moments(x_DN, n).variance_DN)


def window_max(x_DN: Array, n: int) -> Array:
    """Return the largest known value among the last n; NaN where too few are known."""
    return _extreme(np.fmax, x_DN, n)


def window_min(x_DN: Array, n: int) -> Array:
    """Return the smallest known value among the last n; NaN where too few are known."""
    return _extreme(np.fmin, x_DN, n)


def decayed_sum(x_DN: Array, n: int, decay: float) -> Array:
    """Return the sum over the last n rows of decay ** age · x; unknown values add nothing.

    An exponential average on a fixed look-back: n rows ago it starts afresh, so that it
    does not remember where the series began.
    """
    power_DN = _zero_where_unknown(x_DN, _known(x_DN))
    out_DN, reach, size = None, 0, 1
    while True:
        if n & size:
            out_DN = (
                power_DN
                if out_DN is None
                else _plus_shifted(out_DN, power_DN * decay**reach, reach)
            )
            reach += size
        if out_DN is not None and reach == n:
            return out_DN
        power_DN = _plus_shifted(power_DN, power_DN * decay**size, size)
        size *= 2


class Line(NamedTuple):
    """A least-squares line per window: slope, and variance of the residuals (ddof 2)."""

    slope_DN: Array
    residual_variance_DN: Array


def window_line(y_DN: Array, x_DN: Array, n: int) -> Line:
    """Return the least-squares line of y on x, with intercept, over the last n rows.

    Only rows where both are known count; NaN where they are too few, or where x is constant.
    """
    known_DN = _known(y_DN) & _known(x_DN)
    y_DN = _zero_where_unknown(y_DN, known_DN)
    x_DN = _zero_where_unknown(x_DN, known_DN)
    count_DN = window_count(known_DN, n)
    sum_x_DN = window_total(x_DN, n)
    sum_y_DN = window_total(y_DN, n)
    n_DN = _freedom(count_DN)
    mean_x_DN = sum_x_DN / n_DN
    xx_DN = _spread(window_total(x_DN * x_DN, n), sum_x_DN * mean_x_DN)
    xy_DN = window_total(x_DN * y_DN, n) - sum_y_DN * mean_x_DN
    yy_DN = _spread(window_total(y_DN * y_DN, n), sum_y_DN * (sum_y_DN / n_DN))
    xx_DN[xx_DN == 0] = np.nan
    slope_DN = xy_DN / xx_DN
    residual_DN = np.maximum(yy_DN - slope_DN * xy_DN, 0.0)
    return Line(
        _nan_where_few(slope_DN, count_DN, n),
        _nan_where_few(residual_DN / _freedom(count_DN, 2), count_DN, n, 2),
    )


def _known(x_DN: Array) -> Mask:
    return ~np.isnan(x_DN)


def _zero_where_unknown(x_DN: Array, known_DN: Mask) -> Array:
    """Return x with zeros that a sum does not feel; their count is kept apart."""
    out_DN = x_DN.copy()
    np.copyto(out_DN, 0.0, where=~known_DN)  # in half the time of `where`
    return out_DN


def _freedom(count_DN: Counts, lost: int = 0) -> Array:
    """Return the count less `lost`, and 1 where nothing is left: such rows have no value."""
    # Two arrays are compared by vector instructions, an array and a number are not.
    left_DN = count_DN - lost if lost else count_DN
    return np.maximum(left_DN, np.ones_like(left_DN)).astype(np.float64)


def _nan_where_few(x_DN: Array, count_DN: Counts, n: int, lost: int = 0) -> Array:
    x_DN[count_DN < max(needed(n), lost + 1)] = np.nan
    return x_DN


def _spread(squares_DN: Array, square_of_sum_DN: Array) -> Array:
    """Return the sum of squared deviations, exactly 0 where the difference is rounding."""
    spread_DN = squares_DN - square_of_sum_DN
    spread_DN[spread_DN < ROUNDING * squares_DN] = 0.0
    return spread_DN


def _plus_shifted(a_DN: Numbers, b_DN: Numbers, n: int) -> Numbers:
    """Return a[t] + b[t - n], and a[t] alone in the first n rows."""
    if n >= len(a_DN):
        return a_DN
    out_DN = np.empty_like(a_DN)
    out_DN[:n] = a_DN[:n]
    np.add(a_DN[n:], b_DN[:-n], out=out_DN[n:])
    return out_DN


def _extreme(of_two: np.ufunc, x_DN: Array, n: int) -> Array:
    """Return the extreme of the last n rows: two overlapping windows of a power of two."""
    count_DN = window_count(_known(x_DN), n)
    size = 1
    while 2 * size <= n:
        x_DN = _extreme_with_shifted(of_two, x_DN, size)
        size *= 2
    if size < n:
        x_DN = _extreme_with_shifted(of_two, x_DN, n - size)
    return _nan_where_few(x_DN.copy() if n == 1 else x_DN, count_DN, n)


def _extreme_with_shifted(of_two: np.ufunc, x_DN: Array, n: int) -> Array:
    if n >= len(x_DN):
        return x_DN.copy()
    out_DN = np.empty_like(x_DN)
    out_DN[:n] = x_DN[:n]
    of_two(x_DN[n:], x_DN[:-n], out=out_DN[n:])
    return out_DN
