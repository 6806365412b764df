"""What the stages and `predict` share, on markets by hand."""

from datetime import date, datetime, time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.panel.market import TOKYO, bar, bars, day

from alpha_assets.arrays.keys import MAX_STALE
from alpha_assets.calendar import as_date
from alpha_assets.config.market import load_market
from alpha_assets.features import compute_features
from alpha_assets.panel.build import build_panel
from alpha_assets.panel.universe import UniverseSpec
from alpha_assets.pipeline import transforms
from alpha_assets.pipeline.transforms import (
    decidable_sessions,
    feature_rows,
    member_rows,
    offered_features,
    panel_rows,
    section_rows,
)


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


def test_features_of_a_few_sessions_have_the_bits_of_all_made_from_the_whole_panel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALPHA_PIPELINES", raising=False)
    (tmp_path / "daily_bars.csv").write_text(
        "date,symbol,open,high,low,close,volume\n2023-06-01,A,1,1,1,1,1\n"
    )
    exchange = ("exchange=XTKS", "zone=Asia/Tokyo", "decision_time=08:30:00")
    market = load_market("us", data=tmp_path, overrides=[f"calendar.{one}" for one in exchange])
    days = [as_date(one) for one in TOKYO.between(date(2022, 6, 1), date(2023, 12, 29))][:331]
    rng = np.random.default_rng(7)
    close_DN = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (330, 4)), axis=0))
    rows = [
        bar(
            name,
            0,
            close,
            event_date=days[n],
            available_at=datetime.combine(days[n], time(16, 30), tzinfo=TOKYO.zone),
            open=close * 1.001,
            high=close * 1.01,
            low=close * (0.98 + 0.01 * rng.random()),
            volume=float(rng.integers(1_000, 9_000)),
            adjustment_factor=0.5 if (name, n) == ("B", 100) else 1.0,
        )
        for n, closes in enumerate(close_DN)
        for name, close in zip("ABCD", closes, strict=True)
        if rng.random() > 0.02
    ]
    # A split of session 325 that the vendor tells two days late.
    (split,) = (row for row in rows if (row["symbol"], row["event_date"]) == ("C", days[325]))
    told = datetime.combine(days[327], time(16, 30), tzinfo=TOKYO.zone)
    rows.append(split | {"adjustment_factor": 0.5, "available_at": told, "revision": 1})
    first, last = days[322], days[330]
    panel = panel_rows(market, {"daily_bars": bars(rows).lazy()}, days[0], last)
    assert panel["late_factors"].drop_nulls().len() == 1
    sessions = market.calendar.between(days[0], last)
    whole = compute_features(panel, offered_features(market), first, last, sessions=sessions)

    made = feature_rows(market, panel.lazy(), first, last)

    assert made.select(whole.columns).equals(whole)
    known = {name for name in whole.columns if whole[name].null_count() < whole.height}
    assert {"ret_1", "vol_yz_60", "mom_12_1", "beta_shrunk", "graph_degree"} <= known


def test_features_and_cross_sections_are_made_by_as_many_threads_as_polars_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALPHA_PIPELINES", raising=False)
    header = "date,symbol,open,high,low,close,volume"
    (tmp_path / "daily_bars.csv").write_text(f"{header}\n2023-06-01,A,1,1,1,1,1\n")
    tokyo = ("exchange=XTKS", "zone=Asia/Tokyo", "decision_time=08:30:00")
    market = load_market("us", data=tmp_path, overrides=[f"calendar.{word}" for word in tokyo])
    asked: dict[str, int] = {}
    for name in ("compute_features", "cross_section"):
        honest = getattr(transforms, name)

        def made(*args: Any, _honest: Any = honest, _name: str = name, **kwargs: Any) -> Any:
            asked[_name] = kwargs["threads"]
            return _honest(*args, **kwargs)

        monkeypatch.setattr(transforms, name, made)
    prices = [bar(s, n, 10.0 + k + n % (2 + k)) for k, s in enumerate("ABC") for n in range(30)]
    calendar = market.calendar
    raw = {"daily_bars": bars(prices)}
    panel = build_panel(raw, calendar, day(0), day(30), max_stale=market.spec.max_stale)
    rules = UniverseSpec(min_history=1, min_names=2)
    tables = []
    for n_threads in (1, 3):
        monkeypatch.setattr(pl, "thread_pool_size", lambda n=n_threads: n)
        features = feature_rows(market, panel, day(20), day(29), ["price", "trend"])
        members = member_rows(market, rules, panel, day(20), day(29))
        z = section_rows(
            market,
            rules,
            features,
            members,
            first=day(20),
            series=pl.DataFrame(),
            families=["price", "trend"],
        )
        assert asked == {"compute_features": n_threads, "cross_section": n_threads}
        tables.append((features, z.frame))
    assert tables[0][0]["ret_5"].null_count() < tables[0][0].height
    assert tables[0][0].equals(tables[1][0])
    assert tables[0][1].equals(tables[1][1])
