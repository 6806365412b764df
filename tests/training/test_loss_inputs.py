"""What terms of a loss read beside scores and targets reaches them, and is the same every time."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.conftest import FEATURES, HORIZON, STEPS
from tests.training.test_month import Killed, changed, fingerprint, resume

from alpha_assets.dataset import Split
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.errors import BadInput, TooFewNames
from alpha_assets.models.losses import (
    DecorrelationSpec,
    ICSpec,
    LossSpec,
    PairwiseLogisticSpec,
    SharpeSpec,
    SortinoSpec,
)
from alpha_assets.models.losses.base import Extras
from alpha_assets.training import Learner, TrainingSpec
from alpha_assets.training.estimator import Epoch
from alpha_assets.training.month import train_month

loop = import_module("alpha_assets.training.fit")  # the package has a function of its name
RANDOM = PairwiseLogisticSpec(shifts=0)


def with_loss(learner: Learner, *loss: LossSpec, **training: object) -> Learner:
    return changed(learner.model_copy(update={"loss": loss}), **training)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Extras]:
    """The extras of every batch, in order."""
    found: list[Extras] = []
    honest = loop._extras

    def watched(*given: object) -> Extras:
        found.append(honest(*given))  # type: ignore[arg-type]
        return found[-1]

    monkeypatch.setattr(loop, "_extras", watched)
    return found


def test_every_session_and_epoch_is_paired_anew(
    data: Dataset, split: Split, learner: Learner, seen: list[Extras]
) -> None:
    train_month(data, split, with_loss(learner, RANDOM, seeds=(0,), max_epochs=2))

    draws = [extras.draw_BN for extras in seen]
    rows = torch.cat([draw_BN for draw_BN in draws if draw_BN is not None])
    assert len(rows) == 2 * len(split.train)
    assert rows.unique().numel() == rows.numel()  # no name draws a number twice


def test_the_loss_that_selects_pairs_the_same_in_every_epoch(
    data: Dataset, split: Split, learner: Learner, seen: list[Extras]
) -> None:
    train_month(data, split, with_loss(learner, RANDOM, seeds=(0,), max_epochs=2, selection="loss"))

    valid = [one.draw_BN for one in seen if one.draw_BN is not None and len(one.draw_BN) > 8]
    assert len(valid) == 2
    assert torch.equal(valid[0], valid[1])


def test_a_loss_without_random_terms_draws_nothing(
    data: Dataset, split: Split, learner: Learner, seen: list[Extras]
) -> None:
    train_month(data, split, changed(learner, seeds=(0,), max_epochs=1))

    assert seen
    assert all(extras.draw_BN is None and not extras.column_BN for extras in seen)


def test_random_pairs_learn_the_signal_and_resume_with_the_same_bits(
    data: Dataset, split: Split, learner: Learner, tmp_path: Path
) -> None:
    paired = with_loss(learner, RANDOM, seeds=(0,))
    whole = train_month(data, split, paired)
    assert whole.seeds[0].valid_rank_ic > 0.5  # type: ignore[operator]

    def kill(seed: int, epoch: Epoch) -> None:
        if epoch.number == 2:
            raise Killed

    with pytest.raises(Killed):
        train_month(data, split, paired, state=resume(tmp_path), identity="a", on_epoch=kill)
    again = train_month(data, split, paired, state=resume(tmp_path), identity="a")
    assert fingerprint(again) == fingerprint(whole)
    torch.manual_seed(8)  # what others draw means nothing
    assert fingerprint(train_month(data, split, paired)) == fingerprint(whole)


@pytest.mark.parametrize(
    ("term", "words"),
    [
        (
            ICSpec(min_names=31),
            r'"ic": min_names = 31, and the training sessions have 30 names .* to 30 or less',
        ),
        (
            PairwiseLogisticSpec(gap=1e9),
            r'"pairwise_logistic": gap = 1e\+09, and no two targets .* set a smaller gap',
        ),
    ],
)
def test_a_term_that_no_session_counts_for_is_refused(
    data: Dataset, split: Split, learner: Learner, term: LossSpec, words: str
) -> None:
    with pytest.raises(TooFewNames, match=words):
        train_month(data, split, with_loss(learner, term, seeds=(0,), max_epochs=1))


def test_a_term_reads_its_column_as_of_the_decision(
    data: Dataset, split: Split, learner: Learner, seen: list[Extras]
) -> None:
    unknown = replace(data, valid_DN=data.valid_DN.clone(), mask_DN=data.mask_DN.clone())
    unknown.valid_DN[:, 4] = unknown.mask_DN[:, 4] = False
    term = DecorrelationSpec(column=FEATURES[2])
    asked = with_loss(learner, ICSpec(), term, seeds=(0,), max_epochs=1, selection="loss")
    train_month(unknown, split, asked)

    of_valid = seen[-1].column_BN[FEATURES[2]]
    place_D = data.places(split.valid, STEPS)
    assert torch.isnan(of_valid[:, 4]).all()
    known = np.arange(30) != 4
    assert torch.equal(of_valid[:, known], data.x_DNF[place_D][:, known, 2])
    assert seen[-1].horizons == (HORIZON,)


def test_scores_are_held_apart_from_the_factor(
    data: Dataset, split: Split, learner: Learner
) -> None:
    # Returns follow the first feature; scores that may not have nothing to go by.
    plain, apart = (
        train_month(data, split, with_loss(learner, *loss, seeds=(0,))).seeds[0]
        for loss in (
            (ICSpec(),),
            (ICSpec(), DecorrelationSpec(column=FEATURES[0], weight=5.0)),
        )
    )
    assert plain.valid_rank_ic > 0.5  # type: ignore[operator]
    assert apart.valid_rank_ic < 0.3  # type: ignore[operator]
    last = apart.epochs[-1].parts["decorrelation"]
    assert last < apart.epochs[0].parts["decorrelation"]


def test_a_column_that_the_model_does_not_read_is_refused_with_the_nearest(
    data: Dataset, split: Split, learner: Learner
) -> None:
    asked = with_loss(learner, ICSpec(), DecorrelationSpec(column="f9_cs_z"))
    words = r"column = 'f9_cs_z' is none of the 5 columns that the model reads; did you mean f"
    with pytest.raises(BadInput, match=words):
        train_month(data, split, asked)


def test_a_ratio_net_of_costs_learns_the_signal(
    data: Dataset, split: Split, learner: Learner
) -> None:
    blocks = {"sampler": "blocks", "batch_sessions": 16, "block_sessions": 16, "max_epochs": 8}
    for spec in (SharpeSpec(cost_bps=1.0), SortinoSpec(cost_bps=1.0)):
        (seed,) = train_month(data, split, with_loss(learner, spec, seeds=(0,), **blocks)).seeds
        assert seed.valid_rank_ic is not None
        assert seed.valid_rank_ic > 0.4  # the oracle's is about 0.7


def test_costs_under_a_sampler_that_shuffles_are_refused(learner: Learner) -> None:
    with pytest.raises(ValueError, match=r'"sortino" compares a session .* "blocks"'):
        Learner(
            model=learner.model,
            loss=({"kind": "sortino", "cost_bps": 5.0},),  # type: ignore[arg-type]
            training=TrainingSpec(sampler="sessions"),
        )
