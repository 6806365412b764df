"""What was planted in a simulated market, stored where no stage that decides reads it.

Shape letters: D sessions, N symbols, S settings of capital and costs.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from alpha_assets.arrays.places import codes
from alpha_assets.arrays.ranks import rank_ic
from alpha_assets.arrays.types import Array, Dates, Index
from alpha_assets.backtest import PortfolioSpec
from alpha_assets.backtest.attainable import (
    WEIGHED,
    Scored,
    Weigher,
    family,
    rule_returns,
    settings_around,
    weighed_family,
    weighed_returns,
)
from alpha_assets.backtest.books import Books
from alpha_assets.backtest.capacity import Account, net_returns
from alpha_assets.backtest.market_data import Marks, marks_of
from alpha_assets.backtest.rules.base import COVARIANCE_SESSIONS
from alpha_assets.backtest.rules.dense import Weighing
from alpha_assets.calendar import as_date, month_of
from alpha_assets.config.market import Market
from alpha_assets.evaluation.attainable import AttainableInputs
from alpha_assets.evaluation.planted import Learning
from alpha_assets.pipeline import identity
from alpha_assets.pipeline.context import MarketContext, RecipeContext
from alpha_assets.pipeline.families import WEIGHED_BY, weighs_drift
from alpha_assets.pipeline.raw import judged_rows
from alpha_assets.pipeline.stage import Inputs, Output, Stage
from alpha_assets.pipeline.transforms import sessions_back
from alpha_assets.sources.sim.market import component_names
from alpha_assets.sources.sim.oracle import oracle, standard_error

ORACLE = "_oracle"
NOT_IN_RETURN = "the drift of a rig is a score, not known in units of return"
KNOWN_TO = 0.2  # of a planted rank IC: with a larger standard error it is not known


def oracle_ic(
    context: RecipeContext, symbols: Sequence[str] | pl.Series
) -> dict[int, float | str] | None:
    """Return by horizon the rank IC of the planted state's expected drift, or why it is not known.

    A recipe that reads prices alone is compared with the part that prices reveal, one that reads
    side feeds with the whole.  Over all sessions of the market, among the names that the recipe
    scored; not known where its standard error is above a fifth of it.  None on real data.

    Args:
        context: with a recipe.
        symbols: names that the recipe scored in any session.
    """
    if not context.market.is_simulated:
        return None
    expected = _expected(context)
    found: dict[int, float | str] = {}
    for h in context.recipe.spec.label.horizons:
        figures = expected.get(f"h{h}")
        if figures is None:
            known = ", ".join(name.removeprefix("h") for name in expected)
            found[h] = f"it is estimated for horizons of {known} sessions only"
        elif figures["unknown"]:
            found[h] = figures["unknown"]
        else:
            found[h] = _among(context, pl.Series("symbol", symbols).unique(), h, figures)
    return found


def _among(
    context: RecipeContext, symbols: pl.Series, h: int, figures: dict[str, Any]
) -> float | str:
    """Return the planted rank IC among some names, or why it is not known."""
    column, truth = f"{_score(context)}_h{h}", _drifts(context)
    mean, error = figures["mean"], figures["se"]
    if truth.filter(~pl.col("symbol").is_in(symbols.implode())).height:
        there = truth.filter(pl.col("symbol").is_in(symbols.implode()))
        both = ["session", "symbol", column, f"return_h{h}"]
        ic_D = rank_ic(*_dense(there.select(both)))
        ic_D = ic_D[~np.isnan(ic_D)]
        if len(ic_D) < 2:
            return f"{len(symbols)} names are too few to measure it on"
        apart = stored_oracle(context)["sessions_apart"]
        mean, error = float(ic_D.mean()), standard_error(ic_D, overlap=-(-h // apart))
    if not error <= KNOWN_TO * mean:
        return (
            f"the planted rank IC of {len(symbols)} names is {mean:.3f} ± {error:.3f}: it is not "
            f"known to {100 * KNOWN_TO:.0f} %"
        )
    return float(mean)


def _dense(rows: pl.DataFrame) -> tuple[Array, Array]:
    """Return the two values of `session symbol` rows as arrays, [D, N]; NaN where there is none."""
    session, place_R = np.unique(rows["session"].to_numpy(), return_inverse=True)
    names, name_R = np.unique(rows["symbol"].to_numpy(), return_inverse=True)
    found = []
    for column in rows.columns[2:]:
        x_DN = np.full((len(session), len(names)), np.nan)
        x_DN[place_R, name_R] = rows[column].cast(pl.Float64).to_numpy()
        found.append(x_DN)
    return found[0], found[1]


def attainable_inputs(
    context: RecipeContext,
    predictions: pl.DataFrame,
    books: Books,
    planted: float | str,
    panel: pl.DataFrame,
) -> AttainableInputs:
    """Return what the planted drift of the scored names earns under the family of rules.

    On the sessions and names that the recipe scored, at its costs, with its fills.

    Args:
        context: with a recipe, on a simulated market.
        predictions: of the recipe.
        books: of the recipe's own targets.
        planted: rank IC of the planted drift at the traded horizon, or why it is not known.
        panel: `session symbol shortable sector` of the names in the market.
    """
    spec = context.recipe.spec.portfolio
    settings = settings_around(spec.capital)
    if isinstance(planted, str):
        return AttainableInputs(settings=settings, why=planted)
    if stored_oracle(context)["sessions_apart"] > 1:
        why = "the market is so large that its drift is measured on some sessions only"
        return AttainableInputs(settings=settings, why=why)
    column = f"{_score(context)}_h{spec.horizon}"
    names = predictions.filter(pl.col("horizon") == spec.horizon).select("session", "symbol")
    known = names.join(_drifts(context), on=["session", "symbol"], how="inner")
    marks = _marks_of_all(context, books.pages.marks, known["symbol"])
    barred = panel.filter(~pl.col("shortable").fill_null(True)).with_columns(x=1.0)
    scored = Scored(
        _on_axes(known, marks, column),
        ~np.isnan(_on_axes(barred, marks, "x")),
        ~np.isnan(_on_axes(panel.with_columns(x=1.0), marks, "x")),
        _sectors(panel, marks),
    )
    calendar, costs = context.market.calendar, context.recipe.costs
    rules: dict[str, PortfolioSpec] = family(spec)
    n = len(rules)
    if not (spec.features or spec.scores_back):
        rules["own"] = spec
    score_DN, is_barred_DN, is_listed_DN, sector_DN = scored
    net_RSD = rule_returns(
        score_DN, is_barred_DN, is_listed_DN, marks, calendar, rules, costs, settings, sector_DN
    )
    of_family = AttainableInputs(
        settings=settings,
        rules=tuple(rules)[:n],
        net_RSD=net_RSD[:n],
        own_SD=net_RSD[n] if len(rules) > n else None,
        left_out=dict.fromkeys(WEIGHED, NOT_IN_RETURN),
    )
    if weighs_drift(context.market):
        of_family = _with_weighed(context, of_family, scored, marks)
    accounts = [Account(0, *setting) for setting in settings]
    reached_SD = net_returns(
        [books.pages.wanted], books.pages.marks, spec, context.recipe.costs, accounts
    )
    return replace(of_family, reached_SD=reached_SD)


def _with_weighed(
    context: RecipeContext, inputs: AttainableInputs, scored: Scored, marks: Marks
) -> AttainableInputs:
    """Return the same with the rules that weigh the drift, the recipe's own among them.

    Args:
        context: with a recipe, on a market whose drift is known in units of return.
        inputs: of the rules that read scores.
        scored: the drift, on the sessions and symbols of `marks`.
        marks: the market.
    """
    spec = context.recipe.spec.portfolio
    family_ = weighed_family(spec)
    own = spec if isinstance(spec, Weigher) and not spec.reads_others else None
    found = weighed_returns(
        scored,
        marks,
        context.market.calendar,
        family_.rules,
        _weighing(context, marks),
        inputs.settings,
        own,
    )
    n = len(family_.rules)
    return replace(
        inputs,
        rules=(*inputs.rules, *family_.rules),
        net_RSD=np.concatenate([inputs.net_RSD, found.net_RSD[:n]]),
        own_SD=inputs.own_SD if own is None else found.net_RSD[n],
        left_out=family_.left_out,
        unsolved_S=tuple(found.unsolved_RS[:n].sum(axis=0).tolist()),
        own_unsolved=0 if own is None else int(found.unsolved_RS[n, 0]),
    )


def _weighing(context: RecipeContext, marks: Marks) -> Weighing:
    """Return what rules read that weigh drift, as they read it when they decide: from features."""
    first, last = as_date(marks.sessions[0]), as_date(marks.sessions[-1])
    start = sessions_back(context.market.calendar, first, COVARIANCE_SESSIONS - 1)
    columns = ["session", "symbol", *WEIGHED_BY]
    rows = (
        context.features.read(month_of(start), month_of(last), columns)
        .filter(pl.col("session").is_between(start, last))
        .collect()
    )
    sessions = rows["session"].unique().sort().to_numpy().astype("datetime64[D]")
    return_DN, adv_DN, spread_DN = (_on_axes(rows, marks, x, sessions) for x in WEIGHED_BY)
    return Weighing(
        context.recipe.costs,
        return_DN,
        adv_DN,
        spread_DN,
        row_D=np.searchsorted(sessions, marks.sessions),
    )


def _sectors(panel: pl.DataFrame, marks: Marks) -> Index:
    """Return the place of every name's sector by session, [D, N]; -1 unknown."""
    words = panel["sector"].drop_nulls().unique().sort()
    known = panel.filter(pl.col("sector").is_not_null())
    place_DN = _on_axes(
        known.with_columns(x=pl.Series(codes(known["sector"], words.to_list()))), marks, "x"
    )
    return np.where(np.isnan(place_DN), -1, place_DN).astype(np.int64)


