"""The stage of models: one per month, trained on nothing at or after the month's first session."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from alpha_assets.calendar import as_date, month_of, next_month
from alpha_assets.config.recipe import Recipe
from alpha_assets.dataset import Split
from alpha_assets.errors import BadInput, StorageError, TooFewNames
from alpha_assets.labels import longest_horizon
from alpha_assets.pipeline import identity
from alpha_assets.pipeline.columns import market_columns, section_columns
from alpha_assets.pipeline.context import POINTER, MarketContext, RecipeContext
from alpha_assets.pipeline.epochs import RATE, EpochLines, curves, windows_per_second
from alpha_assets.pipeline.families import VOLATILITY, section_families, tables_of
from alpha_assets.pipeline.market_stages import (
    cross_section_stage,
    features_stage,
    graph_stage,
    panel_stage,
    raw_rows,
)
from alpha_assets.pipeline.neighbours import WEEK, graph_months
from alpha_assets.pipeline.raw import LIVES, feeds_of_inputs
from alpha_assets.pipeline.seen import Seen
from alpha_assets.pipeline.stage import Inputs, Output, Outputs, Read, Span, Stage
from alpha_assets.pipeline.windows import (
    NO_HISTORY,
    NO_NAMES,
    first_usable,
    last_exit,
    leans_on,
    split_of,
    usable_from,
    why_skipped,
    window_months,
)
from alpha_assets.spec import digest, kept
from alpha_assets.store.folder import Folder
from alpha_assets.store.hashing import combined_hash, content_hash
from alpha_assets.store.raw import HashesByDate, RawTable
from alpha_assets.store.table import AGAIN
from alpha_assets.training.card import RECORDS
from alpha_assets.training.device import device_alone, model_alone

if TYPE_CHECKING:
    from alpha_assets.dataset.tensor import Dataset
    from alpha_assets.training.checkpoint import Checkpoint
    from alpha_assets.training.estimator import Weights

PARENT = "; the training of {month} starts from it"
IS_FIRST = "is_first"  # of a checkpoint's facts: the month before has no model
BARS = "daily_bars"


@kept
def checkpoint_stage(recipe: Recipe) -> Stage[RecipeContext]:
    """Return the stage of a recipe's models.

    A month that an earlier model decides reads that one alone, and points to it.
    """
    market, training = recipe.market, recipe.spec.training
    far, expanding = training_sessions(recipe), recipe.spec.split.expanding
    universe = recipe.spec.universe.name

    of_inputs = feeds_of_inputs(recipe)
    whole = (LIVES, *of_inputs)  # feeds of which an old row may hide a late one, or be in force

    def window(of: Outputs[MarketContext]) -> Read[RecipeContext]:
        return Read(of, sessions_back=far, all_before=expanding, until=-1, span=_window)

    def known(feed: str) -> Read[RecipeContext]:
        def hashed(context: RecipeContext, months: Sequence[str], seen: Seen) -> str:
            split = split_of(context, months[0], usable_from(context, seen))
            if feed in whole:
                return raw_known(context, feed, None, split, seen)
            first, _ = window_months(context, split)
            return raw_known(context, feed, first, split, seen, dated_months(context, split))

        return Read(
            raw_rows(feed),
            sessions_back=far,
            all_before=expanding or feed in whole,
            until=-1,
            span=_window,
            hashed=hashed,
            optional=True,
        )

    universe, asks_graph = recipe.spec.universe.name, recipe.spec.inputs.graph is not None

    def week_longer(of: Outputs[MarketContext]) -> Read[RecipeContext]:
        back = far + WEEK
        return Read(of, sessions_back=back, all_before=expanding, until=-1, span=_graph_window)

    reads = [
        window(cross_section_stage(market, universe, section_families(recipe))),
        (week_longer if asks_graph else window)(panel_stage(market)),
        *([week_longer(graph_stage(market, universe))] if asks_graph else []),
        known(BARS),
    ]
    if LIVES in market.feeds:
        reads.append(known(LIVES))
    reads += [known(feed) for feed in of_inputs if feed != LIVES]
    if recipe.spec.label.kind == "vol_scaled":
        reads.append(window(features_stage(market, tables_of(market, [VOLATILITY]))))
    if training.warm_start or training.retrain_every > 1:
        reads.append(
            Read(
                None,
                name="checkpoint/{last}",
                months_back=training.retrain_every,
                until=-1,
                span=_earlier_model,
                fresh=True,
                what_for="; the warm start of {month} begins with it, or {month} points to it",
            )
        )
    if recipe.parent is not None:
        of = checkpoint_stage(recipe.parent)
        reads.append(
            Read(
                of,
                name=f"{recipe.parent.folder}/checkpoint/{{last}}",
                months_back=recipe.parent.spec.training.retrain_every - 1,
                span=_model_of_parent,
                hashed=partial(_hash_of_parent, of),
                fresh=True,
                where=RecipeContext.of_parent,
                what_for=PARENT,
            )
        )
    return Stage(
        name="checkpoint",
        key=(recipe.folder, "checkpoint"),
        place=lambda context: context.checkpoints,
        made_by=lambda: identity.checkpoint(recipe),
        reads=tuple(reads),
        make=make_model,
        alone=training_alone,
        records=(*RECORDS, RATE),
    )


def ensure_models(context: RecipeContext, month: str) -> None:
    """Make the model that decides a month, and those that it leans on or starts from."""
    stage = checkpoint_stage(context.recipe)
    months = [*stage.leans_on(context, month, Seen()), month]
    if context.recipe.parent is not None:
        for needed in months:
            ensure_models(context.of_parent(), needed)
    stage.ensure(context, months)


def training_sessions(recipe: Recipe) -> int:
    """Return how many sessions before a month its model reads: window, gaps, validation."""
    split, horizon = recipe.spec.split, longest_horizon(recipe.spec.label)
    n_purges = 2 if split.valid_sessions else 1  # labels end before each span begins
    gaps = n_purges * horizon + split.embargo_sessions
    back = recipe.spec.window.sessions_before
    return split.lookback_sessions + split.valid_sessions + gaps + back


def _window(context: RecipeContext, months: Sequence[str], seen: Seen) -> Span | None:
    """Return the months of a model's window; None where an earlier model decides the month."""
    split, trained_in, _ = _plan(context, months[0], seen)
    return window_months(context, split) if trained_in == split.month else None


