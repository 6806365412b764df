"""Features of statements, by hand; and numbers of an earlier day over a split."""

import numpy as np
import pytest
from tests.features.through import through

from alpha_assets.arrays.types import Array
from alpha_assets.features.fundamentals import FUNDAMENTALS
from alpha_assets.features.inputs import inputs_behind
from alpha_assets.features.split_adjust import LONGEST, restated

FEATURES = {item.name: item for item in FUNDAMENTALS}
ROWS = 8
SPLIT = 5  # the row from which a 1-to-2 split is known: the bar before it is the first after


def column(*values: float) -> Array:
    return np.array(values, dtype=np.float64)[:, None]


def given(**inputs: float) -> dict[str, Array]:
    return {name: np.full((1, 1), float(value)) for name, value in inputs.items()}


def value(name: str, **inputs: float) -> float:
    """Return a feature of one row from inputs whose prefix `statements_` is left out."""
    plain = {
        "cum_factor",
        "cum_volume_factor",
        "raw_close",
        "earnings_dates_to",
        "earnings_dates_age",
    }
    named = {n if n in plain else f"statements_{n}": v for n, v in given(**inputs).items()}
    return float(through(f"fund_{name}", *named)(*named.values())[0, 0])


def over_split() -> tuple[Array, Array]:
    """Return cum_factor and the raw close of ROWS rows; the price halves in row SPLIT."""
    is_after = np.arange(ROWS) >= SPLIT
    return column(*np.where(is_after, 0.5, 1.0)), column(*np.where(is_after, 50.0, 100.0))


def test_a_number_of_shares_doubles_and_an_amount_a_share_halves_over_a_split() -> None:
    cum_factor, _ = over_split()
    # The day described stands in row 2: its bar is known from there on.
    offset = column(*[np.nan, np.nan, 1, 2, 3, 4, 5, 6])
    shares = restated(np.full((ROWS, 1), 10.0), cum_factor, offset, shares=True)[:, 0]
    money = restated(np.full((ROWS, 1), 8.0), cum_factor, offset, shares=False)[:, 0]

    np.testing.assert_array_equal(shares, [np.nan, np.nan, 10, 10, 10, 20, 20, 20])
    np.testing.assert_array_equal(money, [np.nan, np.nan, 8, 8, 8, 4, 4, 4])


def test_the_day_of_the_split_is_in_new_shares() -> None:
    cum_factor, _ = over_split()
    # The first bar after the split is of the session whose number is SPLIT - 1.
    day = SPLIT - 1
    shares = np.full((ROWS, 1), 10.0)
    offset = column(*[float(row - day) if row > day else np.nan for row in range(ROWS)])
    before = column(*[float(row - day + 1) if row >= day else np.nan for row in range(ROWS)])

    np.testing.assert_array_equal(restated(shares, cum_factor, offset, shares=True)[SPLIT:], 10)
    np.testing.assert_array_equal(restated(shares, cum_factor, before, shares=True)[SPLIT:], 20)


def test_a_number_older_than_the_look_back_counts_as_of_its_end() -> None:
    n = LONGEST + 20
    cum_factor = np.ones((n, 1))
    cum_factor[10:] = 0.5
    shares, old = np.full((n, 1), 10.0), np.full((n, 1), 1000.0)
    found = restated(shares, cum_factor, old, shares=True)[:, 0]

    # Row 268 still sees row 9, 260 rows with itself; row 269 does not.
    assert (found[LONGEST + 8], found[LONGEST + 9]) == (20, 10)


