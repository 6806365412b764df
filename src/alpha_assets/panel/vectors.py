"""The newest vector of each symbol at each session, as of its decision.

Vectors are too wide for the panel.  What is looked up is the row, by the clock alone; the vectors
of the rows that some session knows are read once each.
Shape letters: R rows of the feed, or distinct vectors; L keys wanted; V numbers of a vector.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from alpha_assets.arrays.asof import latest_rows
from alpha_assets.arrays.places import codes
from alpha_assets.arrays.types import Array32, Mask, Places
from alpha_assets.calendar import Calendar
from alpha_assets.errors import BadInput
from alpha_assets.feeds import Feed
from alpha_assets.panel.bars import known_rows, session_numbers
from alpha_assets.panel.lives import Births, side_by_life

ROW = "_row"
HAS = "_has"


@dataclass(frozen=True, eq=False)
class VectorStates:
    """The vector of each key wanted.

    Attributes:
        vector_RV: distinct vectors that some key has, in order of precedence.
        row_L: place of each key's vector; -1 where there is none or it is too old.
    """

    vector_RV: Array32
    row_L: Places

    @property
    def has_L(self) -> Mask:
        """Which keys have a vector."""
        return np.asarray(self.row_L >= 0)


def vector_columns(feed: Feed) -> Mapping[str, int]:
    """Return the columns of a feed that hold vectors, with the length of each."""
    return {c.name: int(c.dtype.shape[0]) for c in feed.values if isinstance(c.dtype, pl.Array)}


def vector_states(
    keys: pl.DataFrame,
    rows: pl.LazyFrame,
    feed: Feed,
    column: str,
    calendar: Calendar,
    max_age: int,
    again: Births = (),
) -> VectorStates:
    """Return the newest vector of each key that was effective at its session.

    Among the rows effective by then the one with the greatest (`event_date`, `available_at`,
    `revision`) counts; a correction from its own effective session on.  A row without a vector
    hides no older one, but a correction that takes a vector back leaves none.

    Args:
        keys: `session`, `symbol` of a life; in any order.
        rows: the feed's raw rows; those that no session can know change nothing.
        feed: whose they are, by symbol.
        column: of vectors.
        calendar: of the market.
        max_age: sessions since a row became effective after which it counts no more.
        again: the lives of symbols after the first, as known at the last session.

    Raises:
        BadInput: a vector that is used holds a number that is not finite.
    """
    width = vector_columns(feed)[column]
    nothing = VectorStates(
        np.zeros((0, width), dtype=np.float32), np.full(keys.height, -1, dtype=np.int32)
    )
    if not keys.height:
        return nothing
    session_L = session_numbers(keys["session"], calendar)
    span = range(int(session_L.min()), int(session_L.max()) + 1)
    numbered = rows.with_row_index(ROW)
    rest = [name for name in feed.key if name not in ("event_date", "symbol")]
    order = ["event_date", "symbol", "available_at", "revision", *rest]
    light = numbered.select(ROW, *order, pl.col(column).is_not_null().alias(HAS))
    light = light.filter(pl.col(HAS) | (pl.col("revision") > 0))
    known = known_rows(side_by_life(light, again, calendar), calendar, span.stop - 1, feed.name)
    known = known.sort(order, maintain_order=True)
    if not known.height:
        return nothing
    effective_R = calendar.effective(known["available_at"].to_numpy())
    symbols = keys["symbol"].cast(pl.String).unique().sort()
    row_DK = latest_rows(effective_R, codes(known["symbol"], symbols), span, len(symbols))
    found_L = row_DK[session_L - span.start, codes(keys["symbol"], symbols)]
    is_fresh_L = (found_L >= 0) & (session_L - effective_R[found_L] <= max_age)
    is_fresh_L &= known[HAS].to_numpy()[found_L]
    used_R = np.unique(found_L[is_fresh_L])
    row_L = np.full(keys.height, -1, dtype=np.int32)
    row_L[is_fresh_L] = np.searchsorted(used_R, found_L[is_fresh_L])
    if not len(used_R):
        return nothing
    wanted = known[ROW][used_R]
    held = numbered.filter(pl.col(ROW).is_in(wanted.unique().implode())).select(ROW, column)
    stored = held.collect().sort(ROW)
    vector_RV = stored[column].to_numpy()[codes_of(stored[ROW], wanted)]
    bad_R = ~np.isfinite(vector_RV).all(axis=1)
    if bad_R.any():
        first = known[used_R[bad_R][:1]].select("event_date", "symbol").row(0)
        raise BadInput(
            f"{int(bad_R.sum())} vectors of {feed.name}.{column} hold a number that is not "
            f"finite, first {first}; deliver them again without it"
        )
    return VectorStates(np.ascontiguousarray(vector_RV, dtype=np.float32), row_L)


def codes_of(sorted_numbers: pl.Series, wanted: pl.Series) -> Places:
    """Return the places of numbers that are all among sorted ones."""
    return np.searchsorted(sorted_numbers.to_numpy(), wanted.to_numpy()).astype(np.int32)
