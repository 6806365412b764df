"""Faults planted around a stage."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from alpha_assets.pipeline.stage import Stage

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
