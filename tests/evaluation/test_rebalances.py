"""Rebalances that held nothing, by hand."""

from datetime import date

import polars as pl

from alpha_assets.evaluation.rebalances import rebalances

TOO_FEW = "a side has fewer than 2 names"


def targets(*rows: tuple[int, str, float, str]) -> pl.DataFrame:
    columns = ["session", "symbol", "target_weight", "reason"]
    made = [(date(2021, 1, day), *rest) for day, *rest in rows]
    schema = dict(zip(columns, (pl.Date, pl.String, pl.Float64, pl.String), strict=True))
    return pl.DataFrame(made, schema=schema, orient="row").with_columns(score=pl.lit(1.0))


def test_empty_rebalances_are_counted_with_their_commonest_reason() -> None:
    found = rebalances(
        targets(
            (4, "a", 0.0, TOO_FEW),
            (4, "b", 0.0, TOO_FEW),
            (11, "a", 0.5, "top quantile"),
            (11, "b", -0.5, "bottom quantile"),
            (11, "c", 0.0, "not in a quantile"),
            (18, "a", 0.0, TOO_FEW),
            (18, "b", 0.0, "not shortable"),
            (18, "c", 0.0, TOO_FEW),
        ),
        pl.DataFrame({"gross_exposure": [0.0, 0.9, 1.1, 0.0]}),
    )
    assert found == {
        "n": 3,
        "n_empty": 2,
        "n_unsolved": 0,
        "n_over_cap": 0,
        "n_capped": 0,
        "n_below_exposure": 0,
        "reasons": [{"reason": TOO_FEW, "n_rebalances": 2}],
        "names_scored": 3.0,
        "n_sessions": 4,
        "n_sessions_empty": 2,
    }


def test_span_without_a_rebalance_has_none() -> None:
    found = rebalances(targets(), pl.DataFrame({"gross_exposure": [0.0]}))
    assert (found["n"], found["n_empty"], found["names_scored"]) == (0, 0, None)
