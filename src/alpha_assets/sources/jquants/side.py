"""Rows of the feeds beside the prices, from the API's text.

`plain` returns the columns that have one of the API's; the other functions add to it what one
feed needs beyond.  Rows are in the order of their key.
"""

import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError
from alpha_assets.feeds import FEEDS
from alpha_assets.feeds.base import DataType
from alpha_assets.feeds.flows import ALL_SECTIONS
from alpha_assets.feeds.sectors import SECTORS
from alpha_assets.sources.jquants.endpoints import (
    INDICES,
    INVESTOR_TYPES,
    MARGIN_ALERT,
    OPTIONS_225,
    REASON_NAMES,
    SHORT_RATIO,
    SHORT_SALE_REPORT,
    Endpoint,
)
from alpha_assets.sources.jquants.parse import columns_of, dates, in_order, text
from alpha_assets.sources.jquants.prices import clock, on_sessions

_SECTOR_OF_CODE = {code: english for code, _, english in SECTORS}
_N_SECTORS = 33
# The exchange counts its sector indices on with letters: 0049, 004A, ..., 0060.
SECTOR_OF_INDEX = {f"{0x40 + n:04X}": SECTORS[n][2] for n in range(_N_SECTORS)}

SECTIONS = {
    "TSE1st": "First Section",
    "TSE2nd": "Second Section",
    "TSEMothers": "Mothers",
    "TSEJASDAQ": "JASDAQ",
    "TSEPrime": "Prime",
    "TSEStandard": "Standard",
    "TSEGrowth": "Growth",
    "TokyoNagoya": ALL_SECTIONS,
}


def plain(endpoint: Endpoint, frame: pl.DataFrame, **computed: pl.Series) -> pl.DataFrame:
    """Return rows of an endpoint's feed, with the stamps of a server that keeps every version.

    Args:
        endpoint: whose rows.
        frame: its text.
        computed: columns in place of, or beside, those that the API has.
    """
    feed = FEEDS[endpoint.feed]
    rows = in_order(endpoint, {**columns_of(endpoint, frame, computed), **computed})
    if feed.version is None:  # versions of the others stand side by side
        rows = rows.with_columns(clock(frame))
    order = [*feed.key, *(name for name in ("disclosed", "published") if name in rows.columns)]
    return rows.sort(list(dict.fromkeys(order)), maintain_order=True)


def sector_short_selling(frame: pl.DataFrame) -> pl.DataFrame:
    """Return each sector's sales of each session; code 9999 is `Other`."""
    # Some files write the code without its leading zero.
    sector = frame["S33"].str.zfill(4).replace(_SECTOR_OF_CODE)
    # A row without trading has no values.
    return plain(SHORT_RATIO, frame, sector=sector).filter(
        pl.any_horizontal(pl.col("selling", "restricted", "exempt").is_not_null())
    )


def short_positions(frame: pl.DataFrame) -> pl.DataFrame:
    """Return reports of large short positions; a name that was left empty stays empty."""
    # Without a report before, its ratio is written as 0.
    has_previous = pl.col("previous_date").is_not_null()
    return plain(SHORT_SALE_REPORT, frame).with_columns(
        pl.when(has_previous).then("previous_ratio").alias("previous_ratio")
    )


def margin_alerts(frame: pl.DataFrame) -> pl.DataFrame:
    """Return balances of issues under watch, with all versions and the reasons."""
    return plain(MARGIN_ALERT, frame, **_reasons(frame))


def investor_types(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the trades of a week by section and type of investor, with all versions."""
    return plain(INVESTOR_TYPES, frame, section=frame["Section"].replace(SECTIONS))


def index_options(frame: pl.DataFrame) -> pl.DataFrame:
    """Return every contract of the surface, those rows for emergency margin included."""
    # A price of 0 means that nothing was traded.
    traded = pl.col("close").ne_missing(0)
    return plain(OPTIONS_225, frame).with_columns(pl.when(traded).then("close").alias("close"))


def sector_indices(frame: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Return the levels of the 33 sector indices on sessions.

    The API made up a row for 2020-10-01, when nothing was traded; it is left out.
    """
    frame = frame.filter(
        pl.col("Code").is_in(list(SECTOR_OF_INDEX)),
        pl.Series(on_sessions(dates(frame, INDICES.day, INDICES.key), calendar)),
    )
    return plain(INDICES, frame, sector=frame["Code"].replace(SECTOR_OF_INDEX))


def _reasons(frame: pl.DataFrame) -> dict[str, pl.Series]:
    """Return why each issue is under watch, from the object that the API nests in the row."""
    words = text(frame, "PubReason")
    dtype: DataType = pl.Struct(dict.fromkeys(REASON_NAMES.values(), pl.String()))
    try:
        objects = words.str.json_decode(dtype).struct.unnest()
    except pl.exceptions.PolarsError:
        raise FeedError(
            "PubReason holds something that is no object of flags, such as "
            f"{words.drop_nulls().first()!r}"
        ) from None
    flags = {"1": True, "0": False}
    reasons = {}
    for ours, theirs in REASON_NAMES.items():
        flag = objects[theirs].replace_strict(flags, default=None, return_dtype=pl.Boolean)
        unread = (flag.is_null() & words.is_not_null()).arg_true()
        if len(unread):
            row = frame.row(int(unread[0]), named=True)
            place = " ".join(f"{part}={row[part]}" for part in ("PubDate", "AppDate", "Code"))
            raise FeedError(f"PubReason is {row['PubReason']} of {theirs}, no 0 or 1; at {place}")
        reasons[ours] = flag
    return reasons
