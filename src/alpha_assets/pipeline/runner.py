"""The whole road in one process, doing only what is stale."""

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from alpha_assets.calendar import month_of, month_range
from alpha_assets.errors import MissingOutput, RangeError, StorageError
from alpha_assets.pipeline import backtest, market_stages, predict, train
from alpha_assets.pipeline.context import Made, Road, staleness
from alpha_assets.progress import Pace
from alpha_assets.quality.checks import bars_are_sound, require, require_families, scores_spread
from alpha_assets.quality.coverage import LATEST
from alpha_assets.store.table import MonthTable


def run(road: Road, first_month: str | None = None, last_month: str | None = None) -> Made:
    """Walk from raw rows to the tear sheet.

    Args:
        road: with a recipe.
        first_month: first to decide; default: the first with a full training window.
        last_month: last to decide; default: the last with bars.

    Returns:
        The report.

    Raises:
        RangeError: months without data or without enough history.
        CheckFailed: a question of `road.checks` about these months stops.
    """
    check_form(first_month, last_month)
    ingest_all(road)
    for note in road.market.notes:
        road.progress("market", note)
    stored = months_of_data(road)
    last = last_month or stored[-1]
    check_months(road, stored, first_month, last)
    make_market_stages(road, month_range(stored[0], last))
    decided = months_to_decide(road, first_month, last)
    require(bars_are_sound, road, decided)
    require_families(road, decided)
    for words in market_stages.thin_months(road, decided):
        road.progress("panel", words)
    pace = Pace(road.progress, "run")
    for number, month in enumerate(decided):
        pace("months decided", number, len(decided))
        train.make_checkpoints(road, [month])
        predict.make_predictions(road, [month])
        require(scores_spread, road, [month])
        predict.make_targets(road, [month])
    backtest.make_backtest(road, decided[0], decided[-1])
    return backtest.make_report(road)


def ingest_all(road: Road) -> None:
    """Store what the source delivers of every feed that is on.

    One that turns out to be refused (a plan may not include it after all) is off from then on.

    Raises:
        SpecError: the recipe names what a refused feed makes.
    """
    for feed in road.market.feeds:
        market_stages.ingest_feed(road, feed)
    refused = [feed for feed in road.market.feeds if feed not in road.market.source.feeds()]
    if refused:
        road.look_again()
    for feed in refused:
        road.progress("raw", f"{feed} is off: {road.market.feeds_off[feed]}")


def months_of_data(road: Road) -> tuple[str, ...]:
    """Return the months from the first stored bar's to the last one's.

    Raises:
        MissingOutput: no bars are stored.
    """
    bars = road.raw["daily_bars"]
    if not bars.months():
        raise MissingOutput(f"market {road.market.name!r} has no bars in this storage")
    last = market_stages.last_bar(road)
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


def check_months(road: Road, stored: Sequence[str], first: str | None, last: str) -> None:
    """Refuse months that lie outside the data.

    Raises:
        RangeError: naming the months that there are.
    """
    for month in (first, last):
        if month is not None and not stored[0] <= month <= stored[-1]:
            raise RangeError(
                f"month {month} has no bars of market {road.market.name!r}; "
                f"they reach from {stored[0]} to {stored[-1]}"
            )


def make_market_stages(road: Road, months: Sequence[str]) -> None:
    """Make panel, features and the recipe's cross-section where they are missing or stale."""
    market_stages.make_panel(road, months)
    market_stages.make_features(road, months)
    market_stages.make_cross_section(road, road.the_recipe.spec.universe.name, months)


def make_model(road: Road, month: str) -> None:
    """Make the checkpoint that decides a month, and whatever it needs that is missing or stale.

    That is the market's stages up to the month before, and, with warm starts or where a model
    serves several months, the checkpoints that it leans on.
    """
    stored = months_of_data(road)
    before = [known for known in stored if known < month]
    make_market_stages(road, before)
    require_families(road, before[-LATEST:])
    train.make_checkpoints(road, train.chain(road, month))


def months_to_decide(road: Road, first_month: str | None, last: str) -> tuple[str, ...]:
    """Return the months to decide; those asked for, or all with a full training window.

    Raises:
        RangeError: no month up to `last` has enough history.
    """
    usable = train.first_usable(road)
    first_full = train.first_trained_month(road, usable)
    if first_month is None and first_full > last:
        raise RangeError(
            f"no month up to {last} has a full training window; the first one is {first_full}"
        )
    if last < first_full:
        raise RangeError(
            f"month {last} has too little history: {road.the_recipe.spec.split.lookback_sessions} "
            f"training sessions are there from {first_full} on"
        )
    return month_range(first_month or first_full, last)


