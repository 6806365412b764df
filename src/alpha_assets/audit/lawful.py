"""The earliest instant at which a row may have been public, feed by feed, written a second time.

A feed's publication rule makes its stamps, so it cannot say that they are wrong.  This table
goes by what the exchanges and vendors say of their publications, and by nothing in `feeds`: a
row whose `available_at` lies before is named, whatever stamped it.  Times are the market's own.

Source: the publication table of the feeds' page (Tokyo); for American feeds FINRA's and OCC's
calendars; elsewhere a figure of a session cannot be out before trading can have ended.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, time

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Instants, Mask
from alpha_assets.calendar import Calendar

Earliest = Callable[[pl.DataFrame, Calendar], Instants]

TOKYO = "XTKS"
EARLY_CLOSE = time(12, 0)  # no exchange ends a session earlier in its own time
MIDNIGHT, MORNING, CLOSE = time(0, 0), time(3, 0), time(15, 0)
DAILY_MARGIN_FROM = date(2026, 9, 25)  # application dates of balances that are out next session


@dataclass(frozen=True)
class Early:
    """Rows of a feed that are stamped before they can have been public.

    Attributes:
        feed: by name.
        rows: that are.
        of: rows of the feed.
        first: the earliest of them, with its stamp and the earliest lawful one.
    """

    feed: str
    rows: int
    of: int
    first: str

    def __str__(self) -> str:
        """Return the finding as a person reads it."""
        return (
            f"{self.feed}: {self.rows:,} of {self.of:,} rows are stamped before they can have "
            f"been public; first {self.first}"
        )


def early_rows(raw: Mapping[str, pl.DataFrame], calendar: Calendar) -> list[Early]:
    """Return the feeds with rows that are stamped too early.

    Args:
        raw: stored rows by feed; feeds that the table does not know are left out.
        calendar: of the market.
    """
    found = []
    for feed, rows in raw.items():
        if feed not in EARLIEST or not rows.height:
            continue
        stamp_R = rows["available_at"].dt.replace_time_zone(None).to_numpy()
        stamp_R = stamp_R.astype("datetime64[us]")
        earliest_R = EARLIEST[feed](rows, calendar).astype("datetime64[us]")
        # NaT compares as False: a row whose anchor is not known has no earliest instant.
        rule_R = stamp_R < earliest_R
        again_R = _not_after_predecessor(feed, rows, stamp_R)
        odd = np.flatnonzero(rule_R | again_R)
        if len(odd):
            at = int(odd[np.argmin(stamp_R[odd])])
            words = f"lawful from {_local(earliest_R[at], calendar)}"
            if not rule_R[at]:
                words = "not after the revision that it corrects"
            key = [str(rows[name][at]) for name in ("symbol", "sector", "section") if name in rows]
            name = " ".join([str(rows["event_date"][at]), *key])
            first = f"{name}: stamped {_local(stamp_R[at], calendar)}, {words}"
            found.append(Early(feed, len(odd), rows.height, first))
    return found


def unknown_feeds(raw: Mapping[str, pl.DataFrame]) -> list[str]:
    """Return the feeds that the table does not know: a user's own."""
    return [feed for feed in raw if feed not in EARLIEST]


def _not_after_predecessor(feed: str, rows: pl.DataFrame, stamp_R: Instants) -> Mask:
    """Return which revisions came out no later than the one before them."""
    clock = ("available_at", "ingested_at", "revision")
    numbers = rows["revision"]
    if not (numbers > 0).any():
        return np.zeros(rows.height, dtype=bool)
    names = [name for name in KEYS.get(feed, ("event_date", "symbol")) if name not in clock]
    placed = rows.select(*names, "revision").with_columns(stamp=pl.Series(stamp_R))
    before = placed.with_columns((pl.col("revision") + 1).cast(numbers.dtype)).rename(
        {"stamp": "before"}
    )
    joined = placed.join(before, on=[*names, "revision"], how="left", maintain_order="left")
    return (joined["stamp"] <= joined["before"]).fill_null(False).to_numpy()


def _local(instant: np.datetime64, calendar: Calendar) -> str:
    moment = instant.astype("datetime64[s]").item().replace(tzinfo=UTC)
    return f"{moment.astimezone(calendar.zone):%Y-%m-%d %H:%M}"


def _on(anchor: str, at: time, *, sessions: int = 0, days: int = 0) -> Earliest:
    """Return the rule: so many sessions after a date, and days after that, at a local time."""

    def earliest(rows: pl.DataFrame, calendar: Calendar) -> Instants:
        return _instants(rows[anchor], calendar, at, sessions=sessions, days=days)

    return earliest


def _instants(
    dates: pl.Series, calendar: Calendar, at: time, *, sessions: int = 0, days: int = 0
) -> Instants:
    known = dates.is_not_null().to_numpy()
    made = np.full(len(dates), np.datetime64("NaT", "us"))
    if known.any():
        day_K = dates.drop_nulls().to_numpy().astype("datetime64[D]")
        day_K = calendar.after(day_K, sessions) if sessions else day_K
        made[known] = calendar.instant(day_K, at, days).astype("datetime64[us]")
    return made


def _later(one: Instants, other: Instants) -> Instants:
    """Return the later of two instants, the known one where the other is not."""
    return np.where(np.isnat(one), other, np.where(np.isnat(other), one, np.maximum(one, other)))


