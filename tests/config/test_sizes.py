"""Sizes: sections on top of a recipe's own, chosen like an override, checked like a file."""

from pathlib import Path

import pytest

from alpha_assets.config.folders import VARIABLE, named_file, names
from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import load_recipe, markets_of, recipe_sizes
from alpha_assets.config.sizes import at_size, size_of
from alpha_assets.errors import SpecError

TABLES = {
    "model": {"kind": "transformer", "d_model": 64, "layers": 2},
    "loss": [{"kind": "ic"}, {"kind": "mse"}],
    "sizes": {
        "small": {"model": {"d_model": 8}, "training": {"max_epochs": 1}},
        "full": {"loss": [{"kind": "huber"}]},
    },
}


def test_a_size_changes_the_keys_that_it_holds_and_no_others() -> None:
    sized, others = at_size(TABLES, ["size=small", "model.layers=3"], "a.toml")
    assert sized == {
        "model": {"kind": "transformer", "d_model": 8, "layers": 2},
        "loss": [{"kind": "ic"}, {"kind": "mse"}],
        "training": {"max_epochs": 1},
    }
    assert others == ["model.layers=3"]


def test_a_list_is_replaced_as_a_whole_and_without_a_size_the_file_stands() -> None:
    assert at_size(TABLES, ['size="full"'], "a.toml")[0]["loss"] == [{"kind": "huber"}]
    plain, _ = at_size(TABLES, [], "a.toml")
    assert plain == {key: TABLES[key] for key in ("model", "loss")}


def test_the_last_size_counts() -> None:
    assert size_of(["size=small", "model.d_model=3", "size=full"]) == "full"
    assert size_of(["model.size=3"]) == ""


def test_an_unknown_size_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SpecError, match=r"'smal' is no size of it; it has small, full; did you"):
        at_size(TABLES, ["size=smal"], "a.toml")
    with pytest.raises(SpecError, match="it has one size only: leave it out"):
        at_size({"model": {}}, ["size=small"], "a.toml")
    with pytest.raises(SpecError, match=r"want one table for each, \[sizes.<name>\]"):
        at_size({"sizes": {"small": 3}}, [], "a.toml")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of recipes of one's own: a parent and its second stage, with sizes."""
    text = named_file("recipes", "rolling_transformer").read_text(encoding="utf-8")
    markets = named_file("markets", "sim").read_text(encoding="utf-8")
    for kind in ("recipes", "markets"):
        (tmp_path / kind).mkdir()
    (tmp_path / "markets/sim.toml").write_text(markets)
    small = "\n[sizes.small.model]\nd_model = 8\n\n[sizes.large.model]\nd_model = 64\n"
    text = text.partition("\n[sizes.")[0]  # of one size
    text = text.replace('markets = ["sim", "us", "jp"]', 'markets = ["sim"]')
    (tmp_path / "recipes/first.toml").write_text(text + small)
    second = text.replace("[training]\n", '[training]\nparent = "first"\n')
    (tmp_path / "recipes/second.toml").write_text(
        second + small.replace("large", "huge").replace("64", "128")
    )
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return tmp_path


def test_a_size_is_a_variant_and_other_overrides_go_on_top(own: Path) -> None:
    market = load_market("sim")
    plain = load_recipe("first", market)
    small = load_recipe("first", market, overrides=["size=small"])
    spelled = load_recipe("first", market, overrides=["model.d_model=8"])
    both = load_recipe("first", market, overrides=["model.d_model=16", "size=small"])
    assert not plain.variant
    assert small.variant == spelled.variant != ""
    assert getattr(small.spec.model, "d_model", None) == 8
    assert getattr(both.spec.model, "d_model", None) == 16
    assert recipe_sizes("first") == ("small", "large")


def test_the_parent_of_a_second_stage_is_taken_at_the_same_size(own: Path) -> None:
    market = load_market("sim")
    small = load_recipe("second", market, overrides=["size=small"])
    huge = load_recipe("second", market, overrides=["size=huge"])
    assert small.parent is not None
    assert huge.parent is not None
    assert getattr(small.parent.spec.model, "d_model", None) == 8
    assert small.parent.variant
    assert not huge.parent.variant  # its file has no such size


def test_every_size_of_a_shipped_recipe_is_a_recipe() -> None:
    for name in names("recipes"):
        for size in recipe_sizes(name):
            market = load_market(markets_of(name)[0])
            assert load_recipe(name, market, overrides=[f"size={size}"]).spec.about


def test_a_size_that_nobody_could_choose_is_refused_before_anybody_does(own: Path) -> None:
    file = own / "recipes/first.toml"
    file.write_text(file.read_text() + "\n[sizes.wide.model]\nd_modle = 128\n")
    with pytest.raises(SpecError, match=r"first\.toml at size wide: .*d_modle"):
        load_recipe("first", load_market("sim"))


ABLATIONS = (
    ["model.norm=none"],
    ["model.norm=causal"],
    ["model.graph=false", "inputs={}"],
    ['loss=[{kind="mse"}]', "model.quantiles=[]"],
    ["market.universes.all.scale=history"],
)


@pytest.mark.parametrize("market", ["sim", "jp"])
def test_every_ablation_that_atft_gat_fan_names_is_a_recipe_of_its_own(market: str) -> None:
    text = named_file("recipes", "atft_gat_fan").read_text(encoding="utf-8")
    digests = set()
    for overrides in ([], *ABLATIONS):
        of_market = [word[7:] for word in overrides if word.startswith("market.")]
        of_recipe = [word for word in overrides if not word.startswith("market.")]
        opened = load_market(market, overrides=of_market)
        recipe = load_recipe("atft_gat_fan", opened, overrides=of_recipe)
        recipe.check_features()
        digests.add(recipe.digest)
        for word in overrides:
            assert word.partition("=")[0] in text or word.startswith("loss="), word
    assert len(digests) == len(ABLATIONS) + 1
