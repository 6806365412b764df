"""Which sessions a month's model is trained on, and which it is stopped by.

Everything is counted in sessions of the market's calendar.  The purge is by label end: a
label that starts at D with horizon h is known at D + h, and both gaps ask for *strictly
before*, so that no label of one span is known on the first session of the next.
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
from pydantic import Field

from alpha_assets.arrays.types import Dates
from alpha_assets.calendar import Calendar, month_of, next_month
from alpha_assets.dataset.folds import Fold
from alpha_assets.spec import Spec


class SplitSpec(Spec):
    """Declared under `[split]` in a recipe; all lengths are counts of sessions."""

    lookback_sessions: int = Field(default=252, gt=0)
    """Decision sessions that a month is trained on."""
    valid_sessions: int = Field(default=42, ge=0)
    """Decision sessions that stop its training, after the training sessions; 0: none, and a fixed
    number of epochs.
    """
    embargo_sessions: int = Field(default=0, ge=0)
    """Sessions left empty before validation, on top of the purge by label end."""
    min_train_sessions: int | None = Field(default=None, gt=0)
    """Training sessions that a month must have, else it is skipped; none: the full look-back."""
    expanding: bool = False
    """Whether training starts at the market's first usable session instead."""

    @property
    def needed_sessions(self) -> int:
        """Training sessions below which a month is skipped."""
        return self.min_train_sessions or self.lookback_sessions


@dataclass(frozen=True, eq=False)
class Split:
    """The sessions that decide the weights of one month.

    Attributes:
        month: `YYYY-MM`, the month that the model will decide.
        first_session: M0, the first session of the month; nothing known at or after counts.
        last_known: K, the last session whose longest label is known before M0.
        train: decision sessions to learn from; fewer than needed if `not_enough_history`.
        valid: decision sessions to stop by, ending at K.
        status: whether there is enough to train on.
        first_month: the first month that will have enough; this one if it is ready, None if
            the calendar ends before.
    """

    month: str
    first_session: np.datetime64
    last_known: np.datetime64 | None
    train: Dates
    valid: Dates
    status: Literal["ready", "not_enough_history"]
    first_month: str | None

    @property
    def fold(self) -> Fold:
        """The sessions of the month's one model."""
        return Fold(self.month, self.train, self.valid)

    @property
    def last(self) -> np.datetime64:
        """The last session that decides the weights; of a split that is ready."""
        last: np.datetime64 = (self.valid if len(self.valid) else self.train)[-1]
        return last

    @property
    def is_ready(self) -> bool:
        """Whether the month can be trained."""
        return self.status == "ready"


def split_month(
    calendar: Calendar,
    month: str,
    horizon: int,
    spec: SplitSpec,
    first_usable: np.datetime64 | date,
) -> Split:
    """Return the training and validation sessions of `month`.

        K = last session with K + h < M0; validation = the `valid_sessions` ending at K, from V0;
        training = the `lookback_sessions` ending at the last D with D + h + embargo < V0,
            or < M0 without validation

    Args:
        calendar: of the market.
        month: to be decided, `YYYY-MM`.
        horizon: h, the longest label's sessions.
        spec: lengths of the spans.
        first_usable: the market's first session with features and a universe; an expanding
            window starts there, and no window reaches before it.

    Returns:
        The spans; with status `not_enough_history` where fewer than `needed_sessions` are
        left to train on.

    Raises:
        RangeError: the month has no sessions on this calendar.
    """
    first = int(calendar.index_of(calendar.month_sessions(month)[:1])[0])
    usable = int(np.searchsorted(calendar.sessions, np.asarray(first_usable, "datetime64[D]")))
    known = first - horizon - 1
    valid_from = known - spec.valid_sessions + 1
    until = valid_from if spec.valid_sessions else first
    train_to = until - horizon - spec.embargo_sessions - 1
    train_from = usable if spec.expanding else max(usable, train_to - spec.lookback_sessions + 1)
    train = calendar.sessions[max(train_from, 0) : max(train_to + 1, 0)]
    valid = calendar.sessions[max(valid_from, usable, 0) : max(known + 1, 0)]
    is_ready = len(train) >= spec.needed_sessions and len(valid) == spec.valid_sessions
    # M0 must lie behind the needed sessions, the validation, and a purge after each.
    n_purges = 2 if spec.valid_sessions else 1
    gaps = n_purges * horizon + spec.embargo_sessions
    enough = usable + spec.needed_sessions + spec.valid_sessions + gaps
    return Split(
        month=month,
        first_session=calendar.sessions[first],
        last_known=calendar.sessions[known] if known >= 0 else None,
        train=train,
        valid=valid,
        status="ready" if is_ready else "not_enough_history",
        # M0 must lie behind the needed sessions, the validation and both purges.
        first_month=month if is_ready else _first_month_from(calendar, enough),
    )


def _first_month_from(calendar: Calendar, number: int) -> str | None:
    """Return the first month whose first session is at or after a session's number."""
    if number >= len(calendar.sessions):
        return None
    session = calendar.sessions[number]
    month = month_of(session)
    if calendar.month_sessions(month)[0] == session:
        return month
    following = next_month(month)
    return following if np.datetime64(following, "D") <= calendar.sessions[-1] else None
