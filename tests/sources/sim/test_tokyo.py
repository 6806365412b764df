"""The exchange's tables, by hand."""

import numpy as np
import pytest

from alpha_assets.sources.sim import tokyo
from alpha_assets.sources.sim.tokyo import semis


@pytest.mark.parametrize(
    ("base", "width"),
    [(99, 30), (100, 50), (999, 150), (1_000, 300), (2_999, 500), (3_000, 700), (6e7, 1e7)],
)
def test_the_limit_width_is_that_of_the_base_price(base: float, width: float) -> None:
    assert tokyo.limit_width(np.array([base]))[0] == width


@pytest.mark.parametrize(
    ("price", "tick"),
    [(3_000, 1), (3_001, 5), (5_000, 5), (5_001, 10), (30_000, 10), (30_001, 50), (9e7, 1e5)],
)
def test_the_tick_is_that_of_the_price_upper_bounds_included(price: float, tick: float) -> None:
    assert tokyo.tick_size(np.array([price]))[0] == tick


def test_limits_lie_on_ticks_and_inside_the_width() -> None:
    base = np.array([2_999.0, 333.3, 40.0])

    low, high = tokyo.price_limits(base, ticks=True)

    assert high.tolist() == [3_495.0, 413.0, 70.0]  # 3,499 is between two ticks of 5
    assert low.tolist() == [2_499.0, 254.0, 10.0]


def test_codes_are_five_characters_some_with_a_letter_and_never_twice() -> None:
    codes = [tokyo.code(i) for i in range(4_300)]

    assert len(set(codes)) == 4_300
    assert {len(code) for code in codes} == {5}
    assert codes[0] == "13010"
    assert codes[24] == "130A0"


@pytest.mark.parametrize("n_symbols", [80, 300, 2_000])
def test_semiconductors_are_the_same_fourteen_symbols_at_every_size(n_symbols: int) -> None:
    assert semis(n_symbols) == semis(300)
    assert len(semis(n_symbols)) == 14


def test_every_sector_of_a_default_exchange_has_several_symbols() -> None:
    counts = np.bincount(tokyo.sector_of(300), minlength=len(tokyo.SECTORS))

    assert counts.min() >= 7
    assert abs(sum(sector.share for sector in tokyo.SECTORS) - 1) < 0.1
