"""The books: targets become orders, orders fill at an auction, and every session is accounted for.

One session, in order:

1. at a rebalance, new orders: what is missing to the targets, for the equity and at the closes
   that the decision knew;
2. the session's splits, on holdings and orders alike; fractions of shares in cash, under lots;
3. exits: names that have left turn into cash, their orders are cancelled;
4. fills at the auction; what cannot fill waits for the next session or the next rebalance, and
   so does as much of each side's purchases as its unfilled sales were to pay for;
5. at the close: marks, dividends, interest, the fee for what is short, and the balance.

Nothing of steps 1 and 3 reads a bar of the session.  Shape letters: N symbols, K some of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Array, Index, Mask
from alpha_assets.backtest.books import (
    ABOVE_LOANS,
    HELD_BACK,
    NO_LIMIT,
    NO_VOLUME,
    NOT_BORROWED,
    Books,
    Holdings,
    Orders,
    Pages,
    Trades,
)
from alpha_assets.backtest.costs import (
    CostsSpec,
    borrow_cost,
    commission,
    impact_cost,
    spread_cost,
    to_tick,
)
from alpha_assets.backtest.lives import lives_of, raw_by_life, shown
from alpha_assets.backtest.market_data import Marks, marks_of
from alpha_assets.backtest.prices import Basis
from alpha_assets.backtest.rebalances import targets_by_session
from alpha_assets.backtest.rules import PortfolioSpec
from alpha_assets.calendar import Calendar
from alpha_assets.errors import BadInput, CheckFailed
from alpha_assets.panel.lives import by_date

TOLERANCE = 1e-9  # of equity: what the books may be out by
DUST = 1e-13  # of equity: an order or a rest that is worth less is rounding
ROUNDING = 1e-12  # of lendable shares: room for less is none
WHOLE = 1e-6  # shares: nearer than this to a whole number is a whole number

NOTHING = (0.0, 0.0, 0.0)  # spent on commission, spread and impact where nothing is traded
REBALANCE, CARRIED, FRACTION = "rebalance", "carried", "fraction"


def backtest(
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
) -> Books:
    """Return the books of holding `targets` from `first` to `last`.

    Args:
        targets: `session`, `symbol`, `target_weight`; a session with rows is a rebalance, at
            which names without a row are sold.
        raw: raw rows by feed; `daily_bars` at least.
        calendar: of the market.
        first: first session.
        last: last session; targets decided after it are not traded.
        portfolio: fill, capital, lots and participation.
        costs: what trading and being short costs.
        basis: see `marks_of`.
        max_stale: of the market; see `marks_of`.

    Raises:
        BadInput: lots or ticks on prices that were never traded, or targets that cannot be right.
        CheckFailed: the equity is used up.
    """
    wanted, marks, has_lives = _held_on_marks(
        targets,
        raw,
        calendar,
        first,
        last,
        portfolio=portfolio,
        costs=costs,
        basis=basis,
        max_stale=max_stale,
    )
    books = simulate(wanted, marks, portfolio, costs)
    if not has_lives:
        return books
    books.pages.has_lives = True
    return replace(
        books,
        positions=shown(books.positions),
        trades=shown(books.trades),
        marks=shown(books.marks),
        orders=shown(books.orders),
    )


def orders_at(
    targets: pl.DataFrame,
    raw: Mapping[str, pl.DataFrame],
    calendar: Calendar,
    *,
    first: date,
    session: date,
    portfolio: PortfolioSpec,
    costs: CostsSpec,
    basis: Basis,
    max_stale: int,
) -> pl.DataFrame:
    """Return the orders of a book that began at `first`, as it decides them at `session`.

    Rows as in `Books.orders`.  The book goes through the sessions before and no further: what
    the session brings (fills, dividends, exits, the close) has not happened yet.

    Args:
        targets: as in `backtest`.
        raw: as in `backtest`.
        calendar: of the market.
        first: first session of the book.
        session: a rebalance.
        portfolio: as in `backtest`.
        costs: as in `backtest`.
        basis: as in `backtest`.
        max_stale: as in `backtest`.

    Raises:
        BadInput: as `backtest`.
        CheckFailed: the equity is used up before the session.
    """
    held, marks, has_lives = _held_on_marks(
        targets,
        raw,
        calendar,
        first,
        session,
        portfolio=portfolio,
        costs=costs,
        basis=basis,
        max_stale=max_stale,
    )
    wanted = targets_by_session(held, marks)
    account = _Account.opened(marks, portfolio, costs)
    n_before = len(marks.sessions) - 1
    for d in range(n_before):
        account.live(d, wanted.get(d))
    if n_before in wanted:
        account.order_to(n_before, wanted[n_before])
    orders = account.pages.orders().filter(pl.col("session") == session)
    return shown(orders) if has_lives else orders


def _held_on_marks(
    targets: pl.DataFrame,
    raw: Mapping[str, pl.DataFrame],
    calendar: Calendar,
    first: date,
    last: date,
    *,
    portfolio: PortfolioSpec,
    costs: CostsSpec,
    basis: Basis,
    max_stale: int,
) -> tuple[pl.DataFrame, Marks, bool]:
    """Return targets of the names that are ever held, their market, and whether lives were split.

    Raises:
        BadInput: lots or ticks on prices that were never traded, or a tick above most prices.
    """
    if portfolio.lot is not None and basis == "total_return":
        raise BadInput(
            f"portfolio.lot = {portfolio.lot} counts shares at prices as traded, which "
            "total-return prices are not; leave lot out"
        )
    if costs.tick is not None and basis == "total_return":
        raise BadInput(
            f"costs.tick = {costs.tick:g} is a step of prices as traded, which total-return "
            "prices are not; leave tick out"
        )
    lives = lives_of(raw, calendar)
    if lives:
        raw, targets = raw_by_life(raw, lives), by_date(targets, "session", lives)
    held = targets.filter(pl.col("target_weight") != 0)
    symbols = tuple(held["symbol"].unique().sort().to_list())
    marks = marks_of(
        raw,
        symbols,
        calendar,
        first,
        last,
        basis=basis,
        fill=portfolio.fill,
        spread=costs.spread,
        max_stale=max_stale,
    )
    _refuse_tick_above_prices(marks, costs)
    # A row of weight 0 still makes its session a rebalance; a name never held needs no more.
    known = pl.col("symbol").is_in(symbols)
    wanted = targets.with_columns(symbol=pl.when(known).then("symbol"))
    return wanted, marks, bool(lives)


def _refuse_tick_above_prices(marks: Marks, costs: CostsSpec) -> None:
    """Refuse a step of prices that most of them are smaller than: it is no exchange's.

    Raises:
        BadInput: naming the step and the price.
    """
    known_K = marks.close[np.isfinite(marks.close)]
    if costs.tick is None or not len(known_K):
        return
    typical = float(np.median(known_K))
    if costs.tick > typical:
        raise BadInput(
            f"costs.tick = {costs.tick:g} is more than a price: the median close of the names "
            f"that are held is {typical:g}; want the step of prices at the exchange, or leave tick "
            "out"
        )


def simulate(
    targets: pl.DataFrame, marks: Marks, portfolio: PortfolioSpec, costs: CostsSpec
) -> Books:
    """Return the books of holding `targets` on a market.

    Args:
        targets: `session`, `symbol`, `target_weight`; a row without a symbol holds nothing.
        marks: the market.
        portfolio: fill, capital, lots and participation.
        costs: what trading and being short costs.

    Raises:
        BadInput: a target that cannot be right, or of a session or symbol without marks.
        CheckFailed: the equity is used up.
    """
    return walk(targets_by_session(targets, marks), marks, portfolio, costs).books()


def walk(
    wanted: Mapping[int, Array], marks: Marks, portfolio: PortfolioSpec, costs: CostsSpec
) -> Pages:
    """Return what is written down from session to session.

    Args:
        wanted: weights on the symbol axis by the place of their session: the rebalances.
        marks: the market.
        portfolio: fill, capital, lots and participation.
        costs: what trading and being short costs.

    Raises:
        CheckFailed: the equity is used up.
    """
    account = _Account.opened(marks, portfolio, costs)
    account.pages.wanted = wanted
    next_D = _next_with_events(wanted, marks)
    d = 0
    while d < len(marks.sessions):
        until = d if len(account.order_K) else int(next_D[d])
        if until > d:
            account.rest(d, until)
        else:
            account.live(d, wanted.get(d))
            until = d + 1
        d = until
    account.settle_orders()
    return account.pages


def _next_with_events(wanted: Mapping[int, Array], marks: Marks) -> Index:
    """Return, for each session, the first from it on at which more happens than new prices.

    A rebalance, a split, a dividend or an exit of any name; the first session, at which the
    capital arrives; all, where loans are counted.  Open orders are the account's.
    """
    happens_D = marks.has_split_D | marks.has_dividend_D | marks.has_lendable
    happens_D[[0, *wanted, *marks.exits]] = True
    n = len(happens_D)
    return np.minimum.accumulate(np.where(happens_D, np.arange(n), n)[::-1])[::-1]


@dataclass
class _Account:
    """Cash, shares and open orders, carried from session to session.

    Attributes:
        cash: at the close.
        equity: at the close.
        value: market value of all positions at the close, net.
        shares_N: signed.
        held_K: places of shares that are not 0.
        order_K: places of open orders.
        missing_K: signed shares still to be traded.
        sized_at_K: the known close at which each order was sized, per share of now.
        is_partial_N: the order of the last rebalance was filled in part at some session.
        is_carried_N: it was still open after its first session.
        unset_N: NaN: what stands for targets where none were set.
        adv: of a session and the orders open then the ADV, where it was asked for last.
    """

    marks: Marks
    portfolio: PortfolioSpec
    costs: CostsSpec
    pages: Pages
    cash: float
    equity: float
    value: float
    shares_N: Array
    held_K: Index
    order_K: Index
    missing_K: Array
    sized_at_K: Array
    is_partial_N: Mask
    is_carried_N: Mask
    unset_N: Array
    adv: tuple[int, Index, Array] | None = None

    @classmethod
    def opened(cls, marks: Marks, portfolio: PortfolioSpec, costs: CostsSpec) -> "_Account":
        no_K = np.empty(0, dtype=np.int64)
        return cls(
            marks=marks,
            portfolio=portfolio,
            costs=costs,
            pages=Pages(marks, costs, portfolio.capital),
            cash=portfolio.capital,
            equity=portfolio.capital,
            value=0.0,
            shares_N=np.zeros(len(marks.symbols)),
            held_K=no_K,
            order_K=no_K,
            missing_K=np.empty(0),
            sized_at_K=np.empty(0),
            is_partial_N=np.zeros(len(marks.symbols), dtype=bool),
            is_carried_N=np.zeros(len(marks.symbols), dtype=bool),
            unset_N=np.full(len(marks.symbols), np.nan),
        )

    def live(self, d: int, target_N: Array | None) -> None:
        """Carry the account through one session."""
        if target_N is not None:
            self.order_to(d, target_N)
        if self.marks.has_split_D[d]:
            ratio_N = self.marks.share_ratio[d]
            self.shares_N = self.shares_N * ratio_N
            self.missing_K = self.missing_K * ratio_N[self.order_K]
            self.sized_at_K = self.sized_at_K / ratio_N[self.order_K]
            if self.portfolio.lot is not None:  # half a share cannot be ordered
                self.missing_K = towards_zero(self.missing_K, 1.0)
        # What the close of the session before has become: it earns the session's dividends.
        before_K, before_shares_K = self.held_K, self.shares_N[self.held_K]
        trades = []
        if self.marks.has_split_D[d] and self.portfolio.lot is not None:
            trades += self.pay_fractions(d)
        if d in self.marks.exits:
            trades += self.leave(d)
        if len(self.order_K):
            trades += self.fill(d, CARRIED if target_N is None else REBALANCE)
        self.is_carried_N[self.order_K] = True
        if trades:
            self.held_K = np.flatnonzero(self.shares_N)
        self.close(d, before_K, before_shares_K, trades, target_N)

    def known_equity(self, d: int) -> float:
        """Return the equity of the close before as D's decision knew it.

        The book's cash, and its shares at the last closes known at D.  Fills, splits and cash
        are the broker's reports: they are known.
        """
        shares_K, close_K = self.shares_N[self.held_K], self.marks.known_close[d, self.held_K]
        return self.cash + float((shares_K * close_K).sum())

    def order_to(self, d: int, target_N: Array) -> None:
        """Replace all open orders by what is missing to the targets, at the last known closes.

        A name without a known close is not ordered.  Lots round an order towards zero, but a
        position that is to be left is left whole.
        """
        self.settle_orders()
        equity = self.known_equity(d)
        some_K = np.flatnonzero((target_N != 0) | (self.shares_N != 0))
        close_K = self.marks.known_close[d, some_K]
        money_K = target_N[some_K] * equity
        full_K = np.zeros(len(some_K))
        np.divide(money_K, close_K, out=full_K, where=~np.isnan(close_K))
        missing_K = full_K - self.shares_N[some_K]
        if self.portfolio.lot is not None:
            missing_K = np.where(
                full_K == 0, missing_K, towards_zero(missing_K, self.portfolio.lot)
            )
        is_order_K = np.abs(missing_K) * close_K > DUST * equity
        self.order_K, self.missing_K = some_K[is_order_K], missing_K[is_order_K]
        self.sized_at_K = close_K[is_order_K]
        money_of_K = np.abs(self.missing_K) * self.sized_at_K
        adv_K = self.adv_of_orders(d)
        share_K = np.where(adv_K == 0, np.inf, np.nan)
        np.divide(money_of_K, adv_K, out=share_K, where=adv_K > 0)
        self.pages.participation.append(share_K)
        sized = Orders(self.order_K, self.missing_K, self.sized_at_K)
        if self.marks.known_raw_close is not self.marks.known_close:
            # Shares as a broker counts them: total-return ones depend on all factors there are.
            raw_K = self.marks.known_raw_close[d, some_K]
            counted_K = money_K / raw_K - self.shares_N[some_K] * (close_K / raw_K)
            sized = Orders(self.order_K, counted_K[is_order_K], raw_K[is_order_K])
        self.pages.ordered.append((d, sized))

    def adv_of_orders(self, d: int) -> Array:
        """Return the ADV of each open order, as known at D."""
        if self.adv is None or self.adv[0] != d or self.adv[1] is not self.order_K:
            self.adv = d, self.order_K, self.marks.traded.mean(d, self.order_K)
        return self.adv[2]

    def settle_orders(self) -> None:
        """Count what became of the last rebalance's orders; what is open of them is cancelled."""
        self.pages.n_partial += int(np.count_nonzero(self.is_partial_N))
        self.pages.n_carried += int(np.count_nonzero(self.is_carried_N))
        self.pages.n_unfinished += len(self.order_K)
        self.is_partial_N[:] = self.is_carried_N[:] = False
        self.keep_open(np.zeros(len(self.order_K), dtype=bool))

    def pay_fractions(self, d: int) -> list[Trades]:
        """Turn what a split left of a share into cash, at the restated last close."""
        shares_K = self.shares_N[self.held_K]
        rest_K = shares_K - towards_zero(shares_K, 1.0)
        has_rest_K = np.abs(rest_K) > WHOLE
        if not has_rest_K.any():
            return []
        symbol_K, rest_K = self.held_K[has_rest_K], rest_K[has_rest_K]
        self.shares_N[symbol_K] -= rest_K
        price_K = self.last_marks(d, symbol_K)
        return [_free(symbol_K, -rest_K, price_K, [FRACTION] * len(rest_K))]

    def leave(self, d: int) -> list[Trades]:
        """Turn names that have left the market into cash, and cancel their orders."""
        gone = self.marks.exits[d]
        is_gone_K = np.isin(self.order_K, gone.symbol_K)
        self.pages.n_unfinished += int(np.count_nonzero(is_gone_K))
        self.keep_open(~is_gone_K)
        shares_K = self.shares_N[gone.symbol_K]
        has_K = np.flatnonzero(shares_K)
        if not len(has_K):
            return []
        symbol_K = gone.symbol_K[has_K]
        self.shares_N[symbol_K] = 0.0
        price_K = self.last_marks(d, symbol_K) * (1.0 + gone.return_K[has_K])
        return [_free(symbol_K, -shares_K[has_K], price_K, [gone.word_K[k] for k in has_K])]

    def keep_open(self, which_K: Mask) -> None:
        """Cancel all orders but some."""
        self.order_K, self.missing_K = self.order_K[which_K], self.missing_K[which_K]
        self.sized_at_K = self.sized_at_K[which_K]

    def fill(self, d: int, reason: str) -> list[Trades]:
        """Fill what can be filled at the auction; the rest stays open."""
        marks, order_K = self.marks, self.order_K
        may_K = np.where(self.missing_K > 0, marks.can_buy[d, order_K], marks.can_sell[d, order_K])
        if not may_K.any():
            return []
        price_K = (marks.open if self.portfolio.fill == "open" else marks.close)[d, order_K]
        price_K = to_tick(price_K, self.missing_K, self.costs)
        has_impact = self.costs.impact_coefficient > 0
        asks_adv = has_impact or self.portfolio.max_participation is not None
        adv_K = self.adv_of_orders(d) if asks_adv else np.full(len(order_K), np.nan)
        shares_K = np.where(may_K, self.missing_K, 0.0)
        if self.portfolio.max_participation is not None:
            most_K = most_filled(marks, d, order_K, price_K, adv_K, self.portfolio)
            self.pages.count(d, NO_LIMIT, order_K[np.isinf(most_K) & may_K])
            shares_K = np.minimum(np.maximum(shares_K, -most_K), most_K)
        shares_K = self.paid_for(d, self.within_loans(d, shares_K))
        which = slice(None) if may_K.all() else may_K
        symbol_K = order_K[which]
        shares_K, price_K, adv_K = shares_K[which], price_K[which], adv_K[which]
        is_open_K = ~may_K
        self.missing_K = self.missing_K.copy()  # the page of orders keeps what was ordered
        self.missing_K[which] -= shares_K
        is_open_K[which] = np.abs(self.missing_K[which]) * price_K > DUST * self.equity
        is_partial_K = is_open_K[which] & (shares_K != 0)
        self.keep_open(is_open_K)
        self.is_partial_N[symbol_K[is_partial_K]] = True
        notional_K = shares_K * price_K
        cost_3K = np.zeros((3, len(symbol_K)))
        cost_3K[0] = commission(notional_K, self.costs)
        cost_3K[1] = spread_cost(notional_K, marks.half_spread[d, symbol_K], self.costs)
        if has_impact:
            volatility_K = marks.changes.std(d, symbol_K)
            cost_3K[2] = impact_cost(notional_K, adv_K, volatility_K, self.costs)
        after_K = self.shares_N[symbol_K] + shares_K
        after_K[np.abs(after_K) * price_K <= DUST * self.equity] = 0.0
        self.shares_N[symbol_K] = after_K
        is_trade_K = shares_K != 0
        is_blind_K = is_trade_K & ~marks.has_volume[d, symbol_K]
        self.pages.count(d, NO_VOLUME, symbol_K[is_blind_K])
        if not is_trade_K.all():
            symbol_K, shares_K, price_K = (x[is_trade_K] for x in (symbol_K, shares_K, price_K))
            cost_3K = cost_3K[:, is_trade_K]
        return [Trades(symbol_K, shares_K, price_K, cost_3K, [reason] * len(symbol_K))]

    def within_loans(self, d: int, shares_K: Array) -> Array:
        """Return fills that leave no name shorter than the shares that lenders quote.

        What is short already stays: a loan that is out is not called back.
        """
        if not self.marks.has_lendable:
            return shares_K
        most_K = most_sold(
            self.shares_N[self.order_K], self.marks.lendable[d, self.order_K], self.portfolio.lot
        )
        is_above_K = shares_K < -most_K
        self.pages.count(d, NOT_BORROWED, self.order_K[is_above_K])
        return np.where(is_above_K, -most_K, shares_K)

    def paid_for(self, d: int, shares_K: Array) -> Array:
        """Return fills in which no purchase is paid for by a sale that did not happen.

        Of each side (longs, shorts) the orders that open positions are scaled down, all by one
        factor, so that the side is no larger than it would be had its orders that close
        positions been filled; money at the closes at which the orders were sized.
        """
        if (shares_K == self.missing_K).all():
            return shares_K
        held_K = self.shares_N[self.order_K]
        shuts_K = closing(self.missing_K, held_K)
        shut_K = closing(shares_K, held_K)
        stuck_K = np.abs(shuts_K - shut_K) * self.sized_at_K
        if not stuck_K.any():
            return shares_K
        opens_K, open_K = self.missing_K - shuts_K, shares_K - shut_K
        idle_K, new_K = np.abs(opens_K - open_K) * self.sized_at_K, np.abs(open_K) * self.sized_at_K
        dust, scaled_K = DUST * self.equity, open_K.copy()
        is_held_back_K = np.zeros(len(open_K), dtype=bool)
        for sign in (1.0, -1.0):
            side_K = opens_K * sign > 0
            excess = stuck_K[held_K * sign > 0].sum() - idle_K[side_K].sum()
            wanted = new_K[side_K].sum()
            if excess <= dust or wanted <= dust:
                continue
            share = (wanted - excess) / wanted if wanted - excess > dust else 0.0
            scaled_K[side_K] *= share
            is_held_back_K |= side_K & (open_K != 0)
        if self.portfolio.lot is not None:
            scaled_K = np.where(
                scaled_K == open_K, open_K, towards_zero(scaled_K, self.portfolio.lot)
            )
        self.pages.count(d, HELD_BACK, self.order_K[is_held_back_K])
        return shut_K + scaled_K

    def close(
        self,
        d: int,
        before_K: Index,
        before_shares_K: Array,
        trades: list[Trades],
        target_N: Array | None,
    ) -> None:
        """Mark to the close, pay and receive, and write the session down."""
        marks, mark_N = self.marks, self.marks.mark[d]
        notional = traded = gained = costs = 0.0
        spent: Sequence[float] = NOTHING
        if trades:
            spent_3 = np.zeros(3)
            for some in trades:
                notional_K = some.shares_K * some.price_K
                notional += float(notional_K.sum())
                traded += float(np.abs(notional_K).sum())
                gained += float(some.shares_K @ (mark_N[some.symbol_K] - some.price_K))
                spent_3 += some.cost_3K.sum(axis=1)
            spent, costs = spent_3.tolist(), float(spent_3.sum())
        dividends = 0.0
        if marks.has_dividend_D[d]:
            paid_K = marks.dividend[d, before_K]
            pays = np.flatnonzero(paid_K)
            self.refuse_dividends_above_price(d, before_K[pays], paid_K[pays])
            dividends = float(before_shares_K @ paid_K)
        held_K = self.held_K
        shares_K = self.shares_N[held_K]
        if marks.has_lendable:
            is_above_K = -shares_K > marks.lendable[d, held_K] + WHOLE
            self.pages.count(d, ABOVE_LOANS, held_K[is_above_K])
        value_K = shares_K * mark_N[held_K]
        value = float(value_K.sum())
        self.balance(
            d,
            value=value,
            gross=float(np.abs(value_K).sum()),
            borrowed=float(self.borrow_costs(slice(d, d + 1), value_K[None])[0]),
            carried=float(before_shares_K @ mark_N[before_K]) if trades else value,
            notional=notional,
            traded=traded,
            gained=gained,
            spent=spent,
            costs=costs,
            dividends=dividends,
        )
        self.pages.traded += [(d, some) for some in trades]
        if target_N is None:
            page = Holdings(held_K, shares_K, self.unset_N[: len(held_K)])
        else:
            named_K = np.flatnonzero((target_N != 0) | (self.shares_N != 0))
            page = Holdings(named_K, self.shares_N[named_K], target_N[named_K])
        self.pages.held.append((d, page))

    def rest(self, first: int, stop: int) -> None:
        """Carry the account through sessions at which nothing happens but new prices.

        What `live` does, bit for bit, in one go: nothing is open, traded, split or paid out.
        """
        held_K = self.held_K
        shares_K = self.shares_N[held_K]
        value_SK = shares_K * self.marks.mark[first:stop].take(held_K, axis=1)
        page = Holdings(held_K, shares_K, self.unset_N[: len(held_K)])
        of_sessions = zip(
            range(first, stop),
            value_SK.sum(axis=1).tolist(),
            np.abs(value_SK).sum(axis=1).tolist(),
            self.borrow_costs(slice(first, stop), value_SK).tolist(),
            strict=True,
        )
        for d, value, gross, borrowed in of_sessions:
            self.balance(d, value=value, gross=gross, borrowed=borrowed, carried=value)
            self.pages.held.append((d, page))

    def borrow_costs(self, sessions: slice, value_SK: Array) -> Array:
        """Return the fee for what is short at the close of each session, money."""
        marks = self.marks
        if not marks.has_fees and self.costs.borrow_fee_bps_annual == 0:
            return np.zeros(len(value_SK))
        fee_SK = marks.fee_bps_annual[sessions].take(self.held_K, axis=1)
        cost_SK = borrow_cost(value_SK, fee_SK, marks.nights[sessions, None], self.costs)
        return np.asarray(cost_SK.sum(axis=1))

    def balance(
        self,
        d: int,
        *,
        value: float,
        gross: float,
        borrowed: float,
        carried: float,
        notional: float = 0.0,
        traded: float = 0.0,
        gained: float = 0.0,
        spent: Sequence[float] = NOTHING,
        costs: float = 0.0,
        dividends: float = 0.0,
    ) -> None:
        """Pay and receive, check the balance, and write the account of a session down.

        Args:
            d: place of the session.
            value: of all positions at the close, net.
            gross: the same without signs.
            borrowed: fee for what is short.
            carried: value at the close of what was held before the session's trades.
            notional: traded money, net; purchases are positive.
            traded: the same without signs.
            gained: by trades, from their prices to the close.
            spent: commission, spread and impact.
            costs: their sum.
            dividends: received less paid.
        """
        equity_before = self.equity
        interest = 0.0
        if d:  # the capital arrives on the first session
            interest = float(self.cash * self.marks.cash_return[d - 1])
        bill = costs + borrowed
        carried, self.value = carried - self.value, value
        self.cash += -notional - bill + dividends + interest
        self.equity = self.cash + self.value
        if not self.equity > 0:
            raise CheckFailed(
                f"the equity is used up at {self.marks.sessions[d]}: {self.equity:,.0f} of "
                f"{equity_before:,.0f} the session before; lower portfolio.gross_exposure"
            )
        # The other way to the same equity: by what prices did, not by what is left.
        earned = carried + gained + dividends + interest - bill
        error = abs(equity_before + earned - self.equity)
        assert error <= TOLERANCE * self.equity, f"books out by {error} at {self.marks.sessions[d]}"
        net = self.equity / equity_before - 1.0
        self.pages.days.append(
            (
                net + bill / equity_before,
                net,
                0.5 * traded / equity_before,
                gross / self.equity,
                self.value / self.equity,
                *spent,
                borrowed,
                dividends,
                interest,
                self.cash,
                self.equity,
            )
        )

    def refuse_dividends_above_price(self, d: int, held_K: Index, paid_K: Array) -> None:
        """Refuse a dividend per share of more than the share was worth the close before.

        Raises:
            BadInput: there is one of a name that is held.
        """
        worth_K = self.last_marks(d, held_K)
        odd = np.flatnonzero(paid_K > worth_K)
        if len(odd):
            k = int(odd[0])
            raise BadInput(
                f"dividends: {self.marks.symbols[held_K[k]]!r} pays {paid_K[k]:g} a share on "
                f"{self.marks.sessions[d]}, and the last close before is {worth_K[k]:g}; a "
                "dividend is money per share and at most what the share was worth: is it in "
                "another unit, or per lot?"
            )

    def last_marks(self, d: int, symbol_K: Index) -> Array:
        """Return the marks of the session before, per share after this session's split."""
        ratio_K = self.marks.share_ratio[d, symbol_K]
        return np.asarray(self.marks.mark[d - 1, symbol_K] / ratio_K)


