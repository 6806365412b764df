"""Articles about a symbol: counts and fading, by hand."""

import numpy as np
import pytest

from alpha_assets.arrays.types import Array
from alpha_assets.features import Feature, news

NAN = np.nan


def column(*values: float) -> Array:
    return np.array(values, dtype=np.float64)[:, None]


def count_5(so_far: Array, stale: Array | None = None) -> list[float]:
    stale = np.zeros_like(so_far) if stale is None else stale
    return news.news_count_5(so_far, stale)[:, 0].tolist()


def test_articles_of_five_sessions_are_counted() -> None:
    # Two articles at row 3, one at row 7.
    so_far = column(NAN, NAN, NAN, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3)

    np.testing.assert_array_equal(count_5(so_far), [NAN] * 5 + [2, 2, 3, 1, 1, 1, 1, 0])


def test_articles_of_twenty_sessions_are_counted() -> None:
    so_far = column(*[NAN] * 3, *[1] * 10, *[4] * 20)
    found = news.news_count_20(so_far, np.zeros_like(so_far))[:, 0]

    # Row 22 counts what came from row 3 on; row 23 only the three of row 13.
    assert found[[20, 22, 23, 32]].tolist() == [4, 4, 3, 3]


def test_no_article_is_none_and_not_unknown() -> None:
    assert count_5(column(*[NAN] * 7))[5:] == [0, 0]


def test_articles_before_a_listing_are_no_news_of_its_first_session() -> None:
    # Forty articles have come by the first row of a symbol, or by its first after a long gap.
    so_far = column(*[NAN] * 6, *[40] * 5, 41, 41)
    stale = column(*[NAN] * 6, *[0] * 7)

    np.testing.assert_array_equal(count_5(so_far, stale), [NAN] * 11 + [1, 1])


@pytest.mark.parametrize("emb", news.news_emb[:2], ids=lambda feature: feature.name)
def test_a_number_fades_by_a_tenth_a_session_and_is_gone_after_sixty(emb: Feature) -> None:
    age = column(0, 1, 2, 60, 61, NAN)
    found = emb(column(2, 2, 2, 2, 2, NAN), age)

    np.testing.assert_allclose(found, column(2, 1.8, 1.62, 2 * 0.9**60, NAN, NAN), rtol=1e-12)


def test_the_sixteen_numbers_read_sixteen_columns() -> None:
    assert [f.inputs for f in news.news_emb] == [
        (f"news_emb_{k:02d}", "news_age") for k in range(16)
    ]


def test_the_age_of_the_last_article_is_a_feature() -> None:
    np.testing.assert_array_equal(news.news_days_since(column(3, NAN)), column(3, NAN))
