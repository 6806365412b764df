"""A whole made-up run, small enough for tests and as long as one likes for a look in a browser."""

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from alpha_assets.evaluation.metrics import DataFacts, EvaluationInputs, evaluate
from alpha_assets.evaluation.regimes import volatility_regimes
from alpha_assets.evaluation.signal import Breakdowns
from alpha_assets.report.inputs import ReportInputs

HORIZON = 5
SECTORS = ("Banks", "Electric appliances", "Foods", "Machinery", "Retail", "Semiconductors")
COSTS = {"commission": 0.00002, "spread_cost": 0.00006, "impact_cost": 0.00004}


def weekdays(n: int) -> list[date]:
    days = (date(2021, 1, 4) + timedelta(days=k) for k in range(2 * n))
    return [day for day in days if day.weekday() < 5][:n]


def facts(simulated: bool, name: str) -> DataFacts:
    return DataFacts(
        market="sim" if simulated else "us",
        recipe=name,
        digest="3f9ac01b77de",
        data_hash="b1946ac92492d234",
        code_version="0.1.0",
        seed=7,
        source="sim" if simulated else "files",
        simulated=simulated,
        basis="price",
        price_level="raw",
        currency="JPY",
        feeds=("daily_bars", "listings", "trading_calendar"),
        feeds_off={"borrow": "not in the folder: the market's default fee is used"},
        sectors_static=True,
        notes=("Exit returns are those of the generator.",),
    )


def family(name: str, **said: object) -> dict[str, object]:
    whole: dict[str, object] = {
        "family": name,
        "expected": 6,
        "present": 6,
        "missing": [],
        "never": [],
        "off": [],
        "now": 0.987,
        "lowest_month": "2021-02",
        "lowest": 0.912,
        "first": "2021-01-05",
        "last": "2021-07-30",
        "feeds": ["daily_bars"],
        "silent": 0,
        "findings": [],
    }
    return {**whole, **said}


def feed(name: str, **said: object) -> dict[str, object]:
    stored: dict[str, object] = {
        "feed": name,
        "off": None,
        "rows": 22471,
        "keys": 33,
        "first": "2021-01-04",
        "last": "2021-07-29",
        "last_available": "2021-07-29T07:30:00+00:00",
        "corrections": 12,
        "silent": 0,
        "limit": 10,
        "is_late": False,
    }
    return {**stored, **said}


def coverage() -> dict[str, object]:
    """A family that is whole, one that is thin and late, one that is off."""
    why = "needs the feed 'option_summary', which is off: the folder has no option_summary.parquet"
    nothing = {"now": None, "lowest_month": None, "lowest": None, "first": None, "last": None}
    return {
        "frontier": "2021-08-02",
        "families": [
            family("price"),
            family(
                "sector_short",
                present=5,
                missing=["sector_short_rel_z_60"],
                now=0.4,
                lowest=0.4,
                lowest_month="2021-07",
                feeds=["sector_short_selling"],
                silent=31,
                never=["sector_short_ext_run"],
                findings=["the column sector_short_rel_z_60 is missing in 2021-07"],
            ),
            family(
                "iv",
                expected=0,
                present=0,
                off=[{"why": why, "features": ["iv_30", "iv_term_slope"]}],
                feeds=["option_summary"],
                silent=None,
                **nothing,
            ),
        ],
        "feeds": [
            feed("daily_bars", keys=300),
            feed("sector_short_selling", silent=31, is_late=True),
            feed("index_options", keys=None),
            feed("option_summary", off="the folder has no table", rows=0, keys=0),
        ],
    }