def most_filled(
    marks: Marks, d: int, symbol_K: Index, price_K: Array, adv_K: Array, portfolio: PortfolioSpec
) -> Array:
    """Return how many shares of each name `max_participation` lets through in a session.

    None where too few sessions are known for an ADV; any number where no volume of any of them is
    known.

    Args:
        marks: the market.
        d: place of the session.
        symbol_K: places of the names.
        price_K: of the fills; [C, K] for several accounts, and so is the result.
        adv_K: money; NaN where it is not known.
        portfolio: participation and lots.
    """
    assert portfolio.max_participation is not None
    most_K = portfolio.max_participation * adv_K / price_K
    most_K[np.isnan(most_K)] = 0.0
    blind = np.flatnonzero(np.isnan(adv_K))  # of fewer names it is asked whether anything is known
    if len(blind):
        most_K[..., blind[~marks.traded.has_any(d, symbol_K[blind])]] = np.inf
    return most_K if portfolio.lot is None else towards_zero(most_K, portfolio.lot)


def most_sold(held_K: Array, lendable_K: Array, lot: int | None) -> Array:
    """Return how many shares of each name can be sold: what is long, and what can be borrowed.

    Args:
        held_K: signed shares.
        lendable_K: shares that can be short in all; NaN, and so is the result, without a quote.
        lot: that what is borrowed is rounded to, downwards.
    """
    room_K = np.maximum(lendable_K - np.maximum(-held_K, 0.0), 0.0)
    room_K[room_K <= ROUNDING * lendable_K] = 0.0
    if lot is not None:
        room_K = towards_zero(room_K, lot)
    return np.asarray(np.maximum(held_K, 0.0) + room_K)


def towards_zero(x_K: Array, unit: float) -> Array:
    """Return whole units, towards zero; what is nearly whole counts as whole."""
    return np.trunc(x_K / unit + np.sign(x_K) * WHOLE) * unit


def closing(order_K: Array, held_K: Array) -> Array:
    """Return the part of each order that makes a held position smaller."""
    size_K = np.minimum(np.abs(order_K), np.abs(held_K))
    return np.where(order_K * held_K < 0, np.sign(order_K) * size_K, 0.0)


def _free(symbol_K: Index, shares_K: Array, price_K: Array, reason_K: list[str]) -> Trades:
    """Return trades that cost nothing: they took no order."""
    return Trades(symbol_K, shares_K, price_K, np.zeros((3, len(symbol_K))), reason_K)
