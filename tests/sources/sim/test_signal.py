"""The planted components, by hand on four symbols."""

import numpy as np
import pytest

from alpha_assets.sources.sim import signal
from alpha_assets.sources.sim.signal import COMPONENTS, LONG, PRICE, Past

LISTED = np.array([True, True, True, True])
OLD = np.full(4, 100)


def past(**rows: dict[int, list[float]]) -> Past:
    """Return a quiet past with some sessions, counted from the last, filled in."""
    series = {
        "overnight": np.zeros((LONG, 4)),
        "intraday": np.zeros((LONG, 4)),
        "turnover": np.ones((LONG, 4)),
    }
    for name, values in rows.items():
        for row, value in values.items():
            series[name][row] = value
    return Past(**series)


def component(name: str, of: Past, age: np.ndarray = OLD) -> list[float]:
    values = signal.price_components(of, age, LISTED)
    return values[[c.name for c in PRICE].index(name)].round(6).tolist()


UP_AND_DOWN = [0.03, 0.01, -0.01, -0.03]
Z = [1.341641, 0.447214, -0.447214, -1.341641]  # (3, 1, -1, -3) / sqrt(5)


def test_reversal_is_against_the_last_five_sessions_and_no_others() -> None:
    assert component("reversal", past(intraday={-5: UP_AND_DOWN})) == [-z for z in Z]
    assert component("reversal", past(intraday={-6: UP_AND_DOWN})) == [0, 0, 0, 0]


def test_momentum_is_with_the_sixty_sessions_before_the_last_five() -> None:
    assert component("momentum", past(intraday={-6: UP_AND_DOWN})) == Z
    assert component("momentum", past(overnight={0: UP_AND_DOWN})) == Z
    assert component("momentum", past(intraday={-5: UP_AND_DOWN})) == [0, 0, 0, 0]


def test_the_tug_is_overnight_less_intraday_over_twenty_sessions() -> None:
    assert component("tug", past(overnight={-20: UP_AND_DOWN})) == Z
    assert component("tug", past(intraday={-20: UP_AND_DOWN})) == [-z for z in Z]
    assert component("tug", past(intraday={-21: UP_AND_DOWN})) == [0, 0, 0, 0]


def test_lottery_is_against_the_greatest_return_of_twenty_sessions() -> None:
    jumps = past(intraday={-20: [0.08, 0.06, 0.04, 0.02], -1: [-0.5, 0, 0, 0]})

    assert component("lottery", jumps) == [-z for z in Z]


def test_volume_reversal_needs_both_a_return_and_abnormal_volume() -> None:
    loud = {row: [4.0, 4.0, 1.0, 1.0] for row in range(-5, 0)}
    moved = [0.01, -0.01, 0.01, -0.01]

    assert component("volume_reversal", past(intraday={-1: moved}, turnover=loud)) == [-1, 1, 1, -1]
    assert component("volume_reversal", past(intraday={-1: moved})) == [0, 0, 0, 0]


def test_a_symbol_with_too_short_a_history_has_no_component() -> None:
    young = np.array([100, 100, 100, 59])

    assert component("momentum", past(intraday={-6: UP_AND_DOWN}), young)[3] == 0


def test_planted_shares_sum_to_one_and_split_as_asked() -> None:
    shares = signal.planted_shares(0.8)

    assert list(shares) == [c.name for c in COMPONENTS]
    assert sum(shares.values()) == pytest.approx(1)
    assert sum(shares[c.name] for c in PRICE) == pytest.approx(0.8)


def test_the_documented_table_names_every_component_with_its_weight() -> None:
    rows = {
        line.split()[0]: line
        for line in str(signal.__doc__).splitlines()
        if line.startswith("    ") and line.strip()
    }

    for c in COMPONENTS:
        assert f"  {c.weight:g} ".replace(" 0.", " .") in rows[c.name]
