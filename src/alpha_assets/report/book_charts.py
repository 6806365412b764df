"""Charts of what the portfolio earned, paid and held."""

import altair as alt
import polars as pl

from alpha_assets.report.figure import (
    NARROW,
    Figure,
    Row,
    inline,
    interval,
    level_line,
    month_axis,
    month_map,
    month_of_session,
    pointer,
    table,
    time_axis,
    tip,
)
from alpha_assets.report.inputs import ReportInputs, at, number, records
from alpha_assets.report.words import money

BPS = 1e-4
PERCENT, PERCENT_1, SHORT_PERCENT = ".0%", ".1%", ".2~%"
HEIGHT = 230
# The label of an amount, with the units of the page's words in place of the prefixes of the SI.
AMOUNT = "replace(replace(replace(datum.label, 'k', '\u00a0k'), 'M', '\u00a0m'), 'G', '\u00a0bn')"
COST_WORDS = {
    "commission": "commission",
    "spread_cost": "spread",
    "impact_cost": "impact",
    "borrow_cost": "borrow",
}


def equity(inputs: ReportInputs) -> Figure:
    """Growth of 1, gross and net."""
    grown = inputs.daily.select(
        "session",
        net=(pl.col("net_return") + 1).cum_prod(),
        gross=(pl.col("gross_return") + 1).cum_prod(),
    )
    chart = None
    if len(grown):
        lines = (
            alt.Chart(table(grown))
            .transform_fold(["net", "gross"], as_=["series", "growth"])
            .mark_line()
            .encode(
                x=time_axis(),
                y=alt.Y("growth:Q", title=None, scale=alt.Scale(zero=False)),
                color=alt.Color("series:N", scale=alt.Scale(domain=["net", "gross"])),
            )
        )
        tips = [tip("net", ".3f"), tip("gross", ".3f")]
        chart = (lines + pointer(grown, tips)).properties(height=280, width="container")
    caption = (
        "Net is after commission, half-spread, impact and borrow; gross is the same trades free."
    )
    return Figure("equity", "Growth of 1", caption, chart, log_switch=True)


def drawdown(inputs: ReportInputs) -> Figure:
    """Distance of net wealth below its running peak."""
    wealth = (pl.col("net_return") + 1).cum_prod()
    peak = pl.max_horizontal(wealth.cum_max(), pl.lit(1.0))
    fallen = inputs.daily.select("session", drawdown=wealth / peak - 1)
    chart = None
    if len(fallen):
        area = (
            alt.Chart(table(fallen))
            .mark_area(style="fall", opacity=0.75)
            .encode(
                x=time_axis(),
                y=alt.Y("drawdown:Q", title=None, axis=alt.Axis(format=SHORT_PERCENT)),
            )
        )
        tips = [tip("drawdown", PERCENT_1)]
        chart = (area + pointer(fallen, tips)).properties(height=150, width="container")
    return Figure("drawdown", "Drawdown", "Net wealth below its running peak.", chart)


def monthly_returns(inputs: ReportInputs) -> Figure:
    """Net return of every month."""
    rows = records(inputs.metrics, "portfolio", "by_month")
    chart = month_map(rows, "net_return", "net return", 100, ".1f")
    return Figure("monthly_returns", "Net return by month", "In percent, after all costs.", chart)


def waterfall(inputs: ReportInputs) -> Figure:
    """From gross to net, in return a year."""
    parts = {str(row["part"]): row for row in records(inputs.metrics, "costs", "parts")}
    year = number(inputs.metrics, "span", "sessions_per_year")
    chart = None
    if parts and year is not None and len(inputs.daily):
        gross = float(inputs.daily["gross_return"].to_numpy().mean()) * year
        rows: list[Row] = [{"step": "gross", "from": 0.0, "to": gross, "kind": "total"}]
        level = gross
        for part, word in COST_WORDS.items():
            below = level - (number(parts[part], "annual_return") or 0.0)
            rows.append({"step": word, "from": level, "to": below, "kind": "cost"})
            level = below
        rows.append({"step": "net", "from": 0.0, "to": level, "kind": "total"})
        for row in rows:
            assert isinstance(row, dict)
            row["change"] = row["to"] - row["from"]
        order = [str(row["step"]) for row in rows]
        shorter = f"width < {NARROW} ? replace(datum.label, 'ission', '.') : datum.label"
        steps = alt.Axis(labelAngle=0, labelOverlap=False, labelExpr=shorter)
        base = alt.Chart(inline(rows)).encode(
            x=alt.X("step:N", sort=order, title=None, axis=steps),
            tooltip=[tip("step", "", "part"), tip("change", "+.2%", "a year")],
        )
        axis = alt.Axis(format=SHORT_PERCENT)
        bars = base.mark_bar(cornerRadius=1).encode(
            y=alt.Y("from:Q", title=None, axis=axis),
            y2="to:Q",
            color=alt.Color(
                "kind:N",
                legend=None,
                scale=alt.Scale(domain=["total", "", "cost"]),
            ),
        )
        words = (
            base.mark_text(dy=-7)
            .encode(y=alt.Y("top:Q"), text=alt.Text("change:Q", format="+.1%"))
            .transform_calculate(top="max(datum.from, datum.to)")
        )
        chart = alt.layer(level_line([{"level": 0.0}], "zero"), bars, words)
        chart = chart.properties(height=HEIGHT, width="container")
    caption = "Mean return a year, not compounded, so that the parts add up."
    return Figure("waterfall", "From gross to net", caption, chart)


