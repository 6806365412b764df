"""The family of rules on dense markets: what it holds, and that each account is its own."""

from dataclasses import replace

import numpy as np
import pytest
from tests.backtest.market import (
    FREE,
    FRICTIONS,
    LAST,
    SPECS,
    TOKYO,
    books,
    day,
    path,
    random_market,
    random_targets,
    raw,
)

from alpha_assets.arrays.types import Array
from alpha_assets.backtest import Marks, PortfolioSpec, QuantileSpec, capacity, marks_of
from alpha_assets.backtest.attainable import Setting, family, rule_returns, settings_around
from alpha_assets.backtest.capacity import Account, net_returns
from alpha_assets.backtest.rules import RankWeightedSpec

approx = pytest.approx
NAMES = ("A", "B", "C", "D")
COSTS = ("commission_bps", "half_spread_bps", "impact_coefficient", "borrow_fee_bps_annual")
RANK = RankWeightedSpec(rule="rank_weighted", horizon=1, rebalance="daily", max_participation=None)


@pytest.mark.parametrize("word", SPECS)
def test_accounts_of_many_rules_are_those_of_each_alone(word: str) -> None:
    spec, market = SPECS[word], random_market(6)
    pages = [books(random_targets(seed), market, LAST, spec, FRICTIONS).pages for seed in (6, 7)]
    every_fifth = {d: w_N for d, w_N in pages[0].wanted.items() if d % 5 == 0}
    wanted = [pages[0].wanted, pages[0].wanted, every_fifth]
    wanted[1] = {d: -w_N for d, w_N in pages[0].wanted.items() if d % 2 == 0}
    settings = [(10_000.0, 1.0), (10_000.0, 2.0), (5e6, 0.5)]
    accounts = [Account(r, *setting) for r in range(3) for setting in settings]
    found = net_returns(wanted, pages[0].marks, spec, FRICTIONS, accounts)

    for account, net_D in zip(accounts, found, strict=True):
        scaled = {name: getattr(FRICTIONS, name) * account.cost_scale for name in COSTS}
        marks = pages[0].marks
        fees_DN = marks.fee_bps_annual * account.cost_scale  # those that are quoted scale as well
        marks = replace(marks, fee_bps_annual=fees_DN)
        costs = FRICTIONS.model_copy(update=scaled)
        alone = capacity(wanted[account.rule], marks, spec, costs, [account.capital])
        np.testing.assert_allclose(net_D, alone.net_return[0], rtol=1e-9, atol=1e-9)


def test_the_family_has_72_rules_with_the_fills_of_the_portfolio() -> None:
    portfolio = QuantileSpec(horizon=5, fill="close", lot=10, max_participation=0.2, capital=1e7)
    rules = family(portfolio)

    assert len(rules) == 6 * 4 * 3
    assert len(set(rules.values())) == 72
    assert {rule.fill for rule in rules.values()} == {"close"}
    assert {rule.max_participation for rule in rules.values()} == {0.2}
    banded = rules["quantile 0.1, band 0.2, step 1/4, weekly"]
    assert (banded.step, banded.rebalance) == (0.25, "weekly")
    assert settings_around(1e7)[1] == Setting(1e7, 1.0)


def market_of_four() -> Marks:
    """Return a market in which A rises by a tenth on session 2, and nothing else moves."""
    rises = path("A", [100.0, 100.0, 110.0, 110.0, 110.0])
    flat = [row for name in "BCD" for row in path(name, [100.0] * 5)]
    bars = raw(daily_bars=[*rises, *flat])
    return marks_of(bars, NAMES, TOKYO, day(0), day(4), basis="price", max_stale=20)


def returns_of(rules: dict[str, PortfolioSpec], is_barred: bool = False) -> dict[str, Array]:
    """Return what scores of sessions 1 and 2 earn without costs; of D that is barred or not."""
    marks = market_of_four()
    score_DN = np.full((5, 4), np.nan)
    score_DN[1], score_DN[2] = [4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, np.nan]
    barred_DN = np.zeros((5, 4), dtype=bool)
    barred_DN[3] = is_barred  # a session that decides nothing
    there_DN = np.ones((5, 4), dtype=bool)
    settings = [Setting(1_000.0)]
    net_RSD = rule_returns(score_DN, barred_DN, there_DN, marks, TOKYO, rules, FREE, settings)
    return {name: net_SD[0] for name, net_SD in zip(rules, net_RSD, strict=True)}


def test_returns_by_hand() -> None:
    # Ranks 1.5, 0.5, -0.5, -1.5 off the middle: 3/8, 1/8, -1/8, -3/8 of equity from session 1 on.
    half = RANK.model_copy(update={"step": 0.5})
    found = returns_of({"whole": RANK, "half": half})

    assert found["whole"] == approx([0, 0, 0.1 * 3 / 8, 0, 0])
    assert found["half"] == approx([0, 0, 0.1 * 3 / 16, 0, 0])


def test_aims_that_rules_share_are_those_of_each_alone() -> None:
    rules = family(RANK)
    together, apart = returns_of(rules), returns_of(rules, is_barred=True)

    for name in rules:
        np.testing.assert_array_equal(together[name], apart[name])
