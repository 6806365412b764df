"""The document that others may rely on."""

import json
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest

from alpha_assets.evaluation.metrics import (
    DataFacts,
    EvaluationInputs,
    evaluate,
    metrics,
    metrics_json,
)
from alpha_assets.evaluation.spans import Undecided

FACTS = DataFacts(
    market="sim",
    recipe="rolling_transformer",
    digest="0123456789ab",
    data_hash="feedfacecafe",
    code_version="0.1.0",
    seed=0,
    source="sim",
    simulated=True,
    basis="price",
    price_level="raw",
    currency="JPY",
    feeds=("daily_bars", "listings"),
    feeds_off={"borrow": "not in the folder"},
)


@pytest.fixture(scope="module")
def inputs(world: Any, make_books: Any, make_trades: Any, no_positions: Any) -> EvaluationInputs:
    r = np.random.default_rng(5).normal(0.0005, 0.01, 130)
    return EvaluationInputs(
        predictions=world.predictions,
        labels=world.labels,
        daily=make_books(r.tolist()),
        trades=make_trades([100.0, -50.0], ["rebalance", "source_end"]),
        positions=no_positions,
        facts=FACTS,
        sessions_per_year=245.0,
        oracle={1: 0.19},
    )


def test_sessions_that_nothing_decided_count_in_no_figure(
    world: Any, make_books: Any, make_trades: Any, no_positions: Any
) -> None:
    daily = make_books([0.01, -0.02, 0.5, 0.0, 0.03], cost=[10.0, 0.0, 70.0, 0.0, 5.0])
    day = daily["session"]
    hole = Undecided(day[2], day[3], 2, "no name had a bar")
    before = Undecided(date(2020, 11, 2), date(2020, 12, 30), 40, "too little history")
    found: Any = metrics(
        EvaluationInputs(
            predictions=world.predictions.filter(~pl.col("session").is_between(day[2], day[3])),
            labels=world.labels,
            daily=daily,
            trades=make_trades([100.0, -50.0, 7_000.0, 30.0], ["rebalance"] * 4),
            positions=no_positions,
            facts=FACTS,
            sessions_per_year=245.0,
            asked=("2020-11", "2021-01"),
            undecided=(before, hole),
        )
    )
    net, span = found["portfolio"]["net"], found["span"]
    assert net["total_return"] == pytest.approx(1.01 * 0.98 * 1.03 - 1)
    assert net["n_sessions"] == span["n_sessions"] == 3
    assert net["volatility"] is None
    assert net["reasons"]["volatility"] == "too short: 3 sessions are fewer than 20"
    assert net["win_rate"] == pytest.approx(2 / 3)
    assert found["portfolio"]["by_year"][0]["n_sessions"] == 3
    assert found["costs"]["traded_notional"] == 150
    assert found["costs"]["parts"][0]["money"] == pytest.approx(15)
    assert found["costs"]["total_annual_return"] is None
    assert found["costs"]["reasons"]["total_annual_return"].startswith("too short: 3 sessions")
    assert (span["asked_first_month"], span["asked_last_month"]) == ("2020-11", "2021-01")
    assert (span["first_session"], span["n_sessions_undecided"]) == ("2021-01-04", 42)
    assert span["undecided"] == [
        {
            "first_session": "2020-11-02",
            "last_session": "2020-12-30",
            "n_sessions": 40,
            "why": "too little history",
            "net_return": None,
        },
        {
            "first_session": day[2].isoformat(),
            "last_session": day[3].isoformat(),
            "n_sessions": 2,
            "why": "no name had a bar",
            "net_return": pytest.approx(0.5),
        },
    ]


