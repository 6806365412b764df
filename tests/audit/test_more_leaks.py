"""Leaks by what hardly ever varies, by what is not there, and by doors beside the raw rows.

Each makes one month again in this world and in another, with the leak in both.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.audit.leaks import Cut, first_of
from tests.planting import around

from alpha_assets.audit import Certificate
from alpha_assets.audit.perturb import Insertion, Noise
from alpha_assets.panel import adjustment, build, history_pruning
from alpha_assets.pipeline import checkpoint, market_stages, targets, transforms
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.sources.sim.oracle import oracle
from alpha_assets.training.fit import Fitting

MIDDLE = date(2021, 7, 14)  # a Wednesday

Patch = pytest.MonkeyPatch


def plant_raw(patch: Patch, leak: Callable[[pl.DataFrame], pl.DataFrame], feed: str) -> None:
    """Give the panel all stored rows of a feed as `leak` shows them."""
    honest = market_stages.raw_until

    def leaky(context: RecipeContext, month: str) -> dict[str, pl.LazyFrame]:
        rows = context.raw[feed].read().collect()
        return {**honest(context, month), feed: leak(rows).select(rows.columns).lazy()}

    patch.setattr(market_stages, "raw_until", leaky)


def test_a_split_applied_a_session_early(cut_at: Cut, monkeypatch: Patch) -> None:
    # Nothing about a price: the factor of the next bar stands on this one.
    def early(bars: pl.DataFrame) -> pl.DataFrame:
        first = bars.filter(pl.col("revision") == 0).sort("symbol", "event_date")
        ahead = pl.col("adjustment_factor").shift(-1).over("symbol").fill_null(1.0)
        return first.with_columns(ahead.alias("adjustment_factor"))

    plant_raw(monkeypatch, early, "daily_bars")
    assert "factor" in first_of(cut_at(MIDDLE, Noise))


def test_a_price_on_the_level_of_a_later_restatement(cut_at: Cut, monkeypatch: Patch) -> None:
    def levelled(bars: pl.DataFrame) -> pl.DataFrame:
        last = bars.sort("revision").unique(["event_date", "symbol"], keep="last")
        first = bars.filter(pl.col("revision") == 0).drop("level")
        both = first.join(last.select("event_date", "symbol", "level"), on=["event_date", "symbol"])
        prices = [
            pl.col(n) * pl.col("level").fill_null(1.0) for n in ("open", "high", "low", "close")
        ]
        return both.with_columns(prices)

    plant_raw(monkeypatch, levelled, "daily_bars")
    assert "panel" in first_of(cut_at(MIDDLE, Insertion))


def test_a_second_life_known_from_its_first_day(cut_at: Cut, monkeypatch: Patch) -> None:
    honest = build.births

    def early(listings: Any, calendar: Any, until: int = -1) -> Any:
        return tuple(
            replace(birth, known=int(calendar.index_of(calendar.on_or_after(birth.start))))
            for birth in honest(listings, calendar)
        )

    monkeypatch.setattr(build, "births", early)
    plant_raw(monkeypatch, lambda listings: listings, "listings")
    assert "panel" in first_of(cut_at(MIDDLE, Insertion))


def test_a_late_factor_used_from_its_ex_date(cut_at: Cut, monkeypatch: Patch) -> None:
    honest = adjustment.moves_of

    def early(versions: pl.DataFrame, calendar: Any) -> pl.DataFrame:
        return honest(versions, calendar).with_columns(usable=pl.col("session") + 1)

    monkeypatch.setattr(history_pruning, "moves_of", early)
    plant_raw(monkeypatch, lambda bars: bars, "daily_bars")
    known = history_pruning.needed_bars

    def everything(rows: Any, calendar: Any, span: range) -> Any:
        return known(rows, calendar, span)

    monkeypatch.setattr(build, "needed_bars", everything)
    assert "panel" in first_of(cut_at(MIDDLE, Insertion))


def test_a_date_that_is_corrected_later(cut_at: Cut, monkeypatch: Patch) -> None:
    # How far ahead a listing's last word says that it starts: the word of a later revision.
    honest = market_stages.feature_rows

    def leaky_make(make: Any, context: RecipeContext, months: Any) -> Any:
        rows = context.raw["listings"].read().collect().sort("revision")
        word = rows.group_by("symbol", maintain_order=True).agg(pl.col("start").last())

        def leaky(*asked: Any) -> pl.DataFrame:
            features = honest(*asked).join(word, on="symbol", how="left", maintain_order="left")
            days = (pl.col("session") - pl.col("start")).dt.total_days().cast(pl.Float32)
            return features.with_columns(days.alias("ret_5")).drop("start")

        with monkeypatch.context() as patch:
            patch.setattr(market_stages, "feature_rows", leaky)
            return make(context, months)

    around(monkeypatch, "features", leaky_make)
    assert "ret_5" in first_of(cut_at(MIDDLE, Insertion))


def test_graph_edges_of_the_coming_week(cut_at: Cut, monkeypatch: Patch) -> None:
    honest = transforms.edge_rows

    def ahead(panel: pl.DataFrame, *asked: Any) -> Any:
        moved = panel.sort("symbol", "session").with_columns(
            pl.col("close").shift(-5).over("symbol").fill_null(pl.col("close"))
        )
        return honest(moved.sort("session", "symbol"), *asked)

    monkeypatch.setattr(transforms, "edge_rows", ahead)
    assert first_of(cut_at(MIDDLE)).startswith("graph")


def test_a_universe_of_those_with_a_next_bar_on_any_name(cut_at: Cut, monkeypatch: Patch) -> None:
    # A session counts only if the next one took place at all.
    honest = transforms.universe

    def leaky(make: Any, context: RecipeContext, *asked: Any) -> Any:
        days = context.raw["daily_bars"].read().collect()["event_date"].unique()

        def members(panel: pl.DataFrame, *rest: Any, **how: Any) -> pl.DataFrame:
            return honest(panel, *rest, **how).filter(pl.col("session").is_in(days.implode()))

        with monkeypatch.context() as patch:
            patch.setattr(transforms, "universe", members)
            return make(context, *asked)

    around(monkeypatch, "cross_section", leaky)
    assert "cross_section" in first_of(cut_at(MIDDLE, first_gone=True))


def test_a_column_left_out_by_its_share_in_the_month(cut_at: Cut, monkeypatch: Patch) -> None:
    honest = transforms.cross_section

    def leaky(features: pl.DataFrame, *asked: Any, **how: Any) -> Any:
        full = features.with_columns(
            pl.when(pl.col("ret_1").null_count() / pl.len() < 0.1).then("ret_1").alias("ret_1")
        )
        return honest(full, *asked, **how)

    monkeypatch.setattr(transforms, "cross_section", leaky)
    assert "cross_section" in first_of(cut_at(MIDDLE))


def test_scaling_by_the_bounds_of_the_whole_month(cut_at: Cut, monkeypatch: Patch) -> None:
    honest = transforms.cross_section

    def leaky(features: pl.DataFrame, *asked: Any, **how: Any) -> Any:
        low, high = (features["ret_5"].quantile(q) for q in (0.02, 0.98))
        return honest(features.with_columns(pl.col("ret_5").clip(low, high)), *asked, **how)

    monkeypatch.setattr(transforms, "cross_section", leaky)
    assert "cross_section" in first_of(cut_at(MIDDLE))


def test_the_generator_behind_the_market(
    cut_at: Cut, leaky_road: RecipeContext, monkeypatch: Patch
) -> None:
    # What was planted, or the coming prices themselves, asked of the simulated exchange.
    honest = market_stages.feature_rows

    def leaky_make(make: Any, context: RecipeContext, months: Any) -> Any:
        planted = oracle(context.market.spec.sim, context.market.calendar).truth
        truth = planted.select("session", "symbol", pl.col("f").cast(pl.Float32).alias("planted"))

        def leaky(*asked: Any) -> pl.DataFrame:
            features = honest(*asked).join(
                truth, on=["session", "symbol"], how="left", maintain_order="left"
            )
            return features.with_columns(ret_1="planted").drop("planted")

        with monkeypatch.context() as patch:
            patch.setattr(market_stages, "feature_rows", leaky)
            return make(context, months)

    around(monkeypatch, "features", leaky_make)
    assert "ret_1" in first_of(cut_at(MIDDLE))


@pytest.mark.slow  # four rebuildings with a model
def test_a_rebalance_that_waits_for_a_session_that_takes_place(
    certify: Callable[..., Certificate], monkeypatch: Patch
) -> None:
    # The period's first session counts as decided only if its own bars come.
    honest = targets.rebalance_sessions

    def leaky_make(make: Any, context: RecipeContext, months: Any) -> Any:
        days = context.raw["daily_bars"].read().collect()["event_date"].unique()

        def sessions(decided: Any, *asked: Any) -> Any:
            took_place = np.isin(decided, days.to_numpy().astype("datetime64[D]"))
            return honest(decided[took_place], *asked)

        with monkeypatch.context() as patch:
            patch.setattr(targets, "rebalance_sessions", sessions)
            return make(context, months)

    around(monkeypatch, "targets", leaky_make)
    certificate = certify([date(2021, 7, 12)])

    assert not certificate.passed
    odd = {one.stage for t in certificate.trials for one in t.comparisons if one.changed}
    assert "targets" in odd


@pytest.mark.slow  # likewise
def test_training_sessions_in_the_order_of_the_coming_month(
    certify: Callable[..., Certificate], monkeypatch: Patch
) -> None:
    # The coming month's prices say in which order the sessions are learned, and nothing else.
    honest, start = checkpoint._trained, Fitting.start

    def leaky(context: RecipeContext, *asked: Any, **how: Any) -> Any:
        bars = context.raw["daily_bars"].read().collect()
        ahead = bars.filter(pl.col("event_date") > date(2021, 7, 1))["close"].sum()
        turn = int(float(ahead or 0.0) * 100) % 2**31
        with monkeypatch.context() as patch:
            patch.setattr(
                Fitting,
                "start",
                lambda model, data, plan, seed: start(model, data, plan, seed ^ turn),
            )
            yield from honest(context, *asked, **how)

    monkeypatch.setattr(checkpoint, "_trained", leaky)
    certificate = certify([date(2021, 7, 1)])

    odd = {one.stage for t in certificate.trials for one in t.comparisons if one.changed}
    assert "checkpoint" in odd
