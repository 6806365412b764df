"""What a score is made of: by hand, against the library's own, and with faults planted."""

from collections.abc import Mapping
from dataclasses import replace

import lightgbm
import numpy as np
import pytest
import torch
from torch import Tensor

from alpha_assets.code import reached
from alpha_assets.dataset import Fold, Split
from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.models import LinearSpec, NeighbourMeanSpec, RankerSpec, TransformerSpec
from alpha_assets.models.base import Ranker
from alpha_assets.training import GuardSpec, Learner, TrainingSpec, WindowSpec, attribution
from alpha_assets.training.attribution import METHODS, Parts, attribute, of_networks, of_ridge
from alpha_assets.training.checkpoint import Checkpoint, checkpoint_files, checkpoint_of, make_card
from alpha_assets.training.estimators import ESTIMATORS
from alpha_assets.training.month import train_month
from alpha_assets.training.ridge import RidgeModel
from alpha_assets.training.specs.ridge import RidgeSpec
from alpha_assets.training.specs.trees import TreesSpec
from alpha_assets.training.trees import inputs

SIZES = Sizes(n_features=3, n_market=2, steps=4, n_horizons=2, n_symbols=5, n_neighbours=2)
ME = 1  # the symbol whose score is attributed


def section(n_symbols: int = 5) -> Batch:
    """One session, a step without a row among those of the symbol asked for."""
    draw = torch.Generator().manual_seed(5)
    valid_BNT = torch.ones(1, n_symbols, SIZES.steps, dtype=torch.bool)
    valid_BNT[0, ME, 1] = False
    x_BNTF = torch.randn(1, n_symbols, SIZES.steps, SIZES.n_features, generator=draw)
    x_BNTF[0, ME, 1] = torch.nan  # what is not known may hold anything
    places = torch.arange(n_symbols)
    return Batch(
        x_BNTF=x_BNTF,
        valid_BNT=valid_BNT,
        mask_BN=torch.ones(1, n_symbols, dtype=torch.bool),
        symbol_id_N=places + 1,
        sector_id_BN=torch.ones(1, n_symbols, dtype=torch.long),
        market_BTM=torch.randn(1, SIZES.steps, SIZES.n_market, generator=draw),
        edges_BNK=torch.stack([places.roll(-1), places.roll(-2)], dim=-1)[None],
        edge_weight_BNK=torch.tensor([3.0, 1.0]).expand(1, n_symbols, 2),
    )


def fresh(spec: RankerSpec) -> Ranker:
    torch.manual_seed(3)
    return spec.build(SIZES).eval()


def score_H(model: Ranker, batch: Batch) -> np.ndarray:
    with torch.no_grad():
        return model(batch)[0, ME].double().numpy()


def test_ridge_by_hand() -> None:
    # β = 2, -1 and 0 at the first horizon, 0, 1 and 3 at the second; x = 0.5, 4 and -1.
    beta_HF = torch.tensor([[2.0, -1.0, 0.0], [0.0, 1.0, 3.0]], dtype=torch.float64)
    batch = section()
    batch.x_BNTF[0, ME, -1] = torch.tensor([0.5, 4.0, -1.0])

    (parts,) = of_ridge([RidgeModel(beta_HF)], batch, ME).parts

    assert parts.own_HF.tolist() == [[1.0, -4.0, 0.0], [0.0, 4.0, -3.0]]
    assert parts.base_H.tolist() == [0.0, 0.0]
    assert parts.total_H.tolist() == [-3.0, 1.0]
    assert not parts.market_HM.any()
    assert not parts.others_H.any()


def test_a_line_s_integrated_gradients_are_weight_times_value() -> None:
    model, batch = fresh(LinearSpec()), section()
    found = of_networks([model], batch, ME)

    (parts,) = found.parts
    weight_HF = model.state_dict()["head.weight_HE"].double().numpy()
    by_hand_HF = weight_HF * batch.x_BNTF[0, ME, -1].double().numpy()
    np.testing.assert_allclose(parts.own_HF, by_hand_HF, rtol=1e-6)
    assert found.method == ("integrated gradients, 8 steps (Gauss-Legendre) from all inputs at 0")
    assert not parts.market_HM.any()
    assert not parts.others_H.any()


def test_the_mean_of_neighbours_is_what_other_names_add() -> None:
    # Neighbours of weight 3 and 1: their part is w · (3 x₁ + x₂) / 4 of the second half of w.
    model, batch = fresh(NeighbourMeanSpec()), section()
    (parts,) = of_networks([model], batch, ME).parts

    weight_HE = model.state_dict()["head.weight_HE"].double().numpy()
    x_NF = batch.x_BNTF[0, :, -1].double().numpy()
    mean_F = (3 * x_NF[ME + 1] + x_NF[ME + 2]) / 4
    np.testing.assert_allclose(parts.own_HF, weight_HE[:, :3] * x_NF[ME], rtol=1e-5)
    np.testing.assert_allclose(parts.others_H, weight_HE[:, 3:] @ mean_F, rtol=1e-5)


