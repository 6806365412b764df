"""A declared sum of features: nothing is estimated, and every estimate has to beat it.

The score is Σ w x over the z-scored features that the recipe names, at the decision session, such
as `weights = { rev_5 = 1.0 }` for the reversal of five sessions.
"""

from dataclasses import replace
from time import perf_counter

import torch

from alpha_assets.dataset import Fold
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.training.estimator import Aids, Epoch, Trained
from alpha_assets.training.fit import GUARDED, reproducible
from alpha_assets.training.judge import guard_best, judge, session_scores
from alpha_assets.training.ridge import BETA, RidgeModel
from alpha_assets.training.settings import Plan
from alpha_assets.training.specs.weighted_sum import SCORED, WeightedSumSpec


class WeightedSum:
    """The estimator: it fits nothing, and judges the declared sum on the validation sessions."""

    def __init__(self, spec: WeightedSumSpec, plan: Plan) -> None:
        """Take what is declared, and how it is judged."""
        self._spec = spec
        self._plan = plan

    def fit(self, view: Dataset, fold: Fold, seed: int, aids: Aids) -> Trained:
        """Return the declared weights, judged on the validation sessions.

        Raises:
            SpecError: a weight of a feature that the model does not read.
        """
        train_D, valid_D = (
            torch.from_numpy(view.places(sessions, 1)) for sessions in (fold.train, fold.valid)
        )
        looked_at_D = valid_D if len(valid_D) else train_D[-GUARDED:]
        weight_F = torch.tensor(self._weights(view.axes.features), dtype=torch.float64)
        beta_HF = weight_F.expand(len(view.axes.horizons), -1).contiguous()
        with reproducible(self._plan.training.threads, torch.device("cpu")):
            begun = perf_counter()
            score_DNH = session_scores(RidgeModel(beta_HF), view, looked_at_D)
            epoch = Epoch(
                number=1,
                loss=0.0,
                parts={},
                valid_rank_ic=None,
                rank_ic=(),
                spreads={},
                warnings=(),
                windows=int(view.mask_DN[train_D].sum()),
                seconds=(0.0, perf_counter() - begun),
                setting="declared weights",
            )
            if len(valid_D):
                judged = judge(score_DNH, view, valid_D, self._plan, epoch.setting, None)
                epoch = judged.added_to(epoch)
            warnings = guard_best(score_DNH, view, valid_D, looked_at_D, self._plan, epoch.setting)
        if aids.on_epoch:
            aids.on_epoch(seed, epoch)
        found = (replace(epoch, warnings=warnings),)
        return Trained(seed, {BETA: beta_HF}, found, 1, may_be_unfinished=False)

    def _weights(self, columns: tuple[str, ...]) -> list[float]:
        """Return the weight of each column."""
        self._spec.check_reads((), columns, 0)
        named = {f"{name}{SCORED}": weight for name, weight in self._spec.weights.items()}
        return [named.get(column, 0.0) for column in columns]
