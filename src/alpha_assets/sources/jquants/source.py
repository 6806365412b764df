"""Source `jquants`: the J-Quants API V2, as far as a plan includes it."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError
from alpha_assets.feeds import FEEDS, SIDE_FEEDS
from alpha_assets.feeds.american import AMERICAN
from alpha_assets.feeds.base import CLOCK, Basis, Counting, PriceLevel, Source
from alpha_assets.sources.jquants import prices, side, statements
from alpha_assets.sources.jquants.client import Client, NotEntitled, Tally
from alpha_assets.sources.jquants.clock import Clock, SystemClock
from alpha_assets.sources.jquants.endpoints import (
    BARS,
    BREAKDOWN,
    CALENDAR,
    DIVIDEND,
    EARNINGS_DATE,
    FINS_SUMMARY,
    INDICES,
    INVESTOR_TYPES,
    MARGIN_ALERT,
    MARGIN_INTEREST,
    MASTER,
    OPTIONS_225,
    SHORT_RATIO,
    SHORT_SALE_REPORT,
    TOPIX,
    VALUATION,
    Endpoint,
)
from alpha_assets.sources.jquants.fetch import refresh
from alpha_assets.sources.jquants.key import ApiKey
from alpha_assets.sources.jquants.landing import Landing
from alpha_assets.sources.jquants.limiter import Limiter
from alpha_assets.sources.jquants.plans import includes
from alpha_assets.sources.jquants.spec import JQuantsSpec
from alpha_assets.sources.jquants.transport import RequestsTransport, Transport
from alpha_assets.spec import digest
from alpha_assets.store.os_errors import disk_errors

log = logging.getLogger(__name__)

QUERIES_AT_ONCE = 64  # about 280,000 bars
FORGET_REFUSAL_AFTER = timedelta(days=7)  # a plan may have been changed in the meantime
NO_TABLE = {
    "membership": "the J-Quants API has no index members",
    "borrow": "the J-Quants API has no lending fees; the market's default fee is used",
    "rates": "the J-Quants API has no cash rate; 0 is used",
    "news": "the J-Quants API has no articles",
    **dict.fromkeys(AMERICAN, "the J-Quants API has only Japanese feeds"),
}
# Without it nothing can be made; the others can be missing.
INDISPENSABLE = "daily_bars"


Shape = Callable[[pl.DataFrame, Calendar], pl.DataFrame]


def _unshaped(rows: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Return text as it landed."""
    return rows


