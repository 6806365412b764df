"""How models are made: estimators behind one door, the guard that stops them, what is kept.

Declarations alone are imported here: recipes are read without torch.
"""

from alpha_assets.training.learner import Learner, ModelSpec, check_inputs, check_learner
from alpha_assets.training.settings import OptimiserSpec, TrainingSpec, WindowSpec
from alpha_assets.training.specs.degeneracy import GuardSpec

__all__ = [
    "GuardSpec",
    "Learner",
    "ModelSpec",
    "OptimiserSpec",
    "TrainingSpec",
    "WindowSpec",
    "check_inputs",
    "check_learner",
]
