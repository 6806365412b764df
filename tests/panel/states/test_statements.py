"""States of statements: by hand, against a slow loop, and only from what was public."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from alpha_assets.calendar import Calendar, CalendarSpec
from alpha_assets.feeds.corporate import ACTUALS, FORECASTS, STATEMENTS
from alpha_assets.panel.states.statements import STATEMENT_COLUMNS, statement_states

FLOWS = ("sales", "operating_profit", "profit")
SEEDS = range(6)


@pytest.fixture(scope="module")
def calendar() -> Calendar:
    return Calendar.load(
        CalendarSpec(
            exchange="XTKS", zone="Asia/Tokyo", decision_time=time(8, 30), sessions_per_year=245
        )
    )


def document(day: str, period: str, year_end: str, **values: Any) -> dict[str, Any]:
    """Return a row that is public half an hour after the midnight (Tokyo) that ends its day."""
    end = date.fromisoformat(year_end)
    disclosed = date.fromisoformat(day)
    start = (
        end.replace(year=end.year - 1, day=28) + timedelta(days=4)
        if end.month < 12
        else date(end.year, 1, 1)
    ).replace(day=1)
    stamp = datetime.combine(disclosed, time(15, 30), tzinfo=UTC)
    return {
        "event_date": disclosed,
        "symbol": "1111",
        "document": day,
        "disclosed_at": "15:00:00",
        "kind": f"{period}FinancialStatements_Consolidated_JP",
        "period": period,
        "period_end": end,
        "fiscal_year_start": start,
        "fiscal_year_end": end,
        "is_consolidated": True,
        "available_at": stamp,
        "ingested_at": stamp,
        "revision": 0,
        **values,
    }


def revised(day: str, period: str, year_end: str, **values: Any) -> dict[str, Any]:
    words = {"kind": "EarnForecastRevision", "document": f"{day}R", "is_consolidated": None}
    return document(day, period, year_end, **{**words, **values})


def raw(rows: list[dict[str, Any]]) -> pl.DataFrame:
    order = ["event_date", "symbol", "available_at", "revision"]
    return pl.DataFrame(rows, schema=STATEMENTS.schema, orient="row").sort(order)


def states_of(rows: list[dict[str, Any]], calendar: Calendar) -> pl.DataFrame:
    return statement_states(raw(rows), calendar, len(calendar.sessions) - 1)


def last(rows: list[dict[str, Any]], calendar: Calendar) -> dict[str, Any]:
    return states_of(rows, calendar).sort("available_at").row(-1, named=True)


def flows(sales: float | None, operating: float | None, profit: float | None) -> dict[str, Any]:
    return {"sales": sales, "operating_profit": operating, "profit": profit}


YEAR_2022 = [  # sums from April 2021 on
    document("2021-08-10", "1Q", "2022-03-31", **flows(100, 10, 6)),
    document("2021-11-10", "2Q", "2022-03-31", **flows(210, 22, 13)),
    document("2022-02-10", "3Q", "2022-03-31", **flows(330, 36, 21)),
    document("2022-05-10", "FY", "2022-03-31", **flows(460, 52, 30), total_assets=900.0),
]
YEAR_2023 = [
    document("2022-08-10", "1Q", "2023-03-31", **flows(120, 13, 8), total_assets=950.0),
    document("2022-11-10", "2Q", "2023-03-31", **flows(260, 29, 18), total_assets=980.0),
]


def test_quarters_and_twelve_months_by_hand(calendar: Calendar) -> None:
    state = last(YEAR_2022 + YEAR_2023, calendar)

    assert [state[f"{n}_quarter"] for n in FLOWS] == [260 - 120, 29 - 13, 18 - 8]
    assert [state[f"{n}_quarter_year_ago"] for n in FLOWS] == [210 - 100, 22 - 10, 13 - 6]
    assert [state[f"{n}_quarter_before"] for n in FLOWS] == [120, 13, 8]
    assert [state[f"{n}_ttm"] for n in FLOWS] == [460 + 260 - 210, 52 + 29 - 22, 30 + 18 - 13]
    assert [state[f"{n}_ttm_year_ago"] for n in FLOWS] == [None] * 3  # 2021 was never seen
    assert [state[f"{n}_year"] for n in FLOWS] == [460, 52, 30]
    assert [state[f"{n}_to_date"] for n in FLOWS] == [260, 29, 18]
    assert state["quarter"] == 2


def test_a_whole_year_is_its_own_twelve_months(calendar: Calendar) -> None:
    state = last(YEAR_2022, calendar)

    assert [state[f"{n}_quarter"] for n in FLOWS] == [460 - 330, 52 - 36, 30 - 21]
    assert [state[f"{n}_quarter_before"] for n in FLOWS] == [330 - 210, 36 - 22, 21 - 13]
    assert [state[f"{n}_ttm"] for n in FLOWS] == [460, 52, 30]
    assert state["profit_to_date"] is None  # nothing of the year that runs
    assert (state["quarter"], state["profit_year"]) == (4, 30)


def test_the_quarter_before_a_first_quarter_ends_the_year_before(calendar: Calendar) -> None:
    state = last(YEAR_2022 + YEAR_2023[:1], calendar)

    assert state["sales_quarter"] == 120
    assert state["sales_quarter_before"] == 460 - 330


def test_a_quarter_without_the_sum_before_it_is_unknown(calendar: Calendar) -> None:
    state = last(YEAR_2022[:1] + YEAR_2022[2:3], calendar)

    assert state["sales_quarter"] is None
    assert state["sales_to_date"] == 330


def test_a_year_of_nine_months_has_three_quarters(calendar: Calendar) -> None:
    short = {"fiscal_year_start": date(2022, 4, 1)}
    rows = [
        *YEAR_2022,
        document("2022-11-10", "2Q", "2022-12-31", **flows(240, 26, 15), **short),
        document("2023-02-10", "FY", "2022-12-31", **flows(390, 40, 24), **short),
    ]
    state = last(rows, calendar)

    assert (state["sales_quarter"], state["quarter"]) == (390 - 240, 3)
    assert state["sales_ttm"] is None  # nine months are not twelve
    assert state["sales_year"] is None


def test_figures_of_the_parent_and_of_the_group_are_not_mixed(calendar: Calendar) -> None:
    alone = document("2022-08-10", "1Q", "2023-03-31", **flows(120, 13, 8), is_consolidated=False)
    state = last([*YEAR_2022, alone], calendar)

    assert (state["sales_quarter"], state["is_consolidated"]) == (120, 0)
    assert state["sales_ttm"] is state["sales_quarter_year_ago"] is None


def test_a_revised_forecast_blanks_no_actual(calendar: Calendar) -> None:
    report = document(
        "2022-08-10", "1Q", "2023-03-31", **flows(120, 13, 8), cash=70.0, forecast_profit=33.0
    )
    revision = revised("2022-09-20", "2Q", "2023-03-31", forecast_profit=40.0)
    before, after = states_of([*YEAR_2022, report, revision], calendar).tail(2).to_dicts()

    assert (before["forecast_profit"], after["forecast_profit"]) == (33, 40)
    assert after["forecast_profit_before"] == 33
    assert (before["is_forecast_only"], after["is_forecast_only"]) == (0, 1)
    stays = [n for n in STATEMENT_COLUMNS if not n.startswith(("forecast", "next", "is_forecast"))]
    stays = [n for n in stays if "lag" not in n and n != "since_actual"]
    assert {n: before[n] for n in stays} == {n: after[n] for n in stays}
    # Both are known from the day after; Mountain Day and Respect for the Aged Day lie between.
    assert after["since_actual"] == np.busday_count("2022-08-10", "2022-09-20") - 2
    assert after["lag"] == after["since_actual"] + 1


def test_a_silent_forecast_leaves_the_others(calendar: Calendar) -> None:
    rows = [
        document("2022-08-10", "1Q", "2023-03-31", forecast_profit=33.0, forecast_dividend=5.0),
        revised("2022-09-20", "2Q", "2023-03-31", forecast_dividend=6.0),
    ]
    state = last(rows, calendar)

    assert (state["forecast_profit"], state["forecast_dividend"]) == (33, 6)
    assert state["forecast_eps_lag"] is None
    assert state["forecast_dividend_lag"] == 1  # from the day of the revision to the next


def test_a_late_document_of_an_older_quarter_hides_nothing(calendar: Calendar) -> None:
    late = document("2022-09-01", "3Q", "2022-03-31", **flows(333, 36, 21), document="late")
    known, state = (last(rows, calendar) for rows in (
        YEAR_2022 + YEAR_2023[:1], [*YEAR_2022, *YEAR_2023[:1], late]
    ))  # fmt: skip

    assert state["sales_quarter"] == known["sales_quarter"] == 120
    assert state["sales_quarter_before"] == 460 - 333  # but what it says of its own time counts


def test_a_correction_counts_from_the_session_that_knows_it(calendar: Calendar) -> None:
    stamp = datetime(2022, 8, 25, 7, tzinfo=UTC)
    right = {**YEAR_2023[0], "profit": 9.0, "revision": 1, "available_at": stamp}
    states = states_of([*YEAR_2022, YEAR_2023[0], right], calendar)
    found = states.select("event_date", "profit_quarter", "since_actual").tail(2).rows()

    assert found == [(date(2022, 8, 12), 8, 0), (date(2022, 8, 26), 9, 10)]


def test_a_year_ago_is_what_is_known_of_it_now(calendar: Calendar) -> None:
    stamp = datetime(2022, 6, 25, 7, tzinfo=UTC)
    restated = {**YEAR_2022[0], "sales": 90.0, "revision": 1, "available_at": stamp}
    states = states_of([*YEAR_2022, restated, *YEAR_2023], calendar)

    assert last([*YEAR_2022, restated, YEAR_2023[0]], calendar)["sales_quarter_year_ago"] == 90
    assert states.filter(pl.col("available_at") < stamp)["sales_quarter"].to_list()[0] == 100


def test_a_forecast_dies_with_the_actual_of_its_year(calendar: Calendar) -> None:
    rows = [
        document("2022-02-10", "3Q", "2022-03-31", **flows(330, 36, 21), forecast_profit=28.0),
        document("2022-05-10", "FY", "2022-03-31", **flows(460, 52, 30), next_profit=35.0),
        revised("2022-09-20", "2Q", "2023-03-31", forecast_profit=38.0),
        document("2023-05-10", "FY", "2023-03-31", **flows(500, 60, 39)),
    ]
    states = states_of(rows, calendar)

    assert states["forecast_profit"].to_list() == [28, 35, 38, None]
    assert states["forecast_profit_before"].to_list() == [None, None, 35, None]
    assert states["profit_year"].to_list() == [None, 30, 30, 39]


def test_the_next_year_waits_until_this_one_is_reported(calendar: Calendar) -> None:
    rows = [
        document("2022-02-10", "3Q", "2022-03-31", forecast_profit=28.0, **flows(330, 36, 21)),
        revised("2022-03-10", "FY", "2022-03-31", next_profit=35.0),
    ]
    state = last(rows, calendar)

    assert (state["forecast_profit"], state["next_profit"]) == (28, 35)


def test_a_forecast_without_any_actual_is_of_the_year_it_names(calendar: Calendar) -> None:
    state = last([revised("2022-03-10", "FY", "2022-03-31", forecast_profit=28.0)], calendar)

    assert (state["forecast_profit"], state["profit_ttm"], state["lag"]) == (28, None, None)


def test_a_number_that_not_every_period_has_stays(calendar: Calendar) -> None:
    year = {**YEAR_2022[3], "bps": 50.0, "dividend": 4.0, "operating_cash_flow": 44.0}
    state = last([*YEAR_2022[:3], year, *YEAR_2023], calendar)

    assert (state["bps"], state["dividend"]) == (50, 4)
    assert state["operating_cash_flow_ttm"] == 44
    # The year's report stood on 10 May, the state on 11 November 2022, 128 sessions later.
    day = calendar.index_of(np.datetime64("2022-05-10"))
    assert state["bps_lag"] == calendar.index_of(np.datetime64("2022-11-11")) - day
    assert (state["total_assets"], state["total_assets_year_ago"]) == (980, None)


def test_earnings_a_share_by_hand(calendar: Calendar) -> None:
    year = {**YEAR_2022[3], "eps": 3.1, "shares_outstanding": 12.0, "treasury_shares": 2.0}
    quarter = {**YEAR_2023[0], "average_shares": 16.0, "eps": 0.5}

    assert last([*YEAR_2022[:3], year], calendar)["eps_ttm"] == 3.1
    assert last([*YEAR_2022[:3], year], calendar)["shares"] == 12 - 2
    assert last([*YEAR_2022[:3], year, quarter], calendar)["eps_ttm"] == (30 + 8 - 6) / 16


# Random documents, with everything that happens to them.

COUNTED = (*ACTUALS, *(f"{p}_{n}" for p in ("forecast", "next") for n in FORECASTS))


def random_rows(seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for symbol in ("1111", "2222", "3333"):
        end, start = date(2015, 3, 31), date(2014, 4, 1)
        for _ in range(8):
            if rng.random() < 0.1:  # the year's end moves
                end = date(end.year, 12, 31) if end.month == 3 else date(end.year + 1, 3, 31)
            for period in ("1Q", "2Q", "3Q", "4Q", "FY"):
                if rng.random() < (0.9 if period == "4Q" else 0.1):
                    continue
                ended = {"1Q": 270, "2Q": 180, "3Q": 90}.get(period, 0)
                day = end - timedelta(days=ended - int(rng.integers(20, 60)))
                rows += _random_documents(rng, symbol, period, day, (start, end))
            start = end + timedelta(days=1)
            end = date(end.year + 1, end.month, 31)
    frame = raw(rows)
    return frame.unique(["event_date", "symbol", "document", "revision"], keep="first").sort(
        "event_date", "symbol", "available_at", "revision"
    )


def _random_documents(
    rng: np.random.Generator, symbol: str, period: str, day: date, year: tuple[date, date]
) -> list[dict[str, Any]]:
    rows = []
    for _ in range(1 + (rng.random() < 0.15)):
        delay = int(rng.choice([0, 0, 0, 1, 150]))
        told = {n: float(rng.integers(1, 99)) for n in COUNTED if rng.random() < 0.85}
        row = document(str(day), period, str(year[1]), symbol=symbol, **told)
        row |= {
            "document": f"{day}-{rng.integers(100)}",
            "disclosed_at": str(rng.choice(["12:00:00", "15:00:00"])),
            "fiscal_year_start": None if rng.random() < 0.1 else year[0],
            "is_consolidated": [True, False, None][rng.choice(3, p=[0.92, 0.04, 0.04])],
            "available_at": row["available_at"] + timedelta(days=delay),
        }
        if rng.random() < 0.2:
            quiet = dict.fromkeys(ACTUALS)
            row |= {**quiet, "kind": "EarnForecastRevision", "is_consolidated": None}
        rows.append(row)
        if rng.random() < 0.3:
            changed = {n: float(rng.integers(1, 99)) for n in told if rng.random() < 0.3}
            later = row["available_at"] + timedelta(hours=int(rng.choice([0, 5, 200, 3000])))
            rows.append({**row, **changed, "revision": 1, "available_at": later})
    return rows


def slow_states(rows: pl.DataFrame, calendar: Calendar) -> list[dict[str, Any]]:
    """Return the states one by one, each from all documents that were public."""
    listed = rows.to_dicts()
    numbers = calendar.effective(rows["available_at"].to_numpy()).tolist()
    for row, number in zip(listed, numbers, strict=True):
        row["number"] = number
    found = []
    for symbol in sorted({row["symbol"] for row in listed}):
        own = [row for row in listed if row["symbol"] == symbol]
        for number in sorted({row["number"] for row in own}):
            state = _slow_state([row for row in own if row["number"] <= number], number, calendar)
            found.append(
                {"symbol": symbol, "event_date": calendar.sessions[number].item(), **state}
            )
    return found


def _slow_state(public: list[dict[str, Any]], now: int, calendar: Calendar) -> dict[str, Any]:
    documents: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in sorted(public, key=lambda row: (row["available_at"], row["revision"])):
        documents[row["event_date"], row["document"]] = row
    ordered = sorted(
        documents.values(),
        key=lambda row: (row["event_date"], row["disclosed_at"], row["document"]),
    )
    is_new = [row for row in public if row["number"] == now]
    state: dict[str, Any] = dict.fromkeys(STATEMENT_COLUMNS)
    state["is_forecast_only"] = float(not any(map(_has_actuals, is_new)))
    books = _Books(ordered, public, now, calendar)
    books.tell(state)
    return state


def _has_actuals(row: dict[str, Any]) -> bool:
    said = any(row[name] is not None for name in ACTUALS)
    return said and "Revision" not in row["kind"]


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


class _Books:
    """The periods of one symbol as known at one moment: (year, month of its end, word)."""

    ORDER = ("1Q", "2Q", "3Q", "4Q", "5Q", "FY")

    def __init__(
        self,
        ordered: list[dict[str, Any]],
        public: list[dict[str, Any]],
        now: int,
        calendar: Calendar,
    ) -> None:
        self.now, self.calendar, self.public, self.ordered = now, calendar, public, ordered
        self.books: dict[tuple[int, int, str], dict[str, tuple[Any, dict[str, Any]]]] = {}
        for row in ordered:
            if _has_actuals(row):
                page = self.books.setdefault(self.name(row), {})
                owned = row["treasury_shares"] or 0.0
                values = {**row, "shares": _minus(row["shares_outstanding"], owned)}
                page |= {n: (v, row) for n, v in values.items() if v is not None}

    @staticmethod
    def name(row: dict[str, Any]) -> tuple[int, int, str]:
        return row["fiscal_year_end"].year, row["fiscal_year_end"].month, row["period"]

    def newest(self, number: str | None = None) -> tuple[int, int, str] | None:
        """Return the newest period for which a number was ever reported."""
        ever = [r for r in self.public if _has_actuals(r) and r["number"] <= self.now]
        if number == "shares":
            ever = [r for r in ever if r["shares_outstanding"] is not None]
        elif number is not None:
            ever = [r for r in ever if r[number] is not None]
        names = [self.name(r) for r in ever]
        return max(names, key=lambda n: (n[0], n[1], self.ORDER.index(n[2])), default=None)

    def get(self, name: tuple[int, int, str] | None, number: str) -> Any:
        return self.books.get(name, {}).get(number, (None, None))[0] if name else None

    def lag(self, name: tuple[int, int, str] | None, number: str) -> float | None:
        row = self.books.get(name, {}).get(number, (None, None))[1] if name else None
        return None if row is None else self.since(row["event_date"])

    def since(self, day: date) -> float:
        opened = self.calendar.on_or_after(np.array([day], dtype="datetime64[D]"))
        return float(self.now - self.calendar.index_of(opened)[0])

    def quarters(self, name: tuple[int, int, str]) -> int:
        start = self.get(name, "fiscal_year_start")
        if start is None:
            return 4
        return round(((name[0] - start.year) * 12 + name[1] - start.month + 1) / 3)

    def earlier(self, name: tuple[int, int, str]) -> str | None:
        """Return the word of the period that ends a quarter before; None at the year's start."""
        nth = self.quarters(name) if name[2] == "FY" else int(name[2][0])
        return None if nth == 1 else f"{nth - 1}Q"

    def same_basis(self, *names: tuple[int, int, str]) -> bool:
        bases = [self.get(name, "is_consolidated") for name in names]
        return not any(a is not None and b is not None and a != b for a in bases[:1] for b in bases)

    def quarter(self, name: tuple[int, int, str], number: str) -> float | None:
        word = self.earlier(name)
        if word is None:
            return self.get(name, number)
        before = (name[0], name[1], word)
        starts = [self.get(n, "fiscal_year_start") for n in (name, before)]
        if None not in starts and starts[0] != starts[1]:
            return None
        if not self.same_basis(name, before):
            return None
        return _minus(self.get(name, number), self.get(before, number))

    def twelve(self, name: tuple[int, int, str], number: str) -> float | None:
        if name[2] == "FY":
            return self.get(name, number) if self.quarters(name) == 4 else None
        whole, same = (name[0] - 1, name[1], "FY"), (name[0] - 1, name[1], name[2])
        if whole not in self.books or self.quarters(whole) != 4:
            return None
        if not self.same_basis(name, whole, same):
            return None
        parts = [self.get(n, number) for n in (whole, name, same)]
        return None if None in parts else parts[0] + parts[1] - parts[2]

    def tell(self, state: dict[str, Any]) -> None:
        last = self.newest()
        if last:
            self._tell_last(state, last)
        for number in ("total_assets", "equity", "cash", "shares", "bps", "dividend"):
            name = self.newest(number)
            state[number] = self.get(name, number)
            if f"{number}_lag" in state:
                state[f"{number}_lag"] = self.lag(name, number)
            if f"{number}_year_ago" in state and name:
                ago = (name[0] - 1, name[1], name[2])
                same = self.same_basis(name, ago)
                state[f"{number}_year_ago"] = self.get(ago, number) if same else None
        name = self.newest("operating_cash_flow")
        if name:
            ago = (name[0] - 1, name[1], name[2])
            state["operating_cash_flow_ttm"] = self.twelve(name, "operating_cash_flow")
            if self.same_basis(name, ago):
                state["operating_cash_flow_ttm_year_ago"] = self.twelve(ago, "operating_cash_flow")
        self._tell_forecasts(state, last)

    def _tell_last(self, state: dict[str, Any], last: tuple[int, int, str]) -> None:
        ago = (last[0] - 1, last[1], last[2])
        word = self.earlier(last)
        before = (last[0], last[1], word) if word else (last[0] - 1, last[1], "FY")
        whole = last if last[2] == "FY" else (last[0] - 1, last[1], "FY")
        for flow in FLOWS:
            state[f"{flow}_quarter"] = self.quarter(last, flow)
            state[f"{flow}_ttm"] = self.twelve(last, flow)
            if self.same_basis(last, ago):
                state[f"{flow}_quarter_year_ago"] = self.quarter(ago, flow)
                state[f"{flow}_ttm_year_ago"] = self.twelve(ago, flow)
            if self.same_basis(last, before):
                state[f"{flow}_quarter_before"] = self.quarter(before, flow)
            if self.same_basis(last, whole) and self.quarters(whole) == 4:
                state[f"{flow}_year"] = self.get(whole, flow)
            if last[2] != "FY":
                state[f"{flow}_to_date"] = self.get(last, flow)
        state["quarter"] = float(self.quarters(last) if last[2] == "FY" else int(last[2][0]))
        newest_row = self.books[last]["event_date"][1]
        state["lag"] = self.since(newest_row["event_date"])
        first = min(r["number"] for r in self.public if _has_actuals(r) and self.name(r) == last)
        state["since_actual"] = float(self.now - first)
        basis = self.get(last, "is_consolidated")
        state["is_consolidated"] = None if basis is None else float(basis)
        profit, shares = self.twelve(last, "profit"), self.get(last, "average_shares")
        shares = self.get(last, "shares") if shares is None else shares
        if profit is not None:
            counted = profit / shares if shares is not None and shares > 0 else None
            reported = self.get(last, "eps") if last[2] == "FY" else None
            state["eps_ttm"] = counted if reported is None else reported

    def _tell_forecasts(self, state: dict[str, Any], last: tuple[int, int, str] | None) -> None:
        if last:
            year = (last[0] + (last[2] == "FY"), last[1])
        else:
            speaking = [r for r in self.public if any(r[f"forecast_{n}"] for n in FORECASTS)]
            year = max(((r["fiscal_year_end"].year, r["fiscal_year_end"].month) for r in speaking),
                       default=(0, 0))  # fmt: skip
            if not speaking:
                return
        for prefix, target in (("forecast", year), ("next", (year[0] + 1, year[1]))):
            for number in ("sales", "operating_profit", "profit", "eps", "dividend"):
                said = []
                for row in self.ordered:
                    end = (row["fiscal_year_end"].year, row["fiscal_year_end"].month)
                    if end == target and row[f"forecast_{number}"] is not None:
                        said.append((row[f"forecast_{number}"], row))
                    if (end[0] + 1, end[1]) == target and row[f"next_{number}"] is not None:
                        said.append((row[f"next_{number}"], row))
                if said:
                    state[f"{prefix}_{number}"] = said[-1][0]
                if said and f"{prefix}_{number}_lag" in state:
                    state[f"{prefix}_{number}_lag"] = self.since(said[-1][1]["event_date"])
                if len(said) > 1 and f"{prefix}_{number}_before" in state:
                    state[f"{prefix}_{number}_before"] = said[-2][0]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_slow_loop_over_all_documents_gives_the_same(calendar: Calendar, seed: int) -> None:
    rows = random_rows(seed)
    slow = pl.DataFrame(
        slow_states(rows, calendar),
        schema={
            "symbol": pl.String,
            "event_date": pl.Date,
            **dict.fromkeys(STATEMENT_COLUMNS, pl.Float64),
        },
    ).sort("symbol", "event_date")
    states = statement_states(rows, calendar, len(calendar.sessions) - 1)
    states = states.sort("symbol", "event_date").select(slow.columns)

    assert states.height > 60
    for name in STATEMENT_COLUMNS:
        wrong = states[name].ne_missing(slow[name]).arg_true().to_list()
        assert not wrong, f"{name}: {states[wrong[0]].to_dicts()} {slow[wrong[0]].to_dicts()}"
        assert states[name].drop_nulls().len() > 0, f"{name} was never known"


@pytest.mark.parametrize("seed", SEEDS)
def test_what_comes_later_changes_no_state(calendar: Calendar, seed: int) -> None:
    rows = random_rows(seed)
    until = len(calendar.sessions) - 1
    whole = statement_states(rows, calendar, until)
    for instant in rows["available_at"].unique().sort()[::5]:
        known = rows.filter(pl.col("available_at") <= instant)
        cut = pl.col("available_at") <= instant
        then = statement_states(known, calendar, until).filter(cut)
        assert then.equals(whole.filter(cut))


def test_other_symbols_change_nothing(calendar: Calendar) -> None:
    rows = random_rows(1)
    until = len(calendar.sessions) - 1
    is_one = pl.col("symbol") == "2222"

    alone = statement_states(rows.filter(is_one), calendar, until)
    assert alone.equals(statement_states(rows, calendar, until).filter(is_one))


def test_no_documents_give_no_states(calendar: Calendar) -> None:
    states = statement_states(raw([]), calendar, 100)

    assert states.is_empty()
    assert set(STATEMENT_COLUMNS) <= set(states.columns)
