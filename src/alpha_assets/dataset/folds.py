"""Which sessions models are trained on, selected by and judged on.

Everything is counted in sessions of the market's calendar.  A label that starts at D with horizon
h is known at D + h.  Between a session that is trained on and one that is selected by or judged on,
whichever comes first, the earlier one's label is known *strictly before* the later one, with the
embargo on top:

    D + h + embargo < E,  for D and E of different spans, D before E

A fold's spans keep this distance from each other on both sides.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import combinations, pairwise
from math import comb
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from alpha_assets.arrays.types import Dates, Index, Mask
from alpha_assets.calendar import Calendar
from alpha_assets.errors import RangeError
from alpha_assets.spec import Spec

MOST_FOLDS = 1000  # of a study: each is a training


def no_sessions() -> Dates:
    """Return an empty span."""
    return np.array([], dtype="datetime64[D]")


@dataclass(frozen=True, eq=False)
class Fold:
    """Decision sessions of one model.

    Attributes:
        key: names it, and the folder of its checkpoint; of a month `YYYY-MM`.
        train: to learn from, sorted.
        valid: to select by, sorted; empty: nothing is selected.
        test: to be judged on, sorted; empty: what is predicted is judged elsewhere.
    """

    key: str
    train: Dates
    valid: Dates
    test: Dates = field(default_factory=no_sessions)


class FixedSpec(Spec):
    """One fold: training, then validation, then test sessions."""

    kind: Literal["fixed"] = "fixed"
    """Name of the kind."""
    valid_share: float = Field(default=0.15, ge=0, lt=1)
    """Share of the usable sessions to select by; 0: none, and a fixed number of epochs."""
    test_share: float = Field(default=0.15, gt=0, lt=1)
    """Share of the usable sessions to be judged on, the last ones."""
    valid_from: date | None = None
    """First day of validation, in place of its share."""
    test_from: date | None = None
    """First day to be judged on, in place of its share."""
    embargo_sessions: int = Field(default=0, ge=0)
    """Sessions left empty between the spans, on top of the purge by label end."""

    @model_validator(mode="after")
    def _spans_fit(self) -> Self:
        if self.valid_share + self.test_share >= 1:
            raise ValueError(
                f"valid_share = {self.valid_share:g} and test_share = {self.test_share:g} leave "
                "nothing to train on; want a sum below 1"
            )
        if (self.valid_from is None) != (self.test_from is None):
            raise ValueError("valid_from and test_from are given together, or neither of them")
        if self.valid_from and self.test_from and self.valid_from > self.test_from:
            raise ValueError(
                f"valid_from = {self.valid_from} is after test_from = {self.test_from}"
            )
        return self


class PurgedKFoldSpec(Spec):
    """As many folds as blocks: each block of consecutive sessions is judged once."""

    kind: Literal["purged_kfold"] = "purged_kfold"
    """Name of the kind."""
    folds: int = Field(default=5, ge=2)
    """k: blocks that the usable sessions are cut into."""
    valid_sessions: int = Field(default=0, ge=0)
    """Sessions to select by, the last ones of the longest run that is left to train on; 0: none."""
    embargo_sessions: int = Field(default=0, ge=0)
    """Sessions left empty on both sides of a block, on top of the purge by label end."""


class CombinatorialSpec(Spec):
    """A fold for every choice of blocks that are judged together."""

    kind: Literal["combinatorial"] = "combinatorial"
    """Name of the kind."""
    groups: int = Field(default=6, ge=2)
    """N: blocks that the usable sessions are cut into."""
    tested: int = Field(default=2, ge=1)
    """k: blocks that are judged together; there is a fold for every choice of k of N."""
    valid_sessions: int = Field(default=0, ge=0)
    """Sessions to select by, the last ones of the longest run that is left to train on; 0: none."""
    embargo_sessions: int = Field(default=0, ge=0)
    """Sessions left empty on both sides of a block, on top of the purge by label end."""

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.tested >= self.groups:
            raise ValueError(
                f"tested = {self.tested} of groups = {self.groups} leave none to train on; want "
                "fewer"
            )
        n_folds = comb(self.groups, self.tested)
        if n_folds > MOST_FOLDS:
            raise ValueError(
                f"tested = {self.tested} of groups = {self.groups} are {n_folds:,} folds, each a "
                f"training; want {MOST_FOLDS} at most"
            )
        return self


FoldsSpec = Annotated[FixedSpec | PurgedKFoldSpec | CombinatorialSpec, Field(discriminator="kind")]


def fixed(
    calendar: Calendar, horizon: int, spec: FixedSpec, usable: tuple[object, object]
) -> tuple[Fold, ...]:
    """Return one fold of training, validation and test sessions, in this order.

    Args:
        calendar: of the market.
        horizon: h, the longest label's sessions.
        spec: shares of the usable sessions, or days.
        usable: first and last session that may be used; the label of the last one is known.

    Raises:
        RangeError: a span has no sessions, or the purge leaves nothing of one.
    """
    sessions = calendar.between(*usable)
    n, gap = len(sessions), horizon + spec.embargo_sessions
    if spec.valid_from is not None and spec.test_from is not None:
        days = np.array([spec.valid_from, spec.test_from], dtype="datetime64[D]")
        valid_at, test_at = (int(at) for at in np.searchsorted(sessions, days))
    else:
        test_at = n - round(spec.test_share * n)
        valid_at = test_at - round(spec.valid_share * n)
    selects = valid_at < test_at
    fold = Fold(
        "1",
        train=sessions[: max(valid_at - gap, 0)],
        valid=sessions[valid_at : max(test_at - gap, valid_at)],
        test=sessions[test_at:],
    )
    for what, span in (
        ("training", fold.train),
        *([("validation", fold.valid)] if selects else []),
        ("test", fold.test),
    ):
        if not len(span):
            raise RangeError(
                f"the fixed fold has no {what} session: of {n} usable ones validation begins at "
                f"number {valid_at + 1} and the test at number {test_at + 1}, and "
                f"{_gap(horizon, spec)} are left empty before each; bring more history, other "
                "shares or a shorter horizon"
            )
    return (fold,)


def purged_kfold(
    calendar: Calendar, horizon: int, spec: PurgedKFoldSpec, usable: tuple[object, object]
) -> tuple[Fold, ...]:
    """Return a fold for each of k blocks of consecutive sessions: all else, purged, trains.

    Args:
        calendar: of the market.
        horizon: h, the longest label's sessions.
        spec: how many, and the embargo.
        usable: first and last session that may be used; the label of the last one is known.

    Raises:
        RangeError: there are fewer sessions than blocks, or the purge of one leaves nothing.
    """
    sessions = calendar.between(*usable)
    blocks = _blocks(len(sessions), spec.folds)
    chosen = [(number,) for number in range(spec.folds)]
    return tuple(_judged(sessions, blocks, chosen, horizon, spec))


def combinatorial(
    calendar: Calendar, horizon: int, spec: CombinatorialSpec, usable: tuple[object, object]
) -> tuple[Fold, ...]:
    """Return a fold for every choice of k of N blocks: all else, purged around each, trains.

    Each block is judged in C(N - 1, k - 1) folds.

    Args:
        calendar: of the market.
        horizon: h, the longest label's sessions.
        spec: how many, and the embargo.
        usable: first and last session that may be used; the label of the last one is known.

    Raises:
        RangeError: there are fewer sessions than blocks, or the purge of a choice leaves nothing.

    Source: López de Prado (2018), Advances in Financial Machine Learning, chapter 12.
    """
    sessions = calendar.between(*usable)
    blocks = _blocks(len(sessions), spec.groups)
    chosen = list(combinations(range(spec.groups), spec.tested))
    return tuple(_judged(sessions, blocks, chosen, horizon, spec))


def folds_of(
    calendar: Calendar, horizon: int, spec: FoldsSpec, usable: tuple[object, object]
) -> tuple[Fold, ...]:
    """Return the folds of a kind; see `fixed`, `purged_kfold` and `combinatorial`."""
    if isinstance(spec, FixedSpec):
        return fixed(calendar, horizon, spec, usable)
    if isinstance(spec, PurgedKFoldSpec):
        return purged_kfold(calendar, horizon, spec, usable)
    return combinatorial(calendar, horizon, spec, usable)


def _blocks(n: int, k: int) -> list[tuple[int, int]]:
    """Return the first and one past the last place of k blocks, as equal in length as can be."""
    if n < k:
        raise RangeError(f"{n} usable sessions cannot be cut into {k} blocks; want fewer folds")
    ends = [n * number // k for number in range(k + 1)]
    return list(pairwise(ends))


def _judged(
    sessions: Dates,
    blocks: Sequence[tuple[int, int]],
    chosen: Sequence[tuple[int, ...]],
    horizon: int,
    spec: PurgedKFoldSpec | CombinatorialSpec,
) -> Iterator[Fold]:
    """Yield a fold for each choice of blocks."""
    gap = horizon + spec.embargo_sessions
    for numbers in chosen:
        key = "-".join(str(number + 1) for number in numbers)
        is_test = np.zeros(len(sessions), dtype=bool)
        is_left = np.ones(len(sessions), dtype=bool)
        for number in numbers:
            first, end = blocks[number]
            is_test[first:end] = True
            _clear(is_left, first, end, gap)
        valid = _last_of_longest_run(is_left, spec.valid_sessions)
        if len(valid):
            _clear(is_left, int(valid[0]), int(valid[-1]) + 1, gap)
        if not is_left.any() or len(valid) < spec.valid_sessions:
            what = "nothing to train on"
            if len(valid) < spec.valid_sessions:
                what = f"no {spec.valid_sessions} consecutive sessions to validate on"
            raise RangeError(
                f"fold {key} of {len(blocks)} blocks has {what}: it judges {int(is_test.sum())} of "
                f"{len(sessions)} usable sessions, {sessions[is_test][0]} to "
                f"{sessions[is_test][-1]}, and {_gap(horizon, spec)} are left empty on both sides "
                "of each span; bring more history, or want other folds, less validation or a "
                "shorter horizon"
            )
        yield Fold(key, sessions[is_left], sessions[valid], sessions[is_test])


def _clear(is_left: Mask, first: int, end: int, gap: int) -> None:
    """Take out a block, and whatever is not strictly further than `gap` from it."""
    is_left[max(first - gap, 0) : end + gap] = False


def _last_of_longest_run(is_left: Mask, length: int) -> Index:
    """Return the last places of the longest run, the later of equals; fewer where it is short."""
    if not length:
        return np.array([], dtype=np.int64)
    edges = np.diff(np.concatenate([[0], is_left.astype(np.int8), [0]]))
    first, end = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    if not len(first):
        return np.array([], dtype=np.int64)
    longest = len(first) - 1 - int(np.argmax((end - first)[::-1]))
    return np.arange(max(first[longest], end[longest] - length), end[longest])


def _gap(horizon: int, spec: FixedSpec | PurgedKFoldSpec | CombinatorialSpec) -> str:
    """Return the sessions between two spans in words."""
    return f"{horizon} sessions of purge and {spec.embargo_sessions} of embargo"
