"""Which function reads what is stored of a kind of model.

Apart from the estimators, so that what scores reaches the code that reads and not that which fits.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from alpha_assets.dataset.sizes import Sizes
from alpha_assets.training.estimator import Scorer, Weights
from alpha_assets.training.learner import Learner
from alpha_assets.training.network import load_network
from alpha_assets.training.ridge import load_ridge
from alpha_assets.training.trees import load_trees

Load: TypeAlias = Callable[[Any, Weights, Mapping[str, bytes], Sizes, int], Scorer]

# By the `estimator` of a model's declaration.
LOADERS: dict[str, Load] = {
    "network": load_network,
    "ridge": load_ridge,
    "trees": load_trees,
    "weighted_sum": load_ridge,
}


def load_model(
    learner: Learner, weights: Weights, texts: Mapping[str, bytes], sizes: Sizes
) -> Scorer:
    """Return the model that stored weights or texts are of.

    Args:
        learner: that it was made by.
        weights: tensors by name; none of models that are kept as texts.
        texts: of models that are no tensors, by file name.
        sizes: of the data that it was fitted on.

    Raises:
        RuntimeError: they are not those of such a model.
        BadInput: a library that it needs is not installed; the message names the extra.
    """
    load, threads = LOADERS[learner.model.estimator], learner.training.threads
    return load(learner.model, weights, texts, sizes, threads)
