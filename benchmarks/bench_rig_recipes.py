"""What each shipped recipe, at its small size, holds of the component that its kind is for.

A cell is the recipe's own file at `--size small`, with a window of twelve sessions and the columns,
the label and the universe of the rig, trained once on one draw: 480 sessions, 42 for validation,
the correlation of its scores with each component on the sessions after them.  Seed k draws both
the market and the weights.  Off: the same with the component out of the returns, or with the
part of the model that reads it out of the model, as the table of cells says.  CPU seconds are
those of the training.

    python -W ignore benchmarks/bench_rig_recipes.py [RECIPE ...] [--seeds 7 8 9] [--no-off]
        [--set section.key=value ...]
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from time import process_time

import numpy as np
import torch
from bench_components import FIRST, PURGED, STEPS, TESTED_FROM, TRAINED, VALID, normal, rig, unit
from bench_cross_section import estimated_graph, true_graph, with_peers
from scipy.stats import rankdata

from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import Recipe, load_recipe
from alpha_assets.dataset import Fold
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.dataset.vectors import Vectors
from alpha_assets.errors import DegenerateModel
from alpha_assets.sources.sim.market import generate
from alpha_assets.sources.sim.rig import COMPONENTS
from alpha_assets.training.estimator import Aids
from alpha_assets.training.fit import score_places
from alpha_assets.training.network import Network
from alpha_assets.training.settings import Plan

HERE = (  # what makes any recipe one of the rig
    "size=small",
    'markets=["rig", "sim"]',
    f"window.sequence={STEPS}",
    'features={families=["rig"]}',
    'universe={name="all"}',
    "label.horizons=[1]",
    "portfolio.horizon=1",
)
SESSIONS_A_YEAR = 245
BRANCHES = {"price": "linear", "statement": "absolute", "news": "interaction"}


@dataclass(frozen=True)
class Cell:
    """A recipe on the rig, and what it must hold there.

    Attributes:
        marks: least mean correlation with components.
        settings: of the recipe, where it names columns or horizons that the rig has not.
        graph: "true", "estimated" or none.
        market: against which the file is checked; a raw vector is of no feed of the rig.
        off: settings without the part of the model that reads the component; none: the component
            itself is switched off in the market, each one of `marks` in turn.
    """

    recipe: str
    marks: Mapping[str, float] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    graph: str = ""
    off: tuple[str, ...] = ()
    market: str = "rig"


SEQUENCE = {"lag_7": 0.15, "sum_10": 0.2}
NUISANCE = ('loss.4.column="x9"',)  # the series that is noise
ONE_HEAD = tuple(f"loss.{place}.horizon_weights=[1.0]" for place in (0, 1))
ONE_BRANCH = tuple(
    f"model.branches.{name}.columns={columns}"
    for name, columns in (("price", '["x0"]'), ("statement", '["x3"]'))
)
CELLS = (
    Cell("rolling_transformer", SEQUENCE),
    Cell("semis_tft", SEQUENCE, ONE_HEAD),
    Cell("apex_ranker", SEQUENCE),
    Cell("rolling_alstm", {"sum_10": 0.2}),
    Cell("lstm_rank", {"sum_10": 0.2}),
    Cell("atft_gat_fan", {"graph": 0.2}, NUISANCE, "true", ("model.graph=false", "inputs={}")),
    Cell("atft_gat_fan", {"graph": 0.1}, NUISANCE, "estimated", ("model.graph=false", "inputs={}")),
    Cell("master", {"regime": 0.2}, off=('model.gate="none"',)),
    *(
        Cell("liquid_branches", {component: 0.2}, ONE_BRANCH, "",
             (f"model.branches.{name}.absent=true", *(("inputs={}",) if name == "news" else ())),
             "sim")
        for name, component in BRANCHES.items()
    ),
)  # fmt: skip


def recipe_of(cell: Cell, settings: tuple[str, ...]) -> Recipe:
    """Return the recipe of a cell, with more settings on top."""
    market = load_market(cell.market)
    return load_recipe(cell.recipe, market, overrides=(*HERE, *cell.settings, *settings))


def data_of(cell: Cell, recipe: Recipe, seed: int, off: str) -> tuple[Dataset, np.ndarray]:
    """Return what the recipe of a cell reads of a draw of the rig, and its components."""
    data, g_CDN = rig(seed, off)
    if cell.graph == "estimated":
        data = with_peers(seed, data)
        data = replace(data, graph=estimated_graph(data))
    if cell.graph == "true":
        data = replace(data, graph=true_graph(seed, data))
    branches = getattr(recipe.spec.model, "branches", {})
    if "news" in branches and not branches["news"].absent:
        vector_RV = data.x_DNF[..., 1:3].reshape(-1, 2).half()
        row_DN = torch.arange(len(vector_RV)).view(data.valid_DN.shape)
        data = replace(data, vectors={branches["news"].vectors: Vectors(vector_RV, row_DN)})
    return data, g_CDN


def trained(recipe: Recipe, data: Dataset, seed: int) -> tuple[np.ndarray, dict[str, float]]:
    """Train by the recipe's own sections; return scores after training, [D, N], and its cost."""
    learner, sessions = recipe.learner, data.axes.sessions
    plan = Plan(**{name: getattr(learner, name) for name in Plan.model_fields})
    valid = FIRST + TRAINED + PURGED
    fold = Fold("rig", sessions[FIRST : FIRST + TRAINED], sessions[valid : valid + VALID])
    start = process_time()
    found = Network(learner.model, plan).fit(data, fold, seed, Aids())
    seconds = process_time() - start
    ranker = learner.model.ranker(data.sizes(STEPS))
    ranker.load_state_dict(found.weights)
    ranker.eval()
    score_DN = score_places(ranker, data, torch.arange(TESTED_FROM, len(sessions)), plan)
    count = sum(p.numel() for p in ranker.parameters())
    cost = {"epoch": float(found.best), "CPU s": seconds, "parameters": float(count)}
    return middle(score_DN), cost


