"""A month of training: it finds what is planted, and it gives the same bits every time."""

import hashlib
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from safetensors.torch import load, save

from alpha_assets.arrays.ranks import rank_ic
from alpha_assets.dataset import Split
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.errors import BadInput, DegenerateModel, RangeError, StorageError
from alpha_assets.models import LinearSpec
from alpha_assets.store.scratch import Scratch
from alpha_assets.store.store import Store
from alpha_assets.training import Learner, OptimiserSpec, TrainingSpec
from alpha_assets.training.estimator import Epoch, Trained
from alpha_assets.training.fit import Fitting, fit, learning_rate, reproducible, score_places
from alpha_assets.training.month import TrainedMonth, train_month
from alpha_assets.training.retraining import model_month, parent_month


def changed(learner: Learner, **training: object) -> Learner:
    sections = {"training": learner.training, "optimiser": learner.optimiser}
    for key, value in training.items():
        section = "optimiser" if key in OptimiserSpec.model_fields else "training"
        sections[section] = sections[section].model_copy(update={key: value})
    return learner.model_copy(update=sections)


def fingerprint(trained: TrainedMonth) -> str:
    seen = hashlib.sha256()
    for seed in trained.seeds:
        for name in sorted(seed.weights):
            seen.update(seed.weights[name].numpy().tobytes())
        seen.update(repr([(e.loss, e.rank_ic, dict(e.parts)) for e in seed.epochs]).encode())
    return seen.hexdigest()


@pytest.fixture(scope="module")
def trained(data: Dataset, split: Split, learner: Learner) -> TrainedMonth:
    return train_month(data, split, learner)


def test_a_planted_signal_is_found(trained: TrainedMonth) -> None:
    # The oracle's rank IC is about 0.7.
    assert all(seed.valid_rank_ic > 0.5 for seed in trained.seeds)


def test_a_null_market_has_no_rank_ic(split: Split, learner: Learner, build: object) -> None:
    draw = np.random.default_rng(4)
    x_DNF = draw.standard_normal((68, 30, 5)).astype(np.float32)
    data = build(x_DNF, draw.standard_normal((68, 30)) * 0.02)  # type: ignore[operator]

    found = train_month(data, split, changed(learner, seeds=(0,), max_epochs=1)).seeds[0]

    assert abs(found.valid_rank_ic) < 3 / np.sqrt(16 * 29)


def test_the_linear_ranker_finds_it_too(data: Dataset, split: Split, learner: Learner) -> None:
    linear = changed(learner, learning_rate=3e-2, seeds=(0,)).model_copy(
        update={"model": LinearSpec()}
    )

    assert train_month(data, split, linear).seeds[0].valid_rank_ic > 0.6


def test_the_kept_weights_are_those_of_the_best_epoch(
    split: Split, learner: Learner, build: object
) -> None:
    draw = np.random.default_rng(0)
    x_DNF = draw.standard_normal((68, 30, 5)).astype(np.float32)
    data = build(x_DNF, draw.standard_normal((68, 30)) * 0.02)  # type: ignore[operator]
    wild = changed(learner, learning_rate=0.02, max_epochs=8, patience=3, seeds=(0,))

    month = train_month(data, split, wild)  # on noise, hence soon too long

    (seed,) = month.seeds
    assert seed.best < len(seed.epochs)
    assert seed.valid_rank_ic == max(epoch.valid_rank_ic for epoch in seed.epochs)
    model = learner.model.build(month.sizes)
    model.load_state_dict(seed.weights)
    place_D = torch.from_numpy(data.places(split.valid, 3))
    score_DN = score_places(model, data, place_D, wild)[..., 0]
    again = rank_ic(score_DN, data.return_DNH[place_D, :, 0]).mean()
    assert again == pytest.approx(seed.valid_rank_ic, abs=1e-12)


