"""How much of each feature is filled on the default simulated market, as a table for the docs.

python -m alpha_assets.pipeline.coverage_table docs/coverage_sim.csv

Makes raw rows, panel and features of the market in a storage that is thrown away after.
"""

import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import polars as pl

from alpha_assets.config.market import load_market
from alpha_assets.features import Feature
from alpha_assets.pipeline.checks import coverage
from alpha_assets.pipeline.context import MarketContext
from alpha_assets.pipeline.frontier import months_of_data
from alpha_assets.pipeline.runner import ingest_all
from alpha_assets.pipeline.stages import make
from alpha_assets.quality.coverage import Coverage
from alpha_assets.store.store import Store

MARKET = "sim"


SCHEMA = {
    "feature": pl.String,
    "family": pl.String,
    "filled": pl.Float64,
    "lowest": pl.Float64,
    "lowest_month": pl.String,
    "first": pl.Date,
}


def coverage_table(found: Coverage, features: Sequence[Feature]) -> pl.DataFrame:
    """Return a row per feature: share filled, its lowest month, the first session with a value.

    Months before the first value do not count.

    Args:
        found: of the market.
        features: in the order of the rows; one that the market cannot have has an empty share.
    """
    off = {name for family in found.families for name in family.off}
    rows = []
    for feature in features:
        row: dict[str, object] = {"feature": feature.name, "family": feature.family}
        if feature.name not in off:
            row |= _shares(found.cells.filter(pl.col("feature") == feature.name))
        rows.append(row)
    return pl.DataFrame(rows, schema=SCHEMA)


def _shares(cells: pl.DataFrame) -> dict[str, object]:
    """Return how a feature is filled since its first value; without one, all months count."""
    first = cells["first"].min()
    began = f"{first:%Y-%m}" if isinstance(first, date) else ""
    months = (
        cells.filter((pl.col("month") >= began) & (pl.col("enough") > 0))
        .with_columns(share=pl.col("filled") / pl.col("enough"))
        .sort("share", "month")
    )
    if not months.height:
        return {"first": first}
    return {
        "first": first,
        "filled": months.select(pl.col("filled").sum() / pl.col("enough").sum()).item(),
        "lowest": months["share"][0],
        "lowest_month": months["month"][0],
    }


def main(path: Path) -> None:
    """Measure, and write the table."""
    market = load_market(MARKET)
    with tempfile.TemporaryDirectory(prefix="alpha-assets-coverage-") as folder:
        context = MarketContext(market, Store(folder), progress=_write_progress)
        context = ingest_all(context)
        months = months_of_data(context)
        for stage in ("panel", "features"):
            make(context, stage, months)
        found = coverage(context)
    coverage_table(found, market.choice).write_csv(path, float_precision=4)


def _write_progress(stage: str, what: str) -> None:
    sys.stderr.write(f"{stage:>14}  {what}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
