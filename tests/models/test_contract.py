"""The contract that every ranker keeps, whatever it computes."""

from dataclasses import replace
from math import sqrt
from typing import Literal

import pytest
import torch
from torch import Tensor

from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.models import (
    ALSTMSpec,
    AtftGatFanSpec,
    BranchSpec,
    DeepMomentumSpec,
    LinearSpec,
    LSTMSpec,
    MasterSpec,
    MultiBranchSpec,
    NeighbourMeanSpec,
    PatchTransformerSpec,
    RankerSpec,
    TFTSpec,
    TransformerSpec,
)
from alpha_assets.models.base import Ranker
from alpha_assets.models.losses import ICSpec
from alpha_assets.models.losses.base import build_loss

SIZES = Sizes(
    n_features=6,
    n_market=2,
    steps=4,
    n_horizons=2,
    n_symbols=7,
    families={"price": (0, 1, 2), "fund": (3, 4, 5)},
    n_neighbours=3,
    vectors={"news": 5},
    columns=("a", "b", "c", "d", "e", "f"),
)
BRANCHES = {
    "price": BranchSpec(families=("price",), columns=("d",), hidden=12, latent=8),
    "statement": BranchSpec(families=("fund",), hidden=12, latent=8),
    "news": BranchSpec(vectors="news", hidden=12, latent=8, scale=0.8),
}


def name(spec: RankerSpec) -> str:
    return f"{spec.kind}{getattr(spec, 'layers', '')}"


SPECS: list[RankerSpec] = [
    LinearSpec(),
    TransformerSpec(d_model=8, layers=1, heads=2, dropout=0.0),
    TransformerSpec(d_model=8, layers=3, heads=2, dropout=0.0),
    NeighbourMeanSpec(),
    LSTMSpec(hidden=12, bottleneck=8),
    ALSTMSpec(hidden=8),
    MultiBranchSpec(branches=BRANCHES),
    MultiBranchSpec(branches=BRANCHES, norm=True, activation="gelu", missing="zeros"),
    DeepMomentumSpec(hidden=12),
    AtftGatFanSpec(d_model=8, windows=(2, 3)),
    AtftGatFanSpec(d_model=8, norm="none", graph_layers=2, selection="per_feature"),
    AtftGatFanSpec(d_model=8, norm="none", graph_values="state"),
    AtftGatFanSpec(d_model=8, norm="none", graph_values="inputs"),
    AtftGatFanSpec(d_model=8, norm="fan", graph=False),
    LinearSpec(linear_path=True),
    TransformerSpec(d_model=8, layers=1, heads=2, dropout=0.0, linear_path=True),
    PatchTransformerSpec(patch=3, stride=2, d_model=8, layers=2, dropout=0.0),
    TFTSpec(d_model=8, heads=2, attention_layers=2, symbol_embedding=True, dropout=0.0),
    TFTSpec(d_model=8, heads=2, selection="per_feature", dropout=0.0),
    MasterSpec(d_model=8, dropout=0.0),
]
ACROSS = ("master",)  # kinds that see other symbols without a graph
# The rest of a series without its strongest frequencies depends on the whole window.
IN_TIME = [
    spec
    for spec in SPECS
    if hasattr(spec.build(SIZES), "encode")
    and not spec.linear_path
    and getattr(spec, "norm", "") != "fan"
]

in_time = pytest.mark.parametrize("spec", IN_TIME, ids=name)
# Positions have no quantiles.
with_quantiles = pytest.mark.parametrize(
    "spec", [spec for spec in SPECS if not isinstance(spec, DeepMomentumSpec)], ids=name
)
every_model = pytest.mark.parametrize("spec", SPECS, ids=name)


def made(spec: RankerSpec) -> Ranker:
    torch.manual_seed(3)
    return spec.ranker(SIZES).eval()


