"""What is particular to the rankers of sequences: patches, symbols' vectors, gates, counts."""

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.errors import BadInput
from alpha_assets.models import MasterSpec, PatchTransformerSpec, RankerSpec, TFTSpec
from alpha_assets.models.master import MasterRanker
from alpha_assets.models.patch_transformer import PatchTransformerRanker
from alpha_assets.models.tft import TFTRanker

SIZES = Sizes(n_features=3, n_market=2, steps=5, n_horizons=1, n_symbols=4)


def count(spec: RankerSpec, sizes: Sizes) -> int:
    return sum(parameter.numel() for parameter in spec.build(sizes).parameters())


def section(n_symbols: int = 4) -> Batch:
    draw = torch.Generator().manual_seed(0)
    return Batch(
        x_BNTF=torch.randn(2, n_symbols, 5, 3, generator=draw),
        valid_BNT=torch.ones(2, n_symbols, 5, dtype=torch.bool),
        mask_BN=torch.ones(2, n_symbols, dtype=torch.bool),
        symbol_id_N=torch.arange(n_symbols) + 1,
        sector_id_BN=torch.ones(2, n_symbols, dtype=torch.long),
        market_BTM=torch.randn(2, 5, 2, generator=draw),
    )


@pytest.mark.parametrize(
    ("steps", "patch", "stride", "ends"),
    [(5, 2, 2, (0, 2, 4)), (5, 3, 1, (2, 3, 4)), (5, 8, 4, (4,)), (6, 3, 3, (2, 5))],
)
def test_patches_are_counted_back_from_the_decision(
    steps: int, patch: int, stride: int, ends: tuple[int, ...]
) -> None:
    spec = PatchTransformerSpec(patch=patch, stride=stride, d_model=4)
    model = spec.build(replace(SIZES, steps=steps))

    assert model.ends == ends


def test_the_newest_patch_is_complete_and_the_oldest_filled_in_front() -> None:
    torch.manual_seed(0)
    batch = section()
    model = PatchTransformerSpec(patch=2, stride=2, d_model=4).build(SIZES)
    assert isinstance(model, PatchTransformerRanker)

    token_BCNE = model.embed(batch)

    x_PI = torch.cat([batch.x_BNTF[1, 3], batch.market_BTM[1]], dim=-1)  # [T, F + M]
    newest = model.projection(x_PI[3:].T.flatten()) + model.position_CE[2]
    front = torch.cat([model.missing_F, torch.zeros(2)])
    oldest = model.projection(torch.stack([front, x_PI[0]]).T.flatten()) + model.position_CE[0]
    torch.testing.assert_close(token_BCNE[1, 2, 3], newest)
    torch.testing.assert_close(token_BCNE[1, 0, 3], oldest)


def test_a_patch_transformer_has_the_parameters_of_the_formula() -> None:
    # PFd + d + Cd + L (4 (d² + d) + 2 d ff + ff + d + 4d); ours adds the missing vector, the last
    # norm and a head without bias on two vectors. Published: F 1, d 16, L 3, ff 128, P 16, S 8,
    # T 336, whose padding at the end makes 42 patches; ours at the front of 336 makes 41.
    sizes = Sizes(n_features=1, n_market=0, steps=336, n_horizons=1, n_symbols=0)
    small = PatchTransformerSpec(patch=16, stride=8, d_model=16, layers=3, heads=4, feed_forward=8)
    published = 16 * 16 + 16 + 42 * 16 + 3 * (4 * 272 + 2 * 16 * 128 + 128 + 16 + 64)
    assert published == 17_120
    assert count(small, sizes) == published - 16 + 1 + 2 * 16 + 2 * 16

    # The full size of the research on 20 features and 90 sessions: 11 patches.
    sizes = replace(sizes, n_features=20, steps=90)
    full = PatchTransformerSpec(d_model=192, layers=3, heads=8)
    body = 3 * (4 * (192**2 + 192) + 2 * 192 * 768 + 768 + 192 + 4 * 192)
    assert count(full, sizes) == 16 * 20 * 192 + 192 + 11 * 192 + body + 20 + 4 * 192 == 1_399_124


