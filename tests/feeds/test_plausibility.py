"""Units and plausibility of a folder: what cannot be right stops, what is odd is counted."""

from datetime import date, timedelta

import polars as pl
import pytest
from tests.sources.conftest import SESSIONS, Write, bars

from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError
from alpha_assets.sources.files.check import ImportReport, import_check
from alpha_assets.sources.files.source import FilesSource
from alpha_assets.sources.files.spec import FilesSourceSpec

SYMBOLS = [f"S{i}" for i in range(6)]
CLOSES = [10.0, 10.5, 10.2, 10.4, 10.1, 10.3, 10.6, 10.2]
SIX = bars({symbol: [price * (1 + i) for price in CLOSES] for i, symbol in enumerate(SYMBOLS)})
LATE = pl.col("date") >= SESSIONS[4]
S1 = pl.col("symbol") == "S1"
PRICES = ("open", "high", "low", "close")
MONEY = pl.col("close") * pl.col("volume")


def rules(report: ImportReport) -> dict[str, int]:
    """Return severity and rule of each problem, with its count."""
    return {f"{p.severity} {p.rule}": p.count for p in (*report.errors, *report.warnings)}


def scaled(table: pl.DataFrame, names: tuple[str, ...], by: float, when: pl.Expr) -> pl.DataFrame:
    return table.with_columns(
        pl.when(when).then(pl.col(name) * by).otherwise(pl.col(name)).alias(name) for name in names
    )


# Turnover.


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda t: t, {}),
        # 6 symbols on 8 sessions.
        (
            lambda t: scaled(t, ("turnover_value",), 0.001, pl.lit(True)),
            {"error turnover_unit": 48},
        ),
        (lambda t: scaled(t, ("volume",), 0.01, pl.lit(True)), {"error turnover_unit": 48}),
        (lambda t: scaled(t, ("turnover_value",), 1e6, pl.lit(True)), {"error turnover_unit": 48}),
        # From the fifth session on.
        (lambda t: scaled(t, ("turnover_value",), 0.001, LATE), {"error turnover_unit": 24}),
        (
            lambda t: t.with_columns(turnover_value=pl.when(LATE).then(MONEY / 1000)),
            {"error turnover_unit": 24},
        ),
        # One symbol of six, always, and in the middle.
        (lambda t: scaled(t, ("turnover_value",), 0.001, S1), {"warning turnover_off": 8}),
        (lambda t: scaled(t, ("turnover_value",), 100.0, S1 & LATE), {"warning turnover_off": 4}),
        # Ten is a split that volume does not know, perhaps; 1.3 an average of a wild day.
        (lambda t: scaled(t, ("turnover_value",), 10.0, LATE), {"warning turnover_off": 24}),
        (lambda t: scaled(t, ("turnover_value",), 1.3, LATE), {}),
        # Nothing was traded.
        (lambda t: t.with_columns(turnover_value=pl.lit(0.0)), {}),
    ],
)
def test_turnover_per_share_lies_near_the_prices(
    change: object, wanted: dict[str, int], write: Write, new_york: Calendar
) -> None:
    table = change(SIX.with_columns(turnover_value=MONEY))  # type: ignore[operator]
    report = import_check(write(daily_bars=table), new_york)
    assert rules(report) == wanted


def test_a_folder_of_one_symbol_in_another_unit_is_refused(
    write: Write, new_york: Calendar
) -> None:
    sessions = [day for day in new_york.between(SESSIONS[0], SESSIONS[0] + timedelta(days=25))]
    days = [date.fromisoformat(str(day)) for day in sessions]
    table = bars({"A": [10.0] * 3 + [10.1] * (len(days) - 3)}, days)
    folder = write(daily_bars=table.with_columns(turnover_value=MONEY / 1000))
    report = import_check(folder, new_york)
    assert rules(report)["error turnover_unit"] == len(days)
    assert "times_the_price = 0.001" in report.text()
    with pytest.raises(FeedError, match="turnover_unit"):
        FilesSource(FilesSourceSpec(path=str(folder)), new_york).rows("daily_bars")


