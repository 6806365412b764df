"""Features made comparable across the symbols of one session, inside a universe.

Per session and feature, over the universe rows: winsorise, z-score (by the session's own mean and
deviation, or by those of a year), clip, and 0 for what is missing; the share that was missing is
kept beside it.  Sums run in symbol order, one after the other, so that symbols without a value
change no bit.
Shape letters: F features, N symbols of one session, R rows, S sessions, B runs, E ends of an order.
"""

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import polars as pl

from alpha_assets.arrays.keys import KEYS
from alpha_assets.arrays.places import places_on
from alpha_assets.arrays.types import Array, Array32, Dates, Index, Mask
from alpha_assets.arrays.windows import window_moments
from alpha_assets.errors import BadInput
from alpha_assets.features.base import Feature
from alpha_assets.features.interactions import is_interaction

if TYPE_CHECKING:
    import pyarrow as pa

SESSIONS_AT_ONCE = 16
SORT_RUN = 512  # values; longer rows leave numpy's fast path
TRAILING = 252  # sessions of a z-score in time, and of the scale by history
HISTORY = "history"  # see `SectionRules.scale`
LEAST_SPREAD = 1e-9  # standard deviations in time below this count as this


class SectionRules(Protocol):
    """What the cross-section reads of a universe's declaration."""

    @property
    def min_names(self) -> int:
        """Fewer known names in a session leave the feature at 0."""

    @property
    def winsorise(self) -> float:
        """Share of names drawn in at either end."""

    @property
    def clip(self) -> float:
        """Largest z-score that is kept, in standard deviations."""

    @property
    def scale(self) -> str:
        """What mean and deviation are taken over: the `"session"`, or its `"history"`."""


class Past(NamedTuple):
    """Who was in a universe on the sessions that a scale by history looks at.

    Attributes:
        members: `session`, `symbol`, sorted; `features` has a row for each.
        sessions: the market's, from `TRAILING` - 1 before the first one wanted to the last one.
    """

    members: pl.DataFrame
    sessions: Dates


class CrossSection(NamedTuple):
    """The table, and what became of each feature.

    Attributes:
        frame: `session`, `symbol`, `<feature>_cs_z`, `<series>_ts_z`, `<family>_missing`,
            `sector`.
        counts: per `feature`: `n_rows`, `n_missing` rows, and of `n_sessions` those that were
            left at 0 for `n_thin` too few names or `n_constant` without spread.
    """

    frame: pl.DataFrame
    counts: pl.DataFrame


