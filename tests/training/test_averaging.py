"""Averages of weights, and selection that a single lucky epoch does not decide."""

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.conftest import STEPS
from tests.training.test_month import Killed, changed, fingerprint, resume

from alpha_assets.arrays.ranks import rank_ic
from alpha_assets.dataset import Split
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.models import LinearSpec
from alpha_assets.training import Learner, TrainingSpec
from alpha_assets.training.estimator import NO_VALIDATION, Epoch, Trained, best_of
from alpha_assets.training.fit import Fitting, fit, score_places
from alpha_assets.training.month import train_month
from alpha_assets.training.specs.ridge import RidgeSpec

fit_module = import_module("alpha_assets.training.fit")  # the package has a function of its name


@pytest.fixture
def small(learner: Learner) -> Learner:
    """Two steps an epoch of a straight line, at a rate that moves it."""
    line = learner.model_copy(update={"model": LinearSpec()})
    return changed(
        line, batch_sessions=24, max_epochs=3, patience=9, seeds=(0,), learning_rate=0.05
    )


def stepped(
    data: Dataset, split: Split, learner: Learner
) -> Iterator[tuple[Fitting, list[torch.Tensor]]]:
    """Yield the fit after each epoch, and the head's weights after every step so far."""
    torch.manual_seed(0)
    model = learner.model.build(data.sizes(STEPS))  # type: ignore[union-attr]
    fitting = Fitting.start(model, data, learner, seed=0)
    steps: list[torch.Tensor] = []
    fitting.optimizer.register_step_post_hook(
        lambda *_: steps.append(model.head.weight_HE.detach().clone())
    )
    spans = [torch.from_numpy(data.places(span, STEPS)) for span in (split.train, split.valid)]
    for _ in fit(fitting, data, *spans, learner):
        yield fitting, steps


def test_a_moving_average_by_hand(data: Dataset, split: Split, small: Learner) -> None:
    asked = changed(small, average="ema", average_decay=0.75, average_from=2)
    seen, steps = [], list[torch.Tensor]()
    for fitting, taken in stepped(data, split, asked):
        steps = taken
        if fitting.epochs == 1:
            assert fitting.judged is fitting.model
        seen.append(fitting.judged.head.weight_HE.detach().clone())  # type: ignore[union-attr]
    assert len(steps) == 6
    third, fourth = steps[2:4]  # those of the second epoch
    assert torch.equal(seen[0], steps[1])
    torch.testing.assert_close(seen[1], 0.75 * third + 0.25 * fourth)
    torch.testing.assert_close(seen[2], 0.75 * (0.75 * seen[1] + 0.25 * steps[4]) + 0.25 * steps[5])


def test_a_mean_over_epochs_by_hand(data: Dataset, split: Split, small: Learner) -> None:
    for fitting, steps in stepped(data, split, changed(small, average="swa")):
        ends = torch.stack(steps[1::2])  # two steps an epoch
        torch.testing.assert_close(fitting.judged.head.weight_HE.data, ends.mean(0))  # type: ignore[union-attr]
        assert torch.equal(fitting.model.head.weight_HE.data, ends[-1])  # type: ignore[union-attr]


@pytest.mark.parametrize("average", ["ema", "swa"])
def test_what_is_kept_is_the_average_that_was_judged(
    average: str, data: Dataset, split: Split, small: Learner
) -> None:
    (seed,) = train_month(data, split, changed(small, average=average)).seeds
    (plain,) = train_month(data, split, small).seeds

    assert any(not torch.equal(seed.weights[n], plain.weights[n]) for n in seed.weights)
    assert seed.epochs[-1].loss == plain.epochs[-1].loss  # the steps themselves are the same
    model = small.model.build(data.sizes(STEPS))  # type: ignore[union-attr]
    model.load_state_dict(seed.weights)
    place_D = torch.from_numpy(data.places(split.valid, STEPS))
    again = rank_ic(
        score_places(model, data, place_D, small)[..., 0], data.return_DNH[place_D, :, 0]
    )
    assert again.mean() == pytest.approx(seed.valid_rank_ic, abs=1e-12)


