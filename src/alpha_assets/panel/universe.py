"""Who may be held: every rule decided as of the session, from what was known by then.

Shape letters: D decision sessions, N symbols, C cells, W sessions of a window.
"""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field, field_validator

from alpha_assets.arrays.asof import last_row
from alpha_assets.arrays.keys import KEYS, MAX_STALE
from alpha_assets.arrays.places import codes, places_on
from alpha_assets.arrays.types import Array, Dates, Mask, Places
from alpha_assets.errors import BadInput, SpecError
from alpha_assets.panel.dense import Late, dense, late_factors
from alpha_assets.panel.lives import by_life
from alpha_assets.spec import Spec

NEEDED_SHARE = (4, 5)  # of a window's sessions must have a bar


ARTICLE_AGE = "news_age"  # sessions since an article of the company became known
RULES_OF_FEEDS = {"membership": "membership = true", "listings": "sectors", "news": "news_within"}


class UniverseSpec(Spec):
    """Declared under `[universes.<name>]` in a market; a symbol must pass all rules together."""

    membership: bool = False
    """Only members of the index, as the feed `membership` has them."""
    symbols: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Only these, by the store's id."""
    sectors: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Only these, as `listings` has them."""
    min_history: int = Field(default=0, ge=0)
    """Bars that must have become known."""
    min_dollar_volume: float | None = Field(default=None, gt=0)
    """Money a session, compared with the median of the window's bars."""
    dollar_volume_window: int = Field(default=20, ge=1, le=252)
    """Sessions of that median; four fifths of them must have a bar."""
    min_price: float | None = Field(default=None, gt=0)
    """Money a share as traded; of the last close, at most `max_stale` sessions old."""
    news_within: int | None = Field(default=None, ge=1, le=60)
    """Sessions, the decision's own among them, at one of which an article became known."""
    min_names: int = Field(default=10, ge=2)
    """Fewer names with a value leave a feature of the session's cross-section at 0."""
    winsorise: float = Field(default=0.01, ge=0, lt=0.5)
    """Share of names drawn in at either end of a cross-section."""
    clip: float = Field(default=5.0, gt=0)
    """Largest absolute z-score kept."""
    # Left out of digests where it is the default, so that what was made before the key stays.
    scale: Literal["session", "history"] = Field(
        default="session", exclude_if=lambda scale: scale == "session"
    )
    """What mean and deviation of z-scores are of: the session's names, or all rows of the last 252
    sessions, as many as there are. Then what moves all names of a session is seen, 0 for a missing
    value is the mean of the year, and products are clipped alone; inputs that are fitted on vectors
    stay within their session.
    """

    @field_validator("symbols", "sectors")
    @classmethod
    def _names_once(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        twice = sorted({name for name in names or () if (names or ()).count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} stands there twice; name each once")
        return names

    @property
    def side_columns(self) -> list[str]:
        """Columns of side feeds that the rules read, beside those that every panel has."""
        return [] if self.news_within is None else [ARTICLE_AGE]

    def lookback(self, max_stale: int) -> int:
        """Return the panel sessions before the first one that the rules reach back to."""
        window = self.dollar_volume_window - 1 if self.min_dollar_volume is not None else 0
        return max(window, max_stale if self.min_price is not None else 0)


def check_universe(
    spec: UniverseSpec, price_level: Literal["raw", "split_adjusted"], feeds: Collection[str]
) -> None:
    """Refuse rules that the market cannot answer.

    Args:
        spec: the universe.
        price_level: of the market's stored prices.
        feeds: names of the feeds that the market has.

    Raises:
        SpecError: naming the rule, what the market lacks and the way out.
    """
    if spec.min_price is not None and price_level != "raw":
        raise SpecError(
            f"min_price = {spec.min_price:g} needs prices as they were traded, and this market's "
            f"price level is {price_level}: such a level carries later splits, so the rule would "
            "know the future; take it out, or use min_dollar_volume"
        )
    needs = {
        "membership": spec.membership,
        "listings": spec.sectors is not None,
        "news": spec.news_within is not None,
    }
    for feed, is_needed in needs.items():
        if is_needed and feed not in feeds:
            rule = RULES_OF_FEEDS[feed]
            raise SpecError(
                f"{rule} needs the feed {feed!r}, which this market does not have "
                f"(it has {', '.join(sorted(feeds))}); take the rule out, or deliver the feed"
            )


def unknown_symbols(panel: pl.DataFrame, spec: UniverseSpec) -> tuple[str, ...]:
    """Return the named symbols without a row in `panel`: to be reported, not to be hushed."""
    there = set(panel["symbol"].unique().to_list())
    return tuple(symbol for symbol in spec.symbols or () if symbol not in there)


def universe(
    panel: pl.DataFrame,
    spec: UniverseSpec,
    first: date,
    last: date,
    *,
    sessions: Dates | None = None,
    max_stale: int = MAX_STALE,
) -> pl.DataFrame:
    """Return `session`, `symbol` of the panel rows that pass every rule, sorted.

    Args:
        panel: rows from `spec.lookback(max_stale)` sessions before `first` (or from the market's
            first session, where that is later) to `last` or beyond.
        spec: the rules.
        first: first session wanted.
        last: last session wanted.
        sessions: the market's sessions over the panel's span, where it may lack one for all
            symbols.
        max_stale: of the market: the age in sessions up to which a last close has a price.
    """
    wanted = panel.filter(pl.col("session").is_between(first, last))
    passes = pl.col("n_bars") >= spec.min_history
    if spec.membership:
        passes &= pl.col("in_membership").fill_null(False)
    if spec.symbols is not None:
        passes &= pl.col("symbol").is_in(spec.symbols)
    if spec.sectors is not None:
        passes &= pl.col("sector").is_in(spec.sectors).fill_null(False)
    if spec.news_within is not None:
        # By its age: what came before a listing, or while rows had ended, is old news.
        passes &= (pl.col(ARTICLE_AGE) < spec.news_within).fill_null(False)
    members = wanted.filter(passes)
    looks_back = (spec.min_dollar_volume, spec.min_price)
    if any(rule is not None for rule in looks_back) and members.height:
        members = members.filter(pl.Series(_by_the_past(panel, members, spec, sessions, max_stale)))
    return members.select(KEYS)


def _by_the_past(
    panel: pl.DataFrame,
    members: pl.DataFrame,
    spec: UniverseSpec,
    sessions: Dates | None,
    max_stale: int,
) -> Mask:
    """Return which of `members` pass the rules on traded value and price."""
    past = by_life(panel.filter(pl.col("session") <= members["session"].max()))
    members = by_life(members)
    if sessions is None:
        sessions = past["session"].unique().sort().to_numpy()
    symbols = members["symbol"].unique().sort().to_list()
    past = past.filter(pl.col("symbol").is_in(symbols))
    value = dense(past, ["close", "volume", "turnover_value", "cum_factor"], sessions, symbols)
    passes_DN = np.ones((len(sessions), len(symbols)), dtype=bool)
    if spec.min_dollar_volume is not None:
        traded_DN = value["turnover_value"]
        computed_DN = value["close"] * value["volume"]
        traded_DN = np.where(np.isnan(traded_DN), computed_DN, traded_DN)
        passes_DN &= median_at_least(traded_DN, spec.min_dollar_volume, spec.dollar_volume_window)
    if spec.min_price is not None:
        place = np.searchsorted(sessions, past["session"].to_numpy())
        late = late_factors(past, place, codes(past["symbol"], pl.Series(symbols)), sessions)
        passes_DN &= (
            last_price(value["close"], value["cum_factor"], max_stale, late=late) >= spec.min_price
        )
    d = places_on(sessions, members["session"].to_numpy())
    if (d < 0).any():
        raise BadInput("the panel has rows on dates that are none of the market's sessions")
    n = codes(members["symbol"], pl.Series(symbols, dtype=pl.String))
    return np.asarray(passes_DN[d, n])


def median_at_least(x_DN: Array, limit: float, n: int) -> Mask:
    """Return where the median of the known values among the last n rows reaches `limit`.

    False where fewer than four fifths of them are known.  Decided by counting, which is
    exact: the middle value is at or above the limit if more than half of the values are.
    Only where exactly half are, the two middle ones are looked at.
    """
    known_DN = ~np.isnan(x_DN)
    count_DN = _window_count(known_DN, n)
    above_DN = _window_count(known_DN & (x_DN >= limit), n)
    enough_DN = count_DN * NEEDED_SHARE[1] >= n * NEEDED_SHARE[0]
    out_DN: Mask = enough_DN & (2 * above_DN > count_DN)
    row_C, symbol_C = np.nonzero(enough_DN & (2 * above_DN == count_DN))
    padded_DN = np.concatenate([np.full((n - 1, x_DN.shape[1]), np.nan), x_DN])
    # Windows of few cells at a time: a large market has many, each of n values.
    for start in range(0, len(row_C), 1 << 16):
        cut = slice(start, start + (1 << 16))
        window_CW = padded_DN[row_C[cut, None] + np.arange(n), symbol_C[cut, None]]
        below_C = np.where(window_CW < limit, window_CW, -np.inf).max(axis=1)
        above_C = np.where(window_CW >= limit, window_CW, np.inf).min(axis=1)
        out_DN[row_C[cut], symbol_C[cut]] = (below_C + above_C) / 2 >= limit
    return out_DN


def last_price(
    close_DN: Array, cum_factor_DN: Array, limit: int, *, late: Sequence[Late] = ()
) -> Array:
    """Return the last close as it would be quoted now, at most `limit` sessions old; or NaN.

    A split since then moves it: close · cum_factor now / cum_factor then.  One of before that
    was learned since does not: the close already lies on its level.
    """
    n_sessions, n_symbols = close_DN.shape
    row_D1 = np.arange(n_sessions)[:, None]
    last_DN = last_row(~np.isnan(close_DN))
    is_there_DN = (last_DN >= 0) & (row_D1 - last_DN <= limit)
    last_DN[~is_there_DN] = 0
    at = (last_DN, np.arange(n_symbols))
    then_DN = cum_factor_DN[at]
    for column, row, since, ratio, _ in late:
        was = last_DN[row:, column]
        then_DN[row:, column] *= np.where((was >= since) & (was < row), ratio, 1.0)
    price_DN = close_DN[at] * (cum_factor_DN / then_DN)
    return np.where(is_there_DN, price_DN, np.nan)


def _window_count(mask_DN: Mask, n: int) -> Places:
    """Return how many of the last n rows are true; whole numbers, so a running sum is exact."""
    total_DN = np.cumsum(mask_DN, axis=0, dtype=np.int32)
    out_DN = total_DN.copy()
    out_DN[n:] -= total_DN[:-n]
    return out_DN
