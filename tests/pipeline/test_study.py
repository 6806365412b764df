"""Studies: folds that are no months, judged on sessions held out; what is traded never changes."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest
from tests.conftest import PIPELINES, linked

import alpha_assets as aa
from alpha_assets.calendar import Calendar
from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import load_recipe
from alpha_assets.dataset import folds
from alpha_assets.defs.automation import automation
from alpha_assets.defs.recipe import recipe_assets
from alpha_assets.defs.resources import Storage
from alpha_assets.errors import BadInput, RangeError, SpecError, StorageError
from alpha_assets.pipeline import identity, runner
from alpha_assets.pipeline.seen import Seen
from alpha_assets.pipeline.study import (
    folds_due,
    make_fold,
    months_to_study,
    session_rows,
    study_stage,
)
from alpha_assets.project import open_context
from alpha_assets.store import ManifestInput, RawTable
from alpha_assets.store.store import Store

LONGEST = 5  # of `tiny_ridge`: its labels are of 2 and 5 sessions
STUDIES: Mapping[str, str] = {
    "study_kfold": 'kind = "purged_kfold"\nfolds = 3\nvalid_sessions = 10\nembargo_sessions = 5',
    "study_pairs": 'kind = "combinatorial"\ngroups = 4\ntested = 2\nembargo_sessions = 5',
    "study_fixed": 'kind = "fixed"\nvalid_share = 0.2\ntest_share = 0.3\nembargo_sessions = 6',
    "study_network": 'kind = "purged_kfold"\nfolds = 2\nembargo_sessions = 5',
}


@pytest.fixture(scope="module", autouse=True)
def _pipelines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder of markets and recipes with a recipe for each kind of study."""
    folder = tmp_path_factory.mktemp("studies") / "pipelines"
    shutil.copytree(PIPELINES, folder)
    for name, section in STUDIES.items():
        base = "tiny" if name == "study_network" else "tiny_ridge"
        text = (folder / "recipes" / f"{base}.toml").read_text()
        (folder / "recipes" / f"{name}.toml").write_text(f"{text}\n[study]\n{section}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(folder))
        yield


@pytest.fixture(scope="module")
def studied(tiny_market: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    """A storage with the study of three purged folds, and what the verb returned."""
    storage = str(linked(tiny_market, tmp_path_factory.mktemp("studied") / "storage"))
    return storage, aa.study("study_kfold", storage=storage)


def overlaps(rows: pl.DataFrame, calendar: Calendar, gap: int) -> list[tuple[str, str, str]]:
    """Return, per fold, the pairs of sessions of different spans that lie within `gap`.

    Counted on the stored lists, pair by pair: an interval [D, D + gap] is laid out session by
    session, and no session may be covered from two spans.
    """
    found = []
    for fold in rows["fold"].unique().sort():
        covered: dict[str, set[int]] = {}
        for span in ("train", "valid", "test"):
            days = rows.filter(pl.col("fold") == fold, pl.col("span") == span)["session"]
            places = [int(np.flatnonzero(calendar.sessions == np.datetime64(d))[0]) for d in days]
            covered[span] = {at + lag for at in places for lag in range(gap + 1)}
        for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
            if covered[one] & covered[other]:
                found.append((fold, one, other))
    return found


def stored_sessions(storage: str, recipe: str) -> pl.DataFrame:
    return Store(storage).folder("tiny", recipe, "study").read("study_sessions")


def check_lists(rows: pl.DataFrame, embargo: int, times: int) -> None:
    """Every label ends before the other spans begin; each session is tested so often."""
    calendar = load_market("tiny").calendar
    assert overlaps(rows, calendar, LONGEST + embargo) == []
    assert not rows.select("fold", "session").is_duplicated().any()
    tested = rows.filter(pl.col("span") == "test")["session"].value_counts()
    assert (tested["count"] == times).all()
    first, last = rows["session"].min(), rows["session"].max()
    assert rows["session"].unique().len() == len(calendar.between(first, last))
    # The last bar is of 31 August 2021: the label of five sessions that ends there is of the 24th.
    assert str(last) == "2021-08-24"


def test_a_study_of_purged_folds_end_to_end(studied: tuple[str, Any]) -> None:
    storage, shown = studied
    rows = stored_sessions(storage, "study_kfold")
    check_lists(rows, embargo=5, times=1)

    folder = Store(storage).folder("tiny", "study_kfold", "study")
    for fold in ("1", "2", "3"):
        of_fold = rows.filter(pl.col("fold") == fold)
        card = json.loads(folder.contents()[f"{fold}/card.json"])
        for span in ("train", "valid"):
            listed = of_fold.filter(pl.col("span") == span)["session"]
            assert card[f"{span}_sessions"] == listed.cast(pl.String).to_list()
        assert f"{fold}/seed=0/model.safetensors" in folder.contents()
        (line,) = [r for r in shown["rows"] if (r["fold"], r["horizon"]) == (fold, 5)]
        counts = dict(of_fold["span"].value_counts().iter_rows())
        assert {span: line[f"{span}_sessions"] for span in counts} == counts
        # 10 + 5 sessions are left empty on each side that has a neighbour.
        assert line["purged_sessions"] >= 10
        assert line["rank_ic_low"] < line["rank_ic"] < line["rank_ic_high"]
    together = [row for row in shown["rows"] if row["fold"] == "all"]
    assert [row["horizon"] for row in together] == [2, 5]
    assert together[1]["judged_sessions"] <= rows.filter(pl.col("span") == "test").height
    assert all(row["rank_ic"] > 0 for row in together), "a strong signal is planted"

    scores = folder.read("study_scores")
    tested = rows.filter(pl.col("span") == "test")
    assert scores.join(tested, on=["fold", "session"], how="anti").is_empty()


def test_each_kind_of_study_keeps_its_distance(tiny_market: Path, tmp_path: Path) -> None:
    storage = str(linked(tiny_market, tmp_path / "storage"))
    shown = aa.study("study_pairs", storage=storage)
    assert len({row["fold"] for row in shown["rows"]}) == 6 + 1, "C(4, 2) folds, and all"
    check_lists(stored_sessions(storage, "study_pairs"), embargo=5, times=3)  # C(3, 1)
    shown = aa.study("study_fixed", storage=storage)
    assert [row["fold"] for row in shown["rows"]] == ["1", "1", "all", "all"]
    check_lists(stored_sessions(storage, "study_fixed"), embargo=6, times=1)
    assert aa.study("study_network", storage=storage)["rows"]


TWO_FOLDS = ["study={kind='purged_kfold',folds=2,embargo_sessions=5}", "training.max_epochs=1"]
LEVELS = ["q10", "q50", "q90"]


@pytest.mark.parametrize(
    ("recipe", "changes", "levels"),
    [
        ("tiny_graph", [], []),
        (
            "tiny",
            ["model={kind='linear',quantiles=[0.1,0.5,0.9]}", 'loss=[{kind="pinball"}]'],
            LEVELS,
        ),
        ("tiny", ["label.kind=vol_scaled", "model={kind='linear'}"], []),
    ],
    ids=["graph", "quantiles", "scaled returns"],
)
def test_a_study_of_other_inputs_outputs_and_labels(
    tiny_market: Path, tmp_path: Path, recipe: str, changes: list[str], levels: list[str]
) -> None:
    storage, asked = str(linked(tiny_market, tmp_path / "storage")), [*changes, *TWO_FOLDS]
    rows = aa.study(recipe, storage=storage, overrides=asked)["rows"]
    assert [row["fold"] for row in rows] == ["1", "1", "2", "2", "all", "all"]
    assert all(np.isfinite(row["rank_ic"]) for row in rows)

    folder = open_context(recipe, storage=storage, overrides=asked).study
    card = json.loads(folder.contents()["1/card.json"])
    assert card["n_neighbours"] == (3 if recipe == "tiny_graph" else 0)
    scores = folder.read("study_scores")
    assert [name for name in scores.columns if name.startswith("q")] == levels
    if levels:
        assert scores["q50"].equals(scores["score"])
    # A fold is scored as if it were alone: with all its inputs, on its own sessions.
    tested = folder.read("study_sessions").filter(pl.col("span") == "test")
    assert scores.join(tested, on=["fold", "session"], how="anti").is_empty()
    assert scores.filter(pl.col("fold") == "1").height


def test_a_purge_that_is_short_by_one_session_is_seen(
    studied: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = folds._clear
    monkeypatch.setattr(folds, "_clear", lambda left, a, b, gap: right(left, a, b, gap - 1))
    calendar, spec = load_market("tiny").calendar, load_recipe("study_kfold", load_market("tiny"))
    rows = stored_sessions(studied[0], "study_kfold")
    ends = (rows["session"].min(), rows["session"].max())
    assert spec.spec.study is not None
    wrong = folds.folds_of(calendar, LONGEST, spec.spec.study, ends)
    found = overlaps(session_rows(wrong, calendar.between(*ends)), calendar, LONGEST + 5)
    assert ("2", "train", "test") in found


def test_what_is_traded_knows_of_no_study(tiny_market: Path, tmp_path: Path) -> None:
    storage = str(linked(tiny_market, tmp_path / "storage"))
    month = {"first_month": "2021-07", "last_month": "2021-07"}
    # One recipe, one name: first without the section, then with it.
    recipes = Path(os.environ["ALPHA_PIPELINES"]) / "recipes"
    file = recipes / "study_traded.toml"
    plain = (recipes / "tiny_ridge.toml").read_text()
    file.write_text(plain)
    aa.run("study_traded", storage=storage, **month)

    def manifests() -> list[tuple[str, str, str]]:
        found = []
        context = open_context("study_traded", storage=storage)
        monthly = (context.checkpoints, context.predictions, context.targets)
        for folder in (*[one.folder("2021-07") for one in monthly], context.backtest):
            manifest = folder.manifest()
            assert manifest is not None
            found.append((manifest.content_hash, manifest.digest, str(manifest.created_at)))
        return found

    before, without = manifests(), load_recipe("study_traded", load_market("tiny"))
    for section in (STUDIES["study_kfold"], STUDIES["study_fixed"]):
        file.write_text(f"{plain}\n[study]\n{section}\n")
        recipe = load_recipe("study_traded", load_market("tiny"))
        for made_by in (identity.checkpoint, identity.predictions, identity.targets):
            assert made_by(recipe) == made_by(without)
        assert identity.backtest(recipe) == identity.backtest(without)
        assert recipe.resolved == without.resolved
    aa.study("study_traded", storage=storage)
    rows = aa.status("study_traded", storage=storage)
    assert not any(row["to do"] for row in rows), rows
    assert rows[-1]["stage"] == "study_traded/study"
    aa.run("study_traded", storage=storage, **month)
    assert manifests() == before, "nothing was made again"

    # The whole of it made anew beside a study has the same content, too.
    for stage in ("checkpoint", "predictions", "targets"):
        shutil.rmtree(Path(storage) / "tiny" / "study_traded" / stage)
    aa.run("study_traded", storage=storage, **month)
    assert [one[:2] for one in manifests()] == [one[:2] for one in before]

    shown = aa.results("study_traded", storage=storage)["study"]
    assert shown["kind"] == "fixed"
    asked = "select fold, rank_ic from study_traded_study_folds where horizon = 5"
    assert aa.sql(asked, market="tiny", storage=storage)[0]["fold"] == "1"
    file.write_text(f"{plain}\n[study]\n{STUDIES['study_kfold']}\n")
    (row,) = [
        row
        for row in aa.status("study_traded", storage=storage)
        if row["stage"] == "study_traded/study"
    ]
    assert row["to do"] == 1
    assert row["why"].startswith("made by digest")
    file.unlink()


def test_dagster_makes_the_study_that_the_verb_makes(
    studied: tuple[str, Any], tiny_market: Path, tmp_path: Path
) -> None:
    storage = str(linked(tiny_market, tmp_path / "storage"))
    market = load_market("tiny")
    recipe = load_recipe("study_kfold", market)
    assets = {asset.key.path[-1]: asset for asset in recipe_assets(recipe, market)}
    plain = load_recipe("tiny_ridge", market)
    assert "study" not in {one.key.path[-1] for one in recipe_assets(plain, market)}
    month_job, *_ = automation(recipe, market).jobs
    scheduled = {key.path[-1] for key in month_job.selection.resolve([*assets.values()])}
    assert {*assets} - scheduled == {"study"}, "no schedule trains a study"
    with dg.DagsterInstance.ephemeral() as instance:
        made = dg.materialize(
            [assets["study"]], instance=instance, resources={"storage": Storage(url=storage)}
        )
    assert made.success
    mine, other = (
        Store(where).folder("tiny", "study_kfold", "study").manifest()
        for where in (storage, studied[0])
    )
    assert mine is not None
    assert other is not None
    assert (mine.content_hash, mine.digest) == (other.content_hash, other.digest)


def test_a_killed_study_goes_on_where_it_was(tiny_market: Path, tmp_path: Path) -> None:
    folders = [linked(tiny_market, tmp_path / name) for name in ("killed", "whole")]
    killed, whole = (open_context("study_network", storage=str(folder)) for folder in folders)
    heard: list[str] = []

    def stop(stage: str, what: str) -> None:
        heard.append(f"{stage} {what}")
        if sum("seed 0" in line for line in heard) == 3:  # the first epoch of the second fold
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.study(replace(killed, progress=stop))
    states = sorted(path.parent.name for path in folders[0].rglob("_tmp/resume/**/*seed=0.*"))
    assert states == ["study-1", "study-2"]
    assert killed.study.manifest() is None
    (first,) = folders[0].rglob("_tmp/resume/**/made.zip")
    assert first.parent.name == "study-1"
    content = first.read_bytes()
    first.write_bytes(content[:-100])
    with pytest.raises(
        StorageError, match=r"made\.zip: the models of fold 1 cannot be read .* del"
    ):
        runner.study(killed)
    first.write_bytes(content)

    again: list[str] = []
    runner.study(replace(killed, progress=lambda stage, what: again.append(what)))
    runner.study(whole)
    manifests = [one.study.manifest() for one in (killed, whole)]
    assert all(manifests)
    assert len({one.content_hash for one in manifests if one is not None}) == 1
    assert sum("seed 0" in line for line in again) == 1, "one epoch was left of two folds"
    assert not any(line.startswith("fold 1, ") for line in again), "its models were there"
    assert not list(folders[0].rglob("_tmp/resume/**/*.*"))


def test_a_fold_of_other_inputs_is_made_again(tiny_market: Path, tmp_path: Path) -> None:
    storage = linked(tiny_market, tmp_path / "storage")
    context = open_context("study_network", storage=str(storage))
    assert folds_due(context) == ["1", "2"]
    make_fold(context, "2")
    assert folds_due(context) == ["1"]

    other = open_context("study_network", storage=str(storage), overrides=["training.seeds=[3]"])
    (mine,) = storage.rglob("_tmp/resume/**/made.zip")
    theirs = mine.parents[2] / other.recipe.folder / mine.parent.name / mine.name
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(mine.read_bytes())
    assert folds_due(other) == ["1", "2"]


@pytest.mark.slow
def test_two_processes_make_the_study_of_one(tiny_market: Path, tmp_path: Path) -> None:
    folders = [str(linked(tiny_market, tmp_path / name)) for name in ("one", "two")]
    lines: list[str] = []
    for storage, workers in zip(folders, (1, 2), strict=True):
        aa.study(
            "study_network",
            storage=storage,
            workers=workers,
            progress=lambda stage, what: lines.append(f"{stage} {what}"),
        )
    manifests = [open_context("study_network", storage=one).study.manifest() for one in folders]
    assert len({one.content_hash for one in manifests if one is not None}) == 1
    assert all(manifests)
    made = [line for line in lines if line.startswith("worker ")]
    assert {line.rpartition(": ")[2] for line in made} == {
        "study_network study 1",
        "study_network study 2",
    }
    assert len({line.split()[2] for line in made}) == 2


def stored_row(table: RawTable, row: pl.DataFrame, at: str, **values: object) -> None:
    """Store a row again with other values, published at an instant."""
    stamp = datetime.fromisoformat(at).replace(tzinfo=UTC)
    changed = {"available_at": stamp, "revision": 9, **values}
    columns = [pl.lit(v).cast(row.schema[name]).alias(name) for name, v in changed.items()]
    stored = table.table.folder(table.months()[0]).manifest()
    assert stored is not None
    manifest = ManifestInput(digest=stored.digest)
    assert table.append(row.with_columns(columns), manifest).rows == 1


def test_a_study_hangs_by_the_rows_that_its_labels_read(tiny_market: Path, tmp_path: Path) -> None:
    # Up to July: usable sessions are 2021-02-02 to 2021-07-30, the last label ends on 2021-08-06.
    # Bars end on 2021-08-31, so that 2021-09-01 is the last session that can be decided.
    storage = str(linked(tiny_market, tmp_path / "storage"))
    context = open_context("study_kfold", storage=storage)
    stage, months = study_stage(context.recipe), months_to_study(context)[:-1]

    def read() -> tuple[str, str]:
        inputs = stage.inputs(context, months, Seen())
        return inputs["raw/daily_bars"], inputs["raw/listings"]

    table = context.raw["daily_bars"]
    bars = table.read().collect().group_by("event_date", maintain_order=True).first()

    def bar(day: str) -> pl.DataFrame:
        return bars.filter(pl.col("event_date") == date.fromisoformat(day))

    before = read()
    stored_row(table, bar("2021-01-20"), "2021-06-15T07:30", volume=1.0)
    assert read() == before
    stored_row(table, bar("2021-03-26"), "2021-06-15T07:30", volume=1.0)
    corrected = read()
    assert corrected[0] != before[0]

    # Later bars change nothing, but for a correction that no decision knew before they were there.
    stored_row(table, bar("2021-08-31"), "2021-09-01T07:30", event_date=date(2021, 9, 1))
    assert read() == corrected
    stored_row(table, bar("2021-03-29"), "2021-09-02T07:30", volume=1.0)
    unknown = read()
    assert unknown[0] != corrected[0]
    stored_row(table, bar("2021-08-31"), "2021-09-02T07:30", event_date=date(2021, 9, 2))
    assert read()[0] != unknown[0]

    # Of listings: another life of a symbol counts, another symbol and a later life do not.
    listings = context.raw["listings"]
    gone = listings.read().filter(pl.col("exit").fill_null("active") != "active").collect()
    first = gone.sort("event_date").head(1)
    left = first["event_date"].item()
    stored_row(listings, first, "2021-06-15T07:30", symbol="NEW", exit=None, event_date=left)
    for day, exit_ in ((date(2021, 8, 10), "merger"), (date(2021, 8, 20), None)):
        at = f"{day}T07:30"
        stored_row(listings, first, at, symbol="LATE", exit=exit_, event_date=day)
    assert read()[1] == before[1]
    again = {"exit": None, "event_date": left + timedelta(days=40)}
    stored_row(listings, first, "2021-08-20T07:30", **again)
    assert read()[1] != before[1]


def test_a_study_is_never_asked_for_until_it_is(tiny_market: Path, tmp_path: Path) -> None:
    storage = str(linked(tiny_market, tmp_path / "storage"))
    row = aa.status("study_kfold", storage=storage)[-1]
    assert (row["stage"], row["to do"]) == ("study_kfold/study", None)
    assert row["why"].startswith("never asked for: alpha-assets study --recipe study_kfold")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["study.kind=purged_kfold", "study.embargo_sessions=4"],
            "study.embargo_sessions = 4 under a label of 5 sessions; want 5 or more",
        ),
        (["study.kind=purged_kfolds"], "did you mean 'purged_kfold'?"),
        (
            ["study.kind=fixed", "study.embargo_sessions=5", "study.folds=3"],
            "unknown key 'study.folds'",
        ),
        (
            ["study.kind=purged_kfold", "study.embargo_sessions=5", "training.warm_start=true"],
            "may have learned what a fold is judged on",
        ),
        (
            ["study.kind=purged_kfold", "study.embargo_sessions=5", "training.selection=icir"],
            "selects on validation sessions, and the study has none",
        ),
        (
            [
                *("study.kind=purged_kfold", "study.embargo_sessions=5"),
                *("study.valid_sessions=6", "training.selection=net_sharpe"),
            ],
            "study.valid_sessions = 6, want more than 6",
        ),
    ],
)
def test_a_study_that_cannot_be_is_refused_by_name(overrides: list[str], words: str) -> None:
    with pytest.raises(SpecError) as refused:
        load_recipe("tiny_ridge", load_market("tiny"), overrides=overrides)
    assert words in str(refused.value)


def test_folds_without_sessions_and_recipes_without_a_study_are_refused(
    studied: tuple[str, Any],
) -> None:
    storage, _ = studied
    with pytest.raises(RangeError, match="fold 1 of 2 blocks has nothing to train on"):
        aa.study("study_kfold", storage=storage, overrides=["study.folds=2", *LONG])
    with pytest.raises(BadInput, match=r"has no \[study\]; give it one, or --set study.kind"):
        aa.study("tiny_ridge", storage=storage)
    assert open_context("study_kfold", storage=storage).study.manifest() is not None


LONG = ["study.valid_sessions=0", "study.embargo_sessions=90"]
