"""Why a symbol has its score: from the raw rows that were known to the model's answer.

All of it is plain values, and all of it can be computed again from them; see `recompute`.
Shape letters: T sessions of a window, F columns, N symbols of the section.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date
from typing import Any

import numpy as np
import polars as pl

from alpha_assets.arrays.keys import KEYS
from alpha_assets.audit.attribution import attributed
from alpha_assets.audit.not_found import check_asked, why_not
from alpha_assets.audit.provenance import Used, rows_behind
from alpha_assets.audit.serialize import packed_array, packed_table, plain, table_of
from alpha_assets.calendar import as_date, month_of, next_month
from alpha_assets.config.market import Market
from alpha_assets.dataset.batch import Batch
from alpha_assets.features import Feature, is_interaction, max_lookback
from alpha_assets.features.compute import panel_columns
from alpha_assets.features.cross_section import Scale, scales_by_history, section_z
from alpha_assets.features.cross_symbol import Across
from alpha_assets.features.inputs import (
    Input,
    inputs_at,
    joined,
    pools_symbols,
)
from alpha_assets.feeds.flows import SPLICED
from alpha_assets.panel.lives import MARK, plain_symbol
from alpha_assets.panel.universe import UniverseSpec
from alpha_assets.pipeline.checkpoint import checkpoint_stage
from alpha_assets.pipeline.command import run_again
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.families import MEMBERS, feature_families, sections_made
from alpha_assets.pipeline.inputs import component_tables, universe_rows
from alpha_assets.pipeline.market_stages import members_made
from alpha_assets.pipeline.neighbours import stored_edges
from alpha_assets.pipeline.predictions import MonthModel, month_model, scoring_data
from alpha_assets.pipeline.stages import stages_below
from alpha_assets.pipeline.targets import targets_stage
from alpha_assets.pipeline.transforms import (
    market_wide,
    past_of,
    scale_lookback,
    scale_start,
    series_of,
    series_start,
    sessions_back,
)
from alpha_assets.store.table import MonthTable
from alpha_assets.training.card import Card


def explain(context: RecipeContext, symbol: str, session: str) -> dict[str, Any]:
    """Return what the prediction of a symbol at a session was made from, as plain values.

    Args:
        context: with a recipe, whose stored tables are read.
        symbol: by the store's id.
        session: `YYYY-MM-DD`.

    Raises:
        BadInput: no such symbol or session, or no prediction there; the error says why, and
            where there is one.
    """
    day = check_asked(context, symbol, session)
    month = month_of(day)
    model = month_model(context, month)
    checkpoint_stage(context.recipe).require(context, [month])
    scores = _rows(context.predictions, month, month, day, symbol)
    if model.checkpoint is None or not scores.height:
        raise why_not(context, symbol, day, model)
    _check_made(context, month)
    number = int(context.market.calendar.index_of(day))
    zone = context.market.calendar.zone
    panel_row = _rows(context.panel, month, month, day, symbol).row(0, named=True)
    used = used_features(context.recipe.features, context.market)
    decided = context.market.calendar.decisions[number].item()
    context.progress("why", "raw rows behind the panel row")
    feeds = {feed for feature in used for feed in feature.feeds}
    feeds |= {one.feed for one in context.recipe.spec.inputs.named.values()}
    raw = rows_behind(context, symbol, number, panel_row, feeds)
    read = _columns_read(context.market, panel_row, feeds)
    context.progress("why", "features, window and cross-section")
    start = _reach(context, used, day)
    features = _features(context, model, symbol, day)
    batch, symbols = _seen(context, model, day)
    context.progress("why", "attribution of the score")
    attribution = attributed(model.checkpoint, batch, symbols.index(symbol), features)
    return {
        "market": {
            "name": context.market.name,
            "spec": json.loads(context.market.spec.model_dump_json()),
            "zone": zone.key,
        },
        "recipe": {"name": context.recipe.folder, "digest": context.recipe.digest},
        "symbol": symbol,
        "session": day.isoformat(),
        "decided": {
            "utc": f"{decided.isoformat()}+00:00",
            "local": plain(decided.replace(tzinfo=UTC), zone),
        },
        "raw": {item.feed: _raw_rows(context, item, start) for item in raw},
        "panel": {name: plain(panel_row[name], zone) for name in read},
        "look_back": {"first": start.isoformat(), "sessions": max_lookback(used)},
        **_panel_rows(context, used, symbol, day, panel_row),
        "features": features,
        "window": _window(context, model, symbol, day),
        "inputs": _inputs(context, model),
        "section": _section(context, model.checkpoint.card, batch, symbols),
        "checkpoint": _named(context, model, month),
        "scores": scores.drop("session", "symbol", "model_month").to_dicts(),
        "attribution": attribution,
        "target": _target(context, symbol, day),
    }


def _columns_read(
    market: Market, panel_row: Mapping[str, Any], feeds: Collection[str]
) -> tuple[str, ...]:
    """Return the columns of a panel row that do not come from a feed that is not read."""
    unread = {
        name for join in market.joins if join.feed not in feeds for name in join.panel_columns
    }
    return tuple(name for name in panel_row if name not in unread)


def used_features(chosen: Sequence[Feature], market: Market) -> tuple[Feature, ...]:
    """Return the features of the table that a choice is made of, those behind products too."""
    found = {item.name: item for item in chosen if not is_interaction(item)}
    behind = [name for item in chosen if is_interaction(item) for name in item.inputs]
    found |= {item.name: item for item in market.catalog if item.name in behind}
    return tuple(found.values())


def reads_others(feature: Feature, inputs: Mapping[str, Input]) -> bool:
    """Return whether a feature of one symbol is made from all symbols."""
    return isinstance(feature, Across) or pools_symbols(feature.inputs, inputs)


def inputs_of(market: Market) -> dict[str, Input]:
    """Return every input that features of a market read."""
    return {
        **inputs_at(market.spec.max_stale),
        **{item.name: item for join in market.own_joins for item in joined(join)},
    }


def _rows(table: MonthTable, first: str, last: str, day: date, symbol: str) -> pl.DataFrame:
    is_it = (pl.col("session") == day) & (pl.col("symbol") == symbol)
    return table.read(first, last).filter(is_it).collect()


def _check_made(context: RecipeContext, month: str) -> None:
    """Refuse tables of the month that other settings, other code or other inputs made."""
    way_out = run_again(context, month)
    for stage in stages_below(context.recipe):
        stage.require(context, [month], way_out=way_out)
    targets_stage(context.recipe).require(context, [month], way_out=way_out)


def _raw_rows(context: RecipeContext, used: Used, start: date) -> dict[str, Any]:
    calendar = context.market.calendar

    def table(rows: pl.DataFrame) -> dict[str, list[Any]]:
        effective = [
            as_date(calendar.sessions[min(number, len(calendar.sessions) - 1)])
            for number in rows["effective"]
        ]
        sessions = pl.Series("effective", effective, dtype=pl.Date)
        return table_of(rows.with_columns(sessions), calendar.zone)

    near = used.rows.filter(pl.col("event_date") >= start)
    within = near if used.feed == "daily_bars" else used.rows
    return {
        "n_rows": used.rows.height,
        "n_in_look_back": within.height,
        "rows": table(used.rows),
        "joins": used.joins,
        "n_later": used.later.height,
        "later": table(used.later),
    }


def _panel_rows(
    context: RecipeContext,
    used: Sequence[Feature],
    symbol: str,
    day: date,
    panel_row: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the panel rows that the features look at: the symbol's own, and others' where read."""
    inputs = inputs_of(context.market)
    alone = [item for item in used if not reads_others(item, inputs)]
    others = [item for item in used if reads_others(item, inputs)]
    own = _span(context, alone, day, panel_columns(alone, inputs))
    own = own.filter(pl.col("symbol").is_in([symbol]) | _carries(own, symbol, panel_row, alone))
    whole = _span(context, others, day, panel_columns(others, inputs)) if others else None
    return {
        "panel_rows": table_of(own, context.market.calendar.zone),
        "panel_of_all": None if whole is None else packed_table(whole),
    }