def status(road: Road) -> list[dict[str, Any]]:
    """Return one row per stage: months there, months to make again, and the first reason.

    To be made are months that are missing, stale or damaged, and all that follows from them, by
    the rule by which `run` decides what to make.  Months after the last one that was ever asked
    for are not: where bars reach further, the reason names them and counts nothing.  With
    `road.store.verify` every byte is hashed.
    """
    road.planned = {}
    rows = [_raw_row(road, name) for name in road.raw]
    rows += [
        {"stage": f"raw/{name}", "made": 0, "to do": None, "why": why, **_ends(())}
        for name, why in feeds_off(road).items()
    ]
    if not road.raw["daily_bars"].months():
        return rows
    months, later = _months_to_judge(road)
    universe = road.the_recipe.spec.universe.name
    data_digest = road.market.data_digest
    by_section = market_stages.cross_section_digest(road, universe)
    # Each stage's inputs are asked for once the plan holds the stages before it.
    stage_tables: list[tuple[str, MonthTable, str, Callable[[], market_stages.Inputs]]] = [
        ("panel", road.panel, data_digest, lambda: market_stages.panel_inputs(road, months)),
        (
            "features",
            road.features,
            data_digest,
            lambda: market_stages.features_inputs(road, months),
        ),
        (
            f"cross_section/{universe}",
            road.section,
            by_section,
            lambda: market_stages.cross_section_inputs(road, universe, months),
        ),
    ]
    for name, table, made_by, inputs in stage_tables:
        stale = market_stages.stale_months(table, months, made_by, inputs())
        road.plan(table, stale)
        row = _row(name, table.months(), stale)
        rows.append(row if row["why"] else {**row, "why": _not_asked(later)})
    return rows + _recipe_rows(road)


def _raw_row(road: Road, feed: str) -> dict[str, Any]:
    table = road.raw[feed]
    lost = market_stages.lost_months(road, feed)
    road.plan(table.table, lost)
    row = _row(f"raw/{feed}", table.months(), lost)
    why = "; ".join(
        (*([row["why"]] if row["why"] else []), *market_stages.delivery_findings(road, feed))
    )
    return {**row, "why": why, "to do": len(lost) or None}


def _months_to_judge(road: Road) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the months that the market's stages should have, and later ones with bars.

    The last one is the last of which anything was made: what was never asked for is not missing.
    Where nothing was made, all months with bars should be.
    """
    try:
        months = months_of_data(road)
    except StorageError:  # damaged bars cannot be read; months of publication are near enough
        stored = road.raw["daily_bars"].months()
        months = month_range(stored[0], stored[-1])
    span = backtest.judged_span(road)
    tables = (road.panel, road.features, road.section, road.predictions, road.targets)
    made = {month for table in tables for month in table.months()}
    made.update(train.made_checkpoints(road), (span[1],) if span else ())
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


def _recipe_rows(road: Road) -> list[dict[str, Any]]:
    recipe, made_by = road.the_recipe.name, road.the_recipe.digest
    span = backtest.judged_span(road)
    decided = {
        *road.predictions.months(),
        *road.targets.months(),
        *(month_range(*span) if span else ()),
    }
    models = train.made_checkpoints(road)
    stale: dict[str, str] = {}
    for month in sorted({*models, *decided}):  # in order: later models start from earlier ones
        found = train.stale_checkpoints(road, [month])
        if found:
            stale |= found
            road.plan(road.checkpoint(month))
    of_models = _row(f"{recipe}/checkpoint", models, stale)
    rows = [of_models if stale else {**of_models, "why": _skipped(road, models)}]
    recipe_stages: list[tuple[MonthTable, Callable[[Road, str], dict[str, str]]]] = [
        (road.predictions, predict.predictions_inputs),
        (road.targets, predict.targets_inputs),
    ]
    for table, inputs in recipe_stages:
        known = {month: inputs(road, month) for month in sorted(decided)}
        stale = market_stages.stale_months(table, sorted(decided), made_by, known)
        road.plan(table, stale)
        rows.append(_row(f"{recipe}/{table.parts[-1]}", table.months(), stale))
    judged = month_range(*span) if span else sorted(decided)
    for folder, of_folder in (
        (road.backtest, backtest.backtest_inputs(road, judged) if judged else {}),
        (road.report, None),
    ):
        asked = backtest.page_inputs(road) if of_folder is None else of_folder
        reason = staleness(folder, made_by, asked)
        if reason:
            road.plan(folder)
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


def _skipped(road: Road, months: Sequence[str]) -> str:
    """Return which months have no model, and why the first of them has none."""
    manifests = {month: road.checkpoint(month).manifest() for month in months}
    why = {month: train.why_skipped(found) for month, found in manifests.items() if found}
    skipped = [month for month, words in why.items() if words]
    if not skipped:
        return ""
    more = f" and {len(skipped) - 1} more" if len(skipped) > 1 else ""
    return f"skipped: {skipped[0]}{more}, {why[skipped[0]]}"


def feeds_off(road: Road) -> dict[str, str]:
    """Return one line per feed that is off: why, and what it costs."""
    said = {}
    for name, why in road.market.feeds_off.items():
        lost = [feature for feature in road.market.choice if name in feature.feeds]
        families = ", ".join(dict.fromkeys(feature.family for feature in lost))
        said[name] = f"off: {why}" + (f"; costs {len(lost)} features of {families}" if lost else "")
    return said


def _row(stage: str, made: Sequence[str], stale: dict[str, str]) -> dict[str, Any]:
    why = next((f"{month}: {reason}" for month, reason in stale.items()), "")
    return {"stage": stage, "made": len(made), "to do": len(stale), "why": why, **_ends(made)}


def _ends(months: Sequence[str]) -> dict[str, str]:
    return {"first": months[0] if months else "", "last": months[-1] if months else ""}
