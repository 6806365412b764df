"""Stored bars on dense axes: prices of the chosen basis, and what was known of them when.

Fills, marks and splits read a bar's last stored revision: an exchange fills at the real price
and splits on the real day.  What is *known at D* leaves out the bar of D, and every bar and
revision that had not arrived by D's decision.
Shape letters: D sessions, N symbols, R bars.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import polars as pl

from alpha_assets.arrays.asof import latest_rows
from alpha_assets.arrays.types import Array, Index, Mask
from alpha_assets.arrays.windows import needed, shift, window_mean
from alpha_assets.calendar import Calendar, as_date
from alpha_assets.features.estimators import corwin_schultz
from alpha_assets.panel.revised import BarRevisions, bar_revisions

Basis = Literal["price", "total_return"]

WINDOW = 20  # sessions of traded money, volatility and spread behind a decision


@dataclass(frozen=True, eq=False)
class Prices:
    """All stored sessions of some symbols, from the first stored bar to the last session.

    Attributes:
        stored: raw rows, one per bar, as they first became effective and as they stand last.
        start: number of the first session on the calendar's axis.
        shape: (D, N).
        cell_R: place of each bar in a flattened [D, N] array.
        code_R: its symbol.
        usable_R: row from which the bar's first revision was known.
        is_on_time_R: the next session was decided with the bar.
        basis: what `open` and `close` mean.
    """

    stored: BarRevisions
    start: int
    shape: tuple[int, int]
    cell_R: Index
    code_R: Index
    usable_R: Index
    is_on_time_R: Mask
    basis: Basis

    @classmethod
    def of(
        cls,
        rows: pl.DataFrame,
        symbols: tuple[str, ...],
        calendar: Calendar,
        first: np.datetime64,
        last: np.datetime64,
        basis: Basis,
    ) -> "Prices":
        """Return the bars of `symbols` (sorted) up to `last`; axes begin at `first` or before."""
        stop = int(calendar.index_of(last)) + 1
        names = pl.Series(symbols, dtype=pl.String)
        coded = rows.with_columns(pl.col("symbol").cast(pl.Enum(names), strict=False))
        is_wanted = coded.select(
            pl.col("symbol").is_not_null() & (pl.col("event_date") <= as_date(last))
        ).to_series()
        wanted = coded if is_wanted.all() else coded.filter(is_wanted)  # a copy would only cost
        stored = bar_revisions(wanted, calendar, len(calendar.sessions) - 1, names)
        bars = stored.first
        start = min(int(x) for x in (calendar.index_of(first), *bars.session_R[:1]))  # in order
        cell_R = bars.session_R - start
        cell_R *= len(symbols)
        cell_R += bars.code_R
        return cls(
            stored=stored,
            start=start,
            shape=(stop - start, len(symbols)),
            cell_R=cell_R,
            code_R=bars.code_R,
            usable_R=bars.usable_R - start,
            is_on_time_R=~bars.is_late_R,
            basis=basis,
        )

    @cached_property
    def open(self) -> Array:
        """Return the price of the opening auction; NaN without a bar."""
        close_DN, open_DN = self._grid("close"), self._grid("open")
        if self.basis == "price":
            open_DN[np.isnan(close_DN)] = np.nan
            return open_DN
        return self.close * (open_DN / close_DN)

    @cached_property
    def close(self) -> Array:
        """Return the last price; NaN without a bar."""
        close_DN = self._grid("close")
        return close_DN if self.basis == "price" else chained(close_DN, self._factor)

    @cached_property
    def share_ratio(self) -> Array:
        """Return the shares after each session's split for one share before."""
        if self.basis == "total_return":
            return np.ones(self.shape)
        factor_R = self._column("adjustment_factor", 1.0)
        if self._states_shares:
            stated_R = self._column("share_factor", np.nan)
            return self._ones_but(np.where(np.isnan(stated_R), 1.0 / factor_R, stated_R))
        moved = np.flatnonzero(factor_R != 1.0)
        ratio_DN = np.ones(self.shape)
        ratio_DN.ravel()[self.cell_R[moved]] = 1.0 / factor_R[moved]
        return ratio_DN

    @cached_property
    def mark(self) -> Array:
        """Return the last price there is, restated for splits since; NaN before the first bar."""
        return self._marks[1:]

    def fillable(self, fill: Literal["open", "close"], side: Literal["buy", "sell"]) -> Mask:
        """Return where an auction had someone on the other side.

        There is none without a bar or in a session that traded nothing (volume 0; where the
        volume is unknown there is one), and none where the price stands at the limit that the
        session touched: buyers at the upper one, or sellers at the lower one, wait in vain.
        """
        may_DN = ~np.isnan(self.open if fill == "open" else self.close)
        frame = self.stored.last
        limit, end = ("upper_limit", "high") if side == "buy" else ("lower_limit", "low")
        if limit in frame.columns:
            is_touched = frame[limit]
            touched = _places(is_touched if is_touched.dtype == pl.Boolean else is_touched > 0)
            price_P, end_P = (
                self._column(name, np.nan)[touched] if name in frame.columns else np.nan
                for name in (fill, end)
            )
            is_locked_P = price_P >= end_P if side == "buy" else price_P <= end_P
            may_DN.ravel()[self.cell_R[touched[is_locked_P]]] = False
        if "volume" in frame.columns:
            may_DN.ravel()[self.cell_R[_places(frame["volume"] == 0)]] = False
        return may_DN

    def has_volume(self) -> Mask:
        """Return where the volume of a bar is known."""
        has_DN = np.zeros(self.shape, dtype=bool)
        has_DN.ravel()[self.cell_R] = ~np.isnan(self._column("volume", np.nan))
        return has_DN

    def known_close(self) -> Array:
        """Return the last close known at D, per share of before D's split; NaN if there is none.

        It is the last mark, but for names with a bar that missed its next decision or was
        corrected: of these the last revision known at D counts.  A total-return close is the
        real one in the proportion of the two raw ones, and where the bar was withdrawn later the
        raw one at the scale that the chain has on its session.
        """
        cell_V, usable_V, close_V = self._closes_over_time()
        if not len(cell_V):
            return self._mark_before
        known_DN = self._mark_before.copy()
        if self.basis == "total_return":
            raw_DN = self._grid("close")
            raw_V = raw_DN.ravel()[cell_V]
            is_withdrawn_V = np.isnan(raw_V)
            chained_V = self.close.ravel()[cell_V] * (close_V / raw_V)
            if is_withdrawn_V.any():
                scale_V = chain_scale(raw_DN, self._factor).ravel()[cell_V]
                chained_V = np.where(is_withdrawn_V, close_V * scale_V, chained_V)
            close_V = chained_V
        session_V, code_V = cell_V // self.shape[1], cell_V % self.shape[1]
        late, place_V = np.unique(code_V, return_inverse=True)
        # Shares that one share of the start has become, up to and with each session.
        shares_DK = np.multiply.accumulate(self.share_ratio[:, late], axis=0)
        shares_V = shares_DK[session_V, place_V]
        row_DK = latest_rows(usable_V, place_V, range(self.shape[0]), len(late))
        # The ratio is 1 to the last bit where no split lies between.
        ratio_DK = shares_V[row_DK] / shift(shares_DK, 1, before=1.0)
        known_DN[:, late] = np.where(row_DK >= 0, close_V[row_DK] * ratio_DK, np.nan)
        return known_DN

    def known_raw_close(self) -> Array:
        """Return the last close known at D as the vendor states it; NaN if there is none.

        Unlike a total-return close it depends on no factor, so on nothing that is known later.
        """
        known_DN = shift(carried(self._grid("close"), np.ones(self.shape)), 1)
        cell_V, usable_V, close_V = self._closes_over_time()
        if len(cell_V):
            late, place_V = np.unique(cell_V % self.shape[1], return_inverse=True)
            row_DK = latest_rows(usable_V, place_V, range(self.shape[0]), len(late))
            known_DN[:, late] = np.where(row_DK >= 0, close_V[row_DK], np.nan)
        return known_DN

    def as_of_session(self, shares_DN: Array, counted_DN: Index) -> Array:
        """Return numbers of shares, counted on earlier sessions, as the last sessions count them.

        A split since restates them; shares of total-return prices are worth the same money.

        Args:
            shares_DN: of the last D sessions; NaN where there is no number.
            counted_DN: number on the calendar's axis of the session of which the count is.
        """
        if np.isnan(shares_DN).all():
            return shares_DN
        first = self.shape[0] - len(shares_DN)
        own_D = np.arange(first, self.shape[0])
        row_DN = np.minimum(counted_DN - self.start, own_D[:, None])
        n_N = np.arange(self.shape[1])
        if self.basis == "price":
            level_DN = np.multiply.accumulate(self.share_ratio, axis=0)
            then_DN = np.where(row_DN >= 0, level_DN[row_DN, n_N], 1.0)
            ratio_DN = level_DN[first:] / then_DN
        else:
            raw_DN = carried(self._grid("close"), np.ones(self.shape))
            ratio_DN = (raw_DN / self.mark)[row_DN, n_N]
            ratio_DN[(row_DN < 0) | np.isnan(ratio_DN)] = 1.0  # the chain begins at raw prices
        return np.asarray(shares_DN * ratio_DN)

    def _closes_over_time(self) -> tuple[Index, Index, Array]:
        """Return the cell, the first row that knows it, and the raw value of each close there was.

        Only of names with a late or a corrected close; in the order in which one hides another.
        """
        stored, raw_R = self.stored, self._known_column("close", np.nan)
        if not len(stored.bar_V) and self.is_on_time_R.all():
            nothing = np.empty(0, dtype=np.int64)
            return nothing, nothing, np.empty(0)
        first_V = self.stored.revised["close"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        is_changed_V = first_V != self._column("close", np.nan)[stored.bar_V]
        late_R = ~np.isnan(raw_R) & ~self.is_on_time_R
        odd = np.unique(
            np.concatenate([self.code_R[late_R], self.code_R[stored.bar_V[is_changed_V]]])
        )
        once_R = np.isin(self.code_R, odd)
        once_R[stored.bar_V] = False
        several_V = np.isin(self.code_R[stored.bar_V], odd)
        bar_V = np.concatenate([np.flatnonzero(once_R), stored.bar_V[several_V]])
        usable_V = np.concatenate([self.usable_R[once_R], stored.usable_V[several_V] - self.start])
        close_V = np.concatenate([raw_R[once_R], first_V[several_V]])
        cell_V = self.cell_R[bar_V]
        turn = np.flatnonzero(~np.isnan(close_V))
        turn = turn[np.argsort(cell_V[turn], kind="stable")]
        return cell_V[turn], usable_V[turn], close_V[turn]

    def traded(self) -> Array:
        """Return the money traded, as known the session after; a session without a bar is 0.

        NaN where a bar states neither value nor volume: it traded what is not known, and not
        nothing.  NaN also before the first session of which it is known.
        """
        close_R = self._known_column("close", np.nan)
        volume_R = self._known_column("volume", np.nan)
        traded_R = close_R * volume_R
        if "turnover_value" in self.stored.first.frame.columns:
            stated_R = self._known_column("turnover_value", np.nan)
            traded_R = np.where(np.isnan(stated_R), traded_R, stated_R)
        traded_DN = self._on_time_values(traded_R)
        is_unknown_DN = np.isnan(traded_DN)
        is_blind_R = np.isnan(traded_R) & ~np.isnan(close_R) & self.is_on_time_R
        first_N = np.argmin(is_unknown_DN, axis=0)  # of a name without any: the first row
        is_unknown_DN.ravel()[self.cell_R[is_blind_R]] = False
        row_P, n_P = np.nonzero(is_unknown_DN)
        has_begun_P = row_P > first_N[n_P]
        has_begun_P &= ~np.isnan(traded_DN[first_N[n_P], n_P])
        traded_DN[row_P[has_begun_P], n_P[has_begun_P]] = 0.0
        return traded_DN

    def changes(self) -> Array:
        """Return daily log returns, splits and rights taken out, as known the session after."""
        if self.basis == "price" and self._is_known_as_it_stands:
            return self._changes_of_marks()
        close_DN, factor_DN = self._on_time("close"), self._known_factor
        restated_DN = shift(carried(close_DN, 1.0 / factor_DN), 1) * factor_DN
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.log(close_DN / restated_DN))

    def _changes_of_marks(self) -> Array:
        """Return `changes` where every bar was on time and never corrected: marks are known."""
        change_DN = np.empty(self.shape)
        factor_R = self._column("adjustment_factor", 1.0)
        cell_P = self.cell_R[moved := np.flatnonzero(factor_R != 1.0)]
        with np.errstate(divide="ignore", invalid="ignore"):
            np.divide(self.close, self._mark_before, out=change_DN)
            restated_P = self._mark_before.ravel()[cell_P] * factor_R[moved]
            change_DN.ravel()[cell_P] = self.close.ravel()[cell_P] / restated_P
            return np.log(change_DN, out=change_DN)

    def later_changes(self, change_DN: Array) -> "Later":
        """Return by how much corrected and late factors move the returns that decisions know.

        Args:
            change_DN: what `changes` returns.
        """
        stored = self.stored
        factor_V = _floats(stored.revised, "adjustment_factor", 1.0)
        before_V = self._known_column("adjustment_factor", 1.0)[stored.bar_V]
        is_first_V = stored.usable_V - self.start <= self.usable_R[stored.bar_V]
        follows_V = np.append(False, (stored.bar_V[1:] == stored.bar_V[:-1]) & ~is_first_V[:-1])
        before_V = np.where(follows_V, np.roll(factor_V, 1), before_V)
        found = np.flatnonzero(~is_first_V & (factor_V != before_V))
        if not len(found):
            return Later.none()
        cell_P = self.cell_R[stored.bar_V[found]]
        row_P, code_P = cell_P // self.shape[1], cell_P % self.shape[1]
        # A factor of a session without a price shows in the return of the next one with a price;
        # that of the first price changes no return.
        has_DN = ~np.isnan(self._on_time("close"))
        ahead = [has_DN[row:, code] for row, code in zip(row_P, code_P, strict=True)]
        row_P = row_P + np.array([int(np.argmax(has)) for has in ahead], dtype=np.int64)
        shows = ~np.isnan(change_DN[row_P, code_P])
        moved_P = np.log(before_V[found] / factor_V[found])
        known_P = stored.usable_V[found] - self.start
        return Later(row_P[shows], code_P[shows], known_P[shows], moved_P[shows])

    def half_spread(self) -> Array:
        """Return half of the spread that the ranges of the 20 sessions before D imply.

        A fraction of the price; NaN where too few ranges are known.

        Source: Corwin & Schultz (2012), J. Finance 67.
        """
        level_DN = np.cumprod(self._known_factor, axis=0)
        high_DN, low_DN, close_DN = (
            self._on_time(name) / level_DN for name in ("high", "low", "close")
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            spread_DN = np.maximum(corwin_schultz(high_DN, low_DN, close_DN), 0.0)
        return shift(window_mean(spread_DN, WINDOW) / 2, 1)

    @cached_property
    def _factor(self) -> Array:
        return self._ones_but(self._column("adjustment_factor", 1.0))

    @cached_property
    def _known_factor(self) -> Array:
        """Return factors as each bar first became effective; an unknown one counts as 1."""
        if self.stored.last is self.stored.first.frame:
            return self._factor
        return self._ones_but(self._known_column("adjustment_factor", 1.0))

    @property
    def _states_shares(self) -> bool:
        """Whether a split may state shares beside its factor."""
        frame = self.stored.last
        return "share_factor" in frame.columns and frame["share_factor"].count() > 0

    @property
    def _is_known_as_it_stands(self) -> bool:
        """Whether every bar was on time, never corrected, and shares move by its factor alone."""
        is_last = self.stored.last is self.stored.first.frame
        return is_last and not self._states_shares and bool(self.is_on_time_R.all())

    @cached_property
    def _marks(self) -> Array:
        """The marks, and a session before the first: also those of the session before each."""
        mark_DN = np.empty((self.shape[0] + 1, self.shape[1]))
        mark_DN[0] = np.nan
        carried(self.close, self.share_ratio, out_DN=mark_DN[1:])
        return mark_DN

    @property
    def _mark_before(self) -> Array:
        """The marks of the session before each."""
        return self._marks[:-1]

    @cached_property
    def _is_stored_DN(self) -> Mask:
        """Whether a bar is stored."""
        is_stored_DN = np.zeros(self.shape, dtype=bool)
        is_stored_DN.ravel()[self.cell_R] = True
        return is_stored_DN

    def _column(self, name: str, unknown: float) -> Array:
        """Return a column of the last revisions."""
        return _floats(self.stored.last, name, unknown)

    def _known_column(self, name: str, unknown: float) -> Array:
        """Return a column of the bars as they first became effective."""
        return _floats(self.stored.first.frame, name, unknown)

    def _grid(self, name: str) -> Array:
        return self._placed(self._column(name, np.nan))

    def _on_time(self, name: str) -> Array:
        """Return a column as first known, without bars that missed the next decision."""
        return self._on_time_values(self._known_column(name, np.nan))

    def _on_time_values(self, value_R: Array) -> Array:
        if self.is_on_time_R.all():
            return self._placed(value_R)
        out_DN = np.full(self.shape, np.nan)
        out_DN.ravel()[self.cell_R[self.is_on_time_R]] = value_R[self.is_on_time_R]
        return out_DN

    def _ones_but(self, value_R: Array) -> Array:
        """Return values on the axes, 1 where there is no bar; most of them are 1."""
        out_DN = np.ones(self.shape)
        which = np.flatnonzero(value_R != 1.0)
        out_DN.ravel()[self.cell_R[which]] = value_R[which]
        return out_DN

    def _placed(self, value_R: Array) -> Array:
        """Return values on the axes, NaN where there is no bar."""
        out_DN = np.full(self.shape, np.nan)
        out_DN[self._is_stored_DN] = value_R  # bars are in the order of cells
        return out_DN


@dataclass(frozen=True, eq=False)
class Later:
    """Values that decisions know otherwise from some session on.

    Attributes:
        row_P: row of the value.
        code_P: its symbol.
        known_P: first session whose decision knows it.
        by_P: what is added to it from then on.
    """

    row_P: Index
    code_P: Index
    known_P: Index
    by_P: Array

    @classmethod
    def none(cls) -> "Later":
        """Return no values."""
        nothing = np.empty(0, dtype=np.int64)
        return cls(nothing, nothing, nothing, np.empty(0))

    def inside(self, d: int) -> Index:
        """Return which of them the window of session d holds and its decision knows."""
        if not len(self.row_P):
            return self.row_P
        is_in_P = (self.row_P >= d) & (self.row_P < d + WINDOW) & (self.known_P <= d)
        return np.flatnonzero(is_in_P)


@dataclass(frozen=True, eq=False)
class Trailing:
    """The `WINDOW` sessions before each one of the books, for the few names that trade.

    Attributes:
        x_DN: values of the sessions, from `WINDOW` before the first of the books; NaN where
            unknown.
        later: values that were corrected, from the session that knows it on.
    """

    x_DN: Array
    later: "Later"

    @classmethod
    def of(cls, x_DN: Array, first: int, later: "Later | None" = None) -> "Trailing":
        """Return windows that end before row `first`, `first` + 1, and so on."""
        x_DN, n_missing = x_DN[max(first - WINDOW, 0) :], max(WINDOW - first, 0)
        if n_missing:
            x_DN = np.concatenate([np.full((n_missing, x_DN.shape[1]), np.nan), x_DN])
        later = Later.none() if later is None else later
        moved = Later(
            later.row_P + (WINDOW - first), later.code_P, later.known_P - first, later.by_P
        )
        return cls(x_DN, moved)

    def mean(self, d: int, symbol_K: Index) -> Array:
        """Return the mean of the known values; NaN where fewer than four fifths are known."""
        return self._moments(d, symbol_K)[1]

    def std(self, d: int, symbol_K: Index) -> Array:
        """Return the standard deviation (ddof 1); NaN where fewer than four fifths are known."""
        x_WK, mean_K, count_K = self._moments(d, symbol_K)
        off_WK = x_WK - mean_K
        if (count_K != WINDOW).any():  # NaN too: too few are known
            off_WK[np.isnan(off_WK)] = 0.0
        return np.asarray(np.sqrt((off_WK * off_WK).sum(axis=0) / (count_K - 1)))

    def has_any(self, d: int, symbol_K: Index) -> Mask:
        """Return where at least one value is known."""
        return np.asarray(~np.isnan(self.x_DN[d : d + WINDOW, symbol_K]).all(axis=0))

    def _moments(self, d: int, symbol_K: Index) -> tuple[Array, Array, Array]:
        """Return the windows, their means, and how many of their values are known."""
        x_WK = self.x_DN[d : d + WINDOW].take(symbol_K, axis=1)
        for p in self.later.inside(d):
            x_WK[self.later.row_P[p] - d, symbol_K == self.later.code_P[p]] += self.later.by_P[p]
        is_unknown_WK = np.isnan(x_WK)
        if not is_unknown_WK.any():
            count_K = np.full(len(symbol_K), float(WINDOW))
            return x_WK, x_WK.sum(axis=0) / WINDOW, count_K
        count_K = WINDOW - is_unknown_WK.sum(axis=0, dtype=np.float64)
        count_K[count_K < needed(WINDOW)] = np.nan
        return x_WK, np.where(is_unknown_WK, 0.0, x_WK).sum(axis=0) / count_K, count_K


def _floats(frame: pl.DataFrame, name: str, unknown: float) -> Array:
    if name not in frame.columns:
        return np.full(frame.height, unknown)
    return frame[name].cast(pl.Float64).fill_null(unknown).to_numpy()


def _places(is_so: pl.Series) -> Index:
    """Return where a column is true."""
    return is_so.fill_null(False).arg_true().to_numpy().astype(np.int64)


def chained(close_DN: Array, factor_DN: Array) -> Array:
    """Return total-return closes from each symbol's first close on.

    P[T] = P[T-1] · (close[T] / close[T-1]) / factor[T]; T-1 is the last session with a bar,
    and factors of rows without a price count as well.
    """
    price_N, raw_N = (np.full(close_DN.shape[1], np.nan) for _ in range(2))
    owed_N = np.ones(close_DN.shape[1])
    out_DN = np.full_like(close_DN, np.nan)
    for close_N, factor_N, out_N in zip(close_DN, factor_DN, out_DN, strict=True):
        has_N = ~np.isnan(close_N)
        owed_N = owed_N * factor_N
        grown_N = np.where(np.isnan(price_N), close_N, price_N * (close_N / raw_N) / owed_N)
        np.copyto(out_N, grown_N, where=has_N)
        price_N = np.where(has_N, grown_N, price_N)
        raw_N = np.where(has_N, close_N, raw_N)
        owed_N[has_N] = 1.0
    return out_DN


def chain_scale(close_DN: Array, factor_DN: Array) -> Array:
    """Return what `chained` makes of a close of 1 on each session, with a bar or without.

    scale[T] = product of factor[first close] / product of factor[T], products over all sessions
    up to T; 1 on the session of a symbol's first close.
    """
    level_DN = np.cumprod(factor_DN, axis=0)
    first_N = np.argmax(~np.isnan(close_DN), axis=0)
    return np.asarray(level_DN[first_N, np.arange(level_DN.shape[1])] / level_DN)


def carried(close_DN: Array, ratio_DN: Array, out_DN: Array | None = None) -> Array:
    """Return each close, and where there is none the last one per share of the session.

    Args:
        close_DN: NaN where there is none.
        ratio_DN: shares of the session for one share before.
        out_DN: written into, and returned; default: a new array.
    """
    out_DN = np.empty_like(close_DN) if out_DN is None else out_DN
    last_N = np.full(close_DN.shape[1], np.nan)
    for close_N, ratio_N, out_N in zip(close_DN, ratio_DN, out_DN, strict=True):
        np.divide(last_N, ratio_N, out=out_N)
        np.copyto(out_N, close_N, where=~np.isnan(close_N))
        last_N = out_N
    return out_DN