def noise(n_sessions: int = 3, n_symbols: int = 7, seed: int = 0) -> Batch:
    """Random cross-sections with holes: steps without a row, and names that may not be scored."""
    draw = torch.Generator().manual_seed(seed)
    valid_BNT = torch.rand(n_sessions, n_symbols, SIZES.steps, generator=draw) > 0.2
    mask_BN = valid_BNT[..., -1] & (torch.rand(n_sessions, n_symbols, generator=draw) > 0.2)
    others_NM = torch.stack([torch.arange(n_symbols).roll(-n)[1:] for n in range(n_symbols)])
    order_BNM = torch.rand(n_sessions, *others_NM.shape, generator=draw).argsort(-1)
    edges_BNM = others_NM.expand_as(order_BNM).gather(-1, order_BNM)
    weight_BNK = torch.rand(n_sessions, n_symbols, SIZES.n_neighbours, generator=draw)
    return Batch(
        x_BNTF=torch.randn(n_sessions, n_symbols, SIZES.steps, SIZES.n_features, generator=draw),
        valid_BNT=valid_BNT,
        mask_BN=mask_BN,
        symbol_id_N=torch.arange(n_symbols) % SIZES.n_symbols + 1,
        sector_id_BN=torch.ones(n_sessions, n_symbols, dtype=torch.long),
        market_BTM=torch.randn(n_sessions, SIZES.steps, SIZES.n_market, generator=draw),
        edges_BNK=edges_BNM[..., : SIZES.n_neighbours],
        edge_weight_BNK=torch.where(weight_BNK > 0.3, weight_BNK, 0.0),
        vectors_BNV={"news": torch.randn(n_sessions, n_symbols, 5, generator=draw)},
        has_vector_BN={"news": torch.rand(n_sessions, n_symbols, generator=draw) > 0.4},
    )


def filled(batch: Batch, value: float) -> Batch:
    """Return the batch with every unknown value replaced."""
    x_BNTF = torch.where(batch.valid_BNT[..., None], batch.x_BNTF, value)
    return replace(batch, x_BNTF=x_BNTF)


@every_model
def test_scores_have_the_promised_shape_and_type(spec: RankerSpec) -> None:
    score_BNH = made(spec)(noise())

    assert score_BNH.shape == (3, 7, 2)
    assert score_BNH.dtype == torch.float32


@every_model
def test_scores_and_gradients_ignore_values_that_are_not_known(spec: RankerSpec) -> None:
    def gradients(batch: Batch) -> tuple[Tensor, list[Tensor]]:
        model = made(spec)
        score_BNH = model(batch)
        score_BNH.square().sum().backward()
        return score_BNH, [p.grad for p in model.parameters() if p.grad is not None]

    plain, plain_gradients = gradients(filled(noise(), 0.0))
    for value in (float("nan"), float("inf"), 1e30):
        odd, odd_gradients = gradients(filled(noise(), value))
        assert torch.equal(plain, odd)
        assert all(torch.equal(a, b) for a, b in zip(plain_gradients, odd_gradients, strict=True))


@every_model
def test_a_symbol_without_any_known_step_does_not_poison_the_rest(spec: RankerSpec) -> None:
    batch = noise()
    valid_BNT = batch.valid_BNT.clone()
    valid_BNT[:, 2] = False
    mask_BN = batch.mask_BN & valid_BNT[..., -1]
    model = made(spec)

    score_BNH = model(replace(batch, valid_BNT=valid_BNT, mask_BN=mask_BN))
    score_BNH.sum().backward()

    assert torch.isfinite(score_BNH).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@every_model
def test_masked_symbols_score_zero_and_touch_no_other(spec: RankerSpec) -> None:
    batch = noise()
    x_BNTF = batch.x_BNTF.clone()
    x_BNTF[~batch.mask_BN] = 1e6
    model = made(spec)

    plain, moved = model(batch), model(replace(batch, x_BNTF=x_BNTF))

    assert (plain[~batch.mask_BN] == 0).all()
    assert (plain[batch.mask_BN] != 0).all()
    assert torch.equal(plain, moved)


