"""How a series of returns did: growth, risk, falls, tails, each with its error bar.

Returns are fractions per session; annual figures use the market's sessions per year, never
calendar days.  What cannot be had is NaN with a reason.
"""

import math

import numpy as np

from alpha_assets.arrays.types import Array, Dates
from alpha_assets.evaluation.sharpe import (
    min_track_record,
    moments,
    sharpe_error,
    sharpe_error_cautious,
    sharpe_error_hac,
    sharpe_error_lo,
    sharpe_ratio,
)

Record = dict[str, object]

Z_95 = 1.959963984540054
MIN_SESSIONS = 20  # fewer are too short for ratios and for figures of a year
MIN_TAIL = {"95": 20, "99": 100}  # sessions; with fewer the tail holds less than one of them
OF_A_YEAR = (
    *(
        "annual_return",
        "volatility",
        "skew",
        "kurtosis",
        "sharpe",
        "sharpe_se",
        "sharpe_low",
        "sharpe_high",
    ),
    *("sharpe_se_mertens", "sharpe_se_lo", "sharpe_se_hac"),
    *("psr", "min_track_record_years", "sortino", "calmar"),
)
FIGURES = (
    *("total_return", "annual_return", "volatility"),
    *("sharpe", "sharpe_se", "sharpe_low", "sharpe_high"),
    *("sharpe_se_mertens", "sharpe_se_lo", "sharpe_se_hac"),
    *("psr", "min_track_record_years", "skew", "kurtosis", "sortino", "calmar"),
    *("max_drawdown", "drawdown_peak", "drawdown_trough", "drawdown_recovered"),
    *("drawdown_sessions", "var_95", "cvar_95", "var_99", "cvar_99"),
    *("win_rate", "best_session", "worst_session"),
)


def performance(
    return_D: Array,
    sessions: Dates,
    *,
    sessions_per_year: float,
    cash_D: Array | None = None,
    hac_lag: int = 0,
) -> Record:
    """Return how a series of returns did, with its error bars.

    Args:
        return_D: net or gross return per session, a fraction.
        sessions: their dates.
        sessions_per_year: of the market's calendar.
        cash_D: what cash earned in the same sessions; 0 if None.
        hac_lag: sessions of serial correlation that are known of: labels that overlap.

    Returns:
        Annual figures unless a name says otherwise; `sharpe` is of the excess over cash, its
        error `sharpe_se` allows for skew, fat tails and serial correlation: the larger of
        `sharpe_se_mertens` and the HAC error.  `psr` goes by it.
    """
    from scipy.special import ndtr

    n = len(return_D)
    if n == 0:
        return _no_returns()
    excess_D = return_D - (np.zeros(n) if cash_D is None else cash_D)
    year = sessions_per_year
    root = math.sqrt(year)
    per_session = sharpe_ratio(excess_D)
    skew, kurtosis = moments(excess_D)
    error = sharpe_error_cautious(excess_D, hac_lag)
    wealth = float(np.prod(1 + return_D))
    annual = wealth ** (year / n) - 1 if wealth > 0 else -1.0
    below = math.sqrt(float(np.mean(np.minimum(excess_D, 0) ** 2)))
    falls = drawdown(return_D, sessions)
    depth = falls["max_drawdown"]
    assert isinstance(depth, float)
    track = min_track_record(per_session, skew, kurtosis)
    values: Record = {
        "n_sessions": n,
        "total_return": wealth - 1,
        "annual_return": annual,
        "volatility": float(return_D.std(ddof=1)) * root if n > 1 else math.nan,
        "sharpe": per_session * root,
        "sharpe_se": error * root,
        "sharpe_low": (per_session - Z_95 * error) * root,
        "sharpe_high": (per_session + Z_95 * error) * root,
        "sharpe_se_mertens": sharpe_error(per_session, n, skew, kurtosis) * root,
        "sharpe_se_lo": sharpe_error_lo(per_session, n) * root,
        "sharpe_se_hac": sharpe_error_hac(excess_D, hac_lag) * root,
        "psr": float(ndtr(per_session / error)) if error > 0 else math.nan,
        "min_track_record_years": track / year,
        "skew": skew,
        "kurtosis": kurtosis,
        "sortino": float(excess_D.mean()) / below * root if below > 0 else math.nan,
        "calmar": annual / -depth if depth < 0 else math.nan,
        **falls,
        **_tails(return_D),
        "win_rate": float(np.mean(return_D > 0)),
        "best_session": float(return_D.max()),
        "worst_session": float(return_D.min()),
    }
    values["reasons"] = _performance_reasons(values, n, per_session, below, depth)
    return values


