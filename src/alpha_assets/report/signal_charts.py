"""Charts of what the scores knew, and of how their models were trained."""

import altair as alt
import polars as pl

from alpha_assets.report.figure import (
    Figure,
    Row,
    inline,
    interval,
    level_line,
    month_axis,
    month_map,
    pointer,
    table,
    time_axis,
    tip,
)
from alpha_assets.report.inputs import ReportInputs, at, horizons, main_horizon, number, records

BPS = 1e-4
QUARTER, MONTH = 63, 21  # sessions of a rolling mean; the short one for short spans
HEIGHT = 230
WHISKERS = "whiskers: 95 %, overlap allowed for; none where the span is too short for them."


def rolling_ic(inputs: ReportInputs) -> Figure:
    """Rolling mean of the rank IC, with the mean of the span."""
    horizon = main_horizon(inputs.metrics)
    series = (
        inputs.ic.filter(pl.col("horizon") == pl.lit(horizon)).drop_nans("rank_ic").sort("session")
    )
    window = QUARTER if len(series) >= 2 * QUARTER else MONTH
    smooth = series.select(
        "session", "rank_ic", rolling=pl.col("rank_ic").rolling_mean(window)
    ).drop_nulls("rolling")
    planted = number(inputs.metrics, "signal", f"h{horizon}", "planted", "oracle_rank_ic")
    chart = None
    if len(smooth):
        levels: list[Row] = [{"level": 0.0, "word": "zero"}]
        mean = number(inputs.metrics, "signal", f"h{horizon}", "rank_ic", "mean")
        axis = alt.Axis(format=".2f")
        line = (
            alt.Chart(table(smooth))
            .mark_line()
            .encode(x=time_axis(), y=alt.Y("rolling:Q", title=None, axis=axis))
        )
        layers = [level_line(levels, "zero"), line]
        if mean is not None:
            layers.append(level_line([{"level": mean}], "quiet", dash=(5, 4)))
        if planted is not None:
            layers.append(level_line([{"level": planted}], "accent", dash=(2, 3)))
        tips = [
            tip("rolling", "+.3f", f"mean of {window}"),
            tip("rank_ic", "+.3f", "that session"),
        ]
        layers.append(pointer(smooth, tips))
        chart = alt.layer(*layers).properties(height=HEIGHT, width="container")
    caption = (
        f"Mean of the last {window} sessions, horizon {horizon}. Dashed grey: mean of the span"
        + (
            "."
            if planted is None
            else "; dotted amber: what the planted drift is estimated to reach."
        )
    )
    return Figure("rolling_ic", "Rolling rank IC", caption, chart)


def buckets(inputs: ReportInputs) -> Figure:
    """Mean return of score buckets over the mean of the cross-section."""
    horizon = main_horizon(inputs.metrics)
    rows = [
        {
            "bucket": row["bucket"],
            **interval({"mean": mean / BPS, "error": None if error is None else error / BPS}),
        }
        for row in records(inputs.metrics, "signal", f"h{horizon}", "buckets", "means")
        if (mean := number(row, "mean_excess")) is not None
        for error in [number(row, "error")]
    ]
    chart = None
    if rows:
        base = alt.Chart(inline(rows)).encode(
            x=alt.X(
                "bucket:O", title="score bucket, lowest to highest", axis=alt.Axis(labelAngle=0)
            )
        )
        tips = [tip("bucket", "d"), tip("mean", "+.1f", "mean, bps"), tip("low", "+.1f")]
        tips.append(tip("high", "+.1f"))
        bars = base.mark_bar(cornerRadius=1).encode(y=alt.Y("mean:Q", title=None), tooltip=tips)
        whiskers = base.mark_rule(style="whisker").encode(y="low:Q", y2="high:Q", tooltip=tips)
        chart = alt.layer(bars, whiskers).properties(height=HEIGHT, width="container")
    caption = (
        f"Mean {horizon}-session return of each bucket over the cross-section's, in bps; {WHISKERS}"
    )
    return Figure("buckets", "Return by score bucket", caption, chart)


