"""Articles by session: by hand, against plain products of matrices, and their promises."""

from datetime import UTC, datetime, time, timedelta

import numpy as np
import polars as pl
import pytest
from tests.panel.market import SESSIONS, TOKYO, day, evening
from tests.panel.states.promises import (
    assert_only_the_past_counts,
    assert_the_last_session_changes_nothing,
    assert_the_order_of_rows_changes_nothing,
    in_contract_order,
)

from alpha_assets.feeds.base import INSTANT
from alpha_assets.feeds.corporate import EMBEDDING
from alpha_assets.panel.states.news import (
    EMBEDDED,
    LARGEST,
    SCALE,
    WIDTH,
    news_states,
    projected,
    signs,
)

FIRST = int(TOKYO.index_of(SESSIONS[0]))
UNTIL = FIRST + 60
# fmt: off
FIRST_SIGNS = [1, -1, 1, 1, -1, 1, -1, 1, -1, -1, -1, 1, -1, -1, -1, 1]
SUMS_OF_SIGNS = [2, 10, -48, -6, -66, -20, 0, 12, 16, -18, 50, -42, -14, -6, -2, -8]
# fmt: on
Article = tuple[int, str, str, datetime, int, np.ndarray | None]


def vector(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=EMBEDDING).astype(np.float32)


def news(*articles: Article) -> pl.DataFrame:
    embeddings = [None if a[5] is None else a[5].tolist() for a in articles]
    frame = pl.DataFrame(
        {
            "event_date": pl.Series([day(a[0]) for a in articles], dtype=pl.Date),
            "symbol": pl.Series([a[1] for a in articles], dtype=pl.String),
            "article": pl.Series([a[2] for a in articles], dtype=pl.String),
            "embedding": pl.Series(embeddings, dtype=pl.Array(pl.Float32, EMBEDDING)),
            "available_at": pl.Series([a[3].astimezone(UTC) for a in articles], dtype=INSTANT),
            "revision": pl.Series([a[4] for a in articles], dtype=pl.Int16),
        }
    )
    return in_contract_order(frame, "symbol")


def told(rows: pl.DataFrame, symbol: str = "A") -> tuple[list[int], list[float], np.ndarray]:
    """Return sessions, counts and projections of a symbol's states."""
    own = news_states(rows, TOKYO, UNTIL).filter(symbol=symbol).sort("event_date")
    number = TOKYO.index_of(own["event_date"].to_numpy()) - FIRST
    return number.tolist(), own["count"].to_list(), own.select(EMBEDDED).to_numpy()


def plainly(embedding: np.ndarray) -> np.ndarray:
    return embedding.astype(float) @ signs(EMBEDDING) / np.sqrt(EMBEDDING)


def test_an_article_of_the_evening_is_known_at_the_next_session() -> None:
    number, count, numbers = told(news((0, "A", "1", evening(0), 0, vector(0))))

    assert (number, count) == ([1], [1.0])
    np.testing.assert_allclose(numbers[0], plainly(vector(0)), atol=2e-5)


def test_articles_of_one_session_are_averaged_and_counted() -> None:
    # Of Friday evening and Saturday: both are known on Monday, session 2.
    saturday = datetime.combine(day(1) + timedelta(days=1), time(12), tzinfo=TOKYO.zone)
    rows = news((1, "A", "1", evening(1), 0, vector(0)), (1, "A", "2", saturday, 0, vector(1)))
    number, count, numbers = told(rows)

    assert (number, count) == ([2], [2.0])
    expected = (plainly(vector(0)) + plainly(vector(1))) / 2
    np.testing.assert_allclose(numbers[0], expected, atol=2e-5)


def test_the_count_goes_on_and_the_projection_is_of_the_newest() -> None:
    rows = news(
        (0, "A", "1", evening(0), 0, vector(0)),
        (0, "B", "1", evening(0), 0, vector(7)),
        (3, "A", "1", evening(3), 0, vector(1)),
        (3, "A", "2", evening(3), 0, vector(2)),
        (5, "A", "1", evening(5), 0, vector(3)),
    )
    number, count, numbers = told(rows)

    assert (number, count) == ([1, 4, 6], [1.0, 3.0, 4.0])
    np.testing.assert_allclose(numbers[2], plainly(vector(3)), atol=2e-5)
    assert told(rows, "B")[:2] == ([1], [1.0])


def test_a_correction_of_an_article_is_not_another_article() -> None:
    first = (0, "A", "1", evening(0), 0, vector(0))
    rows = news(first, (0, "A", "1", evening(4), 1, vector(1)))

    assert told(rows)[:2] == ([1], [1.0])
    np.testing.assert_array_equal(told(rows)[2], told(news(first))[2])


