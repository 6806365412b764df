"""The as-of join beside pandas and polars: weekly feed rows onto daily panel rows.

    python benchmarks/bench_asof.py [--symbols 2000] [--sessions 2270] [--pairs 5]

Every engine joins the latest of a feed's six columns, and its age in sessions, onto the same
daily rows.  First the answers are compared, cell by cell; then the engines run in turn.  Data
is resident and the session at which each row becomes effective is computed before the clock
starts, for all alike; so is sorting, except for "pandas, as found", the form in which
pandas is mostly met.  Goal: at most 1.1 times the time of polars with a Categorical key,
at least 10 times as fast as pandas with its sorting.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import time as wall_time
from statistics import median

import numpy as np
import pandas as pd
import polars as pl

from alpha_assets.arrays.asof import latest_rows
from alpha_assets.calendar import Calendar, CalendarSpec
from alpha_assets.panel.asof import History, taken

VALUES = tuple(f"x{k}" for k in range(6))
CALENDAR = CalendarSpec(
    exchange="XTKS", zone="Asia/Tokyo", decision_time=wall_time(8, 30), sessions_per_year=245
)
AS_FOUND = "pandas merge_asof, as found"
MIN_AGAINST_PANDAS, MAX_AGAINST_POLARS = 10.0, 1.1


@dataclass(frozen=True)
class Case:
    """Daily rows and feed rows, as codes and as names."""

    calendar: Calendar
    first: int
    session_L: np.ndarray  # numbers of the daily rows' sessions, in (session, symbol) order
    code_L: np.ndarray
    past: History
    code_R: np.ndarray
    names: list[str]


def make_case(n_symbols: int, n_sessions: int, seed: int = 0) -> Case:
    """Return daily rows of 97 % of all cells and a feed row of each symbol about once a week."""
    rng = np.random.default_rng(seed)
    calendar = Calendar.load(CALENDAR)
    first = int(calendar.index_of("2012-01-04"))
    at_L, code_L = np.nonzero(rng.random((n_sessions, n_symbols)) < 0.97)
    # About every 4.4 sessions, at no fixed weekday: 1.0 million rows at the default size.
    at_R, code_R = np.nonzero(rng.random((n_sessions, n_symbols)) < 1 / 4.4)
    days = calendar.sessions[first + at_R]
    stamps = calendar.instant(calendar.sessions[first : first + n_sessions], wall_time(16, 30))
    frame = pl.DataFrame(
        {
            "event_date": days,
            "symbol": pl.Series([f"{n:05d}" for n in range(n_symbols)]).gather(code_R),
            **{name: rng.standard_normal(len(at_R)) for name in VALUES},
            "available_at": pl.Series(stamps[at_R]).dt.replace_time_zone("UTC"),
            "revision": np.zeros(len(at_R), dtype=np.int16),
        }
    )
    past = History.of(frame, calendar, first + n_sessions - 1, feed="weekly", by="symbol")
    names = [f"{n:05d}" for n in range(n_symbols)]
    known_code_R = past.frame["symbol"].cast(pl.Int64).to_numpy()
    return Case(calendar, first, first + at_L, code_L, past, known_code_R, names)


def ours(case: Case) -> Callable[[], pl.DataFrame]:
    """Return our join, in (session, symbol) order: the order of the panel."""
    span = range(case.first, int(case.session_L.max()) + 1)
    n_symbols = len(case.names)
    cell_L = (case.session_L - case.first) * n_symbols + case.code_L

    def join() -> pl.DataFrame:
        row_DK = latest_rows(case.past.effective_R, case.code_R, span, n_symbols)
        row_L = row_DK.ravel()[cell_L]
        return taken(case.past, row_L, case.session_L, feed="weekly", values=VALUES, max_stale=None)

    return join


def frames(case: Case, by_symbol: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return both sides with a Categorical key, sorted by (symbol, session) or the reverse."""
    key = pl.Enum(case.names)
    names = pl.Series(case.names)
    daily = pl.DataFrame({"session": case.session_L, "symbol": names.gather(case.code_L).cast(key)})
    feed = case.past.frame.select(*VALUES).with_columns(
        pl.Series("session", case.past.effective_R),
        pl.Series("effective", case.past.effective_R),
        names.gather(case.code_R).cast(key).alias("symbol"),
    )
    order = ["symbol", "session"] if by_symbol else ["session", "symbol"]
    categorical = pl.col("symbol").cast(pl.String).cast(pl.Categorical)
    sides = [side.sort(order).with_columns(categorical) for side in (daily, feed)]
    return sides[0], sides[1]


