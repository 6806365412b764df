"""The only bridge from frames to tensors: which sessions, and one resident tensor of them.

What holds tensors is imported from its own file: recipes are read without torch.
"""

from alpha_assets.dataset.axes import Axes, sector_list, symbol_axis, training_axes
from alpha_assets.dataset.columns import Columns, informative, learnable_columns
from alpha_assets.dataset.folds import FixedSpec, Fold, FoldsSpec, folds_of
from alpha_assets.dataset.inputs import GraphSpec, InputsSpec, PcaSpec, VectorsSpec
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.dataset.split import Split, SplitSpec, split_month, walk_forward

__all__ = [
    "Axes",
    "Columns",
    "FixedSpec",
    "Fold",
    "FoldsSpec",
    "GraphSpec",
    "InputsSpec",
    "PcaSpec",
    "Sizes",
    "Split",
    "SplitSpec",
    "VectorsSpec",
    "folds_of",
    "informative",
    "learnable_columns",
    "sector_list",
    "split_month",
    "symbol_axis",
    "training_axes",
    "walk_forward",
]
