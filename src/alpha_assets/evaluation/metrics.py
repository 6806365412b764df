"""All figures of a run as one JSON document: `backtest/metrics.json`.

Keys are those of the design: `signal.h<h>.*`, `portfolio.{net,gross}.*`, `costs.*`, `span.*`,
`data.*`; break-downs are lists of records.  A figure that cannot be had is null and the
`reasons` (or `reason`) beside it says why.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import polars as pl

from alpha_assets.backtest.attribution import Attribution
from alpha_assets.backtest.books import OrderCounts
from alpha_assets.backtest.capacity import Capacity
from alpha_assets.evaluation.attainable import AttainableInputs, attainable_record
from alpha_assets.evaluation.capacity import capacity_curve, orders
from alpha_assets.evaluation.exposures import exposures
from alpha_assets.evaluation.gates import GatesSpec, gates
from alpha_assets.evaluation.legs import concentration, legs
from alpha_assets.evaluation.planted import Learning
from alpha_assets.evaluation.portfolio import cash_return, costs, portfolio, source_end_exits
from alpha_assets.evaluation.rebalances import rebalances
from alpha_assets.evaluation.signal import Breakdowns, Record, Signal, less_parent, signal
from alpha_assets.evaluation.spans import Undecided, judged, undecided_records

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class DataFacts:
    """What the figures were made of; written under `data` and shown by the report.

    Attributes:
        market: name of the market.
        recipe: name of the recipe.
        digest: of the resolved recipe.
        data_hash: of the raw rows that were read.
        code_version: of this package.
        seed: of the recipe.
        source: kind of source, such as sim or files.
        simulated: whether the prices were made up.
        basis: price or total_return.
        price_level: raw or split_adjusted.
        currency: of the books, such as JPY.
        feeds: that were on.
        feeds_off: feed -> why it is off.
        sectors_static: whether sectors are undated.
        data_folder: that raw rows were read from, absolute; None for another source.
        overrides: `section.key=value` of the run, those of the market with `market.` in front.
        features_missing: sentences on features that the market cannot have.
        notes: further sentences that a reader must know first.
        traded_horizon: sessions, of the scores that the portfolio holds; None: not known.
        sides: what decides how many names a side holds, `quantile`, `count`, `min_side`, and
            the cap `max_turnover`.
    """

    market: str
    recipe: str
    digest: str
    data_hash: str
    code_version: str
    seed: int
    source: str
    simulated: bool
    basis: str
    price_level: str
    currency: str
    feeds: tuple[str, ...] = ()
    feeds_off: Mapping[str, str] = field(default_factory=dict)
    sectors_static: bool = False
    data_folder: str | None = None
    overrides: tuple[str, ...] = ()
    features_missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    traded_horizon: int | None = None
    sides: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluationInputs:
    """The tables of one run, and what is known about them.

    Attributes:
        predictions: `session symbol horizon score`.
        labels: `session symbol horizon label`: raw forward returns, also of horizons that were
            not predicted (for the decay).
        daily: the backtest's daily table.
        trades: the backtest's trades.
        positions: the backtest's positions.
        facts: where all this comes from.
        sessions_per_year: of the market's calendar.
        rates: `session`, `cash_rate_annual`, or None for a rate of 0 (stated in the report).
        breakdowns: sectors, sizes and regimes.
        oracle: by horizon, for simulated data: the estimated rank IC of what was planted, or
            why it is not known.
        learning: for simulated data: what the recipe's models are estimated from.
        components: of a rig: `session`, `symbol` and a column for each planted component.
        asked: the first and last month that were asked for, `YYYY-MM`; None: not known.
        undecided: stretches of those months that nothing decided: they count in no figure.
        targets: `session symbol target_weight reason` of the rebalances, or None.
        below_exposure: rebalances that aimed at much less than the rule's exposure.
        attribution: what legs and names earned, names of the sessions that count; or None.
        capacity: the same targets with other capitals; or None.
        order_counts: what became of orders; or None.
        factors: `session symbol sector` and a column a factor, as known at the session; or None.
        gates: what the recipe must reach, or None.
        of_parent: scores of the recipe that training starts from, or why there are none.
        attainable: for simulated data: what the planted drift earns under a family of rules.
    """

    predictions: pl.DataFrame
    labels: pl.DataFrame
    daily: pl.DataFrame
    trades: pl.DataFrame
    positions: pl.DataFrame
    facts: DataFacts
    sessions_per_year: float
    rates: pl.DataFrame | None = None
    breakdowns: Breakdowns = field(default_factory=Breakdowns)
    oracle: Mapping[int, float | str] | None = None
    learning: Learning | None = None
    components: pl.DataFrame | None = None
    asked: tuple[str, str] | None = None
    undecided: tuple[Undecided, ...] = ()
    targets: pl.DataFrame | None = None
    below_exposure: tuple[date, ...] = ()
    attribution: Attribution | None = None
    capacity: Capacity | None = None
    order_counts: OrderCounts | None = None
    factors: pl.DataFrame | None = None
    gates: GatesSpec | None = None
    of_parent: pl.DataFrame | str = "the recipe has no training.parent"
    attainable: AttainableInputs | None = None


@dataclass(frozen=True)
class Evaluation:
    """`metrics` as it is written, and the coefficients session by session for charts."""

    metrics: dict[str, object]
    ic: pl.DataFrame


def evaluate(inputs: EvaluationInputs) -> Evaluation:
    """Return every figure of a run and the series behind the signal's."""
    found = signal(
        inputs.predictions,
        inputs.labels,
        breakdowns=inputs.breakdowns,
        oracle=inputs.oracle,
        learning=inputs.learning,
        components=inputs.components,
        seed=inputs.facts.seed,
    )
    horizons = inputs.predictions["horizon"].unique().to_list()
    counts_D = judged(inputs.daily, inputs.undecided)
    daily = inputs.daily.filter(pl.Series(counts_D))
    books = portfolio(
        inputs.daily,
        inputs.positions,
        counts_D=counts_D,
        sessions_per_year=inputs.sessions_per_year,
        rates=inputs.rates,
        hac_lag=max(horizons, default=0),
    )
    if inputs.targets is not None:
        # What was decided for a session after the books is still to be traded.
        lived = daily["session"].implode()
        decided = inputs.targets.filter(pl.col("session").is_in(lived))
        books = {
            **books,
            "rebalances": {
                **rebalances(
                    decided,
                    daily,
                    inputs.positions,
                    inputs.facts.sides.get("max_turnover"),
                    inputs.below_exposure,
                ),
                **inputs.facts.sides,
            },
        }
    if inputs.attribution is not None:
        of_legs = legs(
            inputs.attribution.legs,
            sessions_per_year=inputs.sessions_per_year,
            hac_lag=max(horizons, default=0),
            counts_D=counts_D,
        )
        shared = concentration(inputs.attribution, counts_D)
        books = {**books, "legs": of_legs, "concentration": shared}
    if inputs.factors is not None and inputs.facts.traded_horizon is not None:
        leaning = _exposures(inputs, inputs.facts.traded_horizon, daily["session"])
        books = {**books, "exposures": leaning}
    bill = costs(inputs.daily, inputs.trades, inputs.sessions_per_year, counts_D=counts_D)
    if inputs.order_counts is not None:
        bill = {**bill, "orders": orders(inputs.order_counts)}
    if inputs.capacity is not None:
        curve = capacity_curve(
            inputs.capacity,
            sessions_per_year=inputs.sessions_per_year,
            cash_D=cash_return(inputs.daily, inputs.rates),
            hac_lag=max(horizons, default=0),
            counts_D=counts_D,
        )
        bill = {**bill, "capacity": curve}
    document: dict[str, object] = {
        "schema_version": SCHEMA_VERSION,
        "signal": found.statistics,
        "portfolio": books,
        "costs": bill,
        "span": _span(inputs, daily, found),
        "data": _data(inputs, bill),
    }
    if inputs.gates is not None:
        document["gates"] = _gates(inputs, inputs.gates, found, books)
    if inputs.attainable is not None:
        document["attainable"] = attainable_record(
            inputs.attainable,
            sessions_per_year=inputs.sessions_per_year,
            cash_D=cash_return(inputs.daily, inputs.rates),
            counts_D=counts_D,
            hac_lag=max(horizons, default=0),
        )
    return Evaluation(plain(document), found.ic)


