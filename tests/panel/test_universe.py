"""Who may be held: every rule by hand, and as known at the session alone."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.panel.market import (
    INSTANT,
    TOKYO,
    bar,
    bars,
    day,
    evening,
    listing,
    listings,
    membership,
    random_market,
)

from alpha_assets.arrays.keys import MAX_STALE
from alpha_assets.errors import BadInput, SpecError
from alpha_assets.panel.build import build_panel
from alpha_assets.panel.dense import Late, dense
from alpha_assets.panel.joins import JOINS
from alpha_assets.panel.universe import (
    UniverseSpec,
    check_universe,
    last_price,
    median_at_least,
    universe,
    unknown_symbols,
)

LAST = 75


def members(panel: pl.DataFrame, **rules: Any) -> dict[str, list[int]]:
    """Return, by symbol, the numbers of the sessions at which it is in."""
    found = universe(panel, UniverseSpec(**rules), day(0), day(LAST))
    place = {day(n): n for n in range(LAST + 1)}
    out: dict[str, list[int]] = {}
    for session, symbol in found.rows():
        out.setdefault(symbol, []).append(place[session])
    return out


def built(rows: list[dict[str, Any]], last: int, **others: pl.DataFrame) -> pl.DataFrame:
    return build_panel({"daily_bars": bars(rows), **others}, TOKYO, day(0), day(last))


def test_without_rules_every_panel_row_is_in() -> None:
    panel = built([bar("A", 0, 1.0), bar("B", 2, 1.0)], last=3)

    assert members(panel) == {"A": [1, 2, 3], "B": [3]}


def test_a_symbol_needs_its_minimum_of_bars_halts_not_counted() -> None:
    panel = built([bar("A", n, 1.0) for n in (0, 1, 4)], last=6)

    assert members(panel, min_history=3) == {"A": [5, 6]}


def test_members_and_sectors_are_those_known_at_the_session() -> None:
    spells = membership([("A", 1, True), ("A", 3, False), ("B", 2, True)])
    events = listings([listing("A", 0), listing("B", 0, sector="Toys")])
    rows = [bar(symbol, n, 1.0) for symbol in "ABC" for n in range(4)]
    panel = built(rows, 4, membership=spells, listings=events)

    assert members(panel, membership=True) == {"A": [1, 2], "B": [2, 3, 4]}
    assert members(panel, sectors=("Toys",)) == {"B": [1, 2, 3, 4]}
    assert members(panel, sectors=("Toys", "Tools"), symbols=("A", "C")) == {"A": [1, 2, 3, 4]}


def test_traded_value_is_compared_with_the_median_of_the_window() -> None:
    # close · volume = 10 · 1,000; one day of a hundredfold does not lift the median.
    rows = [bar("A", n, 10.0) for n in range(6)] + [
        bar("B", n, 1_000.0 if n == 2 else 10.0) for n in range(6)
    ]
    rows += [bar("C", n, 10.0, turnover_value=50_000.0) for n in range(6)]
    panel = built(rows, last=6)
    rules = {"min_dollar_volume": 10_001.0, "dollar_volume_window": 5}

    assert members(panel, **rules) == {"C": [4, 5, 6]}  # four of five bars are enough
    assert set(members(panel, **rules | {"min_dollar_volume": 10_000.0})) == {"A", "B", "C"}


def test_a_symbol_without_bars_in_a_fifth_of_the_window_is_out() -> None:
    panel = built([bar("A", n, 10.0) for n in (0, 1, 2, 3, 4, 7, 8, 9, 10)], last=11)
    rules = {"min_dollar_volume": 1.0, "dollar_volume_window": 5}

    # Missing bars of 5 and 6 stand in rows 6 and 7; windows with both have three bars.
    assert members(panel, **rules) == {"A": [4, 5, 6, 11]}


def test_the_price_is_that_of_the_last_close_moved_by_later_splits() -> None:
    idle_split = bar("A", 1, None, adjustment_factor=0.5)
    panel = built([bar("A", 0, 150.0), idle_split, bar("A", 2, 120.0)], last=3)

    # 150, then 75 without a trade, then 120.
    assert members(panel, min_price=100.0) == {"A": [1, 3]}
    assert members(panel, min_price=75.0) == {"A": [1, 2, 3]}


def test_a_close_older_than_twenty_sessions_is_no_price() -> None:
    close_DN = np.full((23, 1), np.nan)
    close_DN[0] = 5.0
    price_DN = last_price(close_DN, np.ones((23, 1)), MAX_STALE)

    assert (price_DN[:21] == 5.0).all()
    assert np.isnan(price_DN[21:]).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 5, 6, 20]))
def test_counting_gives_the_same_answer_as_the_median(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    # Few distinct values, so that medians often equal the limit or lie between two values.
    x_DN = rng.integers(0, 6, (40, 3)).astype(float)
    x_DN[rng.random((40, 3)) < 0.12] = np.nan
    expected_DN = np.zeros((40, 3), dtype=bool)
    for d in range(40):
        for i in range(3):
            window = x_DN[max(d - n + 1, 0) : d + 1, i]
            window = window[~np.isnan(window)]
            expected_DN[d, i] = len(window) >= 0.8 * n and np.median(window) >= 2.5

    assert (median_at_least(x_DN, 2.5, n) == expected_DN).all()


RULES = UniverseSpec(
    min_history=5, min_dollar_volume=98_000.0, dollar_volume_window=6, min_price=90.0
)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(25, 60), st.integers(0, 10))
def test_a_span_with_its_look_back_gives_the_rows_of_the_whole(
    seed: int, start: int, length: int
) -> None:
    raw = random_market(seed)
    whole = build_panel(raw, TOKYO, day(0), day(LAST))
    needed = build_panel(raw, TOKYO, day(start - RULES.lookback(MAX_STALE)), day(start + length))

    asked = (day(start), day(start + length))
    assert universe(needed, RULES, *asked).equals(universe(whole, RULES, *asked))


@pytest.mark.parametrize(
    ("sessions_with_bar", "asked", "rules"),
    [
        # Four bars of five, the oldest of them in the first row of the window.
        ((5, 7, 8, 9), 10, {"min_dollar_volume": 1.0, "dollar_volume_window": 5}),
        ((0,), 21, {"min_price": 1.0}),  # a close 20 sessions old
    ],
)
def test_the_look_back_declared_is_just_enough(
    sessions_with_bar: tuple[int, ...], asked: int, rules: dict[str, Any]
) -> None:
    spec = UniverseSpec(**rules)
    raw = {"daily_bars": bars([bar("A", n, 10.0) for n in sessions_with_bar])}

    def height(lookback: int) -> int:
        panel = build_panel(raw, TOKYO, day(asked - lookback), day(asked))
        return universe(panel, spec, day(asked), day(asked)).height

    assert (height(spec.lookback(MAX_STALE)), height(spec.lookback(MAX_STALE) - 1)) == (1, 0)


def test_every_rule_decides_in_the_random_markets() -> None:
    panels = [build_panel(random_market(s), TOKYO, day(0), day(LAST)) for s in range(4)]
    heights = []
    for without in ({"min_history"}, {"min_dollar_volume"}, {"min_price"}, set[str]()):
        rules = UniverseSpec(**RULES.model_dump(exclude=without))
        heights.append(sum(universe(p, rules, day(0), day(LAST)).height for p in panels))

    assert 0 < heights[3] < min(heights[1:3])
    assert heights[3] <= heights[0]


def test_named_symbols_that_are_not_there_are_reported() -> None:
    panel = built([bar("A", 0, 1.0)], last=1)
    spec = UniverseSpec(symbols=("A", "NOPE"))

    assert unknown_symbols(panel, spec) == ("NOPE",)
    assert unknown_symbols(panel, UniverseSpec()) == ()


def test_a_minimum_price_on_a_level_that_carries_later_splits_is_refused() -> None:
    with pytest.raises(SpecError, match=r"min_price = 5 .* split_adjusted"):
        check_universe(UniverseSpec(min_price=5.0), "split_adjusted", ("daily_bars",))


@pytest.mark.parametrize(
    ("spec", "feed"),
    [
        (UniverseSpec(membership=True), "membership"),
        (UniverseSpec(sectors=("Toys",)), "listings"),
    ],
)
def test_a_rule_whose_feed_is_missing_is_refused(spec: UniverseSpec, feed: str) -> None:
    with pytest.raises(SpecError, match=f"needs the feed '{feed}'"):
        check_universe(spec, "raw", ("daily_bars",))
    check_universe(spec, "raw", ("daily_bars", feed))


def test_rules_that_the_market_can_answer_pass() -> None:
    check_universe(UniverseSpec(min_price=5.0), "raw", ("daily_bars",))
    check_universe(UniverseSpec(min_dollar_volume=5.0), "split_adjusted", ("daily_bars",))


def test_a_symbol_named_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="A stands there twice"):
        UniverseSpec(symbols=("A", "B", "A"))


def test_dense_arrays_hold_each_row_in_its_place_and_nan_elsewhere() -> None:
    panel = built([bar("A", 0, 3.0, upper_limit=True), bar("B", 1, 4.0)], last=2)
    sessions = TOKYO.between(day(1), day(2))
    found = dense(panel, ["close", "upper_limit"], sessions, ["A", "B", "C"])
    nan = np.nan

    np.testing.assert_array_equal(found["close"], [[3.0, nan, nan], [nan, 4.0, nan]])
    np.testing.assert_array_equal(found["upper_limit"], [[1.0, nan, nan], [nan] * 3])
    only = dense(panel, ["close"], sessions[1:], ["B"])
    np.testing.assert_array_equal(only["close"], [[4.0]])


def test_dense_arrays_refuse_two_rows_for_one_cell() -> None:
    panel = built([bar("A", 0, 3.0)], last=1)
    with pytest.raises(BadInput, match=r"share \(session, symbol\), first \('2023-06-02', 'A'\)"):
        dense(pl.concat([panel, panel]), ["close"], TOKYO.between(day(0), day(1)), ["A"])


def test_a_split_that_was_learned_late_moves_no_close_of_its_own_level() -> None:
    # Split 1 to 2 with the bar of row 1, learned at row 3.  A has no bar since row 2 and already
    # stands on the new level, B has none since row 0 and stands on the old one.
    close = np.array([[100.0, 100.0], [50.0, np.nan], [50.0, np.nan], [np.nan, np.nan]])
    cum = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [0.5, 0.5]])
    late = [Late(n, row=3, since=1, ratio=0.5, volume_ratio=0.5) for n in (0, 1)]

    found = last_price(close, cum, MAX_STALE, late=late)
    assert found.tolist() == [[100.0, 100.0], [50.0, 100.0], [50.0, 100.0], [50.0, 50.0]]


def test_history_and_traded_value_are_those_of_the_life() -> None:
    events = listings([listing("A", 0), listing("A", 30, "delisted"), listing("A", 32)])
    rows = [bar("A", n, 100.0) for n in range(31)] + [bar("A", n, 100.0) for n in range(32, 45)]
    panel = build_panel({"daily_bars": bars(rows), "listings": events}, TOKYO, day(0), day(45))
    old = [day(n) for n in range(10, 31)]

    long = universe(panel, UniverseSpec(min_history=10), day(0), day(45))
    assert long["session"].to_list() == [*old, *[day(n) for n in range(42, 46)]]
    rich = UniverseSpec(min_dollar_volume=1.0, dollar_volume_window=10)  # eight of ten known
    traded = universe(panel, rich, day(0), day(45))["session"].to_list()
    assert day(39) not in traded
    assert traded[-6:] == [day(n) for n in range(40, 46)]


def with_articles(
    rows: list[dict[str, Any]], last: int, evenings: dict[str, tuple[int, ...]]
) -> pl.DataFrame:
    """Return a panel with news: articles that came out on the evenings of sessions by number."""
    articles = [
        {"event_date": day(n), "symbol": symbol, "available_at": evening(n)}
        for symbol, numbers in evenings.items()
        for n in numbers
    ]
    news = pl.DataFrame(articles).with_columns(
        pl.lit("1").alias("article"),
        pl.lit(None, pl.Array(pl.Float32, 4)).alias("embedding"),
        pl.col("available_at").cast(INSTANT),
        pl.lit(0, pl.Int16).alias("revision"),
    )
    raw = {"daily_bars": bars(rows), "news": news}
    return build_panel(raw, TOKYO, day(0), day(last), side=[JOINS["news"]])


def test_an_article_must_have_become_known_within_so_many_sessions() -> None:
    rows = [bar(symbol, n, 1.0) for n in range(18) for symbol in "ABC"]
    panel = with_articles(rows, 16, {"A": (2, 11), "B": (0, 1, 15)})

    # Three sessions, the decision's own among them: 3 4 5, then 12 13 14; C has no article.
    assert members(panel, news_within=3) == {"A": [3, 4, 5, 12, 13, 14], "B": [1, 2, 3, 4, 16]}
    assert members(panel, news_within=1) == {"A": [3, 12], "B": [1, 2, 16]}


def test_an_article_of_before_a_listing_or_of_a_halt_is_no_late_one() -> None:
    # A begins 25 sessions after its article; the rows of B end, and return 42 sessions after its.
    rows = [bar("A", n, 1.0) for n in range(30, 60)]
    rows += [bar("B", n, 1.0) for n in (*range(11), *range(45, 60))]
    panel = with_articles(rows, 60, {"A": (5, 49), "B": (3,)})

    found = members(panel, news_within=5)
    assert found == {"A": [50, 51, 52, 53, 54], "B": [4, 5, 6, 7, 8]}


def test_a_span_alone_knows_the_articles_that_its_look_back_reaches() -> None:
    spec = UniverseSpec(news_within=3)
    panel = with_articles([bar("A", n, 1.0) for n in range(18)], 16, {"A": (2, 11)})
    for asked in range(5, 17):
        start = day(asked - spec.lookback(MAX_STALE))
        alone = universe(panel.filter(pl.col("session") >= start), spec, day(asked), day(asked))
        assert alone.height == (asked in (5, 12, 13, 14))


def test_a_market_without_news_has_no_rule_on_them() -> None:
    with pytest.raises(SpecError, match="news_within needs the feed 'news'"):
        check_universe(UniverseSpec(news_within=5), "raw", ("daily_bars",))
    with pytest.raises(ValidationError):
        UniverseSpec(news_within=0)
