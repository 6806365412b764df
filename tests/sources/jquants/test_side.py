"""Every sample row of the side tables in our words, value by value."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError
from alpha_assets.feeds import FEEDS, SIDE_FEEDS
from alpha_assets.feeds.base import CLOCK
from alpha_assets.sources.jquants import statements
from alpha_assets.sources.jquants.client import _parsed, _rows_of
from alpha_assets.sources.jquants.endpoints import ENDPOINTS
from alpha_assets.sources.jquants.prices import VERSION_COLUMNS
from alpha_assets.sources.jquants.source import NO_TABLE, TABLES

SAMPLES = Path(__file__).resolve().parents[1] / "samples.json"
Row = dict[str, Any]
Read = Callable[..., pl.DataFrame]


@pytest.fixture(scope="module")
def samples() -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = json.loads(SAMPLES.read_text(encoding="utf-8"))
    return found


@pytest.fixture
def parsed(samples: dict[str, list[Row]], calendar: Calendar) -> Read:
    """Return the rows of a feed, made of what the API answered; default: the samples."""

    def read(feed: str, rows: Sequence[Row] | None = None) -> pl.DataFrame:
        table = TABLES[feed]
        told = samples[table.endpoint.path] if rows is None else rows
        words = _rows_of(_parsed(json.dumps({"data": told}).encode()))
        columns = (*table.endpoint.read, *VERSION_COLUMNS)
        return table.shaped(
            pl.DataFrame(
                {name: [row.get(name) for row in words] for name in columns},
                schema=dict.fromkeys(columns, pl.String),
            ),
            calendar,
        )

    return read


def changed(row: Row, **values: Any) -> Row:
    return {**row, **values}


def said(rows: pl.DataFrame, number: int) -> dict[str, Any]:
    """Return what a row says, without what it leaves open."""
    return {k: v for k, v in rows.row(number, named=True).items() if v is not None}


def test_every_feed_of_the_source_has_a_table_or_a_reason() -> None:
    assert set(TABLES) | set(NO_TABLE) == set(FEEDS)
    assert not set(TABLES) & set(NO_TABLE)
    paths = {table.endpoint.path for table in TABLES.values()}
    assert paths == set(ENDPOINTS)


@pytest.mark.parametrize("feed", [name for name in TABLES if TABLES[name].finish is None])
def test_the_columns_and_types_are_those_of_the_feed(parsed: Read, feed: str) -> None:
    schema = {name: kind for name, kind in FEEDS[feed].schema.items() if name not in CLOCK}
    for rows in (None, []):
        made = parsed(feed, rows)
        assert dict(made.schema) == {name: schema[name] for name in made.columns}
        # No vendor sends the level: ingestion works it out of what it has stored.
        assert set(made.columns) == set(schema) - {"level"}


def test_sales_of_a_sector_are_under_its_english_name(parsed: Read) -> None:
    rows = parsed("sector_short_selling")
    day = date(2026, 10, 2)
    assert [said(rows, n) for n in range(3)] == [
        {
            "event_date": day,
            "sector": "Electric Appliances",
            "selling": 412_205_331_700.0,
            "restricted": 201_877_402_300.0,
            "exempt": 51_220_418_900.0,
        },
        {
            "event_date": day,
            "sector": "Fishery, Agriculture & Forestry",
            "selling": 2_411_830_200.0,
            "restricted": 1_320_941_500.0,
            "exempt": 240_118_700.0,
        },
        {
            "event_date": day,
            "sector": "Other",
            "selling": 188_210_449_000.0,
            "restricted": 23_110_877_400.0,
            "exempt": 88_104_220_600.0,
        },
    ]


def test_a_sector_code_without_its_zero_is_the_same_sector(
    parsed: Read, samples: dict[str, list[Row]]
) -> None:
    row = samples["/markets/short-ratio"][1]
    again = parsed("sector_short_selling", [changed(row, S33="50")])
    assert again["sector"].to_list() == ["Fishery, Agriculture & Forestry"]


def test_a_day_without_trading_has_no_sales(parsed: Read, samples: dict[str, list[Row]]) -> None:
    row = samples["/markets/short-ratio"][0]
    empty = changed(row, SellExShortVa="", ShrtWithResVa="", ShrtNoResVa="")
    assert parsed("sector_short_selling", [empty]).is_empty()


def test_a_holder_is_seller_client_and_fund_and_an_empty_name_stays_empty(parsed: Read) -> None:
    rows = parsed("short_positions")
    first = {"event_date": date(2026, 9, 30), "disclosed": date(2026, 10, 2), "client": ""}
    assert [said(rows, n) for n in range(3)] == [
        {
            **first,
            "symbol": "11110",
            "seller": "Example Capital LLP",
            "fund": "",
            "ratio": 0.0061,
            "shares": 6_100_000.0,
            "previous_date": date(2026, 9, 17),
            "previous_ratio": 0.0054,
        },
        {
            **first,
            "symbol": "11110",
            "seller": "Sample Asset Management",
            "fund": "Sample Master Fund",
            "ratio": 0.0112,
            "shares": 11_200_000.0,
            "previous_date": date(2026, 9, 24),
            "previous_ratio": 0.0104,
        },
        {  # the first report of this holder: neither a day before nor a ratio
            **first,
            "event_date": date(2026, 10, 1),
            "symbol": "222A0",
            "seller": "個人",
            "fund": "",
            "ratio": 0.005,
            "shares": 112_000.0,
        },
    ]


def test_weekly_balances_have_no_day_of_publication_and_no_amounts(parsed: Read) -> None:
    rows = parsed("margin")
    assert said(rows, 0) == {
        "event_date": date(2026, 9, 18),
        "symbol": "11110",
        "issue_type": "2",
        "short": 107_300.0,
        "long": 691_700.0,
        "short_negotiable": 12_100.0,
        "long_negotiable": 80_400.0,
        "short_standard": 95_200.0,
        "long_standard": 611_300.0,
    }
    assert said(rows, 1) == {
        "event_date": date(2026, 9, 25),
        "symbol": "11110",
        "published": date(2026, 9, 28),
        "issue_type": "2",
        "short": 110_500.0,
        "long": 687_400.0,
        "short_negotiable": 11_800.0,
        "long_negotiable": 82_300.0,
        "short_standard": 98_700.0,
        "long_standard": 605_100.0,
        "short_value": 444_762_500.0,
        "long_value": 2_766_785_000.0,
    }
    last = said(rows, 2)
    assert (last["event_date"], last["published"]) == (date(2026, 9, 28), date(2026, 9, 29))
    assert (last["short"], last["long_value"]) == (113_100.0, 2_765_745_000.0)


def test_an_alert_has_its_reasons_and_no_number_where_there_is_a_mark(parsed: Read) -> None:
    rows = parsed("margin_alerts").sort("event_date", "symbol")
    flags = dict.fromkeys(("restricted", "monitoring", "unclear_or_alert"), False)
    assert said(rows, 0) == {
        **flags,
        "event_date": date(2026, 10, 1),
        "symbol": "222A0",
        "published": date(2026, 10, 2),
        "daily_publication": True,
        "restricted_by_lender": False,
        "caution_by_lender": False,
        "short": 12_300.0,  # its change is "-": it was not published the day before
        "short_ratio": 0.1,
        "long": 992_300.0,
        "long_ratio": 8.3,
        "short_to_long": 1.2,
        "stage": "002",
    }
    assert said(rows, 1) == {
        **flags,
        "event_date": date(2026, 10, 2),
        "symbol": "13570",
        "published": date(2026, 10, 5),
        "daily_publication": False,
        "restricted_by_lender": False,
        "caution_by_lender": True,
        "short": 2_251.0,
        "short_change": -29.0,
        "long": 62_897.0,  # its share of what is listed is "*": a fund
        "long_change": -595.0,
        "short_to_long": 3.6,
        "stage": "001",
    }
    assert said(rows, 2) == {
        **flags,
        "event_date": date(2026, 10, 2),
        "symbol": "222A0",
        "published": date(2026, 10, 5),
        "daily_publication": True,
        "restricted_by_lender": True,
        "caution_by_lender": False,
        "short": 13_900.0,
        "short_change": 1_600.0,
        "short_ratio": 0.1,
        "long": 1_038_100.0,
        "long_change": 45_800.0,
        "long_ratio": 8.7,
        "short_to_long": 1.3,
        "stage": "003",
    }


def test_two_versions_of_an_alert_stand_side_by_side_unnumbered(
    parsed: Read, samples: dict[str, list[Row]]
) -> None:
    row = samples["/markets/margin-alert"][1]
    right = changed(row, PubDate="2026-10-06", LongOut=1_040_000.0)
    rows = parsed("margin_alerts", [right, row])
    assert rows["published"].to_list() == [date(2026, 10, 5), date(2026, 10, 6)]
    assert rows["long"].to_list() == [1_038_100.0, 1_040_000.0]
    assert "revision" not in rows.columns


def test_a_reason_without_a_flag_is_named(parsed: Read, samples: dict[str, list[Row]]) -> None:
    row = samples["/markets/margin-alert"][0]
    short = {k: v for k, v in row["PubReason"].items() if k != "Monitoring"}
    with pytest.raises(FeedError, match=r"of Monitoring, no 0 or 1; at PubDate=2026-10-02"):
        parsed("margin_alerts", [changed(row, PubReason=short)])
    with pytest.raises(FeedError, match="no object of flags, such as 'Monitoring'"):
        parsed("margin_alerts", [changed(row, PubReason="Monitoring")])


def test_the_weeks_trades_by_section_with_what_was_corrected_beside_it(parsed: Read) -> None:
    rows = parsed("investor_types")
    assert rows.select("event_date", "section", "start", "published").rows() == [
        (date(2022, 4, 1), "First Section", date(2022, 3, 28), date(2022, 4, 7)),
        (date(2026, 10, 2), "Prime", date(2026, 9, 28), date(2026, 10, 8)),
        (date(2026, 10, 2), "Prime", date(2026, 9, 28), date(2026, 10, 15)),
    ]
    assert rows["foreigners_buy"].to_list() == [7_473_457_324.0, 13_588_104_226.0, 13_588_204_226.0]
    assert rows["proprietary_sell"].to_list()[1:] == [2_911_220_118.0] * 2
    assert said(rows, 1)["trust_banks_sell"] == 601_220_455.0
    customers = [n for n in rows.columns if n.endswith("_buy")][3:]
    assert len(customers) == 10
    summed = rows.select(pl.sum_horizontal(customers)).to_series()
    assert summed.to_list() == rows["brokerage_buy"].to_list()
    both = rows["proprietary_sell"] + rows["brokerage_sell"]
    assert both.to_list() == rows["total_sell"].to_list()


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("TSE2nd", "Second Section"),
        ("TSEMothers", "Mothers"),
        ("TSEJASDAQ", "JASDAQ"),
        ("TSEStandard", "Standard"),
        ("TSEGrowth", "Growth"),
        ("TokyoNagoya", "All"),
    ],
)
def test_a_section_has_our_name(
    parsed: Read, samples: dict[str, list[Row]], theirs: str, ours: str
) -> None:
    row = samples["/equities/investor-types"][0]
    rows = parsed("investor_types", [changed(row, Section=theirs)])
    assert rows["section"].to_list() == [ours]


def test_a_contract_that_was_not_traded_has_no_close(
    parsed: Read, samples: dict[str, list[Row]]
) -> None:
    row = samples["/derivatives/bars/daily/options/225"][0]
    idle = changed(row, O=0.0, H=0.0, L=0.0, C=0.0, EO="", Vo=0.0)
    rows = parsed("index_options", [idle])
    assert rows["close"].to_list() == [None]
    assert rows["settlement"].to_list() == [1_395.0]


def test_the_surface_keeps_the_row_for_emergency_margin_apart(parsed: Read) -> None:
    rows = parsed("index_options")
    put = {
        "event_date": date(2026, 10, 1),
        "contract": "131110018",
        "put_call": "1",
        "contract_month": "2026-11",
        "strike": 52_000.0,
        "expiry": date(2026, 11, 13),
        "close": 1_395.0,
        "volume": 412.0,
        "open_interest": 2_310.0,
        "interest_rate": 0.7418,
    }
    assert said(rows, 0) == {
        **put,
        "division": "001",
        "settlement": 1_620.0,
        "implied_volatility": 24.9,
        "base_volatility": 24.71,
        "underlying": 51_020.1,
    }
    assert said(rows, 1) == {
        **put,
        "division": "002",
        "settlement": 1_395.0,
        "implied_volatility": 21.55,
        "base_volatility": 21.42,
        "underlying": 52_110.35,
    }
    call = said(rows, 2)
    assert (call["contract"], call["put_call"]) == ("141110018", "2")
    assert (call["settlement"], call["implied_volatility"]) == (1_555.0, 21.29)


def test_only_the_33_sector_indices_are_kept(parsed: Read) -> None:
    rows = parsed("sector_indices")
    assert rows.height == 1  # neither TOPIX (0000) nor the growth market's index (0070)
    assert said(rows, 0) == {
        "event_date": date(2026, 10, 2),
        "sector": "Electric Appliances",
        "code": "004F",
        "open": 4_812.3,
        "high": 4_871.95,
        "low": 4_806.11,
        "close": 4_869.4,
    }


@pytest.mark.parametrize(
    ("code", "sector"),
    [
        ("0040", "Fishery, Agriculture & Forestry"),
        ("0049", "Rubber Products"),
        ("004A", "Glass & Ceramics Products"),
        ("0050", "Transportation Equipment"),  # of indices: not the sector code 0050
        ("0056", "Air Transportation"),
        ("005B", "Banks"),
        ("005F", "Real Estate"),
        ("0060", "Services"),
    ],
)
def test_index_codes_count_on_with_letters(
    parsed: Read, samples: dict[str, list[Row]], code: str, sector: str
) -> None:
    row = samples["/indices/bars/daily"][1]
    assert parsed("sector_indices", [changed(row, Code=code)])["sector"].to_list() == [sector]


def test_the_level_of_the_day_on_which_nothing_was_traded_is_left_out(
    parsed: Read, samples: dict[str, list[Row]]
) -> None:
    row = samples["/indices/bars/daily"][1]
    days = [changed(row, Date=day) for day in ("2020-09-30", "2020-10-01", "2020-10-02")]
    kept = parsed("sector_indices", days)["event_date"].to_list()
    assert kept == [date(2020, 9, 30), date(2020, 10, 2)]


def test_an_announced_day_may_move_or_be_open(parsed: Read) -> None:
    rows = parsed("earnings_dates")
    assert rows.rows() == [
        (date(2026, 10, 1), "11110", "2Q", "0331", date(2026, 11, 5)),
        (date(2026, 10, 9), "11110", "2Q", "0331", date(2026, 10, 30)),
        (date(2026, 10, 9), "222A0", "1Q", "0630", None),
    ]


def test_a_valuation_is_in_yen_and_a_fund_has_none(parsed: Read) -> None:
    rows = parsed("valuation")
    assert rows["symbol"].to_list() == ["11110", "13570", "222A0"]
    assert said(rows, 0) == {
        "event_date": date(2026, 10, 2),
        "symbol": "11110",
        "eps": 261.1,
        "forward_eps": 294.72,
        "bps": 2_180.55,
        "roe": 0.1231,  # of 1, not of 100
        "forward_roe": 0.1352,
        "per": 7.89,
        "forward_per": 6.99,
        "pbr": 0.94,
        "market_value": 2_080_900e6,  # told in millions
    }
    assert said(rows, 1) == {"event_date": date(2026, 10, 2), "symbol": "13570"}


def test_what_was_sold_by_kind_of_order_was_bought_by_kind_of_order(parsed: Read) -> None:
    rows = parsed("breakdown")
    assert rows["symbol"].to_list() == ["11110", "11110", "222A0"]
    assert said(rows, 1) == {
        "event_date": date(2026, 10, 2),
        "symbol": "11110",
        "long_sell_value": 1_857_373_200.0,
        "short_sell_value": 989_898_300.0,
        "margin_sell_new_value": 64_097_100.0,
        "margin_sell_close_value": 252_266_400.0,
        "long_buy_value": 2_700_940_500.0,
        "margin_buy_new_value": 313_065_900.0,
        "margin_buy_close_value": 149_628_600.0,
        "long_sell_volume": 901_200.0,
        "short_sell_volume": 480_300.0,
        "margin_sell_new_volume": 31_100.0,
        "margin_sell_close_volume": 122_400.0,
        "long_buy_volume": 1_310_500.0,
        "margin_buy_new_volume": 151_900.0,
        "margin_buy_close_volume": 72_600.0,
    }
    for of in ("value", "volume"):
        sold, bought = (
            rows.select(
                pl.sum_horizontal(n for n in rows.columns if side in n and n.endswith(of))
            ).to_series()
            for side in ("_sell", "_buy")
        )
        assert sold.to_list() == bought.to_list()


def test_a_groups_quarter_with_its_forecasts(parsed: Read) -> None:
    assert said(parsed("statements"), 0) == {
        "event_date": date(2026, 8, 7),
        "symbol": "11110",
        "document": "20260806500001",
        "disclosed_at": "15:30:00",
        "kind": "1QFinancialStatements_Consolidated_IFRS",
        "period": "1Q",
        "period_start": date(2026, 4, 1),
        "period_end": date(2026, 6, 30),
        "fiscal_year_start": date(2026, 4, 1),
        "fiscal_year_end": date(2027, 3, 31),
        "is_consolidated": True,
        "sales": 812.4e9,
        "operating_profit": 91.2e9,  # no ordinary profit under IFRS
        "profit": 66.8e9,
        "eps": 66.51,
        "diluted_eps": 66.40,
        "total_assets": 4_120e9,
        "equity": 2_210e9,
        "equity_ratio": 0.536,
        "cash": 512e9,
        "shares_outstanding": 1_010_000_000.0,
        "treasury_shares": 5_600_000.0,
        "average_shares": 1_004_400_000.0,
        "forecast_sales": 3_400e9,
        "forecast_operating_profit": 380e9,
        "forecast_profit": 280e9,
        "forecast_eps": 278.79,
        "forecast_dividend": 90.0,
    }


def test_a_parents_year_is_read_from_its_own_columns(parsed: Read) -> None:
    assert said(parsed("statements"), 1) == {
        "event_date": date(2026, 8, 12),
        "symbol": "222A0",
        "document": "20260811500002",
        "disclosed_at": "16:00:00",
        "kind": "FYFinancialStatements_NonConsolidated_JP",
        "period": "FY",
        "period_start": date(2025, 7, 1),
        "period_end": date(2026, 6, 30),
        "fiscal_year_start": date(2025, 7, 1),
        "fiscal_year_end": date(2026, 6, 30),
        "is_consolidated": False,
        "sales": 4.12e9,
        "operating_profit": 310e6,
        "ordinary_profit": 305e6,
        "profit": 201e6,
        "eps": 9.01,
        "total_assets": 2.8e9,
        "equity": 1.6e9,
        "equity_ratio": 0.571,
        "bps": 71.43,
        "operating_cash_flow": 350e6,
        "investing_cash_flow": -120e6,
        "financing_cash_flow": -20e6,
        "cash": 1.45e9,
        "dividend": 0.0,
        "shares_outstanding": 22_400_000.0,
        "treasury_shares": 300.0,
        "average_shares": 22_310_500.0,
        "next_sales": 5e9,
        "next_operating_profit": 420e6,
        "next_ordinary_profit": 415e6,
        "next_profit": 280e6,
        "next_eps": 12.5,
    }


def test_a_revised_forecast_has_no_actuals_and_does_not_say_of_whom(parsed: Read) -> None:
    assert said(parsed("statements"), 2) == {
        "event_date": date(2026, 9, 25),
        "symbol": "11110",
        "document": "20260925500003",
        "disclosed_at": "15:30:00",
        "kind": "EarnForecastRevision",
        "period": "2Q",
        "period_start": date(2026, 4, 1),
        "period_end": date(2026, 9, 30),
        "fiscal_year_start": date(2026, 4, 1),
        "fiscal_year_end": date(2027, 3, 31),
        "forecast_sales": 3_480e9,
        "forecast_operating_profit": 400e9,
        "forecast_profit": 296e9,
        "forecast_eps": 294.72,
    }


def document(samples: dict[str, list[Row]], **values: str) -> Row:
    blank = dict.fromkeys(samples["/fins/summary"][0], "")
    return {**blank, "DiscDate": "2026-08-07", "Code": "11110", "DiscNo": "1", **values}


@pytest.mark.parametrize(
    ("values", "sales", "is_group"),
    [
        # The parent's figures beside the group's are left alone.
        (
            {"DocType": "FYFinancialStatements_Consolidated_JP", "Sales": "9", "NCSales": "7"},
            9,
            True,
        ),
        # Of a company without a group, in the columns without a prefix.
        ({"DocType": "FYFinancialStatements_NonConsolidated_JP", "Sales": "9"}, 9, False),
        ({"DocType": "EarnForecastRevision", "FNCSales": "5"}, None, False),
        ({"DocType": "DividendForecastRevision", "FDivAnn": "5"}, None, None),
        # One word of the group is enough: its ordinary profit stays unknown.
        (
            {"DocType": "1QFinancialStatements_Consolidated_IFRS", "NP": "1", "NCSales": "7"},
            None,
            True,
        ),
    ],
)
def test_a_document_is_read_on_one_basis(
    parsed: Read,
    samples: dict[str, list[Row]],
    values: Mapping[str, str],
    sales: float | None,
    is_group: bool | None,
) -> None:
    made = said(parsed("statements", [document(samples, **values)]), 0)
    assert made.get("sales") == sales
    assert made.get("is_consolidated") is is_group


def test_every_forecast_is_read_from_its_own_column(
    parsed: Read, samples: dict[str, list[Row]]
) -> None:
    words = {
        "forecast": ("FSales", "FOP", "FOdP", "FNP", "FEPS", "FDivAnn"),
        "next": ("NxFSales", "NxFOP", "NxFOdP", "NxFNp", "NxFEPS", "NxFDivAnn"),
    }
    alone = {
        "forecast": ("FNCSales", "FNCOP", "FNCOdP", "FNCNP", "FNCEPS", "FDivAnn"),
        "next": ("NxFNCSales", "NxFNCOP", "NxFNCOdP", "NxFNCNP", "NxFNCEPS", "NxFDivAnn"),
    }
    names = ("sales", "operating_profit", "ordinary_profit", "profit", "eps", "dividend")
    for basis in (words, alone):
        told = [word for group in basis.values() for word in group]
        row = document(samples, **{word: str(n) for n, word in enumerate(told)})
        made = said(parsed("statements", [row]), 0)
        found = [made[f"{prefix}_{name}"] for prefix in basis for name in names]
        assert found == [float(n) for n in range(12)]


def test_every_column_of_a_feed_is_declared_once() -> None:
    for endpoint in ENDPOINTS.values():
        feed = FEEDS[endpoint.feed]
        read = [name.removeprefix("parent.") for name in endpoint.theirs]
        assert set(read) <= set(feed.schema), endpoint.path
        assert len(set(endpoint.theirs.values())) == len(endpoint.theirs), endpoint.path
        assert len(set(endpoint.columns)) == len(endpoint.columns), endpoint.path
        assert {*endpoint.key, endpoint.day, *endpoint.optional} <= set(endpoint.columns)
        assert {*endpoint.units, *endpoint.blank} <= set(endpoint.read)


def test_every_value_of_a_feed_is_read_from_the_api_or_computed(parsed: Read) -> None:
    # Of the listings, what the API does not have is added when spells are made.
    for name in TABLES:
        if name in SIDE_FEEDS:
            assert {*parsed(name).columns} == {*FEEDS[name].schema} - {*CLOCK}, name


def test_statements_have_each_value_of_one_basis_on_the_other_too() -> None:
    assert set(statements.GROUP) == set(statements.PARENT)
    assert not set(statements.EITHER) & set(statements.GROUP)
