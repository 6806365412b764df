"""The surface of options on the index as a few numbers: its level, slope, skew and what is open.

Shape letters: R rows of the feed, S surfaces (what was known of a day at one moment), C usable
contracts, E chains (the contracts of one surface with one expiry), K strikes of chains.
"""

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alpha_assets.arrays.rates import DAYS_A_YEAR
from alpha_assets.arrays.types import Array, Index, Mask
from alpha_assets.calendar import Calendar
from alpha_assets.feeds.derivatives import CALL, NORMAL, PUT
from alpha_assets.panel.states.event_times import MOMENT, moments, session_numbers

OPTION_COLUMNS = {
    "iv_30": "implied volatility at the money, 30 days, fraction a year",
    "iv_60": "implied volatility at the money, 60 days, fraction a year",
    "base_volatility": "official volatility at the money, expiry nearest 30 days, fraction a year",
    "iv_gap": "own volatility at the money less the official one, same expiry, fraction a year",
    "is_odd": "1 where the two are a volatility point or more apart",
    "skew_25d": "put less call at a delta of 0.25, expiry nearest 30 days, fraction a year",
    "skew_slope": "volatility per log moneyness, expiry nearest 30 days, fraction a year",
    "put_call_oi": "open puts over open calls, log ratio",
    "put_call_volume": "traded puts over traded calls, log ratio",
    "open_interest": "log of the open contracts",
    "days_to_sq": "sessions from this state to the next special quotation",
    "underlying": "level of the index, points",
    "lag": "sessions from the surface's day to this state",
}

SOONEST, FURTHEST = 5, 120  # calendar days to an expiry that counts
SHORT, LONG = 30, 60  # days of the constant maturities
NEAR = 0.025 + 1e-12  # of the index, from a strike at the money; rounding included
LEAST = 4  # contracts at the money; else the nearest strikes; likewise points of a line
WING = 0.10  # log moneyness up to which the line is drawn
DELTA = 0.25
ODD_GAP = 0.01 - 1e-9  # one volatility point, less what rounding takes off
PERCENT = 100.0


def option_states(rows: pl.DataFrame, calendar: Calendar, until: int) -> pl.DataFrame:
    """Return the surface of each day in a few numbers, one state per day and moment.

    Rows for emergency margin do not count.  Volatilities are of contracts 5 to 120 days from
    their expiry; open and traded contracts are summed over all expiries.
    """
    contracts = moments(
        rows.filter(pl.col("division") == NORMAL), ["event_date"], ["contract"], calendar
    )
    clock = contracts.select("event_date", pl.col(MOMENT).alias("available_at"))
    start_S = np.flatnonzero((clock != clock.shift(1)).fill_null(True).to_numpy().any(axis=1))
    surface_R = np.repeat(np.arange(len(start_S)), np.diff(start_S, append=contracts.height))
    clock = clock[start_S].with_columns(pl.lit(0, pl.Int16).alias("revision"))
    underlying_S = _median(surface_R, _positive(contracts, "underlying"), len(start_S))
    made = {
        **_volatilities(_Chains.of(contracts, surface_R, underlying_S), len(start_S)),
        **_activity(contracts, surface_R, len(start_S)),
        **_sessions(contracts, clock, surface_R, start_S, calendar),
        "underlying": underlying_S,
    }
    columns = [pl.Series(name, made[name], dtype=pl.Float64) for name in OPTION_COLUMNS]
    return clock.with_columns(columns).with_columns(pl.col(OPTION_COLUMNS).fill_nan(None))