def test_the_fusion_transformer_of_the_research_has_2_51_million_parameters() -> None:
    # d 128, 4 heads, 2 attention layers, 20 features, 14 symbols, 3 horizons, 60 steps.
    d = 128
    grn, gate = 4 * (d**2 + d) + 2 * d, 2 * (d**2 + d) + 2 * d
    selection = 1_743_204 + 2 * 20 * d  # see test_gating.py
    static = 4 * grn + 14 * d
    lstm = 4 * d * (d + d + 2)
    attention = 2 * (d**2 + d) + 2 * d * d // 4 + d // 4 + d
    research = selection + static + lstm + gate + (grn + d**2) + 2 * (attention + gate)
    research += grn + gate + 3 * (d + 1)
    assert research == 2_512_679
    sizes = Sizes(n_features=20, n_market=0, steps=60, n_horizons=3, n_symbols=14)

    spec = TFTSpec(
        d_model=d, attention_layers=2, selection="per_feature", symbol_embedding=True, dropout=0.15
    )

    # Ours adds the missing vector, a vector per step and that of unknown symbols, without a bias.
    assert count(spec, sizes) == research + 20 + 60 * d + d - 3


def test_master_has_the_parameters_of_the_published_one() -> None:
    # MF + F + Fd + d + 2 (3d² + 4d + 2 (d² + d)) + d² + d + 1: F 158, M 63, d 256; ours adds the
    # missing vector, and has no head bias.
    sizes = Sizes(n_features=158, n_market=63, steps=8, n_horizons=1, n_symbols=0)
    d = 256
    layers = 2 * (3 * d**2 + 4 * d + 2 * (d**2 + d))
    published = 63 * 158 + 158 + 158 * d + d + layers + d**2 + d + 1
    assert published == 775_041
    assert count(MasterSpec(d_model=d), sizes) == published + d - 1


def test_unknown_symbols_share_one_vector_which_training_learns() -> None:
    torch.manual_seed(0)
    spec = TFTSpec(d_model=8, symbol_embedding=True, unknown_share=0.5, dropout=0.0)
    model = spec.build(SIZES)
    assert isinstance(model, TFTRanker)
    assert model.symbol is not None
    batch = section()
    same = replace(batch, x_BNTF=batch.x_BNTF[:, :1].expand_as(batch.x_BNTF))

    model.eval()
    known_BN = model(same)[..., 0]
    unknown_BN = model(replace(same, symbol_id_N=torch.tensor([0, 0, 1, 0])))[..., 0]
    model.train()
    model(batch).square().sum().backward()

    assert len(set(known_BN[0].tolist())) == 4  # equal features, four symbols
    torch.testing.assert_close(unknown_BN[0, [0, 1, 3]], unknown_BN[0, 3].expand(3))
    assert (unknown_BN[0, 0] - unknown_BN[0, 2]).abs() > 1e-3
    gradient = model.symbol.embedding.weight.grad
    assert gradient is not None
    assert (gradient[0] != 0).any()


def test_without_a_symbol_embedding_ids_are_not_read() -> None:
    torch.manual_seed(0)
    model, batch = TFTSpec(d_model=8).build(SIZES).eval(), section()

    assert torch.equal(model(batch), model(replace(batch, symbol_id_N=torch.zeros(4).long())))


def test_interpretable_weights_add_up_to_one_over_steps_that_are_not_later() -> None:
    torch.manual_seed(0)
    model = TFTSpec(d_model=8).build(SIZES)
    assert isinstance(model, TFTRanker)
    block = model.attention[0]
    h_BTNE = torch.randn(2, 5, 4, 8)

    whole_BNQT = block.weights(h_BTNE, h_BTNE)  # type: ignore[operator]
    last_BNQT = block.weights(h_BTNE[:, -1:], h_BTNE)  # type: ignore[operator]

    torch.testing.assert_close(whole_BNQT.sum(-1), torch.ones(2, 4, 5))
    assert not whole_BNQT.triu(1).any()
    torch.testing.assert_close(whole_BNQT[:, :, -1:], last_BNQT)


