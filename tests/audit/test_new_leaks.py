"""Leaks that noise and deletion alone let pass, each caught by the power that was added for it.

The cheap ones make one month again in this world and in another, with the leak in both.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.audit.leaks import Cut, first_of
from tests.planting import around

from alpha_assets.audit import INSERTED, Certificate, audit, choose_cuts
from alpha_assets.audit.coverage import choose_sessions, covered, sessions_of
from alpha_assets.audit.orders import orders_compared
from alpha_assets.audit.perturb import Deletion, Insertion, Mixed, Noise
from alpha_assets.audit.rebuild import Rebuilt, in_store
from alpha_assets.backtest import simulator
from alpha_assets.backtest.portfolio import TARGETS
from alpha_assets.calendar import as_date, month_of, month_range
from alpha_assets.pipeline import (
    checkpoint,
    decide,
    market_stages,
    predictions,
    runner,
    train,
)
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.freshness import manifest_of
from alpha_assets.pipeline.identity import Identity
from alpha_assets.pipeline.stages import make
from alpha_assets.store.compare import Comparison, compare_weights

MIDDLE = date(2021, 7, 14)  # a Wednesday
APRIL = date(2021, 4, 20)
AFTER_HOLIDAY = date(2021, 7, 26)  # the Monday after two holidays

Patch = pytest.MonkeyPatch
Certify = Callable[..., Certificate]


def plant(patch: Patch, leak: Callable[[pl.DataFrame, Any], pl.DataFrame]) -> None:
    """Pass every made feature table through `leak(features, panel)`."""
    honest = market_stages.feature_rows

    def leaky(market: Any, panel: pl.LazyFrame, *asked: Any) -> pl.DataFrame:
        return leak(honest(market, panel, *asked), panel.lazy().collect())

    patch.setattr(market_stages, "feature_rows", leaky)


def plant_tomorrow(patch: Patch, context: RecipeContext, only: pl.Expr) -> None:
    """Add tomorrow's stored close to a feature, on some sessions only."""
    honest = market_stages.feature_rows
    calendar = context.market.calendar

    def leaky_make(make: Any, context: RecipeContext, months: Any) -> Any:
        bars = context.raw["daily_bars"].read(columns=["event_date", "symbol", "close"]).collect()
        known = bars.unique(["event_date", "symbol"], keep="first", maintain_order=True)
        close = known.rename({"event_date": "session", "close": "own_close"})

        def leaky(market: Any, panel: pl.DataFrame, *asked: Any) -> pl.DataFrame:
            features = honest(market, panel, *asked)
            joined = features.join(
                close, on=["session", "symbol"], how="left", maintain_order="left"
            )
            ahead = joined.with_columns(
                pl.when(only & pl.col("own_close").is_not_null())
                .then(pl.col("own_close").cast(pl.Float32))
                .otherwise("ret_1")
                .alias("ret_1")
            )
            return ahead.drop("own_close")

        patch.setattr(market_stages, "feature_rows", leaky)
        return make(context, months)

    assert calendar.is_session(MIDDLE)
    around(patch, "features", leaky_make)


def test_no_cut_differs_without_a_leak(cut_at: Cut) -> None:
    for world in (Mixed, Insertion):
        assert first_of(cut_at(AFTER_HOLIDAY, world)) == ""


@pytest.mark.parametrize(
    ("only", "at"),
    [
        (pl.col("session").dt.weekday() == 3, MIDDLE),
        (pl.col("session").dt.month() == 4, APRIL),
        (pl.col("session") == AFTER_HOLIDAY, AFTER_HOLIDAY),
    ],
    ids=["Wednesdays", "April", "after holidays"],
)
def test_a_leak_that_lives_on_some_sessions_only(
    cut_at: Cut, leaky_road: RecipeContext, monkeypatch: Patch, only: pl.Expr, at: date
) -> None:
    plant_tomorrow(monkeypatch, leaky_road, only)
    other_day = date(2021, 7, 15)

    assert "ret_1" in first_of(cut_at(at))
    assert first_of(cut_at(other_day)) == ""


