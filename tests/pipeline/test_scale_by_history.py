"""Z-scores over a year of a universe's rows: the switch that leaves out the session's own scale."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.audit.test_planted_leaks import assert_caught
from tests.conftest import linked

import alpha_assets as aa
from alpha_assets import project
from alpha_assets.audit import audit
from alpha_assets.audit.recompute import disagreements
from alpha_assets.audit.render import as_text
from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import load_recipe
from alpha_assets.errors import SpecError
from alpha_assets.features.cross_section import ByHistory
from alpha_assets.panel.universe import UniverseSpec
from alpha_assets.pipeline import identity, stages
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.spec import digest

pytestmark = pytest.mark.usefixtures("pipelines")
MONTHS = {"first_month": "2021-07", "last_month": "2021-07"}
SCALED = [
    "market.universes.traded.scale=history",
    'features.names=["ret_1", "ret_5", "turn_z", "rev_5", "beta_60", "x_rev_5__turn_z"]',
    "window.min_span=0.5",
]
KEYS = ["session", "symbol"]


@pytest.fixture(scope="module")
def scaled(tiny_market: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage in which a month was decided by z-scores over a year."""
    folder = linked(tiny_market, tmp_path_factory.mktemp("scaled"))
    aa.run("tiny", storage=str(folder), overrides=SCALED, **MONTHS)
    return folder


def context_in(storage: Path, overrides: list[str] = SCALED) -> RecipeContext:
    return project.open_context("tiny", storage=str(storage), overrides=overrides)


def test_a_declaration_without_the_key_has_the_digest_that_it_had() -> None:
    plain = {
        "membership": False, "symbols": None, "sectors": None, "min_history": 0,
        "min_dollar_volume": None, "dollar_volume_window": 20, "min_price": None,
        "news_within": None, "min_names": 10, "winsorise": 0.01, "clip": 5.0,
    }  # fmt: skip
    assert digest(UniverseSpec()) == digest(UniverseSpec(scale="session")) == digest(plain)
    assert digest(UniverseSpec(scale="history")) == digest({**plain, "scale": "history"})


def test_another_scale_is_another_section_and_another_model() -> None:
    market = load_market("tiny")
    other = load_market("tiny", overrides=["universes.traded.scale=history"])
    assert market.data_digest == other.data_digest
    sections = [identity.cross_section(one, "traded", "price") for one in (market, other)]
    assert sections[0] != sections[1]
    assert load_recipe("tiny", market).digest != load_recipe("tiny", other).digest
    with pytest.raises(SpecError, match=r"scale.*'session' or 'history'"):
        load_market("tiny", overrides=["universes.traded.scale=years"])


def test_the_level_of_a_session_is_seen_by_history_alone(scaled: Path, tiny_run: Path) -> None:
    sections = {
        name: context_in(folder, overrides).cross_section("traded").read("2021-07", "2021-07")
        for name, folder, overrides in (("history", scaled, SCALED), ("session", tiny_run, []))
    }
    level = {
        name: rows.group_by("session").agg(pl.col("ret_1_cs_z").mean()).collect()["ret_1_cs_z"]
        for name, rows in sections.items()
    }
    assert level["session"].abs().max() < 0.05  # what is clipped moves it a little
    assert level["history"].std() > 0.2
    missing = [rows.select("price_missing").collect() for rows in sections.values()]
    assert missing[0].equals(missing[1])


def known(context: RecipeContext, name: str, day: date) -> pl.DataFrame:
    """Return a feature's winsorised values of all members up to a session, from what is stored."""
    before = pl.col("session") <= day
    members = context.cross_section("traded").of("members").read().filter(before).collect()
    features = context.features.read().select(*KEYS, name).filter(before).collect()
    x = pl.col(name).cast(pl.Float64)
    rows = (
        members.join(features, on=KEYS, how="left")
        .drop_nulls(name)
        .with_columns(
            x.quantile(0.01, "linear").over("session").alias("low"),
            x.quantile(0.99, "linear").over("session").alias("high"),
            pl.len().over("session").alias("n"),
        )
    )
    return rows.select(*KEYS, x.clip("low", "high"), "n")


def test_a_stored_section_is_that_of_moments_over_all_rows_so_far(scaled: Path) -> None:
    context, day = context_in(scaled), date(2021, 7, 14)
    rows = known(context, "ret_5", day)
    x = rows.filter(pl.col("n") >= 10)
    assert x["session"].n_unique() > 100
    today = rows.filter(session=day).sort("symbol")
    want = np.clip((today["ret_5"] - x["ret_5"].mean()) / x["ret_5"].std(ddof=0), -5, 5)
    stored = context.section.read("2021-07", "2021-07").filter(pl.col("session") == day).collect()
    got = today.select(KEYS).join(stored, on=KEYS, how="left").sort("symbol")["ret_5_cs_z"]
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6)


def test_a_month_without_members_can_be_made_alone(tiny_market: Path, tmp_path: Path) -> None:
    # As many bars as `traded` asks for are there at the end of the second month alone.
    folder = linked(tiny_market, tmp_path / "storage")
    context = context_in(folder, [*SCALED, "market.universes.traded.min_history=25"])
    stages.make(context, "cross_section/traded", ["2021-01"])
    assert context.section.read("2021-01", "2021-01").collect().height == 0


def test_predict_decides_what_is_stored(scaled: Path) -> None:
    stored = context_in(scaled).predictions.read("2021-07", "2021-07").collect()
    day = stored["session"].unique().sort()[9]
    decided = aa.predict("tiny", asof=str(day), storage=str(scaled), overrides=SCALED)
    keys = [*KEYS, "horizon"]
    rows = pl.DataFrame(decided["rows"], schema_overrides=stored.schema).sort(keys)
    assert rows.select(stored.columns).equals(stored.filter(session=day).sort(keys))


def test_why_prints_what_makes_its_z_scores_again(scaled: Path) -> None:
    context = context_in(scaled)
    stored = context.predictions.read("2021-07", "2021-07").collect().sort(KEYS)
    for place in (0, -1):
        day, symbol = stored.select(KEYS).row(place)
        told = aa.why(symbol, str(day), "tiny", storage=str(scaled), overrides=SCALED)
        assert disagreements(told) == []
        by_name = {item["name"]: item for item in told["features"]}
        x = known(context, "ret_1", day).filter(pl.col("n") >= 10)
        assert by_name["ret_1"]["mean"] == pytest.approx(x["ret_1"].mean(), rel=1e-9)
        assert by_name["ret_1"]["sd"] == pytest.approx(x["ret_1"].std(ddof=0), rel=1e-9)
        words = as_text(told)
        assert "names over 252 sessions: mean" in words
        assert "rev_5_cs_z x turn_z_cs_z, clipped alone at 5" in words


def test_the_certificate_covers_a_scale_by_history(scaled: Path, tmp_path: Path) -> None:
    folder = linked(scaled, tmp_path / "storage")
    found = audit(context_in(folder), [date(2021, 7, 14)], seed=3, sessions=0)
    assert found.passed


def test_the_certificate_catches_a_scale_over_sessions_to_come(
    scaled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each session has the scale of the last one that is made with it.
    honest = ByHistory.at
    monkeypatch.setattr(ByHistory, "at", lambda self, session: honest(self, self.sessions[-1]))
    folder = linked(scaled, tmp_path / "storage")
    certificate = audit(context_in(folder), [date(2021, 7, 14)], seed=3, sessions=0)
    assert_caught(certificate, "cross_section")
