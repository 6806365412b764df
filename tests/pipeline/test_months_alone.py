"""A month made alone, in any order, from no more than it reads, has the bits of the whole span.

The market has every feed, and enough history that the longest look-back of the months tried
starts within it: a look-back that is too short by one session shows.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from alpha_assets.calendar import as_date, month_of, month_range
from alpha_assets.config.market import load_market
from alpha_assets.pipeline import market_stages, stages, transforms
from alpha_assets.pipeline.context import MarketContext, RecipeContext
from alpha_assets.pipeline.runner import ingest_all
from alpha_assets.store.store import Store
from alpha_assets.store.table import MonthTable

PIPELINES = Path(__file__).parents[1] / "pipelines"
MARKET = (
    "sim.n_symbols=20",
    "sim.corrected_share=0.02",
    "sim.first=2020-01-06",
    "sim.last=2021-07-30",
    'universes.scaled={min_history = 20, min_price = 100, scale = "history"}',
)
MONTHS = month_range("2020-01", "2021-07")
UNIVERSE, SCALED = "traded", "scaled"
# They start on a Tuesday and on a Thursday: within a week, whose graph is older than they are.
TRIED = ("2021-06", "2021-07")
# Of features, what a z-score in time looks back to; of what nothing looks back to, a few months.
SINCE = {
    "panel": "2020-01",
    "features": "2020-04",
    "cross_section": "2021-04",
    "by_history": "2021-05",
    "graph": "2021-04",
}

Table = Callable[[RecipeContext], MonthTable]
Make = Callable[[RecipeContext, list[str]], object]


def made(stage: str) -> Make:
    """Return what makes months of a stage."""
    return lambda context, months: stages.make(context, stage, months)


STAGES: dict[str, tuple[Table, Make]] = {
    "panel": (lambda context: context.panel, made("panel")),
    "features": (lambda context: context.features, made("features")),
    "cross_section": (
        lambda context: context.cross_section(UNIVERSE),
        made(f"cross_section/{UNIVERSE}"),
    ),
    "by_history": (
        lambda context: context.cross_section(SCALED),
        made(f"cross_section/{SCALED}"),
    ),
    "graph": (
        lambda context: market_stages.graph_table(context, UNIVERSE),
        lambda context, months: market_stages.graph_stage(context.market, UNIVERSE).ensure(
            context, months
        ),
    ),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> RecipeContext:
    """The months of every stage, made in one go."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(PIPELINES))
        market = load_market("tiny", overrides=MARKET)
    context = MarketContext(market, Store(str(tmp_path_factory.mktemp("whole"))))
    ingest_all(context)
    for stage, (_, make) in STAGES.items():
        make(context, [month for month in MONTHS if month >= SINCE[stage]])
    return context


def first_months(context: RecipeContext, stage: str, month: str) -> dict[str, str]:
    """Return from which month on a stage reads each of the tables below it."""
    first, _ = transforms.span_of(context.market.calendar.month_sessions(month))
    rules, scaled = (context.market.universe(name) for name in (UNIVERSE, SCALED))
    past = transforms.scale_start(context.market, scaled, first)
    starts = {
        "features": {"panel": transforms.panel_start(context.market, first)},
        "cross_section": {
            "panel": transforms.universe_start(context.market, rules, first),
            "features": transforms.series_start(context.market, first),
        },
        "by_history": {
            "panel": transforms.universe_start(context.market, scaled, past),
            "features": min(past, transforms.series_start(context.market, first)),
        },
        "graph": {"panel": market_stages.graph_start(context.market, rules, first)},
    }
    return {below: month_of(start) for below, start in starts.get(stage, {}).items()}


