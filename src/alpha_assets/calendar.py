"""The sessions of an exchange and the instant at which each of them is decided.

The only place where dates are counted.  A row that became readable at `available_at` is
effective at the first session whose decision instant is at or after it; that the bar of
one session is usable from the next is a consequence, not a shift by one.
"""

import hashlib
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cache, lru_cache
from importlib.metadata import version
from itertools import pairwise
from typing import Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from pydantic import Field, model_validator

from alpha_assets.arrays.places import places_on, runs
from alpha_assets.arrays.types import Dates, Index, Instants, Mask
from alpha_assets.errors import RangeError, SpecError
from alpha_assets.kept import read_kept, user_cache, write_kept
from alpha_assets.spec import Spec

MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
FIRST_YEAR = 1990  # sessions before are not known here

# Days that an exchange had announced as sessions and on which it never opened.
FULL_DAY_HALTS: Mapping[str, tuple[date, ...]] = {"XTKS": (date(2020, 10, 1),)}

RebalanceRule = Literal["daily", "weekly", "monthly"]


class CalendarSpec(Spec):
    """Declared under `[calendar]` in a market.

    `extra_sessions` and `closed` mend what the calendar library does not know: a session held on
    a Saturday, a day that it counts and on which the exchange never opened.
    """

    exchange: str
    """Code of the exchange in exchange_calendars, such as XTKS or XNYS."""
    zone: str
    """Time zone of all wall times of the market."""
    decision_time: time
    """Wall time at which a session is decided, before its opening auction."""
    sessions_per_year: float = Field(gt=200, lt=366)
    """What annual figures are scaled by."""
    extra_sessions: tuple[date, ...] = ()
    """Sessions that were held and that the library does not know."""
    closed: tuple[date, ...] = ()
    """Sessions that the library knows and that were not held."""

    @model_validator(mode="after")
    def _names_no_day_twice(self) -> Self:
        days = sorted((*self.extra_sessions, *self.closed))
        twice = next((a for a, b in pairwise(days) if a == b), None)
        if twice is not None:
            raise ValueError(
                f"{twice} stands twice in extra_sessions and closed together; name each day once"
            )
        return self


