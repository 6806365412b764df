"""Facts of a sector, of a section, of the whole market: one series per key, not one per symbol.

A symbol that was listed yesterday has no history of its own; its sector has.  So what is a
fact of the sector is computed on the sector's series and then spread over its symbols.
Shape letters: D sessions, K keys, N symbols.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Array, Dates, Index, Places
from alpha_assets.errors import BadInput
from alpha_assets.features.inputs import Input
from alpha_assets.feeds.base import Scope
from alpha_assets.feeds.flows import SPLICED


@dataclass
class Keys:
    """The keys of a scope, and the panel's columns as one series per key.

    All rows of a key and session hold the same value, since the same join filled them.
    """

    panel: pl.DataFrame
    scope: Scope
    n_sessions: int
    n_keys: int
    day_R: Index
    code_R: Index
    inputs: Mapping[str, Input]
    _made: dict[str, Array] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        panel: pl.DataFrame,
        scope: Scope,
        sessions: Dates,
        inputs: Mapping[str, Input],
        series: Mapping[str, Array] | None = None,
    ) -> "Keys":
        """Return the keys that the panel's rows belong to.

        Args:
            panel: rows of symbols; of the market alone also one row a session.
            scope: of the keys.
            sessions: of the arrays, sorted.
            inputs: that may be asked for.
            series: inputs as [D, 1] that are equal for the whole market and no panel column.
        """
        day_R = np.searchsorted(sessions, panel["session"].to_numpy())
        if scope == "market":
            code_R = np.zeros_like(day_R)
            return cls(panel, scope, len(sessions), 1, day_R, code_R, inputs, dict(series or {}))
        column = "sector" if scope == "sector" else "market_segment"
        if column not in panel.columns:
            raise BadInput(
                f"the panel lacks {column}, which names the {scope} of a symbol; rebuild it"
            )
        word = panel[column].cast(pl.String)
        if scope == "section":
            word = word.replace_strict(SPLICED, default=None, return_dtype=pl.String)
        known = word.drop_nulls().unique().sort()
        code = word.cast(pl.Enum(known)).to_physical().cast(pl.Int64).fill_null(-1)
        n_keys = max(len(known), 1)
        wide = {name: _for_each_key(x_D1, n_keys) for name, x_D1 in (series or {}).items()}
        return cls(panel, scope, len(sessions), n_keys, day_R, code.to_numpy(), inputs, wide)

    def __getitem__(self, name: str) -> Array:
        """Return an input as [D, K]; one that is equal for the whole market in every column."""
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def codes(self, row_DN: Places) -> Index:
        """Return the key of each cell, -1 where there is no row or no key."""
        return np.where(row_DN >= 0, self.code_R[row_DN], -1)

    def spread(self, value_DK: Array, code_DN: Index) -> Array:
        """Return each cell's value of its key."""
        value_DN = np.take_along_axis(value_DK, np.maximum(code_DN, 0), axis=1)
        value_DN[code_DN < 0] = np.nan
        return np.asarray(value_DN)

    def _make(self, name: str) -> Array:
        item = self.inputs[name]
        if item.inputs:
            return item(*[self[other] for other in item.inputs])
        (column,) = item.columns
        if column not in self.panel.columns:
            raise BadInput(
                f"the panel lacks {column}; rebuild it with the feed {item.feeds[0]!r} on"
            )
        value_R = self.panel[column].cast(pl.Float64).to_numpy()
        wide = item.scope == "market"
        code_R = np.zeros_like(self.code_R) if wide else self.code_R
        has_key = code_R >= 0
        value_DK = np.full((self.n_sessions, 1 if wide else self.n_keys), np.nan)
        value_DK[self.day_R[has_key], code_R[has_key]] = value_R[has_key]
        return _for_each_key(value_DK, self.n_keys) if wide else value_DK


def _for_each_key(value_D1: Array, n_keys: int) -> Array:
    """Return a series of the whole market as [D, K]."""
    return np.ascontiguousarray(np.broadcast_to(value_D1, (len(value_D1), n_keys)))
