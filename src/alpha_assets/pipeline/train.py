"""The recipe's stages: a model per month, its scores, and what to hold.

A month's checkpoint reads nothing at or after the month's first session; predictions and
targets of a session read nothing that was not known at its decision.
"""

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl

from alpha_assets.arrays.keys import KEYS
from alpha_assets.arrays.ranks import MIN_PAIRS
from alpha_assets.arrays.types import Array, Index
from alpha_assets.calendar import as_date, month_of, month_range, next_month
from alpha_assets.dataset import Dataset, Split, learnable_columns, split_month, training_axes
from alpha_assets.dataset.axes import Axes
from alpha_assets.dataset.tensor import TargetTransform, on_axes
from alpha_assets.errors import MissingOutput, RangeError, StorageError, TooFewNames
from alpha_assets.features import Feature
from alpha_assets.features.base import SESSIONS_PER_YEAR
from alpha_assets.labels import VOLATILITY_SESSIONS, LabelSpec, forward_returns, transform
from alpha_assets.panel.lives import by_life, rows_by_life
from alpha_assets.pipeline import identity
from alpha_assets.pipeline.command import command, run_again
from alpha_assets.pipeline.context import (
    Made,
    RecipeContext,
    manifest_of,
    require_fresh,
    require_months,
    silent,
    staleness,
)
from alpha_assets.pipeline.transforms import sessions_back, tradable_rows
from alpha_assets.spec import digest
from alpha_assets.store.folder import Folder
from alpha_assets.store.hashing import combined_hash, content_hash
from alpha_assets.store.manifest import Manifest
from alpha_assets.store.table import AGAIN, DAMAGED
from alpha_assets.training import (
    Checkpoint,
    Learner,
    checkpoint_files,
    checkpoint_of,
    make_card,
    model_month,
    parent_month,
    train_month,
)
from alpha_assets.training.device import device_alone, model_alone

NO_HISTORY = "not_enough_history"
NO_NAMES = "not_enough_names"  # a hole in the data, or too small a universe, in a month's window
SKIPPED = (NO_HISTORY, NO_NAMES)  # statuses of a month without a model
POINTER = "pointer"
IS_FIRST = "is_first"  # of a checkpoint's facts: the month before has no model
LIVES = "listings"  # whose rows say which bars of a symbol are one life; labels read them

MONTH = re.compile(r"\d{4}-\d{2}")


def first_usable(context: RecipeContext) -> date:
    """Return the first session that the recipe's universe has rows for.

    Where leading months of the cross-section are not stored and the universe is full at once in
    the first that is, it may have begun before: the market's first session is returned, so that
    no window ends at what happens to be stored; reading the months that lack is refused.

    Raises:
        MissingOutput: no month of the cross-section has been made, or leading ones lack and the
            window or the chain of models starts at the market's first usable session.
    """
    months = context.section.months()
    found: date | None = None
    for month in months:
        rows = context.section.read(month, month).select(pl.col("session").min()).collect()
        if rows.item() is not None:
            found = as_date(rows.item())
            break
    if found is None:
        raise MissingOutput(f"{context.section.name} has no rows; {run_again(context)}")
    sessions, start = context.market.calendar.month_sessions, first_month_of_data(context)
    if start >= months[0] or found > as_date(sessions(months[0])[0]):
        return found
    spec = context.recipe.spec
    for why, rests in (
        ("an expanding window", spec.split.expanding),
        ("the count of split.retrain_every months", spec.training.retrain_every > 1),
        ("the chain of warm starts", spec.training.warm_start),
    ):
        if rests:
            lacking = month_range(start, months[0])[:-1]
            raise MissingOutput(
                f"{context.section.name} lacks {len(lacking)} leading months, {lacking[0]} to "
                f"{lacking[-1]}, for which bars are stored; {why} starts at the market's first "
                f"usable session; {run_again(context)}"
            )
    return as_date(sessions(start)[0])


def first_month_of_data(context: RecipeContext) -> str:
    """Return the first month that stages can be made for: that of the first stored bar.

    Raises:
        MissingOutput: no bars are stored.
    """
    bars = context.raw["daily_bars"]
    months = bars.months()
    if not months:
        raise MissingOutput(f"market {context.market.name!r} has no bars in this storage")
    first = bars.read(last=months[0], columns=["event_date"]).min().collect().item()
    return max(month_of(first), context.market.spec.first_month)


