"""Many capitals in one pass beside one run for each."""

import numpy as np
import pytest
from tests.backtest.market import (
    FREE,
    FRICTIONS,
    LAST,
    PLAIN,
    SPECS,
    books,
    hold,
    path,
    random_market,
    random_targets,
    raw,
)

from alpha_assets.backtest import QuantileSpec
from alpha_assets.backtest.capacity import capacity, capitals_around
from alpha_assets.errors import BadInput

approx = pytest.approx
CAPITALS = (2_000.0, 10_000.0, 300_000.0, 5e6)


@pytest.mark.parametrize("basis", ["price", "total_return"])
@pytest.mark.parametrize("word", SPECS)
@pytest.mark.parametrize("seed", [6, 7])
def test_one_pass_is_a_run_for_each_capital(seed: int, word: str, basis: str) -> None:
    spec = SPECS[word]
    costs = FRICTIONS
    if basis == "total_return":
        spec = spec.model_copy(update={"lot": None})
    else:
        costs = costs.model_copy(update={"tick": 0.05})
    targets, market = random_targets(seed), random_market(seed)
    pages = books(targets, market, LAST, spec, costs, basis).pages
    found = capacity(pages.wanted, pages.marks, spec, costs, CAPITALS)

    for c, capital in enumerate(CAPITALS):
        alone = spec.model_copy(update={"capital": capital})
        kept = books(targets, market, LAST, alone, costs, basis)
        for name in ("net_return", "gross_return", "turnover"):
            np.testing.assert_allclose(
                getattr(found, name)[c], kept.daily[name].to_numpy(), rtol=1e-9, atol=1e-9
            )
        spent = kept.daily.select("commission", "spread_cost", "impact_cost", "borrow_cost")
        assert found.cost[c] == approx(spent.to_numpy().sum(axis=1), rel=1e-9, abs=1e-9 * capital)
        assert found.trading_cost[c].sum() == approx(spent.to_numpy()[:, :3].sum())
        assert found.traded[c].sum() == approx(kept.trades["notional"].abs().sum())
        assert found.orders[c] == kept.order_counts


def test_a_capital_whose_equity_is_used_up_has_no_returns_from_then_on() -> None:
    # Ten times the equity long, and the price falls by a fifth on session 2.
    market = raw(daily_bars=path("A", [100.0, 100.0, 80.0, 80.0]))
    costs = FREE.model_copy(update={"commission_bps": 1.0})
    pages = books(hold((1, {"A": 1.0})), market, 3, PLAIN, costs).pages
    wanted = {d: 10 * weight_N for d, weight_N in pages.wanted.items()}
    found = capacity(wanted, pages.marks, PLAIN, costs, [1_000.0])

    assert np.isnan(found.net_return[0]).tolist() == [False, False, True, True]


def test_capitals_are_five_a_decade_around_the_recipes() -> None:
    found = capitals_around(50e6)

    assert len(found) == 20
    assert found[10] == 50e6
    assert (found[0], found[15]) == (approx(50e4), approx(500e6))


@pytest.mark.parametrize("capital", [0.0, -1.0, np.nan, np.inf])
def test_a_capital_that_is_no_money_is_refused(capital: float) -> None:
    pages = books(hold((1, {"A": 1.0})), raw(daily_bars=path("A", [1.0] * 3)), 2).pages
    with pytest.raises(BadInput, match="capitals of a capacity curve are money above 0"):
        capacity(pages.wanted, pages.marks, QuantileSpec(horizon=1), FREE, [1.0, capital])
