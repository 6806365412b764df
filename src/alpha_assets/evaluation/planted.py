"""What scores hold of each planted component, and what least squares could hold of all of them.

Of simulated markets alone.  Letters: D sessions, N symbols.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.evaluation.inference import newey_west_variance, variance_inflation

Record = dict[str, object]

LAG = 20  # sessions over which chance correlations of slow scores with slow components last


@dataclass(frozen=True)
class Learning:
    """What a recipe's models are estimated from.

    Attributes:
        n_sessions: decision sessions that a month is trained on.
        n_inputs: features of the recipe.
        persistence: by horizon, the rank correlation of the planted drift with that of the
            session before; None: not measured.
    """

    n_sessions: int
    n_inputs: int
    persistence: Mapping[int, float | None]


def ceiling(rank_ic: float, n_effective: float, n_inputs: int) -> float:
    """Return the share of a planted rank IC that least squares can be expected to reach.

    share = sqrt(x / (x + p)), x = n · IC²: of uncorrelated inputs with variance 1 the planted
    coefficients have squares that sum to IC², and each is estimated with variance 1 / n; the
    share is the correlation of the fitted score with the planted one.

    Args:
        rank_ic: of the planted drift.
        n_effective: independent values; see `effective_values`.
        n_inputs: p.
    """
    x = n_effective * rank_ic**2
    return math.sqrt(x / (x + n_inputs))


def effective_values(
    n_sessions: float, n_symbols: float, horizon: int, persistence: float
) -> float:
    """Return sessions · symbols / variance inflation of labels that overlap."""
    return n_sessions * n_symbols / variance_inflation(persistence, horizon)


def ceiling_record(
    planted: float | str, n_symbols: float, horizon: int, learning: Learning | None
) -> Record:
    """Return `ceiling`, NaN where it is not known, and what it follows from.

    Args:
        planted: rank IC of the planted drift, or why it is not known.
        n_symbols: of a session.
        horizon: sessions that a label spans.
        learning: what the recipe is estimated from.
    """
    phi = None if learning is None else learning.persistence.get(horizon)
    if learning is None or phi is None or isinstance(planted, str) or not planted > 0:
        n_inputs = None if learning is None else learning.n_inputs
        return {"ceiling": math.nan, "n_inputs": n_inputs, "n_effective": math.nan}
    n = effective_values(learning.n_sessions, n_symbols, horizon, phi)
    return {
        "ceiling": ceiling(planted, n, learning.n_inputs),
        "n_inputs": learning.n_inputs,
        "n_effective": n,
    }


def component_records(ic_by_component: Mapping[str, Array]) -> list[Record]:
    """Return the mean correlation of scores with each component, and its Newey-West error.

    The error is of these sessions, with the models as they are; not of another training.

    Args:
        ic_by_component: correlation of every session, [D] each; NaN where there is none.
    """
    records: list[Record] = []
    for name, ic_D in ic_by_component.items():
        known_D = ic_D[~np.isnan(ic_D)]
        records.append(
            {
                "component": name,
                "correlation": float(known_D.mean()) if len(known_D) else math.nan,
                "error": math.sqrt(newey_west_variance(known_D, LAG)),
                "n_sessions": len(known_D),
            }
        )
    return records
