"""What there is of markets, recipes and features, as plain rows and as TOML.

Recipes are imported where they are asked for: `markets` reads none.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from alpha_assets.config.folders import names
from alpha_assets.config.market import Market, load_market
from alpha_assets.errors import AlphaAssetsError
from alpha_assets.features.formulas import formula_of


def markets() -> list[dict[str, Any]]:
    """Return every market: where it reads, its exchange, its universes.

    One whose file cannot be used is a row as well, with the error.
    """
    return _listed("market", "markets", _market_row)


def _market_row(name: str) -> dict[str, Any]:
    market = load_market(name)
    _ = market.calendar  # refused by name where the exchange has none
    spec = market.spec
    return {
        "market": name,
        "source": spec.source.kind,
        "exchange": spec.calendar.exchange,
        "universes": ", ".join(spec.universes),
        "about": spec.about,
    }


def recipes() -> list[dict[str, Any]]:
    """Return every recipe: its model, loss, horizons and markets.

    One whose file cannot be used is a row as well, with the error.
    """
    market = cache(load_market)  # most recipes run on the same few
    return _listed("recipe", "recipes", lambda name: _recipe_row(name, market))


def _recipe_row(name: str, market: Callable[[str], Market]) -> dict[str, Any]:
    from alpha_assets.config.recipe import checked, load_recipe, markets_of, recipe_sizes

    home, *others = markets_of(name)
    recipe = load_recipe(name, market(home))
    row = {
        "recipe": name,
        "model": recipe.spec.model.kind,
        "loss": " + ".join(term.kind for term in recipe.spec.loss),
        "sizes": ", ".join(recipe_sizes(name)),
        "horizons": ", ".join(str(h) for h in recipe.spec.label.horizons),
        "markets": ", ".join(recipe.spec.markets),
        "digest": recipe.digest,
        "about": recipe.spec.about,
    }
    for other in others:
        try:
            checked(replace(recipe, market=market(other), parent=None))
        except AlphaAssetsError as error:
            return {**row, "error": str(error)}
    return row


def _listed(column: str, kind: str, row: Callable[[str], dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row per file; those that cannot be used last, with the column `error`."""
    rows: list[dict[str, Any]] = []
    broken: list[dict[str, Any]] = []
    for name in names(kind):
        try:
            rows.append(row(name))
        except AlphaAssetsError as error:
            broken.append({column: name, "error": str(error)})
    columns = dict.fromkeys(name for found in (*rows, *broken) for name in found)
    if "error" in columns:
        columns["error"] = columns.pop("error")  # last
    return [{name: found.get(name) for name in columns} for found in (*rows, *broken)]


def market_toml(name: str, *, overrides: Sequence[str] = ()) -> str:
    """Return a market's file with every default filled in."""
    from alpha_assets.config.document import as_toml

    return as_toml(load_market(name, overrides=overrides).spec)


def recipe_toml(name: str, *, market: str | None = None, overrides: Sequence[str] = ()) -> str:
    """Return a recipe's file with every default, and the market's costs, filled in."""
    from alpha_assets.config.document import as_toml
    from alpha_assets.config.recipe import load_recipe, markets_of

    loaded = load_market(market or markets_of(name)[0])
    recipe = load_recipe(name, loaded, overrides=overrides)
    return as_toml(recipe.spec.model_copy(update={"costs": recipe.costs}))


def catalog(market: str = "sim") -> list[dict[str, Any]]:
    """Return the catalogue as a market can have it: one row per feature, its formula included.

    `missing` is why the market cannot have a feature, None where it can.
    """
    loaded = load_market(market)
    rows = []
    for feature in loaded.choice:
        rows.append(
            {
                "feature": feature.name,
                "family": feature.family,
                "scope": feature.scope,
                "meaning": feature.about,
                "formula": formula_of(feature).strip("`"),
                "unit": feature.unit,
                "lookback": feature.lookback,
                "inputs": list(feature.inputs),
                "feeds": list(feature.feeds),
                "source": feature.source,
                "missing": loaded.missing_features.get(feature.name),
            }
        )
    return rows
