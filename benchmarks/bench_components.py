"""What rankers hold of each planted component of the rig, on its own arrays, without the pipeline.

A cell is a model trained on one draw of the rig: 480 sessions, 42 for validation, windows of
twelve, and the correlation of its scores with each component on the sessions after them.  Seed k
draws both the market and the weights.  With a component switched off, the market has the same
series and shocks, and the component is not in the returns.  CPU seconds are those of the training.

    python benchmarks/bench_components.py [MODEL ...] [--off NAME ...] [--seeds 7 8 9]
        [--set lr=2e-3 epochs=8 hidden=32]
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from time import process_time

import numpy as np
import torch
from scipy.special import ndtri
from scipy.stats import rankdata

from alpha_assets.config.market import load_market
from alpha_assets.dataset import Axes, Fold
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.models import (
    ALSTMSpec,
    LSTMSpec,
    MasterSpec,
    PatchTransformerSpec,
    RankerSpec,
    TFTSpec,
    TransformerSpec,
)
from alpha_assets.models.losses import ICSpec
from alpha_assets.sources.sim.market import SimMarket, generate
from alpha_assets.sources.sim.rig import COMPONENTS
from alpha_assets.training import GuardSpec, OptimiserSpec, TrainingSpec, WindowSpec
from alpha_assets.training.estimator import Aids
from alpha_assets.training.fit import score_places
from alpha_assets.training.network import Network
from alpha_assets.training.settings import Plan

STEPS, TRAINED, VALID, PURGED = 12, 480, 42, 1
FIRST = STEPS - 1  # place of the first training session
TESTED_FROM = FIRST + TRAINED + PURGED + VALID + PURGED
MARKS = {  # least mean correlation of each kind
    "transformer": {"lag_7": 0.15, "sum_10": 0.2},
    "patch_transformer": {"lag_7": 0.15, "sum_10": 0.2},
    "tft": {"lag_7": 0.15, "sum_10": 0.2},
    "master": {"regime": 0.2},
    "lstm": {"sum_10": 0.2},
    "alstm": {"sum_10": 0.2},
}


@dataclass(frozen=True)
class Trial:
    """A model and how it is trained."""

    model: RankerSpec
    learning_rate: float
    epochs: int
    batch: int = 4
    marks: Mapping[str, float] = field(default_factory=dict)


TRIALS = {
    "transformer": Trial(TransformerSpec(d_model=32, layers=2, heads=4, dropout=0.0), 2e-3, 14),
    "patch_transformer": Trial(
        PatchTransformerSpec(patch=4, stride=2, d_model=32, layers=2, heads=4, dropout=0.0),
        2e-3,
        8,
    ),
    "tft": Trial(TFTSpec(d_model=32, heads=4, dropout=0.0), 4e-3, 5),
    "master": Trial(MasterSpec(d_model=32, gate="affine", dropout=0.0), 4e-3, 3),
    "lstm": Trial(LSTMSpec(hidden=32, layers=1, bottleneck=32), 5e-3, 3),
    "alstm": Trial(ALSTMSpec(hidden=32, layers=1), 5e-3, 3),
}


@cache
def rig(seed: int, off: str) -> tuple[Dataset, np.ndarray]:
    """Return the dataset of a draw of the rig, and its components [C, D, N]."""
    market = load_market("rig")
    switched = {off: False} if off else {}
    spec = market.sim.model_copy(
        update={"seed": seed, "rig": market.sim.rig.model_copy(update=switched)}
    )
    made = generate.__wrapped__(spec, market.calendar)
    return_DN = next_returns(made)
    n, shape = len(return_DN), return_DN.shape
    x_DNF = np.moveaxis(normal(made.rig.series), 0, -1)[:n]
    symbols = tuple(f"S{place:03d}" for place in range(shape[1]))
    names = tuple(f"x{place}" for place in range(x_DNF.shape[-1]))
    ones_DN = torch.ones(shape, dtype=torch.bool)
    axes = Axes(made.sessions[:n], symbols, names, ("regime",), (1,), symbols, ("all",))
    data = Dataset(
        axes=axes,
        x_DNF=torch.from_numpy(x_DNF.astype(np.float32)),
        valid_DN=ones_DN,
        mask_DN=ones_DN,
        target_DNH=torch.from_numpy(normal(return_DN).astype(np.float32))[..., None],
        return_DNH=return_DN[..., None],
        symbol_id_N=torch.arange(1, shape[1] + 1),
        sector_id_DN=ones_DN.long(),
        market_DM=torch.from_numpy(made.rig.regime[:n].astype(np.float32))[:, None],
    )
    return data, made.components[:, :n].astype(np.float64)


def noise(seed: int) -> np.ndarray:
    """Return what a draw of the rig returns with nothing planted, its shocks alone, [D, N]."""
    market = load_market("rig")
    spec = market.sim.model_copy(update={"seed": seed, "signal": 0.0})
    return next_returns(generate.__wrapped__(spec, market.calendar))


def next_returns(made: SimMarket) -> np.ndarray:
    """Return returns from the next open to the one after, of sessions that have both."""
    open_DN = made.adjusted("open")
    return np.asarray(open_DN[2:] / open_DN[1:-1] - 1)


def normal(x: np.ndarray) -> np.ndarray:
    return np.asarray(ndtri((rankdata(x, axis=-1) - 0.5) / x.shape[-1]))


def unit(x: np.ndarray) -> np.ndarray:
    return np.asarray((x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True))


def cell(trial: Trial, seed: int, off: str) -> dict[str, float]:
    """Train once; return the correlation with each component, CPU seconds and parameters."""
    data, g_CDN = rig(seed, off)
    plan = Plan(
        loss=(ICSpec(),),
        window=WindowSpec(sequence=STEPS),
        optimiser=OptimiserSpec(learning_rate=trial.learning_rate),
        training=TrainingSpec(
            batch_sessions=trial.batch, max_epochs=trial.epochs, patience=trial.epochs
        ),
        guard=GuardSpec(rank_ic_max=1.0),
    )
    sessions = data.axes.sessions
    valid = FIRST + TRAINED + PURGED
    fold = Fold("rig", sessions[FIRST : FIRST + TRAINED], sessions[valid : valid + VALID])
    network = Network(trial.model, plan)
    start = process_time()
    trained = network.fit(data, fold, seed, Aids())
    seconds = process_time() - start
    model = trial.model.ranker(data.sizes(STEPS))
    model.load_state_dict(trained.weights)
    places = torch.arange(TESTED_FROM, len(sessions))
    score_DN = score_places(model, data, places, plan)[..., 0]
    with_C = (unit(score_DN) * unit(g_CDN[:, TESTED_FROM:])).mean(axis=(1, 2))
    figures = dict(zip(COMPONENTS, with_C.tolist(), strict=True))
    ranks = unit(rankdata(score_DN, axis=-1))
    returns = unit(rankdata(data.return_DNH[TESTED_FROM:, :, 0], axis=-1))
    return {
        **figures,
        "rank IC": float((ranks * returns).mean()),
        "epoch": trained.best,
        "CPU s": seconds,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def changed(trial: Trial, settings: list[str]) -> Trial:
    """Return a trial with settings of the model, or `lr`, `epochs` and `batch`, in their place."""
    given = dict(item.split("=", 1) for item in settings)
    rate = float(given.pop("lr", trial.learning_rate))
    epochs, batch = int(given.pop("epochs", trial.epochs)), int(given.pop("batch", trial.batch))
    values = {}
    for name, text in given.items():
        values[name] = json.loads(text) if text[:1].isdigit() or text in ("true", "false") else text
    model = type(trial.model)(**{**trial.model.model_dump(), **values})
    return Trial(model, rate, epochs, batch, trial.marks)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help=", ".join(TRIALS))
    parser.add_argument("--off", nargs="*", default=[], choices=COMPONENTS)
    parser.add_argument("--seeds", nargs="*", type=int, default=[7, 8, 9])
    parser.add_argument("--set", nargs="*", default=[], dest="settings", metavar="NAME=VALUE")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.models or TRIALS:
        trial, marks = changed(TRIALS[name], given.settings), MARKS.get(name, {})
        for off in ("", *given.off):
            rows = []
            for seed in given.seeds:
                rows.append(cell(trial, seed, off))
                print(name, off or "-", seed, " ".join(f"{k} {v:.3g}" for k, v in rows[-1].items()),
                      flush=True)  # fmt: skip
            mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
            print(f"{name}, {'without ' + off if off else 'all planted'}, mean of {len(rows)}:")
            for key, value in mean.items():
                mark = marks.get(key)
                judged = ""
                if off == key:
                    judged = "off" if abs(value) < 0.05 else "off, MISSED: want less than .05"
                elif mark is not None and not off:
                    judged = f"at least {mark}: " + ("reached" if value >= mark else "MISSED")
                print(f"    {key:12s}{value:10.3f}  {judged}", flush=True)


if __name__ == "__main__":
    main()
