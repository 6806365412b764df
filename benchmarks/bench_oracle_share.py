"""What each recipe's scores hold of the drift that was planted, beside ridge on the same columns.

    python -W ignore benchmarks/bench_oracle_share.py RECIPE [--signal 1.7] [--seeds 21 22 23 24]
        [--months 2022-07 2023-01 2023-07] [--size cpu] [--storage FOLDER] [--no-ridge]
        [--set section.key=value ...]

A training is the model of one month on one seed of `sim`, by the recipe's own file through the
stages, from raw rows to predictions, without books.  *Held* is the mean over the month's sessions
of the rank correlation between the scores and the planted drift of the recipe's longest traded
horizon, of all names that are listed and scored: the share of the oracle without the noise of
returns.  The oracle knows the part that prices reveal, or with `--all` the hidden parts too, as
recipes of all feeds are judged.  *Ridge* is the recipe `ridge` on the recipe's features, labels,
universe, look-back and validation.  Errors are standard errors of the mean over trainings, of the
differences paired by training.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import spearmanr

import alpha_assets as aa
from alpha_assets.arrays.types import Array
from alpha_assets.calendar import as_date
from alpha_assets.pipeline.frontier import months_of_data
from alpha_assets.pipeline.predictions import predictions_stage
from alpha_assets.pipeline.runner import ingest_all, make_market_stages, make_model
from alpha_assets.sources.sim.drift import coefficients, expected_drifts
from alpha_assets.sources.sim.market import generate

OF_RIDGE = ("features", "label", "universe", "split")  # sections that it takes over


def market_settings(signal: float, seed: int) -> tuple[str, ...]:
    """Return what is set of the market."""
    return (f"market.sim.signal={signal}", f"market.sim.seed={seed}")


def as_ridge(project: aa.Project) -> list[str]:
    """Return what makes `ridge` a ridge on another recipe's columns."""
    recipe = project.context.recipe
    spec = recipe.spec.model_dump(mode="json", exclude_unset=True)
    taken = {key: spec[key] for key in OF_RIDGE if key in spec}
    taken["features"] = {"names": [feature.name for feature in recipe.features]}
    horizon = recipe.spec.portfolio.horizon
    return [
        *(f"{key}={inline(table)}" for key, table in taken.items()),
        f"portfolio.horizon={horizon}",
    ]


def inline(value: object) -> str:
    """Return a value of JSON as one of TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {inline(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(inline(one) for one in value) + "]"
    return json.dumps(value)


def held(project: aa.Project, month: str, *, everything: bool) -> tuple[float, float]:
    """Return what the scores of a month hold of the planted drift, and the CPU seconds it took."""
    context = project.context
    recipe, market = context.recipe, context.market
    make_market_stages(context, [known for known in months_of_data(context) if known <= month])
    start = os.times()
    make_model(context, month)
    after = os.times()
    predictions_stage(recipe).ensure(context, [month])
    frame = project.predictions(month, month).collect()
    horizon = recipe.spec.portfolio.horizon
    made = generate(market.spec.sim, market.calendar)
    decided = market.calendar.after(made.sessions)
    drifts = expected_drifts(
        made,
        coefficients(market.spec.sim, market.calendar),
        np.arange(len(made.sessions)),
        with_latents=everything,
    )
    drift_DN = next(drift_DN for h, drift_DN in drifts if h == horizon)
    column_of = {symbol: column for column, symbol in enumerate(made.roster.code)}
    row_of = {as_date(session): row for row, session in enumerate(decided)}
    found: list[float] = []
    scores = frame.filter(pl.col("horizon") == horizon)
    for (session,), rows in scores.group_by("session", maintain_order=True):
        score_N = rows["score"].to_numpy()
        columns = [column_of[symbol] for symbol in rows["symbol"]]
        drift_N = drift_DN[row_of[session]][columns]
        known_N = np.isfinite(score_N) & np.isfinite(drift_N)
        found.append(float(spearmanr(score_N[known_N], drift_N[known_N]).statistic))
    spent = sum(getattr(after, part) - getattr(start, part) for part in ("user", "system"))
    return float(np.mean(found)), spent


def told(name: str, held_T: Array, cpu_T: Array, beside_T: Array | None = None) -> None:
    """Print the mean over trainings, and the mean difference to what stands beside."""
    text = f"{name:<44}{held_T.mean():.3f}"
    if beside_T is not None:
        less_T = held_T - beside_T
        error = less_T.std(ddof=1) / len(less_T) ** 0.5 if len(less_T) > 1 else float("nan")
        share = held_T.mean() / beside_T.mean()
        text += f"  less ridge {less_T.mean():+.3f} ± {error:.3f}, share of ridge {share:.2f}"
    print(f"{text}  {np.median(cpu_T):.1f} CPU s", flush=True)


def main() -> None:
    """Print each training, then the means."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recipe")
    parser.add_argument("--signal", type=float, default=1.7)
    parser.add_argument("--seeds", type=int, nargs="+", default=(21, 22, 23, 24))
    parser.add_argument("--months", nargs="+", default=("2022-07", "2023-01", "2023-07"))
    parser.add_argument("--size")
    parser.add_argument("--storage")
    parser.add_argument("--all", action="store_true", help="the oracle knows hidden parts too")
    parser.add_argument("--no-ridge", action="store_true")
    parser.add_argument("--set", nargs="*", default=[], dest="settings", metavar="KEY=VALUE")
    asked = parser.parse_args()
    own = (*((f"size={asked.size}",) if asked.size else ()), "training.retrain_every=1")
    with tempfile.TemporaryDirectory() as room:
        storage = Path(asked.storage or room)
        rows: dict[str, list[tuple[float, float]]] = {"own": [], "ridge": []}
        for seed in asked.seeds:
            where = {"market": "sim", "storage": str(storage / f"{asked.signal}_{seed}")}
            world = market_settings(asked.signal, seed)
            project = aa.open(asked.recipe, **where, overrides=(*own, *asked.settings, *world))
            projects = {"own": project}
            if not asked.no_ridge:
                beside = (*as_ridge(project), "training.retrain_every=1", *world)
                projects["ridge"] = aa.open("ridge", **where, overrides=beside)
            ingest_all(project.context)
            for month in asked.months:
                for name, one in projects.items():
                    rows[name].append(held(one, month, everything=asked.all))
                cells = "  ".join(
                    f"{name} {found[-1][0]:.3f}" for name, found in rows.items() if found
                )
                print(f"{project.context.recipe.folder}, seed {seed}, {month}: {cells}", flush=True)
    report(project.context.recipe.folder, rows)


def report(folder: str, rows: dict[str, list[tuple[float, float]]]) -> None:
    """Print the means of all trainings."""
    own_T2 = np.array(rows["own"])
    ridge_T2 = np.array(rows["ridge"]) if rows["ridge"] else None
    told(folder, own_T2[:, 0], own_T2[:, 1], None if ridge_T2 is None else ridge_T2[:, 0])
    if ridge_T2 is not None:
        told("ridge on its columns", ridge_T2[:, 0], ridge_T2[:, 1])


if __name__ == "__main__":
    main()
