"""The signal's figures against scipy and pandas, and what they refuse."""

import math
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats

from alpha_assets.errors import BadInput
from alpha_assets.evaluation.buckets import bucket_count, bucket_returns
from alpha_assets.evaluation.regimes import volatility_regimes
from alpha_assets.evaluation.signal import Breakdowns, pearson_ic, score_persistence, signal


def test_coefficients_agree_with_scipy_session_by_session(world: Any) -> None:
    ic = signal(world.predictions, world.labels).ic
    score_DN = world.score_DN.astype(np.float32).astype(np.float64)
    for d in range(0, len(score_DN), 13):
        spearman = stats.spearmanr(score_DN[d], world.label_DN[d]).statistic
        pearson = stats.pearsonr(score_DN[d], world.label_DN[d]).statistic
        assert ic["rank_ic"][d] == pytest.approx(spearman, abs=1e-12)
        assert ic["ic"][d] == pytest.approx(pearson, abs=1e-12)
    assert ic["n_pairs"].to_list() == [60] * 130


def test_order_of_rows_changes_nothing(world: Any) -> None:
    shuffled = world.predictions.sample(fraction=1.0, shuffle=True, seed=1)
    mixed = world.labels.sample(fraction=1.0, shuffle=True, seed=2)
    assert signal(shuffled, mixed).statistics == signal(world.predictions, world.labels).statistics


def test_planted_signal_is_recovered_in_full_and_the_oracle_says_so(world: Any) -> None:
    planted = 6 / math.pi * math.asin(0.2 / 2)  # rank correlation of normals correlated 0.2
    figures: Any = signal(world.predictions, world.labels, oracle={1: planted}).statistics["h1"]
    recovered = figures["planted"]
    assert recovered["share_low"] < 1 < recovered["share_high"]
    assert recovered["share"] == pytest.approx(figures["rank_ic"]["mean"] / planted)
    assert figures["rank_ic"]["t"] > 8


def test_a_null_market_has_no_share_to_recover(world: Any) -> None:
    figures: Any = signal(world.predictions, world.labels, oracle={1: 0.0}).statistics["h1"]
    assert math.isnan(figures["planted"]["share"])
    assert "nothing was planted" in figures["planted"]["reason"]
    words = "nothing was planted at all"
    figures = signal(world.predictions, world.labels, oracle={1: words}).statistics["h1"]
    assert math.isnan(figures["planted"]["oracle_rank_ic"])
    assert math.isnan(figures["planted"]["share"])
    assert figures["planted"]["reason"] == words


def test_sessions_in_which_all_scores_are_equal_are_counted(world: Any) -> None:
    first = world.predictions["session"][0]
    flat = world.predictions.with_columns(
        score=pl.when(pl.col("session") == first).then(0.5).otherwise(pl.col("score"))
    )
    assert signal(flat, world.labels).statistics["h1"]["n_sessions_constant"] == 1
    assert signal(world.predictions, world.labels).statistics["h1"]["n_sessions_constant"] == 0


def test_a_span_below_twenty_sessions_has_no_share(world: Any) -> None:
    days = world.predictions["session"].unique().sort()
    for n, known in ((19, False), (20, True)):
        few = world.predictions.filter(pl.col("session").is_in(days[:n].to_list()))
        planted: Any = signal(few, world.labels, oracle={1: 0.19}).statistics["h1"]["planted"]
        assert math.isnan(planted["share"]) != known
        assert (planted["reason"] is None) == known
        assert planted["is_estimate"]


def test_persistence_of_a_frozen_and_a_fresh_score(world: Any) -> None:
    frozen_DN = np.tile(world.score_DN[:1], (50, 1))
    assert score_persistence(frozen_DN) == pytest.approx(1)
    assert abs(score_persistence(world.score_DN)) < 0.05
    assert math.isnan(score_persistence(world.score_DN[:1]))


def test_decay_shows_every_horizon_that_has_labels(world: Any) -> None:
    decay: Any = signal(world.predictions, world.labels).statistics["h1"]["decay"]
    assert [row["horizon"] for row in decay] == [1, 5]
    assert decay[0]["mean"] > 0.15
    assert abs(decay[1]["mean"]) < 0.05


