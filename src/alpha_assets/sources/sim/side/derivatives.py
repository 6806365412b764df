"""Options on the index, revealing one hidden state, and sector indices.

    implied volatility at the money = .20 · exp(.2 · options) at 30 days, a little more further out
    and over strikes                  - .25 · m + .5 · m²,  m = ln(strike / index)

`options` is the market's state before it is spread over symbols by their beta.
"""

import numpy as np
import polars as pl

from alpha_assets.arrays.rates import DAYS_A_YEAR
from alpha_assets.arrays.types import Array
from alpha_assets.calendar import Calendar
from alpha_assets.feeds.derivatives import CALL, EMERGENCY, NORMAL, PUT
from alpha_assets.feeds.sectors import SECTORS as SECTORS_33
from alpha_assets.sources.sim import draws, tokyo
from alpha_assets.sources.sim.latents import BETA_SPREAD
from alpha_assets.sources.sim.market import SimMarket
from alpha_assets.sources.sim.side.common import dates_of, hidden, out_by_now

USUAL_VOL, PER_STATE, PER_YEAR_AHEAD = 0.20, 0.2, 0.05
SKEW, SMILE = -0.25, 0.5
RATE = 0.005  # a year
INDEX_BASE = 25_000.0
N_EXPIRIES, STEPS, STEP, GRID = 4, 12, 0.02, 250.0
EMERGENCY_MOVE = 0.03  # of the index in a session, that triggers emergency margin


def market_state(market: SimMarket) -> Array:
    """Return the hidden state of the option market, [D]: the slope of its parts over beta."""
    g_DN = hidden(market, "options")
    load_N = (market.roster.beta - 1) / BETA_SPREAD
    known_DN = ~np.isnan(g_DN)
    count_D = np.maximum(known_DN.sum(axis=1), 1)
    load_DN = np.where(known_DN, load_N, 0.0)
    load_DN = np.where(known_DN, load_N - (load_DN.sum(axis=1) / count_D)[:, None], 0.0)
    spread_D = np.maximum((load_DN**2).sum(axis=1), 1e-12)
    return np.asarray((np.nan_to_num(g_DN) * load_DN).sum(axis=1) / spread_D)


def expiries(day: np.datetime64) -> list[np.datetime64]:
    """Return the next special quotation days: second Fridays."""
    found: list[np.datetime64] = []
    month = day.astype("datetime64[M]")
    while len(found) < N_EXPIRIES:
        first = month.astype("datetime64[D]")
        # 1970-01-01 was a Thursday, so Fridays are 1 modulo 7.
        second_friday = first + np.timedelta64((1 - int(first.astype(np.int64))) % 7 + 7, "D")
        if second_friday > day:
            found.append(second_friday)
        month = month + np.timedelta64(1, "M")
    return found


def volatility(moneyness: Array, years: Array, state: float) -> Array:
    """Return the implied volatility of a contract, a year."""
    at_the_money = USUAL_VOL * np.exp(PER_STATE * state) * (1 + PER_YEAR_AHEAD * (years - 1 / 12))
    return np.asarray(np.maximum(at_the_money + SKEW * moneyness + SMILE * moneyness**2, 0.03))


