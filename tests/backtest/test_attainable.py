"""The family of rules on dense markets: what it holds, and that each account is its own."""

import sys
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
from alpha_assets.backtest import PortfolioSpec, QuantileSpec
from alpha_assets.backtest.attainable import (
    WEIGHED,
    Scored,
    Setting,
    WeighedReturns,
    Weigher,
    family,
    rule_returns,
    settings_around,
    weighed_family,
    weighed_returns,
)
from alpha_assets.backtest.capacity import Account, capacity, net_returns
from alpha_assets.backtest.market_data import Marks, marks_of
from alpha_assets.backtest.rebalances import rebalance_sessions
from alpha_assets.backtest.rules import (
    CostAwareSpec,
    RankWeightedSpec,
    cost_aware,
    solver,
)
from alpha_assets.backtest.rules.dense import Weighing, walk_over

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


# Rules that weigh the drift: eight names over 70 sessions, with returns of the 80 before them.
N_BEFORE, N_DAYS, N_NAMES = 80, 70, 8
PORTFOLIO = QuantileSpec(horizon=5, capital=1e5, max_participation=None)
SETTINGS = (Setting(1e5, 0.5), Setting(1e5), Setting(1e9))
WEEKS = range(5, N_DAYS)


class Weighed:
    """A random market whose drift is known, and what rules read that weigh it."""

    def __init__(self) -> None:
        names = tuple(f"S{k}" for k in range(N_NAMES))
        rng = np.random.default_rng(8)
        self.marks = marks_of(
            random_market(6), names, TOKYO, day(0), day(N_DAYS - 1), basis="price", max_stale=20
        )
        shape = (N_DAYS, N_NAMES)
        drift_DN = 0.01 * rng.standard_normal(shape)
        drift_DN[:5] = np.nan  # nothing is decided in the first week
        self.scored = Scored(drift_DN, np.zeros(shape, dtype=bool), np.ones(shape, dtype=bool))
        rows = (N_BEFORE + N_DAYS, N_NAMES)
        self.weighing = Weighing(
            FRICTIONS,
            0.02 * rng.standard_normal(rows),
            rng.lognormal(14.0, 1.0, rows),
            row_D=np.arange(N_BEFORE, N_BEFORE + N_DAYS),
            is_drift=False,
        )

    def returns(self, own: Weigher | None = None) -> WeighedReturns:
        rules = weighed_family(PORTFOLIO).rules
        return weighed_returns(
            self.scored, self.marks, TOKYO, rules, self.weighing, SETTINGS, own=own
        )

    def alone(self, spec: Weigher, setting: Setting, *, is_drift: bool, scale: float) -> Array:
        """Return what one rule earns at one setting, planned at some scale of costs."""
        decided = self.marks.sessions[5:]
        due = rebalance_sessions(decided, decided[:0], TOKYO, spec.rebalance)
        walk = walk_over(
            *self.scored[:3],
            np.searchsorted(self.marks.sessions, due).tolist(),
            spec,
            weighing=replace(self.weighing, is_drift=is_drift, cost_scale=scale),
        )
        assert any(weight_N.any() for weight_N in walk.weights.values())
        accounts = [Account(0, *setting)]
        return net_returns([walk.weights], self.marks, spec, FRICTIONS, accounts)[0]


def test_rules_that_weigh_the_drift_plan_with_the_capital_and_costs_of_each_setting() -> None:
    world = Weighed()
    family_, found = weighed_family(PORTFOLIO), world.returns()

    assert list(family_.rules) == list(WEIGHED)
    assert not family_.left_out
    for r, rule in enumerate(family_.rules.values()):
        for s, setting in enumerate(SETTINGS):
            if isinstance(rule, CostAwareSpec) and setting.capital != PORTFOLIO.capital:
                assert np.isnan(found.net_RSD[r, s]).all()  # the solver, at its own capital alone
                continue
            spec = rule.model_copy(update={"capital": setting.capital})
            want = world.alone(spec, setting, is_drift=True, scale=setting.cost_scale)
            np.testing.assert_allclose(found.net_RSD[r, s], want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", WEIGHED)
def test_what_is_held_depends_on_the_capital(name: str) -> None:
    world, rule = Weighed(), weighed_family(PORTFOLIO).rules[name]
    given = replace(world.weighing, is_drift=True)

    def held(capital: float) -> Array:
        spec = rule.model_copy(update={"capital": capital})
        return walk_over(*world.scored[:3], [20], spec, weighing=given).weights[20]

    few, many = held(1e4), held(1e8)
    assert few.any()
    assert np.abs(few).sum() > 1.1 * np.abs(many).sum()  # impact grows with the capital


@pytest.mark.parametrize("drift_bps", [None, 80.0])
def test_the_recipes_own_rule_plans_once_with_what_it_declares(drift_bps: float | None) -> None:
    world = Weighed()
    own = CostAwareSpec(
        rule="cost_aware", horizon=5, capital=1e5, drift_bps=drift_bps, max_participation=None
    )
    found = world.returns(own)

    assert len(found.net_RSD) == len(WEIGHED) + 1
    for s, setting in enumerate(SETTINGS):
        want = world.alone(own, setting, is_drift=drift_bps is None, scale=1.0)
        np.testing.assert_allclose(found.net_RSD[-1, s], want, rtol=1e-9, atol=1e-12)


def test_rebalances_that_are_not_solved_are_counted_and_hold_what_was_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, clean = Weighed(), cost_aware.solved
    n_solved = iter([True, True])  # of each setting the first one
    monkeypatch.setattr(
        cost_aware,
        "solved",
        lambda problem: clean(problem) if not problem.held_N.any() and next(n_solved) else None,
    )
    found = world.returns()
    aim, solver = found.unsolved_RS

    assert aim.tolist() == [0, 0, 0]
    n_weeks = len({day(n).isocalendar()[:2] for n in WEEKS})
    assert solver.tolist() == [n_weeks - 1, n_weeks - 1, 0]
    assert found.net_RSD[1, 1, 30:].any()


def test_a_rule_whose_solver_is_not_installed_is_left_out_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(solver, "import_module", refused)
    found = weighed_family(PORTFOLIO)

    assert list(found.rules) == ["aim portfolio, weekly"]
    assert list(found.left_out) == ["cost-aware, weekly"]
    assert "alpha-assets[portfolio]" in found.left_out["cost-aware, weekly"]


def test_the_solver_is_looked_up_without_being_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert solver.is_installed()
    monkeypatch.setitem(sys.modules, solver.SOLVER, None)
    assert not solver.is_installed()
