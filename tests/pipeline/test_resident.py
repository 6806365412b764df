"""Months share the resident market, and each has the bits of the month alone."""

import os
import pickle
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from tests.conftest import PIPELINES, linked

from alpha_assets import project
from alpha_assets.calendar import as_date
from alpha_assets.dataset import (
    Axes,
    Split,
    informative,
    learnable_columns,
    sector_list,
    symbol_axis,
    training_axes,
)
from alpha_assets.dataset.cells import Cells
from alpha_assets.dataset.neighbours import Neighbours
from alpha_assets.dataset.resident import Resident
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.errors import BadInput
from alpha_assets.panel.lives import by_life, rows_by_life
from alpha_assets.pipeline import train
from alpha_assets.pipeline.columns import column_families, market_columns, section_columns
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.market_stages import graph_stage
from alpha_assets.pipeline.memory import memory_named
from alpha_assets.pipeline.transforms import sessions_back, tradable_rows
from alpha_assets.pipeline.windows import first_usable, split_of, window_months
from alpha_assets.store.scratch import SharedFile
from alpha_assets.training.month import train_month

SHORT = ("split.lookback_sessions=20", "split.valid_sessions=10")
MONTHS = ("2021-05", "2021-06", "2021-07", "2021-08")
ASKED = {
    "tiny": ("tiny", *SHORT),
    "graph": ("tiny_graph", *SHORT),
    "scaled returns, all features": ("tiny_feeds", *SHORT),
    "ridge": ("tiny_ridge", *SHORT),
    "folds": ("tiny", *SHORT, "split.folds=3"),
    "no validation": ("tiny", "split.lookback_sessions=20", "split.valid_sessions=0"),
    "expanding": ("tiny", *SHORT, "split.expanding=true"),
    "blocks, turnover": (
        "tiny",
        *SHORT,
        "training.sampler=blocks",
        'loss=[{kind="ic"},{kind="turnover",weight=0.1}]',
    ),
    "quantiles": (
        "tiny",
        *SHORT,
        "model={kind='linear',quantiles=[0.1,0.5,0.9]}",
        'loss=[{kind="pinball"}]',
    ),
    "parent": ("tiny_graph", *SHORT, "training.parent=tiny_graph"),
    "columns that span enough": ("tiny_feeds", *SHORT, "window.min_span=0.9"),
    "excess of the sector": ("tiny", *SHORT, "label.kind=sector"),
}


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory, tiny_market: Path) -> Iterator[str]:
    """The market `tiny` with its graph."""
    folder = linked(tiny_market, tmp_path_factory.mktemp("resident"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(PIPELINES))
        context = project.open_context("tiny_graph", storage=str(folder))
        graph_stage(context.market, "traded").ensure(context, context.panel.months())
        yield str(folder)


def opened(storage: str, recipe: str, *overrides: str) -> RecipeContext:
    return project.open_context(recipe, storage=storage, overrides=overrides)


def alone(context: RecipeContext, split: Split) -> Dataset:
    """The month's tensors from the rows of its own window, with nothing held before."""
    recipe, calendar = context.recipe, context.market.calendar
    months = window_months(context, split)
    start = sessions_back(calendar, split.train[0], recipe.spec.window.sessions_before)
    within = pl.col("session").is_between(start, as_date(split.last))
    panel = context.panel.read(*months).filter(within).collect()
    section = rows_by_life(context.section.read(*months).filter(within).collect(), panel)
    offered = section_columns(recipe.features), market_columns(recipe.features)
    columns = learnable_columns(
        informative(section, *offered), split.learned, *offered, recipe.spec.window.min_span
    )
    axes = training_axes(
        symbol_axis(section, split.decisions),
        sector_list(section, split.decisions),
        calendar,
        split,
        steps=recipe.spec.window.sequence,
        features=columns.features,
        market_features=columns.market_features,
        horizons=recipe.spec.label.horizons,
        families=column_families(recipe.features),
    )
    known_by = as_date(split.first_session)
    labels = train.labels_between(
        context, as_date(split.train[0]), as_date(split.last), known_by=known_by
    )
    volatility = train.label_volatility(context, split, axes, panel)
    data = Dataset.build(
        section,
        axes,
        tradable=tradable_rows(by_life(panel)),
        labels=rows_by_life(labels, panel),
        transform=train.target_transform(recipe.spec.label, volatility),
    )
    return replace(data, graph=train.training_graph(context, split, axes))


def differences(one: Dataset, two: Dataset) -> list[str]:
    """The fields in which two datasets differ: in a bit, a type, or the layout in memory."""
    found = []
    for item in fields(Axes):
        left, right = getattr(one.axes, item.name), getattr(two.axes, item.name)
        if not (np.array_equal(left, right) if item.name == "sessions" else left == right):
            found.append(item.name)
    for item in fields(Dataset):
        left, right = getattr(one, item.name), getattr(two, item.name)
        if isinstance(left, torch.Tensor):
            alike = left.dtype == right.dtype and left.shape == right.shape
            if not alike or left.stride() != right.stride() or bytes_of(left) != bytes_of(right):
                found.append(item.name)
        elif isinstance(left, np.ndarray):
            found += [item.name] * (left.tobytes() != right.tobytes())
        elif isinstance(left, Neighbours):
            pairs = [(getattr(g, f.name) for g in (left, right)) for f in fields(Neighbours)]
            found += [item.name] * (not all(torch.equal(*pair) for pair in pairs))
    return found


def bytes_of(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()


def splits(context: RecipeContext) -> list[Split]:
    usable = first_usable(context)
    found = [split_of(context, month, usable) for month in MONTHS]
    return [split for split in found if split.is_ready]


@pytest.mark.parametrize("asked", ASKED)
def test_a_month_among_others_has_the_bits_of_the_month_alone(storage: str, asked: str) -> None:
    context = opened(storage, *ASKED[asked])
    symbols, columns = set(), set()
    for split in splits(context):
        shared, own = train.training_data(context, split), alone(context, split)
        assert differences(shared, own) == []
        symbols.add(shared.axes.symbols)
        columns.add((shared.axes.features, shared.axes.market_features))
    assert len(symbols) > 1, "months with different symbols show whose they are"
    if context.recipe.spec.window.min_span:
        assert len(columns) > 1, "months with different columns show whose they are"
    assert len(context.resident.months) > len(set(window_months(context, splits(context)[0])))


def test_weights_and_scores_of_training_are_those_of_the_month_alone(storage: str) -> None:
    for recipe in ("tiny", "tiny_ridge"):
        context = opened(storage, recipe, *SHORT)
        for split in splits(context)[-2:]:
            shared, own = (
                train_month(data, split, context.recipe.learner).seeds[0]
                for data in (train.training_data(context, split), alone(context, split))
            )
            assert shared.epochs[-1].loss == own.epochs[-1].loss
            assert shared.weights.keys() == own.weights.keys()
            for name, weight in shared.weights.items():
                assert torch.equal(weight, own.weights[name]), name


def of_the_span(resident: Resident, sessions: object) -> tuple[str, ...]:
    """The symbols of every session that is held: what a view must not take."""
    return tuple(sorted(resident.symbols))


def scaled_by_the_span(resident: Resident, axes: Axes) -> Cells:
    """Features over the deviation of every session that is held: what a view must not do."""
    cells = honest_view(resident, axes)
    deviation_F = resident._x_DNF.std(axis=(0, 1))
    places = [resident.features.index(name) for name in axes.features]
    return replace(cells, x_DNF=(cells.x_DNF / deviation_F[places]).astype(np.float32))


honest_view = Resident.view


@pytest.mark.parametrize(
    ("name", "planted", "where"),
    [
        pytest.param("symbols_on", of_the_span, "symbols", id="symbols of the span"),
        pytest.param("view", scaled_by_the_span, "x_DNF", id="scaling of the span"),
    ],
)
def test_a_view_that_looks_at_the_span_is_seen(
    storage: str, monkeypatch: pytest.MonkeyPatch, name: str, planted: object, where: str
) -> None:
    context = opened(storage, *ASKED["tiny"])
    months = splits(context)
    for split in months:
        train.training_data(context, split)
    monkeypatch.setattr(Resident, name, planted)
    first = months[0]
    assert where in differences(train.training_data(context, first), alone(context, first))


def test_each_month_of_a_cross_section_is_read_once(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = opened(storage, *ASKED["tiny"])
    placed: list[str] = []
    add = Resident.add

    def counted(resident: Resident, parts: list[train.Part], keep_from: str) -> str | None:
        placed.extend(part.month for part in parts)
        return add(resident, parts, keep_from)

    monkeypatch.setattr(Resident, "add", counted)
    months = splits(context)
    for split in (*months, months[-1]):
        train.training_data(context, split)
    assert placed == sorted(set(placed))
    assert placed[0] == window_months(context, months[0])[0]
    assert placed[-1] == window_months(context, months[-1])[1]


def test_nothing_of_the_array_lies_in_the_storage_under_a_name(storage: str) -> None:
    before = sorted(Path(storage).rglob("*"))
    context = opened(storage, *ASKED["tiny"])
    train.training_data(context, splits(context)[0])
    assert context.resident.n_bytes > 0
    assert sorted(Path(storage).rglob("*")) == before


def test_memory_bounds_the_months_that_are_held_and_changes_no_bit(storage: str) -> None:
    heard: list[str] = []
    wide = opened(storage, *ASKED["tiny"])
    months = splits(wide)
    train.training_data(wide, months[0])
    context = replace(
        wide,
        memory=63 * 40 * 18 * 4,  # three months of all symbols and columns
        progress=lambda stage, what: heard.append(what),
    )
    for split in months:
        assert differences(train.training_data(context, split), alone(context, split)) == []
        assert context.resident.n_bytes <= context.memory
    assert any("are held no more" in what for what in heard)
    assert (
        len(context.resident.months)
        < len({m for split in months for m in window_months(context, split)}) + 2
    )
    small = replace(wide, memory=10_000)
    with pytest.raises(
        BadInput, match=r"take .* bytes .* more than memory = 10,000: raise ALPHA_M"
    ):
        train.training_data(small, months[0])


@pytest.mark.parametrize(
    ("words", "n_bytes"),
    [("1000", 1000), ("8GB", 8 * 10**9), ("1.5 mb", 1_500_000), ("2TB", 2 * 10**12)],
)
def test_memory_is_a_size(words: str, n_bytes: int) -> None:
    assert memory_named(words) == n_bytes


@pytest.mark.parametrize("words", ["much", "-1GB", "0", "8 GiB", "GB"])
def test_memory_that_is_no_size_is_refused(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.setenv("ALPHA_MEMORY", words)
    with pytest.raises(BadInput, match=f"ALPHA_MEMORY = '{words}' is no size; want bytes, or"):
        memory_named()
    monkeypatch.delenv("ALPHA_MEMORY")
    assert memory_named() > 0


def test_a_market_that_another_process_holds_is_taken_over_without_a_copy(storage: str) -> None:
    context = opened(storage, "tiny", *SHORT)
    months = splits(context)
    market = train.shared_market(context, months)
    assert market is not None
    assert isinstance(market.space, SharedFile)
    assert market.space.path.stat().st_nlink == 0, "no other file is made"
    packed = pickle.dumps(market)
    assert len(packed) < context.resident.n_bytes

    other = replace(opened(storage, "tiny", *SHORT), shared=pickle.loads(packed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "_part", None)  # it would be called to read a month
        for split in months:
            data, own = (train.training_data(one, split) for one in (other, context))
            assert differences(data, own) == []
    assert other.resident.n_bytes == context.resident.n_bytes

    place = np.unravel_index(0, other.resident._x_DNF.shape)
    before = context.resident._x_DNF[place]
    other.resident._x_DNF[place] = before + 1
    assert context.resident._x_DNF[place] == before, "what one writes the other never sees"


def test_a_market_that_is_held_no_more_is_read_anew(storage: str) -> None:
    context = opened(storage, "tiny", *SHORT)
    market = train.shared_market(context, splits(context))
    assert market is not None
    assert isinstance(market.space, SharedFile)
    gone = replace(market, space=replace(market.space, path=Path("/proc/self/fd/9999")))
    another = replace(market, space=replace(market.space, inode=(0, 0)))
    elsewhere = replace(market.space.owner, host="elsewhere")
    of_another = replace(market, space=replace(market.space, owner=elsewhere))
    for other, why in (
        (gone, "/proc/self/fd/9999: "),
        (another, "is another file by now"),
        (of_another, f"process {os.getpid()} on elsewhere, gone or of another host"),
    ):
        lines: list[str] = []
        reader = replace(
            opened(storage, "tiny", *SHORT),
            shared=other,
            progress=lambda stage, what, lines=lines: lines.append(what),
        )
        split = splits(context)[0]
        data, own = (train.training_data(one, split) for one in (reader, context))
        assert differences(data, own) == []
        (line,) = [line for line in lines if line.startswith("cross-sections are read anew: ")]
        assert why in line


def test_a_market_that_memory_does_not_hold_is_shared_with_none(storage: str) -> None:
    whole = opened(storage, "tiny", *SHORT)
    months = splits(whole)
    assert train.shared_market(whole, months) is not None
    lines: list[str] = []
    small = replace(
        opened(storage, "tiny", *SHORT),
        memory=whole.resident.n_bytes - 1,
        progress=lambda stage, what: lines.append(what),
    )
    assert train.shared_market(small, months) is None
    assert lines[0].startswith("each worker reads cross-sections for itself: the cross-sections of")
    train.training_data(small, months[0])
    assert train.shared_market(whole, []) is None
