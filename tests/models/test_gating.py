"""Blocks of the Temporal Fusion Transformer against their formulas."""

import pytest
import torch
from torch import Tensor, nn

from alpha_assets.models.gating import (
    GLU,
    GRN,
    GateAddNorm,
    Selection,
    VariableSelection,
    at_once,
)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_a_gate_halves_what_it_does_not_know() -> None:
    # a(x) = 3x, b(x) = 0: 3 * 2 * sigmoid(0) = 3.
    glu = GLU(1, 1)
    nn.init.zeros_(glu.both.bias)
    glu.both.weight.data = torch.tensor([[3.0], [0.0]])

    assert glu(torch.tensor([2.0])).tolist() == [3.0]


def test_a_closed_gate_leaves_the_normed_skip() -> None:
    # (1, 3) has mean 2 and deviation 1, so its norm is (-1, 1), whatever the layer computed.
    block = GateAddNorm(2)
    nn.init.zeros_(block.gate.both.weight)
    block.gate.both.bias.data = torch.tensor([5.0, 5.0, -100.0, -100.0])

    out = block(torch.tensor([70.0, -9.0]), torch.tensor([1.0, 3.0]))

    torch.testing.assert_close(out, torch.tensor([-1.0, 1.0]), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("n_out", "n_context"), [(0, 0), (5, 0), (0, 4), (5, 4)])
def test_a_gated_residual_network_is_its_formula(n_out: int, n_context: int) -> None:
    torch.manual_seed(0)
    grn = GRN(3, 6, n_out, n_context)
    x, context = torch.randn(7, 3), torch.randn(7, n_context) if n_context else None

    inner = x @ grn.enter.weight.T + grn.enter.bias
    if grn.context is not None and context is not None:
        inner = inner + context @ grn.context.weight.T
    inner = grn.hidden(torch.where(inner > 0, inner, inner.exp() - 1))
    value, gate = grn.gate.both(inner).chunk(2, -1)
    total = (grn.skip(x) if n_out else x) + value / (1 + (-gate).exp())
    centred = total - total.mean(-1, keepdim=True)
    wanted = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()

    torch.testing.assert_close(grn(x, context), wanted, rtol=1e-4, atol=1e-5)


def test_parameters_are_those_of_the_formula() -> None:
    # GRN(i, g, o, c) = ig + g + g² + g + 2 (go + o) + 2o + cg + [i ≠ o](io + o)
    assert count(GRN(3, 6, 5, 4)) == 18 + 6 + 36 + 6 + 2 * 35 + 10 + 24 + 20
    assert count(GRN(6, 6)) == 36 + 6 + 36 + 6 + 2 * 42 + 12
    # gate = 2 (d² + d) + 2d
    assert count(GateAddNorm(6)) == 2 * 42 + 12
    # Of the research, F 20 and d 128: GRN(2560, 128, 20, 128) + 20 GRN(128, 128, 128) = 1.74 M,
    # and the embeddings 2 F d.
    weigh = 2560 * 128 + 128 + 128**2 + 128 + 2 * (2560 + 20) + 40 + 128**2 + 2560 * 20 + 20
    each = 4 * (128**2 + 128) + 256
    whole = VariableSelection(20, 128, "per_feature", n_context=128)
    assert weigh + 20 * each == 1_743_204
    assert count(whole) == 1_743_204 + 2 * 20 * 128
    # Shared, F 78 and d 32: embeddings, two layers of the weights, one GRN: 14 k.
    assert count(VariableSelection(78, 32)) == 2 * 78 * 32 + 79 * 32 + 33 * 78 + 4 * 33 * 32 + 64


@pytest.mark.parametrize("selection", ["shared", "per_feature"])
def test_weights_add_up_to_one_and_depend_on_the_context(selection: Selection) -> None:
    torch.manual_seed(0)
    block = VariableSelection(4, 8, selection, n_context=3)
    x, context = torch.randn(2, 5, 4), torch.randn(2, 1, 3)

    vector, weight = block(x, context)

    assert vector.shape == (2, 5, 8)
    torch.testing.assert_close(weight.sum(-1), torch.ones(2, 5))
    assert not torch.equal(weight, block(x, context + 1.0)[1])


def test_a_shared_selection_is_a_network_of_the_weighted_sum_of_embeddings() -> None:
    torch.manual_seed(0)
    block = VariableSelection(4, 8)
    nn.init.normal_(block.level_FE)
    x = torch.randn(5, 4)

    vector, weight = block(x)

    embedded = x[:, :, None] * block.slope_FE + block.level_FE
    wanted = block.mix((weight[:, :, None] * embedded).sum(1))
    torch.testing.assert_close(vector, wanted, rtol=1e-4, atol=1e-5)


def test_networks_of_features_at_once_compute_what_each_computes_alone() -> None:
    torch.manual_seed(0)
    block = VariableSelection(4, 8, "per_feature")
    networks = block.per_feature
    assert networks is not None
    x = torch.randn(2, 5, 4, 8)

    def gradients(out: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(out.square().sum(), list(networks.parameters())))

    alone = torch.stack([net(x[:, :, j]) for j, net in enumerate(networks)], dim=2)
    together = at_once(networks, x)

    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradients(together.cos()), gradients(alone.cos()))