def with_only(built: RecipeContext, folder: Path, stage: str, month: str) -> RecipeContext:
    """Return a context over a store that holds what a stage's month reads and nothing else."""
    context = replace(built, store=Store(str(folder)))
    for feed, table in built.raw.items():
        # Every stage asks the bars how far they reach.
        if stage == "panel" or feed == "daily_bars":
            for known in [m for m in table.months() if m <= month]:
                copy(table.table, context.raw[feed].table, known)
    for below, first in first_months(built, stage, month).items():
        for known in month_range(first, month):
            copy(STAGES[below][0](built), STAGES[below][0](context), known)
    return context


def copy(source: MonthTable, target: MonthTable, month: str) -> None:
    shutil.copytree(source.folder(month).address, target.folder(month).address)


def made_alone(built: RecipeContext, folder: Path, stage: str, month: str) -> str:
    """Return the content hash of a month made where nothing else is."""
    context = with_only(built, folder, stage, month)
    table, make = STAGES[stage]
    assert table(context).months() == ()
    make(context, [month])
    return table(context).hashes()[month]


def hash_of(built: RecipeContext, stage: str, month: str) -> str:
    return STAGES[stage][0](built).hashes()[month]


def test_the_longest_look_backs_of_the_months_tried_start_within_the_data(
    built: RecipeContext,
) -> None:
    sessions = built.panel.read().select(pl.col("session").min()).collect().item()
    for month in TRIED:
        first, _ = transforms.span_of(built.market.calendar.month_sessions(month))
        assert transforms.panel_start(built.market, first) > sessions
        assert transforms.series_start(built.market, first) > sessions
        past = transforms.scale_start(built.market, built.market.universe(SCALED), first)
        assert sessions < past < transforms.sessions_back(built.market.calendar, first, 200)
    assert all(table.months() for table in built.raw.values())


@pytest.mark.parametrize("month", TRIED)
@pytest.mark.parametrize("stage", STAGES)
def test_a_month_made_alone_has_the_bits_of_the_whole_span(
    built: RecipeContext, tmp_path: Path, stage: str, month: str
) -> None:
    assert made_alone(built, tmp_path, stage, month) == hash_of(built, stage, month)


def test_the_order_in_which_months_are_made_says_nothing(
    built: RecipeContext, tmp_path: Path
) -> None:
    order = ["2021-06", "2021-07", "2021-05"]
    context = replace(built, store=Store(str(tmp_path)))
    for feed, raw in built.raw.items():
        for month in raw.months():
            copy(raw.table, context.raw[feed].table, month)
    for stage, (table, make) in STAGES.items():
        if stage in ("panel", "features"):  # the months before, which others look back to
            for month in [m for m in table(built).months() if m < min(order)]:
                copy(table(built), table(context), month)
        for month in order:
            make(context, [month])
    for stage, (table, _) in STAGES.items():
        whole = table(built).hashes()
        assert {m: h for m, h in table(context).hashes().items() if m in order} == {
            month: whole[month] for month in order
        }, stage


@pytest.mark.parametrize("offered", [("ret_1",), ("ret_1", "ss_ratio_z_60"), ("mom_12_1",)])
def test_a_stage_declares_the_look_back_that_it_reads(
    monkeypatch: pytest.MonkeyPatch, offered: tuple[str, ...]
) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))
    market = load_market("tiny", overrides=MARKET)
    few = tuple(feature for feature in market.catalog if feature.name in offered)
    assert len(few) == len(offered)
    monkeypatch.setattr(transforms, "offered_features", lambda market: few)
    rules, first = market.universe(UNIVERSE), transforms.span_of(market.calendar.sessions[-1:])[0]

    panel, (series, members), by_history, graph = (
        [(read.of.name if read.of else "", read.sessions_back) for read in stage.reads]
        for stage in (
            market_stages.features_stage(market),
            market_stages.cross_section_stage(market, UNIVERSE),
            market_stages.cross_section_stage(market, SCALED),
            market_stages.graph_stage(market, UNIVERSE),
        )
    )
    scaled = market.universe(SCALED)
    past = transforms.scale_start(market, scaled, first)

    starts = {
        "features": (panel, [("panel", transforms.panel_start(market, first))]),
        "cross_section": (
            [series, members],
            [
                ("features", transforms.series_start(market, first)),
                ("panel", transforms.universe_start(market, rules, first)),
            ],
        ),
        "by_history": (
            by_history,
            [("features", past), ("panel", transforms.universe_start(market, scaled, past))],
        ),
        "graph": (graph, [("panel", market_stages.graph_start(market, rules, first))]),
    }
    for stage, (declared, read) in starts.items():
        assert [
            (name, transforms.sessions_back(market.calendar, first, n)) for name, n in declared
        ] == read, stage


