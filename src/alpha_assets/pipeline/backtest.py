"""The stage of the backtest: what holding the targets would have earned after costs."""

from collections.abc import Iterator, Sequence

from alpha_assets.backtest.rules.base import COVARIANCE_SESSIONS
from alpha_assets.calendar import as_date, month_range
from alpha_assets.config.recipe import Recipe
from alpha_assets.errors import MissingOutput, StorageError
from alpha_assets.pipeline import identity
from alpha_assets.pipeline.command import run_again
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.families import (
    RETURNS,
    WEIGHED_BY,
    factors_read,
    tables_of,
    weighs_drift,
)
from alpha_assets.pipeline.market_stages import features_stage, panel_stage, raw_rows
from alpha_assets.pipeline.predictions import predictions_stage
from alpha_assets.pipeline.raw import backtest_feeds
from alpha_assets.pipeline.seen import Seen
from alpha_assets.pipeline.stage import Inputs, Output, Read, Span, Stage
from alpha_assets.pipeline.targets import targets_stage
from alpha_assets.pipeline.windows import NO_HISTORY
from alpha_assets.spec import digest, kept

METRICS = "metrics.json"


@kept
def backtest_stage(recipe: Recipe) -> Stage[RecipeContext]:
    """Return the stage of books and figures, of all decided months together.

    What judges reads the last revision of all rows that are stored: labels of the last decisions
    end in later months.
    """
    market = recipe.market
    return Stage(
        name="backtest",
        key=(recipe.folder, "backtest"),
        place=lambda context: context.backtest,
        made_by=lambda: identity.backtest(recipe),
        reads=(
            Read(targets_stage(recipe), fresh=True),
            Read(predictions_stage(recipe)),
            *_scores_of_parent(recipe),
            Read(panel_stage(market), months_back=1),
            _features_read(recipe),
            *[
                Read(raw_rows(feed), all_before=True, until=None, optional=True)
                for feed in backtest_feeds(market)
            ],
        ),
        make=make_backtest,
        monthly=False,
        records=("data.code_version",),
    )


def _features_read(recipe: Recipe) -> Read[RecipeContext]:
    """Return that features are read: of regimes and exposures, and what a planted drift needs."""
    market, wanted = recipe.market, [RETURNS, *factors_read(recipe).values()]
    if not weighs_drift(market):
        return Read(features_stage(market, tables_of(market, wanted)))
    families = tables_of(market, [*wanted, *WEIGHED_BY])
    return Read(features_stage(market, families), sessions_back=COVARIANCE_SESSIONS - 1)


def _scores_of_parent(recipe: Recipe) -> tuple[Read[RecipeContext], ...]:
    """Return that the parent's scores are read, where a gate compares with them."""
    if recipe.parent is None or recipe.spec.gates is None or not recipe.spec.gates.not_below_parent:
        return ()
    return (
        Read(
            predictions_stage(recipe.parent),
            name=f"{recipe.parent.folder}/predictions",
            span=_span_of_parent,
            where=RecipeContext.of_parent,
        ),
    )


def _span_of_parent(context: RecipeContext, months: Sequence[str], seen: Seen) -> Span | None:
    """Return the months of the parent's scores that are compared; None where one lacks."""
    stored = set(context.of_parent().predictions.months())
    return (months[0], months[-1]) if stored.issuperset(months) else None


def decided_months(context: RecipeContext) -> tuple[str, ...]:
    """Return the latest run of consecutive months whose targets the recipe has now.

    Raises:
        MissingOutput: there are none.
    """
    made_by = identity.targets(context.recipe)
    found = [
        month
        for month in context.targets.months()
        if (manifest := context.targets.folder(month).manifest()) is not None
        and manifest.digest == made_by.digest
        and manifest.code == made_by.code
        and manifest.status != NO_HISTORY
    ]
    if not found:
        raise MissingOutput(
            f"recipe {context.recipe.folder!r} has no targets on market {context.market.name!r}; "
            f"{run_again(context)}"
        )
    first = len(found) - 1
    while first > 0 and month_range(found[first - 1], found[first])[1:] == (found[first],):
        first -= 1
    return tuple(found[first:])


def judged_span(context: RecipeContext) -> tuple[str, str] | None:
    """Return the first and last month of the stored backtest; None where there is none."""
    try:
        manifest = context.backtest.manifest()
    except StorageError:
        return None
    if manifest is None:
        return None
    return str(manifest.extra["first_month"]), str(manifest.extra["last_month"])


def judged_months(context: RecipeContext) -> tuple[str, ...]:
    """Return the months of the stored backtest, none where there is none."""
    span = judged_span(context)
    return month_range(*span) if span else ()


def make_backtest(
    context: RecipeContext, months: Sequence[str], inputs: Inputs
) -> Iterator[Output]:
    """Simulate the decided months, and judge them."""
    from alpha_assets.evaluation.metrics import evaluate, metrics_json
    from alpha_assets.pipeline.figures import evaluation_inputs
    from alpha_assets.pipeline.simulation import scores_of, simulated
    from alpha_assets.report.words import warnings

    predictions = scores_of(context, months)
    books = simulated(context, months, first=as_date(predictions["session"].min()))
    data_hash = digest(dict(inputs[""]))
    inputs_of = evaluation_inputs(context, months, predictions, books, data_hash)
    evaluation = evaluate(inputs_of)
    found = inputs_of.attribution
    assert found is not None
    for words in warnings(evaluation.metrics):
        context.progress("backtest", words)
    frames = {
        "positions": books.positions,
        "trades": books.trades,
        "daily": books.daily,
        "marks": books.marks,
        "ic": evaluation.ic,
        "legs": found.legs,
        "names": found.names,
    }
    yield Output(
        frames=frames,
        files={METRICS: metrics_json(evaluation.metrics)},
        facts={"first_month": months[0], "last_month": months[-1]},
    )
