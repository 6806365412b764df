"""A linear function of the decision session's features beside any model."""

import pytest
import torch
from tests.models.test_contract import SIZES, made, noise

from alpha_assets.models import LinearSpec, TransformerSpec
from alpha_assets.models.base import WithLinearPath
from alpha_assets.spec import digest

PLAIN = TransformerSpec(d_model=8, layers=1, heads=2)


def test_a_fresh_path_adds_nothing_and_then_what_its_weights_say() -> None:
    spec = PLAIN.model_copy(update={"linear_path": True})
    model, batch = made(spec), noise()
    assert torch.equal(model(batch), made(PLAIN)(batch))

    with torch.no_grad():
        model.weight_HF[1, 2] = 3.0  # type: ignore[index]
    more_BN = 3.0 * batch.x_BNTF[:, :, -1, 2].masked_fill(~batch.mask_BN, 0.0)

    added_BNH = model(batch) - made(PLAIN)(batch)
    torch.testing.assert_close(added_BNH[..., 1], more_BN, atol=1e-6, rtol=1e-5)
    assert (added_BNH[..., 0] == 0).all()


def test_all_quantiles_of_a_symbol_move_alike() -> None:
    levels = (0.1, 0.5, 0.9)
    model = made(LinearSpec(quantiles=levels, linear_path=True))
    batch = noise()
    before = model.infer(batch).quantile_BNHQ
    with torch.no_grad():
        model.weight_HF.fill_(1.0)  # type: ignore[operator]
    after = model.infer(batch).quantile_BNHQ

    assert before is not None
    assert after is not None
    moved_BNHQ = after - before
    torch.testing.assert_close(moved_BNHQ[..., 0], moved_BNHQ[..., 2])
    assert moved_BNHQ.abs().max() > 0.1


def test_it_costs_a_weight_per_feature_and_horizon() -> None:
    def count(spec: TransformerSpec) -> int:
        return sum(p.numel() for p in spec.ranker(SIZES).parameters())

    path = PLAIN.model_copy(update={"linear_path": True})
    assert count(path) - count(PLAIN) == 6 * 2


@pytest.mark.parametrize("on", [False, True])
def test_a_recipe_without_it_keeps_its_digest(on: bool) -> None:
    plain = PLAIN.model_dump(mode="json")
    spec = PLAIN.model_copy(update={"linear_path": on})

    assert "linear_path" not in plain
    assert "linear_start" not in spec.model_dump(mode="json")
    assert (digest(spec) == digest(plain)) is not on


def test_a_start_without_a_path_is_refused() -> None:
    with pytest.raises(ValueError, match=r'linear_start = "ridge".*set linear_path = true'):
        TransformerSpec(d_model=8, layers=1, heads=2, linear_start="ridge")


@pytest.mark.parametrize("levels", [(), (0.1, 0.5, 0.9)])
def test_beside_a_line_that_is_known_a_fresh_trunk_counts_a_tenth(
    levels: tuple[float, ...],
) -> None:
    spec = PLAIN.model_copy(update={"linear_path": True, "quantiles": levels})
    model, batch = made(spec), noise()
    before_BNH = model(batch)
    assert isinstance(model, WithLinearPath)

    model.start_at(torch.zeros(2, 6))
    torch.testing.assert_close(model(batch), 0.1 * before_BNH)

    model.start_at(torch.ones(2, 6))
    line_BN = batch.x_BNTF[:, :, -1].sum(-1).masked_fill(~batch.mask_BN, 0.0)
    torch.testing.assert_close(model(batch)[..., 0], 0.01 * before_BNH[..., 0] + line_BN)