def _graph_window(context: RecipeContext, months: Sequence[str], seen: Seen) -> Span | None:
    """Return the months of a model's window and of the graphs that its sessions go by."""
    split, trained_in, _ = _plan(context, months[0], seen)
    if trained_in != split.month:
        return None
    first, last = window_months(context, split)
    return min(first, graph_months(context, split.train)[0]) if split.is_ready else first, last


def _earlier_model(context: RecipeContext, months: Sequence[str], seen: Seen) -> Span | None:
    """Return the month whose model a month points to or starts from."""
    split, trained_in, parent = _plan(context, months[0], seen)
    earlier = parent if trained_in == split.month else trained_in
    return None if earlier is None else (earlier, earlier)


def _model_of_parent(context: RecipeContext, months: Sequence[str], seen: Seen) -> Span | None:
    """Return the month of the parent's model that a month starts from; None if it trains none."""
    split, trained_in, _ = _plan(context, months[0], seen)
    return (months[0], months[0]) if split.is_ready and trained_in == split.month else None


def _hash_of_parent(
    of: Stage[RecipeContext], context: RecipeContext, months: Sequence[str], seen: Seen
) -> str:
    """Return the hash of the parent's model of a month, refused where it is not fresh."""
    there, month = context.of_parent(), months[0]
    place = there.checkpoints
    if seen.hashes(place).combined(month, month) != AGAIN:
        what_for = PARENT.format(month=month)
        of.require(there, [month], seen=seen, what_for=what_for)
    return seen.hashes(place).combined(month, month)


def _plan(context: RecipeContext, month: str, seen: Seen) -> tuple[Split, str, str | None]:
    """Return a month's split, the month whose model decides it, and that which it starts from."""
    usable = usable_from(context, seen)
    split = split_of(context, month, usable)
    return (split, *leans_on(context, split, usable))


def dated_months(context: RecipeContext, split: Split) -> tuple[str, str] | None:
    """Return the months of the bars that labels of a split are read from; None without sessions.

    From the first training session to the exit of the last label.  Factors between entry and exit
    stand on bars of the same sessions, and a bar is levelled by its own revisions alone.
    """
    if not len(split.train):
        return None
    return month_of(split.train[0]), month_of(last_exit(context, as_date(split.last)))


