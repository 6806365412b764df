"""Units and plausibility: well-formed numbers that contradict the contract.

What cannot be right is an error, what is only unusual a warning.  Every rule looks at whole
columns of a delivery; none changes a value.
"""

import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from alpha_assets.calendar import Calendar, as_date
from alpha_assets.feeds.problem import Example, Problem, violations

BAR = ("event_date", "symbol")

# A price at which shares are traded on average lies between low and high; vendors count block
# trades and auctions differently, so only a factor beyond this is shown.
VWAP_FACTOR = 1.5
# A unit is a power of ten from here on: 10 may be a split that one of two columns knows.
MIN_POWER = 2
NEAR_POWER = 0.05  # of the decimal logarithm, of turnover per share against the price
NEAR_STEP = 0.08  # the same for a step between two bars, in which prices moved, too
MIN_SYMBOLS = 5  # of a session that is judged by itself
MIN_BARS = 10  # of a month that is judged as a whole
VOLUME_STEP = 30.0  # by which the median volume of all symbols changes in one session

LIMIT_ROUNDING = 0.005  # of a price: what two ways to round a limit differ by

FACTOR = math.log(1.3)  # a factor nearer to 1 cannot be distinguished from the market
BIG_FACTOR = 25.0  # of one session, from an adjusted close

RATE_ODD, RATE_LOW = 0.5, -0.05  # a year
RATE_STEP, RATE_LEVEL = 30.0, 0.05
RATE_MOVE = 0.03  # between two rates in a row: a quarter of a percent, in percent, is 0.25
FEE_ODD = (1.0, 1e5)  # bps a year
EXIT_ODD = 1.0  # of the last close
DIVIDEND_ODD = 0.5  # of the close before
DIVIDEND_MEDIAN = (
    1e-4,
    0.1,
)  # of the close before: what one payment of most companies lies between
MIN_DIVIDENDS = 5  # that have a median


def bar_units(bars: pl.DataFrame) -> list[Problem]:
    """Return what is implausible about the units and adjustments of bars.

    Args:
        bars: as delivered, sorted by symbol and event_date.
    """
    return [
        *_turnover(bars),
        *price_steps(bars),
        *volume_steps(bars),
        *_factors(bars),
        *_adjusted(bars),
        *_limits(bars),
    ]


def adjusted_before(bars: pl.DataFrame) -> tuple[pl.Expr, pl.Expr] | None:
    """Return the adjusted close and that of the bar before, on the level of the bar's session.

    The factors of all rows since the last bar with a price count: a share may split while it is
    not traded.

    Args:
        bars: sorted by symbol and event_date.
    """
    if "adj_close" in bars.columns:
        price = pl.col("adj_close")
        return price, price.forward_fill().shift(1).over("symbol")
    if "close" not in bars.columns:
        return None
    price = pl.col("close")
    if "adjustment_factor" not in bars.columns:
        return price, price.forward_fill().shift(1).over("symbol")
    level = pl.col("adjustment_factor").fill_null(1.0).cum_prod().over("symbol")
    return price, (price / level).forward_fill().shift(1).over("symbol") * level


