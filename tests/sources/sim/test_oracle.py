"""What was planted can be measured; what was not cannot."""

import copy
import json
from datetime import date, time

import numpy as np
import polars as pl
import pytest

from alpha_assets.arrays.ranks import rank_ic
from alpha_assets.calendar import Calendar
from alpha_assets.sources.sim import SimSpec
from alpha_assets.sources.sim.drift import coefficients, expected_drifts
from alpha_assets.sources.sim.latents import Latents
from alpha_assets.sources.sim.market import generate
from alpha_assets.sources.sim.oracle import Oracle, _unknown, oracle
from alpha_assets.sources.sim.signal import COMPONENTS, LATENT, PRICE

SPEC = SimSpec(seed=11, n_symbols=150, first=date(2020, 1, 6), last=date(2022, 12, 30))


@pytest.fixture(scope="module")
def planted(tokyo_calendar: Calendar) -> Oracle:
    return oracle(SPEC.model_copy(update={"signal": 3.0}), tokyo_calendar)


@pytest.fixture(scope="module")
def null(tokyo_calendar: Calendar) -> Oracle:
    return oracle(SPEC.model_copy(update={"signal": 0.0}), tokyo_calendar)


def z(oracle: Oracle, score: str, horizon: int) -> float:
    figures = oracle.summary["rank_ic"][score][f"h{horizon}"]
    return float(figures["mean"] / figures["se"])


@pytest.mark.parametrize("name", [c.name for c in COMPONENTS])
def test_every_planted_component_is_found_in_the_prices(name: str, planted: Oracle) -> None:
    assert z(planted, name, 1) > 2


@pytest.mark.parametrize("score", ["f", "f_price"])
@pytest.mark.parametrize("horizon", [1, 2, 5, 10, 20])
def test_a_null_market_has_nothing_to_find(score: str, horizon: int, null: Oracle) -> None:
    assert abs(z(null, score, horizon)) < 3


def test_no_price_component_predicts_a_null_market(null: Oracle) -> None:
    worst = max(abs(z(null, c.name, h)) for c in PRICE for h in (1, 10))

    assert worst < 3.5  # the greatest of ten


@pytest.mark.parametrize("score", ["f", "f_price"])
def test_the_expected_drifts_rank_the_returns_beside_them_as_the_summary_says(
    score: str, planted: Oracle
) -> None:
    rows = planted.expected.filter(pl.col("return_h10").is_not_nan())
    ic = (
        rows.group_by("session")
        .agg(pl.corr(f"{score}_h10", "return_h10", method="spearman").alias("ic"))
        .drop_nans("ic")  # on the first sessions prices reveal nothing
    )
    figures = planted.summary["expected"][score]["h10"]

    assert ic["ic"].mean() == pytest.approx(figures["mean"], abs=2e-5)
    assert len(ic) == figures["n_sessions"]


def test_a_null_market_has_no_expected_drifts(null: Oracle) -> None:
    assert null.expected.columns == ["session", "symbol"]


def test_the_oracle_grows_with_the_horizon_and_exceeds_its_parts(planted: Oracle) -> None:
    ic = {name: values["h10"]["mean"] for name, values in planted.summary["rank_ic"].items()}

    assert ic["f"] > planted.summary["rank_ic"]["f"]["h1"]["mean"] > 0.05
    assert ic["f"] > ic["f_price"] > max(ic[c.name] for c in PRICE)


@pytest.mark.parametrize("score", ["f", "f_price"])
def test_expected_drift_ranks_returns_better_than_that_of_one_session(
    score: str, planted: Oracle
) -> None:
    expected = planted.summary["expected"][score]
    one = planted.summary["rank_ic"][score]
    assert all(figures["unknown"] is None for figures in expected.values())
    for h in (5, 10, 20):
        assert expected[f"h{h}"]["mean"] > expected[f"h{h}"]["one_session"]
        assert expected[f"h{h}"]["mean"] > one[f"h{h}"]["mean"]
    # What the oracle was: a forecast of ten sessions reached more than all of it.
    assert expected["h10"]["mean"] > 1.1 * one["h10"]["mean"]


def test_expected_drift_of_a_null_market_is_not_known(null: Oracle) -> None:
    for score in ("f", "f_price"):
        for figures in null.summary["expected"][score].values():
            assert figures["mean"] is None
            assert figures["unknown"] == "nothing was planted"


def test_estimate_that_says_nothing_is_not_known() -> None:
    clear = {"mean": 0.1, "sd": 0.1, "se": 0.01, "n_sessions": 200}
    assert _unknown(clear, 0.09) is None
    assert "worse than that of one session" in str(_unknown(clear, 0.11))
    assert "within two standard errors" in str(_unknown({**clear, "se": 0.06}, 0.05))
    assert "19 sessions" in str(_unknown({**clear, "n_sessions": 19}, 0.05))
    assert "0 sessions" in str(_unknown({**clear, "mean": None, "n_sessions": 0}, None))


