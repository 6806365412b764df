"""How models are made: estimators behind one door, the guard that stops them, what is kept."""

from alpha_assets.training.checkpoint import (
    Card,
    Checkpoint,
    checkpoint_files,
    checkpoint_of,
    make_card,
)
from alpha_assets.training.degeneracy import GuardSpec
from alpha_assets.training.estimator import Epoch, Trained
from alpha_assets.training.estimators import estimator_of
from alpha_assets.training.fit import fit
from alpha_assets.training.learner import Learner, ModelSpec, check_inputs, check_learner
from alpha_assets.training.month import (
    TrainedMonth,
    model_month,
    parent_month,
    train_month,
)
from alpha_assets.training.predict import batch_output, prediction_axes, score_session
from alpha_assets.training.settings import OptimiserSpec, TrainingSpec, WindowSpec

__all__ = [
    "Card",
    "Checkpoint",
    "Epoch",
    "GuardSpec",
    "Learner",
    "ModelSpec",
    "OptimiserSpec",
    "Trained",
    "TrainedMonth",
    "TrainingSpec",
    "WindowSpec",
    "batch_output",
    "check_inputs",
    "check_learner",
    "checkpoint_files",
    "checkpoint_of",
    "estimator_of",
    "fit",
    "make_card",
    "model_month",
    "parent_month",
    "prediction_axes",
    "score_session",
    "train_month",
]
