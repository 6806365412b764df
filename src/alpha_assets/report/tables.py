"""The tables of the page: every figure that the charts draw, and those that they do not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alpha_assets.report.inputs import ReportInputs, at, horizons, main_horizon, number, records
from alpha_assets.report.words import money, percent, plain, whole

Metrics = Mapping[str, object]


@dataclass(frozen=True)
class Cell:
    """One cell; `hint` says why it is empty, or what it means."""

    text: str
    hint: str = ""


@dataclass(frozen=True)
class Table:
    """A table with words in the first column and numbers in the others."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    text_columns: tuple[int, ...] = (0,)


def tables(inputs: ReportInputs) -> dict[str, Table]:
    """Return the tables by name; those without rows are left out."""
    metrics = inputs.metrics
    made = {
        "signal": signal_table(metrics),
        "books": book_table(metrics),
        "costs": cost_table(metrics),
        "years": year_table(metrics),
        "holdings": holding_table(metrics),
        "reasons": trade_table(metrics),
    }
    return {name: table for name, table in made.items() if table.rows}


def _cell(text: str, group: object = None, figure: str = "") -> Cell:
    """Return a cell that says why it is empty, where the figures say so."""
    reason = at(group, "reasons", figure)
    return Cell(text, str(reason) if isinstance(reason, str) else "")


def signal_table(metrics: Metrics) -> Table:
    """Return both coefficients of every horizon with their t-statistics and interval."""
    figures = (
        ("mean", 4, "mean"),
        ("sd", 3, "sd"),
        ("icir", 2, "ICIR"),
        ("t", 2, "t"),
        ("t_nw", 2, "t Newey-West"),
        ("t_vif", 2, "t inflation"),
        ("t_nonoverlap", 2, "t apart"),
        ("low", 4, "low"),
        ("high", 4, "high"),
        ("n_sessions", 0, "sessions"),
    )
    rows = []
    for h in horizons(metrics):
        for name, words in (("rank_ic", "rank IC"), ("ic", "IC")):
            group = at(metrics, "signal", f"h{h}", name)
            cells = [_cell(plain(number(group, f), d), group, f) for f, d, _ in figures]
            rows.append((Cell(f"{words}, {h} sessions"), *cells))
        spread = at(metrics, "signal", f"h{h}", "buckets", "spread")
        if spread is not None:
            cells = [_cell(plain(number(spread, f), d), spread, f) for f, d, _ in figures]
            rows.append((Cell(f"top less bottom, {h} sessions"), *cells))
    return Table("Signal", ("", *(words for _, _, words in figures)), tuple(rows))


def book_table(metrics: Metrics) -> Table:
    """Return net and gross performance side by side."""
    net, gross = at(metrics, "portfolio", "net"), at(metrics, "portfolio", "gross")
    if not number(net, "n_sessions"):
        return Table("Performance", ("", "net", "gross"), ())

    def row(words: str, figure: str, show: object) -> tuple[Cell, ...]:
        assert callable(show)
        sides = (_cell(show(number(side, figure)), side, figure) for side in (net, gross))
        return (Cell(words), *sides)

    def dates(side: object) -> Cell:
        peak = at(side, "drawdown_peak") or "start"
        trough = at(side, "drawdown_trough")
        back = at(side, "drawdown_recovered") or "not yet"
        return Cell(f"{peak} → {trough} → {back}" if trough else "none")

    rows = (
        row("return a year", "annual_return", percent),
        row("return in all", "total_return", percent),
        row("volatility a year", "volatility", percent),
        row("Sharpe", "sharpe", plain),
        row("± standard error (Mertens)", "sharpe_se", plain),
        row("± standard error (autocorrelation too)", "sharpe_se_hac", plain),
        row("95 % interval, low", "sharpe_low", plain),
        row("95 % interval, high", "sharpe_high", plain),
        row("probability that Sharpe > 0", "psr", percent),
        row("years needed to show it", "min_track_record_years", plain),
        row("Sortino", "sortino", plain),
        row("Calmar", "calmar", plain),
        row("deepest drawdown", "max_drawdown", percent),
        (Cell("peak → trough → recovered"), dates(net), dates(gross)),
        row("VaR 95 %, a session", "var_95", _percent_2),
        row("CVaR 95 %", "cvar_95", _percent_2),
        row("VaR 99 %", "var_99", _percent_2),
        row("CVaR 99 %", "cvar_99", _percent_2),
        row("share of sessions won", "win_rate", percent),
        row("skew", "skew", plain),
        row("kurtosis (normal: 3)", "kurtosis", plain),
    )
    return Table("Performance", ("", "net", "gross"), rows)


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
        spare = _cell(plain(number(costs, "break_even_bps"), 2), costs, "break_even_bps")
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
    time = _cell(plain(number(traded, "holding_sessions"), 1), traded, "holding_sessions")
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
