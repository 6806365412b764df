"""What a company earns, owns and expects, against its price and its own past.

Actuals and forecasts are kept apart.  A growth whose base is not above zero is unknown: its
number would mean nothing.  Amounts a share are restated for the splits since their document.

`FUNDAMENTALS` is a table: each row puts a kernel on inputs, and a new ratio is a row of it.
"""

from collections.abc import Callable

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.features.base import Feature, as_known, build_feature

FAMILY = "fund"

FADE = 0.97  # a session
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


def _over_mean(x: Array, base: Array, before: Array) -> Array:
    """Return x over the mean of a stock over a year."""
    return _over(x, _mean(base, before))


def _gap_over_mean(x: Array, y: Array, base: Array, before: Array) -> Array:
    """Return x less y over the mean of a stock over a year."""
    return _over(x - y, _mean(base, before))


def _log(x: Array) -> Array:
    """Return ln(x); NaN where x is not above zero."""
    return np.log(np.where(x > 0, x, np.nan))


def _margin_change(profit: Array, sales: Array, profit_before: Array, sales_before: Array) -> Array:
    """Return a margin less the one before."""
    return _over(profit, sales) - _over(profit_before, sales_before)


def _surprise(quarter: Array, before: Array, assets: Array) -> Array:
    """Return the change of a quarter's figure over assets."""
    return _over(quarter - before, assets)


def _faded(x: Array, sessions: Array) -> Array:
    return x * FADE**sessions


def _faded_surprise(
    quarter: Array, before: Array, assets: Array, since: Array, age: Array
) -> Array:
    """Return a surprise, worth less with every session since its report."""
    return _faded(_surprise(quarter, before, assets), since + age)


def _faded_growth(x: Array, base: Array, since: Array, age: Array) -> Array:
    """Return a growth, worth less with every session since its report."""
    return _faded(_growth(x, base), since + age)


def _progress(done: Array, forecast: Array, quarter: Array) -> Array:
    """Return the part of a year's forecast that is earned, less the part of the year gone."""
    return _over(done, forecast) - quarter / YEAR_QUARTERS


def _sum(x: Array, y: Array) -> Array:
    return x + y


def _left(to: Array, age: Array) -> Array:
    """Return the sessions that are left of `to`; NaN once they have passed."""
    left = to - age
    return np.where(left >= 0, left, np.nan)


# How a kernel on its inputs reads as a formula, where its row declares none.
_WORDS: dict[Callable[..., Array], str] = {
    _over: "`over({0}, {1})`",
    _growth: "`growth({0}, {1})`",
    _over_mean: "`over({0}, mean({1}, {2}))`",
    _margin_change: "`over({0}, {1}) - over({2}, {3})`",
    _surprise: "`surprise({0}, {1}, {2})`",
    _sum: "`{0} + {1}`",
    _left: "`np.where({0} - {1} >= 0, {0} - {1}, np.nan)`",
}


def _fund(
    name: str,
    fn: Callable[..., Array],
    inputs: str,
    about: str,
    unit: str = "fraction",
    source: str = "common practice.",
    formula: str = "",
) -> Feature:
    """Return a row of the table.

    Args:
        name: of the feature, without `fund_`.
        fn: the kernel.
        inputs: of the kernel, parted by spaces; `.x` is `statements_x`.
        about: what the feature means.
        unit: of the value.
        source: who described it.
        formula: in the field's symbols; by default the kernel on its inputs.
    """
    named = tuple(
        f"statements_{item[1:]}" if item.startswith(".") else item for item in inputs.split()
    )
    return build_feature(
        f"fund_{name}",
        FAMILY,
        fn,
        named,
        rows=1,
        unit=unit,
        about=about,
        formula=formula or _WORDS.get(fn, "").format(*named),
        source=source,
    )


PRICE, VALUE = "fraction of the price", "fraction of the market value"
BASU = "Basu (1977), J. Finance 32."
BERNARD_THOMAS = "Bernard & Thomas (1989), J. Account. Res. 27."
GLEASON_LEE = "Gleason & Lee (2003), Account. Rev. 78."
JEGADEESH_LIVNAT = "Jegadeesh & Livnat (2006), J. Account. Econ. 41."
LITZENBERGER = "Litzenberger & Ramaswamy (1979), J. Financ. Econ. 7."
LSV = "Lakonishok, Shleifer & Vishny (1994), J. Finance 49."
SOLIMAN = "Soliman (2008), Account. Rev. 83."