def test_market_wide_series_from_raw_rows_are_those_of_the_stored_features(
    built: RecipeContext,
) -> None:
    # What `predict --asof` makes without the features of the year before.
    market, last = built.market, built.market.calendar.month_sessions("2021-07")[4]
    first = transforms.sessions_back(market.calendar, last, 99)
    instant = built.market.calendar.decided_at(last)
    known = {feed: table.read(until=instant) for feed, table in built.raw.items()}
    features = built.features.read(month_of(first), month_of(last)).collect()
    stored = transforms.series_of(market, features, first, as_date(last))

    found = transforms.series_rows(market, known, first, as_date(last))

    assert found.columns == stored.columns
    assert [name for name in found.columns if not found[name].equals(stored[name])] == []
    regimes = [name for name in stored.columns if name.startswith("regime_")]
    assert len(regimes) == 5
    assert stored.select(pl.col(regimes).null_count()).row(0) == (0,) * 5
    turned = [name for name in regimes if stored[name].n_unique() == 2]
    assert {"regime_low_vol", "regime_high_vol", "regime_reversal"} <= {*turned}


def late_by(n: int, start: Callable[..., Any]) -> Callable[..., Any]:
    """Return the start of a look-back that is n sessions too short."""

    def late(market: Any, *rest: Any) -> Any:
        return as_date(market.calendar.after(start(market, *rest), n))

    return late


def one_row_short(name: str) -> Callable[[Any], Any]:
    """Return what the market offers, with one feature that reads a row less than it should."""

    def offered(market: Any) -> Any:
        return tuple(
            replace(item, rows=item.rows - 1) if item.name == name else item
            for item in clean_offer(market)
        )

    return offered


clean_offer = transforms.offered_features
# A look-back counts closes that a halt of 20 sessions carries, weeks that are short, values that
# are missing: here no month starts on such a day, so that it shows when a year of rows is short
# of one, when a fifth of a window is gone, when the graph of the month's first week lacks returns.
FAULTS: dict[str, tuple[str, Any, str, Any]] = {
    "the panel behind features": (
        "features", market_stages, "panel_start", late_by(74, transforms.panel_start)
    ),
    "a feature of a symbol": (
        "features", transforms, "offered_features", one_row_short("vol_park_20")
    ),
    "a feature of a sector": (
        "features", transforms, "offered_features", one_row_short("sector_short_z_60")
    ),
    "the panel behind a universe": (
        "cross_section", market_stages, "universe_start", late_by(3, transforms.universe_start)
    ),
    "the series behind a z in time": (
        "cross_section", market_stages, "series_start", late_by(1, transforms.series_start)
    ),
    "the rows behind a scale by history": (
        "by_history", market_stages, "scale_start", late_by(1, transforms.scale_start)
    ),
    "the panel behind a graph": (
        "graph", market_stages, "graph_start", late_by(26, market_stages.graph_start)
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_look_back_that_is_too_short_shows(
    built: RecipeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    stage, module, name, wrong = FAULTS[fault]
    monkeypatch.setattr(module, name, wrong)
    found = {month: made_alone(built, tmp_path / month, stage, month) for month in TRIED}
    assert found != {month: hash_of(built, stage, month) for month in TRIED}