def cross_section(
    features: pl.DataFrame,
    universe: pl.DataFrame,
    panel: pl.DataFrame,
    catalog: Sequence[Feature],
    rules: SectionRules,
    *,
    series: pl.DataFrame | None = None,
    threads: int = 1,
    past: "Past | None" = None,
) -> CrossSection:
    """Return the features of the universe's rows as z-scores within each session.

    winsorise at the quantiles q and 1 - q, z = (x - mean) / sd (ddof 0), clip, missing = 0

    Where the universe's `scale` is its history, mean and sd are those of all its rows of the last
    252 sessions (as many as there are), the session itself among them, each winsorised in its own
    session: what moves all names of a session stays in sight, and 0 for what is missing is the
    mean of the year, not of the session.

    A market-wide feature is equal for all symbols: it is compared with its own last 252 sessions
    instead (`_ts_z`).  A product of two features is made of their z-scores; it is standardised
    within its session, or only clipped where the scale is the history.

    Args:
        features: `session`, `symbol` and the catalogue's columns, sorted by session, symbol.
        universe: `session`, `symbol` that are in it, sorted.
        panel: `session`, `symbol`, `sector` as known at the session.
        catalog: the features to take, in the order wanted.
        rules: of the universe: `min_names`, `winsorise`, `clip`, `scale`.
        series: `session` and the market-wide features, one row for each of the market's sessions
            from `TRAILING` - 1 before the first; needed where the catalogue has such features.
        threads: how many work at once; changes no bit.
        past: who was in the universe on the sessions that moments are taken over; needed where
            the scale is the history.

    Raises:
        BadInput: a universe row has no features, or a catalogued column is missing.
    """
    whole = catalog
    products = [item for item in catalog if is_interaction(item)]
    wide = [item for item in catalog if item.scope == "market"]
    catalog = [item for item in catalog if not is_interaction(item) and item.scope != "market"]
    names = [item.name for item in catalog]
    missing = [name for name in names if name not in features.columns]
    if missing:
        raise BadInput(f"features lacks {', '.join(missing)}; rebuild it with this catalogue")
    keys = _placed(universe, features, panel)
    row_R = keys["row"].to_numpy()
    # An array for each: one for all would be too large for memory that is kept to be used again.
    z = {name: np.empty(len(row_R), dtype=np.float32) for name in names}
    families = {item.family: np.zeros(len(row_R), dtype=np.float32) for item in whole}
    # What a product lacks is known only where both of its parts are distinguished.
    unknown = {
        part: np.zeros(len(row_R), dtype=bool)
        for item in products
        for part in item.inputs
        if part in z
    }
    members = {
        family: [f for f, item in enumerate(catalog) if item.family == family]
        for family in dict.fromkeys(item.family for item in catalog)
    }
    edges = _session_edges(keys["session"])
    columns = [features[name] for name in names]
    by_history = _by_history(rules, past, features, names, threads)
    n_missing_F = np.zeros(len(names), dtype=np.int64)
    n_thin_F = np.zeros(len(names), dtype=np.int64)
    n_constant_F = np.zeros(len(names), dtype=np.int64)
    session_S = keys["session"].to_numpy()[edges[:-1]]

    def work(at: int) -> tuple[Index, ...]:
        """Fill the rows of a few sessions; return what was missing, thin, constant."""
        cuts = edges[at : at + SESSIONS_AT_ONCE + 1]
        rows = slice(cuts[0], cuts[-1])
        x_FR = _values(columns, row_R[rows])
        unknown_FR = np.isnan(x_FR)
        missing_F = np.array([np.count_nonzero(unknown_R) for unknown_R in unknown_FR], dtype=int)
        thin_F = np.zeros(len(names), dtype=np.int64)
        constant_F = np.zeros(len(names), dtype=np.int64)
        for s, (start, stop) in enumerate(itertools.pairwise(cuts - cuts[0]), at):
            scale = None if by_history is None else by_history.at(session_S[s])
            section = section_z(x_FR[:, start:stop], rules, scale)
            x_FR[:, start:stop] = section.z_NF.T
            thin_F += section.is_thin_F
            constant_F += section.is_constant_F
        for name, z_R in zip(names, x_FR, strict=True):
            z[name][rows] = z_R
        for family, of_family in members.items():
            for f in of_family:
                families[family][rows] += unknown_FR[f]
        for name, unknown_R in unknown.items():
            unknown_R[rows] = unknown_FR[names.index(name)]
        return missing_F, thin_F, constant_F

    starts = range(0, len(edges) - 1, SESSIONS_AT_ONCE)
    with ThreadPoolExecutor(threads) as pool:
        for missing_F, thin_F, constant_F in pool.map(work, starts):
            n_missing_F += missing_F
            n_thin_F += thin_F
            n_constant_F += constant_F
    in_time, unknown_in_time = _in_time(series, wide, keys["session"], rules.clip)
    unknown |= unknown_in_time
    for item in wide:
        families[item.family] += unknown[item.name]
    for item in products:
        families[item.family] += unknown[item.inputs[0]] | unknown[item.inputs[1]]
    for family, share_R in families.items():
        share_R /= sum(item.family == family for item in whole)
    crossed = {
        item.name: _crossed([in_time.get(part, z.get(part)) for part in item.inputs], edges, rules)
        for item in products
    }
    frame = keys.select(
        *KEYS,
        *[pl.Series(f"{name}_cs_z", z[name]) for name in names],
        *[pl.Series(f"{name}_cs_z", x_R) for name, x_R in crossed.items()],
        *[pl.Series(f"{name}_ts_z", x_R) for name, x_R in in_time.items()],
        *[pl.Series(f"{family}_missing", share_R) for family, share_R in families.items()],
        "sector",
    )
    counts = pl.DataFrame(
        {
            "feature": pl.Series(names, dtype=pl.String),
            "n_rows": pl.Series([len(row_R)] * len(names), dtype=pl.Int64),
            "n_missing": n_missing_F,
            "n_sessions": pl.Series([len(edges) - 1] * len(names), dtype=pl.Int64),
            "n_thin": n_thin_F,
            "n_constant": n_constant_F,
        }
    )
    return CrossSection(frame, counts)