def judged_performance(
    return_D: Array,
    sessions: Dates,
    *,
    sessions_per_year: float,
    cash_D: Array | None = None,
    hac_lag: int = 0,
) -> Record:
    """Return `performance`, of a span that is long enough to be judged.

    Fewer than `MIN_SESSIONS` are too short for ratios, their errors, moments and what is of a year:
    NaN, and the reason says so.
    """
    values = performance(
        return_D, sessions, sessions_per_year=sessions_per_year, cash_D=cash_D, hac_lag=hac_lag
    )
    n, reasons = len(return_D), values["reasons"]
    assert isinstance(reasons, dict)
    if not 0 < n < MIN_SESSIONS:
        return values
    nothing: Record = dict.fromkeys(OF_A_YEAR, math.nan)
    return values | nothing | {"reasons": reasons | dict.fromkeys(OF_A_YEAR, too_short(n))}


def too_short(n_sessions: int) -> str:
    """Return why a span of so few sessions has no ratios and no figures of a year."""
    return f"too short: {n_sessions} sessions are fewer than {MIN_SESSIONS}"


def drawdown(return_D: Array, sessions: Dates) -> Record:
    """Return the deepest fall below a running peak (<= 0) and its three dates.

    The peak may be the start of the books, before the first session: its date is then None.
    `drawdown_recovered` is None while the fall lasts.
    """
    wealth_D = np.concatenate([[1.0], np.cumprod(1 + return_D)])
    peak_D = np.maximum.accumulate(wealth_D)
    below_D = wealth_D / peak_D - 1
    trough = int(np.argmin(below_D))
    depth = float(below_D[trough])
    dates: Record = dict.fromkeys(("drawdown_peak", "drawdown_trough", "drawdown_recovered"))
    length: int | None = None
    if depth < 0:
        peak = int(np.flatnonzero(wealth_D[:trough] == peak_D[trough])[-1])
        back = np.flatnonzero(wealth_D[trough:] >= peak_D[trough])
        end = trough + int(back[0]) if len(back) else len(return_D)
        length = end - peak
        dates = {
            "drawdown_peak": str(sessions[peak - 1]) if peak else None,
            "drawdown_trough": str(sessions[trough - 1]),
            "drawdown_recovered": str(sessions[end - 1]) if len(back) else None,
        }
    return {"max_drawdown": depth, **dates, "drawdown_sessions": length}


def _tails(return_D: Array) -> Record:
    """Return historical value at risk and expected shortfall (returns, usually below 0).

    VaR is the (1 - level) quantile with linear interpolation; CVaR the mean at or below it.
    """
    tails: Record = {}
    for level, least in MIN_TAIL.items():
        quantile = math.nan
        if len(return_D) >= least:
            quantile = float(np.quantile(return_D, 1 - int(level) / 100))
        tails[f"var_{level}"] = quantile
        worst = return_D[return_D <= quantile]
        tails[f"cvar_{level}"] = float(worst.mean()) if len(worst) else math.nan
    return tails


def _performance_reasons(
    values: Record, n: int, per_session: float, below: float, depth: float
) -> dict[str, str]:
    flat = "one session has no spread" if n == 1 else "the returns have no spread"
    reasons = {}
    for name, value in values.items():
        if not (isinstance(value, float) and math.isnan(value)):
            continue
        reason = flat
        if name.startswith(("var_", "cvar_")):
            reason = f"{n} sessions are fewer than {MIN_TAIL[name[-2:]]}"
        elif name == "calmar" and depth == 0:
            reason = "there was no drawdown"
        elif name == "sortino" and below == 0:
            reason = "no session fell short of cash"
        elif name == "min_track_record_years" and per_session <= 0:
            reason = "the Sharpe ratio is not above 0: no length would do"
        reasons[name] = reason
    return reasons


def _no_returns() -> Record:
    reasons = dict.fromkeys(FIGURES, "the backtest has no session")
    return {"n_sessions": 0, **dict.fromkeys(FIGURES), "reasons": reasons}
