"""Promises of the panel: nothing later, beside or around a row changes a bit of it."""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.panel.market import SESSIONS, TOKYO, bar, bars, day, evening, random_market

from alpha_assets.panel import PANEL_SCHEMA, build_panel

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


@pytest.mark.parametrize("seed", range(4))
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
    """Return the panel, one row after the other, as the design words it."""
    out = []
    for n in range(LAST + 1):
        now = decided(n)
        for symbol in sorted(set(raw["daily_bars"]["symbol"])):
            row = _row(raw, symbol, n, now, max_stale)
            if row is not None:
                out.append(row)
    return pl.DataFrame(out, schema=PANEL_SCHEMA, orient="row")


def _row(raw: Raw, symbol: str, n: int, now: datetime, max_stale: int) -> dict[str, Any] | None:
    known = _by_session(raw["daily_bars"], symbol, now)
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
    cum, today = 1.0, 1.0
    for effective in sorted({row["effective"] for row in known.values()}):
        today = 1.0
        for k in sorted(known):
            if known[k]["effective"] == effective:
                today *= known[k]["adjustment_factor"]
        cum *= today
        if effective != n:
            today = 1.0
    member = _latest(raw["membership"], symbol, now)
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
    return {
        "session": day(n),
        "symbol": symbol,
        **{name: yesterday.get(name) for name in values},
        "adjustment_factor": today,
        "share_factor": None,
        "cum_factor": cum,
        "n_bars": len(priced),
        "stale": stale,
        **{name: latest[name] if latest else None for name in words},
        "in_membership": bool(member and member["member"]),
        "is_halt": False,
    }


def _by_session(rows: pl.DataFrame, symbol: str, now: datetime) -> dict[int, dict[str, Any]]:
    """Return each bar known now, as it stood when it first became effective."""
    found: dict[int, dict[str, Any]] = {}
    of_symbol = rows.filter((pl.col("symbol") == symbol) & (pl.col("available_at") <= now))
    for row in of_symbol.sort("available_at", "revision").iter_rows(named=True):
        place = SESSIONS.index(row["event_date"])
        effective = _effective(row["available_at"])
        if place not in found or found[place]["effective"] == effective:
            found[place] = row | {"effective": effective}
    return found


def _latest(rows: pl.DataFrame, symbol: str, now: datetime) -> dict[str, Any] | None:
    known = rows.filter((pl.col("symbol") == symbol) & (pl.col("available_at") <= now))
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