class Scale(NamedTuple):
    """What z-scores of one session are made with; NaN where nothing was known."""

    mean_F: Array
    sd_F: Array  # ddof 0


class ByHistory(NamedTuple):
    """What the scales of sessions over their history are made of: the moments of each session."""

    sessions: Dates
    count_SF: Array  # known values; 0 where there are too few
    mean_SF: Array
    sd_SF: Array

    def at(self, session: np.datetime64) -> Scale:
        """Return mean and deviation over all rows of the `TRAILING` sessions up to one of them."""
        (last,) = _places(self.sessions, np.array([session]))
        window = slice(max(last - TRAILING + 1, 0), last + 1)
        count_SF, mean_SF = self.count_SF[window], self.mean_SF[window]
        n_F = _sum_in_order(count_SF)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean_F = _sum_in_order(count_SF * mean_SF) / n_F
            within_F = _sum_in_order(count_SF * self.sd_SF[window] ** 2)
            between_F = _sum_in_order(count_SF * (mean_SF - mean_F) ** 2)
            return Scale(mean_F, np.sqrt((within_F + between_F) / n_F))


def _places(sessions: Dates, wanted: Dates) -> Index:
    """Return the place of each session.

    Raises:
        BadInput: one is not among them; as a place, -1 would be the last one.
    """
    place_S = places_on(sessions, wanted)
    if (place_S < 0).any():
        raise BadInput(
            f"session {wanted[place_S < 0][0]} is none of the {len(sessions)} that a scale by "
            "history looks at; universe and sessions are made of the same span"
        )
    return place_S


def scales_by_history(
    features: pl.DataFrame, names: Sequence[str], rules: SectionRules, past: Past, threads: int = 1
) -> ByHistory:
    """Return the moments of features over the rows of each session.

    Each session's rows are winsorised among themselves; a session with fewer known names than
    `min_names` adds nothing.

    Args:
        features: `session`, `symbol` and the features, sorted by session, symbol.
        names: of the features.
        rules: of the universe.
        past: who was in it.
        threads: how many work at once; changes no bit.

    Raises:
        BadInput: a universe row has no features, or is of a session that `past` does not name.
    """
    columns = [features[name] for name in names]
    members = past.members.select(KEYS)
    symbols = pl.Enum(pl.concat([members["symbol"], features["symbol"]]).unique().sort())
    wanted_R = _as_numbers(members, symbols)
    row_R = _rows_of(members, wanted_R, features.select(KEYS), symbols, "features")
    edges = _session_edges(members["session"])
    place_S = _places(past.sessions, members["session"].to_numpy()[edges[:-1]])
    shape = (len(past.sessions), len(names))
    count_SF, mean_SF, sd_SF = np.zeros(shape), np.zeros(shape), np.zeros(shape)

    def work(s: int) -> None:
        made = section_z(_values(columns, row_R[edges[s] : edges[s + 1]]), rules)
        count_SF[place_S[s]] = np.where(made.is_thin_F, 0, made.count_F)
        mean_SF[place_S[s]] = np.where(made.is_thin_F, 0.0, made.mean_F)
        sd_SF[place_S[s]] = np.where(made.is_thin_F, 0.0, made.sd_F)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(len(edges) - 1)))
    return ByHistory(past.sessions, count_SF, mean_SF, sd_SF)


def _by_history(
    rules: SectionRules,
    past: Past | None,
    features: pl.DataFrame,
    names: Sequence[str],
    threads: int,
) -> ByHistory | None:
    """Return the scales by history of a universe that has them."""
    if rules.scale != HISTORY:
        return None
    assert past is not None, "a universe whose scale is its history has a past"
    return scales_by_history(features, names, rules, past, threads)


