"""Every switch of the model is one, and none hides the decision session from the encoder."""

from dataclasses import replace

import pytest
import torch
from tests.models.test_contract import SIZES, made, noise

from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.errors import BadInput
from alpha_assets.models import AtftGatFanSpec
from alpha_assets.models.atft_gat_fan import AtftGatFanRanker
from alpha_assets.models.base import Ranker
from alpha_assets.models.graph_attention import (
    GraphAttention,
    GraphFusion,
    StepValues,
    edges_of,
    neighbours_alone,
)

NORMS = ("none", "causal", "fan")


def spec(**changes: object) -> AtftGatFanSpec:
    return AtftGatFanSpec(d_model=8, dropout=0.0).model_copy(update=changes)


def opened(model: Ranker) -> Ranker:
    """Return a model whose causal norm is not the identity any more."""
    if getattr(model, "scales", None) is not None:
        with torch.no_grad():
            model.scales.gate_E.fill_(1.0)  # type: ignore[union-attr, operator]
    return model


@pytest.mark.parametrize("norm", NORMS)
def test_the_last_step_of_what_the_encoder_sees_differs_across_symbols(norm: str) -> None:
    batch = noise(n_symbols=7)
    for model in (made(spec(norm=norm)), opened(made(spec(norm=norm)))):
        encoded_BNE = model.stages(batch)["encoded"]
        seen_CE = encoded_BNE[batch.mask_BN]
        assert (seen_CE.abs().amax(-1) > 1e-2).all()
        assert (seen_CE.std(0) > 1e-2).all()


@pytest.mark.parametrize("norm", NORMS)
def test_the_decision_session_moves_what_the_encoder_sees_of_its_own_symbol(norm: str) -> None:
    batch, model = noise(), opened(made(spec(norm=norm)))
    assert bool(batch.mask_BN[0, 1])
    x_BNTF = batch.x_BNTF.clone()
    x_BNTF[0, 1, -1] += 1.0

    before = model.stages(batch)["encoded"]
    moved = model.stages(replace(batch, x_BNTF=x_BNTF))["encoded"]

    is_moved_BN = (before != moved).any(-1)
    assert is_moved_BN.nonzero().tolist() == [[0, 1]]


@pytest.mark.parametrize("norm", ["none", "causal"])
def test_a_later_step_changes_no_earlier_state(norm: str) -> None:
    batch, model = noise(), opened(made(spec(norm=norm)))
    x_BNTF = batch.x_BNTF.clone()
    x_BNTF[:, :, 2:] = 99.0

    before = model.encode(batch)  # type: ignore[operator]
    after = model.encode(replace(batch, x_BNTF=x_BNTF))  # type: ignore[operator]

    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.equal(before[:, 2:], after[:, 2:])


def test_the_norms_are_three_models() -> None:
    scores = [opened(made(spec(norm=norm)))(noise()) for norm in NORMS]
    assert not torch.equal(scores[0], scores[1])
    assert not torch.equal(scores[0], scores[2])


def test_with_the_graph_off_no_graph_is_asked_for_and_no_neighbour_is_seen() -> None:
    off = spec(graph=False)
    batch = replace(noise(), edges_BNK=None, edge_weight_BNK=None)
    model = made(off)

    assert not off.reads_graph
    assert spec().reads_graph
    assert torch.isfinite(model(batch)).all()
    assert not any(name.startswith("graph") for name in model.stages(batch))


def test_a_neighbour_moves_a_score_and_a_masked_one_does_not() -> None:
    batch = noise(n_sessions=1)
    full = torch.ones_like(batch.valid_BNT)
    edges = torch.zeros(1, 7, 3, dtype=torch.long)
    weight = torch.zeros(1, 7, 3)
    edges[0, 4, 1], weight[0, 4, 1] = 2, 0.6  # symbol 4 has the neighbour 2, in one of its places
    batch = replace(
        batch,
        valid_BNT=full,
        mask_BN=torch.ones_like(batch.mask_BN),
        edges_BNK=edges,
        edge_weight_BNK=weight,
    )
    x_BNTF = batch.x_BNTF.clone()
    x_BNTF[0, 2] += 1.0
    masked = replace(batch, mask_BN=torch.arange(7)[None] != 2)
    model = made(spec())

    def moved(one: Batch) -> list[int]:
        apart_BN = (model(one) != model(replace(one, x_BNTF=x_BNTF))).any(-1)
        return apart_BN[0].nonzero()[:, 0].tolist()

    assert moved(batch) == [2, 4]
    assert moved(masked) == []


