"""One definition of months per market, and how far each stage looks back over them."""

from collections.abc import Mapping
from datetime import time, timedelta

import dagster as dg
import numpy as np

from alpha_assets.calendar import Calendar, month_of, month_range, next_month
from alpha_assets.config.market import Market

# Tags of a run of one partition, and of a range of them.
PARTITION = "dagster/partition"
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"

BARS = "daily_bars"
MINUTE = timedelta(minutes=1)
A_DAY = 24 * 60  # minutes

# Of ticks before the decision: the last publication is over by then.
MINUTES_BEFORE = 25
LEADS = {"America/New_York": 180}


def minutes_of(at: time) -> int:
    """Return the minutes of a time of day since midnight."""
    return at.hour * 60 + at.minute


def lead(market: Market) -> timedelta:
    """Return how long before the decision a market's schedules tick.

    After the bars are public: where that is shortly before the decision, in the middle between.
    """
    declared = market.spec.calendar
    bars = market.feeds.get(BARS, market.declared[BARS])
    window = (minutes_of(declared.decision_time) - minutes_of(bars.publication.at)) % A_DAY
    return timedelta(minutes=min(LEADS.get(declared.zone, MINUTES_BEFORE), window // 2))


def is_evening_before(market: Market) -> bool:
    """Return whether a session is prepared on the day before its own."""
    return minutes_of(market.spec.calendar.decision_time) * MINUTE < lead(market)


def months(market: Market) -> dg.MonthlyPartitionsDefinition:
    """Return the months of a market; the current one has a partition from its first day.

    So has the next one of a market whose first session is prepared on the evening before.
    A simulated market ends with its data: nothing will ever fill a later month.
    """
    last = market.source.last_day
    end = None if last is None else next_month(month_of(last))
    return dg.MonthlyPartitionsDefinition(
        start_date=f"{market.spec.first_month}-01",
        end_date=f"{end}-01" if end else None,
        timezone=market.spec.calendar.zone,
        end_offset=2 if is_evening_before(market) else 1,
    )


def month_keys(context: dg.AssetExecutionContext) -> list[str]:
    """Return the months `YYYY-MM` that this run is about; partition keys are `YYYY-MM-01`."""
    return [key.removesuffix("-01") for key in context.partition_keys]


def months_of_tags(tags: Mapping[str, str]) -> list[str] | None:
    """Return the months that a run is about by its tags; None where they name none."""
    first = tags.get(RANGE_START, tags.get(PARTITION))
    last = tags.get(RANGE_END, tags.get(PARTITION))
    if first is None or last is None:
        return None
    return list(month_range(first.removesuffix("-01"), last.removesuffix("-01")))


def months_spanned(calendar: Calendar, sessions: int) -> int:
    """Return how many months before its own a month reads at most.

    Partition mappings count months, look-backs count sessions: the widest case of the whole
    calendar is taken, so that no month reads what its mapping does not name.

    Args:
        calendar: of the market.
        sessions: read before the month's first session.
    """
    month_D = calendar.sessions.astype("datetime64[M]").astype(np.int64)
    _, first_M = np.unique(month_D, return_index=True)
    back_M = month_D[first_M] - month_D[np.maximum(first_M - sessions, 0)]
    return int(back_M.max())
