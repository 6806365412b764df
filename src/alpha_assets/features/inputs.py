"""What a feature may read: columns of the panel, and series that several features share.

A feature names its inputs as parameters; every name stands in `INPUTS` with the number of
panel rows behind one value.  An input may be made of other inputs: its scope, its feeds and what
it requires of a market follow from theirs.  Row D of an array holds the bar of the session before
D: what is known when D is decided.  Shape letters: D sessions, N symbols.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np

from alpha_assets.arrays.keys import MAX_STALE
from alpha_assets.arrays.types import Array
from alpha_assets.arrays.windows import fill_forward, shift
from alpha_assets.features.derived_inputs import (
    VOLUME_WINDOW,
    amount_today,
    days_of_volume,
    market_value,
    sector_short_selling_ratio,
    shares_today,
    short_selling_ratio,
    short_volume_share,
    traded_shares_20,
)
from alpha_assets.features.estimators import yang_zhang
from alpha_assets.features.observed import LEVEL_CARRIED
from alpha_assets.features.split_adjust import LONGEST
from alpha_assets.feeds.base import Scope
from alpha_assets.panel.joins import JOINS, Join

# Panel columns that every market has, and those that may be absent (then null throughout).
REQUIRED_COLUMNS = ("open", "high", "low", "close", "volume", "cum_factor", "stale")
OPTIONAL_COLUMNS = ("turnover_value", "upper_limit", "lower_limit")

# What distinguishes rows of one symbol: its lives, and what a session learned late.
VERSION_COLUMNS = ("life", "late_factors")

MARKET_RETURN = "market_return"
CARRIES = "max_stale"  # the keyword of what carries a symbol's last price over a gap


def widest(scopes: Iterable[Scope]) -> Scope:
    """Return the scope of something made of these: that of the narrowest.

    Facts of a sector and of a section meet only in a symbol.
    """
    found = set(scopes) - {"market"}
    if not found:
        return "market"
    return found.pop() if len(found) == 1 else "symbol"


@dataclass(frozen=True)
class Input:
    """A named array that features read.

    Attributes:
        name: as parameters spell it.
        columns: panel columns that it is made of; empty where it is made of other inputs.
        inputs: other inputs that it is made of.
        rows: rows of its columns or inputs behind one value, the row itself included.
        about: what it means, with its unit.
        fn: from the arrays of `columns` or `inputs` to this array.
        scope: of whom it is a fact.
        feeds: side feeds that it is made from.
        requires: what a market must offer for it (`REQUIREMENTS` in `base.py`).
        lookback: panel rows behind one value, those behind its inputs included.
    """

    name: str
    columns: tuple[str, ...]
    inputs: tuple[str, ...]
    rows: int
    about: str
    fn: Callable[..., Array]
    scope: Scope = "symbol"
    feeds: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    lookback: int = 1

    def __call__(self, *arrays_DN: Array) -> Array:
        """Return the array; a division by zero is unknown, not an accident."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return self.fn(*arrays_DN)


@cache
def _signature(fn: Callable[..., Array]) -> inspect.Signature:
    """Return the signature of a function, which is asked for once for each of its windows."""
    return inspect.signature(fn)


def carries(fn: Callable[..., Array]) -> bool:
    """Return whether a function carries a symbol's last price for `max_stale` sessions."""
    return CARRIES in _signature(fn.func if isinstance(fn, partial) else fn).parameters


def parameters(fn: Callable[..., Array]) -> tuple[str, ...]:
    """Return the names of a function's positional parameters: its inputs."""
    return tuple(
        parameter.name
        for parameter in _signature(fn).parameters.values()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    )


def _column(name: str, about: str, columns: tuple[str, ...], fn: Callable[..., Array]) -> Input:
    return Input(name, columns, (), 1, about, fn)


def _series(rows: int, fn: Callable[..., Array]) -> Input:
    return Input(fn.__name__, (), parameters(fn), rows, inspect.getdoc(fn) or "", fn)


def _today(
    name: str, about: str, fn: Callable[..., Array], join: str, lag: str, limit: int
) -> Input:
    """Return a column of a side feed in the shares of the row's last bar."""
    factor = "cum_factor" if fn is amount_today else "cum_volume_factor"
    inputs = (name, f"{join}_age", f"{join}_{lag}", factor)
    about = f"{about}, in shares of the row's last bar"
    return Input(f"{name}_today", (), inputs, limit, about, partial(fn, limit=limit))


def _days(name: str) -> Input:
    """Return a number of shares in sessions of volume."""
    about = f"`{name}_today` over the mean volume of a session, sessions"
    return Input(
        f"{name}_days", (), (f"{name}_today", "traded_shares_20"), 1, about, days_of_volume
    )