def index_options(market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return the surface of every session, twice on sessions of emergency margin."""
    state_D, level_D = market_state(market), np.round(market.index_level(INDEX_BASE), 2)
    surfaces = [
        _surface(market, day, float(level), float(state))
        for day, level, state in zip(market.sessions, level_D, state_D, strict=True)
    ]
    columns = {name: np.concatenate([one[name] for one in surfaces]) for name in surfaces[0]}
    untraded = pl.col("volume") == 0
    rows = pl.DataFrame(columns).with_columns(
        pl.when(untraded).then(None).otherwise("close").alias("close"),
        pl.lit(NORMAL).alias("division"),
    )
    before_D = np.concatenate([level_D[:1], level_D[:-1]])
    moved_D = np.abs(level_D / before_D - 1) > EMERGENCY_MOVE
    extra = rows.filter(pl.Series(np.repeat(moved_D, [len(one["strike"]) for one in surfaces])))
    extra = extra.with_columns(
        pl.lit(EMERGENCY).alias("division"),
        (pl.col("settlement") * 1.1).round(3),
        (pl.col("implied_volatility") * 1.1).round(2),
    )
    rows = pl.concat([rows, extra]).sort("event_date", "contract", "division")
    return out_by_now(rows, "index_options", market, calendar)


def _surface(
    market: SimMarket, day: np.datetime64, level: float, state: float
) -> dict[str, np.ndarray]:
    """Return the columns of a session's contracts: expiries by strikes by put and call."""
    steps = np.arange(-STEPS, STEPS + 1)
    strikes = np.unique(np.rint(level * (1 + STEP * steps) / GRID) * GRID)
    days = expiries(day)
    expiry, strike, side = (
        part.ravel() for part in np.meshgrid(np.arange(len(days)), strikes, [0, 1], indexing="ij")
    )
    expiry, side = expiry.astype(np.int64), side.astype(np.int64)
    ahead = np.array([(d - day).astype(np.int64) for d in days])[expiry]
    years = ahead / DAYS_A_YEAR
    moneyness = np.log(strike / level)
    sigma = volatility(moneyness, years, state)
    price = _black_scholes(level, strike, years, sigma, is_call=side == 1)
    u = draws.stream(market.spec.seed, draws.Purpose.OPTIONS, int(day.astype(np.int64))).random(
        (2, len(strike))
    )
    near = np.exp(-((moneyness / 0.1) ** 2)) / (1 + expiry)
    at_the_money = np.round(100 * float(volatility(np.zeros(1), years[:1], state)[0]), 2)
    months = [str(d)[:7] for d in days]
    codes = [f"{int(strike / GRID):03d}8" for strike in strikes]
    return {
        "event_date": np.full(len(strike), day),
        "contract": np.array(
            [
                f"{kind}{month[3]}{month[5:7]}{code}"
                for month in months
                for code in codes
                for kind in (13, 14)
            ],
            dtype=object,
        ),
        "put_call": np.where(side == 1, CALL, PUT),
        "contract_month": np.array(months, dtype=object)[expiry],
        "strike": strike,
        "expiry": np.array(days)[expiry],
        "close": np.maximum(np.round(price, 0), 1.0),  # nothing trades below one point
        "settlement": np.round(np.maximum(price, 1.0), 3),
        "volume": np.rint(2_000 * near * u[0]),
        "open_interest": np.rint(20_000 * near * (0.5 + u[1])),
        "implied_volatility": np.round(100 * sigma, 2),
        "base_volatility": np.full(len(strike), at_the_money),
        "underlying": np.full(len(strike), level),
        "interest_rate": np.full(len(strike), 100 * RATE),
    }


def _black_scholes(
    level: float, strike: Array, years: Array, sigma: Array, is_call: np.ndarray
) -> Array:
    from scipy.special import ndtr

    spread = sigma * np.sqrt(years)
    d1 = (np.log(level / strike) + RATE * years + 0.5 * spread**2) / spread
    paid = strike * np.exp(-RATE * years)
    call = level * ndtr(d1) - paid * ndtr(d1 - spread)
    return np.asarray(np.where(is_call, call, call - level + paid))


def sector_indices(market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return equal-weighted levels of each of the 33 sectors that has symbols."""
    place = {code: number for number, (code, _, _) in enumerate(SECTORS_33)}
    own_N = np.array([place[tokyo.SECTORS[s].code33] for s in market.roster.sector.tolist()])
    open_DN, close_DN = market.adjusted("open"), market.adjusted("close")
    parts = []
    for number, (_, _, name) in enumerate(SECTORS_33):
        members = np.flatnonzero(own_N == number)
        level_D = _levels(open_DN[:, members], close_DN[:, members])
        session = np.flatnonzero(~np.isnan(level_D["close"]))
        if not len(session):  # none of its symbols has traded yet
            continue
        parts.append(
            pl.DataFrame(
                {
                    "event_date": dates_of(market, session),
                    "sector": [name] * len(session),
                    "code": [index_code(number)] * len(session),
                    **{column: np.round(x[session], 2) for column, x in level_D.items()},
                }
            )
        )
    return pl.concat(parts).sort("event_date", "sector")


def index_code(number: int) -> str:
    """Return the code of the index of the n-th of the 33 sectors: 0040, ..., 004F, ..., 0060.

    The exchange counts on with letters where a digit is used up: 0049, 004A, 004B.
    """
    return f"{0x40 + number:04X}"


def _levels(open_DN: Array, close_DN: Array) -> dict[str, Array]:
    """Return open, high, low and close of an index; NaN before its first member trades."""
    last_N = np.full(open_DN.shape[1], np.nan)
    level, begun = 1_000.0, False
    made = {name: np.full(len(open_DN), np.nan) for name in ("open", "high", "low", "close")}
    for number, (open_N, close_N) in enumerate(zip(open_DN, close_DN, strict=True)):
        both_N = ~np.isnan(close_N) & ~np.isnan(last_N)
        begun |= bool((~np.isnan(close_N)).any())
        if begun:
            opened = level * (1 + (open_N / last_N - 1)[both_N].mean() if both_N.any() else 1.0)
            level *= 1 + (close_N / last_N - 1)[both_N].mean() if both_N.any() else 1.0
            made["open"][number], made["close"][number] = opened, level
            made["high"][number], made["low"][number] = max(opened, level), min(opened, level)
        last_N = np.where(np.isnan(close_N), last_N, close_N)
    return made