def test_what_is_decided_after_the_books_is_not_judged_yet(
    world: Any, make_books: Any, make_trades: Any, no_positions: Any
) -> None:
    # Five sessions of books; the sixth is scored and has targets, and no bar to trade at.
    daily = make_books([0.01, -0.02, 0.0, 0.01, 0.03])
    keys = world.names.select("session", "symbol").filter(
        pl.col("session") <= world.names["session"].unique().sort()[5]
    )
    held = keys.join(daily.select("session"), on="session", how="semi")
    weight = pl.lit(1 / 60)
    found: Any = metrics(
        EvaluationInputs(
            predictions=world.predictions.join(keys, on=["session", "symbol"], how="semi"),
            labels=world.labels,
            daily=daily,
            trades=make_trades([100.0]),
            positions=pl.concat(
                [no_positions, held.with_columns(shares=pl.lit(1.0), weight=weight)],
                how="diagonal",
            ),
            facts=replace(FACTS, traded_horizon=1),
            sessions_per_year=245.0,
            targets=keys.with_columns(
                score=pl.lit(1.0), target_weight=weight, reason=pl.lit("held by the rule")
            ),
            factors=keys.with_columns(sector=pl.lit("all"), market=pl.lit(0.5)),
        )
    )
    rule, leaning = found["portfolio"]["rebalances"], found["portfolio"]["exposures"]
    assert (rule["n"], rule["n_sessions"]) == (5, 5)
    assert (rule["n_longs_unfilled"], rule["n_shorts_unfilled"]) == (0, 0)
    market = leaning["factors"][0]
    assert (market["book"], market["book_low"]) == (pytest.approx(0.5), pytest.approx(0.5))
    assert leaning["sectors"][0]["book"] == pytest.approx(1.0)


def test_keys_are_those_of_the_design(inputs: EvaluationInputs) -> None:
    found: Any = metrics(inputs)
    assert set(found) == {"schema_version", "signal", "portfolio", "costs", "span", "data"}
    wanted = {"mean", "sd", "t", "t_nw", "t_vif", "t_nonoverlap", "low", "high", "n_sessions"}
    assert wanted <= set(found["signal"]["h1"]["rank_ic"])
    assert wanted <= set(found["signal"]["h1"]["ic"])
    for side in ("net", "gross"):
        assert {"sharpe", "sharpe_se"} <= set(found["portfolio"][side])
    assert found["data"]["simulated"] is True
    assert found["data"]["basis"] == "price"
    assert found["data"]["source_end_exits"] == 1
    assert found["data"]["feeds_off"] == [{"feed": "borrow", "why": "not in the folder"}]
    assert found["span"]["n_sessions"] == 130
    assert found["span"]["n_symbols"] == 60
    assert found["span"]["first_session"] == "2021-01-04"


def test_break_downs_are_lists_of_records(inputs: EvaluationInputs) -> None:
    found: Any = metrics(inputs)
    for name in ("by_year", "by_month", "by_sector", "by_size", "by_regime", "decay"):
        rows = found["signal"]["h1"][name]
        assert isinstance(rows, list)
        assert all(isinstance(row, dict) for row in rows)


def test_document_is_strict_json_and_the_same_every_time(inputs: EvaluationInputs) -> None:
    written = metrics_json(metrics(inputs))
    assert metrics_json(metrics(inputs)) == written
    assert json.loads(written, parse_constant=lambda word: pytest.fail(word)) == metrics(inputs)


def test_interval_and_t_are_those_of_the_series_beside_it(inputs: EvaluationInputs) -> None:
    found = evaluate(inputs)
    document: Any = found.metrics
    assert found.ic["rank_ic"].mean() == pytest.approx(document["signal"]["h1"]["rank_ic"]["mean"])


def test_empty_run_is_null_throughout_and_says_why(inputs: EvaluationInputs) -> None:
    empty = EvaluationInputs(
        predictions=inputs.predictions.clear(),
        labels=inputs.labels.clear(),
        daily=inputs.daily.clear(),
        trades=inputs.trades.clear(),
        positions=inputs.positions,
        facts=FACTS,
        sessions_per_year=245.0,
    )
    found: Any = metrics(empty)
    assert found["signal"] == {}
    assert found["portfolio"]["net"]["sharpe"] is None
    assert found["portfolio"]["net"]["reasons"]["sharpe"] == "the backtest has no session"
    assert found["portfolio"]["turnover"]["annual"] is None
    assert found["costs"]["total"] is None
    assert found["span"]["first_session"] is None


def test_every_null_has_its_reason_beside_it(inputs: EvaluationInputs) -> None:
    short = EvaluationInputs(
        predictions=inputs.predictions.head(60 * 2),
        labels=inputs.labels,
        daily=inputs.daily.head(2),
        trades=inputs.trades.clear(),
        positions=inputs.positions,
        facts=FACTS,
        sessions_per_year=245.0,
    )
    found: Any = metrics(short)
    groups = [found["signal"]["h1"]["rank_ic"], found["portfolio"]["net"], found["costs"]]
    dates = {"drawdown_peak", "drawdown_trough", "drawdown_recovered", "drawdown_sessions"}
    for group in groups:
        nulls = {name for name, value in group.items() if value is None} - dates
        assert nulls <= set(group["reasons"])
