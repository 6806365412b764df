"""The stages of the coverage and of the tear sheet: what there is of data, and the page."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import polars as pl

from alpha_assets.config.recipe import Recipe
from alpha_assets.pipeline import identity
from alpha_assets.pipeline.backtest import METRICS, backtest_stage, judged_months
from alpha_assets.pipeline.checkpoint import checkpoint_stage
from alpha_assets.pipeline.command import command
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.epochs import mean_curve
from alpha_assets.pipeline.families import covered_families, section_families
from alpha_assets.pipeline.market_stages import features_stage, raw_rows
from alpha_assets.pipeline.seen import Seen
from alpha_assets.pipeline.stage import Inputs, Output, Read, Stage
from alpha_assets.report.inputs import ReportInputs
from alpha_assets.spec import kept

PAGE = "tear_sheet.html"
COVERAGE = "coverage.json"


@kept
def coverage_stage(recipe: Recipe) -> Stage[RecipeContext]:
    """Return the stage of what is stored of feeds, and of the recipe's families of features.

    Features after the last judged month do not count: they may never be asked for.
    """
    market, families = recipe.market, section_families(recipe)

    return Stage(
        name="coverage",
        key=(recipe.folder, "coverage"),
        place=lambda context: context.coverage,
        made_by=lambda: identity.coverage(recipe.market, families),
        reads=(
            Read(backtest_stage(recipe), name="months", hashed=_judged),
            Read(features_stage(market, covered_families(recipe)), all_before=True),
            *[
                Read(raw_rows(feed), all_before=True, until=None, optional=True)
                for feed in market.feeds
            ],
        ),
        make=make_coverage,
        monthly=False,
    )


def _judged(context: RecipeContext, months: Sequence[str], seen: Seen) -> str:
    """Return which months a backtest judged: of it, a coverage takes nothing else."""
    return f"{months[0]} to {months[-1]}"


@kept
def report_stage(recipe: Recipe) -> Stage[RecipeContext]:
    """Return the stage of the tear sheet."""
    return Stage(
        name="report",
        key=(recipe.folder, "report"),
        place=lambda context: context.report,
        made_by=lambda: identity.report(recipe),
        reads=(
            Read(backtest_stage(recipe), fresh=True),
            Read(coverage_stage(recipe), fresh=True),
            Read(checkpoint_stage(recipe)),
        ),
        make=make_report,
        monthly=False,
    )


def make_coverage(
    context: RecipeContext, months: Sequence[str], inputs: Inputs
) -> Iterator[Output]:
    """Count what there is of features and feeds."""
    from alpha_assets.pipeline.checks import coverage

    families = section_families(context.recipe)
    found = coverage(context, families, last=months[-1], every_feed=True).as_json()
    yield Output(files={COVERAGE: json.dumps(found, indent=1).encode()})


def make_report(context: RecipeContext, months: Sequence[str], inputs: Inputs) -> Iterator[Output]:
    """Write the page."""
    from alpha_assets.report.tearsheet import tear_sheet  # with it come the libraries of charts

    context.progress("report", f"{context.report.address}/{PAGE}")
    page = tear_sheet(report_inputs(context))
    yield Output(files={PAGE: page.encode()})


def report_inputs(context: RecipeContext) -> ReportInputs:
    """Return what the tear sheet is made from."""
    metrics = read_metrics(context)
    return ReportInputs(
        metrics=metrics,
        daily=judged_days(metrics, context.backtest.read("daily")),
        ic=context.backtest.read("ic"),
        about=context.recipe.spec.about,
        checkpoints=checkpoints(context, judged_months(context)),
        command=command_again(context, metrics["span"]),
        coverage=json.loads(context.coverage.contents(COVERAGE)[COVERAGE]),
    )


def stored_metrics(context: RecipeContext) -> dict[str, Any]:
    """Return the figures of the stored backtest, found fresh.

    Raises:
        MissingOutput: there is none.
        StaleOutput: other settings, other code or other inputs made it.
        StorageError: it is damaged.
    """
    backtest_stage(context.recipe).require(context, judged_months(context))
    return read_metrics(context)


def read_metrics(context: RecipeContext) -> dict[str, Any]:
    """Return the figures of the stored backtest."""
    content: dict[str, Any] = json.loads(context.backtest.contents(METRICS)[METRICS])
    return content


def report_pictures(context: RecipeContext) -> dict[str, bytes]:
    """Return the key charts as small PNGs, for the Dagster UI."""
    from alpha_assets.report.tearsheet import chart_images

    return chart_images(report_inputs(context))


def command_again(context: RecipeContext, span: Mapping[str, Any]) -> str:
    """Return the command that makes the figures of a span again, of the months asked for."""
    options: list[str] = []
    for end in ("first", "last"):
        month = span.get(f"asked_{end}_month") or span.get(f"{end}_predicted")
        options += [f"--{end}-month", str(month)[:7]] if month else []
    return command(context, "run", *options)


def judged_days(metrics: Mapping[str, Any], daily: pl.DataFrame) -> pl.DataFrame:
    """Return the sessions that count, of the daily table."""
    for stretch in metrics["span"].get("undecided", ()):
        first, last = (date.fromisoformat(stretch[f"{end}_session"]) for end in ("first", "last"))
        daily = daily.filter(~pl.col("session").is_between(first, last))
    return daily


def checkpoints(context: RecipeContext, months: Sequence[str]) -> pl.DataFrame:
    """Return one row per month's model."""
    rows = []
    for month in months:
        manifest = context.checkpoint(month).manifest()
        extra: Mapping[str, Any] = manifest.extra if manifest else {}
        rows.append(
            {
                "month": month,
                "status": manifest.status if manifest else "missing",
                "epochs": extra.get("epochs"),
                "best_epoch": extra.get("best_epoch"),
                "unfinished_seeds": extra.get("unfinished_seeds"),
                "valid_rank_ic": extra.get("valid_rank_ic"),
                "curve": mean_curve(extra.get("curves", ())),
            }
        )
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "month": pl.String,
        "status": pl.String,
        "epochs": pl.Int64,
        "best_epoch": pl.Int64,
        "unfinished_seeds": pl.Int64,
        "valid_rank_ic": pl.Float64,
        "curve": pl.List(pl.Float64),
    }
    return pl.DataFrame(rows, schema=schema)