@pytest.mark.parametrize("quantiles", [(), (0.1, 0.5, 0.9)])
def test_a_transformer_s_parts_add_up_to_its_score_and_no_other_name_is_in_it(
    quantiles: tuple[float, ...],
) -> None:
    model = fresh(TransformerSpec(d_model=8, layers=2, heads=2, quantiles=quantiles))
    batch = section()
    found = of_networks([model], batch, ME)

    (parts,) = found.parts
    silent = replace(
        batch,
        x_BNTF=torch.zeros_like(batch.x_BNTF),
        market_BTM=torch.zeros_like(batch.market_BTM),
    )
    assert found.method.startswith("integrated gradients")
    np.testing.assert_array_equal(parts.base_H, score_H(model, silent))
    gap_H = np.abs(parts.total_H - score_H(model, batch))
    assert (gap_H <= 1e-3 * parts.moved_H).all()
    assert (np.abs(parts.own_HF) > 0).all()
    assert (np.abs(parts.market_HM) > 0).all()
    assert parts.others_H.tolist() == [0.0, 0.0]


def test_more_steps_are_taken_where_few_do_not_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = fresh(TransformerSpec(d_model=8, layers=2, heads=2)), section()
    monkeypatch.setattr(attribution, "STEPS", (1, 16))
    assert "gradients, 16 steps" in of_networks([model], batch, ME).method

    # One step is the gradient half-way times the value: of a curve that is not its rise.
    monkeypatch.setattr(attribution, "STEPS", (1,))
    assert of_networks([model], batch, ME).method.startswith("occlusion")


class Stepped(Ranker):
    """Counts by whole numbers, which have no gradient: 1 for x > ½, and the product of two."""

    def stages(self, batch: Batch) -> Mapping[str, Tensor]:
        on_BNF = batch.x_BNTF[:, :, -1].round()
        own_BN = on_BNF[..., 0] + on_BNF[..., 1] * on_BNF[..., 2]
        others_B1 = on_BNF[..., 0].sum(-1, keepdim=True) - on_BNF[..., 0]
        return {"head": (own_BN + 10 * others_B1)[..., None].expand(-1, -1, 2)}


def test_occlusion_by_hand_where_gradients_vanish() -> None:
    # Score 1 + 1 · 1 + 10 · 2 of two other names.  Without the first column 1 is lost, without the
    # second or the third the product each time, without the others 20: one of the two 1s of the
    # product is in the base and the parts once too often.
    batch = section(3)
    x_BNTF = torch.ones(1, 3, SIZES.steps, SIZES.n_features)
    found = of_networks([Stepped()], replace(batch, x_BNTF=x_BNTF), ME)

    (parts,) = found.parts
    assert found.method == (
        "occlusion: the score less that with one input at 0 (integrated gradients of 256 steps do "
        "not add up)"
    )
    assert parts.own_HF.tolist() == [[1.0, 1.0, 1.0]] * 2
    assert parts.others_H.tolist() == [20.0, 20.0]
    assert parts.base_H.tolist() == [0.0, 0.0]
    assert parts.total_H.tolist() == [23.0, 23.0]


class OfVectors(Ranker):
    """Twice the sum of a symbol's own raw vector, and once those of all names."""

    def stages(self, batch: Batch) -> Mapping[str, Tensor]:
        sum_BN = batch.vectors_BNV["news"].sum(-1)
        return {"head": (2 * sum_BN + sum_BN.sum(-1, keepdim=True))[..., None].expand(-1, -1, 2)}


def test_a_raw_vector_is_one_input_and_others_vectors_are_other_names() -> None:
    vectors_BNV = {"news": torch.tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])}
    (parts,) = of_networks([OfVectors()], replace(section(3), vectors_BNV=vectors_BNV), ME).parts
    np.testing.assert_allclose(parts.vectors_H["news"], [3 * 7.0] * 2)
    np.testing.assert_allclose(parts.others_H, [3.0 + 11.0] * 2)


def stored(data: Dataset, split: Split, learner: Learner) -> Checkpoint:
    """Return a month's models as they are read back."""
    trained = train_month(data, split, learner)
    card = make_card(
        trained,
        data.axes,
        split,
        market="sim",
        recipe="small",
        digest="0123456789ab",
        data_hash="ab",
        resolved_recipe={},
        embargo_sessions=0,
    )
    return checkpoint_of(checkpoint_files(trained, card), "small")