def split_of(context: RecipeContext, month: str, usable: date) -> Split:
    """Return the training and validation sessions of a month."""
    recipe = context.recipe
    return split_month(context.market.calendar, month, recipe.horizon, recipe.spec.split, usable)


def window_months(context: RecipeContext, split: Split) -> tuple[str, str]:
    """Return the first and last month whose cross-sections a month's model reads."""
    first = split.train[0] if len(split.train) else split.first_session
    steps = context.recipe.spec.training.sequence
    start = sessions_back(context.market.calendar, first, steps - 1)
    return month_of(start), next_month(split.month, -1)


def checkpoint_inputs(context: RecipeContext, split: Split, parent: str | None) -> dict[str, str]:
    """Return what a month's model is made from: what was known at the month's first decision."""
    first, last = window_months(context, split)
    inputs = {
        f"cross_section/{context.recipe.spec.universe.name}": context.hashes(
            context.section
        ).combined(first, last),
        "panel": context.hashes(context.panel).combined(first, last),
        "raw/daily_bars": raw_known(context, "daily_bars", first, split),
    }
    if LIVES in context.raw and context.raw[LIVES].months():
        inputs[f"raw/{LIVES}"] = raw_known(context, LIVES, None, split)
    if context.recipe.spec.label.kind == "vol_scaled":
        inputs["features"] = context.hashes(context.features).combined(first, last)
    if parent is not None:
        inputs[f"checkpoint/{parent}"] = context.hash_of(context.checkpoint(parent))
    return inputs


def raw_known(context: RecipeContext, feed: str, first: str | None, split: Split) -> str:
    """Return one hash of the rows of a feed that were public at the first decision of a month.

    Args:
        context: with a recipe.
        feed: whose rows.
        first: month of publication to start with; None: the first.
        split: of the month; its own rows count up to the decision of its first session, so that
            what is published later in the month changes nothing.
    """
    table, month = context.raw[feed], split.month
    known = context.hashes(table.table)
    before = known.combined(first, next_month(month, -1))
    if before == AGAIN or month in known.again:
        return AGAIN
    if month not in known.of_month:
        return before
    until = context.instant_of(split.first_session)
    rows = table.read(until=until, first=month, last=month).collect()
    if not rows.height:
        return before
    return combined_hash({"before": before, month: content_hash(rows, table.table.key)})


def labels_between(
    context: RecipeContext, first: date, last: date, known_by: date | None
) -> pl.DataFrame:
    """Return the forward returns of decisions from `first` to `last`.

    Args:
        context: whose recipe says which horizons.
        first: first decision session.
        last: last decision session.
        known_by: only bars effective by this session exist; None: all that are stored.
    """
    spec, calendar = context.recipe.spec.label, context.market.calendar
    reach = int(calendar.index_of(last)) + max(spec.horizons)
    end = as_date(calendar.sessions[min(reach, len(calendar.sessions) - 1)])
    bars = (
        context.raw["daily_bars"]
        .read(first=month_of(first))
        .filter(pl.col("event_date").is_between(first, end))
    )
    return forward_returns(
        bars,
        calendar,
        spec.horizons,
        spec.entry,
        first,
        last,
        known_by=known_by,
        listings=stored_listings(context),
    )


def stored_listings(context: RecipeContext) -> pl.LazyFrame | None:
    """Return all stored events of `listings`; None where the market has none."""
    table = context.raw.get("listings")
    return table.read() if table is not None and table.months() else None


def make_checkpoints(context: RecipeContext, months: Sequence[str]) -> list[Made]:
    """Train the model of each of `months` that is missing or stale, in order."""
    usable = first_usable(context)
    return [_make_checkpoint(context, month, usable) for month in sorted(months)]


def chain(context: RecipeContext, month: str) -> list[str]:
    """Return the months whose checkpoints a month's model leans on, in order, itself last."""
    usable = first_usable(context)
    found = [month]
    while True:
        trained_in, parent = _leans_on(context, split_of(context, found[0], usable), usable)
        before = trained_in if trained_in != found[0] else parent
        if before is None:
            return found
        found.insert(0, before)