@dataclass(frozen=True, eq=False)
class Calendar:
    """All sessions of one exchange, past and about a year ahead."""

    exchange: str
    zone: ZoneInfo
    decision_time: time
    sessions: Dates
    decisions: Instants
    sessions_per_year: float
    extra: tuple[date, ...] = ()  # sessions that the market's file adds
    closed: tuple[date, ...] = ()  # days that it removes: announced, and not held

    @classmethod
    def load(cls, spec: CalendarSpec) -> "Calendar":
        """Return the calendar that a market declares.

        Raises:
            SpecError: the exchange or the time zone does not exist, the library cannot make its
                calendar, or a day to add is a session already, or one to remove is none.
        """
        try:
            zone = ZoneInfo(spec.zone)
        except (ZoneInfoNotFoundError, OSError, ValueError):
            raise SpecError(
                f"calendar.zone = {spec.zone!r} is not a time zone; want a name such as Asia/Tokyo"
            ) from None
        sessions = _changed(_exchange_sessions(spec.exchange), spec)
        decisions = _decisions(sessions.tobytes(), spec.decision_time, zone)
        return cls(
            exchange=spec.exchange,
            zone=zone,
            decision_time=spec.decision_time,
            sessions=sessions,
            decisions=decisions,
            sessions_per_year=spec.sessions_per_year,
            extra=tuple(sorted(spec.extra_sessions)),
            closed=tuple(sorted(spec.closed)),
        )

    @property
    def identity(self) -> str:
        """Name of the sessions: the exchange, and each day that is added or removed."""
        changes = (
            *(f"+{day.isoformat()}" for day in self.extra),
            *(f"-{day.isoformat()}" for day in self.closed),
        )
        return " ".join((self.exchange, *changes))

    def is_session(self, dates: object) -> Mask:
        """Return which of `dates` are sessions."""
        return np.asarray(places_on(self.sessions, _as_dates(dates)) >= 0)

    @property
    def halts(self) -> Dates:
        """Days that were announced as sessions and not held."""
        known = (*FULL_DAY_HALTS.get(self.exchange, ()), *self.closed)
        return np.array(sorted({*known} - {*self.extra}), dtype="datetime64[D]")

    def follows_halt(self, sessions: object) -> Mask:
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
        number = places_on(self.sessions, wanted)
        if (number < 0).any():
            stranger = np.atleast_1d(wanted)[np.atleast_1d(number < 0)][0]
            after = self.sessions[np.searchsorted(self.sessions, stranger) :][:1]
            raise RangeError(
                f"{stranger} is no session of {self.exchange}"
                + (f"; the next one is {after[0]}" if len(after) else "")
            )
        return number

    def effective(self, available_at: object) -> Index:
        """Return the number of the first session decided at or after each instant.

        Args:
            available_at: UTC instants, datetime64.

        Returns:
            Numbers on the session axis; `len(sessions)` where no known session follows.
        """
        instants = np.asarray(available_at, dtype="datetime64[us]")
        if instants.ndim != 1:
            return np.asarray(np.searchsorted(self.decisions, instants, side="left"))
        first_P, length_P = runs(instants)  # rows of a delivery were published together
        number_P = np.searchsorted(self.decisions, instants[first_P], side="left")
        return np.repeat(number_P, length_P)

    def decision(self, session: object) -> Instants:
        """Return the UTC instant at which each session is decided."""
        return np.asarray(self.decisions[self.index_of(session)])

    def decided_at(self, session: date | np.datetime64) -> datetime:
        """Return the instant at which a session is decided, with a zone."""
        instant = self.decision(session)[()].astype("datetime64[us]").item()
        assert isinstance(instant, datetime), "microseconds are those of a datetime"
        return instant.replace(tzinfo=UTC)

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

    def period_of(self, sessions: object, rule: RebalanceRule) -> Index:
        """Return the number of each session's rebalance period: its ISO week, month, or itself."""
        if rule == "daily":
            return self.index_of(sessions)
        # numpy's weeks start on Thursday 1970-01-01; three days later makes them ISO weeks.
        shift = np.timedelta64(0 if rule == "monthly" else 3, "D")
        unit = "M" if rule == "monthly" else "W"
        days = self.sessions[self.index_of(sessions)]
        return np.asarray((days + shift).astype(f"datetime64[{unit}]").astype(np.int64))

    def period_sessions(self, session: object, rule: RebalanceRule) -> Dates:
        """Return all sessions of the rebalance period of a session."""
        number = int(self.index_of(session))
        near = self.sessions[max(number - 31, 0) : number + 32]
        within = self.period_of(near, rule) == self.period_of(session, rule)
        return np.asarray(near[within])

    def rebalances(self, sessions: object, rule: RebalanceRule) -> Mask:
        """Return which sessions are the first of their rebalance period on this calendar."""
        number = self.index_of(sessions)
        period = self.period_of(self.sessions, rule)
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


@cache
@lru_cache(maxsize=4096)  # the same months are asked for again and again
def month_start(month: str) -> np.datetime64:
    """Return the first calendar day of a month `YYYY-MM`.

    Raises:
        RangeError: the text is not a month.
    """
    try:
        if not MONTH.fullmatch(month):  # months are compared as text
            raise ValueError
        return np.datetime64(datetime.strptime(month, "%Y-%m").date(), "D")  # noqa: DTZ007
    except ValueError:
        raise RangeError(f"{month!r} is not a month; want YYYY-MM, such as 2023-07") from None


def month_of(day: date | np.datetime64) -> str:
    """Return the month `YYYY-MM` of a date."""
    return str(np.asarray(day, dtype="datetime64[M]"))


@lru_cache(maxsize=4096)
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


@lru_cache(maxsize=16)  # each reading of a market asks for them anew
def _decisions(sessions: bytes, at: time, zone: ZoneInfo) -> Instants:
    """Return the decision instants of sessions, which are given as the bytes of their array."""
    return _local_instants(np.frombuffer(sessions, dtype="datetime64[D]"), at, zone)


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


