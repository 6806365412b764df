"""States of the options' surface: by hand, against a slow loop, and only from what was public."""

import math
import statistics
from bisect import bisect_left
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm

from alpha_assets.calendar import Calendar, CalendarSpec
from alpha_assets.feeds.derivatives import INDEX_OPTIONS
from alpha_assets.panel.states.event_times import session_numbers
from alpha_assets.panel.states.options import OPTION_COLUMNS, option_states

PUT, CALL = "1", "2"
DAY = date(2023, 6, 1)  # a Thursday
SEEDS = range(4)


@pytest.fixture(scope="module")
def calendar() -> Calendar:
    return Calendar.load(
        CalendarSpec(
            exchange="XTKS", zone="Asia/Tokyo", decision_time=time(8, 30), sessions_per_year=245
        )
    )


def contract(side: str, strike: float, days: int, iv: float, **values: Any) -> dict[str, Any]:
    """Return a row of DAY that is public at 03:00 in Tokyo of the day after."""
    day = values.get("event_date", DAY)
    expiry = day + timedelta(days=days)
    stamp = datetime.combine(day, time(18), tzinfo=UTC)
    return {
        "event_date": day,
        "contract": f"{side}{expiry:%y%m%d}{strike:g}",
        "division": "002",
        "put_call": side,
        "contract_month": f"{expiry:%Y-%m}",
        "strike": strike,
        "expiry": expiry,
        "close": None,
        "settlement": 10.0,
        "volume": 1.0,
        "open_interest": 1.0,
        "implied_volatility": iv,
        "base_volatility": 20.0,
        "underlying": 1000.0,
        "interest_rate": 0.0,
        "available_at": stamp,
        "ingested_at": stamp,
        "revision": 0,
        **values,
    }


def raw(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=INDEX_OPTIONS.schema, orient="row")


def states_of(rows: list[dict[str, Any]], calendar: Calendar) -> pl.DataFrame:
    return option_states(raw(rows), calendar, len(calendar.sessions) - 1)


def state(rows: list[dict[str, Any]], calendar: Calendar) -> dict[str, Any]:
    """Return the one state of rows of one day."""
    (found,) = states_of(rows, calendar).to_dicts()
    return found


def at_the_money(days: int, iv: float, **values: Any) -> list[dict[str, Any]]:
    return [contract(s, k, days, iv, **values) for s in (PUT, CALL) for k in (990.0, 1010.0)]


def test_volatility_at_thirty_days_by_total_variance(calendar: Calendar) -> None:
    found = state(at_the_money(22, 20.0) + at_the_money(50, 23.0), calendar)

    assert found["iv_30"] == pytest.approx(0.2148088852, abs=1e-10)
    assert found["iv_60"] == 0.23  # flat beyond the last expiry


def test_volatility_is_flat_before_the_first_expiry(calendar: Calendar) -> None:
    found = state(at_the_money(45, 20.0) + at_the_money(75, 23.0), calendar)

    assert found["iv_30"] == 0.20
    weight = (75 - 60) / (75 - 45)
    variance = weight * 0.20**2 * 45 + (1 - weight) * 0.23**2 * 75
    assert found["iv_60"] == pytest.approx(math.sqrt(variance / 60), rel=1e-14)


def test_expiries_too_soon_or_too_far_say_nothing(calendar: Calendar) -> None:
    for days, counts in ((4, False), (5, True), (120, True), (121, False)):
        found = state(at_the_money(days, 20.0), calendar)
        assert (found["iv_30"] == 0.20) is counts, days


def test_at_the_money_is_the_median_of_contracts_within_two_and_a_half_percent(
    calendar: Calendar,
) -> None:
    rows = [
        contract(PUT, 975.0, 30, 22.0),
        contract(PUT, 1000.0, 30, 20.0),
        contract(CALL, 1000.0, 30, 19.0),
        contract(CALL, 1025.0, 30, 18.0),
        contract(CALL, 1030.0, 30, 1.0),  # 3 % away
        contract(PUT, 970.0, 30, 90.0),
    ]

    assert state(rows, calendar)["iv_30"] == pytest.approx((0.20 + 0.19) / 2)


def test_with_few_contracts_near_the_four_nearest_strikes_count(calendar: Calendar) -> None:
    rows = [
        contract(PUT, 900.0, 30, 29.0),
        contract(PUT, 940.0, 30, 26.0),
        contract(PUT, 980.0, 30, 21.0),
        contract(CALL, 1040.0, 30, 18.0),
        contract(CALL, 1070.0, 30, 15.0),
        contract(PUT, 1070.0, 30, 16.0),
    ]
    # 980, 1040, 940 and 1070: 21, 18, 26, 15 and 16.
    assert state(rows, calendar)["iv_30"] == pytest.approx(0.18)
    assert state(rows[:3], calendar)["iv_30"] is None


