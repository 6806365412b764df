"""What the planted state is expected to earn over the coming sessions: an estimate.

What is known after the close of T drifts log prices in sessions T + 1 … T + h by

    idio_vol · Σ_k ρ · signal · (1 + variation · .8^k a_T) · E[f of T + k | T],  k = 0 … h − 1

The strength and the latent components are autoregressive, so theirs are expected exactly: they
decay by their persistence to the power of k.  The part that prices reveal does not follow from
any formula: what it pays is a linear function of the price components at T, whose coefficients
are fitted once per k on another market of the same settings (another seed), so that nothing of
the market itself is in them.  At k = 0 the forecast itself is known.

Letters: D sessions, N symbols, C price components, K sessions ahead.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from alpha_assets.arrays.types import Array, Index
from alpha_assets.calendar import Calendar, as_date
from alpha_assets.sources.sim import signal
from alpha_assets.sources.sim.market import SimMarket, generate
from alpha_assets.sources.sim.spec import SimSpec

FARTHEST = 20  # sessions ahead
OTHER_SEED = 1_000_003  # added to the market's
FIT_SESSIONS, FIT_SYMBOLS = 500, 150  # of the other market


class Coefficients(NamedTuple):
    """What the price part of the forecast pays k sessions on, per unit of what is known.

    Attributes:
        price_KC: per unit of each price component, where prices alone are known.
        whole_KC: the same where the hidden components are known too.
        latent_K: beside `whole_KC`, per unit of the hidden part: it moves prices, which the
            reversal then counts against it.
    """

    price_KC: Array
    whole_KC: Array
    latent_K: Array


def coefficients(spec: SimSpec, calendar: Calendar) -> Coefficients:
    """Return the coefficients of a market; they depend on neither its seed nor its last session."""
    start = int(calendar.index_of(calendar.between(spec.first, calendar.sessions[-1])[0]))
    last = calendar.sessions[min(start + FIT_SESSIONS, len(calendar.sessions)) - 1]
    other = spec.model_copy(
        update={
            "seed": (spec.seed + OTHER_SEED) % 2**63,
            "last": as_date(last),
            "n_symbols": min(spec.n_symbols, FIT_SYMBOLS),
        }
    )
    return _fitted(other, calendar)


@lru_cache(maxsize=4)
def _fitted(spec: SimSpec, calendar: Calendar) -> Coefficients:
    # Not through its cache, which holds the markets that are in use.
    market: SimMarket = generate.__wrapped__(spec, calendar)
    n_price = len(signal.PRICE)
    known_CDN = np.concatenate(
        [market.components[:n_price], hidden(market, np.arange(len(market.sessions)), 0)[None]]
    )
    part_DN = market.f_price.astype(np.float64)
    listed_DN = market.listed()
    # Strength in units of the usual one.  It is what is paid, strength times forecast in units of
    # price, that is fitted: a strong session also wears the forecast out faster.
    strength_D1 = (market.strength / (signal.RHO * spec.signal))[:, None]
    price_KC = np.zeros((FARTHEST, n_price))
    whole_KC = np.zeros((FARTHEST, n_price + 1))
    for k in range(min(FARTHEST, len(part_DN))):
        n = len(part_DN) - k
        unit_DN = (1 + (strength_D1[:n] - 1) * signal.STRENGTH_AR**k) * market.roster.idio_vol
        paid_DN = strength_D1[k:] * part_DN[k:] * market.roster.idio_vol
        is_known_DN = listed_DN[:n] & ~np.isnan(paid_DN)
        x_RC = (unit_DN * known_CDN[:, :n])[:, is_known_DN].T
        y_R = paid_DN[is_known_DN]
        price_KC[k] = np.linalg.lstsq(x_RC[:, :n_price], y_R, rcond=None)[0]
        whole_KC[k] = np.linalg.lstsq(x_RC, y_R, rcond=None)[0]
    return Coefficients(price_KC, whole_KC[:, :n_price], whole_KC[:, n_price])


def hidden(market: SimMarket, rows: Index, k: int) -> Array:
    """Return the part of the forecast of `rows` + k that hidden components make, as of `rows`."""
    latent_CDN = market.components[len(signal.PRICE) :, rows].astype(np.float64)
    weight_C = np.array([c.weight for c in signal.LATENT])
    weight_C = np.sqrt(1 - market.spec.price_share) * weight_C / np.sqrt((weight_C**2).sum())
    keep_C = np.array([c.persistence for c in signal.LATENT])
    return np.asarray(np.tensordot(weight_C * keep_C**k, latent_CDN, 1))


def expected_drifts(
    market: SimMarket, fitted: Coefficients, rows: Index, *, with_latents: bool
) -> Iterator[tuple[int, Array]]:
    """Yield h and the log return expected from the open of T + 1 to that of T + 1 + h.

    Args:
        market: whose state is known.
        fitted: what the price part pays later.
        rows: sessions T wanted.
        with_latents: whether the state that side feeds reveal counts; else prices alone.

    Yields:
        h = 1 … K, and [rows, N] in log units; NaN where a symbol is not listed.
    """
    usual = signal.RHO * market.spec.signal
    away_D1 = (market.strength[rows] - usual)[:, None]
    price_CDN = market.components[: len(signal.PRICE), rows].astype(np.float64)
    price_DN = market.f_price[rows].astype(np.float64)
    hidden_DN = hidden(market, rows, 0) if with_latents else np.zeros(1)
    total_DN = np.zeros(price_DN.shape)
    for k in range(FARTHEST):
        if k == 0:
            f_DN = price_DN  # the forecast of today is known as it is
        elif with_latents:
            f_DN = np.tensordot(fitted.whole_KC[k], price_CDN, 1) + fitted.latent_K[k] * hidden_DN
        else:
            f_DN = np.tensordot(fitted.price_KC[k], price_CDN, 1)
        if with_latents:
            f_DN = f_DN + hidden(market, rows, k)
        total_DN = total_DN + (usual + away_D1 * signal.STRENGTH_AR**k) * f_DN
        yield k + 1, total_DN * market.roster.idio_vol