def _reach(context: RecipeContext, features: Sequence[Feature], day: date) -> date:
    """Return the first panel session that the features of a day look back to."""
    return sessions_back(context.market.calendar, day, max_lookback(features) - 1)


def _span(
    context: RecipeContext, features: Sequence[Feature], day: date, columns: list[str]
) -> pl.DataFrame:
    first = _reach(context, features, day)
    rows = context.panel.read(month_of(first), month_of(day), columns=columns)
    return rows.filter(pl.col("session").is_between(first, day)).collect()


def _carries(
    rows: pl.DataFrame, symbol: str, panel_row: Mapping[str, Any], features: Sequence[Feature]
) -> pl.Expr:
    """Return which rows of other symbols say what a sector, section or the market was.

    They are needed where the symbol itself was not there, or in another sector.
    """
    spliced = pl.col("market_segment").replace_strict(SPLICED, default=None, return_dtype=pl.String)
    known_of = {
        "sector": _is(pl.col("sector"), panel_row["sector"]),
        "section": _is(spliced, SPLICED.get(str(panel_row["market_segment"]))),
        "market": pl.lit(True),
    }
    wanted = pl.lit(False)
    for scope in sorted({item.scope for item in features} - {"symbol"}):
        known = known_of[scope]
        is_own = pl.col("symbol") == symbol
        lacks_own = ~(known & is_own).fill_null(False).any().over("session")
        first = pl.col("symbol") == pl.col("symbol").filter(known).first().over("session")
        wanted |= (lacks_own & known & first).fill_null(False)
    return wanted


