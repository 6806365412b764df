"""From a delivery to stored rows: checked, stamped, compared with what is stored, appended.

A delivery of what is stored already changes nothing.  One with other values is a
correction: a further revision, kept beside what it corrects.  A row that is not public yet at
the instant of its delivery cannot be final: it is left out, and named.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError, RangeError, SourceMismatch
from alpha_assets.feeds.base import CLOCK, INSTANT, Feed, Source
from alpha_assets.feeds.delivery_note import DeliveryNote, Findings, note_folder
from alpha_assets.feeds.problem import ADJ_CLOSE, FILE, ROW, raise_errors
from alpha_assets.feeds.revisions import (
    OWN,
    corrected_factors,
    corrections,
    first_factors,
    lost_columns,
    unrounded_factors,
    with_withdrawn,
)
from alpha_assets.feeds.shares import stored_shares, with_share_factors
from alpha_assets.feeds.unit_changes import restated_units, seam_problems
from alpha_assets.feeds.validation import clock_errors, errors_in
from alpha_assets.feeds.vendor_restatement import on_first_levels
from alpha_assets.feeds.versions import version_revisions
from alpha_assets.spec import digest
from alpha_assets.store.manifest import ManifestInput
from alpha_assets.store.raw import RawTable


@dataclass(frozen=True)
class Ingested:
    """What one delivery changed."""

    feed: str
    new: int = 0  # rows of keys that were not stored
    revised: int = 0  # corrections of keys that were
    unchanged: int = 0
    months: tuple[str, ...] = ()  # whose files were rewritten
    omitted: int = 0  # rows that were not public yet when they were delivered
    notes: tuple[str, ...] = ()  # what a person should know of this delivery
    warnings: tuple[str, ...] = ()  # of the import: what is odd about the delivered rows


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
    code: str = "",
) -> Ingested:
    """Store what a source delivers of a feed and the store does not have.

    An interrupted run is taken up by the next one: months that were finished are found
    unchanged.

    Args:
        table: the feed's stored rows.
        feed: its declaration, with the market's publication time.
        source: who delivers.
        calendar: of the market.
        now: instant of ingestion, with a zone.
        months: keep to rows published in these months; default: all.
        code: digest of the code that stores them, for their manifests.

    Raises:
        FeedError: rows that cannot be right; nothing is stored then.
        SourceMismatch: the store holds rows of another source, or with other stamps.
    """
    if now.tzinfo is None:
        raise RangeError(f"now = {now} has no time zone; want one, such as UTC")
    now = now.astimezone(UTC)
    published = ", ".join(f"{name} {value}" for name, value in vars(feed.publication).items())
    extra = {"source": str(dict(source.identity)), "published": published}
    manifest = ManifestInput(digest=source_digest(source, calendar), code=code, extra=extra)
    # An append of nothing refuses another source, also one with the same rows.
    table.append(pl.DataFrame(schema=feed.schema), manifest)
    source.refresh(feed.name)
    note = DeliveryNote(
        note_folder(table.store, table.market, feed.name),
        source,
        feed.name,
        published,
        manifest,
        now,
    )
    if note.covers(months, table):
        note.confirm(table)
        known = note.findings()
        return Ingested(feed.name, omitted=known.omitted, notes=known.words())
    note.begin(table)
    delivered = source.rows(feed.name)
    lost = lost_columns(delivered.columns, table, feed, source, extra["source"])
    rows = checked(delivered, feed, calendar, extra["source"])
    stamped = with_clock(rows, feed, calendar, now)
    if not feed.known_ahead:
        raise_errors(clock_errors(feed, stamped, calendar), f"{extra['source']}: {feed.name}")
    _check_publication(table, stamped, published)
    is_whole = feed.name in source.complete_feeds
    is_ahead = feed.name in source.restated_feeds
    is_public = _is_public(stamped.drop(FILE, strict=False) if is_ahead else stamped, note)
    early, stamped = stamped.filter(~is_public), stamped.filter(is_public).drop(FILE, strict=False)
    stopped: dict[str, str] = {}
    remarks: tuple[str, ...] = ()
    if feed.name == "daily_bars":
        if source.price_level == "split_adjusted":
            stamped, found, remarks = on_first_levels(stamped, table, feed)
            stopped = dict(found)
        if source.basis == "total_return":
            stamped = first_factors(stamped, table)
        if ADJ_CLOSE in stamped.columns:
            stamped = unrounded_factors(stamped, table).drop(ADJ_CLOSE)
    if is_whole:
        stamped = with_withdrawn(stamped, table, feed)
    if feed.name == "daily_bars" and source.basis == "total_return":
        stamped = with_share_factors(stamped, source.price_level, stored_shares(table))
    if feed.version is not None and "revision" not in stamped.columns:
        fresh = version_revisions(stamped, table, feed, calendar)
    else:
        fresh = corrections(stamped, table, feed)
    changed_units = restated_units(
        stamped, fresh, table, feed, restates_splits=source.price_level == "split_adjusted"
    )
    raise_errors(changed_units, f"{extra['source']}: {feed.name}")
    unchanged = stamped.height - fresh.height
    # A correction may be due later than the row that it corrects.
    is_due = fresh["available_at"] <= now
    named = [*feed.key, "available_at"]
    early = pl.concat([early.select(named), fresh.filter(~is_due).select(named)])
    fresh = fresh.filter(is_due)
    findings = Findings.of(early, note.newest, stopped)
    if months is not None:
        local = pl.col("available_at").dt.convert_time_zone(calendar.zone.key)
        fresh = fresh.filter(local.dt.strftime("%Y-%m").is_in(list(months)))
    words = [*findings.words(), *remarks, *lost]
    if feed.name == "daily_bars":
        words.append(corrected_factors(fresh, table, feed.tolerance))
    seam = seam_problems(stamped, fresh, table, feed)
    raise_errors(seam, f"{extra['source']}: {feed.name}")
    words += [problem.line for problem in seam]
    appended = table.append(fresh, manifest)
    note.write(months, table, findings)
    revised = fresh.filter(pl.col("revision") > 0).height
    return Ingested(
        feed.name,
        new=fresh.height - revised,
        revised=revised,
        unchanged=unchanged,
        months=appended.months,
        omitted=findings.omitted,
        notes=tuple(word for word in words if word),
    )


def checked(rows: pl.DataFrame, feed: Feed, calendar: Calendar, origin: str) -> pl.DataFrame:
    """Return delivered rows with the feed's columns and types, found to break no rule.

    Raises:
        FeedError: naming every rule that is broken, and where first.
    """
    required = ["event_date", *feed.key, *[c.name for c in feed.columns if c.required]]
    lacking = [name for name in dict.fromkeys(required) if name not in rows.columns]
    if lacking:
        raise FeedError(
            f"{origin}: {feed.name} lacks the columns {', '.join(lacking)}; it has "
            f"{', '.join(name for name in rows.columns if name not in (FILE, ROW))}"
        )
    types = {name: dtype for name, dtype in feed.schema.items() if name not in CLOCK}
    try:
        rows = rows.with_columns(pl.col(n).cast(t) for n, t in types.items() if n in rows.columns)
    except pl.exceptions.PolarsError as error:
        raise FeedError(f"{origin}: {feed.name} has a column of a wrong type: {error}") from None
    raise_errors(errors_in(feed, rows, calendar), f"{origin}: {feed.name}")
    declared = {column.name: column for column in feed.columns}
    values = []
    for name, dtype in types.items():
        column = declared.get(name)
        missing = column.absent if column else None
        absent = pl.lit(missing, dtype=dtype).alias(name)
        value = pl.col(name) if name in rows.columns else absent
        known = column.default if column else None
        values.append(value if known is None else value.fill_null(pl.lit(known)).alias(name))
    beside = ("available_at", "revision", FILE, ADJ_CLOSE)
    clock = [name for name in beside if name in rows.columns]
    return rows.select(*values, *clock)


def with_clock(rows: pl.DataFrame, feed: Feed, calendar: Calendar, now: datetime) -> pl.DataFrame:
    """Return rows with the stamp of a first revision and with `ingested_at`.

    `available_at` is the row's own stamp, else by the feed's rule; the row's own stays
    beside it.
    """
    own = pl.col("available_at") if "available_at" in rows.columns else pl.lit(None)
    rule = feed.publication.stamp(rows, calendar)
    return rows.with_columns(
        own.cast(INSTANT).alias(OWN), pl.lit(now).cast(INSTANT).alias("ingested_at")
    ).with_columns(pl.col(OWN).fill_null(rule).alias("available_at"))


def _is_public(rows: pl.DataFrame, note: DeliveryNote) -> pl.Series:
    """Return whether each row was public when it was delivered.

    A row without a stamp is left for those who give it one.
    """
    instant: pl.Expr = pl.lit(note.newest).cast(INSTANT)
    if FILE in rows.columns:
        read = {name: note.first_read(name) for name in rows[FILE].unique().to_list()}
        instant = pl.col(FILE).replace_strict(read, return_dtype=INSTANT)
    public = (pl.col("available_at") <= instant).fill_null(True)
    return rows.select(public.alias("is_public")).to_series()


def _check_publication(table: RawTable, rows: pl.DataFrame, published: str) -> None:
    """Refuse to stamp by one rule what lies beside rows that were stamped by another."""
    stored = table.months()
    if not stored or not rows[OWN].null_count():
        return
    manifest = table.table.folder(stored[0]).manifest()
    before = manifest.extra.get("published", published) if manifest else published
    if before != published:
        raise SourceMismatch(
            f"{table.name} in {table.store.address} was stamped as published {before!r}, the "
            f"market now declares {published!r}; stored stamps do not change: set "
            f"[feeds.{table.feed.name}] publication_time back, or choose another --storage"
        )
