"""What the places of a dataset's axes mean, and who decides their length."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Dates
from alpha_assets.calendar import Calendar
from alpha_assets.dataset.split import Split


@dataclass(frozen=True, eq=False)
class Axes:
    """What the places of a dataset's axes mean.

    Attributes:
        sessions: of the first axis, sorted, without gaps on the market's calendar.
        symbols: of the second axis, sorted.
        features: names of the third axis.
        market_features: names of the market-wide series; may be empty.
        horizons: of the labels, in sessions.
        known_symbols: the month's list, which static ids index from 1.
        known_sectors: the month's list, which sector ids index from 1.
        families: by name of each family of columns, in order of name, their places on the third
            axis.
    """

    sessions: Dates
    symbols: tuple[str, ...]
    features: tuple[str, ...]
    market_features: tuple[str, ...]
    horizons: tuple[int, ...]
    known_symbols: tuple[str, ...]
    known_sectors: tuple[str, ...]
    families: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def family_places(
    columns: Sequence[str], families: Mapping[str, str]
) -> dict[str, tuple[int, ...]]:
    """Return the places of each family's columns, in order of the family's name.

    Args:
        columns: names along the third axis.
        families: by name of a column its family; columns that it does not name are in none.
    """
    places: dict[str, list[int]] = {}
    for place, column in enumerate(columns):
        if column in families:
            places.setdefault(families[column], []).append(place)
    return {name: tuple(places[name]) for name in sorted(places)}


def training_axes(
    symbols: Sequence[str],
    sectors: Sequence[str],
    calendar: Calendar,
    split: Split,
    *,
    steps: int,
    features: Sequence[str],
    market_features: Sequence[str] = (),
    horizons: Sequence[int],
    families: Mapping[str, str] | None = None,
) -> Axes:
    """Return the axes of a month's training.

    Nothing later than the training and validation sessions decides the number of symbols, and
    static ids index them.

    Args:
        symbols: those with at least one universe row on the training and validation sessions,
            sorted; see `symbol_axis`.
        sectors: those known of such rows, sorted; see `sector_list`.
        calendar: of the market.
        split: of the month.
        steps: sessions of a window.
        features: columns of the cross-section.
        market_features: columns of the cross-section that are equal on all rows of a session.
        horizons: of the labels, sessions.
        families: by name of a column its family.
    """
    first = calendar.before(split.train[0], steps - 1)
    return Axes(
        sessions=calendar.between(first, split.last),
        symbols=tuple(symbols),
        features=tuple(features),
        market_features=tuple(market_features),
        horizons=tuple(horizons),
        known_symbols=tuple(symbols),
        known_sectors=tuple(sectors),
        families=family_places(features, families or {}),
    )


def symbol_axis(cross_section: pl.DataFrame, sessions: Dates) -> tuple[str, ...]:
    """Return the symbols with at least one universe row on the given sessions, sorted."""
    return _on(cross_section, sessions, "symbol")


def sector_list(cross_section: pl.DataFrame, sessions: Dates) -> tuple[str, ...]:
    """Return the sectors of the universe rows on the given sessions, sorted."""
    return _on(cross_section, sessions, "sector")


def _on(cross_section: pl.DataFrame, sessions: Dates, column: str) -> tuple[str, ...]:
    """Return the distinct words of a column on the given sessions, sorted, unknown left out."""
    wanted = pl.Series(np.asarray(sessions, dtype="datetime64[D]"), dtype=pl.Date)
    rows = cross_section.lazy().filter(pl.col("session").is_in(wanted.implode()))
    found = rows.select(pl.col(column).cast(pl.String).drop_nulls().unique().sort()).collect()
    return tuple(found.to_series().to_list())


def graph_sessions(calendar: Calendar, sessions: Dates) -> Dates:
    """Return the session on which the graph of each session was made: its week's first one."""
    firsts = calendar.sessions[calendar.rebalances(calendar.sessions, "weekly")]
    days = np.asarray(sessions, dtype="datetime64[D]")
    return np.asarray(firsts[np.searchsorted(firsts, days, side="right") - 1])
