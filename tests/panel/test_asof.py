"""The as-of join of side feeds: by hand, against a plain loop, and what it refuses."""

from datetime import UTC, datetime, time, timedelta

import numpy as np
import polars as pl
import pytest
from tests.panel.market import INSTANT, SESSIONS, TOKYO, day, evening

from alpha_assets.errors import FeedError
from alpha_assets.feeds.base import Column, Feed, Publication
from alpha_assets.panel.asof import as_of, join_states
from alpha_assets.panel.joins import plain

SYMBOL = ("symbol", "symbol")


def rows(*cells: tuple[int, str | None, float | None, datetime, int]) -> pl.DataFrame:
    """Return feed rows: session number of the event, key, value, available_at, revision."""
    schema = {
        "event_date": pl.Date,
        "key": pl.String,
        "x": pl.Float64,
        "available_at": INSTANT,
        "revision": pl.Int16,
    }
    columns = [(day(n), key, x, stamp.astimezone(UTC), r) for n, key, x, stamp, r in cells]
    return pl.DataFrame(columns, schema=schema, orient="row")


def left(*sessions: int, key: str | None = "A") -> pl.DataFrame:
    keys = pl.Series([key] * len(sessions), dtype=pl.String)
    return pl.DataFrame({"session": [day(n) for n in sessions], "key": keys})


def known(
    at: pl.DataFrame, feed_rows: pl.DataFrame, max_stale: int | None = None
) -> list[tuple[float | None, int | None]]:
    found = as_of(
        at, feed_rows, TOKYO, feed="f", values=["x"], by=("key", "key"), max_stale=max_stale
    )
    return found.select("x", "f_age").rows()


def test_a_row_is_known_from_the_session_at_which_it_is_effective() -> None:
    feed = rows((1, "A", 5.0, evening(1), 0))

    assert known(left(0, 1, 2, 3), feed) == [(None, None), (None, None), (5.0, 0), (5.0, 1)]


def test_a_row_published_before_the_decision_counts_that_very_session() -> None:
    assert known(left(2), rows((1, "A", 5.0, evening(2, time(3)), 0))) == [(5.0, 0)]


def test_a_late_row_about_an_old_period_does_not_hide_a_newer_one() -> None:
    feed = rows((5, "A", 5.0, evening(5), 0), (2, "A", 2.0, evening(8), 0))

    assert known(left(6, 9), feed) == [(5.0, 0), (5.0, 3)]


def test_a_correction_takes_over_from_its_own_session_on_and_starts_a_new_age() -> None:
    feed = rows((1, "A", 5.0, evening(1), 0), (1, "A", 6.0, evening(3), 1))

    assert known(left(3, 4, 5), feed) == [(5.0, 1), (6.0, 0), (6.0, 1)]


def test_of_two_versions_published_together_the_higher_revision_counts() -> None:
    feed = rows((1, "A", 6.0, evening(1), 1), (1, "A", 5.0, evening(1), 0))

    assert known(left(2), feed) == [(6.0, 0)]


def test_beyond_the_limit_the_value_is_missing_and_the_age_says_why() -> None:
    feed = rows((0, "A", 5.0, evening(0), 0))

    assert known(left(3, 4), feed, max_stale=2) == [(5.0, 2), (None, 3)]


def test_a_row_effective_long_before_the_first_session_asked_for_keeps_its_age() -> None:
    assert known(left(30), rows((0, "A", 5.0, evening(0), 0))) == [(5.0, 29)]


def test_a_null_that_was_published_is_the_latest_word() -> None:
    feed = rows((0, "A", 5.0, evening(0), 0), (1, "A", None, evening(1), 0))

    assert known(left(2), feed) == [(None, 0)]


def test_a_row_without_a_key_fits_nobody() -> None:
    feed = rows((0, None, 5.0, evening(0), 0), (0, "B", 6.0, evening(0), 0))

    assert known(left(2, key=None), feed) == [(None, None)]
    assert known(left(2), feed) == [(None, None)]


def test_nothing_to_fill_and_nothing_to_fill_from_are_fine() -> None:
    assert known(left(), rows((0, "A", 5.0, evening(0), 0))) == []
    assert known(left(2), rows()) == [(None, None)]


