"""Out of memory is refused in words: what asked for how much, and what is tried to fit."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest
import torch

from alpha_assets.dataset import Split
from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.errors import OutOfMemory
from alpha_assets.models import TransformerSpec
from alpha_assets.models.base import Output, Ranker
from alpha_assets.models.transformer import TransformerRanker
from alpha_assets.training import Learner, TrainingSpec
from alpha_assets.training.memory import halves, in_words, is_out_of_memory, within_memory
from alpha_assets.training.month import train_month

OF_CUDA = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.15 GiB"
)
OF_CPU = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 72000000000 bytes. Error code 12 (Cannot allocate memory)"
)
CPU = torch.device("cpu")


@contextmanager
def room_for(cells: int, failure: Exception) -> Iterator[None]:
    """Let a model fail on batches of more sessions x symbols, as an allocator does."""
    infer = TransformerRanker.infer

    def guarded(self: TransformerRanker, batch: Batch) -> Output:
        if batch.mask_BN.numel() > cells:
            raise failure
        return infer(self, batch)

    with patch.object(TransformerRanker, "infer", guarded):
        yield


@pytest.mark.parametrize("failure", [OF_CUDA, OF_CPU, MemoryError()], ids=["cuda", "cpu", "python"])
def test_a_step_that_does_not_fit_names_how_many_sessions_do(
    data: Dataset, split: Split, learner: Learner, failure: Exception
) -> None:
    large = learner.model_copy(update={"training": TrainingSpec(batch_sessions=32, max_epochs=1)})
    n_symbols = len(data.axes.symbols)
    with (
        room_for(9 * n_symbols, failure),
        pytest.raises(
            OutOfMemory,
            match=r"a step over 32 sessions: out of memory on cpu.* are free; "
            r"training.batch_sessions = 32 asks for it, and 8 fit, tried on the same sessions: "
            r"set training.batch_sessions = 8$",
        ),
    ):
        train_month(data, split, large)
    fits = learner.model_copy(update={"training": TrainingSpec(batch_sessions=8, max_epochs=1)})
    with room_for(9 * n_symbols, failure):
        train_month(data, split, fits)


def test_blocks_are_lowered_by_whole_blocks(data: Dataset, split: Split, learner: Learner) -> None:
    training = TrainingSpec(batch_sessions=24, sampler="blocks", block_sessions=6, max_epochs=1)
    with (
        room_for(22 * len(data.axes.symbols), OF_CPU),  # two blocks with what is left beside them
        pytest.raises(OutOfMemory, match=r"72 GB more were asked for.*batch_sessions = 12$"),
    ):
        train_month(data, split, learner.model_copy(update={"training": training}))


def test_one_session_that_does_not_fit_names_by_how_much(
    data: Dataset, split: Split, learner: Learner
) -> None:
    assert len(data.axes.symbols) == 30
    with (
        room_for(8, OF_CPU),
        pytest.raises(
            OutOfMemory,
            match=r"one session alone, 30 symbols x 3 steps x 5 columns, does not fit, and 7 of "
            r"its symbols do: bring symbols x steps x width down to 1/4 of it; lower window.",
        ),
    ):
        train_month(data, split, learner)


def test_weights_that_do_not_fit_name_the_widths_and_how_many_times_too_many(
    data: Dataset, split: Split, learner: Learner
) -> None:
    wide = learner.model_copy(update={"model": TransformerSpec(d_model=2_000_000, heads=2)})
    build = TransformerSpec.build

    def full(self: TransformerSpec, sizes: Sizes) -> Ranker:
        if torch.get_default_device().type == "cpu":
            raise OF_CPU
        return build(self, sizes)

    with (
        patch.object(TransformerSpec, "build", full),
        pytest.raises(
            OutOfMemory,
            match=r"the weights of a fresh model: out of memory on cpu: 72 GB more were asked for, "
            r".* are free; its [\d,]+ weights take .* times what is free: lower the widths "
            r"and layers of \[model\] \(d_model = 2000000, heads = 2",
        ),
    ):
        train_month(data, split, wide)


def test_an_array_that_does_not_fit_names_the_data(
    data: Dataset, split: Split, learner: Learner
) -> None:
    failure = MemoryError("Unable to allocate 745. GiB for an array with shape (1000000, 100000)")
    with (
        patch("alpha_assets.training.network.Fitting.start", side_effect=failure),
        pytest.raises(
            OutOfMemory,
            match=r"training of 2020-04: out of memory on cpu: 745 GiB more were asked for.*"
            r"sessions x 30 symbols x 5 columns: lower split.lookback_sessions",
        ),
    ):
        train_month(data, split, learner)


def test_other_failures_are_left_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"), within_memory("x", CPU, lambda: ""):
        raise RuntimeError("shapes differ")
    assert not is_out_of_memory(ValueError("out of memory"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"))


def test_what_the_failure_held_is_let_go_before_something_smaller_is_tried() -> None:
    held = []

    def fail() -> None:
        made = torch.zeros(4)
        held.append(weakref.ref(made))
        raise RuntimeError("out of memory")

    def way_out() -> str:
        assert held[0]() is None
        return "lower something"

    with pytest.raises(OutOfMemory, match="lower something"), within_memory("x", CPU, way_out):
        fail()


def test_halves_and_bytes_in_words() -> None:
    assert halves(32) == (16, 8, 4, 2, 1)
    assert halves(24, 6) == (12, 6)
    assert halves(6, 6) == ()
    assert in_words(950) == "950 bytes"
    assert in_words(72e9) == "72 GB"
