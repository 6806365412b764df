"""One definition of months per market, and how far each stage looks back over them."""

import dagster as dg
import numpy as np

from alpha_assets.calendar import Calendar, month_of, next_month
from alpha_assets.road.market import Market

ALL_HISTORY = 12 * 100  # months; more than any market has


def months(market: Market) -> dg.MonthlyPartitionsDefinition:
    """Return the months of a market; the current one has a partition from its first day.

    A simulated market ends with its data: nobody will ever fill a later month.
    """
    end = next_month(month_of(market.spec.sim.last)) if market.is_simulated else None
    return dg.MonthlyPartitionsDefinition(
        start_date=f"{market.spec.first_month}-01",
        end_date=f"{end}-01" if end else None,
        timezone=market.spec.calendar.zone,
        end_offset=1,
    )


def month_keys(context: dg.AssetExecutionContext) -> list[str]:
    """Return the months `YYYY-MM` that this run is about; partition keys are `YYYY-MM-01`."""
    return [key.removesuffix("-01") for key in context.partition_keys]


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


def since(key: dg.AssetKey, months_back: int, until: int = 0) -> dg.AssetDep:
    """Return a dependency on the months from `months_back` before to `until` after each month."""
    mapping = dg.TimeWindowPartitionMapping(
        start_offset=-months_back, end_offset=until, allow_nonexistent_upstream_partitions=True
    )
    return dg.AssetDep(key, partition_mapping=mapping)


def all_before(key: dg.AssetKey, until: int = 0) -> dg.AssetDep:
    """Return a dependency on every month up to `until` after each month."""
    return since(key, ALL_HISTORY, until)


def every_month(key: dg.AssetKey) -> dg.AssetDep:
    """Return the dependency of an unpartitioned asset on all months."""
    return dg.AssetDep(key, partition_mapping=dg.AllPartitionMapping())
