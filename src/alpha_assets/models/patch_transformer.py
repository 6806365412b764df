"""A Transformer over patches of each symbol's sessions, the newest patch always complete.

Patches of `patch` steps begin every `stride` steps, counted back from the decision session; what
they lack at the front is the vector that also stands for a step without a universe row.  Blocks
are those of `transformer.py`, causal over patches; the last patch and the mean of all are read.
Levels are kept: there is no normalisation of a window by its own mean and deviation.
Shape letters: B decision sessions, N symbols, T steps, F features, P steps of a patch,
C patches, M market-wide series, E width, H horizons.

Source: Nie et al. (2023), ICLR, arXiv 2211.14730.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.models.base import Head, Ranker, known
from alpha_assets.models.lstm import MISSING_SD, inputs
from alpha_assets.models.specs.patch_transformer import PatchTransformerSpec
from alpha_assets.models.transformer import POSITION_SD, Block


class PatchTransformerRanker(Ranker):
    """Scores each symbol from patches of its own recent features and the market-wide series.

    Attributes:
        ends: last step of each patch.
    """

    def __init__(self, spec: PatchTransformerSpec, sizes: Sizes) -> None:
        super().__init__()
        width = spec.d_model
        self.quantiles = spec.quantiles
        self.patch, self.stride = spec.patch, spec.stride
        n_patches = 1 + max(0, -((spec.patch - sizes.steps) // spec.stride))
        self.n_front = spec.patch + (n_patches - 1) * spec.stride - sizes.steps
        self.ends = tuple(range(sizes.steps - 1, -1, -spec.stride))[n_patches - 1 :: -1]
        n_inputs = sizes.n_features + sizes.n_market
        self.missing_F = nn.Parameter(torch.randn(sizes.n_features) * MISSING_SD)
        self.projection = nn.Linear(spec.patch * n_inputs, width)
        self.position_CE = nn.Parameter(torch.randn(n_patches, width) * POSITION_SD)
        self.blocks = nn.ModuleList(
            Block(width, spec.heads, spec.feed_forward, spec.dropout) for _ in range(spec.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = Head(2 * width, sizes.n_horizons, spec.quantiles)

    def embed(self, batch: Batch) -> Tensor:
        """Return the token of every patch, [B, C, N, E]."""
        x_BTNF = inputs(batch, self.missing_F)
        if self.n_front:
            n_sessions, _, n_symbols, n_inputs = x_BTNF.shape
            # Market-wide series are 0 where there is no session.
            front_F = nn.functional.pad(self.missing_F, (0, n_inputs - len(self.missing_F)))
            front_BTNF = front_F.expand(n_sessions, self.n_front, n_symbols, n_inputs)
            x_BTNF = torch.cat([front_BTNF, x_BTNF], dim=1)
        patch_BCNFP = x_BTNF.unfold(1, self.patch, self.stride)
        h_BCNE: Tensor = self.projection(patch_BCNFP.flatten(-2))
        return h_BCNE + self.position_CE[:, None]

    def encode(self, batch: Batch) -> Tensor:
        """Return what the blocks give for every patch, h_BCNE; causal in C."""
        h_BCNE = self.embed(batch)
        for block in self.blocks:
            h_BCNE = block(h_BCNE)
        return h_BCNE

    def stages(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return `input`, `projection`, one `block` each, `norm` and `head`."""
        h_BCNE = self.embed(batch)
        found = {
            "input": known(batch.x_BNTF[:, :, -1], batch.valid_BNT[:, :, -1]),
            "projection": h_BCNE[:, -1],
        }
        for number, block in enumerate(self.blocks, start=1):
            h_BCNE = block(h_BCNE)
            found[f"block{number}"] = h_BCNE[:, -1]
        normed_BCNE = self.norm(h_BCNE)
        found["norm"] = torch.cat([normed_BCNE[:, -1], normed_BCNE.mean(1)], dim=-1)
        found["head"] = self.head(found["norm"])
        return found