def _is(value: pl.Expr, wanted: str | None) -> pl.Expr:
    """Return where `value` is what is wanted; where that is unknown, no row is."""
    return pl.lit(False) if wanted is None else value == wanted


def _features(
    context: RecipeContext, model: MonthModel, symbol: str, day: date
) -> list[dict[str, Any]]:
    assert model.checkpoint is not None
    left_out = model.checkpoint.card.left_out
    month = month_of(day)
    recipe, market = context.recipe, context.market
    values = context.features.read(month, month).filter(pl.col("session") == day).collect()
    tables = context.section.only((MEMBERS, *sections_made(context.recipe)))
    section = tables.read(month, month).filter(pl.col("session") == day).collect()
    keys = section.select(KEYS)
    values_N = keys.join(values, on=KEYS, how="left", maintain_order="left")
    place = int(np.flatnonzero((section["symbol"] == symbol).to_numpy())[0])
    series = _series(context, day)
    rules = market.universe(recipe.spec.universe.name)
    scales = _scales(context, day)
    entries = []
    for item in recipe.features:
        about = {
            "name": item.name,
            "family": item.family,
            "unit": item.unit,
            "about": item.about,
            "formula": item.formula,
            "look_back": item.lookback,
            "scope": item.scope,
        }
        if is_interaction(item):
            parts = [_column_of(name, series) for name in item.inputs]
            x_N = np.ones(section.height, dtype=np.float32)
            for part in parts:
                x_N *= section[part].to_numpy()
            column = f"{item.name}_cs_z"
            entry: dict[str, Any] = {"value": None, "enters": "product", "parts": parts}
            entry["part_z"] = {part: section[part][place] for part in parts}
            entry |= _standardised(x_N, rules) if scales is None else _clipped(x_N, rules)
        elif item.scope == "market":
            column = f"{item.name}_ts_z"
            entry = {"value": values_N[item.name][place], "enters": "in_time"}
            entry |= {"series": series[item.name].to_list(), "clip": rules.clip}
        else:
            column = f"{item.name}_cs_z"
            x_N = values_N[item.name].fill_null(np.nan).to_numpy()
            entry = {"value": values_N[item.name][place], "enters": "across_symbols"}
            entry |= _standardised(x_N, rules, None if scales is None else scales[item.name])
        entry |= {"column": column, "z": section[column][place], "left_out": column in left_out}
        entries.append({**about, **entry})
    return entries


