"""The simulator beside pandas and vectorbt: weekly top/bottom 10 %, orders filled at the open.

    python benchmarks/bench_backtest.py [--symbols 2000] [--sessions 2520] [--pairs 5]
    python benchmarks/bench_backtest.py --only rules | default | all_held

First all engines follow the same rule on a market without halts, splits or limits: weights of
the equity at the close before, shares at the close before, fills at the open, 10 basis points
of what is traded.  Their equity curves are compared session by session before the clock
starts.  Then ours runs with all frictions, on raw rows with halts, splits, limits, dividends,
borrow fees and exits, and writes its books.

The kernel goes from resident arrays to an equity curve; ours writes its four tables as well.
Goals: at most 0.12 s, at least 60 times as fast as vectorbt when its code is
compiled; with all frictions and the books at least 10 times as fast as vectorbt
without them.  The room's own goal: under 2 s from raw rows to books.

`--only` prints one part alone, so that its peak memory is its own: `default`, the weekly tenths
of the default rule with all frictions; `all_held`, the same market with all names held in
proportion to their rank, half of the way a week; `rules`, the time of one decision of the rules
that weigh costs.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import time as wall_time
from functools import partial
from importlib.util import find_spec
from statistics import median

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from alpha_assets.arrays.keys import MAX_STALE
from alpha_assets.arrays.types import Array
from alpha_assets.backtest import CostsSpec, QuantileSpec
from alpha_assets.backtest.books import DAILY
from alpha_assets.backtest.market_data import Marks, marks_of
from alpha_assets.backtest.rebalances import targets_by_session
from alpha_assets.backtest.rules import (
    AimPortfolioSpec,
    Charges,
    CostAwareSpec,
    OptimisedSpec,
    RankWeightedSpec,
    Seen,
    aim_of,
    declared,
)
from alpha_assets.backtest.rules.dense import walk_over
from alpha_assets.backtest.simulator import backtest, simulate, walk
from alpha_assets.calendar import Calendar, CalendarSpec, as_date

CALENDAR = CalendarSpec(
    exchange="XTKS", zone="Asia/Tokyo", decision_time=wall_time(8, 30), sessions_per_year=245
)
LOOKBACK = 30  # sessions of bars before the books begin
FEE = 0.0010  # of traded notional, the same for all engines
ONE_FEE = CostsSpec(
    commission_bps=FEE * 1e4,
    half_spread_bps=0.0,
    impact_coefficient=0.0,
    borrow_fee_bps_annual=0.0,
)
ALL_COSTS = CostsSpec()
PORTFOLIO = QuantileSpec(horizon=5, quantile=0.1, rebalance="weekly", max_participation=None)
CAPPED = QuantileSpec(horizon=5, quantile=0.1, rebalance="weekly", max_participation=0.1)
MAX_KERNEL, MAX_WHOLE = 0.12, 2.0  # seconds
MIN_AGAINST_VECTORBT, MIN_WITH_FRICTIONS = 60.0, 10.0
SAME = 1e-9  # of equity


@dataclass(frozen=True)
class Case:
    """A market as raw rows, and what to hold on it."""

    calendar: Calendar
    raw: dict[str, pl.DataFrame]
    targets: pl.DataFrame
    sessions: NDArray[np.datetime64]  # of the books
    symbols: tuple[str, ...]

    def marks(self) -> Marks:
        """Return the market as arrays."""
        first, last = as_date(self.sessions[0]), as_date(self.sessions[-1])
        return marks_of(
            self.raw, self.symbols, self.calendar, first, last, basis="price", max_stale=MAX_STALE
        )


def make_case(n_symbols: int, n_sessions: int, *, frictions: bool, seed: int = 0) -> Case:
    """Return prices that wander, scores that know nothing, and weekly weights of both."""
    rng = np.random.default_rng(seed)
    calendar = Calendar.load(CALENDAR)
    first = int(calendar.index_of("2012-01-04"))
    days = calendar.sessions[first : first + LOOKBACK + n_sessions]
    shape = (len(days), n_symbols)
    symbols = [f"{n:05d}" for n in range(n_symbols)]
    night_DN, day_DN = (0.01 * rng.standard_normal(shape) for _ in range(2))
    factor_DN = np.ones(shape)
    is_there_DN = np.ones(shape, dtype=bool)
    if frictions:
        factor_DN[rng.random(shape) < 0.0004] = 0.5
        is_there_DN &= rng.random(shape) > 0.004
    level_DN = np.cumsum(night_DN + day_DN + np.log(factor_DN), axis=0)
    close_DN = 1_000 * np.exp(level_DN)
    open_DN = close_DN / np.exp(day_DN)
    high_DN, low_DN = np.maximum(open_DN, close_DN), np.minimum(open_DN, close_DN)
    d, n = np.nonzero(is_there_DN)
    stamps = pl.Series(calendar.instant(days, wall_time(16, 30))).dt.replace_time_zone("UTC")
    names = pl.Series(symbols)
    touched = 0.01 if frictions else 0.0
    bars = pl.DataFrame(
        {
            "event_date": days[d],
            "symbol": names.gather(n),
            "open": open_DN[d, n],
            "high": high_DN[d, n],
            "low": low_DN[d, n],
            "close": close_DN[d, n],
            "volume": 1e6 * rng.random(len(d)),
            "adjustment_factor": factor_DN[d, n],
            "upper_limit": rng.random(len(d)) < touched,
            "lower_limit": rng.random(len(d)) < touched,
            "available_at": stamps.gather(d),
            "revision": np.zeros(len(d), dtype=np.int16),
        }
    )
    raw = {"daily_bars": bars}
    if frictions:
        raw |= side_feeds(calendar, days, names, rng)
    sessions = days[LOOKBACK:]
    targets = weekly_targets(calendar, sessions, names, rng)
    return Case(calendar, raw, targets, sessions, tuple(symbols))


def side_feeds(
    calendar: Calendar,
    days: NDArray[np.datetime64],
    names: pl.Series,
    rng: np.random.Generator,
) -> dict[str, pl.DataFrame]:
    """Return dividends twice a year, monthly borrow fees and rates, and an exit of 5 % of names."""

    def rows(d: Array, n: Array, at: wall_time, **values: Array | list[str]) -> pl.DataFrame:
        stamps = pl.Series(calendar.instant(days, at)).dt.replace_time_zone("UTC")
        return pl.DataFrame(
            {
                "event_date": days[d],
                "symbol": names.gather(n),
                **values,
                "available_at": stamps.gather(d),
                "revision": np.zeros(len(d), dtype=np.int16),
            }
        )

    shape = (len(days), len(names))
    paid, quoted = (np.nonzero(rng.random(shape) < 1 / every) for every in (122, 20))
    n_gone = len(names) // 20
    gone = np.sort(rng.choice(np.arange(LOOKBACK, len(days)), n_gone))
    who = rng.choice(len(names), n_gone, replace=False)
    months = np.arange(0, len(days), 20)
    rates = rows(months, np.zeros_like(months), wall_time(18, 0)).drop("symbol")
    return {
        "dividends": rows(*paid, wall_time(0, 0), amount=np.full(len(paid[0]), 1.0)),
        "borrow": rows(*quoted, wall_time(18, 0), fee_bps_annual=900 * rng.random(len(quoted[0]))),
        "listings": rows(
            gone,
            who,
            wall_time(23, 0),
            exit=["delisted"] * n_gone,
            exit_return=np.full(n_gone, -0.3),
        ).with_columns(end=pl.col("event_date")),
        "rates": rates.with_columns(cash_rate_annual=pl.lit(0.01)),
    }


def weekly_targets(
    calendar: Calendar,
    sessions: NDArray[np.datetime64],
    names: pl.Series,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Return equal weights of the best and the worst tenth; other names have rows of 0."""
    when = sessions[calendar.rebalances(sessions, "weekly")]
    size = len(names) // 10
    place = np.argsort(rng.random((len(when), len(names))), axis=1)
    weight_DN = np.zeros(place.shape)
    np.put_along_axis(weight_DN, place[:, :size], 0.5 / size, axis=1)
    np.put_along_axis(weight_DN, place[:, -size:], -0.5 / size, axis=1)
    return pl.DataFrame(
        {
            "session": np.repeat(when, len(names)),
            "symbol": pl.concat([names] * len(when)),
            "target_weight": weight_DN.ravel(),
        }
    )


