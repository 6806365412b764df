"""The columns of every table: type, meaning, and the columns that each is made from.

Dagster reads both from the definition: `dagster/column_schema` and `dagster/column_lineage`.  Where
a column is made from many, all of them are named; where only the feed is known, all its values.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import dagster as dg
import polars as pl

from alpha_assets.backtest.portfolio import TARGETS
from alpha_assets.config.market import Market
from alpha_assets.config.recipe import Recipe
from alpha_assets.features import TRAILING, Feature, is_interaction
from alpha_assets.features.edges import EDGE_SCHEMA
from alpha_assets.features.inputs import INPUTS
from alpha_assets.feeds import Feed
from alpha_assets.panel.joins import Join
from alpha_assets.panel.schema import BAR_VALUES, LISTING_VALUES, PANEL_SCHEMA
from alpha_assets.pipeline.families import within
from alpha_assets.pipeline.transforms import offered_choice, offered_features, scale_lookback
from alpha_assets.training.score_columns import predictions_schema, quantile_columns

SHOWN = 6  # columns that a description names as its origin

# Columns of keys and clocks, the same in all tables.
OF_ROWS = {
    "session": "the session that is decided; the row holds what was known before its opening",
    "symbol": "permanent id of the stock; tickers are for display",
    "sector": "sector that the row is about",
    "section": "section of the exchange that the row is about",
    "name": "which one, by name",
    "seller": "who reports the position",
    "client": "for whom it is held, if for another",
    "fund": "the fund that holds it, if one does",
    "event_date": "the day or period end that the row describes",
    "available_at": "instant at which a subscriber could first read the row (UTC)",
    "ingested_at": "instant at which the row was stored (UTC)",
    "revision": "0 as first published; 1 and up: its corrections",
}
OF_PANEL = {
    "adjustment_factor": "product of the factors that became known at this session (ratio)",
    "share_factor": "the same of shares; null where no bar states it (ratio)",
    "cum_factor": "product of all factors known so far; price / cum_factor is adjusted (ratio)",
    "cum_volume_factor": "the same of shares; volume · cum_volume_factor is adjusted (ratio)",
    "late_factors": "factors of earlier ex-sessions that this session learned of",
    "life": "which life of the symbol, by its listings; 0 first (count)",
    "n_bars": "bars so far in this life (count)",
    "stale": "sessions without a bar before this one (count)",
    "in_membership": "a member of the market's list; null where the market has none (flag)",
    "is_halt": "a session announced for the day before was not held (flag)",
}
MADE_OF = {  # columns of the panel that are computed, and those of the bars behind them
    "adjustment_factor": ("adjustment_factor",),
    "share_factor": ("share_factor", "adjustment_factor"),
    "cum_factor": ("adjustment_factor",),
    "cum_volume_factor": ("share_factor", "adjustment_factor"),
    "late_factors": ("adjustment_factor", "share_factor"),
    "n_bars": ("event_date",),
    "stale": ("event_date",),
}
OF_PREDICTIONS = {
    "horizon": "sessions from entry to exit (count)",
    "score": "only its order within a session means anything (unitless)",
    "model_month": "month of the checkpoint that scored, YYYY-MM",
}
OF_QUANTILE = "share of outcomes below, in percent (target units)"
OF_TARGETS = {
    "score": "of the horizon that is traded (unitless)",
    "target_weight": "what to hold, signed (fraction of equity)",
    "reason": "why it is held, or is not",
}
OF_EDGES = {
    "neighbour": "symbol that moves with it",
    "weight": "correlation of residual returns (−1 to 1)",
}
COSTS = {
    "commission": "≥ 0 (money)",
    "spread_cost": "half of the spread, ≥ 0 (money)",
    "impact_cost": "of the order's size against what is traded, ≥ 0 (money)",
}
OF_DAILY = {
    "gross_return": "before costs (fraction)",
    "net_return": "after costs (fraction)",
    "turnover": "one way, ½ Σ|Δw| (fraction)",
    "gross_exposure": "Σ|w| at the close (fraction)",
    "net_exposure": "Σw at the close (fraction)",
    **COSTS,
    "borrow_cost": "fees of the shorts, ≥ 0 (money)",
    "dividends": "received less paid on shorts (money)",
    "cash_interest": "on cash (money)",
    "cash": "at the close (money)",
    "equity": "at the close (money)",
}
OF_POSITIONS = {
    "shares": "held at the close, signed (count)",
    "mark_price": "the close, or the last one restated for splits (money)",
    "market_value": "signed (money)",
    "weight": "signed (fraction of equity)",
    "target_weight": "decided; null where none was set (fraction of equity)",
}
OF_TRADES = {
    "shares": "buys positive (count)",
    "price": "before costs (money)",
    "notional": "buys positive (money)",
    **COSTS,
    "reason": "of the trade, in a word",
}
OF_MARKS = {
    "open": "price of the opening auction (money)",
    "close": "last price (money)",
    "share_ratio": "shares after the session's split for each one before (ratio)",
}
OF_IC = {
    "horizon": "sessions from entry to exit (count)",
    "rank_ic": "Spearman correlation of score and return (−1 to 1)",
    "ic": "Pearson correlation of the two (−1 to 1)",
    "n_pairs": "symbols with both (count)",
}
OF_LEGS = {
    "pnl_gross": "before costs, dividends included (money)",
    "dividends": "received less paid on shorts (money)",
    **COSTS,
    "borrow_cost": "fees of the shorts, ≥ 0 (money)",
    "traded": "Σ|notional| (money)",
    "exposure": "Σw at the close (fraction of equity)",
    "pnl_net": "after costs (money)",
    "gross_return": "before costs (fraction of the book's equity)",
    "net_return": "after costs (fraction of the book's equity)",
    "turnover": "one way (fraction of the book's equity)",
}
OF_NAMES = {
    "pnl_gross": "before costs, of the sessions that count (money)",
    "pnl_net": "after costs (money)",
}
OF_BOOKS = "session whose bar fills the orders"
BOOK_FEEDS = {  # columns of raw rows that money is counted from
    "daily_bars": ("open", "close", "adjustment_factor"),
    "listings": ("exit",),
    "dividends": ("amount",),
    "borrow": ("fee_bps_annual",),
    "rates": ("cash_rate_annual",),
}


@dataclass(frozen=True)
class Columns:
    """The columns of one table.

    Attributes:
        types: by name.
        meanings: by name.
        origins: by name, the columns behind it.
    """

    types: Mapping[str, object]
    meanings: Mapping[str, str]
    origins: Mapping[str, Sequence[dg.TableColumnDep]]

    @classmethod
    def of(
        cls,
        types: Mapping[str, object],
        meanings: Mapping[str, str],
        origins: Mapping[str, Sequence[dg.TableColumnDep]] | None = None,
    ) -> Self:
        """Return columns whose keys and clock mean what they mean in all tables."""
        return cls(types, {**OF_ROWS, **meanings}, origins or {})

    @property
    def schema(self) -> dg.TableSchema:
        """Names, types and meanings; a meaning names its origin where that is short."""
        return dg.TableSchema(
            columns=[
                dg.TableColumn(name, type_words(dtype), description=self._description(name))
                for name, dtype in self.types.items()
            ]
        )

    def _description(self, name: str) -> str | None:
        behind = [dep.column_name for dep in self.origins.get(name, ())]
        meaning = self.meanings.get(name)
        if not meaning or not behind or len(behind) > SHOWN or behind == [name]:
            return meaning
        return f"{meaning}; from {', '.join(f'`{column}`' for column in dict.fromkeys(behind))}"

    @property
    def metadata(self) -> dict[str, Any]:
        """Schema and lineage as an asset's metadata."""
        if not self.origins:
            return {"dagster/column_schema": self.schema}
        lineage = dg.TableColumnLineage({name: list(deps) for name, deps in self.origins.items()})
        return {"dagster/column_schema": self.schema, "dagster/column_lineage": lineage}