def test_the_cheap_cuts_reach_where_the_dear_ones_do_not(leaky_road: RecipeContext) -> None:
    calendar = leaky_road.market.calendar
    months = month_range("2021-03", "2021-07")
    candidates = sessions_of(calendar, months, date(2021, 7, 30))
    dear = choose_cuts(leaky_road, ["2021-07"], 2, 0)
    cheap = choose_sessions(calendar, candidates, 12, 0)

    assert not any(day.month == 4 for day in dear)
    assert any(day.month == 4 for day in cheap)
    assert {day.weekday() for day in cheap} == set(range(5))
    said = covered("panel", calendar, cheap, candidates)
    assert (said.cuts, said.of) == (12, len(candidates))
    assert sum(said.months.values()) == sum(said.weekdays.values()) == 12
    # 3 May to 5 May, 29 April, 22 and 23 July: three sessions stand behind holidays.
    assert said.holidays == 3
    assert said.after_holidays >= 1
    assert "after a holiday" in said.line()
    assert choose_sessions(calendar, candidates, 999, 0) == candidates


def test_a_count_of_all_symbols_that_are_stored(
    cut_at: Cut, clean: Rebuilt, monkeypatch: Patch
) -> None:
    def leaky_make(make: Any, context: RecipeContext, months: Any) -> Any:
        n = context.raw["daily_bars"].read(columns=["symbol"]).collect()["symbol"].n_unique()
        honest = market_stages.feature_rows
        with monkeypatch.context() as patch:
            patch.setattr(
                market_stages,
                "feature_rows",
                lambda *asked: honest(*asked).with_columns(
                    pl.lit(1 / n, pl.Float32).alias("ret_1")
                ),
            )
            return make(context, months)

    around(monkeypatch, "features", leaky_make)
    assert first_of(cut_at(MIDDLE, Noise)) == ""
    assert first_of(cut_at(MIDDLE, Deletion)) == ""
    assert "ret_1" in first_of(cut_at(MIDDLE, Insertion))


def test_corrections_counted_before_they_are_out(cut_at: Cut, monkeypatch: Patch) -> None:
    # A "quality" of a bar that asks whether it will ever be corrected.
    def leaky_make(make: Any, context: RecipeContext, months: Any) -> Any:
        bars = context.raw["daily_bars"].read().collect()
        n = bars.group_by("symbol").agg((pl.col("revision") > 0).sum().alias("_n"))
        honest = market_stages.feature_rows

        def leaky(*asked: Any) -> pl.DataFrame:
            joined = honest(*asked).join(n, on="symbol", how="left", maintain_order="left")
            column = pl.col("_n").cast(pl.Float32).alias("ret_5")
            return joined.with_columns(column).drop("_n")

        with monkeypatch.context() as patch:
            patch.setattr(market_stages, "feature_rows", leaky)
            return make(context, months)

    around(monkeypatch, "features", leaky_make)
    assert first_of(cut_at(MIDDLE, Noise)) == ""
    assert "ret_5" in first_of(cut_at(MIDDLE, Insertion))


def test_a_sector_known_before_it_changed(cut_at: Cut, monkeypatch: Patch) -> None:
    honest = market_stages.raw_until

    def leaky(context: RecipeContext, month: str) -> dict[str, pl.LazyFrame]:
        rows = context.raw["listings"].read().collect()
        last = rows.sort("event_date", "available_at", "revision").group_by("symbol").last()
        known = rows.drop("sector").join(last.select("symbol", "sector"), on="symbol")
        return {**honest(context, month), "listings": known.select(rows.columns).lazy()}

    monkeypatch.setattr(market_stages, "raw_until", leaky)
    # No listing of the tiny market changes its sector later: nothing to see without additions.
    assert first_of(cut_at(MIDDLE, Deletion)) == ""
    assert "sector" in first_of(cut_at(MIDDLE, Insertion))


def test_a_correction_that_moves_the_frontier(
    certify: Certify, leaky_road: RecipeContext, monkeypatch: Patch
) -> None:
    def newest_month_only(context: RecipeContext) -> date:
        bars = context.raw["daily_bars"]
        last = bars.read(first=bars.months()[-1], columns=["event_date"]).max().collect().item()
        return as_date(context.market.calendar.after(last))

    monkeypatch.setattr(market_stages, "frontier", newest_month_only)
    certificate = certify([MIDDLE])

    assert not certificate.passed
    stopped = {trial.world for trial in certificate.trials if not trial.passed}
    assert stopped == {INSERTED}
    assert "the last session that stored bars" in certificate.text()


