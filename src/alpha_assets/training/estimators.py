"""Which estimator fits and reads a kind of model."""

from collections.abc import Callable
from typing import Any

from alpha_assets.training.estimator import Estimator
from alpha_assets.training.learner import Learner
from alpha_assets.training.network import Network
from alpha_assets.training.ridge import Ridge
from alpha_assets.training.settings import Plan

# By the `estimator` of a model's declaration.
ESTIMATORS: dict[str, Callable[[Any, Plan], Estimator]] = {"network": Network, "ridge": Ridge}


def estimator_of(learner: Learner) -> Estimator:
    """Return what fits and reads the models of a learner."""
    return ESTIMATORS[learner.model.estimator](learner.model, learner)