# Prices.


@pytest.mark.parametrize(
    ("when", "wanted"),
    [
        (LATE, {"error price_unit": 6, "warning jump": 6}),  # pence after pounds, for all
        (LATE & S1, {"warning price_unit": 1, "warning jump": 1}),
        # And back again.
        (
            S1 & (pl.col("date") == SESSIONS[3]),
            {"warning price_unit": 2, "warning jump": 2},
        ),
    ],
)
def test_prices_stay_in_one_unit(
    when: pl.Expr, wanted: dict[str, int], write: Write, new_york: Calendar
) -> None:
    report = import_check(write(daily_bars=scaled(SIX, PRICES, 100.0, when)), new_york)
    assert rules(report) == wanted


def test_a_split_of_one_to_a_hundred_is_no_unit(write: Write, new_york: Calendar) -> None:
    table = scaled(SIX, PRICES, 0.01, LATE).with_columns(
        adjustment_factor=pl.when(pl.col("date") == SESSIONS[4]).then(0.01).otherwise(1.0)
    )
    assert rules(import_check(write(daily_bars=table), new_york)) == {}


def test_volume_in_lots_from_some_session_on_is_odd(write: Write, new_york: Calendar) -> None:
    report = import_check(write(daily_bars=scaled(SIX, ("volume",), 0.01, LATE)), new_york)
    assert rules(report) == {"warning volume_unit": 1}
    # Volume grows by a share a session: 100 to 107, so 104 / 100 to 103.
    assert f"{SESSIONS[4]} median_ratio = 0.0101, symbols = 6" in report.text()


def test_a_split_during_a_halt_is_no_jump(write: Write, new_york: Calendar) -> None:
    table = bars({"A": [168.0, 167.9, None, None, 41.1, 41.5]})
    table = table.with_columns(adjustment_factor=pl.Series([1.0, 1.0, 0.25, 1.0, 1.0, 1.0]))
    assert rules(import_check(write(daily_bars=table), new_york)) == {}
    # Without the factor it is one.
    found = rules(import_check(write(daily_bars=table.drop("adjustment_factor")), new_york))
    assert found == {"warning jump": 1}


@pytest.mark.parametrize(
    ("at", "factor", "seems"),
    [
        (4, 0.5, None),
        (4, 2.0, "inverted"),
        (3, 0.5, "one bar early"),
        (5, 0.5, "one bar late"),
        (1, 0.5, "not in the prices"),
    ],
)
def test_a_factor_that_the_closes_contradict_is_named(
    at: int, factor: float, seems: str | None, write: Write, new_york: Calendar
) -> None:
    # Prices halve on the fifth session.
    table = scaled(SIX, PRICES, 0.5, LATE & S1).with_columns(
        adjustment_factor=pl.when(S1 & (pl.col("date") == SESSIONS[at])).then(factor).otherwise(1.0)
    )
    report = import_check(write(daily_bars=table), new_york)
    found = {p.rule: p for p in report.warnings}
    if seems is None:
        assert rules(report) == {}
    else:
        assert seems in found["factor_disagrees"].examples[0].value
        assert found["factor_disagrees"].examples[0].key == f"{SESSIONS[at]} S1"


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda t: t, {}),
        (lambda t: scaled(t, ("adj_close",), 0.01, pl.lit(True)), {"warning adjusted_unit": 1}),
        # The close alone changes its unit: the factor hides the step.
        (lambda t: scaled(t, PRICES, 100.0, LATE & S1), {"warning adjusted_step": 1}),
        (
            lambda t: scaled(t, ("adj_close",), 100.0, LATE & S1),
            {"warning adjusted_step": 1, "warning price_unit": 1, "warning jump": 1},
        ),
    ],
)
def test_adjusted_closes_are_in_the_unit_of_closes(
    change: object, wanted: dict[str, int], write: Write, new_york: Calendar
) -> None:
    table = change(SIX.with_columns(adj_close=pl.col("close")))  # type: ignore[operator]
    assert rules(import_check(write(daily_bars=table), new_york)) == wanted