def _gates(
    inputs: EvaluationInputs, spec: GatesSpec, found: Signal, book: Mapping[str, object]
) -> list[Record]:
    """Return what the gates of the traded horizon found."""
    traded = inputs.facts.traded_horizon
    parent: Record | str
    if isinstance(inputs.of_parent, str):
        parent = inputs.of_parent
    else:
        of_horizon = pl.col("horizon") == traded
        parent = less_parent(
            inputs.predictions.filter(of_horizon),
            inputs.of_parent.filter(of_horizon),
            inputs.labels.filter(of_horizon),
            inputs.facts.seed,
        )
    return gates(spec, found.statistics.get(f"h{traded}", {}), book, against_parent=parent)


def _exposures(inputs: EvaluationInputs, horizon: int, lived: pl.Series) -> dict[str, object]:
    """Return what the scores that are traded, and the book, lean on."""
    assert inputs.factors is not None
    of_horizon = pl.col("horizon") == horizon
    return exposures(
        inputs.predictions.filter(of_horizon),
        inputs.labels.filter(of_horizon),
        inputs.positions,
        inputs.factors,
        horizon=horizon,
        seed=inputs.facts.seed,
        lived=lived,
    )


def metrics(inputs: EvaluationInputs) -> dict[str, object]:
    """Return the content of `metrics.json`: plain JSON values, null where there is no figure."""
    return evaluate(inputs).metrics


