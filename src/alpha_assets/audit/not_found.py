"""Why there is no prediction to explain: each reason with the way out."""

import difflib
from datetime import date

import polars as pl

from alpha_assets.calendar import as_date, month_of
from alpha_assets.errors import BadInput, MissingOutput, RangeError
from alpha_assets.feeds.listings import ACTIVE
from alpha_assets.pipeline.command import run_again
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.decide import parsed_date
from alpha_assets.pipeline.families import MEMBERS
from alpha_assets.pipeline.predictions import MonthModel, predictions_stage
from alpha_assets.pipeline.windows import why_skipped

NEAR = 3  # names that are offered instead of one that is not there


def check_asked(context: RecipeContext, symbol: str, session: str) -> date:
    """Return the session asked for, after a look at whether there can be a prediction of it.

    Raises:
        BadInput: no such symbol.
        RangeError: not a date, or no session.
        MissingOutput: nothing of that month was predicted.
        StaleOutput: other settings, other code or other inputs predicted it.
        StorageError: it is damaged.
    """
    day = parsed_date(session)
    _check_symbol(context, symbol)
    _check_session(context, day)
    month = month_of(day)
    made = context.predictions.months()
    reach = f"predicted are {made[0]} to {made[-1]}; " if made else "no month is predicted; "
    way_out = f"{reach}{run_again(context, month)}"
    predictions_stage(context.recipe).require(context, [month], way_out=way_out)
    return day


def why_not(context: RecipeContext, symbol: str, day: date, model: MonthModel) -> BadInput:
    """Return the error that says why a symbol has no prediction at a session."""
    if model.checkpoint is None:
        return MissingOutput(
            f"{month_of(day)} has no model, so nothing of {day} was predicted: "
            f"{why_skipped(model.manifest)}"
        )
    problem = f"{symbol} has no prediction at {day}: {_reason(context, symbol, day)}"
    return MissingOutput(f"{problem}; {_elsewhere(context, symbol, day)}")


def _check_symbol(context: RecipeContext, symbol: str) -> None:
    bars = context.raw["daily_bars"]
    if not bars.months():
        raise MissingOutput(
            f"no bars of market {context.market.name!r} are stored; {run_again(context)}"
        )
    known = bars.read(columns=["symbol"]).unique().collect()["symbol"].sort().to_list()
    if symbol in known:
        return
    renamed = _symbols_of(context, symbol)
    near = renamed or difflib.get_close_matches(symbol, known, n=NEAR, cutoff=0.0)
    words = f"a ticker of {', '.join(renamed)}" if renamed else f"nearest: {', '.join(near)}"
    raise BadInput(
        f"market {context.market.name!r} has no bar of symbol {symbol!r} ({words}); want one of "
        f"its {len(known)} symbols, {known[0]} to {known[-1]}"
    )


def _symbols_of(context: RecipeContext, ticker: str) -> list[str]:
    """Return the symbols that were ever listed under a ticker."""
    table = context.raw.get("listings")
    if table is None or not table.months() or "ticker" not in table.feed.schema:
        return []
    rows = table.read(columns=["symbol", "ticker"]).filter(pl.col("ticker") == ticker)
    return rows.select(pl.col("symbol").unique().sort()).collect()["symbol"].to_list()


def _check_session(context: RecipeContext, day: date) -> None:
    calendar = context.market.calendar
    if bool(calendar.is_session(day)):
        return
    first, last = as_date(calendar.sessions[0]), as_date(calendar.sessions[-1])
    if not first < day < last:
        raise RangeError(f"{day} is outside {calendar.exchange}'s sessions, {first} to {last}")
    raise RangeError(
        f"{day} is no session of {calendar.exchange}; the nearest are "
        f"{as_date(calendar.before(day))} and {as_date(calendar.after(day))}"
    )


def _reason(context: RecipeContext, symbol: str, day: date) -> str:
    month, calendar = month_of(day), context.market.calendar
    here = (pl.col("session") == day) & (pl.col("symbol") == symbol)
    row = context.panel.read(month, month).filter(here).collect()
    if not row.height:
        return _no_panel_row(context, symbol, day)
    bars, stale = row["n_bars"][0], row["stale"][0]
    universes = dict.fromkeys((context.recipe.spec.universe.name, context.recipe.held_universe))
    for name in universes:
        table = context.cross_section(name).of(MEMBERS)
        if table.read(month, month).filter(here).collect().height:
            continue
        rules = context.market.universe(name).model_dump(exclude_defaults=True)
        asked = ", ".join(f"{rule} = {value}" for rule, value in rules.items()) or "no rules"
        return f"it is not in the universe {name!r} ({asked}); it had {bars} bars then"
    if stale:
        before = as_date(calendar.before(day))
        return f"it has no bar of {before}, the session before, so it could not be traded"
    return "the session was not scored"


def _no_panel_row(context: RecipeContext, symbol: str, day: date) -> str:
    calendar = context.market.calendar
    decided = calendar.decision(day).item()
    bars = context.raw["daily_bars"].read().filter(pl.col("symbol") == symbol).collect()
    stamps = bars["available_at"].dt.replace_time_zone(None)
    known = bars.filter(stamps <= decided)
    if not known.height:
        first = as_date(bars["event_date"].to_numpy().min())
        return f"its first bar, of {first}, was not known yet"
    listings = context.raw.get("listings")
    if listings is not None and listings.months():
        rows = listings.read().filter(pl.col("symbol") == symbol).collect()
        rows = rows.filter(rows["available_at"].dt.replace_time_zone(None) <= decided)
        last = rows.sort("event_date", "available_at", "revision").tail(1)
        if last.height and last["exit"][0] not in (None, ACTIVE):
            return f"its exit ({last['exit'][0]}, {last['event_date'][0]}) was known"
    limit = context.market.spec.max_stale
    last_bar = as_date(known["event_date"].to_numpy().max())
    return f"its last bar, of {last_bar}, was more than {limit} sessions old"


def _elsewhere(context: RecipeContext, symbol: str, day: date) -> str:
    """Return where there is a prediction instead."""
    rows = context.predictions.read().filter(pl.col("symbol") == symbol)
    days = rows.select(pl.col("session").unique().sort()).collect()["session"].to_list()
    if days:
        nearest = min(days, key=lambda other: abs((other - day).days))
        return f"it is predicted on {len(days)} sessions, {days[0]} to {days[-1]}, next {nearest}"
    there = context.predictions.read(month_of(day), month_of(day))
    named = there.filter(pl.col("session") == day).select(pl.col("symbol").unique().sort())
    symbols = named.collect()["symbol"].to_list()
    some = ", ".join(symbols[:NEAR]) if symbols else "none"
    return f"it is never predicted; predicted at {day} are {len(symbols)} symbols, such as {some}"
