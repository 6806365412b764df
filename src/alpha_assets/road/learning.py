"""The recipe's stages: a model per month, its scores, and what to hold.

A month's checkpoint reads nothing at or after the month's first session; predictions and
targets of a session read nothing that was not known at its decision.
"""

import math
import shutil
from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import polars as pl

from alpha_assets.calendar import as_date, month_of, next_month
from alpha_assets.dataset import Dataset, Split, learnable_columns, split_month, training_axes
from alpha_assets.dataset.axes import Axes
from alpha_assets.dataset.tensor import TargetTransform, on_axes
from alpha_assets.errors import BadInput, MissingOutput, RangeError
from alpha_assets.features import Feature
from alpha_assets.features.base import SESSIONS_PER_YEAR
from alpha_assets.labels import (
    VOLATILITY_SESSIONS,
    Array,
    Codes,
    LabelSpec,
    forward_returns,
    transform,
)
from alpha_assets.panel.lives import by_life, rows_by_life
from alpha_assets.panel.schema import KEYS
from alpha_assets.ranks import MIN_PAIRS
from alpha_assets.road.command import run_again
from alpha_assets.road.devices import device_alone
from alpha_assets.road.frames import sessions_back, tradable_rows
from alpha_assets.road.road import Made, Road, manifest_of, require, staleness
from alpha_assets.spec import digest
from alpha_assets.training import (
    Learner,
    checkpoint_files,
    load_checkpoint,
    make_card,
    model_month,
    parent_month,
    train_month,
)

SKIPPED = "not_enough_history"
POINTER = "pointer"
IS_FIRST = "is_first"  # of a checkpoint's facts: the month before has too little history


def first_usable(road: Road) -> date:
    """Return the first session that the recipe's universe has rows for.

    Raises:
        MissingOutput: no month of the cross-section has been made.
    """
    for month in road.section.months():
        rows = road.section.read(month, month).select(pl.col("session").min()).collect()
        found = rows.item()
        if found is not None:
            return as_date(found)
    raise MissingOutput(f"{road.section.name} has no rows; {run_again(road)}")


def split_of(road: Road, month: str, usable: date) -> Split:
    """Return the training and validation sessions of a month."""
    recipe = road.the_recipe
    return split_month(road.market.calendar, month, recipe.horizon, recipe.spec.split, usable)


def window_months(road: Road, split: Split) -> tuple[str, str]:
    """Return the first and last month whose cross-sections a month's model reads."""
    first = split.train[0] if len(split.train) else split.first_session
    steps = road.the_recipe.spec.training.sequence
    start = sessions_back(road.market.calendar, first, steps - 1)
    return month_of(start), next_month(split.month, -1)


def checkpoint_inputs(road: Road, split: Split, parent: str | None) -> dict[str, str]:
    """Return what a month's model is made from; nothing of the month itself is."""
    first, last = window_months(road, split)
    inputs = {
        f"cross_section/{road.the_recipe.spec.universe.name}": road.section.combined_hash(
            first, last
        ),
        "panel": road.panel.combined_hash(first, last),
        "raw/daily_bars": road.raw["daily_bars"].combined_hash(first, last),
    }
    if road.the_recipe.spec.label.kind == "vol_scaled":
        inputs["features"] = road.features.combined_hash(first, last)
    if parent is not None:
        manifest = road.checkpoint(parent).manifest()
        inputs[f"checkpoint/{parent}"] = manifest.content_hash if manifest else "missing"
    return inputs


def labels_between(road: Road, first: date, last: date, known_by: date | None) -> pl.DataFrame:
    """Return the forward returns of decisions from `first` to `last`.

    Args:
        road: whose recipe says which horizons.
        first: first decision session.
        last: last decision session.
        known_by: only bars effective by this session exist; None: all that are stored.
    """
    spec, calendar = road.the_recipe.spec.label, road.market.calendar
    reach = int(calendar.index_of(last)) + max(spec.horizons)
    end = as_date(calendar.sessions[min(reach, len(calendar.sessions) - 1)])
    bars = (
        road.raw["daily_bars"]
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
        listings=stored_listings(road),
    )


def stored_listings(road: Road) -> pl.LazyFrame | None:
    """Return all stored events of `listings`; None where the market has none."""
    table = road.raw.get("listings")
    return table.read() if table is not None and table.months() else None


def make_checkpoints(road: Road, months: Sequence[str]) -> list[Made]:
    """Train the model of each of `months` that is missing or stale, in order."""
    usable = first_usable(road)
    return [_make_checkpoint(road, month, usable) for month in sorted(months)]


def chain(road: Road, month: str) -> list[str]:
    """Return the months whose checkpoints a month's model leans on, in order, itself last."""
    usable = first_usable(road)
    found = [month]
    while True:
        trained_in, parent = _leans_on(road, split_of(road, found[0], usable), usable)
        before = trained_in if trained_in != found[0] else parent
        if before is None:
            return found
        found.insert(0, before)