def _turnover(bars: pl.DataFrame) -> list[Problem]:
    """Return bars whose turnover per share lies far from their prices."""
    if not {"turnover_value", "volume", "low", "high"} <= set(bars.columns):
        return []
    rows = bars.filter(
        (pl.col("turnover_value") > 0) & (pl.col("volume") > 0) & (pl.col("low") > 0)
    ).with_columns(turnover_per_share=pl.col("turnover_value") / pl.col("volume"))
    share = pl.col("turnover_per_share")
    size = (share / (pl.col("low") * pl.col("high")).sqrt()).log10()
    off = (share > pl.col("high") * VWAP_FACTOR) | (share < pl.col("low") / VWAP_FACTOR)
    rows = rows.with_columns(size.alias("size"), _power(size, NEAR_POWER).alias("power"))
    month = pl.col("event_date").dt.truncate("1mo")
    for_most = _of_most(pl.col("event_date"), MIN_SYMBOLS) | _of_most(month, MIN_BARS)
    rows = rows.with_columns(for_most.alias("for_most"))
    rows = rows.with_columns((10.0 ** pl.col("size")).round_sig_figs(4).alias("times_the_price"))
    most = rows.filter("for_most")
    shown = ("turnover_value", "volume", "low", "high", "times_the_price")
    way_out = (
        "turnover_value / volume is a price between low and high; bring turnover_value and volume "
        "to the money and the shares of the prices"
    )
    return [
        *violations(
            "error",
            "daily_bars",
            "turnover_unit",
            f"{way_out}, or leave turnover_value out (close x volume is used then): for half of "
            "the symbols or more it is a power of ten away",
            most,
            key=BAR,
            values=shown,
        ),
        *violations(
            "warning",
            "daily_bars",
            "turnover_off",
            f"{way_out}: it lies beyond {VWAP_FACTOR} times of it; kept as it is",
            rows.filter(off & ~pl.col("for_most")),
            key=BAR,
            values=shown,
        ),
    ]


def price_steps(bars: pl.DataFrame) -> list[Problem]:
    """Return steps of adjusted closes by a power of ten, such as pence after pounds."""
    both = adjusted_before(bars)
    if both is None:
        return []
    price, before = both
    size = (price / before).log10()
    rows = bars.with_columns(before.alias("before"), price.alias("now"), size.alias("size")).filter(
        pl.col("size").is_not_null()
    )
    rows = rows.with_columns(_power(pl.col("size"), NEAR_STEP).alias("power"))
    rows = rows.with_columns(_of_most(pl.col("event_date"), MIN_SYMBOLS).alias("for_most"))
    for_most = pl.col("for_most")
    wanted = (
        "prices are in one unit for all sessions (pounds or pence, not both), and splits in "
        "adjustment_factor; a close moved by a factor of about 100, 1,000 or more between two bars"
    )
    stepped = rows.filter(pl.col("power") != 0)
    return [
        *violations(
            "error",
            "daily_bars",
            "price_unit",
            f"{wanted}, for half of the symbols or more",
            stepped.filter(for_most),
            key=BAR,
            values=("before", "now"),
        ),
        *violations(
            "warning",
            "daily_bars",
            "price_unit",
            wanted,
            stepped.filter(~for_most),
            key=BAR,
            values=("before", "now"),
        ),
    ]


def volume_steps(bars: pl.DataFrame) -> list[Problem]:
    """Return sessions at which the volume of most symbols changed by a large factor."""
    if "volume" not in bars.columns:
        return []
    traded = bars.filter(pl.col("volume") > 0)
    ratio = (pl.col("volume") / pl.col("volume").shift(1).over("symbol")).log10()
    steps = (
        traded.select("event_date", ratio.alias("ratio"))
        .drop_nulls()
        .group_by("event_date")
        .agg(pl.col("ratio").median(), pl.len().alias("symbols"))
        .filter(
            (pl.col("symbols") >= MIN_SYMBOLS) & (pl.col("ratio").abs() >= math.log10(VOLUME_STEP))
        )
        .sort("event_date")
        .with_columns((10.0 ** pl.col("ratio")).round_sig_figs(4).alias("median_ratio"))
    )
    return violations(
        "warning",
        "daily_bars",
        "volume_unit",
        "volume is in shares on all sessions (not in lots or thousands); the median symbol's "
        f"changed by more than {VOLUME_STEP:g} times in one session",
        steps,
        key=("event_date",),
        values=("median_ratio", "symbols"),
    )


