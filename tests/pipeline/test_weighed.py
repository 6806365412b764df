"""Targets of a rule that weighs drift against costs: calibrated by what was known, certified."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.conftest import linked

import alpha_assets as aa
from alpha_assets import project
from alpha_assets.backtest.rules.calibration import LEAST_SESSIONS
from alpha_assets.calendar import as_date
from alpha_assets.pipeline import identity, targets
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.held import SCORES_BEFORE
from alpha_assets.pipeline.seen import Seen
from alpha_assets.pipeline.targets import targets_stage

pytestmark = pytest.mark.usefixtures("pipelines")
MONTHS = {"first_month": "2021-07", "last_month": "2021-08"}
WEIGHED = [
    "portfolio.rule=cost_aware",
    "portfolio.calibration_sessions=20",
    "portfolio.max_weight=0.2",
    "portfolio.holding_sessions=40",
    "portfolio.capital=1e5",
    "portfolio.rebalance=daily",
]


@pytest.fixture(scope="module")
def weighed(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage in which the rule decided two months."""
    folder = linked(tiny_run, tmp_path_factory.mktemp("weighed"))
    aa.run("tiny", storage=str(folder), overrides=WEIGHED, **MONTHS)
    return folder


def context_in(storage: Path, *more: str) -> RecipeContext:
    return project.open_context("tiny", storage=str(storage), overrides=[*WEIGHED, *more])


def stored(storage: Path) -> pl.DataFrame:
    return context_in(storage).targets.read("2021-07", "2021-08").collect()


def test_nothing_is_held_before_the_worth_of_a_score_is_known(weighed: Path) -> None:
    context, found = context_in(weighed), stored(weighed)
    days = found["session"].unique().sort().to_list()
    by_day = found.group_by("session").agg(
        gross=pl.col("target_weight").abs().sum(), reason=pl.col("reason").first()
    )
    gross = dict(by_day.select("session", "gross").iter_rows())
    # A score counts once its 5 sessions are over and known, 6 later; then there must be 20.
    decided = context.market.calendar.between(days[0], days[-1])
    known = as_date(decided[LEAST_SESSIONS + 5])
    assert all(gross[day] == 0 for day in days if day < known)
    early = by_day.filter(pl.col("session") < known)["reason"].str.starts_with("too few sessions")
    assert early.all()
    assert max(gross.values()) > 0
    assert max(gross.values()) <= 1 + 1e-9


def test_predict_decides_what_is_stored_bit_for_bit(weighed: Path) -> None:
    found = stored(weighed)
    held = found.filter(pl.col("target_weight") != 0)["session"].unique().sort().to_list()
    for day in (held[0], held[-1]):
        decided = aa.predict("tiny", asof=day.isoformat(), storage=str(weighed), overrides=WEIGHED)
        rows = pl.DataFrame(decided["rows"], infer_schema_length=None)
        traded = pl.col("horizon").is_null() | (pl.col("horizon") == 5)
        rows = rows.filter(traded).select("symbol", "target_weight").sort("symbol")
        want = found.filter(pl.col("session") == day).sort("symbol")
        assert rows["symbol"].to_list() == want["symbol"].to_list()
        assert rows["target_weight"].to_list() == want["target_weight"].to_list()


def test_scores_before_and_costs_are_named_as_what_it_is_made_from(weighed: Path) -> None:
    context = context_in(weighed)
    assert SCORES_BEFORE in targets_stage(context.recipe).inputs(context, ["2021-08"], Seen())
    dearer = context_in(weighed, "costs.commission_bps=7").recipe
    assert identity.targets(dearer).digest != identity.targets(context.recipe).digest
    other = ["portfolio.rule=rank_weighted"]
    plain, dear = (
        project.open_context("tiny", storage=str(weighed), overrides=[*other, *more]).recipe
        for more in ([], ["costs.commission_bps=7"])
    )
    assert identity.targets(plain).digest == identity.targets(dear).digest


def leaky(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the worth of a score read returns of the three sessions after the one decided."""
    clean = targets._of_features

    def of_features(
        context: RecipeContext, features: pl.DataFrame, session: np.datetime64
    ) -> dict[str, pl.DataFrame]:
        found = clean(context, features, session)
        ahead = pl.col("ret_1").shift(-3).over("symbol")
        returns = features.select("session", "symbol", "ret_1").sort("symbol", "session")
        is_known = pl.col("session").is_in(found["returns"]["session"].unique().implode())
        return {**found, "returns": returns.with_columns(ahead).filter(is_known)}

    monkeypatch.setattr(targets, "_of_features", of_features)


def certificate(storage: Path) -> dict[str, object]:
    return aa.audit(
        "tiny",
        storage=str(storage),
        overrides=WEIGHED,
        first_month="2021-08",
        last_month="2021-08",
        cuts=1,
        sessions=3,
        clock=0,
    )


@pytest.mark.slow
def test_the_certificate_covers_it(weighed: Path) -> None:
    found = certificate(weighed)
    assert found["passed"], found["text"]
    assert "targets 2021-08" in str(found["text"])


@pytest.mark.slow
def test_a_calibration_that_reads_later_returns_is_caught(
    weighed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaky(monkeypatch)
    found = certificate(linked(weighed, tmp_path / "storage"))
    assert not found["passed"]
    assert str(found["first"]).startswith("targets 2021-08")
