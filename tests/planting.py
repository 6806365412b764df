"""Faults planted around a stage, and in stored features."""

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
import pytest

from alpha_assets.arrays.keys import KEYS
from alpha_assets.pipeline.context import MarketContext
from alpha_assets.pipeline.freshness import manifest_of
from alpha_assets.pipeline.identity import Identity
from alpha_assets.pipeline.stage import Stage
from alpha_assets.store.manifest import ManifestInput

Make = Callable[[Any, Sequence[str]], Any]


def around(
    patch: pytest.MonkeyPatch, stage: str, wrapped: Callable[[Make, Any, Sequence[str]], Any]
) -> None:
    """Call `wrapped(make, context, months)` in the place of making months of a stage."""
    honest = Stage.ensure

    def ensure(self: Any, context: Any, months: Sequence[str], **how: Any) -> Any:
        def make(context: Any, months: Sequence[str]) -> Any:
            return honest(self, context, months, **how)

        if self.name.split("/")[0] != stage:
            return make(context, months)
        return wrapped(make, context, months)

    patch.setattr(Stage, "ensure", ensure)


def rewrite_features(
    context: MarketContext,
    month: str,
    change: Callable[[pl.DataFrame], pl.DataFrame],
    manifests: Callable[[str], ManifestInput] = lambda _: manifest_of(Identity("planted"), {}),
) -> None:
    """Pass a stored month of features, all of its families, through `change`."""
    table = context.features.only(())
    families = table.held([month])
    rows = change(table.scan([month]).collect())
    names = {f: table.of(f).scan([month]).collect_schema().names() for f in families}
    frames = {
        family: rows.select(*KEYS, *[n for n in names[family] if n in rows and n not in KEYS])
        for family in families
    }
    table.write(month, frames, {family: manifests(family) for family in families})
