"""What the books say of a few sessions: by hand, at most three symbols, 1,000 of capital.

Session 0 is Monday 2023-06-05; sessions 0 to 4 are a week, session 5 is the next Monday.
"""

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.backtest.market import (
    FREE,
    PLAIN,
    Row,
    at,
    bar,
    books,
    day,
    dividend,
    fee,
    hold,
    leaves,
    of,
    path,
    rate,
    raw,
)

from alpha_assets.backtest import CostsSpec, QuantileSpec, simulator
from alpha_assets.backtest.costs import to_tick
from alpha_assets.backtest.simulator import most_sold
from alpha_assets.errors import BadInput, CheckFailed

LOCKED_UP = {"upper_limit": True}
approx = pytest.approx


def test_an_order_is_sized_at_the_last_close_and_fills_at_the_open() -> None:
    market = raw(
        daily_bars=[bar("A", 0, 100.0), bar("A", 1, 110.0, open=105.0, low=105.0, high=112.0)]
    )
    kept = books(hold((1, {"A": 0.5})), market, 1)

    # 500 / 100 = 5 shares at 105; at the close they are worth 550 of 475 + 550.
    assert of(kept.trades, 1)["shares"] == 5.0
    assert of(kept.trades, 1)["price"] == 105.0
    assert of(kept.trades, 1)["notional"] == 525.0
    assert of(kept.trades, 1)["reason"] == "rebalance"
    assert of(kept.daily, 1)["cash"] == 475.0
    assert of(kept.daily, 1)["equity"] == 1_025.0
    assert of(kept.daily, 1)["net_return"] == approx(0.025)
    assert of(kept.daily, 1)["turnover"] == approx(0.5 * 525 / 1_000)
    assert of(kept.positions, 1)["weight"] == approx(550 / 1_025)
    assert of(kept.positions, 1)["target_weight"] == 0.5


def test_a_recipe_that_fills_at_the_close_pays_the_close() -> None:
    market = raw(
        daily_bars=[bar("A", 0, 100.0), bar("A", 1, 110.0, open=105.0, low=105.0, high=112.0)]
    )
    kept = books(hold((1, {"A": 0.5})), market, 1, PLAIN.model_copy(update={"fill": "close"}))

    assert of(kept.trades, 1)["shares"] == 5.0
    assert of(kept.trades, 1)["price"] == 110.0
    assert of(kept.daily, 1)["equity"] == 1_000.0


def test_buy_and_hold_through_a_split_earns_what_the_price_did() -> None:
    # 1-to-2 on session 3: 120 becomes 60.5 for twice the shares.
    market = raw(
        daily_bars=[
            *path("A", [100.0, 100.0, 120.0]),
            bar("A", 3, 60.5, adjustment_factor=0.5),
            bar("A", 4, 66.0),
        ]
    )
    kept = books(hold((1, {"A": 1.0})), market, 4)

    assert kept.positions["shares"].to_list() == [10.0, 10.0, 20.0, 20.0]
    assert kept.daily["equity"].to_list() == approx([1_000, 1_000, 1_200, 1_210, 1_320])
    assert kept.trades.height == 1
    assert of(kept.marks, 3)["share_ratio"] == 2.0


def test_a_split_on_the_day_of_the_order_changes_the_shares_and_not_the_money() -> None:
    market = raw(daily_bars=[bar("A", 0, 100.0), bar("A", 1, 50.0, adjustment_factor=0.5)])
    kept = books(hold((1, {"A": 0.5})), market, 1)

    # Ordered as 5 old shares, filled as 10 new ones.
    assert of(kept.trades, 1)["shares"] == 10.0
    assert of(kept.trades, 1)["notional"] == 500.0


def test_a_split_while_an_order_waits_applies_to_the_order() -> None:
    market = raw(daily_bars=[*path("A", [100.0, None]), bar("A", 2, 50.0, adjustment_factor=0.5)])
    kept = books(hold((1, {"A": 0.5})), market, 2)

    assert kept.trades["session"].to_list() == [day(2)]
    assert of(kept.trades, 2)["shares"] == 10.0


def test_a_rights_issue_moves_the_price_and_not_the_shares() -> None:
    market = raw(
        daily_bars=[
            *path("A", [100.0, 100.0]),
            bar("A", 2, 90.0, adjustment_factor=0.9, share_factor=1.0),
        ]
    )
    kept = books(hold((1, {"A": 1.0})), market, 2)

    assert of(kept.positions, 2)["shares"] == 10.0
    assert of(kept.daily, 2)["equity"] == 900.0


def test_a_short_pays_its_lender_for_every_night() -> None:
    # Sessions 3 (Thursday, one night) and 4 (Friday, three nights); 365 bps a year.
    costs = FREE.model_copy(update={"borrow_fee_bps_annual": 365.0})
    kept = books(hold((3, {"A": -0.5})), raw(daily_bars=path("A", [100.0] * 5)), 4, costs=costs)

    assert kept.positions["shares"].to_list() == [-5.0, -5.0]
    assert of(kept.daily, 3)["borrow_cost"] == approx(500 * 1e-4)
    assert of(kept.daily, 4)["borrow_cost"] == approx(3 * 500 * 1e-4)
    assert of(kept.daily, 4)["equity"] == approx(1_000 - 4 * 500 * 1e-4)
    assert of(kept.daily, 4)["gross_return"] == approx(0.0)
    assert of(kept.daily, 4)["net_exposure"] == approx(-0.5, rel=1e-3)


def test_a_quoted_fee_counts_from_the_session_after_its_evening() -> None:
    costs = FREE.model_copy(update={"borrow_fee_bps_annual": 365.0})
    market = raw(daily_bars=path("A", [100.0] * 4), borrow=[fee("A", 1, 3_650.0)])
    kept = books(hold((1, {"A": -0.5})), market, 3, costs=costs)

    assert kept.daily["borrow_cost"].to_list()[1:] == approx([0.05, 0.5, 0.5])


def test_a_long_pays_no_lender() -> None:
    costs = FREE.model_copy(update={"borrow_fee_bps_annual": 10_000.0})
    kept = books(hold((1, {"A": 1.0})), raw(daily_bars=path("A", [100.0] * 4)), 3, costs=costs)

    assert kept.daily["borrow_cost"].sum() == 0.0


@pytest.mark.parametrize(
    ("weight", "flags", "is_filled"),
    [
        (0.5, {"upper_limit": True}, False),
        (-0.5, {"upper_limit": True}, True),
        (-0.5, {"lower_limit": True}, False),
        (0.5, {"lower_limit": True}, True),
        (0.5, {"upper_limit": False}, True),
        (0.5, {"upper_limit": None, "lower_limit": None}, True),
    ],
)
def test_nothing_is_bought_locked_up_or_sold_locked_down(
    weight: float, flags: dict[str, bool | None], is_filled: bool
) -> None:
    market = raw(daily_bars=[bar("A", 0, 100.0), bar("A", 1, 130.0, **flags), bar("A", 2, 131.0)])
    kept = books(hold((1, {"A": weight})), market, 2)

    assert kept.trades["session"].to_list() == [day(1 if is_filled else 2)]
    assert of(kept.trades, 1 if is_filled else 2)["reason"] == (
        "rebalance" if is_filled else "carried"
    )