def test_empty_rows_of_a_day_that_was_not_held_are_left_out(
    write: Write, tokyo_calendar: Calendar
) -> None:
    days = [date(2020, 9, 30), date(2020, 10, 1), date(2020, 10, 2)]
    table = bars({"A": [1.0, None, 1.1], "B": [2.0, None, 2.1]}, days)
    table = table.with_columns(pl.col("volume").fill_null(0.0))
    folder = write(daily_bars=table)
    report = import_check(folder, tokyo_calendar)
    assert rules(report) == {"warning announced_not_held": 2}
    assert "2020-10-01 A" in report.text()
    rows = FilesSource(FilesSourceSpec(path=str(folder)), tokyo_calendar).rows("daily_bars")
    assert rows["event_date"].unique().sort().to_list() == [days[0], days[2]]
    # With prices it is no empty row: the day is wrong, or the calendar.
    folder = write(daily_bars=bars({"A": [1.0, 1.05, 1.1]}, days))
    assert rules(import_check(folder, tokyo_calendar)) == {"error outside_calendar": 1}


# Limits.


@pytest.mark.parametrize(
    ("high", "limit", "touched"),
    [
        (11.05, 11.05, True),
        (11.05, 11.055, True),  # 1.1 times 10.05: off the ticks, one rounding above the price
        (11.05, 11.0549999, True),
        (11.04, 11.055, False),  # a tick below
        (11.04, 11.05, False),
        (1100.0, 1100.004, True),
    ],
)
def test_a_limit_within_a_tick_of_the_high_was_touched(
    high: float, limit: float, touched: bool, write: Write, new_york: Calendar
) -> None:
    table = pl.DataFrame(
        {
            "date": SESSIONS[:3],
            "symbol": "A",
            "open": [10.01, 10.02, high],
            "high": [10.05, 10.05, high],
            "low": [10.0, 10.01, high],
            "close": [10.03, 10.05, high],
            "volume": 100.0,
            "upper_limit": [12.0, 12.0, limit],
            "lower_limit": [10.0, 9.0, 2 * high - limit],
        }
    )
    folder = write(daily_bars=table)
    rows = FilesSource(FilesSourceSpec(path=str(folder)), new_york).rows("daily_bars")
    assert rows["upper_limit"].to_list() == [False, False, touched]
    assert rows["lower_limit"].to_list() == [True, False, touched]


def test_all_ten_percent_limits_that_were_reached_are_touched(
    write: Write, new_york: Calendar
) -> None:
    # Half of the limits of 10 % are rounded down, half up: the price is the rounded limit.
    before = [10.01 + 0.01 * i for i in range(7)]
    for k, close in enumerate(before):
        limit = close * 1.1
        price = round(limit, 2)
        table = bars({"A": [close, price]}).with_columns(
            high=pl.col("close"), low=pl.col("close"), upper_limit=pl.Series([99.0, limit])
        )
        folder = write(f"delivery{k}", daily_bars=table)
        rows = FilesSource(FilesSourceSpec(path=str(folder)), new_york).rows("daily_bars")
        assert rows["upper_limit"].to_list() == [False, True]


