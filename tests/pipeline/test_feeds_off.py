"""A feed that is off is said aloud, and a recipe that needs it is refused before anything runs."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

import alpha_assets as aa
from alpha_assets.cli import main
from alpha_assets.config.market import load_market
from alpha_assets.errors import CheckFailed
from alpha_assets.features import CATALOG
from alpha_assets.pipeline.status import cost_of
from alpha_assets.sources.sim.source import SimSource

PIPELINES = Path(__file__).parents[2] / "pipelines"
TINY = Path(__file__).parents[1] / "pipelines"
OR_OUT = "; or take it out of the recipe"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of bars and members."""
    made = tmp_path / "folder"
    made.mkdir()
    names = ("open", "high", "low", "close", "volume")
    bars = {"date": ["2020-01-02"], "symbol": ["A"], **{name: [1.0] for name in names}}
    pl.DataFrame(bars).write_csv(made / "daily_bars.csv")
    member = {"symbol": ["A"], "start": ["2020-01-02"], "end": [None]}
    pl.DataFrame(member).write_csv(made / "membership.csv")
    return made


def refused(storage: Path, market: str, family: str, *more: str) -> Result:
    asked = [f"features.families=['{family}']", f"markets=['{market}']", *more]
    settings = [word for one in asked for word in ("--set", one)]
    arguments = ["run", "--market", market, "--storage", str(storage), *settings]
    return CliRunner().invoke(main, arguments, env={"ALPHA_PIPELINES": str(PIPELINES)})


@pytest.mark.parametrize(
    ("market", "family", "settings", "words"),
    [
        (
            "sim",
            "sector_short",
            ["market.feeds.sector_short_selling.on=false"],
            "[feeds.sector_short_selling] on = true switches it on" + OR_OUT,
        ),
        (
            "sim",
            "fund",
            ["market.feeds.earnings_dates.on=false"],
            "'fund' with fund_sessions_to_report needs the feed 'earnings_dates'",
        ),
        (
            "sim",
            "iv",
            [],
            "no setting of this source brings 'option_summary': choose a market whose source",
        ),
        (
            "jp",
            "opt",
            ["market.source.plan=light"],
            'subscribe to the plan standard or a higher one, and set [source] plan = "standard"',
        ),
        ("jp", "news", [], "no setting of this source brings 'news'"),
    ],
)
def test_a_family_whose_feed_is_off_is_refused_with_the_way_to_have_it(
    tmp_path: Path, market: str, family: str, settings: Sequence[str], words: str
) -> None:
    shown = refused(tmp_path / "storage", market, family, *settings)
    assert shown.exit_code == 2, shown.output
    assert shown.output.startswith("error: features.families: ")
    assert words in shown.output
    assert len(shown.output.splitlines()) == 1
    assert not (tmp_path / "storage").exists()  # nothing has run


def test_a_folder_without_the_table_is_told_its_name(tmp_path: Path, folder: Path) -> None:
    shown = refused(tmp_path / "storage", "us", "ss", f"market.source.path={folder}")
    assert shown.exit_code == 2, shown.output
    assert "put the table sector_short_selling.parquet (or .csv, or a folder" in shown.output
    assert "docs/FILES.md lists its columns" in shown.output


def test_status_has_a_line_per_feed_that_is_off_with_what_it_costs(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(TINY))
        rows = aa.status("tiny", storage=str(tmp_path), overrides=["market.feeds.margin.on=false"])
        off = load_market("tiny", overrides=["feeds.margin.on=false"]).feeds_off
    said = {row["stage"]: row["why"] for row in rows if str(row["why"]).startswith("off: ")}
    assert list(said) == [f"raw/{name}" for name in off]
    n = sum("margin" in f.feeds for f in CATALOG) + 2  # and two products
    assert said["raw/margin"] == (
        "off: switched off in the market's file; [feeds.margin] on = true switches it on; "
        f"costs {n} features of margin, x"
    )
    assert said["raw/membership"] == "off: the simulated exchange has no index with members"


def test_one_feature_is_not_called_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(TINY))
    found = [f.family for f in CATALOG if "earnings_dates" in f.feeds]
    assert len(found) == 1
    words = cost_of(load_market("tiny"), "earnings_dates", mark="`")
    assert words == f"; costs 1 feature of `{found[0]}`"


def test_a_feed_that_delivers_nothing_stops_a_run_that_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(TINY))
    whole = SimSource.rows
    monkeypatch.setattr(
        SimSource,
        "rows",
        lambda self, feed: (
            whole(self, feed).clear() if feed == "index_options" else whole(self, feed)
        ),
    )
    with pytest.raises(CheckFailed, match=r"opt: no cell is filled in 2021-07 to 2021-08; take"):
        aa.run("tiny", storage=str(tmp_path), overrides=["features.names=['ret_1','opt_iv_30']"])


@pytest.mark.slow
def test_a_feed_that_stopped_is_said_aloud_by_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(TINY))
    whole = SimSource.rows

    def cut(self: SimSource, feed: str) -> pl.DataFrame:
        rows = whole(self, feed)
        stops = feed == "investor_types"
        return rows.filter(pl.col("event_date") < pl.date(2021, 7, 1)) if stops else rows

    monkeypatch.setattr(SimSource, "rows", cut)
    said: list[tuple[str, str]] = []
    made = aa.run(
        "tiny",
        storage=str(tmp_path),
        overrides=["features.names=['ret_1','ret_5','flow_frgn_net']"],
        progress=lambda stage, what: said.append((stage, what)),
    )
    words = [what for stage, what in said if stage == "coverage"]
    # Known on 2 July; then 18 sessions in July, 21 in August, and 1 September.
    late = "flow: the feed investor_types has had no new row for 40 sessions, and 20"
    assert any(late in line for line in words)
    page = Path(made["report"]).read_text()
    assert "the feed investor_types has had no new row for" in page
