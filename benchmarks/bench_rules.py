"""Which portfolio rule keeps what the planted scores know, on many simulated markets.

    python benchmarks/bench_rules.py [--choose 11-20] [--prove 1-10] [--table 7] [--recipe NAME]
        [--keep FOLDER]

Scores are the planted drift that prices reveal, expected over ten sessions, of all names that are
listed and had a bar on the session before; 32 months, the market's costs.  No feature is computed
and no model trained.  On the seeds of `--choose` the rule of the family with the largest sum of net
Sharpe ratios at 10 and 100 million is printed, on those of `--prove` the sums of net Sharpe ratios
under the recipe's own rule beside what is attainable (chosen on even sessions and measured on odd
ones, and the other way round), and of `--table` the rules at four capitals.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.backtest import PortfolioSpec
from alpha_assets.backtest.attainable import CAPITALS, Setting, family, rule_returns
from alpha_assets.backtest.market_data import Marks, marks_of
from alpha_assets.config.market import Market, load_market
from alpha_assets.config.recipe import Recipe, load_recipe
from alpha_assets.evaluation.attainable import attainable
from alpha_assets.evaluation.sharpe import sharpe_error_cautious, sharpe_ratio
from alpha_assets.pipeline.backtest import backtest_feeds
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.raw import ingest_feed
from alpha_assets.sources.sim.drift import coefficients, expected_drifts
from alpha_assets.sources.sim.market import generate
from alpha_assets.store import Store

FIRST, LAST = date(2021, 5, 1), date(2023, 12, 29)  # 32 months
GOAL = (1e7, 1e8)  # capitals at which a rule is chosen and proved
OWN = "recipe"
BEFORE = "quantile 0.1, step 1, weekly"  # the rule that recipes had before
SHOWN = 5  # rules a table
YEAR = load_market("sim").calendar.sessions_per_year


def world(seed: int, recipe_name: str) -> tuple[Recipe, Marks, Array, Array]:
    """Return a market as arrays, its planted scores, and which names are listed."""
    market: Market = load_market("sim", overrides=[f"sim.seed={seed}"])
    recipe = load_recipe(recipe_name, market)
    calendar, spec = market.calendar, market.spec.sim
    with tempfile.TemporaryDirectory() as room:
        context = RecipeContext(market, Store(room), recipe=recipe)
        feeds = backtest_feeds(market)
        for feed in feeds:
            ingest_feed(context, feed)
        raw = {feed: context.raw[feed].read().collect() for feed in feeds}
    made = generate(spec, calendar)
    order_N = np.argsort(np.array(made.roster.code), kind="stable")
    symbols = tuple(np.array(made.roster.code)[order_N].tolist())
    marks = marks_of(
        raw,
        symbols,
        calendar,
        FIRST,
        LAST,
        basis=market.source.basis,
        max_stale=market.spec.max_stale,
    )
    rows = np.searchsorted(calendar.after(made.sessions), marks.sessions)
    horizon = recipe.spec.portfolio.horizon
    drifts = expected_drifts(made, coefficients(spec, calendar), rows, with_latents=False)
    drift_DN = next(drift_DN for h, drift_DN in drifts if h == horizon)
    listed_DN = made.listed()[rows]
    known_DN = listed_DN & ~np.isnan(made.bar["close"][rows])
    score_DN = np.where(known_DN, drift_DN, np.nan)[:, order_N]
    return recipe, marks, score_DN, listed_DN[:, order_N]


def returns_of(
    seed: int, recipe_name: str, capitals: Sequence[float], keep: Path | None
) -> dict[str, Array]:
    """Return net returns over cash by rule, [capitals, sessions], the recipe's own among them.

    Args:
        seed: of the market.
        recipe_name: whose rule.
        capitals: money.
        keep: folder in which returns are kept, or looked up, by seed and capitals.
    """
    words = "_".join(f"{capital:.0e}" for capital in capitals)
    rule = load_recipe(recipe_name, load_market("sim")).spec.portfolio
    kept = None if keep is None else keep / f"{seed}_{words}.npz"
    if kept is not None and kept.exists():
        with np.load(kept) as stored:
            found = dict(stored)
        same = [name for name, one in family(rule).items() if one == with_usual_capital(rule)]
        if same:
            return {**found, OWN: found[same[0]]}
    found = measured(seed, recipe_name, capitals)
    if kept is not None:
        np.savez(kept, **found)
    return found


def with_usual_capital(rule: PortfolioSpec) -> PortfolioSpec:
    """Return a rule with the capital of the family, which takes no part in what is held."""
    return rule.model_copy(update={"capital": type(rule).model_fields["capital"].default})


def measured(seed: int, recipe_name: str, capitals: Sequence[float]) -> dict[str, Array]:
    """Return what `returns_of` does, of a market that is made for it."""
    recipe, marks, score_DN, listed_DN = world(seed, recipe_name)
    rules = {OWN: recipe.spec.portfolio, **family(recipe.spec.portfolio)}
    net_RSD = rule_returns(
        score_DN,
        np.zeros(score_DN.shape, dtype=bool),
        listed_DN,
        marks,
        recipe.market.calendar,
        rules,
        recipe.costs,
        [Setting(capital) for capital in capitals],
    )
    cash_D = np.append(0.0, marks.cash_return[:-1])
    return dict(zip(rules, net_RSD - cash_D, strict=True))


def sharpe(net_D: Array) -> float:
    """Return the Sharpe ratio of a year."""
    return sharpe_ratio(net_D) * YEAR**0.5


def error(net_D: Array) -> float:
    """Return its standard error."""
    return sharpe_error_cautious(net_D, 10) * YEAR**0.5


def of_family(found: Mapping[str, Array], place: int) -> Array:
    """Return the net returns of the family at one capital, [rules, sessions]."""
    return np.stack([net_SD[place] for name, net_SD in found.items() if name != OWN])


def seeds_of(words: str) -> list[int]:
    """Return the seeds of `11-20` or `7`; none of an empty word."""
    if not words:
        return []
    first, _, last = words.partition("-")
    return list(range(int(first), int(last or first) + 1))


def progress(seed: int, start: float) -> None:
    """Show which seed is done."""
    print(f"seed {seed}: {time.process_time() - start:.0f} CPU s", file=sys.stderr, flush=True)


def choose(seeds: Sequence[int], recipe: str, keep: Path | None) -> None:
    """Print the rules with the largest sums of net Sharpe ratios."""
    sums: dict[str, Array] = {}
    for seed in seeds:
        start = time.process_time()
        for name, net_SD in returns_of(seed, recipe, GOAL, keep).items():
            sums[name] = sums.get(name, np.zeros(len(GOAL))) + [sharpe(net_D) for net_D in net_SD]
        progress(seed, start)
    print(f"sum of net Sharpe ratios on seeds {seeds[0]} to {seeds[-1]}")
    print(f"{'':<42}{'10 million':>12}{'100 million':>12}{'both':>8}")
    best = sorted(sums, key=lambda name: -float(sums[name].sum()))
    for name in dict.fromkeys([*best[: 2 * SHOWN], BEFORE, OWN]):
        print(f"{name:<42}{sums[name][0]:>12.2f}{sums[name][1]:>12.2f}{sums[name].sum():>8.2f}")


def prove(seeds: Sequence[int], recipe: str, keep: Path | None) -> None:
    """Print what the recipe's rule keeps of what is attainable."""
    total_own, total_best, total_before = (np.zeros(len(GOAL)) for _ in range(3))
    print(f"{'seed':<6}" + "".join(f"{'own':>9}{'attainable':>12}{'before':>9}" for _ in GOAL))
    for seed in seeds:
        start = time.process_time()
        found = returns_of(seed, recipe, GOAL, keep)
        line = f"{seed:<6}"
        for place in range(len(GOAL)):
            own, before = (sharpe(found[name][place]) for name in (OWN, BEFORE))
            best = attainable(of_family(found, place), lag=10).sharpe * YEAR**0.5
            total_own[place] += own
            total_best[place] += best
            total_before[place] += before
            line += f"{own:>9.2f}{best:>12.2f}{before:>9.2f}"
        print(line, flush=True)
        progress(seed, start)
    sums = zip(total_own, total_best, total_before, strict=True)
    print("sum   " + "".join(f"{own:>9.2f}{best:>12.2f}{was:>9.2f}" for own, best, was in sums))
    for capital, own, best in zip(GOAL, total_own, total_best, strict=True):
        print(f"{capital / 1e6:,.0f} million: {100 * own / best:.0f} % of the attainable")


