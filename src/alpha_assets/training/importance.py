"""Permutation importance: what the rank IC loses when a family's columns are dealt to others.

Within each session the whole windows of the family's columns move from symbol to symbol, by one
permutation for all of them, so that each column keeps its distribution, its path and its
correlation with the family's others, and loses what it knows of its own symbol.  On validation
sessions: these the model was selected on, and not fitted to.  Market-wide series are alike for
all symbols, and raw vectors have no columns: neither is judged.
Shape letters: D sessions, N symbols, T steps, F features, H horizons.

Source: Breiman (2001), Random forests, Machine Learning 45; Fisher, Rudin & Dominici (2019),
JMLR 20(177), for any model.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from alpha_assets.arrays.ranks import rank_ic
from alpha_assets.arrays.types import Array, Dates
from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.training.checkpoint import Checkpoint
from alpha_assets.training.judge import known_returns
from alpha_assets.training.predict import batch_output


def permutation_drops(
    checkpoint: Checkpoint, data: Dataset, sessions: Dates, seed: int
) -> tuple[Array, dict[str, Array]]:
    """Return the rank IC by session and horizon, and by family how much of it is lost.

    Args:
        checkpoint: whose models' mean score is ranked.
        data: on the checkpoint's columns, with returns.
        sessions: to look at.
        seed: of the permutations; a session's is the same for all families.

    Returns:
        [D, H] with NaN where a session has no rank IC: of the scores as they are, and by family
        as they are less permuted.
    """
    card = checkpoint.card
    places = torch.from_numpy(data.places(sessions, card.learner.window.sequence))
    families: Mapping[str, tuple[int, ...]] = data.axes.families
    return_DNH = known_returns(data, places)
    plain_DNH = np.full_like(return_DNH, np.nan)
    mixed = {name: np.full_like(return_DNH, np.nan) for name in families}
    for d, place in enumerate(places.tolist()):
        at_1 = torch.tensor([place], device=data.x_DNF.device)
        batch = data.windows(at_1, card.learner.window.sequence)
        in_N = batch.mask_BN[0].cpu().numpy()
        plain_DNH[d, in_N] = batch_output(checkpoint, batch).score_NH[in_N]
        draw = np.random.Generator(np.random.Philox(key=[seed, place]))
        from_N = np.arange(len(in_N))
        from_N[in_N] = draw.permutation(np.flatnonzero(in_N))
        for name, columns in families.items():
            dealt = permuted(batch, columns, torch.from_numpy(from_N))
            mixed[name][d, in_N] = batch_output(checkpoint, dealt).score_NH[in_N]
    plain_DH = _rank_ics(plain_DNH, return_DNH)
    return plain_DH, {
        name: plain_DH - _rank_ics(score_DNH, return_DNH) for name, score_DNH in mixed.items()
    }


def permuted(batch: Batch, columns: tuple[int, ...], from_N: Tensor) -> Batch:
    """Return the batch in which each symbol has the columns of another one.

    A step that the other symbol has no row of is its average, 0, where this one has a row.

    Args:
        batch: of one session.
        columns: places on the axis of features.
        from_N: whose columns each symbol gets.
    """
    from_N = from_N.to(batch.x_BNTF.device)
    at = torch.tensor(columns, device=batch.x_BNTF.device)
    other_BNT = batch.valid_BNT.index_select(1, from_N)
    x_BNTF = batch.x_BNTF.clone()
    dealt = batch.x_BNTF.index_select(1, from_N).index_select(3, at)
    x_BNTF[..., at] = dealt.masked_fill(~other_BNT[..., None], 0.0)
    return replace(batch, x_BNTF=x_BNTF)


def _rank_ics(score_DNH: Array, return_DNH: Array) -> Array:
    horizons = range(score_DNH.shape[-1])
    return np.stack([rank_ic(score_DNH[..., h], return_DNH[..., h]) for h in horizons], axis=1)
