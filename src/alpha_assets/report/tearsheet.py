"""The tear sheet: one page that can be mailed, read offline and trusted to be the same again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import vl_convert
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from alpha_assets.report.charts import figures
from alpha_assets.report.coverage import coverage_tables, remarks
from alpha_assets.report.inputs import ReportInputs, at, main_horizon, number, words
from alpha_assets.report.tables import tables
from alpha_assets.report.theme import DARK, LIGHT, PICTURE_FONT, vega_config
from alpha_assets.report.words import (
    MISSING,
    between,
    bps,
    money,
    percent,
    plain,
    unbroken,
    verdict,
    warnings,
    whole,
)

VEGA_LITE = "6.4"  # what altair writes; the page bundles the same
PICTURE_WIDTH = 760  # pixels of a chart as a picture, drawn at twice that


@dataclass(frozen=True)
class Headline:
    """A figure that is read first."""

    label: str
    figure: str
    detail: str


def tear_sheet(inputs: ReportInputs) -> str:
    """Return the page as HTML: no request leaves it, and the same inputs give the same bytes."""
    made = figures(inputs)
    drawn = {name: figure.specification() for name, figure in made.items() if figure.chart}
    page = _environment().from_string(_resource("template.html"))
    text = page.render(
        metrics=inputs.metrics,
        about=inputs.about,
        data=at(inputs.metrics, "data"),
        span=at(inputs.metrics, "span"),
        verdict=verdict(inputs.metrics),
        headlines=headlines(inputs.metrics),
        facts=facts(inputs.metrics),
        notes=notes(inputs),
        figures=made,
        tables={**tables(inputs), **coverage_tables(inputs.coverage)},
        remarks=remarks(inputs.coverage),
        again=inputs.command,
        specifications=_script_json(drawn),
        themes=_script_json({"light": vega_config(LIGHT), "dark": vega_config(DARK)}),
        styles=Markup(_resource("style.css")),
        script=Markup(_resource("page.js")),
        vega=_vega(),
    )
    return text.lstrip()


def chart_images(inputs: ReportInputs, form: Literal["png", "svg"] = "png") -> dict[str, bytes]:
    """Return the charts as pictures by name, light, for places without a browser."""
    pictures: dict[str, bytes] = {}
    config = vega_config(LIGHT, font=PICTURE_FONT) | {"background": "white"}
    marks = ["SIMULATED DATA"] if at(inputs.metrics, "data", "simulated") is True else []
    for name, figure in figures(inputs).items():
        if figure.chart is None:
            continue
        spec = figure.specification() | {"width": PICTURE_WIDTH, "padding": 14}
        spec["title"] = {"text": figure.title, "subtitle": [*marks, figure.caption]}
        if form == "svg":
            pictures[name] = vl_convert.vegalite_to_svg(
                spec, vl_version=VEGA_LITE, config=config
            ).encode()
        else:
            pictures[name] = vl_convert.vegalite_to_png(
                spec, vl_version=VEGA_LITE, config=config, scale=2
            )
    return pictures


def headlines(metrics: Mapping[str, object]) -> list[Headline]:
    """Return the six figures that are read first."""
    horizon = main_horizon(metrics)
    rank_ic = at(metrics, "signal", f"h{horizon}", "rank_ic")
    net, gross = at(metrics, "portfolio", "net"), at(metrics, "portfolio", "gross")
    traded, costs = at(metrics, "portfolio", "turnover"), at(metrics, "costs")
    fall = (at(net, "drawdown_peak") or "start", at(net, "drawdown_trough") or "none")
    break_even = number(costs, "break_even_bps")
    loses = break_even is not None and break_even <= 0
    spare = "loses before costs" if loses else f"breaks even at {bps(break_even)}"
    held = plain(number(traded, "holding_sessions"), 0)
    return [
        Headline(
            "Sharpe, net",
            f"{plain(number(net, 'sharpe'))} ± {plain(number(net, 'sharpe_se'))}",
            f"gross {plain(number(gross, 'sharpe'))} ± {plain(number(gross, 'sharpe_se'))}",
        ),
        Headline(
            f"Rank IC, {horizon} sessions" if horizon else "Rank IC",
            plain(number(rank_ic, "mean"), 3),
            f"t (smallest of three) {plain(number(rank_ic, 't'))}, {between(rank_ic)}",
        ),
        Headline(
            "Return a year, net",
            percent(number(net, "annual_return")),
            f"gross {percent(number(gross, 'annual_return'))}",
        ),
        Headline(
            "Deepest drawdown",
            percent(number(net, "max_drawdown")),
            f"{fall[0]} → {fall[1]}".replace("-", "\u2011"),  # a date does not break
        ),
        Headline(
            "Turnover a year",
            percent(number(traded, "annual"), 0),
            f"one way, held {held} sessions",
        ),
        Headline(
            "Costs a year",
            percent(number(costs, "total_annual_return")),
            f"trading {bps(number(costs, 'trading_bps'))}, {spare}",
        ),
    ]


def facts(metrics: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return what, when, where and by which version, as pairs of words."""
    data, span = at(metrics, "data"), at(metrics, "span")

    def word(group: object, name: str) -> str:
        value = at(group, name)
        return MISSING if value is None else str(value)

    kind = f"{word(data, 'source')}{', simulated' if at(data, 'simulated') is True else ''}"
    return [
        ("market", word(data, "market")),
        ("recipe", word(data, "recipe")),
        ("traded", f"{word(span, 'first_session')} to {word(span, 'last_session')}"),
        ("sessions", whole(number(span, "n_sessions"))),
        ("names scored", whole(number(span, "n_symbols"))),
        ("months", whole(number(span, "n_months"))),
        ("source", kind),
        ("basis", f"{word(data, 'basis')}, {word(data, 'price_level')}".replace("_", " ")),
        ("digest", word(data, "digest")),
        ("data hash", word(data, "data_hash")),
        ("version", word(data, "code_version")),
        ("seed", word(data, "seed")),
    ]


