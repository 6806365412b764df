"""What every simulated exchange must keep to, whatever it draws."""

from datetime import date

import numpy as np
import pytest

from alpha_assets.calendar import Calendar
from alpha_assets.errors import SpecError
from alpha_assets.sources.sim import SimSpec, signal, tokyo
from alpha_assets.sources.sim.market import SimMarket, generate
from alpha_assets.sources.sim.roster import NEVER
from alpha_assets.spec import parse_spec


def last_close(market: SimMarket) -> np.ndarray:
    """Return each symbol's last close before each session, NaN before the first."""
    close_DN = market.bar["close"]
    last_DN = np.full_like(close_DN, np.nan)
    for d in range(1, len(close_DN)):
        last_DN[d] = np.where(np.isnan(close_DN[d - 1]), last_DN[d - 1], close_DN[d - 1])
    return last_DN


def test_high_and_low_enclose_open_and_close(dirty: SimMarket) -> None:
    bar = dirty.bar
    has_bar = ~np.isnan(bar["close"])

    assert has_bar.sum() > 10_000
    assert (bar["high"] >= np.maximum(bar["open"], bar["close"]))[has_bar].all()
    assert (bar["low"] <= np.minimum(bar["open"], bar["close"]))[has_bar].all()
    assert (bar["low"][has_bar] >= 1).all()
    assert (bar["volume"][has_bar] >= 100).all()


def test_a_bar_is_whole_or_absent(dirty: SimMarket) -> None:
    missing = [np.isnan(values) for values in dirty.bar.values()]

    assert all((other == missing[0]).all() for other in missing)


def test_no_price_leaves_its_limits_and_a_touched_limit_is_flagged(dirty: SimMarket) -> None:
    base_DN = last_close(dirty) * dirty.factor
    known = ~np.isnan(base_DN) & ~np.isnan(dirty.bar["close"])
    low, high = tokyo.price_limits(base_DN[known], ticks=True)

    assert (dirty.bar["high"][known] <= high).all()
    assert (dirty.bar["low"][known] >= low).all()
    assert (dirty.upper_limit[known] == (dirty.bar["high"][known] == high)).all()
    assert (dirty.lower_limit[known] == (dirty.bar["low"][known] == low)).all()


def test_some_bars_touch_a_limit_and_some_are_locked_at_it(dirty: SimMarket) -> None:
    flat = dirty.bar["high"] == dirty.bar["low"]

    assert dirty.upper_limit.sum() > 5
    assert dirty.lower_limit.sum() > 5
    assert (flat & dirty.upper_limit & (dirty.bar["open"] == dirty.bar["high"])).sum() > 2
    assert (dirty.upper_limit & ~flat).sum() > 2


def test_prices_lie_on_ticks(dirty: SimMarket) -> None:
    for name in ("open", "high", "low", "close"):
        price = dirty.bar[name][~np.isnan(dirty.bar[name])]
        assert (price % tokyo.tick_size(price) == 0).all(), name


def test_a_split_moves_the_raw_price_by_its_factor_and_not_the_return(dirty: SimMarket) -> None:
    split = (dirty.factor != 1) & ~np.isnan(last_close(dirty))
    raw = (dirty.bar["open"] / last_close(dirty))[split]
    factor = dirty.factor[split]
    adjusted_close = dirty.adjusted("close")
    adjusted = (dirty.adjusted("open")[1:] / last_close_of(adjusted_close)[1:])[split[1:]]

    assert (factor < 1).sum() > 10
    assert (factor > 1).sum() > 2
    assert np.abs(np.log(raw / factor)).max() < 0.4
    assert np.abs(np.log(adjusted)).max() < 0.4
    assert np.median(np.abs(np.log(adjusted))) < 0.03


def last_close_of(close_DN: np.ndarray) -> np.ndarray:
    last_DN = np.full_like(close_DN, np.nan)
    for d in range(1, len(close_DN)):
        last_DN[d] = np.where(np.isnan(close_DN[d - 1]), last_DN[d - 1], close_DN[d - 1])
    return last_DN


def test_volume_follows_a_split(dirty: SimMarket) -> None:
    volume = np.log(dirty.bar["volume"])
    ratios = []
    for d, i in np.argwhere(dirty.factor < 1):
        before, after = volume[max(d - 20, 0) : d, i], volume[d : d + 20, i]
        nearby = dirty.factor[max(d - 20, 0) : d + 20, i]
        if len(after) == 20 and (nearby != 1).sum() == 1:
            ratios.append(np.nanmean(after) - np.nanmean(before) + np.log(dirty.factor[d, i]))

    assert len(ratios) > 5
    assert abs(np.mean(ratios)) < 0.25  # a split of 1 to 2 alone is 0.69


