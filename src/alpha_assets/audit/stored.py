"""What the storage holds beside what is rebuilt from its raw rows, bit for bit.

A certificate of rebuilt tables does not cover tables that other code has left behind: what is
stored, fresh by its own manifests, and differs is what `why`, `report` and the books read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from alpha_assets.arrays.keys import KEYS
from alpha_assets.audit.rebuild import MARKET_STAGES, Rebuilt
from alpha_assets.errors import AlphaAssetsError
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.seen import Seen
from alpha_assets.pipeline.stages import stage_of
from alpha_assets.store.compare import (
    Comparison,
    Difference,
    compare_facts,
    compare_tables,
    compare_weights,
)


@dataclass(frozen=True)
class Stored:
    """How the storage differs from what its raw rows make.

    Attributes:
        comparisons: of every stage and month that is stored and fresh.
        left_out: months that are not compared, with the reason.
    """

    comparisons: tuple[Comparison, ...]
    left_out: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing stored differs."""
        return all(one.changed == 0 for one in self.comparisons)

    def lines(self) -> list[str]:
        """Return what was compared as a person reads it."""
        found = ["the storage, as it lies there, against what its raw rows make:"]
        for one in self.comparisons:
            word = "same" if not one.changed else f"{one.changed:,} CHANGED"
            found.append(f"  {one.stage:<24}{one.cells:>14,} cells  {word}")
            if one.first is not None:
                found.append(f"    first: {one.first}")
        return found + [f"  not compared: {words}" for words in self.left_out]


def compare_stored(context: RecipeContext, here: Rebuilt, months: Sequence[str]) -> Stored:
    """Return how what is stored for some months differs from what was rebuilt.

    Months that were not made, or are stale by their manifests, are left out by name: none may
    read them as they are.
    """
    found: list[Comparison] = []
    left_out: list[str] = []
    for month in months:
        for stage in (*MARKET_STAGES, "checkpoint", "predictions", "targets"):
            name = f"{stage} {month}"
            try:
                reason = _why_not(context, stage, month)
                if reason is not None:
                    left_out.append(f"{name}: {reason}")
                    continue
                found += _compared(Rebuilt(context), here, stage, month)
            except AlphaAssetsError as error:
                # What cannot be read is not what was made.
                first = Difference(stage, month, "", "(file)", "readable", str(error))
                found.append(Comparison(name, 1, 1, first))
    return Stored(tuple(found), tuple(left_out))


def _compared(stored: Rebuilt, here: Rebuilt, stage: str, month: str) -> list[Comparison]:
    name = f"{stage} {month}"
    if stage == "checkpoint":
        sides = [side.weights(month) for side in (here, stored)]
        cards = [side.card(month) for side in (here, stored)]
        if sides[0] is None or sides[1] is None or cards[0] is None or cards[1] is None:
            return []
        return [
            _named(name, compare_weights(month, sides[0], sides[1])),
            _named(f"card {month}", compare_facts("card", month, cards[0], cards[1])),
        ]
    tables = [side.table(stage, month, alone=True) for side in (here, stored)]
    if tables[0] is None or tables[1] is None:
        return []
    key = (*KEYS, "horizon") if stage == "predictions" else KEYS
    found = [_named(name, compare_tables(stage, tables[0], tables[1], key, needed=False))]
    if stage == "features":
        counts = [side.counts(month) for side in (here, stored)]
        # Counts of other code are not read.
        other = {
            family
            for family in {*counts[0]} & {*counts[1]}
            if counts[0][family]["code"] != counts[1][family]["code"]
        }
        alike = [{f: kept for f, kept in side.items() if f not in other} for side in counts]
        found.append(_named(f"counts {month}", compare_facts("counts", month, *alike)))
    return found


def _named(name: str, one: Comparison) -> Comparison:
    return Comparison(name, one.cells, one.changed, one.first, needed=False)


def _why_not(context: RecipeContext, stage: str, month: str) -> str | None:
    """Return why a stored month cannot be compared; None where it is there and fresh."""
    universe = context.recipe.spec.universe.name
    of = stage_of(context, f"cross_section/{universe}" if stage == "cross_section" else stage)
    if not of.folder(context, month).exists():
        return "not stored"
    return of.stale(context, [month], Seen()).get(month)
