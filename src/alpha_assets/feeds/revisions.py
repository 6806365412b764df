"""Compare a delivery with stored rows: rows of new keys, and corrections of stored ones.

Revision 0 is public at the row's own stamp, else by the feed's rule.  A correction is public at
its own stamp if that is later than its predecessor's, else when it was ingested; never before
what it corrects.
"""

from collections.abc import Sequence

import polars as pl

from alpha_assets.errors import FeedError
from alpha_assets.feeds.base import CLOCK, DataType, Feed, Source
from alpha_assets.feeds.problem import ADJ_CLOSE
from alpha_assets.store.raw import RawTable

OWN = "_own"  # the stamp that came with a row
STORED = " stored"
ROUND_OFF = 1e-5  # relative; a factor that moved by less is the same whatever its rounding
LEVEL = "level"  # of the prices of a bar, against its first revision; null = 1


def corrections(rows: pl.DataFrame, table: RawTable, feed: Feed) -> pl.DataFrame:
    """Return the rows that are not stored, with their revisions and stamps.

    A source that numbers its revisions is believed; otherwise a row that differs from the
    latest stored one of its key is the next revision.

    Raises:
        FeedError: a numbered revision is stored with other values.
    """
    if "revision" in rows.columns:
        return _numbered(rows, table, feed)
    key = list(feed.key)
    stored = to_compare(table.latest(), feed)
    both = rows.join(stored, on=key, how="left")
    is_new = pl.col(f"revision{STORED}").is_null()
    fresh = both.filter(is_new | differs(feed)).with_columns(
        pl.when(is_new)
        .then(pl.col("available_at"))
        .otherwise(corrected_at(f"available_at{STORED}"))
        .alias("available_at"),
        (pl.col(f"revision{STORED}") + 1).fill_null(0).cast(pl.Int16).alias("revision"),
    )
    return fresh.select(list(feed.schema))


def lost_columns(
    delivered: Sequence[str], table: RawTable, feed: Feed, source: Source, origin: str
) -> tuple[str, ...]:
    """Return in words which optional columns have stored values and are delivered no more.

    Their values are withdrawn from the rows that are delivered again.  Factors are not: without
    their column each stored split would be taken back.

    Args:
        delivered: names of the columns.
        table: the stored rows.
        feed: theirs.
        source: what delivers; factors of a split-adjusted one are read from its restatements,
            share factors of one with adjusted closes from those.
        origin: of the delivery, in messages.

    Raises:
        FeedError: stored bars have factors, and the delivery has neither `adjustment_factor` nor
            `adj_close`.
    """
    absent = [
        column
        for column in feed.columns
        if not (column.required or column.is_derived or column.name in delivered)
    ]
    if not absent or not table.months():
        return ()
    counts = table.latest().select(
        pl.col(c.name).ne_missing(pl.lit(c.absent, dtype=c.dtype)).sum() for c in absent
    )
    stored = {name: n for name, n in counts.collect().row(0, named=True).items() if n}
    if source.price_level == "split_adjusted":
        stored.pop("adjustment_factor", None)
    if source.basis == "total_return":
        stored.pop("share_factor", None)
    if "adjustment_factor" in stored:
        raise FeedError(
            f"{origin}: {feed.name} has neither adjustment_factor nor adj_close, and "
            f"{stored['adjustment_factor']:,} stored bars have factors other than 1, which it "
            "would take back; deliver the column, or choose another --storage"
        )
    return tuple(
        f"the column {name} is delivered no more; {n:,} stored rows have values of it, which are "
        "withdrawn where a row is delivered again"
        for name, n in stored.items()
    )


def differs(feed: Feed) -> pl.Expr:
    """Return whether a row has other values than the stored one beside it.

    Numbers of a feed with a tolerance are the same within it, relative to what is stored:
    vendors round again what they restate.
    """
    values = {n: t for n, t in feed.schema.items() if n not in (*feed.key, *CLOCK, LEVEL)}
    differing = [_value_differs(name, dtype, feed.tolerance) for name, dtype in values.items()]
    if LEVEL in feed.schema:
        level, stored = pl.col(LEVEL).fill_null(1.0), pl.col(f"{LEVEL}{STORED}").fill_null(1.0)
        differing.append((level - stored).abs() > feed.tolerance * stored)
    return pl.any_horizontal(differing)


def corrected_at(predecessor: str) -> pl.Expr:
    """Return when a correction of a row became public.

    Args:
        predecessor: the column with the stamp of what is corrected.
    """
    before = pl.col(predecessor)
    late = pl.max_horizontal("ingested_at", before)
    return pl.when(pl.col(OWN) > before).then(pl.col(OWN)).otherwise(late)


