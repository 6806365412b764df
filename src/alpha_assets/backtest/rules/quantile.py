"""The best and the worst names by rank, equally or by score."""

from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from alpha_assets.arrays.types import Array, Index, Mask
from alpha_assets.backtest.rules.base import Seen
from alpha_assets.backtest.rules.sided import Side, SidedSpec

TOP, BOTTOM = "top quantile", "bottom quantile"


class QuantileSpec(SidedSpec):
    """Long the top quantile and short the bottom one, or long the top one alone."""

    rule: Literal["long_short_quantile", "long_only_quantile"] = "long_short_quantile"
    """Two sides, or the long one alone."""
    quantile: float = Field(default=0.1, gt=0, le=0.5)
    """Share of the scored names that a side holds."""
    count: int | None = Field(default=None, gt=0)
    """Names that a side holds, whatever their share; none: `quantile` decides."""
    exit_quantile: float | None = Field(default=None, gt=0, lt=1)
    """Hold band: a name that is held stays until it ranks outside this share; none: it leaves where
    it would not enter.
    """
    exit_count: int | None = Field(default=None, gt=0)
    """The same as a number of names; of `count`."""
    weighting: Literal["equal", "score"] = "equal"
    """Within a side: the same weight for all, or in proportion to the distance of the score
    from the session's median.
    """

    @model_validator(mode="after")
    def _a_side_can_be_full(self) -> Self:
        if self.count is not None and self.count < self.min_side:
            raise ValueError(
                f"count = {self.count} is below min_side = {self.min_side}: nothing would ever "
                "be held"
            )
        return self

    @model_validator(mode="after")
    def _the_band_is_wider_than_its_entry(self) -> Self:
        if self.exit_count is not None and self.count is None:
            raise ValueError(
                f"exit_count = {self.exit_count} goes with count, and sides are a share of "
                f"{self.quantile}; use exit_quantile"
            )
        if self.exit_quantile is not None and self.count is not None:
            raise ValueError(
                f"exit_quantile = {self.exit_quantile} goes with quantile, and count = "
                f"{self.count} decides; use exit_count"
            )
        for name, leaves, enters in (
            ("exit_quantile", self.exit_quantile, self.quantile),
            ("exit_count", self.exit_count, self.count),
        ):
            if leaves is not None and enters is not None and leaves < enters:
                raise ValueError(
                    f"{name} = {leaves} is narrower than the entry of {enters}: a name would leave "
                    "as it enters; want at least the entry"
                )
        if not self.is_long_only and (self.exit_quantile or 0.0) + self.quantile > 1:
            raise ValueError(
                f"exit_quantile = {self.exit_quantile} reaches into the {self.quantile} that the "
                "other side enters: a name would stay long among those to be short; want at most "
                f"{1 - self.quantile:g}"
            )
        return self

    @property
    def is_long_only(self) -> bool:
        """Whether there is no short side."""
        return self.rule == "long_only_quantile"

    @property
    def has_band(self) -> bool:
        """Whether a name enters at one rank and leaves at a wider one."""
        return self.exit_quantile is not None or self.exit_count is not None

    def size(self, n: int) -> int:
        """Return the names that a side holds of n scored ones."""
        return self.count if self.count is not None else round(self.quantile * n)

    def most_names(self, n: int) -> int:
        """Return the most names that a side can have of n scored ones."""
        return min(self.size(n), n if self.is_long_only else n // 2)

    def last_rank(self, n: int) -> int | None:
        """Return the rank, of n scored names, outside which a held name leaves; None: no band."""
        if self.exit_quantile is not None:
            return round(self.exit_quantile * n)
        return self.exit_count

    def sides(self, seen: Seen) -> list[Side]:
        """Return the best names, and the worst ones that can be borrowed."""
        size, best_first = self.size(len(seen.score_N)), seen.best_first
        top = self._chosen(best_first, seen.held_N > 0, size)
        found = [(TOP, 1.0, top)]
        if not self.is_long_only:
            rest = best_first[~np.isin(best_first, top)][::-1]
            # A short position that is held may stay; none is entered where it cannot be borrowed.
            is_short_N = seen.held_N < 0
            can = rest[~seen.is_barred_N[rest] | (is_short_N[rest] & self.has_band)]
            found.append((BOTTOM, -1.0, self._chosen(can, is_short_N, size)))
        return found

    def _chosen(self, order: Index, is_held_N: Mask, size: int) -> Index:
        """Return the names of a side: those held inside the band, then the best others."""
        if not self.has_band:
            return order[:size]
        near = order[: self.last_rank(len(is_held_N))]
        stay = near[is_held_N[near]][:size]
        others = order[~np.isin(order, stay)][: size - len(stay)]
        return order[np.isin(order, np.concatenate([stay, others]))]

    def pull(self, seen: Seen, side_K: Index) -> Array:
        """Return in what proportion the names of a side are held; equally where all are alike."""
        if self.weighting == "equal":
            return np.ones(len(side_K))
        distance_K = np.abs(seen.score_N[side_K] - np.median(seen.score_N))
        return distance_K if distance_K.sum() > 0 else np.ones(len(side_K))

    @property
    def unheld(self) -> str:
        """Why a scored name is on no side."""
        return "not in a quantile"