@dataclass(frozen=True)
class Dense:
    """The same market for engines that know no frictions: [D, N], NaN between rebalances."""

    open_DN: Array
    close_DN: Array
    before_DN: Array  # closes of the session before
    weight_DN: Array

    @classmethod
    def of(cls, case: Case, marks: Marks) -> "Dense":
        """Return prices as the marks have them, and the targets on the same axes."""
        weight_DN = np.full(marks.close.shape, np.nan)
        when = np.searchsorted(marks.sessions, case.targets["session"].unique().sort().to_numpy())
        weight_DN[when] = case.targets["target_weight"].to_numpy().reshape(len(when), -1)
        return cls(marks.open, marks.close, marks.known_close, weight_DN)


def ours(case: Case, marks: Marks) -> Callable[[], Array]:
    """Return our simulator from weights on arrays to everything that it keeps."""
    wanted = targets_by_session(case.targets, marks)
    place = DAILY.index("equity")

    def run() -> Array:
        return np.array([day[place] for day in walk(wanted, marks, PORTFOLIO, ONE_FEE).days])

    return run


def in_pandas(dense: Dense) -> Callable[[], Array]:
    """Return a loop over the rows of frames, as one writes it first."""
    opens, closes, before, weights = (
        pd.DataFrame(x_DN)
        for x_DN in (dense.open_DN, dense.close_DN, dense.before_DN, dense.weight_DN)
    )
    decides = weights.notna().any(axis=1)

    def run() -> Array:
        cash = equity = PORTFOLIO.capital
        shares = pd.Series(0.0, index=opens.columns)
        curve = []
        for d in opens.index:
            if decides[d]:
                wanted = weights.loc[d] * equity / before.loc[d]
                notional = (wanted - shares) * opens.loc[d]
                cash -= notional.sum() + FEE * notional.abs().sum()
                shares = wanted
            equity = cash + (shares * closes.loc[d]).sum()
            curve.append(equity)
        return np.array(curve)

    return run