def test_vectors_are_joined_like_numbers() -> None:
    feed = rows((0, "A", 1.0, evening(0), 0)).with_columns(
        x=pl.Series([[0.5, 0.25]], dtype=pl.Array(pl.Float32, 2))
    )
    found = as_of(left(0, 1), feed, TOKYO, feed="news", values=["x"], by=("key", "key"))

    assert found["x"].to_list() == [None, [0.5, 0.25]]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("keyed", [True, False])
def test_the_join_equals_a_plain_loop(seed: int, keyed: bool) -> None:
    rng = np.random.default_rng(seed)
    feed = rows(
        *[
            (
                (n := int(rng.integers(0, 60))),
                str(rng.choice(["A", "B", "C"])),
                float(k),
                evening(n) + timedelta(hours=float(rng.choice([0.0, 9.0, 40.0, 500.0]))),
                int(rng.integers(0, 3)),
            )
            for k in range(60)
        ]
    ).unique(["event_date", "key", "available_at", "revision"], maintain_order=True)
    feed = feed if keyed else feed.unique(["event_date", "available_at", "revision"])
    at = pl.DataFrame(
        [(day(int(n)), str(rng.choice(["A", "B", "Z"]))) for n in rng.integers(10, 80, 60)],
        schema={"session": pl.Date, "key": pl.String},
        orient="row",
    )
    by = ("key", "key") if keyed else None
    found = as_of(at, feed, TOKYO, feed="f", values=["x"], by=by, max_stale=15)

    assert found.rows() == [by_the_book(s, k if keyed else None, feed, 15) for s, k in at.rows()]


def by_the_book(
    session: object, key: str | None, feed: pl.DataFrame, max_stale: int
) -> tuple[float | None, int | None]:
    best = None
    for row in feed.iter_rows(named=True):
        stamp = np.datetime64(row["available_at"].replace(tzinfo=None), "us")
        effective = TOKYO.sessions[TOKYO.effective(stamp)].item()
        if effective > session or (key is not None and row["key"] != key):
            continue
        rank = (row["event_date"], row["available_at"], row["revision"])
        if best is None or rank > best[0]:
            best = rank, row["x"], effective
    if best is None:
        return None, None
    age = SESSIONS.index(session) - SESSIONS.index(best[2])
    return (best[1] if age <= max_stale else None), age


def test_each_scope_joins_on_what_was_known_of_the_symbol_at_that_session() -> None:
    panel = pl.DataFrame(
        {
            "session": [day(2)] * 2 + [day(3)] * 2,
            "symbol": ["A", "B"] * 2,
            "sector": ["Tools", "Toys", "Toys", "Toys"],  # A moves
            "market_segment": ["Prime", None, "Prime", None],
        }
    )
    by_sector = rows((1, "Tools", 1.0, evening(1), 0), (1, "Toys", 2.0, evening(1), 0))
    by_section = rows((1, "Prime", 3.0, evening(1), 0))
    for_all = rows((1, "", 4.0, evening(1), 0)).drop("key")

    def joined(scope: str, feed_rows: pl.DataFrame) -> list[float | None]:
        key = () if scope == "market" else (scope,)
        feed = feed_of(scope, ("event_date", *key))
        renamed = feed_rows.rename({"key": scope}, strict=False)
        return join_states(panel, renamed, plain(feed), TOKYO)["flow_x"].to_list()

    assert joined("sector", by_sector) == [1.0, 2.0, 2.0, 2.0]
    assert joined("section", by_section) == [3.0, None, 3.0, None]
    assert joined("market", for_all) == [4.0] * 4


def feed_of(scope: str, key: tuple[str, ...]) -> Feed:
    return Feed(
        name="flow",
        key=key,
        scope=scope,  # type: ignore[arg-type]
        columns=(Column("x", pl.Float64, "money", "bought less sold"),),
        publication=Publication(),
        max_stale=None,
        about="Made up.",
    )


def test_a_row_without_a_stamp_is_refused() -> None:
    feed = rows((0, "A", 5.0, evening(0), 0)).with_columns(available_at=pl.lit(None, dtype=INSTANT))
    with pytest.raises(FeedError, match="1 rows of f have no available_at"):
        known(left(1), feed)
