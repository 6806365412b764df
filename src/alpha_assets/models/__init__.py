"""Rankers, one per file, and the losses they learn from.  Nothing here has heard of frames.

Declarations (`specs/`) alone are imported here, and load no torch: a recipe is checked against all
of them, and builds the network of one.
"""

from alpha_assets.models.losses import LossSpec
from alpha_assets.models.specs.alstm import ALSTMSpec
from alpha_assets.models.specs.atft_gat_fan import AtftGatFanSpec
from alpha_assets.models.specs.base import RankerSpec
from alpha_assets.models.specs.deep_momentum import DeepMomentumSpec
from alpha_assets.models.specs.linear import LinearSpec
from alpha_assets.models.specs.lstm import LSTMSpec
from alpha_assets.models.specs.master import MasterSpec
from alpha_assets.models.specs.multi_branch import BranchSpec, MultiBranchSpec
from alpha_assets.models.specs.neighbour_mean import NeighbourMeanSpec
from alpha_assets.models.specs.patch_transformer import PatchTransformerSpec
from alpha_assets.models.specs.tft import TFTSpec
from alpha_assets.models.specs.transformer import TransformerSpec

__all__ = [
    "ALSTMSpec",
    "AtftGatFanSpec",
    "BranchSpec",
    "DeepMomentumSpec",
    "LSTMSpec",
    "LinearSpec",
    "LossSpec",
    "MasterSpec",
    "MultiBranchSpec",
    "NeighbourMeanSpec",
    "PatchTransformerSpec",
    "RankerSpec",
    "TFTSpec",
    "TransformerSpec",
]
