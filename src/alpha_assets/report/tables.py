"""The tables of the page: every figure that the charts draw, and those that they do not."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from alpha_assets.report.attainable_table import attainable_table, chosen_rules_table
from alpha_assets.report.inputs import ReportInputs, at, horizons, main_horizon, number, records
from alpha_assets.report.leg_tables import (
    capacity_table,
    concentration_table,
    exposure_table,
    gate_table,
    leg_table,
    order_table,
    worst_month_table,
)
from alpha_assets.report.table import Cell, Table, cell_of
from alpha_assets.report.words import MISSING, money, percent, plain, whole

Metrics = Mapping[str, object]


def tables(inputs: ReportInputs) -> dict[str, Table]:
    """Return the tables by name; those without rows are left out."""
    metrics = inputs.metrics
    made = {
        "signal": signal_table(metrics),
        "components": component_table(metrics),
        "gates": gate_table(metrics),
        "returns": return_table(metrics),
        "risks": risk_table(metrics),
        "costs": cost_table(metrics),
        "years": year_table(metrics),
        "holdings": holding_table(metrics),
        "reasons": trade_table(metrics),
        "legs": leg_table(metrics),
        "concentration": concentration_table(metrics),
        "worst_months": worst_month_table(metrics),
        "exposures": exposure_table(metrics),
        "orders": order_table(metrics),
        "capacity": capacity_table(metrics),
        "attainable": attainable_table(metrics),
        "chosen_rules": chosen_rules_table(metrics),
        "training": training_table(inputs),
    }
    return {name: table for name, table in made.items() if table.rows}


def signal_table(metrics: Metrics) -> Table:
    """Return both coefficients and the bucket spread of every horizon, a column each."""
    groups: list[tuple[str, object]] = []
    for h in horizons(metrics):
        of_horizon = at(metrics, "signal", f"h{h}")
        groups.append((f"rank IC, {h}", at(of_horizon, "rank_ic")))
        groups.append((f"IC, {h}", at(of_horizon, "ic")))
        if at(of_horizon, "buckets", "spread") is not None:
            groups.append((f"top − bottom, {h}", at(of_horizon, "buckets", "spread")))
    figures = (
        ("mean", "mean", 4),
        ("standard deviation", "sd", 4),
        ("ICIR", "icir", 2),
        ("t (smallest of three)", "t", 2),
        ("t, Newey-West", "t_nw", 2),
        ("t, variance inflation", "t_vif", 2),
        ("t, a horizon apart", "t_nonoverlap", 2),
        ("95 % interval, low", "low", 4),
        ("95 % interval, high", "high", 4),
        ("sessions", "n_sessions", 0),
    )
    rows = tuple(
        (
            Cell(words),
            *(cell_of(plain(number(group, name), digits), group, name) for _, group in groups),
        )
        for words, name, digits in figures
    )
    return Table("Signal", ("", *(words for words, _ in groups)), rows if groups else ())


def component_table(metrics: Metrics) -> Table:
    """Return what the scores hold of each planted component, a horizon a pair of columns."""
    shown = [h for h in horizons(metrics) if records(metrics, "signal", f"h{h}", "components")]
    by_horizon = [records(metrics, "signal", f"h{h}", "components") for h in shown]
    rows = tuple(
        (
            Cell(str(of_name[0]["component"])),
            *(
                Cell(plain(number(row, figure), 3))
                for row in of_name
                for figure in ("correlation", "error")
            ),
        )
        for of_name in zip(*by_horizon, strict=True)
    )
    heads = [words for h in shown for words in (f"correlation, {h}", "± standard error")]
    return Table("Scores and planted components", ("", *heads), rows)


def return_table(metrics: Metrics) -> Table:
    """Return net and gross return, Sharpe and their error bars side by side."""
    rows = (
        ("return a year", "annual_return", percent),
        ("return in all", "total_return", percent),
        ("volatility a year", "volatility", percent),
        ("Sharpe", "sharpe", plain),
        ("± standard error, the larger of two", "sharpe_se", plain),
        ("± if independent (Mertens)", "sharpe_se_mertens", plain),
        ("± if autocorrelated (Lo)", "sharpe_se_hac", plain),
        ("95 % interval, low", "sharpe_low", plain),
        ("95 % interval, high", "sharpe_high", plain),
        ("probability that it is above 0", "psr", percent),
        ("years needed to show it", "min_track_record_years", plain),
        ("skew (normal: 0)", "skew", plain),
        ("kurtosis (normal: 3)", "kurtosis", plain),
    )
    return _two_sides("Return and its certainty", metrics, rows)


def risk_table(metrics: Metrics) -> Table:
    """Return net and gross falls and tails side by side."""
    rows = (
        ("deepest drawdown", "max_drawdown", percent),
        ("from", "drawdown_peak", _day),
        ("lowest on", "drawdown_trough", _day),
        ("recovered on", "drawdown_recovered", _day),
        ("VaR 95 % of a session", "var_95", _percent_2),
        ("CVaR 95 %", "cvar_95", _percent_2),
        ("VaR 99 %", "var_99", _percent_2),
        ("CVaR 99 %", "cvar_99", _percent_2),
        ("Sortino", "sortino", plain),
        ("Calmar", "calmar", plain),
        ("share of sessions won", "win_rate", percent),
    )
    return _two_sides("Falls and tails", metrics, rows)


def _two_sides(
    title: str, metrics: Metrics, rows: Sequence[tuple[str, str, Callable[[Any], str]]]
) -> Table:
    sides = [at(metrics, "portfolio", side) for side in ("net", "gross")]
    if not number(sides[0], "n_sessions"):
        return Table(title, ("", "net", "gross"), ())

    def cell(side: object, name: str, show: Callable[[Any], str]) -> Cell:
        return cell_of(show(at(side, name)), side, name)

    body = tuple(
        (Cell(words), *(cell(side, name, show) for side in sides)) for words, name, show in rows
    )
    return Table(title, ("", "net", "gross"), body)


def _day(value: str | None) -> str:
    return value or MISSING


def _percent_2(value: float | None) -> str:
    return percent(value, 2)


def cost_table(metrics: Metrics) -> Table:
    """Return each part of cost in money, bps of what was traded and share of equity."""
    currency = str(at(metrics, "data", "currency") or "")
    names = {
        "commission": "commission",
        "spread_cost": "half-spread",
        "impact_cost": "impact",
        "trading": "all trading",
        "borrow_cost": "borrow",
        "total": "in all",
    }
    parts = {str(row["part"]): row for row in records(metrics, "costs", "parts")}
    rows = tuple(
        (
            Cell(words),
            Cell(money(number(parts[part], "money"), currency)),
            Cell(plain(number(parts[part], "bps_of_traded"), 2)),
            Cell(percent(number(parts[part], "annual_return"), 2)),
        )
        for part, words in names.items()
        if part in parts
    )
    if rows:
        costs = at(metrics, "costs")
        spare = cell_of(plain(number(costs, "break_even_bps"), 2), costs, "break_even_bps")
        rows += ((Cell("breaks even at"), Cell(""), spare, Cell("")),)
    return Table("Costs", ("", "money", "bps of traded", "of equity a year"), rows)


def year_table(metrics: Metrics) -> Table:
    """Return every year's returns, turnover and rank IC."""
    horizon = main_horizon(metrics)
    by_year = records(metrics, "signal", f"h{horizon}", "by_year")
    knew = {str(row["year"]): row for row in by_year}
    rows = tuple(
        (
            Cell(str(row["year"])),
            Cell(percent(number(row, "net_return"))),
            Cell(percent(number(row, "gross_return"))),
            Cell(percent(number(row, "volatility"))),
            Cell(percent(number(row, "turnover"), 0)),
            Cell(plain(number(knew.get(str(row["year"])), "mean"), 4)),
            Cell(plain(number(knew.get(str(row["year"])), "t"))),
            Cell(whole(number(row, "n_sessions"))),
        )
        for row in records(metrics, "portfolio", "by_year")
    )
    columns = ("year", "net", "gross", "volatility", "turnover", "rank IC", "t", "sessions")
    return Table("Year by year", columns, rows)


