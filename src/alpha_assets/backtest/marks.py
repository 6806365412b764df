"""Everything that the simulator reads of the market, as dense arrays of sessions and symbols.

Bars count as they stood when they first became effective.
Shape letters: D sessions, N symbols, R rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alpha_assets.calendar import Calendar, Dates
from alpha_assets.errors import RangeError
from alpha_assets.panel import as_of, first_effective

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Basis = Literal["price", "total_return"]

WINDOW = 20  # sessions of traded money and volatility behind a decision
NEEDED = 10  # of them must be known
ACTIVE = "active"


@dataclass(frozen=True, eq=False)
class Marks:
    """One market over the sessions of a backtest.

    Attributes:
        sessions: [D].
        symbols: [N], sorted.
        open: [D, N] price of the opening auction; NaN without a bar.
        close: [D, N] last price; NaN without a bar.
        share_ratio: [D, N] shares after the session's split for each share before.
        can_buy: [D, N] at the fill: there is a bar and its price is not at the upper limit.
        can_sell: [D, N] the same at the lower limit.
        last_close: [D, N] last close before D, per share of before D; NaN before the first bar.
        adv: [D, N] mean money traded a session as known at D.
        volatility: [D, N] standard deviation of daily log returns as known at D.
        dividend: [D, N] money per share, after D's split, to holders of D-1's close.
        exit_return: [D, N] what a last close becomes where the name leaves at D; else NaN.
        exit_word: [D, N] why it leaves.
        fee_bps_annual: [D, N] quoted borrow fee as known at D; NaN without one.
        cash_rate_annual: [D] fraction a year as known at D.
        nights: [D] to the next session.
    """

    sessions: Dates
    symbols: tuple[str, ...]
    open: Array
    close: Array
    share_ratio: Array
    can_buy: Mask
    can_sell: Mask
    last_close: Array
    adv: Array
    volatility: Array
    dividend: Array
    exit_return: Array
    exit_word: NDArray[np.object_]
    fee_bps_annual: Array
    cash_rate_annual: Array
    nights: NDArray[np.int64]


def marks_of(
    raw: Mapping[str, pl.DataFrame],
    symbols: tuple[str, ...],
    calendar: Calendar,
    first: date,
    last: date,
    *,
    basis: Basis,
    fill: Literal["open", "close"] = "open",
) -> Marks:
    """Return the market over the sessions `first` to `last`, for the symbols that are traded.

    Args:
        raw: raw rows by feed, revisions and clock included; `daily_bars` at least.
        symbols: sorted.
        calendar: of the market.
        first: first session of the books.
        last: last session.
        basis: `price`: as traded, splits in shares, dividends in cash. `total_return`: prices
            chained by close / previous close / factor from each symbol's first stored close,
            share ratio 1, dividends 0.
        fill: the auction whose locked limits count.

    Raises:
        RangeError: no session lies between the dates.
    """
    sessions = calendar.between(first, last)
    if not len(sessions):
        raise RangeError(f"no session of {calendar.exchange} lies between {first} and {last}")
    bars = _Bars.of(raw["daily_bars"], symbols, calendar, sessions[-1])
    ratio_DN = bars.share_ratio if basis == "price" else np.ones(bars.shape)
    open_DN, close_DN = bars.value["open"], bars.value["close"]
    if basis == "total_return":
        open_DN, close_DN = chained(open_DN, close_DN, bars.factor)
    last_DN = close_before(close_DN, ratio_DN)
    with np.errstate(divide="ignore", invalid="ignore"):
        change_DN = np.log(close_DN * ratio_DN / last_DN)
    has_DN = ~np.isnan(bars.value["close"])
    price_DN = bars.value[fill]
    at_top_DN = bars.upper_limit & (price_DN >= bars.value["high"])
    at_bottom_DN = bars.lower_limit & (price_DN <= bars.value["low"])
    books = slice(len(close_DN) - len(sessions), None)
    keys = pl.DataFrame({"session": sessions}).join(
        pl.DataFrame({"symbol": pl.Series(symbols, dtype=pl.String)}), how="cross"
    )
    exit_DN, word_DN = exits(raw.get("listings"), symbols, sessions, calendar)
    return Marks(
        sessions=sessions,
        symbols=symbols,
        open=open_DN[books],
        close=close_DN[books],
        share_ratio=ratio_DN[books],
        can_buy=(has_DN & ~at_top_DN)[books],
        can_sell=(has_DN & ~at_bottom_DN)[books],
        last_close=last_DN[books],
        adv=trailing(bars.traded, squared=False)[books],
        volatility=trailing(change_DN, squared=True)[books],
        dividend=dividends(raw.get("dividends"), symbols, sessions, basis),
        exit_return=exit_DN,
        exit_word=word_DN,
        fee_bps_annual=_known(raw, "borrow", "fee_bps_annual", keys, calendar).reshape(
            len(sessions), len(symbols)
        ),
        cash_rate_annual=np.nan_to_num(
            _known(raw, "rates", "cash_rate_annual", pl.DataFrame({"session": sessions}), calendar)
        ),
        nights=calendar.nights()[calendar.index_of(sessions)],
    )


@dataclass(frozen=True, eq=False)
class _Bars:
    """Stored bars on dense axes, from the first stored session on."""

    shape: tuple[int, int]
    value: Mapping[str, Array]
    factor: Array
    share_ratio: Array
    traded: Array
    upper_limit: Mask
    lower_limit: Mask

    @classmethod
    def of(
        cls, rows: pl.DataFrame, symbols: tuple[str, ...], calendar: Calendar, last: np.datetime64
    ) -> "_Bars":
        stop = int(calendar.index_of(last)) + 1
        wanted = rows.filter(pl.col("symbol").is_in(symbols) & (pl.col("event_date") <= last))
        bars = first_effective(wanted, calendar, len(calendar.sessions) - 1)
        start = int(bars.session_R.min()) if len(bars.session_R) else stop - 1
        place = np.searchsorted(np.array(symbols), bars.symbols.to_numpy())
        at = (bars.session_R - start, place[bars.code_R])
        shape = (stop - start, len(symbols))

        def grid(name: str) -> Array:
            cells_DN = np.full(shape, np.nan)
            if name in bars.frame.columns:
                column = bars.frame[name].cast(pl.Float64).fill_null(np.nan)
                cells_DN[at] = column.to_numpy()
            return cells_DN

        value = {name: grid(name) for name in ("open", "high", "low", "close")}
        factor_DN = grid("adjustment_factor")
        factor_DN = np.where(np.isnan(factor_DN), 1.0, factor_DN)
        shares_DN, turnover_DN = grid("share_factor"), grid("turnover_value")
        computed_DN = value["close"] * grid("volume")
        return cls(
            shape=shape,
            value=value,
            factor=factor_DN,
            share_ratio=np.where(np.isnan(shares_DN), 1.0 / factor_DN, shares_DN),
            traded=np.where(np.isnan(turnover_DN), computed_DN, turnover_DN),
            upper_limit=grid("upper_limit") > 0,
            lower_limit=grid("lower_limit") > 0,
        )


def chained(open_DN: Array, close_DN: Array, factor_DN: Array) -> tuple[Array, Array]:
    """Return total-return opens and closes from each symbol's first close on.

    P[T] = P[T-1] · (close[T] / close[T-1]) / factor[T], the open in the day's proportion; T-1 is
    the last session with a bar, and factors of sessions without one count as well.
    """
    n_symbols = close_DN.shape[1]
    price_N, raw_N, owed_N = (np.full(n_symbols, np.nan) for _ in range(3))
    owed_N[:] = 1.0
    out_DN = np.full_like(close_DN, np.nan)
    for d in range(len(close_DN)):
        has_N = ~np.isnan(close_DN[d])
        owed_N = owed_N * factor_DN[d]
        starts_N = has_N & np.isnan(price_N)
        grows_N = has_N & ~starts_N
        price_N = np.where(grows_N, price_N * (close_DN[d] / raw_N) / owed_N, price_N)
        price_N = np.where(starts_N, close_DN[d], price_N)
        raw_N = np.where(has_N, close_DN[d], raw_N)
        owed_N = np.where(has_N, 1.0, owed_N)
        out_DN[d] = np.where(has_N, price_N, np.nan)
    return out_DN * (open_DN / close_DN), out_DN


def close_before(close_DN: Array, ratio_DN: Array) -> Array:
    """Return the last close before each session, per share of before that session's split."""
    out_DN = np.full_like(close_DN, np.nan)
    last_N = np.full(close_DN.shape[1], np.nan)
    for d in range(len(close_DN)):
        out_DN[d] = last_N
        last_N = np.where(np.isnan(close_DN[d]), last_N / ratio_DN[d], close_DN[d])
    return out_DN


