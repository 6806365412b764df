"""Normalisation of series along the steps of a window, without loss of what they are read for.

Neither sets a step to a constant: the last step, which is read, stays different across symbols.
Shape letters: B decision sessions, T steps, N symbols, E channels, W windows, V those
and one more: all steps so far, or the series itself.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

VARIANCE_SHARE = 0.05  # of all steps so far, under the variance of a window
EPSILON = 1e-6


class MultiScaleNorm(nn.Module):
    """z-scores over trailing windows, added to the series through a gate that starts closed.

        out = x + tanh(g) ⊙ (Σ α_w z_w + α_0 x),  α = softmax over the windows and x itself

    z_w = (x - μ_w) / √(σ_w² + 0.05 s² + ε) with mean and variance over the steps t - w + 1 ... t,
    fewer at the start, and s² the variance over all steps up to t.  A fresh one is the identity;
    no step sees a later one.

    Args:
        steps: T.
        width: E.
        windows: steps of each.
    """

    def __init__(self, steps: int, width: int, windows: Sequence[int]) -> None:
        super().__init__()
        mean_VTT = torch.stack([trailing_mean(steps, n) for n in (*windows, steps)])
        self.register_buffer("mean_VTT", mean_VTT, persistent=False)
        self.gate_E = nn.Parameter(torch.zeros(width))
        self.mixture_V = nn.Parameter(torch.zeros(len(windows) + 1))

    def forward(self, x_BTNE: Tensor) -> Tensor:
        """Return the series with its normalised forms, [B, T, N, E], in Float32."""
        with torch.autocast(x_BTNE.device.type, enabled=False):
            x_BTNE = x_BTNE.float()
            mean_BVTNE, square_BVTNE = self._means(x_BTNE), self._means(x_BTNE.square())
            variance_BVTNE = (square_BVTNE - mean_BVTNE.square()).clamp(min=0)
            floor_B1TNE = VARIANCE_SHARE * variance_BVTNE[:, -1:] + EPSILON
            apart_BWTNE = x_BTNE[:, None] - mean_BVTNE[:, :-1]
            z_BWTNE = apart_BWTNE / (variance_BVTNE[:, :-1] + floor_B1TNE).sqrt()
            share_V = self.mixture_V.softmax(0)
            mixed_BTNE = (share_V[:-1, None, None, None] * z_BWTNE).sum(1) + share_V[-1] * x_BTNE
            out_BTNE: Tensor = x_BTNE + self.gate_E.tanh() * mixed_BTNE
            return out_BTNE

    def _means(self, x_BTNE: Tensor) -> Tensor:
        """Return the means over each window, and over all steps so far, [B, V, T, N, E]."""
        assert isinstance(self.mean_VTT, Tensor)
        mean_BSC: Tensor = self.mean_VTT.flatten(0, 1) @ x_BTNE.flatten(2)
        by_window = mean_BSC.unflatten(1, self.mean_VTT.shape[:2])
        mean_BVTNE: Tensor = by_window.unflatten(-1, x_BTNE.shape[2:])
        return mean_BVTNE


def trailing_mean(steps: int, window: int) -> Tensor:
    """Return the [T, T] matrix that takes means over the last `window` steps, or those there are.

    A product with it is causal to the bit: a later step counts 0.
    """
    step_T = torch.arange(steps)
    back_TT = step_T[:, None] - step_T
    in_TT = ((back_TT >= 0) & (back_TT < window)).float()
    return in_TT / in_TT.sum(1, keepdim=True)


class FrequencyNorm(nn.Module):
    """Frequency-adaptive normalisation: the strongest frequencies leave the series, and come back.

    Of each series over the window the K frequencies with the largest amplitudes are removed; the
    rest is what the encoder sees.  What was removed, x_K, is given back behind it: its last value,
    its mean and what a small network reads from it and the series, one number a channel,

        back = W [MLP(x_K, x) ; x_K at the last step ; mean of x_K].

    The mean of a window is mostly the strongest frequency, so that without this the level that
    distinguishes symbols would be lost.  A step of the rest depends on the whole window.

    Source: Ye, Deng, Zou & Gui, NeurIPS 2024, arXiv 2409.20371; there the network forecasts the
    removed part of a series.

    Args:
        steps: T.
        width: E.
        frequencies: K, fewer than the T // 2 + 1 that there are.
        hidden: units of the network, which all channels share.
    """

    def __init__(self, steps: int, width: int, frequencies: int, hidden: int = 64) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.enter = nn.Linear(steps, hidden)
        self.middle = nn.Linear(hidden + steps, hidden)
        self.leave = nn.Linear(hidden, 1)
        self.back = nn.Linear(3 * width, width)

    def forward(self, x_BTNE: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rest of the series, [B, T, N, E], and what is given back, [B, N, E]."""
        removed_BTNE = strongest(x_BTNE, self.frequencies)
        rest_BTNE = x_BTNE.float() - removed_BTNE
        removed_BNET = removed_BTNE.permute(0, 2, 3, 1)
        hidden = torch.relu(self.enter(removed_BNET))
        series_BNET = x_BTNE.permute(0, 2, 3, 1).to(hidden.dtype)
        hidden = torch.relu(self.middle(torch.cat([hidden, series_BNET], dim=-1)))
        read_BNE = self.leave(hidden)[..., 0].float()
        kept = [read_BNE, removed_BTNE[:, -1], removed_BTNE.mean(1)]
        back_BNE: Tensor = self.back(torch.cat(kept, dim=-1))
        return rest_BTNE, back_BNE


def strongest(x_BTNE: Tensor, frequencies: int) -> Tensor:
    """Return the part of each series in its strongest frequencies, in Float32.

    Equally strong ones beyond the number stay in it too.
    """
    n_steps = x_BTNE.shape[1]
    with torch.autocast(x_BTNE.device.type, enabled=False):
        spectrum = torch.fft.rfft(x_BTNE.float(), dim=1)
        strength = spectrum.detach().abs()
        least = strength.topk(frequencies, dim=1).values[:, -1:]
        kept_BTNE: Tensor = torch.fft.irfft(spectrum * (strength >= least), n=n_steps, dim=1)
        return kept_BTNE
