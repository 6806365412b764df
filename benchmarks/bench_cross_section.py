"""What rankers that look across symbols or into several feeds hold of the rig, cell by cell.

The market, the sessions and the correlations are those of `bench_components`.

    graph      atft_gat_fan with the rig's own graph, with the one estimated from returns, and
               without: correlation with `graph`
    branches   multi_branch with a branch each for x0, for x3 and for a vector of x1 and x2:
               correlation with `linear`, `absolute` and `interaction`, and with each branch absent
    momentum   deep_momentum on trailing returns alone, where only the slow series drifts prices,
               and where nothing does: Sharpe ratio a year of its net returns, and their t

    python -W ignore benchmarks/bench_cross_section.py [graph|branches|momentum ...] [--seeds 7 8 9]
        [--norms none] [--values steps] [--graphs true estimated off] [--trends 1 0]
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from time import process_time

import numpy as np
import torch
from bench_components import (
    FIRST,
    PURGED,
    STEPS,
    TESTED_FROM,
    TRAINED,
    VALID,
    noise,
    normal,
    rig,
    unit,
)
from scipy.stats import rankdata

from alpha_assets.config.market import load_market
from alpha_assets.dataset import Fold
from alpha_assets.dataset.neighbours import Neighbours
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.dataset.vectors import Vectors
from alpha_assets.models import (
    AtftGatFanSpec,
    BranchSpec,
    DeepMomentumSpec,
    LossSpec,
    MultiBranchSpec,
    RankerSpec,
)
from alpha_assets.models.losses import ICSpec, SharpeSpec
from alpha_assets.sources.sim.draws import Purpose, stream
from alpha_assets.sources.sim.market import generate
from alpha_assets.sources.sim.rig import _PLACES, COMPONENTS, NEIGHBOURS, neighbours
from alpha_assets.training import GuardSpec, OptimiserSpec, TrainingSpec, WindowSpec
from alpha_assets.training.estimator import Aids
from alpha_assets.training.fit import score_places
from alpha_assets.training.network import Network
from alpha_assets.training.settings import Plan

EPOCHS, WIDTH = 6, 16  # of `atft_gat_fan`
COST_BPS = 6.0  # commission and half-spread of the rig
SESSIONS_A_YEAR = 245
SHARED = 0.5  # of the variance of shocks, with neighbours, where the graph is estimated
CORRELATED = (60, 240)  # sessions behind an estimated graph, at least and at most
BRANCHES = {  # columns of the rig are "x0" to "x9"
    "price": BranchSpec(columns=("x0",), hidden=16, latent=8, dropout=0.0),
    "statement": BranchSpec(columns=("x3",), hidden=16, latent=8, dropout=0.0),
    "news": BranchSpec(vectors="news", hidden=32, latent=8, dropout=0.0),
}
OF_BRANCH = {"price": "linear", "statement": "absolute", "news": "interaction"}


def trained(
    data: Dataset, model: RankerSpec, plan: Plan, seed: int
) -> tuple[np.ndarray, dict[str, float]]:
    """Return the scores of the sessions after training, [D, N], and what training took."""
    sessions, steps = data.axes.sessions, plan.window.sequence
    valid = FIRST + TRAINED + PURGED
    fold = Fold("rig", sessions[FIRST : FIRST + TRAINED], sessions[valid : valid + VALID])
    network = Network(model, plan)
    start = process_time()
    found = network.fit(data, fold, seed, Aids())
    seconds = process_time() - start
    ranker = model.ranker(data.sizes(steps))
    ranker.load_state_dict(found.weights)
    ranker.eval()
    places = torch.arange(TESTED_FROM, len(sessions))
    score_DN = score_places(ranker, data, places, plan)[..., 0]
    count = sum(p.numel() for p in ranker.parameters())
    return score_DN, {"epoch": found.best, "CPU s": seconds, "parameters": count}


def plan_of(
    loss: LossSpec, steps: int, rate: float, epochs: int, training: dict[str, object], cost: float
) -> Plan:
    return Plan(
        loss=(loss,),
        window=WindowSpec(sequence=steps),
        optimiser=OptimiserSpec(learning_rate=rate),
        training=TrainingSpec(max_epochs=epochs, patience=epochs, **training),  # type: ignore[arg-type]
        guard=GuardSpec(  # positions on noise may all go to one side, which is measured here
            rank_ic_max=1.0, relative_spread_min=0.0, distinct_min=0.0, modal_max=1.0
        ),
        cost_bps=cost,
    )


def held(score_DN: np.ndarray, g_CDN: np.ndarray) -> dict[str, float]:
    """Return the mean correlation of scores with each component."""
    with_C = (unit(score_DN) * unit(g_CDN[:, TESTED_FROM:])).mean(axis=(1, 2))
    return dict(zip(COMPONENTS, with_C.tolist(), strict=True))


def true_graph(seed: int, data: Dataset) -> Neighbours:
    """Return the rig's own neighbours, all with weight 1, in force on every session."""
    n = len(data.axes.symbols)
    edge_NK = neighbours(stream(seed, Purpose.RIG, _PLACES).random((n, 2)))
    edge_GNK = torch.from_numpy(edge_NK.astype(np.int32))[None]
    one_GNK = torch.ones(edge_GNK.shape)
    return Neighbours(edge_GNK, one_GNK, torch.zeros(len(data.axes.sessions), dtype=torch.long))