def of_trees() -> Learner:
    return Learner(
        model=TreesSpec(
            num_leaves=5, min_data_in_leaf=10, max_rounds=10, judge_every=5, patience_rounds=10
        ),
        window=WindowSpec(sequence=1),
        guard=GuardSpec(rank_ic_max=1.0, distinct_min=0.0, modal_max=1.0),
        training=TrainingSpec(seeds=(0, 1)),
    )


@pytest.fixture(scope="module")
def trees(data: Dataset, split: Split) -> Checkpoint:
    return stored(data, split, of_trees())


def test_trees_are_the_library_s_own_values_averaged_over_seeds(
    trees: Checkpoint, data: Dataset, split: Split
) -> None:
    batch, _ = data.cross_section(split.valid[-1], 1)
    found = attribute(trees, batch, ME)

    x_1F = inputs(batch)[0, ME][None]
    raw, shap = [], []
    for folder in ("seed=0", "seed=1"):
        booster = lightgbm.Booster(model_str=trees.texts[folder]["h=2.txt"].decode())
        raw.append(booster.predict(x_1F, raw_score=True)[0])
        shap.append(booster.predict(x_1F, pred_contrib=True)[0])
    assert raw[0] != raw[1]
    assert found.n_models == 2
    np.testing.assert_allclose(found.parts.own_HF[0], np.mean(shap, axis=0)[:-1])
    np.testing.assert_allclose(found.parts.base_H, np.mean(shap, axis=0)[-1:])
    np.testing.assert_allclose(found.parts.total_H, np.mean(raw))
    assert found.adds_up_H.all()
    assert np.abs(found.parts.own_HF[0]).argmax() == 0, "the planted column leads"


def test_seeds_of_a_network_are_averaged_as_their_scores_are(
    data: Dataset, split: Split, learner: Learner
) -> None:
    spec = learner.training.model_copy(update={"max_epochs": 1})
    checkpoint = stored(data, split, learner.model_copy(update={"training": spec}))
    batch, _ = data.cross_section(split.valid[-1], learner.window.sequence)
    found = attribute(checkpoint, batch, ME)

    alone = of_networks(checkpoint.models, batch, ME).parts  # type: ignore[arg-type]
    assert found.n_models == len(alone) == 2
    np.testing.assert_allclose(found.parts.own_HF, (alone[0].own_HF + alone[1].own_HF) / 2)
    assert found.adds_up_H.all()
    assert (np.abs(found.gap_H) < 1e-3 * found.parts.moved_H).all()


def negated(parts: Parts) -> Parts:
    return replace(parts, own_HF=-parts.own_HF)


def without_base(parts: Parts) -> Parts:
    return replace(parts, base_H=np.zeros_like(parts.base_H))


@pytest.mark.parametrize("fault", [negated, without_base])
def test_a_fault_shows_as_a_gap(
    fault: object, trees: Checkpoint, data: Dataset, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, _ = data.cross_section(split.valid[-1], 1)
    clean = METHODS["trees"]

    def faulty(models: object, batch: Batch, place: int) -> attribution.Found:
        found = clean(models, batch, place)
        return replace(found, parts=tuple(fault(one) for one in found.parts))  # type: ignore[operator]

    monkeypatch.setattr(attribution, "METHODS", {**METHODS, "trees": faulty})
    found = attribute(trees, batch, ME)
    assert not found.adds_up_H.any()
    assert (np.abs(found.gap_H) > found.allowed_H).all()


def test_folds_of_ridge_are_averaged(data: Dataset, split: Split) -> None:
    blocks = tuple(Fold(key=str(k), train=split.train[k::2], valid=split.valid) for k in range(2))
    learner = Learner(
        model=RidgeSpec(), window=WindowSpec(sequence=1), guard=GuardSpec(rank_ic_max=1.0)
    )
    checkpoint = stored(data, replace(split, blocks=blocks), learner)
    batch, _ = data.cross_section(split.valid[-1], 1)
    found = attribute(checkpoint, batch, ME)

    betas = [one.beta_HF.numpy() for one in checkpoint.models]  # type: ignore[attr-defined]
    x_F = batch.x_BNTF[0, ME, -1].double().numpy()
    assert len(betas) == 2
    np.testing.assert_allclose(found.parts.own_HF, (betas[0] + betas[1]) / 2 * x_F)
    assert found.adds_up_H.all()


def test_every_estimator_has_a_method_and_no_stage_reaches_one() -> None:
    assert {*METHODS} == {*ESTIMATORS}
    stages = ("checkpoint:make_model", "predictions:make_scores")
    for stage in stages:
        code = reached(f"alpha_assets.pipeline.{stage}")
        assert any(name.startswith("alpha_assets.training.estimator") for name in code)
        assert not [name for name in code if "attribution" in name]
