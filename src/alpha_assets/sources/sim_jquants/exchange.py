"""What one request is answered with: keys, plans, limits, pages, files.

Source: the API's documentation of keys, plans, limits, pages and files.
"""

import base64
import gzip
import hashlib
import json
import secrets
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import NamedTuple

import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.sources.jquants.endpoints import BARS, ENDPOINTS, HALF_DAY_COLUMNS
from alpha_assets.sources.jquants.plans import FINS_PER_MINUTE, TERMS, Plan, includes, window
from alpha_assets.sources.sim_jquants.queries import PAGE, RULES, BadQuery, iso_date
from alpha_assets.sources.sim_jquants.rows import Table

PREFIX = "/v2"
FILES = "/files/"  # where signed addresses lead; outside of the API
WRONG_KEY = "The incoming api key is invalid or expired."
NOT_INCLUDED = "This API is not available on your subscription."
FILE_MINUTES = 5  # a signed address is good for
BLOCK = timedelta(minutes=5)  # for an account that asks twice as often as it may


class Answer(NamedTuple):
    """Status and body of an answer."""

    status: int
    body: bytes
    kind: str = "application/json"


@dataclass
class Account:
    """A subscriber, and when it asked."""

    plan: Plan
    asked: deque[datetime] = field(default_factory=deque)
    fins: deque[datetime] = field(default_factory=deque)
    blocked_until: datetime | None = None
    most_in_a_minute: int = 0
    most_fins_in_a_minute: int = 0


class Exchange:
    """All tables, and the rules by which they are shown."""

    def __init__(
        self,
        tables: Mapping[str, Table],
        calendar: Calendar,
        keys: Mapping[str, Plan],
        now: Callable[[], datetime],
        page_size: int,
        clock: Callable[[], datetime] | None,
    ) -> None:
        """Serve some tables.

        Args:
            tables: by path.
            calendar: of the exchange.
            keys: API keys and their plans.
            now: the simulated present: what was published later is hidden.
            page_size: rows of one page.
            clock: when requests come, to enforce the limits of subscribers; None: no limits.
        """
        self.tables = tables
        self.calendar = calendar
        self.accounts = {key: Account(plan) for key, plan in keys.items()}
        self.now = now
        self.page_size = page_size
        self.clock = clock
        self.n_requests = 0
        self._files: dict[str, tuple[str, datetime]] = {}  # token -> key, good until
        self._lock = threading.Lock()

    def answer(self, path: str, query: dict[str, str], key: str | None) -> Answer:
        """Return the answer to a GET."""
        if path.startswith(FILES):
            return self._download(path.removeprefix(FILES))
        account = self.accounts.get(key or "")
        if account is None:
            return _error(403, WRONG_KEY)
        with self._lock:
            self.n_requests += 1
            if self.clock is not None and self._too_many(account, path, self.clock()):
                return _error(429, "Rate limit exceeded.")
        if not path.startswith(PREFIX):
            return _error(403, "Missing Authentication Token")
        path = path.removeprefix(PREFIX)
        try:
            if path == "/bulk/list":
                return self._list(query, account.plan)
            if path == "/bulk/get":
                return self._signed(query, account.plan)
            known = ENDPOINTS.get(path)
            if known is not None and not includes(account.plan, known.least_plan):
                return _error(403, NOT_INCLUDED)
            table = self.tables.get(path)
            if table is None:
                return _error(403, "Missing Authentication Token")
            return self._page(table, query, account.plan)
        except BadQuery as error:
            return _error(400, str(error))

    def _page(self, table: Table, query: dict[str, str], plan: Plan) -> Answer:
        """Return one page of a query; the key of the next one holds where it begins."""
        path = table.endpoint.path
        page = query.pop(PAGE, "")
        query = RULES[path].check(query)
        name = hashlib.sha256(json.dumps([path, plan, query], sort_keys=True).encode()).hexdigest()
        start, now = (0, self.now()) if not page else _opened(page, name)
        rows = self._shown(table, table.select(query, now), plan, now)
        part = rows.slice(start, self.page_size)
        body = '{"data": ' + rows_json(part, table.nothing)
        if start + part.height < rows.height:
            body += f', "{PAGE}": "{_closed(start + part.height, now, name)}"'
        return Answer(200, (body + "}").encode())

    def _shown(self, table: Table, rows: pl.DataFrame, plan: Plan, now: datetime) -> pl.DataFrame:
        """Return the rows and columns that a plan includes."""
        endpoint = table.endpoint
        first, last = window(plan, now.astimezone(self.calendar.zone).date())
        day = pl.col(endpoint.day)
        rows = rows.filter(day >= first.isoformat())
        if endpoint.cut != "whole" and TERMS[plan].embargo_weeks:
            rows = rows.filter(day <= last.isoformat())
        if endpoint is BARS and plan == "premium":
            # The simulated exchange does not simulate half days.
            rows = rows.with_columns(
                pl.lit(None, pl.Float64).alias(n) for n in HALF_DAY_COLUMNS if n not in rows.columns
            )
        return rows

    def _list(self, query: dict[str, str], plan: Plan) -> Answer:
        if not includes(plan, "light"):
            return _error(403, NOT_INCLUDED)
        endpoint, day = query.get("endpoint"), query.get("date")
        if bool(endpoint) == bool(day):
            raise BadQuery("Exactly one of endpoint and date is required.")
        if endpoint and endpoint not in self.tables:
            raise BadQuery(f"{endpoint} is not an endpoint with files.")
        if endpoint and not includes(plan, self.tables[endpoint].endpoint.least_plan):
            return _error(403, NOT_INCLUDED)
        months = (day or "").replace("-", "")[:6]
        low, high = (_month(query.get(name, "")) for name in ("from", "to"))
        listed = []
        for path, table in self.tables.items():
            if endpoint not in (None, path) or not includes(plan, table.endpoint.least_plan):
                continue
            for month, key in self._keys(table, plan):
                if (low and month < low) or (high and month > high):
                    continue
                if day and month.replace("-", "") != months:
                    continue
                listed.append(
                    {
                        "Key": key,
                        "LastModified": self.now().isoformat(timespec="seconds"),
                        "Size": len(self._file(key)),
                    }
                )
        return Answer(200, json.dumps({"data": listed}).encode())

    def _keys(self, table: Table, plan: Plan) -> list[tuple[str, str]]:
        """Return months and names of the files of a table, oldest first."""
        now = self.now()
        today = now.astimezone(self.calendar.zone).date()
        first, last = window(plan, today)
        stem = table.endpoint.path.strip("/")
        found = []
        for month in table.months(now):
            if f"{first:%Y-%m}" <= month < min(f"{today:%Y-%m}", f"{last:%Y-%m}"):
                name = f"{stem.replace('/', '_')}_{month.replace('-', '')}.csv.gz"
                found.append((month, f"{stem}/historical/{month[:4]}/{name}"))
        return found

    def _signed(self, query: dict[str, str], plan: Plan) -> Answer:
        """Return an address that is good for some minutes, without a key."""
        key, endpoint = query.get("key"), query.get("endpoint")
        for path, table in self.tables.items():
            if not includes(plan, table.endpoint.least_plan) or not includes(plan, "light"):
                continue
            for month, name in self._keys(table, plan):
                asked = path == endpoint and month == _month(query.get("date", ""))
                if name == key or asked:
                    token = secrets.token_urlsafe(16)
                    good_until = self._time() + timedelta(minutes=FILE_MINUTES)
                    with self._lock:
                        self._files[token] = name, good_until
                    return Answer(200, json.dumps({"url": f"{{base}}{FILES}{token}"}).encode())
        raise BadQuery("There is no such file.")

    def _download(self, token: str) -> Answer:
        name, good_until = self._files.get(token, ("", None))
        if good_until is None or self._time() > good_until:
            return _error(403, "Request has expired")
        return Answer(200, self._file(name), "application/gzip")

    def _file(self, key: str) -> bytes:
        """Return a file of history, packed, under the long names of its columns."""
        stem, _, name = key.partition("/historical/")
        table = self.tables["/" + stem]
        month = f"{name.split('_')[-1][:4]}-{name.split('_')[-1][4:6]}"
        long = {short: full for full, short in table.endpoint.short_names.items()}
        frame = table.month(month, self.now())
        nested = [name for name, kind in frame.schema.items() if kind == pl.Struct]
        frame = frame.with_columns(pl.col(name).struct.json_encode() for name in nested)
        text = frame.rename({n: long[n] for n in frame.columns if n in long}).write_csv()
        return gzip.compress(text.encode(), mtime=0)

    def _time(self) -> datetime:
        return self.clock() if self.clock is not None else self.now()

    def _too_many(self, account: Account, path: str, at: datetime) -> bool:
        """Count a request; return whether it is over the limit."""
        if account.blocked_until is not None and at < account.blocked_until:
            return True
        limit = TERMS[account.plan].per_minute
        account.asked.append(at)
        while account.asked[0] <= at - timedelta(minutes=1):
            account.asked.popleft()
        account.most_in_a_minute = max(account.most_in_a_minute, len(account.asked))
        over = len(account.asked) > limit
        if path.startswith(f"{PREFIX}/fins/"):
            account.fins.append(at)
            while account.fins[0] <= at - timedelta(minutes=1):
                account.fins.popleft()
            account.most_fins_in_a_minute = max(account.most_fins_in_a_minute, len(account.fins))
            over |= len(account.fins) > FINS_PER_MINUTE
        if len(account.asked) > 2 * limit:
            account.blocked_until = at + BLOCK
        return over


