"""Jobs for the whole pipeline and for a day, their schedules, and a sensor of runs that failed."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import numpy as np

from alpha_assets.calendar import Calendar, as_date, month_of
from alpha_assets.config.market import Market
from alpha_assets.config.recipe import Recipe
from alpha_assets.defs.partitions import A_DAY, MINUTE, lead, minutes_of
from alpha_assets.pipeline.stages import stages_below, study_stages

# A tick is about the session that is decided so soon after it; where none is, the day has none.
BELONGS = np.timedelta64(12, "h")

LATELY = 2 * 366  # sessions whose clock decides when to tick: the rules of zones change

Job = Any  # Dagster does not export the type of an asset job that is not resolved yet


@dataclass(frozen=True)
class Automation:
    """What runs by itself, once it is switched on."""

    jobs: list[Job]
    schedules: list[dg.ScheduleDefinition]


def automation(recipe: Recipe, market: Market) -> Automation:
    """Return the jobs and the two schedules of a recipe on a market."""
    of_market = dg.AssetSelection.groups(f"{market.name}_raw") | dg.AssetSelection.assets(
        *[[market.name, *stage.key] for stage in stages_below(recipe)]
    )
    of_recipe: dg.AssetSelection = dg.AssetSelection.groups(f"{market.name}_{recipe.name}")
    for stage in study_stages(recipe):  # made where it is asked for: it costs a training a fold
        of_recipe -= dg.AssetSelection.assets([market.name, *stage.key])
    decided = dg.AssetSelection.assets(
        [market.name, recipe.name, "predictions"], [market.name, recipe.name, "targets"]
    )
    name = f"{market.name}_{recipe.name}"
    month_job = dg.define_asset_job(
        f"{name}_month",
        of_market | of_recipe,
        description="The whole pipeline for one month, its retraining included.",
    )
    day_job = dg.define_asset_job(
        f"{name}_day",
        of_market | decided,
        description="Raw rows to targets, from the month's checkpoint.",
    )
    return Automation(
        jobs=[month_job, day_job],
        schedules=[
            schedule(market, f"{name}_month", month_job, on_first=True),
            schedule(market, f"{name}_day", day_job, on_first=False),
        ],
    )


def schedule(market: Market, job_name: str, job: Job, *, on_first: bool) -> dg.ScheduleDefinition:
    """Return the schedule of a job: on the first session of each month, or on all others."""

    @dg.schedule(
        name=job_name,
        job=job,
        cron_schedule=cron(market),
        execution_timezone=market.spec.calendar.zone,
        description=(
            "On the first session of a month: the whole pipeline, its retraining included."
            if on_first
            else "On every other session: what to hold today, from the month's checkpoint."
        ),
    )
    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        return request(market, job_name, context.scheduled_execution_time, on_first=on_first)

    return tick


def request(
    market: Market, job: str, at: datetime, *, on_first: bool
) -> dg.RunRequest | dg.SkipReason:
    """Return what a tick asks for: the session's month, or why there is nothing to do.

    The session is the first that is decided at or after the tick, whatever the tick's own date:
    a market that decides at midnight is prepared on the evening before.

    Args:
        market: whose calendar decides.
        job: by name.
        at: the tick's time.
        on_first: run on the first session of a month, else on all others.
    """
    calendar = market.calendar
    tick = instant(at)
    number = int(calendar.effective(tick))
    near = calendar.decisions[number : number + 1] <= tick + BELONGS
    if not near.any():
        day = (at.astimezone(calendar.zone).replace(tzinfo=None) + lead(market)).date()
        return dg.SkipReason(f"{day} is no session of {calendar.exchange}")
    session, decision = calendar.sessions[number], calendar.decisions[number]
    if comes_nearer(market, tick, decision):
        return dg.SkipReason(f"another tick comes nearer to the decision of {session}")
    last = market.source.last_day
    if last is not None and session > np.datetime64(last):
        return dg.SkipReason(f"the simulated rows of {market.name} end {last}")
    month = month_of(session)
    is_first = bool(calendar.month_sessions(month)[0] == session)
    if is_first != on_first:
        word = "the" if is_first else "not the"
        return dg.SkipReason(f"{session} is {word} first session of {month}")
    return dg.RunRequest(
        run_key=f"{job}:{as_date(session).isoformat()}", partition_key=f"{month}-01"
    )


def instant(at: datetime) -> np.datetime64:
    """Return a time with a zone as the calendar counts it."""
    return np.datetime64(at.astimezone(UTC).replace(tzinfo=None), "us")


def comes_nearer(market: Market, tick: np.datetime64, decision: np.datetime64) -> bool:
    """Return whether another tick is certain to lie between this one and the decision."""
    zone = market.calendar.zone
    day = decision.astype("datetime64[us]").item().replace(tzinfo=UTC).astimezone(zone).date()
    return any(
        all(tick < other <= decision for other in occurrences(day - timedelta(days=back), at, zone))
        for at in tick_times(market.calendar, lead(market))
        for back in (0, 1)
    )


def occurrences(day: date, at: time, zone: ZoneInfo) -> tuple[np.datetime64, np.datetime64]:
    """Return the instants of a time of day: two of them where the clock repeats it.

    Dagster ticks at one of the two, and which one depends on the zone.
    """
    first, second = (
        instant(datetime.combine(day, at.replace(fold=fold), tzinfo=zone)) for fold in (0, 1)
    )
    return first, second


def cron(market: Market) -> str | list[str]:
    """Return when a market's schedules tick."""
    times = [f"{at.minute} {at.hour} * * *" for at in tick_times(market.calendar, lead(market))]
    return times if len(times) > 1 else times[0]


@lru_cache
def tick_times(calendar: Calendar, lead: timedelta) -> tuple[time, ...]:
    """Return the local times of day at which a market's schedules tick.

    One, unless the clock's going back moves it behind a decision: then another an hour earlier, and
    the one that comes nearest before a decision is the session's.
    """
    minutes = minutes_of(calendar.decision_time) - lead // MINUTE
    usual, earlier = (time(m // 60, m % 60) for m in (minutes % A_DAY, (minutes - 60) % A_DAY))
    back = timedelta(days=1 if minutes < 0 else 0)
    lately = slice(-LATELY, None)
    is_late = any(
        max(occurrences(session - back, usual, calendar.zone)) > decision
        for session, decision in zip(
            calendar.sessions[lately].astype(object), calendar.decisions[lately], strict=True
        )
    )
    return (usual, earlier) if is_late else (usual,)


@dg.run_failure_sensor(default_status=dg.DefaultSensorStatus.RUNNING)
def run_failed(context: dg.RunFailureSensorContext) -> None:
    """Write a failed run to the log, which the daemon shows."""
    context.log.error(
        f"run {context.dagster_run.run_id} of {context.dagster_run.job_name} failed: "
        f"{context.failure_event.message}"
    )