def in_vectorbt(dense: Dense) -> Callable[[], Array] | None:
    """Return vectorbt's from_orders; None where it is not installed."""
    if find_spec("vectorbt") is None:
        return None
    import vectorbt

    opens, closes, before, weights = (
        pd.DataFrame(x_DN)
        for x_DN in (dense.open_DN, dense.close_DN, dense.before_DN, dense.weight_DN)
    )

    def run() -> Array:
        made = vectorbt.Portfolio.from_orders(
            closes,
            size=weights,
            size_type="targetpercent",
            price=opens,
            val_price=before,
            fees=FEE,
            init_cash=PORTFOLIO.capital,
            cash_sharing=True,
            group_by=True,
            freq="D",
        )
        return np.asarray(made.value().to_numpy(), dtype=np.float64)

    return run


def seconds(work: Callable[[], object]) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def print_same_rule(case: Case, pairs: int) -> float | None:
    """Print the kernels side by side; return vectorbt's seconds."""
    marks = case.marks()
    dense = Dense.of(case, marks)
    engines: dict[str, Callable[[], Array] | None] = {
        "ours": ours(case, marks),
        "pandas": in_pandas(dense),
        "vectorbt, compiled": in_vectorbt(dense),
    }
    curve = ours(case, marks)()
    times: dict[str, list[float]] = {}
    print(f"{'same rule, one fee':<34}{'seconds':>9}{'x ours':>8}   equity differs by")
    for engine in engines.values():  # once for the compiler, and for the answer
        if engine is not None:
            difference = float(np.max(np.abs(engine() / curve - 1)))
            assert difference < SAME, f"an engine's equity differs by {difference}"
    for _ in range(pairs):
        for name, engine in engines.items():
            if engine is not None:
                times.setdefault(name, []).append(seconds(engine))
    for name, engine in engines.items():
        if engine is None:
            print(f"{name:<34}{'not installed':>17}")
            continue
        ratio = median(t / o for t, o in zip(times[name], times["ours"], strict=True))
        difference = float(np.max(np.abs(engine() / curve - 1)))
        print(f"{name:<34}{median(times[name]):>9.3f}{ratio:>8.1f}   {difference:.0e}")
    kernel = median(times["ours"])
    print(f"goal: ours at most {MAX_KERNEL} s: {verdict(kernel <= MAX_KERNEL)}")
    found = times.get("vectorbt, compiled")
    if not found:
        return None
    ratio = median(f / o for f, o in zip(found, times["ours"], strict=True))
    print(f"goal: at least {MIN_AGAINST_VECTORBT:g} x vectorbt: {verdict(ratio >= 60)}")
    return median(found)


def print_all_frictions(case: Case, pairs: int, vectorbt: float | None) -> None:
    """Print ours with everything that a market does, from raw rows to books."""
    first, last = as_date(case.sessions[0]), as_date(case.sessions[-1])
    marks = case.marks()
    books = simulate(case.targets, marks, CAPPED, ALL_COSTS)
    print(f"\n{'all frictions':<34}{'seconds':>9}")
    read = [seconds(case.marks) for _ in range(pairs)]
    kept = [seconds(lambda: simulate(case.targets, marks, CAPPED, ALL_COSTS)) for _ in range(pairs)]
    whole = [
        seconds(
            lambda: backtest(
                case.targets,
                case.raw,
                case.calendar,
                first=first,
                last=last,
                portfolio=CAPPED,
                costs=ALL_COSTS,
                basis="price",
                max_stale=MAX_STALE,
            )
        )
        for _ in range(pairs)
    ]
    print(f"{'raw rows to marks':<34}{median(read):>9.3f}")
    print(f"{'targets and marks to books':<34}{median(kept):>9.3f}")
    print(f"{'raw rows and targets to books':<34}{median(whole):>9.3f}")
    rows = ", ".join(
        f"{getattr(books, name).height:,} {name}" for name in ("positions", "trades", "marks")
    )
    print(f"rows written: {rows}")
    print(f"goal: raw rows to books under {MAX_WHOLE} s: {verdict(median(whole) < MAX_WHOLE)}")
    if vectorbt is not None:
        ratio = vectorbt / median(kept)
        met = verdict(ratio >= MIN_WITH_FRICTIONS)
        print(f"goal: {MIN_WITH_FRICTIONS:g} x vectorbt without frictions: {ratio:.1f}, {met}")


