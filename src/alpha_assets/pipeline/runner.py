"""Every stage that is missing or stale, run in one process."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import polars as pl

from alpha_assets.calendar import month_of, month_range
from alpha_assets.errors import MissingOutput, RangeError, StorageError
from alpha_assets.pipeline import backtest, identity, market_stages, predict, train
from alpha_assets.pipeline.context import Made, MarketContext, RecipeContext, staleness
from alpha_assets.pipeline.identity import Identity
from alpha_assets.progress import Pace
from alpha_assets.quality.checks import bars_are_sound, require, require_families, scores_spread
from alpha_assets.quality.coverage import LATEST
from alpha_assets.store.table import MonthTable

Context = TypeVar("Context", bound=MarketContext)


def run(
    context: RecipeContext, first_month: str | None = None, last_month: str | None = None
) -> Made:
    """Walk from raw rows to the tear sheet.

    Args:
        context: with a recipe.
        first_month: first to decide; default: the first with a full training window.
        last_month: last to decide; default: the last with bars.

    Returns:
        The report.

    Raises:
        RangeError: months without data or without enough history.
        CheckFailed: a question of `quality.checks` about these months stops.
    """
    check_form(first_month, last_month)
    context = ingest_all(context)
    for note in context.market.notes:
        context.progress("market", note)
    stored = months_of_data(context)
    last = last_month or stored[-1]
    check_months(context, stored, first_month, last)
    make_market_stages(context, month_range(stored[0], last))
    decided = months_to_decide(context, first_month, last)
    require(bars_are_sound, context, decided)
    require_families(context, decided)
    for words in market_stages.thin_months(context, decided):
        context.progress("panel", words)
    pace = Pace(context.progress, "run")
    for number, month in enumerate(decided):
        pace("months decided", number, len(decided))
        train.make_checkpoints(context, [month])
        predict.make_predictions(context, [month])
        require(scores_spread, context, [month])
        predict.make_targets(context, [month])
    backtest.make_backtest(context, decided[0], decided[-1])
    return backtest.make_report(context)


def ingest_all(context: Context) -> Context:
    """Store what the source delivers of every feed that is on; return the context to go on with.

    A feed that turns out to be refused (a plan may not include it after all) is off in it.

    Raises:
        SpecError: the recipe names what a refused feed makes.
    """
    for feed in context.market.feeds:
        market_stages.ingest_feed(context, feed)
    refused = [feed for feed in context.market.feeds if feed not in context.market.source.feeds()]
    if refused:
        context = context.without_refused()
    for feed in refused:
        context.progress("raw", f"{feed} is off: {context.market.feeds_off[feed]}")
    return context


def months_of_data(context: MarketContext) -> tuple[str, ...]:
    """Return the months from the first stored bar's to the last one's.

    Raises:
        MissingOutput: no bars are stored.
    """
    bars = context.raw["daily_bars"]
    if not bars.months():
        raise MissingOutput(f"market {context.market.name!r} has no bars in this storage")
    last = market_stages.last_bar(context)
    dated = bars.read(columns=["event_date", "close"]).filter(pl.col("close").is_not_null())
    first = dated.select(pl.col("event_date").min()).collect().item()
    return month_range(month_of(first), month_of(last))


def check_form(first: str | None, last: str | None) -> None:
    """Refuse what are no months, or end before they start, before anything is read.

    Raises:
        RangeError: naming them.
    """
    given = [month for month in (first, last) if month is not None]
    if given:
        month_range(given[0], given[-1])


def check_months(
    context: RecipeContext, stored: Sequence[str], first: str | None, last: str
) -> None:
    """Refuse months that lie outside the data.

    Raises:
        RangeError: naming the months that there are.
    """
    for month in (first, last):
        if month is not None and not stored[0] <= month <= stored[-1]:
            raise RangeError(
                f"month {month} has no bars of market {context.market.name!r}; "
                f"they reach from {stored[0]} to {stored[-1]}"
            )


def make_market_stages(context: RecipeContext, months: Sequence[str]) -> None:
    """Make panel, features and the recipe's cross-section where they are missing or stale."""
    market_stages.make_panel(context, months)
    market_stages.make_features(context, months)
    market_stages.make_cross_section(context, context.recipe.spec.universe.name, months)