def monthly_ic(inputs: ReportInputs) -> Figure:
    """Mean rank IC of every month."""
    horizon = main_horizon(inputs.metrics)
    rows = records(inputs.metrics, "signal", f"h{horizon}", "by_month")
    chart = month_map(rows, "mean", "mean rank IC", 100, ".1f")
    caption = f"Mean of the month's sessions times 100, horizon {horizon}, by decision session."
    return Figure("monthly_ic", "Rank IC by month", caption, chart)


def decay(inputs: ReportInputs) -> Figure:
    """Rank IC of the scores with returns over other horizons."""
    rows = [
        {"score": f"scores for {h}", **interval(row), "horizon": row["horizon"]}
        for h in horizons(inputs.metrics)
        for row in records(inputs.metrics, "signal", f"h{h}", "decay")
        if number(row, "mean") is not None
    ]
    chart = None
    if rows:
        base = alt.Chart(inline(rows)).encode(
            x=alt.X("horizon:O", title="sessions held", axis=alt.Axis(labelAngle=0)),
            color=alt.Color(
                "score:N", legend=None if len(horizons(inputs.metrics)) < 2 else alt.Undefined
            ),
            xOffset=alt.XOffset("score:N"),
        )
        tips = [
            tip("horizon", "d"),
            tip("mean", "+.4f"),
            tip("low", "+.4f"),
            tip("high", "+.4f"),
        ]
        axis = alt.Axis(format=".2f")
        points = base.mark_point().encode(y=alt.Y("mean:Q", title=None, axis=axis), tooltip=tips)
        whiskers = base.mark_rule().encode(y="low:Q", y2="high:Q", tooltip=tips)
        chart = alt.layer(level_line([{"level": 0.0}], "zero"), whiskers, points)
        chart = chart.properties(height=HEIGHT, width="container")
    caption = f"Mean rank IC with returns over other holding times; {WHISKERS}"
    return Figure("decay", "Decay", caption, chart)


def groups(inputs: ReportInputs) -> Figure:
    """Rank IC by year, sector, size and regime."""
    horizon = main_horizon(inputs.metrics)
    rows = [
        {"kind": kind, "name": str(row[kind]), **interval(row), "n": row["n_sessions"]}
        for kind in ("year", "sector", "size", "regime")
        for row in records(inputs.metrics, "signal", f"h{horizon}", f"by_{kind}")
        if number(row, "mean") is not None
    ]
    chart = None
    if rows:
        order = [f"{row['kind']}: {row['name']}" for row in rows]
        named = [{**row, "label": label} for row, label in zip(rows, order, strict=True)]
        base = alt.Chart(inline(named)).encode(
            y=alt.Y("label:N", sort=order, title=None, axis=alt.Axis(labelLimit=150))
        )
        tips = [tip("label", "", "group"), tip("mean", "+.4f"), tip("low", "+.4f")]
        tips += [tip("high", "+.4f"), tip("n", "d", "sessions")]
        axis = alt.Axis(format=".2f", grid=True, tickCount=5)
        points = base.mark_point().encode(
            x=alt.X("mean:Q", title="rank IC", axis=axis), tooltip=tips
        )
        whiskers = base.mark_rule().encode(x="low:Q", x2="high:Q", tooltip=tips)
        zero = alt.Chart(inline([{"level": 0.0}])).mark_rule(style="zero").encode(x="level:Q")
        chart = alt.layer(zero, whiskers, points).properties(height=alt.Step(20), width="container")
    caption = f"Mean rank IC, horizon {horizon}; sector and size within the group; {WHISKERS}"
    return Figure("groups", "Where it held", caption, chart)