@every_model
def test_symbols_may_be_permuted(spec: RankerSpec) -> None:
    batch, model = noise(), made(spec)
    order_N = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    new_N = torch.tensor([1, 3, 5, 0, 6, 4, 2])  # where the symbol of each place went
    assert batch.edges_BNK is not None
    assert batch.edge_weight_BNK is not None
    permuted = Batch(
        x_BNTF=batch.x_BNTF[:, order_N],
        valid_BNT=batch.valid_BNT[:, order_N],
        mask_BN=batch.mask_BN[:, order_N],
        symbol_id_N=batch.symbol_id_N[order_N],
        sector_id_BN=batch.sector_id_BN[:, order_N],
        market_BTM=batch.market_BTM,
        edges_BNK=new_N[batch.edges_BNK[:, order_N]],
        edge_weight_BNK=batch.edge_weight_BNK[:, order_N],
        vectors_BNV={"news": batch.vectors_BNV["news"][:, order_N]},
        has_vector_BN={"news": batch.has_vector_BN["news"][:, order_N]},
    )

    assert torch.equal(batch.permuted(order_N).edges_BNK, permuted.edges_BNK)
    torch.testing.assert_close(model(permuted), model(batch)[:, order_N], rtol=1e-5, atol=1e-6)


@every_model
def test_the_last_step_is_seen(spec: RankerSpec) -> None:
    batch = replace(noise(), valid_BNT=torch.ones(3, 7, 4, dtype=torch.bool))
    batch = replace(batch, mask_BN=torch.ones(3, 7, dtype=torch.bool))
    assert batch.edge_weight_BNK is not None  # without edges no symbol sees another's step
    batch = replace(batch, edge_weight_BNK=torch.zeros_like(batch.edge_weight_BNK))
    x_BNTF = batch.x_BNTF.clone()
    x_BNTF[:, 4, -1, 0] += 1.0
    model = made(spec)

    apart = (model(replace(batch, x_BNTF=x_BNTF)) - model(batch)).abs().amax(-1)

    assert (apart[:, 4] > 1e-3).all()
    if spec.kind not in ACROSS:
        assert apart[:, [0, 1, 2, 3, 5, 6]].max() < 1e-5


@in_time
@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_later_step_changes_nothing_earlier(spec: RankerSpec, step: int) -> None:
    model = made(spec)
    assert hasattr(model, "encode")
    batch = noise()
    x_BNTF, valid_BNT = batch.x_BNTF.clone(), batch.valid_BNT.clone()
    market_BTM = batch.market_BTM.clone()
    x_BNTF[:, :, step:] = 99.0
    valid_BNT[:, 1, step:] ^= True
    market_BTM[:, step:] = -7.0
    later = replace(batch, x_BNTF=x_BNTF, valid_BNT=valid_BNT, market_BTM=market_BTM)

    plain, moved = model.encode(batch), model.encode(later)
    # A patch is earlier if its last step is.
    n_earlier = sum(end < step for end in getattr(model, "ends", range(SIZES.steps)))

    assert torch.equal(plain[:, :n_earlier], moved[:, :n_earlier])
    assert not torch.equal(plain[:, n_earlier:], moved[:, n_earlier:])


@in_time
def test_an_earlier_step_is_seen(spec: RankerSpec) -> None:
    batch = noise()
    x_BNTF = batch.x_BNTF.clone()
    x_BNTF[:, :, 0] += 1.0
    model = made(spec)

    assert not torch.equal(model(batch), model(replace(batch, x_BNTF=x_BNTF)))


@in_time
def test_a_step_without_a_row_is_not_a_row_of_zeros(spec: RankerSpec) -> None:
    batch, model = noise(), made(spec)
    valid_BNT = batch.valid_BNT.clone()
    valid_BNT[..., :-1] = False
    shown = replace(batch, x_BNTF=batch.x_BNTF.masked_fill(~valid_BNT[..., None], 0.0))

    absent = model(replace(shown, valid_BNT=valid_BNT))
    zeros = model(replace(shown, valid_BNT=torch.ones_like(valid_BNT)))

    assert not torch.equal(absent[batch.mask_BN], zeros[batch.mask_BN])