def _factors(bars: pl.DataFrame) -> list[Problem]:
    """Return factors that the closes beside them contradict."""
    if not {"adjustment_factor", "close"} <= set(bars.columns):
        return []
    log = pl.col("adjustment_factor").fill_null(1.0).log().cum_sum().over("symbol")
    priced = (
        bars.with_columns(log.alias("level"))
        .filter(pl.col("close") > 0)
        .with_columns(
            (pl.col("level") - pl.col("level").shift(1)).over("symbol").alias("f"),
            pl.col("close").log().diff().over("symbol").alias("r"),
        )
        .with_columns(
            [
                pl.col(name).shift(n).over("symbol").alias(f"{name}{n}")
                for name in ("f", "r")
                for n in (-1, 1)
            ]
        )
    )
    f, r = pl.col("f"), pl.col("r")

    def explains(move: pl.Expr, factor: pl.Expr) -> pl.Expr:
        return ((move - factor).abs() <= factor.abs() * 0.5).fill_null(False)

    def alone(n: int) -> pl.Expr:
        return (pl.col(f"f{n}").abs() < FACTOR).fill_null(False)

    still = (r.abs() <= f.abs() / 2).fill_null(False)
    looks = (
        pl.when(explains(r, f))
        .then(None)
        .when(explains(r, -f))
        .then(pl.lit("inverted: 0.5 stands for a split of 1 to 2"))
        .when(still & alone(-1) & explains(pl.col("r-1"), f))
        .then(pl.lit("one bar early: it stands on the first session at the new price"))
        .when(still & alone(1) & explains(pl.col("r1"), f))
        .then(pl.lit("one bar late: it stands on the first session at the new price"))
        .when(still)
        .then(pl.lit("not in the prices: are they adjusted already?"))
    )
    odd = priced.filter(f.abs() >= FACTOR).with_columns(looks.alias("seems"))
    odd = odd.filter(pl.col("seems").is_not_null()).with_columns(
        r.exp().round_sig_figs(4).alias("close_ratio")
    )
    return violations(
        "warning",
        "daily_bars",
        "factor_disagrees",
        "on the ex-date the close moves by about adjustment_factor; kept as it is",
        odd,
        key=BAR,
        values=("adjustment_factor", "close_ratio", "seems"),
    )


def _adjusted(bars: pl.DataFrame) -> list[Problem]:
    """Return adjusted closes that lie on another level than closes, or leave it at once."""
    if not {"adj_close", "close"} <= set(bars.columns):
        return []
    rows = bars.filter((pl.col("adj_close") > 0) & (pl.col("close") > 0)).with_columns(
        (pl.col("adj_close") / pl.col("close")).alias("ratio")
    )
    before = pl.col("ratio").shift(1).over("symbol").alias("ratio_before")
    steps = rows.with_columns(before).with_columns(
        (pl.col("ratio") / pl.col("ratio_before")).log().abs().alias("size")
    )
    problems = violations(
        "warning",
        "daily_bars",
        "adjusted_step",
        f"adj_close / close changes by less than {BIG_FACTOR:g} times between two bars; see that "
        "both columns are in one unit on both days",
        steps.filter(pl.col("size") > math.log(BIG_FACTOR)).sort("size", descending=True),
        key=BAR,
        values=("ratio_before", "ratio"),
    )
    last = rows.group_by("symbol").agg(pl.col("ratio").last())
    level = last["ratio"].median()
    is_known = isinstance(level, float) and 0 < level < math.inf
    if isinstance(level, float) and is_known and abs(math.log10(level)) >= MIN_POWER - NEAR_POWER:
        example = Example("", None, "", f"the median symbol's is {level:.4g}")
        wanted = "adj_close / close is near 1 at a symbol's last bar; see that both are in one unit"
        problems.append(Problem("warning", "daily_bars", "adjusted_unit", wanted, 1, (example,)))
    return problems