@pytest.mark.parametrize(
    ("upper", "lower", "wanted"),
    [
        (12.0, 8.0, {}),
        (None, None, {}),
        (10.7, 9.3, {}),  # of a range from 9.32 to 10.71: one rounding
        # Prices halved by a later split, limits as they were; and the other way.
        (21.0, 19.0, {"warning outside_limits": 3}),
        (5.25, 4.75, {"warning outside_limits": 3}),
        (-1.0, 8.0, {"error limit_not_positive": 3, "warning outside_limits": 3}),  # for "no limit"
    ],
)
def test_prices_lie_between_their_limits(
    upper: float | None,
    lower: float | None,
    wanted: dict[str, int],
    write: Write,
    new_york: Calendar,
) -> None:
    table = bars({"A": [10.0, 10.1, 10.2]}).with_columns(
        low=9.32,
        high=10.71,
        upper_limit=pl.lit(upper, dtype=pl.Float64),
        lower_limit=pl.lit(lower, dtype=pl.Float64),
    )
    assert rules(import_check(write(daily_bars=table), new_york)) == wanted


@pytest.mark.parametrize(
    ("upper", "lower", "wanted"),
    [
        (1.2, 0.8, {}),
        (0.8, 1.2, {"error limits_crossed": 48, "error limit_unit": 48}),
        (2.4, 1.6, {"error limit_unit": 48}),  # prices halved by a later split, limits as they were
    ],
)
def test_limits_that_most_prices_pass_are_refused(
    upper: float, lower: float, wanted: dict[str, int], write: Write, new_york: Calendar
) -> None:
    close = pl.col("close")
    table = SIX.with_columns(upper_limit=close * upper, lower_limit=close * lower)
    assert rules(import_check(write(daily_bars=table), new_york)) == wanted


@pytest.mark.parametrize(
    ("share", "wanted"),
    [
        (0.005, {}),
        (0.4, {"warning dividend_unit": 6}),  # 0.4 %, in cents beside dollars
        (0.00005, {"warning dividend_unit": 6}),
    ],
)
def test_dividends_are_in_the_money_of_the_prices(
    share: float, wanted: dict[str, int], write: Write, new_york: Calendar
) -> None:
    before = SIX.filter(pl.col("date") == SESSIONS[2])
    paid = before.select("symbol", ex_date=pl.lit(SESSIONS[3]), amount=pl.col("close") * share)
    assert rules(import_check(write(daily_bars=SIX, dividends=paid), new_york)) == wanted


def test_a_price_of_another_life_is_no_jump_and_no_gap(write: Write, new_york: Calendar) -> None:
    # A leaves on the third session at 10; another company takes its name on the sixth, at 400.
    table = bars({"A": [10.0, 10.1, 10.0, None, None, 400.0, 401.0, 402.0], "B": [10.0] * 8})
    table = table.with_columns(
        open=pl.col("close") + 0.001 * pl.int_range(pl.len()), adjustment_factor=1.0
    ).filter(pl.col("close").is_not_null())
    listed = pl.DataFrame(
        {
            "symbol": ["A", "A", "B"],
            "sector": "T",
            "start": [SESSIONS[0], SESSIONS[5], SESSIONS[0]],
            "end": [SESSIONS[2], None, None],
            "exit": ["delisted", None, None],
        }
    )
    assert rules(import_check(write(daily_bars=table, listings=listed), new_york)) == {}
    one_life = listed.filter(pl.col("end").is_null()).with_columns(start=SESSIONS[0])
    report = import_check(write(daily_bars=table, listings=one_life), new_york)
    assert rules(report) == {"warning jump": 1, "warning gap": 1}


@pytest.mark.parametrize(
    ("exits", "wanted"),
    [
        ([None, None], {"warning end_without_exit": 1}),
        (["active", "source_end"], {}),  # the first end is a change of sector
    ],
)
def test_an_end_without_an_exit_is_named(
    exits: list[str | None], wanted: dict[str, int], write: Write, new_york: Calendar
) -> None:
    listed = pl.DataFrame(
        {
            "symbol": ["S0", "S0"],
            "sector": ["T", "U"],
            "start": [SESSIONS[0], SESSIONS[3]],
            "end": [SESSIONS[2], SESSIONS[7]],
            "exit": exits,
        },
        schema_overrides={"exit": pl.String},
    )
    folder = write(daily_bars=SIX.filter(pl.col("symbol") == "S0"), listings=listed)
    assert rules(import_check(folder, new_york)) == wanted


