"""Bringing an endpoint's history to this machine: only what has not landed, only once."""

import logging
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError
from alpha_assets.feeds.base import Counting
from alpha_assets.sources.jquants.client import Client, Refused, Row
from alpha_assets.sources.jquants.endpoints import MASTER, Endpoint
from alpha_assets.sources.jquants.landing import Landing
from alpha_assets.sources.jquants.plans import includes, window
from alpha_assets.sources.jquants.prices import VERSION_COLUMNS
from alpha_assets.sources.jquants.spec import JQuantsSpec
from alpha_assets.sources.jquants.units import Unit, due, units
from alpha_assets.store.lock import folder_lock

log = logging.getLogger(__name__)

HISTORICAL = "historical"  # in the names of files that hold a whole month
_MONTH = re.compile(r"(\d{4})-?(\d{2})\.csv\.gz$")


class Checked(NamedTuple):
    """Rows that have every column, and what else was found."""

    rows: list[Row]
    unknown: tuple[str, ...]


def refresh(
    endpoint: Endpoint,
    client: Client,
    spec: JQuantsSpec,
    calendar: Calendar,
    folder: Path,
    progress: Counting | None = None,
) -> Landing:
    """Ask for what is due of an endpoint, and return its landing.

    Raises:
        NotEntitled: the plan does not include the endpoint.
        FeedError: an answer lacks a column, or is for another day than asked; what came
            before is kept.
    """
    landing = Landing(folder / endpoint.slug)
    with folder_lock(folder / "locks", endpoint.slug):
        now = client.clock.now()
        first = max(spec.first, window(spec.plan, now.astimezone(calendar.zone).date())[0])
        wanted = units(endpoint, calendar, first, now)
        if spec.last is not None and endpoint.cut != "whole":
            wanted = [unit for unit in wanted if unit.first <= spec.last]
        if spec.bulk and endpoint.has_bulk and includes(spec.plan, "light"):
            _from_files(endpoint, client, landing, wanted)
        todo = due(endpoint, wanted, landing.records())
        recent = {unit.name for unit in wanted[-endpoint.reread :]}
        for number, unit in enumerate(todo):
            if progress is not None:
                progress(f"{endpoint.path} queries", number, len(todo))
            asked_at = client.clock.now()
            rows = client.rows(endpoint.path, unit.parameters(endpoint))
            if not rows and endpoint.always and unit.name in recent:
                log.info("%s %s: no rows yet", endpoint.path, unit.name)
                continue  # late: asked for again the next time
            found = checked(rows, endpoint, unit.name)
            if endpoint is not MASTER:  # it answers for the next session on a closed day
                _is_for(found.rows, endpoint, unit)
            landing.put(unit.name, found.rows, asked_at, found.unknown)
        if progress is not None and todo:
            progress(f"{endpoint.path} queries", len(todo), len(todo))
    return landing


def checked(rows: Sequence[Row], endpoint: Endpoint, unit: str) -> Checked:
    """Return the rows once each, all of them found to have the endpoint's columns.

    Raises:
        FeedError: naming the columns that are missing.
    """
    shapes = {tuple(row) for row in rows}
    present = set.intersection(*(set(shape) for shape in shapes)) if shapes else set()
    missing = [
        name for name in endpoint.columns if name not in present and name not in endpoint.optional
    ]
    if shapes and missing:
        raise FeedError(
            f"{endpoint.path} {unit}: the answer lacks {', '.join(missing)}; the feed is not read "
            "until the API sends them again or this package learns their new names"
        )
    known = {*endpoint.columns, *VERSION_COLUMNS}
    unknown = tuple(sorted({name for shape in shapes for name in shape} - known))
    if unknown:
        log.warning(
            "%s %s: unknown columns %s are kept as they came and not used",
            endpoint.path,
            unit,
            ", ".join(unknown),
        )
    once = list({tuple(row.items()): row for row in rows}.values())
    if len(once) < len(rows):
        log.warning(
            "%s %s: %d rows came twice and count once",
            endpoint.path,
            unit,
            len(rows) - len(once),
        )
    return Checked(once, unknown)


def _is_for(rows: Sequence[Row], endpoint: Endpoint, unit: Unit) -> None:
    """Refuse rows of days that were not requested: counted there, they would count twice."""
    if endpoint.cut == "whole":
        return
    low, high = f"{unit.first:%Y%m%d}", f"{unit.last:%Y%m%d}"
    for row in rows:
        day = (row[endpoint.day] or "").replace("-", "")
        if not low <= day <= high:
            raise FeedError(
                f"{endpoint.path} {unit.name}: the answer has a row of {endpoint.day} = "
                f"{row[endpoint.day]!r}, which was not asked for"
            )


def _from_files(
    endpoint: Endpoint, client: Client, landing: Landing, wanted: Sequence[Unit]
) -> None:
    """Land the months of which nothing has landed from files of history, as far as there are."""
    landed = landing.records()
    missing: dict[str, list[Unit]] = {}
    begun: set[str] = set()
    for unit in wanted:
        month = unit.name[:7]
        if unit.name in landed:
            begun.add(month)
        else:
            missing.setdefault(month, []).append(unit)
    months_missing = [month for month in missing if month not in begun]
    # The newest month's file is still growing, and single days are cheap to ask for.
    months_missing = [month for month in months_missing if month != wanted[-1].name[:7]]
    if not months_missing:
        return
    try:
        keys = client.bulk_keys(endpoint.path)
    except Refused as refusal:
        log.info("%s; asking query by query", refusal)
        return
    files = {}
    for key in keys:
        found = _MONTH.search(key)
        if found and HISTORICAL in key:
            files[f"{found[1]}-{found[2]}"] = key
    for month in months_missing:
        if month not in files:
            continue
        asked_at = client.clock.now()
        rows = [
            {endpoint.short_names.get(name, name): value for name, value in row.items()}
            for row in client.bulk_rows(files[month])
        ]
        found_rows = checked(rows, endpoint, month)
        by_day: dict[str, list[Row]] = {}
        for row in found_rows.rows:
            by_day.setdefault(_iso(row[endpoint.day], endpoint, month), []).append(row)
        for unit in missing[month]:
            day_rows = by_day.pop(unit.name, [])
            if day_rows or not endpoint.always:
                landing.put(unit.name, day_rows, asked_at, found_rows.unknown)
        for name, day_rows in by_day.items():
            # Days without rows, such as 2020-10-01; those before the first are not wanted.
            if name >= wanted[0].name:
                landing.put(name, day_rows, asked_at, found_rows.unknown)


def _iso(value: str | None, endpoint: Endpoint, month: str) -> str:
    digits = (value or "").replace("-", "")
    try:
        day = date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
    except ValueError:
        raise FeedError(
            f"file of {endpoint.path} {month}: {endpoint.day} = {value!r} is no date"
        ) from None
    name = day.isoformat()
    if name[:7] != month:
        raise FeedError(f"file of {endpoint.path} {month}: it has a row of {name}")
    return name