def test_break_downs_agree_with_pandas(world: Any) -> None:
    found: Any = signal(
        world.predictions, world.labels, breakdowns=Breakdowns(names=world.names)
    ).statistics["h1"]
    frame = (
        world.predictions.join(world.labels, on=["session", "symbol", "horizon"])
        .join(world.names, on=["session", "symbol"])
        .to_pandas()
    )
    frame["month"] = pd.to_datetime(frame["session"]).dt.strftime("%Y-%m")

    def oracle(rows: pd.DataFrame) -> float:
        by_session = rows.groupby("session")[["score", "label"]]
        return float(by_session.apply(lambda x: x["score"].corr(x["label"], "spearman")).mean())

    for row in found["by_month"]:
        assert row["mean"] == pytest.approx(oracle(frame[frame["month"] == row["month"]]))
    for row in found["by_sector"]:
        assert row["mean"] == pytest.approx(oracle(frame[frame["sector"] == row["sector"]]))
    small = frame[frame["size"] < 20]
    assert found["by_size"][0]["mean"] == pytest.approx(oracle(small))
    assert [row["size"] for row in found["by_size"]] == ["small", "middle", "large"]
    assert found["by_year"][0]["n_sessions"] == 130


def test_bucket_means_of_ten_names_by_hand() -> None:
    score_DN = np.array([[9.0, 1, 2, 3, 4, 5, 6, 7, 8, 0]])
    label_DN = np.array([[9.0, 1, 2, 3, 4, 5, 6, 7, 8, 0]])
    assert bucket_returns(score_DN, label_DN, 5)[0].tolist() == [0.5, 2.5, 4.5, 6.5, 8.5]


def test_turning_the_scores_round_turns_the_buckets_round() -> None:
    rng = np.random.default_rng(1)
    score_DN, label_DN = rng.random((4, 11)), rng.random((4, 11))  # 11 names: 4, 3 and 4
    upright_DQ = bucket_returns(score_DN, label_DN, 3)
    np.testing.assert_allclose(bucket_returns(-score_DN, label_DN, 3), upright_DQ[:, ::-1])


def test_bucket_means_agree_with_pandas_qcut(world: Any) -> None:
    mean_DQ = bucket_returns(world.score_DN, world.label_DN, 10)
    for d in (0, 50, 129):
        which = pd.qcut(world.score_DN[d], 10, labels=False)
        expected = pd.Series(world.label_DN[d]).groupby(which).mean()
        np.testing.assert_allclose(mean_DQ[d], expected, rtol=1e-12)


def test_small_universes_get_fewer_buckets() -> None:
    assert [bucket_count(n) for n in (14, 25, 49, 50, 2_000)] == [3, 5, 5, 10, 10]


def test_spread_is_top_less_bottom(world: Any) -> None:
    found: Any = signal(world.predictions, world.labels).statistics["h1"]["buckets"]
    means = [row["mean_return"] for row in found["means"]]
    assert found["spread"]["mean"] == pytest.approx(means[-1] - means[0])
    assert sum(row["mean_excess"] for row in found["means"]) == pytest.approx(0, abs=1e-15)
    assert found["n_buckets"] == 10


def test_buckets_of_nineteen_sessions_have_means_and_no_test(world: Any) -> None:
    for n in (19, 20):
        days = world.predictions["session"].unique().sort().head(n)
        few = world.predictions.filter(pl.col("session").is_in(days.implode()))
        found: Any = signal(few, world.labels).statistics["h1"]["buckets"]
        uncertain = [
            *(found["spread"][name] for name in ("icir", "t_nw", "low", "high")),
            *(row["error"] for row in found["means"]),
            *found["monotonicity"].values(),
        ]
        assert all(map(math.isnan if n < 20 else math.isfinite, uncertain))
        assert found["reason"] == ("too short: 19 sessions are fewer than 20" if n < 20 else None)
        assert math.isfinite(found["spread"]["mean"])


def test_sessions_with_fewer_than_ten_pairs_are_left_out_and_counted(world: Any) -> None:
    first = world.predictions["session"][0]
    thin = world.predictions.filter((pl.col("session") != first) | (pl.col("symbol") < "s009"))
    found: Any = signal(thin, world.labels).statistics["h1"]
    assert found["n_sessions_left_out"] == 1
    assert found["rank_ic"]["n_sessions"] == 129


