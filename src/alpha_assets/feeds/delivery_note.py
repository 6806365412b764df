"""The note of a feed's last delivery: when its bytes were first read, what was left out.

The same bytes are the same delivery, whenever they are read again: a row that was not public
when a file was first read is not taken from that file later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import polars as pl

from alpha_assets.errors import StorageError
from alpha_assets.feeds.base import Source
from alpha_assets.spec import digest
from alpha_assets.store.folder import Folder
from alpha_assets.store.manifest import ManifestInput
from alpha_assets.store.raw import RawTable
from alpha_assets.store.store import Store

DELIVERIES = "_deliveries"  # one note a feed: what was ingested last
EVERY_MONTH = "all"
_SHOWN = 3


def note_folder(store: Store, market: str, feed: str) -> Folder:
    """Return where the note of a feed's last delivery lies."""
    return store.folder(market, DELIVERIES, feed)


@dataclass(frozen=True)
class Findings:
    """What of a delivery could not be stored.

    Attributes:
        omitted: how many rows were not public yet.
        first: key of the first of them and when it becomes public, in words.
        read_at: instant of the delivery.
        stopped: symbol -> why none of its rows was stored.
    """

    omitted: int = 0
    first: str = ""
    read_at: str = ""
    stopped: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, early: pl.DataFrame, read_at: datetime, stopped: Mapping[str, str]) -> "Findings":
        """Return what is left out.

        Args:
            early: key and `available_at` of the rows that were not public yet.
            read_at: instant of the delivery.
            stopped: symbol -> why.
        """
        instant = read_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
        if early.is_empty():
            return cls(read_at=instant, stopped=stopped)
        row = early.sort(early.columns).row(0, named=True)
        public = row.pop("available_at").strftime("%Y-%m-%d %H:%M UTC")
        key = ", ".join(str(value) for value in row.values())
        return cls(early.height, f"({key}), public {public}", instant, stopped)

    @classmethod
    def of_note(cls, folder: Folder) -> "Findings":
        """Return what the last delivery of a feed left out; nothing where there was none."""
        manifest = folder.manifest()
        known = manifest.extra.get("findings", {}) if manifest else {}
        return cls(**known)

    def words(self) -> tuple[str, ...]:
        """Return what was left out, one text a kind."""
        found = []
        if self.omitted:
            rows = "1 row was" if self.omitted == 1 else f"{self.omitted:,} rows were"
            found.append(
                f"{rows} not public yet when delivered ({self.read_at}) and not stored, first "
                f"{self.first}; a delivery after publication brings them"
            )
        symbols = sorted(self.stopped)
        if symbols:
            more = f" and {len(symbols) - _SHOWN} more" if len(symbols) > _SHOWN else ""
            reasons = "; ".join(f"{name}: {self.stopped[name]}" for name in symbols[:_SHOWN])
            found.append(
                f"the delivery of {len(symbols)} symbols was stopped, no row of it is stored: "
                f"{reasons}{more}; a delivery whose bars agree with each other brings them"
            )
        return tuple(found)

    def as_json(self) -> dict[str, object]:
        """Return it as it lies in the note."""
        return {**vars(self), "stopped": dict(self.stopped)}


@dataclass(frozen=True)
class DeliveryNote:
    """What was ingested last: the same delivery need not be read again.

    Attributes:
        folder: where it lies.
        source: who delivers.
        feed: name of the feed.
        published: how rows without a stamp are stamped, in words.
        manifest: of the feed's rows.
        now: instant of ingestion.
    """

    folder: Folder
    source: Source
    feed: str
    published: str
    manifest: ManifestInput
    now: datetime

    @cached_property
    def state(self) -> str:
        """A cheap name of what is delivered now, and of how it is stamped."""
        return digest(self.source.fingerprint(self.feed), self.published)

    @cached_property
    def content(self) -> str:
        """The name of the delivered bytes."""
        return self.source.content(self.feed)

    @cached_property
    def fingerprint(self) -> str:
        """The name of the delivered bytes, and of how they are stamped."""
        return digest(self.content, self.published)

    @cached_property
    def files(self) -> Mapping[str, str]:
        """The delivered files, each with a hash of its bytes; none where a query is answered."""
        return self.source.files(self.feed)

    @property
    def newest(self) -> datetime:
        """The instant of the delivery: when the newest of its bytes were first read."""
        return max((self.first_read(name) for name in self.files), default=self.now)

    def first_read(self, file: str) -> datetime:
        """Return when the bytes of a file were first read; now, if never before."""
        known = self._extra().get("first_read", {}).get(self.files.get(file, ""))
        return datetime.fromisoformat(known) if known else self.now

    def covers(self, months: Sequence[str] | None, table: RawTable) -> bool:
        """Return whether this delivery has been stored for these months and still is.

        A query that brought rows which were not public yet is due again.  Bytes are read only
        where their state is another than at the last delivery.
        """
        extra = self._extra()
        if extra.get("state") != self.state and extra.get("fingerprint") != self.fingerprint:
            return False
        if not extra.get("first_read") and self.findings().omitted:
            return False
        if not set(extra.get("stored", ())) <= set(table.months()):
            return False
        done = extra.get("months", ())
        return EVERY_MONTH in done or (months is not None and set(months) <= set(done))

    def findings(self) -> Findings:
        """Return what this delivery left out when it was stored."""
        return Findings.of_note(self.folder) if self._extra() else Findings()

    def confirm(self, table: RawTable) -> None:
        """Note the state in which the same bytes lie now, so that they need not be read again."""
        if self._extra().get("state") != self.state:
            self._write(self._done(), table, self.findings())

    def begin(self, table: RawTable) -> None:
        """Note when new bytes were first read, before anything of them is stored."""
        known = self._extra().get("first_read", {})
        if set(self.files.values()) <= set(known):
            return
        self._write(self._done(), table, self.findings())

    def write(self, months: Sequence[str] | None, table: RawTable, findings: Findings) -> None:
        """Note that this delivery is stored for these months, and what it left out."""
        done = [EVERY_MONTH] if months is None else sorted({*self._done(), *months})
        self._write(done, table, findings)

    def _write(self, done: Sequence[str], table: RawTable, findings: Findings) -> None:
        known = self._extra().get("first_read", {})
        read = {content: self.first_read(name).isoformat() for name, content in self.files.items()}
        extra = {
            **self.manifest.extra,
            "state": self.state,
            "fingerprint": self.fingerprint,
            "content": self.content,
            "months": list(done),
            "stored": list(table.months()),
            "first_read": {**known, **read},
            "findings": findings.as_json(),
        }
        self.folder.write({}, self.manifest.model_copy(update={"extra": extra}))

    def _done(self) -> Sequence[str]:
        extra = self._extra()
        done = extra.get("months", []) if extra.get("fingerprint") == self.fingerprint else []
        return list(done)

    def _extra(self) -> Mapping[str, Any]:
        try:
            known = self.folder.manifest()
        except StorageError:
            return {}  # damaged: the delivery is read again, and the note is written anew
        if known is None or known.digest != self.manifest.digest:
            return {}
        return known.extra
