"""What the figures of a backtest are made of: labels, names, regimes, and where they come from."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

from alpha_assets import __version__
from alpha_assets.arrays.types import Dates
from alpha_assets.backtest.attribution import attribution
from alpha_assets.backtest.books import Books
from alpha_assets.backtest.capacity import capacity, capitals_around
from alpha_assets.calendar import as_date, month_of
from alpha_assets.config.market import OF_MARKET
from alpha_assets.evaluation.metrics import DataFacts, EvaluationInputs
from alpha_assets.evaluation.regimes import volatility_regimes
from alpha_assets.evaluation.signal import Breakdowns
from alpha_assets.evaluation.spans import Undecided, is_undecided, judged, stretches
from alpha_assets.labels import forward_returns
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.families import RETURNS, factors_read
from alpha_assets.pipeline.frontier import thin_months
from alpha_assets.pipeline.oracle import (
    attainable_inputs,
    learning,
    oracle_ic,
    planted_components,
)
from alpha_assets.pipeline.raw import stored_listings
from alpha_assets.pipeline.targets import stored_below_exposure
from alpha_assets.pipeline.transforms import span_of
from alpha_assets.pipeline.windows import why_skipped
from alpha_assets.quality.coverage import reasons_off

DECAY_HORIZONS = (1, 2, 5, 10, 20)  # sessions


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
        .select(
            *("session", "symbol", "sector", "shortable"),
            (pl.col("close") * pl.col("volume")).alias("size"),
        )
        .collect()
    )
    gaps = undecided(context, months, scored, as_date(books.daily["session"].max()))
    counts_D = judged(books.daily, gaps)
    pages = books.pages
    sizes = capitals_around(spec.portfolio.capital)
    planted = oracle_ic(context, predictions["symbol"])
    attainable = None
    if planted is not None:
        known = planted[spec.portfolio.horizon]
        attainable = attainable_inputs(context, predictions, books, known, panel)
    panel = panel.drop("shortable")
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
        oracle=planted,
        attainable=attainable,
        learning=learning(context),
        components=planted_components(context, first, last),
        asked=(months[0], months[-1]),
        undecided=gaps,
        targets=context.targets.read(months[0], months[-1]).collect(),
        attribution=attribution(pages, counts_D),
        capacity=capacity(pages.wanted, pages.marks, spec.portfolio, context.recipe.costs, sizes),
        order_counts=books.order_counts,
        factors=factors(context, months, panel),
        below_exposure=tuple(stored_below_exposure(context, months)),
        gates=spec.gates,
        of_parent=scores_of_parent(context, months),
    )


def scores_of_parent(context: RecipeContext, months: Sequence[str]) -> pl.DataFrame | str:
    """Return the scores of the recipe that training starts from, or why there are none."""
    recipe = context.recipe
    if recipe.spec.gates is None or not recipe.spec.gates.not_below_parent:
        return "no gate asks for the parent's scores"
    if recipe.parent is None:
        return "the recipe has no training.parent"
    table = context.of_parent().predictions
    lacking = sorted(set(months) - set(table.months()))
    if lacking:
        return f"{recipe.parent.folder} has no stored scores of {lacking[0]}: run it as well"
    found: pl.DataFrame = table.read(months[0], months[-1]).collect()
    return found


def factors(context: RecipeContext, months: Sequence[str], panel: pl.DataFrame) -> pl.DataFrame:
    """Return what exposures are measured to, of what the recipe reads, as known at each session.

    Args:
        context: with a recipe.
        months: decided ones.
        panel: `session symbol sector size` of them.
    """
    wanted = factors_read(context.recipe)
    columns = ["session", "symbol", *wanted.values()]
    values = context.features.read(months[0], months[-1], columns=columns).collect()
    named = values.rename({column: name for name, column in wanted.items()})
    return panel.join(named, on=["session", "symbol"], how="left")


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
        recipe=recipe.folder,
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
        sides=recipe.spec.portfolio.model_dump(
            include={"quantile", "count", "min_side", "max_turnover"}
        ),
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
        context.features.read(months[0], months[-1], columns=["session", "symbol", RETURNS])
        .group_by("session")
        .agg(pl.col(RETURNS).cast(pl.Float64).mean().alias("market_return"))
        .drop_nulls()
        .collect()
    )
    return volatility_regimes(returns) if returns.height else None