def joined(join: Join) -> list[Input]:
    """Return one input per panel column of a side feed."""
    about = {**join.columns, "age": "sessions since the state became known"}
    return [
        Input(
            f"{join.name}_{name}",
            (f"{join.name}_{name}",),
            (),
            1,
            meaning,
            _as_is,
            join.scope,
            (join.feed,),
        )
        for name, meaning in about.items()
    ]


def _as_is(x_DN: Array) -> Array:
    return x_DN


def _forward_adjusted(price_DN: Array, cum_factor_DN: Array) -> Array:
    return price_DN / cum_factor_DN


def _adjusted_volume(volume_DN: Array, cum_volume_factor_DN: Array) -> Array:
    return volume_DN * cum_volume_factor_DN


def _traded_value(turnover_value_DN: Array, close_DN: Array, volume_DN: Array) -> Array:
    return np.where(np.isnan(turnover_value_DN), close_DN * volume_DN, turnover_value_DN)


def last_close(close: Array, *, max_stale: int) -> Array:
    """Last adjusted close, at most `max_stale` sessions old."""
    return fill_forward(close, max_stale)


def close_before(last_close: Array) -> Array:
    """Last adjusted close before the session, at most `max_stale` sessions older."""
    return shift(last_close, 1)


def session_return(close: Array, close_before: Array) -> Array:
    """Return of one session, a fraction; null without a bar."""
    return close / close_before - 1


def log_return(close: Array, close_before: Array) -> Array:
    """Logarithm of the session's close over the close before it."""
    return np.log(close / close_before)


def price_change(close: Array, close_before: Array) -> Array:
    """Adjusted close less the close before it, in adjusted currency."""
    return close - close_before


def overnight(open: Array, close_before: Array) -> Array:
    """Logarithm of the session's open over the close before it."""
    return np.log(open / close_before)


def intraday(open: Array, close: Array) -> Array:
    """Logarithm of the session's close over its open."""
    return np.log(close / open)


def log_range(high: Array, low: Array) -> Array:
    """Logarithm of the session's high over its low."""
    return np.log(high / low)


def log_dollar_volume(dollar_volume: Array) -> Array:
    """Logarithm of one plus the traded value."""
    return np.log(1 + dollar_volume)


def yang_zhang_20(open: Array, high: Array, low: Array, close: Array, overnight: Array) -> Array:
    """Yang-Zhang volatility of one session over 20, not annualised."""
    return yang_zhang(open, high, low, close, overnight, 20)


def market_return(session_return: Array) -> Array:
    """Mean `session_return` of all symbols in the panel, a fraction; the same for every symbol."""
    total_D, count_D = np.zeros(len(session_return)), np.zeros(len(session_return))
    add_returns(session_return, total_D, count_D)
    return as_column(total_D, count_D, session_return.shape[1])


def index_level(benchmark_close: Array) -> Array:
    """Last level of the market's index, at most 20 sessions old, points."""
    return fill_forward(benchmark_close, LEVEL_CARRIED)


def index_return(benchmark_close: Array) -> Array:
    """Return of the market's index since the level before, a fraction; null without a level."""
    return benchmark_close / shift(fill_forward(benchmark_close, LEVEL_CARRIED), 1) - 1


def add_returns(returns_DN: Array, total_D: Array, count_D: Array) -> None:
    """Add one block of symbols to the market's running sum and count of returns.

    One symbol after the other, in the order given: a symbol without a return adds an exact
    zero, so that symbols which are absent change no bit, and neither do the blocks.
    """
    known_DN = ~np.isnan(returns_DN)
    returns_DN = np.where(known_DN, returns_DN, 0.0)
    for n in range(returns_DN.shape[1]):
        total_D += returns_DN[:, n]
        count_D += known_DN[:, n]


def as_column(total_D: Array, count_D: Array, n_symbols: int) -> Array:
    """Return the mean as a [D, N] array; NaN where no symbol has a return."""
    with np.errstate(invalid="ignore"):
        mean_D1 = (total_D / count_D)[:, None]
    return np.ascontiguousarray(np.broadcast_to(mean_D1, (len(total_D), n_symbols)))


_COLUMNS = (
    _column("open", "adjusted open", ("open", "cum_factor"), _forward_adjusted),
    _column("high", "adjusted high", ("high", "cum_factor"), _forward_adjusted),
    _column("low", "adjusted low", ("low", "cum_factor"), _forward_adjusted),
    _column("close", "adjusted close", ("close", "cum_factor"), _forward_adjusted),
    _column("volume", "adjusted shares", ("volume", "cum_volume_factor"), _adjusted_volume),
    _column("dollar_volume", "traded value", ("turnover_value", "close", "volume"), _traded_value),
    replace(
        _column("raw_close", "close as traded", ("close",), _as_is), requires=("raw_price_level",)
    ),
    _column("cum_factor", "product of the factors known", ("cum_factor",), _as_is),
    _column(
        "cum_volume_factor",
        "product of the factors known that change the number of shares",
        ("cum_volume_factor",),
        _as_is,
    ),
    _column("stale", "sessions since the last bar", ("stale",), _as_is),
    _column("upper_limit", "1 where the upper limit was touched", ("upper_limit",), _as_is),
    _column("lower_limit", "1 where the lower limit was touched", ("lower_limit",), _as_is),
)

