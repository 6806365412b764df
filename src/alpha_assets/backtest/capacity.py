"""Many accounts in one pass: the same targets with many capitals, or many rules beside each other.

The accounts of `simulator`, each session for all of them together: a market is read once, and
ADV, volatility and prices are looked up once a session.  Each account is the one that a single
run of its capital keeps, to rounding: sums run over the names that any account holds.
Shape letters: C accounts, D sessions, N symbols, K some of them, R rules.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from alpha_assets.arrays.types import Array, Dates, Index, Mask
from alpha_assets.backtest.books import SHARES_OF_ADV, OrderCounts
from alpha_assets.backtest.costs import (
    CostsSpec,
    borrow_cost,
    commission,
    impact_cost,
    spread_cost,
    to_tick,
)
from alpha_assets.backtest.market_data import Marks
from alpha_assets.backtest.rules import PortfolioSpec
from alpha_assets.backtest.simulator import (
    DUST,
    WHOLE,
    closing,
    most_filled,
    most_sold,
    towards_zero,
)
from alpha_assets.errors import BadInput

STEPS_A_DECADE = 5
FROM_STEP, TO_STEP = -10, 9  # of the recipe's capital: a hundredth to 63 times


@dataclass(frozen=True)
class Capacity:
    """What the same targets earn with each capital.

    Attributes:
        sessions: [D].
        capital: [C] equity before the first session.
        net_return: [C, D] as in the daily table; NaN from the session on that used the equity up.
        gross_return: [C, D].
        turnover: [C, D].
        cost: [C, D] money: commission, spread, impact and borrow together.
        trading_cost: [C, D] money: the same without borrow.
        traded: [C, D] absolute notional of all trades, exits included.
        orders: [C] how many there were, and what became of them.
    """

    sessions: Dates
    capital: Array
    net_return: Array
    gross_return: Array
    turnover: Array
    cost: Array
    trading_cost: Array
    traded: Array
    orders: tuple[OrderCounts, ...]


def capitals_around(capital: float) -> Array:
    """Return 20 capitals, five a decade, from a hundredth of one to 63 times; it is one of them."""
    step = np.arange(FROM_STEP, TO_STEP + 1)
    return np.asarray(capital * 10.0 ** (step / STEPS_A_DECADE))


def capacity(
    wanted: Mapping[int, Array],
    marks: Marks,
    portfolio: PortfolioSpec,
    costs: CostsSpec,
    capitals: Sequence[float] | Array,
) -> Capacity:
    """Return what holding the targets earns with each of `capitals`, in one pass.

    Args:
        wanted: weights on the symbol axis by the place of their session: the rebalances.
        marks: the market.
        portfolio: all but its capital.
        costs: what trading and being short costs.
        capitals: money, above 0.

    Raises:
        BadInput: a capital that is not above 0.
    """
    capital_C = np.asarray(capitals, dtype=np.float64)
    if not (np.isfinite(capital_C) & (capital_C > 0)).all():
        raise BadInput(f"capitals of a capacity curve are money above 0, got {capital_C.tolist()}")
    same = [Account(0, capital) for capital in capital_C.tolist()]
    return _walked([wanted], marks, portfolio, costs, same).curve()


@dataclass(frozen=True)
class Account:
    """One of many accounts that are kept beside each other.

    Attributes:
        rule: place of the targets that it holds.
        capital: equity before the first session.
        cost_scale: what every cost is multiplied by.
    """

    rule: int
    capital: float
    cost_scale: float = 1.0


def net_returns(
    wanted: Sequence[Mapping[int, Array]],
    marks: Marks,
    portfolio: PortfolioSpec,
    costs: CostsSpec,
    accounts: Sequence[Account],
) -> Array:
    """Return what many accounts earn after costs, [C, D]; see `Capacity.net_return`.

    Args:
        wanted: of each rule, weights on the symbol axis by the place of their session.
        marks: the market.
        portfolio: how all of them fill: auction, lot and participation.
        costs: what trading and being short costs, at a scale of 1.
        accounts: which targets each holds, with what.
    """
    return _walked(wanted, marks, portfolio, costs, accounts).curve().net_return


def _walked(
    wanted: Sequence[Mapping[int, Array]],
    marks: Marks,
    portfolio: PortfolioSpec,
    costs: CostsSpec,
    accounts: Sequence[Account],
) -> "_Accounts":
    """Return the accounts after the last session."""
    found = _Accounts.opened(accounts, marks, portfolio, costs)
    for d in range(len(marks.sessions)):
        target_RN = {r: targets[d] for r, targets in enumerate(wanted) if d in targets}
        found.live(d, target_RN)
    return found


@dataclass
class _Accounts:
    """Cash, shares and open orders of all capitals, carried from session to session.

    Attributes as in the simulator's account; an order that is not open is missing 0 shares.
    """

    marks: Marks
    portfolio: PortfolioSpec
    costs: CostsSpec
    rule_C: Index
    capital_C: Array
    scale_C: Array
    cash_C: Array
    equity_C: Array
    shares_CN: Array
    order_K: Index
    missing_CK: Array
    sized_at_CK: Array
    is_partial_CN: Mask
    is_carried_CN: Mask
    n_partial_C: Index
    n_carried_C: Index
    n_unfinished_C: Index
    n_orders_C: Index
    n_unknown_C: Index
    n_above_CL: Index
    days: list[Array] = field(default_factory=list)

    @classmethod
    def opened(
        cls, accounts: Sequence[Account], marks: Marks, portfolio: PortfolioSpec, costs: CostsSpec
    ) -> "_Accounts":
        n, shape = len(accounts), (len(accounts), len(marks.symbols))
        capital_C = np.array([account.capital for account in accounts], dtype=np.float64)
        return cls(
            marks=marks,
            portfolio=portfolio,
            costs=costs,
            rule_C=np.array([account.rule for account in accounts], dtype=np.int64),
            capital_C=capital_C,
            scale_C=np.array([account.cost_scale for account in accounts], dtype=np.float64),
            cash_C=capital_C.copy(),
            equity_C=capital_C.copy(),
            shares_CN=np.zeros(shape),
            order_K=np.empty(0, dtype=np.int64),
            missing_CK=np.zeros((n, 0)),
            sized_at_CK=np.zeros((n, 0)),
            is_partial_CN=np.zeros(shape, dtype=bool),
            is_carried_CN=np.zeros(shape, dtype=bool),
            n_partial_C=np.zeros(n, dtype=np.int64),
            n_carried_C=np.zeros(n, dtype=np.int64),
            n_unfinished_C=np.zeros(n, dtype=np.int64),
            n_orders_C=np.zeros(n, dtype=np.int64),
            n_unknown_C=np.zeros(n, dtype=np.int64),
            n_above_CL=np.zeros((n, len(SHARES_OF_ADV)), dtype=np.int64),
        )

    @property
    def held_K(self) -> Index:
        return np.flatnonzero((self.shares_CN != 0).any(axis=0))

    def live(self, d: int, target_RN: Mapping[int, Array]) -> None:
        """Carry all accounts through one session; some rules may rebalance on it."""
        marks = self.marks
        if target_RN:
            self.order_to(d, target_RN)
        ratio_N = marks.share_ratio[d]
        has_split = bool((ratio_N != 1.0).any())
        if has_split:
            self.shares_CN = self.shares_CN * ratio_N
            self.missing_CK = self.missing_CK * ratio_N[self.order_K]
            self.sized_at_CK = self.sized_at_CK / ratio_N[self.order_K]
            if self.portfolio.lot is not None:
                self.missing_CK = towards_zero(self.missing_CK, 1.0)
        before_K = self.held_K
        before_CK = self.shares_CN[:, before_K]
        bought_C, traded_C, spent_C = (np.zeros(len(self.cash_C)) for _ in range(3))
        free = self.pay_fractions(d) if has_split and self.portfolio.lot is not None else []
        free += self.leave(d) if d in marks.exits else []
        for shares_CK, price_K in free:
            notional_CK = shares_CK * price_K
            bought_C += notional_CK.sum(axis=1)
            traded_C += np.abs(notional_CK).sum(axis=1)
        if len(self.order_K):
            may_C = (self.missing_CK != 0).any(axis=1)
            rows = np.flatnonzero(may_C)
            if len(rows):
                notional_RK, cost_RK = self.fill(d, rows)
                bought_C[rows] += notional_RK.sum(axis=1)
                traded_C[rows] += np.abs(notional_RK).sum(axis=1)
                spent_C[rows] += cost_RK.sum(axis=1) * self.scale_C[rows]
        self.is_carried_CN[:, self.order_K] |= self.missing_CK != 0
        paid_C = before_CK @ marks.dividend[d, before_K]
        interest_C = self.cash_C * marks.cash_return[d - 1] if d else 0.0
        held_K = self.held_K
        value_CK = self.shares_CN[:, held_K] * marks.mark[d, held_K]
        fee_K = marks.fee_bps_annual[d, held_K]
        owed_CK = borrow_cost(value_CK, fee_K, int(marks.nights[d]), self.costs)
        owed_C = owed_CK.sum(axis=1) * self.scale_C
        bill_C, equity_before_C = spent_C + owed_C, self.equity_C
        self.cash_C = self.cash_C - bought_C - bill_C + paid_C + interest_C
        self.equity_C = self.cash_C + value_CK.sum(axis=1)
        is_up_C = ~(self.equity_C > 0)
        if is_up_C.any():
            self.cash_C[is_up_C] = self.equity_C[is_up_C] = np.nan
            self.shares_CN[is_up_C], self.missing_CK[is_up_C] = 0.0, 0.0
        net_C = self.equity_C / equity_before_C - 1.0
        gross_C = net_C + bill_C / equity_before_C
        turnover_C = 0.5 * traded_C / equity_before_C
        self.days.append(np.stack([net_C, gross_C, turnover_C, bill_C, spent_C, traded_C]))

    def order_to(self, d: int, target_RN: Mapping[int, Array]) -> None:
        """Replace the open orders of the rules that rebalance by what is missing to the targets."""
        rules = np.array(sorted(target_RN))
        rows = np.flatnonzero(np.isin(self.rule_C, rules))
        self.settle_orders(rows)
        marks, lot, shares_CN = self.marks, self.portfolio.lot, self.shares_CN[rows]
        held_K = np.flatnonzero((shares_CN != 0).any(axis=0))
        held_CK = shares_CN[:, held_K]
        worth_CK = np.where(held_CK != 0, held_CK * marks.known_close[d, held_K], 0.0)
        equity_C1 = (self.cash_C[rows] + worth_CK.sum(axis=1))[:, None]
        wanted_RN = np.stack([target_RN[rule] for rule in rules.tolist()])
        some_K = np.union1d(np.flatnonzero((wanted_RN != 0).any(axis=0)), held_K)
        close_K, held_CK = marks.known_close[d, some_K], shares_CN[:, some_K]
        full_CK = np.zeros(held_CK.shape)
        money_CK = wanted_RN[:, some_K][np.searchsorted(rules, self.rule_C[rows])] * equity_C1
        np.divide(money_CK, close_K, out=full_CK, where=~np.isnan(close_K))
        missing_CK = full_CK - held_CK
        if lot is not None:
            missing_CK = np.where(full_CK == 0, missing_CK, towards_zero(missing_CK, lot))
        is_order_CK = np.abs(missing_CK) * close_K > DUST * equity_C1
        which_K = is_order_CK.any(axis=0)
        missing_CK = np.where(is_order_CK, missing_CK, 0.0)[:, which_K]
        self.open_orders(rows, some_K[which_K], missing_CK, close_K[which_K])
        self.count_orders(d, rows, some_K[which_K], missing_CK, close_K[which_K])

    def open_orders(self, rows: Index, new_K: Index, missing_CK: Array, close_K: Array) -> None:
        """Put the orders of some accounts beside those that others have open."""
        is_open_K = (self.missing_CK != 0).any(axis=0)
        before_K = self.order_K[is_open_K]
        order_K = np.union1d(before_K, new_K)
        missing_all_CK, sized_CK = (np.zeros((len(self.cash_C), len(order_K))) for _ in range(2))
        old = np.searchsorted(order_K, before_K)
        missing_all_CK[:, old] = self.missing_CK[:, is_open_K]
        sized_CK[:, old] = self.sized_at_CK[:, is_open_K]
        new = np.ix_(rows, np.searchsorted(order_K, new_K))
        missing_all_CK[new], sized_CK[new] = missing_CK, close_K
        self.order_K, self.missing_CK, self.sized_at_CK = order_K, missing_all_CK, sized_CK

    def count_orders(
        self, d: int, rows: Index, order_K: Index, missing_CK: Array, close_K: Array
    ) -> None:
        """Count new orders, and how many are large."""
        is_order_CK = missing_CK != 0
        adv_K = self.marks.traded.mean(d, order_K)
        share_CK = np.where(adv_K == 0, np.inf, np.full(is_order_CK.shape, np.nan))
        np.divide(np.abs(missing_CK) * close_K, adv_K, out=share_CK, where=adv_K > 0)
        self.n_orders_C[rows] += is_order_CK.sum(axis=1)
        self.n_unknown_C[rows] += (is_order_CK & np.isnan(share_CK)).sum(axis=1)
        for place, limit in enumerate(SHARES_OF_ADV):
            self.n_above_CL[rows, place] += (is_order_CK & (share_CK > limit)).sum(axis=1)

    def settle_orders(self, rows: Index) -> None:
        """Count what became of the last rebalance's orders; what is open is cancelled."""
        self.n_partial_C[rows] += self.is_partial_CN[rows].sum(axis=1)
        self.n_carried_C[rows] += self.is_carried_CN[rows].sum(axis=1)
        self.n_unfinished_C[rows] += (self.missing_CK[rows] != 0).sum(axis=1)
        self.is_partial_CN[rows] = self.is_carried_CN[rows] = False
        self.missing_CK[rows] = 0.0

    def pay_fractions(self, d: int) -> list[tuple[Array, Array]]:
        """Turn what a split left of a share into cash, at the restated last close."""
        held_K = self.held_K
        shares_CK = self.shares_CN[:, held_K]
        rest_CK = shares_CK - towards_zero(shares_CK, 1.0)
        rest_CK = np.where(np.abs(rest_CK) > WHOLE, rest_CK, 0.0)
        which_K = (rest_CK != 0).any(axis=0)
        symbol_K, rest_CK = held_K[which_K], rest_CK[:, which_K]
        self.shares_CN[:, symbol_K] -= rest_CK
        return [(-rest_CK, self.last_marks(d, symbol_K))]

    def leave(self, d: int) -> list[tuple[Array, Array]]:
        """Turn names that have left the market into cash, and cancel their orders."""
        gone = self.marks.exits[d]
        is_gone_K = np.isin(self.order_K, gone.symbol_K)
        self.n_unfinished_C = self.n_unfinished_C + (self.missing_CK[:, is_gone_K] != 0).sum(axis=1)
        self.order_K = self.order_K[~is_gone_K]
        self.missing_CK = self.missing_CK[:, ~is_gone_K]
        self.sized_at_CK = self.sized_at_CK[:, ~is_gone_K]
        shares_CK = self.shares_CN[:, gone.symbol_K]
        which_K = np.flatnonzero((shares_CK != 0).any(axis=0))
        symbol_K = gone.symbol_K[which_K]
        self.shares_CN[:, symbol_K] = 0.0
        return [
            (-shares_CK[:, which_K], self.last_marks(d, symbol_K) * (1.0 + gone.return_K[which_K]))
        ]

    def fill(self, d: int, rows: Index) -> tuple[Array, Array]:
        """Fill what can be filled at the auction; return notional and costs of the fills.

        Args:
            d: place of the session.
            rows: accounts with open orders; those of the result.
        """
        marks, portfolio, order_K = self.marks, self.portfolio, self.order_K
        missing_CK, held_CK = self.missing_CK[rows], self.shares_CN[np.ix_(rows, order_K)]
        is_buy_CK = missing_CK > 0
        may_CK = np.where(is_buy_CK, marks.can_buy[d, order_K], marks.can_sell[d, order_K])
        may_CK &= missing_CK != 0
        price_K = (marks.open if portfolio.fill == "open" else marks.close)[d, order_K]
        adv_K = marks.traded.mean(d, order_K)
        price_CK = to_tick(np.broadcast_to(price_K, may_CK.shape), missing_CK, self.costs)
        shares_CK = np.where(may_CK, missing_CK, 0.0)
        if portfolio.max_participation is not None:
            most_CK = most_filled(marks, d, order_K, price_CK, adv_K, portfolio)
            shares_CK = np.clip(shares_CK, -most_CK, most_CK)
        if marks.has_lendable:
            most_CK = most_sold(held_CK, marks.lendable[d, order_K], portfolio.lot)
            shares_CK = np.where(shares_CK < -most_CK, -most_CK, shares_CK)
        sized_CK, dust_C = self.sized_at_CK[rows], DUST * self.equity_C[rows]
        shares_CK = self.paid_for(shares_CK, missing_CK, held_CK, sized_CK, dust_C)
        which_K = may_CK.any(axis=0)
        symbol_K, may_CK = order_K[which_K], may_CK[:, which_K]
        shares_CK = np.where(may_CK, shares_CK[:, which_K], 0.0)
        price_CK, adv_K = price_CK[:, which_K], adv_K[which_K]
        dust_C1 = dust_C[:, None]
        rest_CK = missing_CK[:, which_K] - shares_CK
        is_open_CK = ~may_CK | (np.abs(rest_CK) * price_CK > dust_C1)
        missing_CK[:, which_K] = np.where(is_open_CK, rest_CK, 0.0)
        self.missing_CK[rows] = missing_CK
        places = np.ix_(rows, symbol_K)
        self.is_partial_CN[places] |= may_CK & is_open_CK & (shares_CK != 0)
        after_CK = held_CK[:, which_K] + shares_CK
        is_dust_CK = may_CK & (np.abs(after_CK) * price_CK <= dust_C1)
        self.shares_CN[places] = np.where(is_dust_CK, 0.0, after_CK)
        notional_CK = shares_CK * price_CK
        cost_CK = commission(notional_CK, self.costs)
        cost_CK = cost_CK + spread_cost(notional_CK, marks.half_spread[d, symbol_K], self.costs)
        volatility_K = marks.changes.std(d, symbol_K)
        cost_CK = cost_CK + impact_cost(notional_CK, adv_K, volatility_K, self.costs)
        is_open_K = (self.missing_CK != 0).any(axis=0)
        self.order_K, self.missing_CK = order_K[is_open_K], self.missing_CK[:, is_open_K]
        self.sized_at_CK = self.sized_at_CK[:, is_open_K]
        return notional_CK, cost_CK

    def paid_for(
        self, shares_CK: Array, missing_CK: Array, held_CK: Array, sized_CK: Array, dust_C: Array
    ) -> Array:
        """Return fills in which no purchase is paid for by a sale that did not happen."""
        shuts_CK = closing(missing_CK, held_CK)
        shut_CK = closing(shares_CK, held_CK)
        is_stuck_C = (shuts_CK != shut_CK).any(axis=1)
        if not is_stuck_C.any():
            return shares_CK
        if not is_stuck_C.all():
            some = np.flatnonzero(is_stuck_C)
            found_CK = shares_CK.copy()
            found_CK[some] = self.paid_for(
                shares_CK[some], missing_CK[some], held_CK[some], sized_CK[some], dust_C[some]
            )
            return found_CK
        stuck_CK = np.abs(shuts_CK - shut_CK) * sized_CK
        opens_CK, open_CK = missing_CK - shuts_CK, shares_CK - shut_CK
        idle_CK = np.abs(opens_CK - open_CK) * sized_CK
        new_CK = np.abs(open_CK) * sized_CK
        scaled_CK = open_CK.copy()
        for sign in (1.0, -1.0):
            side_CK = opens_CK * sign > 0
            excess_C = (stuck_CK * (held_CK * sign > 0)).sum(axis=1)
            excess_C -= (idle_CK * side_CK).sum(axis=1)
            wanted_C = (new_CK * side_CK).sum(axis=1)
            left_C = wanted_C - excess_C
            share_C = np.zeros(len(dust_C))
            np.divide(left_C, wanted_C, out=share_C, where=(left_C > dust_C) & (wanted_C > dust_C))
            share_C[(excess_C <= dust_C) | (wanted_C <= dust_C)] = 1.0
            scaled_CK = np.where(side_CK, scaled_CK * share_C[:, None], scaled_CK)
        if self.portfolio.lot is not None:
            rounded_CK = towards_zero(scaled_CK, self.portfolio.lot)
            scaled_CK = np.where(scaled_CK == open_CK, open_CK, rounded_CK)
        return np.asarray(shut_CK + scaled_CK)

    def last_marks(self, d: int, symbol_K: Index) -> Array:
        """Return the marks of the session before, per share after this session's split."""
        ratio_K = self.marks.share_ratio[d, symbol_K]
        return np.asarray(self.marks.mark[d - 1, symbol_K] / ratio_K)

    def curve(self) -> Capacity:
        """Return what was written down."""
        self.settle_orders(np.arange(len(self.cash_C)))
        net_CD, gross_CD, turnover_CD, cost_CD, trading_CD, traded_CD = np.stack(self.days, axis=-1)
        orders = tuple(
            OrderCounts(
                n=int(self.n_orders_C[c]),
                n_partial=int(self.n_partial_C[c]),
                n_carried=int(self.n_carried_C[c]),
                n_unfinished=int(self.n_unfinished_C[c]),
                n_unknown_adv=int(self.n_unknown_C[c]),
                above=dict(zip(SHARES_OF_ADV, self.n_above_CL[c].tolist(), strict=True)),
            )
            for c in range(len(self.capital_C))
        )
        return Capacity(
            self.marks.sessions,
            self.capital_C,
            *(net_CD, gross_CD, turnover_CD, cost_CD, trading_CD, traded_CD),
            orders,
        )
