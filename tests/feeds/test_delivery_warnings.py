"""Warnings of `import-check` and of an ingestion: the same, also where nothing is read again."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from tests.sources.conftest import SESSIONS, Write, bars

from alpha_assets.calendar import Calendar
from alpha_assets.feeds import FEEDS
from alpha_assets.pipeline.raw import ingest_feed
from alpha_assets.sources.files.check import import_check
from alpha_assets.sources.files.source import FilesSource
from alpha_assets.sources.files.spec import FilesSourceSpec
from alpha_assets.store.raw import RawTable
from alpha_assets.store.store import Store

NOW = datetime(2020, 3, 2, 12, tzinfo=UTC)


def ingested(folder: Path, storage: Path, calendar: Calendar) -> list[str]:
    """Return the warnings that a process prints when it stores what the folder delivers."""
    source = FilesSource(FilesSourceSpec(path=str(folder)), calendar)
    lines: list[str] = []
    feeds = {name: FEEDS[name] for name in source.feeds()}
    store = Store(str(storage))
    context: Any = SimpleNamespace(
        raw={name: RawTable(store, "us", feed, calendar.zone) for name, feed in feeds.items()},
        market=SimpleNamespace(name="us", source=source, feeds=feeds, calendar=calendar),
        store=store,
        clock=lambda: NOW,
        progress=lambda stage, line: lines.append(line),
    )
    for name in feeds:
        ingest_feed(context, name)
    return [line.removeprefix("warning: ") for line in lines if line.startswith("warning: ")]


def test_an_ingestion_warns_of_what_the_check_warns_of(
    write: Write, new_york: Calendar, tmp_path: Path
) -> None:
    rates = pl.DataFrame({"date": SESSIONS[:1], "cash_rate_annual": [0.75]})
    folder = write(daily_bars=bars({"A": [10.0, 21.0, 20.0], "B": [1.0, 1.1]}), rates=rates)
    (folder / "dividens.csv").write_text("symbol,ex_date,amount\n")

    first = ingested(folder, tmp_path / "storage", new_york)

    report = import_check(folder, new_york)
    assert first == [problem.line for problem in report.warnings]
    assert [line.split(" (")[0] for line in first] == [
        "(folder): unknown_file",
        "daily_bars: jump",
        "daily_bars: vanished_symbol",
        "rates: rate_odd",
    ]
    assert first[1].endswith(
        "first: daily_bars.parquet row 2: 2020-01-03 A before = 10.0, now = 21.0"
    )
    # Another process, nothing to read: they are shown again.
    assert ingested(folder, tmp_path / "storage", new_york) == first
    # A delivery that is mended has none.
    write(
        daily_bars=bars({"A": [10.0, 10.5, 10.2], "B": [1.0, 1.1, 1.2]}),
        rates=rates.with_columns(cash_rate_annual=0.0075),
    )
    (folder / "dividens.csv").unlink()
    assert ingested(folder, tmp_path / "storage", new_york) == []
    assert ingested(folder, tmp_path / "storage", new_york) == []


@pytest.mark.parametrize("is_settled", [False, True])
def test_the_same_bytes_are_the_same_delivery_wherever_they_lie(
    write: Write,
    new_york: Calendar,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_settled: bool,
) -> None:
    settled = "alpha_assets.sources.files.source.SETTLED_NS"
    monkeypatch.setattr(settled, -(10**18) if is_settled else 10**18)
    folder = write(daily_bars=bars({"A": [10.0, 21.0]}))
    first = ingested(folder, tmp_path / "storage", new_york)
    assert first

    def refuse(*_: object) -> pl.DataFrame:
        raise AssertionError("the rows are read again")

    monkeypatch.setattr(FilesSource, "rows", refuse)
    path = folder / "daily_bars.parquet"
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)  # another file with other times
    assert ingested(folder, tmp_path / "storage", new_york) == first  # read once to be compared
    if is_settled:
        monkeypatch.setattr(FilesSource, "_content", refuse)
    assert ingested(folder, tmp_path / "storage", new_york) == first  # and not again
