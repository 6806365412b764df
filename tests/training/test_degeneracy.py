"""The guard: every fault that it is there for is planted here, and a healthy model passes."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from alpha_assets.dataset import Split
from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.errors import DegenerateModel
from alpha_assets.models import NeighbourMeanSpec, TransformerSpec
from alpha_assets.models.base import Ranker
from alpha_assets.training import GuardSpec, Learner
from alpha_assets.training.degeneracy import check_rank_ic, check_scores, score_statistics
from alpha_assets.training.fit import Fitting, fit
from alpha_assets.training.gradient_monitor import GradientWatch
from alpha_assets.training.month import train_month
from alpha_assets.training.preflight import check_labels, check_model

GUARD = GuardSpec()
D, N = 16, 50
MASK = np.ones((D, N), dtype=bool)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((D, N))


def rounded_to_bf16(x: np.ndarray) -> np.ndarray:
    return torch.from_numpy(x).bfloat16().double().numpy()


def judged(score_DN: np.ndarray) -> tuple[str, ...]:
    return check_scores(score_statistics(score_DN, MASK), GUARD, "epoch 1, horizon 5")


def test_healthy_scores_pass_at_any_scale() -> None:
    assert judged(noise()) == ()
    assert judged(5e-4 * noise()) == ()  # what a good regression of daily returns looks like


@pytest.mark.parametrize(
    ("score_DN", "statistic"),
    [
        (np.full((D, N), 0.3), "spread"),
        (0.3 + 1e-7 * noise(), "spread"),
        (0.3 + 1e-4 * noise(), "relative_spread"),
        (np.tile(10 * noise()[:, :1], (1, N)) + noise(), "within_share"),
        (rounded_to_bf16(1 + 0.01 * noise()), "distinct"),
        (np.where(noise() < -0.6, -1.0, noise(1)), "modal"),
        (np.tanh(60 * noise()).round(6), "distinct"),
        (np.where(MASK, np.nan, 0.0), "nonfinite"),
    ],
    ids=["constant", "constant+noise", "nearly constant", "date effect", "bf16", "tie",
         "saturated", "nan"],
)  # fmt: skip
def test_sick_scores_are_stopped(score_DN: np.ndarray, statistic: str) -> None:
    with pytest.raises(DegenerateModel, match=rf"epoch 1, horizon 5: {statistic} = .*try: "):
        judged(score_DN)


def test_one_score_that_is_no_number_is_enough() -> None:
    score_DN = noise()
    score_DN[3, 4] = np.inf

    with pytest.raises(DegenerateModel, match="nonfinite"):
        judged(score_DN)


def test_masked_scores_are_not_judged() -> None:
    score_DN = noise()
    mask_DN = np.random.default_rng(1).random((D, N)) > 0.3
    odd_DN = np.where(mask_DN, score_DN, np.nan)

    plain, odd = (score_statistics(s, mask_DN) for s in (score_DN, odd_DN))

    assert plain == odd


def test_scores_that_never_change_are_warned_of() -> None:
    (warning,) = judged(np.tile(noise()[:1], (D, 1)))

    assert "rank_autocorrelation = 1.0000" in warning


def ic_of(mean: float, n_symbols: int, horizon: int) -> tuple[str, ...]:
    return check_rank_ic(
        np.full(42, mean), np.full(42, float(n_symbols)), horizon, GUARD, "epoch 2, horizon 10"
    )


def test_a_rank_ic_that_is_too_good_stops_the_month() -> None:
    assert ic_of(0.10, 300, 10) == ()
    assert "a leak, or luck" in ic_of(0.20, 300, 10)[0]
    with pytest.raises(DegenerateModel, match=r"rank_ic = 0.3, want at most 0.15 \+ 2 standard"):
        ic_of(0.30, 300, 10)


def test_fourteen_names_may_be_lucky() -> None:
    assert "luck" in ic_of(0.40, 14, 10)[0]
    with pytest.raises(DegenerateModel):
        ic_of(0.40, 300, 1)


class Faulty(Ranker):
    """A healthy two-layer model with one fault built in."""

    def __init__(self, n_features: int, n_horizons: int) -> None:
        super().__init__()
        self.first = nn.Linear(n_features, 8)
        self.second = nn.Linear(8, 8)
        self.head = nn.Linear(8, n_horizons)

    def last(self, batch: Batch) -> Tensor:
        return batch.x_BNTF[:, :, -1]

    def middle(self, h: Tensor) -> Tensor:
        return torch.tanh(h)

    def stages(self, batch: Batch) -> Mapping[str, Tensor]:
        x = self.last(batch)
        first = self.middle(self.first(x))
        second = torch.tanh(self.second(first))
        return {"input": x, "first": first, "second": second, "head": self.head(second)}


class ZeroTail(Faulty):
    """Reads an encoding whose last step is always zero."""

    def last(self, batch: Batch) -> Tensor:
        return torch.zeros_like(batch.x_BNTF[:, :, -1])


class DeadLayer(Faulty):
    """Its first layer says the same of every symbol."""

    def middle(self, h: Tensor) -> Tensor:
        return h.mean(dim=1, keepdim=True).expand_as(h) + 1e-6 * h


class ConstantHead(Faulty):
    """Its head has no weights."""

    def __init__(self, n_features: int, n_horizons: int) -> None:
        super().__init__(n_features, n_horizons)
        self.head.weight.data.zero_()
        self.head.weight.requires_grad_(False)


class Saturated(Faulty):
    """Its scores have only two values."""

    def stages(self, batch: Batch) -> Mapping[str, Tensor]:
        return {**super().stages(batch), "head": torch.tanh(3000 * super().stages(batch)["head"])}


class NotANumber(Faulty):
    """Divides by zero after some steps."""

    def middle(self, h: Tensor) -> Tensor:
        return h / 0.0


class DateEffect(Faulty):
    """Tells sessions apart, and symbols hardly."""

    def stages(self, batch: Batch) -> Mapping[str, Tensor]:
        stages = dict(super().stages(batch))
        stages["head"] = stages["head"] + 1e3 * batch.x_BNTF[:, :, -1].mean((1, 2))[:, None, None]
        return stages


class MixesPlaces(Faulty):
    """Lets each symbol see its neighbour on the axis."""

    def last(self, batch: Batch) -> Tensor:
        x = batch.x_BNTF[:, :, -1]
        return x + x.roll(1, dims=1)


def epochs_of(model: Ranker, data: Dataset, split: Split, learner: Learner) -> list[object]:
    fitting = Fitting.start(model, data, learner, seed=0)
    places = (
        torch.from_numpy(data.places(s, learner.window.sequence))
        for s in (split.train, split.valid)
    )
    return list(fit(fitting, data, *places, learner))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (ZeroTail, r"epoch 1, layer 'input': spread over symbols = 0, want at least 0.001"),
        (DeadLayer, r"epoch 1, layer 'first': spread over symbols = .*before 'first'"),
        (ConstantHead, r"epoch 1, horizon 2: spread = 0"),
        (Saturated, r"epoch 1, horizon 2: (distinct|modal) = "),
        (DateEffect, r"epoch 1, horizon 2: within_share = "),
        (NotANumber, r"step 1, sessions 2020-.*layer 'first': loss = nan, want a finite number"),
    ],
)
def test_a_fault_in_the_model_is_stopped_and_named(
    fault: type[Faulty], words: str, data: Dataset, split: Split, learner: Learner
) -> None:
    torch.manual_seed(0)

    with pytest.raises(DegenerateModel, match=words):
        epochs_of(fault(5, 1), data, split, learner)


def test_the_same_model_without_a_fault_passes(
    data: Dataset, split: Split, learner: Learner
) -> None:
    torch.manual_seed(0)

    assert len(epochs_of(Faulty(5, 1), data, split, learner)) == 4


@pytest.mark.parametrize(
    ("fault", "words"), [(ZeroTail, "zero tail"), (MixesPlaces, "change under permutation")]
)
def test_a_model_that_cannot_rank_never_starts(
    fault: type[Faulty], words: str, data: Dataset
) -> None:
    torch.manual_seed(0)
    batch = data.windows(torch.tensor([5]), 3)

    check_model(Faulty(5, 1), batch)
    with pytest.raises(DegenerateModel, match=words):
        check_model(fault(5, 1), batch)


def test_edges_that_stay_where_they_were_are_no_permutation(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each symbol has the next one as its only neighbour.
    torch.manual_seed(0)
    model = NeighbourMeanSpec().build(replace(data.sizes(3), n_neighbours=1))
    next_N = torch.arange(len(data.axes.symbols)).roll(-1)
    batch = replace(
        data.windows(torch.tensor([5]), 3),
        edges_BNK=next_N[None, :, None],
        edge_weight_BNK=torch.ones(1, len(next_N), 1),
    )

    check_model(model, batch)
    plain = Batch.permuted
    monkeypatch.setattr(
        Batch,
        "permuted",
        lambda of, order_N: replace(plain(of, order_N), edges_BNK=of.edges_BNK),
    )
    with pytest.raises(DegenerateModel, match="change under permutation"):
        check_model(model, batch)


def test_the_month_asks_the_guard(
    data: Dataset, split: Split, learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TransformerSpec, "build", lambda spec, sizes: ConstantHead(5, 1))

    with pytest.raises(DegenerateModel, match="zero tail"):
        train_month(data, split, learner)


Change = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (x, 50 * x[..., 2].astype(float)), "feature 'f2_cs_z': correlation with"),
        (lambda x, y: (x, -x[..., 1] + 0.1 * y), "feature 'f1_cs_z': correlation with"),
        (lambda x, y: (x, np.full_like(y, 0.01)), "no spread"),
        (lambda x, y: (x, np.where(y > 0.01, y, 0.0)), "share of one value"),
        (lambda x, y: (x, (y - y.min()) / np.ptp(y)), r"ranks in \[0, 1\]"),
    ],
    ids=["equal", "nearly equal", "constant", "tied", "ranks"],
)
def test_labels_that_cannot_be_forward_returns_are_refused(
    change: Change, words: str, data: Dataset, build: Callable[..., Dataset], split: Split
) -> None:
    faulty = build(*change(data.x_DNF.numpy(), data.return_DNH[..., 0]))
    places = torch.from_numpy(data.places(split.train, 3))

    check_labels(data, places, GUARD)
    with pytest.raises(DegenerateModel, match=words):
        check_labels(faulty, places, GUARD)


def a_watch(inside: str = "") -> GradientWatch:
    model = nn.Sequential()
    model.add_module("used", nn.Linear(2, 2))
    model.add_module("unused", nn.Linear(2, 2))
    if inside:
        outer = nn.Sequential()
        outer.add_module(inside, model)
        model = outer
    sessions = np.datetime64("2020-01-01") + np.arange(4)
    return GradientWatch(model, GUARD, sessions)


def test_an_explosion_is_named_with_its_sessions() -> None:
    watch = a_watch()
    for _ in range(40):
        watch.step(torch.tensor(1.0), torch.tensor(0.5), torch.tensor([0]))
    watch.step(torch.tensor(1.0), torch.tensor(51.0), torch.tensor([1, 3]))

    with pytest.raises(DegenerateModel, match=r"step 41, sessions 2020-01-02, 2020-01-04: grad"):
        watch.look()


@pytest.mark.parametrize("inside", ["", "trunk"])
def test_a_layer_without_gradient_is_named_after_two_hundred_steps(inside: str) -> None:
    watch = a_watch(inside)

    def steps(n: int) -> None:
        for _ in range(n):
            watch.step(torch.tensor(1.0), torch.tensor(0.5), torch.tensor([0]))

    used = watch.model.get_submodule(f"{inside}.used" if inside else "used")
    for parameter in used.parameters():
        parameter.grad = torch.ones_like(parameter)
    steps(199)
    with pytest.raises(DegenerateModel, match="layer 'unused': gradient norm / weight norm = 0"):
        steps(1)
