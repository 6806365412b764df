"""Gradient-boosted trees (LightGBM) on the decision session's features and the market-wide series.

One booster per horizon, all grown by the same number of rounds, which is chosen on the validation
sessions.  A booster's text is the library's own; the line that names the number of threads is left
out, since any number of them gives the same trees.
Shape letters: D sessions, N symbols, F features, M market-wide series, H horizons, C rows of
(session, symbol), G grades.

Source: Ke et al. (2017), LightGBM, NIPS 30; Burges (2010), LambdaMART, MSR-TR-2010-82.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from alpha_assets.arrays.ranks import average_rank, rank_ic
from alpha_assets.arrays.types import Array, Array32, Index
from alpha_assets.dataset import Fold
from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.errors import TooFewNames
from alpha_assets.models.base import Output, known
from alpha_assets.training.degeneracy import verdict
from alpha_assets.training.estimator import Aids, Epoch, Trained, Weights, best_of
from alpha_assets.training.fit import GUARDED, reproducible
from alpha_assets.training.judge import guard_best, judge, session_scores
from alpha_assets.training.settings import Plan
from alpha_assets.training.specs.trees import TreesSpec, library

if TYPE_CHECKING:
    from lightgbm import Booster

SEEDS = 2**31  # the library's seeds are below
_FILE = re.compile(r"h=(\d+)\.txt")
_THREADS = re.compile(r"^\[num_threads: .*\]\n", re.MULTILINE)


class Trees:
    """The estimator."""

    def __init__(self, spec: TreesSpec, plan: Plan) -> None:
        """Take what is grown, and how it is judged.

        Raises:
            BadInput: the library is not installed.
        """
        self._library = library()
        self._spec = spec
        self._plan = plan

    def fit(self, view: Dataset, fold: Fold, seed: int, aids: Aids) -> Trained:
        """Grow trees until validation has not improved for `patience_rounds`; keep the best."""
        spec, threads = self._spec, self._plan.training.threads
        train_D, valid_D = (
            torch.from_numpy(view.places(sessions, 1)) for sessions in (fold.train, fold.valid)
        )
        looked_at_D = valid_D if len(valid_D) else train_D[-GUARDED:]
        every = spec.judge_every if len(valid_D) else spec.max_rounds
        begun = perf_counter()
        growing = self._started(view, train_D, valid_D, seed)
        epochs: list[Epoch] = []
        n_trees = [tuple(one.n_trees for one in growing)]
        rounds, is_growing = 0, True
        while is_growing and rounds < spec.max_rounds:
            more = min(every, spec.max_rounds - rounds)
            rounds += more
            for one in growing:
                one.grow(more, threads)
            n_trees.append(tuple(one.n_trees for one in growing))
            is_growing = n_trees[-1] != n_trees[-2]
            epoch = Epoch(
                number=len(epochs) + 1,
                loss=float(np.mean([one.loss() for one in growing])),
                parts={},
                valid_rank_ic=None,
                rank_ic=(),
                spreads={},
                warnings=(),
                windows=int(view.mask_DN[train_D].sum()),
                seconds=(perf_counter() - begun, 0.0),
                setting=f"{rounds} rounds",
            )
            epochs.append(self._judged(epoch, growing, view, valid_D) if len(valid_D) else epoch)
            if aids.on_epoch:
                aids.on_epoch(seed, epochs[-1])
            if (epoch.number - best_of(epochs)) * every >= spec.patience_rounds:
                break
            begun = perf_counter()
        best = best_of(epochs)
        texts = {
            f"h={horizon}.txt": text_of(one.booster, n)
            for horizon, one, n in zip(view.axes.horizons, growing, n_trees[best], strict=True)
        }
        kept = epochs[best - 1]
        with reproducible(threads, torch.device("cpu")):
            score_DNH = session_scores(model_of(texts, threads), view, looked_at_D)
        warnings = guard_best(score_DNH, view, valid_D, looked_at_D, self._plan, kept.setting)
        epochs[best - 1] = replace(kept, warnings=warnings)
        return Trained(
            seed,
            {},
            tuple(epochs),
            best,
            texts=texts,
            may_be_unfinished=bool(len(valid_D)) and is_growing,
            way_on="model.max_rounds or model.learning_rate",
        )

    def _judged(
        self, epoch: Epoch, growing: Sequence["Growing"], view: Dataset, valid_D: Tensor
    ) -> Epoch:
        """Return an epoch with what validation says of the trees so far.

        Raises:
            DegenerateModel: the trees of a horizon give all names of each session one score.
        """
        begun = perf_counter()
        mask_DN = view.mask_DN[valid_D].cpu().numpy()
        score_DNH = np.full((*mask_DN.shape, len(growing)), np.nan)
        for h, one in enumerate(growing):
            score_DNH[mask_DN, h] = one.score_C
            highest_D = np.max(score_DNH[..., h], axis=1, where=mask_DN, initial=-np.inf)
            lowest_D = np.min(score_DNH[..., h], axis=1, where=mask_DN, initial=np.inf)
            if not (highest_D > lowest_D).any():
                raise verdict(
                    f"{epoch.setting}, horizon {view.axes.horizons[h]}",
                    "spread",
                    0.0,
                    "more",
                    "the trees split no session's names: lower model.min_data_in_leaf, or bring "
                    "more sessions",
                )
        judged = judge(score_DNH, view, valid_D, self._plan, epoch.setting, None)
        seconds = (epoch.seconds[0], perf_counter() - begun)
        return replace(judged.added_to(epoch), seconds=seconds)

    def _started(
        self, view: Dataset, train_D: Tensor, valid_D: Tensor, seed: int
    ) -> list["Growing"]:
        """Return a booster without trees for each horizon."""
        spec, axes = self._spec, view.axes
        params = parameters(spec, seed, self._plan.training.threads)
        n_columns = len(axes.features) + len(axes.market_features)
        valid_CF = np.concatenate(
            [
                np.empty((0, n_columns), dtype=np.float32),
                *[_inputs(view, place, view.mask_DN[place].cpu()) for place in valid_D.tolist()],
            ]
        )
        growing = []
        for h in range(len(axes.horizons)):
            rows = rows_of(view, train_D, h, spec.min_names)
            data = self._library.Dataset(
                rows.x_CF,
                label=rows.grades(spec.grades) if spec.objective == "rank" else rows.target_C,
                group=rows.sizes if spec.objective == "rank" else None,
                feature_name=[*axes.features, *axes.market_features],
                params=params,
            )
            booster = self._library.Booster(params=params, train_set=data)
            growing.append(Growing(booster, spec, rows, valid_CF))
        return growing


class TreesModel:
    """A ready model: one booster per horizon."""

    def __init__(self, boosters: Sequence["Booster"], threads: int) -> None:
        """Take the boosters, horizons ascending, and the threads that score."""
        self.boosters = tuple(boosters)
        self._threads = threads

    def infer(self, batch: Batch) -> Output:
        """Return the sum of the trees' values, in Float64 and then rounded; masked: 0."""
        device = batch.x_BNTF.device
        mask_BN = batch.mask_BN.cpu().numpy()
        score_BNH = np.zeros((*mask_BN.shape, len(self.boosters)), dtype=np.float32)
        x_CF = inputs(batch)[mask_BN]
        if len(x_CF):
            for h, booster in enumerate(self.boosters):
                score_BNH[mask_BN, h] = booster.predict(x_CF, num_threads=self._threads)
        return Output(torch.from_numpy(score_BNH).to(device))