@pytest.mark.slow  # that cards are compared leaf by leaf is a test of a moment
def test_labels_that_reach_one_session_too_far(certify: Certify, monkeypatch: Patch) -> None:
    # One month's validation labels end one session after the month has begun: where the best
    # epoch is the same, so are its weights, and only the card shows the other rank IC.
    labels, split_of = train.labels_between, checkpoint.split_of
    monkeypatch.setattr(
        train,
        "labels_between",
        lambda context, first, last, known_by: labels(context, first, last, None),
    )

    def late(context: RecipeContext, month: str, usable: date) -> Any:
        split = split_of(context, month, usable)
        if month != month_of(MIDDLE):
            return split
        calendar = context.market.calendar
        valid = calendar.between(
            calendar.after(split.valid[0], 1), calendar.after(split.valid[-1], 1)
        )
        return type(split)(**{**split.__dict__, "valid": valid})

    monkeypatch.setattr(checkpoint, "split_of", late)
    certificate = certify([date(2021, 7, 1)])

    assert not certificate.passed
    cards = [one for t in certificate.trials for one in t.comparisons if one.stage == "card"]
    assert any("rank_ic" in str(one.first) for one in cards), certificate.text()
    # Rows that are added change the rank IC by enough for another epoch to be the best.
    changed = {
        trial.world: {one.stage for one in trial.comparisons if one.changed}
        for trial in certificate.trials
        if trial.world != INSERTED
    }
    assert len(changed) == 2
    assert all(stages == {"card"} for stages in changed.values()), certificate.text()


