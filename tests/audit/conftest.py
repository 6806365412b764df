"""A tiny simulated market with its raw rows stored, and the certificate of a road over it."""

import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.audit.leaks import Cut
from tests.conftest import linked

from alpha_assets.audit import Certificate, audit
from alpha_assets.audit.perturb import Deletion, Mixed, World
from alpha_assets.audit.rebuild import Rebuilt, compared, in_store, remake, seeded
from alpha_assets.calendar import month_range
from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import load_recipe
from alpha_assets.features import CATALOG
from alpha_assets.feeds import FEEDS, SIDE_FEEDS
from alpha_assets.pipeline import runner
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.freshness import manifest_of
from alpha_assets.pipeline.identity import Identity
from alpha_assets.store import Store
from alpha_assets.store.compare import Comparison

PIPELINES = Path(__file__).parents[1] / "pipelines"

Certify = Callable[..., Certificate]


def ingested(folder: Path, overrides: Sequence[str] = ()) -> RecipeContext:
    """Return the road of the tiny recipe, its raw rows ingested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(PIPELINES))
        market = load_market("tiny", overrides=overrides)
        recipe = load_recipe("tiny", market)
    made = RecipeContext(market, Store(str(folder)), recipe=recipe)
    if not made.raw["daily_bars"].months():
        runner.ingest_all(made)
    return made


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory, tiny_market: Path) -> RecipeContext:
    """The road of the tiny recipe with every feed."""
    return ingested(linked(tiny_market, tmp_path_factory.mktemp("audited"), only=("raw",)))


@pytest.fixture(scope="session")
def prices_road(tmp_path_factory: pytest.TempPathFactory) -> RecipeContext:
    """The same without side feeds, several times as fast."""
    off = [f"feeds.{name}.on=false" for name in SIDE_FEEDS]
    return ingested(tmp_path_factory.mktemp("prices"), off)


@pytest.fixture(scope="session")
def leaky_road(tmp_path_factory: pytest.TempPathFactory) -> RecipeContext:
    """The road for leaks to be planted in: bars, listings, and features that leaks are put into.

    A leak shows in the column that it is planted in; what else a market has only takes time.
    """
    kept = ("daily_bars", "listings")
    off = [f"feeds.{name}.on=false" for name in FEEDS if name not in kept]
    context = ingested(tmp_path_factory.mktemp("leaky"), off)
    names = {*context.recipe.spec.features.names, "ret_120"}
    return offering(context, names)


def offering(context: RecipeContext, names: Collection[str]) -> RecipeContext:
    """Return a road whose market has some features in the place of all that there are."""
    few = tuple(feature for feature in CATALOG if feature.name in names)
    context.market.__dict__.pop("missing_features", None)
    context.market.__dict__.update(catalog=few, choice=few)
    return context


@pytest.fixture(scope="session")
def doors_road(tmp_path_factory: pytest.TempPathFactory) -> RecipeContext:
    """The road of the doors' recipes: bars, listings and news, and the columns of `tiny`."""
    kept = ("daily_bars", "listings", "news")
    off = [f"feeds.{name}.on=false" for name in FEEDS if name not in kept]
    context = ingested(tmp_path_factory.mktemp("doors"), off)
    return offering(context, context.recipe.spec.features.names)


@pytest.fixture
def certify(leaky_road: RecipeContext) -> Certify:
    """Audit the road of few columns as it is patched now."""
    return certifying(leaky_road)


@pytest.fixture
def certify_prices(prices_road: RecipeContext) -> Certify:
    """Audit the road of prices, with every feature of theirs, as it is patched now."""
    return certifying(prices_road)


@pytest.fixture
def certify_all(context: RecipeContext) -> Certify:
    """Audit the road of every feed as it is patched now."""
    return certifying(context)


def certifying(context: RecipeContext) -> Certify:
    def of(cuts: Sequence[date], *, vintage: bool = False, **how: Any) -> Certificate:
        # Every cheap cut takes a second: only the tests of them ask for some.
        return audit(context, cuts, seed=3, vintage=vintage, **{"sessions": 0, **how})

    return of


@pytest.fixture(scope="session")
def raw(leaky_road: RecipeContext) -> dict[str, pl.DataFrame]:
    return {name: t.read().collect() for name, t in leaky_road.raw.items() if t.months()}


@pytest.fixture(scope="session")
def clean(
    leaky_road: RecipeContext,
    raw: dict[str, pl.DataFrame],
    tmp_path_factory: pytest.TempPathFactory,
) -> Rebuilt:
    """The market's stages of this world, without a leak and without a model."""
    made = in_store(leaky_road, tmp_path_factory.mktemp("clean"))
    for name, rows in raw.items():
        made.context.raw[name].append(
            rows, manifest_of(Identity(leaky_road.market.data_digest), {})
        )
    runner.make_market_stages(made.context, month_range("2021-01", "2021-08"))
    return made


@pytest.fixture
def cut_at(clean: Rebuilt, raw: dict[str, pl.DataFrame], tmp_path: Path) -> Cut:
    """Compare the month of a cut, made again as the road is patched now, with another world's."""

    def of(cut: date, world: type[World] = Mixed, **how: Any) -> list[Comparison]:
        decision = clean.context.market.calendar.decision(cut).astype("datetime64[us]")[()]
        other = Deletion(decision) if world is Deletion else world(decision, 3, **how)  # type: ignore[call-arg]
        places = (Path(tempfile.mkdtemp(dir=tmp_path)) for _ in range(2))
        sides = [seeded(clean, place, cut) for place in places]
        sides[0] = Rebuilt(replace(sides[0].context, market=clean.context.market))  # this world
        changed = {
            name: other.rows(clean.context.market.feeds[name], rows) for name, rows in raw.items()
        }
        for side, rows in zip(sides, (raw, changed), strict=True):
            remake(side, rows, cut)
        return compared(sides[0], sides[1], cut, other, alone=True)

    return of