def test_the_last_step_of_attention_is_what_all_steps_would_have() -> None:
    torch.manual_seed(0)
    model = TFTSpec(d_model=8).build(SIZES).eval()
    assert isinstance(model, TFTRanker)
    block = model.attention[0]
    h_BTNE = torch.randn(2, 5, 4, 8)

    torch.testing.assert_close(block(h_BTNE)[:, -1:], block(h_BTNE, last_only=True))


def test_factors_of_the_market_have_mean_one_or_are_one_plus_a_line() -> None:
    torch.manual_seed(0)
    market_BTM = section().market_BTM
    softmax, affine = (
        MasterSpec(d_model=8, time_heads=2, gate=gate).build(SIZES)
        for gate in ("softmax", "affine")
    )
    assert isinstance(softmax, MasterRanker)
    assert isinstance(affine, MasterRanker)

    factor_BTF = softmax.factors(market_BTM)

    assert (factor_BTF > 0).all()
    torch.testing.assert_close(factor_BTF.mean(-1), torch.ones(2, 5))
    assert not torch.equal(factor_BTF[0], factor_BTF[1])
    assert (affine.factors(torch.zeros(2, 5, 2)) == 1).all()
    assert affine.gate is not None
    nn.init.constant_(affine.gate.weight, -1.0)
    torch.testing.assert_close(affine.factors(market_BTM)[..., 0], 1 - market_BTM.sum(-1))


def test_without_a_gate_the_market_is_not_read() -> None:
    torch.manual_seed(0)
    model, batch = MasterSpec(d_model=8, gate="none").build(SIZES).eval(), section()

    assert torch.equal(model(batch), model(replace(batch, market_BTM=batch.market_BTM + 9.0)))


def test_a_symbol_is_seen_by_the_others_unless_it_is_masked() -> None:
    torch.manual_seed(0)
    model, batch = MasterSpec(d_model=8).build(SIZES).eval(), section()
    x_BNTF = batch.x_BNTF.clone()
    x_BNTF[:, 2] += 1.0
    mask_BN = batch.mask_BN.clone()
    mask_BN[:, 2] = False

    seen = model(replace(batch, x_BNTF=x_BNTF)) - model(batch)
    unseen = model(replace(batch, x_BNTF=x_BNTF, mask_BN=mask_BN))

    assert (seen[:, [0, 1, 3]] != 0).all()
    assert torch.equal(unseen, model(replace(batch, mask_BN=mask_BN)))


def test_a_gate_without_market_wide_series_is_refused() -> None:
    with pytest.raises(BadInput, match=r'model.gate = "affine" weighs .* and the inputs have no'):
        MasterSpec().build(replace(SIZES, n_market=0))
    MasterSpec(gate="none").build(replace(SIZES, n_market=0))


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        (TFTSpec, {"d_model": 10}, "d_model = 10 is not a multiple of heads = 4"),
        (PatchTransformerSpec, {"d_model": 9}, "d_model = 9 is not a multiple of heads = 2"),
        (PatchTransformerSpec, {"patch": 4, "stride": 5}, "stride = 5 is more than patch = 4"),
        (MasterSpec, {"d_model": 6}, "d_model = 6 is not a multiple of time_heads = 4"),
        (MasterSpec, {"symbol_heads": 3}, "d_model = 32 is not a multiple of symbol_heads = 3"),
        (MasterSpec, {"d_model": 7}, "multiple of 2"),
    ],
)
def test_sizes_that_do_not_divide_are_refused(
    kind: type[RankerSpec], settings: dict[str, int], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        kind(**settings)