def _limits(bars: pl.DataFrame) -> list[Problem]:
    """Return prices beyond the limits of their session: limits on another level, or of another day.

    Such a limit counts as touched, and nothing fills at it.
    """
    given = [name for name in ("upper_limit", "lower_limit") if bars.schema.get(name) == pl.Float64]
    if not given or not {"low", "high"} <= set(bars.columns):
        return []
    beyond = {
        "upper_limit": pl.col("high") > pl.col("upper_limit") * (1 + LIMIT_ROUNDING),
        "lower_limit": pl.col("low") < pl.col("lower_limit") * (1 - LIMIT_ROUNDING),
    }
    wanted = (
        "prices lie between lower_limit and upper_limit; bring limits to the level of the prices"
    )
    outside = bars.filter(pl.any_horizontal(beyond[name] for name in given))
    limited = bars.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in given)).height
    if outside.height >= MIN_BARS and 2 * outside.height >= limited:
        problems = violations(
            "error",
            "daily_bars",
            "limit_unit",
            f"{wanted}, or leave them out: half of the bars with limits or more lie outside",
            outside,
            key=BAR,
            values=("low", "high", *given),
        )
    else:
        problems = violations(
            "warning",
            "daily_bars",
            "outside_limits",
            f"{wanted}; a limit that is passed counts as touched",
            outside,
            key=BAR,
            values=("low", "high", *given),
        )
    if len(given) < len(beyond):
        return problems
    return problems + violations(
        "error",
        "daily_bars",
        "limits_crossed",
        "lower_limit lies below upper_limit; exchange the two columns",
        bars.filter((pl.col("upper_limit") < pl.col("lower_limit")) & (pl.col("upper_limit") > 0)),
        key=BAR,
        values=given,
    )


def rate_warnings(rows: pl.DataFrame) -> list[Problem]:
    """Return cash rates that may be in percent: very high, or a step that no central bank makes."""
    if "cash_rate_annual" not in rows.columns:
        return []
    rate, before = pl.col("cash_rate_annual"), pl.col("before")
    rows = rows.sort("event_date").with_columns(
        pl.col("cash_rate_annual").forward_fill().shift(1).alias("before")
    )
    larger, smaller = pl.max_horizontal(rate, before), pl.min_horizontal(rate, before)
    stepped = (smaller > 0) & (larger > smaller * RATE_STEP) & (larger > RATE_LEVEL)
    stepped |= larger - smaller > RATE_MOVE
    wanted = "cash_rate_annual is a fraction a year: 0.0525 for 5.25 %"
    return [
        *violations(
            "warning",
            "rates",
            "rate_odd",
            f"{wanted}; it lies outside {RATE_LOW} to {RATE_ODD}",
            rows.filter(~rate.is_between(RATE_LOW, RATE_ODD)),
            key=("event_date",),
            values=("cash_rate_annual",),
        ),
        *violations(
            "warning",
            "rates",
            "rate_unit",
            f"{wanted}; two rates in a row lie more than {RATE_MOVE} or {RATE_STEP:g} times apart",
            rows.filter(stepped.fill_null(False)),
            key=("event_date",),
            values=("before", "cash_rate_annual"),
        ),
    ]


def fee_warnings(rows: pl.DataFrame) -> list[Problem]:
    """Return borrow fees that may be fractions or percent."""
    if "fee_bps_annual" not in rows.columns:
        return []
    fee = pl.col("fee_bps_annual")
    return violations(
        "warning",
        "borrow",
        "fee_unit",
        "fee_bps_annual is in basis points a year: 40 for 0.4 %; one that is not 0 lies between "
        f"{FEE_ODD[0]:g} and {FEE_ODD[1]:,.0f}",
        rows.filter((fee > 0) & ~fee.is_between(*FEE_ODD)),
        key=BAR,
        values=("fee_bps_annual",),
    )


def exit_warnings(rows: pl.DataFrame) -> list[Problem]:
    """Return exits that pay far more than the last close."""
    if "exit_return" not in rows.columns:
        return []
    return violations(
        "warning",
        "listings",
        "exit_return_odd",
        "exit_return is a fraction of the last close: 0.35 for 35 %; it lies above "
        f"{EXIT_ODD:g}: kept as it is",
        rows.filter(pl.col("exit_return") > EXIT_ODD),
        key=("symbol",),
        values=("exit_return",),
    )


