"""Which sessions a month's model is trained on, and which it is stopped by.

Everything is counted in sessions of the market's calendar.  The purge is by label end: a
label that starts at D with horizon h is known at D + h, and both gaps ask for *strictly
before*, so that no label of one span is known on the first session of the next.
"""

from dataclasses import dataclass, replace
from datetime import date
from typing import Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from alpha_assets.arrays.types import Dates
from alpha_assets.calendar import Calendar, month_of, month_range, next_month
from alpha_assets.dataset.folds import Fold, PurgedKFoldSpec, purged_kfold
from alpha_assets.errors import RangeError
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
    folds: int = 0
    """Purged folds that a month's training and validation sessions are cut into: each has a model,
    trained on the others and selected on its own block, and their scores are averaged; 0: one
    model, trained and selected as above.
    """

    @field_validator("folds")
    @classmethod
    def _one_fold_is_none(cls, folds: int) -> int:
        if folds < 0 or folds == 1:
            raise ValueError(f"folds = {folds}; want 2 or more, or 0 for one model without folds")
        return folds

    @model_validator(mode="after")
    def _the_window_can_hold_what_is_needed(self) -> Self:
        needed = self.min_train_sessions
        if needed is not None and needed > self.lookback_sessions and not self.expanding:
            raise ValueError(
                f"min_train_sessions = {needed} is more than lookback_sessions = "
                f"{self.lookback_sessions}, so that no month would ever have them; want at most as "
                "many, or expanding = true"
            )
        return self

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
        blocks: folds that its sessions are cut into; empty: one model, of `train` and `valid`.
    """

    month: str
    first_session: np.datetime64
    last_known: np.datetime64 | None
    train: Dates
    valid: Dates
    status: Literal["ready", "not_enough_history"]
    first_month: str | None
    blocks: tuple[Fold, ...] = ()

    @property
    def folds(self) -> tuple[Fold, ...]:
        """The sessions of each of the month's models."""
        return self.blocks or (Fold(self.month, self.train, self.valid),)

    @property
    def last(self) -> np.datetime64:
        """The last session that decides the weights; of a split that is ready."""
        last: np.datetime64 = (self.valid if len(self.valid) else self.train)[-1]
        return last

    @property
    def learned(self) -> Dates:
        """The sessions that any of the month's models is trained on, sorted."""
        if not self.blocks:
            return self.train
        return np.unique(np.concatenate([fold.train for fold in self.blocks]))

    @property
    def decisions(self) -> Dates:
        """The sessions that any of the month's models is trained on or selected by, sorted."""
        spans = [span for fold in self.folds for span in (fold.train, fold.valid)]
        return np.unique(np.concatenate(spans))

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
    steps: int = 1,
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
        steps: of an input window.

    Returns:
        The spans; with status `not_enough_history` where fewer than `needed_sessions` are
        left to train on, or where even the last of them has fewer sessions than an input window.

    Raises:
        RangeError: the month has no sessions on this calendar, or the purge of its folds leaves
            one of them nothing to train on.
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
    is_ready = is_ready and train_to - usable + 1 >= steps
    # M0 must lie behind the needed sessions, the validation, and a purge after each.
    n_purges = 2 if spec.valid_sessions else 1
    gaps = n_purges * horizon + spec.embargo_sessions
    enough = usable + max(spec.needed_sessions, steps) + spec.valid_sessions + gaps
    split = Split(
        month=month,
        first_session=calendar.sessions[first],
        last_known=calendar.sessions[known] if known >= 0 else None,
        train=train,
        valid=valid,
        status="ready" if is_ready else "not_enough_history",
        # M0 must lie behind the needed sessions, the validation and both purges.
        first_month=month if is_ready else _first_month_from(calendar, enough),
    )
    if not is_ready or not spec.folds:
        return split
    cut = PurgedKFoldSpec(
        kind="purged_kfold", folds=spec.folds, embargo_sessions=spec.embargo_sessions
    )
    try:
        found = purged_kfold(calendar, horizon, cut, (train[0], split.last))
    except RangeError as error:
        raise RangeError(f"split.folds = {spec.folds} of month {month}: {error}") from None
    blocks = tuple(Fold(fold.key, fold.train, fold.test) for fold in found)
    return replace(split, blocks=blocks)


def walk_forward(
    calendar: Calendar, horizon: int, spec: SplitSpec, usable: tuple[object, object]
) -> tuple[Fold, ...]:
    """Return a fold for each month that has the history: it is judged on its own sessions.

    Args:
        calendar: of the market.
        horizon: h, the longest label's sessions.
        spec: lengths of the spans.
        usable: first and last session that may be used.

    Raises:
        RangeError: no month has the history.
    """
    sessions = calendar.between(*usable)
    months = month_range(month_of(sessions[0]), month_of(sessions[-1])) if len(sessions) else ()
    splits = [split_month(calendar, month, horizon, spec, sessions[0]) for month in months]
    folds = tuple(
        Fold(
            split.month,
            split.train,
            split.valid,
            np.intersect1d(calendar.month_sessions(split.month), sessions),
        )
        for split in splits
        if split.is_ready
    )
    if not folds:
        raise RangeError(
            f"no month of {len(sessions)} usable sessions has {spec.needed_sessions} to train on "
            f"before it, {spec.valid_sessions} to validate on and {horizon} of purge after each"
        )
    return folds


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
