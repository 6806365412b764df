"""Sections of a recipe that do not fit each other are refused; what they ask for is done."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from tests.training.conftest import HORIZON, STEPS

from alpha_assets.dataset import Fold, Split
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.errors import BadInput
from alpha_assets.models import LinearSpec, TransformerSpec
from alpha_assets.models.losses import ICSpec, MSESpec, PinballSpec, SharpeSpec, TurnoverSpec
from alpha_assets.training import GuardSpec, Learner, OptimiserSpec, TrainingSpec, WindowSpec
from alpha_assets.training.checkpoint import checkpoint_files, checkpoint_of, make_card
from alpha_assets.training.fit import learning_rate
from alpha_assets.training.month import train_month
from alpha_assets.training.predict import batch_output
from alpha_assets.training.specs.ridge import RidgeSpec

IC = ICSpec()
ONE = WindowSpec(sequence=1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Learner(model=LinearSpec()), r"learns from a loss: add a section \[\[loss\]\]"),
        (
            lambda: Learner(model=LinearSpec(), loss=(IC, TurnoverSpec())),
            r'"turnover" compares .* training.sampler = "sessions" shuffles .* "blocks"',
        ),
        (
            lambda: Learner(model=LinearSpec(), loss=(IC, PinballSpec())),
            r'"pinball" reads quantiles, and model.quantiles is empty',
        ),
        (
            lambda: Learner(model=LinearSpec(quantiles=(0.1, 0.5)), loss=(IC,)),
            r"quantiles = \[0.1, 0.5\] are learned by no term",
        ),
        (lambda: LinearSpec(quantiles=(0.1, 0.9)), r"have no median, which is the score: add 0.5"),
        (lambda: LinearSpec(quantiles=(0.5, 0.1)), r"want levels between 0 and 1 that rise"),
        (lambda: LinearSpec(quantiles=(0.0, 0.5)), r"want levels between 0 and 1 that rise"),
        (
            lambda: TrainingSpec(sampler="blocks", batch_sessions=6, block_sessions=4),
            r"batch_sessions = 6 is not a multiple of block_sessions = 4",
        ),
        (
            lambda: OptimiserSpec(learning_rate=0.5, weight_decay=2.0),
            r"learning_rate = 0.5 times weight_decay = 2 is 1, the share .* want a product below 1",
        ),
        (lambda: TrainingSpec(parent="a", warm_start=True), r"not from both; leave one out"),
        (lambda: Learner(model=RidgeSpec(), loss=(IC,), window=ONE), r"take \[\[loss\]\] out"),
        (lambda: Learner(model=RidgeSpec()), r"set window.sequence = 1, not 5"),
        (
            lambda: Learner(model=RidgeSpec(), window=ONE, training=TrainingSpec(seeds=(0, 1))),
            r"draws nothing: want one of training.seeds",
        ),
        (
            lambda: Learner(model=RidgeSpec(), window=ONE, training=TrainingSpec(selection="loss")),
            r'no loss to select by: set training.selection = "rank_ic"',
        ),
    ],
)
def test_sections_that_do_not_fit_are_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def changed(learner: Learner, **sections: object) -> Learner:
    return Learner(**{**dict(learner), **sections})


def test_quantiles_rise_and_hold_their_share(data: Dataset, split: Split, learner: Learner) -> None:
    spec = LinearSpec(quantiles=(0.1, 0.5, 0.9))
    asked = changed(
        learner,
        model=spec,
        loss=(ICSpec(weight=0.1), PinballSpec()),
        optimiser=OptimiserSpec(learning_rate=0.05, weight_decay=0.0),
        training=TrainingSpec(max_epochs=8, patience=8, seeds=(0,)),
    )
    (seed,) = train_month(with_targets(data, 50.0), split, asked).seeds
    model = spec.build(data.sizes(STEPS))
    model.load_state_dict(seed.weights)
    place_D = torch.from_numpy(data.places(split.valid, STEPS))
    made = model.infer(data.windows(place_D, STEPS))
    assert made.quantile_BNHQ is not None
    quantile = made.quantile_BNHQ.detach().numpy()
    assert (np.diff(quantile, axis=-1) > 0).all()
    assert torch.equal(made.score_BNH, made.quantile_BNHQ[..., 1])
    target = 50.0 * data.return_DNH[place_D.numpy()]
    below = [(target < quantile[..., q]).mean() for q in range(3)]
    # Of 480 names and sessions: a share has a standard error of at most 0.023.
    assert below == pytest.approx([0.1, 0.5, 0.9], abs=0.07)


def with_targets(data: Dataset, scale: float) -> Dataset:
    """Return the dataset whose targets are multiples of the returns, with a spread of about 1."""
    target_DNH = torch.from_numpy(scale * data.return_DNH).float()
    return Dataset(**{**vars(data), "target_DNH": target_DNH})


def test_a_term_on_turnover_slows_the_scores(data: Dataset, split: Split, learner: Learner) -> None:
    def autocorrelation(*loss: object) -> float:
        asked = changed(
            learner,
            loss=loss,
            training=TrainingSpec(
                sampler="blocks", batch_sessions=8, block_sessions=8, max_epochs=6, seeds=(0,)
            ),
        )
        (seed,) = train_month(data, split, asked).seeds
        model = learner.model.build(data.sizes(STEPS))  # type: ignore[union-attr]
        model.load_state_dict(seed.weights)
        place_D = torch.from_numpy(data.places(split.valid, STEPS))
        score_DN = model(data.windows(place_D, STEPS)).detach()[..., 0]
        return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairwise(score_DN)]))

    plain = autocorrelation(IC)
    slow = autocorrelation(IC, TurnoverSpec(weight=2.0))
    assert slow > plain + 0.1


def test_a_term_on_the_sharpe_ratio_learns_the_signal(
    data: Dataset, split: Split, learner: Learner
) -> None:
    asked = changed(
        learner,
        loss=(SharpeSpec(),),
        training=TrainingSpec(
            sampler="blocks", batch_sessions=16, block_sessions=16, max_epochs=8, seeds=(0,)
        ),
    )
    (seed,) = train_month(data, split, asked).seeds
    assert seed.valid_rank_ic is not None
    assert seed.valid_rank_ic > 0.4  # the oracle's is about 0.7


@pytest.mark.parametrize("selection", ["rank_ic", "icir", "loss", "net_sharpe"])
def test_what_is_kept_is_what_selection_asks_for(
    selection: str, data: Dataset, split: Split, learner: Learner
) -> None:
    asked = changed(
        learner,
        training=TrainingSpec(max_epochs=4, patience=4, seeds=(0,), selection=selection),  # type: ignore[arg-type]
        cost_bps=5.0,
    )
    (seed,) = train_month(data, split, asked).seeds
    values = [epoch.selected for epoch in seed.epochs]
    assert np.isfinite(values).all()
    assert seed.best == int(np.argmax(values)) + 1
    if selection == "rank_ic":
        assert values == [epoch.valid_rank_ic for epoch in seed.epochs]


def test_without_validation_the_epochs_are_fixed(
    data: Dataset, split: Split, learner: Learner
) -> None:
    whole = Split(**{**vars(split), "valid": split.valid[:0]})
    trained = train_month(data, whole, learner)
    for seed in trained.seeds:
        assert len(seed.epochs) == seed.best == learner.training.max_epochs
        assert seed.valid_rank_ic is None
        assert not seed.unfinished
    # Nothing of the sessions that were left out can decide it.
    blind = Dataset(**{**vars(data), "return_DNH": data.return_DNH.copy()})
    blind.return_DNH[data.places(split.valid, STEPS)] = np.nan
    again = train_month(blind, whole, learner)
    for one, other in zip(trained.seeds, again.seeds, strict=True):
        assert all(torch.equal(one.weights[n], other.weights[n]) for n in one.weights)


def test_schedules() -> None:
    def rates(schedule: str) -> list[float]:
        spec = OptimiserSpec(learning_rate=1.0, warmup_share=0.1, schedule=schedule)  # type: ignore[arg-type]
        return [learning_rate(step, 20, spec) for step in range(21)]

    assert rates("constant")[2:] == [1.0] * 19
    assert rates("linear")[2:4] == pytest.approx([1.0, 1 - 1 / 18])
    for name in ("linear", "cosine"):
        assert rates(name)[:2] == pytest.approx([0.5, 1.0])
        assert rates(name)[20] == pytest.approx(0.0)
        assert learning_rate(30, 20, OptimiserSpec(schedule=name)) == 0.0  # type: ignore[arg-type]


def test_weights_of_another_model_are_no_start(
    data: Dataset, split: Split, learner: Learner
) -> None:
    one = changed(learner, training=TrainingSpec(seeds=(0,), max_epochs=1))
    start = {0: train_month(data, split, one).seeds[0].weights}
    wider = changed(one, model=TransformerSpec(d_model=16, heads=2))
    with pytest.raises(BadInput, match=r"the weights to start from have .* of shape .* wants"):
        train_month(data, split, wider, parent=start)


def test_a_loss_of_two_terms_is_trained(data: Dataset, split: Split, learner: Learner) -> None:
    two = changed(
        learner,
        loss=(ICSpec(weight=0.7), MSESpec(weight=0.3)),
        training=TrainingSpec(seeds=(0,), max_epochs=2),
        guard=GuardSpec(rank_ic_max=1.0),
    )
    (seed,) = train_month(data, split, two).seeds
    first = seed.epochs[0]
    assert set(first.parts) == {"ic", "pin", "mse"}
    total = 0.7 * (first.parts["ic"] + 1e-3 * first.parts["pin"]) + 0.3 * first.parts["mse"]
    assert first.loss == pytest.approx(total, rel=1e-5)


def test_each_fold_has_a_model_and_scores_are_their_mean(
    data: Dataset, split: Split, learner: Learner
) -> None:
    sessions = np.concatenate([split.train, split.valid])
    halves = np.array_split(sessions, 2)
    blocks = tuple(
        Fold(str(k), train=np.setdiff1d(sessions, near(sessions, half)), valid=half)
        for k, half in enumerate(halves, start=1)
    )
    cut = replace(split, blocks=blocks)
    asked = changed(learner, training=TrainingSpec(max_epochs=1, seeds=(0, 1)))

    trained = train_month(data, cut, asked)

    assert [(one.fold, one.seed) for one in trained.seeds] == [
        ("1", 0), ("1", 1), ("2", 0), ("2", 1),
    ]  # fmt: skip
    for one in trained.seeds:  # what a fold alone would have given
        only = blocks[int(one.fold) - 1]
        alone = train_month(data, replace(split, train=only.train, valid=only.valid), asked)
        weights = alone.seeds[one.seed].weights
        assert all(torch.equal(weights[name], one.weights[name]) for name in weights)

    card = make_card(
        trained, data.axes, cut,
        market="m", recipe="r", digest="d", data_hash="h", resolved_recipe={}, embargo_sessions=0,
    )  # fmt: skip
    stored = checkpoint_of(checkpoint_files(trained, card), "2020-04")
    batch, _ = data.cross_section(split.valid[0], STEPS)
    each = [model.infer(batch).score_BNH[0].double() for model in stored.models]
    mean = torch.stack(each).mean(0).float()
    assert np.array_equal(batch_output(stored, batch).score_NH, mean.detach().numpy())
    assert [fold.key for fold in stored.card.folds] == ["1", "2"]
    with pytest.raises(BadInput, match=r"a model for each of 2 folds; start from a recipe with"):
        stored.by_seed()


def near(sessions: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Return the sessions that a block purges: its own, and those within the horizon."""
    gap = np.timedelta64(HORIZON, "D")
    return sessions[(sessions >= block[0] - gap) & (sessions <= block[-1] + gap)]
