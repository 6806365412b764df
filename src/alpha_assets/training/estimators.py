"""Which estimator fits a kind of model."""

from collections.abc import Callable
from typing import Any

from alpha_assets.training.estimator import Estimator
from alpha_assets.training.learner import Learner
from alpha_assets.training.network import Network
from alpha_assets.training.ridge import Ridge
from alpha_assets.training.settings import Plan
from alpha_assets.training.trees import Trees
from alpha_assets.training.weighted_sum import WeightedSum

# By the `estimator` of a model's declaration.
ESTIMATORS: dict[str, Callable[[Any, Plan], Estimator]] = {
    "network": Network,
    "ridge": Ridge,
    "trees": Trees,
    "weighted_sum": WeightedSum,
}


def estimator_of(learner: Learner) -> Estimator:
    """Return what fits the models of a learner.

    Raises:
        BadInput: a library that it needs is not installed; the message names the extra.
    """
    return ESTIMATORS[learner.model.estimator](learner.model, learner)
