"""What a company earns, owns and expects, against its price and its own past.

Actuals and forecasts are kept apart.  A growth whose base is not above zero is unknown: its
number would mean nothing.  Amounts a share are restated for the splits since their document.
"""

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.features.base import feature
from alpha_assets.features.split_adjust import LONGEST, restated

FAMILY = "fund"

FADE = 0.97  # a session
AS_TRADED = ("raw_price_level",)
YEAR_QUARTERS = 4


def _over(x: Array, base: Array) -> Array:
    """Return x / base; NaN where the base is not above zero."""
    return x / np.where(base > 0, base, np.nan)


def _growth(x: Array, base: Array) -> Array:
    """Return x / base - 1; NaN where the base is not above zero."""
    return _over(x - base, base)


def _mean(x: Array, before: Array) -> Array:
    """Return the mean of a stock over a year; its end alone where the start is unknown."""
    return np.where(np.isnan(before), x, (x + before) / 2)


def _a_share(value: Array, age: Array, lag: Array, cum_factor: Array, raw_close: Array) -> Array:
    """Return an amount a share over the price, both in today's shares."""
    return _over(restated(value, cum_factor, age + lag, shares=False), raw_close)


def _capital(
    shares: Array, age: Array, lag: Array, cum_volume_factor: Array, raw_close: Array
) -> Array:
    """Return the market value, money."""
    return restated(shares, cum_volume_factor, age + lag, shares=True) * raw_close


@feature(
    rows=LONGEST,
    unit="fraction of the price",
    requires=AS_TRADED,
    source="Basu (1977), J. Finance 32.",
)
def fund_earnings_yield(
    statements_eps_ttm: Array,
    statements_lag: Array,
    statements_age: Array,
    cum_factor: Array,
    raw_close: Array,
) -> Array:
    """Earnings a share of the last twelve months over the price."""
    return _a_share(statements_eps_ttm, statements_age, statements_lag, cum_factor, raw_close)


@feature(
    rows=LONGEST,
    unit="fraction of the market value",
    requires=AS_TRADED,
    source="Fama & French (1992), J. Finance 47.",
)
def fund_book_to_price(
    statements_equity: Array,
    statements_shares: Array,
    statements_shares_lag: Array,
    statements_age: Array,
    cum_volume_factor: Array,
    raw_close: Array,
) -> Array:
    """Equity over market value."""
    capital = _capital(
        statements_shares, statements_age, statements_shares_lag, cum_volume_factor, raw_close
    )
    return _over(statements_equity, capital)


@feature(
    rows=LONGEST,
    unit="fraction of the market value",
    requires=AS_TRADED,
    source="Barbee, Mukherji & Raines (1996), Financ. Anal. J. 52.",
)
def fund_sales_to_price(
    statements_sales_ttm: Array,
    statements_shares: Array,
    statements_shares_lag: Array,
    statements_age: Array,
    cum_volume_factor: Array,
    raw_close: Array,
) -> Array:
    """Sales of the last twelve months over market value."""
    capital = _capital(
        statements_shares, statements_age, statements_shares_lag, cum_volume_factor, raw_close
    )
    return _over(statements_sales_ttm, capital)


@feature(
    rows=LONGEST,
    unit="fraction of the market value",
    requires=AS_TRADED,
    source="Lakonishok, Shleifer & Vishny (1994), J. Finance 49.",
)
def fund_cash_flow_yield(
    statements_operating_cash_flow_ttm: Array,
    statements_shares: Array,
    statements_shares_lag: Array,
    statements_age: Array,
    cum_volume_factor: Array,
    raw_close: Array,
) -> Array:
    """Operating cash flow of twelve months over market value."""
    capital = _capital(
        statements_shares, statements_age, statements_shares_lag, cum_volume_factor, raw_close
    )
    return _over(statements_operating_cash_flow_ttm, capital)


@feature(
    rows=LONGEST,
    unit="fraction of the price",
    requires=AS_TRADED,
    source="Litzenberger & Ramaswamy (1979), J. Financ. Econ. 7.",
)
def fund_dividend_yield(
    statements_dividend: Array,
    statements_dividend_lag: Array,
    statements_age: Array,
    cum_factor: Array,
    raw_close: Array,
) -> Array:
    """Dividend a share of the last year reported over the price."""
    return _a_share(
        statements_dividend, statements_age, statements_dividend_lag, cum_factor, raw_close
    )


@feature(
    rows=LONGEST,
    unit="log of money",
    requires=AS_TRADED,
    source="Banz (1981), J. Financ. Econ. 9.",
)
def fund_ln_market_value(
    statements_shares: Array,
    statements_shares_lag: Array,
    statements_age: Array,
    cum_volume_factor: Array,
    raw_close: Array,
) -> Array:
    """Size: price times shares outstanding, without those that the company holds."""
    capital = _capital(
        statements_shares, statements_age, statements_shares_lag, cum_volume_factor, raw_close
    )
    return np.log(np.where(capital > 0, capital, np.nan))


