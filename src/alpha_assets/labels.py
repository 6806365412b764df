"""What a model is asked to foresee: returns after the decision, and forms of them to train on.

The label of D with horizon h is read from bars up to D + h, counted on the market's sessions.
It is known at D + h; training at M0 requires D + h < M0.
Shape letters: D sessions, N symbols, H horizons, R rows.
"""

from collections.abc import Sequence
from datetime import date
from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field, field_validator

from alpha_assets.arrays.ranks import average_rank
from alpha_assets.arrays.types import Array, Index
from alpha_assets.calendar import Calendar
from alpha_assets.errors import BadInput, RangeError
from alpha_assets.panel.lives import births, judged_by_life, plain_symbol
from alpha_assets.panel.revised import LEVEL, bar_revisions
from alpha_assets.spec import Spec

LabelKind = Literal["return", "rank_normal", "excess", "sector", "vol_scaled"]
Entry = Literal["open", "close"]

VOLATILITY_SESSIONS = 60  # that the volatility of `vol_scaled` looks back

LABEL_SCHEMA = {
    "session": pl.Date,
    "symbol": pl.String,
    "horizon": pl.Int16,
    "label": pl.Float64,
}


class LabelSpec(Spec):
    """Declared under `[label]` in a recipe: what is predicted, how far ahead, from which price."""

    kind: LabelKind = "rank_normal"
    """What training fits: the return itself, its normal score in the session, its excess over
    the session's or the sector's mean, or the return over the symbol's own volatility;
    evaluation is always on returns.
    """
    horizons: tuple[int, ...] = Field(min_length=1)
    """Sessions from entry to exit, ascending."""
    entry: Entry = "open"
    """The auction of D at which a position is taken."""

    @field_validator("horizons")
    @classmethod
    def _ascend_from_one(cls, horizons: tuple[int, ...]) -> tuple[int, ...]:
        if horizons[0] < 1 or list(horizons) != sorted(set(horizons)):
            raise ValueError(
                f"horizons = {list(horizons)}; want sessions of at least 1, ascending, each once: "
                "a label that ends at its decision or before would be known already"
            )
        return horizons


def longest_horizon(label: LabelSpec) -> int:
    """Return the sessions after which every label of a session is known: what is purged."""
    return max(label.horizons)


def forward_returns(
    bars: pl.DataFrame | pl.LazyFrame,
    calendar: Calendar,
    horizons: Sequence[int],
    entry: Entry,
    first: date,
    last: date,
    *,
    known_by: date | None = None,
    listings: pl.DataFrame | pl.LazyFrame | None = None,
) -> pl.DataFrame:
    """Return what a position entered at D and left h sessions later would have earned.

    price[D + h] / (price[D] · product of the factors with ex-dates in (D, D + h]) - 1

    Args:
        bars: raw rows of `daily_bars`, revisions included; the last revision of a bar counts,
            on the level of its first one.
        calendar: of the market.
        horizons: sessions, each at least 1.
        entry: `open` of D to `open` of D + h, or `close` to `close`.
        first: first decision session wanted.
        last: last one.
        known_by: only rows effective by this session exist: who trains at M0 passes M0, so that
            a bar or a correction that arrives later cannot change what was trained.
            None: all the rows given, which is what evaluation reads.
        listings: raw events, from which two lives of one symbol are known; a position does not
            reach from one into the other.

    Returns:
        `session`, `symbol`, `horizon`, `label` (a fraction, null if the price of D + h is
        missing), sorted; without rows where the price of D itself is missing.

    Raises:
        RangeError: a horizon below 1.
    """
    wanted = sorted(set(horizons))
    if not wanted:
        raise RangeError("no horizon was asked for; want at least one, such as 10")
    _refuse_looking_back(wanted[0])
    sessions = calendar.between(first, last)
    if not len(sessions):
        return pl.DataFrame(schema=LABEL_SCHEMA)
    until = len(calendar.sessions) - 1
    if known_by is not None:
        until = int(calendar.index_of(known_by))
    start = int(calendar.index_of(sessions[0]))
    reach = range(start, start + len(sessions) + wanted[-1])
    bars = judged_by_life(bars.lazy(), births(listings, calendar, until))
    price_DN, factor_DN, symbols = _grids(bars, calendar, until, reach, entry)

    n = len(sessions)
    now_DN = price_DN[:n]
    label_DNH = np.empty((*now_DN.shape, len(wanted)))
    moved_DN = np.ones_like(now_DN)
    done = 0
    for place, h in enumerate(wanted):
        for step in range(done + 1, h + 1):
            moved_DN *= factor_DN[step : step + n]
        done = h
        label_DNH[..., place] = price_DN[h : h + n] / (now_DN * moved_DN) - 1
    at_R, symbol_R = np.nonzero(~np.isnan(now_DN))
    n_horizons = len(wanted)
    return pl.DataFrame(
        {
            "session": np.repeat(sessions[at_R], n_horizons),
            "symbol": symbols.gather(np.repeat(symbol_R, n_horizons)),
            "horizon": np.tile(np.array(wanted, dtype=np.int16), len(at_R)),
            "label": pl.Series(label_DNH[at_R, symbol_R].ravel()).fill_nan(None),
        },
        schema=LABEL_SCHEMA,
    ).with_columns(plain_symbol(pl.col("symbol")))


