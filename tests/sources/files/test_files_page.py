"""The examples of `docs/FILES.md`, run as they stand: what is read, and which decision sees it."""

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.sources.conftest import bars

from alpha_assets.calendar import Calendar
from alpha_assets.feeds import FEEDS
from alpha_assets.feeds.custom import OwnFeedSpec
from alpha_assets.feeds.ingest import ingest
from alpha_assets.sources.files.check import import_check
from alpha_assets.sources.files.source import FilesSource
from alpha_assets.sources.files.spec import FilesSourceSpec
from alpha_assets.spec import parse_spec
from alpha_assets.store.raw import RawTable
from alpha_assets.store.store import Store

PAGE = Path(__file__).parents[3] / "docs" / "FILES.md"
NOW = datetime(2020, 3, 2, 12, tzinfo=UTC)
EXAMPLES = {
    title.strip(): body
    for title, body in re.findall(
        r"^##+ (.+?)\n(.*?)(?=^##+ |\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
    if "First seen by the decision of" in body
}


def fences(text: str, language: str) -> list[tuple[str, str]]:
    """Return name and content of the fenced blocks of a language."""
    return re.findall(rf"^```{language} ?(\S*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def promised(text: str) -> list[str]:
    (line,) = re.findall(r"First seen by the decision of ([^:.\n]*)", text)
    return re.findall(r"\d{4}-\d\d-\d\d", line)


def tables(text: str) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for _, content in fences(text, "toml"):
        merged.update(tomllib.loads(content))
    return merged


def test_the_page_has_an_example_of_each_american_feed() -> None:
    assert list(EXAMPLES) == [
        "short_volume",
        "short_interest",
        "option_summary",
        "statements",
        "news",
        "A feed of your own",
    ]


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_is_seen_when_the_page_says(
    title: str, tmp_path: Path, new_york: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = EXAMPLES[title]
    folder = tmp_path / "data"
    folder.mkdir()
    for name, content in fences(text, "csv"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    monkeypatch.chdir(folder)
    for _, content in fences(text, "python"):
        exec(content, {})
    bars({name: [1.0, 1.1] for name in ("AAPL", "GE", "MSFT", "TSLA")}).write_parquet(
        folder / "daily_bars.parquet"
    )
    declared = tables(text)
    own = {
        name: parse_spec(settings, OwnFeedSpec, origin="page").feed(name)
        for name, settings in declared.get("feeds", {}).items()
    }
    settings = {"path": str(folder), **declared.get("source", {})}
    spec = parse_spec(settings, FilesSourceSpec, origin="page")
    source = FilesSource(spec, new_york, own)
    (name,) = (feed for feed in source.feeds() if feed != "daily_bars")
    feed = own.get(name) or FEEDS[name]
    table = RawTable(Store(str(tmp_path / "storage")), "us", feed, new_york.zone)
    ingest(table, feed, source, new_york, now=NOW)

    rows = table.read().sort(*feed.key).collect()
    instants = rows["available_at"].dt.replace_time_zone(None).to_numpy()
    seen = [str(day) for day in new_york.sessions[new_york.effective(instants)]]
    wanted = promised(text)
    assert seen == (wanted * rows.height if len(wanted) == 1 else wanted)
    report = import_check(folder, new_york, spec, own)
    assert report.errors == ()
    assert {problem.rule for problem in report.warnings} <= {"unknown_column"}
