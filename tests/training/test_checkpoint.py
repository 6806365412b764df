"""What is kept of a month, and scores made from it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load, save

from alpha_assets.dataset import Axes, Split
from alpha_assets.dataset.axes import family_places
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.errors import DegenerateModel, MissingOutput, StaleOutput
from alpha_assets.training import Learner
from alpha_assets.training.card import Card
from alpha_assets.training.checkpoint import Checkpoint, checkpoint_files, checkpoint_of, make_card
from alpha_assets.training.month import TrainedMonth, train_month
from alpha_assets.training.predict import prediction_axes, score_session

FAMILIES = {"f0_cs_z": "b", "f1_cs_z": "a", "f2_cs_z": "b", "f4_cs_z": "a"}  # f3 is in none


@pytest.fixture(scope="module")
def trained(data: Dataset, split: Split, learner: Learner) -> TrainedMonth:
    spec = learner.training.model_copy(update={"max_epochs": 2})
    return train_month(data, split, learner.model_copy(update={"training": spec}))


@pytest.fixture(scope="module")
def card(trained: TrainedMonth, data: Dataset, split: Split) -> Card:
    return make_card(
        trained,
        data.axes,
        split,
        market="sim",
        recipe="small",
        digest="0123456789ab",
        data_hash="ab",
        resolved_recipe={"about": "a test", "label": {"horizons": [2]}},
        embargo_sessions=0,
    )


def test_a_stored_model_is_made_for_the_sizes_that_it_was_trained_with(
    data: Dataset, trained: TrainedMonth, split: Split, tmp_path: Path
) -> None:
    # Places of the columns f0 to f4: those of `b` come after those of `a`, whatever their order.
    axes = replace(data.axes, families=family_places(data.axes.features, FAMILIES))
    sized = replace(trained, sizes=replace(data, axes=axes).sizes(3))
    told = make_card(
        sized,
        axes,
        split,
        market="sim",
        recipe="small",
        digest="0123456789ab",
        data_hash="ab",
        resolved_recipe={},
        embargo_sessions=0,
    )
    for name, content in checkpoint_files(sized, told).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)

    card = load_checkpoint(tmp_path).card

    assert card.sizes == sized.sizes
    assert list(card.sizes.families.items()) == [("a", (1, 4)), ("b", (0, 2))]
    assert (card.sizes.n_symbols, card.sizes.n_sectors) == (30, 1)
    rows = pl.DataFrame({"session": data.axes.sessions[:1], "symbol": ["S00"]})
    asked = prediction_axes(card, rows, data.axes.sessions[:1])
    assert asked.families == axes.families


@pytest.fixture
def folder(trained: TrainedMonth, card: Card, tmp_path: Path) -> Path:
    for name, content in checkpoint_files(trained, card).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def load_checkpoint(folder: Path) -> Checkpoint:
    """Return the checkpoint that the files of a folder hold."""
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    return checkpoint_of(files, str(folder))


def test_weights_and_card_come_back(folder: Path, trained: TrainedMonth, card: Card) -> None:
    found = load_checkpoint(folder)

    assert found.card == card
    for seed in trained.seeds:
        kept = found.weights[f"seed={seed.seed}"]
        assert kept.keys() == seed.weights.keys()
        assert all(torch.equal(kept[name], seed.weights[name]) for name in kept)


def test_the_card_says_what_the_weights_depend_on(folder: Path) -> None:
    told = json.loads((folder / "card.json").read_text())

    assert told["train_sessions"][0] == "2020-01-03"
    assert told["purge_sessions"] == 2
    assert told["embargo_sessions"] == 0
    assert told["symbols"][:2] == ["S00", "S01"]
    assert told["precision"] == "float32"
    assert told["threads"] == 1
    assert told["parent"] is None
    assert told["libraries"]["torch"] == torch.__version__
    assert told["learner"]["model"]["kind"] == "transformer"
    assert [seed["seed"] for seed in told["seeds"]] == [0, 1]


def test_the_same_weights_give_the_same_files(trained: TrainedMonth, card: Card) -> None:
    assert checkpoint_files(trained, card) == checkpoint_files(trained, card)


def test_no_file_is_a_pickle(trained: TrainedMonth, card: Card) -> None:
    files = checkpoint_files(trained, card)

    assert sorted(files) == ["card.json", "seed=0/model.safetensors", "seed=1/model.safetensors"]
    assert not any(content.startswith(b"\x80") or b"PK\x03\x04" in content[:4]
                   for content in files.values())  # fmt: skip


def test_missing_files_are_named(folder: Path) -> None:
    (folder / "seed=1/model.safetensors").unlink()

    with pytest.raises(MissingOutput, match=r"seed=1/model\.safetensors"):
        load_checkpoint(folder)
    with pytest.raises(MissingOutput, match=r"card.json.*train the month"):
        load_checkpoint(folder / "nowhere")


def test_weights_that_are_not_the_cards_are_refused(folder: Path) -> None:
    path = folder / "seed=0/model.safetensors"
    weights = load(path.read_bytes())
    weights["head.weight_HE"] += 1e-6
    path.write_bytes(save(weights))

    with pytest.raises(StaleOutput, match="the card says"):
        load_checkpoint(folder)


def edit_card(folder: Path, **changes: object) -> None:
    path = folder / "card.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema_version": 9}, "schema_version = 9, want 5"),
        ({"features": ["f0_cs_z"]}, "not the weights of the model"),
        ({"surprise": 1}, r"not a card \(unknown key 'surprise' .*\); train the month again"),
        ({"threads": "one"}, r"not a card \(threads = 'one': .* valid integer\); train the month"),
        ({"threads": "one", "month": 1}, r"not a card \(month = 1: .*; and 1 more\); train the mo"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(
    folder: Path, changes: dict[str, object], words: str
) -> None:
    edit_card(folder, **changes)

    with pytest.raises(StaleOutput, match=words) as refused:
        load_checkpoint(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["[]", "", "null", "{", "[" * 100_000], ids=len)
def test_a_card_that_is_not_json_is_refused(folder: Path, text: str) -> None:
    (folder / "card.json").write_text(text)

    with pytest.raises(StaleOutput, match="not a card"):
        load_checkpoint(folder)


def test_scores_are_the_mean_over_seeds(folder: Path, data: Dataset) -> None:
    checkpoint = load_checkpoint(folder)
    session = data.axes.sessions[-1]

    scores = score_session(checkpoint, data, session)

    batch, symbols = data.cross_section(session, 3)
    with torch.no_grad():
        wanted = sum(model(batch)[0, :, 0].double() for model in checkpoint.models) / 2
    assert scores["symbol"].to_list() == list(symbols)
    assert scores["score"].to_list() == wanted.float().tolist()
    assert scores.schema == {
        "session": pl.Date, "symbol": pl.String, "horizon": pl.Int16, "score": pl.Float32,
        "model_month": pl.String,
    }  # fmt: skip
    assert scores["model_month"].unique().to_list() == ["2020-04"]
    assert scores["horizon"].unique().to_list() == [2]


def a_day(data: Dataset, sessions: slice, symbols: slice, **changes: object) -> Dataset:
    """Return the dataset cut to some sessions and symbols, as another caller would build it."""
    axes = data.axes
    cut = {
        "sessions": axes.sessions[sessions],
        "symbols": axes.symbols[symbols],
    }
    return Dataset(
        axes=Axes(**{**axes.__dict__, **cut}),
        x_DNF=data.x_DNF[sessions, symbols].clone(),
        valid_DN=data.valid_DN[sessions, symbols].clone(),
        mask_DN=changes.get("mask_DN", data.mask_DN[sessions, symbols].clone()),  # type: ignore[arg-type]
        target_DNH=data.target_DNH[sessions, symbols].clone(),
        return_DNH=data.return_DNH[sessions, symbols].copy(),
        symbol_id_N=data.symbol_id_N[symbols].clone(),
        sector_id_DN=data.sector_id_DN[sessions, symbols].clone(),
        market_DM=data.market_DM[sessions].clone(),
    )


def test_a_score_of_the_day_has_the_bits_of_the_backtest(folder: Path, data: Dataset) -> None:
    checkpoint = load_checkpoint(folder)
    session = data.axes.sessions[-4]
    valid_DN = data.valid_DN.clone()
    valid_DN[-4, 11:] = False  # only the first eleven are in the universe of that session
    whole = Dataset(**{**data.__dict__, "valid_DN": valid_DN, "mask_DN": valid_DN})

    backtest = score_session(checkpoint, whole, session)
    today = score_session(checkpoint, a_day(whole, slice(-6, -3), slice(0, 17)), session)

    assert backtest.height == 11
    assert backtest.equals(today)


def test_a_symbol_that_is_new_to_the_month_is_scored_as_unknown(folder: Path) -> None:
    checkpoint = load_checkpoint(folder)
    sessions = np.datetime64("2020-04-01") + np.arange(3)
    keys = {
        "session": np.repeat(sessions, 3),
        "symbol": ["S03", "S07", "X9"] * 3,
        "sector": ["bank", None, "new"] * 3,
    }
    values = {name: np.linspace(-1, 1, 9) for name in checkpoint.card.features}
    rows = pl.DataFrame({**keys, **values})

    axes = prediction_axes(checkpoint.card, rows, sessions)
    data = Dataset.build(rows, axes, tradable=rows.select("session", "symbol"))
    scores = score_session(checkpoint, data, sessions[-1])

    assert scores["symbol"].to_list() == ["S03", "S07", "X9"]
    assert data.symbol_id_N.tolist() == [4, 8, 0]
    assert data.sector_id_DN[0].tolist() == [1, 0, 0]


def test_names_without_a_bar_are_not_scored_and_do_not_count(folder: Path, data: Dataset) -> None:
    mask_DN = data.mask_DN.clone()
    mask_DN[-1, 5:9] = False
    halted = Dataset(**{**data.__dict__, "mask_DN": mask_DN})
    checkpoint, session = load_checkpoint(folder), data.axes.sessions[-1]

    some, every = (score_session(checkpoint, d, session) for d in (halted, data))

    assert some.height == 26
    assert some.equals(every.filter(pl.col("symbol").is_in(some["symbol"].implode())))


def test_a_session_without_a_universe_has_no_scores(folder: Path, data: Dataset) -> None:
    empty = Dataset(
        **{
            **data.__dict__,
            "valid_DN": torch.zeros_like(data.valid_DN),
            "mask_DN": torch.zeros_like(data.mask_DN),
        }
    )

    found = score_session(load_checkpoint(folder), empty, data.axes.sessions[-1])

    assert found.height == 0
    assert "score" in found.columns


def test_another_list_of_symbols_or_features_is_refused(folder: Path, data: Dataset) -> None:
    checkpoint = load_checkpoint(folder)
    axes = Axes(**{**data.axes.__dict__, "known_symbols": data.axes.symbols[1:]})

    with pytest.raises(StaleOutput, match=r"30 symbols, the dataset has 29.*'S00'"):
        score_session(checkpoint, Dataset(**{**data.__dict__, "axes": axes}), SESSION)


def test_a_score_that_is_no_number_is_refused(folder: Path, data: Dataset) -> None:
    x_DNF = data.x_DNF.clone()
    x_DNF[-1, 2, 0] = float("inf")
    session = data.axes.sessions[-1]

    with pytest.raises(DegenerateModel, match="1 scores of"):
        score_session(
            load_checkpoint(folder), Dataset(**{**data.__dict__, "x_DNF": x_DNF}), session
        )


SESSION = np.datetime64("2020-03-01")