def made_checkpoints(road: Road) -> tuple[str, ...]:
    """Return the months that have a finished checkpoint, sorted."""
    folder = road.store.root / road.market.name / road.the_recipe.name / "checkpoint"
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return tuple(month for month in found if road.checkpoint(month).manifest() is not None)


def stale_checkpoints(road: Road, months: Sequence[str]) -> dict[str, str]:
    """Return those of `months` whose model would be made again, and why."""
    if not months:
        return {}
    try:
        usable = first_usable(road)
    except MissingOutput as error:
        return dict.fromkeys(months, str(error))
    found = {}
    for month in months:
        split = split_of(road, month, usable)
        trained_in, parent = _leans_on(road, split, usable)
        if trained_in == month:
            inputs = checkpoint_inputs(road, split, parent)
        else:
            source = road.checkpoint(trained_in).manifest()
            inputs = {f"checkpoint/{trained_in}": source.content_hash if source else "missing"}
        reason = staleness(road.checkpoint(month), road.the_recipe.digest, inputs)
        if reason:
            found[month] = reason
    return found


def _leans_on(road: Road, split: Split, usable: date) -> tuple[str, str | None]:
    """Return the month whose model decides a month, and the month that its training starts from."""
    if not split.is_ready:
        return split.month, None
    first_month, training = first_trained_month(road, usable), road.the_recipe.spec.training
    trained_in = model_month(split.month, first_month, training.retrain_every)
    return trained_in, parent_month(split.month, first_month, training)


def _make_checkpoint(road: Road, month: str, usable: date) -> Made:
    recipe, folder = road.the_recipe, road.checkpoint(month)
    split = split_of(road, month, usable)
    trained_in, parent = _leans_on(road, split, usable)
    if trained_in != month:
        return _point_to(road, month, trained_in)
    inputs = checkpoint_inputs(road, split, parent)
    if staleness(folder, recipe.digest, inputs) is None:
        return Made.found("checkpoint", month, folder)
    if not split.is_ready:
        why: dict[str, int | str | None] = {
            "first_month": split.first_month,
            "train_sessions": len(split.train),
        }
        road.progress(
            "checkpoint",
            f"{month} skipped: {len(split.train)} training sessions, too few; the first month "
            f"with enough is {split.first_month}",
        )
        manifest = folder.write(
            {},
            manifest_of(recipe.digest, inputs, status=SKIPPED, facts=why),
        )
        return Made.of("checkpoint", month, folder, manifest)
    with device_alone(road.store, road.device, road.progress):
        if staleness(folder, recipe.digest, inputs) is None:  # made while this one waited
            return Made.found("checkpoint", month, folder)
        return _train(road, split, inputs, parent, usable)


def _train(
    road: Road, split: Split, inputs: Mapping[str, str], parent: str | None, usable: date
) -> Made:
    """Train the model of a month and write its checkpoint."""
    recipe, month, folder = road.the_recipe, split.month, road.checkpoint(split.month)
    data = training_data(road, split)
    learner = learner_of(road)
    state = road.store.tmp / "resume" / road.market.name / recipe.name / month
    read = {*data.axes.features, *data.axes.market_features}
    offered = (*section_columns(recipe.features), *market_columns(recipe.features))
    left_out = [name for name in offered if name not in read]
    road.progress(
        "checkpoint",
        f"{month}: {len(split.train)} + {len(split.valid)} sessions"
        + (f", without {len(left_out)} columns that span too little of them" if left_out else ""),
    )
    trained = train_month(
        data,
        split,
        learner,
        state=state,
        identity=digest(recipe.digest, inputs),
        parent=load_checkpoint(road.checkpoint(parent).path).weights() if parent else None,
        on_epoch=lambda seed, epoch: road.progress(
            "checkpoint",
            f"{month} seed {seed} epoch {epoch.number}: "
            f"loss {epoch.loss:.4f}, validation rank IC {epoch.valid_rank_ic:.4f}",
        ),
    )
    card = make_card(
        trained,
        data.axes,
        split,
        market=road.market.name,
        recipe=recipe.name,
        digest=recipe.digest,
        data_hash=digest(inputs),
        resolved_recipe=recipe.resolved,
        embargo_sessions=recipe.spec.split.embargo_sessions,
        left_out=left_out,
        parent=parent,
    )
    for seed in trained.seeds:
        if seed.unfinished:
            road.progress("checkpoint", f"{month} seed {seed.seed}: {seed.unfinished}")
    facts = {
        "valid_rank_ic": float(np.mean([seed.valid_rank_ic for seed in trained.seeds])),
        "epochs": max(len(seed.epochs) for seed in trained.seeds),
        "best_epoch": max(seed.best for seed in trained.seeds),
        "unfinished_seeds": sum(bool(seed.unfinished) for seed in trained.seeds),
        "train_sessions": len(split.train),
        "symbols": len(data.axes.symbols),
        "columns": len(read),
        "columns_left_out": len(left_out),
        IS_FIRST: not split_of(road, next_month(month, -1), usable).is_ready,
    }
    manifest = folder.write(
        {},
        manifest_of(recipe.digest, inputs, facts=facts),
        files=checkpoint_files(trained, card),
    )
    shutil.rmtree(state, ignore_errors=True)
    return Made.of("checkpoint", month, folder, manifest)


