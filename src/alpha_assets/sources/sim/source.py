"""The simulated exchange as a source of raw rows."""

from collections.abc import Mapping
from typing import Literal

import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError
from alpha_assets.feeds.american import AMERICAN
from alpha_assets.feeds.base import Counting
from alpha_assets.sources.sim.market import generate
from alpha_assets.sources.sim.rows import ROWS
from alpha_assets.sources.sim.spec import SimSpec
from alpha_assets.spec import digest

GENERATOR = 5  # raised whenever the same spec begins to give other rows


class SimSource:
    """Delivers what the exchange published up to the spec's last session."""

    price_level: Literal["raw", "split_adjusted"] = "raw"
    basis: Literal["price", "total_return"] = "price"
    progress: Counting | None = None

    def __init__(self, spec: SimSpec, calendar: Calendar) -> None:
        self.spec = spec
        self.calendar = calendar

    @property
    def identity(self) -> Mapping[str, str]:
        """Name what can change a row; `last` only adds rows, so it is no part of it."""
        lasting = self.spec.model_dump(mode="json", exclude={"last"})
        return {"kind": "sim", "digest": digest(GENERATOR, self.calendar.identity, lasting)}

    def feeds(self) -> tuple[str, ...]:
        """Return the feeds that the exchange has."""
        return tuple(ROWS)

    def off(self) -> Mapping[str, str]:
        """Return the feeds that it lacks, and why."""
        return {
            "membership": "the simulated exchange has no index with members",
            "breakdown": "the simulated exchange does not tell its orders apart by kind",
            **dict.fromkeys(AMERICAN, "the simulated exchange is not American"),
        }

    def fingerprint(self, feed: str) -> str:
        """Return a name of everything that `rows` would deliver, without making it."""
        self._check(feed)
        return digest(GENERATOR, self.calendar.identity, self.spec, feed)

    def warnings(self, feed: str) -> tuple[str, ...] | None:
        """Return nothing: its rows are not looked at for what is only odd."""
        return None

    def files(self, feed: str) -> Mapping[str, str]:
        """Return none: rows are made, not read."""
        self._check(feed)
        return {}

    def rows(self, feed: str) -> pl.DataFrame:
        """Return the rows of one feed, corrections included.

        Raises:
            FeedError: the exchange has no such feed.
        """
        self._check(feed)
        return ROWS[feed](generate(self.spec, self.calendar), self.calendar)

    def _check(self, feed: str) -> None:
        if feed not in ROWS:
            raise FeedError(
                f"the simulated exchange has no feed {feed!r}; it has {', '.join(ROWS)}"
            )
