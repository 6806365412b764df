"""What the other worlds hold: rows added after the cut, and nothing before it."""

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from alpha_assets.audit.perturb import MIXED_REACH, Insertion, Mixed, Noise, altered
from alpha_assets.feeds import FEEDS
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.store.compare import compare_facts

CUT = np.datetime64("2021-07-13T23:30", "us")  # 14 July, 08:30 in Tokyo
INSTANT = datetime(2021, 7, 13, 23, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def stored(context: RecipeContext) -> dict[str, pl.DataFrame]:
    return {name: table.read().collect() for name, table in context.raw.items() if table.months()}


@pytest.fixture(scope="module")
def inserted(stored: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    return {name: Insertion(CUT, 3).rows(FEEDS[name], rows) for name, rows in stored.items()}


def added(stored: pl.DataFrame, other: pl.DataFrame, key: tuple[str, ...]) -> pl.DataFrame:
    return other.join(stored, on=[*key, "revision"], how="anti")


def test_what_was_known_at_the_cut_is_as_it_was(
    stored: dict[str, pl.DataFrame], inserted: dict[str, pl.DataFrame]
) -> None:
    for name, rows in stored.items():
        known, other = (
            side.filter(pl.col("available_at") <= INSTANT) for side in (rows, inserted[name])
        )
        assert known.equals(other), name


def test_every_feed_gets_rows_that_its_store_takes(
    stored: dict[str, pl.DataFrame], inserted: dict[str, pl.DataFrame]
) -> None:
    for name, rows in stored.items():
        feed = FEEDS[name]
        new = added(rows, inserted[name], feed.key)
        assert new.height, name
        assert inserted[name].select([*feed.key, "revision"]).is_unique().all(), name
        assert new["available_at"].min() > INSTANT, name  # type: ignore[operator]
    assert altered(stored, inserted) > 20 * len(stored)


def test_bars_get_corrections_late_rows_and_new_symbols(
    stored: dict[str, pl.DataFrame], inserted: dict[str, pl.DataFrame]
) -> None:
    bars = stored["daily_bars"]
    new = added(bars, inserted["daily_bars"], ("event_date", "symbol"))
    corrections = new.join(bars, on=["event_date", "symbol"], how="semi")
    unheard_of = new.filter(~pl.col("symbol").is_in(bars["symbol"].unique().implode()))
    late = new.join(corrections, on=["event_date", "symbol"], how="anti").join(
        unheard_of, on=["event_date", "symbol"], how="anti"
    )

    assert corrections["revision"].min() == 1
    assert (corrections["adjustment_factor"] == 0.5).sum() > 5
    assert unheard_of["symbol"].n_unique() == 2
    assert unheard_of["event_date"].min() == bars["event_date"].min()
    assert (late["event_date"] < INSTANT.date()).all()
    # A month of publication of its own holds nothing but old days: a last bar that is asked
    # of the newest month is an old one.
    last = new.filter(pl.col("available_at") == pl.col("available_at").max())
    assert last["available_at"].min() > bars["available_at"].max()  # type: ignore[operator]
    assert last["event_date"].max() < date(2021, 7, 1)  # type: ignore[operator]


def test_sectors_and_members_change(
    stored: dict[str, pl.DataFrame], inserted: dict[str, pl.DataFrame]
) -> None:
    before = stored["listings"]
    new = added(before, inserted["listings"], ("event_date", "symbol"))
    both = new.join(before, on=["event_date", "symbol"], suffix="_before")
    assert (both["sector"] != both["sector_before"]).any()

    members = pl.DataFrame(
        {
            "event_date": [date(2021, 1, 4)] * 3,
            "symbol": ["1", "2", "3"],
            "member": [True, False, True],
            "available_at": [datetime(2021, 1, 3, 15, tzinfo=UTC)] * 3,
            "ingested_at": [datetime(2021, 1, 3, 15, tzinfo=UTC)] * 3,
            "revision": pl.Series([0, 0, 0], dtype=pl.Int16),
        },
        schema_overrides=FEEDS["membership"].schema,
    ).select(list(FEEDS["membership"].schema))
    later = Insertion(CUT, 3).rows(FEEDS["membership"], members)
    turned = later.filter(pl.col("revision") == 1)
    assert turned.height == 3
    assert set(turned["member"].to_list()) <= {True, False}
    assert later["symbol"].n_unique() == 5  # and two that nobody had heard of


def test_side_values_that_come_later_are_empty_where_they_may_be(
    stored: dict[str, pl.DataFrame], inserted: dict[str, pl.DataFrame]
) -> None:
    # So that what counts a column over the whole sample counts another number.
    later = pl.col("available_at") > INSTANT
    before = stored["valuation"].filter(later)["forward_per"]
    after = inserted["valuation"].join(
        stored["valuation"].filter(later).select("event_date", "symbol", "revision"),
        on=["event_date", "symbol", "revision"],
        how="semi",
    )["forward_per"]
    assert before.is_not_null().sum() > 100
    assert after.is_not_null().sum() == 0


def test_a_mixed_world_has_gaps_noise_and_additions(stored: dict[str, pl.DataFrame]) -> None:
    bars = stored["daily_bars"]
    mixed = Mixed(CUT, 3).rows(FEEDS["daily_bars"], bars)
    later = pl.col("available_at") > INSTANT

    assert mixed.filter(~later).equals(bars.filter(~later))
    near = bars.filter(later, pl.col("available_at") <= INSTANT + MIXED_REACH)
    both = near.join(mixed, on=["event_date", "symbol", "revision"], suffix="_other")
    assert 0.4 < both.height / near.height < 0.6
    assert (both["close"] != both["close_other"]).mean() > 0.9  # type: ignore[operator]
    assert added(bars, mixed, ("event_date", "symbol")).height > 50


def test_facts_differ_leaf_by_leaf() -> None:
    here = {"card": {"symbols": ["a", "b"], "valid_rank_ic": -0.048, "parent": None}}
    there = {"card": {"symbols": ["a", "c"], "valid_rank_ic": -0.0536}}

    found = compare_facts("card", "2021-07", here, there)

    assert (found.cells, found.changed) == (4, 3)
    assert str(found.first) == "card 2021-07 card.symbols[1]: 'b' became 'c'"
    assert compare_facts("card", "2021-07", {"x": float("nan")}, {"x": float("nan")}).changed == 0


@pytest.mark.parametrize("kind", ["all one vector", "nearly all one vector", "nearly all none"])
def test_vectors_that_hardly_ever_vary_change_after_the_cut(kind: str) -> None:
    feed = FEEDS["news"]
    width = feed.schema["embedding"].shape[0]  # type: ignore[union-attr]
    vectors = np.zeros((200, width), dtype=np.float32)
    vectors[:] = 0.5
    if kind != "all one vector":
        vectors[::40] = np.arange(5)[:, None] + 1
    stamps = [
        INSTANT.replace(year=2020) if n < 100 else INSTANT.replace(month=9) for n in range(200)
    ]
    rows = pl.DataFrame(
        {
            "event_date": [date(2021, 1, 4)] * 200,
            "symbol": [str(n) for n in range(200)],
            "article": ["1"] * 200,
            "embedding": pl.Series(vectors, dtype=feed.schema["embedding"]),
            "available_at": stamps,
            "ingested_at": stamps,
            "revision": pl.Series([0] * 200, dtype=pl.Int16),
        }
    )
    if kind == "nearly all none":
        is_usual = pl.Series(vectors[:, 0] == 0.5)
        rows = rows.with_columns(embedding=pl.when(~is_usual).then("embedding"))

    other = Noise(CUT, 3).rows(feed, rows)
    changed = rows["embedding"].ne_missing(other["embedding"])
    assert changed[:100].sum() == 0
    assert 30 < changed[100:].sum() < 75  # half of them, as of a flag that is hardly ever set
    assert other.schema == rows.schema
