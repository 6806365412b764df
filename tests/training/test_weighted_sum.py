"""A declared sum of features: its scores by hand, and what it may not be."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from alpha_assets.dataset import Split
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.errors import SpecError
from alpha_assets.spec import parse_spec
from alpha_assets.training import GuardSpec, Learner, WindowSpec
from alpha_assets.training.estimator import Aids, Trained
from alpha_assets.training.estimators import estimator_of
from alpha_assets.training.judge import session_scores
from alpha_assets.training.loaders import load_model
from alpha_assets.training.ridge import BETA
from alpha_assets.training.specs.weighted_sum import WeightedSumSpec


def learner_of(**weights: float) -> Learner:
    return Learner.model_validate(
        {
            "model": WeightedSumSpec(weights=weights),
            "window": WindowSpec(sequence=1),
            "guard": GuardSpec(rank_ic_max=1.0),
        }
    )


def fitted(learner: Learner, data: Dataset, split: Split) -> Trained:
    return estimator_of(learner).fit(data, split.folds[0], 0, Aids())


def test_scores_are_the_declared_sum_of_the_decision_session(data: Dataset, split: Split) -> None:
    learner = learner_of(f0=2.0, f3=-0.5)
    trained = fitted(learner, data, split)
    assert trained.weights[BETA].tolist() == [[2.0, 0.0, 0.0, -0.5, 0.0]]
    model = load_model(learner, trained.weights, {}, data.sizes(1))
    place = torch.tensor([10, 40])
    score_DNH = session_scores(model, data, place)
    x_DNF = data.x_DNF[place].double().numpy()
    assert score_DNH[..., 0] == pytest.approx(2 * x_DNF[..., 0] - 0.5 * x_DNF[..., 3], rel=1e-6)


def test_its_validation_rank_ic_is_that_of_the_feature(data: Dataset, split: Split) -> None:
    trained = fitted(learner_of(f0=1.0), data, split)
    places = data.places(split.valid, 1)
    by_session = [
        spearmanr(data.x_DNF[d, :, 0].numpy(), data.return_DNH[d, :, 0]).statistic for d in places
    ]
    assert trained.valid_rank_ic == pytest.approx(float(np.mean(by_session)), abs=1e-6)


def test_a_weight_of_a_feature_that_is_not_read_is_refused(data: Dataset, split: Split) -> None:
    with pytest.raises(SpecError, match=r"'f_0' is no feature .* did you mean f0\? name it under"):
        fitted(learner_of(f_0=1.0), data, split)


def test_weights_of_nothing_are_refused() -> None:
    for weights, words in (({}, "at least 1"), ({"f0": 0.0}, "every score is the same")):
        with pytest.raises(SpecError, match=words):
            parse_spec({"weights": weights}, WeightedSumSpec, origin="a.toml")