@feature(rows=1, unit="fraction", source="Haugen & Baker (1996), J. Financ. Econ. 41.")
def fund_return_on_equity(
    statements_profit_ttm: Array, statements_equity: Array, statements_equity_year_ago: Array
) -> Array:
    """Profit of twelve months over the mean equity of the year."""
    return _over(statements_profit_ttm, _mean(statements_equity, statements_equity_year_ago))


@feature(rows=1, unit="fraction", source="Piotroski (2000), J. Account. Res. 38.")
def fund_return_on_assets(
    statements_profit_ttm: Array,
    statements_total_assets: Array,
    statements_total_assets_year_ago: Array,
) -> Array:
    """Profit of twelve months over the mean assets of the year."""
    assets = _mean(statements_total_assets, statements_total_assets_year_ago)
    return _over(statements_profit_ttm, assets)


@feature(rows=1, unit="fraction", source="Soliman (2008), Account. Rev. 83.")
def fund_operating_margin(
    statements_operating_profit_ttm: Array, statements_sales_ttm: Array
) -> Array:
    """Operating profit over sales, twelve months."""
    return _over(statements_operating_profit_ttm, statements_sales_ttm)


@feature(rows=1, unit="fraction", source="Soliman (2008), Account. Rev. 83.")
def fund_operating_margin_change(
    statements_operating_profit_ttm: Array,
    statements_sales_ttm: Array,
    statements_operating_profit_ttm_year_ago: Array,
    statements_sales_ttm_year_ago: Array,
) -> Array:
    """Operating margin of twelve months less that of a year ago."""
    before = _over(statements_operating_profit_ttm_year_ago, statements_sales_ttm_year_ago)
    return _over(statements_operating_profit_ttm, statements_sales_ttm) - before


@feature(rows=1, unit="fraction", source="Bhandari (1988), J. Finance 43.")
def fund_equity_to_assets(statements_equity: Array, statements_total_assets: Array) -> Array:
    """Equity over assets."""
    return _over(statements_equity, statements_total_assets)


@feature(rows=1, unit="turns a year", source="Soliman (2008), Account. Rev. 83.")
def fund_asset_turnover(
    statements_sales_ttm: Array,
    statements_total_assets: Array,
    statements_total_assets_year_ago: Array,
) -> Array:
    """Sales of twelve months over the mean assets of the year."""
    assets = _mean(statements_total_assets, statements_total_assets_year_ago)
    return _over(statements_sales_ttm, assets)


@feature(
    rows=1,
    unit="fraction",
    formula="(profit - operating cash flow) / assets",
    source="Sloan (1996), Account. Rev. 71.",
)
def fund_accruals(
    statements_profit_ttm: Array,
    statements_operating_cash_flow_ttm: Array,
    statements_total_assets: Array,
    statements_total_assets_year_ago: Array,
) -> Array:
    """Part of the profit that is no cash yet, over the mean assets of the year."""
    assets = _mean(statements_total_assets, statements_total_assets_year_ago)
    return _over(statements_profit_ttm - statements_operating_cash_flow_ttm, assets)


@feature(rows=1, unit="fraction", source="Palazzo (2012), J. Financ. Econ. 104.")
def fund_cash_to_assets(statements_cash: Array, statements_total_assets: Array) -> Array:
    """Cash over assets."""
    return _over(statements_cash, statements_total_assets)


@feature(rows=1, unit="fraction", source="Jegadeesh & Livnat (2006), J. Account. Econ. 41.")
def fund_sales_growth_q(
    statements_sales_quarter: Array, statements_sales_quarter_year_ago: Array
) -> Array:
    """Sales of the last quarter against the same quarter a year ago."""
    return _growth(statements_sales_quarter, statements_sales_quarter_year_ago)


@feature(rows=1, unit="fraction", source="common practice.")
def fund_operating_growth_q(
    statements_operating_profit_quarter: Array,
    statements_operating_profit_quarter_year_ago: Array,
) -> Array:
    """Operating profit of the last quarter against the same quarter a year ago."""
    return _growth(
        statements_operating_profit_quarter, statements_operating_profit_quarter_year_ago
    )


@feature(rows=1, unit="fraction", source="common practice.")
def fund_profit_growth_q(
    statements_profit_quarter: Array, statements_profit_quarter_year_ago: Array
) -> Array:
    """Profit of the last quarter against the same quarter a year ago."""
    return _growth(statements_profit_quarter, statements_profit_quarter_year_ago)