def made_checkpoints(context: RecipeContext) -> tuple[str, ...]:
    """Return the months that have a finished checkpoint, sorted; other names are no months."""
    found = context.store.finished(context.market.name, context.recipe.name, "checkpoint")
    return tuple(name for name in found if MONTH.fullmatch(name))


def stale_checkpoints(context: RecipeContext, months: Sequence[str]) -> dict[str, str]:
    """Return those of `months` whose model would be made again, and why."""
    found = {}
    for month in sorted(months):
        try:
            reason = checkpoint_staleness(context, month, first_usable(context))
        except (MissingOutput, StorageError) as error:
            reason = str(error)
        if reason:
            found[month] = reason
    return found


def checkpoint_staleness(context: RecipeContext, month: str, usable: date) -> str | None:
    """Return why the model of a month would be made again, or None where it is fresh."""
    inputs = _inputs_of(context, split_of(context, month, usable), usable)
    return staleness(context.checkpoint(month), identity.checkpoint(context.recipe), inputs)


def _inputs_of(context: RecipeContext, split: Split, usable: date) -> dict[str, str]:
    """Return what a month's checkpoint is made from, a pointer from the model it points to."""
    trained_in, parent = _leans_on(context, split, usable)
    if trained_in != split.month:
        return {f"checkpoint/{trained_in}": context.hash_of(context.checkpoint(trained_in))}
    return checkpoint_inputs(context, split, parent)


def require_checkpoint(context: RecipeContext, month: str, what_for: str = "") -> Manifest:
    """Return the manifest of a month's model, found fresh, as are the models it starts from.

    Args:
        context: with a recipe.
        month: whose model is about to be read.
        what_for: why it is read, for the message.

    Raises:
        MissingOutput: it, or a model that its training started from, has not been made.
        StaleOutput: another digest or other inputs made one of them.
        StorageError: one of them is damaged.
    """
    usable = first_usable(context)
    manifest: Manifest | None = None
    for link in chain(context, month):
        span = ("--first-month", link, "--last-month", month)
        manifest = require_fresh(
            context.checkpoint(link),
            identity.checkpoint(context.recipe),
            _inputs_of(context, split_of(context, link, usable), usable),
            f"{command(context, 'run', *span)} makes it{what_for}",
        )
    assert manifest is not None, "the chain holds the month itself"
    return manifest


def model_hash(context: RecipeContext, month: str) -> str:
    """Return the hash of the model that decides a month: of a pointer, that of its source."""
    found = context.hash_of(context.checkpoint(month))
    if found in (AGAIN, DAMAGED, "missing"):
        return found
    manifest = context.checkpoint(month).manifest()
    assert manifest is not None, "it has a hash"
    if manifest.status == POINTER:
        return next(iter(manifest.inputs.values()))
    return found


def stored_checkpoint(folder: Folder, device: str = "cpu") -> Checkpoint:
    """Return the models of a checkpoint's folder, every file of it found to be as written.

    Raises:
        MissingOutput: the folder or a file was never made.
        StaleOutput: a card of another form, or weights that are not those the card names.
        StorageError: a file is gone, truncated, or not what the manifest names.
    """
    return checkpoint_of(folder.contents(), folder.name, device)


def _leans_on(context: RecipeContext, split: Split, usable: date) -> tuple[str, str | None]:
    """Return the month whose model decides a month, and the month that its training starts from."""
    if not split.is_ready:
        return split.month, None
    first_month, training = first_trained_month(context, usable), context.recipe.spec.training
    trained_in = model_month(split.month, first_month, training.retrain_every)
    return trained_in, parent_month(split.month, first_month, training)


