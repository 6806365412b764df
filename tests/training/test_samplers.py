"""Which sessions stand together: every session once an epoch, and blocks that bridge no gap."""

import pytest
import torch

from alpha_assets.training import TrainingSpec
from alpha_assets.training.samplers import batches, n_batches

TRAIN_D = torch.cat([torch.arange(3, 40), torch.arange(50, 61)])  # purged between 39 and 50
BLOCKS = TrainingSpec(sampler="blocks", batch_sessions=8, block_sessions=4)


def epoch(spec: TrainingSpec, seed: int = 0) -> list[tuple[list[int], list[bool] | None]]:
    made = batches(TRAIN_D, spec, torch.Generator().manual_seed(seed))
    return [
        (b.place_B.tolist(), None if b.follows_B is None else b.follows_B.tolist()) for b in made
    ]


@pytest.mark.parametrize("spec", [TrainingSpec(batch_sessions=4), BLOCKS])
@pytest.mark.parametrize("seed", range(20))
def test_every_session_stands_in_one_batch(spec: TrainingSpec, seed: int) -> None:
    made = epoch(spec, seed)
    assert sorted(place for places, _ in made for place in places) == TRAIN_D.tolist()
    assert epoch(spec, seed) == made
    assert epoch(spec, seed) != epoch(spec, seed + 1)
    assert abs(len(made) - n_batches(TRAIN_D, spec)) <= 2


@pytest.mark.parametrize("seed", range(20))
def test_what_follows_is_the_next_session(seed: int) -> None:
    for places, follows in epoch(BLOCKS, seed):
        assert follows is not None
        assert not follows[0]
        for k, does in enumerate(follows[1:], start=1):
            if does:
                assert places[k] == places[k - 1] + 1


def test_every_pair_of_neighbours_is_seen_in_some_epoch() -> None:
    seen = {
        (places[k - 1], places[k])
        for seed in range(60)
        for places, follows in epoch(BLOCKS, seed)
        for k, does in enumerate(follows or [])
        if does
    }
    inside = set(zip(TRAIN_D.tolist(), TRAIN_D[1:].tolist(), strict=False)) - {(39, 50)}
    assert seen == inside


@pytest.mark.parametrize("seed", range(20))
def test_no_block_is_shorter_than_it_should_be(seed: int) -> None:
    one = BLOCKS.model_copy(update={"batch_sessions": 4})  # a block a batch
    assert {len(places) for places, _ in epoch(one, seed)} <= set(range(4, 11))


def test_a_run_that_is_shorter_than_a_block_stands_alone() -> None:
    made = batches(torch.tensor([7, 8]), BLOCKS, torch.Generator().manual_seed(0))
    assert [b.place_B.tolist() for b in made] == [[7, 8]]


def test_single_sessions_have_no_order() -> None:
    assert all(follows is None for _, follows in epoch(TrainingSpec(batch_sessions=4)))