@feature(rows=1, unit="fraction", source="Lakonishok, Shleifer & Vishny (1994), J. Finance 49.")
def fund_sales_growth_ttm(
    statements_sales_ttm: Array, statements_sales_ttm_year_ago: Array
) -> Array:
    """Sales of twelve months against those a year ago."""
    return _growth(statements_sales_ttm, statements_sales_ttm_year_ago)


@feature(rows=1, unit="fraction", source="common practice.")
def fund_operating_growth_ttm(
    statements_operating_profit_ttm: Array, statements_operating_profit_ttm_year_ago: Array
) -> Array:
    """Operating profit of twelve months against that a year ago."""
    return _growth(statements_operating_profit_ttm, statements_operating_profit_ttm_year_ago)


@feature(rows=1, unit="fraction", source="common practice.")
def fund_profit_growth_ttm(
    statements_profit_ttm: Array, statements_profit_ttm_year_ago: Array
) -> Array:
    """Profit of twelve months against that a year ago."""
    return _growth(statements_profit_ttm, statements_profit_ttm_year_ago)


@feature(rows=1, unit="fraction", source="Cooper, Gulen & Schill (2008), J. Finance 63.")
def fund_asset_growth(
    statements_total_assets: Array, statements_total_assets_year_ago: Array
) -> Array:
    """Growth of the balance sheet in a year."""
    return _growth(statements_total_assets, statements_total_assets_year_ago)


@feature(
    rows=1,
    unit="fraction of assets",
    source="Foster, Olsen & Shevlin (1984), Account. Rev. 59.",
)
def fund_profit_surprise(
    statements_profit_quarter: Array,
    statements_profit_quarter_year_ago: Array,
    statements_total_assets: Array,
) -> Array:
    """Profit of the last quarter less that of a year ago, over assets."""
    return _surprise(
        statements_profit_quarter, statements_profit_quarter_year_ago, statements_total_assets
    )


@feature(
    rows=1,
    unit="fraction of assets",
    formula=".97 ** sessions · (profit - profit a year ago) / assets",
    source="Bernard & Thomas (1989), J. Account. Res. 27.",
)
def fund_profit_surprise_faded(
    statements_profit_quarter: Array,
    statements_profit_quarter_year_ago: Array,
    statements_total_assets: Array,
    statements_since_actual: Array,
    statements_age: Array,
) -> Array:
    """The surprise of the last quarter's profit, worth 3 % less with every session since."""
    surprise = _surprise(
        statements_profit_quarter, statements_profit_quarter_year_ago, statements_total_assets
    )
    return _faded(surprise, statements_since_actual + statements_age)


@feature(
    rows=1,
    unit="fraction",
    formula=".97 ** sessions · (profit / profit a year ago - 1)",
    source="Bernard & Thomas (1989), J. Account. Res. 27.",
)
def fund_profit_growth_faded(
    statements_profit_quarter: Array,
    statements_profit_quarter_year_ago: Array,
    statements_since_actual: Array,
    statements_age: Array,
) -> Array:
    """Growth of the last quarter's profit, worth 3 % less with every session since its report."""
    growth = _growth(statements_profit_quarter, statements_profit_quarter_year_ago)
    return _faded(growth, statements_since_actual + statements_age)


@feature(
    rows=1,
    unit="fraction",
    formula=".97 ** sessions · (sales / sales a year ago - 1)",
    source="Jegadeesh & Livnat (2006), J. Account. Econ. 41.",
)
def fund_sales_growth_faded(
    statements_sales_quarter: Array,
    statements_sales_quarter_year_ago: Array,
    statements_since_actual: Array,
    statements_age: Array,
) -> Array:
    """Growth of the last quarter's sales, worth 3 % less with every session since its report."""
    growth = _growth(statements_sales_quarter, statements_sales_quarter_year_ago)
    return _faded(growth, statements_since_actual + statements_age)


def _surprise(quarter: Array, year_ago: Array, assets: Array) -> Array:
    return _over(quarter - year_ago, assets)


def _faded(x: Array, sessions: Array) -> Array:
    return x * FADE**sessions


@feature(rows=1, unit="fraction", source="Soliman (2008), Account. Rev. 83.")
def fund_operating_margin_change_q(
    statements_operating_profit_quarter: Array,
    statements_sales_quarter: Array,
    statements_operating_profit_quarter_year_ago: Array,
    statements_sales_quarter_year_ago: Array,
) -> Array:
    """Operating margin of the last quarter less that of the same quarter a year ago."""
    before = _over(statements_operating_profit_quarter_year_ago, statements_sales_quarter_year_ago)
    return _over(statements_operating_profit_quarter, statements_sales_quarter) - before


@feature(rows=1, unit="fraction of assets", source="common practice.")
def fund_profit_acceleration(
    statements_profit_quarter: Array,
    statements_profit_quarter_before: Array,
    statements_total_assets: Array,
) -> Array:
    """Profit of the last quarter less that of the quarter before, over assets."""
    return _surprise(
        statements_profit_quarter, statements_profit_quarter_before, statements_total_assets
    )


