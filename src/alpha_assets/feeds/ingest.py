"""From a delivery to stored rows: checked, stamped, compared with what is stored, appended.

A delivery that says again what is stored changes nothing.  One that says something else is a
correction: a further revision, kept beside what it corrects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError
from alpha_assets.feeds.base import CLOCK, INSTANT, Feed, Source
from alpha_assets.feeds.problem import FILE, ROW, raise_errors
from alpha_assets.feeds.rules import errors_in
from alpha_assets.spec import digest
from alpha_assets.store.manifest import ManifestInput
from alpha_assets.store.raw import RawTable

BAR_TOLERANCE = 1e-5  # relative; vendors round again what they adjust again
DELIVERIES = "_deliveries"


@dataclass(frozen=True)
class Ingested:
    """What one delivery changed."""

    feed: str
    new: int = 0  # rows of keys that were not stored
    revised: int = 0  # corrections of keys that were
    unchanged: int = 0
    months: tuple[str, ...] = ()  # whose files were rewritten


def source_digest(source: Source, calendar: Calendar) -> str:
    """Return the name of a source: rows of two of them are not mixed."""
    return digest(dict(source.identity), calendar.exchange)


def ingest(
    table: RawTable,
    feed: Feed,
    source: Source,
    calendar: Calendar,
    *,
    now: datetime,
    months: Sequence[str] | None = None,
) -> Ingested:
    """Store what a source delivers of a feed and the store does not have.

    Args:
        table: the feed's stored rows.
        feed: its declaration, with the market's publication time.
        source: who delivers.
        calendar: of the market.
        now: instant of ingestion, with a zone.
        months: keep to rows published in these months; default: all.

    Raises:
        FeedError: rows that cannot be right; nothing is stored then.
        SourceMismatch: the store holds rows of another source.
    """
    name = source_digest(source, calendar)
    delivery = table.store.folder(table.market, DELIVERIES, feed.name)
    fingerprint = digest(source.fingerprint(feed.name), feed.publication.__dict__)
    known = delivery.manifest()
    if (
        known is not None
        and known.digest == name
        and known.extra.get("fingerprint") == fingerprint
        and table.months()
    ):
        return Ingested(feed.name)
    rows = checked(source.rows(feed.name), feed, calendar, str(dict(source.identity)))
    stamped = with_clock(rows, feed, calendar, now)
    fresh = corrections(stamped, table, feed, now)
    if months is not None:
        local = pl.col("available_at").dt.convert_time_zone(calendar.zone.key)
        fresh = fresh.filter(local.dt.strftime("%Y-%m").is_in(list(months)))
    manifest = ManifestInput(digest=name, extra={"source": str(dict(source.identity))})
    appended = table.append(fresh, manifest) if fresh.height else None
    if months is None:
        delivery.write(
            {}, manifest.model_copy(update={"extra": {**manifest.extra, "fingerprint": fingerprint}})
        )
    revised = fresh.filter(pl.col("revision") > 0).height
    return Ingested(
        feed.name,
        new=fresh.height - revised,
        revised=revised,
        unchanged=stamped.height - fresh.height,
        months=appended.months if appended else (),
    )


def checked(rows: pl.DataFrame, feed: Feed, calendar: Calendar, origin: str) -> pl.DataFrame:
    """Return delivered rows with the feed's columns and types, found to break no rule.

    Raises:
        FeedError: naming every rule that is broken, and where first.
    """
    required = ["event_date", *feed.key, *[c.name for c in feed.columns if c.required]]
    missing = [name for name in dict.fromkeys(required) if name not in rows.columns]
    if missing:
        raise FeedError(f"{origin}: {feed.name} lacks the columns {', '.join(missing)}")
    raise_errors(errors_in(feed, rows, calendar), f"{origin}: {feed.name}")
    schema = {k: v for k, v in feed.schema.items() if k not in CLOCK}
    defaults = {c.name: c.default for c in feed.columns}
    filled = [
        (pl.col(name) if name in rows.columns else pl.lit(None))
        .cast(dtype)
        .fill_null(defaults[name])
        .alias(name)
        if defaults.get(name) is not None
        else (pl.col(name) if name in rows.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in schema.items()
    ]
    clock = [name for name in ("available_at", "revision") if name in rows.columns]
    return rows.drop(FILE, ROW, strict=False).select(*filled, *clock)


def with_clock(rows: pl.DataFrame, feed: Feed, calendar: Calendar, now: datetime) -> pl.DataFrame:
    """Return rows with `available_at` (their own stamp, else the feed's rule) and `ingested_at`."""
    rule = feed.publication.stamp(rows, calendar)
    own = (
        rows["available_at"].cast(INSTANT)
        if "available_at" in rows.columns
        else pl.Series([None] * rows.height, dtype=INSTANT)
    )
    return rows.with_columns(
        own.alias("_own"),
        own.fill_null(rule).alias("available_at"),
        pl.lit(now).cast(INSTANT).alias("ingested_at"),
    )


def corrections(
    rows: pl.DataFrame, table: RawTable, feed: Feed, now: datetime
) -> pl.DataFrame:
    """Return the rows that are not stored, with their revisions.

    A source that numbers its revisions is believed; otherwise a row that differs from the
    latest stored one of its key is the next revision, public at its own stamp if that is later
    than its predecessor's, else when it was ingested.
    """
    columns = list(feed.schema)
    stored = table.latest().collect() if table.months() else pl.DataFrame(schema=feed.schema)
    key = list(feed.key)
    if "revision" in rows.columns:
        numbered = rows.with_columns(pl.col("revision").fill_null(0).cast(pl.Int16))
        held = table.read(columns=[*key, "revision"]).collect()
        return numbered.join(held, on=[*key, "revision"], how="anti", nulls_equal=True).select(
            columns
        )
    both = rows.join(stored, on=key, how="left", suffix=" stored", nulls_equal=True)
    is_new = pl.col("revision").is_null()
    differs = pl.any_horizontal(
        _differs(name, dtype, feed.name)
        for name, dtype in feed.schema.items()
        if name not in (*key, *CLOCK)
    )
    later = pl.col("_own") > pl.col("available_at stored")
    available = (
        pl.when(is_new)
        .then(pl.col("available_at"))
        .when(later)
        .then(pl.col("_own"))
        .otherwise(pl.col("ingested_at"))
    )
    return (
        both.filter(is_new | differs)
        .with_columns(
            available.alias("available_at"),
            pl.when(is_new).then(0).otherwise(pl.col("revision") + 1).cast(pl.Int16).alias("revision"),
        )
        .select(columns)
    )


def _differs(name: str, dtype: object, feed: str) -> pl.Expr:
    one, other = pl.col(name), pl.col(f"{name} stored")
    if dtype == pl.Float64 and feed == "daily_bars":
        apart = (one - other).abs() > BAR_TOLERANCE * other.abs()
        return pl.when(one.is_null() | other.is_null()).then(one.ne_missing(other)).otherwise(apart)
    return one.ne_missing(other)
