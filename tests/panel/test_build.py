"""Which rows the panel has, and what stands in them: by hand, five symbols at most."""

from collections.abc import Sequence
from datetime import date, datetime, time
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from tests.panel.market import TOKYO, bar, bars, day, evening, listing, listings, membership

from alpha_assets.audit.reference_panel import book_of
from alpha_assets.errors import BadInput, FeedError, RangeError
from alpha_assets.feeds import FEEDS
from alpha_assets.panel.build import build_panel
from alpha_assets.panel.joins import plain
from alpha_assets.panel.schema import PANEL_SCHEMA


def panel(rows: Sequence[dict[str, Any]], last: int = 60, **others: pl.DataFrame) -> pl.DataFrame:
    return build_panel({"daily_bars": bars(rows), **others}, TOKYO, day(0), day(last))


def column(frame: pl.DataFrame, name: str, symbol: str = "A") -> dict[date, Any]:
    rows = frame.filter(pl.col("symbol") == symbol)
    return dict(zip(rows["session"].to_list(), rows[name].to_list(), strict=True))


def test_the_bar_of_a_session_stands_in_the_row_of_the_next_one() -> None:
    # Session 1 is Friday 2023-06-02, session 2 Monday 2023-06-05.
    close = column(panel([bar("A", 1, 100.0), bar("A", 2, 101.0)], last=3), "close")

    assert close == {day(2): 100.0, day(3): 101.0}


def test_the_columns_are_those_of_the_schema_whatever_the_feed_lacks() -> None:
    rows = bars([bar("A", 0, 1.0)]).drop("share_factor", "upper_limit", "turnover_value")
    found = build_panel({"daily_bars": rows}, TOKYO, day(0), day(1))

    assert dict(found.schema) == {name: kind for name, kind in PANEL_SCHEMA.items()}
    unknown = ("share_factor", "upper_limit", "turnover_value", "sector", "in_membership")
    assert found.row(0, named=True).items() >= dict.fromkeys(unknown).items()


def test_a_bar_restated_before_it_was_effective_stands_on_its_first_level() -> None:
    # A close of 100 is restated for a split of the next morning, which the next bar's factor tells.
    night = evening(1, time(20))
    rows = bars(
        [
            bar("A", 1, 100.0),
            bar("A", 1, 50.0, volume=2_000.0, available_at=night, revision=1),
            bar("A", 2, 51.0, volume=2_000.0, adjustment_factor=0.5),
        ]
    ).with_columns(level=pl.Series([None, 0.5, None]))
    found = build_panel({"daily_bars": rows}, TOKYO, day(0), day(3))

    assert column(found, "close") == {day(2): 100.0, day(3): 51.0}
    assert column(found, "volume") == {day(2): 1_000.0, day(3): 2_000.0}
    assert column(found, "cum_factor") == {day(2): 1.0, day(3): 0.5}
    market: Any = SimpleNamespace(calendar=TOKYO, joins=(), spec=SimpleNamespace(max_stale=20))
    first = int(TOKYO.index_of(day(0)))
    book = book_of(market, {"daily_bars": rows}, range(first, first + 4))
    assert book.rows.select(found.columns).equals(found)


def test_the_session_after_the_last_bar_has_rows_and_the_rows_end_after_twenty_more() -> None:
    stale = column(panel([bar("A", 0, 100.0)]), "stale")

    assert list(stale) == [day(n) for n in range(1, 22)]
    assert list(stale.values()) == list(range(21))


def test_a_halted_symbol_keeps_its_row_without_values_and_grows_stale() -> None:
    found = panel([bar("A", 0, 100.0), bar("A", 3, 104.0)], last=4)

    assert column(found, "close") == {day(1): 100.0, day(2): None, day(3): None, day(4): 104.0}
    assert list(column(found, "stale").values()) == [0, 1, 2, 0]
    assert list(column(found, "n_bars").values()) == [1, 1, 1, 2]