@with_quantiles
@pytest.mark.parametrize("quantiles", [(0.5,), (0.1, 0.5, 0.9)])
def test_quantiles_rise_and_the_median_is_the_score(
    spec: RankerSpec, quantiles: tuple[float, ...]
) -> None:
    batch = noise()
    model = made(spec.model_copy(update={"quantiles": quantiles}))

    output = model.infer(batch)

    assert output.quantile_BNHQ is not None
    assert output.quantile_BNHQ.shape == (3, 7, 2, len(quantiles))
    assert (output.quantile_BNHQ.diff(dim=-1)[batch.mask_BN] > 0).all()
    middle = quantiles.index(0.5)
    assert torch.equal(output.score_BNH, output.quantile_BNHQ[..., middle])


@every_model
def test_the_same_batch_has_the_same_scores_and_gradients(spec: RankerSpec) -> None:
    def trained() -> list[Tensor]:
        model = made(spec).train()
        torch.manual_seed(5)
        score_BNH = model(noise())
        score_BNH.square().sum().backward()
        return [score_BNH, *(p.grad for p in model.parameters() if p.grad is not None)]

    assert all(torch.equal(a, b) for a, b in zip(trained(), trained(), strict=True))


@every_model
def test_a_batch_without_a_known_value_is_finite(spec: RankerSpec) -> None:
    batch, model = noise(), made(spec)
    nothing = replace(
        batch,
        x_BNTF=torch.full_like(batch.x_BNTF, torch.nan),
        valid_BNT=torch.zeros_like(batch.valid_BNT),
        mask_BN=torch.zeros_like(batch.mask_BN),
    )

    score_BNH = model(nothing)
    stages = model.stages(nothing)
    score_BNH.sum().backward()

    assert (score_BNH == 0).all()
    assert all(torch.isfinite(stage).all() for stage in stages.values())
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_the_last_block_computes_what_all_queries_would_have() -> None:
    model, batch = made(SPECS[2]), noise()
    last = model.blocks[-1]  # type: ignore[union-attr, index]
    h_BTNE = model.encode(batch)  # type: ignore[operator]

    whole, short = last(h_BTNE, last_only=False), last(h_BTNE, last_only=True)

    torch.testing.assert_close(whole[:, -1:], short, rtol=1e-5, atol=1e-6)


@every_model
def test_the_first_stage_is_the_input_and_the_last_the_head(spec: RankerSpec) -> None:
    batch, model = noise(), made(spec)

    stages = model.stages(batch)

    assert next(iter(stages)) == "input"
    assert list(stages)[-1] == "head"
    assert all(stage.shape[:2] == (3, 7) for stage in stages.values())


def test_the_parameter_count_is_that_of_the_formula() -> None:
    # Fd + d + Td + L (4 (d² + d) + 2 d ff + ff + d + 4d) + head; ours adds the
    # missing vector and the last norm, and has no head bias: F 20, T 5, d 64, L 2, ff 256.
    sizes = Sizes(n_features=20, n_market=0, steps=5, n_horizons=1, n_symbols=0)
    model = TransformerSpec(d_model=64, layers=2, heads=4).build(sizes)

    count = sum(p.numel() for p in model.parameters())

    assert count == 101_697 + 64 + 2 * 64 - 1


def test_the_lstm_of_the_research_has_468_609_parameters() -> None:
    # LSTM(14 -> 192, 2 layers), 4g (i + g + 2) each, then 192 -> 64 -> 1; ours adds the missing
    # vector, and has no head bias.
    sizes = Sizes(n_features=14, n_market=0, steps=5, n_horizons=1, n_symbols=0)

    count = sum(p.numel() for p in LSTMSpec().build(sizes).parameters())

    lstm = 4 * 192 * (14 + 192 + 2) + 4 * 192 * (192 + 192 + 2)
    research = lstm + (192 * 64 + 64) + (64 + 1)
    assert research == 468_609
    assert count == research + 14 - 1


