"""One ranker per file, and the losses they learn from.  Nothing here has heard of frames."""

from alpha_assets.dataset.batch import Sizes
from alpha_assets.models.alstm import ALSTMRanker, ALSTMSpec
from alpha_assets.models.atft_gat_fan import AtftGatFanRanker, AtftGatFanSpec
from alpha_assets.models.base import Output, Ranker, RankerSpec
from alpha_assets.models.deep_momentum import DeepMomentumRanker, DeepMomentumSpec
from alpha_assets.models.linear import LinearRanker, LinearSpec
from alpha_assets.models.losses import Extras, Loss, LossSpec, LossValue, build_loss
from alpha_assets.models.lstm import LSTMRanker, LSTMSpec
from alpha_assets.models.master import MasterRanker, MasterSpec
from alpha_assets.models.multi_branch import BranchSpec, MultiBranchRanker, MultiBranchSpec
from alpha_assets.models.neighbour_mean import NeighbourMeanRanker, NeighbourMeanSpec
from alpha_assets.models.patch_transformer import PatchTransformerRanker, PatchTransformerSpec
from alpha_assets.models.tft import TFTRanker, TFTSpec
from alpha_assets.models.transformer import TransformerRanker, TransformerSpec

__all__ = [
    "ALSTMRanker",
    "ALSTMSpec",
    "AtftGatFanRanker",
    "AtftGatFanSpec",
    "BranchSpec",
    "DeepMomentumRanker",
    "DeepMomentumSpec",
    "Extras",
    "LSTMRanker",
    "LSTMSpec",
    "LinearRanker",
    "LinearSpec",
    "Loss",
    "LossSpec",
    "LossValue",
    "MasterRanker",
    "MasterSpec",
    "MultiBranchRanker",
    "MultiBranchSpec",
    "NeighbourMeanRanker",
    "NeighbourMeanSpec",
    "Output",
    "PatchTransformerRanker",
    "PatchTransformerSpec",
    "Ranker",
    "RankerSpec",
    "Sizes",
    "TFTRanker",
    "TFTSpec",
    "TransformerRanker",
    "TransformerSpec",
    "build_loss",
]