# Rates, fees, dividends, exits.


@pytest.mark.parametrize(
    ("rates", "wanted"),
    [
        ([0.0525, 0.0525, 0.0525], {}),
        ([-0.0075, 0.0, 0.005], {}),
        ([5.25, 5.25, 5.25], {"error impossible_rate": 3}),
        ([0.75, 0.75, 0.74], {"warning rate_odd": 3}),
        ([-0.75, -0.75, -0.75], {"warning rate_odd": 3}),
        ([0.07, 0.11, 0.08], {"warning rate_unit": 1}),  # 0.07 %, 0.11 %, 0.08 % in percent
        ([0.25, 0.25, 0.5], {"warning rate_unit": 1}),  # a central bank's step, in percent
        ([0.0025, 0.25, 0.25], {"warning rate_unit": 1}),  # percent from the second row on
        ([0.0008, 0.0033, 0.0008], {}),
    ],
)
def test_rates_are_fractions(
    rates: list[float], wanted: dict[str, int], write: Write, new_york: Calendar
) -> None:
    table = pl.DataFrame({"date": SESSIONS[:3], "cash_rate_annual": rates})
    report = import_check(write(daily_bars=SIX, rates=table), new_york)
    assert rules(report) == wanted


@pytest.mark.parametrize(
    ("quoted", "wanted"),
    [
        # 44 sessions of bars, numbered from 0; a quote holds for 20 sessions after its own.
        ([0, 21, 42], {}),
        ([0, 22, 43], {"warning silent": 1}),
        ([0, 22], {"warning silent": 2}),  # the feed ends, the bars go on
        ([20, 41], {}),
        ([21, 42], {"warning begins_late": 1}),
        # A blank on session 21 is no quote.
        ([0, 21.0, 42], {"warning silent": 1}),
    ],
)
def test_quotes_reach_over_the_bars(
    quoted: list[float], wanted: dict[str, int], write: Write, new_york: Calendar
) -> None:
    sessions = [day.item() for day in new_york.between(date(2020, 1, 2), date(2020, 3, 31))][:44]
    prices = bars({"A": [10.0 + 0.1 * (i % 7) for i in range(44)]}, sessions)
    value = [None if isinstance(k, float) else 0.02 for k in quoted]
    table = pl.DataFrame({"date": [sessions[int(k)] for k in quoted], "cash_rate_annual": value})
    assert rules(import_check(write(daily_bars=prices, rates=table), new_york)) == wanted

    fees = table.select("date", symbol=pl.lit("A"), fee_bps_annual=pl.col("cash_rate_annual") * 2e3)
    lent = write("lent", daily_bars=prices, borrow=fees.with_columns(available_shares=1e6))
    assert rules(import_check(lent, new_york)) == wanted


@pytest.mark.parametrize(
    ("fees", "wanted"),
    [
        ([40.0, 0.0, 25.0], {}),
        ([0.004, 0.004, 0.004], {"warning fee_unit": 3}),
        ([40.0, 0.004, 0.004], {"warning fee_unit": 2}),
        ([2e5, 40.0, 40.0], {"warning fee_unit": 1}),
        ([2e6, 40.0, 40.0], {"error impossible_fee": 1}),
    ],
)
def test_fees_are_basis_points(
    fees: list[float], wanted: dict[str, int], write: Write, new_york: Calendar
) -> None:
    table = pl.DataFrame({"date": SESSIONS[:3], "symbol": "S0", "fee_bps_annual": fees})
    table = table.with_columns(available_shares=1e6)
    assert rules(import_check(write(daily_bars=SIX, borrow=table), new_york)) == wanted


