"""What a market makes of its file and of what its source has."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from alpha_assets.config.market import Market, load_market
from alpha_assets.config.recipe import load_recipe
from alpha_assets.errors import SpecError
from alpha_assets.sources.jquants import ApiKey, JQuantsSpec
from alpha_assets.sources.jquants.source import JQuantsSource

BARS = "date,symbol,open,high,low,close,volume\n2020-01-02,A,1,1,1,1,1\n"
SPELLS = "symbol,start,end\nA,2020-01-02,\n"


@pytest.fixture
def market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Market:
    """The shipped American market on a folder that holds nothing but bars."""
    monkeypatch.delenv("ALPHA_PIPELINES", raising=False)
    (tmp_path / "daily_bars.csv").write_text(BARS)
    return load_market("us", data=tmp_path)


def test_the_universe_of_all_goes_by_bars_where_there_is_no_membership(market: Market) -> None:
    assert market.spec.universes["all"].membership
    assert not market.universe("all").membership
    (note,) = market.notes
    assert "goes by bars alone, for want of a membership feed" in note
    load_recipe("rolling_transformer", market).check_features()


def test_a_loss_on_a_column_that_the_recipe_does_not_read_is_refused(market: Market) -> None:
    def loss(column: str) -> str:
        return f'loss=[{{kind="ic"}}, {{kind="decorrelation", column="{column}"}}]'

    load_recipe("rolling_transformer", market, overrides=[loss("mom_12_1_cs_z")]).check_features()
    odd = load_recipe("rolling_transformer", market, overrides=[loss("mom_12_1")])
    words = (
        r'"decorrelation" reads column .mom_12_1., which is none of .* did you mean mom_12_1_cs_z'
    )
    with pytest.raises(SpecError, match=words):
        odd.check_features()


def test_bars_cannot_be_switched_off(market: Market) -> None:
    words = r"\[feeds.daily_bars\] on = false: every stage reads bars; leave it out"
    with pytest.raises(SpecError, match=words):
        load_market("us", overrides=["feeds.daily_bars.on=false"])


def test_another_universe_that_wants_members_is_refused(market: Market) -> None:
    with pytest.raises(SpecError, match="needs the feed 'membership'"):
        market.universe("liquid")


def test_membership_that_is_delivered_later_makes_the_recipe_stale(
    market: Market, tmp_path: Path
) -> None:
    before = load_recipe("rolling_transformer", market).digest
    (tmp_path / "membership.csv").write_text(SPELLS)
    after = load_market("us", data=tmp_path)
    assert after.universe("all").membership
    assert after.notes == ()
    assert load_recipe("rolling_transformer", after).digest != before


def test_a_feed_that_is_refused_gives_a_new_market(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, before = market.source, market.feeds
    assert list(before) == ["daily_bars"]
    monkeypatch.setattr(type(source), "feeds", lambda self: ())
    after = market.without_refused()
    assert after.source is source  # with what it has asked and read so far
    assert list(after.feeds) == []
    assert after.feeds_off["daily_bars"]
    assert market.feeds is before  # the old one stays as it was
    assert after == market  # by its file and settings


def test_a_market_in_another_process_builds_a_source_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ALPHA_PIPELINES", raising=False)
    market = load_market("jp", storage=str(tmp_path), overrides=["source.plan=free"])
    assert isinstance(market.spec.source, JQuantsSpec)
    source = JQuantsSource(market.spec.source, market.calendar, tmp_path, key=ApiKey("secret"))
    market = replace(market, built_source=source)  # a key is not pickled
    feeds = market.feeds

    packed = pickle.dumps(market)

    assert b"secret" not in packed
    other = pickle.loads(packed)
    assert other == market
    assert (other.storage, other.overrides) == (str(tmp_path), ("source.plan=free",))
    assert other.source is not source
    assert list(other.feeds) == list(feeds)
