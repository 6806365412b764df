"""The week's trades of each type of investor, against their own past year."""

from collections.abc import Iterator
from datetime import date, datetime

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Array
from alpha_assets.calendar import Calendar
from alpha_assets.feeds.flows import ALL_SECTIONS, SPLICED
from alpha_assets.panel.states.event_times import MOMENT, moments, sums

INVESTORS = (
    "foreigners",
    "individuals",
    "investment_trusts",
    "trust_banks",
    "proprietary",
    "businesses",
)
YEAR = 52  # weeks
MONTH = 4
NEEDED = -(-4 * YEAR // 5)  # weeks that must be known
LEAST_SPREAD = 1e-9

FLOW_COLUMNS = {
    **{
        f"{who}_{what}": meaning
        for who in INVESTORS
        for what, meaning in (
            ("net", "bought less sold, over both, fraction"),
            ("share", "of all trades, fraction"),
            ("imp", "bought less sold, over all trades, fraction"),
            ("z", "`imp` against its last 52 weeks, standard deviations"),
            ("chg", "`imp` less its mean of 4 weeks, fraction"),
        )
    },
    "is_spliced": "1 where the last 52 weeks join an old section to a new one",
}


def flow_states(rows: pl.DataFrame, calendar: Calendar, until: int) -> pl.DataFrame:
    """Return each section's latest week as known at every moment that changed what is known.

    The sections before 2022-04-04 and those after are spliced into one series each; ratios
    only, since levels do not compare.
    """
    rows = rows.filter(pl.col("section") != ALL_SECTIONS)
    old = rows["section"].replace_strict(SPLICED, default=None)
    rows = rows.with_columns(old.alias("spliced")).filter(pl.col("spliced").is_not_null())
    parts = [
        made.with_columns(pl.lit(section).alias("section"))
        for section in dict.fromkeys(SPLICED.values())
        if (made := _series(rows.filter(pl.col("spliced") == section), calendar)).height
    ]
    empty = _series(rows.clear(), calendar).with_columns(pl.lit("").alias("section"))
    return pl.concat([empty, *parts])


def market_flow_states(rows: pl.DataFrame, calendar: Calendar, until: int) -> pl.DataFrame:
    """Return the same for all sections of the exchange together."""
    return _series(rows.filter(pl.col("section") == ALL_SECTIONS), calendar)


def _series(rows: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Return the states of one series."""
    versions = moments(rows, ["event_date"], ["section"], calendar)
    values = [f"{who}_{side}" for who in (*INVESTORS, "total") for side in ("sell", "buy")]
    weeks = sums(versions, ["event_date", MOMENT], values)
    names = versions.group_by("event_date", MOMENT).agg(pl.col("section").sort().str.join("+"))
    weeks = weeks.join(names, on=["event_date", MOMENT], maintain_order="left").sort(
        MOMENT, "event_date"
    )
    sell = weeks.select(f"{who}_sell" for who in INVESTORS).to_numpy()
    buy = weeks.select(f"{who}_buy" for who in INVESTORS).to_numpy()
    total = (weeks["total_sell"] + weeks["total_buy"]).to_numpy()[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        net, share, imp = (buy - sell) / (buy + sell), (buy + sell) / total, (buy - sell) / total
    sections = weeks["section"].to_list()
    made: list[Array] = []
    clock: list[tuple[date, datetime]] = []
    for week, moment, known in _known(weeks):
        at = known[-1]
        past = imp[known]
        clock.append((week, moment))
        spliced = len({sections[row] for row in known}) > 1
        made.append(
            np.concatenate(
                [
                    np.stack(
                        [net[at], share[at], imp[at], _z(past), _change(past)], axis=1
                    ).ravel(),
                    [float(spliced)],
                ]
            )
        )
    frame = pl.DataFrame(
        np.array(made).reshape(len(made), len(FLOW_COLUMNS)), schema=list(FLOW_COLUMNS)
    ).fill_nan(None)
    return frame.with_columns(
        pl.Series("event_date", [week for week, _ in clock], dtype=pl.Date),
        pl.Series(
            "available_at", [moment for _, moment in clock], dtype=rows.schema["available_at"]
        ),
        pl.lit(0, pl.Int16).alias("revision"),
    )


def _known(weeks: pl.DataFrame) -> Iterator[tuple[date, datetime, list[int]]]:
    """Yield the latest week, the moment, and the rows of the last year's weeks known then."""
    row_of: dict[date, int] = {}
    days, instants = weeks["event_date"].to_list(), weeks[MOMENT].to_list()
    for row, (week, moment) in enumerate(zip(days, instants, strict=True)):
        row_of[week] = row
        if row + 1 < len(instants) and instants[row + 1] == moment:
            continue
        latest = sorted(row_of)[-YEAR:]
        yield latest[-1], moment, [row_of[known] for known in latest]


def _z(past: Array) -> Array:
    """Return the latest of the past weeks in standard deviations of them all."""
    if len(past) < NEEDED:
        return np.full(past.shape[1], np.nan)
    z = (past[-1] - past.mean(axis=0)) / np.maximum(past.std(axis=0, ddof=1), LEAST_SPREAD)
    return np.asarray(z)


def _change(past: Array) -> Array:
    """Return the latest week less the mean of the last four."""
    if len(past) < MONTH:
        return np.full(past.shape[1], np.nan)
    return np.asarray(past[-1] - past[-MONTH:].mean(axis=0))