def type_words(dtype: object) -> str:
    """Return a type as it is read: `Datetime(UTC)`."""
    return str(dtype).replace("Datetime(time_unit='us', time_zone='UTC')", "Datetime(UTC)")


def columns_of_feed(feed: Feed) -> Columns:
    """Return the columns of a feed's raw rows."""
    return Columns.of(feed.schema, _meanings(feed))


def _meanings(feed: Feed) -> dict[str, str]:
    return {column.name: f"{column.meaning} ({column.unit})" for column in feed.columns}


def columns_of_panel(market: Market) -> Columns:
    """Return the columns of the panel: those of bars and listings, and of the feeds that are on."""
    bars, listings = (market.declared[name] for name in ("daily_bars", "listings"))
    side = {
        column: pl.Int16() if column.endswith("_age") else pl.Float64()
        for join in market.joins
        for column in join.panel_columns
    }
    meanings = {
        **{name: _meanings(bars)[name] for name in BAR_VALUES},
        **{name: _meanings(listings)[name] for name in LISTING_VALUES},
        **OF_PANEL,
    }
    origins = {name: _from(market, "raw/daily_bars", [name]) for name in BAR_VALUES}
    origins |= {name: _from(market, "raw/daily_bars", columns) for name, columns in MADE_OF.items()}
    if "listings" in market.feeds:
        origins |= {name: _from(market, "raw/listings", [name]) for name in LISTING_VALUES}
        origins["life"] = _from(market, "raw/listings", ["event_date", "exit"])
    if "membership" in market.feeds:
        member = [column.name for column in market.declared["membership"].values]
        origins["in_membership"] = _from(market, "raw/membership", member)
    for join in market.joins:
        meanings |= {f"{join.name}_{name}": about for name, about in join.columns.items()}
        meanings[f"{join.name}_age"] = "sessions since the state became known (count)"
        origins |= _of_join(market, join)
    return Columns.of({**PANEL_SCHEMA, **side}, meanings, origins)


