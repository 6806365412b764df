"""Weeks of investors' trades against their own past: by hand, and against pandas."""

from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest
from tests.panel.market import TOKYO
from tests.panel.states.promises import (
    assert_only_the_past_counts,
    assert_the_last_session_changes_nothing,
    assert_the_order_of_rows_changes_nothing,
    in_contract_order,
    latest,
)

from alpha_assets.feeds.flows import INVESTOR_TYPES, INVESTORS
from alpha_assets.panel.states import flows
from alpha_assets.panel.states.flows import FLOW_COLUMNS, flow_states, market_flow_states

FIRST_WEEK = date(2021, 10, 1)  # a Friday; the sections change in the week of 2022-04-08
UNTIL = int(TOKYO.index_of(np.datetime64("2023-06-30")))


def week(
    n: int, section: str, *, delay: int = 6, revision: int = 0, **trades: float
) -> dict[str, object]:
    """Return the trades of week n, public at 18:00 some days after its end; others trade 10."""
    end = FIRST_WEEK + timedelta(weeks=n)
    published = end + timedelta(days=delay)
    stamp = datetime.combine(published, time(18), tzinfo=TOKYO.zone).astimezone(UTC)
    row: dict[str, object] = {
        "event_date": end,
        "section": section,
        "start": end - timedelta(days=4),
        "published": published,
        **{f"{who}_{side}": 10.0 for who in INVESTORS for side in ("sell", "buy")},
        "available_at": stamp,
        "revision": revision,
    }
    assert set(trades) <= set(row)
    return row | trades


def weeks(*rows: dict[str, object]) -> pl.DataFrame:
    return in_contract_order(pl.DataFrame(rows, schema=INVESTOR_TYPES.schema), "section")


def of_foreigners(buy: float, sell: float, total: float = 1000.0) -> dict[str, float]:
    return {
        "foreigners_buy": buy, "foreigners_sell": sell,
        "total_buy": total / 2, "total_sell": total / 2,
    }  # fmt: skip


def foreigners(states: pl.DataFrame, *what: str) -> list[tuple[float | None, ...]]:
    order = states.sort("available_at")
    return order.select(f"foreigners_{name}" for name in what).rows()


def test_a_week_by_hand() -> None:
    states = flow_states(weeks(week(0, "Prime", **of_foreigners(60.0, 40.0))), TOKYO, UNTIL)

    # (60 - 40) / 100, 100 / 1000, (60 - 40) / 1000
    assert foreigners(states, "net", "share", "imp", "z", "chg") == [(0.2, 0.1, 0.02, None, None)]
    assert states.select("event_date", "section", "is_spliced").row(0) == (FIRST_WEEK, "Prime", 0.0)


def test_the_change_is_against_the_mean_of_four_weeks() -> None:
    bought = [60.0, 50.0, 40.0, 90.0]
    rows = weeks(*[week(n, "Prime", **of_foreigners(buy, 40.0)) for n, buy in enumerate(bought)])
    changes = [row[0] for row in foreigners(flow_states(rows, TOKYO, UNTIL), "chg")]

    # imp = .02, .01, 0, .05: mean .02
    assert changes[:3] == [None] * 3
    assert changes[3] == pytest.approx(0.05 - 0.02, abs=1e-15)


def test_sections_that_became_one_are_added_up() -> None:
    rows = weeks(
        week(0, "Second Section", **of_foreigners(60.0, 40.0)),
        week(0, "JASDAQ Standard", **of_foreigners(10.0, 20.0, 200.0)),
        week(0, "JASDAQ Growth", **of_foreigners(0.0, 0.0, 300.0)),
        week(0, "First Section", **of_foreigners(70.0, 30.0)),
        week(0, "Mothers", **of_foreigners(5.0, 5.0)),
    )
    states = flow_states(rows, TOKYO, UNTIL)

    found = {row["section"]: row["foreigners_imp"] for row in states.to_dicts()}
    # Standard: (70 - 60) / 1500
    assert found == {"Prime": 0.04, "Standard": 10 / 1500, "Growth": 0.0}


def test_the_whole_exchange_is_its_own_line_and_no_section() -> None:
    rows = weeks(
        week(0, "All", **of_foreigners(60.0, 40.0)), week(0, "Prime", **of_foreigners(1.0, 2.0))
    )

    assert foreigners(market_flow_states(rows, TOKYO, UNTIL), "imp") == [(0.02,)]
    assert flow_states(rows, TOKYO, UNTIL)["section"].to_list() == ["Prime"]
    assert "section" not in market_flow_states(rows, TOKYO, UNTIL).columns


def test_a_section_that_nobody_knows_enters_nowhere() -> None:
    assert flow_states(weeks(week(0, "Tokyo PRO Market")), TOKYO, UNTIL).height == 0


def test_a_year_that_joins_two_sections_says_so() -> None:
    # 26 weeks of the old section, then the new one; after 52 weeks of it nothing is old.
    rows = [week(n, "First Section" if n < 26 else "Prime") for n in range(80)]
    states = flow_states(weeks(*rows), TOKYO, UNTIL).sort("event_date")

    # Weeks 26 to 76 look back at some of weeks 0 to 25; week 77 at 26 to 77.
    assert states["is_spliced"].to_list() == [0.0] * 26 + [1.0] * 51 + [0.0] * 3