def all_held_targets(case: Case, seed: int = 0) -> pl.DataFrame:
    """Return all names in proportion to their rank, half of the way from week to week."""
    rng = np.random.default_rng([seed, 1])
    spec = RankWeightedSpec(rule="rank_weighted", horizon=5, step=0.5)
    shape = (len(case.sessions), len(case.symbols))
    due = np.flatnonzero(case.calendar.rebalances(case.sessions, "weekly")).tolist()
    score_DN, nothing_DN = rng.standard_normal(shape), np.zeros(shape, dtype=bool)
    held = walk_over(score_DN, nothing_DN, ~nothing_DN, due, spec).weights
    names = pl.Series(case.symbols)
    return pl.DataFrame(
        {
            "session": np.repeat(case.sessions[due], len(names)),
            "symbol": pl.concat([names] * len(due)),
            "target_weight": np.concatenate([held[d] for d in due]),
        }
    )


def print_books(case: Case, targets: pl.DataFrame, pairs: int) -> None:
    """Print how long the books of some targets take on a market with all frictions."""
    marks = case.marks()
    books = simulate(targets, marks, CAPPED, ALL_COSTS)
    kept = [seconds(lambda: simulate(targets, marks, CAPPED, ALL_COSTS)) for _ in range(pairs)]
    print(f"{'targets and marks to books':<34}{median(kept):>9.3f}")
    print(f"rows written: {books.positions.height:,} positions, {books.trades.height:,} trades")


def print_rules(n: int, pairs: int) -> None:
    """Print how long one decision takes of the rules that weigh costs, from what is held."""
    rng, unknown_N = np.random.default_rng(0), np.full(n, np.nan)
    return_TN = 0.01 * rng.standard_normal((252, 1)) * rng.normal(1, 0.3, n)
    return_TN += 0.02 * rng.standard_normal((252, n))
    seen = Seen(
        session="2023-06-05",
        score_N=rng.standard_normal(n),
        held_N=rng.standard_normal(n) / n,
        is_barred_N=rng.random(n) < 0.05,
        sector_N=rng.integers(0, 11, n),
        volatility_N=unknown_N,
        beta_N=unknown_N,
        regime={},
        return_TN=return_TN,
        charges=Charges.of(ALL_COSTS, 1e8, rng.lognormal(17, 1, n), unknown_N, return_TN),
        worth=declared(30.0),
    )
    specs: list[OptimisedSpec] = [
        AimPortfolioSpec(rule="aim_portfolio", horizon=5, max_weight=0.02),
        CostAwareSpec(rule="cost_aware", horizon=5, max_weight=0.02),
        CostAwareSpec(
            rule="cost_aware", horizon=5, max_weight=0.02, max_sector=0.2, max_turnover=0.3
        ),
    ]
    print(f"{'one decision of ' + format(n, ',') + ' names':<44}{'seconds':>9}{'CPU s':>9}")
    for spec in specs:
        aim = aim_of(seen, spec)  # once for what is imported
        used = time.process_time()
        took = [seconds(partial(aim_of, seen, spec)) for _ in range(pairs)]
        used = (time.process_time() - used) / pairs
        words = spec.kind + (", sectors and turnover capped" if spec.max_sector else "")
        held = np.count_nonzero(aim.weight_N)
        print(f"{words:<44}{median(took):>9.3f}{used:>9.3f}   {held} held {aim.for_all}")


def verdict(met: bool) -> str:
    """Return whether a goal is met, in a word."""
    return "met" if met else "MISSED"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--symbols", type=int, default=2_000)
    parser.add_argument("--sessions", type=int, default=2_520)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", choices=("default", "all_held", "rules"))
    wanted = parser.parse_args()
    print(f"{wanted.symbols:,} symbols x {wanted.sessions:,} sessions, median of {wanted.pairs}\n")
    size = (wanted.symbols, wanted.sessions)
    if wanted.only == "rules":
        print_rules(wanted.symbols, wanted.pairs)
    elif wanted.only:
        case = make_case(*size, frictions=True)
        targets = case.targets if wanted.only == "default" else all_held_targets(case)
        print_books(case, targets, wanted.pairs)
    else:
        vectorbt = print_same_rule(make_case(*size, frictions=False), wanted.pairs)
        print_all_frictions(make_case(*size, frictions=True), wanted.pairs, vectorbt)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"load of the last minutes: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"peak memory of the process, data included: {peak:,.0f} MiB")


if __name__ == "__main__":
    main()
