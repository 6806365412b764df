"""The certificate is silent on the clean road and catches every leak that is planted in it.

Each leak is one that research code has had; each is planted in the real road, by replacing one
of its functions.
"""

from collections.abc import Callable
from datetime import date
from typing import Any

import polars as pl
import pytest
from tests.audit.leaks import unbounded
from tests.planting import around

from alpha_assets.audit import Certificate
from alpha_assets.audit.perturb import Restatement
from alpha_assets.audit.rebuild import PREDICT, STAGES
from alpha_assets.calendar import as_date, month_of
from alpha_assets.dataset import Split
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.pipeline import checkpoint, market_stages, targets, train, transforms
from alpha_assets.pipeline.context import RecipeContext

FIRST, MIDDLE, LAST = date(2021, 7, 1), date(2021, 7, 14), date(2021, 7, 30)

Patch = pytest.MonkeyPatch
Certify = Callable[..., Certificate]


def stages_that_changed(certificate: Certificate) -> list[str]:
    """Return the stages with changed cells, in road order, each once."""
    changed = [
        one.stage for trial in certificate.trials for one in trial.comparisons if one.changed
    ]
    return [stage for stage in STAGES if stage in changed]


def assert_caught(certificate: Certificate, stage: str, column: str = "") -> None:
    """The certificate fails, first at `stage`, and names the cell and both values."""
    assert not certificate.passed
    assert stages_that_changed(certificate)[0] == stage
    first = next(
        one.first
        for trial in certificate.trials
        for one in trial.comparisons
        if one.first is not None and one.stage == stage
    )
    assert column in first.column
    assert first.here != first.there
    assert f"{stage} {first.session}" in str(first)
    assert "certificate: FAILED" in certificate.text()


def plant_in_features(patch: Patch, leak: Callable[[pl.DataFrame, pl.DataFrame], Any]) -> None:
    """Pass every made feature table through `leak(features, panel)`."""
    clean = market_stages.feature_rows

    def leaky(market: Any, panel: pl.LazyFrame, *asked: Any) -> Any:
        return leak(clean(market, panel, *asked), panel.lazy().collect())

    patch.setattr(market_stages, "feature_rows", leaky)


def plant_in_universe(patch: Patch, keeps: Callable[[pl.DataFrame], pl.Series]) -> None:
    """Keep of every universe the symbols that `keeps` finds in the whole panel it is given."""
    clean = transforms.universe

    def leaky(panel: pl.DataFrame, *rest: Any, **how: Any) -> pl.DataFrame:
        kept = pl.col("symbol").is_in(keeps(panel).implode())
        return clean(panel, *rest, **how).filter(kept)

    patch.setattr(transforms, "universe", leaky)


@pytest.mark.slow
def test_the_clean_road_of_every_feed_is_silent(certify_all: Certify) -> None:
    certificate = certify_all([MIDDLE], vintage=True)

    assert certificate.passed, certificate.text()
    assert len(certificate.trials) == 4


@pytest.mark.slow  # the road of every feed holds the same stages, at one cut
def test_the_clean_road_is_silent(certify_prices: Certify) -> None:
    # The middle of a month is cut where every feed is there, above.
    certificate = certify_prices([FIRST, LAST], vintage=True)

    assert certificate.passed, certificate.text()
    assert len(certificate.trials) == 8
    for trial in certificate.trials:
        cells = {one.stage: one.cells for one in trial.comparisons}
        assert min(cells[s] for s in ("panel", "features", "cross_section", "checkpoint")) > 1_000


def test_the_road_that_leaks_are_planted_in_is_silent_without_one(certify: Certify) -> None:
    assert certify([MIDDLE]).passed


@pytest.mark.slow  # `plant_tomorrow`, at one cut, shows the same
def test_a_shift_from_tomorrow(certify: Certify, monkeypatch: Patch) -> None:
    plant_in_features(
        monkeypatch, lambda f, panel: f.with_columns(pl.col("ret_5").shift(-1).over("symbol"))
    )
    assert_caught(certify([MIDDLE]), "features", "ret_5")


@pytest.mark.slow
def test_a_centred_window(certify: Certify, monkeypatch: Patch) -> None:
    centred = pl.col("ret_1").rolling_mean(5, center=True, min_samples=1).over("symbol")
    plant_in_features(monkeypatch, lambda f, panel: f.with_columns(centred.alias("ret_1")))
    assert_caught(certify([MIDDLE]), "features", "ret_1")


