"""The books recomputed from the written tables alone, in pandas: no code of the simulator."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.backtest.market import (
    FREE,
    FRICTIONS,
    LAST,
    SPECS,
    books,
    day,
    hold,
    path,
    random_market,
    random_targets,
    raw,
)

from alpha_assets.backtest.books import Books

PARTS = ["commission", "spread_cost", "impact_cost"]
COLUMNS = {
    "positions": [
        "session", "symbol", "shares", "mark_price", "market_value", "weight", "target_weight",
    ],
    "trades": [
        "session", "symbol", "shares", "price", "notional", "commission", "spread_cost",
        "impact_cost", "reason",
    ],
    "daily": [
        "session", "gross_return", "net_return", "turnover", "gross_exposure", "net_exposure",
        "commission", "spread_cost", "impact_cost", "borrow_cost", "dividends", "cash_interest",
        "cash", "equity",
    ],
    "marks": ["session", "symbol", "open", "close", "share_ratio"],
}  # fmt: skip


def written(kept: Books, folder: Path) -> dict[str, pd.DataFrame]:
    """Return the tables as another program finds them on disk."""
    for name in COLUMNS:
        getattr(kept, name).write_parquet(folder / f"{name}.parquet")
    return {name: pd.read_parquet(folder / f"{name}.parquet") for name in COLUMNS}


def grid(frame: pd.DataFrame, column: str, like: pd.DataFrame, fill: float) -> pd.DataFrame:
    """Return a column as sessions by symbols."""
    wide = frame.pivot_table(index="session", columns="symbol", values=column, aggfunc="sum")
    return wide.reindex(index=like.index, columns=like.columns).fillna(fill)


@pytest.mark.parametrize(
    ("word", "basis"),
    [
        ("fractions at the open", "price"),
        ("fractions at the open", "total_return"),
        ("at the close", "price"),
        ("capped", "total_return"),
        ("in capped lots", "price"),
    ],
)
@pytest.mark.parametrize("seed", [20, 21])
def test_the_books_balance(word: str, basis: str, seed: int, tmp_path: Path) -> None:
    capital = SPECS[word].capital
    kept = books(
        random_targets(seed), random_market(seed), LAST, SPECS[word], FRICTIONS, basis=basis
    )
    tables = written(kept, tmp_path)
    positions, trades, marks = (tables[name] for name in ("positions", "trades", "marks"))
    daily = tables["daily"].set_index("session")
    previous = daily["equity"].shift(fill_value=capital)
    close = marks.pivot(index="session", columns="symbol", values="close").reindex(daily.index)
    ratio = grid(marks, "share_ratio", close, 1.0)

    # Shares: what was held, times the split, plus what was traded.
    held, bought = grid(positions, "shares", close, 0.0), grid(trades, "shares", close, 0.0)
    expected = held.shift(fill_value=0.0) * ratio + bought
    assert ((held - expected).abs() * close.ffill().fillna(0.0)).to_numpy().max() < 1e-9 * capital
    assert len(trades) > 30

    # Marks: the close, else the last one restated by every split since.
    mark, last = [], pd.Series(np.nan, index=close.columns)
    for session in close.index:
        last = close.loc[session].fillna(last / ratio.loc[session])
        mark.append(last)
    mark = pd.DataFrame(mark, index=close.index)
    worth = (held * mark.fillna(0.0)).sum(axis=1)
    stands = positions[positions["shares"] != 0]
    theirs = stands.apply(lambda row: mark.loc[row["session"], row["symbol"]], axis=1)
    assert np.allclose(theirs, stands["mark_price"], rtol=1e-12)
    assert np.allclose(stands["shares"] * stands["mark_price"], stands["market_value"], rtol=1e-12)

    # Cash, equity, returns, turnover and exposures.
    bill = daily[[*PARTS, "borrow_cost"]].sum(axis=1)
    spent = trades.groupby("session")["notional"].sum().reindex(daily.index, fill_value=0.0)
    cash = (
        daily["cash"].shift(fill_value=capital)
        - spent
        - bill
        + daily["dividends"]
        + daily["cash_interest"]
    )
    assert (cash - daily["cash"]).abs().max() < 1e-9 * capital
    assert (daily["cash"] + worth - daily["equity"]).abs().max() < 1e-9 * capital
    assert np.allclose(daily["net_return"], daily["equity"] / previous - 1, atol=1e-12)
    assert np.allclose(daily["gross_return"], (daily["equity"] + bill) / previous - 1, atol=1e-12)
    moved = trades["notional"].abs().groupby(trades["session"]).sum().reindex(daily.index)
    assert np.allclose(daily["turnover"], moved.fillna(0.0) / 2 / previous, atol=1e-12)
    gross = (held * mark.fillna(0.0)).abs().sum(axis=1) / daily["equity"]
    assert np.allclose(daily["gross_exposure"], gross, atol=1e-12)
    assert np.allclose(daily["net_exposure"], worth / daily["equity"], atol=1e-12)

    # The bill of a session is the sum over its trades, and no part of it is ever a gain.
    parts = trades.groupby("session")[PARTS].sum().reindex(daily.index, fill_value=0.0)
    assert np.allclose(parts, daily[PARTS], rtol=1e-12)
    assert (trades[PARTS].to_numpy() >= 0).all()
    assert (daily[[*PARTS, "borrow_cost"]].to_numpy() >= 0).all()
    assert np.allclose(trades["notional"], trades["shares"] * trades["price"], rtol=1e-12)


def test_every_fill_is_at_the_open_that_the_marks_have(tmp_path: Path) -> None:
    tables = written(
        books(random_targets(3), random_market(3), LAST, SPECS["capped"], FRICTIONS), tmp_path
    )
    fills = tables["trades"][tables["trades"]["reason"].isin(["rebalance", "carried"])]
    found = fills.merge(tables["marks"], on=["session", "symbol"], how="left")

    assert len(found) == len(fills) > 30
    assert (found["price"] == found["open"]).all()


def test_the_tables_have_the_columns_of_the_contract_and_stand_in_key_order() -> None:
    kept = books(random_targets(4), random_market(4), LAST, SPECS["capped"], FRICTIONS)

    for name, columns in COLUMNS.items():
        frame = getattr(kept, name)
        key = [column for column in ("session", "symbol") if column in columns]
        assert frame.columns == columns
        assert frame.equals(frame.sort(key, maintain_order=True))
        assert not any(frame[c].is_nan().any() for c in columns if frame[c].dtype.is_float())
        if name != "trades":
            assert not frame.select(key).is_duplicated().any()


def test_a_position_has_a_row_where_shares_or_a_target_stand_and_nowhere_else() -> None:
    targets = hold((1, {"A": 0.5, "B": 0.0, "C": 0.2}), (3, {"A": 0.0}))
    market = raw(daily_bars=[*path("A", [100.0] * 5), *path("B", [10.0] * 5), *path("C", [7.0])])
    rows = books(targets, market, 4).positions.select("session", "symbol", "target_weight").rows()

    # C has no bar after session 0: a target without shares.
    assert rows == [
        (day(1), "A", 0.5),
        (day(1), "C", 0.2),
        (day(2), "A", None),
    ]


def test_gross_is_net_with_the_costs_of_the_session_added_back() -> None:
    market, targets = random_market(5), random_targets(5)
    daily = books(
        targets, market, LAST, SPECS["fractions at the open"], FRICTIONS
    ).daily.to_pandas()
    previous = daily["equity"].shift(fill_value=SPECS["fractions at the open"].capital)
    bill = daily[[*PARTS, "borrow_cost"]].sum(axis=1)

    assert np.allclose(daily["gross_return"] - daily["net_return"], bill / previous, atol=1e-14)
    del market["borrow"]
    free = books(targets, market, LAST, SPECS["fractions at the open"], FREE).daily
    assert (free["gross_return"] == free["net_return"]).all()
