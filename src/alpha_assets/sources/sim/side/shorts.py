"""Short selling by sector and large short positions, revealing two hidden states.

    short sales / all sales of a sector = .40 - .04 · sector_short + noise of .01
    short position / shares outstanding = .016 - .005 · short_positions, split between two funds,
                                          each of which reports when it has moved by .002

Semiconductors are part of Electric Appliances here, as in the exchange's table of 33 sectors.
"""

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Array
from alpha_assets.calendar import Calendar
from alpha_assets.sources.sim import draws, tokyo
from alpha_assets.sources.sim.market import SimMarket
from alpha_assets.sources.sim.side.common import (
    codes,
    dates_of,
    group_sums,
    hidden,
    of_group,
    shares_outstanding,
    with_corrections,
)

USUAL_SHORT, PER_STATE, NOISE = 0.40, -0.04, 0.01
RESTRICTED = 0.8  # of short sales
USUAL_POSITION, POSITION_PER_STATE, LARGEST_POSITION = 0.016, -0.005, 0.06
FUND_SHARES = np.array([0.65, 0.35])
REPORT_STEP, PUBLIC_FROM = 0.002, 0.005
SELLERS = tuple(f"Sim Capital {letter}" for letter in "ABCDEFGHIJKL")
CORRECTED = 0.01  # of rows of either feed
LATE_SHARE = 0.3  # of reports, published two sessions after the day instead of one


def sector_short_selling(market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return each sector's sales of each session."""
    n = len(tokyo.SECTORS)
    electric = next(
        i for i, s in enumerate(tokyo.SECTORS) if s.code33 == tokyo.SEMICONDUCTORS.code33 and i
    )
    own_N = market.roster.sector
    traded = group_sums(market.bar["turnover_value"], np.where(own_N == 0, electric, own_N), n)
    state = of_group(hidden(market, "sector_short"), own_N, n)
    noise = np.stack(
        [
            draws.stream(market.spec.seed, draws.Purpose.SECTOR_SHORT, day).standard_normal(n)
            for day in market.sessions.astype(np.int64).tolist()
        ]
    )
    ratio = np.clip(USUAL_SHORT + PER_STATE * state + NOISE * noise, 0.05, 0.8)
    session, sector = np.nonzero((traded > 0) & ~np.isnan(ratio))
    value, share = traded[session, sector], ratio[session, sector]
    rows = pl.DataFrame(
        {
            "event_date": dates_of(market, session),
            "sector": [tokyo.SECTORS[s].name for s in sector.tolist()],
            "selling": np.rint(value * (1 - share)),
            "restricted": np.rint(value * share * RESTRICTED),
            "exempt": np.rint(value * share * (1 - RESTRICTED)),
        }
    ).sort("event_date", "sector")
    wrong = [(pl.col("selling") * 1.1).round()]
    return with_corrections(rows, "sector_short_selling", wrong, CORRECTED, market, calendar)


def short_positions(market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return the reports of large short positions."""
    state_DN = hidden(market, "short_positions")
    total_DN = np.clip(USUAL_POSITION + POSITION_PER_STATE * state_DN, 0, LARGEST_POSITION)
    outstanding_DN = shares_outstanding(market)
    n = len(market.roster)
    reported_NF = np.zeros((n, len(FUND_SHARES)))
    reported_day_NF = np.full(reported_NF.shape, -1)
    parts = []
    for number, day in enumerate(market.sessions.astype(np.int64).tolist()):
        late_NF = (
            draws.stream(market.spec.seed, draws.Purpose.SHORT_POSITIONS, day).random(
                reported_NF.shape
            )
            < LATE_SHARE
        )
        ratio_NF = np.round(total_DN[number][:, None] * FUND_SHARES, 4)
        moved_NF = np.abs(ratio_NF - reported_NF) >= REPORT_STEP
        reports_NF = moved_NF & ((ratio_NF >= PUBLIC_FROM) | (reported_NF >= PUBLIC_FROM))
        symbol, fund = np.nonzero(reports_NF)
        parts.append(
            np.stack(
                [
                    np.full(len(symbol), number, dtype=np.float64),
                    symbol,
                    fund,
                    1 + late_NF[symbol, fund],
                    ratio_NF[symbol, fund],
                    reported_day_NF[symbol, fund],
                    reported_NF[symbol, fund],
                ]
            )
        )
        reported_NF[reports_NF] = ratio_NF[reports_NF]
        reported_day_NF[reports_NF] = number
    rows = _reports(market, calendar, np.concatenate(parts, axis=1), outstanding_DN)
    wrong = [
        (pl.col("ratio") * 1.1).round(4),
        (pl.col("shares") * 1.1 / tokyo.LOT).round() * tokyo.LOT,
    ]
    return with_corrections(rows, "short_positions", wrong, CORRECTED, market, calendar)


def _reports(
    market: SimMarket, calendar: Calendar, reports: Array, outstanding_DN: Array
) -> pl.DataFrame:
    session, symbol, fund, lag = (part.astype(np.int64) for part in reports[:4])
    ratio, before_day, before = reports[4], reports[5].astype(np.int64), reports[6]
    days = dates_of(market, session)
    disclosed = np.where(lag == 1, calendar.after(days, 1), calendar.after(days, 2))
    shares = np.rint(ratio * outstanding_DN[session, symbol] / tokyo.LOT) * tokyo.LOT
    is_first = pl.Series(before_day < 0)
    return pl.DataFrame(
        {
            "event_date": days,
            "symbol": codes(market, symbol),
            "seller": [
                SELLERS[(s + 5 * f) % len(SELLERS)] for s, f in zip(symbol, fund, strict=True)
            ],
            "client": [""] * len(symbol),
            "fund": ["" if f == 0 else "Sim Master Fund" for f in fund.tolist()],
            "disclosed": disclosed,
            "ratio": ratio,
            "shares": shares,
            "previous_date": pl.Series(dates_of(market, np.maximum(before_day, 0))).set(
                is_first, None
            ),
            "previous_ratio": pl.Series(before).set(is_first, None),
        }
    ).sort("event_date", "symbol", "seller", "client", "fund")
