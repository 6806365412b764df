"""A recipe with overrides lies beside the recipe, and shares with it what is the same."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import PIPELINES, linked
from tests.pipeline.damage import flipped
from tests.store.memory import MemoryBackend

import alpha_assets as aa
from alpha_assets import project
from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import load_recipe
from alpha_assets.errors import SpecError, StorageError
from alpha_assets.pipeline import checkpoint, freshness, identity, variants
from alpha_assets.pipeline.stages import month_stages
from alpha_assets.pipeline.variants import RECORD
from alpha_assets.store import Store
from alpha_assets.store.copies import copy_storage
from alpha_assets.store.manifest import MANIFEST
from alpha_assets.store.store import BACKENDS

pytestmark = pytest.mark.usefixtures("pipelines")
MONTHS = {"first_month": "2021-07", "last_month": "2021-08"}
QUANTILE = "portfolio.quantile=0.3"
MODEL = "optimiser.learning_rate=0.01"
BOTH = ("month=2021-07", "month=2021-08")


@pytest.fixture(scope="module")
def wide(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, list[str]]:
    """A storage with the recipe and a variant that holds more names; its name, what it printed."""
    folder = linked(tiny_run, tmp_path_factory.mktemp("wide"))
    said: list[str] = []
    aa.run(
        "tiny",
        storage=str(folder),
        overrides=[QUANTILE],
        progress=lambda stage, what: said.append(f"{stage}: {what}"),
        **MONTHS,
    )
    context = project.open_context("tiny", storage=str(folder), overrides=[QUANTILE])
    return folder, context.recipe.folder, said


@pytest.fixture
def copied(wide: tuple[Path, str, list[str]], tmp_path: Path) -> tuple[Path, str]:
    folder, name, _ = wide
    return linked(folder, tmp_path / "storage"), name


def statuses(storage: Path, name: str, stage: str) -> dict[str, str]:
    """Return the status of each month, as its own manifest has it."""
    return {
        path.parent.name: json.loads(path.read_text())["status"]
        for path in sorted((storage / "tiny" / name / stage).glob(f"*/{MANIFEST}"))
    }


def test_a_variant_is_named_by_its_settings_whatever_is_said_about_it() -> None:
    market = load_market("tiny")

    def folder(*overrides: str) -> str:
        return load_recipe("tiny", market, overrides=overrides).folder

    assert folder() == folder("about='another sentence'") == "tiny"
    assert folder("portfolio.quantile=0.2") == "tiny"  # as the file has it
    assert folder(QUANTILE) == folder(QUANTILE, "about='x'") != folder("portfolio.quantile=0.4")
    assert folder(QUANTILE).startswith("tiny@")


def test_what_is_the_same_is_shared(wide: tuple[Path, str, list[str]]) -> None:
    storage, name, said = wide
    assert statuses(storage, name, "checkpoint") == {"2021-07": "shared", "2021-08": "shared"}
    assert statuses(storage, name, "predictions") == dict.fromkeys(BOTH, "shared")
    assert statuses(storage, name, "targets") == dict.fromkeys(BOTH, "complete")
    assert not list((storage / "tiny" / name / "predictions").rglob("*.parquet"))
    assert f"recipe: {name}: tiny with {QUANTILE}" in said
    assert "predictions: 2021-07 shared with tiny/tiny/predictions/month=2021-07" in said


def test_what_is_shared_reads_as_the_recipes_own(wide: tuple[Path, str, list[str]]) -> None:
    storage, name, _ = wide
    own = project.open_context("tiny", storage=str(storage))
    variant = project.open_context(name, storage=str(storage))
    assert variant.predictions.read().collect().equals(own.predictions.read().collect())
    assert variant.predictions.hashes() == own.predictions.hashes()
    assert variant.checkpoint("2021-07").contents() == own.checkpoint("2021-07").contents()

    rows = 'select count(*) as n, sum(score) as s from "{}_predictions"'
    asked = [aa.sql(rows.format(of), storage=str(storage), market="tiny") for of in ("tiny", name)]
    assert asked[0] == asked[1]
    assert asked[0][0]["n"] > 0


def test_a_variant_leaves_the_recipes_own_results(
    wide: tuple[Path, str, list[str]], tiny_run: Path
) -> None:
    storage, name, _ = wide
    for path in (tiny_run / "tiny" / "tiny").rglob(MANIFEST):
        now = storage / path.relative_to(tiny_run)
        assert (
            json.loads(now.read_text())["created_at"]
            == (json.loads(path.read_text())["created_at"])
        )
    own, variant = (aa.results(of, storage=str(storage)) for of in ("tiny", name))
    assert name in variant["title"]
    assert own["metrics"]["signal"] == variant["metrics"]["signal"]
    assert own["metrics"]["portfolio"]["turnover"] != variant["metrics"]["portfolio"]["turnover"]
    assert name in Path(variant["report"]).read_text()


def test_a_second_run_of_a_variant_makes_nothing(wide: tuple[Path, str, list[str]]) -> None:
    storage, name, _ = wide
    said: list[str] = []
    aa.run(name, storage=str(storage), progress=lambda stage, _: said.append(stage), **MONTHS)
    assert set(said) <= {"raw", "recipe"}
    rows = {row["stage"]: row for row in aa.status(name, storage=str(storage))}
    assert rows[f"{name}/predictions"]["made"] == 2
    assert [
        row["why"] for stage, row in rows.items() if stage.startswith("tiny") and row["to do"]
    ] == []


def test_a_variant_that_was_never_run_is_shown_as_such(
    wide: tuple[Path, str, list[str]],
) -> None:
    rows = aa.status("tiny", storage=str(wide[0]), overrides=[MODEL])
    models, scores, targets, *spans = rows[-6:]
    assert models["why"].startswith("never run: alpha-assets run --recipe tiny --market tiny")
    assert models["why"].endswith(f"--set {MODEL} makes it")
    assert [row["to do"] for row in (models, scores, targets)] == [None] * 3
    assert [row["to do"] for row in spans] == [1] * 3


def test_another_model_shares_nothing_that_follows_from_it(copied: tuple[Path, str]) -> None:
    storage, _ = copied
    where = {"storage": str(storage), "overrides": [MODEL]}
    aa.run("tiny", first_month="2021-07", last_month="2021-07", **where)
    name = project.open_context("tiny", **where).recipe.folder
    for stage in ("checkpoint", "predictions", "targets"):
        assert set(statuses(storage, name, stage).values()) == {"complete"}


def test_a_variant_that_is_not_stored_is_refused_with_those_that_are(
    wide: tuple[Path, str, list[str]],
) -> None:
    storage, name, _ = wide
    with pytest.raises(SpecError, match=rf"no variant 'tiny@0123.*want one of {name}"):
        aa.results("tiny@0123456789ab", storage=str(storage))
    with pytest.raises(SpecError, match="tiny_feeds has none: --set makes one"):
        aa.results("tiny_feeds@0123456789ab", storage=str(storage))
    with pytest.raises(SpecError, match="there is no recipe 'other'"):
        aa.results("other@0123456789ab", storage=str(storage))


@pytest.mark.parametrize("how", ["made again", "gone"])
def test_a_reference_to_what_has_changed_is_refused_by_name(
    copied: tuple[Path, str], how: str
) -> None:
    storage, name = copied
    own = project.open_context("tiny", storage=str(storage)).predictions
    folder = own.folder("2021-07")
    if how == "gone":
        shutil.rmtree(storage / folder.name)
        words = f"{name}/predictions/month=2021-07 refers to {folder.name}, which is gone"
    else:
        other = project.open_context("tiny", storage=str(storage), overrides=[MODEL])
        frame = folder.read()
        made_by = identity.predictions(other.recipe)
        own.write("2021-07", frame.head(100), freshness.manifest_of(made_by, {}))
        words = rf"refers to {folder.name}, which was made again since \(its content_hash differs"
    with pytest.raises(StorageError, match=words):
        project.open_context(name, storage=str(storage)).predictions.read().collect()
    rows = {row["stage"]: row for row in aa.status(name, storage=str(storage))}
    assert "refers to" in rows[f"{name}/predictions"]["why"]

    aa.run(name, storage=str(storage), **MONTHS)
    assert statuses(storage, name, "predictions") == {BOTH[0]: "complete", BOTH[1]: "shared"}


def test_a_variant_keeps_its_settings_when_the_file_changes(
    copied: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, name = copied
    pipelines = tmp_path / "pipelines"
    shutil.copytree(PIPELINES, pipelines)
    file = pipelines / "recipes" / "tiny.toml"
    file.write_text(file.read_text().replace("quantile = 0.2", "quantile = 0.25\nlong_only = true"))
    monkeypatch.setenv("ALPHA_PIPELINES", str(pipelines))

    assert name in aa.results(name, storage=str(storage))["title"]
    with pytest.raises(SpecError, match="the file has changed since; give --set to tiny"):
        aa.results(name, storage=str(storage), overrides=[MODEL])


def test_a_variant_outlives_the_file_of_its_recipe_where_the_market_is_named(
    copied: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, name = copied
    before = aa.results(name, storage=str(storage))
    pipelines = tmp_path / "pipelines"
    shutil.copytree(PIPELINES, pipelines)
    (pipelines / "recipes" / "tiny.toml").unlink()
    monkeypatch.setenv("ALPHA_PIPELINES", str(pipelines))

    assert aa.results(name, storage=str(storage), market="tiny") == before
    with pytest.raises(SpecError, match="there is no recipe 'tiny'"):
        aa.results(name, storage=str(storage))  # which market is its home?
    with pytest.raises(SpecError, match="there is no recipe 'other'"):
        aa.results("other@0123456789ab", storage=str(storage), market="tiny")


def test_a_variant_without_its_record_is_no_variant_to_choose(copied: tuple[Path, str]) -> None:
    storage, name = copied
    (storage / "tiny" / name / RECORD).unlink()
    with pytest.raises(SpecError, match=rf"tiny/{name} lacks its variant.json.* --set again"):
        aa.results(name, storage=str(storage))
    aa.run("tiny", storage=str(storage), overrides=[QUANTILE], **MONTHS)
    assert aa.results(name, storage=str(storage))["title"]


def test_a_reference_is_not_taken_over_for_other_code(
    copied: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, name = copied
    manifest = storage / "tiny" / name / "predictions" / BOTH[0] / MANIFEST
    before, honest = manifest.read_text(), identity._code

    def code(roots: tuple[str, ...], *chosen: Any, **how: Any) -> str:
        return honest(roots, *chosen, **how)[:: -1 if roots == identity.PREDICTIONS else 1]

    monkeypatch.setattr(identity, "_code", code)
    found = aa.restamp(name, stages=[f"{name}/predictions"], storage=str(storage), device="cpu")
    (row,) = found["rows"]
    assert (row["taken over"], row["left"]) == (0, 2)
    assert f"is shared with tiny/tiny/predictions/{BOTH[0]}, which other code made" in row["why"]
    assert "restamp tiny first" in row["why"]
    assert manifest.read_text() == before


def test_once_the_recipe_was_taken_over_the_variant_refers_to_it_and_what_follows_is_sampled(
    copied: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, name = copied
    honest, turned = identity._code, (identity.PREDICTIONS, identity.TARGETS)

    def code(roots: tuple[str, ...], *chosen: Any, **how: Any) -> str:
        return honest(roots, *chosen, **how)[:: -1 if roots in turned else 1]

    monkeypatch.setattr(identity, "_code", code)
    where = {"storage": str(storage), "device": "cpu"}
    aa.restamp("tiny", **where)
    rows = {row["stage"]: row for row in aa.restamp(name, **where)["rows"]}

    shared, own = rows["predictions"], rows["targets"]
    assert (shared["of other code"], shared["sample"], shared["taken over"]) == (2, "", 2)
    assert (own["sample"], own["taken over"], own["left"]) == ("2021-07, 2021-08", 2, 0)
    assert statuses(storage, name, "predictions") == dict.fromkeys(BOTH, "shared")
    status = aa.status(name, storage=str(storage))
    assert [row for row in status if row["to do"]] == []


def test_a_variant_is_not_referred_to_other_content_when_outputs_are_taken_over(
    copied: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, name = copied
    honest = identity._code

    def code(roots: tuple[str, ...], *chosen: Any, **how: Any) -> str:
        return honest(roots, *chosen, **how)[:: -1 if roots == identity.PREDICTIONS else 1]

    monkeypatch.setattr(identity, "_code", code)
    context = project.open_context("tiny", storage=str(storage))
    folder = context.predictions.folder("2021-07")
    held = folder.manifest()
    assert held is not None
    made = freshness.manifest_of(identity.predictions(context.recipe), held.inputs)
    context.predictions.write("2021-07", folder.read().head(100), made)

    found = aa.restamp(name, stages=["predictions"], storage=str(storage), device="cpu")
    (row,) = found["rows"]
    assert (row["taken over"], row["left"]) == (0, 2)
    assert "its content_hash differs" in row["why"]


def test_a_variant_that_waits_while_the_recipe_trains_its_model_refers_to_it(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = linked(tiny_run, tmp_path / "storage")
    model = Path("tiny", "tiny", "checkpoint", "2021-07")
    shutil.rmtree(storage / model)
    order: list[str] = []

    @contextmanager
    def the_recipe_trains_first(*args: object, threads: int) -> Iterator[None]:
        shutil.copytree(tiny_run / model, storage / model, copy_function=os.link)
        order.append("the device is free")
        yield
        order.append("the device is given back")

    monkeypatch.setattr(checkpoint, "device_alone", the_recipe_trains_first)
    monkeypatch.setattr(
        "alpha_assets.training.month.train_month", None
    )  # it would be called to train
    month = {"first_month": "2021-07", "last_month": "2021-07"}
    aa.run(
        "tiny",
        storage=str(storage),
        overrides=[QUANTILE],
        progress=lambda _, what: order.append(what) if what.startswith("2021-07 shared") else None,
        **month,
    )
    name = project.open_context("tiny", storage=str(storage), overrides=[QUANTILE]).recipe.folder
    assert statuses(storage, name, "checkpoint") == {"2021-07": "shared"}
    assert order[:3] == [
        "the device is free",
        "2021-07 shared with tiny/tiny/checkpoint/2021-07",
        "the device is given back",
    ]


JULY = {"first_month": "2021-07", "last_month": "2021-07"}
LENDER = [MODEL]
TRIALS = ([MODEL, QUANTILE], [MODEL, "portfolio.quantile=0.25"])


def folder_of(storage: Path, overrides: list[str]) -> str:
    return project.open_context("tiny", storage=str(storage), overrides=overrides).recipe.folder


@pytest.fixture(scope="module")
def lent(
    tiny_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str, str, list[str]]:
    """A storage with a variant of another model, and one that holds more of its names.

    Returns:
        The storage, the two variants, and what the second one's run printed.
    """
    storage = linked(tiny_run, tmp_path_factory.mktemp("lent"))
    said: list[str] = []
    aa.run("tiny", storage=str(storage), overrides=LENDER, **JULY)
    aa.run(
        "tiny",
        storage=str(storage),
        overrides=TRIALS[0],
        progress=lambda stage, what: said.append(f"{stage}: {what}"),
        **JULY,
    )
    return storage, folder_of(storage, LENDER), folder_of(storage, TRIALS[0]), said


def test_a_variant_shares_with_another_what_the_recipe_itself_has_not(
    lent: tuple[Path, str, str, list[str]],
) -> None:
    storage, lender, trial, said = lent
    assert statuses(storage, lender, "checkpoint") == {"2021-07": "complete"}
    assert statuses(storage, trial, "checkpoint") == {"2021-07": "shared"}
    assert statuses(storage, trial, "predictions") == {BOTH[0]: "shared"}
    assert statuses(storage, trial, "targets") == {BOTH[0]: "complete"}
    assert f"checkpoint: 2021-07 shared with tiny/{lender}/checkpoint/2021-07" in said
    ours, theirs = (project.open_context(name, storage=str(storage)) for name in (trial, lender))
    assert ours.predictions.read().collect().equals(theirs.predictions.read().collect())


def test_a_third_variant_refers_to_the_one_that_holds_the_files_however_they_are_named(
    lent: tuple[Path, str, str, list[str]], tmp_path: Path
) -> None:
    storage = linked(lent[0], tmp_path / "storage")
    _, lender, trial, _ = lent
    aa.run("tiny", storage=str(storage), overrides=TRIALS[1], **JULY)
    third = folder_of(storage, TRIALS[1])
    manifest = json.loads(
        (storage / "tiny" / third / "checkpoint" / "2021-07" / MANIFEST).read_text()
    )
    assert manifest["shares"] == f"tiny/{lender}/checkpoint/2021-07"
    assert len({lender, trial, third}) == 3


def test_variants_share_among_each_other_where_a_storage_has_no_files(
    lent: tuple[Path, str, str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = MemoryBackend("memory://lent")
    monkeypatch.setitem(BACKENDS, "memory", lambda url: memory)
    store = Store(memory.url)
    copy_storage(Store(str(lent[0])), store, records=[RECORD], report=lambda stage, what: None)
    context = project.open_context("tiny", storage=memory.url, overrides=TRIALS[1])
    (models, scores, *_) = month_stages(context.recipe)
    for stage in (models, scores):
        stage.ensure(context, ["2021-07"])
        held = stage.folder(context, "2021-07").reference()
        assert held is not None
        assert held.shares.startswith(f"tiny/{lent[1]}/{stage.name}/")


def test_a_variant_whose_lender_is_gone_is_refused_by_name_and_made_again(
    lent: tuple[Path, str, str, list[str]], tmp_path: Path
) -> None:
    storage = linked(lent[0], tmp_path / "storage")
    _, lender, trial, _ = lent
    before = project.open_context(trial, storage=str(storage)).predictions.hashes()
    shutil.rmtree(storage / "tiny" / lender)
    with pytest.raises(StorageError, match=f"refers to tiny/{lender}/predictions.*is gone"):
        project.open_context(trial, storage=str(storage)).predictions.read().collect()
    aa.run(trial, storage=str(storage), **JULY)
    assert statuses(storage, trial, "checkpoint") == {"2021-07": "complete"}
    assert project.open_context(trial, storage=str(storage)).predictions.hashes() == before


def test_variants_are_listed_once_and_only_where_the_recipe_has_not_what_is_wanted(
    lent: tuple[Path, str, str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = linked(lent[0], tmp_path / "storage")
    listed: list[str] = []
    honest = variants.stored_variants

    def counted(*args: Any) -> list[str]:
        listed.append(args[2])
        return honest(*args)

    monkeypatch.setattr(variants, "stored_variants", counted)
    context = project.open_context("tiny", storage=str(storage), overrides=TRIALS[1])
    (stage,) = [one for one in month_stages(context.recipe) if one.name == "predictions"]
    lenders = stage.lenders(context)
    assert lenders is not None
    names = [folder.name for month in ("2021-07", "2021-08") for folder in lenders.folders(month)]
    assert names == [
        "tiny/tiny/predictions/month=2021-07",
        f"tiny/{lent[1]}/predictions/month=2021-07",
        "tiny/tiny/predictions/month=2021-08",
    ]
    assert listed == ["tiny"]
    next(stage.lenders(context).folders("2021-07"))
    assert listed == ["tiny"]


def test_a_variant_that_another_one_made_stale_or_damaged_is_not_referred_to(
    lent: tuple[Path, str, str, list[str]], tmp_path: Path
) -> None:
    storage = linked(lent[0], tmp_path / "storage")
    model = storage / "tiny" / lent[1] / "checkpoint" / "2021-07" / "seed=0" / "model.safetensors"
    flipped(model)
    aa.run("tiny", storage=str(storage), overrides=TRIALS[1], **JULY)
    third = folder_of(storage, TRIALS[1])
    assert statuses(storage, third, "checkpoint") == {"2021-07": "complete"}


def test_a_variant_that_waits_while_another_trains_its_model_refers_to_it(
    lent: tuple[Path, str, str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = linked(lent[0], tmp_path / "storage")
    _, lender, trial, _ = lent
    for name in (lender, trial):
        shutil.rmtree(storage / "tiny" / name)

    @contextmanager
    def another_trains_first(*args: object, threads: int) -> Iterator[None]:
        shutil.copytree(lent[0] / "tiny" / lender, storage / "tiny" / lender, copy_function=os.link)
        yield

    monkeypatch.setattr(checkpoint, "device_alone", another_trains_first)
    monkeypatch.setattr("alpha_assets.training.month.train_month", None)
    aa.run("tiny", storage=str(storage), overrides=TRIALS[0], **JULY)
    assert statuses(storage, trial, "checkpoint") == {"2021-07": "shared"}


def test_a_reference_to_another_variant_is_taken_over_after_it(
    lent: tuple[Path, str, str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = linked(lent[0], tmp_path / "storage")
    _, lender, trial, _ = lent
    honest = identity._code

    def code(roots: tuple[str, ...], *chosen: Any, **how: Any) -> str:
        return honest(roots, *chosen, **how)[:: -1 if roots == identity.PREDICTIONS else 1]

    monkeypatch.setattr(identity, "_code", code)
    where = {"stages": ["predictions"], "storage": str(storage), "device": "cpu"}
    (before,) = aa.restamp(trial, **where)["rows"]
    assert f"restamp {lender} first" in before["why"]
    aa.restamp(lender, **where)
    (after,) = aa.restamp(trial, **where)["rows"]
    assert (after["taken over"], after["left"]) == (1, 0)
    assert statuses(storage, trial, "predictions") == {BOTH[0]: "shared"}
