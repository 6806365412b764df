"""Every recipe on a market without a signal: is anything significant that cannot be there?

    python -W ignore benchmarks/bench_null.py [RECIPE ...] [--seeds 101 102] [--storage FOLDER]
        [--first 2023-01] [--last 2023-12]

A cell is a recipe's own file, at `--size small` where it has one, retrained every sixth month where
it is trained, on `sim` with `signal = 0` and a seed that was fixed before anything was run.  Two
figures a cell: the rank IC of its first horizon and the gross Sharpe ratio, each against zero.  The
p-values of all cells are adjusted together after Holm; one below 0.05 is found, and exits 1.
A cell that the guard stops has no figure, and is counted as such.
"""

import argparse
import math
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.stats import norm

import alpha_assets as aa
from alpha_assets.calendar import month_range
from alpha_assets.config.recipe import recipe_sizes
from alpha_assets.errors import AlphaAssetsError
from alpha_assets.pipeline.runner import ingest_all, make_model

LEVEL = 0.05
SEEDS = (101, 102)
FREE = ("momentum", "reversal")  # a feature as it is: nothing is trained
RECIPES = (
    "ridge", "trees", "momentum", "reversal", "rolling_transformer", "rolling_transformer_feeds",
    "rolling_alstm", "lstm_rank", "lstm_regression", "semis_tft", "atft_gat_fan", "apex_ranker",
    "liquid_branches", "master", "deep_momentum", "sharpe_finetune",
)  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """One figure of a cell: its size, its error (NaN: it has none), its two-sided p-value."""

    recipe: str
    seed: int
    name: str
    size: float
    error: float

    @property
    def p(self) -> float:
        """1 where nothing can be said."""
        return float(2 * norm.sf(abs(self.size / self.error))) if self.error > 0 else 1.0


def holm(p_C: list[float]) -> list[float]:
    """Return p-values adjusted for all of them: below the level where Holm's rule rejects.

    Source: Holm (1979), Scandinavian Journal of Statistics 6(2).
    """
    order = sorted(range(len(p_C)), key=p_C.__getitem__)
    adjusted, least = [1.0] * len(p_C), 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, (len(p_C) - rank) * p_C[place]))
        adjusted[place] = least
    return adjusted


def overrides_of(recipe: str, seed: int) -> tuple[str, ...]:
    """Return what is set of a recipe and its market, its size first."""
    size = ("size=small",) if "small" in recipe_sizes(recipe) else ()
    trained = () if recipe in FREE else ("training.retrain_every=6",)
    return (*size, *trained, "market.sim.signal=0", f"market.sim.seed={seed}")


def figures_of(recipe: str, seed: int, storage: Path, first: str, last: str) -> list[Figure]:
    """Return the figures of a cell."""
    project = aa.open(
        recipe,
        market="sim",
        storage=str(storage / str(seed)),
        overrides=overrides_of(recipe, seed),
    )
    if project.context.recipe.parent is not None:
        ingest_all(project.context)
        for month in month_range(first, last):
            make_model(project.context, month)  # the parent's too
    found: dict[str, Any] = project.run(first, last)
    metrics = found["metrics"]
    horizon = next(iter(metrics["signal"].values()))
    rank_ic, gross = horizon["rank_ic"], metrics["portfolio"]["gross"]
    t = rank_ic["t"]
    error = rank_ic["mean"] / t if t else math.nan
    return [
        Figure(recipe, seed, "rank IC", rank_ic["mean"], abs(error)),
        Figure(recipe, seed, "gross Sharpe", gross["sharpe"], gross["sharpe_se"]),
    ]


def main() -> None:
    """Print each cell as it ends, then all of them adjusted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recipes", nargs="*", default=RECIPES)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--storage")
    parser.add_argument("--first", default="2023-01")
    parser.add_argument("--last", default="2023-12")
    asked = parser.parse_args()
    figures, stopped = [], []
    with tempfile.TemporaryDirectory() as room:
        storage = Path(asked.storage or room)
        for seed in asked.seeds:
            for recipe in asked.recipes:
                before, start = os.times(), time.perf_counter()
                try:
                    cell = figures_of(recipe, seed, storage, asked.first, asked.last)
                except AlphaAssetsError as error:
                    stopped.append((recipe, seed, str(error)))
                    print(f"{recipe:<27}{seed:>4}  stopped: {error}", flush=True)
                    continue
                figures += cell
                after = os.times()
                cpu = after.user + after.system - before.user - before.system
                text = "  ".join(f"{f.name} {f.size:+.4f} ± {f.error:.4f}" for f in cell)
                wall = time.perf_counter() - start
                print(f"{recipe:<27}{seed:>4}  {text}  {cpu:.0f} CPU s, {wall:.0f} s", flush=True)
    adjusted = holm([figure.p for figure in figures])
    print(f"\n{'recipe':<27}{'seed':>4}  {'figure':<13}{'size':>9}{'error':>9}{'p':>8}{'Holm':>8}")
    for figure, p in sorted(zip(figures, adjusted, strict=True), key=lambda pair: pair[0].p):
        print(
            f"{figure.recipe:<27}{figure.seed:>4}  {figure.name:<13}{figure.size:>+9.4f}"
            f"{figure.error:>9.4f}{figure.p:>8.3f}{p:>8.3f}"
        )
    found = sum(p < LEVEL for p in adjusted)
    print(f"\n{len(figures)} figures, {found} significant at {LEVEL:.0%} after Holm", end="")
    print(f"; {len(stopped)} cells stopped")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
