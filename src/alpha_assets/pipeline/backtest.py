"""What holding the targets would have earned after costs, its figures, and the tear sheet."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from alpha_assets import __version__
from alpha_assets.arrays.types import Dates
from alpha_assets.backtest import Books, backtest, displaced
from alpha_assets.calendar import as_date, month_of, month_range
from alpha_assets.errors import MissingOutput, RangeError, StorageError
from alpha_assets.evaluation import (
    Breakdowns,
    DataFacts,
    EvaluationInputs,
    Undecided,
    evaluate,
    is_undecided,
    metrics_json,
    stretches,
    volatility_regimes,
)
from alpha_assets.labels import forward_returns
from alpha_assets.pipeline import identity
from alpha_assets.pipeline.command import command, run_again
from alpha_assets.pipeline.context import (
    Made,
    RecipeContext,
    manifest_of,
    require_fresh,
    staleness,
)
from alpha_assets.pipeline.identity import Identity
from alpha_assets.pipeline.market_stages import last_bar, thin_months
from alpha_assets.pipeline.predict import targets_inputs
from alpha_assets.pipeline.train import NO_HISTORY, model_hash, stored_listings, why_skipped
from alpha_assets.pipeline.transforms import span_of
from alpha_assets.quality.coverage import coverage, reasons_off
from alpha_assets.report import ReportInputs, chart_images, tear_sheet, warnings
from alpha_assets.sources.sim import oracle
from alpha_assets.spec import digest
from alpha_assets.store.hashing import combined_hash
from alpha_assets.store.manifest import Manifest

PAGE = "tear_sheet.html"
METRICS = "metrics.json"
ORACLE = "_oracle"
OF_MARKET = "market."  # in front of an override of the market
ORACLE_FORM = 2  # of its summary: an earlier one is measured again
DECAY_HORIZONS = (1, 2, 5, 10, 20)  # sessions


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
            f"recipe {context.recipe.name!r} has no targets on market {context.market.name!r}; "
            f"{run_again(context)}"
        )
    first = len(found) - 1
    while first > 0 and month_range(found[first - 1], found[first])[1:] == (found[first],):
        first -= 1
    return tuple(found[first:])


def make_backtest(
    context: RecipeContext, first: str | None = None, last: str | None = None
) -> Made:
    """Write positions, trades, daily books, marks and metrics of the decided months.

    Args:
        context: with a recipe.
        first: first month; default: of the latest months decided without a gap.
        last: last month.
    """
    months = month_range(first, last) if first and last else decided_months(context)
    inputs = backtest_inputs(context, months)
    if staleness(context.backtest, identity.backtest(context.recipe), inputs) is None:
        return Made.found("backtest", None, context.backtest)
    context.progress("backtest", f"{months[0]} to {months[-1]}")
    for month in months:
        require_fresh(
            context.targets.folder(month),
            identity.targets(context.recipe),
            targets_inputs(context, month),
            run_again(context),
        )
    predictions = scores_of(context, months)
    books = simulated(context, months, first=as_date(predictions["session"].min()))
    evaluation = evaluate(evaluation_inputs(context, months, predictions, books, digest(inputs)))
    for words in warnings(evaluation.metrics):
        context.progress("backtest", words)
    frames = {
        "positions": books.positions,
        "trades": books.trades,
        "daily": books.daily,
        "marks": books.marks,
        "ic": evaluation.ic,
    }
    manifest = context.backtest.write(
        frames,
        manifest_of(
            identity.backtest(context.recipe),
            inputs,
            facts={"first_month": months[0], "last_month": months[-1]},
        ),
        files={METRICS: metrics_json(evaluation.metrics)},
    )
    return Made.of("backtest", None, context.backtest, manifest)


def backtest_inputs(context: RecipeContext, months: Sequence[str]) -> dict[str, str]:
    """Return what the backtest of `months` is made from."""
    # Labels of the last decisions are read from bars of later months, where they are stored.
    raw = {
        f"raw/{name}": context.hashes(table.table).combined()
        for name, table in context.raw.items()
        if table.months()
    }
    return {
        "targets": context.hashes(context.targets).combined(months[0], months[-1]),
        "predictions": context.hashes(context.predictions).combined(months[0], months[-1]),
        **raw,
    }


def scores_of(context: RecipeContext, months: Sequence[str]) -> pl.DataFrame:
    """Return the stored predictions of `months`.

    Raises:
        RangeError: there are none.
    """
    predictions = context.predictions.read(months[0], months[-1]).collect()
    if not predictions.height:
        raise RangeError(
            f"months {months[0]} to {months[-1]} have no predictions: "
            f"{why_undecided(context, months[-1])}"
        )
    return predictions


def simulated(context: RecipeContext, months: Sequence[str], first: date) -> Books:
    """Return the books of holding the stored targets up to the last session of `months`.

    Args:
        context: with a recipe.
        months: decided ones.
        first: the first decided session; the books begin there.
    """
    calendar = context.market.calendar
    _, last = span_of(calendar.month_sessions(months[-1]))
    last = min(last, last_bar(context))
    targets = context.targets.read(months[0], months[-1]).collect()
    books = backtest(
        targets,
        {name: table.read().collect() for name, table in context.raw.items() if table.months()},
        calendar,
        first=first,
        last=last,
        portfolio=context.recipe.spec.portfolio,
        costs=context.recipe.costs,
        basis=context.market.source.basis,
        max_stale=context.market.spec.max_stale,
    )
    odd = displaced(
        targets["session"].unique().sort().to_numpy().astype("datetime64[D]"),
        calendar.between(first, last),
        calendar,
        context.recipe.spec.portfolio.rebalance,
    )
    begins = []
    start = str(targets["session"].min()) if targets.height else ""
    n_flat = len(calendar.between(first, start)) - 1 if start else 0
    if n_flat:
        begins.append(
            f"Nothing is held in the first {n_flat} sessions: their period began before them, and "
            f"the first rebalance is on {start}."
        )
    return replace(books, notes=(*begins, *odd.sentences, *books.notes))


def evaluation_inputs(
    context: RecipeContext,
    months: Sequence[str],
    predictions: pl.DataFrame,
    books: Books,
    data_hash: str,
) -> EvaluationInputs:
    """Return everything that the figures are made of."""
    scored = predictions["session"].unique().sort().to_numpy().astype("datetime64[D]")
    first, last = span_of(scored)
    spec = context.recipe.spec
    horizons = sorted({*DECAY_HORIZONS, *spec.label.horizons})
    labels = forward_returns(
        context.raw["daily_bars"].read(),
        context.market.calendar,
        horizons,
        spec.label.entry,
        first,
        last,
        listings=stored_listings(context),
    )
    panel = (
        context.panel.read(months[0], months[-1])
        .select("session", "symbol", "sector", (pl.col("close") * pl.col("volume")).alias("size"))
        .collect()
    )
    return EvaluationInputs(
        predictions=predictions,
        labels=labels,
        daily=books.daily,
        trades=books.trades,
        positions=books.positions,
        facts=facts(context, data_hash, (*books.notes, *thin_months(context, months))),
        sessions_per_year=context.market.calendar.sessions_per_year,
        rates=books.cash_rates,
        breakdowns=Breakdowns(names=panel, regimes=regimes(context, months)),
        oracle=oracle_ic(context),
        asked=(months[0], months[-1]),
        undecided=undecided(context, months, scored, as_date(books.daily["session"].max())),
        targets=context.targets.read(months[0], months[-1]).collect(),
    )


def undecided(
    context: RecipeContext, months: Sequence[str], scored: Dates, last: date
) -> tuple[Undecided, ...]:
    """Return the stretches of `months`, up to the session `last`, that nothing decided, and why."""
    calendar = context.market.calendar
    sessions = calendar.between(calendar.month_sessions(months[0])[0], last)
    flags_D = is_undecided(
        sessions, np.isin(sessions, scored), context.recipe.spec.portfolio.rebalance
    )
    why = {month: why_undecided(context, month) for month in months}
    return stretches(sessions, flags_D, [why[month_of(session)] for session in sessions])


def why_undecided(context: RecipeContext, month: str) -> str:
    """Return why a month has sessions without any score."""
    manifest = context.checkpoint(month).manifest()
    skipped = why_skipped(manifest) if manifest is not None else ""
    return skipped or "no name of the universe had a bar on the session before"


def facts(context: RecipeContext, data_hash: str, more: Sequence[str] = ()) -> DataFacts:
    """Return where the figures come from, for the report's header and notes.

    Args:
        context: with a recipe.
        data_hash: of what the figures are made from.
        more: further notes, such as those of the books.
    """
    market, recipe = context.market, context.recipe
    lacking = reasons_off(market.missing_features)
    missing = [f"{', '.join(names)}: {why}." for why, names in lacking.items()]
    return DataFacts(
        market=market.name,
        recipe=recipe.name,
        digest=recipe.digest,
        data_hash=data_hash,
        code_version=__version__,
        seed=recipe.spec.training.seeds[0],
        source=market.spec.source.kind,
        simulated=market.is_simulated,
        basis=market.source.basis,
        price_level=market.price_level,
        currency=market.spec.currency,
        feeds=tuple(market.feeds),
        feeds_off=market.feeds_off,
        sectors_static=sectors_are_static(context),
        data_folder=None if market.data_folder is None else str(market.data_folder),
        overrides=(
            *(f"{OF_MARKET}{words}" for words in market.overrides),
            *recipe.overrides,
        ),
        features_missing=tuple(missing),
        traded_horizon=recipe.spec.portfolio.horizon,
        sides=recipe.spec.portfolio.model_dump(include={"quantile", "count", "min_side"}),
        notes=(*market.notes, *more),
    )


def sectors_are_static(context: RecipeContext) -> bool:
    """Return whether the market's sectors carry no dates."""
    table = context.raw.get("listings")
    if table is None or not table.months():
        return False
    return bool(table.read(columns=["sector_is_static"]).collect()["sector_is_static"].any())