def test_realised_returns_of_many_markets_are_the_expected_drift(tokyo_calendar: Calendar) -> None:
    # One slope per horizon over all sessions: 1 if what is expected is what is paid.
    spec = SPEC.model_copy(
        update={"n_symbols": 60, "last": date(2020, 12, 30), "signal": 5.0, "jumps_annual": 0.0}
    )
    fitted = coefficients(spec, tokyo_calendar)
    products = {h: np.zeros(3) for h in (1, 5, 10)}
    for seed in (101, 102, 103):
        market = generate(spec.model_copy(update={"seed": seed}), tokyo_calendar)
        rows = np.arange(80, len(market.sessions))  # price components need 60 sessions
        open_DN = market.adjusted("open")
        step_DN = market.strength[:, None] * market.f * market.roster.idio_vol
        for h, drift_RN in expected_drifts(market, fitted, rows, with_latents=True):
            if h not in products:
                continue
            n = len(open_DN) - 1 - h - rows[0]
            return_RN = np.log(open_DN[rows[0] + 1 + h :] / open_DN[rows[0] + 1 :][:n])
            paid_RN = sum(step_DN[rows[0] + k :][:n] for k in range(h))
            known = ~np.isnan(return_RN + paid_RN + drift_RN[:n]) & market.listed()[rows][:n]
            x, y, paid = (
                np.where(known, z, np.nan) - np.nanmean(z, axis=1, keepdims=True, where=known)
                for z in (drift_RN[:n], return_RN, paid_RN)
            )
            products[h] += np.nansum(x * y), np.nansum(x * paid), np.nansum(x * x)
    for h, (returned, paid_for, squares) in products.items():
        assert paid_for / squares == pytest.approx(1.0, abs=1e-6 if h == 1 else 0.06), h
        assert returned / squares == pytest.approx(1.0, abs=0.12), h


def test_hidden_components_decay_as_their_simulation_does(tokyo_calendar: Calendar) -> None:
    # The mean of many continuations of one state, component by component.
    market = generate(SPEC.model_copy(update={"last": date(2020, 3, 30)}), tokyo_calendar)
    listed_N = np.ones(len(market.roster), dtype=bool)
    ahead, worlds = 5, 200
    start = Latents(3, market.roster)
    for number in range(40):
        start.step(number, number, listed_N)
    # What all share has few draws of its own: a state far from 0 shows its decay.
    start.market, start.segment_3[:] = 3.0, (3.0, -2.0, 0.0)
    before_CN = start.step(40, 40, listed_N)
    total_CN = np.zeros_like(before_CN)
    for world in range(worlds):
        other = copy.deepcopy(start)
        other.seed = 1_000 + world
        for k in range(1, ahead + 1):
            after_CN = other.step(40 + k, 40 + k, listed_N)
        total_CN += after_CN / worlds
    for c, component in enumerate(LATENT):
        slope = (total_CN[c] @ before_CN[c]) / (before_CN[c] @ before_CN[c])
        assert slope == pytest.approx(component.persistence**ahead, abs=0.12), component.name


def test_coefficients_depend_on_neither_seed_nor_end(tokyo_calendar: Calendar) -> None:
    small = SimSpec(seed=1, n_symbols=20, first=date(2020, 1, 6), last=date(2020, 3, 31))
    one = coefficients(small, tokyo_calendar)
    two = coefficients(small.model_copy(update={"last": date(2021, 3, 31)}), tokyo_calendar)
    for ours, theirs in zip(one, two, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert one.price_KC.shape == (20, len(PRICE))


def test_the_summary_is_plain_json(planted: Oracle) -> None:
    assert json.loads(json.dumps(planted.summary)) == planted.summary


def test_the_truth_is_known_at_its_decision_and_measures_as_the_summary_says(
    planted: Oracle, tokyo_calendar: Calendar
) -> None:
    market = generate(SPEC.model_copy(update={"signal": 3.0}), tokyo_calendar)
    truth = planted.truth
    sessions = tokyo_calendar.between(SPEC.first, date(2023, 1, 4))
    open_DN = market.adjusted("open")
    has_bar_DN = ~np.isnan(market.bar["close"])
    wide = truth.pivot("symbol", index="session", values="f").sort("session")
    column = [market.roster.code.index(symbol) for symbol in wide.columns[1:]]
    score_DN = np.full_like(open_DN, np.nan)
    score_DN[:, column] = wide.drop("session").to_numpy()
    score_DN = np.where(has_bar_DN, score_DN, np.nan)
    # Row k of the truth is decided on session k + 1 and earns from that session's open on.
    label_DN = open_DN[11:] / open_DN[1:-10] - 1
    ic = np.nanmean(rank_ic(score_DN[: len(label_DN)], label_DN))

    assert wide["session"].to_numpy().astype("datetime64[D]").tolist() == sessions[1:].tolist()
    assert ic == pytest.approx(planted.summary["rank_ic"]["f"]["h10"]["mean"], abs=1e-12)
    assert truth.select("session", "symbol").is_duplicated().sum() == 0
    assert truth["f"].null_count() == 0


def test_the_forecast_uses_no_bar_of_its_decision_session(tokyo_calendar: Calendar) -> None:
    short = oracle(SPEC.model_copy(update={"last": date(2020, 6, 30)}), tokyo_calendar).truth
    longer = oracle(SPEC.model_copy(update={"last": date(2020, 9, 30)}), tokyo_calendar).truth
    decided = longer.filter(pl.col("session") <= short["session"].max())

    assert short["session"].max() == date(2020, 7, 1)
    assert short.equals(decided)
    assert tokyo_calendar.decision_time == time(8, 30)