def dividend_problems(rows: pl.DataFrame, bars: pl.DataFrame) -> list[Problem]:
    """Return dividends without an amount, or with a large one beside the close before the ex-date.

    A dividend is money per share as they are counted on the ex-date, so the close before is
    brought to that level: after a consolidation of 10 to 1 it counts ten times.

    Args:
        rows: dividends, one a symbol and ex-date.
        bars: `event_date`, `symbol`, `close`, and what factors there are; no columns where they
            cannot be read.
    """
    if "amount" not in rows.columns:
        return []
    unknown = violations(
        "warning",
        "dividends",
        "dividend_unknown",
        "amount says what is paid; without one a dividend pays nothing in the books",
        rows.filter(pl.col("amount").is_null()),
        key=BAR,
    )
    if not {*BAR, "close"} <= set(bars.columns):
        return unknown
    bars = bars.filter(pl.all_horizontal(pl.col(BAR).is_not_null())).sort(BAR[::-1])
    levels = bars.select(
        "symbol",
        pl.col("event_date").alias("of"),
        _price_level(bars.columns).cum_prod().over("symbol").alias("level"),
        pl.when(pl.col("close") > 0).then("close").alias("close_before"),
    ).sort("of")
    closes = levels.drop_nulls("close_before").rename({"level": "level_before"})
    paid = rows.filter(pl.col("amount") > 0).with_columns(
        pl.col("event_date").alias("on"), pl.col("event_date").dt.offset_by("-1d").alias("of")
    )
    beside = (
        paid.sort("of")
        .join_asof(closes, on="of", by="symbol", strategy="backward", check_sortedness=False)
        .join_asof(
            levels.select("symbol", "of", "level"),
            left_on="on",
            right_on="of",
            by="symbol",
            strategy="backward",
            check_sortedness=False,
        )
        .with_columns(pl.col("close_before") * pl.col("level") / pl.col("level_before"))
    )
    share = pl.col("amount") / pl.col("close_before")
    wanted = "amount is per share of the level of the closes on the ex-date"
    return [
        *unknown,
        *violations(
            "error",
            "dividends",
            "dividend_above_price",
            f"{wanted} and not above the close before, brought to that level; where closes are "
            "split-adjusted, so are amounts",
            beside.filter(share > 1),
            key=BAR,
            values=("amount", "close_before"),
        ),
        *violations(
            "warning",
            "dividends",
            "dividend_odd",
            f"{wanted}; it is more than {DIVIDEND_ODD:.0%} of the close before",
            beside.filter((share > DIVIDEND_ODD) & (share <= 1)),
            key=BAR,
            values=("amount", "close_before"),
        ),
        *_dividend_unit(beside.filter(share <= 1).with_columns(share.alias("of_the_close"))),
    ]


