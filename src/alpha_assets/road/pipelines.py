"""Where the TOML files of markets and recipes lie."""

import os
import re
from pathlib import Path

from alpha_assets.errors import SpecError

NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


def pipelines_folder() -> Path:
    """Return the folder of markets and recipes: `ALPHA_PIPELINES`, else that of the checkout."""
    named = os.environ.get("ALPHA_PIPELINES")
    folder = Path(named) if named else Path(__file__).resolve().parents[3] / "pipelines"
    if not folder.is_dir():
        raise SpecError(
            f"{folder}: there is no such folder; set ALPHA_PIPELINES to the one that holds "
            "markets/ and recipes/"
        )
    return folder


def names(kind: str) -> tuple[str, ...]:
    """Return the names of all markets or all recipes, sorted."""
    return tuple(sorted(path.stem for path in (pipelines_folder() / kind).glob("*.toml")))


def named_file(kind: str, name: str) -> Path:
    """Return the file of one market or recipe.

    Raises:
        SpecError: there is none of that name.
    """
    known = names(kind)
    if not NAME.fullmatch(name) or name not in known:
        raise SpecError(
            f"there is no {kind.removesuffix('s')} {name!r} in {pipelines_folder().name}/{kind}; "
            f"want one of {', '.join(known)}"
        )
    return pipelines_folder() / kind / f"{name}.toml"