def _marks_of_all(context: RecipeContext, own: Marks, scored: pl.Series) -> Marks:
    """Return the market of the books with every scored name, whether its targets held it or not.

    Args:
        context: with a recipe.
        own: the market of the names that are held.
        scored: symbols.
    """
    if set(scored.unique()) <= set(own.symbols):
        return own
    return marks_of(
        judged_rows(context),
        tuple(sorted({*own.symbols, *scored.unique()})),
        context.market.calendar,
        as_date(own.sessions[0]),
        as_date(own.sessions[-1]),
        basis=context.market.source.basis,
        fill=context.recipe.spec.portfolio.fill,
        spread=context.recipe.costs.spread,
        max_stale=context.market.spec.max_stale,
    )


def _score(context: RecipeContext) -> str:
    """Return which part of what was planted the recipe can read: all, or what prices reveal."""
    return "f" if any(feature.feeds for feature in context.recipe.features) else "f_price"


def _drifts(context: RecipeContext) -> pl.DataFrame:
    """Return the stored drifts; see `Oracle.expected`."""
    stage = oracle_stage(context.market)
    stage.ensure(context, [""])
    return stage.folder(context).read("expected")


def _on_axes(rows: pl.DataFrame, marks: Marks, column: str, sessions: Dates | None = None) -> Array:
    """Return `session symbol` rows on the axes of a market, [D, N]; NaN where there is none.

    Args:
        rows: also of other sessions and symbols.
        marks: the market.
        column: of the rows.
        sessions: in place of those of the market.
    """
    sessions = marks.sessions if sessions is None else sessions
    symbols = pl.Series("symbol", list(marks.symbols))
    rows = rows.filter(
        pl.col("symbol").is_in(symbols.implode()) & pl.col("session").is_in(sessions.tolist())
    )
    x_DN = np.full((len(sessions), len(symbols)), np.nan)
    d = np.searchsorted(sessions, rows["session"].to_numpy().astype("datetime64[D]"))
    x_DN[d, codes(rows["symbol"], marks.symbols)] = rows[column].cast(pl.Float64).to_numpy()
    return x_DN