def notes(inputs: ReportInputs) -> list[str]:
    """Return the sentences that a reader must know before believing a figure."""
    data = at(inputs.metrics, "data")
    sentences = [*warnings(inputs.metrics), dividend_words(inputs.metrics)]
    if at(data, "price_level") == "split_adjusted":
        sentences.append(
            "Price levels are split-adjusted by the vendor, so nothing here rests on a level "
            "(minimum price, tick, lot)."
        )
    if at(data, "cash_rate_given") is False:
        sentences.append("No cash rates were given: Sharpe ratios are over a rate of 0.")
    if at(data, "sectors_static") is True:
        sentences.append(
            "Sectors are static: one sector per name for the whole span, not as of a date."
        )
    exits = number(data, "source_end_exits") or 0
    if exits:
        sentences.append(
            f"Positions that left because the source stopped delivering the name: {whole(exits)} "
            "(source_end), at the last close: not a true delisting return."
        )
    horizon = main_horizon(inputs.metrics)
    left_out = number(inputs.metrics, "signal", f"h{horizon}", "n_sessions_left_out")
    if left_out:
        sentences.append(
            f"{whole(left_out)} predicted sessions have fewer than 10 pairs of score and label "
            "(usually the last ones, whose label is not known yet) and are left out of the ICs."
        )
    sentences.append("The bootstrap interval is indicative; p-values and t's are of one trial.")
    given = at(data, "notes")
    sentences += [str(note) for note in given] if isinstance(given, list) else []
    return [sentence for sentence in sentences if sentence]


def dividend_words(metrics: Mapping[str, object]) -> str:
    """Return where dividends are: inside the price, in cash, or in none of these figures."""
    data = at(metrics, "data")
    if at(data, "basis") == "total_return":
        return "Total-return prices: dividends are inside the price and not booked again."
    if "dividends" not in words(data, "feeds"):
        return (
            "Prices as quoted, and no dividends feed: no dividend is booked, neither received on "
            "what is long nor owed on what is short."
        )
    booked = at(metrics, "portfolio", "dividends")
    days = number(booked, "n_sessions")
    if not days:
        return "Prices as quoted; the dividends feed has none for what was held, so none is booked."
    amount = money(number(booked, "money"), str(at(data, "currency") or ""))
    return (
        "Prices as quoted; dividends are booked as cash on their ex-date: "
        f"{amount} over {whole(days)} sessions, received less owed."
    )


def _resource(name: str) -> str:
    return files("alpha_assets.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["unbroken"] = unbroken
    return environment


@cache
def _vega() -> Markup:
    """Return Vega, Vega-Lite and vega-embed as one script; it must not end its own tag."""
    # Its stub asks for a snippet; without one the bundle sets window.vegaEmbed.
    bundle: str = vl_convert.javascript_bundle(vl_version=VEGA_LITE)  # type: ignore[call-arg]
    # In a function, so that its one-letter names stay its own.
    return Markup("(() => {" + bundle.replace("</script", "<\\/script") + "})();")


def _script_json(value: object) -> Markup:
    """Return JSON that no HTML parser can mistake for markup."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)
