"""The certificate covers models that are no networks: silent on clean stages, loud on a leak."""

from dataclasses import replace

import pytest
from tests.audit.conftest import PIPELINES, Certify, certifying
from tests.audit.leaks import unbounded
from tests.audit.test_planted_leaks import FIRST, assert_caught, unpurged

from alpha_assets.calendar import month_of
from alpha_assets.config.recipe import load_recipe
from alpha_assets.pipeline import checkpoint, train
from alpha_assets.pipeline.context import RecipeContext


@pytest.fixture(params=["tiny_ridge", "tiny_trees"])
def certify_it(
    request: pytest.FixtureRequest, leaky_road: RecipeContext, monkeypatch: pytest.MonkeyPatch
) -> Certify:
    """Audit a recipe on the market of few columns."""
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))
    recipe = load_recipe(request.param, leaky_road.market)
    return certifying(replace(leaky_road, recipe=recipe))


@pytest.mark.slow
def test_a_clean_model_is_silent(certify_it: Certify) -> None:
    certificate = certify_it([FIRST])

    assert certificate.passed, certificate.text()
    stages = {one.stage for trial in certificate.trials for one in trial.comparisons if one.cells}
    assert {"checkpoint", "card", "predictions", "targets"} <= stages


@pytest.mark.slow
def test_labels_that_end_after_the_month_has_begun(
    certify_it: Certify, monkeypatch: pytest.MonkeyPatch
) -> None:
    split_of, labels = checkpoint.split_of, train.labels_between
    monkeypatch.setattr(
        checkpoint,
        "split_of",
        lambda context, month, usable: (
            unpurged(split_of(context, month, usable), context, train_last=True)
            if month == month_of(FIRST)
            else split_of(context, month, usable)
        ),
    )
    monkeypatch.setattr(train, "labels_between", unbounded(labels))
    assert_caught(certify_it([FIRST]), "checkpoint")
