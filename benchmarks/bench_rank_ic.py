"""Daily rank IC: ours beside polars, a loop over scipy, pandas, alphalens and qlib, data in memory.

2,514 sessions of about 1,750 names, one tenth of the pairs missing.  Every engine must first
give the same numbers (alphalens and qlib where they are installed; qlib's call computes the IC of
Pearson as well); then each is timed in turn, several rounds, and the median is shown.
Goal: at most 0.35 s, at least 4x scipy, not behind polars.

Run: python benchmarks/bench_rank_ic.py [rounds]
"""

import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from statistics import median

import numpy as np
import pandas as pd
import polars as pl
from scipy import stats

from alpha_assets.arrays.ranks import rank_ic

N_SESSIONS, N_SYMBOLS, MISSING = 2_514, 1_944, 0.1
OURS, ALPHALENS, QLIB = "alpha_assets.arrays.ranks", "alphalens", "qlib calc_ic"
Engine = Callable[[], np.ndarray]


def made_up_pairs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    score_DN = rng.standard_normal((N_SESSIONS, N_SYMBOLS)).astype(np.float32).astype(np.float64)
    label_DN = 0.05 * score_DN + rng.standard_normal(score_DN.shape)
    label_DN[rng.random(score_DN.shape) < MISSING] = np.nan
    return score_DN, label_DN


def engines(score_DN: np.ndarray, label_DN: np.ndarray) -> dict[str, Engine]:
    d, n = np.nonzero(~np.isnan(label_DN))
    pairs = {"session": d, "score": score_DN[d, n], "label": label_DN[d, n]}
    polars_pairs, pandas_pairs = pl.DataFrame(pairs), pd.DataFrame(pairs)

    def ours() -> np.ndarray:
        return rank_ic(score_DN, label_DN)

    def polars() -> np.ndarray:
        correlation = pl.corr(pl.col("score").rank(), pl.col("label").rank())
        found = polars_pairs.group_by("session").agg(ic=correlation).sort("session")
        return found["ic"].to_numpy()

    def scipy_loop() -> np.ndarray:
        found = np.empty(N_SESSIONS)
        for k in range(N_SESSIONS):
            paired_N = ~np.isnan(label_DN[k])
            found[k] = stats.spearmanr(score_DN[k, paired_N], label_DN[k, paired_N]).statistic
        return found

    def pandas() -> np.ndarray:
        ranks = pandas_pairs.groupby("session")[["score", "label"]].rank()
        by_session = ranks.groupby(pandas_pairs["session"])
        return by_session.apply(lambda pair: pair["score"].corr(pair["label"])).to_numpy()

    found: dict[str, Engine] = {
        OURS: ours,
        "polars rank + corr": polars,
        "scipy loop": scipy_loop,
        "pandas": pandas,
    }
    keys = {"date": pd.Timestamp("2014-01-01") + pd.to_timedelta(d, unit="D"), "asset": n}
    if find_spec("alphalens"):
        from alphalens.performance import factor_information_coefficient

        columns = {"1D": pairs["label"], "factor": pairs["score"], "factor_quantile": 1}
        as_wanted = pd.DataFrame(keys | columns).set_index(["date", "asset"])
        found[ALPHALENS] = lambda: factor_information_coefficient(as_wanted)["1D"].to_numpy()
    if find_spec("qlib"):
        from qlib.contrib.eva.alpha import calc_ic

        index = pd.MultiIndex.from_arrays([keys["date"], n], names=["datetime", "instrument"])
        score, label = (pd.Series(pairs[name], index=index) for name in ("score", "label"))
        found[QLIB] = lambda: calc_ic(score, label)[1].to_numpy()
    return found


def main(rounds: int) -> None:
    score_DN, label_DN = made_up_pairs()
    timed = engines(score_DN, label_DN)
    expected = timed["scipy loop"]()
    for name, engine in timed.items():
        np.testing.assert_allclose(engine(), expected, atol=1e-10, err_msg=name)
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(rounds):
        for name, engine in timed.items():
            start = time.perf_counter()
            engine()
            seconds[name].append(time.perf_counter() - start)
    own = median(seconds[OURS])
    print(f"rank IC, {N_SESSIONS:,} sessions x {N_SYMBOLS:,} names, median of {rounds}")
    for name, taken in seconds.items():
        print(f"{name:22} {median(taken):7.3f} s   {median(taken) / own:5.2f} x ours")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
