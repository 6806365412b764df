"""Which sessions are cuts, and what of the calendar they cover.

A leak may live in April alone, on Wednesdays, or after holidays.  The cheap stages are cut at
sessions that are spread over months, weekdays and the days after holidays; what was covered is
printed, so that what was not can be seen.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Dates
from alpha_assets.calendar import Calendar, as_date

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
AFTER_HOLIDAY = "after a holiday"


@dataclass(frozen=True)
class Covered:
    """What part of the calendar some cuts cover.

    Attributes:
        stages: what was compared at them.
        cuts: how many.
        of: sessions that there are to choose from.
        weekdays: cuts by weekday, of those that the market has.
        months: cuts by calendar month, of those in the span.
        after_holidays: cuts on the session after a weekday without one.
        holidays: such sessions that there are.
    """

    stages: str
    cuts: int
    of: int
    weekdays: dict[str, int]
    months: dict[str, int]
    after_holidays: int
    holidays: int

    def line(self) -> str:
        """Return it as a person reads it."""
        days = " ".join(f"{name} {n}" for name, n in self.weekdays.items())
        months = " ".join(f"{name} {n}" for name, n in self.months.items())
        return (
            f"{self.stages}: {self.cuts} of {self.of} sessions; {days}; {months}; "
            f"{AFTER_HOLIDAY} {self.after_holidays} of {self.holidays}"
        )


def covered(
    stages: str, calendar: Calendar, cuts: Sequence[date], candidates: Sequence[date]
) -> Covered:
    """Return what cuts cover of the sessions that they were chosen from."""
    later = after_holidays(calendar, candidates)

    def counted(
        names: Sequence[str], place: Sequence[int], chosen: Sequence[int]
    ) -> dict[str, int]:
        known, n = sorted(set(place)), Counter(chosen)
        return {names[k]: n[k] for k in known}

    return Covered(
        stages=stages,
        cuts=len(cuts),
        of=len(candidates),
        weekdays=counted(
            WEEKDAYS, [day.weekday() for day in candidates], [day.weekday() for day in cuts]
        ),
        months=counted(
            MONTHS, [day.month - 1 for day in candidates], [day.month - 1 for day in cuts]
        ),
        after_holidays=len(later & set(cuts)),
        holidays=len(later),
    )


def after_holidays(calendar: Calendar, sessions: Sequence[date]) -> set[date]:
    """Return those sessions before which a weekday had none."""
    found = set()
    for day in sessions:
        number = int(calendar.index_of(day))
        if number and np.busday_count(calendar.sessions[number - 1], day) > 1:
            found.add(day)
    return found


def sessions_of(calendar: Calendar, months: Sequence[str], last: object) -> list[date]:
    """Return the sessions of months up to the last one that can be decided."""
    found: list[Dates] = [calendar.month_sessions(month) for month in months]
    edge = np.datetime64(str(last), "D")
    return [as_date(day) for sessions in found for day in sessions[sessions <= edge]]


def decidable(calendar: Calendar, sessions: Dates, bars: pl.DataFrame) -> Dates:
    """Return those of `sessions` that were decided with a bar of the session before.

    At any other nothing is decided, and a world that ends there ends before it.

    Args:
        calendar: of the market.
        sessions: sorted.
        bars: `event_date`, `available_at`, `close` of stored rows.
    """
    closed = bars.filter(pl.col("close").is_not_null())
    usable_R = calendar.effective(closed["available_at"].dt.replace_time_zone(None).to_numpy())
    next_R = calendar.index_of(closed["event_date"].to_numpy()) + 1
    return np.intersect1d(sessions, calendar.sessions[np.unique(next_R[usable_R <= next_R])])


def choose_sessions(
    calendar: Calendar, candidates: Sequence[date], n: int, seed: int
) -> list[date]:
    """Return n sessions, spread over calendar months, weekdays and days after holidays.

    Each is drawn from the kind of session that has the fewest so far.
    """
    if n >= len(candidates):
        return sorted(candidates)
    order = [candidates[k] for k in np.random.default_rng(seed).permutation(len(candidates))]
    later = after_holidays(calendar, candidates)
    kinds: dict[str, list[date]] = {}
    for day in order:
        for kind in _kinds(day, later):
            kinds.setdefault(kind, []).append(day)
    counts = dict.fromkeys(sorted(kinds), 0)
    chosen: list[date] = []
    left = {kind: [*days] for kind, days in kinds.items()}
    while len(chosen) < n:
        open_kinds = [kind for kind in counts if left[kind]]
        kind = min(open_kinds, key=lambda name: counts[name])
        day = left[kind].pop(0)
        if day in chosen:
            continue
        chosen.append(day)
        for name in _kinds(day, later):
            counts[name] += 1
    return sorted(chosen)


def _kinds(day: date, later: set[date]) -> list[str]:
    kinds = [WEEKDAYS[day.weekday()], MONTHS[day.month - 1]]
    return [*kinds, AFTER_HOLIDAY] if day in later else kinds
