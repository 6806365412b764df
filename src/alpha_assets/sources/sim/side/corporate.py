"""Statements, forecasts, dates of reports and news, revealing two hidden states.

a quarter's sales and profits are those of a year before, times 1 + .25 · u (profits) and
1 + .08 · u (sales);  u is the surprise that `statements` takes at the report
an article's embedding is  u · direction + noise of .05,  u the shock that `news` takes
"""

from datetime import date, time

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Array, Index
from alpha_assets.calendar import Calendar
from alpha_assets.feeds.base import INSTANT
from alpha_assets.feeds.corporate import ACTUALS, EMBEDDING, FORECASTS
from alpha_assets.sources.sim import draws, signal
from alpha_assets.sources.sim.market import SimMarket
from alpha_assets.sources.sim.roster import REPORT_EVERY
from alpha_assets.sources.sim.side.common import (
    codes,
    dates_of,
    hidden,
    out_by_now,
    shares_outstanding,
)

KEEP = {c.name: c.persistence for c in signal.LATENT}
SURPRISE = float(np.sqrt((1 - KEEP["statements"] ** 2) * REPORT_EVERY))  # sd at a report
SHOCK = float(np.sqrt((1 - KEEP["news"] ** 2) / signal.NEWS_RATE))  # sd at an article
PROFIT_PER_SURPRISE, SALES_PER_SURPRISE = 0.25, 0.08
EMBEDDING_NOISE = 0.05
GRAIN = 1024  # embeddings are whole multiples of 1 / GRAIN: they take less room
TWO_ARTICLES = 0.1  # of days with news
CORRECTED = 0.02  # of statements
NEXT_YEAR_EARLY = 0.3  # of reports on three quarters, with a forecast of the year after
REVISED_FORECAST = 0.2  # of reports, followed by a new forecast
ANNOUNCED_BEFORE, MOVED_BEFORE, MOVED = 15, 5, 0.1  # sessions, sessions, share
TIMES = ("12:30:00", "15:30:00", "16:00:00")
QUARTERS = ("1Q", "2Q", "3Q", "FY")
_EVENING, _MORNING = time(16, 30), time(7, 45)
MORNING_MINUTES = 15  # of 300: the share of articles that come in the morning


def surprises(market: SimMarket) -> Array:
    """Return what `statements` took at each session, in standard deviations, [D, N]."""
    g_DN = np.nan_to_num(hidden(market, "statements"))
    before_DN = np.vstack([np.zeros_like(g_DN[:1]), g_DN[:-1]])
    return np.clip((g_DN - KEEP["statements"] * before_DN) / SURPRISE, -2.5, 2.5)


def report_sessions(market: SimMarket, symbol: int) -> Index:
    """Return the numbers of the sessions at which a symbol reports."""
    roster = market.roster
    first, last = int(roster.start[symbol]), min(int(roster.end[symbol]), len(market.sessions) - 1)
    number = np.arange(first, last + 1)
    return np.asarray(number[number % REPORT_EVERY == roster.report_phase[symbol]])


