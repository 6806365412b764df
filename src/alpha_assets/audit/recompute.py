"""An explanation computed again from its own contents and the named checkpoint.

The panel comes from the printed raw rows by the book, the features from the printed panel rows,
z-scores from the printed bounds and moments, the score and its attribution from the printed
windows.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import torch

from alpha_assets.audit.attribution import attributed
from alpha_assets.audit.provenance import whose
from alpha_assets.audit.reference_panel import CORE_FEEDS, Book, key_of
from alpha_assets.audit.serialize import frame_of, plain, unpacked_array, unpacked_table
from alpha_assets.audit.why import inputs_of, reads_others, used_features
from alpha_assets.calendar import Calendar
from alpha_assets.config.market import Market, MarketSpec
from alpha_assets.dataset.batch import Batch
from alpha_assets.errors import BadInput, StaleOutput
from alpha_assets.features import compute_features, trailing_z
from alpha_assets.feeds.base import DataType
from alpha_assets.panel.schema import PANEL_SCHEMA
from alpha_assets.pipeline.checkpoint import stored_checkpoint
from alpha_assets.store.folder import Folder
from alpha_assets.store.store import Store
from alpha_assets.training.predict import batch_output
from alpha_assets.training.score_columns import quantile_columns


@dataclass(frozen=True)
class Recomputed:
    """What an explanation comes to.

    Attributes:
        panel: the panel row, as plain values.
        features: value by name, None where unknown; products have none.
        z: what enters the model at the session, by column.
        scores: by horizon, with the quantiles of a model that has them.
        attribution: of the scores, in the form of the explanation.
    """

    panel: dict[str, Any]
    features: dict[str, float | None]
    z: dict[str, float]
    scores: dict[int, dict[str, float]]
    attribution: dict[str, Any]


def recomputed(explanation: Mapping[str, Any]) -> Recomputed:
    """Return an explanation's numbers, from its own words alone.

    Args:
        explanation: as printed, so also after a way through JSON.

    Raises:
        BadInput: the tables of other symbols were left out.
    """
    if explanation["section"]["arrays"] is None:
        raise BadInput(
            f"the explanation of {explanation['symbol']} at {explanation['session']} is a brief "
            "one, without the tables of other symbols; ask again without --brief"
        )
    market = _market(explanation)
    features = _features(explanation, market)
    scores, attribution = _scored(explanation)
    return Recomputed(
        panel=_panel(explanation, market),
        features=features,
        z=_z(explanation, features),
        scores=scores,
        attribution=attribution,
    )


def disagreements(explanation: Mapping[str, Any]) -> list[str]:
    """Return every number of an explanation that is not the one that it comes to, in words."""
    found = recomputed(explanation)
    stored = explanation["panel"]
    odd = [
        f"panel {name}: {stored[name]!r} is stored, its raw rows make {value!r}"
        for name, value in found.panel.items()
        if stored[name] != value
    ]
    for item in explanation["features"]:
        name, column = item["name"], item["column"]
        if item["enters"] != "product" and item["value"] != found.features[name]:
            made = found.features[name]
            odd.append(f"feature {name}: {item['value']!r} is stored, its panel rows make {made!r}")
        if item["z"] != found.z[column]:
            odd.append(f"{column}: {item['z']!r} is stored, {found.z[column]!r} comes out")
        if not item["left_out"] and explanation["window"][column][-1] != item["z"]:
            odd.append(f"{column}: the window ends with {explanation['window'][column][-1]!r}")
    odd += _window_disagrees(explanation)
    for item in explanation["scores"]:
        for name, value in found.scores[item["horizon"]].items():
            if item[name] != value:
                odd.append(
                    f"{name} of horizon {item['horizon']}: {item[name]!r} is stored, the model "
                    f"says {value!r}"
                )
    return odd + _attribution_disagrees(explanation, found.attribution)


def _market(explanation: Mapping[str, Any]) -> Market:
    market = explanation["market"]
    return Market(market["name"], MarketSpec.model_validate_json(json.dumps(market["spec"])))


def _panel(explanation: Mapping[str, Any], market: Market) -> dict[str, Any]:
    """Return the panel row that the printed raw rows make."""
    calendar = market.calendar
    number = int(calendar.index_of(date.fromisoformat(explanation["session"])))
    raw = {
        feed: frame_of(table["rows"], market.feeds[feed].schema)
        for feed, table in explanation["raw"].items()
    }
    core = {feed: raw[feed] for feed in CORE_FEEDS if feed in raw}
    row = Book(market, core, (number,)).core.row(0, named=True)
    for join in market.joins:
        if not {*join.panel_columns} & {*explanation["panel"]}:
            continue  # of a feed that the recipe does not read
        row |= dict.fromkeys(join.panel_columns)
        places = explanation["raw"].get(join.feed, {}).get("joins", {}).get(join.name)
        if not places:
            continue
        key = key_of(join)
        states = Book(market, {join.feed: raw[join.feed][places]}, (number,)).states(join)
        mine = states
        if key is not None:
            mine = states.filter(pl.col(key) == whose(join, explanation["symbol"], row))
        row |= mine.select(join.panel_columns).row(0, named=True)
    return {name: plain(value, calendar.zone) for name, value in row.items()}


def _features(explanation: Mapping[str, Any], market: Market) -> dict[str, float | None]:
    """Return the features that the printed panel rows make."""
    inputs = inputs_of(market)
    by_name = {item.name: item for item in market.choice}
    used = used_features([by_name[item["name"]] for item in explanation["features"]], market)
    others = [item for item in used if reads_others(item, inputs)]
    alone = [item for item in used if item not in others]
    schema: dict[str, DataType] = dict(PANEL_SCHEMA)
    for join in market.joins:
        schema |= dict.fromkeys(join.panel_columns[:-1], pl.Float64)
        schema[join.panel_columns[-1]] = pl.Int16()
    day = date.fromisoformat(explanation["session"])
    own = frame_of(explanation["panel_rows"], schema)
    made: dict[str, float | None] = {}
    tables = [(own, alone)]
    if explanation["panel_of_all"] is not None:
        tables.append((unpacked_table(explanation["panel_of_all"]), others))
    for panel, features in tables:
        span = _span(market.calendar, panel, day)
        rows = compute_features(panel, features, day, day, sessions=span, own=market.own_joins)
        mine = rows.filter(pl.col("symbol") == explanation["symbol"])
        made |= mine.drop("session", "symbol").row(0, named=True)
    return made


def _span(calendar: Calendar, panel: pl.DataFrame, day: date) -> Any:  # noqa: ANN401
    return calendar.between(panel["session"].min(), day)


def _z(explanation: Mapping[str, Any], features: Mapping[str, float | None]) -> dict[str, float]:
    """Return the z-scores that the printed bounds and moments make of the features."""
    made: dict[str, float] = {}
    for item in explanation["features"]:
        if item["enters"] == "across_symbols":
            made[item["column"]] = standardised(features[item["name"]], item)
        elif item["enters"] == "in_time":
            made[item["column"]] = _in_time(item["series"], item["clip"])
    for item in explanation["features"]:
        if item["enters"] == "product":
            product = np.float32(1.0)
            for part in item["parts"]:
                # A part that the recipe does not read by itself stands with the product.
                product *= np.float32(made.get(part, item["part_z"][part]))
            made[item["column"]] = standardised(float(product), item)
    return made


def standardised(x: float | None, by: Mapping[str, Any]) -> float:
    """Return a value winsorised, z-scored and clipped; 0 where it is unknown.

    Args:
        x: the value.
        by: `low`, `high`, `mean`, `sd`, `clip`, and `left_at_0` where no name has a z-score.
    """
    if x is None or by["left_at_0"] is not None:
        return 0.0
    inside = min(max(x, by["low"]), by["high"])
    z = (inside - by["mean"]) / by["sd"]
    return float(np.float32(max(min(z, by["clip"]), -by["clip"]) + 0.0))


def _in_time(series: list[float | None], clip: float) -> float:
    x_D1 = np.array([np.nan if x is None else x for x in series], dtype=np.float64)[:, None]
    z = float(trailing_z(x_D1)[-1, 0])
    return 0.0 if np.isnan(z) else float(np.float32(max(min(z, clip), -clip) + 0.0))


def _window_disagrees(explanation: Mapping[str, Any]) -> list[str]:
    """Return where the symbol's own window is not its place in the arrays of all symbols."""
    section, window = explanation["section"], explanation["window"]
    place = section["symbols"].index(explanation["symbol"])
    x_TF = unpacked_array(section["arrays"]["x_BNTF"])[0, :, place]
    valid_T = unpacked_array(section["arrays"]["valid_BNT"])[0, :, place]
    odd = []
    for f, column in enumerate(section["columns"]):
        if [float(x) for x in x_TF[valid_T, f]] != window[column]:
            odd.append(f"{column}: the window is not what the model sees of the symbol")
    return odd


