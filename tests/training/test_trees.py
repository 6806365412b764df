"""Gradient-boosted trees: the library's own model, chosen on validation, and kept as its text."""

import sys
from dataclasses import replace

import lightgbm
import numpy as np
import pytest
import torch

from alpha_assets.arrays.ranks import rank_ic
from alpha_assets.dataset import Fold, Split
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.errors import BadInput, DegenerateModel, StaleOutput, TooFewNames
from alpha_assets.training import GuardSpec, Learner, TrainingSpec, WindowSpec
from alpha_assets.training.checkpoint import checkpoint_files, checkpoint_of, make_card
from alpha_assets.training.estimator import Aids, Trained
from alpha_assets.training.estimators import estimator_of
from alpha_assets.training.judge import session_scores
from alpha_assets.training.loaders import load_model
from alpha_assets.training.month import TrainedMonth, train_month
from alpha_assets.training.specs.trees import TreesSpec
from alpha_assets.training.trees import Rows, rows_of, text_of

SMALL = TreesSpec(num_leaves=5, min_data_in_leaf=10, max_rounds=30, judge_every=5)
OPEN = {"distinct_min": 0.0, "modal_max": 1.0}  # few leaves give many names the same score


def grown_by(**model: object) -> Learner:
    """Return a learner of small trees; the guard is open, for the signal is planted."""
    return Learner(
        model=SMALL.model_copy(update={"patience_rounds": 10, **model}),
        window=WindowSpec(sequence=1),
        guard=GuardSpec(rank_ic_max=1.0, **OPEN),
    )


def fitted(learner: Learner, data: Dataset, fold: Fold, seed: int = 3) -> Trained:
    return estimator_of(learner).fit(data, fold, seed, Aids())


def with_series(data: Dataset, value_D: np.ndarray) -> Dataset:
    """Return the market with one market-wide series."""
    axes = replace(data.axes, market_features=("vix_ts_z",))
    return replace(data, axes=axes, market_DM=torch.from_numpy(value_D.astype(np.float32))[:, None])


@pytest.mark.parametrize("objective", ["rank", "regression"])
def test_a_planted_signal_is_learned(objective: str, data: Dataset, split: Split) -> None:
    found = fitted(grown_by(objective=objective), data, split.folds[0])

    assert found.valid_rank_ic is not None
    assert found.valid_rank_ic > 0.55  # the oracle's is about 0.7
    assert found.epochs[-1].loss < found.epochs[0].loss