@dataclass(frozen=True, eq=False)
class _Chains:
    """Contracts by chain, strike and side, puts first; and the chains, by surface and days."""

    chain_C: Index
    strike_C: Array
    moneyness_C: Array  # strike over index
    iv_C: Array
    settlement_C: Array
    base_C: Array
    rate_C: Array
    is_call_C: Mask
    surface_E: Index
    days_E: Index

    @classmethod
    def of(cls, contracts: pl.DataFrame, surface_R: Index, underlying_S: Array) -> "_Chains":
        """Return the contracts that say something about volatility."""
        days_R = (contracts["expiry"] - contracts["event_date"]).dt.total_days().to_numpy()
        strike_R, iv_R = _positive(contracts, "strike"), _positive(contracts, "implied_volatility")
        settlement_R, under_R = _positive(contracts, "settlement"), underlying_S[surface_R]
        side_R = contracts["put_call"]
        is_side_R = side_R.is_in([PUT, CALL]).fill_null(False).to_numpy()
        usable_R = (days_R >= SOONEST) & (days_R <= FURTHEST) & is_side_R
        for value_R in (strike_R, iv_R, settlement_R, under_R):
            usable_R &= ~np.isnan(value_R)
        is_call_R = (side_R == CALL).fill_null(False).to_numpy()
        row_C = np.flatnonzero(usable_R)
        keys = (is_call_R, strike_R, days_R, surface_R)
        row_C = row_C[np.lexsort([key[row_C] for key in keys])]
        surface_C, days_C = surface_R[row_C], days_R[row_C].astype(np.int64)
        first_C = _is_first(surface_C, days_C)
        return cls(
            np.cumsum(first_C) - 1,
            strike_R[row_C],
            strike_R[row_C] / under_R[row_C],
            iv_R[row_C] / PERCENT,
            settlement_R[row_C],
            _positive(contracts, "base_volatility")[row_C] / PERCENT,
            _floats(contracts, "interest_rate")[row_C] / PERCENT,
            is_call_R[row_C],
            surface_C[first_C],
            days_C[first_C],
        )

    def only(self, wanted_C: Mask) -> "_Chains":
        """Return some of the contracts; the chains keep their places."""
        parts = {name: value[wanted_C] for name, value in vars(self).items() if name[-1] == "C"}
        return _Chains(**parts, surface_E=self.surface_E, days_E=self.days_E)

    def median(self, value_C: Array) -> Array:
        """Return the median of each chain."""
        return _median(self.chain_C, value_C, len(self.days_E))

    def sum(self, value_C: Array) -> Array:
        """Return the sum of each chain, added in order of strike."""
        return np.bincount(self.chain_C, value_C, minlength=len(self.days_E)).astype(np.float64)

    def count(self) -> Index:
        """Return how many contracts each chain has."""
        return np.bincount(self.chain_C, minlength=len(self.days_E))

    @property
    def years_E(self) -> Array:
        """Years to expiry."""
        return self.days_E / DAYS_A_YEAR


def _volatilities(chains: _Chains, n_surfaces: int) -> dict[str, Array]:
    iv_E = _at_the_money(chains)
    has_E = np.flatnonzero(~np.isnan(iv_E))
    surface_H, days_H, iv_H = chains.surface_E[has_E], chains.days_E[has_E], iv_E[has_E]
    made = {
        name: _at_maturity(surface_H, days_H, iv_H, n_surfaces, days)
        for name, days in (("iv_30", SHORT), ("iv_60", LONG))
    }
    low_S, high_S = _around(surface_H, days_H, n_surfaces, SHORT)
    far_H = np.append(np.abs(days_H - SHORT), FURTHEST)  # the last one is of no chain
    main_S = np.where(far_H[high_S] < far_H[low_S], high_S, low_S)
    is_main_E = np.zeros(len(iv_E), dtype=np.bool_)
    is_main_E[has_E[main_S[main_S >= 0]]] = True
    main = chains.only(is_main_E[chains.chain_C])
    base_E = main.median(main.base_C)
    gap_E = iv_E - base_E
    found = {
        "base_volatility": base_E,
        "iv_gap": gap_E,
        "is_odd": np.where(np.isnan(gap_E), np.nan, np.abs(gap_E) >= ODD_GAP),
        "skew_25d": _skew(main),
        "skew_slope": _slope(main),
    }
    for name, value_E in found.items():
        made[name] = np.full(n_surfaces, np.nan)
        made[name][chains.surface_E[is_main_E]] = value_E[is_main_E]
    return made


def _at_the_money(chains: _Chains) -> Array:
    """Return the median volatility of the contracts near the index, per chain.

    Of the four nearest strikes where fewer than four contracts are near; NaN where a chain has
    fewer than four strikes then.
    """
    far_C = np.abs(chains.moneyness_C - 1)
    is_near_C = far_C <= NEAR
    enough_E = np.bincount(chains.chain_C[is_near_C], minlength=len(chains.days_E)) >= LEAST
    first_C = _is_first(chains.chain_C, chains.strike_C)
    strike_of_C = np.cumsum(first_C) - 1
    chain_K = chains.chain_C[first_C]
    n_E = np.bincount(chain_K, minlength=len(chains.days_E))
    # Of two strikes that are equally far the lower one is nearer: the sort is stable.
    order_K = np.lexsort((far_C[first_C], chain_K))
    rank_K = np.empty(len(chain_K), dtype=np.int64)
    rank_K[order_K] = np.arange(len(chain_K)) - (np.cumsum(n_E) - n_E)[chain_K[order_K]]
    is_nearest_C = (rank_K < LEAST)[strike_of_C] & (n_E >= LEAST)[chains.chain_C]
    counts_C = np.where(enough_E[chains.chain_C], is_near_C, is_nearest_C)
    return chains.median(np.where(counts_C, chains.iv_C, np.nan))


