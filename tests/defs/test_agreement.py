"""What stops in Dagster stops `run` as well, and nothing else: on every shipped market and recipe.

The stages of the market are the real ones, on few symbols; training and what follows it are
planted, so that the questions asked between them are all that decides.
"""

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest
from tests.planting import around, rewrite_features

from alpha_assets.calendar import as_date
from alpha_assets.config.folders import names
from alpha_assets.config.market import Market, SimSourceSpec, load_market
from alpha_assets.config.recipe import Recipe, load_recipe, markets_of
from alpha_assets.defs.checks import market_checks, recipe_checks
from alpha_assets.defs.market import market_assets
from alpha_assets.defs.recipe import recipe_assets
from alpha_assets.defs.resources import Storage
from alpha_assets.errors import CheckFailed
from alpha_assets.features import CATALOG
from alpha_assets.pipeline import runner as walking
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.freshness import manifest_of
from alpha_assets.pipeline.frontier import months_of_data
from alpha_assets.pipeline.identity import Identity
from alpha_assets.pipeline.stage import Made
from alpha_assets.sources.files.spec import FilesSourceSpec
from alpha_assets.sources.sim import SimSpec
from alpha_assets.store.store import Store

MONTH = "2021-03"
SMALL = SimSpec(seed=4, n_symbols=40, first=date(2020, 11, 2), last=date(2021, 3, 31))
SHIPPED = [(market, recipe) for recipe in names("recipes") for market in markets_of(recipe)]


def american(market: Market, folder: Path) -> None:
    """Bars of 24 symbols by a random walk, all of them members throughout; no price limits.

    Those that a universe of the market names are among them; half are of one sector.
    """
    sessions = market.calendar.between("2020-11-02", "2021-03-31")
    rng = np.random.default_rng(4)
    close_DN = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, (len(sessions), 24)), axis=0))
    named = {name for rules in market.spec.universes.values() for name in rules.symbols or ()}
    symbols = sorted([*named, *[f"S{n:02}" for n in range(24 - len(named))]])
    rows = pl.DataFrame(
        {
            "date": np.repeat(sessions, 24),
            "symbol": symbols * len(sessions),
            "open": close_DN.ravel() * 0.999,
            "high": close_DN.ravel() * 1.01,
            "low": close_DN.ravel() * 0.99,
            "close": close_DN.ravel(),
            "volume": rng.integers(1_000_000, 2_000_000, close_DN.size).astype(float),
        }
    )
    folder.mkdir()
    rows.write_parquet(folder / "daily_bars.parquet")
    members = {"symbol": symbols, "start": [as_date(sessions[0])] * 24}
    pl.DataFrame(members).with_columns(end=pl.lit(None, pl.Date)).write_parquet(
        folder / "membership.parquet"
    )
    sectors = ["Hardware", "Software"] * 12
    pl.DataFrame({"symbol": symbols, "sector": sectors}).write_parquet(folder / "listings.parquet")


def made_up(name: str, folder: Path) -> Market:
    """A shipped market as its file declares it, with rows that are made up."""
    market = load_market(name)
    if name == "us":
        american(market, folder / "data")
        source: Any = FilesSourceSpec(kind="files", path=str(folder / "data"))
    else:  # of the API's server, too, the rows are those of a simulated exchange
        source = SimSourceSpec()
    rig = market.sim if market.sim.rig is not None else None
    sim = (
        SMALL if rig is None else rig.model_copy(update={"first": SMALL.first, "last": SMALL.last})
    )
    spec = market.spec.model_copy(update={"source": source, "sim": sim, "first_month": "2020-11"})
    return Market(name, spec, str(folder / "storage"))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], RecipeContext]:
    """The context of a market up to its cross-sections, made once a market."""
    made: dict[str, RecipeContext] = {}

    def of(name: str) -> RecipeContext:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            market = made_up(name, folder)
            recipe = next(recipe for home, recipe in SHIPPED if home == name)
            context = RecipeContext(
                market, Store(str(folder / "storage")), recipe=load_recipe(recipe, market)
            )
            walking.ingest_all(context)
            walking.make_market_stages(context, months_of_data(context))
            made[name] = context
        return made[name]

    return of


@dataclass
class Planted:
    """What stands for training and deciding: which of the recipe's stages were reached."""

    context: RecipeContext
    scores: Callable[[int], list[float]]
    reached: list[str]

    def instead_of(self, stage: str) -> Callable[..., list[Made]]:
        make = {
            "checkpoint": self.checkpoints,
            "predictions": self.predictions,
            "targets": self.targets,
        }[stage]
        return lambda _, context, months: make(context, months)

    def checkpoints(self, context: RecipeContext, months: object, **_: object) -> list[Made]:
        self.reached.append("checkpoint")
        return []

    def predictions(self, context: RecipeContext, months: object, **_: object) -> list[Made]:
        self.reached.append("predictions")
        sessions = context.market.calendar.month_sessions(MONTH)
        symbols = [f"S{n:02}" for n in range(24)]
        rows = pl.DataFrame(
            {
                "session": np.repeat(sessions, 24),
                "symbol": symbols * len(sessions),
                "horizon": [5] * 24 * len(sessions),
                "score": self.scores(24) * len(sessions),
                "model_month": [MONTH] * 24 * len(sessions),
            },
            schema_overrides={"horizon": pl.Int16, "score": pl.Float32},
        )
        context.predictions.write(MONTH, rows, manifest_of(Identity("planted"), {}))
        return []

    def targets(self, context: RecipeContext, months: object, **_: object) -> list[Made]:
        self.reached.append("targets")
        return []


