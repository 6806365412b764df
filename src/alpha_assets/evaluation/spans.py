"""Which of the sessions that were asked for count, and why the others do not.

A session is *undecided* where no model scored any name: before the first decided session, in a
month without a scored session, and in a rebalance period (an ISO week or a month, as the
portfolio trades) without one.  A single session without scores inside a decided period counts:
the book stands as that period's decision has it.

Letters: D sessions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Dates, Index, Mask
from alpha_assets.calendar import RebalanceRule, as_date

Record = dict[str, object]


@dataclass(frozen=True)
class Undecided:
    """A stretch of sessions that was asked for and not decided; it counts in no figure.

    Attributes:
        first_session: of the stretch.
        last_session: of the stretch.
        n_sessions: of the market between them, ends included.
        why: in a sentence without its full stop.
    """

    first_session: date
    last_session: date
    n_sessions: int
    why: str


def is_undecided(sessions: Dates, scored_D: Mask, rule: RebalanceRule) -> Mask:
    """Return which of the sessions asked for are undecided.

    Args:
        sessions: of the market, all that were asked for, sorted.
        scored_D: whether any name has a score.
        rule: when the portfolio rebalances.
    """
    months_D = sessions.astype("datetime64[M]").astype(np.int64)
    # numpy's weeks start on Thursday 1970-01-01; three days later makes them ISO weeks.
    weeks_D = (sessions + np.timedelta64(3, "D")).astype("datetime64[W]").astype(np.int64)
    before_D = np.cumsum(scored_D) == 0
    periods_D = months_D if rule == "monthly" else weeks_D
    return np.asarray(before_D | ~_any(months_D, scored_D) | ~_any(periods_D, scored_D))


def _any(group_D: Index, flag_D: Mask) -> Mask:
    """Return whether any session of each one's group has the flag."""
    return np.isin(group_D, group_D[flag_D])


def stretches(sessions: Dates, undecided_D: Mask, why_D: Sequence[str]) -> tuple[Undecided, ...]:
    """Return neighbours that are undecided for one reason as stretches, in order."""
    found: list[Undecided] = []
    start = 0
    for d in range(1, len(sessions) + 1):
        is_same = (
            d < len(sessions)
            and undecided_D[d] == undecided_D[start]
            and (not undecided_D[d] or why_D[d] == why_D[start])
        )
        if is_same:
            continue
        if undecided_D[start]:
            ends = as_date(sessions[start]), as_date(sessions[d - 1])
            found.append(Undecided(*ends, d - start, why_D[start]))
        start = d
    return tuple(found)


def judged(daily: pl.DataFrame, undecided: Sequence[Undecided]) -> Mask:
    """Return which rows of the daily table count."""
    session = daily["session"]
    counts_D = np.ones(len(daily), dtype=bool)
    for stretch in undecided:
        counts_D &= ~session.is_between(stretch.first_session, stretch.last_session).to_numpy()
    return counts_D


def undecided_records(daily: pl.DataFrame, undecided: Sequence[Undecided]) -> list[Record]:
    """Return each stretch with what the book, held as it stood, earned in it after costs."""
    records: list[Record] = []
    for stretch in undecided:
        ends = stretch.first_session, stretch.last_session
        inside = daily.filter(pl.col("session").is_between(*ends))
        earned = float((inside["net_return"] + 1).product()) - 1 if len(inside) else None
        records.append(
            {
                "first_session": stretch.first_session,
                "last_session": stretch.last_session,
                "n_sessions": stretch.n_sessions,
                "why": stretch.why,
                "net_return": earned,
            }
        )
    return records
