"""What each asset depends on, derived from what its stage declares that it reads.

Feeds that are off have no rows, and nothing is made from them: no stage reads them.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from alpha_assets.config.market import Market
from alpha_assets.defs.partitions import months_spanned
from alpha_assets.pipeline.stage import Read, Stage

ALL_HISTORY = 12 * 100  # months; more than any market has


def dependencies(stage: Stage[Any], market: Market) -> list[dg.AssetDep]:
    """Return the dependencies of a stage's asset: what it reads, as far back as it reads it.

    Families of one table read each other within their asset.
    """
    reads: dict[dg.AssetKey, list[Read[Any]]] = {}
    for read in stage.reads:
        of = read.of or stage
        reads.setdefault(dg.AssetKey([market.name, *of.key]), []).append(read)
    return [
        dg.AssetDep(key, partition_mapping=_mapping(stage, ways, market))
        for key, ways in reads.items()
    ]


def _mapping(
    stage: Stage[Any], reads: Sequence[Read[Any]], market: Market
) -> dg.PartitionMapping | None:
    """Return which months are read of one asset, in all the ways that a stage reads it."""
    if not all((read.of or stage).monthly for read in reads):
        return None
    if not stage.monthly:
        return dg.AllPartitionMapping()
    back = max(
        ALL_HISTORY
        if read.all_before
        else months_spanned(market.calendar, read.sessions_back) + read.months_back
        for read in reads
    )
    until = max(read.until for read in reads if read.until is not None)
    return dg.TimeWindowPartitionMapping(
        start_offset=-back, end_offset=until, allow_nonexistent_upstream_partitions=True
    )
