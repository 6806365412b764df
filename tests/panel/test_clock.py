"""Promises of the panel: nothing later, beside or around a row changes a bit of it."""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.panel.market import SESSIONS, TOKYO, bar, bars, day, evening, random_market

from alpha_assets.panel.build import build_panel
from alpha_assets.panel.schema import PANEL_SCHEMA

LAST = 75
seeds = st.integers(0, 10_000)
cuts = st.integers(1, LAST)
quick = settings(max_examples=25, deadline=None)

Raw = dict[str, pl.DataFrame]


def whole(raw: Raw) -> pl.DataFrame:
    return build_panel(raw, TOKYO, day(0), day(LAST))


@cache
def decided(n: int) -> datetime:
    instant = TOKYO.decision(day(n))
    return datetime.fromisoformat(str(instant)).replace(tzinfo=UTC)


def up_to(frame: pl.DataFrame, cut: int) -> pl.DataFrame:
    return frame.filter(pl.col("session") <= day(cut))


def assert_same_bits(one: pl.DataFrame, other: pl.DataFrame) -> None:
    assert one.schema == other.schema
    assert one.height == other.height
    for name in one.columns:
        a, b = one[name], other[name]
        if a.dtype == pl.Float64:
            a, b = a.reinterpret(dtype=pl.UInt64), b.reinterpret(dtype=pl.UInt64)
        assert a.equals(b, null_equal=True), name


@quick
@given(seeds, cuts)
def test_deleting_what_became_readable_later_changes_nothing(seed: int, cut: int) -> None:
    raw = random_market(seed)
    known = {
        name: rows.filter(pl.col("available_at") <= decided(cut)) for name, rows in raw.items()
    }

    assert_same_bits(up_to(whole(raw), cut), up_to(whole(known), cut))


@quick
@given(seeds, cuts)
def test_replacing_what_became_readable_later_changes_nothing(seed: int, cut: int) -> None:
    raw, other = random_market(seed), random_market(seed + 1)
    later = pl.col("available_at") > decided(cut)
    mixed = {name: pl.concat([raw[name].filter(~later), other[name].filter(later)]) for name in raw}
    # The other market's bars may be revisions of bars that are known: they must not matter.
    mixed["daily_bars"] = mixed["daily_bars"].unique(
        ["event_date", "symbol", "available_at", "revision"], keep="first"
    )

    assert_same_bits(up_to(whole(raw), cut), up_to(whole(mixed), cut))


@quick
@given(seeds, cuts, st.integers(0, 30))
def test_any_span_alone_equals_the_slice_of_the_whole(seed: int, start: int, length: int) -> None:
    raw = random_market(seed)
    first, last = day(start), SESSIONS[min(start + length, LAST)]

    slice_of_whole = whole(raw).filter(pl.col("session").is_between(first, last))
    assert_same_bits(build_panel(raw, TOKYO, first, last), slice_of_whole)


@quick
@given(seeds)
def test_other_symbols_change_nothing(seed: int) -> None:
    raw = random_market(seed)
    known = whole(raw)
    crowd = [bar(s, n, 7.0, adjustment_factor=0.9) for s in ("A", "S11", "Z") for n in range(40)]
    raw["daily_bars"] = pl.concat([raw["daily_bars"], bars(crowd)])

    assert_same_bits(
        whole(raw).filter(pl.col("symbol").is_in(known["symbol"].unique().implode())), known
    )


@quick
@given(seeds)
def test_the_order_and_laziness_of_raw_rows_change_nothing(seed: int) -> None:
    raw = random_market(seed)
    shuffled = {
        name: rows.sample(fraction=1, shuffle=True, seed=seed).lazy() for name, rows in raw.items()
    }

    assert_same_bits(build_panel(shuffled, TOKYO, day(0), day(LAST)), whole(raw))


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))]
)
def test_the_panel_is_what_the_clock_says_row_by_row(seed: int) -> None:
    raw = random_market(seed)

    assert_same_bits(whole(raw), by_the_book(raw))


@pytest.mark.parametrize("microseconds", [0, 1])
def test_a_row_counts_at_the_decision_instant_and_not_a_microsecond_later(
    microseconds: int,
) -> None:
    stamp = decided(5) + timedelta(microseconds=microseconds)
    raw = {
        "daily_bars": bars(
            [bar("A", 3, 1.0, available_at=evening(3)), bar("A", 4, 2.0, available_at=stamp)]
        )
    }
    # Once as the last session of the span, which is where rows are cut off, and once inside.
    for last in (5, 9):
        panel = build_panel(raw, TOKYO, day(0), day(last))
        row = panel.row(by_predicate=pl.col("session") == day(5), named=True)
        assert row["close"] == (2.0 if microseconds == 0 else None)


def by_the_book(raw: Raw, max_stale: int = 20) -> pl.DataFrame:
    """Return the panel written out plainly: each session asks what was readable then."""
    rows = []
    for symbol in sorted(raw["daily_bars"]["symbol"].unique()):
        shown = (-1, -1)  # the life and the session of the symbol's last row
        for n in range(LAST + 1):
            row = _row(raw, symbol, n, max_stale, shown)
            if row is not None:
                rows.append(row)
                shown = (row["life"], n)
    return pl.DataFrame(rows, schema=PANEL_SCHEMA).sort("session", "symbol")


