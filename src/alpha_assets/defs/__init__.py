"""The Dagster edge: thin assets, checks, jobs, schedules and sensors over `pipeline`."""

import logging
import warnings

import dagster as dg

# Backfill policies and look-back over missing partitions are marked beta in the pinned version;
# a warning per asset would bury what matters in every command's output.
warnings.filterwarnings("ignore", category=dg.BetaWarning)

SENSORS = ("run_failed", "runs_of_dead_processes")
NOTHING_FAILED = "Sensor function returned an empty result"  # of Dagster
NOTHING_DEAD = "every run's process lives"


def is_news(record: logging.LogRecord) -> bool:
    """Return whether a line of Dagster's sensor daemon is more than an idle tick of our sensors.

    They tick every 30 seconds, and the daemon writes two lines for each tick that finds nothing.
    The daemon imports this package for its storage, so that it goes by this, too.
    """
    idle = [f"Checking for new runs for sensor: {name}" for name in SENSORS]
    idle += [
        f"Sensor {name} skipped: {words}"
        for name in SENSORS
        for words in (NOTHING_FAILED, NOTHING_DEAD)
    ]
    return record.levelno != logging.INFO or record.getMessage() not in idle


logging.getLogger("dagster.daemon.SensorDaemon").addFilter(is_news)