def test_the_price_falls_by_the_dividend_on_its_ex_date(dirty: SimMarket) -> None:
    pays = (dirty.dividend > 0) & ~np.isnan(dirty.bar["open"])
    gap = dirty.bar["open"] - last_close(dirty)
    gap_all = np.nanmean((gap / last_close(dirty))[np.isfinite(gap) & ~pays & (dirty.factor == 1)])
    relative = (gap / last_close(dirty))[pays]
    paid = (dirty.dividend / last_close(dirty))[pays]

    assert pays.sum() > 50
    assert np.nanmean(relative) - gap_all == pytest.approx(-np.nanmean(paid), abs=0.006)
    # The names that pay most fall most.
    assert np.polyfit(paid, relative, 1)[0] < -0.3


def test_bars_stand_from_the_listing_to_the_exit_and_nowhere_else(dirty: SimMarket) -> None:
    has_bar = ~np.isnan(dirty.bar["close"])
    start, end = dirty.roster.start, dirty.roster.end
    n = len(dirty.sessions)

    assert not has_bar[~dirty.listed()].any()
    for i in range(len(dirty.roster)):
        if start[i] < n:
            assert has_bar[start[i], i]
        if end[i] < n:
            assert has_bar[end[i], i]
    assert (end < n).sum() > 5
    assert (start > 0).sum() > 10


def test_halts_last_one_to_twenty_sessions_and_leave_no_rows(dirty: SimMarket) -> None:
    gaps = []
    for i in range(len(dirty.roster)):
        sessions = np.flatnonzero(~np.isnan(dirty.bar["close"][:, i]))
        gaps += (np.diff(sessions) - 1).tolist()
    gaps = np.array(gaps)

    assert (gaps > 0).sum() > 40
    assert gaps.max() >= 10
    assert np.quantile(gaps[gaps > 0], 0.95) <= 20


def test_semiconductors_are_listed_throughout(dirty: SimMarket) -> None:
    semi = dirty.roster.sector == 0

    assert semi.sum() == 14
    assert (dirty.roster.start[semi] == 0).all()
    assert (dirty.roster.end[semi] == NEVER).all()


def test_the_same_spec_gives_the_same_bits(dirty_spec: SimSpec, tokyo_calendar: Calendar) -> None:
    short = dirty_spec.model_copy(update={"last": date(2021, 8, 31)})
    once = generate.__wrapped__(short, tokyo_calendar)
    again = generate.__wrapped__(short, tokyo_calendar)
    other = generate.__wrapped__(short.model_copy(update={"seed": 4}), tokyo_calendar)

    for name in once.bar:
        assert np.array_equal(once.bar[name], again.bar[name], equal_nan=True)
    assert not np.array_equal(once.bar["close"], other.bar["close"], equal_nan=True)


def test_a_later_end_changes_no_earlier_session(
    dirty: SimMarket, dirty_spec: SimSpec, tokyo_calendar: Calendar
) -> None:
    short = generate(dirty_spec.model_copy(update={"last": date(2022, 3, 31)}), tokyo_calendar)
    n = len(short.sessions)

    assert n < len(dirty.sessions)
    for name in short.bar:
        assert np.array_equal(short.bar[name], dirty.bar[name][:n], equal_nan=True), name
    for name in ("factor", "dividend", "upper_limit", "f", "f_price", "strength"):
        early, late = getattr(short, name), getattr(dirty, name)[:n]
        assert np.array_equal(early, late, equal_nan=True), name
    assert np.array_equal(short.components, dirty.components[:, :n])


def test_the_signal_alone_differs_between_a_planted_and_a_null_market(
    dirty: SimMarket, dirty_spec: SimSpec, tokyo_calendar: Calendar
) -> None:
    short = {"last": date(2021, 12, 30)}
    planted = generate(dirty_spec.model_copy(update=short), tokyo_calendar)
    null = generate(dirty_spec.model_copy(update={"signal": 0.0, **short}), tokyo_calendar)
    first = len(signal.LATENT)

    assert (null.strength == 0).all()
    assert not np.array_equal(null.bar["close"], planted.bar["close"], equal_nan=True)
    # Dirt, and everything that no price moves, is the same.
    assert np.array_equal(np.isnan(null.bar["close"]), np.isnan(planted.bar["close"]))
    assert np.array_equal(null.components[-first:], planted.components[-first:])
    assert np.array_equal(null.bar["open"][0], planted.bar["open"][0], equal_nan=True)