@pytest.mark.parametrize(("cell", "gates", "research"), [("lstm", 4, 70_145), ("gru", 3, 53_505)])
def test_the_attention_lstm_has_the_parameters_of_the_formula(
    cell: Literal["lstm", "gru"], gates: int, research: int
) -> None:
    # Fg + g + L G g (2g + 2) + g g/2 + g/2 + g/2 + 2g + 1; ours adds the missing vector, and has
    # no head bias: F 20, g 64, L 2.
    sizes = Sizes(n_features=20, n_market=0, steps=5, n_horizons=1, n_symbols=0)

    count = sum(p.numel() for p in ALSTMSpec(cell=cell).build(sizes).parameters())

    recurrent = 2 * gates * 64 * (2 * 64 + 2)
    assert 20 * 64 + 64 + recurrent + 64 * 32 + 32 + 32 + 2 * 64 + 1 == research
    assert count == research + 64 - 1


@every_model
def test_fresh_scores_have_a_spread_near_one(spec: RankerSpec) -> None:
    wide = {name: 32 for name in ("d_model", "hidden", "bottleneck") if hasattr(spec, name)}
    spec_wide = spec.model_copy(update=wide)
    torch.manual_seed(0)
    model = spec_wide.ranker(SIZES).eval()
    batch = noise(n_sessions=4, n_symbols=200)

    spread = model(batch).detach()[batch.mask_BN].std(0).mean()

    assert 1 / 3 < float(spread) < 3


@every_model
def test_one_session_can_be_learned_by_heart(spec: RankerSpec) -> None:
    batch = noise(n_sessions=1, n_symbols=24)
    batch = replace(batch, mask_BN=batch.valid_BNT[..., -1])
    target_BNH = torch.randn(1, 24, 2, generator=torch.Generator().manual_seed(5))
    if spec.kind != "transformer":  # a line cannot learn noise: give it one to find
        target_BNH = batch.x_BNTF[:, :, -1, :2] - batch.x_BNTF[:, :, -1, 2:4]
    model, loss = made(spec).train(), build_loss(ICSpec())
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-2)

    for _ in range(200):
        value = loss(model(batch), target_BNH, batch.mask_BN)
        if float(value.parts["ic"]) < -0.95:
            break
        optimizer.zero_grad()
        value.total.backward()
        optimizer.step()

    assert float(value.parts["ic"]) < -0.95


def test_a_neighbour_counts_by_its_weight_among_those_that_may_be_scored() -> None:
    # Symbol 0 has the neighbours 1 (weight 3) and 2 (weight 1): (3 * 10 + 1 * 50) / 4 = 20.
    batch = noise(n_sessions=1, n_symbols=3)
    x_BNTF = torch.zeros_like(batch.x_BNTF)
    x_BNTF[0, :, -1, 0] = torch.tensor([7.0, 10.0, 50.0])
    batch = replace(
        batch,
        x_BNTF=x_BNTF,
        valid_BNT=torch.ones_like(batch.valid_BNT),
        mask_BN=torch.ones_like(batch.mask_BN),
        edges_BNK=torch.tensor([[[1, 2, 0], [0, 0, 0], [0, 0, 0]]]),
        edge_weight_BNK=torch.tensor([[[3.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.5, 0.0, 0.0]]]),
    )
    model = made(NeighbourMeanSpec())

    mean_BN = model.stages(batch)["neighbours"][..., 0]
    masked = replace(batch, mask_BN=torch.tensor([[True, False, True]]))

    assert mean_BN.tolist() == [[20.0, 0.0, 7.0]]
    assert model.stages(masked)["neighbours"][..., 0].tolist() == [[50.0, 0.0, 7.0]]


def test_width_must_be_a_multiple_of_heads() -> None:
    with pytest.raises(ValueError, match="d_model = 10 is not a multiple of heads = 4"):
        TransformerSpec(d_model=10, heads=4)


def test_head_weights_start_at_one_over_root_width() -> None:
    torch.manual_seed(0)
    model = TransformerSpec(d_model=256, heads=4).build(SIZES)

    assert float(model.head.weight_HE.detach().std()) == pytest.approx(1 / sqrt(256), rel=0.1)  # type: ignore[union-attr, arg-type]
