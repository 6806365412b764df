"""What a model that knew the planted signal would reach: measured on the prices, not assumed.

Shape letters: D sessions, N symbols.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from alpha_assets.arrays.ranks import rank_ic
from alpha_assets.arrays.types import Array, Array32, Mask
from alpha_assets.calendar import Calendar
from alpha_assets.sources.sim import signal
from alpha_assets.sources.sim.drift import Coefficients, coefficients, expected_drifts
from alpha_assets.sources.sim.market import SimMarket, generate
from alpha_assets.sources.sim.spec import SimSpec

HORIZONS = (1, 2, 5, 10, 20)  # sessions
COMPONENT_HORIZONS = (1, 10)
MIN_SESSIONS = 20  # with fewer, there is no estimate
CLEAR = 2.0  # standard errors
MAX_PAIRS = 2_000_000  # name-sessions; a larger market is measured on every k-th session
Drifts = dict[tuple[str, int], Array]  # by score and horizon: rows of the sessions measured


@dataclass(frozen=True, eq=False)
class Oracle:
    """The truth about a simulated market; to be kept where no feature can read it.

    Attributes:
        summary: plain values for JSON: `rank_ic.<score>.h<h>.{mean,sd,se,n_sessions}` with
            the scores `f`, `f_price` (the part that prices reveal) and each component,
            `expected.<score>.h<h>`, the same of the drift expected over h sessions, with
            `one_session` (the mean of the one-session drift against returns over h),
            `persistence` (the drift's rank correlation with that of the session before) and
            `unknown` (why the mean is no estimate of what can be had, or null),
            `planted_share.<component>`, `sessions_apart`, `name_sessions`.
        truth: `session` (the decision session that the values are known at), `symbol`, `f`,
            `f_price`, `strength` (drift of the session per unit of f and of volatility),
            one Float32 per component.
        expected: `session`, `symbol` of names with a bar on the session before; `f_h<h>` and
            `f_price_h<h>`, the drift expected over h sessions, and `return_h<h>`, the one that
            followed (NaN where it is still to come); Float32, of sessions `sessions_apart`.
            Without columns of values where nothing was planted.
    """

    summary: dict[str, Any]
    truth: pl.DataFrame
    expected: pl.DataFrame


@lru_cache(maxsize=1)
def oracle(spec: SimSpec, calendar: Calendar) -> Oracle:
    """Return the measured oracle of a market and the truth behind it."""
    market = generate(spec, calendar)
    drifts: Drifts = {}
    if spec.rig is not None:
        summary = measured_rig(market, drifts)
    else:
        fitted = coefficients(spec, calendar) if spec.signal > 0 else None
        summary = measured(market, fitted, drifts)
    return Oracle(summary, truth(market, calendar), expected(market, calendar, drifts))


def measured(
    market: SimMarket, fitted: Coefficients | None, drifts: Drifts | None = None
) -> dict[str, Any]:
    """Return rank ICs of what was planted, against adjusted open-to-open returns.

    A score known after the close of T is held from the open of T+1 to the open of T+1+h;
    symbols without a bar at T are left out, as they are when a model predicts.

    Args:
        market: what happened.
        fitted: what the price part pays in the coming sessions; None on a null market.
        drifts: takes the expected drifts.
    """
    drifts = {} if drifts is None else drifts
    has_bar_DN = ~np.isnan(market.bar["close"])
    listed_DN = market.listed() & has_bar_DN
    open_DN = market.adjusted("open")
    stride = -(-has_bar_DN.size // MAX_PAIRS)
    scores = {"f": market.f, "f_price": market.f_price}
    parts = dict(zip(market.component_names, market.components, strict=True))
    result: dict[str, Any] = {}
    for name, score_DN in {**scores, **parts}.items():
        result[name] = {
            f"h{h}": _rank_ic(score_DN, listed_DN, open_DN, h, stride)
            for h in (HORIZONS if name in scores else COMPONENT_HORIZONS)
        }
    return {
        "rank_ic": result,
        "expected": {
            name: _expected(market, fitted, name, listed_DN, open_DN, stride, drifts)
            for name in scores
        },
        "planted_share": signal.planted_shares(market.spec.price_share),
        "signal": market.spec.signal,
        "sessions_apart": stride,
        "name_sessions": int(listed_DN[::stride].sum()),
    }


def measured_rig(market: SimMarket, drifts: Drifts | None = None) -> dict[str, Any]:
    """Return the same of a rig: what is known is the drift of one session, and all of it.

    `expected` has a horizon of one session alone, and nothing that prices reveal.
    """
    assert market.spec.rig is not None, "the market has the section [sim.rig]"
    listed_DN, open_DN = market.listed() & ~np.isnan(market.bar["close"]), market.adjusted("open")
    stride = -(-listed_DN.size // MAX_PAIRS)
    scores_DN = {"f": market.f, **dict(zip(market.component_names, market.components, strict=True))}
    rank_ics = {
        name: {"h1": _rank_ic(score_DN, listed_DN, open_DN, 1, stride)}
        for name, score_DN in scores_DN.items()
    }
    known = rank_ics["f"]["h1"]
    drift_DN = np.where(listed_DN, market.f, np.nan)
    if drifts is not None:
        drifts["f", 1] = drift_DN[::stride]
    figures = {
        **known,
        "one_session": known["mean"],
        "persistence": _persistence(drift_DN),
        "unknown": _unknown(known, known["mean"]),
    }
    on = [name for name in market.component_names if getattr(market.spec.rig, name)]
    nothing = dict.fromkeys(("mean", "sd", "se", "one_session", "persistence"))
    in_prices = {**nothing, "n_sessions": 0, "unknown": "a rig plants nothing in prices"}
    return {
        "rank_ic": rank_ics,
        "expected": {"f": {"h1": figures}, "f_price": {"h1": in_prices}},
        "planted_share": {
            name: 1 / len(on) if name in on else 0.0 for name in market.component_names
        },
        "signal": market.spec.signal,
        "sessions_apart": stride,
        "name_sessions": int(listed_DN[::stride].sum()),
    }


def _persistence(score_DN: Array32 | Array) -> float | None:
    """Return the mean rank correlation of a session's values with the session's before."""
    score_DN = score_DN.astype(np.float64)
    phi_D = rank_ic(score_DN[1:], score_DN[:-1])
    return float(np.nanmean(phi_D)) if np.isfinite(phi_D).any() else None


def _expected(
    market: SimMarket,
    fitted: Coefficients | None,
    name: str,
    listed_DN: Mask,
    open_DN: Array,
    stride: int,
    drifts_of: Drifts,
) -> dict[str, dict[str, Any]]:
    """Return the rank IC of the expected drift by horizon, and why it may be no estimate."""
    if fitted is None:
        nothing = dict.fromkeys(("mean", "sd", "se", "one_session", "persistence"))
        no_figures = {**nothing, "n_sessions": 0, "unknown": "nothing was planted"}
        return {f"h{h}": no_figures for h in HORIZONS}
    rows = np.arange(0, len(open_DN), stride)
    found: dict[str, dict[str, Any]] = {}
    first_DN = np.full(open_DN.shape, np.nan)
    drifts = expected_drifts(market, fitted, rows, with_latents=name == "f")
    for h, drift_RN in drifts:
        drift_DN = np.full(open_DN.shape, np.nan)
        drift_DN[rows] = drift_RN
        if h == 1:
            first_DN = drift_DN
        if h in HORIZONS:
            drifts_of[name, h] = drift_RN.copy()
            figures = _rank_ic(drift_DN, listed_DN, open_DN, h, stride)
            one = _rank_ic(first_DN, listed_DN, open_DN, h, stride)["mean"]
            phi = _persistence(np.where(listed_DN, drift_DN, np.nan)) if stride == 1 else None
            found[f"h{h}"] = {
                **figures,
                "one_session": one,
                "persistence": phi,
                "unknown": _unknown(figures, one),
            }
    return found


def _unknown(figures: Mapping[str, float | int | None], one_session: float | None) -> str | None:
    """Return why a measured rank IC is no estimate of the attainable one; None where it is."""
    mean, error, n = figures["mean"], figures["se"], figures["n_sessions"]
    if mean is None or error is None or one_session is None or n is None or n < MIN_SESSIONS:
        return f"the market has {n or 0} sessions to measure it on, fewer than {MIN_SESSIONS}"
    if mean < CLEAR * error:
        return "its own rank IC is within two standard errors of 0"
    if mean < one_session:
        return "the estimated drift ranks returns worse than that of one session does"
    return None


def expected(market: SimMarket, calendar: Calendar, drifts: Drifts) -> pl.DataFrame:
    """Return the expected drifts and the returns that followed; see `Oracle.expected`."""
    order_N = np.argsort(np.array(market.roster.code), kind="stable")
    has_bar_DN = market.listed() & ~np.isnan(market.bar["close"])
    rows = np.arange(0, len(has_bar_DN), -(-has_bar_DN.size // MAX_PAIRS))
    session_K, place_K = np.nonzero(has_bar_DN[rows][:, order_N])
    symbol_K = order_N[place_K]
    codes = pl.Series(list(market.roster.code), dtype=pl.String)
    open_DN = market.adjusted("open")
    values = {
        f"{name}_h{h}": drift_RN[session_K, symbol_K] for (name, h), drift_RN in drifts.items()
    }
    for h in sorted({h for _, h in drifts}):
        later_DN = np.full(open_DN.shape, np.nan)
        if len(open_DN) > 1 + h:
            later_DN[: -1 - h] = open_DN[1 + h :] / open_DN[1:-h] - 1
        values[f"return_h{h}"] = later_DN[rows[session_K], symbol_K]
    return pl.DataFrame(
        {
            "session": calendar.after(market.sessions)[rows[session_K]],
            "symbol": codes.gather(symbol_K),
            **{name: value_K.astype(np.float32) for name, value_K in values.items()},
        }
    )


def truth(market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return what was planted, one row per decision session and symbol listed the session before.

    The last decision session lies one after the market's last: its returns are still to come.
    """
    order_N = np.argsort(np.array(market.roster.code), kind="stable")
    listed_DN = market.listed()[:, order_N]
    session_K, place_K = np.nonzero(listed_DN)
    symbol_K = order_N[place_K]
    decided_D = calendar.after(market.sessions)
    codes = pl.Series(list(market.roster.code), dtype=pl.String)
    return pl.DataFrame(
        {
            "session": decided_D[session_K],
            "symbol": codes.gather(symbol_K),
            "f": market.f[session_K, symbol_K],
            "f_price": market.f_price[session_K, symbol_K],
            "strength": market.strength[session_K],
            **{
                name: market.components[k][session_K, symbol_K]
                for k, name in enumerate(market.component_names)
            },
        }
    )


def _rank_ic(
    score_DN: Array32 | Array,
    listed_DN: Mask,
    open_DN: Array,
    horizon: int,
    stride: int,
) -> dict[str, float | int | None]:
    """Return mean, spread and standard error of the rank IC at one horizon."""
    n = len(open_DN) - 1 - horizon
    rows = np.arange(0, max(n, 0), stride)
    if not len(rows):
        return {"mean": None, "sd": None, "se": None, "n_sessions": 0}
    label_DN = open_DN[rows + 1 + horizon] / open_DN[rows + 1] - 1
    known_DN = np.where(listed_DN[rows], score_DN[rows].astype(np.float64), np.nan)
    ic_D = rank_ic(known_DN, label_DN)
    ic_D = ic_D[~np.isnan(ic_D)]
    if len(ic_D) < 2:
        return {"mean": None, "sd": None, "se": None, "n_sessions": len(ic_D)}
    return {
        "mean": float(ic_D.mean()),
        "sd": float(ic_D.std(ddof=1)),
        "se": standard_error(ic_D, overlap=-(-horizon // stride)),
        "n_sessions": len(ic_D),
    }


def standard_error(ic_D: Array, overlap: int) -> float:
    """Return the standard error of a mean whose terms overlap: the larger of two.

    Newey-West with Bartlett weights and 2 · overlap lags comes out too small when the score
    hardly changes; sd · sqrt(overlap / n), as if only every overlap-th session counted, does not.

    Source: Newey & West (1987), Econometrica 55(3).
    """
    n = len(ic_D)
    centred_D = ic_D - ic_D.mean()
    squares = float(centred_D @ centred_D)
    total, lags = squares, 2 * overlap
    for lag in range(1, min(lags, n - 1) + 1):
        total += 2 * (1 - lag / (lags + 1)) * float(centred_D[lag:] @ centred_D[:-lag])
    return float(np.sqrt(max(total, squares * overlap)) / n)