def capacity() -> dict[str, object]:
    """Three capitals with figures, and one that uses up its equity."""

    def point(capital: float, net: float) -> dict[str, object]:
        return {
            "capital": capital,
            "reason": None,
            "net": {"sharpe": net, "sharpe_se": 0.5, "annual_return": 0.1 * net, "reasons": {}},
            "gross": {"sharpe": 1.5},
            "cost_annual_return": 0.02,
            "trading_bps": 8.0,
            "break_even_bps": 12.0,
            "orders": {"n": 100, "n_unfinished": 4, "above_5pct": 0.2},
        }

    used_up = {"capital": 1e11, "orders": {"n": 0}, "reason": "the equity is used up at 2021-02-01"}
    return {
        "curve": [point(1e8, 1.2), point(1e9, 0.4), point(1e10, -0.8), used_up],
        "break_even_capital": 2.2e9,
        "reason": None,
    }


def made_up_run(
    n_sessions: int = 150,
    n_symbols: int = 60,
    *,
    simulated: bool = True,
    name: str = "rolling_transformer",
    skill: float = 0.08,
) -> ReportInputs:
    """A score that moves slowly, returns with `skill` in them, and books that follow."""
    rng = np.random.default_rng(3)
    total = n_sessions + HORIZON
    score_DN = np.zeros((total, n_symbols))
    for d in range(total):
        fresh_N = rng.standard_normal(n_symbols)
        score_DN[d] = 0.9 * score_DN[d - 1] + np.sqrt(1 - 0.81) * fresh_N if d else fresh_N
    market_D = 0.008 * rng.standard_t(5, total) * (1 + 0.6 * np.sin(np.arange(total) / 90))
    return_DN = market_D[:, None] + 0.015 * (skill * score_DN + rng.standard_normal(score_DN.shape))
    sessions, symbols = weekdays(n_sessions), [f"{1300 + k}" for k in range(n_symbols)]
    keys = {"session": np.repeat(np.array(sessions, "datetime64[D]"), n_symbols)}
    keys["symbol"] = symbols * n_sessions
    predictions = pl.DataFrame(keys).with_columns(
        horizon=pl.lit(HORIZON, pl.Int16), score=score_DN[:n_sessions].ravel().astype(np.float32)
    )
    running_DN = np.cumsum(np.log1p(np.clip(return_DN, -0.5, 1)), axis=0)
    labels = []
    for h in (1, 2, 5, 10, 20):
        label_DN = np.full((n_sessions, n_symbols), np.nan)
        known = min(n_sessions, total - h)
        label_DN[:known] = np.expm1(running_DN[h : h + known] - running_DN[:known])
        labels.append(
            pl.DataFrame(keys).with_columns(
                horizon=pl.lit(h, pl.Int16), label=pl.Series(label_DN.ravel()).fill_nan(None)
            )
        )
    weight_DN = (np.argsort(np.argsort(score_DN, axis=1), axis=1) / (n_symbols - 1) - 0.5) * 4
    weight_DN = np.where(np.abs(weight_DN) > 1.2, np.sign(weight_DN), 0)
    weight_DN /= np.abs(weight_DN).sum(axis=1, keepdims=True) / 2
    weight_DN = np.repeat(weight_DN[::5], 5, axis=0)[:total]
    traded_D = np.abs(np.diff(weight_DN, axis=0, prepend=0)).sum(axis=1)[:n_sessions]
    gross_D = (weight_DN * return_DN)[:n_sessions].sum(axis=1)
    rates = {part: cost / 0.0001 * 2e-4 for part, cost in COSTS.items()}
    borrow_D = np.full(n_sessions, 0.004 / 250)
    net_D = gross_D - traded_D * sum(rates.values()) - borrow_D
    equity_D = 1e9 * np.cumprod(1 + net_D)
    before_D = np.concatenate([[1e9], equity_D[:-1]])
    exposure_D = np.abs(weight_DN).sum(axis=1)[:n_sessions] + 0.02 * rng.standard_normal(n_sessions)
    daily = pl.DataFrame(
        {
            "session": sessions,
            "gross_return": gross_D,
            "net_return": net_D,
            "turnover": traded_D / 2,
            "gross_exposure": exposure_D,
            "net_exposure": 0.03 * rng.standard_normal(n_sessions),
            **{part: rate * traded_D * before_D for part, rate in rates.items()},
            "borrow_cost": borrow_D * before_D,
            "dividends": np.zeros(n_sessions),
            "cash_interest": np.zeros(n_sessions),
            "cash": equity_D,
            "equity": equity_D,
        }
    )
    trades = pl.DataFrame(
        {
            "session": sessions[::5],
            "symbol": [symbols[0]] * len(sessions[::5]),
            "notional": (traded_D * before_D)[::5],
            "reason": ["source_end"] + ["rebalance"] * (len(sessions[::5]) - 1),
        }
    )
    held = [(day, symbol) for day in sessions for symbol in symbols[:24]]
    positions = pl.DataFrame(held, schema=["session", "symbol"], orient="row").with_columns(
        shares=pl.when(pl.int_range(pl.len()) % 2 == 0).then(1.0).otherwise(-1.0)
    )
    names = predictions.select(
        "session",
        "symbol",
        sector=pl.col("symbol")
        .cast(pl.Int32)
        .mod(len(SECTORS))
        .replace_strict(dict(enumerate(SECTORS)), return_dtype=pl.String),
        size=pl.col("symbol").cast(pl.Float64),
    )
    market = pl.DataFrame({"session": sessions, "market_return": market_D[:n_sessions]})
    found = evaluate(
        EvaluationInputs(
            predictions=predictions,
            labels=pl.concat(labels),
            daily=daily,
            trades=trades,
            positions=positions,
            facts=facts(simulated, name),
            sessions_per_year=250.0,
            breakdowns=Breakdowns(names=names, regimes=volatility_regimes(market)),
            oracle={HORIZON: 1.9 * skill} if simulated else None,
        )
    )
    costs = found.metrics["costs"]
    assert isinstance(costs, dict)
    costs["capacity"] = capacity()
    months = sorted({f"{day:%Y-%m}" for day in sessions})
    checkpoints = pl.DataFrame(
        {
            "month": months,
            "status": ["complete"] * len(months),
            "epochs": rng.integers(2, 9, len(months)),
            "best_epoch": [2] * len(months),
            "unfinished_seeds": [0] * (len(months) - 1) + [1],
            "valid_rank_ic": rng.normal(1.5 * skill, 0.02, len(months)),
            "curve": [[0.01, 0.03, 0.02]] * len(months),
        }
    )
    about = "A small Transformer encoder on price features, retrained every month."
    command = f"alpha-assets run --recipe {name} --market sim --first-month 2021-01"
    return ReportInputs(found.metrics, daily, found.ic, about, checkpoints, coverage(), command)


@pytest.fixture(scope="session")
def make_run() -> Callable[..., ReportInputs]:
    return made_up_run


@pytest.fixture(scope="session")
def run() -> ReportInputs:
    return made_up_run()


@pytest.fixture(scope="session")
def empty_run(run: ReportInputs) -> ReportInputs:
    """A run that decided nothing."""
    nothing = run.daily.clear()
    found = evaluate(
        EvaluationInputs(
            predictions=pl.DataFrame(
                schema={
                    "session": pl.Date,
                    "symbol": pl.String,
                    "horizon": pl.Int16,
                    "score": pl.Float32,
                }
            ),
            labels=pl.DataFrame(
                schema={
                    "session": pl.Date,
                    "symbol": pl.String,
                    "horizon": pl.Int16,
                    "label": pl.Float64,
                }
            ),
            daily=nothing,
            trades=pl.DataFrame(schema={"notional": pl.Float64, "reason": pl.String}),
            positions=pl.DataFrame(schema={"session": pl.Date, "shares": pl.Float64}),
            facts=facts(True, "rolling_transformer"),
            sessions_per_year=250.0,
        )
    )
    return ReportInputs(found.metrics, nothing, found.ic)
