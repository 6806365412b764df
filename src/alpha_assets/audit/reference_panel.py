"""The panel written a second and plainer way: one session after the other, from known rows alone.

Nothing is shared with the panel's join: each session filters the raw rows by its own decision
instant and takes the last one per key.  It is slow, and made to be read.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import numpy as np
import polars as pl

from alpha_assets.calendar import as_date
from alpha_assets.config.market import Market
from alpha_assets.feeds.flows import SPLICED
from alpha_assets.feeds.listings import ACTIVE
from alpha_assets.panel.joins import Join
from alpha_assets.panel.schema import BAR_VALUES, LISTING_VALUES, PANEL_SCHEMA

Raw = Mapping[str, pl.DataFrame]

# What decides which rows there are, and whose sector or section each of them is in.
CORE_FEEDS = ("daily_bars", "listings", "membership")
PRECEDENCE = ("event_date", "available_at", "revision")  # of one key the greatest is known


class Move(NamedTuple):
    """What one version of a bar did to its symbol's factors, and when it could be used."""

    place: int
    usable: int
    price: float
    volume: float
    share: float | None
    factor: float  # as the version has it
    is_first: bool


@dataclass(frozen=True)
class Book:
    """What was known at some sessions, by the clock alone.

    Attributes:
        market: whose calendar and joins are used.
        raw: stored rows of every feed, revisions included.
        sessions: numbers of the sessions wanted, on the market's calendar.
    """

    market: Market
    raw: Raw
    sessions: tuple[int, ...]
    _states: dict[str, pl.DataFrame] = field(default_factory=dict)
    _lives_at: dict[int, dict[str, list[tuple[date, date]]]] = field(default_factory=dict)

    def with_rows(self, feed: str, rows: pl.DataFrame) -> "Book":
        """Return the book of a world in which one feed's rows are others."""
        kept = {
            join.name: self._states[join.name]
            for join in self.market.joins
            if join.feed != feed
            and join.name in self._states
            # Whose life a row belongs to, the listings decide.
            and not (feed == "listings" and join.scope == "symbol")
        }
        other = Book(self.market, {**self.raw, feed: rows}, self.sessions, kept)
        if feed not in CORE_FEEDS:
            other.__dict__["core"] = self.core
        return other

    @cached_property
    def rows(self) -> pl.DataFrame:
        """The panel rows of the sessions, sorted by session and symbol."""
        table = self.core.with_columns(
            section=pl.col("market_segment").replace_strict(
                SPLICED, default=None, return_dtype=pl.String
            )
        )
        for join in self.market.joins:
            states = self.states(join)
            key = [name for name in ("session", key_of(join)) if name is not None]
            if join.scope == "symbol":
                key.append("life")
            table = table.join(states, on=key, how="left", maintain_order="left")
        columns = [name for join in self.market.joins for name in join.panel_columns]
        return table.select(*PANEL_SCHEMA, *columns)

    @cached_property
    def core(self) -> pl.DataFrame:
        """The rows without the side feeds."""
        return pl.concat([self._core_of(number) for number in self.sessions])

    def states(self, join: Join) -> pl.DataFrame:
        """Return the states of a side feed at each session, of each key with known rows."""
        if join.name not in self._states:
            self._states[join.name] = pl.concat([self._states_at(join, n) for n in self.sessions])
        return self._states[join.name]

    def known(self, feed: str, number: int) -> pl.DataFrame:
        """Return the rows of a feed that could be read when a session was decided."""
        return self.raw[feed].filter(pl.col("available_at") <= self._decisions[number])

    def effective(self, stamps: Iterable[datetime]) -> list[int]:
        """Return the number of the first session decided at or after each instant."""
        return [bisect_left(self._decisions, stamp) for stamp in stamps]

    @cached_property
    def _decisions(self) -> list[datetime]:
        instants = self.market.calendar.decisions.astype("datetime64[us]").tolist()
        return [instant.replace(tzinfo=UTC) for instant in instants]

    def placed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return rows with the number of the session at which each becomes effective."""
        stamps = rows["available_at"].unique().sort()
        table = pl.DataFrame({"available_at": stamps, "effective": self.effective(stamps)})
        return rows.join(table, on="available_at", how="left", maintain_order="left")

    def _states_at(self, join: Join, number: int) -> pl.DataFrame:
        """Return the states of a side feed at a session, each life of a symbol separately."""
        if join.scope != "symbol" or join.feed not in self.raw:
            states = self._states_of(join, number, None)
            if join.scope == "symbol":
                states = states.with_columns(life=pl.lit(0, dtype=pl.Int16))
            return states
        known = self.known(join.feed, number)
        reborn = {name: lives for name, lives in self._lives(number).items() if lives}
        again = pl.col("symbol").is_in(sorted(reborn))
        parts = [self._states_of(join, number, known.filter(~again))]
        parts[0] = parts[0].with_columns(life=pl.lit(0, dtype=pl.Int16))
        for symbol, lives in reborn.items():
            since = pl.col("available_at") >= self._day_after(lives[-1][0])
            states = self._states_of(
                join, number, known.filter((pl.col("symbol") == symbol) & since)
            )
            parts.append(states.with_columns(life=pl.lit(len(lives), dtype=pl.Int16)))
        return pl.concat(parts)

    def _states_of(self, join: Join, number: int, known: pl.DataFrame | None) -> pl.DataFrame:
        key = key_of(join)
        columns = list(join.columns)
        schema = {
            "session": pl.Date,
            **({} if key is None else {key: pl.String}),
            **dict.fromkeys(join.panel_columns[:-1], pl.Float64),
            f"{join.name}_age": pl.Int16,
        }
        if join.feed not in self.raw:
            return pl.DataFrame(schema=schema)
        if known is None:
            known = self.known(join.feed, number)
        order = [name for name in known.columns if name in ("event_date", key)]
        known = known.sort(*order, "available_at", "revision", maintain_order=True)
        states = join.states(known, self.market.calendar, number)
        states = states.filter(pl.col("available_at") <= self._decisions[number])
        latest = states.sort(PRECEDENCE, maintain_order=True)
        latest = latest.tail(1) if key is None else latest.unique(key, keep="last")
        latest = self.placed(latest).with_columns(age=number - pl.col("effective"))
        fresh = pl.lit(True) if join.max_stale is None else pl.col("age") <= join.max_stale
        return latest.select(
            pl.lit(self._date(number)).alias("session"),
            *([] if key is None else [pl.col(key).cast(pl.String)]),
            *(
                pl.when(fresh | (name in join.lasting))
                .then(pl.col(name))
                .alias(f"{join.name}_{name}")
                for name in columns
            ),
            pl.col("age").alias(f"{join.name}_age"),
        ).cast(schema)  # type: ignore[arg-type]

    def _core_of(self, number: int) -> pl.DataFrame:
        lives = self._lives(number)
        mine = [
            life == len(lives.get(name, ()))
            for name, life in self.bars.select("symbol", "life").iter_rows()
        ]
        bars = self.bars.filter(pl.Series(mine, dtype=pl.Boolean) & (pl.col("usable") <= number))
        priced = bars.filter(pl.col("close").is_not_null())
        rows = (
            priced.group_by("symbol")
            .agg(n_bars=pl.len(), last=pl.col("place").max())
            .with_columns(stale=number - 1 - pl.col("last"))
            .filter(pl.col("stale") <= self.market.spec.max_stale)
            .sort("symbol")
        )
        rows = rows.join(self._listed(number), on="symbol", how="left", maintain_order="left")
        rows = rows.filter(pl.col("exit").fill_null(ACTIVE) == ACTIVE)
        last_bar = (pl.col("usable") == number) & (pl.col("place") == number - 1)
        values = priced.filter(last_bar).select("symbol", *BAR_VALUES)
        rows = rows.join(values, on="symbol", how="left", maintain_order="left")
        moves = [self._factors(symbol, number) for symbol in rows["symbol"]]
        return rows.select(
            pl.lit(self._date(number)).alias("session"),
            "symbol",
            *BAR_VALUES,
            pl.Series("adjustment_factor", [move[0] for move in moves], dtype=pl.Float64),
            pl.Series("share_factor", [move[1] for move in moves], dtype=pl.Float64),
            pl.Series("cum_factor", [move[2] for move in moves], dtype=pl.Float64),
            pl.Series("cum_volume_factor", [move[3] for move in moves], dtype=pl.Float64),
            pl.Series(
                "late_factors",
                [self._learned(name, number) for name in rows["symbol"]],
                dtype=PANEL_SCHEMA["late_factors"],
            ),
            pl.Series("life", [len(lives.get(s, ())) for s in rows["symbol"]], dtype=pl.Int16),
            "n_bars",
            "stale",
            *LISTING_VALUES,
            self._members(number, rows["symbol"]),
            pl.lit(self._follows_halt(number)).alias("is_halt"),
        ).cast(PANEL_SCHEMA)  # type: ignore[arg-type]

    @cached_property
    def _versions(self) -> pl.DataFrame:
        """Every version of every bar, from when it may be used, and the life that it is of."""
        rows = self.raw["daily_bars"]
        optional = {**BAR_VALUES, "adjustment_factor": pl.Float64, "share_factor": pl.Float64}
        rows = rows.with_columns(
            pl.lit(None, dtype=dtype).alias(name)
            for name, dtype in optional.items()
            if name not in rows.columns
        )
        if "level" in rows.columns:  # the vendor's, against the bar's first revision
            level = pl.col("level").fill_null(1.0)
            prices = (pl.col(name) / level for name in ("open", "high", "low", "close"))
            rows = rows.with_columns(*prices, pl.col("volume") * level)
        days = rows["event_date"].unique().sort()
        place = {as_date(s): n for n, s in enumerate(self.market.calendar.sessions)}
        places = pl.DataFrame({"event_date": days, "place": [place[day] for day in days]})
        bar = ["event_date", "symbol"]
        versions = (
            self.placed(rows)
            .join(places, on="event_date", how="left")
            .sort(*bar, "available_at", "revision")
            .with_columns(usable=pl.max_horizontal("effective", pl.col("place") + 1))
        )
        first = versions.unique(bar, keep="first", maintain_order=True)
        life = pl.Series(
            [
                sum(day >= start for _, start in self._lives(usable).get(symbol, ()))
                if symbol in self._listed_again
                else 0
                for symbol, day, usable in first.select(
                    "symbol", "event_date", "usable"
                ).iter_rows()
            ],
            dtype=pl.Int64,
        )
        return versions.join(first.select(*bar, life=life), on=bar, how="left")

    @cached_property
    def bars(self) -> pl.DataFrame:
        """Each bar as it stood when it first became effective, and from when it may be used."""
        bar = ["event_date", "symbol"]
        return (
            self._versions.filter(pl.col("effective") == pl.col("effective").first().over(bar))
            .unique(bar, keep="last")
            .sort("symbol", "usable", "place")
        )

    @cached_property
    def _listed_again(self) -> set[str]:
        """Symbols with an exit: others have one life."""
        if "listings" not in self.raw:
            return set()
        listed = self.raw["listings"]
        return set(listed.filter(pl.col("exit").fill_null(ACTIVE) != ACTIVE)["symbol"])

    def _lives(self, number: int) -> dict[str, list[tuple[date, date]]]:
        """Return the end before and the start of each known life after a symbol's first."""
        if number not in self._lives_at:
            found: dict[str, list[tuple[date, date]]] = {}
            if self._listed_again:
                known = self.known("listings", number).sort(PRECEDENCE)
                known = known.filter(pl.col("symbol").is_in(sorted(self._listed_again)))
                last = known.unique(["symbol", "event_date"], keep="last", maintain_order=True)
                for (symbol,), events in last.partition_by("symbol", as_dict=True).items():
                    left = (events["exit"].fill_null(ACTIVE) != ACTIVE).to_list()
                    days = events["event_date"].to_list()
                    found[str(symbol)] = [
                        (days[n], days[n + 1])
                        for n in range(len(days) - 1)
                        if left[n] and not left[n + 1]
                    ]
            self._lives_at[number] = found
        return self._lives_at[number]

    def _day_after(self, day: date) -> datetime:
        """Return the end of a day of the market."""
        midnight = datetime.combine(day, time(0), self.market.calendar.zone) + timedelta(days=1)
        return midnight.astimezone(UTC)

    @cached_property
    def _moves(self) -> dict[tuple[str, int], list[Move]]:
        """What each version of a life's bars did to its factors, in the order of sessions."""
        stated = (pl.col("adjustment_factor") != 1.0) | pl.col("share_factor").is_not_null()
        bar = ["event_date", "symbol"]
        near = pl.col("usable").is_in([*self.sessions])
        # A bar without a share factor counts with its price factor beside one that does.
        wanted = (stated.fill_null(False) | near).any().over(bar)
        found: dict[tuple[str, int], list[Move]] = {}
        versions = self._versions.filter(wanted).sort("place", "symbol", "available_at", "revision")
        names = ("place", "symbol", "life", "usable", "adjustment_factor", "share_factor")
        bars = groupby(versions.select(names).iter_rows(), key=lambda row: row[:3])
        for (place, symbol, life), rows in bars:
            price, volume, is_first = 1.0, 1.0, True
            for usable, together in groupby(rows, key=lambda row: row[3]):
                was, share = (price, volume), None
                for *_, factor, share in together:
                    is_given = factor is not None and not np.isnan(factor)
                    price = factor if is_given else price
                    if share is not None:
                        volume = 1.0 / share
                    elif is_given:
                        volume = factor
                found.setdefault((symbol, life), []).append(
                    Move(place, usable, price / was[0], volume / was[1], share, price, is_first)
                )
                is_first = False
        return found

    def _moves_of(self, symbol: str, number: int) -> list[Move]:
        life = len(self._lives(number).get(symbol, ()))
        return [m for m in self._moves.get((symbol, life), []) if m.usable <= number]

    def _factors(self, symbol: str, number: int) -> tuple[float, float | None, float, float]:
        """Return the session's price factor, its share factor, and the products so far."""
        today, shares, so_far, volume = 1.0, None, 1.0, 1.0
        moves = self._moves_of(symbol, number)
        for usable in sorted({move.usable for move in moves}):
            together, of_volume = 1.0, 1.0
            for move in moves:
                if move.usable == usable:
                    together *= move.price
                    of_volume *= move.volume
            so_far *= together
            volume *= of_volume
            if usable == number:
                today = together
        stated = [move for move in moves if move.usable == number and move.is_first]
        if any(move.share is not None for move in stated):
            shares = 1.0
            for move in stated:
                shares *= 1.0 / move.factor if move.share is None else move.share
        return today, shares, so_far, volume

    def _learned(self, symbol: str, number: int) -> list[dict[str, object]] | None:
        """Return the factors of earlier ex-sessions that no row before this session carried."""
        found = []
        for move in self._moves_of(symbol, number):
            moved = move.price != 1.0 or move.volume != 1.0
            if not moved or move.usable <= move.place + 1:
                continue
            if any(
                self._has_row(symbol, n, number) for n in range(number - 1, move.usable - 1, -1)
            ):
                continue
            found.append(
                {
                    "session": self._date(move.place),
                    "ratio": move.price,
                    "volume_ratio": move.volume,
                }
            )
        return found or None

    def _has_row(self, symbol: str, n: int, number: int) -> bool:
        """Return whether a symbol had a row at session n, in the life that it has at `number`."""
        lives = self._lives(n).get(symbol, ())
        if len(lives) != len(self._lives(number).get(symbol, ())):
            return False
        mine = self.bars.filter(
            (pl.col("symbol") == symbol)
            & (pl.col("usable") <= n)
            & (pl.col("life") == len(lives))
            & pl.col("close").is_not_null()
        )
        if mine.is_empty() or n - 1 - int(mine["place"].max()) > self.market.spec.max_stale:  # type: ignore[arg-type]
            return False
        listed = self._listed(n).filter(pl.col("symbol") == symbol)
        return listed.is_empty() or (listed["exit"][0] or ACTIVE) == ACTIVE

    def _listed(self, number: int) -> pl.DataFrame:
        """Return the latest known listing of each symbol."""
        schema = {"symbol": pl.String, **LISTING_VALUES, "exit": pl.String}
        if "listings" not in self.raw:
            return pl.DataFrame(schema=schema)
        known = self.known("listings", number).sort(PRECEDENCE).unique("symbol", keep="last")
        lacking = [
            pl.lit(None, dtype=dtype).alias(name)
            for name, dtype in schema.items()
            if name not in known.columns
        ]
        return known.with_columns(lacking).select(*schema)

    def _members(self, number: int, symbols: pl.Series) -> pl.Series:
        """Return whether each symbol is known to be a member; null without such a feed."""
        if "membership" not in self.raw:
            return pl.Series("in_membership", [None] * len(symbols), dtype=pl.Boolean)
        known = self.known("membership", number).sort(PRECEDENCE)
        for symbol, lives in self._lives(number).items():
            if lives:
                early = pl.col("available_at") < self._day_after(lives[-1][0])
                known = known.filter(~((pl.col("symbol") == symbol) & early))
        known = known.unique("symbol", keep="last")
        inside = known.filter(pl.col("member").fill_null(False))["symbol"]
        return symbols.is_in(inside.implode()).alias("in_membership")

    def _follows_halt(self, number: int) -> bool:
        """Return whether a day after the session before was announced and not held."""
        calendar = self.market.calendar
        before, today = calendar.sessions[number - 1], calendar.sessions[number]
        return any(before < day <= today for day in calendar.halts)

    def _date(self, number: int) -> date:
        return as_date(self.market.calendar.sessions[number])


def book_of(market: Market, raw: Raw, sessions: Sequence[int]) -> Book:
    """Return the book of some sessions, given by their numbers."""
    return Book(market, raw, tuple(sorted(sessions)))


def key_of(join: Join) -> str | None:
    """Return the column that names the key of a join; None where it holds for all."""
    return None if join.scope == "market" else join.scope