def make_model(context: RecipeContext, month: str) -> None:
    """Make the checkpoint that decides a month, and whatever it needs that is missing or stale.

    That is the market's stages up to the month before, and, with warm starts or where a model
    serves several months, the checkpoints that it leans on.
    """
    stored = months_of_data(context)
    before = [known for known in stored if known < month]
    make_market_stages(context, before)
    require_families(context, before[-LATEST:])
    train.make_checkpoints(context, train.chain(context, month))


def months_to_decide(context: RecipeContext, first_month: str | None, last: str) -> tuple[str, ...]:
    """Return the months to decide; those asked for, or all with a full training window.

    Raises:
        RangeError: no month up to `last` has enough history.
    """
    usable = train.first_usable(context)
    first_full = train.first_trained_month(context, usable)
    if first_month is None and first_full > last:
        raise RangeError(
            f"no month up to {last} has a full training window; the first one is {first_full}"
        )
    if last < first_full:
        raise RangeError(
            f"month {last} has too little history: {context.recipe.spec.split.lookback_sessions} "
            f"training sessions are there from {first_full} on"
        )
    return month_range(first_month or first_full, last)


def status(context: RecipeContext) -> list[dict[str, Any]]:
    """Return one row per stage: months there, months to make again, and the first reason.

    To be made are months that are missing, stale or damaged, and all that follows from them, by
    the rule by which `run` decides what to make.  Months after the last one that was ever asked
    for are not: where bars reach further, the reason names them and counts nothing.  With
    `store.verify` every byte is hashed.
    """
    context = replace(context, planned={})
    rows = [_raw_row(context, name) for name in context.raw]
    rows += [
        {"stage": f"raw/{name}", "made": 0, "to do": None, "why": why, **_ends(())}
        for name, why in feeds_off(context).items()
    ]
    if not context.raw["daily_bars"].months():
        return rows
    months, later = _months_to_judge(context)
    universe = context.recipe.spec.universe.name
    market = context.market
    # Each stage's inputs are asked for once the plan holds the stages before it.
    stage_tables: list[tuple[str, MonthTable, Identity, Callable[[], market_stages.Inputs]]] = [
        (
            "panel",
            context.panel,
            identity.panel(market),
            lambda: market_stages.panel_inputs(context, months),
        ),
        (
            "features",
            context.features,
            identity.features(market),
            lambda: market_stages.features_inputs(context, months),
        ),
        (
            f"cross_section/{universe}",
            context.section,
            identity.cross_section(market, universe),
            lambda: market_stages.cross_section_inputs(context, universe, months),
        ),
    ]
    for name, table, made_by, inputs in stage_tables:
        stale = market_stages.stale_months(table, months, made_by, inputs())
        context.plan(table, stale)
        row = _row(name, table.months(), stale)
        rows.append(row if row["why"] else {**row, "why": _not_asked(later)})
    return rows + _recipe_rows(context)


def _raw_row(context: RecipeContext, feed: str) -> dict[str, Any]:
    table = context.raw[feed]
    lost = market_stages.lost_months(context, feed)
    context.plan(table.table, lost)
    row = _row(f"raw/{feed}", table.months(), lost)
    why = "; ".join(
        (*([row["why"]] if row["why"] else []), *market_stages.delivery_findings(context, feed))
    )
    return {**row, "why": why, "to do": len(lost) or None}


