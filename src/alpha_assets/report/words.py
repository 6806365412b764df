"""Figures as words: numbers with their signs and units, and the verdict in plain sentences."""

from collections.abc import Mapping

from alpha_assets.report.inputs import at, main_horizon, number

MISSING = "–"
CLEAR = 2.0  # standard errors from zero before a figure is called clear of it
SUSPICIOUS_IC = 0.08  # of real prices: an honest model is around 0.01 to 0.03
BPS = 1e-4
UNITS = ((1e12, "T"), (1e9, "bn"), (1e6, "m"), (1e3, "k"))


def plain(value: float | None, digits: int = 2, *, signed: bool = False) -> str:
    """Return a number with a true minus sign; a dash where there is none."""
    if value is None:
        return MISSING
    text = f"{value:+,.{digits}f}" if signed else f"{value:,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "−")


def percent(value: float | None, digits: int = 1, *, signed: bool = False) -> str:
    """Return a fraction in percent."""
    return MISSING if value is None else plain(value * 100, digits, signed=signed) + " %"


def bps(value: float | None, digits: int = 1) -> str:
    """Return a figure that is already in basis points."""
    return MISSING if value is None else plain(value, digits) + " bps"


def money(value: float | None, currency: str) -> str:
    """Return an amount, shortened to three figures."""
    if value is None:
        return MISSING
    for size, unit in UNITS:
        if abs(value) >= size:
            return f"{plain(value / size, 2)} {unit} {currency}"
    return f"{plain(value, 0)} {currency}"


def whole(value: float | None) -> str:
    """Return a count."""
    return plain(value, 0)


def verdict(metrics: Mapping[str, object]) -> list[str]:
    """Return what the figures say, one sentence to a finding, the uncertain ones as such."""
    said = [_signal_verdict(metrics), *_planted_verdict(metrics), *_suspicion(metrics)]
    return [*said, _book_verdict(metrics), *_cost_verdict(metrics)]


def _signal_verdict(metrics: Mapping[str, object]) -> str:
    horizon = main_horizon(metrics)
    rank_ic = at(metrics, "signal", f"h{horizon}", "rank_ic")
    mean, t = number(rank_ic, "mean"), number(rank_ic, "t")
    if mean is None:
        return "Of the signal nothing can be said: no session has both scores and labels."
    low, high = number(rank_ic, "low"), number(rank_ic, "high")
    between = "" if low is None or high is None else f", 95 % interval {plain(low, 3)} to "
    between += "" if not between else plain(high, 3)
    size = f"mean rank IC {plain(mean, 3)} at {horizon} sessions{between}"
    if t is None:
        return f"The span is too short to judge the signal: {size}, without an honest t."
    size += f", honest t {plain(t, 1)}"
    if abs(t) < CLEAR:
        return f"The signal cannot be told from chance: {size}."
    # The more cautious of t and interval decides.
    if low is None or high is None:
        return f"The span is too short to judge the signal: {size}, without an interval."
    if low <= 0 <= high:
        return f"The signal cannot be told from chance: {size}; the interval holds 0."
    if t > 0:
        return f"The scores carry information: {size}."
    return f"The scores point the wrong way: {size}."


def _planted_verdict(metrics: Mapping[str, object]) -> list[str]:
    planted = at(metrics, "signal", f"h{main_horizon(metrics)}", "planted")
    share, oracle = number(planted, "share"), number(planted, "oracle_rank_ic")
    if share is None or oracle is None:
        return []
    return [f"That is {percent(share, 0)} of the {plain(oracle, 3)} that was planted."]


def _suspicion(metrics: Mapping[str, object]) -> list[str]:
    mean = number(metrics, "signal", f"h{main_horizon(metrics)}", "rank_ic", "mean")
    if mean is None or mean < SUSPICIOUS_IC or at(metrics, "data", "simulated") is True:
        return []
    return [
        "A rank IC of this size on real prices is a leak until proven otherwise: "
        "run the audit before anything else."
    ]


def _book_verdict(metrics: Mapping[str, object]) -> str:
    net = at(metrics, "portfolio", "net")
    sharpe, error = number(net, "sharpe"), number(net, "sharpe_se")
    if sharpe is None or error is None:
        return "Of the portfolio nothing can be said: its returns have no Sharpe ratio."
    size = f"Sharpe {plain(sharpe)} ± {plain(error)}"
    years, needed = number(metrics, "span", "years"), number(net, "min_track_record_years")
    if sharpe >= CLEAR * error:
        text = f"After all costs the book earned {size}, clear of zero."
    elif sharpe <= -CLEAR * error:
        return f"After all costs the book lost money, clearly: {size}."
    elif sharpe <= 0:
        return f"After all costs the book earned nothing: {size}."
    else:
        text = f"After all costs the book earned {size}: within {CLEAR:.0f} standard errors of zero"
        text += ", so not yet evidence of profit."
    if years is not None and needed is not None and needed > years:
        text += (
            f" At this rate {plain(needed, 1)} years would be needed to be 95 % sure "
            f"of a profit; there are {plain(years, 1)}."
        )
    return text


def _cost_verdict(metrics: Mapping[str, object]) -> list[str]:
    costs = at(metrics, "costs")
    paid, spare = number(costs, "trading_bps"), number(costs, "break_even_bps")
    share = number(costs, "total_annual_return")
    if paid is None or spare is None or share is None:
        return []
    text = f"Costs took {percent(share)} of equity a year; trading cost {bps(paid)} of what was "
    if spare > 0:
        return [text + f"traded, and the book breaks even at {bps(spare)}."]
    return [text + "traded, and the book would lose money even if trading were free."]
