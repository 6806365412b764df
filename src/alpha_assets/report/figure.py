"""The pieces that the charts are built from.

A figure is made once: the page draws its specification, and pictures are rendered from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import polars as pl

from alpha_assets.report.inputs import number

Row = Mapping[str, object]

Z_95 = 1.96
SIGNIFICANT = 6  # digits kept in the page
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Of an axis of sessions: one form of words from years down to days.
TICKS = {"year": "%Y", "quarter": "%b", "month": "%b", "week": "%-d %b", "date": "%-d %b"}
NARROW = 420  # pixels; below, month names are letters and numbers small


@dataclass(frozen=True)
class Figure:
    """A chart with its words; `chart` is None where there is nothing to draw."""

    name: str
    title: str
    caption: str
    chart: alt.TopLevelMixin | None
    log_switch: bool = False

    def specification(self) -> dict[str, object]:
        """Return the Vega-Lite specification, without any colours of its own.

        Tests compare it with the schema of Vega-Lite, which takes longer than making it.
        """
        assert self.chart is not None, f"{self.name} has no chart"
        spec: dict[str, object] = self.chart.to_dict(validate=False)
        spec.pop("config", None)
        spec["autosize"] = {"type": "fit-x", "contains": "padding"}
        return spec


def inline(rows: Sequence[Row]) -> alt.InlineData:
    """Return rows as a chart's own data, numbers to six digits."""
    return alt.InlineData(values=[{k: _short(v) for k, v in row.items()} for row in rows])


def table(frame: pl.DataFrame) -> alt.InlineData:
    """Return a frame as a chart's own data, dates as text."""
    return inline(frame.with_columns(pl.col(pl.Date).dt.to_string("%Y-%m-%d")).to_dicts())


def _short(value: object) -> object:
    return float(f"{value:.{SIGNIFICANT}g}") if isinstance(value, float) else value


def time_axis() -> alt.X:
    """Return the axis of sessions."""
    # A date without a time is read as UTC: a local axis would be a day early in America.
    axis = alt.Axis(format=TICKS)
    return alt.X("session:T", title=None, axis=axis, scale=alt.Scale(type="utc"))


def month_axis() -> alt.X:
    """Return the axis of months, which come as YYYY-MM."""
    axis = alt.Axis(
        labelAngle=0,
        labelOverlap="greedy",
        labelSeparation=10,
        labelExpr="utcFormat(toDate(datum.value), '%b %y')",
    )
    return alt.X("month:O", title=None, axis=axis)


def month_of_session() -> pl.Expr:
    """Return the month of each session, as text."""
    return pl.col("session").dt.strftime("%Y-%m").alias("month")


def tip(field: str, form: str = "", title: str | None = None) -> alt.Tooltip:
    """Return a line of a tooltip: a number with a format, text without."""
    words = title or field
    if form:
        return alt.Tooltip(field, type="quantitative", format=form, title=words)
    return alt.Tooltip(field, type="nominal", title=words)


def pointer(frame: pl.DataFrame, tips: list[alt.Tooltip]) -> alt.Chart:
    """Return a hairline that follows the pointer and shows the values of that session."""
    nearest = alt.selection_point(
        name="at", fields=["session"], nearest=True, on="pointerover", empty=False
    )
    day = alt.Tooltip(
        "session", type="temporal", timeUnit="utcyearmonthdate", format="%Y-%m-%d", title="session"
    )
    chart: alt.Chart = (
        alt.Chart(table(frame))
        .mark_rule(style="pointer")
        .encode(
            x=time_axis(),
            opacity=alt.condition(nearest, alt.value(0.6), alt.value(0)),
            tooltip=[day, *tips],
        )
        .add_params(nearest)
    )
    return chart


def level_line(rows: Sequence[Row], style: str, dash: tuple[int, int] | None = None) -> alt.Chart:
    """Return a level across the chart."""
    mark: dict[str, Any] = {"style": style}
    if dash is not None:
        mark["strokeDash"] = list(dash)
    chart: alt.Chart = alt.Chart(inline(rows)).mark_rule(**mark).encode(y="level:Q")
    return chart


def interval(row: Row) -> dict[str, object]:
    """Return `mean` and its 95 % interval `low`, `high` from its `error`."""
    mean, error = number(row, "mean"), number(row, "error")
    assert mean is not None
    if error is None:
        return {"mean": mean, "low": None, "high": None}
    return {"mean": mean, "low": mean - Z_95 * error, "high": mean + Z_95 * error}


def month_map(
    rows: list[Row], field: str, words: str, scale: float, form: str
) -> alt.TopLevelMixin | None:
    """Return a heat map of years by months, with the numbers in the cells; None without any."""
    known = [(row, value * scale) for row in rows if (value := number(row, field)) is not None]
    values = [value for _, value in known]
    cells = [
        {
            "year": str(row["month"])[:4],
            "month": MONTHS[int(str(row["month"])[5:]) - 1],
            "value": value,
        }
        for row, value in known
    ]
    if not cells:
        return None
    most = max(abs(value) for value in values) or 1.0
    shades = alt.Scale(domain=[-most, most], domainMid=0, range="diverging", interpolate="rgb")
    base = alt.Chart(inline(cells)).encode(
        x=alt.X(
            "month:O",
            sort=list(MONTHS),
            title=None,
            scale=alt.Scale(domain=list(MONTHS)),
            axis=alt.Axis(
                labelAngle=0,
                orient="top",
                labelExpr=f"width < {NARROW} ? slice(datum.label, 0, 1) : datum.label",
                labelOverlap=False,
            ),
        ),
        y=alt.Y("year:O", title=None, axis=alt.Axis(grid=False)),
    )
    tips = [tip("year"), tip("month"), tip("value", "+.2f", words)]
    boxes = base.mark_rect(cornerRadius=2).encode(
        color=alt.Color("value:Q", legend=None, scale=shades),
        tooltip=tips,
    )
    numbers = base.mark_text(fontSize=alt.ExprRef(f"width < {NARROW} ? 9 : 11")).encode(
        text=alt.Text("value:Q", format=form), tooltip=tips
    )
    return alt.layer(boxes, numbers).properties(height=alt.Step(26), width="container")
