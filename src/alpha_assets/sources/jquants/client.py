"""Asking the API: pages, pauses, second tries, and what each refusal means.

Source: the API's documentation of status codes and rate limits.
"""

import csv
import hashlib
import io
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from alpha_assets.errors import FeedError, Unreachable
from alpha_assets.sources.jquants.clock import Clock
from alpha_assets.sources.jquants.key import VARIABLE, ApiKey
from alpha_assets.sources.jquants.limiter import Limiter
from alpha_assets.sources.jquants.transport import (
    Reply,
    Transport,
    TransportFailure,
    unpacked_gzip,
)

log = logging.getLogger(__name__)

BACK_OFF_SECONDS = (5.0, 10.0, 20.0, 40.0)  # before the second, third, ... try
PAUSE_SECONDS = (60.0, 90.0, 120.0, 120.0, 120.0)  # after the first, second, ... 429 in a row
WRONG_KEY = "The incoming api key is invalid"
# Bounds of one query: an endless chain of pages is a fault of the server.
N_PAGES_AT_MOST = 2_000
N_EMPTY_PAGES_AT_MOST = 10  # in a row
N_ROWS_AT_MOST = 2_000_000
JSON_BYTES = 32 * 2**20  # of one page; the API's gateway sends a third of it at most
FILE_BYTES = 256 * 2**20  # of one file of history, unpacked
LONGEST_WAIT = 900.0  # seconds that a server may ask for; longer is for the user to decide
N_MESSAGE = 200  # characters of a server's message that are repeated

# A value as it was written: text, numbers and flags alike; null stays null.
Row = dict[str, str | None]


class NotEntitled(FeedError):
    """The plan does not include what was asked for."""


class WrongKey(FeedError):
    """The server does not know the API key."""


class Refused(FeedError):
    """The server does not take the query."""


class _Unusable(Exception):
    """An answer that came whole and cannot be used; worth another try."""


@dataclass
class Tally:
    """What was asked and what came."""

    requests: int = 0
    pages: int = 0
    rows: int = 0
    retries: int = 0
    throttled: int = 0  # answers 429
    repeated_pages: int = 0


