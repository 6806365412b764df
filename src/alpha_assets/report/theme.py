"""How the charts look: one sober palette for light paper and one for dark.

A chart names roles (the first category, a `quiet` line); the colours are here and are laid on
when it is drawn, so the same chart follows the reader's light or dark setting.
"""

from dataclasses import dataclass

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', Helvetica, Arial, sans-serif"
PICTURE_FONT = "Helvetica, Arial, Liberation Sans, DejaVu Sans, sans-serif"

# Charts write numbers as the words of the page do; see `report/words.py`.
NUMBERS = {
    "decimal": ".", "thousands": ",", "grouping": [3], "currency": ["", ""], "percent": "\u00a0%",
}  # fmt: skip


@dataclass(frozen=True)
class Palette:
    """Colours of one setting, as hex.

    Attributes:
        ink: text that must be read.
        muted: axes, labels.
        hairline: grid.
        categories: series in order; the first is the one that matters.
        below: the end of the diverging scale for what is below zero.
        middle: zero.
        above: the end for what is above zero.
    """

    ink: str
    muted: str
    hairline: str
    categories: tuple[str, ...]
    below: str
    middle: str
    above: str


LIGHT = Palette(
    ink="#1c1f23",
    muted="#646b73",
    hairline="#e7e6e2",
    categories=("#1d5fa8", "#9aa5b1", "#c98a2e", "#3d8b6e", "#8a64a8"),
    below="#d0705c",
    middle="#f3f2ee",
    above="#5d93cf",
)
DARK = Palette(
    ink="#e6e8ea",
    muted="#9aa2ab",
    hairline="#2c3137",
    categories=("#74aef2", "#7b8691", "#e0ac5c", "#6dbb98", "#b595d6"),
    below="#b4533f",
    middle="#262a2f",
    above="#3a74b5",
)


def vega_config(palette: Palette, *, font: str = FONT) -> dict[str, object]:
    """Return the Vega-Lite `config` that paints a chart in a palette."""
    text = {"font": font, "fontSize": 11}
    line = {"strokeWidth": 1.75, "strokeJoin": "round"}
    first, second, third, *_ = palette.categories
    return {
        "background": None,
        "font": font,
        "locale": {"number": NUMBERS},
        "view": {"stroke": None},
        "axis": {
            "domain": False,
            "ticks": False,
            "gridColor": palette.hairline,
            "labelColor": palette.muted,
            "titleColor": palette.muted,
            "labelFontSize": 11,
            "titleFontSize": 11,
            "titleFontWeight": "normal",
            "labelPadding": 6,
            "labelOverlap": True,
        },
        "axisX": {
            "grid": False,
            "tickCount": {"expr": "max(3, min(10, width / 80))"},
            "labelSeparation": 6,  # on a phone labels that do not overlap may still touch
        },
        "axisY": {"tickCount": 5},
        "legend": {
            "orient": "top",
            "direction": "horizontal",
            "title": None,
            "labelColor": palette.ink,
            "labelFontSize": 12,
            "symbolStrokeWidth": 2.5,
            "symbolSize": 90,
            "offset": 8,
        },
        "title": {
            "anchor": "start",
            "frame": "group",
            "offset": 10,
            "fontSize": 14,
            "color": palette.ink,
            "subtitleColor": palette.muted,
            "subtitleFontSize": 11,
            "subtitlePadding": 4,
        },
        "range": {
            "category": list(palette.categories),
            "diverging": [palette.below, palette.middle, palette.above],
        },
        "line": line | {"color": first},
        "area": {"color": first, "line": False},
        "bar": {"color": first},
        "point": {"color": first, "filled": True, "size": 55, "opacity": 1},
        "rule": {"color": palette.muted},
        "text": text | {"color": palette.ink},
        "style": {
            "quiet": {"color": second},
            "accent": {"color": third},
            "zero": {"color": palette.muted, "strokeWidth": 1},
            "fall": {"color": palette.below},
            "whisker": {"color": palette.ink, "strokeWidth": 1.5},
            "pointer": {"color": palette.muted, "strokeWidth": 1},
        },
    }