def monthly_costs(inputs: ReportInputs) -> Figure:
    """Costs of every month by part, in bps of equity."""
    before = pl.col("equity") / (pl.col("net_return") + 1)
    spent = (
        inputs.daily.group_by(month_of_session(), maintain_order=True)
        .agg((pl.col(part) / before / BPS).sum().alias(word) for part, word in COST_WORDS.items())
        .sort("month")
    )
    chart = None
    if len(spent):
        words = list(COST_WORDS.values())
        chart = (
            alt.Chart(table(spent))
            .transform_fold([*words], as_=["part", "bps"])
            .mark_bar()
            .encode(
                x=month_axis(),
                y=alt.Y("bps:Q", title=None),
                color=alt.Color("part:N", scale=alt.Scale(domain=words)),
                tooltip=[tip("month"), tip("part", ""), tip("bps", ".1f")],
            )
            .properties(height=HEIGHT, width="container")
        )
    return Figure("monthly_costs", "Costs by month", "Basis points of equity, by part.", chart)


def capacity(inputs: ReportInputs) -> Figure:
    """Net and gross Sharpe ratio of the same targets by capital."""
    rows: list[Row] = []
    currency = str(at(inputs.metrics, "data", "currency") or "")
    for point in records(inputs.metrics, "costs", "capacity", "curve"):
        net, error = number(point, "net", "sharpe"), number(point, "net", "sharpe_se")
        gross = number(point, "gross", "sharpe")
        if net is not None and error is not None and gross is not None:
            found = interval({"mean": net, "error": error})
            ends = {"low": found["low"], "high": found["high"]}
            capital = number(point, "capital")
            words = {"capital": capital, "amount": money(capital, currency)}
            rows.append({**words, "net": net, "gross": gross, **ends})
    chart = None
    if len(rows) > 1:
        base = alt.Chart(inline(rows)).encode(
            x=alt.X(
                "capital:Q",
                title=f"capital, {currency}" if currency else "capital",
                scale=alt.Scale(type="log"),
                axis=alt.Axis(format="~s", labelExpr=AMOUNT),
            )
        )
        band = base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", title=None), y2="high:Q")
        lines = (
            base.transform_fold(["net", "gross"], as_=["series", "ratio"])
            .mark_line(point=True)
            .encode(
                y=alt.Y("ratio:Q", title=None),
                color=alt.Color("series:N", scale=alt.Scale(domain=["net", "gross"])),
                tooltip=[
                    tip("amount", "", "capital"),
                    tip("series"),
                    tip("ratio", ".2f", "Sharpe"),
                ],
            )
        )
        chart = alt.layer(level_line([{"level": 0.0}], "zero"), band, lines)
        chart = chart.properties(height=HEIGHT, width="container")
    caption = "Sharpe ratio of the same targets by capital; the band is net's 95 % interval."
    return Figure("capacity", "Capacity", caption, chart)


def turnover(inputs: ReportInputs) -> Figure:
    """One-way turnover of every month."""
    traded = (
        inputs.daily.group_by(month_of_session(), maintain_order=True)
        .agg(pl.col("turnover").sum())
        .sort("month")
    )
    chart = None
    if len(traded):
        chart = (
            alt.Chart(table(traded))
            .mark_bar(style="quiet")
            .encode(
                x=month_axis(),
                y=alt.Y("turnover:Q", title=None, axis=alt.Axis(format=PERCENT)),
                tooltip=[tip("month"), tip("turnover", PERCENT)],
            )
            .properties(height=170, width="container")
        )
    caption = "One way: half of all that was traded, as a share of equity."
    return Figure("turnover", "Turnover by month", caption, chart)


def exposure(inputs: ReportInputs) -> Figure:
    """Long, short and net exposure."""
    gross, net = pl.col("gross_exposure"), pl.col("net_exposure")
    held = inputs.daily.select("session", long=(gross + net) / 2, short=(net - gross) / 2, net=net)
    chart = None
    if len(held):
        series = ["long", "short", "net"]
        lines = (
            alt.Chart(table(held))
            .transform_fold([*series], as_=["side", "exposure"])
            .mark_line()
            .encode(
                x=time_axis(),
                y=alt.Y("exposure:Q", title=None, axis=alt.Axis(format=PERCENT)),
                color=alt.Color("side:N", scale=alt.Scale(domain=series)),
            )
        )
        tips = [tip(side, PERCENT) for side in series]
        layers = [level_line([{"level": 0.0}], "zero"), lines, pointer(held, tips)]
        chart = alt.layer(*layers).properties(height=190, width="container")
    caption = "At the close, as a share of equity."
    return Figure("exposure", "Exposure", caption, chart)