def estimated_graph(data: Dataset) -> Neighbours:
    """Return the most correlated names by residual returns, anew every five sessions.

    A graph looks back on `CORRELATED` returns, of which the last one is known at its session.
    """
    least, most = CORRELATED
    return_DN = data.return_DNH[..., 0]
    residual_DN = return_DN - return_DN.mean(1, keepdims=True)
    edges, weights, graph_D = [], [], []
    for d in range(len(residual_DN)):
        known = max(0, d - d % 5 - 1)  # returns end two sessions after their decision
        graph_D.append(len(edges) if d % 5 == 0 else len(edges) - 1)
        if d % 5:
            continue
        past_DN = residual_DN[max(0, known - most) : max(known, 2)]
        rho_NN = np.nan_to_num(np.corrcoef(past_DN, rowvar=False))
        np.fill_diagonal(rho_NN, -1.0)
        nearest_NK = np.argsort(-rho_NN, axis=1, kind="stable")[:, :NEIGHBOURS]
        edges.append(nearest_NK.astype(np.int32))
        weights.append(np.take_along_axis(rho_NN, nearest_NK, 1).astype(np.float32))
    is_known_G = np.arange(len(edges))[:, None, None] * 5 > least
    weight_GNK = np.where(is_known_G, np.stack(weights), 0.0).astype(np.float32)
    return Neighbours(
        torch.from_numpy(np.stack(edges)), torch.from_numpy(weight_GNK), torch.tensor(graph_D)
    )


def with_peers(seed: int, data: Dataset) -> Dataset:
    """Return the dataset with shocks that neighbours share a part of, so that it can be estimated.

    Of the variance of each symbol's shocks, `SHARED` is from then on the mean of a shock of the
    symbol and of its neighbours, drawn afresh each session.  What is planted stays as it is, and so
    does the variance of the whole: added on top, the shared part would halve the share of the
    returns' variance that is planted.
    """
    n = len(data.axes.symbols)
    edge_NK = neighbours(stream(seed, Purpose.RIG, _PLACES).random((n, 2)))
    return_DN, noise_DN = data.return_DNH[..., 0], noise(seed)
    planted_DN = return_DN - noise_DN
    common_D1 = noise_DN.mean(1, keepdims=True)
    own_DN = noise_DN - common_D1
    shock_DN = np.random.default_rng(seed).standard_normal(return_DN.shape)
    shared_DN = own_DN.std(0) * unit(shock_DN + shock_DN[:, edge_NK].sum(2))
    own_DN = np.sqrt(1 - SHARED) * own_DN + np.sqrt(SHARED) * shared_DN
    return_DN = planted_DN + common_D1 + own_DN
    target_DN = normal(return_DN).astype(np.float32)
    return replace(
        data, return_DNH=return_DN[..., None], target_DNH=torch.from_numpy(target_DN)[..., None]
    )


def graph_cell(seed: int, graph: str, norm: str, values: str) -> dict[str, float]:
    """Train `atft_gat_fan`; return its correlations."""
    data, g_CDN = rig(seed, "")
    if graph == "true":
        data = replace(data, graph=true_graph(seed, data))
    if graph == "estimated":
        data = with_peers(seed, data)
        data = replace(data, graph=estimated_graph(data))
    is_on = graph != "off"
    model = AtftGatFanSpec(
        d_model=WIDTH,
        heads=2,
        graph_heads=2,
        dropout=0.0,
        graph=is_on,
        norm=norm,
        graph_values=values,
    )
    plan = plan_of(ICSpec(), STEPS, 4e-3, EPOCHS, {"batch_sessions": 4}, 0.0)
    score_DN, took = trained(data, model, plan, seed)
    return {**held(score_DN, g_CDN), **took}


