"""What was planted can be measured; what was not cannot."""

import json
from datetime import date, time

import numpy as np
import polars as pl
import pytest

from alpha_assets.calendar import Calendar
from alpha_assets.feeds.sim import Oracle, SimSpec, generate, oracle
from alpha_assets.feeds.sim.signal import COMPONENTS, PRICE
from alpha_assets.ranks import rank_ic

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


def test_the_oracle_grows_with_the_horizon_and_exceeds_its_parts(planted: Oracle) -> None:
    ic = {name: values["h10"]["mean"] for name, values in planted.summary["rank_ic"].items()}

    assert ic["f"] > planted.summary["rank_ic"]["f"]["h1"]["mean"] > 0.05
    assert ic["f"] > ic["f_price"] > max(ic[c.name] for c in PRICE)


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
