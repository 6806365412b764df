"""Normalised series keep what distinguishes symbols at the last step."""

import numpy as np
import pytest
import torch

from alpha_assets.models.normalisation import (
    EPSILON,
    VARIANCE_SHARE,
    FrequencyNorm,
    MultiScaleNorm,
    strongest,
)


def series(steps: int = 12, seed: int = 0) -> torch.Tensor:
    """Slow series [B, T, N, E] around a level of their own."""
    draw = torch.Generator().manual_seed(seed)
    level = torch.randn(2, 1, 5, 3, generator=draw)
    return level + 0.3 * torch.randn(2, steps, 5, 3, generator=draw).cumsum(1)


def opened(steps: int, windows: tuple[int, ...]) -> MultiScaleNorm:
    norm = MultiScaleNorm(steps, 3, windows)
    with torch.no_grad():
        norm.gate_E.fill_(20.0)  # tanh is 1
    return norm


def test_a_fresh_multi_scale_norm_is_the_identity() -> None:
    x = series()
    assert torch.equal(MultiScaleNorm(12, 3, (5, 10))(x), x)


def test_the_multi_scale_norm_is_the_formula() -> None:
    x = series(6)
    out = opened(6, (2,))(x).detach()

    one = x[1, :, 3, 2].double().numpy()
    for t in range(6):
        near, far = one[max(0, t - 1) : t + 1], one[: t + 1]
        scale = np.sqrt(near.var() + VARIANCE_SHARE * far.var() + EPSILON)
        z = (one[t] - near.mean()) / scale
        assert float(out[1, t, 3, 2]) == pytest.approx(one[t] + 0.5 * z + 0.5 * one[t], abs=1e-4)


@pytest.mark.parametrize("step", [1, 5, 11])
def test_no_step_of_the_multi_scale_norm_sees_a_later_one(step: int) -> None:
    x, norm = series(), opened(12, (3, 5))
    moved = x.clone()
    moved[:, step:] = 99.0

    assert torch.equal(norm(x)[:, :step], norm(moved)[:, :step])


@pytest.mark.parametrize("steps", [4, 7, 12, 21])
@pytest.mark.parametrize("frequencies", [1, 2])
def test_the_strongest_frequencies_are_those_of_the_spectrum(steps: int, frequencies: int) -> None:
    x = series(steps)
    found = strongest(x, frequencies)

    assert found.shape == x.shape  # an odd window keeps its last step
    one = x[0, :, 2, 1].double().numpy()
    spectrum = np.fft.rfft(one)
    spectrum[np.argsort(-np.abs(spectrum))[frequencies:]] = 0
    np.testing.assert_allclose(
        found[0, :, 2, 1].numpy(), np.fft.irfft(spectrum, n=steps), atol=1e-5
    )


def test_what_a_frequency_norm_removes_it_gives_back() -> None:
    # A constant is one frequency: nothing is left of it, and symbols differ by what comes back.
    level_N = torch.tensor([-2.0, 0.5, 3.0])
    x = level_N[None, None, :, None].expand(1, 8, 3, 2)
    torch.manual_seed(0)
    norm = FrequencyNorm(8, 2, frequencies=1)
    with torch.no_grad():
        norm.back.weight.zero_()
        norm.back.bias.zero_()
        norm.back.weight[:, 2:4] = torch.eye(2)  # the last value of what was removed
    rest, back = norm(x)

    assert rest.abs().max() < 1e-6
    torch.testing.assert_close(back, level_N[None, :, None].expand(1, 3, 2))


@pytest.mark.parametrize("frequencies", [1, 2])
def test_the_last_step_of_the_rest_is_not_zero(frequencies: int) -> None:
    rest, _ = FrequencyNorm(12, 3, frequencies)(series())

    assert (rest[:, -1].abs() > 1e-4).all()
    assert (rest[:, -1].std(1) > 1e-2).all()


def test_the_network_of_a_frequency_norm_has_the_parameters_of_the_formula() -> None:
    # T -> 64, 64 + T -> 64, 64 -> 1 shared by all channels, and 3E -> E.
    count = sum(p.numel() for p in FrequencyNorm(12, 32, 1).parameters())
    assert count == (12 * 64 + 64) + (76 * 64 + 64) + 65 + (96 * 32 + 32) == 8_929
