"""The charts say what the figures say."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from alpha_assets.report.charts import FIGURES, figures
from alpha_assets.report.figure import interval
from alpha_assets.report.inputs import ReportInputs
from alpha_assets.report.tearsheet import chart_images
from alpha_assets.report.words import money, percent, unbroken

NAMES = (
    *("equity", "drawdown", "monthly_returns", "rolling_ic", "buckets", "monthly_ic", "decay"),
    *("groups", "planted", "waterfall", "monthly_costs", "capacity", "turnover", "exposure"),
    *("training", "epochs"),
)


@pytest.fixture(scope="module")
def drawn(run: ReportInputs) -> dict[str, dict[str, Any]]:
    return {name: figure.specification() for name, figure in figures(run).items()}


def rows(specification: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """All data of a chart: its own, its layers' and the named ones."""
    layers = [specification, *specification.get("layer", [])]
    return [
        [*layer["data"].get("values", [])] for layer in layers if "values" in layer.get("data", {})
    ] + list(specification.get("datasets", {}).values())


def with_field(specification: dict[str, Any], field: str) -> list[dict[str, Any]]:
    return next(data for data in rows(specification) if data and field in data[0])


def test_all_charts_are_there_and_in_order(drawn: dict[str, Any]) -> None:
    assert tuple(drawn) == NAMES


def test_charts_fit_the_schema_of_vega_lite(
    drawn: dict[str, dict[str, Any]], run: ReportInputs
) -> None:
    # Making a page leaves the comparison out; here altair compares each part and each whole.
    for make in FIGURES:
        figure = make(run)
        assert figure.chart is not None
        checked = figure.chart.to_dict(validate=True)
        assert {name: checked[name] for name in checked if name in ("mark", "layer")} == {
            name: found for name, found in drawn[figure.name].items() if name in ("mark", "layer")
        }


def test_a_chart_writes_percent_as_the_words_of_the_page_do(run: ReportInputs) -> None:
    picture = chart_images(run, "svg")["drawdown"].decode()

    written = re.findall(r">([^<>]*%)<", picture)
    assert len(written) > 2
    for words in written:
        number = words.removesuffix("\u00a0%").replace("−", "-")
        digits = len(number.partition(".")[2])
        assert words == unbroken(percent(float(number) / 100, digits))


def test_the_capacity_chart_holds_the_capitals_that_have_figures(drawn: dict[str, Any]) -> None:
    points = with_field(drawn["capacity"], "capital")
    assert [(row["capital"], row["net"], row["gross"]) for row in points] == [
        (1e8, 1.2, 1.5), (1e9, 0.4, 1.5), (1e10, -0.8, 1.5),
    ]  # fmt: skip
    assert points[0]["low"] == pytest.approx(1.2 - 1.96 * 0.5, abs=1e-3)
    assert points[0]["high"] == pytest.approx(1.2 + 1.96 * 0.5, abs=1e-3)


def test_the_capacity_chart_writes_amounts_as_the_words_of_the_page_do(run: ReportInputs) -> None:
    picture = chart_images(run, "svg")["capacity"].decode()
    assert {"100\u00a0m", "1\u00a0bn", "10\u00a0bn"} <= set(re.findall(r">([^<>]+)<", picture))
    capital = with_field(figures(run)["capacity"].specification(), "amount")[0]
    assert capital["amount"] == money(1e8, str(run.metrics["data"]["currency"]))


def test_charts_carry_no_colours_of_their_own_and_fill_their_place(drawn: dict[str, Any]) -> None:
    for specification in drawn.values():
        assert "config" not in specification
        assert specification["width"] == "container"
        assert "#" not in str({k: v for k, v in specification.items() if k != "$schema"})


def test_growth_ends_where_the_figures_say(drawn: dict[str, Any], run: ReportInputs) -> None:
    books: Any = run.metrics["portfolio"]
    last = with_field(drawn["equity"], "gross")[-1]
    assert last["net"] == pytest.approx(1 + books["net"]["total_return"], rel=1e-5)
    assert last["gross"] == pytest.approx(1 + books["gross"]["total_return"], rel=1e-5)


def test_deepest_point_is_the_drawdown_of_the_figures(
    drawn: dict[str, Any], run: ReportInputs
) -> None:
    books: Any = run.metrics["portfolio"]
    deepest = min(row["drawdown"] for row in with_field(drawn["drawdown"], "drawdown"))
    assert deepest == pytest.approx(books["net"]["max_drawdown"], rel=1e-5)


def test_waterfall_falls_from_gross_to_the_net_of_the_books(
    drawn: dict[str, Any], run: ReportInputs
) -> None:
    steps = with_field(drawn["waterfall"], "step")
    assert steps[0]["step"] == "gross"
    net = float(run.daily["net_return"].to_numpy().mean()) * 250
    assert steps[-1]["to"] == pytest.approx(net, rel=1e-5)
    assert all(row["change"] < 0 for row in steps[1:-1])