def test_the_gap_before_the_open_carries_no_drift(
    dirty_spec: SimSpec, tokyo_calendar: Calendar
) -> None:
    clean = dirty_spec.model_copy(
        update={
            "ticks": False,
            "halts_annual": 0.0,
            "missing_share": 0.0,
            "splits_annual": 0.0,
            "payer_share": 0.0,
            "jumps_annual": 0.0,
            "idio_vol": 0.05,
            "market_vol": 0.05,
            "sector_vol": 0.02,
            "last": date(2021, 9, 30),
        }
    )
    null = generate(clean.model_copy(update={"signal": 0.0}), tokyo_calendar)
    planted = generate(clean, tokyo_calendar)

    def gap(market: SimMarket) -> np.ndarray:
        return np.log(market.bar["open"][1:] / market.bar["close"][:-1])

    def day(market: SimMarket) -> np.ndarray:
        return np.log(market.bar["close"] / market.bar["open"])[1:]

    # A symbol's first bar comes before its first forecast.
    drift = planted.strength[:-1, None] * planted.roster.idio_vol * np.nan_to_num(planted.f[:-1])
    drift = np.where(np.isnan(day(null)), np.nan, drift)
    np.testing.assert_allclose(gap(planted), gap(null), rtol=0, atol=1e-12)
    np.testing.assert_allclose(day(planted) - day(null), drift, rtol=0, atol=1e-9)


def test_volatility_tails_and_clusters_are_those_of_a_stock_market(
    tokyo_calendar: Calendar,
) -> None:
    spec = SimSpec(n_symbols=100, first=date(2020, 1, 6), last=date(2022, 12, 30))
    market = generate(spec, tokyo_calendar)
    r_DN = np.diff(np.log(market.adjusted("close")), axis=0)
    r_DN = r_DN[:, (~np.isnan(r_DN)).sum(axis=0) > 300]
    index_D = np.nanmean(r_DN, axis=1)
    residual_DN = r_DN - index_D[:, None]
    z_DN = (r_DN - np.nanmean(r_DN, axis=0)) / np.nanstd(r_DN, axis=0)
    alone_DN = np.abs(residual_DN) / np.nanstd(residual_DN, axis=0)
    size_DN = alone_DN - np.nanmean(alone_DN, axis=1, keepdims=True)  # without the market's part

    year = np.sqrt(245)
    assert 0.12 < index_D.std() * year < 0.26
    assert 0.25 < np.median(np.nanstd(residual_DN, axis=0)) * year < 0.45
    assert np.median(np.nanmean(z_DN**4, axis=0)) > 4.5
    assert np.nanmean(size_DN[1:] * size_DN[:-1]) / np.nanvar(size_DN) > 0.05


def test_volume_grows_with_the_size_of_the_move(dirty: SimMarket) -> None:
    move = np.abs(np.log(dirty.bar["close"] / dirty.bar["open"]))
    volume = np.log(dirty.bar["volume"] / dirty.roster.shares * np.cumprod(dirty.factor, axis=0))
    known = ~np.isnan(move)
    centred = np.where(known, volume - np.nanmean(volume, axis=0), 0)[known]

    assert np.corrcoef(centred, move[known])[0, 1] > 0.2


def test_a_span_without_sessions_is_refused(tokyo_calendar: Calendar) -> None:
    with pytest.raises(SpecError, match=r"2021-01-01 .* holds no session of XTKS"):
        generate(SimSpec(first=date(2021, 1, 1), last=date(2021, 1, 3)), tokyo_calendar)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"n_symbols": 3}, "n_symbols = 3"),
        ({"signal": -1.0}, "signal = -1"),
        ({"price_share": 1.5}, "price_share = 1.5"),
        ({"first": "2022-01-04", "last": "2021-01-04"}, "is before first"),
        ({"sed": 1}, "unknown key 'sed'"),
    ],
)
def test_an_impossible_exchange_is_refused_by_name(table: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_spec(table, SimSpec, origin="sim.toml")