@pytest.mark.parametrize(("opens_at", "is_filled"), [(130.0, False), (125.0, True)])
def test_a_limit_touched_later_in_the_session_does_not_stop_the_opening_auction(
    opens_at: float, is_filled: bool
) -> None:
    touched = bar("A", 1, 128.0, open=opens_at, high=130.0, low=120.0, upper_limit=True)
    kept = books(hold((1, {"A": 0.5})), raw(daily_bars=[bar("A", 0, 100.0), touched]), 1)

    assert (kept.trades.height == 1) is is_filled


def test_an_order_waits_through_a_halt_while_others_fill() -> None:
    # B has no bar on sessions 1 and 2; A is ordered and filled in between.
    market = raw(daily_bars=[*path("A", [100.0] * 5), *path("B", [50.0, None, None, 40.0, 40.0])])
    kept = books(hold((1, {"A": 0.4, "B": 0.4})), market, 4)

    assert kept.trades.select("session", "symbol", "shares", "reason").rows() == [
        (day(1), "A", 4.0, "rebalance"),
        (day(3), "B", 8.0, "carried"),
    ]
    # Until then the target stands, without shares.
    assert of(kept.positions, 1, "B")["shares"] == 0.0
    assert of(kept.positions, 1, "B")["target_weight"] == 0.4
    assert "B" not in kept.positions.filter(pl.col("session") == day(2))["symbol"]


def test_a_position_that_is_halted_stays_at_its_last_close() -> None:
    market = raw(daily_bars=path("A", [100.0, 100.0, 110.0, None, None, 120.0]))
    kept = books(hold((1, {"A": 1.0}), (3, {"A": 0.0})), market, 5)

    assert kept.daily["equity"].to_list() == approx([1_000, 1_000, 1_100, 1_100, 1_100, 1_200])
    assert of(kept.positions, 4)["mark_price"] == 110.0
    assert kept.trades["session"].to_list() == [day(1), day(5)]
    assert of(kept.daily, 5)["cash"] == approx(1_200)


def test_the_next_rebalance_cancels_what_waits() -> None:
    market = raw(daily_bars=path("A", [100.0, None, None, 100.0]))
    kept = books(hold((1, {"A": 1.0}), (2, {"A": 0.2})), market, 3)

    assert kept.trades["shares"].to_list() == [2.0]


def test_a_name_without_a_target_is_sold_at_the_next_rebalance() -> None:
    market = raw(daily_bars=[*path("A", [100.0] * 3), *path("B", [100.0] * 3)])
    kept = books(hold((1, {"A": 1.0}), (2, {"B": 0.5})), market, 2)

    assert of(kept.trades, 2, "A")["shares"] == -10.0
    assert kept.positions.filter(pl.col("session") == day(2))["symbol"].to_list() == ["B"]


def test_a_rebalance_to_nothing_sells_everything() -> None:
    market = raw(daily_bars=path("A", [100.0] * 3))
    kept = books(hold((1, {"A": 1.0}), (2, {"A": 0.0})), market, 2)

    assert of(kept.trades, 2)["shares"] == -10.0
    assert of(kept.daily, 2)["gross_exposure"] == 0.0


def test_a_delisted_name_leaves_the_session_after_its_last_bar() -> None:
    market = raw(
        daily_bars=path("A", [100.0, 100.0, 80.0]),
        listings=[leaves("A", 2, "delisted", -0.25)],
    )
    kept = books(hold((1, {"A": 0.5})), market, 4, costs=CostsSpec(commission_bps=0.0))

    gone = of(kept.trades, 3)
    assert gone["reason"] == "delisted"
    assert gone["shares"] == -5.0
    assert gone["price"] == approx(60.0)
    assert gone["commission"] + gone["spread_cost"] + gone["impact_cost"] == 0.0
    assert of(kept.daily, 4)["gross_exposure"] == 0.0
    assert of(kept.daily, 3)["cash"] == approx(of(kept.daily, 2)["cash"] + 300)


def test_a_name_whose_archive_ends_leaves_at_its_last_close_and_says_so() -> None:
    market = raw(
        daily_bars=path("A", [100.0, 100.0, 80.0]), listings=[leaves("A", 2, "source_end")]
    )
    kept = books(hold((1, {"A": 0.5})), market, 4)

    assert of(kept.trades, 3)["reason"] == "source_end"
    assert of(kept.trades, 3)["price"] == 80.0


def test_a_name_that_stops_without_an_exit_leaves_when_the_panel_drops_it() -> None:
    # The last bar is of session 2; the panel has rows up to 20 sessions without a bar, so the
    # last one is at session 23 and the name is gone at 24.  A lender is paid until then.
    costs = FREE.model_copy(update={"borrow_fee_bps_annual": 365.0})
    market = raw(daily_bars=path("A", [100.0, 100.0, 80.0]))
    kept = books(hold((1, {"A": -0.5})), market, 30, costs=costs)

    gone = kept.trades.filter(pl.col("session") > day(1))
    assert gone.select("session", "shares", "price").rows() == [(day(24), 5.0, 80.0)]
    assert gone["reason"].to_list() == ["source_end: no bar for 21 sessions"]
    assert of(kept.daily, 23)["borrow_cost"] > 0.0
    assert of(kept.daily, 24)["borrow_cost"] == 0.0
    assert of(kept.daily, 24)["gross_exposure"] == 0.0


def test_a_name_leaves_when_the_panel_of_its_market_drops_it() -> None:
    # The last bar is of session 2.  With max_stale 40 the panel has rows up to session 43.
    market = raw(daily_bars=path("A", [100.0, 100.0, 80.0]))
    kept = books(hold((1, {"A": 0.5})), market, 50, max_stale=40)
    gone = kept.trades.filter(pl.col("session") > day(1))
    assert gone.select("session", "reason").rows() == [
        (day(44), "source_end: no bar for 41 sessions")
    ]


def test_a_halt_as_long_as_the_panel_bears_is_no_exit() -> None:
    market = raw(daily_bars=[*path("A", [100.0] * 3), *path("A", [90.0] * 3, 24)])
    kept = books(hold((1, {"A": 0.5})), market, 26)

    # Sessions 3 to 23 are 21 without a bar: one more than the panel bears.
    assert kept.trades["reason"].to_list()[1:] == ["source_end: no bar for 21 sessions"]
    market = raw(daily_bars=[*path("A", [100.0] * 3), *path("A", [90.0] * 4, 23)])
    kept = books(hold((1, {"A": 0.5})), market, 26)
    assert kept.trades.height == 1
    assert of(kept.daily, 26)["equity"] == approx(950)


def test_an_exit_cancels_what_was_still_ordered() -> None:
    market = raw(daily_bars=path("A", [100.0, None]), listings=[leaves("A", 1)])
    again = raw(daily_bars=path("A", [100.0, None, None, 100.0]), listings=[leaves("A", 1)])

    assert books(hold((1, {"A": 0.5})), market, 4).trades.is_empty()
    assert books(hold((1, {"A": 0.5})), again, 4).trades.is_empty()