def _point_to(road: Road, month: str, trained_in: str) -> Made:
    """Write that `month` is decided by the model of an earlier month."""
    source = require(
        road.checkpoint(trained_in), road.the_recipe.digest, f"make the checkpoint of {trained_in}"
    )
    folder = road.checkpoint(month)
    inputs = {f"checkpoint/{trained_in}": source.content_hash}
    if staleness(folder, road.the_recipe.digest, inputs) is None:
        return Made.found("checkpoint", month, folder)
    manifest = folder.write(
        {},
        manifest_of(
            road.the_recipe.digest, inputs, status=POINTER, facts={"model_month": trained_in}
        ),
    )
    return Made.of("checkpoint", month, folder, manifest)


def first_trained_month(road: Road, usable: date) -> str:
    """Return the first month with a full training window.

    Raises:
        RangeError: no month of the calendar has one.
    """
    found = split_of(road, month_of(usable), usable).first_month
    if found is None:
        raise RangeError(
            f"no month has {road.the_recipe.spec.split.lookback_sessions} training sessions "
            f"after {usable}; shorten split.lookback_sessions or bring more history"
        )
    return found


def learner_of(road: Road) -> Learner:
    """Return the sections of the recipe that training reads."""
    spec = road.the_recipe.spec
    return Learner(model=spec.model, loss=spec.loss, training=spec.training, gates=spec.gates)


def training_data(road: Road, split: Split) -> Dataset:
    """Return the resident tensors that a month's model is trained on."""
    recipe, calendar = road.the_recipe, road.market.calendar
    first_month, last_month = window_months(road, split)
    start = sessions_back(calendar, split.train[0], recipe.spec.training.sequence - 1)
    within = pl.col("session").is_between(start, as_date(split.valid[-1]))
    section = road.section.read(first_month, last_month).filter(within).collect()
    check_names(road, section, split)
    panel = (
        road.panel.read(first_month, last_month)
        .filter(within)
        .select("session", "symbol", "stale", "life")
        .collect()
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
        road,
        as_date(split.train[0]),
        as_date(split.valid[-1]),
        known_by=as_date(split.first_session),
    )
    return Dataset.build(
        section,
        axes,
        tradable=tradable_rows(by_life(panel)),
        labels=rows_by_life(labels, panel),
        transform=target_transform(recipe.spec.label, label_volatility(road, split, axes, panel)),
        device=road.device,
        dtype=recipe.spec.training.resident_dtype,
    )


def check_names(road: Road, section: pl.DataFrame, split: Split) -> None:
    """Refuse to train on a universe too small for a feature, or for a rank IC; name a thin one.

    Args:
        road: with a recipe; hears of sessions with too few names where others have enough.
        section: cross-section rows of the training and validation sessions.
        split: the month's.

    Raises:
        BadInput: no training session has `min_names` names, so that every feature is 0, or no
            validation session has the names of a rank IC.
    """
    universe = road.the_recipe.spec.universe.name
    least = road.market.spec.universes[universe].min_names
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
            if most >= MIN_PAIRS:
                way_out += f", or set [universes.{universe}] min_names to {most} or less"
            else:
                way_out += (
                    f"; a lower min_names in [universes.{universe}] does not help alone, since a "
                    f"rank IC needs {MIN_PAIRS}"
                )
            raise BadInput(
                f"universe {universe} has {most} names at most in the {words} sessions "
                f"{sessions[0]} to {sessions[-1]} of {split.month}; fewer than {why}: {way_out}"
            )
        if n_thin:
            road.progress(
                "checkpoint",
                f"{split.month}: {n_thin} of {len(sessions)} {words} sessions have fewer than "
                f"{needed} names of universe {universe}; fewer than {why}",
            )


def label_volatility(road: Road, split: Split, axes: Axes, panel: pl.DataFrame) -> Array | None:
    """Return the volatility that `vol_scaled` divides by, [D, N] on the axes; else None.

    The standard deviation of a session's log return over the last sessions, as known at D:
    NaN where the history is too short for it.
    """
    if road.the_recipe.spec.label.kind != "vol_scaled":
        return None
    a_year = f"vol_c2c_{VOLATILITY_SESSIONS}"
    first, last = window_months(road, split)
    rows = road.features.read(first, last, columns=[*KEYS, a_year]).collect()
    of_axes = on_axes(rows_by_life(rows, panel), a_year, axes)
    return np.asarray(of_axes / math.sqrt(SESSIONS_PER_YEAR))


def target_transform(spec: LabelSpec, volatility_DN: Array | None = None) -> TargetTransform:
    """Return what training fits, made of the returns of one horizon and sector codes.

    Args:
        spec: the recipe's label.
        volatility_DN: of a session, as known at D; for `vol_scaled`.
    """

    def fitted(return_DN: Array, sector_DN: Codes) -> Array:
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
