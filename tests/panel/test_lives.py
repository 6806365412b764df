"""Two spells of one symbol are two lives, and nothing reaches from one into the other."""

from collections.abc import Callable
from datetime import date, time
from typing import Any

import polars as pl
import pytest
from tests.panel.market import TOKYO, bar, bars, day, evening, listing, listings, membership

from alpha_assets.feeds import FEEDS
from alpha_assets.panel.build import build_panel
from alpha_assets.panel.joins import plain
from alpha_assets.panel.lives import Birth, births

Rows = list[dict[str, Any]]

# The old company trades on the sessions 0 to 3, the new one from session 7 on.
OLD = [bar("A", 0, 100.0), bar("A", 1, 50.0, adjustment_factor=0.5)]
OLD += [bar("A", n, 50.0) for n in (2, 3)]
NEW = [bar("A", n, 7.0) for n in (7, 8, 9)]
EVENTS = [listing("A", 0), listing("A", 3, "delisted"), listing("A", 7, sector="Toys")]


def built(rows: Rows, events: Rows, last: int = 12, **others: pl.DataFrame) -> pl.DataFrame:
    raw = {"daily_bars": bars(rows), "listings": listings(events), **others}
    side = [plain(FEEDS[name]) for name in others if name != "membership"]
    return build_panel(raw, TOKYO, day(0), day(last), side=side)


def column(frame: pl.DataFrame, name: str) -> dict[date, Any]:
    return dict(zip(frame["session"].to_list(), frame[name].to_list(), strict=True))


def test_a_second_life_begins_with_a_start_after_an_exit() -> None:
    assert births(listings(EVENTS), TOKYO) == (
        Birth("A", 1, day(3), day(7), int(TOKYO.index_of(day(7)))),
    )
    # A change of sector is an event too, and no life.
    changed = listings([listing("A", 0), listing("A", 5, sector="Toys"), listing("B", 0)])
    assert births(changed, TOKYO) == ()
    assert births(None, TOKYO) == ()


def test_a_birth_is_known_once_both_the_exit_and_the_start_are() -> None:
    late = [listing("A", 0), listing("A", 7), listing("A", 3, "delisted", available_at=evening(9))]
    known = int(TOKYO.index_of(day(10)))

    assert births(listings(late), TOKYO, known) == (Birth("A", 1, day(3), day(7), known),)
    assert births(listings(late), TOKYO, known - 1) == ()


def test_an_exit_that_was_withdrawn_ends_no_life() -> None:
    withdrawn = listing("A", 3, revision=1, available_at=evening(5))
    assert births(listings([*EVENTS[:2], withdrawn, EVENTS[2]]), TOKYO) == ()


def stated(n: int, exit: str = "active", revision: int = 0, **changes: Any) -> dict[str, Any]:
    """Return an event of A of session n, published in the evening of session 9."""
    return listing("A", n, exit, revision=revision, available_at=evening(9), **changes)


def revised(n: int, exit: str = "active", **changes: Any) -> dict[str, Any]:
    """Return a correction of A's event of session n, published in the evening of session 9."""
    return stated(n, exit, 1, **changes)


@pytest.mark.parametrize(
    "moved",
    [
        # The end is session 4: on the old one the company was listed.
        [revised(3), stated(4, "delisted")],
        # It is session 2: on the old one the company had left before.
        [stated(2, "delisted"), revised(3, "delisted", end=day(2))],
        # The new company began on session 8: on 7 nothing happened.
        [revised(7, "delisted", end=day(3)), stated(8)],
        # Both.
        [revised(3), stated(5, "delisted"), revised(7, "delisted", end=day(5)), stated(8)],
    ],
)
def test_a_restated_end_or_start_begins_no_third_life(moved: Rows) -> None:
    known = int(TOKYO.index_of(day(7)))
    assert births(listings([*EVENTS, *moved]), TOKYO) == (Birth("A", 1, day(3), day(7), known),)
    # A third company is another life all the same.
    more = [listing("A", 11, "delisted"), listing("A", 12)]
    assert [birth.life for birth in births(listings([*EVENTS, *moved, *more]), TOKYO)] == [1, 2]


