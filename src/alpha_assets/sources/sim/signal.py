"""The planted signal: the one definition of what can be predicted, and from what.

After the close of session T every listed symbol has a forecast

    f = sqrt(price_share) · z(Σ w_c g_c over price components)
        + sqrt(1 − price_share) · Σ w_c g_c over latent components

and between the open and the close of session T+1 its log price drifts by
ρ · signal · (1 + variation · a_T) · idiosyncratic volatility of a session · f,  a_T an AR(1).
The decision for T+1 is taken before its open, so the drift can be earned from that open on;
nothing is planted in the gap before it, which cannot be traded.

    component        formula, through the close of T                     w   revealed by
    ---------------  --------------------------------------------------  --  ------------------
    reversal         −z(5-session return)                                .6  prices
    momentum         z(60-session return leaving out the last 5)         1   prices
    tug              z(20-session sum of overnight − intraday returns)   1   prices
    lottery          −z(greatest session return of the last 20)          .8  prices
    volume_reversal  z(−z(5-session return) · z(ln volume 5 / 60))       .6  prices and volumes
    sector_short     AR(1) .95 per sector                                1   sector short selling
    short_positions  AR(1) .97 per symbol                                1   reported positions
    margin           AR(1) .97 per symbol                                1   margin balances
    flows            AR(1) .95 per segment                               1   investor types
    options          AR(1) .95 of the market × (beta − 1) / .3           1   option surface
    statements       surprise at each report, decays by .97 a session    1   statements
    news             shock in 5 % of sessions, decays by .90 a session   1   news

z is across the symbols listed at T, clipped at ±3; returns are log returns of adjusted bars,
as corrected, a session without a bar counting as zero; a symbol with too short a history has
0.  Latent components have variance 1 over time and are centred across symbols.  Weights are
scaled within each of the two groups so that uncorrelated components of variance 1 sum to 1.
Shape letters: N symbols, C components.
"""

from typing import NamedTuple

import numpy as np

from alpha_assets.arrays.types import Array, Index, Mask

RHO = 0.05  # drift of a session per unit of f, in idiosyncratic standard deviations, at signal 1
STRENGTH_AR = 0.8  # a session, of the strength of the signal
Z_CLIP = 3.0

SHORT, MIDDLE, LONG = 5, 20, 60  # sessions
NEWS_RATE = 0.05  # of sessions


class Component(NamedTuple):
    """One part of the forecast."""

    name: str
    weight: float
    revealed_by: str  # "prices", or the name of a side feed
    persistence: float = 0.0  # a session, of latent components
    needs: int = 0  # sessions of history, of price components


COMPONENTS = (
    Component("reversal", 0.6, "prices", needs=SHORT),
    Component("momentum", 1.0, "prices", needs=LONG),
    Component("tug", 1.0, "prices", needs=MIDDLE),
    Component("lottery", 0.8, "prices", needs=MIDDLE),
    Component("volume_reversal", 0.6, "prices", needs=LONG),
    Component("sector_short", 1.0, "sector_short_selling", 0.95),
    Component("short_positions", 1.0, "short_positions", 0.97),
    Component("margin", 1.0, "margin", 0.97),
    Component("flows", 1.0, "investor_types", 0.95),
    Component("options", 1.0, "index_options", 0.95),
    Component("statements", 1.0, "statements", 0.97),
    Component("news", 1.0, "news", 0.90),
)
PRICE = tuple(c for c in COMPONENTS if c.revealed_by == "prices")
LATENT = tuple(c for c in COMPONENTS if c.revealed_by != "prices")


def planted_shares(price_share: float) -> dict[str, float]:
    """Return each component's share of the forecast's variance, as planted; they sum to 1."""
    shares: dict[str, float] = {}
    for group, total in ((PRICE, price_share), (LATENT, 1 - price_share)):
        squares = sum(c.weight**2 for c in group)
        shares |= {c.name: total * c.weight**2 / squares for c in group}
    return shares


def z_score(x_N: Array, listed_N: Mask) -> Array:
    """Return x standardised across the listed symbols, clipped; 0 for the others."""
    n = int(listed_N.sum())
    if n < 2:
        return np.zeros_like(x_N)
    x_N = np.where(listed_N, x_N, 0.0)
    centred_N = np.where(listed_N, x_N - x_N.sum() / n, 0.0)
    deviation = np.sqrt((centred_N * centred_N).sum() / n)
    if deviation == 0:
        return np.zeros_like(x_N)
    return np.asarray(np.clip(centred_N / deviation, -Z_CLIP, Z_CLIP))


class Past(NamedTuple):
    """The last `LONG` delivered sessions, oldest first; shape [LONG, N]."""

    overnight: Array  # log return from close to open, adjusted for splits
    intraday: Array  # log return from open to close
    turnover: Array  # shares traded / outstanding; 0 without a bar


def price_components(past: Past, age_N: Index, listed_N: Mask) -> Array:
    """Return g_CN of the price components, in the order of `PRICE`.

    Args:
        past: what the exchange has published.
        age_N: sessions since the listing.
        listed_N: whose values are standardised together.
    """
    session_LN = past.overnight + past.intraday
    five_N = session_LN[-SHORT:].sum(axis=0)
    sixty_N = session_LN[:-SHORT].sum(axis=0)
    tug_N = (past.overnight[-MIDDLE:] - past.intraday[-MIDDLE:]).sum(axis=0)
    greatest_N = session_LN[-MIDDLE:].max(axis=0)
    recent_N = past.turnover[-SHORT:].sum(axis=0) / SHORT
    usual_N = past.turnover.sum(axis=0) / LONG
    traded_N = (recent_N > 0) & (usual_N > 0)
    abnormal_N = np.log(np.where(traded_N, recent_N, 1.0) / np.where(traded_N, usual_N, 1.0))

    known_CN = [listed_N & (age_N >= component.needs) for component in PRICE]
    reversal_N = -z_score(five_N, known_CN[0])
    crossed_N = -z_score(five_N, known_CN[4]) * z_score(abnormal_N, known_CN[4] & traded_N)
    return np.stack(
        [
            reversal_N,
            z_score(sixty_N, known_CN[1]),
            z_score(tug_N, known_CN[2]),
            -z_score(greatest_N, known_CN[3]),
            z_score(crossed_N, known_CN[4] & traded_N),
        ]
    )


def forecast(
    price_CN: Array, latent_CN: Array, listed_N: Mask, price_share: float
) -> tuple[Array, Array]:
    """Return f_N and the part of it that prices reveal; 0 for symbols that are not listed."""
    price_w = np.array([c.weight for c in PRICE])
    latent_w = np.array([c.weight for c in LATENT])
    price_N = z_score((price_w[:, None] * price_CN).sum(axis=0), listed_N)
    latent_N = (latent_w[:, None] * latent_CN).sum(axis=0) / np.sqrt((latent_w**2).sum())
    price_part_N = np.sqrt(price_share) * price_N
    f_N = price_part_N + np.sqrt(1 - price_share) * np.where(listed_N, latent_N, 0.0)
    return f_N, price_part_N


def centred(x_N: Array, listed_N: Mask) -> Array:
    """Return x less its mean across the listed symbols; 0 for the others."""
    n = max(int(listed_N.sum()), 1)
    x_N = np.where(listed_N, x_N, 0.0)
    return np.where(listed_N, x_N - x_N.sum() / n, 0.0)
