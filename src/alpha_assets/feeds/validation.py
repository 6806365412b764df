"""What cannot be right about raw rows, whichever source they come from.

These rules stop an ingestion; `warnings` does not.
"""

from collections.abc import Callable, Sequence
from datetime import time

import numpy as np
import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.feeds.base import Feed, Stamped, instants_of
from alpha_assets.feeds.listings import ACTIVE, EXITS, SOURCE_END
from alpha_assets.feeds.market import DIVISIONS
from alpha_assets.feeds.problem import Problem, violations
from alpha_assets.printable import UNSEEN

PRICES = ("open", "high", "low", "close")
# Prices that a vendor adjusted and rounded again may disagree in the last digits.
ROUNDING = 1e-5

# Beyond these no unit of money or shares makes sense, and sums of squares are no numbers.
PRICE_RANGE = (1e-12, 1e12)
FACTOR_RANGE = (1e-6, 1e6)
AMOUNT_RANGE = (1e-12, 1e20)  # shares or money that is not 0
GREATEST = 1e30  # of any number
MAX_RATE = 1.0  # a year: no currency of an exchange had 100 %
MAX_FEE = 1e6  # bps a year
MAX_EXIT = 5.0  # of the last close

SYMBOL_LENGTH, KEY_LENGTH, TEXT_LENGTH = 64, 400, 10_000
# Control, zero-width and direction marks, line ends; in symbols any space but a plain one, too.
IN_SYMBOL = rf"[\p{{C}}\p{{Zl}}\p{{Zp}}{UNSEEN}]|[^\S ]"
IN_KEY = r"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]"
IN_TEXT = r"[\p{Cc}\p{Zl}\p{Zp}\x{202A}-\x{202E}\x{2066}-\x{2069}]"

RowRules = Callable[[Feed, pl.DataFrame, Calendar], list[Problem]]


def errors_in(feed: Feed, frame: pl.DataFrame, calendar: Calendar) -> list[Problem]:
    """Return every rule that the rows break.

    Args:
        feed: whose rules.
        frame: `event_date`, key and values, perhaps `available_at` and `revision`; columns
            that are missing are not judged here.
        calendar: of the market.
    """
    problems = key_errors(feed.name, frame, feed.key, feed.version)
    if not feed.known_ahead:
        problems += clock_errors(feed, frame, calendar)
    if isinstance(feed.publication, Stamped):
        problems += _unstamped(feed, frame)
    problems += number_errors(feed, frame)
    problems += text_errors(feed, frame)
    if feed.name in OWN_RULES:
        problems += OWN_RULES[feed.name](feed, frame, calendar)
    return problems


def key_errors(
    feed: str, frame: pl.DataFrame, key: tuple[str, ...], version: str | None = None
) -> list[Problem]:
    """Return keys that are missing and keys that name two rows.

    Args:
        feed: its name.
        frame: its rows.
        key: what names a row, one version of it.
        version: the column that distinguishes versions of a row, where the rows have no
            revision.
    """
    if "revision" in frame.columns:
        names = [*key, "revision"]
    elif version is not None and version in frame.columns:
        key = (*key, version)
        names = list(key)
    else:
        names = list(key)
    absent = frame.filter(pl.any_horizontal(pl.col(key).is_null()))
    twice = frame.filter(frame.select(names).is_duplicated())
    words = " and ".join(names)
    return [
        *violations("error", feed, "missing_key", f"every row has {words}", absent, key=key),
        *violations(
            "error",
            feed,
            "duplicate_key",
            f"{words} name one row; keep the right one",
            twice.sort(names),
            key=names,
            values=[name for name in ("close", "sector", "end") if name in frame.columns],
        ),
    ]


def clock_errors(feed: Feed, frame: pl.DataFrame, calendar: Calendar) -> list[Problem]:
    """Return rows that claim to have been public before the day that they describe began."""
    if "available_at" not in frame.columns:
        return []
    stamped = frame.filter(
        pl.col("available_at").is_not_null() & pl.col("event_date").is_not_null()
    )
    days = stamped["event_date"].to_numpy().astype("datetime64[D]")
    midnight = instants_of(calendar, days, time(0, 0))
    early = stamped.filter(stamped["available_at"] < midnight)
    return violations(
        "error",
        feed.name,
        "available_before_event",
        f"available_at is not before event_date begins ({calendar.zone.key})",
        early,
        key=feed.key,
        values=("available_at",),
    )


