"""Edited code and changed settings make stale what they decide, and nothing else."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import linked

import alpha_assets as aa
from alpha_assets import project
from alpha_assets.code import Code, installed
from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import Recipe, load_recipe
from alpha_assets.errors import StaleOutput
from alpha_assets.features import CATALOG, INTERACTIONS
from alpha_assets.features.code import compute_digest, feature_digests
from alpha_assets.pipeline import checkpoint, identity
from alpha_assets.pipeline.families import families_of
from alpha_assets.pipeline.seen import Seen
from alpha_assets.pipeline.targets import targets_stage
from alpha_assets.store.folder import Folder

PIPELINES = Path(__file__).parents[1] / "pipelines"
SOURCE = installed().root
MONTHS = {"first_month": "2021-07", "last_month": "2021-08"}
STAGES = {
    "panel": identity.PANEL,
    "features": identity.FEATURES,
    "members": identity.MEMBERS,
    "cross_section": identity.CROSS_SECTION,
    "graph": identity.GRAPH,
    "checkpoint": identity.CHECKPOINT,
    "predictions": identity.PREDICTIONS,
    "targets": identity.TARGETS,
    "backtest": identity.BACKTEST,
    "coverage": identity.COVERAGE,
    "report": identity.REPORT,
}
KINDS = {
    **identity.SETTINGS_AND_FILES,
    identity.MODELS: ("linear",),
    identity.ESTIMATORS: ("network",),
    identity.LOADERS: ("network",),
    identity.LOSSES: ("mse",),
}
# A card names the loss that its model was trained with, and what scores does not read it.
KINDS_OF = {"predictions": {**KINDS, identity.LOSSES: ()}}
# What is edited: file, from, to, and the stages whose code changes.  The table is fixed: what an
# edit makes stale beyond need is known, and does not grow unseen.
EDITS = {
    "kernel": ("features/estimators.py", "def parkinson(", "def parkinson(*, z=0, ", {"features"}),
    "feature": (
        "features/price.py",
        "shift(last_close, MONTH) / shift(last_close, YEAR) - 1",
        "shift(last_close, MONTH) / shift(last_close, YEAR) - 2",
        {"features", "graph"},  # the graph is made by code that also knows this feature
    ),
    "input": (
        "features/inputs.py",
        "np.log(high / low)",
        "np.log(low / high)",
        {"features", "graph"},
    ),
    "z-score": ("features/cross_section.py", "import numpy as np", "import math as np", None),
    "label": (
        "labels.py",
        "moved_DN *= factor_DN",
        "moved_DN /= factor_DN",
        {"checkpoint", "backtest"},
    ),
    "loss term": (
        "models/losses/distance.py",
        "error_SN.square().sum(-1) / sections",
        "error_SN.abs().sum(-1) / sections",
        {"checkpoint"},
    ),
    "model": (
        "models/linear.py",
        "[:, :, -1], batch.valid",
        "[:, :, 0], batch.valid",
        {"checkpoint", "predictions"},
    ),
    "another estimator": ("training/ridge.py", "import numpy as np", "import math as np", set()),
    "another model": ("models/transformer.py", "import torch", "import math as torch", set()),
    "optimiser": (
        "training/fit.py",
        "set_to_none=True",
        "set_to_none=False",
        {"checkpoint"},  # scores hang by what it fitted
    ),
    "early stopping": (
        "training/network.py",
        ">= training.patience):",
        "> training.patience):",
        {"checkpoint"},
    ),
    "resumed fit": (
        "training/resume.py",
        "def host_copy(",
        "def host_copy(*, z=0, ",
        {"checkpoint"},
    ),
    "read weights": (  # a warm start reads them, too
        "training/network.py",
        "return model.eval()",
        "return model.train()",
        {"checkpoint", "predictions"},
    ),
    "rule": ("backtest/portfolio.py", "import polars as pl", "import math as pl", None),
    "simulator": ("backtest/simulator.py", "DUST = 1e-13", "DUST = 1e-12", {"backtest"}),
    "cost": (
        "backtest/costs.py",
        "commission_bps * BPS",
        "commission_bps / BPS",
        {"backtest"},
    ),
    "statistic": (
        "evaluation/sharpe.py",
        "return mean / sd if",
        "return sd / mean if",
        {"backtest"},
    ),
    "count": ("quality/cells.py", "max(feature.lookback, ", "min(feature.lookback, ", {"coverage"}),
    "chart": ("report/signal_charts.py", '"mean rank IC", 100', '"mean rank IC", 10', {"report"}),
    "page": ("report/template.html", "<body", "<body class='x'", {"report"}),
    "raw rows that are read": (
        "pipeline/raw.py",
        "table.read(last=month)",
        "table.read(first=month)",
        {"panel"},
    ),
    "sessions of a month": (
        "pipeline/market_stages.py",
        "min(last, frontier(context))",
        "last",
        {"panel", "features", "members", "cross_section", "graph"},
    ),
    "look-back of the z-score": (
        "pipeline/market_stages.py",
        "begin = series_start(market, first, made_from)",
        "begin = first",
        {"cross_section"},
    ),
    "warm start": ("pipeline/checkpoint.py", "parent=weights,", "parent=None,", {"checkpoint"}),
    "window": ("pipeline/windows.py", "def window_months(", "def window_months(z, ", None),
    "card": (
        "training/checkpoint.py",
        "purge_sessions=max(axes.horizons)",
        "purge_sessions=min(axes.horizons)",
        {"checkpoint"},
    ),
    "sessions that are scored": (
        "pipeline/predictions.py",
        "decided = sessions[np.isin(",
        "decided = sessions[~np.isin(",
        {"predictions"},
    ),
    "sessions of a period before its month": (
        "pipeline/targets.py",
        "near = near[near < np.asarray(",
        "near = near[near <= np.asarray(",
        {"targets"},
    ),
    "months that are judged": (
        "pipeline/backtest.py",
        "context.predictions.read(months[0], months[-1])",
        "context.predictions.read(months[0], months[0])",
        {"backtest"},
    ),
    "months that are counted": (
        "pipeline/report.py",
        "coverage(context, families, last=months[-1], every_feed=True)",
        "coverage(context, families, last=months[0], every_feed=True)",
        {"coverage"},
    ),
    "comment": ("labels.py", "def forward_returns(", "# Prose.\ndef forward_returns(", set()),
    "source": (
        "features/price.py",
        '"C[-21] / C[-252] - 1",\n    source="Jegadeesh & Titman (1993), J. Finance 48."',
        '"as the paper has it",\n    source="Others (1993)."',
        set(),
    ),
}
AT_LEAST = {"z-score": {"cross_section"}, "rule": {"targets"}, "window": {"checkpoint"}}


def codes(code: Code) -> dict[str, str]:
    """Return the digest of every stage's code, that of features with all of them."""
    found = {
        stage: code.digest(
            *(f"alpha_assets.{root}" for root in roots), select=KINDS_OF.get(stage, KINDS)
        )
        for stage, roots in STAGES.items()
    }
    parts = (found["features"], compute_digest(code), *sorted(feature_digests(code).items()))
    return {**found, "features": repr(parts)}