def _column_of(name: str, series: pl.DataFrame) -> str:
    return f"{name}_ts_z" if name in series.columns else f"{name}_cs_z"


def _scales(context: RecipeContext, day: date) -> dict[str, Scale] | None:
    """Return what z-scores of each feature are made with; None where it is the session alone."""
    market, universe = context.market, context.recipe.spec.universe.name
    rules = market.universe(universe)
    if not scale_lookback(rules):
        return None
    start = scale_start(market, rules, day)
    past = past_of(market, rules, members_made(context, rules, start, day), day)
    assert past is not None, "the symbol is in the universe"
    names = [
        item.name
        for item in context.recipe.features
        if not is_interaction(item) and item.scope != "market"
    ]
    rows = context.features.read(month_of(start), month_of(day), [*KEYS, *names])
    known = rows.filter(pl.col("session").is_between(start, day)).collect()
    found = scales_by_history(known, names, rules, past).at(np.datetime64(day))
    return {
        name: Scale(found.mean_F[f : f + 1], found.sd_F[f : f + 1]) for f, name in enumerate(names)
    }


def _clipped(x_N: Any, rules: UniverseSpec) -> dict[str, Any]:  # noqa: ANN401
    """Return what a product of z-scores by history was made with: it is clipped alone."""
    bounds = {"low": -rules.clip, "high": rules.clip, "mean": 0.0, "sd": 1.0}
    about = {"clip": rules.clip, "scale": rules.scale, "left_at_0": None}
    return {"n_names": len(x_N), **bounds, **about}


def _standardised(
    x_N: Any,  # noqa: ANN401
    rules: UniverseSpec,
    scale: Scale | None = None,
) -> dict[str, Any]:
    """Return what the z-scores of one feature in one session were made with."""
    made = section_z(np.asarray(x_N, dtype=np.float32)[None], rules, scale)
    thin, constant = bool(made.is_thin_F[0]), bool(made.is_constant_F[0])
    known = None if thin else float(made.mean_F[0])
    left_at_0 = "too few known names" if thin else "all values equal" if constant else None
    if left_at_0 is None and not made.sd_F[0] > 0:
        left_at_0 = "no spread"
    return {
        "n_names": int(made.count_F[0]),
        "low": None if thin else float(made.low_F[0]),
        "high": None if thin else float(made.high_F[0]),
        "mean": known,
        "sd": None if thin else float(made.sd_F[0]),
        "clip": rules.clip,
        "scale": rules.scale,
        "left_at_0": left_at_0,
    }


def _series(context: RecipeContext, day: date) -> pl.DataFrame:
    """Return the market-wide features of the sessions that a z-score in time looks at."""
    families = feature_families(context.recipe)
    begin = series_start(context.market, day, families)
    wide = [item.name for item in market_wide(context.market, families)]
    features = context.features.read(month_of(begin), month_of(day), ["session", *wide])
    series = features.filter(pl.col("session").is_between(begin, day)).collect()
    return series_of(context.market, series, begin, day, families)