def middle(score_DNH: np.ndarray) -> np.ndarray:
    """Return the score of the one horizon; of quantiles, the middle one."""
    if score_DNH.ndim == 4:
        return np.asarray(score_DNH[:, :, 0, score_DNH.shape[3] // 2])
    return np.asarray(score_DNH[..., 0])


def figures(cell: Cell, recipe: Recipe, seed: int, off: str) -> dict[str, float]:
    """Return correlations with all components, the rank IC, and what training took.

    The rank IC of all that is planted stands beside it, so that cells on different markets compare.
    """
    data, g_CDN = data_of(cell, recipe, seed, off)
    score_DN, cost = trained(recipe, data, seed)
    g_CDN = g_CDN[:, TESTED_FROM:]
    with_C = (unit(score_DN) * unit(g_CDN)).mean(axis=(1, 2))
    planted_DN = g_CDN[[name != off for name in COMPONENTS]].sum(axis=0)
    returns = unit(rankdata(data.return_DNH[TESTED_FROM:, :, 0], axis=-1))
    found = dict(zip(COMPONENTS, with_C.tolist(), strict=True))
    for name, x_DN in (("rank IC", score_DN), ("planted rank IC", planted_DN)):
        found[name] = float((unit(rankdata(x_DN, axis=-1)) * returns).mean())
    return {**found, **cost}


def measure(cell: Cell, seeds: list[int], settings: tuple[str, ...], *, with_off: bool) -> None:
    """Print a cell, each seed and the mean, with each mark judged; then the same off."""
    recipe = recipe_of(cell, settings)
    graph = f", {cell.graph} graph" if cell.graph else ""
    wanted = ", ".join(f"{name} {mark}" for name, mark in cell.marks.items())
    title = f"{recipe.folder}{graph}"
    mean = shown(title, [figures(cell, recipe, seed, "") for seed in seeds], seeds)
    for name, mark in cell.marks.items():
        judged = "reached" if mean[name] >= mark else "MISSED"
        print(f"{title}: {name} {mean[name]:.3f}, want {wanted}: {judged}", flush=True)
    if not with_off:
        return
    for name in cell.marks:
        other = recipe_of(cell, (*settings, *cell.off)) if cell.off else recipe
        rows = [figures(cell, other, seed, "" if cell.off else name) for seed in seeds]
        mean = shown(f"{other.folder}, {name} off", rows, seeds)
        judged = "reached" if abs(mean[name]) < 0.05 else "MISSED"
        print(f"{title}: {name} off {mean[name]:.3f}, want less than 0.05: {judged}", flush=True)


def shown(title: str, rows: list[dict[str, float]], seeds: list[int]) -> dict[str, float]:
    """Print the rows of all seeds and their mean; return the mean."""
    mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    for seed, row in (*zip(map(str, seeds), rows, strict=True), ("mean", mean)):
        cells = " ".join(f"{key} {value:.3g}" for key, value in row.items())
        print(f"{title}, {seed}: {cells}", flush=True)
    return mean


def trending(seeds: list[int], settings: tuple[str, ...]) -> None:
    """Print what `deep_momentum` earns where a slow series drifts prices, and where none does."""
    cell = Cell("deep_momentum", settings=('features={names=["ret_1"]}',))
    recipe = recipe_of(cell, settings)
    for name, signal in (("trend", None), ("noise", 0.0)):
        for seed in seeds:
            data = returns_of(seed, signal)
            try:
                score_DN, cost = trained(recipe, data, seed)
            except DegenerateModel as stopped:
                print(f"{recipe.folder}, {name}, {seed}: no position: {stopped}", flush=True)
                continue
            earned = earnings(score_DN, data.return_DNH[TESTED_FROM:, :, 0], recipe)
            cells = " ".join(f"{key} {value:.3g}" for key, value in {**earned, **cost}.items())
            print(f"{recipe.folder}, {name}, {seed}: {cells}", flush=True)


def returns_of(seed: int, signal: float | None) -> Dataset:
    """Return trailing returns as the only column, on a rig of which only `linear` drifts prices."""
    market = load_market("rig")
    assert market.sim.rig is not None
    only = market.sim.rig.model_copy(update={name: name == "linear" for name in COMPONENTS})
    strength = market.sim.signal if signal is None else signal
    spec = market.sim.model_copy(update={"seed": seed, "signal": strength, "rig": only})
    made = generate.__wrapped__(spec, market.calendar)
    data, _ = rig(seed, "")
    n = len(data.axes.sessions)
    close_DN, open_DN = made.adjusted("close"), made.adjusted("open")
    ret_DN = np.zeros_like(close_DN)
    ret_DN[1:] = close_DN[1:] / close_DN[:-1] - 1
    return_DN = (open_DN[2:] / open_DN[1:-1] - 1)[:n]
    return replace(
        data,
        axes=replace(data.axes, features=("ret_1",), market_features=(), families={}),
        x_DNF=torch.from_numpy(normal(ret_DN[:n]).astype(np.float32))[..., None],
        market_DM=torch.zeros(n, 0),
        target_DNH=torch.from_numpy(normal(return_DN).astype(np.float32))[..., None],
        return_DNH=return_DN[..., None],
    )


def earnings(score_DN: np.ndarray, return_DN: np.ndarray, recipe: Recipe) -> dict[str, float]:
    """Return Sharpe ratios a year and their t, of positions in proportion to centred scores."""
    cost = (recipe.costs.commission_bps + recipe.costs.half_spread_bps) * 1e-4
    centred_DN = score_DN - score_DN.mean(1, keepdims=True)
    weight_DN = centred_DN / np.abs(centred_DN).sum(1, keepdims=True)
    traded_D = np.abs(np.diff(weight_DN, axis=0)).sum(1)
    gross_D = (weight_DN * return_DN).sum(1)
    found = {"traded": float(traded_D.mean())}
    for name, earned_D in (("gross", gross_D), ("net", gross_D[1:] - cost * traded_D)):
        ratio = earned_D.mean() / earned_D.std()
        found[f"{name} Sharpe"] = float(ratio * SESSIONS_A_YEAR**0.5)
        found[f"{name} t"] = float(ratio * len(earned_D) ** 0.5)
    return found


def main() -> None:
    """Measure and print."""
    known = sorted({cell.recipe for cell in CELLS} | {"deep_momentum"})
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=", ".join(known))
    parser.add_argument("--seeds", nargs="*", type=int, default=[7, 8, 9])
    parser.add_argument("--set", nargs="*", default=[], dest="settings", metavar="KEY=VALUE")
    parser.add_argument("--no-off", action="store_true", help="only with the component planted")
    given = parser.parse_args()
    torch.set_num_threads(1)
    chosen = given.recipes or known
    for cell in CELLS:
        if cell.recipe in chosen:
            measure(cell, given.seeds, tuple(given.settings), with_off=not given.no_off)
    if "deep_momentum" in chosen:
        trending(given.seeds, tuple(given.settings))


if __name__ == "__main__":
    main()
