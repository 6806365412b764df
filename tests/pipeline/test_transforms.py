"""What the stages and `predict` share, on markets by hand."""

from types import SimpleNamespace
from typing import Any

from tests.panel.market import TOKYO, bar, bars, day

from alpha_assets.arrays.keys import MAX_STALE
from alpha_assets.panel import UniverseSpec, build_panel
from alpha_assets.pipeline.transforms import decidable_sessions, member_rows


def test_a_hole_of_the_whole_market_counts_in_the_windows_of_a_universe() -> None:
    # A hundred bars, thirty sessions without any, of which the last nine have no rows, and bars
    # again: of the 120 sessions before the return 90 have a bar, and 96 are needed.
    numbers = (*range(100), *range(130, 140))
    panel = build_panel(
        {"daily_bars": bars([bar("A", n, 1.0) for n in numbers])}, TOKYO, day(0), day(140)
    )
    market: Any = SimpleNamespace(calendar=TOKYO, spec=SimpleNamespace(max_stale=MAX_STALE))
    rules = UniverseSpec(min_dollar_volume=1.0, dollar_volume_window=120)

    found = member_rows(market, rules, panel, day(0), day(140))
    assert found["session"].to_list() == [day(n) for n in range(96, 121)]
    last = TOKYO.between(day(131), day(140))
    assert not len(decidable_sessions(market, [rules], panel, last))
