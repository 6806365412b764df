"""Margin balances and issues under watch: by hand, and against a set of each publication."""

from datetime import UTC, date, datetime, time

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

from alpha_assets.feeds.margin import MARGIN, MARGIN_ALERTS, REASONS
from alpha_assets.panel.states.margin import alert_states, board_states, margin_states

FIRST = int(TOKYO.index_of(SESSIONS[0]))
UNTIL = FIRST + 80
ISSUES = ("A", "B", "C")


def balance(
    event: str, known_on: str, published: str | None, long: float = 900.0, short: float = 100.0
) -> pl.DataFrame:
    """Return one balance, public at 16:30 of a day."""
    stamp = datetime.combine(date.fromisoformat(known_on), time(16, 30), tzinfo=TOKYO.zone)
    row = {
        "event_date": date.fromisoformat(event),
        "symbol": "A",
        "published": None if published is None else date.fromisoformat(published),
        "issue_type": "2",
        "short": short,
        "long": long,
        "long_standard": 0.7 * long,
        "available_at": stamp.astimezone(UTC),
        "revision": 0,
    }
    return pl.DataFrame([row], schema=MARGIN.schema)


@pytest.mark.parametrize(
    ("event", "known_on", "published", "lag", "is_week_end", "is_daily"),
    [
        # Friday's weekly balance, published on Tuesday, is known on Wednesday: 14, 15, 16.
        ("2026-09-11", "2026-09-15", None, 3, 1, 0),
        # Over Silver Week: 24, 25, 28.
        ("2026-09-18", "2026-09-25", None, 3, 1, 0),
        # A Thursday before a Friday that is a session; Monday 20 is a holiday: 17, 21, 22.
        ("2026-07-16", "2026-07-21", None, 3, 0, 0),
        # Daily: Friday, the week's last; then Monday.
        ("2026-09-25", "2026-09-28", "2026-09-28", 2, 1, 1),
        ("2026-09-28", "2026-09-29", "2026-09-29", 2, 0, 1),
        # Friday 9 is followed by a holiday: 13, 14.
        ("2026-10-09", "2026-10-13", "2026-10-13", 2, 1, 1),
        # The year's last session is a Wednesday; the next one is Monday 4 January.
        ("2026-12-30", "2027-01-04", "2027-01-04", 2, 1, 1),
    ],
)
def test_a_balance_says_how_old_it_is_and_whether_it_ends_its_week(
    event: str, known_on: str, published: str | None, lag: int, is_week_end: int, is_daily: int
) -> None:
    states = margin_states(balance(event, known_on, published), TOKYO, UNTIL)

    assert states.select("lag", "is_week_end", "is_daily").row(0) == (lag, is_week_end, is_daily)


def test_a_balance_enters_as_it_was_published() -> None:
    states = margin_states(balance("2026-09-11", "2026-09-15", None), TOKYO, UNTIL)

    assert states.select("long", "short", "long_standard", "short_standard", "issue_type").row(
        0
    ) == (900.0, 100.0, 630.0, None, 2.0)


def test_a_late_balance_is_as_much_older() -> None:
    # Known on Friday 18 instead of Wednesday 16.
    states = margin_states(balance("2026-09-11", "2026-09-17", None), TOKYO, UNTIL)

    assert states["lag"].to_list() == [5.0]


def test_balances_keep_the_promises_of_states() -> None:
    rows = pl.concat(
        balance(str(day(n)), str(day(n + 2 + n % 3)), None, long=100.0 * n) for n in range(60)
    )
    assert_only_the_past_counts(margin_states, rows, "symbol", UNTIL, every=5)
    assert_the_last_session_changes_nothing(margin_states, rows, "symbol", UNTIL)
    assert_the_order_of_rows_changes_nothing(margin_states, rows, "symbol", UNTIL)


def alert(symbol: str, n: int, known: int | None = None, **changes: object) -> dict[str, object]:
    """Return an alert of session n, published on the evening of the session after."""
    stamp = evening((n + 2 if known is None else known) - 1).astimezone(UTC)
    row: dict[str, object] = {
        "event_date": day(n),
        "symbol": symbol,
        "published": stamp.date(),
        **dict.fromkeys(REASONS, False),
        "daily_publication": True,
        "short": 200.0,
        "short_change": 20.0,
        "short_ratio": 2.0,
        "long": 800.0,
        "long_change": -80.0,
        "long_ratio": 8.0,
        "short_to_long": 25.0,
        "stage": "002",
        "available_at": stamp,
        "revision": 0,
    }
    assert set(changes) <= set(row)
    return row | changes


def alerts(*rows: dict[str, object]) -> pl.DataFrame:
    return in_contract_order(pl.DataFrame(rows, schema=MARGIN_ALERTS.schema), "symbol")


