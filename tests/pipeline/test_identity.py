"""Edited code and changed settings make stale what they decide, and nothing else."""

import re
import shutil
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from tests.conftest import linked
from tests.executed import executed_parts

import alpha_assets as aa
from alpha_assets import project
from alpha_assets.code import Code, installed
from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import Recipe, load_recipe
from alpha_assets.errors import StaleOutput
from alpha_assets.features import CATALOG, INTERACTIONS, custom_feeds
from alpha_assets.features.code import compute_digest, feature_digests
from alpha_assets.feeds.custom import OwnFeedSpec
from alpha_assets.models import RankerSpec
from alpha_assets.pipeline import checkpoint, identity
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.families import families_of
from alpha_assets.pipeline.seen import Seen
from alpha_assets.pipeline.stage import Stage
from alpha_assets.pipeline.stages import recipe_stages, stages_below
from alpha_assets.pipeline.targets import targets_stage
from alpha_assets.spec import parse_spec
from alpha_assets.store.folder import Folder
from alpha_assets.training import ModelSpec

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
    "oracle": identity.ORACLE,
    "study": identity.STUDY,
}
ALL_STAGES = {*STAGES}
KINDS = {
    **identity.SETTINGS_AND_FILES,
    identity.MODELS: ("linear",),
    identity.ESTIMATORS: ("network",),
    identity.LOADERS: ("network",),
    identity.LOSSES: ("mse",),
}
# A card names the loss that its model was trained with, and what scores does not read it.
KINDS_OF = {
    "predictions": {**KINDS, identity.LOSSES: ()},
    "features": {**KINDS, **dict(identity.COUNTED)},
    "report": {name: keys for name, keys in KINDS.items() if name not in identity.PRINTED},
}
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
        {"checkpoint", "study", "backtest"},
    ),
    "loss term": (
        "models/losses/distance.py",
        "error_SN.square().sum(-1) / sections",
        "error_SN.abs().sum(-1) / sections",
        {"checkpoint", "study"},
    ),
    "model": (
        "models/linear.py",
        "[:, :, -1], batch.valid",
        "[:, :, 0], batch.valid",
        {"checkpoint", "study", "predictions"},
    ),
    "another estimator": ("training/trees.py", "import numpy as np", "import math as np", set()),
    "the line that a network may start at": (
        "training/ridge.py",
        "import numpy as np",
        "import math as np",
        {"checkpoint", "study"},  # of any network: what chooses the start is a setting
    ),
    "another model": ("models/transformer.py", "import torch", "import math as torch", set()),
    "another declaration": (
        "models/specs/transformer.py",
        "multiple of heads = ",
        "multiple of heads: ",
        set(),
    ),
    "optimiser": (
        "training/fit.py",
        "set_to_none=True",
        "set_to_none=False",
        {"checkpoint", "study"},  # scores hang by what it fitted
    ),
    "early stopping": (
        "training/network.py",
        ">= training.patience):",
        "> training.patience):",
        {"checkpoint", "study"},
    ),
    "resumed fit": (
        "training/resume.py",
        "def host_copy(",
        "def host_copy(*, z=0, ",
        {"checkpoint", "study"},
    ),
    "read weights": (  # a warm start reads them, too
        "training/network.py",
        "return model.eval()",
        "return model.train()",
        {"checkpoint", "study", "predictions"},
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
        {"checkpoint", "study"},
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
        "pipeline/simulation.py",
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
    "rows that are read back": (
        "store/raw_rows.py",
        'pl.col("available_at") <= until',
        'pl.col("available_at") < until',
        ALL_STAGES,
    ),
    "months that are read back": (
        "store/table.py",
        "(last is None or month <= last)",
        "(last is None or month < last)",
        ALL_STAGES,
    ),
    "columns of a family": (
        "pipeline/market_stages.py",
        "*section_columns(within(choice, [f]))",
        "*section_columns(within(choice, [f]))[::-1]",
        {"cross_section"},
    ),
    "rows of a family": (
        "pipeline/market_stages.py",
        "{f: made.select(*KEYS, *[item.name for item in ours[f]]) for f in families}",
        "{f: made.select(*KEYS, *[item.name for item in ours[f]][::-1]) for f in families}",
        {"features"},
    ),
    "what a product multiplies": (
        "features/interactions.py",
        "inputs=(a.name, b.name)",
        "inputs=(a.name, a.name)",
        {"cross_section"},
    ),
    "sessions that are purged": (
        "labels.py",
        "return max(label.horizons)",
        "return min(label.horizons)",
        {"checkpoint", "study"},
    ),
    "inputs by name": (
        "dataset/inputs.py",
        "sorted((self.__pydantic_extra__ or {}).items())",
        "(self.__pydantic_extra__ or {}).items()",
        {"checkpoint", "predictions", "study"},
    ),
    "columns that a model reads": (
        "pipeline/columns.py",
        "return Resident(section_columns(features), market_columns(features)",
        "return Resident(section_columns(features)[::-1], market_columns(features)",
        {"checkpoint", "study"},
    ),
    "who is scored and held": (
        "pipeline/predictions.py",
        'return found.join(held, on=keys, how="semi")',
        'return found.join(held, on=keys, how="anti")',
        {"predictions", "study", "targets"},
    ),
    "what was planted": (
        "sources/sim/oracle.py",
        "import numpy as np",
        "import math as np",
        {"oracle", "backtest"},
    ),
    "the command on a page": (
        "pipeline/command.py",
        'words += ["--market", market.name]',
        'words += ["-m", market.name]',
        {"report"},
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


NETWORKS = [one for one in get_args(get_args(ModelSpec)[0]) if issubclass(one, RankerSpec)]


@pytest.mark.parametrize("spec", NETWORKS, ids=lambda spec: spec.__name__)
@pytest.mark.parametrize("stage", ["checkpoint", "predictions"])
def test_a_declaration_reaches_its_own_network_and_no_other(
    stage: str, spec: type[RankerSpec]
) -> None:
    """The network is imported by `build`, and only there."""
    (kind,) = get_args(spec.model_fields["kind"].annotation)
    select = {**KINDS_OF.get(stage, KINDS), identity.MODELS: (kind,)}
    found = installed().reached(*(f"alpha_assets.{root}" for root in STAGES[stage]), select=select)
    place = re.compile(r"alpha_assets\.models\.\w+:\w+Ranker")
    networks = {name.partition(":")[2] for name in found if place.fullmatch(name)}
    assert networks == {spec.__name__.replace("Spec", "Ranker")}


def codes(code: Code) -> dict[str, str]:
    """Return the digest of every stage's code, that of features with all of them."""
    found = {
        stage: code.digest(
            *(f"alpha_assets.{root}" for root in (*roots, *identity.READ_BACK)),
            select=KINDS_OF.get(stage, KINDS),
        )
        for stage, roots in STAGES.items()
    }
    parts = (found["features"], compute_digest(code), *sorted(feature_digests(code).items()))
    return {**found, "features": repr(parts)}


# What runs while a stage is made and decides none of its content: how files are kept and named,
# what is fresh, and words.
MECHANISM = re.compile(
    r"alpha_assets\.(store\.|code[.:]|spec:|progress:|pipeline\.(command|freshness|identity|stage|seen):)"
)
DECLARED = re.compile(r"(\w+_stage|_features|_section|_family_of_\w+)\.<locals>\.<lambda>")
# Of what is cut off, what else runs: where outputs lie, settings whose values are in the digests,
# what refuses, and which device trains, which the card names.
SETTINGS = {
    "config.market:Market": (
        "data_digest data_folder is_simulated notes price_level sim universe _lacks_members"
    ),
    "config.recipe:Recipe": "costs digest folder learner resolved",
    "config.recipe:traded_settings": "",
    "feeds.base:Source": "data_folder",
    "models.losses.specs.base:TermSpec": "_some_horizon_counts",
    "models.specs.base:RankerSpec": "<lambda>",
    "panel.joins:Join": "panel_columns",
    "panel.universe:check_universe": "",
    "pipeline.context:MarketContext": "cross_section features on_device panel raw",
    "pipeline.context:RecipeContext": (
        "backtest checkpoint checkpoints coverage features held_members members predictions "
        "resident section targets report"
    ),
    "pipeline.context:silent": "",
    "pipeline.families:families_of": "",  # of the families that are read: inputs by name
    "pipeline.families:section_families": "",
    "pipeline.oracle:oracle_stage": "",
    "sources.sim.source:SimSource": "identity",
    "sources.sim.spec:SimSpec": "<lambda>",
    "training.device:device_named": "",
}


@pytest.mark.slow
def test_all_that_runs_in_a_stage_and_decides_content_is_in_its_code(storage: str) -> None:
    missed, looked_at = {}, set()
    for number in range(len(every_stage(project.open_context("tiny", storage=storage)))):
        context = project.open_context("tiny", storage=storage)  # nothing is kept of the others
        stage = every_stage(context)[number]
        months = ["2021-08"] if stage.monthly else ["2021-07", "2021-08"]
        inputs = {m: stage.inputs(context, unit, Seen()) for m, unit in stage.units(months)}
        ran = executed_parts(partial(list, stage.make(context, months, inputs)))
        kind = "members" if stage.family == "members" else stage.name.partition("/")[0]
        reached = reached_by(kind)
        missed[stage.name] = [
            part
            for definition, part in sorted(ran)
            if (definition not in reached or definition in identity.SETTINGS_AND_FILES)
            and not MECHANISM.match(definition)
            and not DECLARED.fullmatch(part)
            and not is_of_settings(definition, part)
        ]
        looked_at.add(kind)
        assert len(ran) > 30, stage.name
    assert looked_at == {*STAGES} - {"graph", "study", "oracle"}
    found = {name: parts for name, parts in missed.items() if parts}
    assert not found, found


def every_stage(context: RecipeContext) -> list[Stage[Any]]:
    """Return the stages of a recipe and of its market, those of families one by one.

    Their identities are computed, and what is kept with a recipe is there.
    """
    stages = [*stages_below(context.recipe), *recipe_stages(context.recipe)]
    each: list[Stage[Any]] = [one for stage in stages for one in stage.each]
    return [one for one in each if one.identity.code]


@cache
def reached_by(kind: str) -> frozenset[str]:
    """Return what the code of a stage of `tiny` reaches."""
    select = {
        **KINDS_OF.get(kind, KINDS),
        identity.MODELS: ("transformer",),
        identity.RULES: ("long_short_quantile",),
    }
    if kind != "predictions":
        select[identity.LOSSES] = ("ic",)
    roots = [f"alpha_assets.{root}" for root in (*STAGES[kind], *identity.READ_BACK)]
    if kind == "features":  # each counts by itself
        roots.append("alpha_assets.features:CATALOG")
    counting = [f"alpha_assets.{root}" for root in identity.COUNTING]  # recorded with the counts
    own = installed().reached(*counting) if kind == "features" else frozenset()
    return installed().reached(*roots, select=select) | own


def is_of_settings(definition: str, part: str) -> bool:
    """Return whether what runs is one of `SETTINGS`."""
    place = definition.removeprefix("alpha_assets.")
    _, name = place.split(":")
    members = SETTINGS.get(place)
    if members is None:
        return False
    outer = part.partition(".<")[0]  # what is defined in a property is part of it
    return outer == name or part.removeprefix(f"{name}.").partition(".<")[0] in members.split()


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
    "rows that are read back",
    "what was planted",
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


def test_a_feature_without_code_is_none_and_those_of_own_feeds_have_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tables = {"scope": "symbol", "columns": {"sentiment": "number"}}
    feed = parse_spec(tables, OwnFeedSpec, origin="tiny.toml").feed("mood")
    market = load_market("tiny")
    market.__dict__["feeds"] = {**market.feeds, "mood": feed}
    assert {*identity._own_codes(market)} == {"mood_sentiment", "mood_age"}
    assert {*(identity.features(market, "mood").parts or {})} == {"mood_sentiment", "mood_age"}
    before = identity.features(market, "mood").code

    monkeypatch.setattr(custom_feeds, "_copy", np.negative)
    again = load_market("tiny")
    again.__dict__["feeds"] = market.feeds
    assert identity.features(again, "mood").code != before


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
