"""The simulator beside a second one, kept one symbol at a time in plain numbers."""

import math

import polars as pl
import pytest
from tests.backtest.market import (
    FREE,
    FRICTIONS,
    LAST,
    SPECS,
    TOKYO,
    books,
    day,
    random_market,
    random_targets,
    targets_for,
)

from alpha_assets.arrays.keys import MAX_STALE
from alpha_assets.backtest import CostsSpec, PortfolioSpec
from alpha_assets.backtest.attribution import attribution
from alpha_assets.backtest.books import Books
from alpha_assets.backtest.reference import ReferenceBooks, reference_backtest

SEEDS = (6, 7, 8)  # between them every reason for a trade and every note comes up


def rows_agree(ours: pl.DataFrame, theirs: list[dict[str, object]], scale: float) -> None:
    found = ours.to_dicts()
    theirs = sorted(
        theirs, key=lambda row: (row["session"], str(row.get("symbol", row.get("leg"))))
    )
    assert len(found) == len(theirs)
    for mine, other in zip(found, theirs, strict=True):
        assert set(mine) == set(other)
        for name, value in mine.items():
            expected = other[name]
            if isinstance(value, float) and isinstance(expected, float | int):
                # Money is compared with the capital, everything else with itself.
                close = math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-9 * scale)
                assert close, (name, mine, other)
            else:
                assert value == expected, (name, mine, other)


def books_agree(ours: Books, theirs: ReferenceBooks, spec: PortfolioSpec) -> None:
    rows_agree(ours.daily, theirs.daily, spec.capital)
    rows_agree(ours.trades, theirs.trades, spec.capital)
    rows_agree(ours.positions, theirs.positions, spec.capital)
    legs = attribution(ours.pages).legs
    rows_agree(legs.select(*theirs.legs[0]), theirs.legs, spec.capital)


@pytest.mark.parametrize("max_stale", [MAX_STALE, 3])
@pytest.mark.parametrize("word", SPECS)
@pytest.mark.parametrize("seed", SEEDS)
def test_both_simulators_keep_the_same_books(word: str, seed: int, max_stale: int) -> None:
    market, spec = random_market(seed), SPECS[word]
    targets = targets_for(seed, spec)
    ours = books(targets, market, LAST, spec, FRICTIONS, max_stale=max_stale)
    theirs = reference_backtest(
        targets,
        market,
        TOKYO,
        first=day(0),
        last=day(LAST),
        portfolio=spec,
        costs=FRICTIONS,
        basis="price",
        max_stale=max_stale,
    )

    books_agree(ours, theirs, spec)


@pytest.mark.parametrize("costs", [FRICTIONS, FREE])
@pytest.mark.parametrize("seed", range(10, 13))
def test_they_agree_on_total_return_prices_too(costs: CostsSpec, seed: int) -> None:
    market, targets = random_market(seed), random_targets(seed)
    spec = SPECS["capped"]
    ours = books(targets, market, LAST, spec, costs, "total_return")
    theirs = reference_backtest(
        targets,
        market,
        TOKYO,
        first=day(0),
        last=day(LAST),
        portfolio=spec,
        costs=costs,
        basis="total_return",
        max_stale=MAX_STALE,
    )

    books_agree(ours, theirs, spec)


def test_the_random_markets_do_what_they_are_for() -> None:
    """A market without halts, exits or carried orders would prove nothing."""
    seen: set[str] = set()
    noted: set[str] = set()
    for seed in SEEDS:
        for spec in SPECS.values():
            kept = books(targets_for(seed, spec), random_market(seed), LAST, spec)
            seen |= set(kept.trades["reason"])
            noted |= {note.split(" on ")[0].lstrip("0123456789 ") for note in kept.notes[1:]}

    stopped = "source_end: no bar for 21 sessions"
    assert seen == {"rebalance", "carried", "delisted", "acquired", "fraction", stopped}
    assert noted == {
        "purchases or new shorts were held back in part or whole",
        "short sales were not filled",
        "short positions, counted once a rebalance, were above the shares that lenders quoted "
        "(borrow.available_shares)",
        "orders were filled",
    }