def _changed(sessions: Dates, spec: CalendarSpec) -> Dates:
    """Return the sessions of a library with those that a market adds, without those it removes.

    Raises:
        SpecError: a day to add is a session or lies outside, or one to remove is no session.
    """
    extra = np.array(spec.extra_sessions, dtype="datetime64[D]")
    closed = np.array(spec.closed, dtype="datetime64[D]")
    span = f"the calendar of {spec.exchange} is known from {sessions[0]} to {sessions[-1]}"
    for key, wrong, why in (
        (
            "extra_sessions",
            extra[np.isin(extra, sessions)],
            "a session of the exchange already; leave it out",
        ),
        ("extra_sessions", extra[(extra < sessions[0]) | (extra > sessions[-1])], span),
        ("closed", closed[~np.isin(closed, sessions)], f"no session that could be removed; {span}"),
    ):
        if len(wrong):
            raise SpecError(f"calendar.{key}: {_days(wrong)}: {why}")
    return np.setdiff1d(np.union1d(sessions, extra), closed)


def _days(days: Dates, at_most: int = 5) -> str:
    more = f" and {len(days) - at_most} more" if len(days) > at_most else ""
    return ", ".join(str(day) for day in days[:at_most]) + more


# What a library that stumbles over its own rules may raise; its own errors are among them.
_LIBRARY_FAILS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


@cache
def _exchange_sessions(exchange: str) -> Dates:
    """Return all sessions that the calendar library knows since `FIRST_YEAR`.

    The library takes a second to load and another one to answer: its answer is kept in the user's
    cache for as long as it would be the same.
    """
    folder, asked = user_cache(), _question(exchange)
    name = hashlib.sha256(exchange.encode()).hexdigest()[:16]
    path = None if folder is None else folder / f"sessions-{name}.txt"
    text = None if path is None else read_kept(path, asked)
    if text is not None:
        return np.array(text.split(), dtype="datetime64[D]")
    found = _computed_sessions(exchange)
    if path is not None and asked == _question(exchange):  # the day may have ended meanwhile
        write_kept(path, asked, " ".join(found.astype(str).tolist()))
    return found


def _question(exchange: str) -> str:
    """Return what the library's answer follows from, in one line: it ends a year after today."""
    versions = (f"{name} {version(name)}" for name in ("exchange_calendars", "pandas"))
    return " | ".join((exchange, str(FIRST_YEAR), *versions, _today()))


def _today() -> str:
    return datetime.now().astimezone().date().isoformat()


def _computed_sessions(exchange: str) -> Dates:
    """Return the library's sessions since `FIRST_YEAR`.

    Raises:
        SpecError: it knows no such exchange, or cannot make its calendar.
    """
    import exchange_calendars

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the library about pandas, nothing a user can mend
            recent = exchange_calendars.get_calendar(exchange)
            # By default the library starts 20 years before today: an answer must not depend on
            # the day on which it is asked for.
            bound = recent.bound_min()
            start = f"{FIRST_YEAR}-01-01" if bound is None or bound.year < FIRST_YEAR else bound
            found = exchange_calendars.get_calendar(exchange, start=start)
    except exchange_calendars.errors.InvalidCalendarName:
        raise SpecError(
            f"calendar.exchange = {exchange!r} is not known; want a code of exchange_calendars "
            "such as XTKS (Tokyo) or XNYS (New York)"
        ) from None
    except (exchange_calendars.errors.CalendarError, *_LIBRARY_FAILS) as error:
        import pandas

        words = " ".join(str(error).split())[:80]
        raise SpecError(
            f"calendar.exchange = {exchange!r}: exchange_calendars "
            f"{exchange_calendars.__version__} cannot make this calendar with pandas "
            f"{pandas.__version__} ({type(error).__name__}: {words}); want another exchange with "
            "the same days, mended by calendar.extra_sessions and calendar.closed, or another "
            "version of the library"
        ) from None
    return np.asarray(found.sessions.to_numpy(), dtype="datetime64[D]")
