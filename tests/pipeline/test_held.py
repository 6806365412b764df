"""Targets that go on from what is held: month by month, alone, and as `predict` decides them."""

import shutil
from pathlib import Path

import polars as pl
import pytest
from tests.conftest import linked

import alpha_assets as aa
from alpha_assets import project
from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import load_recipe
from alpha_assets.errors import MissingOutput, SpecError, StaleOutput
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.held import HELD, SCORES_BEFORE
from alpha_assets.pipeline.seen import Seen
from alpha_assets.pipeline.targets import targets_stage
from alpha_assets.store.manifest import ManifestInput

pytestmark = pytest.mark.usefixtures("pipelines")
MONTHS = {"first_month": "2021-07", "last_month": "2021-08"}
SLOW = [
    "portfolio.rule=rank_weighted",
    "portfolio.step=0.5",
    "portfolio.smoothing=2",
    "portfolio.smoothing_sessions=6",
    "portfolio.inverse_volatility=true",
    "portfolio.volatility_target=0.05",
    "portfolio.neutral=['sector']",
]


@pytest.fixture(scope="module")
def slow(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage in which a rule with a memory decided two months."""
    folder = linked(tiny_run, tmp_path_factory.mktemp("slow"))
    aa.run("tiny", storage=str(folder), overrides=SLOW, **MONTHS)
    return folder


def context_in(storage: Path) -> RecipeContext:
    return project.open_context("tiny", storage=str(storage), overrides=SLOW)


def stored(context: RecipeContext) -> pl.DataFrame:
    return context.targets.read("2021-07", "2021-08").collect()


def rewrite(context: RecipeContext, month: str, rows: pl.DataFrame) -> None:
    """Exchange the targets of a month, under the manifest that it had."""
    manifest = context.targets.folder(month).manifest()
    assert manifest is not None
    names = set(ManifestInput.model_fields) & set(type(manifest).model_fields)
    kept = {name: getattr(manifest, name) for name in names}
    context.targets.write(month, rows, ManifestInput(**kept))


def test_each_rebalance_goes_on_from_the_one_before_across_months(slow: Path) -> None:
    targets = stored(context_in(slow))
    panel = context_in(slow).panel.read("2021-07", "2021-08").collect()
    days = targets["session"].unique().sort().to_list()
    assert {day.month for day in days} == {7, 8}
    held: dict[str, float] = {}
    for day in days:
        today = targets.filter(pl.col("session") == day)
        gone = set(held) - set(today["symbol"])  # out of the market: it has no row any more
        assert not gone & set(panel.filter(pl.col("session") == day)["symbol"])
        now = dict(today.select("symbol", "target_weight").iter_rows())
        # Half of the way: the distance to the aim, held + 2 (now - held), is the aim's own.
        aim = {name: held.get(name, 0.0) + 2 * (now[name] - held.get(name, 0.0)) for name in now}
        assert sum(map(abs, aim.values())) <= 1.0 + 1e-9
        assert sum(aim.values()) == pytest.approx(0.0, abs=1e-9)
        held = {name: weight for name, weight in now.items() if weight}


def test_predict_decides_what_is_stored_bit_for_bit(slow: Path) -> None:
    context = context_in(slow)
    targets = stored(context)
    days = targets["session"].unique().sort().to_list()
    seam = next(place for place, day in enumerate(days) if day.month != days[0].month)
    for day in (days[0], days[seam - 1], days[seam], days[-1]):
        decided = aa.predict("tiny", asof=day.isoformat(), storage=str(slow), overrides=SLOW)
        rows = pl.DataFrame(decided["rows"], infer_schema_length=None)
        traded = pl.col("horizon").is_null() | (pl.col("horizon") == 5)
        rows = rows.filter(traded).select("symbol", "target_weight").sort("symbol")
        want = targets.filter(pl.col("session") == day).sort("symbol")
        assert rows["symbol"].to_list() == want["symbol"].to_list()
        assert rows["target_weight"].to_list() == want["target_weight"].to_list()


def test_the_inputs_name_what_is_remembered(slow: Path) -> None:
    stage = targets_stage(context_in(slow).recipe)
    first, second = (stage.inputs(context_in(slow), [m], Seen()) for m in ("2021-07", "2021-08"))
    assert HELD not in first
    assert SCORES_BEFORE not in first
    assert {HELD, SCORES_BEFORE} <= set(second)


def test_a_month_made_alone_is_the_same_month(slow: Path, tmp_path: Path) -> None:
    folder = linked(slow, tmp_path / "storage")
    context = context_in(folder)
    before = context.targets.hashes()
    shutil.rmtree(folder / "tiny" / context.recipe.folder / "targets" / "month=2021-08")
    aa.run("tiny", storage=str(folder), overrides=SLOW, first_month="2021-08", last_month="2021-08")
    assert context.targets.hashes() == before


def test_a_changed_month_before_makes_the_next_one_stale_and_predict_refuses(
    slow: Path, tmp_path: Path
) -> None:
    folder = linked(slow, tmp_path / "storage")
    context = context_in(folder)
    halved = context.targets.read("2021-07", "2021-07").collect()
    halved = halved.with_columns(pl.col("target_weight") / 2)
    rewrite(context, "2021-07", halved)
    assert targets_stage(context.recipe).stale(context, ["2021-08"], Seen())
    with pytest.raises(StaleOutput, match=r"2021-08 went on from targets of 2021-07 that"):
        aa.predict("tiny", asof="2021-08-16", storage=str(folder), overrides=SLOW)


def test_predict_refuses_a_chain_with_a_hole(slow: Path, tmp_path: Path) -> None:
    folder = linked(slow, tmp_path / "storage")
    context = context_in(folder)
    rows = context.targets.read("2021-08", "2021-08").collect()
    last = rows["session"].max()
    rewrite(context, "2021-08", rows.filter(pl.col("session") != rows["session"].min()))
    with pytest.raises(MissingOutput, match=r"has no rows of 2021-08-02, a rebalance before"):
        aa.predict("tiny", asof=str(last), storage=str(folder), overrides=SLOW)


def test_predict_names_the_whole_way_out_and_takes_it_with_train(
    slow: Path, tmp_path: Path
) -> None:
    folder = linked(slow, tmp_path / "storage")
    whole = aa.predict("tiny", storage=str(folder), overrides=SLOW, train=True)
    context = context_in(folder)
    variant = folder / "tiny" / context.recipe.folder
    for stage in ("targets", "predictions"):
        shutil.rmtree(variant / stage / "month=2021-08")

    # 2021-09-01 is the next session; there are no bars of its month, so that none can be run.
    with pytest.raises(MissingOutput, match="--first-month 2021-08 --last-month 2021-08 makes it"):
        aa.predict("tiny", storage=str(folder), overrides=SLOW)
    assert aa.predict("tiny", storage=str(folder), overrides=SLOW, train=True) == whole
    assert context.targets.months() == ("2021-07", "2021-08")

    shutil.rmtree(variant / "checkpoint" / "2021-09")
    with pytest.raises(MissingOutput, match=r"predict .* --asof 2021-09-01 --train makes it"):
        aa.predict("tiny", storage=str(folder), overrides=SLOW)


def test_another_rule_drops_what_only_the_files_rule_has() -> None:
    market = load_market("tiny")
    recipe = load_recipe("tiny", market, overrides=["portfolio.rule=softmax"])
    assert recipe.spec.portfolio.rule == "softmax"
    with pytest.raises(SpecError, match="quantile"):
        load_recipe("tiny", market, overrides=["portfolio.rule=softmax", "portfolio.quantile=0.2"])
    with pytest.raises(SpecError, match="rank_weighted"):
        load_recipe("tiny", market, overrides=["portfolio.rule=rank_weigted"])


@pytest.mark.slow
def test_the_certificate_covers_a_rule_that_remembers(slow: Path) -> None:
    found = aa.audit(
        "tiny",
        storage=str(slow),
        overrides=SLOW,
        first_month="2021-08",
        last_month="2021-08",
        cuts=1,
        sessions=3,
        clock=0,
    )
    assert found["passed"], found["text"]
    assert "targets 2021-08" in found["text"]
