"""Hidden states that need a year of statements, or that the whole market shares."""

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from alpha_assets.calendar import Calendar
from alpha_assets.features import CATALOG, compute_features
from alpha_assets.feeds import FEEDS, SIDE_FEEDS
from alpha_assets.feeds.ingest import with_clock
from alpha_assets.panel.build import build_panel
from alpha_assets.panel.joins import joins_of
from alpha_assets.sources.sim import SimSpec
from alpha_assets.sources.sim.market import generate
from alpha_assets.sources.sim.side.common import hidden
from alpha_assets.sources.sim.side.derivatives import market_state
from alpha_assets.sources.sim.source import SimSource

SPEC = SimSpec(n_symbols=80, first=date(2020, 1, 6), last=date(2021, 12, 30))
FEATURES = ("fund_profit_growth_faded", "opt_iv_30", "beta_60")
BEHIND = ("statements", "index_options")


@pytest.fixture(scope="module")
def features(tokyo_calendar: Calendar) -> pl.DataFrame:
    source = SimSource(SPEC, tokyo_calendar)
    raw = {}
    for name in ("daily_bars", "listings", *BEHIND):
        rows = source.rows(name)
        if "revision" not in rows.columns:
            rows = rows.with_columns(revision=pl.lit(0, pl.Int16))
        now = datetime(2030, 1, 1, tzinfo=UTC)
        raw[name] = with_clock(rows, FEEDS[name], tokyo_calendar, now)
    side = joins_of({name: SIDE_FEEDS[name] for name in BEHIND})
    panel = build_panel(raw, tokyo_calendar, SPEC.first, SPEC.last, side=side)
    catalog = [feature for feature in CATALOG if feature.name in FEATURES]
    return compute_features(panel, catalog, SPEC.first, SPEC.last, dtype=np.float64)


def dense(features: pl.DataFrame, name: str, calendar: Calendar) -> np.ndarray:
    market = generate(SPEC, calendar)
    made = np.full(market.f.shape, np.nan)
    number = {code: n for n, code in enumerate(market.roster.code)}
    day = np.searchsorted(market.sessions, features["session"].to_numpy())
    made[day, [number[code] for code in features["symbol"].to_list()]] = features[name].to_numpy()
    return made


def test_surprises_of_statements_find_the_hidden_state(
    features: pl.DataFrame, tokyo_calendar: Calendar
) -> None:
    growth_DN = dense(features, "fund_profit_growth_faded", tokyo_calendar)
    g_DN = hidden(generate(SPEC, tokyo_calendar), "statements")
    found = []
    for x_N, g_N in zip(growth_DN[330:], g_DN[329:], strict=False):
        known = ~np.isnan(x_N) & ~np.isnan(g_N)
        found.append(np.corrcoef(x_N[known], g_N[known])[0, 1])
    assert np.mean(found) > 0.8


def test_the_surface_of_options_finds_the_markets_state(
    features: pl.DataFrame, tokyo_calendar: Calendar
) -> None:
    iv_D = np.nanmax(dense(features, "opt_iv_30", tokyo_calendar)[2:], axis=1)
    state_D = market_state(generate(SPEC, tokyo_calendar))
    # Row D knows the surface of D-1.
    assert np.corrcoef(np.log(iv_D), state_D[1:-1])[0, 1] > 0.97
    assert np.corrcoef(np.log(iv_D), state_D[2:])[0, 1] < 0.96


def test_beta_spreads_the_markets_state_over_symbols(
    features: pl.DataFrame, tokyo_calendar: Calendar
) -> None:
    beta_DN = dense(features, "beta_60", tokyo_calendar)
    state_D = market_state(generate(SPEC, tokyo_calendar))
    g_DN = hidden(generate(SPEC, tokyo_calendar), "options")
    found = []
    for row in range(100, len(state_D)):
        known = ~np.isnan(beta_DN[row]) & ~np.isnan(g_DN[row - 1])
        made = state_D[row - 1] * beta_DN[row, known]
        found.append(np.corrcoef(made, g_DN[row - 1, known])[0, 1])
    assert np.mean(found) > 0.6
