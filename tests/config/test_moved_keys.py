"""Recipes of earlier versions are read as they were meant, with a word; never in two ways."""

import logging
from pathlib import Path

import pytest
from tests.conftest import PIPELINES

from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import Recipe, load_recipe
from alpha_assets.errors import SpecError

NEW = '[[loss]]\nkind = "ic"\n\n[window]\nsequence = 3\n\n[training]\n'
OLD = '[loss]\nkind = "ic"\n\n[training]\nsequence = 3\nlearning_rate = 0.01\n'
NOW = NEW.replace("[training]\n", "[optimiser]\nlearning_rate = 0.01\n\n[training]\n")


def read(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> Recipe:
    (folder / "recipes").mkdir(exist_ok=True)
    (folder / "recipes" / "tiny.toml").write_text(text)
    market = PIPELINES / "markets" / "tiny.toml"
    (folder / "markets").mkdir(exist_ok=True)
    (folder / "markets" / "tiny.toml").write_text(market.read_text())
    monkeypatch.setenv("ALPHA_PIPELINES", str(folder))
    return load_recipe("tiny", load_market("tiny"), overrides=list(overrides))


@pytest.fixture
def plain() -> str:
    text = (PIPELINES / "recipes" / "tiny.toml").read_text()
    assert NEW in text
    assert "[guard]" in text
    return text


def test_an_old_recipe_is_the_new_one_and_is_warned_of(
    plain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = read(plain.replace(NEW, NOW), tmp_path, monkeypatch)
    old = plain.replace(NEW, OLD).replace("[guard]", "[gates]")
    with caplog.at_level(logging.WARNING):
        found = read(old, tmp_path, monkeypatch)
    assert found.spec == wanted.spec
    assert found.digest == wanted.digest
    assert found.spec.optimiser.learning_rate == 0.01
    (word,) = {record.getMessage() for record in caplog.records}
    assert "tiny.toml: written for an earlier version" in word
    for part in (
        "[training] sequence is [window] sequence",
        "[training] learning_rate is [optimiser] learning_rate",
        "[gates] rank_ic_max is [guard] rank_ic_max",
        "[loss] is a list of terms, [[loss]]",
    ):
        assert part in word


def test_a_recipe_of_today_is_not_warned_of(
    plain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        read(plain, tmp_path, monkeypatch)
    assert not caplog.records


def test_a_key_in_both_places_is_refused(
    plain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = plain.replace("[training]\n", "[training]\nsequence = 4\n")
    words = r"training.sequence = 4 is window.sequence by now, and that is given as well"
    with pytest.raises(SpecError, match=words):
        read(both, tmp_path, monkeypatch)


def test_an_unknown_gate_is_still_unknown(
    plain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SpecError, match=r"unknown key 'gates.rank_ik'"):
        read(plain + "\n[gates]\nrank_ik = 0.1\n", tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ('model={kind="rigde"}', r"model.*'rigde'.*; did you mean 'ridge'\?"),
        ('loss=[{kind="pinbal"}]', r"loss.0.*'pinbal'.*; did you mean 'pinball'\?"),
        ("training.sampler=block", r"training.sampler = 'block'.*'sessions' or 'blocks'"),
        ("training.selection=sharpe", r"training.selection = 'sharpe'.*'net_sharpe'"),
        ("loss.1.kind=mse", r"'1' is no place in a list of 1; want a number from 0 to 0"),
        ("loss.kind=mse", r"'kind' is no place in a list of 1"),
        ("loss.0.horizon_weights=[1.0]", r"are 1, and label.horizons = \[2, 5\] are 2; want one"),
        ("split.valid_sessions=6", None),
    ],
)
def test_wrong_kinds_are_named_with_the_nearest(
    override: str,
    words: str | None,
    plain: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if words is None:
        more = (override, "training.selection=net_sharpe")
        words = r"net_sharpe.*split.valid_sessions = 6, want more than 6"
    else:
        more = (override,)
    with pytest.raises(SpecError, match=words):
        read(plain, tmp_path, monkeypatch, *more)


def test_a_term_of_the_loss_is_set_by_its_place(
    plain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read(plain, tmp_path, monkeypatch, "loss.0.kind=mse")
    assert [term.kind for term in found.spec.loss] == ["mse"]
    assert found.variant


def test_a_kind_of_model_with_another_name_is_refused_with_it(
    plain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SpecError, match=r'model.kind = "branches" is "multi_branch" by now'):
        read(plain, tmp_path, monkeypatch, "model.kind=branches")