def _make_checkpoint(context: RecipeContext, month: str, usable: date) -> Made:
    recipe, folder = context.recipe, context.checkpoint(month)
    split = split_of(context, month, usable)
    trained_in, parent = _leans_on(context, split, usable)
    if trained_in != month:
        return _point_to(context, month, trained_in)
    inputs = checkpoint_inputs(context, split, parent)
    if staleness(folder, identity.checkpoint(recipe), inputs) is None:
        return Made.found("checkpoint", month, folder)
    if not split.is_ready:
        why: dict[str, int | str | None] = {
            "first_month": split.first_month,
            "train_sessions": len(split.train),
        }
        context.progress(
            "checkpoint",
            f"{month} skipped: {len(split.train)} training sessions, too few; the first month "
            f"with enough is {split.first_month}",
        )
        manifest = folder.write(
            {},
            manifest_of(identity.checkpoint(recipe), inputs, status=NO_HISTORY, facts=why),
        )
        return Made.of("checkpoint", month, folder, manifest)
    first, last = window_months(context, split)
    universe = recipe.spec.universe.name
    made_by = identity.cross_section(context.market, universe)
    start = max(first, first_month_of_data(context))
    require_months(context.section, start, last, made_by, run_again(context))
    if parent is not None:
        require_checkpoint(context, parent, f"; the warm start of {month} begins with its weights")
    # One process trains a month; another that wants the same model takes over what it stored.
    with model_alone(folder, context.progress):
        if staleness(folder, identity.checkpoint(recipe), inputs) is None:  # made meanwhile
            return Made.found("checkpoint", month, folder)
        with device_alone(context.store, context.device, context.progress):
            try:
                return _train(context, split, inputs, parent, usable)
            except TooFewNames as error:
                return _skip(context, month, inputs, str(error))


def _skip(context: RecipeContext, month: str, inputs: Mapping[str, str], why: str) -> Made:
    """Write that a month has no model, and why; other months are decided."""
    context.progress("checkpoint", f"{month} skipped: {why}")
    folder = context.checkpoint(month)
    manifest = folder.write(
        {},
        manifest_of(
            identity.checkpoint(context.recipe), inputs, status=NO_NAMES, facts={"why": why}
        ),
    )
    return Made.of("checkpoint", month, folder, manifest)


def why_skipped(manifest: Manifest) -> str:
    """Return why a month has no model, from the manifest of its checkpoint; empty if it has one."""
    if manifest.status not in SKIPPED:
        return ""
    if manifest.status == NO_NAMES:
        return str(manifest.extra["why"])
    first = manifest.extra.get("first_month")
    return "too little history for a model" + (
        f", the first month with enough is {first}" if first else ""
    )


def _train(
    context: RecipeContext,
    split: Split,
    inputs: Mapping[str, str],
    parent: str | None,
    usable: date,
) -> Made:
    """Train the model of a month and write its checkpoint."""
    recipe, month, folder = context.recipe, split.month, context.checkpoint(split.month)
    made_by = identity.checkpoint(recipe)
    data = training_data(context, split)
    learner = learner_of(context)
    state = context.store.scratch("resume", context.market.name, recipe.name, month)
    read = {*data.axes.features, *data.axes.market_features}
    offered = (*section_columns(recipe.features), *market_columns(recipe.features))
    left_out = [name for name in offered if name not in read]
    context.progress(
        "checkpoint",
        f"{month}: {len(split.train)} + {len(split.valid)} sessions"
        + (f", without {len(left_out)} columns that span too little of them" if left_out else ""),
    )
    weights = None
    if parent is not None:
        skipped = why_skipped(require_checkpoint(context, parent))
        if skipped:
            context.progress(
                "checkpoint", f"{month} starts cold: {parent} has no model ({skipped})"
            )
        else:
            weights = stored_checkpoint(context.checkpoint(parent)).weights()
    trained = train_month(
        data,
        split,
        learner,
        state=state,
        identity=digest(made_by.digest, made_by.code, inputs),
        parent=weights,
        on_epoch=lambda seed, epoch: context.progress(
            "checkpoint",
            f"{month} seed {seed} epoch {epoch.number}: "
            f"loss {epoch.loss:.4f}, validation rank IC {epoch.valid_rank_ic:.4f}",
        ),
    )
    card = make_card(
        trained,
        data.axes,
        split,
        market=context.market.name,
        recipe=recipe.name,
        digest=recipe.digest,
        data_hash=digest(inputs),
        resolved_recipe=recipe.resolved,
        embargo_sessions=recipe.spec.split.embargo_sessions,
        left_out=left_out,
        parent=parent if weights else None,
    )
    for seed in trained.seeds:
        if seed.unfinished:
            context.progress("checkpoint", f"{month} seed {seed.seed}: {seed.unfinished}")
    facts = {
        "valid_rank_ic": float(np.mean([seed.valid_rank_ic for seed in trained.seeds])),
        "epochs": max(len(seed.epochs) for seed in trained.seeds),
        "best_epoch": max(seed.best for seed in trained.seeds),
        "unfinished_seeds": sum(bool(seed.unfinished) for seed in trained.seeds),
        "train_sessions": len(split.train),
        "symbols": len(data.axes.symbols),
        "columns": len(read),
        "columns_left_out": len(left_out),
        IS_FIRST: not _has_model(context, split_of(context, next_month(month, -1), usable)),
    }
    manifest = folder.write(
        {},
        manifest_of(identity.checkpoint(recipe), inputs, facts=facts),
        files=checkpoint_files(trained, card),
    )
    with suppress(StorageError):  # the checkpoint is stored; a state that stays is never used again
        state.remove()
    return Made.of("checkpoint", month, folder, manifest)