@pytest.mark.slow
def test_a_z_score_over_the_whole_sample(certify: Certify, monkeypatch: Patch) -> None:
    x = pl.col("vol_park_20")
    z = ((x - x.mean()) / x.std()).over("symbol").cast(pl.Float32)
    plant_in_features(monkeypatch, lambda f, panel: f.with_columns(z.alias("vol_park_20")))
    assert_caught(certify([MIDDLE]), "features", "vol_park_20")


@pytest.mark.slow
def test_a_backward_fill(certify: Certify, monkeypatch: Patch) -> None:
    # Its look-back is longer than the market's history at the cut: all of it is missing.
    filled = pl.col("ret_120").backward_fill().over("symbol")
    plant_in_features(monkeypatch, lambda f, panel: f.with_columns(filled))
    assert_caught(certify([MIDDLE]), "features", "ret_120")


@pytest.mark.slow
def test_a_level_that_carries_later_splits(certify: Certify, monkeypatch: Patch) -> None:
    def leak(features: pl.DataFrame, panel: pl.DataFrame) -> pl.DataFrame:
        level = panel.select("session", "symbol", (pl.col("close").log()).alias("level"))
        joined = features.join(level, on=["session", "symbol"], how="left", maintain_order="left")
        return joined.with_columns(pl.col("level").cast(pl.Float32).alias("ret_20")).drop("level")

    plant_in_features(monkeypatch, leak)
    certificate = certify([MIDDLE], vintage=True)

    # Noise after the cut cannot show it: the level of the past is the vendor's, whatever follows.
    # (`predict` builds its own features, without the leak: it differs from the tables anyway.)
    worlds = {
        trial.world
        for trial in certificate.trials
        for one in trial.comparisons
        if one.changed and one.stage not in PREDICT
    }
    assert worlds == {Restatement.name}
    assert_caught(certificate, "features", "ret_20")


@pytest.mark.slow  # the clock and the leaks of one month plant bars that are early
def test_a_bar_joined_on_its_own_session(certify: Certify, monkeypatch: Patch) -> None:
    clean = market_stages.panel_rows
    bar = [pl.col(name).shift(-1).over("symbol") for name in ("open", "high", "low", "close")]
    monkeypatch.setattr(market_stages, "panel_rows", lambda *asked: clean(*asked).with_columns(bar))
    assert_caught(certify([MIDDLE]), "panel", "open")


@pytest.mark.slow  # at one cut: corrections counted early, levels restated later
def test_a_correction_read_before_it_was_published(
    context: RecipeContext, certify: Certify, monkeypatch: Patch
) -> None:
    bars = context.raw["daily_bars"].read().collect()
    late = bars.filter((pl.col("revision") == 1) & (pl.col("event_date") > date(2021, 7, 1)))
    late = late.filter(pl.col("event_date") < date(2021, 8, 25)).sort("event_date")
    assert late.height, "the tiny market corrects some bars"
    calendar = context.market.calendar
    # Between the bar's own session and its correction's there is a cut that the leak crosses.
    cut = as_date(calendar.after(late["event_date"][0]))
    values = ["open", "high", "low", "close", "volume", "turnover_value"]
    clean = market_stages.raw_until

    def leaky(context: RecipeContext, month: str) -> dict[str, pl.LazyFrame]:
        everything = context.raw["daily_bars"].read().collect()
        latest = everything.sort("revision").unique(["event_date", "symbol"], keep="last")
        first = everything.filter(pl.col("revision") == 0).drop(values)
        restated = first.join(
            latest.select("event_date", "symbol", *values), on=["event_date", "symbol"]
        )
        return {**clean(context, month), "daily_bars": restated.select(everything.columns).lazy()}

    monkeypatch.setattr(market_stages, "raw_until", leaky)
    assert_caught(certify([cut]), "panel")


@pytest.mark.slow
def test_a_universe_of_today(certify: Certify, monkeypatch: Patch) -> None:
    def today(panel: pl.DataFrame) -> pl.Series:
        last = panel.filter(pl.col("session") == pl.col("session").max())
        return last.sort("volume", descending=True, nulls_last=True).head(25)["symbol"]

    plant_in_universe(monkeypatch, today)
    assert_caught(certify([MIDDLE]), "cross_section")


