"""Positions are bounded, of one symbol's own past, and have the parameters of the formula."""

import pytest
import torch
from tests.models.test_contract import SIZES, made, noise

from alpha_assets.dataset.sizes import Sizes
from alpha_assets.models import DeepMomentumSpec


def test_scores_are_positions_between_minus_one_and_one() -> None:
    model, batch = made(DeepMomentumSpec(hidden=12)), noise()
    with torch.no_grad():
        model.head.weight_HE *= 3.0  # type: ignore[union-attr, operator]

    position_BNH = model(batch)

    assert (position_BNH.abs() <= 1).all()
    assert torch.equal(
        position_BNH, (model.stages(batch)["head"].tanh() * batch.mask_BN[..., None])
    )


def test_a_linear_path_is_added_before_positions_are_bounded() -> None:
    model, batch = made(DeepMomentumSpec(hidden=12, linear_path=True)), noise()
    with torch.no_grad():
        model.weight_HF.fill_(2.0)  # type: ignore[operator]

    assert (model(batch).abs() <= 1).all()


def test_the_parameter_count_is_that_of_the_formula() -> None:
    # Fg + g + 4g (g + g + 2) + g (missing) + 2g (norm) + g head without bias: F 20, g 64.
    sizes = Sizes(n_features=20, n_market=0, steps=63, n_horizons=1, n_symbols=0)

    count = sum(p.numel() for p in DeepMomentumSpec(hidden=64).build(sizes).parameters())

    assert count == (20 * 64 + 64) + 4 * 64 * 130 + 64 + 2 * 64 + 64 == 34_880


def test_positions_have_no_quantiles() -> None:
    with pytest.raises(ValueError, match=r"are positions, not levels .* take quantiles out"):
        DeepMomentumSpec(quantiles=(0.1, 0.5, 0.9))


def test_market_series_move_positions() -> None:
    model, batch = made(DeepMomentumSpec(hidden=12)), noise()
    assert SIZES.n_market
    assert model.market is not None
    before = model(batch)
    with torch.no_grad():
        model.market.weight.zero_()  # type: ignore[union-attr, operator]
    assert not torch.equal(before, model(batch))