def transform(
    return_DN: Array,
    kind: LabelKind,
    *,
    sector_DN: Index | None = None,
    volatility_DN: Array | None = None,
) -> Array:
    """Return what training fits, session by session, from the forward returns of one horizon.

    - `return`: as it is.
    - `rank_normal`: inverse normal of (rank - 0.5) / n, average ranks.
    - `excess`: less the mean of the session's known returns.
    - `sector`: less the mean of the known returns of the symbol's sector.
    - `vol_scaled`: over the symbol's trailing volatility; training hands in the standard
      deviation of a session's log return over the last `VOLATILITY_SESSIONS`, as known at D.

    Sums run in symbol order, so that symbols without a return change no bit.

    Args:
        return_DN: forward returns of the names that may be traded; NaN elsewhere.
        kind: one of the above.
        sector_DN: sector numbers from 0 as known at D, for `sector`; those of unknown
            sector share a number.
        volatility_DN: of the symbol as known at D, a positive fraction, for `vol_scaled`.

    Returns:
        An array of the same shape; NaN where the return is, and where a volatility is not a
        positive number.

    Raises:
        BadInput: the kind needs something that was not given.
    """
    if kind == "return":
        return return_DN.copy()
    if kind == "rank_normal":
        from scipy.special import ndtri  # loaded where it is needed: most verbs compute nothing

        n_D1 = (~np.isnan(return_DN)).sum(axis=1, keepdims=True)
        share_DN = (average_rank(return_DN) - 0.5) / np.maximum(n_D1, 1)
        return np.asarray(ndtri(share_DN))
    if kind == "excess":
        everyone_DN = np.zeros(return_DN.shape, dtype=np.int64)
        return return_DN - _mean_of_group(return_DN, everyone_DN)
    if kind == "sector":
        if sector_DN is None:
            raise BadInput('label.kind = "sector" needs sectors, and none were given')
        return return_DN - _mean_of_group(return_DN, sector_DN)
    if volatility_DN is None:
        raise BadInput('label.kind = "vol_scaled" needs a trailing volatility; none was given')
    usable_DN = np.where(volatility_DN > 0, volatility_DN, np.nan)
    return np.asarray(return_DN / usable_DN)


def _refuse_looking_back(h: int) -> None:
    if h < 1:
        raise RangeError(
            f"horizon {h}: a label that ends at its decision or before would be known already; "
            "want at least 1 session"
        )


def _grids(
    rows: pl.DataFrame | pl.LazyFrame,
    calendar: Calendar,
    until: int,
    reach: range,
    entry: Entry,
) -> tuple[Array, Array, pl.Series]:
    """Return prices and factors on the sessions of `reach`, and the symbols."""
    stop = calendar.sessions[min(reach.stop, len(calendar.sessions)) - 1]
    inside = pl.col("event_date").is_between(calendar.sessions[reach.start], stop)
    names = ("event_date", "symbol", "close", entry, "adjustment_factor")
    lazy = rows.lazy().filter(inside)
    level = [LEVEL] if LEVEL in lazy.collect_schema().names() else []
    stored = bar_revisions(
        lazy.select(*dict.fromkeys(names), *level, "available_at", "revision"), calendar, until
    )
    bars = stored.first
    at = (bars.session_R - reach.start, bars.code_R)
    shape = (len(reach), len(bars.symbols))
    price_DN, factor_DN = np.full(shape, np.nan), np.ones(shape)
    price_DN[at] = stored.last[entry].fill_null(np.nan).to_numpy()
    factor_DN[at] = stored.last["adjustment_factor"].fill_null(1.0).to_numpy()
    return price_DN, factor_DN, bars.symbols


def _mean_of_group(x_DN: Array, group_DN: Index) -> Array:
    """Return the mean of the known values of each cell's group in its session, added in order."""
    n_sessions, n_groups = len(x_DN), int(group_DN.max(initial=0)) + 1
    row_D = np.arange(n_sessions)
    known_DN = ~np.isnan(x_DN)
    value_DN = np.where(known_DN, x_DN, 0.0)
    total_DG, count_DG = np.zeros((n_sessions, n_groups)), np.zeros((n_sessions, n_groups))
    for n in range(x_DN.shape[1]):
        total_DG[row_D, group_DN[:, n]] += value_DN[:, n]
        count_DG[row_D, group_DN[:, n]] += known_DN[:, n]
    mean_DG = np.divide(total_DG, count_DG, out=np.full_like(total_DG, np.nan), where=count_DG > 0)
    return np.asarray(np.take_along_axis(mean_DG, group_DN, axis=1))
