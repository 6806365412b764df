"""Two versions of one table, cell by cell and bit by bit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Mask
from alpha_assets.errors import BadInput

NO_ROW = "(no row)"
NO_VALUE = "(none)"


@dataclass(frozen=True)
class Difference:
    """The first cell that is not the same on both sides."""

    stage: str
    session: str  # of weights: the month
    symbol: str
    column: str
    here: str
    there: str

    def __str__(self) -> str:
        """Return the cell and both of its values."""
        place = " ".join(word for word in (self.session, self.symbol, self.column) if word)
        return f"{self.stage} {place}: {self.here} became {self.there}"


@dataclass(frozen=True)
class Comparison:
    """How many cells of a stage were compared, and how many differ."""

    stage: str
    cells: int
    changed: int
    first: Difference | None
    needed: bool = True  # whether nothing to compare is a fault


def compare_tables(
    stage: str,
    here: pl.DataFrame,
    there: pl.DataFrame,
    key: Sequence[str],
    *,
    needed: bool = True,
) -> Comparison:
    """Return how two tables differ; a row that only one side has differs in every column.

    Floats are the same if their bits are: 0.0 and -0.0 differ, a null and a NaN differ, two
    NaN of the same bits do not.

    Args:
        stage: what the tables are.
        here: the baseline.
        there: the other world.
        key: what names a row: session, symbol, perhaps more.
        needed: whether nothing to compare is a fault.

    Raises:
        BadInput: the sides have other columns or types.
    """
    here, there, columns, alone_R, changed_RC = changed_cells(stage, here, there, key)
    rows = np.flatnonzero(changed_RC.any(axis=1))
    first = None
    if len(rows):
        ordered = here[rows].select(key).with_columns(_row=pl.Series(rows)).sort(key)
        row = int(ordered["_row"][0])
        name = columns[int(np.flatnonzero(changed_RC[row])[0])]
        names = here.select(key).row(row)
        column = " ".join([name, *[f"({k} {v})" for k, v in zip(key[2:], names[2:], strict=True)]])
        first = Difference(
            stage=stage,
            session=str(names[0]),
            symbol=str(names[1]) if len(names) > 1 else "",
            column=column,
            here=NO_ROW if alone_R[1][row] else repr(here[name][row]),
            there=NO_ROW if alone_R[0][row] else repr(there[name][row]),
        )
    return Comparison(stage, changed_RC.size, int(changed_RC.sum()), first, needed)


class Changed(NamedTuple):
    """Two tables on the rows of either, and which of their cells differ."""

    here: pl.DataFrame
    there: pl.DataFrame
    columns: list[str]
    alone_R: tuple[Mask, Mask]  # rows that only `here`, only `there` has
    changed_RC: Mask


def changed_cells(
    stage: str, here: pl.DataFrame, there: pl.DataFrame, key: Sequence[str]
) -> Changed:
    """Return which cells of two tables differ; see `compare_tables`.

    Raises:
        BadInput: the sides have other columns or types.
    """
    if here.schema != there.schema:
        odd = sorted({str(item) for item in set(here.schema.items()) ^ set(there.schema.items())})
        raise BadInput(
            f"{stage}: the two sides have other columns or types, first "
            f"{odd[0] if odd else 'their order'}; both must come from one version of the code"
        )
    columns = [name for name in here.columns if name not in key]
    if here.select(key).equals(there.select(key)):
        alone_R = (np.zeros(here.height, dtype=bool),) * 2
    else:
        here, there, alone_R = _aligned(here, there, key)
    changed_RC = np.zeros((here.height, len(columns)), dtype=bool)
    for c, name in enumerate(columns):
        changed_RC[:, c] = alone_R[0] | alone_R[1] | ~same_bits(here[name], there[name])
    return Changed(here, there, columns, alone_R, changed_RC)


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
        sides = [
            None if side is None else np.asarray(side) for side in (here.get(name), there.get(name))
        ]
        one, other = sides
        if one is None or other is None or one.shape != other.shape or one.dtype != other.dtype:
            size = max(side.size for side in sides if side is not None)
            cells, changed = cells + size, changed + size
            words = ["(none)" if s is None else f"{s.dtype} {s.shape}" for s in sides]
            first = first or Difference("checkpoint", month, "", name, *words)
            continue
        bytes_CB = [
            np.ascontiguousarray(side).reshape(-1, 1).view(np.uint8) for side in (one, other)
        ]
        differs_C = (bytes_CB[0] != bytes_CB[1]).any(axis=1)
        cells, changed = cells + one.size, changed + int(differs_C.sum())
        if differs_C.any() and first is None:
            at = int(np.flatnonzero(differs_C)[0])
            values = [repr(side.reshape(-1)[at].item()) for side in (one, other)]
            first = Difference("checkpoint", month, "", f"{name}[{at}]", *values)
    return Comparison("checkpoint", cells, changed, first)


def compare_facts(
    stage: str, where: str, here: Mapping[str, Any], there: Mapping[str, Any]
) -> Comparison:
    """Return how two trees of plain values differ, leaf by leaf; a NaN equals a NaN.

    Args:
        stage: what they are.
        where: the month or session that they are of.
        here: the baseline's.
        there: the other world's.
    """
    sides = [dict(_leaves(side)) for side in (here, there)]
    names = list(dict.fromkeys([*sides[0], *sides[1]]))
    odd = [
        name
        for name in names
        if repr(sides[0].get(name, NO_VALUE)) != repr(sides[1].get(name, NO_VALUE))
    ]
    first = None
    if odd:
        values = [repr(side[odd[0]]) if odd[0] in side else NO_VALUE for side in sides]
        first = Difference(stage, where, "", odd[0], *values)
    return Comparison(stage, len(names), len(odd), first)


def _leaves(value: object, name: str = "") -> list[tuple[str, object]]:
    """Return the leaves of nested mappings and sequences with their paths; `a.b[2]`."""
    if isinstance(value, Mapping):
        return [
            leaf
            for key, item in value.items()
            for leaf in _leaves(item, f"{name}.{key}" if name else str(key))
        ]
    if isinstance(value, (list, tuple)):
        return [leaf for k, item in enumerate(value) for leaf in _leaves(item, f"{name}[{k}]")]
    return [(name, value)]


def same_bits(one: pl.Series, other: pl.Series) -> Mask:
    """Return which cells are the same: equal bits for floats, both null, or equal values."""
    if one.dtype not in (pl.Float32, pl.Float64):
        return np.asarray(one.eq_missing(other).to_numpy())
    unsigned = np.uint32 if one.dtype == pl.Float32 else np.uint64
    bits = [side.fill_null(0.0).to_numpy().view(unsigned) for side in (one, other)]
    nulls = [side.is_null().to_numpy() for side in (one, other)]
    return np.asarray((bits[0] == bits[1]) & (nulls[0] == nulls[1]))


def _aligned(
    here: pl.DataFrame, there: pl.DataFrame, key: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame, tuple[Mask, Mask]]:
    """Return both sides on the rows of either, and which rows only `here`, only `there` has."""
    keys = pl.concat([here.select(key), there.select(key)]).unique().sort(key)
    wide = [
        keys.join(
            side.with_columns(_is_there=pl.lit(True)),
            on=list(key),
            how="left",
            maintain_order="left",
        )
        for side in (here, there)
    ]
    lacks = [side["_is_there"].is_null().to_numpy() for side in wide]
    return wide[0].drop("_is_there"), wide[1].drop("_is_there"), (lacks[1], lacks[0])
