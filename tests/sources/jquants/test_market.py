"""A market that reads the API: drawn without a key, landing where told, naming what is off."""

import socket
from pathlib import Path
from typing import Any

import pytest

from alpha_assets import definitions
from alpha_assets.config.market import Market, load_market
from alpha_assets.errors import SpecError
from alpha_assets.feeds import FEEDS
from alpha_assets.sources.jquants.source import JQuantsSource


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without a key, a network or a place for rows; return where it works."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("nothing may be asked of the network")

    for name in ("JQUANTS_API_KEY", "ALPHA_STORAGE", "ALPHA_LANDING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_graph_is_drawn_without_a_key_or_a_network(bare: Path) -> None:
    keys = {key.to_user_string() for key in definitions.defs().resolve_all_asset_keys()}
    assert {f"jp/raw/{feed}" for feed in FEEDS} | {"jp/panel", "jp/features"} <= keys
    assert {f"jp/cross_section/{name}" for name in ("all", "liquid", "semis")} <= keys
    assert not list(bare.iterdir())


def test_a_plan_names_what_it_lacks_and_what_that_costs(bare: Path) -> None:
    market = load_market("jp")
    off = market.feeds_off
    assert set(off) == {
        *("breakdown", "dividends", "membership", "borrow", "rates", "news"),
        *("short_volume", "short_interest", "option_summary"),
    }
    assert "needs the plan premium, [source] plan is standard" in off["breakdown"]
    assert set(market.feeds) | set(off) == set(FEEDS)
    least = load_market("jp", overrides=["source.plan=free"])
    assert set(least.feeds) == {"daily_bars", "listings", "trading_calendar", "statements"}
    assert "needs the plan standard, [source] plan is free" in least.feeds_off["margin"]
    assert "breakdown" in load_market("jp", overrides=["source.plan=premium"]).feeds


def landing(market: Market) -> Path:
    assert isinstance(market.source, JQuantsSource)
    return market.source.folder


def test_rows_land_below_the_storage_root_each_market_apart(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert landing(load_market("jp")) == bare / "storage" / "_landing" / "jp"
    monkeypatch.setenv("ALPHA_STORAGE", str(bare / "outputs"))
    assert landing(load_market("jp")) == bare / "outputs" / "_landing" / "jp"
    elsewhere = f"file://{bare}/named"
    assert landing(load_market("jp", storage=elsewhere)) == bare / "named" / "_landing" / "jp"
    with pytest.raises(SpecError, match=r"'s3://b/x': .* export ALPHA_LANDING=FOLDER"):
        landing(load_market("jp", storage="s3://b/x"))
    monkeypatch.setenv("ALPHA_LANDING", str(bare / "rows"))
    assert landing(load_market("jp", storage=elsewhere)) == bare / "rows" / "jp"
    assert not list(bare.iterdir())


def test_what_another_server_answers_lands_apart(bare: Path) -> None:
    local = load_market("jp", overrides=["source.base_url=http://127.0.0.1:8321/v2"])
    assert landing(local) == bare / "storage" / "_landing" / "jp-127.0.0.1"


def test_a_market_without_an_oldest_day_is_refused(bare: Path) -> None:
    with pytest.raises(SpecError, match="first"):
        load_market("jp", overrides=["source.first=never"])
