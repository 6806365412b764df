"""Which features a recipe gets, and how it hears of those that it cannot have."""

import pytest

from alpha_assets.errors import SpecError
from alpha_assets.features import CATALOG, FeaturesSpec, missing_features, select

EVERYTHING = ("raw_price_level", "tse_ticks")


def names(spec: FeaturesSpec, missing: dict[str, str] | None = None) -> list[str]:
    return [feature.name for feature in select(CATALOG, spec, missing or {})]


def test_a_market_that_offers_everything_misses_nothing() -> None:
    assert missing_features(CATALOG, EVERYTHING, {}) == {}
    assert names(FeaturesSpec()) == [feature.name for feature in CATALOG]


def test_a_split_adjusted_market_loses_level_features_by_name() -> None:
    missing = missing_features(CATALOG, (), {})
    made_of_prices = {feature.name for feature in CATALOG if not feature.feeds}
    assert set(missing) & made_of_prices == {"tick_rel", "adv_sh_20"}
    assert {"ssp_to_adv", "margin_long_adv", "margin_short_adv"} <= set(missing)
    assert not {"ret_1", "ssp_total", "margin_imbalance", "sector_short_ratio"} & set(missing)
    assert "as they were traded" in missing["tick_rel"]
    left = names(FeaturesSpec(), missing)
    assert len(left) == len(CATALOG) - len(missing)
    assert "tick_rel" not in left


def test_a_market_without_a_feed_loses_what_is_made_of_it_and_hears_why() -> None:
    missing = missing_features(CATALOG, EVERYTHING, {"margin": "the plan is too narrow"})
    assert set(missing) == {feature.name for feature in CATALOG if "margin" in feature.feeds}
    assert {"margin_imbalance", "margin_long_adv"} <= set(missing)
    assert missing["margin_imbalance"] == (
        "needs the feed 'margin', which is off: the plan is too narrow"
    )
    with pytest.raises(SpecError, match="'margin_imbalance' needs the feed 'margin'"):
        names(FeaturesSpec(names=("margin_imbalance",)), missing)


def test_a_family_that_is_named_does_not_go_without_what_a_feed_costs_it() -> None:
    missing = missing_features(CATALOG, EVERYTHING, {"earnings_dates": "no such table"})
    ways = dict.fromkeys(missing, "put the table there")
    spec = FeaturesSpec(families=("fund",))
    with pytest.raises(
        SpecError,
        match=r"'fund' with fund_sessions_to_report needs the feed 'earnings_dates', which is off: "
        r"no such table; put the table there; or take it out .*without = ",
    ):
        select(CATALOG, spec, missing, ways)
    left = select(CATALOG, FeaturesSpec(families=("fund",), without=tuple(missing)), missing, ways)
    assert len(left) == sum(f.family == "fund" for f in CATALOG) - 1
    # What the market cannot have for another reason, a family goes without.
    assert select(CATALOG, spec, missing) == left


def test_families_and_single_names_add_up_in_the_catalogues_order() -> None:
    got = names(FeaturesSpec(families=("trading",), names=("ret_1",), without=("stale",)))
    assert got == ["ret_1", "n_stale_20", "limit_up_20", "limit_dn_20", "tick_rel"]
    assert names(FeaturesSpec(names=("beta_60", "ret_5"))) == ["ret_5", "beta_60"]


def test_a_feature_that_the_market_cannot_have_is_refused_by_name() -> None:
    missing = missing_features(CATALOG, (), {})
    with pytest.raises(SpecError, match="'tick_rel' needs prices"):
        names(FeaturesSpec(names=("tick_rel",)), missing)


def test_a_family_that_the_market_cannot_have_is_refused_by_name() -> None:
    missing = {f.name: "needs a feed that is off" for f in CATALOG if f.family == "risk"}
    with pytest.raises(SpecError, match="all of 'risk' needs a feed that is off"):
        names(FeaturesSpec(families=("risk",)), missing)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (FeaturesSpec(names=("ret_4",)), "features.names: there is no 'ret_4'"),
        (FeaturesSpec(families=("prices",)), "features.families: there is no 'prices'"),
        (FeaturesSpec(without=("x",)), "features.without: there is no 'x'"),
        (FeaturesSpec(names=("ret_1",), without=("ret_1",)), "leaves no feature"),
    ],
)
def test_what_does_not_exist_is_refused(spec: FeaturesSpec, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        names(spec)
