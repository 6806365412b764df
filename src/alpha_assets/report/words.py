"""Figures as words: numbers with their signs and units, and the verdict in plain sentences."""

import math
from collections.abc import Mapping

from alpha_assets.report.inputs import at, main_horizon, number, records

MISSING = "–"
CLEAR = 2.0  # standard errors from zero before a figure is called clear of it
SUSPICIOUS_IC = 0.08  # of real prices: a model without leaks is around 0.01 to 0.03
BPS = 1e-4
SHOWN = 5  # stretches of sessions that are named one by one
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


def unbroken(sentence: str) -> str:
    """Return a sentence in which no line ends between a number and its `%` or its `±`."""
    return sentence.replace(" %", "\u00a0%").replace(" ± ", "\u00a0±\u00a0")


def between(figures: object, digits: int = 3) -> str:
    """Return the 95 % interval of a figure, or why it has none."""
    low, high = number(figures, "low"), number(figures, "high")
    if low is not None and high is not None:
        return f"{plain(low, digits)} to {plain(high, digits)}"
    why = at(figures, "reasons", "low")
    return f"no interval: {why}" if isinstance(why, str) else "no interval"


def whole(value: float | None) -> str:
    """Return a count."""
    return plain(value, 0)


def verdict(metrics: Mapping[str, object]) -> list[str]:
    """Return what the figures say, one sentence to a finding, the uncertain ones as such."""
    sentences = [_signal_verdict(metrics), *_planted_verdict(metrics), *_suspicion(metrics)]
    book = [_book_verdict(metrics), *_attainable_verdict(metrics)]
    return [*sentences, *book, *_cost_verdict(metrics)]


def _signal_verdict(metrics: Mapping[str, object]) -> str:
    horizon = main_horizon(metrics)
    rank_ic = at(metrics, "signal", f"h{horizon}", "rank_ic")
    mean, t = number(rank_ic, "mean"), number(rank_ic, "t")
    if mean is None:
        return "The signal cannot be judged: no session has both scores and labels."
    low, high = number(rank_ic, "low"), number(rank_ic, "high")
    between = "" if low is None or high is None else f", 95 % interval {plain(low, 3)} to "
    between += "" if not between else plain(high, 3)
    size = f"mean rank IC {plain(mean, 3)} at {horizon} sessions{between}"
    if t is None:
        return f"The span is too short to judge the signal: {size}, without a t."
    size += f", t (smallest of three) {plain(t, 1)}"
    if abs(t) < CLEAR:
        return f"The signal cannot be distinguished from chance: {size}."
    # The more cautious of t and interval decides.
    if low is None or high is None:
        return f"The span is too short to judge the signal: {size}, without an interval."
    if low <= 0 <= high:
        return f"The signal cannot be distinguished from chance: {size}; the interval holds 0."
    if t > 0:
        return f"The scores carry information: {size}."
    return f"The scores point the wrong way: {size}."


def _planted_verdict(metrics: Mapping[str, object]) -> list[str]:
    planted = at(metrics, "signal", f"h{main_horizon(metrics)}", "planted")
    share, oracle = number(planted, "share"), number(planted, "oracle_rank_ic")
    if share is None or oracle is None:
        why = at(planted, "reason")
        words = f"What share of the planted drift that is, is not known: {why}."
        return [words] if isinstance(why, str) else []
    low, high = number(planted, "share_low"), number(planted, "share_high")
    between = "" if low is None or high is None else f" ({percent(low, 0)} to {percent(high, 0)})"
    return [
        f"That is {percent(share, 0)}{between} of the {plain(oracle, 3)} that the planted drift is "
        "estimated to reach." + _ceiling_words(planted)
    ]


def _attainable_verdict(metrics: Mapping[str, object]) -> list[str]:
    """Return what share of the attainable net Sharpe ratio was reached, on simulated markets."""
    rows = records(metrics, "attainable", "sharpe")
    if not rows:
        return []
    own = next(row for row in rows if number(row, "cost_scale") == 1.0)
    share, error = number(own, "reached_share"), number(own, "reached_share_error")
    if share is None:
        why = f"What share of the attainable that is, is not known: {at(own, 'reason')}."
        return [why, *_family_words(metrics)]
    rule = number(own, "own_rule_share")
    of_rule = f"; the planted drift itself keeps {percent(rule, 0)} under this rule" if rule else ""
    return [
        f"That is {percent(share, 0)} ± {percent(error, 0)} of the "
        f"{plain(number(own, 'attainable'))} that the planted drift earns under the best of a "
        f"family of rules at these costs and this capital{of_rule}.",
        *_family_words(metrics),
    ]


def _family_words(metrics: Mapping[str, object]) -> list[str]:
    """Return which rules of the family are left out and why, and what was held unsolved."""
    left_out, sentences = at(metrics, "attainable", "left_out"), []
    if isinstance(left_out, Mapping):
        sentences = [
            f"The rule “{name}” is left out of that family: {why}."
            for name, why in left_out.items()
        ]
    rows = records(metrics, "attainable", "sharpe")
    n = sum(number(row, "unsolved") or 0 for row in rows)
    if n:
        sentences.append(
            f"At {whole(n)} rebalances of that family's cost-aware rule the solver did not "
            "converge, and what was held went on."
        )
    return sentences


