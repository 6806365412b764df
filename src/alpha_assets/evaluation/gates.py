"""Gates: what a recipe must reach to go on, each judged where its figure exists.

A gate decides nothing that is traded.  One whose figure is not known is *not judged*, which is
neither passed nor failed.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from pydantic import Field

from alpha_assets.evaluation.performance import MIN_SESSIONS, Record, too_short
from alpha_assets.spec import Spec

PASSED = "passed"
FAILED = "failed"
NOT_JUDGED = "not judged"


class GatesSpec(Spec):
    """Declared under `[gates]` in a recipe; a gate without a value is not asked."""

    rank_ic: float | None = Field(default=None, gt=-1, lt=1)
    """Mean rank IC of the traded horizon, above."""
    rank_ic_t: float | None = None
    """The smallest of its three t-statistics, above."""
    bucket_spread: float | None = None
    """Mean return of the highest less the lowest score bucket over the horizon, above."""
    sharpe: float | None = None
    """Sharpe ratio of the book after costs, above."""
    win_rate: float | None = Field(default=None, ge=0, lt=1)
    """Share of sessions with a gain after costs, above."""
    not_below_parent: bool = False
    """Rank IC not below that of `training.parent` on the same sessions and symbols."""


def gates(
    spec: GatesSpec,
    signal: Mapping[str, Any],
    book: Mapping[str, Any],
    *,
    against_parent: Mapping[str, Any] | str = "the recipe has no training.parent",
) -> list[Record]:
    """Return a record for each gate that is asked: `gate wanted found verdict reason`.

    Args:
        spec: what is asked.
        signal: figures of the traded horizon.
        book: figures of the portfolio.
        against_parent: what `less_parent` returned, or why it is not known.
    """
    found = []
    for name, figures, key in _asked(spec, signal, book):
        wanted = getattr(spec, name)
        value, reason = _figure(figures, key)
        verdict = NOT_JUDGED if reason else PASSED if value > wanted else FAILED
        found.append(_record(name, wanted, value, verdict, reason))
    if spec.not_below_parent:
        if isinstance(against_parent, str):
            value, reason = math.nan, against_parent
        else:
            value, reason = _figure(against_parent, "mean")
        verdict = NOT_JUDGED if reason else PASSED if value >= 0 else FAILED
        found.append(_record("not_below_parent", 0.0, value, verdict, reason))
    return found


def _asked(
    spec: GatesSpec, signal: Mapping[str, Any], book: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any] | None, str]]:
    """Yield each gate that is asked, the figures that it is judged by, and which of them."""
    spread = (signal.get("buckets") or {}).get("spread")
    for name, figures, key in (
        ("rank_ic", signal.get("rank_ic"), "mean"),
        ("rank_ic_t", signal.get("rank_ic"), "t"),
        ("bucket_spread", spread, "mean"),
        ("sharpe", book.get("net"), "sharpe"),
        ("win_rate", book.get("net"), "win_rate"),
    ):
        if getattr(spec, name) is not None:
            yield name, figures, key


def _figure(figures: Mapping[str, Any] | None, key: str) -> tuple[float, str]:
    """Return a figure, and why it cannot be judged; empty where it can."""
    value = math.nan if figures is None else figures.get(key)
    n = 0 if figures is None else int(figures.get("n_sessions") or 0)
    if value is None or not np.isfinite(value):
        reasons = {} if figures is None else figures.get("reasons") or {}
        return math.nan, str(reasons.get(key) or "there is no such figure")
    return float(value), too_short(n) if n < MIN_SESSIONS else ""


def _record(name: str, wanted: float, found: float, verdict: str, reason: str) -> Record:
    return {
        "gate": name,
        "wanted": wanted,
        "found": found,
        "verdict": verdict,
        "reason": reason or None,
    }