@dataclass(frozen=True)
class Table:
    """How the rows of a feed are made from an endpoint.

    Text is converted some queries at a time: ten years of it would not fit.
    """

    endpoint: Endpoint
    shape: Shape | None = None  # else column by column
    finish: Callable[[pl.DataFrame, date], pl.DataFrame] | None = None  # of all parts, as of today
    of_stocks: bool = True  # has rows of issues, of which only common stock may be wanted
    # Column of the feed that orders several rows of one key, of which the feed has room for the
    # last.
    last_by: str | None = None

    def shaped(self, rows: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
        """Return rows of the feed, from text."""
        return side.plain(self.endpoint, rows) if self.shape is None else self.shape(rows, calendar)


def _shape(convert: Callable[[pl.DataFrame], pl.DataFrame]) -> Shape:
    """Return a conversion that needs no calendar."""
    return lambda rows, _: convert(rows)


TABLES: dict[str, Table] = {
    table.endpoint.feed: table
    for table in (
        Table(BARS, _shape(prices.bars)),
        Table(MASTER, prices.attributes, prices.listings),
        Table(CALENDAR, of_stocks=False),
        Table(TOPIX, prices.benchmark, of_stocks=False),
        Table(DIVIDEND, _unshaped, prices.dividends),
        Table(SHORT_RATIO, _shape(side.sector_short_selling), of_stocks=False),
        Table(SHORT_SALE_REPORT, _shape(side.short_positions), last_by="disclosed"),
        Table(MARGIN_INTEREST, last_by="published"),
        Table(MARGIN_ALERT, _shape(side.margin_alerts)),
        Table(INVESTOR_TYPES, _shape(side.investor_types), of_stocks=False),
        Table(OPTIONS_225, _shape(side.index_options), of_stocks=False),
        Table(INDICES, side.sector_indices, of_stocks=False),
        Table(FINS_SUMMARY, _shape(statements.statements)),
        Table(EARNINGS_DATE),
        Table(VALUATION),
        Table(BREAKDOWN),
    )
}


class JQuantsSource(Source):
    """Delivers what the API has published and what landed here before."""

    price_level: PriceLevel = "raw"
    basis: Basis = "price"
    is_remote = True

    def __init__(
        self,
        spec: JQuantsSpec,
        calendar: Calendar,
        folder: Path,
        *,
        transport: Transport | None = None,
        clock: Clock | None = None,
        key: ApiKey | None = None,
        progress: Counting | None = None,
    ) -> None:
        """Read an API, keeping what comes in a folder.

        Args:
            spec: of the source.
            calendar: of the market.
            folder: where rows land, and where the requests of all who share it are counted.
            transport: asks the server; default: over HTTP.
            clock: the time; default: the machine's.
            key: default: from the environment, when first needed.
            progress: called with how far a fetch is.
        """
        self.spec = spec
        self.calendar = calendar
        self.folder = folder
        self.transport = transport or RequestsTransport(spec.timeout_seconds)
        self.clock: Clock = clock or SystemClock()
        self.progress = progress
        self.since: date | None = None
        self._key = key
        self._client: Client | None = None
        self._stocks: tuple[str, pl.Series] | None = None  # of which masters, and the codes

    @property
    def identity(self) -> Mapping[str, str]:
        """Name the API and what is left out; a wider plan or span only adds rows."""
        return {
            "kind": "jquants",
            "host": self.spec.host,
            "stocks": "common" if self.spec.only_common_stock else "all",
        }

    @property
    def tally(self) -> Tally:
        """What was asked so far, and what came."""
        return self._client.tally if self._client else Tally()

    def recent(self, first: date) -> "JQuantsSource":
        """Return the same source, delivering only what was asked for days from `first` on.

        For a daily update of a store that holds the rest: nothing else could have changed.
        """
        other = type(self)(
            self.spec,
            self.calendar,
            self.folder,
            transport=self.transport,
            clock=self.clock,
            key=self._key,
            progress=self.progress,
        )
        other.since = first
        other._client = self._client
        return other

    def feeds(self) -> tuple[str, ...]:
        """Return the feeds that the plan includes and the API has not refused."""
        off = self.off()
        return tuple(name for name in TABLES if name not in off)

    def off(self) -> Mapping[str, str]:
        """Return the feeds that are not to be had, each with the reason."""
        reasons = dict(NO_TABLE)
        refused = self._refusals()
        for name, table in TABLES.items():
            least = table.endpoint.least_plan
            refusals = [refused[e.path] for e in self._endpoints(name) if e.path in refused]
            if not includes(self.spec.plan, least):
                reasons[name] = (
                    f"not entitled: {table.endpoint.path} needs the plan {least}, [source] plan "
                    f"is {self.spec.plan}"
                )
            elif refusals:
                reasons[name] = f"not entitled: {refusals[0]}"
        return reasons

    def how_to_enable(self, feed: str) -> str:
        """Return the plan to subscribe to, where the API has the feed."""
        if feed not in TABLES:
            return super().how_to_enable(feed)
        least = TABLES[feed].endpoint.least_plan
        if not includes(self.spec.plan, least):
            return (
                f'subscribe to the plan {least} or a higher one, and set [source] plan = "{least}"'
            )
        return (
            f"the plan {self.spec.plan} should include it, and the API refused: see to the "
            "subscription, and set [source] plan to what it is"
        )

    def unknown(self) -> dict[str, tuple[str, ...]]:
        """Return, by feed, the columns that came and are not declared."""
        found = {}
        for name, table in TABLES.items():
            records = self._landing(table.endpoint).records().values()
            columns = sorted({column for record in records for column in record.unknown})
            if columns:
                found[name] = tuple(columns)
        return found

    def refresh(self, feed: str) -> None:
        """Request what is due of a feed; one that the plan refuses is off from then on.

        Raises:
            FeedError: the API has no such feed, or it cannot be read.
            NotEntitled: the plan refuses the bars.
        """
        self._table(feed)
        if feed in self.off():
            return
        for endpoint in self._endpoints(feed):
            try:
                refresh(
                    endpoint, self._asking(), self.spec, self.calendar, self.folder, self.progress
                )
            except NotEntitled as refusal:
                if feed == INDISPENSABLE:
                    raise
                self._note_refusal(endpoint.path, str(refusal))
                return

    def fingerprint(self, feed: str) -> str:
        """Return a name of what has landed."""
        self._table(feed)
        if feed in self.off():
            return digest(dict(self.identity), feed, "off")
        contents = {
            endpoint.path: {
                unit: record.content
                for unit, record in self._landing(endpoint).records().items()
                if record.content
            }
            for endpoint in self._endpoints(feed)
        }
        since = self.since.isoformat() if self.since else ""
        # A start that is announced is no start yet, so that the rows depend on the day.
        today = self._today().isoformat() if self._table(feed).finish else ""
        return digest(dict(self.identity), feed, self.spec.first, since, today, contents)

    def rows(self, feed: str) -> pl.DataFrame:
        """Return what has landed of a feed; no rows while it is off.

        Raises:
            FeedError: the API has no such feed, or cannot be read.
        """
        table = self._table(feed)
        if feed in self.off():
            return _empty(feed)
        # What is made of differences needs everything; the rest, only what is delivered.
        since = None if table.finish else self.since
        columns = (*table.endpoint.read, *prices.VERSION_COLUMNS)
        stocks = self._common_stock() if table.of_stocks else None
        try:
            parts = [
                table.shaped(
                    rows if stocks is None else rows.filter(pl.col("Code").is_in(stocks)),
                    self.calendar,
                )
                for rows in self._read(table.endpoint, columns, since)
            ]
            made = _sorted(pl.concat(parts, rechunk=True), feed, table.last_by)
            if table.finish:
                made = table.finish(made, self._today())
        except FeedError as error:
            raise FeedError(f"{feed} of {table.endpoint.path}: {error}") from None
        if table.finish and self.since is not None:
            made = made.filter(pl.col("event_date") >= self.since)
        return made

    def _table(self, feed: str) -> Table:
        if feed not in TABLES:
            raise FeedError(f"the J-Quants API has no feed {feed!r}; it has {', '.join(TABLES)}")
        return TABLES[feed]

    def _endpoints(self, feed: str) -> list[Endpoint]:
        table = self._table(feed)
        needs_master = table.of_stocks and self.spec.only_common_stock
        return list(dict.fromkeys([table.endpoint, *([MASTER] if needs_master else [])]))

    def _asking(self) -> Client:
        if self._client is None:
            self._key = self._key or ApiKey.from_environment()
            limiter = Limiter.of_plan(self.spec.plan, self.folder, self.clock)
            self._client = Client(
                self.spec.base_url, self._key, self.transport, limiter, self.clock
            )
        return self._client

    def _landing(self, endpoint: Endpoint) -> Landing:
        return Landing(self.folder / endpoint.slug)

    def _read(
        self, endpoint: Endpoint, columns: Sequence[str], since: date | None = None
    ) -> Iterator[pl.DataFrame]:
        """Yield what has landed, some queries at a time, oldest first; at least one table."""
        landing = self._landing(endpoint)
        first = max(self.spec.first, since or self.spec.first).isoformat()
        last = (self.spec.last or date.max).isoformat()
        names = [
            name
            for name, record in sorted(landing.records().items())
            # A month counts from its first day, the whole from the beginning.
            if record.rows and (name == "all" or first[: len(name)] <= name <= last)
        ]
        for start in range(0, max(len(names), 1), QUERIES_AT_ONCE):
            yield landing.read(names[start : start + QUERIES_AT_ONCE], columns)

    def _common_stock(self) -> pl.Series | None:
        """Return the codes that are wanted; None: all of them."""
        if not self.spec.only_common_stock:
            return None
        contents = digest(
            {unit: record.content for unit, record in self._landing(MASTER).records().items()}
        )
        if self._stocks is None or self._stocks[0] != contents:
            parts = [prices.common_stock(rows) for rows in self._read(MASTER, MASTER.read)]
            self._stocks = contents, pl.concat(parts).unique().sort().implode()
        return self._stocks[1]

    def _today(self) -> date:
        return self.clock.now().astimezone(self.calendar.zone).date()

    def _refusals(self) -> dict[str, str]:
        """Return what the API refused lately under this plan: path -> why."""
        path = self.folder / "not_entitled.json"
        try:
            records = json.loads(path.read_text(encoding="utf-8"))
            return {
                name: record["reason"]
                for name, record in records.items()
                if record["plan"] == self.spec.plan
                and self.clock.now() - datetime.fromisoformat(record["at"]) < FORGET_REFUSAL_AFTER
            }
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return {}

    def _note_refusal(self, endpoint: str, reason: str) -> None:
        log.warning("%s; the feed is off", reason)
        path = self.folder / "not_entitled.json"
        at = self.clock.now().isoformat()
        kept = {
            n: {"plan": self.spec.plan, "reason": why, "at": at}
            for n, why in self._refusals().items()
        }
        kept[endpoint] = {"plan": self.spec.plan, "reason": reason, "at": at}
        with disk_errors(path, "write"):
            path.write_text(json.dumps(kept), encoding="utf-8")


def _sorted(rows: pl.DataFrame, feed: str, last_by: str | None) -> pl.DataFrame:
    """Return the rows of all parts in the order of their key, the last of each where asked."""
    if feed not in SIDE_FEEDS:
        return rows
    key = [name for name in (*FEEDS[feed].key, FEEDS[feed].version) if name is not None]
    if "revision" in rows.columns:
        key.append("revision")
    if last_by is not None:
        rows = rows.sort(*key, last_by, nulls_last=False)
        return rows.unique(key, keep="last", maintain_order=True)
    return rows.sort(key, maintain_order=True)


def _empty(feed: str) -> pl.DataFrame:
    schema = {name: kind for name, kind in FEEDS[feed].schema.items() if name not in CLOCK}
    return pl.DataFrame(schema=schema)
