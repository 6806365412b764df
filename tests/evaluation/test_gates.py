"""Gates: passed, failed, or not judged where the figure does not exist."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from alpha_assets.errors import SpecError
from alpha_assets.evaluation.gates import GatesSpec, gates
from alpha_assets.evaluation.signal import less_parent
from alpha_assets.spec import parse_spec

SIGNAL = {
    "rank_ic": {"mean": 0.05, "t": 2.0, "n_sessions": 200, "reasons": {}},
    "buckets": {"spread": {"mean": -0.001, "n_sessions": 200, "reasons": {}}},
}
BOOK = {
    "net": {
        "sharpe": None,
        "win_rate": 0.55,
        "n_sessions": 200,
        "reasons": {"sharpe": "every return is the same"},
    }
}
ASKED = GatesSpec(rank_ic=0.045, rank_ic_t=2.5, bucket_spread=0.0, sharpe=0.4, win_rate=0.54)


def test_each_gate_is_judged_by_its_own_figure() -> None:
    found = {row["gate"]: row for row in gates(ASKED, SIGNAL, BOOK)}
    assert {name: row["verdict"] for name, row in found.items()} == {
        "rank_ic": "passed",
        "rank_ic_t": "failed",
        "bucket_spread": "failed",
        "sharpe": "not judged",
        "win_rate": "passed",
    }
    assert found["sharpe"]["reason"] == "every return is the same"
    assert found["rank_ic"]["found"] == 0.05
    assert found["rank_ic"]["wanted"] == 0.045


def test_a_figure_at_its_gate_does_not_pass() -> None:
    (row,) = gates(GatesSpec(rank_ic=0.05), SIGNAL, BOOK)
    assert row["verdict"] == "failed"


def test_only_what_is_asked_is_judged() -> None:
    assert gates(GatesSpec(), SIGNAL, BOOK) == []


def test_too_few_sessions_are_not_judged() -> None:
    short = {"rank_ic": {"mean": 0.3, "t": 4.0, "n_sessions": 19, "reasons": {}}}
    (row,) = gates(GatesSpec(rank_ic=0.045), short, BOOK)
    assert row["verdict"] == "not judged"
    assert "19 sessions are fewer than 20" in str(row["reason"])


def test_a_figure_that_is_not_there_is_not_judged() -> None:
    (row,) = gates(GatesSpec(bucket_spread=0.0), {"buckets": {"spread": None}}, {})
    assert row["verdict"] == "not judged"
    assert row["reason"] == "there is no such figure"


def rows(column: str, values_DN: np.ndarray) -> pl.DataFrame:
    n_sessions, n_symbols = values_DN.shape
    days = [date(2021, 1, 4) + timedelta(days=d) for d in range(n_sessions)]
    return pl.DataFrame(
        {
            "session": np.repeat(np.array(days, dtype="datetime64[D]"), n_symbols),
            "symbol": [f"S{n:02d}" for n in range(n_symbols)] * n_sessions,
            "horizon": np.full(values_DN.size, 1, dtype=np.int16),
            column: values_DN.ravel(),
        }
    )


def test_a_second_stage_is_compared_with_its_parent_on_the_same_names() -> None:
    rng = np.random.default_rng(0)
    label_DN = rng.normal(size=(40, 12))
    # The recipe ranks all twelve as they come; the parent the other way round, and one name more.
    own, labels = rows("score", label_DN), rows("label", label_DN)
    parent = rows("score", -np.column_stack([label_DN, np.zeros(40)]))
    less = less_parent(own, parent, labels)
    assert less["mean"] == pytest.approx(2.0)
    (row,) = gates(GatesSpec(not_below_parent=True), SIGNAL, BOOK, against_parent=less)
    assert row["verdict"] == "passed"
    (row,) = gates(
        GatesSpec(not_below_parent=True),
        SIGNAL,
        BOOK,
        against_parent=less_parent(parent.filter(pl.col("symbol") != "S12"), own, labels),
    )
    assert row["verdict"] == "failed"
    (row,) = gates(GatesSpec(not_below_parent=True), SIGNAL, BOOK)
    assert row["reason"] == "the recipe has no training.parent"


def test_a_gate_that_makes_no_sense_is_refused() -> None:
    for text, words in (({"win_rate": 54}, "win_rate"), ({"rankic": 0.1}, "rankic")):
        with pytest.raises(SpecError, match=words):
            parse_spec(text, GatesSpec, origin="a.toml")
