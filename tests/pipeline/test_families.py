"""Each family of features and of a cross-section is made, fresh and stale by itself."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import PIPELINES, linked
from tests.pipeline.damage import truncated

from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import load_recipe
from alpha_assets.errors import StaleOutput, StorageError
from alpha_assets.pipeline import identity
from alpha_assets.pipeline.checkpoint import checkpoint_stage
from alpha_assets.pipeline.context import MarketContext, RecipeContext
from alpha_assets.pipeline.families import (
    families_read,
    feature_families,
    section_families,
    sections_made,
    sections_read,
)
from alpha_assets.pipeline.freshness import manifest_of
from alpha_assets.pipeline.market_stages import cross_section_stage, features_stage
from alpha_assets.pipeline.runner import make_market_stages
from alpha_assets.pipeline.seen import Seen
from alpha_assets.pipeline.stages import stage_of, stages_below
from alpha_assets.pipeline.status import status
from alpha_assets.store.store import Store

MONTHS = ["2021-01", "2021-02"]
TABLES = ("features", "cross_section/traded")


@pytest.fixture
def market(tiny_market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MarketContext:
    """The market with raw rows and panel; no features were made."""
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))
    linked(tiny_market, tmp_path / "storage", only=("raw", "panel", "_deliveries"))
    return MarketContext(load_market("tiny"), Store(str(tmp_path / "storage")))


def reading(market: MarketContext, *names: str, recipe: str = "tiny") -> RecipeContext:
    """Return the context of a recipe that reads these features and no others."""
    overrides = [f"features.names=[{', '.join(repr(name) for name in names)}]"] if names else []
    chosen = load_recipe(recipe, market.market, overrides=overrides)
    return RecipeContext(market.market, market.store, recipe=replace(chosen, variant=""))


def files(context: MarketContext, table: str) -> set[str]:
    """Return the families that every one of the months holds."""
    found = [
        {
            path.stem
            for path in Path(context.store.address, "tiny", table).glob(f"month={m}/*.parquet")
        }
        for m in MONTHS
    ]
    assert all(held == found[0] for held in found)
    return found[0]


def hashes(context: MarketContext, table: str) -> dict[str, dict[str, str]]:
    whole = context.features if table == "features" else context.cross_section("traded")
    return whole.only(()).hashes_by_family()


def test_a_product_alone_is_made_with_all_that_its_family_multiplies(
    market: MarketContext,
) -> None:
    # `run` stopped here: the family of products is made whole, of more than the recipe's product.
    context = reading(market, "x_rev_5__turn_z")
    make_market_stages(context, MONTHS)
    made = files(context, "features")
    assert set(feature_families(context.recipe)) == made
    by_name = {item.name: item.family for item in market.market.catalog}
    assert by_name["dist_high_252"] in made
    assert files(context, "cross_section/traded") == {"liquidity", "members", "price", "x"}


def test_a_recipe_makes_the_families_that_it_reads_and_another_adds_its_own(
    market: MarketContext,
) -> None:
    reported: list[str] = []
    one, two = reading(market, "ret_5", "rsi_14"), reading(market, "beta_60", "opt_iv_z")

    watched = replace(one, progress=lambda stage, _: reported.append(stage))
    make_market_stages(watched, MONTHS)

    # Nothing looks made twice: members, which are made first, have a name of their own.
    section = [stage for stage in dict.fromkeys(reported) if "cross_section" in stage]
    assert section == ["cross_section/traded/members", "cross_section/traded"]
    # `liquidity` for the rules that weigh what was planted; `ret_1` of `price` for the regimes.
    assert files(one, "features") == {"price", "trend", "liquidity"}
    assert files(one, "cross_section/traded") == {"members", "price", "trend"}
    before = {table: hashes(market, table) for table in TABLES}

    make_market_stages(two, MONTHS)

    assert files(two, "features") == {"price", "trend", "liquidity", "risk", "opt"}
    assert files(two, "cross_section/traded") == {"members", "price", "trend", "risk", "opt"}
    for table in TABLES:
        assert {**hashes(market, table), **before[table]} == hashes(market, table)
    for context in (one, two):
        for stage in stages_below(context.recipe):
            assert stage.stale(context, MONTHS, Seen()) == {}

    # What no recipe reads is made by none; all together have the bits of each alone.
    alone = {table: hashes(market, table) for table in TABLES}
    features_stage(market.market).ensure(market, MONTHS, again=True)
    cross_section_stage(market.market, "traded").ensure(market, MONTHS, again=True)
    for table in TABLES:
        together = hashes(market, table)
        assert {name: together[name] for name in alone[table]} == alone[table]
        assert "graph" in together


def test_what_any_recipe_reads_is_made_for_the_market(market: MarketContext) -> None:
    one = reading(market, "ret_5", "rsi_14").recipe
    product = reading(market, "x_mom_12_1__sector_short_z_60").recipe
    scaled = reading(market, "stale", recipe="tiny_feeds").recipe

    assert feature_families(one) == ("price", "trend", "liquidity")
    # All that products multiply: their family is made whole.
    multiplied = {
        name for item in market.market.choice[len(market.market.catalog) :] for name in item.inputs
    }
    behind_products = {item.family for item in market.market.catalog if item.name in multiplied}
    assert set(feature_families(product)) == {"price", "liquidity", *behind_products}
    assert {"sector_short", "trend", "margin"} <= behind_products
    # Its label is scaled.
    assert feature_families(scaled) == ("price", "volatility", "liquidity", "trading")
    assert section_families(product) == ("x",)
    assert set(sections_made(product)) == {"price", "sector_short", "x"}
    assert set(families_read(market.market, [one, product])) == {
        "price", "trend", "liquidity", *behind_products
    }  # fmt: skip
    assert families_read(market.market, []) == tuple(
        dict.fromkeys(feature.family for feature in market.market.catalog)
    )
    assert set(sections_read(market.market, "traded", [one, product])) == {
        "price", "trend", "sector_short", "x",
    }  # fmt: skip
    assert sections_read(market.market, "all", [one]) == ("price", "trend")


def test_another_code_of_one_feature_makes_its_family_stale_and_no_other(
    market: MarketContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = reading(market, "ret_5", "rsi_14")
    make_market_stages(context, MONTHS)
    before = hashes(market, "features")
    features, section = (stage_of(context, table) for table in TABLES)
    known = identity._feature_codes()
    monkeypatch.setattr(identity, "_feature_codes", lambda: {**known, "rsi_14": "edited"})

    seen = Seen()
    assert features.stale(context, MONTHS, seen) == dict.fromkeys(
        MONTHS,
        "1 of 3 families, first trend: made by code that has changed since (first: rsi_14)",
    )
    assert section.stale(context, MONTHS, seen) == dict.fromkeys(
        MONTHS, "1 of 3 families, first trend: its input features/trend is to be made again"
    )
    with pytest.raises(StaleOutput, match=r"month=2021-01/trend.parquet was made by code that has"):
        section.ensure(context, MONTHS, again=True)
    # A recipe that does not read it goes on, and its models stay fresh.
    other = reading(market, "ret_5")
    for stage in stages_below(other.recipe):
        assert stage.stale(other, MONTHS, Seen()) == {}
    reads = {
        one.name for read in checkpoint_stage(other.recipe).reads if read.of for one in read.of.each
    }
    assert {name for name in reads if "traded" in name} == {
        "cross_section/traded/members",
        "cross_section/traded/price",
    }

    make_market_stages(context, MONTHS)

    assert hashes(market, "features") == before
    assert features.stale(context, MONTHS, Seen()) == {}
    assert section.stale(context, MONTHS, Seen()) == {}  # equal content cuts off what follows


def test_one_more_feature_makes_stale_the_models_of_no_recipe_that_does_not_read_it(
    market: MarketContext,
) -> None:
    context = reading(market, "ret_5")
    make_market_stages(context, MONTHS)
    known = context.market.catalog
    longer = replace(
        next(item for item in known if item.name == "rsi_14"), name="rsi_more", lookback=400
    )
    more = load_market("tiny")
    more.__dict__["catalog"] = (*known, longer)
    other = replace(context, market=more, recipe=replace(context.recipe, market=more))

    for stage in stages_below(other.recipe):
        assert stage.stale(other, MONTHS, Seen()) == {}, stage.name
    # A longer look-back reads more of the panel for its own family alone.
    back = {one.family: one.reads[0].sessions_back for one in features_stage(more).families}
    before = {one.family: one.reads[0].sessions_back for one in features_stage(market.market).each}
    assert {**before, "trend": 399} == back
    for make in (identity.checkpoint, identity.coverage):
        was, now = (
            make(c.recipe)
            if make is identity.checkpoint
            else make(c.market, section_families(c.recipe))
            for c in (context, other)
        )
        assert was == now


def test_damage_of_a_family_stops_its_readers_alone(market: MarketContext) -> None:
    both, price = reading(market, "ret_5", "rsi_14"), reading(market, "ret_5")
    make_market_stages(both, MONTHS)
    truncated(Path(market.store.address, "tiny/features/month=2021-01/trend.parquet"))

    section = stage_of(both, "cross_section/traded")
    with pytest.raises(StorageError, match=r"trend.parquet has .* bytes and its manifest names"):
        section.ensure(both, MONTHS, again=True)
    stage_of(price, "cross_section/traded").ensure(price, MONTHS, again=True)
    assert (
        "month=2021-01/trend.parquet has"
        in stage_of(both, "features").stale(both, MONTHS, Seen())["2021-01"]
    )
    make_market_stages(both, MONTHS)
    assert stage_of(both, "features").stale(both, MONTHS, Seen()) == {}


def test_a_storage_in_one_file_a_month_is_named_stale_and_made_again(
    market: MarketContext,
) -> None:
    context = reading(market, "ret_5")
    make_market_stages(context, MONTHS)
    table = context.features
    for month in MONTHS:
        rows = table.read(month, month).collect()
        table.folder(month).write({"rows": rows}, manifest_of(identity.panel(market.market), {}))

    words = "2 of 2 families, first price: its month holds all columns in one file, as an earlier"
    assert stage_of(context, "features").stale(context, MONTHS, Seen())["2021-01"].startswith(words)
    (row,) = [row for row in status(context) if row["stage"] == "features"]
    assert row["to do"] >= len(MONTHS)
    with pytest.raises(StaleOutput, match=r"holds all columns in one file.*alpha-assets run"):
        stage_of(context, "cross_section/traded").ensure(context, MONTHS, again=True)

    make_market_stages(context, MONTHS)

    assert files(context, "features") == {"price", "liquidity"}