def raw_known(
    context: RecipeContext,
    feed: str,
    first: str | None,
    split: Split,
    seen: Seen,
    dated: tuple[str, str] | None = None,
) -> str:
    """Return one hash of the rows of a feed that were public at the first decision of a month.

    Args:
        context: with a recipe.
        feed: whose rows.
        first: month of publication to start with; None: the first.
        split: of the month; its own rows count up to the decision of its first session, so that
            what is published later in the month changes nothing.
        seen: what the store held.
        dated: first and last month of `event_date`; None: all.
    """
    table, month, last = context.raw[feed], split.month, next_month(split.month, -1)
    known = seen.hashes(table.table)
    before = known.combined(first, last)
    if before == AGAIN or month in known.again:
        return AGAIN
    if dated is not None:
        before = by_date(table, seen).combined((first or "", last), dated)
    if month not in known.of_month:
        return before
    until = context.market.calendar.decided_at(split.first_session)
    rows = table.read(until=until, first=month, last=month).collect()
    if dated is not None:
        rows = rows.filter(dated_within(dated))
    if not rows.height:
        return before
    return combined_hash({"before": before, month: content_hash(rows, table.table.key)})


def dated_within(months: tuple[str, str]) -> pl.Expr:
    """Whether `event_date` lies in a span of months."""
    first, last = map(pl.lit, months)
    return pl.col("event_date").dt.strftime("%Y-%m").is_between(first, last)


def by_date(table: RawTable, seen: Seen) -> HashesByDate:
    """Return the hashes of a feed's rows by date, read once in a look."""
    return seen.once(f"{table.name} by date", table.hashes_by_date)


def stored_checkpoint(folder: Folder, device: str = "cpu") -> "Checkpoint":
    """Return the models of a checkpoint's folder, every file of it found to be as written.

    Raises:
        MissingOutput: the folder or a file was never made.
        StaleOutput: a card of another form, or weights that are not those the card names.
        StorageError: a file is gone, truncated, or not what the manifest names.
    """
    from alpha_assets.training.checkpoint import checkpoint_of

    return checkpoint_of(folder.contents(), folder.name, device)


def _weights_of_parent(context: RecipeContext, data: "Dataset", month: str) -> "dict[int, Weights]":
    """Return the weights by seed of the parent's model of a month.

    Raises:
        TooFewNames: the parent has no model of the month.
        BadInput: it was trained on other columns.
    """
    there = context.of_parent()
    name = f"{there.recipe.folder}, whose model {month} starts from,"
    manifest = there.checkpoint(month).manifest()
    assert manifest is not None, "it was required"
    if manifest.status == POINTER:
        month = str(manifest.extra["model_month"])
        manifest = there.checkpoint(month).manifest()
        assert manifest is not None, "it was required"
    skipped = why_skipped(manifest)
    if skipped:
        raise TooFewNames(f"{name} has none: {skipped}")
    parent = stored_checkpoint(there.checkpoint(month))
    for what, learned, read in (
        ("columns", parent.card.features, data.axes.features),
        ("market-wide columns", parent.card.market_features, data.axes.market_features),
    ):
        if learned != read:
            odd = sorted(set(learned).symmetric_difference(read))[:3] or ["their order"]
            raise BadInput(
                f"{name} was trained on {len(learned)} {what}, and {context.recipe.folder} on "
                f"{len(read)} (first difference: {', '.join(odd)}); give both recipes the same "
                "[features] and [split], or set window.min_span = 0 in both"
            )
    return dict(parent.by_seed())


def make_model(context: RecipeContext, months: Sequence[str], inputs: Inputs) -> Iterator[Output]:
    """Make a month's model, or why it has none, or a pointer to the one that decides it."""
    (month,) = months
    split, trained_in, parent = _plan(context, month, Seen())
    if trained_in != month:
        yield _pointer(context, month, trained_in)
        return
    if not split.is_ready:
        context.progress(
            "checkpoint",
            f"{month} skipped: {len(split.train)} training sessions, too few; the first month "
            f"with enough is {split.first_month}",
        )
        facts = {"first_month": split.first_month, "train_sessions": len(split.train)}
        yield Output(month, status=NO_HISTORY, facts=facts)
        return
    try:
        yield from _trained(context, split, inputs[month], parent)
    except TooFewNames as error:
        yield _skipped(context, month, str(error))


@contextmanager
def training_alone(context: RecipeContext, months: Sequence[str]) -> Iterator[None]:
    """Hold the locks of a month's model and of the device, where the month has one to train."""
    (month,) = months
    threads = context.recipe.spec.training.threads
    context.recipe.spec.model.check_installed()  # before any wait
    split, trained_in, _ = _plan(context, month, Seen())
    if trained_in != month or not split.is_ready:
        yield
        return
    with (
        model_alone(context.checkpoint(month), context.progress),
        device_alone(context.store, context.on_device, context.progress, threads=threads),
    ):
        yield


