"""What is there of every stage, what would be made again, and why."""

from collections.abc import Sequence
from typing import Any

from alpha_assets.calendar import month_range
from alpha_assets.config.market import Market
from alpha_assets.errors import StorageError
from alpha_assets.pipeline.backtest import judged_months
from alpha_assets.pipeline.command import command, run_again
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.freshness import RESTAMPED
from alpha_assets.pipeline.frontier import months_of_data
from alpha_assets.pipeline.raw import delivery_findings, lost_months, months_of_other_code
from alpha_assets.pipeline.seen import MISSING, Seen
from alpha_assets.pipeline.stage import RAW, Stage
from alpha_assets.pipeline.stages import month_stages, span_stages, stages_below, study_stages
from alpha_assets.pipeline.windows import why_skipped


def status(context: RecipeContext) -> list[dict[str, Any]]:
    """Return one row per stage: months there, months to make again, and the first reason.

    To be made are months that are missing, stale or damaged, and all that follows from them, by
    the rule by which `run` decides what to make.  Months after the last one that was ever asked
    for are not: where bars reach further, the reason names them and counts nothing.  Nor are
    those of a recipe that was never run.  Where nothing is to be made, the reason is what was
    taken over from other code.  With `store.verify` every byte is hashed.
    """
    seen = Seen()
    rows = [_raw_row(context, name, seen) for name in context.raw]
    rows += [
        {"stage": f"{RAW}/{name}", "made": 0, "to do": None, "why": why, **_ends(())}
        for name, why in feeds_off(context).items()
    ]
    if not context.raw["daily_bars"].months():
        return rows
    months, later = _months_to_judge(context)
    for stage in stages_below(context.recipe):
        row = _stage_row(context, stage.name, stage, months, seen)
        rows.append(row if row["why"] else {**row, "why": _not_asked(later)})
    return rows + _recipe_rows(context, seen)


def feeds_off(context: RecipeContext) -> dict[str, str]:
    """Return one line per feed that is off: why, and what it costs."""
    market = context.market
    return {name: f"off: {why}{cost_of(market, name)}" for name, why in market.feeds_off.items()}


def cost_of(market: Market, feed: str, mark: str = "") -> str:
    """Return how many features of which families a feed that is off costs, to follow the reason.

    Args:
        market: with its declared features.
        feed: that is off.
        mark: put before and after the name of a family.
    """
    lost = [feature for feature in market.choice if feed in feature.feeds]
    if not lost:
        return ""
    count = "1 feature" if len(lost) == 1 else f"{len(lost)} features"
    families = dict.fromkeys(f"{mark}{feature.family}{mark}" for feature in lost)
    return f"; costs {count} of {', '.join(families)}"


def _raw_row(context: RecipeContext, feed: str, seen: Seen) -> dict[str, Any]:
    table = context.raw[feed]
    lost = lost_months(context, feed)
    seen.plan(table.table, lost)
    row = _row(f"{RAW}/{feed}", table.months(), lost)
    words = [row["why"], *delivery_findings(context, feed), _stored_by(context, feed)]
    why = "; ".join(word for word in words if word)
    return {**row, "why": why, "to do": len(lost) or None}


def _stored_by(context: RecipeContext, feed: str) -> str:
    """Return how many months of a feed hold rows of other code; empty where none does."""
    months = months_of_other_code(context, feed)
    if not months:
        return ""
    return (
        f"rows of {len(months)} of {len(context.raw[feed].months())} months were stored by code "
        f"that has changed since (first: {months[0]}); they stay"
    )


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
    recipe = context.recipe
    made = {
        *judged_months(context),
        *(month for stage in stages_below(recipe) for month in stage.months(context)),
        *(month for stage in month_stages(recipe) for month in stage.months(context)),
    }
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


