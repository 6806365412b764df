"""What a company is valued at, as its exchange works it out day by day from the statements.

Multiples of the price are turned into yields of it: these pass through zero with the earnings,
where a multiple jumps, and a loss is a small yield instead of an absent or a negative multiple.
`fund` says the same a session earlier where a document just came out, since the exchange lets it
count from the next session's row.
"""

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.features.base import feature

FAMILY = "val"


@feature(
    rows=1,
    unit="fraction of the price",
    formula="eps / C",
    source="Basu (1977), J. Finance 32.",
)
def val_earnings_yield(valuation_eps_today: Array, raw_close: Array) -> Array:
    """Earnings a share of the last twelve months over the price; a loss is below zero."""
    return valuation_eps_today / raw_close


@feature(
    rows=1,
    unit="fraction of the price",
    formula="forward_eps / C",
    source="Elgers, Lo & Pfeiffer (2001), Account. Rev. 76: forecast earnings over the price.",
)
def val_forward_earnings_yield(valuation_forward_eps_today: Array, raw_close: Array) -> Array:
    """Earnings a share that the company expects of this fiscal year over the price."""
    return valuation_forward_eps_today / raw_close


@feature(
    rows=1,
    unit="fraction of the price",
    formula="bps / C",
    source="Fama & French (1992), J. Finance 47.",
)
def val_book_to_price(valuation_bps_today: Array, raw_close: Array) -> Array:
    """Book value a share over the price; below zero where debts exceed the assets."""
    return valuation_bps_today / raw_close


@feature(rows=1, unit="fraction", source="Haugen & Baker (1996), J. Financ. Econ. 41.")
def val_return_on_equity(valuation_roe: Array) -> Array:
    """Profit of the last twelve months over equity."""
    return valuation_roe.copy()


@feature(
    rows=1,
    unit="fraction",
    source="Haugen & Baker (1996), J. Financ. Econ. 41; with the forecast in the profit's place.",
)
def val_forward_return_on_equity(valuation_forward_roe: Array) -> Array:
    """Profit that the company expects of this fiscal year over equity."""
    return valuation_forward_roe.copy()


@feature(
    rows=1,
    unit="log of money",
    formula="ln(market value)",
    source="Banz (1981), J. Financ. Econ. 9.",
)
def val_ln_market_value(valuation_market_value: Array) -> Array:
    """Size: price times shares outstanding, without those that the company holds."""
    return np.log(np.where(valuation_market_value > 0, valuation_market_value, np.nan))