def test_yields_do_not_move_with_a_split() -> None:
    cum_factor, raw_close = over_split()
    lag, age = np.ones((ROWS, 1)), np.arange(ROWS, dtype=np.float64)[:, None]
    eps = np.full((ROWS, 1), 7.0)
    shares, equity = np.full((ROWS, 1), 10.0), np.full((ROWS, 1), 500.0)

    np.testing.assert_array_equal(
        through(
            "fund_earnings_yield",
            "statements_eps_ttm",
            "statements_lag",
            "statements_age",
            "cum_factor",
            "raw_close",
        )(eps, lag, age, cum_factor, raw_close),
        np.full((ROWS, 1), 7 / 100),
    )
    np.testing.assert_array_equal(
        through(
            "fund_book_to_price",
            "statements_equity",
            "statements_shares",
            "statements_shares_lag",
            "statements_age",
            "cum_volume_factor",
            "raw_close",
        )(equity, shares, lag, age, cum_factor, raw_close),
        np.full((ROWS, 1), 500 / (10 * 100)),
    )


PRICED = {"age": 0, "cum_factor": 1, "raw_close": 200}
COUNTED = {**PRICED, "cum_volume_factor": 1, "shares": 10, "shares_lag": 1}  # market value 2,000
ASSETS = {"total_assets": 900, "total_assets_year_ago": 700}  # 800 on average
BY_HAND = [
    ("earnings_yield", {**PRICED, "eps_ttm": 10, "lag": 1}, 10 / 200),
    ("book_to_price", {**COUNTED, "equity": 1500}, 1500 / 2000),
    ("sales_to_price", {**COUNTED, "sales_ttm": 4000}, 4000 / 2000),
    ("cash_flow_yield", {**COUNTED, "operating_cash_flow_ttm": -50}, -50 / 2000),
    ("dividend_yield", {**PRICED, "dividend": 5, "dividend_lag": 1}, 5 / 200),
    ("ln_market_value", COUNTED, np.log(2000)),
    ("return_on_equity", {"profit_ttm": 30, "equity": 310, "equity_year_ago": 290}, 30 / 300),
    ("return_on_assets", {**ASSETS, "profit_ttm": 40}, 40 / 800),
    ("operating_margin", {"operating_profit_ttm": 12, "sales_ttm": 100}, 0.12),
    (
        "operating_margin_change",
        {"operating_profit_ttm": 12, "sales_ttm": 100}
        | {"operating_profit_ttm_year_ago": 8, "sales_ttm_year_ago": 80},
        12 / 100 - 8 / 80,
    ),
    (
        "operating_margin_change_q",
        {"operating_profit_quarter": 3, "sales_quarter": 20}
        | {"operating_profit_quarter_year_ago": 5, "sales_quarter_year_ago": 25},
        3 / 20 - 5 / 25,
    ),
    ("equity_to_assets", {"equity": 300, "total_assets": 900}, 300 / 900),
    ("asset_turnover", {**ASSETS, "sales_ttm": 400}, 400 / 800),
    ("accruals", {**ASSETS, "profit_ttm": 40, "operating_cash_flow_ttm": 60}, (40 - 60) / 800),
    ("cash_to_assets", {"cash": 90, "total_assets": 900}, 90 / 900),
    ("sales_growth_q", {"sales_quarter": 110, "sales_quarter_year_ago": 100}, 0.1),
    (
        "operating_growth_q",
        {"operating_profit_quarter": -5, "operating_profit_quarter_year_ago": 10},
        -1.5,
    ),
    ("profit_growth_q", {"profit_quarter": 12, "profit_quarter_year_ago": 10}, 0.2),
    ("sales_growth_ttm", {"sales_ttm": 90, "sales_ttm_year_ago": 100}, -0.1),
    (
        "operating_growth_ttm",
        {"operating_profit_ttm": 15, "operating_profit_ttm_year_ago": 10},
        0.5,
    ),
    ("profit_growth_ttm", {"profit_ttm": 15, "profit_ttm_year_ago": 12}, 0.25),
    ("asset_growth", ASSETS, 200 / 700),
    (
        "profit_surprise",
        {"profit_quarter": 12, "profit_quarter_year_ago": -6, "total_assets": 900},
        18 / 900,
    ),
    (
        "profit_surprise_faded",
        {"profit_quarter": 12, "profit_quarter_year_ago": -6, "total_assets": 900}
        | {"since_actual": 2, "age": 1},
        18 / 900 * 0.97**3,
    ),
    (
        "profit_growth_faded",
        {"profit_quarter": 12, "profit_quarter_year_ago": 10, "since_actual": 0, "age": 2},
        0.2 * 0.97**2,
    ),
    (
        "sales_growth_faded",
        {"sales_quarter": 11, "sales_quarter_year_ago": 10, "since_actual": 0, "age": 0},
        0.1,
    ),
    (
        "profit_acceleration",
        {"profit_quarter": 12, "profit_quarter_before": 3, "total_assets": 900},
        9 / 900,
    ),
    ("forecast_earnings_yield", {**PRICED, "forecast_eps": 12, "forecast_eps_lag": 1}, 12 / 200),
    (
        "forecast_dividend_yield",
        {**PRICED, "forecast_dividend": 4, "forecast_dividend_lag": 1},
        4 / 200,
    ),
    ("forecast_sales_growth", {"forecast_sales": 120, "sales_year": 100}, 0.2),
    (
        "forecast_operating_growth",
        {"forecast_operating_profit": 12, "operating_profit_year": 16},
        -0.25,
    ),
    ("forecast_profit_growth", {"forecast_profit": 12, "profit_year": 10}, 0.2),
    ("forecast_revision", {"forecast_profit": 9, "forecast_profit_before": 10}, -0.1),
    (
        "forecast_operating_revision",
        {"forecast_operating_profit": 10, "forecast_operating_profit_before": 10},
        0.0,
    ),
    (
        "forecast_progress",
        {"operating_profit_to_date": 30, "forecast_operating_profit": 40, "quarter": 2},
        30 / 40 - 2 / 4,
    ),
    ("next_profit_growth", {"next_profit": 15, "forecast_profit": 12}, 0.25),
    ("sessions_since_actual", {"since_actual": 29, "age": 3}, 32),
    ("sessions_to_report", {"earnings_dates_to": 4, "earnings_dates_age": 4}, 0),
    ("is_consolidated", {"is_consolidated": 1}, 1),
]


