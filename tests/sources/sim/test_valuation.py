"""Valuations of the simulated exchange: by hand, and against its statements and bars."""

import math
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from alpha_assets.calendar import Calendar
from alpha_assets.sources.sim import SimSpec
from alpha_assets.sources.sim.market import SimMarket
from alpha_assets.sources.sim.side.valuation import Figures, Filings, filed_at, valued
from alpha_assets.sources.sim.source import SimSource

Document = Mapping[str, Any]


def document(year: int, period: str, **figures: float | None) -> Document:
    """Return a document; one without equity is a forecast alone."""
    return {
        "fiscal_year_end": date(year, 3, 31),
        "period": period,
        "profit": None,
        "equity": None,
        "shares_outstanding": 110.0,
        "treasury_shares": 10.0,
        "forecast_profit": None,
        "next_profit": None,
        "session": 0,
        **figures,
    }


def heard(*documents: Document) -> dict[str, float]:
    told = Filings()
    for one in documents:
        told.add(one)
    return told.figures()._asdict()


LAST_1Q = document(2021, "1Q", profit=30.0, equity=900.0)
LAST_YEAR = document(2021, "FY", profit=100.0, equity=1_000.0, next_profit=120.0)
FIRST_QUARTER = document(2022, "1Q", profit=40.0, equity=1_100.0, forecast_profit=130.0)


def test_a_whole_year_is_its_own_twelve_months_and_the_next_is_the_one_forecast() -> None:
    assert heard(LAST_1Q, LAST_YEAR) == pytest.approx(
        {"profit": 100, "forecast": 120, "equity": 1_000, "equity_before": math.nan, "shares": 100},
        nan_ok=True,
    )


def test_twelve_months_are_last_year_and_this_one_so_far_less_the_same_part_of_the_last() -> None:
    assert heard(LAST_1Q, LAST_YEAR, FIRST_QUARTER) == {
        "profit": 100 + 40 - 30,
        "forecast": 130,
        "equity": 1_100,
        "equity_before": 900,
        "shares": 100,
    }


def test_a_part_of_a_year_alone_has_no_twelve_months() -> None:
    assert math.isnan(heard(LAST_1Q)["profit"])
    assert math.isnan(heard(LAST_YEAR, FIRST_QUARTER)["profit"])
    assert math.isnan(heard(LAST_1Q, FIRST_QUARTER)["profit"])


def test_a_revised_forecast_changes_nothing_but_the_forecast() -> None:
    before = heard(LAST_1Q, LAST_YEAR, FIRST_QUARTER)
    revised = document(2022, "1Q", forecast_profit=90.0, shares_outstanding=None)
    assert heard(LAST_1Q, LAST_YEAR, FIRST_QUARTER, revised) == {**before, "forecast": 90}


def test_a_forecast_of_the_year_after_waits_until_this_one_is_reported() -> None:
    early = document(2022, "3Q", profit=80.0, equity=1.0, forecast_profit=99.0, next_profit=150.0)
    assert heard(LAST_YEAR, early)["forecast"] == 99
    assert heard(LAST_YEAR, early, document(2022, "FY", profit=95.0, equity=2.0))["forecast"] == 150


def test_who_has_said_nothing_has_no_figures() -> None:
    assert all(math.isnan(value) for value in heard().values())


def test_a_document_counts_from_its_session_on_and_keeps_the_day_of_its_shares() -> None:
    known = filed_at([LAST_YEAR, {**FIRST_QUARTER, "session": 3}], [1, 4], 6)
    names = [*Figures._fields, "day"]
    equity, day = known[:, names.index("equity")], known[:, names.index("day")]

    np.testing.assert_array_equal(equity, [math.nan, 1_000, 1_000, 1_000, 1_100, 1_100])
    np.testing.assert_array_equal(day, [math.nan, 0, 0, 0, 3, 3])


def worth(price: float = 900.0, shares: float = 1e6, **figures: float) -> dict[str, float]:
    usual = {"profit": 30e6, "forecast": 45e6, "equity": 500e6, "equity_before": 400e6}
    told = Figures(**{**usual, "shares": shares, **figures})
    made = valued(told, np.float64(price), np.float64(shares))  # type: ignore[arg-type]
    return {name: float(value) for name, value in made.items()}


def test_values_by_hand() -> None:
    assert worth() == {
        "eps": 30,
        "forward_eps": 45,
        "bps": 500,
        "roe": round(30 / 450, 4),
        "forward_roe": 45 / 500,
        "per": 900 / 30,
        "forward_per": 900 / 45,
        "pbr": 900 / 500,
        "market_value": 900e6,
    }