def branch_cell(seed: int, absent: str) -> dict[str, float]:
    """Train `multi_branch` with a branch left out, or all; return its correlations."""
    data, g_CDN = rig(seed, "")
    n_sessions, n_symbols = data.valid_DN.shape
    vector_RV = data.x_DNF[..., 1:3].reshape(-1, 2).half()
    row_DN = torch.arange(len(vector_RV)).view(n_sessions, n_symbols)
    branches = {
        name: one.model_copy(update={"absent": name == absent}) for name, one in BRANCHES.items()
    }
    if absent != "news":
        data = replace(data, vectors={"news": Vectors(vector_RV, row_DN)})
    plan = plan_of(ICSpec(), 1, 5e-3, 8, {"batch_sessions": 4}, 0.0)
    score_DN, took = trained(data, MultiBranchSpec(branches=branches, dropout=0.0), plan, seed)
    return {**held(score_DN, g_CDN), **took}


def momentum_cell(seed: int, trend: bool) -> dict[str, float]:
    """Train `deep_momentum` on trailing returns alone; return what its positions earn."""
    market = load_market("rig")
    assert market.sim.rig is not None
    only = market.sim.rig.model_copy(update={n: n == "linear" for n in COMPONENTS})
    signal = market.sim.signal if trend else 0.0
    spec = market.sim.model_copy(update={"seed": seed, "signal": signal, "rig": only})
    made = generate.__wrapped__(spec, market.calendar)
    close_DN = made.adjusted("close")
    data, _ = rig(seed, "")
    n = len(data.axes.sessions)
    ret_DN = np.zeros_like(close_DN)
    ret_DN[1:] = close_DN[1:] / close_DN[:-1] - 1
    open_DN = made.adjusted("open")
    return_DN = (open_DN[2:] / open_DN[1:-1] - 1)[:n]
    data = replace(
        data,
        axes=replace(data.axes, features=("ret_1",), market_features=(), families={}),
        x_DNF=torch.from_numpy(normal(ret_DN[:n]).astype(np.float32))[..., None],
        market_DM=torch.zeros(n, 0),
        target_DNH=torch.from_numpy(normal(return_DN).astype(np.float32))[..., None],
        return_DNH=return_DN[..., None],
    )
    training = {
        "sampler": "blocks", "batch_sessions": 48, "block_sessions": 24, "selection": "net_sharpe",
    }  # fmt: skip
    plan = plan_of(SharpeSpec(cost_bps=COST_BPS, pin=0.0), STEPS, 1e-2, 4, training, COST_BPS)
    score_DN, took = trained(data, DeepMomentumSpec(hidden=16, dropout=0.0), plan, seed)
    centred_DN = score_DN - score_DN.mean(1, keepdims=True)
    weight_DN = centred_DN / np.abs(centred_DN).sum(1, keepdims=True)
    traded_D = np.abs(np.diff(weight_DN, axis=0)).sum(1)
    gross_D = (weight_DN * return_DN[TESTED_FROM:]).sum(1)
    net_D = gross_D[1:] - COST_BPS * 1e-4 * traded_D
    ratio = net_D.mean() / net_D.std()
    gross = gross_D.mean() / gross_D.std()
    ranks = unit(rankdata(score_DN, axis=-1)) * unit(rankdata(return_DN[TESTED_FROM:], axis=-1))
    return {
        "net Sharpe": float(ratio * SESSIONS_A_YEAR**0.5),
        "net t": float(ratio * len(net_D) ** 0.5),
        "gross Sharpe": float(gross * SESSIONS_A_YEAR**0.5),
        "gross t": float(gross * len(gross_D) ** 0.5),
        "rank IC": float(ranks.mean()),
        "traded": float(traded_D.mean()),
        **took,
    }


def show(name: str, rows: Sequence[dict[str, float]], seeds: Sequence[int]) -> None:
    """Print each seed and the mean."""
    mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    for label, row in (*zip(seeds, rows, strict=True), ("mean", mean)):
        print(name, label, " ".join(f"{k} {v:.3g}" for k, v in row.items()), flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["graph", "branches", "momentum"])
    parser.add_argument("--seeds", nargs="*", type=int, default=[7, 8, 9])
    parser.add_argument("--trends", nargs="*", type=int, default=[1, 0])
    parser.add_argument("--norms", nargs="*", default=["none"])
    parser.add_argument("--values", nargs="*", default=["steps"])
    parser.add_argument("--graphs", nargs="*", default=["true", "estimated", "off"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    seeds = given.seeds
    if "branches" in given.parts:
        for absent in ("", *BRANCHES):
            name = f"branches, without {absent}:" if absent else "branches:"
            show(name, [branch_cell(seed, absent) for seed in seeds], seeds)
    if "momentum" in given.parts:
        for trend in given.trends:
            name = "momentum, trend:" if trend else "momentum, noise:"
            show(name, [momentum_cell(seed, trend) for seed in seeds], seeds)
    if "graph" in given.parts:
        for norm in given.norms:
            for values, graph in product(given.values, given.graphs):
                rows = [graph_cell(seed, graph, norm, values) for seed in seeds]
                show(f"graph {graph}, norm {norm}, values {values}:", rows, seeds)


if __name__ == "__main__":
    main()
