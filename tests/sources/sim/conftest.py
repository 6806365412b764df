"""Small simulated exchanges, made once."""

from datetime import date, time

import pytest

from alpha_assets.calendar import Calendar, CalendarSpec
from alpha_assets.sources.sim import SimSpec
from alpha_assets.sources.sim.market import SimMarket, generate

# Dirt in quantity, so that a small market has some of everything.
DIRTY = SimSpec(
    seed=3,
    n_symbols=80,
    first=date(2021, 6, 1),
    last=date(2022, 9, 30),
    late_within_sessions=250,
    delistings_annual=0.2,
    halts_annual=1.0,
    missing_share=0.003,
    corrected_share=0.01,
    splits_annual=1.0,
    jumps_annual=4.0,
)


@pytest.fixture(scope="session")
def tokyo_calendar() -> Calendar:
    return Calendar.load(
        CalendarSpec(
            exchange="XTKS",
            zone="Asia/Tokyo",
            decision_time=time(8, 30),
            sessions_per_year=245,
        )
    )


@pytest.fixture(scope="session")
def dirty_spec() -> SimSpec:
    return DIRTY


@pytest.fixture(scope="session")
def dirty(tokyo_calendar: Calendar) -> SimMarket:
    return generate(DIRTY, tokyo_calendar)