def watched(rows: pl.DataFrame, symbol: str, *sessions: int) -> list[tuple[object, ...] | None]:
    """Return (listed, sessions since the entry, long) as known at some sessions."""
    states = alert_states(rows, TOKYO, UNTIL).filter(symbol=symbol)
    found: list[tuple[object, ...] | None] = []
    for session in sessions:
        state = latest(states, FIRST + session)
        if state is None:
            found.append(None)
            continue
        known = TOKYO.effective(
            np.datetime64(state["available_at"].replace(tzinfo=None))  # type: ignore[attr-defined]
        )
        since = FIRST + session - int(known)
        found.append((state["listed"], state["spell"] + since, state["long"]))  # type: ignore[operator]
    return found


def test_an_issue_is_under_watch_until_a_publication_lacks_it() -> None:
    rows = alerts(*[alert("A", n) for n in range(4)], alert("B", 0), alert("B", 1), alert("B", 3))

    # Session 0 is known at 2.  B is lacking in what is known at 4, and back at 5.
    assert watched(rows, "A", 1, 2, 3, 5) == [None, (1, 0, 800), (1, 1, 800), (1, 3, 800)]
    assert watched(rows, "B", 1, 2, 3, 4, 5, 6) == [
        None,
        (1, 0, 800),
        (1, 1, 800),
        (0, 2, 0),
        (1, 0, 800),
        (1, 1, 800),
    ]


def test_another_issue_that_comes_does_not_keep_one_that_leaves() -> None:
    rows = alerts(alert("A", 0), alert("B", 1), alert("B", 2))

    assert watched(rows, "A", 2, 3, 4) == [(1, 0, 800), (0, 1, 0), (0, 2, 0)]


def test_a_session_without_a_publication_removes_nobody() -> None:
    rows = alerts(alert("A", 0), alert("A", 3), alert("B", 0), alert("B", 3))

    assert watched(rows, "A", 3, 4, 5) == [(1, 1, 800), (1, 2, 800), (1, 3, 800)]


def test_an_issue_that_left_is_all_zeros_with_the_sessions_since_it_came() -> None:
    states = alert_states(alerts(alert("A", 0), alert("B", 0), alert("B", 1)), TOKYO, UNTIL)
    left = latest(states.filter(symbol="A"), FIRST + 3)

    assert left is not None
    assert (left["spell"], left["short_to_long"], left["event_date"]) == (1, None, day(1))
    zeros = ["listed", "short", "long", "short_change", "long_change", "short_ratio", "stage"]
    assert [left[name] for name in (*zeros, *[f"is_{name}" for name in REASONS])] == [0.0] * 13


def test_a_correction_changes_the_balance_and_not_the_entry() -> None:
    wrong, right = alert("A", 1, long=900.0), alert("A", 1, known=4, long=800.0, revision=1)
    rows = alerts(alert("A", 0), wrong, right)

    # Entered at 2; wrong from 3, right from 4 on.
    assert watched(rows, "A", 2, 3, 4) == [(1, 0, 800), (1, 1, 900), (1, 2, 800)]


def test_a_correction_is_no_publication() -> None:
    rows = alerts(
        alert("A", 0), alert("B", 0), alert("A", 1), alert("B", 1),
        alert("A", 1, known=8, long=1.0, revision=1),
    )  # fmt: skip

    assert watched(rows, "B", 8) == [(1, 6, 800)]
    assert board_states(rows, TOKYO, UNTIL)["listed"].to_list() == [2.0, 2.0]


def test_a_late_row_leaves_a_gap_only_until_it_comes() -> None:
    # A's row of session 1 is known at 6 instead of 3; B tells of each publication.
    rows = alerts(
        *[alert("A", n, long=100.0 + n) for n in (0, 2, 3, 5)],
        alert("A", 1, known=6),
        *[alert("B", n) for n in (0, 1, 2, 3, 5)],
    )

    assert watched(rows, "A", 2, 3, 4, 5, 6, 7) == [
        (1, 0, 100),
        (0, 1, 0),  # the publication of session 1 lacks it, as far as anyone can know
        (1, 0, 102),
        (1, 1, 103),
        (1, 4, 103),  # it was there all the time: under watch since 2
        (1, 5, 105),
    ]


def test_a_row_that_comes_with_the_next_publication_breaks_no_spell() -> None:
    rows = alerts(
        *[alert("A", n, long=100.0 + n) for n in (0, 2, 3)],
        alert("A", 1, known=4),
        *[alert("B", n) for n in range(4)],
    )

    assert watched(rows, "A", 2, 3, 4, 5) == [(1, 0, 100), (0, 1, 0), (1, 2, 102), (1, 3, 103)]


def test_a_late_row_of_an_issue_that_a_newer_publication_lacks_does_not_list_it() -> None:
    rows = alerts(alert("A", 0, known=5), *[alert("B", n) for n in range(3)])

    assert watched(rows, "A", 4, 5, 6) == [None, (0, 0, 0), (0, 1, 0)]


def test_a_publication_that_is_late_as_a_whole_removes_nobody() -> None:
    # What is published of session 1 says nothing of B, and comes after that of session 2.
    rows = alerts(alert("A", 1, known=7), *[alert(s, n) for s in "AB" for n in (0, 2)])

    assert watched(rows, "B", 2, 4, 7) == [(1, 0, 800), (1, 2, 800), (1, 5, 800)]
    assert watched(rows, "A", 2, 4, 7) == [(1, 0, 800), (1, 2, 800), (1, 5, 800)]


