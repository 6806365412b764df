"""The estimator of networks: the loop of `fit`, stopped early, its best weights kept."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from alpha_assets.dataset import Fold
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.errors import BadInput
from alpha_assets.models import RankerSpec
from alpha_assets.models.base import Ranker, WithLinearPath
from alpha_assets.training.estimator import Aids, Trained, Weights, best_of
from alpha_assets.training.fit import Fitting, fit, reproducible
from alpha_assets.training.memory import smaller_session, too_many_weights, within_memory
from alpha_assets.training.preflight import check_columns, check_model, check_terms
from alpha_assets.training.resume import host_copy, load_state, save_state
from alpha_assets.training.ridge import unit_line
from alpha_assets.training.settings import Plan


class Network:
    """A ranker that learns by gradient steps."""

    def __init__(self, spec: RankerSpec, plan: Plan) -> None:
        """Take what is trained, and how."""
        self._spec = spec
        self._plan = plan

    def fit(self, view: Dataset, fold: Fold, seed: int, aids: Aids) -> Trained:
        """Ask for epochs until validation has not improved for `patience` of them."""
        check_columns(self._plan.loss, view.axes.features)
        sequence, training = self._plan.window.sequence, self._plan.training
        train_D, valid_D = (
            torch.from_numpy(view.places(sessions, sequence)).to(view.device)
            for sessions in (fold.train, fold.valid)
        )
        check_terms(self._plan.loss, view, train_D)
        sizes, device = view.sizes(sequence), view.device
        too_large = partial(too_many_weights, self._spec, sizes, device)
        with within_memory("the weights of a fresh model", device, too_large):
            model = self._fresh(sizes, seed, device, aids.start, self._line(view, fold))
        batch = view.windows((valid_D if len(valid_D) else train_D)[:1], sequence)
        with within_memory("one session", device, partial(smaller_session, model, batch)):
            check_model(model, batch)
        fitting = Fitting.start(model, view, self._plan, seed)
        resumed = load_state(aids.state, aids.identity, fitting) if aids.state else None
        best, epochs = resumed or ({}, [])
        coming = fit(fitting, view, train_D, valid_D, self._plan)
        best_so_far = partial(best_of, smoothing=training.selection_smoothing)
        while not (epochs and epochs[-1].number - best_so_far(epochs) >= training.patience):
            epoch = next(coming, None)
            if epoch is None:
                break
            epochs.append(epoch)
            if best_so_far(epochs) == epoch.number:
                best = host_copy(fitting.judged)
            if aids.state:
                save_state(aids.state, aids.identity, fitting, best, epochs)
            if aids.on_epoch:
                aids.on_epoch(seed, epoch)
        return Trained(
            seed, best, tuple(epochs), best_so_far(epochs), may_be_unfinished=bool(len(fold.valid))
        )

    def _line(self, view: Dataset, fold: Fold) -> Tensor | None:
        """Return where the linear path starts; None: there is none, or it starts at 0."""
        return unit_line(view, fold, self._plan) if self._spec.linear_start == "ridge" else None

    def _fresh(
        self,
        sizes: Sizes,
        seed: int,
        device: torch.device,
        start: Mapping[str, Tensor] | None,
        line_HF: Tensor | None,
    ) -> Ranker:
        """Return a model with the seed's weights, mixed with those that it starts from.

        Fresh weights are drawn on the host, so that they do not depend on the device; those of the
        linear path are `line_HF`, where it is given, and the network starts small beside it.

        Raises:
            BadInput: what it starts from has other weights than the model.
        """
        threads = self._plan.training.threads
        with torch.random.fork_rng(devices=[]), reproducible(threads, device):
            torch.default_generator.manual_seed(seed)
            model = self._spec.ranker(sizes)
        if line_HF is not None:
            assert isinstance(model, WithLinearPath), "the declaration asks for the path"
            model.start_at(line_HF)
        if start is not None:
            training, fresh = self._plan.training, model.state_dict()
            _refuse_others(start, fresh)
            kept = training.warm_shrink
            model.load_state_dict(
                {name: kept * start[name] + (1 - kept) * fresh[name] for name in fresh}
            )
        return model.to(device)


def load_network(
    spec: RankerSpec, weights: Weights, texts: Mapping[str, bytes], sizes: Sizes, threads: int
) -> Ranker:
    """Return the ranker that stored weights are of; see `loaders.load_model`."""
    model = spec.ranker(sizes)
    model.load_state_dict(weights)
    return model.eval()


def _refuse_others(start: Mapping[str, Tensor], fresh: Mapping[str, Tensor]) -> None:
    """Refuse to start from weights of another shape, naming the first."""
    for name in sorted({*start, *fresh}):
        shapes = [tuple(w[name].shape) if name in w else None for w in (start, fresh)]
        if shapes[0] != shapes[1]:
            raise BadInput(
                f"the weights to start from have {name} of shape {shapes[0]}, this model wants "
                f"{shapes[1]}: both recipes must read the same columns and build the same model"
            )
