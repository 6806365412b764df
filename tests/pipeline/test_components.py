"""What scores hold of each component of a rig, with it planted and without."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import alpha_assets as aa
from alpha_assets.errors import BadInput

SMALL = (
    "market.sim.n_symbols=30",
    "market.sim.last=2020-06-30",
    "market.sim.signal=5.0",
    "market.sim.rig.regime=false",
    "split.lookback_sessions=70",
    "split.valid_sessions=12",
    "guard.rank_ic_max=0.9",
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[aa.Project]:
    """Ridge on a small rig without its regime, one month decided."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ALPHA_PIPELINES", raising=False)
        storage = tmp_path_factory.mktemp("rig")
        opened = aa.open("rig_ridge", storage=str(storage), overrides=SMALL)
        opened.run("2020-06", "2020-06")
        yield opened


@pytest.fixture(scope="module")
def found(project: aa.Project) -> dict[str, Any]:
    return project.components("linear")


def row(found: dict[str, Any], component: str) -> dict[str, Any]:
    (one,) = [r for r in found["components"] if r["component"] == component]
    return dict(one)


def test_correlations_are_those_of_the_stored_scores_with_the_stored_truth(
    project: aa.Project, found: dict[str, Any]
) -> None:
    (truth,) = (Path(project.context.store.address) / "rig" / "_oracle").rglob("truth.parquet")
    both = project.predictions().collect().join(pl.read_parquet(truth), on=["session", "symbol"])
    by_hand = both.group_by("session").agg(c=pl.corr("score", "sector_rel"))["c"].mean()

    assert row(found, "sector_rel")["correlation"] == pytest.approx(by_hand, abs=1e-6)
    stored = project.results()["metrics"]["signal"]["h1"]["components"]
    assert [one["component"] for one in stored] == [r["component"] for r in found["components"]]


def test_a_component_that_is_switched_off_leaves_the_scores(found: dict[str, Any]) -> None:
    linear = row(found, "linear")

    # A straight line through a few sessions of thirty names; with it off, chance alone is left.
    assert linear["correlation"] > 0.4
    assert abs(linear["correlation_off"]) < 0.5 * linear["correlation"]
    assert row(found, "sum_10")["correlation_off"] is None  # nothing was run without it


def test_the_table_names_what_was_not_run_and_what_is_off(found: dict[str, Any]) -> None:
    cells = {line["component"]: line["switched off"] for line in found["rows"]}
    assert cells["sum_10"] == "–"
    assert cells["regime"] == "it is off"
    assert "±" in cells["linear"]


def test_what_was_run_without_a_component_is_read_again(
    project: aa.Project, found: dict[str, Any]
) -> None:
    assert project.components()["components"] == found["components"]


def test_a_run_prints_the_share_with_its_ceiling_and_each_component(project: aa.Project) -> None:
    shown = project.results()
    planted = shown["metrics"]["signal"]["h1"]["planted"]

    x = planted["n_effective"] * planted["oracle_rank_ic"] ** 2
    assert planted["n_inputs"] == 11  # ten series and their age
    assert planted["ceiling"] == pytest.approx(math.sqrt(x / (x + 11)))
    assert np.isclose(planted["n_effective"], 70 * 30)  # labels of one session do not overlap
    ceiling = f"{100 * planted['ceiling']:.0f} %"
    assert shown["figures"]["  least squares expects h1"] == ceiling
    assert "±" in shown["figures"]["  correlation with linear h1"]
    page = Path(shown["report"]).read_text()
    unbroken = ceiling.replace(" ", "\N{NO-BREAK SPACE}")
    assert f"Least squares on 11 inputs expects {unbroken}." in page
    assert "Scores and planted components" in page


@pytest.mark.parametrize(
    ("off", "words"),
    [
        ("lag7", "--off lag7: no component of the rig; want one of linear, interaction"),
        ("regime", r"--off regime: \[sim.rig\] regime = false already"),
    ],
)
def test_a_component_that_cannot_be_switched_off_is_refused(
    project: aa.Project, off: str, words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        project.components(off)


def test_a_market_without_a_rig_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"market 'sim' has no section \[sim.rig\]"):
        aa.components("ridge", market="sim", storage=str(tmp_path))
