"""Random numbers that depend on the seed, their purpose and the date, and on nothing else.

One counter-based stream per purpose and session: a market that ends later, or has another
signal, draws the same numbers on the same dates.

Source: Salmon et al. (2011), Parallel Random Numbers: As Easy as 1, 2, 3, SC'11 (Philox).
"""

import enum

import numpy as np

from alpha_assets.arrays.types import Array


class Purpose(enum.IntEnum):
    """What a stream is for; a number, once used, keeps its meaning."""

    ROSTER = 1
    MARKET = 2
    OVERNIGHT = 3
    INTRADAY = 4
    RANGE = 5
    VOLUME = 6
    LATENT = 7
    EVENTS = 8
    JUMPS = 9
    BORROW = 10
    SECTOR_SHORT = 11
    SHORT_POSITIONS = 12
    MARGIN = 13
    ALERTS = 14
    FLOWS = 15
    OPTIONS = 16
    STATEMENTS = 17
    NEWS = 18
    SIDE_CORRECTIONS = 19
    RIG = 20


def stream(seed: int, purpose: Purpose, number: int) -> np.random.Generator:
    """Return a generator for one purpose.

    Args:
        seed: of the exchange.
        purpose: what the numbers are for.
        number: days since 1970 of a session, or the number of an attribute.
    """
    key = np.array([seed, int(purpose)], dtype=np.uint64)
    counter = np.array([0, 0, number, 0], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def standard_t(generator: np.random.Generator, freedom: float, size: tuple[int, ...]) -> Array:
    """Return Student t draws scaled to variance 1."""
    return np.asarray(generator.standard_t(freedom, size) * np.sqrt((freedom - 2) / freedom))
