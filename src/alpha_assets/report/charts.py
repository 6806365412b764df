"""All charts of a run, in the order in which they are read."""

from collections.abc import Callable

from altair.utils.schemapi import debug_mode

from alpha_assets.report.book_charts import (
    capacity,
    drawdown,
    equity,
    exposure,
    monthly_costs,
    monthly_returns,
    turnover,
    waterfall,
)
from alpha_assets.report.figure import Figure
from alpha_assets.report.inputs import ReportInputs
from alpha_assets.report.signal_charts import (
    buckets,
    decay,
    epochs,
    groups,
    monthly_ic,
    planted,
    rolling_ic,
    training,
)

FIGURES: tuple[Callable[[ReportInputs], Figure], ...] = (
    equity,
    drawdown,
    monthly_returns,
    rolling_ic,
    buckets,
    monthly_ic,
    decay,
    groups,
    planted,
    waterfall,
    monthly_costs,
    capacity,
    turnover,
    exposure,
    training,
    epochs,
)


def figures(inputs: ReportInputs) -> dict[str, Figure]:
    """Return all figures by name."""
    with debug_mode(False):  # altair would check each part of a chart while it is put together
        made = [make(inputs) for make in FIGURES]
    return {figure.name: figure for figure in made}