def test_a_late_row_lengthens_the_list_of_the_newest_publication_only() -> None:
    rows = alerts(alert("A", 0), alert("B", 0, known=3), alert("A", 2), alert("B", 1, known=9))
    states = board_states(rows, TOKYO, UNTIL)

    assert states.select("event_date", "listed").rows() == [
        (day(2), 1.0),
        (day(3), 2.0),
        (day(4), 1.0),
    ]


def test_a_correction_of_an_issue_that_has_left_does_not_bring_it_back() -> None:
    rows = alerts(
        alert("A", 0), alert("B", 0), alert("B", 1), alert("A", 0, known=6, long=1.0, revision=1)
    )

    assert watched(rows, "A", 5, 6, 9) == [(0, 3, 0), (0, 4, 0), (0, 7, 0)]


@pytest.mark.parametrize(
    ("code", "order"),
    [("001", 1), ("002", 2), ("003", 3), ("006", 6), ("101", -1), ("102", 7), ("999", None)],
)
def test_stages_are_put_in_order(code: str, order: int | None) -> None:
    states = alert_states(alerts(alert("A", 0, stage=code)), TOKYO, UNTIL)

    assert states["stage"].to_list() == [order]


def test_every_reason_has_its_own_column() -> None:
    for reason in REASONS:
        row = alert("A", 0, **{name: name == reason for name in REASONS})
        state = alert_states(alerts(row), TOKYO, UNTIL).row(0, named=True)
        assert [name for name in REASONS if state[f"is_{name}"] == 1] == [reason]


def test_the_board_counts_the_issues_of_each_publication() -> None:
    rows = alerts(alert("A", 0), alert("B", 0), alert("A", 1))
    states = board_states(rows, TOKYO, UNTIL)

    assert states.select("event_date", "listed").rows() == [(day(2), 2.0), (day(3), 1.0)]


def random_alerts(seed: int, late: bool) -> pl.DataFrame:
    """Return alerts of three issues that come and go; some sessions have no publication."""
    rng = np.random.default_rng(seed)
    inside = dict.fromkeys(ISSUES, False)
    rows = []
    for n in range(60):
        silent = rng.random() < 0.15
        for symbol in ISSUES:
            inside[symbol] = bool(rng.random() < (0.8 if inside[symbol] else 0.2))
            if silent or not inside[symbol]:
                continue
            known = n + 2 + (int(rng.integers(0, 4)) if late and rng.random() < 0.2 else 0)
            long = float(rng.integers(1, 1000))
            rows.append(alert(symbol, n, known, long=long))
            if rng.random() < 0.15:
                more = known + int(rng.integers(1, 6))
                rows.append(alert(symbol, n, more, long=long + 0.5, revision=1))
    return alerts(*rows)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_a_set_of_each_publication_gives_the_same(seed: int, late: bool) -> None:
    rows = random_alerts(seed, late)
    effective = (TOKYO.effective(rows["available_at"].to_numpy()) - FIRST).tolist()
    told = list(zip(effective, rows.to_dicts(), strict=True))
    for symbol in ISSUES:
        expected: list[tuple[object, ...] | None] = []
        entered: int | None = None
        for session in range(75):
            known = [(k, row) for k, row in told if k <= session and row["revision"] == 0]
            sets: dict[date, dict[str, int]] = {}
            for k, row in known:
                sets.setdefault(row["event_date"], {})[row["symbol"]] = k
            # A day that was first told of after a later one is no publication.
            days = [
                one
                for one in sorted(sets)
                if all(min(sets[one].values()) <= min(sets[d].values()) for d in sets if d > one)
            ]
            is_inside = bool(days) and symbol in sets[days[-1]]
            if is_inside:
                for one in reversed(days):
                    if symbol not in sets[one]:
                        break
                    entered = sets[one][symbol]
            elif entered is None:
                entered = next((k for k, row in known if row["symbol"] == symbol), None)
            if entered is None:
                expected.append(None)
                continue
            versions = [
                (row["event_date"], row["available_at"], row["revision"], row["long"])
                for k, row in told
                if row["symbol"] == symbol and k <= session and row["event_date"] == days[-1]
            ]
            long = max(versions)[3] if is_inside else 0.0
            expected.append((float(is_inside), session - entered, long))
        assert watched(rows, symbol, *range(75)) == expected


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("states", [alert_states, board_states])
def test_alerts_keep_the_promises_of_states(states: object, seed: int, late: bool) -> None:
    key = "symbol" if states is alert_states else None
    rows = random_alerts(seed, late)
    assert_only_the_past_counts(states, rows, key, UNTIL, every=3)  # type: ignore[arg-type]
    assert_the_last_session_changes_nothing(states, rows, key, UNTIL)  # type: ignore[arg-type]
    assert_the_order_of_rows_changes_nothing(states, rows, key, UNTIL)  # type: ignore[arg-type]


def test_no_alerts_give_no_states() -> None:
    assert alert_states(alerts(), TOKYO, UNTIL).height == 0
    assert board_states(alerts(), TOKYO, UNTIL).height == 0