def first_factors(bars: pl.DataFrame, table: RawTable) -> pl.DataFrame:
    """Return bars whose first factor per symbol is the stored one, where one is stored.

    A factor is read from two neighbouring adjusted closes, so a delivery does not determine that of
    its first bar.

    Raises:
        FeedError: a symbol is stored up to some bar, and the delivery begins after it.
    """
    if not table.months():
        return bars
    columns = ["symbol", "event_date", "adjustment_factor"]
    stored = table.latest().select(*columns, pl.lit(True).alias("is_stored")).collect()
    known = bars.join(stored, on=["symbol", "event_date"], how="left", suffix=STORED)
    is_first = pl.col("event_date") == pl.col("event_date").min().over("symbol")
    begun = stored.group_by("symbol").agg(pl.col("event_date").min().alias("begun"))
    adrift = (
        known.filter(is_first & pl.col("is_stored").is_null())
        .join(begun, on="symbol")
        .filter(pl.col("begun") < pl.col("event_date"))
        .sort("symbol")
    )
    if adrift.height:
        row = adrift.row(0, named=True)
        raise FeedError(
            f"{adrift.height} symbols of {table.name} begin after bars that are stored, first "
            f"{row['symbol']} on {row['event_date']}: a factor is read from two neighbouring "
            "adj_close; deliver the last stored session again, with what follows"
        )
    return known.with_columns(
        pl.when(is_first & pl.col("is_stored"))
        .then(pl.col(f"adjustment_factor{STORED}"))
        .otherwise(pl.col("adjustment_factor"))
        .alias("adjustment_factor")
    ).drop(f"adjustment_factor{STORED}", "is_stored")


def unrounded_factors(bars: pl.DataFrame, table: RawTable) -> pl.DataFrame:
    """Return bars whose factors are the stored ones where only the vendor's rounding moved them.

    A factor is a ratio of four prices; rounded to cents, those of a penny share put it percents
    apart each time the past is restated.

    Args:
        bars: with the adjusted closes that the factors were read from, in `ADJ_CLOSE`.
        table: the stored bars.
    """
    if not table.months():
        return bars
    columns = ["symbol", "event_date", "adjustment_factor"]
    stored = table.latest().select(columns).collect()
    factor, known = pl.col("adjustment_factor"), pl.col(f"adjustment_factor{STORED}")
    both = bars.join(
        stored, on=["symbol", "event_date"], how="left", suffix=STORED, maintain_order="left"
    )
    moved = both.filter((factor - known).abs() > ROUND_OFF * known)["symbol"].unique()
    if moved.is_empty():
        return bars
    steps = (
        both.filter(pl.col("symbol").is_in(moved.implode()))
        .group_by("symbol")
        .agg(_step(pl.col("close")).alias("_step"), _step(pl.col(ADJ_CLOSE)).alias("_adj_step"))
    )
    half = 0.5 * (pl.col("_step") / pl.col("close") + pl.col("_adj_step") / pl.col(ADJ_CLOSE))
    both = both.join(steps, on="symbol", how="left", maintain_order="left")
    both = both.with_columns(half.alias("_half"))
    before = pl.col("_half").forward_fill().shift(1).over("symbol", order_by="event_date")
    # Two such ratios are compared: each may be off by its own rounding.
    is_rounding = (factor / known - 1).abs() <= 2 * (pl.col("_half") + before)
    return both.with_columns(
        pl.when(is_rounding).then(known).otherwise(factor).alias("adjustment_factor")
    ).select(bars.columns)


def _step(prices: pl.Expr) -> pl.Expr:
    """Return the smallest step of decimal prices of a group; 0 where they are not rounded."""
    found = pl.lit(0.0)
    for decimals in range(4, -1, -1):
        scaled = prices * 10.0**decimals
        is_whole = (scaled - scaled.round()).abs() <= 1e-9 * pl.max_horizontal(scaled, 1.0)
        found = pl.when(is_whole.all()).then(10.0**-decimals).otherwise(found)
    return found


def corrected_factors(fresh: pl.DataFrame, table: RawTable, tolerance: float) -> str:
    """Return in words which factors of stored bars are now others; empty where none is.

    A factor that was not known and is 1 needs no word.

    Args:
        fresh: the rows to store, revisions among them.
        table: the stored bars.
        tolerance: relative; factors closer than that are the same.
    """
    revised = fresh.filter(pl.col("revision") > 0)
    if revised.is_empty():
        return ""
    columns = ["symbol", "event_date", "adjustment_factor"]
    both = revised.join(
        table.latest().select(columns).collect(),
        on=["symbol", "event_date"],
        suffix=STORED,
    )
    factor = pl.col("adjustment_factor").fill_null(1.0)
    known = pl.col(f"adjustment_factor{STORED}").fill_null(1.0)
    other = both.filter((factor - known).abs() > tolerance * known).sort("event_date", "symbol")
    if other.is_empty():
        return ""
    row = other.row(0, named=True)
    stored, now = row[f"adjustment_factor{STORED}"], row["adjustment_factor"]
    return (
        f"the adjustment factor of {other.height} stored bars was corrected, first "
        f"{row['symbol']} of {row['event_date']}: {_number(stored)}, now {_number(now)}; panel "
        "rows of sessions before this correction keep the old one"
    )


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.6g}"