def metrics_json(document: Mapping[str, object]) -> bytes:
    """Return the bytes of `metrics.json`; the same document gives the same bytes."""
    text = json.dumps(plain(document), indent=1, allow_nan=False, ensure_ascii=False)
    return (text + "\n").encode()


def plain(document: Mapping[str, object]) -> dict[str, object]:
    """Return a mapping as plain JSON values: NaN and infinities are null, dates are ISO text."""
    return {str(name): _plain(value) for name, value in document.items()}


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return plain(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, date):
        return value.isoformat()
    assert value is None or isinstance(value, bool | int | str), f"{value!r} is not JSON"
    return value


def _span(inputs: EvaluationInputs, judged: pl.DataFrame, found: Signal) -> dict[str, object]:
    """Return first and last sessions and counts; null where a table is empty."""
    daily, predictions = judged["session"], inputs.predictions["session"]
    labelled = found.ic.drop_nans("rank_ic")["session"]
    first_month, last_month = inputs.asked or (None, None)
    return {
        "asked_first_month": first_month,
        "asked_last_month": last_month,
        "n_sessions_undecided": sum(it.n_sessions for it in inputs.undecided),
        "undecided": undecided_records(inputs.daily, inputs.undecided),
        "first_session": daily.min(),
        "last_session": daily.max(),
        "n_sessions": len(daily),
        "years": len(daily) / inputs.sessions_per_year,
        "sessions_per_year": inputs.sessions_per_year,
        "first_predicted": predictions.min(),
        "last_predicted": predictions.max(),
        "last_labelled": labelled.max(),
        "n_predictions": len(predictions),
        "n_symbols": inputs.predictions["symbol"].n_unique(),
        "n_months": predictions.dt.truncate("1mo").n_unique(),
    }


def _data(inputs: EvaluationInputs, bill: Mapping[str, object]) -> dict[str, object]:
    facts = inputs.facts
    by_reason = bill["trades_by_reason"]
    assert isinstance(by_reason, list)
    return {
        "market": facts.market,
        "recipe": facts.recipe,
        "digest": facts.digest,
        "data_hash": facts.data_hash,
        "code_version": facts.code_version,
        "seed": facts.seed,
        "traded_horizon": facts.traded_horizon,
        "source": facts.source,
        "simulated": facts.simulated,
        "basis": facts.basis,
        "price_level": facts.price_level,
        "currency": facts.currency,
        "feeds": list(facts.feeds),
        "feeds_off": [{"feed": feed, "why": why} for feed, why in facts.feeds_off.items()],
        "sectors_static": facts.sectors_static,
        "source_end_exits": source_end_exits(by_reason),
        "cash_rate_given": inputs.rates is not None,
        "data_folder": facts.data_folder,
        "overrides": list(facts.overrides),
        "features_missing": list(facts.features_missing),
        "notes": list(facts.notes),
    }
