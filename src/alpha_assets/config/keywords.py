"""What verbs are given beside a recipe, and the defaults that the command line prints.

Importing it costs nothing: `alpha-assets --help` loads no library that computes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from alpha_assets.progress import Progress

AUDIT_SESSIONS = 24  # sessions at which the cheap stages are cut: all of a month
CLOCK_SESSIONS = 12  # of the default audit: two weeks and a bit, so that weekly feeds move


class Where(TypedDict, total=False):
    """The keywords of `open` and of every verb, beside the recipe; `open` says what they mean."""

    market: str | None
    data: Path | str | None
    storage: str | None
    overrides: Sequence[str]
    size: str | None
    device: str
    progress: Progress