def _at_maturity(surface_H: Index, days_H: Index, iv_H: Array, n_surfaces: int, days: int) -> Array:
    """Return the volatility at a number of days, by total variance; flat outside of the expiries.

    iv² T = w iv_1² T_1 + (1 - w) iv_2² T_2,  w = (T_2 - T) / (T_2 - T_1)

    Source: Cboe (2019), Volatility Index methodology.
    """
    low_S, high_S = _around(surface_H, days_H, n_surfaces, days)
    made_S = np.full(n_surfaces, np.nan)
    for one_S, other_S in ((low_S, high_S), (high_S, low_S)):
        alone_S = (one_S >= 0) & (other_S < 0)
        made_S[alone_S] = iv_H[one_S[alone_S]]
    both_S = (low_S >= 0) & (high_S >= 0)
    low, high = low_S[both_S], high_S[both_S]
    weight = (days_H[high] - days) / (days_H[high] - days_H[low])
    variance = weight * iv_H[low] ** 2 * days_H[low] + (1 - weight) * iv_H[high] ** 2 * days_H[high]
    made_S[both_S] = np.sqrt(variance / days)
    return made_S


def _around(surface_H: Index, days_H: Index, n_surfaces: int, days: int) -> tuple[Index, Index]:
    """Return, per surface, the last chain up to a number of days and the first beyond; -1: none."""
    surface_S = np.arange(n_surfaces)
    width = FURTHEST + 1
    key_H = surface_H * width + days_H
    after_S = np.searchsorted(key_H, surface_S * width + days, side="right")
    begin_S = np.searchsorted(surface_H, surface_S, side="left")
    end_S = np.searchsorted(surface_H, surface_S, side="right")
    low_S = np.where(after_S > begin_S, after_S - 1, -1)
    return low_S, np.where(after_S < end_S, after_S, -1)


def _skew(chains: _Chains) -> Array:
    """Return the volatility of the 25-delta put less that of the 25-delta call, per chain.

    d1 = (ln(F/K) + iv² T / 2) / (iv √T); delta = e^(-rT) N(d1) of a call, e^(-rT) N(-d1) of a put,
    each with the volatility of its own contract; linear in delta between contracts.

    Source: Xing, Zhang & Zhao (2010), J. Financ. Quant. Anal. 45.
    """
    from scipy.special import ndtr

    rate_E = chains.median(chains.rate_C)
    forward_C = _forward(chains, rate_E)[chains.chain_C]
    years_C = chains.years_E[chains.chain_C]
    spread_C = chains.iv_C * np.sqrt(years_C)
    d1_C = np.log(forward_C / chains.strike_C) / spread_C + 0.5 * spread_C
    sign_C = np.where(chains.is_call_C, 1.0, -1.0)
    delta_C = np.exp(-rate_E[chains.chain_C] * years_C) * ndtr(sign_C * d1_C)
    is_out_C = sign_C * (chains.strike_C - forward_C) > 0  # of the money
    iv = [
        _at_delta(chains.chain_C[own_C], delta_C[own_C], chains.iv_C[own_C], len(chains.days_E))
        for own_C in (is_out_C & ~chains.is_call_C, is_out_C & chains.is_call_C)
    ]
    return iv[0] - iv[1]


def _forward(chains: _Chains, rate_E: Array) -> Array:
    """Return the forward by put-call parity at the strike where the two sides are closest."""
    first_C = _is_first(chains.chain_C, chains.strike_C)
    strike_of_C = np.cumsum(first_C) - 1
    chain_K, strike_K = chains.chain_C[first_C], chains.strike_C[first_C]
    put_K, call_K = np.full((2, len(chain_K)), np.nan)
    for side_K, own_C in ((put_K, ~chains.is_call_C), (call_K, chains.is_call_C)):
        # Backwards, so that the first of two contracts is the last one written.
        side_K[strike_of_C[own_C][::-1]] = chains.settlement_C[own_C][::-1]
    forward_K = strike_K + np.exp(rate_E * chains.years_E)[chain_K] * (call_K - put_K)
    both_K = np.flatnonzero(~np.isnan(forward_K) & (forward_K > 0))
    both_K = both_K[np.lexsort((np.abs(call_K - put_K)[both_K], chain_K[both_K]))]
    best_K = both_K[_is_first(chain_K[both_K])]
    forward_E = np.full(len(chains.days_E), np.nan)
    forward_E[chain_K[best_K]] = forward_K[best_K]
    return forward_E


def _at_delta(chain_X: Index, delta_X: Array, iv_X: Array, n_chains: int) -> Array:
    """Return the volatility at a delta of 0.25; NaN where no two contracts enclose it."""
    order_X = np.lexsort((delta_X, chain_X))
    delta_X, iv_X = delta_X[order_X], iv_X[order_X]
    n_E = np.bincount(chain_X, minlength=n_chains)
    below_E = np.bincount(chain_X[order_X][delta_X < DELTA], minlength=n_chains)
    chain = np.flatnonzero((below_E > 0) & (below_E < n_E))
    high = (np.cumsum(n_E) - n_E + below_E)[chain]
    low = high - 1
    weight = (DELTA - delta_X[low]) / (delta_X[high] - delta_X[low])
    made_E = np.full(n_chains, np.nan)
    made_E[chain] = iv_X[low] + weight * (iv_X[high] - iv_X[low])
    return made_E


