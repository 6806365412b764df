"""Recurrent networks over the steps of each symbol."""

import pytest
import torch
from torch import nn

from alpha_assets.models.lstm import over_time, start_open


def test_each_symbol_of_each_session_is_a_sequence_of_its_own() -> None:
    torch.manual_seed(0)
    network, x_BTNE = nn.LSTM(3, 5, 2), torch.randn(2, 4, 6, 3)

    h_BTNE = over_time(network, x_BTNE)

    alone, _ = network(x_BTNE[1, :, 4])  # [T, E] of one symbol
    torch.testing.assert_close(h_BTNE[1, :, 4], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_a_fresh_network_has_orthogonal_states_and_open_forget_gates(
    kind: type[nn.LSTM] | type[nn.GRU],
) -> None:
    network = kind(3, 5)
    start_open(network)

    for gate_EE in network.weight_hh_l0.split(5):
        torch.testing.assert_close(gate_EE @ gate_EE.T, torch.eye(5), rtol=0, atol=1e-5)
    # Gates of an LSTM stand in the order input, forget, cell, output; a GRU has none to forget.
    wanted = [0.0] * 5 + [float(kind is nn.LSTM)] * 5 + [0.0] * 5
    assert network.bias_ih_l0[:15].tolist() == wanted
    assert not network.bias_hh_l0.any()