@pytest.mark.parametrize("average", ["ema", "swa"])
def test_epochs_after_the_best_enter_no_average_that_is_kept(
    average: str, data: Dataset, split: Split, small: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each epoch is judged worse than the one before it, and the averaging goes on.
    honest, judged = fit_module.judge, list[float]()

    def falling(*asked: Any) -> Any:
        judged.append(-float(len(judged)))
        return replace(honest(*asked), selected=judged[-1])

    monkeypatch.setattr(fit_module, "judge", falling)
    asked = changed(small, average=average, schedule="constant")
    (whole,) = train_month(data, split, asked).seeds
    (first,) = train_month(data, split, changed(asked, max_epochs=1)).seeds

    assert (whole.best, len(whole.epochs)) == (1, 3)
    assert all(torch.equal(whole.weights[n], first.weights[n]) for n in first.weights)


@pytest.mark.parametrize("average", ["ema", "swa"])
@pytest.mark.parametrize("stop", [1, 2])
def test_an_interrupted_average_goes_on_with_the_same_bits(
    average: str, stop: int, data: Dataset, split: Split, small: Learner, tmp_path: Path
) -> None:
    asked = changed(small, average=average, average_from=2, selection_smoothing=2)

    def kill(seed: int, epoch: Epoch) -> None:
        if epoch.number == stop:
            raise Killed

    with pytest.raises(Killed):
        train_month(data, split, asked, state=resume(tmp_path), identity="a", on_epoch=kill)
    again = train_month(data, split, asked, state=resume(tmp_path), identity="a")
    assert fingerprint(again) == fingerprint(train_month(data, split, asked))


def epochs(*selected: float) -> list[Epoch]:
    return [
        Epoch(k, 0.0, {}, value, (value,), {}, (), 0, (0.0, 0.0), value)
        for k, value in enumerate(selected, start=1)
    ]


def test_a_lucky_epoch_is_not_kept_by_a_mean_over_three() -> None:
    run = epochs(0.09, 0.00, 0.01, 0.02, 0.04, 0.03, 0.01)
    assert best_of(run) == 1
    # Means over three: .033 at 3, .01 at 4, .023 at 5, .03 at 6, .027 at 7.
    assert best_of(run, 3) == 3
    # Over two: .045 at 2, .005, .015, .03 at 5, .035 at 6, .02.
    assert best_of(run[1:], 2) == 6
    assert best_of(run[:2], 3) == 2  # the last, while there are fewer
    assert best_of(epochs(0.02, 0.02, 0.02), 2) == 2  # the first of equals
    assert best_of(epochs(NO_VALIDATION, NO_VALIDATION), 1) == 2


def test_smoothing_decides_what_is_kept(data: Dataset, split: Split, small: Learner) -> None:
    asked = changed(small, selection_smoothing=3)
    (seed,) = train_month(data, split, asked).seeds
    assert isinstance(seed, Trained)
    assert seed.best == 3  # the only one with two before it


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"selection_smoothing": 9}, r"selection_smoothing = 9 is more than max_epochs = 8"),
        ({"average": "ema", "average_from": 9}, r"average_from = 9 is more than max_epochs = 8"),
        ({"average": "mean"}, r"'none', 'ema' or 'swa'"),
        ({"average_decay": 1.0}, r"less than 1"),
    ],
)
def test_averages_that_never_come_about_are_refused(
    settings: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        TrainingSpec(**settings)  # type: ignore[arg-type]


def test_a_baseline_has_no_epochs_to_average(learner: Learner) -> None:
    with pytest.raises(ValueError, match=r'"ridge" has no epochs: take training.average and'):
        Learner(
            model=RidgeSpec(),
            window=learner.window.model_copy(update={"sequence": 1}),
            training=TrainingSpec(average="swa"),
        )
