"""One ranker per file, and the losses they learn from.  Nothing here has heard of frames."""

from alpha_assets.dataset.batch import Sizes
from alpha_assets.models.alstm import ALSTMRanker, ALSTMSpec
from alpha_assets.models.base import Output, Ranker, RankerSpec
from alpha_assets.models.branches import BranchesRanker, BranchesSpec
from alpha_assets.models.linear import LinearRanker, LinearSpec
from alpha_assets.models.losses import Extras, Loss, LossSpec, LossValue, build_loss
from alpha_assets.models.lstm import LSTMRanker, LSTMSpec
from alpha_assets.models.neighbour_mean import NeighbourMeanRanker, NeighbourMeanSpec
from alpha_assets.models.transformer import TransformerRanker, TransformerSpec

__all__ = [
    "ALSTMRanker",
    "ALSTMSpec",
    "BranchesRanker",
    "BranchesSpec",
    "Extras",
    "LSTMRanker",
    "LSTMSpec",
    "LinearRanker",
    "LinearSpec",
    "Loss",
    "LossSpec",
    "LossValue",
    "NeighbourMeanRanker",
    "NeighbourMeanSpec",
    "Output",
    "Ranker",
    "RankerSpec",
    "Sizes",
    "TransformerRanker",
    "TransformerSpec",
    "build_loss",
]
