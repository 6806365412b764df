"""What stored rows hold on some axes, as arrays, before it becomes tensors.

Shape letters: D sessions, N symbols, F features, H horizons, M market-wide series, R rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from alpha_assets.arrays.places import codes, places_on
from alpha_assets.arrays.types import Array, Array32, Index, Mask
from alpha_assets.dataset.axes import Axes
from alpha_assets.errors import BadInput, MissingOutput

# Returns of the tradable names of each session (NaN elsewhere) and their sector codes in;
# what the loss should fit out, NaN where it should fit nothing.
TargetTransform = Callable[[Array, Index], Array]


@dataclass(frozen=True, eq=False)
class Cells:
    """What cross-sections hold on some axes, before it becomes tensors.

    Attributes:
        x_DNF: features; 0 where there is no universe row.
        valid_DN: there is a universe row.
        tradable_DN: there is a bar at D-1; anything where there is no universe row.
        sector_DN: place in the month's list of sectors, from 1; 0 = unknown.
        market_DM: market-wide series, 0 on sessions without rows.
    """

    x_DNF: Array32
    valid_DN: Mask
    tradable_DN: Mask
    sector_DN: Index
    market_DM: Array32

    @classmethod
    def of(cls, cross_section: pl.DataFrame, axes: Axes, tradable: pl.DataFrame) -> "Cells":
        """Return the cells of rows; see `Dataset.build`."""
        d, n, rows = places_in(cross_section, axes, "cross_section")
        refuse_duplicates(d * len(axes.symbols) + n, rows, "cross_section")
        shape_DN = (len(axes.sessions), len(axes.symbols))
        valid_DN = np.zeros(shape_DN, dtype=bool)
        valid_DN[d, n] = True
        tradable_DN = np.zeros(shape_DN, dtype=bool)
        tradable_DN[places_in(tradable, axes, "tradable")[:2]] = True
        sector_DN = np.zeros(shape_DN, dtype=np.int64)
        sector_DN[d, n] = codes(rows["sector"], axes.known_sectors) + 1
        market_DM = np.zeros((shape_DN[0], len(axes.market_features)), dtype=np.float32)
        for m, name in enumerate(axes.market_features):
            market_DM[d, m] = _finite(rows, name)
        return cls(features_on(rows, axes, d, n), valid_DN, tradable_DN, sector_DN, market_DM)


def on_axes(frame: pl.DataFrame, column: str, axes: Axes) -> Array:
    """Return a column of `session`, `symbol` rows as [D, N], NaN where there is no value.

    Raises:
        BadInput: duplicate rows.
    """
    d, n, rows = places_in(frame, axes, column)
    refuse_duplicates(d * len(axes.symbols) + n, rows, column)
    value_DN = np.full((len(axes.sessions), len(axes.symbols)), np.nan)
    value_DN[d, n] = rows[column].cast(pl.Float64).fill_null(np.nan).to_numpy()
    return value_DN


def places_in(frame: pl.DataFrame, axes: Axes, table: str) -> tuple[Index, Index, pl.DataFrame]:
    """Return session place, symbol place and the rows themselves, of the rows on the axes."""
    missing = [name for name in ("session", "symbol") if name not in frame.columns]
    if missing:
        raise MissingOutput(f"{table} has no column {missing[0]!r}; it has {frame.columns}")
    session = frame["session"].cast(pl.Date).to_numpy().astype("datetime64[D]")
    d = places_on(axes.sessions, session)
    n = codes(frame["symbol"], axes.symbols)
    on_axes = (d >= 0) & (n >= 0)
    if on_axes.all():
        return d, n, frame
    return d[on_axes], n[on_axes], frame.filter(pl.Series(on_axes))


def refuse_duplicates(cell: Index, rows: pl.DataFrame, table: str) -> None:
    """Refuse two rows in one cell of the axes."""
    order = np.sort(cell, kind="stable")
    twice = order[1:][order[1:] == order[:-1]]
    if len(twice):
        key = rows.select("session", "symbol").row(int(np.flatnonzero(cell == twice[0])[0]))
        raise BadInput(
            f"{len(twice)} rows of {table} share (session, symbol), first {key}; "
            "each is unique: rebuild the stage"
        )


def column32(rows: pl.DataFrame, name: str) -> Array32:
    """Return a column as Float32, NaN where it is null."""
    if name not in rows.columns:
        raise MissingOutput(f"cross_section has no column {name!r}; rebuild it with that feature")
    return np.asarray(rows[name].cast(pl.Float32).fill_null(float("nan")).to_numpy())


def not_finite(name: str, n_bad: int, first: tuple[date, str]) -> BadInput:
    """Return the refusal of a column with values that are no finite numbers."""
    return BadInput(
        f"cross_section.{name} is null or not finite in {n_bad} rows, first {first}; "
        "the cross-section stage writes 0 where a value is missing"
    )


def _finite(rows: pl.DataFrame, name: str) -> Array32:
    """Return a column as Float32, refusing what is not a finite number."""
    value_R = column32(rows, name)
    bad = ~np.isfinite(value_R)
    if bad.any():
        raise not_finite(name, int(bad.sum()), rows.filter(bad).select("session", "symbol").row(0))
    return value_R


def features_on(rows: pl.DataFrame, axes: Axes, d: Index, n: Index) -> Array32:
    """Return [D, N, F], 0 where there is no row; written once, one column at a time."""
    shape = (len(axes.sessions), len(axes.symbols), len(axes.features))
    x_DNF = np.zeros(shape, dtype=np.float32)
    flat = x_DNF.reshape(-1, len(axes.features))
    block = np.empty((rows.height, len(axes.features)), dtype=np.float32)
    for f, name in enumerate(axes.features):
        block[:, f] = _finite(rows, name)
    flat[d * len(axes.symbols) + n] = block
    return x_DNF


def returns_on(labels: pl.DataFrame | None, axes: Axes) -> Array:
    """Return forward returns [D, N, H], NaN where unknown."""
    shape = (len(axes.sessions), len(axes.symbols), len(axes.horizons))
    return_DNH = np.full(shape, np.nan)
    if labels is None:
        return return_DNH
    for h, horizon in enumerate(axes.horizons):
        of_horizon = labels.filter(pl.col("horizon") == horizon)
        if not of_horizon.height:
            raise MissingOutput(f"labels have no rows of horizon {horizon}; build them")
        d, n, rows = places_in(of_horizon, axes, "labels")
        refuse_duplicates(d * shape[1] + n, rows, f"labels of horizon {horizon}")
        label = rows["label"].cast(pl.Float64)
        if label.is_infinite().any():
            key = rows.filter(label.is_infinite()).select("session", "symbol").row(0)
            raise BadInput(f"the label of {key} at horizon {horizon} is infinite; check its open")
        return_DNH[d, n, h] = label.fill_null(np.nan).to_numpy()
    return return_DNH


def targets_on(
    return_DNH: Array,
    mask_DN: Mask,
    sector_DN: Index,
    transform: TargetTransform | None,
) -> Array32:
    """Return what the loss fits: per session, from the names that may be traded alone."""
    target_DNH = np.where(mask_DN[..., None], return_DNH, np.nan)
    if transform is not None:
        for h in range(target_DNH.shape[-1]):
            target_DNH[..., h] = transform(np.ascontiguousarray(target_DNH[..., h]), sector_DN)
    return target_DNH.astype(np.float32)
