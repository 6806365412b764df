"""Short selling of the market and large short positions: by hand, against a dict of holders."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from tests.panel.market import SESSIONS, TOKYO, day, evening
from tests.panel.states.promises import (
    assert_only_the_past_counts,
    assert_the_last_session_changes_nothing,
    assert_the_order_of_rows_changes_nothing,
    in_contract_order,
    latest,
)

from alpha_assets.feeds.shorts import SECTOR_SHORT_SELLING, SHORT_POSITIONS
from alpha_assets.panel.states.event_times import session_numbers
from alpha_assets.panel.states.shorts import SILENCE, market_sales_states, position_states

FIRST = int(TOKYO.index_of(SESSIONS[0]))
UNTIL = FIRST + 120


def sales(*cells: tuple[int, str, float, float, float, datetime, int]) -> pl.DataFrame:
    rows = [(day(n), *cell, stamp, stamp, r) for n, *cell, stamp, r in cells]
    return pl.DataFrame(
        rows, schema=list(SECTOR_SHORT_SELLING.schema), orient="row", strict=False
    ).cast(SECTOR_SHORT_SELLING.schema)  # type: ignore[arg-type]


def report(
    n: int,
    ratio: float,
    known: int,
    *,
    symbol: str = "A",
    holder: tuple[str, str, str] = ("X", "", ""),
    revision: int = 0,
    shares: float | None = 100.0,
) -> tuple[object, ...]:
    """Return a report of session n, published on the evening before session `known`."""
    stamp = evening(known - 1).astimezone(UTC)
    return (
        day(n), symbol, *holder, stamp.date(), ratio, shares, None, None, stamp, stamp, revision,
    )  # fmt: skip


def positions(*rows: tuple[object, ...]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=list(SHORT_POSITIONS.schema), orient="row", strict=False)
    return in_contract_order(frame.cast(SHORT_POSITIONS.schema), "symbol")  # type: ignore[arg-type]


def held(*rows: tuple[object, ...], until: int = 100) -> list[tuple[float, ...]]:
    """Return (session, total, holders, largest, shares, idle, lag) of each state."""
    states = position_states(positions(*rows), TOKYO, FIRST + until).sort("event_date")
    number = TOKYO.index_of(states["event_date"].to_numpy()) - FIRST
    values = states.select("total", "n_holders", "max_holder", "shares", "idle", "lag").rows()
    return [(int(n), *value) for n, value in zip(number, values, strict=True)]


def test_the_market_is_the_sum_of_its_sectors() -> None:
    rows = sales(
        (0, "Tools", 60.0, 30.0, 10.0, evening(0), 0), (0, "Toys", 40.0, 8.0, 2.0, evening(0), 0)
    )
    states = market_sales_states(rows, TOKYO, UNTIL)

    # 60 + 40, 30 + 8, 10 + 2
    assert states.select("selling", "restricted", "exempt").rows() == [(100.0, 38.0, 12.0)]
    assert states["event_date"].to_list() == [day(0)]


def test_a_correction_of_a_sector_makes_a_new_sum_and_leaves_the_old_one() -> None:
    rows = sales(
        (0, "Tools", 60.0, 30.0, 10.0, evening(0), 0),
        (0, "Toys", 40.0, 8.0, 2.0, evening(0), 0),
        (0, "Toys", 41.0, 8.0, 2.0, evening(3), 1),
    )
    states = market_sales_states(in_contract_order(rows, "sector"), TOKYO, UNTIL)

    assert states["selling"].to_list() == [100.0, 101.0]
    assert (session_numbers(states, TOKYO) - FIRST).tolist() == [1, 4]


def test_a_report_is_the_position_of_its_holder_from_the_session_that_knows_it() -> None:
    # The position of session 0, published on the evening of 1, is known at 2: two sessions old.
    assert held(report(0, 0.006, 2, shares=600.0)) == [
        (2, 0.006, 1, 0.006, 600.0, 0, 2),
        (62, 0.0, 0, 0.0, 0.0, 60, 62),
    ]


def test_a_report_replaces_the_holders_last_one() -> None:
    rows = [report(0, 0.006, 2), report(5, 0.009, 7, shares=90.0)]

    assert held(*rows)[:2] == [(2, 0.006, 1, 0.006, 100.0, 0, 2), (7, 0.009, 1, 0.009, 90.0, 0, 2)]


def test_positions_of_several_holders_add_up() -> None:
    other = ("X", "", "Master Fund")  # another fund of the same seller is another holder
    rows = [report(0, 0.006, 2), report(1, 0.0075, 4, holder=other, shares=50.0)]

    found = held(*rows, until=61)
    assert [row[:5] for row in found] == [
        (2, 0.006, 1, 0.006, 100.0),
        (4, 0.006 + 0.0075, 2, 0.0075, 150.0),
    ]


def test_a_holder_below_the_threshold_counts_in_the_total_and_not_as_a_holder() -> None:
    rows = [report(0, 0.005, 2), report(5, 0.0049, 7)]

    assert [row[1:4] for row in held(*rows, until=50)] == [(0.005, 1, 0.005), (0.0049, 0, 0.0049)]


def test_a_holder_that_falls_silent_is_forgotten() -> None:
    other = ("Y", "", "")
    rows = [report(0, 0.006, 2), report(30, 0.007, 32, holder=other)]

    # X falls silent at 2 + 60 = 62, thirty sessions after Y's report; Y at 92.
    assert [(row[0], *row[1:4], row[5]) for row in held(*rows)] == [
        (2, 0.006, 1, 0.006, 0),
        (32, 0.006 + 0.007, 2, 0.007, 0),
        (62, 0.007, 1, 0.007, 30),
        (92, 0.0, 0, 0.0, 60),
    ]


def test_a_silence_that_is_not_over_closes_nothing() -> None:
    assert [row[0] for row in held(report(0, 0.006, 2), until=61)] == [2]


def test_a_holder_that_reports_again_in_time_is_not_forgotten() -> None:
    rows = [report(0, 0.006, 2), report(50, 0.006, 61)]

    assert [row[0] for row in held(*rows, until=110)] == [2, 61]


def test_a_report_that_comes_late_about_an_earlier_day_changes_nothing() -> None:
    rows = [report(5, 0.009, 7), report(0, 0.006, 9)]

    assert [row[:2] for row in held(*rows, until=50)] == [(7, 0.009)]


def test_a_corrected_report_counts_from_its_correction_on() -> None:
    rows = [report(0, 0.06, 2), report(0, 0.006, 10, revision=1)]

    assert [row[:2] for row in held(*rows, until=50)] == [(2, 0.06), (10, 0.006)]


def test_symbols_do_not_feel_each_other() -> None:
    own = report(0, 0.006, 2)
    both = positions(own, report(3, 0.02, 5, symbol="B"))
    states = position_states(both, TOKYO, UNTIL)

    alone = position_states(positions(own), TOKYO, UNTIL)
    assert states.filter(symbol="A").equals(alone)


def random_reports(seed: int) -> pl.DataFrame:
    """Return reports of four holders in two symbols, some late, some corrected."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(60):
        n = int(rng.integers(0, 100))
        known = n + int(rng.choice([1, 2, 2, 3, 15, 40]))
        who = (str(rng.choice(["X", "Y"])), "", str(rng.choice(["", "Fund"])))
        size = float(np.round(rng.choice([0.0, 0.003, 0.0061, 0.0123]) * (1 + rng.random()), 4))
        symbol = str(rng.choice(["A", "B"]))
        rows.append(report(n, size, known, symbol=symbol, holder=who, shares=1e6 * size))
        if rng.random() < 0.2:
            more = known + int(rng.integers(1, 30))
            rows.append(report(n, size + 0.001, more, symbol=symbol, holder=who, revision=1))
    key = [*SHORT_POSITIONS.key, "revision"]
    return positions(*rows).unique(key, keep="first", maintain_order=True)