# One edit of each stage's own code, one of what a recipe does not name, one of prose; the rest of
# the table, of which each takes a second, is a slow proof.
QUICK = (
    "kernel",
    "z-score",
    "loss term",
    "model",
    "another model",
    "rule",
    "simulator",
    "count",
    "chart",
    "raw rows that are read",
    "sessions of a month",
    "sessions of a period before its month",
    "comment",
)


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A copy of the package, and the digests of its code as it is."""
    place = tmp_path_factory.mktemp("copied") / "alpha_assets"
    shutil.copytree(SOURCE, place, ignore=shutil.ignore_patterns("__pycache__"))
    return place, codes(Code(place))


@pytest.mark.parametrize(
    "edit",
    [edit if edit in QUICK else pytest.param(edit, marks=pytest.mark.slow) for edit in EDITS],
)
def test_no_edit_misses_a_stage_and_each_makes_stale_what_the_table_names(
    copied: tuple[Path, dict[str, str]], edit: str
) -> None:
    place, before = copied
    name, old, new, wanted = EDITS[edit]
    path = place / name
    text = path.read_text(encoding="utf-8")
    assert old in text, old
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    after = codes(Code(place))
    path.write_text(text, encoding="utf-8")
    changed = {stage for stage in before if before[stage] != after[stage]}
    if wanted is None:
        assert AT_LEAST[edit] <= changed
    else:
        assert changed == wanted


def test_every_edit_has_its_place_and_the_quick_ones_reach_every_stage() -> None:
    assert [
        edit for edit, (name, old, _, _) in EDITS.items() if old not in (SOURCE / name).read_text()
    ] == []
    reached = {stage for edit in QUICK for stage in (EDITS[edit][3] or AT_LEAST.get(edit, set()))}
    assert reached == {*STAGES}


# Of those edits: the families of features that become stale.
FAMILIES = {
    "kernel": {"volatility"},
    "feature": {"price", "sec", "x"},  # a feature of sectors is made of it, and a product
    "comment": set(),
    "source": set(),
}


def test_an_edited_feature_makes_stale_its_family_and_what_is_made_of_it(tmp_path: Path) -> None:
    place = tmp_path / "alpha_assets"
    shutil.copytree(SOURCE, place, ignore=shutil.ignore_patterns("__pycache__"))
    family_of = {item.name: item.family for item in (*CATALOG, *INTERACTIONS)}
    before, shared = feature_digests(Code(place)), compute_digest(Code(place))
    for edit, wanted in FAMILIES.items():
        name, old, new, _ = EDITS[edit]
        path = place / name
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        after, shared_after = feature_digests(Code(place)), compute_digest(Code(place))
        path.write_text(text, encoding="utf-8")
        assert shared_after == shared, edit
        assert {family_of[name] for name in before if before[name] != after[name]} == wanted, edit


@pytest.fixture(scope="module", autouse=True)
def pipelines() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(PIPELINES))
        yield


def recipe(*overrides: str) -> Recipe:
    return load_recipe("tiny", load_market("tiny"), overrides=list(overrides))


def digests(of: Recipe) -> dict[str, str]:
    return {
        "checkpoint": identity.checkpoint(of).digest,
        "predictions": identity.predictions(of).digest,
        "targets": identity.targets(of).digest,
        "backtest": identity.backtest(of).digest,
        "report": identity.report(of).digest,
    }


@pytest.mark.parametrize(
    ("override", "stale"),
    [
        ("about=Other words.", {"report"}),
        ("portfolio.quantile=0.27", {"targets", "backtest", "report"}),
        ("guard.rank_ic_max=0.77", {"backtest", "report"}),
        ("training.threads=2", {"backtest", "report"}),
        ("training.max_epochs=3", {"checkpoint", "predictions", "backtest", "report"}),
    ],
)
def test_a_setting_makes_stale_what_reads_it(override: str, stale: set[str]) -> None:
    before, after = digests(recipe()), digests(recipe(override))
    assert {stage for stage in before if before[stage] != after[stage]} == stale


def test_one_more_feature_leaves_the_panel_fresh() -> None:
    market = load_market("tiny")
    fewer = load_market("tiny", overrides=["max_stale=19"])
    assert identity.panel(market).digest != identity.panel(fewer).digest
    last = market.catalog[-1]
    market.__dict__["catalog"] = market.catalog[:-1]
    assert identity.panel(market) == identity.panel(load_market("tiny"))
    whole, family = load_market("tiny"), last.family
    for name in families_of(whole.catalog):
        was, now = identity.features(whole, name), identity.features(market, name)
        assert (was.digest != now.digest) == (name == family), name


@pytest.fixture
def storage(tiny_run: Path, tmp_path: Path) -> str:
    return str(linked(tiny_run, tmp_path / "storage"))


def to_do(storage: str) -> dict[str, str]:
    rows = aa.status("tiny", storage=storage)
    return {row["stage"]: row["why"] for row in rows if row["to do"]}


def edited(monkeypatch: pytest.MonkeyPatch, feature: str) -> None:
    """Let the code of one feature be another than the stored months were made by."""
    changed = {**identity._feature_codes(), feature: "edited"}
    monkeypatch.setattr(identity, "_feature_codes", lambda: changed)


def test_an_edited_feature_is_named_by_status_and_remade_with_equal_bits_cutting_off(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert to_do(storage) == {}
    edited(monkeypatch, "mom_12_1")
    found = to_do(storage)
    assert "code that has changed since (first: mom_12_1)" in found["features"]
    assert {"cross_section/traded", "tiny/checkpoint", "tiny/report"} <= {*found}

    said: list[str] = []
    aa.run("tiny", storage=storage, progress=lambda stage, what: said.append(stage), **MONTHS)
    # The features come out with the same content, so that nothing after them is made again.
    assert "features" in said
    assert not {"checkpoint", "predictions", "targets", "backtest"} & {*said}
    assert to_do(storage) == {}


@pytest.mark.parametrize("stage", ["checkpoint", "predictions", "backtest"])
def test_readers_refuse_what_other_code_made(
    storage: str, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    real = getattr(identity, stage)

    def other(of: Any) -> identity.Identity:
        known = real(of)
        return identity.Identity(known.digest, "edited")

    monkeypatch.setattr(identity, stage, other)
    asked: dict[str, Any] = {"storage": storage}
    read = {
        "checkpoint": lambda: aa.predict("tiny", asof="2021-08-31", **asked),
        "predictions": lambda: aa.why("13030", "2021-07-28", "tiny", **asked),
        "backtest": lambda: aa.results("tiny", **asked),
    }
    with pytest.raises(StaleOutput, match="made by code that has changed since"):
        read[stage]()


def test_targets_of_the_first_month_with_a_model_read_no_month_before(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The 1st of July 2021 is a Thursday: whether the week began before depends on June, unless
    # July has the first model.
    context = project.open_context("tiny", storage=storage)
    known = context.checkpoint("2021-07").manifest()
    assert known is not None
    read = {}
    for is_first in (True, False):
        model = known.model_copy(update={"extra": {**known.extra, checkpoint.IS_FIRST: is_first}})
        monkeypatch.setattr(Folder, "manifest", lambda _, model=model: model)
        read[is_first] = {*targets_stage(context.recipe).inputs(context, ["2021-07"], Seen())}
    assert read[True] == {"panel", "predictions"}
    assert read[False] == {*read[True], "panel/before", "members/before"}
