"""The rig's own feeds: the raw series of each symbol, and the state of the market.

A market with the section `[sim.rig]` declares both under `[feeds.rig]` and `[feeds.rig_market]`.
"""

from collections.abc import Callable

import numpy as np
import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.sources.sim.market import SimMarket
from alpha_assets.sources.sim.rig import SERIES
from alpha_assets.sources.sim.side.common import codes


def series(market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return the series of each symbol and session."""
    assert market.rig is not None, "the market has the section [sim.rig]"
    order_N = np.argsort(np.array(market.roster.code), kind="stable")
    n_sessions, n = len(market.sessions), len(order_N)
    return pl.DataFrame(
        {
            "event_date": np.repeat(market.sessions, n),
            "symbol": codes(market, np.tile(order_N, n_sessions)),
            **{
                name: market.rig.series[place][:, order_N].ravel()
                for place, name in enumerate(SERIES)
            },
        }
    )


def regime(market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return the state of the market at each session, −1 or 1."""
    assert market.rig is not None, "the market has the section [sim.rig]"
    return pl.DataFrame({"event_date": market.sessions, "regime": market.rig.regime})


RIG_ROWS: dict[str, Callable[[SimMarket, Calendar], pl.DataFrame]] = {
    "rig": series,
    "rig_market": regime,
}