def _recipe_rows(context: RecipeContext, seen: Seen) -> list[dict[str, Any]]:
    """Return the rows of the recipe's stages, for the months that it decided or was asked for.

    A model may serve months that were not decided: all that are stored are looked at.
    """
    recipe, judged = context.recipe, judged_months(context)
    models, *others = month_stages(recipe)
    decided = sorted({*judged, *(m for stage in others for m in stage.months(context))})
    trained = models.months(context)
    rows = []
    for stage in (models, *others):
        wanted = sorted({*trained, *decided}) if stage is models else decided
        rows.append(_stage_row(context, f"{recipe.folder}/{stage.name}", stage, wanted, seen))
    if not trained and not decided:
        why = f"never run: {run_again(context)}"
        rows = [{**row, "to do": None, "why": why if row is rows[0] else ""} for row in rows]
    elif not rows[0]["why"]:
        rows[0]["why"] = _skipped(context, trained)
    months = judged or decided
    rows += [_span_row(context, stage, months, seen) for stage in span_stages(recipe)]
    return rows + [_study_row(context, stage, seen) for stage in study_stages(recipe)]


def _stage_row(
    context: RecipeContext, name: str, stage: Stage[Any], months: Sequence[str], seen: Seen
) -> dict[str, Any]:
    """Return the row of a stage that is made month by month."""
    made = stage.months(context)
    row = _row(name, made, stage.stale(context, months, seen))
    return {**row, "why": row["why"] or _taken_over(context, stage, made)}


def _taken_over(context: RecipeContext, stage: Stage[Any], months: Sequence[str]) -> str:
    """Return how many outputs today's code did not make but was shown to make, on a sample."""
    held = [
        (one.name, one.folder(context, month).manifest()) for one in stage.each for month in months
    ]
    found = [(n, made.extra[RESTAMPED]) for n, made in held if made and RESTAMPED in made.extra]
    if not found:
        return ""
    sample = len({(name, month) for name, restamped in found for month in restamped["sample"]})
    return f"restamped: {len(found)} of {len(held)}, on a sample of {sample}"


def _span_row(
    context: RecipeContext, stage: Stage[RecipeContext], months: Sequence[str], seen: Seen
) -> dict[str, Any]:
    """Return the row of a stage that covers all judged months."""
    reason: str | None = MISSING
    if months:
        reason = next(iter(stage.stale(context, months, seen).values()), None)
    why = _taken_over(context, stage, [""]) if reason is None else reason
    return {
        "stage": f"{context.recipe.folder}/{stage.name}",
        "made": int(stage.folder(context).is_finished()),
        "to do": int(reason is not None),
        "why": "" if reason == MISSING else why,
        **_ends(judged_months(context)),
    }


def _study_row(context: RecipeContext, stage: Stage[RecipeContext], seen: Seen) -> dict[str, Any]:
    """Return the row of a study: of the months that it was made of; `run` makes none."""
    from alpha_assets.pipeline.study import studied_months

    months = studied_months(context)
    if not months:
        name, damage = f"{context.recipe.folder}/{stage.name}", context.study.damage()
        why = damage or f"never asked for: {command(context, stage.name)} makes it"
        return {**_row(name, (), {}), "to do": 1 if damage else None, "why": why}
    row = _span_row(context, stage, months, seen)
    return {**row, **_ends(months)}


def _skipped(context: RecipeContext, months: Sequence[str]) -> str:
    """Return which months have no model, and why the first of them has none."""
    manifests = {month: context.checkpoint(month).manifest() for month in months}
    why = {month: why_skipped(found) for month, found in manifests.items() if found}
    skipped = [month for month, words in why.items() if words]
    if not skipped:
        return ""
    more = f" and {len(skipped) - 1} more" if len(skipped) > 1 else ""
    return f"skipped: {skipped[0]}{more}, {why[skipped[0]]}"


def _row(stage: str, made: Sequence[str], stale: dict[str, str]) -> dict[str, Any]:
    why = next((f"{month}: {reason}" for month, reason in stale.items()), "")
    return {"stage": stage, "made": len(made), "to do": len(stale), "why": why, **_ends(made)}


def _ends(months: Sequence[str]) -> dict[str, str]:
    return {"first": months[0] if months else "", "last": months[-1] if months else ""}
