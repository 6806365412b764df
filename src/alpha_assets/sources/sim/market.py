"""The simulated exchange: session by session, from shocks and forecast to bars.

What a session holds depends on the seed, the dates up to it and the other settings, never on
how long the market goes on: a later `last` adds rows and changes none.
Shape letters: D sessions, N symbols, C components, P padded sessions (LONG more than D).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from alpha_assets.arrays.types import Array, Array32, Dates, Index, Mask
from alpha_assets.calendar import Calendar
from alpha_assets.errors import SpecError
from alpha_assets.sources.sim import draws, signal, tokyo
from alpha_assets.sources.sim.bars import bars
from alpha_assets.sources.sim.events import EventBook, Events
from alpha_assets.sources.sim.latents import Latents
from alpha_assets.sources.sim.rig import COMPONENTS as RIG_COMPONENTS
from alpha_assets.sources.sim.rig import SERIES, Rig
from alpha_assets.sources.sim.roster import Roster, roster
from alpha_assets.sources.sim.shocks import Shocks
from alpha_assets.sources.sim.spec import SimSpec

LOCKED_VOLUME = 0.1  # of what would have traded
BAR_COLUMNS = ("open", "high", "low", "close", "volume", "turnover_value")


@dataclass(frozen=True, eq=False)
class Corrections:
    """Bars whose first delivery was wrong, in the order of their sessions."""

    session: Index  # number
    symbol: Index  # number
    lag: Index  # sessions until the true bar was published
    wrong_close: Array
    wrong_volume: Array
    wrong_turnover_value: Array


@dataclass(frozen=True, eq=False)
class RigSeries:
    """The raw series of a rig, as published after the close."""

    series: Array  # [X, D, N] in the order of rig.SERIES
    regime: Array  # [D], 1 or −1


@dataclass(frozen=True, eq=False)
class SimMarket:
    """Everything that happened, and what could have been known about it.

    Prices and volumes are raw, NaN where there is no bar.  Rows follow `sessions`; columns
    follow the symbols' numbers.  What is known after the close of row t decides row t + 1.
    """

    spec: SimSpec
    sessions: Dates
    roster: Roster
    bar: dict[str, Array]  # each of BAR_COLUMNS, [D, N]
    factor: Array  # adjustment_factor
    upper_limit: Mask  # touched
    lower_limit: Mask
    dividend: Array  # JPY per raw share, 0 on most sessions
    corrections: Corrections
    f: Array32  # the forecast after the close; NaN where not listed
    f_price: Array32  # the part of it that prices reveal
    components: Array32  # [C, D, N] in the order of `component_names`
    strength: Array  # [D], drift of the next session per unit of f and of volatility
    rig: RigSeries | None = None  # of a market with the section [sim.rig]

    @property
    def component_names(self) -> tuple[str, ...]:
        """The components that are planted, or could be."""
        return component_names(self.spec)

    def listed(self) -> Mask:
        """Return which symbols are listed, by session."""
        number_D1 = np.arange(len(self.sessions))[:, None]
        return (self.roster.start <= number_D1) & (number_D1 <= self.roster.end)

    def adjusted(self, column: str) -> Array:
        """Return prices restated forwards: raw / product of all factors so far."""
        return np.asarray(self.bar[column] / np.cumprod(self.factor, axis=0))

    def index_level(self, base: float) -> Array:
        """Return an equal-weighted index of all closes, dividends not reinvested, [D].

        Args:
            base: its level before the first return.
        """
        close_DN = self.adjusted("close")
        last_N = np.full(close_DN.shape[1], np.nan)
        level, level_D = base, np.empty(len(close_DN))
        for number, close_N in enumerate(close_DN):
            move_N = close_N / last_N - 1
            moved_N = ~np.isnan(move_N)
            if moved_N.any():
                level *= 1 + move_N[moved_N].mean()
            level_D[number] = level
            last_N = np.where(np.isnan(close_N), last_N, close_N)
        return level_D


def component_names(spec: SimSpec) -> tuple[str, ...]:
    """Return the components that a market plants, or could plant."""
    return tuple(c.name for c in signal.COMPONENTS) if spec.rig is None else RIG_COMPONENTS


@lru_cache(maxsize=2)
def generate(spec: SimSpec, calendar: Calendar) -> SimMarket:
    """Return the market that a spec describes; kept in memory for the next caller.

    Raises:
        SpecError: no session of the calendar lies between `first` and `last`.
    """
    sessions = calendar.between(spec.first, spec.last)
    if not len(sessions):
        raise SpecError(
            f"sim.first = {spec.first} to sim.last = {spec.last} holds no session of "
            f"{calendar.exchange}; want a span with at least one"
        )
    offset = int(np.searchsorted(calendar.sessions, sessions[0]))
    change = int(np.searchsorted(calendar.sessions, np.datetime64(tokyo.SEGMENT_CHANGE, "D")))
    symbols = roster(spec, change - offset)
    return _Walk(spec, sessions, symbols, _ex_months(calendar, offset, len(sessions))).market()


class _Walk:
    """The loop over sessions and what it carries from one to the next."""

    def __init__(self, spec: SimSpec, sessions: Dates, symbols: Roster, ex_month_D: Index) -> None:
        d, n = len(sessions), len(symbols)
        self.spec, self.sessions, self.roster, self.ex_month_D = spec, sessions, symbols, ex_month_D
        self.shocks = Shocks(spec, symbols)
        self.latents = Latents(spec.seed, symbols)
        self.events = EventBook(spec, symbols)
        self.close_N = symbols.price.copy()  # last close, raw
        self.pending_N = np.zeros(n)  # log move since that no bar has shown
        self.shares_N = symbols.shares.copy()
        self.drift_N = np.zeros(n)  # log, from this session's open to its close
        self.bar = {name: np.full((d, n), np.nan) for name in BAR_COLUMNS}
        self.factor = np.ones((d, n))
        self.dividend = np.zeros((d, n))
        self.upper_limit = np.zeros((d, n), dtype=bool)
        self.lower_limit = np.zeros((d, n), dtype=bool)
        self.past = signal.Past(*(np.zeros((signal.LONG + d, n)) for _ in signal.Past._fields))
        self.f = np.full((d, n), np.nan, dtype=np.float32)
        self.f_price = np.full((d, n), np.nan, dtype=np.float32)
        self.components = np.zeros((len(component_names(spec)), d, n), dtype=np.float32)
        self.rig = None if spec.rig is None else Rig(spec.seed, spec.rig, symbols)
        n_series = 0 if spec.rig is None else len(SERIES)
        self.series = RigSeries(np.zeros((n_series, d, n)), np.zeros(d))
        self.strength = np.zeros(d)
        self.wrong: list[tuple[Index, Index, Index, Array, Array, Array]] = []

    def market(self) -> SimMarket:
        """Walk through all sessions."""
        for number, day in enumerate(self.sessions.astype(np.int64).tolist()):
            self._trade(number, day)
            self._forecast(number, day)
        return SimMarket(
            spec=self.spec,
            sessions=self.sessions,
            roster=self.roster,
            bar=self.bar,
            factor=self.factor,
            upper_limit=self.upper_limit,
            lower_limit=self.lower_limit,
            dividend=self.dividend,
            corrections=Corrections(
                *(np.concatenate(part) for part in zip(*self.wrong, strict=True))
            ),
            f=self.f,
            f_price=self.f_price,
            components=self.components,
            strength=self.strength,
            rig=None if self.rig is None else self.series,
        )

    def _trade(self, number: int, day: int) -> None:
        """Make the bars of a session."""
        symbols = self.roster
        moves = self.shocks.step(number, day)
        events = self.events.step(number, day, int(self.ex_month_D[number]), self.close_N)
        has_bar_N = events.has_bar
        base_N = self.close_N * events.factor
        wish_open_N = base_N * np.exp(self.pending_N + moves.overnight) - events.dividend
        wish_open_N = np.maximum(wish_open_N, 1.0)
        wish_close_N = wish_open_N * np.exp(moves.intraday + self.drift_N)
        u_2N = 1 - draws.stream(self.spec.seed, draws.Purpose.RANGE, day).random((2, len(symbols)))
        made = bars(base_N, wish_open_N, wish_close_N, moves.intraday_sd, u_2N, self.spec.ticks)

        self.shares_N = self.shares_N / events.factor
        wish_volume_N = self.shares_N * moves.turnover * np.where(made.locked, LOCKED_VOLUME, 1.0)
        volume_N = np.maximum(np.rint(wish_volume_N / tokyo.LOT), 1.0) * tokyo.LOT
        mean_price_N = (made.open + made.high + made.low + made.close) / 4
        values = (made.open, made.high, made.low, made.close, volume_N, volume_N * mean_price_N)
        for name, value_N in zip(BAR_COLUMNS, values, strict=True):
            self.bar[name][number] = np.where(has_bar_N, value_N, np.nan)
        self.factor[number] = events.factor
        listed_N = (symbols.start <= number) & (number <= symbols.end)
        self.dividend[number] = np.where(listed_N, events.dividend, 0.0)
        self.upper_limit[number] = has_bar_N & made.upper_limit
        self.lower_limit[number] = has_bar_N & made.lower_limit
        self._note_wrong(number, events, has_bar_N)

        first_N = number == symbols.start
        row = signal.LONG + number
        self.past.overnight[row] = np.where(has_bar_N & ~first_N, np.log(made.open / base_N), 0.0)
        self.past.intraday[row] = np.where(has_bar_N, np.log(made.close / made.open), 0.0)
        self.past.turnover[row] = np.where(has_bar_N, volume_N / self.shares_N, 0.0)

        # Without a bar the price moves on unseen and opens there; what was planted is not paid.
        unseen_N = moves.overnight + moves.intraday + np.log1p(-events.dividend / self.close_N)
        waits_N = listed_N & ~has_bar_N
        self.pending_N = np.where(
            has_bar_N, made.pending, np.where(waits_N, self.pending_N + unseen_N, 0.0)
        )
        self.close_N = np.where(has_bar_N, made.close, self.close_N)

    def _forecast(self, number: int, day: int) -> None:
        """Form the forecast after the close, and the drift that it plants in the next session."""
        symbols, spec = self.roster, self.spec
        age_N = number - symbols.start
        listed_N = (age_N >= 0) & (number <= symbols.end)
        latent_CN = self.latents.step(number, day, listed_N)
        if self.rig is not None:
            x_XN, regime, g_CN = self.rig.step(day)
            self.series.series[:, number], self.series.regime[number] = x_XN, regime
            f_N, price_part_N = self.rig.forecast(g_CN), np.zeros(len(symbols))
        else:
            rows = slice(number + 1, number + 1 + signal.LONG)
            past = signal.Past(*(series[rows] for series in self.past))
            price_CN = signal.price_components(past, age_N, listed_N)
            f_N, price_part_N = signal.forecast(price_CN, latent_CN, listed_N, spec.price_share)
            g_CN = np.concatenate([price_CN, latent_CN])
        strength = signal.RHO * spec.signal * (1 + spec.signal_variation * self.latents.strength)
        self.drift_N = strength * symbols.idio_vol * f_N
        self.f[number] = np.where(listed_N, f_N, np.nan)
        self.f_price[number] = np.where(listed_N, price_part_N, np.nan)
        self.components[:, number] = g_CN
        self.strength[number] = strength

    def _note_wrong(self, number: int, events: Events, has_bar_N: Mask) -> None:
        """Keep the wrong first delivery of some bars."""
        wrong = np.flatnonzero(events.corrected & has_bar_N & (number > self.roster.start))
        low, high = self.bar["low"][number, wrong], self.bar["high"][number, wrong]
        close = low + events.wrong_close[wrong] * (high - low)
        if self.spec.ticks:
            close = np.clip(tokyo.on_tick(close), low, high)
        scale = events.wrong_volume[wrong]
        volume = np.maximum(np.rint(self.bar["volume"][number, wrong] * scale / tokyo.LOT), 1.0)
        value = volume * tokyo.LOT * (low + high) / 2
        self.wrong.append(
            (
                np.full(len(wrong), number),
                wrong,
                events.lag[wrong],
                close,
                volume * tokyo.LOT,
                value,
            )
        )


def _ex_months(calendar: Calendar, offset: int, n: int) -> Index:
    """Return per session the month whose dividends go ex on it, 0 for none.

    Record dates are month ends; with settlement after two sessions the ex-date is the last
    session but one.
    """
    month = calendar.sessions.astype("datetime64[M]").astype(np.int64)
    month = np.append(month, [month[-1], month[-1]])  # a month that is not over has no ex-date
    last_but_one = (month[1:-1] == month[:-2]) & (month[2:] != month[1:-1])
    return np.where(last_but_one, month[:-2] % 12 + 1, 0)[offset : offset + n]
