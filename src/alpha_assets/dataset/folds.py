"""What a model is trained on, stopped by and judged on: sessions, and a name for them."""

from dataclasses import dataclass, field

import numpy as np

from alpha_assets.arrays.types import Dates


def no_sessions() -> Dates:
    """Return an empty span."""
    return np.array([], dtype="datetime64[D]")


@dataclass(frozen=True, eq=False)
class Fold:
    """Decision sessions of one model.

    Attributes:
        key: names it, and the folder of its checkpoint; of a month `YYYY-MM`.
        train: to learn from, sorted.
        valid: to select by, sorted; empty: nothing is selected.
        test: to be judged on, sorted; empty: what is predicted is judged elsewhere.
    """

    key: str
    train: Dates
    valid: Dates
    test: Dates = field(default_factory=no_sessions)
