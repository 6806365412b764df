"""What a report is made from."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class ReportInputs:
    """The figures and series of one run.

    Attributes:
        metrics: the content of `backtest/metrics.json`.
        daily: the backtest's daily table.
        ic: `session horizon rank_ic ic n_pairs`, from `evaluation.evaluate`.
        about: the recipe's own sentence.
        checkpoints: `month status epochs best_epoch unfinished_seeds valid_rank_ic` of every
            month's model, and `curve`: its validation rank IC by epoch; or None.
        command: that makes the same figures again, quoted for a shell; "": not known.
        coverage: `frontier`, `families` and `feeds` as `quality.coverage` counts them, or None.
    """

    metrics: Mapping[str, object]
    daily: pl.DataFrame
    ic: pl.DataFrame
    about: str = ""
    checkpoints: pl.DataFrame | None = None
    coverage: Mapping[str, object] | None = None
    command: str = ""


def at(document: object, *path: str) -> object:
    """Return what stands at a path of the metrics; None where a step is missing or null."""
    for step in path:
        if not isinstance(document, Mapping):
            return None
        document = document.get(step)
    return document


def number(document: object, *path: str) -> float | None:
    """Return the number at a path, or None."""
    value = at(document, *path)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def records(document: object, *path: str) -> list[Mapping[str, object]]:
    """Return the list of records at a path; empty where there is none."""
    value = at(document, *path)
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def words(document: object, *path: str) -> list[str]:
    """Return the list of words at a path; empty where there is none."""
    value = at(document, *path)
    return [str(word) for word in value] if isinstance(value, list) else []


def horizons(metrics: Mapping[str, object]) -> list[int]:
    """Return the predicted horizons in order, from the keys `h<h>`."""
    signal = at(metrics, "signal")
    return sorted(int(name[1:]) for name in signal) if isinstance(signal, Mapping) else []


def main_horizon(metrics: Mapping[str, object]) -> int | None:
    """Return the horizon that charts and verdict speak of: the one that the book trades.

    The longest one where the document does not name it, or has no figures of it.
    """
    traded, predicted = at(metrics, "data", "traded_horizon"), horizons(metrics)
    return (
        traded if isinstance(traded, int) and traded in predicted else max(predicted, default=None)
    )