def test_of_two_strikes_that_are_equally_far_the_lower_one_is_nearer(calendar: Calendar) -> None:
    strikes = {980.0: 20.0, 1030.0: 21.0, 960.0: 22.0, 950.0: 30.0, 1050.0: 10.0}
    rows = [contract(PUT, strike, 30, iv) for strike, iv in strikes.items()]

    assert state(rows, calendar)["iv_30"] == pytest.approx((0.21 + 0.22) / 2)


@pytest.mark.parametrize("spoiled", [{"implied_volatility": 0.0}, {"settlement": None}])
def test_a_contract_without_a_price_or_volatility_does_not_count(
    calendar: Calendar, spoiled: dict[str, Any]
) -> None:
    rows = [*at_the_money(30, 20.0), contract(PUT, 1000.0, 30, 50.0, **spoiled)]

    assert state(rows, calendar)["iv_30"] == 0.20


def test_the_official_volatility_is_of_the_expiry_nearest_thirty_days(calendar: Calendar) -> None:
    rows = at_the_money(22, 21.0, base_volatility=20.0) + at_the_money(50, 23.0)
    found = state(rows, calendar)

    assert found["base_volatility"] == 0.20
    assert found["iv_gap"] == pytest.approx(0.01)
    assert found["is_odd"] == 1  # one point apart
    assert state(at_the_money(22, 20.99), calendar)["is_odd"] == 0
    tied = at_the_money(25, 20.0, base_volatility=19.0) + at_the_money(35, 20.0)
    assert state(tied, calendar)["base_volatility"] == 0.19  # the nearer one
    unknown = state(at_the_money(22, 20.0, base_volatility=None), calendar)
    assert unknown["is_odd"] is unknown["iv_gap"] is None


def test_the_slope_is_that_of_a_line(calendar: Calendar) -> None:
    strikes = (905.0, 950.0, 1000.0, 1050.0, 1100.0)
    rows = [contract(PUT, k, 30, 20.0 - 30 * math.log(k / 1000)) for k in strikes]
    wing = [contract(PUT, 900.0, 30, 90.0)]  # ln .9 = -.105 is beyond 10 %

    assert state(rows + wing, calendar)["skew_slope"] == pytest.approx(-0.30, rel=1e-12)
    assert state(rows[:3], calendar)["skew_slope"] is None


def test_what_is_open_and_traded_is_summed_over_all_expiries(calendar: Calendar) -> None:
    rows = [
        contract(PUT, 900.0, 3, 20.0, open_interest=30.0, volume=5.0),
        contract(PUT, 900.0, 200, 0.0, open_interest=70.0, volume=None),
        contract(CALL, 1100.0, 30, 20.0, open_interest=50.0, volume=20.0),
    ]
    found = state(rows, calendar)

    assert found["put_call_oi"] == pytest.approx(math.log(100 / 50))
    assert found["put_call_volume"] == pytest.approx(math.log(5 / 20))
    assert found["open_interest"] == pytest.approx(math.log(150))
    assert state(rows[:2], calendar)["put_call_oi"] is None


def test_sessions_to_the_next_special_quotation(calendar: Calendar) -> None:
    # Known from Friday 2 June: 5 to 9 June are five more sessions.
    assert state(at_the_money(8, 20.0), calendar)["days_to_sq"] == 5
    # The quotation of 2 June itself is ahead; that of 1 June has been.
    assert state(at_the_money(1, 20.0) + at_the_money(8, 20.0), calendar)["days_to_sq"] == 0
    assert state(at_the_money(0, 20.0) + at_the_money(8, 20.0), calendar)["days_to_sq"] == 5
    assert state(at_the_money(0, 20.0), calendar)["days_to_sq"] is None


def test_a_late_surface_says_how_late_it_is(calendar: Calendar) -> None:
    late = {"available_at": datetime(2023, 6, 5, 3, tzinfo=UTC)}  # Monday noon in Tokyo
    found = state(at_the_money(8, 20.0, **late), calendar)

    assert (state(at_the_money(8, 20.0), calendar)["lag"], found["lag"]) == (1, 3)
    assert found["days_to_sq"] == 3  # from Tuesday 6 to Friday 9 June


