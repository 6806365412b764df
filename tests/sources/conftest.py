"""A calendar, small folders of files, and an empty store."""

from collections.abc import Callable
from datetime import date, time
from pathlib import Path

import polars as pl
import pytest

from alpha_assets.calendar import Calendar, CalendarSpec

SESSIONS = [date(2020, 1, day) for day in (2, 3, 6, 7, 8, 9, 10, 13)]

Write = Callable[..., Path]


@pytest.fixture(scope="session")
def new_york() -> Calendar:
    spec = CalendarSpec(
        exchange="XNYS", zone="America/New_York", decision_time=time(9), sessions_per_year=252
    )
    return Calendar.load(spec)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write tables as Parquet files of a folder; the folder is made anew each time."""

    def write(folder: str = "delivery", **tables: pl.DataFrame) -> Path:
        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        for name, table in tables.items():
            table.write_parquet(path / f"{name}.parquet")
        return path

    return write


def bars(
    closes: dict[str, list[float | None]], sessions: list[date] | None = None, **more: object
) -> pl.DataFrame:
    """Return bars that open, stay and close at `closes`, one list a symbol."""
    frames = []
    for symbol, prices in closes.items():
        days = (sessions or SESSIONS)[: len(prices)]
        price = pl.Series(prices, dtype=pl.Float64)
        frames.append(
            pl.DataFrame(
                {
                    "date": days,
                    "symbol": symbol,
                    "open": price,
                    "high": price * 1.01,
                    "low": price * 0.99,
                    "close": price,
                    "volume": [None if p is None else 100.0 + i for i, p in enumerate(prices)],
                }
            )
        )
    return pl.concat(frames).with_columns(**more)


@pytest.fixture(scope="session")
def tokyo_calendar() -> Calendar:
    spec = CalendarSpec(
        exchange="XTKS", zone="Asia/Tokyo", decision_time=time(8, 30), sessions_per_year=245
    )
    return Calendar.load(spec)
