"""The catalogue as a page: `docs/FEATURES.md` is what this returns, and a test compares.

python -m alpha_assets.features.document docs/FEATURES.md
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from alpha_assets.features import CATALOG
from alpha_assets.features.base import REQUIREMENTS, Feature

HEAD = """# Features

Generated from the catalogue by `make docs`; do not edit. Row D of every feature reads panel rows
up to D, and the panel row of D holds the bar of D-1, published in the evening of D-1: every price
feature is one session old when it is used. Look-back counts panel rows, the row itself included.
"""


def page(catalog: Sequence[Feature]) -> str:
    """Return the page: a table per family."""
    parts = [HEAD]
    for family in dict.fromkeys(feature.family for feature in catalog):
        parts.append(f"\n## {family}\n\n")
        parts.append("| feature | what it means | unit | look-back | inputs | source |\n")
        parts.append("|---|---|---|--:|---|---|\n")
        parts += [_row(feature) for feature in catalog if feature.family == family]
    return "".join(parts)


def _row(feature: Feature) -> str:
    needs = "".join(
        f" *Only where the market has it: {REQUIREMENTS[n]}.*" for n in feature.requires
    )
    cells = (
        f"`{feature.name}`",
        _line(feature.about) + needs,
        feature.unit,
        str(feature.lookback),
        ", ".join(feature.inputs),
        _line(feature.source),
    )
    return "| " + " | ".join(cells) + " |\n"


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(CATALOG), encoding="utf-8")
