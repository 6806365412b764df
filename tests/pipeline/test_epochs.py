"""What a person who follows a training reads, and the curves that are kept of it."""

from dataclasses import replace

import pytest

from alpha_assets.models import LinearSpec
from alpha_assets.models.losses import ICSpec
from alpha_assets.pipeline.epochs import (
    EpochLines,
    curves,
    epoch_in_words,
    mean_curve,
    windows_per_second,
)
from alpha_assets.progress import bar
from alpha_assets.training import Learner, TrainingSpec, WindowSpec
from alpha_assets.training.estimator import Epoch, Trained
from alpha_assets.training.specs.ridge import RidgeSpec

EPOCH = Epoch(
    number=1,
    loss=-0.02,
    parts={"ic": -0.03, "pin": 10.0},
    valid_rank_ic=0.0312,
    rank_ic=(0.0312,),
    spreads={"input": 1.0, "head": 0.987},
    warnings=(),
    windows=1_200,
    seconds=(1.5, 0.5),
    rank_ic_error=0.0101,
)


def learner(**training: object) -> Learner:
    return Learner(
        model=LinearSpec(),
        loss=(ICSpec(),),
        training=TrainingSpec(max_epochs=4, **training),  # type: ignore[arg-type]
    )


def lines_of(of: Learner, calls: list[tuple[int, Epoch]], n_folds: int = 1) -> list[str]:
    lines: list[str] = []
    report = EpochLines(
        lambda stage, what: lines.append(what), "checkpoint", "2020-04", of, n_folds
    )
    for seed, epoch in calls:
        report(seed, epoch)
    return lines


def test_a_line_by_hand() -> None:
    # Two seconds an epoch, 1 of 2 x 4 done: 7 x 2 s are left. 1,200 windows in 1.5 s of training.
    (line,) = lines_of(learner(seeds=(0, 1)), [(0, EPOCH)])
    assert line == (
        "2020-04 seed 0 [##..................] epoch 1 of 4: loss -0.0200 "
        "(ic -0.0300, pin 10.0000), validation rank IC 0.0312 ± 0.0101, "
        "spread of scores 0.987, 800 windows a second, 14 s left at most"
    )


def test_an_early_stop_moves_the_bar_on_and_the_last_epoch_fills_it() -> None:
    calls = [(7, EPOCH), (7, replace(EPOCH, number=2)), (9, EPOCH), (9, replace(EPOCH, number=4))]
    ends = [line.partition("]")[0].count("#") for line in lines_of(learner(seeds=(7, 9)), calls)]
    assert ends == [2, 5, 12, 20]  # of 20, for 1, 2, 4 + 1 and 8 of 8
    assert "left" not in lines_of(learner(seeds=(7, 9)), calls)[-1]


def test_folds_come_one_after_the_other() -> None:
    calls = [(s, replace(EPOCH, setting=f"fold {k} epoch 1")) for k in (1, 2) for s in (0, 1)]
    lines = lines_of(learner(seeds=(0, 1)), calls, n_folds=2)
    assert [line.partition("]")[0].count("#") for line in lines] == [1, 6, 11, 16]
    assert lines[2].partition("] ")[2].startswith("fold 2 epoch 1 of 4: loss")


def test_what_has_no_epochs_has_no_bar() -> None:
    ridge = Learner(model=RidgeSpec(), window=WindowSpec(sequence=1))
    tried = replace(EPOCH, setting="penalty 0.1", parts={}, windows=0, spreads={})
    assert lines_of(ridge, [(0, tried)]) == [
        "2020-04 seed 0 penalty 0.1: loss -0.0200, validation rank IC 0.0312 ± 0.0101"
    ]


def test_what_is_not_known_is_not_shown() -> None:
    blind = replace(EPOCH, valid_rank_ic=None, rank_ic_error=None)
    assert "no validation sessions, spread" in epoch_in_words(blind)
    assert "rank IC 0.0312, spread" in epoch_in_words(replace(EPOCH, rank_ic_error=None))


def test_curves_are_those_of_every_model() -> None:
    second = replace(EPOCH, number=2, valid_rank_ic=0.02, spreads={})
    models = [Trained(0, {}, (EPOCH, second), 1), Trained(1, {}, (EPOCH,), 1, fold="a")]
    kept = curves(models)
    assert kept[0] == {
        "seed": 0,
        "best_epoch": 1,
        "loss": [-0.02, -0.02],
        "valid_rank_ic": [0.0312, 0.02],
        "rank_ic_error": [0.0101, 0.0101],
        "spread": [0.987, None],
    }
    assert kept[1]["fold"] == "a"
    assert mean_curve(kept) == [0.0312, 0.02]
    assert mean_curve([]) == []
    assert windows_per_second(models) == pytest.approx(3 * 1_200 / 4.5)
    assert windows_per_second([Trained(0, {}, (replace(EPOCH, windows=0),), 1)]) is None


@pytest.mark.parametrize(("done", "filled"), [(0, 0), (1, 6), (3, 20), (9, 20)])
def test_a_bar_is_filled_by_the_share_done(done: int, filled: int) -> None:
    assert bar(done, 3) == "[" + "#" * filled + "." * (20 - filled) + "]"