def test_best_epoch_that_is_the_last_is_warned_of() -> None:
    def after(*rank_ics: float) -> Trained:
        epochs = tuple(
            Epoch(k, 0.0, {}, ic, (ic,), {}, ("odd",) if k == 1 else (), 0, (0.0, 0.0), ic)
            for k, ic in enumerate(rank_ics, start=1)
        )
        return Trained(0, {}, epochs, best=int(np.argmax(rank_ics)) + 1)

    rising = after(0.01, 0.02, 0.03)
    assert rising.unfinished.startswith("the best epoch is the last one (3)")
    assert rising.warnings == ("odd", rising.unfinished)
    assert after(0.01, 0.03, 0.02).unfinished == ""
    assert after(0.01, 0.03, 0.02).warnings == ("odd",)
    assert after(0.01).unfinished


def test_every_epoch_draws_afresh(data: Dataset, split: Split, learner: Learner) -> None:
    model = learner.model.build(Sizes(5, 0, 3, 1, 30))
    fitting = Fitting.start(model, data, learner, seed=0)
    places = (torch.from_numpy(data.places(s, 3)) for s in (split.train, split.valid))

    drawn = [fitting.randomness[0]]
    for _ in fit(fitting, data, *places, learner):
        drawn.append(fitting.randomness[0])

    assert len({state.numpy().tobytes() for state in drawn}) == len(drawn)


def test_training_stops_when_patience_is_over(
    data: Dataset, split: Split, learner: Learner
) -> None:
    # A rate so small that nothing changes after the warm-up, so the first epoch stays the best.
    still = changed(learner, learning_rate=1e-12, max_epochs=8, patience=2, seeds=(0,))

    found = train_month(data, split, still).seeds[0]

    assert found.best <= len(found.epochs) - 2
    assert len(found.epochs) < 8


def test_twice_gives_the_same_bits(
    data: Dataset, split: Split, learner: Learner, trained: TrainedMonth
) -> None:
    torch.manual_seed(99)  # whatever came before must not matter
    torch.rand(7)

    assert fingerprint(train_month(data, split, learner)) == fingerprint(trained)


def test_torch_is_left_as_it_was_found(data: Dataset, split: Split, learner: Learner) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    mode = torch.get_deterministic_debug_mode()

    train_month(data, split, changed(learner, max_epochs=1, seeds=(0,)))

    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_deterministic_debug_mode() == mode


def test_a_kernel_without_a_deterministic_form_is_refused() -> None:
    values, places = torch.nn.functional.max_pool1d(torch.ones(1, 1, 4), 2, return_indices=True)
    torch.nn.functional.max_unpool1d(values, places, 2)  # elsewhere it is not

    with (
        reproducible(1, torch.device("cpu")),
        pytest.raises(RuntimeError, match="does not have a deterministic implementation"),
    ):
        torch.nn.functional.max_unpool1d(values, places, 2)


def test_what_the_caller_draws_between_epochs_does_not_matter(
    data: Dataset, split: Split, learner: Learner, trained: TrainedMonth
) -> None:
    def disturb(seed: int, epoch: Epoch) -> None:
        torch.manual_seed(seed + epoch.number)

    assert fingerprint(train_month(data, split, learner, on_epoch=disturb)) == fingerprint(trained)


IN_ANOTHER_PROCESS = """
import sys
sys.path[:0] = [{tests!r}]
import conftest as c, test_month as t
from alpha_assets.training.month import train_month
split = c.split.__wrapped__()
learner = c.learner.__wrapped__()
print(t.fingerprint(train_month(c.build_dataset(*c.planted()), split, learner)))
print("torch._dynamo" in sys.modules)
"""


def test_another_process_gives_the_same_bits_without_the_compiler(trained: TrainedMonth) -> None:
    code = IN_ANOTHER_PROCESS.format(tests=str(Path(__file__).parent))
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )

    assert ran.stdout.split() == [fingerprint(trained), "False"], ran.stderr


class Killed(Exception):
    """Stands for the end of the process."""


def resume(folder: Path) -> Scratch:
    """Return the place of resume states in a storage."""
    return Store(str(folder)).scratch("resume")