def _of_join(market: Market, join: Join) -> dict[str, list[dg.TableColumnDep]]:
    """Return the feed's column of the same name, else all values that the feed has."""
    values = [column.name for column in market.declared[join.feed].values]
    raw = f"raw/{join.feed}"
    found = {
        f"{join.name}_{name}": _from(market, raw, [name] if name in values else values)
        for name in join.columns
    }
    return {**found, f"{join.name}_age": _from(market, raw, ["available_at"])}


def columns_of_features(market: Market, families: Collection[str] | None = None) -> Columns:
    """Return the columns of families of the catalogue; what the market cannot have is empty."""
    off, catalog = market.missing_features, within(market.catalog, families)
    return Columns.of(
        {"session": "Date", "symbol": "String", **dict.fromkeys(_names(catalog), "Float32")},
        {
            f.name: _meaning(f) + (f"; empty: {off[f.name]}" if f.name in off else "")
            for f in catalog
        },
        {
            f.name: _from(market, "panel", panel_columns(f.inputs))
            for f in within(offered_features(market), families)
        },
    )


def _meaning(feature: Feature) -> str:
    return " ".join(filter(None, (feature.about, feature.formula, f"({feature.unit})")))


def _names(features: Sequence[Feature]) -> list[str]:
    return [feature.name for feature in features]


def panel_columns(inputs: Sequence[str]) -> list[str]:
    """Return the columns of the panel that inputs of features are made of."""
    found: dict[str, None] = {}
    for name in inputs:
        known = INPUTS.get(name)
        if known is None:  # of a market's own feed: a column as it is
            found[name] = None
        else:
            found |= dict.fromkeys((*known.columns, *panel_columns(known.inputs)))
    return list(found)


def columns_of_section(
    market: Market, universe: str, families: Collection[str] | None = None
) -> Columns:
    """Return the columns of a cross-section: z-scores, and by family how much was missing."""
    offered = within(offered_choice(market), families)
    by_history = scale_lookback(market.universe(universe)) > 0
    of_symbols = (
        f"the universe's last {TRAILING} sessions" if by_history else "the session's symbols"
    )
    types: dict[str, object] = {"session": "Date", "symbol": "String"}
    meanings: dict[str, str] = {}
    origins: dict[str, list[dg.TableColumnDep]] = {}
    in_time = [f for f in offered if is_compared_in_time(f)]
    alone = [f for f in offered if f not in in_time and not is_interaction(f)]
    products = [f for f in offered if is_interaction(f)]
    for feature in (*alone, *products, *in_time):
        name = _z_column(feature)
        types[name] = "Float32"
        over = f"its own last {TRAILING} sessions" if feature in in_time else of_symbols
        how = "clipped" if by_history and feature in products else f"z-score over {over}"
        meanings[name] = f"{feature.about} ({how})"
        behind = feature.inputs if is_interaction(feature) else [feature.name]
        origins[name] = _from(market, "features", behind)
    for family in dict.fromkeys(feature.family for feature in offered):
        ours = [feature for feature in offered if feature.family == family]
        behind = [part for f in ours for part in (f.inputs if is_interaction(f) else [f.name])]
        types[f"{family}_missing"] = "Float32"
        meanings[f"{family}_missing"] = f"share of the columns of `{family}` without a value"
        origins[f"{family}_missing"] = _from(market, "features", list(dict.fromkeys(behind)))
    types["sector"] = "String"
    meanings["sector"] = "of the symbol, as known at the session"
    origins["sector"] = _from(market, "panel", ["sector"])
    return Columns.of(types, meanings, origins)