def _row(
    raw: Raw, symbol: str, n: int, max_stale: int, shown: tuple[int, int]
) -> dict[str, Any] | None:
    now = decided(n)
    lives = _lives(raw["listings"], symbol, n)
    life = len(lives)
    versions = _by_session(raw["daily_bars"], symbol, now)
    # A bar belongs to the life that was the symbol's when the bar could first be used.
    mine = {}
    for k, told in versions.items():
        then = _lives(raw["listings"], symbol, max(told[0]["effective"], k + 1))
        if sum(day(k) >= start for start, _ in then) == life:
            mine[k] = told
    known = {
        k: [row for row in told if row["effective"] == told[0]["effective"]][-1]
        for k, told in mine.items()
    }
    priced = {k: row for k, row in known.items() if row["close"] is not None}
    latest = _latest(raw["listings"], symbol, now)
    if not priced or (latest and latest["exit"] != "active"):
        return None
    stale = n - 1 - max(priced)
    if stale > max_stale:
        return None
    yesterday = priced.get(n - 1) or {}
    if yesterday and yesterday["effective"] != n:
        yesterday = {}
    cum, today, late = 1.0, 1.0, []
    for effective in range(n + 1):
        today = 1.0
        for k in sorted(mine):
            before = [row for row in mine[k] if row["effective"] < effective]
            by_then = [row for row in mine[k] if row["effective"] <= effective]
            if len(by_then) == len(before):
                continue
            old = before[-1]["adjustment_factor"] if before else 1.0
            ratio = by_then[-1]["adjustment_factor"] / old
            today *= ratio
            unseen = shown[0] != life or shown[1] < effective
            if ratio != 1.0 and effective > k + 1 and unseen:
                late.append((k, effective, ratio))
        cum *= today
    since = None
    if lives:  # from the end of the old life's last day on
        midnight = datetime.combine(lives[-1][1], time(0), TOKYO.zone) + timedelta(days=1)
        since = midnight.astimezone(UTC)
    member = _latest(raw["membership"], symbol, now, since)
    values = (
        "open",
        "high",
        "low",
        "close",
        "volume",
        "turnover_value",
        "upper_limit",
        "lower_limit",
    )
    words = ("ticker", "sector", "market_segment", "shortable")
    learned = [
        {"session": day(k), "ratio": ratio, "volume_ratio": ratio} for k, _, ratio in sorted(late)
    ]
    return {
        "session": day(n),
        "symbol": symbol,
        **{name: yesterday.get(name) for name in values},
        "adjustment_factor": today,
        "share_factor": None,
        "cum_factor": cum,
        "cum_volume_factor": cum,
        "late_factors": learned or None,
        "life": life,
        "n_bars": len(priced),
        "stale": stale,
        **{name: latest[name] if latest else None for name in words},
        "in_membership": bool(member and member["member"]),
        "is_halt": False,
    }


def _lives(listings: pl.DataFrame, symbol: str, n: int) -> list[tuple[date, date]]:
    """Return start, and end of the life before, of each life known at a session but the first."""
    of_symbol = listings.filter(
        (pl.col("symbol") == symbol) & (pl.col("available_at") <= decided(n))
    )
    events = of_symbol.sort("event_date", "available_at", "revision").unique(
        "event_date", keep="last", maintain_order=True
    )
    words = list(zip(events["event_date"], events["exit"], strict=True))
    return [
        (start, end)
        for (end, left), (start, word) in pairwise(words)
        if left != "active" and word == "active"
    ]


def _by_session(rows: pl.DataFrame, symbol: str, now: datetime) -> dict[int, list[dict[str, Any]]]:
    """Return the versions of each bar known now, in the order of publication."""
    found: dict[int, list[dict[str, Any]]] = {}
    of_symbol = rows.filter((pl.col("symbol") == symbol) & (pl.col("available_at") <= now))
    for row in of_symbol.sort("available_at", "revision").iter_rows(named=True):
        place = SESSIONS.index(row["event_date"])
        effective = _effective(row["available_at"])
        found.setdefault(place, []).append(row | {"effective": max(effective, place + 1)})
    return found


def _latest(
    rows: pl.DataFrame, symbol: str, now: datetime, since: datetime | None = None
) -> dict[str, Any] | None:
    known = rows.filter((pl.col("symbol") == symbol) & (pl.col("available_at") <= now))
    if since is not None:
        known = known.filter(pl.col("available_at") >= since)
    ordered = known.sort("event_date", "available_at", "revision")
    return ordered.row(-1, named=True) if ordered.height else None


@cache
def _effective(stamp: datetime) -> int:
    return next(n for n in range(len(SESSIONS)) if decided(n) >= stamp)


def test_the_random_markets_hold_what_they_should() -> None:
    raws = [random_market(seed) for seed in range(12)]
    rows = pl.concat([raw["daily_bars"] for raw in raws])
    frames = [whole(raw) for raw in raws]

    assert rows["close"].null_count() > 20
    assert rows["revision"].max() == 2
    assert sum(_has_gap(frame) for frame in frames) >= 5
    assert np.mean([frame["cum_factor"].max() > 2 for frame in frames]) > 0.5


def _has_gap(frame: pl.DataFrame) -> bool:
    places = frame.select("symbol", n=pl.col("session").map_elements(_place, return_dtype=pl.Int64))
    step = places.select(pl.col("n").diff().over("symbol"))["n"]
    return bool((step > 1).any())


def _place(session: date) -> int:
    return SESSIONS.index(session)
