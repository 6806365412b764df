"""Rules of the Tokyo exchange that the simulated one follows: limits, ticks, sectors, codes.

Source: the exchange's published tables of tick sizes (names outside TOPIX 500), of daily price
limits, and of its 33 sectors.
"""

from datetime import date
from typing import NamedTuple

import numpy as np

from alpha_assets.arrays.types import Array, Index

SEGMENT_CHANGE = date(2022, 4, 4)  # First, Second, Mothers became Prime, Standard, Growth
FULL_DAY_HALT = date(2020, 10, 1)  # announced as a session, never held
LOT = 100  # shares

# fmt: off
# Base price below which a width holds, JPY (exclusive); from 50 million on, the last width.
_LIMIT_BELOW = np.array(
    [
        100, 200, 500, 700, 1_000, 1_500, 2_000, 3_000, 5_000, 7_000, 10_000, 15_000, 20_000,
        30_000, 50_000, 70_000, 100_000, 150_000, 200_000, 300_000, 500_000, 700_000,
        1_000_000, 1_500_000, 2_000_000, 3_000_000, 5_000_000, 7_000_000, 10_000_000,
        15_000_000, 20_000_000, 30_000_000, 50_000_000,
    ],
    dtype=np.float64,
)
_LIMIT_WIDTH = np.array(
    [
        30, 50, 80, 100, 150, 300, 400, 500, 700, 1_000, 1_500, 3_000, 4_000, 5_000, 7_000,
        10_000, 15_000, 30_000, 40_000, 50_000, 70_000, 100_000, 150_000, 300_000, 400_000,
        500_000, 700_000, 1_000_000, 1_500_000, 3_000_000, 4_000_000, 5_000_000, 7_000_000,
        10_000_000,
    ],
    dtype=np.float64,
)
# Price up to which a tick holds, JPY (inclusive).
_TICK_UP_TO = np.array(
    [
        3_000, 5_000, 30_000, 50_000, 300_000, 500_000, 3_000_000, 5_000_000, 30_000_000,
        50_000_000,
    ],
    dtype=np.float64,
)
_TICK = np.array(
    [
        1, 5, 10, 50, 100, 500, 1_000, 5_000, 10_000, 50_000, 100_000,
    ],
    dtype=np.float64,
)
# fmt: on


def limit_width(base_price: Array) -> Array:
    """Return how far a price may move from its base in one session, JPY."""
    return _LIMIT_WIDTH[np.searchsorted(_LIMIT_BELOW, base_price, side="right")]


def tick_size(price: Array) -> Array:
    """Return the smallest step of a price, JPY."""
    return _TICK[np.searchsorted(_TICK_UP_TO, price, side="left")]


def price_limits(base_price: Array, ticks: bool) -> tuple[Array, Array]:
    """Return the least and the greatest price of a session, JPY; on ticks, rounded inwards.

    Args:
        base_price: the previous close, restated for a split on this session.
        ticks: whether prices lie on the tick table.
    """
    width = limit_width(base_price)
    low = np.maximum(base_price - width, 1.0)
    high = base_price + width
    if not ticks:
        return low, high
    # Inwards by less than one tick: a limit between two ticks could not be traded at.
    tick_low, tick_high = tick_size(low), tick_size(high)
    return np.ceil(low / tick_low) * tick_low, np.floor(high / tick_high) * tick_high


def on_tick(price: Array) -> Array:
    """Return each price rounded to its tick; never below one yen."""
    tick = tick_size(price)
    return np.maximum(np.rint(price / tick) * tick, 1.0)


class Sector(NamedTuple):
    """A sector of the exchange."""

    name: str
    code33: str  # of the 33-sector table; semiconductors are part of Electric Appliances
    share: float  # of all symbols outside Semiconductors


# Fourteen symbols with a sector factor of their own; the exchange's table has no such sector and
# lists them where electric appliances are.
SEMICONDUCTORS = Sector("Electric Appliances", "3650", 0.0)
SECTORS = (
    SEMICONDUCTORS,
    Sector("Construction", "2050", 0.045),
    Sector("Foods", "3050", 0.04),
    Sector("Textiles & Apparels", "3100", 0.03),
    Sector("Chemicals", "3200", 0.065),
    Sector("Pharmaceutical", "3250", 0.04),
    Sector("Glass & Ceramics Products", "3400", 0.03),
    Sector("Iron & Steel", "3450", 0.03),
    Sector("Nonferrous Metals", "3500", 0.03),
    Sector("Metal Products", "3550", 0.035),
    Sector("Machinery", "3600", 0.065),
    Sector("Electric Appliances", "3650", 0.065),
    Sector("Transportation Equipment", "3700", 0.04),
    Sector("Precision Instruments", "3750", 0.03),
    Sector("Other Products", "3800", 0.04),
    Sector("Electric Power & Gas", "4050", 0.03),
    Sector("Land Transportation", "5050", 0.035),
    Sector("Information & Communication", "5250", 0.085),
    Sector("Wholesale Trade", "6050", 0.06),
    Sector("Retail Trade", "6100", 0.065),
    Sector("Banks", "7050", 0.04),
    Sector("Securities & Commodity Futures", "7100", 0.03),
    Sector("Real Estate", "8050", 0.04),
    Sector("Services", "9050", 0.075),
)

N_SEMIS = 14
SEMIS_EVERY = 4  # symbol 1, 5, 9, ... until there are enough: known without drawing anything
LETTER_EVERY = 25  # every 25th symbol has a code of the newer form, such as 130A0
_LETTERS = "ACDFGHJKLMNPRSTUWXY"


def code(number: int) -> str:
    """Return the five-character code of the symbol with this number, counted from 0."""
    nth, rest = divmod(number, LETTER_EVERY)
    if rest == LETTER_EVERY - 1:
        return f"{130 + nth // len(_LETTERS)}{_LETTERS[nth % len(_LETTERS)]}0"
    return f"{1301 + 2 * number}0"


def sector_of(n_symbols: int) -> Index:
    """Return the place in `SECTORS` of each symbol; the same for every seed."""
    number = np.arange(n_symbols)
    edges = np.cumsum([sector.share for sector in SECTORS])
    # Multiples of the golden ratio fill the unit interval evenly at every length.
    spread = (number * 0.6180339887498949) % 1.0 * edges[-1]
    sector = np.searchsorted(edges, spread, side="right").clip(1, len(SECTORS) - 1)
    sector[1 : SEMIS_EVERY * N_SEMIS : SEMIS_EVERY] = 0
    return np.asarray(sector, dtype=np.int64)


def semis(n_symbols: int) -> tuple[str, ...]:
    """Return the codes of all makers of semiconductors: 14 if the exchange has 54 or more."""
    return tuple(code(i) for i in np.flatnonzero(sector_of(n_symbols) == 0).tolist())