def statements(market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return every document, with forecasts, revisions of forecasts and corrections."""
    u_DN, shares_DN = surprises(market), shares_outstanding(market)
    rows: list[dict[str, object]] = []
    for symbol in range(len(market.roster)):
        rows += _Company(market, symbol, u_DN[:, symbol], shares_DN[:, symbol]).documents()
    schema = {
        "event_date": pl.Date,
        "symbol": pl.String,
        "document": pl.String,
        "disclosed_at": pl.String,
        "kind": pl.String,
        "period": pl.String,
        "period_start": pl.Date,
        "period_end": pl.Date,
        "fiscal_year_start": pl.Date,
        "fiscal_year_end": pl.Date,
        "is_consolidated": pl.Boolean,
        **dict.fromkeys(ACTUALS, pl.Float64),
        **dict.fromkeys([f"{p}_{n}" for p in ("forecast", "next") for n in FORECASTS], pl.Float64),
        "lag": pl.Int64,
        "revision": pl.Int16,
    }
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return _stamped(frame, market, calendar)


def _stamped(frame: pl.DataFrame, market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return the documents with the stamps of those that correct others."""
    days = frame["event_date"].to_numpy()
    late = frame["revision"].to_numpy() > 0
    due = calendar.after(days, 5) if len(days) else days
    stamp = pl.Series("available_at", calendar.instant(due, _EVENING)).dt.replace_time_zone("UTC")
    rows = (
        frame.drop("lag")
        .with_columns(stamp.cast(INSTANT).set(pl.Series(~late), None))
        .sort("event_date", "symbol", "document", "revision")
    )
    return out_by_now(rows, "statements", market, calendar)


GOLDEN = 0.618034  # multiples of it spread evenly over the unit interval


class _Company:
    """One symbol's quarters, from the first report to the last."""

    def __init__(self, market: SimMarket, symbol: int, u_D: Array, shares_D: Array) -> None:
        self.market, self.symbol, self.u_D, self.shares_D = market, symbol, u_D, shares_D
        self.draws = draws.stream(market.spec.seed, draws.Purpose.STATEMENTS, symbol)
        roster = market.roster
        self.capital = float(roster.price[symbol] * roster.shares[symbol])
        self.code = roster.code[symbol]
        yearly = self.capital * (0.5 + self.draws.random())
        season = 1 + 0.1 * self.draws.standard_normal(4)
        self.margin = 0.04 + 0.08 * self.draws.random()
        self.sales_4 = yearly / 4 * season
        self.profit_4 = self.sales_4 * self.margin
        self.equity = self.capital * (0.5 + self.draws.random())
        # Spread evenly over the companies, without a draw.
        self.equity_share = 0.25 + 0.4 * (symbol * GOLDEN % 1)
        self.cash_share = 0.05 + 0.15 * (symbol * GOLDEN**2 % 1)
        self.is_group = bool(self.draws.random() < 0.9)
        self.pays = float(roster.dividend_yield[symbol] * roster.price[symbol])
        self.sold, self.earned, self.share_sum = [0.0] * 4, [0.0] * 4, 0.0

    def documents(self) -> list[dict[str, object]]:
        """Return the rows of all documents in the order of their disclosure."""
        rows: list[dict[str, object]] = []
        for nth, number in enumerate(report_sessions(self.market, self.symbol).tolist()):
            # Drawn whatever happens, so that a market that ends later draws the same.
            u = self.draws.random(6)
            rows += self._report(nth, number, u)
        return rows

    def _report(self, nth: int, number: int, u: Array) -> list[dict[str, object]]:
        if nth == 0:
            self.first_end = _quarter_end_before(
                self.market.sessions[number], int(self.market.roster.fiscal_month[self.symbol])
            )
        end_month = self.first_end + np.timedelta64(3 * nth, "M")
        fiscal = int(self.market.roster.fiscal_month[self.symbol])
        quarter = ((int(end_month.astype(np.int64)) % 12 + 1 - fiscal) // 3 - 1) % 4
        surprise = float(self.u_D[number])
        self.sales_4[quarter] *= 1 + SALES_PER_SURPRISE * surprise
        self.profit_4[quarter] *= 1 + PROFIT_PER_SURPRISE * surprise
        self.profit_4[quarter] = max(self.profit_4[quarter], 0.005 * self.sales_4[quarter])
        self.equity += 0.7 * self.profit_4[quarter]
        if quarter == 0 or nth == 0:
            self.sold, self.earned = [0.0] * 4, [0.0] * 4
        self.sold[quarter], self.earned[quarter] = self.sales_4[quarter], self.profit_4[quarter]
        base = self._base(number, end_month, quarter, TIMES[int(u[0] * len(TIMES))])
        whole = {**base, **self._actuals(number, quarter), **self._forecasts(number, quarter, u[1])}
        if quarter == 2 and u[5] < NEXT_YEAR_EARLY:
            whole |= self._forecasts(number, 3, u[5])
        if nth == 0 and quarter != 0:
            # Without the quarters before, the year so far is not known: only what stands.
            whole |= dict.fromkeys(("sales", "operating_profit", "ordinary_profit", "profit", "eps",
                                    "diluted_eps", "operating_cash_flow", "investing_cash_flow",
                                    "financing_cash_flow"))  # fmt: skip
            self.sold, self.earned = [0.0] * 4, [0.0] * 4
        rows = [whole]
        if u[2] < CORRECTED and whole["profit"] is not None:
            right = {**whole, "revision": 1, "cash": round(1.01 * float(str(whole["cash"])))}
            rows.append(right)
        later = number + REPORT_EVERY // 2
        last = min(len(self.market.sessions) - 1, int(self.market.roster.end[self.symbol]))
        if u[3] < REVISED_FORECAST and quarter != 3 and later <= last:
            change = self._base(later, end_month, quarter, TIMES[1])
            forecast = self._forecasts(later, quarter, u[4])
            kind = {"kind": "EarnForecastRevision", "document": f"{change['document']}R"}
            rows.append({**change, **kind, **forecast, "is_consolidated": None})
        return rows

    def _base(
        self, number: int, end_month: np.datetime64, quarter: int, at: str
    ) -> dict[str, object]:
        day = self.market.sessions[number]
        first = end_month - np.timedelta64(3 * (quarter + 1) - 1, "M")
        last = end_month + np.timedelta64(3 * (3 - quarter), "M")
        who = "Consolidated" if self.is_group else "NonConsolidated"
        return {
            "event_date": _date(day),
            "symbol": self.code,
            "document": f"{str(day).replace('-', '')}5{self.symbol:05d}",
            "disclosed_at": at,
            "kind": f"{QUARTERS[quarter]}FinancialStatements_{who}_JP",
            "period": QUARTERS[quarter],
            "period_start": _first(first),
            "period_end": _last(end_month),
            "fiscal_year_start": _first(first),
            "fiscal_year_end": _last(last),
            "is_consolidated": self.is_group,
            "lag": 0,
            "revision": 0,
        }

    def _actuals(self, number: int, quarter: int) -> dict[str, float | None]:
        sales, profit = sum(self.sold[: quarter + 1]), sum(self.earned[: quarter + 1])
        shares = float(self.shares_D[number])
        assets = self.equity / self.equity_share
        is_year = quarter == 3
        made: dict[str, float | None] = {
            "sales": round(sales),
            "operating_profit": round(1.5 * profit),
            "ordinary_profit": round(1.45 * profit),
            "profit": round(profit),
            "eps": round(profit / shares, 2),
            "diluted_eps": round(0.99 * profit / shares, 2),
            "total_assets": round(assets),
            "equity": round(self.equity),
            "equity_ratio": round(self.equity / assets, 3),
            "bps": round(self.equity / shares, 2),
            "cash": round(self.cash_share * assets),
            "shares_outstanding": round(shares / 0.98),
            "treasury_shares": round(shares / 0.98 - shares),
            "average_shares": round(shares),
        }
        if quarter in (1, 3):
            made |= {
                "operating_cash_flow": round(1.3 * profit),
                "investing_cash_flow": round(-0.6 * profit),
                "financing_cash_flow": round(-0.3 * profit),
            }
        if is_year:
            made |= {"dividend": round(self.pays, 1), "payout_ratio": 0.3}
        return made

    def _forecasts(self, number: int, quarter: int, u: float) -> dict[str, float | None]:
        shares = float(self.shares_D[number])
        words = (1 + 0.04 * (u - 0.5)) * np.array(
            [self.sales_4.sum(), 1.5 * self.profit_4.sum(), 1.45 * self.profit_4.sum(),
             self.profit_4.sum()]
        )  # fmt: skip
        made = {
            "sales": round(float(words[0])),
            "operating_profit": round(float(words[1])),
            "ordinary_profit": round(float(words[2])),
            "profit": round(float(words[3])),
            "eps": round(float(words[3]) / shares, 2),
            "dividend": round(self.pays, 1),
        }
        prefix = "next" if quarter == 3 else "forecast"
        return {f"{prefix}_{name}": value for name, value in made.items()}


def earnings_dates(market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return when each report was announced; some dates move, some are undecided at first."""
    rows: list[tuple[object, ...]] = []
    for symbol in range(len(market.roster)):
        draw = draws.stream(market.spec.seed, draws.Purpose.STATEMENTS, 1_000_000 + symbol)
        fiscal = int(market.roster.fiscal_month[symbol])
        first_end: np.datetime64 | None = None
        phase = int(market.roster.report_phase[symbol])
        start, end = int(market.roster.start[symbol]), int(market.roster.end[symbol])
        # The next report after the market's end is announced, too.
        for number in range(phase, len(market.sessions) + REPORT_EVERY, REPORT_EVERY):
            u = draw.random(2)
            if number < start or number > end:
                continue
            day = _session(market, calendar, number)
            first_end = _quarter_end_before(day, fiscal) if first_end is None else first_end
            end_month = first_end + np.timedelta64(3 * ((number - start) // REPORT_EVERY), "M")
            quarter = ((int(end_month.astype(np.int64)) % 12 + 1 - fiscal) // 3 - 1) % 4
            name = (market.roster.code[symbol], QUARTERS[quarter], _year_end(fiscal))
            announced = max(number - ANNOUNCED_BEFORE, start)
            moves = u[0] < MOVED
            wrong = None if u[1] < 0.3 else _date(_session(market, calendar, number + 2))
            if announced < len(market.sessions):
                scheduled = wrong if moves else _date(day)
                rows.append((_date(market.sessions[announced]), *name, scheduled))
            moved = number - MOVED_BEFORE
            if moves and announced < moved < len(market.sessions):
                rows.append((_date(market.sessions[moved]), *name, _date(day)))
    schema = {
        "event_date": pl.Date,
        "symbol": pl.String,
        "period": pl.String,
        "fiscal_year_end": pl.String,
        "scheduled": pl.Date,
    }
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    frame = frame.unique(["event_date", "symbol", "period", "fiscal_year_end"], keep="last")
    return frame.sort("event_date", "symbol", "period", "fiscal_year_end")


def news(market: SimMarket, calendar: Calendar) -> pl.DataFrame:
    """Return the articles of each evening, with their embeddings."""
    g_DN = hidden(market, "news")
    direction = draws.stream(market.spec.seed, draws.Purpose.NEWS, 0).standard_normal(EMBEDDING)
    direction /= np.sqrt((direction**2).sum())
    days, symbols, articles, embeddings, minutes = [], [], [], [], []
    for number, day in enumerate(market.sessions.astype(np.int64).tolist()):
        if number == 0:
            continue
        shock_N = g_DN[number] - KEEP["news"] * g_DN[number - 1]
        # States that took no shock moved alike: by what all of them are centred with.
        shock_N = shock_N - np.nanmedian(shock_N) if (~np.isnan(shock_N)).any() else shock_N
        reported = np.flatnonzero(np.abs(np.nan_to_num(shock_N)) > 0.01)
        draw = draws.stream(market.spec.seed, draws.Purpose.NEWS, day)
        count = 1 + (draw.random(len(reported)) < TWO_ARTICLES)
        symbol = np.repeat(reported, count)
        first = np.append(True, symbol[1:] != symbol[:-1])[: len(symbol)]
        noise = draw.standard_normal((len(symbol), EMBEDDING)) * EMBEDDING_NOISE
        vectors = np.outer(shock_N[symbol] / SHOCK, direction) + noise
        embeddings.append((np.rint(vectors * GRAIN) / GRAIN).astype(np.float32))
        days.append(np.full(len(symbol), number))
        symbols.append(symbol)
        articles.append(np.where(first, 1, 2))
        minutes.append(np.floor(draw.random(len(symbol)) * 300).astype(np.int64))
    session = np.concatenate([[], *days]).astype(np.int64)
    symbol = np.concatenate([[], *symbols]).astype(np.int64)
    late = np.concatenate([[], *minutes]).astype(np.int64)
    evening = calendar.instant(dates_of(market, session), _EVENING) + late.astype("timedelta64[m]")
    # A few are out only on the next session's morning, within the hour before its decision.
    morning = calendar.instant(calendar.after(dates_of(market, session), 1), _MORNING)
    stamp = np.where(late < MORNING_MINUTES, morning, evening)
    vector = np.concatenate([np.empty((0, EMBEDDING), dtype=np.float32), *embeddings])
    rows = pl.DataFrame(
        {
            "event_date": dates_of(market, session),
            "symbol": codes(market, symbol),
            "article": [f"{n:d}" for n in np.concatenate([[], *articles]).astype(int).tolist()],
            "embedding": pl.Series(vector, dtype=pl.Array(pl.Float32, EMBEDDING)),
            "available_at": pl.Series(stamp.astype("datetime64[us]"))
            .dt.replace_time_zone("UTC")
            .cast(INSTANT),
        }
    ).sort("event_date", "symbol", "article")
    return out_by_now(rows, "news", market, calendar)


def _session(market: SimMarket, calendar: Calendar, number: int) -> np.datetime64:
    first = int(calendar.index_of(market.sessions[0]))
    return np.datetime64(calendar.sessions[min(first + number, len(calendar.sessions) - 1)], "D")


def _quarter_end_before(day: np.datetime64, fiscal_month: int) -> np.datetime64:
    """Return the last month of the latest fiscal quarter that ended 30 days before or earlier."""
    month = (day - np.timedelta64(30, "D")).astype("datetime64[M]") - np.timedelta64(1, "M")
    behind = (int(month.astype(np.int64)) % 12 + 1 - fiscal_month) % 3
    return np.datetime64(month - np.timedelta64(behind, "M"), "M")


def _date(day: np.datetime64) -> date:
    found = day.astype("datetime64[D]").item()
    assert isinstance(found, date)
    return found


def _first(month: np.datetime64) -> date:
    return _date(month.astype("datetime64[D]"))


def _last(month: np.datetime64) -> date:
    return _date((month + np.timedelta64(1, "M")).astype("datetime64[D]") - np.timedelta64(1, "D"))


def _year_end(fiscal_month: int) -> str:
    last = _last(np.datetime64("2023-01", "M") + np.timedelta64(fiscal_month - 1, "M"))
    return f"{last:%m%d}"