def _slope(chains: _Chains) -> Array:
    """Return the least-squares slope of volatility on log moneyness up to 10 %, per chain."""
    log_C = np.log(chains.moneyness_C)
    inner = chains.only(np.abs(log_C) <= WING)
    log_C = log_C[np.abs(log_C) <= WING]
    n_E = np.maximum(inner.count(), 1)
    off_C = log_C - (inner.sum(log_C) / n_E)[inner.chain_C]
    spread_E = inner.sum(off_C * off_C)
    is_line_E = (inner.count() >= LEAST) & (spread_E > 0)
    iv_off_C = inner.iv_C - (inner.sum(inner.iv_C) / n_E)[inner.chain_C]
    return np.where(
        is_line_E, inner.sum(off_C * iv_off_C) / np.where(is_line_E, spread_E, 1.0), np.nan
    )


def _activity(contracts: pl.DataFrame, surface_R: Index, n_surfaces: int) -> dict[str, Array]:
    """Return what is open and traded, of all expiries."""
    side_R = contracts["put_call"]
    sums: dict[tuple[str, str], Array] = {}
    for name in ("open_interest", "volume"):
        value_R = np.nan_to_num(_floats(contracts, name))
        for word in (PUT, CALL):
            own_R = (side_R == word).fill_null(False).to_numpy()
            total_S = np.bincount(surface_R[own_R], value_R[own_R], minlength=n_surfaces)
            sums[name, word] = total_S.astype(np.float64)
    open_puts, open_calls = sums["open_interest", PUT], sums["open_interest", CALL]
    return {
        "put_call_oi": _log(open_puts) - _log(open_calls),
        "put_call_volume": _log(sums["volume", PUT]) - _log(sums["volume", CALL]),
        "open_interest": _log(open_puts + open_calls),
    }


def _log(total_S: Array) -> Array:
    """Return the logarithm; NaN where there is nothing."""
    return np.asarray(np.log(np.where(total_S > 0, total_S, np.nan)))


def _sessions(
    contracts: pl.DataFrame,
    clock: pl.DataFrame,
    surface_R: Index,
    start_S: Index,
    calendar: Calendar,
) -> dict[str, Array]:
    """Return the sessions to the next special quotation, and those since the surface's day."""
    never = len(calendar.sessions)
    known_S = session_numbers(clock, calendar)
    day_S = _on_or_after(clock["event_date"], calendar)
    expiry_R = _on_or_after(contracts["expiry"], calendar)
    ahead_R = np.where(expiry_R >= known_S[surface_R], expiry_R, never)
    next_S = np.minimum.reduceat(ahead_R, start_S) if len(start_S) else known_S
    return {
        "days_to_sq": np.where(next_S < never, next_S - known_S, np.nan),
        "lag": (known_S - day_S).astype(np.float64),
    }


def _on_or_after(days: pl.Series, calendar: Calendar) -> Index:
    """Return the number of the first session on or after each day."""
    return np.searchsorted(calendar.sessions, days.to_numpy().astype("datetime64[D]"))


def _median(group_X: Index, value_X: Array, n_groups: int) -> Array:
    """Return the median of each group's known values; NaN where it has none."""
    known_X = ~np.isnan(value_X)
    group_X, value_X = group_X[known_X], value_X[known_X]
    value_X = value_X[np.lexsort((value_X, group_X))]
    n_G = np.bincount(group_X, minlength=n_groups)
    has_G = n_G > 0
    start, n = (np.cumsum(n_G) - n_G)[has_G], n_G[has_G]
    made_G = np.full(n_groups, np.nan)
    made_G[has_G] = (value_X[start + (n - 1) // 2] + value_X[start + n // 2]) / 2
    return made_G


def _is_first(*keys: NDArray[np.generic]) -> Mask:
    """Return which rows differ from the row before; rows are sorted."""
    first_X = np.zeros(len(keys[0]), dtype=np.bool_)
    first_X[:1] = True
    for key_X in keys:
        first_X[1:] |= key_X[1:] != key_X[:-1]
    return first_X


def _floats(contracts: pl.DataFrame, name: str) -> Array:
    """Return a column, NaN where unknown."""
    return contracts[name].fill_null(math.nan).to_numpy()


def _positive(contracts: pl.DataFrame, name: str) -> Array:
    """Return a column, NaN where unknown or not above zero."""
    value_R = _floats(contracts, name)
    return np.where(value_R > 0, value_R, np.nan)