class SectionZ(NamedTuple):
    """One session's z-scores, what they were made with, and which were left at 0 and why."""

    z_NF: Array
    is_thin_F: Mask
    is_constant_F: Mask
    count_F: Index  # known values
    low_F: Array  # values below were drawn in to it, those above `high_F` likewise
    high_F: Array
    mean_F: Array
    sd_F: Array  # ddof 0


def section_z(x_FN: Array32, rules: SectionRules, scale: Scale | None = None) -> SectionZ:
    """Return each feature of one session's names winsorised, z-scored and clipped.

    Args:
        x_FN: values, NaN where unknown.
        rules: of the universe.
        scale: mean and deviation that z-scores are made with; None: those of the names.
    """
    low_F, high_F, count_F = _quantiles(x_FN, rules.winsorise)
    is_thin_F = count_F < max(rules.min_names, 1)
    is_constant_F = ~is_thin_F & ~(low_F < high_F)
    # Feature by feature a bound goes with a long row; only sums need the names side by side.
    z_FN = np.array(x_FN, dtype=np.float64, order="C")
    unknown_FN = np.isnan(z_FN)
    np.maximum(z_FN, low_F[:, None], out=z_FN)
    np.minimum(z_FN, high_F[:, None], out=z_FN)
    np.copyto(z_FN, 0.0, where=unknown_FN)
    share_F = 1.0 / np.maximum(count_F, 1)
    z_NF = np.array(z_FN.T, order="C")  # a copy even of one feature, where a view would do
    if scale is None:
        mean_F = _sum_in_order(z_NF) * share_F
    else:
        mean_F, is_constant_F = scale.mean_F, ~is_thin_F & ~(scale.sd_F > 0)
    z_FN -= mean_F[:, None]
    np.copyto(z_FN, 0.0, where=unknown_FN)
    if scale is None:
        np.copyto(z_NF, z_FN.T)
        z_NF *= z_NF
        sd_F = np.sqrt(_sum_in_order(z_NF) * share_F)
    else:
        sd_F = scale.sd_F
    is_usable_F = ~is_thin_F & ~is_constant_F & (sd_F > 0)
    z_FN[~is_usable_F] = 0.0
    z_FN /= np.where(is_usable_F, sd_F, 1.0)[:, None]
    np.clip(z_FN, -rules.clip, rules.clip, out=z_FN)
    z_FN += 0.0  # -0.0 becomes 0.0
    return SectionZ(z_FN.T, is_thin_F, is_constant_F, count_F, low_F, high_F, mean_F, sd_F)


def _in_time(
    series: pl.DataFrame | None, wide: Sequence[Feature], session: pl.Series, clip: float
) -> tuple[dict[str, Array32], dict[str, Mask]]:
    """Return the market-wide features' z-scores in time, spread over the rows.

    0 where unknown; which those are is returned beside.
    """
    names = [item.name for item in wide]
    if not names:
        return {}, {}
    missing = [name for name in names if series is None or name not in series.columns]
    if series is None or missing:
        raise BadInput(f"the market-wide series lack {', '.join(missing)}; rebuild features")
    at_R = np.searchsorted(series["session"].to_numpy(), session.to_numpy())
    made, unknown = {}, {}
    for name in names:
        x_D1 = series[name].cast(pl.Float64).fill_null(np.nan).to_numpy()[:, None]
        z_D = np.clip(trailing_z(x_D1)[:, 0], -clip, clip)
        unknown[name] = np.isnan(z_D)[at_R]
        made[name] = (np.where(np.isnan(z_D), 0.0, z_D) + 0.0).astype(np.float32)[at_R]
    return made, unknown


def _crossed(parts: Sequence[Array32 | None], edges: Index, rules: SectionRules) -> Array32:
    """Return the product of two z-scores, standardised across each session's symbols.

    Clipped alone where the scale is the history: its own would look back on that of its parts.
    """
    x_R = np.ones(edges[-1], dtype=np.float32)
    for part_R in parts:
        assert part_R is not None, "both parts are in the catalogue"
        x_R *= part_R
    if rules.scale == HISTORY:
        clipped_R: Array32 = np.clip(x_R, -rules.clip, rules.clip) + np.float32(0.0)
        return clipped_R
    made = np.zeros(len(x_R), dtype=np.float32)
    for start, stop in itertools.pairwise(edges):
        made[start:stop] = section_z(x_R[None, start:stop], rules).z_NF[:, 0]
    return made