def _of_session(tokyo: time, elsewhere: time = EARLY_CLOSE) -> Earliest:
    """Return the rule of a figure of a session that is over: by exchange."""

    def earliest(rows: pl.DataFrame, calendar: Calendar) -> Instants:
        at = tokyo if calendar.exchange == TOKYO else elsewhere
        return _instants(rows["event_date"], calendar, at)

    return earliest


def _listings(rows: pl.DataFrame, calendar: Calendar) -> Instants:
    """A start is out on its day; an end not before the last session is over."""
    starts = _instants(rows["event_date"], calendar, MIDNIGHT)
    is_exit = (rows["exit"] != "active").fill_null(False)
    over = CLOSE if calendar.exchange == TOKYO else EARLY_CLOSE
    last = rows.select(pl.when(is_exit).then(pl.coalesce("end", "event_date"))).to_series()
    return _later(starts, _instants(last, calendar, over))


def _margin(rows: pl.DataFrame, calendar: Calendar) -> Instants:
    """Weekly balances: the second session after; daily ones: the session after."""
    is_daily = rows["event_date"] >= DAILY_MARGIN_FROM
    weekly = _instants(rows["event_date"], calendar, time(16, 0), sessions=2)
    daily = _later(
        _instants(rows["event_date"], calendar, time(16, 0), sessions=1),
        _instants(rows["published"], calendar, time(16, 0)),
    )
    return np.where(is_daily.to_numpy(), daily, weekly)


def _investor_types(rows: pl.DataFrame, calendar: Calendar) -> Instants:
    """The day of publication; a correction is in the table a session after its day."""
    first = _instants(rows["published"], calendar, time(16, 30))
    again = _instants(rows["published"], calendar, time(16, 30), sessions=1)
    over = _instants(rows["event_date"], calendar, CLOSE)  # the week has ended
    return _later(over, np.where((rows["revision"] > 0).to_numpy(), again, first))


def _margin_alerts(rows: pl.DataFrame, calendar: Calendar) -> Instants:
    return _later(
        _instants(rows["event_date"], calendar, time(16, 0), sessions=1),
        _instants(rows["published"], calendar, time(16, 30)),
    )


def _short_positions(rows: pl.DataFrame, calendar: Calendar) -> Instants:
    """Reported when calculated at the earliest, and public in the evening of that day."""
    return _later(
        _instants(rows["disclosed"], calendar, time(17, 30)),
        _instants(rows["event_date"], calendar, CLOSE),
    )


def _statements(rows: pl.DataFrame, calendar: Calendar) -> Instants:
    """The first load is at 18:00; a document is not out before the exchange discloses it."""
    load = _instants(rows["event_date"], calendar, time(18, 0))
    at_R = rows["disclosed_at"].str.to_time("%H:%M:%S", strict=False)
    seconds = at_R.cast(pl.Int64) // 1_000_000_000
    own = _instants(rows["event_date"], calendar, MIDNIGHT)
    own = own + seconds.fill_null(0).to_numpy().astype("timedelta64[s]")
    return _later(load, own)


def _trading_calendar(rows: pl.DataFrame, calendar: Calendar) -> Instants:
    """The days of a year are announced in March of the year before."""
    year = rows["event_date"].to_numpy().astype("datetime64[Y]") - np.timedelta64(1, "Y")
    march = (year.astype("datetime64[M]") + np.timedelta64(2, "M")).astype("datetime64[D]")
    return _instants(pl.Series(march), calendar, MIDNIGHT)


def _short_interest(rows: pl.DataFrame, calendar: Calendar) -> Instants:
    """Members report within two sessions; the public reads it seven sessions after."""
    return _later(
        _instants(rows["event_date"], calendar, MIDNIGHT, sessions=7),
        _instants(rows["published"], calendar, MIDNIGHT),
    )


EARLIEST: Mapping[str, Earliest] = {
    "daily_bars": _of_session(time(16, 30)),
    "benchmark": _of_session(time(16, 30)),
    "sector_indices": _of_session(time(16, 30)),
    "sector_short_selling": _of_session(time(16, 30)),
    "valuation": _of_session(time(16, 30)),
    "breakdown": _of_session(time(18, 0)),
    "borrow": _of_session(CLOSE),
    "rates": _of_session(CLOSE),
    "short_volume": _of_session(CLOSE),
    "listings": _listings,
    "membership": _on("event_date", MIDNIGHT),
    "dividends": _on("event_date", MIDNIGHT),
    "news": _on("event_date", MIDNIGHT),
    "trading_calendar": _trading_calendar,
    "margin": _margin,
    "margin_alerts": _margin_alerts,
    "short_positions": _short_positions,
    "investor_types": _investor_types,
    "index_options": _on("event_date", MORNING, days=1),
    "option_summary": _on("event_date", MIDNIGHT, days=1),
    "short_interest": _short_interest,
    "statements": _statements,
    "earnings_dates": _on("event_date", time(10, 5)),
}

# What names a row beside its revision, where it is not day and symbol.
KEYS: Mapping[str, tuple[str, ...]] = {
    "benchmark": ("event_date", "name"),
    "rates": ("event_date",),
    "trading_calendar": ("event_date",),
    "sector_indices": ("event_date", "sector"),
    "sector_short_selling": ("event_date", "sector"),
    "investor_types": ("event_date", "section"),
    "statements": ("event_date", "symbol", "document"),
    "news": ("event_date", "symbol", "article"),
    "short_positions": ("event_date", "symbol", "seller", "client", "fund"),
    "index_options": ("event_date", "contract", "division"),
    "earnings_dates": ("event_date", "symbol", "period", "fiscal_year_end"),
}
