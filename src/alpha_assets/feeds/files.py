"""Source `files`: a folder of Parquet or CSV tables, one per feed.

`<feed>.parquet`, `<feed>.csv`, or a folder `<feed>/` of Parquet files.  Only `daily_bars` must
be there.  Rows may lie in any order.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Literal

import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError
from alpha_assets.feeds.base import Basis, PriceLevel
from alpha_assets.feeds.listings import ACTIVE
from alpha_assets.feeds.problem import FILE, ROW
from alpha_assets.spec import Spec

FOLDER_VARIABLE = "ALPHA_DATA"
READS = ("daily_bars", "listings", "membership", "dividends", "borrow", "rates", "benchmark")
RENAMED = {  # the contract's word for the event date
    "daily_bars": "date",
    "dividends": "ex_date",
    "borrow": "date",
    "rates": "date",
    "benchmark": "date",
}


class FilesSourceSpec(Spec):
    """`[source]` of a market that reads a folder."""

    kind: Literal["files"] = "files"
    path: str | None = None  # None: `--data`, else the environment's ALPHA_DATA
    price_level: PriceLevel | None = None  # None: split_adjusted where adj_close is given
    exit_words: dict[str, str] = {}  # theirs -> delisted, acquired, source_end, active


class FilesSource:
    """Delivers what a folder holds now."""

    def __init__(self, spec: FilesSourceSpec, calendar: Calendar) -> None:
        self.spec = spec
        self.calendar = calendar

    @property
    def folder(self) -> Path:
        """The folder that is read.

        Raises:
            FeedError: none was named, or it does not exist.
        """
        named = self.spec.path or os.environ.get(FOLDER_VARIABLE)
        if not named:
            raise FeedError(
                "this market reads files, and no folder was named: use --data DIR, set "
                f"{FOLDER_VARIABLE}, or write [source] path in the market's file"
            )
        folder = Path(named)
        if not folder.is_dir():
            raise FeedError(f"{folder}: there is no such folder")
        return folder

    @property
    def is_named(self) -> bool:
        """Whether there is a folder to look into; the graph can be drawn without one."""
        return bool(self.spec.path or os.environ.get(FOLDER_VARIABLE))

    @property
    def identity(self) -> Mapping[str, str]:
        """The folder; a changed file of it is a correction, another folder another source."""
        if not self.is_named:
            return {"kind": "files", "folder": "(none named)"}
        return {"kind": "files", "folder": str(self.folder.resolve())}

    @cached_property
    def bar_columns(self) -> tuple[str, ...]:
        """Columns of the bars as delivered."""
        if not self.is_named:
            return ()
        return tuple(self._scan("daily_bars").collect_schema().names())

    @property
    def price_level(self) -> PriceLevel:
        """`split_adjusted` where an adjusted close is given, unless the market says otherwise."""
        if self.spec.price_level is not None:
            return self.spec.price_level
        return "raw" if self.bar_columns and "adj_close" not in self.bar_columns else "split_adjusted"

    @property
    def basis(self) -> Basis:
        """`total_return` where factors are read from an adjusted close."""
        return "total_return" if "adj_close" in self.bar_columns else "price"

    def feeds(self) -> tuple[str, ...]:
        """Return the feeds that the folder has; all of them while no folder is named."""
        if not self.is_named:
            return READS
        return tuple(name for name in READS if self._files(name))

    def off(self) -> Mapping[str, str]:
        """Return the feeds that the folder lacks."""
        here = self.feeds()
        absent = {name: f"the folder has no {name}.parquet" for name in READS if name not in here}
        return {**absent, "trading_calendar": "a folder of files has none; the exchange's is used"}

    def fingerprint(self, feed: str) -> str:
        """Return a hash of the feed's files and of how they are read."""
        found = hashlib.blake2b(repr(sorted(self.spec.exit_words.items())).encode(), digest_size=16)
        for path in self._files(feed):
            found.update(path.name.encode())
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    found.update(block)
        return found.hexdigest()

    def rows(self, feed: str) -> pl.DataFrame:
        """Return the feed's rows, in the form of raw rows.

        Raises:
            FeedError: the folder lacks it, or a file cannot be read.
        """
        if feed not in self.feeds():
            raise FeedError(f"{self.folder}: there is no {feed}.parquet, .csv or folder {feed}/")
        frame = self._collected(feed)
        if frame.is_empty():
            raise FeedError(f"{self.folder}: {feed} has no rows")
        return SHAPED[feed](self, frame)

    def bars(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return bars, an adjusted close turned into factors."""
        frame = frame.sort("symbol", "event_date")
        if "adj_close" not in frame.columns:
            return frame
        if "adjustment_factor" in frame.columns:
            raise FeedError(
                f"{self.folder}: daily_bars has adj_close and adjustment_factor; keep one of them"
            )
        share = pl.col("adj_close") / pl.col("close")
        factor = (share.shift(1) / share).over("symbol").fill_null(1.0)
        return frame.with_columns(adjustment_factor=factor).drop("adj_close")

    def listings(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return listings as dated events: one at the start, one at the end."""
        words = {**self.spec.exit_words}
        known = [name for name in ("ticker", "name", "sector", "market_segment", "shortable")]
        frame = frame.with_columns(
            *[pl.lit(None).alias(n) for n in (*known, "start", "end", "exit", "exit_return")
              if n not in frame.columns]
        ).with_columns(
            pl.col("start").cast(pl.Date).fill_null(self._first_bars(frame)),
            pl.col("end").cast(pl.Date),
            pl.col("exit").cast(pl.String).replace(words).fill_null(ACTIVE),
            sector_is_static=pl.lit(True),
        )
        start = frame.with_columns(
            event_date=pl.col("start"),
            exit=pl.lit(ACTIVE),
            exit_return=pl.lit(None, dtype=pl.Float64),
            end=pl.lit(None, dtype=pl.Date),
        )
        left = frame.filter(pl.col("exit") != ACTIVE).with_columns(
            event_date=pl.col("end"), exit_return=pl.col("exit_return").cast(pl.Float64).fill_null(0.0)
        )
        # Known from the session after the last bar's: late in the evening of the end.
        return pl.concat([start, left.select(start.columns)], how="vertical_relaxed")

    def membership(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return membership spells as dated events: in at the start, out at the end."""
        never = date(9999, 12, 31)
        spells = (
            frame.select(
                "symbol",
                pl.col("start").cast(pl.Date),
                pl.col("end").cast(pl.Date).fill_null(never),
            )
            # A spell whose end, exclusive, is its start holds no session.
            .filter(pl.col("end") > pl.col("start"))
            .sort("symbol", "start")
        )
        # Spells that overlap or touch are one: a member twice over is a member.
        so_far = pl.col("end").cum_max().shift(1).over("symbol")
        opens = (pl.col("start") > so_far).fill_null(True)
        merged = (
            spells.with_columns(opens.cum_sum().over("symbol").alias("spell"))
            .group_by("symbol", "spell")
            .agg(pl.col("start").min(), pl.col("end").max())
        )
        entered = merged.select(
            pl.col("start").alias("event_date"), "symbol", pl.lit(True).alias("member")
        )
        left = merged.filter(pl.col("end") < never).select(
            pl.col("end").alias("event_date"), "symbol", pl.lit(False).alias("member")
        )
        return pl.concat([entered, left]).sort("symbol", "event_date")

    def _plain(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame

    def _first_bars(self, frame: pl.DataFrame) -> pl.Series:
        first = self._collected("daily_bars").group_by("symbol").agg(pl.col("event_date").min())
        return frame.select("symbol").join(first, on="symbol", how="left", maintain_order="left")[
            "event_date"
        ]

    def _files(self, feed: str) -> list[Path]:
        folder = self.folder
        single = [folder / f"{feed}.parquet", folder / f"{feed}.csv"]
        found = [path for path in single if path.is_file()]
        return found or sorted((folder / feed).glob("*.parquet"))

    def _scan(self, feed: str) -> pl.LazyFrame:
        files = self._files(feed)
        if not files:
            raise FeedError(f"{self.folder}: there is no {feed}.parquet, .csv or folder {feed}/")
        frames = [
            pl.scan_csv(path, try_parse_dates=True, schema_overrides={"symbol": pl.String})
            if path.suffix == ".csv"
            else pl.scan_parquet(path)
            for path in files
        ]
        return pl.concat(frames, how="diagonal_relaxed")

    def _collected(self, feed: str) -> pl.DataFrame:
        try:
            frame = self._scan(feed).with_row_index(ROW, offset=1).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise FeedError(
                f"{self.folder}: {feed} cannot be read: {error}; it is truncated or no table: "
                "deliver it again"
            ) from None
        frame = frame.with_columns(pl.lit(feed).alias(FILE), pl.col("symbol").cast(pl.String)) if (
            "symbol" in frame.columns
        ) else frame.with_columns(pl.lit(feed).alias(FILE))
        word = RENAMED.get(feed)
        if word in frame.columns:
            frame = frame.rename({word: "event_date"}).with_columns(pl.col("event_date").cast(pl.Date))
        return frame


SHAPED: dict[str, Callable[[FilesSource, pl.DataFrame], pl.DataFrame]] = {
    "daily_bars": FilesSource.bars,
    "listings": FilesSource.listings,
    "membership": FilesSource.membership,
    "dividends": FilesSource._plain,
    "borrow": FilesSource._plain,
    "rates": FilesSource._plain,
    "benchmark": FilesSource._plain,
}
