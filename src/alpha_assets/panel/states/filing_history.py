"""What several documents say together, at each moment at which one of them became known.

Documents about the same thing (a quarter, a forecast year) form a group; the strongest one that
names a number counts for it, so that a document that is silent blanks nothing.
Shape letters: R documents' versions, P (version, moment) pairs, T moments of groups, C columns,
K questions.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from alpha_assets.arrays.asof import at_or_before
from alpha_assets.arrays.types import Index, Mask, Places

SPAN = 1 << 15  # session numbers are below
FOREVER = SPAN - 1
NOTHING = -1


@dataclass(frozen=True, eq=False)
class History:
    """For each group and moment, the version that gives each number.

    Attributes:
        key_T: group · SPAN + moment, ascending.
        source_TC: place of the version, `NOTHING` where none gives the number; one row of
            nothing stands after the last, so that a place of -1 finds nothing.
        before_TC: likewise the version that gave it before that one.
    """

    key_T: Index
    source_TC: Places
    before_TC: Places

    def find(self, group_K: Index, number_K: Index) -> Index:
        """Return the place of a group's last moment by a session; -1 where there is none."""
        if not len(self.key_T):
            return np.full(len(group_K), NOTHING, dtype=np.int64)
        at_K = at_or_before(self.key_T, group_K * SPAN + number_K)
        return np.where((at_K >= 0) & (self.key_T[at_K] // SPAN == group_K), at_K, NOTHING)

    def since(self, group_K: Index) -> Index:
        """Return the session of each group's first moment; the group must have one."""
        if not len(self.key_T):
            return np.zeros(len(group_K), dtype=np.int64)
        at_K = np.searchsorted(self.key_T, group_K * SPAN, side="left")
        return np.asarray(self.key_T[np.minimum(at_K, len(self.key_T) - 1)] % SPAN)


def history(group_R: Index, start_R: Index, stop_R: Index, known_RC: Mask) -> History:
    """Return which numbers each group has at each of its moments.

    Args:
        group_R: number of the group, not negative.
        start_R: session from which a version is known.
        stop_R: session at which the next version replaces it; `FOREVER` where none does.
        known_RC: which numbers a version gives; versions stand in the order in which they take
            precedence, the strongest last.
    """
    group_P, moment_P, place_P, apart_P = _pairs(group_R, start_R, stop_R)
    key_P = group_P * SPAN + moment_P
    new_P = np.append(True, group_P[1:] != group_P[:-1])[: len(key_P)]
    new_P |= apart_P & np.append(True, key_P[1:] != key_P[:-1])[: len(key_P)]
    at_P = np.arange(len(key_P))
    first_P = np.maximum.accumulate(np.where(new_P, at_P, 0))
    last_P = np.append(key_P[1:] != key_P[:-1], True)[: len(key_P)]
    shape = (int(last_P.sum()) + 1, known_RC.shape[1])
    source_TC = np.full(shape, NOTHING, dtype=np.int32)
    before_TC = np.full(shape, NOTHING, dtype=np.int32)
    for c in range(known_RC.shape[1]):
        given_P = np.where(known_RC[place_P, c], at_P, NOTHING)
        given_P = np.maximum.accumulate(given_P)
        given_P = np.where(given_P >= first_P, given_P, NOTHING)
        earlier_P = np.where(given_P > first_P, given_P[np.maximum(given_P - 1, 0)], NOTHING)
        for out_TC, found_P in ((source_TC, given_P), (before_TC, earlier_P)):
            found_T = found_P[last_P]
            out_TC[:-1, c] = np.where(found_T >= 0, place_P[found_T], NOTHING)
    return History(key_P[last_P], source_TC, before_TC)


def running_max(
    symbol_E: Index, number_E: Index, value_E: Index, symbol_K: Index, number_K: Index
) -> Index:
    """Return the greatest value (1 to SPAN - 1) of a symbol's events by a session; 0 without."""
    if not len(symbol_E):
        return np.zeros(len(symbol_K), dtype=np.int64)
    order = np.lexsort((number_E, symbol_E))
    key_E = (symbol_E * SPAN + number_E)[order]
    top_E = np.maximum.accumulate((symbol_E * SPAN + value_E)[order])
    at_K = at_or_before(key_E, symbol_K * SPAN + number_K)
    found_K = (at_K >= 0) & (top_E[at_K] // SPAN == symbol_K)
    return np.where(found_K, top_E[at_K] % SPAN, 0)


def _pairs(group_R: Index, start_R: Index, stop_R: Index) -> tuple[Index, Index, Index, Mask]:
    """Return which version stands at which moment: group, moment, place, and a mark.

    A group whose versions came in their order of precedence and all stayed is listed once, each
    version at its own moment.  The others (marked) are listed again at every moment.
    """
    place_R = np.flatnonzero(start_R < stop_R)
    place_R = place_R[np.argsort(group_R[place_R], kind="stable")]
    group_R, start_R, stop_R = group_R[place_R], start_R[place_R], stop_R[place_R]
    same_R = np.append(False, group_R[1:] == group_R[:-1])[: len(place_R)]
    back_R = same_R & (start_R < np.append(0, start_R[:-1])[: len(place_R)])
    apart_R = np.isin(group_R, group_R[back_R | (stop_R < FOREVER)])
    versions = pl.DataFrame(
        {"group": group_R, "start": start_R, "stop": stop_R, "place": place_R}
    ).filter(pl.Series(apart_R))
    moments = versions.select("group", pl.col("start").alias("moment")).unique()
    repeated = moments.join(versions, on="group").filter(
        (pl.col("start") <= pl.col("moment")) & (pl.col("moment") < pl.col("stop"))
    )
    simple_R = ~apart_R
    group_P = np.append(group_R[simple_R], repeated["group"].to_numpy())
    moment_P = np.append(start_R[simple_R], repeated["moment"].to_numpy())
    place_P = np.append(place_R[simple_R], repeated["place"].to_numpy())
    apart_P = np.append(
        np.zeros(int(simple_R.sum()), dtype=bool), np.ones(repeated.height, dtype=bool)
    )
    order = np.lexsort((place_P, moment_P, group_P))
    return group_P[order], moment_P[order], place_P[order], apart_P[order]