def by_run(planted: Planted) -> tuple[str, ...]:
    """The stages of the recipe that `run` reaches."""
    planted.reached.clear()
    with contextlib.suppress(CheckFailed):
        walking.run(planted.context, MONTH, MONTH)
    return tuple(dict.fromkeys(planted.reached))  # a task asks again for what it stands on


def by_dagster(planted: Planted) -> tuple[str, ...]:
    """The stages of the recipe that Dagster's job reaches."""
    planted.reached.clear()
    context = planted.context
    market, recipe = context.market, context.recipe
    universe = recipe.spec.universe.name
    wanted = ("panel", "features")
    definitions = dg.Definitions(
        assets=[*market_assets(market), *recipe_assets(recipe, market)],
        asset_checks=[*market_checks(market), *recipe_checks(recipe, market)],
        resources={"storage": Storage(url=context.store.url, device="cpu")},
        jobs=[
            dg.define_asset_job(
                "month",
                dg.AssetSelection.assets(
                    [market.name, "raw", "daily_bars"],
                    *[[market.name, stage] for stage in wanted],
                    [market.name, "cross_section", universe],
                    *[
                        [market.name, recipe.name, s]
                        for s in ("checkpoint", "predictions", "targets")
                    ],
                ),
            )
        ],
        executor=dg.in_process_executor,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        definitions.resolve_job_def("month").execute_in_process(
            instance=instance, partition_key=f"{MONTH}-01", raise_on_error=False
        )
    return tuple(dict.fromkeys(planted.reached))


FAMILY = next(feature.family for feature in CATALOG if feature.name == "ret_5")
WHOLE = ("checkpoint", "predictions", "targets")


def apart(count: int) -> list[float]:
    return [float(n) for n in range(count)]


def alike(count: int) -> list[float]:
    return [0.0] * count


def whole(context: RecipeContext) -> None:
    """Change nothing."""


def emptied(context: RecipeContext, month: str) -> None:
    """Take the values of a family that every shipped recipe reads out of a month."""
    names = [f.name for f in CATALOG if f.family == FAMILY]
    rewrite_features(
        context,
        month,
        lambda rows: rows.with_columns(
            pl.lit(None, pl.Float32).alias(name) for name in names if name in rows
        ),
        lambda family: rekept(context, month, family),
    )


def an_old_month(context: RecipeContext) -> None:
    """Empty a month that is not decided."""
    emptied(context, "2020-12")


def this_month(context: RecipeContext) -> None:
    """Empty the month that is decided."""
    emptied(context, MONTH)


def rekept(context: RecipeContext, month: str, family: str) -> Any:
    """The manifest of a family of a month, so that it counts as fresh and is not mended."""
    manifest = context.features.of(family).folder(month).manifest()
    assert manifest is not None
    return manifest_of(Identity(manifest.digest, manifest.code), manifest.inputs)


@pytest.mark.parametrize(
    ("market", "recipe", "fault", "scores", "reached"),
    [
        *[
            pytest.param(
                market,
                recipe,
                whole,
                apart,
                WHOLE,
                marks=() if recipe == "rolling_transformer" else pytest.mark.slow,
            )
            for market, recipe in SHIPPED
        ],
        ("us", "rolling_transformer", an_old_month, apart, WHOLE),
        ("us", "rolling_transformer", this_month, apart, ()),
        ("us", "rolling_transformer", whole, alike, WHOLE[:2]),
    ],
)
def test_run_and_dagster_stop_at_the_same_stage(
    stored: Callable[[str], RecipeContext],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    market: str,
    recipe: str,
    fault: Callable[[RecipeContext], None],
    scores: Callable[[int], list[float]],
    reached: tuple[str, ...],
) -> None:
    shutil.copytree(stored(market).store.url, tmp_path / "storage")
    mine = replace(stored(market).market, storage=str(tmp_path / "storage"))
    context = RecipeContext(
        mine,
        Store(str(tmp_path / "storage")),
        recipe=Recipe(recipe, stored_spec(recipe, mine), mine),
    )
    fault(context)
    planted = Planted(context, scores, [])
    for stage in ("checkpoint", "predictions", "targets"):
        around(monkeypatch, stage, planted.instead_of(stage))
    for stage in ("backtest", "coverage", "report"):
        around(monkeypatch, stage, lambda *_: [None])
    monkeypatch.setattr(walking, "months_to_decide", lambda *_: (MONTH,))
    assert by_run(planted) == reached
    assert by_dagster(planted) == reached


def stored_spec(recipe: str, market: Market) -> Any:
    return load_recipe(recipe, market).spec