@pytest.mark.parametrize("stop", [(0, 1), (0, 3), (1, 1)])
def test_an_interrupted_month_goes_on_with_the_same_bits(
    stop: tuple[int, int],
    data: Dataset,
    split: Split,
    learner: Learner,
    trained: TrainedMonth,
    tmp_path: Path,
) -> None:
    def kill(seed: int, epoch: Epoch) -> None:
        if (seed, epoch.number) == stop:
            raise Killed

    with pytest.raises(Killed):
        train_month(data, split, learner, state=resume(tmp_path), identity="a", on_epoch=kill)
    ran: list[tuple[int, int]] = []
    resumed = train_month(
        data,
        split,
        learner,
        state=resume(tmp_path),
        identity="a",
        on_epoch=lambda seed, epoch: ran.append((seed, epoch.number)),
    )

    assert fingerprint(resumed) == fingerprint(trained)
    assert stop not in ran
    assert min(ran) > stop


def test_the_state_of_another_recipe_is_not_taken_up(
    data: Dataset, split: Split, learner: Learner, tmp_path: Path
) -> None:
    short = changed(learner, seeds=(0,), max_epochs=2)
    numbers: list[int] = []

    def note(seed: int, epoch: Epoch) -> None:
        numbers.append(epoch.number)

    train_month(data, split, short, state=resume(tmp_path), identity="a", on_epoch=note)
    train_month(data, split, short, state=resume(tmp_path), identity="a", on_epoch=note)
    train_month(data, split, short, state=resume(tmp_path), identity="b", on_epoch=note)
    wider = changed(short, clip=9.0)
    train_month(data, split, wider, state=resume(tmp_path), identity="b", on_epoch=note)

    assert numbers == [1, 2] * 3
    assert [path.name for path in (tmp_path / "_tmp/resume").iterdir()] == ["seed=0.safetensors"]


def test_a_broken_state_is_named(
    data: Dataset, split: Split, learner: Learner, tmp_path: Path
) -> None:
    resume(tmp_path).document("seed=0.safetensors").write(b"half a file")

    with pytest.raises(StorageError, match=r"seed=0.safetensors.*delete it"):
        train_month(data, split, learner, state=resume(tmp_path))


@pytest.fixture
def state(data: Dataset, split: Split, learner: Learner, tmp_path: Path) -> Path:
    """The state of a seed after its only epoch."""
    short = changed(learner, seeds=(0,), max_epochs=1)
    train_month(data, split, short, state=resume(tmp_path), identity="a")
    return tmp_path / "_tmp" / "resume" / "seed=0.safetensors"


def rewrite(path: Path, tensors: dict[str, torch.Tensor], **metadata: str) -> None:
    """Write a state with other tensors or another header."""
    with safetensors.safe_open(path, framework="pt") as file:
        kept = file.metadata()
    path.write_bytes(save({**load(path.read_bytes()), **tensors}, metadata={**kept, **metadata}))


@pytest.mark.parametrize("part", ["model.", "best.", "optimizer.", "randomness.", "shuffle"])
def test_a_state_with_a_flipped_bit_is_refused(
    data: Dataset, split: Split, learner: Learner, state: Path, part: str
) -> None:
    tensors = load(state.read_bytes())
    name = next(name for name in sorted(tensors) if name.startswith(part))
    tensors[name].view(-1).view(torch.uint8)[0] ^= 1
    rewrite(state, {name: tensors[name]})

    short = changed(learner, seeds=(0,), max_epochs=1)
    with pytest.raises(StorageError, match=r"seed=0.*is not what was written.*delete it to train"):
        train_month(data, split, short, state=resume(state.parents[2]), identity="a")


@pytest.mark.parametrize("missing", ["identity", "epochs", "seal"])
def test_a_state_without_a_part_of_its_header_is_refused_by_name(
    data: Dataset, split: Split, learner: Learner, state: Path, missing: str
) -> None:
    with safetensors.safe_open(state, framework="pt") as file:
        told = json.loads(file.metadata()["state"])
    told.pop(missing, None)
    more = {"seal": ""} if missing == "seal" else {}
    rewrite(state, {}, state=json.dumps(told), **more)

    short = changed(learner, seeds=(0,), max_epochs=1)
    with pytest.raises(StorageError, match=r"seed=0.*state of training.*delete it to train"):
        train_month(data, split, short, state=resume(state.parents[2]), identity="a")


