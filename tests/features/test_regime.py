"""Regimes of the market: by hand, against loops, and with no more past than they declare."""

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest

from alpha_assets.arrays.types import Array
from alpha_assets.features import CATALOG, Feature, compute_features
from alpha_assets.features.document import column_of

REGIMES = {f.name.removeprefix("regime_"): f for f in CATALOG if f.family == "regime"}
LOW, HIGH, MOMENTUM, REVERSAL, CRASH = REGIMES.values()
EVER = (date(2000, 1, 1), date(2100, 1, 1))


def market(*parts: tuple[int, float]) -> Array:
    """Return a market of parts: so many sessions with returns of this size up and down in turn."""
    sizes = np.repeat([size for _, size in parts], [n for n, _ in parts])
    return (sizes * np.where(np.arange(len(sizes)) % 2, -1.0, 1.0))[:, None]


def steady(*parts: tuple[int, float]) -> Array:
    """Return a market of parts: so many sessions with this return."""
    return np.repeat([r for _, r in parts], [n for n, _ in parts])[:, None]


def test_there_are_five_flags_of_the_whole_market() -> None:
    assert list(REGIMES) == ["low_vol", "high_vol", "momentum", "reversal", "crash"]
    for regime in REGIMES.values():
        assert (regime.scope, regime.unit, regime.inputs) == ("market", "flag", ("market_return",))
        assert column_of(regime) == f"{regime.name}_ts_z"


def test_a_volatility_is_ranked_in_its_own_year() -> None:
    # A year at 1 %, then a month at 0.5 %: the lowest of 252. Then a month at 3 %: the highest.
    calm = market((300, 0.01), (20, 0.005))
    assert (LOW(calm)[-1, 0], HIGH(calm)[-1, 0]) == (1, 0)
    wild = market((300, 0.01), (20, 0.03))
    assert (LOW(wild)[-1, 0], HIGH(wild)[-1, 0]) == (0, 1)
    # After 50 sessions at 3 % (and 20 on the way there) its 70 are no longer the highest fifth.
    long_wild = market((300, 0.01), (70, 0.03))
    assert HIGH(long_wild)[[-1, 320], 0].tolist() == [0, 1]
    # A market that never moves has neither: all of its volatilities are equal.
    flat = np.zeros((300, 1))
    assert (LOW(flat)[-1, 0], HIGH(flat)[-1, 0]) == (0, 0)


def test_slow_and_fast_trend_make_momentum_or_a_reversal() -> None:
    # Over 252 and over 21 sessions: both up; up and down; both down; down and up.
    cases = {
        (0.001, 0.001): (1, 0),
        (0.001, -0.001): (0, 1),
        (-0.001, -0.001): (0, 0),
        (-0.001, 0.001): (0, 1),
    }
    for (slow, fast), wanted in cases.items():
        r = steady((260, slow), (21, fast))
        assert (MOMENTUM(r)[-1, 0], REVERSAL(r)[-1, 0]) == wanted
    # 231 · 0.001 < 21 · 0.02: a month may turn the year too.
    r = steady((260, 0.001), (21, -0.02))
    assert (MOMENTUM(r)[-1, 0], REVERSAL(r)[-1, 0]) == (0, 0)


def test_a_crash_is_deep_and_volatile() -> None:
    def falling(r: float) -> Array:
        return np.concatenate([market((300, 0.001)), steady((4, r))])

    # 0.95 ** 4 = 0.815 and 0.97 ** 4 = 0.885 of the high; both are the year's highest volatility.
    assert (CRASH(falling(-0.05))[-1, 0], HIGH(falling(-0.05))[-1, 0]) == (1, 1)
    assert (CRASH(falling(-0.03))[-1, 0], HIGH(falling(-0.03))[-1, 0]) == (0, 1)
    # 30 calm sessions later the market is as low and no longer volatile.
    after = np.concatenate([falling(-0.05), market((30, 0.001))])
    assert (CRASH(after)[-1, 0], HIGH(after)[-1, 0]) == (0, 0)
    # A rise as steep is no crash.
    assert (CRASH(falling(0.05))[-1, 0], HIGH(falling(0.05))[-1, 0]) == (0, 1)
    # 252 returns hold all four falls after 248 others, and three of them (0.857) after 249.
    for others, wanted in ((248, 1), (249, 0)):
        r = np.concatenate([falling(-0.05), market((others - 20, 0.001), (20, 0.002))])
        assert (CRASH(r)[-1, 0], HIGH(r)[-1, 0]) == (wanted, 1), others


@pytest.mark.parametrize(
    ("regime", "known_after"),
    # 202 of 252 returns; 202 of 252 volatilities, the first of which needs 16 of 20 returns.
    [(LOW, 217), (HIGH, 217), (MOMENTUM, 202), (REVERSAL, 202), (CRASH, 217)],
    ids=REGIMES,
)
def test_a_regime_is_unknown_until_four_fifths_of_its_window_are_known(
    regime: Feature, known_after: int
) -> None:
    r = np.random.default_rng(0).normal(0, 0.01, (300, 1))
    assert np.flatnonzero(~np.isnan(regime(r)[:, 0]))[0] == known_after - 1
    assert np.isnan(regime(np.full((300, 1), np.nan))).all()
    gap = r.copy()
    gap[-60:] = np.nan
    assert np.isnan(regime(gap)[-1, 0])