def rows_json(rows: pl.DataFrame, nothing: Mapping[str, str]) -> str:
    """Return rows as the API writes them.

    Args:
        rows: some.
        nothing: what a null of some columns is written as.
    """
    marked = {name: mark for name, mark in nothing.items() if rows[name].null_count()}
    if not marked:
        return rows.write_json() if rows.height else "[]"
    answers = rows.to_dicts()
    for row in answers:
        for name, mark in marked.items():
            if row[name] is None:
                row[name] = mark
    return json.dumps(answers, ensure_ascii=False)


def _error(status: int, message: str) -> Answer:
    return Answer(status, json.dumps({"message": message}).encode())


def _closed(start: int, now: datetime, name: str) -> str:
    text = json.dumps([start, now.isoformat(), name])
    return base64.urlsafe_b64encode(text.encode()).decode()


def _opened(page: str, name: str) -> tuple[int, datetime]:
    """Return where a page begins, and the instant as of which its query is answered."""
    try:
        start, now, of = json.loads(base64.urlsafe_b64decode(page.encode()))
        found = int(start), datetime.fromisoformat(now)
    except (ValueError, TypeError):
        raise BadQuery("pagination_key is not valid.") from None
    if of != name:
        raise BadQuery("Parameters must not change between pages.")
    return found


def _month(text: str) -> str:
    digits = text.replace("-", "")
    if not digits:
        return ""
    day = iso_date(digits if len(digits) == 8 else f"{digits}01")
    return f"{date(day.year, day.month, 1):%Y-%m}"