def test_a_loss_keeps_its_sign_and_has_no_multiple() -> None:
    made = worth(profit=-30e6, equity=-500e6, equity_before=math.nan)
    assert (made["eps"], made["bps"]) == (-30, -500)
    assert math.isnan(made["per"])
    assert math.isnan(made["pbr"])
    assert math.isnan(made["roe"])  # a return on less than nothing means nothing
    assert made["forward_per"] == 20


@pytest.fixture(scope="module")
def rows(dirty_spec: SimSpec, tokyo_calendar: Calendar) -> pl.DataFrame:
    return SimSource(dirty_spec, tokyo_calendar).rows("valuation")


@pytest.fixture(scope="module")
def documents(dirty_spec: SimSpec, tokyo_calendar: Calendar) -> pl.DataFrame:
    return SimSource(dirty_spec, tokyo_calendar).rows("statements")


def test_there_is_a_row_for_each_listed_symbol_and_session(
    rows: pl.DataFrame, dirty: SimMarket
) -> None:
    assert rows.height == dirty.listed().sum()
    assert rows.height > np.isfinite(dirty.bar["close"]).sum()  # untraded ones, too


def test_the_price_is_the_close_and_without_one_the_last(
    rows: pl.DataFrame, dirty: SimMarket
) -> None:
    close, code = dirty.bar["close"], dirty.roster.code
    keyed = rows.drop_nulls("pbr").rows_by_key(["symbol", "event_date"], named=True, unique=True)
    traded, last = 0, 0
    for number, symbol in np.argwhere(dirty.listed()[::9]).tolist():
        row = keyed.get((code[symbol], dirty.sessions[9 * number].item()))
        known = close[: 9 * number + 1, symbol]
        if row is None or row["bps"] < 50:
            continue
        price = known[np.isfinite(known)][-1]
        assert row["pbr"] == pytest.approx(price / row["bps"], abs=0.006, rel=1e-3)
        traded, last = traded + np.isfinite(known[-1]), last + np.isnan(known[-1])
    assert traded > 1_000 < 100 * last


def test_a_document_is_in_the_row_of_the_session_after_its_day(
    rows: pl.DataFrame, documents: pl.DataFrame, dirty: SimMarket
) -> None:
    """Whatever its hour: half of them came at noon, before that day's close."""
    whole = documents.filter(pl.col("equity").is_not_null(), revision=0)
    early = whole.filter(pl.col("disclosed_at") < "15:00")
    assert 0.2 < early.height / whole.height < 0.5
    bps = {key: value for *key_, value in rows.select("symbol", "event_date", "bps").rows()
           for key in [tuple(key_)]}  # fmt: skip
    factor = dict(zip(dirty.roster.code, dirty.factor.T, strict=True))
    for one in whole.iter_rows(named=True):
        number = int(np.searchsorted(dirty.sessions, np.datetime64(one["event_date"])))
        if number + 1 == len(dirty.sessions) or factor[one["symbol"]][number + 1] != 1:
            continue
        after = bps.get((one["symbol"], dirty.sessions[number + 1].item()))
        assert after is None or after == pytest.approx(one["bps"], abs=0.02)
        assert bps[one["symbol"], one["event_date"]] != one["bps"]


def test_amounts_a_share_follow_a_split_and_the_market_value_does_not(
    rows: pl.DataFrame, dirty: SimMarket
) -> None:
    seen = 0
    for number, symbol in zip(*np.nonzero(dirty.factor != 1), strict=True):
        day = dirty.sessions[number].item()
        own = rows.filter(symbol=dirty.roster.code[symbol]).drop_nulls("bps")
        around = own.filter(pl.col("event_date").is_between(day - timedelta(days=12), day)).tail(2)
        if (
            around.height < 2
            or around["roe"].n_unique() > 1
            or around["forward_roe"].n_unique() > 1
        ):
            continue
        (bps, then), (value, capital) = around["bps"], around["market_value"]
        assert then == pytest.approx(bps * dirty.factor[number, symbol], abs=0.06)
        assert abs(math.log(capital / value)) < 0.4
        seen += 1
    assert seen > 10


def test_making_it_changes_nothing_of_what_it_is_made_from(
    dirty_spec: SimSpec, tokyo_calendar: Calendar
) -> None:
    # A market of its own: nothing has been made of it yet.
    short = {"seed": 4, "n_symbols": 20, "last": date(2021, 12, 30)}
    source = SimSource(dirty_spec.model_copy(update=short), tokyo_calendar)
    before = {name: source.rows(name) for name in ("daily_bars", "statements", "news")}
    assert source.rows("valuation").drop_nulls("bps").height > 0
    assert all(source.rows(name).equals(rows) for name, rows in before.items())