class Client:
    """One account at one API."""

    def __init__(
        self, base_url: str, key: ApiKey, transport: Transport, limiter: Limiter, clock: Clock
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.key = key
        self.transport = transport
        self.limiter = limiter
        self.clock = clock
        self.tally = Tally()

    def rows(self, path: str, params: Mapping[str, str]) -> list[Row]:
        """Return all rows that answer a query, page after page.

        Raises:
            NotEntitled: the plan does not include it.
            WrongKey: the key is not known.
            FeedError: the query is refused, or its answer has no end.
            Unreachable: no usable answer came after the last try.
        """
        for wait in (*BACK_OFF_SECONDS, None):
            try:
                return self._pages(path, params)
            except _Unusable as problem:
                # Begin again: after a repeated page it is unknown which one is missing.
                self.tally.repeated_pages += 1
                words = str(problem)
            self._back_off(path, words, wait)
        raise AssertionError("the last round raises")

    def bulk_keys(self, endpoint: str) -> list[str]:
        """Return the names of the files that hold an endpoint's history, oldest first."""
        keys = [row.get("Key") for row in self.rows("/bulk/list", {"endpoint": endpoint})]
        return [key for key in keys if key]

    def bulk_rows(self, key: str) -> list[Row]:
        """Return the rows of one file of history, under the headers that it has.

        The address of the file is signed for this one download; the API key is not sent there.
        """
        for wait in (*BACK_OFF_SECONDS, None):
            address = self._payload("/bulk/get", {"key": key}).get("url")
            if not isinstance(address, str) or not address:
                raise FeedError(f"/bulk/get of {key}: the answer has no url")
            try:
                reply = self.transport.get(address, {}, {})
                if reply.status == 200:
                    rows = _csv_rows(reply.body)
                    self.tally.rows += len(rows)
                    return rows
                words = f"status {reply.status}"
            except (TransportFailure, _Unusable) as problem:
                words = str(problem)
            self._back_off(f"file {key}", words, wait)
        raise AssertionError("the last round raises")

    def _pages(self, path: str, params: Mapping[str, str]) -> list[Row]:
        rows: list[Row] = []
        keys: set[str] = set()
        pages: set[bytes] = set()
        query = dict(params)
        empty = 0
        for _ in range(N_PAGES_AT_MOST):
            payload = self._payload(path, query)
            page = _rows_of(payload)
            print_ = hashlib.blake2b(repr(page).encode(), digest_size=16).digest()
            key = _key_of(payload)
            if (page and print_ in pages) or key in keys:
                raise _Unusable("a page came twice")
            pages.add(print_)
            rows += page
            self.tally.pages += 1
            self.tally.rows += len(page)
            if not key:
                return rows
            empty = 0 if page else empty + 1
            if empty >= N_EMPTY_PAGES_AT_MOST:
                raise FeedError(
                    f"{_words(path, params)}: {empty} empty pages in a row, each naming a further "
                    "one; the server does not come to an end. What came before is kept"
                )
            if len(rows) > N_ROWS_AT_MOST:
                raise FeedError(
                    f"{_words(path, params)}: more than {N_ROWS_AT_MOST:,} rows for one query; the "
                    "server does not come to an end. What came before is kept"
                )
            keys.add(key)
            query = {**params, "pagination_key": key}
        raise FeedError(
            f"{_words(path, params)}: more than {N_PAGES_AT_MOST:,} pages; the server does not "
            "come to an end. What came before is kept"
        )

    def _payload(self, path: str, params: Mapping[str, str]) -> dict[str, Any]:
        """Return the object that answers one request."""
        failures = throttled = 0
        while True:
            self.limiter.take(path)
            self.tally.requests += 1
            try:
                reply = self.transport.get(self.base_url + path, params, self.key.header())
                if reply.status == 200:
                    return _parsed(reply.body)
                if reply.status == 210:  # no content: outside the hours, or no rows
                    return {"data": []}
                if reply.status == 429:
                    self._too_much(path, reply, throttled)
                    throttled += 1
                    continue
                if reply.status < 500:
                    raise self._refusal(path, params, reply)
                words = f"status {reply.status}: {self._message(reply)}"
                asked_to_wait = self._asked_to_wait(path, reply)
            except (TransportFailure, _Unusable) as problem:
                words, asked_to_wait = self.key.hidden_in(str(problem)), 0.0
            wait = BACK_OFF_SECONDS[failures] if failures < len(BACK_OFF_SECONDS) else None
            failures += 1
            self._back_off(_words(path, params), words, wait and max(wait, asked_to_wait))

    def _too_much(self, path: str, reply: Reply, throttled: int) -> None:
        """Block every process that shares the limiter after a 429, for as long as it asks."""
        self.tally.throttled += 1
        if throttled >= len(PAUSE_SECONDS):
            raise Unreachable(
                f"{path}: still too many requests after {throttled} pauses; another program may "
                "be using the same key. Wait some minutes and run again: what came is kept"
            )
        seconds = max(PAUSE_SECONDS[throttled], self._asked_to_wait(path, reply))
        log.warning("%s: too many requests; pausing %g s", path, seconds)
        self.limiter.pause(seconds)

    def _asked_to_wait(self, path: str, reply: Reply) -> float:
        """Return the seconds of a `Retry-After` header, a number or a date; 0 without one.

        Raises:
            Unreachable: it is longer than a program should sleep for.

        Source: RFC 9110, section 10.2.3.
        """
        named = (reply.header("Retry-After") or "").strip()
        seconds = 0.0
        if re.fullmatch(r"[0-9]+(\.[0-9]*)?", named):
            seconds = float(named)  # inf beyond 308 digits: longer than anyone waits
        elif named:
            try:
                until = parsedate_to_datetime(named)
            except (ValueError, TypeError, IndexError, OverflowError):
                log.warning("%s: Retry-After %r is neither seconds nor a date", path, named[:60])
            else:
                until = until.replace(tzinfo=until.tzinfo or UTC)
                seconds = max((until - self.clock.now()).total_seconds(), 0.0)
        if seconds > LONGEST_WAIT:
            raise Unreachable(
                f"{path}: status {reply.status}, and the server asks for {seconds:,.0f} s without "
                f"a request; waiting {LONGEST_WAIT:,.0f} s at most, run again after that: what "
                "came before is kept"
            )
        return seconds

    def _back_off(self, what: str, words: str, wait: float | None) -> None:
        if wait is None:
            raise Unreachable(
                f"{what}: no usable answer after {len(BACK_OFF_SECONDS) + 1} tries ({words}); "
                "run again later: what came before is kept"
            )
        self.tally.retries += 1
        log.warning("%s: %s; trying again in %g s", what, words, wait)
        self.clock.sleep(wait)

    def _refusal(self, path: str, params: Mapping[str, str], reply: Reply) -> FeedError:
        message = self._message(reply)
        if reply.status == 403 and message.startswith(WRONG_KEY):
            return WrongKey(
                f"the J-Quants API at {self.base_url} does not accept the key in {VARIABLE}: make "
                "a new one in the dashboard (V1 tokens and passwords no longer work)"
            )
        if reply.status == 403:
            return NotEntitled(f"{path}: not included in the plan ({message})")
        return Refused(f"{_words(path, params)}: refused with status {reply.status}: {message}")

    def _message(self, reply: Reply) -> str:
        """Return the message of an error without what must not be repeated."""
        text = reply.body[: 16 * N_MESSAGE].decode("utf-8", errors="replace")
        try:
            found = json.loads(text).get("message")
            text = found if isinstance(found, str) else text
        except (ValueError, AttributeError, RecursionError):
            pass  # not the documented form: the text itself is shown
        text = self.key.hidden_in(text)
        return "".join(c if c.isprintable() else " " for c in text)[:N_MESSAGE] or "no message"


def _parsed(body: bytes) -> dict[str, Any]:
    """Return a JSON object, numbers as the text that stood there."""
    if len(body) > JSON_BYTES:
        raise _Unusable(f"the answer is longer than {JSON_BYTES:,} bytes")
    try:
        found = json.loads(body, parse_float=str, parse_int=str, parse_constant=_no_number)
    except (ValueError, UnicodeDecodeError):
        raise _Unusable("the answer is not JSON") from None
    except RecursionError:
        raise _Unusable("the answer is JSON, nested too deep") from None
    if not isinstance(found, dict):
        raise _Unusable("the answer is no JSON object")
    if b"\\ud" in body.lower():  # half of a pair is no character, and no table can hold it
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise _Unusable("the answer holds text that is no Unicode") from None
        except RecursionError:
            raise _Unusable("the answer is JSON, nested too deep") from None
    return found


def _no_number(word: str) -> str:
    raise ValueError(f"{word} is no JSON")


def _rows_of(payload: Mapping[str, Any]) -> list[Row]:
    data = payload.get("data")
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        raise FeedError("the answer holds no list of rows under `data`; is this the V2 API?")
    return [{name: _text(value) for name, value in row.items()} for row in data]


def _key_of(payload: Mapping[str, Any]) -> str:
    """Return the key of the next page, empty on the last one."""
    key = payload.get("pagination_key")
    if key is None or isinstance(key, str):
        return key or ""
    raise _Unusable(f"pagination_key is no text but {type(key).__name__}")


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)  # flags, and objects such as PubReason
    except RecursionError:
        raise _Unusable("the answer is JSON, nested too deep") from None


def _csv_rows(body: bytes) -> list[Row]:
    content = unpacked_gzip(body, FILE_BYTES)
    try:
        text = content.decode("utf-8-sig") if content is not None else None
    except UnicodeDecodeError:
        text = None
    if text is None:
        raise _Unusable("the file is not whole")
    reader = csv.DictReader(io.StringIO(text), restval=None, strict=True)
    try:
        rows = list(reader)
        names = reader.fieldnames or []
    except csv.Error:
        raise _Unusable("the file is not a table") from None
    if len({*names}) < len(names):
        raise _Unusable("the file names a column twice")
    if any(None in row for row in rows):
        raise _Unusable("the file has rows longer than its header")
    if any(value is None for row in rows for value in row.values()):
        raise _Unusable("the file has rows shorter than its header: it is not whole")
    return [{name: value or None for name, value in row.items()} for row in rows]


def _words(path: str, params: Mapping[str, str]) -> str:
    shown = " ".join(f"{k}={v}" for k, v in params.items() if k != "pagination_key")
    return f"{path} {shown}".strip()
