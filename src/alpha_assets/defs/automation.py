"""Jobs for the whole road and for a day, their schedules, and word of runs that failed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg
import numpy as np

from alpha_assets.calendar import as_date, month_of
from alpha_assets.road.market import Market
from alpha_assets.road.recipe import Recipe

Job = Any  # Dagster does not export the type of an asset job that is not resolved yet

# Local time: after the last publication, before the decision.
SCHEDULE_TIMES = {"Asia/Tokyo": "5 8 * * *", "America/New_York": "0 6 * * *"}
MINUTES_BEFORE = 25  # of the decision, for any other market


@dataclass(frozen=True)
class Automation:
    """What runs by itself, once it is switched on."""

    jobs: list[Job]
    schedules: list[dg.ScheduleDefinition]


def automation(recipe: Recipe, market: Market) -> Automation:
    """Return the jobs and the two schedules of a recipe on a market."""
    of_market = dg.AssetSelection.groups(f"{market.name}_raw") | dg.AssetSelection.assets(
        [market.name, "panel"],
        [market.name, "features"],
        [market.name, "cross_section", recipe.spec.universe.name],
    )
    of_recipe = dg.AssetSelection.groups(f"{market.name}_{recipe.name}")
    decided = dg.AssetSelection.assets(
        [market.name, recipe.name, "predictions"], [market.name, recipe.name, "targets"]
    )
    name = f"{market.name}_{recipe.name}"
    month_job = dg.define_asset_job(
        f"{name}_month",
        of_market | of_recipe,
        description="The whole road for one month, its retraining included.",
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
            "On the first session of a month: the whole road, its retraining included."
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

    Args:
        market: whose calendar decides.
        job: by name.
        at: the tick's time.
        on_first: run on the first session of a month, else on all others.
    """
    day = np.datetime64(at.astimezone(market.calendar.zone).date(), "D")
    if not market.calendar.is_session(day):
        return dg.SkipReason(f"{day} is no session of {market.calendar.exchange}")
    if market.is_simulated and day > np.datetime64(market.spec.sim.last):
        return dg.SkipReason(f"the simulated rows of {market.name} end {market.spec.sim.last}")
    month = month_of(day)
    is_first = bool(market.calendar.month_sessions(month)[0] == day)
    if is_first != on_first:
        word = "the" if is_first else "not the"
        return dg.SkipReason(f"{day} is {word} first session of {month}")
    return dg.RunRequest(run_key=f"{job}:{as_date(day).isoformat()}", partition_key=f"{month}-01")


def cron(market: Market) -> str:
    """Return when a market's schedules tick."""
    declared = market.spec.calendar
    if declared.zone in SCHEDULE_TIMES:
        return SCHEDULE_TIMES[declared.zone]
    minutes = declared.decision_time.hour * 60 + declared.decision_time.minute - MINUTES_BEFORE
    return f"{minutes % 60} {minutes // 60 % 24} * * *"


@dg.run_failure_sensor(default_status=dg.DefaultSensorStatus.RUNNING)
def run_failed(context: dg.RunFailureSensorContext) -> None:
    """Write a failed run to the log, where whoever watches the daemon sees it."""
    context.log.error(
        f"run {context.dagster_run.run_id} of {context.dagster_run.job_name} failed: "
        f"{context.failure_event.message}"
    )