@pytest.mark.parametrize(
    ("amount", "wanted"),
    [
        (0.5, {}),
        (6.0, {"warning dividend_odd": 1}),  # the close before is 10.5
        (1000.0, {"error dividend_above_price": 1}),
    ],
)
def test_dividends_are_below_the_close_before(
    amount: float, wanted: dict[str, int], write: Write, new_york: Calendar
) -> None:
    paid = pl.DataFrame({"ex_date": [SESSIONS[2]], "symbol": ["S0"], "amount": [amount]})
    folder = write(daily_bars=SIX, dividends=paid)
    report = import_check(folder, new_york)
    assert rules(report) == wanted
    if wanted:
        assert f"amount = {amount}, close_before = 10.5" in report.text()
    if report.errors:
        with pytest.raises(FeedError, match="dividend_above_price"):
            FilesSource(FilesSourceSpec(path=str(folder)), new_york).rows("dividends")


@pytest.mark.parametrize("column", ["adjustment_factor", "adj_close", "none"])
@pytest.mark.parametrize(
    ("amount", "wanted"),
    [
        (4.0, {}),
        (7.0, {"warning dividend_odd": 1}),
        (11.0, {"error dividend_above_price": 1}),
    ],
)
def test_a_dividend_beside_a_consolidation_is_per_new_share(
    column: str, amount: float, wanted: dict[str, int], write: Write, new_york: Calendar
) -> None:
    # Ten shares at 1.00 become one at 10.00 on the ex-date, which has no trade.
    prices = bars({"S0": [1.0, 1.0, None, 10.0]})
    ten = pl.when(pl.col("date") < SESSIONS[2]).then(10.0).otherwise(1.0)
    if column == "adjustment_factor":
        on_day = pl.when(pl.col("date") == SESSIONS[2]).then(10.0).otherwise(1.0)
        prices = prices.with_columns(on_day.alias(column))
    elif column == "adj_close":  # known from the first close after
        prices = bars({"S0": [1.0, 1.0, 10.0, 10.0]})
        prices = prices.with_columns((pl.col("close") * ten).alias(column))
    else:
        wanted = {"error dividend_above_price": 1}
    paid = pl.DataFrame({"ex_date": [SESSIONS[2]], "symbol": ["S0"], "amount": [amount]})
    found = rules(import_check(write(daily_bars=prices, dividends=paid), new_york))
    assert {rule: n for rule, n in found.items() if "dividend" in rule} == wanted


def test_a_dividend_beside_a_split_is_compared_with_the_price_of_a_new_share(
    write: Write, new_york: Calendar
) -> None:
    # One share at 100 becomes ten at 10: 40 a share is more than a new share is worth.
    prices = bars({"S0": [100.0, 100.0, 10.0, 10.0]}).with_columns(
        adjustment_factor=pl.when(pl.col("date") == SESSIONS[2]).then(0.1).otherwise(1.0)
    )
    paid = pl.DataFrame({"ex_date": [SESSIONS[2]], "symbol": ["S0"], "amount": [40.0]})
    report = import_check(write(daily_bars=prices, dividends=paid), new_york)
    assert rules(report) == {"error dividend_above_price": 1}
    assert "amount = 40.0, close_before = 10.0" in report.text()


def test_an_ordinary_and_a_special_dividend_add_up(write: Write, new_york: Calendar) -> None:
    paid = pl.DataFrame(
        {
            "ex_date": [SESSIONS[2]] * 2 + [SESSIONS[3]],
            "symbol": "S0",
            "amount": [0.5, 2.0, 0.1],
        }
    )
    folder = write(daily_bars=SIX, dividends=paid)
    report = import_check(folder, new_york)
    assert rules(report) == {"warning dividends_added_up": 1}
    rows = FilesSource(FilesSourceSpec(path=str(folder)), new_york).rows("dividends")
    assert rows["amount"].to_list() == [2.5, 0.1]


def test_a_dividend_without_an_amount_is_named(write: Write, new_york: Calendar) -> None:
    # In the books it pays nothing, beside others that are paid.
    paid = pl.DataFrame(
        {"ex_date": [SESSIONS[2], SESSIONS[3]], "symbol": "S0", "amount": [None, 0.1]}
    )
    report = import_check(write(daily_bars=SIX, dividends=paid), new_york)
    assert rules(report) == {"warning dividend_unknown": 1}


