"""Trades of a week by type of investor and section, revealing one hidden state.

    foreigners' (bought - sold) / all trades of a section = .03 · flows + noise of .004

Some weeks are published again, corrected, a week later.
"""

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Array
from alpha_assets.calendar import Calendar
from alpha_assets.feeds.base import instants_of
from alpha_assets.feeds.flows import ALL_SECTIONS, INVESTOR_TYPES
from alpha_assets.sources.sim import draws, tokyo
from alpha_assets.sources.sim.market import SimMarket
from alpha_assets.sources.sim.roster import SEGMENTS_AFTER, SEGMENTS_BEFORE
from alpha_assets.sources.sim.side.common import group_sums, hidden, of_group, out_by_now, week_ends

PER_STATE, NOISE = 0.03, 0.004
CORRECTED = 0.05  # of weeks
PROPRIETARY = 0.12  # of all trades
# Share of customers' trades, and of what foreigners buy net, which others must sell.
CUSTOMERS = {
    "individuals": (0.22, -0.60),
    "foreigners": (0.62, 1.0),
    "securities": (0.01, 0.0),
    "investment_trusts": (0.03, -0.10),
    "businesses": (0.02, 0.05),
    "other_corporations": (0.01, 0.0),
    "insurers": (0.01, -0.05),
    "banks": (0.01, -0.05),
    "trust_banks": (0.05, -0.20),
    "other_financials": (0.02, 0.0),
}
PUBLISHED_AFTER = 4  # sessions after the week's last
THOUSAND = 1_000


def investor_types(market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return the weeks of each section and of all together, with the corrections."""
    ends = week_ends(market, calendar)
    n = len(SEGMENTS_AFTER)
    traded_D3 = group_sums(market.bar["turnover_value"], market.roster.segment, n)
    state_D3 = of_group(hidden(market, "flows"), market.roster.segment, n)
    change = np.datetime64(tokyo.SEGMENT_CHANGE, "D")
    rows = []
    for end in ends.tolist():
        day = market.sessions[end]
        week = (market.sessions + np.timedelta64(3, "D")).astype("datetime64[W]")
        start = int(np.searchsorted(week, week[end]))
        names = SEGMENTS_BEFORE if day < change else SEGMENTS_AFTER
        # Everything is counted twice: somebody bought what somebody sold.
        total_3 = 2 * traded_D3[start : end + 1].sum(axis=0) / THOUSAND
        noise = draws.stream(market.spec.seed, draws.Purpose.FLOWS, int(day.astype(np.int64)))
        shock_3 = noise.standard_normal(n)
        is_corrected = noise.random() < CORRECTED
        net_3 = PER_STATE * np.nan_to_num(state_D3[end]) + NOISE * shock_3
        clock = {"event_date": day, "start": market.sessions[start]}
        rows += _week(clock, names, total_3, net_3, 0)
        if is_corrected:
            rows += _week(clock, names, total_3, net_3 + NOISE * 0.5, 1)
    frame = _framed(rows, calendar)
    return out_by_now(frame, "investor_types", market, calendar)


def _week(
    clock: dict[str, np.datetime64],
    names: tuple[str, ...],
    total_3: Array,
    net_3: Array,
    revision: int,
) -> list[dict[str, object]]:
    """Return one row per section and one of all; a correction is of the first section only."""
    made = [
        {**clock, "section": name, "revision": revision, **_section(total, net)}
        for name, total, net in zip(names, total_3, net_3, strict=True)
        if total > 0
    ]
    values = [name for name in made[0] if name.endswith(("_sell", "_buy"))] if made else []
    if revision:
        return made[:1]
    summed = {name: sum([float(str(row[name])) for row in made]) for name in values}
    everything: dict[str, object] = {**clock, "section": ALL_SECTIONS, "revision": 0, **summed}
    return [*made, everything] if made else []


def _section(total: float, net: float) -> dict[str, float]:
    """Return sales and purchases by investor, whole thousands, adding up exactly."""
    made = {}
    customers = total * (1 - PROPRIETARY)
    for name, (share, part) in CUSTOMERS.items():
        of, balance = customers * share, net * total * part
        made[f"{name}_sell"] = float(np.rint((of - balance) / 2))
        made[f"{name}_buy"] = float(np.rint((of + balance) / 2))
    sold, bought = (sum(v for n, v in made.items() if n.endswith(s)) for s in ("_sell", "_buy"))
    own = float(np.rint(total * PROPRIETARY))
    own_sell = float(np.rint((own + bought - sold) / 2))
    own_buy = own_sell + sold - bought
    return {
        "proprietary_sell": own_sell,
        "proprietary_buy": own_buy,
        "brokerage_sell": sold,
        "brokerage_buy": bought,
        "total_sell": own_sell + sold,
        "total_buy": own_buy + bought,
        **made,
    }


def _framed(rows: list[dict[str, object]], calendar: Calendar) -> pl.DataFrame:
    values = [c for c in INVESTOR_TYPES.schema if c.endswith(("_sell", "_buy"))]
    frame = pl.DataFrame(
        {
            "event_date": np.array([r["event_date"] for r in rows], dtype="datetime64[D]"),
            "section": [r["section"] for r in rows],
            "start": np.array([r["start"] for r in rows], dtype="datetime64[D]"),
            **{name: [r[name] for r in rows] for name in values},
            "revision": pl.Series([r["revision"] for r in rows], dtype=pl.Int16),
        }
    )
    days = calendar.after(frame["event_date"].to_numpy(), PUBLISHED_AFTER)
    late = frame["revision"].to_numpy() > 0
    published = np.where(late, calendar.after(days, 5), days)
    assert INVESTOR_TYPES.corrected is not None
    stamp = instants_of(calendar, calendar.after(published, 1), INVESTOR_TYPES.corrected.at).set(
        pl.Series(~late), None
    )
    return (
        frame.with_columns(pl.Series("published", published), stamp)
        .select("event_date", "section", "start", "published", *values, "available_at", "revision")
        .sort("event_date", "section", "revision")
    )
