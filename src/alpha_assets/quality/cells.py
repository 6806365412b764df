"""How many cells of each feature a month has filled, of the rows with enough history."""

from collections.abc import Callable, Sequence

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
    parts = {f.name: f.inputs if is_interaction(f) else (f.name,) for f in wanted}
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