def trailing_z(x_DN: Array, n: int = TRAILING) -> Array:
    """Return the z-score in time of a market-wide series, over n sessions up to each one.

    (x - MA_n(x)) / max(SD_n(x), 1e-9), ddof 1: for series that are equal for all symbols of a
    session, where a z-score across symbols would be 0 / 0.

    Args:
        x_DN: sessions x series, NaN where unknown.
        n: sessions, the current one included.

    Source: common practice.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        moments = window_moments(x_DN, n)
        return (x_DN - moments.mean_DN) / np.maximum(np.sqrt(moments.variance_DN), LEAST_SPREAD)


def _placed(universe: pl.DataFrame, features: pl.DataFrame, panel: pl.DataFrame) -> pl.DataFrame:
    """Return the universe's keys, sorted, with their row in `features` and their sector."""
    keys, held = universe.select(KEYS), features.select(KEYS)
    symbols = pl.Enum(pl.concat([keys["symbol"], features["symbol"]]).unique().sort())
    wanted_R = _as_numbers(keys, symbols)
    if not _rise(wanted_R):
        keys = keys.sort(KEYS)
        wanted_R = _as_numbers(keys, symbols)
    row_R = _rows_of(keys, wanted_R, held, symbols, "features")
    listed_R = _rows_of(keys, wanted_R, panel.select(KEYS), symbols, "panel")
    return keys.with_columns(pl.Series("row", row_R), panel["sector"].gather(listed_R))


def _rows_of(
    keys: pl.DataFrame, wanted_R: Index, table: pl.DataFrame, symbols: pl.Enum, name: str
) -> Index:
    """Return where each key lies in a table that is sorted by the same keys.

    Args:
        keys: sorted.
        wanted_R: their numbers.
        table: keys of the table.
        symbols: that numbers are made of.
        name: of the table, for messages.
    """
    if table.height == keys.height and table.equals(keys):
        return np.arange(len(wanted_R))
    held = _as_numbers(table, symbols)
    if not _rise(held):
        raise BadInput(f"{name} is not sorted by session, symbol; sort it first")
    place_R = np.searchsorted(held, wanted_R)
    lost_R = held[np.minimum(place_R, len(held) - 1)] != wanted_R if len(held) else place_R == 0
    if lost_R.any():
        first = keys.row(int(np.flatnonzero(lost_R)[0]))
        raise BadInput(
            f"{int(lost_R.sum())} universe rows are not in {name}, first {first}; "
            "universe, panel and features are made of the same sessions"
        )
    return place_R


def _rise(number_R: Index) -> bool:
    return bool((number_R[1:] >= number_R[:-1]).all())


def _as_numbers(frame: pl.DataFrame, symbols: pl.Enum) -> Index:
    """Return one number per row, in the order of session and symbol; unlisted symbols lowest."""
    day = frame["session"].to_physical().to_numpy().astype(np.int64)
    symbol = frame["symbol"].cast(symbols, strict=False).to_physical()
    code = symbol.cast(pl.Int64).fill_null(-1).to_numpy()
    place_R: Index = day * (len(symbols.categories) + 1) + code
    return place_R


def _session_edges(session: pl.Series) -> Index:
    """Return where each session's rows start, and the end of the last."""
    day_R = session.to_numpy()
    inner = np.flatnonzero(day_R[1:] != day_R[:-1]) + 1
    ends = [len(day_R)] if len(day_R) else []
    return np.concatenate([[0], inner, ends]).astype(np.int64)


