"""Coverage: whatever goes missing is counted, named, and stops the pipeline where it must."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from tests.conftest import linked
from tests.planting import rewrite_features

from alpha_assets.config.market import load_market
from alpha_assets.errors import MissingOutput, SpecError, StorageError
from alpha_assets.features import CATALOG, INTERACTIONS
from alpha_assets.feeds import FEEDS
from alpha_assets.pipeline import identity
from alpha_assets.pipeline.checks import coverage, month_cells
from alpha_assets.pipeline.context import MarketContext
from alpha_assets.pipeline.coverage_table import coverage_table
from alpha_assets.pipeline.freshness import manifest_of
from alpha_assets.pipeline.identity import Identity
from alpha_assets.quality.cells import keep_cells, kept_cells
from alpha_assets.quality.coverage import Coverage
from alpha_assets.quality.feed_coverage import feed_coverage, usual_silence
from alpha_assets.store.store import Store

PIPELINES = Path(__file__).parents[1] / "pipelines"
LAST = "2021-08"  # of the market `tiny`
BY_NAME = {feature.name: feature for feature in (*CATALOG, *INTERACTIONS)}


@pytest.fixture(autouse=True)
def _tiny_pipelines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))


@pytest.fixture
def context(tiny_market: Path, tmp_path: Path) -> MarketContext:
    """A copy of it that may be damaged."""
    linked(tiny_market, tmp_path / "storage")
    return MarketContext(load_market("tiny"), Store(str(tmp_path / "storage")))


@pytest.fixture(scope="module")
def whole(tiny_market: Path) -> Coverage:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(PIPELINES))
        return coverage(MarketContext(load_market("tiny"), Store(str(tiny_market))))


def rewrite(
    context: MarketContext, month: str, change: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    rewrite_features(context, month, change)


def nulled(names: list[str]) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda rows: rows.with_columns(pl.lit(None, pl.Float32).alias(n) for n in names)


def words(context: MarketContext, family: str) -> list[str]:
    return [finding.words for finding in coverage(context, [family]).family(family).findings]


def blocks(context: MarketContext, family: str) -> bool:
    return any(finding.blocks for finding in coverage(context, [family]).family(family).findings)


def small_road(tmp_path: Path, features: pl.DataFrame, n_bars: list[int]) -> MarketContext:
    """A month of rows made up by hand."""
    context = MarketContext(load_market("tiny"), Store(str(tmp_path)))
    panel = features.select("session", "symbol").with_columns(
        n_bars=pl.Series(n_bars, dtype=pl.Int32)
    )
    context.panel.write("2021-02", panel, manifest_of(Identity("hand"), {}))
    manifests = {"trading": manifest_of(Identity("hand"), {})}
    context.features.write("2021-02", {"trading": features}, manifests)
    return context


def hand_made() -> pl.DataFrame:
    days = [date(2021, 2, 1), date(2021, 2, 2), date(2021, 2, 3)]
    return pl.DataFrame(
        {
            "session": [day for day in days for _ in range(2)],
            "symbol": ["1301", "1303"] * 3,
            "stale": pl.Series([None, None, 0, None, 0, 1], dtype=pl.Float32),
            "n_stale_20": pl.Series([0, 0, None, 0, 0, 0], dtype=pl.Float32),
        }
    )


def test_cells_are_counted_where_there_is_enough_history(tmp_path: Path) -> None:
    context = small_road(tmp_path, hand_made(), [19, 20, 20, 21, 21, 22])
    got = month_cells(context, "2021-02", [BY_NAME["stale"], BY_NAME["n_stale_20"]])
    # Six rows have a bar behind them, and three of these know `stale`.  Five rows have twenty
    # bars; five know `n_stale_20`, but the first of these has 19.
    assert BY_NAME["n_stale_20"].lookback == 20
    assert got.select("feature", "enough", "filled").rows() == [
        ("stale", 6, 3),
        ("n_stale_20", 5, 4),
    ]
    assert got["first"].to_list() == [date(2021, 2, 2), date(2021, 2, 1)]
    assert got["last"].to_list() == [date(2021, 2, 3)] * 2


def test_a_column_that_is_not_stored_is_told_from_one_that_is_empty(tmp_path: Path) -> None:
    context = small_road(tmp_path, nulled(["stale"])(hand_made()), [30] * 6)
    got = month_cells(context, "2021-02", [BY_NAME["stale"], BY_NAME["limit_up_20"]])
    assert got.select("present", "enough", "filled", "first").rows() == [
        (True, 6, 0, None),
        (False, 6, 0, None),
    ]


def test_a_product_is_filled_where_both_of_its_features_are(tmp_path: Path) -> None:
    product = replace(BY_NAME["x_rev_5__turn_z"], inputs=("stale", "n_stale_20"), lookback=1)
    context = small_road(tmp_path, hand_made(), [30] * 6)
    # The fifth and the sixth row know both, the others one or none.
    assert month_cells(context, "2021-02", [product])["filled"].to_list() == [2]


def test_shares_agree_with_a_count_in_pandas(tiny_market: Path, whole: Coverage) -> None:
    context = MarketContext(load_market("tiny"), Store(str(tiny_market)))
    names = [f.name for f in CATALOG if f.family == "risk"]
    rows = context.features.read(LAST, LAST).collect().to_pandas()
    history = context.panel.read(LAST, LAST).select("session", "symbol", "n_bars").collect()
    joined = rows.merge(history.to_pandas(), on=["session", "symbol"])
    enough = filled = 0
    for name in names:
        old = joined[joined["n_bars"] >= BY_NAME[name].lookback]
        enough, filled = enough + len(old), filled + int(old[name].notna().sum())
    assert enough > 1_000
    assert whole.family("risk").shares[LAST] == filled / enough


def test_every_family_of_a_sound_market_is_whole(whole: Coverage) -> None:
    families = {family.name: family for family in whole.families}
    assert list(families) == list(dict.fromkeys(f.family for f in (*CATALOG, *INTERACTIONS)))
    for family in families.values():
        assert len(family.expected) + len(family.off) == sum(
            f.family == family.name for f in BY_NAME.values()
        )
        assert [f for f in family.findings if f.blocks] == [], family.name
        assert family.present == family.expected
    assert {"short_volume", "short_interest", "iv"} == {
        name for name, family in families.items() if not family.is_on
    }
    assert "needs the feed 'option_summary', which is off: " in families["iv"].off["iv_30"]


def counted_again(context: MarketContext, patch: pytest.MonkeyPatch) -> Coverage:
    patch.setattr(identity, "counting", lambda: "other code")
    return coverage(context)


def test_what_manifests_keep_is_what_the_rows_hold(
    tiny_market: Path, whole: Coverage, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = MarketContext(load_market("tiny"), Store(str(tiny_market)))
    again = counted_again(context, monkeypatch)
    assert again.cells.equals(whole.cells)
    assert again.cells.schema == whole.cells.schema
    assert again.as_json() == whole.as_json()


def test_a_coverage_opens_no_features_whose_counts_are_kept(
    context: MarketContext, whole: Coverage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for month in context.features.months():
        for rows in Path(context.features.folder(month).address).glob("*.parquet"):
            rows.unlink()
            rows.write_bytes(b"unreadable")
    # Products are of two families, each with a manifest of its own: they are counted anew.
    alone = [family.name for family in whole.families if family.name != "x"]
    found = coverage(context, alone, every_feed=True)
    assert found.cells.equals(whole.cells.filter(~pl.col("feature").str.starts_with("x_")))
    assert found.families == tuple(f for f in whole.families if f.name != "x")
    assert found.feeds == whole.feeds
    with pytest.raises(StorageError, match=r"features/month=2021-01"):
        counted_again(context, monkeypatch)


def test_counts_are_kept_in_a_line_by_what_was_counted(tmp_path: Path) -> None:
    context = small_road(tmp_path, hand_made(), [19, 20, 20, 21, 21, 22])
    product = replace(BY_NAME["x_rev_5__turn_z"], inputs=("stale", "n_stale_20"), lookback=1)
    wanted = [BY_NAME["stale"], product, BY_NAME["limit_up_20"]]
    counted = month_cells(context, "2021-02", wanted)
    kept = keep_cells(counted, wanted, "code")
    # `stale` is known in three of six rows, with `n_stale_20` in two; no column is not kept.
    assert kept["cells"] == (
        '{"stale 1":[6,3,"2021-02-02","2021-02-03"],'
        '"stale n_stale_20 1":[6,2,"2021-02-03","2021-02-03"]}'
    )
    again = kept_cells(kept, "2021-02", wanted[:2], "code")
    assert again is not None
    assert again.equals(counted.head(2))
    assert kept_cells(kept, "2021-02", wanted[:2], "other code") is None
    assert kept_cells(kept, "2021-02", wanted, "code") is None
    longer = replace(BY_NAME["stale"], lookback=2)  # its cells count from another row on
    assert kept_cells(kept, "2021-02", [longer], "code") is None
    assert kept_cells({}, "2021-02", wanted, "code") is None


def test_feeds_are_counted_as_they_are_stored(tiny_market: Path, whole: Coverage) -> None:
    context = MarketContext(load_market("tiny"), Store(str(tiny_market)))
    assert [feed.name for feed in whole.feeds] == list(FEEDS)
    for name, table in context.raw.items():
        rows, got = table.read().collect(), whole.feed(name)
        assert (got.rows, got.first, got.last) == (
            rows.height,
            rows["event_date"].min(),
            rows["event_date"].max(),
        )
        assert got.last_available == rows["available_at"].max()
        assert got.corrections == rows.filter(pl.col("revision") > 0).height
        if FEEDS[name].scope == "symbol":
            assert got.keys == rows["symbol"].n_unique()
    assert whole.feed("daily_bars").corrections > 0
    assert whole.feed("daily_bars").silent == 0
    off = whole.feed("option_summary")
    assert (off.rows, off.silent, off.why_off) == (
        0,
        None,
        "the simulated exchange is not American",
    )


def test_a_family_whose_columns_are_nulled_is_empty_and_blocks(context: MarketContext) -> None:
    names = [feature.name for feature in CATALOG if feature.family == "sector_short"]
    for month in ("2021-06", "2021-07", "2021-08"):
        rewrite(context, month, nulled(names))
    assert words(context, "sector_short") == ["no cell is filled in 2021-06 to 2021-08"]
    assert blocks(context, "sector_short")
    assert coverage(context, ["sector_short"]).family("sector_short").lowest == ("2021-06", 0.0)
    assert not blocks(context, "ss")


def test_a_family_that_thins_out_is_named_and_does_not_block(context: MarketContext) -> None:
    names = [feature.name for feature in CATALOG if feature.family == "trading"]
    rewrite(context, "2021-07", nulled(names[:4]))  # one of five is left
    (said,) = words(context, "trading")
    assert said.endswith(
        "of 2021-07 is filled, and the limit is 50.0% ([coverage] trading in the market's file)"
    )
    assert not blocks(context, "trading")
    low = MarketContext(load_market("tiny", overrides=["coverage.trading=0.1"]), context.store)
    assert words(low, "trading") == []


def test_a_single_column_that_has_gone_empty_is_named_and_does_not_block(
    context: MarketContext,
) -> None:
    for month in ("2021-06", "2021-07", "2021-08"):
        rewrite(context, month, nulled(["ss_ratio_z_60"]))
    assert words(context, "ss") == ["had values, and none since 2021-06: ss_ratio_z_60"]
    assert not blocks(context, "ss")


def test_a_column_that_never_had_a_value_is_told_apart(whole: Coverage) -> None:
    # Balances are daily from 2026-07 on; before, there is no change from one day to the next.
    assert whole.family("margin").never == ("margin_chg_1d",)
    assert whole.family("margin").findings == ()
    assert whole.family("ss").never == ()


def test_a_column_that_is_dropped_blocks_by_its_name_and_month(context: MarketContext) -> None:
    rewrite(context, "2021-05", lambda rows: rows.drop("ss_ratio_z_60"))
    assert words(context, "ss") == ["the column ss_ratio_z_60 is missing in 2021-05"]
    assert blocks(context, "ss")
    family = coverage(context, ["ss"]).family("ss")
    assert len(family.expected) - len(family.present) == 1


def test_a_feed_that_stops_for_thirty_sessions_is_loud(context: MarketContext) -> None:
    sessions = context.market.calendar.sessions
    stop = sessions[context.market.calendar.index_of(date(2021, 9, 1)) - 30]  # frontier less 30
    for feed, limit in (("sector_short_selling", 10), ("short_positions", 30), ("news", 30)):
        assert usual_silence(FEEDS[feed]) == limit
    table = context.raw["sector_short_selling"]
    kept = table.read().filter(pl.col("event_date") < stop).collect()
    for month in table.months():
        shutil.rmtree(table.table.folder(month).address)
    table.append(kept, manifest_of(Identity("planted"), {}))
    # The last row is of the session before `stop`: known at `stop`, thirty before the frontier.
    assert feed_coverage(context.market, table, date(2021, 9, 1)).silent == 30
    for family in ("ss", "sector_short"):
        (said,) = words(context, family)
        assert said.startswith(
            "the feed sector_short_selling has had no new row for 30 sessions, and 10 are usual; "
        )
    assert words(context, "margin") == []


def test_a_correction_is_no_new_row(context: MarketContext) -> None:
    table = context.raw["sector_short_selling"]
    last = date(2021, 8, 31)
    rows = table.read().collect()
    late = rows.filter(pl.col("event_date") == last)
    for month in table.months():
        shutil.rmtree(table.table.folder(month).address)
    corrected = late.with_columns(pl.lit(1, pl.Int16).alias("revision"))
    older = rows.filter(pl.col("event_date") < last)
    table.append(pl.concat([older, corrected]), manifest_of(Identity("planted"), {}))
    found = feed_coverage(context.market, table, date(2021, 9, 1))
    assert (found.silent, found.last) == (1, last)


def test_a_feed_that_was_on_before_is_missed(context: MarketContext) -> None:
    off = MarketContext(load_market("tiny", overrides=["feeds.margin.on=false"]), context.store)
    assert not coverage(off, ["margin"]).family("margin").is_on
    (said,) = words(off, "margin")
    assert said.startswith("the feed margin is off (switched off in the market's file; ")
    assert said.endswith("up to 2021-08-27: it was on before")


def test_a_young_market_is_not_asked_for_what_needs_history(
    tiny_market: Path, tmp_path: Path
) -> None:
    linked(tiny_market, tmp_path / "storage")
    context = MarketContext(load_market("tiny"), Store(str(tmp_path / "storage")))
    for month in context.features.months()[1:]:
        shutil.rmtree(context.features.folder(month).address)
    rewrite(context, "2021-01", nulled([f.name for f in CATALOG if f.family == "margin"]))
    found = coverage(context, ["margin"]).family("margin")
    assert found.shares == {"2021-01": None}
    assert not blocks(context, "margin")


def test_without_features_the_way_out_is_named(tmp_path: Path) -> None:
    context = MarketContext(load_market("tiny"), Store(str(tmp_path)))
    with pytest.raises(MissingOutput, match=r"alpha-assets run --market \S+.* makes it"):
        coverage(context)


def test_a_limit_of_no_family_is_refused() -> None:
    with pytest.raises(SpecError, match=r"\[coverage\] opts is no family of features; want some"):
        load_market("tiny", overrides=["coverage.opts=0.3"])
    with pytest.raises(SpecError, match=r"coverage.opt = 1.5: .*less than or equal to 1"):
        load_market("tiny", overrides=["coverage.opt=1.5"])


def test_the_table_for_the_docs_has_a_row_per_feature(whole: Coverage) -> None:
    days = {"first": date(2021, 2, 3), "last": date(2021, 3, 31)}
    none = {"first": None, "last": None}
    cells = pl.DataFrame(
        [
            {"month": "2021-01", "feature": "ret_1", "enough": 100, "filled": 0, **none},
            {"month": "2021-02", "feature": "ret_1", "enough": 50, "filled": 45, **days},
            {"month": "2021-03", "feature": "ret_1", "enough": 50, "filled": 50, **days},
            {"month": "2021-03", "feature": "ret_5", "enough": 50, "filled": 0, **none},
        ]
    )
    features = [BY_NAME[name] for name in ("ret_1", "ret_5", "iv_30")]
    table = coverage_table(replace(whole, cells=cells), features)
    # January, before the first value, does not count: 95 of 100, and at worst 45 of 50.
    assert table.rows() == [
        ("ret_1", "price", 0.95, 0.9, "2021-02", date(2021, 2, 3)),
        ("ret_5", "price", 0.0, 0.0, "2021-03", None),
        ("iv_30", "iv", None, None, None, None),
    ]


def test_coverage_is_plain_values_for_a_page(whole: Coverage) -> None:
    told = whole.as_json()
    rows = {row["family"]: row for row in told["families"]}
    assert rows["price"]["expected"] == rows["price"]["present"] == 15
    assert rows["iv"]["off"][0]["features"][0] == "iv_30"
    assert told["frontier"] == "2021-09-01"