def load_trees(
    spec: TreesSpec, weights: Weights, texts: Mapping[str, bytes], sizes: Sizes, threads: int
) -> TreesModel:
    """Return the model that stored texts are of; see `loaders.load_model`."""
    if weights or len(texts) != sizes.n_horizons:
        raise RuntimeError(
            f"want {sizes.n_horizons} texts h=<horizon>.txt, found {sorted((*weights, *texts))}"
        )
    try:
        model = model_of(texts, threads)
    except (library().basic.LightGBMError, UnicodeDecodeError) as error:
        raise RuntimeError(str(error)) from error
    for booster in model.boosters:
        if booster.num_feature() != sizes.n_features + sizes.n_market:
            raise RuntimeError(
                f"want trees on {sizes.n_features} features and {sizes.n_market} market-wide "
                f"series, found {booster.num_feature()} columns"
            )
    return model


def model_of(texts: Mapping[str, bytes], threads: int) -> TreesModel:
    """Return the model of texts by file name."""
    by_horizon = {}
    for name, content in texts.items():
        found = _FILE.fullmatch(name)
        if found is None:
            raise RuntimeError(f"want texts h=<horizon>.txt, found {name!r}")
        by_horizon[int(found[1])] = content.decode()
    made_by = library().Booster
    return TreesModel([made_by(model_str=by_horizon[h]) for h in sorted(by_horizon)], threads)


def parameters(spec: TreesSpec, seed: int, threads: int) -> dict[str, object]:
    """Return what a booster is made with, in the library's names; nothing depends on time."""
    of_rank = {
        "label_gain": list(range(spec.grades)),
        "lambdarank_truncation_level": spec.truncation,
    }
    return {
        "objective": "lambdarank" if spec.objective == "rank" else "regression",
        **(of_rank if spec.objective == "rank" else {}),
        "num_leaves": spec.num_leaves,
        "min_data_in_leaf": spec.min_data_in_leaf,
        "learning_rate": spec.learning_rate,
        "feature_fraction": spec.feature_fraction,
        "bagging_fraction": spec.bagging_fraction,
        "bagging_freq": 1,
        "lambda_l2": spec.lambda_l2,
        "seed": seed % SEEDS,
        "num_threads": threads,
        "deterministic": True,
        "force_row_wise": True,
        "metric": "None",
        "verbosity": -1,
    }