def test_a_symbol_that_returns_after_more_than_twenty_sessions_has_rows_again() -> None:
    split = bar("A", 1, 50.0, adjustment_factor=0.5)
    found = panel([bar("A", 0, 100.0), split, bar("A", 30, 60.0)], last=33)

    # Last bar session 1: rows 2 to 22 (stale 0 to 20), none from 23 to 30, again from 31 on.
    assert list(column(found, "stale")) == [day(n) for n in (*range(1, 23), 31, 32, 33)]
    back = found.row(by_predicate=pl.col("session") == day(31), named=True)
    assert (back["n_bars"], back["cum_factor"], back["stale"]) == (3, 0.5, 0)


def test_a_split_enters_the_factors_with_the_bar_of_its_ex_date() -> None:
    ex_date = bar("A", 2, 51.0, adjustment_factor=0.5)
    found = panel([bar("A", 1, 100.0), ex_date, bar("A", 3, 52.0)], last=4)

    assert list(column(found, "adjustment_factor").values()) == [1.0, 0.5, 1.0]
    assert list(column(found, "cum_factor").values()) == [1.0, 0.5, 0.5]
    adjusted = [row["close"] / row["cum_factor"] for row in found.iter_rows(named=True)]
    assert adjusted == [100.0, 102.0, 104.0]  # 100 → 51 is a gain of 2 % once split


def test_a_bar_that_is_late_enters_no_price_but_its_factor_counts_when_it_is_known() -> None:
    late = bar("A", 2, 50.0, adjustment_factor=0.5, available_at=evening(4))
    found = panel([bar("A", 1, 100.0), late, bar("A", 3, 51.0), bar("A", 5, 52.0)], last=6)

    assert list(column(found, "close").values()) == [100.0, None, 51.0, None, 52.0]
    assert list(column(found, "adjustment_factor").values()) == [1.0, 1.0, 1.0, 0.5, 1.0]
    assert list(column(found, "cum_factor").values()) == [1.0, 1.0, 1.0, 0.5, 0.5]
    assert list(column(found, "n_bars").values()) == [1, 1, 2, 3, 4]
    # Row 5: the late bar is of session 2, that of session 3 is newer, session 4 has none.
    assert list(column(found, "stale").values()) == [0, 1, 0, 1, 0]


def test_several_factors_that_become_known_together_multiply() -> None:
    late = bar("A", 1, 50.0, adjustment_factor=0.5, available_at=evening(2))
    found = panel([bar("A", 0, 100.0), late, bar("A", 2, 10.0, adjustment_factor=0.2)], last=3)

    assert list(column(found, "adjustment_factor").values()) == [1.0, 1.0, 0.1]
    assert list(column(found, "cum_factor").values()) == [1.0, 1.0, 0.1]


def test_factors_that_become_known_together_multiply_in_the_order_of_their_sessions() -> None:
    # (1/3 · 3.1) · 0.2 and (0.2 · 3.1) · 1/3 differ in the last bit.
    sizes = (1 / 3, 3.1, 0.2)
    rows = [
        bar("A", n, 1.0, adjustment_factor=factor, available_at=evening(3))
        for n, factor in enumerate(sizes)
    ]
    for delivered in (rows, rows[::-1]):
        assert column(panel(delivered, last=4), "cum_factor")[day(4)] == (1 / 3 * 3.1) * 0.2
    assert (1 / 3 * 3.1) * 0.2 != (0.2 * 3.1) * (1 / 3)


def test_a_bar_is_not_used_before_its_own_session_is_over_whatever_its_stamp() -> None:
    early = bar("A", 2, 50.0, adjustment_factor=0.5, available_at=evening(2, time(7)))
    found = panel([bar("A", 1, 100.0), early], last=3)

    assert column(found, "close") == {day(2): 100.0, day(3): 50.0}
    assert column(found, "stale") == {day(2): 0, day(3): 0}
    assert column(found, "cum_factor") == {day(2): 1.0, day(3): 0.5}


def test_a_share_factor_is_kept_where_it_is_given() -> None:
    rights = bar("A", 1, 90.0, adjustment_factor=0.9, share_factor=1.0)
    found = panel([bar("A", 0, 100.0), rights, bar("A", 2, 91.0)], last=3)

    assert list(column(found, "share_factor").values()) == [None, 1.0, None]