def paths(n_rows: int, n: int = 800) -> Array:
    """Return markets on whose oldest return something may hang: many, near every threshold."""
    rng = np.random.default_rng(3)
    r = rng.normal(0, 0.01, (n_rows, n))
    r[-20:] *= rng.uniform(0.6, 1.6, n)
    r[:, n // 2 :] += rng.uniform(-0.002, 0.001, n - n // 2)
    r[0, ::2] = rng.uniform(-0.25, 0.25, n // 2)
    return r


@pytest.mark.parametrize("regime", REGIMES.values(), ids=REGIMES)
def test_the_rows_declared_are_felt_and_no_others(regime: Feature) -> None:
    r = paths(regime.rows, 4_000 if regime is LOW else 800)  # a calm month seldom hangs on it
    enough, short = regime(r)[-1], regime(r[1:].copy())[-1]
    assert (enough != short).any()
    assert {*np.unique(enough)} == {0.0, 1.0}
    r = paths(regime.rows + 1)
    more, enough = regime(r)[-1], regime(r[1:].copy())[-1]
    np.testing.assert_array_equal(more, enough)


@pytest.mark.parametrize("later", [1, 5, 40])
@pytest.mark.parametrize("regime", REGIMES.values(), ids=REGIMES)
def test_what_comes_later_is_not_felt(regime: Feature, later: int) -> None:
    # A flag that peeks turns in few markets only: in many of these, whatever comes is large.
    r = paths(regime.rows)
    shocks = np.random.default_rng(4).uniform(-0.25, 0.25, (later, r.shape[1]))
    known = regime(np.concatenate([r, shocks]))[: len(r)]
    np.testing.assert_array_equal(known, regime(r))


@pytest.mark.parametrize("kind", ["momentum", "crash"])
def test_a_planted_look_ahead_is_felt(kind: str) -> None:
    def peeking(market_return: Array) -> Array:
        return REGIMES[kind].fn(np.concatenate([market_return[1:], market_return[-1:]]))

    planted = replace(REGIMES[kind], fn=peeking)
    with pytest.raises(AssertionError):
        test_what_comes_later_is_not_felt(planted, 1)


def loops(r: list[float | None]) -> dict[str, float | None]:
    """Return the flags of the last session from the returns up to it, in plain arithmetic."""
    growth = [None if x is None else float(np.log1p(x)) for x in r]

    def volatility(end: int) -> float | None:
        known = [g for g in growth[max(end - 20, 0) : end] if g is not None]
        return float(np.std(known, ddof=1)) if len(known) >= 16 else None

    year = [g for g in growth[-252:] if g is not None]
    month = [g for g in growth[-21:] if g is not None]
    past = [volatility(end) for end in range(max(len(r) - 251, 1), len(r) + 1)]
    known = [v for v in past if v is not None]
    found: dict[str, float | None] = dict.fromkeys(REGIMES)
    if len(year) >= 202 and len(month) >= 17:
        up, lately = sum(year) >= 0, sum(month) >= 0
        found |= {"momentum": float(up and lately), "reversal": float(up != lately)}
    if past[-1] is not None and len(known) >= 202:
        low = sum(v <= past[-1] for v in known) / len(known) <= 0.2
        high = sum(v >= past[-1] for v in known) / len(known) <= 0.2
        found |= {"low_vol": float(low), "high_vol": float(high)}
        if len(year) >= 202:
            level = np.exp(np.cumsum([0.0, *year]))
            found["crash"] = float(high and level[-1] <= 0.85 * level.max())
    return found


def test_the_flags_of_a_panel_are_those_of_a_loop_over_the_mean_return(
    panel: pl.DataFrame,
) -> None:
    # A market that falls in its last quarter, and moves more, so that every flag is put to work.
    late = pl.col("session").rank("dense") > 260
    fall = (-0.003 * (pl.col("session").rank("dense") - 260)).exp()
    wilder = pl.when(late).then(fall).otherwise(1.0)
    panel = panel.with_columns(pl.col("open", "high", "low", "close") * wilder)
    ret_1 = [f for f in CATALOG if f.name == "ret_1"]
    values = compute_features(panel, [*ret_1, *REGIMES.values()], *EVER, dtype=np.float64)
    of_market = values.group_by("session", maintain_order=True).agg(
        pl.col("ret_1").mean(), pl.col("^regime_.*$").unique()
    )
    r = of_market["ret_1"].to_list()
    for name in REGIMES:
        found = [flag for (flag,) in of_market[f"regime_{name}"]]  # equal for all symbols
        assert found == [loops(r[: end + 1])[name] for end in range(len(r))], name
        assert {*found} == {None, 0.0, 1.0}, name