def test_a_short_gains_from_a_total_loss() -> None:
    market = raw(daily_bars=path("A", [100.0, 100.0]), listings=[leaves("A", 1, "delisted", -1.0)])
    kept = books(hold((1, {"A": -0.5})), market, 2)

    assert of(kept.daily, 2)["equity"] == approx(1_500)


def test_dividends_go_to_the_holders_of_the_close_before() -> None:
    # Ex on session 2: bought on 1, sold on 2 at the open: still paid.  Bought on 2: not paid.
    market = raw(
        daily_bars=[*path("A", [100.0] * 4), *path("B", [100.0] * 4)],
        dividends=[dividend("A", 2, 3.0), dividend("B", 2, 7.0)],
    )
    kept = books(hold((1, {"A": 0.5}), (2, {"B": 0.5})), market, 3)

    assert kept.daily["dividends"].to_list() == [0.0, 0.0, 15.0, 0.0]
    assert of(kept.daily, 3)["equity"] == approx(1_015)


def test_a_short_pays_the_dividend() -> None:
    market = raw(daily_bars=path("A", [100.0] * 3), dividends=[dividend("A", 2, 3.0)])
    kept = books(hold((1, {"A": -0.5})), market, 2)

    assert of(kept.daily, 2)["dividends"] == approx(-15.0)
    assert of(kept.daily, 2)["equity"] == approx(985)


def test_a_dividend_on_the_day_of_a_split_is_per_new_share() -> None:
    market = raw(
        daily_bars=[*path("A", [100.0, 100.0]), bar("A", 2, 50.0, adjustment_factor=0.5)],
        dividends=[dividend("A", 2, 1.0)],
    )
    kept = books(hold((1, {"A": 0.5})), market, 2)

    assert of(kept.daily, 2)["dividends"] == approx(10.0)


def test_a_name_that_leaves_on_its_ex_date_still_pays() -> None:
    market = raw(
        daily_bars=path("A", [100.0, 100.0]),
        listings=[leaves("A", 1)],
        dividends=[dividend("A", 2, 4.0)],
    )
    kept = books(hold((1, {"A": 0.5})), market, 2)

    assert of(kept.daily, 2)["dividends"] == approx(20.0)


