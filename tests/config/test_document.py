"""The pages of recipes and markets are what the declarations say, and so is what is printed."""

import tomllib
from pathlib import Path

import pytest

from alpha_assets.backtest.rules import RankWeightedSpec
from alpha_assets.config.document import PAGES, as_toml, described, page, sections
from alpha_assets.config.folders import names
from alpha_assets.config.market import MarketSpec, load_market
from alpha_assets.config.recipe import RecipeSpec, load_recipe, markets_of
from alpha_assets.spec import Spec, parse_spec

DOCS = Path(__file__).parents[2] / "docs"
FILES = [MarketSpec, RecipeSpec]


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_the_declarations(name: str) -> None:
    written = (DOCS / name).read_text(encoding="utf-8")
    assert written == page(PAGES[name]), "the declarations have changed: run `make docs`"


@pytest.mark.parametrize("spec", FILES)
def test_every_key_has_a_meaning(spec: type[Spec]) -> None:
    lacking = [f"{section} {key}" for section, key, text in described(spec) if not text]
    assert not lacking


@pytest.mark.parametrize("spec", FILES)
def test_no_two_tables_share_a_heading(spec: type[Spec]) -> None:
    titles = [section.title for section in sections(spec)]
    assert len(titles) == len(set(titles))


def test_every_section_of_a_shipped_file_is_on_the_page() -> None:
    for kind, spec in (("markets", MarketSpec), ("recipes", RecipeSpec)):
        titles = " ".join(section.title for section in sections(spec))
        for field, value in spec.model_fields.items():
            if "Spec" in str(value.annotation):
                assert f"[{field}" in titles, f"{kind}: [{field}] is on no page"


def test_a_market_printed_is_the_market() -> None:
    for name in names("markets"):
        spec = load_market(name).spec
        again = parse_spec(tomllib.loads(as_toml(spec)), MarketSpec, origin=name)
        assert again == spec


def test_a_recipe_printed_is_the_recipe() -> None:
    for name in names("recipes"):
        spec = load_recipe(name, load_market(markets_of(name)[0])).spec
        again = parse_spec(tomllib.loads(as_toml(spec)), RecipeSpec, origin=name)
        assert again == spec
        assert (spec.costs is None) == ("# costs is not set" in as_toml(spec))


def test_what_is_switched_off_is_printed_so_that_it_stays_off() -> None:
    spec = RankWeightedSpec(rule="rank_weighted", horizon=5, max_participation=None)
    text = as_toml(spec)

    assert 'max_participation = "none"' in text
    assert parse_spec(tomllib.loads(text), RankWeightedSpec, origin="here") == spec


def test_text_that_toml_would_misread_is_escaped() -> None:
    spec = load_market("sim").spec.model_copy(update={"about": 'a "b" \\ \n \x1b é'})
    assert tomllib.loads(as_toml(spec))["about"] == spec.about
