"""The certificate of a market of files: late rows, a split, and a second delivery's correction."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from alpha_assets.audit import Certificate, audit
from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import load_recipe
from alpha_assets.pipeline import market_stages, runner
from alpha_assets.pipeline.context import MarketContext, RecipeContext
from alpha_assets.store import Store

pytestmark = pytest.mark.slow

PIPELINES = Path(__file__).parents[1] / "pipelines"
NAMES = [f"S{number:02d}" for number in range(14)]
SPLIT, LATE, CORRECTED = date(2011, 12, 14), date(2011, 12, 15), date(2011, 12, 16)
CUT = date(2011, 12, 19)  # a Monday: the late row and the correction are not known yet
UNIVERSES = [
    *(f"universes.{name}.membership=false" for name in ("all", "traded")),
    "universes.traded.min_dollar_volume=1",
]
SETTINGS = ["split.lookback_sessions=25", "split.valid_sessions=8", "training.max_epochs=1"]


def delivered() -> pl.DataFrame:
    """Return raw bars of 14 names over five months, as a vendor has them that Friday evening.

    S01 splits 1 to 2 on Wednesday; Thursday's bar of S02 is published on the next Tuesday; of S03
    Friday's close is wrong.
    """
    rng = np.random.default_rng(5)
    days = np.arange("2011-08-01", "2012-01-07", dtype="datetime64[D]")
    days = days[
        np.is_busday(days, holidays=["2011-09-05", "2011-11-24", "2011-12-26", "2012-01-02"])
    ]
    one, on = pl.col("symbol"), pl.col("date")
    split = pl.when((one == "S01") & (on >= SPLIT)).then(0.5).otherwise(1.0)
    bars = pl.concat(
        pl.DataFrame({"date": days, "symbol": name, "close": close}).with_columns(
            volume=pl.Series(rng.uniform(1e6, 2e6, len(days)).round())
        )
        for name in NAMES
        for close in [50 * np.exp(rng.normal(0, 0.02, len(days)).cumsum())]
    )
    bars = bars.with_columns(close=pl.col("close") * split, volume=pl.col("volume") / split)
    is_late = (one == "S02") & (on == LATE)
    stamp = datetime(2011, 12, 20, 22, tzinfo=UTC)
    return bars.with_columns(
        open=pl.col("close") * 1.001,
        high=pl.col("close") * 1.02,
        low=pl.col("close") * 0.98,
        adjustment_factor=pl.when((one == "S01") & (on == SPLIT)).then(0.5).otherwise(1.0),
        available_at=pl.when(is_late).then(pl.lit(stamp)).otherwise(None),
    )


@pytest.fixture(scope="module")
def folder_context(tmp_path_factory: pytest.TempPathFactory) -> RecipeContext:
    """The market with two deliveries stored: on the Friday evening, and in January."""
    folder, storage = tmp_path_factory.mktemp("delivered"), tmp_path_factory.mktemp("stored")
    truth = delivered()
    wrong = (pl.col("symbol") == "S03") & (pl.col("date") == CORRECTED)
    first = truth.with_columns(pl.col("close") * pl.when(wrong).then(1.015).otherwise(1.0))
    for bars, now in (
        (first.filter(pl.col("date") <= CORRECTED), datetime(2011, 12, 17, 3, tzinfo=UTC)),
        (truth, datetime(2012, 1, 7, 3, tzinfo=UTC)),
    ):
        bars.write_parquet(folder / "daily_bars.parquet")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ALPHA_PIPELINES", str(PIPELINES))
            market = load_market("tiny_us", overrides=[f"source.path='{folder}'", *UNIVERSES])
            recipe = load_recipe("tiny_us", market, overrides=SETTINGS)
        context = RecipeContext(
            market, Store(str(storage)), recipe=recipe, clock=lambda now=now: now
        )
        runner.ingest_all(context)
    return context


def certificate_of(context: RecipeContext, lines: list[str]) -> Certificate:
    watched = replace(context, progress=lambda stage, what: lines.append(f"{stage} {what}"))
    return audit(watched, [CUT], seed=3, sessions=1)


def test_late_rows_a_split_and_a_correction_change_nothing_that_was_decided_before(
    folder_context: RecipeContext,
) -> None:
    bars = folder_context.raw["daily_bars"].read().collect()
    late = bars.filter(
        pl.col("available_at")
        > pl.col("event_date").cast(pl.Datetime("us", "UTC")) + timedelta(days=3)
    )
    assert late.select("symbol", "event_date", "revision").rows() == [
        ("S02", LATE, 0),
        ("S03", CORRECTED, 1),
    ]
    lines: list[str] = []
    certificate = certificate_of(folder_context, lines)

    assert certificate.passed, certificate.text()
    # Before any rebuild it is said how many there will be.
    assert len(certificate.trials[3:]) <= 6
    assert lines[0] == (
        "audit 4 rebuilds: 1 of this world, 3 of other worlds at 1 cuts; then one month at each of "
        "at most 6 cheap cuts"
    )


def test_a_correction_read_before_it_was_published_is_caught(
    folder_context: RecipeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = market_stages.raw_until
    key, values = ["event_date", "symbol"], ["open", "high", "low", "close", "volume"]

    def leaky(context: MarketContext, month: str) -> dict[str, pl.LazyFrame]:
        rows = context.raw["daily_bars"].read().collect().sort("revision")
        last = rows.unique(key, keep="last").select(*key, *values)
        first = rows.unique(key, keep="first").drop(values).join(last, on=key)
        return {**clean(context, month), "daily_bars": first.select(rows.columns).lazy()}

    monkeypatch.setattr(market_stages, "raw_until", leaky)
    certificate = audit(folder_context, [CUT], seed=3, sessions=0)

    assert not certificate.passed
    assert f"panel {CUT} S03 " in str(certificate.first)