def is_compared_in_time(feature: Feature) -> bool:
    """Return whether a feature is equal for all symbols, so that its own past is its scale."""
    return feature.scope == "market" and not is_interaction(feature)


def _z_column(feature: Feature) -> str:
    return f"{feature.name}_{'ts' if is_compared_in_time(feature) else 'cs'}_z"


def columns_of_graph(market: Market) -> Columns:
    """Return the columns of who moves with whom."""
    behind = _from(market, "panel", ["close", "cum_factor", "late_factors"])
    return Columns.of(EDGE_SCHEMA, OF_EDGES, {"weight": behind, "neighbour": behind})


def columns_of_predictions(recipe: Recipe, market: Market) -> Columns:
    """Return the columns of scores; they are made from the recipe's features."""
    read = [_z_column(feature) for feature in recipe.features]
    behind = _from(market, f"cross_section/{recipe.spec.universe.name}", read)
    model = recipe.spec.model
    quantiles = dict.fromkeys(quantile_columns(model), OF_QUANTILE)
    made_of = dict.fromkeys(("score", *quantiles), behind)
    return Columns.of(predictions_schema(model), {**OF_PREDICTIONS, **quantiles}, made_of)


def columns_of_targets(recipe: Recipe, market: Market) -> Columns:
    """Return the columns of what to hold."""
    score = _from(market, f"{recipe.name}/predictions", ["score"])
    held = [*score, *_from(market, "panel", ["shortable"])]
    return Columns.of(TARGETS, OF_TARGETS, {"score": score, "target_weight": held, "reason": held})


def columns_of_books(recipe: Recipe, market: Market, feeds: Sequence[str]) -> dict[str, Columns]:
    """Return the columns of the tables of a backtest, `daily` first.

    Args:
        recipe: whose targets are held.
        market: that they are held on.
        feeds: that the backtest reads.
    """
    targets = _from(market, f"{recipe.name}/targets", ["target_weight"])
    prices = _from(market, "raw/daily_bars", BOOK_FEEDS["daily_bars"])
    raw = [dep for feed in feeds for dep in _from(market, f"raw/{feed}", BOOK_FEEDS[feed])]
    of_feed = {"borrow_cost": "borrow", "dividends": "dividends", "cash_interest": "rates"}

    def table(keys: Sequence[str], meanings: Mapping[str, str], behind: Sequence[Any]) -> Columns:
        types: dict[str, object] = dict.fromkeys(keys, "String")
        types |= {"session": "Date"} if "session" in keys else {}
        words = dict.fromkeys(("reason",), "String") | {"horizon": "Int16", "n_pairs": "Int64"}
        types |= {name: words.get(name, "Float64") for name in meanings}
        of_keys = {"session": OF_BOOKS, "month": "`YYYY-MM`", "leg": "long or short"}
        described = {**{name: of_keys[name] for name in keys if name in of_keys}, **meanings}
        return Columns.of(types, described, {name: list(behind) for name in meanings})

    daily = table(["session"], OF_DAILY, [*targets, *raw])
    own = {
        name: [*targets, *prices, *_from(market, f"raw/{feed}", BOOK_FEEDS[feed])]
        for name, feed in of_feed.items()
        if feed in feeds
    }
    of_costs = {name: [*targets, *prices] for name in (*COSTS, "turnover")}
    both = ["session", "symbol"]
    scores = _from(market, f"{recipe.name}/predictions", ["score"])
    return {
        "daily": Columns.of(daily.types, daily.meanings, {**daily.origins, **own, **of_costs}),
        "positions": table(both, OF_POSITIONS, [*targets, *raw]),
        "trades": table(both, OF_TRADES, [*targets, *prices]),
        "marks": table(both, OF_MARKS, prices),
        "ic": table(["session"], OF_IC, [*scores, *prices]),
        "legs": table(["session", "leg"], OF_LEGS, [*targets, *raw]),
        "names": table(["month", "symbol", "leg"], OF_NAMES, [*targets, *raw]),
    }


def _from(market: Market, asset: str, columns: Sequence[str]) -> list[dg.TableColumnDep]:
    """Return columns of an asset of the market, its key below the market given as a path."""
    key = dg.AssetKey([market.name, *asset.split("/")])
    return [dg.TableColumnDep(asset_key=key, column_name=name) for name in columns]