def _months_to_judge(context: RecipeContext) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the months that the market's stages should have, and later ones with bars.

    The last one is the last of which anything was made: what was never asked for is not missing.
    Where nothing was made, all months with bars should be.
    """
    try:
        months = months_of_data(context)
    except StorageError:  # damaged bars cannot be read; months of publication are near enough
        stored = context.raw["daily_bars"].months()
        months = month_range(stored[0], stored[-1])
    span = backtest.judged_span(context)
    tables = (
        context.panel,
        context.features,
        context.section,
        context.predictions,
        context.targets,
    )
    made = {month for table in tables for month in table.months()}
    made.update(train.made_checkpoints(context), (span[1],) if span else ())
    last = max(made, default=months[-1])
    return (
        tuple(month for month in months if month <= last),
        tuple(month for month in months if month > last),
    )


def _not_asked(later: Sequence[str]) -> str:
    """Return words about the months that have bars and were never asked for."""
    if not later:
        return ""
    span = later[0] if len(later) == 1 else f"{later[0]} to {later[-1]}"
    return f"{span}: bars are stored, not asked for so far"


def _recipe_rows(context: RecipeContext) -> list[dict[str, Any]]:
    recipe = context.recipe.name
    span = backtest.judged_span(context)
    decided = {
        *context.predictions.months(),
        *context.targets.months(),
        *(month_range(*span) if span else ()),
    }
    models = train.made_checkpoints(context)
    stale: dict[str, str] = {}
    for month in sorted({*models, *decided}):  # in order: later models start from earlier ones
        found = train.stale_checkpoints(context, [month])
        if found:
            stale |= found
            context.plan(context.checkpoint(month))
    of_models = _row(f"{recipe}/checkpoint", models, stale)
    rows = [of_models if stale else {**of_models, "why": _skipped(context, models)}]
    recipe_stages: list[
        tuple[MonthTable, Identity, Callable[[RecipeContext, str], dict[str, str]]]
    ] = [
        (context.predictions, identity.predictions(context.recipe), predict.predictions_inputs),
        (context.targets, identity.targets(context.recipe), predict.targets_inputs),
    ]
    for table, made_by, inputs in recipe_stages:
        known = {month: inputs(context, month) for month in sorted(decided)}
        stale = market_stages.stale_months(table, sorted(decided), made_by, known)
        context.plan(table, stale)
        rows.append(_row(f"{recipe}/{table.parts[-1]}", table.months(), stale))
    judged = month_range(*span) if span else sorted(decided)
    for folder, made_by, of_folder in (
        (
            context.backtest,
            identity.backtest(context.recipe),
            backtest.backtest_inputs(context, judged) if judged else {},
        ),
        (context.report, identity.report(context.recipe), None),
    ):
        asked = backtest.page_inputs(context) if of_folder is None else of_folder
        reason = staleness(folder, made_by, asked)
        if reason:
            context.plan(folder)
        ends = span or ("", "")
        rows.append(
            {
                "stage": f"{recipe}/{folder.parts[-1]}",
                "made": int(folder.is_finished()),
                "to do": int(reason is not None),
                "why": "" if reason in (None, "missing") else reason,
                "first": ends[0],
                "last": ends[1],
            }
        )
    return rows


def _skipped(context: RecipeContext, months: Sequence[str]) -> str:
    """Return which months have no model, and why the first of them has none."""
    manifests = {month: context.checkpoint(month).manifest() for month in months}
    why = {month: train.why_skipped(found) for month, found in manifests.items() if found}
    skipped = [month for month, words in why.items() if words]
    if not skipped:
        return ""
    more = f" and {len(skipped) - 1} more" if len(skipped) > 1 else ""
    return f"skipped: {skipped[0]}{more}, {why[skipped[0]]}"


def feeds_off(context: RecipeContext) -> dict[str, str]:
    """Return one line per feed that is off: why, and what it costs."""
    said = {}
    for name, why in context.market.feeds_off.items():
        lost = [feature for feature in context.market.choice if name in feature.feeds]
        families = ", ".join(dict.fromkeys(feature.family for feature in lost))
        said[name] = f"off: {why}" + (f"; costs {len(lost)} features of {families}" if lost else "")
    return said


def _row(stage: str, made: Sequence[str], stale: dict[str, str]) -> dict[str, Any]:
    why = next((f"{month}: {reason}" for month, reason in stale.items()), "")
    return {"stage": stage, "made": len(made), "to do": len(stale), "why": why, **_ends(made)}


def _ends(months: Sequence[str]) -> dict[str, str]:
    return {"first": months[0] if months else "", "last": months[-1] if months else ""}