def test_the_state_of_another_seed_is_not_taken_up(
    data: Dataset,
    split: Split,
    learner: Learner,
    state: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    state.rename(state.with_name("seed=1.safetensors"))
    ran: list[int] = []

    train_month(
        data,
        split,
        changed(learner, seeds=(1,), max_epochs=1),
        state=resume(state.parents[2]),
        identity="a",
        on_epoch=lambda seed, epoch: ran.append(epoch.number),
    )

    assert ran == [1]
    assert "the state of another run is not taken up" in caplog.text


def test_a_folder_that_cannot_be_written_is_named(
    data: Dataset, split: Split, learner: Learner, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")

    with pytest.raises(StorageError, match="state of training"):
        train_month(data, split, learner, state=resume(tmp_path / "taken"))


def test_seeds_differ(trained: TrainedMonth) -> None:
    one, other = (seed.weights["head.weight_HE"] for seed in trained.seeds)

    assert not torch.equal(one, other)


def test_two_seeds_with_one_history_are_a_blind_metric(
    data: Dataset, split: Split, learner: Learner
) -> None:
    with pytest.raises(DegenerateModel, match="seeds 3 and 3 have the same validation rank IC"):
        train_month(data, split, changed(learner, seeds=(3, 3), max_epochs=1))


def test_a_warm_start_begins_between_the_parent_and_fresh_weights(
    data: Dataset, split: Split, learner: Learner, trained: TrainedMonth
) -> None:
    parent = {seed.seed: seed.weights for seed in trained.seeds}
    first: list[float] = []

    def note(seed: int, epoch: Epoch) -> None:
        first.append(epoch.valid_rank_ic)

    once = changed(learner, max_epochs=1, learning_rate=1e-12, warm_shrink=1.0)
    train_month(data, split, once, parent=parent, on_epoch=note)

    assert first == pytest.approx([seed.valid_rank_ic for seed in trained.seeds], abs=1e-6)
    with pytest.raises(BadInput, match=r"has seeds \[0\], not 1"):
        train_month(data, split, once, parent={0: parent[0]})


def test_a_month_without_history_is_refused(data: Dataset, split: Split, learner: Learner) -> None:
    short = Split(**{**split.__dict__, "status": "not_enough_history", "first_month": "2020-09"})

    with pytest.raises(RangeError, match="first month with enough is 2020-09"):
        train_month(data, short, learner)


def test_fewer_than_ten_labelled_names_are_refused(
    data: Dataset, split: Split, learner: Learner
) -> None:
    poor = data.return_DNH.copy()
    poor[data.places(split.valid, 1), 9:] = np.nan
    few = Dataset(**{**data.__dict__, "return_DNH": poor})

    with pytest.raises(BadInput, match="no validation session has 10 names"):
        train_month(few, split, learner)


@pytest.mark.parametrize(
    ("month", "every", "wanted"),
    [("2020-03", 1, "2020-03"), ("2020-03", 3, "2020-02"), ("2020-05", 3, "2020-05"),
     ("2021-01", 3, "2020-11"), ("2020-02", 3, "2020-02")],
)  # fmt: skip
def test_months_between_point_at_the_last_retrained_one(
    month: str, every: int, wanted: str
) -> None:
    assert model_month(month, "2020-02", every) == wanted


@pytest.mark.parametrize(
    ("month", "every", "wanted"),
    [("2020-02", 1, None), ("2020-03", 1, "2020-02"), ("2021-01", 1, None),
     ("2021-02", 1, "2021-01"), ("2020-05", 3, "2020-02"), ("2021-02", 3, None)],
)  # fmt: skip
def test_a_warm_chain_starts_cold_each_year(month: str, every: int, wanted: str | None) -> None:
    spec = TrainingSpec(warm_start=True, retrain_every=every)

    assert parent_month(month, "2020-02", spec) == wanted
    assert parent_month(month, "2020-02", TrainingSpec(retrain_every=every)) is None


def test_the_rate_warms_up_and_falls_to_nothing() -> None:
    spec = OptimiserSpec(learning_rate=1.0, warmup_share=0.1)

    rates = [learning_rate(step, 100, spec) for step in range(100)]

    assert rates[:10] == pytest.approx([0.1 * (k + 1) for k in range(10)])
    assert max(rates) == 1.0
    assert all(a >= b for a, b in pairwise(rates[9:]))
    assert rates[-1] < 0.01