@pytest.mark.parametrize("evenings_later", [0, 3])
def test_a_dividend_pays_what_its_last_revision_states_on_its_day(evenings_later: int) -> None:
    first = dividend("A", 2, 3.0) | {"available_at": at(1, 17)}
    better = dividend("A", 2, 4.0) | {"available_at": at(1 + evenings_later, 18), "revision": 1}
    market = raw(daily_bars=path("A", [100.0] * 6), dividends=[first, better])
    kept = books(hold((1, {"A": 0.5})), market, 5)

    assert kept.daily["dividends"].to_list() == [0.0, 0.0, 20.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("evenings_later", [0, 3])
def test_an_exit_pays_what_its_last_revision_states_on_its_day(evenings_later: int) -> None:
    first = leaves("A", 1, "delisted", -0.25)
    better = leaves("A", 1, "acquired", -0.4) | {
        "available_at": at(1 + evenings_later, 23, 30),
        "revision": 1,
    }
    market = raw(daily_bars=path("A", [100.0] * 2), listings=[first, better])
    kept = books(hold((1, {"A": 0.5})), market, 6)

    # 100 less 40 %, on the session after the last bar.
    assert of(kept.trades, 2)["price"] == approx(60.0)
    assert of(kept.trades, 2)["reason"] == "acquired"


def test_an_exit_published_late_leaves_on_its_own_day_and_a_withdrawn_one_never() -> None:
    late = leaves("A", 1, "delisted", -0.25) | {"available_at": at(40, 23)}
    bars = path("A", [100.0] * 2)
    kept = books(hold((1, {"A": 0.5})), raw(daily_bars=bars, listings=[late]), 4)
    assert of(kept.trades, 2)["price"] == approx(75.0)

    withdrawn = leaves("A", 1, "active", None) | {"available_at": at(3, 23), "revision": 1}
    market = raw(daily_bars=path("A", [100.0] * 5), listings=[leaves("A", 1), withdrawn])
    assert books(hold((1, {"A": 0.5})), market, 4).trades.height == 1


def starts(symbol: str, n: int) -> Row:
    """Return the listing event of a name whose first bar is that of session n."""
    return leaves(symbol, n, "active", None) | {"available_at": at(n, 0)}


def test_two_lives_of_a_symbol_are_two_holdings() -> None:
    # The old A ends with session 2 and pays half; a new A trades from session 4 on at 10.
    market = raw(
        daily_bars=[*path("A", [100.0, 100.0, 100.0]), *path("A", [10.0, 10.0, 12.0, 12.0], 4)],
        listings=[starts("A", 0), leaves("A", 2, "acquired", -0.5), starts("A", 4)],
        dividends=[dividend("A", 3, 4.0), dividend("A", 6, 1.0)],
    )
    targets = hold((1, {"A": 0.5}), (4, {"A": 0.5}), (5, {"A": 0.5}))
    kept = books(targets, market, 7)

    trades = kept.trades.select("session", "symbol", "shares", "price", "reason").rows()
    # 500 of 100, five shares; 250 and 20 of dividends on the 3rd; nothing is known of the new A
    # on the 4th; on the 5th half of 770 at 10.
    assert trades == [
        (day(1), "A", 5.0, 100.0, "rebalance"),
        (day(3), "A", -5.0, 50.0, "acquired"),
        (day(5), "A", approx(38.5), 10.0, "rebalance"),
    ]
    assert kept.daily["equity"].to_list()[3:7] == approx([770, 770, 770, 770 + 77 + 38.5])
    assert set(kept.marks["symbol"]) == set(kept.positions["symbol"]) == {"A"}


def test_an_end_that_was_moved_to_an_earlier_day_is_one_exit() -> None:
    # A left on the 2nd, which the vendor stated only after bars of the 4th, the end until then.
    again = leaves("A", 4, exit_return=-0.5) | {"end": day(2), "revision": 1}
    market = raw(
        daily_bars=path("A", [100.0] * 5),
        listings=[leaves("A", 2, exit_return=-0.5), leaves("A", 4), again],
    )
    kept = books(hold((1, {"A": 0.5}), (4, {"A": 0.5})), market, 6)
    # 5 shares, half of them lost on the 3rd; what its bars still sell on the 4th is lost no
    # second time.
    assert kept.trades.select("session", "price", "reason").rows() == [
        (day(1), 100.0, "rebalance"),
        (day(3), 50.0, "delisted"),
        (day(4), 100.0, "rebalance"),
    ]
    assert kept.daily["equity"].to_list()[-1] == approx(750.0)


def test_no_trailing_window_reaches_into_the_life_before() -> None:
    # The new A is quiet; the old one's price lies a hundred times higher.
    quiet = [1.0 if n % 2 else 1.01 for n in range(25)]
    old = [*path("A", [100.0] * 3)]
    new = path("A", quiet, 4)
    lives = [starts("A", 0), leaves("A", 2), starts("A", 4)]
    costs = FREE.model_copy(update={"impact_coefficient": 1.0})

    def impact(market: Any) -> float:
        return float(
            of(books(hold((21, {"A": 0.5})), market, 22, costs=costs).daily, 21)["impact_cost"]
        )

    assert impact(raw(daily_bars=[*old, *new], listings=lives)) == impact(raw(daily_bars=new))


def test_total_return_prices_hold_the_dividend_instead_of_paying_it() -> None:
    # The close falls from 100 to 96 on an ex-date of factor 0.96 (four paid): no change.
    market = raw(
        daily_bars=[
            *path("A", [100.0, 100.0]),
            bar("A", 2, 96.0, open=48.0, low=48.0, adjustment_factor=0.96),
            bar("A", 3, 105.6),
        ],
        dividends=[dividend("A", 2, 4.0)],
    )
    kept = books(hold((1, {"A": 1.0})), market, 3, basis="total_return")

    assert kept.marks["close"].to_list() == approx([100, 100, 100, 110])
    assert kept.marks["open"].to_list() == approx([100, 100, 50, 110])
    assert kept.marks["share_ratio"].to_list() == [1.0] * 4
    assert kept.daily["dividends"].sum() == 0.0
    assert of(kept.daily, 3)["equity"] == approx(1_100)


def test_total_return_prices_start_at_the_first_stored_close_not_at_the_books() -> None:
    market = raw(
        daily_bars=[bar("A", 0, 100.0), bar("A", 1, 50.0, adjustment_factor=0.5), bar("A", 2, 55.0)]
    )
    early = books(hold((2, {"A": 1.0})), market, 2, basis="total_return")

    assert early.marks["close"].to_list() == approx([100, 100, 110])


def test_cash_earns_the_rate_known_the_session_before_for_the_nights_since() -> None:
    # The rate of Thursday (session 3) is known on Friday: 3 nights of it arrive on Monday.
    market = raw(daily_bars=path("A", [100.0] * 7), rates=[rate(3, 0.0365)])
    kept = books(hold((1, {"A": 0.0})), market, 6)

    assert kept.daily["cash_interest"].to_list()[:5] == [0.0] * 5
    assert kept.daily["cash_interest"].to_list()[5:] == approx([0.3, 1_000.3 * 1e-4])


def test_the_first_session_can_be_a_rebalance() -> None:
    market = raw(daily_bars=path("A", [100.0, 100.0, 100.0]))
    kept = books(hold((1, {"A": 1.0})), market, 2)
    # Nothing is known on the day of the first bar, so nothing can be ordered.
    unknown = books(hold((0, {"A": 1.0})), market, 2)

    assert of(kept.daily, 0)["equity"] == 1_000.0
    assert of(kept.daily, 0)["net_return"] == 0.0
    assert kept.trades.height == 1
    assert unknown.trades.is_empty()


def test_weights_drift_between_rebalances() -> None:
    market = raw(daily_bars=[*path("A", [100.0, 100.0, 150.0]), *path("B", [100.0] * 3)])
    kept = books(hold((1, {"A": 0.5, "B": 0.5})), market, 2)

    assert of(kept.positions, 2, "A")["weight"] == approx(0.6)
    assert of(kept.positions, 2, "A")["target_weight"] is None
    assert kept.trades.height == 2


def test_orders_are_sized_by_the_equity_of_the_close_before() -> None:
    market = raw(daily_bars=[*path("A", [100.0, 100.0, 200.0, 50.0]), *path("B", [100.0] * 4)])
    kept = books(hold((1, {"A": 1.0}), (3, {"B": 1.0})), market, 3)

    # 2,000 at the close of session 2; what session 3 does is not known yet.
    assert of(kept.trades, 3, "B")["shares"] == 20.0
    assert of(kept.daily, 3)["cash"] == approx(-1_500)


def test_every_part_of_the_bill_is_charged_once() -> None:
    costs = CostsSpec(commission_bps=10.0, half_spread_bps=20.0, impact_coefficient=0.0)
    kept = books(hold((1, {"A": 1.0})), raw(daily_bars=path("A", [100.0] * 3)), 2, costs=costs)

    today = of(kept.daily, 1)
    assert today["commission"] == approx(1.0)
    assert today["spread_cost"] == approx(2.0)
    assert today["equity"] == approx(997.0)
    assert today["gross_return"] == approx(0.0)
    assert today["net_return"] == approx(-0.003)
    assert of(kept.daily, 2)["net_return"] == 0.0


def test_impact_grows_with_the_root_of_the_share_of_the_volume() -> None:
    # 20 sessions of 1,000 shares at 100 and 110 in turn; volatility of log(1.1) either way.
    closes = [100.0 if k % 2 else 110.0 for k in range(22)]
    costs = FREE.model_copy(update={"impact_coefficient": 2.0})
    one, four = (
        books(
            hold((21, {"A": 1.0})),
            raw(daily_bars=path("A", closes)),
            21,
            PLAIN.model_copy(update={"capital": capital}),
            costs,
        ).daily["impact_cost"][-1]
        / capital
        for capital in (1_000.0, 4_000.0)
    )

    assert four == approx(2 * one)
    # 1,000 ordered at 110 are 909 at 100, of a mean volume of 105,000.
    traded, volatility = 1_000 * 100 / 110, math.log(1.1) * math.sqrt(20 / 19)
    assert one == approx(2.0 * volatility * math.sqrt(traded / 105_000) * traded / 1_000)


def test_a_cap_on_participation_spreads_an_order_over_sessions() -> None:
    # 1,000 shares a session at 100, ten per cent of it: 100 shares a session.
    limit = QuantileSpec(horizon=1).max_participation  # on by default
    spec = PLAIN.model_copy(update={"capital": 25_000.0, "max_participation": limit})
    market = raw(daily_bars=path("A", [100.0] * 25))
    kept = books(hold((20, {"A": 1.0})), market, 24, spec)

    assert kept.trades["shares"].to_list() == approx([100, 100, 50])
    assert kept.trades["reason"].to_list() == ["rebalance", "carried", "carried"]


def test_a_cap_on_participation_lets_nothing_through_where_volume_is_not_known() -> None:
    spec = PLAIN.model_copy(update={"max_participation": 0.1})
    kept = books(hold((1, {"A": 1.0})), raw(daily_bars=path("A", [100.0] * 5)), 4, spec)

    assert kept.trades.is_empty()


def test_a_name_without_any_volume_is_not_capped_and_a_note_counts_it() -> None:
    spec = PLAIN.model_copy(update={"max_participation": 0.1})
    bars = [bar("A", n, 100.0, volume=None) for n in range(3)]
    kept = books(hold((1, {"A": 1.0})), raw(daily_bars=bars), 2, spec)

    assert kept.trades["shares"].to_list() == [10.0]
    assert (
        "1 orders were filled on 1 sessions without portfolio.max_participation, because no volume "
        "of the name's last 20 sessions is known."
    ) in kept.notes


def test_a_bar_without_a_volume_did_not_trade_nothing() -> None:
    # 20 sessions of 100 · 1,000: three without a volume, two without a bar, which traded 0.
    def traded(n: int) -> dict[str, Any]:
        return bar("A", n, 100.0, volume=None if n in (4, 9, 14) else 1_000.0)

    bars = [traded(n) for n in range(22) if n not in (6, 12)]
    spec = PLAIN.model_copy(update={"max_participation": 0.1, "capital": 1e6})
    kept = books(hold((20, {"A": 1.0})), raw(daily_bars=bars), 20, spec)

    adv = 15 * 100_000.0 / 17
    assert kept.trades["notional"].to_list() == [pytest.approx(0.1 * adv)]
    assert kept.order_counts.n_unknown_adv == 0


def test_a_name_whose_volumes_end_can_still_be_left() -> None:
    spec = PLAIN.model_copy(update={"max_participation": 0.1})
    bars = [bar("A", n, 100.0, volume=1_000.0 if n < 20 else None) for n in range(60)]
    kept = books(hold((18, {"A": 0.01}), (45, {"A": 0.0})), raw(daily_bars=bars), 46, spec)
    assert kept.trades["shares"].to_list() == [pytest.approx(0.1), pytest.approx(-0.1)]


def test_lots_round_orders_towards_zero_and_leave_nothing_behind() -> None:
    spec = PLAIN.model_copy(update={"capital": 10_000.0, "lot": 10})
    market = raw(
        daily_bars=[
            *path("A", [97.0] * 3),
            bar("A", 3, 32.0, adjustment_factor=1 / 3),
            bar("A", 4, 32.0),
        ]
    )
    kept = books(hold((1, {"A": 0.5}), (4, {"A": 0.0})), market, 4, spec)

    # 5,000 / 97 = 51.5 shares: 50, then 150, all of them sold.
    assert kept.trades["shares"].to_list() == [50.0, -150.0]


def test_under_lots_a_fraction_of_a_share_is_paid_in_cash() -> None:
    spec = PLAIN.model_copy(update={"capital": 10_000.0, "lot": 10})
    market = raw(daily_bars=[*path("A", [97.0] * 3), bar("A", 3, 700.0, adjustment_factor=7.0)])
    kept = books(hold((1, {"A": 0.5})), market, 3, spec)

    # 50 shares become 7 and a seventh, which pays 97 of the last close.
    assert of(kept.positions, 3)["shares"] == approx(7.0)
    assert of(kept.trades, 3)["reason"] == "fraction"
    assert of(kept.trades, 3)["notional"] == approx(-97.0)


def test_a_late_bar_marks_the_books_and_sizes_no_order() -> None:
    # The bar of session 1 arrives two days later: at session 2 the last known close is 100.
    late = bar("A", 1, 200.0, available_at=bar("A", 3, 1.0)["available_at"])
    market = raw(daily_bars=[bar("A", 0, 100.0), late, bar("A", 2, 200.0)])
    kept = books(hold((2, {"A": 1.0})), market, 2)

    assert of(kept.trades, 2)["shares"] == 10.0


def corrected(symbol: str, n: int, close: float, evening: int, **changes: Any) -> Row:
    """Return the second revision of a bar, published on a later evening."""
    changes = {"revision": 1, "available_at": at(evening, 17)} | changes
    return bar(symbol, n, close, **changes)


def test_fills_and_marks_are_those_of_the_last_revision() -> None:
    market = raw(
        daily_bars=[
            bar("A", 0, 100.0),
            bar("A", 1, 100.0),
            corrected("A", 1, 50.0, 9),
            bar("A", 2, 100.0),
        ]
    )
    kept = books(hold((1, {"A": 1.0})), market, 2)

    # Ten shares, sized at 100, filled at the real price of 50.
    assert of(kept.trades, 1)["notional"] == 500.0
    assert kept.daily["equity"].to_list() == [1_000.0, 1_000.0, 1_500.0]


def test_a_split_that_the_vendor_forgot_is_one_on_its_real_day() -> None:
    # The factor of session 2 is unknown that evening and published two days later.
    market = raw(
        daily_bars=[
            *path("A", [100.0, 100.0]),
            bar("A", 2, 50.0, adjustment_factor=None),
            corrected("A", 2, 50.0, 4, adjustment_factor=0.5),
            *path("A", [50.0, 50.0, 50.0], 3),
        ]
    )
    kept = books(hold((1, {"A": 1.0}), (3, {"A": 0.5})), market, 5)

    assert kept.daily["equity"].to_list() == [1_000.0] * 6
    assert of(kept.positions, 2)["shares"] == 20.0
    assert of(kept.trades, 3)["shares"] == -10.0


def test_a_forgotten_split_moves_no_price_once_it_is_known() -> None:
    # 30 quiet sessions; the split of session 22 is published on the evening of session 24.
    closes = [100.0 if n % 2 else 101.0 for n in range(22)]
    after = [50.0 if n % 2 else 50.5 for n in range(22, 30)]
    costs = FREE.model_copy(update={"impact_coefficient": 1.0})

    def impact(n: int, *split: Row) -> float:
        rows = [*path("A", closes), *split, *path("A", after[1:], 23)]
        kept = books(hold((n, {"A": 0.5})), raw(daily_bars=rows), 29, costs=costs)
        return float(of(kept.daily, n)["impact_cost"])

    told = bar("A", 22, 50.5, adjustment_factor=0.5)
    forgotten = bar("A", 22, 50.5, adjustment_factor=None)
    later = corrected("A", 22, 50.5, 24, adjustment_factor=0.5)
    assert impact(24, forgotten, later) > 5 * impact(24, told)  # a move of ln 2 in the window
    assert impact(25, forgotten, later) == approx(impact(25, told))


def test_a_late_factor_of_the_first_price_moves_no_return() -> None:
    # Before session 0 there is no price; its factor is published on the evening of session 2.
    closes = [100.0 if n % 2 else 101.0 for n in range(22)]
    costs = FREE.model_copy(update={"impact_coefficient": 1.0})

    def impact(*late: Row) -> float:
        market = raw(daily_bars=[*path("A", closes), *late])
        return float(
            of(books(hold((20, {"A": 0.5})), market, 21, costs=costs).daily, 20)["impact_cost"]
        )

    assert impact() > 0
    assert impact(corrected("A", 0, 101.0, 2, adjustment_factor=0.5)) == impact()


@pytest.mark.parametrize("evening", [1, 2, 4])
@pytest.mark.parametrize("basis", ["price", "total_return"])
@pytest.mark.parametrize("share", [None, 2.0])
def test_a_revision_that_states_no_factor_takes_none_back(
    basis: str, evening: int, share: float | None
) -> None:
    closes = [100.0, 50.0, 51.0, 52.0, 53.0, 54.0]
    told = path("A", closes)
    told[1] |= {"adjustment_factor": 0.5, "share_factor": share}
    silent = corrected("A", 1, 50.0, evening, adjustment_factor=None, volume=1_000.0)
    kept, expected = (
        books(
            hold((1, {"A": 1.0}), (3, {"A": 0.5}), (5, {"A": 0.2})),
            raw(daily_bars=rows),
            5,
            basis=basis,
            costs=FREE.model_copy(update={"impact_coefficient": 1.0}),
        )
        for rows in (told, [*told, silent])
    )

    assert_frame_equal(kept.daily, expected.daily)
    assert_frame_equal(kept.marks, expected.marks)


@pytest.mark.parametrize("basis", ["price", "total_return"])
def test_a_restated_level_is_no_correction(basis: str) -> None:
    # On the evening of session 3 the vendor halves every earlier price and doubles the volume.
    plain = path("A", [100.0, 110.0, 120.0])
    halved = [
        corrected("A", n, close / 2, 3, level=0.5, volume=2_000.0)
        for n, close in enumerate([100.0, 110.0, 120.0])
    ]
    rest = [bar("A", 3, 60.0, adjustment_factor=0.5), bar("A", 4, 66.0)]
    kept, expected = (
        books(hold((1, {"A": 1.0}), (4, {"A": 0.5})), raw(daily_bars=rows), 4, basis=basis)
        for rows in ([*plain, *halved, *rest], [*plain, *rest])
    )

    assert_frame_equal(kept.daily, expected.daily)
    assert_frame_equal(kept.marks, expected.marks)
    assert of(kept.daily, 4)["equity"] == approx(1_000 + 10 * 10 + 10 * 12)


def test_orders_are_sized_by_the_equity_and_the_closes_known_at_the_decision() -> None:
    # A is held.  Its bar of session 2 (200) arrives on session 4; session 3 knows 100.
    late = bar("A", 2, 200.0, available_at=at(4, 17))
    market = raw(
        daily_bars=[*path("A", [100.0, 100.0]), late, bar("A", 3, 200.0), *path("B", [50.0] * 5)]
    )
    kept = books(hold((1, {"A": 0.5}), (3, {"A": 0.5, "B": 0.5})), market, 4)

    # Cash 500 and five shares at 100: an equity of 1,000, of which B gets 500 / 50.
    assert of(kept.daily, 2)["equity"] == approx(1_500.0)
    assert of(kept.trades, 3, "B")["shares"] == 10.0
    assert "A" not in kept.trades.filter(pl.col("session") == day(3))["symbol"]
    assert kept.orders.rows() == [(day(1), "A", 5.0, 100.0), (day(3), "B", 10.0, 50.0)]


def test_a_correction_counts_in_order_sizes_from_the_session_that_knows_it() -> None:
    # The close of session 1 is 100, and 80 from the evening of session 2 on.
    def shares(n: int) -> float:
        rows = [bar("A", 0, 100.0), bar("A", 1, 100.0), corrected("A", 1, 80.0, 2)]
        market = raw(daily_bars=[*rows, *path("B", [10.0] * 6)])
        return float(of(books(hold((n, {"A": 0.8})), market, 5).orders, n)["shares"])

    assert [shares(n) for n in (2, 3)] == [8.0, 10.0]


@pytest.mark.parametrize(("basis", "factor"), [("price", 1.0), ("total_return", 0.9)])
def test_a_bar_that_is_withdrawn_later_still_sizes_the_orders_that_knew_it(
    basis: str, factor: float
) -> None:
    """Else the equity of a total-return book was unknown, and its whole rebalance vanished."""
    known, gone = bar("A", 2, 11.0), {"available_at": at(3, 16, 30), "revision": 1}
    bars = [known, bar("A", 2, None, **gone)]
    if basis == "total_return":
        bars = [row | {"adjustment_factor": factor} for row in bars]
    bars += path("A", [10.0, 10.0]) + path("A", [12.0], 3) + path("B", [5.0] * 4)
    targets = hold((1, {"A": 0.5}), (3, {"A": 0.5, "B": 0.2}))
    kept = books(targets, raw(daily_bars=bars), 3, basis=basis)

    close = 11 / factor  # after a fall of 10 % that is a dividend
    equity = 500 + 50 * close
    assert of(kept.trades, 3, "A")["shares"] == pytest.approx(0.5 * equity / close - 50)
    assert of(kept.trades, 3, "B")["shares"] == pytest.approx(0.2 * equity / 5)


def test_a_session_that_traded_nothing_fills_nothing_and_carries_the_order() -> None:
    empty = bar("A", 1, 90.0, volume=0.0)
    market = raw(daily_bars=[bar("A", 0, 100.0), empty, bar("A", 2, 100.0)])
    kept = books(hold((1, {"A": 0.5})), market, 2)

    assert kept.trades.select("session", "shares", "reason").rows() == [(day(2), 5.0, "carried")]
    assert kept.notes == ()


def test_a_fill_on_a_bar_of_unknown_volume_is_counted() -> None:
    market = raw(daily_bars=[bar("A", 0, 100.0), bar("A", 1, 100.0, volume=None)])
    kept = books(hold((1, {"A": 0.5})), market, 1)

    assert kept.trades.height == 1
    assert kept.notes == (
        "1 orders were filled on 1 sessions with bars whose volume is not known.",
    )


def test_no_purchase_is_paid_for_by_a_sale_that_did_not_happen() -> None:
    # A (half of the book) is halted on sessions 2 to 4; it was to pay for C.
    market = raw(
        daily_bars=[
            *path("A", [100.0, 100.0, None, None, None, 100.0]),
            *path("B", [100.0] * 6),
            *path("C", [50.0, 50.0, 50.0, 60.0, 50.0, 50.0]),
        ]
    )
    kept = books(hold((1, {"A": 0.5, "B": 0.5}), (2, {"B": 0.2, "C": 0.8})), market, 5)

    # Three of B are sold for 300, and of C's sixteen shares at 50 six are bought with it; the
    # other ten wait for A, whatever C's price does in the meantime.
    on_2 = kept.trades.filter(pl.col("session") == day(2))
    assert on_2.select("symbol", "shares").rows() == [("B", approx(-3.0)), ("C", approx(6.0))]
    assert kept.trades.filter(pl.col("session").is_between(day(3), day(4))).is_empty()
    on_5 = kept.trades.filter(pl.col("session") == day(5))
    assert on_5.select("symbol", "shares").rows() == [("A", -5.0), ("C", approx(10.0))]
    assert kept.daily["cash"].to_list()[1:] == approx([0.0] * 5)
    assert kept.daily["gross_exposure"].max() == approx(1.0)
    assert kept.notes == (
        "1 purchases or new shorts were held back in part or whole on 3 sessions, because sales "
        "that were to pay for them could not be filled.",
    )


def test_an_uncovered_short_holds_back_new_shorts_and_no_longs() -> None:
    # The short A cannot be bought back on session 2: its price is locked at the upper limit.
    market = raw(
        daily_bars=[
            *path("A", [100.0, 100.0]),
            bar("A", 2, 100.0, upper_limit=True),
            *path("B", [100.0] * 3),
            *path("C", [100.0] * 3),
        ]
    )
    kept = books(hold((1, {"A": -0.5}), (2, {"B": -0.5, "C": 0.5})), market, 2)

    on_2 = kept.trades.filter(pl.col("session") == day(2))
    assert on_2.select("symbol", "shares").rows() == [("C", 5.0)]


def test_nothing_is_sold_short_that_no_lender_has() -> None:
    # From session 2 on A cannot be borrowed: what is short stays, nothing is added.
    market = raw(
        daily_bars=path("A", [100.0] * 6), borrow=[fee("A", 0, 0.0, 1e6), fee("A", 1, 0.0, 0.0)]
    )
    targets = hold((1, {"A": -0.3}), (2, {"A": -0.6}), (3, {"A": -0.1}), (4, {"A": 0.2}))
    kept = books(targets, market, 5)

    assert kept.trades.select("session", "shares").rows() == [
        (day(1), -3.0),
        (day(3), approx(2.0)),
        (day(4), approx(3.0)),
    ]
    assert kept.notes == (
        "2 short positions, counted once a rebalance, were above the shares that lenders quoted "
        "(borrow.available_shares) on 2 sessions: they were kept, and not added to.",
        "1 short sales were not filled on 1 sessions, or only in part, because lenders had too few "
        "shares (borrow.available_shares).",
    )
    flip = books(hold((2, {"A": 0.2}), (4, {"A": -0.2})), market, 4)
    assert flip.trades["shares"].to_list() == [2.0, -2.0]  # sold, and not sold short


def test_a_short_is_no_larger_than_what_lenders_have() -> None:
    # Of 6 shares ordered 4 can be borrowed; from session 3 on 5 can, and one is sold of the rest.
    lent = [fee("A", 0, 0.0, 4.0), fee("A", 2, 0.0, 5.0)]
    market = raw(daily_bars=path("A", [100.0] * 5), borrow=lent)
    kept = books(hold((1, {"A": -0.6})), market, 4)

    assert kept.trades.select("session", "shares").rows() == [(day(1), -4.0), (day(3), -1.0)]
    assert kept.trades["reason"].to_list() == ["rebalance", "carried"]


def test_what_rounding_leaves_of_a_loan_is_not_sold() -> None:
    # The one share that can be borrowed is short but for the last bit.
    found = most_sold(np.array([-1.0 + 2.0**-52, 1.0]), np.array([1.0, 1.0]), None)

    assert found.tolist() == [0.0, 2.0]


def test_a_sale_of_what_is_long_takes_no_loan() -> None:
    # 2 long, 5 short wanted, 3 can be borrowed: 5 are sold.
    market = raw(daily_bars=path("A", [100.0] * 5), borrow=[fee("A", 2, 0.0, 3.0)])
    kept = books(hold((1, {"A": 0.2}), (3, {"A": -0.5})), market, 3)

    assert kept.trades["shares"].to_list() == [2.0, -5.0]


def test_lots_round_what_is_borrowed_and_not_what_is_held() -> None:
    # 37 can be borrowed: three lots of ten.
    spec = PLAIN.model_copy(update={"capital": 10_000.0, "lot": 10})
    market = raw(daily_bars=path("A", [100.0] * 3), borrow=[fee("A", 0, 0.0, 37.0)])

    assert books(hold((1, {"A": -0.9})), market, 2, spec).trades["shares"].to_list() == [-30.0]


@pytest.mark.parametrize(("n_split", "sold"), [(0, -2.0), (1, -4.0), (2, -4.0), (3, -2.0)])
def test_what_lenders_have_is_restated_for_splits_since_the_quote(
    n_split: int, sold: float
) -> None:
    # The quote is of the evening of session 0, the order of session 2: a split in two on session
    # 1 or 2 makes 4 shares of the 2 that can be borrowed, one before the quote does not.
    bars = [
        bar("A", n, 100.0 if n < n_split else 50.0, adjustment_factor=0.5 if n == n_split else 1.0)
        for n in range(4)
    ]
    market = raw(daily_bars=bars, borrow=[fee("A", 0, 0.0, 2.0)])
    kept = books(hold((2, {"A": -1.0})), market, 2)

    assert kept.trades["shares"].to_list() == approx([sold])


def test_what_lenders_have_is_worth_the_same_on_total_return_prices() -> None:
    # The factor takes a dividend of half the price out: 100, then 50 that is worth 100 chained.
    bars = [bar("A", 0, 100.0), bar("A", 1, 50.0, adjustment_factor=0.5), bar("A", 2, 50.0)]
    market = raw(daily_bars=bars, borrow=[fee("A", 1, 0.0, 3.0)])
    kept = books(hold((2, {"A": -0.5})), market, 2, basis="total_return")

    assert kept.trades["notional"].to_list() == approx([-150.0])


@pytest.mark.parametrize(
    ("weight", "price"), [(0.5, 100.5), (-0.5, 100.0)], ids=["up for purchases", "down for sales"]
)
def test_fills_are_rounded_to_ticks_against_the_order(weight: float, price: float) -> None:
    costs = FREE.model_copy(update={"tick": 0.5})
    market = raw(daily_bars=path("A", [100.0, 100.2]))
    kept = books(hold((1, {"A": weight})), market, 1, costs=costs)

    assert kept.trades["price"].to_list() == [price]
    assert of(kept.daily, 1)["equity"] == approx(1_000 - 5 * abs(price - 100.2))


def test_a_price_on_a_tick_stays_and_none_is_below_one_tick() -> None:
    prices = np.array([100.3, 0.1 + 0.2, 0.004, np.nan])
    costs = FREE.model_copy(update={"tick": 0.1})

    bought = to_tick(prices, np.ones(4), costs)
    assert bought.tolist()[:3] == approx([100.3, 0.3, 0.1])
    assert to_tick(prices, -np.ones(4), costs).tolist()[:3] == approx([100.3, 0.3, 0.1])
    assert np.isnan(bought[3])


def test_ticks_on_total_return_prices_are_refused() -> None:
    costs = FREE.model_copy(update={"tick": 0.5})
    market, targets = raw(daily_bars=path("A", [1.0] * 3)), hold((1, {"A": 1.0}))
    with pytest.raises(BadInput, match=r"costs\.tick = 0\.5 is a step of prices as traded"):
        books(targets, market, 2, PLAIN, costs, "total_return")


@pytest.mark.parametrize(("tick", "is_refused"), [(90.0, False), (110.0, True), (1e300, True)])
def test_a_tick_above_most_prices_is_refused(tick: float, is_refused: bool) -> None:
    costs = FREE.model_copy(update={"tick": tick})
    market, targets = raw(daily_bars=path("A", [100.0] * 3)), hold((1, {"A": 0.5}))
    if not is_refused:
        assert books(targets, market, 2, PLAIN, costs).trades["price"].to_list() == [180.0]
        return
    with pytest.raises(BadInput, match=r"costs\.tick = .* is more than .* median close .* is 100"):
        books(targets, market, 2, PLAIN, costs)


def test_what_lenders_have_counts_from_the_session_that_knows_it() -> None:
    market = raw(daily_bars=path("A", [100.0] * 3), borrow=[fee("A", 1, 0.0, 0.0)])

    assert books(hold((1, {"A": -0.5})), market, 2).trades["session"].to_list() == [day(1)]
    assert books(hold((2, {"A": -0.5})), market, 2).trades.is_empty()


def test_the_rate_of_the_latest_date_counts_whenever_it_arrives() -> None:
    # Session 3's rate arrives on session 8, after that of session 5; session 5's is corrected.
    late = rate(3, 0.5) | {"available_at": at(8, 18)}
    better = rate(5, 0.0730) | {"available_at": at(9, 18), "revision": 1}
    market = raw(
        daily_bars=path("A", [100.0] * 12), rates=[rate(0, 0.0365), rate(5, 0.01), late, better]
    )
    kept = books(hold((1, {"A": 0.0})), market, 11)

    assert kept.cash_rates is not None
    expected = [0.0] + [0.0365] * 5 + [0.0730] * 6
    assert kept.cash_rates["cash_rate_annual"].to_list() == expected
    assert kept.notes == (
        "The cash rate is not known, and counts as 0, in 1 of 12 sessions: rates begin on "
        "2023-06-06.",
    )
    assert of(kept.daily, 2)["cash_interest"] == approx(1_000 * 0.0365 / 365)


def test_a_date_without_a_rate_leaves_the_one_before_in_force() -> None:
    blank = rate(3, 0.0) | {"cash_rate_annual": None}  # as a central bank writes its holidays
    market = raw(daily_bars=path("A", [100.0] * 8), rates=[rate(0, 0.0365), blank])
    kept = books(hold((1, {"A": 0.0})), market, 7)

    assert kept.cash_rates is not None
    assert kept.cash_rates["cash_rate_annual"].to_list() == [0.0] + [0.0365] * 7
    assert len(kept.notes) == 1  # that the first session has none


def test_a_rate_is_not_known_any_more_after_twenty_sessions() -> None:
    market = raw(daily_bars=path("A", [100.0] * 40), rates=[rate(0, 0.0365)])
    kept = books(hold((1, {"A": 0.0})), market, 39)

    # Effective on session 1, in force up to session 21: the night after it is the last one paid.
    paid = [n for n in range(40) if of(kept.daily, n)["cash_interest"] > 0]
    assert paid == list(range(2, 23))
    assert kept.notes[0].endswith(
        "in 19 of 40 sessions: rates begin on 2023-06-06; after 2023-07-04 the last rate is more "
        "than 20 sessions old."
    )


def test_rates_of_another_time_are_no_rates_and_none_at_all_has_no_note() -> None:
    later = raw(daily_bars=path("A", [100.0] * 3), rates=[rate(30, 0.01)])
    kept = books(hold((1, {"A": 0.0})), later, 2)
    assert kept.notes[0].endswith("no rate is in force between 2023-06-05 and 2023-06-07.")

    without = books(hold((1, {"A": 0.0})), raw(daily_bars=path("A", [100.0] * 3)), 2)
    assert without.cash_rates is None
    assert without.notes == ()


def test_an_exit_return_in_percent_is_refused_by_name() -> None:
    market = raw(daily_bars=path("A", [100.0] * 2), listings=[leaves("A", 1, "delisted", -30.0)])
    with pytest.raises(
        BadInput, match=r"exit_return of 'A', which left on 2023-06-06, is -30.*0.3"
    ):
        books(hold((1, {"A": 0.5})), market, 3)


def test_a_dividend_above_the_price_is_refused_by_name_where_it_is_held() -> None:
    market = raw(daily_bars=path("A", [100.0] * 4), dividends=[dividend("A", 2, 300.0)])
    with pytest.raises(BadInput, match=r"'A' pays 300 a share on 2023-06-07, .*before is 100"):
        books(hold((1, {"A": 0.5})), market, 3)
    assert books(hold((3, {"A": 0.5})), market, 3).trades.height == 1


def test_used_up_equity_stops_loudly() -> None:
    market = raw(daily_bars=path("A", [100.0, 100.0, 250.0]))
    with pytest.raises(CheckFailed, match=r"used up at 2023-06-07.*gross_exposure"):
        books(hold((1, {"A": -1.0})), market, 2)


def test_targets_after_the_last_session_wait_for_their_day() -> None:
    market = raw(daily_bars=path("A", [100.0] * 4))
    without, beyond = hold((1, {"A": 0.5})), hold((1, {"A": 0.5}), (3, {"A": 0.0}))

    assert_frame_equal(books(without, market, 2).daily, books(beyond, market, 2).daily)


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (hold((1, {"A": float("nan")})), "target of 'A' on 2023-06-06 is nan"),
        (hold((1, {"A": 0.5}), (1, {"A": 0.4})), "'A' has 2 targets on 2023-06-06"),
        (
            hold((1, {"A": 0.5})).with_columns(session=pl.date(2023, 6, 3)),
            "targets of 2023-06-03 have no session",
        ),
        (
            hold((1, {"A": 0.5})).with_columns(session=pl.date(2023, 6, 10)),
            "targets of 2023-06-10 have no session",
        ),
    ],
)
def test_targets_that_cannot_be_right_are_refused(targets: pl.DataFrame, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        books(targets, raw(daily_bars=path("A", [100.0] * 9)), 8)


def test_lots_are_refused_on_prices_that_were_never_traded() -> None:
    spec = QuantileSpec(horizon=1, lot=100)
    with pytest.raises(BadInput, match=r"portfolio.lot = 100 counts shares"):
        books(hold((1, {"A": 0.5})), raw(daily_bars=[]), 2, spec, basis="total_return")


def test_no_targets_leave_all_in_cash() -> None:
    kept = books(hold(), raw(daily_bars=path("A", [100.0] * 3)), 2)

    assert kept.daily["equity"].to_list() == [1_000.0] * 3
    assert kept.trades.is_empty()
    assert kept.positions.is_empty()


def test_targets_that_sum_to_more_than_any_exposure_are_refused() -> None:
    market = raw(daily_bars=[*path("A", [100.0] * 3), *path("B", [100.0] * 3)])
    with pytest.raises(BadInput, match=r"of 2023-06-06 sum to 100 of equity.*in percent"):
        books(hold((1, {"A": 60.0, "B": -40.0})), market, 2)


def test_sessions_at_which_nothing_happens_go_in_one_and_change_no_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    names, n = [f"S{i}" for i in range(9)], 30
    closes = {name: 100.0 * np.exp(np.cumsum(0.02 * rng.standard_normal(n))) for name in names}
    market = raw(
        daily_bars=[row for name in names for row in path(name, closes[name].tolist())],
        borrow=[fee(name, i, 80.0 + i) for name in names[5:] for i in (0, 9)],
        rates=[rate(0, 0.03)],
        dividends=[dividend("S1", 20, 1.0)],
    )
    weights = dict(zip(names, [0.3, 0.2, 0.1, 0.1, 0.1, -0.2, -0.1, -0.1, -0.1], strict=True))
    targets = hold((1, weights), (12, {name: -weight for name, weight in weights.items()}))
    rested: list[int] = []
    rest = simulator._Account.rest
    with monkeypatch.context() as patch:
        patch.setattr(
            simulator._Account,
            "rest",
            lambda self, first, stop: (rested.extend(range(first, stop)), rest(self, first, stop)),
        )
        found = books(targets, market, n - 1, costs=CostsSpec())
    assert rested == [d for d in range(1, n) if d not in (1, 12, 20)]

    monkeypatch.setattr(
        simulator, "_next_with_events", lambda wanted, marks: np.arange(len(marks.sessions))
    )
    each = books(targets, market, n - 1, costs=CostsSpec())

    for table in ("daily", "positions", "trades"):
        assert_frame_equal(getattr(found, table), getattr(each, table), check_exact=True)
