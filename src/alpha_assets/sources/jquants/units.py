"""Which queries a feed's history is made of, when each can be asked, and which are due."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import numpy as np

from alpha_assets.arrays.types import Dates
from alpha_assets.calendar import Calendar, as_date
from alpha_assets.sources.jquants.endpoints import Endpoint
from alpha_assets.sources.jquants.landing import Landed

# Newest cuts in which a table that has rows every session may have stood still for a while.
STOOD_STILL = 60


class Unit(NamedTuple):
    """One query, and what it covers."""

    name: str  # a date, a month, or `all`
    first: date
    last: date
    public_at: datetime  # when the newest of its rows appears, nominally

    def parameters(self, endpoint: Endpoint) -> dict[str, str]:
        """Return what to ask with."""
        days = (self.first,) if len(endpoint.parameters) == 1 else (self.first, self.last)
        return {n: d.isoformat() for n, d in zip(endpoint.parameters, days, strict=True)}


def units(endpoint: Endpoint, calendar: Calendar, first: date, now: datetime) -> list[Unit]:
    """Return the queries whose rows are public, oldest first.

    Args:
        endpoint: what is asked.
        calendar: of the exchange.
        first: the oldest day wanted.
        now: the present instant.
    """
    today = now.astimezone(calendar.zone).date()
    if endpoint.cut == "whole":
        midnight = datetime(today.year, today.month, today.day, tzinfo=calendar.zone)
        start, stop = date(first.year, 1, 1), date(today.year + 1, 12, 31)
        return [Unit("all", start, stop, midnight.astimezone(UTC))]
    days = _days(endpoint, calendar, first, today)
    public_at = _instants(endpoint, calendar, days)
    known = public_at <= np.datetime64(now.astimezone(UTC).replace(tzinfo=None), "us")
    moments = [
        (as_date(day), at.item().replace(tzinfo=UTC))
        for day, at in zip(days[known], public_at[known], strict=True)
    ]
    if endpoint.cut != "month":
        return [Unit(day.isoformat(), day, day, at) for day, at in moments]
    months: dict[str, Unit] = {}
    for day, at in moments:
        name = f"{day:%Y-%m}"
        months[name] = Unit(name, months[name].first if name in months else day, day, at)
    # Whole months, so that rows of days that are no session come too.
    return [
        unit._replace(
            first=max(unit.first.replace(day=1), first), last=min(_month_end(unit.first), today)
        )
        for unit in months.values()
    ]


def due(endpoint: Endpoint, wanted: Sequence[Unit], landed: Mapping[str, Landed]) -> list[Unit]:
    """Return the queries that have not been asked, or must be asked again for corrections.

    A query is settled once it was asked after `reread` later ones had become public; until
    then it is asked again whenever something new may have appeared.  So is one that brought
    nothing where every session has rows, for some months: a table that stood still is filled
    up when it goes on.
    """
    if not wanted:
        return []
    newest = wanted[-1].public_at
    found = []
    for number, unit in enumerate(wanted):
        record = landed.get(unit.name)
        if record is None or record.fetched_at < unit.public_at:
            found.append(unit)
            continue
        later = number + endpoint.reread
        settled = later < len(wanted) and record.fetched_at >= wanted[later].public_at
        if endpoint.always and not record.rows:
            settled &= number < len(wanted) - STOOD_STILL
        if not settled and record.fetched_at < newest:
            found.append(unit)
    return found


def _days(endpoint: Endpoint, calendar: Calendar, first: date, today: date) -> Dates:
    """Return the days that may have rows, one more than today for what comes the evening before."""
    if endpoint.cut == "day":
        return np.arange(np.datetime64(first, "D"), np.datetime64(today, "D") + 1)
    sessions = calendar.between(first, today + timedelta(days=15))
    if endpoint.weekly_before is None:
        return sessions
    # ISO weeks: numpy's begin on the Thursday 1970-01-01.
    week = (sessions + np.timedelta64(3, "D")).astype("datetime64[W]")
    is_last = np.append(week[1:] != week[:-1], False)
    return sessions[is_last | (sessions >= np.datetime64(endpoint.weekly_before, "D"))]


def _instants(endpoint: Endpoint, calendar: Calendar, days: Dates) -> np.ndarray:
    """Return the UTC instants at which the rows of each day appear, nominally."""
    dates = days
    if endpoint.sessions > 0:
        dates = calendar.after(days, endpoint.sessions)
    elif endpoint.sessions < 0:
        dates = calendar.before(days, -endpoint.sessions)
    if endpoint.weekly_before is not None:
        weekly = days < np.datetime64(endpoint.weekly_before, "D")
        dates = np.where(weekly, calendar.after(days, endpoint.sessions + 1), dates)
    return np.asarray(calendar.instant(dates, endpoint.at, endpoint.days))


def _month_end(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
