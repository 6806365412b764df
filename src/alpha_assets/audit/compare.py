"""Two versions of one table, cell by cell and bit by bit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl


@dataclass(frozen=True)
class Difference:
    """The first cell that is not the same on both sides."""

    stage: str
    session: str
    symbol: str
    column: str
    here: str
    there: str

    def __str__(self) -> str:
        """Return the cell and both of its values."""
        return (
            f"{self.stage} {self.session} {self.symbol} {self.column}: "
            f"{self.here} became {self.there}"
        )


@dataclass(frozen=True)
class Comparison:
    """How many cells of a stage were compared, and how many differ."""

    stage: str
    cells: int
    changed: int
    first: Difference | None


def compare_tables(
    stage: str,
    here: pl.DataFrame,
    there: pl.DataFrame,
    key: Sequence[str],
    skip: Sequence[str] = (),
) -> Comparison:
    """Return how two tables differ; a row that only one side has differs in every column.

    Args:
        stage: what the tables are.
        here: the baseline.
        there: the other world.
        key: what names a row; the first two columns are session and symbol.
        skip: columns left out.
    """
    columns = [name for name in here.columns if name not in (*key, *skip)]
    missing = [name for name in columns if name not in there.columns]
    assert not missing, f"{stage}: the other side has no column {missing}"
    both = here.select(*key, *columns).join(
        there.select(*key, *columns),
        on=list(key),
        how="full",
        suffix="\u2032",
        coalesce=True,
        maintain_order="left_right",
    )
    in_here = here.select(key).with_columns(_here=pl.lit(True))
    in_there = there.select(key).with_columns(_there=pl.lit(True))
    sides = both.select(key).join(in_here, on=list(key), how="left", maintain_order="left")
    sides = sides.join(in_there, on=list(key), how="left", maintain_order="left")
    alone = (sides["_here"].is_null() | sides["_there"].is_null()).to_numpy()
    changed = np.zeros((both.height, len(columns)), dtype=bool)
    for place, name in enumerate(columns):
        changed[:, place] = alone | ~_same_bits(both[name], both[f"{name}\u2032"])
    rows = np.flatnonzero(changed.any(axis=1))
    first = None
    if len(rows):
        order = both.select(key).with_row_index().filter(pl.Series(changed.any(axis=1)))
        row = int(order.sort(key).item(0, "index"))
        name = columns[int(np.flatnonzero(changed[row])[0])]
        cell = both.row(row, named=True)
        first = Difference(
            stage=stage,
            session=str(cell[key[0]]),
            symbol=str(cell[key[1]]) if len(key) > 1 else "",
            column=name,
            here=_shown(cell[name], row_is_there=bool(sides["_here"][row])),
            there=_shown(cell[f"{name}\u2032"], row_is_there=bool(sides["_there"][row])),
        )
    return Comparison(stage, changed.size, int(changed.sum()), first)


def compare_weights(month: str, here: Mapping[str, Any], there: Mapping[str, Any]) -> Comparison:
    """Return how two sets of weights differ, tensor by tensor; names are `seed=0/encoder.weight`.

    Args:
        month: of the checkpoint.
        here: the baseline's arrays by name.
        there: the other world's.
    """
    cells = changed = 0
    first = None
    for name in sorted({*here, *there}):
        one, other = here.get(name), there.get(name)
        if one is None or other is None or one.shape != other.shape:
            size = max(
                np.size(one) if one is not None else 0, np.size(other) if other is not None else 0
            )
            cells, changed = cells + size, changed + size
            words = [str(None if side is None else side.shape) for side in (one, other)]
            first = first or Difference("checkpoint", month, "", name, *words)
            continue
        bits = np.ascontiguousarray(one).view(np.uint8) != np.ascontiguousarray(other).view(
            np.uint8
        )
        differing = bits.reshape(one.size, -1).any(axis=1)
        cells, changed = cells + one.size, changed + int(differing.sum())
        if differing.any() and first is None:
            at = int(np.flatnonzero(differing)[0])
            values = (repr(side.reshape(-1)[at].item()) for side in (one, other))
            first = Difference("checkpoint", month, "", f"{name}[{at}]", *values)
    return Comparison("checkpoint", cells, changed, first)


def merged(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return one comparison per stage, in the order in which stages first appear."""
    found: dict[str, Comparison] = {}
    for one in comparisons:
        known = found.get(one.stage)
        found[one.stage] = (
            one
            if known is None
            else Comparison(
                one.stage,
                known.cells + one.cells,
                known.changed + one.changed,
                known.first or one.first,
            )
        )
    return list(found.values())


def until(frame: pl.DataFrame, cut: date) -> pl.DataFrame:
    """Return the rows of decision sessions up to the cut."""
    return frame.filter(pl.col("session") <= cut)


def _same_bits(one: pl.Series, other: pl.Series) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which cells are the same: equal bits for floats, both null, or equal values."""
    if one.dtype in (pl.Float32, pl.Float64):
        unsigned = np.uint32 if one.dtype == pl.Float32 else np.uint64
        bits = [side.fill_null(0.0).to_numpy().view(unsigned) for side in (one, other)]
        nulls = [side.is_null().to_numpy() for side in (one, other)]
        return np.asarray((bits[0] == bits[1]) & (nulls[0] == nulls[1]))
    return np.asarray(one.eq_missing(other).to_numpy())


def _shown(value: object, *, row_is_there: bool) -> str:
    return repr(value) if row_is_there else "(no row)"