def trailing(x_DN: Array, *, squared: bool) -> Array:
    """Return the mean, or the standard deviation (ddof 1), of the `WINDOW` sessions before each.

    NaN where fewer than `NEEDED` of them are known.
    """
    n_sessions, n_symbols = x_DN.shape
    padded_DN = np.concatenate([np.full((WINDOW, n_symbols), np.nan), x_DN[:-1]])
    known_DN = ~np.isnan(padded_DN)
    zeroed_DN = np.where(known_DN, padded_DN, 0.0)
    count_DN, total_DN, square_DN = (np.zeros(x_DN.shape) for _ in range(3))
    for step in range(WINDOW):
        cut = slice(step, step + n_sessions)
        count_DN += known_DN[cut]
        total_DN += zeroed_DN[cut]
        if squared:
            square_DN += zeroed_DN[cut] * zeroed_DN[cut]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_DN = total_DN / count_DN
        variance_DN = (square_DN - total_DN * mean_DN) / (count_DN - 1)
        value_DN = np.sqrt(np.maximum(variance_DN, 0.0)) if squared else mean_DN
    return np.where(count_DN >= NEEDED, value_DN, np.nan)


def exits(
    listings: pl.DataFrame | None, symbols: tuple[str, ...], sessions: Dates, calendar: Calendar
) -> tuple[Array, NDArray[np.object_]]:
    """Return where names leave, what their last close becomes, and why they leave.

    A name leaves at the session at which its exit is effective: the one after its last bar's.
    """
    return_DN = np.full((len(sessions), len(symbols)), np.nan)
    word_DN = np.full((len(sessions), len(symbols)), "", dtype=object)
    if listings is None:
        return return_DN, word_DN
    left = listings.filter(
        pl.col("symbol").is_in(symbols) & pl.col("exit").is_not_null() & (pl.col("exit") != ACTIVE)
    ).sort("available_at", "revision")
    effective_R = calendar.effective(left["available_at"].dt.replace_time_zone(None).to_numpy())
    first = int(calendar.index_of(sessions[0]))
    place = {symbol: n for n, symbol in enumerate(symbols)}
    for number, row in zip(effective_R.tolist(), left.iter_rows(named=True), strict=True):
        d, n = number - first, place[row["symbol"]]
        if 0 <= d < len(sessions) and not word_DN[:, n].any():
            return_DN[d, n] = row["exit_return"] or 0.0
            word_DN[d, n] = row["exit"]
    return return_DN, word_DN