def text_of(booster: "Booster", n_trees: int) -> bytes:
    """Return the library's text of a booster's first trees, without its number of threads."""
    text: str = booster.model_to_string(num_iteration=n_trees)
    return _THREADS.sub("", text).encode()


def inputs(batch: Batch) -> Array32:
    """Return the columns that trees read [B, N, F + M]: features of the decision session, series.

    Zero where no row is known.
    """
    x_BNF = known(batch.x_BNTF[:, :, -1], batch.valid_BNT[:, :, -1])
    market_BNM = batch.market_BTM[:, -1:].expand(-1, x_BNF.shape[1], -1).float()
    return np.asarray(torch.cat([x_BNF, market_BNM], dim=-1).cpu().numpy())


def _inputs(view: Dataset, place: int, in_N: Tensor) -> Array32:
    """Return the same of some names of one session [C, F + M]."""
    x_CF = view.x_DNF[place].cpu()[in_N].float()
    market_CM = view.market_DM[place].cpu().float().expand(len(x_CF), -1)
    return np.asarray(torch.cat([x_CF, market_CM], dim=-1).numpy())


@dataclass(frozen=True, eq=False)
class Rows:
    """What a booster of one horizon is grown on: sessions one after the other.

    Attributes:
        x_CF: features and market-wide series.
        target_C: what is fitted.
        sizes: names of each session.
    """

    x_CF: Array32
    target_C: Array
    sizes: Index

    def grades(self, n_grades: int) -> Index:
        """Return the relevance of each row: floor(G (r - 1/2) / n) of its rank in its session."""
        sessions = np.split(self.target_C, np.cumsum(self.sizes)[:-1])
        return np.concatenate([_grades(target_C, n_grades) for target_C in sessions])


def _grades(target_C: Array, n_grades: int) -> Index:
    return np.floor(n_grades * (average_rank(target_C) - 0.5) / len(target_C)).astype(np.int64)


def rows_of(view: Dataset, train_D: Tensor, h: int, min_names: int) -> Rows:
    """Return the rows of one horizon, in the order of sessions and symbols.

    Raises:
        TooFewNames: no training session has enough names with a label.
    """
    x, target, sizes = [], [], []
    for place in train_D.tolist():
        y_N = view.target_DNH[place, :, h].cpu()
        in_N = view.mask_DN[place].cpu() & torch.isfinite(y_N)
        n = int(in_N.sum())
        if n < min_names:
            continue
        x.append(_inputs(view, place, in_N))
        target.append(y_N[in_N].double().numpy())
        sizes.append(n)
    if not sizes:
        raise TooFewNames(
            f"labels of horizon {view.axes.horizons[h]}: no training session has {min_names} names "
            "with one; want a larger universe, or a lower model.min_names"
        )
    return Rows(np.concatenate(x), np.concatenate(target), np.array(sizes, dtype=np.int64))


@dataclass(eq=False)
class Growing:
    """A booster of one horizon while trees are added to it.

    Attributes:
        booster: with the trees so far.
        spec: its settings.
        rows: that it is grown on.
        valid_CF: inputs of the validation sessions' names, sessions one after the other.
        score_C: of those, by the trees so far.
        n_trees: trees so far; fewer than rounds where no split was left.
    """

    booster: "Booster"
    spec: TreesSpec
    rows: Rows
    valid_CF: Array32
    score_C: Array = field(init=False)
    n_trees: int = 0

    def __post_init__(self) -> None:
        self.score_C = np.zeros(len(self.valid_CF))

    def grow(self, rounds: int, threads: int) -> None:
        """Add so many trees, and their values to the scores."""
        for _ in range(rounds):
            self.booster.update()
        before, self.n_trees = self.n_trees, self.booster.num_trees()
        if len(self.valid_CF) and self.n_trees > before:
            self.score_C += self.booster.predict(
                self.valid_CF,
                start_iteration=before,
                num_iteration=self.n_trees - before,
                num_threads=threads,
            )

    def loss(self) -> float:
        """Return the loss on the rows that it is grown on.

        Of `regression`: the mean squared error; of `rank`: one minus the mean rank correlation of
        scores and targets within sessions.
        """
        found: list[Array] = []

        def noted(score_C: Array, _: object) -> tuple[str, float, bool]:
            found.append(np.array(score_C, dtype=np.float64))
            return "noted", 0.0, False

        self.booster.eval_train(feval=noted)
        (score_C,) = found
        if self.spec.objective == "regression":
            return float(np.square(score_C - self.rows.target_C).mean())
        ends = np.cumsum(self.rows.sizes)[:-1]
        pairs = zip(np.split(score_C, ends), np.split(self.rows.target_C, ends), strict=True)
        ic = [rank_ic(score[None], target[None], min_pairs=2)[0] for score, target in pairs]
        return 1.0 - float(np.nan_to_num(ic).mean())
