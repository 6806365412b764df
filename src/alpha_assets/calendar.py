"""The sessions of an exchange and the instant at which each of them is decided.

The only place where dates are counted.  A row that became readable at `available_at` is
effective at the first session whose decision instant is at or after it; that the bar of
one session is usable from the next is a consequence, not a shift by one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cache
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from alpha_assets.errors import RangeError, SpecError
from alpha_assets.spec import Spec

Dates = NDArray[np.datetime64]  # datetime64[D]
Instants = NDArray[np.datetime64]  # datetime64[us], UTC
Index = NDArray[np.int64]

FIRST_YEAR = 1990  # sessions before are not known here
MONTHS_A_YEAR = 12

# Days that an exchange had announced as sessions and on which it never opened.
FULL_DAY_HALTS: Mapping[str, tuple[date, ...]] = {"XTKS": (date(2020, 10, 1),)}

RebalanceRule = Literal["weekly", "monthly"]


class CalendarSpec(Spec):
    """Declared under `[calendar]` in a market."""

    exchange: str
    zone: str
    decision_time: time
    sessions_per_year: float = Field(gt=200, lt=366)


@dataclass(frozen=True, eq=False)
class Calendar:
    """All sessions of one exchange, past and about a year ahead."""

    exchange: str
    zone: ZoneInfo
    decision_time: time
    sessions: Dates
    decisions: Instants
    sessions_per_year: float

    @classmethod
    def load(cls, spec: CalendarSpec) -> "Calendar":
        """Return the calendar that a market declares.

        Raises:
            SpecError: the exchange or the time zone does not exist.
        """
        try:
            zone = ZoneInfo(spec.zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise SpecError(
                f"calendar.zone = {spec.zone!r} is not a time zone; want a name such as Asia/Tokyo"
            ) from None
        sessions = _exchange_sessions(spec.exchange)
        decisions = _local_instants(sessions, spec.decision_time, zone)
        return cls(
            exchange=spec.exchange,
            zone=zone,
            decision_time=spec.decision_time,
            sessions=sessions,
            decisions=decisions,
            sessions_per_year=spec.sessions_per_year,
        )

    def is_session(self, dates: object) -> NDArray[np.bool_]:
        """Return which of `dates` are sessions."""
        wanted = _as_dates(dates)
        place = np.searchsorted(self.sessions, wanted).clip(max=len(self.sessions) - 1)
        return np.asarray(self.sessions[place] == wanted)

    @property
    def halts(self) -> Dates:
        """Days that were announced as sessions and not held."""
        return np.array(FULL_DAY_HALTS.get(self.exchange, ()), dtype="datetime64[D]")

    def follows_halt(self, sessions: object) -> NDArray[np.bool_]:
        """Return which sessions are the first after a day that was announced and not held."""
        wanted = _as_dates(sessions)
        if not len(self.halts):
            return np.zeros(np.shape(wanted), dtype=bool)
        return np.isin(wanted, self.on_or_after(self.halts))

    def index_of(self, dates: object) -> Index:
        """Return the number of each session on this calendar's axis.

        Raises:
            RangeError: a date on which the exchange does not trade.
        """
        wanted = _as_dates(dates)
        known = self.is_session(wanted)
        if not known.all():
            stranger = np.atleast_1d(wanted)[~np.atleast_1d(known)][0]
            after = self.sessions[np.searchsorted(self.sessions, stranger) :][:1]
            raise RangeError(
                f"{stranger} is no session of {self.exchange}"
                + (f"; the next one is {after[0]}" if len(after) else "")
            )
        return np.asarray(np.searchsorted(self.sessions, wanted), dtype=np.int64)

    def effective(self, available_at: object) -> Index:
        """Return the number of the first session decided at or after each instant.

        Args:
            available_at: UTC instants, datetime64.

        Returns:
            Numbers on the session axis; `len(sessions)` where no known session follows.
        """
        instants = np.asarray(available_at, dtype="datetime64[us]")
        return np.asarray(np.searchsorted(self.decisions, instants, side="left"), dtype=np.int64)

    def decision(self, session: object) -> Instants:
        """Return the UTC instant at which each session is decided."""
        return np.asarray(self.decisions[self.index_of(session)])

    def instant(self, dates: object, at: time, days: int = 0) -> Instants:
        """Return the UTC instant of a local wall time, `days` calendar days after each date."""
        return _local_instants(_as_dates(dates) + np.timedelta64(days, "D"), at, self.zone)

    def on_or_after(self, dates: object) -> Dates:
        """Return the first session on or after each date."""
        return self._at(np.searchsorted(self.sessions, _as_dates(dates), side="left"))

    def after(self, dates: object, n: int = 1) -> Dates:
        """Return the n-th session strictly after each date."""
        return self._at(np.searchsorted(self.sessions, _as_dates(dates), side="right") + n - 1)

    def before(self, dates: object, n: int = 1) -> Dates:
        """Return the n-th session strictly before each date."""
        return self._at(np.searchsorted(self.sessions, _as_dates(dates), side="left") - n)

    def between(self, first: object, last: object) -> Dates:
        """Return the sessions from `first` to `last`, ends included."""
        low = np.searchsorted(self.sessions, _as_dates(first), side="left")
        high = np.searchsorted(self.sessions, _as_dates(last), side="right")
        return self.sessions[low:high]

    def month_sessions(self, month: str) -> Dates:
        """Return the sessions of a month `YYYY-MM`.

        Raises:
            RangeError: not a month, or a month without sessions on this calendar.
        """
        start = month_start(month)
        stop = month_start(next_month(month))
        found = self.between(start, stop - np.timedelta64(1, "D"))
        if not len(found):
            raise RangeError(
                f"{month} has no sessions of {self.exchange}; this calendar knows "
                f"{self.sessions[0]} to {self.sessions[-1]}"
            )
        return found

    def nights(self) -> Index:
        """Return the calendar nights from each session to the next: 1 midweek, 3 over a weekend.

        The last known session has one night.
        """
        gaps = np.diff(self.sessions).astype(np.int64)
        return np.append(gaps, 1)

    def rebalances(self, sessions: object, rule: RebalanceRule) -> NDArray[np.bool_]:
        """Return which sessions are the first of their ISO week or of their month."""
        number = self.index_of(sessions)
        unit = "M" if rule == "monthly" else "W"
        # numpy's weeks start on Thursday 1970-01-01; four days later makes them ISO weeks.
        shift = np.timedelta64(0 if rule == "monthly" else 3, "D")
        period = (self.sessions + shift).astype(f"datetime64[{unit}]")
        first = np.append(True, period[1:] != period[:-1])
        return np.asarray(first[number])

    def _at(self, number: Index | np.int64) -> Dates:
        number = np.asarray(number)
        if (number < 0).any() or (number >= len(self.sessions)).any():
            raise RangeError(
                f"{self.exchange} is known from {self.sessions[0]} to {self.sessions[-1]}; "
                "a session outside was asked for"
            )
        return np.asarray(self.sessions[number])


def month_start(month: str) -> np.datetime64:
    """Return the first calendar day of a month `YYYY-MM`.

    Raises:
        RangeError: the text is not a month.
    """
    try:
        return np.datetime64(datetime.strptime(month, "%Y-%m").date(), "D")  # noqa: DTZ007
    except ValueError:
        raise RangeError(f"{month!r} is not a month; want YYYY-MM, such as 2023-07") from None


def month_of(day: date | np.datetime64) -> str:
    """Return the month `YYYY-MM` of a date."""
    return str(np.asarray(day, dtype="datetime64[M]"))


def next_month(month: str, n: int = 1) -> str:
    """Return the month n after `month`; n may be negative."""
    return str(month_start(month).astype("datetime64[M]") + np.timedelta64(n, "M"))


def month_range(first: str, last: str) -> tuple[str, ...]:
    """Return the months from `first` to `last`, ends included.

    Raises:
        RangeError: `last` is before `first`, or one of them is not a month.
    """
    start = month_start(first).astype("datetime64[M]")
    stop = month_start(last).astype("datetime64[M]")
    if stop < start:
        raise RangeError(f"last month {last} is before first month {first}; swap them")
    return tuple(str(month) for month in np.arange(start, stop + np.timedelta64(1, "M")))


def as_date(session: object) -> date:
    """Return a session as a `datetime.date`, the form that frames and JSON take."""
    day = np.asarray(session, dtype="datetime64[D]").item()
    assert isinstance(day, date)
    return day


def _as_dates(dates: object) -> Dates:
    if isinstance(dates, Sequence) and not isinstance(dates, str):
        dates = list(dates)
    return np.asarray(dates, dtype="datetime64[D]")


def _local_instants(dates: Dates, at: time, zone: ZoneInfo) -> Instants:
    """Return UTC instants of a local wall time; one look-up per date, since clocks change."""
    flat = np.atleast_1d(dates)
    unique, place = np.unique(flat, return_inverse=True)
    offsets = np.array(
        [
            datetime.combine(day, at, tzinfo=zone).utcoffset()
            for day in unique.astype("datetime64[D]").astype(object)
        ],
        dtype="timedelta64[us]",
    )
    clock = np.timedelta64(
        ((at.hour * 60 + at.minute) * 60 + at.second) * 1_000_000 + at.microsecond, "us"
    )
    instants = unique.astype("datetime64[us]") + clock - offsets
    return np.asarray(instants[place].reshape(np.shape(dates)))


@cache
def _exchange_sessions(exchange: str) -> Dates:
    """Return all sessions that the calendar library knows since `FIRST_YEAR`."""
    import exchange_calendars

    try:
        recent = exchange_calendars.get_calendar(exchange)
    except exchange_calendars.errors.InvalidCalendarName:
        raise SpecError(
            f"calendar.exchange = {exchange!r} is not known; want a code of exchange_calendars "
            "such as XTKS (Tokyo) or XNYS (New York)"
        ) from None
    # The library starts 20 years before today unless told otherwise: an answer must not
    # depend on the day on which it is asked for.
    bound = recent.bound_min()
    start = f"{FIRST_YEAR}-01-01" if bound is None or bound.year < FIRST_YEAR else bound
    found = exchange_calendars.get_calendar(exchange, start=start)
    return np.asarray(found.sessions.to_numpy(), dtype="datetime64[D]")