def _dividend_unit(paid: pl.DataFrame) -> list[Problem]:
    """Return whether most dividends are far larger or smaller than companies pay at once."""
    paid = paid.sort("of_the_close")
    if paid.height < MIN_DIVIDENDS:
        return []
    middle = paid[[paid.height // 2]]
    low, high = DIVIDEND_MEDIAN
    return violations(
        "warning",
        "dividends",
        "dividend_unit",
        "amount is in the money of the prices (not in cents beside dollars): the median payment "
        f"is {low:.2%} to {high:.0%} of the close before",
        middle.filter(~pl.col("of_the_close").is_between(low, high)),
        key=BAR,
        values=("amount", "close_before"),
        count=paid.height,
    )


def _price_level(columns: Sequence[str]) -> pl.Expr:
    """Return by what each session moves the price of a share, of bars sorted by symbol and date.

    A step of an adjusted close below 1 may be the dividend itself, and counts as none.
    """
    if "adj_close" in columns:
        share = pl.when((pl.col("close") > 0) & (pl.col("adj_close") > 0)).then(
            pl.col("adj_close") / pl.col("close")
        )
        step = share.forward_fill().shift(1).over("symbol") / share
        return step.clip(lower_bound=1.0).fill_null(1.0)
    level = pl.col("adjustment_factor") if "adjustment_factor" in columns else pl.lit(None)
    if "share_factor" in columns:
        level = pl.coalesce(1 / pl.col("share_factor"), level)
    return level.cast(pl.Float64).fill_null(1.0)


def membership_seams(
    spells: pl.DataFrame, spans: pl.DataFrame | None, calendar: Calendar
) -> list[Problem]:
    """Return sessions without any member, and ends that look inclusive.

    The contract's ends are exclusive.  Of inclusive ones the next spell begins one session after
    the end, for the whole index: at each change a session lacks those who leave and those who
    come.

    Args:
        spells: `symbol`, `start`, `end`.
        spans: of the bars; None where they cannot be read.
        calendar: of the market.
    """
    spells = spells.filter(pl.col("start").is_not_null())
    if spells.is_empty():
        return []
    sessions = calendar.sessions
    start = np.searchsorted(sessions, spells["start"].to_numpy().astype("datetime64[D]"))
    ends = spells["end"].fill_null(as_date(sessions[-1])).to_numpy().astype("datetime64[D]")
    end = np.searchsorted(sessions, ends)
    is_open = spells["end"].is_null().to_numpy()
    end = np.where(is_open, len(sessions), end)
    last = len(sessions)
    if spans is not None and spans.height:
        newest = np.datetime64(as_date(spans["last"].max()), "D")
        last = int(np.searchsorted(sessions, newest, side="right"))
    holds = end > start
    start, end, is_open = start[holds], end[holds], is_open[holds]
    if not len(start):
        return []
    n_in = np.bincount(start.clip(max=last), minlength=last + 2)
    n_out = np.bincount(end.clip(max=last), minlength=last + 2)
    members = np.cumsum(n_in - n_out)[:last]
    empty = np.flatnonzero(members == 0)
    first, final = start.min(), (last if is_open.any() else int(end.max()))
    empty = empty[(empty > first) & (empty < final)]
    problems: list[Problem] = []
    way_out = "end is exclusive, the first day out"
    if len(empty):
        examples = tuple(Example("", None, str(sessions[k]), "no member") for k in empty[:3])
        wanted = f"an index has members on each session between its first and last; {way_out}"
        problems.append(
            Problem("warning", "membership", "no_members", wanted, len(empty), examples)
        )
    left = end[~is_open & (end < last)]
    seamless = n_in[left] > 0
    gapped = ~seamless & (n_in[left + 1] > 0)
    if gapped.sum() > seamless.sum():
        seams = np.unique(left[gapped])
        examples = tuple(
            Example(
                "", None, f"end {sessions[k]}", f"{n_in[k + 1]} spells start on {sessions[k + 1]}"
            )
            for k in seams[:3]
        )
        wanted = (
            f"{way_out}; these look inclusive: the next spells start one session later, and "
            "those that end lack their last session. Move each end to the next session"
        )
        problems.append(
            Problem("warning", "membership", "inclusive_ends", wanted, int(gapped.sum()), examples)
        )
    return problems


def _power(size: pl.Expr, near: float) -> pl.Expr:
    """Return the power of ten that a decimal logarithm is near to; 0 where it is none."""
    power = size.round()
    fits = (power.abs() >= MIN_POWER) & ((size - power).abs() <= near)
    return pl.when(fits).then(power).otherwise(0.0)


def _of_most(when: pl.Expr, n_needed: int) -> pl.Expr:
    """Return which rows share their power of ten with at least half of the rows of their time."""
    n = pl.len().over(when, "power")
    return (pl.col("power") != 0) & (2 * n >= pl.len().over(when)) & (n >= n_needed)