@pytest.mark.slow  # likewise
def test_columns_chosen_by_what_they_will_be(certify: Certify, monkeypatch: Patch) -> None:
    # A column is offered to the model if next month's values are known often enough.
    honest = train.learnable_columns

    def leaky_data(context: RecipeContext, split: Any) -> Any:
        ahead = context.features.read(split.month, split.month).collect()
        is_known = float(ahead["ret_5"].is_not_null().mean() or 0.0)  # type: ignore[arg-type]
        bars = context.raw["daily_bars"].read().collect()
        later = bars.filter(pl.col("event_date") > pl.lit(date(2021, 8, 1)))
        offers = later.height > 500 and is_known > 0

        def chosen(section: pl.DataFrame, sessions: Any, names: Any, *rest: Any) -> Any:
            kept = names if offers else tuple(n for n in names if n != "ret_20_cs_z")
            return honest(section, sessions, kept, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(train, "learnable_columns", chosen)
            return made(context, split)

    made = train.training_data
    monkeypatch.setattr(train, "training_data", leaky_data)
    certificate = certify([MIDDLE])

    assert not certificate.passed
    card = next(
        one
        for t in certificate.trials
        for one in t.comparisons
        if one.stage == "card" and one.first
    )
    assert "features" in str(card.first)


def test_predict_that_reads_past_its_instant(certify: Certify, monkeypatch: Patch) -> None:
    # The last known bar is the one of the session itself, wherever the store has it.
    decided, honest = decide.decide, decide.panel_rows

    def leaky(context: RecipeContext, *asked: Any, **how: Any) -> Any:
        everything = context.raw["daily_bars"].read().collect().sort("symbol", "event_date")
        ahead = pl.col("close").shift(-1).over("symbol").fill_null(pl.col("close"))
        is_last = pl.col("event_date") == date(2021, 7, 13)
        bars = everything.with_columns(pl.when(is_last).then(ahead).otherwise("close"))

        def rows(market: Any, known: Any, first: date, last: date) -> pl.DataFrame:
            return honest(market, {**known, "daily_bars": bars.lazy()}, first, last)

        with monkeypatch.context() as patch:
            patch.setattr(decide, "panel_rows", rows)
            return decided(context, *asked, **how)

    monkeypatch.setattr(decide, "decide", leaky)
    certificate = certify([MIDDLE])

    assert not certificate.passed
    odd = {one.stage for t in certificate.trials for one in t.comparisons if one.changed}
    assert odd == {"predict"}


@pytest.mark.slow  # the comparison itself is the one that the certificate's worlds go through
def test_tables_left_behind_by_a_leaky_kernel(
    leaky_road: RecipeContext, raw: dict[str, pl.DataFrame], monkeypatch: Patch, tmp_path: Path
) -> None:
    context = in_store(leaky_road, tmp_path).context
    for name, rows in raw.items():
        context.raw[name].append(rows, manifest_of(Identity(context.market.data_digest), {}))
    runner.make_market_stages(context, month_range("2021-01", "2021-07"))
    make(context, "checkpoint", ["2021-07"])
    honest = predictions.scores
    with monkeypatch.context() as patch:
        patch.setattr(
            predictions, "scores", lambda *asked: honest(*asked).with_columns(pl.col("score") * 2)
        )
        make(context, "predictions", ["2021-07"])
    make(context, "targets", ["2021-07"])
    certificate = audit(context, [MIDDLE], sessions=0)

    assert not certificate.passed
    assert all(trial.passed for trial in certificate.trials)
    assert certificate.stored is not None
    changed = {one.stage for one in certificate.stored.comparisons if one.changed}
    assert changed == {"predictions 2021-07", "targets 2021-07"}
    same = {one.stage for one in certificate.stored.comparisons if not one.changed}
    assert {"panel 2021-07", "features 2021-07", "card 2021-07", "checkpoint 2021-07"} <= same
    assert "CHANGED" in certificate.text()


def test_days_after_holidays_are_counted_by_weekdays(leaky_road: RecipeContext) -> None:
    calendar = leaky_road.market.calendar
    sessions = sessions_of(calendar, ["2021-07"], date(2021, 7, 31))
    assert len(sessions) == 20
    assert np.datetime64("2021-07-22") not in calendar.sessions


REBALANCE = date(2021, 7, 19)


@pytest.fixture(scope="module")
def holding(clean: Rebuilt) -> Rebuilt:
    """The clean world with targets of two weeks, as any rule might write them."""
    symbols = clean.context.raw["daily_bars"].read().collect()["symbol"].unique().sort()[:6]
    rows = [
        {"session": day, "symbol": symbol, "score": 0.0, "target_weight": weight, "reason": "test"}
        for day in (date(2021, 7, 12), REBALANCE)
        for symbol, weight in zip(symbols, (0.2, 0.2, 0.1, -0.2, -0.2, -0.1), strict=True)
    ]
    frame = pl.DataFrame(rows, schema=TARGETS)
    return Rebuilt(clean.context, {("targets", "2021-07 alone"): frame})


@pytest.fixture
def orders_at(holding: Rebuilt, raw: dict[str, pl.DataFrame]) -> Callable[[], list[Comparison]]:
    def of() -> list[Comparison]:
        decision = holding.context.market.calendar.decision(REBALANCE).astype("datetime64[us]")[()]
        feeds = holding.context.market.feeds
        world = Insertion(decision, 3)
        noise = Noise(decision, 3)
        other = {
            name: world.rows(feeds[name], noise.rows(feeds[name], rows))
            for name, rows in raw.items()
        }
        # The last close before the rebalance is corrected after it, for every name.
        bars = other["daily_bars"]
        last = bars.filter(pl.col("event_date") == date(2021, 7, 16), pl.col("revision") == 0)
        late = last.with_columns(
            pl.col("close") * 1.5,
            revision=pl.lit(9, pl.Int16),
            available_at=pl.lit(decision.item() + timedelta(hours=9)).dt.replace_time_zone("UTC"),
        )
        other["daily_bars"] = pl.concat([bars, late.cast(dict(bars.schema))])  # type: ignore[arg-type]
        return orders_compared(holding, raw, other, REBALANCE)

    return of


def test_orders_are_the_same_in_every_future(
    orders_at: Callable[[], list[Comparison]],
) -> None:
    found = orders_at()
    # Of a book that begins there, and of one that has lived a week.
    assert [(one.stage, one.cells) for one in found] == [("first_orders", 12), ("orders", 12)]
    assert first_of(found) == ""


def test_orders_are_due_of_a_book_that_holds_something(
    holding: Rebuilt, raw: dict[str, pl.DataFrame]
) -> None:
    frame = holding.table("targets", "2021-07")
    assert frame is not None
    weight, is_last = pl.col("target_weight"), pl.col("session") == REBALANCE
    for held, due in ((weight * 0, [False, False]), (weight * ~is_last, [False, True])):
        of = frame.with_columns(target_weight=held)
        idle = Rebuilt(holding.context, {("targets", "2021-07 alone"): of})
        assert [one.needed for one in orders_compared(idle, raw, raw, REBALANCE)] == due
    assert all(one.needed for one in orders_compared(holding, raw, raw, REBALANCE))


def test_a_session_that_uses_up_the_equity_changes_no_order_of_it(
    holding: Rebuilt, raw: dict[str, pl.DataFrame]
) -> None:
    """The other world's prices of the session itself come after the decision."""
    bars = raw["daily_bars"]
    short = bars["symbol"].unique().sort()[3:6]
    there = (pl.col("event_date") == REBALANCE) & pl.col("symbol").is_in(short.implode())
    prices = ("open", "high", "low", "close")
    risen = [
        pl.when(there).then(pl.col(p) * k).otherwise(pl.col(p))
        for p, k in zip(prices, (1.0, 50.0, 1.0, 50.0), strict=True)
    ]
    found = orders_compared(
        holding, raw, {**raw, "daily_bars": bars.with_columns(risen)}, REBALANCE
    )
    assert [one.cells for one in found] == [12, 12]
    assert first_of(found) == ""


def test_order_sizes_from_a_later_close(
    orders_at: Callable[[], list[Comparison]], monkeypatch: Patch
) -> None:
    honest = simulator.marks_of

    def corrected(raw: Any, *asked: Any, **how: Any) -> Any:
        # The close of the day before as the vendor has it today.
        bars = raw["daily_bars"]
        frame = bars.collect() if isinstance(bars, pl.LazyFrame) else bars
        last = frame.sort("revision").unique(["event_date", "symbol"], keep="last")
        first = frame.filter(pl.col("revision") == 0).drop("close")
        restated = first.join(
            last.select("event_date", "symbol", "close"), on=["event_date", "symbol"]
        )
        return honest({**raw, "daily_bars": restated.select(frame.columns)}, *asked, **how)

    monkeypatch.setattr(simulator, "marks_of", corrected)
    assert "orders 2021-07-19" in first_of(orders_at())


def test_orders_left_out_where_the_session_will_have_no_bar(
    holding: Rebuilt, raw: dict[str, pl.DataFrame], monkeypatch: Patch
) -> None:
    decision = holding.context.market.calendar.decision(REBALANCE).astype("datetime64[us]")[()]
    world, feeds = Deletion(decision), holding.context.market.feeds
    other = {name: world.rows(feeds[name], rows) for name, rows in raw.items()}
    assert first_of(orders_compared(holding, raw, other, REBALANCE)) == ""

    honest = simulator.marks_of

    def traded_only(*asked: Any, **how: Any) -> Any:
        marks = honest(*asked, **how)
        return replace(marks, known_close=np.where(np.isnan(marks.open), np.nan, marks.known_close))

    monkeypatch.setattr(simulator, "marks_of", traded_only)
    found = orders_compared(holding, raw, other, REBALANCE)
    assert "orders 2021-07-19" in first_of(found)


def test_order_sizes_from_the_open_of_the_session(
    orders_at: Callable[[], list[Comparison]], monkeypatch: Patch
) -> None:
    honest = simulator.marks_of

    def ahead(*asked: Any, **how: Any) -> Any:
        marks = honest(*asked, **how)
        # Prices as quoted: what a broker counts by is the very same close.
        leak = np.where(np.isnan(marks.open), marks.known_close, marks.open)
        return replace(marks, known_close=leak, known_raw_close=leak)

    monkeypatch.setattr(simulator, "marks_of", ahead)
    found = orders_at()
    assert [one.changed > 0 for one in found] == [True, True]


@pytest.mark.slow  # two trainings
def test_a_state_of_another_run_is_not_gone_on_with(
    leaky_road: RecipeContext, raw: dict[str, pl.DataFrame], tmp_path: Path
) -> None:
    # A run over other bars is killed after its first epoch; what it put down is laid where this
    # world's training looks for its own.
    month = "2021-07"

    def seeded_with(rows: dict[str, pl.DataFrame], name: str) -> Rebuilt:
        made = in_store(leaky_road, tmp_path / name)
        for feed, frame in rows.items():
            made.context.raw[feed].append(
                frame, manifest_of(Identity(leaky_road.market.data_digest), {})
            )
        runner.make_market_stages(made.context, month_range("2021-01", month))
        return made

    before = np.datetime64("2021-01-01", "us")  # other values in all rows
    feeds = leaky_road.market.feeds
    noise = Noise(before, 3)
    other = seeded_with({n: noise.rows(feeds[n], rows) for n, rows in raw.items()}, "other")
    this, alone = seeded_with(raw, "this"), seeded_with(raw, "alone")

    def stop(stage: str, what: str) -> None:
        if "epoch 1" in what:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(replace(other.context, progress=stop), "checkpoint", [month])
    left = list(Path(other.context.store.address, "_tmp").rglob("*.safetensors"))
    assert left, "the killed run put its state down"
    for path in left:
        target = Path(this.context.store.address) / path.relative_to(other.context.store.address)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())

    for side in (this, alone):
        make(side.context, "checkpoint", [month])
    weights = [side.weights(month) for side in (alone, this)]
    assert weights[0] is not None
    assert weights[1] is not None
    assert compare_weights(month, weights[0], weights[1]).changed == 0