def black_scholes(
    side: str, level: float, strike: float, t: float, rate: float, iv: float
) -> float:
    spread = iv * math.sqrt(t)
    d1 = (math.log(level / strike) + rate * t) / spread + spread / 2
    paid = strike * math.exp(-rate * t)
    call = level * norm.cdf(d1) - paid * norm.cdf(d1 - spread)
    return float(call if side == CALL else call - level + paid)


def smile(
    iv_of: Callable[[float], float], days: int, step: float, rate: float = 0.02
) -> list[dict[str, Any]]:
    """Return a surface of one expiry whose prices follow Black and Scholes."""
    t, level = days / 365, 1000.0
    rows = []
    for strike in np.arange(800.0, 1200.0 + step, step).tolist():
        iv = iv_of(math.log(strike / level))
        for side in (PUT, CALL):
            price = black_scholes(side, level, strike, t, rate, iv)
            rows.append(
                contract(side, strike, days, 100 * iv, settlement=price, interest_rate=100 * rate)
            )
    return rows


def strike_at_delta(iv_of: Callable[[float], float], sign: int, t: float, rate: float) -> float:
    """Return by bisection the log moneyness at which an option has a delta of 0.25."""
    low, high = (-0.3, 0.01) if sign < 0 else (0.0, 0.3)
    for _ in range(80):
        m = (low + high) / 2
        spread = iv_of(m) * math.sqrt(t)
        d1 = (rate * t - m) / spread + spread / 2
        is_close = math.exp(-rate * t) * norm.cdf(sign * d1) > 0.25  # too close to the money
        low, high = (m, high) if is_close == (sign > 0) else (low, m)
    return (low + high) / 2


def test_a_planted_smile_is_found_again(calendar: Calendar) -> None:
    rate, days = 0.02, 30
    t = days / 365

    def iv_of(m: float) -> float:
        return 0.20 - 0.25 * m + 0.5 * m * m

    found = state(smile(iv_of, days, 1.0, rate), calendar)
    put, call = (iv_of(strike_at_delta(iv_of, sign, t, rate)) for sign in (-1, 1))

    assert put - call > 0.015
    assert found["skew_25d"] == pytest.approx(put - call, abs=1e-5)
    assert found["iv_30"] == pytest.approx(0.20, abs=2e-4)
    assert found["skew_slope"] == pytest.approx(-0.25, abs=0.01)


def test_a_flat_smile_has_no_skew(calendar: Calendar) -> None:
    found = state(smile(lambda m: 0.2, 30, 20.0), calendar)

    assert found["skew_25d"] == pytest.approx(0, abs=1e-12)


def test_a_skew_needs_two_contracts_around_its_delta_on_each_side(calendar: Calendar) -> None:
    rows = smile(lambda m: 0.2, 30, 20.0)
    # A delta of 0.25 lies between 940 and 980, and between 1040 and 1060.
    near = [row for row in rows if 940 <= row["strike"] <= 1060]
    no_put, no_call = (
        [row for row in near if row["put_call"] != side or row["strike"] in inner]
        for side, inner in ((PUT, (980, 1000)), (CALL, (1000, 1020, 1040)))
    )

    assert state(near, calendar)["skew_25d"] == pytest.approx(0, abs=1e-12)
    assert state(no_put, calendar)["skew_25d"] is None
    assert state(no_call, calendar)["skew_25d"] is None


def test_the_forward_and_not_the_index_says_what_is_out_of_the_money(calendar: Calendar) -> None:
    # At 25 % a year for 60 days the forward is 4 % above the index.
    def iv_of(m: float) -> float:
        return 0.20 - 0.25 * m

    rate, t = 0.25, 60 / 365
    found = state(smile(iv_of, 60, 1.0, rate), calendar)
    put, call = (iv_of(strike_at_delta(iv_of, sign, t, rate)) for sign in (-1, 1))

    assert found["skew_25d"] == pytest.approx(put - call, abs=1e-5)