def regimes(context: RecipeContext, months: Sequence[str]) -> pl.DataFrame | None:
    """Return each session's volatility regime, from the equal-weighted market's daily returns."""
    returns = (
        context.features.read(months[0], months[-1], columns=["session", "symbol", "ret_1"])
        .group_by("session")
        .agg(pl.col("ret_1").cast(pl.Float64).mean().alias("market_return"))
        .drop_nulls()
        .collect()
    )
    return volatility_regimes(returns) if returns.height else None


def oracle_ic(context: RecipeContext) -> dict[int, float | str] | None:
    """Return by horizon the rank IC of the planted state's expected drift, or why it is not known.

    A recipe that reads prices alone is compared with the part that prices reveal, one that reads
    side feeds with the whole.  None on real data.
    """
    if not context.market.is_simulated:
        return None
    reads_feeds = any(feature.feeds for feature in context.recipe.features)
    expected = stored_oracle(context)["expected"]["f" if reads_feeds else "f_price"]
    found: dict[int, float | str] = {}
    for h in context.recipe.spec.label.horizons:
        figures = expected.get(f"h{h}")
        if figures is None:
            known = ", ".join(name.removeprefix("h") for name in expected)
            found[h] = f"it is estimated for horizons of {known} sessions only"
        else:
            found[h] = figures["unknown"] or figures["mean"]
    return found