def test_monthly_costs_add_up_to_the_bill(drawn: dict[str, Any], run: ReportInputs) -> None:
    words = ("commission", "spread", "impact", "borrow")
    data = with_field(drawn["monthly_costs"], "borrow")
    spent = sum(row[word] for row in data for word in words)
    costs: Any = run.metrics["costs"]
    assert spent * 1e-4 / (150 / 250) == pytest.approx(costs["total_annual_return"], rel=1e-4)


def test_rolling_coefficient_is_a_plain_trailing_mean(
    drawn: dict[str, Any], run: ReportInputs
) -> None:
    data = with_field(drawn["rolling_ic"], "rolling")
    series = run.ic.filter(pl.col("horizon") == 5)["rank_ic"].to_numpy()
    assert data[0]["rolling"] == pytest.approx(float(series[:63].mean()), rel=1e-5)
    assert data[-1]["session"] == "2021-07-30"


def test_exposure_is_split_into_long_and_short(drawn: dict[str, Any], run: ReportInputs) -> None:
    row = with_field(drawn["exposure"], "short")[0]
    assert row["long"] - row["short"] == pytest.approx(run.daily["gross_exposure"][0], rel=1e-4)
    assert row["long"] + row["short"] == pytest.approx(run.daily["net_exposure"][0], abs=1e-4)


def test_whiskers_are_two_standard_errors(drawn: dict[str, Any], run: ReportInputs) -> None:
    signal: Any = run.metrics["signal"]
    first = signal["h5"]["buckets"]["means"][0]
    bar = with_field(drawn["buckets"], "bucket")[0]
    assert (bar["high"] - bar["low"]) / 2 == pytest.approx(1.96 * first["error"] * 1e4, rel=1e-4)


def test_heat_maps_put_zero_in_the_middle(drawn: dict[str, Any]) -> None:
    for name in ("monthly_returns", "monthly_ic"):
        scale = drawn[name]["layer"][0]["encoding"]["color"]["scale"]
        assert scale["domain"][0] == -scale["domain"][1]
        assert scale["range"] == "diverging"


def test_dates_are_read_as_utc_so_that_no_reader_sees_the_day_before(drawn: dict[str, Any]) -> None:
    for name in ("equity", "drawdown", "rolling_ic", "exposure"):
        for layer in drawn[name]["layer"]:
            if "x" in layer.get("encoding", {}):
                assert layer["encoding"]["x"]["scale"]["type"] == "utc"


def test_empty_run_has_nothing_to_draw(empty_run: ReportInputs) -> None:
    assert all(figure.chart is None for figure in figures(empty_run).values())
    assert chart_images(empty_run) == {}


def test_pictures_are_the_same_every_time(make_run: Callable[..., ReportInputs]) -> None:
    short = make_run(40, 12)
    pictures = chart_images(short)
    assert set(pictures) <= set(NAMES)
    assert {"equity", "drawdown", "buckets", "monthly_returns"} <= set(pictures)
    assert all(picture.startswith(b"\x89PNG") for picture in pictures.values())
    assert chart_images(short) == pictures


def test_pictures_of_simulated_data_say_so(make_run: Callable[..., ReportInputs]) -> None:
    simulated = chart_images(make_run(40, 12), form="svg")
    assert all(b"SIMULATED DATA" in picture for picture in simulated.values())
    real = chart_images(make_run(40, 12, simulated=False), form="svg")
    assert not any(b"SIMULATED" in picture for picture in real.values())


def test_values_in_the_page_have_six_digits(drawn: dict[str, Any]) -> None:
    net = [row["net"] for row in with_field(drawn["equity"], "gross")]
    assert net == [float(f"{value:.6g}") for value in net]
    assert np.isfinite(net).all()


def test_group_whiskers_are_two_standard_errors_and_missing_without_one() -> None:
    assert interval({"mean": 0.1, "error": 0.02}) == {
        "mean": 0.1,
        "low": pytest.approx(0.1 - 1.96 * 0.02),
        "high": pytest.approx(0.1 + 1.96 * 0.02),
    }
    assert interval({"mean": 0.1, "error": None}) == {"mean": 0.1, "low": None, "high": None}


def test_loss_in_the_first_session_is_already_a_drawdown(run: ReportInputs) -> None:
    lost = run.daily.head(3).with_columns(net_return=pl.Series([-0.1, 0.0, 0.05]))
    chart = figures(replace(run, daily=lost))["drawdown"].specification()
    fallen = [row["drawdown"] for row in with_field(chart, "drawdown")]
    assert fallen == pytest.approx([-0.1, -0.1, 0.9 * 1.05 - 1])
