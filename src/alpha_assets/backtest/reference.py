"""The books kept a second way: one symbol at a time, plain numbers, no arrays.

Slow and written to be checked by eye.  It shares no code with the simulator but the specs and
the calendar; tests compare the two to 1e-9.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import polars as pl

from alpha_assets.backtest.costs import CostsSpec
from alpha_assets.backtest.prices import Basis
from alpha_assets.backtest.rules import PortfolioSpec
from alpha_assets.calendar import Calendar, as_date
from alpha_assets.feeds.market import BORROW, RATES

Row = dict[str, Any]

DUST = 1e-13  # of equity
PRICES = ("open", "high", "low", "close")


@dataclass
class Bar:
    """One symbol's session: its last revision, and what was known of it when.

    Attributes:
        revisions: session that first knew each revision, its raw close and factor, oldest first.
        first: the bar as it first became effective, raw.
        known: the session that first knew the bar.
        scale: by what a raw close of the session becomes one of the basis.
    """

    number: int
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    raw_open: float | None
    raw_close: float | None
    volume: float | None
    ratio: float
    upper: bool
    lower: bool
    revisions: list[tuple[int, float | None, float | None]]
    first: Row
    known: int
    scale: float = 1.0

    @property
    def traded(self) -> float | None:
        """Money traded, as first known."""
        money = self.first["turnover_value"]
        if money is None and self.first["close"] is not None and self.first["volume"] is not None:
            return float(self.first["close"] * self.first["volume"])
        return None if money is None else float(money)

    def factor(self, number: int) -> float:
        """The adjustment factor as known at a session, at least as first known; unknown is 1."""
        factor = self.first["adjustment_factor"]
        for known, _, later in self.revisions:
            if self.known < known <= number:
                factor = later
        return 1.0 if factor is None else float(factor)


@dataclass
class ReferenceBooks:
    """What the reference writes: rows as in the tables of the output contract."""

    positions: list[Row] = field(default_factory=list)
    trades: list[Row] = field(default_factory=list)
    daily: list[Row] = field(default_factory=list)
    legs: list[Row] = field(default_factory=list)


def reference_backtest(
    targets: pl.DataFrame,
    raw: Mapping[str, pl.DataFrame],
    calendar: Calendar,
    *,
    first: date,
    last: date,
    portfolio: PortfolioSpec,
    costs: CostsSpec,
    basis: Basis,
    max_stale: int,
) -> ReferenceBooks:
    """Return the books of holding `targets` from `first` to `last`; fixed half-spreads only.

    Of symbols with one life.
    """
    wanted: dict[date, dict[str, float]] = defaultdict(dict)
    for row in targets.iter_rows(named=True):
        wanted[row["session"]][row["symbol"]] = row["target_weight"]
    names = sorted({name for weights in wanted.values() for name in weights})
    history = {name: _bars(raw["daily_bars"], name, calendar, last, basis) for name in names}
    leaving, paid = _exits(raw, calendar), _dividends(raw, calendar, basis)
    books = ReferenceBooks()
    cash = equity = portfolio.capital
    shares: dict[str, float] = {}
    orders: dict[str, float] = {}
    sized_at: dict[str, float] = {}
    before: int | None = None
    for session in calendar.between(first, last):
        day, number = as_date(session), int(calendar.index_of(session))
        nights = int(calendar.nights()[number])
        start_equity = equity
        spent = {"commission": 0.0, "spread_cost": 0.0, "impact_cost": 0.0}
        notional = traded = 0.0
        weights = wanted.get(day)

        if weights is not None:
            orders = {}
            known_equity = cash + sum(
                held * (_known_close(history[name], number) or math.nan)
                for name, held in shares.items()
                if held != 0
            )
            for name in names:
                close = _known_close(history[name], number)
                held = shares.get(name, 0.0)
                weight = weights.get(name, 0.0)
                if close is None:
                    continue
                order = weight * known_equity / close - held
                if portfolio.lot is not None and weight != 0:
                    order = _whole(order, portfolio.lot)
                if abs(order) * close > DUST * known_equity:
                    orders[name], sized_at[name] = order, close

        for name in names:
            ratio = _ratio(history[name], number)
            shares[name] = shares.get(name, 0.0) * ratio
            if name in orders:
                orders[name] *= ratio
                sized_at[name] /= ratio
                if portfolio.lot is not None and ratio != 1:
                    orders[name] = _whole(orders[name], 1.0)
        dividends = sum(
            number_of * paid.get((number, name), 0.0) for name, number_of in shares.items()
        )

        start = {name: held for name, held in shares.items() if held != 0}
        bills: list[float] = []
        fills: list[tuple[str, float, float, str, bool]] = []
        for name in names:
            last_mark = _mark(history[name], number - 1)
            if last_mark is None:
                continue
            last_mark /= _ratio(history[name], number)
            rest = shares[name] - _whole(shares[name], 1.0)
            has_split = _ratio(history[name], number) != 1.0
            if portfolio.lot is not None and has_split and abs(rest) > 1e-6:
                fills.append((name, -rest, last_mark, "fraction", True))
                shares[name] -= rest
            stopped = _last_bar(history[name], number) == number - max_stale - 2
            if stopped or (number, name) in leaving:
                silent = 0.0, f"source_end: no bar for {max_stale + 1} sessions"
                gain, word = leaving.get((number, name), silent)
                orders.pop(name, None)
                if shares[name] != 0:
                    fills.append((name, -shares[name], last_mark * (1 + gain), word, True))
                    shares[name] = 0.0
        prices: dict[str, float] = {}
        sizes: dict[str, float] = {}
        for name in sorted(orders):
            bar = history[name].get(number)
            price = None if bar is None else (bar.open if portfolio.fill == "open" else bar.close)
            sizes[name] = 0.0
            if bar is None or price is None or bar.volume == 0:
                continue
            if _is_locked(bar, orders[name], portfolio.fill):
                continue
            size = orders[name]
            if costs.tick is not None:
                price = _at_tick(price, size, costs.tick)
            if portfolio.max_participation is not None and _has_volume(history[name], number):
                most = portfolio.max_participation * (_adv(history[name], number) or 0.0) / price
                if portfolio.lot is not None:
                    most = _whole(most, portfolio.lot)
                size = max(-most, min(most, size))
            lendable = _lendable(raw, history[name], name, number, calendar, basis)
            if size < 0 and lendable is not None:
                room = max(lendable - max(-shares[name], 0.0), 0.0)
                room = 0.0 if room <= 1e-12 * lendable else room
                room = room if portfolio.lot is None else _whole(room, portfolio.lot)
                size = max(size, -(max(shares[name], 0.0) + room))
            prices[name], sizes[name] = price, size
        sizes = _paid_for(orders, sizes, shares, sized_at, start_equity, portfolio.lot)
        for name, price in prices.items():
            size = sizes[name]
            if size != 0:
                reason = "carried" if weights is None else "rebalance"
                fills.append((name, size, price, reason, False))
                shares[name] += size
            orders[name] -= size
            if abs(orders[name]) * price <= DUST * start_equity:
                del orders[name]
            if abs(shares[name]) * price <= DUST * start_equity:
                shares[name] = 0.0

        for name, size, price, reason, is_free in fills:
            money = abs(size * price)
            bill = {"commission": 0.0, "spread_cost": 0.0, "impact_cost": 0.0}
            if not is_free:
                adv = _adv(history[name], number)
                volatility = _volatility(history[name], number)
                share = money / adv if adv else 1.0
                volatility = costs.unknown_volatility if volatility is None else volatility
                bill = {
                    "commission": money * costs.commission_bps / 1e4,
                    "spread_cost": money * costs.half_spread_bps / 1e4,
                    "impact_cost": costs.impact_coefficient * volatility * share**0.5 * money,
                }
            bills.append(sum(bill.values()))
            notional += size * price
            traded += money
            spent = {part: spent[part] + bill[part] for part in spent}
            books.trades.append(
                {
                    "session": day,
                    "symbol": name,
                    "shares": size,
                    "price": price,
                    "notional": size * price,
                    **bill,
                    "reason": reason,
                }
            )

        values = {
            name: held * (_mark(history[name], number) or math.nan)
            for name, held in shares.items()
            if held != 0
        }
        borrowed = sum(
            -value * _fee(raw, name, number, calendar, costs) / 1e4 * nights / 365
            for name, value in values.items()
            if value < 0
        )
        interest = 0.0
        if before is not None:
            nights_since = int(calendar.nights()[before])
            interest = cash * _cash_rate(raw, before, calendar) * nights_since / 365
        costs_paid = sum(spent.values()) + borrowed
        cash = cash - notional - costs_paid + dividends + interest
        equity = cash + sum(values.values())
        books.daily.append(
            {
                "session": day,
                "gross_return": (equity + costs_paid) / start_equity - 1,
                "net_return": equity / start_equity - 1,
                "turnover": traded / 2 / start_equity,
                "gross_exposure": sum(abs(value) for value in values.values()) / equity,
                "net_exposure": sum(values.values()) / equity,
                **spent,
                "borrow_cost": borrowed,
                "dividends": dividends,
                "cash_interest": interest,
                "cash": cash,
                "equity": equity,
            }
        )
        earned = {"long": 0.0, "short": 0.0}
        paid_by = {"long": 0.0, "short": borrowed}
        for name, held in start.items():
            mark, last_mark = _mark(history[name], number), _mark(history[name], number - 1)
            assert mark is not None
            assert last_mark is not None
            gain = mark - last_mark / _ratio(history[name], number)
            earned[_leg(held)] += held * (gain + paid.get((number, name), 0.0))
        for (name, size, price, _, _), total in zip(fills, bills, strict=True):
            held, mark = start.get(name, 0.0), _mark(history[name], number)
            assert mark is not None
            shut = math.copysign(min(abs(size), abs(held)), size) if size * held < 0 else 0.0
            for part, leg in ((shut, _leg(held)), (size - shut, _leg(size))):
                earned[leg] += part * (mark - price)
                paid_by[leg] += total * part / size
            start[name] = held + size
        books.legs += [
            {
                "session": day,
                "leg": leg,
                "pnl_gross": earned[leg],
                "pnl_net": earned[leg] - paid_by[leg],
                "gross_return": earned[leg] / start_equity,
                "net_return": (earned[leg] - paid_by[leg]) / start_equity,
            }
            for leg in ("long", "short")
        ]
        for name in names:
            weight = (weights or {}).get(name, 0.0)
            if shares[name] != 0 or weight != 0:
                value = values.get(name, 0.0)
                books.positions.append(
                    {
                        "session": day,
                        "symbol": name,
                        "shares": shares[name],
                        "mark_price": _mark(history[name], number),
                        "market_value": value,
                        "weight": value / equity,
                        "target_weight": None if weights is None else weight,
                    }
                )
        before = number
    return books


def _leg(shares: float) -> str:
    return "short" if shares < 0 else "long"


def _bars(
    rows: pl.DataFrame, name: str, calendar: Calendar, last: date, basis: Basis
) -> dict[int, Bar]:
    of_name = rows.filter((pl.col("symbol") == name) & (pl.col("event_date") <= last))
    rows_by_day: dict[date, list[Row]] = defaultdict(list)
    for row in of_name.sort("event_date", "available_at", "revision").iter_rows(named=True):
        level = row.get("level") or 1.0
        changed = {part: None if row[part] is None else row[part] / level for part in PRICES}
        volume = None if row["volume"] is None else row["volume"] * level
        rows_by_day[row["event_date"]].append(row | changed | {"volume": volume})
    bars: dict[int, Bar] = {}
    chain: float | None = None
    raw_before, owed = 0.0, 1.0
    factors: dict[int | None, float] = {}
    for day, rows_of_day in sorted(rows_by_day.items()):
        number = int(calendar.index_of(day))
        usable = [max(_effective(row, calendar), number + 1) for row in rows_of_day]
        known = min(usable)
        effective = [_effective(row, calendar) for row in rows_of_day]
        firsts = [
            row for row, when in zip(rows_of_day, effective, strict=True) if when == effective[0]
        ]
        row = rows_of_day[-1]
        factor = 1.0 if row["adjustment_factor"] is None else row["adjustment_factor"]
        ratio = 1 / factor if row.get("share_factor") is None else row["share_factor"]
        close, open_ = row["close"], row["open"]
        bar = Bar(
            number=number,
            open=None if close is None else open_,
            high=row["high"],
            low=row["low"],
            close=close,
            raw_open=open_,
            raw_close=close,
            volume=row["volume"],
            ratio=ratio,
            upper=bool(row["upper_limit"]),
            lower=bool(row["lower_limit"]),
            revisions=[
                (k, row["close"], row["adjustment_factor"])
                for k, row in zip(usable, rows_of_day, strict=True)
            ],
            first=firsts[-1],
            known=known,
        )
        if basis == "total_return":
            bar.ratio = 1.0
            owed *= factor
            if close is not None:
                chain = close if chain is None else chain * (close / raw_before) / owed
                raw_before, owed = close, 1.0
                bar.close = chain
                bar.open = None if open_ is None else chain * open_ / close
            bar.scale = math.nan if chain is None else chain / raw_before / owed
        bars[bar.number] = bar
        factors[bar.number] = factor
    # Bars withdrawn before the first close: a price of theirs times the factors until that one.
    later = 1.0
    for number in sorted((k for k in bars if math.isnan(bars[k].scale)), reverse=True):
        bars[number].scale = later = later * factors.get(_next(bars, number), 1.0)
    return bars


def _next(bars: dict[int, Bar], number: int) -> int | None:
    return min((k for k in bars if k > number), default=None)


def _paid_for(
    orders: dict[str, float],
    sizes: dict[str, float],
    shares: dict[str, float],
    sized_at: dict[str, float],
    equity: float,
    lot: int | None,
) -> dict[str, float]:
    """Return fills without purchases (new shorts) that unfilled sales (covers) were to pay for."""
    result = dict(sizes)
    parts = {}
    for name, order in orders.items():
        held = shares[name]
        opposite = order * held < 0
        shuts = math.copysign(min(abs(order), abs(held)), order) if opposite else 0.0
        shut = math.copysign(min(abs(sizes[name]), abs(held)), order) if opposite else 0.0
        parts[name] = (held, shuts, shut, order - shuts, sizes[name] - shut)
    for sign in (1, -1):
        stuck = sum(
            abs(shuts - shut) * sized_at[name]
            for name, (held, shuts, shut, _, _) in parts.items()
            if held * sign > 0
        )
        opening = {name: part for name, part in parts.items() if part[3] * sign > 0}
        idle = sum(abs(part[3] - part[4]) * sized_at[name] for name, part in opening.items())
        wanted = sum(abs(part[4]) * sized_at[name] for name, part in opening.items())
        excess = stuck - idle
        if stuck == 0 or excess <= DUST * equity or wanted <= DUST * equity:
            continue
        share = (wanted - excess) / wanted if wanted - excess > DUST * equity else 0.0
        for name, (_, _, shut, _, new) in opening.items():
            scaled = new * share if lot is None else _whole(new * share, lot)
            result[name] = shut + scaled
    return result


def _ratio(bars: dict[int, Bar], number: int) -> float:
    return bars[number].ratio if number in bars else 1.0


def _last_bar(bars: dict[int, Bar], number: int) -> int | None:
    """Return the session of the last close before a session."""
    return max((k for k, bar in bars.items() if k < number and bar.close is not None), default=None)


def _mark(bars: dict[int, Bar], number: int) -> float | None:
    """Return the last close up to a session, divided by every split since."""
    ratio = 1.0
    for k in sorted((k for k in bars if k <= number), reverse=True):
        close = bars[k].close
        if close is not None:
            return close / ratio
        ratio *= bars[k].ratio
    return None


def _known_close(bars: dict[int, Bar], number: int) -> float | None:
    """Return the last close that the decision of a session knew, in shares of the day before."""
    ratio = 1.0
    for k in sorted((k for k in bars if k < number), reverse=True):
        bar = bars[k]
        closes = [
            close for known, close, _ in bar.revisions if known <= number and close is not None
        ]
        if closes:
            return closes[-1] * bar.scale / ratio
        ratio *= bars[k].ratio
    return None


def _is_locked(bar: Bar, order: float, fill: str) -> bool:
    price = bar.raw_open if fill == "open" else bar.raw_close
    assert price is not None
    if order > 0:
        return bar.upper and bar.high is not None and price >= bar.high
    return bar.lower and bar.low is not None and price <= bar.low


def _on_time(bars: dict[int, Bar], k: int) -> bool:
    return k in bars and bars[k].known == k + 1


def _adv(bars: dict[int, Bar], number: int) -> float | None:
    known = _traded(bars, number)
    return sum(known) / len(known) if len(known) >= 16 else None


def _traded(bars: dict[int, Bar], number: int) -> list[float]:
    """Return the known ones of what the 20 sessions before traded; 0 without a bar in time."""
    begun = [k for k in bars if _on_time(bars, k) and bars[k].traded is not None]
    known: list[float] = []
    for k in range(number - 20, number):
        if not begun or k < min(begun):
            continue
        money = bars[k].traded if _on_time(bars, k) else None
        if money is not None:
            known.append(money)
        elif not _on_time(bars, k) or bars[k].first["close"] is None:
            known.append(0.0)
    return known


def _volatility(bars: dict[int, Bar], number: int) -> float | None:
    moves = []
    for k in range(number - 20, number):
        if not _on_time(bars, k) or bars[k].first["close"] is None:
            continue
        factor = bars[k].factor(number)
        for j in sorted((j for j in bars if j < k), reverse=True):
            before, close = bars[j].first["close"], bars[k].first["close"]
            if _on_time(bars, j) and before is not None and close is not None:
                moves.append(math.log(close / (before * factor)))
                break
            factor *= bars[j].factor(number)
    if len(moves) < 16:
        return None
    mean = math.fsum(moves) / len(moves)
    return math.sqrt(math.fsum((move - mean) ** 2 for move in moves) / (len(moves) - 1))


def _effective(row: Row, calendar: Calendar) -> int:
    return int(calendar.effective(row["available_at"].replace(tzinfo=None)))


def _last_stored(raw: Mapping[str, pl.DataFrame], feed: str) -> dict[tuple[date, str], Row]:
    """Return the last revision of each event."""
    if feed not in raw:
        return {}
    rows = raw[feed].sort("available_at", "revision").iter_rows(named=True)
    return {(row["event_date"], row["symbol"]): row for row in rows}


def _exits(
    raw: Mapping[str, pl.DataFrame], calendar: Calendar
) -> dict[tuple[int, str], tuple[float, str]]:
    return {
        (int(calendar.index_of(calendar.after(day))), name): (
            row["exit_return"] or 0.0,
            row["exit"],
        )
        for (day, name), row in _last_stored(raw, "listings").items()
        if row["exit"] not in (None, "active")
        and not (row["end"] is not None and row["end"] < day)  # an exit of a day before
    }


def _dividends(
    raw: Mapping[str, pl.DataFrame], calendar: Calendar, basis: Basis
) -> dict[tuple[int, str], float]:
    paid: dict[tuple[int, str], float] = defaultdict(float)
    if basis == "total_return":
        return paid
    for (day, name), row in _last_stored(raw, "dividends").items():
        paid[int(calendar.index_of(calendar.on_or_after(day))), name] += row["amount"] or 0.0
    return paid


def _latest(
    raw: Mapping[str, pl.DataFrame], feed: str, number: int, calendar: Calendar, **key: str
) -> tuple[int, Row] | None:
    if feed not in raw:
        return None
    known = [
        (row["event_date"], row["available_at"], row["revision"], row)
        for row in raw[feed].filter(**key).iter_rows(named=True)
        if _effective(row, calendar) <= number
    ]
    if not known:
        return None
    row = max(known, key=lambda item: item[:3])[3]
    return _effective(row, calendar), row


def _fee(
    raw: Mapping[str, pl.DataFrame],
    name: str,
    number: int,
    calendar: Calendar,
    costs: CostsSpec,
) -> float:
    quote = _quote(raw, name, number, calendar)
    fee = None if quote is None else quote["fee_bps_annual"]
    return costs.borrow_fee_bps_annual if fee is None else float(fee)


def _quote(
    raw: Mapping[str, pl.DataFrame], name: str, number: int, calendar: Calendar
) -> Row | None:
    """Return what a lender quotes at a session; None where there is no quote that still holds."""
    found = _latest(raw, "borrow", number, calendar, symbol=name)
    return None if found is None or number - found[0] > (BORROW.max_stale or 0) else found[1]


def _lendable(
    raw: Mapping[str, pl.DataFrame],
    bars: dict[int, Bar],
    name: str,
    number: int,
    calendar: Calendar,
    basis: Basis,
) -> float | None:
    """Return how many shares of now lenders quote; None without a number."""
    quote = _quote(raw, name, number, calendar)
    if quote is None or quote.get("available_shares") is None:
        return None
    shares = float(quote["available_shares"])
    quoted = int(calendar.index_of(calendar.after(quote["event_date"]))) - 1
    if basis == "price":
        since = [bars[k].ratio for k in bars if quoted < k <= number]
        return shares * math.prod(since)
    last = max((k for k, bar in bars.items() if k <= quoted and bar.close), default=None)
    if last is None:
        return shares
    close, raw_close = bars[last].close, bars[last].raw_close
    assert close is not None
    assert raw_close is not None
    return shares * raw_close / close


def _has_volume(bars: dict[int, Bar], number: int) -> bool:
    return bool(_traded(bars, number))


def _at_tick(price: float, order: float, tick: float) -> float:
    """Return the next price on the grid: above for a purchase, below for a sale."""
    steps = price / tick
    near = round(steps)
    if abs(steps - near) > 1e-6:
        near = math.ceil(steps) if order > 0 else math.floor(steps)
    return max(near, 1) * tick


def _cash_rate(raw: Mapping[str, pl.DataFrame], number: int, calendar: Calendar) -> float:
    """Return the last stored rate of the latest date that had one by a session; 0 when old."""
    if "rates" not in raw:
        return 0.0
    rates: dict[date, tuple[int, float | None]] = {}
    for row in raw["rates"].sort("available_at", "revision").iter_rows(named=True):
        since = rates.get(row["event_date"], (_effective(row, calendar), None))[0]
        rates[row["event_date"]] = (since, row["cash_rate_annual"])
    known = [day for day, (since, rate) in rates.items() if rate is not None and since <= number]
    if not known:
        return 0.0
    since, annual = rates[max(known)]
    return 0.0 if annual is None or number - since > (RATES.max_stale or 0) else float(annual)


def _whole(x: float, unit: float) -> float:
    """Return whole units, towards zero; what is nearly whole counts as whole."""
    return math.trunc(x / unit + math.copysign(1e-6, x)) * unit
