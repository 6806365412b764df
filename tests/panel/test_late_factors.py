"""Factors that are corrected, or known late: the session that learns them carries them."""

from typing import Any

import polars as pl
import pytest
from tests.panel.market import TOKYO, bar, bars, day, evening

from alpha_assets.panel.build import build_panel

Row = dict[str, Any]


def built(rows: list[Row], first: int = 0, last: int = 9) -> pl.DataFrame:
    return build_panel({"daily_bars": bars(rows)}, TOKYO, day(first), day(last))


def series(frame: pl.DataFrame, name: str) -> list[Any]:
    return frame.filter(pl.col("symbol") == "A")[name].to_list()


def late(n: int, ratio: float, volume_ratio: float | None = None) -> Row:
    volume = ratio if volume_ratio is None else volume_ratio
    return {"session": day(n), "ratio": ratio, "volume_ratio": volume}


def quiet(symbol: str = "A") -> list[Row]:
    """Bars of the sessions 0 to 8 at 100, of which session 3 says nothing of a factor."""
    return [bar(symbol, n, 100.0) for n in range(9)]


def test_a_corrected_factor_counts_from_the_session_that_learns_it() -> None:
    # The split of session 3 was forgotten, and is told on the evening of session 5: row 6.
    rows = [
        *quiet(),
        bar("A", 3, 100.0, adjustment_factor=0.5, revision=1, available_at=evening(5)),
    ]
    found = built(rows)

    assert series(found, "cum_factor") == [1.0] * 5 + [0.5] * 4  # rows 1 to 5, then 6 to 9
    assert series(found, "adjustment_factor") == [1.0] * 5 + [0.5] + [1.0] * 3
    assert series(found, "late_factors") == [None] * 5 + [[late(3, 0.5)]] + [None] * 3


def test_a_factor_that_is_taken_back_is_divided_out() -> None:
    rows = quiet()
    rows[3] = bar("A", 3, 100.0, adjustment_factor=0.5)
    taken_back = bar("A", 3, 100.0, revision=1, available_at=evening(5))
    found = built([*rows, taken_back])

    assert series(found, "cum_factor") == [1.0] * 3 + [0.5] * 2 + [1.0] * 4
    assert series(found, "late_factors")[5] == [late(3, 2.0)]


@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_an_unknown_factor_moves_nothing_until_it_is_known(unknown: float | None) -> None:
    rows = quiet()
    rows[3] = bar("A", 3, 100.0, adjustment_factor=unknown)
    told = bar("A", 3, 100.0, adjustment_factor=0.97, revision=1, available_at=evening(4))
    found = built([*rows, told])

    assert series(found, "cum_factor") == [1.0] * 4 + [0.97] * 5
    assert series(found, "late_factors")[4] == [late(3, 0.97)]


def test_a_revision_that_states_no_factor_leaves_the_one_known() -> None:
    rows = quiet()
    rows[3] = bar("A", 3, 100.0, adjustment_factor=0.5)
    silent = bar("A", 3, 101.0, adjustment_factor=None, revision=1, available_at=evening(5))

    assert series(built([*rows, silent]), "cum_factor") == [1.0] * 3 + [0.5] * 6


def test_a_late_bar_says_on_which_session_its_factor_stands() -> None:
    rows = quiet()
    rows[3] = bar("A", 3, 100.0, adjustment_factor=0.5, available_at=evening(5))
    found = built(rows)

    assert series(found, "late_factors") == [None] * 5 + [[late(3, 0.5)]] + [None] * 3
    assert series(found, "cum_factor") == [1.0] * 5 + [0.5] * 4


def test_several_learned_at_once_stand_in_the_order_of_their_sessions() -> None:
    rows = [
        *quiet(),
        bar("A", 4, 100.0, adjustment_factor=0.8, revision=1, available_at=evening(6)),
        bar("A", 2, 100.0, adjustment_factor=0.5, revision=1, available_at=evening(6)),
    ]
    found = built(rows)

    assert series(found, "late_factors")[6] == [late(2, 0.5), late(4, 0.8)]
    assert series(found, "cum_factor")[6:] == [0.5 * 0.8] * 3


def test_only_what_changes_the_number_of_shares_moves_volume() -> None:
    rows = quiet()
    rows[2] = bar("A", 2, 60.0, adjustment_factor=0.6, share_factor=1.0)  # 40 % in cash
    rows[4] = bar("A", 4, 30.0, adjustment_factor=0.5)  # a split
    rows[6] = bar("A", 6, 27.0, adjustment_factor=0.9, share_factor=1.25)  # rights
    found = built(rows)

    assert series(found, "cum_volume_factor") == [1.0] * 4 + [0.5] * 2 + [0.5 * 0.8] * 3
    assert series(found, "cum_factor")[-1] == 0.6 * 0.5 * 0.9


def test_a_row_that_is_not_there_hands_what_it_learned_to_the_next_one() -> None:
    # Bars end with session 1 and return on session 30; row 22 is the last before, row 31 the next.
    rows = [bar("A", n, 100.0) for n in (0, 1, 30, 31)]
    rows.append(bar("A", 1, 100.0, adjustment_factor=0.5, revision=1, available_at=evening(24)))
    whole = built(rows, last=32)

    assert series(whole.filter(pl.col("session") >= day(31)), "late_factors") == [
        [late(1, 0.5)],
        None,
    ]
    for first in (20, 25, 26, 31, 32):
        alone = built(rows, first=first, last=32)
        assert alone.equals(whole.filter(pl.col("session") >= day(first))), first


@pytest.mark.parametrize("first", range(1, 10))
def test_where_the_span_starts_changes_no_bit_of_late_factors(first: int) -> None:
    rows = [
        *quiet(),
        *quiet("B"),
        bar("A", 4, 100.0, adjustment_factor=0.8, revision=1, available_at=evening(6)),
        bar("A", 2, 100.0, adjustment_factor=0.3, revision=1, available_at=evening(4)),
        bar("A", 2, 100.0, adjustment_factor=0.7, revision=2, available_at=evening(7)),
        bar("B", 1, 100.0, adjustment_factor=0.9, share_factor=1.0, revision=1,
            available_at=evening(5)),
    ]  # fmt: skip
    whole = built(rows)

    assert built(rows, first=first).equals(whole.filter(pl.col("session") >= day(first)))
    assert series(whole, "cum_factor")[-1] == pytest.approx(0.7 * 0.8, rel=1e-15)
    for last in range(first, 9):  # what comes later changes nothing
        known = [row for row in rows if row["available_at"] < evening(last)]
        cut = built(known, first=first, last=last)
        assert cut.equals(whole.filter(pl.col("session").is_between(day(first), day(last))))