def _named_checkpoint(explanation: Mapping[str, Any]) -> Folder:
    """Return the folder of the checkpoint that an explanation names.

    Raises:
        StaleOutput: another model lies there by now.
    """
    named = explanation["checkpoint"]
    root, _, name = named["path"].rpartition("/")
    folder = Store(root).folder(name)
    manifest = folder.manifest()
    if manifest is not None and manifest.content_hash != named["content_hash"]:
        raise StaleOutput(
            f"{folder.address} holds the model {manifest.content_hash} by now, the explanation "
            f"names {named['content_hash']}; explain the prediction again"
        )
    return folder


def _attribution_disagrees(explanation: Mapping[str, Any], made: Mapping[str, Any]) -> list[str]:
    """Return which parts of the scores are not those that come out again."""
    stored = explanation["attribution"]
    odd = [
        f"attribution: {name} is {stored[name]!r}, {made[name]!r} comes out"
        for name in ("method", "n_models")
        if stored[name] != made[name]
    ]
    for printed, again in zip(stored["horizons"], made["horizons"], strict=True):
        odd += [
            f"attribution at horizon {again['horizon']}: {name} is {printed[name]!r}, "
            f"{value!r} comes out"
            for name, value in again.items()
            if printed[name] != value
        ]
    return odd


def _scored(explanation: Mapping[str, Any]) -> tuple[dict[int, dict[str, float]], dict[str, Any]]:
    """Return scores and attribution of the named checkpoint for the printed windows."""
    section = explanation["section"]
    device = torch.device(section["device"])
    arrays = {
        name: torch.from_numpy(unpacked_array(packed)).to(device)
        for name, packed in section["arrays"].items()
    }
    checkpoint = stored_checkpoint(_named_checkpoint(explanation), str(device))
    batch = Batch.of(arrays)
    made = batch_output(checkpoint, batch)
    place = section["symbols"].index(explanation["symbol"])
    names = quantile_columns(checkpoint.card.learner.model)
    found = {}
    for h, horizon in enumerate(checkpoint.card.horizons):
        found[horizon] = {"score": float(made.score_NH[place, h])}
        if made.quantile_NHQ is not None:
            values = (float(value) for value in made.quantile_NHQ[place, h])
            found[horizon] |= dict(zip(names, values, strict=True))
    return found, attributed(checkpoint, batch, place, explanation["features"])
