"""One session's bars, by hand: base 1,000 has limits at 700 and 1,300 and ticks of 1."""

import numpy as np
import pytest

from alpha_assets.sources.sim.bars import Bars, bars

SURE = np.ones((2, 1))  # u = 1: the range reaches no further than open and close


def one(wish_open: float, wish_close: float, u_2N: np.ndarray = SURE, sd: float = 0.02) -> Bars:
    wishes = np.array([wish_open]), np.array([wish_close])
    return bars(np.array([1_000.0]), *wishes, np.array([sd]), u_2N, ticks=True)


def prices(made: Bars) -> list[float]:
    return [float(x[0]) for x in (made.open, made.high, made.low, made.close)]


def test_a_quiet_session_trades_where_it_wishes_rounded_to_ticks() -> None:
    made = one(1_001.4, 1_010.6)

    assert prices(made) == [1_001, 1_011, 1_001, 1_011]
    assert not made.upper_limit[0]
    assert made.pending[0] == 0


def test_the_range_grows_with_the_volatility() -> None:
    wild = np.full((2, 1), 0.01)

    calm, rough = (prices(one(1_000, 1_000, wild, sd)) for sd in (0.01, 0.03))

    # sqrt(-2 ln .01) / 2 = 1.517 standard deviations on both sides
    assert calm[1:3] == [1_015, 985]
    assert rough[1:3] == [1_047, 955]


def test_an_auction_beyond_the_limit_locks_the_session_and_keeps_the_rest_for_the_next() -> None:
    made = one(1_400, 1_450)

    assert prices(made) == [1_300, 1_300, 1_300, 1_300]
    assert made.locked[0]
    assert made.upper_limit[0]
    assert not made.lower_limit[0]
    assert made.pending[0] == pytest.approx(np.log(1_450 / 1_300))


def test_a_limit_that_opens_again_is_touched_but_not_locked() -> None:
    made = one(600, 800)

    assert prices(made) == [700, 800, 700, 800]
    assert made.lower_limit[0]
    assert not made.locked[0]
    assert made.pending[0] == 0


def test_the_extremes_enclose_open_and_close_to_the_last_bit_without_ticks() -> None:
    rng = np.random.default_rng(0)
    base = np.full(5_000, 1_000.0)
    opens, closes = rng.uniform(800, 1_200, (2, 5_000))

    made = bars(base, opens, closes, np.zeros(5_000), np.ones((2, 5_000)), ticks=False)

    assert (made.high >= np.maximum(made.open, made.close)).all()
    assert (made.low <= np.minimum(made.open, made.close)).all()
