"""One definition of months per market, and how far each stage looks back over them."""

import dagster as dg

from alpha_assets.road.market import Market

ALL_HISTORY = -12 * 100  # months; more than any market has


def months(market: Market) -> dg.MonthlyPartitionsDefinition:
    """Return the months of a market; the current one has a partition from its first day."""
    return dg.MonthlyPartitionsDefinition(
        start_date=f"{market.spec.first_month}-01",
        timezone=market.spec.calendar.zone,
        end_offset=1,
    )


def month_keys(context: dg.AssetExecutionContext) -> list[str]:
    """Return the months `YYYY-MM` that this run is about; partition keys are `YYYY-MM-01`."""
    return [key.removesuffix("-01") for key in context.partition_keys]


def since(key: dg.AssetKey, months_back: int, until: int = 0) -> dg.AssetDep:
    """Return a dependency on the months from `months_back` before to `until` after each month."""
    mapping = dg.TimeWindowPartitionMapping(
        start_offset=-months_back, end_offset=until, allow_nonexistent_upstream_partitions=True
    )
    return dg.AssetDep(key, partition_mapping=mapping)


def all_before(key: dg.AssetKey, until: int = 0) -> dg.AssetDep:
    """Return a dependency on every month up to each month."""
    return since(key, -ALL_HISTORY, until)


def every_month(key: dg.AssetKey) -> dg.AssetDep:
    """Return the dependency of an unpartitioned asset on all months."""
    return dg.AssetDep(key, partition_mapping=dg.AllPartitionMapping())