_SERIES = (
    _series(1, last_close),  # and `max_stale` rows before it
    _series(2, close_before),
    _series(1, session_return),
    _series(1, log_return),
    _series(1, price_change),
    _series(1, overnight),
    _series(1, intraday),
    _series(1, log_range),
    _series(1, log_dollar_volume),
    _series(20, yang_zhang_20),
    _series(1, market_return),
)

_JOINED = [item for join in JOINS.values() for item in joined(join)]

# Rows back to the day of a number: until it is stale, and its lag.
MARGIN_OLDEST, SHORT_INTEREST_OLDEST = 45, 45
VALUATION_OLDEST = 21  # 5 until it is stale, and the rest for a late delivery

_DERIVED = (
    _series(LEVEL_CARRIED + 1, index_level),
    _series(LEVEL_CARRIED + 2, index_return),
    _series(LONGEST, market_value),
    _series(VOLUME_WINDOW, traded_shares_20),
    _series(1, short_selling_ratio),
    _series(1, sector_short_selling_ratio),
    _series(1, short_volume_share),
    *(
        _today(f"statements_{name}", about, amount_today, "statements", lag, LONGEST)
        for name, lag, about in (
            ("eps_ttm", "lag", "earnings a share of the last twelve months"),
            ("dividend", "dividend_lag", "dividend a share of the last year"),
            ("forecast_eps", "forecast_eps_lag", "earnings a share expected of this fiscal year"),
            (
                "forecast_dividend",
                "forecast_dividend_lag",
                "dividend a share expected of this fiscal year",
            ),
        )
    ),
    *(
        _today(f"valuation_{name}", about, amount_today, "valuation", "lag", VALUATION_OLDEST)
        for name, about in (
            ("eps", "earnings a share of the last twelve months"),
            ("forward_eps", "earnings a share expected of this fiscal year"),
            ("bps", "book value a share"),
        )
    ),
    *(
        _today(f"margin_{side}", f"{side} margin balance", shares_today, "margin", "lag", rows)
        for side, rows in (("long", MARGIN_OLDEST), ("short", MARGIN_OLDEST))
    ),
    _days("margin_long"),
    _days("margin_short"),
    _today(
        "short_interest_shares_short",
        "open short positions",
        shares_today,
        "short_interest",
        "lag",
        SHORT_INTEREST_OLDEST,
    ),
    _today(
        "short_positions_shares",
        "reported short positions",
        shares_today,
        "short_positions",
        "lag",
        LONGEST,
    ),
)


def _resolved(items: Iterable[Input], max_stale: int) -> dict[str, Input]:
    """Return inputs by name, with what follows from those that they are made of.

    Args:
        items: each after those that it is made of.
        max_stale: sessions over which a symbol's last price is carried.
    """
    made: dict[str, Input] = {}
    for item in items:
        assert item.name not in made, f"two inputs are called {item.name}"
        behind = [made[name] for name in item.inputs]
        rows, fn = item.rows, item.fn
        if carries(fn):
            rows, fn = rows + max_stale, partial(fn, max_stale=max_stale)
        item = replace(
            item, fn=fn, lookback=rows - 1 + max((other.lookback for other in behind), default=1)
        )
        if behind:
            pools = item.name == MARKET_RETURN  # made of all symbols' returns
            item = replace(
                item,
                scope="market" if pools else widest(other.scope for other in behind),
                feeds=union(other.feeds for other in behind),
                requires=union(other.requires for other in behind),
            )
        made[item.name] = item
    return made


def union(parts: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return every word of some tuples once, in the order of their first places."""
    return tuple(dict.fromkeys(word for part in parts for word in part))


_ALL = (*_COLUMNS, *_SERIES, *_JOINED, *_DERIVED)
INPUTS: Mapping[str, Input] = _resolved(_ALL, MAX_STALE)


def inputs_behind(names: Iterable[str], inputs: Mapping[str, Input] = INPUTS) -> dict[str, Input]:
    """Return inputs by name, with all that they are made of."""
    found: dict[str, Input] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = inputs[name]
            waiting += inputs[name].inputs
    return found


def pools_symbols(names: Iterable[str], inputs: Mapping[str, Input] = INPUTS) -> bool:
    """Return whether inputs are made of the returns of all symbols, directly or behind others."""
    return MARKET_RETURN in inputs_behind(names, inputs)


@cache
def inputs_at(max_stale: int) -> Mapping[str, Input]:
    """Return `INPUTS` with a symbol's last price carried over a market's `max_stale` sessions."""
    return _resolved(INPUTS.values(), max_stale)
