"""How many cells of each feature a month has filled, of the rows with enough history.

They are counted when the month is made, and kept in its manifest.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date

import polars as pl

from alpha_assets.arrays.keys import KEYS
from alpha_assets.features import Feature, is_interaction

SEASONED = 60  # rows of history after which a symbol should have side feeds' features, too

# A row per feature: whether its columns are stored, the rows with enough history, how many of
# these have a value, and the first and the last session of a row with a value.
CELLS = {
    "month": pl.String,
    "feature": pl.String,
    "present": pl.Boolean,
    "enough": pl.Int64,
    "filled": pl.Int64,
    "first": pl.Date,
    "last": pl.Date,
}

CellsOf = Callable[[str, Sequence[Feature]], pl.DataFrame]  # of a stored month, for these features


def count_cells(
    month: str, rows: pl.LazyFrame, panel: pl.LazyFrame, wanted: Sequence[Feature]
) -> pl.DataFrame:
    """Return how many cells of a month are filled, a row per feature; see `CELLS`.

    A product of two features counts as filled where both of them are: it is made later.

    Args:
        month: counted.
        rows: of its features.
        panel: of the same sessions and symbols, with `n_bars`.
        wanted: features, whether or not `rows` has a column of theirs.
    """
    stored = set(rows.collect_schema().names())
    parts = {feature.name: _columns(feature) for feature in wanted}
    here = {name: all(part in stored for part in names) for name, names in parts.items()}
    needed = sorted({part for name, names in parts.items() if here[name] for part in names})
    history = panel.select(*KEYS, "n_bars")
    counted = (
        rows.select(*KEYS, *needed)
        .join(history, on=list(KEYS), how="left")
        .select(
            [
                *[
                    (pl.col("n_bars") >= n).sum().alias(f"enough {n}")
                    for n in sorted({_history(feature) for feature in wanted})
                ],
                *[
                    expression
                    for feature in wanted
                    if here[feature.name]
                    for expression in _counts(feature, parts[feature.name])
                ],
            ]
        )
        .collect()
        .row(0, named=True)
    )
    made = [
        {
            "month": month,
            "feature": feature.name,
            "present": here[feature.name],
            "enough": counted[f"enough {_history(feature)}"],
            "filled": counted.get(f"filled {feature.name}", 0),
            "first": counted.get(f"first {feature.name}"),
            "last": counted.get(f"last {feature.name}"),
        }
        for feature in wanted
    ]
    return pl.DataFrame(made, schema=CELLS)


def keep_cells(counted: pl.DataFrame, wanted: Sequence[Feature], counted_by: str) -> dict[str, str]:
    """Return counts as a manifest keeps them.

    A text of JSON has one line, where a manifest writes a list over many.  Each entry is named by
    what was counted (columns and least history), so that it answers for that and nothing else.

    Args:
        counted: of one month, a row per feature of `wanted`; see `count_cells`.
        wanted: features that were counted.
        counted_by: digest of the code that counted.
    """
    kept = {
        _counted(feature): [row["enough"], row["filled"], _iso(row["first"]), _iso(row["last"])]
        for feature, row in zip(wanted, counted.iter_rows(named=True), strict=True)
        if row["present"]
    }
    return {"code": counted_by, "cells": json.dumps(kept, separators=(",", ":"))}


def kept_cells(
    kept: Mapping[str, str], month: str, wanted: Sequence[Feature], counted_by: str
) -> pl.DataFrame | None:
    """Return the counts that a month's manifest keeps, a row per feature; see `CELLS`.

    None where other code counted them, or some feature was not counted: then count them all.
    """
    if kept.get("code") != counted_by:
        return None
    entries = json.loads(kept["cells"])
    names = {feature.name: _counted(feature) for feature in wanted}
    if not all(name in entries for name in names.values()):
        return None
    rows = [(month, feature, True, *entries[name]) for feature, name in names.items()]
    texts = {**CELLS, "first": pl.String, "last": pl.String}
    found = pl.DataFrame(rows, schema=texts, orient="row")
    return found.with_columns(pl.col("first", "last").str.to_date("%Y-%m-%d"))


def _columns(feature: Feature) -> tuple[str, ...]:
    """Return the stored columns that must have a value where the feature has one."""
    return feature.inputs if is_interaction(feature) else (feature.name,)


def _counted(feature: Feature) -> str:
    return " ".join((*_columns(feature), str(_history(feature))))


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _history(feature: Feature) -> int:
    """Return the rows of its symbol after which a feature should have a value."""
    return max(feature.lookback, SEASONED) if feature.feeds else feature.lookback


def _counts(feature: Feature, parts: Sequence[str]) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    known = pl.all_horizontal([pl.col(part).is_not_null() for part in parts])
    session = pl.col("session").filter(known)
    return (
        (known & (pl.col("n_bars") >= _history(feature))).sum().alias(f"filled {feature.name}"),
        session.min().alias(f"first {feature.name}"),
        session.max().alias(f"last {feature.name}"),
    )