def test_attention_is_the_formula_of_gatv2() -> None:
    batch = noise(n_sessions=1)
    torch.manual_seed(0)
    layer, h_BNE, edges = GraphAttention(8, 2), torch.randn(1, 7, 8), edges_of(batch)
    out_BNE = layer(h_BNE, edges)

    for i in range(7):
        places = edges.place_BNK[0, i][edges.counts_BNK[0, i]].tolist()
        assert places[0] == i
        other = layer.other(h_BNE[0, places])
        feature = edges.feature_BNKD[0, i][edges.counts_BNK[0, i]]
        joint = layer.own(h_BNE[0, i]) + other + layer.edge(feature)
        lrelu = torch.where(joint > 0, joint, 0.2 * joint)
        for head in range(2):
            cut = slice(4 * head, 4 * head + 4)
            share = (lrelu[:, cut] @ layer.score_AE[head]).softmax(0)
            torch.testing.assert_close(out_BNE[0, i, cut], share @ other[:, cut])


def test_edges_have_the_weight_the_sector_and_the_symbol_itself() -> None:
    batch = noise(n_sessions=1, n_symbols=3)
    batch = replace(
        batch,
        mask_BN=torch.tensor([[True, True, False]]),
        sector_id_BN=torch.tensor([[1, 1, 0]]),
        edges_BNK=torch.tensor([[[1, 2, 0], [0, 2, 0], [0, 1, 0]]]),
        edge_weight_BNK=torch.tensor([[[0.5, 0.4, 0.0], [0.5, 0.0, 0.0], [0.4, 0.3, 0.0]]]),
    )
    edges = edges_of(batch)

    assert edges.place_BNK[0, :, 0].tolist() == [0, 1, 2]
    assert edges.counts_BNK[0].tolist() == [
        [True, True, False, False],  # itself, 1; 2 is masked, and the last place is empty
        [True, True, False, False],
        [True, True, True, False],
    ]
    assert edges.feature_BNKD[0, 0, :2].tolist() == [[1.0, 1.0, 1.0], [0.5, 1.0, 0.0]]
    assert edges.feature_BNKD[0, 2, 0].tolist() == [1.0, 0.0, 1.0]  # its sector is not known


def test_what_was_gathered_is_added_at_the_length_of_the_own_state() -> None:
    fusion = GraphFusion(2)
    with torch.no_grad():
        fusion.gate.weight.zero_()
    h_BNE, gathered_BNE = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[0.0, 0.1]]])

    out_BNE = fusion(h_BNE, gathered_BNE)

    gate = 1 / (1 + 2.718281828 ** (0.5 / 1.25))  # sigmoid(-0.4)
    torch.testing.assert_close(out_BNE, torch.tensor([[[3.0, 4.0 + 5.0 * gate]]]))


def test_a_gate_of_what_is_added_as_it_is_starts_half_open() -> None:
    fusion = GraphFusion(2, scaled=False)
    with torch.no_grad():
        fusion.gate.weight.zero_()
    h_BNE, gathered_BNE = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[0.0, 0.1]]])
    torch.testing.assert_close(fusion(h_BNE, gathered_BNE), torch.tensor([[[3.0, 4.05]]]))


def test_uniform_attention_starts_as_the_mean_of_the_neighbours_values() -> None:
    batch = noise(n_sessions=1, n_symbols=4)
    batch = replace(
        batch,
        mask_BN=torch.tensor([[True, True, True, False]]),
        edges_BNK=torch.tensor([[[1, 2, 3], [0, 0, 0], [0, 3, 0], [0, 1, 2]]]),
        edge_weight_BNK=torch.tensor([[[0.5, 0.4, 0.3], [0, 0, 0], [0.4, 0.3, 0], [0.3] * 3]]),
    )
    torch.manual_seed(0)
    layer = GraphAttention(2, 1, uniform=True)
    value_BNE = torch.tensor([[[1.0, 10.0], [2.0, 20.0], [4.0, 40.0], [8.0, 80.0]]])

    out_BNE = layer(torch.randn(1, 4, 2), neighbours_alone(edges_of(batch)), value_BNE)

    wanted = torch.tensor([[3.0, 30.0], [0.0, 0.0], [1.0, 10.0]])  # 3 is masked, 1 has none
    torch.testing.assert_close(out_BNE[0, :3], wanted)
    out_BNE[0, 1].sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in layer.parameters())