def random_surfaces(seed: int) -> list[dict[str, Any]]:
    """Return surfaces with holes, odd rows, extra divisions and corrections."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(25):
        day = DAY + timedelta(days=int(n))
        level, rate = float(1000 * rng.lognormal(0, 0.05)), float(rng.uniform(-0.5, 3))
        base, tilt = float(rng.uniform(0.1, 0.5)), float(rng.uniform(-1, 0.5))
        for days in rng.choice(150, size=int(rng.integers(0, 6)), replace=False).tolist():
            t = max(days, 1) / 365
            for strike in rng.choice(np.arange(800.0, 1210.0, 10.0), 14, replace=False).tolist():
                iv = max(base + tilt * math.log(strike / level) + rng.normal(0, 0.005), 0.02)
                for side in (PUT, CALL):
                    if rng.random() < 0.15:
                        continue
                    row = contract(
                        side,
                        strike,
                        days,
                        round(100 * iv, 2),
                        event_date=day,
                        settlement=black_scholes(side, level, strike, t, rate / 100, iv),
                        underlying=level,
                        interest_rate=rate,
                        base_volatility=round(100 * base, 2),
                        volume=float(rng.integers(0, 50)),
                        open_interest=float(rng.integers(0, 90)),
                    )
                    spoil = rng.random()
                    if spoil < 0.03:
                        row["implied_volatility"] = 0.0
                    elif spoil < 0.06:
                        row["settlement"] = None
                    elif spoil < 0.08:
                        row["volume"] = row["open_interest"] = None
                    rows.append(row)
                    if rng.random() < 0.05:
                        rows.append({**row, "division": "001", "implied_volatility": 99.0})
                    if rng.random() < 0.005:
                        later = row["available_at"] + timedelta(hours=int(rng.integers(1, 90)))
                        rows.append(
                            {**row, "implied_volatility": 33.0, "revision": 1}
                            | {"available_at": later}
                        )
    return rows


def slow_state(rows: list[dict[str, Any]], moment: datetime) -> dict[str, float | None]:
    """Return the summary of one day's rows, contract by contract."""
    latest: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["revision"]):
        if row["available_at"] <= moment and row["division"] == "002":
            latest[row["contract"]] = row
    surface = list(latest.values())
    chains: dict[int, list[dict[str, Any]]] = {}
    for row in surface:
        days = (row["expiry"] - row["event_date"]).days
        if 5 <= days <= 120 and row["implied_volatility"] and (row["settlement"] or 0) > 0:
            chains.setdefault(days, []).append(row)
    money = {days: slow_atm(chain) for days, chain in chains.items()}
    known = {days: iv for days, iv in money.items() if iv is not None}
    made: dict[str, float | None] = {
        "iv_30": slow_maturity(known, 30),
        "iv_60": slow_maturity(known, 60),
        "base_volatility": None,
        "iv_gap": None,
        "skew_25d": None,
        "skew_slope": None,
    }
    if known:
        days = min(known, key=lambda days: (abs(days - 30), days))
        chain = chains[days]
        made["base_volatility"] = chain[0]["base_volatility"] / 100
        made["iv_gap"] = known[days] - chain[0]["base_volatility"] / 100
        made["skew_25d"] = slow_skew(chain, days)
        made["skew_slope"] = slow_slope(chain)
    for name, column in (("put_call_oi", "open_interest"), ("put_call_volume", "volume")):
        puts, calls = (
            sum(row[column] or 0 for row in surface if row["put_call"] == side)
            for side in (PUT, CALL)
        )
        made[name] = math.log(puts / calls) if puts > 0 and calls > 0 else None
    total = sum(row["open_interest"] or 0 for row in surface)
    made["open_interest"] = math.log(total) if total > 0 else None
    return made


def slow_atm(chain: list[dict[str, Any]]) -> float | None:
    def far(strike: float) -> float:
        return abs(strike / chain[0]["underlying"] - 1)

    near = [row for row in chain if far(row["strike"]) <= 0.025]
    if len(near) < 4:
        strikes = sorted({row["strike"] for row in chain}, key=lambda k: (far(k), k))[:4]
        near = [row for row in chain if row["strike"] in strikes] if len(strikes) == 4 else []
    return statistics.median(row["implied_volatility"] / 100 for row in near) if near else None


def slow_maturity(known: dict[int, float], days: int) -> float | None:
    before, after = [d for d in known if d <= days], [d for d in known if d > days]
    if not before or not after:
        return known[max(before) if before else min(after)] if known else None
    one, two = max(before), min(after)
    weight = (two - days) / (two - one)
    variance = weight * known[one] ** 2 * one + (1 - weight) * known[two] ** 2 * two
    return math.sqrt(variance / days)


