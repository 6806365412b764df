"""The cross-sections of all months that one process trains on, held once; months are views on them.

A month's training window shares all but one month with that of the month before.  The rows of a
stored month are placed once, in a date-major array of Float32 in a memory-mapped file, and a view
takes the sessions, symbols and columns of one training window from it: the same bits as a dataset
that was built of the window's rows alone.  It holds no label, no fitted column and no raw vector:
what is fitted on a fold is appended to the fold's view (`Dataset.with_columns`).
Shape letters: D sessions, N symbols, F features, M market-wide series, R rows, C columns.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alpha_assets.arrays.places import codes, places_on
from alpha_assets.arrays.types import Array32, Dates, Index, Mask
from alpha_assets.dataset.axes import Axes
from alpha_assets.dataset.cells import Cells, column32, not_finite, refuse_duplicates
from alpha_assets.dataset.columns import informative
from alpha_assets.dataset.space import Shareable, Space, array_in
from alpha_assets.errors import BadInput, RangeError

BYTES = np.dtype(np.float32).itemsize
# What is held beside the array: small, and so copied where the array is shared.
HELD = (
    "months", "sessions", "symbols", "later_lives", "_sectors", "_informs", "_odd",
    "_valid_DN", "_tradable_DN", "_sector_DN", "_market_DM",
)  # fmt: skip
SPARE = 8  # one symbol in so many is room for later ones, once some have come


@dataclass(frozen=True)
class Part:
    """The rows of one stored month.

    Attributes:
        month: `YYYY-MM`.
        content: names what is stored of it; a month with another content is placed again.
        sessions: of the month, sorted.
        section: `session`, `symbol` of a life, `sector`, the features and market-wide series.
        tradable: `session`, `symbol` of a life, of every panel row with a bar at D-1.
        later_lives: `session`, `symbol`, `life` of the panel rows of lives after a symbol's first.
    """

    month: str
    content: str
    sessions: Dates
    section: pl.DataFrame
    tradable: pl.DataFrame
    later_lives: pl.DataFrame


@dataclass(frozen=True, eq=False)
class SharedMarket:
    """A resident market as another process of this host takes it over; picklable.

    Attributes:
        space: where the array lies.
        shape: of the array.
        held: everything else that is held.
    """

    space: Space
    shape: tuple[int, ...]
    held: Mapping[str, object]


class Resident:
    """Cross-sections of consecutive months.

    Attributes:
        features: names of the third axis.
        market_features: names of the market-wide series.
        memory: bytes that the array may take: sessions x symbols x features x 4.
        sessions: of the first axis.
        symbols: of the second axis, in the order in which they came; room for more may follow.
        months: that are held, in order, each with its content.
        later_lives: rows of the panel; see `Part`.
    """

    def __init__(
        self,
        features: Sequence[str],
        market_features: Sequence[str],
        space: Callable[[], Shareable],
        memory: int,
    ) -> None:
        """Hold nothing yet.

        Args:
            features: columns of cross-sections that differ between symbols.
            market_features: those that are equal on all rows of a session.
            space: returns memory for a new array.
            memory: bytes that one array may take.
        """
        self.features = tuple(features)
        self.market_features = tuple(market_features)
        self.memory = memory
        self._new_space = space
        self.clear()

    def clear(self) -> None:
        """Drop everything."""
        columns = (*self.features, *self.market_features)
        self.months: dict[str, str] = {}
        self.sessions: Dates = np.array([], dtype="datetime64[D]")
        self.symbols: list[str] = []
        self.later_lives = pl.DataFrame()
        self._sectors: list[str] = []
        self._informs = pl.DataFrame()
        self._odd: set[str] = set()  # columns with a value that is no finite number
        self._space: Shareable | None = None  # None: nothing is held, or another process's array
        self._x_DNF = np.zeros((0, 0, len(self.features)), dtype=np.float32)
        self._valid_DN = np.zeros((0, 0), dtype=bool)
        self._tradable_DN = np.zeros((0, 0), dtype=bool)
        self._sector_DN = np.zeros((0, 0), dtype=np.int32)
        self._market_DM = np.zeros((0, len(self.market_features)), dtype=np.float32)
        assert len(set(columns)) == len(columns), "names of columns are unique"

    def shared(self) -> SharedMarket:
        """Return what is held for another process of this host: the array is not copied.

        Raises:
            StorageError: its memory cannot be shared.
        """
        assert self._space is not None, "asked only where months are held"
        return SharedMarket(
            self._space.shared(), self._x_DNF.shape, {name: getattr(self, name) for name in HELD}
        )

    def take_over(self, market: SharedMarket) -> None:
        """Hold what another process of this host holds; what is added later is added to a copy.

        Raises:
            StorageError: it is gone, or of another host.
        """
        x_DNF = array_in(market.space, market.shape, np.float32)
        for name, value in market.held.items():
            setattr(self, name, value)
        self._x_DNF, self._space = x_DNF, None

    @property
    def n_bytes(self) -> int:
        """Bytes of the array, room for more symbols included."""
        return self._x_DNF.size * BYTES

    def lacking(self, contents: dict[str, str]) -> list[str]:
        """Return the months of a window that are to be added, after dropping what cannot stay.

        Args:
            contents: of each month of the window, in order.
        """
        held = [month for month in contents if month in self.months]
        as_stored = all(self.months[month] == contents[month] for month in held)
        # Months are appended alone: those that are held must lie before those that lack.
        if not held or not as_stored or held != list(contents)[: len(held)]:
            self.clear()
            return list(contents)
        return [month for month in contents if month not in self.months]

    def add(self, parts: Sequence[Part], keep_from: str) -> str | None:
        """Append months; drop earlier ones where all together take more than `memory`.

        Args:
            parts: following the months that are held, in order.
            keep_from: the first month that the window asks for; months before it may be dropped.

        Returns:
            The last month that was dropped; None if none was.

        Raises:
            BadInput: the window alone takes more, or two rows share session and symbol.
        """
        n_more = sum(len(part.sessions) for part in parts)
        came = self._coming(parts)
        dropped = None
        if self._bytes_with(n_more, len(came)) > self.memory and next(iter(self.months), "~") < (
            keep_from
        ):
            dropped = self._drop_before(keep_from)
            came = self._coming(parts)
        needed = self._bytes_with(n_more, len(came))
        if needed > self.memory:
            shape = (len(self.sessions) + n_more, needed // BYTES // len(self.features))
            n_symbols = shape[1] // shape[0]
            raise BadInput(
                f"the cross-sections of a training window take {needed:,} bytes ({shape[0]} "
                f"sessions, {n_symbols} symbols, {len(self.features)} columns of 4 bytes), more "
                f"than memory = {self.memory:,}: raise ALPHA_MEMORY, or choose fewer features, a "
                "smaller universe or a shorter split.lookback_sessions"
            )
        self._make_room(n_more, came)
        for part in parts:
            self._place(part)
        return dropped

    def symbols_on(self, sessions: Dates) -> tuple[str, ...]:
        """Return the symbols with a universe row on some sessions, sorted."""
        has_row_N: Mask = np.any(self._valid_DN[self._places(sessions)], axis=0)
        return tuple(sorted(self.symbols[n] for n in np.flatnonzero(has_row_N)))

    def sectors_on(self, sessions: Dates) -> tuple[str, ...]:
        """Return the sectors of the universe rows on some sessions, sorted."""
        found = np.unique(self._sector_DN[self._places(sessions)])
        return tuple(sorted(self._sectors[place - 1] for place in found if place > 0))

    def names_on(self, sessions: Dates) -> pl.DataFrame:
        """Return `session` and `names`: rows with a bar on the session before, where there are."""
        place_D = self._places(sessions)
        n_D = (self._valid_DN[place_D] & self._tradable_DN[place_D]).sum(axis=1)
        return pl.DataFrame({"session": sessions[n_D > 0], "names": n_D[n_D > 0]})

    def informs(self) -> pl.DataFrame:
        """Return `session` and whether each column holds information; see `informative`."""
        return self._informs

    def view(self, axes: Axes) -> Cells:
        """Return what the axes name; see `Cells`.

        The features are a view on the array itself where it has no other symbols or columns, else
        a copy of their own.

        Raises:
            BadInput: a feature on the axes is null or not finite.
            RangeError: a session that no month holds.
        """
        place_D = self._places(axes.sessions)
        span = slice(int(place_D[0]), int(place_D[-1]) + 1)
        n_all, n_columns = self._x_DNF.shape[1:]
        place_of = {symbol: n for n, symbol in enumerate(self.symbols)}
        place_N = np.array([place_of[symbol] for symbol in axes.symbols], dtype=np.int64)
        place_F = np.array([self.features.index(name) for name in axes.features], dtype=np.int64)
        # `take` lays its result out as the axes are: models sum in the order of memory.
        valid_DN = self._valid_DN[span].take(place_N, axis=1)
        x_DNF: Array32 = self._x_DNF[span]
        if not np.array_equal(place_N, np.arange(n_all)):
            x_DNF = x_DNF.take(place_N, axis=1)
        if not np.array_equal(place_F, np.arange(n_columns)):
            x_DNF = x_DNF.take(place_F, axis=2)
        at_M = [self.market_features.index(name) for name in axes.market_features]
        # A session on which only other symbols have rows has none here.
        market_DM = np.where(
            valid_DN.any(axis=1, keepdims=True), self._market_DM[span][:, at_M], 0.0
        )
        self._refuse_odd(axes, valid_DN, x_DNF, market_DM)
        of_own = np.zeros(len(self._sectors) + 1, dtype=np.int64)  # 0: unknown
        of_own[1:] = codes(pl.Series(self._sectors, dtype=pl.String), axes.known_sectors) + 1
        return Cells(
            x_DNF=x_DNF,
            valid_DN=valid_DN,
            tradable_DN=self._tradable_DN[span].take(place_N, axis=1),
            sector_DN=np.where(valid_DN, of_own[self._sector_DN[span].take(place_N, axis=1)], 0),
            market_DM=np.ascontiguousarray(market_DM, dtype=np.float32),
        )

    def _refuse_odd(
        self, axes: Axes, valid_DN: Mask, x_DNF: Array32, market_DM: NDArray[np.float32]
    ) -> None:
        """Refuse values on the axes that are no finite numbers, as a dataset built alone does."""
        for name in (*axes.market_features, *axes.features):
            if name not in self._odd:
                continue
            if name in axes.features:
                value_DN = x_DNF[..., axes.features.index(name)]
            else:
                value_DN = market_DM[:, [axes.market_features.index(name)]]
            bad_DN = valid_DN & ~np.isfinite(value_DN)
            if bad_DN.any():
                d, n = np.argwhere(bad_DN)[0]
                key = (axes.sessions[d].item(), axes.symbols[n])
                raise not_finite(name, int(bad_DN.sum()), key)

    def _places(self, sessions: Dates) -> Index:
        place_D = places_on(self.sessions, np.asarray(sessions, dtype="datetime64[D]"))
        if (place_D < 0).any():
            raise RangeError(f"no month that is held has session {sessions[place_D < 0][0]}")
        return place_D

    def _coming(self, parts: Sequence[Part]) -> list[str]:
        """Return the symbols of some months that are not on the axis yet, sorted."""
        found: set[str] = set()
        for part in parts:
            found.update(part.section["symbol"].cast(pl.String).unique())
        return sorted(found.difference(self.symbols))

    def _capacity(self, n_sessions: int, n_came: int) -> int:
        """Return how long the symbol axis will be once so many more of both have come."""
        n_all, capacity = len(self.symbols) + n_came, self._x_DNF.shape[1]
        if n_all <= capacity:
            return capacity
        roomy = n_all + (n_all // SPARE if self.symbols else 0)
        return roomy if self._bytes(n_sessions, roomy) <= self.memory else n_all

    def _bytes(self, n_sessions: int, n_symbols: int) -> int:
        """Return what the array takes with so many more sessions and so many symbols in all."""
        return (len(self.sessions) + n_sessions) * n_symbols * len(self.features) * BYTES

    def _bytes_with(self, n_sessions: int, n_came: int) -> int:
        return self._bytes(n_sessions, self._capacity(n_sessions, n_came))

    def _make_room(self, n_sessions: int, came: Sequence[str]) -> None:
        """Lengthen the axes: sessions in place, symbols into a new array where there is no room."""
        held = len(self.sessions)
        shape = (held + n_sessions, self._capacity(n_sessions, len(came)), len(self.features))
        self.symbols += came
        if self._space is None or shape[1] != self._x_DNF.shape[1]:
            self._new_array(shape, self._x_DNF)
        else:
            self._x_DNF = array_in(self._space, shape, np.float32)
        more = ((0, n_sessions), (0, shape[1] - self._valid_DN.shape[1]))
        self._valid_DN = np.pad(self._valid_DN, more)
        self._tradable_DN = np.pad(self._tradable_DN, more)
        self._sector_DN = np.pad(self._sector_DN, more)
        self._market_DM = np.pad(self._market_DM, ((0, n_sessions), (0, 0)))

    def _new_array(self, shape: tuple[int, int, int], x_DNF: Array32) -> None:
        """Begin an array of another shape with the values of one before."""
        self._space = self._new_space()
        self._x_DNF = array_in(self._space, shape, np.float32)
        self._x_DNF[: x_DNF.shape[0], : x_DNF.shape[1]] = x_DNF

    def _place(self, part: Part) -> None:
        """Write the rows of a month behind those that are held."""
        start = len(self.sessions)
        self.sessions = np.concatenate([self.sessions, part.sessions])
        self.months[part.month] = part.content
        rows = part.section
        day = rows["session"].cast(pl.Date).to_numpy().astype("datetime64[D]")
        d = start + places_on(part.sessions, day)
        n = codes(rows["symbol"], self.symbols)
        refuse_duplicates(d * len(self.symbols) + n, rows, "cross_section")
        block_RF = np.empty((rows.height, len(self.features)), dtype=np.float32)
        for f, name in enumerate(self.features):
            block_RF[:, f] = self._values(rows, name)
        self._x_DNF[d, n] = block_RF
        for m, name in enumerate(self.market_features):
            self._market_DM[d, m] = self._values(rows, name)
        self._valid_DN[d, n] = True
        known = set(self._sectors)
        self._sectors += sorted(set(rows["sector"].cast(pl.String).drop_nulls().unique()) - known)
        self._sector_DN[d, n] = codes(rows["sector"], self._sectors) + 1
        informs = informative(rows, self.features, self.market_features)
        self._informs = pl.concat([self._informs, informs]) if start else informs
        lives = part.later_lives
        self.later_lives = pl.concat([self.later_lives, lives]) if start else lives
        day = part.tradable["session"].cast(pl.Date).to_numpy().astype("datetime64[D]")
        d, n = places_on(part.sessions, day), codes(part.tradable["symbol"], self.symbols)
        in_section = (d >= 0) & (n >= 0)
        self._tradable_DN[start + d[in_section], n[in_section]] = True

    def _values(self, rows: pl.DataFrame, name: str) -> Array32:
        """Return a column, NaN where it is null; note where a value is no finite number."""
        value_R = column32(rows, name)
        if not np.isfinite(value_R).all():
            self._odd.add(name)
        return value_R

    def _drop_before(self, month: str) -> str:
        """Drop the months before one, and the symbols that no later month has."""
        gone = [held for held in self.months if held < month]
        kept = {held: content for held, content in self.months.items() if held >= month}
        first = np.datetime64(month, "D")
        stay = slice(int(np.searchsorted(self.sessions, first)), None)
        place_N = np.flatnonzero(self._valid_DN[stay].any(axis=0))
        x_DNF = self._x_DNF[stay]
        self.sessions = self.sessions[stay]
        self.months = kept
        self.symbols = [self.symbols[n] for n in place_N]
        self._valid_DN = self._valid_DN[stay][:, place_N]
        self._tradable_DN = self._tradable_DN[stay][:, place_N]
        self._sector_DN = self._sector_DN[stay][:, place_N]
        self._market_DM = self._market_DM[stay]
        later = pl.col("session") >= first.item()
        self._informs = self._informs.filter(later)
        self.later_lives = self.later_lives.filter(later)
        self._new_array((len(self.sessions), len(place_N), len(self.features)), x_DNF[:, place_N])
        return gone[-1]