def number_errors(feed: Feed, frame: pl.DataFrame) -> list[Problem]:
    """Return numbers that are none."""
    given = [column for column in feed.values if column.name in frame.columns]
    wanted = "numbers are finite; leave the field empty where there is none"
    problems: list[Problem] = []
    floats = [column.name for column in given if column.dtype == pl.Float64]
    if floats:
        strange = frame.filter(pl.any_horizontal(~pl.col(floats).is_finite()))
        problems += violations(
            "error", feed.name, "not_finite", wanted, strange, key=feed.key, values=floats
        )
        huge = frame.filter(
            pl.any_horizontal(pl.col(floats).is_finite() & (pl.col(floats).abs() > GREATEST))
        )
        problems += violations(
            "error",
            feed.name,
            "number_too_large",
            f"numbers lie within {GREATEST:g} of 0",
            huge,
            key=feed.key,
            values=floats,
        )
    for column in given:
        if isinstance(column.dtype, pl.Array):
            strange = frame.filter(~_all_finite(frame[column.name]))
            problems += violations(
                "error", feed.name, "not_finite", f"{column.name}: {wanted}", strange, key=feed.key
            )
    return problems


def text_errors(feed: Feed, frame: pl.DataFrame) -> list[Problem]:
    """Return symbols, other parts of keys, and text that cannot be shown as they are.

    A name with an escape, a line end or a mark without width looks like another one, and changes
    the terminal that prints it.
    """
    problems: list[Problem] = []
    for name, dtype in frame.schema.items():
        if dtype != pl.String or name.startswith("_"):
            continue
        is_key = name in feed.key
        bad, length = (IN_KEY, KEY_LENGTH) if is_key else (IN_TEXT, TEXT_LENGTH)
        bad, length = (IN_SYMBOL, SYMBOL_LENGTH) if name == "symbol" else (bad, length)
        texts = frame[name].drop_nulls().unique()
        value = pl.col(name)
        strange = texts.to_frame().filter(
            (value.str.len_bytes() > 4 * length)
            | (value.str.len_chars() > length)
            | value.str.slice(0, length).str.contains(bad)
            | ((value == "") & (name == "symbol"))
        )
        problems += violations(
            "error",
            feed.name,
            f"bad_{name}" if is_key else "bad_text",
            f"{name} is text of at most {length:,} characters that can be printed, without "
            "control characters, line ends or marks of no width; take them out",
            frame.join(strange, on=name, how="semi", maintain_order="left"),
            key=(),
            values=(name,),
        )
    return problems


def _all_finite(vectors: pl.Series) -> pl.Series:
    """Return which vectors hold finite numbers alone; one that is not there does."""
    known = vectors.is_not_null()
    fine = np.ones(len(vectors), dtype=np.bool_)
    if known.any():
        numbers = vectors.filter(known).to_numpy()
        fine[known.to_numpy()] = np.isfinite(numbers).all(axis=1)
    return pl.Series(fine)


def _unstamped(feed: Feed, frame: pl.DataFrame) -> list[Problem]:
    """Return rows without an instant at which they became public."""
    own = pl.col("available_at") if "available_at" in frame.columns else pl.lit(None)
    return violations(
        "error",
        feed.name,
        "missing_available_at",
        f"every row has available_at; or declare [feeds.{feed.name}.publication]",
        frame.filter(own.is_null()),
        key=feed.key,
    )