def slow_position(
    rows: pl.DataFrame, symbol: str, number: int
) -> tuple[float, int, float, float, int, int] | None:
    """Return what is live at a session from a dict of each holder's best report."""
    best: dict[tuple[str, str, str], tuple[tuple[date, datetime, int], int, int, float, float]] = {}
    told: list[tuple[int, int]] = []
    effective = TOKYO.effective(rows["available_at"].to_numpy()).tolist()
    in_time = sorted(
        (pair for pair in zip(effective, rows.to_dicts(), strict=True) if pair[0] <= number),
        key=lambda pair: (pair[0], pair[1]["event_date"], pair[1]["available_at"]),
    )
    for known, row in in_time:
        if row["symbol"] != symbol:
            continue
        who = (row["seller"], row["client"], row["fund"])
        rank = (row["event_date"], row["available_at"], row["revision"])
        if who in best and rank < best[who][0]:
            continue
        about = int(TOKYO.index_of(row["event_date"]))
        best[who] = (rank, known, about, row["ratio"], row["shares"])
        told.append((known, about))
    if not told:
        return None
    live = [best[who][3:] for who in sorted(best) if number - best[who][1] < SILENCE]
    total, shares = 0.0, 0.0
    for ratio, size in live:
        total, shares = total + ratio, shares + size
    known, about = max(told)
    largest = max((ratio for ratio, _ in live), default=0.0)
    return total, sum(r >= 0.005 for r, _ in live), largest, shares, number - known, number - about