def test_a_share_factor_beside_a_split_that_states_none_counts_both() -> None:
    late = bar("A", 1, 50.0, adjustment_factor=0.5, available_at=evening(2))
    rights = bar("A", 2, 45.0, adjustment_factor=0.9, share_factor=1.0)
    found = panel([bar("A", 0, 100.0), late, rights], last=3)

    assert list(column(found, "share_factor").values()) == [None, None, 2.0]


def test_a_correction_published_later_enters_no_row() -> None:
    wrong = bar("A", 1, 100.0)
    right = bar("A", 1, 110.0, revision=1, available_at=evening(3))
    found = panel([wrong, right], last=6)

    assert list(column(found, "close").values()) == [100.0, None, None, None, None]
    assert set(column(found, "cum_factor").values()) == {1.0}
    assert found["late_factors"].null_count() == found.height
    assert set(column(found, "n_bars").values()) == {1}


def test_a_correction_published_before_the_first_decision_is_the_bar() -> None:
    wrong = bar("A", 1, 100.0)
    right = bar("A", 1, 110.0, revision=1, available_at=evening(1, time(20)))

    assert column(panel([wrong, right], last=2), "close") == {day(2): 110.0}


def test_a_row_without_a_trade_is_no_bar_but_its_factor_counts() -> None:
    idle = bar("A", 1, None, adjustment_factor=0.5)
    found = panel([bar("A", 0, 100.0), idle, bar("A", 2, 51.0)], last=3)

    assert list(column(found, "close").values()) == [100.0, None, 51.0]
    assert list(column(found, "stale").values()) == [0, 1, 0]
    assert list(column(found, "n_bars").values()) == [1, 1, 2]
    assert list(column(found, "cum_factor").values()) == [1.0, 0.5, 0.5]


def test_a_delisted_symbol_has_no_row_from_the_session_at_which_its_exit_is_known() -> None:
    rows = [bar("A", n, 100.0) for n in range(5)]
    events = listings([listing("A", 0), listing("A", 4, "delisted")])

    # The last bar is that of session 4; its exit is effective at 5.
    assert list(column(panel(rows, listings=events), "close")) == [day(n) for n in range(1, 5)]


def test_a_symbol_that_is_listed_again_has_rows_from_its_own_first_bar_on() -> None:
    rows = [bar("A", n, 100.0) for n in (0, 1, 8, 9)]
    events = listings([listing("A", 0), listing("A", 1, "acquired"), listing("A", 8)])
    found = panel(rows, last=10, listings=events)

    assert column(found, "n_bars") == {day(1): 1, day(9): 1, day(10): 2}


def test_an_exit_that_is_corrected_away_ends_no_row_after_the_correction() -> None:
    undone = listing("A", 2, "active", revision=1, available_at=evening(4))
    events = listings([listing("A", 0), listing("A", 2, "delisted"), undone])
    found = panel([bar("A", n, 1.0) for n in range(8)], last=7, listings=events)

    assert list(column(found, "close")) == [day(n) for n in (1, 2, 5, 6, 7)]


def test_sector_and_membership_are_those_known_at_the_session() -> None:
    events = listings([listing("A", 0), listing("A", 2, sector="Toys", shortable=False)])
    spells = membership([("A", 1, True), ("A", 3, False), ("Z", 4, True)])
    rows = [bar(symbol, n, 100.0) for symbol in "AB" for n in range(4)]
    found = panel(rows, last=4, listings=events, membership=spells)

    assert list(column(found, "sector").values()) == ["Tools", "Toys", "Toys", "Toys"]
    assert list(column(found, "shortable").values()) == [True, False, False, False]
    assert list(column(found, "in_membership").values()) == [True, True, False, False]
    assert list(column(found, "sector", "B").values()) == [None] * 4
    assert list(column(found, "in_membership", "B").values()) == [False] * 4


