"""Exact ridge: by hand, a second way, and whatever the order of symbols."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from alpha_assets.arrays.ranks import rank_ic
from alpha_assets.dataset import Axes, Fold, Split
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.errors import DegenerateModel, TooFewNames
from alpha_assets.models import LinearSpec
from alpha_assets.training import GuardSpec, Learner, OptimiserSpec, TrainingSpec, WindowSpec
from alpha_assets.training.estimator import Aids, Trained
from alpha_assets.training.estimators import estimator_of
from alpha_assets.training.judge import session_scores
from alpha_assets.training.loaders import load_model
from alpha_assets.training.ridge import BETA, normal_equations, solve, unit_line
from alpha_assets.training.specs.ridge import RidgeSpec

PENALTIES = (1e-3, 0.1, 10.0)


def learner_of(**sections: object) -> Learner:
    plain: dict[str, object] = {
        "model": RidgeSpec(penalties=PENALTIES),
        "window": WindowSpec(sequence=1),
        "guard": GuardSpec(rank_ic_max=1.0),
    }
    return Learner.model_validate({**plain, **sections})


def fitted(learner: Learner, data: Dataset, fold: Fold) -> Trained:
    return estimator_of(learner).fit(data, fold, 0, Aids())


@pytest.fixture(scope="module")
def noisy(build: object, split: Split) -> Dataset:
    """A market of a weak signal, correlated features, and names that come and go."""
    draw = np.random.default_rng(8)
    x_DNF = draw.standard_normal((68, 30, 5)).astype(np.float32)
    x_DNF[..., 1] += 0.9 * x_DNF[..., 0]
    data: Dataset = build(  # type: ignore[operator]
        x_DNF, 0.02 * (0.2 * x_DNF[..., 0] + draw.standard_normal((68, 30)))
    )
    mask_DN = data.mask_DN & torch.from_numpy(draw.random((68, 30)) < 0.8)
    target_DNH = data.target_DNH.clone()
    target_DNH[torch.from_numpy(draw.random((68, 30)) < 0.1)] = torch.nan
    return replace(data, mask_DN=mask_DN, target_DNH=target_DNH)


def test_two_sessions_of_three_names_by_hand() -> None:
    # Session 1, centred: x = -1 0 1, y = -2 0 2; mean x² = 2/3, mean x y = 4/3, mean y² = 8/3.
    # Session 2, centred: x = -2 1 1, y = 0 -3 3; mean x² = 2, mean x y = 0, mean y² = 6.
    # Over both: A = 4/3, b = 2/3, y² = 13/3.  With penalty 1: λ = A, β = b / 2A = 1/4, and the
    # error is 13/3 - 2 β b + β² A = 13/3 - 1/3 + 1/12.
    x_DN = [[4.0, 5.0, 6.0, 900.0, 7.0], [-1.0, 2.0, 2.0, -900.0, 7.0]]
    y_DN = [[-1.0, 1.0, 3.0, 50.0, torch.nan], [7.0, 4.0, 10.0, -50.0, torch.nan]]
    mask_DN = torch.tensor([[True, True, True, False, True]] * 2)
    sessions = np.datetime64("2020-01-01") + np.arange(2)
    symbols = ("A", "B", "C", "masked", "no label")
    data = Dataset(
        axes=Axes(sessions, symbols, ("f_cs_z",), (), (2,), symbols, ("bank",)),
        x_DNF=torch.tensor(x_DN)[..., None],
        valid_DN=mask_DN,
        mask_DN=mask_DN,
        target_DNH=torch.tensor(y_DN)[..., None],
        return_DNH=np.array(y_DN)[..., None],
        symbol_id_N=torch.arange(5) + 1,
        sector_id_DN=torch.ones(2, 5, dtype=torch.int64),
        market_DM=torch.zeros(2, 0),
    )

    sums = normal_equations(data, torch.tensor([0, 1]), 0, min_names=3)

    assert sums.xx_FF.item() == pytest.approx(4 / 3, abs=1e-12)
    assert sums.xy_F.item() == pytest.approx(2 / 3, abs=1e-12)
    beta_F = solve(sums, 1.0)
    assert beta_F.item() == pytest.approx(1 / 4, abs=1e-12)
    assert sums.error(beta_F) == pytest.approx(4 + 1 / 12, abs=1e-12)
    with pytest.raises(TooFewNames, match=r"horizon 2: no training session has 4 names"):
        normal_equations(data, torch.tensor([0, 1]), 0, min_names=4)


def test_it_is_least_squares_on_augmented_rows(noisy: Dataset, split: Split) -> None:
    found = fitted(learner_of(), noisy, split.folds[0])

    # Rows centred within the session and weighted by 1 / sqrt(n S), and below them sqrt(λ) I.
    x, y = [], []
    for place in noisy.places(split.train, 1):
        y_N = noisy.target_DNH[place, :, 0].numpy().astype(np.float64)
        in_N = noisy.mask_DN[place].numpy() & np.isfinite(y_N)
        x_CF = noisy.x_DNF[place].numpy()[in_N].astype(np.float64)
        weight = 1 / np.sqrt(in_N.sum() * len(split.train))
        x.append(weight * (x_CF - x_CF.mean(axis=0)))
        y.append(weight * (y_N[in_N] - y_N[in_N].mean()))
    x_CF, y_C = np.concatenate(x), np.concatenate(y)
    penalty = PENALTIES[found.best - 1] * np.square(x_CF).sum(axis=0).mean()
    augmented_CF = np.vstack([x_CF, np.sqrt(penalty) * np.eye(5)])
    beta_F, *_ = np.linalg.lstsq(augmented_CF, np.append(y_C, np.zeros(5)), rcond=None)

    assert np.allclose(found.weights[BETA][0].numpy(), beta_F, rtol=0, atol=1e-8)
    assert np.abs(beta_F).max() > 1e-3
    error = np.square(y_C - x_CF @ beta_F).sum()
    assert found.epochs[found.best - 1].loss == pytest.approx(error, abs=1e-8)


def test_the_penalty_is_that_of_the_best_validation(noisy: Dataset, split: Split) -> None:
    found = fitted(learner_of(), noisy, split.folds[0])

    place_D = torch.from_numpy(noisy.places(split.valid, 1))
    train_D = torch.from_numpy(noisy.places(split.train, 1))
    sums = normal_equations(noisy, train_D, 0, 10)
    return_DN = np.where(noisy.mask_DN[place_D], noisy.return_DNH[place_D.numpy(), :, 0], np.nan)
    wanted = []
    for penalty in PENALTIES:
        score_DN = noisy.x_DNF[place_D].double().numpy() @ solve(sums, penalty).numpy()
        wanted.append(float(np.nanmean(rank_ic(score_DN, return_DN))))
    assert [epoch.valid_rank_ic for epoch in found.epochs] == pytest.approx(wanted, abs=1e-12)
    assert len(set(wanted)) == len(PENALTIES)
    assert found.best == int(np.argmax(wanted)) + 1
    assert [epoch.setting for epoch in found.epochs] == [f"penalty {p:g}" for p in PENALTIES]
    assert not found.unfinished

    alone = fitted(learner_of(), noisy, Fold("all", split.train, split.valid[:0]))
    assert torch.equal(alone.weights[BETA][0], solve(sums, PENALTIES[0]))


def test_the_order_of_symbols_changes_no_score_beyond_rounding(
    noisy: Dataset, split: Split
) -> None:
    order_N = np.random.default_rng(1).permutation(30)
    axes = replace(noisy.axes, symbols=tuple(noisy.axes.symbols[n] for n in order_N))
    moved = replace(
        noisy,
        axes=axes,
        x_DNF=noisy.x_DNF[:, order_N],
        valid_DN=noisy.valid_DN[:, order_N],
        mask_DN=noisy.mask_DN[:, order_N],
        target_DNH=noisy.target_DNH[:, order_N],
        return_DNH=noisy.return_DNH[:, order_N],
        symbol_id_N=noisy.symbol_id_N[order_N],
        sector_id_DN=noisy.sector_id_DN[:, order_N],
    )
    learner, place_D = learner_of(), torch.from_numpy(noisy.places(split.valid, 1))
    scores = []
    for data in (noisy, moved):
        found = fitted(learner, data, split.folds[0])
        model = load_model(learner, found.weights, {}, data.sizes(1))
        scores.append(session_scores(model, data, place_D)[..., 0])

    assert np.allclose(scores[1], scores[0][:, order_N], rtol=0, atol=1e-9, equal_nan=True)
    assert np.nanstd(scores[0]) > 1e-3


def test_coefficients_of_another_model_are_refused(noisy: Dataset, split: Split) -> None:
    learner = learner_of()
    weights = fitted(learner, noisy, split.folds[0]).weights
    with pytest.raises(RuntimeError, match=r"want beta_HF of shape \(1, 6\), found"):
        load_model(learner, weights, {}, replace(noisy.sizes(1), n_features=6))
    with pytest.raises(RuntimeError, match=r"found \{'gamma': "):
        load_model(learner, {"gamma": weights[BETA]}, {}, noisy.sizes(1))


def test_the_guard_judges_the_kept_coefficients(data: Dataset, split: Split) -> None:
    with pytest.raises(DegenerateModel, match=r"penalty .*, horizon 2: rank_ic = "):
        fitted(learner_of(guard=GuardSpec(rank_ic_max=0.1)), data, split.folds[0])


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"window": WindowSpec(sequence=3)}, 'kind = "ridge" reads the decision session alone'),
        ({"training": TrainingSpec(seeds=(0, 1))}, "draws nothing"),
    ],
)
def test_sections_that_do_not_fit_are_refused(sections: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        learner_of(**sections)


def line_learner(**training: object) -> Learner:
    """A network with a line beside it that starts at the ridge, and hardly moves."""
    return learner_of(
        model=LinearSpec(linear_path=True, linear_start="ridge"),
        loss=({"kind": "ic"},),
        optimiser=OptimiserSpec(learning_rate=1e-9),
        training=TrainingSpec(max_epochs=1, **training),  # type: ignore[arg-type]
    )


def test_a_network_starts_at_the_ridge_with_scores_of_spread_one(
    noisy: Dataset, split: Split
) -> None:
    fold = split.folds[0]
    ridge_HF = fitted(learner_of(model=RidgeSpec()), noisy, fold).weights[BETA]

    found_HF = fitted(line_learner(), noisy, fold).weights["weight_HF"].double()

    beta_F, variances = found_HF[0], []
    for place in noisy.places(fold.train, 1):
        is_known_N = noisy.mask_DN[place] & torch.isfinite(noisy.target_DNH[place, :, 0])
        score_N = noisy.x_DNF[place][is_known_N].double() @ beta_F
        variances.append(float(score_N.var(unbiased=False)))
    assert np.mean(variances) == pytest.approx(1.0, abs=1e-5)
    one_F = beta_F / beta_F.norm()
    torch.testing.assert_close(one_F, ridge_HF[0] / ridge_HF[0].norm(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("selection", ["loss", "icir"])
def test_its_penalty_goes_by_rank_ic_whatever_selects_epochs(
    selection: str, noisy: Dataset, split: Split
) -> None:
    fold = split.folds[0]
    plain, other = line_learner(), line_learner(selection=selection)

    assert torch.equal(unit_line(noisy, fold, other), unit_line(noisy, fold, plain))


def test_features_that_say_nothing_are_named_by_the_guard(noisy: Dataset, split: Split) -> None:
    flat = replace(noisy, x_DNF=torch.zeros_like(noisy.x_DNF))
    with pytest.raises(DegenerateModel):
        fitted(line_learner(), flat, split.folds[0])