@pytest.mark.parametrize("seed", range(3))
def test_a_dict_of_holders_gives_the_same(seed: int) -> None:
    rows = random_reports(seed)
    states = position_states(rows, TOKYO, UNTIL + 40)
    for symbol in ("A", "B"):
        own = states.filter(symbol=symbol)
        for number in range(FIRST, UNTIL + 40, 3):
            state, expected = latest(own, number), slow_position(rows, symbol, number)
            if state is None:
                assert expected is None
                continue
            since = number - int(TOKYO.index_of(state["event_date"]))
            got = [state[n] for n in ("total", "n_holders", "max_holder", "shares")]
            got += [state["idle"] + since, state["lag"] + since]  # type: ignore[operator]
            assert tuple(got) == expected, (symbol, number)


@pytest.mark.parametrize("seed", range(2))
def test_positions_keep_the_promises_of_states(seed: int) -> None:
    rows = random_reports(seed)
    assert_only_the_past_counts(position_states, rows, "symbol", UNTIL, every=3)
    assert_the_last_session_changes_nothing(position_states, rows, "symbol", UNTIL)
    assert_the_order_of_rows_changes_nothing(position_states, rows, "symbol", UNTIL)


def random_sales(seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    cells = []
    for n in range(0, 60, 2):
        for sector in ("Tools", "Toys", "Foods"):
            if rng.random() < 0.1:
                continue
            value = [float(x) for x in 1e9 * rng.random(3)]
            late = timedelta(hours=float(rng.choice([0, 0, 0, 9, 60])))
            cells.append((n, sector, *value, evening(n) + late, 0))
            if rng.random() < 0.2:
                value[0] += 1.0
                cells.append((n, sector, *value, evening(n) + late + timedelta(days=4), 1))
    return sales(*cells)


@pytest.mark.parametrize("seed", range(2))
def test_sums_of_sectors_keep_the_promises_of_states(seed: int) -> None:
    rows = random_sales(seed)
    assert_only_the_past_counts(market_sales_states, rows, None, UNTIL, every=2)
    assert_the_last_session_changes_nothing(market_sales_states, rows, None, UNTIL)
    assert_the_order_of_rows_changes_nothing(market_sales_states, rows, None, UNTIL)


@pytest.mark.parametrize("seed", range(2))
def test_a_loop_over_sectors_gives_the_same_sums(seed: int) -> None:
    rows = random_sales(seed)
    states = market_sales_states(in_contract_order(rows, None), TOKYO, UNTIL)
    for number in range(FIRST, FIRST + 70, 3):
        by_day: dict[date, dict[str, tuple[object, ...]]] = {}
        effective = TOKYO.effective(rows["available_at"].to_numpy()).tolist()
        for known, row in sorted(
            zip(effective, rows.to_dicts(), strict=True), key=lambda pair: pair[1]["revision"]
        ):
            if known <= number:
                value = (row["selling"], row["restricted"], row["exempt"])
                by_day.setdefault(row["event_date"], {})[row["sector"]] = value
        state = latest(states, number)
        if not by_day:
            assert state is None
            continue
        day_told = max(by_day)
        expected = [sum(by_day[day_told][s][k] for s in sorted(by_day[day_told])) for k in range(3)]  # type: ignore[misc]
        assert state is not None
        assert state["event_date"] == day_told
        assert [state[name] for name in ("selling", "restricted", "exempt")] == expected


def test_the_shares_of_a_symbol_are_unknown_while_a_live_report_does_not_tell_them() -> None:
    rows = (
        report(0, 0.006, 1, shares=100.0),
        report(2, 0.007, 3, holder=("Y", "", ""), shares=None),
        report(4, 0.008, 5, holder=("Y", "", ""), shares=40.0),
    )
    # Unknown is not nought: 100; 100 and something; 100 + 40.
    assert [shares for _, _, _, _, shares, *_ in held(*rows, until=10)] == [100.0, None, 140.0]
    assert [total for _, total, *_ in held(*rows, until=10)] == pytest.approx([0.006, 0.013, 0.014])
