"""The code location: every market and recipe of `pipelines/` as Dagster assets."""

import dagster as dg

from alpha_assets.defs.location import definitions_of, located


@dg.definitions
def defs() -> dg.Definitions:
    """Return assets, checks, jobs, schedules, sensors and resources."""
    return definitions_of(located())
