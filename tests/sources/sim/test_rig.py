"""The rig: components that follow from the published series, and switches that move prices only."""

from datetime import date

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError
from alpha_assets.sources.sim import RigSpec, SimSpec, rig
from alpha_assets.sources.sim.market import SimMarket, generate
from alpha_assets.sources.sim.oracle import oracle
from alpha_assets.sources.sim.signal import z_score
from alpha_assets.sources.sim.source import SimSource
from alpha_assets.sources.sim.spec import DENSE
from alpha_assets.spec import digest

NOTHING = dict.fromkeys(DENSE, 0.0)
SPEC = SimSpec(
    seed=5,
    n_symbols=60,
    first=date(2021, 1, 4),
    last=date(2021, 4, 30),
    signal=4.0,
    signal_variation=0.0,
    splits_annual=0.0,
    rig=RigSpec(),
    **NOTHING,
)


@pytest.fixture(scope="module")
def made(tokyo_calendar: Calendar) -> SimMarket:
    return generate(SPEC, tokyo_calendar)


@pytest.fixture(scope="module")
def wide(tokyo_calendar: Calendar) -> dict[str, np.ndarray]:
    """Each published series as [D, N], symbols in the order of their codes."""
    rows = SimSource(SPEC, tokyo_calendar).rows("rig").sort("event_date", "symbol")
    n = rows["symbol"].n_unique()
    return {name: rows[name].to_numpy().reshape(-1, n) for name in rig.SERIES}


def z(x_DN: np.ndarray) -> np.ndarray:
    """Return values standardised across all symbols of a session."""
    everyone = np.ones(x_DN.shape[1], dtype=bool)
    return np.stack([z_score(x_N, everyone) for x_N in x_DN])


def test_components_follow_from_the_published_series(
    made: SimMarket, wide: dict[str, np.ndarray], tokyo_calendar: Calendar
) -> None:
    order_N = np.argsort(np.array(made.roster.code), kind="stable")
    stored = dict(zip(made.component_names, made.components[:, :, order_N], strict=True))
    state = SimSource(SPEC, tokyo_calendar).rows("rig_market")
    m_D1 = state["regime"].to_numpy()[:, None]
    sector_N = np.array(SimSource(SPEC, tokyo_calendar).rows("listings")["sector"].to_list())
    mean_DN = np.zeros_like(wide["x6"])
    for sector in np.unique(sector_N):
        of_N = sector_N == sector
        mean_DN[:, of_N] = wide["x6"][:, of_N].mean(axis=1, keepdims=True)
    place_N = np.argsort(order_N)  # from a symbol's number to its place among the codes
    state_of = rig.Rig(SPEC.seed, RigSpec(), made.roster)
    near_NK = place_N[state_of.neighbours_NK][order_N]
    many_N = np.isin(sector_N, [s for s in np.unique(sector_N) if (sector_N == s).sum() > 1])
    expected = {
        "linear": z(wide["x0"]),
        "interaction": z(wide["x1"] * wide["x2"]),
        "absolute": z(np.abs(wide["x3"])),
        "lag_7": z(wide["x4"][2:-7]),  # of the sessions 9, 10, …
        "sum_10": z(sum(wide["x5"][9 - i : len(wide["x5"]) - i] for i in range(10))),
        "sector_mean": z(mean_DN),
        "graph": z(wide["x7"][8:-1][:, near_NK].mean(axis=2)),
        "regime": m_D1 * z(wide["x8"]),
    }
    for name, g_DN in expected.items():
        assert stored[name][9:] == pytest.approx(g_DN[-len(stored[name]) + 9 :], abs=1e-5), name
    # Proportional to the rest of x6 within sectors, one factor to a size of sector.
    rest_DN = (wide["x6"] - mean_DN)[:, many_N]
    signs_DN = np.sign(stored["sector_rel"][:, many_N] - 0.0)
    assert (np.sign(rest_DN) == signs_DN).mean() > 0.97  # z moves the centre a little
    assert set(np.unique(m_D1)) == {-1.0, 1.0}


def test_a_switch_moves_the_forecast_and_no_series(
    made: SimMarket, tokyo_calendar: Calendar
) -> None:
    off = generate(SPEC.model_copy(update={"rig": RigSpec(lag_7=False)}), tokyo_calendar)

    assert made.rig is not None
    assert off.rig is not None
    assert (off.rig.series == made.rig.series).all()
    assert (off.components == made.components).all()
    by_hand = z(np.delete(made.components, made.component_names.index("lag_7"), 0).sum(axis=0))
    assert off.f == pytest.approx(by_hand, abs=1e-5)
    # The eighth session is the first to close with a value of seven before: it moves the ninth.
    assert (off.bar["close"][:8] == made.bar["close"][:8]).all()
    assert (off.bar["close"][8] != made.bar["close"][8]).any()


def test_with_all_switches_off_nothing_is_planted(tokyo_calendar: Calendar) -> None:
    none = RigSpec(**dict.fromkeys(RigSpec.model_fields, False))
    assert (generate(SPEC.model_copy(update={"rig": none}), tokyo_calendar).f == 0).all()


def test_a_later_end_only_adds_rows(tokyo_calendar: Calendar) -> None:
    sooner = SPEC.model_copy(update={"last": date(2021, 3, 15)})
    for feed in ("rig", "rig_market", "daily_bars"):
        whole = SimSource(SPEC, tokyo_calendar).rows(feed)
        part = SimSource(sooner, tokyo_calendar).rows(feed)
        assert whole.filter(pl.col("event_date") <= sooner.last).equals(part)


def test_the_truth_has_every_component_and_the_oracle_one_session(
    made: SimMarket, tokyo_calendar: Calendar
) -> None:
    found = oracle(SPEC, tokyo_calendar)

    assert found.truth.columns[-9:] == list(made.component_names)
    assert found.summary["expected"]["f"].keys() == {"h1"}
    assert found.summary["expected"]["f"]["h1"]["mean"] > 0.15
    assert "nothing in prices" in found.summary["expected"]["f_price"]["h1"]["unknown"]
    assert found.summary["planted_share"] == dict.fromkeys(made.component_names, 1 / 9)


def test_a_rig_has_its_own_feeds_and_no_side_feed(tokyo_calendar: Calendar) -> None:
    source = SimSource(SPEC, tokyo_calendar)

    assert {"rig", "rig_market", "daily_bars"} <= set(source.feeds())
    assert "reveals what is planted in its own series alone" in source.off()["margin"]
    with pytest.raises(FeedError, match="has no feed 'margin'"):
        source.rows("margin")


@pytest.mark.parametrize("key", DENSE)
def test_a_rig_with_gaps_is_refused_by_name(key: str) -> None:
    with pytest.raises(ValidationError, match=rf"every symbol on every session: {key} = 0\.01"):
        SimSpec(rig=RigSpec(), **{**NOTHING, key: 0.01})


def test_digests_of_markets_without_a_rig_know_nothing_of_it() -> None:
    assert "rig" not in SimSpec().model_dump()
    assert digest(SimSpec()) == "7949104fab38"


def test_neighbours_are_the_nearest_by_hand() -> None:
    line = np.array([[0.0, 0], [1, 0], [2.1, 0], [3.3, 0], [4.6, 0], [6.0, 0], [7.5, 0]])

    found = rig.neighbours(line)

    assert found[0].tolist() == [1, 2, 3, 4, 5]
    assert found[3].tolist() == [2, 4, 1, 5, 0]  # 1.2, 1.3, 2.3, 2.7, 3.3
