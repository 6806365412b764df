"""What a month's model is trained on: windows of the cross-section, labels, and enough names."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from alpha_assets.arrays.keys import KEYS
from alpha_assets.arrays.ranks import MIN_PAIRS
from alpha_assets.arrays.types import Array, Dates, Index
from alpha_assets.calendar import as_date, month_of, month_range
from alpha_assets.dataset import Split, learnable_columns, training_axes
from alpha_assets.dataset.axes import Axes, graph_sessions
from alpha_assets.dataset.cells import TargetTransform, on_axes
from alpha_assets.dataset.resident import Part, Resident, SharedMarket
from alpha_assets.errors import AlphaAssetsError, BadInput, TooFewNames
from alpha_assets.features.base import SESSIONS_PER_YEAR
from alpha_assets.features.correlation import LEAST_COMMON, LEAST_CORRELATION
from alpha_assets.labels import (
    VOLATILITY_SESSIONS,
    LabelSpec,
    forward_returns,
    transform,
)
from alpha_assets.panel.lives import by_life, rows_by_life
from alpha_assets.pipeline.columns import column_families
from alpha_assets.pipeline.context import RecipeContext, silent
from alpha_assets.pipeline.neighbours import stored_edges
from alpha_assets.pipeline.raw import stored_listings
from alpha_assets.pipeline.stage import neighbours
from alpha_assets.pipeline.transforms import sessions_back, tradable_rows
from alpha_assets.pipeline.windows import first_usable, last_exit, split_of, window_months
from alpha_assets.training import TrainingSpec

if TYPE_CHECKING:
    from alpha_assets.dataset.neighbours import Neighbours
    from alpha_assets.dataset.tensor import Dataset


def training_data(context: RecipeContext, split: Split) -> "Dataset":
    """Return the tensors that a month's model is trained on: a view on the resident market.

    The same bits as if the month's window were the only one that was ever read.
    """
    import torch

    from alpha_assets.dataset.tensor import Dataset
    from alpha_assets.training.memory import within_memory

    recipe, calendar = context.recipe, context.market.calendar
    resident = resident_window(context, split)
    refuse_few_names(context, resident.names_on(window_sessions(context, split)), split)
    columns = learnable_columns(
        resident.informs(),
        split.learned,
        resident.features,
        resident.market_features,
        recipe.spec.window.min_span,
    )
    axes = training_axes(
        resident.symbols_on(split.decisions),
        resident.sectors_on(split.decisions),
        calendar,
        split,
        steps=recipe.spec.window.sequence,
        features=columns.features,
        market_features=columns.market_features,
        horizons=recipe.spec.label.horizons,
        families=column_families(recipe.features),
    )
    labels = labels_between(
        context,
        as_date(split.train[0]),
        as_date(split.last),
        known_by=as_date(split.first_session),
    )
    transform = target_transform(
        recipe.spec.label, label_volatility(context, split, axes, resident.later_lives)
    )
    with within_memory(
        f"the cross-sections of {split.month}",
        torch.device(context.on_device),
        partial(_fewer_cells, axes, recipe.spec.training, context.on_device),
    ):
        data = Dataset.of_cells(
            resident.view(axes),
            axes,
            labels=rows_by_life(labels, resident.later_lives),
            transform=transform,
            device=context.on_device,
            dtype=recipe.spec.training.resident_dtype,
        )
    return replace(data, graph=training_graph(context, split, axes))


def _fewer_cells(axes: Axes, training: TrainingSpec, device: str) -> str:
    """Return what to lower where the cells of a month's window do not fit, and by how much."""
    from alpha_assets.training.memory import in_words

    n_sessions, n_symbols, n_columns = len(axes.sessions), len(axes.symbols), len(axes.features)
    n_bytes = n_sessions * n_symbols * n_columns * training.resident_dtype.itemsize
    half = (
        'training.resident = "float16" takes half of it, else '
        if device.startswith("cuda") and training.resident == "float32"
        else ""
    )
    return (
        f"{n_sessions:,} sessions x {n_symbols:,} symbols x {n_columns} columns take "
        f"{in_words(n_bytes)}: {half}lower split.lookback_sessions, read fewer [features], or "
        "choose a universe of fewer symbols"
    )


def window_sessions(context: RecipeContext, split: Split) -> Dates:
    """Return the sessions whose rows a month's model reads."""
    calendar, window = context.market.calendar, context.recipe.spec.window
    start = sessions_back(calendar, split.train[0], window.sessions_before)
    return calendar.between(start, split.last)


def resident_window(context: RecipeContext, split: Split) -> Resident:
    """Return the resident market with the rows of a month's window: months that lack are read.

    Raises:
        MissingOutput: a month of the window was never made.
        BadInput: the window takes more memory than `context.memory`.
    """
    return _resident_months(context, *window_months(context, split), split.month)


def shared_market(context: RecipeContext, splits: Sequence[Split]) -> SharedMarket | None:
    """Return the resident market with the rows of all windows, for other processes of this host.

    None where there is nothing to share: no window, or more than `context.memory`; or where a
    window cannot be read, which is refused by name where it is trained on.
    """
    spans = [window_months(context, split) for split in splits if split.is_ready]
    if not spans:
        return None
    first, last = min(span[0] for span in spans), max(span[1] for span in spans)
    try:
        for months in neighbours(month_range(first, last)):  # so that few rows are held twice
            _resident_months(context, first, months[-1], "all")
        return context.resident.shared()
    except AlphaAssetsError as error:
        context.progress("checkpoint", f"each worker reads cross-sections for itself: {error}")
        return None


