"""One session decided here and now, from the raw rows that were effective by it."""

from dataclasses import dataclass
from datetime import date

import polars as pl

from alpha_assets.arrays.types import Dates
from alpha_assets.calendar import as_date, month_of
from alpha_assets.errors import MissingOutput, RangeError, StorageError
from alpha_assets.pipeline.checkpoint import checkpoint_stage
from alpha_assets.pipeline.command import run_again, train_and_predict
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.families import feature_families, section_families
from alpha_assets.pipeline.frontier import frontier, thin_sessions
from alpha_assets.pipeline.held import remembered_at
from alpha_assets.pipeline.neighbours import edges_of_session, edges_start
from alpha_assets.pipeline.predictions import month_model, scores
from alpha_assets.pipeline.raw import lost_months
from alpha_assets.pipeline.targets import decided_over, earlier_in_period
from alpha_assets.pipeline.transforms import (
    decidable_sessions,
    feature_rows,
    member_rows,
    panel_rows,
    panel_start,
    scale_start,
    section_rows,
    series_rows,
    series_start,
    sessions_back,
    universe_start,
)
from alpha_assets.pipeline.windows import why_skipped


@dataclass(frozen=True)
class Decision:
    """One session's scores and targets.

    Attributes:
        session: that was decided.
        model_month: whose model scored it.
        scores: rows as in `predictions`.
        targets: rows as in `targets`; empty on a session that is no rebalance.
        notes: why there are no scores or no targets; empty where there are both.
    """

    session: date
    model_month: str
    scores: pl.DataFrame
    targets: pl.DataFrame
    notes: tuple[str, ...] = ()  # what a person should know of what it was decided from

    @property
    def rows(self) -> pl.DataFrame:
        """Scores with the weight to hold beside them, best first; then names on their way out.

        Those are held by the targets so far, and no longer scored: they have no horizon.
        """
        weights = self.targets.select("symbol", "target_weight", "reason")
        found = self.scores.join(weights, on="symbol", how="left").sort(
            ["horizon", "score", "symbol"], descending=[False, True, False]
        )
        leaving = self.targets.filter(pl.col("score").is_null()).drop("score")
        return pl.concat([found, leaving], how="diagonal") if leaving.height else found


def session_to_decide(context: RecipeContext, asof: str | None = None) -> date:
    """Return a session by its date, by default the next one to decide.

    Raises:
        RangeError: not a session, or one that stored bars do not reach.
    """
    calendar = context.market.calendar
    edge = frontier(context)
    if asof is None:
        return edge
    session = as_date(calendar.sessions[calendar.index_of(parsed_date(asof))])
    if session > edge:
        raise RangeError(
            f"session {session} cannot be decided yet: stored bars reach the decision of {edge}"
        )
    return session