def with_withdrawn(rows: pl.DataFrame, table: RawTable, feed: Feed) -> pl.DataFrame:
    """Return events and what became of those that are stored and no longer delivered.

    A member whose end was moved was still one on the old end; a symbol that did not leave is
    active on the day of its supposed exit.  Symbols that are not delivered stay as they are.

    Args:
        rows: all events of each symbol, stamped.
        table: the stored ones.
        feed: `listings` or `membership`.
    """
    key = list(feed.key)
    gone = table.latest().select(key).collect().join(rows, on=key, how="anti")
    gone = gone.join(rows, on="symbol", how="semi").sort("event_date")
    if gone.is_empty():
        return rows
    delivered = rows.sort("event_date")
    # Checked just above: both are in the order of their dates.
    state = gone.join_asof(delivered, on="event_date", by="symbol", check_sortedness=False)
    if "member" in feed.schema:
        state = state.with_columns(pl.col("member").fill_null(False))
    else:
        state = state.filter(pl.col("exit").is_not_null())
    ingested = rows["ingested_at"][0]
    state = state.with_columns(
        pl.lit(None).cast(rows.schema[OWN]).alias(OWN),
        pl.lit(ingested).cast(rows.schema["ingested_at"]).alias("ingested_at"),
    )
    return pl.concat([rows, state.select(rows.columns)])


def _numbered(rows: pl.DataFrame, table: RawTable, feed: Feed) -> pl.DataFrame:
    """Return the rows whose key and revision are not stored, as the source numbers them."""
    key = list(feed.key)
    rows = rows.with_columns(pl.col("revision").fill_null(0).cast(pl.Int16))
    held = to_compare(table.read(), feed)
    both = rows.join(
        held.rename({f"revision{STORED}": "revision"}), on=[*key, "revision"], how="left"
    )
    is_stored = pl.col(f"available_at{STORED}").is_not_null()
    changed = both.filter(is_stored & differs(feed))
    if changed.height:
        raise FeedError(_restated(changed, feed, table.name))
    place = [*key, "revision", "available_at"]
    known = [
        held.rename(
            {f"revision{STORED}": "revision", f"available_at{STORED}": "available_at"}
        ).select(place)
    ]
    fresh = both.filter(~is_stored)
    done = [fresh.filter(pl.col("revision") == 0)]
    known.append(done[0].select(place))
    for number in sorted(set(fresh["revision"].to_list()) - {0}):
        part = fresh.filter(pl.col("revision") == number)
        before = (
            pl.concat(known)
            .filter(pl.col("revision") < number)
            .sort("revision")
            .unique(key, keep="last")
            .select(*key, pl.col("available_at").alias("before"))
        )
        # A correction of what was not delivered is public at its own stamp, as a first row is.
        alone = pl.col("before").is_null()
        part = part.join(before, on=key, how="left").with_columns(
            pl.when(alone)
            .then(pl.col(OWN).fill_null(pl.col("ingested_at")))
            .otherwise(corrected_at("before"))
            .alias("available_at")
        )
        done.append(part.drop("before"))
        known.append(part.select(place))
    return pl.concat(done).select(list(feed.schema))


def to_compare(stored: pl.LazyFrame, feed: Feed) -> pl.DataFrame:
    """Return stored rows with all but the key renamed, to stand beside delivered ones."""
    others = [name for name in feed.schema if name not in feed.key]
    return stored.select(
        *feed.key, *[pl.col(name).alias(f"{name}{STORED}") for name in others]
    ).collect()


def _value_differs(name: str, dtype: DataType, tolerance: float) -> pl.Expr:
    one, other = pl.col(name), pl.col(f"{name}{STORED}")
    if dtype != pl.Float64 or not tolerance:
        return one.ne_missing(other)
    apart = (one - other).abs() > tolerance * other.abs()
    return pl.when(one.is_null() | other.is_null()).then(one.ne_missing(other)).otherwise(apart)


def _restated(changed: pl.DataFrame, feed: Feed, name: str) -> str:
    row = changed.row(0, named=True)
    place = ", ".join(str(row[part]) for part in (*feed.key, "revision"))
    values: Sequence[str] = [column.name for column in feed.values]
    differences = ", ".join(
        f"{value} = {row[value]} (stored {row[f'{value}{STORED}']})"
        for value in values
        if row[value] != row[f"{value}{STORED}"]
    )
    return (
        f"{changed.height} rows of {name} are stored with other values under the same revision, "
        f"first ({place}): {differences}; a source that numbers its revisions gives a correction a "
        "higher one"
    )