def _point_to(context: RecipeContext, month: str, trained_in: str) -> Made:
    """Write that `month` is decided by the model of an earlier month."""
    source = require_checkpoint(context, trained_in, f"; {month} points to it")
    folder = context.checkpoint(month)
    inputs = {f"checkpoint/{trained_in}": source.content_hash}
    if staleness(folder, identity.checkpoint(context.recipe), inputs) is None:
        return Made.found("checkpoint", month, folder)
    skipped = why_skipped(source)
    if skipped:
        return _skip(context, month, inputs, f"the model of {trained_in} decides it: {skipped}")
    manifest = folder.write(
        {},
        manifest_of(
            identity.checkpoint(context.recipe),
            inputs,
            status=POINTER,
            facts={"model_month": trained_in},
        ),
    )
    return Made.of("checkpoint", month, folder, manifest)


def first_trained_month(context: RecipeContext, usable: date) -> str:
    """Return the first month with a full training window.

    Raises:
        RangeError: no month of the calendar has one.
    """
    found = split_of(context, month_of(usable), usable).first_month
    if found is None:
        raise RangeError(
            f"no month has {context.recipe.spec.split.lookback_sessions} training sessions "
            f"after {usable}; shorten split.lookback_sessions or bring more history"
        )
    return found


def learner_of(context: RecipeContext) -> Learner:
    """Return the sections of the recipe that training reads."""
    spec = context.recipe.spec
    return Learner(model=spec.model, loss=spec.loss, training=spec.training, gates=spec.gates)


def training_data(context: RecipeContext, split: Split) -> Dataset:
    """Return the resident tensors that a month's model is trained on."""
    recipe, calendar = context.recipe, context.market.calendar
    first_month, last_month = window_months(context, split)
    start = sessions_back(calendar, split.train[0], recipe.spec.training.sequence - 1)
    within = pl.col("session").is_between(start, as_date(split.valid[-1]))
    section = context.section.read(first_month, last_month).filter(within).collect()
    panel = (
        context.panel.read(first_month, last_month)
        .filter(within)
        .select("session", "symbol", "stale", "life")
        .collect()
    )
    check_names(
        context, section.join(tradable_rows(panel), on=["session", "symbol"], how="semi"), split
    )
    section = rows_by_life(section, panel)
    columns = learnable_columns(
        section,
        split.train,
        section_columns(recipe.features),
        market_columns(recipe.features),
        recipe.spec.training.min_span,
    )
    axes = training_axes(
        section,
        calendar,
        split,
        steps=recipe.spec.training.sequence,
        features=columns.features,
        market_features=columns.market_features,
        horizons=recipe.spec.label.horizons,
    )
    labels = labels_between(
        context,
        as_date(split.train[0]),
        as_date(split.valid[-1]),
        known_by=as_date(split.first_session),
    )
    return Dataset.build(
        section,
        axes,
        tradable=tradable_rows(by_life(panel)),
        labels=rows_by_life(labels, panel),
        transform=target_transform(
            recipe.spec.label, label_volatility(context, split, axes, panel)
        ),
        device=context.device,
        dtype=recipe.spec.training.resident_dtype,
    )


def _has_model(context: RecipeContext, split: Split) -> bool:
    """Return whether a month has the history and the names to train on.

    Asked of the rows themselves, not of the month's checkpoint, which may not have been made.
    """
    if not split.is_ready:
        return False
    first, last = window_months(context, split)
    stored = context.section.months(first, last)
    within = pl.col("session").is_between(as_date(split.train[0]), as_date(split.valid[-1]))
    columns = ["session", "symbol"]
    section = context.section.scan(stored, columns).filter(within).collect()
    panel = context.panel.scan(context.panel.months(first, last), [*columns, "stale", "life"])
    tradable = tradable_rows(panel.filter(within).collect())
    try:
        check_names(
            replace(context, progress=silent), section.join(tradable, on=columns, how="semi"), split
        )
    except TooFewNames:
        return False
    return True