def _bar_errors(feed: Feed, frame: pl.DataFrame, calendar: Calendar) -> list[Problem]:
    prices = [name for name in (*PRICES, "adj_close") if name in frame.columns]
    problems = _not_positive(feed, frame, prices, "price_not_positive", "prices are above 0")
    problems += _not_positive(
        feed,
        frame,
        [name for name in ("adjustment_factor", "share_factor") if name in frame.columns],
        "factor_not_positive",
        "factors are above 0",
    )
    problems += _not_positive(
        feed,
        frame,
        # As prices; as flags they are true or false.
        [name for name in ("upper_limit", "lower_limit") if frame.schema.get(name) == pl.Float64],
        "limit_not_positive",
        "limit prices are above 0; leave the field empty where there is no limit",
    )
    problems += _negative(feed, frame, ("volume", "turnover_value"))
    factors = [name for name in ("adjustment_factor", "share_factor") if name in frame.columns]
    amounts = [name for name in ("volume", "turnover_value") if name in frame.columns]
    problems += _implausible(feed, frame, prices, "price", PRICE_RANGE)
    problems += _implausible(feed, frame, factors, "factor", FACTOR_RANGE)
    problems += _implausible(feed, frame, amounts, "amount", AMOUNT_RANGE)
    if set(PRICES) <= set(frame.columns):
        low, high = pl.col("low"), pl.col("high")
        problems += violations(
            "error",
            feed.name,
            "high_below_low",
            "high is at or above low",
            frame.filter(high < low),
            key=feed.key,
            values=("high", "low"),
        )
        ends = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
        problems += violations(
            "error",
            feed.name,
            "outside_high_low",
            "open and close lie between low and high",
            frame.filter(
                (high >= low)
                & ((ends[0] > high * (1 + ROUNDING)) | (ends[1] < low * (1 - ROUNDING)))
            ),
            key=feed.key,
            values=PRICES,
        )
    dates = frame["event_date"].drop_nulls().unique().sort()
    closed = dates.filter(~pl.Series(calendar.is_session(dates.to_numpy().astype("datetime64[D]"))))
    return problems + violations(
        "error",
        feed.name,
        "outside_calendar",
        f"bars lie on sessions of {calendar.exchange} "
        f"({calendar.sessions[0]} to {calendar.sessions[-1]})",
        frame.filter(pl.col("event_date").is_in(closed.implode()))
        if len(closed)
        else frame.clear(),
        key=feed.key,
    )


def _listing_errors(feed: Feed, frame: pl.DataFrame, calendar: Calendar) -> list[Problem]:
    return exit_errors(feed.name, frame)


def exit_errors(feed: str, frame: pl.DataFrame) -> list[Problem]:
    """Return what cannot be right about starts, ends and exits, of events or of spells."""
    problems: list[Problem] = []
    if "exit" in frame.columns:
        word = pl.col("exit")
        problems += violations(
            "error",
            feed,
            "unknown_exit",
            f"exit is one of {', '.join(EXITS)}; map other words in the market's file, "
            '[source.exit_words] "theirs" = "ours"',
            frame.filter(word.is_not_null() & ~word.is_in(EXITS)),
            key=("symbol",),
            values=("exit",),
        )
        if "end" in frame.columns:
            problems += violations(
                "error",
                feed,
                "exit_without_end",
                "a symbol that left has an end, its last bar session",
                frame.filter(word.is_in(EXITS) & (word != ACTIVE) & pl.col("end").is_null()),
                key=("symbol",),
                values=("exit",),
            )
        if "exit_return" in frame.columns:
            problems += violations(
                "error",
                feed,
                "source_end_with_return",
                f"{SOURCE_END} leaves at the last close; its exit_return is 0 or empty",
                frame.filter((word == SOURCE_END) & (pl.col("exit_return") != 0)),
                key=("symbol",),
                values=("exit_return",),
            )
    if "exit_return" in frame.columns:
        problems += violations(
            "error",
            feed,
            "impossible_exit_return",
            f"exit_return is a fraction of the last close, from -1 to {MAX_EXIT:g}: 0.35 for 35 %",
            frame.filter(~pl.col("exit_return").is_between(-1, MAX_EXIT)),
            key=("symbol",),
            values=("exit_return",),
        )
    if {"start", "end"} <= set(frame.columns):
        problems += violations(
            "error",
            feed,
            "end_before_start",
            "end is on or after start",
            frame.filter(pl.col("end") < pl.col("start")),
            key=("symbol",),
            values=("start", "end"),
        )
    return problems


