"""What was known at each decision: the as-of join, adjustment, and universes."""

from alpha_assets.panel.asof import as_of, join_states
from alpha_assets.panel.bars import first_effective
from alpha_assets.panel.build import build_panel
from alpha_assets.panel.dense import dense
from alpha_assets.panel.schema import PANEL_SCHEMA
from alpha_assets.panel.universe import (
    UniverseSpec,
    check_universe,
    universe,
    unknown_symbols,
)

__all__ = [
    "PANEL_SCHEMA",
    "UniverseSpec",
    "as_of",
    "build_panel",
    "check_universe",
    "dense",
    "first_effective",
    "join_states",
    "universe",
    "unknown_symbols",
]
