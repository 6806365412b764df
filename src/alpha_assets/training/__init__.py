"""The one loop that makes weights, the guard that stops it, and what is kept of it."""

from alpha_assets.training.checkpoint import (
    Card,
    Checkpoint,
    checkpoint_files,
    checkpoint_of,
    make_card,
)
from alpha_assets.training.degeneracy import GatesSpec
from alpha_assets.training.fit import Epoch, TrainingSpec, fit
from alpha_assets.training.month import (
    Learner,
    TrainedMonth,
    model_month,
    parent_month,
    train_month,
)
from alpha_assets.training.predict import batch_scores, prediction_axes, score_session

__all__ = [
    "Card",
    "Checkpoint",
    "Epoch",
    "GatesSpec",
    "Learner",
    "TrainedMonth",
    "TrainingSpec",
    "batch_scores",
    "checkpoint_files",
    "checkpoint_of",
    "fit",
    "make_card",
    "model_month",
    "parent_month",
    "prediction_axes",
    "score_session",
    "train_month",
]