def table(seed: int, recipe: str, keep: Path | None) -> None:
    """Print the best rules of one market at four capitals."""
    found = returns_of(seed, recipe, CAPITALS, keep)
    names = [name for name in found if name != OWN]
    for place, capital in enumerate(CAPITALS):
        best = attainable(of_family(found, place), lag=10)
        print(f"\nseed {seed}, {capital / 1e6:,.0f} million")
        print(f"attainable {best.sharpe * YEAR**0.5:.2f} ± {best.error * YEAR**0.5:.2f}")
        ranked = sorted(names, key=lambda name: -sharpe(found[name][place]))
        for name in dict.fromkeys([*ranked[:SHOWN], BEFORE, OWN]):
            net_D = found[name][place]
            print(f"{name:<42}{sharpe(net_D):>8.2f} ± {error(net_D):.2f}")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--choose", default="11-20")
    parser.add_argument("--prove", default="1-10")
    parser.add_argument("--table", default="7")
    parser.add_argument("--recipe", default="rolling_transformer")
    parser.add_argument("--keep", type=Path, default=None)
    asked = parser.parse_args()
    if asked.choose:
        choose(seeds_of(asked.choose), asked.recipe, asked.keep)
    if asked.prove:
        prove(seeds_of(asked.prove), asked.recipe, asked.keep)
    for seed in seeds_of(asked.table):
        table(seed, asked.recipe, asked.keep)


if __name__ == "__main__":
    main()
