"""A model trained on one universe that scores and holds a smaller one."""

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.audit.test_planted_leaks import assert_caught
from tests.conftest import linked

import alpha_assets as aa
from alpha_assets import project
from alpha_assets.audit import audit
from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import load_recipe
from alpha_assets.errors import MissingOutput, SpecError
from alpha_assets.pipeline import identity, predictions
from alpha_assets.pipeline.checkpoint import checkpoint_stage
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.predictions import candidates, predictions_stage

pytestmark = pytest.mark.usefixtures("pipelines")
MONTHS = {"first_month": "2021-07", "last_month": "2021-07"}
HELD = ["market.universes.dear.min_price=1000", "universe.held=dear"]
KEYS = ["session", "symbol"]


@pytest.fixture(scope="module")
def priced(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage in which those with a price of 1,000 were held, of those who trade."""
    folder = linked(tiny_run, tmp_path_factory.mktemp("priced"))
    aa.run("tiny", storage=str(folder), overrides=HELD, **MONTHS)
    return folder


def context_in(storage: Path, *overrides: str) -> RecipeContext:
    return project.open_context("tiny", storage=str(storage), overrides=list(overrides))


def test_scores_are_those_of_the_same_model_for_those_who_may_be_held(priced: Path) -> None:
    alone, wide = context_in(priced, *HELD), context_in(priced)
    assert checkpoint_stage(alone.recipe).identity == checkpoint_stage(wide.recipe).identity
    assert predictions_stage(alone.recipe).identity != predictions_stage(wide.recipe).identity
    held, all_of_them = (c.predictions.read("2021-07", "2021-07").collect() for c in (alone, wide))
    members = alone.cross_section("dear").read("2021-07", "2021-07").select(KEYS).collect()
    assert 0 < held.height < all_of_them.height
    assert held.equals(all_of_them.join(members, on=KEYS, how="semi", maintain_order="left"))


def test_the_book_holds_no_one_else(priced: Path) -> None:
    context = context_in(priced, *HELD)
    targets = context.targets.read("2021-07", "2021-07").collect()
    members = candidates(context, "2021-07", "2021-07").collect()
    assert targets.height
    assert targets.join(members, on=KEYS, how="anti").height == 0


def test_predict_decides_what_is_stored(priced: Path) -> None:
    context = context_in(priced, *HELD)
    stored = context.targets.read("2021-07", "2021-07").collect()
    day = stored["session"].max()
    decided = aa.predict("tiny", asof=str(day), storage=str(priced), overrides=HELD)
    rows = pl.DataFrame(decided["rows"], infer_schema_length=None).filter(pl.col("horizon") == 5)
    want = stored.filter(pl.col("session") == day).sort("symbol")
    got = rows.sort("symbol")
    assert got["symbol"].to_list() == want["symbol"].to_list()
    assert got["target_weight"].to_list() == want["target_weight"].to_list()


def test_why_names_the_universe_that_a_symbol_is_not_in(priced: Path) -> None:
    context, wide = context_in(priced, *HELD), context_in(priced)
    members = candidates(context, "2021-07", "2021-07").collect()
    scored = wide.predictions.read("2021-07", "2021-07").collect()
    session, symbol = scored.select(KEYS).join(members, on=KEYS, how="anti").row(0)
    with pytest.raises(MissingOutput, match=r"not in the universe 'dear'.*min_price = 1000"):
        aa.why(symbol, str(session), "tiny", storage=str(priced), overrides=HELD)


def test_targets_depend_on_who_may_be_held() -> None:
    market = load_market("tiny")
    narrow = load_recipe("tiny", market, overrides=["universe.held=priced"])
    wide = load_recipe("tiny", market)
    assert identity.targets(narrow) != identity.targets(wide)
    assert narrow.held_universe == "priced"
    assert wide.held_universe == "traded"


def test_an_unknown_universe_is_refused() -> None:
    with pytest.raises(SpecError, match="no universe 'prized'; want one of all, traded, priced"):
        load_recipe("tiny", load_market("tiny"), overrides=["universe.held=prized"])


@pytest.mark.slow
def test_the_certificate_covers_who_may_be_held(priced: Path, tmp_path: Path) -> None:
    folder = linked(priced, tmp_path / "storage")
    found = aa.audit("tiny", storage=str(folder), overrides=HELD, **MONTHS)
    assert found["passed"]


@pytest.mark.slow
def test_the_certificate_catches_who_may_be_held_by_a_later_session(
    priced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Those of the session five later, of the same month; of its last five their own.
    honest = predictions.stored_held

    def ahead(*asked: Any) -> pl.DataFrame | None:
        own = honest(*asked)
        assert own is not None
        days = own["session"].unique().sort()
        before = dict(zip(days[5:], days[:-5], strict=True))
        later = own.filter(pl.col("session").is_in(days[5:].implode()))
        moved = later.with_columns(pl.col("session").replace_strict(before))
        return pl.concat([moved, own.filter(pl.col("session").is_in(days[-5:].implode()))])

    monkeypatch.setattr(predictions, "stored_held", ahead)
    folder = linked(priced, tmp_path / "storage")
    certificate = audit(context_in(folder, *HELD), [date(2021, 7, 14)], seed=3, sessions=0)
    assert_caught(certificate, "predictions")


def test_a_universe_of_symbols_without_bars_is_refused_by_its_rules(
    storage: Path,
) -> None:
    # As many as both sides of a book want, or the rule is refused before the market is asked.
    named = [
        'market.universes.mine.symbols=["NO1", "NO2", "NO3", "NO4"]',
        "universe.name=mine",
        "portfolio.rule=rank_weighted",
    ]
    lines = list[str]()
    with pytest.raises(SpecError) as raised:
        aa.run(
            "tiny",
            storage=str(storage),
            overrides=named,
            progress=lambda stage, what: lines.append(f"{stage}: {what}"),
            **MONTHS,
        )
    assert str(raised.value) == (
        "universe 'mine' of market 'tiny' has no member from 2021-01 to 2021-07; "
        "[universes.mine] asks for symbols = ('NO1', 'NO2', 'NO3', 'NO4'); choose another "
        "[universe] name in the recipe, or change those rules in the market's file"
    )
    wanted = (
        "market: 4 of the 4 symbols that universe 'mine' names have no bar: NO1, NO2, NO3, NO4; "
        "0 are left"
    )
    assert wanted in lines
