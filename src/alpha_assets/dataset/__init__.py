"""The only bridge from frames to tensors: which sessions, and one resident tensor of them."""

from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.split import Split, SplitSpec, split_month
from alpha_assets.dataset.tensor import Axes, Dataset, symbol_axis

__all__ = ["Axes", "Batch", "Dataset", "Split", "SplitSpec", "split_month", "symbol_axis"]
