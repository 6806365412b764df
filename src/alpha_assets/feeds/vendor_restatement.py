"""A folder's prices carry later splits; the store's carry those that were known at the time.

A vendor who adjusts prices divides the whole past of a symbol when it splits.  Bars are read as
they first became available, so the bar of the split's ex-date follows one on the old level, and
the factor between the two is not in the delivery: there, both already lie on the new level.

By how much the past was restated since the delivery before is read from all bars that both hold:
four prices and the volume of each.  Where they do not agree on a ratio, the symbol's delivery is
stopped, by name: a level taken as 1 would turn a split into a return.
Shape letter: K bars of one symbol that are stored and delivered again.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Array, Index
from alpha_assets.feeds.base import Feed
from alpha_assets.feeds.validation import PRICES
from alpha_assets.store.raw import RawTable

LAST = " last"
# Ratios of two bars that lie closer together than this are one, put apart by the vendor's rounding.
ROUNDED = 0.01
COARSE = 0.02  # relative step of rounding from which on one price that fits is chance
SHARP = 1e-3  # and below which a single price that fits a simple ratio is none
UNSURE = 0.005  # relative error of a ratio from which on it must be a simple one
CORRECTED = 0.02  # a bar whose prices all moved by less, each for itself, was corrected
FEW = 3  # bars: what a correction may reach
MOVED = 0.1  # share of coarse prices that moved, from which on they were restated
MOST = 0.8  # share of coarse prices whose rounding allows the ratio of the volumes
# Shares after a split per share before, and the other way round.
_SIMPLE = sorted(
    {(p, q) for p in range(1, 21) for q in range(1, 21) if np.gcd(p, q) == 1 and p != q}
    | {(1, q) for q in (25, 30, 40, 50, 75, 100, 1000)}
    | {(p, 1) for p in (25, 30, 40, 50, 75, 100, 1000)},
    key=lambda ratio: (ratio[0] + ratio[1], ratio),
)
_LOG_SIMPLE = np.log([p / q for p, q in _SIMPLE])


class OnLevels(NamedTuple):
    """Bars with their levels, and the symbols whose levels cannot be read.

    Attributes:
        bars: with `level`, and with factors between the levels at which bars were first known.
        stopped: symbol -> why none of its rows of this delivery can be stored.
        remarks: what was decided of bars that fit no ratio.
    """

    bars: pl.DataFrame
    stopped: Mapping[str, str]
    remarks: tuple[str, ...]


class Steps(NamedTuple):
    """By which ratio each bar was restated since it was last stored; None: it cannot be read."""

    step_K: Array | None
    why: str = ""


def on_first_levels(bars: pl.DataFrame, table: RawTable, feed: Feed) -> OnLevels:
    """Return bars with their levels and with factors between the levels of first revisions.

    level[T] = level of the last stored revision · ratio by which the bar was restated since

    factor'[T] = factor[T] · level[T-1] / level[T], the level of a new bar being 1

    So the adjusted return over the ex-date of a split that came between two deliveries is the
    vendor's, and the factor of a stored bar stays what it was.  A corrected price moves no level.

    Args:
        bars: as delivered, with the factor between neighbouring rows of the delivery.
        table: the stored bars.
        feed: theirs, for the tolerance within which a price is the same.
    """
    if not table.months():
        return OnLevels(bars, {}, ())
    stored = _stored(table)
    known = bars.join(
        stored, on=["symbol", "event_date"], how="left", maintain_order="left"
    ).with_columns(pl.lit(1.0).alias("step"))
    stopped: dict[str, str] = {}
    remarks: list[str] = []
    steps = []
    for symbol, part in _moved(known, feed.tolerance):
        found = steps_of(part, feed.tolerance)
        if found.step_K is None:
            stopped[symbol] = found.why
            continue
        if found.why:
            remarks.append(f"{symbol}: {found.why}")
        steps.append(part.select("symbol", "event_date").with_columns(new=found.step_K))
    if steps:
        known = known.join(
            pl.concat(steps), on=["symbol", "event_date"], how="left", maintain_order="left"
        ).with_columns(pl.col("new").fill_null(1.0).alias("step"))
    known = known.filter(~pl.col("symbol").is_in(list(stopped)))
    has_price = pl.col("close").is_not_null()
    level = pl.col(f"level{LAST}").fill_null(1.0) * pl.col("step")
    # Where nothing was traded the level is that of the bar before.
    before = pl.col("level").forward_fill().shift(1).over("symbol", order_by="event_date")
    move = pl.col("before") / pl.col("level")
    is_moved = ((move - 1).abs() > 1e-9).fill_null(False)
    # The bar before the first of a delivery is only stored: to a stored bar its factor is known,
    # to a new one it is what the last stored bar was restated by.
    begins = known.filter(has_price).group_by("symbol").agg(pl.col("event_date").min().alias("of"))
    ended = _levels_before(stored, begins)
    known = known.join(begins, on="symbol", how="left", maintain_order="left").join(
        ended, on="symbol", how="left", maintain_order="left"
    )
    is_first = pl.col("event_date") == pl.col("of")
    is_stored = pl.col("is_stored").fill_null(False)
    before_first = pl.when(is_first & ~is_stored).then(pl.col("ended"))
    delivered = pl.col("adjustment_factor")
    is_silent = is_first & is_stored & (delivered.fill_null(1.0) == 1.0)
    known = known.with_columns(
        pl.when(is_silent & pl.col("ended").is_not_null())
        .then(pl.col(f"adjustment_factor{LAST}"))
        .otherwise(delivered)
        .alias("adjustment_factor")
    )
    factor = pl.col("adjustment_factor")
    return OnLevels(
        known.with_columns(pl.when(has_price).then(level).alias("level"))
        .with_columns(pl.coalesce(before, before_first).alias("before"))
        .with_columns(
            pl.when(is_moved).then(factor.fill_null(1.0) * move).otherwise(factor),
            pl.when(pl.col("is_stored")).then(pl.col("level")).alias("level"),
        )
        .select(bars.columns),
        stopped,
        tuple(remarks),
    )


def steps_of(bars: pl.DataFrame, tolerance: float) -> Steps:
    """Return by which ratio each bar of one symbol was restated since it was last stored.

    A ratio is what at least two prices share within their rounding, or one price if it is a
    simple ratio such as 1 / 2.  Each bar takes the ratio that most of its prices and its volume
    fit.  A bar that fits none takes that of its neighbours: a split restates every earlier bar.

    Args:
        bars: K bars in the order of their dates, all with prices, delivered and (` last`) stored.
        tolerance: relative; prices closer than that are the same.
    """
    new_K4 = bars.select(PRICES).to_numpy()
    old_K4 = bars.select(f"{price}{LAST}" for price in PRICES).to_numpy()
    log_K4 = np.log(new_K4 / old_K4)
    error_K4 = 0.5 * (_tick(new_K4) / new_K4 + _tick(old_K4) / old_K4) + 2 * tolerance
    volume = bars["volume"].fill_null(0.0).to_numpy()
    volume_last = bars[f"volume{LAST}"].fill_null(0.0).to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        volume_K = np.log(volume_last / volume)
        volume_K[~np.isfinite(volume_K)] = np.nan
        volume_error_K = 0.5 / volume + 0.5 / volume_last + 1e-4
    seen = _Seen(new_K4, old_K4, log_K4, error_K4, volume_K, volume_error_K)
    ratios = [0.0]
    pool_K = (np.abs(log_K4) <= error_K4).sum(axis=1) < 2
    middle_K = np.median(log_K4, axis=1)
    is_moved = (np.abs(log_K4) > tolerance).mean() > MOVED or seen.by_volume is not None
    if error_K4.max() > COARSE and is_moved:
        coarse = _coarse_ratio(seen)
        if isinstance(coarse, Steps):
            return coarse
        ratios.append(coarse)
        pool_K = (np.abs(log_K4 - coarse) > error_K4).all(axis=1)
    while pool_K.any() and len(ratios) < 9:
        rows = np.flatnonzero(pool_K)
        order = rows[np.argsort(middle_K[rows], kind="stable")]
        centre = middle_K[order[(len(order) - 1) // 2]]
        width = np.maximum(ROUNDED, error_K4.max(axis=1))
        near = rows[np.abs(middle_K[rows] - centre) <= width[rows]]
        pool_K[near] = False
        is_prefix = bool((near == np.arange(len(near))).all())
        if len(near) < FEW and 2 * len(near) < len(pool_K) and not is_prefix:
            continue  # a lone bar among others is no split
        found = seen.ratio(near)
        if found is None:
            continue
        ratio, error = found
        if error > UNSURE:
            return _too_coarse(ratio, error)
        if all(abs(ratio - other) > ROUNDED for other in ratios[1:]):
            ratios.append(ratio)
    return _fitted(seen, np.array(ratios), middle_K, bars["event_date"])


def _coarse_ratio(seen: "_Seen") -> "float | Steps":
    """Return the ratio (log) of a symbol whose prices are a few steps of rounding each.

    Nearly every ratio lies within the rounding of single prices: all of them are taken together,
    and the volumes, where they moved alike, have the last word.
    """
    found = seen.ratio(np.arange(len(seen.log_K4)))
    by_volume = seen.by_volume
    if by_volume is not None:
        within = (np.abs(seen.log_K4 - by_volume) <= seen.error_K4).mean()
        if within < MOST:
            return Steps(
                None,
                f"its volumes imply that its past was restated by {np.exp(by_volume):.4g}, and "
                "its prices do not",
            )
        return _simple(by_volume, 1e-3)
    if found is None:
        return Steps(None, "its prices were restated by no ratio that they share")
    ratio, error = found
    if error > UNSURE or abs(ratio) <= 3 * error:
        return _too_coarse(ratio, error)
    return ratio


def _too_coarse(ratio: float, error: float) -> Steps:
    low, high = np.exp(ratio - 3 * error), np.exp(ratio + 3 * error)
    return Steps(
        None,
        f"its past was restated by a ratio between {low:.4g} and {high:.4g}, and prices rounded "
        "so coarsely do not determine which",
    )


class _Seen(NamedTuple):
    """Prices of one symbol as delivered and as stored, the logarithms of their ratios."""

    new_K4: Array
    old_K4: Array
    log_K4: Array
    error_K4: Array  # of `log`, from rounding
    volume_K: Array  # logarithm of the price ratio that the volumes imply; NaN without
    volume_error_K: Array

    @property
    def by_volume(self) -> float | None:
        """The ratio of prices (log) that most volumes imply, where they moved alike."""
        finite = self.volume_K[np.isfinite(self.volume_K)]
        implied = float(np.median(finite)) if len(finite) else 0.0
        alike = (np.abs(self.volume_K - implied) <= ROUNDED).mean()
        return implied if abs(implied) > ROUNDED and alike >= 0.5 else None

    def ratio(self, rows: Index) -> tuple[float, float] | None:
        """Return the ratio that most prices of some bars share (log), and its error."""
        logs, errors = self.log_K4[rows].ravel(), self.error_K4[rows].ravel()
        sample = logs[:400]
        count = (np.abs(logs[None, :] - sample[:, None]) <= errors[None, :]).sum(axis=1)
        apart = np.abs(_LOG_SIMPLE[None, :] - sample[:, None])
        is_simple = np.asarray(apart.min(axis=1) <= 2e-5)
        middle = np.median(logs)
        best = np.lexsort((np.abs(sample - middle), ~is_simple, -count))[0]
        is_sharp = is_simple[best] and errors[best] < SHARP
        if count[best] < 2 and not is_sharp:
            return None
        inside = np.abs(logs - sample[best]) <= 2 * errors
        new, old = self.new_K4[rows].ravel()[inside], self.old_K4[rows].ravel()[inside]
        if errors[inside].max() < SHARP:
            centre = float(np.median(logs[inside]))
            error = float(np.median(np.abs(logs[inside] - centre))) + 1e-6
        else:
            centre = float(np.log(new.sum() / old.sum()))
            # Errors of rounding average out only over prices that stand at different steps.
            distinct = min(len(np.unique(new)), len(np.unique(old)))
            error = float((errors[inside] * new).sum() / new.sum() / np.sqrt(3 * distinct)) + 1e-6
        volumes, volume_errors = self.volume_K[rows], self.volume_error_K[rows]
        if error > 1e-4 and np.isfinite(volumes).any():
            implied = float(np.nanmedian(volumes))
            agree = np.abs(volumes - implied) <= volume_errors
            if agree.mean() >= 0.5 and abs(implied - centre) <= 3 * error:
                centre, error = implied, float(np.median(volume_errors[agree])) + 1e-6
        if error <= UNSURE:
            return _simple(centre, 3 * error), error
        few = [
            log
            for log, (p, q) in zip(_LOG_SIMPLE, _SIMPLE, strict=True)
            if abs(log - centre) <= 3 * error and (max(p, q) <= 10 or min(p, q) == 1)
        ]
        return (float(few[0]), 1e-6) if len(few) == 1 else (centre, error)


def _fitted(seen: _Seen, ratios: Array, middle_K: Array, dates: pl.Series) -> Steps:
    """Return the ratio of each bar: what it fits, else that of its neighbours."""
    fits_RK = np.stack(
        [(np.abs(seen.log_K4 - ratio) <= seen.error_K4).sum(axis=1) for ratio in ratios]
    )
    needed_K = np.where(seen.error_K4.max(axis=1) > COARSE, 2, 1)
    with np.errstate(invalid="ignore"):
        by_volume_RK = np.abs(seen.volume_K - ratios[:, None]) <= seen.volume_error_K
    score_RK = np.where(fits_RK >= needed_K, fits_RK + by_volume_RK, 0)
    best_K = score_RK.argmax(axis=0)
    top_K = score_RK.max(axis=0)
    tied_K = (score_RK == top_K).sum(axis=0) > 1
    choice_K = np.where((top_K > 0) & ~tied_K, best_K, -1)
    for start, stop, left, right in _runs(choice_K):
        lone = left is not None and left == right
        newest = right is None and left is not None and ratios[left] == 0 != ratios[choice_K[start]]
        if (lone or newest) and (choice_K[start:stop] >= 0).sum() <= FEW:
            choice_K[start:stop] = -1  # corrected, not restated: what is older was not
    known = np.flatnonzero(choice_K >= 0)
    if not len(known):
        if np.abs(seen.log_K4).max() <= CORRECTED:
            return Steps(np.ones(len(middle_K)), "every stored bar was corrected")
        return Steps(None, "no two of its prices moved by one ratio since they were stored")
    odd = []
    for k in np.flatnonzero(choice_K < 0).tolist():
        earlier, later = known[known < k], known[known > k]
        options = {int(choice_K[later[0]])} if len(later) else {0}
        if len(earlier):
            options.add(int(choice_K[earlier[-1]]))
        elif not len(later):
            options = {0}
        apart = sorted((abs(middle_K[k] - ratios[option]), option) for option in options)
        if len(apart) > 1 and apart[0][0] * 3 > apart[1][0]:
            words = " and ".join(f"{np.exp(ratios[option]):.4g}" for _, option in apart)
            return Steps(
                None,
                f"its prices were restated, and the bar of {dates[k]} moved by "
                f"{np.exp(middle_K[k]):.4g}: of the ratios around it, {words}, either may be meant",
            )
        choice_K[k] = apart[0][1]
        if apart[0][0] > ROUNDED:
            odd.append(f"{dates[k]} ({np.exp(middle_K[k]):.4g})")
    log_K = ratios[choice_K]
    after_none = (np.cumsum(log_K == 0) > 0) & (log_K != 0)
    if after_none.any():
        k = int(after_none.argmax())
        return Steps(
            None,
            f"bars from {dates[k]} on were restated by {np.exp(log_K[k]):.4g} and earlier ones "
            "were not, which no split does",
        )
    why = f"bars that moved by another ratio are taken as corrected: {', '.join(odd[:3])}"
    exact = {float(log): p / q for log, (p, q) in zip(_LOG_SIMPLE, _SIMPLE, strict=True)}
    step_K = np.array([exact.get(float(log), float(np.exp(log))) for log in ratios])[choice_K]
    return Steps(step_K, why if odd else "")


def _runs(choice_K: Index) -> Iterator[tuple[int, int, int | None, int | None]]:
    """Yield runs of bars with one choice, undecided ones counting with those before."""
    known = np.flatnonzero(choice_K >= 0)
    if not len(known):
        return
    starts = known[np.append(True, np.diff(choice_K[known]) != 0)]
    stops = np.append(starts[1:], len(choice_K))
    values = choice_K[starts].copy()
    for n, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        left = int(values[n - 1]) if n else None
        right = int(values[n + 1]) if n + 1 < len(values) else None
        yield int(start), int(stop), left, right


def _simple(log_ratio: float, error: float) -> float:
    """Return the simplest ratio of whole numbers within an error, else what is given (logs)."""
    near = np.abs(_LOG_SIMPLE - log_ratio) <= error
    return float(_LOG_SIMPLE[near.argmax()]) if near.any() else float(log_ratio)


def _tick(prices: Array) -> float:
    """Return the smallest step of decimal prices; 0 where they are not rounded."""
    for decimals in range(5):
        scaled = prices * 10.0**decimals
        if (np.abs(scaled - np.round(scaled)) <= 1e-9 * np.maximum(scaled, 1.0)).all():
            return float(10.0**-decimals)
    return 0.0


def _stored(table: RawTable) -> pl.DataFrame:
    """Return prices, volume and level of the last revision of each bar.

    A revision that was stored before levels were has the ratio by which its four prices moved
    alike since the first one.
    """
    names = (*PRICES, "volume", "level", "adjustment_factor")
    place = ["symbol", "event_date"]
    last = table.latest().select(*place, "revision", *names).collect()
    silent = (pl.col("revision") > 0) & pl.col("level").is_null()
    if last.select(silent.any()).item():
        first = table.first_effective().select(*place, *[pl.col(p).alias(f"{p} 0") for p in PRICES])
        ratios = [pl.col(p) / pl.col(f"{p} 0") for p in PRICES]
        alike = pl.max_horizontal(ratios) <= pl.min_horizontal(ratios) * (1 + ROUNDED)
        level = pl.when(silent & alike).then(ratios[3]).otherwise(pl.col("level"))
        last = last.join(first.collect(), on=place, how="left").with_columns(level.alias("level"))
    return last.select(
        *place,
        pl.lit(True).alias("is_stored"),
        *[pl.col(name).alias(f"{name}{LAST}") for name in names],
    )


def _levels_before(stored: pl.DataFrame, begins: pl.DataFrame) -> pl.DataFrame:
    """Return the level `ended` of each symbol's last stored bar before a date.

    Args:
        stored: as `_stored` returns them.
        begins: `symbol` and the date, `of`.
    """
    older = stored.join(begins, on="symbol").filter(
        (pl.col("event_date") < pl.col("of")) & pl.col(f"close{LAST}").is_not_null()
    )
    return (
        older.sort("event_date")
        .group_by("symbol")
        .agg(pl.col(f"level{LAST}").fill_null(1.0).last().alias("ended"))
    )


def _moved(known: pl.DataFrame, tolerance: float) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield the symbols of which a stored price or volume moved, with all their stored bars."""
    both = known.filter(
        pl.col("is_stored"),
        pl.all_horizontal(pl.col(p).is_not_null() for p in PRICES),
        pl.all_horizontal(pl.col(f"{p}{LAST}").is_not_null() for p in PRICES),
    )
    apart = [
        ((pl.col(n) - pl.col(f"{n}{LAST}")).abs() > tolerance * pl.col(f"{n}{LAST}").abs())
        for n in (*PRICES, "volume")
    ]
    moved = both.filter(pl.any_horizontal(apart))["symbol"].unique()
    rows = both.filter(pl.col("symbol").is_in(moved.implode())).sort("symbol", "event_date")
    for part in rows.partition_by("symbol", maintain_order=True):
        yield part["symbol"][0], part