def stored_oracle(context: RecipeContext) -> dict[str, Any]:
    """Return what was planted and how much of it can be had, stored where no feature reads."""
    folder = context.store.folder(context.market.name, ORACLE)
    made_by = Identity(digest(context.market.source.identity, context.market.spec.sim, ORACLE_FORM))
    if staleness(folder, made_by, {}) is not None:
        context.progress("oracle", "measure what was planted")
        found = oracle(context.market.spec.sim, context.market.calendar)
        folder.write(
            {"truth": found.truth},
            manifest_of(made_by, {}),
            files={"oracle.json": json.dumps(found.summary, indent=1).encode()},
        )
    content: dict[str, Any] = json.loads(folder.contents("oracle.json")["oracle.json"])
    return content


def require_backtest(context: RecipeContext) -> Manifest:
    """Return the manifest of the stored backtest, found fresh for the months that it judged.

    Raises:
        MissingOutput: there is none.
        StaleOutput: other settings, other code or other inputs made it.
        StorageError: it is damaged.
    """
    span = judged_span(context)
    inputs = backtest_inputs(context, month_range(*span)) if span else {}
    return require_fresh(
        context.backtest, identity.backtest(context.recipe), inputs, run_again(context)
    )


def stored_metrics(context: RecipeContext) -> dict[str, Any]:
    """Return the figures of the stored backtest.

    Raises:
        MissingOutput: there is none.
        StaleOutput: other settings, other code or other inputs made it.
        StorageError: it is damaged.
    """
    require_backtest(context)
    content: dict[str, Any] = json.loads(context.backtest.contents(METRICS)[METRICS])
    return content


def report_inputs(context: RecipeContext) -> ReportInputs:
    """Return what the tear sheet is made from."""
    metrics = stored_metrics(context)
    manifest = require_backtest(context)
    months = month_range(manifest.extra["first_month"], manifest.extra["last_month"])
    return ReportInputs(
        metrics=metrics,
        daily=judged_days(metrics, context.backtest.read("daily")),
        ic=context.backtest.read("ic"),
        about=context.recipe.spec.about,
        checkpoints=checkpoints(context, months),
        command=command_again(context, metrics["span"]),
    )


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


