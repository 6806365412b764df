"""A column is declared by its feed; whoever names one that is not is refused at import."""

from dataclasses import replace

import pytest

from alpha_assets.feeds.margin import MARGIN, MARGIN_ALERTS
from alpha_assets.panel.joins import JOINS
from alpha_assets.sources.jquants.endpoints import MARGIN_INTEREST


def test_a_joined_column_means_what_its_feed_declares() -> None:
    assert MARGIN.meanings("long", "issue_type") == {
        "long": "bought on margin, all, shares",
        "issue_type": "1 margin issue, 2 loanable issue, 3 other, code",
    }
    assert JOINS["margin"].columns["long"] == MARGIN.meanings("long")["long"]
    assert JOINS["margin_alerts"].columns["short"] == MARGIN_ALERTS.meanings("short")["short"]


def test_a_column_that_the_feed_does_not_declare_is_refused() -> None:
    with pytest.raises(AssertionError, match=r"a joined column of the feed margin: lnog; it decl"):
        MARGIN.meanings("long", "lnog")


def test_an_endpoint_that_fills_another_column_is_refused() -> None:
    names = MARGIN_INTEREST.names.replace(">long_negotiable", ">long_negotiabel")
    wanted = "a column that /markets/margin-interest fills of the feed margin: long_negotiabel"
    with pytest.raises(AssertionError, match=wanted):
        replace(MARGIN_INTEREST, names=names)
