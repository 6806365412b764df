"""Which families of features a recipe needs, and which a market makes for all of its recipes.

The tables `features` and `cross_section` keep one file a family, each fresh or stale by itself: a
recipe makes those that it reads, and no others.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar

from alpha_assets.backtest.rules.optimised import ADV, SPREAD
from alpha_assets.config.market import Market
from alpha_assets.config.recipe import Recipe
from alpha_assets.features import Feature, is_interaction
from alpha_assets.labels import VOLATILITY_SESSIONS

MEMBERS = "members"  # of a cross-section: who is in the universe, and their sector
RETURNS = "ret_1"  # by which a backtest names the regime of a session
# What exposures are measured to: a name for people, and the feature that orders symbols.
FACTORS = {
    "market": "beta_252",
    "momentum": "mom_12_1",
    "reversal": "rev_5",
    "volatility": "vol_c2c_60",
}
# What rules read that weigh a planted drift, beside what the recipe reads: returns, ADV, spread.
WEIGHED_BY = (RETURNS, ADV, SPREAD)
VOLATILITY = f"vol_c2c_{VOLATILITY_SESSIONS}"  # by which the label `vol_scaled` divides

F = TypeVar("F", bound=Feature)


def families_of(features: Iterable[Feature]) -> tuple[str, ...]:
    """Return the families of features, each once."""
    return tuple(dict.fromkeys(feature.family for feature in features))


def within(features: Iterable[F], families: Collection[str] | None) -> tuple[F, ...]:
    """Return the features of some families; None: of all."""
    return tuple(item for item in features if families is None or item.family in families)


def weighs_drift(market: Market) -> bool:
    """Return whether a drift was planted that rules can weigh: it is known in units of return."""
    return market.is_simulated and market.sim.rig is None


def tables_of(market: Market, names: Collection[str]) -> tuple[str, ...]:
    """Return the families of the table `features` that hold these features, in its order."""
    return families_of(item for item in market.catalog if item.name in names)


def behind(features: Iterable[Feature]) -> list[str]:
    """Return what a cross-section of features is made from: themselves, or what they multiply."""
    return [
        name
        for item in features
        for name in (item.inputs if is_interaction(item) else (item.name,))
    ]


def section_columns(features: Iterable[Feature]) -> list[str]:
    """Return the columns of a cross-section that hold features: z-scores, and missing shares."""
    features = list(features)
    return [
        *[f"{item.name}_{'ts' if item.scope == 'market' else 'cs'}_z" for item in features],
        *[f"{family}_missing" for family in families_of(features)],
    ]


def section_families(recipe: Recipe) -> tuple[str, ...]:
    """Return the families of the cross-section that a recipe's model reads."""
    return families_of(recipe.features)


def sections_made(recipe: Recipe) -> tuple[str, ...]:
    """Return those families, and the ones that hold what products multiply: `why` shows them."""
    names = {*behind(recipe.features), *(item.name for item in recipe.features)}
    return families_of(item for item in recipe.market.choice if item.name in names)


def covered_families(recipe: Recipe) -> tuple[str, ...]:
    """Return the families of the table `features` that those are made from."""
    return tables_of(recipe.market, behind(recipe.features))


def feature_families(recipe: Recipe) -> tuple[str, ...]:
    """Return the families of the table `features` that a recipe needs.

    Its model, its label, its portfolio rule and its backtest read them; a family of the
    cross-section is made whole, whichever of its products the model reads.
    """
    market = recipe.market
    made = [
        item
        for item in within(market.choice, sections_made(recipe))
        if item.name not in market.missing_features
    ]
    wanted = [*behind(made), RETURNS, *recipe.spec.portfolio.features]
    if weighs_drift(recipe.market):
        wanted += WEIGHED_BY
    if recipe.spec.label.kind == "vol_scaled":
        wanted.append(VOLATILITY)
    return tables_of(recipe.market, wanted)


def factors_read(recipe: Recipe) -> dict[str, str]:
    """Return those of `FACTORS` that lie in families which the recipe needs anyway."""
    made, market = feature_families(recipe), recipe.market
    offered = {
        item.name
        for item in within(market.catalog, made)
        if item.name not in market.missing_features
    }
    return {name: column for name, column in FACTORS.items() if column in offered}


def families_read(market: Market, recipes: Sequence[Recipe]) -> tuple[str, ...]:
    """Return the families of the table `features` that any of a market's recipes needs.

    Of a market without recipes: all.
    """
    wanted = {family for recipe in recipes for family in feature_families(recipe)}
    return families_of(within(market.catalog, wanted if recipes else None))


def families_covered(market: Market, recipes: Sequence[Recipe]) -> tuple[str, ...]:
    """Return the families of which all is there that they are made from; see `families_read`.

    Of a market without recipes: all, also those that it cannot have.
    """
    if not recipes:
        return families_of(market.choice)
    made = set(families_read(market, recipes))
    read = {family for recipe in recipes for family in section_families(recipe)}
    return families_of(item for item in market.choice if item.family in made | read)


def sections_read(market: Market, universe: str, recipes: Sequence[Recipe]) -> tuple[str, ...]:
    """Return the families of a cross-section that any of a market's recipes reads.

    Of a universe that no recipe trades: those that recipes read of others; of a market without
    recipes: all.
    """
    trading = [item for item in recipes if item.spec.universe.name == universe] or recipes
    wanted = {family for recipe in trading for family in sections_made(recipe)}
    offered = [item for item in market.choice if item.name not in market.missing_features]
    return families_of(within(offered, wanted if recipes else None))