def test_bars_factors_and_staleness_are_counted_anew() -> None:
    found = built([*OLD, *NEW], EVENTS)

    assert list(column(found, "life").items()) == [
        *[(day(n), 0) for n in (1, 2, 3)],
        *[(day(n), 1) for n in (8, 9, 10, 11, 12)],
    ]
    assert list(column(found, "n_bars").values()) == [1, 2, 3, 1, 2, 3, 3, 3]
    assert list(column(found, "cum_factor").values()) == [1.0, 0.5, 0.5, *[1.0] * 5]
    assert list(column(found, "stale").values()) == [0, 0, 0, 0, 0, 0, 1, 2]
    assert set(found.filter(pl.col("life") == 1)["sector"]) == {"Toys"}


def test_a_bar_of_the_old_life_that_comes_late_stays_with_it() -> None:
    late = bar("A", 2, 50.0, adjustment_factor=0.2, available_at=evening(8))
    found = built([*OLD[:2], OLD[3], late, *NEW], EVENTS)
    new = found.filter(pl.col("life") == 1)

    assert new["n_bars"].to_list() == [1, 2, 3, 3, 3]
    assert set(new["cum_factor"]) == {1.0}
    assert new["late_factors"].null_count() == new.height


def test_a_life_that_is_known_late_begins_with_the_bars_known_since() -> None:
    # Nobody said before session 10 that the bars from session 7 on are another company's.
    events = [listing("A", 0), listing("A", 3, "delisted", available_at=evening(9))]
    events.append(listing("A", 7, available_at=evening(9)))
    found = built([*OLD, *NEW, bar("A", 10, 8.0)], events)

    assert column(found, "n_bars") == {
        **{day(n): n for n in (1, 2, 3, 4)},
        **{day(n): 4 for n in (5, 6, 7)},
        day(8): 5,
        day(9): 6,
        day(10): 1,  # the bar of session 9 is the first that was usable knowing the new life
        day(11): 2,
        day(12): 2,
    }
    assert set(found.filter(pl.col("session") >= day(10))["life"]) == {1}


def test_what_was_available_by_the_old_end_belongs_to_the_old_life() -> None:
    def borrow(n: int, at: time, fee: float) -> dict[str, Any]:
        return {
            "event_date": day(n),
            "symbol": "A",
            "fee_bps_annual": fee,
            "available_shares": None,
            "available_at": evening(n, at),
            "revision": 0,
        }

    fees = pl.DataFrame([borrow(3, time(22), 50.0), borrow(9, time(1), 30.0)])
    fees = fees.with_columns(pl.col("available_at").dt.convert_time_zone("UTC"))
    members = membership([("A", 0, True)])
    found = built([*OLD, *NEW], EVENTS, borrow=fees, membership=members)
    new = found.filter(pl.col("life") == 1)

    assert new["borrow_fee_bps_annual"].to_list() == [None, 30.0, 30.0, 30.0, 30.0]
    assert new["borrow_age"].to_list() == [None, 0, 1, 2, 3]
    assert column(found, "in_membership")[day(3)] is True
    assert not new["in_membership"].any()


def test_one_symbol_with_two_lives_is_two_symbols() -> None:
    def named(life: int) -> Callable[[Rows], Rows]:
        return lambda rows: [row | {"symbol": f"A{life}"} for row in rows]

    one = built([*OLD, *NEW], EVENTS)
    apart = [*named(0)(EVENTS[:2]), *named(1)(EVENTS[2:])]
    two = built([*named(0)(OLD), *named(1)(NEW)], apart)

    assert one.drop("symbol", "life", "ticker").equals(two.drop("symbol", "life", "ticker"))


@pytest.mark.parametrize("first", range(1, 12))
def test_where_the_span_starts_changes_no_bit(first: int) -> None:
    late = bar("A", 8, 7.0, adjustment_factor=0.5, revision=1, available_at=evening(9))
    rows = [*OLD, *NEW, late, bar("A", 2, 50.0, revision=1, available_at=evening(8))]
    raw = {"daily_bars": bars(rows), "listings": listings(EVENTS)}
    whole = build_panel(raw, TOKYO, day(0), day(12))

    alone = build_panel(raw, TOKYO, day(first), day(12))
    assert alone.equals(whole.filter(pl.col("session") >= day(first)))