def slow_skew(chain: list[dict[str, Any]], days: int) -> float | None:
    t, rate = days / 365, chain[0]["interest_rate"] / 100
    price = {(row["put_call"], row["strike"]): row["settlement"] for row in chain}
    both = sorted(k for side, k in price if side == CALL and (PUT, k) in price)
    if not both:
        return None
    at = min(both, key=lambda k: abs(price[CALL, k] - price[PUT, k]))
    forward = at + math.exp(rate * t) * (price[CALL, at] - price[PUT, at])
    found = []
    for side, sign in ((PUT, -1), (CALL, 1)):
        points = []
        for row in chain:
            if row["put_call"] != side or sign * (row["strike"] - forward) <= 0:
                continue
            iv = row["implied_volatility"] / 100
            d1 = (math.log(forward / row["strike"]) + iv * iv * t / 2) / (iv * math.sqrt(t))
            points.append((math.exp(-rate * t) * float(norm.cdf(sign * d1)), iv))
        points.sort()
        if len(points) < 2 or not points[0][0] < 0.25 <= points[-1][0]:
            return None
        found.append(np.interp(0.25, [d for d, _ in points], [iv for _, iv in points]))
    return float(found[0] - found[1])


def slow_slope(chain: list[dict[str, Any]]) -> float | None:
    points = [
        (math.log(row["strike"] / row["underlying"]), row["implied_volatility"] / 100)
        for row in chain
    ]
    points = [(m, iv) for m, iv in points if abs(m) <= 0.1]
    if len(points) < 4 or len({m for m, _ in points}) < 2:
        return None
    return float(np.polyfit([m for m, _ in points], [iv for _, iv in points], 1)[0])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_slow_loop_over_contracts_gives_the_same(calendar: Calendar, seed: int) -> None:
    rows = random_surfaces(seed)
    states = states_of(rows, calendar).to_dicts()
    decisions = [d.replace(tzinfo=UTC) for d in calendar.decisions.astype("M8[us]").tolist()]
    moments = {
        (r["event_date"], decisions[bisect_left(decisions, r["available_at"])])
        for r in rows
        if r["division"] == "002"
    }

    assert {(s["event_date"], s["available_at"]) for s in states} == moments
    n_skews = 0
    for found in states:
        own = [row for row in rows if row["event_date"] == found["event_date"]]
        for name, value in slow_state(own, found["available_at"]).items():
            want = None if value is None else pytest.approx(value, rel=1e-9, abs=1e-12)
            assert found[name] == want, (found["event_date"], name)
        n_skews += found["skew_25d"] is not None
    assert n_skews > 10


@pytest.mark.parametrize("seed", SEEDS)
def test_what_comes_later_changes_no_state(calendar: Calendar, seed: int) -> None:
    rows = raw(random_surfaces(seed))
    whole = option_states(rows, calendar, len(calendar.sessions) - 1)
    assert whole.height > whole["event_date"].n_unique()  # some days were corrected
    for instant in rows["available_at"].unique().sort()[::4]:
        known = pl.col("available_at") <= instant
        then = option_states(rows.filter(known), calendar, len(calendar.sessions) - 1)
        # A state is public at the decision of its session: what came since the one before waits.
        assert then.filter(known).equals(whole.filter(known))


@pytest.mark.parametrize("seed", SEEDS)
def test_order_of_rows_other_days_and_emergency_rows_change_nothing(
    calendar: Calendar, seed: int
) -> None:
    rows = raw(random_surfaces(seed))
    until = len(calendar.sessions) - 1
    whole = option_states(rows, calendar, until)

    assert option_states(rows.sample(fraction=1, shuffle=True, seed=seed), calendar, until).equals(
        whole
    )
    assert option_states(rows.filter(pl.col("division") == "002"), calendar, until).equals(whole)
    for day in rows["event_date"].unique().sort()[::3]:
        own = pl.col("event_date") == day
        assert option_states(rows.filter(own), calendar, until).equals(whole.filter(own))


def test_a_correction_gives_a_state_of_its_own(calendar: Calendar) -> None:
    first = at_the_money(30, 20.0)
    later = first[0]["available_at"] + timedelta(days=1)
    right = [
        {**row, "implied_volatility": 24.0, "revision": 1, "available_at": later} for row in first
    ]
    states = states_of(first + right, calendar)

    assert states["iv_30"].to_list() == [0.20, 0.24]
    known = [first[0]["available_at"], later]
    found = [calendar.effective(np.datetime64(stamp.replace(tzinfo=None))) for stamp in known]
    assert session_numbers(states, calendar).tolist() == found


def test_a_row_for_emergency_margin_alone_gives_no_state(calendar: Calendar) -> None:
    states = states_of(at_the_money(30, 20.0, division="001"), calendar)

    assert states.is_empty()
    assert set(OPTION_COLUMNS) <= set(states.columns)
    assert states_of([], calendar).is_empty()