@pytest.mark.parametrize(("name", "inputs", "wanted"), BY_HAND, ids=[row[0] for row in BY_HAND])
def test_a_feature_by_hand(name: str, inputs: dict[str, float], wanted: float) -> None:
    assert value(name, **inputs) == pytest.approx(wanted, rel=1e-14)


def test_every_feature_is_computed_by_hand() -> None:
    assert {f"fund_{row[0]}" for row in BY_HAND} == set(FEATURES)


@pytest.mark.parametrize("base", [0.0, -10.0, np.nan])
@pytest.mark.parametrize(
    ("name", "x", "before"),
    [
        ("profit_growth_q", "profit_quarter", "profit_quarter_year_ago"),
        ("profit_growth_ttm", "profit_ttm", "profit_ttm_year_ago"),
        ("forecast_profit_growth", "forecast_profit", "profit_year"),
        ("forecast_revision", "forecast_profit", "forecast_profit_before"),
        ("next_profit_growth", "next_profit", "forecast_profit"),
    ],
)
def test_a_growth_over_a_base_that_is_not_above_zero_is_unknown(
    name: str, x: str, before: str, base: float
) -> None:
    assert np.isnan(value(name, **{x: 5.0, before: base}))


def test_a_return_on_negative_equity_is_unknown() -> None:
    assert np.isnan(value("return_on_equity", profit_ttm=5, equity=-10, equity_year_ago=4))


def test_a_report_whose_day_passed_is_unknown() -> None:
    assert np.isnan(value("sessions_to_report", earnings_dates_to=4, earnings_dates_age=5))


def test_a_stock_without_a_year_ago_counts_alone() -> None:
    assert value("return_on_equity", profit_ttm=30, equity=300, equity_year_ago=np.nan) == 0.1


def test_what_needs_traded_prices_says_so() -> None:
    priced = {n for n, item in FEATURES.items() if "raw_close" in inputs_behind(item.inputs)}

    assert priced == {name for name, item in FEATURES.items() if item.requires}
    assert len(priced) == 8
    assert all(FEATURES[name].lookback == LONGEST for name in priced)