def _window(context: RecipeContext, model: MonthModel, symbol: str, day: date) -> dict[str, Any]:
    """Return what the model sees of the symbol itself, session by session."""
    assert model.checkpoint is not None
    card = model.checkpoint.card
    first = sessions_back(context.market.calendar, day, card.learner.window.sessions_before)
    columns = ["session", "symbol", *card.section_columns, *card.market_features]
    rows = context.section.read(month_of(first), month_of(day), columns=columns)
    is_it = pl.col("session").is_between(first, day) & (pl.col("symbol") == symbol)
    own = rows.filter(is_it).collect()
    for made in component_tables(context, model.checkpoint, universe_rows(context, first, day)):
        mine = made.with_columns(plain_symbol(pl.col("symbol"))).filter(is_it)
        own = own.join(mine, on=KEYS, how="left", maintain_order="left")
    return table_of(own.drop("symbol"), context.market.calendar.zone)


def _inputs(context: RecipeContext, model: MonthModel) -> dict[str, Any]:
    """Return what the model's inputs beside its features were made of, by name."""
    assert model.checkpoint is not None
    return {name: one.model_dump(mode="json") for name, one in model.checkpoint.card.inputs.items()}


def _seen(context: RecipeContext, model: MonthModel, day: date) -> tuple[Batch, list[str]]:
    """Return the batch of the model's one forward pass, and its symbols."""
    assert model.checkpoint is not None
    window = model.checkpoint.card.learner.window
    decided = context.market.calendar.between(day, day)
    first = sessions_back(context.market.calendar, day, window.sessions_before)
    section = context.section.read(month_of(first), month_of(day)).collect()
    columns = [*KEYS, "stale", "life"]
    panel = context.panel.read(month_of(first), month_of(day), columns=columns).collect()
    edges = stored_edges(context, decided)
    data = scoring_data(context, model.checkpoint, section, panel, decided, edges)
    batch, symbols = data.cross_section(decided[0], window.sequence)
    return batch, [symbol.partition(MARK)[0] for symbol in symbols]


def _section(
    context: RecipeContext, card: Card, batch: Batch, symbols: Sequence[str]
) -> dict[str, Any]:
    """Return what the model sees of all symbols: the arrays of its one forward pass."""
    arrays = {name: packed_array(tensor.numpy()) for name, tensor in batch.arrays().items()}
    return {
        "symbols": list(symbols),
        "columns": list(card.features),
        "market_columns": list(card.market_features),
        "device": str(context.on_device),
        "arrays": arrays,
    }


def _named(context: RecipeContext, model: MonthModel, month: str) -> dict[str, Any]:
    assert model.checkpoint is not None
    made_in = model.checkpoint.card.month
    folder = context.checkpoint(made_in)
    manifest = folder.manifest()
    assert manifest is not None, "it was just read"
    return {
        "model_month": made_in,
        "decides": month,
        "path": folder.address,
        "content_hash": manifest.content_hash,
        "train_sessions": [model.checkpoint.card.train_sessions[i] for i in (0, -1)],
        "horizons": list(model.checkpoint.card.horizons),
    }


def _target(context: RecipeContext, symbol: str, day: date) -> dict[str, Any] | None:
    """Return what to hold from the last rebalance at or before the session; None before any."""
    first = next_month(month_of(day), -1)
    stored = [month for month in context.targets.months() if first <= month <= month_of(day)]
    if not stored:
        return None
    rows = context.targets.read(stored[0], stored[-1]).filter(pl.col("session") <= day).collect()
    if not rows.height:
        return None
    rebalanced = rows["session"].max()
    mine = rows.filter((pl.col("session") == rebalanced) & (pl.col("symbol") == symbol))
    held = mine.row(0, named=True) if mine.height else {}
    return {
        "rebalanced": str(rebalanced),
        "at_this_session": rebalanced == day,
        "target_weight": held.get("target_weight"),
        "score": held.get("score"),
        "reason": held.get("reason", "not among the targets of that session"),
    }


def without_others(explanation: Mapping[str, Any]) -> dict[str, Any]:
    """Return an explanation without the tables of other symbols: to be read, not computed with."""
    section = {**explanation["section"], "arrays": None}
    return {**explanation, "section": section, "panel_of_all": None}
