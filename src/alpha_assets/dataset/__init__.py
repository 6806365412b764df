"""The only bridge from frames to tensors: which sessions, and one resident tensor of them."""

from alpha_assets.dataset.axes import Axes, sector_list, symbol_axis, training_axes
from alpha_assets.dataset.batch import Batch, Sizes
from alpha_assets.dataset.columns import Columns, informative, learnable_columns
from alpha_assets.dataset.folds import FixedSpec, Fold, FoldsSpec, folds_of
from alpha_assets.dataset.inputs import GraphSpec, InputsSpec, PcaSpec, VectorsSpec
from alpha_assets.dataset.neighbours import Neighbours, graph_sessions
from alpha_assets.dataset.resident import Part, Resident, SharedMarket
from alpha_assets.dataset.split import Split, SplitSpec, split_month, walk_forward
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.dataset.vectors import Vectors

__all__ = [
    "Axes",
    "Batch",
    "Columns",
    "Dataset",
    "FixedSpec",
    "Fold",
    "FoldsSpec",
    "GraphSpec",
    "InputsSpec",
    "Neighbours",
    "Part",
    "PcaSpec",
    "Resident",
    "SharedMarket",
    "Sizes",
    "Split",
    "SplitSpec",
    "Vectors",
    "VectorsSpec",
    "folds_of",
    "graph_sessions",
    "informative",
    "learnable_columns",
    "sector_list",
    "split_month",
    "symbol_axis",
    "training_axes",
    "walk_forward",
]