def _resident_months(context: RecipeContext, first: str, last: str, what: str) -> Resident:
    """Return the resident market with the rows of a span of months, read for `what`."""
    resident = context.resident
    section, panel = context.section, context.panel
    section.read(first, last)  # refuses gaps, and months that differ in their columns
    of_section, of_panel = section.hashes(first, last), panel.hashes(first, last)
    # A window may begin before anything is stored: such months have no rows.
    contents = {
        month: f"{of_section.get(month)} {of_panel.get(month)}"
        for month in month_range(first, last)
    }
    lacking = resident.lacking(contents)
    if not lacking:
        return resident
    columns = [*KEYS, "sector", *resident.features, *resident.market_features]
    rows = section.read(lacking[0], lacking[-1], columns).collect()
    seen = panel.read(lacking[0], lacking[-1], [*KEYS, "stale", "life"]).collect()
    parts = [_part(context, month, contents[month], rows, seen) for month in lacking]
    dropped = resident.add(parts, keep_from=first)
    if dropped is not None:
        context.progress(
            "checkpoint",
            f"{what}: cross-sections up to {dropped} are held no more: with them "
            f"the array would take more than memory = {resident.memory:,} bytes; it takes "
            f"{resident.n_bytes:,}",
        )
    return resident


def _part(
    context: RecipeContext, month: str, content: str, rows: pl.DataFrame, panel: pl.DataFrame
) -> Part:
    """Return the rows of one month of a cross-section and of the panel, by life."""
    sessions = context.market.calendar.month_sessions(month)
    within = pl.col("session").is_between(as_date(sessions[0]), as_date(sessions[-1]))
    rows, panel = rows.filter(within), panel.filter(within)
    return Part(
        month=month,
        content=content,
        sessions=sessions,
        section=rows_by_life(rows, panel),
        tradable=tradable_rows(by_life(panel)),
        later_lives=panel.filter(pl.col("life") > 0).select(*KEYS, "life"),
    )


def training_graph(context: RecipeContext, split: Split, axes: Axes) -> "Neighbours | None":
    """Return the graphs in force at a month's training and validation sessions.

    None where the recipe asks for no graph.

    Raises:
        BadInput: none of the training sessions has a graph with an edge.
    """
    from alpha_assets.dataset.neighbours import Neighbours

    spec, calendar = context.recipe.spec, context.market.calendar
    edges = stored_edges(context, split.decisions)
    if spec.inputs.graph is None or edges is None:
        return None
    made_D = graph_sessions(calendar, axes.sessions)
    n_neighbours, device = spec.inputs.graph.neighbours, context.on_device
    graph = Neighbours.of(edges, made_D, axes.symbols, n_neighbours, device)
    is_train_D = np.isin(axes.sessions, split.learned)
    if not (graph.graph_D.cpu().numpy()[is_train_D] >= 0).any():
        raise BadInput(
            f"[inputs.graph]: universe {spec.universe.name!r} has no edge at any of the training "
            f"sessions {split.train[0]} to {split.train[-1]} of {split.month}: an edge wants a "
            f"correlation of {LEAST_CORRELATION} or more over {LEAST_COMMON} sessions of both; "
            "choose a universe of more names, decide later months, or take [inputs.graph] out"
        )
    return graph


def labels_between(
    context: RecipeContext, first: date, last: date, known_by: date | None
) -> pl.DataFrame:
    """Return the forward returns of decisions from `first` to `last`.

    Args:
        context: whose recipe has the horizons.
        first: first decision session.
        last: last decision session.
        known_by: only bars effective by this session exist; None: all that are stored.
    """
    spec, calendar = context.recipe.spec.label, context.market.calendar
    end = last_exit(context, last)
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


def has_model(context: RecipeContext, split: Split) -> bool:
    """Return whether a month has the history and the names to train on.

    Asked of the rows themselves, not of the month's checkpoint, which may not have been made.
    """
    if not split.is_ready:
        return False
    if context.recipe.parent is not None:
        there = context.of_parent()
        if not has_model(there, split_of(there, split.month, first_usable(there))):
            return False
    first, last = window_months(context, split)
    stored = context.members.months(first, last)
    within = pl.col("session").is_between(as_date(split.train[0]), as_date(split.last))
    columns = ["session", "symbol"]
    section = context.members.scan(stored, columns).filter(within).collect()
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
    refuse_few_names(context, section.group_by("session").agg(names=pl.len()), split)


def refuse_few_names(context: RecipeContext, counts: pl.DataFrame, split: Split) -> None:
    """Refuse to train on too few names; see `check_names`.

    Args:
        context: with a recipe.
        counts: `session` and `names`, a row for each session with a name.
        split: the month's.
    """
    universe = context.recipe.spec.universe.name
    least = context.market.spec.universes[universe].min_names
    for words, sessions, needed, why in (
        ("training", split.train, least, f"min_names = {least} leave every feature at 0"),
        ("validation", split.valid, MIN_PAIRS, f"{MIN_PAIRS} have no rank IC to select epochs by"),
    ):
        if not len(sessions):
            continue  # a split without validation
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
    context: RecipeContext, split: Split, axes: Axes, lives: pl.DataFrame
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
    of_axes = on_axes(rows_by_life(rows, lives), a_year, axes)
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
