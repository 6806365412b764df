"""Permutation importance: one family knows, the other does not; by hand and as a promise."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from alpha_assets.dataset import Split
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.training import GuardSpec, Learner, WindowSpec
from alpha_assets.training.checkpoint import checkpoint_files, checkpoint_of, make_card
from alpha_assets.training.importance import permutation_drops, permuted
from alpha_assets.training.month import train_month
from alpha_assets.training.specs.ridge import RidgeSpec

FAMILIES = {"knows": (0,), "noise": (1, 2), "nothing": (3, 4)}


@pytest.fixture(scope="module")
def known(data: Dataset) -> Dataset:
    """The planted market, of whose columns the first one tells the return."""
    return replace(data, axes=replace(data.axes, families=FAMILIES))


def test_only_the_family_that_knows_is_missed(known: Dataset, split: Split) -> None:
    learner = Learner(
        model=RidgeSpec(), window=WindowSpec(sequence=1), guard=GuardSpec(rank_ic_max=1.0)
    )
    trained = train_month(known, split, learner)
    card = make_card(
        trained,
        known.axes,
        split,
        market="m",
        recipe="r",
        digest="d",
        data_hash="h",
        resolved_recipe={},
        embargo_sessions=0,
        left_out=[],
    )
    checkpoint = checkpoint_of(checkpoint_files(trained, card), "here", "cpu")
    ic_DH, lost = permutation_drops(checkpoint, known, split.valid, seed=0)

    assert ic_DH.shape == (len(split.valid), 1)
    assert set(lost) == set(FAMILIES)
    # The scores rank by the first column: dealt to others, all of the rank IC is lost.
    assert np.mean(lost["knows"]) == pytest.approx(float(np.mean(ic_DH)), abs=0.1)
    assert np.mean(ic_DH) > 0.5
    for name in ("noise", "nothing"):
        assert abs(np.mean(lost[name])) < 0.05
    again = permutation_drops(checkpoint, known, split.valid, seed=0)
    assert np.array_equal(again[1]["knows"], lost["knows"])
    other = permutation_drops(checkpoint, known, split.valid, seed=1)
    assert not np.array_equal(other[1]["knows"], lost["knows"])


def test_whole_windows_of_the_family_move_and_nothing_else_does(known: Dataset) -> None:
    batch = known.windows(torch.tensor([10]), 3)
    from_N = torch.arange(batch.x_BNTF.shape[1]).roll(1)
    dealt = permuted(batch, FAMILIES["noise"], from_N)
    assert torch.equal(dealt.x_BNTF[0, 1, :, 1:3], batch.x_BNTF[0, 0, :, 1:3])
    assert torch.equal(dealt.x_BNTF[..., [0, 3, 4]], batch.x_BNTF[..., [0, 3, 4]])
    assert torch.equal(batch.x_BNTF, known.windows(torch.tensor([10]), 3).x_BNTF)


def test_a_step_that_the_other_symbol_has_no_row_of_is_its_average(known: Dataset) -> None:
    batch = known.windows(torch.tensor([10]), 3)
    valid_BNT = batch.valid_BNT.clone()
    valid_BNT[0, 0, 1] = False
    from_N = torch.arange(batch.x_BNTF.shape[1]).roll(1)
    dealt = permuted(replace(batch, valid_BNT=valid_BNT), FAMILIES["knows"], from_N)
    assert dealt.x_BNTF[0, 1, 1, 0] == 0.0
    assert dealt.x_BNTF[0, 1, 0, 0] == batch.x_BNTF[0, 0, 0, 0]