def dividends(
    rows: pl.DataFrame | None, symbols: tuple[str, ...], sessions: Dates, basis: Basis
) -> Array:
    """Return the money per share that holders of the close before each session receive."""
    paid_DN = np.zeros((len(sessions), len(symbols)))
    if rows is None or basis == "total_return":
        return paid_DN
    latest = (
        rows.filter(pl.col("symbol").is_in(symbols))
        .sort("available_at", "revision")
        .unique(["event_date", "symbol"], keep="first", maintain_order=True)
    )
    days = latest["event_date"].to_numpy().astype("datetime64[D]")
    d = np.searchsorted(sessions, days)
    inside = (d < len(sessions)) & (days >= sessions[0])
    n = np.searchsorted(np.array(symbols), latest["symbol"].to_numpy())
    np.add.at(paid_DN, (d[inside], n[inside]), latest["amount"].fill_null(0.0).to_numpy()[inside])
    return paid_DN


def _known(
    raw: Mapping[str, pl.DataFrame], feed: str, column: str, keys: pl.DataFrame, calendar: Calendar
) -> Array:
    """Return a side feed's value as known at each key's session; NaN where there is none."""
    if feed not in raw or not raw[feed].height:
        return np.full(keys.height, np.nan)
    by = ("symbol", "symbol") if "symbol" in keys.columns else None
    found = as_of(keys, raw[feed], calendar, feed=feed, values=[column], by=by)
    return found[column].cast(pl.Float64).fill_null(np.nan).to_numpy()
