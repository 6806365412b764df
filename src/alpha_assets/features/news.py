"""Articles about the symbol: how many, how long ago, and what the last ones were about."""

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.arrays.windows import shift
from alpha_assets.features.base import build_feature, feature
from alpha_assets.panel.states.news import EMBEDDED

FAMILY = "news"

FADES = 0.9  # a session: what is left of an article's weight
RECENT = 60  # sessions after which an article counts no more


def _faded(embedding: Array, age: Array) -> Array:
    """Return a number of the last articles' projection, fading with their age."""
    known = ~np.isnan(age) & (age <= RECENT)
    return np.where(known, embedding * FADES ** np.where(known, age, 0.0), np.nan)


def _in_window(count: Array, stale: Array, n: int) -> Array:
    """Return how many articles came in the last n sessions; NaN without a row n sessions before.

    A row without a count has had no article; without a row nothing is known, and what came
    before a listing must not count as news of its first session.
    """
    so_far = np.where(np.isnan(count) & (stale >= 0), 0.0, count)
    return so_far - shift(so_far, n)


@feature(rows=6, unit="articles", source="common practice.")
def news_count_5(news_count: Array, stale: Array) -> Array:
    """Articles of the last five sessions."""
    return _in_window(news_count, stale, 5)


@feature(rows=21, unit="articles", source="common practice.")
def news_count_20(news_count: Array, stale: Array) -> Array:
    """Articles of the last 20 sessions."""
    return _in_window(news_count, stale, 20)


@feature(rows=1, unit="sessions", source="common practice.")
def news_days_since(news_age: Array) -> Array:
    """Sessions since the last article became known."""
    return news_age.copy()


news_emb = tuple(
    build_feature(
        f"news_{name}",
        "news",
        _faded,
        (f"news_{name}", "news_age"),
        rows=1,
        unit="number",
        about=f"Number {place} of the last articles' embedding, projected by fixed signs, fading "
        "by 0.9 a session.",
        source="Achlioptas (2003), J. Comput. Syst. Sci. 66.",
    )
    for place, name in enumerate(EMBEDDED)
)