def decide(context: RecipeContext, asof: str | None = None) -> Decision:
    """Return the scores of the month's model at one session, and what to hold.

    Everything is built here and now from the raw rows that were effective by the session, and
    from nothing else that the store may hold but the checkpoint, which has to be fresh.

    Args:
        context: with a recipe.
        asof: the session; default: the next one to decide.

    Raises:
        RangeError: not a session, or one that stored bars do not reach.
        MissingOutput: the month's checkpoint has not been made.
        StaleOutput: other settings, other code or other inputs made it.
        StorageError: it is damaged.
    """
    calendar = context.market.calendar
    for feed in context.raw:
        for lost, why in lost_months(context, feed).items():
            raise StorageError(f"raw/{feed} of {lost} cannot be read: {why}; {run_again(context)}")
    session = session_to_decide(context, asof)
    month = month_of(session)
    way_out = train_and_predict(context, session)
    model = month_model(context, month, way_out)
    checkpoint_stage(context.recipe).require(context, [month], way_out=way_out)
    if model.checkpoint is None:
        raise MissingOutput(f"month {month} was skipped: {why_skipped(model.manifest)}")
    window, rule = context.recipe.spec.window, context.recipe.spec.portfolio
    back = max(window.sessions_before, rule.sessions_back if rule.features else 0)
    first = sessions_back(calendar, session, back)
    market, choice = context.market, context.recipe.spec.universe
    rules = market.universe(choice.name)
    held_rules = market.universe(choice.held) if choice.held else None
    each = [rules] if held_rules is None else [rules, held_rules]
    earlier = earlier_in_period(context, session, model.manifest)
    families = feature_families(context.recipe)
    of_month = calendar.between(calendar.month_sessions(month)[0], session)[:-1]
    if not (rule.remembers or rule.scores_back):
        of_month = of_month[:0]
    oldest = min([first, *map(as_date, [*earlier[:1], *of_month[:1]])])
    of_scale = scale_start(market, rules, first)
    of_features = panel_start(market, of_scale, families)
    start = min(
        of_features,
        universe_start(market, rules, of_scale),
        *(universe_start(market, one, oldest) for one in each),
        edges_start(context, session),
    )
    instant = context.market.calendar.decided_at(session)
    known = {
        name: table.read(until=instant) for name, table in context.raw.items() if table.months()
    }
    panel = panel_rows(market, known, start, session)
    # The universe and the graph may look back further than features do.
    near = panel.filter(pl.col("session") >= of_features)
    features = feature_rows(market, near, of_scale, session, families)
    since = series_start(market, first, families)
    section = section_rows(
        market,
        rules,
        features,
        member_rows(market, rules, panel, of_scale, session),
        first=first,
        series=series_rows(market, known, since, session, families),
        families=section_families(context.recipe),
    ).frame
    edges = edges_of_session(context, panel, session)
    decided = calendar.between(session, session)
    held = None
    if held_rules is not None:
        held = member_rows(market, held_rules, panel, session, session)
    found = scores(context, model.checkpoint, section, panel, decided, edges, held)
    earlier = decidable_sessions(market, each, panel, earlier)
    memory = remembered_at(
        context,
        session,
        decidable_sessions(market, each, panel, of_month),
        features.filter(pl.col("session") >= first),
    )
    targets, _ = decided_over(context, found, panel, earlier=earlier, memory=memory)
    return Decision(
        session=session,
        model_month=model.checkpoint.card.month,
        scores=found,
        targets=targets,
        notes=(
            *(thin_sessions(panel.lazy(), session) if found.height else ()),
            *why_nothing(context, session, section, found, targets, earlier),
        ),
    )


def why_nothing(
    context: RecipeContext,
    session: date,
    section: pl.DataFrame,
    found: pl.DataFrame,
    targets: pl.DataFrame,
    earlier: Dates,
) -> tuple[str, ...]:
    """Return why a session has no scores, no targets, or nothing to hold; empty where it has.

    Args:
        context: with a recipe.
        session: that was decided.
        section: universe rows of the session, at least.
        found: its scores.
        targets: its targets.
        earlier: decided sessions before it in its rebalance period.
    """
    calendar, spec = context.market.calendar, context.recipe.spec
    rule, name = spec.portfolio.rebalance, spec.universe.name
    held = spec.universe.held
    if not found.height:
        members = section.filter(pl.col("session") == session).height
        if not members:
            return (f"no score: universe {name!r} has no name at {session}",)
        before = calendar.before(session)
        return (
            f"no score: none of the {members} names of universe {name!r} "
            + (f"is in universe {held!r} and " if held else "")
            + f"had a bar on {before}, the session before {session}",
        )
    if not targets.height and not len(earlier):
        return (f"no targets: the rule of {session}, a rebalance session ({rule}), gave no rows",)
    if not targets.height:
        due = calendar.period_sessions(session, rule)[-1]
        following = calendar.after(due)
        return (
            f"no targets: {session} is no rebalance session ({rule}); its period was rebalanced "
            f"on {earlier[0]}, and the next one is due on {following}",
        )
    if not (targets["target_weight"] != 0).any():
        reasons = ", ".join(targets["reason"].unique().sort().to_list())
        return (f"nothing to hold: {reasons}",)
    return ()


def parsed_date(text: str) -> date:
    """Return a date `YYYY-MM-DD`.

    Raises:
        RangeError: the text is not a date.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise RangeError(f"{text!r} is not a date; want YYYY-MM-DD, such as 2023-07-03") from None