@pytest.mark.parametrize("objective", ["rank", "regression"])
def test_the_text_is_that_of_a_booster_trained_with_the_library(
    objective: str, data: Dataset, split: Split
) -> None:
    found = fitted(grown_by(objective=objective), data, split.folds[0])

    place_D = data.places(split.train, 1)
    x_CF = np.concatenate([data.x_DNF[place].numpy() for place in place_D])
    y_DN = data.target_DNH[place_D, :, 0].numpy().astype(np.float64)
    order_DN = y_DN.argsort(axis=1).argsort(axis=1)  # 0 for the least of 30, without ties
    params = {
        "num_leaves": 5,
        "min_data_in_leaf": 10,
        "learning_rate": 0.05,
        "feature_fraction": 0.7,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "lambda_l2": 1.0,
        "seed": 3,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 2,
        "metric": "None",
        "verbosity": -1,
    }
    label: np.ndarray = y_DN.ravel()
    groups = None
    if objective == "rank":
        params |= {"objective": "lambdarank", "label_gain": list(range(10))}
        params |= {"lambdarank_truncation_level": 100}
        label, groups = (order_DN // 3).ravel(), [30] * len(y_DN)  # ten grades of three names
    else:
        params["objective"] = "regression"
    rows = lightgbm.Dataset(x_CF, label=label, group=groups, feature_name=list(data.axes.features))
    rounds = int(found.epochs[found.best - 1].setting.split()[0])
    straight = lightgbm.train(params, rows, num_boost_round=rounds)

    written = straight.model_to_string().replace("[num_threads: 2]\n", "")
    # `train` sets the number of rounds, which a booster grown round by round has at its default.
    written = written.replace(f"[num_iterations: {rounds}]", "[num_iterations: 100]")
    assert found.texts["h=2.txt"].decode() == written


def test_grades_are_those_of_target_ranks_within_a_session() -> None:
    # Of three grades, 3 (r - 1/2) / n.  Session 1, ranks 1 2 3 4 of 4: 0.375 1.125 1.875 2.625.
    # Session 2 has a tie, ranks 1 2.5 2.5 4 5 of 5: 0.3 1.2 1.2 2.1 2.7.
    target_C = np.array([-1.0, 0.0, 2.0, 5.0, 0.3, 0.4, 0.4, 0.5, 9.0])
    rows = Rows(np.zeros((9, 1), dtype=np.float32), target_C, np.array([4, 5]))

    assert rows.grades(3).tolist() == [0, 1, 1, 2, 0, 1, 1, 2, 2]
    assert rows.grades(4).tolist() == [0, 1, 2, 3, 0, 1, 1, 2, 3]


def test_rows_are_names_with_a_label_and_carry_the_series(data: Dataset, split: Split) -> None:
    series_D = np.arange(len(data.axes.sessions))
    market = with_series(data, series_D)
    target_DNH = market.target_DNH.clone()
    first, second, *_ = data.places(split.train, 1)
    target_DNH[first, 3:] = torch.nan  # three names with a label: too few
    target_DNH[second, 5] = torch.nan
    market = replace(market, target_DNH=target_DNH)

    rows = rows_of(market, torch.tensor([first, second]), 0, 10)

    kept = [n for n in range(30) if n != 5]
    assert rows.sizes.tolist() == [29]
    assert np.array_equal(rows.x_CF[:, :-1], market.x_DNF[second, kept].numpy())
    assert (rows.x_CF[:, -1] == second).all()
    assert np.array_equal(rows.target_C, target_DNH[second, kept, 0].double().numpy())
    with pytest.raises(TooFewNames, match=r"no training session has 31 names.*model.min_names"):
        rows_of(market, torch.tensor([first, second]), 0, 31)


def test_the_market_wide_series_are_read(data: Dataset, split: Split, build: object) -> None:
    # The sign of the first feature's effect is the series: without it there is nothing to learn.
    draw = np.random.default_rng(5)
    n_sessions = len(data.axes.sessions)
    sign_D = draw.choice([-1.0, 1.0], n_sessions)
    x_DNF = draw.standard_normal((n_sessions, 30, 5)).astype(np.float32)
    plain = build(x_DNF, 0.02 * sign_D[:, None] * x_DNF[..., 0])  # type: ignore[operator]
    learner = grown_by(feature_fraction=1.0, learning_rate=0.2)

    market = with_series(plain, sign_D)
    found = fitted(learner, market, split.folds[0])

    assert found.valid_rank_ic is not None
    assert found.valid_rank_ic > 0.9
    model = load_model(learner, {}, found.texts, market.sizes(1))
    place_D = torch.from_numpy(market.places(split.valid, 1))
    score_DN = session_scores(model, market, place_D)[..., 0]
    again = float(rank_ic(score_DN, market.return_DNH[place_D.numpy(), :, 0]).mean())
    assert again == pytest.approx(found.valid_rank_ic, abs=1e-12)


def test_the_kept_trees_are_those_that_validation_selects(split: Split, build: object) -> None:
    draw = np.random.default_rng(0)  # noise, on which more trees are soon too many
    x_DNF = draw.standard_normal((68, 30, 5)).astype(np.float32)
    data = build(x_DNF, draw.standard_normal((68, 30)) * 0.02)  # type: ignore[operator]
    learner = grown_by(max_rounds=60, learning_rate=0.2)

    found = fitted(learner, data, split.folds[0])

    judged = [epoch.valid_rank_ic for epoch in found.epochs]
    assert found.best == int(np.argmax(judged)) + 1
    assert len(found.epochs) == found.best + 2 < 12  # patience: 10 rounds, judged every 5
    model = load_model(learner, {}, found.texts, data.sizes(1))
    assert [b.num_trees() for b in model.boosters] == [5 * found.best]  # type: ignore[attr-defined]
    place_D = torch.from_numpy(data.places(split.valid, 1))
    score_DN = session_scores(model, data, place_D)[..., 0]
    again = float(rank_ic(score_DN, data.return_DNH[place_D.numpy(), :, 0]).mean())
    assert again == pytest.approx(found.valid_rank_ic, abs=1e-12)
    assert not found.unfinished


def test_trees_that_validation_would_have_more_of_are_warned_of(
    data: Dataset, split: Split
) -> None:
    stumps = grown_by(max_rounds=8, num_leaves=2, feature_fraction=1.0, learning_rate=0.2)

    found = fitted(stumps, data, split.folds[0])

    assert [epoch.setting for epoch in found.epochs] == ["5 rounds", "8 rounds"]
    assert found.best == 2
    assert found.unfinished.startswith("the best epoch is the last one (8 rounds)")
    assert found.unfinished.endswith("raise model.max_rounds or model.learning_rate")


def test_without_validation_all_rounds_are_kept(data: Dataset, split: Split) -> None:
    found = fitted(grown_by(max_rounds=12), data, Fold("all", split.train, split.valid[:0]))

    assert [epoch.setting for epoch in found.epochs] == ["12 rounds"]
    assert found.valid_rank_ic is None
    assert not found.unfinished
    assert found.texts["h=2.txt"].count(b"\nTree=") == 12


def test_growth_ends_where_no_split_is_left(data: Dataset, split: Split) -> None:
    with pytest.raises(DegenerateModel, match=r"5 rounds, horizon 2: spread = 0.*min_data_in_leaf"):
        fitted(grown_by(min_data_in_leaf=1000), data, split.folds[0])


def test_twice_and_on_more_threads_are_the_same_bits(data: Dataset, split: Split) -> None:
    learner = grown_by()
    threads = learner.model_copy(update={"training": TrainingSpec(threads=3)})
    one, again, three = (fitted(each, data, split.folds[0]) for each in (learner, learner, threads))

    for other in (again, three):
        assert other.texts == one.texts
        assert [(e.loss, e.rank_ic) for e in other.epochs] == [
            (e.loss, e.rank_ic) for e in one.epochs
        ]
    assert fitted(learner, data, split.folds[0], seed=4).texts != one.texts


@pytest.fixture(scope="module")
def month(data: Dataset, split: Split) -> TrainedMonth:
    learner = grown_by().model_copy(update={"training": TrainingSpec(seeds=(0, 1))})
    return train_month(data, split, learner)


def files_of(month: TrainedMonth, data: Dataset, split: Split) -> dict[str, bytes]:
    card = make_card(
        month,
        data.axes,
        split,
        market="sim",
        recipe="small",
        digest="0123456789ab",
        data_hash="ab",
        resolved_recipe={"about": "a test"},
        embargo_sessions=0,
    )
    return checkpoint_files(month, card)


def test_a_stored_month_scores_with_the_same_bits(
    month: TrainedMonth, data: Dataset, split: Split
) -> None:
    files = files_of(month, data, split)
    assert sorted(files) == ["card.json", "seed=0/h=2.txt", "seed=1/h=2.txt"]

    checkpoint = checkpoint_of(files, "2020-04")

    assert checkpoint.card.libraries["lightgbm"] == lightgbm.__version__
    batch, _ = data.cross_section(split.valid[0], 1)
    for seed, model in zip(month.seeds, checkpoint.models, strict=True):
        booster = lightgbm.Booster(model_str=seed.texts["h=2.txt"].decode())
        x_NF = batch.x_BNTF[0, :, -1].numpy()
        wanted = booster.predict(x_NF).astype(np.float32)
        assert np.array_equal(model.infer(batch).score_BNH[0, :, 0].numpy(), wanted)
        assert text_of(booster, booster.num_trees()) == seed.texts["h=2.txt"]


def test_what_is_masked_scores_zero(month: TrainedMonth, data: Dataset, split: Split) -> None:
    batch, _ = data.cross_section(split.valid[0], 1)
    mask_BN = batch.mask_BN.clone()
    mask_BN[0, 4] = False
    x_BNTF = batch.x_BNTF.clone()
    x_BNTF[0, 4] = torch.nan
    model = load_model(month.learner, {}, month.seeds[0].texts, month.sizes)

    whole, part = (
        model.infer(each).score_BNH[0, :, 0]
        for each in (batch, replace(batch, mask_BN=mask_BN, x_BNTF=x_BNTF))
    )

    assert part[4] == 0
    assert torch.equal(torch.cat([part[:4], part[5:]]), torch.cat([whole[:4], whole[5:]]))


def test_texts_that_are_not_those_of_the_card_are_refused(
    month: TrainedMonth, data: Dataset, split: Split
) -> None:
    files = files_of(month, data, split)
    files["seed=0/h=2.txt"] = files["seed=1/h=2.txt"]
    with pytest.raises(StaleOutput, match=r"seed=0/h=2.txt: its hash is"):
        checkpoint_of(files, "2020-04")

    text = month.seeds[0].texts["h=2.txt"]
    for texts, sizes, words in (
        ({}, month.sizes, "want 1 texts"),
        ({"h=2.json": text}, month.sizes, "found 'h=2.json'"),
        ({"h=2.txt": b"rubbish"}, month.sizes, "number of classes"),
        ({"h=2.txt": text}, replace(month.sizes, n_market=1), "1 market-wide series, found 5 col"),
    ):
        with pytest.raises(RuntimeError, match=words):
            load_model(month.learner, {}, texts, sizes)


def test_the_guard_judges_the_kept_trees(data: Dataset, split: Split) -> None:
    learner = grown_by().model_copy(update={"guard": GuardSpec(rank_ic_max=0.1, **OPEN)})
    with pytest.raises(DegenerateModel, match=r"rounds, horizon 2: rank_ic = "):
        fitted(learner, data, split.folds[0])


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    learner = grown_by()  # a recipe of trees can be read and listed
    with pytest.raises(BadInput, match=r"needs LightGBM.*pip install 'alpha-assets\[trees\]'"):
        estimator_of(learner)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"window": WindowSpec(sequence=3)}, r'kind = "trees" reads the decision session alone'),
        ({"training": TrainingSpec(selection="loss")}, "no loss to select by"),
        ({"training": TrainingSpec(warm_start=True)}, "take training.warm_start out"),
        (
            {
                "training": TrainingSpec(seeds=(0, 1)),
                "model": TreesSpec(feature_fraction=1.0, bagging_fraction=1.0),
            },
            "draws nothing",
        ),
    ],
)
def test_sections_that_do_not_fit_are_refused(sections: dict[str, object], words: str) -> None:
    plain: dict[str, object] = {"model": SMALL, "window": WindowSpec(sequence=1)}
    with pytest.raises(ValueError, match=words):
        Learner.model_validate({**plain, **sections})


def test_patience_that_ends_before_a_validation_is_refused() -> None:
    with pytest.raises(ValueError, match="patience_rounds = 5 end before the next validation"):
        TreesSpec(judge_every=10, patience_rounds=5)