def _ceiling_words(planted: object) -> str:
    """Return what least squares could reach of what was planted; empty where it is not known."""
    ceiling, n_inputs = number(planted, "ceiling"), number(planted, "n_inputs")
    if ceiling is None or n_inputs is None:
        return ""
    return f" Least squares on {whole(n_inputs)} inputs expects {percent(ceiling, 0)}."


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
        why = at(net, "reasons", "sharpe") or "its returns have no Sharpe ratio"
        return f"The portfolio cannot be judged: {why}."
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
    if paid is None or spare is None:
        return []
    took = "Trading cost" if share is None else f"Costs took {percent(share)} of equity a year; "
    took += " " if share is None else "trading cost "
    text = f"{took}{bps(paid)} of what was "
    if spare > 0:
        return [text + f"traded, and the book breaks even at {bps(spare)}."]
    return [text + "traded, and the book would lose money even if trading were free."]


def warnings(metrics: Mapping[str, object]) -> list[str]:
    """Return what a reader must know first: sessions that do not count, books without holdings."""
    return [*_undecided(metrics), *_constant_scores(metrics), *_empty_book(metrics)]


def _constant_scores(metrics: Mapping[str, object]) -> list[str]:
    """Return what to know of sessions in which the model does not tell names apart."""
    figures = at(metrics, "signal", f"h{main_horizon(metrics)}")
    n = number(figures, "n_sessions_constant")
    if not n:
        return []
    return [
        f"In {whole(n)} of {whole(number(figures, 'n_sessions_predicted'))} sessions every name "
        "has the same score, so that the order of symbols decided what was held: usually the "
        "universe has fewer names than its min_names, which leaves every feature at 0."
    ]


def _undecided(metrics: Mapping[str, object]) -> list[str]:
    """Return a sentence for each stretch of sessions that was asked for and not decided."""
    stretches = records(metrics, "span", "undecided")
    sentences = []
    for stretch in stretches[:SHOWN]:
        n, earned = whole(number(stretch, "n_sessions")), number(stretch, "net_return")
        text = (
            f"{stretch.get('first_session')} to {stretch.get('last_session')} ({n} sessions) was "
            f"asked for and not decided: {stretch.get('why')}. It counts in no figure"
        )
        if earned is not None:
            text += f"; what was held stayed as it was and earned {percent(earned, 2, signed=True)}"
        sentences.append(text + ".")
    rest = stretches[SHOWN:]
    if rest:
        total = sum(number(stretch, "n_sessions") or 0 for stretch in rest)
        sentences.append(
            f"{len(rest)} more stretches, {whole(total)} sessions in all, were not decided and "
            "count in no figure; metrics.json lists them (span.undecided)."
        )
    return sentences


def _empty_book(metrics: Mapping[str, object]) -> list[str]:
    """Return what to know of rebalances and sessions at which nothing was held."""
    rule = at(metrics, "portfolio", "rebalances")
    n, n_empty = number(rule, "n"), number(rule, "n_empty")
    days, days_empty = number(rule, "n_sessions"), number(rule, "n_sessions_empty")
    if n is None or n_empty is None or days is None or days_empty is None:
        return []
    sentences = []
    if n == 0:
        sentences.append("No session of the span is a rebalance, so nothing was ever held.")
    if n_empty:
        why = "; ".join(
            f"{row['reason']}"
            + (f" ({whole(number(row, 'n_rebalances'))} times)" if n_empty > 1 else "")
            for row in records(rule, "reasons")
        )
        sentences.append(
            f"{whole(n_empty)} of {whole(n)} rebalances held nothing: {why}. {_way_out(rule)}"
        )
    for side in ("longs", "shorts"):
        n_unfilled = number(rule, f"n_{side}_unfilled")
        if n_unfilled:
            sentences.append(
                f"{whole(n_unfilled)} of {whole(n)} rebalances wanted {side} and held none at the "
                f"close: no order of that side was filled. Look at halts, limits, volumes"
                f"{' and what can be borrowed' if side == 'shorts' else ''}."
            )
    if days and days_empty == days and n > n_empty:
        sentences.append(
            f"The book was empty at every close although {whole(n - n_empty)} of {whole(n)} "
            "rebalances had targets: no order was filled. Look at the volumes and opening prices "
            "of the names, and at portfolio.max_participation and portfolio.lot."
        )
    return sentences


def _way_out(rule: object) -> str:
    """Return what to change so that a side has its least number of names."""
    names, least = number(rule, "names_scored"), number(rule, "min_side")
    quantile, count = number(rule, "quantile"), number(rule, "count")
    if names is None or least is None or quantile is None:
        return "Change portfolio.quantile, portfolio.count or portfolio.min_side."
    size = count if count is not None else round(quantile * names)
    ways = f"portfolio.count to {whole(least)} or more, or portfolio.min_side to less"
    enough = math.ceil(100 * least / max(names, 1)) / 100
    if count is None and enough <= 0.5:
        ways = f"portfolio.quantile to {plain(enough)} or more, {ways}"
    rule_words = f"quantile {plain(quantile)}" if count is None else f"count {whole(count)}"
    return (
        f"With {rule_words}, {whole(names)} scored names (median) ask for {whole(size)} a side and "
        f"portfolio.min_side = {whole(least)}: set {ways}, or bring more names."
    )
