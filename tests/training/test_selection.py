"""By what validation selects, by hand and against plain arithmetic."""

import numpy as np
import pytest

from alpha_assets.errors import BadInput, TooFewNames
from alpha_assets.training.judge import standard_error
from alpha_assets.training.selection import net_sharpe, selected_value

NAN = np.nan


def test_net_sharpe_by_hand() -> None:
    # Three names, one-session horizon.  Centred ranks -1, 0, 1 over their absolute sum 2.
    score_DN = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    return_DN = np.array([[0.0, 0.0, 0.9], [-0.02, 0.0, 0.04], [0.01, 0.0, -0.01]])
    # Second session: held (-½, 0, ½) as before: earns 0.03, trades nothing.
    # Third: held (½, 0, -½): earns 0.01, trades 1 + 1 = 2 of equity at 10 bps: 0.002.
    net = np.array([0.03, 0.01 - 0.002])
    assert net_sharpe(score_DN, return_DN, 1, 10.0) == pytest.approx(net.mean() / net.std())


def test_what_is_traded_is_what_changes_over_a_horizon() -> None:
    draw = np.random.default_rng(0)
    still_DN = np.tile(draw.standard_normal(20), (30, 1))
    return_DN = draw.standard_normal((30, 20))
    free = net_sharpe(still_DN, return_DN, 5, 0.0)
    assert net_sharpe(still_DN, return_DN, 5, 500.0) == free  # the same names for good
    moving_DN = draw.standard_normal((30, 20))
    costly = net_sharpe(moving_DN, return_DN, 5, 500.0)
    assert costly < net_sharpe(moving_DN, return_DN, 5, 0.0)


def test_masked_names_are_not_held() -> None:
    score_DN = np.array([[1.0, 2.0, NAN], [2.0, 1.0, NAN], [1.0, 2.0, NAN]])
    return_DN = np.array([[0.1, 0.0, NAN], [0.3, 0.1, NAN], [0.0, 0.2, NAN]])
    # Held (½, -½) then (-½, ½): 0.1 and 0.1 net of nothing: no spread, so nothing to divide by.
    assert net_sharpe(score_DN, return_DN, 1, 0.0) == 0.0


def test_a_session_without_any_known_return_is_no_session_that_earned_nothing() -> None:
    draw = np.random.default_rng(0)
    score_DN = draw.standard_normal((40, 20))
    return_DN = 0.01 * score_DN + 0.02 * draw.standard_normal((40, 20))
    gone_DN = return_DN.copy()
    gone_DN[25:] = NAN
    assert net_sharpe(score_DN, gone_DN, 1, 0.0) == net_sharpe(
        score_DN[:25], return_DN[:25], 1, 0.0
    )
    with pytest.raises(TooFewNames, match="0 validation sessions have a name with a score and a"):
        net_sharpe(score_DN, np.full_like(return_DN, NAN), 1, 0.0)


def test_sessions_too_few_to_earn_over_a_horizon_select_nothing() -> None:
    # Every candidate would have the same value, and the first one would be kept.
    score_DN = np.random.default_rng(0).standard_normal((16, 20))
    with pytest.raises(BadInput, match=r"16 validation sessions at a horizon of 20: want 22"):
        net_sharpe(score_DN, score_DN, 20, 0.0)


@pytest.mark.parametrize(
    ("selection", "value"),
    [
        ("rank_ic", (0.2 + 0.1) / 2),
        ("icir", (0.2 / 0.1 + 0.1 / 0.2) / 2),
        ("loss", -0.7),
    ],
)
def test_each_selection_by_hand(selection: str, value: float) -> None:
    ic_DH = np.array([[0.1, -0.1], [0.3, 0.3], [NAN, NAN]])  # means 0.2, 0.1; deviations 0.1, 0.2
    nothing = np.zeros((3, 2, 2))
    found = selected_value(
        selection,  # type: ignore[arg-type]
        ic_DH, nothing, nothing, (5, 10), loss=0.7, cost_bps=0.0,
    )  # fmt: skip
    assert found == pytest.approx(value)


def test_the_error_of_a_rank_ic_allows_for_overlap() -> None:
    ic_DH = np.array([[0.1, 0.1], [0.3, 0.3], [np.nan, 0.1], [0.1, 0.3], [0.3, np.nan]])
    # Deviation √(4 · 0.1² / 3) over four sessions: at a horizon of 1 over √4, of 2 over √2.
    deviation = (4 * 0.1**2 / 3) ** 0.5
    wanted = deviation * (1 / 2 + 1 / 2**0.5) / 2
    assert standard_error(ic_DH, (1, 2)) == pytest.approx(wanted)
    assert standard_error(ic_DH, (1, 3)) is None  # four sessions are less than two of three