@pytest.mark.slow
def test_a_liquidity_filter_over_the_whole_sample(certify: Certify, monkeypatch: Patch) -> None:
    def liquid(panel: pl.DataFrame) -> pl.Series:
        traded = panel.group_by("symbol").agg(
            (pl.col("close") * pl.col("volume")).mean().alias("v")
        )
        return traded.filter(pl.col("v") >= pl.col("v").median())["symbol"]

    plant_in_universe(monkeypatch, liquid)
    assert_caught(certify([MIDDLE]), "cross_section")


@pytest.mark.slow  # at one cut: a universe of those with a next bar
def test_survivors_only(certify: Certify, monkeypatch: Patch) -> None:
    clean = transforms.universe

    def leaky(make: Any, context: RecipeContext, *asked: Any) -> Any:
        listed = context.raw["listings"].read().collect()
        gone = listed.filter(pl.col("exit") != "active")["symbol"]

        def survivors(panel: pl.DataFrame, *rest: Any, **how: Any) -> pl.DataFrame:
            return clean(panel, *rest, **how).filter(~pl.col("symbol").is_in(gone.implode()))

        monkeypatch.setattr(transforms, "universe", survivors)
        return make(context, *asked)

    around(monkeypatch, "cross_section", leaky)
    # One symbol of the tiny market leaves in August: without it, July is not what it was.
    assert_caught(certify([MIDDLE]), "cross_section")


@pytest.mark.slow  # labels that end too late show that weights are compared
def test_a_scaler_fitted_on_the_month_to_be_decided(
    context: RecipeContext, certify: Certify, monkeypatch: Patch
) -> None:
    clean = train.training_data

    def leaky(context: RecipeContext, split: Split) -> Dataset:
        data = clean(context, split)
        ahead = context.section.read(split.month, split.month).collect()
        scale = float(ahead["ret_5_cs_z"].cast(pl.Float64).abs().mean() or 1.0)  # type: ignore[arg-type]
        data.x_DNF.mul_(scale)
        return data

    monkeypatch.setattr(train, "training_data", leaky)
    assert_caught(certify([FIRST]), "checkpoint")


def unpurged(split: Split, context: RecipeContext, *, train_last: bool) -> Split:
    """Return a split whose last sessions have labels that end after the month has begun."""
    calendar = context.market.calendar
    before = calendar.between(calendar.before(split.first_session, 75), split.first_session)[:-1]
    train = before if train_last else before[:60]
    return Split(**{**split.__dict__, "train": train, "valid": before[60:]})


@pytest.mark.parametrize(
    "train_last",
    [
        pytest.param(True, id="training"),
        pytest.param(False, id="early stopping", marks=pytest.mark.slow),
    ],
)
def test_labels_that_end_after_the_month_has_begun(
    certify: Certify, monkeypatch: Patch, train_last: bool
) -> None:
    split_of, labels = checkpoint.split_of, train.labels_between
    monkeypatch.setattr(
        checkpoint,
        "split_of",
        lambda context, month, usable: (
            unpurged(split_of(context, month, usable), context, train_last=train_last)
            if month == month_of(FIRST)
            else split_of(context, month, usable)
        ),
    )
    monkeypatch.setattr(train, "labels_between", unbounded(labels))
    if not train_last:
        # Stop by the last epoch that is best in hindsight: the choice shows in the weights.
        monkeypatch.setattr("alpha_assets.training.network.best_of", _worst_or_best_by_bits)
    assert_caught(certify([FIRST]), "checkpoint")


def _worst_or_best_by_bits(epochs: list[Any], smoothing: int) -> int:
    """Return an epoch that any change of a validation figure changes: its digits decide."""
    digits = sum(int(abs(epoch.valid_rank_ic) * 1e9) for epoch in epochs)
    return int(digits % len(epochs)) + 1


def test_targets_that_know_who_will_have_a_bar(certify: Certify, monkeypatch: Patch) -> None:
    clean = targets.decided_over

    def leaky(
        context: RecipeContext, predictions: pl.DataFrame, panel: pl.DataFrame, **more: Any
    ) -> tuple[pl.DataFrame, dict[date, float]]:
        rows = context.raw["daily_bars"].read().filter(pl.col("volume") > 100_000)
        traded = rows.select(pl.col("event_date").alias("session"), "symbol").unique().collect()
        scored = predictions.join(traded, on=["session", "symbol"], how="semi")
        return clean(context, scored, panel, **more)

    monkeypatch.setattr(targets, "decided_over", leaky)
    assert_caught(certify([date(2021, 7, 26)]), "targets")
