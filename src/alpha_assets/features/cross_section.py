"""Features made comparable across the symbols of one session, inside a universe.

Per session and feature, over the universe rows: winsorise, z-score, clip, and 0 for what is
missing; the share that was missing is kept beside it.  Sums run in symbol order, one after
the other, so that symbols without a value change no bit.
Shape letters: F features, N symbols of one session, R rows.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alpha_assets.errors import BadInput
from alpha_assets.features.base import Feature
from alpha_assets.features.kernels import Array, window_moments

KEYS = ("session", "symbol")
SESSIONS_AT_ONCE = 16
TRAILING = 252  # sessions of a z-score in time
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


class CrossSection(NamedTuple):
    """The table, and what became of each feature.

    Attributes:
        frame: `session`, `symbol`, `<feature>_cs_z`, `<family>_missing`, `sector`.
        counts: per `feature`: `n_rows`, `n_missing` rows, and of `n_sessions` those that were
            left at 0 for `n_thin` too few names or `n_constant` all values equal.
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
    threads: int = 1,
) -> CrossSection:
    """Return the features of the universe's rows as z-scores within each session.

    winsorise at the quantiles q and 1 - q, z = (x - mean) / sd (ddof 0), clip, missing = 0

    Args:
        features: `session`, `symbol` and the catalogue's columns, sorted by session, symbol.
        universe: `session`, `symbol` that are in it, sorted.
        panel: `session`, `symbol`, `sector` as known at the session.
        catalog: the features to take, in the order wanted.
        rules: of the universe: `min_names`, `winsorise`, `clip`.
        threads: how many work at once; changes no bit.

    Raises:
        BadInput: a universe row has no features, or a catalogued column is missing.
    """
    names = [item.name for item in catalog]
    missing = [name for name in names if name not in features.columns]
    if missing:
        raise BadInput(f"features lacks {', '.join(missing)}; rebuild it with this catalogue")
    keys = _sorted_keys(universe, features, panel)
    row_R = keys["row"].to_numpy()
    z = {name: np.zeros(len(row_R), dtype=np.float32) for name in names}
    families = {item.family: np.zeros(len(row_R), dtype=np.float32) for item in catalog}
    members = {
        family: [f for f, item in enumerate(catalog) if item.family == family]
        for family in families
    }
    edges = _session_edges(keys["session"])
    n_missing_F = np.zeros(len(names), dtype=np.int64)
    n_thin_F = np.zeros(len(names), dtype=np.int64)
    n_constant_F = np.zeros(len(names), dtype=np.int64)

    def work(at: int) -> tuple[NDArray[np.int64], ...]:
        """Fill the rows of a few sessions; return what was missing, thin, constant."""
        cuts = edges[at : at + SESSIONS_AT_ONCE + 1]
        rows = slice(cuts[0], cuts[-1])
        x_FR = _values(features, names, row_R[rows])
        unknown_FR = np.isnan(x_FR)
        thin_F = np.zeros(len(names), dtype=np.int64)
        constant_F = np.zeros(len(names), dtype=np.int64)
        z_FR = np.empty_like(x_FR)
        for start, stop in zip(cuts[:-1] - cuts[0], cuts[1:] - cuts[0], strict=True):
            section = section_z(x_FR[:, start:stop], rules)
            z_FR[:, start:stop] = section.z_FN
            thin_F += section.is_thin_F
            constant_F += section.is_constant_F
        for f, name in enumerate(names):
            z[name][rows] = z_FR[f]
        for family, of_family in members.items():
            share_R = unknown_FR[of_family].sum(axis=0) / len(of_family)
            families[family][rows] = share_R
        return unknown_FR.sum(axis=1), thin_F, constant_F

    starts = range(0, len(edges) - 1, SESSIONS_AT_ONCE)
    with ThreadPoolExecutor(threads) as pool:
        for missing_F, thin_F, constant_F in pool.map(work, starts):
            n_missing_F += missing_F
            n_thin_F += thin_F
            n_constant_F += constant_F
    frame = keys.select(
        *KEYS,
        *[pl.Series(f"{name}_cs_z", z.pop(name)) for name in names],
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


class SectionZ(NamedTuple):
    """One session's z-scores, and which features were left at 0 and why."""

    z_FN: Array
    is_thin_F: NDArray[np.bool_]
    is_constant_F: NDArray[np.bool_]


def section_z(x_FN: NDArray[np.float32], rules: SectionRules) -> SectionZ:
    """Return each feature winsorised, z-scored and clipped over the names of one session."""
    unknown_FN = np.isnan(x_FN)
    count_F = x_FN.shape[1] - unknown_FN.sum(axis=1)
    low_F, high_F = _quantiles(x_FN, count_F, rules.winsorise)
    is_thin_F = count_F < max(rules.min_names, 1)
    is_constant_F = ~is_thin_F & ~(low_F < high_F)
    usable_F = ~is_thin_F & ~is_constant_F
    count_F1 = np.maximum(count_F, 1)[:, None]
    w_FN = np.clip(x_FN.astype(np.float64), low_F[:, None], high_F[:, None])
    w_FN[unknown_FN] = 0.0
    w_FN -= _sum_in_order(w_FN) / count_F1
    w_FN[unknown_FN] = 0.0
    sd_F1 = np.sqrt(_sum_in_order(w_FN * w_FN) / count_F1)
    z_FN = np.zeros_like(w_FN)
    np.divide(w_FN, sd_F1, out=z_FN, where=usable_F[:, None])
    z_FN += 0.0  # -0.0 becomes 0.0
    return SectionZ(np.clip(z_FN, -rules.clip, rules.clip), is_thin_F, is_constant_F)


def trailing_z(x_DN: Array, n: int = TRAILING) -> Array:
    """Return the z-score in time of a market-wide series, over n sessions up to each one.

    (x - MA_n(x)) / max(SD_n(x), 1e-9), ddof 1: for series that are equal for all symbols of a
    session, where a z-score across symbols would be 0 / 0.

    Args:
        x_DN: sessions x series, NaN where unknown.
        n: sessions, the current one included.

    Source: feeds.md 8.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        moments = window_moments(x_DN, n)
        return (x_DN - moments.mean_DN) / np.maximum(np.sqrt(moments.variance_DN), LEAST_SPREAD)


def _sorted_keys(
    universe: pl.DataFrame, features: pl.DataFrame, panel: pl.DataFrame
) -> pl.DataFrame:
    """Return the universe's keys with their row in `features` and their sector, sorted."""
    rows = features.select(KEYS).with_row_index("row")
    keys = (
        universe.select(KEYS)
        .sort(KEYS)
        .join(rows, on=KEYS, how="left", maintain_order="left", validate="1:1")
        .join(
            panel.select(*KEYS, "sector"),
            on=KEYS, how="left", maintain_order="left", validate="1:1",
        )
    )  # fmt: skip
    lost = keys.filter(pl.col("row").is_null())
    if len(lost):
        raise BadInput(
            f"{len(lost)} universe rows have no features, first {lost.select(KEYS).row(0)}; "
            "both are made from the panel of the same sessions"
        )
    return keys


def _session_edges(session: pl.Series) -> NDArray[np.int64]:
    """Return where each session's rows start, and the end of the last."""
    day_R = session.to_numpy()
    inner = np.flatnonzero(day_R[1:] != day_R[:-1]) + 1
    ends = [len(day_R)] if len(day_R) else []
    return np.concatenate([[0], inner, ends]).astype(np.int64)


def _values(
    features: pl.DataFrame, names: Sequence[str], row_R: NDArray[np.uint32]
) -> NDArray[np.float32]:
    """Return the features at some rows as [F, R]; NaN for null."""
    low, high = int(row_R[0]), int(row_R[-1]) + 1
    is_run = high - low == len(row_R)
    x_FR = np.empty((len(names), len(row_R)), dtype=np.float32)
    for f, name in enumerate(names):
        near = features[name].slice(low, high - low).to_numpy()
        x_FR[f] = near if is_run else near[row_R - low]
    return x_FR


def _quantiles(
    x_FN: NDArray[np.float32], count_F: NDArray[np.int64], share: float
) -> tuple[Array, Array]:
    """Return the quantiles `share` and 1 - `share` of the known values, interpolated."""
    sorted_FN = np.sort(x_FN, axis=1)  # NaN last
    last_F = np.maximum(count_F - 1, 0)
    return (
        _interpolated(sorted_FN, share * last_F, last_F),
        _interpolated(sorted_FN, (1 - share) * last_F, last_F),
    )


def _interpolated(
    sorted_FN: NDArray[np.float32], place_F: Array, last_F: NDArray[np.int64]
) -> Array:
    below_F = place_F.astype(np.int64)
    above_F = np.minimum(below_F + 1, last_F)
    row_F = np.arange(len(sorted_FN))
    a_F = sorted_FN[row_F, below_F].astype(np.float64)
    b_F = sorted_FN[row_F, above_F].astype(np.float64)
    return a_F + (b_F - a_F) * (place_F - below_F)


def _sum_in_order(x_FN: Array) -> Array:
    """Return the sums over names as [F, 1], added one name after the other."""
    return np.add.accumulate(x_FN, axis=1)[:, -1:]