def _dividend_errors(feed: Feed, frame: pl.DataFrame, calendar: Calendar) -> list[Problem]:
    return _negative(feed, frame, ("amount",)) + _implausible(
        feed, frame, ["amount"], "amount", AMOUNT_RANGE
    )


def _borrow_errors(feed: Feed, frame: pl.DataFrame, calendar: Calendar) -> list[Problem]:
    problems = _negative(feed, frame, ("fee_bps_annual", "available_shares"))
    if "fee_bps_annual" in frame.columns:
        problems += violations(
            "error",
            feed.name,
            "impossible_fee",
            f"fee_bps_annual is in basis points a year, at most {MAX_FEE:,.0f}",
            frame.filter(pl.col("fee_bps_annual") > MAX_FEE),
            key=feed.key,
            values=("fee_bps_annual",),
        )
    return problems


def _rate_errors(feed: Feed, frame: pl.DataFrame, calendar: Calendar) -> list[Problem]:
    if "cash_rate_annual" not in frame.columns:
        return []
    return violations(
        "error",
        feed.name,
        "impossible_rate",
        f"cash_rate_annual is a fraction a year, within {MAX_RATE:g} of 0: 0.0525 for 5.25 %; "
        "divide percent by 100",
        frame.filter(pl.col("cash_rate_annual").abs() > MAX_RATE),
        key=feed.key,
        values=("cash_rate_annual",),
    )


def _benchmark_errors(feed: Feed, frame: pl.DataFrame, calendar: Calendar) -> list[Problem]:
    return _not_positive(
        feed, frame, ["close"], "price_not_positive", "levels are above 0"
    ) + _implausible(feed, frame, ["close"], "price", PRICE_RANGE)


def _calendar_errors(feed: Feed, frame: pl.DataFrame, calendar: Calendar) -> list[Problem]:
    return violations(
        "error",
        feed.name,
        "unknown_division",
        f"division is one of {', '.join(DIVISIONS)}",
        frame.filter(~pl.col("division").is_in(DIVISIONS)),
        key=feed.key,
        values=("division",),
    )


def _not_positive(
    feed: Feed, frame: pl.DataFrame, names: list[str], rule: str, wanted: str
) -> list[Problem]:
    if not names:
        return []
    broken = frame.filter(pl.any_horizontal(pl.col(names) <= 0))
    return violations("error", feed.name, rule, wanted, broken, key=feed.key, values=names)


def _implausible(
    feed: Feed, frame: pl.DataFrame, names: Sequence[str], what: str, limits: tuple[float, float]
) -> list[Problem]:
    """Return positive numbers outside `limits`; others are named by other rules."""
    names = [name for name in names if name in frame.columns]
    if not names:
        return []
    value = pl.col(names)
    strange = (value > 0) & value.is_finite() & ~value.is_between(*limits)
    return violations(
        "error",
        feed.name,
        f"implausible_{what}",
        f"{' and '.join(names)} lie between {limits[0]:g} and {limits[1]:g}, where not 0 or empty",
        frame.filter(pl.any_horizontal(strange)),
        key=feed.key,
        values=names,
    )


def _negative(feed: Feed, frame: pl.DataFrame, names: tuple[str, ...]) -> list[Problem]:
    problems: list[Problem] = []
    for name in names:
        if name in frame.columns:
            broken = frame.filter(pl.col(name) < 0)
            rule, wanted = f"negative_{name}", f"{name} is at least 0"
            problems += violations(
                "error", feed.name, rule, wanted, broken, key=feed.key, values=(name,)
            )
    return problems


OWN_RULES: dict[str, RowRules] = {
    "daily_bars": _bar_errors,
    "listings": _listing_errors,
    "dividends": _dividend_errors,
    "borrow": _borrow_errors,
    "rates": _rate_errors,
    "benchmark": _benchmark_errors,
    "trading_calendar": _calendar_errors,
}