def stored_coverage(context: RecipeContext) -> dict[str, Any] | None:
    """Return what is stored of feeds, and of features up to the last month of the backtest.

    None where the storage holds none of them.
    """
    _, last = judged_span(context) or (None, None)
    try:
        return coverage(context, last=last).as_json()
    except MissingOutput:
        return None


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
            }
        )
    schema = {
        "month": pl.String,
        "status": pl.String,
        "epochs": pl.Int64,
        "best_epoch": pl.Int64,
        "unfinished_seeds": pl.Int64,
        "valid_rank_ic": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema)


def make_report(context: RecipeContext, *, again: bool = False) -> Made:
    """Write the tear sheet of the stored backtest where it is missing, stale or damaged.

    Args:
        context: with a recipe.
        again: write it in any case.
    """
    require_backtest(context)
    inputs = page_inputs(context)
    if not again and staleness(context.report, identity.report(context.recipe), inputs) is None:
        return Made.found("report", None, context.report)
    context.progress("report", f"{context.report.address}/{PAGE}")
    page = tear_sheet(replace(report_inputs(context), coverage=stored_coverage(context)))
    made = context.report.write(
        {}, manifest_of(identity.report(context.recipe), inputs), files={PAGE: page.encode()}
    )
    return Made.of("report", None, context.report, made)


def judged_span(context: RecipeContext) -> tuple[str, str] | None:
    """Return the first and last month of the stored backtest; None where there is none."""
    try:
        manifest = context.backtest.manifest()
    except StorageError:
        return None
    if manifest is None:
        return None
    return str(manifest.extra["first_month"]), str(manifest.extra["last_month"])


def page_inputs(context: RecipeContext) -> dict[str, str]:
    """Return what the tear sheet is made from: the backtest, the models, what there is of data.

    Features of later months than the backtest's are not on it: they may never be asked for.
    """
    first, last = judged_span(context) or (None, None)
    months = month_range(first, last) if first and last else ()
    return {
        "backtest": context.hash_of(context.backtest),
        "checkpoint": combined_hash({month: model_hash(context, month) for month in months}),
        "features": context.hashes(context.features).combined(None, last),
        "raw": combined_hash(
            {name: context.hashes(table.table).combined() for name, table in context.raw.items()}
        ),
    }


def report_pictures(context: RecipeContext) -> dict[str, bytes]:
    """Return the key charts as small PNGs, for the Dagster UI."""
    return chart_images(report_inputs(context))


def title(context: RecipeContext, metrics: Mapping[str, Any]) -> str:
    """Return one line that says whose figures these are."""
    span = metrics["span"]
    simulated = ", SIMULATED DATA" if context.market.is_simulated else ""
    left_out = span.get("n_sessions_undecided") or 0
    without = f" without {left_out} sessions that nothing decided" if left_out else ""
    return (
        f"{context.recipe.name} on {context.market.name}{simulated}: {span['first_session']} to "
        f"{span['last_session']}{without}, digest {context.recipe.digest}"
    )


def headline_figures(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Return the figures that a run prints, formatted."""
    shown: dict[str, str] = {}
    for name, horizon in metrics["signal"].items():
        ic = horizon["rank_ic"]
        shown[f"rank IC {name}"] = f"{_number(ic['mean'], 4)}{_interval(ic)}"
        shown[f"  t (smallest of three) {name}"] = _number(ic["t"], 2)
        planted = horizon.get("planted")
        if planted and planted.get("share") is not None:
            shown[f"  share of planted IC {name}"] = f"{100 * planted['share']:.0f} % (estimate)"
        elif planted:
            shown[f"  share of planted IC {name}"] = "not known"
    for side in ("net", "gross"):
        figures = metrics["portfolio"][side]
        shown[f"Sharpe, {side}"] = (
            f"{_number(figures['sharpe'], 2)} ± {_number(figures['sharpe_se'], 2)}"
        )
    rule = metrics["portfolio"].get("rebalances") or {}
    if rule.get("n_empty"):
        shown["rebalances that held nothing"] = f"{rule['n_empty']} of {rule['n']}"
    return shown


def _interval(figures: Mapping[str, Any]) -> str:
    """Return the interval of a figure in brackets, or why it has none."""
    if figures["low"] is not None and figures["high"] is not None:
        return f" [{_number(figures['low'], 4)}, {_number(figures['high'], 4)}]"
    why = figures.get("reasons", {}).get("low")
    return f", no interval{f': {why}' if why else ''}"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