def check_names(context: RecipeContext, section: pl.DataFrame, split: Split) -> None:
    """Refuse to train on a universe too small for a feature, or for a rank IC; name a thin one.

    Args:
        context: with a recipe; hears of sessions with too few names where others have enough.
        section: cross-section rows of the training and validation sessions, of names with a bar
            on the session before: the others have no values.
        split: the month's.

    Raises:
        TooFewNames: no training session has `min_names` names, so that every feature is 0, or no
            validation session has the names of a rank IC.
    """
    universe = context.recipe.spec.universe.name
    least = context.market.spec.universes[universe].min_names
    counts = section.group_by("session").agg(names=pl.len())
    for words, sessions, needed, why in (
        ("training", split.train, least, f"min_names = {least} leave every feature at 0"),
        ("validation", split.valid, MIN_PAIRS, f"{MIN_PAIRS} have no rank IC to select epochs by"),
    ):
        names_D = counts.filter(pl.col("session").is_in(sessions.tolist()))["names"].to_numpy()
        most = int(names_D.max(initial=0))
        n_thin = len(sessions) - int((names_D >= needed).sum())
        if most < needed:
            enough = max(least, MIN_PAIRS)
            way_out = f"bring at least {enough} names"
            if most == 0:
                way_out = (
                    "no name has a bar on the session before one of them: bring their bars, or "
                    "decide only months whose sessions have some"
                )
            elif most >= MIN_PAIRS:
                way_out += f", or set [universes.{universe}] min_names to {most} or less"
            else:
                way_out += (
                    f"; a lower min_names in [universes.{universe}] does not help alone, since a "
                    f"rank IC needs {MIN_PAIRS}"
                )
            raise TooFewNames(
                f"universe {universe} has {most} names at most in the {words} sessions "
                f"{sessions[0]} to {sessions[-1]} of {split.month}; fewer than {why}: {way_out}"
            )
        if n_thin:
            context.progress(
                "checkpoint",
                f"{split.month}: {n_thin} of {len(sessions)} {words} sessions have fewer than "
                f"{needed} names of universe {universe}; fewer than {why}",
            )


def label_volatility(
    context: RecipeContext, split: Split, axes: Axes, panel: pl.DataFrame
) -> Array | None:
    """Return the volatility that `vol_scaled` divides by, [D, N] on the axes; else None.

    The standard deviation of a session's log return over the last sessions, as known at D:
    NaN where the history is too short for it.
    """
    if context.recipe.spec.label.kind != "vol_scaled":
        return None
    a_year = f"vol_c2c_{VOLATILITY_SESSIONS}"
    first, last = window_months(context, split)
    rows = context.features.read(first, last, columns=[*KEYS, a_year]).collect()
    of_axes = on_axes(rows_by_life(rows, panel), a_year, axes)
    return np.asarray(of_axes / math.sqrt(SESSIONS_PER_YEAR))


def target_transform(spec: LabelSpec, volatility_DN: Array | None = None) -> TargetTransform:
    """Return what training fits, made of the returns of one horizon and sector codes.

    Args:
        spec: the recipe's label.
        volatility_DN: of a session, as known at D; for `vol_scaled`.
    """

    def fitted(return_DN: Array, sector_DN: Index) -> Array:
        return transform(return_DN, spec.kind, sector_DN=sector_DN, volatility_DN=volatility_DN)

    return fitted


def section_columns(features: Sequence[Feature]) -> tuple[str, ...]:
    """Return the columns of a cross-section that a model reads: z-scores and missing shares."""
    families = dict.fromkeys(item.family for item in features)
    return (
        *[f"{feature.name}_cs_z" for feature in features if feature.scope != "market"],
        *[f"{family}_missing" for family in families],
    )


def market_columns(features: Sequence[Feature]) -> tuple[str, ...]:
    """Return the columns of the market-wide series that a model reads."""
    return tuple(f"{feature.name}_ts_z" for feature in features if feature.scope == "market")
