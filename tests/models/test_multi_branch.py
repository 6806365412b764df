"""Branches read what they name, have the research's sizes, and may be left out."""

from dataclasses import replace

import pytest
import torch

from alpha_assets.dataset.batch import Batch
from alpha_assets.dataset.sizes import Sizes
from alpha_assets.errors import BadInput
from alpha_assets.models import BranchSpec, MultiBranchSpec
from alpha_assets.models.base import Ranker

RESEARCH = Sizes(
    n_features=28,
    n_market=0,
    steps=1,
    n_horizons=1,
    n_symbols=4,
    families={"price": tuple(range(9)), "fund": tuple(range(9, 28))},
    vectors={"news": 768},
)


def research(hidden: tuple[int, int, int], dropout: tuple[float, float, float]) -> MultiBranchSpec:
    return MultiBranchSpec(
        missing="zeros",
        branches={
            "statement": BranchSpec(
                families=("fund",), hidden=hidden[0], latent=32, dropout=dropout[0]
            ),
            "price": BranchSpec(
                families=("price",), hidden=hidden[1], latent=16, dropout=dropout[1]
            ),
            "news": BranchSpec(
                vectors="news", hidden=hidden[2], latent=32, dropout=dropout[2], scale=0.8
            ),
        },
    )


def count(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def batch(n_symbols: int = 4) -> Batch:
    draw = torch.Generator().manual_seed(0)
    return Batch(
        x_BNTF=torch.randn(1, n_symbols, 1, 28, generator=draw),
        valid_BNT=torch.ones(1, n_symbols, 1, dtype=torch.bool),
        mask_BN=torch.ones(1, n_symbols, dtype=torch.bool),
        symbol_id_N=torch.arange(n_symbols) + 1,
        sector_id_BN=torch.ones(1, n_symbols, dtype=torch.long),
        market_BTM=torch.zeros(1, 1, 0),
        vectors_BNV={"news": torch.randn(1, n_symbols, 768, generator=draw)},
        has_vector_BN={"news": torch.tensor([[True, True, False, True]])},
    )


def made(spec: MultiBranchSpec, sizes: Sizes = RESEARCH) -> Ranker:
    torch.manual_seed(1)
    return spec.ranker(sizes).eval()


def test_the_model_of_the_research_has_its_109_393_parameters() -> None:
    statement = (19 * 64 + 64) + (64 * 32 + 32)
    price = (9 * 32 + 32) + (32 * 16 + 16)
    news = (768 * 128 + 128) + (128 * 32 + 32)
    behind = (80 * 32 + 32) + (32 * 1 + 1)
    assert (statement, price, news, behind) == (3_360, 848, 102_560, 2_625)
    assert statement + price + news + behind == 109_393

    model = made(research((64, 32, 128), (0.6, 0.3, 0.1)))

    assert count(model) == 109_393 - 1  # our head has no bias, which would move a whole session


def test_the_winner_of_its_search_has_56_049_parameters() -> None:
    statement = (19 * 32 + 32) + (32 * 32 + 32)
    price = (9 * 16 + 16) + (16 * 16 + 16)
    news = (768 * 64 + 64) + (64 * 32 + 32)
    assert statement + price + news + (80 * 32 + 32) + (32 + 1) == 56_049

    model = made(research((32, 16, 64), (0.7, 0.2, 0.2)))

    assert count(model) == 56_049 - 1


def test_a_learned_vector_stands_for_a_missing_one_and_costs_its_width() -> None:
    plain = research((64, 32, 128), (0.6, 0.3, 0.1))
    model = made(plain.model_copy(update={"missing": "learned"}))
    assert count(model) == 109_393 - 1 + 32

    with torch.no_grad():
        model.branches[0].missing_E.fill_(5.0)  # type: ignore[union-attr, index, operator]
    news_BNE = model.stages(batch())["branch news"]

    assert torch.equal(news_BNE[0, 2], torch.full((32,), 0.8 * 5.0))
    assert not (news_BNE[0, [0, 1, 3]] == 4.0).all(-1).any()


def test_a_symbol_without_an_article_has_zeros_in_place_of_one() -> None:
    seen, model = batch(), made(research((64, 32, 128), (0.6, 0.3, 0.1)))
    vector_BNV = seen.vectors_BNV["news"].clone()
    vector_BNV[0, 2] = torch.nan  # it has none: what stands there counts nothing
    odd = replace(seen, vectors_BNV={"news": vector_BNV})
    vector_BNV = vector_BNV.clone()
    vector_BNV[0, 2] = 0.0
    zeros = replace(
        seen,
        vectors_BNV={"news": vector_BNV},
        has_vector_BN={"news": torch.ones(1, 4, dtype=torch.bool)},
    )

    assert torch.equal(model(odd), model(zeros))
    assert torch.isfinite(model(odd)).all()


def test_each_branch_sees_its_own_inputs_alone() -> None:
    model, plain = made(research((64, 32, 128), (0.6, 0.3, 0.1))), batch()
    before = model.stages(plain)
    x_BNTF = plain.x_BNTF.clone()
    x_BNTF[..., :9] += 1.0  # the places of the family price
    after = model.stages(replace(plain, x_BNTF=x_BNTF))

    moved = {name for name in before if not torch.equal(before[name], after[name])}

    assert moved == {"input", "branch price", "hidden", "head"}


def test_an_absent_branch_is_left_out_and_needs_no_input() -> None:
    spec = research((64, 32, 128), (0.6, 0.3, 0.1))
    absent = {"news", "statement"}
    spec = spec.model_copy(
        update={
            "branches": {
                name: one.model_copy(update={"absent": name in absent})
                for name, one in spec.branches.items()
            }
        }
    )
    sizes = replace(RESEARCH, families={"price": tuple(range(9))}, vectors={})
    model = made(spec, sizes)
    alone = replace(batch(), vectors_BNV={}, has_vector_BN={})

    assert spec.vectors_read == ()
    assert list(model.stages(alone)) == ["input", "branch price", "hidden", "head"]
    assert count(model) == 848 + (16 * 32 + 32) + 32


def test_a_branch_whose_feed_is_not_there_is_refused_by_name() -> None:
    spec = research((64, 32, 128), (0.6, 0.3, 0.1))
    for sizes, words in (
        (replace(RESEARCH, vectors={}), r"\[model.branches.news\] vectors: 'news' is not among"),
        (
            replace(RESEARCH, families={"price": (0,)}),
            r"\[model.branches.statement\] families: 'fund' .* \(price\).* by absent = true",
        ),
    ):
        with pytest.raises(BadInput, match=words):
            spec.build(sizes)


def test_columns_are_read_by_name() -> None:
    sizes = Sizes(3, 0, 1, n_horizons=1, n_symbols=4, columns=("a", "b", "c"))
    model = made(MultiBranchSpec(branches={"one": BranchSpec(columns=("c", "a"))}), sizes)

    assert model.branches[0].place_C.tolist() == [0, 2]  # type: ignore[union-attr, index]
    wrong = MultiBranchSpec(branches={"one": BranchSpec(columns=("d",))})
    with pytest.raises(BadInput, match=r"\[model.branches.one\] columns: 'd' .* \(a, b, c\)"):
        wrong.build(sizes)


def test_what_is_no_branch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"want columns .* or vectors, one of them"):
        BranchSpec(vectors="news", families=("price",))
    with pytest.raises(ValueError, match=r"want columns .* or vectors, one of them"):
        BranchSpec()
    with pytest.raises(ValueError, match=r"branches = \['one'\] are all absent"):
        MultiBranchSpec(branches={"one": BranchSpec(vectors="news", absent=True)})