def test_a_missing_label_is_no_pair(world: Any) -> None:
    holes = world.labels.with_columns(
        label=pl.when(pl.col("symbol") == "s007").then(None).otherwise(pl.col("label"))
    )
    assert signal(world.predictions, holes).ic["n_pairs"].to_list() == [59] * 130


def test_without_labels_every_figure_is_missing_with_a_reason(world: Any) -> None:
    found: Any = signal(world.predictions, world.labels.clear()).statistics["h1"]
    assert found["rank_ic"]["n_sessions"] == 0
    assert math.isnan(found["rank_ic"]["mean"])
    assert "no session" in found["rank_ic"]["reasons"]["t"]
    assert found["buckets"]["means"] == []
    assert "no session" in found["buckets"]["reason"]


def test_without_predictions_there_is_no_horizon_to_speak_of(world: Any) -> None:
    found = signal(world.predictions.clear(), world.labels)
    assert found.statistics == {}
    assert found.ic.is_empty()


def test_equal_scores_have_no_coefficient() -> None:
    flat_DN, label_DN = np.full((2, 12), 0.1), np.random.default_rng(0).random((2, 12))
    assert np.isnan(pearson_ic(flat_DN, label_DN)).all()
    assert np.isnan(bucket_returns(flat_DN, label_DN, 3)).any(axis=1).all()


def test_equal_scores_of_some_of_the_names_have_no_coefficient() -> None:
    # The mean of equal values may miss them by their last bit, and that is no spread.
    rng = np.random.default_rng(0)
    value_D1 = rng.standard_normal((200, 1))
    flat_DN = np.where(np.arange(40) < rng.integers(10, 40, (200, 1)), value_D1, np.nan)
    label_DN = rng.standard_normal((200, 40))
    assert np.isnan(pearson_ic(flat_DN, label_DN)).all()
    assert np.isnan(pearson_ic(label_DN, flat_DN)).all()


def test_two_scores_for_one_name_are_refused(world: Any) -> None:
    twice = pl.concat([world.predictions, world.predictions.head(2)])
    with pytest.raises(BadInput, match=r"4 rows of predictions share .*s000"):
        signal(twice, world.labels)


def test_regimes_are_thirds_of_trailing_volatility(world: Any) -> None:
    sessions = world.predictions["session"].unique().sort()
    swing = np.where(np.arange(130) < 65, 0.001, 0.02) * np.where(np.arange(130) % 2, 1, -1)
    market = pl.DataFrame({"session": sessions, "market_return": swing})
    regimes = volatility_regimes(market)
    assert regimes.height == 130 - 20
    assert regimes["regime"][0] == "calm"
    assert regimes["regime"][-1] == "stormy"
    assert max(regimes["regime"].value_counts()["count"]) <= 37
    found: Any = signal(
        world.predictions, world.labels, breakdowns=Breakdowns(regimes=regimes)
    ).statistics["h1"]
    assert [row["regime"] for row in found["by_regime"]] == ["calm", "normal", "stormy", "unknown"]


def test_break_downs_have_an_error_exactly_where_they_have_a_t(world: Any) -> None:
    sessions = world.predictions["session"].unique().sort()
    regimes = pl.DataFrame(
        {"session": sessions, "regime": ["calm"] * 2 + ["normal"] * (len(sessions) - 2)}
    )
    found: Any = signal(
        world.predictions, world.labels, breakdowns=Breakdowns(world.names, regimes)
    ).statistics["h1"]
    rows = [row for name in ("decay", "by_year", "by_month") for row in found[name]]
    rows += [row for name in ("by_regime", "by_sector", "by_size") for row in found[name]]
    assert all(math.isnan(row["error"]) == math.isnan(row["t"]) for row in rows)
    assert math.isnan(found["by_regime"][0]["error"])  # two sessions bear no t
    # Never surer than the t beside it.
    assert all(abs(row["mean"]) / row["error"] <= 1.01 * abs(row["t"]) for row in rows[:2])
    assert all(row["error"] > 0 for row in found["buckets"]["means"])