def test_values_of_steps_are_a_line_weighed_by_step() -> None:
    values = StepValues(2, 2, steps=3)
    with torch.no_grad():
        values.line.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
        values.step_TE.copy_(torch.tensor([[0.0, 1.0], [2.0, 0.0], [0.0, 0.5]]))
    x_BTNE = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])[None, :, None]
    # Of the steps, the line is (1, 3), (3, 7), (5, 11).
    torch.testing.assert_close(values(x_BTNE), torch.tensor([[[2.0 * 3, 3 + 0.5 * 11]]]))


def test_by_steps_a_symbol_is_not_among_its_own_neighbours() -> None:
    batch = noise(n_sessions=1)
    batch = replace(batch, edge_weight_BNK=torch.zeros_like(batch.edge_weight_BNK))
    model = made(spec())
    stages = model.stages(batch)
    assert torch.equal(stages["graph1"], stages["attention"])
    scaled = made(spec(graph_values="state")).stages(batch)
    assert not torch.equal(scaled["graph1"], scaled["attention"])


def test_neighbours_read_inputs_of_any_step_and_nothing_at_the_start() -> None:
    batch, model = noise(n_sessions=1), made(spec(graph_values="inputs"))
    stages = model.stages(batch)
    assert torch.equal(stages["graph1"], stages["attention"])

    assert isinstance(model, AtftGatFanRanker)
    assert model.values is not None
    with torch.no_grad():
        model.values.step_TE.fill_(1.0)
    stages = model.stages(batch)
    assert not torch.equal(stages["graph1"], stages["attention"])
    with torch.no_grad():  # tokens all alike: neighbours see through them
        model.select.slope_FE.zero_()
        model.select.level_FE.zero_()
        x_BNTF = batch.x_BNTF.clone()
        x_BNTF[:, int(batch.edges_BNK[0, 0, 0]), 0] += 1.0
        moved = model.gives(replace(batch, x_BNTF=x_BNTF), model.embed(batch))
        still = model.gives(batch, model.embed(batch))
    assert moved is not None
    assert still is not None
    assert not torch.equal(moved, still)


def test_the_parameter_count_is_that_of_the_formula() -> None:
    # F 20, d 32, T 12, one horizon, one graph layer of 4 heads, shared selection.
    sizes = Sizes(n_features=20, n_market=0, steps=12, n_horizons=1, n_symbols=0, n_neighbours=5)
    d, f = 32, 20
    grn = 2 * (d * d + d) + 2 * (d * d + d) + 2 * d  # two linear layers, the gate, the norm
    selection = 2 * f * d + (f * d + d) + (d * f + f) + grn
    lstm = 4 * d * (d + d + 2)
    gate = 2 * (d * d + d) + 2 * d
    block = 4 * (d * d + d) + (d * 2 * d + 2 * d) + (2 * d * d + d) + 4 * d
    graph = 2 * (d * d + d) + 3 * d + d
    fusion = 2 * d * d + d
    rest = d + 2 * d + d  # missing, last norm, head

    def count(**changes: object) -> int:
        one = AtftGatFanSpec().model_copy(update=changes)
        return sum(p.numel() for p in one.build(sizes).parameters())

    plain = selection + lstm + gate + block + rest
    assert count(norm="none", graph=False) == plain == 26_196
    state = plain + graph + fusion
    assert count(norm="none", graph_values="state") == state
    assert count(norm="causal", graph_values="state") == state + d + 4  # a gate, 3 windows and x
    assert count(norm="fan", graph_values="state") == state + 8_929  # see `test_normalisation`
    assert count(norm="none") == state + d * d + 12 * d  # a line, and a weight of every step
    assert count(norm="none", graph_values="inputs") == state + f * d + 12 * d


def test_what_cannot_be_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="d_model = 8 is not a multiple of graph_heads = 3"):
        AtftGatFanSpec(d_model=8, graph_heads=3)
    with pytest.raises(ValueError, match=r"windows = \[1, 5\]: want at least 2 steps"):
        AtftGatFanSpec(windows=(1, 5))
    with pytest.raises(BadInput, match=r"frequencies = 3: a window of 4 steps has 3, .* fewer"):
        spec(norm="fan", frequencies=3).build(SIZES)