FUNDAMENTALS: tuple[Feature, ...] = (
    _fund(
        "earnings_yield", _over, ".eps_ttm_today raw_close",
        "Earnings a share of the last twelve months over the price.", PRICE, BASU,
    ),
    _fund(
        "book_to_price", _over, ".equity market_value",
        "Equity over market value.", VALUE, "Fama & French (1992), J. Finance 47.",
    ),
    _fund(
        "sales_to_price", _over, ".sales_ttm market_value",
        "Sales of the last twelve months over market value.", VALUE,
        "Barbee, Mukherji & Raines (1996), Financ. Anal. J. 52.",
    ),
    _fund(
        "cash_flow_yield", _over, ".operating_cash_flow_ttm market_value",
        "Operating cash flow of twelve months over market value.", VALUE, LSV,
    ),
    _fund(
        "dividend_yield", _over, ".dividend_today raw_close",
        "Dividend a share of the last year reported over the price.", PRICE, LITZENBERGER,
    ),
    _fund(
        "ln_market_value", _log, "market_value",
        "Size: price times shares outstanding, without those that the company holds.",
        "log of money", "Banz (1981), J. Financ. Econ. 9.", "ln(market value)",
    ),
    _fund(
        "return_on_equity", _over_mean, ".profit_ttm .equity .equity_year_ago",
        "Profit of twelve months over the mean equity of the year.",
        source="Haugen & Baker (1996), J. Financ. Econ. 41.",
    ),
    _fund(
        "return_on_assets", _over_mean, ".profit_ttm .total_assets .total_assets_year_ago",
        "Profit of twelve months over the mean assets of the year.",
        source="Piotroski (2000), J. Account. Res. 38.",
    ),
    _fund(
        "operating_margin", _over, ".operating_profit_ttm .sales_ttm",
        "Operating profit over sales, twelve months.", source=SOLIMAN,
    ),
    _fund(
        "operating_margin_change", _margin_change,
        ".operating_profit_ttm .sales_ttm .operating_profit_ttm_year_ago .sales_ttm_year_ago",
        "Operating margin of twelve months less that of a year ago.", source=SOLIMAN,
    ),
    _fund(
        "equity_to_assets", _over, ".equity .total_assets",
        "Equity over assets.", source="Bhandari (1988), J. Finance 43.",
    ),
    _fund(
        "asset_turnover", _over_mean, ".sales_ttm .total_assets .total_assets_year_ago",
        "Sales of twelve months over the mean assets of the year.", "turns a year", SOLIMAN,
    ),
    _fund(
        "accruals", _gap_over_mean,
        ".profit_ttm .operating_cash_flow_ttm .total_assets .total_assets_year_ago",
        "Part of the profit that is no cash yet, over the mean assets of the year.",
        source="Sloan (1996), Account. Rev. 71.",
        formula="(profit - operating cash flow) / assets",
    ),
    _fund(
        "cash_to_assets", _over, ".cash .total_assets",
        "Cash over assets.", source="Palazzo (2012), J. Financ. Econ. 104.",
    ),
    _fund(
        "sales_growth_q", _growth, ".sales_quarter .sales_quarter_year_ago",
        "Sales of the last quarter against the same quarter a year ago.", source=JEGADEESH_LIVNAT,
    ),
    _fund(
        "operating_growth_q", _growth,
        ".operating_profit_quarter .operating_profit_quarter_year_ago",
        "Operating profit of the last quarter against the same quarter a year ago.",
    ),
    _fund(
        "profit_growth_q", _growth, ".profit_quarter .profit_quarter_year_ago",
        "Profit of the last quarter against the same quarter a year ago.",
    ),
    _fund(
        "sales_growth_ttm", _growth, ".sales_ttm .sales_ttm_year_ago",
        "Sales of twelve months against those a year ago.", source=LSV,
    ),
    _fund(
        "operating_growth_ttm", _growth, ".operating_profit_ttm .operating_profit_ttm_year_ago",
        "Operating profit of twelve months against that a year ago.",
    ),
    _fund(
        "profit_growth_ttm", _growth, ".profit_ttm .profit_ttm_year_ago",
        "Profit of twelve months against that a year ago.",
    ),
    _fund(
        "asset_growth", _growth, ".total_assets .total_assets_year_ago",
        "Growth of the balance sheet in a year.",
        source="Cooper, Gulen & Schill (2008), J. Finance 63.",
    ),
    _fund(
        "profit_surprise", _surprise, ".profit_quarter .profit_quarter_year_ago .total_assets",
        "Profit of the last quarter less that of a year ago, over assets.", "fraction of assets",
        "Foster, Olsen & Shevlin (1984), Account. Rev. 59.",
    ),
    _fund(
        "profit_surprise_faded", _faded_surprise,
        ".profit_quarter .profit_quarter_year_ago .total_assets .since_actual .age",
        "The surprise of the last quarter's profit, worth 3 % less with every session since.",
        "fraction of assets", BERNARD_THOMAS,
        ".97 ** sessions · (profit - profit a year ago) / assets",
    ),
    _fund(
        "profit_growth_faded", _faded_growth,
        ".profit_quarter .profit_quarter_year_ago .since_actual .age",
        "Growth of the last quarter's profit, worth 3 % less with every session since its report.",
        source=BERNARD_THOMAS, formula=".97 ** sessions · (profit / profit a year ago - 1)",
    ),
    _fund(
        "sales_growth_faded", _faded_growth,
        ".sales_quarter .sales_quarter_year_ago .since_actual .age",
        "Growth of the last quarter's sales, worth 3 % less with every session since its report.",
        source=JEGADEESH_LIVNAT, formula=".97 ** sessions · (sales / sales a year ago - 1)",
    ),
    _fund(
        "operating_margin_change_q", _margin_change,
        ".operating_profit_quarter .sales_quarter .operating_profit_quarter_year_ago "
        ".sales_quarter_year_ago",
        "Operating margin of the last quarter less that of the same quarter a year ago.",
        source=SOLIMAN,
    ),
    _fund(
        "profit_acceleration", _surprise, ".profit_quarter .profit_quarter_before .total_assets",
        "Profit of the last quarter less that of the quarter before, over assets.",
        "fraction of assets",
    ),
    _fund(
        "forecast_earnings_yield", _over, ".forecast_eps_today raw_close",
        "Earnings a share that the company expects of this fiscal year, over the price.",
        PRICE, "Elgers, Lo & Pfeiffer (2001), Account. Rev. 76.",
    ),
    _fund(
        "forecast_dividend_yield", _over, ".forecast_dividend_today raw_close",
        "Dividend a share that the company expects to pay of this fiscal year, over the price.",
        PRICE, LITZENBERGER,
    ),
    _fund(
        "forecast_sales_growth", _growth, ".forecast_sales .sales_year",
        "Sales expected of this fiscal year against those of the last.",
    ),
    _fund(
        "forecast_operating_growth", _growth, ".forecast_operating_profit .operating_profit_year",
        "Operating profit expected of this fiscal year against that of the last.",
    ),
    _fund(
        "forecast_profit_growth", _growth, ".forecast_profit .profit_year",
        "Profit expected of this fiscal year against that of the last.",
    ),
    _fund(
        "forecast_revision", _growth, ".forecast_profit .forecast_profit_before",
        "The company's latest forecast of this year's profit against the one before; 0 if "
        "repeated.",
        source=GLEASON_LEE,
    ),
    _fund(
        "forecast_operating_revision", _growth,
        ".forecast_operating_profit .forecast_operating_profit_before",
        "The latest forecast of this year's operating profit against the one before.",
        source=GLEASON_LEE,
    ),
    _fund(
        "forecast_progress", _progress,
        ".operating_profit_to_date .forecast_operating_profit .quarter",
        "Part of this year's expected operating profit earned, less the part of the year gone.",
        formula="operating profit so far / forecast - quarters / 4",
    ),
    _fund(
        "next_profit_growth", _growth, ".next_profit .forecast_profit",
        "Profit expected of the next fiscal year against that expected of this one.",
    ),
    _fund(
        "sessions_since_actual", _sum, ".since_actual .age",
        "Sessions since the last actuals became known.", "sessions",
    ),
    _fund(
        "sessions_to_report", _left, "earnings_dates_to earnings_dates_age",
        "Sessions to the next report that is announced; 0 on its day, null where none is known.",
        "sessions", "Barber, De George, Lehavy & Trueman (2013), J. Financ. Econ. 108.",
    ),
    _fund(
        "is_consolidated", as_known, ".is_consolidated",
        "1 where the last actuals are the group's, 0 where they are the parent's alone.", "flag",
    ),
)  # fmt: skip