def holding_table(metrics: Metrics) -> Table:
    """Return turnover, holding time, exposure and names held."""
    held, traded = at(metrics, "portfolio", "exposure"), at(metrics, "portfolio", "turnover")
    if number(held, "gross_mean") is None:
        return Table("Holdings", ("", "figure"), ())
    time = cell_of(plain(number(traded, "holding_sessions"), 1), traded, "holding_sessions")
    pairs = (
        ("turnover a year, one way", Cell(percent(number(traded, "annual"), 0))),
        ("sessions held, on average", time),
        ("gross exposure, mean", Cell(percent(number(held, "gross_mean"), 0))),
        ("gross exposure, most", Cell(percent(number(held, "gross_max"), 0))),
        ("net exposure, mean", Cell(percent(number(held, "net_mean")))),
        ("net exposure, least", Cell(percent(number(held, "net_min")))),
        ("net exposure, most", Cell(percent(number(held, "net_max")))),
        ("names long", Cell(plain(number(held, "longs_mean"), 1))),
        ("names short", Cell(plain(number(held, "shorts_mean"), 1))),
    )
    return Table("Holdings", ("", "figure"), tuple((Cell(words), cell) for words, cell in pairs))


def trade_table(metrics: Metrics) -> Table:
    """Return trades by the reason that the simulator gave."""
    currency = str(at(metrics, "data", "currency") or "")
    rows: Sequence[tuple[Cell, ...]] = [
        (
            Cell(str(row["reason"])),
            Cell(whole(number(row, "n_trades"))),
            Cell(money(number(row, "notional"), currency)),
        )
        for row in records(metrics, "costs", "trades_by_reason")
    ]
    return Table("Trades by reason", ("reason", "trades", "traded"), tuple(rows))


def training_table(inputs: ReportInputs) -> Table:
    """Return every month's model: where it stopped, and whether it had stopped rising."""
    cards = inputs.checkpoints
    rows = () if cards is None else tuple(_training_row(row) for row in cards.to_dicts())
    columns = ("month", "model", "epochs", "best epoch", "validation rank IC", "remark")
    return Table("Month by month", columns, rows, text_columns=(0, 1, 5))


def _training_row(row: Mapping[str, object]) -> tuple[Cell, ...]:
    n_unfinished = number(row, "unfinished_seeds") or 0
    more = "raise training.max_epochs, or model.max_rounds of trees"
    remark = f"the best epoch is the last: {more}" if n_unfinished else ""
    return (
        Cell(str(row["month"])),
        Cell(str(row["status"]).replace("_", " ")),
        Cell(whole(number(row, "epochs"))),
        Cell(whole(number(row, "best_epoch"))),
        Cell(plain(number(row, "valid_rank_ic"), 4)),
        Cell(remark),
    )