def learning(context: RecipeContext) -> Learning | None:
    """Return what the recipe's models are estimated from; None on real data."""
    if not context.market.is_simulated:
        return None
    return Learning(
        n_sessions=context.recipe.spec.split.lookback_sessions,
        n_inputs=len(context.recipe.features),
        persistence={
            int(name.removeprefix("h")): figures["persistence"]
            for name, figures in _expected(context).items()
        },
    )


def planted_components(context: RecipeContext, first: date, last: date) -> pl.DataFrame | None:
    """Return a rig's components as of the sessions of a span; None on every other market."""
    if not context.market.is_simulated or context.market.sim.rig is None:
        return None
    stage = oracle_stage(context.market)
    stage.ensure(context, [""])
    truth = stage.folder(context).read("truth")
    names = component_names(context.market.sim)
    return truth.filter(pl.col("session").is_between(first, last)).select(
        "session", "symbol", *names
    )


def _expected(context: RecipeContext) -> dict[str, Any]:
    """Return the figures of the planted drift by horizon, of what the recipe can read of it."""
    found: dict[str, Any] = stored_oracle(context)["expected"][_score(context)]
    return found


def oracle_stage(market: Market) -> Stage[MarketContext]:
    """Return the stage of what was planted in a simulated market; no feature reads it."""
    return Stage(
        name="oracle",
        key=(ORACLE,),
        place=lambda context: context.store.folder(market.name, ORACLE),
        made_by=lambda: identity.oracle(market),
        reads=(),
        make=make_oracle,
        monthly=False,
    )


def make_oracle(context: MarketContext, months: Sequence[str], inputs: Inputs) -> Iterator[Output]:
    """Measure what was planted."""
    context.progress("oracle", "measure what was planted")
    found = oracle(context.market.spec.sim, context.market.calendar)
    summary = json.dumps(found.summary, indent=1).encode()
    frames = {"truth": found.truth, "expected": found.expected}
    yield Output(frames=frames, files={"oracle.json": summary})


def stored_oracle(context: RecipeContext) -> dict[str, Any]:
    """Return what was planted and how much of it can be had, measured where it is not stored."""
    stage = oracle_stage(context.market)
    stage.ensure(context, [""])
    content: dict[str, Any] = json.loads(
        stage.folder(context).contents("oracle.json")["oracle.json"]
    )
    return content
