"""What the stored pipeline promises: updates equal one build, a month alone equals a span."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from tests.conftest import linked

from alpha_assets.calendar import month_range
from alpha_assets.config.market import load_market
from alpha_assets.features import CATALOG
from alpha_assets.pipeline.context import MarketContext, RecipeContext
from alpha_assets.pipeline.runner import ingest_all
from alpha_assets.pipeline.stages import make
from alpha_assets.store.store import Store

PIPELINES = Path(__file__).parents[1] / "pipelines"
SMALL = ("sim.n_symbols=24", "sim.corrected_share=0.02", "sim.first=2021-01-04")
LAST = "2021-07-30"
MONTHS = month_range("2021-02", "2021-07")


@pytest.fixture(scope="module", autouse=True)
def pipelines() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(PIPELINES))
        yield


def road_until(folder: Path, last: str) -> RecipeContext:
    """A context over a store, whose market has published up to `last`."""
    market = load_market("tiny", overrides=(*SMALL, f"sim.last={last}"))
    return MarketContext(market, Store(str(folder)), clock=lambda: datetime(2024, 1, 1, tzinfo=UTC))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> RecipeContext:
    context = road_until(tmp_path_factory.mktemp("once"), LAST)
    ingest_all(context)
    make(context, "panel", MONTHS)
    make(context, "features", MONTHS)
    return context


def test_a_store_filled_by_updates_equals_one_that_was_filled_at_once(
    built: RecipeContext, tmp_path: Path
) -> None:
    # Ends within a week, on a correction's eve, at a month's end: what is told grows each time.
    for last in ("2021-01-20", "2021-02-26", "2021-02-27", "2021-05-12", "2021-06-30", LAST):
        context = road_until(tmp_path, last)
        ingest_all(context)

    for feed, table in built.raw.items():
        assert context.raw[feed].hashes() == table.hashes(), feed
    make(context, "panel", MONTHS)
    make(context, "features", MONTHS)
    assert context.panel.hashes() == built.panel.hashes()
    assert context.features.hashes() == built.features.hashes()


def test_corrections_were_delivered_and_a_store_without_them_would_differ(
    built: RecipeContext,
) -> None:
    corrected = {
        feed: table.read().filter(pl.col("revision") > 0).collect().height
        for feed, table in built.raw.items()
    }
    assert min(corrected[f] for f in ("daily_bars", "margin_alerts", "statements")) > 0
    assert corrected["rates"] == 0


@pytest.mark.parametrize("month", ["2021-03", "2021-07"])
def test_a_month_made_alone_has_the_bits_of_the_whole_span(
    built: RecipeContext, month: str, tmp_path: Path
) -> None:
    alone = road_until(linked(Path(built.store.address), tmp_path, only=("raw",)), LAST)
    make(alone, "panel", [month])

    assert alone.panel.hashes() == {month: built.panel.hashes()[month]}


def test_every_column_of_a_side_feed_is_put_to_work(built: RecipeContext) -> None:
    panel = built.panel.read().collect()
    for join in built.market.joins:
        known = panel[f"{join.name}_age"].is_not_null().mean()
        assert known is not None
        assert known > (0.02 if join.name == "margin_alerts" else 0.2), join.name  # few are watched


def test_features_of_feeds_that_are_off_are_there_and_empty(built: RecipeContext) -> None:
    features = built.features.read().collect()
    missing = built.market.missing_features
    off = [feature for feature in CATALOG if feature.name in missing]

    assert {"short_volume_ratio", "iv_30"} <= {feature.name for feature in off}
    assert all(features[feature.name].null_count() == features.height for feature in off)
    assert "which is off: the simulated exchange is not American" in missing["iv_30"]