def in_polars(case: Case, by_symbol: bool) -> Callable[[], pl.DataFrame]:
    """Return polars' join_asof on a Categorical key."""
    daily, feed = frames(case, by_symbol)

    def join() -> pl.DataFrame:
        found = daily.join_asof(feed, on="session", by="symbol", check_sortedness=False)
        return found.with_columns(weekly_age=pl.col("session") - pl.col("effective"))

    return join


def in_pandas(case: Case) -> Callable[[], pd.DataFrame]:
    """Return pandas.merge_asof on what files hold: (symbol, session) rows, names as text.

    It wants both sides in order of session, so it sorts first and puts the rows back after.
    """
    daily, feed = (
        side.with_columns(pl.col("symbol").cast(pl.String)).to_pandas()
        for side in frames(case, by_symbol=True)
    )

    def join() -> pd.DataFrame:
        left = daily.sort_values("session", kind="stable")
        right = feed.sort_values("session", kind="stable")
        found = pd.merge_asof(left, right, on="session", by="symbol")
        found.index = left.index
        return found.assign(weekly_age=found["session"] - found["effective"]).sort_index()

    return join


def in_pandas_sorted(case: Case) -> Callable[[], pd.DataFrame]:
    """Return pandas.merge_asof alone, on rows sorted in advance and a Categorical key."""
    daily, feed = (side.to_pandas() for side in frames(case, by_symbol=False))

    def join() -> pd.DataFrame:
        found = pd.merge_asof(daily, feed, on="session", by="symbol")
        return found.assign(weekly_age=found["session"] - found["effective"])

    return join


def check(case: Case) -> int:
    """Compare all answers cell by cell; return how many cells there are."""
    wanted = [*VALUES, "weekly_age"]
    mine = ours(case)().cast({"weekly_age": pl.Float64}).fill_null(np.nan)
    order = pl.DataFrame({"session": case.session_L, "code": case.code_L}).hstack(mine)
    by_symbol = order.sort("code", "session").select(wanted).to_numpy()
    answers = {
        "polars": (in_polars(case, True)().select(wanted).to_numpy(), by_symbol),
        "pandas": (in_pandas(case)()[wanted].to_numpy(dtype=float), by_symbol),
        "pandas, sorted": (in_pandas_sorted(case)()[wanted].to_numpy(dtype=float), mine.to_numpy()),
    }
    for engine, (theirs, our) in answers.items():
        if not np.array_equal(theirs.astype(float), our, equal_nan=True):
            raise SystemExit(f"{engine} and ours do not give the same answer: no time is worth it")
    return by_symbol.size


def in_turn(
    one: Callable[[], object], other: Callable[[], object], pairs: int
) -> tuple[list[float], list[float]]:
    """Return the seconds of both, run in turn; who goes first alternates, and one pair is lost.

    Whoever follows finds warm memory or a full cache: that must not favour one side.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    for pair in range(pairs + 1):
        for side in (0, 1) if pair % 2 else (1, 0):
            start = time.perf_counter()
            (one, other)[side]()
            seconds[side].append(time.perf_counter() - start)
    return seconds[0][1:], seconds[1][1:]


def main() -> None:
    """Print a table of medians and of the ratios of the runs in turn."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--symbols", type=int, default=2_000)
    parser.add_argument("--sessions", type=int, default=2_270)
    parser.add_argument("--pairs", type=int, default=5)
    args = parser.parse_args()
    case = make_case(args.symbols, args.sessions)
    print(f"{len(case.session_L):,} daily rows x {len(case.code_R):,} feed rows, 6 columns + age")
    print(f"same answers in {check(case):,} cells of each engine\n")
    others: dict[str, Callable[[], object]] = {
        "polars join_asof, by symbol": in_polars(case, True),
        "polars join_asof, by session": in_polars(case, False),
        "pandas merge_asof, sorted": in_pandas_sorted(case),
        AS_FOUND: in_pandas(case),
    }
    join = ours(case)
    print(f"{'engine':<32}{'median ms':>10}{'ours ms':>10}{'x ours, median of pairs':>26}")
    ratios = {}
    for name, other in others.items():
        mine, theirs = in_turn(join, other, args.pairs)
        ratios[name] = median(b / a for a, b in zip(mine, theirs, strict=True))
        print(
            f"{name:<32}{1e3 * median(theirs):>10.0f}{1e3 * median(mine):>10.0f}"
            f"{ratios[name]:>26.2f}"
        )
    against_polars = 1 / min(ratio for name, ratio in ratios.items() if name.startswith("polars"))
    against_pandas = ratios[AS_FOUND]
    print(
        f"\nbar 8: {against_polars:.2f} x the time of the better polars form "
        f"(at most {MAX_AGAINST_POLARS}); {against_pandas:.1f} x as fast as pandas "
        f"(at least {MIN_AGAINST_PANDAS:.0f})"
    )


if __name__ == "__main__":
    main()