@feature(
    rows=LONGEST,
    unit="fraction of the price",
    requires=AS_TRADED,
    source="Elgers, Lo & Pfeiffer (2001), Account. Rev. 76.",
)
def fund_forecast_earnings_yield(
    statements_forecast_eps: Array,
    statements_forecast_eps_lag: Array,
    statements_age: Array,
    cum_factor: Array,
    raw_close: Array,
) -> Array:
    """Earnings a share that the company expects of this fiscal year, over the price."""
    return _a_share(
        statements_forecast_eps, statements_age, statements_forecast_eps_lag, cum_factor, raw_close
    )


@feature(
    rows=LONGEST,
    unit="fraction of the price",
    requires=AS_TRADED,
    source="Litzenberger & Ramaswamy (1979), J. Financ. Econ. 7.",
)
def fund_forecast_dividend_yield(
    statements_forecast_dividend: Array,
    statements_forecast_dividend_lag: Array,
    statements_age: Array,
    cum_factor: Array,
    raw_close: Array,
) -> Array:
    """Dividend a share that the company expects to pay of this fiscal year, over the price."""
    return _a_share(
        statements_forecast_dividend,
        statements_age,
        statements_forecast_dividend_lag,
        cum_factor,
        raw_close,
    )


@feature(rows=1, unit="fraction", source="common practice.")
def fund_forecast_sales_growth(
    statements_forecast_sales: Array, statements_sales_year: Array
) -> Array:
    """Sales expected of this fiscal year against those of the last."""
    return _growth(statements_forecast_sales, statements_sales_year)


@feature(rows=1, unit="fraction", source="common practice.")
def fund_forecast_operating_growth(
    statements_forecast_operating_profit: Array, statements_operating_profit_year: Array
) -> Array:
    """Operating profit expected of this fiscal year against that of the last."""
    return _growth(statements_forecast_operating_profit, statements_operating_profit_year)


@feature(rows=1, unit="fraction", source="common practice.")
def fund_forecast_profit_growth(
    statements_forecast_profit: Array, statements_profit_year: Array
) -> Array:
    """Profit expected of this fiscal year against that of the last."""
    return _growth(statements_forecast_profit, statements_profit_year)


@feature(rows=1, unit="fraction", source="Gleason & Lee (2003), Account. Rev. 78.")
def fund_forecast_revision(
    statements_forecast_profit: Array, statements_forecast_profit_before: Array
) -> Array:
    """The company's latest forecast of this year's profit against the one before; 0 if repeated."""
    return _growth(statements_forecast_profit, statements_forecast_profit_before)


@feature(rows=1, unit="fraction", source="Gleason & Lee (2003), Account. Rev. 78.")
def fund_forecast_operating_revision(
    statements_forecast_operating_profit: Array,
    statements_forecast_operating_profit_before: Array,
) -> Array:
    """The latest forecast of this year's operating profit against the one before."""
    return _growth(
        statements_forecast_operating_profit, statements_forecast_operating_profit_before
    )


@feature(
    rows=1,
    unit="fraction",
    formula="operating profit so far / forecast - quarters / 4",
    source="common practice.",
)
def fund_forecast_progress(
    statements_operating_profit_to_date: Array,
    statements_forecast_operating_profit: Array,
    statements_quarter: Array,
) -> Array:
    """Part of this year's expected operating profit earned, less the part of the year gone."""
    done = _over(statements_operating_profit_to_date, statements_forecast_operating_profit)
    return done - statements_quarter / YEAR_QUARTERS


@feature(rows=1, unit="fraction", source="common practice.")
def fund_next_profit_growth(
    statements_next_profit: Array, statements_forecast_profit: Array
) -> Array:
    """Profit expected of the next fiscal year against that expected of this one."""
    return _growth(statements_next_profit, statements_forecast_profit)


@feature(rows=1, unit="sessions", source="common practice.")
def fund_sessions_since_actual(statements_since_actual: Array, statements_age: Array) -> Array:
    """Sessions since the last actuals became known."""
    return statements_since_actual + statements_age


@feature(
    rows=1,
    unit="sessions",
    source="Barber, De George, Lehavy & Trueman (2013), J. Financ. Econ. 108.",
)
def fund_sessions_to_report(earnings_dates_to: Array, earnings_dates_age: Array) -> Array:
    """Sessions to the next report that is announced; 0 on its day, null where none is known."""
    left = earnings_dates_to - earnings_dates_age
    return np.where(left >= 0, left, np.nan)


@feature(rows=1, unit="flag", source="common practice.")
def fund_is_consolidated(statements_is_consolidated: Array) -> Array:
    """1 where the last actuals are the group's, 0 where they are the parent's alone."""
    return statements_is_consolidated.copy()