def _values(columns: Sequence[pl.Series], row_R: Index) -> Array32:
    """Return some rows of the columns as [F, R]; NaN for null."""
    low, high = int(row_R[0]), int(row_R[-1]) + 1
    is_run = high - low == len(row_R)
    x_FR = np.empty((len(columns), len(row_R)), dtype=np.float32)
    for x_R, column in zip(x_FR, columns, strict=True):
        near = column.slice(low, high - low).cast(pl.Float32).to_arrow()
        value_R, known_R = _buffers(near)
        x_R[:] = value_R if is_run else value_R[row_R - low]
        if known_R is not None:
            np.copyto(x_R, np.nan, where=~(known_R if is_run else known_R[row_R - low]))
    return x_FR


def _buffers(column: "pa.Array") -> tuple[Array32, Mask | None]:
    """Return the values of a Float32 column, and which are known where some are not.

    As they lie there: what converts null to NaN takes three times as long.
    """
    bits, values = column.buffers()
    first, n = column.offset, len(column)
    value_R = np.frombuffer(values, np.float32, n, 4 * first)
    if not column.null_count:
        return value_R, None
    held = np.frombuffer(bits, np.uint8)[first // 8 : -(-(first + n) // 8)]
    known_R = np.unpackbits(held, bitorder="little")[first % 8 : first % 8 + n]
    return value_R, known_R.view(bool)


def _quantiles(x_FN: Array32, share: float) -> tuple[Array, Array, Index]:
    """Return the quantiles `share` and 1 - `share` of the known values, and how many those are.

    Interpolated between neighbours, as numpy does.  Only the ends of the order are wanted, and
    they are the ends of the ends of short runs, which numpy sorts six times as fast.
    """
    n_names = x_FN.shape[1]
    n_ends = int(share * n_names) + 3
    run = SORT_RUN if n_ends <= SORT_RUN // 8 else n_names
    n_runs = -(-n_names // run)
    x_FR = np.empty((len(x_FN), n_runs * run), dtype=np.float32)
    x_FR[:, :n_names] = x_FN
    x_FR[:, n_names:] = np.nan
    x_FBR = x_FR.reshape(len(x_FN), n_runs, run)
    x_FBR.sort(axis=2)  # NaN last
    unknown_FBR = np.isnan(x_FBR).view(np.uint8)
    count_FB = run - np.add.reduce(unknown_FBR, axis=2, dtype=np.int32).astype(np.int64)
    count_F = count_FB.sum(axis=1)
    ends = np.arange(min(n_ends, run))
    shape = (len(x_FN), n_runs * len(ends))  # in full: of no features, -1 has no meaning
    low_FE = np.sort(x_FBR[:, :, : len(ends)].reshape(shape), axis=1)
    place_FBE = count_FB[:, :, None] - 1 - ends
    high_FBE = np.take_along_axis(x_FBR, np.maximum(place_FBE, 0), axis=2)
    high_FBE[place_FBE < 0] = np.nan
    high_FE = -np.sort(-high_FBE.reshape(shape), axis=1)  # the greatest first
    last_F = np.maximum(count_F - 1, 0)
    low_place_F, high_place_F = share * last_F, (1 - share) * last_F
    first_F, below_F = low_place_F.astype(np.int64), high_place_F.astype(np.int64)
    at_F = last_F - below_F
    return (
        _between(low_FE, first_F, np.minimum(first_F + 1, last_F), low_place_F - first_F),
        _between(high_FE, at_F, np.maximum(at_F - 1, 0), high_place_F - below_F),
        count_F,
    )


def _between(x_FE: Array32, at_F: Index, next_F: Index, weight_F: Array) -> Array:
    """Return what lies between x at a place and at the next one, by the weight of the next."""
    row_F = np.arange(len(x_FE))
    a_F = x_FE[row_F, at_F].astype(np.float64)
    return a_F + (x_FE[row_F, next_F] - a_F) * weight_F


def _sum_in_order(x_NF: Array) -> Array:
    """Return the sums over names, added one name after the other.

    numpy adds row to row when it sums the slow axis, and pairwise only along the fast one,
    which a single feature would make of the names.
    """
    if x_NF.shape[1] == 1:
        sum_F: Array = np.add.accumulate(x_NF, axis=0)[-1]
    else:
        sum_F = np.add.reduce(x_NF, axis=0)
    return sum_F
