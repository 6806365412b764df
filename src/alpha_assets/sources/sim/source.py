"""The simulated exchange as a source of raw rows."""

from collections.abc import Callable, Mapping
from datetime import date

import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError
from alpha_assets.feeds import FEEDS
from alpha_assets.feeds.american import AMERICAN
from alpha_assets.feeds.base import Basis, PriceLevel, Source
from alpha_assets.sources.sim.market import SimMarket, generate
from alpha_assets.sources.sim.rig_rows import RIG_ROWS
from alpha_assets.sources.sim.rows import ROWS
from alpha_assets.sources.sim.side import SIDE_ROWS
from alpha_assets.sources.sim.spec import SimSpec
from alpha_assets.spec import digest

GENERATOR = 5  # raised whenever the same spec begins to give other rows


class SimSource(Source):
    """Delivers what the exchange published up to the spec's last session."""

    price_level: PriceLevel = "raw"
    basis: Basis = "price"
    is_simulated = True

    def __init__(self, spec: SimSpec, calendar: Calendar) -> None:
        self.spec = spec
        self.calendar = calendar
        self.last_day: date | None = spec.last

    @property
    def identity(self) -> Mapping[str, str]:
        """Name what can change a row; `last` only adds rows, so it is no part of it."""
        lasting = self.spec.model_dump(mode="json", exclude={"last"})
        return {"kind": "sim", "digest": digest(GENERATOR, self.calendar.identity, lasting)}

    def feeds(self) -> tuple[str, ...]:
        """Return the feeds that the exchange has."""
        return tuple(self._rows)

    def off(self) -> Mapping[str, str]:
        """Return the feeds that it lacks, and why."""
        return {
            "membership": "the simulated exchange has no index with members",
            "breakdown": "the simulated exchange has no orders by kind",
            **dict.fromkeys(AMERICAN, "the simulated exchange is not American"),
            **dict.fromkeys(
                set(ROWS) - set(self._rows), "a rig reveals what is planted in its own series alone"
            ),
        }

    @property
    def _rows(self) -> Mapping[str, Callable[[SimMarket, Calendar], pl.DataFrame]]:
        """What makes the rows of each feed."""
        if self.spec.rig is None:
            return ROWS
        return {**{name: rows for name, rows in ROWS.items() if name not in SIDE_ROWS}, **RIG_ROWS}

    def fingerprint(self, feed: str) -> str:
        """Return a name of everything that `rows` would deliver, without making it."""
        self._check(feed)
        return digest(GENERATOR, self.calendar.identity, self.spec, feed)

    def rows(self, feed: str) -> pl.DataFrame:
        """Return the rows of one feed, corrections included.

        Raises:
            FeedError: the exchange has no such feed.
        """
        self._check(feed)
        rows = self._rows[feed](generate(self.spec, self.calendar), self.calendar)
        if feed in FEEDS:  # the market declares the columns of an own feed, and ingestion checks
            FEEDS[feed].check_columns(rows.columns, "a column that the simulated exchange makes")
        return rows

    def _check(self, feed: str) -> None:
        if feed not in self._rows:
            raise FeedError(
                f"the simulated exchange has no feed {feed!r}; it has {', '.join(self._rows)}"
            )