def test_the_same_dividend_twice_is_refused(write: Write, new_york: Calendar) -> None:
    paid = pl.DataFrame({"ex_date": [SESSIONS[3]] * 2, "symbol": "S0", "amount": [0.25, 0.25]})
    folder = write(daily_bars=SIX, dividends=paid)
    assert "error same_dividend_twice" in rules(import_check(folder, new_york))
    with pytest.raises(FeedError, match="write the sum where both are paid"):
        FilesSource(FilesSourceSpec(path=str(folder)), new_york).rows("dividends")


def test_a_negative_part_is_named_and_not_hidden_in_a_sum(write: Write, new_york: Calendar) -> None:
    paid = pl.DataFrame({"ex_date": [SESSIONS[2]] * 2, "symbol": "S0", "amount": [-1.0, 3.0]})
    report = import_check(write(daily_bars=SIX, dividends=paid), new_york)
    assert "error negative_amount" in rules(report)


@pytest.mark.parametrize(
    ("paid", "wanted"),
    [
        (0.35, {}),
        (1.5, {"warning exit_return_odd": 1}),
        (35.0, {"error impossible_exit_return": 1}),
        (-35.0, {"error impossible_exit_return": 1}),
    ],
)
def test_exit_returns_are_fractions(
    paid: float, wanted: dict[str, int], write: Write, new_york: Calendar
) -> None:
    table = SIX.filter((pl.col("symbol") != "S5") | (pl.col("date") < SESSIONS[7]))
    listed = pl.DataFrame({"symbol": SYMBOLS, "sector": "T"}).with_columns(
        exit=pl.when(pl.col("symbol") == "S5").then(pl.lit("acquired")).otherwise(pl.lit("active")),
        exit_return=pl.when(pl.col("symbol") == "S5").then(paid),
    )
    found = rules(import_check(write(daily_bars=table, listings=listed), new_york))
    assert {k: n for k, n in found.items() if k.split()[1] != "vanished_symbol"} == wanted


# Membership.


def spells(*rows: tuple[str, int, int | None]) -> pl.DataFrame:
    made = [(s, SESSIONS[a], None if b is None else SESSIONS[b]) for s, a, b in rows]
    return pl.DataFrame(
        made, schema={"symbol": pl.String, "start": pl.Date, "end": pl.Date}, orient="row"
    )


@pytest.mark.parametrize(
    ("table", "wanted"),
    [
        # Ends are the first day out.
        (spells(("S0", 0, 4), ("S1", 0, None), ("S2", 4, None), ("S3", 0, 2), ("S4", 2, None)), {}),
        # The whole index is delivered by period, ends included: no member on sessions 3 and 6.
        (
            spells(
                *[(s, 0, 3) for s in SYMBOLS[:3]],
                *[(s, 4, 6) for s in SYMBOLS[:3]],
                *[(s, 7, None) for s in SYMBOLS[1:4]],
            ),
            {"warning no_members": 2, "warning inclusive_ends": 6},
        ),
        # Only those that change have ends: 2 for 2, at two seams.
        (
            spells(
                ("S0", 0, None),
                ("S1", 0, 2),
                ("S2", 3, None),
                ("S3", 0, 5),
                ("S4", 6, None),
            ),
            {"warning inclusive_ends": 2},
        ),
        # One for one, once.
        (
            spells(("S0", 0, None), ("S1", 0, 2), ("S2", 3, None)),
            {"warning inclusive_ends": 1},
        ),
    ],
)
def test_inclusive_ends_of_membership_are_recognised(
    table: pl.DataFrame, wanted: dict[str, int], write: Write, new_york: Calendar
) -> None:
    report = import_check(write(daily_bars=SIX, membership=table.sort("symbol", "start")), new_york)
    assert rules(report) == wanted
