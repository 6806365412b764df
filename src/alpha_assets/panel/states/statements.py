"""What is known of a company's figures: the last actuals, those of a year before, forecasts.

Actuals come from statements, forecasts from any document.  The newest period counts, not the
newest document; of several documents about one period the one disclosed last, number by number.
Amounts are as reported, never restated for splits: a column `..._lag` counts the sessions
before the state the document stood, whose day's shares the number is in.
Shape letters: R documents' versions, K states, F flows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Array, Index, Mask
from alpha_assets.calendar import Calendar
from alpha_assets.feeds.corporate import ACTUALS
from alpha_assets.panel.states.event_times import decision_stamps, session_numbers
from alpha_assets.panel.states.filing_history import (
    FOREVER,
    SPAN,
    History,
    history,
    running_max,
)

RANKS = {"1Q": 1, "2Q": 2, "3Q": 3, "4Q": 4, "5Q": 5, "FY": 6}
YEAR = RANKS["FY"]
MONTHS, QUARTER_MONTHS, QUARTERS = 12, 3, 4
FIRST_YEAR = 1900
ORDERS = 1 << 15  # codes of (fiscal year, period) of one symbol: twelve bits and three
NO_RANK = 7
LAST_MONTH = (1 << 12) - 1 - 2 * MONTHS  # leaves room for the years after

FLOWS = ("sales", "operating_profit", "profit")
STOCKS = ("total_assets", "equity", "cash", "shares")
EXPECTED = ("sales", "operating_profit", "profit", "eps", "dividend")
NUMBERS = (
    *FLOWS,
    "operating_cash_flow",
    *STOCKS,
    "bps",
    "dividend",
    "eps",
    "average_shares",
    "start",
    "basis",
    "reported",
)

_FLOW_NAMES = {"sales": "sales", "operating_profit": "operating profit", "profit": "profit"}
_EXPECTED_NAMES = {
    **{name: f"{about}, money" for name, about in _FLOW_NAMES.items()},
    "eps": "earnings a share of the document's day, money",
    "dividend": "dividend a share of the document's day, money",
}
STATEMENT_COLUMNS = {
    **{f"{n}_quarter": f"{a} of the last quarter, money" for n, a in _FLOW_NAMES.items()},
    **{f"{n}_ttm": f"{a} of the last twelve months, money" for n, a in _FLOW_NAMES.items()},
    "operating_cash_flow_ttm": "cash flow from operations, last twelve months reported, money",
    **{f"{n}_quarter_year_ago": f"{a}, same quarter a year ago" for n, a in _FLOW_NAMES.items()},
    **{f"{n}_ttm_year_ago": f"{a}, twelve months a year ago" for n, a in _FLOW_NAMES.items()},
    "operating_cash_flow_ttm_year_ago": "cash flow from operations, twelve months a year ago",
    **{
        f"{n}_quarter_before": f"{a} of the quarter before the last" for n, a in _FLOW_NAMES.items()
    },
    **{f"{n}_year": f"{a} of the last whole fiscal year, money" for n, a in _FLOW_NAMES.items()},
    **{
        f"{n}_to_date": f"{a} of the current fiscal year so far, money; none before its first"
        for n, a in _FLOW_NAMES.items()
    },
    "quarter": "quarter of the fiscal year that the last actuals end: 1 to 4",
    "total_assets": "last reported, money",
    "equity": "last reported, money",
    "cash": "last reported, money",
    "shares": "outstanding less treasury shares, last reported, shares of the document's day",
    "total_assets_year_ago": "a year before the last reported, money",
    "equity_year_ago": "a year before the last reported, money",
    "cash_year_ago": "a year before the last reported, money",
    "bps": "book value a share, last reported, of the document's day",
    "dividend": "dividend a share of the last year reported, of the document's day",
    "eps_ttm": "earnings a share of the last twelve months, of the last actuals' day",
    **{f"forecast_{n}": f"{a}; forecast of this fiscal year" for n, a in _EXPECTED_NAMES.items()},
    **{
        f"forecast_{n}_before": f"{a}, money; the forecast of this year before the latest"
        for n, a in _FLOW_NAMES.items()
    },
    **{f"next_{n}": f"{a}; forecast of the next fiscal year" for n, a in _EXPECTED_NAMES.items()},
    "lag": "sessions from the day of the last actuals to this state",
    **{
        f"{n}_lag": f"sessions from the day of `{n}` to this state"
        for n in (
            "shares",
            "bps",
            "dividend",
            "forecast_eps",
            "forecast_dividend",
            "next_eps",
            "next_dividend",
        )
    },
    "since_actual": "sessions from the first report of the last actuals to this state",
    "is_consolidated": "1 where the last actuals are the group's, 0 the parent's alone",
    "is_forecast_only": "1 where nothing but forecasts became known with this state",
}


def statement_states(rows: pl.DataFrame, calendar: Calendar, until: int) -> pl.DataFrame:
    """Return what is known of each symbol at each session at which a document became known."""
    versions = _versions(rows, calendar)
    states = versions.group_by("symbol", "code", "start").agg(
        (~pl.col("is_statement")).all().cast(pl.Float64).alias("is_forecast_only")
    )
    states = states.sort("code", "start")
    symbol_K, number_K = states["code"].to_numpy(), states["start"].to_numpy()
    actuals = _actuals(versions)
    order_K = actuals.latest("reported", symbol_K, number_K)
    made = _of_last_actuals(actuals, _Period.of(symbol_K, order_K, number_K))
    for name in (*STOCKS, "bps", "dividend"):
        made |= _of_last_stock(actuals, name, symbol_K, number_K)
    made |= _forecasts(versions, symbol_K, number_K, order_K)
    made["is_forecast_only"] = states["is_forecast_only"].to_numpy()
    return states.select(
        "symbol", *(pl.Series(name, made[name]).fill_nan(None) for name in STATEMENT_COLUMNS)
    ).with_columns(decision_stamps(number_K, calendar))


@dataclass(frozen=True, eq=False)
class _Period:
    """A fiscal period of each symbol, seen from a session; a year of 0 stands for none."""

    symbol_K: Index
    year_K: Index  # month in which the fiscal year ends, from January of FIRST_YEAR
    rank_K: Index
    number_K: Index

    @classmethod
    def of(cls, symbol_K: Index, order_K: Index, number_K: Index) -> "_Period":
        return cls(symbol_K, order_K >> 3, order_K & 7, number_K)

    def year_before(self, rank: int | None = None) -> "_Period":
        """Return the same period (or another one) of the fiscal year before."""
        ranks = self.rank_K if rank is None else np.full_like(self.rank_K, rank)
        return replace(self, year_K=self.year_K - MONTHS, rank_K=ranks)


@dataclass(frozen=True, eq=False)
class _Figures:
    """Numbers of documents' versions, and which of them each group has at each moment."""

    names: tuple[str, ...]
    value_RC: Array  # a row of NaN stands last
    day_R: Array  # session of the disclosure; NaN stands last
    past: History

    def at(self, period: _Period) -> Index:
        """Return the place of each period in the history."""
        known_K = (period.year_K > 0) & (period.rank_K > 0)
        group_K = period.symbol_K * ORDERS + (period.year_K << 3) + period.rank_K
        return np.where(known_K, self.past.find(np.where(known_K, group_K, 0), period.number_K), -1)

    def value(self, at_K: Index, name: str) -> Array:
        c = self.names.index(name)
        return np.asarray(self.value_RC[self.past.source_TC[at_K, c], c])

    def before(self, at_K: Index, name: str) -> Array:
        c = self.names.index(name)
        return np.asarray(self.value_RC[self.past.before_TC[at_K, c], c])

    def day(self, at_K: Index, name: str) -> Array:
        return np.asarray(self.day_R[self.past.source_TC[at_K, self.names.index(name)]])

    def latest(self, name: str, symbol_K: Index, number_K: Index) -> Index:
        """Return the code of the newest period for which a number was reported; 0 without."""
        group_T, moment_T = np.divmod(self.past.key_T, SPAN)
        is_reported_T = self.past.source_TC[:-1, self.names.index(name)] >= 0
        order_T = np.where(is_reported_T, group_T % ORDERS, 0)
        return running_max(group_T // ORDERS, moment_T, order_T, symbol_K, number_K)

    def quarters(self, at_K: Index, year_K: Index) -> Array:
        """Return how many quarters the fiscal year has; 4 where its start is not given."""
        months_K = year_K - self.value(at_K, "start") + 1
        return np.where(np.isnan(months_K), QUARTERS, np.rint(months_K / QUARTER_MONTHS))

    def agree(self, a_K: Index, b_K: Index, *names: str) -> Mask:
        """Return where two periods do not contradict each other."""
        agreed_K = np.ones(len(a_K), dtype=bool)
        for name in names or ("basis",):
            agreed_K &= ~(np.abs(self.value(a_K, name) - self.value(b_K, name)) > 0)
        return agreed_K


def _versions(rows: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Return the documents' versions, the strongest last, with what the rest needs of them."""
    days = np.searchsorted(calendar.sessions, rows["event_date"].to_numpy())
    key = ["symbol", "event_date", "document"]
    version = ["available_at", "revision"]
    symbols = rows["symbol"].unique().sort()
    actuals = pl.any_horizontal(pl.col(name).is_not_null() for name in ACTUALS)
    return (
        rows.with_columns(
            rows["symbol"].cast(pl.Enum(symbols)).to_physical().cast(pl.Int64).alias("code"),
            pl.Series("start", session_numbers(rows, calendar)),
            pl.Series("day", days.astype(np.float64)),
            _month("fiscal_year_end").clip(0, LAST_MONTH).alias("year"),
            _month("fiscal_year_start").cast(pl.Float64).alias("first_month"),
            pl.col("period").replace_strict(RANKS, default=0, return_dtype=pl.Int64).alias("rank"),
            (actuals & ~pl.col("kind").str.contains("Revision")).alias("is_statement"),
            (pl.col("shares_outstanding") - pl.col("treasury_shares").fill_null(0.0)).alias(
                "shares"
            ),
            pl.col("is_consolidated").cast(pl.Float64).alias("basis"),
            pl.lit(1.0).alias("reported"),
        )
        .sort(*key, *version)
        .with_columns(pl.col("start").shift(-1).over(key).fill_null(FOREVER).alias("stop"))
        .sort("symbol", "event_date", "disclosed_at", "document", *version)
    )


def _month(name: str) -> pl.Expr:
    day = pl.col(name)
    return (day.dt.year().cast(pl.Int64) - FIRST_YEAR) * MONTHS + day.dt.month().cast(pl.Int64) - 1


def _numbers(frame: pl.DataFrame, names: Sequence[str]) -> Array:
    """Return columns as an array [R, C], NaN where null."""
    wanted = frame.select(pl.col(name).cast(pl.Float64).fill_null(np.nan) for name in names)
    return wanted.to_numpy().reshape(frame.height, len(names))


def _figures(
    frame: pl.DataFrame, group_R: Index, names: Sequence[str], value_RC: Array
) -> _Figures:
    start_R, stop_R = frame["start"].to_numpy(), frame["stop"].to_numpy()
    return _Figures(
        names=tuple(names),
        value_RC=np.vstack([value_RC, np.full(len(names), np.nan)]),
        day_R=np.append(frame["day"].to_numpy(), np.nan),
        past=history(group_R, start_R, stop_R, ~np.isnan(value_RC)),
    )


def _actuals(versions: pl.DataFrame) -> _Figures:
    """Return what statements say of each symbol's fiscal periods."""
    frame = versions.filter("is_statement", pl.col("rank") > 0)
    value_RC = _numbers(frame, [{"start": "first_month"}.get(name, name) for name in NUMBERS])
    group_R = frame.select(pl.col("code") * ORDERS + pl.col("year") * 8 + pl.col("rank"))
    return _figures(frame, group_R.to_series().to_numpy(), NUMBERS, value_RC)


def _flows(
    actuals: _Figures, period: _Period, names: Sequence[str]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return single quarters and sums of four quarters that end with a period.

    Flows are reported as sums from the start of the fiscal year.
    """
    here = actuals.at(period)
    quarters_K = actuals.quarters(here, period.year_K)
    is_year_K = period.rank_K == YEAR
    before = _quarter_before(period, quarters_K)
    begun, start = before.rank_K == 0, actuals.at(before)
    whole, same = actuals.at(period.year_before(YEAR)), actuals.at(period.year_before())
    is_whole = actuals.quarters(whole, period.year_K - MONTHS) == QUARTERS
    joined = actuals.agree(here, start, "basis", "start")
    alike = actuals.agree(here, whole) & actuals.agree(here, same) & is_whole
    quarter, year = {}, {}
    for name in names:
        so_far = actuals.value(here, name)
        earlier = np.where(begun, 0.0, actuals.value(start, name))
        quarter[name] = np.where(joined, so_far - earlier, np.nan)
        rolled = actuals.value(whole, name) + so_far - actuals.value(same, name)
        complete = np.where(quarters_K == QUARTERS, so_far, np.nan)
        year[name] = np.where(is_year_K, complete, np.where(alike, rolled, np.nan))
    return quarter, year


def _quarter_before(period: _Period, quarters_K: Array) -> _Period:
    """Return the period of the same fiscal year that ends a quarter before; rank 0 is its start."""
    last_K = np.where((quarters_K >= 1) & (quarters_K < YEAR), quarters_K - 1, NO_RANK)
    rank_K = np.where(period.rank_K == YEAR, last_K.astype(np.int64), period.rank_K - 1)
    return replace(period, rank_K=np.maximum(rank_K, 0))


def _of_last_actuals(actuals: _Figures, period: _Period) -> dict[str, Array]:
    here, ago = actuals.at(period), actuals.at(period.year_before())
    quarter, year = _flows(actuals, period, FLOWS)
    quarter_ago, year_ago = _flows(actuals, period.year_before(), FLOWS)
    alike = actuals.agree(here, ago)
    made = {f"{name}_quarter": quarter[name] for name in FLOWS}
    made |= {f"{name}_ttm": year[name] for name in FLOWS}
    made |= {f"{n}_quarter_year_ago": np.where(alike, quarter_ago[n], np.nan) for n in FLOWS}
    made |= {f"{n}_ttm_year_ago": np.where(alike, year_ago[n], np.nan) for n in FLOWS}
    made |= _of_quarter_before(actuals, period, here)
    made |= _of_fiscal_year(actuals, period, here)
    made |= _cash_flow(actuals, period)
    # Shares of the period bring the money of four quarters onto the basis of the last one.
    average = actuals.value(here, "average_shares")
    average = np.where(np.isnan(average), actuals.value(here, "shares"), average)
    reported = np.where(period.rank_K == YEAR, actuals.value(here, "eps"), np.nan)
    reported = np.where(np.isnan(year["profit"]), np.nan, reported)
    with np.errstate(divide="ignore", invalid="ignore"):
        counted = np.where(average > 0, year["profit"] / average, np.nan)
    made["eps_ttm"] = np.where(np.isnan(reported), counted, reported)
    group_K = period.symbol_K * ORDERS + (period.year_K << 3) + period.rank_K
    made["since_actual"] = np.where(
        here >= 0, period.number_K - actuals.past.since(group_K), np.nan
    )
    made["lag"] = period.number_K - actuals.day(here, "reported")
    made["is_consolidated"] = actuals.value(here, "basis")
    return made


def _of_quarter_before(actuals: _Figures, period: _Period, here: Index) -> dict[str, Array]:
    """Return the flows of the quarter before the last."""
    before = _quarter_before(period, actuals.quarters(here, period.year_K))
    is_first_K = before.rank_K == 0
    before = replace(
        before,
        year_K=np.where(is_first_K, period.year_K - MONTHS, period.year_K),
        rank_K=np.where(is_first_K, YEAR, before.rank_K),
    )
    quarter, _ = _flows(actuals, before, FLOWS)
    alike = actuals.agree(here, actuals.at(before))
    return {f"{n}_quarter_before": np.where(alike, quarter[n], np.nan) for n in FLOWS}


def _of_fiscal_year(actuals: _Figures, period: _Period, here: Index) -> dict[str, Array]:
    """Return the last whole fiscal year, the sums of the one that runs, and its quarter."""
    is_year_K = period.rank_K == YEAR
    year_K = np.where(is_year_K, period.year_K, period.year_K - MONTHS)
    whole = actuals.at(replace(period, year_K=year_K, rank_K=np.full_like(period.rank_K, YEAR)))
    counts = (actuals.quarters(whole, year_K) == QUARTERS) & actuals.agree(here, whole)
    made = {f"{n}_year": np.where(counts, actuals.value(whole, n), np.nan) for n in FLOWS}
    for name in FLOWS:
        made[f"{name}_to_date"] = np.where(is_year_K, np.nan, actuals.value(here, name))
    ended = actuals.quarters(here, period.year_K)
    made["quarter"] = np.where(here >= 0, np.where(is_year_K, ended, period.rank_K), np.nan)
    return made


def _cash_flow(actuals: _Figures, period: _Period) -> dict[str, Array]:
    """Return the cash flow of twelve months; not every quarter reports one."""
    name = "operating_cash_flow"
    order_K = actuals.latest(name, period.symbol_K, period.number_K)
    last = _Period.of(period.symbol_K, order_K, period.number_K)
    alike = actuals.agree(actuals.at(last), actuals.at(last.year_before()))
    _, year = _flows(actuals, last, [name])
    _, ago = _flows(actuals, last.year_before(), [name])
    return {
        f"{name}_ttm": year[name],
        f"{name}_ttm_year_ago": np.where(alike, ago[name], np.nan),
    }


def _of_last_stock(
    actuals: _Figures, name: str, symbol_K: Index, number_K: Index
) -> dict[str, Array]:
    """Return the last report of a number that not every period has, and that of a year before."""
    order_K = actuals.latest(name, symbol_K, number_K)
    period = _Period.of(symbol_K, order_K, number_K)
    here, ago = actuals.at(period), actuals.at(period.year_before())
    made = {name: actuals.value(here, name), f"{name}_lag": number_K - actuals.day(here, name)}
    alike = actuals.agree(here, ago)
    made[f"{name}_year_ago"] = np.where(alike, actuals.value(ago, name), np.nan)
    return made


def _forecasts(
    versions: pl.DataFrame, symbol_K: Index, number_K: Index, order_K: Index
) -> dict[str, Array]:
    """Return the forecasts of the first fiscal year without an actual, and of the one after."""
    prefixes = ("forecast", "next")
    # Two rows a document, for the two years that it speaks of, in the order of the documents.
    value_RC = np.stack(
        [_numbers(versions, [f"{p}_{name}" for name in EXPECTED]) for p in prefixes], axis=1
    ).reshape(2 * versions.height, len(EXPECTED))
    frame = versions.select("code", "start", "stop", "day", "year")
    frame = frame[np.repeat(np.arange(versions.height), 2)]
    shift = np.tile(np.array([0, MONTHS]), versions.height)
    speaks = ~np.isnan(value_RC).all(axis=1)
    frame, value_RC = frame.filter(pl.Series(speaks)), value_RC[speaks]
    year_R = frame["year"].to_numpy() + shift[speaks]
    code_R = frame["code"].to_numpy()
    expected = _figures(frame, code_R * ORDERS + year_R * 8 + YEAR, EXPECTED, value_RC)

    of_this_R = shift[speaks] == 0
    named_K = running_max(
        code_R[of_this_R],
        frame["start"].to_numpy()[of_this_R],
        year_R[of_this_R],
        symbol_K,
        number_K,
    )
    reported_K = (order_K >> 3) + np.where(order_K & 7 == YEAR, MONTHS, 0)
    year_K = np.where(order_K > 0, reported_K, named_K)
    made: dict[str, Array] = {}
    for prefix, ahead in zip(prefixes, (0, MONTHS), strict=True):
        at = _Period(
            symbol_K,
            np.where(year_K > 0, year_K + ahead, 0),
            np.full_like(year_K, YEAR),
            number_K,
        )
        here = expected.at(at)
        for name in EXPECTED:
            made[f"{prefix}_{name}"] = expected.value(here, name)
            made[f"{prefix}_{name}_lag"] = number_K - expected.day(here, name)
            made[f"{prefix}_{name}_before"] = expected.before(here, name)
    return made