def test_a_correction_counts_from_its_own_moment_on() -> None:
    rows = weeks(
        week(0, "Prime", **of_foreigners(60.0, 40.0)),
        week(0, "Prime", delay=10, revision=1, **of_foreigners(50.0, 40.0)),
    )

    assert foreigners(flow_states(rows, TOKYO, UNTIL), "imp") == [(0.02,), (0.01,)]


def test_a_correction_of_the_week_before_changes_what_the_latest_is_compared_with() -> None:
    rows = weeks(
        *[week(n, "Prime", **of_foreigners(60.0, 40.0)) for n in range(4)],
        week(2, "Prime", delay=15, revision=1, **of_foreigners(100.0, 40.0)),
    )
    states = flow_states(rows, TOKYO, UNTIL).sort("available_at").tail(1)

    # imp = .02, .02, .06, .02: mean .03
    assert states["event_date"].to_list() == [FIRST_WEEK + timedelta(weeks=3)]
    assert foreigners(states, "imp", "chg") == [(0.02, pytest.approx(-0.01, abs=1e-15))]


def test_nobody_who_traded_nothing_has_a_share() -> None:
    rows = weeks(week(0, "Prime", **of_foreigners(0.0, 0.0)))

    assert foreigners(flow_states(rows, TOKYO, UNTIL), "net", "share", "imp") == [(None, 0.0, 0.0)]


def test_a_z_needs_four_fifths_of_a_year() -> None:
    rng = np.random.default_rng(0)
    rows = [week(n, "Prime", **of_foreigners(60.0 + rng.normal(), 40.0)) for n in range(50)]
    z = [row[0] for row in foreigners(flow_states(weeks(*rows), TOKYO, UNTIL), "z")]

    # 42 of 52 weeks
    assert [value is None for value in z] == [True] * 41 + [False] * 9


def random_weeks(seed: int, n_weeks: int = 70) -> pl.DataFrame:
    """Return weeks of two sections and of all, some late, some corrected."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(n_weeks):
        sections = (
            ("First Section", "Second Section", "JASDAQ") if n < 26 else ("Prime", "Standard")
        )
        for section in (*sections, "All"):
            delay = int(rng.choice([6, 6, 6, 6, 9, 30]))
            trades = {
                f"{who}_{side}": float(rng.integers(1, 10**6))
                for who in INVESTORS
                for side in ("sell", "buy")
            }
            rows.append(week(n, section, delay=delay, **trades))
            if rng.random() < 0.1:
                more = delay + int(rng.integers(1, 40))
                rows.append(
                    week(n, section, delay=more, revision=1, **trades | {"banks_buy": 1.0,
                         "foreigners_buy": float(rng.integers(1, 10**6))})
                )  # fmt: skip
    return weeks(*rows)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("who", flows.INVESTORS)
def test_pandas_gives_the_same_figures(seed: int, who: str) -> None:
    rows = random_weeks(seed)
    sessions = range(UNTIL - 370, UNTIL - 60, 29)
    states = market_flow_states(rows, TOKYO, UNTIL)
    effective = TOKYO.effective(rows["available_at"].to_numpy())
    for number in sessions:
        known = rows.filter(pl.Series(effective <= number) & (pl.col("section") == "All"))
        last = known.sort("event_date", "revision").unique("event_date", keep="last")
        frame = pd.DataFrame(last.sort("event_date").to_dicts()).set_index("event_date").tail(52)
        buy, sell = frame[f"{who}_buy"], frame[f"{who}_sell"]
        imp = (buy - sell) / (frame["total_buy"] + frame["total_sell"])
        z = (imp.iloc[-1] - imp.mean()) / imp.std() if len(imp) >= 42 else None
        state = latest(states, number)
        assert state is not None
        assert state["event_date"] == frame.index[-1]
        assert state[f"{who}_net"] == pytest.approx(
            ((buy - sell) / (buy + sell)).iloc[-1], rel=1e-12
        )
        assert state[f"{who}_imp"] == pytest.approx(imp.iloc[-1], rel=1e-12)
        assert state[f"{who}_chg"] == pytest.approx(imp.iloc[-1] - imp.tail(4).mean(), rel=1e-9)
        assert state[f"{who}_z"] == (None if z is None else pytest.approx(z, rel=1e-9))


@pytest.mark.parametrize("states", [flow_states, market_flow_states])
def test_flows_keep_the_promises_of_states(states: object) -> None:
    key = "section" if states is flow_states else None
    rows = random_weeks(5)
    assert_only_the_past_counts(states, rows, key, UNTIL, every=6)  # type: ignore[arg-type]
    assert_the_last_session_changes_nothing(states, rows, key, UNTIL - 250)  # type: ignore[arg-type]
    assert_the_order_of_rows_changes_nothing(states, rows, key, UNTIL)  # type: ignore[arg-type]


def test_no_weeks_give_no_states_of_the_right_kind() -> None:
    for states in (flow_states(weeks(), TOKYO, UNTIL), market_flow_states(weeks(), TOKYO, UNTIL)):
        assert states.height == 0
        assert states.select(list(FLOW_COLUMNS)).width == len(FLOW_COLUMNS)
        assert states.schema["event_date"] == pl.Date
        assert {states.schema[name] for name in FLOW_COLUMNS} == {pl.Float64}
