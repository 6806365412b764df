"""Rows that a source delivers side by side with what they correct, distinguished by a column.

A publication day, for example, distinguishes the first numbers of a week from corrected ones.  What
is known of a key is its greatest version, in whichever order versions were delivered.
"""

from dataclasses import replace

import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.feeds.base import Feed
from alpha_assets.feeds.revisions import OWN, STORED, differs, to_compare
from alpha_assets.store.raw import RawTable

_NUMBER = "revision"
_RULE = "_corrected"  # when a correction is public by the feed's rule


def version_revisions(
    rows: pl.DataFrame, table: RawTable, feed: Feed, calendar: Calendar
) -> pl.DataFrame:
    """Return the rows that are not stored, with their revisions and stamps.

    A version that is stored keeps its revision.  Later ones follow in the order of the version
    column; an earlier one takes a number that was left free below its successor, else it was
    superseded before it came and is left out.  A row with other values under a stored
    version is a correction if that version is the key's greatest.

    Args:
        rows: unique in key and version, stamped as first revisions.
        table: the stored rows.
        feed: with a `version` column.
        calendar: of the market.
    """
    assert feed.version is not None, feed.name
    versioned = replace(feed, key=(*feed.key, feed.version))
    stored = to_compare(table.read(), versioned)
    last = stored.sort(f"{_NUMBER}{STORED}").unique(versioned.key, keep="last")
    both = rows.join(last, on=list(versioned.key), how="left")
    is_new = pl.col(f"{_NUMBER}{STORED}").is_null()
    fresh = both.filter(is_new | differs(versioned)).with_columns(is_new.alias("_is_new"))
    fresh = fresh.select(*rows.columns, "_is_new").with_columns(_ruled(fresh, feed, calendar))
    held = stored.select(
        *feed.key,
        feed.version,
        pl.col(f"{_NUMBER}{STORED}").alias(_NUMBER),
        pl.col(f"available_at{STORED}").alias("available_at"),
    )
    return _stamped(_numbered(fresh, held, feed, feed.version), held, feed)


def _ruled(rows: pl.DataFrame, feed: Feed, calendar: Calendar) -> pl.Series:
    rule = feed.corrected or feed.publication
    return rule.stamp(rows, calendar).alias(_RULE)


def _numbered(rows: pl.DataFrame, held: pl.DataFrame, feed: Feed, version: str) -> pl.DataFrame:
    """Return the rows with their revisions, without those that were superseded."""
    key = list(feed.key)
    ends = held.group_by(key).agg(
        pl.col(_NUMBER).max().alias("_last"), pl.col(version).max().alias("_greatest")
    )
    rows = rows.sort([*key, version]).join(ends, on=key, how="left", maintain_order="left")
    is_first = pl.col("_last").is_null()
    follows = is_first | (pl.col(version) > pl.col("_greatest"))
    follows |= (pl.col(version) == pl.col("_greatest")) & ~pl.col("_is_new")
    after = rows.filter(follows)
    after = after.with_columns(
        (pl.col("_last").fill_null(-1) + 1 + pl.int_range(pl.len()).over(key))
        .cast(pl.Int16)
        .alias(_NUMBER)
    )
    between = _between(rows.filter(~follows & pl.col("_is_new")), held, key, version)
    return pl.concat([after, between]).drop("_last", "_greatest")


def _between(rows: pl.DataFrame, held: pl.DataFrame, key: list[str], version: str) -> pl.DataFrame:
    """Return those earlier versions for which a revision below their successor's is free.

    Months are ingested one by one, in any order: a correction may be stored before what it
    corrects, under the number that both were given then.
    """
    held = held.select(*key, version, _NUMBER).sort(version, _NUMBER)
    after = held.rename({version: "_next", _NUMBER: "_upper"})
    before = held.rename({version: "_previous", _NUMBER: "_lower"})
    # Greatest stored number before each row, least after it: versions and numbers rise together.
    place = rows.sort(version).join_asof(
        before, left_on=version, right_on="_previous", by=key, check_sortedness=False
    )
    place = place.join_asof(
        after,
        left_on=version,
        right_on="_next",
        by=key,
        strategy="forward",
        check_sortedness=False,
    )
    number = pl.col("_lower").fill_null(-1) + 1 + pl.int_range(pl.len()).over([*key, "_next"])
    place = place.with_columns(number.cast(pl.Int16).alias(_NUMBER))
    free = place.filter(pl.col(_NUMBER) < pl.col("_upper"))
    return free.select(*rows.columns, _NUMBER)


def _stamped(rows: pl.DataFrame, held: pl.DataFrame, feed: Feed) -> pl.DataFrame:
    """Return numbered rows with the moments at which they became public.

    A correction is public at its own stamp, else by the feed's rule, if that is later than its
    predecessor's; else when it was ingested.  The rule does not cover a version that was
    delivered before with other values.  What would come out after a stored successor was
    superseded by it.
    """
    key = list(feed.key)
    place = [*key, _NUMBER, "available_at"]
    known = held.select(place)
    done = []
    for number in sorted(set(rows[_NUMBER].to_list())):
        part = rows.filter(pl.col(_NUMBER) == number)
        if number > 0:
            before = known.filter(pl.col(_NUMBER) < number).sort(_NUMBER)
            before = before.unique(key, keep="last").select(
                *key, pl.col("available_at").alias("_before")
            )
            part = part.join(before, on=key, how="left").with_columns(
                _correction_stamp().alias("available_at")
            )
        later = held.filter(pl.col(_NUMBER) > number).group_by(key)
        limits = later.agg(pl.col("available_at").min().alias("_until"))
        part = part.join(limits, on=key, how="left")
        part = part.filter((pl.col("available_at") <= pl.col("_until")).fill_null(True))
        done.append(part.select(list(feed.schema)))
        known = pl.concat([known, part.select(place)])
    return pl.concat(done) if done else rows.with_columns(pl.lit(None)).select(list(feed.schema))


def _correction_stamp() -> pl.Expr:
    before = pl.col("_before")
    stated = pl.col(OWN).fill_null(pl.when(pl.col("_is_new")).then(pl.col(_RULE)))
    late = pl.max_horizontal("ingested_at", before)
    return pl.when(before.is_null() | (stated > before)).then(stated).otherwise(late)