def test_an_article_without_an_embedding_counts_and_is_about_nothing_known() -> None:
    rows = news(
        (0, "A", "1", evening(0), 0, None),
        (1, "A", "2", evening(1), 0, None),
        (1, "A", "3", evening(1), 0, vector(3)),
    )
    number, count, numbers = told(rows)

    assert (number, count) == ([1, 2], [1.0, 3.0])
    assert np.isnan(numbers[0]).all()
    np.testing.assert_allclose(numbers[1], plainly(vector(3)), atol=2e-5)


def test_numbers_beyond_all_reason_are_drawn_in() -> None:
    huge, largest = np.zeros((2, EMBEDDING), dtype=np.float32)
    huge[3], largest[3] = 1e30, LARGEST

    np.testing.assert_array_equal(projected(huge[None]), projected(largest[None]))


def test_the_signs_never_change() -> None:
    # Of what was stored with these signs, nothing could be compared with others.
    matrix = signs(EMBEDDING)
    assert matrix.shape == (EMBEDDING, WIDTH)
    assert set(np.unique(matrix)) == {-1.0, 1.0}
    assert matrix[0].tolist() == FIRST_SIGNS
    assert matrix.sum(axis=0).tolist() == SUMS_OF_SIGNS
    np.testing.assert_array_equal(signs(EMBEDDING, 4), matrix[:, :4])


def test_distances_survive_the_projection_nearly() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(300, EMBEDDING)).astype(np.float32)
    # Sixteen numbers stand for 768: length² / 16 estimates the mean square of the vector's.
    ratio = (projected(x) ** 2).mean(axis=1) / (x.astype(float) ** 2).mean(axis=1)
    assert ratio.mean() == pytest.approx(1.0, abs=0.06)
    # A chi-squared of 16 degrees has a relative deviation of sqrt(2 / 16) = .35.
    assert ratio.std() == pytest.approx(0.35, abs=0.06)


def test_a_projection_is_exact_in_whole_numbers_and_alone_or_in_company_the_same() -> None:
    x = np.stack([vector(k) for k in range(9)])
    together = projected(x)
    for k in range(9):
        whole = [round(float(v) * SCALE) for v in x[k]]
        for place in range(WIDTH):
            total = sum(w * int(s) for w, s in zip(whole, signs(EMBEDDING)[:, place], strict=True))
            assert together[k, place] == total / (SCALE * np.sqrt(EMBEDDING))
        np.testing.assert_array_equal(projected(x[k : k + 1])[0], together[k])


def random_news(seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    rows: list[Article] = []
    for n in range(40):
        for symbol in ("A", "B"):
            for article in range(int(rng.choice([0, 0, 0, 1, 2]))):
                stamp = evening(n) + timedelta(hours=float(rng.choice([0, 1, 30, 120])))
                one = vector(1000 * seed + 10 * n + article)
                rows.append((n, symbol, str(article), stamp, 0, one))
                if rng.random() < 0.2:
                    rows.append((n, symbol, str(article), stamp + timedelta(days=3), 1, -one))
    return news(*rows)


@pytest.mark.parametrize("seed", range(2))
def test_articles_keep_the_promises_of_states(seed: int) -> None:
    rows = random_news(seed)
    assert_only_the_past_counts(news_states, rows, "symbol", UNTIL, every=3)
    assert_the_last_session_changes_nothing(news_states, rows, "symbol", UNTIL)
    assert_the_order_of_rows_changes_nothing(news_states, rows, "symbol", UNTIL)


@pytest.mark.parametrize("seed", range(2))
def test_a_list_of_articles_gives_the_same(seed: int) -> None:
    rows = random_news(seed)
    effective = (TOKYO.effective(rows["available_at"].to_numpy()) - FIRST).tolist()
    for symbol in ("A", "B"):
        by_session: dict[int, list[np.ndarray]] = {}
        for known, row in zip(effective, rows.to_dicts(), strict=True):
            if row["symbol"] == symbol and row["revision"] == 0:
                by_session.setdefault(known, []).append(plainly(np.array(row["embedding"])))
        number, count, numbers = told(rows, symbol)
        assert number == sorted(by_session)
        assert count == np.cumsum([len(by_session[n]) for n in number]).tolist()
        expected = np.array([np.mean(by_session[n], axis=0) for n in number])
        np.testing.assert_allclose(numbers, expected, atol=2e-5)


def test_no_articles_give_no_states() -> None:
    assert news_states(news(), TOKYO, UNTIL).height == 0