def _skipped(context: RecipeContext, month: str, why: str) -> Output:
    """Return that a month has no model, and why; other months are decided."""
    context.progress("checkpoint", f"{month} skipped: {why}")
    return Output(month, status=NO_NAMES, facts={"why": why})


def _pointer(context: RecipeContext, month: str, trained_in: str) -> Output:
    """Return that `month` is decided by the model of an earlier month."""
    source = context.checkpoint(trained_in).manifest()
    assert source is not None, "it was required"
    skipped = why_skipped(source)
    if skipped:
        return _skipped(context, month, f"the model of {trained_in} decides it: {skipped}")
    return Output(month, status=POINTER, facts={"model_month": trained_in})


def _trained(
    context: RecipeContext, split: Split, inputs: Mapping[str, str], parent: str | None
) -> Iterator[Output]:
    """Train the model of a month; once it is stored, remove what a killed run would resume from."""
    from alpha_assets.pipeline.inputs import input_cards, training_view
    from alpha_assets.pipeline.train import has_model, training_data
    from alpha_assets.training.checkpoint import checkpoint_files, make_card
    from alpha_assets.training.month import train_month

    recipe, month = context.recipe, split.month
    made_by = identity.checkpoint(recipe)
    data, fitted = training_view(context, split, training_data(context, split))
    learner = recipe.learner
    state = context.store.scratch("resume", context.market.name, recipe.folder, month)
    read = {*data.axes.features, *data.axes.market_features}
    offered = (*section_columns(recipe.features), *market_columns(recipe.features))
    left_out = [name for name in offered if name not in read]
    context.progress(
        "checkpoint",
        f"{month}: {len(split.train)} + {len(split.valid)} sessions"
        + (f" in {len(split.blocks)} folds" if split.blocks else "")
        + (f", without {len(left_out)} columns that span too little of them" if left_out else ""),
    )
    weights: Mapping[int, Weights] | None = None
    if parent is not None:
        manifest = context.checkpoint(parent).manifest()
        assert manifest is not None, "it was required"
        skipped = why_skipped(manifest)
        if skipped:
            context.progress(
                "checkpoint", f"{month} starts cold: {parent} has no model ({skipped})"
            )
        else:
            weights = stored_checkpoint(context.checkpoint(parent)).by_seed()
    if recipe.parent is not None:
        weights = _weights_of_parent(context, data, month)
        parent = recipe.parent.folder
    trained = train_month(
        data,
        split,
        learner,
        state=state,
        identity=digest(made_by.digest, made_by.code, inputs),
        parent=weights,
        on_epoch=EpochLines(
            context.progress, "checkpoint", month, learner, n_folds=len(split.folds)
        ),
    )
    card = make_card(
        trained,
        data.axes,
        split,
        market=context.market.name,
        recipe=recipe.folder,
        digest=recipe.digest,
        data_hash=digest(inputs),
        resolved_recipe=recipe.resolved,
        embargo_sessions=recipe.spec.split.embargo_sessions,
        left_out=left_out,
        parent=parent if weights else None,
        inputs=input_cards(context.market, recipe, data, fitted),
    )
    for seed in trained.seeds:
        if seed.unfinished:
            fold = f"fold {seed.fold} " if seed.fold else ""
            context.progress("checkpoint", f"{month} {fold}seed {seed.seed}: {seed.unfinished}")
    rank_ics = [seed.valid_rank_ic for seed in trained.seeds if seed.valid_rank_ic is not None]
    facts = {
        "valid_rank_ic": float(np.mean(rank_ics)) if rank_ics else None,
        "epochs": max(len(seed.epochs) for seed in trained.seeds),
        "best_epoch": max(seed.best for seed in trained.seeds),
        RATE: windows_per_second(trained.seeds),
        "curves": curves(trained.seeds),
        "unfinished_seeds": sum(bool(seed.unfinished) for seed in trained.seeds),
        "train_sessions": len(split.train),
        "symbols": len(data.axes.symbols),
        "columns": len(read),
        "columns_left_out": len(left_out),
        IS_FIRST: not has_model(
            context, split_of(context, next_month(month, -1), first_usable(context))
        ),
    }
    files = checkpoint_files(trained, card, {name: one.pca for name, one in fitted.items()})
    yield Output(month, files=files, facts=facts)
    with suppress(StorageError):  # the checkpoint is stored; a state that stays is never used again
        state.remove()