def test_a_side_feed_is_joined_with_its_age_up_to_its_limit() -> None:
    fee = {
        "event_date": [day(0), day(2)],
        "symbol": ["A", "A"],
        "fee_bps_annual": [40.0, 60.0],
        "available_shares": [1e6, None],
        "available_at": [evening(0, time(18)), evening(2, time(18))],
        "revision": [0, 0],
    }
    raw = {
        "daily_bars": bars([bar("A", n, 100.0) for n in range(30)]),
        "borrow": pl.DataFrame(fee).with_columns(
            pl.col("available_at").dt.convert_time_zone("UTC")
        ),
    }
    found = build_panel(raw, TOKYO, day(0), day(30), side=[plain(FEEDS["borrow"])])

    assert list(column(found, "borrow_fee_bps_annual").values())[:3] == [40.0, 40.0, 60.0]
    assert list(column(found, "borrow_age").values()) == [0, 1, *range(28)]
    # Effective at 3, limit 20: known up to 23.
    fee_at = column(found, "borrow_fee_bps_annual")
    assert (fee_at[day(23)], fee_at[day(24)]) == (60.0, None)
    assert set(column(found, "borrow_available_shares").values()) == {1e6, None}


def test_rows_are_sorted_by_session_and_symbol() -> None:
    found = panel([bar(symbol, n, 1.0) for n in (1, 0) for symbol in "CAB"], last=2)

    assert found.rows()[0][:2] == (day(1), "A")
    assert found.select("session", "symbol").equals(
        found.select("session", "symbol").sort(pl.all())
    )


def test_a_market_without_bars_yet_has_a_panel_without_rows() -> None:
    found = panel([bar("A", 10, 1.0)], last=9)

    assert found.height == 0
    assert dict(found.schema) == PANEL_SCHEMA


def test_a_panel_without_bars_is_refused() -> None:
    with pytest.raises(BadInput, match="daily_bars"):
        build_panel({"listings": listings([])}, TOKYO, day(0), day(1))


def test_a_side_feed_without_rows_gives_columns_of_nulls() -> None:
    raw = {"daily_bars": bars([bar("A", 0, 1.0)])}
    found = build_panel(raw, TOKYO, day(0), day(1), side=[plain(FEEDS["borrow"])])

    assert found["borrow_fee_bps_annual"].to_list() == [None]
    assert found.schema["borrow_fee_bps_annual"] == pl.Float64
    assert found.schema["borrow_age"] == pl.Int16


def test_dates_without_a_session_are_refused() -> None:
    with pytest.raises(RangeError, match="2023-06-03"):
        build_panel({"daily_bars": bars([])}, TOKYO, date(2023, 6, 3), date(2023, 6, 4))


def test_a_row_without_a_stamp_is_refused() -> None:
    unstamped = bars([bar("A", 0, 1.0)]).with_columns(available_at=None)
    with pytest.raises(FeedError, match="no available_at"):
        build_panel({"daily_bars": unstamped.cast(bars([]).schema)}, TOKYO, day(0), day(1))


def test_one_raw_row_delivered_twice_is_refused() -> None:
    with pytest.raises(FeedError, match="stored once"):
        panel([bar("A", 0, 1.0), bar("A", 0, 2.0)], last=1)


def test_the_session_after_a_day_that_was_announced_and_not_held_says_so() -> None:
    # 2020-10-01 was announced as a session of Tokyo; nothing traded.
    days = [date(2020, 9, 29), date(2020, 9, 30)]
    raw = {"daily_bars": bars_on(days)}
    found = build_panel(raw, TOKYO, date(2020, 9, 30), date(2020, 10, 2))

    assert found["session"].to_list() == [date(2020, 9, 30), date(2020, 10, 2)]
    assert found["is_halt"].to_list() == [False, True]
    assert found["close"].to_list() == [1.0, 2.0]  # the bar of the last session that was held
    assert found["stale"].to_list() == [0, 0]


def bars_on(days: list[date]) -> pl.DataFrame:
    close = [float(n + 1) for n in range(len(days))]
    stamp = [datetime.combine(day, time(16, 30), tzinfo=TOKYO.zone) for day in days]
    return pl.DataFrame(
        {
            "event_date": days,
            "symbol": ["A"] * len(days),
            **{name: close for name in ("open", "high", "low", "close", "volume")},
            "available_at": stamp,
            "revision": pl.Series([0] * len(days), dtype=pl.Int16),
        }
    ).with_columns(pl.col("available_at").dt.convert_time_zone("UTC").dt.cast_time_unit("us"))
