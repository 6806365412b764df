"""A clock that never waits, a small exchange, and the local server in front of it."""

import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from alpha_assets.calendar import Calendar, CalendarSpec
from alpha_assets.sources.jquants import ApiKey, JQuantsSpec
from alpha_assets.sources.jquants.source import JQuantsSource
from alpha_assets.sources.sim import SimSpec
from alpha_assets.sources.sim.source import SimSource
from alpha_assets.sources.sim_jquants import Server, make_server

KEY = "k3y-that-nobody-may-see"

# Spans the full-day halt of 2020-10-01; dirt in quantity.
SMALL = SimSpec(
    seed=3,
    n_symbols=30,
    first=date(2020, 7, 6),
    last=date(2020, 11, 6),
    late_within_sessions=40,
    delistings_annual=1.0,
    halts_annual=2.0,
    missing_share=0.01,
    corrected_share=0.02,
    splits_annual=3.0,
)
HALF = date(2020, 9, 14)  # enough of it for most tests
EVENING = datetime(2020, 11, 6, 14, 30, tzinfo=UTC)  # 23:30 in Tokyo, the last session


class StandingClock:
    """Time that passes only by waiting."""

    def __init__(self, now: datetime) -> None:
        self.time = now
        self.waits: list[float] = []
        self._lock = threading.Lock()

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        with self._lock:
            self.waits.append(seconds)
            self.time += timedelta(seconds=seconds)


@pytest.fixture(scope="session")
def calendar() -> Calendar:
    return Calendar.load(
        CalendarSpec(
            exchange="XTKS", zone="Asia/Tokyo", decision_time=time(8, 30), sessions_per_year=245
        )
    )


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock(EVENING)


@pytest.fixture
def small() -> SimSpec:
    return SMALL


@pytest.fixture(scope="session")
def sim(calendar: Calendar) -> SimSource:
    return SimSource(SMALL, calendar)


@pytest.fixture
def key() -> str:
    return KEY


Serve = Callable[..., Server]


@pytest.fixture
def serve(calendar: Calendar, clock: StandingClock) -> Iterator[Serve]:
    """Start servers that tell the standing clock's time, and stop them at the end."""
    started: list[Server] = []

    def start(**changes: Any) -> Server:
        settings: dict[str, Any] = {
            "keys": {KEY: "standard"},
            "now": clock.now,
            "clock": clock.now,
            "page_size": 50,
            **changes,
        }
        spec = settings.pop("spec", SMALL)
        started.append(make_server(spec, calendar, **settings).start())
        return started[-1]

    yield start
    for server in started:
        server.stop()


Read = Callable[..., JQuantsSource]


class RefreshedSource(JQuantsSource):
    """A source that requests what is due before each answer, as an ingestion does once."""

    def fingerprint(self, feed: str) -> str:
        self.refresh(feed)
        return super().fingerprint(feed)

    def rows(self, feed: str) -> pl.DataFrame:
        self.refresh(feed)
        return super().rows(feed)


@pytest.fixture
def read(calendar: Calendar, clock: StandingClock, tmp_path: Path) -> Read:
    """Return a source that reads a server, landing in the test's own folder."""

    def source(server: Server | None = None, **changes: Any) -> JQuantsSource:
        settings: Mapping[str, Any] = {
            "first": HALF,
            "base_url": server.base_url if server else "http://127.0.0.1:1/v2",
            "bulk": False,
            **{k: v for k, v in changes.items() if k not in ("transport", "key", "folder", "kind")},
        }
        return changes.get("kind", RefreshedSource)(
            JQuantsSpec(**settings),
            calendar,
            changes.get("folder", tmp_path / "landing"),
            transport=changes.get("transport"),
            clock=clock,
            key=ApiKey(changes.get("key", KEY)),
        )

    return source