def planted(inputs: ReportInputs) -> Figure:
    """Rank IC that was planted beside what the scores recovered."""
    rows: list[Row] = []
    for h in horizons(inputs.metrics):
        figures_h = at(inputs.metrics, "signal", f"h{h}")
        oracle = number(figures_h, "planted", "oracle_rank_ic")
        mean = number(figures_h, "rank_ic", "mean")
        if oracle is None or mean is None:
            continue
        rows.append({"horizon": h, "word": "planted", "mean": oracle})
        low, high = number(figures_h, "rank_ic", "low"), number(figures_h, "rank_ic", "high")
        rows.append({"horizon": h, "word": "recovered", "mean": mean, "low": low, "high": high})
    chart = None
    if rows:
        base = alt.Chart(inline(rows)).encode(
            y=alt.Y("horizon:O", title=None, axis=alt.Axis(labelExpr="'horizon ' + datum.label")),
            yOffset=alt.YOffset("word:N"),
        )
        tips = [tip("word", "", "rank IC"), tip("mean", "+.4f"), tip("low", "+.4f")]
        tips.append(tip("high", "+.4f"))
        axis = alt.Axis(format=".2f", grid=True, tickCount=5)
        domain = ["recovered", "planted"]
        bars = base.mark_bar(cornerRadius=1).encode(
            x=alt.X("mean:Q", title="rank IC", axis=axis),
            color=alt.Color("word:N", scale=alt.Scale(domain=domain)),
            tooltip=tips,
        )
        whiskers = base.mark_rule(style="whisker").encode(x="low:Q", x2="high:Q", tooltip=tips)
        chart = alt.layer(bars, whiskers).properties(height=alt.Step(26), width="container")
    caption = (
        "Simulated data only: the rank IC that the expected drift of the planted state is "
        "estimated to reach, beside the scores'."
    )
    return Figure("planted", "Planted and recovered", caption, chart)


def training(inputs: ReportInputs) -> Figure:
    """Validation rank IC of every month's model."""
    chart = None
    cards = inputs.checkpoints
    if cards is not None and cards["valid_rank_ic"].drop_nulls().len():
        trained = cards.drop_nulls("valid_rank_ic").select("month", "epochs", "valid_rank_ic")
        axis = alt.Axis(format=".2f")
        points = (
            alt.Chart(table(trained))
            .mark_point()
            .encode(
                x=month_axis(),
                y=alt.Y("valid_rank_ic:Q", title=None, axis=axis),
                tooltip=[tip("month"), tip("valid_rank_ic", "+.3f"), tip("epochs", "d")],
            )
        )
        chart = alt.layer(level_line([{"level": 0.0}], "zero"), points)
        chart = chart.properties(height=170, width="container")
    caption = "Best epoch of each month's model, on sessions before the month."
    return Figure("training", "Validation rank IC by month", caption, chart)


def epochs(inputs: ReportInputs) -> Figure:
    """Validation rank IC of every month's model after each epoch."""
    chart = None
    cards = inputs.checkpoints
    if cards is not None and "curve" in cards.columns:
        curves = cards.filter(pl.col("curve").list.len() > 1).select(
            "month", epoch=pl.int_ranges(1, pl.col("curve").list.len() + 1), rank_ic="curve"
        )
        if len(curves):
            axis = alt.Axis(format=".2f")
            lines = (
                alt.Chart(table(curves.explode("epoch", "rank_ic")))
                .mark_line(opacity=0.35, strokeWidth=1)
                .encode(
                    x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, format="d")),
                    y=alt.Y("rank_ic:Q", title=None, axis=axis),
                    detail="month:N",
                    tooltip=[tip("month"), tip("epoch", "d"), tip("rank_ic", "+.3f")],
                )
            )
            chart = alt.layer(level_line([{"level": 0.0}], "zero"), lines)
            chart = chart.properties(height=170, width="container")
    caption = "A line for each month, the mean over its models; the epoch that is kept is selected."
    return Figure("epochs", "Validation rank IC by epoch", caption, chart)
